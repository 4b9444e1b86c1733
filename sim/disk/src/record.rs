//! The log's bytes: a header, then records, each one batch. Pure.
//!
//! ```text
//! header: magic 8 | salt 8 | records of the snapshot 4 | checksum of these 4
//! record: magic 4 | salt 8 | number 8 | revision 8 | length of the body 4 | checksum of the body 4 | checksum of these 4
//!         body: for each row: length of the key 4 | length of the value 4, or all ones for "removed" | key | value
//! ```
//!
//! The salt differs from log to log: what an earlier file left on the disk is never taken for a record. A record that
//! is there by half never passes both checksums.

use std::collections::BTreeMap;

use bytes::Bytes;
use triune_env::storage::Revision;
use triune_storage::Batch;

/// Length of the header of a log.
pub(crate) const LOG_HEADER_BYTES: usize = 24;
/// Length of the header of a record.
pub(crate) const RECORD_HEADER_BYTES: usize = 40;
/// The longest body: far over the largest group of commits.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 30;

const LOG_MAGIC: &[u8; 8] = b"TRIUNE01";
const RECORD_MAGIC: &[u8; 4] = b"\xf1BAT";
const REMOVED: u32 = u32::MAX;

/// The first bytes of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogHeader {
    pub(crate) salt: u64,
    /// So many records were there before the log got its name.
    pub(crate) snapshot_records: u32,
}

impl LogHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = LOG_MAGIC.to_vec();
        bytes.extend(self.salt.to_le_bytes());
        bytes.extend(self.snapshot_records.to_le_bytes());
        seal(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<LogHeader> {
        let mut fields = Fields(unseal(bytes)?);
        (fields.take(8)? == LOG_MAGIC).then_some(())?;
        Some(LogHeader { salt: fields.u64()?, snapshot_records: fields.u32()? })
    }

    /// What every record of this log begins with.
    pub(crate) fn record_prefix(&self) -> Vec<u8> {
        [&RECORD_MAGIC[..], &self.salt.to_le_bytes()].concat()
    }
}

/// The first bytes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) salt: u64,
    /// Records of a log are counted from 0.
    pub(crate) number: u64,
    pub(crate) revision: Revision,
    pub(crate) body_bytes: usize,
    pub(crate) body_checksum: u32,
}

impl RecordHeader {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = RECORD_MAGIC.to_vec();
        bytes.extend(self.salt.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.revision.0.to_le_bytes());
        bytes.extend((self.body_bytes as u32).to_le_bytes());
        bytes.extend(self.body_checksum.to_le_bytes());
        seal(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<RecordHeader> {
        let mut fields = Fields(unseal(bytes)?);
        (fields.take(4)? == RECORD_MAGIC).then_some(())?;
        let (salt, number, revision) = (fields.u64()?, fields.u64()?, Revision(fields.u64()?));
        let (body_bytes, body_checksum) = (fields.u32()? as usize, fields.u32()?);
        Some(RecordHeader { salt, number, revision, body_bytes, body_checksum })
    }
}

/// Where a row's value is in the body of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlacedRow {
    pub(crate) key: Bytes,
    /// Offset in the body, length and checksum of the value; None removes.
    pub(crate) value: Option<(usize, usize, u32)>,
}

/// A batch as a record, and where its values are in the body.
pub(crate) fn encode(salt: u64, number: u64, batch: &Batch) -> (Vec<u8>, Vec<PlacedRow>) {
    let mut body = Vec::new();
    let mut placed = Vec::with_capacity(batch.rows.len());
    for (key, value) in &batch.rows {
        body.extend((key.len() as u32).to_le_bytes());
        body.extend(value.as_ref().map_or(REMOVED, |value| value.len() as u32).to_le_bytes());
        body.extend(&key[..]);
        let value = value.as_ref().map(|value| {
            body.extend(&value[..]);
            (body.len() - value.len(), value.len(), crc32fast::hash(value))
        });
        placed.push(PlacedRow { key: key.clone(), value });
    }
    // Groups of commits are bounded far below it.
    assert!(body.len() <= BODY_BYTES_MAX, "a batch of {} bytes", body.len());
    let header = RecordHeader {
        salt,
        number,
        revision: batch.revision,
        body_bytes: body.len(),
        body_checksum: crc32fast::hash(&body),
    };
    let mut record = header.encode();
    record.extend(body);
    (record, placed)
}

