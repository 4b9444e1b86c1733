//! The scenarios as the explorer sees them: plans as JSON, runs with what the checkers found.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use serde_json::Value;
use triune_checkers::{CheckOptions, Violation};
use triune_explorer::{Finding, Kind, RunOptions, RunResult, ScenarioInfo, Scenarios};

use crate::{
    faults::{Fault, PlannedFault},
    plan::{Plan, SCENARIOS, scenario, server_name},
    probes,
    run::{self, Recorded},
};

/// A transaction of the storage takes effect at most this long after it began.
const TRANSACTION_LIFE: Duration = Duration::from_secs(6);

/// All scenarios of this crate.
pub struct SimScenarios;

impl Scenarios for SimScenarios {
    fn list(&self) -> Vec<ScenarioInfo> {
        let info = |scenario: &crate::plan::Scenario| ScenarioInfo {
            name: scenario.name.to_owned(),
            about: scenario.about.to_owned(),
        };
        SCENARIOS.iter().map(info).collect()
    }

    fn plan(&self, name: &str, seed: u64) -> Result<Value, String> {
        let names = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
        let scenario = scenario(name).ok_or_else(|| format!("there is no scenario {name:?}; there are {}", names()))?;
        serde_json::to_value(Plan::draw(scenario, seed)).map_err(|error| error.to_string())
    }

    fn run(&self, _: &str, seed: u64, plan: &Value, options: &RunOptions) -> RunResult {
        let plan: Plan = match serde_json::from_value(plan.clone()) {
            Ok(plan) => plan,
            Err(error) => {
                return RunResult { panicked: Some(format!("this is no plan: {error}")), ..RunResult::default() };
            }
        };
        probes::listen();
        let begin = cpu_time();
        let recorded = Recorded { messages: options.record_messages };
        let mut recorder = None;
        let run = || run::run(&plan, seed, recorded, |started| recorder = Some(started));
        let outcome = catch_unwind(AssertUnwindSafe(run));
        let simulated_cpu = cpu_time().saturating_sub(begin);
        let mut result = match outcome {
            Ok(outcome) => {
                RunResult { simulated: outcome.simulated, statistics: outcome.statistics, ..RunResult::default() }
            }
            Err(panic) => RunResult { panicked: Some(message_of(panic.as_ref())), ..RunResult::default() },
        };
        if let Some(recorder) = recorder {
            result.hash = recorder.hash();
            result.events = recorder.take();
        }
        result.probes = probes::take();
        let checked = triune_checkers::check(&result.events, &check_options(&plan));
        result.findings = checked.into_iter().map(finding_of).collect();
        result.cpu = cpu_time().saturating_sub(begin);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        result.statistics.insert("cpu ms of the simulation".to_owned(), millis(simulated_cpu));
        result.statistics.insert("cpu ms of the checkers".to_owned(), millis(result.cpu.saturating_sub(simulated_cpu)));
        result
    }

    fn shrinks(&self, plan: &Value) -> Vec<Value> {
        let plan: Result<Plan, _> = serde_json::from_value(plan.clone());
        let smaller = plan.map(|plan| plan.smaller()).unwrap_or_default();
        smaller.into_iter().filter_map(|plan| serde_json::to_value(plan).ok()).collect()
    }

    fn probes(&self) -> &[&str] {
        probes::NAMES
    }
}

/// Beginnings of the texts of faults that break neither connections nor the storage.
const HARMLESS: &[&str] = &["begin SIGTERM", "end SIGTERM", "begin clock", "end clock"];

/// What a plan promises to the checkers.
fn check_options(plan: &Plan) -> CheckOptions {
    CheckOptions {
        servers: (1..=plan.servers).map(server_name).collect(),
        shutdown_delay: Duration::from_millis(plan.shutdown_delay_ms),
        settle: Duration::from_secs(plan.settle_seconds / 2),
        compaction_interval: compaction_interval(plan),
        rows_per_compaction: plan.knobs.rows_per_compaction,
        harmless_faults: HARMLESS.iter().map(|text| (*text).to_owned()).collect(),
        ..CheckOptions::default()
    }
}

/// Servers spare a resource that was compacted nine tenths of an interval ago or less, by the clock of the last one when
/// it began its transaction: with wrong clocks there is no promise.
fn compaction_interval(plan: &Plan) -> Duration {
    let wrong_clock = |planned: &PlannedFault| matches!(planned.fault, Fault::Clock { .. });
    if plan.faults.iter().any(wrong_clock) {
        return Duration::ZERO;
    }
    let interval = Duration::from_millis(plan.knobs.compaction_interval_ms) * 9 / 10;
    interval.saturating_sub(TRANSACTION_LIFE)
}

fn finding_of(violation: Violation) -> Finding {
    Finding {
        invariant: violation.invariant.to_owned(),
        kind: match violation.kind {
            triune_checkers::Kind::Safety => Kind::Safety,
            triune_checkers::Kind::Liveness => Kind::Liveness,
        },
        at: violation.at,
        text: violation.text,
        events: violation.events,
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Processor time of this process so far; asked of the kernel, since madsim replaces the clocks of the C library.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
    Duration::new(seconds, nanos)
}
