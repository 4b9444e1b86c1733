//! The chain around a director that answers what the path asks for.

use triune_env::BoxFuture;

use super::*;
use crate::{
    authentication::{Authenticators, StaticTokens},
    authorization::{AlwaysDeny, Authorizers},
};

/// Echoes who asks; some names in the path make it do other things.
struct Echo;

impl Handler for Echo {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        Box::pin(async move {
            match context.info.name.as_str() {
                "panic" => panic!("as asked"),
                "sleep" => context.env.sleep(Duration::from_secs(3600)).await,
                "warn" => context.warn("careful"),
                "large" => return Response::new(Body::full(vec![b'x'; 200_000])),
                _ => {}
            }
            let credentials = request
                .headers()
                .keys()
                .any(|name| name == header::AUTHORIZATION || name.as_str().starts_with("x-remote-"));
            let text = format!("{} {} {credentials}", context.user.name, context.info.verb);
            text_response(if context.before_all_paths_installed { 503 } else { 200 }, text)
        })
    }
}

fn chain(options: ChainOptions) -> HandlerChain {
    let tokens = StaticTokens::parse("secret,ann,1\nmaster,root,2,system:masters\n").expect("good tokens");
    let signals = LifecycleSignals::default();
    signals.mux_and_discovery_complete.give();
    HandlerChain::new(
        triune_platform::env(),
        options,
        Arc::new(Authenticators::new(vec![Arc::new(tokens)], true)),
        Arc::new(Authorizers { chain: vec![("AlwaysDeny", Arc::new(AlwaysDeny))] }),
        signals,
        &Arc::default(),
        Arc::new(Echo),
    )
}

