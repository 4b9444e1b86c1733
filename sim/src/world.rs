//! A simulation around its nodes: they start, crash, pause and end at the supervisor's word.
//!
//! A node is a name, an address and a future that starts again at each restart. madsim restarts a node without telling the
//! network that the old process is gone; here a restart is always a kill first.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use madsim::{
    Config,
    runtime::{Handle, Runtime},
    task::NodeId,
    time::TimeHandle,
};
use triune_env::{BoxFuture, Env};
use triune_history::{At, Body, NodeChange, Recorder};
use triune_machinery::signal::Signal;

use crate::{
    network::SimNetwork,
    platform::{self, WallClock},
    time::sleep_until,
};

/// A running simulation. Cheap to clone.
#[derive(Clone)]
pub struct World {
    handle: Handle,
    time: TimeHandle,
    /// Its links.
    pub network: Arc<SimNetwork>,
    /// What happens.
    pub recorder: Recorder,
    nodes: Arc<Mutex<Nodes>>,
}

#[derive(Default)]
struct Nodes {
    by_name: BTreeMap<String, NodeState>,
    names: BTreeMap<NodeId, String>,
}

struct NodeState {
    id: NodeId,
    ip: IpAddr,
    alive: bool,
    paused: bool,
    /// It was asked to stop while it stood still: it learns it when it goes on.
    asked: bool,
    wall: Arc<Mutex<WallClock>>,
    /// Of the running process.
    stop: Arc<Mutex<Signal>>,
}

/// What a node's process starts with.
pub struct Process {
    /// Name of the node.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
    /// Its platform.
    pub env: Env,
    /// Given when it is asked to stop (SIGTERM).
    pub stop: Signal,
    /// What happens.
    pub recorder: Recorder,
}

/// How a node goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crash {
    /// SIGKILL: the operating system resets its connections.
    Process,
    /// Power loss: its peers see nothing.
    Host,
}

