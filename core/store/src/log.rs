//! Reading the log of a resource: rows become changes, changes become events with the state before them.
//!
//! A cache takes the state before from its contents, and checks that it is the one that the writer saw (W15). Who reads the
//! log alone takes it from the row.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use triune_api::names::ObjectKey;
use triune_env::storage::{Isolation, KeyRange, Row, StorageError, Transaction};

use crate::{
    Revision,
    cache::Shared,
    event::{ChangeEvent, Entry},
    keys::{RowKey, item_key},
    rows::{CompactedRow, LogRow},
    state::{Applied, CacheState},
    types::ReadError,
};

/// A change as the log has it.
pub(crate) struct LogChange {
    pub(crate) revision: Revision,
    pub(crate) body: Bytes,
    pub(crate) log: LogRow,
}

pub(crate) struct LogBatch {
    pub(crate) read_version: Revision,
    /// The wake row's value, if it was looked at.
    pub(crate) wake: Option<Option<Bytes>>,
    pub(crate) floor: Option<Revision>,
    pub(crate) changes: Vec<LogChange>,
}

impl Shared {
    /// Reads changes above `after` in one transaction.
    pub(crate) async fn read_log_batch(
        &self,
        after: Revision,
        look_at_wake: bool,
        look_at_floor: bool,
    ) -> Result<LogBatch, StorageError> {
        let base = &self.base;
        let mut transaction = base.storage.begin().await?;
        let transaction = transaction.as_mut();
        let read_version = transaction.read_version();
        let wake = if look_at_wake {
            let key = base.keys.encode(&RowKey::Wake(self.resource.clone()));
            Some(transaction.get(&key, Isolation::Snapshot).await?)
        } else {
            None
        };
        let floor = if look_at_floor { Some(self.floor(transaction).await?) } else { None };
        let range = base.keys.log_after(&self.resource, &base.storage.stamp_of(after));
        let rows = transaction.range(range, base.options.rows_per_read, false, Isolation::Snapshot).await?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            changes.push(self.log_change(transaction, row).await?);
        }
        Ok(LogBatch { read_version, wake, floor, changes })
    }

    /// The compaction floor as the transaction sees it; 0 if nothing was ever compacted.
    pub(crate) async fn floor(&self, transaction: &mut dyn Transaction) -> Result<Revision, StorageError> {
        let key = self.base.keys.encode(&RowKey::Compacted(self.resource.clone()));
        let row = transaction.get(&key, Isolation::Snapshot).await?;
        let compacted = row.as_ref().map(CompactedRow::decode).transpose()?;
        Ok(compacted.map_or(Revision(0), |compacted| self.base.revision(&compacted.floor)))
    }

    /// [`Shared::floor`] in a transaction of its own.
    pub(crate) async fn floor_now(&self) -> Result<Revision, ReadError> {
        let mut retry = self.base.retry();
        loop {
            let read = async {
                let mut transaction = self.base.storage.begin().await?;
                self.floor(transaction.as_mut()).await
            };
            match self.base.timed(read).await {
                Ok(floor) => return Ok(floor),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    pub(crate) async fn log_change(
        &self,
        transaction: &mut dyn Transaction,
        row: &Row,
    ) -> Result<LogChange, StorageError> {
        let log = LogRow::decode(&row.value)?;
        let RowKey::Log(_, stamp) = self.base.keys.decode(&row.key)? else {
            return Err(StorageError::Corrupt("a log range holds another row".into()));
        };
        let body = self.base.body(transaction, &log.body).await?;
        Ok(LogChange { revision: self.base.revision(&stamp), body, log })
    }

    /// Makes events of changes: each is linked with the state before it, which must be the one that the writer saw (W15).
    pub(crate) fn link(&self, state: &CacheState, changes: Vec<LogChange>) -> Result<Vec<Applied>, StorageError> {
        let mut last = state.position();
        let mut linked: Vec<Applied> = Vec::with_capacity(changes.len());
        let mut latest: std::collections::BTreeMap<Arc<str>, Option<Arc<Entry>>> = std::collections::BTreeMap::new();
        for change in changes {
            if change.revision <= last {
                return Err(StorageError::Corrupt(format!("log row {} comes after {last}", change.revision)));
            }
            last = change.revision;
            let item: Arc<str> = item_key(&change.log.namespace, &change.log.name).into();
            let previous = latest.get(&item).cloned().unwrap_or_else(|| state.get(&item).cloned());
            let expected = change.log.previous.map(|stamp| self.base.revision(&stamp));
            if previous.as_ref().map(|entry| entry.revision) != expected {
                let text = format!("{item} of {}: change {} follows {expected:?}", self.resource, change.revision);
                return Err(StorageError::Corrupt(text));
            }
            let event = self.event(change, previous);
            latest.insert(item.clone(), event.current().cloned());
            linked.push(Applied { item, event });
        }
        Ok(linked)
    }

    pub(crate) fn event(&self, change: LogChange, previous: Option<Arc<Entry>>) -> Arc<ChangeEvent> {
        let LogChange { revision, body, log } = change;
        // A body beside the state before it would keep both alive as long as the object lives.
        let body =
            if log.before.is_some() && log.body.chunks().is_none() { Bytes::copy_from_slice(&body) } else { body };
        let entry = Arc::new(match &previous {
            Some(previous) => previous.with(revision, body),
            None => Entry::new(self.object_key(&log.namespace, log.name.clone()), revision, body, self.origin.clone()),
        });
        let (current, last_shown) = if log.delete { (None, Some(entry)) } else { (Some(entry), None) };
        Arc::new(ChangeEvent::new(revision, previous, current, last_shown))
    }

    /// The names of namespaces are shared by all entries.
    pub(crate) fn object_key(&self, namespace: &str, name: Arc<str>) -> ObjectKey {
        let known = self.namespaces.read().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned();
        let namespace = known.unwrap_or_else(|| {
            let namespace: Arc<str> = namespace.into();
            self.namespaces.write().unwrap_or_else(PoisonError::into_inner).insert(namespace.clone());
            namespace
        });
        ObjectKey { resource: self.resource.clone(), namespace, name }
    }

    /// Changes above `after`, at most `until`, with their states before, from the log alone; up to a batch. The second is
    /// whether that was all.
    pub(crate) async fn events_from_log(
        &self,
        after: Revision,
        until: Revision,
    ) -> Result<(Vec<Arc<ChangeEvent>>, bool), ReadError> {
        let mut retry = self.base.retry();
        loop {
            match self.base.timed(self.try_events_from_log(after, until)).await {
                Ok(Ok(read)) => return Ok(read),
                Ok(Err(compacted)) => return Err(compacted),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    async fn try_events_from_log(
        &self,
        after: Revision,
        until: Revision,
    ) -> Result<Result<(Vec<Arc<ChangeEvent>>, bool), ReadError>, StorageError> {
        let base = &self.base;
        let mut transaction = base.storage.begin().await?;
        let transaction = transaction.as_mut();
        let floor = self.floor(transaction).await?;
        if after < floor {
            return Ok(Err(ReadError::Compacted { asked: after, oldest: floor }));
        }
        let range = KeyRange {
            start: base.keys.log_after(&self.resource, &base.storage.stamp_of(after)).start,
            end: base.keys.log_up_to(&self.resource, &base.storage.stamp_of(until)).end,
        };
        let rows = transaction.range(range, base.options.rows_per_read, false, Isolation::Snapshot).await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            events.push(self.event_alone(transaction, row).await?);
        }
        Ok(Ok((events, rows.len() < base.options.rows_per_read)))
    }

    /// The event of a log row, with the state before it from the row itself.
    pub(crate) async fn event_alone(
        &self,
        transaction: &mut dyn Transaction,
        row: &Row,
    ) -> Result<Arc<ChangeEvent>, StorageError> {
        let change = self.log_change(transaction, row).await?;
        let previous = match (&change.log.before, change.log.previous) {
            (Some(before), Some(stamp)) => {
                let body = self.base.body(transaction, before).await?;
                let key = self.object_key(&change.log.namespace, change.log.name.clone());
                Some(Arc::new(Entry::new(key, self.base.revision(&stamp), body, self.origin.clone())))
            }
            _ => None,
        };
        Ok(self.event(change, previous))
    }
}
