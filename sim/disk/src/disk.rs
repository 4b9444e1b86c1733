//! The disk of one node: an in-memory file system of one folder.
//!
//! A [`Disk`] outlives its node. The node's process works through a mount, a [`FileSystem`], which ends with the process:
//! at a power cut ([`Disk::crash`]), which loses what was not synced, or when only the process is killed
//! ([`Disk::kill`]), which loses nothing, since the operating system goes on. Past its end every operation of a mount
//! fails, so that a task that outlives its node does no harm. Reads and writes take no time, an fsync does.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use triune_env::{Clock, Entropy, Env};

use crate::{
    dice,
    faults::Faults,
    file::{File, SECTOR_BYTES},
    folder::Folder,
    incident::Incident,
};

/// Incidents kept for [`Disk::take_incidents`]; beyond it the oldest are forgotten.
const INCIDENTS_MAX: usize = 10_000;
/// The folder in incidents.
const FOLDER: &str = ".";

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// It did not fit: free some space, or give up.
    #[error("no space left on the disk")]
    Full,
    /// The device failed. After an fsync that failed nothing is known of what it was to sync.
    #[error("input/output error: {0}")]
    Device(String),
    /// There is no file of this name.
    #[error("{0} does not exist")]
    NotFound(String),
    /// There is a file of this name.
    #[error("{0} exists")]
    Exists(String),
    /// Another user of the disk has not ended.
    #[error("the folder is in use")]
    Claimed,
    /// The process whose mount this was has ended.
    #[error("the process has ended")]
    Ended,
}

/// A disk. Clones are the same disk.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

struct State {
    entropy: Arc<dyn Entropy>,
    faults: Faults,
    folder: Folder<Arc<Mutex<File>>>,
    incidents: VecDeque<Incident>,
    /// Number of the present mounts; older ones have ended.
    era: u64,
    claim: Weak<()>,
    syncs: u64,
}

impl Disk {
    /// An empty disk that draws its choices from `entropy`.
    pub fn new(entropy: Arc<dyn Entropy>, faults: Faults) -> Disk {
        let state = State {
            entropy,
            faults,
            folder: Folder::default(),
            incidents: VecDeque::new(),
            era: 0,
            claim: Weak::new(),
            syncs: 0,
        };
        Disk { state: Arc::new(Mutex::new(state)) }
    }

    /// The faults of now.
    pub fn faults(&self) -> Faults {
        self.lock().faults.clone()
    }

    /// Changes the faults. Operations that have begun go on with those before.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// The disk as a process on a node sees it, until that ends.
    pub fn mount(&self, env: &Env) -> FileSystem {
        let era = self.lock().era;
        FileSystem { disk: self.clone(), clock: env.clock.clone(), era }
    }

    /// The process ends, the operating system goes on: all mounts end, what was written can be read.
    pub fn kill(&self) {
        let mut state = self.lock();
        state.era += 1;
        state.claim = Weak::new();
    }

    /// The power is cut: all mounts end, and each change that was not synced is kept, lost or torn. Returns what became
    /// of them; they are among the incidents, too.
    pub fn crash(&self, entropy: &dyn Entropy) -> Vec<Incident> {
        self.kill();
        let mut state = self.lock();
        let mut incidents = state.folder.crash(entropy);
        for (name, file) in state.folder.files() {
            incidents.extend(lock(&file).crash(entropy, &name));
        }
        incidents.iter().for_each(|incident| state.note(incident.clone()));
        incidents
    }

    /// Makes one stored bit of a file wrong, somewhere in the bytes from `start` up to `end`. Returns whether there is
    /// such a byte.
    pub fn rot(&self, name: &str, start: usize, end: usize, entropy: &dyn Entropy) -> bool {
        let mut state = self.lock();
        let Some(file) = state.folder.seen().get(name).cloned() else { return false };
        let mut file = lock(&file);
        let end = end.min(file.seen().len());
        if start >= end {
            return false;
        }
        let offset = start + dice::below(entropy, (end - start) as u64) as usize;
        file.rot(offset, dice::below(entropy, 8) as u32);
        state.note(Incident::Flip { file: name.to_owned(), offset, stored: true });
        true
    }

