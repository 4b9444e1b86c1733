//! The database against a naive serial executor, on random programs; and planted faults, which must be found.
//!
//! The executor keeps the whole state after every commit. It is told what the database did and checks that it was right:
//!
//! - a read shows the state at its version, and is refused only when it is too old or too new;
//! - a committed transaction, replayed where it was put, reads what it read, and nothing that it read or declared was
//!   written in between; a conflict is justified by such a write, and "too old" by the age;
//! - positions grow, are above every read version given before, and stamps are positions;
//! - a watch is told of a commit after which its value differs, and fires if it still does;
//! - in the end nothing is kept that nobody can read.

use std::{cell::RefCell, collections::BTreeMap};

use bytes::Bytes;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use triune_env::storage::{KeyRange, Row};

use crate::{
    Answer, Applied, Command, Database, Effects, Fate, Mutation, Outcome, Position, Refusal, RequestId, Span,
    Transaction, Version,
    fault::Fault,
    version::{LIFE_VERSIONS, RECOVERY_VERSIONS},
};

/// Few keys, so that transactions meet.
const KEYS: u8 = 5;
/// Transactions open at a time.
const SLOTS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Pass { time_us: u64 },
    Get { slot: usize, key: u8, snapshot: bool },
    Range { slot: usize, start: u8, end: u8, limit: usize, reverse: bool, snapshot: bool },
    Declare { slot: usize, key: u8, write: bool },
    Set { slot: usize, key: u8, value: u8 },
    SetStampedKey { slot: usize, key: u8 },
    SetStampedValue { slot: usize, key: u8, offset: usize },
    Clear { slot: usize, key: u8 },
    ClearRange { slot: usize, start: u8, end: u8 },
    Submit { slot: usize },
    Commit { fates: Vec<Fate> },
    Watch { key: u8, stale: bool },
    CheckWatches,
    Recover { logged: usize, versions: u64 },
    Lag { versions: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || 0..SLOTS;
    let key = || 0..KEYS;
    let fate = prop_oneof![
        12 => Just(Fate::Honest), 1 => Just(Fate::Conflict), 1 => Just(Fate::Unknown), 1 => Just(Fate::UnknownDropped)
    ];
    prop_oneof![
        3 => prop_oneof![8 => 0..4_u64, 1 => 1_000_000..6_000_000_u64].prop_map(|time_us| Step::Pass { time_us }),
        6 => (slot(), key(), any::<bool>()).prop_map(|(slot, key, snapshot)| Step::Get { slot, key, snapshot }),
        4 => (slot(), key(), 0..KEYS + 1, 0..4_usize, any::<(bool, bool)>()).prop_map(
            |(slot, start, end, limit, (reverse, snapshot))| Step::Range { slot, start, end, limit, reverse, snapshot }
        ),
        2 => (slot(), key(), any::<bool>()).prop_map(|(slot, key, write)| Step::Declare { slot, key, write }),
        5 => (slot(), key(), 0..3_u8).prop_map(|(slot, key, value)| Step::Set { slot, key, value }),
        2 => (slot(), key()).prop_map(|(slot, key)| Step::SetStampedKey { slot, key }),
        2 => (slot(), key(), 0..3_usize)
            .prop_map(|(slot, key, offset)| Step::SetStampedValue { slot, key, offset }),
        3 => (slot(), key()).prop_map(|(slot, key)| Step::Clear { slot, key }),
        3 => (slot(), key(), 0..KEYS + 1).prop_map(|(slot, start, end)| Step::ClearRange { slot, start, end }),
        6 => slot().prop_map(|slot| Step::Submit { slot }),
        6 => vec(fate, 1..5).prop_map(|fates| Step::Commit { fates }),
        3 => (key(), prop::bool::weighted(0.2)).prop_map(|(key, stale)| Step::Watch { key, stale }),
        2 => Just(Step::CheckWatches),
        1 => (0..3_usize, prop_oneof![Just(0), Just(RECOVERY_VERSIONS)])
            .prop_map(|(logged, versions)| Step::Recover { logged, versions }),
        1 => prop_oneof![3 => Just(0), 1 => 1..10_u64].prop_map(|versions| Step::Lag { versions }),
    ]
}

