//! Small stories of the store on its disk, one fault each.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::join_all};
use triune_env::{
    Env,
    storage::{CommitError, Isolation, KeyRange, Revision, Storage, StorageError},
};

use super::{Process, Seeded, run_paused};
use crate::{
    Disk, DiskError, Faults, Incident, LogOptions, OpenError,
    log::{Flaw, open_flawed},
    open,
};

const SYNC: Duration = Duration::from_millis(100);

fn slow() -> Faults {
    Faults { sync_time: SYNC..=SYNC, ..Faults::default() }
}

fn disk(faults: Faults) -> Disk {
    Disk::new(Arc::new(Seeded::new(1)), faults)
}

async fn opened(env: &Env, disk: &Disk) -> Arc<dyn Storage> {
    open(env, disk, LogOptions::default()).await.unwrap()
}

async fn put(storage: &Arc<dyn Storage>, key: &str, value: impl Into<Bytes>) -> Result<Revision, CommitError> {
    let mut transaction = storage.begin().await.unwrap();
    transaction.set(Bytes::copy_from_slice(key.as_bytes()), value.into());
    transaction.commit().await
}

async fn get(storage: &Arc<dyn Storage>, key: &str) -> Result<Option<Bytes>, StorageError> {
    storage.begin().await.unwrap().get(key.as_bytes(), Isolation::Snapshot).await
}

#[test]
fn commits_that_come_during_an_fsync_share_the_next_one() {
    run_paused(async |env| {
        let disk = disk(slow());
        let storage = opened(&env, &disk).await;
        let (before, began) = (disk.syncs(), env.clock.now());
        let commits = join_all((0..100).map(|index| {
            let storage = &storage;
            async move { put(storage, &format!("key{index}"), "x").await }
        }));
        assert!(commits.await.iter().all(Result::is_ok));
        assert_eq!((disk.syncs() - before, env.clock.now() - began), (1, SYNC));
    });
}

#[test]
fn a_commit_is_answered_and_seen_after_its_fsync() {
    run_paused(async |env| {
        let disk = disk(slow());
        let storage = opened(&env, &disk).await;
        let wait = storage.changed(Bytes::from_static(b"key"), None);
        let began = env.clock.now();
        let commit = put(&storage, "key", "x");
        let seen = async {
            env.sleep(SYNC / 2).await;
            get(&storage, "key").await
        };
        let (commit, seen, wait) = futures::join!(commit, seen, wait);
        assert_eq!((env.clock.now() - began, seen, wait), (SYNC, Ok(None), Ok(())));
        assert_eq!(storage.read_version().await, Ok(commit.unwrap()));
    });
}

#[test]
fn a_commit_whose_caller_has_gone_goes_on() {
    run_paused(async |env| {
        let disk = disk(slow());
        let storage = opened(&env, &disk).await;
        assert!(put(&storage, "gone", "x").now_or_never().is_none());
        let last = put(&storage, "other", "x").await.unwrap();
        assert_eq!(get(&storage, "gone").await, Ok(Some(Bytes::from_static(b"x"))));
        disk.crash(&Seeded::new(2));
        let storage = opened(&env, &disk).await;
        assert_eq!(get(&storage, "gone").await, Ok(Some(Bytes::from_static(b"x"))));
        assert_eq!(storage.read_version().await, Ok(last));
    });
}

#[test]
fn a_dropped_storage_finishes_what_was_handed_in_and_then_lets_go() {
    run_paused(async |env| {
        let disk = disk(slow());
        let storage = opened(&env, &disk).await;
        let wait = storage.changed(Bytes::from_static(b"never"), None);
        let commits = ["a", "b"].map(|key| {
            let mut transaction = storage.begin().now_or_never().unwrap().unwrap();
            transaction.set(Bytes::from_static(key.as_bytes()), Bytes::from_static(b"x"));
            transaction.commit()
        });
        drop(storage);
        let options = LogOptions::default();
        assert_eq!(open(&env, &disk, options).await.err(), Some(OpenError::Disk(DiskError::Claimed)));
        assert!(join_all(commits).await.iter().all(Result::is_ok));
        assert_eq!(wait.await, Err(StorageError::Unavailable("storage is closed".to_owned())));
        assert!(get(&opened(&env, &disk).await, "b").await.unwrap().is_some());
    });
}

