//! What keeps rows. An engine knows nothing of transactions: it applies batches, one at a time, and shows snapshots.

use std::collections::BTreeMap;

use bytes::Bytes;
use triune_env::storage::{KeyRange, Revision, Row, StorageError};

/// What a group of commits changes: None removes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Rows in key order.
    pub(crate) rows: BTreeMap<Bytes, Option<Bytes>>,
    /// The last revision of the group.
    pub(crate) revision: Revision,
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

/// A snapshot of all rows. Cheap to clone; reading does not wait for writers.
pub(crate) trait View: Clone + Send + Sync + 'static {
    /// One row.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Up to `limit` rows in key order, or in reverse from the end. `range.start` is below `range.end`.
    fn range(&self, range: &KeyRange, limit: usize, reverse: bool) -> Result<Vec<Row>, StorageError>;

    /// All keys of a range, without their values.
    fn keys(&self, range: &KeyRange) -> Result<Vec<Bytes>, StorageError>;
}
