//! Bad input, bad clients: a clear answer or a closed connection each, and a server that goes on as before.
//!
//! One daemon serves all tests; the last one checks that it is still well and has not grown.

#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{
    Daemon,
    client::{Client, tls},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: (&str, &str) = ("content-type", "application/json");
/// Open watches of one client machine.
const WATCHES: usize = 2000;
/// What the server may hold after all of this, in MiB.
const RESIDENT_MIB_MAX: u64 = 300;
/// A connection that sends nothing useful is closed within this time.
const PATIENCE: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_answers_or_closes_and_goes_on() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let daemon = Daemon::start(scratch.path(), &["--storage=memory"]);
    refuses_what_is_malformed(&daemon).await;
    refuses_what_is_too_large(&daemon).await;
    refuses_bad_parameters(&daemon).await;
    keeps_to_its_paths(&daemon).await;
    refuses_strangers(&daemon).await;
    speaks_tls_only(&daemon).await;
    let slow = tokio::join!(closes_slow_handshakes(&daemon), closes_slow_requests(&daemon));
    println!("a silent handshake was closed after {:?}, a dripping request after {:?}", slow.0, slow.1);
    bears_many_watches(&daemon).await;
    is_well(&daemon).await;
    let (code, took) = daemon.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "it took {took:?} to end with open watches");
}

#[test]
fn a_second_daemon_on_a_folder_is_refused_and_changes_nothing() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let daemon = Daemon::start(scratch.path(), &[]);
    let before = std::fs::read(daemon.kubeconfig()).expect("a kubeconfig");
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_triune"))
        .args(["serve", "--secure-port=0", "--die-with-parent", "--data-dir"])
        .arg(scratch.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("in use by another process") && said.lines().count() == 1, "{said}");
    assert_eq!(std::fs::read(daemon.kubeconfig()).expect("a kubeconfig"), before);
    assert_eq!(daemon.terminate().0, Some(0));
}

#[test]
fn nothing_in_the_data_folder_is_for_others() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let daemon = Daemon::start(scratch.path(), &[]);
    let (mut folders, mut files) = (vec![scratch.path().join("pki"), scratch.path().join("store")], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let metadata = std::fs::metadata(&path).expect("what it is");
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
            if metadata.is_dir() { folders.push(path) } else { files += 1 }
        }
    }
    assert!(files > 12, "keys, certificates and the store are there: {files} files");
    assert_eq!(daemon.terminate().0, Some(0));
}

/// Sends and expects a Status with this code whose message has this part.
async fn check(daemon: &Daemon, method: &str, path: &str, body: impl Into<hyper::body::Bytes>, code: u16, part: &str) {
    check_as(daemon, method, path, JSON, body, code, part).await;
}

async fn check_as(
    daemon: &Daemon,
    method: &str,
    path: &str,
    header: (&str, &str),
    body: impl Into<hyper::body::Bytes>,
    code: u16,
    part: &str,
) {
    let body = body.into();
    let shown = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
    let mut client = Client::connect(daemon).await.expect("a connection");
    let answer = client.send_raw(method, path, &[header], body).await.expect("an answer");
    let message = answer.body["message"].as_str().map_or_else(|| answer.body.to_string(), str::to_owned);
    assert_eq!(answer.status, code, "{method} {path} {shown}: {message}");
    assert!(message.contains(part), "{method} {path}: {message:?} lacks {part:?}");
}

async fn refuses_what_is_malformed(daemon: &Daemon) {
    let post = |body: &'static str, code, part| check(daemon, "POST", CONFIG_MAPS, body, code, part);
    post("", 400, "").await;
    post("{", 400, "").await;
    post("[]", 400, "").await;
    // Go reads null as an object without fields.
    post("null", 422, "name or generateName is required").await;
    post("\u{0}\u{1}", 400, "").await;
    post(r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"}}"#, 400, "Pod").await;
    post(r#"{"kind":"ConfigMap","apiVersion":"v2","metadata":{"name":"x"}}"#, 400, "").await;
    post(r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":[]}"#, 400, "").await;
    post(r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"Not A Name"}}"#, 422, "Invalid value").await;
    post(r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"../../x"}}"#, 422, "Invalid value").await;
    post(r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{}}"#, 422, "name or generateName is required").await;
    post(r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","namespace":"other"}}"#, 400, "namespace")
        .await;
    let strict = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let unknown = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"dota":{}}"#;
    check(daemon, "POST", &strict, unknown, 400, "unknown field \"dota\"").await;
    let twice = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{},"data":{}}"#;
    check(daemon, "POST", &strict, twice, 400, "duplicate field \"data\"").await;
    let yaml = ("content-type", "application/yaml");
    check_as(daemon, "POST", CONFIG_MAPS, yaml, "kind: [", 400, "").await;
    check_as(daemon, "POST", CONFIG_MAPS, yaml, "a: &a [*a, *a]", 400, "").await;
    check_as(daemon, "POST", CONFIG_MAPS, ("content-type", "text/plain"), "x", 415, "").await;
    let not_utf8 =
        [b"{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"".as_slice(), &[0xff], b"\"}}"];
    // Go reads what is no UTF-8 as U+FFFD, which is no name.
    check(daemon, "POST", CONFIG_MAPS, not_utf8.concat(), 422, "Invalid value").await;
}

