//! Which rows there are, and where in a log their values lie. A snapshot is a clone.
//!
//! A value is read from the disk each time, against its checksum: a broken disk gives an error, never another value. A
//! snapshot holds the log that it reads, also after compaction has replaced it.

use std::ops::Bound;

use bytes::Bytes;
use imbl::OrdMap;
use triune_env::storage::{KeyRange, Row, StorageError};
use triune_storage::View;

use crate::{
    disk::{DiskError, FileHandle},
    log::Flaw,
    record::PlacedRow,
};

/// A value whose checksum is wrong is read so often before it counts as damaged: a flipped bit may be the reader's.
const READS_MAX: usize = 3;
/// What a row costs in a log besides its key and value.
const ROW_OVERHEAD_BYTES: usize = 8;

/// All rows.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    places: OrdMap<Bytes, Place>,
    /// Bytes of all rows in a log without others.
    pub(crate) bytes: usize,
    /// Planted fault: values are not compared with their checksums.
    trusting: bool,
}

#[derive(Clone)]
struct Place {
    log: FileHandle,
    offset: usize,
    length: usize,
    checksum: u32,
}

impl Rows {
    /// No rows.
    pub(crate) fn new(flaw: Flaw) -> Rows {
        Rows { trusting: flaw == Flaw::NoChecksums, ..Rows::default() }
    }

    /// No rows, read as these are.
    pub(crate) fn emptied(&self) -> Rows {
        Rows { trusting: self.trusting, ..Rows::default() }
    }

    /// Applies a record of `log` whose body begins at `body`.
    pub(crate) fn apply(&mut self, log: &FileHandle, body: usize, rows: Vec<PlacedRow>) {
        for PlacedRow { key, value } in rows {
            let key_bytes = key.len() + ROW_OVERHEAD_BYTES;
            let before = match value {
                Some((offset, length, checksum)) => {
                    self.bytes += key_bytes + length;
                    self.places.insert(key, Place { log: log.clone(), offset: body + offset, length, checksum })
                }
                None => self.places.remove(&key),
            };
            self.bytes -= before.map_or(0, |before| key_bytes + before.length);
        }
    }

    fn places(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = (&Bytes, &Place)> {
        self.places.range::<_, Bytes>((Bound::Included(&range.start), Bound::Excluded(&range.end)))
    }

    /// Every row.
    pub(crate) fn read_all(&self) -> impl Iterator<Item = Result<Row, StorageError>> {
        self.places.iter().map(|row| self.read(row))
    }

    fn read(&self, (key, place): (&Bytes, &Place)) -> Result<Row, StorageError> {
        for _ in 0..READS_MAX {
            let value = place.log.read_at(place.offset, place.length).map_err(storage_error)?;
            if self.trusting || crc32fast::hash(&value) == place.checksum {
                return Ok(Row { key: key.clone(), value: value.into() });
            }
        }
        Err(StorageError::Corrupt(format!("the value of {key:?} is not as written")))
    }
}

/// A disk that fails now may not fail later.
pub(crate) fn storage_error(error: DiskError) -> StorageError {
    StorageError::Unavailable(error.to_string())
}

impl View for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.places.get_key_value(key).map(|row| self.read(row).map(|row| row.value)).transpose()
    }

    fn range(&self, range: &KeyRange, limit: usize, reverse: bool) -> Result<Vec<Row>, StorageError> {
        let places = self.places(range);
        let read = |row| self.read(row);
        if reverse { places.rev().take(limit).map(read).collect() } else { places.take(limit).map(read).collect() }
    }

    fn keys(&self, range: &KeyRange) -> Result<Vec<Bytes>, StorageError> {
        Ok(self.places(range).map(|(key, _)| key.clone()).collect())
    }
}
