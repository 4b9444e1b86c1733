//! Random transactions on a disk with random faults, and random ends of the process: after each end the store is opened
//! again, and [`checker`](super::checker) looks at all of it. Each planted fault must be found so.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use triune_env::{
    Env,
    storage::{CommitError, Isolation, KeyRange, Revision, STAMP_BYTES, Storage},
};

use super::{
    Process, Seeded,
    checker::{Attempt, Shown, Step, Told, check},
};
use crate::{
    Disk, Fate, Faults, Incident, LogOptions, OpenError,
    log::{Flaw, open_flawed},
};

/// Runs in which a planted fault must be found.
const RUNS_MAX: usize = 600;
/// Tries to open a store before the faults of reading are taken away.
const OPENS_MAX: usize = 4;
const KEYS: u8 = 6;

/// One process: from the opening of the store to its end.
#[derive(Debug, Clone)]
struct Life {
    transactions: Vec<Planned>,
    faults: PlannedFaults,
    end: End,
    /// When the end comes, in microseconds from the start; not before all is answered for [`End::Close`].
    at_us: u64,
    /// Its tasks are aborted at the end; else they go on, with a mount that has ended.
    aborted: bool,
    /// The first opening after the end is itself ended, after so many microseconds.
    opening_us: Option<u64>,
}

#[derive(Debug, Clone)]
struct Planned {
    steps: Vec<Step>,
    begins_us: u64,
    /// The caller drops the commit so many microseconds after handing it in.
    drops_us: Option<u64>,
}

#[derive(Debug, Clone)]
struct PlannedFaults {
    /// Bytes that fit besides those that are there.
    room: Option<u64>,
    slow: bool,
    sync_failure: bool,
    read_failure: bool,
    flip: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    PowerCut,
    Killed,
    Close,
}

fn lives() -> impl Strategy<Value = (u64, Vec<Life>)> {
    let key = || (0..KEYS).prop_map(|key| format!("key{key}"));
    // Long values make records of several sectors.
    let value = (any::<u8>(), prop_oneof![3 => 0..40_usize, 1 => 400..2_500_usize])
        .prop_map(|(letter, length)| char::from(b'a' + letter % 26).to_string().repeat(length));
    let step = prop_oneof![
        5 => (key(), value).prop_map(|(key, value)| Step::Set { key, value }),
        1 => key().prop_map(|key| Step::Clear { key }),
        1 => (key(), key()).prop_map(|(start, end)| Step::ClearRange { start, end }),
    ];
    let transaction = (vec(step, 1..4), 0..30_000_u64, proptest::option::weighted(0.2, 0..5_000_u64))
        .prop_map(|(steps, begins_us, drops_us)| Planned { steps, begins_us, drops_us });
    let chance = |chance: f64| prop::bool::weighted(chance);
    let faults = (proptest::option::weighted(0.15, 0..12_000_u64), chance(0.2), chance(0.25), chance(0.2), chance(0.2))
        .prop_map(|(room, slow, sync_failure, read_failure, flip)| PlannedFaults {
            room,
            slow,
            sync_failure,
            read_failure,
            flip,
        });
    let end = prop_oneof![5 => Just(End::PowerCut), 2 => Just(End::Killed), 1 => Just(End::Close)];
    let opening = proptest::option::weighted(0.3, 0..10_000_u64);
    let life = (vec(transaction, 0..12), faults, end, 0..40_000_u64, any::<bool>(), opening).prop_map(
        |(transactions, faults, end, at_us, aborted, opening_us)| Life {
            transactions,
            faults,
            end,
            at_us,
            aborted,
            opening_us,
        },
    );
    (any::<u64>(), vec(life, 1..7))
}

/// Everything that is known of a disk and its users.
struct World {
    env: Env,
    disk: Disk,
    flaw: Flaw,
    attempts: Vec<Attempt>,
    highest: Revision,
}

/// How often something has happened, by its name.
type Reached = BTreeMap<&'static str, usize>;

