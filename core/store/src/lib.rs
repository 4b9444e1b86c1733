//! Objects on transactions: revisions, key space, change log, watch cache, list and watch.
//!
//! In reading order:
//!
//! - [`types`]: what is written, read and answered
//! - [`keys`], [`rows`]: the rows, and what is in them
//! - [`options`]: bounds, intervals, counters
//! - [`store`]: the store; `commit`: one write in one transaction
//! - [`event`]: objects and changes as the cache holds them; `state`: the contents of a cache
//! - [`cache`]: keeping it up; `load`: filling it; `log`: reading the log
//! - `selection`, `token`, `list`: what lists show; [`watch`]: what watches show; `scope`: who is woken
//! - `compact`, `expire`: what is removed by itself
//!
//! Promises: invariants S1 to S12 (storage) and W1 to W20 (list and watch) as tests name them.
//!
//! Deliberately absent: JSON (a body is bytes), API versions, HTTP, names of kinds.

pub mod cache;
pub mod event;
pub mod keys;
pub mod options;
pub mod rows;
pub mod store;
pub mod types;
pub mod watch;

mod base;
mod commit;
mod compact;
mod expire;
mod list;
mod load;
mod log;
mod scope;
mod selection;
mod state;
mod token;

pub use triune_env::storage::Revision;

pub use base::yield_now;
pub use cache::ResourceCache;
pub use event::{ChangeEvent, EncodingId, Entry};
pub use options::{Statistics, StoreOptions};
pub use store::Store;
pub use watch::{WatchItem, Watcher};
