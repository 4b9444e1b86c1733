//! The generic API server: what every server of the chain is made of.
//!
//! A request: socket -> [`serve`] -> [`handler_chain`] -> [`director`] -> resource verbs or a path route -> delegate -> not
//! found. Handlers take a request and a [`context::Context`] and give a response whose body is a stream of byte chunks;
//! nothing here sees a socket or TLS. In reading order:
//!
//! - [`body`]: request and response bodies
//! - [`handler`]: the trait that answers requests; request bodies
//! - [`request_info`]: the URL grammar
//! - [`context`]: what is known of a request: its info, user, deadline, warnings
//! - [`accept`]: content negotiation
//! - [`respond`]: answers and error answers
//! - [`peer`]: the other end of a connection
//! - [`authentication`], [`authorization`]: who asks, and what they may do
//! - [`metrics`]: figures in the Prometheus format
//! - [`signal`]: steps of start-up and shutdown
//! - [`lifecycle`], [`in_flight`]: the steps of a life; requests being answered
//! - [`compression`], [`warnings`], [`go_duration`]: gzip; `Warning` headers; durations in parameters
//! - [`serve`]: from sockets to the handler chain
//! - [`handler_chain`]: what every request passes
//! - [`generic_server`], [`director`]: a server of the chain and its life; who answers
//! - [`routes`], [`health`], [`version`], [`discovery`], [`openapi`]: plain paths and their documents
//! - [`registry`]: resources as data plus strategy
//! - [`resources`]: the live registry of what is served
//! - [`verbs`]: get, list, watch and the writes

pub mod accept;
pub mod authentication;
pub mod authorization;
pub mod body;
pub mod compression;
pub mod context;
pub mod director;
pub mod discovery;
pub mod generic_server;
pub mod go_duration;
pub mod handler;
pub mod handler_chain;
pub mod health;
pub mod in_flight;
pub mod lifecycle;
pub mod metrics;
pub mod openapi;
pub mod peer;
pub mod registry;
pub mod request_info;
pub mod resources;
pub mod respond;
pub mod routes;
pub mod serve;
pub mod signal;
#[cfg(test)]
mod testing;
pub mod verbs;
pub mod version;
pub mod warnings;
