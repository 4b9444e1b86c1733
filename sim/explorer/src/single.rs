//! One seed in this process: runs it, says what came of it, writes the log of a failure.
//!
//! Keeps: a failure is printed with everything that is needed to see it again; a panic of the simulation is a result.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use triune_history::Event;

use crate::{
    child::{self, Job},
    class::Class,
    excerpt::excerpt,
    line::line,
    log::{self, Header, hash_text},
    run::{Finding, RunOptions, RunResult, Scenarios},
};

/// Findings whose events are printed; the others are counted.
const FINDINGS_SHOWN_MAX: usize = 3;

/// Findings that a summary tells; of those beyond, the first of each invariant.
const FINDINGS_TOLD_MAX: usize = 20;

/// What is run.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which scenario.
    pub scenario: String,
    /// Which seed.
    pub seed: u64,
    /// The seed's own plan, or a smaller one.
    pub plan: Value,
    /// Whether `plan` is not the seed's own, and where it is written.
    pub plan_file: Option<PathBuf>,
    /// What is recorded.
    pub options: RunOptions,
}

/// What one process tells another, and people, of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Which scenario.
    pub scenario: String,
    /// Which seed.
    pub seed: u64,
    /// How it ended.
    pub class: Class,
    /// Hash of the events, in hexadecimal; empty without an answer.
    pub hash: String,
    /// Simulated time in milliseconds.
    pub simulated_ms: u64,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Number of events.
    pub events: usize,
    /// Broken invariants; of very many, some of each.
    pub findings: Vec<Finding>,
    /// How often each rare line was reached.
    pub probes: BTreeMap<String, u64>,
    /// Other figures.
    pub statistics: BTreeMap<String, u64>,
    /// Where the event log is, if one was written.
    pub log: Option<PathBuf>,
    /// A failure in words, with its excerpt and its replay command; empty if it passed.
    pub text: String,
}

/// Runs in this process. Every panic counts, also one that the simulated code catches and lives on after: it becomes
/// [`RunResult::panicked`], with the place that it came from.
pub fn execute(scenarios: &dyn Scenarios, request: &Request) -> RunResult {
    static FIRST_PANIC: Mutex<Option<String>> = Mutex::new(None);
    let first = || FIRST_PANIC.lock().unwrap_or_else(PoisonError::into_inner);
    *first() = None;
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        first().get_or_insert_with(|| info.to_string());
        default_hook(info);
    }));
    let run = || scenarios.run(&request.scenario, request.seed, &request.plan, &request.options);
    let result = catch_unwind(AssertUnwindSafe(run));
    drop(std::panic::take_hook());
    let first = first().take();
    match result {
        Ok(result) => RunResult { panicked: first.or(result.panicked), ..result },
        Err(_) => {
            RunResult { panicked: Some(first.unwrap_or_else(|| "without a message".into())), ..RunResult::default() }
        }
    }
}

/// Where the files of a run go.
pub struct Files<'a> {
    /// `--log`: always written.
    pub log: Option<&'a Path>,
    /// `--trace`: every event as a readable line.
    pub trace: Option<&'a Path>,
    /// Folder of the logs of failures.
    pub failures: &'a Path,
}

/// Runs, writes the files, and sums up. With `twice`, a second process runs it too and must see the same.
pub fn run(
    scenarios: &dyn Scenarios,
    request: &Request,
    files: &Files<'_>,
    twice: Option<&child::Bounds>,
) -> Result<(Summary, RunResult), String> {
    let result = execute(scenarios, request);
    if let Some(path) = files.trace {
        write_trace(path, &result.events)?;
    }
    let difference = match twice {
        Some(bounds) => second_run_differs(request, &result, files.failures, bounds)?,
        None => None,
    };
    let class = match (Class::of(&result), &difference) {
        (Class::Passed | Class::Liveness, Some(_)) => Class::Nondeterminism,
        (class, _) => class,
    };
    let log = match files.log {
        Some(path) => Some(path.to_owned()),
        None if class == Class::Passed => None,
        None => Some(files.failures.join(format!("{}-{}.jsonl", request.scenario, request.seed))),
    };
    if let Some(path) = &log {
        let header = Header::new(&request.scenario, request.seed, &request.plan, request.options, &result);
        log::write(path, &header, &result.events)?;
    }
    let mut text = String::new();
    if class != Class::Passed {
        text = describe(request, class, &result);
        if let Some(difference) = difference {
            text.push_str(&difference);
        }
        text.push_str(&how_to_see_it_again(request, log.as_deref(), class == Class::Nondeterminism));
    }
    Ok((sum_up(request, class, &result, log, text), result))
}

fn sum_up(request: &Request, class: Class, result: &RunResult, log: Option<PathBuf>, text: String) -> Summary {
    let mut seen = BTreeSet::new();
    let told = |(index, finding): &(usize, &Finding)| {
        let first = seen.insert(finding.invariant.clone());
        first || *index < FINDINGS_TOLD_MAX
    };
    let findings = result.findings.iter().enumerate().filter(told).map(|(_, finding)| finding.clone()).collect();
    let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Summary {
        scenario: request.scenario.clone(),
        seed: request.seed,
        class,
        hash: hash_text(result.hash),
        simulated_ms: milliseconds(result.simulated),
        cpu_ms: milliseconds(result.cpu),
        events: result.events.len(),
        findings,
        probes: result.probes.clone(),
        statistics: result.statistics.clone(),
        log,
        text,
    }
}

