//! What the operations of one workload of a client share: its servers, its numbers, what it has seen.
//!
//! Invariants: operations are numbered in the order in which they begin; what operation N draws depends on the seed and on
//! N alone, so that others can be left out ([`Session::next`] skips them); after the signal to stop none begins, and those
//! that run come to their end.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use triune_env::{BoxFuture, Env};
use triune_machinery::signal::Signal;

use crate::{
    api::{Api, Reply},
    kind::{Content, GROUPS, Kind},
    random::Random,
    request::Request,
    retry,
};

/// Revisions remembered of a kind.
const REVISIONS_MAX: usize = 16;
/// A revision of the future is this far away.
const FUTURE: u64 = 1 << 40;

/// What the operations of a workload share.
pub struct Session {
    /// The platform.
    pub env: Env,
    /// Given when no more operations are to begin.
    pub stop: Signal,
    pub(crate) started: Instant,
    pub(crate) node: String,
    pub(crate) apis: Vec<Api>,
    pub(crate) home: usize,
    pub(crate) hop_percent: u32,
    pub(crate) seed: u64,
    pub(crate) end: u64,
    pub(crate) skip: BTreeSet<u64>,
    pub(crate) begun: AtomicU64,
    pub(crate) seen: Mutex<BTreeMap<Kind, VecDeque<u64>>>,
}

/// Which revision an operation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// The newest that this client has seen.
    Newest,
    /// One that it has seen.
    Seen,
    /// One from before everything.
    First,
    /// One that is not there yet.
    Future,
}

/// One step of a workload.
pub trait Steps: Send + Sync {
    /// Does operation `number`.
    fn step<'a>(&'a self, session: &'a Session, number: u64, random: Random) -> BoxFuture<'a, ()>;
}

impl Session {
    /// Runs operations on `lanes` lanes at once, with a pause before each, until there are no more.
    pub async fn drive(&self, lanes: u64, think_ms: (u64, u64), steps: &dyn Steps) {
        let lanes = (0..lanes).map(|_| async move {
            while let Some((number, mut random)) = self.next() {
                if !self.pause(random.millis(think_ms)).await {
                    return;
                }
                steps.step(self, number, random).await;
            }
        });
        futures::future::join_all(lanes).await;
    }

    /// The next operation and its randomness; None when there are no more.
    pub fn next(&self) -> Option<(u64, Random)> {
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            if number >= self.end || self.stop.is_given() {
                return None;
            }
            if !self.skip.contains(&number) {
                return Some((number, Random::of(self.seed, number)));
            }
        }
    }

    /// The server that an operation asks: mostly the client's own.
    pub fn api(&self, random: &mut Random) -> &Api {
        let hops = random.percent(self.hop_percent);
        let other = random.below(self.apis.len() as u64) as usize;
        &self.apis[if hops { other } else { self.home % self.apis.len() }]
    }

    /// Asks, with the retries of client-go, and remembers the revision of the answer.
    pub async fn call(&self, api: &Api, kind: Kind, request: &Request) -> Reply {
        let reply = retry::call(api, request, &self.stop).await;
        if let Some(revision) = reply.revision() {
            self.saw(kind, revision);
        }
        reply
    }

    /// Remembers a revision.
    pub fn saw(&self, kind: Kind, revision: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(kind).or_default();
        if seen.back().is_none_or(|newest| *newest < revision) {
            seen.push_back(revision);
        }
        if seen.len() > REVISIONS_MAX {
            // The first stays: it is the one that is compacted soonest.
            seen.remove(1);
        }
    }

    /// A revision of an age.
    pub fn revision(&self, kind: Kind, age: Age, random: &mut Random) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = seen.get(&kind).cloned().unwrap_or_default();
        let newest = seen.back().copied().unwrap_or(1);
        match age {
            Age::Newest => newest,
            Age::Seen => random.pick(seen.make_contiguous()).copied().unwrap_or(1),
            Age::First => 1,
            Age::Future => newest + FUTURE,
        }
    }

    /// Content that no other operation of any client has.
    pub fn content(&self, number: u64, part: u64, padding_bytes: u64, random: &mut Random) -> Content {
        let part = if part == 0 { String::new() } else { format!(".{part}") };
        Content {
            text: format!("{}-{number}{part}", self.node),
            number,
            group: random.pick(&GROUPS).copied().unwrap_or(GROUPS[0]),
            padding_bytes: padding_bytes as usize,
        }
    }

    /// Waits; false if it is time to stop.
    pub async fn pause(&self, duration: Duration) -> bool {
        retry::pause(&self.env, duration, &self.stop).await
    }
}
