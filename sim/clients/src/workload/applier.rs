//! What `kubectl apply` and `kubectl replace` do: look, create what is absent, else patch or replace, and try again on a
//! conflict.

use serde::{Deserialize, Serialize};
use triune_env::BoxFuture;
use triune_history::ObjectKey;

use super::{Theme, make_namespace};
use crate::{
    kind::Kind,
    random::Random,
    request::{PatchKind, Request},
    session::{Session, Steps},
};

/// Tries of one apply (kubectl: 5).
const TRIES_MAX: u64 = 5;

/// Knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applier {
    /// Operations at a time.
    pub lanes: u64,
    /// Pause before each.
    pub think_ms: (u64, u64),
    /// Pause after a conflict.
    pub retry_ms: (u64, u64),
    /// Kinds.
    pub kinds: Vec<Kind>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Names in each.
    pub names: u64,
    /// How often it replaces and does not patch.
    pub replace_percent: u32,
}

impl Applier {
    /// Draws knobs.
    pub fn draw(random: &mut Random, theme: &Theme) -> Applier {
        Applier {
            lanes: random.between((1, 2)),
            think_ms: theme.think_ms(random),
            retry_ms: (1, random.between((10, 1_000))),
            kinds: theme.kinds.clone(),
            namespaces: theme.namespaces.clone(),
            names: theme.names,
            replace_percent: random.between((0, 100)) as u32,
        }
    }

    /// Runs it.
    pub async fn run(&self, session: &Session) {
        session.drive(self.lanes, self.think_ms, self).await;
    }

    async fn apply(&self, session: &Session, number: u64, mut random: Random) {
        let api = session.api(&mut random);
        let kind = random.pick(&self.kinds).copied().unwrap_or(Kind::ConfigMaps);
        let namespace = random.pick(&self.namespaces).cloned().unwrap_or_default();
        let key = ObjectKey { resource: kind.resource(), namespace, name: format!("o{}", random.below(self.names)) };
        let replace = random.percent(self.replace_percent);
        for attempt in 0..TRIES_MAX {
            let content = session.content(number, attempt, 0, &mut random);
            let found = session.call(api, kind, &Request::get(kind, &key, None)).await;
            let code = found.code();
            let request = match code {
                404 => Request::create(kind, &key.namespace, kind.object(&key.namespace, &key.name, &content)),
                200 if replace => {
                    let mut object = found.value;
                    kind.change(&mut object, &content);
                    Request::update(kind, object)
                }
                200 => Request::patch(kind, &key, PatchKind::Strategic, kind.merge_patch(&content), None),
                _ => return,
            };
            // Somebody else was there before, or took it away: look again.
            let reply = session.call(api, kind, &request).await;
            if reply.code() == 404 && code == 404 {
                make_namespace(session, api, &key.namespace, number, &mut random).await;
            }
            let again = matches!(reply.code(), 404 | 409);
            if !again || !session.pause(random.millis(self.retry_ms)).await {
                return;
            }
        }
    }
}

impl Steps for Applier {
    fn step<'a>(&'a self, session: &'a Session, number: u64, random: Random) -> BoxFuture<'a, ()> {
        Box::pin(self.apply(session, number, random))
    }
}
