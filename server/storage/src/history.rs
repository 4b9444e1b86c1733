//! Recent writes, and whether an intent conflicts with them. Pure: time is handed in.
//!
//! The history is bounded in keys, ranges and age. What was forgotten raises the floor, and an intent that read below
//! the floor cannot be validated: TooOld, never a guess.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    time::{Duration, Instant},
};

use bytes::Bytes;
use triune_env::storage::{CommitError, KeyRange, Revision, TRANSACTION_SECONDS_MAX};

use crate::intent::Intent;

/// Keys remembered at most; beyond it the oldest commits are forgotten. About 10 MB when full, and more than a second of
/// the fastest writing that has been measured.
const HISTORY_KEYS_MAX: usize = 65_536;
/// Cleared ranges remembered at most: each validation looks at all of those after its read version.
const HISTORY_RANGES_MAX: usize = 1_024;
/// A commit older than the life of a transaction is of no use; one second allows for the wait in the queue.
const HISTORY_AGE: Duration = Duration::from_secs(TRANSACTION_SECONDS_MAX + 1);

/// What one commit wrote, for conflicts.
#[derive(Debug, Default)]
pub(crate) struct WriteSet {
    pub(crate) keys: Vec<Bytes>,
    pub(crate) ranges: Vec<KeyRange>,
}

struct Recorded {
    revision: Revision,
    at: Instant,
    keys: Vec<Bytes>,
}

/// Recent writes.
pub(crate) struct History {
    /// Intents that read below this are TooOld.
    floor: Revision,
    latest: BTreeMap<Bytes, Revision>,
    ranges: VecDeque<(Revision, KeyRange)>,
    commits: VecDeque<Recorded>,
    keys: usize,
    keys_max: usize,
    ranges_max: usize,
}

impl History {
    /// An empty history that begins after `floor`.
    pub(crate) fn new(floor: Revision) -> History {
        History::bounded(floor, HISTORY_KEYS_MAX, HISTORY_RANGES_MAX)
    }

    fn bounded(floor: Revision, keys_max: usize, ranges_max: usize) -> History {
        History {
            floor,
            latest: BTreeMap::new(),
            ranges: VecDeque::new(),
            commits: VecDeque::new(),
            keys: 0,
            keys_max,
            ranges_max,
        }
    }

    /// Whether everything that the intent read is still as it was (S1).
    pub(crate) fn validate(&self, intent: &Intent) -> Result<(), CommitError> {
        let read_version = intent.read_version;
        if read_version < self.floor {
            return Err(CommitError::TooOld);
        }
        let key_changed = |key: &Bytes| {
            self.latest.get(key).is_some_and(|revision| *revision > read_version)
                || self.cleared_after(read_version).any(|range| range.start <= *key && *key < range.end)
        };
        let range_changed = |read: &KeyRange| {
            let bounds = (Bound::Included(&read.start), Bound::Excluded(&read.end));
            read.start < read.end
                && (self.latest.range::<Bytes, _>(bounds).any(|(_, revision)| *revision > read_version)
                    || self.cleared_after(read_version).any(|range| range.start < read.end && read.start < range.end))
        };
        if intent.read_keys.iter().any(key_changed) || intent.read_ranges.iter().any(range_changed) {
            return Err(CommitError::Conflict);
        }
        Ok(())
    }

    fn cleared_after(&self, read_version: Revision) -> impl Iterator<Item = &KeyRange> {
        self.ranges.iter().rev().take_while(move |(revision, _)| *revision > read_version).map(|(_, range)| range)
    }

    /// Remembers what a commit wrote. Revisions grow from call to call.
    pub(crate) fn record(&mut self, revision: Revision, at: Instant, written: WriteSet) {
        for key in &written.keys {
            // Looks first: most keys of a busy store are new, and an overwrite keeps the key that is there.
            match self.latest.get_mut(key) {
                Some(latest) => *latest = revision,
                None => {
                    self.latest.insert(key.clone(), revision);
                }
            }
        }
        self.ranges.extend(written.ranges.into_iter().map(|range| (revision, range)));
        self.keys += written.keys.len();
        self.commits.push_back(Recorded { revision, at, keys: written.keys });
        self.forget(at);
    }

