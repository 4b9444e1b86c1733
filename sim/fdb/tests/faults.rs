//! What a client is told when things fail, and whether it is true: in memory, with paused time, by seed.

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use common::{World, begin, bytes, get, put, run};
use futures::future::{join_all, select};
use tokio::io::AsyncWriteExt;
use triune_env::storage::{CommitError, Isolation, Storage, StorageError};
use triune_fdb_model::{Version, version::LIFE_VERSIONS, watches::WATCHES_PER_CONNECTION_MAX};
use triune_sim_fdb::{
    Fault, FdbStorage, Options,
    link::{ANSWER_MAX, SILENCE_MAX, TICK},
    protocol::{Encode, Reply},
};

fn unavailable(text: &str) -> StorageError {
    StorageError::Unavailable(text.to_owned())
}

#[test]
fn commits_are_told_what_the_fault_makes_of_them() {
    run(async {
        let world = World::in_memory(1).await;
        let storage = world.client(Options::default()).await;
        for (index, (fault, expect, applied)) in [
            (Fault::Conflict, CommitError::Conflict, 0),
            (Fault::CommitUnknown, CommitError::Unknown, 1),
            (Fault::CommitUnknownDropped, CommitError::Unknown, 0),
        ]
        .into_iter()
        .enumerate()
        {
            let value = format!("value{index}");
            world.knobs(|knobs| knobs.once(fault));
            assert_eq!(put(&storage, "a", &value).await, Err(expect), "{fault:?}");
            assert_eq!(world.commits_of(&value).len(), applied, "{fault:?}");
            assert_eq!(world.faults.lock().unwrap().happened(fault), 1);
            put(&storage, "a", "well").await.unwrap();
        }
    });
}

#[test]
fn reads_are_told_what_the_fault_makes_of_them() {
    run(async {
        let world = World::in_memory(1).await;
        let storage = world.client(Options::default()).await;
        put(&storage, "a", "0").await.unwrap();
        for (fault, expect) in [
            (Fault::ReadTooOld, StorageError::TooOld),
            (Fault::FutureVersion, unavailable("future version")),
            (Fault::Unavailable, unavailable("the cluster does not answer")),
            (Fault::LostReply, unavailable("no answer in time")),
        ] {
            world.knobs(|knobs| knobs.once(fault));
            assert_eq!(get(&storage, "a").await, Err(expect), "{fault:?}");
            assert_eq!(get(&storage, "a").await, Ok(Some(bytes("0"))));
        }
    });
}

#[test]
fn lost_and_slow_answers_take_their_time() {
    run(async {
        let world = World::in_memory(1).await;
        let storage = world.client(Options::default()).await;
        let time = async |fault| {
            let transaction = begin(&storage).await;
            world.knobs(|knobs| knobs.once(fault));
            let (mut transaction, started) = (transaction, world.env.clock.now());
            transaction.set(bytes("a"), bytes(&format!("{fault:?}")));
            (transaction.commit().await, world.env.clock.now() - started)
        };
        let (outcome, took) = time(Fault::LostReply).await;
        assert_eq!(outcome, Err(CommitError::Unknown));
        assert!((ANSWER_MAX..ANSWER_MAX + 2 * TICK).contains(&took), "{took:?}");
        assert_eq!(world.commits_of("LostReply").len(), 1);
        let (outcome, took) = time(Fault::SlowReply).await;
        assert!(outcome.is_ok() && took >= Duration::from_millis(50), "{outcome:?} after {took:?}");
    });
}

#[test]
fn a_recovery_jumps_and_what_was_begun_before_is_too_old() {
    run(async {
        let world = World::in_memory(1).await;
        let storage = world.client(Options::default()).await;
        put(&storage, "a", "0").await.unwrap();
        let (mut reader, mut writer) = (begin(&storage).await, begin(&storage).await);
        writer.set(bytes("a"), bytes("late"));
        world.knobs(|knobs| knobs.once(Fault::Recovery));
        let after = begin(&storage).await;
        assert!(after.read_version().0 >> 10 >= (reader.read_version().0 >> 10) + 100_000_000);
        assert_eq!(reader.get(b"a", Isolation::Snapshot).await, Err(StorageError::TooOld));
        assert_eq!(writer.commit().await, Err(CommitError::TooOld));
        assert_eq!(get(&storage, "a").await, Ok(Some(bytes("0"))));
    });
}

