//! The state machine: commands in, effects out.
//!
//! Keeps S1 (a commit is refused if something it read was written since), S2 (one version for a batch, growing; a read
//! version is at least every commit before it, and below every later one), S3 (what becomes of a commit is one [`Fate`]),
//! S5 (a batch is applied in one command) and S6 (limits; what is older than five seconds is too old).
//!
//! A commit is handed in first ([`Command::Submit`]) and decided later ([`Command::CommitBatch`]). What lies between is in
//! flight: its client may be gone, or may have been told that the outcome is unknown. A recovery decides everything that
//! is in flight, and after it nothing older can commit, because versions have jumped by more than a life.

use std::collections::BTreeMap;

use bytes::Bytes;
use triune_env::storage::KeyRange;

use crate::{
    fault::Fault,
    resolver::Resolver,
    rows::{Page, Rows},
    transaction::{Mutation, Span, Transaction, stamped},
    version::{BATCH_TRANSACTIONS_MAX, Position, Revisions, VERSIONS_PER_SECOND, Version},
    watches::{RequestId, Watches},
};

/// What the database is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Asks for a read version.
    ReadVersion,
    /// Reads a row.
    Get {
        /// At which version.
        at: Version,
        /// The key.
        key: Bytes,
    },
    /// Reads rows.
    Range {
        /// At which version.
        at: Version,
        /// Where.
        range: KeyRange,
        /// How many.
        limit: usize,
        /// From the end.
        reverse: bool,
        /// The page ends once it has this many bytes.
        bytes_max: usize,
    },
    /// Hands in a commit; it is in flight from then on.
    Submit {
        /// Who asks.
        id: RequestId,
        /// What for.
        transaction: Box<Transaction>,
    },
    /// Decides commits that are in flight, in this order, at one version. The first
    /// [`BATCH_TRANSACTIONS_MAX`]; what is not in flight is passed over.
    CommitBatch(Vec<(RequestId, Fate)>),
    /// Waits for a key's value to differ.
    Watch {
        /// Who waits.
        id: RequestId,
        /// For which key.
        key: Bytes,
        /// The value known.
        seen: Option<Bytes>,
    },
    /// Looks at a triggered watch once more: it fires, or waits on.
    CheckWatch(RequestId),
    /// Ends a wait, whatever the value: the client gave up, or it fires for nothing.
    EndWatch(RequestId),
    /// The connection is gone, and with it its watches. Its commits stay in flight.
    Disconnect {
        /// Which.
        connection: u64,
    },
    /// The cluster recovers: these commits in flight are decided as ever, the others are dropped, none is answered but
    /// "unknown", and versions jump.
    Recover {
        /// By how much; FoundationDB does [`RECOVERY_VERSIONS`](crate::version::RECOVERY_VERSIONS).
        versions: u64,
        /// What had been logged when the cluster stopped.
        logged: Vec<RequestId>,
    },
    /// From now on the storage has what was committed up to this many versions ago; newer reads fail. 0: all.
    Lag {
        /// How far it is behind.
        versions: u64,
    },
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// What should.
    Honest,
    /// It conflicts, for nothing.
    Conflict,
    /// It is decided as it should, and the client does not learn how.
    Unknown,
    /// It is dropped, and the client does not learn.
    UnknownDropped,
}

/// What a command did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The answer to who gave the command, where there is one.
    pub answer: Option<Answer>,
    /// Commits decided.
    pub outcomes: Vec<(RequestId, Outcome)>,
    /// Commits applied, in commit order.
    pub applied: Vec<Applied>,
    /// Watches whose value differs now: each is owed a [`Command::CheckWatch`].
    pub triggered: Vec<RequestId>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A read version.
    Version(Version),
    /// A value.
    Value(Option<Bytes>),
    /// Rows.
    Page(Page),
    /// The watch waits.
    Armed,
    /// The watch has fired.
    Fired,
    /// No.
    Refused(Refusal),
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The version is no longer known.
    #[error("transaction is too old to perform reads or be committed")]
    TooOld,
    /// The storage has not got so far.
    #[error("request for future version")]
    FutureVersion,
    /// A limit was exceeded.
    #[error("{0}")]
    TooLarge(String),
    /// The connection has too many watches.
    #[error("too many watches")]
    TooManyWatches,
}

/// The outcome of a commit, as its client learns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Applied, here.
    Committed(Position),
    /// Not applied: something that it read was written since.
    Conflict,
    /// Not applied: its read version is no longer known.
    TooOld,
    /// Perhaps applied.
    Unknown,
}

