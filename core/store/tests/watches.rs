//! Lists and watches where time, speed and concurrency matter: slow watchers, bookmarks, retired resources, several
//! servers. Invariants W3, W4, W7, W10, W11, W14, W18, W20, S12; the rest is in the model test.

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use support::*;
use triune_api::selector::FieldSelector;
use triune_store::{EncodingId, Revision, StoreOptions, WatchItem, types::*};

#[tokio::test]
async fn a_slow_watcher_resumes_from_the_log() {
    let options = StoreOptions { window_events_max: 10, ..StoreOptions::default() };
    let world = World::with(options).await;
    let mut slow = world.watch(selection("", "app=one"), WatchFrom::Now).await;
    let start = world.create("a/x", "one", "0").await;
    let mut expected = vec!["ADDED a/x=0".to_string()];
    for index in 1..1_301 {
        let app = if index % 3 == 0 { "two" } else { "one" };
        world.update("a/x", app, &index.to_string()).await;
        match index % 3 {
            0 => expected.push(format!("DELETED a/x={}", index - 1)),
            1 if index > 1 => expected.push(format!("ADDED a/x={index}")),
            _ => expected.push(format!("MODIFIED a/x={index}")),
        }
    }
    world.cache.refresh().await.unwrap();
    assert_eq!(take_shown(&mut slow, expected.len()).await, expected);
    assert!(world.store.statistics().watch_resumes > 0, "the window alone was not enough");
    quiet(&mut slow).await;
    world.update("a/x", "one", "last").await;
    assert_eq!(take_shown(&mut slow, 1).await, ["MODIFIED a/x=last"]);

    let mut too_slow = world.watch(selection("", ""), WatchFrom::After(start)).await;
    world.store.compact(world.cache.revision()).await.unwrap();
    let items = too_slow.next(1).await;
    assert!(matches!(items[..], [WatchItem::Error(ReadError::Compacted { .. })]), "{items:?}");
    assert!(too_slow.next(1).await.is_empty(), "W14: then it ends");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_by_themselves() {
    let world = World::new().await;
    world.create("a/x", "one", "0").await;
    let request = WatchRequest {
        bookmarks: true,
        initial_events_end: true,
        ..watch_request(selection("", ""), WatchFrom::StateLatest)
    };
    let mut watcher = world.cache.watch(request).await.unwrap();
    let started = tokio::time::Instant::now();
    let items = watcher.next(10).await;
    assert_eq!(items.iter().map(shown_item).collect::<Vec<_>>(), ["ADDED a/x=0", "END"]);
    let mut last = Revision(0);
    for minute in 1..4 {
        // Other resources move on; so does this watch, without events.
        let mut other = write("a/x", Expect::Absent, put(body("one", "0")));
        other.key.name = format!("other{minute}").as_str().into();
        other.key.resource.resource = "others".into();
        let current = world.store.commit(other).await.unwrap().revision;
        let items = watcher.next(10).await;
        let [WatchItem::Bookmark { revision, initial_events_end: false }] = items[..] else { panic!("{items:?}") };
        assert!(revision > last && revision >= current, "L12");
        last = revision;
        let minutes = started.elapsed().as_secs_f64() / 60.0;
        assert!((minutes / f64::from(minute) - 1.0).abs() < 0.12, "bookmark {minute} after {minutes} minutes");
    }
    watcher.request_bookmark();
    assert_eq!(watcher.next(10).await.iter().map(shown_item).collect::<Vec<_>>(), ["BOOKMARK"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_start_in_the_future() {
    let world = World::new().await;
    let current = world.store.current_revision().await.unwrap();
    let from = WatchFrom::After(Revision(current.0 + 2));
    let request = WatchRequest { bookmarks: true, ..watch_request(selection("", ""), from) };
    let mut watcher = world.cache.watch(request).await.unwrap();
    let early = tokio::time::timeout(Duration::from_secs(300), watcher.next(1)).await;
    assert!(early.is_err(), "W10: no bookmark before the start: {early:?}");
    for name in ["a/1", "a/2", "a/3"] {
        world.create(name, "one", "0").await;
    }
    assert_eq!(take_shown(&mut watcher, 1).await, ["ADDED a/3=0"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_too_early_is_said_to_be_too_large() {
    let world = World::new().await;
    world.create("a/x", "one", "0").await;
    let asked = Revision(world.store.current_revision().await.unwrap().0 + 1);
    for at in [ListAt::NotOlderThan(asked), ListAt::Exact(asked)] {
        let started = tokio::time::Instant::now();
        let error = world.list(at).await.unwrap_err();
        assert!(
            matches!(error, ReadError::TooLarge { asked: told, current } if told == asked && current < asked),
            "{error}"
        );
        assert_eq!(started.elapsed().as_secs(), 3);
    }
    let waiting = world.list(ListAt::NotOlderThan(asked));
    let (listed, _) = futures::join!(waiting, world.create("a/y", "one", "1"));
    assert_eq!(shown(&listed.unwrap().items), ["a/x=0", "a/y=1"]);
}

#[tokio::test]
async fn a_retired_resource_ends_its_watches() {
    let world = World::new().await;
    world.create("a/x", "one", "0").await;
    let mut watcher = world.watch(selection("", ""), WatchFrom::StateAny).await;
    assert_eq!(take_shown(&mut watcher, 1).await, ["ADDED a/x=0"]);
    let next = tokio::spawn(async move { watcher.next(1).await });
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.store.retire(&resource());
    assert!(next.await.unwrap().is_empty());
    assert!(matches!(world.list(ListAt::Any).await, Err(ReadError::Unavailable(_))), "W20");
    assert_eq!(world.store.statistics().watches_open, 0);
    let again = world.store.resource(&resource(), Arc::new(BodyLabels));
    assert_eq!(again.list(list_request(selection("", ""), ListAt::Any)).await.unwrap().items.len(), 1);
}

async fn check_fields(selector: &str, namespace: &str, expected: &[&str]) {
    let world = World::new().await;
    let mut watched = selection(namespace, "");
    watched.fields = FieldSelector::parse(selector).unwrap();
    let mut watcher = world.watch(watched.clone(), WatchFrom::StateLatest).await;
    for path in ["a/x", "a/y", "b/x", "c"] {
        world.create(path, "one", "0").await;
    }
    let listed = world.cache.list(list_request(watched, ListAt::Latest)).await.unwrap();
    assert_eq!(shown(&listed.items), expected, "{selector} in {namespace:?}");
    let events = take_shown(&mut watcher, expected.len()).await;
    assert_eq!(events, expected.iter().map(|item| format!("ADDED {item}")).collect::<Vec<_>>(), "{selector}");
    quiet(&mut watcher).await;
}

#[tokio::test]
async fn fields_select_by_key() {
    check_fields("metadata.name=x", "", &["a/x=0", "b/x=0"]).await;
    check_fields("metadata.name=x", "a", &["a/x=0"]).await;
    check_fields("metadata.namespace=a", "", &["a/x=0", "a/y=0"]).await;
    check_fields("metadata.namespace=b,metadata.name=x", "", &["b/x=0"]).await;
    check_fields("metadata.namespace=b", "a", &[]).await;
    check_fields("metadata.name=c", "", &["c=0"]).await;
    check_fields("metadata.name!=x", "", &["a/y=0", "c=0"]).await;
    check_fields("metadata.name=none", "", &[]).await;
}

#[tokio::test]
async fn cached_reads_follow_the_rules_of_lists() {
    let world = World::new().await;
    let first = world.create("a/x", "one", "0").await;
    let second = world.update("a/x", "one", "1").await;
    let read = async |at| world.cache.get_cached("a", "x", at).await.map(|entry| entry.map(|entry| data(&entry.body)));
    assert_eq!(read(ListAt::Latest).await, Ok(Some("1".into())));
    assert_eq!(read(ListAt::NotOlderThan(second)).await, Ok(Some("1".into())));
    assert_eq!(read(ListAt::Any).await, Ok(Some("1".into())));
    assert_eq!(read(ListAt::Exact(first)).await, Ok(Some("0".into())));
    assert_eq!(read(ListAt::Exact(Revision(first.0 - 1))).await, Ok(None));
}

#[tokio::test]
async fn encodings_are_shared_by_watchers() {
    let world = World::new().await;
    world.create("a/x", "one", "0").await;
    let mut made = 0;
    let mut watchers = Vec::new();
    for _ in 0..10 {
        watchers.push(world.watch(selection("", ""), WatchFrom::StateLatest).await);
    }
    world.update("a/x", "one", "1").await;
    for watcher in &mut watchers {
        for item in take(watcher, 2).await {
            let WatchItem::Change { event_type, change, .. } = item else { panic!("{item:?}") };
            change.encoded(EncodingId(0), event_type, || {
                made += 1;
                "encoded".into()
            });
        }
    }
    assert_eq!(made, 2, "one for the initial state, one for the change");
}

#[tokio::test]
async fn a_dropped_next_loses_nothing() {
    let world = World::new().await;
    let mut watcher = world.watch(selection("", ""), WatchFrom::Now).await;
    let mut given = Vec::new();
    for index in 0..50 {
        world.create(&format!("a/{index}"), "one", "0").await;
        // Dropped at each of its points of waiting.
        for _ in 0..index % 4 {
            if let std::task::Poll::Ready(items) = futures::poll!(std::pin::pin!(watcher.next(3))) {
                given.extend(items);
            }
            tokio::task::yield_now().await;
        }
    }
    while given.len() < 50 {
        given.extend(take(&mut watcher, 1).await);
    }
    let expected: Vec<String> = (0..50).map(|index| format!("ADDED a/{index}=0")).collect();
    assert_eq!(given.iter().map(shown_item).collect::<Vec<_>>(), expected);
}

/// Two servers on one storage, writers on both, watchers on both: all watchers see the same history, in order, and lists
/// never go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_agree() {
    const WRITES: usize = 150;
    let one = Arc::new(World::with(StoreOptions { window_events_max: 20, ..StoreOptions::default() }).await);
    let other = Arc::new(World::on(one.env.clone(), one.storage.clone(), StoreOptions::default()).await);
    let mut watchers = Vec::new();
    for index in 0..8 {
        let world = if index % 2 == 0 { &one } else { &other };
        let mut watcher = world.watch(selection("", ""), WatchFrom::Now).await;
        watchers.push(tokio::spawn(async move {
            let mut given = Vec::new();
            while given.len() < 4 * WRITES {
                for item in watcher.next(1 + index).await {
                    let WatchItem::Change { revision, .. } = &item else { panic!("{item:?}") };
                    given.push((*revision, shown_item(&item)));
                }
            }
            given
        }));
    }
    let mut writers = Vec::new();
    for writer in 0..4 {
        let world = if writer % 2 == 0 { one.clone() } else { other.clone() };
        writers.push(tokio::spawn(async move {
            let (mut wrote, mut seen) = (BTreeMap::new(), Revision(0));
            for index in 0..WRITES {
                let path = format!("ns{writer}/x");
                let revision = match index % 5 {
                    0 => world.create(&path, "one", &index.to_string()).await,
                    4 => world.delete(&path).await,
                    _ => world.update(&path, "one", &index.to_string()).await,
                };
                wrote.insert(revision, path.clone());
                let list = world.cache.list(list_request(selection("", ""), ListAt::Latest)).await.unwrap();
                assert!(list.revision >= revision && list.revision >= seen, "W2, W3");
                seen = list.revision;
                let mine = list.items.iter().find(|entry| path == support::path(&entry.key));
                assert_eq!(mine.map(|entry| entry.revision), (index % 5 != 4).then_some(revision), "S12");
            }
            wrote
        }));
    }
    let mut written = BTreeMap::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    assert_eq!(written.len(), 4 * WRITES, "revisions are unique");
    let mut histories = Vec::new();
    for watcher in watchers {
        histories.push(watcher.await.unwrap());
    }
    for history in &histories {
        assert!(history.iter().map(|(revision, _)| revision).eq(written.keys()), "W7: no gap, no repetition, in order");
        assert_eq!(history, &histories[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn maintenance_compacts_and_expires() {
    let world = World::new().await;
    world.store.start_maintenance();
    let change = Change::Put {
        body: body("one", "0"),
        uid: "uid".into(),
        terminating: false,
        time_to_live: Some(Duration::ZERO),
    };
    world.store.commit(write("a/short", Expect::Absent, change)).await.unwrap();
    let first = world.create("a/x", "one", "0").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.store.statistics().expired, 1);
    let kept = world.update("a/x", "one", "1").await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(world.store.statistics().rows_compacted, 0, "S5: kept for five minutes");
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert_eq!(world.rows(b"t/l/").await, 0);
    let exact = |revision| world.list(ListAt::Exact(revision));
    assert!(matches!(exact(first).await, Err(ReadError::Compacted { oldest, .. }) if oldest == kept));
    assert_eq!(shown(&exact(kept).await.unwrap().items), ["a/x=1"]);
    let idle = world.watch(selection("", ""), WatchFrom::After(kept)).await;
    tokio::time::sleep(Duration::from_secs(10_000)).await;
    drop(idle);
    assert!(
        world.cache.watch(watch_request(selection("", ""), WatchFrom::After(kept))).await.is_ok(),
        "W12: an idle log keeps its floor"
    );
}
