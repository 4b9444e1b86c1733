//! Committed rows become commits of the history: objects, log rows and compaction floors, as the storage holds them.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use triune_env::storage::{Stamp, StorageError};
use triune_history::{Body, Commit, Object, ObjectChange, ObjectKey, Recorder};
use triune_store::{
    keys::{BodyId, KeySpace, RowKey},
    rows::{BodyPlace, CompactedRow, LogRow, ObjectRow},
};

/// A row as committed: None removes.
pub type Mutation = (Bytes, Option<Bytes>);

/// Records what the storage commits.
pub struct CommitObserver {
    keys: KeySpace,
    recorder: Recorder,
    node: String,
    revision_of: Box<dyn Fn(&Stamp) -> u64 + Send + Sync>,
}

impl CommitObserver {
    /// Of the storage node `node` and the rows of `tenant`.
    pub fn new(
        recorder: Recorder,
        node: &str,
        tenant: &str,
        revision_of: impl Fn(&Stamp) -> u64 + Send + Sync + 'static,
    ) -> CommitObserver {
        let revision_of = Box::new(revision_of);
        CommitObserver { keys: KeySpace::new(tenant), recorder, node: node.to_owned(), revision_of }
    }

    /// A transaction was committed; called in commit order.
    ///
    /// # Panics
    /// If a row cannot be what the store writes: the simulation cannot go on without knowing what was written.
    pub fn committed(&self, revision: u64, mutations: &[Mutation]) {
        match self.commit_of(revision, mutations) {
            Ok(commit) if commit.objects.is_empty() && commit.logged.is_empty() && commit.compacted.is_empty() => {}
            Ok(commit) => self.recorder.record(&self.node, Body::Commit(commit)),
            Err(error) => panic!("commit {revision}: {error}"),
        }
    }

    fn commit_of(&self, revision: u64, mutations: &[Mutation]) -> Result<Commit, StorageError> {
        let mut commit = Commit { revision, objects: Vec::new(), logged: Vec::new(), compacted: Vec::new() };
        let mut pieces: BTreeMap<BodyId, BTreeMap<u32, Bytes>> = BTreeMap::new();
        let mut objects = Vec::new();
        for (key, value) in mutations {
            match (self.keys.decode(key)?, value) {
                (RowKey::Object(key), None) => objects.push((key, None)),
                (RowKey::Object(key), Some(value)) => objects.push((key, Some(ObjectRow::decode(value)?))),
                (RowKey::Log(resource, _), Some(value)) => {
                    let log = LogRow::decode(value)?;
                    let key = ObjectKey {
                        resource: resource.to_string(),
                        namespace: log.namespace.to_string(),
                        name: log.name.to_string(),
                    };
                    commit.logged.push((key, log.delete));
                }
                (RowKey::Compacted(resource), Some(value)) => {
                    let floor = (self.revision_of)(&CompactedRow::decode(value)?.floor);
                    commit.compacted.push((resource.to_string(), floor));
                }
                (RowKey::Body(id, index), Some(value)) => {
                    pieces.entry(id).or_default().insert(index, value.clone());
                }
                _ => {}
            }
        }
        for (key, row) in objects {
            let object = row.map(|row| object_of(&row, revision, &pieces)).transpose()?;
            let key = ObjectKey {
                resource: key.resource.to_string(),
                namespace: key.namespace.to_string(),
                name: key.name.to_string(),
            };
            commit.objects.push(ObjectChange { key, object });
        }
        Ok(commit)
    }
}

/// The object of a row; a body in pieces was written by the same transaction.
fn object_of(
    row: &ObjectRow,
    revision: u64,
    pieces: &BTreeMap<BodyId, BTreeMap<u32, Bytes>>,
) -> Result<Object, StorageError> {
    let mut text = BytesMut::from(&b"{"[..]);
    match &row.body {
        BodyPlace::Inline(bytes) => text.extend_from_slice(bytes),
        BodyPlace::Chunks { id, .. } => {
            for piece in pieces.get(id).into_iter().flat_map(BTreeMap::values) {
                text.extend_from_slice(piece);
            }
        }
    }
    let value = serde_json::from_slice(&text).map_err(|error| StorageError::Corrupt(format!("a body: {error}")))?;
    let object = Object::from_json(value, Some(revision));
    object.ok_or_else(|| StorageError::Corrupt("a body is no object with a name".to_owned()))
}
