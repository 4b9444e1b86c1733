//! Sleeping in virtual time.
//!
//! madsim's own sleep takes at least a millisecond, and each poll of it leaves one more timer behind, which a connection
//! that is polled for every request multiplies. This one takes just as long as asked and owns one timer.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use madsim::time::TimeHandle;

/// Completes when the virtual time has reached `deadline`; at once if it has already.
pub fn sleep_until(time: &TimeHandle, deadline: Instant) -> Sleep {
    Sleep { time: time.clone(), deadline, timer: None }
}

/// See [`sleep_until`].
pub struct Sleep {
    time: TimeHandle,
    deadline: Instant,
    timer: Option<Arc<Timer>>,
}

/// What the one timer wakes: whoever polled last.
#[derive(Default)]
struct Timer {
    waker: Mutex<Option<Waker>>,
}

impl Wake for Timer {
    fn wake(self: Arc<Self>) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.time.now_instant() >= self.deadline {
            return Poll::Ready(());
        }
        if let Some(timer) = &self.timer {
            let mut waker = timer.waker.lock().unwrap_or_else(PoisonError::into_inner);
            match waker.as_mut() {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        let timer = Arc::new(Timer { waker: Mutex::new(Some(context.waker().clone())) });
        let waker = Waker::from(timer.clone());
        let mut sleep = self.time.sleep_until(self.deadline);
        // Without this it would take a millisecond at least.
        Pin::new(&mut sleep).reset(self.deadline);
        // One poll leaves one timer; it fires whether the future lives or not.
        let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker));
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}
