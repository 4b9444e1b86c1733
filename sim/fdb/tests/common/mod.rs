//! A world for tests: one node, clients, a network in memory, randomness of a seed, and what the observer saw.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::DuplexStream,
    sync::mpsc::{Receiver, Sender, channel},
};
use triune_env::{
    BoxFuture, Connection, Entropy, Env, Listener, Network, TaskHandle,
    storage::{CommitError, Isolation, Revision, Storage, StorageError, Transaction},
};
use triune_sim_fdb::{Cluster, CommitSeen, DelayRange, FaultKnobs, FdbStorage, Node, Options};

/// Pipes instead of sockets: nothing depends on the kernel, so paused time does not run away.
#[derive(Default)]
pub struct MemoryNetwork {
    listeners: Arc<Mutex<BTreeMap<SocketAddr, Sender<DuplexStream>>>>,
}

const PIPE_BYTES: usize = 256 << 10;

impl Network for MemoryNetwork {
    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        let (sender, incoming) = channel(100);
        self.listeners.lock().unwrap().insert(address, sender);
        Box::pin(std::future::ready(Ok(Box::new(MemoryListener { incoming, address }) as Box<dyn Listener>)))
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let listener = self.listeners.lock().unwrap().get(&address).cloned();
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            listener.ok_or_else(refused)?.send(far).await.map_err(|_| refused())?;
            Ok(Box::new(near) as Box<dyn Connection>)
        })
    }
}

struct MemoryListener {
    incoming: Receiver<DuplexStream>,
    address: SocketAddr,
}

impl Listener for MemoryListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(async {
            match self.incoming.recv().await {
                Some(stream) => Ok((Box::new(stream) as Box<dyn Connection>, self.address)),
                None => std::future::pending().await,
            }
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.address
    }
}

/// SplitMix64.
pub struct Seeded(Mutex<u64>);

impl Seeded {
    pub fn new(seed: u64) -> Seeded {
        Seeded(Mutex::new(seed))
    }
}

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// One node and what it serves.
pub struct World {
    pub env: Env,
    pub address: SocketAddr,
    pub cluster: Arc<Mutex<Cluster>>,
    pub faults: Arc<Mutex<FaultKnobs>>,
    pub seen: Arc<Mutex<Vec<CommitSeen>>>,
    node: Mutex<Option<TaskHandle>>,
}

impl World {
    /// In memory, all randomness of a seed.
    pub async fn in_memory(seed: u64) -> World {
        let network = Arc::new(MemoryNetwork::default());
        let env = Env { network, entropy: Arc::new(Seeded::new(seed)), ..triune_platform::env() };
        World::on(env, "10.0.0.1:4500").await
    }

    /// On a platform; the node is started.
    pub async fn on(env: Env, address: &str) -> World {
        let mut faults = FaultKnobs::default();
        faults.recovery = DelayRange::ms(0, 10);
        let mut world = World {
            env,
            address: address.parse().unwrap(),
            cluster: Arc::default(),
            faults: Arc::new(Mutex::new(faults)),
            seen: Arc::default(),
            node: Mutex::new(None),
        };
        world.address = world.start().await;
        world
    }

    pub async fn start(&self) -> SocketAddr {
        let node = loop {
            let seen = self.seen.clone();
            let observer = Arc::new(move |commit: &CommitSeen| seen.lock().unwrap().push(commit.clone()));
            let (cluster, faults) = (self.cluster.clone(), self.faults.clone());
            match Node::listen(self.env.clone(), self.address, cluster, faults, observer).await {
                Ok(node) => break node,
                // The process before has not let go of the port yet.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    self.env.sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let address = node.address();
        *self.node.lock().unwrap() = Some(self.env.spawn("fdb", node.run()));
        address
    }

    /// The process dies: connections end.
    pub fn crash(&self) {
        *self.node.lock().unwrap() = None;
    }

    pub async fn client(&self, options: Options) -> Arc<dyn Storage> {
        FdbStorage::connect_with(self.env.clone(), &[self.address], options).await.unwrap()
    }

    pub fn knobs(&self, change: impl FnOnce(&mut FaultKnobs)) {
        change(&mut self.faults.lock().unwrap());
    }

    /// Revisions of the commits that set this value.
    pub fn commits_of(&self, value: &str) -> Vec<Revision> {
        let seen = self.seen.lock().unwrap();
        let of = |commit: &&CommitSeen| commit.rows.iter().any(|(_, row)| row.as_deref() == Some(value.as_bytes()));
        seen.iter().filter(of).map(|commit| commit.revision).collect()
    }
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub async fn begin(storage: &Arc<dyn Storage>) -> Box<dyn Transaction> {
    storage.begin().await.unwrap()
}

pub async fn put(storage: &Arc<dyn Storage>, key: &str, value: &str) -> Result<Revision, CommitError> {
    let mut transaction = begin(storage).await;
    transaction.set(bytes(key), bytes(value));
    transaction.commit().await
}

pub async fn get(storage: &Arc<dyn Storage>, key: &str) -> Result<Option<Bytes>, StorageError> {
    storage.begin().await?.get(key.as_bytes(), Isolation::Snapshot).await
}

/// Runs a test with paused time, on one thread.
pub fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(test);
}
