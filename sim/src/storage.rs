//! What keeps the rows of a run: one FoundationDB that all servers share, as a node of its own; or a simulated disk of the
//! one server's own.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use triune_env::{
    Env,
    storage::{Stamp, Storage},
};
use triune_fdb_model::Position;
use triune_history::{Body, Recorder};
use triune_sim_clients::Random;
use triune_sim_fdb::{Cluster, CommitSeen, Fault as FdbFault, FaultKnobs, FdbStorage, Observer};

use crate::{
    observe::CommitObserver,
    plan::STORAGE,
    world::{Crash, World},
};

/// Address of the storage's node.
const STORAGE_IP: [u8; 4] = [10, 0, 0, 1];
/// Port of the storage's node.
const STORAGE_PORT: u16 = 4500;
/// A server that cannot reach its storage tries again after this time.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);

/// What keeps the rows, as drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum StoragePlan {
    /// FoundationDB; each fault with its chance in a million.
    Shared {
        /// Faults that may always happen.
        chances_ppm: Vec<(StorageFault, u32)>,
    },
}

/// A way in which the storage fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageFault {
    /// See [`FdbFault::Conflict`].
    Conflict,
    /// See [`FdbFault::CommitUnknown`].
    CommitUnknown,
    /// See [`FdbFault::CommitUnknownDropped`].
    CommitUnknownDropped,
    /// See [`FdbFault::LateCommit`].
    LateCommit,
    /// See [`FdbFault::ReadTooOld`].
    ReadTooOld,
    /// See [`FdbFault::FutureVersion`].
    FutureVersion,
    /// See [`FdbFault::Unavailable`].
    Unavailable,
    /// See [`FdbFault::SlowReply`].
    SlowReply,
    /// See [`FdbFault::LostReply`].
    LostReply,
    /// See [`FdbFault::SpuriousWatch`].
    SpuriousWatch,
    /// See [`FdbFault::LateWatch`].
    LateWatch,
    /// See [`FdbFault::Recovery`].
    Recovery,
}

impl StorageFault {
    /// All of them.
    pub const ALL: [StorageFault; 12] = [
        StorageFault::Conflict,
        StorageFault::CommitUnknown,
        StorageFault::CommitUnknownDropped,
        StorageFault::LateCommit,
        StorageFault::ReadTooOld,
        StorageFault::FutureVersion,
        StorageFault::Unavailable,
        StorageFault::SlowReply,
        StorageFault::LostReply,
        StorageFault::SpuriousWatch,
        StorageFault::LateWatch,
        StorageFault::Recovery,
    ];

    /// Any of them.
    pub fn draw(random: &mut Random) -> StorageFault {
        random.pick(&StorageFault::ALL).copied().unwrap_or(StorageFault::Conflict)
    }

    fn of_fdb(self) -> FdbFault {
        match self {
            StorageFault::Conflict => FdbFault::Conflict,
            StorageFault::CommitUnknown => FdbFault::CommitUnknown,
            StorageFault::CommitUnknownDropped => FdbFault::CommitUnknownDropped,
            StorageFault::LateCommit => FdbFault::LateCommit,
            StorageFault::ReadTooOld => FdbFault::ReadTooOld,
            StorageFault::FutureVersion => FdbFault::FutureVersion,
            StorageFault::Unavailable => FdbFault::Unavailable,
            StorageFault::SlowReply => FdbFault::SlowReply,
            StorageFault::LostReply => FdbFault::LostReply,
            StorageFault::SpuriousWatch => FdbFault::SpuriousWatch,
            StorageFault::LateWatch => FdbFault::LateWatch,
            StorageFault::Recovery => FdbFault::Recovery,
        }
    }

    /// Chance in a million while a planned fault of this kind lasts. A recovery happens once.
    fn planned_ppm(self) -> u32 {
        match self {
            StorageFault::Recovery => 0,
            StorageFault::LostReply | StorageFault::SlowReply => 50_000,
            _ => 200_000,
        }
    }
}

impl std::fmt::Display for StorageFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", self.of_fdb())
    }
}

