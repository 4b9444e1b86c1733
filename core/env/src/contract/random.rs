//! Random transactions against a sequential model.
//!
//! A program is a handful of transactions and a schedule that interleaves their steps; some commits are handed in
//! together. Afterwards the committed ones are put in the order of their revisions and replayed on a plain map:
//!
//! - every read shows the state at its read version, whole (S5);
//! - every serializable read of a committed transaction still holds right before its commit, and no declared read key
//!   was written in between (S1);
//! - a read version is at least every commit acknowledged before the begin, and revisions grow from an acknowledged
//!   commit to one handed in later (S2);
//! - in the end the storage holds what the model holds: refused transactions left no trace (S3), stamps are the revision.
//!
//! Each transaction writes a stamped row of its own, which tells whether one whose outcome is unknown was applied.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::future::join_all;
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{Subject, begin};
use crate::storage::{CommitError, Isolation, KeyRange, Revision, Row, STAMP_BYTES, Stamp, Storage, Transaction};

const CASES: usize = 150;
const SHRINKS_MAX: usize = 400;
/// Few keys, so that transactions meet.
const KEYS: u8 = 6;

/// One step of a transaction.
#[derive(Debug, Clone)]
enum Step {
    Get { key: u8, isolation: Isolation },
    Range { start: u8, end: u8, limit: usize, reverse: bool, isolation: Isolation },
    ReadConflict { key: u8 },
    WriteConflict { key: u8 },
    Set { key: u8, value: u8 },
    SetStampedKey { prefix: u8, value: u8 },
    SetStampedValue { key: u8, offset: usize },
    Clear { key: u8 },
    ClearRange { start: u8, end: u8 },
}

/// Transactions, and whose turn it is: each turn does the next step of one; past its last step it commits. Commits of
/// neighbouring turns marked `true` are handed in together.
#[derive(Debug, Clone)]
struct Program {
    transactions: Vec<Vec<Step>>,
    turns: Vec<(usize, bool)>,
}

fn programs() -> impl Strategy<Value = Program> {
    let isolation = || prop_oneof![3 => Just(Isolation::Serializable), 1 => Just(Isolation::Snapshot)];
    let key = || 0..KEYS;
    let step = prop_oneof![
        4 => (key(), isolation()).prop_map(|(key, isolation)| Step::Get { key, isolation }),
        3 => (key(), key(), 0..4_usize, any::<bool>(), isolation())
            .prop_map(|(start, end, limit, reverse, isolation)| Step::Range { start, end, limit, reverse, isolation }),
        1 => key().prop_map(|key| Step::ReadConflict { key }),
        1 => key().prop_map(|key| Step::WriteConflict { key }),
        4 => (key(), any::<u8>()).prop_map(|(key, value)| Step::Set { key, value }),
        1 => (key(), any::<u8>()).prop_map(|(prefix, value)| Step::SetStampedKey { prefix, value }),
        1 => (key(), 0..3_usize).prop_map(|(key, offset)| Step::SetStampedValue { key, offset }),
        2 => key().prop_map(|key| Step::Clear { key }),
        1 => (key(), key()).prop_map(|(start, end)| Step::ClearRange { start, end }),
    ];
    let transactions = vec(vec(step, 1..6), 1..7);
    let turns = vec((any::<usize>(), prop::bool::weighted(0.7)), 10..60);
    (transactions, turns).prop_map(|(transactions, turns)| {
        let count = transactions.len();
        Program { transactions, turns: turns.into_iter().map(|(turn, joined)| (turn % count, joined)).collect() }
    })
}

/// S1, S2, S3 and S5 on random programs.
pub async fn s1_random_transactions_are_serializable(subject: Subject) {
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let programs = programs();
    let mut run = 0;
    for case in 0..CASES {
        let mut tree = programs.new_tree(&mut runner).unwrap_or_else(|reason| panic!("{reason}"));
        run += 1;
        let Err(mut failure) = run_program(&subject.storage, &tree.current(), run).await else { continue };
        let mut smallest = tree.current();
        let mut smaller = tree.simplify();
        for _ in 0..SHRINKS_MAX {
            if !smaller {
                break;
            }
            run += 1;
            match run_program(&subject.storage, &tree.current(), run).await {
                Err(reason) => {
                    (failure, smallest) = (reason, tree.current());
                    smaller = tree.simplify();
                }
                Ok(()) => smaller = tree.complicate(),
            }
        }
        panic!("case {case} of the fixed seed: {failure}\n{smallest:#?}");
    }
}

