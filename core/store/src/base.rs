//! What every part of the store works with: the platform, the storage, the key space; timeouts, retries, bodies.

use std::{
    sync::Arc,
    task::Poll,
    time::{Duration, Instant, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use triune_env::{
    Env,
    storage::{Isolation, Stamp, Storage, StorageError, Transaction},
};

use crate::{
    Revision,
    keys::{KeySpace, RowKey},
    options::{CHUNK_BYTES_MIN, Counters, StoreOptions},
    rows::{BodyPlace, ObjectRow, is_body},
    types::{ReadError, StoredObject, WriteError},
};

const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(500);

pub(crate) struct Base {
    pub(crate) env: Env,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: StoreOptions,
    pub(crate) keys: KeySpace,
    pub(crate) counters: Counters,
}

impl Base {
    pub(crate) fn now(&self) -> Instant {
        self.env.clock.now()
    }

    /// Wall time in milliseconds since 1970.
    pub(crate) fn wall_ms(&self) -> u64 {
        let since = self.env.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// `interval` with a tenth of jitter either way, so that many timers do not fire together.
    pub(crate) fn jittered(&self, interval: Duration) -> Duration {
        interval.mul_f64(0.9 + 0.2 * (self.env.entropy.u64() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// A storage answer, or Unavailable when it does not come.
    pub(crate) async fn timed<T>(
        &self,
        answer: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        match self.env.timeout(self.options.storage_timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(StorageError::Unavailable("no answer in time".into())),
        }
    }

    pub(crate) fn revision(&self, stamp: &Stamp) -> Revision {
        self.storage.revision_of(stamp)
    }

    /// The whole of a body.
    pub(crate) async fn body(
        &self,
        transaction: &mut dyn Transaction,
        place: &BodyPlace,
    ) -> Result<Bytes, StorageError> {
        let (id, length) = match place {
            BodyPlace::Inline(bytes) => return Ok(bytes.clone()),
            BodyPlace::Chunks { id, length } => (*id, *length as usize),
        };
        let rows_max = length / CHUNK_BYTES_MIN + 2;
        let rows = transaction.range(self.keys.body(id), rows_max, false, Isolation::Snapshot).await?;
        let mut body = BytesMut::with_capacity(length);
        for row in rows {
            body.extend_from_slice(&row.value);
        }
        if body.len() != length || !is_body(&body) {
            let text = format!("the pieces of body {id:?} have {} bytes, not {length}", body.len());
            return Err(StorageError::Corrupt(text));
        }
        Ok(body.freeze())
    }

    /// The object of a row.
    pub(crate) async fn object(
        &self,
        transaction: &mut dyn Transaction,
        row: &ObjectRow,
    ) -> Result<StoredObject, StorageError> {
        Ok(StoredObject {
            revision: self.revision(&row.stamp),
            created: self.revision(&row.created()),
            uid: row.uid.clone(),
            terminating: row.terminating,
            body: self.body(transaction, &row.body).await?,
        })
    }

    /// Stages a body of `length` too large for one row.
    pub(crate) fn set_chunks(&self, transaction: &mut dyn Transaction, id: crate::keys::BodyId, body: &Bytes) {
        let piece_bytes = self.options.chunk_bytes_max.max(CHUNK_BYTES_MIN);
        for (index, start) in (0..body.len()).step_by(piece_bytes).enumerate() {
            let piece = body.slice(start..body.len().min(start + piece_bytes));
            // At most some ten thousand pieces, by OBJECT_BYTES_MAX.
            transaction.set(self.keys.encode(&RowKey::Body(id, index as u32)), piece);
        }
    }

    /// Retries of one read.
    pub(crate) fn retry(&self) -> Retry<'_> {
        Retry { base: self, deadline: self.now() + self.options.unavailable_deadline, pause: PAUSE_MIN }
    }

    /// Whether the storage answers.
    pub(crate) async fn read_version(&self) -> Result<Revision, ReadError> {
        let mut retry = self.retry();
        loop {
            match self.timed(self.storage.read_version()).await {
                Ok(revision) => return Ok(revision),
                Err(error) => retry.again(error).await?,
            }
        }
    }
}

/// Lets other tasks run.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Decides whether a failed read is repeated, and waits before it.
pub(crate) struct Retry<'a> {
    base: &'a Base,
    pub(crate) deadline: Instant,
    pause: Duration,
}

impl Retry<'_> {
    pub(crate) async fn again(&mut self, error: StorageError) -> Result<(), ReadError> {
        let passing = matches!(error, StorageError::TooOld | StorageError::Unavailable(_));
        if !passing || self.base.now() + self.pause >= self.deadline {
            return Err(error.into());
        }
        self.wait().await;
        Ok(())
    }

    /// Waits, longer each time.
    pub(crate) async fn wait(&mut self) {
        self.base.env.sleep(self.base.jittered(self.pause)).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> ReadError {
        match error {
            StorageError::Corrupt(text) => ReadError::Corrupt(text),
            StorageError::Unavailable(text) => ReadError::Unavailable(text),
            other @ (StorageError::TooOld | StorageError::TooLarge(_)) => ReadError::Unavailable(other.to_string()),
        }
    }
}

impl From<StorageError> for WriteError {
    fn from(error: StorageError) -> WriteError {
        match error {
            StorageError::Corrupt(text) => WriteError::Corrupt(text),
            StorageError::TooLarge(text) => WriteError::TooLarge(text),
            StorageError::Unavailable(text) => WriteError::Unavailable(text),
            StorageError::TooOld => WriteError::Unavailable(error.to_string()),
        }
    }
}
