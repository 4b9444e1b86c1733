//! The [`Storage`] that asks a node.
//!
//! Keeps S2 (read versions are the node's, the revision of a commit is the node's position), S3 (a commit that was sent and
//! not answered is `Unknown`, and see the crate about what it may still do; one that was not sent is `Unavailable`), S6 (the
//! limits of the model, and the age of a transaction by this process's clock, too) and S7 (a watch whose connection is
//! lost is armed again with the value that its caller has seen).

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Mutex;
use triune_env::{
    BoxFuture, Env, TaskHandle, probe,
    storage::{
        CommitError, Isolation, KeyRange, Revision, Row, STAMP_BYTES, Stamp, Storage, StorageError,
        TRANSACTION_SECONDS_MAX, Transaction,
    },
};
use triune_fdb_model::{
    Mutation, Position, Revisions, Span, Version, transaction,
    transaction::{SELF_CONFLICT_PREFIX, SYSTEM_KEYS_START},
    version::LIFE_VERSIONS,
};

use crate::{
    link::{ANSWER_MAX, CallError, Link},
    protocol::{Failure, Reply, Request},
};

/// Connecting to one address may take this long, and so may the first answer.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Between attempts to make sure that a commit is decided.
const BARRIER_PAUSE: Duration = Duration::from_millis(50);
/// From the begin of a transaction on, after which a commit of it is decided, whoever can be asked: twice its life.
const BARRIER_MAX: Duration = Duration::from_secs(2 * TRANSACTION_SECONDS_MAX);
/// Between attempts to connect for a watch whose connection was lost.
const WATCH_PAUSE: Duration = Duration::from_millis(500);

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Answers `Unknown` without making sure that the commit is decided, as FoundationDB does for a transaction that ends
    /// with `transaction_timed_out`: see the crate.
    pub late_commits: bool,
}

/// A storage at the other end of a network.
pub struct FdbStorage {
    client: Arc<Client>,
}

impl FdbStorage {
    /// Connects to one of the addresses of a node.
    pub async fn connect(env: Env, addresses: &[SocketAddr]) -> Result<Arc<dyn Storage>, StorageError> {
        FdbStorage::connect_with(env, addresses, Options::default()).await
    }

    /// The same, with options.
    pub async fn connect_with(
        env: Env,
        addresses: &[SocketAddr],
        options: Options,
    ) -> Result<Arc<dyn Storage>, StorageError> {
        let (link, origin, address) = dial_any(&env, addresses, 0).await?;
        let revisions = Revisions { origin };
        let dialed = Dialed { link: Some(link), address, failed: None };
        let client = Client { env, addresses: addresses.to_vec(), options, revisions, dialed: Mutex::new(dialed) };
        Ok(Arc::new(FdbStorage { client: Arc::new(client) }))
    }
}

/// Tries each address once, beginning at one. Gives the link, the origin, and the address's place.
async fn dial_any(
    env: &Env,
    addresses: &[SocketAddr],
    first: usize,
) -> Result<((Arc<Link>, TaskHandle), Version, usize), StorageError> {
    let mut problem = "no address".to_owned();
    for index in (first..first + addresses.len()).map(|index| index % addresses.len()) {
        match env.timeout(CONNECT_MAX, dial(env, addresses[index])).await {
            Ok(Ok((link, origin))) => return Ok((link, origin, index)),
            Ok(Err(error)) => problem = error,
            Err(elapsed) => problem = elapsed.to_string(),
        }
    }
    Err(StorageError::Unavailable(problem))
}

async fn dial(env: &Env, address: SocketAddr) -> Result<((Arc<Link>, TaskHandle), Version), String> {
    let stream = env.network.connect(address).await.map_err(|error| error.to_string())?;
    let (link, task) = Link::open(env, stream);
    let hello = link.call(&Request::Hello, None).map_err(|error| format!("{error:?}"))?;
    match hello.await {
        Ok(Reply::Hello { origin }) => Ok(((link, task), origin)),
        other => Err(format!("greeted with {other:?}")),
    }
}

struct Client {
    env: Env,
    addresses: Vec<SocketAddr>,
    options: Options,
    revisions: Revisions,
    dialed: Mutex<Dialed>,
}

struct Dialed {
    /// Dropping the handle closes the link.
    link: Option<(Arc<Link>, TaskHandle)>,
    /// Place of its address.
    address: usize,
    /// When the last attempt to connect failed.
    failed: Option<Instant>,
}

