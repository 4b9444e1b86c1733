//! What callers write, ask for and get: the vocabulary of the store, without behaviour.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use triune_api::{
    names::ObjectKey,
    selector::{FieldSelector, LabelSelector},
};

use crate::{Revision, event::Entry};

/// What every stored body starts with. `resourceVersion` is never part of stored bytes: a reader puts it right here.
pub const BODY_PREFIX: &[u8] = b"\"metadata\":{";

/// An object as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Revision of the last write: the `resourceVersion`.
    pub revision: Revision,
    /// Revision of the create.
    pub created: Revision,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    /// JSON of the storage version without its opening brace, `apiVersion`, `kind` and `resourceVersion`:
    /// `"metadata":{...},...}`; starts with [`BODY_PREFIX`], ends with `}`.
    pub body: Bytes,
}

/// What must hold of the object for a write to take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// There is no such object.
    Absent,
    /// The object is at this revision.
    Revision(Revision),
}

/// What a write does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Stores this state.
    Put {
        /// See [`StoredObject::body`].
        body: Bytes,
        /// `metadata.uid`.
        uid: Arc<str>,
        /// Whether `metadata.deletionTimestamp` is set.
        terminating: bool,
        /// The object is removed by an ordinary delete this long after the commit.
        time_to_live: Option<Duration>,
    },
    /// Removes the object. `body` is its last state, which watchers get with DELETED.
    Delete {
        /// See [`StoredObject::body`].
        body: Bytes,
    },
}

/// A condition on another object, compared in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The object that must exist and must not be terminating.
    pub key: ObjectKey,
    /// If given, the object must be this incarnation.
    pub uid: Option<Arc<str>>,
}

/// How a fence was found broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceFound {
    /// There is no such object.
    Missing,
    /// Another incarnation is there.
    OtherUid,
    /// The object is terminating.
    Terminating,
}

/// A unique name that one holder at a time may have: taken or given up in the transaction of the write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimChange {
    /// What the name is of, such as `service-ip`.
    pub space: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// Takes it for this holder (success if the holder has it already), or gives it up (only if this holder has it).
    pub holder: Arc<str>,
    /// Whether it is given up.
    pub release: bool,
}

/// One write of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The object.
    pub key: ObjectKey,
    /// What must hold of it.
    pub expect: Expect,
    /// What is done.
    pub change: Change,
    /// What must hold of others.
    pub fences: Vec<Fence>,
    /// Unique names taken and given up.
    pub claims: Vec<ClaimChange>,
}

/// Why a write did not take place. Nothing was changed, except where said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The expectation does not hold; what is there instead.
    #[error("the object is not in the expected state")]
    Expectation(Option<Box<StoredObject>>),
    /// A fence does not hold.
    #[error("fence {index} does not hold: {found:?}")]
    Fence {
        /// Index into [`Write::fences`].
        index: usize,
        /// What was found.
        found: FenceFound,
    },
    /// A claim is held by somebody else.
    #[error("claim {index} is held by {holder}")]
    Claimed {
        /// Index into [`Write::claims`].
        index: usize,
        /// Who holds it.
        holder: String,
    },
    /// The object does not fit.
    #[error("{0}")]
    TooLarge(String),
    /// The store could not be reached; not applied.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// The store could not be asked in time whether the write was applied.
    #[error("the outcome of the write is unknown")]
    Unknown,
    /// What was read cannot be what was written; not applied.
    #[error("storage is corrupt: {0}")]
    Corrupt(String),
}

