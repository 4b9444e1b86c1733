//! Server-side apply by many managers, each of fields of its own, to few objects that all share: whoever comes first creates
//! the object, nobody takes what another owns, and what is left out of a configuration goes (O1 to O3).

use serde::{Deserialize, Serialize};
use serde_json::json;
use triune_env::BoxFuture;
use triune_history::ObjectKey;

use super::{Theme, make_namespace};
use crate::{
    kind::Kind,
    random::Random,
    request::{Preconditions, Request},
    session::{Session, Steps},
};

/// What the names of labels begin with: each is of the client that its name ends with.
pub const OWN: &str = "own-";

/// Knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owners {
    /// Operations at a time.
    pub lanes: u64,
    /// Pause before each.
    pub think_ms: (u64, u64),
    /// Kinds.
    pub kinds: Vec<Kind>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Names in each.
    pub names: u64,
    /// How often a configuration has a second label.
    pub more_percent: u32,
    /// How often the object is deleted instead.
    pub delete_percent: u32,
}

impl Owners {
    /// Draws knobs: kinds that need no more than a name.
    pub fn draw(random: &mut Random, theme: &Theme) -> Owners {
        let simple = theme.kinds.iter().copied().filter(|kind| matches!(kind, Kind::ConfigMaps | Kind::Secrets));
        Owners {
            lanes: random.between((1, 3)),
            think_ms: theme.think_ms(random),
            kinds: simple.collect(),
            namespaces: theme.namespaces.clone(),
            names: random.between((1, 2)),
            more_percent: random.between((0, 100)) as u32,
            delete_percent: *random.pick(&[0, 0, 2, 10]).unwrap_or(&0),
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
        let name = format!("owned-{}", random.below(self.names));
        let key = ObjectKey { resource: kind.resource(), namespace, name };
        if random.percent(self.delete_percent) {
            session.call(api, kind, &Request::delete(kind, &key, &Preconditions::default())).await;
            return;
        }
        let content = session.content(number, 0, 0, &mut random);
        let own = format!("{OWN}{}", session.node);
        let mut labels = json!({ &own: content.text });
        if random.percent(self.more_percent) {
            labels[format!("{own}-more")] = json!(content.text);
        }
        let configuration = kind.configuration(&key.namespace, &key.name, labels);
        let request = Request::apply(kind, &key, &session.node, &configuration);
        // The second time the namespace is there.
        for _ in 0..2 {
            if session.call(api, kind, &request).await.code() != 404 {
                return;
            }
            make_namespace(session, api, &key.namespace, number, &mut random).await;
        }
    }
}

impl Steps for Owners {
    fn step<'a>(&'a self, session: &'a Session, number: u64, random: Random) -> BoxFuture<'a, ()> {
        Box::pin(self.apply(session, number, random))
    }
}