async fn refuses_what_is_too_large(daemon: &Daemon) {
    let large = |bytes: usize| {
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "large"}, "data": {"a": "x".repeat(bytes)}})
            .to_string()
    };
    // The answer comes before the body is read to its end: a client that only looks afterwards finds a closed connection.
    let mut client = Client::connect(daemon).await.expect("a connection");
    if let Ok(answer) = client.send_raw("POST", CONFIG_MAPS, &[JSON], large(4 << 20)).await {
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    let announced = [JSON, ("content-length", "4000000"), ("expect", "100-continue")];
    let answer = client_of_heads(daemon, "POST", &announced).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    check(daemon, "POST", CONFIG_MAPS, large(2 << 20), 422, "Too long").await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    check(daemon, "POST", CONFIG_MAPS, deep, 400, "").await;
    // A small body that would unfold to a large one.
    let mut bomb = "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        bomb.push_str(&format!("b{level}: &a{level} [{}]\n", vec![previous; 10].join(",")));
    }
    check_as(daemon, "POST", CONFIG_MAPS, ("content-type", "application/yaml"), bomb, 400, "").await;
}

/// Sends a head without a body and gives the first line of the answer.
async fn client_of_heads(daemon: &Daemon, method: &str, headers: &[(&str, &str)]) -> String {
    let mut stream = tls(daemon, true).await.expect("a handshake");
    let mut head = format!("{method} {CONFIG_MAPS} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
}

async fn refuses_bad_parameters(daemon: &Daemon) {
    let get = |query: &'static str, code, part| async move {
        check(daemon, "GET", &format!("{CONFIG_MAPS}?{query}"), "", code, part).await;
    };
    get("labelSelector=a%20in", 400, "").await;
    get("labelSelector=a%20in%20(b", 400, "").await;
    get("labelSelector=%3D%3D%3D", 400, "").await;
    get("fieldSelector=data.a%3Db", 400, "is not a known field selector").await;
    get("fieldSelector=a", 400, "").await;
    get("limit=many", 400, "").await;
    get("resourceVersion=new", 400, "").await;
    get("continue=nonsense", 400, "continue").await;
    get("resourceVersion=1&resourceVersionMatch=Sometimes", 422, "resourceVersionMatch").await;
    // The reference gives this answer, by oversight.
    get("watch=true&resourceVersion=x", 500, "invalid syntax").await;
    check(daemon, "DELETE", &format!("{CONFIG_MAPS}/x?propagationPolicy=Sideways"), "", 422, "propagationPolicy").await;
    check(daemon, "POST", &format!("{CONFIG_MAPS}?dryRun=Maybe"), "{}", 422, "dryRun").await;
}

async fn keeps_to_its_paths(daemon: &Daemon) {
    for path in [
        "/api/v1/namespaces/default/configmaps/..",
        "/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets",
        "/api/v1/namespaces/..%2fkube-system/configmaps/x",
        "/api/v1/nosuchthings",
        "/apis/nowhere.example/v1/things",
        "/../../etc/passwd",
        "/api/v1/namespaces/default/configmaps/%00",
    ] {
        let mut client = Client::connect(daemon).await.expect("a connection");
        let answer = client.send("GET", path, None).await.expect("an answer");
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
    }
    check(daemon, "PUT", "/api/v1/namespaces/default/configmaps", "{}", 405, "").await;
    check(daemon, "BREW", CONFIG_MAPS, "", 405, "").await;
    let long = format!("{CONFIG_MAPS}/{}", "x".repeat(100_000));
    let mut client = Client::connect(daemon).await.expect("a connection");
    // A closed connection is as good.
    if let Ok(answer) = client.send_raw("GET", &long, &[], "").await {
        assert!(matches!(answer.status, 404 | 414 | 431), "{answer:?}");
    }
}

