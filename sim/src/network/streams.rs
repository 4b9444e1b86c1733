//! Streams, listeners, and the queue of what will arrive. Time and randomness are given by the caller.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use madsim::{rand::Rng, task::NodeId};
use tokio::io::ReadBuf;

use super::links::{Links, next_attempt};

/// Bytes of one direction of a stream that are on their way or unread; at the bound writers wait.
const WINDOW_BYTES: usize = 256 * 1024;
/// What cannot cross a cut for this long breaks the stream.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Attempts to connect, each after twice the time of the one before: about a minute in all.
const CONNECT_ATTEMPTS: u32 = 6;
/// Time of the first attempt to connect.
const CONNECT_WAIT: Duration = Duration::from_secs(1);
/// Connections that nobody has accepted; at the bound they are refused.
const BACKLOG_MAX: usize = 1024;

/// A segment that was sent.
#[derive(Debug, Clone, Copy)]
pub struct MessageSeen {
    /// Who sends.
    pub from: NodeId,
    /// Who receives.
    pub to: NodeId,
    /// Payload.
    pub bytes: usize,
    /// When it arrives, if nothing is cut.
    pub arrives: Instant,
}

/// An end of a stream: who connected is side 0, who accepted side 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) id: u64,
    pub(super) side: usize,
}

enum Segment {
    Data(Bytes),
    /// No more bytes.
    End,
    /// The stream is broken.
    Reset,
}

/// One direction of a stream: what its writer has sent.
#[derive(Default)]
struct Direction {
    on_the_way: VecDeque<(Instant, Segment)>,
    /// Whether the queue has an event for the first of them.
    scheduled: bool,
    /// Segments arrive in the order in which they were sent.
    last_arrival: Option<Instant>,
    /// Since when nothing could cross, and the time between attempts.
    stuck: Option<(Instant, Duration)>,
    arrived: BytesMut,
    bytes_on_the_way: usize,
    ended: bool,
    /// The writer has ended it: it can send no more.
    writer_done: bool,
    broken: Option<io::ErrorKind>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Direction {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    fn break_with(&mut self, kind: io::ErrorKind) {
        self.broken.get_or_insert(kind);
        self.on_the_way.clear();
        self.wake();
    }
}

struct Stream {
    nodes: [NodeId; 2],
    addresses: [SocketAddr; 2],
    open: [bool; 2],
    /// By the side that writes.
    directions: [Direction; 2],
}

enum Happening {
    /// The first segment of a direction arrives.
    Arrival(End),
    /// A connection request reaches the other node.
    Request { id: u64, attempt: u32 },
    /// Its answer reaches the one who connects.
    Response { id: u64, accepted: bool, attempt: u32 },
}

struct Backlog {
    /// A restarted node listens at the same address with another.
    listener: u64,
    waiting: VecDeque<u64>,
    acceptor: Option<Waker>,
}

/// Somebody who connects.
#[derive(Default)]
struct Connecting {
    result: Option<Result<(), io::ErrorKind>>,
    waker: Option<Waker>,
}

/// All streams of a simulation.
pub(super) struct Streams {
    pub(super) links: Links,
    pub(super) messages: u64,
    nodes: BTreeMap<IpAddr, NodeId>,
    addresses: BTreeMap<NodeId, IpAddr>,
    silent: BTreeSet<NodeId>,
    streams: BTreeMap<u64, Stream>,
    listeners: BTreeMap<SocketAddr, Backlog>,
    connecting: BTreeMap<u64, Connecting>,
    events: BTreeMap<(Instant, u64), Happening>,
    sequence: u64,
    next_port: u16,
    seen: Option<Box<dyn Fn(MessageSeen) + Send>>,
}

impl Streams {
    pub(super) fn new() -> Streams {
        Streams {
            links: Links::default(),
            messages: 0,
            nodes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            silent: BTreeSet::new(),
            streams: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connecting: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            next_port: 32_768,
            seen: None,
        }
    }

    pub(super) fn add_node(&mut self, node: NodeId, ip: IpAddr) {
        self.nodes.insert(ip, node);
        self.addresses.insert(node, ip);
    }

    pub(super) fn set_host_crash(&mut self, node: NodeId, silent: bool) {
        if silent {
            self.silent.insert(node);
        } else {
            self.silent.remove(&node);
        }
    }

    pub(super) fn on_message(&mut self, seen: Box<dyn Fn(MessageSeen) + Send>) {
        self.seen = Some(seen);
    }

    pub(super) fn open_streams(&self) -> usize {
        self.streams.values().filter(|stream| stream.open[0] && stream.open[1]).count()
    }

