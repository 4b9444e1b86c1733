//! hyper's executor and timer over [`Env`](crate::Env).

use std::{
    future::Future,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{BoxFuture, Env};

/// Runs hyper's connection tasks on the platform.
#[derive(Clone)]
pub struct HyperExecutor(pub Env);

impl<F> hyper::rt::Executor<F> for HyperExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn_detached("hyper", async move {
            future.await;
        });
    }
}

/// Gives hyper the platform's time.
#[derive(Clone)]
pub struct HyperTimer(pub Env);

/// hyper asks for `Sync`; the lock is never contended, since a sleep is polled through `&mut`.
struct HyperSleep(Mutex<BoxFuture<'static, ()>>);

impl Future for HyperSleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.0.get_mut() {
            Ok(sleep) => sleep.as_mut().poll(context),
            Err(poisoned) => poisoned.into_inner().as_mut().poll(context),
        }
    }
}
impl hyper::rt::Sleep for HyperSleep {}

impl hyper::rt::Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HyperSleep(Mutex::new(self.0.sleep(duration))))
    }
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HyperSleep(Mutex::new(self.0.clock.sleep_until(deadline))))
    }
    fn now(&self) -> Instant {
        self.0.clock.now()
    }
}
