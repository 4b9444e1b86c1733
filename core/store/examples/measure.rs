//! Measures the store: commits, lists, fan-out. Prints one line a figure.
//!
//! `cargo run -p triune-store --example measure [--release] [-- WATCHERS EVENTS_PER_SECOND SECONDS [FOLDER]]`; on the
//! memory storage, or on an embedded one in an empty folder.
#![allow(clippy::disallowed_methods)] // an example is a program of its own: it reads its arguments, the clock and /proc

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use triune_api::{
    names::{GroupResource, ObjectKey},
    selector::{FieldSelector, LabelSelector},
};
use triune_store::{
    EncodingId, ResourceCache, Store, StoreOptions, WatchItem,
    types::{
        Attributes, AttributesOf, Change, Expect, ListAt, ListRequest, ListResult, Selection, WatchFrom, WatchRequest,
        Write,
    },
};

const OBJECTS: usize = 10_000;
const BODY_BYTES: usize = 1_024;

struct NoAttributes;

impl AttributesOf for NoAttributes {
    fn attributes_of(&self, _: &ObjectKey, _: &[u8]) -> Attributes {
        Attributes::default()
    }
}

/// CPU time of all threads so far.
fn cpu() -> Duration {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(nanoseconds)
}

async fn measured<T>(name: &str, count: usize, work: impl Future<Output = T>) -> T {
    let (started, before) = (Instant::now(), cpu());
    let done = work.await;
    let (cpu, wall) = (cpu() - before, started.elapsed());
    let each = cpu.as_secs_f64() * 1e6 / count as f64;
    println!(
        "{name}: {each:.2} us CPU each, {:.0} per second, {count} in {:.3} s",
        count as f64 / wall.as_secs_f64(),
        wall.as_secs_f64()
    );
    done
}

fn body(index: usize) -> Bytes {
    let head = format!("\"metadata\":{{\"name\":\"object-{index}\"}},\"data\":\"");
    format!("{head}{}\"}}", "x".repeat(BODY_BYTES - head.len() - 2)).into()
}

fn write(key: ObjectKey, expect: Expect, index: usize) -> Write {
    let change = Change::Put { body: body(index), uid: "5b1ec4a8".into(), terminating: false, time_to_live: None };
    Write { key, expect, change, fences: Vec::new(), claims: Vec::new() }
}

fn key(index: usize) -> ObjectKey {
    ObjectKey::new(
        GroupResource::new("", "configmaps"),
        &format!("namespace-{}", index % 10),
        &format!("object-{index:06}"),
    )
}

fn everything() -> Selection {
    Selection { namespace: None, labels: LabelSelector::default(), fields: FieldSelector::default() }
}

async fn list(cache: &ResourceCache, at: ListAt, limit: usize, continue_token: Option<String>) -> ListResult {
    let request = ListRequest { selection: everything(), at, limit, continue_token };
    cache.list(request).await.expect("memory storage does not fail")
}

async fn pages(cache: &ResourceCache, limit: usize) -> usize {
    let mut pages = 0;
    let mut token = None;
    loop {
        let page = list(cache, ListAt::Latest, limit, token).await;
        pages += 1;
        token = page.continue_token;
        if token.is_none() {
            return pages;
        }
    }
}

/// Delays of deliveries, in microseconds, as counts of powers of two.
#[derive(Default)]
struct Delays([AtomicU64; 32]);

impl Delays {
    fn add(&self, delay: Duration) {
        let bucket = (128 - delay.as_micros().leading_zeros()) as usize;
        self.0[bucket.min(31)].fetch_add(1, Ordering::Relaxed);
    }
    /// The bound below which `share` of all lie.
    fn below(&self, share: f64) -> Duration {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let mut seen = 0;
        for (bucket, count) in counts.iter().enumerate() {
            seen += count;
            if seen as f64 >= share * total as f64 {
                return Duration::from_micros(1 << bucket);
            }
        }
        Duration::ZERO
    }
}

