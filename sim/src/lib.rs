//! Deterministic simulation: the chain on a simulated network, storage and clock, with faults.
//!
//! madsim gives the executor, nodes, the clock and randomness; one process runs one seed. In reading order:
//!
//! - [`time`]: sleeping in virtual time
//! - [`network`]: byte streams with delays, cuts, windows and resets
//! - [`platform`]: the doors of [`triune_env::Env`] as a simulated node has them
//! - [`world`]: nodes that start, crash, pause and end
//! - [`server`]: an API server as a node
//! - [`storage`]: what keeps the rows; [`observe`]: its commits, as events of the history
//! - [`faults`]: what goes wrong; [`plan`]: all that a seed draws; [`run`](mod@run): one run of a plan
//! - [`probes`]: rare lines of the code that runs reached
//! - [`scenarios`]: the above, as the explorer calls it
//!
//! Nothing here is linked into the daemon: madsim replaces the clock and the randomness of the process that it runs in.

#[cfg(not(madsim))]
compile_error!(
    "the simulation needs `--cfg madsim`, which .cargo/config.toml sets: build from inside the repository, and without \
     RUSTFLAGS in the environment, which would replace it"
);

pub mod faults;
pub mod network;
pub mod observe;
pub mod plan;
pub mod platform;
pub mod probes;
pub mod run;
pub mod scenarios;
pub mod server;
pub mod storage;
pub mod time;
pub mod world;
