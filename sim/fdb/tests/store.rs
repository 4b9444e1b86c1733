//! The object store over the simulated FoundationDB, with commits that are applied late: S3 and S6 of the store. An
//! acknowledged write is applied once and where it says; a refused one never; after the answer nothing of it happens.
//!
//! The store gives up on commits that take longer than its `storage_timeout`, so nobody has made sure that they are
//! decided: that a late first attempt does no harm rests on its conflicts alone.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use common::{World, run};
use futures::future::join_all;
use triune_api::names::{GroupResource, ObjectKey};
use triune_env::{
    BoxFuture,
    storage::{Isolation, KeyRange, Revision, Row, Storage, StorageError, Transaction},
    storage_passes_on, transaction_passes_on,
};
use triune_sim_fdb::{DelayRange, Fault, Options};
use triune_store::{
    Store, StoreOptions,
    types::{Change, Expect, Write, WriteError},
};

const CLIENTS: usize = 5;
const ROUNDS: usize = 30;
const NAMES: usize = 3;

fn key(name: usize) -> ObjectKey {
    ObjectKey::new(GroupResource::new("", "configmaps"), "default", &format!("name{name}"))
}

fn body(mark: &str) -> Bytes {
    Bytes::from(format!("\"metadata\":{{\"name\":\"n\"}},\"mark\":\"{mark}\"}}"))
}

/// The mark of an object row's body.
fn mark_of(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let (_, mark) = text.split_once("\"mark\":\"")?;
    mark.split_once('"').map(|(mark, _)| mark.to_owned())
}

/// What a client was told of a write of this mark; None: nothing, it gave up.
struct Told {
    mark: String,
    outcome: Option<Result<Revision, WriteError>>,
    /// How many commits there were when it was told.
    after: usize,
}

/// Clients that write the same few objects, some giving up on their writes.
async fn writers(world: Arc<World>, storage: Arc<dyn Storage>, client: usize) -> Vec<Told> {
    let options = StoreOptions { storage_timeout: Duration::from_millis(60), ..StoreOptions::default() };
    let store = loop {
        match Store::open(world.env.clone(), storage.clone(), options.clone()).await {
            Ok(store) => break store,
            Err(_) => world.env.sleep(Duration::from_millis(10)).await,
        }
    };
    let mut told = Vec::new();
    for round in 0..ROUNDS {
        let key = key((world.env.entropy.u64() % NAMES as u64) as usize);
        let Ok(live) = store.get(&key).await else { continue };
        let mark = format!("{client}.{round}");
        let deletes = live.is_some() && world.env.entropy.u64().is_multiple_of(5);
        let change = if deletes {
            Change::Delete { body: body(&mark) }
        } else {
            let uid = live.as_ref().map_or_else(|| Arc::from(mark.as_str()), |live| live.uid.clone());
            Change::Put { body: body(&mark), uid, terminating: false, time_to_live: None }
        };
        let expect = live.map_or(Expect::Absent, |live| Expect::Revision(live.revision));
        let write = Write { key, expect, change, fences: Vec::new(), claims: Vec::new() };
        // One in eight clients is gone before its answer.
        let patience = if world.env.entropy.u64().is_multiple_of(8) { 4 } else { 60_000 };
        let outcome = world.env.timeout(Duration::from_millis(patience), store.commit(write)).await.ok();
        let after = world.seen.lock().unwrap().len();
        told.push(Told { mark, outcome: outcome.map(|outcome| outcome.map(|done| done.revision)), after });
    }
    told
}

/// Runs writers under faults, and says what was not true. `break_storage` wraps each client's storage.
async fn judge(seed: u64, break_storage: fn(Arc<dyn Storage>) -> Arc<dyn Storage>) -> Result<Counts, String> {
    let world = Arc::new(World::in_memory(seed).await);
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let storage = break_storage(world.client(Options { late_commits: client % 2 == 0 }).await);
        clients.push(writers(world.clone(), storage, client));
    }
    world.knobs(|knobs| {
        knobs.late_commit = DelayRange::ms(1, 400);
        for (fault, chance_ppm) in [
            (Fault::LateCommit, 150_000),
            (Fault::SlowReply, 50_000),
            (Fault::CommitUnknown, 50_000),
            (Fault::CommitUnknownDropped, 30_000),
            (Fault::Conflict, 30_000),
            (Fault::Recovery, 1_000),
        ] {
            knobs.set(fault, chance_ppm);
        }
    });
    let told = join_all(clients).await.into_iter().flatten().collect::<Vec<_>>();
    world.env.sleep(Duration::from_secs(10)).await;
    check_told(&world, &told)
}

