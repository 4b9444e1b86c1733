//! Lists in small pages with pauses between them, so that objects change and logs are compacted in the meantime; pages may
//! come from different servers. After 410 a pager may go on with the token that it is offered.

use serde::{Deserialize, Serialize};
use triune_env::BoxFuture;
use triune_history::Version;

use super::{Scope, Theme, swarm};
use crate::{
    random::Random,
    request::{Paging, Request},
    session::{Age, Session, Steps},
};

/// Pages of one list.
const PAGES_MAX: usize = 1_000;

/// Knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pagers {
    /// Operations at a time.
    pub lanes: u64,
    /// Pause before each list.
    pub think_ms: (u64, u64),
    /// Pause between pages.
    pub page_ms: (u64, u64),
    /// Page sizes.
    pub limit: (u64, u64),
    /// Where they look.
    pub scope: Scope,
    /// How a list begins, by weight.
    pub starts: Vec<(Start, u32)>,
    /// How often a list goes on inconsistently when its revision is gone.
    pub go_on_percent: u32,
    /// How often a list is left before its end.
    pub leave_percent: u32,
}

/// How a list begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the latest revision.
    Latest,
    /// At whatever the cache has: the limit does not count then.
    Any,
    /// Not older than the newest revision seen.
    NotOlderThan,
    /// At a revision seen.
    Exact,
    /// At a revision seen, in the old form without `resourceVersionMatch`.
    Legacy,
}

impl Pagers {
    /// Draws knobs.
    pub fn draw(random: &mut Random, theme: &Theme) -> Pagers {
        let starts = [Start::Latest, Start::Any, Start::NotOlderThan, Start::Exact, Start::Legacy];
        let mut starts = swarm(random, &starts);
        starts.push((Start::Latest, 5));
        let slow = random.percent(50);
        Pagers {
            lanes: random.between((1, 3)),
            think_ms: theme.think_ms(random),
            page_ms: if slow { theme.part_ms((12, 2)) } else { (0, 200) },
            limit: (1, random.between((1, 4))),
            scope: Scope::draw(random, theme),
            starts,
            go_on_percent: random.between((20, 100)) as u32,
            leave_percent: random.between((0, 10)) as u32,
        }
    }

    /// Runs it.
    pub async fn run(&self, session: &Session) {
        session.drive(self.lanes, self.think_ms, self).await;
    }

    async fn list(&self, session: &Session, mut random: Random) {
        let selection = self.scope.selection(&mut random);
        let Some(start) = random.weighted(&self.starts) else { return };
        let mut revision = |age| session.revision(selection.kind, age, &mut random);
        let version = match start {
            Start::Latest => Version::Latest,
            Start::Any => Version::Any,
            Start::NotOlderThan => Version::NotOlderThan(revision(Age::Newest)),
            Start::Legacy => Version::NotOlderThan(revision(Age::Seen)),
            Start::Exact => Version::Exact(revision(Age::Seen)),
        };
        let limit = random.between(self.limit);
        let mut paging = Paging { version, limit, legacy: start == Start::Legacy, continues: None };
        for _ in 0..PAGES_MAX {
            let api = session.api(&mut random);
            let reply = session.call(api, selection.kind, &Request::list(&selection, &paging)).await;
            let goes_on = reply.is_ok() || (reply.is_expired() && random.percent(self.go_on_percent));
            if reply.continue_token.is_empty() || !goes_on || random.percent(self.leave_percent) {
                return;
            }
            let first = paging.continues.map_or(reply.id, |(first, _)| first);
            paging.continues = Some((first, reply.continue_token));
            if !session.pause(random.millis(self.page_ms)).await {
                return;
            }
        }
    }
}

impl Steps for Pagers {
    fn step<'a>(&'a self, session: &'a Session, _: u64, random: Random) -> BoxFuture<'a, ()> {
        Box::pin(self.list(session, random))
    }
}
