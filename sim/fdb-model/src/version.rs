//! Versions, positions of commits, versionstamps, and what revisions are made of.
//!
//! A revision is `(commit version - origin) << 10 | batch order`; a read version is the last revision that its commit
//! version could have: `(version - origin) << 10 | 1023`. So a read version is at least every commit that it shows, and
//! below every later one.

use triune_env::storage::{Revision, STAMP_BYTES, Stamp};

/// Versions that pass in a second.
pub const VERSIONS_PER_SECOND: u64 = 1_000_000;
/// What was older than this many versions is forgotten: reads of it, and commits that read it, are too old.
pub const LIFE_VERSIONS: u64 = 5 * VERSIONS_PER_SECOND;
/// Versions that a recovery skips, so that none is used twice.
pub const RECOVERY_VERSIONS: u64 = 100_000_000;
/// Transactions of a batch: the batch order stays below.
pub const BATCH_TRANSACTIONS_MAX: usize = 200;
/// Bits of a revision that hold the batch order.
const ORDER_BITS: u32 = 10;
/// The order in a revision that is a read version: above every batch order.
const READ_ORDER: u16 = (1 << ORDER_BITS) - 1;

/// A point in the time of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Version {
    /// The oldest version that is still known when this is the newest.
    pub fn oldest_known(self) -> Version {
        Version(self.0.saturating_sub(LIFE_VERSIONS))
    }
}

/// The place of a commit in the order of all commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Shared by the commits of a batch.
    pub version: Version,
    /// The place in the batch.
    pub order: u16,
}

impl Position {
    /// The versionstamp: version and order, big-endian.
    pub fn stamp(self) -> Stamp {
        let mut stamp = [0; STAMP_BYTES];
        stamp[..8].copy_from_slice(&self.version.0.to_be_bytes());
        stamp[8..].copy_from_slice(&self.order.to_be_bytes());
        stamp
    }

    /// The position of a versionstamp.
    pub fn of_stamp(stamp: &Stamp) -> Position {
        let (mut version, mut order) = ([0; 8], [0; 2]);
        version.copy_from_slice(&stamp[..8]);
        order.copy_from_slice(&stamp[8..]);
        Position { version: Version(u64::from_be_bytes(version)), order: u16::from_be_bytes(order) }
    }
}

/// Turns versions into revisions and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revisions {
    /// The version that counts as 0.
    pub origin: Version,
}

impl Revisions {
    /// The revision of a commit.
    pub fn of_commit(self, position: Position) -> Revision {
        let version = position.version.0.saturating_sub(self.origin.0);
        Revision(version << ORDER_BITS | u64::from(position.order.min(READ_ORDER)))
    }

    /// The revision of a read version.
    pub fn of_read(self, version: Version) -> Revision {
        self.of_commit(Position { version, order: READ_ORDER })
    }

    /// The position that a revision stands for.
    pub fn position(self, revision: Revision) -> Position {
        let version = Version((revision.0 >> ORDER_BITS).saturating_add(self.origin.0));
        // Ten bits always fit.
        Position { version, order: (revision.0 & u64::from(READ_ORDER)) as u16 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stamps_revisions_and_positions_agree(origin in 0..1_u64 << 52, a in 0..1_u64 << 52, b in 0..1_u64 << 52, orders in (0..200_u16, 0..200_u16)) {
            let revisions = Revisions { origin: Version(origin) };
            let position = |version: u64, order| Position { version: Version(origin + version), order };
            let (first, second) = (position(a, orders.0), position(b, orders.1));
            prop_assert_eq!(Position::of_stamp(&first.stamp()), first);
            prop_assert_eq!(revisions.position(revisions.of_commit(first)), first);
            prop_assert_eq!(first.stamp().cmp(&second.stamp()), first.cmp(&second));
            prop_assert_eq!(revisions.of_commit(first).cmp(&revisions.of_commit(second)), first.cmp(&second));
            prop_assert!(revisions.of_commit(first).0 < 1 << 63);
            // A read version shows what is at or below it, and nothing later.
            let read = revisions.of_read(first.version);
            prop_assert_eq!(read >= revisions.of_commit(second), second.version <= first.version);
            prop_assert_eq!(revisions.position(read).stamp() >= second.stamp(), second.version <= first.version);
        }
    }
}
