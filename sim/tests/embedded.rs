//! An API server with the embedded store on a disk of its own: power cuts and killed processes lose nothing that a client
//! was told.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use triune_env::{Env, storage::Storage};
use triune_sim::{
    server::{self, PORT, ServerSettings},
    world::{Crash, World, simulate},
};
use triune_sim_disk::{Disk, Faults, LogOptions};
use triune_store::StoreOptions;

const ADDRESS: [u8; 4] = [10, 0, 1, 1];
const COLLECTION: &str = "/api/v1/namespaces/default/configmaps";
const CRASHES: u64 = 6;
const WRITERS: usize = 4;

/// The status of the answer to a request over HTTP/1.1; None if there was none.
async fn status(env: &Env, method: &str, path: &str, body: &str) -> Option<u16> {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: sim\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let exchange = async {
        let mut stream = env.network.connect(SocketAddr::from((ADDRESS, PORT))).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
    };
    env.timeout(Duration::from_secs(5), exchange).await.ok()?
}

/// Opens the store of a disk, as often as it takes.
async fn opened(env: &Env, disk: &Disk) -> Arc<dyn Storage> {
    loop {
        match triune_sim_disk::open(env, disk, LogOptions { compact_bytes_min: 50_000 }).await {
            Ok(storage) => return storage,
            Err(triune_sim_disk::OpenError::Disk(_)) => env.sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

fn add_server(world: &World, disk: &Disk) {
    let settings = ServerSettings {
        kube: triune_kube::Settings::default(),
        store: StoreOptions::default(),
        shutdown_delay: Duration::ZERO,
        watch_termination_grace: Duration::ZERO,
    };
    let disk = disk.clone();
    world.add_node("api", ADDRESS, move |process| {
        let (disk, settings) = (disk.clone(), settings.clone());
        async move {
            let env = process.env.clone();
            server::serve(process, settings, || opened(&env, &disk)).await;
        }
    });
}

/// Crashes a server again and again while a client creates objects. Gives how many the client was told were made, and how
/// many of those are there in the end.
async fn run(world: World, crash: impl Fn(&World, &Disk, u64)) -> (usize, usize) {
    let faults = Faults { slow_sync_per_mille: 20, read_failure_per_mille: 2, ..Faults::default() };
    let disk = Disk::new(world.env().entropy, faults);
    add_server(&world, &disk);
    let told: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
    let its_told = told.clone();
    world.add_node("client", [10, 0, 2, 1], move |process| {
        let told = its_told.clone();
        async move {
            let (env, told) = (&process.env, &told);
            let writers = (0..WRITERS).map(|writer| async move {
                for number in (writer..).step_by(WRITERS) {
                    let body = format!(r#"{{"metadata":{{"name":"n{number}"}},"data":{{"k":"{}"}}}}"#, "v".repeat(700));
                    match status(env, "POST", COLLECTION, &body).await {
                        Some(201) => drop(told.lock().unwrap().insert(number)),
                        Some(_) => {}
                        None => env.sleep(Duration::from_millis(50)).await,
                    }
                }
            });
            futures::future::join_all(writers).await;
        }
    });
    for number in 0..CRASHES {
        world.sleep(Duration::from_millis(1_000 + world.env().entropy.u64() % 2_000)).await;
        crash(&world, &disk, number);
        world.sleep(Duration::from_millis(500)).await;
        world.restart("api");
    }
    world.sleep(Duration::from_secs(2)).await;
    world.crash("client", Crash::Process);
    disk.set_faults(Faults::default());
    let told = told.lock().unwrap().clone();
    let found: Arc<Mutex<usize>> = Arc::default();
    let (asked, its_found) = (told.clone(), found.clone());
    world.add_node("reader", [10, 0, 2, 2], move |process| {
        let (told, found) = (asked.clone(), its_found.clone());
        async move {
            process.env.sleep(Duration::from_secs(10)).await;
            for number in told {
                let there = status(&process.env, "GET", &format!("{COLLECTION}/n{number}"), "").await;
                *found.lock().unwrap() += usize::from(there == Some(200));
            }
        }
    });
    while world.is_alive("reader") {
        world.sleep(Duration::from_secs(1)).await;
    }
    let found = *found.lock().unwrap();
    (told.len(), found)
}

#[test]
fn nothing_that_a_client_was_told_is_lost() {
    let mut total = 0;
    for seed in 1..=8 {
        let (told, found) = simulate(seed, |world| {
            run(world, |world, disk, number| {
                if number % 3 == 2 {
                    world.crash("api", Crash::Process);
                    disk.kill();
                } else {
                    world.crash("api", Crash::Host);
                    disk.crash(&*world.env().entropy);
                }
            })
        });
        println!("seed {seed}: {told} told, {found} found");
        assert_eq!(told, found, "seed {seed}");
        total += told;
    }
    assert!(total > 800, "only {total} objects were made: the test shows nothing");
}

/// The same with a disk that forgets what was synced: an empty one.
#[test]
fn a_lost_disk_is_noticed() {
    let (told, found) = simulate(1, |world| {
        run(world, |world, disk, _| {
            world.crash("api", Crash::Host);
            disk.kill();
            let system = disk.mount(&world.env());
            if system.names().is_ok_and(|names| names.iter().any(|name| name == "log")) {
                system.remove("log").expect("a log");
            }
        })
    });
    assert!(found < told, "{told} told, {found} found");
}
