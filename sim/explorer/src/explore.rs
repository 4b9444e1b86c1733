//! Many seeds, a process for each, as many at once as asked.
//!
//! Keeps: failures are printed as they come; the exit code is that of the failure with the lowest seed, whatever order
//! the processes end in; after the time budget no seed is begun, and those that were are waited for.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    child::{self, Bounds, Job},
    class::Class,
    probes::ProbeTable,
    progress::Progress,
    single::Summary,
};

/// What is explored.
pub struct Exploration<'a> {
    /// The program whose children run.
    pub program: &'a Path,
    /// Seeds, with the scenario and what else each runs with.
    pub jobs: Vec<Job>,
    /// Processes at once.
    pub parallel: usize,
    /// Real time after which no seed is begun.
    pub time_budget: Option<Duration>,
    /// How long one may take.
    pub bounds: Bounds,
    /// Whether a failure ends it: seeds above the failing one are not begun.
    pub until_failure: bool,
}

impl Exploration<'_> {
    /// Runs all; `seen` is called in the order in which they end.
    pub fn run(&self, seen: &mut dyn FnMut(&Summary)) {
        let begin = Instant::now();
        let next = Mutex::new(self.jobs.iter());
        let failed = AtomicBool::new(false);
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..self.parallel.max(1) {
                let sender = sender.clone();
                let (next, failed) = (&next, &failed);
                scope.spawn(move || {
                    loop {
                        let over = self.time_budget.is_some_and(|budget| begin.elapsed() >= budget);
                        if over || (self.until_failure && failed.load(Ordering::Relaxed)) {
                            return;
                        }
                        let Some(job) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
                        let summary = child::run(self.program, job, &self.bounds);
                        if summary.class != Class::Passed {
                            failed.store(true, Ordering::Relaxed);
                        }
                        if sender.send(summary).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for summary in receiver {
                seen(&summary);
            }
        });
    }
}

/// The jobs of a range of seeds: of one scenario, or of all in turn.
pub fn jobs(seeds: Range<u64>, scenarios: &[String], like: &Job) -> Vec<Job> {
    seeds.map(|seed| Job { seed, scenario: turn(scenarios, seed).to_owned(), ..like.clone() }).collect()
}

/// The scenario whose turn a seed is.
pub fn turn(scenarios: &[String], seed: u64) -> &str {
    let count = scenarios.len().max(1) as u64;
    scenarios.get((seed % count) as usize).map_or("", String::as_str)
}

/// What came of an exploration.
#[derive(Debug, Default)]
pub struct Tally {
    passed: u64,
    /// Failures by seed.
    failed: BTreeMap<u64, Class>,
    simulated: Duration,
    probes: ProbeTable,
}

impl Tally {
    /// Counts a run.
    pub fn add(&mut self, summary: &Summary) {
        match summary.class {
            Class::Passed => self.passed += 1,
            class => {
                self.failed.insert(summary.seed, class);
            }
        }
        self.simulated += Duration::from_millis(summary.simulated_ms);
        self.probes.add(&summary.probes);
    }

    /// Of the failure with the lowest seed.
    pub fn class(&self) -> Class {
        self.failed.values().next().copied().unwrap_or(Class::Passed)
    }

    fn finished(&self) -> u64 {
        self.passed + self.failed.len() as u64
    }
}

/// The command: explores with a bar, prints failures, probes and figures.
pub fn command(exploration: &Exploration<'_>, probes: &[&str]) -> Class {
    let total = exploration.jobs.len() as u64;
    let cpu_before = cpu_of_children();
    let begin = Instant::now();
    let mut tally = Tally::default();
    let progress = Progress::new(total);
    exploration.run(&mut |summary| {
        tally.add(summary);
        if summary.class != Class::Passed {
            progress.clear();
            println!("{}", summary.text);
        }
        progress.show(tally.finished(), tally.failed.len() as u64);
    });
    progress.clear();
    print!("{}", tally.probes.text(probes));
    if tally.finished() < total {
        println!("time budget: {} of {total} seeds were run", tally.finished());
    }
    let cpu = cpu_of_children().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    println!("{}", figures(&tally, cpu, begin.elapsed()));
    println!("{} passed, {} failed", tally.passed, tally.failed.len());
    tally.class()
}

fn figures(tally: &Tally, cpu: Option<Duration>, real: Duration) -> String {
    let seeds = tally.finished();
    let mut text = format!("{seeds} seeds in {:.1} s", real.as_secs_f64());
    let simulated = tally.simulated.as_secs_f64();
    if seeds > 0 {
        text.push_str(&format!(", {:.1} simulated seconds each", simulated / seeds as f64));
    }
    // Processor time counts in hundredths of a second.
    if let Some(cpu) = cpu.filter(|cpu| *cpu >= Duration::from_millis(10)) {
        let minutes = cpu.as_secs_f64() / 60.0;
        text.push_str(&format!(
            "; {:.0} seeds per core-minute, {:.0} per core-minute of 60 simulated seconds each",
            seeds as f64 / minutes,
            simulated / 60.0 / minutes
        ));
    }
    text
}

/// Processor time of all children that have ended, in hundredths of a second; Linux only.
fn cpu_of_children() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold spaces; after it the first field is number 3.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks(16)? + ticks(17)?) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_take_turns() {
        let names: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let turns: Vec<&str> = (0..5).map(|seed| turn(&names, seed)).collect();
        assert_eq!(turns, ["a", "b", "c", "a", "b"]);
        assert_eq!(turn(&names[..1], 7), "a");
    }

    #[test]
    fn the_lowest_failing_seed_gives_the_exit_code() {
        let summary = |seed, class| Summary {
            scenario: String::new(),
            seed,
            class,
            hash: String::new(),
            simulated_ms: 0,
            cpu_ms: 0,
            events: 0,
            findings: vec![],
            probes: BTreeMap::new(),
            statistics: BTreeMap::new(),
            log: None,
            text: String::new(),
        };
        let mut tally = Tally::default();
        assert_eq!(tally.class(), Class::Passed);
        for (seed, class) in [(9, Class::Panic), (3, Class::Liveness), (1, Class::Passed), (4, Class::Safety)] {
            tally.add(&summary(seed, class));
        }
        assert_eq!((tally.class(), tally.passed, tally.failed.len()), (Class::Liveness, 1, 3));
    }
}
