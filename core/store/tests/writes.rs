//! Writes: expectations, no-ops, fences, claims, large bodies, expiry. Invariants S1, S2, S4, S7, S10.

mod support;

use std::time::Duration;

use support::*;
use triune_store::{Revision, StoreOptions, types::*};

#[tokio::test]
async fn create_update_delete() {
    let world = World::new().await;
    let created = world.create("a/x", "one", "1").await;
    let live = world.store.get(&key("a/x")).await.unwrap().unwrap();
    assert_eq!((live.revision, live.created, data(&live.body)), (created, created, "1".into()));
    let updated = world.update("a/x", "one", "2").await;
    assert!(updated > created);
    let live = world.store.get(&key("a/x")).await.unwrap().unwrap();
    assert_eq!((live.revision, live.created, data(&live.body)), (updated, created, "2".into()));
    let deleted = world.delete("a/x").await;
    assert!(deleted > updated);
    assert_eq!(world.store.get(&key("a/x")).await.unwrap(), None);
}

#[tokio::test]
async fn a_broken_expectation_shows_what_is_there() {
    let world = World::new().await;
    let revision = world.create("a/x", "one", "1").await;
    let update = |path: &str, expect| world.store.commit(write(path, expect, put(body("one", "2"))));
    for expect in [Expect::Absent, Expect::Revision(Revision(revision.0 + 1)), Expect::Revision(Revision(0))] {
        let error = update("a/x", expect).await.unwrap_err();
        let WriteError::Expectation(Some(live)) = error else { panic!("{error}") };
        assert_eq!((live.revision, data(&live.body)), (revision, "1".into()));
    }
    assert_eq!(update("a/y", Expect::Revision(revision)).await.unwrap_err(), WriteError::Expectation(None));
}

#[tokio::test]
async fn equal_bytes_make_no_event() {
    let world = World::new().await;
    let revision = world.create("a/x", "one", "1").await;
    let mut watcher = world.watch(selection("", ""), WatchFrom::After(revision)).await;
    let same = write("a/x", Expect::Revision(revision), put(body("one", "1")));
    let committed = world.store.commit(same).await.unwrap();
    assert_eq!(committed, Committed { revision, created: revision, changed: false });
    quiet(&mut watcher).await;
    let terminating = Change::Put { body: body("one", "1"), uid: "uid".into(), terminating: true, time_to_live: None };
    let committed = world.store.commit(write("a/x", Expect::Revision(revision), terminating)).await.unwrap();
    assert!(committed.changed && committed.revision > revision && committed.created == revision);
}

async fn check_fence(holder: Option<(&str, bool)>, uid: Option<&str>, expected: Option<FenceFound>) {
    let world = World::new().await;
    if let Some((uid, terminating)) = holder {
        let change = Change::Put { body: body("one", "1"), uid: uid.into(), terminating, time_to_live: None };
        world.store.commit(write("holder", Expect::Absent, change)).await.unwrap();
    }
    let mut held = write("a/x", Expect::Absent, put(body("one", "1")));
    held.fences = vec![Fence { key: key("holder"), uid: uid.map(Into::into) }];
    let outcome = world.store.commit(held).await;
    let there = world.store.get(&key("a/x")).await.unwrap();
    match expected {
        None => assert!(outcome.is_ok() && there.is_some(), "{holder:?} {uid:?}"),
        Some(found) => {
            assert_eq!(outcome, Err(WriteError::Fence { index: 0, found }), "{holder:?} {uid:?}");
            assert_eq!(there, None);
        }
    }
}

#[tokio::test]
async fn fences() {
    check_fence(None, None, Some(FenceFound::Missing)).await;
    check_fence(Some(("u", false)), None, None).await;
    check_fence(Some(("u", false)), Some("u"), None).await;
    check_fence(Some(("u", false)), Some("v"), Some(FenceFound::OtherUid)).await;
    check_fence(Some(("u", true)), None, Some(FenceFound::Terminating)).await;
    check_fence(Some(("u", true)), Some("v"), Some(FenceFound::OtherUid)).await;
}

