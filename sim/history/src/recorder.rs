//! Collects events while a simulation runs, and hashes them.
//!
//! The hash of two runs of one seed must be equal: it covers every event with its time.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::event::{At, Body, Event, OperationId};

/// Shared by all nodes of a run. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    now: Arc<dyn Fn() -> At + Send + Sync>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    hash: Fnv,
    operations: u64,
}

impl Recorder {
    /// `now` gives the simulated time.
    pub fn new(now: impl Fn() -> At + Send + Sync + 'static) -> Recorder {
        Recorder { now: Arc::new(now), inner: Arc::default() }
    }

    /// Adds an event that happens now.
    pub fn record(&self, node: &str, body: Body) {
        let event = Event { at: (self.now)(), node: node.to_owned(), body };
        let mut inner = self.lock();
        event.hash(&mut inner.hash);
        inner.events.push(event);
    }

    /// A fresh name for a request.
    pub fn operation(&self) -> OperationId {
        let mut inner = self.lock();
        inner.operations += 1;
        OperationId(inner.operations)
    }

    /// Hash of all events so far.
    pub fn hash(&self) -> u64 {
        self.lock().hash.finish()
    }

    /// Number of events so far.
    pub fn len(&self) -> usize {
        self.lock().events.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all events; the hash stays.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().events)
    }

    /// A clone of the events from `index` on.
    pub fn since(&self, index: usize) -> Vec<Event> {
        self.lock().events.get(index..).unwrap_or_default().to_vec()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// FNV-1a: the same in every process and on every machine.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_sees_every_event_its_time_and_its_order() {
        let hash = |events: &[(u64, &str)]| {
            let time = Arc::new(Mutex::new(0));
            let clock = time.clone();
            let recorder = Recorder::new(move || At(*clock.lock().unwrap()));
            for (at, text) in events {
                *time.lock().unwrap() = *at;
                recorder.record("node", Body::Note((*text).to_owned()));
            }
            recorder.hash()
        };
        let base = hash(&[(1, "a"), (2, "b")]);
        assert_eq!(base, hash(&[(1, "a"), (2, "b")]));
        for other in [&[(1, "a"), (3, "b")][..], &[(2, "b"), (1, "a")], &[(1, "a")], &[(1, "a"), (2, "c")]] {
            assert_ne!(base, hash(other));
        }
    }
}
