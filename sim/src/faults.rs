//! What goes wrong in a run: planned as data, done and undone by the supervisor.
//!
//! Each fault has a time, does something, and undoes it after a while. Faults overlap freely: to crash a node that is
//! down, to resume one that was restarted or to mend a link that was never cut does nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use triune_sim_clients::Random;

use crate::{
    network::Latency,
    platform::WallClock,
    storage::{StorageFault, StorageNode},
    world::{Crash, World},
};

/// A fault, when it begins and how long it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Milliseconds after the start.
    pub at_ms: u64,
    /// Milliseconds until it is undone.
    pub lasts_ms: u64,
    /// What.
    pub fault: Fault,
}

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Fault {
    /// A node is killed, and started again after a while.
    Crash {
        /// Which node.
        node: String,
        /// Process or host.
        crash: Crash,
    },
    /// A server is asked to stop, and started again after a while.
    Stop {
        /// Which server.
        node: String,
    },
    /// A node stands still.
    Pause {
        /// Which node.
        node: String,
    },
    /// Links between two nodes are cut.
    Cut {
        /// One node.
        from: String,
        /// The other.
        to: String,
        /// Also from the other to the one.
        both: bool,
    },
    /// A link gets slow.
    Slow {
        /// Who sends.
        from: String,
        /// Who receives.
        to: String,
        /// How slow.
        latency: Latency,
    },
    /// Segments get lost everywhere.
    Loss {
        /// Of a thousand.
        per_mille: u32,
    },
    /// A node's wall clock is wrong.
    Clock {
        /// Which node.
        node: String,
        /// How wrong.
        clock: WallClock,
    },
    /// The storage fails in a way of its own, more often than usual or once.
    Storage {
        /// How.
        fault: StorageFault,
    },
}

/// Kinds of faults that a run draws from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Crash of a server.
    CrashServer,
    /// Crash of the storage.
    CrashStorage,
    /// SIGTERM of a server.
    Stop,
    /// A server stands still.
    PauseServer,
    /// The storage stands still.
    PauseStorage,
    /// A link between a server and the storage is cut.
    CutStorage,
    /// A link between a client and a server is cut.
    CutClient,
    /// A link between a server and the storage is slow.
    Slow,
    /// Segments get lost.
    Loss,
    /// A server's wall clock is wrong.
    Clock,
    /// See [`Fault::Storage`].
    Storage,
}

/// Names of the nodes that faults are drawn for.
pub struct Nodes<'a> {
    /// API servers.
    pub servers: &'a [String],
    /// The storage, if it is a node of its own.
    pub storage: Option<&'a str>,
    /// Clients.
    pub clients: &'a [String],
}

/// Draws faults of `kinds` over `seconds`, about one every `every_ms`; with `long`, pauses and cuts are at
/// least ten seconds long.
pub fn draw(
    random: &mut Random,
    kinds: &[FaultKind],
    nodes: &Nodes<'_>,
    seconds: u64,
    every_ms: u64,
    long: bool,
) -> Vec<PlannedFault> {
    let mut faults = Vec::new();
    let mut at_ms = 1_000 + random.below(every_ms.max(1) * 2);
    while at_ms < seconds * 1_000 {
        if let Some(fault) = random.pick(kinds).copied().and_then(|kind| draw_one(random, kind, nodes)) {
            let lasts_ms = if long { long_ms(random, &fault) } else { lasting_ms(random, &fault) };
            faults.push(PlannedFault { at_ms, lasts_ms, fault });
        }
        at_ms += 1 + random.below(every_ms.max(1) * 2);
    }
    faults
}

/// Mostly short, sometimes long: in 20 of 100 cases up to 20 s, in 2 up to 10 min.
fn lasting_ms(random: &mut Random, fault: &Fault) -> u64 {
    let (usual, long, very_long) = match fault {
        Fault::Stop { .. } => (3_000, 20_000, 30_000),
        Fault::Loss { .. } | Fault::Clock { .. } => (10_000, 60_000, 60_000),
        Fault::Pause { .. } => (2_000, 20_000, 600_000),
        _ => (3_000, 20_000, 90_000),
    };
    match random.below(100) {
        0..2 => random.between((1, very_long)),
        2..22 => random.between((1, long)),
        _ => random.between((1, usual)),
    }
}

/// Pauses and cuts of 10 s to 2 min, in 20 of 100 cases up to 10 min.
fn long_ms(random: &mut Random, fault: &Fault) -> u64 {
    match fault {
        Fault::Pause { .. } | Fault::Cut { .. } => {
            let most = if random.percent(20) { 600_000 } else { 120_000 };
            random.between((10_000, most))
        }
        _ => lasting_ms(random, fault),
    }
}