impl Client {
    /// The link; a new one if the last is closed.
    async fn link(&self) -> Result<Arc<Link>, StorageError> {
        let asked = self.env.clock.now();
        let mut dialed = self.dialed.lock().await;
        if let Some((link, _)) = dialed.link.as_ref().filter(|(link, _)| link.is_open()) {
            return Ok(link.clone());
        }
        // Who waited while another tried in vain does not try again.
        if dialed.failed.is_some_and(|failed| failed > asked) {
            return Err(StorageError::Unavailable("not connected".to_owned()));
        }
        match dial_any(&self.env, &self.addresses, dialed.address + 1).await {
            Ok((_, origin, _)) if origin != self.revisions.origin => {
                Err(StorageError::Corrupt(format!("the origin is {origin}, was {}", self.revisions.origin)))
            }
            Ok((link, _, address)) => {
                let opened = link.0.clone();
                *dialed = Dialed { link: Some(link), address, failed: None };
                Ok(opened)
            }
            Err(error) => {
                dialed.failed = Some(self.env.clock.now());
                Err(error)
            }
        }
    }

    /// Asks something that may be asked in vain.
    async fn ask(&self, request: &Request) -> Result<Reply, StorageError> {
        let unavailable = |text: &str| StorageError::Unavailable(text.to_owned());
        let answer = match self.link().await?.call(request, Some(ANSWER_MAX)) {
            Ok(call) => call.await,
            // It was closed a moment ago.
            Err(_) => match self.link().await?.call(request, Some(ANSWER_MAX)) {
                Ok(call) => call.await,
                Err(error) => Err(error),
            },
        };
        match answer {
            Ok(Reply::Failed(failure)) => Err(match failure {
                Failure::TooOld => StorageError::TooOld,
                Failure::TooLarge(message) => StorageError::TooLarge(message),
                Failure::FutureVersion => unavailable("future version"),
                Failure::TooManyWatches => unavailable("too many watches"),
                Failure::Conflict | Failure::Unknown | Failure::Unavailable => {
                    unavailable("the cluster does not answer")
                }
            }),
            Ok(reply) => Ok(reply),
            Err(CallError::NotSent | CallError::Lost) => Err(unavailable("connection is lost")),
            Err(CallError::TimedOut) => Err(unavailable("no answer in time")),
        }
    }

