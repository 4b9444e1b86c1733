//! The clauses of the contract, one by one, as small stories.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;

use super::{PATIENCE, Subject, begin, bytes, get, give_way, look, put, refused};
use crate::{
    Env,
    storage::{
        CommitError, Isolation, KEY_BYTES_MAX, KeyRange, STAMP_BYTES, Stamp, Storage, StorageError,
        TRANSACTION_BYTES_MAX, TRANSACTION_SECONDS_MAX, Transaction, VALUE_BYTES_MAX,
    },
};

fn range(text: &str) -> KeyRange {
    let (start, end) = text.split_once("..").unwrap_or((text, text));
    KeyRange { start: bytes(start), end: bytes(end) }
}

/// The rows of a range as `key=value`.
async fn rows(
    transaction: &mut Box<dyn Transaction>,
    of: &str,
    limit: usize,
    reverse: bool,
    isolation: Isolation,
) -> Vec<String> {
    let rows = transaction.range(range(of), limit, reverse, isolation).await.unwrap_or_else(|error| panic!("{error}"));
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    rows.iter().map(|row| format!("{}={}", text(&row.key), text(&row.value))).collect()
}

/// S1, lost update: of two that read and write the same key, one commits.
pub async fn s1_a_read_key_that_changed_conflicts(subject: Subject) {
    let storage = subject.storage;
    put(&storage, "a", "0").await;
    for present in ["a", "absent"] {
        let (mut first, mut second) = (begin(&storage).await, begin(&storage).await);
        get(&mut first, present, Isolation::Serializable).await;
        get(&mut second, present, Isolation::Serializable).await;
        first.set(bytes(present), bytes("1"));
        second.set(bytes(present), bytes("2"));
        first.commit().await.unwrap_or_else(|error| panic!("the first commit: {error}"));
        refused(second, &CommitError::Conflict).await;
        assert_eq!(look(&storage, present).await.as_deref(), Some("1"));
    }
    // A removed key has changed, too, and so has one of a removed range.
    for removal in ["a", "a..b"] {
        put(&storage, "a", "0").await;
        let mut reader = begin(&storage).await;
        get(&mut reader, "a", Isolation::Serializable).await;
        reader.set(bytes("other"), bytes("x"));
        let mut remover = begin(&storage).await;
        if removal == "a" {
            remover.clear(bytes("a"));
        } else {
            remover.clear_range(range(removal));
        }
        remover.commit().await.unwrap_or_else(|error| panic!("the removal: {error}"));
        refused(reader, &CommitError::Conflict).await;
    }
}

/// S1, phantoms: a row that came into, changed in or left a range that was read.
pub async fn s1_a_read_range_that_changed_conflicts(subject: Subject) {
    let storage = subject.storage;
    type Change = fn(&mut Box<dyn Transaction>);
    let changes: [(&str, Change, bool); 6] = [
        ("inserts", |other| other.set(bytes("b2"), bytes("x")), true),
        ("changes", |other| other.set(bytes("b1"), bytes("x")), true),
        ("removes", |other| other.clear(bytes("b1")), true),
        ("removes a range", |other| other.clear_range(range("a..b5")), true),
        ("stamps a key", |other| other.set_stamped_key(b"b3", b"", bytes("x")), true),
        ("writes outside", |other| other.set(bytes("c"), bytes("x")), false),
    ];
    for (name, change, conflicts) in changes {
        put(&storage, "b1", "0").await;
        let mut reader = begin(&storage).await;
        rows(&mut reader, "b..c", 100, false, Isolation::Serializable).await;
        reader.set(bytes("other"), bytes("x"));
        let mut other = begin(&storage).await;
        change(&mut other);
        other.commit().await.unwrap_or_else(|error| panic!("another that {name}: {error}"));
        match reader.commit().await {
            Err(CommitError::Conflict) if conflicts => {}
            Ok(_) if !conflicts => {}
            outcome => panic!("after another that {name}: {outcome:?}"),
        }
    }
}

