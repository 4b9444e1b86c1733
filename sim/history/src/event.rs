//! The events of a history. All are in the order in which they happened.

use serde::{Deserialize, Serialize};

use crate::object::{Object, ObjectKey};

/// Simulated time since the start of a run, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct At(pub u64);

impl std::fmt::Display for At {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{:06} s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// Something that happened, on a node, at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: At,
    /// Name of the node: `store`, `api-1`, `client-2`, `faults`.
    pub node: String,
    /// What.
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", content = "value")]
pub enum Body {
    /// The storage committed a transaction that changed an object or a compaction floor; in commit order.
    Commit(Commit),
    /// A client sends a request. Each has an answer, unless the run ends first.
    Invoke {
        /// Unique in the run.
        id: OperationId,
        /// Name of the API server that is asked.
        server: String,
        /// What is asked.
        operation: Operation,
    },
    /// What the client was told. A watch is answered when its stream opens.
    Answer {
        /// The request.
        id: OperationId,
        /// What came of it.
        outcome: Outcome,
    },
    /// A watch delivered this.
    Stream {
        /// The watch.
        id: OperationId,
        /// What.
        item: StreamItem,
    },
    /// A watch ended.
    StreamEnd {
        /// The watch.
        id: OperationId,
        /// How.
        end: StreamEnd,
    },
    /// An informer's store holds just these objects, all that its selection shows at the revision (W17).
    Informer {
        /// Tells the informers of a node apart.
        informer: u64,
        /// Which resource.
        resource: String,
        /// Empty for all.
        namespace: String,
        /// `labelSelector`: equalities only.
        labels: Vec<(String, String)>,
        /// The position of the informer.
        revision: u64,
        /// In key order.
        objects: Vec<Object>,
    },
    /// An informer told its handler of an object; None for a deletion.
    Handled {
        /// Which informer of the node.
        informer: u64,
        /// Which.
        key: ObjectKey,
        /// The new state.
        object: Option<Object>,
    },
    /// The node's life changed.
    Node(NodeChange),
    /// A fault begins, ends, or everything is healed. For people; checkers look at [`Body::Node`] and [`Body::Healed`].
    Fault(String),
    /// From here on there are no faults: liveness counts from here.
    Healed,
    /// A message on the network, for reports; only in runs that record them.
    Message {
        /// Name of the receiving node.
        to: String,
        /// Bytes.
        bytes: u64,
        /// When it arrives.
        arrives: At,
    },
    /// Counted at the end of a run: tasks, watches, connections that should be back at their baseline (L20).
    Gauge {
        /// What is counted.
        name: String,
        /// The count.
        value: u64,
        /// What it should be at most.
        bound: u64,
    },
    /// Something for the reader of a log.
    Note(String),
}

/// A committed transaction as far as it concerns objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Commit {
    /// Its revision.
    pub revision: u64,
    /// Object rows that it set or cleared.
    pub objects: Vec<ObjectChange>,
    /// Change log rows that it wrote: `(object, whether a delete)`; each must have its object change and the other way
    /// round.
    pub logged: Vec<(ObjectKey, bool)>,
    /// Compaction floors that it set: `(resource, revision)`.
    pub compacted: Vec<(String, u64)>,
}

/// An object row before and after.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectChange {
    /// Which object.
    pub key: ObjectKey,
    /// The new state; None if it was removed.
    pub object: Option<Object>,
}

/// Names a request of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId(pub u64);

/// `resourceVersion` and `resourceVersionMatch` of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "at", content = "revision")]
pub enum Version {
    /// Unset.
    Latest,
    /// `0`.
    Any,
    /// `N`, not older than.
    NotOlderThan(u64),
    /// `N`, exact.
    Exact(u64),
}

