//! Ordered, transactional key-value storage, with FoundationDB's semantics.
//!
//! The trait is FoundationDB's transaction model, so that the production adapter is thin. Deliberately absent: objects,
//! resources, time, watches over ranges, and any counter that a transaction would have to read.

use bytes::Bytes;

use crate::BoxFuture;

/// Largest key, in bytes (S6). A key has at least one byte, and its first byte is not 0xff: such keys belong to the
/// storage itself, as in FoundationDB.
pub const KEY_BYTES_MAX: usize = 10_000;
/// Largest value of a row, in bytes (S6).
pub const VALUE_BYTES_MAX: usize = 100_000;
/// Largest transaction: the sum of its keys, values and conflict keys, in bytes (S6).
pub const TRANSACTION_BYTES_MAX: usize = 10_000_000;
/// A transaction lives this long from its read version on, in seconds (S6).
pub const TRANSACTION_SECONDS_MAX: u64 = 5;
/// Length of a [`Stamp`], in bytes.
pub const STAMP_BYTES: usize = 10;

/// The position of a commit in the order of all commits; in decimal it is a `resourceVersion`. Stays below 2^63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl std::fmt::Display for Revision {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What the storage writes into a row at commit: opaque bytes that sort in commit order.
/// [`Storage::revision_of`] and [`Storage::stamp_of`] convert.
pub type Stamp = [u8; STAMP_BYTES];

/// A key range, `start` included, `end` excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// First key of the range.
    pub start: Bytes,
    /// First key past the range.
    pub end: Bytes,
}

/// A row as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

/// How a read relates to the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// What was read must still be so at commit, else Conflict.
    Serializable,
    /// Reads at the read version and does not conflict.
    Snapshot,
}

/// Why a read failed. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The transaction lived longer than its bound: begin again.
    #[error("transaction is too old")]
    TooOld,
    /// The storage cannot be reached now: try later.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// A bound of S6 was exceeded.
    #[error("{0}")]
    TooLarge(String),
    /// What was read cannot be what was written: stop.
    #[error("storage is corrupt: {0}")]
    Corrupt(String),
}

/// Why a commit gave no success. Every variant but `Unknown` means "not applied" (S3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A key that was read, or a declared read conflict key, changed since the read version: begin again.
    #[error("transaction conflicts with another")]
    Conflict,
    /// Perhaps applied, perhaps not; it will not be applied later than any commit acknowledged after this answer. Who
    /// drops the future of a commit gets no answer: that commit may be applied until its life is over, after commits
    /// that were acknowledged meanwhile, and conflicts as any other.
    #[error("outcome of the commit is unknown")]
    Unknown,
    /// The transaction lived longer than its bound: begin again.
    #[error("transaction is too old")]
    TooOld,
    /// A bound of S6 was exceeded.
    #[error("{0}")]
    TooLarge(String),
    /// The storage cannot be reached now; the commit was not sent.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
}

/// Ordered, transactional key-value storage.
///
/// * S1 Serializable: a transaction that commits saw no key it read (non-snapshot) change between its read version and its
///   commit. A transaction does not see its own writes: read first, then write.
/// * S2 Order: commits have unique, growing revisions; a read version is at least every commit acknowledged before it was
///   asked for.
/// * S3 Honest: [`CommitError::Unknown`] means "perhaps applied"; every other error means "not applied".
/// * S4 Durable: an acknowledged commit survives the loss of the process (not asked of the memory implementation).
/// * S5 Atomic: a reader sees all of a transaction or none.
/// * S6 Bounded: keys, values and transactions have the sizes and lives of the constants of this module; exceeded means an
///   error, never a cut.
/// * S7 Watch: `changed` completes after the key's value differed from the caller's; it may complete for nothing; it never
///   sleeps for ever while the value differs. (FoundationDB looks at the value once more before it wakes: one that went
///   and came back may pass unseen. Who must not miss a change writes values that do not come back.)
pub trait Storage: Send + Sync + 'static {
    /// A revision at least as great as every commit acknowledged before this call (S2). Everything at or below it is
    /// visible to a transaction begun afterwards; every later commit is above it.
    fn read_version(&self) -> BoxFuture<'_, Result<Revision, StorageError>>;

    /// Begins a transaction at a fresh read version.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StorageError>>;

    /// Completes after the value of `key` differed from `seen` (S7). Dropping the future ends the wait.
    fn changed(&self, key: Bytes, seen: Option<Bytes>) -> BoxFuture<'static, Result<(), StorageError>>;

    /// The revision of a stamp that this storage wrote.
    fn revision_of(&self, stamp: &Stamp) -> Revision;

    /// The stamp of a revision: bounds of ranges over stamped keys.
    fn stamp_of(&self, revision: Revision) -> Stamp;
}

/// One transaction. Dropping it without a commit leaves no trace.
pub trait Transaction: Send {
    /// The revision at which this transaction reads.
    fn read_version(&self) -> Revision;

    /// The value of `key`.
    fn get<'a>(&'a mut self, key: &'a [u8], isolation: Isolation)
    -> BoxFuture<'a, Result<Option<Bytes>, StorageError>>;

    /// Up to `limit` rows of `range` in key order, or in reverse from the end. Under [`Isolation::Serializable`] the part
    /// of the range that was really read is the conflict range.
    fn range<'a>(
        &'a mut self,
        range: KeyRange,
        limit: usize,
        reverse: bool,
        isolation: Isolation,
    ) -> BoxFuture<'a, Result<Vec<Row>, StorageError>>;

    /// Sets `key` to `value` at commit.
    fn set(&mut self, key: Bytes, value: Bytes);

    /// Sets a key made of `prefix`, the commit's stamp and `suffix`.
    fn set_stamped_key(&mut self, prefix: &[u8], suffix: &[u8], value: Bytes);

    /// Sets `key` to `value` with the commit's stamp written over the [`STAMP_BYTES`] bytes at `offset`.
    fn set_stamped_value(&mut self, key: Bytes, value: Vec<u8>, offset: usize);

    /// Removes `key` at commit.
    fn clear(&mut self, key: Bytes);

    /// Removes every key of `range` at commit.
    fn clear_range(&mut self, range: KeyRange);

    /// Makes this transaction conflict with every commit after its read version that writes `key`.
    fn add_read_conflict_key(&mut self, key: Bytes);

    /// Makes every transaction that read `key` before this one commits conflict with it.
    fn add_write_conflict_key(&mut self, key: Bytes);

    /// Commits. The revision is that of every stamp it wrote.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<Revision, CommitError>>;
}
