//! The generic API server: what every server of the chain is made of.
//!
//! A request: socket -> [`serve`] -> handler chain -> director -> resource verbs or a path route -> delegate -> not found.
//! Handlers take a request and a [`context::Context`] and give a response whose body is a stream of byte chunks; nothing
//! here sees a socket or TLS. In reading order:
//!
//! - [`body`]: request and response bodies
//! - [`handler`]: the trait that answers requests; request bodies
//! - [`context`]: what is known of a request: its info, user, deadline, warnings
//! - [`accept`]: content negotiation
//! - [`respond`]: answers and error answers
//! - [`registry`]: resources as data plus strategy
//! - [`resources`]: the live registry of what is served

pub mod accept;
pub mod body;
pub mod context;
pub mod handler;
pub mod registry;
pub mod resources;
pub mod respond;
