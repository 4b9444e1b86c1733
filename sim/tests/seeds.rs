//! Seeds decide: the same history in every process. And what a failure needs: a log that replays, a plan that shrinks.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;
use triune_explorer::Scenarios;
use triune_sim::{plan::Plan, scenarios::SimScenarios};

fn run(arguments: &[&str], folder: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_triune-sim")).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("triune-sim {arguments:?}: {error}"));
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn hash(seed: u64, scenario: &str, folder: &Path) -> String {
    let (code, text) = run(&["run", "--json", "--seed", &seed.to_string(), "--scenario", scenario], folder);
    assert_eq!(code, Some(0), "seed {seed} of {scenario}: {text}");
    let line = text.lines().last().unwrap_or_default();
    let summary: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(summary["events"].as_u64() > Some(100), "{summary}");
    summary["hash"].to_string()
}

#[test]
fn ten_seeds_have_the_same_history_in_three_processes_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hashes = BTreeMap::new();
    for seed in 100..110 {
        let first = hash(seed, "store", folder.path());
        for _ in 0..2 {
            assert_eq!(hash(seed, "store", folder.path()), first, "seed {seed}");
        }
        hashes.insert(first, seed);
    }
    assert_eq!(hashes.len(), 10, "seeds that do not differ: {hashes:?}");
}

#[test]
fn a_log_replays() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("run.jsonl");
    let log = log.to_str().expect("a path");
    let (code, text) = run(&["run", "--seed", "5", "--scenario", "restarts", "--log", log], folder.path());
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(&["replay", log], folder.path());
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn every_scenario_draws_plans_that_are_data_and_shrink_to_an_end() {
    for scenario in SimScenarios.list() {
        for seed in 0..30 {
            let plan = SimScenarios.plan(&scenario.name, seed).expect("a plan");
            assert_eq!(SimScenarios.plan(&scenario.name, seed).as_ref(), Ok(&plan));
            let read: Plan = serde_json::from_value(plan.clone()).expect("what was written");
            assert_eq!(serde_json::to_value(read).ok().as_ref(), Some(&plan));
        }
        let mut plan = SimScenarios.plan(&scenario.name, 1).expect("a plan");
        let mut steps = 0;
        while let Some(smaller) = SimScenarios.shrinks(&plan).pop() {
            plan = smaller;
            steps += 1;
            assert!(steps < 10_000, "{}: shrinking does not end: {plan}", scenario.name);
        }
    }
    assert!(SimScenarios.plan("nonsense", 1).is_err_and(|text| text.contains("store")));
}