/// A commit as it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Whose it was.
    pub id: RequestId,
    /// Where.
    pub position: Position,
    /// Rows set and removed, in order (a later one of the same key wins): stamps are written, and a cleared range is the
    /// rows that it held.
    pub rows: Vec<(Bytes, Option<Bytes>)>,
}

/// A database.
#[derive(Debug)]
pub struct Database {
    origin: Version,
    /// The time of `origin`, in microseconds.
    epoch_us: u64,
    /// The newest version that was given to anybody.
    newest: Version,
    /// Versions skipped by recoveries.
    jumped: u64,
    lag: u64,
    rows: Rows,
    resolver: Resolver,
    watches: Watches,
    in_flight: BTreeMap<RequestId, Transaction>,
    #[cfg(test)]
    pub(crate) fault: Option<Fault>,
}

impl Database {
    /// An empty database whose versions begin at `origin`, at a time.
    pub fn new(origin: Version, now_us: u64) -> Database {
        Database {
            origin,
            epoch_us: now_us,
            newest: origin,
            jumped: 0,
            lag: 0,
            rows: Rows::default(),
            resolver: Resolver::default(),
            watches: Watches::default(),
            in_flight: BTreeMap::new(),
            #[cfg(test)]
            fault: None,
        }
    }

    /// How versions are turned into revisions.
    pub fn revisions(&self) -> Revisions {
        Revisions { origin: self.origin }
    }

    /// The newest version given to anybody.
    pub fn newest(&self) -> Version {
        self.newest
    }

    /// How many states of rows, writes and watches are kept: what pruning bounds.
    pub fn kept(&self) -> (usize, usize, usize) {
        (self.rows.states(), self.resolver.len(), self.watches.len())
    }

    /// Connections that have had watches and are not gone.
    pub fn watching(&self) -> Vec<u64> {
        self.watches.connections()
    }

    /// Commits in flight, by who asked.
    pub fn in_flight(&self) -> impl Iterator<Item = RequestId> {
        self.in_flight.keys().copied()
    }

    /// Does one command at a time, in microseconds. Time that goes back stands still.
    pub fn apply(&mut self, now_us: u64, command: Command) -> Effects {
        self.advance(now_us);
        let mut effects = Effects::default();
        match command {
            Command::ReadVersion => effects.answer = Some(Answer::Version(self.newest)),
            Command::Get { at, key } => effects.answer = Some(self.get(at, &key)),
            Command::Range { at, range, limit, reverse, bytes_max } => {
                effects.answer = Some(match self.check_readable(at) {
                    Ok(at) => Answer::Page(self.rows.range(&range, at, limit, reverse, bytes_max)),
                    Err(refusal) => Answer::Refused(refusal),
                });
            }
            Command::Submit { id, transaction } => match transaction.check_limits() {
                Ok(()) => drop(self.in_flight.insert(id, *transaction)),
                Err(message) => effects.answer = Some(Answer::Refused(Refusal::TooLarge(message))),
            },
            Command::CommitBatch(batch) => self.commit_batch(batch, &mut effects),
            Command::Watch { id, key, seen } => effects.answer = Some(self.watch(id, key, seen)),
            Command::CheckWatch(id) => {
                effects.answer = self.watches.check(id, &self.rows).then_some(Answer::Fired);
            }
            Command::EndWatch(id) => effects.answer = self.watches.remove(id).then_some(Answer::Fired),
            Command::Disconnect { connection } => self.watches.disconnect(connection),
            Command::Recover { versions, logged } => self.recover(versions, logged, &mut effects),
            Command::Lag { versions } => self.lag = versions,
        }
        effects
    }

    /// Versions follow the clock, and never go back.
    fn advance(&mut self, now_us: u64) {
        let passed_us = now_us.saturating_sub(self.epoch_us);
        let clock = self.origin.0 + self.jumped + passed_us * (VERSIONS_PER_SECOND / 1_000_000);
        self.move_to(Version(clock));
    }

    fn move_to(&mut self, version: Version) {
        if version > self.newest {
            self.newest = version;
            let mut oldest = version.oldest_known();
            if self.is_faulty(Fault::PrunesTooEarly) {
                oldest = version;
            }
            self.rows.prune(oldest);
            self.resolver.prune(oldest);
        }
    }

    fn check_readable(&self, at: Version) -> Result<Version, Refusal> {
        if at < self.newest.oldest_known() {
            return Err(Refusal::TooOld);
        }
        if at.0 > self.newest.0.saturating_sub(self.lag) {
            return Err(Refusal::FutureVersion);
        }
        Ok(if self.is_faulty(Fault::ReadsOneVersionLate) { Version(at.0 + 1) } else { at })
    }