/// S1: past the last row within the limit nothing was read. (Not a promise of safety, but of liveness of pages.)
pub async fn s1_only_the_part_of_a_range_that_was_read_conflicts(subject: Subject) {
    let storage = subject.storage;
    for key in ["a", "c", "e"] {
        put(&storage, key, "0").await;
    }
    for (reverse, written, conflicts) in [
        (false, "b", true),
        (false, "c", true),
        (false, "d", false),
        (true, "d", true),
        (true, "c", true),
        (true, "b", false),
    ] {
        let mut reader = begin(&storage).await;
        assert_eq!(rows(&mut reader, "a..z", 2, reverse, Isolation::Serializable).await.len(), 2);
        reader.set(bytes("zz"), bytes("x"));
        let mut other = begin(&storage).await;
        // `b` and `d` are written and removed again, so that each round finds the same rows.
        if written == "c" {
            other.set(bytes("c"), bytes("0"));
        } else {
            other.clear(bytes(written));
        }
        other.commit().await.unwrap_or_else(|error| panic!("write of {written}: {error}"));
        match reader.commit().await {
            Err(CommitError::Conflict) if conflicts => {}
            Ok(_) if !conflicts => {}
            outcome => panic!("reverse {reverse}, {written} written: {outcome:?}"),
        }
    }
}

/// S1: only serializable reads conflict.
pub async fn s1_snapshot_reads_do_not_conflict(subject: Subject) {
    let storage = subject.storage;
    put(&storage, "a", "0").await;
    let mut reader = begin(&storage).await;
    get(&mut reader, "a", Isolation::Snapshot).await;
    rows(&mut reader, "a..z", 10, false, Isolation::Snapshot).await;
    reader.set(bytes("other"), bytes("x"));
    put(&storage, "a", "1").await;
    reader.commit().await.unwrap_or_else(|error| panic!("commit after snapshot reads: {error}"));
}

/// S1: a declared read key conflicts with a write and with a declared write key, without a read.
pub async fn s1_declared_keys_conflict(subject: Subject) {
    let storage = subject.storage;
    for declared in [false, true] {
        let (mut reader, mut bystander) = (begin(&storage).await, begin(&storage).await);
        reader.add_read_conflict_key(bytes("a"));
        reader.set(bytes("r"), bytes("x"));
        bystander.add_read_conflict_key(bytes("b"));
        bystander.set(bytes("s"), bytes("x"));
        let mut writer = begin(&storage).await;
        if declared {
            writer.add_write_conflict_key(bytes("a"));
        } else {
            writer.set(bytes("a"), bytes("x"));
        }
        writer.commit().await.unwrap_or_else(|error| panic!("the writer: {error}"));
        refused(reader, &CommitError::Conflict).await;
        bystander.commit().await.unwrap_or_else(|error| panic!("the bystander: {error}"));
    }
    assert_eq!(look(&storage, "r").await, None);
}

/// S1: a transaction that read nothing conflicts with nothing.
pub async fn s1_writes_alone_do_not_conflict(subject: Subject) {
    let storage = subject.storage;
    let (mut first, mut second) = (begin(&storage).await, begin(&storage).await);
    first.set(bytes("a"), bytes("1"));
    second.set(bytes("a"), bytes("2"));
    first.commit().await.unwrap_or_else(|error| panic!("the first: {error}"));
    second.commit().await.unwrap_or_else(|error| panic!("the second: {error}"));
    assert_eq!(look(&storage, "a").await.as_deref(), Some("2"));
}

/// S1: read first, then write.
pub async fn s1_a_transaction_does_not_see_its_own_writes(subject: Subject) {
    let storage = subject.storage;
    put(&storage, "a", "0").await;
    let mut transaction = begin(&storage).await;
    transaction.set(bytes("a"), bytes("1"));
    transaction.set(bytes("b"), bytes("1"));
    assert_eq!(get(&mut transaction, "a", Isolation::Serializable).await.as_deref(), Some("0"));
    assert_eq!(rows(&mut transaction, "a..z", 10, false, Isolation::Serializable).await, ["a=0"]);
    transaction.commit().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(look(&storage, "b").await.as_deref(), Some("1"));
}

/// S1: reads are of the read version, whatever was committed since.
pub async fn s1_reads_stay_at_the_read_version(subject: Subject) {
    let storage = subject.storage;
    let at = put(&storage, "a", "0").await;
    let mut reader = begin(&storage).await;
    assert!(reader.read_version() >= at);
    put(&storage, "a", "1").await;
    put(&storage, "b", "1").await;
    for isolation in [Isolation::Snapshot, Isolation::Serializable] {
        assert_eq!(get(&mut reader, "a", isolation).await.as_deref(), Some("0"));
        assert_eq!(rows(&mut reader, "a..z", 10, true, isolation).await, ["a=0"]);
    }
    // Nothing is written: all reads were of one moment, so there is nothing to conflict with.
    reader.commit().await.unwrap_or_else(|error| panic!("a commit without writes: {error}"));
}