/// What a transaction was asked to do, and what came of it.
struct Attempt {
    steps: Vec<Step>,
    next: usize,
    transaction: Option<Box<dyn Transaction>>,
    read_version: Revision,
    /// Number of commits acknowledged when it was handed in, and the highest revision of those.
    after: Revision,
    reads: Vec<(Step, Vec<Row>)>,
    outcome: Option<Result<Revision, CommitError>>,
}

/// Keys of a run have a prefix of their own, so that all programs can share a storage.
struct Run<'a> {
    storage: &'a Arc<dyn Storage>,
    prefix: String,
    attempts: Vec<Attempt>,
    /// The highest revision acknowledged.
    acknowledged: Revision,
}

async fn run_program(storage: &Arc<dyn Storage>, program: &Program, run: usize) -> Result<(), String> {
    let attempt = |steps: &Vec<Step>| Attempt {
        steps: steps.clone(),
        next: 0,
        transaction: None,
        read_version: Revision(0),
        after: Revision(0),
        reads: Vec::new(),
        outcome: None,
    };
    let attempts = program.transactions.iter().map(attempt).collect();
    let mut run = Run { storage, prefix: format!("run{run:05}/"), attempts, acknowledged: Revision(0) };
    // Whatever the schedule left undone is done at the end, in order.
    let rest = (0..run.attempts.len()).flat_map(|index| std::iter::repeat_n((index, true), 8));
    let mut together = Vec::new();
    for (index, joined) in program.turns.iter().copied().chain(rest) {
        if run.turn(index).await? {
            together.push(index);
        }
        if !joined {
            run.commit(std::mem::take(&mut together)).await;
        }
    }
    run.commit(together).await;
    run.check().await
}

