//! The commit queue: intents wait here while the group before them is made durable, by a thread of its own for the
//! embedded engine, by [a task](crate::task) for an engine whose writes are futures.
//!
//! The thread, not an async worker, waits for the disk. While it does, the next group gathers: the more clients, the
//! more commits share an fsync. No timer and no tuning: an idle storage commits at once.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::oneshot;
use triune_env::{
    BoxFuture,
    storage::{CommitError, TRANSACTION_SECONDS_MAX},
};

use crate::{
    client::Submit,
    committer::{Answer, Committer},
    engine::{Engine, View},
    intent::Intent,
    shared::Shared,
};

/// Commits that wait at most; one more is refused as Unavailable.
const QUEUE_COMMITS_MAX: usize = 16_384;
/// Bytes of the commits that wait, at most; one more is refused as Unavailable.
const QUEUE_BYTES_MAX: usize = 256 << 20;
/// A group takes commits up to this size, so that memory and the time of one fsync stay bounded.
const GROUP_BYTES_MAX: usize = 16 << 20;

/// Hands intents to the commit thread. Dropping it finishes what is queued, and ends the thread.
pub(crate) struct CommitQueue<E: Engine> {
    queue: Arc<Queue<Condvar>>,
    shared: Arc<Shared<E::View>>,
    thread: Option<JoinHandle<()>>,
}

impl<E: Engine> CommitQueue<E> {
    /// Starts the thread.
    pub(crate) fn start(engine: E, shared: Arc<Shared<E::View>>) -> std::io::Result<CommitQueue<E>> {
        let queue = Arc::new(Queue::<Condvar>::default());
        let thread = std::thread::Builder::new().name("triune-commit".to_owned()).spawn({
            let end = End { queue: queue.clone(), shared: shared.clone(), reason: "the commit thread has ended" };
            move || run(engine, &end)
        })?;
        Ok(CommitQueue { queue, shared, thread: Some(thread) })
    }
}

impl<E: Engine> Submit for CommitQueue<E> {
    fn submit(&self, intent: Intent) -> BoxFuture<'static, Answer> {
        self.queue.submit(intent)
    }
}

impl<E: Engine> Drop for CommitQueue<E> {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // It ends after the group that it is at; a panic there has been reported by the stop of the storage.
            let _ = thread.join();
        }
        self.shared.stop("storage is closed".to_owned());
    }
}

/// Tells whoever takes from the queue that something has arrived.
pub(crate) trait Bell: Default + Send + Sync + 'static {
    /// Wakes the taker, if it sleeps.
    fn ring(&self);
}

impl Bell for Condvar {
    fn ring(&self) {
        self.notify_one();
    }
}

/// Commits that wait, bounded.
#[derive(Default)]
pub(crate) struct Queue<B: Bell> {
    state: Mutex<QueueState>,
    pub(crate) arrived: B,
}

#[derive(Default)]
struct QueueState {
    waiting: Vec<Waiting>,
    bytes: usize,
    /// The taker sleeps: an arrival must wake it.
    idle: bool,
    closed: bool,
}

struct Waiting {
    intent: Intent,
    answer: oneshot::Sender<Answer>,
}

/// What the taker does next.
pub(crate) enum Next {
    Group(Vec<Intent>, Vec<oneshot::Sender<Answer>>),
    Idle,
    Closed,
}

impl<B: Bell> Queue<B> {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in an intent; the answer comes when its group is done, whether somebody waits for it or not.
    pub(crate) fn submit(&self, intent: Intent) -> BoxFuture<'static, Answer> {
        let waiting = self.push(intent);
        Box::pin(async move {
            // A taker that ended without an answer may have written before it did.
            waiting?.await.unwrap_or(Err(CommitError::Unknown))
        })
    }

    fn push(&self, intent: Intent) -> Result<oneshot::Receiver<Answer>, CommitError> {
        let (answer, waiting) = oneshot::channel();
        let mut state = self.lock();
        if state.closed {
            return Err(CommitError::Unavailable("storage is closed".to_owned()));
        }
        if state.waiting.len() >= QUEUE_COMMITS_MAX || state.bytes.saturating_add(intent.bytes) > QUEUE_BYTES_MAX {
            return Err(CommitError::Unavailable("too many commits are waiting for the disk".to_owned()));
        }
        state.bytes += intent.bytes;
        state.waiting.push(Waiting { intent, answer });
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.arrived.ring();
        }
        Ok(waiting)
    }

    /// Takes no more; what waits is still given out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.ring();
    }

    /// What can be done now. After [`Next::Idle`] the next arrival rings.
    pub(crate) fn take(&self) -> Next {
        Self::take_from(self.lock())
    }

    fn take_from(mut state: MutexGuard<'_, QueueState>) -> Next {
        if state.waiting.is_empty() {
            state.idle = !state.closed;
            return if state.closed { Next::Closed } else { Next::Idle };
        }
        let taken = group_length(&state.waiting);
        let rest = state.waiting.split_off(taken);
        let group = std::mem::replace(&mut state.waiting, rest);
        state.bytes -= group.iter().map(|waiting| waiting.intent.bytes).sum::<usize>();
        drop(state);
        let (intents, answers) = group.into_iter().map(|waiting| (waiting.intent, waiting.answer)).unzip();
        Next::Group(intents, answers)
    }
}

impl Queue<Condvar> {
    /// Waits for commits, for at most `idle_max`.
    fn next(&self, idle_max: Duration) -> Next {
        let mut state = self.lock();
        if state.waiting.is_empty() && !state.closed {
            state.idle = true;
            let unanswered = |state: &mut QueueState| state.waiting.is_empty() && !state.closed;
            let woken = self.arrived.wait_timeout_while(state, idle_max, unanswered);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            state.idle = false;
        }
        Self::take_from(state)
    }
}

/// When the taker ends, however it does, nobody waits for it any more.
pub(crate) struct End<B: Bell, V: View> {
    pub(crate) queue: Arc<Queue<B>>,
    pub(crate) shared: Arc<Shared<V>>,
    pub(crate) reason: &'static str,
}

impl<B: Bell, V: View> Drop for End<B, V> {
    fn drop(&mut self) {
        self.shared.stop(self.reason.to_owned());
        let mut state = self.queue.lock();
        state.closed = true;
        state.waiting.clear();
    }
}

/// How many commits from the front make a group: at least one.
fn group_length(waiting: &[Waiting]) -> usize {
    let mut bytes = 0;
    let fits = |waiting: &&Waiting| {
        bytes += waiting.intent.bytes;
        bytes <= GROUP_BYTES_MAX
    };
    waiting.iter().take_while(fits).count().max(1)
}

fn run<E: Engine>(mut engine: E, End { queue, shared, .. }: &End<Condvar, E::View>) {
    let mut committer = Committer::new(shared.clone());
    let mut remembers = false;
    loop {
        // While history is left, wakes up to forget it: an idle daemon keeps no memory for what no transaction needs.
        let idle_max = Duration::from_secs(if remembers { TRANSACTION_SECONDS_MAX } else { 3_600 });
        match queue.next(idle_max) {
            Next::Group(intents, answers) => {
                let results = committer.commit_group(&mut engine, intents);
                for (answer, result) in answers.into_iter().zip(results) {
                    // Nobody waits any more if the client has gone.
                    let _ = answer.send(result);
                }
                remembers = true;
            }
            Next::Idle => remembers = committer.forget(shared.env.clock.now()),
            Next::Closed => return,
        }
    }
}