/// S1: tasks that increment the same counters.
pub async fn s1_concurrent_increments_are_not_lost(subject: Subject) {
    const TASKS: usize = 8;
    const ROUNDS: usize = 20;
    let storage = subject.storage;
    let increment = async |counter: &str| loop {
        let mut transaction = begin(&storage).await;
        let value = get(&mut transaction, counter, Isolation::Serializable).await;
        let value: usize = value.map_or(0, |text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}")));
        give_way().await;
        transaction.set(bytes(counter), bytes(&(value + 1).to_string()));
        match transaction.commit().await {
            Ok(_) => return,
            Err(CommitError::Conflict | CommitError::TooOld) => {}
            Err(error) => panic!("increment: {error}"),
        }
    };
    let task = async |task: usize| {
        for round in 0..ROUNDS {
            increment(if (task + round).is_multiple_of(3) { "few" } else { "many" }).await;
        }
    };
    join_all((0..TASKS).map(task)).await;
    let mut sum = 0;
    for counter in ["few", "many"] {
        sum += look(&storage, counter).await.and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
    }
    assert_eq!(sum, TASKS * ROUNDS);
}

/// Ranges: order, bounds, limits, directions.
pub async fn s1_ranges_are_in_key_order(subject: Subject) {
    let storage = subject.storage;
    for key in ["b", "d", "a", "c", "aa"] {
        put(&storage, key, "0").await;
    }
    let mut transaction = begin(&storage).await;
    for (of, limit, reverse, expect) in [
        ("a..d", 10, false, "a=0 aa=0 b=0 c=0"),
        ("a..d", 10, true, "c=0 b=0 aa=0 a=0"),
        ("a..d", 2, false, "a=0 aa=0"),
        ("a..d", 2, true, "c=0 b=0"),
        ("aa..b", 10, false, "aa=0"),
        ("a..z", 0, false, ""),
        ("d..a", 10, false, ""),
        ("a..a", 10, false, ""),
        ("x..z", 10, true, ""),
    ] {
        for isolation in [Isolation::Snapshot, Isolation::Serializable] {
            assert_eq!(rows(&mut transaction, of, limit, reverse, isolation).await.join(" "), expect, "{of} {limit}");
        }
    }
}

/// Within a transaction, a later mutation of a key replaces an earlier one.
pub async fn s1_later_mutations_win_over_earlier(subject: Subject) {
    let storage = subject.storage;
    put(&storage, "c", "0").await;
    put(&storage, "d", "0").await;
    let mut transaction = begin(&storage).await;
    transaction.set(bytes("a"), bytes("1"));
    transaction.set(bytes("a"), bytes("2"));
    transaction.set(bytes("b"), bytes("1"));
    transaction.clear_range(range("b..d"));
    transaction.set(bytes("bb"), bytes("1"));
    transaction.clear(bytes("d"));
    transaction.set(bytes("d"), bytes("1"));
    transaction.clear_range(range("z..x"));
    transaction.commit().await.unwrap_or_else(|error| panic!("{error}"));
    let found = rows(&mut begin(&storage).await, "a..z", 10, false, Isolation::Snapshot).await;
    assert_eq!(found, ["a=2", "bb=1", "d=1"]);
}

/// S2: in order, one after another.
pub async fn s2_revisions_grow_and_read_versions_follow(subject: Subject) {
    let storage = subject.storage;
    let mut last = storage.read_version().await.unwrap_or_else(|error| panic!("{error}"));
    for round in 0..20 {
        let revision = put(&storage, &format!("key{}", round % 3), "x").await;
        assert!(revision > last, "{revision} after {last}");
        assert!(revision.0 < 1 << 63);
        let version = storage.read_version().await.unwrap_or_else(|error| panic!("{error}"));
        assert!(version >= revision, "read version {version} after the commit {revision}");
        let transaction = begin(&storage).await;
        assert!(transaction.read_version() >= version);
        let read_only = transaction.commit().await.unwrap_or_else(|error| panic!("{error}"));
        assert!(read_only >= version);
        last = version;
    }
}

