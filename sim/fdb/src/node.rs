//! The process that serves a [`Cluster`] over the network, with faults.
//!
//! Requests of a connection are handled as they come and answered as they are done, so answers overtake each other. What
//! happens later (batches, watches, slow answers) is on one agenda in the order of time. A commit is in flight from its
//! arrival to its batch, in the cluster and not in the process: when the process dies, the next one decides by chance
//! which of those were logged, and recovers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::{Either, select};
use tokio::{io::AsyncRead, sync::Notify};
use triune_env::{Connection, Env, Listener, TaskHandle, probe};
use triune_fdb_model::{
    Answer, Command, Effects, Fate, Outcome, Refusal, RequestId, Transaction, version::BATCH_TRANSACTIONS_MAX,
};

use crate::{
    channel::{Frames, Outbox},
    cluster::{Cluster, CommitSeen, Observer},
    knobs::{DelayRange, Fault, FaultKnobs},
    protocol::{Decode, Failure, Reply, Request},
};

/// A page of rows ends once it has this many bytes.
const PAGE_BYTES: usize = 1 << 20;
/// Connections at a time; more are closed at once.
pub const CONNECTIONS_MAX: usize = 1_000;

/// Serves the cluster until dropped. Gives only the error of listening.
pub async fn serve(
    env: Env,
    address: SocketAddr,
    cluster: Arc<Mutex<Cluster>>,
    faults: Arc<Mutex<FaultKnobs>>,
    observer: Observer,
) -> io::Result<()> {
    Node::listen(env, address, cluster, faults, observer).await?.run().await;
    Ok(())
}

/// A process that listens, and serves once it is run.
pub struct Node {
    listener: Box<dyn Listener>,
    serving: Arc<Serving>,
}

