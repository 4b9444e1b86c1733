//! The contents of a watch cache: the objects at a position, a window of the last changes, snapshots of earlier
//! positions. Pure data: nothing here reads storage or waits.
//!
//! Keeps W15 (the map is the state at the position), W16 (the position passes a revision only when all changes up to it
//! are in the map), and the bounds of window and snapshots.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use imbl::OrdMap;

use crate::{
    Revision,
    event::{ChangeEvent, Entry},
    keys::item_key,
    options::StoreOptions,
};

/// Snapshots kept of a resource; older states are had from the log.
const SNAPSHOTS_MAX: usize = 256;

/// The objects of a resource, by item key.
pub(crate) type Items = OrdMap<Arc<str>, Arc<Entry>>;

/// A change as it is put into the cache.
pub(crate) struct Applied {
    pub(crate) item: Arc<str>,
    pub(crate) event: Arc<ChangeEvent>,
}

struct Snapshot {
    revision: Revision,
    items: Items,
    /// [`CacheState::replaced_bytes`] when it was taken.
    replaced_bytes: u64,
    taken: Instant,
}

/// See the module.
pub(crate) struct CacheState {
    items: Items,
    position: Revision,
    /// Changes above `window_start`, up to the position, with the time they came.
    window: VecDeque<(Instant, Arc<ChangeEvent>)>,
    window_start: Revision,
    window_bytes: usize,
    /// In order of revision.
    snapshots: VecDeque<Snapshot>,
    /// Bytes of all states ever replaced: a snapshot keeps at most those replaced since alive.
    replaced_bytes: u64,
    events_since_snapshot: u64,
}

/// How the state at a revision can be had.
pub(crate) enum StateAt {
    /// This is it.
    Here(Items),
    /// It is `items` (at `to`) with the changes above the revision undone.
    Undo { items: Items, events: Vec<Arc<ChangeEvent>> },
    /// It is `items` with the changes above the revision, up to `to`, undone; the log has them.
    UndoLog { items: Items, to: Revision },
    /// The position is below it.
    Future,
}

/// What a watcher finds after its position.
pub(crate) enum Behind {
    /// What there was, perhaps nothing; how far the watcher has seen now.
    Seen(Revision),
    /// The window begins after its position.
    Log { until: Revision },
}

impl CacheState {
    pub(crate) fn new(items: Items, position: Revision) -> CacheState {
        CacheState {
            items,
            position,
            window: VecDeque::new(),
            window_start: position,
            window_bytes: 0,
            snapshots: VecDeque::new(),
            replaced_bytes: 0,
            events_since_snapshot: 0,
        }
    }

    pub(crate) fn items(&self) -> &Items {
        &self.items
    }

    pub(crate) fn position(&self) -> Revision {
        self.position
    }

    /// Puts changes that came before the position into the window, oldest first: after a load, so that watches that
    /// resume from before it need not read the log each. `after` is the revision that the first follows.
    pub(crate) fn prefill(&mut self, after: Revision, events: Vec<Arc<ChangeEvent>>, now: Instant) {
        self.window_start = after;
        self.window_bytes = events.iter().map(|event| event.body_bytes()).sum();
        self.window = events.into_iter().map(|event| (now, event)).collect();
    }

    /// The state of an item.
    pub(crate) fn get(&self, item: &str) -> Option<&Arc<Entry>> {
        self.items.get(item)
    }

    /// Applies changes in order of revision, each above the position.
    pub(crate) fn apply(&mut self, changes: Vec<Applied>, now: Instant, options: &StoreOptions) {
        for Applied { item, event } in changes {
            assert!(event.revision > self.position, "changes are applied in order, once");
            self.position = event.revision;
            match event.current() {
                Some(entry) => self.items.insert(item, entry.clone()),
                None => self.items.remove(&item),
            };
            event.previous().into_iter().for_each(|previous| previous.retire());
            self.replaced_bytes += event.previous().map_or(0, |previous| previous.body.len() as u64);
            self.window_bytes += event.body_bytes();
            self.window.push_back((now, event));
            self.events_since_snapshot += 1;
            if self.events_since_snapshot >= options.snapshot_every_events {
                self.keep_snapshot(self.position, self.items.clone(), now);
            }
        }
    }

    /// Moves the position: everything up to `position` has been applied (W16).
    pub(crate) fn advance(&mut self, position: Revision) {
        self.position = self.position.max(position);
    }

