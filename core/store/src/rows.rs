//! The values of rows: compact binary headers and stored bytes. Checked before writing and after reading: a row that
//! cannot be what was written is `Corrupt`, never a panic.
//!
//! The first byte of every value is the row's layout; numbers are big-endian; layouts are never reused.

use std::sync::Arc;

use bytes::Bytes;
use triune_env::storage::{STAMP_BYTES, Stamp, StorageError};

use crate::{keys::BodyId, types::BODY_PREFIX};

/// Layout of the whole key space, in the layout row.
pub const LAYOUT: &[u8] = b"triune 1";
/// Where the store writes the revision into an object row.
pub const OBJECT_STAMP_OFFSET: usize = 1;
/// Where the store writes the revision into an expiry row.
pub const EXPIRY_STAMP_OFFSET: usize = 1;

const OBJECT: u8 = 0x01;
const LOG: u8 = 0x02;
const COMPACTED: u8 = 0x03;
const EXPIRY: u8 = 0x04;
const CLAIM: u8 = 0x05;

const TERMINATING: u8 = 1;
const CHUNKED: u8 = 2;
const DELETE: u8 = 4;
const BEFORE_CHUNKED: u8 = 8;
const BEFORE_SAME: u8 = 16;

const NO_STAMP: Stamp = [0; STAMP_BYTES];

/// Where the bytes of a body are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyPlace {
    /// In the row.
    Inline(Bytes),
    /// In body rows.
    Chunks {
        /// Which.
        id: BodyId,
        /// Length of the whole.
        length: u32,
    },
}

impl BodyPlace {
    /// Length of the whole body.
    pub fn length(&self) -> usize {
        match self {
            BodyPlace::Inline(bytes) => bytes.len(),
            BodyPlace::Chunks { length, .. } => *length as usize,
        }
    }

    /// The body rows, if it is in some.
    pub fn chunks(&self) -> Option<BodyId> {
        match self {
            BodyPlace::Inline(_) => None,
            BodyPlace::Chunks { id, .. } => Some(*id),
        }
    }
}

/// A live object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRow {
    /// The revision; written by the store at commit.
    pub stamp: Stamp,
    /// Revision of the create; None if this is the create.
    pub created: Option<Stamp>,
    /// Drawn once for each write.
    pub write_id: u128,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    /// When it is removed by itself, milliseconds since 1970; 0 is never.
    pub expires_ms: u64,
    /// The state.
    pub body: BodyPlace,
}

impl ObjectRow {
    /// Stamp of the create.
    pub fn created(&self) -> Stamp {
        self.created.unwrap_or(self.stamp)
    }

    /// The value, with room for the stamp at [`OBJECT_STAMP_OFFSET`].
    pub fn encode(&self) -> Vec<u8> {
        let mut row = Writer::new(OBJECT, 64 + self.uid.len() + inline_len(&self.body));
        row.fixed(&self.stamp);
        row.fixed(&self.created.unwrap_or(NO_STAMP));
        row.fixed(&self.write_id.to_be_bytes());
        row.fixed(&[flag(self.terminating, TERMINATING) | flag(self.body.chunks().is_some(), CHUNKED)]);
        row.fixed(&self.expires_ms.to_be_bytes());
        row.text(&self.uid);
        row.body(&self.body);
        row.0
    }

    /// From a value.
    pub fn decode(value: &Bytes) -> Result<ObjectRow, StorageError> {
        Reader::open(value, OBJECT)
            .and_then(|mut row| {
                let (stamp, created) = (row.fixed()?, optional_stamp(row.fixed()?));
                let write_id = u128::from_be_bytes(row.fixed()?);
                let [flags] = row.fixed()?;
                let expires_ms = u64::from_be_bytes(row.fixed()?);
                let uid = row.text()?;
                let body = row.body(flags & CHUNKED != 0)?;
                let terminating = flags & TERMINATING != 0;
                row.is_empty().then_some(ObjectRow { stamp, created, write_id, uid, terminating, expires_ms, body })
            })
            .ok_or_else(|| corrupt("object", value))
    }
}

