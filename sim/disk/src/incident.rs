//! What a disk did to its users, as lines of a report.

use std::{fmt, time::Duration};

/// What became of an unsynced write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// All of it is there.
    Kept,
    /// Nothing of it is there.
    Lost,
    /// The sectors up to one are there.
    CutAt {
        /// Offset in the file of the first byte that is not there.
        offset: usize,
    },
    /// Some of its sectors are there.
    Scattered {
        /// How many of them are.
        kept: usize,
        /// How many there were.
        sectors: usize,
    },
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incident {
    /// An unsynced write met a power cut or a failed fsync.
    Write {
        /// The file.
        file: String,
        /// Where the write began.
        offset: usize,
        /// Its length.
        bytes: usize,
        /// What is left of it.
        fate: Fate,
    },
    /// An unsynced cut of a file met a power cut or a failed fsync.
    Cut {
        /// The file.
        file: String,
        /// Its length after the cut.
        length: usize,
        /// Whether it is cut.
        kept: bool,
    },
    /// An operation on names that no fsync of the folder followed met a power cut.
    Name {
        /// `create a`, `rename a b`, `remove a`.
        operation: String,
        /// Whether it was done.
        kept: bool,
    },
    /// An fsync took long.
    SlowSync {
        /// The file; `.` for the folder.
        file: String,
        /// How long.
        took: Duration,
    },
    /// An fsync failed.
    FailedSync {
        /// The file; `.` for the folder.
        file: String,
    },
    /// A write did not fit.
    Full {
        /// The file.
        file: String,
        /// Length of the write.
        bytes: usize,
        /// How much of it was written all the same.
        written: usize,
    },
    /// A read failed.
    FailedRead {
        /// The file.
        file: String,
        /// Where it began.
        offset: usize,
    },
    /// A bit was wrong: for one reader, or for all from now on.
    Flip {
        /// The file.
        file: String,
        /// The byte.
        offset: usize,
        /// The stored byte is wrong, not only what one read gave.
        stored: bool,
    },
}

impl Incident {
    /// What kind it is, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Incident::Write { fate: Fate::Kept, .. } => "unsynced write kept",
            Incident::Write { fate: Fate::Lost, .. } => "unsynced write lost",
            Incident::Write { .. } => "unsynced write torn",
            Incident::Cut { .. } => "unsynced cut",
            Incident::Name { .. } => "unsynced name",
            Incident::SlowSync { .. } => "slow fsync",
            Incident::FailedSync { .. } => "failed fsync",
            Incident::Full { .. } => "disk full",
            Incident::FailedRead { .. } => "failed read",
            Incident::Flip { .. } => "flipped bit",
        }
    }
}

impl fmt::Display for Incident {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incident::Write { file, offset, bytes, fate } => {
                write!(formatter, "unsynced write of {bytes} bytes at {offset} of {file}: ")?;
                match fate {
                    Fate::Kept => formatter.write_str("kept"),
                    Fate::Lost => formatter.write_str("lost"),
                    Fate::CutAt { offset } => write!(formatter, "cut at {offset}"),
                    Fate::Scattered { kept, sectors } => write!(formatter, "{kept} of {sectors} sectors kept"),
                }
            }
            Incident::Cut { file, length, kept } => {
                write!(formatter, "unsynced cut of {file} to {length} bytes: {}", kept_or_lost(*kept))
            }
            Incident::Name { operation, kept } => write!(formatter, "unsynced {operation}: {}", kept_or_lost(*kept)),
            Incident::SlowSync { file, took } => write!(formatter, "fsync of {file} took {} ms", took.as_millis()),
            Incident::FailedSync { file } => write!(formatter, "fsync of {file} failed"),
            Incident::Full { file, bytes, written } => {
                write!(formatter, "disk full: {written} of {bytes} bytes written to {file}")
            }
            Incident::FailedRead { file, offset } => write!(formatter, "read at {offset} of {file} failed"),
            Incident::Flip { file, offset, stored: true } => {
                write!(formatter, "a bit of byte {offset} of {file} is wrong from now on")
            }
            Incident::Flip { file, offset, stored: false } => {
                write!(formatter, "a bit of byte {offset} of {file} was read wrong")
            }
        }
    }
}

fn kept_or_lost(kept: bool) -> &'static str {
    if kept { "kept" } else { "lost" }
}
