//! FoundationDB for simulations: the model of `triune-fdb-model` served by a node over the network, and the `Storage`
//! that asks it. In reading order:
//!
//! - [`protocol`]: what client and node say to each other
//! - [`channel`]: frames over a byte stream
//! - [`knobs`]: which faults happen, and how often
//! - [`cluster`]: the database, which outlives the process that serves it
//! - [`node`]: the process
//! - [`link`]: a client's connection
//! - [`storage`]: the [`Storage`](triune_env::storage::Storage) over it
//!
//! Everything runs on an [`Env`](triune_env::Env): on a simulated one as on the real one, and time, tasks, sockets and
//! randomness are only its.
//!
//! # What a commit of unknown outcome may still do
//!
//! FoundationDB's client learns `commit_unknown_result` when its connection to a commit proxy breaks; the commit may then
//! still be under way. Before it tells the caller, it commits another transaction that writes a conflict key which the
//! first one reads (each has one of its own), so that the first, if it is not applied by then, can never be. That is the
//! clause of [`CommitError::Unknown`](triune_env::storage::CommitError::Unknown): it will not be applied later than a
//! commit acknowledged after the answer. [`storage`] does the same.
//!
//! No client can do so for a commit whose future is dropped, and FoundationDB's does not for one that ends with
//! `transaction_timed_out`. Such a commit may be applied until it is too old, five seconds of versions after its read
//! version, between any other commits. What holds for it is serializability alone: it read something, and conflicts with
//! whoever wrote that since. The object store gives up on commits by itself (`storage_timeout`) and therefore builds on
//! nothing else; [`Options::late_commits`] takes the other guarantee away to show it.

pub mod channel;
pub mod cluster;
pub mod knobs;
pub mod link;
pub mod node;
pub mod protocol;
pub mod storage;

pub use cluster::{Cluster, CommitSeen, Observer};
pub use knobs::{DelayRange, Fault, FaultKnobs};
pub use node::{Node, serve};
pub use storage::{FdbStorage, Options};
