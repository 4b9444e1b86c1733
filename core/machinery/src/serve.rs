//! From sockets to the handler chain: accepting, handshakes, HTTP/1.1 and HTTP/2, the end of connections.
//!
//! TLS is brought in by [`Secure`]; nothing here knows of certificates. Invariants: connections, handshakes, streams,
//! header sizes and waiting times are bounded by [`ServeOptions`]; who sends nothing, garbage or one byte a minute is
//! dropped; a connection that ends by itself first answers what it has taken in.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use triune_env::{
    BoxFuture, Connection, Env, Listener,
    hyper_adapters::{HyperExecutor, HyperTimer},
};

use crate::{
    handler::RequestBody,
    handler_chain::HandlerChain,
    in_flight::WaitGroup,
    metrics::{Counter, Metrics},
    peer::{Peer, Protocol},
    signal::Signal,
};

/// Bounds of the listener; the defaults are the reference's where it has one.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Connections at a time; more wait in the operating system's queue.
    pub connections_max: usize,
    /// Handshakes at a time; more wait likewise.
    pub handshakes_max: usize,
    /// Time for a handshake.
    pub handshake_timeout: Duration,
    /// Time for the head of a request, and for the first request of a connection.
    pub header_read_timeout: Duration,
    /// A connection without a request for this long (at most twice this long) ends.
    pub idle_timeout: Duration,
    /// HTTP/2 streams of a connection at a time.
    pub streams_max: u32,
    /// Bytes of the head of a request.
    pub header_bytes_max: u32,
    /// Bytes that a client may send ahead on a stream and on a connection of HTTP/2.
    pub stream_window_bytes: u32,
    /// See `stream_window_bytes`.
    pub connection_window_bytes: u32,
    /// Bytes of answers that wait for a slow client, on each stream.
    pub send_buffer_bytes: usize,
    /// HTTP/2 pings find out that a client is gone.
    pub ping_interval: Duration,
    /// Time for the answer to a ping.
    pub ping_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> ServeOptions {
        ServeOptions {
            connections_max: 16_384,
            handshakes_max: 512,
            handshake_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(32),
            idle_timeout: Duration::from_secs(90),
            streams_max: 250,
            header_bytes_max: 256 * 1024,
            stream_window_bytes: 256 * 1024,
            connection_window_bytes: 4 * 1024 * 1024,
            send_buffer_bytes: 256 * 1024,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(15),
        }
    }
}

/// Secures a fresh connection: the TLS handshake, and what it proves of the peer.
pub trait Secure: Send + Sync + 'static {
    /// Takes the handshake to its end; the caller bounds its time.
    fn handshake(
        &self,
        connection: Box<dyn Connection>,
        address: SocketAddr,
    ) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, Peer)>>;
}

/// No security at all: in-process tests and simulations.
pub struct PlainText;

impl Secure for PlainText {
    fn handshake(
        &self,
        connection: Box<dyn Connection>,
        address: SocketAddr,
    ) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, Peer)>> {
        Box::pin(std::future::ready(Ok((connection, Peer::new(address, Protocol::Unknown)))))
    }
}

/// Serves a handler chain on listeners.
pub struct HttpServer {
    env: Env,
    options: ServeOptions,
    secure: Arc<dyn Secure>,
    chain: Arc<HandlerChain>,
    http: auto::Builder<HyperExecutor>,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    handshake_errors: Arc<Counter>,
    /// Given: connections take no more requests and end when they have answered.
    pub draining: Signal,
    /// Given: connections are cut.
    pub closing: Signal,
    open: WaitGroup,
}

impl HttpServer {
    /// A server that listens nowhere yet.
    pub fn new(
        env: Env,
        options: ServeOptions,
        secure: Arc<dyn Secure>,
        chain: Arc<HandlerChain>,
        metrics: &Metrics,
    ) -> HttpServer {
        let help = "Handshakes that failed.";
        HttpServer {
            http: http_builder(&env, &options),
            connections: Arc::new(Semaphore::new(options.connections_max)),
            handshakes: Arc::new(Semaphore::new(options.handshakes_max)),
            handshake_errors: metrics.counter("apiserver_tls_handshake_errors_total", help, &[]),
            draining: Signal::new(),
            closing: Signal::new(),
            open: WaitGroup::new(),
            env,
            options,
            secure,
            chain,
        }
    }

    /// Accepts connections until [`HttpServer::draining`] is given; then the listener is closed.
    pub async fn accept_all(self: Arc<Self>, mut listener: Box<dyn Listener>) {
        let mut draining = self.draining.wait();
        loop {
            let next = pin!(self.accept(listener.as_mut()));
            match futures::future::select(&mut draining, next).await {
                futures::future::Either::Left(_) => return,
                futures::future::Either::Right((accepted, _)) => {
                    let server = self.clone();
                    self.env.spawn_detached("connection", async move { server.connection(accepted).await });
                }
            }
        }
    }

    /// Waits until every connection has ended; [`HttpServer::draining`] must have been given.
    pub async fn drained(&self) {
        self.open.drain().await;
    }

