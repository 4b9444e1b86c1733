//! One write of one object, in one transaction: expectation, fences, claims, object row, log row, wake row.
//!
//! Keeps S2 (compare and set), S6 (a definite outcome: an unknown one is resolved by the write id before the caller is
//! answered, and retries never apply twice), S7 (equal bytes make no event), and fences and claims as one decision with
//! the write.
//!
//! Why a late first attempt is harmless: it read the object row, the fences and the claims under the serializable
//! isolation. If the retry commits, it has changed the object row, and the first attempt conflicts. If the retry answers
//! with a broken condition, then that condition held when the first attempt read it and has changed since: it conflicts
//! too. If the retry finds nothing left to do, then the object or a claim was another when the first attempt read it.
//! Nothing else may be relied on: a commit that takes longer than `storage_timeout` is given up here, and no storage makes
//! sure that a commit whose future was dropped is decided (see [`CommitError::Unknown`]).

use std::time::Instant;

use bytes::Bytes;
use triune_env::{
    probe,
    storage::{CommitError, Isolation, KEY_BYTES_MAX, STAMP_BYTES, StorageError, Transaction},
};

use crate::{
    Revision,
    base::Base,
    keys::{BodyId, RowKey},
    options::OBJECT_BYTES_MAX,
    rows::{
        BodyPlace, EXPIRY_STAMP_OFFSET, LogRow, OBJECT_STAMP_OFFSET, ObjectRow, decode_claim, encode_claim,
        encode_expiry, is_body,
    },
    types::{Change, Committed, Expect, FenceFound, Write, WriteError},
};

/// Part numbers of bodies kept in pieces.
const PART_BODY: u8 = 0;
const PART_BEFORE: u8 = 1;

/// What one attempt came to.
enum Attempt {
    Done(Committed),
    /// The storage does not know.
    Unknown,
    /// Not applied; worth another attempt.
    Again(WriteError),
}

/// What the attempts of one write share.
struct Pursuit<'a> {
    base: &'a Base,
    write: &'a Write,
    write_id: u128,
    /// Read version of the first attempt: its log row, if any, is above it.
    first_read: Option<Revision>,
    /// Whether an attempt may have been applied.
    unresolved: bool,
}

/// Commits a write; see the module.
pub(crate) async fn commit(base: &Base, write: &Write) -> Result<Committed, WriteError> {
    check_sizes(base, write)?;
    let started = base.now();
    let write_id = base.env.entropy.u128();
    let mut pursuit = Pursuit { base, write, write_id, first_read: None, unresolved: false };
    let mut retry = base.retry();
    loop {
        match pursuit.attempt().await? {
            Attempt::Done(committed) => {
                if committed.changed {
                    base.counters.commits.one();
                } else {
                    base.counters.no_ops.one();
                }
                return Ok(committed);
            }
            Attempt::Unknown => {
                pursuit.unresolved = true;
                base.counters.unknown_outcomes.one();
                pursuit.check_deadline(started, WriteError::Unknown)?;
            }
            Attempt::Again(error) => pursuit.check_deadline(started, error)?,
        }
        retry.wait().await;
    }
}

fn check_sizes(base: &Base, write: &Write) -> Result<(), WriteError> {
    let (Change::Put { body, .. } | Change::Delete { body }) = &write.change;
    assert!(is_body(body), "a stored body starts with its metadata and ends with a brace");
    if body.len() > OBJECT_BYTES_MAX {
        return Err(WriteError::TooLarge(format!("object of {} bytes is larger than {OBJECT_BYTES_MAX}", body.len())));
    }
    // The longest key made of an object's names is its expiry row.
    let longest = base.keys.object(&write.key).len() + 16;
    if longest > KEY_BYTES_MAX {
        return Err(WriteError::TooLarge(format!("names of {longest} bytes are longer than {KEY_BYTES_MAX}")));
    }
    Ok(())
}