/// Seeds in which a commit of unknown outcome was applied after a commit that was acknowledged later than the answer.
async fn late_after_an_answer(options: Options) -> usize {
    let mut late = 0;
    for seed in 0..40 {
        let world = World::in_memory(seed).await;
        let storage = world.client(options).await;
        world.knobs(|knobs| knobs.once(Fault::LateCommit));
        assert_eq!(put(&storage, "a", "first").await, Err(CommitError::Unknown));
        let second = put(&storage, "b", "second").await.unwrap();
        world.env.sleep(Duration::from_secs(10)).await;
        let applied = world.commits_of("first");
        assert!(applied.len() <= 1);
        late += applied.iter().filter(|revision| **revision > second).count();
    }
    late
}

#[test]
fn an_unknown_commit_is_not_applied_after_later_ones() {
    run(async {
        assert_eq!(late_after_an_answer(Options::default()).await, 0);
        // The check must be able to fail: a client that does not make sure.
        assert!(late_after_an_answer(Options { late_commits: true }).await > 10);
    });
}

#[test]
fn a_dropped_commit_may_be_applied_late_but_only_within_its_life() {
    run(async {
        let mut late = 0;
        for seed in 0..40 {
            let world = World::in_memory(seed).await;
            let storage = world.client(Options::default()).await;
            let mut first = begin(&storage).await;
            let born = version(first.read_version().0);
            first.set(bytes("a"), bytes("first"));
            world.knobs(|knobs| knobs.once(Fault::LateCommit));
            assert!(world.env.timeout(Duration::ZERO, first.commit()).await.is_err());
            let second = put(&storage, "b", "second").await.unwrap();
            world.env.sleep(Duration::from_secs(10)).await;
            for revision in world.commits_of("first") {
                late += usize::from(revision > second);
                assert!(version(revision.0).0 <= born.0 + LIFE_VERSIONS);
            }
        }
        assert!(late > 10, "{late} of 40");
    });
}

fn version(revision: u64) -> Version {
    Version(revision >> 10)
}

#[test]
fn a_crash_leaves_commits_applied_or_not_and_the_client_is_told_the_truth() {
    run(async {
        let (mut acknowledged, mut applied, mut dropped, mut not_sent) = (0, 0, 0, 0);
        for seed in 0..120 {
            let world = World::in_memory(seed).await;
            let storage = world.client(Options::default()).await;
            let mut transaction = begin(&storage).await;
            transaction.set(bytes("a"), bytes("it"));
            let crash = async {
                world.env.sleep(Duration::from_millis(seed % 8)).await;
                world.crash();
                world.env.sleep(Duration::from_millis(5)).await;
                world.start().await;
            };
            let commit = async {
                world.env.sleep(Duration::from_millis(3)).await;
                transaction.commit().await
            };
            let (outcome, ()) = futures::join!(commit, crash);
            let seen = world.commits_of("it");
            match (outcome, &seen[..]) {
                (Ok(revision), [seen]) if revision == *seen => acknowledged += 1,
                (Err(CommitError::Unknown), [_]) => applied += 1,
                (Err(CommitError::Unknown), []) => dropped += 1,
                (Err(CommitError::Unavailable(_)), []) => not_sent += 1,
                (outcome, seen) => panic!("seed {seed}: told {outcome:?}, seen {seen:?}"),
            }
            assert_eq!(get(&storage, "a").await.unwrap().is_some(), !seen.is_empty());
        }
        let counts = [acknowledged, applied, dropped, not_sent];
        assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
    });
}

async fn time_to_fire(world: &World, wait: impl Future<Output = Result<(), StorageError>>) -> Duration {
    let started = world.env.clock.now();
    world.env.timeout(Duration::from_secs(20), wait).await.unwrap().unwrap();
    world.env.clock.now() - started
}

