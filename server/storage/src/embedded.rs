//! Rows in fjall (a log-structured merge tree) in one folder, durable at each group of commits.
//!
//! One thread writes: a group is one engine batch with one fsync, and becomes visible to snapshots only after it. Every
//! batch writes the revision of its last commit in a row of its own, so that the counter is restored with the data and
//! never goes back.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use triune_env::{
    Env,
    storage::{KeyRange, Revision, Row, StorageError},
};

use crate::{
    client::Client,
    engine::{Batch, Engine, View},
    error::{OpenError, PathDisplay},
    folder::Folder,
    journal::{self, Damage, marker_key},
    layout::lay_out,
    memory::FIRST_REVISION,
    queue::CommitQueue,
    shared::Shared,
};

/// Rows in memory before they are written to a table. Two of these and the cache are most of the memory of the store.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// Blocks of tables kept in memory.
const CACHE_BYTES: u64 = 8 << 20;
/// The engine's smallest bound for journals that wait for their rows to be in tables.
const JOURNAL_BYTES: u64 = 64 << 20;
/// One thread flushes and compacts. With two, the first passes on work for the second in a busy loop while that one
/// compacts; a compaction is short against the time in which four memtables fill.
const WORKER_THREADS: usize = 1;
const KEYSPACE: &str = "rows";

/// Opens the folder, makes it if there is none.
pub(crate) fn open(env: Env, path: &Path) -> Result<Client<EmbeddedView>, OpenError> {
    let folder = Folder::claim(path, env.entropy.u128())?;
    let corrupt = |detail: String| OpenError::Corrupt { folder: PathDisplay(path.to_owned()), detail };
    let io =
        |action: &str, error| OpenError::Io { folder: PathDisplay(path.to_owned()), action: action.to_owned(), error };
    let marker = marker_key(folder.store_id);
    if !folder.fresh
        && let Some(torn) = journal::verify(&folder.engine(), &marker).map_err(|damage| match damage {
            Damage::Corrupt(detail) => corrupt(detail),
            Damage::Io(file, error) => io(&format!("read {}", file.display()), error),
        })?
    {
        tracing::info!(journal = %torn.journal.display(), at = torn.at, "cutting off a commit that was interrupted");
        journal::cut(&torn).map_err(|error| io("cut off an interrupted commit", error))?;
    }
    // The engine's own reading of damaged files may panic.
    let opened = catch_unwind(AssertUnwindSafe(|| EmbeddedEngine::open(folder, marker)));
    let (engine, revision) = opened.unwrap_or_else(|_| Err(corrupt("the engine cannot read it".to_owned())))?;
    let shared = Arc::new(Shared::new(env, revision, engine.view()));
    let queue = CommitQueue::start(engine, shared.clone()).map_err(|error| io("start the commit thread", error))?;
    Ok(Client { shared, submit: Arc::new(queue) })
}

struct EmbeddedEngine {
    rows: Keyspace,
    database: Database,
    marker: Bytes,
    /// Released last.
    folder: Folder,
}

impl EmbeddedEngine {
    fn open(folder: Folder, marker: Vec<u8>) -> Result<(EmbeddedEngine, Revision), OpenError> {
        if folder.fresh {
            lay_out_fresh(&folder)?;
        }
        let refused = |error| engine_error(&folder, error);
        let missing = |what: &str| OpenError::Corrupt {
            folder: PathDisplay(folder.path().to_owned()),
            detail: format!("{what} is missing"),
        };
        let database = open_database(&folder.engine()).map_err(refused)?;
        if !folder.fresh && !database.keyspace_exists(KEYSPACE) {
            return Err(missing("the engine's keyspace"));
        }
        let rows = open_rows(&database).map_err(refused)?;
        let revision = if folder.fresh {
            FIRST_REVISION
        } else {
            let value = database.snapshot().get(&rows, &marker).map_err(refused)?;
            let value: Option<[u8; 8]> = value.and_then(|value| value.as_ref().try_into().ok());
            Revision(u64::from_be_bytes(value.ok_or_else(|| missing("the revision"))?))
        };
        let fresh = folder.fresh;
        let engine = EmbeddedEngine { rows, database, marker: Bytes::from(marker), folder };
        if fresh {
            engine.finish(revision)?;
        }
        Ok((engine, revision))
    }

