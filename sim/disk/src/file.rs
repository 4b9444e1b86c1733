//! The bytes of one file: those that readers see, those that a power cut leaves, and the changes in between. Pure.
//!
//! - Only what was changed before an fsync began is durable when it ends.
//! - At a power cut, each change since is kept, lost or torn by itself, in any order. A sector is whole or not there.
//! - A failed fsync decides the fate of what it was to sync at once; readers go on seeing all of it.

use triune_env::Entropy;

use crate::{
    dice,
    incident::{Fate, Incident},
};

/// What a disk writes whole or not at all, in bytes. Sectors begin at multiples of it.
pub(crate) const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Numbered>,
    /// The number of the next change.
    next: u64,
}

#[derive(Debug)]
struct Numbered {
    number: u64,
    change: Change,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Cut { length: usize },
}

impl File {
    pub(crate) fn seen(&self) -> &[u8] {
        &self.seen
    }

    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        write(&mut self.seen, offset, bytes, 0);
        self.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    /// Makes the file no longer than `length`.
    pub(crate) fn cut(&mut self, length: usize) {
        self.seen.truncate(length);
        self.push(Change::Cut { length });
    }

    fn push(&mut self, change: Change) {
        self.pending.push(Numbered { number: self.next, change });
        self.next += 1;
    }

    /// The changes up to now, for [`File::synced`].
    pub(crate) fn mark(&self) -> u64 {
        self.next
    }

    /// An fsync that began at `mark` has ended.
    pub(crate) fn synced(&mut self, mark: u64) {
        for change in self.take_before(mark) {
            match change {
                Change::Write { offset, bytes } => write(&mut self.durable, offset, &bytes, 0),
                Change::Cut { length } => self.durable.truncate(length),
            }
        }
    }

    /// An fsync that began at `mark` has failed.
    pub(crate) fn sync_failed(&mut self, mark: u64, entropy: &dyn Entropy, name: &str) -> Vec<Incident> {
        let changes = self.take_before(mark);
        let order = dice::order(entropy, changes.len());
        order.into_iter().map(|index| self.tear(&changes[index], entropy, name)).collect()
    }

    /// The power is cut.
    pub(crate) fn crash(&mut self, entropy: &dyn Entropy, name: &str) -> Vec<Incident> {
        let incidents = self.sync_failed(self.next, entropy, name);
        self.seen.clone_from(&self.durable);
        incidents
    }

    /// Flips a bit that is stored.
    pub(crate) fn rot(&mut self, offset: usize, bit: u32) {
        for bytes in [&mut self.seen, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    fn take_before(&mut self, mark: u64) -> Vec<Change> {
        let later = self.pending.iter().position(|change| change.number >= mark).unwrap_or(self.pending.len());
        self.pending.drain(..later).map(|numbered| numbered.change).collect()
    }

    /// Draws what is left of a change.
    fn tear(&mut self, change: &Change, entropy: &dyn Entropy, name: &str) -> Incident {
        match change {
            Change::Cut { length } => {
                let kept = dice::below(entropy, 2) == 0;
                if kept {
                    self.durable.truncate(*length);
                }
                Incident::Cut { file: name.to_owned(), length: *length, kept }
            }
            Change::Write { offset, bytes } => {
                // Where a file was made longer but nothing was written, there is nothing or something old.
                let stale = if dice::below(entropy, 2) == 0 { 0 } else { entropy.u64() as u8 };
                let fate = self.tear_write(*offset, bytes, stale, entropy);
                Incident::Write { file: name.to_owned(), offset: *offset, bytes: bytes.len(), fate }
            }
        }
    }

    fn tear_write(&mut self, offset: usize, bytes: &[u8], stale: u8, entropy: &dyn Entropy) -> Fate {
        let pieces = sectors(offset, bytes);
        match dice::below(entropy, 4) {
            0 => Fate::Lost,
            1 => {
                write(&mut self.durable, offset, bytes, stale);
                Fate::Kept
            }
            2 => {
                let kept = dice::below(entropy, pieces.len() as u64) as usize;
                pieces[..kept].iter().for_each(|(at, piece)| write(&mut self.durable, *at, piece, stale));
                Fate::CutAt { offset: pieces.get(kept).map_or(offset, |(at, _)| *at) }
            }
            _ => {
                let mut kept = 0;
                for (at, piece) in &pieces {
                    if dice::below(entropy, 2) == 0 {
                        write(&mut self.durable, *at, piece, stale);
                        kept += 1;
                    }
                }
                Fate::Scattered { kept, sectors: pieces.len() }
            }
        }
    }
}

/// Writes, and fills what lies between the end of the file and the offset.
fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8], fill: u8) {
    if file.len() < offset {
        file.resize(offset, fill);
    }
    let over = (file.len() - offset).min(bytes.len());
    file[offset..offset + over].copy_from_slice(&bytes[..over]);
    file.extend_from_slice(&bytes[over..]);
}

