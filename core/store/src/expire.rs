//! Expiry: objects whose time has come are removed by an ordinary delete (S10), only if they are still at the revision
//! that was to expire. Any server may do it.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use triune_api::names::ObjectKey;
use triune_env::{
    probe,
    storage::{CommitError, Isolation, Stamp, StorageError},
};

use crate::{
    base::Base,
    keys::RowKey,
    rows::decode_expiry,
    store::Store,
    types::{Change, Expect, ReadError, Write, WriteError},
};

/// Expiry rows looked at in one transaction.
const ROWS_PER_READ: usize = 200;

struct Due {
    row: Bytes,
    key: ObjectKey,
    stamp: Stamp,
}

/// Removes what has expired, for ever.
pub(crate) async fn run(store: Weak<Store>, base: Arc<Base>) {
    loop {
        base.env.sleep(base.jittered(base.options.expiry_interval)).await;
        let Some(store) = store.upgrade() else { return };
        if let Err(error) = store.expire().await {
            tracing::warn!(%error, "expired objects could not be removed; it is tried again at the next time");
        }
    }
}

impl Store {
    /// Removes every object whose time has come; the number. Maintenance does this by itself.
    pub async fn expire(&self) -> Result<u64, ReadError> {
        let mut removed = 0;
        loop {
            let due = self.due().await?;
            if due.is_empty() {
                return Ok(removed);
            }
            for one in due {
                removed += u64::from(self.expire_one(one).await?);
            }
        }
    }

    async fn due(&self) -> Result<Vec<Due>, ReadError> {
        let base = &self.base;
        let mut retry = base.retry();
        loop {
            let read = async {
                let mut transaction = base.storage.begin().await?;
                let range = base.keys.expired(base.wall_ms());
                let rows = transaction.range(range, ROWS_PER_READ, false, Isolation::Snapshot).await?;
                rows.into_iter()
                    .map(|row| match base.keys.decode(&row.key)? {
                        RowKey::Expiry(_, key) => Ok(Due { stamp: decode_expiry(&row.value)?, row: row.key, key }),
                        _ => Err(StorageError::Corrupt("an expiry range holds another row".into())),
                    })
                    .collect()
            };
            match base.timed(read).await {
                Ok(due) => return Ok(due),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// True if the object was removed; its expiry row is gone in any case.
    async fn expire_one(&self, due: Due) -> Result<bool, ReadError> {
        let revision = self.base.revision(&due.stamp);
        if let Some(object) = self.get(&due.key).await?.filter(|object| object.revision == revision) {
            let write = Write {
                key: due.key.clone(),
                expect: Expect::Revision(revision),
                change: Change::Delete { body: object.body },
                fences: Vec::new(),
                claims: Vec::new(),
            };
            match self.commit(write).await {
                // The delete takes the expiry row with it.
                Ok(_) => {
                    self.base.counters.expired.one();
                    probe!("expiry: object removed");
                    return Ok(true);
                }
                Err(WriteError::Expectation(_)) => probe!("expiry: the object changed before it was removed"),
                Err(WriteError::Corrupt(text)) => return Err(ReadError::Corrupt(text)),
                Err(error) => return Err(ReadError::Unavailable(error.to_string())),
            }
        }
        self.forget(&due.row).await?;
        Ok(false)
    }

    /// Removes an expiry row whose object has changed or is gone.
    async fn forget(&self, row: &Bytes) -> Result<(), ReadError> {
        let base = &self.base;
        let mut retry = base.retry();
        loop {
            let clear = async {
                let mut transaction = base.storage.begin().await?;
                transaction.clear(row.clone());
                transaction.commit().await.map_err(|error| match error {
                    CommitError::Conflict | CommitError::TooOld | CommitError::Unknown => StorageError::TooOld,
                    other => StorageError::Unavailable(other.to_string()),
                })
            };
            match base.timed(clear).await {
                Ok(_) => return Ok(()),
                Err(error) => retry.again(error).await?,
            }
        }
    }
}
