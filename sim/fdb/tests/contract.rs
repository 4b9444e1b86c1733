//! The storage contract, against the simulated FoundationDB: over the real loopback, and in memory with paused time.

mod common;

use std::sync::Arc;

use common::World;
use triune_env::{
    BoxFuture,
    contract::{Harness, Subject, Test},
    storage::Storage,
};
use triune_sim_fdb::Options;

/// Opening again is a crash of the node, and a new connection.
async fn subject(world: World) -> Subject {
    let (env, storage) = (world.env.clone(), world.client(Options::default()).await);
    let world = Arc::new(world);
    let reopen = move || {
        let world = world.clone();
        Box::pin(async move {
            world.crash();
            world.start().await;
            world.client(Options::default()).await
        }) as BoxFuture<'static, Arc<dyn Storage>>
    };
    Subject { env, storage, reopen: Some(Arc::new(reopen)) }
}

struct Loopback;

impl Harness for Loopback {
    fn run(self, test: Test) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::on(triune_platform::env(), "127.0.0.1:0").await;
            test(subject(world).await).await;
        });
    }
}

struct InMemory;

impl Harness for InMemory {
    fn run(self, test: Test) {
        common::run(async { test(subject(World::in_memory(1).await).await).await });
    }
}

mod over_loopback {
    triune_env::storage_contract!(super::Loopback);
}

mod in_memory {
    triune_env::storage_contract!(super::InMemory);
}
