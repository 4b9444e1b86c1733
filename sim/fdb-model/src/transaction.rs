//! What a transaction asks for at commit, and the limits of it (S6): one byte more is an error, never a cut.

use bytes::Bytes;
use triune_env::storage::{KEY_BYTES_MAX, KeyRange, STAMP_BYTES, Stamp, TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX};

use crate::version::Version;

/// First key that belongs to the database itself.
pub const SYSTEM_KEYS_START: &[u8] = &[0xff];
/// Conflict keys under this prefix are never rows. The client gives each transaction one of its own, so that another
/// transaction can make sure that this one is no longer under way.
pub const SELF_CONFLICT_PREFIX: &[u8] = b"\xff/SC/";

/// A key or a range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// One key.
    Key(Bytes),
    /// A range of keys.
    Range(KeyRange),
}

impl Span {
    /// Whether the key is part of it.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Span::Key(own) => own == key,
            Span::Range(range) => range.start.as_ref() <= key && key < range.end.as_ref(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Span::Key(key) => key.len(),
            Span::Range(range) => range.start.len() + range.end.len(),
        }
    }

    fn is_internal(&self) -> bool {
        matches!(self, Span::Key(key) if key.starts_with(SELF_CONFLICT_PREFIX))
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Span::Key(_) if self.is_internal() => Ok(()),
            Span::Key(key) => check_key(key),
            Span::Range(range) => check_range(range),
        }
    }
}

/// One change, in the order of the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// Sets a row.
    Set {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Sets a row with the stamp written over its key.
    SetStampedKey {
        /// The key with room for the stamp.
        key: Bytes,
        /// Where the stamp goes.
        offset: usize,
        /// The value.
        value: Bytes,
    },
    /// Sets a row with the stamp written over its value.
    SetStampedValue {
        /// The key.
        key: Bytes,
        /// The value with room for the stamp.
        value: Bytes,
        /// Where the stamp goes.
        offset: usize,
    },
    /// Removes a row.
    Clear {
        /// The key.
        key: Bytes,
    },
    /// Removes all rows of a range.
    ClearRange(KeyRange),
}

impl Mutation {
    fn bytes(&self) -> usize {
        match self {
            Mutation::Set { key, value }
            | Mutation::SetStampedKey { key, value, .. }
            | Mutation::SetStampedValue { key, value, .. } => key.len() + value.len(),
            Mutation::Clear { key } => key.len(),
            Mutation::ClearRange(range) => range.start.len() + range.end.len(),
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Mutation::Set { key, value } => check_key(key).and_then(|()| check_value(value)),
            Mutation::SetStampedKey { key, offset, value } => {
                check_key(key).and_then(|()| check_value(value)).and_then(|()| check_stamp(key, *offset))
            }
            Mutation::SetStampedValue { key, value, offset } => {
                check_key(key).and_then(|()| check_value(value)).and_then(|()| check_stamp(value, *offset))
            }
            Mutation::Clear { key } => check_key(key),
            Mutation::ClearRange(range) => check_range(range),
        }
    }
}

/// What a client hands in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// Everything was read at this version.
    pub read_version: Version,
    /// What must not have been written since.
    pub reads: Vec<Span>,
    /// What counts as written beside the mutations.
    pub writes: Vec<Span>,
    /// The changes.
    pub mutations: Vec<Mutation>,
}

impl Transaction {
    /// Nothing to write: there is nothing to hand in, since all reads were of one moment.
    pub fn is_read_only(&self) -> bool {
        self.mutations.is_empty() && self.writes.is_empty()
    }

    /// The sum of its keys, values and conflict keys.
    pub fn bytes(&self) -> usize {
        let spans = self.reads.iter().chain(&self.writes).filter(|span| !span.is_internal());
        spans.map(Span::bytes).sum::<usize>() + self.mutations.iter().map(Mutation::bytes).sum::<usize>()
    }

    /// The first limit that is exceeded.
    pub fn check_limits(&self) -> Result<(), String> {
        self.reads.iter().chain(&self.writes).try_for_each(Span::check)?;
        self.mutations.iter().try_for_each(Mutation::check)?;
        let bytes = self.bytes();
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(format!("transaction of {bytes} bytes is over the limit of {TRANSACTION_BYTES_MAX} bytes"));
        }
        Ok(())
    }
}

/// Refuses keys that no row can have.
pub fn check_key(key: &[u8]) -> Result<(), String> {
    check_key_length(key)?;
    if key.is_empty() {
        return Err("key is empty".to_owned());
    }
    if key >= SYSTEM_KEYS_START {
        return Err("key starts with 0xff, which is kept for the database itself".to_owned());
    }
    Ok(())
}

/// Ranges may start with the empty key and end right before the keys of the database. Their ends may be one byte longer
/// than a key: such is the first key past the longest one.
fn check_range(range: &KeyRange) -> Result<(), String> {
    check_key_length(&range.start)?;
    check_key_length(range.end.strip_suffix(&[0]).unwrap_or(&range.end))?;
    if range.end.as_ref() > SYSTEM_KEYS_START {
        return Err("range reaches into the keys of the database itself".to_owned());
    }
    Ok(())
}

