//! Judges the history of a simulation. Checkers see commits and what clients saw, nothing inside.
//!
//! In reading order:
//!
//! - [`index`]: the index of a history, made once; [`view`]: what a selection shows over time
//! - [`storage`]: commits, and that what is shown is what was committed (S1, S3 to S5, S9 to S11, W19)
//! - [`objects`]: namespaces and finalizers, on commits (D1, D2, G5, G6)
//! - [`owners`]: what appliers own (O1 to O3)
//! - [`outcomes`]: what a write was told and what it did (S2, S6, S7, S8, L18)
//! - [`linearizability`]: a register for each object (S12)
//! - [`lists`]: lists, pages, cached reads (W1 to W6, W12, W20)
//! - [`watches`] (streams): W7 to W12, W14
//! - [`informers`]: stores and handlers of informers (W17)
//! - [`life`]: start and stop of servers (A13, A14, A17)
//! - [`liveness`]: what must come about once faults have ended (L1, L8 to L14, L20)
//! - [`excerpt`]: the lines of a history that show a violation
//! - `testing`: short histories as text; `model`: random valid histories, and mutations of them
//!
//! What is inside a server is judged by what it makes visible:
//!
//! | invariant | is seen as |
//! |---|---|
//! | W13, a watcher gets events of one cache generation only | W7: an event again, or out of order |
//! | W15, the cache is the decoded state at its position | W1 and W19 of lists from the cache |
//! | W16, the position moves only past what was applied | W1, W10, or S4: a revision shown before a commit below it |
//! | W14, nothing after the first event that was not delivered | W7 for a gap; W14 for anything after ERROR |
//! | W18, the end of a storage ends its watches | not yet: no resource ends while a server runs |
//! | A13 and A14, signals and hooks | answers to requests and to `/readyz` |
//!
//! Deliberately absent: clocks, files, the simulator. A checker that cannot judge something counts it in [`Coverage`] and
//! never calls it a pass.

use std::{collections::BTreeMap, time::Duration};

pub use triune_history::{At, Event};

pub mod excerpt;
pub mod index;
pub mod informers;
pub mod life;
pub mod linearizability;
pub mod lists;
pub mod liveness;
pub mod objects;
pub mod outcomes;
pub mod owners;
pub mod storage;
pub mod view;
pub mod watches;

#[cfg(test)]
mod model;
#[cfg(test)]
mod testing;

use index::Index;

/// Violations of one invariant that are reported; later ones are counted only.
pub const VIOLATIONS_PER_INVARIANT_MAX: usize = 10;

/// Whether something bad happened or something good did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Something bad happened.
    Safety,
    /// Something good did not happen in time.
    Liveness,
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub invariant: &'static str,
    /// Which kind.
    pub kind: Kind,
    /// When it was seen.
    pub at: At,
    /// What was wrong, for people.
    pub text: String,
    /// The events that show it, few, as indices of the history.
    pub events: Vec<usize>,
}

/// Objects that a rule is about: each part that is given must be equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectPattern {
    /// The resource, or what its name ends with if it starts with `.`.
    pub resource: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// The name.
    pub name: Option<String>,
}

impl ObjectPattern {
    /// From texts; `*` is any.
    pub fn new(resource: &str, namespace: &str, name: &str) -> ObjectPattern {
        let part = |text: &str| (text != "*").then(|| text.to_owned());
        ObjectPattern { resource: part(resource), namespace: part(namespace), name: part(name) }
    }

    /// Whether it is about an object.
    pub fn is_about(&self, key: &triune_history::ObjectKey) -> bool {
        let resource = |wanted: &String| {
            if wanted.starts_with('.') { key.resource.ends_with(wanted.as_str()) } else { key.resource == *wanted }
        };
        self.resource.as_ref().is_none_or(resource)
            && self.namespace.as_ref().is_none_or(|wanted| key.namespace == *wanted)
            && self.name.as_ref().is_none_or(|wanted| key.name == *wanted)
    }
}

