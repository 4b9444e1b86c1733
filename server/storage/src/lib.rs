//! Storage implementations with one optimistic-concurrency core: memory and embedded.
//!
//! A transaction reads the snapshot of the last published commit, collects what it read and what it will write (an
//! *intent*), and hands that over at commit. One committer takes all intents that wait (a *group*), validates each
//! against a bounded history of recent writes, gives revisions, applies the whole group as one atomic batch with one
//! fsync, publishes the new snapshot, answers, and wakes who waits for a key. What is not durable is never read.
//!
//! In reading order:
//!
//! - [`intent`]: what a transaction read and will write, with the bounds of S6
//! - [`history`]: recent writes, and whether an intent conflicts with them
//! - [`engine`]: what keeps rows: apply a batch, view a snapshot
//! - [`committer`]: a group of intents becomes a batch, revisions and answers
//! - [`shared`]: what readers see: the published snapshot and the waiters for keys
//! - [`client`]: the [`Storage`] and transaction traits over the above
//! - [`memory`]: rows in a persistent map, commits done by the caller

mod client;
mod committer;
mod engine;
mod history;
mod intent;
mod memory;
mod shared;

use std::sync::Arc;

use triune_env::{Env, storage::Storage};

/// A storage that is lost with the process: `--storage memory`, tests. It starts no thread and no task.
pub fn memory(env: Env) -> Arc<dyn Storage> {
    Arc::new(memory::open(env))
}