fn write_trace(path: &Path, events: &[Event]) -> Result<(), String> {
    let text: String = events.iter().map(|event| line(event) + "\n").collect();
    std::fs::write(path, text).map_err(|error| format!("cannot write the trace {}: {error}", path.display()))
}

/// A failure in words: class, invariants, and the events that show them.
pub fn describe(request: &Request, class: Class, result: &RunResult) -> String {
    let mut text = format!("seed {} of scenario {} {}", request.seed, request.scenario, class.as_str());
    if let Some(message) = &result.panicked {
        text.push_str(&format!("\n  panic: {}", message.replace('\n', "\n  ")));
    }
    for finding in result.findings.iter().take(FINDINGS_SHOWN_MAX) {
        text.push_str(&format!("\n{} at {} of simulated time: {}", finding.invariant, finding.at, finding.text));
        for line in excerpt(&result.events, finding) {
            text.push_str("\n  ");
            text.push_str(&line);
        }
    }
    if let Some(more) = result.findings.len().checked_sub(FINDINGS_SHOWN_MAX).filter(|more| *more > 0) {
        let mut others: Vec<&str> =
            result.findings.iter().skip(FINDINGS_SHOWN_MAX).map(|finding| finding.invariant.as_str()).collect();
        others.dedup();
        text.push_str(&format!("\nand {more} more: {}", others.join(" ")));
    }
    text.push('\n');
    text
}

/// The commands that show a failure again.
fn how_to_see_it_again(request: &Request, log: Option<&Path>, twice: bool) -> String {
    let program = child::program_name();
    let mut text = String::new();
    if let Some(log) = log {
        text.push_str(&format!("log:    {}\nreplay: {program} replay {}\n", log.display(), log.display()));
    }
    let plan = request.plan_file.as_ref().map(|path| format!(" --plan {}", path.display())).unwrap_or_default();
    let twice = if twice { " --twice" } else { "" };
    let messages = if request.options.record_messages { " --messages" } else { "" };
    let Request { scenario, seed, .. } = request;
    text.push_str(&format!("or:     {program} run --scenario {scenario} --seed {seed}{plan}{messages}{twice}\n"));
    text
}

/// Runs it in another process; Some says where the two runs part.
fn second_run_differs(
    request: &Request,
    first: &RunResult,
    failures: &Path,
    bounds: &child::Bounds,
) -> Result<Option<String>, String> {
    let scratch = child::Scratch::new(&format!("second-{}", request.seed))?;
    let plan = scratch.write("plan.json", &request.plan.to_string())?;
    let log = scratch.path("log.jsonl");
    let job = Job {
        scenario: request.scenario.clone(),
        seed: request.seed,
        plan: Some(plan),
        log: Some(log.clone()),
        options: request.options,
        twice: false,
        failures: failures.to_owned(),
    };
    let second = child::run(&child::this_program()?, &job, bounds);
    if second.hash == hash_text(first.hash) {
        return Ok(None);
    }
    if second.hash.is_empty() {
        return Ok(Some(format!("the second run, in another process, gave no answer:\n{}", second.text)));
    }
    let (_, events) = log::read(&log)?;
    let parting = parting(&first.events, &events);
    Ok(Some(format!("hashes {} and {} of two runs differ.\n{parting}", hash_text(first.hash), second.hash)))
}

/// Where two histories part, in words.
pub fn parting(first: &[Event], second: &[Event]) -> String {
    let index = first.iter().zip(second).take_while(|(one, other)| one == other).count();
    let side = |events: &[Event]| events.get(index).map_or_else(|| "(no more events)".into(), line);
    if index == first.len() && index == second.len() {
        return "their events are equal: the hash covers something else\n".into();
    }
    let before = index.checked_sub(1).map(|last| format!("  both:   {}\n", line(&first[last]))).unwrap_or_default();
    format!("they part at event {index}:\n{before}  first:  {}\n  second: {}\n", side(first), side(second))
}

#[cfg(test)]
mod tests {
    use triune_history::{At, Body};

    use super::*;

    #[test]
    fn the_parting_is_found() {
        let events = |texts: &str| -> Vec<Event> {
            let event = |text: &str| Event { at: At(0), node: "n".into(), body: Body::Note(text.into()) };
            texts.split_whitespace().map(event).collect()
        };
        let check = |first: &str, second: &str, expect: &[&str]| {
            let text = parting(&events(first), &events(second));
            for part in expect {
                assert!(text.contains(part), "{text}");
            }
        };
        check("a b c", "a x c", &["event 1", "note: a", "note: b", "note: x"]);
        check("a", "a b", &["event 1", "(no more events)", "note: b"]);
        check("a", "a", &["equal"]);
        check("a", "", &["event 0"]);
    }
}
