//! What keeps the rows of a run: one FoundationDB that all servers share, as a node of its own; or a simulated disk of the
//! one server's own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use triune_env::{
    Env,
    storage::{Stamp, Storage, StorageError},
};
use triune_fdb_model::Position;
use triune_history::Body;
use triune_sim_clients::Random;
use triune_sim_disk::{Disk, Faults, LogOptions, OpenError};
use triune_sim_fdb::{Cluster, CommitSeen, Fault as FdbFault, FaultKnobs, FdbStorage, Observer, Options};

use crate::{
    observe::{CommitObserver, GroupObserver},
    plan::{STORAGE, server_name},
    world::{Crash, World},
};

/// Address of the storage's node.
const STORAGE_IP: [u8; 4] = [10, 0, 0, 1];
/// Port of the storage's node.
const STORAGE_PORT: u16 = 4500;
/// A server that cannot reach its storage tries again after this time.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How often the supervisor looks after a server with a disk of its own.
const LOOK: Duration = Duration::from_millis(500);
/// What still fits on a disk when it gets full.
const ROOM_BYTES: u64 = 1_000;
/// No row has this key.
const NO_ROW: &[u8] = b"\x00never";

/// What keeps the rows, as drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum StoragePlan {
    /// FoundationDB; each fault with its chance in a million.
    Shared {
        /// Faults that may always happen.
        chances_ppm: Vec<(StorageFault, u32)>,
        /// See [`Options::late_commits`].
        late_commits: bool,
    },
    /// A disk of the one server's own; each fault of [`StorageFault::DISK`] with its chance in a thousand.
    Disk {
        /// See [`LogOptions::compact_bytes_min`].
        compact_bytes_min: u64,
        /// How long an fsync takes, in microseconds.
        sync_us: (u64, u64),
        /// How long a slow one takes.
        slow_sync_ms: (u64, u64),
        /// Faults that may always happen.
        chances_per_mille: Vec<(StorageFault, u32)>,
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
    /// See [`Faults::capacity_bytes`]: hardly more than is there.
    DiskFull,
    /// See [`Faults::sync_failure_per_mille`].
    SyncFails,
    /// See [`Faults::slow_sync_per_mille`].
    SlowSync,
    /// See [`Faults::read_failure_per_mille`].
    ReadFails,
    /// See [`Faults::flip_per_mille`].
    BitFlips,
}

impl StorageFault {
    /// Those of a disk.
    pub const DISK: [StorageFault; 5] = [
        StorageFault::DiskFull,
        StorageFault::SyncFails,
        StorageFault::SlowSync,
        StorageFault::ReadFails,
        StorageFault::BitFlips,
    ];

    /// Those of FoundationDB.
    pub const SHARED: [StorageFault; 12] = [
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

    /// Any of those of FoundationDB, or of a disk.
    pub fn draw(random: &mut Random, shared: bool) -> StorageFault {
        let faults: &[StorageFault] = if shared { &StorageFault::SHARED } else { &StorageFault::DISK };
        random.pick(faults).copied().unwrap_or(StorageFault::Conflict)
    }

    fn of_fdb(self) -> Option<FdbFault> {
        Some(match self {
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
            _ => return None,
        })
    }

    /// Chance in a million while a planned fault of this kind lasts. A recovery happens once.
    fn planned_ppm(self) -> u32 {
        match self {
            StorageFault::Recovery => 0,
            StorageFault::LostReply | StorageFault::SlowReply => 50_000,
            _ => 200_000,
        }
    }

    /// The same of a disk, in a thousand.
    fn planned_per_mille(self) -> u32 {
        match self {
            StorageFault::SlowSync => 500,
            StorageFault::SyncFails => 100,
            StorageFault::ReadFails => 100,
            _ => 20,
        }
    }
}

impl std::fmt::Display for StorageFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{self:?}")
    }
}

impl StoragePlan {
    /// FoundationDB; with faults, each of a part of them has a chance of its own.
    pub fn draw_shared(random: &mut Random, fails: bool) -> StoragePlan {
        let mut chances_ppm = Vec::new();
        if fails {
            for fault in random.subset(&StorageFault::SHARED, 50) {
                let most = if fault == StorageFault::Recovery { 100 } else { 20_000 };
                chances_ppm.push((fault, random.between((1, most)) as u32));
            }
        }
        StoragePlan::Shared { chances_ppm, late_commits: fails && random.percent(30) }
    }