impl Pursuit<'_> {
    /// While an outcome is open, it is pursued long; else a failing storage is reported soon.
    fn check_deadline(&self, started: Instant, error: WriteError) -> Result<(), WriteError> {
        let options = &self.base.options;
        let (deadline, error) = if self.unresolved {
            (options.unknown_deadline, WriteError::Unknown)
        } else {
            (options.unavailable_deadline, error)
        };
        if self.base.now() < started + deadline { Ok(()) } else { Err(error) }
    }

    async fn attempt(&mut self) -> Result<Attempt, WriteError> {
        let base = self.base;
        let staged = match base.env.timeout(base.options.storage_timeout, self.stage()).await {
            Ok(Ok(staged)) => staged,
            Ok(Err(Stop::Failed(error))) => return Err(error),
            Ok(Err(Stop::Storage(error @ (StorageError::TooOld | StorageError::Unavailable(_))))) => {
                return Ok(Attempt::Again(error.into()));
            }
            Ok(Err(Stop::Storage(error))) => return Err(error.into()),
            Err(_) => return Ok(Attempt::Again(WriteError::Unavailable("no answer in time".into()))),
        };
        let (transaction, created) = match staged {
            Staged::Done(committed) => return Ok(Attempt::Done(committed)),
            Staged::Ready { transaction, created } => (transaction, created),
        };
        let outcome = base.env.timeout(base.options.storage_timeout, transaction.commit()).await;
        Ok(match outcome.unwrap_or(Err(CommitError::Unknown)) {
            Ok(revision) => Attempt::Done(Committed { revision, created: created.unwrap_or(revision), changed: true }),
            Err(CommitError::Unknown) => Attempt::Unknown,
            Err(CommitError::Conflict) => {
                base.counters.conflicts.one();
                probe!("commit: conflict");
                Attempt::Again(WriteError::Unavailable("too many conflicts with other writes".into()))
            }
            Err(CommitError::TooOld) => Attempt::Again(StorageError::TooOld.into()),
            Err(CommitError::Unavailable(text)) => Attempt::Again(WriteError::Unavailable(text)),
            Err(CommitError::TooLarge(text)) => return Err(WriteError::TooLarge(text)),
        })
    }

    /// Reads, decides, and stages what is to be written.
    async fn stage(&mut self) -> Result<Staged, Stop> {
        let base = self.base;
        let mut owned = base.storage.begin().await?;
        let transaction = owned.as_mut();
        let first_read = *self.first_read.get_or_insert(transaction.read_version());
        let object_key = base.keys.object(&self.write.key);
        let value = transaction.get(&object_key, Isolation::Serializable).await?;
        let live = value.as_ref().map(ObjectRow::decode).transpose()?;
        if self.unresolved {
            if let Some(done) = self.find_own(transaction, live.as_ref(), first_read).await? {
                return Ok(Staged::Done(done));
            }
            probe!("commit: unknown outcome was not applied");
        }
        self.check_expectation(transaction, live.as_ref()).await?;
        self.check_fences(transaction).await?;
        let claims = self.check_claims(transaction).await?;
        if let Some(live) = &live
            && claims.is_empty()
            && self.is_no_op(transaction, live).await?
        {
            let (revision, created) = (base.revision(&live.stamp), base.revision(&live.created()));
            return Ok(Staged::Done(Committed { revision, created, changed: false }));
        }
        self.stage_claims(transaction, &claims);
        let created = live.as_ref().map(|live| base.revision(&live.created()));
        self.stage_rows(transaction, object_key, live);
        Ok(Staged::Ready { transaction: owned, created })
    }

    /// The write, if an earlier attempt applied it: its id is in the object row, or in the log if the object has changed
    /// again or is gone.
    async fn find_own(
        &self,
        transaction: &mut dyn Transaction,
        live: Option<&ObjectRow>,
        first_read: Revision,
    ) -> Result<Option<Committed>, Stop> {
        let base = self.base;
        if let Some(live) = live.filter(|live| live.write_id == self.write_id) {
            let (revision, created) = (base.revision(&live.stamp), base.revision(&live.created()));
            probe!("commit: unknown outcome found in the object row");
            return Ok(Some(Committed { revision, created, changed: true }));
        }
        let mut range = base.keys.log_after(&self.write.key.resource, &base.storage.stamp_of(first_read));
        loop {
            let rows = transaction.range(range.clone(), base.options.rows_per_read, false, Isolation::Snapshot).await?;
            for row in &rows {
                let log = LogRow::decode(&row.value)?;
                if log.write_id == self.write_id {
                    let RowKey::Log(_, stamp) = base.keys.decode(&row.key)? else {
                        return Err(StorageError::Corrupt("a log range holds another row".into()).into());
                    };
                    let created = base.revision(&log.created.unwrap_or(stamp));
                    probe!("commit: unknown outcome found in the log");
                    return Ok(Some(Committed { revision: base.revision(&stamp), created, changed: true }));
                }
            }
            match rows.last() {
                Some(last) if rows.len() == base.options.rows_per_read => {
                    range.start = [&last.key[..], &[0]].concat().into();
                }
                _ => return Ok(None),
            }
        }
    }

    async fn check_expectation(&self, transaction: &mut dyn Transaction, live: Option<&ObjectRow>) -> Result<(), Stop> {
        let holds = match (self.write.expect, live) {
            (Expect::Absent, None) => true,
            (Expect::Revision(wanted), Some(live)) => self.base.revision(&live.stamp) == wanted,
            _ => false,
        };
        if holds {
            return Ok(());
        }
        let there = match live {
            Some(live) => Some(Box::new(self.base.object(transaction, live).await?)),
            None => None,
        };
        Err(Stop::Failed(WriteError::Expectation(there)))
    }

    async fn check_fences(&self, transaction: &mut dyn Transaction) -> Result<(), Stop> {
        for (index, fence) in self.write.fences.iter().enumerate() {
            let key = self.base.keys.object(&fence.key);
            let row = transaction.get(&key, Isolation::Serializable).await?;
            let found = match row.as_ref().map(ObjectRow::decode).transpose()? {
                None => FenceFound::Missing,
                Some(row) if fence.uid.as_ref().is_some_and(|uid| *uid != row.uid) => FenceFound::OtherUid,
                Some(row) if row.terminating => FenceFound::Terminating,
                Some(_) => continue,
            };
            probe!("commit: fence does not hold");
            return Err(Stop::Failed(WriteError::Fence { index, found }));
        }
        Ok(())
    }

    /// The claims whose rows have to change.
    async fn check_claims(&self, transaction: &mut dyn Transaction) -> Result<Vec<usize>, Stop> {
        let mut changing = Vec::new();
        for (index, claim) in self.write.claims.iter().enumerate() {
            let key = self.base.keys.encode(&RowKey::Claim(claim.space.clone(), claim.name.clone()));
            let row = transaction.get(&key, Isolation::Serializable).await?;
            let holder = row.as_ref().map(decode_claim).transpose()?;
            match (holder, claim.release) {
                (None, false) => changing.push(index),
                (Some(holder), true) if holder == claim.holder => changing.push(index),
                (Some(holder), false) if holder != claim.holder => {
                    probe!("commit: claim is held by another");
                    return Err(Stop::Failed(WriteError::Claimed { index, holder: holder.to_string() }));
                }
                // Held already, or not ours to give up.
                _ => {}
            }
        }
        Ok(changing)
    }

    fn stage_claims(&self, transaction: &mut dyn Transaction, changing: &[usize]) {
        for claim in changing.iter().map(|index| &self.write.claims[*index]) {
            let key = self.base.keys.encode(&RowKey::Claim(claim.space.clone(), claim.name.clone()));
            if claim.release { transaction.clear(key) } else { transaction.set(key, encode_claim(&claim.holder)) }
        }
    }

    /// Whether the live state is the wanted one already (S7).
    async fn is_no_op(&self, transaction: &mut dyn Transaction, live: &ObjectRow) -> Result<bool, Stop> {
        let Change::Put { body, uid, terminating, time_to_live } = &self.write.change else { return Ok(false) };
        let same_header = live.uid == *uid && live.terminating == *terminating && live.body.length() == body.len();
        if !same_header || time_to_live.is_some() || live.expires_ms != 0 {
            return Ok(false);
        }
        Ok(self.base.body(transaction, &live.body).await? == *body)
    }

    fn stage_rows(&self, transaction: &mut dyn Transaction, object_key: Bytes, live: Option<ObjectRow>) {
        let base = self.base;
        let key = &self.write.key;
        if let Some(live) = live.as_ref().filter(|live| live.expires_ms != 0) {
            transaction.clear(base.keys.encode(&RowKey::Expiry(live.expires_ms, key.clone())));
        }
        let created = live.as_ref().map(ObjectRow::created);
        let (delete, body) = match &self.write.change {
            Change::Put { body, .. } => (false, self.place(transaction, body)),
            Change::Delete { body } => (true, self.place(transaction, body)),
        };
        match &self.write.change {
            Change::Put { uid, terminating, time_to_live, .. } => {
                let expires_ms = time_to_live.map_or(0, |time| {
                    let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                    base.wall_ms().saturating_add(time_ms).max(1)
                });
                if expires_ms != 0 {
                    let expiry_key = base.keys.encode(&RowKey::Expiry(expires_ms, key.clone()));
                    transaction.set_stamped_value(expiry_key, encode_expiry(), EXPIRY_STAMP_OFFSET);
                }
                let row = ObjectRow {
                    stamp: [0; STAMP_BYTES],
                    created,
                    write_id: self.write_id,
                    uid: uid.clone(),
                    terminating: *terminating,
                    expires_ms,
                    body: body.clone(),
                };
                transaction.set_stamped_value(object_key, row.encode(), OBJECT_STAMP_OFFSET);
            }
            Change::Delete { .. } => transaction.clear(object_key),
        }
        let row = LogRow {
            delete,
            write_id: self.write_id,
            previous: live.as_ref().map(|live| live.stamp),
            created,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            before: live.map(|live| self.place_before(transaction, live.body, &body)),
            body,
        };
        transaction.set_stamped_key(&base.keys.log_prefix(&key.resource), &[], row.encode());
        let write_id = Bytes::copy_from_slice(&self.write_id.to_be_bytes());
        transaction.set(base.keys.encode(&RowKey::Wake(key.resource.clone())), write_id);
    }

    /// Where the new body goes.
    fn place(&self, transaction: &mut dyn Transaction, body: &Bytes) -> BodyPlace {
        if body.len() <= self.base.options.inline_body_bytes_max {
            return BodyPlace::Inline(body.clone());
        }
        let id = BodyId { write_id: self.write_id, part: PART_BODY };
        self.base.set_chunks(transaction, id, body);
        BodyPlace::Chunks { id, length: body.len() as u32 }
    }

    /// Where the state before goes: beside the new one if both fit in a row.
    fn place_before(&self, transaction: &mut dyn Transaction, before: BodyPlace, body: &BodyPlace) -> BodyPlace {
        let BodyPlace::Inline(bytes) = &before else { return before };
        let beside = if let BodyPlace::Inline(body) = body { body.len() } else { 0 };
        if before == *body || bytes.len() + beside <= self.base.options.log_bodies_bytes_max {
            return before;
        }
        let id = BodyId { write_id: self.write_id, part: PART_BEFORE };
        self.base.set_chunks(transaction, id, bytes);
        BodyPlace::Chunks { id, length: bytes.len() as u32 }
    }
}

/// What an attempt has come to before its commit.
enum Staged {
    /// There is nothing to commit.
    Done(Committed),
    Ready {
        transaction: Box<dyn Transaction>,
        created: Option<Revision>,
    },
}

/// Why an attempt stops before its commit.
enum Stop {
    Failed(WriteError),
    Storage(StorageError),
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Stop {
        Stop::Storage(error)
    }
}