impl Run<'_> {
    fn key(&self, key: u8) -> Bytes {
        Bytes::from(format!("{}key{key}", self.prefix))
    }

    fn range(&self, start: u8, end: u8) -> KeyRange {
        KeyRange { start: self.key(start), end: self.key(end) }
    }

    fn marker(&self, index: usize) -> Bytes {
        Bytes::from(format!("{}applied{index}", self.prefix))
    }

    /// Does the next step of a transaction. True: it has none left, and is to be committed.
    async fn turn(&mut self, index: usize) -> Result<bool, String> {
        let attempt = &self.attempts[index];
        let Some(step) = attempt.steps.get(attempt.next).cloned() else {
            let first_time = attempt.next == attempt.steps.len();
            self.attempts[index].next += 1;
            return Ok(first_time);
        };
        let mut transaction = match self.attempts[index].transaction.take() {
            Some(transaction) => transaction,
            None => {
                let transaction = begin(self.storage).await;
                let (read_version, acknowledged) = (transaction.read_version(), self.acknowledged);
                if read_version < acknowledged {
                    return Err(format!("S2: read version {read_version} after the commit {acknowledged}"));
                }
                self.attempts[index].read_version = read_version;
                transaction
            }
        };
        if let Some(rows) = self.execute(&mut transaction, &step).await? {
            self.attempts[index].reads.push((step, rows));
        }
        let attempt = &mut self.attempts[index];
        attempt.transaction = Some(transaction);
        attempt.next += 1;
        Ok(false)
    }

    async fn execute(&self, transaction: &mut Box<dyn Transaction>, step: &Step) -> Result<Option<Vec<Row>>, String> {
        match step {
            Step::Get { key, isolation } => {
                let key = self.key(*key);
                let value = transaction.get(&key, *isolation).await.map_err(|error| error.to_string())?;
                return Ok(Some(value.map(|value| Row { key, value }).into_iter().collect()));
            }
            Step::Range { start, end, limit, reverse, isolation } => {
                let rows = transaction.range(self.range(*start, *end), *limit, *reverse, *isolation).await;
                return rows.map(Some).map_err(|error| error.to_string());
            }
            Step::ReadConflict { key } => transaction.add_read_conflict_key(self.key(*key)),
            Step::WriteConflict { key } => transaction.add_write_conflict_key(self.key(*key)),
            Step::Set { key, value } => transaction.set(self.key(*key), Bytes::from(vec![*value])),
            Step::SetStampedKey { prefix, value } => {
                transaction.set_stamped_key(&self.key(*prefix), b"/stamped", Bytes::from(vec![*value]));
            }
            Step::SetStampedValue { key, offset } => {
                transaction.set_stamped_value(self.key(*key), vec![b'.'; STAMP_BYTES + 2], *offset);
            }
            Step::Clear { key } => transaction.clear(self.key(*key)),
            Step::ClearRange { start, end } => transaction.clear_range(self.range(*start, *end)),
        }
        Ok(None)
    }

    /// Hands in commits together and takes their answers.
    async fn commit(&mut self, together: Vec<usize>) {
        let mut commits = Vec::new();
        for index in together {
            let marker = self.marker(index);
            let attempt = &mut self.attempts[index];
            if let Some(mut transaction) = attempt.transaction.take() {
                transaction.set_stamped_value(marker, vec![0; STAMP_BYTES], 0);
                attempt.after = self.acknowledged;
                commits.push(async move { (index, transaction.commit().await) });
            }
        }
        for (index, outcome) in join_all(commits).await {
            if let Ok(revision) = outcome {
                self.acknowledged = self.acknowledged.max(revision);
            }
            self.attempts[index].outcome = Some(outcome);
        }
    }

    /// Compares everything that was seen with the model.
    async fn check(&self) -> Result<(), String> {
        let mut reader = begin(self.storage).await;
        let everything = KeyRange { start: self.prefix.clone().into(), end: format!("{}~", self.prefix).into() };
        let stored =
            reader.range(everything, 10_000, false, Isolation::Snapshot).await.map_err(|error| error.to_string())?;
        let stored: BTreeMap<Bytes, Bytes> = stored.into_iter().map(|row| (row.key, row.value)).collect();
        let committed = self.committed(&stored)?;
        let mut states = vec![(Revision(0), BTreeMap::new())];
        for (revision, index) in &committed {
            let before = states.last().map(|(_, state)| state).cloned().unwrap_or_default();
            self.check_serializable(*index, *revision, &before, &committed)?;
            states.push((*revision, self.apply(*index, *revision, before)));
        }
        for (index, attempt) in self.attempts.iter().enumerate() {
            let shown = states.iter().rev().find(|(revision, _)| *revision <= attempt.read_version);
            let shown = shown.map(|(_, state)| state).cloned().unwrap_or_default();
            for (step, rows) in &attempt.reads {
                let expect = self.read(step, &shown);
                if *rows != expect {
                    let version = attempt.read_version;
                    return Err(format!(
                        "S5: transaction {index} at {version}: {step:?} gave {rows:?}, not {expect:?}"
                    ));
                }
            }
        }
        let last = states.pop().map(|(_, state)| state).unwrap_or_default();
        if last == stored { Ok(()) } else { Err(format!("S3: stored is {stored:?}, the commits make {last:?}")) }
    }

    /// The committed transactions in the order of their revisions. Checks that revisions are what S2 says.
    fn committed(&self, stored: &BTreeMap<Bytes, Bytes>) -> Result<Vec<(Revision, usize)>, String> {
        let mut committed = Vec::new();
        for (index, attempt) in self.attempts.iter().enumerate() {
            let stamp: Option<Stamp> = stored.get(&self.marker(index)).and_then(|value| value.first_chunk().copied());
            let applied = stamp.map(|stamp| self.storage.revision_of(&stamp));
            match (&attempt.outcome, applied) {
                (Some(Ok(revision)), Some(applied)) if *revision == applied => committed.push((applied, index)),
                (Some(Err(CommitError::Unknown)), Some(applied)) => committed.push((applied, index)),
                (Some(Err(_)) | None, None) => continue,
                (outcome, applied) => {
                    return Err(format!("S3: transaction {index} was answered {outcome:?}, applied at {applied:?}"));
                }
            }
            if let Some((revision, _)) = committed.last().filter(|(revision, _)| *revision <= attempt.after) {
                return Err(format!("S2: transaction {index} at {revision} was handed in after {}", attempt.after));
            }
        }
        committed.sort_unstable();
        if committed.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("S2: one revision twice: {committed:?}"));
        }
        Ok(committed)
    }

    fn check_serializable(
        &self,
        index: usize,
        revision: Revision,
        before: &BTreeMap<Bytes, Bytes>,
        committed: &[(Revision, usize)],
    ) -> Result<(), String> {
        let attempt = &self.attempts[index];
        for (step, rows) in &attempt.reads {
            let (Step::Get { isolation, .. } | Step::Range { isolation, .. }) = step else { continue };
            if *isolation == Isolation::Serializable && *rows != self.read(step, before) {
                return Err(format!("S1: transaction {index} committed at {revision}, but {step:?} no longer held"));
            }
        }
        let between = |at: &Revision| *at > attempt.read_version && *at < revision;
        for step in &attempt.steps {
            let Step::ReadConflict { key } = step else { continue };
            for (at, other) in committed.iter().filter(|(at, _)| between(at)) {
                if self.attempts[*other].steps.iter().any(|step| writes(step, *key)) {
                    return Err(format!(
                        "S1: transaction {index} committed at {revision}, but key{key} was written at {at}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// What a read shows in a state.
    fn read(&self, step: &Step, state: &BTreeMap<Bytes, Bytes>) -> Vec<Row> {
        let row = |(key, value): (&Bytes, &Bytes)| Row { key: key.clone(), value: value.clone() };
        match step {
            Step::Get { key, .. } => state.get_key_value(&self.key(*key)).map(row).into_iter().collect(),
            Step::Range { start, end, limit, reverse, .. } if start < end => {
                let rows = state.range(self.key(*start)..self.key(*end));
                if *reverse { rows.rev().take(*limit).map(row).collect() } else { rows.take(*limit).map(row).collect() }
            }
            _ => Vec::new(),
        }
    }

    /// The state after a commit.
    fn apply(&self, index: usize, revision: Revision, mut state: BTreeMap<Bytes, Bytes>) -> BTreeMap<Bytes, Bytes> {
        let stamp = self.storage.stamp_of(revision);
        for step in &self.attempts[index].steps {
            match step {
                Step::Set { key, value } => drop(state.insert(self.key(*key), Bytes::from(vec![*value]))),
                Step::SetStampedKey { prefix, value } => {
                    let key = [&self.key(*prefix)[..], &stamp, b"/stamped"].concat();
                    state.insert(Bytes::from(key), Bytes::from(vec![*value]));
                }
                Step::SetStampedValue { key, offset } => {
                    let mut value = vec![b'.'; STAMP_BYTES + 2];
                    value[*offset..*offset + STAMP_BYTES].copy_from_slice(&stamp);
                    state.insert(self.key(*key), Bytes::from(value));
                }
                Step::Clear { key } => drop(state.remove(&self.key(*key))),
                Step::ClearRange { start, end } => {
                    state.retain(|key, _| *key < self.key(*start) || *key >= self.key(*end));
                }
                Step::Get { .. } | Step::Range { .. } | Step::ReadConflict { .. } | Step::WriteConflict { .. } => {}
            }
        }
        state.insert(self.marker(index), Bytes::copy_from_slice(&stamp));
        state
    }
}

/// Whether a step counts as a write of this very key.
fn writes(step: &Step, of: u8) -> bool {
    match step {
        Step::Set { key, .. }
        | Step::SetStampedValue { key, .. }
        | Step::Clear { key }
        | Step::WriteConflict { key } => *key == of,
        Step::ClearRange { start, end } => (*start..*end).contains(&of),
        Step::Get { .. } | Step::Range { .. } | Step::ReadConflict { .. } | Step::SetStampedKey { .. } => false,
    }
}
