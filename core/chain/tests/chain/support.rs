//! A whole chain on memory storage and a loopback socket, and a client.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use triune_chain::{ChainConfig, create_server_chain};
use triune_machinery::{
    authentication::{Authenticators, StaticTokens},
    authorization::Authorizers,
    director::NotFound,
    generic_server::{GenericApiServer, PreparedServer, RunError, ServerConfig},
    handler_chain::ChainOptions,
    resources::Resources,
    serve::{PlainText, ServeOptions},
    signal::Signal,
    version::VersionInfo,
};

/// The first server's configuration: one token, `master`, for a member of `system:masters`.
pub fn server_config() -> ServerConfig {
    let tokens = StaticTokens::parse("master,root,1,system:masters\nplain,bob,2\n").expect("good tokens");
    ServerConfig {
        env: triune_platform::env(),
        chain: ChainOptions::default(),
        serve: ServeOptions::default(),
        secure: Arc::new(PlainText),
        authenticator: Arc::new(Authenticators::new(vec![Arc::new(tokens)], true)),
        authorizer: Arc::new(Authorizers::default()),
        metrics: Arc::default(),
        version: VersionInfo::default(),
        advertise_address: "10.0.0.1:6443".into(),
        openapi: None,
        shutdown_delay: Duration::ZERO,
        watch_termination_grace: Duration::ZERO,
    }
}

/// The whole chain on memory storage.
pub async fn chain(server: ServerConfig) -> PreparedServer {
    let config = ChainConfig {
        settings: triune_kube::Settings::default(),
        store: triune_store::StoreOptions::default(),
        advertise: (Ipv4Addr::new(10, 0, 0, 1).into(), 6443),
        hostname: "test".into(),
        authentication: std::collections::BTreeMap::new(),
        descriptions: None,
        server,
    };
    let storage = triune_storage::memory(config.server.env.clone());
    create_server_chain(storage, config).await.expect("a chain")
}

/// A server without resources, for tests of its life.
pub fn bare() -> GenericApiServer {
    GenericApiServer::new("bare", Arc::new(Resources::new()), Arc::new(NotFound), None)
}

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub stop: Signal,
    pub ended: tokio::task::JoinHandle<Result<(), RunError>>,
}

impl Running {
    /// Runs on any free port.
    pub async fn start(prepared: PreparedServer) -> Running {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = triune_platform::env().network.listen(any).await.expect("a port");
        let (address, stop) = (listener.local_address(), Signal::new());
        let ended = tokio::spawn(prepared.run(vec![listener], stop.clone()));
        Running { address, stop, ended }
    }

    /// The whole chain, ready.
    pub async fn ready() -> Running {
        let running = Running::start(chain(server_config()).await).await;
        let client = running.http1().await;
        for _ in 0..1000 {
            if client.get("/readyz").await.0 == 200 {
                return running;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not ready: {}", client.get("/readyz?verbose").await.2);
    }

    pub async fn http1(&self) -> Client {
        let stream = TokioIo::new(TcpStream::connect(self.address).await.expect("a connection"));
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.expect("a handshake");
        tokio::spawn(connection);
        Client(tokio::sync::Mutex::new(Sender::Http1(sender)))
    }

    pub async fn http2(&self) -> Client {
        let stream = TokioIo::new(TcpStream::connect(self.address).await.expect("a connection"));
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
        let (sender, connection) = handshake.await.expect("a handshake");
        tokio::spawn(connection);
        Client(tokio::sync::Mutex::new(Sender::Http2(sender)))
    }

    /// Ends it and gives what `run` gave.
    pub async fn end(self) -> Result<(), RunError> {
        self.stop.give();
        self.ended.await.expect("no panic")
    }
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

/// One connection, as a member of `system:masters`.
pub struct Client(tokio::sync::Mutex<Sender>);

impl Client {
    /// Sends, and gives the answer without having read its body.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> hyper::Result<http::Response<hyper::body::Incoming>> {
        match &mut *self.0.lock().await {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// A request with headers and a JSON body; code, headers and body of the answer.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (u16, HeaderMap, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://server{path}"))
            .header("host", "server")
            .header("content-type", "application/json");
        if headers.iter().all(|(name, _)| *name != "authorization") {
            request = request.header("authorization", "Bearer master");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a good request");
        let (head, body) = self.send(request).await.expect("an answer").into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        (head.status.as_u16(), head.headers, String::from_utf8_lossy(&bytes).into_owned())
    }

    pub async fn get(&self, path: &str) -> (u16, HeaderMap, String) {
        self.call("GET", path, &[], Bytes::new()).await
    }

    pub async fn json(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let (code, _, text) = self.call(method, path, &[], body).await;
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}
