//! The commit task: what the commit thread is, for an engine whose writes are futures. A simulation can own it.
//!
//! - While a group is made durable the next one gathers, as with the thread.
//! - A caller that drops its commit future changes nothing: the commit goes on.
//! - A task that is aborted, at any await, leaves the commits of its group without an answer: Unknown. Those that waited
//!   behind it are answered Unknown, too.
//! - Dropping the storage lets the task finish what is queued; it then drops the engine.

use std::sync::Arc;

use tokio::sync::Notify;
use triune_env::BoxFuture;

use crate::{
    client::Submit,
    committer::{Answer, Committer},
    engine::AsyncEngine,
    intent::Intent,
    queue::{Bell, End, Next, Queue},
    shared::Shared,
};

impl Bell for Notify {
    fn ring(&self) {
        self.notify_one();
    }
}

/// Hands intents to the commit task.
pub(crate) struct CommitTask {
    queue: Arc<Queue<Notify>>,
}

impl CommitTask {
    /// Starts the task.
    pub(crate) fn start<E: AsyncEngine>(engine: E, shared: &Arc<Shared<E::View>>) -> CommitTask {
        let queue = Arc::new(Queue::<Notify>::default());
        let end = End { queue: queue.clone(), shared: shared.clone(), reason: "the commit task has ended" };
        shared.env.spawn_detached("commits", run(end, engine));
        CommitTask { queue }
    }
}

impl Submit for CommitTask {
    fn submit(&self, intent: Intent) -> BoxFuture<'static, Answer> {
        self.queue.submit(intent)
    }
}