/// Runs lives one after another on one disk, each in a process of its own.
async fn run(env: Env, seed: u64, lives: &[Life], flaw: Flaw) -> Result<Reached, String> {
    let env = Env { entropy: Arc::new(Seeded::new(seed)), ..env };
    let disk = Disk::new(Arc::new(Seeded::new(!seed)), Faults::default());
    let mut world = World { env, disk, flaw, attempts: Vec::new(), highest: Revision(0) };
    for life in lives {
        world.live(life).await?;
        // What is shown once must be durable: a power cut right after the recovery changes nothing.
        for _ in 0..2 {
            world.recover().await?;
            world.disk.crash(&*world.env.entropy);
        }
    }
    Ok(world.reached())
}

impl World {
    async fn live(&mut self, life: &Life) -> Result<(), String> {
        let (process, env) = Process::start(&self.env);
        self.disk.set_faults(Faults::default());
        let storage = self.open(&env).await?;
        self.disk.set_faults(faults(&life.faults, self.disk.used_bytes()));
        let first = self.attempts.len();
        let told: Vec<_> = life.transactions.iter().map(|_| std::cell::Cell::new(Told::Nothing)).collect();
        let work = join_all(life.transactions.iter().enumerate().map(async |(index, planned)| {
            told[index].set(self.transact(&storage, first + index, planned).await);
        }));
        let at = Duration::from_micros(life.at_us);
        let watched = async { futures::join!(work, self.look_on(&storage, at)).1 };
        let seen = match life.end {
            End::Close => watched.await,
            _ => self.env.timeout(at, watched).await.unwrap_or(Revision(0)),
        };
        for (planned, told) in life.transactions.iter().zip(&told) {
            self.attempts.push(Attempt { steps: planned.steps.clone(), told: told.get(), shown: None });
            if let Told::Applied(revision) = told.get() {
                self.highest = self.highest.max(revision);
            }
        }
        self.highest = self.highest.max(seen).max(storage.read_version().await.map_err(|error| error.to_string())?);
        drop(storage);
        self.end(life, &process).await;
        if let Some(opening_us) = life.opening_us {
            let (process, env) = Process::start(&self.env);
            let _ = self.env.timeout(Duration::from_micros(opening_us), self.open(&env)).await;
            self.end(life, &process).await;
        }
        Ok(())
    }

    fn reached(&self) -> Reached {
        let told = |attempt: &Attempt| match (attempt.told, attempt.shown.flatten()) {
            (Told::Applied(_), _) => "acknowledged",
            (Told::Refused, _) => "refused",
            (Told::Nothing, Some(_)) => "unknown and there",
            (Told::Nothing, None) => "unknown and not there",
        };
        let happened = |incident: &Incident| match incident {
            Incident::Write { fate: Fate::Kept, .. } => "write kept",
            Incident::Write { fate: Fate::Lost, .. } => "write lost",
            Incident::Write { fate: Fate::CutAt { .. }, .. } => "write cut",
            Incident::Write { fate: Fate::Scattered { .. }, .. } => "write scattered",
            Incident::Cut { .. } => "cut at a crash",
            Incident::Name { kept: true, .. } => "name kept",
            Incident::Name { kept: false, .. } => "name lost",
            Incident::SlowSync { .. } => "slow fsync",
            Incident::FailedSync { file } if file == "." => "failed fsync of the folder",
            Incident::FailedSync { .. } => "failed fsync",
            Incident::Full { file, .. } if file == "log" => "disk full",
            Incident::Full { .. } => "disk full in a compaction",
            Incident::FailedRead { .. } => "failed read",
            Incident::Flip { .. } => "flipped bit",
        };
        let mut reached = Reached::new();
        let names = self.attempts.iter().map(told);
        for name in names.chain(self.disk.take_incidents().iter().map(happened)) {
            *reached.entry(name).or_default() += 1;
        }
        reached
    }

