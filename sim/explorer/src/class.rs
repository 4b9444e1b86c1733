//! How a run ended, and the exit code for it.
//!
//! Keeps: what a broken promise is called does not depend on what else went wrong later. A safety violation is reported
//! before a panic that may follow from it, a panic before the liveness that it costs.

use serde::{Deserialize, Serialize};

use crate::run::{Kind, RunResult};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Every invariant held.
    Passed,
    /// A safety invariant was broken.
    Safety,
    /// Something that must happen did not.
    Liveness,
    /// Two runs of the same seed differ.
    Nondeterminism,
    /// The simulation panicked, its process died, or it gave no answer in time.
    Panic,
}

impl Class {
    /// Of a single run.
    pub fn of(result: &RunResult) -> Class {
        let broken = |kind| result.findings.iter().any(|finding| finding.kind == kind);
        if broken(Kind::Safety) {
            Class::Safety
        } else if result.panicked.is_some() {
            Class::Panic
        } else if broken(Kind::Liveness) {
            Class::Liveness
        } else {
            Class::Passed
        }
    }

    /// The exit code of a process that ran it.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Passed => 0,
            Class::Safety => 10,
            Class::Liveness => 11,
            Class::Nondeterminism => 12,
            Class::Panic => 13,
        }
    }

    /// In a sentence after "seed N".
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Passed => "passed",
            Class::Safety => "broke a safety invariant",
            Class::Liveness => "broke a liveness invariant",
            Class::Nondeterminism => "ran differently the second time",
            Class::Panic => "panicked",
        }
    }
}

#[cfg(test)]
mod tests {
    use triune_history::At;

    use super::*;
    use crate::run::Finding;

    #[test]
    fn the_first_cause_names_the_run() {
        let check = |kinds: &[Kind], panicked: bool, expect: u8| {
            let finding =
                |kind| Finding { invariant: "X".into(), kind, at: At(0), text: String::new(), events: vec![] };
            let findings = kinds.iter().copied().map(finding).collect();
            let result = RunResult { findings, panicked: panicked.then(|| "p".into()), ..RunResult::default() };
            assert_eq!(Class::of(&result).exit_code(), expect, "{kinds:?} {panicked}");
        };
        check(&[], false, 0);
        check(&[Kind::Safety], false, 10);
        check(&[Kind::Liveness], false, 11);
        check(&[], true, 13);
        check(&[Kind::Liveness, Kind::Safety], true, 10);
        check(&[Kind::Liveness], true, 13);
    }
}
