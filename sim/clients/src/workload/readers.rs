//! Single reads and whole lists, in all modes, of revisions new, old and not there yet.

use serde::{Deserialize, Serialize};
use triune_env::BoxFuture;
use triune_history::{ObjectKey, Version};

use super::{Scope, Theme, swarm};
use crate::{
    random::Random,
    request::{Paging, Request},
    session::{Age, Session, Steps},
};

/// Knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readers {
    /// Operations at a time.
    pub lanes: u64,
    /// Pause before each.
    pub think_ms: (u64, u64),
    /// Where they look.
    pub scope: Scope,
    /// Names in each namespace.
    pub names: u64,
    /// What is done, by weight.
    pub operations: Vec<(Read, u32)>,
}

/// Ways to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// One object as it is.
    Get,
    /// One object as the cache has it.
    GetAny,
    /// One object not older than the newest revision seen.
    GetNewest,
    /// All as it is.
    List,
    /// All as the cache has it.
    ListAny,
    /// All not older than the newest revision seen.
    ListNewest,
    /// All at a revision seen.
    ListExact,
    /// All at the first revision: it is compacted, mostly.
    ListFirst,
    /// All not older than a revision that is not there yet.
    ListFuture,
}

/// All of them.
pub const READS: [Read; 9] = [
    Read::Get,
    Read::GetAny,
    Read::GetNewest,
    Read::List,
    Read::ListAny,
    Read::ListNewest,
    Read::ListExact,
    Read::ListFirst,
    Read::ListFuture,
];

impl Readers {
    /// Draws knobs.
    pub fn draw(random: &mut Random, theme: &Theme) -> Readers {
        let mut operations = swarm(random, &READS);
        operations.retain(|(read, _)| *read != Read::ListFuture || random.percent(20));
        operations.push((Read::Get, 2));
        Readers {
            lanes: random.between((1, 2)),
            think_ms: theme.think_ms(random),
            scope: Scope::draw(random, theme),
            names: theme.names,
            operations,
        }
    }

    /// Runs it.
    pub async fn run(&self, session: &Session) {
        session.drive(self.lanes, self.think_ms, self).await;
    }

    async fn read(&self, session: &Session, mut random: Random) {
        let api = session.api(&mut random);
        let selection = self.scope.selection(&mut random);
        let namespace = random.pick(&self.scope.namespaces).cloned().unwrap_or_default();
        let kind = selection.kind;
        let key = ObjectKey { resource: kind.resource(), namespace, name: format!("o{}", random.below(self.names)) };
        let Some(read) = random.weighted(&self.operations) else { return };
        let mut revision = |age| session.revision(kind, age, &mut random);
        let get = |at_least| Request::get(kind, &key, at_least);
        let list = |version| Request::list(&selection, &Paging::whole(version));
        let request = match read {
            Read::Get => get(None),
            Read::GetAny => get(Some(0)),
            Read::GetNewest => get(Some(revision(Age::Newest))),
            Read::List => list(Version::Latest),
            Read::ListAny => list(Version::Any),
            Read::ListNewest => list(Version::NotOlderThan(revision(Age::Newest))),
            Read::ListExact => list(Version::Exact(revision(Age::Seen))),
            Read::ListFirst => list(Version::Exact(revision(Age::First))),
            // Answered late and with an error that asks for retries: once is enough.
            Read::ListFuture => {
                api.call(&list(Version::NotOlderThan(revision(Age::Future)))).await;
                return;
            }
        };
        session.call(api, kind, &request).await;
    }
}

impl Steps for Readers {
    fn step<'a>(&'a self, session: &'a Session, _: u64, random: Random) -> BoxFuture<'a, ()> {
        Box::pin(self.read(session, random))
    }
}
