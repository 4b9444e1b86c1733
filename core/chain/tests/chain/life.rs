//! Start-up, shutdown, and clients that mean no good.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::{Running, bare, server_config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use triune_machinery::{generic_server::RunError, routes::answer_with, signal::Signal};

#[tokio::test]
async fn the_listener_answers_before_the_hooks_have_ended() {
    let mut server = bare();
    let (release, paths) = (Signal::new(), Signal::new());
    let wait = release.clone();
    server.add_post_start_hook("slow", move |_| async move {
        wait.wait().await;
        Ok(())
    });
    server.wait_for_paths(paths.clone());
    let running = Running::start(server.prepare_run(server_config())).await;
    let client = running.http1().await;
    let (code, _, text) = client.get("/readyz").await;
    let expect =
        "[+]ping ok\n[+]log ok\n[-]poststarthook/slow failed: reason withheld\n[+]shutdown ok\nreadyz check failed\n";
    assert_eq!((code, text.as_str()), (500, expect));
    // A13: an unknown path is 503 until all paths are installed.
    let (code, headers, _) = client.get("/apis/a/v1/b").await;
    assert_eq!((code, headers["retry-after"].as_bytes()), (503, &b"5"[..]));
    paths.give();
    release.give();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(client.get("/readyz").await.0, 200);
    assert_eq!(client.get("/apis/a/v1/b").await.0, 404);
    assert_eq!(running.end().await, Ok(()));
}

#[tokio::test]
async fn a_failing_hook_ends_the_server() {
    for panics in [false, true] {
        let mut server = bare();
        server.add_post_start_hook("bad", move |_| async move {
            assert!(!panics, "as asked");
            Err("no".into())
        });
        let running = Running::start(server.prepare_run(server_config())).await;
        let error = if panics { "it panicked" } else { "no" };
        let expect = RunError::PostStartHook { name: "bad".into(), error: error.into() };
        assert_eq!(running.ended.await.expect("no panic"), Err(expect));
    }
}

/// A17 and A18: while pre-shutdown hooks run, readyz fails and everything else is served; what was taken in is answered.
#[tokio::test]
async fn shutdown_keeps_its_order() {
    let mut server = bare();
    let (in_hook, end_hook, in_request) = (Signal::new(), Signal::new(), Arc::new(AtomicBool::new(false)));
    let (begun, wait) = (in_hook.clone(), end_hook.clone());
    server.add_pre_shutdown_hook("lease", move || async move {
        begun.give();
        wait.wait().await;
        Ok(())
    });
    server.routes.handle("/fast", answer_with(|_, _| triune_machinery::respond::text_response(200, "fast")));
    server.routes.handle("/slow", Arc::new(Slow(in_request.clone())));
    let mut prepared = server.prepare_run(server_config());
    let (signals, destroyed) = (prepared.signals(), Arc::new(AtomicBool::new(false)));
    let (at_destroy, set) = (signals.clone(), destroyed.clone());
    prepared.on_destroy(async move {
        assert!(at_destroy.in_flight_drained.is_given(), "storage is closed last");
        set.store(true, Ordering::SeqCst);
    });
    let running = Running::start(prepared).await;
    let (client, slow) = (running.http1().await, running.http1().await);
    assert_eq!(client.get("/readyz").await.0, 200);
    running.stop.give();
    in_hook.wait().await;
    assert_eq!(client.get("/readyz").await.0, 500);
    assert_eq!(client.get("/livez").await.0, 200);
    assert_eq!(client.get("/fast").await.0, 200);
    let answer = tokio::spawn(async move { slow.get("/slow").await });
    while !in_request.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    assert!(!signals.not_accepting_new_requests.is_given());
    end_hook.give();
    signals.not_accepting_new_requests.wait().await;
    let (code, _, text) = answer.await.expect("an answer");
    assert_eq!((code, text.as_str()), (200, "slow"));
    let address = running.address;
    assert_eq!(running.ended.await.expect("no panic"), Ok(()));
    assert!(destroyed.load(Ordering::SeqCst));
    assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
}

struct Slow(Arc<AtomicBool>);

impl triune_machinery::handler::Handler for Slow {
    fn handle(
        self: Arc<Self>,
        context: Arc<triune_machinery::context::Context>,
        _: triune_machinery::handler::Request,
    ) -> triune_env::BoxFuture<'static, triune_machinery::body::Response> {
        Box::pin(async move {
            self.0.store(true, Ordering::SeqCst);
            context.env.sleep(Duration::from_millis(100)).await;
            triune_machinery::respond::text_response(200, "slow")
        })
    }
}

#[tokio::test]
async fn an_idle_server_ends_at_once() {
    let running = Running::start(bare().prepare_run(server_config())).await;
    let _idle = running.http2().await;
    let _mute = TcpStream::connect(running.address).await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let ended = tokio::time::timeout(Duration::from_secs(1), running.end()).await;
    assert_eq!(ended, Ok(Ok(())));
}

/// Sends bytes and then nothing; whether the server has closed the connection within a second.
async fn is_closed(running: &Running, bytes: &[u8]) -> bool {
    let mut stream = TcpStream::connect(running.address).await.expect("a connection");
    let _ = stream.write_all(bytes).await;
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn bad_clients_are_dropped() {
    let mut config = server_config();
    config.serve.header_read_timeout = Duration::from_millis(200);
    config.serve.idle_timeout = Duration::from_millis(200);
    let running = Running::start(bare().prepare_run(config)).await;
    for bytes in [
        &b""[..],
        b"\x16\x03\x01 this is no HTTP",
        b"GET / HTTP/1.1\r\nhost: a\r\nx-slow",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n garbage garbage garbage",
        b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        assert!(is_closed(&running, bytes).await, "{}", String::from_utf8_lossy(bytes));
    }
    let huge = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1_000_000));
    assert!(is_closed(&running, huge.as_bytes()).await);
    let (code, ..) = running.http1().await.get("/livez").await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn connections_are_bounded() {
    let mut config = server_config();
    config.serve.connections_max = 2;
    let running = Running::start(bare().prepare_run(config)).await;
    let (first, second) = (running.http1().await, running.http1().await);
    assert_eq!((first.get("/livez").await.0, second.get("/livez").await.0), (200, 200));
    let third = running.http1().await;
    let waits = tokio::time::timeout(Duration::from_millis(100), third.get("/livez")).await;
    assert!(waits.is_err(), "a third is not served");
    drop(first);
    let fourth = running.http1().await;
    // The third has given up; whoever waits is served once a place is free.
    drop(third);
    let served = tokio::time::timeout(Duration::from_secs(2), fourth.get("/livez")).await;
    assert_eq!(served.map(|(code, ..)| code), Ok(200));
}
