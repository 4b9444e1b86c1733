//! Makes the engine's files for a new folder with few waits for the disk.
//!
//! The engine makes its files with some thirty fsyncs, one after another: 150 ms on a disk that needs 5 ms for each, and
//! a first start should take less than that in all. So it makes them in memory (`/dev/shm`), they are copied, and all are
//! synced at once, which the file system does in one or two commits of its journal. Where there is no such place, the
//! engine makes its files in the folder itself: slower, and as good.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const MEMORY: &str = "/dev/shm";

/// Fills the empty folder `engine` with the files that `make` makes in a folder, and syncs them together with `more`.
/// False: the folder is still empty. `name` is that of the place in memory, and nobody else's.
pub(crate) fn lay_out(
    engine: &Path,
    name: &str,
    more: &[PathBuf],
    make: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<bool> {
    let scratch = Scratch(Path::new(MEMORY).join(name));
    // Left by a process that was killed here.
    let _ = fs::remove_dir_all(&scratch.0);
    if DirBuilder::new().mode(0o700).create(&scratch.0).is_err() || make(&scratch.0).is_err() {
        return Ok(false);
    }
    let mut made = vec![engine.to_owned()];
    copy(&scratch.0, engine, &mut made)?;
    made.extend_from_slice(more);
    sync_all(&made)?;
    Ok(true)
}

/// Removed when it is no longer needed.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies a tree. A new journal is a hole of 64 MiB: an empty file says the same.
fn copy(from: &Path, to: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            DirBuilder::new().mode(0o700).create(&target)?;
            copy(&source, &target, made)?;
        } else {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target)?;
            if target.extension().is_none_or(|extension| extension != "jnl") {
                io::copy(&mut File::open(&source)?, &mut file)?;
            }
        }
        made.push(target);
    }
    Ok(())
}

fn sync_all(paths: &[PathBuf]) -> io::Result<()> {
    std::thread::scope(|scope| {
        let sync = |path: &PathBuf| {
            let path = path.clone();
            std::thread::Builder::new().spawn_scoped(scope, move || File::open(path)?.sync_all())
        };
        let threads: Vec<_> = paths.iter().map(sync).collect::<io::Result<_>>()?;
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread that synced a file has ended")))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(
                    tree(&path)
                        .into_iter()
                        .map(|(inner, bytes)| (Path::new(path.file_name().unwrap()).join(inner), bytes)),
                );
            } else {
                found.push((path.file_name().unwrap().into(), fs::read(&path).ok()));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn files_are_copied_and_journals_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let make = |at: &Path| {
            fs::create_dir(at.join("sub"))?;
            fs::write(at.join("sub/file"), "x")?;
            fs::write(at.join("0.jnl"), [0; 100])
        };
        let name = format!("triune-test-{}", std::process::id());
        if lay_out(folder.path(), &name, &[], make).unwrap() {
            let expect = [("0.jnl", ""), ("sub/file", "x")].map(|(path, text)| (path.into(), Some(text.into())));
            assert_eq!(tree(folder.path()), expect);
        }
        assert!(!Path::new(MEMORY).join(name).exists());
    }

    #[test]
    fn where_nothing_could_be_made_the_folder_stays_empty() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("triune-test-failing-{}", std::process::id());
        assert!(!lay_out(folder.path(), &name, &[], |_| Err(io::Error::other("no"))).unwrap());
        assert!(tree(folder.path()).is_empty());
    }
}
