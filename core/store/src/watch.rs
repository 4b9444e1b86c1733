//! Watches: pull cursors over the window of the cache and, behind it, over the log.
//!
//! A watcher is a position; it has no queue. When woken it takes what lies after its position. One that is slow stalls
//! and reads the log until it has caught up; only when the log no longer has its place is it told so (410).
//!
//! Keeps W7 (no gap, no repetition, in order), W8 (initial state, then changes from its revision), W9, W10 (a bookmark is
//! never ahead of an event that is still to come), W11 (one initial-events-end, after all initial events) and W12.

use std::{
    collections::VecDeque,
    future::Future,
    ops::Bound,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use triune_env::{BoxFuture, probe};

use crate::{
    Revision,
    base::yield_now,
    cache::{ResourceCache, Shared},
    event::{ChangeEvent, Entry},
    scope::Scope,
    selection::Filter,
    state::{Behind, Items},
    types::{EventType, ListAt, ReadError, WatchFrom, WatchRequest},
};

/// Initial events are held for other watchers this long after the last was used.
const INITIAL_KEEP: Duration = Duration::from_secs(10);

/// What a watch gives.
#[derive(Debug, Clone)]
pub enum WatchItem {
    /// An object came, changed or left.
    Change {
        /// As what it is shown.
        event_type: EventType,
        /// The state that is shown: of DELETED the last one, at the revision of the change.
        entry: Arc<Entry>,
        /// Revision of the change; of an initial event, of the object.
        revision: Revision,
        /// Where encodings are shared.
        change: Arc<ChangeEvent>,
    },
    /// Everything up to `revision` has been given.
    Bookmark {
        /// Never below the start, never below an earlier one.
        revision: Revision,
        /// Whether this closes the initial state.
        initial_events_end: bool,
    },
    /// The watch failed and ends.
    Error(ReadError),
}

/// A watch. Dropping it ends it.
pub struct Watcher {
    cache: Arc<ResourceCache>,
    phase: Phase,
    cursor: Cursor,
    bookmarks: Bookmarks,
}

enum Phase {
    /// Gives the initial state.
    Initial {
        items: Items,
        after: Option<Arc<str>>,
        end_mark: bool,
    },
    /// Gives changes.
    Live,
    Ended,
}

/// Where a watch is.
struct Cursor {
    filter: Filter,
    scope: Arc<Scope>,
    /// Everything up to here has been given, or does not concern this watch.
    position: Revision,
    /// Read from the log, not given yet; their last revision is not above `log_position`.
    behind: VecDeque<Arc<ChangeEvent>>,
    /// How far the log has been read; when `behind` is empty the position follows it.
    log_position: Revision,
    /// Taken from the window; empty between calls.
    taken: Vec<Arc<ChangeEvent>>,
}

struct Bookmarks {
    enabled: bool,
    wanted: bool,
    timer: Option<BoxFuture<'static, ()>>,
}

impl ResourceCache {
    /// Watches; see [`WatchRequest`].
    pub async fn watch(self: &Arc<Self>, request: WatchRequest) -> Result<Watcher, ReadError> {
        let from_state = match request.from {
            WatchFrom::StateLatest => Some(ListAt::Latest),
            WatchFrom::StateAny => Some(ListAt::Any),
            WatchFrom::StateNotOlderThan(revision) => Some(ListAt::NotOlderThan(revision)),
            WatchFrom::After(_) | WatchFrom::Now => None,
        };
        let filter = Filter::new(request.selection);
        let (phase, position) = match (from_state, request.from) {
            (Some(at), _) => {
                let (items, revision) = self.state(at).await?;
                let end_mark = request.bookmarks && request.initial_events_end;
                (Phase::Initial { items, after: None, end_mark }, revision)
            }
            (None, WatchFrom::After(revision)) => {
                self.check_start(revision).await?;
                (Phase::Live, revision)
            }
            (None, _) => (Phase::Live, self.refresh().await?),
        };
        let shared = &self.shared;
        shared.base.counters.watches_open.one();
        let scope = {
            let state = shared.read();
            shared.scopes.join(&filter.scope(), state.position())
        };
        let (behind, log_position, taken) = (VecDeque::new(), Revision(0), Vec::new());
        let cursor = Cursor { filter, scope, position, behind, log_position, taken };
        let bookmarks = Bookmarks { enabled: request.bookmarks, wanted: false, timer: None };
        Ok(Watcher { cache: self.clone(), phase, cursor, bookmarks })
    }

    /// Whether the changes after `revision` are all still there (W12). A revision that is still to come is fine.
    async fn check_start(&self, revision: Revision) -> Result<(), ReadError> {
        let shared = &self.shared;
        shared.wait_loaded().await?;
        if !shared.read().is_behind_window(revision) {
            return Ok(());
        }
        let floor = shared.floor_now().await?;
        if revision < floor {
            probe!("watch: the start is compacted");
            return Err(ReadError::Compacted { asked: revision, oldest: floor });
        }
        probe!("watch: starts from the log");
        Ok(())
    }
}

impl Watcher {
    /// What is ready, up to `max` items, waiting for the first; nothing: the watch has ended. Safe to drop and call again.
    pub async fn next(&mut self, max: usize) -> Vec<WatchItem> {
        let max = max.max(1);
        loop {
            if self.cache.shared.is_retired() {
                self.phase = Phase::Ended;
            }
            match self.phase {
                Phase::Ended => return Vec::new(),
                Phase::Initial { .. } => {
                    let items = self.initial(max);
                    if !items.is_empty() {
                        return self.counted(items);
                    }
                    yield_now().await;
                }
                Phase::Live => {
                    let items = self.live(max).await;
                    if !items.is_empty() {
                        return self.counted(items);
                    }
                }
            }
        }
    }

    /// Asks for a bookmark now, after what is ready: before the end of the request. Does nothing if bookmarks are off.
    pub fn request_bookmark(&mut self) {
        self.bookmarks.wanted = self.bookmarks.enabled;
    }

    fn counted(&self, items: Vec<WatchItem>) -> Vec<WatchItem> {
        self.cache.shared.base.counters.events_delivered.add(items.len() as u64);
        items
    }

    fn failed(&mut self, error: ReadError) -> Vec<WatchItem> {
        probe!("watch: fails while it runs");
        self.phase = Phase::Ended;
        vec![WatchItem::Error(error)]
    }

    /// The next initial events, and the end mark after the last.
    fn initial(&mut self, max: usize) -> Vec<WatchItem> {
        let Phase::Initial { items, after, end_mark } = &mut self.phase else { return Vec::new() };
        let start = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_string()));
        let filter = &self.cursor.filter;
        let mut batch = Vec::new();
        let shared = &self.cache.shared;
        let (now, bytes_max) = (shared.base.now(), shared.base.options.initial_bytes_max);
        for (looked, (item, entry)) in items.range::<_, Arc<str>>(filter.range(start)).enumerate() {
            if batch.len() == max || looked == shared.base.options.watch_look_max {
                return batch;
            }
            *after = Some(item.clone());
            if filter.matches(entry) {
                let change = shared.initial.event(entry, now, bytes_max);
                let (event_type, revision) = (EventType::Added, entry.revision);
                batch.push(WatchItem::Change { event_type, entry: entry.clone(), revision, change });
            }
        }
        if batch.len() == max {
            return batch;
        }
        if *end_mark {
            batch.push(WatchItem::Bookmark { revision: self.cursor.position, initial_events_end: true });
        }
        self.phase = Phase::Live;
        batch
    }

    /// One round of the live phase: events, or a bookmark, or nothing after a wake-up.
    async fn live(&mut self, max: usize) -> Vec<WatchItem> {
        match self.cursor.take(&self.cache.shared, max).await {
            Ok(items) if items.is_empty() => {}
            Ok(items) => return items,
            Err(error) => return self.failed(error),
        }
        if self.bookmarks.wanted {
            return Box::pin(self.bookmark(max)).await;
        }
        let scope = self.cursor.scope.clone();
        let mut notified = std::pin::pin!(scope.notify.notified());
        notified.as_mut().enable();
        // What came before the wake-up was armed is seen here, what comes after it wakes.
        if !self.cursor.may_have_more() && !self.cache.shared.is_retired() {
            self.bookmarks.wait(&self.cache.shared, notified).await;
        }
        Vec::new()
    }

    /// A bookmark at the newest position that can be had; or events, if there are some after all.
    async fn bookmark(&mut self, max: usize) -> Vec<WatchItem> {
        // If the log cannot be read now, the position is what it is.
        let _ = self.cache.refresh().await;
        match self.cursor.take(&self.cache.shared, max).await {
            Ok(items) if items.is_empty() => {}
            Ok(items) => return items,
            Err(error) => return self.failed(error),
        }
        self.bookmarks.wanted = false;
        self.bookmarks.timer = None;
        // A watch that starts in the future has nothing to say before its start.
        if !self.cursor.follow(&self.cache.shared) {
            return Vec::new();
        }
        vec![WatchItem::Bookmark { revision: self.cursor.position, initial_events_end: false }]
    }
}

