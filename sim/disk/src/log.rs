//! The embedded store on a [`Disk`]: an append-only log, and the rows' places in memory.
//!
//! - A group of commits is one record, one write and one fsync; it is answered after the fsync.
//! - The first operation on the log that fails is the last one: nothing is acknowledged any more.
//! - Compaction writes the rows to a new file, syncs it, gives it the log's name, and syncs the folder, in this order; only
//!   then is something written to it. Until the new file is complete a failure costs nothing, and it is tried again later.
//! - What recovery shows is durable first. A process that was killed may have left a last record that no fsync has made
//!   durable, or one whose fsync failed, so that only writing it again does.
//!
//! Held by `tests`: random transactions, power cuts, kills, slow and failed fsyncs, full disks; each planted [`Flaw`] is
//! found by them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use triune_env::{
    BoxFuture, Env,
    storage::{Revision, Storage, StorageError},
};
use triune_storage::{AsyncEngine, Batch, FIRST_REVISION, open_with};

use crate::{
    disk::{Claim, Disk, DiskError, FileHandle, FileSystem},
    record::{self, LogHeader},
    recovery::{self, Damage, Recovered},
    rows::{Rows, storage_error},
};

const LOG: &str = "log";
const NEW_LOG: &str = "log.new";
/// Rows of a snapshot are written in records of about this size.
const SNAPSHOT_RECORD_BYTES: usize = 256 << 10;

/// The knobs of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// A log is compacted when it is longer than this, and twice as long as its rows need.
    pub compact_bytes_min: usize,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { compact_bytes_min: 4 << 20 }
    }
}

/// Why a store could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is damaged. Nothing was changed.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// The disk failed, or is full: try again.
    #[error("the disk cannot be used: {0}")]
    Disk(DiskError),
}

/// Is shown what becomes durable, before anybody can read it.
pub trait Observer: Send + Sync {
    /// A group of commits has become durable; `revision` is its last. The rows, None for removed, are in key order.
    fn committed(&self, revision: Revision, rows: &BTreeMap<Bytes, Option<Bytes>>);

    /// The store was opened, and holds all up to `revision`. `last` is the group of that revision, which was shown before
    /// unless the process ended between its write and its fsync; empty if the log was compacted since.
    fn recovered(&self, revision: Revision, last: &BTreeMap<Bytes, Option<Bytes>>);
}

/// Opens the store of a disk, or makes it if the disk has none. The storage stops when its process does: at
/// [`Disk::crash`] and [`Disk::kill`]. Only one can be open; the former lets go when its last commits are done.
pub async fn open(env: &Env, disk: &Disk, options: LogOptions) -> Result<Arc<dyn Storage>, OpenError> {
    open_flawed(env, disk, options, Flaw::Nothing).await
}

/// The same, with an observer that sees every commit of the disk exactly once if it compares revisions at recovery.
pub async fn open_observed(
    env: &Env,
    disk: &Disk,
    options: LogOptions,
    observer: Arc<dyn Observer>,
) -> Result<Arc<dyn Storage>, OpenError> {
    open_with_observer(env, disk, options, Flaw::Nothing, Some(observer)).await
}

pub(crate) async fn open_flawed(
    env: &Env,
    disk: &Disk,
    options: LogOptions,
    flaw: Flaw,
) -> Result<Arc<dyn Storage>, OpenError> {
    open_with_observer(env, disk, options, flaw, None).await
}

async fn open_with_observer(
    env: &Env,
    disk: &Disk,
    options: LogOptions,
    flaw: Flaw,
    observer: Option<Arc<dyn Observer>>,
) -> Result<Arc<dyn Storage>, OpenError> {
    let engine = LogEngine::open(env, disk, options, flaw, observer).await?;
    let revision = engine.revision;
    Ok(open_with(env.clone(), engine, revision))
}

/// Planted faults, each of which the tests must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "only tests plant faults"))]
pub(crate) enum Flaw {
    /// None.
    Nothing,
    /// Commits are not synced.
    NoSync,
    /// Commits are synced after they are answered.
    AnswerBeforeSync,
    /// A failed fsync is done again, and its success believed.
    SyncAgain,
    /// What was read is not compared with its checksum.
    NoChecksums,
    /// The folder is not synced after a compacted log got its name.
    NoFolderSync,
    /// A compacted log gets its name before it is synced.
    NameBeforeSync,
    /// Recovery shows what may not be durable.
    NoSyncAtRecovery,
    /// Recovery syncs the last record, but does not write it again.
    NoRewriteAtRecovery,
    /// Recovery writes the last record again without a look at all of the bytes that it writes.
    RewritesUnchecked,
    /// Recovery leaves the torn end where it is, and the next record is written behind it.
    NoCut,
    /// Recovery cuts off whatever follows a broken record.
    NoLookBehind,
    /// A failed fsync is taken for a success.
    IgnoresFailedSync,
}

