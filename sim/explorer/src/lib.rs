//! The simulation's command line, for any set of scenarios: whoever has some gives them to [`main`].
//!
//! In reading order:
//!
//! - [`run`]: what a scenario is asked and what it answers
//! - [`class`]: how a run ended, and the exit code for it
//! - [`log`]: a run as a file, which is enough to run it again
//! - [`line`](mod@line): an event as one readable line; [`excerpt`]: the few events that explain a finding
//! - [`single`]: one seed in this process; [`child`]: one seed in a process of its own
//! - [`explore`]: many seeds; `progress`: the bar; `probes`: rare lines that were or were not reached
//! - [`replay`], [`mod@shrink`], [`report`]: what can be done with a log
//! - [`mutants`]: planted bugs that must be found, and harmless changes that must not
//! - [`command`]: the arguments
//!
//! Promises: a failure always says how to see it again (seed, scenario, command, log); a seed is a process, so that what
//! one leaves behind never reaches another; whatever loops has a bound.
//!
//! Deliberately absent: madsim, the store, the checkers. A run is a black box that answers events and findings.

pub mod child;
pub mod class;
pub mod command;
pub mod excerpt;
pub mod explore;
pub mod line;
pub mod log;
pub mod mutants;
pub mod replay;
pub mod report;
pub mod run;
pub mod shrink;
pub mod single;

mod probes;
mod progress;

pub use class::Class;
pub use command::main;
pub use run::{Finding, Kind, RunOptions, RunResult, ScenarioInfo, Scenarios};