    /// Bytes of all files that have a name.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    /// Fsyncs of files and of the folder that have succeeded.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// What happened since the last call, at most the newest 10,000.
    pub fn take_incidents(&self) -> Vec<Incident> {
        self.lock().incidents.drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn note(&mut self, incident: Incident) {
        if self.incidents.len() == INCIDENTS_MAX {
            self.incidents.pop_front();
        }
        self.incidents.push_back(incident);
    }

    fn used_bytes(&self) -> u64 {
        self.folder.seen().values().map(|file| lock(file).seen().len() as u64).sum()
    }

    /// How long an fsync takes, and whether it fails in the end.
    fn draw_sync(&mut self, name: &str) -> (Duration, bool) {
        let (entropy, faults) = (&*self.entropy, &self.faults);
        let slow = dice::happens(entropy, faults.slow_sync_per_mille);
        let took = dice::time(entropy, if slow { &faults.slow_sync_time } else { &faults.sync_time });
        let fails = dice::happens(entropy, faults.sync_failure_per_mille);
        if slow {
            self.note(Incident::SlowSync { file: name.to_owned(), took });
        }
        (took, fails)
    }
}

/// A disk as one process sees it. Clones are the same mount.
#[derive(Clone)]
pub struct FileSystem {
    disk: Disk,
    clock: Arc<dyn Clock>,
    era: u64,
}

/// The right to be the only user of a folder. Ends when it is dropped, or with the process.
pub struct Claim {
    _held: Arc<()>,
}

impl FileSystem {
    fn lock(&self) -> Result<MutexGuard<'_, State>, DiskError> {
        let state = self.disk.lock();
        if state.era == self.era { Ok(state) } else { Err(DiskError::Ended) }
    }

    /// Takes the folder for itself.
    pub fn claim(&self) -> Result<Claim, DiskError> {
        let mut state = self.lock()?;
        if state.claim.strong_count() > 0 {
            return Err(DiskError::Claimed);
        }
        let held = Arc::new(());
        state.claim = Arc::downgrade(&held);
        Ok(Claim { _held: held })
    }

    /// All names, in order.
    pub fn names(&self) -> Result<Vec<String>, DiskError> {
        Ok(self.lock()?.folder.seen().keys().cloned().collect())
    }

    /// Makes an empty file. Its name is durable after [`FileSystem::sync_folder`].
    pub fn create(&self, name: &str) -> Result<FileHandle, DiskError> {
        let mut state = self.lock()?;
        if state.folder.seen().contains_key(name) {
            return Err(DiskError::Exists(name.to_owned()));
        }
        let file = Arc::new(Mutex::new(File::default()));
        state.folder.create(name, file.clone());
        Ok(FileHandle { system: self.clone(), name: name.into(), file })
    }

    /// Opens a file. It can be read and written for as long as there is a handle, even after it was removed or replaced;
    /// its space counts as free from then on.
    pub fn open(&self, name: &str) -> Result<FileHandle, DiskError> {
        let state = self.lock()?;
        let file = state.folder.seen().get(name).cloned().ok_or_else(|| DiskError::NotFound(name.to_owned()))?;
        Ok(FileHandle { system: self.clone(), name: name.into(), file })
    }

    /// Gives a file another name, in one step, instead of the file that has it. Durable after
    /// [`FileSystem::sync_folder`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let there = self.lock()?.folder.rename(from, to);
        if there { Ok(()) } else { Err(DiskError::NotFound(from.to_owned())) }
    }

    /// Removes a file. Durable after [`FileSystem::sync_folder`].
    pub fn remove(&self, name: &str) -> Result<(), DiskError> {
        let there = self.lock()?.folder.remove(name);
        if there { Ok(()) } else { Err(DiskError::NotFound(name.to_owned())) }
    }

    /// Makes the names of now durable. After a failure they may be, and the next call makes up for it.
    pub fn sync_folder(&self) -> impl Future<Output = Result<(), DiskError>> + Send + 'static {
        let system = self.clone();
        async move {
            let (mark, took, fails) = {
                let mut state = system.lock()?;
                let (took, fails) = state.draw_sync(FOLDER);
                (state.folder.mark(), took, fails)
            };
            system.wait(took).await;
            let mut state = system.lock()?;
            if fails {
                state.note(Incident::FailedSync { file: FOLDER.to_owned() });
                return Err(DiskError::Device("fsync of the folder failed".to_owned()));
            }
            state.folder.synced(mark);
            state.syncs += 1;
            Ok(())
        }
    }

    async fn wait(&self, time: Duration) {
        if !time.is_zero() {
            self.clock.sleep_until(self.clock.now() + time).await;
        }
    }
}