#[test]
fn watches_fire_late_for_nothing_and_after_a_crash() {
    run(async {
        let world = World::in_memory(1).await;
        let storage = world.client(Options::default()).await;
        let ms = Duration::from_millis;
        world.knobs(|knobs| knobs.once(Fault::SpuriousWatch));
        assert!(time_to_fire(&world, storage.changed(bytes("a"), None)).await <= ms(500));
        world.knobs(|knobs| knobs.once(Fault::LateWatch));
        let fires = time_to_fire(&world, storage.changed(bytes("a"), None));
        let (took, _) = futures::join!(fires, put(&storage, "a", "1"));
        assert!(took >= ms(100), "{took:?}");
        // Armed at a process that dies: armed again at the next one, by which time the value may differ already.
        for (value, next, pause) in [("1", "2", 0), ("2", "3", 2_000)] {
            let crash = async {
                world.env.sleep(ms(100)).await;
                world.crash();
                world.env.sleep(ms(pause)).await;
                world.start().await;
                let other = world.client(Options::default()).await;
                put(&other, "a", next).await.unwrap();
            };
            let fires = time_to_fire(&world, storage.changed(bytes("a"), Some(bytes(value))));
            let (took, ()) = futures::join!(fires, crash);
            assert!(took >= ms(100), "{took:?}");
        }
    });
}

#[test]
fn watches_end_with_their_future_and_are_bounded() {
    run(async {
        let world = World::in_memory(1).await;
        let storage = world.client(Options::default()).await;
        let armed = || world.cluster.lock().unwrap().database().kept().2;
        {
            let wait = storage.changed(bytes("a"), None);
            let pause = world.env.sleep(Duration::from_millis(10));
            select(wait, pause).await;
            assert_eq!(armed(), 1);
        }
        world.env.sleep(Duration::from_millis(10)).await;
        assert_eq!(armed(), 0);
        let wait = |index: usize| storage.changed(bytes(&format!("key{index}")), None);
        let mut one_more = wait(WATCHES_PER_CONNECTION_MAX);
        let all = join_all((0..WATCHES_PER_CONNECTION_MAX).map(wait));
        let full = async {
            while armed() < WATCHES_PER_CONNECTION_MAX {
                world.env.sleep(Duration::from_millis(1)).await;
            }
            (&mut one_more).await
        };
        match select(all, std::pin::pin!(full)).await {
            futures::future::Either::Right((refused, _)) => assert_eq!(refused, Err(unavailable("too many watches"))),
            futures::future::Either::Left(_) => panic!("a watch fired for nothing"),
        }
    });
}

#[test]
fn without_a_node_everything_is_unavailable_and_comes_back() {
    run(async {
        let world = World::in_memory(1).await;
        let storage = world.client(Options::default()).await;
        let mut transaction = begin(&storage).await;
        transaction.set(bytes("a"), bytes("never"));
        world.crash();
        world.env.sleep(Duration::from_millis(1)).await;
        let started = world.env.clock.now();
        assert!(matches!(storage.begin().await.err(), Some(StorageError::Unavailable(_))));
        assert!(matches!(transaction.commit().await, Err(CommitError::Unavailable(_))));
        assert!(matches!(storage.changed(bytes("a"), None).await, Err(StorageError::Unavailable(_))));
        assert!(world.env.clock.now() - started < Duration::from_secs(1));
        world.start().await;
        put(&storage, "a", "1").await.unwrap();
        assert_eq!(world.commits_of("never"), []);
    });
}

#[test]
fn a_node_that_falls_silent_is_given_up() {
    run(async {
        let world = World::in_memory(1).await;
        let address = "10.0.0.2:4500".parse().unwrap();
        let mut listener = world.env.network.listen(address).await.unwrap();
        let silent = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = Vec::new();
            Reply::Hello { origin: Version(1) }.frame(1, &mut hello);
            stream.write_all(&hello).await.unwrap();
            stream
        };
        let addresses = [address];
        let (storage, _stream) = futures::join!(FdbStorage::connect(world.env.clone(), &addresses), silent);
        let started: Instant = world.env.clock.now();
        assert_eq!(storage.unwrap().read_version().await, Err(unavailable("connection is lost")));
        let took = world.env.clock.now() - started;
        assert!((SILENCE_MAX..SILENCE_MAX + 2 * TICK).contains(&took), "{took:?}");
    });
}

