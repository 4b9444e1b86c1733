//! The store: reads and writes of single objects, a watch cache for each resource that is asked for.
//!
//! Single reads are linearizable with all writes of all servers (S12): each reads storage at a fresh read version.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use triune_api::names::{GroupResource, ObjectKey};
use triune_env::{
    Env, TaskHandle,
    storage::{CommitError, Isolation, Storage, StorageError},
};

use crate::{
    Revision,
    base::Base,
    cache::ResourceCache,
    commit, compact, expire,
    keys::{KeySpace, RowKey},
    options::{Counters, Statistics, StoreOptions},
    rows::{LAYOUT, ObjectRow},
    types::{AttributesOf, Committed, ReadError, StoredObject, Write, WriteError},
};

/// Objects on a storage. Always in an `Arc`; tasks end when the last is dropped.
pub struct Store {
    pub(crate) base: Arc<Base>,
    caches: RwLock<BTreeMap<GroupResource, Arc<ResourceCache>>>,
    maintenance: Mutex<Vec<TaskHandle>>,
}

impl Store {
    /// Opens a tenant of a storage. Refuses one that was laid out by another version.
    pub async fn open(env: Env, storage: Arc<dyn Storage>, options: StoreOptions) -> Result<Arc<Store>, ReadError> {
        let keys = KeySpace::new(&options.tenant);
        let base = Arc::new(Base { env, storage, options, keys, counters: Counters::default() });
        check_layout(&base).await?;
        Ok(Arc::new(Store { base, caches: RwLock::default(), maintenance: Mutex::default() }))
    }

    /// The object as of now: at least as new as every write acknowledged before this call.
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<StoredObject>, ReadError> {
        let base = &self.base;
        base.counters.gets.one();
        let row_key = base.keys.object(key);
        let mut retry = base.retry();
        loop {
            let read = async {
                let mut transaction = base.storage.begin().await?;
                let Some(value) = transaction.get(&row_key, Isolation::Snapshot).await? else { return Ok(None) };
                let row = ObjectRow::decode(&value)?;
                base.object(transaction.as_mut(), &row).await.map(Some)
            };
            match base.timed(read).await {
                Ok(object) => return Ok(object),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// Writes one object; the outcome is definite unless it says Unknown.
    pub async fn commit(&self, write: Write) -> Result<Committed, WriteError> {
        let committed = commit::commit(&self.base, &write).await?;
        if committed.changed
            && let Some(cache) = self.read_caches().get(&write.key.resource)
        {
            cache.shared.poke();
        }
        Ok(committed)
    }

    /// A revision at least as great as that of every write acknowledged before this call.
    pub async fn current_revision(&self) -> Result<Revision, ReadError> {
        self.base.read_version().await
    }

    /// The watch cache of a resource: made on first use, then shared. `attributes` counts on first use only.
    pub fn resource(&self, resource: &GroupResource, attributes: Arc<dyn AttributesOf>) -> Arc<ResourceCache> {
        if let Some(cache) = self.read_caches().get(resource) {
            return cache.clone();
        }
        let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
        let make = || ResourceCache::start(&self.base, resource, attributes);
        caches.entry(resource.clone()).or_insert_with(make).clone()
    }

    /// Drops the cache of a resource and ends its watches (W18). A later use makes a new one.
    pub fn retire(&self, resource: &GroupResource) {
        let retired = self.caches.write().unwrap_or_else(PoisonError::into_inner).remove(resource);
        if let Some(cache) = retired {
            cache.shared.retire();
        }
    }

    /// Starts compaction and expiry; they end when the store is dropped. A second call does nothing.
    pub fn start_maintenance(self: &Arc<Self>) {
        let mut maintenance = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        if maintenance.is_empty() {
            maintenance.push(self.base.env.spawn("store-compaction", compact::run(self.base.clone())));
            maintenance.push(self.base.env.spawn("store-expiry", expire::run(Arc::downgrade(self), self.base.clone())));
        }
    }

    /// Ends maintenance and all watches: before the storage is closed.
    pub fn stop(&self) {
        self.maintenance.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let caches = std::mem::take(&mut *self.caches.write().unwrap_or_else(PoisonError::into_inner));
        for cache in caches.values() {
            cache.shared.retire();
        }
    }

    /// Whether the storage answers: the `etcd` check of /readyz.
    pub async fn healthy(&self) -> Result<(), ReadError> {
        let base = &self.base;
        base.timed(base.storage.read_version()).await?;
        Ok(())
    }

    /// What has been done so far.
    pub fn statistics(&self) -> Statistics {
        self.base.counters.read()
    }

    /// Number of objects in each cache.
    pub fn object_counts(&self) -> Vec<(GroupResource, usize)> {
        self.read_caches().iter().map(|(resource, cache)| (resource.clone(), cache.len())).collect()
    }

    pub(crate) fn caches(&self) -> Vec<Arc<ResourceCache>> {
        self.read_caches().values().cloned().collect()
    }

    fn read_caches(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<GroupResource, Arc<ResourceCache>>> {
        self.caches.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the layout row, or writes it into an empty tenant.
async fn check_layout(base: &Base) -> Result<(), ReadError> {
    let key = base.keys.encode(&RowKey::Layout);
    let mut retry = base.retry();
    loop {
        let read = async {
            let mut transaction = base.storage.begin().await?;
            let value = transaction.get(&key, Isolation::Serializable).await?;
            Ok((transaction, value))
        };
        let error = match base.timed(read).await {
            Ok((_, Some(value))) if value == LAYOUT => return Ok(()),
            Ok((_, Some(value))) => {
                let found = value.escape_ascii().to_string();
                return Err(ReadError::Corrupt(format!("the rows have the layout {found:?}, not one of this version")));
            }
            Ok((mut transaction, None)) => {
                transaction.set(key.clone(), bytes::Bytes::from_static(LAYOUT));
                match transaction.commit().await {
                    Ok(_) => return Ok(()),
                    // Conflict and Unknown: the next look tells.
                    Err(CommitError::Conflict | CommitError::TooOld | CommitError::Unknown) => StorageError::TooOld,
                    Err(error) => StorageError::Unavailable(error.to_string()),
                }
            }
            Err(error) => error,
        };
        retry.again(error).await?;
    }
}
