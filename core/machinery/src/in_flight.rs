//! Requests in flight: how many at most, and waiting until none is left.
//!
//! Invariants: no more than the limits are being answered at a time (members of `system:masters` excepted); after
//! [`WaitGroup::drain`] has begun nobody enters; it ends when the last one who entered has left.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::{
    metrics::{Gauge, Metrics},
    signal::Signal,
};

/// The two limits of requests in flight.
pub struct Limits {
    read_only_max: i64,
    mutating_max: i64,
    metrics: Arc<Metrics>,
}

/// A place among the requests in flight.
pub struct Place {
    metrics: Arc<Metrics>,
    read_only: bool,
}

impl Limits {
    /// At most so many at a time; 0 is unlimited.
    pub fn new(read_only_max: usize, mutating_max: usize, metrics: Arc<Metrics>) -> Limits {
        let bound = |max: usize| if max == 0 { i64::MAX } else { i64::try_from(max).unwrap_or(i64::MAX) };
        Limits { read_only_max: bound(read_only_max), mutating_max: bound(mutating_max), metrics }
    }

    /// A place for one more, if there is one or if the limit does not count for this user.
    pub fn take(&self, read_only: bool, unlimited: bool) -> Option<Place> {
        let place = Place { metrics: self.metrics.clone(), read_only };
        // Counted first and compared afterwards, so that two cannot take the last place.
        place.gauge().add(1);
        let limit = if read_only { self.read_only_max } else { self.mutating_max };
        (unlimited || place.gauge().get() <= limit).then_some(place)
    }
}

impl Place {
    fn gauge(&self) -> &Gauge {
        if self.read_only { &self.metrics.in_flight_read_only } else { &self.metrics.in_flight_mutating }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge().add(-1);
    }
}

/// Counts who is inside, so that a shutdown can wait for them.
#[derive(Clone, Default)]
pub struct WaitGroup(Arc<Inside>);

#[derive(Default)]
struct Inside {
    count: AtomicUsize,
    draining: AtomicBool,
    empty: Signal,
}

/// Somebody is inside until it is dropped.
pub struct Member(Arc<Inside>);

impl WaitGroup {
    /// Nobody is inside.
    pub fn new() -> WaitGroup {
        WaitGroup::default()
    }

    /// Goes in; None once draining has begun.
    pub fn enter(&self) -> Option<Member> {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        let member = Member(self.0.clone());
        (!self.0.draining.load(Ordering::SeqCst)).then_some(member)
    }

    /// How many are inside.
    pub fn len(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Whether nobody is inside.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets nobody in any more and waits until everybody has left.
    pub async fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
        if self.is_empty() {
            self.0.empty.give();
        }
        self.0.empty.wait().await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.draining.load(Ordering::SeqCst) {
            self.0.empty.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn limits_hold_and_places_come_back() {
        let limits = Limits::new(2, 1, Arc::default());
        let first = limits.take(true, false);
        let second = limits.take(true, false);
        assert!(first.is_some() && second.is_some());
        assert!(limits.take(true, false).is_none() && limits.take(true, true).is_some());
        assert!(limits.take(false, false).is_some());
        drop(first);
        assert!(limits.take(true, false).is_some());
        assert_eq!(limits.metrics.in_flight_read_only.get(), 1);
        assert!(Limits::new(0, 0, Arc::default()).take(false, false).is_some());
    }

    #[test]
    fn draining_waits_for_the_last() {
        let group = WaitGroup::new();
        let (first, second) = (group.enter(), group.enter());
        assert!(first.is_some() && group.len() == 2);
        let mut drained = Box::pin(group.drain());
        assert!((&mut drained).now_or_never().is_none());
        assert!(group.enter().is_none());
        drop(first);
        assert!((&mut drained).now_or_never().is_none());
        drop(second);
        assert!((&mut drained).now_or_never().is_some());
        assert!(WaitGroup::new().drain().now_or_never().is_some());
    }
}
