//! An informer asks what client-go's would ask, in the same cases: a script of answers leads to a list of requests.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use triune_env::{BoxFuture, Connection, Env, Listener, Network};
use triune_sim_clients::{
    Random, Signal,
    api::Api,
    http::{HttpOptions, Protocol},
    informer::{Informer, InformerOptions},
    kind::Kind,
};

use crate::server::{Summary, recorder};

/// What the other side does with a request.
#[derive(Debug, Clone)]
enum Reaction {
    /// The connection is not made.
    Refuse,
    /// An answer with headers.
    Answer(u16, &'static str, String),
    /// Events, then the end of the stream.
    Events(Vec<String>),
    /// Events, then the end of the connection.
    Break(Vec<String>),
}

/// A network whose only server follows a script; then it is silent.
#[derive(Clone, Default)]
struct Script {
    reactions: Arc<Mutex<VecDeque<Reaction>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Network for Script {
    fn listen(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn connect(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async {
            let mut reactions = self.reactions.lock().expect("no panic");
            if matches!(reactions.front(), Some(Reaction::Refuse)) {
                reactions.pop_front();
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = tokio::io::duplex(1 << 16);
            tokio::spawn(self.clone().serve(far));
            Ok(Box::new(near) as Box<dyn Connection>)
        })
    }
}

impl Script {
    async fn serve(self, mut stream: DuplexStream) {
        let mut head = Vec::new();
        loop {
            let mut byte = [0];
            if !stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
                return;
            }
            head.push(byte[0]);
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            let text = String::from_utf8_lossy(&std::mem::take(&mut head)).into_owned();
            let target = text.split(' ').nth(1).expect("a target");
            let query = target.trim_start_matches("/api/v1/namespaces/default/configmaps").to_owned();
            self.asked.lock().expect("no panic").push(query);
            let reaction = self.reactions.lock().expect("no panic").pop_front();
            let (answer, goes_on) = match reaction {
                None => std::future::pending().await,
                Some(Reaction::Refuse) => return,
                Some(Reaction::Answer(code, headers, body)) => {
                    (format!("HTTP/1.1 {code} x\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()), true)
                }
                Some(Reaction::Events(events)) => (stream_of(&events) + "0\r\n\r\n", true),
                Some(Reaction::Break(events)) => (stream_of(&events), false),
            };
            if stream.write_all(answer.as_bytes()).await.is_err() || !goes_on {
                return;
            }
        }
    }
}

fn stream_of(events: &[String]) -> String {
    let chunks = events.iter().map(|event| format!("{:x}\r\n{event}\n\r\n", event.len() + 1));
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunks.collect::<String>())
}

fn list(revision: u64, token: &str) -> Reaction {
    let body = format!(
        r#"{{"kind":"ConfigMapList","metadata":{{"resourceVersion":"{revision}","continue":"{token}"}},"items":[]}}"#
    );
    Reaction::Answer(200, "", body)
}

fn status(code: u16, reason: &str, cause: &str) -> String {
    format!(
        r#"{{"kind":"Status","status":"Failure","code":{code},"reason":"{reason}","message":"m","details":{{"causes":[{{"reason":"{cause}"}}]}}}}"#
    )
}

fn refused(code: u16, reason: &str, cause: &str) -> Reaction {
    Reaction::Answer(code, "", status(code, reason, cause))
}

fn too_large() -> Reaction {
    refused(504, "Timeout", "ResourceVersionTooLarge")
}

fn added(revision: u64) -> String {
    format!(r#"{{"type":"ADDED","object":{{"metadata":{{"name":"a","resourceVersion":"{revision}"}}}}}}"#)
}

fn bookmark(revision: u64, annotations: &str) -> String {
    format!(
        r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{revision}","annotations":{{{annotations}}}}}}}}}"#
    )
}

fn error(code: u16, reason: &str) -> String {
    format!(r#"{{"type":"ERROR","object":{}}}"#, status(code, reason, ""))
}

/// Of a list as the first thing that an informer asks.
const FIRST: &str = "?limit=500&resourceVersion=0";
/// Of a list at the latest revision.
const LATEST: &str = "?limit=500";

fn watch(revision: u64) -> String {
    format!("?watch=1&resourceVersion={revision}&allowWatchBookmarks=true&timeoutSeconds=300")
}

fn watch_list(revision: &str) -> String {
    let options = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    format!("?watch=1&{options}{revision}&allowWatchBookmarks=true&timeoutSeconds=300")
}

/// Plays a script; then the informer must have asked this, and nothing else within a minute.
async fn check_with(change: impl Fn(&mut InformerOptions), script: Vec<Reaction>, expect: &[&str]) {
    let network = Script { reactions: Arc::new(Mutex::new(script.clone().into())), ..Script::default() };
    let env = Env { network: Arc::new(network.clone()), ..triune_platform::env() };
    let options = HttpOptions {
        protocol: Protocol::Http1,
        request_timeout_ms: 100_000,
        silence_ms_max: 1_000_000,
        ..HttpOptions::default()
    };
    let recorder = recorder();
    let api = Api::new(env, recorder.clone(), "client", ("api", SocketAddr::from(([1, 2, 3, 4], 5))), options);
    let mut options = InformerOptions {
        kind: Kind::ConfigMaps,
        namespace: "default".into(),
        labels: Vec::new(),
        page_size: 0,
        watch_list: false,
        watch_timeout_seconds: (300, 300),
        switch_servers: false,
        snapshot_every_ms: 0,
    };
    change(&mut options);
    let stop = Signal::new();
    let mut informer = Informer::new(1, options, vec![api], 0, Random::new(1), stop.clone());
    let running = tokio::spawn(async move { informer.run().await });
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = network.asked.lock().expect("no panic").clone();
    assert_eq!(asked, expect, "{script:#?}");
    stop.give();
    running.await.expect("no panic");
    Summary::of(&recorder.take()).assert_ended();
}

async fn check(script: Vec<Reaction>, expect: &[&str]) {
    check_with(|_| {}, script, expect).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_the_last_event_was() {
    let events = vec![added(8), bookmark(9, "")];
    check(
        vec![list(7, ""), Reaction::Events(events), Reaction::Break(vec![added(12)])],
        &[FIRST, &watch(7), &watch(9), &watch(12)],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_or_busy_costs_no_list() {
    let busy = || refused(429, "TooManyRequests", "");
    let script = vec![list(7, ""), Reaction::Break(vec![added(8)]), Reaction::Refuse, busy(), busy()];
    check(script, &[FIRST, &watch(7), &watch(8), &watch(8), &watch(8)]).await;
    let wait = Reaction::Answer(429, "retry-after: 2\r\n", status(429, "TooManyRequests", ""));
    check(vec![list(7, ""), wait], &[FIRST, &watch(7), &watch(7)]).await;
    let events = Reaction::Events(vec![added(8), error(429, "TooManyRequests")]);
    check(vec![list(7, ""), events], &[FIRST, &watch(7), &watch(8)]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_compacted_is_listed_at_the_last_revision_and_then_at_the_latest() {
    let expired = || Reaction::Events(vec![error(410, "Expired")]);
    check(vec![list(7, ""), expired()], &[FIRST, &watch(7), "?resourceVersion=7"]).await;
    check(
        vec![list(7, ""), expired(), refused(410, "Expired", ""), list(20, "")],
        &[FIRST, &watch(7), "?resourceVersion=7", LATEST, &watch(20)],
    )
    .await;
    // Nothing is tried at the old revision while it is known to be gone; afterwards the new one counts.
    let internal = || refused(500, "InternalError", "");
    check(
        vec![list(7, ""), expired(), too_large(), internal(), list(20, ""), expired()],
        &[FIRST, &watch(7), "?resourceVersion=7", LATEST, LATEST, &watch(20), "?resourceVersion=20"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_leads_to_a_list() {
    check(vec![list(7, ""), Reaction::Events(vec![])], &[FIRST, &watch(7), "?resourceVersion=7"]).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_are_gone_are_replaced_by_the_whole() {
    check(
        vec![list(7, "t"), refused(410, "Expired", ""), list(9, "")],
        &[FIRST, "?limit=500&continue=t", "?resourceVersion=0", &watch(9)],
    )
    .await;
    let expired = Reaction::Events(vec![error(410, "Expired")]);
    check_with(
        |options| options.page_size = 2,
        vec![list(7, "t"), list(7, ""), expired],
        &["?limit=2&resourceVersion=0", "?limit=2&continue=t", &watch(7), "?limit=2&resourceVersion=7"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_bring_the_state() {
    let synced = |revision| bookmark(revision, r#""k8s.io/initial-events-end":"true""#);
    let first = watch_list("");
    let watch_lists = async |script, expect: &[&str]| {
        check_with(|options| options.watch_list = true, script, expect).await;
    };
    let whole = Reaction::Events(vec![added(3), synced(7), added(8)]);
    watch_lists(vec![whole.clone()], &[&first, &watch(8)]).await;
    let expired = Reaction::Events(vec![error(410, "Expired")]);
    watch_lists(vec![whole.clone(), expired], &[&first, &watch(8), &watch_list("&resourceVersion=8")]).await;
    // Cut off before all had come: again, from the start.
    watch_lists(vec![Reaction::Break(vec![added(3)]), whole], &[&first, &first, &watch(8)]).await;
    // A revision that is no good: the latest. A server that cannot: a list.
    let script = vec![Reaction::Events(vec![synced(7), error(500, "")]), too_large()];
    watch_lists(script, &[&first, &watch_list("&resourceVersion=7"), &first]).await;
    watch_lists(vec![refused(422, "Invalid", ""), list(7, "")], &[&first, FIRST, &watch(7)]).await;
}
