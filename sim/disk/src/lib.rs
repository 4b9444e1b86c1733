//! A node's disk that a simulation owns, and the embedded store over it.
//!
//! The production engine has threads and the real file system, which no seed decides. Here the same transactional core
//! (`triune-storage`: conflicts, groups, snapshots, answers) runs over an append-only log on a [`Disk`] in memory, whose
//! every choice is drawn from an entropy: what an unsynced write leaves behind, how long an fsync takes, what fails.
//!
//! In reading order:
//!
//! - [`faults`]: what a disk may do to its users; [`incident`]: what it did, for reports
//! - [`file`](mod@file): the bytes of one file: those seen, those durable, and the changes in between
//! - [`folder`]: the names of files: those seen, those durable, and the operations in between
//! - [`disk`]: the disk, its mounts, and the two ways in which they end: power cut and killed process
//! - [`record`]: the log's bytes, pure
//! - [`recovery`]: what is in a log, and what of it may be cut off
//! - [`rows`]: which rows there are, and where their values lie; the snapshots
//! - [`log`](mod@log): the engine: a group of commits is one record and one fsync; compaction
//!
//! Deliberately absent: madsim, threads, the real file system, and time or randomness of its own.

mod dice;
pub mod disk;
pub mod faults;
mod file;
mod folder;
pub mod incident;
pub mod log;
mod record;
mod recovery;
mod rows;
#[cfg(test)]
mod tests;

pub use disk::{Disk, DiskError, FileHandle, FileSystem};
pub use faults::Faults;
pub use incident::{Fate, Incident};
pub use log::{LogOptions, Observer, OpenError, open, open_observed};
