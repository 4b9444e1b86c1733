//! Informers reach the state, also through restarts, compactions and with several servers.

use std::{collections::BTreeMap, time::Duration};

use triune_history::{Body, Event, Object, ObjectKey, Recorder, Version};
use triune_sim_clients::{
    Random, Signal,
    api::Api,
    http::Protocol,
    informer::{Informer, InformerOptions},
    kind::{Content, Kind},
    request::{Paging, Preconditions, Request, Selection},
};

use crate::server::{Server, Summary, recorder};

const KIND: Kind = Kind::ConfigMaps;

fn options() -> InformerOptions {
    InformerOptions {
        kind: KIND,
        namespace: "default".into(),
        labels: Vec::new(),
        page_size: 0,
        watch_list: false,
        watch_timeout_seconds: (1, 1),
        switch_servers: false,
        snapshot_every_ms: 300,
    }
}

async fn put(api: &Api, name: &str, text: &str) {
    let content = Content { text: text.into(), number: 1, group: "red", padding_bytes: 0 };
    let request = Request::create(KIND, "default", KIND.object("default", name, &content));
    if api.call(&request).await.code() == 409 {
        let key = ObjectKey { resource: KIND.resource(), namespace: "default".into(), name: name.into() };
        let patch = KIND.merge_patch(&content);
        let request = Request::patch(KIND, &key, triune_sim_clients::request::PatchKind::Merge, patch, None);
        assert_eq!(api.call(&request).await.code(), 200);
    }
}

async fn remove(api: &Api, name: &str) {
    let key = ObjectKey { resource: KIND.resource(), namespace: "default".into(), name: name.into() };
    assert_eq!(api.call(&Request::delete(KIND, &key, &Preconditions::default())).await.code(), 200);
}

async fn listed(api: &Api) -> Vec<Object> {
    let selection = Selection { kind: KIND, namespace: "default".into(), labels: Vec::new() };
    let reply = api.call(&Request::list(&selection, &Paging::whole(Version::Latest))).await;
    reply.list().expect("a list").items.clone()
}

/// The last snapshot, and what the notifications add up to.
fn told(events: &[Event]) -> (Vec<Object>, Vec<Object>) {
    let mut last = Vec::new();
    let mut sum = BTreeMap::new();
    for event in events {
        match &event.body {
            Body::Informer { objects, .. } => last.clone_from(objects),
            Body::Handled { key, object: Some(object), .. } => {
                sum.insert(key.name.clone(), object.clone());
            }
            Body::Handled { key, object: None, .. } => {
                sum.remove(&key.name);
            }
            _ => {}
        }
    }
    (last, sum.into_values().collect())
}

/// Runs an informer while `change` happens; then it must know what a list knows.
async fn follow<R: Future<Output = Server>>(
    options: InformerOptions,
    protocol: Protocol,
    change: impl FnOnce(Server, Recorder) -> R,
) -> Vec<Event> {
    let server = Server::start().await;
    let (mine, theirs) = (recorder(), recorder());
    let apis = vec![server.api(&mine, protocol), server.api(&mine, protocol)];
    let stop = Signal::new();
    let mut informer = Informer::new(1, options, apis, 0, Random::new(1), stop.clone());
    let following = tokio::spawn(async move { informer.run().await });
    let server = change(server, theirs.clone()).await;
    let expect = listed(&server.api(&theirs, Protocol::Http2)).await;
    let mut found = Vec::new();
    for _ in 0..400 {
        found = told(&mine.since(0)).1;
        if found == expect {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    stop.give();
    following.await.expect("no panic");
    let events = mine.take();
    assert_eq!(found, expect);
    assert_eq!(told(&events), (expect.clone(), expect), "the store is what the handler was told");
    Summary::of(&events).assert_ended();
    server.end().await;
    events
}

#[tokio::test]
async fn an_informer_follows_changes() {
    for (watch_list, protocol) in [(false, Protocol::Http1), (true, Protocol::Http2)] {
        let options = InformerOptions { watch_list, page_size: 2, ..options() };
        let events = follow(options, protocol, async |server, recorder| {
            let api = server.api(&recorder, Protocol::Http2);
            for round in 0..5 {
                for name in ["a", "b", "c"] {
                    put(&api, name, &format!("{name}{round}")).await;
                }
                remove(&api, "b").await;
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            server
        })
        .await;
        let summary = Summary::of(&events);
        assert_eq!(summary.verbs.contains_key("list 200"), !watch_list, "{summary:?}");
        assert!(summary.verbs["watch 200"] >= 2, "watches time out and are opened again: {summary:?}");
        assert_eq!(summary.verbs.get("list 200").copied().unwrap_or_default(), usize::from(!watch_list), "{summary:?}");
    }
}

#[tokio::test]
async fn an_informer_outlives_a_restart_of_its_server() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let options = InformerOptions { watch_timeout_seconds: (60, 60), ..options() };
        let events = follow(options, protocol, async |server, recorder| {
            put(&server.api(&recorder, Protocol::Http2), "a", "1").await;
            put(&server.api(&recorder, Protocol::Http2), "b", "1").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            let server = server.restart(Duration::from_millis(300)).await;
            let api = server.api(&recorder, Protocol::Http2);
            remove(&api, "a").await;
            put(&api, "c", "2").await;
            server
        })
        .await;
        assert!(Summary::of(&events).codes.contains_key(&0), "it was without a server for a while");
    }
}

#[tokio::test]
async fn an_informer_changes_servers() {
    let server = Server::start().await;
    let other = server.another().await;
    let (mine, theirs) = (recorder(), recorder());
    let apis = vec![server.api(&mine, Protocol::Http2), other.api(&mine, Protocol::Http1)];
    let stop = Signal::new();
    let options = InformerOptions { switch_servers: true, ..options() };
    let mut informer = Informer::new(1, options, apis, 0, Random::new(1), stop.clone());
    let following = tokio::spawn(async move { informer.run().await });
    let api = server.api(&theirs, Protocol::Http2);
    for round in 0..8 {
        put(&api, "a", &round.to_string()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let expect = listed(&api).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.give();
    following.await.expect("no panic");
    let events = mine.take();
    assert_eq!(told(&events), (expect.clone(), expect));
    let summary = Summary::of(&events);
    assert!(summary.verbs["watch 200"] >= 3 && summary.verbs["list 200"] == 1, "{summary:?}");
    server.end().await;
    other.end().await;
}