    async fn read_version(&self) -> Result<Version, StorageError> {
        match self.ask(&Request::ReadVersion).await? {
            Reply::Version(version) => Ok(version),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn commit(&self, transaction: transaction::Transaction, begun: Instant) -> Result<Position, CommitError> {
        let (read_version, own_key) = (transaction.read_version, transaction.writes.last().cloned());
        let request = Request::Commit(Box::new(transaction));
        let not_sent = |error: StorageError| CommitError::Unavailable(error.to_string());
        let call = self.link().await.map_err(not_sent)?.call(&request, Some(ANSWER_MAX));
        drop(request);
        let Ok(call) = call else {
            return Err(CommitError::Unavailable("connection is lost".to_owned()));
        };
        match call.await {
            Ok(Reply::Committed(position)) => Ok(position),
            Ok(Reply::Failed(Failure::Conflict)) => Err(CommitError::Conflict),
            Ok(Reply::Failed(Failure::TooOld)) => Err(CommitError::TooOld),
            Ok(Reply::Failed(Failure::TooLarge(message))) => Err(CommitError::TooLarge(message)),
            Ok(_) | Err(_) => {
                if let Some(own_key) = own_key.filter(|_| !self.options.late_commits) {
                    self.make_decided(&own_key, read_version, begun).await;
                }
                Err(CommitError::Unknown)
            }
        }
    }

    /// Returns when a commit is applied or never will be: when another has written what it read, when its read version is
    /// too old to commit, or when it must be.
    async fn make_decided(&self, own_key: &Span, read_version: Version, begun: Instant) {
        while self.env.clock.now() < begun + BARRIER_MAX {
            match self.read_version().await {
                Ok(version) if version.0 > read_version.0 + LIFE_VERSIONS => {
                    return probe!("fdb client: an unknown commit is too old to be applied");
                }
                Ok(version) if self.write_own_key(own_key, version).await => {
                    return probe!("fdb client: an unknown commit is decided");
                }
                Ok(_) | Err(_) => self.env.sleep(BARRIER_PAUSE).await,
            }
        }
    }

    async fn write_own_key(&self, own_key: &Span, read_version: Version) -> bool {
        // It reads the key, too: what is applied of it late would do no harm, but need not be.
        let (reads, writes) = (vec![own_key.clone()], vec![own_key.clone()]);
        let transaction = transaction::Transaction { read_version, reads, writes, mutations: Vec::new() };
        matches!(self.ask(&Request::Commit(Box::new(transaction))).await, Ok(Reply::Committed(_)))
    }

    /// Waits on one link after the other.
    async fn changed(self: Arc<Client>, key: Bytes, seen: Option<Bytes>) -> Result<(), StorageError> {
        let request = Request::Watch { key, seen };
        let mut link = self.link().await?;
        loop {
            let answer = match link.call(&request, None) {
                Ok(call) => call.await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(Reply::Fired) => return Ok(()),
                Ok(Reply::Failed(Failure::TooManyWatches)) => {
                    return Err(StorageError::Unavailable("too many watches".to_owned()));
                }
                Ok(reply) => return Err(unexpected(&reply)),
                Err(_) => {
                    link = self.link_again().await;
                    probe!("fdb client: a watch is armed again");
                }
            }
        }
    }

    /// A link, however long it takes.
    async fn link_again(&self) -> Arc<Link> {
        loop {
            match self.link().await {
                Ok(link) => return link,
                Err(_) => self.env.sleep(WATCH_PAUSE).await,
            }
        }
    }
}

fn unexpected(reply: &Reply) -> StorageError {
    StorageError::Corrupt(format!("the node answered {reply:?}"))
}

impl Storage for FdbStorage {
    fn read_version(&self) -> BoxFuture<'_, Result<Revision, StorageError>> {
        Box::pin(async { Ok(self.client.revisions.of_read(self.client.read_version().await?)) })
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StorageError>> {
        Box::pin(async {
            // Its life begins when the version is asked for: it is younger than that.
            let begun = self.client.env.clock.now();
            let read_version = self.client.read_version().await?;
            let request = transaction::Transaction { read_version, ..transaction::Transaction::default() };
            Ok(Box::new(FdbTransaction { client: self.client.clone(), begun, request }) as Box<dyn Transaction>)
        })
    }

    fn changed(&self, key: Bytes, seen: Option<Bytes>) -> BoxFuture<'static, Result<(), StorageError>> {
        Box::pin(self.client.clone().changed(key, seen))
    }

    fn revision_of(&self, stamp: &Stamp) -> Revision {
        self.client.revisions.of_commit(Position::of_stamp(stamp))
    }

    fn stamp_of(&self, revision: Revision) -> Stamp {
        self.client.revisions.position(revision).stamp()
    }
}

struct FdbTransaction {
    client: Arc<Client>,
    begun: Instant,
    request: transaction::Transaction,
}

impl FdbTransaction {
    fn is_too_old(&self) -> bool {
        let age = self.client.env.clock.now().saturating_duration_since(self.begun);
        age > Duration::from_secs(TRANSACTION_SECONDS_MAX)
    }

    async fn read_key(&mut self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, StorageError> {
        if self.is_too_old() {
            return Err(StorageError::TooOld);
        }
        transaction::check_key(key).map_err(StorageError::TooLarge)?;
        let key = Bytes::copy_from_slice(key);
        let request = Request::Get { at: self.request.read_version, key: key.clone() };
        match self.client.ask(&request).await? {
            Reply::Value(value) => {
                if isolation == Isolation::Serializable {
                    self.request.reads.push(Span::Key(key));
                }
                Ok(value)
            }
            reply => Err(unexpected(&reply)),
        }
    }

    async fn read_range(
        &mut self,
        range: KeyRange,
        limit: usize,
        reverse: bool,
        isolation: Isolation,
    ) -> Result<Vec<Row>, StorageError> {
        if self.is_too_old() {
            return Err(StorageError::TooOld);
        }
        let range = clamp(range);
        if limit == 0 || range.start >= range.end {
            return Ok(Vec::new());
        }
        let rows = self.read_pages(range.clone(), limit, reverse).await?;
        if isolation == Isolation::Serializable {
            self.request.reads.push(Span::Range(really_read(range, limit, reverse, &rows)));
        }
        Ok(rows)
    }

    /// All pages of a range; each goes on where the last one ended.
    async fn read_pages(&self, mut rest: KeyRange, limit: usize, reverse: bool) -> Result<Vec<Row>, StorageError> {
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let left = u32::try_from(limit - rows.len()).unwrap_or(u32::MAX);
            let at = self.request.read_version;
            let page = match self.client.ask(&Request::Range { at, range: rest.clone(), limit: left, reverse }).await? {
                Reply::Page(page) => page,
                reply => return Err(unexpected(&reply)),
            };
            rows.extend(page.rows);
            match rows.last() {
                Some(last) if page.more && reverse => rest.end = last.key.clone(),
                Some(last) if page.more => rest.start = after(&last.key),
                _ => return Ok(rows),
            }
        }
    }
}

/// The first key past a key.
fn after(key: &[u8]) -> Bytes {
    Bytes::from([key, &[0]].concat())
}

/// Cuts off the keys of the database itself.
fn clamp(mut range: KeyRange) -> KeyRange {
    if range.end.as_ref() > SYSTEM_KEYS_START {
        range.end = Bytes::from_static(SYSTEM_KEYS_START);
    }
    range
}

/// The part of a range that a read has looked at: all of it, or up to the last row within the limit.
fn really_read(mut range: KeyRange, limit: usize, reverse: bool, rows: &[Row]) -> KeyRange {
    match rows.last() {
        Some(last) if rows.len() == limit && reverse => range.start = last.key.clone(),
        Some(last) if rows.len() == limit => range.end = after(&last.key),
        _ => {}
    }
    range
}

impl Transaction for FdbTransaction {
    fn read_version(&self) -> Revision {
        self.client.revisions.of_read(self.request.read_version)
    }