/// `resourceVersion` and `sendInitialEvents` of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from", content = "revision")]
pub enum WatchFrom {
    /// Unset: synthetic ADDED, then changes.
    StateLatest,
    /// `0`: the same at whatever the cache has.
    StateAny,
    /// `N`: changes after N.
    After(u64),
    /// `sendInitialEvents=true`, `resourceVersion` unset or N (0 for unset): WatchList.
    WatchList(u64),
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Operation {
    /// POST.
    Create {
        /// The object; its name is empty with `generateName`.
        key: ObjectKey,
        /// Digest and metadata as sent; None if it has only a `generateName`.
        object: Option<Object>,
    },
    /// PUT of a whole object.
    Update {
        /// Which.
        key: ObjectKey,
        /// `metadata.resourceVersion` as sent; None for an unconditional update.
        expect: Option<u64>,
        /// As sent.
        object: Object,
    },
    /// PATCH that is expected to change something. `expect` as of Update.
    Patch {
        /// Which.
        key: ObjectKey,
        /// `metadata.resourceVersion` in the patch.
        expect: Option<u64>,
        /// `merge`, `strategic`, `json`, `apply`.
        kind: String,
        /// The patch, for the reader.
        patch: String,
    },
    /// DELETE.
    Delete {
        /// Which.
        key: ObjectKey,
        /// `preconditions.uid`.
        uid: Option<String>,
        /// `preconditions.resourceVersion`.
        expect: Option<u64>,
    },
    /// DELETE of all that is selected.
    DeleteCollection {
        /// Which resource.
        resource: String,
        /// Empty for all.
        namespace: String,
        /// `labelSelector`: equalities only.
        labels: Vec<(String, String)>,
    },
    /// GET of one object without a resourceVersion (linearizable).
    Get {
        /// Which.
        key: ObjectKey,
    },
    /// GET of one object with a resourceVersion: a state not older than that.
    GetCached {
        /// Which.
        key: ObjectKey,
        /// `resourceVersion`; 0 for whatever there is.
        at_least: u64,
    },
    /// GET of many.
    List {
        /// Which resource.
        resource: String,
        /// Empty for all.
        namespace: String,
        /// `labelSelector`: equalities only.
        labels: Vec<(String, String)>,
        /// At which revision; ignored with a token.
        version: Version,
        /// Page size; 0 for all.
        limit: u64,
        /// First page of this chain, if this is a later one.
        continues: Option<OperationId>,
    },
    /// A watch.
    Watch {
        /// Which resource.
        resource: String,
        /// Empty for all.
        namespace: String,
        /// `labelSelector`: equalities only.
        labels: Vec<(String, String)>,
        /// Where it starts.
        from: WatchFrom,
        /// `allowWatchBookmarks`.
        bookmarks: bool,
        /// `timeoutSeconds`; 0 if unset.
        timeout_seconds: u64,
    },
    /// GET of a path that is no resource: `/readyz`, discovery, `/version`.
    Path {
        /// The path.
        path: String,
    },
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "value")]
pub enum Outcome {
    /// An answer came.
    Answered(Box<Answer>),
    /// The connection could not be made: the request was certainly not sent.
    NotSent(String),
    /// The connection broke or the client gave up waiting: it may have been carried out.
    Unknown(String),
}

/// An answer, reduced.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status code.
    pub code: u16,
    /// `reason` of a Status.
    pub reason: String,
    /// `message` of a Status.
    pub message: String,
    /// Reasons of `details.causes`.
    pub causes: Vec<String>,
    /// The object, of a single-object verb.
    pub object: Option<Object>,
    /// The list, of a list (or deletecollection).
    pub list: Option<ListAnswer>,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
}

/// A list or a page of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListAnswer {
    /// `metadata.resourceVersion`.
    pub revision: u64,
    /// In the order of the answer.
    pub items: Vec<Object>,
    /// Whether there is a `continue` token (also in the 410 that gives an inconsistent one).
    pub more: bool,
    /// `remainingItemCount`.
    pub remaining: Option<u64>,
}

/// What a watch delivers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event", content = "value")]
pub enum StreamItem {
    /// ADDED.
    Added(Object),
    /// MODIFIED.
    Modified(Object),
    /// DELETED.
    Deleted(Object),
    /// BOOKMARK.
    Bookmark {
        /// `metadata.resourceVersion`.
        revision: u64,
        /// Whether it has the annotation `k8s.io/initial-events-end`.
        initial_events_end: bool,
    },
    /// ERROR with a Status.
    Error {
        /// Its code.
        code: u16,
        /// Its reason.
        reason: String,
    },
}

/// How a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamEnd {
    /// The server ended it in good order.
    Closed,
    /// The connection broke.
    Broken,
    /// The client dropped it.
    Dropped,
}

/// The life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeChange {
    /// The process starts.
    Started,
    /// It is asked to stop (SIGTERM).
    AskedToStop,
    /// It ended in good order.
    Stopped,
    /// It was killed.
    Crashed,
    /// It stands still.
    Paused,
    /// It goes on.
    Resumed,
}