    async fn end(&self, life: &Life, process: &Process) {
        if life.aborted {
            process.kill();
        }
        match life.end {
            End::PowerCut => drop(self.disk.crash(&*self.env.entropy)),
            End::Killed => self.disk.kill(),
            End::Close => {
                // The commits of callers that are gone are finished, too.
                self.env.sleep(Duration::from_secs(60)).await;
                self.disk.kill();
            }
        }
        // Whoever is left notices that its time is over.
        self.env.sleep(Duration::from_secs(10)).await;
    }

    async fn transact(&self, storage: &Arc<dyn Storage>, number: usize, planned: &Planned) -> Told {
        self.env.sleep(Duration::from_micros(planned.begins_us)).await;
        let Ok(mut transaction) = storage.begin().await else { return Told::Refused };
        for step in planned.steps.clone() {
            match step {
                Step::Set { key, value } => transaction.set(key.into(), value.into()),
                Step::Clear { key } => transaction.clear(key.into()),
                Step::ClearRange { start, end } => {
                    transaction.clear_range(KeyRange { start: start.into(), end: end.into() });
                }
            }
        }
        transaction.set_stamped_value(format!("at/{number:06}").into(), vec![0; STAMP_BYTES], 0);
        let commit = transaction.commit();
        let outcome = match planned.drops_us {
            None => commit.await,
            Some(drops_us) => {
                let dropped = self.env.timeout(Duration::from_micros(drops_us), commit).await;
                dropped.unwrap_or(Err(CommitError::Unknown))
            }
        };
        match outcome {
            Ok(revision) => Told::Applied(revision),
            Err(CommitError::Unknown) => Told::Nothing,
            Err(_) => Told::Refused,
        }
    }

    /// Reads now and then, and gives the highest revision that was shown. What is read is whole.
    async fn look_on(&self, storage: &Arc<dyn Storage>, until: Duration) -> Revision {
        let deadline = self.env.clock.now() + until;
        let mut seen = Revision(0);
        while self.env.clock.now() < deadline {
            if let Ok(version) = storage.read_version().await {
                assert!(version >= seen, "the read version went from {seen} to {version}");
                seen = version;
            }
            self.env.sleep(Duration::from_micros(700)).await;
        }
        seen
    }

    /// Opens the store, on the disk as it is, and checks all of it.
    async fn recover(&mut self) -> Result<(), String> {
        let (process, env) = Process::start(&self.env);
        let storage = self.open(&env).await?;
        self.disk.set_faults(Faults::default());
        let shown = show(&storage).await?;
        check(&self.attempts, self.highest, &shown)?;
        for (number, attempt) in self.attempts.iter_mut().enumerate() {
            attempt.shown = Some(shown.applied.get(&number).copied());
        }
        self.highest = self.highest.max(shown.revision);
        process.kill();
        Ok(())
    }

    /// Opens the store, whatever the disk does.
    async fn open(&self, env: &Env) -> Result<Arc<dyn Storage>, String> {
        let options = LogOptions { compact_bytes_min: 6_000 };
        let mut opens = 0;
        loop {
            match open_flawed(env, &self.disk, options, self.flaw).await {
                Ok(storage) => return Ok(storage),
                Err(OpenError::Disk(_)) => opens += 1,
                Err(error) => return Err(error.to_string()),
            }
            // A user that was not aborted holds the folder until its process ends.
            self.disk.kill();
            if opens == OPENS_MAX {
                self.disk.set_faults(Faults::default());
            }
            assert!(opens < 2 * OPENS_MAX, "the store cannot be opened on a disk without faults");
        }
    }
}

fn faults(planned: &PlannedFaults, used_bytes: u64) -> Faults {
    let per_mille = |planned: bool, chance: u32| if planned { chance } else { 0 };
    let slow: RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_secs(3);
    Faults {
        capacity_bytes: planned.room.map_or(u64::MAX, |room| used_bytes + room),
        sync_time: Duration::from_micros(100)..=Duration::from_micros(4_000),
        slow_sync_per_mille: per_mille(planned.slow, 300),
        slow_sync_time: slow,
        sync_failure_per_mille: per_mille(planned.sync_failure, 150),
        read_failure_per_mille: per_mille(planned.read_failure, 150),
        flip_per_mille: per_mille(planned.flip, 150),
    }
}

