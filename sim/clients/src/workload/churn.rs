//! Few names, written by many in every way that there is.
//!
//! Writers remember what they were told last; a write from memory that is out of date has to be refused, and a write from
//! a fresh read races with the others. Names are those of the [`Theme`](super::Theme), so clients meet.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use triune_env::BoxFuture;
use triune_history::ObjectKey;

use super::{Theme, make_namespace, swarm};
use crate::{
    api::{Api, Reply},
    kind::{GROUPS, Kind, in_group},
    random::Random,
    request::{PatchKind, Preconditions, Request, Selection, key_of, revision_of},
    session::{Session, Steps},
};

/// A finalizer that clients add and remove.
const FINALIZER: &str = "sim.example.com/hold";
/// A body of this size is kept in pieces by the store.
const LARGE_BYTES: u64 = 70_000;

/// Knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Churn {
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
    /// What is done, by weight.
    pub operations: Vec<(Write, u32)>,
    /// How often a write starts from memory and not from a read.
    pub memory_percent: u32,
    /// How often a body is a large one.
    pub large_percent: u32,
}

/// Ways to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// POST with a name.
    Create,
    /// POST with `generateName`.
    Generate,
    /// PUT of what was read, changed.
    Update,
    /// PUT without a resourceVersion.
    UpdateUnconditional,
    /// PUT of what was read, unchanged: a no-op.
    UpdateUnchanged,
    /// Merge patch.
    MergePatch,
    /// Strategic merge patch.
    StrategicPatch,
    /// JSON patch.
    JsonPatch,
    /// Merge patch with a resourceVersion.
    ConditionalPatch,
    /// DELETE.
    Delete,
    /// DELETE with the uid that was read.
    DeleteUid,
    /// DELETE with the resourceVersion that was read.
    DeleteRevision,
    /// PUT with a finalizer more.
    AddFinalizer,
    /// PUT without finalizers.
    RemoveFinalizer,
    /// DELETE and POST at once after it.
    Recreate,
    /// DELETE of a group.
    DeleteGroup,
    /// DELETE of all in a namespace.
    DeleteAll,
}

/// All of them.
pub const WRITES: [Write; 17] = [
    Write::Create,
    Write::Generate,
    Write::Update,
    Write::UpdateUnconditional,
    Write::UpdateUnchanged,
    Write::MergePatch,
    Write::StrategicPatch,
    Write::JsonPatch,
    Write::ConditionalPatch,
    Write::Delete,
    Write::DeleteUid,
    Write::DeleteRevision,
    Write::AddFinalizer,
    Write::RemoveFinalizer,
    Write::Recreate,
    Write::DeleteGroup,
    Write::DeleteAll,
];

impl Churn {
    /// Draws knobs.
    pub fn draw(random: &mut Random, theme: &Theme) -> Churn {
        let mut operations = swarm(random, &WRITES);
        // Who holds must also let go, or all names are stuck soon.
        if operations.iter().any(|(write, _)| *write == Write::AddFinalizer) {
            operations.push((Write::RemoveFinalizer, 10));
        }
        operations.push((Write::Create, 3));
        Churn {
            lanes: random.between((1, 3)),
            think_ms: theme.think_ms(random),
            kinds: random.subset(&theme.kinds, 70),
            namespaces: random.subset(&theme.namespaces, 70),
            names: theme.names,
            operations,
            memory_percent: random.between((0, 80)) as u32,
            large_percent: theme.large_percent,
        }
    }

    /// Runs it.
    pub async fn run(&self, session: &Session) {
        let steps = Running { knobs: self, memory: Mutex::default() };
        session.drive(self.lanes, self.think_ms, &steps).await;
    }
}

struct Running<'a> {
    knobs: &'a Churn,
    /// The last state of each object that this client was told.
    memory: Mutex<BTreeMap<ObjectKey, Value>>,
}

impl Steps for Running<'_> {
    fn step<'a>(&'a self, session: &'a Session, number: u64, random: Random) -> BoxFuture<'a, ()> {
        Box::pin(self.write(session, number, random))
    }
}

/// One operation and what it works with.
struct Step<'a> {
    session: &'a Session,
    api: &'a Api,
    kind: Kind,
    key: ObjectKey,
    number: u64,
    padding_bytes: u64,
    from_memory: bool,
}

