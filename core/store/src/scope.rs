//! Who is woken by a change: watchers of everything, of a namespace, of a name. A watcher of one object costs nothing when
//! others change.
//!
//! A scope says which of the last changes concern it, so that a watcher knows without looking at the window that nothing
//! has come, and passes over what does not concern it. It is written with the cache's state locked for writing, and read
//! with it locked for reading: the position of the state and the scope always fit.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;
use triune_api::names::ObjectKey;

use crate::Revision;

/// Namespace and name; None is any.
pub(crate) type ScopeKey = (Option<Arc<str>>, Option<Arc<str>>);

/// What a group of watchers waits on.
#[derive(Default)]
pub(crate) struct Scope {
    pub(crate) notify: Notify,
    /// The last change that concerns it, or one after it.
    last: AtomicU64,
    /// The first change of the last batch that concerns it.
    first: AtomicU64,
    /// The last change that concerns it of the batch before.
    before: AtomicU64,
}

impl Scope {
    /// Whether anything above `position` may concern it.
    pub(crate) fn has_news(&self, position: Revision) -> bool {
        self.last.load(Ordering::Acquire) > position.0
    }

    /// How far one who has seen everything up to `position` may pass over changes.
    pub(crate) fn pass_over(&self, position: Revision) -> Revision {
        if self.before.load(Ordering::Acquire) > position.0 {
            return position;
        }
        position.max(Revision(self.first.load(Ordering::Acquire).saturating_sub(1)))
    }

    /// Anything up to `revision` may concern it.
    fn forget(&self, revision: Revision) {
        self.before.store(revision.0, Ordering::Release);
        self.first.store(revision.0, Ordering::Release);
        self.last.store(revision.0, Ordering::Release);
    }

    /// Notes a change; true if it is the first of its batch here.
    fn note(&self, revision: Revision, batch_start: Revision) -> bool {
        let last = self.last.swap(revision.0, Ordering::AcqRel);
        let first_of_batch = last <= batch_start.0;
        if first_of_batch {
            self.before.store(last, Ordering::Release);
            self.first.store(revision.0, Ordering::Release);
        }
        first_of_batch
    }
}

/// The scopes of a resource that somebody watches.
#[derive(Default)]
pub(crate) struct Scopes {
    all: Arc<Scope>,
    keyed: RwLock<BTreeMap<ScopeKey, (Arc<Scope>, usize)>>,
}

impl Scopes {
    /// The scope of a new watcher; `position` is the state's, which is locked for reading.
    pub(crate) fn join(&self, key: &ScopeKey, position: Revision) -> Arc<Scope> {
        if *key == (None, None) {
            return self.all.clone();
        }
        let mut keyed = self.keyed.write().unwrap_or_else(PoisonError::into_inner);
        let (scope, watchers) = keyed.entry(key.clone()).or_insert_with(|| {
            let scope = Scope::default();
            scope.forget(position);
            (Arc::new(scope), 0)
        });
        *watchers += 1;
        scope.clone()
    }

    /// A watcher is gone.
    pub(crate) fn leave(&self, key: &ScopeKey) {
        if *key == (None, None) {
            return;
        }
        let mut keyed = self.keyed.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, watchers)) = keyed.get_mut(key) {
            *watchers -= 1;
            if *watchers == 0 {
                keyed.remove(key);
            }
        }
    }

    /// Notes a batch of changes above `batch_start`; gives the scopes to wake, once the state is unlocked.
    pub(crate) fn note<'a>(
        &self,
        batch_start: Revision,
        changes: impl Iterator<Item = (Revision, Option<&'a ObjectKey>)>,
    ) -> Vec<Arc<Scope>> {
        let keyed = self.keyed.read().unwrap_or_else(PoisonError::into_inner);
        let mut woken = Vec::new();
        for (revision, key) in changes {
            if self.all.note(revision, batch_start) {
                woken.push(self.all.clone());
            }
            let Some(key) = key.filter(|_| !keyed.is_empty()) else { continue };
            let (namespace, name) = (Some(key.namespace.clone()), Some(key.name.clone()));
            for scope in [(namespace.clone(), None), (None, name.clone()), (namespace, name)] {
                if let Some((scope, _)) = keyed.get(&scope)
                    && scope.note(revision, batch_start)
                {
                    woken.push(scope.clone());
                }
            }
        }
        woken
    }

    /// The state was replaced: anything up to `position` may concern anybody. Wakes all.
    pub(crate) fn forget(&self, position: Revision) {
        let keyed = self.keyed.read().unwrap_or_else(PoisonError::into_inner);
        for scope in keyed.values().map(|(scope, _)| scope).chain([&self.all]) {
            scope.forget(position);
            scope.notify.notify_waiters();
        }
    }

    /// Wakes all.
    pub(crate) fn wake(&self) {
        let keyed = self.keyed.read().unwrap_or_else(PoisonError::into_inner);
        for scope in keyed.values().map(|(scope, _)| scope).chain([&self.all]) {
            scope.notify.notify_waiters();
        }
    }
}