async fn fan_out(store: &Arc<Store>, cache: &Arc<ResourceCache>, watchers: usize, per_second: usize, seconds: usize) {
    let events = per_second * seconds;
    let epoch = Instant::now();
    // When each event was committed, by its order.
    let committed: Arc<Vec<AtomicU64>> = Arc::new((0..events).map(|_| AtomicU64::new(0)).collect());
    let delays = Arc::new(Delays::default());
    let mut tasks = Vec::new();
    for _ in 0..watchers {
        let request =
            WatchRequest { selection: everything(), from: WatchFrom::Now, bookmarks: true, initial_events_end: false };
        let mut watcher = cache.watch(request).await.expect("memory storage does not fail");
        let (committed, delays) = (committed.clone(), delays.clone());
        tasks.push(tokio::spawn(async move {
            let mut given = 0;
            while given < events {
                for item in watcher.next(100).await {
                    let WatchItem::Change { event_type, entry, change, .. } = item else { continue };
                    let bytes = change.encoded(EncodingId(0), event_type, || entry.body.clone());
                    assert_eq!(bytes.len(), BODY_BYTES);
                    let at = Duration::from_nanos(committed[given].load(Ordering::Relaxed));
                    delays.add(epoch.elapsed().saturating_sub(at));
                    given += 1;
                }
            }
        }));
    }
    let work = async {
        let mut next = tokio::time::Instant::now();
        for (index, at) in committed.iter().enumerate() {
            let key = key(index % OBJECTS);
            let live = store.get(&key).await.expect("memory storage does not fail").expect("it was created");
            at.store(epoch.elapsed().as_nanos() as u64, Ordering::Relaxed);
            let write = write(key, Expect::Revision(live.revision), OBJECTS + index);
            store.commit(write).await.expect("memory storage does not fail");
            next += Duration::from_secs(1) / per_second as u32;
            tokio::time::sleep_until(next).await;
        }
        for task in tasks {
            task.await.expect("a watcher ends well");
        }
    };
    measured(&format!("deliver to {watchers} watchers at {per_second} events/s"), watchers * events, work).await;
    println!("  delay p50 < {:?}, p99 < {:?}", delays.below(0.5), delays.below(0.99));
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let argument = |index: usize, default| arguments.get(index).copied().unwrap_or(default);
    let env = triune_platform::env();
    let storage = match std::env::args().nth(4) {
        None => triune_storage::memory(env.clone()),
        Some(folder) => triune_storage::embedded(env.clone(), folder.as_ref()).expect("the folder opens"),
    };
    let store = Store::open(env, storage, StoreOptions::default()).await.expect("it opens");
    let resource = key(0).resource;
    measured("create 1 KiB", OBJECTS, async {
        for index in 0..OBJECTS {
            store.commit(write(key(index), Expect::Absent, index)).await.expect("memory storage does not fail");
        }
    })
    .await;
    let cache = store.resource(&resource, Arc::new(NoAttributes));
    measured("load 10,000 objects", 1, list(&cache, ListAt::Any, 0, None)).await;
    measured("get", OBJECTS, async {
        for index in 0..OBJECTS {
            assert!(store.get(&key(index)).await.expect("memory storage does not fail").is_some());
        }
    })
    .await;
    for (name, at) in [("list 10,000, any", ListAt::Any), ("list 10,000, latest", ListAt::Latest)] {
        measured(name, 100, async {
            for _ in 0..100 {
                assert_eq!(list(&cache, at, 0, None).await.items.len(), OBJECTS);
            }
        })
        .await;
    }
    measured("page of 500 of 10,000", OBJECTS / 500, pages(&cache, 500)).await;
    measured("update 1 KiB, with a cache", OBJECTS, async {
        for index in 0..OBJECTS {
            let live = store.get(&key(index)).await.expect("memory storage does not fail").expect("it was created");
            let write = write(key(index), Expect::Revision(live.revision), index + 1);
            store.commit(write).await.expect("memory storage does not fail");
        }
    })
    .await;
    fan_out(&store, &cache, argument(0, 1_000), argument(1, 200), argument(2, 5)).await;
    println!("{:?}", store.statistics());
}
