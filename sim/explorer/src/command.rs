//! The arguments, and which of the commands they ask for.
//!
//! Exit codes: 0 all is well, 1 the command could not do what was asked (or a planted bug surprised), 2 the arguments are
//! wrong, and those of [`Class`].

use std::{
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::{
    child::{self, Bounds, Job},
    class::Class,
    explore::{self, Exploration},
    log, mutants, replay, report,
    run::{RunOptions, RunResult, Scenarios},
    shrink::{self, Failure, Limits},
    single::{self, Files, Request, Summary},
};

/// Deterministic simulation: every run is a scenario and a seed, and the same two give the same run.
#[derive(Debug, Parser)]
#[command(name = "triune-sim", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 ok, 1 cannot, 2 wrong arguments, 10 a safety invariant was broken, 11 a liveness \
                        invariant was broken, 12 two runs of a seed differ, 13 a panic (or the process died or hung)"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one seed in this process
    Run(RunArguments),
    /// Runs many seeds, each in a process of its own
    Explore(ExploreArguments),
    /// Runs what an event log describes again, and compares
    Replay {
        /// An event log
        file: PathBuf,
    },
    /// Makes a failure smaller: looks for a smaller plan that breaks the same invariant
    Shrink {
        /// The event log of a failure
        file: PathBuf,
        #[command(flatten)]
        shrinking: ShrinkArguments,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Draws an event log as one HTML page
    Report {
        /// An event log
        file: PathBuf,
        /// The page; beside the log if it is not given
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Lists the scenarios
    List,
    /// Plants known bugs, one at a time, in a copy of the sources, and counts the seeds until each is found
    Mutants(MutantsArguments),
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Everything random comes from this
    #[arg(long)]
    seed: u64,
    /// Scenario; if it is not given, the one whose turn the seed is
    #[arg(long)]
    scenario: Option<String>,
    /// Runs the plan in this file (JSON) in place of the seed's own
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Writes the event log here, failure or not
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Writes every event as a readable line here, with messages and notes
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Records messages on the network too: for reports
    #[arg(long)]
    messages: bool,
    /// Records notes of what the code does too
    #[arg(long)]
    notes: bool,
    /// Prints what came of it as one line of JSON
    #[arg(long)]
    json: bool,
    /// Runs it in a second process too, and compares the hashes
    #[arg(long)]
    twice: bool,
    /// Makes a failure smaller
    #[arg(long)]
    shrink: bool,
    #[command(flatten)]
    shrinking: ShrinkArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
struct ShrinkArguments {
    /// Smaller plans that are tried at most
    #[arg(long, default_value_t = 500, value_name = "N")]
    tries: usize,
    /// Seconds that shrinking may take
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    shrink_time: u64,
}

#[derive(Debug, Args)]
struct PlaceArguments {
    /// Folder of the event logs of failures
    #[arg(long, default_value = "sim-failures", value_name = "FOLDER")]
    failures: PathBuf,
    /// Seconds of real time after which a run counts as hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    hang_after: u64,
}

#[derive(Debug, Args)]
struct ExploreArguments {
    /// Seeds from A up to, not including, B
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Range<u64>,
    /// Scenario; if it is not given, all of them in turn
    #[arg(long)]
    scenario: Option<String>,
    /// Processes at once; as many as there are cores if it is not given
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Seconds after which no seed is begun
    #[arg(long, value_name = "SECONDS")]
    time_budget: Option<u64>,
    /// Runs each seed in two processes, and compares the hashes
    #[arg(long)]
    twice: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
struct MutantsArguments {
    /// Only the mutants whose file name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Seeds that are tried for each
    #[arg(long, default_value_t = 200, value_name = "N")]
    seeds: u64,
    /// Only looks whether the patches apply: takes a second, where trying them takes minutes
    #[arg(long)]
    check: bool,
    /// Processes at once; as many as there are cores if it is not given
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Root of the sources; looked for from here upwards if it is not given
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Runs the command line over a set of scenarios.
pub fn main(scenarios: &dyn Scenarios) -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run(scenarios, &arguments).map(Class::exit_code),
        Command::Explore(arguments) => explore(scenarios, arguments).map(Class::exit_code),
        Command::Replay { file } => replay::command(scenarios, &file).map(Class::exit_code),
        Command::Shrink { file, shrinking, place } => shrink_log(scenarios, &file, &shrinking, &place),
        Command::Report { file, output } => report::command(&file, output.as_deref()).map(|()| 0),
        Command::List => {
            list(scenarios);
            Ok(0)
        }
        Command::Mutants(arguments) => plant(scenarios, arguments),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("triune-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(scenarios: &dyn Scenarios, arguments: &RunArguments) -> Result<Class, String> {
    let names = names(scenarios, arguments.scenario.as_deref())?;
    let scenario = explore::turn(&names, arguments.seed).to_owned();
    let plan = match &arguments.plan {
        Some(path) => read_plan(path)?,
        None => scenarios.plan(&scenario, arguments.seed)?,
    };
    let tracing = arguments.trace.is_some();
    let options = RunOptions { record_messages: arguments.messages || tracing, trace: arguments.notes || tracing };
    let request = Request { scenario, seed: arguments.seed, plan, plan_file: arguments.plan.clone(), options };
    let place = &arguments.place;
    let files = Files { log: arguments.log.as_deref(), trace: arguments.trace.as_deref(), failures: &place.failures };
    let bounds = place.bounds();
    let (summary, result) = single::run(scenarios, &request, &files, arguments.twice.then_some(&bounds))?;
    if arguments.json {
        println!("{}", serde_json::to_string(&summary).map_err(|error| error.to_string())?);
    } else {
        print_summary(&summary);
    }
    if arguments.shrink && !matches!(summary.class, Class::Passed | Class::Nondeterminism) {
        shrink::command(
            scenarios,
            &failure(&request, &summary, &result),
            arguments.shrinking.limits(),
            &bounds,
            &place.failures,
        )?;
    }
    Ok(summary.class)
}

fn print_summary(summary: &Summary) {
    print!("{}", summary.text);
    if summary.class == Class::Passed {
        println!("seed {} of scenario {} passed", summary.seed, summary.scenario);
    }
    println!(
        "hash {}, {} events, {:.3} simulated seconds, {:.3} s of processor time",
        summary.hash,
        summary.events,
        summary.simulated_ms as f64 / 1000.0,
        summary.cpu_ms as f64 / 1000.0
    );
    let figures: Vec<String> = summary.statistics.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if !figures.is_empty() {
        println!("{}", figures.join(", "));
    }
}

fn failure<'a>(request: &'a Request, summary: &Summary, result: &'a RunResult) -> Failure<'a> {
    Failure {
        scenario: &request.scenario,
        seed: request.seed,
        plan: &request.plan,
        options: request.options,
        class: summary.class,
        invariant: result.findings.first().map(|finding| finding.invariant.as_str()),
        events: summary.events,
    }
}

fn explore(scenarios: &dyn Scenarios, arguments: ExploreArguments) -> Result<Class, String> {
    let names = names(scenarios, arguments.scenario.as_deref())?;
    let place = &arguments.place;
    let like = Job { twice: arguments.twice, ..place.job() };
    let exploration = Exploration {
        program: &child::this_program()?,
        jobs: explore::jobs(arguments.seeds, &names, &like),
        parallel: arguments.jobs.unwrap_or_else(cores),
        time_budget: arguments.time_budget.map(Duration::from_secs),
        bounds: place.bounds(),
        until_failure: false,
    };
    Ok(explore::command(&exploration, scenarios.probes()))
}

fn shrink_log(
    scenarios: &dyn Scenarios,
    file: &Path,
    shrinking: &ShrinkArguments,
    place: &PlaceArguments,
) -> Result<u8, String> {
    let (header, events) = log::read(file)?;
    let failure = Failure {
        scenario: &header.scenario,
        seed: header.seed,
        plan: &header.plan,
        options: header.options,
        class: header.class,
        invariant: header.findings.first().map(|finding| finding.invariant.as_str()),
        events: events.len(),
    };
    shrink::command(scenarios, &failure, shrinking.limits(), &place.bounds(), &place.failures)?;
    Ok(header.class.exit_code())
}

fn list(scenarios: &dyn Scenarios) {
    let scenarios = scenarios.list();
    let width = scenarios.iter().map(|scenario| scenario.name.len()).max().unwrap_or_default();
    for scenario in scenarios {
        println!("{:<width$}  {}", scenario.name, scenario.about);
    }
}

fn plant(scenarios: &dyn Scenarios, arguments: MutantsArguments) -> Result<u8, String> {
    let names = names(scenarios, None)?;
    let options = mutants::Options {
        root: arguments.root,
        only: arguments.only,
        seeds: arguments.seeds,
        check: arguments.check,
        parallel: arguments.jobs.unwrap_or_else(cores),
        bounds: arguments.place.bounds(),
    };
    let surprises = mutants::command(&options, &names)?;
    Ok(u8::from(surprises > 0))
}

/// The named scenario, or all.
fn names(scenarios: &dyn Scenarios, wanted: Option<&str>) -> Result<Vec<String>, String> {
    let all: Vec<String> = scenarios.list().into_iter().map(|scenario| scenario.name).collect();
    match wanted {
        None if all.is_empty() => Err("there are no scenarios".into()),
        None => Ok(all),
        Some(name) if all.iter().any(|other| other == name) => Ok(vec![name.to_owned()]),
        Some(name) => Err(format!("there is no scenario {name:?}; there are: {}", all.join(", "))),
    }
}

fn read_plan(path: &Path) -> Result<Value, String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("{} is no plan: {error}; the `plan` in the header of an event log is one", path.display())
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    match range {
        Some(range) if range.start < range.end => Ok(range),
        Some(_) => Err("holds no seed: A..B takes A up to, not including, B".into()),
        None => Err("is no range of seeds: give A..B, such as 0..1000".into()),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl ShrinkArguments {
    fn limits(&self) -> Limits {
        Limits { tries: self.tries, time: Duration::from_secs(self.shrink_time) }
    }
}

impl PlaceArguments {
    fn bounds(&self) -> Bounds {
        Bounds { hang_after: Duration::from_secs(self.hang_after) }
    }

    fn job(&self) -> Job {
        Job {
            scenario: String::new(),
            seed: 0,
            plan: None,
            log: None,
            options: RunOptions::default(),
            twice: false,
            failures: self.failures.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn ranges_of_seeds() {
        let check = |text: &str, expect: Result<Range<u64>, &str>| match (parse_seeds(text), expect) {
            (Ok(range), Ok(expect)) => assert_eq!(range, expect),
            (Err(error), Err(expect)) => assert!(error.contains(expect), "{error}"),
            (got, expect) => panic!("{text}: {got:?}, expected {expect:?}"),
        };
        check("0..1000", Ok(0..1000));
        check("7..8", Ok(7..8));
        check("8..8", Err("holds no seed"));
        check("9..8", Err("holds no seed"));
        for text in ["", "5", "..", "5..", "..5", "a..b", "0..=5", "-1..5"] {
            check(text, Err("such as 0..1000"));
        }
    }
}
