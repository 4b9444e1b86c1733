//! Planted bugs that must be found, and harmless changes that must not be.
//!
//! Each patch in `sim/mutants` is applied alone to one copy of the tracked sources, which has a target folder of its own,
//! so that only what it touches is compiled again. Keeps: the sources themselves are never changed; a patch that does not
//! apply, or does not compile, is an error and not a bug that was found.

mod patch;
mod tree;

use std::{path::PathBuf, process::Command};

use crate::{
    child::{Bounds, Job},
    class::Class,
    explore::{self, Exploration},
    run::RunOptions,
    single::Summary,
};

use patch::Patch;
use tree::Tree;

/// The package, and its program, whose children run the scenarios.
const PROGRAM: &str = "triune-sim";

/// What is asked.
pub struct Options {
    /// Root of the sources; looked for from here upwards if it is not given.
    pub root: Option<PathBuf>,
    /// Only the mutants whose name contains this.
    pub only: Option<String>,
    /// Seeds that are tried for each.
    pub seeds: u64,
    /// Whether only to look if the patches apply.
    pub check: bool,
    /// Processes at once.
    pub parallel: usize,
    /// How long a run may take.
    pub bounds: Bounds,
}

/// The command: tries each mutant, prints a table; answers how many surprised.
pub fn command(options: &Options, scenarios: &[String]) -> Result<usize, String> {
    let root = match &options.root {
        Some(root) => root.clone(),
        None => tree::find_root()?,
    };
    let patches = patch::read_all(&root.join("sim/mutants"), options.only.as_deref())?;
    for patch in &patches {
        if let Some(name) = patch.scenario.as_ref().filter(|name| !scenarios.contains(name)) {
            let there = scenarios.join(", ");
            return Err(format!("{}: there is no scenario {name:?}; there are: {there}", patch.name));
        }
    }
    let tree = Tree::copy(&root)?;
    if options.check {
        return Ok(check(&tree, &patches));
    }
    let width = patches.iter().map(|patch| patch.name.len()).max().unwrap_or_default().max("mutant".len());
    println!("{:<width$}  {:<6} {:>6}  {:<20} as expected", "mutant", "bug", "seeds", "found by");
    let mut trials = Vec::new();
    for patch in &patches {
        let verdict = trial(&tree, patch, options, scenarios);
        println!("{}", row(patch, &verdict, width));
        trials.push((patch, verdict));
    }
    print!("{}", closing(&trials));
    Ok(trials.iter().filter(|(patch, verdict)| surprise(patch, verdict).is_some()).count())
}

/// Looks whether each patch applies; answers how many do not.
fn check(tree: &Tree, patches: &[Patch]) -> usize {
    let stale: Vec<String> = patches
        .iter()
        .filter_map(|patch| tree.check(patch).err().map(|error| format!("{}: {error}", patch.name)))
        .collect();
    for text in &stale {
        println!("{text}");
    }
    println!("{} passed, {} failed", patches.len() - stale.len(), stale.len());
    stale.len()
}

/// What came of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Found by this many seeds, with what fired.
    Found { seeds: u64, fired: Vec<String>, text: String },
    /// Not by this many.
    Unnoticed { seeds: u64 },
    /// Could not be tried.
    Error(String),
}

fn trial(tree: &Tree, patch: &Patch, options: &Options, scenarios: &[String]) -> Verdict {
    match tree.with(patch, |tree| explore_mutant(tree, patch, options, scenarios)) {
        Ok(verdict) => verdict,
        Err(error) => Verdict::Error(error),
    }
}

fn explore_mutant(tree: &Tree, patch: &Patch, options: &Options, scenarios: &[String]) -> Result<Verdict, String> {
    let program = build(tree)?;
    let scenarios = patch.scenario.as_ref().map_or_else(|| scenarios.to_vec(), |name| vec![name.clone()]);
    let like = Job {
        scenario: String::new(),
        seed: 0,
        plan: None,
        log: None,
        options: RunOptions::default(),
        twice: false,
        failures: tree.folder().join("failures").join(&patch.name),
    };
    let exploration = Exploration {
        program: &program,
        jobs: explore::jobs(0..options.seeds, &scenarios, &like),
        parallel: options.parallel,
        time_budget: None,
        bounds: options.bounds,
        until_failure: true,
    };
    let mut first: Option<Summary> = None;
    exploration.run(&mut |summary| {
        let earlier = first.as_ref().is_none_or(|first| summary.seed < first.seed);
        if summary.class != Class::Passed && earlier {
            first = Some(summary.clone());
        }
    });
    Ok(first.map_or(Verdict::Unnoticed { seeds: options.seeds }, |summary| Verdict::Found {
        seeds: summary.seed + 1,
        fired: fired(&summary),
        text: summary.text,
    }))
}

/// Names of what was broken, without repetition, the first first.
fn fired(summary: &Summary) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for finding in &summary.findings {
        if !names.contains(&finding.invariant) {
            names.push(finding.invariant.clone());
        }
    }
    if summary.class == Class::Panic {
        names.push("panic".into());
    }
    names
}