async fn refuses_strangers(daemon: &Daemon) {
    let mut nobody = Client::connect_anonymously(daemon).await.expect("a connection");
    for (path, code) in [("/healthz", 200), ("/readyz", 200), ("/version", 200), ("/api", 403), (CONFIG_MAPS, 403)] {
        let answer = nobody.send("GET", path, None).await.expect("an answer");
        assert_eq!(answer.status, code, "{path}: {}", answer.body);
    }
    let answer = nobody.send_raw("GET", "/healthz", &[("authorization", "Bearer wrong")], "").await.expect("an answer");
    assert_eq!(answer.status, 401, "{}", answer.body);
    // Only a front proxy, known by its certificate, may name others.
    let named = [("x-remote-user", "root"), ("x-remote-group", "system:masters")];
    let answer = nobody.send_raw("GET", CONFIG_MAPS, &named, "").await.expect("an answer");
    assert_eq!(answer.status, 403, "{}", answer.body);
    // So may only those impersonate whom the authorizer lets.
    let named = [("impersonate-user", "root"), ("impersonate-group", "system:masters")];
    let answer = nobody.send_raw("GET", CONFIG_MAPS, &named, "").await.expect("an answer");
    assert!(matches!(answer.status, 403 | 501), "{}", answer.body);
}

async fn speaks_tls_only(daemon: &Daemon) {
    let garbage: Vec<u8> =
        (0..4096_u32).map(|index| u8::try_from(index.wrapping_mul(2_654_435_761) >> 24).unwrap_or(0)).collect();
    for bytes in [
        garbage.as_slice(),
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\xff\xff",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(daemon.address).await.expect("it listens");
        stream.write_all(bytes).await.expect("sent");
        stream.shutdown().await.expect("closed");
        let mut answer = Vec::new();
        // An alert, or a reset: anything but waiting.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    let mut stream = tls(daemon, true).await.expect("a handshake");
    stream.write_all(&garbage).await.expect("sent");
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
}

/// A client that connects and says nothing.
async fn closes_slow_handshakes(daemon: &Daemon) -> Duration {
    let mut stream = TcpStream::connect(daemon.address).await.expect("it listens");
    let since = Instant::now();
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 16])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "the silent connection is still open after {PATIENCE:?}");
    since.elapsed()
}

/// A client that sends its request's head a byte a second.
async fn closes_slow_requests(daemon: &Daemon) -> Duration {
    let mut stream = tls(daemon, true).await.expect("a handshake");
    let since = Instant::now();
    for byte in b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ".iter().chain(std::iter::repeat(&b'x')) {
        let closed = stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err();
        let read = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut [0; 1024])).await;
        if closed || matches!(read, Ok(Ok(0) | Err(_))) {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "the dripping request is still open after {PATIENCE:?}");
    }
    since.elapsed()
}

/// Many watches at a time: each gets the one event, none is lost.
async fn bears_many_watches(daemon: &Daemon) {
    let mut streams = Vec::new();
    let path = format!("{CONFIG_MAPS}?watch=true&fieldSelector=metadata.name%3Dseen");
    for _ in 0..WATCHES {
        let mut client = Client::connect(daemon).await.expect("a connection");
        let answer = client.open("GET", &path, &[], hyper::body::Bytes::new()).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        streams.push((client, answer.into_body()));
    }
    println!("{WATCHES} open watches: {} MiB", daemon.resident_mib());
    let mut client = Client::connect(daemon).await.expect("a connection");
    let seen = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "seen"}});
    assert_eq!(client.send("POST", CONFIG_MAPS, Some(&seen)).await.expect("an answer").status, 201);
    for (_, body) in &mut streams {
        let frame =
            tokio::time::timeout(PATIENCE, http_body_util::BodyExt::frame(body)).await.expect("an event in time");
        let data = frame.expect("the watch goes on").expect("a frame").into_data().expect("data");
        assert!(String::from_utf8_lossy(&data).contains("\"ADDED\""));
    }
    // Half of them go away without a word, the others stay until the server ends.
    streams.truncate(WATCHES / 2);
    tokio::spawn(async move {
        let _keep = streams;
        std::future::pending::<()>().await;
    });
}

async fn is_well(daemon: &Daemon) {
    let mut client = Client::connect(daemon).await.expect("a connection");
    let answer = client.send("GET", "/readyz", None).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = client.send("GET", CONFIG_MAPS, None).await.expect("an answer");
    let names: Vec<_> =
        answer.body["items"].as_array().expect("a list").iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["seen"], "nothing else was written");
    let resident = daemon.resident_mib();
    println!("after all: {resident} MiB resident");
    assert!(resident < RESIDENT_MIB_MAX, "{resident} MiB resident");
    let log = support::log(&daemon.data_dir);
    assert!(!log.contains("panicked"), "{log}");
}
