//! The watch cache of one resource: filled by a fuzzy scan and a replay of the log, kept up by a tailer, brought up to
//! date on demand for reads that need the newest state.
//!
//! - Load: pages of objects at different read versions, then the log from the first of these versions on. A change at or
//!   below the revision that the scan saw of an object is skipped. The cache is ready at the read version of the last log
//!   read, which is above that of every page.
//! - Refresh: one transaction reads the log above the position; then everything up to its read version has been applied
//!   (W16). All reads that wait share one: a refresh begun after a read asked serves that read (W2).
//! - Position below the compaction floor (a long stall): the cache is loaded anew. Watchers are positions, not queues, so
//!   they find their place in the log or are told that it is gone; none sees an event of another generation (W13).

use std::{
    collections::BTreeSet,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt, future::Either};
use tokio::sync::Notify;
use triune_api::names::{GroupResource, ObjectKey};
use triune_env::{
    TaskHandle,
    storage::{Isolation, KeyRange, Row, StorageError, Transaction},
};

use crate::{
    Revision,
    base::Base,
    event::{ChangeEvent, Entry},
    keys::{RowKey, item_key},
    options::ROWS_PER_READ,
    rows::{CompactedRow, LogRow, ObjectRow},
    state::{Applied, CacheState, Items},
    types::{AttributesOf, ReadError},
};

const ERROR_PAUSE: Duration = Duration::from_millis(200);
const FUTURE_POLL: Duration = Duration::from_millis(50);

/// The watch cache of one resource.
pub struct ResourceCache {
    pub(crate) shared: Arc<Shared>,
    /// Aborts the tailer when the last holder lets go.
    _tailer: TaskHandle,
}

impl ResourceCache {
    pub(crate) fn start(
        base: &Arc<Base>,
        resource: &GroupResource,
        attributes_of: Arc<dyn AttributesOf>,
    ) -> Arc<ResourceCache> {
        let shared = Arc::new(Shared {
            base: base.clone(),
            resource: resource.clone(),
            attributes_of,
            state: RwLock::new(CacheState::new(Items::new(), Revision(0))),
            loaded: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            tickets: AtomicU64::new(0),
            refresher: tokio::sync::Mutex::default(),
            poke: Notify::new(),
            events: Notify::new(),
            progress: Notify::new(),
            namespaces: RwLock::default(),
            initial: crate::watch::InitialEvents::default(),
        });
        let tailer = base.env.spawn("watch-cache", tail(shared.clone()));
        Arc::new(ResourceCache { shared, _tailer: tailer })
    }

    /// The revision up to which this cache has applied every change; 0 before it is filled.
    pub fn revision(&self) -> Revision {
        self.shared.read().position()
    }

    /// How many objects it holds.
    pub fn len(&self) -> usize {
        self.shared.read().items().len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Brings the cache up to every write acknowledged before this call, and says where it is.
    pub async fn refresh(&self) -> Result<Revision, ReadError> {
        self.shared.refresh_within(self.shared.base.options.fresh_wait_max).await
    }
}

/// What readers, watchers and the tailer share.
pub(crate) struct Shared {
    pub(crate) base: Arc<Base>,
    pub(crate) resource: GroupResource,
    attributes_of: Arc<dyn AttributesOf>,
    state: RwLock<CacheState>,
    loaded: AtomicBool,
    retired: AtomicBool,
    /// Refreshes asked for.
    tickets: AtomicU64,
    refresher: tokio::sync::Mutex<Refresher>,
    /// Wakes the tailer.
    poke: Notify,
    /// Wakes watchers: there are events, or the cache is retired.
    pub(crate) events: Notify,
    /// Wakes reads that wait for the position or for the load.
    progress: Notify,
    namespaces: RwLock<BTreeSet<Arc<str>>>,
    pub(crate) initial: crate::watch::InitialEvents,
}

/// Belongs to whoever refreshes.
#[derive(Default)]
struct Refresher {
    /// Refreshes asked for up to this ticket have been served.
    served: u64,
    /// Value of the wake row at the last look.
    wake: Option<Bytes>,
    /// When the position was last seen above the compaction floor.
    floor_checked: Option<Instant>,
    /// When the last change came.
    busy: Option<Instant>,
}

impl Shared {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, CacheState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, CacheState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit of this process has changed the resource.
    pub(crate) fn poke(&self) {
        self.poke.notify_one();
    }

