//! Informers, each for a while; one after the other, or all at once again and again (a restart storm).
//!
//! An informer that starts anew has an empty store and a number of its own: the number of its operation.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use triune_env::BoxFuture;
use triune_machinery::signal::Signal;

use super::{Scope, Theme};
use crate::{
    informer::{Informer, InformerOptions},
    random::Random,
    session::{Session, Steps},
};

/// Knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Informers {
    /// Informers at a time.
    pub lanes: u64,
    /// Pause before each starts.
    pub think_ms: (u64, u64),
    /// How long each lives; 0 for until the end. Equal ones make a storm.
    pub life_ms: (u64, u64),
    /// What they follow.
    pub scope: Scope,
    /// Page sizes of lists; 0 for client-go's choice.
    pub page_size: u64,
    /// How often one begins with a watch that sends the state first.
    pub watch_list_percent: u32,
    /// `timeoutSeconds` of their watches.
    pub watch_timeout_seconds: (u64, u64),
    /// How often one goes to the next server when it connects again.
    pub switch_percent: u32,
    /// How often their stores are recorded; 0 for only at the end.
    pub snapshot_every_ms: u64,
}

impl Informers {
    /// Draws knobs of informers that live long.
    pub fn draw(random: &mut Random, theme: &Theme) -> Informers {
        let restarts = random.percent(30);
        let seconds = theme.duration_ms / 1_000;
        Informers {
            lanes: random.between((1, 4)),
            think_ms: (0, theme.duration_ms / 60),
            life_ms: if restarts { theme.part_ms((12, 2)) } else { (0, 0) },
            scope: Scope::draw(random, theme),
            page_size: if random.percent(30) { random.between((1, 3)) } else { 0 },
            watch_list_percent: *random.pick(&[0, 50, 100]).unwrap_or(&0),
            watch_timeout_seconds: (1.max(seconds / 12), 2.max(seconds / 3)),
            switch_percent: *random.pick(&[0, 50, 100]).unwrap_or(&0),
            snapshot_every_ms: theme.duration_ms / 12,
        }
    }

    /// Draws knobs of many informers that start at the same time, several times.
    pub fn draw_storm(random: &mut Random, theme: &Theme) -> Informers {
        let life = random.between(theme.part_ms((12, 3)));
        Informers {
            lanes: random.between((4, 16)),
            think_ms: (0, 0),
            life_ms: (life, life),
            ..Informers::draw(random, theme)
        }
    }

    /// Runs it.
    pub async fn run(&self, session: &Session) {
        session.drive(self.lanes, self.think_ms, self).await;
    }

    async fn live(&self, session: &Session, number: u64, mut random: Random) {
        let selection = self.scope.selection(&mut random);
        let options = InformerOptions {
            kind: selection.kind,
            namespace: selection.namespace,
            labels: selection.labels,
            page_size: self.page_size,
            watch_list: random.percent(self.watch_list_percent),
            watch_timeout_seconds: self.watch_timeout_seconds,
            switch_servers: random.percent(self.switch_percent),
            snapshot_every_ms: self.snapshot_every_ms,
        };
        let life = random.millis(self.life_ms);
        let first = if random.percent(session.hop_percent) { random.below(8) as usize } else { session.home };
        if life.is_zero() {
            Informer::new(number, options, session.apis.clone(), first, random, session.stop.clone()).run().await;
            return;
        }
        let stop = Signal::new();
        let mut informer = Informer::new(number, options, session.apis.clone(), first, random, stop.clone());
        futures::future::join(informer.run(), end_after(session, life, &stop)).await;
    }
}

async fn end_after(session: &Session, life: Duration, stop: &Signal) {
    session.pause(life).await;
    stop.give();
}

impl Steps for Informers {
    fn step<'a>(&'a self, session: &'a Session, number: u64, random: Random) -> BoxFuture<'a, ()> {
        Box::pin(self.live(session, number, random))
    }
}
