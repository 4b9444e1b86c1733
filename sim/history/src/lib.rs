//! What a simulation saw: commits of the storage, what clients asked and were told, the life of nodes.
//!
//! Checkers are fed by nothing else, so that they judge what a user could see and never what the code believes. In
//! reading order:
//!
//! - [`event`]: the events
//! - [`object`]: an object as a client sees it or as a commit stored it, reduced to what checkers compare
//! - [`recorder`]: collects events while a simulation runs, and hashes them
//! - [`log_file`]: a history as a file of JSON lines
//!
//! Deliberately absent: HTTP, the store's rows, madsim.

pub mod event;
pub mod log_file;
pub mod object;
pub mod recorder;

pub use event::{
    Answer, At, Body, Commit, Event, ListAnswer, NodeChange, ObjectChange, Operation, OperationId, Outcome, StreamEnd,
    StreamItem, Version, WatchFrom,
};
pub use object::{Object, ObjectKey};
pub use recorder::Recorder;