    fn get(&self, at: Version, key: &[u8]) -> Answer {
        match self.check_readable(at) {
            Ok(at) => Answer::Value(self.rows.get(key, at).cloned()),
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    fn watch(&mut self, id: RequestId, key: Bytes, seen: Option<Bytes>) -> Answer {
        if self.rows.newest(&key) != seen.as_ref() {
            return Answer::Fired;
        }
        if self.watches.arm(id, key, seen) { Answer::Armed } else { Answer::Refused(Refusal::TooManyWatches) }
    }

    fn commit_batch(&mut self, mut batch: Vec<(RequestId, Fate)>, effects: &mut Effects) {
        batch.truncate(BATCH_TRANSACTIONS_MAX);
        let version = Version(self.newest.0 + 1);
        self.move_to(version);
        for (order, (id, fate)) in (0_u16..).zip(batch) {
            let Some(transaction) = self.in_flight.remove(&id) else { continue };
            let order = if self.is_faulty(Fault::SharesBatchOrder) { 0 } else { order };
            let outcome = match fate {
                Fate::Conflict => Outcome::Conflict,
                Fate::UnknownDropped => Outcome::Unknown,
                Fate::Honest | Fate::Unknown => {
                    let outcome = self.resolve(id, transaction, Position { version, order }, &mut effects.applied);
                    if fate == Fate::Unknown { Outcome::Unknown } else { outcome }
                }
            };
            effects.outcomes.push((id, outcome));
        }
        self.trigger(effects);
    }

    fn resolve(
        &mut self,
        id: RequestId,
        transaction: Transaction,
        position: Position,
        applied: &mut Vec<Applied>,
    ) -> Outcome {
        let Transaction { read_version, reads, writes, mutations } = transaction;
        // As in FoundationDB, who read nothing is never too old: clients see to it that each reads something.
        if read_version < position.version.oldest_known() && !reads.is_empty() {
            return Outcome::TooOld;
        }
        let mut after = read_version;
        if self.is_faulty(Fault::ConflictsWithOldWrites) {
            after = Version(after.0.saturating_sub(1));
        }
        if reads.iter().any(|span| self.resolver.was_written(span, after)) {
            return Outcome::Conflict;
        }
        let rows = self.write(mutations, position);
        for span in writes {
            self.resolver.write(span, position.version);
        }
        applied.push(Applied { id, position, rows });
        Outcome::Committed(position)
    }

    fn write(&mut self, mutations: Vec<Mutation>, position: Position) -> Vec<(Bytes, Option<Bytes>)> {
        let (version, stamp) = (position.version, position.stamp());
        let mut rows = Vec::with_capacity(mutations.len());
        for mutation in mutations {
            let (key, value) = match mutation {
                Mutation::Set { key, value } => (key, Some(value)),
                Mutation::SetStampedKey { key, offset, value } => (stamped(&key, offset, &stamp), Some(value)),
                Mutation::SetStampedValue { key, value, offset } => (key, Some(stamped(&value, offset, &stamp))),
                Mutation::Clear { key } => (key, None),
                Mutation::ClearRange(range) => {
                    for key in self.rows.keys(&range) {
                        self.rows.write(key.clone(), None, version);
                        rows.push((key, None));
                    }
                    if !self.is_faulty(Fault::ResolverIgnoresClearRange) {
                        self.resolver.write(Span::Range(range), version);
                    }
                    continue;
                }
            };
            self.resolver.write(Span::Key(key.clone()), version);
            self.rows.write(key.clone(), value.clone(), version);
            rows.push((key, value));
        }
        rows
    }

    /// Looks at what the commits did once all are applied: nobody sees less than a batch.
    fn trigger(&mut self, effects: &mut Effects) {
        if self.watches.is_empty() {
            return;
        }
        for (key, value) in effects.applied.iter().flat_map(|applied| &applied.rows) {
            if value.is_none() && self.is_faulty(Fault::LosesWatchesOfRemovals) {
                continue;
            }
            self.watches.trigger(key, self.rows.newest(key), &mut effects.triggered);
        }
    }

    fn recover(&mut self, versions: u64, logged: Vec<RequestId>, effects: &mut Effects) {
        let mut rest = logged.into_iter().map(|id| (id, Fate::Unknown)).collect::<Vec<_>>();
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(BATCH_TRANSACTIONS_MAX));
            self.commit_batch(std::mem::replace(&mut rest, later), effects);
        }
        let dropped = std::mem::take(&mut self.in_flight);
        effects.outcomes.extend(dropped.into_keys().map(|id| (id, Outcome::Unknown)));
        self.jumped += versions;
        self.move_to(Version(self.newest.0 + versions));
    }

    #[cfg(test)]
    fn is_faulty(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "faults are planted in tests only")]
    fn is_faulty(&self, _: Fault) -> bool {
        false
    }
}
