//! What readers see: the published snapshot, and the waiters for keys.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
};

use bytes::Bytes;
use tokio::sync::Notify;
use triune_env::{
    Env,
    storage::{Revision, StorageError},
};

use crate::engine::View;

/// A snapshot and the revision of its last commit.
#[derive(Clone)]
pub(crate) struct Published<V> {
    pub(crate) revision: Revision,
    pub(crate) view: V,
}

/// What the committer shares with readers.
pub(crate) struct Shared<V> {
    pub(crate) env: Env,
    published: RwLock<Published<V>>,
    stopped: OnceLock<String>,
    pub(crate) waiters: Waiters,
}

impl<V: View> Shared<V> {
    pub(crate) fn new(env: Env, revision: Revision, view: V) -> Shared<V> {
        Shared {
            env,
            published: RwLock::new(Published { revision, view }),
            stopped: OnceLock::new(),
            waiters: Waiters::default(),
        }
    }

    /// The last published snapshot: everything acknowledged is in it, and nothing that a crash may lose.
    pub(crate) fn published(&self) -> Published<V> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows a new snapshot to all transactions begun from now on.
    pub(crate) fn publish(&self, revision: Revision, view: V) {
        let new = Published { revision, view };
        let old = std::mem::replace(&mut *self.published.write().unwrap_or_else(PoisonError::into_inner), new);
        assert!(old.revision < revision, "revision {revision} was published after {}", old.revision);
        // `old` may be the last holder of a large snapshot: it is dropped here, past the lock.
    }

    /// Refuses commits from now on, and ends all waits.
    pub(crate) fn stop(&self, reason: String) {
        if self.stopped.set(reason).is_ok() {
            self.waiters.wake_all();
        }
    }

    /// Why commits are refused.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.stopped.get().cloned()
    }

    /// S7: completes after the value of `key` differed from `seen`.
    pub(crate) async fn changed(self: Arc<Self>, key: Bytes, seen: Option<Bytes>) -> Result<(), StorageError> {
        let wait = Wait::new(self.clone(), key);
        // In this order nothing is missed: a commit that is published after the look finds the waiter.
        let mut notified = std::pin::pin!(wait.notify.notified());
        notified.as_mut().enable();
        if self.published().view.get(&wait.key)? != seen {
            return Ok(());
        }
        if self.stopped().is_none() {
            notified.await;
        }
        self.stopped().map_or(Ok(()), |reason| Err(StorageError::Unavailable(reason)))
    }
}

/// Who waits for which key. The cost of a commit is a look-up for each of its keys, whatever the number of waiters for
/// others; a key that nobody waits for any more has no entry.
#[derive(Default)]
pub(crate) struct Waiters {
    by_key: Mutex<BTreeMap<Bytes, Waiting>>,
}

#[derive(Default)]
struct Waiting {
    notify: Arc<Notify>,
    waits: usize,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Bytes, Waiting>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for one of these keys.
    pub(crate) fn wake<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) {
        let mut by_key = self.lock();
        if by_key.is_empty() {
            return;
        }
        let woken: Vec<Waiting> = keys.filter_map(|key| by_key.remove(key)).collect();
        drop(by_key);
        woken.iter().for_each(|waiting| waiting.notify.notify_waiters());
    }

    fn wake_all(&self) {
        let all = std::mem::take(&mut *self.lock());
        all.values().for_each(|waiting| waiting.notify.notify_waiters());
    }
}

/// One wait; dropping it leaves no trace.
struct Wait<V: View> {
    shared: Arc<Shared<V>>,
    key: Bytes,
    notify: Arc<Notify>,
}

impl<V: View> Wait<V> {
    fn new(shared: Arc<Shared<V>>, key: Bytes) -> Wait<V> {
        let mut by_key = shared.waiters.lock();
        let waiting = by_key.entry(key.clone()).or_default();
        waiting.waits += 1;
        let notify = waiting.notify.clone();
        drop(by_key);
        Wait { shared, key, notify }
    }
}

impl<V: View> Drop for Wait<V> {
    fn drop(&mut self) {
        let mut by_key = self.shared.waiters.lock();
        // After a wake-up the entry is gone, or is that of later waits.
        if let Some(waiting) = by_key.get_mut(&self.key)
            && Arc::ptr_eq(&waiting.notify, &self.notify)
        {
            waiting.waits -= 1;
            if waiting.waits == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}
