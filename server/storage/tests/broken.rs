//! Storages that break one clause each: the contract suite must catch every one of them. Each is a thin wrapper around
//! the memory storage.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::future::{self, FutureExt};
use triune_env::{
    BoxFuture,
    contract::{Subject, Test, clauses, random},
    storage::{CommitError, Isolation, KeyRange, Revision, Row, Storage, StorageError, Transaction, VALUE_BYTES_MAX},
    storage_passes_on, transaction_passes_on,
};
use triune_storage::memory;

/// What is wrong with a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// None: the wrapper itself passes.
    Nothing,
    /// S1: forgets what was read.
    NoConflicts,
    /// S1: forgets ranges that were read.
    NoRangeConflicts,
    /// S1: forgets declared keys.
    NoDeclaredKeys,
    /// S1: each read is at the newest revision, not at the read version.
    ReadsMove,
    /// S2: the read version is that of the begin before.
    StaleReadVersion,
    /// S2: each commit is said to be at revision 7.
    OneRevision,
    /// S3: says Conflict for what it has applied.
    LiesAboutConflict,
    /// S3 and S4: acknowledges without applying.
    LosesCommits,
    /// S5: applies the first half of a transaction before the rest.
    HalfTransactions,
    /// S6: cuts values.
    CutsValues,
    /// S6: lets an old transaction begin anew.
    LivesForever,
    /// S7: nothing ends a wait.
    SleepsForever,
    /// S7: looks once, and then sleeps.
    MissesChanges,
}

struct Broken {
    flaw: Flaw,
    inner: Arc<dyn Storage>,
    before: Mutex<Option<Box<dyn Transaction>>>,
}

impl Storage for Broken {
    storage_passes_on!(inner: read_version, revision_of, stamp_of);

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StorageError>> {
        async {
            let mut inner = self.inner.begin().await?;
            if self.flaw == Flaw::StaleReadVersion {
                let fresh = std::mem::replace(&mut inner, self.inner.begin().await?);
                inner = self.before.lock().unwrap().replace(inner).unwrap_or(fresh);
            }
            let storage = self.inner.clone();
            Ok(Box::new(BrokenTransaction { flaw: self.flaw, storage, inner, writes: Vec::new() })
                as Box<dyn Transaction>)
        }
        .boxed()
    }

    fn changed(&self, key: Bytes, seen: Option<Bytes>) -> BoxFuture<'static, Result<(), StorageError>> {
        match self.flaw {
            Flaw::SleepsForever => future::pending().boxed(),
            Flaw::MissesChanges => {
                let look = self.inner.begin();
                let value = look.now_or_never().unwrap().unwrap().get(&key, Isolation::Snapshot).now_or_never();
                if value.unwrap().unwrap() == seen { future::pending().boxed() } else { future::ready(Ok(())).boxed() }
            }
            _ => self.inner.changed(key, seen),
        }
    }
}

type Write = Box<dyn FnOnce(&mut Box<dyn Transaction>) + Send>;

struct BrokenTransaction {
    flaw: Flaw,
    storage: Arc<dyn Storage>,
    inner: Box<dyn Transaction>,
    writes: Vec<Write>,
}

impl BrokenTransaction {
    fn isolation(&self, asked: Isolation, range: bool) -> Isolation {
        match self.flaw {
            Flaw::NoConflicts => Isolation::Snapshot,
            Flaw::NoRangeConflicts if range => Isolation::Snapshot,
            _ => asked,
        }
    }

    async fn revive(&mut self) -> Result<(), StorageError> {
        if self.flaw == Flaw::LivesForever || self.flaw == Flaw::ReadsMove {
            self.inner = self.storage.begin().await?;
        }
        Ok(())
    }
}

impl Transaction for BrokenTransaction {
    transaction_passes_on!(inner: read_version);

    fn get<'a>(
        &'a mut self,
        key: &'a [u8],
        isolation: Isolation,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        async move {
            self.revive().await?;
            let isolation = self.isolation(isolation, false);
            self.inner.get(key, isolation).await
        }
        .boxed()
    }

    fn range<'a>(
        &'a mut self,
        range: KeyRange,
        limit: usize,
        reverse: bool,
        isolation: Isolation,
    ) -> BoxFuture<'a, Result<Vec<Row>, StorageError>> {
        async move {
            self.revive().await?;
            let isolation = self.isolation(isolation, true);
            self.inner.range(range, limit, reverse, isolation).await
        }
        .boxed()
    }

    fn set(&mut self, key: Bytes, mut value: Bytes) {
        if self.flaw == Flaw::CutsValues {
            value.truncate(VALUE_BYTES_MAX);
        }
        self.writes.push(Box::new(move |inner| inner.set(key, value)));
    }

    fn set_stamped_key(&mut self, prefix: &[u8], suffix: &[u8], value: Bytes) {
        let (prefix, suffix) = (prefix.to_vec(), suffix.to_vec());
        self.writes.push(Box::new(move |inner| inner.set_stamped_key(&prefix, &suffix, value)));
    }

    fn set_stamped_value(&mut self, key: Bytes, value: Vec<u8>, offset: usize) {
        self.writes.push(Box::new(move |inner| inner.set_stamped_value(key, value, offset)));
    }

    fn clear(&mut self, key: Bytes) {
        self.writes.push(Box::new(move |inner| inner.clear(key)));
    }

    fn clear_range(&mut self, range: KeyRange) {
        self.writes.push(Box::new(move |inner| inner.clear_range(range)));
    }

    fn add_read_conflict_key(&mut self, key: Bytes) {
        if self.flaw != Flaw::NoDeclaredKeys {
            self.inner.add_read_conflict_key(key);
        }
    }

    fn add_write_conflict_key(&mut self, key: Bytes) {
        self.writes.push(Box::new(move |inner| inner.add_write_conflict_key(key)));
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<Revision, CommitError>> {
        static COMMITS: AtomicUsize = AtomicUsize::new(0);
        let flaw = self.flaw;
        async move {
            let mut writes = std::mem::take(&mut self.writes);
            if flaw == Flaw::LivesForever {
                self.inner = self.storage.begin().await.unwrap();
            }
            if flaw == Flaw::LosesCommits && !writes.is_empty() && COMMITS.fetch_add(1, Ordering::Relaxed) % 5 == 4 {
                return Ok(Revision(self.storage.read_version().await.unwrap().0 + 1));
            }
            if flaw == Flaw::HalfTransactions && writes.len() > 1 {
                let rest = writes.split_off(writes.len() / 2);
                let mut half = self.storage.begin().await.unwrap();
                writes.into_iter().for_each(|write| write(&mut half));
                half.commit().await?;
                writes = rest;
                // Somebody else may look here.
                tokio::task::yield_now().await;
            }
            writes.into_iter().for_each(|write| write(&mut self.inner));
            let revision = self.inner.commit().await?;
            match flaw {
                Flaw::OneRevision => Ok(Revision(7)),
                Flaw::LiesAboutConflict if COMMITS.fetch_add(1, Ordering::Relaxed) % 5 == 4 => {
                    Err(CommitError::Conflict)
                }
                _ => Ok(revision),
            }
        }
        .boxed()
    }
}

