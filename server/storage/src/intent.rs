//! What a transaction read and will write. Pure data with the bounds of S6: a bound exceeded is remembered and refuses
//! the commit, never cuts.

use std::time::Instant;

use bytes::Bytes;
use triune_env::storage::{
    KEY_BYTES_MAX, KeyRange, Revision, STAMP_BYTES, Stamp, TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX,
};

/// Keys from here on belong to the storage itself, as in FoundationDB.
pub(crate) const SYSTEM_KEYS_START: &[u8] = &[0xff];

/// The stamp of a revision: the revision, big-endian, and two zero bytes.
pub fn stamp_of(revision: Revision) -> Stamp {
    let mut stamp = [0; STAMP_BYTES];
    stamp[..8].copy_from_slice(&revision.0.to_be_bytes());
    stamp
}

/// The revision of a stamp made by [`stamp_of`].
pub fn revision_of(stamp: &Stamp) -> Revision {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&stamp[..8]);
    Revision(u64::from_be_bytes(bytes))
}

/// Refuses keys that no row can have.
pub(crate) fn check_key(key: &[u8]) -> Result<(), String> {
    check_key_length(key.len())?;
    if key.is_empty() {
        return Err("key is empty".to_owned());
    }
    if key >= SYSTEM_KEYS_START {
        return Err("key starts with 0xff, which is kept for the storage itself".to_owned());
    }
    Ok(())
}