    fn get<'a>(
        &'a mut self,
        key: &'a [u8],
        isolation: Isolation,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        Box::pin(self.read_key(key, isolation))
    }

    fn range<'a>(
        &'a mut self,
        range: KeyRange,
        limit: usize,
        reverse: bool,
        isolation: Isolation,
    ) -> BoxFuture<'a, Result<Vec<Row>, StorageError>> {
        Box::pin(self.read_range(range, limit, reverse, isolation))
    }

    fn set(&mut self, key: Bytes, value: Bytes) {
        self.request.mutations.push(Mutation::Set { key, value });
    }

    fn set_stamped_key(&mut self, prefix: &[u8], suffix: &[u8], value: Bytes) {
        let key = Bytes::from([prefix, &[0; STAMP_BYTES], suffix].concat());
        self.request.mutations.push(Mutation::SetStampedKey { key, offset: prefix.len(), value });
    }

    fn set_stamped_value(&mut self, key: Bytes, value: Vec<u8>, offset: usize) {
        self.request.mutations.push(Mutation::SetStampedValue { key, value: Bytes::from(value), offset });
    }

    fn clear(&mut self, key: Bytes) {
        self.request.mutations.push(Mutation::Clear { key });
    }

    fn clear_range(&mut self, range: KeyRange) {
        let range = clamp(range);
        if range.start < range.end {
            self.request.mutations.push(Mutation::ClearRange(range));
        }
    }

    fn add_read_conflict_key(&mut self, key: Bytes) {
        self.request.reads.push(Span::Key(key));
    }

    fn add_write_conflict_key(&mut self, key: Bytes) {
        self.request.writes.push(Span::Key(key));
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<Revision, CommitError>> {
        Box::pin(async move {
            if self.is_too_old() {
                return Err(CommitError::TooOld);
            }
            self.request.check_limits().map_err(CommitError::TooLarge)?;
            if self.request.is_read_only() {
                return Ok(self.read_version());
            }
            let unique = self.client.env.entropy.u128().to_be_bytes();
            let own_key = Span::Key(Bytes::from([SELF_CONFLICT_PREFIX, &unique].concat()));
            self.request.reads.push(own_key.clone());
            self.request.writes.push(own_key);
            let FdbTransaction { client, begun, request } = *self;
            client.commit(request, begun).await.map(|position| client.revisions.of_commit(position))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limit: usize, reverse: bool, rows: &[&'static str], expect: (&'static str, &'static str)) {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let rows: Vec<Row> = rows.iter().map(|key| Row { key: bytes(key), value: Bytes::new() }).collect();
        let read = really_read(KeyRange { start: bytes("a"), end: bytes("z") }, limit, reverse, &rows);
        assert_eq!(read, KeyRange { start: bytes(expect.0), end: bytes(expect.1) });
    }

    #[test]
    fn only_what_was_looked_at_is_the_conflict_range() {
        check(2, false, &[], ("a", "z"));
        check(2, false, &["b"], ("a", "z"));
        check(2, false, &["b", "c"], ("a", "c\0"));
        check(2, true, &["y"], ("a", "z"));
        check(2, true, &["y", "x"], ("x", "z"));
    }
}
