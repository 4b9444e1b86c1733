//! An informer: a store that follows a selection of objects by list and watch, by client-go's rules (v0.37
//! `tools/cache/reflector.go`, `tools/pager`).
//!
//! The first list is taken at `resourceVersion=0`, later ones at the last revision seen; if that is gone (410) or not yet
//! there (504), at the latest. A watch starts where the list or the last event was; one that ends well is opened again
//! there; one that ends with 410 leads to a list. Invariants: the store is replaced by whole lists only, so that it always
//! is some state of its selection; every change of it is told once, in order ([`Body::Handled`]).

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use triune_history::{Body, Object, ObjectKey, Outcome, StreamEnd, StreamItem, Version, WatchFrom};
use triune_machinery::signal::Signal;

use crate::{
    api::{Api, Reply},
    http::Protocol,
    kind::Kind,
    random::Random,
    request::{Paging, Request, Selection},
    retry::{self, Backoff},
    watch::{Watch, Woken},
};

/// Page size where a list is paged and nothing else is asked for.
const PAGE_SIZE: u64 = 500;
/// Pages of one list.
const PAGES_MAX: usize = 10_000;
/// A watch that ends this soon without an event is an error.
const VERY_SHORT: Duration = Duration::from_secs(1);

/// What an informer follows, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InformerOptions {
    /// Which kind.
    pub kind: Kind,
    /// Empty for all.
    pub namespace: String,
    /// Equalities.
    pub labels: Vec<(String, String)>,
    /// Page size of lists; 0 for client-go's choice.
    pub page_size: u64,
    /// Whether it begins with a watch that sends the state first (KEP-3157).
    pub watch_list: bool,
    /// `timeoutSeconds` of its watches (client-go: 300 to 600).
    pub watch_timeout_seconds: (u64, u64),
    /// Whether it goes to the next server when it connects again.
    pub switch_servers: bool,
    /// How often its store is recorded; 0 for only at the end.
    pub snapshot_every_ms: u64,
}

/// An informer.
pub struct Informer {
    number: u64,
    options: InformerOptions,
    selection: Selection,
    apis: Vec<Api>,
    /// Index of the server that it uses.
    at: usize,
    stop: Signal,
    random: Random,
    backoff: Backoff,
    store: BTreeMap<(String, String), Object>,
    /// The position of the store; None before the first list.
    revision: Option<u64>,
    /// Whether a list at `revision` was refused.
    unavailable: bool,
}

/// How a watch ended, as far as it matters for what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// In good order: it is opened again where it was.
    Closed,
    /// Too many requests: likewise, after a pause.
    TooMany,
    /// A list is next.
    Relist,
    /// Of a watch that begins with the state: its last revision is of no use.
    Unavailable,
    /// All of the state has come.
    Synced,
    /// It is time to stop.
    Stopped,
}

impl Informer {
    /// An informer with a number that is its own on its node; it starts with server number `first` of `apis`, which are at
    /// least one.
    pub fn new(
        number: u64,
        options: InformerOptions,
        apis: Vec<Api>,
        first: usize,
        random: Random,
        stop: Signal,
    ) -> Informer {
        let mut random = random;
        let jitter = Random::new(random.u64());
        let at = first % apis.len().max(1);
        let backoff = Backoff::new(apis[at].env().clock.now(), jitter);
        Informer {
            number,
            selection: Selection {
                kind: options.kind,
                namespace: options.namespace.clone(),
                labels: options.labels.clone(),
            },
            options,
            apis,
            at,
            stop,
            random,
            backoff,
            store: BTreeMap::new(),
            revision: None,
            unavailable: false,
        }
    }

    /// Follows until it is stopped; then its store is recorded.
    pub async fn run(&mut self) {
        while !self.stop.is_given() {
            self.list_and_watch().await;
            self.reconnect();
            if !self.back_off().await {
                break;
            }
        }
        self.snapshot();
    }

