//! FoundationDB 7.3 as a pure state machine, as far as the `Storage` contract needs it. In reading order:
//!
//! - [`version`]: versions, positions of commits, versionstamps, and their image as revisions
//! - [`transaction`]: what a transaction asks for at commit, and the limits of it
//! - [`rows`]: rows with their states of the last five seconds
//! - [`resolver`]: which transactions conflict
//! - [`watches`]: who waits for which key
//! - [`database`]: the state machine: commands in, effects out
//!
//! Nothing here waits, draws or looks at a clock: time and every choice are part of a command, so that equal commands
//! have equal effects. Properties against a naive serial executor, and planted faults that they must find, are in `check`.
//!
//! Deliberately absent: read-your-writes (the contract does not have it), atomic operations other than versionstamps,
//! system keys (but for conflict keys under [`transaction::SELF_CONFLICT_PREFIX`]), shards, and the processes of a cluster.

pub mod database;
mod fault;
pub mod resolver;
pub mod rows;
pub mod transaction;
pub mod version;
pub mod watches;

#[cfg(test)]
mod check;

pub use database::{Answer, Applied, Command, Database, Effects, Fate, Outcome, Refusal};
pub use transaction::{Mutation, Span, Transaction};
pub use version::{Position, Revisions, Version};
pub use watches::RequestId;