/// S2: what a commit stamped is its revision, and stamped keys are in commit order.
pub async fn s2_stamps_are_the_revision_and_sort_as_it(subject: Subject) {
    let storage = subject.storage;
    let mut revisions = Vec::new();
    for _ in 0..5 {
        let mut transaction = begin(&storage).await;
        transaction.set_stamped_key(b"log/", b"/end", bytes("x"));
        transaction.set_stamped_value(bytes("last"), [b"<", &[0; STAMP_BYTES][..], b">"].concat(), 1);
        revisions.push(transaction.commit().await.unwrap_or_else(|error| panic!("{error}")));
    }
    let mut reader = begin(&storage).await;
    let found = reader.range(range("log/..log0"), 10, false, Isolation::Snapshot).await;
    let found = found.unwrap_or_else(|error| panic!("{error}"));
    let stamps: Vec<Stamp> = found.iter().filter_map(|row| row.key.get(4..14)?.first_chunk().copied()).collect();
    assert_eq!(stamps.iter().map(|stamp| storage.revision_of(stamp)).collect::<Vec<_>>(), revisions);
    assert_eq!(stamps, revisions.iter().map(|revision| storage.stamp_of(*revision)).collect::<Vec<_>>());
    assert!(found.iter().all(|row| row.key.ends_with(b"/end") && row.value == "x"));
    let last = reader.get(b"last", Isolation::Snapshot).await.ok().flatten().unwrap_or_default();
    let newest = stamps.last().copied().unwrap_or_default();
    assert_eq!(last, [b"<", &newest[..], b">"].concat());
}

/// S2: many at once.
pub async fn s2_concurrent_commits_have_revisions_of_their_own(subject: Subject) {
    let storage = subject.storage;
    let commit = async |index: usize| put(&storage, &format!("key{index}"), "x").await;
    let mut revisions = join_all((0..100).map(commit)).await;
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 100);
}

/// S3: Conflict and TooLarge mean "not applied".
pub async fn s3_refused_transactions_leave_no_trace(subject: Subject) {
    let storage = subject.storage;
    let mut conflicting = begin(&storage).await;
    get(&mut conflicting, "a", Isolation::Serializable).await;
    conflicting.set(bytes("trace1"), bytes("x"));
    put(&storage, "a", "1").await;
    refused(conflicting, &CommitError::Conflict).await;
    let mut large = begin(&storage).await;
    large.set(bytes("trace2"), bytes("x"));
    large.set(bytes("trace3"), Bytes::from(vec![0; VALUE_BYTES_MAX + 1]));
    assert!(matches!(large.commit().await, Err(CommitError::TooLarge(_))));
    let mut dropped = begin(&storage).await;
    dropped.set(bytes("trace4"), bytes("x"));
    drop(dropped);
    assert_eq!(rows(&mut begin(&storage).await, "a..z", 10, false, Isolation::Snapshot).await, ["a=1"]);
}

/// S4: everything acknowledged is there after the storage was opened again, and revisions go on.
pub async fn s4_acknowledged_commits_survive(subject: Subject) {
    let Subject { mut storage, reopen, .. } = subject;
    let Some(reopen) = reopen else { return };
    let mut last = put(&storage, "key", "first").await;
    for round in 0..3 {
        let commit = async |index: usize| put(&storage, &format!("round{round}/{index}"), "x").await;
        let revisions = join_all((0..20).map(commit)).await;
        drop(storage);
        storage = reopen().await;
        let version = storage.read_version().await.unwrap_or_else(|error| panic!("{error}"));
        assert!(revisions.iter().all(|revision| *revision <= version));
        for index in 0..20 {
            assert!(look(&storage, &format!("round{round}/{index}")).await.is_some(), "round {round}, {index} is lost");
        }
        let revision = put(&storage, "key", &round.to_string()).await;
        assert!(revision > version && revision > last, "{revision} after {version} and {last}");
        last = revision;
        assert_eq!(look(&storage, "key").await, Some(round.to_string()));
    }
}

