//! Clients against the real chain, in process, on memory storage and loopback sockets.

mod informers;
mod requests;
mod rules;
mod server;
mod workloads;