fn check_key_length(key: &[u8]) -> Result<(), String> {
    if key.len() > KEY_BYTES_MAX {
        return Err(format!("key of {} bytes is over the limit of {KEY_BYTES_MAX} bytes", key.len()));
    }
    Ok(())
}

fn check_value(value: &[u8]) -> Result<(), String> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("value of {} bytes is over the limit of {VALUE_BYTES_MAX} bytes", value.len()));
    }
    Ok(())
}

fn check_stamp(bytes: &[u8], offset: usize) -> Result<(), String> {
    if offset.checked_add(STAMP_BYTES).is_some_and(|end| end <= bytes.len()) {
        return Ok(());
    }
    Err(format!("a stamp at offset {offset} does not fit in {} bytes", bytes.len()))
}

/// The bytes with the stamp written over those at `offset`; the limits have been checked.
pub(crate) fn stamped(bytes: &Bytes, offset: usize, stamp: &Stamp) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(room) = bytes.get_mut(offset..offset + STAMP_BYTES) {
        room.copy_from_slice(stamp);
    }
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Bytes {
        Bytes::from(vec![1; length])
    }

    fn check(reads: &[Span], writes: &[Span], mutations: &[Mutation], refusal: Option<&str>) {
        let (reads, writes, mutations) = (reads.to_vec(), writes.to_vec(), mutations.to_vec());
        let transaction = Transaction { read_version: Version(1), reads, writes, mutations };
        assert_eq!(transaction.check_limits().err().as_deref(), refusal);
    }

    fn set(key: usize, value: usize) -> Mutation {
        Mutation::Set { key: bytes(key), value: bytes(value) }
    }

    fn range(start: usize, end: Bytes) -> KeyRange {
        KeyRange { start: bytes(start), end }
    }

    #[test]
    fn limits_are_exact() {
        let key = Some("key of 10001 bytes is over the limit of 10000 bytes");
        check(&[], &[], &[set(10_000, 0)], None);
        check(&[], &[], &[set(10_001, 0)], key);
        check(&[], &[], &[Mutation::Clear { key: bytes(10_000) }], None);
        check(&[], &[], &[Mutation::Clear { key: bytes(10_001) }], key);
        check(&[Span::Key(bytes(10_000))], &[Span::Key(bytes(10_000))], &[], None);
        check(&[Span::Key(bytes(10_001))], &[], &[], key);
        check(&[], &[Span::Key(bytes(10_001))], &[], key);
        check(&[], &[], &[set(1, 100_000)], None);
        check(&[], &[], &[set(1, 100_001)], Some("value of 100001 bytes is over the limit of 100000 bytes"));
        let full = vec![set(10, 99_990); 100];
        check(&[], &[], &full, None);
        let over = Some("transaction of 10000001 bytes is over the limit of 10000000 bytes");
        check(&[Span::Key(bytes(1))], &[], &full, over);
        check(&[], &[Span::Key(bytes(1))], &full, over);
        check(&[], &[], &[full, vec![Mutation::Clear { key: bytes(1) }]].concat(), over);
    }

    #[test]
    fn stamps_need_room() {
        let value = |length, offset| Mutation::SetStampedValue { key: bytes(1), value: bytes(length), offset };
        check(&[], &[], &[value(10, 0)], None);
        check(&[], &[], &[value(10, 1)], Some("a stamp at offset 1 does not fit in 10 bytes"));
        check(
            &[],
            &[],
            &[value(12, usize::MAX)],
            Some(&format!("a stamp at offset {} does not fit in 12 bytes", usize::MAX)),
        );
        let key = |length, offset| Mutation::SetStampedKey { key: bytes(length), offset, value: bytes(0) };
        check(&[], &[], &[key(12, 2)], None);
        check(&[], &[], &[key(12, 3)], Some("a stamp at offset 3 does not fit in 12 bytes"));
        assert_eq!(stamped(&bytes(12), 1, &[7; 10]), [&[1][..], &[7; 10], &[1]].concat());
    }

    #[test]
    fn system_keys_are_refused_but_for_self_conflicts() {
        let system = Bytes::from_static(b"\xff\x01");
        let refusal = Some("key starts with 0xff, which is kept for the database itself");
        check(&[], &[], &[Mutation::Clear { key: system.clone() }], refusal);
        check(&[Span::Key(system.clone())], &[], &[], refusal);
        let own = Span::Key(Bytes::from_static(b"\xff/SC/0123456789abcdef"));
        check(std::slice::from_ref(&own), std::slice::from_ref(&own), &vec![set(10, 99_990); 100], None);
        check(&[], &[], &[Mutation::ClearRange(range(1, Bytes::from_static(SYSTEM_KEYS_START)))], None);
        let reaches = Some("range reaches into the keys of the database itself");
        check(&[], &[], &[Mutation::ClearRange(range(1, system))], reaches);
        check(&[], &[], &[set(0, 1)], Some("key is empty"));
    }
}