/// A write as its sectors.
fn sectors(offset: usize, bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < bytes.len() {
        let at = offset + from;
        let to = bytes.len().min(from + SECTOR_BYTES - at % SECTOR_BYTES);
        pieces.push((at, &bytes[from..to]));
        from = to;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tests::Seeded;

    #[test]
    fn what_was_synced_survives_and_later_changes_may_not() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..400 {
            let mut file = File::default();
            file.write(0, &[1; 700]);
            let mark = file.mark();
            // Written while the fsync goes on: not covered by it.
            file.write(700, &[2; 1_500]);
            file.synced(mark);
            assert_eq!(file.seen().len(), 2_200);
            let incidents = file.crash(&Seeded::new(seed), "file");
            assert_eq!(incidents.len(), 1);
            assert!(file.seen()[..700].iter().all(|byte| *byte == 1), "durable bytes were touched");
            let rest = &file.seen()[700..];
            let sector = |index: usize| rest.get(index).map(|byte| *byte == 2);
            outcomes.insert([0, 324, 836, 1_348].map(sector));
        }
        let all = [Some(true); 4];
        assert!(outcomes.contains(&all) && outcomes.contains(&[None; 4]), "{outcomes:?}");
        assert!(outcomes.contains(&[Some(true), Some(true), None, None]), "never cut: {outcomes:?}");
        assert!(outcomes.contains(&[Some(false), Some(true), None, None]), "never scattered: {outcomes:?}");
    }

    #[test]
    fn a_sector_is_whole_or_not_there() {
        for (offset, length, expect) in [
            (0, 0, &[][..]),
            (0, 512, &[(0, 512)]),
            (500, 20, &[(500, 12), (512, 8)]),
            (512, 1_025, &[(512, 512), (1_024, 512), (1_536, 1)]),
        ] {
            let bytes = vec![0; length];
            let found: Vec<_> = sectors(offset, &bytes).into_iter().map(|(at, piece)| (at, piece.len())).collect();
            assert_eq!(found, expect);
        }
    }

    #[test]
    fn a_later_fsync_does_not_make_up_for_a_failed_one() {
        let lost = (0..50).any(|seed| {
            let entropy = Seeded::new(seed);
            let mut file = File::default();
            file.write(0, &[1; 100]);
            file.sync_failed(file.mark(), &entropy, "file");
            assert_eq!(file.seen(), [1; 100], "it can still be read");
            file.synced(file.mark());
            file.crash(&entropy, "file");
            file.seen().is_empty()
        });
        assert!(lost);
    }

    #[test]
    fn writing_again_after_a_failed_fsync_makes_up_for_it() {
        for seed in 0..50 {
            let entropy = Seeded::new(seed);
            let mut file = File::default();
            file.write(0, &[1; 100]);
            file.sync_failed(file.mark(), &entropy, "file");
            file.write(0, &[1; 100]);
            file.cut(60);
            file.synced(file.mark());
            file.crash(&entropy, "file");
            assert_eq!(file.seen(), [1; 60]);
        }
    }

    #[test]
    fn unsynced_writes_may_come_in_another_order() {
        let outcomes: BTreeSet<Vec<u8>> = (0..200)
            .map(|seed| {
                let mut file = File::default();
                file.write(0, &[1]);
                file.write(0, &[2]);
                file.crash(&Seeded::new(seed), "file");
                file.seen().to_vec()
            })
            .collect();
        assert_eq!(outcomes, BTreeSet::from([vec![], vec![1], vec![2]]));
    }
}
