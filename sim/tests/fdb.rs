//! The simulated FoundationDB on simulated nodes: the storage contract over the simulated network, and crashes of its host.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use triune_env::{
    BoxFuture,
    contract::{Harness, Subject, Test},
    storage::{CommitError, Isolation, Storage, StorageError},
};
use triune_sim::world::{Crash, World, simulate};
use triune_sim_fdb::{Cluster, DelayRange, FaultKnobs, FdbStorage, serve};

const ADDRESS: ([u8; 4], u16) = ([10, 0, 0, 1], 4500);

/// A store node; the supervisor has an address, too, since it is the client.
fn add_store(world: &World) -> Arc<Mutex<Cluster>> {
    world.network.add_node(madsim::plugin::node(), IpAddr::from([10, 0, 9, 9]));
    let cluster = Arc::<Mutex<Cluster>>::default();
    let mut knobs = FaultKnobs::default();
    knobs.recovery = DelayRange::ms(0, 10);
    let (served, faults) = (cluster.clone(), Arc::new(Mutex::new(knobs)));
    world.add_node("store", ADDRESS.0, move |process| {
        let (cluster, faults) = (served.clone(), faults.clone());
        async move {
            let _ = serve(process.env, SocketAddr::from(ADDRESS), cluster, faults, Arc::new(|_| ())).await;
        }
    });
    cluster
}

async fn connect(world: &World) -> Arc<dyn Storage> {
    loop {
        match FdbStorage::connect(world.env(), &[SocketAddr::from(ADDRESS)]).await {
            Ok(storage) => return storage,
            Err(_) => world.sleep(Duration::from_millis(10)).await,
        }
    }
}

struct Simulated;

impl Harness for Simulated {
    fn run(self, test: Test) {
        simulate(1, |world| async move {
            add_store(&world);
            let (env, storage) = (world.env(), connect(&world).await);
            let reopen = move || {
                let world = world.clone();
                Box::pin(async move {
                    world.restart("store");
                    connect(&world).await
                }) as BoxFuture<'static, Arc<dyn Storage>>
            };
            test(Subject { env, storage, reopen: Some(Arc::new(reopen)) }).await;
        });
    }
}

mod contract {
    triune_env::storage_contract!(super::Simulated);
}

#[test]
fn a_host_that_vanishes_is_given_up_and_its_successor_found() {
    simulate(1, |world| async move {
        add_store(&world);
        let storage = connect(&world).await;
        let mut transaction = storage.begin().await.unwrap();
        transaction.set(Bytes::from_static(b"key"), Bytes::from_static(b"value"));
        let wait = storage.changed(Bytes::from_static(b"key"), None);
        let crash = async {
            world.sleep(Duration::from_micros(1)).await;
            world.crash("store", Crash::Host);
            world.sleep(Duration::from_secs(1)).await;
            world.restart("store");
        };
        let (outcome, ()) = futures::join!(transaction.commit(), crash);
        assert_eq!(outcome, Err(CommitError::Unknown));
        let value = storage.begin().await.unwrap().get(b"key", Isolation::Snapshot).await;
        assert_eq!(value, Ok(None), "the request was lost with the host");
        let write = async {
            let mut transaction = storage.begin().await.unwrap();
            transaction.set(Bytes::from_static(b"key"), Bytes::from_static(b"value"));
            transaction.commit().await.unwrap();
        };
        let (changed, ()) = futures::join!(wait, write);
        assert_eq!(changed, Ok(()));
    });
}

#[test]
fn across_a_cut_nothing_is_available_until_it_heals() {
    simulate(1, |world| async move {
        add_store(&world);
        let storage = connect(&world).await;
        let store = world.id_of("store").unwrap();
        world.network.cut(madsim::plugin::node(), store, true);
        let started = world.elapsed();
        assert!(matches!(storage.read_version().await, Err(StorageError::Unavailable(_))));
        assert!(world.elapsed() - started < Duration::from_secs(6), "{:?}", world.elapsed() - started);
        world.network.heal();
        world.sleep(Duration::from_secs(3)).await;
        assert!(storage.read_version().await.is_ok());
    });
}
