//! What the tests share: a store in memory, objects with labels, and readable results.
#![allow(dead_code)] // each test binary uses some of it

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use triune_api::{
    names::{GroupResource, ObjectKey},
    selector::{FieldSelector, LabelSelector},
};
use triune_env::{
    BoxFuture, Clock, Env,
    storage::{Isolation, KeyRange, Storage},
};
use triune_store::{ResourceCache, Revision, Store, StoreOptions, WatchItem, Watcher, types::*};

/// Labels are those of the body; fields are name and namespace.
pub struct BodyLabels;

impl AttributesOf for BodyLabels {
    fn attributes_of(&self, key: &ObjectKey, body: &[u8]) -> Attributes {
        let object = [b"{", body].concat();
        let object: serde_json::Value = serde_json::from_slice(&object).unwrap_or_default();
        let mut labels = BTreeMap::new();
        for (name, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
            labels.insert(name.clone(), value.as_str().unwrap_or_default().to_string());
        }
        let fields = [("metadata.name", &key.name), ("metadata.namespace", &key.namespace)];
        let fields = fields.into_iter().map(|(path, value)| (path.to_string(), value.to_string())).collect();
        Attributes { labels, fields }
    }
}

pub fn resource() -> GroupResource {
    GroupResource::new("", "things")
}

/// `namespace/name`, or `name`.
pub fn key(path: &str) -> ObjectKey {
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    ObjectKey::new(resource(), namespace, name)
}

/// A body with a label `app` and any other text.
pub fn body(app: &str, data: &str) -> Bytes {
    format!("\"metadata\":{{\"labels\":{{\"app\":\"{app}\"}}}},\"data\":\"{data}\"}}").into()
}

pub fn put(body: Bytes) -> Change {
    Change::Put { body, uid: "uid".into(), terminating: false, time_to_live: None }
}

pub fn write(path: &str, expect: Expect, change: Change) -> Write {
    Write { key: key(path), expect, change, fences: Vec::new(), claims: Vec::new() }
}

/// The environment of this process, whose wall time stands still when tokio's time is paused.
pub fn env() -> Env {
    let env = triune_platform::env();
    let (wall, now) = (env.clock.wall(), env.clock.now());
    Env { clock: Arc::new(OneClock { inner: env.clock.clone(), wall, now }), ..env }
}

struct OneClock {
    inner: Arc<dyn Clock>,
    wall: SystemTime,
    now: Instant,
}

impl Clock for OneClock {
    fn wall(&self) -> SystemTime {
        self.wall + (self.inner.now() - self.now)
    }
    fn now(&self) -> Instant {
        self.inner.now()
    }
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.inner.sleep_until(deadline)
    }
}

pub struct World {
    pub env: Env,
    pub storage: Arc<dyn Storage>,
    pub options: StoreOptions,
    pub store: Arc<Store>,
    pub cache: Arc<ResourceCache>,
}

impl World {
    pub async fn new() -> World {
        World::with(StoreOptions::default()).await
    }

    pub async fn with(options: StoreOptions) -> World {
        let env = env();
        World::on(env.clone(), triune_storage::memory(env), options).await
    }

    pub async fn on(env: Env, storage: Arc<dyn Storage>, options: StoreOptions) -> World {
        let store = Store::open(env.clone(), storage.clone(), options.clone()).await.unwrap();
        let cache = store.resource(&resource(), Arc::new(BodyLabels));
        World { env, storage, options, store, cache }
    }

    /// How many rows have keys that start with `prefix`, which ends with the separator.
    pub async fn rows(&self, prefix: &[u8]) -> usize {
        let mut end = prefix.to_vec();
        *end.last_mut().unwrap() += 1;
        let range = KeyRange { start: prefix.to_vec().into(), end: end.into() };
        self.storage.begin().await.unwrap().range(range, 10_000, false, Isolation::Snapshot).await.unwrap().len()
    }

    pub async fn create(&self, path: &str, app: &str, data: &str) -> Revision {
        self.store.commit(write(path, Expect::Absent, put(body(app, data)))).await.unwrap().revision
    }

    pub async fn update(&self, path: &str, app: &str, data: &str) -> Revision {
        let live = self.store.get(&key(path)).await.unwrap().unwrap();
        self.store.commit(write(path, Expect::Revision(live.revision), put(body(app, data)))).await.unwrap().revision
    }

    pub async fn delete(&self, path: &str) -> Revision {
        let live = self.store.get(&key(path)).await.unwrap().unwrap();
        let change = Change::Delete { body: live.body };
        self.store.commit(write(path, Expect::Revision(live.revision), change)).await.unwrap().revision
    }

    pub async fn list(&self, at: ListAt) -> Result<ListResult, ReadError> {
        self.cache.list(list_request(selection("", ""), at)).await
    }

    pub async fn watch(&self, selection: Selection, from: WatchFrom) -> Watcher {
        self.cache.watch(watch_request(selection, from)).await.unwrap()
    }
}

/// A namespace ("" for all) and a label selector.
pub fn selection(namespace: &str, labels: &str) -> Selection {
    Selection {
        namespace: (!namespace.is_empty()).then(|| namespace.into()),
        labels: LabelSelector::parse(labels).unwrap(),
        fields: FieldSelector::default(),
    }
}

pub fn list_request(selection: Selection, at: ListAt) -> ListRequest {
    ListRequest { selection, at, limit: 0, continue_token: None }
}

pub fn watch_request(selection: Selection, from: WatchFrom) -> WatchRequest {
    WatchRequest { selection, from, bookmarks: false, initial_events_end: false }
}

/// `namespace/name=data`, in the order of the list.
pub fn shown(items: &[Arc<triune_store::Entry>]) -> Vec<String> {
    items.iter().map(|entry| format!("{}={}", path(&entry.key), data(&entry.body))).collect()
}

pub fn path(key: &ObjectKey) -> String {
    if key.namespace.is_empty() { key.name.to_string() } else { format!("{}/{}", key.namespace, key.name) }
}

pub fn data(body: &[u8]) -> String {
    let object: serde_json::Value = serde_json::from_slice(&[b"{", body].concat()).unwrap();
    object["data"].as_str().unwrap_or_default().to_string()
}

/// `ADDED namespace/name=data`, `BOOKMARK`, `END`, or an error.
pub fn shown_item(item: &WatchItem) -> String {
    match item {
        WatchItem::Change { event_type, entry, .. } => {
            format!("{} {}={}", event_type.as_str(), path(&entry.key), data(&entry.body))
        }
        WatchItem::Bookmark { initial_events_end: false, .. } => "BOOKMARK".into(),
        WatchItem::Bookmark { initial_events_end: true, .. } => "END".into(),
        WatchItem::Error(error) => error.to_string(),
    }
}

/// The next `count` items.
pub async fn take(watcher: &mut Watcher, count: usize) -> Vec<WatchItem> {
    let mut items = Vec::new();
    while items.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(5), watcher.next(count - items.len())).await;
        let next = next.unwrap_or_else(|_| panic!("only {items:?} came"));
        assert!(!next.is_empty(), "the watch ended after {items:?}");
        items.extend(next);
    }
    items
}

/// The next items, readable.
pub async fn take_shown(watcher: &mut Watcher, count: usize) -> Vec<String> {
    take(watcher, count).await.iter().map(shown_item).collect()
}

/// That nothing comes for a short while.
pub async fn quiet(watcher: &mut Watcher) {
    let next = tokio::time::timeout(Duration::from_millis(20), watcher.next(10)).await;
    assert!(next.is_err(), "nothing was expected, but {next:?} came");
}
