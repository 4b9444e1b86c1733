//! HTTP to one server: connections, timeouts, and what is known of a request that failed.
//!
//! Invariants: [`Failure::NotSent`] is said only if no byte of the request was written, everything else that is no answer is
//! [`Failure::Unknown`]; a request waits no longer than its timeout; a connection is kept as long as it works. HTTP/2 has
//! one connection for all requests; HTTP/1.1 has one for requests that follow each other, and one more for each that
//! runs at the same time or streams.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use triune_env::{
    Env, TaskHandle,
    hyper_adapters::{HyperExecutor, HyperTimer},
};

/// Idle connections of HTTP/1.1 that are kept; more are closed.
const IDLE_CONNECTIONS_MAX: usize = 4;
/// A request that a connection gives back unwritten is tried this often in all, each time on another connection.
const SEND_ATTEMPTS_MAX: usize = 2;
/// Largest answer that is read; more is an error.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The protocol of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// How a client talks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpOptions {
    /// The protocol.
    pub protocol: Protocol,
    /// Time for a connection.
    pub connect_timeout_ms: u64,
    /// Time for a request and its answer; for a stream: for the head of the answer.
    pub request_timeout_ms: u64,
    /// A connection of HTTP/2 without a frame for this long is asked whether it lives (client-go: 30 s).
    pub ping_interval_ms: u64,
    /// Time for the answer to that (client-go: 15 s).
    pub ping_timeout_ms: u64,
    /// A stream without a byte for this long is given up: what keep-alives of TCP do for HTTP/1.1.
    pub silence_ms_max: u64,
    /// Bytes that the server may send ahead on each stream of HTTP/2: small ones let slow readers push back.
    pub window_bytes: u32,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            protocol: Protocol::Http2,
            connect_timeout_ms: 1_000,
            request_timeout_ms: 30_000,
            ping_interval_ms: 30_000,
            ping_timeout_ms: 15_000,
            silence_ms_max: 150_000,
            window_bytes: 256 << 10,
        }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Message {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Media type of the body; empty for none.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// Status code.
    pub code: u16,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server has certainly not seen it.
    NotSent(String),
    /// Perhaps carried out.
    Unknown(String),
}

/// A client of one server. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    env: Env,
    address: SocketAddr,
    options: HttpOptions,
    authorization: HeaderValue,
    idle: Mutex<Vec<Http1>>,
    shared: tokio::sync::Mutex<Option<Http2>>,
}

type Body = Full<Bytes>;

/// A connection and the task that drives it; dropping it closes the connection.
struct Http1 {
    sender: http1::SendRequest<Body>,
    _task: TaskHandle,
}

/// Likewise, shared by all requests; it closes when the last of them is dropped.
#[derive(Clone)]
struct Http2 {
    sender: http2::SendRequest<Body>,
    task: Arc<TaskHandle>,
}

enum Link {
    Http1(Http1),
    Http2(Http2),
}

impl HttpClient {
    /// A client that is not connected yet; `name` is who it says it is.
    pub fn new(env: Env, name: &str, address: SocketAddr, options: HttpOptions) -> HttpClient {
        let authorization = HeaderValue::from_str(&format!("Bearer sim-{name}"));
        HttpClient(Arc::new(Inner {
            env,
            address,
            options,
            authorization: authorization.unwrap_or_else(|_| HeaderValue::from_static("Bearer sim")),
            idle: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
        }))
    }

    /// How it talks.
    pub fn options(&self) -> &HttpOptions {
        &self.0.options
    }

    /// Sends a request and reads the whole answer.
    pub async fn request(&self, message: &Message) -> Result<HttpAnswer, Failure> {
        let exchange = async {
            let (response, link) = self.send(message).await?;
            let (code, retry_after) = head_of(&response);
            let body = read_all(response.into_body()).await.map_err(Failure::Unknown)?;
            self.keep(link);
            Ok(HttpAnswer { code, retry_after, body })
        };
        self.in_time(exchange).await
    }

    /// Sends a request and gives the answer's body as a stream if it is a good one.
    pub async fn stream(&self, message: &Message) -> Result<Result<BodyStream, HttpAnswer>, Failure> {
        let exchange = async {
            let (response, link) = self.send(message).await?;
            let (code, retry_after) = head_of(&response);
            if code == 200 {
                return Ok(Ok(BodyStream { body: response.into_body(), _link: link }));
            }
            let body = read_all(response.into_body()).await.map_err(Failure::Unknown)?;
            self.keep(link);
            Ok(Err(HttpAnswer { code, retry_after, body }))
        };
        self.in_time(exchange).await
    }

    async fn in_time<T>(&self, exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let timeout = Duration::from_millis(self.0.options.request_timeout_ms);
        let answer = self.0.env.timeout(timeout, exchange).await;
        answer.unwrap_or_else(|_| Err(Failure::Unknown("no answer in time".into())))
    }