    /// A disk of the server's own; with faults, each of a part of them has a chance of its own.
    pub fn draw_disk(random: &mut Random, fails: bool) -> StoragePlan {
        let least_us = random.between((100, 20_000));
        let slow_ms = random.between((100, 4_000));
        let mut chances_per_mille = Vec::new();
        if fails {
            for fault in random.subset(&StorageFault::DISK[1..], 50) {
                let most = if fault == StorageFault::SlowSync { 50 } else { 2 };
                chances_per_mille.push((fault, random.between((1, most)) as u32));
            }
        }
        StoragePlan::Disk {
            compact_bytes_min: if random.percent(50) { 4 << 20 } else { random.between((1_000, 200_000)) },
            sync_us: (least_us, least_us * random.between((1, 4))),
            slow_sync_ms: (slow_ms, slow_ms * 2),
            chances_per_mille,
        }
    }

    fn chances(&mut self) -> &mut Vec<(StorageFault, u32)> {
        match self {
            StoragePlan::Shared { chances_ppm, .. } => chances_ppm,
            StoragePlan::Disk { chances_per_mille, .. } => chances_per_mille,
        }
    }

    /// Whether it fails by chance, from the start.
    pub fn fails(&self) -> bool {
        !self.clone().chances().is_empty()
    }

    /// Plans with fewer faults.
    pub fn smaller(&self) -> Vec<StoragePlan> {
        let count = self.clone().chances().len();
        let mut plans = Vec::new();
        if count > 1 {
            let mut plan = self.clone();
            plan.chances().clear();
            plans.push(plan);
        }
        for index in 0..count {
            let mut plan = self.clone();
            plan.chances().remove(index);
            plans.push(plan);
        }
        plans
    }
}

/// The storage of a run. Cheap to clone.
#[derive(Clone)]
pub enum StorageNode {
    /// FoundationDB.
    Shared(SharedStorage),
    /// A disk.
    Disk(Arc<DiskStorage>),
}

impl StorageNode {
    /// Puts it in place; what it commits is recorded.
    pub fn start(world: &World, plan: &StoragePlan, tenant: &str) -> StorageNode {
        match plan {
            StoragePlan::Shared { chances_ppm, late_commits } => {
                let options = Options { late_commits: *late_commits };
                StorageNode::Shared(SharedStorage::start(world, chances_ppm, options, tenant))
            }
            StoragePlan::Disk { .. } => StorageNode::Disk(Arc::new(DiskStorage::start(world, plan, tenant))),
        }
    }

    /// The storage as a server sees it; waits until there is one.
    pub async fn open(&self, env: &Env) -> Arc<dyn Storage> {
        match self {
            StorageNode::Shared(storage) => storage.open(env).await,
            StorageNode::Disk(storage) => storage.open(env).await,
        }
    }

    /// A fault begins.
    pub fn begin(&self, fault: &StorageFault) {
        match self {
            StorageNode::Shared(storage) => storage.begin(*fault),
            StorageNode::Disk(storage) => storage.begin(*fault),
        }
    }

    /// A fault ends.
    pub fn end(&self, fault: &StorageFault) {
        match self {
            StorageNode::Shared(storage) => storage.end(*fault),
            StorageNode::Disk(storage) => storage.end(*fault),
        }
    }

    /// A node is gone, or is about to be started.
    pub fn node_crashed(&self, node: &str, crash: Crash) {
        if let StorageNode::Disk(storage) = self
            && node == storage.server
        {
            storage.server_crashed(crash);
        }
    }

    /// No fault from now on.
    pub fn heal(&self) {
        match self {
            StorageNode::Shared(storage) => lock(&storage.knobs).heal(),
            StorageNode::Disk(storage) => storage.heal(),
        }
    }

    /// How often each fault has happened.
    pub fn happened(&self) -> Vec<(String, u64)> {
        match self {
            StorageNode::Shared(storage) => storage.happened(),
            StorageNode::Disk(storage) => storage.happened(),
        }
    }
}