/// A write that took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Revision of the object now; of a delete, the revision of the deletion.
    pub revision: Revision,
    /// Revision of the create.
    pub created: Revision,
    /// False if the stored state was the wanted one already: then there is no event, and `revision` is the old one (S7).
    pub changed: bool,
}

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The asked revision has not been reached: 504.
    #[error("too large resource version: {asked}, current: {current}")]
    TooLarge {
        /// The asked revision.
        asked: Revision,
        /// Where the cache is.
        current: Revision,
    },
    /// The asked revision is no longer kept: 410. `oldest` is the oldest that is.
    #[error("revision {asked} is compacted, the oldest kept is {oldest}")]
    Compacted {
        /// The asked revision.
        asked: Revision,
        /// The oldest that can still be asked for.
        oldest: Revision,
    },
    /// 410 for a continue token: `token` goes on at the newest revision, inconsistently.
    #[error("the continue token is too old")]
    ContinueExpired {
        /// A token that goes on after the last key at the newest revision.
        token: String,
    },
    /// The continue token is malformed or belongs to another list: 400.
    #[error("{0}")]
    InvalidContinue(String),
    /// The store could not be reached.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// What was read cannot be what was written.
    #[error("storage is corrupt: {0}")]
    Corrupt(String),
}

/// What selectors look at: taken out of a body once, when it enters the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Selectable fields by path; `metadata.name` and `metadata.namespace` included.
    pub fields: BTreeMap<String, String>,
}

/// Takes the attributes out of a body (see [`StoredObject::body`]).
pub trait AttributesOf: Send + Sync + 'static {
    /// Never fails: what cannot be read has no attributes.
    fn attributes_of(&self, key: &ObjectKey, body: &[u8]) -> Attributes;
}

/// What a list or watch selects.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// One namespace; None for all (or for a cluster-scoped resource).
    pub namespace: Option<Arc<str>>,
    /// Labels.
    pub labels: LabelSelector,
    /// Fields. A requirement `metadata.name=x` makes the store look up one key.
    pub fields: FieldSelector,
}

/// At which revision a list is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListAt {
    /// `resourceVersion=""`: at least every write acknowledged before the request.
    Latest,
    /// `resourceVersion="0"`: whatever the cache has.
    Any,
    /// `resourceVersion=N` (NotOlderThan).
    NotOlderThan(Revision),
    /// `resourceVersion=N&resourceVersionMatch=Exact`.
    Exact(Revision),
}

/// A list request.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// What is selected.
    pub selection: Selection,
    /// At which revision.
    pub at: ListAt,
    /// Page size; 0 is unlimited.
    pub limit: usize,
    /// The token of the previous page; then `at` is ignored.
    pub continue_token: Option<String>,
}

/// A list, or a page of one.
#[derive(Debug, Clone)]
pub struct ListResult {
    /// The revision at which every item is shown.
    pub revision: Revision,
    /// In key order: namespace, then name.
    pub items: Vec<Arc<Entry>>,
    /// Token of the next page.
    pub continue_token: Option<String>,
    /// How many items are left, where it is known (no selector).
    pub remaining: Option<u64>,
}

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchFrom {
    /// Initial state as ADDED, at least as new as every write acknowledged before the request; then changes.
    StateLatest,
    /// Initial state as ADDED, whatever the cache has (`resourceVersion="0"`); then changes.
    StateAny,
    /// Initial state as ADDED, not older than this (`sendInitialEvents=true&resourceVersion=N`); then changes.
    StateNotOlderThan(Revision),
    /// Changes after this revision, without initial state.
    After(Revision),
    /// Changes from now on, without initial state (`sendInitialEvents=false` without a resourceVersion).
    Now,
}

/// A watch request.
#[derive(Debug, Clone)]
pub struct WatchRequest {
    /// What is selected.
    pub selection: Selection,
    /// Where it starts.
    pub from: WatchFrom,
    /// Whether bookmarks are sent.
    pub bookmarks: bool,
    /// Whether a bookmark with `k8s.io/initial-events-end` closes the initial state (needs `bookmarks`).
    pub initial_events_end: bool,
}

/// The `type` of a watch event that shows an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// It came into the selection.
    Added,
    /// It changed within the selection.
    Modified,
    /// It left the selection or the store.
    Deleted,
}

impl EventType {
    /// As printed.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Added => "ADDED",
            EventType::Modified => "MODIFIED",
            EventType::Deleted => "DELETED",
        }
    }
}
