//! What lies between two nodes: delay, loss, cuts. Pure: randomness is given.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use madsim::{rand::Rng, task::NodeId};

/// First retransmission of what was lost.
const RETRANSMISSION_MS: u64 = 200;
/// Largest time between two retransmissions.
const RETRANSMISSION_MS_MAX: u64 = 3_000;

/// How long a message takes: mostly `typical`, sometimes up to `tail` (both in microseconds, uniformly within).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Latency {
    /// Smallest and largest usual delay, in microseconds.
    pub typical_us: (u64, u64),
    /// Of a thousand messages, so many take longer.
    pub tail_per_mille: u32,
    /// Largest delay of those, in microseconds.
    pub tail_us_max: u64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { typical_us: (100, 600), tail_per_mille: 0, tail_us_max: 0 }
    }
}

/// The state of all links. A link has a direction.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) latency: Latency,
    pub(super) loss_per_mille: u32,
    latencies: BTreeMap<(NodeId, NodeId), Latency>,
    cuts: BTreeSet<(NodeId, NodeId)>,
}

impl Links {
    pub(super) fn set_latency(&mut self, from: NodeId, to: NodeId, latency: Option<Latency>) {
        match latency {
            Some(latency) => drop(self.latencies.insert((from, to), latency)),
            None => drop(self.latencies.remove(&(from, to))),
        }
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId, cut: bool) {
        if cut {
            self.cuts.insert((from, to));
        } else {
            self.cuts.remove(&(from, to));
        }
    }

    pub(super) fn heal(&mut self) {
        self.cuts.clear();
        self.latencies.clear();
        self.loss_per_mille = 0;
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// How long a message takes, retransmissions of what was lost included.
    pub(super) fn delay(&self, from: NodeId, to: NodeId, rng: &mut impl Rng) -> Duration {
        if from == to {
            return Duration::from_micros(rng.gen_range(1..=20));
        }
        let latency = self.latencies.get(&(from, to)).unwrap_or(&self.latency);
        let (least, most) = latency.typical_us;
        let mut delay_us = rng.gen_range(least..=most.max(least));
        if latency.tail_per_mille > 0 && rng.gen_range(0..1000) < latency.tail_per_mille {
            delay_us = rng.gen_range(delay_us..=latency.tail_us_max.max(delay_us));
        }
        let mut wait_ms = RETRANSMISSION_MS;
        while self.loss_per_mille > 0 && rng.gen_range(0..1000) < self.loss_per_mille {
            delay_us += wait_ms * 1000;
            wait_ms = (wait_ms * 2).min(RETRANSMISSION_MS_MAX);
        }
        Duration::from_micros(delay_us)
    }
}

/// Time until the next attempt to cross a cut, after one that took `last`.
pub(super) fn next_attempt(last: Duration) -> Duration {
    (last * 2).clamp(Duration::from_millis(RETRANSMISSION_MS), Duration::from_millis(RETRANSMISSION_MS_MAX))
}
