//! The watch cache of one resource: kept up by a tailer, brought up to date on demand for reads that need the newest
//! state.
//!
//! - Refresh: one transaction reads the log above the position; then everything up to its read version has been applied
//!   (W16). All reads that wait share one: a refresh begun after a read asked serves that read (W2).
//! - Position below the compaction floor (a long stall): the cache is loaded anew. Watchers are positions, not queues, so
//!   they find their place in the log or are told that it is gone; none sees an event of another generation (W13).

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt, future::Either};
use tokio::sync::Notify;
use triune_api::names::GroupResource;
use triune_env::{TaskHandle, probe, storage::StorageError};

use crate::{
    Revision,
    base::Base,
    event::Origin,
    keys::RowKey,
    log::LogChange,
    scope::Scopes,
    state::{CacheState, Items},
    types::{AttributesOf, ReadError},
};

const ERROR_PAUSE: Duration = Duration::from_millis(200);
/// Encodings of states that nobody has asked for in this time are let go.
const ENCODINGS_KEEP: Duration = Duration::from_secs(120);
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
            origin: Origin::new(attributes_of, base.options.encodings_bytes_max),
            encodings_checked: Mutex::default(),
            state: RwLock::new(CacheState::new(Items::new(), Revision(0))),
            loaded: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            tickets: AtomicU64::new(0),
            refresher: tokio::sync::Mutex::default(),
            poke: Notify::new(),
            scopes: Scopes::default(),
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
    pub(crate) origin: Arc<Origin>,
    /// When was looked whether encodings of states are still asked for.
    encodings_checked: Mutex<Option<Instant>>,
    state: RwLock<CacheState>,
    pub(crate) loaded: AtomicBool,
    retired: AtomicBool,
    /// Refreshes asked for.
    tickets: AtomicU64,
    refresher: tokio::sync::Mutex<Refresher>,
    /// Wakes the tailer.
    poke: Notify,
    /// Wakes watchers: there are events, or the cache is retired.
    pub(crate) scopes: Scopes,
    /// Wakes reads that wait for the position or for the load.
    pub(crate) progress: Notify,
    pub(crate) namespaces: RwLock<BTreeSet<Arc<str>>>,
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
        self.scopes.wake();
        self.progress.notify_waiters();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Lets go of the encodings of states when nobody has asked for one for a while.
    fn forget_old_encodings(&self, now: Instant) {
        let mut checked = self.encodings_checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.is_some_and(|checked| now < checked + ENCODINGS_KEEP) {
            return;
        }
        *checked = Some(now);
        if !self.origin.take_asked() && self.origin.kept_bytes() > 0 {
            // A copy of the map is cheap, and needs no lock while it is walked.
            let items = self.read().items().clone();
            items.values().for_each(|entry| entry.forget_encodings());
        }
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
            Err(_) => {
                probe!("cache: the asked revision was not reached");
                Err(ReadError::TooLarge { asked: revision, current: self.read().position() })
            }
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
            probe!("cache: filled anew, it was below the floor");
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
        let more = read.changes.len() == self.base.options.rows_per_read;
        if !read.changes.is_empty() {
            refresher.busy = Some(now);
        }
        if let Err(error) = self.apply(read.changes, (!more).then_some(read.read_version), now) {
            tracing::error!(resource = %self.resource, %error, "the watch cache does not fit its log: it is filled anew");
            self.load().await?;
            return Ok(true);
        }
        if !more {
            refresher.served = covering;
        }
        Ok(more)
    }

    fn apply(&self, changes: Vec<LogChange>, read_version: Option<Revision>, now: Instant) -> Result<(), StorageError> {
        let count = changes.len() as u64;
        let changes = {
            let state = self.read();
            self.link(&state, changes)?
        };
        let (advanced, woken, trimmed) = {
            let mut state = self.write();
            let before = state.position();
            let keys = changes.iter().map(|change| (change.event.revision, change.event.key()));
            let woken = self.scopes.note(before, keys);
            state.apply(changes, now, &self.base.options);
            if let Some(read_version) = read_version {
                state.advance(read_version);
            }
            (state.position() > before, woken, state.trim(now, &self.base.options))
        };
        drop(trimmed);
        self.base.counters.log_rows.add(count);
        for scope in woken {
            scope.notify.notify_waiters();
        }
        if advanced {
            self.progress.notify_waiters();
        }
        Ok(())
    }
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
        shared.forget_old_encodings(base.now());
    }
}

/// Reads the log to its end; gives the wake row's value and whether the log was busy just now.
async fn tail_step(shared: &Shared) -> Result<(Option<Bytes>, bool), StorageError> {
    let mut refresher = shared.refresher.lock().await;
    loop {
        match shared.refresh_step(&mut refresher, true).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(error),
        }
    }
    let now = shared.base.now();
    let busy = refresher.busy.is_some_and(|busy| now < busy + shared.base.options.busy_time);
    Ok((refresher.wake.clone(), busy))
}
