//! The suite that tests each clause of the [`Storage`] contract, for any implementation.
//!
//! `storage_contract!(harness)` makes one `#[test]` for each clause test of [`clauses`] and [`random`]; the name of a test
//! starts with its clause. Random tests draw from a fixed seed, shrink what fails, and print it.
//!
//! ```ignore
//! mod memory {
//!     triune_env::storage_contract!(MemoryHarness);
//! }
//! ```

pub mod clauses;
pub mod pass_on;
pub mod random;

use std::{sync::Arc, task::Poll, time::Duration};

pub use bytes::Bytes;

use crate::{
    BoxFuture, Env,
    storage::{CommitError, Isolation, Revision, Storage, Transaction},
};

/// Runs tests on a platform.
pub trait Harness {
    /// Runs a test to its end, with a fresh and empty storage, in the platform's runtime. A panic of the test comes out.
    fn run(self, test: Test);
}

/// A test of the suite. It stays on the thread that runs it.
pub type Test = fn(Subject) -> futures::future::LocalBoxFuture<'static, ()>;

/// Opens the same storage again; there is no reference to the old one when it is called.
pub type Reopen = Arc<dyn Fn() -> BoxFuture<'static, Arc<dyn Storage>> + Send + Sync>;

/// What is tested.
pub struct Subject {
    /// The platform.
    pub env: Env,
    /// The storage, empty at the start.
    pub storage: Arc<dyn Storage>,
    /// How it is opened again; None for a storage that does not outlive its process (S4 is not asked of it).
    pub reopen: Option<Reopen>,
}

/// How long a test waits for what must happen "in the end".
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Begins a transaction, whatever it takes.
pub(crate) async fn begin(storage: &Arc<dyn Storage>) -> Box<dyn Transaction> {
    storage.begin().await.unwrap_or_else(|error| panic!("begin: {error}"))
}

/// Sets one row and commits.
pub(crate) async fn put(storage: &Arc<dyn Storage>, key: &str, value: &str) -> Revision {
    let mut transaction = begin(storage).await;
    transaction.set(bytes(key), bytes(value));
    transaction.commit().await.unwrap_or_else(|error| panic!("commit of {key}={value}: {error}"))
}

/// One row in a transaction of its own.
pub(crate) async fn look(storage: &Arc<dyn Storage>, key: &str) -> Option<String> {
    get(&mut begin(storage).await, key, Isolation::Snapshot).await
}

/// One row in a transaction.
pub(crate) async fn get(transaction: &mut Box<dyn Transaction>, key: &str, isolation: Isolation) -> Option<String> {
    let value = transaction.get(key.as_bytes(), isolation).await.unwrap_or_else(|error| panic!("get {key}: {error}"));
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

/// Commits, and panics unless the outcome is this error.
pub(crate) async fn refused(transaction: Box<dyn Transaction>, expect: &CommitError) {
    match transaction.commit().await {
        Err(error) => assert_eq!(error, *expect),
        Ok(revision) => panic!("committed at {revision}, expected: {expect}"),
    }
}

/// Lets the other futures of a test go on: a storage may answer at once, and then nothing would interleave.
pub(crate) async fn give_way() {
    let mut gave = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Makes a `#[test]` for each clause test, run by an expression that gives a [`contract::Harness`](crate::contract::Harness).
#[macro_export]
macro_rules! storage_contract {
    ($harness:expr) => {
        $crate::storage_contract!(@ $harness, clauses:
            s1_a_read_key_that_changed_conflicts,
            s1_a_read_range_that_changed_conflicts,
            s1_only_the_part_of_a_range_that_was_read_conflicts,
            s1_snapshot_reads_do_not_conflict,
            s1_declared_keys_conflict,
            s1_writes_alone_do_not_conflict,
            s1_a_transaction_does_not_see_its_own_writes,
            s1_reads_stay_at_the_read_version,
            s1_concurrent_increments_are_not_lost,
            s1_ranges_are_in_key_order,
            s1_later_mutations_win_over_earlier,
            s2_revisions_grow_and_read_versions_follow,
            s2_stamps_are_the_revision_and_sort_as_it,
            s2_concurrent_commits_have_revisions_of_their_own,
            s3_refused_transactions_leave_no_trace,
            s4_acknowledged_commits_survive,
            s5_readers_see_all_or_nothing,
            s6_keys_have_a_bound,
            s6_values_have_a_bound,
            s6_transactions_have_a_bound,
            s6_transactions_have_a_life,
            s7_a_change_ends_the_wait,
            s7_a_value_that_differs_already_ends_the_wait,
            s7_waits_for_many_keys_end_apart,
            s7_no_change_is_missed,
        );
        $crate::storage_contract!(@ $harness, random: s1_random_transactions_are_serializable,);
    };
    (@ $harness:expr, $module:ident: $($test:ident,)+) => {
        $(
            #[test]
            fn $test() {
                $crate::contract::Harness::run($harness, |subject| ::std::boxed::Box::pin($crate::contract::$module::$test(subject)));
            }
        )+
    };
}
