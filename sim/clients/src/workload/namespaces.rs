//! Namespaces come, are filled, deleted, emptied and finalised, as the namespace controller does it.
//!
//! Invariant (D3): a namespace is finalised only after every list in it was empty in one pass that began when it was
//! terminating. That nothing is created in it then is the server's promise (D1, D2).

use serde::{Deserialize, Serialize};
use serde_json::json;
use triune_env::BoxFuture;
use triune_history::{ObjectKey, Version};

use super::{Theme, swarm};
use crate::{
    api::Api,
    kind::{Kind, NAMESPACED},
    plan::NUMBERS,
    random::Random,
    request::{Paging, Preconditions, Request, Selection},
    session::{Session, Steps},
};

/// Knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Operations at a time.
    pub lanes: u64,
    /// Pause before each.
    pub think_ms: (u64, u64),
    /// Namespaces that come and go.
    pub names: Vec<String>,
    /// What is put into them.
    pub kinds: Vec<Kind>,
    /// What is done, by weight.
    pub operations: Vec<(Act, u32)>,
}

/// What is done to a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// POST.
    Create,
    /// Merge patch of its labels.
    Label,
    /// POST of an object in it.
    Fill,
    /// DELETE.
    Delete,
    /// One pass of the namespace controller.
    Finalize,
}

impl Namespaces {
    /// Draws knobs.
    pub fn draw(random: &mut Random, theme: &Theme) -> Namespaces {
        let mut operations = swarm(random, &[Act::Label, Act::Fill, Act::Delete]);
        operations.extend([(Act::Create, 10), (Act::Finalize, 10)]);
        let names: Vec<String> = theme.namespaces.iter().filter(|name| *name != "default").cloned().collect();
        Namespaces {
            lanes: random.between((1, 2)),
            think_ms: theme.think_ms(random),
            names: if names.is_empty() { vec!["sim-c".into()] } else { names },
            kinds: theme.kinds.clone(),
            operations,
        }
    }

    /// Runs it. All namespaces are there at first.
    pub async fn run(&self, session: &Session) {
        session.drive(self.lanes, self.think_ms, self).await;
    }

    async fn act(&self, session: &Session, number: u64, mut random: Random) {
        let api = session.api(&mut random);
        let Some(name) = random.pick(&self.names).cloned() else { return };
        // The first operations make them, so that other clients have where to write.
        let first = usize::try_from(number % NUMBERS).ok().and_then(|number| self.names.get(number)).cloned();
        let act = if first.is_some() { Some(Act::Create) } else { random.weighted(&self.operations) };
        let name = first.unwrap_or(name);
        let content = session.content(number, 0, 0, &mut random);
        let key = ObjectKey { resource: Kind::Namespaces.resource(), namespace: String::new(), name: name.clone() };
        let request = match act {
            None => return,
            Some(Act::Create) => Request::create(Kind::Namespaces, "", Kind::Namespaces.object("", &name, &content)),
            Some(Act::Label) => {
                let patch = Kind::Namespaces.merge_patch(&content);
                Request::patch(Kind::Namespaces, &key, crate::request::PatchKind::Merge, patch, None)
            }
            Some(Act::Delete) => Request::delete(Kind::Namespaces, &key, &Preconditions::default()),
            Some(Act::Fill) => {
                let kind = random.pick(&self.kinds).copied().unwrap_or(Kind::ConfigMaps);
                let object = kind.object(&name, &format!("f{}", random.below(3)), &content);
                session.call(api, kind, &Request::create(kind, &name, object)).await;
                return;
            }
            Some(Act::Finalize) => return finalize(session, api, &key).await,
        };
        session.call(api, Kind::Namespaces, &request).await;
    }
}

impl Steps for Namespaces {
    fn step<'a>(&'a self, session: &'a Session, number: u64, random: Random) -> BoxFuture<'a, ()> {
        Box::pin(self.act(session, number, random))
    }
}

/// One pass: empties a terminating namespace, and takes its finalizer if it is empty.
async fn finalize(session: &Session, api: &Api, key: &ObjectKey) {
    let reply = session.call(api, Kind::Namespaces, &Request::get(Kind::Namespaces, key, None)).await;
    let mut namespace = reply.value;
    if namespace["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    for kind in NAMESPACED {
        if !empty(session, api, kind, &key.name).await {
            return;
        }
    }
    namespace["spec"]["finalizers"] = json!([]);
    session.call(api, Kind::Namespaces, &Request::finalize(namespace)).await;
}

/// Deletes all of a kind in a namespace; whether there is nothing left.
async fn empty(session: &Session, api: &Api, kind: Kind, namespace: &str) -> bool {
    let selection = Selection { kind, namespace: namespace.to_owned(), labels: Vec::new() };
    let list = Request::list(&selection, &Paging::whole(Version::Latest));
    let reply = session.call(api, kind, &list).await;
    let Some(found) = reply.list() else { return false };
    if found.items.is_empty() {
        return true;
    }
    let held: Vec<ObjectKey> = found
        .items
        .iter()
        .filter(|object| !object.finalizers.is_empty())
        .map(|object| object.key(&kind.resource()))
        .collect();
    session.call(api, kind, &Request::delete_collection(&selection)).await;
    for key in held {
        let patch = json!({ "metadata": { "finalizers": null } });
        let request = Request::patch(kind, &key, crate::request::PatchKind::Merge, patch, None);
        session.call(api, kind, &request).await;
    }
    session.call(api, kind, &list).await.list().is_some_and(|left| left.items.is_empty())
}