    /// Ends watches, refuses reads.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.events.notify_waiters();
        self.progress.notify_waiters();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    fn check_retired(&self) -> Result<(), ReadError> {
        if self.is_retired() {
            Err(ReadError::Unavailable(format!("{} is no longer served", self.resource)))
        } else {
            Ok(())
        }
    }

    /// Waits until the cache is filled (W20: never an empty list before that).
    pub(crate) async fn wait_loaded(&self) -> Result<(), ReadError> {
        if self.is_loaded() {
            return self.check_retired();
        }
        let filled = self.wait_progress(|| self.is_loaded());
        match self.base.env.timeout(self.base.options.load_wait_max, filled).await {
            Ok(()) => self.check_retired(),
            Err(_) => Err(ReadError::Unavailable(format!("the watch cache of {} is not filled yet", self.resource))),
        }
    }

    /// Waits until `reached`, or until the cache is retired.
    async fn wait_progress(&self, reached: impl Fn() -> bool) {
        loop {
            let mut notified = std::pin::pin!(self.progress.notified());
            notified.as_mut().enable();
            if reached() || self.is_retired() {
                return;
            }
            notified.await;
        }
    }

    /// Waits until the position is at least `revision`: W4.
    pub(crate) async fn wait_for(&self, revision: Revision) -> Result<(), ReadError> {
        self.wait_loaded().await?;
        if self.read().position() >= revision {
            return Ok(());
        }
        let reached = async {
            while self.read().position() < revision {
                self.check_retired()?;
                if self.refresh().await? < revision {
                    let progress = self.wait_progress(|| self.read().position() >= revision);
                    let _ = self.base.env.timeout(FUTURE_POLL, progress).await;
                }
            }
            Ok(())
        };
        match self.base.env.timeout(self.base.options.fresh_wait_max, reached).await {
            Ok(reached) => reached,
            Err(_) => Err(ReadError::TooLarge { asked: revision, current: self.read().position() }),
        }
    }

    /// [`Shared::refresh`], bounded.
    pub(crate) async fn refresh_within(&self, wait_max: Duration) -> Result<Revision, ReadError> {
        self.wait_loaded().await?;
        match self.base.env.timeout(wait_max, self.refresh()).await {
            Ok(refreshed) => refreshed,
            Err(_) => Err(ReadError::Unavailable("the log could not be read in time".into())),
        }
    }

    /// Brings the cache up to every write acknowledged before this call. Calls that wait share one log read.
    async fn refresh(&self) -> Result<Revision, ReadError> {
        let ticket = self.tickets.fetch_add(1, Ordering::AcqRel) + 1;
        let mut refresher = self.refresher.lock().await;
        let mut retry = self.base.retry();
        while refresher.served < ticket {
            match self.refresh_step(&mut refresher, false).await {
                Ok(_) => {}
                Err(error) => retry.again(error).await?,
            }
            self.check_retired()?;
        }
        Ok(self.read().position())
    }