fn request(method: &str, uri: &str, headers: &[(&'static str, &str)]) -> Request {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(RequestBody::empty()).expect("a good request")
}

const MASTER: (&str, &str) = ("authorization", "Bearer master");

async fn answer(chain: &HandlerChain, request: Request) -> (u16, HeaderMap, String) {
    let response = chain.handle(&Peer::in_process(), request).await;
    let (head, mut body) = response.into_parts();
    let Body::Chunks(chunks) = &mut body else { return (head.status.as_u16(), head.headers, "stream".into()) };
    let text = String::from_utf8_lossy(&chunks.pop_front().unwrap_or_default()).into_owned();
    let json: Option<triune_api::Value> = serde_json::from_str(&text).ok();
    let text = json.and_then(|json| json["message"].as_str().map(str::to_owned)).unwrap_or(text);
    (head.status.as_u16(), head.headers, text)
}

/// Sends one request as a master and compares code and text (of a Status, its message).
async fn check(uri: &str, code: u16, text: &str) {
    let (found_code, headers, found) = answer(&chain(ChainOptions::default()), request("GET", uri, &[MASTER])).await;
    assert_eq!((found_code, found.as_str()), (code, text), "{uri}");
    assert_eq!(headers["cache-control"], "no-cache, private");
    assert_eq!(headers["audit-id"].len(), 36);
}

#[tokio::test]
async fn requests_reach_the_director() {
    check("/api/v1/pods", 200, "root list false").await;
    check("/healthz", 200, "root get false").await;
    check("/api/v1/pods?timeout=2s", 200, "root list false").await;
    check("/api/v1/pods/%zz", 400, "400 Bad Request").await;
    let text = "Internal Server Error: \"/api/v1/watch\": failed to create RequestInfo: unable to determine kind and namespace from url, /api/v1/watch\n";
    check("/api/v1/watch", 500, text).await;
    let text = "invalid timeout specified in the request URL - time: invalid duration \"x\"";
    check("/api/v1/pods?timeout=x", 400, text).await;
}

#[tokio::test]
async fn panics_are_answered() {
    let text = "an error on the server (\"This request caused apiserver to panic. Look in the logs for details.\") has prevented the request from succeeding";
    check("/api/v1/pods/panic", 500, text).await;
}

#[tokio::test(start_paused = true)]
async fn deadlines_hold() {
    let text = "Timeout: request did not complete within the allotted timeout";
    check("/api/v1/pods/sleep", 504, text).await;
    check("/api/v1/pods/sleep?timeout=1s", 504, text).await;
    check("/api/v1/pods/sleep?timeout=1h", 504, text).await;
    check("/api/v1/watch/pods/sleep?timeout=1s", 200, "root watch false").await;
}

#[tokio::test]
async fn users_are_told_apart() {
    let check = async |credentials: &str, code: u16, text: &str| {
        let sent = [("authorization", credentials), ("x-remote-user", "evil"), ("x-remote-extra-a", "b")];
        let chain = chain(ChainOptions::default());
        let (found_code, _, found) = answer(&chain, request("GET", "/api/v1/namespaces/a/pods", &sent)).await;
        assert_eq!((found_code, found.as_str()), (code, text), "{credentials}");
    };
    check("Bearer master", 200, "root list false").await;
    check("Bearer wrong", 401, "Unauthorized").await;
    let refused = |user| {
        format!(
            "pods is forbidden: User \"{user}\" cannot list resource \"pods\" in API group \"\" in the namespace \"a\": AlwaysDeny: Everything is forbidden."
        )
    };
    check("Bearer secret", 403, &refused("ann")).await;
    check("", 403, &refused("system:anonymous")).await;
}

#[tokio::test]
async fn impersonation_is_not_ignored() {
    let sent = [MASTER, ("impersonate-user", "bob")];
    let (code, ..) = answer(&chain(ChainOptions::default()), request("GET", "/api/v1/pods", &sent)).await;
    assert_eq!(code, 501);
}

#[tokio::test]
async fn headers_of_answers() {
    let options = ChainOptions {
        strict_transport_security: Some(HeaderValue::from_static("max-age=1")),
        allowed_origin: Some(Arc::new(|origin| origin == "https://a")),
        gzip_for_loopback: true,
        ..ChainOptions::default()
    };
    let chain = chain(options);
    let sent = [MASTER, ("audit-id", "mine"), ("origin", "https://a"), ("accept-encoding", "gzip")];
    let (_, headers, _) = answer(&chain, request("GET", "/api/v1/pods/warn", &sent)).await;
    for (name, value) in [
        ("audit-id", "mine"),
        ("strict-transport-security", "max-age=1"),
        ("access-control-allow-origin", "https://a"),
        ("access-control-allow-credentials", "true"),
        ("warning", "299 - \"careful\""),
    ] {
        assert_eq!(headers[name], value);
    }
    let (_, headers, text) = answer(&chain, request("GET", "/api/v1/pods/large", &sent)).await;
    assert_eq!((headers["content-encoding"].as_bytes(), text.as_str()), (&b"gzip"[..], "stream"));
    let (code, ..) = answer(&chain, request("OPTIONS", "/api/v1/pods", &[("origin", "https://a")])).await;
    assert_eq!(code, 204);
    let (code, headers, _) = answer(&chain, request("OPTIONS", "/api/v1/pods", &[("origin", "https://b")])).await;
    assert!(code == 403 && !headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn too_many_requests_are_refused() {
    let options = ChainOptions { in_flight_read_only_max: 1, in_flight_mutating_max: 1, ..ChainOptions::default() };
    let chain = chain(options);
    let _busy = (chain.limits.take(true, false), chain.limits.take(false, false));
    let refused = "Too many requests, please try again later.\n";
    for method in ["GET", "POST"] {
        let (code, headers, text) = answer(&chain, request(method, "/api/v1/pods", &[])).await;
        assert_eq!((code, headers["retry-after"].as_bytes(), text.as_str()), (429, &b"1"[..], refused));
    }
    assert_eq!(answer(&chain, request("GET", "/api/v1/pods", &[MASTER])).await.0, 200);
    assert_eq!(answer(&chain, request("GET", "/api/v1/pods?watch=1", &[])).await.0, 403);
}

#[tokio::test]
async fn shutdown_refuses_and_drains() {
    let draining = chain(ChainOptions::default());
    draining.wait_group.drain().await;
    let (code, headers, text) = answer(&draining, request("GET", "/api/v1/pods", &[MASTER])).await;
    assert_eq!(
        (code, headers["retry-after"].as_bytes(), text.as_str()),
        (503, &b"1"[..], "apiserver is shutting down")
    );
    assert_eq!(answer(&draining, request("GET", "/readyz", &[MASTER])).await.0, 200);
    assert_eq!(answer(&draining, request("GET", "/api/v1/pods?watch=1", &[MASTER])).await.0, 200);

    let refusing = chain(ChainOptions { shutdown_send_retry_after: true, ..ChainOptions::default() });
    assert_eq!(answer(&refusing, request("GET", "/api/v1/pods", &[MASTER])).await.0, 200);
    refusing.signals.not_accepting_new_requests.give();
    let (code, headers, _) = answer(&refusing, request("GET", "/api/v1/pods", &[MASTER])).await;
    assert_eq!((code, headers["retry-after"].as_bytes()), (429, &b"5"[..]));
    let own = [MASTER, ("user-agent", "kube-apiserver/1")];
    assert_eq!(answer(&refusing, request("GET", "/api/v1/pods", &own)).await.0, 200);
}

#[tokio::test]
async fn early_requests_are_tagged() {
    let mut early = chain(ChainOptions::default());
    early.signals = LifecycleSignals::default();
    assert_eq!(answer(&early, request("GET", "/x", &[MASTER])).await.0, 503);
    early.signals.mux_and_discovery_complete.give();
    assert_eq!(answer(&early, request("GET", "/x", &[MASTER])).await.0, 200);
}