/// What is checked, and how strictly.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// API servers. Empty: every node that is asked something.
    pub servers: Vec<String>,
    /// Invariants whose violations are counted and not reported.
    pub tolerated: Vec<String>,
    /// Objects that servers write by themselves: their commits need no request.
    pub own_writes: Vec<ObjectPattern>,
    /// Resources whose objects expire: they go without a request.
    pub expiring: Vec<String>,
    /// Resources whose objects wait for somebody who does not run here before they go (L14).
    pub held: Vec<String>,
    /// What must exist once `/readyz` has said 200 (A14).
    pub bootstrap: Vec<triune_history::ObjectKey>,
    /// Paths that exist: a 404 for one, or below one, is A13.
    pub known_paths: Vec<String>,
    /// Faults whose text starts with one of these break neither connections nor the storage.
    pub harmless_faults: Vec<String>,
    /// How long a request may be under way to its server (A17).
    pub latency: Duration,
    /// How long a server that is asked to stop still accepts requests (A17).
    pub shutdown_delay: Duration,
    /// Shortest time between two compactions of a resource (S5); zero: not checked.
    pub compaction_interval: Duration,
    /// Rows that one transaction of a compaction removes at most: after one with as many the next follows at once (S5).
    pub rows_per_compaction: u64,
    /// Liveness is asked for this long after `Healed`.
    pub settle: Duration,
    /// How long changes may take to reach informers and watches, once settled (L1).
    pub delivery: Duration,
    /// How long an informer may pause after an error (L1).
    pub retry_pause: Duration,
    /// How long a request may take (L8).
    pub request_timeout: Duration,
    /// A client that gives up sooner than this cannot say that it was not answered (L8): a server may wait this long for
    /// its cache before it says 504.
    pub patience: Duration,
    /// How long a start may take (L9).
    pub start: Duration,
    /// How long a stop may take (L10).
    pub stop: Duration,
    /// How long a watch with bookmarks may be without one (L11).
    pub bookmark: Duration,
    /// How long a consistent read of a resource without changes may take (L12).
    pub idle_read: Duration,
    /// Steps of the search for a linearization, for each object and for all.
    pub linearization_steps: (usize, usize),
}

impl Default for CheckOptions {
    fn default() -> CheckOptions {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let own = [
            ("*", "kube-system", "*"),
            ("*", "kube-public", "*"),
            ("*", "kube-node-lease", "*"),
            ("*", "default", "kubernetes"),
            ("namespaces", "", "default"),
            ("namespaces", "", "kube-system"),
            ("namespaces", "", "kube-public"),
            ("namespaces", "", "kube-node-lease"),
            (".rbac.authorization.k8s.io", "*", "*"),
            (".flowcontrol.apiserver.k8s.io", "*", "*"),
            (".scheduling.k8s.io", "", "*"),
            (".apiregistration.k8s.io", "*", "*"),
            (".networking.k8s.io", "", "*"),
        ];
        CheckOptions {
            servers: Vec::new(),
            tolerated: Vec::new(),
            own_writes: own
                .iter()
                .map(|(resource, namespace, name)| ObjectPattern::new(resource, namespace, name))
                .collect(),
            expiring: texts(&["events", "events.events.k8s.io"]),
            held: texts(&["namespaces", "pods"]),
            bootstrap: Vec::new(),
            known_paths: texts(&[
                "/api",
                "/apis",
                "/healthz",
                "/livez",
                "/readyz",
                "/version",
                "/openapi/v2",
                "/openapi/v3",
            ]),
            harmless_faults: texts(&["stop", "sigterm", "SIGTERM", "compact"]),
            latency: Duration::from_secs(1),
            shutdown_delay: Duration::ZERO,
            compaction_interval: Duration::ZERO,
            rows_per_compaction: u64::MAX,
            settle: Duration::from_secs(30),
            delivery: Duration::from_secs(5),
            retry_pause: Duration::from_secs(31),
            request_timeout: Duration::from_secs(65),
            patience: Duration::from_secs(10),
            start: Duration::from_secs(30),
            stop: Duration::from_secs(65),
            bookmark: Duration::from_secs(90),
            idle_read: Duration::from_secs(5),
            linearization_steps: (20_000, 200_000),
        }
    }
}

