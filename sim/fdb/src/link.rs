//! A client's connection: many requests at once, answered in any order.
//!
//! Once a request was put on a link, its fate is open until its answer: [`CallError::Lost`] and [`CallError::TimedOut`] say
//! so, [`CallError::NotSent`] says that it was never put there. A link that hears nothing for [`SILENCE_MAX`] while it
//! waits is given up. Dropping a call forgets it; a watch is then cancelled at the node.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::select;
use tokio::sync::oneshot;
use triune_env::{Connection, Env, TaskHandle, probe};

use crate::{
    channel::{Frames, Outbox},
    protocol::{Decode, NO_REQUEST, Reply, Request},
};

/// An answer may take this long; it is looked at once a [`TICK`].
pub const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A link that waits and hears nothing for so long is dead: its node answers a ping each [`TICK`].
pub const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How often a link looks at what it waits for.
pub const TICK: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallError {
    /// The link was closed before: the request was not sent.
    NotSent,
    /// The link was closed while it waited.
    Lost,
    /// It waited too long.
    TimedOut,
}

/// A connection to a node, as its users share it.
pub struct Link {
    env: Env,
    outbox: Outbox,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    calls: BTreeMap<u64, (oneshot::Sender<Result<Reply, CallError>>, Option<Instant>)>,
    last_id: u64,
    heard: Instant,
    closed: bool,
}

impl Link {
    /// Takes over a stream; the task is the link's life.
    pub fn open(env: &Env, stream: Box<dyn Connection>) -> (Arc<Link>, TaskHandle) {
        let waiting = Waiting { calls: BTreeMap::new(), last_id: NO_REQUEST, heard: env.clock.now(), closed: false };
        let link = Arc::new(Link { env: env.clone(), outbox: Outbox::default(), waiting: Mutex::new(waiting) });
        let (served, closes) = (link.clone(), Closes(link.clone()));
        let task = env.spawn("fdb-link", async move {
            let _closes = closes;
            let (reader, writer) = tokio::io::split(stream);
            let read = std::pin::pin!(served.read(Frames::new(reader)));
            let write = std::pin::pin!(served.outbox.drain(writer));
            let tick = std::pin::pin!(served.tick());
            select(select(read, write), tick).await;
        });
        (link, task)
    }

    /// Asks. The request is sent before this returns, or never.
    pub fn call(self: &Arc<Link>, request: &Request, patience: Option<Duration>) -> Result<Call, CallError> {
        let (sender, answer) = oneshot::channel();
        let deadline = patience.map(|patience| self.env.clock.now() + patience);
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(CallError::NotSent);
        }
        waiting.last_id += 1;
        let id = waiting.last_id;
        if waiting.calls.is_empty() {
            waiting.heard = self.env.clock.now();
        }
        waiting.calls.insert(id, (sender, deadline));
        drop(waiting);
        let watches = matches!(request, Request::Watch { .. });
        if !self.outbox.send(id, request) {
            // The node takes nothing any more.
            self.lock().calls.remove(&id);
            self.close();
            return Err(CallError::NotSent);
        }
        Ok(Call { link: self.clone(), id, watches, answer })
    }

    /// Whether it can still be used.
    pub fn is_open(&self) -> bool {
        !self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let calls = std::mem::take(&mut waiting.calls);
        drop(waiting);
        self.outbox.close();
        for (sender, _) in calls.into_values() {
            // Who does not wait any more need not know.
            let _ = sender.send(Err(CallError::Lost));
        }
    }

    async fn read<R: tokio::io::AsyncRead + Unpin>(&self, mut frames: Frames<R>) -> io::Result<()> {
        while let Some(frame) = frames.next().await? {
            let Some((id, reply)) = Reply::of_frame(frame) else { return Err(io::ErrorKind::InvalidData.into()) };
            let mut waiting = self.lock();
            waiting.heard = self.env.clock.now();
            let call = waiting.calls.remove(&id);
            drop(waiting);
            if let Some((sender, _)) = call {
                let _ = sender.send(Ok(reply));
            }
        }
        Ok(())
    }

    /// Ends calls that wait too long. Returns when the link is dead.
    async fn tick(&self) {
        loop {
            self.env.sleep(TICK).await;
            let now = self.env.clock.now();
            let mut waiting = self.lock();
            if waiting.calls.is_empty() {
                continue;
            }
            if now.saturating_duration_since(waiting.heard) >= SILENCE_MAX {
                return probe!("fdb client: a silent link is given up");
            }
            let late = |(_, deadline): &(_, Option<Instant>)| deadline.is_some_and(|deadline| deadline <= now);
            let ids: Vec<u64> = waiting.calls.iter().filter(|(_, call)| late(call)).map(|(id, _)| *id).collect();
            let calls: Vec<_> = ids.into_iter().filter_map(|id| waiting.calls.remove(&id)).collect();
            drop(waiting);
            for (sender, _) in calls {
                let _ = sender.send(Err(CallError::TimedOut));
            }
            self.outbox.send(NO_REQUEST, &Request::Ping);
        }
    }
}

/// Closes the link however its task ends.
struct Closes(Arc<Link>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A request that was sent.
pub struct Call {
    link: Arc<Link>,
    id: u64,
    watches: bool,
    answer: oneshot::Receiver<Result<Reply, CallError>>,
}

impl Future for Call {
    type Output = Result<Reply, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or(Err(CallError::Lost)))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let unanswered = self.link.lock().calls.remove(&self.id).is_some();
        if unanswered && self.watches {
            self.link.outbox.send(self.id, &Request::Cancel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_link_whose_node_takes_nothing_is_closed() {
        let (near, _far) = tokio::io::duplex(10);
        let (link, _task) = Link::open(&triune_platform::env(), Box::new(near));
        let waits = link.call(&Request::ReadVersion, None).unwrap();
        assert!(link.is_open());
        link.outbox.close();
        assert_eq!(link.call(&Request::ReadVersion, None).err(), Some(CallError::NotSent));
        assert!(!link.is_open());
        assert_eq!(waits.await, Err(CallError::Lost));
    }
}