/// One change of one object. The revision is in the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Whether the object was removed.
    pub delete: bool,
    /// Drawn once for each write.
    pub write_id: u128,
    /// Stamp of the state before; None on create.
    pub previous: Option<Stamp>,
    /// Revision of the create; None if this is the create.
    pub created: Option<Stamp>,
    /// The object's namespace.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
    /// The new state; of a delete, the last state as shown to watchers.
    pub body: BodyPlace,
    /// The state before, so that a reader of the log knows what selectors matched; None on create.
    pub before: Option<BodyPlace>,
}

impl LogRow {
    /// The value.
    pub fn encode(&self) -> Bytes {
        assert_eq!(self.previous.is_some(), self.before.is_some(), "a log row has both or neither");
        let same = self.before.as_ref() == Some(&self.body);
        let before = self.before.as_ref().filter(|_| !same);
        let mut row = Writer::new(LOG, 96 + self.name.len() + inline_len(&self.body) + before.map_or(0, inline_len));
        let flags = flag(self.delete, DELETE)
            | flag(self.body.chunks().is_some(), CHUNKED)
            | flag(before.is_some_and(|before| before.chunks().is_some()), BEFORE_CHUNKED)
            | flag(same, BEFORE_SAME);
        row.fixed(&[flags]);
        row.fixed(&self.write_id.to_be_bytes());
        row.fixed(&self.previous.unwrap_or(NO_STAMP));
        row.fixed(&self.created.unwrap_or(NO_STAMP));
        row.text(&self.namespace);
        row.text(&self.name);
        if let Some(before) = before {
            if let BodyPlace::Inline(bytes) = before {
                row.fixed(&(bytes.len() as u32).to_be_bytes());
            }
            row.body(before);
        }
        row.body(&self.body);
        row.0.into()
    }

    /// From a value.
    pub fn decode(value: &Bytes) -> Result<LogRow, StorageError> {
        Reader::open(value, LOG)
            .and_then(|mut row| {
                let [flags] = row.fixed()?;
                let write_id = u128::from_be_bytes(row.fixed()?);
                let (previous, created) = (optional_stamp(row.fixed()?), optional_stamp(row.fixed()?));
                let (namespace, name) = (row.text()?, row.text()?);
                let distinct = previous.is_some() && flags & BEFORE_SAME == 0;
                let before = match (distinct, flags & BEFORE_CHUNKED != 0) {
                    (false, _) => None,
                    (true, true) => Some(row.body(true)?),
                    (true, false) => {
                        let length = u32::from_be_bytes(row.fixed()?) as usize;
                        Some(BodyPlace::Inline(row.take(length)?))
                    }
                };
                let body = row.body(flags & CHUNKED != 0)?;
                let before = if flags & BEFORE_SAME == 0 { before } else { Some(body.clone()) };
                let delete = flags & DELETE != 0;
                row.is_empty().then_some(LogRow { delete, write_id, previous, created, namespace, name, body, before })
            })
            .ok_or_else(|| corrupt("log", value))
    }
}

/// The compaction floor of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactedRow {
    /// Log rows at and below this may be gone.
    pub floor: Stamp,
    /// Wall time of the compaction, milliseconds since 1970.
    pub at_ms: u64,
}

impl CompactedRow {
    /// The value.
    pub fn encode(&self) -> Bytes {
        let mut row = Writer::new(COMPACTED, 20);
        row.fixed(&self.floor);
        row.fixed(&self.at_ms.to_be_bytes());
        row.0.into()
    }

    /// From a value.
    pub fn decode(value: &Bytes) -> Result<CompactedRow, StorageError> {
        Reader::open(value, COMPACTED)
            .and_then(|mut row| {
                let compacted = CompactedRow { floor: row.fixed()?, at_ms: u64::from_be_bytes(row.fixed()?) };
                row.is_empty().then_some(compacted)
            })
            .ok_or_else(|| corrupt("compacted", value))
    }
}

/// The value of an expiry row, with room for the stamp at [`EXPIRY_STAMP_OFFSET`].
pub fn encode_expiry() -> Vec<u8> {
    let mut row = Writer::new(EXPIRY, 11);
    row.fixed(&NO_STAMP);
    row.0
}

