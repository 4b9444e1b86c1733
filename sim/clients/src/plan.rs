//! The plan of a client: data from which it runs. A replay reads it, shrinking edits it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Mutex, atomic::AtomicU64},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use triune_env::Env;
use triune_history::Recorder;
use triune_machinery::signal::Signal;

use crate::{
    api::Api,
    http::{HttpOptions, Protocol},
    random::Random,
    session::Session,
    workload::{
        Theme, Workload, applier::Applier, churn::Churn, informers::Informers, namespaces::Namespaces, pagers::Pagers,
        probes::Probes, readers::Readers, watchers::Watchers,
    },
};

/// Operations of a client at most, as drawn.
const OPERATIONS_MAX: u64 = 300;

/// All that one client does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientPlan {
    /// Decides every choice that the knobs leave open.
    pub seed: u64,
    /// How it talks.
    pub http: HttpOptions,
    /// Index of its own server.
    pub home: usize,
    /// How often an operation goes to any server instead.
    pub hop_percent: u32,
    /// When it starts, after [`run_client`] was called.
    pub start_ms: u64,
    /// Operations with this number or a higher one are not begun.
    pub operations_max: u64,
    /// Operations that are left out.
    pub skip: BTreeSet<u64>,
    /// What it does.
    pub workload: Workload,
}

/// The kinds of workloads that are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// [`Churn`].
    Churn,
    /// [`Namespaces`].
    Namespaces,
    /// [`Applier`].
    Applier,
    /// [`Readers`].
    Readers,
    /// [`Pagers`].
    Pagers,
    /// [`Watchers`].
    Watchers,
    /// [`Informers`].
    Informers,
    /// [`Informers`] that all start at once.
    RestartStorm,
    /// [`Probes`].
    Probes,
}

/// Roles and how often each is drawn.
const ROLES: [(Role, u32); 9] = [
    (Role::Churn, 6),
    (Role::Namespaces, 1),
    (Role::Applier, 2),
    (Role::Readers, 3),
    (Role::Pagers, 2),
    (Role::Watchers, 3),
    (Role::Informers, 3),
    (Role::RestartStorm, 1),
    (Role::Probes, 1),
];

impl ClientPlan {
    /// Plans of `clients` clients that meet: the first writes, the second is an informer, one takes care of namespaces if
    /// the theme has any that come and go, the others have roles drawn from the seed.
    pub fn draw_all(seed: u64, theme: &Theme, clients: usize) -> Vec<ClientPlan> {
        let mut roles = vec![Role::Churn, Role::Informers];
        if theme.namespaces.iter().any(|name| name != "default") {
            roles.push(Role::Namespaces);
        }
        let mut random = Random::new(seed);
        while roles.len() < clients {
            roles.extend(random.weighted(&ROLES));
        }
        roles.truncate(clients);
        roles.into_iter().map(|role| ClientPlan::draw(random.u64(), theme, role)).collect()
    }

    /// A plan of one client.
    pub fn draw(seed: u64, theme: &Theme, role: Role) -> ClientPlan {
        let mut random = Random::new(seed);
        let workload = match role {
            Role::Churn => Workload::Churn(Churn::draw(&mut random, theme)),
            Role::Namespaces => Workload::Namespaces(Namespaces::draw(&mut random, theme)),
            Role::Applier => Workload::Applier(Applier::draw(&mut random, theme)),
            Role::Readers => Workload::Readers(Readers::draw(&mut random, theme)),
            Role::Pagers => Workload::Pagers(Pagers::draw(&mut random, theme)),
            Role::Watchers => Workload::Watchers(Watchers::draw(&mut random, theme)),
            Role::Informers => Workload::Informers(Informers::draw(&mut random, theme)),
            Role::RestartStorm => Workload::Informers(Informers::draw_storm(&mut random, theme)),
            Role::Probes => Workload::Probes(Probes::draw(&mut random, theme)),
        };
        ClientPlan {
            seed: random.u64(),
            http: draw_http(&mut random),
            home: random.below(8) as usize,
            hop_percent: *random.pick(&[0, 10, 50, 100]).unwrap_or(&0),
            start_ms: if random.percent(50) { 0 } else { random.below(theme.duration_ms / 6) },
            operations_max: OPERATIONS_MAX,
            skip: BTreeSet::new(),
            workload,
        }
    }
}

fn draw_http(random: &mut Random) -> HttpOptions {
    let impatient = random.percent(20);
    HttpOptions {
        protocol: if random.percent(60) { Protocol::Http2 } else { Protocol::Http1 },
        request_timeout_ms: if impatient { random.between((300, 3_000)) } else { 30_000 },
        ping_interval_ms: random.between((2_000, 30_000)),
        ping_timeout_ms: random.between((1_000, 15_000)),
        silence_ms_max: random.between((15_000, 150_000)),
        window_bytes: if random.percent(30) { 16 << 10 } else { 256 << 10 },
        ..HttpOptions::default()
    }
}

/// Runs a client to its end: all its operations, or those that have begun when `stop` is given. Its watches are dropped
/// then, the stores of its informers are recorded.
///
/// `servers` are names, as in the history, and addresses; at least one.
pub async fn run_client(
    env: Env,
    recorder: Recorder,
    node_name: &str,
    servers: Vec<(String, SocketAddr)>,
    plan: ClientPlan,
    stop: Signal,
) {
    let api = |(name, address): &(String, SocketAddr)| {
        Api::new(env.clone(), recorder.clone(), node_name, (name.as_str(), *address), plan.http.clone())
    };
    let session = Session {
        apis: servers.iter().map(api).collect(),
        env: env.clone(),
        stop,
        node: node_name.to_owned(),
        home: plan.home,
        hop_percent: plan.hop_percent,
        seed: plan.seed,
        operations_max: plan.operations_max,
        skip: plan.skip,
        begun: AtomicU64::new(0),
        seen: Mutex::default(),
    };
    if session.pause(Duration::from_millis(plan.start_ms)).await {
        plan.workload.run(&session).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_data_and_follow_from_the_seed() {
        let mut roles = BTreeSet::new();
        for seed in 0..50 {
            let theme = Theme::draw(&mut Random::new(seed), 60_000);
            let plans = ClientPlan::draw_all(seed, &theme, 6);
            assert_eq!(plans, ClientPlan::draw_all(seed, &theme, 6));
            assert_ne!(plans, ClientPlan::draw_all(seed + 1, &theme, 6));
            let text = serde_json::to_string(&plans).expect("plans are data");
            assert_eq!(serde_json::from_str::<Vec<ClientPlan>>(&text).expect("what was written"), plans);
            roles.extend(plans.iter().map(|plan| plan.workload.name()));
        }
        assert_eq!(roles.len(), 8, "every workload is drawn: {roles:?}");
    }
}