    /// The position of its store; None before the first list.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// What it knows, in key order.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.store.values()
    }

    /// Records its store, if it has one.
    pub fn snapshot(&self) {
        let Some(revision) = self.revision else { return };
        self.api().record(Body::Informer {
            informer: self.number,
            resource: self.options.kind.resource(),
            namespace: self.options.namespace.clone(),
            labels: self.options.labels.clone(),
            revision,
            objects: self.store.values().cloned().collect(),
        });
    }

    fn api(&self) -> &Api {
        &self.apis[self.at]
    }

    /// The next connection is made to the next server, if it may be.
    fn reconnect(&mut self) {
        if self.options.switch_servers {
            self.at = (self.at + 1) % self.apis.len();
        }
    }

    /// Waits as long as client-go would; false if it is time to stop.
    async fn back_off(&mut self) -> bool {
        let pause = self.backoff.step(self.api().env().clock.now());
        retry::pause(self.api().env(), pause, &self.stop).await
    }

    async fn list_and_watch(&mut self) {
        let mut open = None;
        if self.options.watch_list {
            match self.watch_list().await {
                Ok(None) => return,
                Ok(watch) => open = watch,
                Err(Fallback) => {}
            }
        }
        if open.is_none() && !self.list().await {
            return;
        }
        self.watch(open).await;
    }

    /// Replaces the store by a list; false if there is none.
    async fn list(&mut self) -> bool {
        let version = match self.revision {
            _ if self.unavailable => Version::Latest,
            None => Version::Any,
            Some(revision) => Version::NotOlderThan(revision),
        };
        let mut listed = self.pages(version).await;
        if let Err(reply) = &listed
            && (reply.is_expired() || reply.is_too_large())
        {
            self.unavailable = true;
            listed = self.pages(Version::Latest).await;
        }
        let Ok((revision, objects)) = listed else { return false };
        self.unavailable = false;
        let objects = objects.into_iter().map(|object| ((object.namespace.clone(), object.name.clone()), object));
        self.replace(objects.collect(), revision);
        true
    }

    /// All pages of a list. If the later ones are gone, the whole list in one piece.
    async fn pages(&self, version: Version) -> Result<(u64, Vec<Object>), Reply> {
        let limit = match (self.options.page_size, version) {
            (0, Version::NotOlderThan(_)) => 0,
            (0, _) => PAGE_SIZE,
            (size, _) => size,
        };
        let mut paging = Paging { version, limit, legacy: true, continues: None };
        let (mut revision, mut objects) = (None, Vec::new());
        let mut page = 0;
        loop {
            page += 1;
            let reply = self.call(&Request::list(&self.selection, &paging)).await;
            let Some(list) = reply.list() else {
                if !reply.is_expired() || paging.continues.is_none() {
                    return Err(reply);
                }
                let whole = Paging { limit: 0, continues: None, ..paging };
                let reply = self.call(&Request::list(&self.selection, &whole)).await;
                return reply.list().cloned().map(|list| (list.revision, list.items)).ok_or(reply);
            };
            let revision = *revision.get_or_insert(list.revision);
            objects.extend(list.items.iter().cloned());
            if reply.continue_token.is_empty() {
                return Ok((revision, objects));
            }
            let first = paging.continues.map_or(reply.id, |(first, _)| first);
            if self.stop.is_given() || page == PAGES_MAX {
                return Err(reply);
            }
            paging.continues = Some((first, reply.continue_token));
        }
    }

    async fn call(&self, request: &Request) -> Reply {
        retry::call(self.api(), request, &self.stop).await
    }

    /// Watches from the position of the store until a list is needed.
    async fn watch(&mut self, mut open: Option<Watch>) {
        while !self.stop.is_given() {
            let started = self.api().env().clock.now();
            let mut watch = match open.take() {
                Some(watch) => watch,
                None => {
                    let from = WatchFrom::After(self.revision.unwrap_or_default());
                    match self.open(from).await {
                        Ok(watch) => watch,
                        Err(reply) if is_passing(&reply) => {
                            self.reconnect();
                            self.back_off().await;
                            continue;
                        }
                        Err(_) => return,
                    }
                }
            };
            let (ended, events) = self.follow(&mut watch).await;
            let short = events == 0 && self.api().env().clock.now() - started < VERY_SHORT;
            match ended {
                Ended::Closed if !short => self.reconnect(),
                Ended::TooMany => {
                    self.reconnect();
                    self.back_off().await;
                }
                _ => return,
            }
        }
    }

    async fn open(&mut self, from: WatchFrom) -> Result<Watch, Reply> {
        let timeout_seconds = self.random.between(self.options.watch_timeout_seconds);
        let request = Request::watch(&self.selection, from, true, timeout_seconds);
        retry::watch(self.api(), &request, &self.stop).await
    }

    /// Takes events into the store until the watch ends.
    async fn follow(&mut self, watch: &mut Watch) -> (Ended, u64) {
        let every = Duration::from_millis(self.options.snapshot_every_ms);
        let env = self.api().env().clone();
        let mut alarm = (!every.is_zero()).then(|| env.sleep(every));
        let mut stop = self.stop.wait();
        let mut events = 0;
        loop {
            match watch.next_until(&mut stop, alarm.as_mut()).await {
                Woken::Item(Ok(item)) => {
                    events += 1;
                    if let Err(ended) = self.take(item) {
                        return (ended, events);
                    }
                }
                Woken::Item(Err(end)) => return (self.end_of(end), events),
                Woken::Stop => return (Ended::Stopped, events),
                Woken::Alarm => {
                    self.snapshot();
                    alarm = Some(env.sleep(every));
                }
            }
        }
    }

    /// A broken stream of HTTP/1.1 looks like its end; one of HTTP/2 is an error (apimachinery `watch/streamwatcher.go`).
    fn end_of(&self, end: StreamEnd) -> Ended {
        if end == StreamEnd::Broken && self.api().protocol() == Protocol::Http2 { Ended::Relist } else { Ended::Closed }
    }

    fn take(&mut self, item: StreamItem) -> Result<(), Ended> {
        match item {
            StreamItem::Added(object) | StreamItem::Modified(object) => {
                self.revision = Some(object.revision);
                self.put(object);
            }
            StreamItem::Deleted(object) => {
                self.revision = Some(object.revision);
                self.remove((object.namespace, object.name));
            }
            StreamItem::Bookmark { revision, .. } => self.revision = Some(revision),
            StreamItem::Error { code, .. } => return Err(ended_by(code)),
        }
        Ok(())
    }

    /// Takes the whole state from a watch that begins with it. None: it is time to stop.
    async fn watch_list(&mut self) -> Result<Option<Watch>, Fallback> {
        while !self.stop.is_given() {
            let from = if self.unavailable { 0 } else { self.revision.unwrap_or_default() };
            let ended = match self.open(WatchFrom::WatchList(from)).await {
                Ok(mut watch) => {
                    let mut state = BTreeMap::new();
                    let (ended, revision) = self.collect(&mut watch, &mut state).await;
                    if let (Ended::Synced, Some(revision)) = (ended, revision) {
                        self.unavailable = false;
                        self.replace(state, revision);
                        return Ok(Some(watch));
                    }
                    ended
                }
                Err(reply) if is_passing(&reply) => Ended::TooMany,
                Err(reply) if reply.is_expired() || reply.is_too_large() => Ended::Unavailable,
                Err(_) => Ended::Relist,
            };
            self.reconnect();
            match ended {
                Ended::TooMany => {
                    self.back_off().await;
                }
                Ended::Unavailable => self.unavailable = true,
                Ended::Relist => return Err(Fallback),
                Ended::Closed | Ended::Synced | Ended::Stopped => {}
            }
        }
        Ok(None)
    }

    /// Collects the state until the bookmark that closes it.
    async fn collect(&self, watch: &mut Watch, state: &mut BTreeMap<(String, String), Object>) -> (Ended, Option<u64>) {
        let started = self.api().env().clock.now();
        let mut stop = self.stop.wait();
        let mut events = 0;
        loop {
            match watch.next_until(&mut stop, None).await {
                Woken::Item(Ok(StreamItem::Added(object) | StreamItem::Modified(object))) => {
                    state.insert((object.namespace.clone(), object.name.clone()), object);
                }
                Woken::Item(Ok(StreamItem::Deleted(object))) => {
                    state.remove(&(object.namespace, object.name));
                }
                Woken::Item(Ok(StreamItem::Bookmark { revision, initial_events_end: true })) => {
                    return (Ended::Synced, Some(revision));
                }
                Woken::Item(Ok(StreamItem::Bookmark { .. })) => {}
                Woken::Item(Ok(StreamItem::Error { code: 410 | 504, .. })) => return (Ended::Unavailable, None),
                Woken::Item(Ok(StreamItem::Error { code, .. })) => return (ended_by(code), None),
                Woken::Item(Err(end)) => {
                    let short = events == 0 && self.api().env().clock.now() - started < VERY_SHORT;
                    return (if short { Ended::Relist } else { self.end_of(end) }, None);
                }
                Woken::Stop | Woken::Alarm => return (Ended::Stopped, None),
            }
            events += 1;
        }
    }

    /// The store becomes a whole state: what is new in it is told, and what is gone.
    fn replace(&mut self, state: BTreeMap<(String, String), Object>, revision: u64) {
        let gone: Vec<(String, String)> = self.store.keys().filter(|key| !state.contains_key(*key)).cloned().collect();
        self.revision = Some(revision);
        for (key, object) in state {
            if self.store.get(&key).is_none_or(|known| known.revision != object.revision) {
                self.put(object);
            }
        }
        for key in gone {
            self.remove(key);
        }
    }

    fn put(&mut self, object: Object) {
        self.told(&object.namespace, &object.name, Some(object.clone()));
        self.store.insert((object.namespace.clone(), object.name.clone()), object);
    }

    fn remove(&mut self, key: (String, String)) {
        if self.store.remove(&key).is_some() {
            self.told(&key.0, &key.1, None);
        }
    }

    fn told(&self, namespace: &str, name: &str, object: Option<Object>) {
        let resource = self.options.kind.resource();
        let key = ObjectKey { resource, namespace: namespace.to_owned(), name: name.to_owned() };
        self.api().record(Body::Handled { informer: self.number, key, object });
    }
}

/// A watch cannot bring the state: a list has to.
struct Fallback;

/// Whether a watch that was not opened is worth another try at the same place: the server is not there, or is busy.
fn is_passing(reply: &Reply) -> bool {
    matches!(reply.outcome, Outcome::NotSent(_)) || reply.code() == 429
}

/// How an error event ends a watch.
fn ended_by(code: u16) -> Ended {
    if code == 429 { Ended::TooMany } else { Ended::Relist }
}