    /// Drops what is over the bounds; the caller lets go of it outside of any lock.
    pub(crate) fn trim(&mut self, now: Instant, options: &StoreOptions) -> impl Sized + use<> {
        let old = |taken: Instant| now.saturating_duration_since(taken) > options.keep_window;
        let mut events = Vec::new();
        while let Some((came, event)) = self.window.front()
            && (self.window.len() > options.window_events_max
                || self.window_bytes > options.window_bytes_max
                || old(*came))
        {
            self.window_start = event.revision;
            self.window_bytes -= event.body_bytes();
            events.extend(self.window.pop_front());
        }
        let mut snapshots = Vec::new();
        while let Some(oldest) = self.snapshots.front()
            && (self.snapshots.len() > SNAPSHOTS_MAX
                || self.replaced_bytes - oldest.replaced_bytes > options.snapshot_bytes_max
                || old(oldest.taken))
        {
            snapshots.extend(self.snapshots.pop_front());
        }
        (events, snapshots)
    }

    /// Keeps the state at the position for lists that go on at it.
    pub(crate) fn pin(&mut self, revision: Revision, items: Items, now: Instant) {
        self.keep_snapshot(revision, items, now);
    }

    fn keep_snapshot(&mut self, revision: Revision, items: Items, now: Instant) {
        let place = self.snapshots.partition_point(|snapshot| snapshot.revision < revision);
        if self.snapshots.get(place).is_some_and(|snapshot| snapshot.revision == revision) {
            return;
        }
        if revision == self.position {
            self.events_since_snapshot = 0;
        }
        let replaced_bytes = self.snapshots.get(place).map_or(self.replaced_bytes, |next| next.replaced_bytes);
        self.snapshots.insert(place, Snapshot { revision, items, replaced_bytes, taken: now });
    }

    /// How to have the state at `revision`: the nearest kept state at or after it, with changes undone.
    pub(crate) fn at(&self, revision: Revision) -> StateAt {
        if revision > self.position {
            return StateAt::Future;
        }
        let place = self.snapshots.partition_point(|snapshot| snapshot.revision < revision);
        let (items, to) = match self.snapshots.get(place) {
            Some(snapshot) => (snapshot.items.clone(), snapshot.revision),
            None => (self.items.clone(), self.position),
        };
        if revision == to {
            return StateAt::Here(items);
        }
        if revision < self.window_start {
            return StateAt::UndoLog { items, to };
        }
        let events = self.window_range(revision, to);
        if events.is_empty() { StateAt::Here(items) } else { StateAt::Undo { items, events } }
    }

    fn window_range(&self, after: Revision, to: Revision) -> Vec<Arc<ChangeEvent>> {
        let first = self.window.partition_point(|(_, event)| event.revision <= after);
        let end = self.window.partition_point(|(_, event)| event.revision <= to);
        self.window.range(first..end).map(|(_, event)| event.clone()).collect()
    }

    /// Takes up to `limit` changes above `after` for which `wanted` holds, looking at no more than `look_max`.
    pub(crate) fn behind(
        &self,
        after: Revision,
        limit: usize,
        look_max: usize,
        wanted: impl Fn(&ChangeEvent) -> bool,
        events: &mut Vec<Arc<ChangeEvent>>,
    ) -> Behind {
        if after < self.window_start {
            return Behind::Log { until: self.window_start };
        }
        let first = self.window.partition_point(|(_, event)| event.revision <= after);
        let mut seen = after;
        for (_, event) in self.window.range(first..).take(look_max) {
            if events.len() == limit {
                return Behind::Seen(seen);
            }
            seen = event.revision;
            if wanted(event) {
                events.push(event.clone());
            }
        }
        Behind::Seen(if self.window.len() - first <= look_max { seen.max(self.position) } else { seen })
    }

    /// Whether the window begins after `position`.
    pub(crate) fn is_behind_window(&self, position: Revision) -> bool {
        position < self.window_start
    }
}

/// The state before `events`, which come in ascending order, from the state after them.
pub(crate) fn undo(items: &mut Items, events: &[Arc<ChangeEvent>]) {
    let mut done = BTreeSet::new();
    for event in events {
        undo_one(items, &mut done, event);
    }
}

/// Undoes one of several changes, which come in ascending order: the first change of an item says what was before all.
pub(crate) fn undo_one(items: &mut Items, done: &mut BTreeSet<Arc<str>>, event: &ChangeEvent) {
    let Some(key) = event.key() else { return };
    let item: Arc<str> = item_key(&key.namespace, &key.name).into();
    if !done.insert(item.clone()) {
        return;
    }
    match event.previous() {
        Some(entry) => items.insert(item, entry.clone()),
        None => items.remove(&item),
    };
}