struct LogEngine {
    env: Env,
    system: FileSystem,
    options: LogOptions,
    flaw: Flaw,
    log: Log,
    rows: Rows,
    revision: Revision,
    /// The length from which on the log is compacted.
    compact_at: usize,
    observer: Option<Arc<dyn Observer>>,
    _claim: Claim,
}

/// The file that is written to.
struct Log {
    file: FileHandle,
    salt: u64,
    records: u64,
    /// Where the next record goes.
    end: usize,
}

impl LogEngine {
    async fn open(
        env: &Env,
        disk: &Disk,
        options: LogOptions,
        flaw: Flaw,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<LogEngine, OpenError> {
        let system = disk.mount(env);
        let claim = system.claim().map_err(OpenError::Disk)?;
        let names = system.names().map_err(OpenError::Disk)?;
        let (log, rows, revision, last) = if names.iter().any(|name| name == LOG) {
            recover(&system, flaw).await?
        } else {
            let made = make_log(&system, env.entropy.u64(), &Rows::new(flaw), FIRST_REVISION);
            let (log, rows) = made.map_err(open_error)?;
            switch(&system, &log.file, Flaw::Nothing).await.map_err(OpenError::Disk)?;
            (log, rows, FIRST_REVISION, BTreeMap::new())
        };
        if let Some(observer) = &observer {
            observer.recovered(revision, &last);
        }
        let compact_at = options.compact_bytes_min.max(2 * rows.bytes);
        let env = env.clone();
        Ok(LogEngine { env, system, options, flaw, log, rows, revision, compact_at, observer, _claim: claim })
    }

    async fn append(&mut self, batch: &Batch) -> Result<(), DiskError> {
        let (record, placed) = record::encode(self.log.salt, self.log.records, batch);
        self.log.file.write_at(self.log.end, &record)?;
        self.sync_commit().await?;
        if let Some(observer) = &self.observer {
            observer.committed(batch.revision, &batch.rows);
        }
        let body = self.log.end + record::RECORD_HEADER_BYTES;
        self.rows.apply(&self.log.file, body, placed);
        self.log.end += record.len();
        self.log.records += 1;
        self.revision = batch.revision;
        Ok(())
    }

    async fn sync_commit(&self) -> Result<(), DiskError> {
        if matches!(self.flaw, Flaw::NoSync | Flaw::AnswerBeforeSync) {
            return Ok(());
        }
        match self.log.file.sync().await {
            Err(DiskError::Device(_)) if self.flaw == Flaw::SyncAgain => self.log.file.sync().await,
            Err(DiskError::Device(_)) if self.flaw == Flaw::IgnoresFailedSync => Ok(()),
            synced => synced,
        }
    }

    /// Replaces the log by one without what is no longer needed.
    async fn compact(&mut self) -> Result<(), DiskError> {
        let (log, rows) = match make_log(&self.system, self.env.entropy.u64(), &self.rows, self.revision) {
            Ok(made) => made,
            Err(MakeError::Disk(DiskError::Ended)) => return Err(DiskError::Ended),
            Err(_) => {
                // The log is as it was. Later there may be room, or the rows can be read.
                self.compact_at = 2 * self.log.end;
                return discard_new_log(&self.system);
            }
        };
        switch(&self.system, &log.file, self.flaw).await?;
        self.compact_at = self.options.compact_bytes_min.max(2 * log.end);
        (self.log, self.rows) = (log, rows);
        Ok(())
    }
}

impl AsyncEngine for LogEngine {
    type View = Rows;

    fn apply<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async { self.append(batch).await.map_err(storage_error) })
    }

    fn tidy(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async {
            if self.flaw == Flaw::AnswerBeforeSync {
                self.log.file.sync().await.map_err(storage_error)?;
            }
            if self.log.end > self.compact_at {
                self.compact().await.map_err(storage_error)?;
            }
            Ok(())
        })
    }

    fn view(&self) -> Rows {
        self.rows.clone()
    }
}

type BatchRows = BTreeMap<Bytes, Option<Bytes>>;

