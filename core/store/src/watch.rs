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

use triune_env::BoxFuture;

use crate::{
    Revision,
    cache::ResourceCache,
    event::{ChangeEvent, Entry},
    selection::Filter,
    state::{Behind, Items},
    types::{EventType, ListAt, ReadError, WatchFrom, WatchRequest},
};

/// Changes a watcher looks at in one go: what bounds the time the cache is locked.
const LOOK_MAX: usize = 1_024;
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
    filter: Filter,
    phase: Phase,
    /// Everything up to here has been given, or does not concern this watch.
    position: Revision,
    /// Read from the log, not given yet; their last revision is not above `log_position`.
    behind: VecDeque<Arc<ChangeEvent>>,
    /// How far the log has been read; when `behind` is empty the position follows it.
    log_position: Revision,
    bookmarks: bool,
    bookmark_wanted: bool,
    bookmark_timer: Option<BoxFuture<'static, ()>>,
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

impl ResourceCache {
    /// Watches; see [`WatchRequest`].
    pub async fn watch(self: &Arc<Self>, request: WatchRequest) -> Result<Watcher, ReadError> {
        let from_state = match request.from {
            WatchFrom::StateLatest => Some(ListAt::Latest),
            WatchFrom::StateAny => Some(ListAt::Any),
            WatchFrom::StateNotOlderThan(revision) => Some(ListAt::NotOlderThan(revision)),
            WatchFrom::After(_) | WatchFrom::Now => None,
        };
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
        self.shared.base.counters.watches_open.one();
        Ok(Watcher {
            cache: self.clone(),
            filter: Filter::new(request.selection),
            phase,
            position,
            behind: VecDeque::new(),
            log_position: Revision(0),
            bookmarks: request.bookmarks,
            bookmark_wanted: false,
            bookmark_timer: None,
        })
    }

    /// Whether the changes after `revision` are all still there (W12). A revision that is still to come is fine.
    async fn check_start(&self, revision: Revision) -> Result<(), ReadError> {
        let shared = &self.shared;
        shared.wait_loaded().await?;
        let Behind::Log { .. } = shared.read().behind(revision, 0, 0, |_| false) else { return Ok(()) };
        let floor = shared.floor_now().await?;
        if revision < floor { Err(ReadError::Compacted { asked: revision, oldest: floor }) } else { Ok(()) }
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
        self.bookmark_wanted = self.bookmarks;
    }

    fn counted(&self, items: Vec<WatchItem>) -> Vec<WatchItem> {
        self.cache.shared.base.counters.events_delivered.add(items.len() as u64);
        items
    }

    /// The next initial events, and the end mark after the last.
    fn initial(&mut self, max: usize) -> Vec<WatchItem> {
        let Phase::Initial { items, after, end_mark } = &mut self.phase else { return Vec::new() };
        let start = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_string()));
        let mut batch = Vec::new();
        let shared = &self.cache.shared;
        let range = items.range::<_, Arc<str>>(self.filter.range(start));
        let mut last = None;
        for (item, entry) in range.filter(|(_, entry)| self.filter.matches(entry)).take(max) {
            last = Some(item.clone());
            let change = shared.initial.event(entry, shared.base.now(), shared.base.options.initial_bytes_max);
            batch.push(WatchItem::Change {
                event_type: EventType::Added,
                entry: entry.clone(),
                revision: entry.revision,
                change,
            });
        }
        if batch.len() == max {
            *after = last;
            return batch;
        }
        if *end_mark {
            batch.push(WatchItem::Bookmark { revision: self.position, initial_events_end: true });
        }
        self.phase = Phase::Live;
        batch
    }

    /// One round of the live phase: events, or a bookmark, or nothing after a wake-up.
    async fn live(&mut self, max: usize) -> Vec<WatchItem> {
        let cache = self.cache.clone();
        let mut notified = std::pin::pin!(cache.shared.events.notified());
        notified.as_mut().enable();
        match self.take(max).await {
            Ok(items) if !items.is_empty() => return items,
            Ok(_) => {}
            Err(error) => {
                self.phase = Phase::Ended;
                return vec![WatchItem::Error(error)];
            }
        }
        if cache.shared.is_retired() {
            return Vec::new();
        }
        if self.bookmark_wanted {
            return self.bookmark(max).await;
        }
        self.wait(notified).await;
        Vec::new()
    }

    /// Events after the position, without waiting for new ones.
    async fn take(&mut self, max: usize) -> Result<Vec<WatchItem>, ReadError> {
        let mut items = Vec::new();
        loop {
            while let Some(event) = self.behind.pop_front() {
                self.position = event.revision;
                items.extend(self.show(event));
                if items.len() == max {
                    return Ok(items);
                }
            }
            self.position = self.position.max(self.log_position);
            let shared = &self.cache.shared;
            let found = shared.read().behind(self.position, max - items.len(), LOOK_MAX, |event| {
                event.key().is_some_and(|key| self.filter.matches_key(key))
            });
            match found {
                Behind::Log { .. } if !items.is_empty() => return Ok(items),
                Behind::Log { until } => {
                    let (events, all) = shared.events_from_log(self.position, until).await?;
                    shared.base.counters.watch_resumes.one();
                    self.log_position = if all { until } else { events.last().map_or(until, |event| event.revision) };
                    self.behind = events.into();
                }
                Behind::Events { events, seen } => {
                    let progress = seen > self.position;
                    self.position = seen;
                    items.extend(events.into_iter().filter_map(|event| self.show(event)));
                    if !items.is_empty() || !progress {
                        return Ok(items);
                    }
                }
            }
        }
    }

    fn show(&self, event: Arc<ChangeEvent>) -> Option<WatchItem> {
        let event_type = self.filter.shows(&event)?;
        let entry = event.shown(event_type)?.clone();
        Some(WatchItem::Change { event_type, entry, revision: event.revision, change: event })
    }

    /// A bookmark at the newest position that can be had; or events, if there are some after all.
    async fn bookmark(&mut self, max: usize) -> Vec<WatchItem> {
        // If the log cannot be read now, the position is what it is.
        let _ = self.cache.refresh().await;
        match self.take(max).await {
            Ok(items) if !items.is_empty() => return items,
            Ok(_) => {}
            Err(error) => {
                self.phase = Phase::Ended;
                return vec![WatchItem::Error(error)];
            }
        }
        self.bookmark_wanted = false;
        self.bookmark_timer = None;
        // A watch that starts in the future has nothing to say before its start.
        if self.cache.shared.read().position() < self.position {
            return Vec::new();
        }
        vec![WatchItem::Bookmark { revision: self.position, initial_events_end: false }]
    }

    /// Waits for events or for the time of the next bookmark.
    async fn wait(&mut self, mut notified: Pin<&mut impl Future<Output = ()>>) {
        if self.bookmarks && self.bookmark_timer.is_none() {
            let base = &self.cache.shared.base;
            self.bookmark_timer = Some(base.env.sleep(base.jittered(base.options.bookmark_interval)));
        }
        std::future::poll_fn(|context| {
            if notified.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let Some(timer) = &mut self.bookmark_timer else { return Poll::Pending };
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.bookmark_timer = None;
            self.bookmark_wanted = true;
            Poll::Ready(())
        })
        .await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
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
