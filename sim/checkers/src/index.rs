//! The index of a history, made once and shared by all checkers.
//!
//! It decides nothing. It gives names to what was committed and asked, so that a checker finds the state of an object at
//! an event or at a revision, and the version that an object in an answer is, by binary search and without comparing
//! names twice. Views of selections ([`crate::view`]) are made when they are first asked for.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use triune_history::{
    Answer, At, Body, Event, NodeChange, Object, ObjectKey, Operation, OperationId, Outcome, StreamEnd, StreamItem,
};

use crate::{
    CheckOptions,
    view::{Selection, View},
};

/// Names an object of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub u32);

/// Names a state that was committed: of an object at a revision, or that it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionId(pub u32);

/// A committed state of an object.
#[derive(Debug)]
pub struct Version<'a> {
    /// Which object.
    pub key: KeyId,
    /// Revision of the commit.
    pub revision: u64,
    /// Index of the commit.
    pub event: usize,
    /// The state; None: gone.
    pub object: Option<&'a Object>,
    /// The version before, if there was any.
    pub previous: Option<VersionId>,
    /// The version after.
    pub next: Option<VersionId>,
}

/// An object over time.
#[derive(Debug)]
pub struct KeyHistory<'a> {
    /// Its name.
    pub key: &'a ObjectKey,
    /// In commit order.
    pub versions: Vec<VersionId>,
    /// Operations that name it, in order of invocation; indices of [`Index::operations`].
    pub operations: Vec<usize>,
    /// Its place in the order of lists, among all objects.
    pub rank: u32,
}

/// A resource over time.
#[derive(Debug, Default)]
pub struct Resource {
    /// By revision.
    pub versions: Vec<(u64, VersionId)>,
    /// Compaction floors: `(index of the commit, revision)`.
    pub floors: Vec<(usize, u64)>,
}

/// An operation and what came of it.
#[derive(Debug)]
pub struct Record<'a> {
    /// Its name.
    pub id: OperationId,
    /// Index of its invocation.
    pub invoked: usize,
    /// Who asked.
    pub client: &'a str,
    /// Who was asked.
    pub server: &'a str,
    /// What was asked.
    pub operation: &'a Operation,
    /// Index of the answer and what it says.
    pub answered: Option<(usize, &'a Outcome)>,
    /// The object that it is about; of a create with a generated name, if the answer tells.
    pub key: Option<KeyId>,
    /// Indices of what its stream delivered.
    pub items: Vec<usize>,
    /// Index of the end of its stream.
    pub ended: Option<(usize, StreamEnd)>,
}

impl<'a> Record<'a> {
    /// The answer, if one came.
    pub fn answer(&self) -> Option<(usize, &'a Answer)> {
        match self.answered {
            Some((event, Outcome::Answered(answer))) => Some((event, answer)),
            _ => None,
        }
    }

    /// The answer, if it says that it was done.
    pub fn success(&self) -> Option<(usize, &'a Answer)> {
        self.answer().filter(|(_, answer)| (200..300).contains(&answer.code))
    }

    /// Whether it certainly was not carried out: 4xx, "not at this time" and "not sent". A 504, or a 500 that does not
    /// say so, leaves it open.
    pub fn definitely_failed(&self) -> bool {
        match self.answered {
            Some((_, Outcome::NotSent(_))) => true,
            Some((_, Outcome::Answered(answer))) => {
                (400..500).contains(&answer.code)
                    || answer.code == 503
                    || (answer.code == 500 && answer.reason == "ServerTimeout")
            }
            _ => false,
        }
    }

    /// Whether it may have been carried out and may not have been, at any time after its invocation.
    pub fn is_open(&self) -> bool {
        self.success().is_none() && !self.definitely_failed()
    }

    /// Index up to which it may have taken effect: that of its answer, or `end` if nobody knows.
    pub fn effect_until(&self, end: usize) -> usize {
        match self.answered {
            Some((event, _)) if !self.is_open() => event,
            _ => end,
        }
    }
}