impl Cursor {
    /// Whether [`Cursor::take`] may find something now.
    fn may_have_more(&self) -> bool {
        !self.behind.is_empty() || self.scope.has_news(self.position.max(self.log_position))
    }

    /// Moves to the cache's position, if nothing up to it concerns this watch; false if the cache is not there yet.
    fn follow(&mut self, shared: &Shared) -> bool {
        let state = shared.read();
        if !self.may_have_more() {
            self.position = self.position.max(self.log_position).max(state.position());
        }
        state.position() >= self.position
    }

    /// Events after the position, without waiting for new ones.
    async fn take(&mut self, shared: &Shared, max: usize) -> Result<Vec<WatchItem>, ReadError> {
        let mut items = Vec::new();
        while self.may_have_more() {
            while let Some(event) = self.behind.pop_front() {
                self.position = event.revision;
                items.extend(self.show(event));
                if items.len() == max {
                    return Ok(items);
                }
            }
            self.position = self.position.max(self.log_position);
            match self.take_from_window(shared, max - items.len()) {
                Behind::Log { .. } if !items.is_empty() => return Ok(items),
                Behind::Log { until } => {
                    // Boxed, as is what else is rare: the future of a delivery stays small.
                    probe!("watch: resumes from the log");
                    let (events, all) = Box::pin(shared.events_from_log(self.position, until)).await?;
                    shared.base.counters.watch_resumes.one();
                    self.log_position = if all { until } else { events.last().map_or(until, |event| event.revision) };
                    self.behind = events.into();
                }
                Behind::Seen(seen) => {
                    let progress = seen > self.position;
                    self.position = seen;
                    let mut taken = std::mem::take(&mut self.taken);
                    items.extend(taken.drain(..).filter_map(|event| self.show(event)));
                    self.taken = taken;
                    if !items.is_empty() || !progress {
                        return Ok(items);
                    }
                }
            }
        }
        Ok(items)
    }