impl Drop for CommitTask {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// `end` is an argument, not a variable, so that it is dropped with a task that is aborted before it is polled, too; the
/// engine goes before it: who hears that the storage is closed can open it again.
async fn run<E: AsyncEngine>(mut end: End<Notify, E::View>, mut engine: E) {
    let mut committer = Committer::new(end.shared.clone());
    loop {
        match end.queue.take() {
            Next::Group(intents, answers) => {
                let prepared = committer.prepare(intents);
                let applied = match &prepared.batch {
                    Some(batch) => engine.apply(batch).await,
                    None => Ok(()),
                };
                let results = committer.settle(prepared, applied, || engine.view());
                for (answer, result) in answers.into_iter().zip(results) {
                    // Nobody waits any more if the client has gone.
                    let _ = answer.send(result);
                }
                if end.shared.stopped().is_none()
                    && let Err(error) = engine.tidy().await
                {
                    end.shared.stop(format!("writes stopped after a failed compaction: {error}"));
                }
            }
            // What no transaction needs any more is forgotten with the next commit: no timer, and the history is bounded.
            Next::Idle => end.queue.arrived.notified().await,
            Next::Closed => {
                end.reason = "storage is closed";
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use bytes::Bytes;
    use futures::{FutureExt, future::join_all};
    use triune_env::{
        Env, TaskHandle, Tasks,
        storage::{CommitError, Isolation, Revision, Storage, StorageError},
    };

    use super::*;
    use crate::{
        engine::{Batch, Engine},
        memory::{FIRST_REVISION, MemoryEngine, MemoryView},
        open_with,
    };

    const DISK: Duration = Duration::from_millis(100);

    /// Rows in memory, whose disk takes its time and fails from a certain batch or compaction on.
    struct SlowEngine {
        env: Env,
        inner: MemoryEngine,
        calls: Arc<Mutex<Vec<&'static str>>>,
        fails: Option<&'static str>,
    }

    impl SlowEngine {
        fn work(&self, call: &'static str) -> BoxFuture<'static, Result<(), StorageError>> {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call);
            let fails = self.fails == Some(call) && calls.len() > 2;
            let sleep = self.env.sleep(DISK);
            Box::pin(async move {
                sleep.await;
                if fails { Err(StorageError::Unavailable("disk failed".to_owned())) } else { Ok(()) }
            })
        }
    }

    impl AsyncEngine for SlowEngine {
        type View = MemoryView;

        fn apply<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<(), StorageError>> {
            Box::pin(async {
                self.work("apply").await?;
                self.inner.apply(batch)
            })
        }

        fn tidy(&mut self) -> BoxFuture<'_, Result<(), StorageError>> {
            self.work("tidy")
        }

        fn view(&self) -> MemoryView {
            self.inner.view()
        }
    }

    /// Keeps the handles of tasks, to abort them.
    struct Kept(Arc<dyn Tasks>, Mutex<Vec<TaskHandle>>);

    impl Tasks for Kept {
        fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> TaskHandle {
            self.1.lock().unwrap().push(self.0.spawn(name, future));
            TaskHandle::new(|| ())
        }
    }

    struct World {
        storage: Arc<dyn Storage>,
        calls: Arc<Mutex<Vec<&'static str>>>,
        tasks: Arc<Kept>,
    }

    fn world(fails: Option<&'static str>) -> World {
        let env = triune_platform::env();
        let tasks = Arc::new(Kept(env.tasks.clone(), Mutex::default()));
        let env = Env { tasks: tasks.clone(), ..env };
        let calls = Arc::default();
        let engine = SlowEngine { env: env.clone(), inner: MemoryEngine::default(), calls: Arc::clone(&calls), fails };
        World { storage: open_with(env, engine, FIRST_REVISION), calls, tasks }
    }

    impl World {
        fn commit(&self, key: &'static str) -> BoxFuture<'static, Answer> {
            let mut transaction = self.storage.begin().now_or_never().unwrap().unwrap();
            transaction.set(Bytes::from_static(key.as_bytes()), Bytes::from_static(b"x"));
            transaction.commit()
        }

        fn has(&self, key: &str) -> bool {
            let mut transaction = self.storage.begin().now_or_never().unwrap().unwrap();
            transaction.get(key.as_bytes(), Isolation::Snapshot).now_or_never().unwrap().unwrap().is_some()
        }

        fn calls(&self) -> Vec<&'static str> {
            self.calls.lock().unwrap().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_during_a_write_shares_the_next_one() {
        let world = world(None);
        let first = world.commit("first");
        tokio::time::sleep(DISK / 2).await;
        let rest = join_all((0..50).map(|_| world.commit("rest")));
        assert!(!world.has("first"), "what is not durable is not read");
        assert_eq!(first.await, Ok(Revision(2)));
        let rest = rest.await;
        assert_eq!(rest.last(), Some(&Ok(Revision(52))));
        tokio::time::sleep(DISK).await;
        assert_eq!(world.calls(), ["apply", "tidy", "apply", "tidy"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_nobody_waits_for_goes_on() {
        let world = world(None);
        drop(world.commit("dropped"));
        let mut polled = world.commit("polled");
        assert!((&mut polled).now_or_never().is_none());
        drop(polled);
        tokio::time::sleep(2 * DISK).await;
        assert!(world.has("dropped") && world.has("polled"));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failed_write_the_engine_is_not_called_again() {
        let world = world(Some("apply"));
        assert_eq!(world.commit("first").await, Ok(Revision(2)));
        let wait = world.storage.changed(Bytes::from_static(b"second"), None);
        let second = world.commit("second");
        tokio::time::sleep(DISK + DISK / 2).await;
        let behind = world.commit("behind");
        assert_eq!(second.await, Err(CommitError::Unknown));
        let stopped = "writes stopped after a failed commit: storage is unavailable: disk failed".to_owned();
        assert_eq!(behind.await, Err(CommitError::Unavailable(stopped.clone())));
        assert_eq!(world.commit("after").await, Err(CommitError::Unavailable(stopped.clone())));
        assert_eq!(wait.await, Err(StorageError::Unavailable(stopped)));
        assert!(world.has("first") && !world.has("second"));
        assert_eq!(world.calls(), ["apply", "tidy", "apply"]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failed_compaction_commits_are_refused() {
        let world = world(Some("tidy"));
        assert_eq!(world.commit("first").await, Ok(Revision(2)));
        assert_eq!(world.commit("second").await, Ok(Revision(3)), "it was answered before the compaction");
        let Err(CommitError::Unavailable(reason)) = world.commit("third").await else { panic!("it was taken") };
        assert!(reason.contains("failed compaction"), "{reason}");
        assert_eq!(world.calls(), ["apply", "tidy", "apply", "tidy"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_aborted_task_leaves_no_one_waiting() {
        for polled in [false, true] {
            let world = world(None);
            let wait = world.storage.changed(Bytes::from_static(b"key"), None);
            let first = world.commit("first");
            if polled {
                tokio::time::sleep(DISK / 2).await;
            }
            let behind = world.commit("behind");
            world.tasks.1.lock().unwrap().clear();
            assert_eq!(first.await, Err(CommitError::Unknown));
            assert_eq!(behind.await, Err(CommitError::Unknown));
            assert_eq!(wait.await, Err(StorageError::Unavailable("the commit task has ended".to_owned())));
            assert!(matches!(world.commit("after").await, Err(CommitError::Unavailable(_))));
            assert_eq!(world.calls().len(), usize::from(polled));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_storage_finishes_what_was_handed_in() {
        let world = world(None);
        let commits = [world.commit("a"), world.commit("b")];
        let wait = world.storage.changed(Bytes::from_static(b"never"), None);
        drop(world);
        assert_eq!(join_all(commits).await, [Ok(Revision(2)), Ok(Revision(3))]);
        assert_eq!(wait.await, Err(StorageError::Unavailable("storage is closed".to_owned())));
    }
}