/// See the module.
pub struct Index<'a> {
    /// The history.
    pub events: &'a [Event],
    /// What is checked.
    pub options: &'a CheckOptions,
    /// By [`VersionId`].
    pub versions: Vec<Version<'a>>,
    /// By [`KeyId`].
    pub keys: Vec<KeyHistory<'a>>,
    /// By name.
    pub resources: BTreeMap<&'a str, Resource>,
    /// In order of invocation.
    pub operations: Vec<Record<'a>>,
    /// Index of [`Body::Healed`].
    pub healed: Option<usize>,
    /// Index of the first fault that may break connections or the storage.
    pub first_disturbance: Option<usize>,
    /// Life of each node: `(index, change)`.
    pub nodes: BTreeMap<&'a str, Vec<(usize, NodeChange)>>,
    /// The greatest revision that any client has been shown, or told by the success of a delete, before each event.
    pub shown_before: Vec<u64>,
    key_ids: BTreeMap<&'a ObjectKey, KeyId>,
    operation_ids: BTreeMap<OperationId, usize>,
    seen: Vec<Option<VersionId>>,
    seen_from: Vec<u32>,
    views: RefCell<BTreeMap<Selection<'a>, Rc<View>>>,
}

impl<'a> Index<'a> {
    /// Makes it.
    pub fn new(events: &'a [Event], options: &'a CheckOptions) -> Index<'a> {
        let mut index = Index {
            events,
            options,
            versions: Vec::new(),
            keys: Vec::new(),
            resources: BTreeMap::new(),
            operations: Vec::new(),
            healed: None,
            first_disturbance: None,
            nodes: BTreeMap::new(),
            shown_before: Vec::with_capacity(events.len()),
            key_ids: BTreeMap::new(),
            operation_ids: BTreeMap::new(),
            seen: Vec::new(),
            seen_from: Vec::with_capacity(events.len() + 1),
            views: RefCell::default(),
        };
        for (number, event) in events.iter().enumerate() {
            index.read(number, event);
        }
        for resource in index.resources.values_mut() {
            resource.versions.sort_by_key(|(revision, _)| *revision);
        }
        index.resolve_seen();
        index.rank_keys();
        index.link_operations();
        index.find_shown();
        index
    }

    /// A version.
    pub fn version(&self, id: VersionId) -> &Version<'a> {
        &self.versions[id.0 as usize]
    }

    /// An object over time.
    pub fn key(&self, id: KeyId) -> &KeyHistory<'a> {
        &self.keys[id.0 as usize]
    }

    /// An object by its name, if the history ever names it.
    pub fn key_id(&self, key: &ObjectKey) -> Option<KeyId> {
        self.key_ids.get(key).copied()
    }

    /// The last version of an object that was committed at or before an event.
    pub fn version_at_event(&self, key: KeyId, event: usize) -> Option<VersionId> {
        let versions = &self.key(key).versions;
        let count = versions.partition_point(|version| self.version(*version).event <= event);
        count.checked_sub(1).map(|last| versions[last])
    }

    /// The object as it was at an event; None if there was none.
    pub fn object_at_event(&self, key: KeyId, event: usize) -> Option<&'a Object> {
        self.version_at_event(key, event).and_then(|version| self.version(version).object)
    }

    /// The states an object had between two events, that at the first included: None for absent.
    pub fn states_between(&self, key: KeyId, from: usize, to: usize) -> impl Iterator<Item = Option<&'a Object>> + '_ {
        let versions = &self.key(key).versions;
        let first = versions.partition_point(|version| self.version(*version).event <= from);
        let last = versions.partition_point(|version| self.version(*version).event <= to);
        let start = first.checked_sub(1).and_then(|before| self.version(versions[before]).object);
        std::iter::once(start)
            .chain(versions[first..last.max(first)].iter().map(|version| self.version(*version).object))
    }

    /// The state before a version.
    pub fn object_before(&self, version: VersionId) -> Option<&'a Object> {
        self.version(version).previous.and_then(|previous| self.version(previous).object)
    }

    /// The version that an object in an answer claims to be: of this resource, with this name and revision.
    pub fn find(&self, resource: &str, object: &Object) -> Option<VersionId> {
        let versions = &self.resources.get(resource)?.versions;
        let first = versions.partition_point(|(revision, _)| *revision < object.revision);
        let same = versions[first..].iter().take_while(|(revision, _)| *revision == object.revision);
        same.map(|(_, version)| *version).find(|version| {
            let key = self.key(self.version(*version).key).key;
            key.name == object.name && key.namespace == object.namespace
        })
    }

    /// The versions of the objects that an event shows, in its order; None where no commit made such a version.
    pub fn seen(&self, event: usize) -> &[Option<VersionId>] {
        &self.seen[self.seen_from[event] as usize..self.seen_from[event + 1] as usize]
    }

    /// The operation with this name.
    pub fn operation(&self, id: OperationId) -> Option<&Record<'a>> {
        self.operation_ids.get(&id).map(|place| &self.operations[*place])
    }

    /// Where an operation is in [`Index::operations`].
    pub fn operation_place(&self, id: OperationId) -> Option<usize> {
        self.operation_ids.get(&id).copied()
    }

    /// When an event happened.
    pub fn at(&self, event: usize) -> At {
        self.events[event.min(self.events.len().saturating_sub(1))].at
    }

    /// When the history ends.
    pub fn end(&self) -> At {
        self.events.last().map_or(At(0), |event| event.at)
    }

    /// The highest compaction floor of a resource that was set before an event.
    pub fn floor_before(&self, resource: &str, event: usize) -> u64 {
        let floors = self.resources.get(resource).map_or(&[][..], |resource| &resource.floors);
        floors.iter().take_while(|(set, _)| *set < event).map(|(_, floor)| *floor).max().unwrap_or(0)
    }

    /// When everything has settled after the faults: none if they were not healed, or too late for that.
    pub fn settled(&self) -> Option<At> {
        let settled = At(self.at(self.healed?).0 + self.options.settle.as_nanos() as u64);
        (settled <= self.end()).then_some(settled)
    }

    /// Whether connections and the storage may be disturbed by faults at an event.
    pub fn is_disturbed(&self, event: usize) -> bool {
        let begun = self.first_disturbance.is_some_and(|first| first <= event);
        begun && self.settled().is_none_or(|settled| self.at(event) < settled)
    }

    /// The changes that a selection shows.
    pub fn view(&self, selection: Selection<'a>) -> Rc<View> {
        if let Some(view) = self.views.borrow().get(&selection) {
            return view.clone();
        }
        let view = Rc::new(View::new(self, &selection));
        self.views.borrow_mut().insert(selection, view.clone());
        view
    }

    fn read(&mut self, number: usize, event: &'a Event) {
        match &event.body {
            Body::Commit(commit) => {
                for change in &commit.objects {
                    let key = self.intern(&change.key);
                    self.add_version(key, commit.revision, number, change.object.as_ref());
                }
                for (resource, floor) in &commit.compacted {
                    self.resources.entry(resource).or_default().floors.push((number, *floor));
                }
            }
            Body::Invoke { id, server, operation } => {
                let key = operation_key(operation).filter(|key| !key.name.is_empty()).map(|key| self.intern(key));
                let record = Record {
                    id: *id,
                    invoked: number,
                    client: &event.node,
                    server,
                    operation,
                    answered: None,
                    key,
                    items: Vec::new(),
                    ended: None,
                };
                self.operation_ids.insert(*id, self.operations.len());
                self.operations.push(record);
            }
            Body::Answer { id, outcome } => {
                if let Some(place) = self.operation_place(*id) {
                    self.operations[place].answered.get_or_insert((number, outcome));
                }
            }
            Body::Stream { id, .. } => {
                if let Some(place) = self.operation_place(*id) {
                    self.operations[place].items.push(number);
                }
            }
            Body::StreamEnd { id, end } => {
                if let Some(place) = self.operation_place(*id) {
                    self.operations[place].ended.get_or_insert((number, *end));
                }
            }
            Body::Handled { key, .. } => {
                self.intern(key);
            }
            Body::Node(change) => self.nodes.entry(&event.node).or_default().push((number, *change)),
            Body::Fault(text) => {
                let harmless = self.options.harmless_faults.iter().any(|start| text.starts_with(start.as_str()));
                if !harmless && self.first_disturbance.is_none() {
                    self.first_disturbance = Some(number);
                }
            }
            Body::Healed => self.healed = Some(number),
            Body::Informer { .. } | Body::Message { .. } | Body::Gauge { .. } | Body::Note(_) => {}
        }
    }

    fn intern(&mut self, key: &'a ObjectKey) -> KeyId {
        if let Some(id) = self.key_ids.get(key) {
            return *id;
        }
        let id = KeyId(u32::try_from(self.keys.len()).unwrap_or(u32::MAX));
        self.keys.push(KeyHistory { key, versions: Vec::new(), operations: Vec::new(), rank: 0 });
        self.key_ids.insert(key, id);
        id
    }

    fn add_version(&mut self, key: KeyId, revision: u64, event: usize, object: Option<&'a Object>) {
        let id = VersionId(u32::try_from(self.versions.len()).unwrap_or(u32::MAX));
        let history = &mut self.keys[key.0 as usize];
        let previous = history.versions.last().copied();
        history.versions.push(id);
        if let Some(previous) = previous {
            self.versions[previous.0 as usize].next = Some(id);
        }
        self.resources.entry(&history.key.resource).or_default().versions.push((revision, id));
        self.versions.push(Version { key, revision, event, object, previous, next: None });
    }

    fn resolve_seen(&mut self) {
        for (number, event) in self.events.iter().enumerate() {
            self.seen_from.push(u32::try_from(self.seen.len()).unwrap_or(u32::MAX));
            let resource = match &event.body {
                Body::Answer { id, .. } | Body::Stream { id, .. } => {
                    self.operation(*id).and_then(|record| operation_resource(record.operation))
                }
                Body::Informer { resource, .. } => Some(resource.as_str()),
                Body::Handled { key, .. } => Some(key.resource.as_str()),
                _ => None,
            };
            let Some(resource) = resource else { continue };
            for object in objects_shown(&event.body) {
                let version = self.find(resource, object);
                let removal = version.and_then(|version| self.removal_shown(number, &event.body, object, version));
                self.seen.push(removal.or(version));
            }
        }
        self.seen_from.push(u32::try_from(self.seen.len()).unwrap_or(u32::MAX));
    }

    /// The removal that an update or patch made which took the last finalizer of an object on its way out: its answer is
    /// the object as it would have been, at the revision before (apiserver `Store.deleteWithoutFinalizers`).
    fn removal_shown(&self, number: usize, body: &Body, object: &Object, shown: VersionId) -> Option<VersionId> {
        let Body::Answer { id, .. } = body else { return None };
        let record = self.operation(*id)?;
        let version = self.version(shown);
        let changes = matches!(record.operation, Operation::Update { .. } | Operation::Patch { .. })
            && object.deleted_at.is_some()
            && version.object.is_some_and(|committed| committed.digest != object.digest);
        let next = version.next.filter(|_| changes)?;
        let removal = self.version(next);
        (removal.object.is_none() && record.invoked < removal.event && removal.event < number).then_some(next)
    }

    fn rank_keys(&mut self) {
        let mut order: Vec<u32> = (0..self.keys.len() as u32).collect();
        let list_order = |id: &u32| {
            let key = self.keys[*id as usize].key;
            if key.namespace.is_empty() { key.name.clone() } else { format!("{}/{}", key.namespace, key.name) }
        };
        order.sort_by_cached_key(list_order);
        for (rank, id) in order.into_iter().enumerate() {
            self.keys[id as usize].rank = rank as u32;
        }
    }

    /// Gives creates with generated names their objects, and objects their operations.
    fn link_operations(&mut self) {
        for place in 0..self.operations.len() {
            let record = &self.operations[place];
            let mut key = record.key;
            if let (None, Operation::Create { .. }, Some((event, _))) = (key, record.operation, record.success()) {
                key = self.seen(event).first().copied().flatten().map(|version| self.version(version).key);
            }
            self.operations[place].key = key;
            if let Some(key) = key {
                self.keys[key.0 as usize].operations.push(place);
            }
        }
    }

    /// What answers show, and the commits of deletes whose success shows no revision.
    fn find_shown(&mut self) {
        let mut deleted = BTreeMap::new();
        for record in &self.operations {
            if let (Operation::Delete { .. }, Some((event, answer)), Some(key)) =
                (record.operation, record.success(), record.key)
                && answer.object.is_none()
            {
                deleted.extend(self.removal_between(key, record.invoked, event).map(|revision| (event, revision)));
            }
        }
        let mut shown = 0;
        for (number, event) in self.events.iter().enumerate() {
            self.shown_before.push(shown);
            let now = revision_shown(&event.body).max(deleted.get(&number).copied());
            shown = shown.max(now.unwrap_or(0));
        }
    }

    /// The first removal between two events; none if the object was on its way, so that a delete had nothing to do.
    fn removal_between(&self, key: KeyId, from: usize, to: usize) -> Option<u64> {
        if self.states_between(key, from, to).flatten().any(|object| object.deleted_at.is_some()) {
            return None;
        }
        let versions = self.key(key).versions.iter().map(|id| self.version(*id));
        let mut within = versions.filter(|version| (from..to).contains(&version.event));
        within.find(|version| version.object.is_none()).map(|version| version.revision)
    }

    /// The resources that clients write.
    pub fn written_resources(&self) -> BTreeSet<&'a str> {
        let writes = self.operations.iter().filter(|record| is_write(record.operation));
        writes.filter_map(|record| operation_resource(record.operation)).collect()
    }
}

