//! The doors of [`Env`] as a simulated node has them: virtual time, seeded randomness, madsim's tasks, the simulated
//! network.
//!
//! Monotonic time is the same on all nodes; wall clocks differ by an offset and drift apart. A task belongs to the node
//! that spawns it and ends with the node.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use madsim::{
    rand::{RngCore, thread_rng},
    time::TimeHandle,
};
use triune_env::{BoxFuture, Clock, Connection, Entropy, Env, Listener, Network, TaskHandle, Tasks};

use crate::{
    network::{SimListener, SimNetwork},
    time::sleep_until,
};

/// Wall time at the start of every simulation, in seconds since 1970: 2026-11-01T00:00:00Z.
pub const WALL_START_SECONDS: u64 = 1_793_491_200;

/// A node's wall clock, which faults may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct WallClock {
    /// Ahead of (or behind) the true time, in milliseconds.
    pub offset_ms: i64,
    /// Gains (or loses) so many microseconds each second.
    pub drift_us_per_second: i64,
}

/// The environment of a node; `wall` may be changed while it runs. Needs the simulation around the call.
pub fn env(wall: Arc<Mutex<WallClock>>) -> Env {
    Env {
        clock: Arc::new(SimClock { time: TimeHandle::current(), wall }),
        entropy: Arc::new(SimEntropy),
        tasks: Arc::new(SimTasks),
        network: Arc::new(SimNodeNetwork { network: SimNetwork::current() }),
    }
}

struct SimClock {
    time: TimeHandle,
    wall: Arc<Mutex<WallClock>>,
}

impl Clock for SimClock {
    fn wall(&self) -> SystemTime {
        let wall = *self.wall.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = self.time.elapsed();
        let seconds = i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX);
        let error_us = wall.offset_ms * 1000 + wall.drift_us_per_second.saturating_mul(seconds);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(WALL_START_SECONDS) + elapsed;
        let error = Duration::from_micros(error_us.unsigned_abs());
        if error_us < 0 { now - error } else { now + error }
    }

    fn now(&self) -> Instant {
        self.time.now_instant()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Box::pin(sleep_until(&self.time, deadline))
    }
}

struct SimEntropy;

impl Entropy for SimEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        thread_rng().fill_bytes(buffer);
    }
}

struct SimTasks;

impl Tasks for SimTasks {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> TaskHandle {
        let abort = madsim::task::Builder::new().name(name).spawn(future).abort_handle();
        TaskHandle::new(move || abort.abort())
    }
}

struct SimNodeNetwork {
    network: Arc<SimNetwork>,
}

impl Network for SimNodeNetwork {
    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(std::future::ready(
            self.network.listen(address).map(|listener| Box::new(NodeListener(listener)) as Box<dyn Listener>),
        ))
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async move { Ok(Box::new(self.network.connect(address).await?) as Box<dyn Connection>) })
    }
}

struct NodeListener(SimListener);

impl Listener for NodeListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.0.accept().await?;
            Ok((Box::new(stream) as Box<dyn Connection>, peer))
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.0.local_address()
    }
}