fn claim(name: &str, holder: &str, release: bool) -> ClaimChange {
    ClaimChange { space: "ip".into(), name: name.into(), holder: holder.into(), release }
}

#[tokio::test]
async fn claims_have_one_holder() {
    let world = World::new().await;
    let commit = async |path: &str, claims: Vec<ClaimChange>| {
        let mut write = write(path, Expect::Absent, put(body("one", "1")));
        write.claims = claims;
        world.store.commit(write).await
    };
    let claimed = Err(WriteError::Claimed { index: 1, holder: "x".into() });
    assert!(commit("a/1", vec![claim("1", "x", false), claim("2", "x", false)]).await.is_ok());
    assert_eq!(commit("a/2", vec![claim("3", "y", false), claim("2", "y", false)]).await, claimed);
    assert!(commit("a/3", vec![claim("3", "z", false)]).await.is_ok(), "the refused write took nothing");
    assert!(commit("a/4", vec![claim("2", "x", false)]).await.is_ok(), "the holder may take it again");
    assert!(commit("a/5", vec![claim("2", "y", true)]).await.is_ok(), "giving up what another holds does nothing");
    assert_eq!(commit("a/6", vec![claim("9", "y", false), claim("2", "y", false)]).await, claimed);
    assert!(commit("a/7", vec![claim("2", "x", true)]).await.is_ok());
    assert!(commit("a/8", vec![claim("2", "y", false)]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_racing_claims_one_wins() {
    let world = std::sync::Arc::new(World::new().await);
    let writers = (0..20).map(|writer| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut write = write(&format!("a/{writer}"), Expect::Absent, put(body("one", "1")));
            write.claims = vec![claim("1", &format!("holder {writer}"), false)];
            world.store.commit(write).await.is_ok()
        })
    });
    let mut winners = 0;
    for writer in writers.collect::<Vec<_>>() {
        winners += usize::from(writer.await.unwrap());
    }
    assert_eq!(winners, 1);
    assert_eq!(world.list(ListAt::Latest).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_behind_a_fence_that_fell() {
    for round in 0..30 {
        let world = std::sync::Arc::new(World::new().await);
        let holder = world.create("holder", "one", "1").await;
        let creating = {
            let world = world.clone();
            tokio::spawn(async move {
                let mut held = write("a/x", Expect::Absent, put(body("one", "1")));
                held.fences = vec![Fence { key: key("holder"), uid: Some("uid".into()) }];
                world.store.commit(held).await.map(|committed| committed.revision)
            })
        };
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
        let change = Change::Put { body: body("one", "1"), uid: "uid".into(), terminating: true, time_to_live: None };
        let fell = world.store.commit(write("holder", Expect::Revision(holder), change)).await.unwrap().revision;
        match creating.await.unwrap() {
            Ok(created) => assert!(created < fell),
            Err(error) => assert_eq!(error, WriteError::Fence { index: 0, found: FenceFound::Terminating }),
        }
    }
}

async fn check_size(bytes: usize) {
    let world = World::new().await;
    let mut watcher = world.watch(selection("", ""), WatchFrom::Now).await;
    let text = "x".repeat(bytes - body("one", "").len());
    let (first, second) = (body("one", &text), body("two", &text));
    assert_eq!(first.len(), bytes);
    world.store.commit(write("a/x", Expect::Absent, put(first.clone()))).await.unwrap();
    let live = world.store.get(&key("a/x")).await.unwrap().unwrap();
    assert!(live.body == first, "{bytes} bytes");
    let no_op = world.store.commit(write("a/x", Expect::Revision(live.revision), put(first.clone()))).await.unwrap();
    assert!(!no_op.changed, "{bytes} bytes");
    let updated = world.store.commit(write("a/x", Expect::Revision(live.revision), put(second.clone()))).await.unwrap();
    let other = World::on(world.env.clone(), world.storage.clone(), StoreOptions::default()).await;
    assert!(other.list(ListAt::Latest).await.unwrap().items[0].body == second, "{bytes} bytes, loaded");
    assert!(other.list(ListAt::Exact(live.revision)).await.unwrap().items[0].body == first, "{bytes} bytes, before");
    world.delete("a/x").await;
    let items = take(&mut watcher, 3).await;
    let expected = [("ADDED", &first), ("MODIFIED", &second), ("DELETED", &second)];
    for (item, (event_type, body)) in items.iter().zip(expected) {
        let triune_store::WatchItem::Change { event_type: given, entry, .. } = item else { panic!("{item:?}") };
        assert_eq!(given.as_str(), event_type);
        assert!(entry.body == *body, "{bytes} bytes, {event_type}");
    }
    let last = world.store.current_revision().await.unwrap();
    assert_eq!(world.store.compact(updated.revision).await.unwrap(), 2);
    let mut behind = other.watch(selection("", ""), WatchFrom::After(updated.revision)).await;
    assert_eq!(take(&mut behind, 1).await.len(), 1, "the log above the floor is whole");
    assert_eq!(world.store.compact(last).await.unwrap(), 1);
    assert_eq!(world.rows(b"t/b/").await, 0, "{bytes} bytes: no piece is left");
    assert_eq!(world.rows(b"t/l/").await, 0);
    assert_eq!(world.rows(b"t/o/").await, 0);
}

#[tokio::test]
async fn bodies_of_all_sizes() {
    for bytes in [200, 40_000, 45_001, 65_535, 65_536, 65_537, 89_999, 90_000, 90_001, 180_000, 180_001, 3 << 20] {
        check_size(bytes).await;
    }
}

#[tokio::test]
async fn too_large_is_said_so() {
    let world = World::new().await;
    let large = body("one", &"x".repeat(3 << 20));
    let error = world.store.commit(write("a/x", Expect::Absent, put(large))).await.unwrap_err();
    assert!(matches!(error, WriteError::TooLarge(_)), "{error}");
    let long = write(&format!("a/{}", "n".repeat(20_000)), Expect::Absent, put(body("one", "1")));
    let error = world.store.commit(long).await.unwrap_err();
    assert!(matches!(error, WriteError::TooLarge(_)), "{error}");
}

#[tokio::test]
async fn what_expires_is_deleted_unless_it_changed() {
    let world = World::new().await;
    let expiring = |time: u64| Change::Put {
        body: body("one", "1"),
        uid: "uid".into(),
        terminating: false,
        time_to_live: Some(Duration::from_millis(time)),
    };
    world.store.commit(write("a/gone", Expect::Absent, expiring(1))).await.unwrap();
    world.store.commit(write("a/later", Expect::Absent, expiring(100_000))).await.unwrap();
    let kept = world.store.commit(write("a/kept", Expect::Absent, expiring(1))).await.unwrap().revision;
    world.store.commit(write("a/kept", Expect::Revision(kept), put(body("one", "2")))).await.unwrap();
    let mut watcher = world.watch(selection("", ""), WatchFrom::Now).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(world.store.expire().await.unwrap(), 1);
    assert_eq!(take_shown(&mut watcher, 1).await, ["DELETED a/gone=1"]);
    assert_eq!(shown(&world.list(ListAt::Latest).await.unwrap().items), ["a/kept=2", "a/later=1"]);
    assert_eq!(world.rows(b"t/e/").await, 1);
    assert_eq!(world.store.expire().await.unwrap(), 0);
}

#[tokio::test]
async fn another_layout_is_refused() {
    let world = World::new().await;
    let mut transaction = world.storage.begin().await.unwrap();
    transaction.set("t/f/".into(), "triune 0".into());
    transaction.commit().await.unwrap();
    let refused = triune_store::Store::open(world.env.clone(), world.storage.clone(), StoreOptions::default()).await;
    assert!(matches!(refused.err(), Some(ReadError::Corrupt(_))));
}
