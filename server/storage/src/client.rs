//! The [`Storage`] and [`Transaction`] traits over a published snapshot and a committer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future;
use triune_env::{
    BoxFuture,
    storage::{
        CommitError, Isolation, KeyRange, Revision, Row, Stamp, Storage, StorageError, TRANSACTION_SECONDS_MAX,
        Transaction,
    },
};

use crate::{
    committer::Answer,
    engine::View,
    intent::{Intent, check_key, clamp, revision_of, stamp_of},
    shared::{Published, Shared},
};

/// Takes intents to the committer.
pub(crate) trait Submit: Send + Sync + 'static {
    /// The answer of the committer.
    fn submit(&self, intent: Intent) -> BoxFuture<'static, Answer>;
}

/// A storage: where to read, and whom to ask for commits.
pub(crate) struct Client<V: View> {
    pub(crate) shared: Arc<Shared<V>>,
    pub(crate) submit: Arc<dyn Submit>,
}

impl<V: View> Storage for Client<V> {
    fn read_version(&self) -> BoxFuture<'_, Result<Revision, StorageError>> {
        Box::pin(future::ready(Ok(self.shared.published().revision)))
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StorageError>> {
        let Published { revision, view } = self.shared.published();
        let begun = self.shared.env.clock.now();
        let transaction = ClientTransaction {
            shared: self.shared.clone(),
            submit: self.submit.clone(),
            view,
            begun,
            intent: Intent::new(revision, begun),
        };
        Box::pin(future::ready(Ok(Box::new(transaction) as Box<dyn Transaction>)))
    }

    fn changed(&self, key: Bytes, seen: Option<Bytes>) -> BoxFuture<'static, Result<(), StorageError>> {
        Box::pin(self.shared.clone().changed(key, seen))
    }

    fn revision_of(&self, stamp: &Stamp) -> Revision {
        revision_of(stamp)
    }

    fn stamp_of(&self, revision: Revision) -> Stamp {
        stamp_of(revision)
    }
}

struct ClientTransaction<V: View> {
    shared: Arc<Shared<V>>,
    submit: Arc<dyn Submit>,
    view: V,
    begun: Instant,
    intent: Intent,
}

impl<V: View> ClientTransaction<V> {
    /// S6: a transaction does not live longer than its bound. Gives the time.
    fn check_age(&self) -> Option<Instant> {
        let now = self.shared.env.clock.now();
        (now.saturating_duration_since(self.begun) <= Duration::from_secs(TRANSACTION_SECONDS_MAX)).then_some(now)
    }

    fn read_key(&mut self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, StorageError> {
        self.check_age().ok_or(StorageError::TooOld)?;
        check_key(key).map_err(StorageError::TooLarge)?;
        let value = self.view.get(key)?;
        if isolation == Isolation::Serializable {
            self.intent.read_key(Bytes::copy_from_slice(key));
        }
        Ok(value)
    }

    fn read_range(
        &mut self,
        range: KeyRange,
        limit: usize,
        reverse: bool,
        isolation: Isolation,
    ) -> Result<Vec<Row>, StorageError> {
        self.check_age().ok_or(StorageError::TooOld)?;
        let range = clamp(range);
        if limit == 0 || range.start >= range.end {
            return Ok(Vec::new());
        }
        let rows = self.view.range(&range, limit, reverse)?;
        if isolation == Isolation::Serializable {
            self.intent.read_range(really_read(range, limit, reverse, &rows));
        }
        Ok(rows)
    }
}

/// The part of a range that a read has looked at: all of it, or up to the last row within the limit.
fn really_read(range: KeyRange, limit: usize, reverse: bool, rows: &[Row]) -> KeyRange {
    match rows.last() {
        Some(last) if rows.len() == limit && reverse => KeyRange { start: last.key.clone(), end: range.end },
        Some(last) if rows.len() == limit => {
            let mut past = Vec::with_capacity(last.key.len() + 1);
            past.extend_from_slice(&last.key);
            past.push(0);
            KeyRange { start: range.start, end: Bytes::from(past) }
        }
        _ => range,
    }
}

impl<V: View> Transaction for ClientTransaction<V> {
    fn read_version(&self) -> Revision {
        self.intent.read_version
    }

    fn get<'a>(
        &'a mut self,
        key: &'a [u8],
        isolation: Isolation,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        Box::pin(future::ready(self.read_key(key, isolation)))
    }

    fn range<'a>(
        &'a mut self,
        range: KeyRange,
        limit: usize,
        reverse: bool,
        isolation: Isolation,
    ) -> BoxFuture<'a, Result<Vec<Row>, StorageError>> {
        Box::pin(future::ready(self.read_range(range, limit, reverse, isolation)))
    }

    fn set(&mut self, key: Bytes, value: Bytes) {
        self.intent.set(key, value);
    }

    fn set_stamped_key(&mut self, prefix: &[u8], suffix: &[u8], value: Bytes) {
        self.intent.set_stamped_key(prefix, suffix, value);
    }

    fn set_stamped_value(&mut self, key: Bytes, value: Vec<u8>, offset: usize) {
        self.intent.set_stamped_value(key, value, offset);
    }

    fn clear(&mut self, key: Bytes) {
        self.intent.clear(key);
    }

    fn clear_range(&mut self, range: KeyRange) {
        self.intent.clear_range(range);
    }

    fn add_read_conflict_key(&mut self, key: Bytes) {
        self.intent.read_key(key);
    }

    fn add_write_conflict_key(&mut self, key: Bytes) {
        self.intent.write_key(key);
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Answer> {
        let Some(now) = self.check_age() else {
            return Box::pin(future::ready(Err(CommitError::TooOld)));
        };
        if let Some(message) = self.intent.refusal() {
            return Box::pin(future::ready(Err(CommitError::TooLarge(message))));
        }
        if self.intent.is_read_only() {
            return Box::pin(future::ready(Ok(self.intent.read_version)));
        }
        self.intent.at = now;
        self.submit.submit(self.intent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limit: usize, reverse: bool, rows: &[&'static str], expect: (&'static str, &'static str)) {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let rows: Vec<Row> = rows.iter().map(|key| Row { key: bytes(key), value: Bytes::new() }).collect();
        let read = really_read(KeyRange { start: bytes("a"), end: bytes("z") }, limit, reverse, &rows);
        assert_eq!(read, KeyRange { start: bytes(expect.0), end: bytes(expect.1) });
    }

    #[test]
    fn only_what_was_looked_at_is_the_conflict_range() {
        check(2, false, &[], ("a", "z"));
        check(2, false, &["b"], ("a", "z"));
        check(2, false, &["b", "c"], ("a", "c\0"));
        check(2, true, &["y"], ("a", "z"));
        check(2, true, &["y", "x"], ("x", "z"));
    }
}
