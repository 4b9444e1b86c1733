//! Watches: initial state, changes, bookmarks, ends and errors.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use triune_machinery::body::Body;

use crate::world::{World, show};

const THINGS: &str = "/apis/test.io/v1/namespaces/n/things";

/// The events of a watch, as text.
struct Watch {
    chunks: futures::stream::BoxStream<'static, bytes::Bytes>,
    text: String,
}

impl Watch {
    async fn start(world: &World, line: &str) -> Watch {
        let (_, response) = world.send(line, &Value::Null).await;
        assert_eq!(response.status(), 200, "{line}");
        assert_eq!(response.headers()["content-type"], "application/json");
        let Body::Stream(chunks) = response.into_body() else { panic!("a watch is a stream") };
        Watch { chunks, text: String::new() }
    }

    /// The next event; None at the end.
    async fn next(&mut self) -> Option<Value> {
        while !self.text.contains('\n') {
            let chunk =
                tokio::time::timeout(Duration::from_secs(10), self.chunks.next()).await.expect("an event in time")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
        let (line, rest) = self.text.split_once('\n').expect("a line");
        let event = serde_json::from_str(line).expect("an event");
        self.text = rest.to_string();
        Some(event)
    }

    /// Compares the next event: `TYPE` and the object's name and size, or what `show` makes of a status.
    async fn check(&mut self, expect: &str) -> Value {
        let event = self.next().await.expect("an event");
        let object = &event["object"];
        let shown = match event["type"].as_str().unwrap_or_default() {
            "ERROR" => format!("ERROR {}", show(object["code"].as_u64().unwrap_or_default() as u16, object)),
            "BOOKMARK" => format!("BOOKMARK {}", object["metadata"].get("annotations").cloned().unwrap_or_default()),
            kind => {
                format!("{kind} {} {}", object["metadata"]["name"].as_str().unwrap_or_default(), object["spec"]["size"])
            }
        };
        assert_eq!(shown, expect);
        event
    }
}

async fn put(world: &World, name: &str, size: i64) -> Value {
    let color = if size % 2 == 0 { "red" } else { "blue" };
    let thing = json!({"metadata": {"name": name, "labels": {"color": color}}, "spec": {"size": size}});
    let (code, created) = world.ask(&format!("POST {THINGS}"), thing.clone()).await;
    if code == 201 {
        return created;
    }
    let (code, updated) = world.ask(&format!("PUT {THINGS}/{name}"), thing).await;
    assert_eq!(code, 200, "{updated}");
    updated
}

fn revision(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn state_then_changes() {
    let world = World::new().await;
    put(&world, "a", 1).await;
    let mut watch = Watch::start(&world, &format!("GET {THINGS}?watch=1")).await;
    watch.check("ADDED a 1").await;
    put(&world, "b", 2).await;
    watch.check("ADDED b 2").await;
    let changed = put(&world, "a", 3).await;
    let event = watch.check("MODIFIED a 3").await;
    assert_eq!(event["object"], changed, "a watch shows what a get shows");
    let (_, before) = world.ask(&format!("GET {THINGS}"), Value::Null).await;
    world.ask(&format!("DELETE {THINGS}/a"), Value::Null).await;
    let event = watch.check("DELETED a 3").await;
    assert!(
        revision(&event["object"]).parse::<u64>().ok() > revision(&before).parse().ok(),
        "at the revision of the delete"
    );
}

#[tokio::test]
async fn changes_after_a_revision() {
    let world = World::new().await;
    let first = put(&world, "a", 1).await;
    put(&world, "a", 2).await;
    let mut watch = Watch::start(&world, &format!("GET {THINGS}?watch=1&resourceVersion={}", revision(&first))).await;
    watch.check("MODIFIED a 2").await;
    let mut by_name = Watch::start(&world, &format!("GET {THINGS}?watch=1&fieldSelector=metadata.name%3Db")).await;
    put(&world, "c", 1).await;
    put(&world, "b", 1).await;
    by_name.check("ADDED b 1").await;
    watch.check("ADDED c 1").await;
}

#[tokio::test]
async fn a_selector_makes_objects_come_and_go() {
    let world = World::new().await;
    let mut watch = Watch::start(&world, &format!("GET {THINGS}?watch=1&labelSelector=color%3Dred")).await;
    put(&world, "a", 1).await;
    put(&world, "a", 2).await;
    watch.check("ADDED a 2").await;
    put(&world, "a", 4).await;
    watch.check("MODIFIED a 4").await;
    put(&world, "a", 5).await;
    watch.check("DELETED a 4").await;
}

#[tokio::test]
async fn initial_events_end() {
    let world = World::new().await;
    put(&world, "a", 1).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::start(&world, &format!("GET {THINGS}?{query}")).await;
    let added = watch.check("ADDED a 1").await;
    let mark = watch.check(r#"BOOKMARK {"k8s.io/initial-events-end":"true"}"#).await;
    assert_eq!((&mark["object"]["kind"], &mark["object"]["apiVersion"]), (&json!("Thing"), &json!("test.io/v1")));
    assert!(revision(&mark["object"]).parse::<u64>().ok() >= revision(&added["object"]).parse().ok());
}

#[tokio::test]
async fn tables_name_their_columns_once() {
    let world = World::new().await;
    put(&world, "a", 1).await;
    put(&world, "b", 1).await;
    let accept = "accept: application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut watch = Watch::start(&world, &format!("GET {THINGS}?watch=1\n{accept}")).await;
    let (first, second) = (watch.next().await.expect("an event"), watch.next().await.expect("an event"));
    assert_eq!(
        (&first["object"]["kind"], &first["object"]["columnDefinitions"][0]["name"]),
        (&json!("Table"), &json!("Name"))
    );
    assert_eq!(second["object"]["columnDefinitions"], Value::Null);
    assert_eq!(second["object"]["rows"][0]["cells"], json!(["b"]));
    let accept = "accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let mut watch = Watch::start(&world, &format!("GET {THINGS}?watch=1\n{accept}")).await;
    let event = watch.check("ADDED a null").await;
    assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_in_time_with_a_last_bookmark() {
    let world = World::new().await;
    let mut watch =
        Watch::start(&world, &format!("GET {THINGS}?watch=1&timeoutSeconds=5&resourceVersion=0&allowWatchBookmarks=1"))
            .await;
    watch.check(r#"BOOKMARK {"k8s.io/initial-events-end":"true"}"#).await;
    watch.check("BOOKMARK null").await;
    assert_eq!(watch.next().await, None);
    let mut watch = Watch::start(&world, &format!("GET {THINGS}?watch=1&timeoutSeconds=5")).await;
    assert_eq!(watch.next().await, None, "no bookmark unless asked for");
}

#[tokio::test]
async fn what_cannot_be_watched() {
    let world = World::new().await;
    let watch = |query: &str| format!("GET {THINGS}?watch=1&{query}");
    world.check(&watch("fieldSelector=x%3Dy"), Value::Null, "400 BadRequest: field label not supported: x").await;
    world
        .check(
            &watch("sendInitialEvents=true"),
            Value::Null,
            "422 Invalid: ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires \
             setting resourceVersionMatch to NotOlderThan",
        )
        .await;
    world
        .check(
            &watch("resourceVersion=x"),
            Value::Null,
            r#"500 : resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax"#,
        )
        .await;
    world
        .check(
            &format!("{}\naccept: text/html", watch("")),
            Value::Null,
            "406 NotAcceptable: only the following media types are accepted: application/json, application/yaml, \
             application/vnd.kubernetes.protobuf",
        )
        .await;
    let (code, text) = world.ask(&format!("{}\naccept: application/yaml", watch("")), Value::Null).await;
    let streams = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    assert!(code == 406 && text.to_string().contains(streams), "{text}");
}