/// The process is killed while a group waits for its fsync and another waits behind it.
#[test]
fn commits_of_a_killed_process_are_unknown_and_there_whole_or_not_at_all() {
    run_paused(async |env| {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..40 {
            let disk = Disk::new(Arc::new(Seeded::new(seed)), slow());
            let (process, inner) = Process::start(&env);
            let storage = opened(&inner, &disk).await;
            put(&storage, "before", "x").await.unwrap();
            let mut in_flight = std::pin::pin!(put(&storage, "in flight", vec![b'x'; 3_000]));
            assert!((&mut in_flight).now_or_never().is_none());
            env.sleep(SYNC / 2).await;
            let mut behind = std::pin::pin!(put(&storage, "behind", "x"));
            assert!((&mut behind).now_or_never().is_none());
            process.kill();
            disk.crash(&Seeded::new(seed));
            assert_eq!(in_flight.await, Err(CommitError::Unknown));
            assert_eq!(behind.await, Err(CommitError::Unknown));
            assert!(matches!(put(&storage, "after", "x").await, Err(CommitError::Unavailable(_))));
            let storage = opened(&env, &disk).await;
            assert!(get(&storage, "before").await.unwrap().is_some());
            assert_eq!(get(&storage, "behind").await, Ok(None));
            match get(&storage, "in flight").await.unwrap() {
                Some(value) => {
                    assert_eq!(value.len(), 3_000);
                    kept += 1;
                }
                None => lost += 1,
            }
            disk.kill();
        }
        assert!(kept > 5 && lost > 5, "kept {kept} times, lost {lost} times");
    });
}

#[test]
fn after_a_failed_fsync_nothing_is_acknowledged() {
    run_paused(async |env| {
        let disk = disk(slow());
        let storage = opened(&env, &disk).await;
        let before = put(&storage, "before", "x").await.unwrap();
        disk.set_faults(Faults { sync_failure_per_mille: 1_000, ..slow() });
        let mut failing = std::pin::pin!(put(&storage, "failing", "x"));
        assert!((&mut failing).now_or_never().is_none());
        let wait = storage.changed(Bytes::from_static(b"failing"), None);
        env.sleep(SYNC / 2).await;
        disk.set_faults(slow());
        let (failing, behind) = futures::join!(failing, put(&storage, "behind", "x"));
        assert_eq!(failing, Err(CommitError::Unknown));
        let Err(CommitError::Unavailable(reason)) = behind else { panic!("{behind:?}") };
        assert!(reason.contains("writes stopped after a failed commit"), "{reason}");
        assert!(matches!(wait.await, Err(StorageError::Unavailable(_))));
        assert!(matches!(put(&storage, "after", "x").await, Err(CommitError::Unavailable(_))));
        assert_eq!(storage.read_version().await, Ok(before), "reads go on");
        assert!(get(&storage, "before").await.unwrap().is_some());
        disk.crash(&Seeded::new(3));
        let storage = opened(&env, &disk).await;
        assert!(get(&storage, "before").await.unwrap().is_some());
        assert_eq!(get(&storage, "behind").await, Ok(None));
        put(&storage, "after", "x").await.unwrap();
    });
}