/// Runs a simulation of one seed to the end of `main`, which is its supervisor.
pub fn simulate<T, F>(seed: u64, main: impl FnOnce(World) -> F) -> T
where
    F: Future<Output = T>,
{
    let runtime = Runtime::with_seed_and_config(seed, Config::default());
    runtime.add_simulator::<SimNetwork>();
    runtime.block_on(async move {
        let network = SimNetwork::current();
        madsim::task::spawn(network.clone().pump());
        let time = TimeHandle::current();
        let clock = time.clone();
        let now = move || At(u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let world =
            World { handle: Handle::current(), time, network, recorder: Recorder::new(now), nodes: Arc::default() };
        main(world).await
    })
}

impl World {
    /// Makes a node and starts its process; `start` makes the process of each start.
    ///
    /// # Panics
    /// If the name or address is taken: the scenario is wrong.
    pub fn add_node<F>(&self, name: &str, ip: [u8; 4], start: impl Fn(Process) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let ip = IpAddr::V4(Ipv4Addr::from(ip));
        let wall = Arc::new(Mutex::new(WallClock::default()));
        let stop = Arc::new(Mutex::new(Signal::new()));
        let (its_name, its_wall, its_stop) = (name.to_owned(), wall.clone(), stop.clone());
        let (recorder, nodes) = (self.recorder.clone(), self.nodes.clone());
        let started = move || -> BoxFuture<'static, ()> {
            let signal = Signal::new();
            *lock(&its_stop) = signal.clone();
            let process = Process {
                name: its_name.clone(),
                ip,
                env: platform::env(its_wall.clone()),
                stop: signal,
                recorder: recorder.clone(),
            };
            let (name, recorder, nodes) = (its_name.clone(), recorder.clone(), nodes.clone());
            let running = start(process);
            Box::pin(async move {
                recorder.record(&name, Body::Node(NodeChange::Started));
                running.await;
                recorder.record(&name, Body::Node(NodeChange::Stopped));
                if let Some(node) = lock(&nodes).by_name.get_mut(&name) {
                    node.alive = false;
                }
            })
        };

        let node = self.handle.create_node().name(name).ip(ip).init(started).build();
        let state = NodeState { id: node.id(), ip, alive: true, paused: false, asked: false, wall, stop };
        self.network.add_node(node.id(), ip);
        let mut nodes = lock(&self.nodes);
        assert!(nodes.by_name.insert(name.to_owned(), state).is_none(), "two nodes are called {name}");
        nodes.names.insert(node.id(), name.to_owned());
    }

    /// Kills a node's process or host. Its tasks are gone at once; what it kept in memory is lost.
    pub fn crash(&self, name: &str, crash: Crash) {
        let mut nodes = lock(&self.nodes);
        let Some(node) = nodes.by_name.get_mut(name) else { return };
        if !std::mem::replace(&mut node.alive, false) {
            return;
        }
        (node.paused, node.asked) = (false, false);
        let id = node.id;
        drop(nodes);
        self.recorder.record(name, Body::Node(NodeChange::Crashed));
        self.network.set_host_crash(id, crash == Crash::Host);
        self.handle.kill(id);
    }

    /// Starts a node that is down; kills it first if it is not.
    pub fn restart(&self, name: &str) {
        self.crash(name, Crash::Process);
        let id = {
            let mut nodes = lock(&self.nodes);
            let Some(node) = nodes.by_name.get_mut(name) else { return };
            node.alive = true;
            node.id
        };
        // A process that ended by itself has left no tasks, but its network must forget it all the same.
        self.network.set_host_crash(id, false);
        self.handle.kill(id);
        self.handle.restart(id);
    }

    /// Stops the world for a node: its tasks do not run, its peers wait.
    pub fn pause(&self, name: &str) {
        let mut nodes = lock(&self.nodes);
        let Some(node) = nodes.by_name.get_mut(name).filter(|node| node.alive && !node.paused) else { return };
        node.paused = true;
        self.recorder.record(name, Body::Node(NodeChange::Paused));
        self.handle.pause(node.id);
    }

    /// Lets a paused node go on.
    pub fn resume(&self, name: &str) {
        let mut nodes = lock(&self.nodes);
        let Some(node) = nodes.by_name.get_mut(name).filter(|node| node.paused) else { return };
        node.paused = false;
        let asked = std::mem::take(&mut node.asked);
        self.recorder.record(name, Body::Node(NodeChange::Resumed));
        self.handle.resume(node.id);
        drop(nodes);
        if asked {
            self.ask_to_stop(name);
        }
    }

    /// Asks a node's process to stop, as SIGTERM does; a second time does nothing.
    pub fn ask_to_stop(&self, name: &str) {
        let stop = {
            let mut nodes = lock(&self.nodes);
            let Some(node) = nodes.by_name.get_mut(name).filter(|node| node.alive) else { return };
            if node.paused {
                node.asked = true;
                return;
            }
            lock(&node.stop).clone()
        };
        if stop.is_given() {
            return;
        }
        self.recorder.record(name, Body::Node(NodeChange::AskedToStop));
        stop.give();
    }

    /// Whether the node's process runs (or is paused).
    pub fn is_alive(&self, name: &str) -> bool {
        lock(&self.nodes).by_name.get(name).is_some_and(|node| node.alive)
    }

    /// Names of all nodes.
    pub fn nodes(&self) -> Vec<String> {
        lock(&self.nodes).by_name.keys().cloned().collect()
    }

    /// Name of a node.
    pub fn name_of(&self, id: NodeId) -> Option<String> {
        lock(&self.nodes).names.get(&id).cloned()
    }

    /// For links.
    pub fn id_of(&self, name: &str) -> Option<NodeId> {
        lock(&self.nodes).by_name.get(name).map(|node| node.id)
    }

    /// Address of a node.
    pub fn ip_of(&self, name: &str) -> Option<IpAddr> {
        lock(&self.nodes).by_name.get(name).map(|node| node.ip)
    }

    /// Cuts the link from one node to another, in this direction, or mends it.
    pub fn cut(&self, from: &str, to: &str, cut: bool) {
        if let (Some(from), Some(to)) = (self.id_of(from), self.id_of(to)) {
            self.network.cut(from, to, cut);
        }
    }

    /// Sets a node's wall clock.
    pub fn set_wall(&self, name: &str, wall: WallClock) {
        if let Some(node) = lock(&self.nodes).by_name.get(name) {
            *lock(&node.wall) = wall;
        }
    }

    /// Records a fault for the reader.
    pub fn fault(&self, text: String) {
        self.recorder.record("faults", Body::Fault(text));
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.time.elapsed()
    }

    /// The supervisor waits.
    pub async fn sleep(&self, duration: Duration) {
        sleep_until(&self.time, self.time.now_instant() + duration).await;
    }

    /// The supervisor's own platform.
    pub fn env(&self) -> Env {
        platform::env(Arc::default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
