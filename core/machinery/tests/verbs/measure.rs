//! Figures of this layer, over memory storage and without a socket. Not a test of anything; run it with
//! `cargo test --release -p triune-machinery --test verbs -- --ignored --nocapture measure`.

use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use triune_machinery::body::Body;

use crate::world::World;

const MAPS: &str = "/api/v1/namespaces/n/configmaps";
const OBJECTS: u32 = 10_000;

/// A config map of about 1 KiB.
fn config_map(number: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{number:05}"), "labels": {"app": "x"}},
        "data": {"payload": "x".repeat(900)}})
}

fn report(what: &str, count: u32, elapsed: Duration) {
    println!("{what}: {:?} each", elapsed / count);
}

#[allow(clippy::disallowed_methods)] // this measures real time
fn now() -> Instant {
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "figures, not a test"]
async fn measure() {
    let world = World::new().await;
    let post = format!("POST {MAPS}");
    let bodies: Vec<Value> = (0..OBJECTS).map(|number| Value::String(config_map(number).to_string())).collect();
    let start = now();
    for body in &bodies {
        let (_, response) = world.send(&post, body).await;
        assert_eq!(response.status(), 201);
    }
    report("create 1 KiB", OBJECTS, start.elapsed());
    let start = now();
    for number in 0..OBJECTS {
        let (_, response) = world.send(&format!("GET {MAPS}/m{number:05}"), &Value::Null).await;
        assert_eq!(response.status(), 200);
    }
    report("get", OBJECTS, start.elapsed());
    let start = now();
    for number in 0..OBJECTS {
        let patch = json!({"data": {"a": number.to_string()}});
        let (_, response) = world.send(&format!("PATCH {MAPS}/m{number:05}"), &patch).await;
        assert_eq!(response.status(), 200);
    }
    report("merge patch", OBJECTS, start.elapsed());
    for round in 0..5 {
        let start = now();
        let (_, response) = world.send(&format!("GET {MAPS}"), &Value::Null).await;
        let Body::Chunks(chunks) = response.body() else { panic!("a list has a known length") };
        let bytes: usize = chunks.iter().map(bytes::Bytes::len).sum();
        println!("list {round}: {:?} for {bytes} bytes in {} chunks", start.elapsed(), chunks.len());
    }
    let start = now();
    let (_, response) = world.send(&format!("GET {MAPS}?watch=1"), &Value::Null).await;
    let Body::Stream(mut events) = response.into_body() else { panic!("a watch is a stream") };
    let (mut lines, mut chunks) = (0, 0);
    while lines < OBJECTS as usize {
        let chunk = events.next().await.expect("more events");
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
        chunks += 1;
    }
    println!("watch: {OBJECTS} initial events in {:?}, {chunks} chunks", start.elapsed());
}
