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
//! - [`engine`]: what keeps rows: apply a batch, view a snapshot; [`AsyncEngine`] for engines from elsewhere
//! - [`committer`]: a group of intents becomes a batch, revisions and answers
//! - [`shared`]: what readers see: the published snapshot and the waiters for keys
//! - [`client`]: the [`Storage`] and transaction traits over the above
//! - [`memory`]: rows in a persistent map, commits done by the caller
//! - [`queue`]: the commit thread, which waits for the disk so that no async worker does
//! - [`task`]: a commit task instead, for engines whose writes are futures
//! - [`embedded`](mod@embedded): rows in fjall, one batch and one fsync a group
//! - [`folder`]: the data folder: whose it is, who holds it, whether it is finished
//! - [`layout`]: the engine's first files, with few waits for the disk
//! - [`journal`]: looks for damage before the engine opens its files
//! - [`error`]: why a folder could not be opened

mod client;
mod committer;
mod embedded;
mod engine;
mod error;
mod folder;
mod history;
mod intent;
mod journal;
mod layout;
mod memory;
mod queue;
mod shared;
mod task;

use std::{path::Path, sync::Arc};

use bytes::Bytes;

pub use engine::{AsyncEngine, Batch, View};
pub use error::{OpenError, PathDisplay};
pub use intent::{revision_of, stamp_of};
pub use memory::FIRST_REVISION;

use triune_env::{
    Env,
    storage::{Revision, Storage},
};

use crate::{client::Client, shared::Shared, task::CommitTask};

/// A storage that is lost with the process: `--storage memory`, tests. It starts no thread and no task.
pub fn memory(env: Env) -> Arc<dyn Storage> {
    Arc::new(memory::open(env))
}

/// A durable storage in one folder, made if it does not exist: `--storage embedded`. It starts a commit thread and two
/// engine threads; dropping the last reference finishes the commits that are queued and lets go of the folder.
///
/// Reads may wait for the disk for as long as a page fault does; commits never block the caller's thread.
pub fn embedded(env: Env, folder: &Path) -> Result<Arc<dyn Storage>, OpenError> {
    Ok(Arc::new(embedded::open(env, folder)?))
}

/// Completes when a storage of this crate takes no more commits, with the reason: after a failed fsync nobody knows what
/// is on the disk, and only a new process finds out. Reads go on, at what was durable.
pub async fn until_stopped(storage: Arc<dyn Storage>) -> String {
    loop {
        match storage.changed(NEVER_WRITTEN, None).await {
            // It may complete for nothing (S7).
            Ok(()) => {}
            Err(error) => return error.to_string(),
        }
    }
}

/// A key that nobody writes.
const NEVER_WRITTEN: Bytes = Bytes::from_static(b"\0never written");

/// A storage over an engine from elsewhere, whose last commit is `revision` ([`FIRST_REVISION`] if it is empty). It
/// starts one task and no thread; dropping the last reference lets the task finish the commits that are queued.
pub fn open_with<E: AsyncEngine>(env: Env, engine: E, revision: Revision) -> Arc<dyn Storage> {
    let shared = Arc::new(Shared::new(env, revision, engine.view()));
    let submit = Arc::new(CommitTask::start(engine, &shared));
    Arc::new(Client { shared, submit })
}
