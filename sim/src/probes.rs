//! Counts the probes that the code reaches ([`triune_env::probe`]).

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::Interest,
};

/// Every probe of the code, sorted: a name that is not here is an error of the run that reaches it.
pub const NAMES: &[&str] = &[
    "cache: filled anew, it was below the floor",
    "cache: the asked revision was not reached",
    "commit: claim is held by another",
    "commit: conflict",
    "commit: fence does not hold",
    "commit: unknown outcome found in the log",
    "commit: unknown outcome found in the object row",
    "commit: unknown outcome was not applied",
    "compaction: another server has just done it",
    "compaction: rows removed",
    "expiry: object removed",
    "expiry: the object changed before it was removed",
    "list: a state by undoing the log",
    "list: a state by undoing the window",
    "list: goes on inconsistently",
    "list: the page is compacted",
    "load: a change during the scan",
    "load: compacted during the scan",
    "load: the scan saw a change of the log",
    "watch: fails while it runs",
    "watch: resumes from the log",
    "watch: starts from the log",
    "watch: the start is compacted",
];

static COUNTS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// Starts to count in this process; again does nothing.
pub fn listen() {
    let _ = tracing::subscriber::set_global_default(Probes);
}

/// How often each probe was reached since the last call.
pub fn take() -> BTreeMap<String, u64> {
    std::mem::take(&mut *COUNTS.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Probes;

impl Subscriber for Probes {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == triune_env::probe::TARGET
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Count);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Count;

impl Visit for Count {
    fn record_str(&mut self, _: &Field, name: &str) {
        *COUNTS.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default() += 1;
    }
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The source files of core, as text.
    fn sources(folder: &std::path::Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn the_list_has_just_the_probes_of_the_code() {
        let mut text = String::new();
        sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../core"), &mut text);
        let mut found: Vec<&str> = text.split("probe!(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        found.sort_unstable();
        assert_eq!(found, NAMES);
    }
}
