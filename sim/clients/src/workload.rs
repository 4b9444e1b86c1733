//! What clients do, as data: each workload is a set of knobs drawn from a seed (swarm testing), and the code that runs it.
//!
//! In reading order:
//!
//! - [`churn`]: few names, written in every way that there is
//! - [`namespaces`]: namespaces come, are filled, deleted and finalised
//! - [`applier`]: get, create if absent, else patch; what kubectl does
//! - [`owners`]: server-side apply by many managers to the same objects
//! - [`readers`]: single reads and lists in all modes
//! - [`pagers`]: lists in small pages with pauses, also past a compaction
//! - [`watchers`]: watches in all modes, dropped early, left idle, read slowly
//! - [`informers`]: informers, restarted one by one or all at once
//! - [`probes`]: health, version, discovery

pub mod applier;
pub mod churn;
pub mod informers;
pub mod namespaces;
pub mod owners;
pub mod pagers;
pub mod probes;
pub mod readers;
pub mod watchers;

use serde::{Deserialize, Serialize};

use crate::{
    api::Api,
    kind::{GROUPS, Kind, in_group},
    random::Random,
    request::{Request, Selection},
    session::Session,
};

/// Part of an operation that makes a namespace: no other part has this number.
const NAMESPACE_PART: u64 = 99;

/// What a client does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// See [`churn`].
    Churn(churn::Churn),
    /// See [`namespaces`].
    Namespaces(namespaces::Namespaces),
    /// See [`applier`].
    Applier(applier::Applier),
    /// See [`owners`].
    Owners(owners::Owners),
    /// See [`readers`].
    Readers(readers::Readers),
    /// See [`pagers`].
    Pagers(pagers::Pagers),
    /// See [`watchers`].
    Watchers(watchers::Watchers),
    /// See [`informers`].
    Informers(informers::Informers),
    /// See [`probes`].
    Probes(probes::Probes),
}

impl Workload {
    /// Runs until the session has no more operations.
    pub async fn run(&self, session: &Session) {
        match self {
            Workload::Churn(knobs) => knobs.run(session).await,
            Workload::Namespaces(knobs) => knobs.run(session).await,
            Workload::Applier(knobs) => knobs.run(session).await,
            Workload::Owners(knobs) => knobs.run(session).await,
            Workload::Readers(knobs) => knobs.run(session).await,
            Workload::Pagers(knobs) => knobs.run(session).await,
            Workload::Watchers(knobs) => knobs.run(session).await,
            Workload::Informers(knobs) => knobs.run(session).await,
            Workload::Probes(knobs) => knobs.run(session).await,
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Workload::Churn(_) => "churn",
            Workload::Namespaces(_) => "namespaces",
            Workload::Applier(_) => "applier",
            Workload::Owners(_) => "owners",
            Workload::Readers(_) => "readers",
            Workload::Pagers(_) => "pagers",
            Workload::Watchers(_) => "watchers",
            Workload::Informers(_) => "informers",
            Workload::Probes(_) => "probes",
        }
    }
}

/// What all clients of a run have in common, so that they meet: kinds, namespaces, names, and how long a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Theme {
    /// How long a run is: think times and lives are chosen so that much happens in it.
    pub duration_ms: u64,
    /// The kinds in use, at least one.
    pub kinds: Vec<Kind>,
    /// The namespaces in use, at least one.
    pub namespaces: Vec<String>,
    /// Names in each.
    pub names: u64,
    /// How often a body is a large one. Where there are some, readers are slow: it takes many bytes until a server
    /// notices.
    pub large_percent: u32,
}

impl Theme {
    /// Draws one: mostly config maps, two namespaces (the name of one begins with that of the other: S11), few names.
    pub fn draw(random: &mut Random, duration_ms: u64) -> Theme {
        let others = [Kind::Secrets, Kind::Leases, Kind::Pods, Kind::Deployments, Kind::Events, Kind::Services];
        let mut kinds = vec![Kind::ConfigMaps];
        if random.percent(60) {
            kinds.extend(random.subset(&others, 30));
        }
        let namespaces = ["default", "default-b", "sim-a"];
        let count = random.between((1, 3)) as usize;
        let namespaces = namespaces[..count].iter().map(|name| (*name).to_owned()).collect();
        let large_percent = if random.percent(15) { random.between((5, 40)) as u32 } else { 0 };
        Theme { duration_ms, kinds, namespaces, names: random.between((1, 5)), large_percent }
    }

    /// Pause before each operation, so that a lane does about 20 to 200 of them.
    pub(crate) fn think_ms(&self, random: &mut Random) -> (u64, u64) {
        let mean = random.between((self.duration_ms / 200, self.duration_ms / 20));
        if random.percent(50) { (0, mean * 2) } else { (mean / 2, mean * 3 / 2) }
    }

    /// A number of milliseconds from a `low`th to a `high`th of the duration.
    pub(crate) fn part_ms(&self, (low, high): (u64, u64)) -> (u64, u64) {
        (self.duration_ms / low, self.duration_ms / high)
    }
}

/// Where readers look: kinds and namespaces, all namespaces at once, or a group of objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// At least one.
    pub kinds: Vec<Kind>,
    /// At least one.
    pub namespaces: Vec<String>,
    /// How often all namespaces are looked at.
    pub all_namespaces_percent: u32,
    /// How often only a group is looked at.
    pub labels_percent: u32,
}

impl Scope {
    fn draw(random: &mut Random, theme: &Theme) -> Scope {
        Scope {
            kinds: random.subset(&theme.kinds, 70),
            namespaces: theme.namespaces.clone(),
            all_namespaces_percent: random.between((0, 60)) as u32,
            labels_percent: random.between((0, 60)) as u32,
        }
    }

    fn selection(&self, random: &mut Random) -> Selection {
        let kind = random.pick(&self.kinds).copied().unwrap_or(Kind::ConfigMaps);
        let everywhere = random.percent(self.all_namespaces_percent);
        let namespace = random.pick(&self.namespaces).cloned().unwrap_or_default();
        let grouped = random.percent(self.labels_percent);
        let group = random.pick(&GROUPS).copied().unwrap_or_default();
        Selection {
            kind,
            namespace: if everywhere { String::new() } else { namespace },
            labels: if grouped { in_group(group) } else { Vec::new() },
        }
    }
}

/// Whoever finds that a namespace is not there makes it.
async fn make_namespace(session: &Session, api: &Api, name: &str, number: u64, random: &mut Random) {
    let content = session.content(number, NAMESPACE_PART, 0, random);
    let request = Request::create(Kind::Namespaces, "", Kind::Namespaces.object("", name, &content));
    session.call(api, Kind::Namespaces, &request).await;
}

/// Some of `items`, each with a weight of its own: a swarm.
fn swarm<T: Copy>(random: &mut Random, items: &[T]) -> Vec<(T, u32)> {
    let percent = random.between((30, 100)) as u32;
    random.subset(items, percent).into_iter().map(|item| (item, random.between((1, 10)) as u32)).collect()
}