#[test]
fn a_full_disk_stops_writes_and_loses_nothing() {
    run_paused(async |env| {
        let disk = disk(Faults { capacity_bytes: 50_000, ..Faults::default() });
        let storage = opened(&env, &disk).await;
        let mut acknowledged = 0;
        let refusal = loop {
            match put(&storage, &format!("key{acknowledged}"), vec![7; 3_000]).await {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refusal, CommitError::Unknown);
        assert!(acknowledged > 10, "{acknowledged} commits fit");
        assert!(matches!(put(&storage, "more", "x").await, Err(CommitError::Unavailable(_))));
        assert!(disk.take_incidents().iter().any(|incident| matches!(incident, Incident::Full { .. })));
        disk.crash(&Seeded::new(4));
        // It opens while the disk is still full.
        let storage = opened(&env, &disk).await;
        for index in 0..acknowledged {
            assert_eq!(get(&storage, &format!("key{index}")).await, Ok(Some(Bytes::from(vec![7; 3_000]))));
        }
        disk.set_faults(Faults::default());
        put(&storage, "more", vec![7; 3_000]).await.unwrap();
    });
}

#[test]
fn compaction_keeps_the_rows_and_the_log_short() {
    const KEYS: usize = 10;
    run_paused(async |env| {
        let disk = disk(Faults::default());
        let options = LogOptions { compact_bytes_min: 10_000 };
        let storage = open(&env, &disk, options).await.unwrap();
        let old = storage.begin().await.unwrap();
        let mut last = Revision(0);
        for round in 0..300 {
            last = put(&storage, &format!("key{}", round % KEYS), format!("{round}").repeat(100)).await.unwrap();
        }
        assert!(disk.used_bytes() < 30_000, "the log has {} bytes", disk.used_bytes());
        let everything = || KeyRange { start: Bytes::from_static(b"a"), end: Bytes::from_static(b"z") };
        let mut old = old;
        assert_eq!(old.range(everything(), 100, false, Isolation::Snapshot).await, Ok(Vec::new()));
        disk.crash(&Seeded::new(5));
        let storage = open(&env, &disk, options).await.unwrap();
        assert_eq!(storage.read_version().await, Ok(last));
        for key in 0..KEYS {
            let value = get(&storage, &format!("key{key}")).await.unwrap().unwrap();
            assert_eq!(value, format!("{}", 290 + key).repeat(100));
        }
    });
}

#[test]
fn a_snapshot_outlives_the_log_that_it_reads() {
    run_paused(async |env| {
        let disk = disk(Faults::default());
        let storage = open(&env, &disk, LogOptions { compact_bytes_min: 2_000 }).await.unwrap();
        put(&storage, "key", "old").await.unwrap();
        let mut old = storage.begin().await.unwrap();
        let syncs = disk.syncs();
        for _ in 0..10 {
            put(&storage, "key", vec![b'n'; 1_000]).await.unwrap();
        }
        assert!(disk.syncs() > syncs + 10, "it was never compacted");
        assert_eq!(old.get(b"key", Isolation::Snapshot).await, Ok(Some(Bytes::from_static(b"old"))));
    });
}

/// A store of ten commits whose log is damaged between two shares of its length; what opening it says.
async fn open_damaged(env: &Env, from: f64, to: f64, flaw: Flaw) -> Result<usize, OpenError> {
    let disk = disk(Faults::default());
    let storage = opened(env, &disk).await;
    for index in 0..10 {
        put(&storage, &format!("key{index}"), vec![7; 100]).await.unwrap();
    }
    disk.kill();
    let length = disk.used_bytes() as f64;
    assert!(disk.rot("log", (length * from) as usize, (length * to) as usize, &Seeded::new(6)));
    let before = disk.mount(env).open("log").unwrap().read_at(0, length as usize).unwrap();
    let storage = open_flawed(env, &disk, LogOptions::default(), flaw).await;
    if storage.is_err() {
        let after = disk.mount(env).open("log").unwrap().read_at(0, length as usize).unwrap();
        assert!(before == after, "a damaged log was changed");
    }
    let storage = storage?;
    let everything = KeyRange { start: Bytes::from_static(b"a"), end: Bytes::from_static(b"z") };
    Ok(storage.begin().await.unwrap().range(everything, 100, false, Isolation::Snapshot).await.unwrap().len())
}

#[test]
fn damage_before_the_last_record_is_refused_and_not_touched() {
    run_paused(async |env| {
        for (from, to, expect) in [
            (0.0, 0.001, "its header is broken"),
            (0.02, 0.04, "record 0 of 1 of the snapshot is broken"),
            (0.1, 0.12, "record 1 is broken, one behind it is sound"),
            (0.5, 0.51, "is broken, one behind it is sound"),
            (0.85, 0.88, "record 9 is broken, one behind it is sound"),
        ] {
            let Err(OpenError::Corrupt(detail)) = open_damaged(&env, from, to, Flaw::Nothing).await else {
                panic!("{from}: a damaged log was opened");
            };
            assert!(detail.contains(expect), "{from}: {detail}");
        }
        // The last record may have been torn.
        assert_eq!(open_damaged(&env, 0.95, 0.99, Flaw::Nothing).await, Ok(9));
    });
}

#[test]
fn a_recovery_that_cuts_at_any_damage_is_found() {
    run_paused(async |env| {
        assert_eq!(open_damaged(&env, 0.5, 0.51, Flaw::NoLookBehind).await, Ok(4));
    });
}

#[test]
fn a_reader_gets_the_right_bytes_or_an_error() {
    run_paused(async |env| {
        let disk = disk(Faults::default());
        let storage = opened(&env, &disk).await;
        put(&storage, "key", vec![7; 1_000]).await.unwrap();
        disk.set_faults(Faults { read_failure_per_mille: 1_000, ..Faults::default() });
        assert!(matches!(get(&storage, "key").await, Err(StorageError::Unavailable(_))));
        disk.set_faults(Faults { flip_per_mille: 500, ..Faults::default() });
        let (mut right, mut refused) = (0, 0);
        for _ in 0..200 {
            match get(&storage, "key").await {
                Ok(value) => {
                    assert_eq!(value, Some(Bytes::from(vec![7; 1_000])));
                    right += 1;
                }
                Err(StorageError::Corrupt(_)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(right > 100 && refused > 5, "{right} right, {refused} refused");
        disk.set_faults(Faults::default());
        assert!(disk.rot("log", disk.used_bytes() as usize - 900, usize::MAX, &Seeded::new(7)));
        assert!(matches!(get(&storage, "key").await, Err(StorageError::Corrupt(_))));
        put(&storage, "other", "x").await.unwrap();
    });
}

/// What only some reads say costs no data: the last commit is not cut off.
#[test]
fn a_disk_that_reads_badly_is_refused_for_now() {
    run_paused(async |env| {
        for faults in [
            Faults { flip_per_mille: 1_000, ..Faults::default() },
            Faults { read_failure_per_mille: 1_000, ..Faults::default() },
        ] {
            let disk = disk(Faults::default());
            let last = put(&opened(&env, &disk).await, "key", vec![7; 2_000]).await.unwrap();
            disk.kill();
            disk.set_faults(faults);
            let refused = open(&env, &disk, LogOptions::default()).await.err();
            assert!(matches!(refused, Some(OpenError::Disk(DiskError::Device(_)))), "{refused:?}");
            disk.set_faults(Faults::default());
            assert_eq!(opened(&env, &disk).await.read_version().await, Ok(last));
        }
    });
}

/// Bytes of an earlier log behind the end of this one are not its records.
#[test]
fn records_of_another_log_are_not_taken_for_its_own() {
    run_paused(async |env| {
        let disk = disk(Faults::default());
        let storage = opened(&env, &disk).await;
        put(&storage, "key", "x").await.unwrap();
        disk.kill();
        let log = disk.mount(&env).open("log").unwrap();
        let length = log.length().unwrap();
        let other = crate::record::encode(1, 2, &triune_storage::Batch::default()).0;
        log.write_at(length, &other).unwrap();
        let storage = opened(&env, &disk).await;
        assert!(get(&storage, "key").await.unwrap().is_some());
        assert_eq!(disk.used_bytes() as usize, length);
    });
}
