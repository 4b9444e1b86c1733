//! Rows with the states that they had: reads at any version of the last five seconds.
//!
//! A row's newest state is kept beside its key, so that a row written once costs no list. Older states and removed rows
//! go when no version that can still be read shows them; each overwrite is queued once for that.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use bytes::Bytes;
use triune_env::storage::{KeyRange, Row};

use crate::version::Version;

/// The states of one row, as far as they can be read.
#[derive(Debug)]
struct States {
    since: Version,
    /// None: removed.
    value: Option<Bytes>,
    /// Ascending.
    older: VecDeque<(Version, Option<Bytes>)>,
}

impl States {
    fn at(&self, version: Version) -> Option<&Bytes> {
        if self.since <= version {
            return self.value.as_ref();
        }
        self.older.iter().rev().find(|(since, _)| *since <= version)?.1.as_ref()
    }

    fn write(&mut self, version: Version, value: Option<Bytes>) {
        let before = std::mem::replace(&mut self.value, value);
        if self.since != version {
            self.older.push_back((self.since, before));
            self.since = version;
        }
    }

    /// Drops the states that no version from `oldest` on shows. True: nothing is left.
    fn prune(&mut self, oldest: Version) -> bool {
        if self.since <= oldest {
            self.older.clear();
            return self.value.is_none();
        }
        if let Some(shown) = self.older.iter().rposition(|(since, _)| *since <= oldest) {
            self.older.drain(..shown);
        }
        false
    }
}

/// All rows.
#[derive(Debug, Default)]
pub struct Rows {
    rows: BTreeMap<Bytes, States>,
    /// What can be pruned once the version is the oldest that is known.
    overwritten: VecDeque<(Version, Bytes)>,
}

/// Part of a range, as far as a reply goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In key order, or in reverse.
    pub rows: Vec<Row>,
    /// The reply was full before the range and the limit were through.
    pub more: bool,
}

impl Rows {
    /// The value of a key at a version.
    pub fn get(&self, key: &[u8], at: Version) -> Option<&Bytes> {
        self.rows.get(key)?.at(at)
    }

    /// The newest value of a key.
    pub fn newest(&self, key: &[u8]) -> Option<&Bytes> {
        self.rows.get(key)?.value.as_ref()
    }

    /// Up to `limit` rows of a range; a page ends once it has `bytes_max` bytes.
    pub fn range(&self, range: &KeyRange, at: Version, limit: usize, reverse: bool, bytes_max: usize) -> Page {
        if range.start >= range.end || limit == 0 {
            return Page::default();
        }
        let found = self.within(range).filter_map(|(key, states)| Some((key, states.at(at)?)));
        if reverse { page(found.rev(), limit, bytes_max) } else { page(found, limit, bytes_max) }
    }

    fn within(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = (&Bytes, &States)> {
        self.rows.range::<[u8], _>((Bound::Included(&range.start[..]), Bound::Excluded(&range.end[..])))
    }

    /// Keys of a range that have a value now.
    pub fn keys(&self, range: &KeyRange) -> Vec<Bytes> {
        if range.start >= range.end {
            return Vec::new();
        }
        self.within(range).filter(|(_, states)| states.value.is_some()).map(|(key, _)| key.clone()).collect()
    }

    /// Sets or removes a row. Versions do not go back.
    pub fn write(&mut self, key: Bytes, value: Option<Bytes>, version: Version) {
        if let Some(states) = self.rows.get_mut(&key) {
            states.write(version, value);
            self.overwritten.push_back((version, key));
        } else if value.is_some() {
            self.rows.insert(key, States { since: version, value, older: VecDeque::new() });
        }
    }

    /// Forgets what no version from `oldest` on shows.
    pub fn prune(&mut self, oldest: Version) {
        while self.overwritten.front().is_some_and(|(version, _)| *version <= oldest) {
            let Some((_, key)) = self.overwritten.pop_front() else { return };
            if self.rows.get_mut(&key).is_some_and(|states| states.prune(oldest)) {
                self.rows.remove(&key);
            }
        }
    }

    /// How many states are kept: what pruning bounds.
    pub fn states(&self) -> usize {
        self.rows.values().map(|states| 1 + states.older.len()).sum()
    }
}

fn page<'a>(rows: impl Iterator<Item = (&'a Bytes, &'a Bytes)>, limit: usize, bytes_max: usize) -> Page {
    let (mut page, mut bytes) = (Page::default(), 0);
    for (key, value) in rows {
        if page.rows.len() == limit {
            break;
        }
        if bytes >= bytes_max {
            page.more = true;
            break;
        }
        bytes += key.len() + value.len();
        page.rows.push(Row { key: key.clone(), value: value.clone() });
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn written() -> Rows {
        let mut rows = Rows::default();
        for (key, value, version) in
            [("a", Some("1"), 10), ("b", Some("1"), 10), ("a", Some("2"), 20), ("b", None, 20), ("a", Some("3"), 20)]
        {
            rows.write(bytes(key), value.map(bytes), Version(version));
        }
        rows
    }

    fn show(page: &Page) -> String {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let rows = page.rows.iter().map(|row| format!("{}={}", text(&row.key), text(&row.value)));
        rows.chain(page.more.then(|| "more".to_owned())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn reads_are_of_their_version() {
        let rows = written();
        let range = KeyRange { start: bytes("a"), end: bytes("c") };
        for (at, limit, reverse, bytes_max, expect) in [
            (9, 9, false, 99, ""),
            (10, 9, false, 99, "a=1 b=1"),
            (19, 9, true, 99, "b=1 a=1"),
            (19, 1, true, 99, "b=1"),
            (19, 9, false, 2, "a=1 more"),
            (19, 9, false, 3, "a=1 b=1"),
            (20, 9, false, 99, "a=3"),
            (20, 0, false, 99, ""),
        ] {
            assert_eq!(show(&rows.range(&range, Version(at), limit, reverse, bytes_max)), expect, "at {at}");
        }
        assert_eq!(rows.keys(&range), [bytes("a")]);
        assert_eq!(rows.newest(b"b"), None);
    }

    #[test]
    fn what_can_be_read_is_kept_and_the_rest_goes() {
        let mut rows = written();
        rows.prune(Version(19));
        assert_eq!((rows.states(), rows.get(b"b", Version(19))), (4, Some(&bytes("1"))));
        rows.prune(Version(20));
        assert_eq!((rows.states(), rows.get(b"a", Version(20))), (1, Some(&bytes("3"))));
    }
}