/// The revision that expires.
pub fn decode_expiry(value: &Bytes) -> Result<Stamp, StorageError> {
    Reader::open(value, EXPIRY)
        .and_then(|mut row| row.fixed().filter(|_| row.is_empty()))
        .ok_or_else(|| corrupt("expiry", value))
}

/// The value of a claim row.
pub fn encode_claim(holder: &str) -> Bytes {
    let mut row = Writer::new(CLAIM, 3 + holder.len());
    row.text(holder);
    row.0.into()
}

/// Who holds a claim.
pub fn decode_claim(value: &Bytes) -> Result<Arc<str>, StorageError> {
    Reader::open(value, CLAIM)
        .and_then(|mut row| row.text().filter(|_| row.is_empty()))
        .ok_or_else(|| corrupt("claim", value))
}

fn corrupt(kind: &str, value: &Bytes) -> StorageError {
    let start = &value[..value.len().min(32)];
    StorageError::Corrupt(format!(
        "{kind} row of {} bytes starts with {:?}",
        value.len(),
        start.escape_ascii().to_string()
    ))
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

fn optional_stamp(stamp: Stamp) -> Option<Stamp> {
    (stamp != NO_STAMP).then_some(stamp)
}

fn inline_len(body: &BodyPlace) -> usize {
    match body {
        BodyPlace::Inline(bytes) => bytes.len() + 4,
        BodyPlace::Chunks { .. } => 24,
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(layout: u8, capacity: usize) -> Writer {
        let mut bytes = Vec::with_capacity(capacity + 1);
        bytes.push(layout);
        Writer(bytes)
    }
    fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    /// Texts are at most as long as keys, which the store bounds far below 64 KiB before any row is made.
    fn text(&mut self, text: &str) {
        debug_assert!(text.len() <= usize::from(u16::MAX));
        self.fixed(&(text.len() as u16).to_be_bytes());
        self.fixed(text.as_bytes());
    }
    fn body(&mut self, body: &BodyPlace) {
        match body {
            BodyPlace::Inline(bytes) => self.fixed(bytes),
            BodyPlace::Chunks { id, length } => {
                self.fixed(&id.write_id.to_be_bytes());
                self.fixed(&[id.part]);
                self.fixed(&length.to_be_bytes());
            }
        }
    }
}

struct Reader<'a> {
    value: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn open(value: &Bytes, layout: u8) -> Option<Reader<'_>> {
        (value.first() == Some(&layout)).then_some(Reader { value, at: 1 })
    }
    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.value.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*bytes)
    }
    fn take(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.value.len())?;
        let bytes = self.value.slice(self.at..end);
        self.at = end;
        Some(bytes)
    }
    fn text(&mut self) -> Option<Arc<str>> {
        let length = u16::from_be_bytes(self.fixed()?);
        let bytes = self.take(usize::from(length))?;
        Some(std::str::from_utf8(&bytes).ok()?.into())
    }
    /// The body is the rest of the row. Stored bodies start as they must, or the row is not ours.
    fn body(&mut self, chunked: bool) -> Option<BodyPlace> {
        if chunked {
            let id = BodyId { write_id: u128::from_be_bytes(self.fixed()?), part: self.fixed::<1>()?[0] };
            return Some(BodyPlace::Chunks { id, length: u32::from_be_bytes(self.fixed()?) });
        }
        let bytes = self.take(self.value.len() - self.at)?;
        is_body(&bytes).then_some(BodyPlace::Inline(bytes))
    }
    fn is_empty(&self) -> bool {
        self.at == self.value.len()
    }
}

