//! A group of intents becomes one batch, revisions and answers.
//!
//! Order within a group is the order of arrival: an intent is validated against those before it, too. If the batch may
//! not have been applied, every intent of the group that was in it is answered Unknown and the committer refuses all
//! further commits: what is on disk is no longer known, and stopping beats corrupting. Reads go on.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use triune_env::storage::{CommitError, KeyRange, Revision, STAMP_BYTES, StorageError};

use crate::{
    engine::{Batch, Engine, View},
    history::{History, WriteSet},
    intent::{Intent, Mutation, stamp_of},
    shared::Shared,
};

/// The answer to one intent.
pub(crate) type Answer = Result<Revision, CommitError>;

/// Takes groups of intents, one at a time.
pub(crate) struct Committer<V: View> {
    history: History,
    /// The last revision given.
    last: Revision,
    shared: Arc<Shared<V>>,
}

/// A group that was validated: what is to be applied, and the answers if it is.
pub(crate) struct Prepared {
    /// None if nothing is to be applied.
    pub(crate) batch: Option<Batch>,
    answers: Vec<Answer>,
}

impl<V: View> Committer<V> {
    /// Goes on after the last revision that `shared` has published.
    pub(crate) fn new(shared: Arc<Shared<V>>) -> Committer<V> {
        let last = shared.published().revision;
        Committer { history: History::new(last), last, shared }
    }

    /// Commits a group: the answers are in the order of the intents. What is acknowledged is durable and published.
    pub(crate) fn commit_group<E: Engine<View = V>>(&mut self, engine: &mut E, group: Vec<Intent>) -> Vec<Answer> {
        let prepared = self.prepare(group);
        let applied = prepared.batch.as_ref().map_or(Ok(()), |batch| engine.apply(batch));
        self.settle(prepared, applied, || engine.view())
    }

    /// Validates a group. The next call is [`Committer::settle`], after its batch was applied or was not.
    pub(crate) fn prepare(&mut self, group: Vec<Intent>) -> Prepared {
        if let Some(reason) = self.shared.stopped() {
            let answers = group.iter().map(|_| Err(CommitError::Unavailable(reason.clone()))).collect();
            return Prepared { batch: None, answers };
        }
        let view = self.shared.published().view;
        let (mut batch, mut accepted) = (Batch::default(), 0_usize);
        let mut answers: Vec<Answer> = Vec::with_capacity(group.len());
        for intent in group {
            let answer = self.accept(intent, &view, &mut batch);
            accepted += usize::from(answer.is_ok());
            answers.push(answer);
        }
        batch.revision = self.last;
        Prepared { batch: (accepted > 0).then_some(batch), answers }
    }

    /// Publishes what was applied and gives the answers, in the order of the intents.
    pub(crate) fn settle(
        &self,
        prepared: Prepared,
        applied: Result<(), StorageError>,
        view: impl FnOnce() -> V,
    ) -> Vec<Answer> {
        let Prepared { batch, mut answers } = prepared;
        let Some(batch) = batch else { return answers };
        match applied {
            Ok(()) => {
                self.shared.publish(batch.revision, view());
                self.shared.waiters.wake(batch.rows.keys());
            }
            Err(error) => {
                self.shared.stop(format!("writes stopped after a failed commit: {error}"));
                for answer in &mut answers {
                    if answer.is_ok() {
                        *answer = Err(CommitError::Unknown);
                    }
                }
            }
        }
        answers
    }

    /// Forgets history that no living transaction needs. Returns whether any is left.
    pub(crate) fn forget(&mut self, now: Instant) -> bool {
        self.history.forget(now);
        !self.history.is_empty()
    }

    fn accept(&mut self, intent: Intent, view: &V, batch: &mut Batch) -> Answer {
        self.history.validate(&intent)?;
        let cleared = cleared_keys(&intent, view).map_err(|error| CommitError::Unavailable(error.to_string()))?;
        let revision = Revision(self.last.0 + 1);
        let written = expand(intent.mutations, intent.write_keys, cleared, revision, batch);
        self.last = revision;
        self.history.record(revision, intent.at, written);
        Ok(revision)
    }
}

/// The keys that the cleared ranges have in the snapshot, one list a range. Done first, so that a failed read leaves
/// the batch as it was.
fn cleared_keys<V: View>(intent: &Intent, view: &V) -> Result<Vec<Vec<Bytes>>, StorageError> {
    let ranges = intent.mutations.iter().filter_map(|mutation| match mutation {
        Mutation::ClearRange { range } => Some(range),
        _ => None,
    });
    ranges.map(|range| view.keys(range)).collect()
}

