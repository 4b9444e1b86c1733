//! The explorer with this crate's scenarios.

use std::process::ExitCode;

fn main() -> ExitCode {
    triune_explorer::main(&triune_sim::scenarios::SimScenarios)
}