    /// One read of the log. True if there is more to read.
    async fn refresh_step(&self, refresher: &mut Refresher, look_at_wake: bool) -> Result<bool, StorageError> {
        let covering = self.tickets.load(Ordering::Acquire);
        let now = self.base.now();
        let check_floor =
            refresher.floor_checked.is_none_or(|checked| now >= checked + self.base.options.keep_window / 4);
        let position = self.read().position();
        let read = self.base.timed(self.read_log_batch(position, look_at_wake, check_floor)).await?;
        if read.floor.is_some_and(|floor| floor > position) {
            tracing::warn!(resource = %self.resource, "the watch cache fell behind the compaction floor: it is filled anew");
            self.load().await?;
            refresher.floor_checked = None;
            return Ok(true);
        }
        if check_floor {
            refresher.floor_checked = Some(now);
        }
        if let Some(wake) = read.wake {
            refresher.wake = wake;
        }
        self.base.counters.refreshes.one();
        let more = read.changes.len() == ROWS_PER_READ;
        if !read.changes.is_empty() {
            refresher.busy = Some(now);
        }
        self.apply(read.changes, (!more).then_some(read.read_version), now)?;
        if !more {
            refresher.served = covering;
        }
        Ok(more)
    }

    /// Reads changes above `after` in one transaction.
    async fn read_log_batch(
        &self,
        after: Revision,
        look_at_wake: bool,
        look_at_floor: bool,
    ) -> Result<LogBatch, StorageError> {
        let base = &self.base;
        let mut transaction = base.storage.begin().await?;
        let transaction = transaction.as_mut();
        let read_version = transaction.read_version();
        let wake = if look_at_wake {
            let key = base.keys.encode(&RowKey::Wake(self.resource.clone()));
            Some(transaction.get(&key, Isolation::Snapshot).await?)
        } else {
            None
        };
        let floor = if look_at_floor { Some(self.floor(transaction).await?) } else { None };
        let range = base.keys.log_after(&self.resource, &base.storage.stamp_of(after));
        let rows = transaction.range(range, ROWS_PER_READ, false, Isolation::Snapshot).await?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            changes.push(self.log_change(transaction, row).await?);
        }
        Ok(LogBatch { read_version, wake, floor, changes })
    }

    /// The compaction floor as the transaction sees it; 0 if nothing was ever compacted.
    pub(crate) async fn floor(&self, transaction: &mut dyn Transaction) -> Result<Revision, StorageError> {
        let key = self.base.keys.encode(&RowKey::Compacted(self.resource.clone()));
        let row = transaction.get(&key, Isolation::Snapshot).await?;
        let compacted = row.as_ref().map(CompactedRow::decode).transpose()?;
        Ok(compacted.map_or(Revision(0), |compacted| self.base.revision(&compacted.floor)))
    }

