//! What is in a log, and what of it may be cut off.
//!
//! - A record is acknowledged only after its fsync, and the next is written only then. So at most the last record can be
//!   torn, and a broken record with a sound one behind it is damage: nothing is cut, the log is refused.
//! - The records of the snapshot were synced before the log got its name: a broken one is damage, too.
//! - What one read says is not believed when it would cost data: damage is what several reads agree on.
//!
//! Not told apart: a last record that was torn, and one that was sound and acknowledged and lost a bit since.

use memchr::memmem;
use triune_env::storage::Revision;

use crate::{
    disk::{DiskError, FileHandle},
    log::Flaw,
    record::{self, LOG_HEADER_BYTES, LogHeader, PlacedRow, RECORD_HEADER_BYTES, RecordHeader},
    rows::Rows,
};

/// Reads of one place, failed ones and differing ones together, before the disk is given up for now.
const READS_MAX: usize = 24;
/// So many reads in a row must agree that bytes are broken.
const READS_AGREEING: usize = 3;

/// What a log holds.
pub(crate) struct Recovered {
    pub(crate) header: LogHeader,
    pub(crate) rows: Rows,
    /// Of the last record.
    pub(crate) revision: Revision,
    pub(crate) records: u64,
    /// End of the last sound record.
    pub(crate) end: usize,
    /// Offset and bytes of the last record, unless it is of the snapshot.
    pub(crate) last: Option<(usize, Vec<u8>)>,
}

/// Why a log cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// It is not as written.
    Corrupt(String),
    /// It cannot be read now.
    Disk(DiskError),
}

/// Reads a log. Changes nothing.
pub(crate) fn read(log: &FileHandle, flaw: Flaw) -> Result<Recovered, Damage> {
    let length = log.length().map_err(Damage::Disk)?;
    let corrupt = |what: &str| Damage::Corrupt(what.to_owned());
    if length < LOG_HEADER_BYTES {
        return Err(corrupt("the log has no header"));
    }
    let header =
        checked(log, 0, LOG_HEADER_BYTES, LogHeader::decode)?.ok_or_else(|| corrupt("its header is broken"))?;
    let mut found = Recovered {
        header,
        rows: Rows::new(flaw),
        revision: Revision(0),
        records: 0,
        end: LOG_HEADER_BYTES,
        last: None,
    };
    while let Some(next) = next_record(log, &found, length, flaw)? {
        if next.header.number != found.records || next.header.revision < found.revision {
            return Err(corrupt(&format!("record {} is in the place of {}", next.header.number, found.records)));
        }
        let body = found.end + RECORD_HEADER_BYTES;
        found.rows.apply(log, body, next.rows);
        found.last = (found.records >= u64::from(header.snapshot_records)).then_some((found.end, next.bytes));
        (found.revision, found.end) = (next.header.revision, body + next.header.body_bytes);
        found.records += 1;
    }
    if found.records < u64::from(header.snapshot_records) {
        return Err(corrupt(&format!(
            "record {} of {} of the snapshot is broken",
            found.records, header.snapshot_records
        )));
    }
    if flaw != Flaw::NoLookBehind && sound_record_behind(log, &found, length)? {
        return Err(corrupt(&format!("record {} is broken, one behind it is sound", found.records)));
    }
    Ok(found)
}

struct Found {
    header: RecordHeader,
    rows: Vec<PlacedRow>,
    bytes: Vec<u8>,
}

/// The record that begins where the last one ended, if there is a sound one.
fn next_record(log: &FileHandle, found: &Recovered, length: usize, flaw: Flaw) -> Result<Option<Found>, Damage> {
    let at = found.end;
    if length - at < RECORD_HEADER_BYTES {
        return Ok(None);
    }
    let of_this_log = |header: RecordHeader| (header.salt == found.header.salt).then_some(header);
    let decode = |bytes: &[u8]| RecordHeader::decode(bytes).and_then(of_this_log);
    let Some(header) = checked(log, at, RECORD_HEADER_BYTES, decode)? else { return Ok(None) };
    if length - at - RECORD_HEADER_BYTES < header.body_bytes {
        return Ok(None);
    }
    let decode = |bytes: &[u8]| {
        // The header again, too: these bytes are written again, so that a bit that was read wrong would stay wrong.
        let (again, body) = bytes.split_at(RECORD_HEADER_BYTES);
        let sound = (flaw == Flaw::RewritesUnchecked || RecordHeader::decode(again) == Some(header))
            && (flaw == Flaw::NoChecksums || crc32fast::hash(body) == header.body_checksum);
        let rows = if sound { record::decode_body(body) } else { None };
        rows.map(|rows| Found { header, rows, bytes: bytes.to_vec() })
    };
    checked(log, at, RECORD_HEADER_BYTES + header.body_bytes, decode)
}

/// Whether there is a sound record behind the broken one at the end of what was found.
fn sound_record_behind(log: &FileHandle, found: &Recovered, length: usize) -> Result<bool, Damage> {
    if length == found.end {
        return Ok(false);
    }
    let prefix = found.header.record_prefix();
    let look = |rest: &[u8]| {
        let sound = |at: &usize| {
            let (header, body) = rest[*at..].split_at_checked(RECORD_HEADER_BYTES)?;
            let header = RecordHeader::decode(header)?;
            Some(crc32fast::hash(body.get(..header.body_bytes)?) == header.body_checksum)
        };
        memmem::find_iter(rest, &prefix).skip_while(|at| *at == 0).any(|at| sound(&at) == Some(true)).then_some(())
    };
    Ok(checked(log, found.end, length - found.end, look)?.is_some())
}

/// What `decode` makes of bytes of the log; None when several reads agree that it makes nothing of them.
fn checked<T>(
    log: &FileHandle,
    offset: usize,
    length: usize,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, Damage> {
    let mut broken: Option<Vec<u8>> = None;
    let mut agreeing = 0;
    let mut failure = DiskError::Device(format!("reads at {offset} of the log differ"));
    for _ in 0..READS_MAX {
        match log.read_at(offset, length) {
            Ok(bytes) => {
                if let Some(decoded) = decode(&bytes) {
                    return Ok(Some(decoded));
                }
                agreeing = if broken.as_ref() == Some(&bytes) { agreeing + 1 } else { 1 };
                broken = Some(bytes);
                if agreeing == READS_AGREEING {
                    return Ok(None);
                }
            }
            Err(error) => failure = error,
        }
    }
    Err(Damage::Disk(failure))
}