    /// The next connection that there is room for.
    async fn accept(&self, listener: &mut dyn Listener) -> Accepted {
        // The semaphores are never closed, so waiting for a place does not fail; if it did, this would wait for ever.
        let Ok(place) = self.connections.clone().acquire_owned().await else { std::future::pending().await };
        let Ok(handshake) = self.handshakes.clone().acquire_owned().await else { std::future::pending().await };
        loop {
            match listener.accept().await {
                Ok((stream, address)) => return Accepted { stream, address, place, handshake },
                Err(error) => {
                    // Mostly "too many open files": others have to end first.
                    tracing::warn!(%error, "cannot accept a connection");
                    self.env.sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, accepted: Accepted) {
        let Accepted { stream, address, place: _place, handshake } = accepted;
        let Some(_open) = self.open.enter() else { return };
        let secured = self.env.timeout(self.options.handshake_timeout, self.secure.handshake(stream, address)).await;
        drop(handshake);
        match secured {
            Ok(Ok((stream, peer))) => self.serve(stream, Arc::new(peer)).await,
            Ok(Err(error)) => {
                self.handshake_errors.increment();
                tracing::debug!(peer = %address, %error, "handshake failed");
            }
            Err(_) => {
                self.handshake_errors.increment();
                tracing::debug!(peer = %address, "handshake took too long");
            }
        }
    }

    /// Serves one connection to its end.
    async fn serve(&self, stream: Box<dyn Connection>, peer: Arc<Peer>) {
        let activity = Activity::default();
        let service = service_fn({
            let (chain, peer, activity) = (self.chain.clone(), peer.clone(), activity.clone());
            move |request: http::Request<hyper::body::Incoming>| {
                let (chain, peer, busy) = (chain.clone(), peer.clone(), activity.begin());
                async move {
                    let response = chain.handle(&peer, request.map(RequestBody::incoming)).await;
                    Ok::<_, Infallible>(response.map(|body| body.guarded(busy)))
                }
            }
        });
        let http = match peer.protocol {
            Protocol::Unknown => self.http.clone(),
            Protocol::Http1 => self.http.clone().http1_only(),
            Protocol::Http2 => self.http.clone().http2_only(),
        };
        let mut connection = pin!(http.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let (mut cut, mut draining, mut leaving) = (self.closing.wait(), self.draining.wait(), peer.closing.wait());
        let mut ending = false;
        let mut watchdog = Watchdog::new(&self.env, activity, &self.options);
        poll_fn(|context| {
            if pin!(&mut cut).poll(context).is_ready() {
                return Poll::Ready(());
            }
            let asked = !ending
                && (pin!(&mut draining).poll(context).is_ready() || pin!(&mut leaving).poll(context).is_ready());
            if asked {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                if let Err(error) = ended {
                    tracing::debug!(peer = %peer.address, %error, "connection broke");
                }
                return Poll::Ready(());
            }
            match watchdog.poll(context) {
                Poll::Ready(Silence::Idle) if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                    connection.as_mut().poll(context).map(|_| ())
                }
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
    }
}

fn http_builder(env: &Env, options: &ServeOptions) -> auto::Builder<HyperExecutor> {
    let mut builder = auto::Builder::new(HyperExecutor(env.clone()));
    builder
        .http1()
        .timer(HyperTimer(env.clone()))
        .header_read_timeout(options.header_read_timeout)
        .max_buf_size(options.header_bytes_max as usize)
        .keep_alive(true);
    builder
        .http2()
        .timer(HyperTimer(env.clone()))
        .max_concurrent_streams(options.streams_max)
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes)
        .max_header_list_size(options.header_bytes_max)
        .max_send_buf_size(options.send_buffer_bytes)
        .keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(options.ping_timeout);
    builder
}

struct Accepted {
    stream: Box<dyn Connection>,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
    handshake: OwnedSemaphorePermit,
}

/// Which requests a connection has begun and ended.
#[derive(Clone, Default)]
struct Activity(Arc<Requests>);

#[derive(Default)]
struct Requests {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request, until its answer has been made (a stream: sent).
struct Busy(Activity);

impl Activity {
    fn begin(&self) -> Busy {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// How a connection is silent.
enum Silence {
    /// It never sent a request.
    Mute,
    /// It sent none for a while, and none is being answered.
    Idle,
}

/// Finds silent connections. It looks at counters once a period, so that requests cost no timers.
struct Watchdog {
    env: Env,
    activity: Activity,
    period: Duration,
    seen: u64,
    next: BoxFuture<'static, ()>,
}

impl Watchdog {
    fn new(env: &Env, activity: Activity, options: &ServeOptions) -> Watchdog {
        let next = env.sleep(options.header_read_timeout);
        Watchdog { env: env.clone(), activity, period: options.idle_timeout, seen: 0, next }
    }

    fn poll(&mut self, context: &mut std::task::Context<'_>) -> Poll<Silence> {
        while self.next.as_mut().poll(context).is_ready() {
            let begun = self.activity.0.begun.load(Ordering::Relaxed);
            let ended = self.activity.0.ended.load(Ordering::Relaxed);
            self.next = self.env.sleep(self.period);
            if begun == 0 {
                return Poll::Ready(Silence::Mute);
            }
            if begun == ended && begun == self.seen {
                return Poll::Ready(Silence::Idle);
            }
            self.seen = begun;
        }
        Poll::Pending
    }
}
