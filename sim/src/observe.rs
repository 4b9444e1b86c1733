//! Committed rows become commits of the history: objects, log rows and compaction floors, as the storage holds them.
//!
//! FoundationDB shows each transaction ([`CommitObserver::committed`]). The embedded store shows groups of transactions as one
//! batch of rows ([`CommitObserver::group_committed`]): the stamps of object rows and of the keys of log rows tell the
//! transactions apart. A state that was replaced within its group is in its log row alone.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use triune_env::storage::{Revision, Stamp, StorageError};
use triune_history::{Body, Commit, Object, ObjectChange, ObjectKey, Recorder};
use triune_sim_disk::Observer;
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

    /// A group of transactions was committed as one batch, the last of them at `revision`.
    ///
    /// # Panics
    /// As [`CommitObserver::committed`].
    pub fn group_committed(&self, revision: u64, rows: &BTreeMap<Bytes, Option<Bytes>>) {
        match self.commits_of(revision, rows) {
            Ok(commits) => {
                commits.into_iter().for_each(|commit| self.recorder.record(&self.node, Body::Commit(commit)));
            }
            Err(error) => panic!("commits up to {revision}: {error}"),
        }
    }

    /// The transactions of a group, as far as their rows tell: compaction floors and removals without a log row are ascribed
    /// to the last.
    fn commits_of(&self, last: u64, rows: &BTreeMap<Bytes, Option<Bytes>>) -> Result<Vec<Commit>, StorageError> {
        let mut group = Group::default();
        let mut changes: BTreeMap<ObjectKey, BTreeMap<u64, LogRow>> = BTreeMap::new();
        let mut objects: Vec<(ObjectKey, Option<ObjectRow>)> = Vec::new();
        let mut pieces: Pieces = BTreeMap::new();
        for (key, value) in rows {
            match (self.keys.decode(key)?, value) {
                (RowKey::Object(key), value) => {
                    let row = value.as_ref().map(ObjectRow::decode).transpose()?;
                    objects.push((key_of(&key.resource.to_string(), &key.namespace, &key.name), row));
                }
                (RowKey::Log(resource, stamp), Some(value)) => {
                    let log = LogRow::decode(value)?;
                    let key = key_of(&resource.to_string(), &log.namespace, &log.name);
                    let revision = (self.revision_of)(&stamp);
                    group.at(revision).logged.push((key.clone(), log.delete));
                    changes.entry(key).or_default().insert(revision, log);
                }
                (RowKey::Compacted(resource), Some(value)) => {
                    let floor = (self.revision_of)(&CompactedRow::decode(value)?.floor);
                    group.at(last).compacted.push((resource.to_string(), floor));
                }
                (RowKey::Body(id, index), Some(value)) => {
                    pieces.entry(id).or_default().insert(index, value.clone());
                }
                _ => {}
            }
        }
        for (key, row) in objects {
            let mut logged = changes.remove(&key).unwrap_or_default();
            // The last change is judged by the object row alone: a log row that says something else must be found.
            let latest = logged.pop_last().filter(|(_, log)| log.delete == row.is_none());
            let revision = match &row {
                Some(row) => (self.revision_of)(&row.stamp),
                None => latest.map_or(last, |(revision, _)| revision),
            };
            let object = row.map(|row| object_of(&row.body, revision, &pieces)).transpose()?;
            group.change(revision, key.clone(), object);
            for (revision, log) in logged {
                let object = if log.delete { None } else { Some(object_of(&log.body, revision, &pieces)?) };
                group.change(revision, key.clone(), object);
            }
        }
        Ok(group.commits.into_values().collect())
    }

    fn commit_of(&self, revision: u64, mutations: &[Mutation]) -> Result<Commit, StorageError> {
        let mut commit = empty(revision);
        let mut pieces: Pieces = BTreeMap::new();
        let mut objects = Vec::new();
        for (key, value) in mutations {
            match (self.keys.decode(key)?, value) {
                (RowKey::Object(key), None) => objects.push((key, None)),
                (RowKey::Object(key), Some(value)) => objects.push((key, Some(ObjectRow::decode(value)?))),
                (RowKey::Log(resource, _), Some(value)) => {
                    let log = LogRow::decode(value)?;
                    let key = key_of(&resource.to_string(), &log.namespace, &log.name);
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
            let object = row.map(|row| object_of(&row.body, revision, &pieces)).transpose()?;
            let key = key_of(&key.resource.to_string(), &key.namespace, &key.name);
            commit.objects.push(ObjectChange { key, object });
        }
        Ok(commit)
    }
}

/// Shows the commits of a disk to a [`CommitObserver`], each once: at recovery also the last group, if its process was
/// killed before the fsync.
pub struct GroupObserver {
    commits: CommitObserver,
    last: Mutex<Revision>,
}

impl GroupObserver {
    /// Of an empty disk.
    pub fn new(commits: CommitObserver) -> GroupObserver {
        GroupObserver { commits, last: Mutex::default() }
    }
}

impl Observer for GroupObserver {
    fn committed(&self, revision: Revision, rows: &BTreeMap<Bytes, Option<Bytes>>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = revision;
        self.commits.group_committed(revision.0, rows);
    }

    /// # Panics
    /// If commits that were durable are gone.
    fn recovered(&self, revision: Revision, last: &BTreeMap<Bytes, Option<Bytes>>) {
        let seen = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(
            seen <= revision,
            "the disk has lost commits: {seen} was durable, after recovery {revision} is the last"
        );
        if seen < revision {
            self.committed(revision, last);
        }
    }
}

type Pieces = BTreeMap<BodyId, BTreeMap<u32, Bytes>>;

/// The commits of a group by revision.
#[derive(Default)]
struct Group {
    commits: BTreeMap<u64, Commit>,
}

impl Group {
    fn at(&mut self, revision: u64) -> &mut Commit {
        self.commits.entry(revision).or_insert_with(|| empty(revision))
    }

    fn change(&mut self, revision: u64, key: ObjectKey, object: Option<Object>) {
        self.at(revision).objects.push(ObjectChange { key, object });
    }
}

fn empty(revision: u64) -> Commit {
    Commit { revision, objects: Vec::new(), logged: Vec::new(), compacted: Vec::new() }
}

fn key_of(resource: &str, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { resource: resource.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
}

/// The object of a body; one in pieces was written by the same transaction.
fn object_of(body: &BodyPlace, revision: u64, pieces: &Pieces) -> Result<Object, StorageError> {
    let mut text = BytesMut::from(&b"{"[..]);
    match body {
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

#[cfg(test)]
mod tests {
    use triune_api::names::GroupResource;
    use triune_history::At;
    use triune_storage::{revision_of, stamp_of};

    use super::*;

    const NAME: &str = "a";

    fn keys() -> KeySpace {
        KeySpace::new("t")
    }

    fn resource() -> GroupResource {
        GroupResource { group: "".into(), resource: "configmaps".into() }
    }

    fn object_key(name: &str) -> Bytes {
        let (namespace, name) = ("default".into(), name.into());
        keys().encode(&RowKey::Object(triune_api::names::ObjectKey { resource: resource(), namespace, name }))
    }

    fn body(name: &str, text: &str) -> BodyPlace {
        let text = format!(r#""metadata":{{"name":"{name}","namespace":"default","uid":"{text}"}}}}"#);
        BodyPlace::Inline(text.into())
    }

    fn object_row(name: &str, revision: u64, text: &str) -> (Bytes, Option<Bytes>) {
        let row = ObjectRow {
            stamp: stamp_of(Revision(revision)),
            created: None,
            write_id: 1,
            uid: "u".into(),
            terminating: false,
            expires_ms: 0,
            body: body(name, text),
        };
        (object_key(name), Some(row.encode().into()))
    }

    fn log_row(name: &str, revision: u64, delete: bool, text: &str) -> (Bytes, Option<Bytes>) {
        let row = LogRow {
            delete,
            write_id: 1,
            previous: None,
            created: None,
            namespace: "default".into(),
            name: name.into(),
            body: body(name, text),
            before: None,
        };
        (keys().encode(&RowKey::Log(resource(), stamp_of(Revision(revision)))), Some(row.encode()))
    }

    fn floor_row(floor: u64) -> (Bytes, Option<Bytes>) {
        let row = CompactedRow { floor: stamp_of(Revision(floor)), at_ms: 0 };
        (keys().encode(&RowKey::Compacted(resource())), Some(row.encode()))
    }

    fn recorder() -> Recorder {
        Recorder::new(|| At(0))
    }

    fn observer(recorder: Recorder) -> CommitObserver {
        CommitObserver::new(recorder, "store", "t", |stamp| revision_of(stamp).0)
    }

    /// Commits as text: `revision: name=uid name-; logged name name-; floor revision`.
    fn shown(commits: &[Commit]) -> Vec<String> {
        let commit = |commit: &Commit| {
            let mut text = format!("{}:", commit.revision);
            for change in &commit.objects {
                let uid = change.object.as_ref().map(|object| format!("={}", object.uid));
                text += &format!(" {}{}", change.key.name, uid.unwrap_or_else(|| "-".to_owned()));
            }
            text += ";";
            for (key, delete) in &commit.logged {
                text += &format!(" {}{}", key.name, if *delete { "-" } else { "" });
            }
            commit.compacted.iter().for_each(|(_, floor)| text += &format!("; floor {floor}"));
            text
        };
        commits.iter().map(commit).collect()
    }

    fn check(last: u64, rows: impl IntoIterator<Item = (Bytes, Option<Bytes>)>, expect: &[&str]) {
        let commits = observer(recorder()).commits_of(last, &rows.into_iter().collect()).unwrap();
        assert_eq!(shown(&commits), expect);
    }

    #[test]
    fn a_group_is_taken_apart() {
        check(5, [object_row(NAME, 5, "x"), log_row(NAME, 5, false, "x")], &["5: a=x; a"]);
        let gone = (object_key(NAME), None);
        check(5, [gone.clone(), log_row(NAME, 5, true, "x")], &["5: a-; a-"]);
        // Replaced within the group.
        let three = [log_row(NAME, 3, false, "x"), log_row(NAME, 4, true, "x"), log_row(NAME, 5, false, "y")];
        check(6, three.into_iter().chain([object_row(NAME, 5, "y")]), &["3: a=x; a", "4: a-; a-", "5: a=y; a"]);
        let made_and_removed = [log_row(NAME, 3, false, "x"), log_row(NAME, 4, true, "x"), gone.clone()];
        check(4, made_and_removed, &["3: a=x; a", "4: a-; a-"]);
        // Of two objects, and a compaction somewhere among them.
        let two = [object_row("a", 3, "x"), log_row("a", 3, false, "x")];
        let two = two.into_iter().chain([object_row("b", 4, "y"), log_row("b", 4, false, "y"), floor_row(2)]);
        check(5, two, &["3: a=x; a", "4: b=y; b", "5:;; floor 2"]);
        check(5, [], &[]);
    }

    /// What must not be smoothed over: the checkers see object and log rows that do not fit.
    #[test]
    fn rows_that_do_not_fit_stay_apart() {
        check(5, [object_row(NAME, 5, "x")], &["5: a=x;"]);
        check(5, [log_row(NAME, 5, false, "x")], &["5:; a"]);
        check(5, [object_row(NAME, 4, "x"), log_row(NAME, 5, false, "x")], &["4: a=x;", "5:; a"]);
        check(6, [(object_key(NAME), None), log_row(NAME, 5, false, "x")], &["5:; a", "6: a-;"]);
        check(6, [object_row(NAME, 5, "x"), log_row(NAME, 5, true, "x")], &["5: a=x; a-"]);
    }

    fn seen(recorder: &Recorder) -> Vec<u64> {
        let revision = |event: triune_history::Event| match event.body {
            Body::Commit(commit) => commit.revision,
            other => panic!("{other:?}"),
        };
        recorder.take().into_iter().map(revision).collect()
    }

    fn rows(revision: u64) -> BTreeMap<Bytes, Option<Bytes>> {
        BTreeMap::from([object_row(NAME, revision, "x"), log_row(NAME, revision, false, "x")])
    }

    #[test]
    fn what_recovery_shows_is_taken_once() {
        let recorder = recorder();
        let observer = GroupObserver::new(observer(recorder.clone()));
        observer.recovered(Revision(1), &BTreeMap::new());
        observer.committed(Revision(5), &rows(5));
        observer.recovered(Revision(5), &rows(5));
        // Killed before its fsync; recovery made it durable, and was killed itself later.
        observer.recovered(Revision(6), &rows(6));
        observer.recovered(Revision(6), &rows(6));
        observer.committed(Revision(7), &rows(7));
        assert_eq!(seen(&recorder), [5, 6, 7]);
    }

    #[test]
    #[should_panic(expected = "the disk has lost commits: 5 was durable, after recovery 4 is the last")]
    fn a_lost_commit_is_noticed() {
        let observer = GroupObserver::new(observer(recorder()));
        observer.committed(Revision(5), &rows(5));
        observer.recovered(Revision(4), &rows(4));
    }
}
