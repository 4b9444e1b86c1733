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
            let (left, right) = (counter(&storage, writer, "left").await, counter(&storage, writer, "right").await);
            assert_eq!(left, right, "kill {kill}: half a transaction of writer {writer}");
            let log = rows(&storage, format!("{writer}/log/"), format!("{writer}/log0")).await;
            let logged: Vec<u64> = log.iter().map(|row| index_of(&row.value)).collect();
            assert_eq!(logged, (1..=left).collect::<Vec<_>>(), "kill {kill}: the log of writer {writer}");
            for (index, revision) in commits {
                assert!(Revision(revision) > highest, "kill {kill}: revision {revision} after {highest}");
                assert!(Revision(revision) <= version, "kill {kill}: {revision} is lost, the store is at {version}");
                assert!(index <= left, "kill {kill}: writer {writer} had {index} acknowledged, the store has {left}");
                let key = &log[index as usize - 1].key;
                let stamp = storage.stamp_of(Revision(revision));
                assert!(key.ends_with(&stamp), "kill {kill}: commit {index} of writer {writer} has another revision");
            }
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
