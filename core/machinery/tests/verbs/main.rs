//! The verbs in process, over memory storage: requests and answers as tables, races as concurrent tasks.

mod measure;
mod owners;
mod races;
mod reads;
mod subresources;
mod watches;
mod world;
mod writes;