    async fn send(&self, message: &Message) -> Result<(Response<Incoming>, Link), Failure> {
        let mut why = String::new();
        for _ in 0..SEND_ATTEMPTS_MAX {
            let mut link = self.link().await.map_err(Failure::NotSent)?;
            match link.send(self.compose(message)?).await {
                Ok(response) => return Ok((response, link)),
                Err(error) if error.message().is_some() => {
                    why = describe(error.error());
                    self.forget(&link).await;
                }
                Err(error) => return Err(Failure::Unknown(describe(error.error()))),
            }
        }
        Err(Failure::NotSent(why))
    }

    fn compose(&self, message: &Message) -> Result<Request<Body>, Failure> {
        let origin = if self.0.options.protocol == Protocol::Http2 { "http://server" } else { "" };
        let mut request = Request::builder()
            .method(message.method.clone())
            .uri(format!("{origin}{}", message.path))
            .header(header::AUTHORIZATION, self.0.authorization.clone())
            .header(header::ACCEPT, HeaderValue::from_static("application/json"));
        if origin.is_empty() {
            request = request.header(header::HOST, HeaderValue::from_static("server"));
        }
        if !message.content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(message.content_type));
        }
        request.body(Full::new(message.body.clone())).map_err(|error| Failure::NotSent(error.to_string()))
    }

    /// A connection that looks well, new if there is none.
    async fn link(&self) -> Result<Link, String> {
        match self.0.options.protocol {
            Protocol::Http1 => {
                while let Some(mut idle) = self.take_idle() {
                    if idle.sender.ready().await.is_ok() {
                        return Ok(Link::Http1(idle));
                    }
                }
                self.connect_http1().await.map(Link::Http1)
            }
            Protocol::Http2 => {
                let mut shared = self.0.shared.lock().await;
                if let Some(open) = shared.as_ref().filter(|open| !open.sender.is_closed()) {
                    return Ok(Link::Http2(open.clone()));
                }
                *shared = None;
                let fresh = self.connect_http2().await?;
                *shared = Some(fresh.clone());
                Ok(Link::Http2(fresh))
            }
        }
    }

    fn take_idle(&self) -> Option<Http1> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Puts a connection back whose answer was read.
    fn keep(&self, link: Link) {
        if let Link::Http1(link) = link
            && !link.sender.is_closed()
        {
            let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_CONNECTIONS_MAX {
                idle.push(link);
            }
        }
    }

    /// The shared connection is not to be used again.
    async fn forget(&self, link: &Link) {
        if let Link::Http2(broken) = link {
            let mut shared = self.0.shared.lock().await;
            if shared.as_ref().is_some_and(|shared| Arc::ptr_eq(&shared.task, &broken.task)) {
                *shared = None;
            }
        }
    }

    async fn connect_http1(&self) -> Result<Http1, String> {
        self.connecting(async {
            let stream = self.0.env.network.connect(self.0.address).await.map_err(|error| error.to_string())?;
            let (sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| describe(&error))?;
            let task = self.0.env.spawn("http/1.1 client", async move {
                let _ = connection.await;
            });
            Ok(Http1 { sender, _task: task })
        })
        .await
    }

    async fn connect_http2(&self) -> Result<Http2, String> {
        let options = &self.0.options;
        self.connecting(async {
            let stream = self.0.env.network.connect(self.0.address).await.map_err(|error| error.to_string())?;
            let (sender, connection) = http2::Builder::new(HyperExecutor(self.0.env.clone()))
                .timer(HyperTimer(self.0.env.clone()))
                .initial_stream_window_size(options.window_bytes)
                .initial_connection_window_size(options.window_bytes.saturating_mul(8))
                .keep_alive_interval(Duration::from_millis(options.ping_interval_ms))
                .keep_alive_timeout(Duration::from_millis(options.ping_timeout_ms))
                .keep_alive_while_idle(true)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| describe(&error))?;
            let task = self.0.env.spawn("http/2 client", async move {
                let _ = connection.await;
            });
            Ok(Http2 { sender, task: Arc::new(task) })
        })
        .await
    }

    async fn connecting<T>(&self, connect: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let timeout = Duration::from_millis(self.0.options.connect_timeout_ms);
        let connected = self.0.env.timeout(timeout, connect).await;
        connected.unwrap_or_else(|_| Err("no connection in time".into()))
    }
}

impl Link {
    async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match self {
            Link::Http1(link) => link.sender.try_send_request(request).await,
            Link::Http2(link) => link.sender.try_send_request(request).await,
        }
    }
}

/// The body of an answer as it comes. Dropping it ends the exchange.
pub struct BodyStream {
    body: Incoming,
    _link: Link,
}

impl BodyStream {
    /// The next bytes; None at the end. May be dropped while it waits.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(describe(&error))),
            }
        }
    }
}

fn head_of(response: &Response<Incoming>) -> (u16, Option<u64>) {
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    (response.status().as_u16(), retry_after)
}

async fn read_all(mut body: Incoming) -> Result<Bytes, String> {
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| describe(&error))?.into_data() else { continue };
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        if all.len() + data.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too large".into());
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// An error with what caused it.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
