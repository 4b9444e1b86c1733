//! The names of a folder: those that are seen, those that a power cut leaves, and the operations in between. Pure.
//!
//! Each operation is done whole or not at all. Those since the last fsync of the folder are kept or lost one by one: a
//! file system promises no order without an fsync.

use std::collections::BTreeMap;

use triune_env::Entropy;

use crate::{dice, incident::Incident};

/// Names of files of type `F`.
#[derive(Debug)]
pub(crate) struct Folder<F> {
    seen: BTreeMap<String, F>,
    durable: BTreeMap<String, F>,
    pending: Vec<(u64, Operation<F>)>,
    next: u64,
}

#[derive(Debug, Clone)]
enum Operation<F> {
    Create { name: String, file: F },
    Rename { from: String, to: String, file: F },
    Remove { name: String },
}

impl<F> Default for Folder<F> {
    fn default() -> Folder<F> {
        Folder { seen: BTreeMap::new(), durable: BTreeMap::new(), pending: Vec::new(), next: 0 }
    }
}

impl<F: Clone> Folder<F> {
    pub(crate) fn seen(&self) -> &BTreeMap<String, F> {
        &self.seen
    }

    /// Every file that a power cut may leave.
    pub(crate) fn files(&self) -> Vec<(String, F)> {
        let created = self.pending.iter().filter_map(|(_, operation)| match operation {
            Operation::Create { name, file } => Some((name.clone(), file.clone())),
            _ => None,
        });
        let named = self.durable.iter().map(|(name, file)| (name.clone(), file.clone()));
        named.chain(created).collect()
    }

    pub(crate) fn create(&mut self, name: &str, file: F) {
        self.push(Operation::Create { name: name.to_owned(), file });
    }

    /// A file of the new name is replaced. Returns whether there is one of the old name.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(file) = self.seen.get(from).cloned() else { return false };
        self.push(Operation::Rename { from: from.to_owned(), to: to.to_owned(), file });
        true
    }

    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let there = self.seen.contains_key(name);
        if there {
            self.push(Operation::Remove { name: name.to_owned() });
        }
        there
    }

    fn push(&mut self, operation: Operation<F>) {
        operation.apply(&mut self.seen);
        self.pending.push((self.next, operation));
        self.next += 1;
    }

    /// The operations up to now, for [`Folder::synced`].
    pub(crate) fn mark(&self) -> u64 {
        self.next
    }

    /// An fsync that began at `mark` has ended. (One that fails changes nothing: the next one does it.)
    pub(crate) fn synced(&mut self, mark: u64) {
        let later = self.pending.iter().position(|(number, _)| *number >= mark).unwrap_or(self.pending.len());
        for (_, operation) in self.pending.drain(..later) {
            operation.apply(&mut self.durable);
        }
    }

    /// The power is cut.
    pub(crate) fn crash(&mut self, entropy: &dyn Entropy) -> Vec<Incident> {
        let mut incidents = Vec::new();
        for (_, operation) in std::mem::take(&mut self.pending) {
            let kept = dice::below(entropy, 2) == 0;
            incidents.push(Incident::Name { operation: operation.text(), kept });
            if kept {
                operation.apply(&mut self.durable);
            }
        }
        self.seen.clone_from(&self.durable);
        incidents
    }
}

impl<F: Clone> Operation<F> {
    fn apply(&self, names: &mut BTreeMap<String, F>) {
        match self {
            Operation::Create { name, file } => drop(names.insert(name.clone(), file.clone())),
            Operation::Remove { name } => drop(names.remove(name)),
            Operation::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), file.clone());
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Operation::Create { name, .. } => format!("create {name}"),
            Operation::Remove { name } => format!("remove {name}"),
            Operation::Rename { from, to, .. } => format!("rename {from} {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tests::Seeded;

    /// Operations as `+a=1`, `a>b`, `-a`, `sync`; all folders that a power cut may leave, as `a=1 b=2`.
    fn check(operations: &str, expect: &[&str]) {
        let outcomes: BTreeSet<String> = (0..300)
            .map(|seed| {
                let mut folder = Folder::default();
                for word in operations.split(' ') {
                    if word == "sync" {
                        folder.synced(folder.mark());
                    } else if let Some((name, file)) = word.strip_prefix('+').and_then(|word| word.split_once('=')) {
                        folder.create(name, file.to_owned());
                    } else if let Some((from, to)) = word.split_once('>') {
                        assert!(folder.rename(from, to));
                    } else {
                        assert!(folder.remove(word.trim_start_matches('-')));
                    }
                }
                folder.crash(&Seeded::new(seed));
                let names: Vec<String> = folder.seen().iter().map(|(name, file)| format!("{name}={file}")).collect();
                names.join(" ")
            })
            .collect();
        assert_eq!(outcomes, expect.iter().map(|text| (*text).to_owned()).collect(), "{operations}");
    }

    #[test]
    fn only_synced_names_are_sure() {
        check("+a=1 sync", &["a=1"]);
        check("+a=1", &["", "a=1"]);
        check("+a=1 sync -a", &["", "a=1"]);
        check("+a=1 +b=2 sync b>a", &["a=1 b=2", "a=2"]);
        check("+a=1 +b=2 sync b>a sync", &["a=2"]);
        check("+a=1 sync +b=2 b>a", &["a=1", "a=1 b=2", "a=2"]);
    }
}
