//! The embedded store against its folder: reopening, locks, foreign and damaged folders, growth.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use triune_env::storage::{Isolation, KeyRange, Revision, Storage, StorageError};
use triune_storage::{OpenError, embedded};

fn open(folder: &Path) -> Result<Arc<dyn Storage>, OpenError> {
    embedded(triune_platform::env(), folder)
}

async fn set(storage: &Arc<dyn Storage>, key: &str, value: &[u8]) -> Revision {
    let mut transaction = storage.begin().await.unwrap();
    transaction.set(Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value));
    transaction.commit().await.unwrap()
}

async fn get(storage: &Arc<dyn Storage>, key: &str) -> Option<Bytes> {
    storage.begin().await.unwrap().get(key.as_bytes(), Isolation::Snapshot).await.unwrap()
}

/// Every file of a folder and its bytes, without the lock's.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().unwrap() != "LOCK" {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn journals(folder: &Path) -> Vec<PathBuf> {
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    files(&folder.join("engine")).into_iter().map(|(path, _)| path).filter(is_journal).collect()
}

/// The bytes of a journal up to its last batch.
fn written(journal: &Path) -> Vec<u8> {
    let mut bytes = fs::read(journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_reopen_and_revisions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("made/by/the/store");
    let mut last = Revision(0);
    for round in 0..4 {
        let storage = open(&folder).unwrap();
        assert!(storage.read_version().await.unwrap() >= last);
        if round > 0 {
            assert_eq!(get(&storage, &format!("key{}", round - 1)).await.as_deref(), Some(&b"value"[..]));
        }
        let revision = set(&storage, &format!("key{round}"), b"value").await;
        assert!(revision > last, "{revision} after {last}");
        last = revision;
    }
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_second_open_is_refused_and_names_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    let Err(error) = open(folder.path()) else { panic!("a second open succeeded") };
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&folder.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    set(&first, "key", b"value").await;
    drop(first);
    assert!(get(&open(folder.path()).unwrap(), "key").await.is_some());
}

#[tokio::test]
async fn a_foreign_folder_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious.txt"), "do not touch").unwrap();
    let Err(error) = open(folder.path()) else { panic!("a foreign folder was taken") };
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["precious.txt"]);
}

/// Makes a folder with ten commits, damages it, and sees that it is refused and left as it is.
async fn check_damage(damage: impl FnOnce(&Path), expect: &str) {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path()).unwrap();
    for index in 0..10 {
        set(&storage, &format!("key{index}"), &[7; 100]).await;
    }
    drop(storage);
    damage(folder.path());
    let before = files(folder.path());
    let Err(error) = open(folder.path()) else { panic!("a damaged folder was opened, expected: {expect}") };
    assert!(matches!(error, OpenError::Corrupt { .. } | OpenError::Version { .. }), "{error}");
    assert!(error.to_string().contains(expect), "{error}");
    assert!(files(folder.path()) == before, "a damaged folder was changed: {error}");
}

#[tokio::test]
async fn a_damaged_folder_is_refused_and_not_touched() {
    let engine = |folder: &Path| folder.join("engine");
    check_damage(|folder| fs::write(folder.join("FORMAT"), "x").unwrap(), "FORMAT is unreadable").await;
    check_damage(|folder| fs::write(folder.join("FORMAT"), "triune-storage 9\n").unwrap(), "has format 9").await;
    check_damage(|folder| fs::remove_file(&journals(folder)[0]).unwrap(), "there is no journal").await;
    check_damage(|folder| fs::remove_file(engine(folder).join("version")).unwrap(), "version is missing").await;
    check_damage(|folder| fs::remove_file(engine(folder).join("keyspaces/1/current")).unwrap(), "current is missing")
        .await;
    check_damage(|folder| fs::remove_dir_all(engine(folder).join("keyspaces/1")).unwrap(), "current is missing").await;
    check_damage(|folder| fs::remove_dir_all(engine(folder)).unwrap(), "version is missing").await;
    let manifest = |folder: &Path| {
        let is_manifest = |path: &PathBuf| {
            path.parent().unwrap().ends_with("keyspaces/1")
                && path.file_name().unwrap().to_str().unwrap().starts_with('v')
        };
        files(folder).into_iter().map(|(path, _)| path).find(is_manifest).unwrap()
    };
    check_damage(
        |folder| {
            let mut bytes = fs::read(manifest(folder)).unwrap();
            bytes[9] ^= 1;
            fs::write(manifest(folder), bytes).unwrap();
        },
        "is not as written",
    )
    .await;
}

#[tokio::test]
async fn damage_in_the_middle_of_a_journal_is_not_taken_for_an_interrupted_write() {
    for position in [0.0_f64, 0.3, 0.6] {
        check_damage(
            |folder| {
                let journal = journals(folder).remove(0);
                let mut bytes = written(&journal);
                let at = (bytes.len() as f64 * position) as usize;
                bytes[at] ^= 0x10;
                fs::write(&journal, bytes).unwrap();
            },
            "journal 0.jnl is broken at byte",
        )
        .await;
    }
}