/// Puts the mutations into the batch, later over earlier, with the stamp of `revision`.
fn expand(
    mutations: Vec<Mutation>,
    write_keys: Vec<Bytes>,
    cleared: Vec<Vec<Bytes>>,
    revision: Revision,
    batch: &mut Batch,
) -> WriteSet {
    let stamp = stamp_of(revision);
    let mut written = WriteSet { keys: write_keys, ranges: Vec::new() };
    written.keys.reserve(mutations.len());
    let mut cleared = cleared.into_iter();
    for mutation in mutations {
        let (key, value) = match mutation {
            Mutation::Set { key, value } => (key, Some(value)),
            Mutation::SetStampedKey { mut key, offset, value } => {
                key[offset..offset + STAMP_BYTES].copy_from_slice(&stamp);
                (Bytes::from(key), Some(value))
            }
            Mutation::SetStampedValue { key, mut value, offset } => {
                value[offset..offset + STAMP_BYTES].copy_from_slice(&stamp);
                (key, Some(Bytes::from(value)))
            }
            Mutation::Clear { key } => (key, None),
            Mutation::ClearRange { range } => {
                clear_range(&range, cleared.next().unwrap_or_default(), batch);
                written.ranges.push(range);
                continue;
            }
        };
        written.keys.push(key.clone());
        batch.rows.insert(key, value);
    }
    written
}

fn clear_range(range: &KeyRange, stored: Vec<Bytes>, batch: &mut Batch) {
    for (_, value) in batch.rows.range_mut::<Bytes, _>(&range.start..&range.end) {
        *value = None;
    }
    batch.rows.extend(stored.into_iter().map(|key| (key, None)));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;
    use triune_env::storage::{Isolation, Storage};

    use super::*;
    use crate::{
        client::Client,
        memory::{FIRST_REVISION, MemoryEngine, MemoryView},
        queue::CommitQueue,
    };

    /// A memory engine whose disk fails from the third batch on, after or before it was written.
    struct FailingEngine {
        inner: MemoryEngine,
        batches: usize,
        written: bool,
    }

    impl Engine for FailingEngine {
        type View = MemoryView;

        fn apply(&mut self, batch: &Batch) -> Result<(), StorageError> {
            self.batches += 1;
            assert!(self.batches <= 3, "an engine is not asked again after an error");
            if self.batches < 3 || self.written {
                self.inner.apply(batch)?;
            }
            if self.batches < 3 { Ok(()) } else { Err(StorageError::Unavailable("disk failed".to_owned())) }
        }

        fn view(&self) -> MemoryView {
            self.inner.view()
        }
    }

    async fn put(storage: &Client<MemoryView>, key: &'static str) -> Answer {
        let mut transaction = storage.begin().await.unwrap();
        transaction.set(Bytes::from_static(key.as_bytes()), Bytes::from_static(b"x"));
        transaction.commit().await
    }

    async fn check(written: bool) {
        let engine = FailingEngine { inner: MemoryEngine::default(), batches: 0, written };
        let shared = Arc::new(Shared::new(triune_platform::env(), FIRST_REVISION, engine.view()));
        let queue = CommitQueue::start(engine, shared.clone()).unwrap();
        let storage = Client { shared, submit: Arc::new(queue) };
        let before = put(&storage, "first").await.unwrap();
        let before = put(&storage, "second").await.unwrap().max(before);
        let storage = Arc::new(storage);
        let mut wait = storage.changed(Bytes::from_static(b"third"), None);
        let mut stop = Box::pin(crate::until_stopped(storage.clone()));
        assert!((&mut stop).now_or_never().is_none());
        assert!((&mut wait).now_or_never().is_none());
        assert_eq!(put(&storage, "third").await, Err(CommitError::Unknown));
        let stopped = put(&storage, "fourth").await.unwrap_err();
        let expect = "writes stopped after a failed commit: storage is unavailable: disk failed";
        assert_eq!(stopped, CommitError::Unavailable(expect.to_owned()));
        assert_eq!(wait.await, Err(StorageError::Unavailable(expect.to_owned())));
        assert_eq!(stop.await, format!("storage is unavailable: {expect}"));
        // Reads go on, at what was durable.
        let mut reader = storage.begin().await.unwrap();
        assert_eq!(reader.read_version(), before);
        assert!(reader.get(b"second", Isolation::Snapshot).await.unwrap().is_some());
        assert!(reader.get(b"third", Isolation::Snapshot).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_failed_batch_is_unknown_and_stops_writes_but_not_reads() {
        check(false).await;
        check(true).await;
    }

    #[tokio::test]
    async fn a_dropped_storage_ends_its_waits() {
        let storage = crate::memory(triune_platform::env());
        let wait = storage.changed(Bytes::from_static(b"key"), None);
        drop(storage);
        assert_eq!(wait.await, Err(StorageError::Unavailable("storage is closed".to_owned())));
    }
}