/// Whether a test of the suite passes on a storage with this flaw.
fn passes(flaw: Flaw, test: Test) -> bool {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let env = triune_platform::env();
            let storage = Arc::new(Broken { flaw, inner: memory(env.clone()), before: Mutex::new(None) });
            test(Subject { storage, env, reopen: None }).await;
        });
    };
    catch_unwind(AssertUnwindSafe(run)).is_ok()
}

macro_rules! caught {
    ($($name:ident: $flaw:ident by $module:ident::$test:ident;)+) => {
        $(
            #[test]
            fn $name() {
                let test: Test = |subject| Box::pin($module::$test(subject));
                assert!(passes(Flaw::Nothing, test), "the suite refuses a storage without a flaw");
                assert!(!passes(Flaw::$flaw, test), "the suite passes {:?}", Flaw::$flaw);
            }
        )+
    };
}

caught! {
    lost_updates_are_caught: NoConflicts by clauses::s1_a_read_key_that_changed_conflicts;
    lost_increments_are_caught: NoConflicts by clauses::s1_concurrent_increments_are_not_lost;
    lost_updates_are_caught_by_chance: NoConflicts by random::s1_random_transactions_are_serializable;
    phantoms_are_caught: NoRangeConflicts by clauses::s1_a_read_range_that_changed_conflicts;
    phantoms_are_caught_by_chance: NoRangeConflicts by random::s1_random_transactions_are_serializable;
    forgotten_declared_keys_are_caught: NoDeclaredKeys by clauses::s1_declared_keys_conflict;
    forgotten_declared_keys_are_caught_by_chance: NoDeclaredKeys by random::s1_random_transactions_are_serializable;
    moving_reads_are_caught: ReadsMove by clauses::s1_reads_stay_at_the_read_version;
    moving_reads_are_caught_by_chance: ReadsMove by random::s1_random_transactions_are_serializable;
    stale_read_versions_are_caught: StaleReadVersion by clauses::s2_revisions_grow_and_read_versions_follow;
    stale_read_versions_are_caught_by_chance: StaleReadVersion by random::s1_random_transactions_are_serializable;
    one_revision_for_all_is_caught: OneRevision by clauses::s2_concurrent_commits_have_revisions_of_their_own;
    wrong_stamps_are_caught: OneRevision by clauses::s2_stamps_are_the_revision_and_sort_as_it;
    lies_about_conflicts_are_caught_by_chance: LiesAboutConflict by random::s1_random_transactions_are_serializable;
    lost_commits_are_caught_by_chance: LosesCommits by random::s1_random_transactions_are_serializable;
    half_transactions_are_caught: HalfTransactions by clauses::s5_readers_see_all_or_nothing;
    half_transactions_of_refused_commits_are_caught: HalfTransactions by clauses::s3_refused_transactions_leave_no_trace;
    half_transactions_are_caught_by_chance: HalfTransactions by random::s1_random_transactions_are_serializable;
    cut_values_are_caught: CutsValues by clauses::s6_values_have_a_bound;
    eternal_transactions_are_caught: LivesForever by clauses::s6_transactions_have_a_life;
    eternal_sleep_is_caught: SleepsForever by clauses::s7_a_value_that_differs_already_ends_the_wait;
    missed_changes_are_caught: MissesChanges by clauses::s7_a_change_ends_the_wait;
    missed_changes_of_a_series_are_caught: MissesChanges by clauses::s7_no_change_is_missed;
    missed_changes_of_many_keys_are_caught: MissesChanges by clauses::s7_waits_for_many_keys_end_apart;
}

/// S4 is asked of storages that can be opened again: this one forgets its last commit when it is.
#[test]
fn commits_lost_in_a_reopen_are_caught() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let run = |lossy: bool| {
        runtime.block_on(async {
            let env = triune_platform::env();
            let storage = memory(env.clone());
            let kept = storage.clone();
            let reopen = move || {
                let (kept, env) = (kept.clone(), env.clone());
                async move { if lossy { memory(env) } else { kept } }.boxed()
            };
            let env = triune_platform::env();
            clauses::s4_acknowledged_commits_survive(Subject { storage, env, reopen: Some(Arc::new(reopen)) }).await;
        });
    };
    run(false);
    assert!(catch_unwind(AssertUnwindSafe(|| run(true))).is_err());
}
