//! API servers on simulated nodes: hyper, the listener code and the chain of the daemon run unchanged.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use triune_env::{Env, storage::Storage};
use triune_sim::{
    server::{self, PORT, ServerSettings},
    world::{World, simulate},
};
use triune_store::StoreOptions;

/// Sends a request over HTTP/1.1 and gives the whole answer.
async fn ask(env: &Env, server: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = env.network.connect(server).await.expect("a connection");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: sim\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

fn three_servers(world: &World) -> Vec<SocketAddr> {
    let storage = triune_storage::memory(world.env());
    let settings = ServerSettings {
        kube: triune_kube::Settings::default(),
        store: StoreOptions::default(),
        shutdown_delay: Duration::ZERO,
        watch_termination_grace: Duration::ZERO,
    };
    let mut addresses = Vec::new();
    for number in 1..=3 {
        let (storage, settings) = (storage.clone(), settings.clone());
        let ip = [10, 0, 1, number];
        world.add_node(&format!("api-{number}"), ip, move |process| {
            let (storage, settings) = (storage.clone(), settings.clone());
            async move {
                let open = || std::future::ready(storage.clone() as Arc<dyn Storage>);
                server::serve(process, settings, open).await;
            }
        });
        addresses.push(SocketAddr::from((ip, PORT)));
    }
    addresses
}

#[test]
fn what_one_server_stores_another_shows() {
    simulate(1, |world| async move {
        let servers = three_servers(&world);
        world.add_node("client", [10, 0, 2, 1], move |process| {
            let servers = servers.clone();
            async move {
                let env = &process.env;
                env.sleep(Duration::from_secs(1)).await;
                for server in &servers {
                    let ready = ask(env, *server, "GET", "/readyz", "").await;
                    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
                }
                let body = r#"{"metadata":{"name":"a"},"data":{"k":"v"}}"#;
                let path = "/api/v1/namespaces/default/configmaps";
                let made = ask(env, servers[0], "POST", path, body).await;
                assert!(made.starts_with("HTTP/1.1 201"), "{made}");
                let seen = ask(env, servers[1], "GET", &format!("{path}/a"), "").await;
                assert!(seen.contains(r#""data":{"k":"v"}"#), "{seen}");
            }
        });
        world.sleep(Duration::from_secs(5)).await;
        assert!(!world.is_alive("client"), "the client has not ended");
    });
}
