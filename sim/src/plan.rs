//! What a seed draws: topology, knobs, clients and faults, as data that a replay or a smaller run can edit.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use triune_kube::EVENT_TTL;
use triune_sim_clients::{ClientPlan, Random, Theme};
use triune_store::StoreOptions;

use crate::{
    faults::{self, FaultKind, Nodes, PlannedFault},
    network::Latency,
    storage::StoragePlan,
};

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Time with faults.
    pub seconds: u64,
    /// Time after the faults, in which everything must get well.
    pub settle_seconds: u64,
    /// Number of API servers.
    pub servers: u64,
    /// What keeps the rows.
    pub storage: StoragePlan,
    /// Bounds and intervals of the servers' stores.
    pub knobs: Knobs,
    /// Usual delay of links.
    pub latency: Latency,
    /// Time between SIGTERM and the refusal of requests.
    pub shutdown_delay_ms: u64,
    /// Time that watches get at shutdown.
    pub watch_termination_grace_ms: u64,
    /// Simulated users, each on a node of its own.
    pub clients: Vec<ClientPlan>,
    /// What goes wrong.
    pub faults: Vec<PlannedFault>,
}

/// The part of [`StoreOptions`] that runs vary. All servers of a run have the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knobs {
    /// See [`StoreOptions::rows_per_read`].
    pub rows_per_read: u64,
    /// See [`StoreOptions::inline_body_bytes_max`].
    pub inline_body_bytes_max: u64,
    /// See [`StoreOptions::chunk_bytes_max`].
    pub chunk_bytes_max: u64,
    /// See [`StoreOptions::log_bodies_bytes_max`].
    pub log_bodies_bytes_max: u64,
    /// See [`StoreOptions::rows_per_compaction`].
    pub rows_per_compaction: u64,
    /// See [`StoreOptions::watch_look_max`].
    pub watch_look_max: u64,
    /// See [`StoreOptions::compaction_interval`].
    pub compaction_interval_ms: u64,
    /// See [`StoreOptions::keep_window`].
    pub keep_window_ms: u64,
    /// See [`StoreOptions::window_events_max`].
    pub window_events_max: u64,
    /// See [`StoreOptions::window_bytes_max`].
    pub window_bytes_max: u64,
    /// See [`StoreOptions::snapshot_every_events`].
    pub snapshot_every_events: u64,
    /// See [`StoreOptions::bookmark_interval`].
    pub bookmark_interval_ms: u64,
    /// See [`StoreOptions::busy_poll_interval`]; 0 for none.
    pub busy_poll_interval_ms: u64,
    /// See [`StoreOptions::idle_refresh_interval`].
    pub idle_refresh_interval_ms: u64,
    /// See [`StoreOptions::expiry_interval`].
    pub expiry_interval_ms: u64,
    /// See [`triune_kube::Settings::event_ttl`].
    pub event_ttl_seconds: u64,
}

impl Knobs {
    /// Half of the time each knob is the daemon's, else small, so that boundaries are met.
    fn draw(random: &mut Random) -> Knobs {
        let usual = StoreOptions::default();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let knob = |random: &mut Random, usual: u64, small: (u64, u64)| {
            if random.percent(50) { usual } else { random.between(small) }
        };
        let keep_window_ms = knob(random, millis(usual.keep_window), (12_000, 30_000));
        Knobs {
            rows_per_read: knob(random, usual.rows_per_read as u64, (1, 20)),
            inline_body_bytes_max: knob(random, usual.inline_body_bytes_max as u64, (0, 400)),
            chunk_bytes_max: knob(random, usual.chunk_bytes_max as u64, (64, 300)),
            log_bodies_bytes_max: knob(random, usual.log_bodies_bytes_max as u64, (0, 600)),
            rows_per_compaction: knob(random, usual.rows_per_compaction as u64, (1, 10)),
            watch_look_max: knob(random, usual.watch_look_max as u64, (1, 10)),
            compaction_interval_ms: random.between((2_000, 20_000)),
            keep_window_ms,
            window_events_max: knob(random, usual.window_events_max as u64, (1, 50)),
            window_bytes_max: knob(random, usual.window_bytes_max as u64, (500, 20_000)),
            snapshot_every_events: knob(random, usual.snapshot_every_events, (1, 20)),
            bookmark_interval_ms: knob(random, millis(usual.bookmark_interval), (500, 5_000)),
            busy_poll_interval_ms: knob(random, 0, (5, 50)),
            idle_refresh_interval_ms: knob(random, 5_000, (1_000, 20_000)),
            expiry_interval_ms: knob(random, millis(usual.expiry_interval), (500, 5_000)),
            event_ttl_seconds: knob(random, EVENT_TTL.as_secs(), (1, 20)),
        }
    }

