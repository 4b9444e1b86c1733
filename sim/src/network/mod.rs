//! The simulated network: byte streams between nodes in virtual time.
//!
//! It is a plugin of madsim, whose own streams send a message for each flush, take a millisecond for each message, have no
//! back-pressure, and deliver the end of a stream across a cut. Here:
//!
//! - bytes arrive in order, each segment after the delay of its link; what was lost is sent again and arrives later
//! - a link can be cut in one direction: segments, ends and resets wait, and the stream breaks after a minute
//! - 256 KiB may be on their way or unread in each direction; then writers wait
//! - one direction of a stream can be ended while the other goes on
//! - connecting to a port where nobody listens is refused; across a cut it times out
//! - when a process crashes its peers see a reset (if the links let it through); when a host crashes they see nothing
//!
//! [`links`] has delays and cuts, [`streams`] the streams and their events; this file is what nodes and tests use.

mod links;
mod streams;

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use madsim::{
    Config,
    plugin::{self, Simulator},
    rand::GlobalRng,
    task::NodeId,
    time::TimeHandle,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

pub use links::Latency;
pub use streams::MessageSeen;
use streams::{End, Streams};

use crate::time::sleep_until;

/// The network of a simulation.
pub struct SimNetwork {
    streams: Mutex<Streams>,
    time: TimeHandle,
    rng: GlobalRng,
    /// Something may be due earlier than the pump waits for.
    earlier: Notify,
}

impl Simulator for SimNetwork {
    fn new(rng: &GlobalRng, time: &TimeHandle, _: &Config) -> SimNetwork {
        SimNetwork { streams: Mutex::new(Streams::new()), time: time.clone(), rng: rng.clone(), earlier: Notify::new() }
    }

    /// Called when a node is killed.
    fn reset_node(&self, node: NodeId) {
        self.change(|streams, now, rng| streams.node_died(node, now, rng));
    }
}

impl SimNetwork {
    /// The network of the running simulation.
    pub fn current() -> Arc<SimNetwork> {
        plugin::simulator::<SimNetwork>()
    }

    /// Gives a node its address.
    pub fn add_node(&self, node: NodeId, ip: IpAddr) {
        self.lock().add_node(node, ip);
    }

    /// Delay of links that have none of their own.
    pub fn set_latency(&self, latency: Latency) {
        self.lock().links.latency = latency;
    }

    /// Delay of one link, in one direction; None for the usual one.
    pub fn set_link_latency(&self, from: NodeId, to: NodeId, latency: Option<Latency>) {
        self.lock().links.set_latency(from, to, latency);
    }

    /// Of a thousand segments between nodes, so many are lost (and sent again later).
    pub fn set_loss(&self, per_mille: u32) {
        self.lock().links.loss_per_mille = per_mille.min(900);
    }

    /// Cuts one direction of a link, or mends it.
    pub fn cut(&self, from: NodeId, to: NodeId, cut: bool) {
        self.lock().links.cut(from, to, cut);
    }

    /// Mends all links, with usual delays and no loss.
    pub fn heal(&self) {
        self.lock().links.heal();
    }

    /// Whether the next crashes of this node are crashes of its host: peers see nothing at all.
    pub fn set_host_crash(&self, node: NodeId, silent: bool) {
        self.lock().set_host_crash(node, silent);
    }

    /// Calls `seen` for each segment sent from now on.
    pub fn on_message(&self, seen: impl Fn(MessageSeen) + Send + 'static) {
        self.lock().on_message(Box::new(seen));
    }

    /// Segments sent so far.
    pub fn messages(&self) -> u64 {
        self.lock().messages
    }

    /// Streams that both ends have open. One that a crashed host has left behind is not its peer's fault.
    pub fn open_streams(&self) -> usize {
        self.lock().open_streams()
    }

    /// Delivers what is due, for ever. One task of the supervisor runs it.
    pub async fn pump(self: Arc<Self>) {
        loop {
            let next = {
                let mut streams = self.lock();
                let now = self.time.now_instant();
                streams.deliver(now, &mut self.rng.clone());
                streams.next_event()
            };
            let earlier = self.earlier.notified();
            match next {
                None => earlier.await,
                Some(at) => {
                    let due = sleep_until(&self.time, at);
                    futures::future::select(std::pin::pin!(earlier), std::pin::pin!(due)).await;
                }
            }
        }
    }

    /// Listens at an address of the calling node.
    pub fn listen(self: &Arc<Self>, address: SocketAddr) -> io::Result<SimListener> {
        let (address, id) = self.lock().listen(plugin::node(), address)?;
        Ok(SimListener { network: self.clone(), address, id })
    }

    /// Opens a stream from the calling node.
    pub async fn connect(self: &Arc<Self>, to: SocketAddr) -> io::Result<SimStream> {
        let node = plugin::node();
        let id = self.change(|streams, now, rng| streams.connect(node, to, now, rng))?;
        let mut attempt = Attempt { stream: Some(SimStream { network: self.clone(), end: End { id, side: 0 } }) };
        poll_fn(|context| self.lock().poll_connected(id, context)).await?;
        attempt.stream.take().ok_or_else(|| io::Error::other("an attempt has one stream"))
    }

    /// Changes something now, and tells the pump if that made something due earlier.
    fn change<T>(&self, change: impl FnOnce(&mut Streams, Instant, &mut GlobalRng) -> T) -> T {
        let mut streams = self.lock();
        let before = streams.next_event();
        let result = change(&mut streams, self.time.now_instant(), &mut self.rng.clone());
        let after = streams.next_event();
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.earlier.notify_one();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that is not connected yet; given up when the caller goes away.
struct Attempt {
    stream: Option<SimStream>,
}

/// Listens; closed when dropped.
pub struct SimListener {
    network: Arc<SimNetwork>,
    address: SocketAddr,
    id: u64,
}

impl SimListener {
    /// The next stream and who opened it.
    pub async fn accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        let (id, peer) = poll_fn(|context| self.network.lock().poll_accept(self.address, self.id, context)).await?;
        Ok((SimStream { network: self.network.clone(), end: End { id, side: 1 } }, peer))
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.network.change(|streams, now, rng| streams.stop_listening(self.address, self.id, now, rng));
    }
}

/// One end of a stream; closed when dropped.
pub struct SimStream {
    network: Arc<SimNetwork>,
    end: End,
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.network.lock().poll_read(self.end, context, buffer)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.network.change(|streams, now, rng| streams.poll_write(self.end, context, &[bytes], now, rng))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        self.network.change(|streams, now, rng| streams.poll_write(self.end, context, &slices, now, rng))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Everything written is on its way already: a flush sends nothing, so that two peers that flush at every poll do not
    /// keep each other awake.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.change(|streams, now, rng| streams.end_writing(self.end, now, rng));
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.network.change(|streams, now, rng| streams.close(self.end, now, rng));
    }
}