impl StoragePlan {
    /// FoundationDB; with faults, each of a part of them has a chance of its own.
    pub fn draw_shared(random: &mut Random, fails: bool) -> StoragePlan {
        let mut chances_ppm = Vec::new();
        if fails {
            for fault in random.subset(&StorageFault::ALL, 50) {
                let most = if fault == StorageFault::Recovery { 100 } else { 20_000 };
                chances_ppm.push((fault, random.between((1, most)) as u32));
            }
        }
        StoragePlan::Shared { chances_ppm }
    }

    /// Plans with fewer faults.
    pub fn smaller(&self) -> Vec<StoragePlan> {
        let StoragePlan::Shared { chances_ppm } = self;
        let mut plans = Vec::new();
        if chances_ppm.len() > 1 {
            plans.push(StoragePlan::Shared { chances_ppm: Vec::new() });
        }
        for index in 0..chances_ppm.len() {
            let mut chances_ppm = chances_ppm.clone();
            chances_ppm.remove(index);
            plans.push(StoragePlan::Shared { chances_ppm });
        }
        plans
    }
}

/// The storage of a run. Cheap to clone.
#[derive(Clone)]
pub struct StorageNode {
    knobs: Arc<Mutex<FaultKnobs>>,
    chances_ppm: Vec<(StorageFault, u32)>,
    recorder: Recorder,
}

impl StorageNode {
    /// Puts it on its node; what it commits is recorded.
    pub fn start(world: &World, plan: &StoragePlan, tenant: &str) -> StorageNode {
        let StoragePlan::Shared { chances_ppm } = plan;
        let knobs = Arc::new(Mutex::new(FaultKnobs::default()));
        let cluster = Arc::new(Mutex::new(Cluster::default()));
        let revisions = lock(&cluster).revisions();
        let revision_of = move |stamp: &Stamp| revisions.of_commit(Position::of_stamp(stamp)).0;
        let observer = CommitObserver::new(world.recorder.clone(), STORAGE, tenant, revision_of);
        let observer: Observer = Arc::new(move |seen: &CommitSeen| observer.committed(seen.revision.0, &seen.rows));
        let node =
            StorageNode { knobs: knobs.clone(), chances_ppm: chances_ppm.clone(), recorder: world.recorder.clone() };
        node.reset();
        world.add_node(STORAGE, STORAGE_IP, move |process| {
            let (cluster, knobs, observer) = (cluster.clone(), knobs.clone(), observer.clone());
            async move {
                let address = SocketAddr::new(process.ip, STORAGE_PORT);
                let served = triune_sim_fdb::serve(process.env, address, cluster, knobs, observer).await;
                let text = format!("the storage cannot listen: {served:?}");
                process.recorder.record(&process.name, Body::Note(text));
            }
        });
        node
    }

    /// The storage as a server sees it; waits until there is one.
    pub async fn open(&self, env: &Env) -> Arc<dyn Storage> {
        let address = SocketAddr::from((STORAGE_IP, STORAGE_PORT));
        loop {
            match FdbStorage::connect(env.clone(), &[address]).await {
                Ok(storage) => return storage,
                Err(_) => env.sleep(CONNECT_PAUSE).await,
            }
        }
    }

    /// A fault begins.
    pub fn begin(&self, fault: &StorageFault) {
        let mut knobs = lock(&self.knobs);
        if *fault == StorageFault::Recovery {
            knobs.once(FdbFault::Recovery);
        } else {
            knobs.set(fault.of_fdb(), fault.planned_ppm());
        }
    }

    /// A fault ends.
    pub fn end(&self, fault: &StorageFault) {
        let usual = self.chances_ppm.iter().find(|(usual, _)| usual == fault).map_or(0, |(_, ppm)| *ppm);
        lock(&self.knobs).set(fault.of_fdb(), usual);
    }

    /// A node is gone.
    pub fn node_crashed(&self, node: &str, crash: Crash) {
        let _ = (node, crash, &self.recorder);
    }

    /// No fault from now on.
    pub fn heal(&self) {
        lock(&self.knobs).heal();
    }

    fn reset(&self) {
        let mut knobs = lock(&self.knobs);
        for (fault, ppm) in &self.chances_ppm {
            knobs.set(fault.of_fdb(), *ppm);
        }
    }

    /// How often each fault has happened.
    pub fn happened(&self) -> Vec<(StorageFault, u64)> {
        let knobs = lock(&self.knobs);
        StorageFault::ALL.iter().map(|fault| (*fault, knobs.happened(fault.of_fdb()))).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
