//! One run of a plan: nodes, faults, healing, settling, and what came of it.
//!
//! Phase 1: clients work while faults happen. Then everything is healed and stays so; writers end, informers catch up.
//! At the end nothing may be left of what the clients had open.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use triune_history::{Body, Recorder};
use triune_kube::Settings;
use triune_sim_clients::{
    ClientPlan, Signal, Workload,
    http::{HttpOptions, Protocol},
    run_client,
    workload::probes::Probes,
};

use crate::{
    faults,
    plan::{Plan, STORAGE, client_name, server_name},
    server::{self, PORT, ServerSettings},
    storage::StorageNode,
    world::{Crash, World, simulate},
};

/// Informers get this long after the settling to record their stores.
const CLOSE: Duration = Duration::from_secs(10);
/// A server that has ended is started again after at most this time, once there are no faults.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Name of the node that asks servers whether they are ready.
const PROBER: &str = "prober";
/// Pause between its questions to a server, in milliseconds.
const PROBE_MS: (u64, u64) = (3_000, 9_000);
/// How often the supervisor looks whether the clients have ended.
const LOOK: Duration = Duration::from_millis(500);

/// What a run records beside what checkers need.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recorded {
    /// Messages on the network.
    pub messages: bool,
}

/// What came of a run, besides its history.
pub struct Outcome {
    /// Simulated time.
    pub simulated: Duration,
    /// Figures.
    pub statistics: BTreeMap<String, u64>,
}

/// Runs a plan with a seed. `started` is given what records the history, which outlives a panic of the run.
pub fn run(plan: &Plan, seed: u64, recorded: Recorded, started: impl FnOnce(Recorder)) -> Outcome {
    simulate(seed, |world| async move {
        started(world.recorder.clone());
        if recorded.messages {
            record_messages(&world);
        }
        world.network.set_latency(plan.latency);
        let options = plan.knobs.options();
        let storage = StorageNode::start(&world, &plan.storage, &options.tenant);
        if plan.storage.fails() {
            world.fault("begin storage: fails by chance".to_owned());
        }
        let kube = Settings { event_ttl: Duration::from_secs(plan.knobs.event_ttl_seconds), ..Settings::default() };
        let settings = ServerSettings {
            kube,
            store: options,
            shutdown_delay: Duration::from_millis(plan.shutdown_delay_ms),
            watch_termination_grace: Duration::from_millis(plan.watch_termination_grace_ms),
        };
        let servers = start_servers(&world, plan.servers, &settings, &storage);
        let stop = Signal::new();
        start_clients(&world, plan, &servers, &stop);
        start_prober(&world, &servers, &stop);

        let end_of_faults = Duration::from_secs(plan.seconds);
        faults::schedule(&world, &storage, &plan.faults, end_of_faults);
        world.sleep(end_of_faults.saturating_sub(world.elapsed())).await;
        heal(&world, &storage, plan.servers);
        let settled = world.elapsed() + Duration::from_secs(plan.settle_seconds);
        while world.elapsed() < settled {
            world.sleep(RESTART_PAUSE).await;
            restart_ended(&world, &storage, plan.servers);
        }
        stop.give();
        let closed = world.elapsed() + CLOSE;
        while world.elapsed() < closed
            && (1..=plan.clients.len() as u64).any(|number| world.is_alive(&client_name(number)))
        {
            world.sleep(LOOK).await;
        }
        world.sleep(LOOK).await;
        finish(&world, &storage, plan)
    })
}

fn start_servers(
    world: &World,
    count: u64,
    settings: &ServerSettings,
    storage: &StorageNode,
) -> Vec<(String, SocketAddr)> {
    let mut servers = Vec::new();
    for number in 1..=count {
        let ip = [10, 0, 1, u8::try_from(number).unwrap_or(u8::MAX)];
        let name = server_name(number);
        let (settings, storage) = (settings.clone(), storage.clone());
        world.add_node(&name, ip, move |process| {
            let (settings, storage) = (settings.clone(), storage.clone());
            async move {
                let env = process.env.clone();
                server::serve(process, settings, || storage.open(&env)).await;
            }
        });
        servers.push((name, SocketAddr::from((ip, PORT))));
    }
    servers
}