/// How often what is judged has happened.
#[derive(Debug, Default)]
struct Counts {
    acknowledged: usize,
    refused: usize,
    unknown: usize,
    given_up: usize,
}

fn check_told(world: &World, told: &[Told]) -> Result<Counts, String> {
    let seen = world.seen.lock().unwrap();
    // Log rows have the mark of what was written at the end, and of the state before first.
    let mut applied: BTreeMap<String, Vec<(usize, Revision)>> = BTreeMap::new();
    let mut removed = BTreeSet::new();
    for (place, commit) in seen.iter().enumerate() {
        for (key, value) in &commit.rows {
            let is_object = key.starts_with(b"t/o/");
            match value {
                Some(value) if is_object => {
                    applied.entry(mark_of(value).unwrap_or_default()).or_default().push((place, commit.revision));
                }
                None if is_object => drop(removed.insert(commit.revision)),
                _ => {}
            }
        }
    }
    let mut counts = Counts::default();
    for Told { mark, outcome, after } in told {
        let applied = applied.get(mark).map(Vec::as_slice).unwrap_or_default();
        let at = applied.iter().map(|(_, revision)| *revision).collect::<Vec<_>>();
        let later = applied.iter().any(|(place, _)| place >= after);
        let holds = match outcome {
            Some(Ok(revision)) => at == [*revision] || (at.is_empty() && removed.contains(revision)),
            Some(Err(WriteError::Unknown)) | None => at.len() <= 1,
            Some(Err(_)) => at.is_empty(),
        };
        if !holds || (later && matches!(outcome, Some(Ok(_) | Err(WriteError::Expectation(_))))) {
            return Err(format!("{mark}: told {outcome:?} after {after} commits, applied at {applied:?}"));
        }
        match outcome {
            Some(Ok(_)) => counts.acknowledged += 1,
            Some(Err(WriteError::Unknown)) => counts.unknown += 1,
            Some(Err(_)) => counts.refused += 1,
            None => counts.given_up += 1,
        }
    }
    Ok(counts)
}

#[test]
fn writes_are_applied_as_told_though_commits_come_late() {
    let mut all = Counts::default();
    for seed in 0..10 {
        run(async {
            let counts = judge(seed, |storage| storage).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            all.acknowledged += counts.acknowledged;
            all.refused += counts.refused;
            all.unknown += counts.unknown;
            all.given_up += counts.given_up;
        });
    }
    assert!(all.acknowledged > 300 && all.refused > 50 && all.given_up > 50, "seldom reached: {all:?}");
}

/// The check must be able to fail: without conflicts, a late first attempt does harm.
#[test]
fn without_conflicts_late_commits_are_found_out() {
    let mut found = 0;
    for seed in 0..10 {
        run(async { found += usize::from(judge(seed, |inner| Arc::new(NoConflicts { inner })).await.is_err()) });
    }
    assert!(found > 5, "{found} of 10");
}

/// A storage whose transactions read under no conflict detection.
struct NoConflicts {
    inner: Arc<dyn Storage>,
}

struct NoConflictsTransaction {
    inner: Box<dyn Transaction>,
}

impl Storage for NoConflicts {
    storage_passes_on!(inner: read_version, changed, revision_of, stamp_of);
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StorageError>> {
        Box::pin(async {
            let inner = self.inner.begin().await?;
            Ok(Box::new(NoConflictsTransaction { inner }) as Box<dyn Transaction>)
        })
    }
}

impl Transaction for NoConflictsTransaction {
    transaction_passes_on!(inner: read_version, set, set_stamped_key, set_stamped_value, clear, clear_range);
    transaction_passes_on!(inner: add_read_conflict_key, add_write_conflict_key, commit);
    fn get<'a>(&'a mut self, key: &'a [u8], _: Isolation) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        self.inner.get(key, Isolation::Snapshot)
    }
    fn range<'a>(
        &'a mut self,
        range: KeyRange,
        limit: usize,
        reverse: bool,
        _: Isolation,
    ) -> BoxFuture<'a, Result<Vec<Row>, StorageError>> {
        self.inner.range(range, limit, reverse, Isolation::Snapshot)
    }
}