    /// The first commit, and then the word that the folder is ready.
    fn finish(&self, revision: Revision) -> Result<(), OpenError> {
        let folder = &self.folder;
        self.write(&Batch { revision, ..Batch::default() }).map_err(|error| engine_error(folder, error))?;
        folder.finish().map_err(|error| OpenError::Io {
            folder: PathDisplay(folder.path().to_owned()),
            action: "write FORMAT".to_owned(),
            error,
        })
    }

    fn write(&self, batch: &Batch) -> fjall::Result<()> {
        let mut write = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in &batch.rows {
            match value {
                Some(value) => write.insert(&self.rows, key.clone(), value.clone()),
                None => write.remove(&self.rows, key.clone()),
            }
        }
        let revision = Bytes::copy_from_slice(&batch.revision.0.to_be_bytes());
        write.insert(&self.rows, self.marker.clone(), revision);
        write.commit()
    }
}

fn open_database(path: &Path) -> fjall::Result<Database> {
    Database::builder(path)
        .cache_size(CACHE_BYTES)
        .worker_threads(WORKER_THREADS)
        .max_journaling_size(JOURNAL_BYTES)
        .journal_compression(CompressionType::None)
        .manual_journal_persist(true)
        .open()
}

fn open_rows(database: &Database) -> fjall::Result<Keyspace> {
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES).manual_journal_persist(true);
    database.keyspace(KEYSPACE, options)
}

/// An engine without rows, if that can be had without the engine's many waits for the disk.
fn lay_out_fresh(folder: &Folder) -> Result<(), OpenError> {
    let make = |path: &Path| {
        let made = open_database(path).and_then(|database| open_rows(&database).map(drop));
        made.map_err(std::io::Error::other)
    };
    let name = format!("triune-{:032x}", folder.store_id);
    let mut more = vec![folder.format(), folder.path().to_owned()];
    // The folder may be new, too. A parent that cannot be read cannot be synced, either.
    let parent = std::fs::canonicalize(folder.path()).ok().and_then(|path| path.parent().map(Path::to_owned));
    more.extend(parent.filter(|parent| std::fs::File::open(parent).is_ok()));
    lay_out(&folder.engine(), &name, &more, make).map(drop).map_err(|error| OpenError::Io {
        folder: PathDisplay(folder.path().to_owned()),
        action: "make the engine's files".to_owned(),
        error,
    })
}

fn engine_error(folder: &Folder, error: fjall::Error) -> OpenError {
    let path = PathDisplay(folder.path().to_owned());
    match error {
        fjall::Error::Io(error) => OpenError::Io { folder: path, action: "open the engine".to_owned(), error },
        fjall::Error::Locked => OpenError::Locked { folder: path, holder: String::new() },
        error => OpenError::Corrupt { folder: path, detail: error.to_string() },
    }
}

impl Engine for EmbeddedEngine {
    type View = EmbeddedView;

    fn apply(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.write(batch).map_err(|error| StorageError::Unavailable(error.to_string()))
    }

    fn view(&self) -> EmbeddedView {
        EmbeddedView { shown: Arc::new((self.database.snapshot(), self.rows.clone())) }
    }
}

/// A snapshot of the engine.
#[derive(Clone)]
pub(crate) struct EmbeddedView {
    shown: Arc<(Snapshot, Keyspace)>,
}

impl EmbeddedView {
    fn iterate(&self, range: &KeyRange) -> fjall::Iter {
        let (snapshot, rows) = &*self.shown;
        snapshot.range(rows, range.start.as_ref()..range.end.as_ref())
    }
}

/// Reading what was written once can only fail for a broken disk or file.
fn read_error(error: fjall::Error) -> StorageError {
    match error {
        fjall::Error::Io(error) => StorageError::Unavailable(error.to_string()),
        error => StorageError::Corrupt(error.to_string()),
    }
}

impl View for EmbeddedView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let (snapshot, rows) = &*self.shown;
        Ok(snapshot.get(rows, key).map_err(read_error)?.map(Bytes::from))
    }

    fn range(&self, range: &KeyRange, limit: usize, reverse: bool) -> Result<Vec<Row>, StorageError> {
        let row = |guard: fjall::Guard| {
            let (key, value) = guard.into_inner().map_err(read_error)?;
            Ok(Row { key: key.into(), value: value.into() })
        };
        let rows = self.iterate(range);
        if reverse { rows.rev().take(limit).map(row).collect() } else { rows.take(limit).map(row).collect() }
    }

    fn keys(&self, range: &KeyRange) -> Result<Vec<Bytes>, StorageError> {
        self.iterate(range).map(|guard| guard.key().map(Bytes::from).map_err(read_error)).collect()
    }
}