fn build(tree: &Tree) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--package", PROGRAM, "--bin", PROGRAM])
        .current_dir(tree.sources())
        .env("CARGO_TARGET_DIR", tree.target())
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("it does not compile:\n{}", text.trim_end()));
    }
    Ok(tree.target().join("debug").join(PROGRAM))
}

/// What is not as the header says, if anything.
fn surprise(patch: &Patch, verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Error(error) => Some(error.clone()),
        Verdict::Found { seeds, text, .. } if patch.equivalent => {
            Some(format!("changes nothing that can be seen, but seed {} was reported:\n{text}", seeds - 1))
        }
        Verdict::Unnoticed { .. } if patch.equivalent => None,
        Verdict::Unnoticed { seeds } => Some(format!("was not found by {seeds} seeds")),
        Verdict::Found { fired, text, .. } => {
            let expected = fired.iter().any(|name| patch.expect.contains(name));
            let expect = patch.expect.join(", ");
            (!expected).then(|| format!("was expected to break {expect}, but broke {}:\n{text}", fired.join(", ")))
        }
    }
}

fn row(patch: &Patch, verdict: &Verdict, width: usize) -> String {
    let (seeds, fired) = match verdict {
        Verdict::Found { seeds, fired, .. } => (seeds.to_string(), fired.join(" ")),
        Verdict::Unnoticed { seeds } => (format!("> {seeds}"), "nothing".into()),
        Verdict::Error(_) => ("-".into(), "error".into()),
    };
    let bug = if patch.equivalent { "none" } else { &patch.bug };
    let verdict = if surprise(patch, verdict).is_none() { "yes" } else { "NO" };
    format!("{:<width$}  {bug:<6} {seeds:>6}  {fired:<20} {verdict}", patch.name)
}

/// How many were found, the median, and each surprise in full.
fn closing(trials: &[(&Patch, Verdict)]) -> String {
    let mut text = String::new();
    for (patch, verdict) in trials {
        if let Some(surprise) = surprise(patch, verdict) {
            text.push_str(&format!("\n{} ({}): {}\n", patch.name, patch.about, surprise.trim_end()));
        }
    }
    let bugs = || trials.iter().filter(|(patch, _)| !patch.equivalent);
    let mut seeds: Vec<u64> = bugs()
        .filter_map(|(_, verdict)| match verdict {
            Verdict::Found { seeds, .. } => Some(*seeds),
            _ => None,
        })
        .collect();
    seeds.sort_unstable();
    let median = seeds.get(seeds.len().saturating_sub(1) / 2);
    let median = median.map(|median| format!(", median {median} seeds")).unwrap_or_default();
    let equivalent = trials.len() - bugs().count();
    let quiet = trials.iter().filter(|(patch, verdict)| patch.equivalent && surprise(patch, verdict).is_none()).count();
    text.push_str(&format!(
        "{} of {} bugs found{median}; {quiet} of {equivalent} equivalent mutants unreported\n",
        seeds.len(),
        bugs().count(),
    ));
    let surprises = trials.iter().filter(|(patch, verdict)| surprise(patch, verdict).is_some()).count();
    text.push_str(&format!("{} passed, {surprises} failed\n", trials.len() - surprises));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(equivalent: bool) -> Patch {
        Patch {
            name: "m".into(),
            bug: "B62".into(),
            expect: vec!["W7".into(), "W12".into()],
            about: "a".into(),
            equivalent,
            scenario: None,
            file: PathBuf::new(),
        }
    }

    fn found(seeds: u64, fired: &[&str]) -> Verdict {
        let fired = fired.iter().copied().map(String::from).collect();
        Verdict::Found { seeds, fired, text: String::new() }
    }

    #[test]
    fn surprises() {
        let check = |equivalent, verdict: &Verdict, expect: &str| {
            let surprise = surprise(&patch(equivalent), verdict).unwrap_or_default();
            assert!(surprise.contains(expect) && surprise.is_empty() == expect.is_empty(), "{surprise}");
        };
        check(false, &found(3, &["W12"]), "");
        check(false, &found(3, &["S5", "W7"]), "");
        check(false, &found(3, &["S5"]), "expected to break W7, W12, but broke S5");
        check(false, &found(3, &["panic"]), "but broke panic");
        check(false, &Verdict::Unnoticed { seeds: 9 }, "not found by 9 seeds");
        check(false, &Verdict::Error("x".into()), "x");
        check(true, &Verdict::Unnoticed { seeds: 9 }, "");
        check(true, &found(3, &["W7"]), "seed 2 was reported");
        check(true, &Verdict::Error("x".into()), "x");
    }

    #[test]
    fn the_closing_counts() {
        let (bug, harmless) = (patch(false), patch(true));
        let trials = vec![
            (&bug, found(1, &["W7"])),
            (&bug, found(5, &["W7"])),
            (&bug, found(9, &["W7"])),
            (&bug, Verdict::Unnoticed { seeds: 10 }),
            (&harmless, Verdict::Unnoticed { seeds: 10 }),
        ];
        let text = closing(&trials);
        let expect = "3 of 4 bugs found, median 5 seeds; 1 of 1 equivalent mutants unreported\n4 passed, 1 failed\n";
        assert!(text.ends_with(expect), "{text}");
    }
}
