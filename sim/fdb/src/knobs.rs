//! Which faults happen, and how often.
//!
//! Each [`Fault`] has a probability in parts per million, drawn where it could happen, and can be asked for once. All are
//! off at first. How often each has happened is counted, so that a run can tell what it has tried.

use std::{collections::BTreeMap, time::Duration};

use triune_env::Entropy;
use triune_fdb_model::version::RECOVERY_VERSIONS;

/// A failure that FoundationDB has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A commit conflicts, for nothing.
    Conflict,
    /// A commit is decided as it should, and its client is told `commit_unknown_result`.
    CommitUnknown,
    /// A commit is dropped, and its client is told `commit_unknown_result`.
    CommitUnknownDropped,
    /// A client is told `commit_unknown_result` at once, and its commit is decided only after
    /// [`FaultKnobs::late_commit`].
    LateCommit,
    /// A read is refused with `transaction_too_old`.
    ReadTooOld,
    /// A read is refused with `future_version`.
    FutureVersion,
    /// A read or read version is not to be had.
    Unavailable,
    /// The answer to a read or a commit comes after [`FaultKnobs::slow_reply`].
    SlowReply,
    /// The answer to a read or a commit never comes.
    LostReply,
    /// A watch fires for nothing, within [`FaultKnobs::spurious_watch`].
    SpuriousWatch,
    /// A watch fires only after [`FaultKnobs::late_watch`].
    LateWatch,
    /// The cluster recovers: versions jump, commits in flight have unknown outcomes, and for [`FaultKnobs::recovery`]
    /// there are neither read versions nor commits.
    Recovery,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 12] = [
        Fault::Conflict,
        Fault::CommitUnknown,
        Fault::CommitUnknownDropped,
        Fault::LateCommit,
        Fault::ReadTooOld,
        Fault::FutureVersion,
        Fault::Unavailable,
        Fault::SlowReply,
        Fault::LostReply,
        Fault::SpuriousWatch,
        Fault::LateWatch,
        Fault::Recovery,
    ];
}

/// A delay is drawn from here, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayRange {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl DelayRange {
    /// From so many milliseconds to so many.
    pub const fn ms(min: u64, max: u64) -> DelayRange {
        DelayRange { min: Duration::from_millis(min), max: Duration::from_millis(max) }
    }

    /// One of them, in whole microseconds.
    pub fn draw(self, entropy: &dyn Entropy) -> Duration {
        let width_us = u64::try_from(self.max.saturating_sub(self.min).as_micros()).unwrap_or(u64::MAX - 1);
        if width_us == 0 { self.min } else { self.min + Duration::from_micros(entropy.u64() % (width_us + 1)) }
    }
}

/// What may go wrong, and how slow things are. May be changed while the node runs.
#[derive(Debug, Clone)]
pub struct FaultKnobs {
    chances_ppm: BTreeMap<Fault, u32>,
    once: Vec<Fault>,
    happened: BTreeMap<Fault, u64>,
    /// How long a commit waits for others of its batch.
    pub batch: DelayRange,
    /// From a commit to a watch that it fires.
    pub watch: DelayRange,
    /// See [`Fault::SlowReply`].
    pub slow_reply: DelayRange,
    /// See [`Fault::LateCommit`].
    pub late_commit: DelayRange,
    /// See [`Fault::SpuriousWatch`].
    pub spurious_watch: DelayRange,
    /// See [`Fault::LateWatch`].
    pub late_watch: DelayRange,
    /// See [`Fault::Recovery`].
    pub recovery: DelayRange,
    /// By how much versions jump in a recovery, also in one after a crash.
    pub recovery_versions: u64,
}

impl Default for FaultKnobs {
    fn default() -> FaultKnobs {
        FaultKnobs {
            chances_ppm: BTreeMap::new(),
            once: Vec::new(),
            happened: BTreeMap::new(),
            batch: DelayRange::ms(1, 2),
            watch: DelayRange::ms(8, 12),
            slow_reply: DelayRange::ms(50, 2_000),
            late_commit: DelayRange::ms(1, 6_000),
            spurious_watch: DelayRange::ms(0, 500),
            late_watch: DelayRange::ms(100, 3_000),
            recovery: DelayRange::ms(100, 3_000),
            recovery_versions: RECOVERY_VERSIONS,
        }
    }
}

impl FaultKnobs {
    /// Sets how often a fault happens, of a million times that it could. 0: never.
    pub fn set(&mut self, fault: Fault, chance_ppm: u32) {
        if chance_ppm == 0 {
            self.chances_ppm.remove(&fault);
        } else {
            self.chances_ppm.insert(fault, chance_ppm);
        }
    }

    /// Makes a fault happen the next time that it can.
    pub fn once(&mut self, fault: Fault) {
        self.once.push(fault);
    }

    /// No fault from now on. Delays and counts stay.
    pub fn heal(&mut self) {
        self.chances_ppm.clear();
        self.once.clear();
    }

    /// How often a fault has happened.
    pub fn happened(&self, fault: Fault) -> u64 {
        self.happened.get(&fault).copied().unwrap_or_default()
    }

    /// Whether a fault happens now.
    pub(crate) fn draw(&mut self, fault: Fault, entropy: &dyn Entropy) -> bool {
        let asked = self.once.iter().position(|once| *once == fault);
        let happens = match (asked, self.chances_ppm.get(&fault)) {
            (Some(index), _) => {
                self.once.remove(index);
                true
            }
            (None, Some(chance_ppm)) => entropy.u64() % 1_000_000 < u64::from(*chance_ppm),
            (None, None) => false,
        };
        if happens {
            *self.happened.entry(fault).or_default() += 1;
        }
        happens
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicU64);

    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            let next = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            buffer.iter_mut().zip(next).for_each(|(byte, next)| *byte = next);
        }
    }

    #[test]
    fn faults_happen_as_often_as_set_and_once_when_asked() {
        let (mut knobs, entropy) = (FaultKnobs::default(), Counting::default());
        let count = |knobs: &mut FaultKnobs, fault| (0..1_000).filter(|_| knobs.draw(fault, &entropy)).count();
        assert_eq!(count(&mut knobs, Fault::Conflict), 0);
        knobs.once(Fault::Conflict);
        knobs.once(Fault::LostReply);
        assert_eq!(count(&mut knobs, Fault::Conflict), 1);
        knobs.set(Fault::Conflict, 250);
        assert_eq!(count(&mut knobs, Fault::Conflict), 250);
        assert_eq!(knobs.happened(Fault::Conflict), 251);
        knobs.heal();
        assert_eq!((count(&mut knobs, Fault::Conflict), count(&mut knobs, Fault::LostReply)), (0, 0));
    }

    #[test]
    fn delays_are_within_their_range() {
        let entropy = Counting::default();
        let range = DelayRange { min: Duration::from_micros(3), max: Duration::from_micros(5) };
        let drawn: Vec<_> = (0..4).map(|_| range.draw(&entropy).as_micros()).collect();
        assert_eq!(drawn, [3, 4, 5, 3]);
        assert_eq!(DelayRange::ms(7, 7).draw(&entropy), Duration::from_millis(7));
    }
}
