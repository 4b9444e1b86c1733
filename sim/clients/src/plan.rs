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
    retry,
    session::Session,
    workload::{
        Theme, Workload, applier::Applier, churn::Churn, informers::Informers, namespaces::Namespaces, owners::Owners,
        pagers::Pagers, probes::Probes, readers::Readers, watchers::Watchers,
    },
};

/// Operations of a workload at most, as drawn.
const OPERATIONS_MAX: u64 = 300;
/// Workloads of a client at most, as drawn.
const WORKLOADS_MAX: u64 = 3;
/// Request timeouts of impatient clients. A server answers within 3 seconds even if it has to wait for a revision that
/// never comes; less would be asking for the impossible.
const IMPATIENT_MS: (u64, u64) = (5_000, 15_000);
/// Numbers of operations that a workload has for itself: more than it ever begins.
pub const NUMBERS: u64 = 10_000;
/// Shrinking leaves out the operations of a workload by this many parts.
const PARTS_MAX: usize = 8;

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
    /// Operations that each of its workloads begins at most.
    pub operations_max: u64,
    /// Operations that are left out. Those of workload W have the numbers from W * [`NUMBERS`] on.
    pub skip: BTreeSet<u64>,
    /// What it does, all at once.
    pub workloads: Vec<Workload>,
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
    /// [`Owners`].
    Owners,
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
const ROLES: [(Role, u32); 10] = [
    (Role::Churn, 5),
    (Role::Namespaces, 2),
    (Role::Applier, 2),
    (Role::Owners, 3),
    (Role::Readers, 3),
    (Role::Pagers, 3),
    (Role::Watchers, 4),
    (Role::Informers, 2),
    (Role::RestartStorm, 1),
    (Role::Probes, 1),
];

impl ClientPlan {
    /// Plans of `clients` clients that meet, each with some workloads. There are a writer and an informer at least; the
    /// other roles are drawn from the seed.
    pub fn draw_all(seed: u64, theme: &Theme, clients: usize) -> Vec<ClientPlan> {
        let mut random = Random::new(seed);
        let mut roles: Vec<Vec<Role>> = Vec::new();
        for _ in 0..clients {
            let count = random.between((1, WORKLOADS_MAX));
            roles.push((0..count).filter_map(|_| random.weighted(&ROLES)).collect());
        }
        for (index, role) in [Role::Churn, Role::Informers].into_iter().enumerate() {
            let at = index.min(clients.saturating_sub(1));
            let there = roles.iter().flatten().any(|known| *known == role);
            if let Some(roles) = roles.get_mut(at).filter(|_| !there) {
                roles.insert(0, role);
            }
        }
        roles.iter().map(|roles| ClientPlan::draw(random.u64(), theme, roles)).collect()
    }

    /// A plan of one client.
    pub fn draw(seed: u64, theme: &Theme, roles: &[Role]) -> ClientPlan {
        let mut random = Random::new(seed);
        ClientPlan {
            workloads: roles.iter().map(|role| draw_workload(&mut random, theme, *role)).collect(),
            seed: random.u64(),
            http: draw_http(&mut random),
            home: random.below(8) as usize,
            hop_percent: *random.pick(&[0, 10, 50, 100]).unwrap_or(&0),
            start_ms: if random.percent(50) { 0 } else { random.below(theme.duration_ms / 6) },
            operations_max: OPERATIONS_MAX,
            skip: BTreeSet::new(),
        }
    }

    /// Plans that do less, the most drastic first: without a workload, with half of the operations, without a part of
    /// them.
    pub fn smaller(&self) -> Vec<ClientPlan> {
        let mut plans: Vec<ClientPlan> = (0..self.workloads.len()).map(|workload| self.without(workload)).collect();
        plans.push(self.cut(self.operations_max / 2));
        for workload in 0..self.workloads.len() as u64 {
            let first = workload * NUMBERS;
            let left: Vec<u64> =
                (first..first + self.operations_max).filter(|number| !self.skip.contains(number)).collect();
            for part in left.chunks(left.len().div_ceil(PARTS_MAX).max(1)) {
                let skip = self.skip.iter().chain(part).copied().collect();
                plans.push(ClientPlan { skip, ..self.clone() });
            }
        }
        plans.retain(|plan| (1..self.work()).contains(&plan.work()));
        plans
    }