impl Running<'_> {
    async fn write(&self, session: &Session, number: u64, mut random: Random) {
        let knobs = self.knobs;
        let api = session.api(&mut random);
        let kind = random.pick(&knobs.kinds).copied().unwrap_or(Kind::ConfigMaps);
        let namespace = random.pick(&knobs.namespaces).cloned().unwrap_or_default();
        let name = format!("o{}", random.below(knobs.names));
        let large = random.percent(knobs.large_percent);
        let padding_bytes = if large { LARGE_BYTES } else { random.below(100) };
        let from_memory = random.percent(knobs.memory_percent);
        let Some(write) = random.weighted(&knobs.operations) else { return };
        let key = ObjectKey { resource: kind.resource(), namespace, name };
        let step = Step { session, api, kind, key, number, padding_bytes, from_memory };
        match write {
            Write::Create => self.create(&step, &mut random, 0).await,
            Write::Generate => self.generate(&step, &mut random).await,
            Write::Delete => self.delete(&step, &Preconditions::default()).await,
            Write::DeleteUid | Write::DeleteRevision => self.delete_if(&step, write).await,
            Write::Recreate => {
                self.delete(&step, &Preconditions::default()).await;
                self.create(&step, &mut random, 1).await;
            }
            Write::DeleteGroup | Write::DeleteAll => delete_collection(&step, write, &mut random).await,
            _ => self.change(&step, write, &mut random).await,
        }
    }

    async fn create(&self, step: &Step<'_>, random: &mut Random, part: u64) {
        let content = step.session.content(step.number, part, step.padding_bytes, random);
        let object = step.kind.object(&step.key.namespace, &step.key.name, &content);
        let reply = self.send(step, &Request::create(step.kind, &step.key.namespace, object)).await;
        if reply.code() == 404 {
            make_namespace(step.session, step.api, &step.key.namespace, step.number, random).await;
        }
    }

    async fn generate(&self, step: &Step<'_>, random: &mut Random) {
        let content = step.session.content(step.number, 0, step.padding_bytes, random);
        let mut object = step.kind.object(&step.key.namespace, "", &content);
        object["metadata"]["generateName"] = json!("g-");
        let reply = self.send(step, &Request::create(step.kind, &step.key.namespace, object)).await;
        // Nobody else knows the name: it goes soon, or the run fills up.
        if reply.is_ok() && random.percent(70) {
            let key = key_of(step.kind, &reply.value, &step.key.namespace);
            self.send(step, &Request::delete(step.kind, &key, &Preconditions::default())).await;
        }
    }

    async fn delete(&self, step: &Step<'_>, preconditions: &Preconditions) {
        self.send(step, &Request::delete(step.kind, &step.key, preconditions)).await;
    }

    async fn delete_if(&self, step: &Step<'_>, write: Write) {
        let Some(object) = self.current(step).await else { return };
        let uid = object["metadata"]["uid"].as_str().map(str::to_owned);
        let preconditions = match write {
            Write::DeleteUid => Preconditions { uid, revision: None },
            _ => Preconditions { uid: None, revision: revision_of(&object) },
        };
        self.delete(step, &preconditions).await;
    }

    /// Writes that start from a state; if there is none, the object is created.
    async fn change(&self, step: &Step<'_>, write: Write, random: &mut Random) {
        let content = step.session.content(step.number, 1, step.padding_bytes, random);
        let patch = |kind, patch, expect| Request::patch(step.kind, &step.key, kind, patch, expect);
        let strategic = if write == Write::StrategicPatch { PatchKind::Strategic } else { PatchKind::Merge };
        let request = match write {
            Write::MergePatch | Write::StrategicPatch => patch(strategic, step.kind.merge_patch(&content), None),
            Write::JsonPatch => patch(PatchKind::Json, step.kind.json_patch(&content), None),
            _ => {
                let Some(mut object) = self.current(step).await else {
                    return self.create(step, random, 0).await;
                };
                match write {
                    Write::ConditionalPatch => {
                        patch(PatchKind::Merge, step.kind.merge_patch(&content), revision_of(&object))
                    }
                    Write::UpdateUnchanged => Request::update(step.kind, object),
                    _ => {
                        step.kind.change(&mut object, &content);
                        apply(write, &mut object);
                        Request::update(step.kind, object)
                    }
                }
            }
        };
        let reply = self.send(step, &request).await;
        if reply.code() == 404 {
            self.create(step, random, 2).await;
        }
    }

    /// What this client believes the object to be; None if it believes that there is none.
    async fn current(&self, step: &Step<'_>) -> Option<Value> {
        if step.from_memory {
            let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = memory.get(&step.key) {
                return Some(known.clone());
            }
        }
        let reply = self.send(step, &Request::get(step.kind, &step.key, None)).await;
        (!reply.value.is_null()).then_some(reply.value)
    }

    /// Asks, and remembers what is told.
    async fn send(&self, step: &Step<'_>, request: &Request) -> Reply {
        let reply = step.session.call(step.api, step.kind, request).await;
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if reply.code() == 404 {
            memory.remove(&step.key);
        } else if key_of(step.kind, &reply.value, "") == step.key {
            memory.insert(step.key.clone(), reply.value.clone());
        }
        reply
    }
}

fn apply(write: Write, object: &mut Value) {
    let metadata = &mut object["metadata"];
    match write {
        Write::UpdateUnconditional => {
            if let Some(fields) = metadata.as_object_mut() {
                fields.remove("resourceVersion");
            }
        }
        Write::AddFinalizer => metadata["finalizers"] = json!([FINALIZER]),
        Write::RemoveFinalizer => metadata["finalizers"] = json!([]),
        _ => {}
    }
}

async fn delete_collection(step: &Step<'_>, write: Write, random: &mut Random) {
    let group = random.pick(&GROUPS).copied().unwrap_or_default();
    let labels = if write == Write::DeleteGroup { in_group(group) } else { Vec::new() };
    let selection = Selection { kind: step.kind, namespace: step.key.namespace.clone(), labels };
    step.session.call(step.api, step.kind, &Request::delete_collection(&selection)).await;
}