    /// Options of a store.
    pub fn options(&self) -> StoreOptions {
        let usual = StoreOptions::default();
        let keep_window = Duration::from_millis(self.keep_window_ms);
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        StoreOptions {
            rows_per_read: size(self.rows_per_read).max(1),
            inline_body_bytes_max: size(self.inline_body_bytes_max),
            chunk_bytes_max: size(self.chunk_bytes_max),
            log_bodies_bytes_max: size(self.log_bodies_bytes_max),
            rows_per_compaction: size(self.rows_per_compaction).max(1),
            watch_look_max: size(self.watch_look_max).max(1),
            compaction_interval: Duration::from_millis(self.compaction_interval_ms),
            keep_window,
            window_events_max: size(self.window_events_max).max(1),
            window_bytes_max: size(self.window_bytes_max),
            snapshot_every_events: self.snapshot_every_events.max(1),
            bookmark_interval: Duration::from_millis(self.bookmark_interval_ms),
            busy_poll_interval: (self.busy_poll_interval_ms > 0)
                .then(|| Duration::from_millis(self.busy_poll_interval_ms)),
            idle_refresh_interval: Duration::from_millis(self.idle_refresh_interval_ms),
            expiry_interval: Duration::from_millis(self.expiry_interval_ms),
            // An outcome is looked for in the log, which must still be there.
            unknown_deadline: usual.unknown_deadline.min(keep_window / 2),
            ..usual
        }
    }
}

/// What runs of a scenario have in common.
pub struct Scenario {
    /// What `--scenario` takes.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// Kinds of faults to draw from; each run takes a part of them.
    faults: &'static [FaultKind],
    /// About one fault in so many milliseconds.
    fault_every_ms: (u64, u64),
    /// Least and largest number of servers.
    servers: (u64, u64),
    /// Least and largest number of clients.
    clients: (u64, u64),
    /// Whether the rows are on a disk of the one server's own.
    own_disk: bool,
    /// Least and largest number of seconds with faults.
    seconds: (u64, u64),
    /// Whether pauses and cuts last long and changes are kept for a short time, so that who comes back is too late.
    long_pauses: bool,
}

/// Faults of servers and links.
const SERVER_FAULTS: &[FaultKind] = &[
    FaultKind::CrashServer,
    FaultKind::Stop,
    FaultKind::PauseServer,
    FaultKind::CutStorage,
    FaultKind::CutClient,
    FaultKind::Slow,
    FaultKind::Loss,
    FaultKind::Clock,
];

/// Those, and faults of the storage.
const ALL_FAULTS: &[FaultKind] = &[
    FaultKind::CrashServer,
    FaultKind::CrashStorage,
    FaultKind::Stop,
    FaultKind::PauseServer,
    FaultKind::PauseStorage,
    FaultKind::CutStorage,
    FaultKind::CutClient,
    FaultKind::Slow,
    FaultKind::Loss,
    FaultKind::Clock,
    FaultKind::Storage,
];

/// Faults of a server with a disk of its own.
const DISK_FAULTS: &[FaultKind] = &[
    FaultKind::CrashServer,
    FaultKind::Stop,
    FaultKind::PauseServer,
    FaultKind::CutClient,
    FaultKind::Loss,
    FaultKind::Clock,
    FaultKind::Storage,
];

/// What lasts.
const PAUSES: &[FaultKind] =
    &[FaultKind::PauseServer, FaultKind::PauseStorage, FaultKind::CutStorage, FaultKind::CutClient, FaultKind::Stop];

/// All scenarios, in the order in which seeds take turns.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "store",
        about: "writers, lists, watches and informers on 1 to 5 servers over one FoundationDB; everything fails",
        faults: ALL_FAULTS,
        fault_every_ms: (1_500, 8_000),
        servers: (1, 5),
        clients: (2, 4),
        own_disk: false,
        seconds: (60, 60),
        long_pauses: false,
    },
    Scenario {
        name: "restarts",
        about: "servers that are stopped, crashed and started all the time, with many informers",
        faults: &[FaultKind::CrashServer, FaultKind::Stop],
        fault_every_ms: (700, 3_000),
        servers: (2, 3),
        clients: (3, 5),
        own_disk: false,
        seconds: (60, 60),
        long_pauses: false,
    },
    Scenario {
        name: "servers",
        about: "servers and links fail, the storage does not",
        faults: SERVER_FAULTS,
        fault_every_ms: (1_500, 6_000),
        servers: (2, 4),
        clients: (2, 4),
        own_disk: false,
        seconds: (60, 60),
        long_pauses: false,
    },
    Scenario {
        name: "calm",
        about: "nothing fails: whatever is refused here is refused for no reason",
        faults: &[],
        fault_every_ms: (1_000, 1_000),
        servers: (1, 3),
        clients: (2, 4),
        own_disk: false,
        seconds: (60, 60),
        long_pauses: false,
    },
    Scenario {
        name: "disk",
        about: "one server with its rows on a disk of its own: power cuts, failed and slow fsyncs, no room, read errors",
        faults: DISK_FAULTS,
        fault_every_ms: (1_500, 6_000),
        servers: (1, 1),
        clients: (2, 4),
        own_disk: true,
        seconds: (60, 60),
        long_pauses: false,
    },
    Scenario {
        name: "pauses",
        about: "servers and links stand still for 10 s to 10 min, while what happens meanwhile is compacted away",
        faults: PAUSES,
        fault_every_ms: (20_000, 90_000),
        servers: (2, 3),
        clients: (2, 4),
        own_disk: false,
        seconds: (200, 900),
        long_pauses: true,
    },
];

