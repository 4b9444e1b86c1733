//! SIGKILL at random points: every acknowledged commit is there afterwards, no transaction is there by half, revisions
//! never go back. The writer is a child process: this test binary, run again for one ignored test.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use triune_env::storage::{CommitError, Isolation, KeyRange, Revision, Row, Storage};
use triune_storage::embedded;

const FOLDER: &str = "TRIUNE_TEST_KILL_FOLDER";
const WRITERS: usize = 6;
const KILLS: usize = 20;
const KILLS_WHILE_MADE: usize = 8;
/// Writer 0 writes rows of this size, so that tables are flushed and compacted while the kill comes.
const LARGE_BYTES: usize = 60_000;

fn open(folder: &Path) -> Arc<dyn Storage> {
    embedded(triune_platform::env(), folder).unwrap_or_else(|error| panic!("{error}"))
}

/// Both counters of a writer and a row of its log, in one transaction.
async fn write(storage: &Arc<dyn Storage>, writer: usize, index: u64) -> Revision {
    let mut transaction = storage.begin().await.unwrap();
    let size = if writer == 0 { LARGE_BYTES } else { 100 };
    let value = Bytes::from([&index.to_be_bytes()[..], &vec![writer as u8; size]].concat());
    transaction.set(Bytes::from(format!("{writer}/left")), value.clone());
    transaction.set_stamped_key(format!("{writer}/log/").as_bytes(), b"", Bytes::copy_from_slice(&index.to_be_bytes()));
    transaction.set(Bytes::from(format!("{writer}/right")), value);
    transaction.commit().await.unwrap()
}

async fn rows(storage: &Arc<dyn Storage>, start: String, end: String) -> Vec<Row> {
    let range = KeyRange { start: start.into(), end: end.into() };
    storage.begin().await.unwrap().range(range, usize::MAX, false, Isolation::Snapshot).await.unwrap()
}

fn index_of(value: &[u8]) -> u64 {
    u64::from_be_bytes(*value.first_chunk().unwrap())
}

async fn counter(storage: &Arc<dyn Storage>, writer: usize, side: &str) -> u64 {
    let key = format!("{writer}/{side}");
    let value = storage.begin().await.unwrap().get(key.as_bytes(), Isolation::Snapshot).await.unwrap();
    value.map_or(0, |value| index_of(&value))
}

/// The child: commits until it is killed, and says what was acknowledged.
#[test]
#[ignore = "run by the other tests, as a process to be killed"]
fn writer_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let storage = open(Path::new(&folder));
        let writer = |writer: usize| {
            let storage = storage.clone();
            tokio::spawn(async move {
                let mut index = counter(&storage, writer, "left").await;
                loop {
                    index += 1;
                    let revision = write(&storage, writer, index).await;
                    println!("\nacknowledged {writer} {index} {revision} .");
                }
            })
        };
        futures::future::join_all((0..WRITERS).map(writer)).await;
    });
}

