//! The data folder: whose it is, who holds it, and whether it is finished.
//!
//! ```text
//! DIR/          0700
//!   LOCK        held by flock for the life of the process; its text is the process id
//!   FORMAT      magic, version, store id, state, checksum; replaced by rename
//!   engine/     the engine's files
//! ```
//!
//! A folder without FORMAT that has anything but a LOCK is somebody else's, and is not touched. FORMAT says `creating`
//! until the engine is there with its first commit; a folder found like that holds nothing that was ever acknowledged,
//! and is made again.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::error::{OpenError, PathDisplay};

const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";
const FORMAT_NEW: &str = "FORMAT.new";
const ENGINE: &str = "engine";
const MAGIC: &str = "triune-storage";
/// The format that this program writes and reads.
const VERSION: u32 = 1;

/// A folder that this process holds.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Random, drawn when the folder was made.
    pub(crate) store_id: u128,
    /// Whether the engine has yet to be made.
    pub(crate) fresh: bool,
    _lock: File,
}

impl Folder {
    /// Takes the folder, makes it if there is none. `store_id` is for a new one.
    pub(crate) fn claim(path: &Path, store_id: u128) -> Result<Folder, OpenError> {
        let at = |action: &str| {
            let action = action.to_owned();
            move |error| OpenError::Io { folder: display(path), action, error }
        };
        make_private(path).map_err(at("create it with mode 0700"))?;
        refuse_foreign(path)?;
        let lock = lock(path)?;
        // Looked at again under the lock: another process may have made it in between.
        refuse_foreign(path)?;
        let found = read_format(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(at("set mode 0700"))?;
        let (store_id, fresh) = match found {
            Some(Format { store_id, ready }) => (store_id, !ready),
            None => (store_id, true),
        };
        let folder = Folder { path: path.to_owned(), store_id, fresh, _lock: lock };
        if fresh {
            folder.write_format(false).map_err(at("write FORMAT"))?;
            match fs::remove_dir_all(folder.engine()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at("remove the unfinished engine folder")(error));
                }
                _ => {}
            }
            DirBuilder::new().mode(0o700).create(folder.engine()).map_err(at("create the engine folder"))?;
        }
        Ok(folder)
    }

    /// The folder of the engine.
    pub(crate) fn engine(&self) -> PathBuf {
        self.path.join(ENGINE)
    }

    /// Its FORMAT file.
    pub(crate) fn format(&self) -> PathBuf {
        self.path.join(FORMAT)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The engine is there, with its first commit.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.write_format(true)
    }

    fn write_format(&self, ready: bool) -> io::Result<()> {
        let new = self.path.join(FORMAT_NEW);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(Format { store_id: self.store_id, ready }.encode().as_bytes())?;
        if ready {
            file.sync_all()?;
        }
        fs::rename(&new, self.format())?;
        // `creating` may be lost: then there is nothing in the folder, or a FORMAT without text.
        if ready { File::open(&self.path)?.sync_all() } else { Ok(()) }
    }
}

fn display(path: &Path) -> PathDisplay {
    PathDisplay(path.to_owned())
}

fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Anything in a folder without FORMAT, except a lock or a format that was being written, is somebody else's.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let at = |error| OpenError::Io { folder: display(path), action: "list it".to_owned(), error };
    if path.join(FORMAT).try_exists().map_err(at)? {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(at)? {
        let name = entry.map_err(at)?.file_name();
        if name != LOCK && name != FORMAT_NEW {
            let found = name.to_string_lossy().into_owned();
            return Err(OpenError::Foreign { folder: display(path), found });
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let at = |error| OpenError::Io { folder: display(path), action: "lock it".to_owned(), error };
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path.join(LOCK)).map_err(at)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(at)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            let known =
                file.rewind().and_then(|()| file.take(20).read_to_string(&mut process)).is_ok_and(|length| length > 0);
            let holder = if known { format!(" (process {process})") } else { String::new() };
            Err(OpenError::Locked { folder: display(path), holder })
        }
        Err(TryLockError::Error(error)) => Err(at(error)),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Format {
    store_id: u128,
    ready: bool,
}

impl Format {
    fn encode(&self) -> String {
        let state = if self.ready { "ready" } else { "creating" };
        let text = format!("{MAGIC} {VERSION}\nid {:032x}\nstate {state}\n", self.store_id);
        let sum = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
        format!("{text}sum {sum:016x}\n")
    }

    /// None if it is damaged.
    fn decode(text: &str) -> Option<Format> {
        let mut lines = text.lines();
        lines.next()?;
        let store_id = u128::from_str_radix(lines.next()?.strip_prefix("id ")?, 16).ok()?;
        let format = Format { store_id, ready: lines.next()? == "state ready" };
        (format.encode() == text).then_some(format)
    }
}

fn read_format(path: &Path) -> Result<Option<Format>, OpenError> {
    let text = match fs::read(path.join(FORMAT)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::Io { folder: display(path), action: "read FORMAT".to_owned(), error }),
    };
    if text.is_empty() {
        // `ready` is durable before it is FORMAT: this was `creating`, and its text was lost.
        return Ok(None);
    }
    let corrupt = || OpenError::Corrupt { folder: display(path), detail: "FORMAT is unreadable".to_owned() };
    let version = text.lines().next().and_then(|line| line.strip_prefix(MAGIC)).ok_or_else(corrupt)?.trim();
    if version != VERSION.to_string() {
        let found = version.chars().take(32).collect();
        return Err(OpenError::Version { folder: display(path), found, supported: VERSION });
    }
    Format::decode(&text).map(Some).ok_or_else(corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_read_as_written_and_damage_is_seen() {
        for ready in [true, false] {
            let format = Format { store_id: 0x1234 << 90, ready };
            assert_eq!(Format::decode(&format.encode()), Some(format));
        }
        let text = Format { store_id: 77, ready: true }.encode();
        for position in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[position] ^= 1;
            assert_eq!(Format::decode(&String::from_utf8(damaged).unwrap()), None, "byte {position}");
        }
    }

    /// Makes these files in a folder, claims it, and looks at the outcome.
    fn check(files: &[(&str, &str)], expect: &str) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let list = || -> Vec<_> {
            let mut names: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = list();
        match Folder::claim(folder.path(), 5) {
            Ok(claimed) => assert_eq!(expect, if claimed.fresh { "fresh" } else { "ready" }),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(expect), "{text}");
                assert!(text.contains(&folder.path().display().to_string()), "{text}");
                assert!(matches!(error, OpenError::Corrupt { .. } | OpenError::Version { .. }) || list() == before);
            }
        }
    }

    #[test]
    fn only_our_folders_are_taken() {
        let ready = Format { store_id: 7, ready: true }.encode();
        let creating = Format { store_id: 7, ready: false }.encode();
        check(&[], "fresh");
        check(&[("LOCK", "12"), ("FORMAT.new", "tri")], "fresh");
        check(&[("FORMAT", &creating), ("engine.txt", "")], "fresh");
        check(&[("FORMAT", ""), ("engine.txt", "")], "fresh");
        check(&[("FORMAT", &ready)], "ready");
        check(&[("notes.txt", "hello")], "is not a Triune data folder and is not empty (found \"notes.txt\")");
        check(&[("engine", "")], "is not a Triune data folder");
        check(&[("FORMAT", "hello")], "is damaged: FORMAT is unreadable");
        check(&[("FORMAT", &ready.replace("id", "ix"))], "is damaged");
        check(&[("FORMAT", "triune-storage 2\n")], "has format 2, this program reads format 1");
    }

    #[test]
    fn one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Folder::claim(folder.path(), 5).unwrap();
        let second = Folder::claim(folder.path(), 6).unwrap_err().to_string();
        assert!(second.contains("is in use by another process (process "), "{second}");
        drop(first);
        Folder::claim(folder.path(), 6).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
