//! Which transactions conflict: the resolver keeps what was written in the last five seconds.
//!
//! Writes of single keys are kept as the version of the last one; cleared ranges are few and kept as they came. A whole
//! cleared range counts as written, also where it held no row.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use bytes::Bytes;
use triune_env::storage::KeyRange;

use crate::{transaction::Span, version::Version};

/// The writes that a transaction can still conflict with.
#[derive(Debug, Default)]
pub struct Resolver {
    keys: BTreeMap<Bytes, Version>,
    /// When to forget a key, unless it was written again.
    queue: VecDeque<(Version, Bytes)>,
    ranges: VecDeque<(Version, KeyRange)>,
    /// The last write of all: most reads are newer.
    last: Version,
}

impl Resolver {
    /// Whether something in the span was written after a version.
    pub fn was_written(&self, span: &Span, after: Version) -> bool {
        if self.last <= after {
            return false;
        }
        let in_ranges = self.ranges.iter().rev().take_while(|(version, _)| *version > after);
        match span {
            Span::Key(key) => {
                self.keys.get(key).is_some_and(|version| *version > after)
                    || in_ranges.map(|(_, range)| range).any(|range| range.start <= key && key < &range.end)
            }
            Span::Range(read) if read.start < read.end => {
                let bounds = (Bound::Included(&read.start[..]), Bound::Excluded(&read.end[..]));
                self.keys.range::<[u8], _>(bounds).any(|(_, version)| *version > after)
                    || in_ranges.map(|(_, range)| range).any(|range| range.start < read.end && read.start < range.end)
            }
            Span::Range(_) => false,
        }
    }

    /// Remembers a write. Versions do not go back.
    pub fn write(&mut self, span: Span, version: Version) {
        self.last = self.last.max(version);
        match span {
            Span::Key(key) => {
                self.queue.push_back((version, key.clone()));
                self.keys.insert(key, version);
            }
            Span::Range(range) if range.start < range.end => self.ranges.push_back((version, range)),
            Span::Range(_) => {}
        }
    }

    /// Forgets what was written at or before `oldest`: who reads before that is too old anyway.
    pub fn prune(&mut self, oldest: Version) {
        while self.queue.front().is_some_and(|(version, _)| *version <= oldest) {
            let Some((version, key)) = self.queue.pop_front() else { return };
            if self.keys.get(&key) == Some(&version) {
                self.keys.remove(&key);
            }
        }
        while self.ranges.front().is_some_and(|(version, _)| *version <= oldest) {
            self.ranges.pop_front();
        }
    }

    /// How many writes are remembered.
    pub fn len(&self) -> usize {
        self.queue.len() + self.ranges.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &'static str) -> Span {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        match text.split_once("..") {
            Some((start, end)) => Span::Range(KeyRange { start: bytes(start), end: bytes(end) }),
            None => Span::Key(bytes(text)),
        }
    }

    fn resolver() -> Resolver {
        let mut resolver = Resolver::default();
        for (written, version) in [("b", 10), ("d..f", 20), ("b", 30), ("z..a", 30)] {
            resolver.write(span(written), Version(version));
        }
        resolver
    }

    #[test]
    fn only_what_was_written_later_conflicts() {
        for (read, after, expect) in [
            ("b", 29, true),
            ("b", 30, false),
            ("a", 0, false),
            ("a..b", 0, false),
            ("a..c", 29, true),
            ("c..d", 0, false),
            ("c..e", 19, true),
            ("c..e", 20, false),
            ("d", 19, true),
            ("f", 0, false),
            ("f..g", 0, false),
            ("e..e", 0, false),
            ("y", 0, false),
        ] {
            assert_eq!(resolver().was_written(&span(read), Version(after)), expect, "{read} after {after}");
        }
    }

    #[test]
    fn old_writes_are_forgotten() {
        let mut resolver = resolver();
        resolver.prune(Version(20));
        assert_eq!(resolver.len(), 1);
        assert!(resolver.was_written(&span("b"), Version(20)));
        resolver.prune(Version(30));
        assert!(resolver.is_empty());
    }
}
