//! Bounds, intervals and counters of the store.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Smallest that a piece of a body may be asked to be.
pub const CHUNK_BYTES_MIN: usize = 64;
/// Largest body of an object, as the request body limit of the API.
pub const OBJECT_BYTES_MAX: usize = 3 * 1024 * 1024;

/// What a store is opened with. The defaults are those of the daemon.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// First component of every key: logical clusters may share a storage.
    pub tenant: String,
    /// Rows asked of the storage at once, of objects and of logs.
    pub rows_per_read: usize,
    /// Largest body kept in its object row; larger ones are kept in pieces.
    pub inline_body_bytes_max: usize,
    /// Largest piece of a body; at least [`CHUNK_BYTES_MIN`], and small enough for a row.
    pub chunk_bytes_max: usize,
    /// Largest sum of the two bodies in a log row; above it the state before is kept in pieces.
    pub log_bodies_bytes_max: usize,
    /// Log rows that compaction removes in one transaction.
    pub rows_per_compaction: usize,
    /// Changes that a watcher, and initial events that a watch, looks at in one go: what bounds the time the cache is
    /// locked.
    pub watch_look_max: usize,
    /// How often logs are compacted.
    pub compaction_interval: Duration,
    /// Changes are kept at least this long: for this long watches resume, and exact lists and further pages are served.
    /// All servers of a storage must have the same.
    pub keep_window: Duration,
    /// Events kept in memory for each resource: watchers that are further behind read the log.
    pub window_events_max: usize,
    /// Bytes of the bodies of those events.
    pub window_bytes_max: usize,
    /// A snapshot of the cache is kept after this many events, so that lists at an exact revision need not go far.
    pub snapshot_every_events: u64,
    /// Snapshots keep at most about this many bytes of replaced states alive, for each resource.
    pub snapshot_bytes_max: u64,
    /// Synthetic initial events kept for their encodings, for each resource.
    pub initial_bytes_max: usize,
    /// Encodings of states kept for lists and watches that ask for another form than the stored one, for each resource;
    /// past it they are made anew each time.
    pub encodings_bytes_max: usize,
    /// How often bookmarks are sent (with a tenth of jitter either way).
    pub bookmark_interval: Duration,
    /// A read waits this long for the cache to reach its revision.
    pub fresh_wait_max: Duration,
    /// A read waits this long for the cache to be filled.
    pub load_wait_max: Duration,
    /// A write whose outcome is unknown is pursued this long. Much shorter than `keep_window`, since it may have to be
    /// found in the log.
    pub unknown_deadline: Duration,
    /// A read or write that the storage refuses for now is repeated this long.
    pub unavailable_deadline: Duration,
    /// One answer of the storage may take this long.
    pub storage_timeout: Duration,
    /// Where wake-ups are late (FoundationDB: 10 ms), a log that was busy just now is read this often; None where a
    /// wake-up comes with the commit.
    pub busy_poll_interval: Option<Duration>,
    /// How long a log counts as busy after a change.
    pub busy_time: Duration,
    /// An idle cache looks at the log this often, so that its position stays above the compaction floor.
    pub idle_refresh_interval: Duration,
    /// How often expired objects are looked for.
    pub expiry_interval: Duration,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            tenant: "t".into(),
            rows_per_read: 500,
            inline_body_bytes_max: 64 * 1024,
            chunk_bytes_max: 90_000,
            log_bodies_bytes_max: 90_000,
            rows_per_compaction: 200,
            watch_look_max: 1_024,
            compaction_interval: Duration::from_secs(300),
            keep_window: Duration::from_secs(300),
            window_events_max: 20_000,
            window_bytes_max: 16 << 20,
            snapshot_every_events: 1_000,
            snapshot_bytes_max: 64 << 20,
            initial_bytes_max: 16 << 20,
            encodings_bytes_max: 64 << 20,
            bookmark_interval: Duration::from_secs(60),
            fresh_wait_max: Duration::from_secs(3),
            load_wait_max: Duration::from_secs(30),
            unknown_deadline: Duration::from_secs(30),
            unavailable_deadline: Duration::from_secs(5),
            storage_timeout: Duration::from_secs(5),
            busy_poll_interval: None,
            busy_time: Duration::from_millis(100),
            idle_refresh_interval: Duration::from_secs(60),
            expiry_interval: Duration::from_secs(10),
        }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What the store has done since it was opened, as plain numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Statistics { $($(#[$doc])* pub $name: u64,)* }

        /// The counters behind [`Statistics`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)* }

        impl Counters {
            pub(crate) fn read(&self) -> Statistics {
                Statistics { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Writes that took place.
    commits,
    /// Writes that changed nothing.
    no_ops,
    /// Attempts that conflicted with another transaction.
    conflicts,
    /// Attempts whose outcome the storage did not know.
    unknown_outcomes,
    /// Single reads.
    gets,
    /// Lists.
    lists,
    /// Watches that are open.
    watches_open,
    /// Watch events handed to watchers.
    events_delivered,
    /// Times a watcher had to read the log because it was behind the window.
    watch_resumes,
    /// Reads of logs by caches.
    refreshes,
    /// Changes that caches took from logs.
    log_rows,
    /// Caches filled from storage.
    loads,
    /// Log rows that compaction removed.
    rows_compacted,
    /// Objects removed because their time had come.
    expired,
}

/// A number that only this process counts.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
    pub(crate) fn one(&self) {
        self.add(1);
    }
    pub(crate) fn less_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