fn draw_one(random: &mut Random, kind: FaultKind, nodes: &Nodes<'_>) -> Option<Fault> {
    let server = random.pick(nodes.servers)?.clone();
    let storage = nodes.storage.map(str::to_owned);
    let crash = if random.percent(30) { Crash::Host } else { Crash::Process };
    let other = match kind {
        FaultKind::CutClient => random.pick(nodes.clients)?.clone(),
        _ => storage.clone().unwrap_or_default(),
    };
    let (from, to) = if random.percent(50) { (server.clone(), other) } else { (other, server.clone()) };
    Some(match kind {
        FaultKind::CrashServer => Fault::Crash { node: server, crash },
        FaultKind::CrashStorage => Fault::Crash { node: storage?, crash },
        FaultKind::Stop => Fault::Stop { node: server },
        FaultKind::PauseServer => Fault::Pause { node: server },
        FaultKind::PauseStorage => Fault::Pause { node: storage? },
        FaultKind::CutStorage => storage.map(|_| Fault::Cut { from, to, both: random.percent(60) })?,
        FaultKind::CutClient => Fault::Cut { from, to, both: random.percent(60) },
        FaultKind::Slow => storage.map(|_| {
            let least = random.between((1_000, 50_000));
            let latency = Latency {
                typical_us: (least, least * 3),
                tail_per_mille: 50,
                tail_us_max: random.between((1, 3_000_000)),
            };
            Fault::Slow { from, to, latency }
        })?,
        FaultKind::Loss => Fault::Loss { per_mille: random.between((1, 100)) as u32 },
        FaultKind::Clock => {
            let offset_ms = random.between((0, 20_000)) as i64 - 10_000;
            let drift_us_per_second = random.between((0, 2_000)) as i64 - 1_000;
            Fault::Clock { node: server, clock: WallClock { offset_ms, drift_us_per_second } }
        }
        FaultKind::Storage => Fault::Storage { fault: StorageFault::draw(random, nodes.storage.is_some()) },
    })
}

impl Fault {
    /// Does it.
    pub fn begin(&self, world: &World, storage: &StorageNode) {
        world.fault(format!("begin {self}"));
        match self {
            Fault::Crash { node, crash } => {
                world.crash(node, *crash);
                storage.node_crashed(node, *crash);
            }
            Fault::Stop { node } => world.ask_to_stop(node),
            Fault::Pause { node } => world.pause(node),
            Fault::Cut { from, to, both } => {
                world.cut(from, to, true);
                if *both {
                    world.cut(to, from, true);
                }
            }
            Fault::Slow { from, to, latency } => {
                if let (Some(from), Some(to)) = (world.id_of(from), world.id_of(to)) {
                    world.network.set_link_latency(from, to, Some(*latency));
                }
            }
            Fault::Loss { per_mille } => world.network.set_loss(*per_mille),
            Fault::Clock { node, clock } => world.set_wall(node, *clock),
            Fault::Storage { fault } => storage.begin(fault),
        }
    }

    /// Undoes it.
    pub fn end(&self, world: &World, storage: &StorageNode) {
        world.fault(format!("end {self}"));
        match self {
            Fault::Crash { node, .. } | Fault::Stop { node } => {
                if world.is_alive(node) {
                    // Restarted by another fault, or still on its way out: then it is killed, as supervisors do.
                    world.crash(node, Crash::Process);
                }
                storage.node_crashed(node, Crash::Process);
                world.restart(node);
            }
            Fault::Pause { node } => world.resume(node),
            Fault::Cut { from, to, both } => {
                world.cut(from, to, false);
                if *both {
                    world.cut(to, from, false);
                }
            }
            Fault::Slow { from, to, .. } => {
                if let (Some(from), Some(to)) = (world.id_of(from), world.id_of(to)) {
                    world.network.set_link_latency(from, to, None);
                }
            }
            Fault::Loss { .. } => world.network.set_loss(0),
            Fault::Clock { node, .. } => world.set_wall(node, WallClock::default()),
            Fault::Storage { fault } => storage.end(fault),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Crash { node, crash: Crash::Process } => write!(formatter, "crash of {node}"),
            Fault::Crash { node, crash: Crash::Host } => write!(formatter, "crash of the host of {node}"),
            Fault::Stop { node } => write!(formatter, "SIGTERM of {node}"),
            Fault::Pause { node } => write!(formatter, "pause of {node}"),
            Fault::Cut { from, to, both: true } => write!(formatter, "cut between {from} and {to}"),
            Fault::Cut { from, to, both: false } => write!(formatter, "cut from {from} to {to}"),
            Fault::Slow { from, to, latency } => {
                write!(formatter, "{from} to {to} takes {} ms or more", latency.typical_us.0 / 1_000)
            }
            Fault::Loss { per_mille } => write!(formatter, "loss of {per_mille} in a thousand"),
            Fault::Clock { node, clock } => {
                write!(formatter, "clock of {node} off by {} ms", clock.offset_ms)
            }
            Fault::Storage { fault } => write!(formatter, "storage: {fault}"),
        }
    }
}

/// Runs planned faults, each in a task of the supervisor, until the run ends.
pub fn schedule(world: &World, storage: &StorageNode, faults: &[PlannedFault], until: Duration) {
    for planned in faults.iter().cloned() {
        let (world, storage) = (world.clone(), storage.clone());
        madsim::task::spawn(async move {
            world.sleep(Duration::from_millis(planned.at_ms)).await;
            if world.elapsed() >= until {
                return;
            }
            planned.fault.begin(&world, &storage);
            world.sleep(Duration::from_millis(planned.lasts_ms)).await;
            // After the end of the faults everything is healed already.
            if world.elapsed() < until {
                planned.fault.end(&world, &storage);
            }
        });
    }
}
