//! What a selection shows over time: its changes, and its state after each.
//!
//! A state is compared by a hash that is kept up change by change, so that a list or an informer's store is compared with
//! the state at a revision without making that state. States are made, from checkpoints, for pages and for messages.

use triune_history::Object;

use crate::index::{Index, VersionId};

/// Changes between two checkpoints.
const CHECKPOINT_CHANGES: usize = 128;

/// What a list, watch or informer selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection<'a> {
    /// Which resource.
    pub resource: &'a str,
    /// Empty for all.
    pub namespace: &'a str,
    /// Equalities.
    pub labels: &'a [(String, String)],
}

impl Selection<'_> {
    /// Whether it shows an object of its resource.
    pub fn shows(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || self.namespace == object.namespace)
            && self.labels.iter().all(|(key, value)| object.labels.get(key) == Some(value))
    }
}

/// How a change looks to a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It came into the selection.
    Added,
    /// It changed within.
    Modified,
    /// It left the selection or the store.
    Deleted,
}

/// A change that a selection shows.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// How it looks.
    pub kind: ChangeKind,
    /// The version that made it.
    pub version: VersionId,
    /// Its revision.
    pub revision: u64,
}

/// See the module. A position is a number of changes: the state at it is that after so many.
#[derive(Debug)]
pub struct View {
    /// In order of revisions.
    pub changes: Vec<Change>,
    hashes: Vec<u64>,
    /// State at every [`CHECKPOINT_CHANGES`]th position, by rank.
    checkpoints: Vec<Vec<(u32, VersionId)>>,
}

impl View {
    pub(crate) fn new(index: &Index<'_>, selection: &Selection<'_>) -> View {
        let mut view = View { changes: Vec::new(), hashes: vec![0], checkpoints: vec![Vec::new()] };
        let mut state: Vec<(u32, VersionId)> = Vec::new();
        let versions = index.resources.get(selection.resource).map_or(&[][..], |resource| &resource.versions);
        for (revision, id) in versions {
            let version = index.version(*id);
            let before = index.object_before(*id).filter(|object| selection.shows(object));
            let after = version.object.filter(|object| selection.shows(object));
            let kind = match (before, after) {
                (None, None) => continue,
                (None, Some(_)) => ChangeKind::Added,
                (Some(_), Some(_)) => ChangeKind::Modified,
                (Some(_), None) => ChangeKind::Deleted,
            };
            let mut hash = view.hashes.last().copied().unwrap_or(0);
            if let (Some(_), Some(previous)) = (before, version.previous) {
                hash = hash.wrapping_sub(mix(previous));
            }
            if after.is_some() {
                hash = hash.wrapping_add(mix(*id));
            }
            view.changes.push(Change { kind, version: *id, revision: *revision });
            view.hashes.push(hash);
            apply(index, &mut state, *id, kind);
            if view.changes.len().is_multiple_of(CHECKPOINT_CHANGES) {
                view.checkpoints.push(state.clone());
            }
        }
        view
    }

    /// The position after everything up to a revision.
    pub fn position(&self, revision: u64) -> usize {
        self.changes.partition_point(|change| change.revision <= revision)
    }

    /// Whether these versions, in any order and each once, are the state at a position.
    pub fn is_state(&self, position: usize, versions: &[Option<VersionId>]) -> bool {
        let hash = versions.iter().flatten().fold(0_u64, |hash, version| hash.wrapping_add(mix(*version)));
        self.hashes[position] == hash
    }

    /// The state at a position, in list order.
    pub fn state(&self, index: &Index<'_>, position: usize) -> Vec<(u32, VersionId)> {
        let checkpoint = position / CHECKPOINT_CHANGES;
        let mut state = self.checkpoints[checkpoint].clone();
        for change in &self.changes[checkpoint * CHECKPOINT_CHANGES..position] {
            apply(index, &mut state, change.version, change.kind);
        }
        state
    }

    /// The change at a revision.
    pub fn change_at(&self, revision: u64) -> Option<(usize, Change)> {
        let place = self.changes.partition_point(|change| change.revision < revision);
        self.changes.get(place).filter(|change| change.revision == revision).map(|change| (place, *change))
    }
}

fn apply(index: &Index<'_>, state: &mut Vec<(u32, VersionId)>, version: VersionId, kind: ChangeKind) {
    let rank = index.key(index.version(version).key).rank;
    let place = state.binary_search_by_key(&rank, |(rank, _)| *rank);
    match (place, kind) {
        (Ok(place), ChangeKind::Deleted) => {
            state.remove(place);
        }
        (Ok(place), _) => state[place].1 = version,
        (Err(_), ChangeKind::Deleted) => {}
        (Err(place), _) => state.insert(place, (rank, version)),
    }
}

/// SplitMix64 of the number.
fn mix(version: VersionId) -> u64 {
    let mut mixed = (u64::from(version.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