type State = BTreeMap<Bytes, Bytes>;

/// A transaction with what it read.
#[derive(Debug, Clone, Default)]
struct Open {
    transaction: Transaction,
    reads: Vec<(Read, Vec<Row>)>,
}

#[derive(Debug, Clone)]
enum Read {
    Get(Bytes),
    Range { range: KeyRange, limit: usize, reverse: bool },
}

impl Read {
    fn of(&self, state: &State) -> Vec<Row> {
        let row = |(key, value): (&Bytes, &Bytes)| Row { key: key.clone(), value: value.clone() };
        match self {
            Read::Get(key) => state.get_key_value(key).map(row).into_iter().collect(),
            Read::Range { range, limit, reverse } => {
                let inside = |(key, _): &(&Bytes, &Bytes)| range.start <= **key && **key < range.end;
                let rows = state.iter().filter(inside);
                if *reverse { rows.rev().take(*limit).map(row).collect() } else { rows.take(*limit).map(row).collect() }
            }
        }
    }

    /// What of it was looked at.
    fn span(&self, rows: &[Row]) -> Span {
        match self {
            Read::Get(key) => Span::Key(key.clone()),
            Read::Range { range: KeyRange { start, end }, limit, reverse } => {
                let (mut start, mut end) = (start.clone(), end.clone());
                if let Some(last) = rows.last().filter(|_| rows.len() == *limit) {
                    if *reverse {
                        start = last.key.clone();
                    } else {
                        end = Bytes::from([&last.key[..], &[0]].concat());
                    }
                }
                Span::Range(KeyRange { start, end })
            }
        }
    }
}

/// What the executor knows of a commit.
struct Commit {
    position: Position,
    wrote: Vec<Span>,
    after: State,
}

/// What programs came to: what never happens is not judged.
#[derive(Debug, Default)]
struct Reached {
    committed: usize,
    conflicts: usize,
    commits_too_old: usize,
    unknown_applied: usize,
    reads_too_old: usize,
    reads_too_new: usize,
    fired: usize,
    came_back: usize,
}

impl Reached {
    fn add(&mut self, other: &Reached) {
        self.committed += other.committed;
        self.conflicts += other.conflicts;
        self.commits_too_old += other.commits_too_old;
        self.unknown_applied += other.unknown_applied;
        self.reads_too_old += other.reads_too_old;
        self.reads_too_new += other.reads_too_new;
        self.fired += other.fired;
        self.came_back += other.came_back;
    }
}

struct Watching {
    key: Bytes,
    seen: Option<Bytes>,
    triggered: bool,
}

struct Run {
    database: Database,
    now_us: u64,
    slots: Vec<Option<Open>>,
    in_flight: BTreeMap<RequestId, Open>,
    watches: BTreeMap<RequestId, Watching>,
    commits: Vec<Commit>,
    newest_read: Version,
    lag: u64,
    requests: u64,
    reached: Reached,
}

fn key(key: u8) -> Bytes {
    Bytes::from(format!("key{key}"))
}

fn range(start: u8, end: u8) -> KeyRange {
    KeyRange { start: key(start), end: key(end) }
}

fn bounds(span: &Span) -> (Vec<u8>, Vec<u8>) {
    match span {
        Span::Key(key) => (key.to_vec(), [&key[..], &[0]].concat()),
        Span::Range(range) => (range.start.to_vec(), range.end.to_vec()),
    }
}

fn meet(one: &Span, other: &Span) -> bool {
    let ((one_start, one_end), (other_start, other_end)) = (bounds(one), bounds(other));
    one_start.max(other_start) < one_end.min(other_end)
}

fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Run {
    fn new(fault: Option<Fault>) -> Run {
        let origin = Version(1_000);
        let mut database = Database::new(origin, 50);
        database.fault = fault;
        Run {
            database,
            now_us: 50,
            slots: vec![None; SLOTS],
            in_flight: BTreeMap::new(),
            watches: BTreeMap::new(),
            commits: Vec::new(),
            newest_read: origin,
            lag: 0,
            requests: 0,
            reached: Reached::default(),
        }
    }

    fn apply(&mut self, command: Command) -> Effects {
        self.database.apply(self.now_us, command)
    }

    fn state(&self) -> State {
        self.commits.last().map(|commit| commit.after.clone()).unwrap_or_default()
    }

    fn state_at(&self, version: Version) -> State {
        let shown = self.commits.iter().rfind(|commit| commit.position.version <= version);
        shown.map(|commit| commit.after.clone()).unwrap_or_default()
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId { connection: self.requests % 3, request: self.requests }
    }

    /// The transaction of a slot; begun if there is none.
    fn open(&mut self, slot: usize) -> Result<&mut Open, String> {
        if self.slots[slot].is_none() {
            let Some(Answer::Version(version)) = self.apply(Command::ReadVersion).answer else {
                return Err("no read version".to_owned());
            };
            let newest = self.commits.last().map_or(Version(0), |commit| commit.position.version);
            require(version >= newest.max(self.newest_read), || format!("read version {version} goes back"))?;
            self.newest_read = version;
            let transaction = Transaction { read_version: version, ..Transaction::default() };
            self.slots[slot] = Some(Open { transaction, reads: Vec::new() });
        }
        self.slots[slot].as_mut().ok_or_else(|| "not begun".to_owned())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Pass { time_us } => self.now_us += time_us,
            Step::Get { slot, key: of, snapshot } => self.read(*slot, Read::Get(key(*of)), *snapshot)?,
            Step::Range { slot, start, end, limit, reverse, snapshot } => {
                let read = Read::Range { range: range(*start, *end), limit: *limit, reverse: *reverse };
                self.read(*slot, read, *snapshot)?;
            }
            Step::Declare { slot, key: of, write } => {
                let transaction = &mut self.open(*slot)?.transaction;
                let spans = if *write { &mut transaction.writes } else { &mut transaction.reads };
                spans.push(Span::Key(key(*of)));
            }
            Step::Set { slot, key: of, value } => {
                self.mutate(*slot, Mutation::Set { key: key(*of), value: Bytes::from(vec![*value]) })?;
            }
            Step::SetStampedKey { slot, key: of } => {
                let stamped = Bytes::from([&key(*of)[..], &[0; 10], b"/"].concat());
                self.mutate(*slot, Mutation::SetStampedKey { key: stamped, offset: 4, value: key(*of) })?;
            }
            Step::SetStampedValue { slot, key: of, offset } => {
                let value = Bytes::from(vec![b'.'; 12]);
                self.mutate(*slot, Mutation::SetStampedValue { key: key(*of), value, offset: *offset })?;
            }
            Step::Clear { slot, key: of } => self.mutate(*slot, Mutation::Clear { key: key(*of) })?,
            Step::ClearRange { slot, start, end } => {
                self.mutate(*slot, Mutation::ClearRange(range(*start, *end)))?;
            }
            Step::Submit { slot } => self.submit(*slot)?,
            Step::Commit { fates } => {
                let ids: Vec<_> = self.in_flight.keys().copied().collect();
                self.commit(ids.into_iter().rev().zip(fates.iter().copied()).collect())?;
            }
            Step::Watch { key: of, stale } => self.watch(key(*of), *stale)?,
            Step::CheckWatches => self.check_watches()?,
            Step::Recover { logged, versions } => self.recover(*logged, *versions)?,
            Step::Lag { versions } => {
                self.lag = *versions;
                self.apply(Command::Lag { versions: *versions });
            }
        }
        Ok(())
    }

    fn read(&mut self, slot: usize, read: Read, snapshot: bool) -> Result<(), String> {
        let at = self.open(slot)?.transaction.read_version;
        let command = match read.clone() {
            Read::Get(key) => Command::Get { at, key },
            Read::Range { range, limit, reverse } => {
                Command::Range { at, range, limit, reverse, bytes_max: usize::MAX }
            }
        };
        let answer = self.apply(command).answer;
        let newest = self.database.newest();
        let rows = match (answer, &read) {
            (Some(Answer::Refused(Refusal::TooOld)), _) if at.0 + LIFE_VERSIONS < newest.0 => {
                self.reached.reads_too_old += 1;
                return Ok(());
            }
            (Some(Answer::Refused(Refusal::FutureVersion)), _) if at.0 + self.lag > newest.0 => {
                self.reached.reads_too_new += 1;
                return Ok(());
            }
            (Some(Answer::Value(value)), Read::Get(key)) => {
                value.map(|value| Row { key: key.clone(), value }).into_iter().collect()
            }
            (Some(Answer::Page(page)), Read::Range { .. }) if !page.more => page.rows,
            (answer, read) => return Err(format!("{read:?} at {at} of {newest} gave {answer:?}")),
        };
        require(at.0 + LIFE_VERSIONS >= newest.0 && at.0 + self.lag <= newest.0, || "read, though refused".to_owned())?;
        let expect = read.of(&self.state_at(at));
        require(rows == expect, || format!("{read:?} at {at} gave {rows:?}, not {expect:?}"))?;
        let open = self.open(slot)?;
        if !snapshot {
            open.transaction.reads.push(read.span(&rows));
            open.reads.push((read, rows));
        }
        Ok(())
    }

    fn mutate(&mut self, slot: usize, mutation: Mutation) -> Result<(), String> {
        self.open(slot)?.transaction.mutations.push(mutation);
        Ok(())
    }

    fn submit(&mut self, slot: usize) -> Result<(), String> {
        let Some(open) = self.slots[slot].take() else { return Ok(()) };
        let id = self.request();
        let transaction = Box::new(open.transaction.clone());
        let effects = self.apply(Command::Submit { id, transaction });
        require(effects == Effects::default(), || format!("handing in gave {effects:?}"))?;
        self.in_flight.insert(id, open);
        Ok(())
    }

    fn commit(&mut self, batch: Vec<(RequestId, Fate)>) -> Result<(), String> {
        let effects = self.apply(Command::CommitBatch(batch.clone()));
        require(effects.outcomes.len() == batch.len(), || "a commit of the batch is not decided".to_owned())?;
        self.decided(&effects, &batch)?;
        self.check_triggers(&effects)
    }

    /// Goes through what was decided, in commit order.
    fn decided(&mut self, effects: &Effects, batch: &[(RequestId, Fate)]) -> Result<(), String> {
        let fates: BTreeMap<_, _> = batch.iter().copied().collect();
        let mut applied = effects.applied.iter().peekable();
        for (id, outcome) in &effects.outcomes {
            let Some(open) = self.in_flight.remove(id) else { return Err(format!("{id:?} was not in flight")) };
            let done = applied.next_if(|applied| applied.id == *id);
            let fate = fates.get(id).copied().unwrap_or(Fate::UnknownDropped);
            match (outcome, fate, done) {
                (Outcome::Committed(position), Fate::Honest, Some(done)) if *position == done.position => {
                    self.reached.committed += 1;
                    self.replay(&open, done)?;
                }
                (Outcome::Unknown, Fate::Unknown, Some(done)) => {
                    self.reached.unknown_applied += 1;
                    self.replay(&open, done)?;
                }
                (Outcome::Unknown, Fate::UnknownDropped, None) | (Outcome::Conflict, Fate::Conflict, None) => {}
                (Outcome::Unknown, Fate::Unknown, None) | (Outcome::Conflict | Outcome::TooOld, Fate::Honest, None) => {
                    self.reached.conflicts += usize::from(*outcome == Outcome::Conflict);
                    self.reached.commits_too_old += usize::from(*outcome == Outcome::TooOld);
                    self.check_refused(&open, *outcome)?;
                }
                (outcome, fate, done) => return Err(format!("fate {fate:?}, answered {outcome:?}, applied {done:?}")),
            }
        }
        require(applied.next().is_none(), || "more was applied than was decided".to_owned())
    }

    /// A commit at its place in the order.
    fn replay(&mut self, open: &Open, applied: &Applied) -> Result<(), String> {
        let (position, transaction) = (applied.position, &open.transaction);
        let last = self.commits.last().map(|commit| commit.position);
        require(last.is_none_or(|last| last < position), || format!("{position:?} after {last:?}"))?;
        require(position.version > self.newest_read, || format!("{position:?} is at a read version given before"))?;
        let age = position.version.0 - transaction.read_version.0;
        require(age <= LIFE_VERSIONS || transaction.reads.is_empty(), || format!("committed at the age of {age}"))?;
        let mut state = self.state();
        for (read, rows) in &open.reads {
            let now = read.of(&state);
            require(now == *rows, || {
                format!("committed at {position:?}, but {read:?} gave {rows:?}, and now {now:?}")
            })?;
        }
        if let Some(commit) = self.written_since(transaction) {
            return Err(format!(
                "committed at {position:?}, but {:?} was written at {:?}",
                transaction.reads, commit.position
            ));
        }
        let mut told = state.clone();
        for (key, value) in &applied.rows {
            match value {
                Some(value) => drop(told.insert(key.clone(), value.clone())),
                None => drop(told.remove(key)),
            }
        }
        let mut wrote = transaction.writes.clone();
        for mutation in &transaction.mutations {
            wrote.push(mutate(&mut state, mutation, position));
        }
        require(told == state, || format!("at {position:?}, {:?} was applied for {transaction:?}", applied.rows))?;
        self.commits.push(Commit { position, wrote, after: state });
        Ok(())
    }

    fn written_since(&self, transaction: &Transaction) -> Option<&Commit> {
        let later = self.commits.iter().filter(|commit| commit.position.version > transaction.read_version);
        let mut later = later
            .filter(|commit| commit.wrote.iter().any(|wrote| transaction.reads.iter().any(|read| meet(wrote, read))));
        later.next()
    }

    fn check_refused(&self, open: &Open, outcome: Outcome) -> Result<(), String> {
        let age = self.database.newest().0 - open.transaction.read_version.0;
        let too_old = age > LIFE_VERSIONS && !open.transaction.reads.is_empty();
        let conflicts = self.written_since(&open.transaction).is_some();
        let justified = match outcome {
            Outcome::TooOld => too_old,
            Outcome::Conflict => conflicts,
            _ => too_old || conflicts,
        };
        require(justified, || format!("{outcome:?} at the age of {age}, for nothing: {:?}", open.transaction))
    }

    fn watch(&mut self, key: Bytes, stale: bool) -> Result<(), String> {
        let id = self.request();
        let value = self.state().get(&key).cloned();
        let seen = if stale { Some(Bytes::from_static(b"stale")) } else { value };
        let answer = self.apply(Command::Watch { id, key: key.clone(), seen: seen.clone() }).answer;
        let expect = if stale { Answer::Fired } else { Answer::Armed };
        require(answer.as_ref() == Some(&expect), || format!("watch gave {answer:?}, not {expect:?}"))?;
        if !stale {
            self.watches.insert(id, Watching { key, seen, triggered: false });
        }
        Ok(())
    }

    fn check_triggers(&mut self, effects: &Effects) -> Result<(), String> {
        let state = self.state();
        for (id, watch) in &mut self.watches {
            let (differs, told) = (state.get(&watch.key) != watch.seen.as_ref(), effects.triggered.contains(id));
            let expect = differs && !watch.triggered;
            require(expect == told, || format!("watch of {:?}: differs {differs}, told {told}", watch.key))?;
            watch.triggered |= told;
        }
        Ok(())
    }

    fn check_watches(&mut self) -> Result<(), String> {
        let state = self.state();
        for (id, mut watch) in std::mem::take(&mut self.watches) {
            if !watch.triggered {
                self.watches.insert(id, watch);
                continue;
            }
            let fired = self.apply(Command::CheckWatch(id)).answer == Some(Answer::Fired);
            let differs = state.get(&watch.key) != watch.seen.as_ref();
            require(fired == differs, || format!("watch of {:?}: differs {differs}, fired {fired}", watch.key))?;
            self.reached.fired += usize::from(fired);
            if !fired {
                self.reached.came_back += 1;
                watch.triggered = false;
                self.watches.insert(id, watch);
            }
        }
        Ok(())
    }

    fn recover(&mut self, logged: usize, versions: u64) -> Result<(), String> {
        let logged: Vec<_> = self.in_flight.keys().copied().take(logged).collect();
        let before = self.database.newest();
        let effects = self.apply(Command::Recover { versions, logged: logged.clone() });
        let batch: Vec<_> = logged.into_iter().map(|id| (id, Fate::Unknown)).collect();
        // The age of what was refused is that before the jump.
        if versions == 0 {
            self.decided(&effects, &batch)?;
        } else {
            let refused = |id: &RequestId| effects.applied.iter().all(|applied| applied.id != *id);
            let certain = |(id, _): &(RequestId, Fate)| !refused(id);
            self.decided(&effects, &batch.into_iter().filter(certain).collect::<Vec<_>>())?;
        }
        require(self.in_flight.is_empty(), || "a recovery leaves nothing in flight".to_owned())?;
        require(self.database.newest().0 >= before.0 + versions, || "a recovery jumps".to_owned())?;
        self.check_triggers(&effects)
    }

    /// Nobody reads any more: what is left are the live rows.
    fn finish(mut self) -> Result<Reached, String> {
        self.check_watches()?;
        self.now_us += 2 * LIFE_VERSIONS;
        for connection in 0..3 {
            self.apply(Command::Disconnect { connection });
        }
        let (kept, expect) = (self.database.kept(), (self.state().len(), 0, 0));
        require(kept == expect, || format!("kept {kept:?} instead of {expect:?}"))?;
        Ok(self.reached)
    }
}

