//! A signal that is given once and seen by all: the steps of start-up and shutdown.
//!
//! Waiting costs no lock while nothing changes: a waiter registers its waker once and then looks at a flag. Waiters are
//! woken in the order in which they came. Invariant: a signal never goes back.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// A signal; clones are the same signal.
#[derive(Clone, Default)]
pub struct Signal(Arc<Shared>);

#[derive(Default)]
struct Shared {
    given: AtomicBool,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Signal {
    /// Not given yet.
    pub fn new() -> Signal {
        Signal::default()
    }

    /// Gives the signal; again does nothing.
    pub fn give(&self) {
        let wakers = {
            let mut waiters = self.lock();
            self.0.given.store(true, Ordering::Release);
            std::mem::take(&mut waiters.wakers)
        };
        for waker in wakers.into_values() {
            waker.wake();
        }
    }

    /// Whether it has been given.
    pub fn is_given(&self) -> bool {
        self.0.given.load(Ordering::Acquire)
    }

    /// Completes when it has been given.
    pub fn wait(&self) -> Wait {
        Wait { signal: self.clone(), registered: None }
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.0.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Signal::wait`].
pub struct Wait {
    signal: Signal,
    registered: Option<(u64, Waker)>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.signal.is_given() {
            return Poll::Ready(());
        }
        if self.registered.as_ref().is_some_and(|(_, waker)| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let signal = self.signal.clone();
        let mut waiters = signal.lock();
        if signal.is_given() {
            return Poll::Ready(());
        }
        let id = self.registered.as_ref().map_or(waiters.next, |(id, _)| *id);
        waiters.next = waiters.next.max(id + 1);
        waiters.wakers.insert(id, context.waker().clone());
        self.registered = Some((id, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some((id, _)) = self.registered.take() {
            self.signal.lock().wakers.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn waiters_see_the_signal_before_and_after() {
        let signal = Signal::new();
        let mut early = signal.wait();
        assert!((&mut early).now_or_never().is_none() && !signal.is_given());
        signal.give();
        signal.give();
        assert!((&mut early).now_or_never().is_some() && signal.wait().now_or_never().is_some());
    }

    #[tokio::test]
    async fn waiters_are_woken_and_forgotten() {
        let signal = Signal::new();
        let waiting = tokio::spawn(signal.wait());
        let mut dropped = signal.wait();
        assert!((&mut dropped).now_or_never().is_none());
        drop(dropped);
        tokio::task::yield_now().await;
        signal.give();
        assert!(waiting.await.is_ok() && signal.lock().wakers.is_empty());
    }
}