/// One FoundationDB that all servers share.
#[derive(Clone)]
pub struct SharedStorage {
    knobs: Arc<Mutex<FaultKnobs>>,
    chances_ppm: Vec<(StorageFault, u32)>,
    options: Options,
}

impl SharedStorage {
    fn start(world: &World, chances_ppm: &[(StorageFault, u32)], options: Options, tenant: &str) -> SharedStorage {
        let knobs = Arc::new(Mutex::new(FaultKnobs::default()));
        let cluster = Arc::new(Mutex::new(Cluster::default()));
        let revisions = lock(&cluster).revisions();
        let revision_of = move |stamp: &Stamp| revisions.of_commit(Position::of_stamp(stamp)).0;
        let observer = CommitObserver::new(world.recorder.clone(), STORAGE, tenant, revision_of);
        let observer: Observer = Arc::new(move |seen: &CommitSeen| observer.committed(seen.revision.0, &seen.rows));
        let node = SharedStorage { knobs: knobs.clone(), chances_ppm: chances_ppm.to_vec(), options };
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

    async fn open(&self, env: &Env) -> Arc<dyn Storage> {
        let address = SocketAddr::from((STORAGE_IP, STORAGE_PORT));
        loop {
            match FdbStorage::connect_with(env.clone(), &[address], self.options).await {
                Ok(storage) => return storage,
                Err(_) => env.sleep(CONNECT_PAUSE).await,
            }
        }
    }

    fn begin(&self, fault: StorageFault) {
        let Some(of_fdb) = fault.of_fdb() else { return };
        let mut knobs = lock(&self.knobs);
        if fault == StorageFault::Recovery {
            knobs.once(of_fdb);
        } else {
            knobs.set(of_fdb, fault.planned_ppm());
        }
    }

    fn end(&self, fault: StorageFault) {
        let usual = self.chances_ppm.iter().find(|(usual, _)| *usual == fault).map_or(0, |(_, ppm)| *ppm);
        if let Some(of_fdb) = fault.of_fdb() {
            lock(&self.knobs).set(of_fdb, usual);
        }
    }

    fn reset(&self) {
        let mut knobs = lock(&self.knobs);
        for (fault, ppm) in &self.chances_ppm {
            if let Some(of_fdb) = fault.of_fdb() {
                knobs.set(of_fdb, *ppm);
            }
        }
    }

    fn happened(&self) -> Vec<(String, u64)> {
        let knobs = lock(&self.knobs);
        let faults = StorageFault::SHARED.iter().filter_map(|fault| Some((fault, fault.of_fdb()?)));
        faults.map(|(fault, of_fdb)| (fault.to_string(), knobs.happened(of_fdb))).collect()
    }
}

/// A disk of the one server's own, and what looks after the server: when its storage has stopped after a failed write, it
/// is killed and started again.
#[derive(Clone)]
pub struct DiskStorage {
    world: World,
    server: String,
    disk: Disk,
    options: LogOptions,
    usual: Faults,
    observer: Arc<GroupObserver>,
    /// Why the storage of the running server has stopped.
    stopped: Arc<Mutex<Option<String>>>,
    happened: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl DiskStorage {
    fn start(world: &World, plan: &StoragePlan, tenant: &str) -> DiskStorage {
        let StoragePlan::Disk { compact_bytes_min, sync_us, slow_sync_ms, chances_per_mille } = plan.clone() else {
            unreachable!("the plan is of a disk");
        };
        let times = |(least, most): (u64, u64), unit: fn(u64) -> Duration| unit(least)..=unit(most.max(least));
        let mut usual = Faults {
            sync_time: times(sync_us, Duration::from_micros),
            slow_sync_time: times(slow_sync_ms, Duration::from_millis),
            ..Faults::default()
        };
        for (fault, per_mille) in chances_per_mille {
            if let Some(chance) = chance_of(fault, &mut usual) {
                *chance = per_mille;
            }
        }
        let revision_of = |stamp: &Stamp| triune_storage::revision_of(stamp).0;
        let commits = CommitObserver::new(world.recorder.clone(), STORAGE, tenant, revision_of);
        let storage = DiskStorage {
            world: world.clone(),
            server: server_name(1),
            disk: Disk::new(world.env().entropy, usual.clone()),
            options: LogOptions { compact_bytes_min: usize::try_from(compact_bytes_min).unwrap_or(usize::MAX) },
            usual,
            observer: Arc::new(GroupObserver::new(commits)),
            stopped: Arc::default(),
            happened: Arc::default(),
        };
        madsim::task::spawn(storage.clone().look_after());
        storage
    }

    async fn open(&self, env: &Env) -> Arc<dyn Storage> {
        loop {
            let opened = triune_sim_disk::open_observed(env, &self.disk, self.options, self.observer.clone()).await;
            match opened {
                Ok(storage) => {
                    let changed = storage.changed(NO_ROW.into(), None);
                    let stopped = self.stopped.clone();
                    env.spawn_detached("storage stops", async move {
                        if let Err(StorageError::Unavailable(reason)) = changed.await
                            && reason.starts_with("writes stopped")
                        {
                            *lock(&stopped) = Some(reason);
                        }
                    });
                    return storage;
                }
                Err(OpenError::Disk(error)) => {
                    self.world.recorder.record(&self.server, Body::Note(format!("the store is not opened: {error}")));
                    env.sleep(CONNECT_PAUSE).await;
                }
                // Nothing in a run damages what was synced.
                Err(error @ OpenError::Corrupt(_)) => panic!("{error}"),
            }
        }
    }

    /// Restarts the server when its storage has stopped, and tells what the disk did.
    async fn look_after(self) {
        loop {
            self.world.sleep(LOOK).await;
            self.take_incidents();
            let stopped = lock(&self.stopped).take();
            if let Some(reason) = stopped
                && self.world.is_alive(&self.server)
            {
                self.world.fault(format!("{} is restarted: {reason}", self.server));
                self.world.crash(&self.server, Crash::Process);
                self.server_crashed(Crash::Process);
                self.world.restart(&self.server);
            }
        }
    }

    fn server_crashed(&self, crash: Crash) {
        *lock(&self.stopped) = None;
        match crash {
            Crash::Process => self.disk.kill(),
            Crash::Host => drop(self.disk.crash(&*self.world.env().entropy)),
        }
        self.take_incidents();
    }

    fn take_incidents(&self) {
        let mut happened = lock(&self.happened);
        for incident in self.disk.take_incidents() {
            *happened.entry(incident.kind().to_owned()).or_default() += 1;
            self.world.recorder.record(&self.server, Body::Note(format!("disk: {incident}")));
        }
    }

    fn begin(&self, fault: StorageFault) {
        let mut faults = self.disk.faults();
        match fault {
            StorageFault::DiskFull => faults.capacity_bytes = self.disk.used_bytes() + ROOM_BYTES,
            _ => {
                if let Some(chance) = chance_of(fault, &mut faults) {
                    *chance = fault.planned_per_mille();
                }
            }
        }
        self.disk.set_faults(faults);
    }

    fn end(&self, fault: StorageFault) {
        let (mut faults, mut usual) = (self.disk.faults(), self.usual.clone());
        match (chance_of(fault, &mut faults), chance_of(fault, &mut usual)) {
            (Some(chance), Some(usual)) => *chance = *usual,
            _ => faults.capacity_bytes = u64::MAX,
        }
        self.disk.set_faults(faults);
    }

    fn heal(&self) {
        self.disk.set_faults(Faults { sync_time: self.usual.sync_time.clone(), ..Faults::default() });
    }

    fn happened(&self) -> Vec<(String, u64)> {
        self.take_incidents();
        lock(&self.happened).iter().map(|(kind, count)| (kind.clone(), *count)).collect()
    }
}

/// Where the chance of a fault is kept.
fn chance_of(fault: StorageFault, faults: &mut Faults) -> Option<&mut u32> {
    match fault {
        StorageFault::SyncFails => Some(&mut faults.sync_failure_per_mille),
        StorageFault::SlowSync => Some(&mut faults.slow_sync_per_mille),
        StorageFault::ReadFails => Some(&mut faults.read_failure_per_mille),
        StorageFault::BitFlips => Some(&mut faults.flip_per_mille),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