/// The rows of a sound record with their values.
pub(crate) fn decode_rows(record: &[u8]) -> BTreeMap<Bytes, Option<Bytes>> {
    let body = record.get(RECORD_HEADER_BYTES..).unwrap_or_default();
    let value = |(offset, length, _): (usize, usize, u32)| Bytes::copy_from_slice(&body[offset..offset + length]);
    let rows = decode_body(body).unwrap_or_default();
    rows.into_iter().map(|row| (row.key, row.value.map(value))).collect()
}

/// The rows of a body; None if it is not one.
pub(crate) fn decode_body(body: &[u8]) -> Option<Vec<PlacedRow>> {
    let mut fields = Fields(body);
    let mut rows = Vec::new();
    while !fields.0.is_empty() {
        let (key_bytes, value_bytes) = (fields.u32()? as usize, fields.u32()?);
        let key = Bytes::copy_from_slice(fields.take(key_bytes)?);
        let value = if value_bytes == REMOVED {
            None
        } else {
            let offset = body.len() - fields.0.len();
            let value = fields.take(value_bytes as usize)?;
            Some((offset, value.len(), crc32fast::hash(value)))
        };
        rows.push(PlacedRow { key, value });
    }
    Some(rows)
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (bytes, checksum) = bytes.split_last_chunk::<4>()?;
    (crc32fast::hash(bytes) == u32::from_le_bytes(*checksum)).then_some(bytes)
}

/// Reads from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }
    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, collection::vec, prelude::*};

    use super::*;

    fn batches() -> impl Strategy<Value = Batch> {
        let rows = btree_map(vec(any::<u8>(), 0..20), proptest::option::of(vec(any::<u8>(), 0..50)), 0..8);
        (rows, any::<u64>()).prop_map(|(rows, revision)| Batch {
            rows: rows.into_iter().map(|(key, value)| (Bytes::from(key), value.map(Bytes::from))).collect(),
            revision: Revision(revision),
        })
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_written(batch in batches(), salt: u64, number: u64) {
            let (record, placed) = encode(salt, number, &batch);
            let header = RecordHeader::decode(&record[..RECORD_HEADER_BYTES]).unwrap();
            let body = &record[RECORD_HEADER_BYTES..];
            prop_assert_eq!((header.salt, header.number, header.revision), (salt, number, batch.revision));
            prop_assert_eq!((header.body_bytes, header.body_checksum), (body.len(), crc32fast::hash(body)));
            let rows = decode_body(body).unwrap();
            prop_assert_eq!(&rows, &placed);
            let values = rows.into_iter().map(|row| {
                let value = row.value.map(|(offset, length, _)| Bytes::copy_from_slice(&body[offset..offset + length]));
                (row.key, value)
            });
            prop_assert_eq!(values.collect::<std::collections::BTreeMap<_, _>>(), batch.rows);
            let start = LogHeader { salt, snapshot_records: 0 }.record_prefix();
            prop_assert!(record.starts_with(&start));
        }

        #[test]
        fn a_changed_header_is_no_header(batch in batches(), at in 0..RECORD_HEADER_BYTES, flip in 1..=255_u8) {
            let (mut record, _) = encode(1, 2, &batch);
            record[at] ^= flip;
            prop_assert_eq!(RecordHeader::decode(&record[..RECORD_HEADER_BYTES]), None);
            let mut header = LogHeader { salt: 3, snapshot_records: 4 }.encode();
            prop_assert_eq!(header.len(), LOG_HEADER_BYTES);
            header[at % LOG_HEADER_BYTES] ^= flip;
            prop_assert_eq!(LogHeader::decode(&header), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
            decode_body(&bytes);
            RecordHeader::decode(&bytes);
            LogHeader::decode(&bytes);
        }
    }
}
