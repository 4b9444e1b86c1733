//! Time. Core reads it only here, so that a simulation owns it.

use std::time::{Instant, SystemTime};

use crate::BoxFuture;

/// A node's clocks.
pub trait Clock: Send + Sync + 'static {
    /// Wall time: may jump, may differ between nodes. For timestamps that people read, never for intervals.
    fn wall(&self) -> SystemTime;
    /// Monotonic time of this process, for intervals and deadlines.
    fn now(&self) -> Instant;
    /// Completes when [`Clock::now`] has reached `deadline`; at once if it has already.
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()>;
}

/// The time given has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline has elapsed")]
pub struct Elapsed;