/// Whether bytes are shaped as a stored body (see [`crate::types::StoredObject::body`]).
pub fn is_body(bytes: &[u8]) -> bool {
    bytes.starts_with(BODY_PREFIX) && bytes.ends_with(b"}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bodies() -> impl Strategy<Value = BodyPlace> {
        let chunks = (any::<u128>(), any::<u8>(), any::<u32>());
        prop_oneof![
            "[a-z]{0,40}".prop_map(|text| BodyPlace::Inline(format!("\"metadata\":{{{text}}}").into())),
            chunks.prop_map(|(write_id, part, length)| BodyPlace::Chunks { id: BodyId { write_id, part }, length }),
        ]
    }

    fn stamps() -> impl Strategy<Value = Stamp> {
        any::<Stamp>().prop_filter("zero is no stamp", |stamp| *stamp != NO_STAMP)
    }

    fn texts() -> impl Strategy<Value = Arc<str>> {
        "[a-z-]{0,12}".prop_map(Arc::from)
    }

    fn object_rows() -> impl Strategy<Value = ObjectRow> {
        let header = (any::<Stamp>(), proptest::option::of(stamps()), any::<u128>(), any::<bool>(), any::<u64>());
        (header, texts(), bodies()).prop_map(|((stamp, created, write_id, terminating, expires_ms), uid, body)| {
            ObjectRow { stamp, created, write_id, uid, terminating, expires_ms, body }
        })
    }

    fn log_rows() -> impl Strategy<Value = LogRow> {
        let header = (any::<bool>(), any::<u128>(), proptest::option::of(stamps()), proptest::option::of(stamps()));
        (header, texts(), texts(), bodies(), bodies(), any::<bool>()).prop_map(
            |((delete, write_id, previous, created), namespace, name, body, before, same)| {
                let before = previous.map(|_| if same { body.clone() } else { before });
                LogRow { delete, write_id, previous, created, namespace, name, body, before }
            },
        )
    }

    proptest! {
        #[test]
        fn object_rows_round_trip(row in object_rows()) {
            prop_assert_eq!(ObjectRow::decode(&row.encode().into()).unwrap(), row);
        }

        #[test]
        fn log_rows_round_trip(row in log_rows()) {
            prop_assert_eq!(LogRow::decode(&row.encode()).unwrap(), row);
        }

        #[test]
        fn compacted_rows_round_trip(floor in any::<Stamp>(), at_ms in any::<u64>()) {
            let row = CompactedRow { floor, at_ms };
            prop_assert_eq!(CompactedRow::decode(&row.encode()).unwrap(), row);
        }

        #[test]
        fn claims_round_trip(holder in texts()) {
            prop_assert_eq!(decode_claim(&encode_claim(&holder)).unwrap(), holder);
        }

        #[test]
        fn cut_rows_never_read_as_whole(row in log_rows(), object in object_rows(), cut in 0.0..1.0) {
            let cut = |value: Bytes| value.slice(..(value.len() as f64 * cut) as usize);
            prop_assert_ne!(LogRow::decode(&cut(row.encode())), Ok(row));
            prop_assert_ne!(ObjectRow::decode(&cut(object.encode().into())), Ok(object));
        }

        #[test]
        fn garbage_never_panics(layout in 0_u8..8, rest in proptest::collection::vec(any::<u8>(), 0..100)) {
            let value: Bytes = [&[layout][..], &rest].concat().into();
            let _ = (ObjectRow::decode(&value), LogRow::decode(&value), CompactedRow::decode(&value));
            let _ = (decode_expiry(&value), decode_claim(&value));
        }
    }

    #[test]
    fn the_store_writes_the_expiring_revision() {
        let mut value = encode_expiry();
        value[EXPIRY_STAMP_OFFSET..EXPIRY_STAMP_OFFSET + STAMP_BYTES].copy_from_slice(b"0123456789");
        assert_eq!(decode_expiry(&value.into()).unwrap(), *b"0123456789");
    }

    #[test]
    fn the_store_writes_the_revision_of_an_object() {
        let body = BodyPlace::Inline(Bytes::from_static(b"\"metadata\":{}}"));
        let row = ObjectRow {
            stamp: [0; STAMP_BYTES],
            created: None,
            write_id: 7,
            uid: "u".into(),
            terminating: false,
            expires_ms: 0,
            body,
        };
        let mut value = row.encode();
        value[OBJECT_STAMP_OFFSET..OBJECT_STAMP_OFFSET + STAMP_BYTES].copy_from_slice(b"0123456789");
        let read = ObjectRow::decode(&value.into()).unwrap();
        assert_eq!((read.stamp, read.created()), (*b"0123456789", *b"0123456789"));
    }
}