/// S5: rows that are always written together are always seen together.
pub async fn s5_readers_see_all_or_nothing(subject: Subject) {
    const KEYS: usize = 6;
    let storage = subject.storage;
    let write = async |value: usize| {
        for round in 0..10 {
            let mut transaction = begin(&storage).await;
            for key in 0..KEYS {
                transaction.set(bytes(&format!("all/{key}")), bytes(&format!("{value}.{round}")));
            }
            transaction.commit().await.unwrap_or_else(|error| panic!("{error}"));
            give_way().await;
        }
    };
    let read = async || {
        for _ in 0..40 {
            let mut transaction = begin(&storage).await;
            let rows = transaction.range(range("all/..all0"), 100, false, Isolation::Snapshot).await;
            let rows = rows.unwrap_or_else(|error| panic!("{error}"));
            assert!(rows.is_empty() || rows.len() == KEYS, "{} of {KEYS} rows", rows.len());
            assert!(rows.windows(2).all(|pair| pair[0].value == pair[1].value), "{rows:?}");
            give_way().await;
        }
    };
    futures::join!(join_all((0..4).map(write)), read());
}

async fn expect_too_large(
    storage: &Arc<dyn Storage>,
    over: bool,
    what: &str,
    build: impl FnOnce(&mut Box<dyn Transaction>),
) {
    let mut transaction = begin(storage).await;
    build(&mut transaction);
    match transaction.commit().await {
        Ok(_) if !over => {}
        Err(CommitError::TooLarge(message)) if over => assert!(!message.is_empty()),
        outcome => panic!("{what}: {outcome:?}"),
    }
}

/// S6: one byte over the bound of a key.
pub async fn s6_keys_have_a_bound(subject: Subject) {
    let storage = subject.storage;
    for (length, over) in [(KEY_BYTES_MAX, false), (KEY_BYTES_MAX + 1, true)] {
        let key = || Bytes::from(vec![b'k'; length]);
        expect_too_large(&storage, over, "set", |transaction| transaction.set(key(), bytes("x"))).await;
        expect_too_large(&storage, over, "clear", |transaction| transaction.clear(key())).await;
        expect_too_large(&storage, over, "read conflict", |transaction| {
            transaction.set(bytes("a"), bytes("x"));
            transaction.add_read_conflict_key(key());
        })
        .await;
        expect_too_large(&storage, over, "write conflict", |transaction| transaction.add_write_conflict_key(key()))
            .await;
        expect_too_large(&storage, over, "stamped value", |transaction| {
            transaction.set_stamped_value(key(), vec![0; STAMP_BYTES], 0);
        })
        .await;
        let prefix = vec![b'k'; length - STAMP_BYTES - 2];
        expect_too_large(&storage, over, "stamped key", |transaction| {
            transaction.set_stamped_key(&prefix, b"/s", bytes("x"));
        })
        .await;
    }
    for key in [&b""[..], b"\xff", b"\xff\x01"] {
        let key = Bytes::from_static(key);
        expect_too_large(&storage, true, "reserved key", |transaction| transaction.set(key, bytes("x"))).await;
    }
}

/// S6: one byte over the bound of a value; what is within it is stored whole.
pub async fn s6_values_have_a_bound(subject: Subject) {
    let storage = subject.storage;
    for (length, over) in [(VALUE_BYTES_MAX, false), (VALUE_BYTES_MAX + 1, true)] {
        let value = vec![b'v'; length];
        expect_too_large(&storage, over, "set", |transaction| transaction.set(bytes("a"), Bytes::from(value.clone())))
            .await;
        expect_too_large(&storage, over, "stamped", |transaction| {
            transaction.set_stamped_value(bytes("b"), value.clone(), 0);
        })
        .await;
        expect_too_large(&storage, over, "stamped key", |transaction| {
            transaction.set_stamped_key(b"c", b"", Bytes::from(value.clone()));
        })
        .await;
    }
    assert_eq!(look(&storage, "a").await.map(|value| value.len()), Some(VALUE_BYTES_MAX));
    expect_too_large(&storage, true, "no room for the stamp", |transaction| {
        transaction.set_stamped_value(bytes("b"), vec![0; STAMP_BYTES], 1);
    })
    .await;
}

/// S6: one byte over the bound of a transaction.
pub async fn s6_transactions_have_a_bound(subject: Subject) {
    const ROWS: usize = TRANSACTION_BYTES_MAX / VALUE_BYTES_MAX;
    let storage = subject.storage;
    for (extra, over) in [(0, false), (1, true)] {
        expect_too_large(&storage, over, "transaction", |transaction| {
            for row in 0..ROWS {
                let extra = if row == 0 { extra } else { 0 };
                transaction.set(bytes(&format!("key{row:07}")), Bytes::from(vec![0; VALUE_BYTES_MAX - 10 + extra]));
            }
        })
        .await;
    }
}

