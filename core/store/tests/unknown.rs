//! Writes on a storage that does not always know what became of a commit. Invariants S3, S6: an acknowledged write is one
//! event, a refused one is none, and the answer is definite.

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;
use support::*;
use triune_env::{
    BoxFuture,
    storage::{CommitError, Storage, StorageError, Transaction},
    storage_passes_on, transaction_passes_on,
};
use triune_store::{Revision, StoreOptions, WatchItem, types::*};

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Conflict,
    TooOld,
    Unavailable,
    /// Answered Unknown, and never applied.
    Lost,
    /// Applied, and answered Unknown.
    AppliedUnknown,
    /// Answered Unknown, and applied before the next commit.
    AppliedLate,
}

#[derive(Clone)]
struct Faulty {
    inner: Arc<dyn Storage>,
    fates: Arc<[Fate]>,
    next: Arc<AtomicUsize>,
    late: Arc<Mutex<Vec<Box<dyn Transaction>>>>,
}

impl Faulty {
    fn new(inner: Arc<dyn Storage>, fates: &[Fate]) -> Faulty {
        Faulty { inner, fates: fates.into(), next: Arc::default(), late: Arc::default() }
    }

    async fn settle(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for transaction in late {
            let _ = transaction.commit().await;
        }
    }
}

impl Storage for Faulty {
    storage_passes_on!(inner: read_version, changed, revision_of, stamp_of);
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StorageError>> {
        Box::pin(async {
            let inner = self.inner.begin().await?;
            Ok(Box::new(FaultyTransaction { inner, storage: self.clone() }) as Box<dyn Transaction>)
        })
    }
}

struct FaultyTransaction {
    inner: Box<dyn Transaction>,
    storage: Faulty,
}

impl Transaction for FaultyTransaction {
    transaction_passes_on!(inner: read_version, get, range, set, set_stamped_key, set_stamped_value, clear, clear_range);
    transaction_passes_on!(inner: add_read_conflict_key, add_write_conflict_key);

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<Revision, CommitError>> {
        Box::pin(async move {
            let FaultyTransaction { inner, storage } = *self;
            storage.settle().await;
            let index = storage.next.fetch_add(1, Ordering::Relaxed);
            match storage.fates.get(index).unwrap_or(&Fate::Fine) {
                Fate::Fine => inner.commit().await,
                Fate::Conflict => Err(CommitError::Conflict),
                Fate::TooOld => Err(CommitError::TooOld),
                Fate::Unavailable => Err(CommitError::Unavailable("away".into())),
                Fate::Lost => Err(CommitError::Unknown),
                Fate::AppliedUnknown => {
                    let _ = inner.commit().await;
                    Err(CommitError::Unknown)
                }
                Fate::AppliedLate => {
                    storage.late.lock().unwrap().push(inner);
                    Err(CommitError::Unknown)
                }
            }
        })
    }
}

#[derive(Debug, Clone)]
enum Attempt {
    Create(usize),
    Update(usize),
    /// With the revision of a state that is gone.
    StaleUpdate(usize),
    Delete(usize),
    /// The same as another writer does meanwhile, in the way of a late commit.
    Claim(usize),
}

const PATHS: [&str; 3] = ["a/x", "a/y", "b/x"];

async fn check(attempts: Vec<Attempt>, fates: Vec<Fate>) {
    let env = support::env();
    let faulty = Faulty::new(triune_storage::memory(env.clone()), &[]);
    let mut world = World::on(env, Arc::new(faulty.clone()), StoreOptions::default()).await;
    let faulty = Faulty { fates: fates.into(), next: Arc::default(), ..faulty };
    world = World::on(world.env.clone(), Arc::new(faulty.clone()), StoreOptions::default()).await;
    let mut watcher = world.watch(selection("", ""), WatchFrom::Now).await;
    let mut expected: BTreeMap<Revision, String> = BTreeMap::new();
    let mut held: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, attempt) in attempts.into_iter().enumerate() {
        let (path, change, expect, claims) = plan(&world, index, &attempt).await;
        let mut write = write(PATHS[path], expect, change);
        write.claims = claims;
        let before = world.store.get(&key(PATHS[path])).await.unwrap();
        let outcome = world.store.commit(write.clone()).await;
        let shown = match (&write.change, &before) {
            (Change::Delete { body }, _) => format!("DELETED {}={}", PATHS[path], data(body)),
            (Change::Put { body, .. }, Some(_)) => format!("MODIFIED {}={}", PATHS[path], data(body)),
            (Change::Put { body, .. }, None) => format!("ADDED {}={}", PATHS[path], data(body)),
        };
        match outcome {
            Ok(committed) => {
                assert!(committed.changed, "{attempt:?}");
                assert_eq!(
                    committed.created,
                    before.map_or(committed.revision, |before| before.created),
                    "{attempt:?}"
                );
                assert!(expected.insert(committed.revision, shown).is_none());
                if let Attempt::Claim(name) = attempt {
                    assert!(held.insert(name, index).is_none(), "a claim has one holder");
                }
            }
            Err(WriteError::Expectation(there)) => {
                assert_eq!(there.map(|there| there.revision), before.map(|there| there.revision));
            }
            Err(WriteError::Claimed { .. }) => {
                let Attempt::Claim(name) = attempt else { panic!("{attempt:?}") };
                assert!(held.contains_key(&name), "a refused claim is held");
            }
            Err(error) => panic!("{attempt:?}: {error}"),
        }
    }
    faulty.settle().await;
    let given = take(&mut watcher, expected.len()).await;
    let given: Vec<(Revision, String)> = given.iter().map(|item| (revision(item), shown_item(item))).collect();
    assert_eq!(given, expected.into_iter().collect::<Vec<_>>(), "S6: one event for each acknowledged write");
    world.cache.refresh().await.unwrap();
    watcher = {
        let from = given.last().map_or(WatchFrom::Now, |(revision, _)| WatchFrom::After(*revision));
        world.cache.watch(WatchRequest { bookmarks: true, ..watch_request(selection("", ""), from) }).await.unwrap()
    };
    watcher.request_bookmark();
    assert_eq!(take_shown(&mut watcher, 1).await, ["BOOKMARK"], "S6: no event of a refused write");
}