    /// Operations at most.
    fn work(&self) -> u64 {
        self.workloads.len() as u64 * self.operations_max - self.skip.len() as u64
    }

    /// With fewer operations.
    fn cut(&self, operations_max: u64) -> ClientPlan {
        let left = self.skip.iter().copied().filter(|number| number % NUMBERS < operations_max);
        ClientPlan { operations_max, skip: left.collect(), ..self.clone() }
    }

    /// Without a workload; the others keep what they leave out.
    fn without(&self, workload: usize) -> ClientPlan {
        let mut plan = self.clone();
        plan.workloads.remove(workload);
        let numbers = workload as u64 * NUMBERS..(workload as u64 + 1) * NUMBERS;
        let left = self.skip.iter().filter(|number| !numbers.contains(number));
        plan.skip = left.map(|number| if *number >= numbers.end { number - NUMBERS } else { *number }).collect();
        plan
    }
}

fn draw_workload(random: &mut Random, theme: &Theme, role: Role) -> Workload {
    match role {
        Role::Churn => Workload::Churn(Churn::draw(random, theme)),
        Role::Namespaces => Workload::Namespaces(Namespaces::draw(random, theme)),
        Role::Applier => Workload::Applier(Applier::draw(random, theme)),
        Role::Owners => Workload::Owners(Owners::draw(random, theme)),
        Role::Readers => Workload::Readers(Readers::draw(random, theme)),
        Role::Pagers => Workload::Pagers(Pagers::draw(random, theme)),
        Role::Watchers => Workload::Watchers(Watchers::draw(random, theme)),
        Role::Informers => Workload::Informers(Informers::draw(random, theme)),
        Role::RestartStorm => Workload::Informers(Informers::draw_storm(random, theme)),
        Role::Probes => Workload::Probes(Probes::draw(random, theme)),
    }
}

fn draw_http(random: &mut Random) -> HttpOptions {
    let impatient = random.percent(20);
    HttpOptions {
        protocol: if random.percent(60) { Protocol::Http2 } else { Protocol::Http1 },
        request_timeout_ms: if impatient { random.between(IMPATIENT_MS) } else { 30_000 },
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
    let apis: Vec<Api> = servers.iter().map(api).collect();
    let started = env.clock.now();
    if !retry::pause(&env, Duration::from_millis(plan.start_ms), &stop).await {
        return;
    }
    let workloads = plan.workloads.iter().enumerate().map(|(index, workload)| {
        let first = index as u64 * NUMBERS;
        let session = Session {
            apis: apis.clone(),
            env: env.clone(),
            stop: stop.clone(),
            started,
            node: node_name.to_owned(),
            home: plan.home,
            hop_percent: plan.hop_percent,
            seed: plan.seed,
            end: first + plan.operations_max.min(NUMBERS),
            skip: plan.skip.clone(),
            begun: AtomicU64::new(first),
            seen: Mutex::default(),
        };
        async move { workload.run(&session).await }
    });
    futures::future::join_all(workloads).await;
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
            roles.extend(plans.iter().flat_map(|plan| &plan.workloads).map(Workload::name));
        }
        assert_eq!(roles.len(), 9, "every workload is drawn: {roles:?}");
    }

    #[test]
    fn smaller_plans_do_less_and_come_to_an_end() {
        let theme = Theme::draw(&mut Random::new(1), 60_000);
        let mut plan = ClientPlan::draw(1, &theme, &[Role::Churn, Role::Readers]);
        let mut steps = 0;
        while let Some(smaller) = plan.smaller().pop() {
            assert!(smaller.work() < plan.work());
            plan = smaller;
            steps += 1;
        }
        assert_eq!(plan.work(), 1, "after {steps} steps: {plan:?}");
        assert_eq!(plan.smaller(), []);
        let both =
            ClientPlan { skip: BTreeSet::from([3, NUMBERS + 5]), ..ClientPlan::draw(1, &theme, &[Role::Churn; 2]) };
        assert_eq!(both.without(0).skip, BTreeSet::from([5]));
        assert_eq!(both.without(1).skip, BTreeSet::from([3]));
        assert_eq!(both.cut(4).skip, BTreeSet::from([3]));
    }
}
