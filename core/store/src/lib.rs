//! Objects on transactions: revisions, key space, change log, watch cache, list and watch.
//!
//! In reading order:
//!
//! - [`types`]: what is written, read and answered
//!
//! Promises: invariants S1 to S12 (storage) and W1 to W20 (list and watch) as tests name them.

pub mod types;

pub use triune_env::storage::Revision;
