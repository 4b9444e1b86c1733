//! Rows in a persistent map: a snapshot is a clone. Commits are done by the caller, one at a time; no thread, no task,
//! no randomness, so that a simulation can own it.

use std::{
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use imbl::OrdMap;
use triune_env::{
    BoxFuture, Env,
    storage::{CommitError, KeyRange, Revision, Row, StorageError},
};

use crate::{
    client::{Client, Submit},
    committer::{Answer, Committer},
    engine::{Batch, Engine, View},
    intent::Intent,
    shared::Shared,
};

/// The revision of the empty storage: a client takes 0 for "no revision".
pub const FIRST_REVISION: Revision = Revision(1);

pub(crate) fn open(env: Env) -> Client<MemoryView> {
    let engine = MemoryEngine::default();
    let shared = Arc::new(Shared::new(env, FIRST_REVISION, engine.view()));
    let committer = Mutex::new((Committer::new(shared.clone()), engine));
    Client { submit: Arc::new(Direct { committer, shared: shared.clone() }), shared }
}

#[derive(Default)]
pub(crate) struct MemoryEngine {
    rows: OrdMap<Bytes, Bytes>,
}

impl Engine for MemoryEngine {
    type View = MemoryView;

    fn apply(&mut self, batch: &Batch) -> Result<(), StorageError> {
        for (key, value) in &batch.rows {
            match value {
                Some(value) => drop(self.rows.insert(key.clone(), value.clone())),
                None => drop(self.rows.remove(key)),
            }
        }
        Ok(())
    }

    fn view(&self) -> MemoryView {
        MemoryView { rows: self.rows.clone() }
    }
}

#[derive(Clone)]
pub(crate) struct MemoryView {
    rows: OrdMap<Bytes, Bytes>,
}

impl MemoryView {
    fn iterate(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = (&Bytes, &Bytes)> {
        self.rows.range::<_, Bytes>((Bound::Included(&range.start), Bound::Excluded(&range.end)))
    }
}

impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.rows.get(key).cloned())
    }

    fn range(&self, range: &KeyRange, limit: usize, reverse: bool) -> Result<Vec<Row>, StorageError> {
        let row = |(key, value): (&Bytes, &Bytes)| Row { key: key.clone(), value: value.clone() };
        let rows = self.iterate(range);
        Ok(if reverse { rows.rev().take(limit).map(row).collect() } else { rows.take(limit).map(row).collect() })
    }

    fn keys(&self, range: &KeyRange) -> Result<Vec<Bytes>, StorageError> {
        Ok(self.iterate(range).map(|(key, _)| key.clone()).collect())
    }
}

/// Commits in the call: without a disk there is nothing to wait for, and nothing to share between commits.
struct Direct {
    committer: Mutex<(Committer<MemoryView>, MemoryEngine)>,
    shared: Arc<Shared<MemoryView>>,
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.shared.stop("storage is closed".to_owned());
    }
}

impl Submit for Direct {
    fn submit(&self, intent: Intent) -> BoxFuture<'static, Answer> {
        let (committer, engine) = &mut *self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = committer.commit_group(engine, vec![intent]);
        let answer = answers.into_iter().next();
        Box::pin(futures::future::ready(answer.unwrap_or(Err(CommitError::Unknown))))
    }
}

#[cfg(test)]
mod tests {
    use triune_env::storage::{Isolation, Storage};

    use super::*;

    #[tokio::test]
    async fn commits_are_seen_and_conflicts_are_found() {
        let storage = open(triune_platform::env());
        let key = Bytes::from_static(b"key");
        let changed = storage.changed(key.clone(), None);
        let (mut first, mut second) = (storage.begin().await.unwrap(), storage.begin().await.unwrap());
        assert_eq!(first.get(&key, Isolation::Serializable).await, Ok(None));
        assert_eq!(second.get(&key, Isolation::Serializable).await, Ok(None));
        first.set_stamped_value(key.clone(), vec![7; 12], 1);
        second.set(key.clone(), Bytes::from_static(b"other"));
        let revision = first.commit().await.unwrap();
        assert_eq!(second.commit().await, Err(CommitError::Conflict));
        changed.await.unwrap();
        let value = storage.begin().await.unwrap().get(&key, Isolation::Snapshot).await.unwrap().unwrap();
        assert_eq!(value, [&[7][..], &storage.stamp_of(revision), &[7]].concat());
    }
}