/// The scenario of a name.
pub fn scenario(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// Name of the storage's node.
pub const STORAGE: &str = "store";

/// Name of a server, counted from 1.
pub fn server_name(number: u64) -> String {
    format!("api-{number}")
}

/// Name of a client, counted from 1.
pub fn client_name(number: u64) -> String {
    format!("client-{number}")
}

impl Plan {
    /// What a seed draws for a scenario.
    pub fn draw(scenario: &Scenario, seed: u64) -> Plan {
        let mut random = Random::of(seed, 0x706c_616e);
        let random = &mut random;
        let seconds = random.between(scenario.seconds);
        let servers = random.between(scenario.servers);
        let theme = Theme::draw(random, seconds * 1_000);
        let count = usize::try_from(random.between(scenario.clients)).unwrap_or(usize::MAX);
        let clients = ClientPlan::draw_all(random.u64(), &theme, count);
        let server_names: Vec<String> = (1..=servers).map(server_name).collect();
        let client_names: Vec<String> = (1..=clients.len() as u64).map(client_name).collect();
        let storage = (!scenario.own_disk).then_some(STORAGE);
        let nodes = Nodes { servers: &server_names, storage, clients: &client_names };
        let kinds = if scenario.faults.is_empty() { Vec::new() } else { random.subset(scenario.faults, 45) };
        let every_ms = random.between(scenario.fault_every_ms);
        let faults = faults::draw(random, &kinds, &nodes, seconds, every_ms, scenario.long_pauses);
        let storage_fails = kinds.contains(&FaultKind::Storage);
        let mut knobs = Knobs::draw(random);
        if scenario.long_pauses {
            knobs.keep_window_ms = random.between((12_000, 60_000));
        }
        let least_us = random.between((20, 500));
        Plan {
            seconds,
            settle_seconds: 90,
            servers,
            storage: if scenario.own_disk {
                StoragePlan::draw_disk(random, storage_fails)
            } else {
                StoragePlan::draw_shared(random, storage_fails)
            },
            knobs,
            latency: Latency {
                typical_us: (least_us, least_us * random.between((2, 6))),
                tail_per_mille: random.between((0, 10)) as u32,
                tail_us_max: random.between((1_000, 100_000)),
            },
            shutdown_delay_ms: if random.percent(50) { 0 } else { random.between((1, 3_000)) },
            watch_termination_grace_ms: if random.percent(50) { 0 } else { random.between((1, 3_000)) },
            clients,
            faults,
        }
    }

    /// Smaller plans, the most drastic first.
    pub fn smaller(&self) -> Vec<Plan> {
        let mut plans = Vec::new();
        let parts = |count: usize| {
            let mut parts: Vec<(usize, usize)> = Vec::new();
            let mut size = count;
            while size >= 1 {
                parts.extend((0..count).step_by(size).map(|start| (start, (start + size).min(count))));
                size /= 2;
            }
            parts
        };
        for (start, end) in parts(self.faults.len()) {
            let mut plan = self.clone();
            plan.faults.drain(start..end);
            plans.push(plan);
        }
        for index in 0..self.clients.len() {
            let mut plan = self.clone();
            plan.clients.remove(index);
            plans.push(plan);
        }
        for index in 0..self.clients.len() {
            for smaller in self.clients[index].smaller() {
                let mut plan = self.clone();
                plan.clients[index] = smaller;
                plans.push(plan);
            }
        }
        for storage in self.storage.smaller() {
            plans.push(Plan { storage, ..self.clone() });
        }
        if self.servers > 1 {
            plans.push(Plan { servers: self.servers - 1, ..self.clone() });
        }
        if self.seconds > 1 {
            plans.push(Plan { seconds: self.seconds / 2, ..self.clone() });
        }
        plans
    }
}