fn start_clients(world: &World, plan: &Plan, servers: &[(String, SocketAddr)], stop: &Signal) {
    for (number, client) in (1_u8..).zip(&plan.clients) {
        let (client, servers, stop) = (client.clone(), servers.to_vec(), stop.clone());
        world.add_node(&client_name(u64::from(number)), [10, 0, 2, number], move |process| {
            let (client, servers, stop) = (client.clone(), servers.clone(), stop.clone());
            async move { run_client(process.env, process.recorder, &process.name, servers, client, stop).await }
        });
    }
}

/// A load balancer that asks every server whether it is ready.
fn start_prober(world: &World, servers: &[(String, SocketAddr)], stop: &Signal) {
    let (servers, stop) = (servers.to_vec(), stop.clone());
    world.add_node(PROBER, [10, 0, 3, 1], move |process| {
        let (servers, stop) = (servers.clone(), stop.clone());
        async move {
            let probe = |(seed, server): (u64, (String, SocketAddr))| {
                let plan = ClientPlan {
                    seed,
                    http: HttpOptions {
                        protocol: Protocol::Http1,
                        request_timeout_ms: 2_000,
                        ..HttpOptions::default()
                    },
                    home: 0,
                    hop_percent: 0,
                    start_ms: 0,
                    operations_max: u64::MAX,
                    skip: BTreeSet::new(),
                    workloads: vec![Workload::Probes(Probes { think_ms: PROBE_MS, paths: vec!["/readyz".to_owned()] })],
                };
                let (env, recorder) = (process.env.clone(), process.recorder.clone());
                run_client(env, recorder, PROBER, vec![server], plan, stop.clone())
            };
            futures::future::join_all((0..).zip(servers).map(probe)).await;
        }
    });
}

/// Mends links, ends pauses, starts what is down.
fn heal(world: &World, storage: &StorageNode, servers: u64) {
    world.network.heal();
    storage.heal();
    let servers = (1..=servers).map(server_name);
    for name in std::iter::once(STORAGE.to_owned()).chain(servers) {
        world.resume(&name);
        world.set_wall(&name, crate::platform::WallClock::default());
        if !world.is_alive(&name) {
            storage.node_crashed(&name, Crash::Process);
            world.restart(&name);
        }
    }
    world.recorder.record("faults", Body::Healed);
}

/// What was still on its way out when the faults ended is started again, as its supervisor would do.
fn restart_ended(world: &World, storage: &StorageNode, servers: u64) {
    for name in (1..=servers).map(server_name) {
        if !world.is_alive(&name) {
            storage.node_crashed(&name, Crash::Process);
            world.restart(&name);
        }
    }
}

fn finish(world: &World, storage: &StorageNode, plan: &Plan) -> Outcome {
    // A server holds one stream to the storage, two while it changes from one to another.
    let streams = world.network.open_streams() as u64;
    let gauge = Body::Gauge { name: "open streams".into(), value: streams, bound: plan.servers * 2 };
    world.recorder.record("network", gauge);
    let mut statistics = BTreeMap::new();
    statistics.insert("messages".to_owned(), world.network.messages());
    for (fault, count) in storage.happened() {
        if count > 0 {
            statistics.insert(format!("storage fault {fault}"), count);
        }
    }
    statistics.insert("events".to_owned(), world.recorder.len() as u64);
    Outcome { simulated: world.elapsed(), statistics }
}

/// Each segment becomes an event of its sender.
fn record_messages(world: &World) {
    let inner = world.clone();
    let start = inner.env().clock.now().checked_sub(inner.elapsed());
    let names: Mutex<BTreeMap<_, Arc<str>>> = Mutex::default();
    world.network.on_message(move |seen| {
        let name = |id| -> Arc<str> {
            let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
            names.entry(id).or_insert_with(|| inner.name_of(id).unwrap_or_default().into()).clone()
        };
        let arrives = start.map_or(Duration::ZERO, |start| seen.arrives.duration_since(start));
        let arrives = triune_history::At(u64::try_from(arrives.as_nanos()).unwrap_or(u64::MAX));
        let body = Body::Message { to: name(seen.to).to_string(), bytes: seen.bytes as u64, arrives };
        inner.recorder.record(&name(seen.from), body);
    });
}