/// The naive execution of a mutation, and what it wrote.
fn mutate(state: &mut State, mutation: &Mutation, position: Position) -> Span {
    let splice = |bytes: &Bytes, offset: usize| {
        Bytes::from([&bytes[..offset], &position.stamp()[..], &bytes[offset + 10..]].concat())
    };
    let key = match mutation {
        Mutation::Set { key, value } => {
            state.insert(key.clone(), value.clone());
            key.clone()
        }
        Mutation::SetStampedKey { key, offset, value } => {
            let key = splice(key, *offset);
            state.insert(key.clone(), value.clone());
            key
        }
        Mutation::SetStampedValue { key, value, offset } => {
            state.insert(key.clone(), splice(value, *offset));
            key.clone()
        }
        Mutation::Clear { key } => {
            state.remove(key);
            key.clone()
        }
        Mutation::ClearRange(range) => {
            state.retain(|key, _| *key < range.start || *key >= range.end);
            return Span::Range(range.clone());
        }
    };
    Span::Key(key)
}

fn run(program: &[Step], fault: Option<Fault>) -> Result<Reached, String> {
    let mut run = Run::new(fault);
    program.iter().try_for_each(|step| run.step(step))?;
    run.finish()
}

/// The smallest program that shows the fault; or else what all programs came to.
fn find(fault: Option<Fault>, cases: u32) -> Result<Reached, (String, Vec<Step>)> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let all = RefCell::new(Reached::default());
    let outcome = runner.run(&vec(step(), 1..80), |program| {
        let reached = run(&program, fault).map_err(TestCaseError::fail)?;
        all.borrow_mut().add(&reached);
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(all.into_inner()),
        Err(TestError::Fail(reason, program)) => Err((reason.to_string(), program)),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

#[test]
fn the_database_does_what_a_serial_executor_allows() {
    match find(None, 3_000) {
        Ok(reached) => {
            let Reached { committed, conflicts, commits_too_old, unknown_applied, .. } = reached;
            let Reached { reads_too_old, reads_too_new, fired, came_back, .. } = reached;
            let counts = [conflicts, commits_too_old, unknown_applied, reads_too_old, reads_too_new, fired, came_back];
            assert!(committed > 1_000 && counts.into_iter().all(|count| count > 20), "seldom reached: {reached:?}");
        }
        Err((reason, program)) => panic!("{reason}\n{program:#?}"),
    }
}

#[test]
fn planted_faults_are_found() {
    for fault in Fault::ALL {
        assert!(find(Some(fault), 3_000).is_err(), "{fault:?} goes unseen");
    }
}