/// An open file. Clones are the same file.
#[derive(Clone)]
pub struct FileHandle {
    system: FileSystem,
    /// As it was opened: for incidents.
    name: Arc<str>,
    file: Arc<Mutex<File>>,
}

impl FileHandle {
    /// Length in bytes, of what can be read.
    pub fn length(&self) -> Result<usize, DiskError> {
        let _state = self.system.lock()?;
        Ok(lock(&self.file).seen().len())
    }

    /// Writes, and makes the file longer where needed. It can be read at once and is durable after
    /// [`FileHandle::sync`]. When it does not fit, some of it may have been written.
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.system.lock()?;
        let length = lock(&self.file).seen().len();
        let growth = (offset + bytes.len()).saturating_sub(length) as u64;
        let free = state.faults.capacity_bytes.saturating_sub(state.used_bytes());
        if growth <= free {
            lock(&self.file).write(offset, bytes);
            return Ok(());
        }
        let fits = usize::try_from(free).unwrap_or(usize::MAX).min(bytes.len());
        let written = SECTOR_BYTES * dice::below(&*state.entropy, (fits / SECTOR_BYTES) as u64 + 1) as usize;
        if written > 0 {
            lock(&self.file).write(offset, &bytes[..written]);
        }
        state.note(Incident::Full { file: self.name.to_string(), bytes: bytes.len(), written });
        Err(DiskError::Full)
    }

    /// Makes the file no longer than `length`. Durable after [`FileHandle::sync`].
    pub fn cut(&self, length: usize) -> Result<(), DiskError> {
        let _state = self.system.lock()?;
        lock(&self.file).cut(length);
        Ok(())
    }

    /// Reads exactly `length` bytes.
    pub fn read_at(&self, offset: usize, length: usize) -> Result<Vec<u8>, DiskError> {
        let mut state = self.system.lock()?;
        let mut bytes = match lock(&self.file).seen().get(offset..offset.saturating_add(length)) {
            Some(bytes) => bytes.to_vec(),
            None => return Err(DiskError::Device(format!("read past the end of {}", self.name))),
        };
        if dice::happens(&*state.entropy, state.faults.read_failure_per_mille) {
            state.note(Incident::FailedRead { file: self.name.to_string(), offset });
            return Err(DiskError::Device(format!("read at {offset} of {} failed", self.name)));
        }
        if length > 0 && dice::happens(&*state.entropy, state.faults.flip_per_mille) {
            let at = dice::below(&*state.entropy, length as u64) as usize;
            bytes[at] ^= 1 << dice::below(&*state.entropy, 8);
            state.note(Incident::Flip { file: self.name.to_string(), offset: offset + at, stored: false });
        }
        Ok(bytes)
    }

    /// Makes what was written before the call durable. When it fails, some of that may be durable, and no later call
    /// makes up for it. A future that is dropped before its end has done nothing.
    pub fn sync(&self) -> impl Future<Output = Result<(), DiskError>> + Send + 'static {
        let handle = self.clone();
        async move {
            let (mark, took, fails) = {
                let mut state = handle.system.lock()?;
                let (took, fails) = state.draw_sync(&handle.name);
                (lock(&handle.file).mark(), took, fails)
            };
            handle.system.wait(took).await;
            let mut state = handle.system.lock()?;
            if fails {
                let entropy = state.entropy.clone();
                let incidents = lock(&handle.file).sync_failed(mark, &*entropy, &handle.name);
                state.note(Incident::FailedSync { file: handle.name.to_string() });
                incidents.into_iter().for_each(|incident| state.note(incident));
                return Err(DiskError::Device(format!("fsync of {} failed", handle.name)));
            }
            lock(&handle.file).synced(mark);
            state.syncs += 1;
            Ok(())
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::tests::{Seeded, run_paused};

    fn disk(faults: Faults) -> Disk {
        Disk::new(Arc::new(Seeded::new(1)), faults)
    }

    #[test]
    fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
        run_paused(async |env| {
            let disk = disk(Faults { capacity_bytes: 2_000, ..Faults::default() });
            let system = disk.mount(&env);
            let file = system.create("a").unwrap();
            assert_eq!(file.write_at(0, &[1; 2_000]), Ok(()));
            assert_eq!(file.write_at(100, &[2; 1_900]), Ok(()), "nothing grows");
            assert_eq!(file.write_at(2_000, &[1]), Err(DiskError::Full));
            file.cut(1_000).unwrap();
            let second = system.create("b").unwrap();
            assert_eq!(second.write_at(0, &[1; 1_001]), Err(DiskError::Full));
            let part = second.length().unwrap();
            assert!(part.is_multiple_of(SECTOR_BYTES) && part <= 1_000, "{part} bytes were written");
            system.remove("b").unwrap();
            assert_eq!(file.write_at(1_000, &[1; 1_000]), Ok(()));
            assert_eq!(disk.used_bytes(), 2_000);
            let full = disk.take_incidents();
            assert!(matches!(full[..], [Incident::Full { .. }, Incident::Full { bytes: 1_001, .. }]), "{full:?}");
        });
    }

    #[test]
    fn a_mount_ends_with_its_process() {
        run_paused(async |env| {
            let disk = disk(Faults::default());
            let system = disk.mount(&env);
            let claim = system.claim().unwrap();
            assert_eq!(disk.mount(&env).claim().err(), Some(DiskError::Claimed));
            let file = system.create("a").unwrap();
            file.write_at(0, b"x").unwrap();
            let sync = file.sync();
            disk.kill();
            assert_eq!(sync.await, Err(DiskError::Ended));
            assert_eq!(file.write_at(0, b"y"), Err(DiskError::Ended));
            assert_eq!(file.read_at(0, 1), Err(DiskError::Ended));
            assert_eq!(system.names(), Err(DiskError::Ended));
            let again = disk.mount(&env);
            assert!(again.claim().is_ok());
            assert_eq!(again.open("a").unwrap().read_at(0, 1).unwrap(), b"x", "the operating system went on");
            drop(claim);
        });
    }

    #[test]
    fn an_fsync_takes_its_time_and_one_that_was_dropped_did_nothing() {
        run_paused(async |env| {
            let time = Duration::from_millis(700);
            let disk = disk(Faults { sync_time: time..=time, ..Faults::default() });
            let system = disk.mount(&env);
            let file = system.create("a").unwrap();
            file.write_at(0, b"x").unwrap();
            assert!(file.sync().now_or_never().is_none());
            assert_eq!(disk.syncs(), 0);
            let before = env.clock.now();
            file.sync().await.unwrap();
            system.sync_folder().await.unwrap();
            assert_eq!(env.clock.now() - before, 2 * time);
            assert_eq!(disk.syncs(), 2);
            assert_eq!(disk.crash(&Seeded::new(2)), []);
            assert_eq!(disk.mount(&env).open("a").unwrap().read_at(0, 1).unwrap(), b"x");
        });
    }

    #[test]
    fn reads_fail_and_bits_flip_as_often_as_asked() {
        run_paused(async |env| {
            let disk = disk(Faults::default());
            let file = disk.mount(&env).create("a").unwrap();
            file.write_at(0, &[0; 100]).unwrap();
            let reads = |faults: Faults| {
                disk.set_faults(faults);
                let reads: Vec<_> = (0..1_000).map(|_| file.read_at(0, 100)).collect();
                let ones = |bytes: &Vec<u8>| bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
                let failed = reads.iter().filter(|read| read.is_err()).count();
                let flipped = reads.iter().flatten().filter(|bytes| ones(bytes) == 1).count();
                assert_eq!(failed + flipped + reads.iter().flatten().filter(|bytes| ones(bytes) == 0).count(), 1_000);
                (failed, flipped)
            };
            assert_eq!(reads(Faults::default()), (0, 0));
            let (failed, _) = reads(Faults { read_failure_per_mille: 100, ..Faults::default() });
            let (_, flipped) = reads(Faults { flip_per_mille: 100, ..Faults::default() });
            assert!((50..150).contains(&failed) && (50..150).contains(&flipped), "{failed} {flipped}");
            disk.set_faults(Faults::default());
            assert!(disk.rot("a", 10, 20, &Seeded::new(3)));
            let wrong = file.read_at(0, 100).unwrap().iter().position(|byte| *byte != 0);
            assert!(wrong.is_some_and(|at| (10..20).contains(&at)), "{wrong:?}");
            assert!(!disk.rot("a", 100, 200, &Seeded::new(3)));
        });
    }
}