fn check_key_length(length: usize) -> Result<(), String> {
    if length > KEY_BYTES_MAX {
        return Err(format!("key of {length} bytes is over the limit of {KEY_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// One change of rows, in the order of the calls.
#[derive(Debug)]
pub(crate) enum Mutation {
    Set {
        key: Bytes,
        value: Bytes,
    },
    /// The stamp goes over the bytes of `key` at `offset`.
    SetStampedKey {
        key: Vec<u8>,
        offset: usize,
        value: Bytes,
    },
    /// The stamp goes over the bytes of `value` at `offset`.
    SetStampedValue {
        key: Bytes,
        value: Vec<u8>,
        offset: usize,
    },
    Clear {
        key: Bytes,
    },
    ClearRange {
        range: KeyRange,
    },
}

/// What a transaction asks for at commit.
#[derive(Debug)]
pub(crate) struct Intent {
    /// What it read is as of here.
    pub(crate) read_version: Revision,
    /// When it was begun, and later when it was handed in.
    pub(crate) at: Instant,
    /// Keys that must not have changed.
    pub(crate) read_keys: Vec<Bytes>,
    /// Ranges that must not have changed.
    pub(crate) read_ranges: Vec<KeyRange>,
    /// What it changes.
    pub(crate) mutations: Vec<Mutation>,
    /// Keys that count as written.
    pub(crate) write_keys: Vec<Bytes>,
    /// Size as S6 counts it.
    pub(crate) bytes: usize,
    /// The first bound exceeded.
    refused: Option<String>,
}

impl Intent {
    pub(crate) fn new(read_version: Revision, at: Instant) -> Intent {
        Intent {
            read_version,
            at,
            read_keys: Vec::new(),
            read_ranges: Vec::new(),
            mutations: Vec::new(),
            write_keys: Vec::new(),
            bytes: 0,
            refused: None,
        }
    }

    /// Nothing to write: the commit needs no validation, since all reads are of one snapshot.
    pub(crate) fn is_read_only(&self) -> bool {
        self.mutations.is_empty() && self.write_keys.is_empty()
    }

    /// The first bound that was exceeded, if any.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.refused.clone().or_else(|| {
            (self.bytes > TRANSACTION_BYTES_MAX).then(|| {
                format!("transaction of {} bytes is over the limit of {TRANSACTION_BYTES_MAX} bytes", self.bytes)
            })
        })
    }

    pub(crate) fn read_key(&mut self, key: Bytes) {
        self.account(check_key(&key), key.len());
        self.read_keys.push(key);
    }

    pub(crate) fn read_range(&mut self, range: KeyRange) {
        self.account(Ok(()), range.start.len() + range.end.len());
        self.read_ranges.push(range);
    }

    pub(crate) fn write_key(&mut self, key: Bytes) {
        self.account(check_key(&key), key.len());
        self.write_keys.push(key);
    }

    pub(crate) fn set(&mut self, key: Bytes, value: Bytes) {
        self.account(check_key(&key).and_then(|()| check_value(value.len())), key.len() + value.len());
        self.mutations.push(Mutation::Set { key, value });
    }

    pub(crate) fn set_stamped_key(&mut self, prefix: &[u8], suffix: &[u8], value: Bytes) {
        let mut key = Vec::with_capacity(prefix.len() + STAMP_BYTES + suffix.len());
        key.extend_from_slice(prefix);
        key.extend_from_slice(&[0; STAMP_BYTES]);
        key.extend_from_slice(suffix);
        self.account(check_key(&key).and_then(|()| check_value(value.len())), key.len() + value.len());
        self.mutations.push(Mutation::SetStampedKey { key, offset: prefix.len(), value });
    }

    pub(crate) fn set_stamped_value(&mut self, key: Bytes, value: Vec<u8>, offset: usize) {
        let fits = offset.checked_add(STAMP_BYTES).is_some_and(|end| end <= value.len());
        let stamp = if fits {
            Ok(())
        } else {
            Err(format!("a stamp at offset {offset} does not fit in a value of {} bytes", value.len()))
        };
        self.account(check_key(&key).and_then(|()| check_value(value.len())).and(stamp), key.len() + value.len());
        self.mutations.push(Mutation::SetStampedValue { key, value, offset });
    }

    pub(crate) fn clear(&mut self, key: Bytes) {
        self.account(check_key(&key), key.len());
        self.mutations.push(Mutation::Clear { key });
    }

    pub(crate) fn clear_range(&mut self, range: KeyRange) {
        let range = clamp(range);
        self.account(Ok(()), range.start.len() + range.end.len());
        if range.start < range.end {
            self.mutations.push(Mutation::ClearRange { range });
        }
    }

    fn account(&mut self, checked: Result<(), String>, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if let Err(message) = checked {
            self.refused.get_or_insert(message);
        }
    }
}

/// Cuts off the part of a range that belongs to the storage itself.
pub(crate) fn clamp(range: KeyRange) -> KeyRange {
    if range.end.as_ref() > SYSTEM_KEYS_START {
        KeyRange { start: range.start, end: Bytes::from_static(SYSTEM_KEYS_START) }
    } else {
        range
    }
}

fn check_value(length: usize) -> Result<(), String> {
    if length > VALUE_BYTES_MAX {
        return Err(format!("value of {length} bytes is over the limit of {VALUE_BYTES_MAX} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(build: impl FnOnce(&mut Intent), refusal: Option<&str>) {
        let mut intent = Intent::new(Revision(1), Instant::now());
        build(&mut intent);
        assert_eq!(intent.refusal().as_deref(), refusal);
    }

    fn bytes(length: usize) -> Bytes {
        Bytes::from(vec![1; length])
    }

    #[test]
    fn bounds_refuse_one_byte_over() {
        let empty = Bytes::new;
        check(|intent| intent.set(bytes(10_000), empty()), None);
        check(|intent| intent.set(bytes(10_001), empty()), Some("key of 10001 bytes is over the limit of 10000 bytes"));
        check(|intent| intent.set(bytes(1), bytes(100_000)), None);
        check(
            |intent| intent.set(bytes(1), bytes(100_001)),
            Some("value of 100001 bytes is over the limit of 100000 bytes"),
        );
        check(|intent| intent.set_stamped_key(&[1; 9_990], b"", empty()), None);
        check(
            |intent| intent.set_stamped_key(&[1; 9_990], b"x", empty()),
            Some("key of 10001 bytes is over the limit of 10000 bytes"),
        );
        check(|intent| intent.set_stamped_value(bytes(1), vec![0; 10], 0), None);
        check(
            |intent| intent.set_stamped_value(bytes(1), vec![0; 10], 1),
            Some("a stamp at offset 1 does not fit in a value of 10 bytes"),
        );
        check(|intent| intent.set(empty(), empty()), Some("key is empty"));
        check(
            |intent| intent.clear(Bytes::from_static(&[0xff, 1])),
            Some("key starts with 0xff, which is kept for the storage itself"),
        );
        check(|intent| (0..100).for_each(|_| intent.set(bytes(10), bytes(99_990))), None);
        check(
            |intent| {
                (0..100).for_each(|_| intent.set(bytes(10), bytes(99_990)));
                intent.read_key(bytes(1));
            },
            Some("transaction of 10000001 bytes is over the limit of 10000000 bytes"),
        );
    }

    #[test]
    fn stamps_sort_as_revisions() {
        for (low, high) in [(0, 1), (255, 256), (65_535, 65_536), (1 << 40, (1 << 40) + 1)] {
            assert!(stamp_of(Revision(low)) < stamp_of(Revision(high)));
            assert_eq!(revision_of(&stamp_of(Revision(high))), Revision(high));
        }
    }
}
