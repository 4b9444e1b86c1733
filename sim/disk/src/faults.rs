//! What a disk may do to its users.

use std::{ops::RangeInclusive, time::Duration};

/// The faults of a disk. They can be changed while it runs; a power cut is not a fault but an act of the simulation
/// ([`Disk::crash`](crate::Disk::crash)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// Bytes that fit. A write past it fails, and leaves a part of itself behind.
    pub capacity_bytes: u64,
    /// How long an fsync takes.
    pub sync_time: RangeInclusive<Duration>,
    /// Fsyncs in a thousand that take [`Faults::slow_sync_time`] instead.
    pub slow_sync_per_mille: u32,
    /// How long a slow fsync takes.
    pub slow_sync_time: RangeInclusive<Duration>,
    /// Fsyncs in a thousand that fail. What was to be synced is then lost, torn or kept, and no later fsync makes up for
    /// it, although it can be read until the next power cut: so do operating systems.
    pub sync_failure_per_mille: u32,
    /// Reads in a thousand that fail.
    pub read_failure_per_mille: u32,
    /// Reads in a thousand that give one wrong bit. The stored bytes stay right.
    pub flip_per_mille: u32,
}

impl Default for Faults {
    /// None: endless, an fsync of 1 to 4 ms.
    fn default() -> Faults {
        Faults {
            capacity_bytes: u64::MAX,
            sync_time: Duration::from_millis(1)..=Duration::from_millis(4),
            slow_sync_per_mille: 0,
            slow_sync_time: Duration::from_millis(500)..=Duration::from_secs(4),
            sync_failure_per_mille: 0,
            read_failure_per_mille: 0,
            flip_per_mille: 0,
        }
    }
}