impl Node {
    /// Listens. If the cluster was served before, it recovers.
    pub async fn listen(
        env: Env,
        address: SocketAddr,
        cluster: Arc<Mutex<Cluster>>,
        faults: Arc<Mutex<FaultKnobs>>,
        observer: Observer,
    ) -> io::Result<Node> {
        let listener = env.network.listen(address).await?;
        let state = Mutex::new(State::new(env.clock.now()));
        let serving = Arc::new(Serving { env, cluster, faults, observer, state, alarm: Notify::new() });
        serving.start();
        Ok(Node { listener, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_address()
    }

    /// Serves until dropped; then all connections end.
    pub async fn run(mut self) {
        let agenda = self.serving.clone();
        let accept = std::pin::pin!(async {
            let mut tasks: BTreeMap<u64, TaskHandle> = BTreeMap::new();
            loop {
                // A listener that fails (the real one has too many files open, say) is asked again a little later.
                let Ok((stream, _)) = self.listener.accept().await else {
                    self.serving.env.sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let open = self.serving.state().outboxes.keys().copied().collect::<BTreeSet<_>>();
                tasks.retain(|connection, _| open.contains(connection));
                if open.len() >= CONNECTIONS_MAX {
                    continue;
                }
                let (connection, task) = self.serving.clone().connect(stream);
                tasks.insert(connection, task);
            }
        });
        let agenda = std::pin::pin!(agenda.keep_agenda());
        match select(agenda, accept).await {
            Either::Left((never, _)) | Either::Right((never, _)) => match never {},
        }
    }
}

/// What happens later.
enum Event {
    /// An answer goes out.
    Send(RequestId, Reply),
    /// A read version is taken.
    ReadVersion(RequestId),
    /// A commit joins the batch.
    Enter(RequestId, Fate),
    /// The batch is decided.
    CommitBatch,
    /// A triggered watch is looked at.
    CheckWatch(RequestId),
    /// A watch fires for nothing.
    FireWatch(RequestId),
}

struct State {
    /// By time, and within it in the order of scheduling.
    agenda: BTreeMap<(Instant, u64), Event>,
    scheduled: u64,
    outboxes: BTreeMap<u64, Arc<Outbox>>,
    batch: Vec<(RequestId, Fate)>,
    /// Recovered at this time; until then there are neither read versions nor commits.
    recovered: Instant,
}

impl State {
    fn new(now: Instant) -> State {
        State { agenda: BTreeMap::new(), scheduled: 0, outboxes: BTreeMap::new(), batch: Vec::new(), recovered: now }
    }
}

struct Serving {
    env: Env,
    /// Locked before the state, never after it.
    cluster: Arc<Mutex<Cluster>>,
    faults: Arc<Mutex<FaultKnobs>>,
    observer: Observer,
    state: Mutex<State>,
    /// The agenda has something that is due earlier.
    alarm: Notify,
}

impl Serving {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, FaultKnobs> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, fault: Fault) -> bool {
        self.faults().draw(fault, self.env.entropy.as_ref())
    }

    fn delay(&self, of: impl Fn(&FaultKnobs) -> DelayRange) -> Duration {
        let range = of(&self.faults());
        range.draw(self.env.entropy.as_ref())
    }

    /// The first thing that a process does.
    fn start(&self) {
        let mut cluster = self.cluster();
        if cluster.was_served() {
            cluster.forget_connections(self.env.clock.now());
            self.recover(&mut cluster);
        }
    }

    /// Decides by chance which commits in flight had been logged, drops the others, and jumps.
    fn recover(&self, cluster: &mut Cluster) {
        let in_flight = cluster.in_flight();
        if !in_flight.is_empty() {
            probe!("fdb: commits are in flight at a recovery");
        }
        let logged = in_flight.into_iter().filter(|_| self.env.entropy.u64() & 1 == 0).collect();
        let versions = self.faults().recovery_versions;
        self.state().batch.clear();
        self.apply(cluster, Command::Recover { versions, logged });
        let recovered = self.env.clock.now() + self.delay(|knobs| knobs.recovery);
        self.state().recovered = recovered;
    }

    /// Gives a command to the cluster, tells the observer, and sees to what follows from it.
    fn apply(&self, cluster: &mut Cluster, command: Command) -> Option<Answer> {
        let Effects { answer, outcomes, applied, triggered } = cluster.apply(self.env.clock.now(), command);
        let revisions = cluster.revisions();
        for applied in applied {
            (self.observer)(&CommitSeen::new(applied, revisions));
        }
        for (id, outcome) in outcomes {
            if matches!(outcome, Outcome::TooOld) {
                probe!("fdb: a commit is too old");
            }
            self.answer(id, reply_to_commit(outcome));
        }
        for id in triggered {
            let late = self.draw(Fault::LateWatch);
            let delay = self.delay(|knobs| if late { knobs.late_watch } else { knobs.watch });
            self.schedule(delay, Event::CheckWatch(id));
        }
        answer
    }

    fn do_now(&self, command: Command) -> Option<Answer> {
        self.apply(&mut self.cluster(), command)
    }

    fn schedule(&self, delay: Duration, event: Event) {
        let at = self.env.clock.now() + delay;
        let mut state = self.state();
        state.scheduled += 1;
        let place = (at, state.scheduled);
        let first = state.agenda.first_key_value().is_none_or(|(first, _)| place < *first);
        state.agenda.insert(place, event);
        drop(state);
        if first {
            self.alarm.notify_one();
        }
    }

    async fn keep_agenda(self: Arc<Self>) -> std::convert::Infallible {
        loop {
            let next = {
                let mut state = self.state();
                match state.agenda.first_entry() {
                    Some(entry) if entry.key().0 <= self.env.clock.now() => Ok(entry.remove()),
                    Some(entry) => Err(Some(entry.key().0)),
                    None => Err(None),
                }
            };
            match next {
                Ok(event) => self.happen(event),
                Err(None) => self.alarm.notified().await,
                Err(Some(at)) => {
                    let alarm = std::pin::pin!(self.alarm.notified());
                    select(alarm, self.env.clock.sleep_until(at)).await;
                }
            }
        }
    }

    fn happen(&self, event: Event) {
        match event {
            Event::Send(id, reply) => self.send(id, &reply),
            Event::ReadVersion(id) => self.read_version(id),
            Event::Enter(id, fate) => self.enter(id, fate),
            Event::CommitBatch => self.commit_batch(),
            Event::CheckWatch(id) => {
                if self.do_now(Command::CheckWatch(id)).is_some() {
                    self.send(id, &Reply::Fired);
                }
            }
            Event::FireWatch(id) => {
                if self.do_now(Command::EndWatch(id)).is_some() {
                    self.send(id, &Reply::Fired);
                }
            }
        }
    }

    /// Serves a stream in a task of its own.
    fn connect(self: Arc<Self>, stream: Box<dyn Connection>) -> (u64, TaskHandle) {
        let connection = self.cluster().next_connection();
        let outbox = Arc::new(Outbox::default());
        self.state().outboxes.insert(connection, outbox.clone());
        let env = self.env.clone();
        let task = env.spawn("fdb-connection", async move {
            let (reader, writer) = tokio::io::split(stream);
            let read = std::pin::pin!(self.read(connection, &outbox, Frames::new(reader)));
            let write = std::pin::pin!(outbox.drain(writer));
            select(read, write).await;
            self.do_now(Command::Disconnect { connection });
            self.state().outboxes.remove(&connection);
        });
        (connection, task)
    }

    /// Handles requests until the stream ends or makes no sense, or its client takes no answers.
    async fn read<R: AsyncRead + Unpin>(&self, connection: u64, outbox: &Outbox, mut frames: Frames<R>) {
        while let Ok(Some(frame)) = frames.next().await {
            let Some((request, message)) = Request::of_frame(frame) else { return };
            self.handle(RequestId { connection, request }, message);
            if outbox.is_closed() {
                return;
            }
        }
    }

    fn handle(&self, id: RequestId, request: Request) {
        match request {
            Request::Hello => self.send(id, &Reply::Hello { origin: self.cluster().revisions().origin }),
            Request::Ping => self.send(id, &Reply::Pong),
            Request::ReadVersion => self.read_version(id),
            Request::Get { at, key } => self.read_rows(id, Command::Get { at, key }),
            Request::Range { at, range, limit, reverse } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                self.read_rows(id, Command::Range { at, range, limit, reverse, bytes_max: PAGE_BYTES });
            }
            Request::Commit(transaction) => self.submit(id, transaction),
            Request::Watch { key, seen } => self.watch(id, key, seen),
            Request::Cancel => drop(self.do_now(Command::EndWatch(id))),
        }
    }

    /// How long the cluster is still recovering.
    fn recovering(&self) -> Option<Duration> {
        let left = self.state().recovered.saturating_duration_since(self.env.clock.now());
        (!left.is_zero()).then_some(left)
    }

    fn read_version(&self, id: RequestId) {
        self.recover_by_chance();
        if let Some(left) = self.recovering() {
            self.schedule(left, Event::ReadVersion(id));
        } else if self.draw(Fault::Unavailable) {
            self.answer(id, Reply::Failed(Failure::Unavailable));
        } else if let Some(answer) = self.do_now(Command::ReadVersion) {
            self.answer(id, reply(answer));
        }
    }

    fn recover_by_chance(&self) {
        if self.recovering().is_none() && self.draw(Fault::Recovery) {
            self.recover(&mut self.cluster());
        }
    }

    fn read_rows(&self, id: RequestId, command: Command) {
        let faults = [
            (Fault::ReadTooOld, Failure::TooOld),
            (Fault::FutureVersion, Failure::FutureVersion),
            (Fault::Unavailable, Failure::Unavailable),
        ];
        if let Some((_, failure)) = faults.into_iter().find(|(fault, _)| self.draw(*fault)) {
            self.answer(id, Reply::Failed(failure));
        } else if let Some(answer) = self.do_now(command) {
            self.answer(id, reply(answer));
        }
    }

    fn submit(&self, id: RequestId, transaction: Box<Transaction>) {
        if let Some(refused) = self.do_now(Command::Submit { id, transaction }) {
            return self.answer(id, reply(refused));
        }
        self.recover_by_chance();
        if self.draw(Fault::LateCommit) {
            self.answer(id, Reply::Failed(Failure::Unknown));
            let delay = self.delay(|knobs| knobs.late_commit);
            return self.schedule(delay, Event::Enter(id, Fate::Honest));
        }
        let fates = [
            (Fault::Conflict, Fate::Conflict),
            (Fault::CommitUnknown, Fate::Unknown),
            (Fault::CommitUnknownDropped, Fate::UnknownDropped),
        ];
        let fate = fates.into_iter().find(|(fault, _)| self.draw(*fault)).map_or(Fate::Honest, |(_, fate)| fate);
        self.enter(id, fate);
    }

    fn enter(&self, id: RequestId, fate: Fate) {
        if let Some(left) = self.recovering() {
            return self.schedule(left, Event::Enter(id, fate));
        }
        let size = {
            let mut state = self.state();
            state.batch.push((id, fate));
            state.batch.len()
        };
        if size == BATCH_TRANSACTIONS_MAX {
            self.commit_batch();
        } else if size == 1 {
            self.schedule(self.delay(|knobs| knobs.batch), Event::CommitBatch);
        }
    }

    fn commit_batch(&self) {
        let batch = std::mem::take(&mut self.state().batch);
        if !batch.is_empty() {
            self.do_now(Command::CommitBatch(batch));
        }
    }

    fn watch(&self, id: RequestId, key: Bytes, seen: Option<Bytes>) {
        match self.do_now(Command::Watch { id, key, seen }) {
            Some(Answer::Armed) if self.draw(Fault::SpuriousWatch) => {
                self.schedule(self.delay(|knobs| knobs.spurious_watch), Event::FireWatch(id));
            }
            Some(Answer::Armed) | None => {}
            Some(answer) => self.send(id, &reply(answer)),
        }
    }

    /// Answers a read or a commit: at once, later, or never.
    fn answer(&self, id: RequestId, reply: Reply) {
        if self.draw(Fault::LostReply) {
            return;
        }
        if self.draw(Fault::SlowReply) {
            return self.schedule(self.delay(|knobs| knobs.slow_reply), Event::Send(id, reply));
        }
        self.send(id, &reply);
    }

    /// To a connection that is gone nothing is said.
    fn send(&self, id: RequestId, reply: &Reply) {
        let outbox = self.state().outboxes.get(&id.connection).cloned();
        if let Some(outbox) = outbox {
            outbox.send(id.request, reply);
        }
    }
}

fn reply(answer: Answer) -> Reply {
    match answer {
        Answer::Version(version) => Reply::Version(version),
        Answer::Value(value) => Reply::Value(value),
        Answer::Page(page) => Reply::Page(page),
        Answer::Armed | Answer::Fired => Reply::Fired,
        Answer::Refused(Refusal::TooOld) => Reply::Failed(Failure::TooOld),
        Answer::Refused(Refusal::FutureVersion) => Reply::Failed(Failure::FutureVersion),
        Answer::Refused(Refusal::TooLarge(message)) => Reply::Failed(Failure::TooLarge(message)),
        Answer::Refused(Refusal::TooManyWatches) => Reply::Failed(Failure::TooManyWatches),
    }
}

fn reply_to_commit(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Committed(position) => Reply::Committed(position),
        Outcome::Conflict => Reply::Failed(Failure::Conflict),
        Outcome::TooOld => Reply::Failed(Failure::TooOld),
        Outcome::Unknown => Reply::Failed(Failure::Unknown),
    }
}
