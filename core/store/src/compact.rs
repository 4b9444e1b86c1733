//! Compaction: log rows older than the keep window go, with the pieces of bodies that nothing points to any more.
//!
//! Keeps S5: the floor of a resource only grows, is written in the transaction that removes the rows below it (so that a
//! reader sees either the rows or the floor), and moves at most once an interval whatever the number of servers. The floor
//! moves only to rows that were removed: who watches an idle resource is never told that changes may be missing (W12).
//!
//! Pieces of a body are pointed to by the object row, by the log row that wrote it and by the log row that replaced it.
//! The last of these to go is the one that replaced it; a deleted object's last state is pointed to by its log row alone.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use triune_api::names::GroupResource;
use triune_env::{
    probe,
    storage::{CommitError, Isolation, StorageError},
};

use crate::{
    Revision,
    base::Base,
    keys::RowKey,
    rows::{BodyPlace, CompactedRow, LogRow},
    store::Store,
    types::ReadError,
};

/// Times at which the read version is remembered, in one keep window.
const SAMPLES_PER_WINDOW: u32 = 8;

impl Store {
    /// Removes every log row at or below `target`, of all resources, whatever their age; the number of rows. Maintenance
    /// compacts by itself, after the keep window; this is for tests and for people. The caches of this store read the log
    /// first; those of other servers must be past `target`.
    pub async fn compact(&self, target: Revision) -> Result<u64, ReadError> {
        for cache in self.caches() {
            cache.refresh().await?;
        }
        let mut rows = 0;
        for resource in resources_with_logs(&self.base).await? {
            rows += compact_resource(&self.base, &resource, target, false).await?;
        }
        Ok(rows)
    }
}

/// Compacts for ever.
pub(crate) async fn run(base: Arc<Base>) {
    let options = &base.options;
    let tick = (options.keep_window / SAMPLES_PER_WINDOW)
        .min(options.compaction_interval)
        .max(std::time::Duration::from_millis(10));
    let mut samples: VecDeque<(Instant, Revision)> = VecDeque::new();
    let mut next = base.now() + base.jittered(options.compaction_interval);
    loop {
        base.env.sleep(tick).await;
        // The time is taken first: the revision is then at least as new as it says.
        let now = base.now();
        match base.timed(base.storage.read_version()).await {
            Ok(revision) => samples.push_back((now, revision)),
            Err(error) => {
                tracing::warn!(%error, "compaction: the storage did not answer");
                continue;
            }
        }
        if now < next {
            continue;
        }
        next = now + base.jittered(options.compaction_interval);
        let mut target = None;
        while let Some((taken, revision)) = samples.front()
            && *taken + options.keep_window <= now
        {
            target = Some(*revision);
            samples.pop_front();
        }
        if let Some(target) = target
            && let Err(error) = compact_all(&base, target).await
        {
            tracing::warn!(%error, "compaction failed; it is tried again at its next time");
        }
    }
}

async fn compact_all(base: &Base, target: Revision) -> Result<(), ReadError> {
    for resource in resources_with_logs(base).await? {
        compact_resource(base, &resource, target, true).await?;
    }
    Ok(())
}

/// The resources that have log rows: from the first log row of one to past its last.
async fn resources_with_logs(base: &Base) -> Result<Vec<GroupResource>, ReadError> {
    let mut resources = Vec::new();
    let mut range = base.keys.logs();
    let mut retry = base.retry();
    loop {
        let read = async {
            let mut transaction = base.storage.begin().await?;
            transaction.range(range.clone(), 1, false, Isolation::Snapshot).await
        };
        match base.timed(read).await {
            Ok(rows) => {
                let Some(row) = rows.first() else { return Ok(resources) };
                let RowKey::Log(resource, _) = base.keys.decode(&row.key)? else {
                    return Err(ReadError::Corrupt("a log range holds another row".into()));
                };
                range.start = base.keys.log(&resource).end;
                resources.push(resource);
                retry = base.retry();
            }
            Err(error) => retry.again(error).await?,
        }
    }
}

/// Compacts one resource in bounded transactions. With `spare`, leaves one alone that another server has just compacted.
async fn compact_resource(
    base: &Base,
    resource: &GroupResource,
    target: Revision,
    spare: bool,
) -> Result<u64, ReadError> {
    let mut removed = 0;
    let mut retry = base.retry();
    let mut spare = spare;
    loop {
        match base.timed(compact_batch(base, resource, target, spare)).await {
            Ok(0) => return Ok(removed),
            Ok(rows) => {
                removed += rows as u64;
                base.counters.rows_compacted.add(rows as u64);
                spare = false;
                retry = base.retry();
                if rows < base.options.rows_per_compaction {
                    return Ok(removed);
                }
            }
            Err(error) => retry.again(error).await?,
        }
    }
}

/// Removes up to a batch of the oldest rows; the number removed.
async fn compact_batch(
    base: &Base,
    resource: &GroupResource,
    target: Revision,
    spare: bool,
) -> Result<usize, StorageError> {
    let mut transaction = base.storage.begin().await?;
    let compacted_key = base.keys.encode(&RowKey::Compacted(resource.clone()));
    // Read under conflict detection: of two compactions of one batch, one begins again.
    let compacted = transaction.get(&compacted_key, Isolation::Serializable).await?;
    let compacted = compacted.as_ref().map(CompactedRow::decode).transpose()?;
    let now_ms = base.wall_ms();
    let interval_ms = u64::try_from(base.options.compaction_interval.as_millis()).unwrap_or(u64::MAX);
    if spare && compacted.is_some_and(|last| last.at_ms <= now_ms && now_ms - last.at_ms < interval_ms / 10 * 9) {
        probe!("compaction: another server has just done it");
        return Ok(0);
    }
    let mut range = base.keys.log_up_to(resource, &base.storage.stamp_of(target));
    let rows = transaction.range(range.clone(), base.options.rows_per_compaction, false, Isolation::Snapshot).await?;
    let Some(last) = rows.last() else { return Ok(0) };
    let RowKey::Log(_, floor) = base.keys.decode(&last.key)? else {
        return Err(StorageError::Corrupt("a log range holds another row".into()));
    };
    if let Some(compacted) = compacted
        && base.revision(&floor) <= base.revision(&compacted.floor)
    {
        return Err(StorageError::Corrupt(format!("log rows of {resource} are below its compaction floor")));
    }
    for row in &rows {
        let log = LogRow::decode(&row.value)?;
        let replaced = log.before.as_ref().and_then(BodyPlace::chunks);
        let deleted = log.body.chunks().filter(|_| log.delete);
        for id in [replaced, deleted].into_iter().flatten() {
            transaction.clear_range(base.keys.body(id));
        }
    }
    range.end = [&last.key[..], &[0]].concat().into();
    transaction.clear_range(range);
    transaction.set(compacted_key, CompactedRow { floor, at_ms: now_ms }.encode());
    match transaction.commit().await {
        Ok(_) => {
            probe!("compaction: rows removed");
            Ok(rows.len())
        }
        // Unknown: the next look finds the rows or does not.
        Err(CommitError::Conflict | CommitError::TooOld | CommitError::Unknown) => Err(StorageError::TooOld),
        Err(CommitError::TooLarge(text)) => Err(StorageError::TooLarge(text)),
        Err(CommitError::Unavailable(text)) => Err(StorageError::Unavailable(text)),
    }
}