fn revision(item: &WatchItem) -> Revision {
    let WatchItem::Change { revision, .. } = item else { panic!("{item:?}") };
    *revision
}

async fn plan(world: &World, index: usize, attempt: &Attempt) -> (usize, Change, Expect, Vec<ClaimChange>) {
    let change = put(body("one", &index.to_string()));
    let live = async |path: usize| world.store.get(&key(PATHS[path])).await.unwrap();
    let absent = |path: usize| (path, change.clone(), Expect::Absent, Vec::new());
    match attempt {
        Attempt::Create(path) => absent(*path),
        Attempt::Update(path) => match live(*path).await {
            Some(live) => (*path, change, Expect::Revision(live.revision), Vec::new()),
            None => absent(*path),
        },
        Attempt::StaleUpdate(path) => (*path, change, Expect::Revision(Revision(1)), Vec::new()),
        Attempt::Delete(path) => match live(*path).await {
            Some(live) => (*path, Change::Delete { body: live.body }, Expect::Revision(live.revision), Vec::new()),
            None => absent(*path),
        },
        Attempt::Claim(name) => {
            let expect = live(0).await.map_or(Expect::Absent, |live| Expect::Revision(live.revision));
            let (space, holder) = ("names".into(), format!("write {index}").into());
            (0, change, expect, vec![ClaimChange { space, name: name.to_string().into(), holder, release: false }])
        }
    }
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => Just(Fate::Fine),
        1 => Just(Fate::Conflict),
        1 => Just(Fate::TooOld),
        1 => Just(Fate::Unavailable),
        2 => Just(Fate::Lost),
        2 => Just(Fate::AppliedUnknown),
        2 => Just(Fate::AppliedLate),
    ];
    proptest::collection::vec(fate, 1..20)
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let path = 0..PATHS.len();
    let attempt = prop_oneof![
        path.clone().prop_map(Attempt::Create),
        path.clone().prop_map(Attempt::Update),
        path.clone().prop_map(Attempt::StaleUpdate),
        path.prop_map(Attempt::Delete),
        (0_usize..2).prop_map(Attempt::Claim),
    ];
    proptest::collection::vec(attempt, 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn outcomes_are_definite(attempts in attempts(), fates in fates()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(check(attempts, fates));
    }
}

/// One update whose first commit has `fate`; another writer comes between it and its retry.
async fn check_overtaken(fate: Fate, deleted: bool, applied: bool) {
    let env = support::env();
    let memory = triune_storage::memory(env.clone());
    let other = World::on(env.clone(), memory.clone(), StoreOptions::default()).await;
    let created = other.create("a/x", "one", "0").await;
    let world = World::on(env, Arc::new(Faulty::new(memory, &[fate])), StoreOptions::default()).await;
    let update = write("a/x", Expect::Revision(created), put(body("one", "1")));
    let mut pursuit = std::pin::pin!(world.store.commit(update));
    // The first attempt ends in the pause before the retry.
    assert!(futures::poll!(pursuit.as_mut()).is_pending());
    let between = if deleted { other.delete("a/x").await } else { other.update("a/x", "one", "2").await };
    match pursuit.await {
        Ok(committed) => assert!(applied && committed.revision < between && committed.created == created, "{fate:?}"),
        Err(WriteError::Expectation(there)) => assert!(!applied && there.is_some() != deleted, "{fate:?}"),
        Err(error) => panic!("{fate:?}: {error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_overtaken_while_unknown_is_found_in_the_log() {
    for deleted in [false, true] {
        check_overtaken(Fate::AppliedUnknown, deleted, true).await;
        check_overtaken(Fate::Lost, deleted, false).await;
        check_overtaken(Fate::AppliedLate, deleted, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_stays_unknown_is_said_to_be() {
    let env = support::env();
    let fates = [Fate::Fine, Fate::Lost].into_iter().chain(std::iter::repeat_n(Fate::Unavailable, 1_000));
    let storage = Faulty::new(triune_storage::memory(env.clone()), &fates.collect::<Vec<_>>());
    let world = World::on(env, Arc::new(storage), StoreOptions::default()).await;
    let outcome = world.store.commit(write("a/x", Expect::Absent, put(body("one", "1")))).await;
    assert_eq!(outcome, Err(WriteError::Unknown));
    let outcome = world.store.commit(write("a/x", Expect::Absent, put(body("one", "1")))).await;
    assert_eq!(outcome, Err(WriteError::Unavailable("away".into())));
}