/// Clients that count up under every fault and many crashes. Gives what the observer saw, or what was not true.
async fn count_up(seed: u64, isolation: Isolation) -> Result<Vec<String>, String> {
    const CLIENTS: usize = 4;
    let world = Arc::new(World::in_memory(seed).await);
    world.knobs(|knobs| Fault::ALL.into_iter().for_each(|fault| knobs.set(fault, 20_000)));
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        let storage = loop {
            match FdbStorage::connect(world.env.clone(), &[world.address]).await {
                Ok(storage) => break storage,
                Err(_) => world.env.sleep(Duration::from_millis(10)).await,
            }
        };
        tasks.push(count_up_client(world.clone(), storage, client, isolation));
    }
    let crashes = async {
        for _ in 0..6 {
            world.env.sleep(Duration::from_millis(world.env.entropy.u64() % 4_000)).await;
            world.crash();
            world.env.sleep(Duration::from_millis(world.env.entropy.u64() % 400)).await;
            world.start().await;
        }
    };
    let (outcomes, ()) = futures::join!(join_all(tasks), crashes);
    world.env.sleep(Duration::from_secs(10)).await;
    let seen = world.seen.lock().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let log: Vec<(u64, String)> = seen
        .iter()
        .flat_map(|commit| {
            commit.rows.iter().map(|(_, row)| (commit.revision.0, text(row.as_deref().unwrap_or_default())))
        })
        .collect();
    check_log(&log, &outcomes.concat())?;
    Ok(log.into_iter().map(|(revision, value)| format!("{revision} {value}")).collect())
}

/// Values are `<number>/<client>.<round>`; gives each with what was told about it.
async fn count_up_client(
    world: Arc<World>,
    storage: Arc<dyn Storage>,
    client: usize,
    isolation: Isolation,
) -> Vec<(String, Result<u64, CommitError>)> {
    let mut told = Vec::new();
    for round in 0..40 {
        world.env.sleep(Duration::from_millis(world.env.entropy.u64() % 200)).await;
        let Ok(mut transaction) = storage.begin().await else { continue };
        let Ok(value) = transaction.get(b"counter", isolation).await else { continue };
        let text = value.map(|value| String::from_utf8_lossy(&value).into_owned()).unwrap_or_default();
        let number: u64 = text.split('/').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        let next = format!("{}/{client}.{round}", number + 1);
        transaction.set(bytes("counter"), bytes(&next));
        told.push((next, transaction.commit().await.map(|revision| revision.0)));
    }
    told
}

/// The numbers follow one another, and each outcome was true.
fn check_log(log: &[(u64, String)], told: &[(String, Result<u64, CommitError>)]) -> Result<(), String> {
    for (place, (revision, value)) in log.iter().enumerate() {
        if !value.starts_with(&format!("{}/", place + 1)) {
            return Err(format!("{value} is number {} at {revision}", place + 1));
        }
        if place > 0 && log[place - 1].0 >= *revision {
            return Err(format!("{value}: revision {revision} goes back"));
        }
    }
    for (value, outcome) in told {
        let seen: Vec<u64> = log.iter().filter(|(_, seen)| seen == value).map(|(revision, _)| *revision).collect();
        let holds = match outcome {
            Ok(revision) => seen == [*revision],
            Err(CommitError::Unknown) => seen.len() <= 1,
            Err(_) => seen.is_empty(),
        };
        if !holds {
            return Err(format!("{value}: told {outcome:?}, seen at {seen:?}"));
        }
    }
    Ok(())
}

#[test]
fn under_every_fault_counters_count_and_answers_are_true() {
    let mut lost_updates = 0;
    for seed in 0..12 {
        run(async {
            let log =
                count_up(seed, Isolation::Serializable).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(log.len() > 10, "seed {seed}: {} commits", log.len());
        });
        // The check must be able to fail: nobody conflicts.
        run(async { lost_updates += usize::from(count_up(seed, Isolation::Snapshot).await.is_err()) });
    }
    assert!(lost_updates > 6, "{lost_updates} of 12");
}

#[test]
fn a_seed_decides_everything() {
    let log = |seed| {
        let mut log = Vec::new();
        run(async { log = count_up(seed, Isolation::Serializable).await.unwrap() });
        log
    };
    assert_eq!(log(1), log(1));
    assert_ne!(log(1), log(2));
}