/// Everything that a store shows.
async fn show(storage: &Arc<dyn Storage>) -> Result<Shown, String> {
    let mut transaction = storage.begin().await.map_err(|error| error.to_string())?;
    let everything = KeyRange { start: Bytes::from_static(b"\0"), end: Bytes::from_static(b"\xff") };
    let rows = transaction.range(everything, usize::MAX, false, Isolation::Snapshot).await;
    let mut shown = Shown { revision: transaction.read_version(), applied: BTreeMap::new(), rows: BTreeMap::new() };
    for row in rows.map_err(|error| error.to_string())? {
        let key = String::from_utf8_lossy(&row.key).into_owned();
        match key.strip_prefix("at/").map(str::parse) {
            None => drop(shown.rows.insert(key, row.value)),
            Some(number) => {
                let number = number.map_err(|_| format!("a row {key:?} that nobody wrote"))?;
                let stamp = row.value.first_chunk().ok_or_else(|| format!("row {number} has no stamp"))?;
                shown.applied.insert(number, storage.revision_of(stamp));
            }
        }
    }
    Ok(shown)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost((seed, lives) in lives()) {
        let outcome = super::run_paused(async |env| run(env, seed, &lives, Flaw::Nothing).await);
        prop_assert_eq!(outcome.err(), None);
    }
}

/// The same programs each time.
fn fixed_programs() -> impl Iterator<Item = (u64, Vec<Life>)> {
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let programs = lives();
    std::iter::repeat_with(move || programs.new_tree(&mut runner).unwrap().current())
}

#[test]
fn the_programs_reach_every_fault_and_outcome() {
    let mut total = Reached::new();
    for (seed, lives) in fixed_programs().take(400) {
        let reached = super::run_paused(async |env| run(env, seed, &lives, Flaw::Nothing).await).unwrap();
        reached.into_iter().for_each(|(name, times)| *total.entry(name).or_default() += times);
    }
    println!("{total:#?}");
    assert!(total.len() == 18 && total.values().all(|times| *times >= 5), "{total:#?}");
}

#[test]
fn a_seed_decides_a_run() {
    for (seed, lives) in fixed_programs().take(30) {
        let reached = || super::run_paused(async |env| run(env, seed, &lives, Flaw::Nothing).await);
        assert_eq!(reached(), reached());
    }
}

/// Runs until the planted fault is found; the same runs find nothing without it.
fn check_found(flaw: Flaw) {
    for (tried, (seed, lives)) in fixed_programs().take(RUNS_MAX).enumerate() {
        assert_eq!(super::run_paused(async |env| run(env, seed, &lives, Flaw::Nothing).await).err(), None);
        if let Err(reason) = super::run_paused(async |env| run(env, seed, &lives, flaw).await) {
            println!("{flaw:?} was found in run {tried}: {reason}");
            return;
        }
    }
    panic!("{flaw:?} was not found in {RUNS_MAX} runs");
}

macro_rules! found {
    ($($name:ident: $flaw:ident;)+) => {
        $(
            #[test]
            fn $name() {
                check_found(Flaw::$flaw);
            }
        )+
    };
}

found! {
    commits_without_fsync_are_found: NoSync;
    answers_before_the_fsync_are_found: AnswerBeforeSync;
    a_failed_fsync_done_again_is_found: SyncAgain;
    an_ignored_failure_of_fsync_is_found: IgnoresFailedSync;
    missing_checksums_are_found: NoChecksums;
    a_folder_that_is_not_synced_is_found: NoFolderSync;
    a_name_before_the_fsync_is_found: NameBeforeSync;
    a_recovery_that_shows_what_may_be_lost_is_found: NoSyncAtRecovery;
    a_recovery_that_trusts_a_failed_fsync_is_found: NoRewriteAtRecovery;
    a_wrong_bit_that_is_written_back_is_found: RewritesUnchecked;
    a_torn_end_that_stays_is_found: NoCut;
}