/// What was looked at, and what could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// How often each thing was judged: `lists`, `stream events`, `linearized objects`.
    pub checked: BTreeMap<&'static str, u64>,
    /// How often each thing could not be: an object with too many open writes, say.
    pub unchecked: BTreeMap<&'static str, u64>,
    /// Violations of tolerated invariants, and those past [`VIOLATIONS_PER_INVARIANT_MAX`].
    pub not_reported: BTreeMap<&'static str, u64>,
}

/// What checkers have found.
#[derive(Debug, Default)]
pub struct Findings {
    /// First violations first, within a checker.
    pub violations: Vec<Violation>,
    /// What was judged.
    pub coverage: Coverage,
    reported: BTreeMap<&'static str, usize>,
}

impl Findings {
    /// Something bad happened, as `events` show; the last of them is when.
    pub(crate) fn safety(&mut self, index: &Index<'_>, invariant: &'static str, events: &[usize], text: String) {
        self.add(index, invariant, Kind::Safety, events, text);
    }

    /// Something good did not happen in time.
    pub(crate) fn liveness(&mut self, index: &Index<'_>, invariant: &'static str, events: &[usize], text: String) {
        self.add(index, invariant, Kind::Liveness, events, text);
    }

    pub(crate) fn checked(&mut self, what: &'static str) {
        *self.coverage.checked.entry(what).or_default() += 1;
    }

    pub(crate) fn unchecked(&mut self, what: &'static str) {
        *self.coverage.unchecked.entry(what).or_default() += 1;
    }

    fn add(&mut self, index: &Index<'_>, invariant: &'static str, kind: Kind, events: &[usize], text: String) {
        let tolerated = index.options.tolerated.iter().any(|name| name == invariant);
        let reported = self.reported.entry(invariant).or_default();
        if tolerated || *reported == VIOLATIONS_PER_INVARIANT_MAX {
            *self.coverage.not_reported.entry(invariant).or_default() += 1;
            return;
        }
        *reported += 1;
        let at = index.at(events.iter().copied().max().unwrap_or(0));
        self.violations.push(Violation { invariant, kind, at, text, events: events.to_vec() });
    }
}

/// A family of invariants.
#[derive(Clone, Copy)]
pub struct Checker {
    /// Its name.
    pub name: &'static str,
    /// What it may report.
    pub invariants: &'static [&'static str],
    /// What it checks, in a line.
    pub about: &'static str,
    /// Checks.
    pub run: fn(&Index<'_>, &mut Findings),
}

/// All checkers, in order of their names.
pub fn checkers() -> &'static [Checker] {
    &[
        informers::CHECKER,
        life::CHECKER,
        linearizability::CHECKER,
        lists::CHECKER,
        liveness::CHECKER,
        objects::CHECKER,
        outcomes::CHECKER,
        owners::CHECKER,
        storage::CHECKER,
        watches::CHECKER,
    ]
}

/// Runs all checkers, in order of their names; of each, first violations first.
pub fn check(history: &[Event], options: &CheckOptions) -> Vec<Violation> {
    judge(history, options).violations
}

/// As [`check`], and says what was judged.
pub fn judge(history: &[Event], options: &CheckOptions) -> Findings {
    let index = Index::new(history, options);
    let mut all = Findings::default();
    for checker in checkers() {
        let first = all.violations.len();
        (checker.run)(&index, &mut all);
        all.violations[first..].sort_by_key(|violation| violation.at);
    }
    all
}