/// S6: a transaction that lived too long neither reads nor commits.
pub async fn s6_transactions_have_a_life(subject: Subject) {
    let Subject { storage, env, .. } = subject;
    put(&storage, "a", "0").await;
    let (mut old, mut writer) = (begin(&storage).await, begin(&storage).await);
    writer.set(bytes("b"), bytes("x"));
    env.sleep(Duration::from_millis(TRANSACTION_SECONDS_MAX * 1000 + 100)).await;
    assert_eq!(old.get(b"a", Isolation::Snapshot).await, Err(StorageError::TooOld));
    assert_eq!(old.range(range("a..b"), 10, false, Isolation::Serializable).await, Err(StorageError::TooOld));
    refused(writer, &CommitError::TooOld).await;
    assert_eq!(look(&storage, "b").await, None);
}

async fn within_patience(env: &Env, storage: &Arc<dyn Storage>, key: &str, seen: Option<&str>) {
    let wait = storage.changed(bytes(key), seen.map(bytes));
    match env.timeout(PATIENCE, wait).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("changed({key}): {error}"),
        Err(_) => panic!("changed({key}, {seen:?}) still sleeps"),
    }
}

/// S7: a set, a removal, a removed range and a stamped value end the wait.
pub async fn s7_a_change_ends_the_wait(subject: Subject) {
    let Subject { storage, env, .. } = subject;
    type Change = fn(&mut Box<dyn Transaction>);
    let changes: [Change; 5] = [
        |other| other.set(bytes("a"), bytes("x")),
        |other| other.clear(bytes("a")),
        |other| other.clear_range(range("..z")),
        |other| other.set_stamped_value(bytes("a"), vec![0; STAMP_BYTES], 0),
        |other| other.set_stamped_value(bytes("a"), vec![0; STAMP_BYTES], 0),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        if index < 3 {
            put(&storage, "a", "0").await;
        }
        let seen = begin(&storage).await.get(b"a", Isolation::Snapshot).await.unwrap_or_else(|error| panic!("{error}"));
        // Two wait, one gives up.
        drop(storage.changed(bytes("a"), seen.clone()));
        let waits = join_all([storage.changed(bytes("a"), seen.clone()), storage.changed(bytes("a"), seen)]);
        let commit = async {
            let mut other = begin(&storage).await;
            change(&mut other);
            other.commit().await.unwrap_or_else(|error| panic!("{error}"));
        };
        let (ended, ()) = futures::join!(env.timeout(PATIENCE, waits), commit);
        let ended = ended.unwrap_or_else(|_| panic!("a wait still sleeps after change {index}"));
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    }
}

/// S7: nothing to wait for.
pub async fn s7_a_value_that_differs_already_ends_the_wait(subject: Subject) {
    let Subject { storage, env, .. } = subject;
    put(&storage, "a", "1").await;
    within_patience(&env, &storage, "a", None).await;
    within_patience(&env, &storage, "a", Some("0")).await;
    within_patience(&env, &storage, "absent", Some("0")).await;
}

/// S7: each key has its own waits. (That unrelated commits wake nobody is not promised.)
pub async fn s7_waits_for_many_keys_end_apart(subject: Subject) {
    let Subject { storage, env, .. } = subject;
    let names: Vec<String> = (0..50).map(|index| format!("key{index}")).collect();
    let waits = join_all(names.iter().map(|name| within_patience(&env, &storage, name, None)));
    let commits = async {
        for name in names.iter().rev() {
            put(&storage, name, "x").await;
        }
    };
    futures::join!(waits, commits);
}

/// S7: who waits for the next value again and again comes to the last one.
pub async fn s7_no_change_is_missed(subject: Subject) {
    const LAST: usize = 60;
    let Subject { storage, env, .. } = subject;
    let write = async {
        for value in 0..=LAST {
            put(&storage, "a", &value.to_string()).await;
            give_way().await;
        }
    };
    let follow = async || {
        let mut seen: Option<String> = None;
        while seen.as_deref() != Some(&LAST.to_string()) {
            within_patience(&env, &storage, "a", seen.as_deref()).await;
            seen = look(&storage, "a").await;
        }
    };
    futures::join!(write, join_all((0..5).map(|_| follow())));
}