fn spawn_writer(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "writer_process", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// A few milliseconds, by chance.
fn chance(ms_max: u64) -> Duration {
    Duration::from_micros(triune_platform::env().entropy.u64() % (ms_max * 1_000))
}

/// Lets a child write for a while, kills it, and gives what it said: by writer, index and revision of each commit.
fn write_and_kill(folder: &Path) -> BTreeMap<usize, Vec<(u64, u64)>> {
    let mut child = spawn_writer(folder);
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines().map_while(Result::ok).filter(|line| line.starts_with("acknowledged"));
    let first = lines.next().expect("the child has committed nothing");
    std::thread::sleep(chance(120));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut acknowledged: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    for line in std::iter::once(first).chain(lines) {
        // A line without its end was cut by the kill.
        let words: Vec<&str> = line.split(' ').collect();
        if let ["acknowledged", writer, index, revision, "."] = words[..] {
            let commit = (index.parse().unwrap(), revision.parse().unwrap());
            acknowledged.entry(writer.parse().unwrap()).or_default().push(commit);
        }
    }
    acknowledged
}

/// What a store shows of one writer.
#[derive(Debug, Clone)]
struct Found {
    left: u64,
    right: u64,
    /// Index and revision of each row of its log, in the order of the rows.
    log: Vec<(u64, Revision)>,
}

async fn find(storage: &Arc<dyn Storage>, writer: usize) -> Found {
    let log = rows(storage, format!("{writer}/log/"), format!("{writer}/log0")).await;
    let revision = |row: &Row| storage.revision_of(row.key.last_chunk().expect("a stamp"));
    Found {
        left: counter(storage, writer, "left").await,
        right: counter(storage, writer, "right").await,
        log: log.iter().map(|row| (index_of(&row.value), revision(row))).collect(),
    }
}

/// Nothing acknowledged is lost, no transaction is there by half, no revision goes back. `acknowledged` are index and
/// revision of the commits since the store was at `before`; now it is at `now`.
fn check_writer(acknowledged: &[(u64, u64)], found: &Found, before: Revision, now: Revision) -> Result<(), String> {
    let Found { left, right, log } = found;
    if left != right {
        return Err(format!("half a transaction: left is {left}, right is {right}"));
    }
    if !log.iter().map(|(index, _)| *index).eq(1..=*left) {
        return Err(format!("the log is not 1 to {left}: {log:?}"));
    }
    if let Some(pair) = log.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
        return Err(format!("revisions of the log go back: {pair:?}"));
    }
    if let Some((index, revision)) = log.last().filter(|(_, revision)| *revision > now) {
        return Err(format!("commit {index} is at {revision}, the store at {now}"));
    }
    for (index, revision) in acknowledged {
        let revision = Revision(*revision);
        if revision <= before {
            return Err(format!("commit {index} was acknowledged at {revision}, after {before}"));
        }
        match log.iter().find(|(logged, _)| logged == index) {
            None => return Err(format!("commit {index}, acknowledged at {revision}, is lost: the store has {left}")),
            Some((_, logged)) if *logged != revision => {
                return Err(format!("commit {index} was acknowledged at {revision} and is at {logged}"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[test]
fn what_a_kill_may_not_do_is_noticed() {
    /// Two commits at 5 and 8 are acknowledged, a third one at 9 is not; the store was at 3 and is at 9.
    fn check(change: fn(&mut Found, &mut Vec<(u64, u64)>), expect: &str) {
        let mut acknowledged = vec![(1, 5), (2, 8)];
        let log = vec![(1, Revision(5)), (2, Revision(8)), (3, Revision(9))];
        let mut found = Found { left: 3, right: 3, log };
        change(&mut found, &mut acknowledged);
        let outcome = check_writer(&acknowledged, &found, Revision(3), Revision(9)).err().unwrap_or_default();
        assert!(outcome.contains(expect) && outcome.is_empty() == expect.is_empty(), "{outcome:?}, not {expect:?}");
    }
    fn keep(found: &mut Found, commits: u64) {
        (found.left, found.right) = (commits, commits);
        found.log.truncate(commits as usize);
    }
    check(|_, _| (), "");
    check(|found, _| keep(found, 2), "");
    check(|found, _| keep(found, 1), "commit 2, acknowledged at 8, is lost: the store has 1");
    check(|found, _| keep(found, 0), "commit 1, acknowledged at 5, is lost");
    check(|found, _| found.right = 2, "half a transaction: left is 3, right is 2");
    check(|found, _| found.log.truncate(2), "the log is not 1 to 3");
    check(|found, _| found.log.rotate_left(1), "the log is not 1 to 3");
    check(|found, _| found.log[1].1 = Revision(7), "commit 2 was acknowledged at 8 and is at 7");
    check(|found, _| found.log[2].1 = Revision(8), "revisions of the log go back");
    check(|found, _| found.log[2].1 = Revision(10), "commit 3 is at 10, the store at 9");
    check(|found, acknowledged| (found.log[0].1, acknowledged[0].1) = (Revision(3), 3), "acknowledged at 3, after 3");
}

#[tokio::test]
async fn acknowledged_commits_survive_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let (mut highest, mut total) = (Revision(0), 0);
    for kill in 0..KILLS {
        let acknowledged = write_and_kill(folder.path());
        let storage = open(folder.path());
        let version = storage.read_version().await.unwrap();
        for writer in 0..WRITERS {
            let commits = acknowledged.get(&writer).cloned().unwrap_or_default();
            total += commits.len();
            let checked = check_writer(&commits, &find(&storage, writer).await, highest, version);
            checked.unwrap_or_else(|reason| panic!("kill {kill}, writer {writer}: {reason}"));
        }
        let next = write(&storage, WRITERS, kill as u64).await;
        assert!(next > version);
        highest = next;
    }
    assert!(total > KILLS, "{total} commits in {KILLS} rounds");
}

#[tokio::test]
async fn a_folder_can_be_opened_whenever_its_making_was_killed() {
    for _ in 0..KILLS_WHILE_MADE {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut child = spawn_writer(&path);
        std::thread::sleep(chance(60));
        child.kill().unwrap();
        child.wait().unwrap();
        let storage = open(&path);
        let before = storage.read_version().await.unwrap();
        assert!(write(&storage, 1, 1).await > before);
    }
}

/// The child of the full disk: opens, then commits until it is refused.
#[test]
#[ignore = "run by another test, with a limit on the size of files"]
fn writer_on_a_full_disk() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let storage = open(Path::new(&folder));
        for index in 1.. {
            let mut transaction = storage.begin().await.unwrap();
            transaction.set(Bytes::from(format!("{index}")), Bytes::from(vec![7; LARGE_BYTES]));
            match transaction.commit().await {
                Ok(_) => println!("\nacknowledged {index}"),
                Err(error) => {
                    assert_eq!(error, CommitError::Unknown);
                    let next = storage.begin().await.unwrap();
                    assert!(next.read_version() == storage.read_version().await.unwrap());
                    let mut next = next;
                    assert!(next.get(b"1", Isolation::Snapshot).await.unwrap().is_some(), "reads have stopped");
                    next.set(Bytes::from_static(b"more"), Bytes::from_static(b"x"));
                    assert!(matches!(next.commit().await, Err(CommitError::Unavailable(_))));
                    println!("\nrefused {index}");
                    return;
                }
            }
        }
    });
}

#[tokio::test]
async fn a_full_disk_stops_writes_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let storage = open(&path);
    write(&storage, 1, 1).await;
    drop(storage);
    // Ignored, the signal of the limit makes the write fail, as a full disk does.
    let script = "trap '' XFSZ; ulimit -f 2000; exec \"$0\" --ignored --exact writer_on_a_full_disk --nocapture";
    let output = Command::new("bash")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, &path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let acknowledged = text.lines().filter(|line| line.starts_with("acknowledged")).count();
    assert!(acknowledged > 5 && text.contains(&format!("refused {}", acknowledged + 1)), "{text}");
    let storage = open(&path);
    for index in 1..=acknowledged {
        let value = storage.begin().await.unwrap().get(index.to_string().as_bytes(), Isolation::Snapshot).await;
        assert_eq!(value.unwrap().map(|value| value.len()), Some(LARGE_BYTES), "{index} is lost");
    }
    write(&storage, 1, 2).await;
}