    /// When something happens next.
    pub(super) fn next_event(&self) -> Option<Instant> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// Everything that is due by `now` happens.
    pub(super) fn deliver(&mut self, now: Instant, rng: &mut impl Rng) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > now {
                return;
            }
            match entry.remove() {
                Happening::Arrival(end) => self.arrive(end, now, rng),
                Happening::Request { id, attempt } => self.request(id, attempt, now, rng),
                Happening::Response { id, accepted, attempt } => self.response(id, accepted, attempt, now),
            }
        }
    }

    /// A process or host crashes: its listeners are gone, its peers get a reset or nothing.
    pub(super) fn node_died(&mut self, node: NodeId, now: Instant, rng: &mut impl Rng) {
        let silent = self.silent.contains(&node);
        let is_its = |address: &SocketAddr| self.nodes.get(&address.ip()) == Some(&node);
        let gone = self.listeners.iter().filter(|(address, _)| is_its(address));
        let gone: Vec<(SocketAddr, u64)> = gone.map(|(address, backlog)| (*address, backlog.listener)).collect();
        for (address, listener) in gone {
            self.stop_listening(address, listener, now, rng);
        }
        let mut ends = Vec::new();
        for (id, stream) in &mut self.streams {
            for side in 0..2 {
                if stream.nodes[side] == node && stream.open[side] {
                    ends.push(End { id: *id, side });
                }
            }
        }
        for end in ends {
            if silent {
                // Nothing more leaves the host, not even what was on its way out.
                let Some(stream) = self.streams.get_mut(&end.id) else { continue };
                stream.open[end.side] = false;
                stream.directions[end.side].on_the_way.clear();
                stream.directions[end.side].writer_done = true;
            } else {
                self.abort(end, now, rng);
            }
        }
    }

    /// The address and the name of the listener.
    pub(super) fn listen(&mut self, node: NodeId, address: SocketAddr) -> io::Result<(SocketAddr, u64)> {
        if self.nodes.get(&address.ip()) != Some(&node) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let address = match address.port() {
            0 => SocketAddr::new(address.ip(), self.free_port()),
            _ => address,
        };
        if self.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.sequence += 1;
        let backlog = Backlog { listener: self.sequence, waiting: VecDeque::new(), acceptor: None };
        self.listeners.insert(address, backlog);
        Ok((address, self.sequence))
    }

    /// Closes a listener, unless it is closed already; who waits in its backlog gets a reset.
    pub(super) fn stop_listening(&mut self, address: SocketAddr, listener: u64, now: Instant, rng: &mut impl Rng) {
        if self.listeners.get(&address).is_none_or(|backlog| backlog.listener != listener) {
            return;
        }
        let Some(backlog) = self.listeners.remove(&address) else { return };
        for id in backlog.waiting {
            self.abort(End { id, side: 1 }, now, rng);
        }
    }

    pub(super) fn connect(
        &mut self,
        from: NodeId,
        to: SocketAddr,
        now: Instant,
        rng: &mut impl Rng,
    ) -> io::Result<u64> {
        let Some(target) = self.nodes.get(&to.ip()).copied() else { return Err(io::ErrorKind::HostUnreachable.into()) };
        let Some(ip) = self.addresses.get(&from).copied() else { return Err(io::ErrorKind::AddrNotAvailable.into()) };
        let source = SocketAddr::new(ip, self.free_port());
        self.sequence += 1;
        let id = self.sequence;
        self.streams.insert(
            id,
            Stream {
                nodes: [from, target],
                addresses: [source, to],
                open: [true, true],
                directions: [Direction::default(), Direction::default()],
            },
        );
        self.connecting.insert(id, Connecting::default());
        let at = now + self.links.delay(from, target, rng);
        self.schedule(at, Happening::Request { id, attempt: 0 });
        Ok(id)
    }

    pub(super) fn poll_connected(&mut self, id: u64, context: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(connecting) = self.connecting.get_mut(&id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if let Some(result) = connecting.result.take() {
            self.connecting.remove(&id);
            return Poll::Ready(result.map_err(io::Error::from));
        }
        connecting.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn poll_accept(
        &mut self,
        address: SocketAddr,
        listener: u64,
        context: &Context<'_>,
    ) -> Poll<io::Result<(u64, SocketAddr)>> {
        let backlog = self.listeners.get_mut(&address).filter(|backlog| backlog.listener == listener);
        let Some(backlog) = backlog else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        while let Some(id) = backlog.waiting.pop_front() {
            if let Some(stream) = self.streams.get(&id) {
                return Poll::Ready(Ok((id, stream.addresses[0])));
            }
        }
        backlog.acceptor = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn poll_read(
        &mut self,
        end: End,
        context: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(stream) = self.streams.get_mut(&end.id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let direction = &mut stream.directions[1 - end.side];
        if !direction.arrived.is_empty() {
            let count = direction.arrived.len().min(buffer.remaining());
            buffer.put_slice(&direction.arrived[..count]);
            direction.arrived.advance(count);
            direction.bytes_on_the_way -= count;
            if let Some(writer) = direction.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
        if let Some(kind) = direction.broken {
            return Poll::Ready(Err(kind.into()));
        }
        if direction.ended {
            return Poll::Ready(Ok(()));
        }
        direction.reader = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn poll_write(
        &mut self,
        end: End,
        context: &Context<'_>,
        slices: &[&[u8]],
        now: Instant,
        rng: &mut impl Rng,
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = self.streams.get_mut(&end.id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let direction = &mut stream.directions[end.side];
        if let Some(kind) = direction.broken {
            return Poll::Ready(Err(kind.into()));
        }
        if direction.writer_done {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW_BYTES.saturating_sub(direction.bytes_on_the_way);
        if room == 0 {
            direction.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut data = BytesMut::with_capacity(room.min(slices.iter().map(|slice| slice.len()).sum()));
        for slice in slices {
            data.extend_from_slice(&slice[..slice.len().min(room - data.len())]);
        }
        let count = data.len();
        if count > 0 {
            direction.bytes_on_the_way += count;
            self.send(end, Segment::Data(data.freeze()), now, rng);
        }
        Poll::Ready(Ok(count))
    }

    pub(super) fn end_writing(&mut self, end: End, now: Instant, rng: &mut impl Rng) {
        let Some(stream) = self.streams.get_mut(&end.id) else { return };
        let direction = &mut stream.directions[end.side];
        if !direction.writer_done && direction.broken.is_none() {
            direction.writer_done = true;
            self.send(end, Segment::End, now, rng);
        }
    }

    /// The owner of this end is gone. As with sockets: unread bytes make it a reset.
    pub(super) fn close(&mut self, end: End, now: Instant, rng: &mut impl Rng) {
        let connecting = end.side == 0 && self.connecting.remove(&end.id).is_some();
        let Some(stream) = self.streams.get_mut(&end.id) else { return };
        if !stream.open[end.side] {
            return;
        }
        let unread = !stream.directions[1 - end.side].arrived.is_empty();
        if connecting || unread {
            self.abort(end, now, rng);
            return;
        }
        self.end_writing(end, now, rng);
        if let Some(stream) = self.streams.get_mut(&end.id) {
            stream.open[end.side] = false;
        }
        self.forget_if_over(end.id);
    }

    /// This end breaks the stream.
    fn abort(&mut self, end: End, now: Instant, rng: &mut impl Rng) {
        let Some(stream) = self.streams.get_mut(&end.id) else { return };
        stream.open[end.side] = false;
        stream.directions[end.side].writer_done = true;
        // What the peer has sent so far is lost; its writers learn it when the reset arrives.
        self.send(end, Segment::Reset, now, rng);
    }

    fn send(&mut self, end: End, segment: Segment, now: Instant, rng: &mut impl Rng) {
        let Some(stream) = self.streams.get_mut(&end.id) else { return };
        let (from, to) = (stream.nodes[end.side], stream.nodes[1 - end.side]);
        let direction = &mut stream.directions[end.side];
        let arrival = now + self.links.delay(from, to, rng);
        let arrival = direction.last_arrival.map_or(arrival, |last| arrival.max(last));
        direction.last_arrival = Some(arrival);
        self.messages += 1;
        if let Some(seen) = &self.seen {
            let bytes = if let Segment::Data(data) = &segment { data.len() } else { 0 };
            seen(MessageSeen { from, to, bytes, arrives: arrival });
        }
        direction.on_the_way.push_back((arrival, segment));
        if !direction.scheduled {
            direction.scheduled = true;
            self.schedule(arrival, Happening::Arrival(end));
        }
    }

    fn arrive(&mut self, end: End, now: Instant, rng: &mut impl Rng) {
        let Some(stream) = self.streams.get_mut(&end.id) else { return };
        let cut = self.links.is_cut(stream.nodes[end.side], stream.nodes[1 - end.side]);
        let direction = &mut stream.directions[end.side];
        if cut {
            let (since, wait) = direction.stuck.unwrap_or((now, Duration::ZERO));
            if now.duration_since(since) >= GIVE_UP {
                for direction in &mut stream.directions {
                    direction.break_with(io::ErrorKind::TimedOut);
                }
                stream.directions[end.side].scheduled = false;
                self.forget_if_over(end.id);
                return;
            }
            let wait = next_attempt(wait);
            direction.stuck = Some((since, wait));
            self.schedule(now + wait, Happening::Arrival(end));
            return;
        }
        direction.stuck = None;
        let reader_is_there = stream.open[1 - end.side];
        let mut sent_to_nobody = false;
        while direction.on_the_way.front().is_some_and(|(at, _)| *at <= now) {
            match direction.on_the_way.pop_front() {
                Some((_, Segment::Data(data))) if reader_is_there => direction.arrived.extend_from_slice(&data),
                Some((_, Segment::Data(_))) => sent_to_nobody = true,
                Some((_, Segment::End)) => direction.ended = true,
                Some((_, Segment::Reset)) => direction.broken = Some(io::ErrorKind::ConnectionReset),
                None => {}
            }
        }
        if let Some(reader) = direction.reader.take() {
            reader.wake();
        }
        let broken = direction.broken;
        match direction.on_the_way.front().map(|(at, _)| *at) {
            Some(at) => self.schedule(at, Happening::Arrival(end)),
            None => direction.scheduled = false,
        }
        let Some(stream) = self.streams.get_mut(&end.id) else { return };
        if broken.is_some() {
            // A reset ends both directions; what had arrived before it is lost, as with sockets.
            stream.directions[end.side].arrived.clear();
            let back = &mut stream.directions[1 - end.side];
            back.broken.get_or_insert(io::ErrorKind::ConnectionReset);
            back.wake();
        }
        if sent_to_nobody && broken.is_none() {
            self.abort(End { id: end.id, side: 1 - end.side }, now, rng);
        }
        self.forget_if_over(end.id);
    }

    fn request(&mut self, id: u64, attempt: u32, now: Instant, rng: &mut impl Rng) {
        let Some(stream) = self.streams.get(&id) else { return };
        let ([from, to], address) = (stream.nodes, stream.addresses[1]);
        if self.links.is_cut(from, to) {
            self.again(id, attempt, now, |attempt| Happening::Request { id, attempt });
            return;
        }
        let backlog = self.listeners.get_mut(&address).filter(|backlog| backlog.waiting.len() < BACKLOG_MAX);
        let accepted = backlog.is_some();
        if let Some(backlog) = backlog {
            backlog.waiting.push_back(id);
            if let Some(acceptor) = backlog.acceptor.take() {
                acceptor.wake();
            }
        } else if self.silent.contains(&to) && !self.has_listener(to) {
            // A host that is down says nothing.
            self.again(id, attempt, now, |attempt| Happening::Request { id, attempt });
            return;
        }
        let at = now + self.links.delay(to, from, rng);
        self.schedule(at, Happening::Response { id, accepted, attempt: 0 });
    }

    fn response(&mut self, id: u64, accepted: bool, attempt: u32, now: Instant) {
        let Some(stream) = self.streams.get(&id) else { return };
        if self.links.is_cut(stream.nodes[1], stream.nodes[0]) {
            self.again(id, attempt, now, |attempt| Happening::Response { id, accepted, attempt });
            return;
        }
        self.connected(id, if accepted { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused) });
    }

    /// The next attempt of a handshake message, or the end of all attempts.
    fn again(&mut self, id: u64, attempt: u32, now: Instant, happening: impl FnOnce(u32) -> Happening) {
        if attempt + 1 < CONNECT_ATTEMPTS {
            self.schedule(now + CONNECT_WAIT * 2_u32.pow(attempt), happening(attempt + 1));
        } else {
            self.connected(id, Err(io::ErrorKind::TimedOut));
        }
    }

    fn connected(&mut self, id: u64, result: Result<(), io::ErrorKind>) {
        if result.is_err() {
            self.streams.remove(&id);
        }
        if let Some(connecting) = self.connecting.get_mut(&id) {
            connecting.result = Some(result);
            if let Some(waker) = connecting.waker.take() {
                waker.wake();
            }
        }
    }

    fn has_listener(&self, node: NodeId) -> bool {
        self.listeners.keys().any(|address| self.nodes.get(&address.ip()) == Some(&node))
    }

    fn forget_if_over(&mut self, id: u64) {
        let Some(stream) = self.streams.get(&id) else { return };
        let quiet = stream.directions.iter().all(|direction| direction.on_the_way.is_empty());
        if quiet && !stream.open[0] && !stream.open[1] {
            self.streams.remove(&id);
        }
    }

    fn free_port(&mut self) -> u16 {
        self.next_port = if self.next_port >= 60_999 { 32_768 } else { self.next_port + 1 };
        self.next_port
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), happening);
    }
}