/// Reads the log, and makes what it shows durable. The rows of the last record come with it.
async fn recover(system: &FileSystem, flaw: Flaw) -> Result<(Log, Rows, Revision, BatchRows), OpenError> {
    let file = system.open(LOG).map_err(OpenError::Disk)?;
    let recovered = recovery::read(&file, flaw).map_err(|damage| match damage {
        Damage::Corrupt(detail) => OpenError::Corrupt(detail),
        Damage::Disk(error) => OpenError::Disk(error),
    })?;
    let durable = settle(system, &file, &recovered, flaw).await;
    let end = durable.map_err(OpenError::Disk)?;
    let Recovered { header, rows, revision, records, last, .. } = recovered;
    let last = last.map(|(_, record)| record::decode_rows(&record)).unwrap_or_default();
    Ok((Log { file, salt: header.salt, records, end }, rows, revision, last))
}

/// Makes what was recovered durable, and cuts off the rest. Gives the place of the next record.
async fn settle(system: &FileSystem, file: &FileHandle, recovered: &Recovered, flaw: Flaw) -> Result<usize, DiskError> {
    discard_new_log(system)?;
    if flaw == Flaw::NoSyncAtRecovery {
        return Ok(recovered.end);
    }
    if let Some((offset, bytes)) = &recovered.last
        && flaw != Flaw::NoRewriteAtRecovery
    {
        file.write_at(*offset, bytes)?;
    }
    if flaw != Flaw::NoCut {
        file.cut(recovered.end)?;
    }
    file.sync().await?;
    system.sync_folder().await?;
    if flaw == Flaw::NoCut { file.length() } else { Ok(recovered.end) }
}

fn discard_new_log(system: &FileSystem) -> Result<(), DiskError> {
    match system.remove(NEW_LOG) {
        Ok(()) | Err(DiskError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

enum MakeError {
    Disk(DiskError),
    /// A row cannot be read.
    Row(StorageError),
}

fn open_error(error: MakeError) -> OpenError {
    match error {
        MakeError::Disk(error) => OpenError::Disk(error),
        MakeError::Row(error) => OpenError::Corrupt(error.to_string()),
    }
}

/// Writes a new log of these rows, without its name.
fn make_log(system: &FileSystem, salt: u64, rows: &Rows, revision: Revision) -> Result<(Log, Rows), MakeError> {
    let batches = snapshot(rows, revision).map_err(MakeError::Row)?;
    let write = || {
        discard_new_log(system)?;
        let file = system.create(NEW_LOG)?;
        let header = LogHeader { salt, snapshot_records: batches.len() as u32 }.encode();
        file.write_at(0, &header)?;
        let mut log = Log { file, salt, records: 0, end: header.len() };
        let mut placed_rows = rows.emptied();
        for batch in &batches {
            let (record, placed) = record::encode(salt, log.records, batch);
            log.file.write_at(log.end, &record)?;
            placed_rows.apply(&log.file, log.end + record::RECORD_HEADER_BYTES, placed);
            log.end += record.len();
            log.records += 1;
        }
        Ok((log, placed_rows))
    };
    write().map_err(MakeError::Disk)
}

/// All rows as batches, at least one: it carries the revision.
fn snapshot(rows: &Rows, revision: Revision) -> Result<Vec<Batch>, StorageError> {
    let empty = || Batch { revision, ..Batch::default() };
    let (mut batches, mut batch, mut bytes) = (Vec::new(), empty(), 0);
    for row in rows.read_all() {
        let row = row?;
        bytes += row.key.len() + row.value.len();
        batch.rows.insert(row.key, Some(row.value));
        if bytes >= SNAPSHOT_RECORD_BYTES {
            batches.push(std::mem::replace(&mut batch, empty()));
            bytes = 0;
        }
    }
    if batches.is_empty() || !batch.rows.is_empty() {
        batches.push(batch);
    }
    Ok(batches)
}

/// Makes the new log the log. After an error either of them may be.
async fn switch(system: &FileSystem, new: &FileHandle, flaw: Flaw) -> Result<(), DiskError> {
    if flaw == Flaw::NameBeforeSync {
        system.rename(NEW_LOG, LOG)?;
        system.sync_folder().await?;
        return new.sync().await;
    }
    new.sync().await?;
    system.rename(NEW_LOG, LOG)?;
    if flaw == Flaw::NoFolderSync {
        return Ok(());
    }
    system.sync_folder().await
}