    /// Forgets what is too old or too much.
    pub(crate) fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.commits.front() {
            let aged = now.saturating_duration_since(oldest.at) > HISTORY_AGE;
            if !aged && self.keys <= self.keys_max && self.ranges.len() <= self.ranges_max {
                return;
            }
            let Some(oldest) = self.commits.pop_front() else { return };
            self.floor = oldest.revision;
            self.keys -= oldest.keys.len();
            for key in &oldest.keys {
                if self.latest.get(key) == Some(&oldest.revision) {
                    self.latest.remove(key);
                }
            }
            while self.ranges.front().is_some_and(|(revision, _)| *revision <= oldest.revision) {
                self.ranges.pop_front();
            }
        }
    }

    /// Whether there is nothing to forget.
    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn range(text: &'static str) -> KeyRange {
        let (start, end) = text.split_once("..").unwrap();
        KeyRange { start: key(start), end: key(end) }
    }

    /// Commits of `writes` get revisions 11, 12, ...; keys are words, ranges are `a..b`. The intent read at `version`.
    fn check(
        history: History,
        writes: &[&'static str],
        version: u64,
        reads: &'static str,
        expect: Result<(), CommitError>,
    ) {
        let (mut history, now) = (history, Instant::now());
        for (index, write) in writes.iter().enumerate() {
            let mut written = WriteSet::default();
            for word in write.split_whitespace() {
                if word.contains("..") { written.ranges.push(range(word)) } else { written.keys.push(key(word)) }
            }
            history.record(Revision(11 + index as u64), now, written);
        }
        let mut intent = Intent::new(Revision(version), now);
        for word in reads.split_whitespace() {
            if word.contains("..") { intent.read_range(range(word)) } else { intent.read_key(key(word)) }
        }
        assert_eq!(history.validate(&intent), expect, "{writes:?} then {reads:?} at {version}");
    }

    #[test]
    fn what_was_read_must_not_have_changed() {
        let history = || History::new(Revision(10));
        let (ok, conflict) = (Ok(()), Err(CommitError::Conflict));
        check(history(), &["a", "b"], 12, "a b", ok.clone());
        check(history(), &["a", "b"], 11, "a", ok.clone());
        check(history(), &["a", "b"], 11, "b", conflict.clone());
        check(history(), &["a", "a"], 11, "a", conflict.clone());
        check(history(), &["b"], 10, "a..b", ok.clone());
        check(history(), &["b"], 10, "a..c", conflict.clone());
        check(history(), &["b"], 10, "b..c", conflict.clone());
        check(history(), &["b"], 10, "c..a", ok.clone());
        check(history(), &["b..d"], 10, "b", conflict.clone());
        check(history(), &["b..d"], 10, "d", ok.clone());
        check(history(), &["b..d"], 11, "b", ok.clone());
        check(history(), &["b..d"], 10, "a..b", ok.clone());
        check(history(), &["b..d"], 10, "c..z", conflict.clone());
        check(history(), &["b..d"], 10, "d..z", ok);
        check(history(), &["x"], 9, "a", Err(CommitError::TooOld));
    }

    #[test]
    fn what_was_forgotten_is_too_old_and_never_a_guess() {
        let small = || History::bounded(Revision(10), 2, 1);
        check(small(), &["a", "b"], 10, "c", Ok(()));
        check(small(), &["a", "b", "c"], 10, "z", Err(CommitError::TooOld));
        check(small(), &["a", "b", "c"], 11, "z", Ok(()));
        check(small(), &["a", "a", "c"], 11, "a", Err(CommitError::Conflict));
        check(small(), &["a..b", "c..d"], 10, "z", Err(CommitError::TooOld));
        check(small(), &["a..b", "c..d"], 11, "c", Err(CommitError::Conflict));
    }

    #[test]
    fn age_is_forgotten() {
        let (mut history, start) = (History::new(Revision(10)), Instant::now());
        history.record(Revision(11), start, WriteSet { keys: vec![key("a")], ranges: vec![range("b..c")] });
        history.forget(start + Duration::from_secs(5));
        assert!(!history.is_empty());
        history.forget(start + Duration::from_secs(7));
        assert!(history.is_empty() && history.latest.is_empty() && history.ranges.is_empty());
        assert_eq!(history.validate(&Intent::new(Revision(10), start)), Err(CommitError::TooOld));
        assert_eq!(history.validate(&Intent::new(Revision(11), start)), Ok(()));
    }
}
