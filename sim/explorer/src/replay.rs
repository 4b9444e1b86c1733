//! Runs what a log describes again, and compares.

use std::path::Path;

use crate::{
    class::Class,
    log::{self, hash_text},
    run::Scenarios,
    single::{Request, describe, execute, parting},
};

/// The command: prints the findings again. A different hash is nondeterminism, or another program than the one that
/// wrote the log.
pub fn command(scenarios: &dyn Scenarios, path: &Path) -> Result<Class, String> {
    let (header, events) = log::read(path)?;
    let request = Request {
        scenario: header.scenario,
        seed: header.seed,
        plan: header.plan,
        plan_file: None,
        options: header.options,
    };
    let result = execute(scenarios, &request);
    let class = Class::of(&result);
    print!("{}", describe(&request, class, &result));
    let hash = hash_text(result.hash);
    if hash == header.hash {
        println!("hash {hash}, as in the log");
        return Ok(class);
    }
    println!("hash {hash}, but {} in the log. {}", header.hash, parting(&events, &result.events).trim_end());
    println!(
        "(first: the log, second: now) Either the program has changed since, or the seed runs differently each time:"
    );
    let Request { scenario, seed, .. } = &request;
    println!("{} run --scenario {scenario} --seed {seed} --twice tells which.", crate::child::program_name());
    Ok(Class::Nondeterminism)
}
