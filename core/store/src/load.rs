//! Filling a watch cache: a fuzzy scan and a replay of the log.
//!
//! Pages of objects come at different read versions, then the log from the first of these versions on. A change at or
//! below the revision that the scan saw of an object is skipped. The cache is ready at the read version of the last log
//! read, which is above that of every page.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use triune_env::{
    probe,
    storage::{Isolation, KeyRange, StorageError},
};

use crate::{
    Revision,
    cache::Shared,
    event::{ChangeEvent, Entry},
    keys::{RowKey, item_key},
    log::LogChange,
    rows::ObjectRow,
    state::{CacheState, Items},
};

impl Shared {
    /// Fills the cache; see the module.
    pub(crate) async fn load(&self) -> Result<(), StorageError> {
        let first = self.base.timed(self.base.storage.read_version()).await?;
        let mut items = self.scan().await?;
        let mut position = first;
        loop {
            let read = self.base.timed(self.read_log_batch(position, false, true)).await?;
            if read.floor.is_some_and(|floor| floor > position) {
                probe!("load: compacted during the scan");
                return Err(StorageError::TooOld);
            }
            let more = read.changes.len() == self.base.options.rows_per_read;
            position = read.changes.last().map_or(position, |change| change.revision);
            for change in read.changes {
                self.replay(&mut items, change);
            }
            if !more {
                position = position.max(read.read_version);
                break;
            }
        }
        let recent = self.recent_events(position).await?;
        let now = self.base.now();
        let replaced = {
            let mut state = self.write();
            let mut fresh = CacheState::new(items, position);
            if let Some((after, events)) = recent {
                fresh.prefill(after, events, now);
            }
            self.scopes.forget(position);
            std::mem::replace(&mut *state, fresh)
        };
        drop(replaced);
        self.base.counters.loads.one();
        self.loaded.store(true, Ordering::Release);
        self.progress.notify_waiters();
        self.scopes.wake();
        Ok(())
    }

    /// All objects, each page at a read version of its own.
    async fn scan(&self) -> Result<Items, StorageError> {
        let mut items = Items::new();
        let mut range = self.base.keys.objects(&self.resource);
        loop {
            let (page, last) = self.base.timed(self.scan_page(range.clone())).await?;
            for (item, entry) in page {
                items.insert(item, entry);
            }
            match last {
                Some(last) => range.start = [&last[..], &[0]].concat().into(),
                None => return Ok(items),
            }
        }
    }

    async fn scan_page(&self, range: KeyRange) -> Result<(Vec<(Arc<str>, Arc<Entry>)>, Option<Bytes>), StorageError> {
        let mut transaction = self.base.storage.begin().await?;
        let transaction = transaction.as_mut();
        let rows = transaction.range(range, self.base.options.rows_per_read, false, Isolation::Snapshot).await?;
        let mut page = Vec::with_capacity(rows.len());
        for row in &rows {
            let RowKey::Object(key) = self.base.keys.decode(&row.key)? else {
                return Err(StorageError::Corrupt("an object range holds another row".into()));
            };
            let object = ObjectRow::decode(&row.value)?;
            let body = self.base.body(transaction, &object.body).await?;
            let key = self.object_key(&key.namespace, key.name);
            let item: Arc<str> = item_key(&key.namespace, &key.name).into();
            let entry = Entry::new(key, self.base.revision(&object.stamp), body, self.origin.clone());
            page.push((item, Arc::new(entry)));
        }
        let last = rows.last().filter(|_| rows.len() == self.base.options.rows_per_read).map(|row| row.key.clone());
        Ok((page, last))
    }

    /// A change during the scan: skipped if the scan saw a later state of the object.
    fn replay(&self, items: &mut Items, change: LogChange) {
        let item: Arc<str> = item_key(&change.log.namespace, &change.log.name).into();
        if items.get(&item).is_some_and(|entry| entry.revision >= change.revision) {
            probe!("load: the scan saw a change of the log");
            return;
        }
        let previous = items.get(&item).cloned();
        probe!("load: a change during the scan");
        match self.event(change, previous).current() {
            Some(entry) => items.insert(item, entry.clone()),
            None => items.remove(&item),
        };
    }

    /// The last changes at or below `position`, so that watches which resume after a restart need not read the log each;
    /// with the revision that the first of them follows.
    async fn recent_events(
        &self,
        position: Revision,
    ) -> Result<Option<(Revision, Vec<Arc<ChangeEvent>>)>, StorageError> {
        self.base
            .timed(async {
                let base = &self.base;
                let mut transaction = base.storage.begin().await?;
                let transaction = transaction.as_mut();
                let floor = self.floor(transaction).await?;
                let range = base.keys.log_up_to(&self.resource, &base.storage.stamp_of(position));
                let limit = base.options.rows_per_read.min(base.options.window_events_max);
                let rows = transaction.range(range, limit, true, Isolation::Snapshot).await?;
                let mut events = Vec::with_capacity(rows.len());
                for row in rows.iter().rev() {
                    events.push(self.event_alone(transaction, row).await?);
                }
                if rows.len() < limit {
                    return Ok(Some((floor, events)));
                }
                let after = events.first().map(|event| event.revision);
                Ok(after.map(|after| (after, events.split_off(1))))
            })
            .await
    }
}
