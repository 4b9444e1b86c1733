//! Rare lines: how many seeds reached each, and which none did. A line that no seed reaches is not tested by any.

use std::collections::BTreeMap;

/// Counts over an exploration.
#[derive(Debug, Default)]
pub(crate) struct ProbeTable {
    /// Seeds that reached it, and how often in all.
    reached: BTreeMap<String, (u64, u64)>,
}

impl ProbeTable {
    /// Adds what a run reached.
    pub(crate) fn add(&mut self, probes: &BTreeMap<String, u64>) {
        for (name, times) in probes.iter().filter(|(_, times)| **times > 0) {
            let (seeds, total) = self.reached.entry(name.clone()).or_default();
            *seeds += 1;
            *total += times;
        }
    }

    /// A table, and a line with those of `known` that were never reached. Empty if there are no probes.
    pub(crate) fn text(&self, known: &[&str]) -> String {
        let known = known.iter().copied().filter(|name| !self.reached.contains_key(*name));
        let missing: Vec<&str> = known.collect();
        let mut text = String::new();
        if !self.reached.is_empty() {
            let width = self.reached.keys().map(String::len).max().unwrap_or_default().max("probe".len());
            text.push_str(&format!("{:<width$} {:>8} {:>10}\n", "probe", "seeds", "times"));
            for (name, (seeds, times)) in &self.reached {
                text.push_str(&format!("{name:<width$} {seeds:>8} {times:>10}\n"));
            }
        }
        for name in missing {
            text.push_str(&format!("probe never reached: {name}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_reached_is_named() {
        let mut table = ProbeTable::default();
        table.add(&BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 0)]));
        table.add(&BTreeMap::from([("a".to_owned(), 3)]));
        assert_eq!(
            table.text(&["a", "b", "c"]),
            "probe    seeds      times\na            2          5\nprobe never reached: b\nprobe never reached: c\n"
        );
        assert_eq!(ProbeTable::default().text(&[]), "");
    }
}