/// Whether an operation may change something.
pub fn is_write(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Create { .. }
            | Operation::Update { .. }
            | Operation::Patch { .. }
            | Operation::Delete { .. }
            | Operation::DeleteCollection { .. }
    )
}

/// The object that an operation names.
pub fn operation_key(operation: &Operation) -> Option<&ObjectKey> {
    match operation {
        Operation::Create { key, .. }
        | Operation::Update { key, .. }
        | Operation::Patch { key, .. }
        | Operation::Delete { key, .. }
        | Operation::Get { key }
        | Operation::GetCached { key, .. } => Some(key),
        _ => None,
    }
}

/// The resource that an operation is about.
pub fn operation_resource(operation: &Operation) -> Option<&str> {
    match operation {
        Operation::DeleteCollection { resource, .. }
        | Operation::List { resource, .. }
        | Operation::Watch { resource, .. } => Some(resource),
        other => operation_key(other).map(|key| key.resource.as_str()),
    }
}

/// The objects that an event shows to a client, in its order.
pub fn objects_shown(body: &Body) -> impl Iterator<Item = &Object> {
    let (one, many): (Option<&Object>, &[Object]) = match body {
        Body::Answer { outcome: Outcome::Answered(answer), .. } => {
            (answer.object.as_ref(), answer.list.as_ref().map_or(&[], |list| &list.items))
        }
        Body::Stream { item: StreamItem::Added(object) | StreamItem::Modified(object), .. }
        | Body::Stream { item: StreamItem::Deleted(object), .. } => (Some(object), &[]),
        Body::Informer { objects, .. } => (None, objects),
        Body::Handled { object, .. } => (object.as_ref(), &[]),
        _ => (None, &[]),
    };
    one.into_iter().chain(many)
}

/// The greatest revision that an event shows to a client.
fn revision_shown(body: &Body) -> Option<u64> {
    match body {
        Body::Answer { outcome: Outcome::Answered(answer), .. } => {
            let list = answer.list.as_ref().filter(|_| answer.code < 300).map(|list| list.revision);
            list.max(answer.object.as_ref().map(|object| object.revision))
        }
        Body::Stream { item, .. } => match item {
            StreamItem::Added(object) | StreamItem::Modified(object) | StreamItem::Deleted(object) => {
                Some(object.revision)
            }
            StreamItem::Bookmark { revision, .. } => Some(*revision),
            StreamItem::Error { .. } => None,
        },
        _ => None,
    }
}
