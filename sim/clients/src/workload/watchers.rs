//! Watches in all modes and with selectors, dropped early or left idle; some readers stop reading for seconds.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use triune_env::BoxFuture;
use triune_history::{StreamItem, WatchFrom};

use super::{Scope, Theme, swarm};
use crate::{
    kind::Kind,
    random::Random,
    request::Request,
    retry,
    session::{Age, Session, Steps},
    watch::{Watch, Woken},
};

/// Knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watchers {
    /// Watches at a time.
    pub lanes: u64,
    /// Pause before each.
    pub think_ms: (u64, u64),
    /// Where they look.
    pub scope: Scope,
    /// Where watches begin, by weight.
    pub starts: Vec<(Start, u32)>,
    /// How often bookmarks are asked for.
    pub bookmarks_percent: u32,
    /// `timeoutSeconds`; 0 is unset.
    pub timeout_seconds: (u64, u64),
    /// After this long the client drops the watch.
    pub hold_ms: (u64, u64),
    /// How often a reader stops after an event.
    pub slow_percent: u32,
    /// How long it stops.
    pub slow_ms: (u64, u64),
    /// From this time after the start on no reader stops: then all of them catch up.
    pub slow_until_ms: u64,
    /// How often it goes on at the last revision after a watch has ended.
    pub resume_percent: u32,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the latest state.
    Latest,
    /// With any state.
    Any,
    /// After the newest revision seen.
    Newest,
    /// After a revision seen.
    Seen,
    /// After the first revision: it is compacted, mostly.
    First,
    /// After a revision that is not there yet.
    Future,
    /// With the latest state and a bookmark after it.
    WatchList,
    /// With a state not older than the newest revision seen, and a bookmark after it.
    WatchListNewest,
}

const STARTS: [Start; 8] = [
    Start::Latest,
    Start::Any,
    Start::Newest,
    Start::Seen,
    Start::First,
    Start::Future,
    Start::WatchList,
    Start::WatchListNewest,
];

impl Watchers {
    /// Draws knobs.
    pub fn draw(random: &mut Random, theme: &Theme) -> Watchers {
        let mut starts = swarm(random, &STARTS);
        starts.retain(|(start, _)| *start != Start::Future || random.percent(20));
        starts.push((Start::Seen, 5));
        let seconds = theme.duration_ms / 1_000;
        let slow = theme.large_percent > 0 || random.percent(30);
        Watchers {
            lanes: random.between((1, 6)),
            think_ms: theme.think_ms(random),
            scope: Scope::draw(random, theme),
            starts,
            bookmarks_percent: random.between((0, 100)) as u32,
            timeout_seconds: if random.percent(30) { (0, 0) } else { (1, seconds.max(2)) },
            hold_ms: theme.part_ms((random.between((2, 60)).max(2), 1)),
            slow_percent: if slow { random.between((5, 50)) as u32 } else { 0 },
            slow_ms: theme.part_ms((60, random.between((2, 6)))),
            slow_until_ms: theme.duration_ms,
            resume_percent: random.between((0, 90)) as u32,
        }
    }

    /// Runs it.
    pub async fn run(&self, session: &Session) {
        session.drive(self.lanes, self.think_ms, self).await;
    }

    async fn watch(&self, session: &Session, mut random: Random) {
        let selection = self.scope.selection(&mut random);
        let kind = selection.kind;
        let Some(start) = random.weighted(&self.starts) else { return };
        let mut revision = |age| session.revision(kind, age, &mut random);
        let mut from = match start {
            Start::Latest => WatchFrom::StateLatest,
            Start::Any => WatchFrom::StateAny,
            Start::Newest => WatchFrom::After(revision(Age::Newest)),
            Start::Seen => WatchFrom::After(revision(Age::Seen)),
            Start::First => WatchFrom::After(revision(Age::First)),
            Start::Future => WatchFrom::After(revision(Age::Future)),
            Start::WatchList => WatchFrom::WatchList(0),
            Start::WatchListNewest => WatchFrom::WatchList(revision(Age::Newest)),
        };
        let bookmarks = matches!(from, WatchFrom::WatchList(_)) || random.percent(self.bookmarks_percent);
        let end = session.env.clock.now() + random.millis(self.hold_ms);
        loop {
            let timeout_seconds = random.between(self.timeout_seconds);
            let request = Request::watch(&selection, from, bookmarks, timeout_seconds);
            let Ok(mut watch) = retry::watch(session.api(&mut random), &request, &session.stop).await else { return };
            let mut reader = Reader { knobs: self, session, kind, random: &mut random, last: None, dropped: false };
            reader.read(&mut watch, end).await;
            let (last, dropped) = (reader.last, reader.dropped);
            let Some(last) = last.filter(|_| !dropped) else { return };
            // A start in the middle of a state has no position to go on at.
            if !matches!(from, WatchFrom::After(_)) && !bookmarks {
                return;
            }
            from = WatchFrom::After(last);
            if !random.percent(self.resume_percent) || !session.pause(random.millis(self.think_ms)).await {
                return;
            }
        }
    }
}

/// Reads one watch.
struct Reader<'a> {
    knobs: &'a Watchers,
    session: &'a Session,
    kind: Kind,
    random: &'a mut Random,
    /// The last revision that a later watch may go on at.
    last: Option<u64>,
    /// Whether it was the reader who ended it, or an error event.
    dropped: bool,
}

impl Reader<'_> {
    async fn read(&mut self, watch: &mut Watch, end: std::time::Instant) {
        let mut stop = self.session.stop.wait();
        let mut alarm = self.session.env.clock.sleep_until(end);
        loop {
            let item = match watch.next_until(&mut stop, Some(&mut alarm)).await {
                Woken::Item(Ok(item)) => item,
                Woken::Item(Err(_)) => return,
                Woken::Stop | Woken::Alarm => {
                    self.dropped = true;
                    return;
                }
            };
            match item {
                StreamItem::Error { .. } => self.dropped = true,
                StreamItem::Bookmark { revision, .. } => self.saw(revision),
                StreamItem::Added(object) | StreamItem::Modified(object) | StreamItem::Deleted(object) => {
                    self.saw(object.revision);
                }
            }
            if self.random.percent(self.knobs.slow_percent) {
                let slow_until = self.session.started + Duration::from_millis(self.knobs.slow_until_ms);
                let left = slow_until.saturating_duration_since(self.session.env.clock.now());
                let pause = self.random.millis(self.knobs.slow_ms);
                self.session.pause(pause.min(left)).await;
            }
        }
    }

    fn saw(&mut self, revision: u64) {
        self.last = Some(self.last.map_or(revision, |last| last.max(revision)));
        self.session.saw(self.kind, revision);
    }
}

impl Steps for Watchers {
    fn step<'a>(&'a self, session: &'a Session, _: u64, random: Random) -> BoxFuture<'a, ()> {
        Box::pin(self.watch(session, random))
    }
}
