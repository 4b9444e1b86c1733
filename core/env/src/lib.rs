//! The doors to the outside: time, randomness, tasks, the network and storage.
//!
//! Core decides and never reads a clock, a socket, a file, an environment variable or randomness by itself: it is given
//! an [`Env`] and a [`Storage`](storage::Storage). The daemon brings tokio's, a simulation brings its own, the code in
//! between is the same. In reading order:
//!
//! - [`clock`]: wall time, monotonic time, sleeping, timeouts
//! - [`entropy`]: random bits, UUIDs
//! - [`tasks`]: named tasks that end when their handle is dropped
//! - [`network`]: listeners and byte streams
//! - [`hyper_adapters`]: what hyper needs of the above
//! - [`storage`]: ordered, transactional key-value storage and its contract
//! - [`probe!`]: rare lines that a simulation should reach
//! - `contract` (feature): the suite that tests each clause of the storage contract

pub mod clock;
#[cfg(feature = "contract")]
pub mod contract;
pub mod entropy;
pub mod hyper_adapters;
pub mod network;
pub mod probe;
pub mod storage;
pub mod tasks;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

pub use clock::{Clock, Elapsed};
pub use entropy::Entropy;
pub use network::{Connection, Listener, Network};
pub use tasks::{TaskHandle, Tasks};

/// A boxed future, as object-safe traits return them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The platform that code runs on. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Random bits.
    pub entropy: Arc<dyn Entropy>,
    /// Spawning.
    pub tasks: Arc<dyn Tasks>,
    /// Listening and connecting.
    pub network: Arc<dyn Network>,
}

impl Env {
    /// Completes `duration` from now.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(self.clock.now() + duration)
    }

    /// Polls `future` until it is ready or `duration` has passed; a future that is ready at once always wins.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        let future = std::pin::pin!(future);
        match futures::future::select(future, self.sleep(duration)).await {
            futures::future::Either::Left((output, _)) => Ok(output),
            futures::future::Either::Right(_) => Err(Elapsed),
        }
    }

    /// Spawns a task that goes on when nobody holds a handle.
    pub fn spawn_detached(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(name, Box::pin(future)).detach();
    }

    /// Spawns a task that is aborted when the handle is dropped.
    #[must_use = "dropping the handle aborts the task"]
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        self.tasks.spawn(name, Box::pin(future))
    }
}
