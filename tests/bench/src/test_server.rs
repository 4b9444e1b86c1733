//! An API server of a few lines, over TLS with HTTP/1.1 and HTTP/2: config maps and namespaces in a map.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::broadcast};

type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) struct TestServer {
    port: u16,
    certificate: String,
}

struct State {
    revision: u64,
    /// By path.
    objects: BTreeMap<String, Value>,
    events: broadcast::Sender<Bytes>,
    events_sent: u64,
    /// This event is not sent, and the next is sent twice.
    fault: Option<u64>,
}

impl TestServer {
    pub(crate) async fn start(fault: Option<u64>) -> TestServer {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut tls = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (events, _) = broadcast::channel(100_000);
        let state = State { revision: 1, objects: BTreeMap::new(), events, events_sent: 0, fault };
        let state = Arc::new(Mutex::new(state));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, state) = (acceptor.clone(), state.clone());
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await.unwrap();
                    let service = hyper::service::service_fn(move |request| answer(state.clone(), request));
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        TestServer { port, certificate: made.cert.pem() }
    }

    pub(crate) fn kubeconfig(&self) -> String {
        let authority = base64::engine::general_purpose::STANDARD.encode(&self.certificate);
        json!({
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port), "certificate-authority-data": authority}}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
        })
        .to_string()
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    assert_eq!(head.headers[http::header::AUTHORIZATION], "Bearer secret");
    let body = body.collect().await.unwrap().to_bytes();
    let path = head.uri.path().to_string();
    let query: BTreeMap<&str, &str> =
        head.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
    let mut state = state.lock().unwrap();
    if query.contains_key("watch") {
        return Ok(Response::new(watch(state.events.subscribe())));
    }
    let (status, text) = match head.method {
        Method::GET if path == "/readyz" => (StatusCode::OK, "ok".to_string()),
        Method::GET if path.ends_with("/configmaps") => (StatusCode::OK, state.list(&path, &query)),
        Method::GET => match state.objects.get(&path) {
            Some(object) => (StatusCode::OK, object.to_string()),
            None => (StatusCode::NOT_FOUND, "{}".to_string()),
        },
        Method::DELETE => {
            state.objects.retain(|key, _| !key.starts_with(&path));
            (StatusCode::OK, "{}".to_string())
        }
        Method::POST => {
            let object: Value = serde_json::from_slice(&body).unwrap();
            let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
            assert!(!state.objects.contains_key(&path), "{path}");
            (StatusCode::CREATED, state.write(path, object).to_string())
        }
        _ => {
            let old = state.objects[&path].clone();
            let sent: Value = serde_json::from_slice(&body).unwrap();
            let object = if head.method == Method::PATCH { old } else { sent };
            (StatusCode::OK, state.write(path, object).to_string())
        }
    };
    let body = Full::new(Bytes::from(text)).boxed_unsync();
    Ok(Response::builder().status(status).body(body).unwrap())
}

impl State {
    fn write(&mut self, path: String, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        object["metadata"]["creationTimestamp"] = json!("2026-11-24T08:00:00Z");
        self.objects.insert(path, object.clone());
        if object["metadata"]["annotations"].is_object() {
            self.events_sent += 1;
            let line = Bytes::from(format!("{}\n", json!({"type": "MODIFIED", "object": object})));
            let dropped = self.fault == Some(self.events_sent);
            let twice = self.fault == Some(self.events_sent - 1);
            for _ in 0..usize::from(!dropped) + usize::from(twice) {
                let _ = self.events.send(line.clone());
            }
        }
        object
    }

    /// Its own metadata first, as API servers write lists.
    fn list(&self, path: &str, query: &BTreeMap<&str, &str>) -> String {
        let limit = query.get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
        let skip: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
        let all: Vec<&Value> =
            self.objects.iter().filter(|(key, _)| key.starts_with(path)).map(|pair| pair.1).collect();
        let items: Vec<&Value> = all.iter().copied().skip(skip).take(limit).collect();
        let next = skip + items.len();
        let token = if next < all.len() { next.to_string() } else { String::new() };
        let metadata = json!({"resourceVersion": self.revision.to_string(), "continue": token});
        format!("{{\"metadata\":{metadata},\"items\":{}}}", json!(items))
    }
}

fn watch(mut events: broadcast::Receiver<Bytes>) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(16);
    tokio::spawn(async move {
        while let Ok(event) = events.recv().await {
            if sender.send(event).await.is_err() {
                break;
            }
        }
    });
    StreamBody::new(Receiver(receiver)).boxed_unsync()
}

/// A channel as a stream of frames.
struct Receiver(tokio::sync::mpsc::Receiver<Bytes>);

impl futures::Stream for Receiver {
    type Item = Result<Frame<Bytes>, Infallible>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
