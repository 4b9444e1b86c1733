//! Smaller plans that break the same invariant: greedy delta debugging.
//!
//! Keeps: the result breaks what the original broke; it ends, since candidates are smaller than what they were made of,
//! no plan is tried twice, and tries and time are bounded.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    child::{self, Job, Scratch},
    class::Class,
    run::{RunOptions, Scenarios},
    single::Summary,
};

/// How much may be tried.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Plans that are run.
    pub tries: usize,
    /// Real time.
    pub time: Duration,
}

/// What shrinking came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest plan that still fails.
    pub plan: Value,
    /// Plans that were run.
    pub tries: usize,
    /// Whether there was nothing left to try.
    pub minimal: bool,
}

/// Takes the first candidate that still fails, again and again. `fails` answers None when there is no time left.
pub fn shrink(
    plan: &Value,
    tries_max: usize,
    candidates: &dyn Fn(&Value) -> Vec<Value>,
    fails: &mut dyn FnMut(&Value) -> Option<bool>,
) -> Shrunk {
    let mut best = plan.clone();
    let mut tried = BTreeSet::from([plan.to_string()]);
    let mut tries = 0;
    'smaller: loop {
        for candidate in candidates(&best) {
            if !tried.insert(candidate.to_string()) {
                continue;
            }
            if tries == tries_max {
                return Shrunk { plan: best, tries, minimal: false };
            }
            tries += 1;
            match fails(&candidate) {
                None => return Shrunk { plan: best, tries, minimal: false },
                Some(false) => {}
                Some(true) => {
                    best = candidate;
                    continue 'smaller;
                }
            }
        }
        return Shrunk { plan: best, tries, minimal: true };
    }
}

/// What is shrunk.
pub struct Failure<'a> {
    /// Which scenario.
    pub scenario: &'a str,
    /// Which seed.
    pub seed: u64,
    /// The plan that fails.
    pub plan: &'a Value,
    /// What is recorded.
    pub options: RunOptions,
    /// What it came to.
    pub class: Class,
    /// The invariant that has to stay broken; None for a panic.
    pub invariant: Option<&'a str>,
    /// Events of the run.
    pub events: usize,
}

/// The command: shrinks a failure, each try in a process of its own, and writes the smaller log.
pub fn command(
    scenarios: &dyn Scenarios,
    failure: &Failure<'_>,
    limits: Limits,
    bounds: &child::Bounds,
    failures: &Path,
) -> Result<(), String> {
    if matches!(failure.class, Class::Passed | Class::Nondeterminism) {
        let Failure { scenario, seed, class, .. } = failure;
        return Err(format!(
            "seed {seed} of scenario {scenario} {}: only a failure can be made smaller",
            class.as_str()
        ));
    }
    let scratch = Scratch::new("shrink")?;
    let program = child::this_program()?;
    let begin = Instant::now();
    let mut smallest: Option<Summary> = None;
    let mut trouble = None;
    let mut fails = |plan: &Value| {
        if begin.elapsed() >= limits.time {
            return None;
        }
        match attempt(failure, plan, &scratch, &program, bounds) {
            Ok(summary) => {
                let same = breaks_the_same(failure, &summary);
                if same {
                    smallest = Some(summary);
                }
                Some(same)
            }
            Err(error) => {
                trouble = Some(error);
                None
            }
        }
    };
    let shrunk = shrink(failure.plan, limits.tries, &|plan| scenarios.shrinks(plan), &mut fails);
    if let Some(error) = trouble {
        return Err(error);
    }
    let why = if shrunk.minimal { "nothing smaller breaks it" } else { "stopped at the bound of tries or time" };
    let after = smallest.as_ref().map_or(failure.events, |summary| summary.events);
    println!(
        "shrunk in {} tries ({why}): plan {} -> {} values, run {} -> {after} events",
        shrunk.tries,
        size(failure.plan),
        size(&shrunk.plan),
        failure.events
    );
    if smallest.is_some() {
        write_smallest(failure, &shrunk.plan, &scratch, &program, bounds, failures)?;
    }
    Ok(())
}

/// Runs the smallest plan once more, for its log.
fn write_smallest(
    failure: &Failure<'_>,
    plan: &Value,
    scratch: &Scratch,
    program: &Path,
    bounds: &child::Bounds,
    failures: &Path,
) -> Result<(), String> {
    let path = failures.join(format!("{}-{}.small.jsonl", failure.scenario, failure.seed));
    let job = Job { log: Some(path), ..job(failure, plan, scratch)? };
    let summary = child::run(program, &job, bounds);
    // The plan has no file of its own that stays: the log holds it.
    let text: Vec<&str> = summary.text.lines().filter(|line| !line.starts_with("or:")).collect();
    println!("{}", text.join("\n"));
    Ok(())
}

fn attempt(
    failure: &Failure<'_>,
    plan: &Value,
    scratch: &Scratch,
    program: &Path,
    bounds: &child::Bounds,
) -> Result<Summary, String> {
    Ok(child::run(program, &job(failure, plan, scratch)?, bounds))
}

fn job(failure: &Failure<'_>, plan: &Value, scratch: &Scratch) -> Result<Job, String> {
    let plan = scratch.write("plan.json", &plan.to_string())?;
    Ok(Job {
        scenario: failure.scenario.to_owned(),
        seed: failure.seed,
        plan: Some(plan),
        log: None,
        options: failure.options,
        twice: false,
        failures: scratch.path("failures"),
    })
}

fn breaks_the_same(failure: &Failure<'_>, summary: &Summary) -> bool {
    match failure.invariant {
        Some(invariant) => summary.findings.iter().any(|finding| finding.invariant == invariant),
        None => summary.class == failure.class,
    }
}

/// How many values a plan holds.
fn size(plan: &Value) -> usize {
    match plan {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Halves, then all but one.
    fn candidates(plan: &Value) -> Vec<Value> {
        let items = plan.as_array().unwrap();
        let middle = items.len() / 2;
        let halves = [&items[..middle], &items[middle..]].into_iter().filter(|half| half.len() < items.len());
        let without = (0..items.len()).map(|index| {
            let mut fewer = items.clone();
            fewer.remove(index);
            json!(fewer)
        });
        halves.map(|half| json!(half)).chain(without).collect()
    }

    #[test]
    fn the_minimum_is_found() {
        let plan = json!((0..64).collect::<Vec<u32>>());
        let holds = |plan: &Value, wanted: u32| plan.as_array().unwrap().contains(&json!(wanted));
        let shrunk = shrink(&plan, 1000, &candidates, &mut |plan| Some(holds(plan, 5) && holds(plan, 40)));
        assert_eq!((shrunk.plan, shrunk.minimal), (json!([5, 40]), true));
    }

    #[test]
    fn nothing_is_tried_twice_and_bounds_hold() {
        let plan = json!([1, 1, 1, 1]);
        let mut seen = Vec::new();
        let shrunk = shrink(&plan, 1000, &candidates, &mut |plan| {
            seen.push(plan.to_string());
            Some(false)
        });
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!((seen.len(), shrunk.tries, shrunk.minimal), (unique.len(), seen.len(), true));
        let bounded = shrink(&plan, 1, &candidates, &mut |_| Some(false));
        assert_eq!((bounded.tries, bounded.minimal), (1, false));
        assert!(!shrink(&plan, 1000, &candidates, &mut |_| None).minimal);
    }
}