/// Cuts the last commit of a journal short, or garbles it, as a crash may do; everything before is there.
#[tokio::test]
async fn an_interrupted_last_commit_is_cut_off() {
    type Garble = fn(&mut Vec<u8>, usize);
    let garbles: [Garble; 4] = [
        |bytes, last| bytes.truncate(last + 5),
        |bytes, _| bytes.truncate(bytes.len() - 1),
        |bytes, last| bytes[last..last + 40].fill(0),
        |bytes, last| bytes[last + 60..last + 90].fill(0),
    ];
    for garble in garbles {
        let folder = tempfile::tempdir().unwrap();
        let storage = open(folder.path()).unwrap();
        let journal = journals(folder.path()).remove(0);
        let first = set(&storage, "first", &[7; 100]).await;
        let last = written(&journal).len();
        set(&storage, "last", &[7; 100]).await;
        drop(storage);
        let mut bytes = written(&journal);
        garble(&mut bytes, last);
        fs::write(&journal, bytes).unwrap();
        let storage = open(folder.path()).unwrap();
        assert_eq!(storage.read_version().await.unwrap(), first);
        assert_eq!(get(&storage, "first").await.as_deref(), Some(&[7; 100][..]));
        assert_eq!(get(&storage, "last").await, None);
        set(&storage, "again", b"x").await;
        drop(storage);
        assert!(get(&open(folder.path()).unwrap(), "again").await.is_some());
    }
}

#[tokio::test]
async fn a_folder_whose_making_was_interrupted_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let ready = fs::read_to_string(folder.path().join("FORMAT")).unwrap();
    assert!(ready.contains("state ready"), "{ready}");
    // The state before the last step: the same text says `creating`, with its checksum.
    let text = ready.split("sum").next().unwrap().replace("ready", "creating");
    let creating = format!("{text}sum {:016x}\n", xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
    fs::write(folder.path().join("FORMAT"), creating).unwrap();
    fs::write(folder.path().join("engine/version"), "half").unwrap();
    let storage = open(folder.path()).unwrap();
    set(&storage, "key", b"value").await;
}

fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let size = |path: PathBuf| {
        if path.is_dir() { disk_bytes(&path) } else { fs::metadata(path).map_or(0, |file| file.blocks() * 512) }
    };
    fs::read_dir(folder).unwrap().map(|entry| size(entry.unwrap().path())).sum()
}

/// 100,000 commits overwrite the same 1 MB, 200 MB in all: what is left is a few journals and tables. (Versions of one key
/// in one group of commits are one row, so that several keys are needed to write as much.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwriting_the_same_keys_does_not_grow_the_folder_for_ever() {
    const ROUNDS: usize = 200;
    const KEYS: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path()).unwrap();
    let mut largest = 0;
    for round in 0..ROUNDS {
        let value = Bytes::from(vec![round as u8; 2_000]);
        let commits = (0..KEYS).map(|key| {
            let (storage, value) = (&storage, value.clone());
            async move {
                let mut transaction = storage.begin().await.unwrap();
                transaction.set(Bytes::from(format!("key{key}")), value);
                transaction.commit().await.unwrap()
            }
        });
        futures::future::join_all(commits).await;
        if round % 10 == 0 {
            largest = largest.max(disk_bytes(folder.path()));
        }
    }
    assert!(largest < 160 << 20, "the folder grew to {largest} bytes");
    drop(storage);
    let storage = open(folder.path()).unwrap();
    assert_eq!(get(&storage, "key7").await, Some(Bytes::from(vec![(ROUNDS - 1) as u8; 2_000])));
    println!("largest {largest}, in the end {}", disk_bytes(folder.path()));
}

/// A table is not read when the folder is opened, so damage in it shows when a row of it is read: as an error, never as
/// other bytes.
#[tokio::test]
async fn damage_in_a_table_is_an_error_of_the_read() {
    const ROWS: usize = 400;
    const ROW_BYTES: usize = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path()).unwrap();
    for row in 0..ROWS {
        set(&storage, &format!("key{row:04}"), &[row as u8; ROW_BYTES]).await;
    }
    let tables = folder.path().join("engine/keyspaces/1/tables");
    let flushed = || fs::read_dir(&tables).unwrap().any(|table| table.unwrap().metadata().unwrap().len() > 4_000_000);
    while !flushed() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(storage);
    for (path, mut bytes) in files(&tables) {
        let third = bytes.len() / 3;
        bytes[third] ^= 0x55;
        fs::write(path, bytes).unwrap();
    }
    let storage = open(folder.path()).unwrap();
    let mut damaged = 0;
    for row in 0..ROWS {
        let key = format!("key{row:04}");
        let value = storage.begin().await.unwrap().get(key.as_bytes(), Isolation::Snapshot).await;
        match value {
            Ok(value) => assert!(value.unwrap().iter().all(|byte| *byte == row as u8), "{key} is not as written"),
            Err(StorageError::Corrupt(_)) => damaged += 1,
            Err(error) => panic!("{key}: {error}"),
        }
    }
    assert!((1..ROWS / 2).contains(&damaged), "{damaged} rows are damaged");
    let everything = KeyRange { start: Bytes::from_static(b"k"), end: Bytes::from_static(b"l") };
    let scan = storage.begin().await.unwrap().range(everything, usize::MAX, false, Isolation::Snapshot).await;
    assert!(matches!(scan, Err(StorageError::Corrupt(_))), "a scan passes over damage");
}
