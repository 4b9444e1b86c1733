//! What keeps rows. An engine knows nothing of transactions: it applies batches, one at a time, and shows snapshots.
//!
//! There are two kinds: one whose caller waits in the call (a thread may), and one whose writes are futures.

use std::collections::BTreeMap;

use bytes::Bytes;
use triune_env::{
    BoxFuture,
    storage::{KeyRange, Revision, Row, StorageError},
};

/// What a group of commits changes: None removes.
#[derive(Debug, Default)]
pub struct Batch {
    /// Rows in key order.
    pub rows: BTreeMap<Bytes, Option<Bytes>>,
    /// The last revision of the group.
    pub revision: Revision,
}

/// Keeps rows. One caller at a time.
pub(crate) trait Engine: Send + 'static {
    /// What it shows.
    type View: View;

    /// Applies all of a batch or nothing; when it returns success, the batch is durable (as far as the engine is).
    /// After an error it is unknown whether the batch was applied, and the engine is not called again.
    fn apply(&mut self, batch: &Batch) -> Result<(), StorageError>;

    /// A snapshot of everything applied.
    fn view(&self) -> Self::View;
}

/// Keeps rows, and waits for its disk in futures. One caller at a time, which polls each future to its end; a future that
/// is dropped before is the end of the engine, as an error is.
pub trait AsyncEngine: Send + 'static {
    /// What it shows.
    type View: View;

    /// Applies all of a batch or nothing; when it completes with success, the batch is durable. After an error it is
    /// unknown whether the batch was applied, and the engine is not called again.
    fn apply<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<(), StorageError>>;

    /// Does what can wait until the commits are answered: compaction. After an error the engine is not called again.
    fn tidy(&mut self) -> BoxFuture<'_, Result<(), StorageError>>;

    /// A snapshot of everything applied.
    fn view(&self) -> Self::View;
}

/// A snapshot of all rows. Cheap to clone; reading does not wait for writers.
pub trait View: Clone + Send + Sync + 'static {
    /// One row.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Up to `limit` rows in key order, or in reverse from the end. `range.start` is below `range.end`.
    fn range(&self, range: &KeyRange, limit: usize, reverse: bool) -> Result<Vec<Row>, StorageError>;

    /// All keys of a range, without their values.
    fn keys(&self, range: &KeyRange) -> Result<Vec<Bytes>, StorageError>;
}