    fn take_from_window(&mut self, shared: &Shared, limit: usize) -> Behind {
        let Cursor { filter, scope, position, taken, .. } = self;
        let state = shared.read();
        *position = scope.pass_over(*position);
        let wanted = |event: &ChangeEvent| event.key().is_some_and(|key| filter.matches_key(key));
        state.behind(*position, limit, shared.base.options.watch_look_max, wanted, taken)
    }

    fn show(&self, event: Arc<ChangeEvent>) -> Option<WatchItem> {
        let event_type = self.filter.shows(&event)?;
        let entry = event.shown(event_type)?.clone();
        Some(WatchItem::Change { event_type, entry, revision: event.revision, change: event })
    }
}

impl Bookmarks {
    /// Waits for events or for the time of the next bookmark.
    async fn wait(&mut self, shared: &Shared, mut notified: Pin<&mut impl Future<Output = ()>>) {
        if self.enabled && self.timer.is_none() {
            let base = &shared.base;
            self.timer = Some(base.env.sleep(base.jittered(base.options.bookmark_interval)));
        }
        std::future::poll_fn(|context| {
            if notified.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let Some(timer) = &mut self.timer else { return Poll::Pending };
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
            self.wanted = true;
            Poll::Ready(())
        })
        .await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.cache.shared.scopes.leave(&self.cursor.filter.scope());
        self.cache.shared.base.counters.watches_open.less_one();
    }
}

/// Holds the initial events used last, so that watches that start together share their encodings.
#[derive(Default)]
pub(crate) struct InitialEvents(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    events: VecDeque<Arc<ChangeEvent>>,
    bytes: usize,
    used: Option<Instant>,
}

impl InitialEvents {
    fn event(&self, entry: &Arc<Entry>, now: Instant, bytes_max: usize) -> Arc<ChangeEvent> {
        let event = entry.initial_event();
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.used = Some(now);
        // Held already, if somebody besides this call holds it; then once is enough.
        if Arc::strong_count(&event) == 1 {
            recent.bytes += event.body_bytes();
            recent.events.push_back(event.clone());
        }
        while recent.bytes > bytes_max
            && let Some(oldest) = recent.events.pop_front()
        {
            recent.bytes -= oldest.body_bytes();
        }
        event
    }

    /// Lets go of events that nobody has used for a while.
    pub(crate) fn forget_old(&self, now: Instant) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.used.is_some_and(|used| now >= used + INITIAL_KEEP) {
            *recent = Recent::default();
        }
    }
}
