//! What a scenario is asked and what it answers: the one interface between the command line and a simulation.
//!
//! Keeps: everything random that could be left out of a run is in its plan, so that a run is its scenario, its seed and
//! its plan; the same three give the same hash.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use triune_history::{At, Event};

/// A set of scenarios.
///
/// * R1 [`Scenarios::plan`] is a function of scenario and seed; [`Scenarios::run`] is one of scenario, seed, plan and
///   options: hash, events and findings are the same in every process.
/// * R2 What is broken is a finding; what stops the simulation itself is a panic, and is answered or let through.
/// * R3 Each of [`Scenarios::shrinks`] is smaller than the plan that it was made of, so that shrinking ends.
pub trait Scenarios {
    /// All of them, in the order in which seeds take turns.
    fn list(&self) -> Vec<ScenarioInfo>;

    /// What the seed draws: topology, knobs, what clients do, faults. An error says what is wrong with the scenario.
    fn plan(&self, scenario: &str, seed: u64) -> Result<Value, String>;

    /// Runs a plan, which need not be the seed's own.
    fn run(&self, scenario: &str, seed: u64, plan: &Value, options: &RunOptions) -> RunResult;

    /// Smaller plans, the most drastic first.
    fn shrinks(&self, plan: &Value) -> Vec<Value>;

    /// Names of all rare lines that an exploration should reach.
    fn probes(&self) -> &[&str];
}

/// A scenario, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioInfo {
    /// What `--scenario` takes.
    pub name: String,
    /// One line.
    pub about: String,
}

/// What is recorded beyond what checkers need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunOptions {
    /// Messages on the network, as events; the hash then covers them too.
    #[serde(default)]
    pub record_messages: bool,
    /// Notes of what the code does, as events; the hash then covers them too.
    #[serde(default)]
    pub trace: bool,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunResult {
    /// Of all events with their times: equal for equal runs.
    pub hash: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Processor time.
    pub cpu: Duration,
    /// All of them, in order.
    pub events: Vec<Event>,
    /// Broken invariants, the most telling first.
    pub findings: Vec<Finding>,
    /// How often each rare line was reached.
    pub probes: BTreeMap<String, u64>,
    /// The message, if the simulation panicked.
    pub panicked: Option<String>,
    /// Other figures: requests, commits, messages.
    pub statistics: BTreeMap<String, u64>,
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name, such as `W7`.
    pub invariant: String,
    /// What kind of promise it is.
    pub kind: Kind,
    /// When it was broken, or was found to be.
    pub at: At,
    /// What was expected and what was seen.
    pub text: String,
    /// The events that show it: indexes into the run's events.
    pub events: Vec<usize>,
}

/// Kinds of invariants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing bad happens.
    Safety,
    /// Something good happens within a bound.
    Liveness,
}