    /// [`Shared::floor`] in a transaction of its own.
    pub(crate) async fn floor_now(&self) -> Result<Revision, ReadError> {
        let mut retry = self.base.retry();
        loop {
            let read = async {
                let mut transaction = self.base.storage.begin().await?;
                self.floor(transaction.as_mut()).await
            };
            match self.base.timed(read).await {
                Ok(floor) => return Ok(floor),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    async fn log_change(&self, transaction: &mut dyn Transaction, row: &Row) -> Result<LogChange, StorageError> {
        let log = LogRow::decode(&row.value)?;
        let RowKey::Log(_, stamp) = self.base.keys.decode(&row.key)? else {
            return Err(StorageError::Corrupt("a log range holds another row".into()));
        };
        let body = self.base.body(transaction, &log.body).await?;
        Ok(LogChange { revision: self.base.revision(&stamp), body, log })
    }

    fn apply(&self, changes: Vec<LogChange>, read_version: Option<Revision>, now: Instant) -> Result<(), StorageError> {
        let count = changes.len() as u64;
        let changes = {
            let state = self.read();
            self.link(&state, changes)?
        };
        let (advanced, trimmed) = {
            let mut state = self.write();
            let before = state.position();
            state.apply(changes, now, &self.base.options);
            if let Some(read_version) = read_version {
                state.advance(read_version);
            }
            (state.position() > before, state.trim(now, &self.base.options))
        };
        drop(trimmed);
        self.base.counters.log_rows.add(count);
        if count > 0 {
            self.events.notify_waiters();
        }
        if advanced {
            self.progress.notify_waiters();
        }
        Ok(())
    }

    /// Makes events of changes: each is linked with the state before it, which must be the one that the writer saw (W15).
    fn link(&self, state: &CacheState, changes: Vec<LogChange>) -> Result<Vec<Applied>, StorageError> {
        let mut last = state.position();
        let mut linked: Vec<Applied> = Vec::with_capacity(changes.len());
        let mut latest: std::collections::BTreeMap<Arc<str>, Option<Arc<Entry>>> = std::collections::BTreeMap::new();
        for change in changes {
            if change.revision <= last {
                return Err(StorageError::Corrupt(format!("log row {} comes after {last}", change.revision)));
            }
            last = change.revision;
            let item: Arc<str> = item_key(&change.log.namespace, &change.log.name).into();
            let previous = latest.get(&item).cloned().unwrap_or_else(|| state.get(&item).cloned());
            let expected = change.log.previous.map(|stamp| self.base.revision(&stamp));
            if previous.as_ref().map(|entry| entry.revision) != expected {
                let text = format!("{item} of {}: change {} follows {expected:?}", self.resource, change.revision);
                return Err(StorageError::Corrupt(text));
            }
            let event = self.event(change, previous);
            latest.insert(item.clone(), event.current().cloned());
            linked.push(Applied { item, event });
        }
        Ok(linked)
    }

    fn event(&self, change: LogChange, previous: Option<Arc<Entry>>) -> Arc<ChangeEvent> {
        let LogChange { revision, body, log } = change;
        // A body beside the state before it would keep both alive as long as the object lives.
        let body =
            if log.before.is_some() && log.body.chunks().is_none() { Bytes::copy_from_slice(&body) } else { body };
        let entry = Arc::new(match &previous {
            Some(previous) => previous.with(revision, body),
            None => Entry::new(
                self.object_key(&log.namespace, log.name.clone()),
                revision,
                body,
                self.attributes_of.clone(),
            ),
        });
        let (current, last_shown) = if log.delete { (None, Some(entry)) } else { (Some(entry), None) };
        Arc::new(ChangeEvent::new(revision, previous, current, last_shown))
    }

    /// The names of namespaces are shared by all entries.
    fn object_key(&self, namespace: &str, name: Arc<str>) -> ObjectKey {
        let known = self.namespaces.read().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned();
        let namespace = known.unwrap_or_else(|| {
            let namespace: Arc<str> = namespace.into();
            self.namespaces.write().unwrap_or_else(PoisonError::into_inner).insert(namespace.clone());
            namespace
        });
        ObjectKey { resource: self.resource.clone(), namespace, name }
    }

    /// Changes above `after`, at most `until`, with their states before, from the log alone; up to a batch. The second is
    /// whether that was all.
    pub(crate) async fn events_from_log(
        &self,
        after: Revision,
        until: Revision,
    ) -> Result<(Vec<Arc<ChangeEvent>>, bool), ReadError> {
        let mut retry = self.base.retry();
        loop {
            match self.base.timed(self.try_events_from_log(after, until)).await {
                Ok(Ok(read)) => return Ok(read),
                Ok(Err(compacted)) => return Err(compacted),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    async fn try_events_from_log(
        &self,
        after: Revision,
        until: Revision,
    ) -> Result<Result<(Vec<Arc<ChangeEvent>>, bool), ReadError>, StorageError> {
        let base = &self.base;
        let mut transaction = base.storage.begin().await?;
        let transaction = transaction.as_mut();
        let floor = self.floor(transaction).await?;
        if after < floor {
            return Ok(Err(ReadError::Compacted { asked: after, oldest: floor }));
        }
        let range = KeyRange {
            start: base.keys.log_after(&self.resource, &base.storage.stamp_of(after)).start,
            end: base.keys.log_up_to(&self.resource, &base.storage.stamp_of(until)).end,
        };
        let rows = transaction.range(range, ROWS_PER_READ, false, Isolation::Snapshot).await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            events.push(self.event_alone(transaction, row).await?);
        }
        Ok(Ok((events, rows.len() < ROWS_PER_READ)))
    }

    /// The event of a log row, with the state before it from the row itself.
    async fn event_alone(
        &self,
        transaction: &mut dyn Transaction,
        row: &Row,
    ) -> Result<Arc<ChangeEvent>, StorageError> {
        let change = self.log_change(transaction, row).await?;
        let previous = match (&change.log.before, change.log.previous) {
            (Some(before), Some(stamp)) => {
                let body = self.base.body(transaction, before).await?;
                let key = self.object_key(&change.log.namespace, change.log.name.clone());
                Some(Arc::new(Entry::new(key, self.base.revision(&stamp), body, self.attributes_of.clone())))
            }
            _ => None,
        };
        Ok(self.event(change, previous))
    }

    /// Fills the cache; see the module.
    async fn load(&self) -> Result<(), StorageError> {
        let first = self.base.timed(self.base.storage.read_version()).await?;
        let mut items = self.scan().await?;
        let mut position = first;
        loop {
            let read = self.base.timed(self.read_log_batch(position, false, true)).await?;
            if read.floor.is_some_and(|floor| floor > position) {
                return Err(StorageError::TooOld);
            }
            let more = read.changes.len() == ROWS_PER_READ;
            position = read.changes.last().map_or(position, |change| change.revision);
            for change in read.changes {
                self.replay(&mut items, change);
            }
            if !more {
                position = position.max(read.read_version);
                break;
            }
        }
        let recent = self.recent_events(position).await?;
        let now = self.base.now();
        let replaced = {
            let mut state = self.write();
            let mut fresh = CacheState::new(items, position);
            if let Some((after, events)) = recent {
                fresh.prefill(after, events, now);
            }
            std::mem::replace(&mut *state, fresh)
        };
        drop(replaced);
        self.base.counters.loads.one();
        self.loaded.store(true, Ordering::Release);
        self.progress.notify_waiters();
        self.events.notify_waiters();
        Ok(())
    }

    /// All objects, each page at a read version of its own.
    async fn scan(&self) -> Result<Items, StorageError> {
        let mut items = Items::new();
        let mut range = self.base.keys.objects(&self.resource);
        loop {
            let (page, last) = self.base.timed(self.scan_page(range.clone())).await?;
            for (item, entry) in page {
                items.insert(item, entry);
            }
            match last {
                Some(last) => range.start = [&last[..], &[0]].concat().into(),
                None => return Ok(items),
            }
        }
    }

    async fn scan_page(&self, range: KeyRange) -> Result<(Vec<(Arc<str>, Arc<Entry>)>, Option<Bytes>), StorageError> {
        let mut transaction = self.base.storage.begin().await?;
        let transaction = transaction.as_mut();
        let rows = transaction.range(range, ROWS_PER_READ, false, Isolation::Snapshot).await?;
        let mut page = Vec::with_capacity(rows.len());
        for row in &rows {
            let RowKey::Object(key) = self.base.keys.decode(&row.key)? else {
                return Err(StorageError::Corrupt("an object range holds another row".into()));
            };
            let object = ObjectRow::decode(&row.value)?;
            let body = self.base.body(transaction, &object.body).await?;
            let key = self.object_key(&key.namespace, key.name);
            let item: Arc<str> = item_key(&key.namespace, &key.name).into();
            let entry = Entry::new(key, self.base.revision(&object.stamp), body, self.attributes_of.clone());
            page.push((item, Arc::new(entry)));
        }
        let last = rows.last().filter(|_| rows.len() == ROWS_PER_READ).map(|row| row.key.clone());
        Ok((page, last))
    }

    /// A change during the scan: skipped if the scan saw a later state of the object.
    fn replay(&self, items: &mut Items, change: LogChange) {
        let item: Arc<str> = item_key(&change.log.namespace, &change.log.name).into();
        if items.get(&item).is_some_and(|entry| entry.revision >= change.revision) {
            return;
        }
        let previous = items.get(&item).cloned();
        match self.event(change, previous).current() {
            Some(entry) => items.insert(item, entry.clone()),
            None => items.remove(&item),
        };
    }

    /// The last changes at or below `position`, so that watches which resume after a restart need not read the log each;
    /// with the revision that the first of them follows.
    async fn recent_events(
        &self,
        position: Revision,
    ) -> Result<Option<(Revision, Vec<Arc<ChangeEvent>>)>, StorageError> {
        self.base
            .timed(async {
                let base = &self.base;
                let mut transaction = base.storage.begin().await?;
                let transaction = transaction.as_mut();
                let floor = self.floor(transaction).await?;
                let range = base.keys.log_up_to(&self.resource, &base.storage.stamp_of(position));
                let limit = ROWS_PER_READ.min(base.options.window_events_max);
                let rows = transaction.range(range, limit, true, Isolation::Snapshot).await?;
                let mut events = Vec::with_capacity(rows.len());
                for row in rows.iter().rev() {
                    events.push(self.event_alone(transaction, row).await?);
                }
                if rows.len() < limit {
                    return Ok(Some((floor, events)));
                }
                let after = events.first().map(|event| event.revision);
                Ok(after.map(|after| (after, events.split_off(1))))
            })
            .await
    }
}

/// A change as the log has it.
pub(crate) struct LogChange {
    revision: Revision,
    body: Bytes,
    log: LogRow,
}

struct LogBatch {
    read_version: Revision,
    /// The wake row's value, if it was looked at.
    wake: Option<Option<Bytes>>,
    floor: Option<Revision>,
    changes: Vec<LogChange>,
}

/// Keeps the cache up: until aborted.
async fn tail(shared: Arc<Shared>) {
    let base = &shared.base;
    while let Err(error) = shared.load().await {
        tracing::warn!(resource = %shared.resource, %error, "the watch cache could not be filled; it is tried again");
        base.env.sleep(base.jittered(ERROR_PAUSE)).await;
    }
    loop {
        let (wake, busy) = match tail_step(&shared).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(resource = %shared.resource, %error, "the log could not be read; it is tried again");
                base.env.sleep(base.jittered(ERROR_PAUSE)).await;
                continue;
            }
        };
        if shared.is_retired() {
            return;
        }
        let key = base.keys.encode(&RowKey::Wake(shared.resource.clone()));
        let changed = base.storage.changed(key, wake).map(|result| result.is_ok());
        let poked = std::pin::pin!(shared.poke.notified());
        let woken = futures::future::select(poked, changed);
        let poll = base.options.busy_poll_interval.filter(|_| busy);
        let idle = base.env.sleep(poll.unwrap_or_else(|| base.jittered(base.options.idle_refresh_interval)));
        let woken = futures::future::select(woken, idle).await;
        if let Either::Left((Either::Right((false, _)), _)) = woken {
            // The storage cannot watch now: do not spin.
            base.env.sleep(base.jittered(ERROR_PAUSE)).await;
        }
        shared.initial.forget_old(base.now());
    }
}

/// Reads the log to its end; gives the wake row's value and whether the log was busy just now.
async fn tail_step(shared: &Shared) -> Result<(Option<Bytes>, bool), StorageError> {
    let mut refresher = shared.refresher.lock().await;
    loop {
        match shared.refresh_step(&mut refresher, true).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(StorageError::Corrupt(text)) => {
                tracing::error!(resource = %shared.resource, text, "the watch cache does not fit its log: it is filled anew");
                shared.load().await?;
            }
            Err(error) => return Err(error),
        }
    }
    let now = shared.base.now();
    let busy = refresher.busy.is_some_and(|busy| now < busy + shared.base.options.busy_time);
    Ok((refresher.wake.clone(), busy))
}
