//! Random valid histories, and mutations of them.
//!
//! [`World`] is a small API server with a store: requests begin, take effect and are answered at random moments, answers
//! get lost, caches lag behind, watches are cut, logs are compacted. No checker may find anything in what it makes. A
//! single mutation ([`mutations`]) of such a history must be found by some checker; the test prints which invariant finds
//! which.

mod mutations;

use std::collections::BTreeMap;

use triune_history::{
    Answer, At, Body, Commit, Event, ListAnswer, Object, ObjectChange, ObjectKey, Operation, OperationId, Outcome,
    StreamEnd, StreamItem, Version, WatchFrom,
};

use crate::{testing::digest, view::Selection};

const RESOURCES: [&str; 2] = ["cm", "deployments.apps"];
const NAMESPACES: [&str; 2] = ["a", "ab"];
const NAMES: [&str; 4] = ["w", "x", "y", "z"];
const SERVERS: [&str; 3] = ["api-1", "api-2", "api-3"];

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A committed change.
struct Logged {
    revision: u64,
    key: ObjectKey,
    before: Option<Object>,
    after: Option<Object>,
}

/// A request that has no answer yet.
struct Pending {
    id: OperationId,
    server: &'static str,
    operation: Operation,
    answer: Option<Answer>,
    /// The client was told that nobody knows.
    lost: bool,
}

/// An open watch.
struct Stream {
    id: OperationId,
    operation: Operation,
    /// Everything up to here was delivered.
    reached: u64,
    /// Initial events still to come.
    initial: Vec<Object>,
    /// Whether the end of the initial state is still to come.
    end_mark: bool,
}

/// A list that goes on.
struct Chain {
    first: OperationId,
    resource: String,
    namespace: String,
    labels: Vec<(String, String)>,
    /// None: at the newest.
    revision: Option<u64>,
    last: String,
    busy: bool,
}

struct Informer {
    resource: &'static str,
    reached: u64,
}

/// See the module.
pub(crate) struct World {
    random: Random,
    events: Vec<Event>,
    now: u64,
    revision: u64,
    live: BTreeMap<ObjectKey, Object>,
    log: Vec<Logged>,
    floors: BTreeMap<String, u64>,
    /// Positions of the caches of servers.
    positions: BTreeMap<(&'static str, String), u64>,
    pending: Vec<Pending>,
    streams: Vec<Stream>,
    chains: Vec<Chain>,
    informers: Vec<Informer>,
    operations: u64,
    contents: u64,
    healed: bool,
}

/// A valid history.
pub(crate) fn valid_history(seed: u64, steps: usize) -> Vec<Event> {
    let mut world = World {
        random: Random(seed),
        events: Vec::new(),
        now: 0,
        revision: 0,
        live: BTreeMap::new(),
        log: Vec::new(),
        floors: BTreeMap::new(),
        positions: BTreeMap::new(),
        pending: Vec::new(),
        streams: Vec::new(),
        chains: Vec::new(),
        informers: RESOURCES.iter().map(|resource| Informer { resource, reached: 0 }).collect(),
        operations: 0,
        contents: 0,
        healed: false,
    };
    for namespace in NAMESPACES {
        let key = ObjectKey { resource: "namespaces".into(), namespace: String::new(), name: namespace.into() };
        let object = world.fresh(&key, None);
        world.commit(key, Some(object));
    }
    for step in 0..steps {
        if step == steps * 2 / 3 {
            world.push("faults", Body::Healed);
            world.healed = true;
        }
        world.step();
    }
    world.finish();
    world.events
}

impl World {
    fn push(&mut self, node: &str, body: Body) {
        self.now += 50_000 + self.random.next() % 1_000_000;
        self.events.push(Event { at: At(self.now), node: node.to_owned(), body });
    }

    fn step(&mut self) {
        match self.random.below(36) {
            0..=4 => self.begin_write(),
            5..=7 => self.begin_read(),
            8 => self.begin_watch(),
            9 => self.next_page(),
            10 => self.compact(),
            11 => self.follow(),
            12..=15 => self.deliver(),
            16 => self.lose(),
            _ => self.progress(),
        }
    }

    /// Everything that goes on comes to its end.
    fn finish(&mut self) {
        while let Some(place) = self.pending.iter().position(|pending| !pending.lost) {
            self.advance(place);
        }
        for _ in 0..2 {
            for place in 0..self.streams.len() {
                while self.deliver_one(place) {}
            }
        }
        for informer in 0..self.informers.len() {
            self.informers[informer].reached = self.follow_one(informer, u64::MAX);
        }
        self.now += 40_000_000_000;
        self.push("api-1", Body::Gauge { name: "tasks".into(), value: 3, bound: 3 });
    }

    fn key(&mut self) -> ObjectKey {
        let (resource, namespace) = (self.random.pick(&RESOURCES), self.random.pick(&NAMESPACES));
        ObjectKey { resource: resource.into(), namespace: namespace.into(), name: self.random.pick(&NAMES).into() }
    }

    /// A new state of an object, or a new object.
    fn fresh(&mut self, key: &ObjectKey, live: Option<&Object>) -> Object {
        self.contents += 1;
        let mut object = live.cloned().unwrap_or_else(|| Object {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: format!("uid-{}", self.contents),
            revision: 0,
            generation: 1,
            created_at: format!("{}", self.now),
            deleted_at: None,
            finalizers: if self.random.one_in(3) { vec!["f".into()] } else { Vec::new() },
            labels: BTreeMap::new(),
            digest: 0,
        });
        object.labels.clear();
        if self.random.one_in(2) {
            object.labels.insert("app".into(), self.random.pick(&["web", "db"]).into());
        }
        object.digest = digest(&object, &self.contents.to_string());
        object
    }

    fn commit(&mut self, key: ObjectKey, object: Option<Object>) -> u64 {
        self.revision += 1 + self.random.next() % 4;
        let revision = self.revision;
        let after = object.map(|object| Object { revision, ..object });
        let before = match &after {
            Some(object) => self.live.insert(key.clone(), object.clone()),
            None => self.live.remove(&key),
        };
        let commit = Commit {
            revision,
            objects: vec![ObjectChange { key: key.clone(), object: after.clone() }],
            logged: vec![(key.clone(), after.is_none())],
            compacted: Vec::new(),
        };
        self.push("store", Body::Commit(commit));
        self.log.push(Logged { revision, key, before, after });
        revision
    }

    fn compact(&mut self) {
        let resource = self.random.pick(&RESOURCES).to_owned();
        let floor = self.floors.get(&resource).copied().unwrap_or(0);
        if !self.random.one_in(3) || self.revision < floor + 20 {
            return;
        }
        let floor = self.revision - self.random.next() % 10;
        self.floors.insert(resource.clone(), floor);
        self.revision += 1;
        let compacted = vec![(resource, floor)];
        let commit = Commit { revision: self.revision, objects: Vec::new(), logged: Vec::new(), compacted };
        self.push("store", Body::Commit(commit));
    }

    fn begin(&mut self, operation: Operation) -> OperationId {
        self.operations += 1;
        let id = OperationId(self.operations);
        let server = self.random.pick(&SERVERS);
        self.push("client-1", Body::Invoke { id, server: server.to_owned(), operation: operation.clone() });
        self.pending.push(Pending { id, server, operation, answer: None, lost: false });
        id
    }

    fn begin_write(&mut self) {
        let key = self.key();
        let live = self.live.get(&key).cloned();
        let operation = match (self.random.below(12), live) {
            (0, _) => {
                let labels = if self.random.one_in(2) { vec![("app".to_owned(), "db".to_owned())] } else { Vec::new() };
                Operation::DeleteCollection { resource: key.resource, namespace: key.namespace, labels }
            }
            (1..=2, live) => {
                let live = live.filter(|_| self.random.one_in(2));
                let uid = live.as_ref().map(|live| live.uid.clone());
                Operation::Delete { key, uid, expect: live.map(|live| live.revision) }
            }
            (3..=4, Some(_)) => Operation::Patch { key, expect: None, kind: "merge".into(), patch: "{}".into() },
            (5, Some(live)) => Operation::Update { key, expect: Some(live.revision), object: live },
            (6..=10, Some(live)) => {
                let mut object = self.fresh(&key, Some(&live));
                if live.deleted_at.is_some() && self.random.one_in(2) {
                    object.finalizers.clear();
                }
                Operation::Update { key, expect: Some(live.revision), object }
            }
            _ => {
                let object = self.fresh(&key, None);
                Operation::Create { key, object: Some(object) }
            }
        };
        self.begin(operation);
    }

    fn begin_read(&mut self) {
        let key = self.key();
        let near = self.revision.saturating_sub(self.random.next() % 20);
        let operation = match self.random.below(8) {
            0..=2 => Operation::Get { key },
            3 => Operation::GetCached { key, at_least: if self.random.one_in(2) { 0 } else { near } },
            _ => {
                let (namespace, labels) = self.selection();
                let version = match self.random.below(5) {
                    0..=1 => Version::Latest,
                    2 => Version::Any,
                    3 => Version::NotOlderThan(near + 2),
                    _ => Version::Exact(near),
                };
                let limit = if self.random.one_in(2) { 0 } else { 1 + self.random.next() % 3 };
                Operation::List { resource: key.resource, namespace, labels, version, limit, continues: None }
            }
        };
        self.begin(operation);
    }

    fn selection(&mut self) -> (String, Vec<(String, String)>) {
        let namespace = if self.random.one_in(2) { self.random.pick(&NAMESPACES) } else { "" };
        let labels = if self.random.one_in(3) { vec![("app".to_owned(), "web".to_owned())] } else { Vec::new() };
        (namespace.to_owned(), labels)
    }

    fn begin_watch(&mut self) {
        let (namespace, labels) = self.selection();
        let near = self.revision.saturating_sub(self.random.next() % 30);
        let from = match self.random.below(5) {
            0 => WatchFrom::StateLatest,
            1 => WatchFrom::StateAny,
            2 => WatchFrom::WatchList(if self.random.one_in(2) { 0 } else { near }),
            _ => WatchFrom::After(near.max(1)),
        };
        let resource = self.random.pick(&RESOURCES).to_owned();
        let bookmarks = self.random.one_in(2);
        self.begin(Operation::Watch { resource, namespace, labels, from, bookmarks, timeout_seconds: 0 });
    }

    fn next_page(&mut self) {
        let free: Vec<usize> = (0..self.chains.len()).filter(|place| !self.chains[*place].busy).collect();
        if free.is_empty() {
            return;
        }
        let place = self.random.pick(&free);
        let chain = &mut self.chains[place];
        chain.busy = true;
        let operation = Operation::List {
            resource: chain.resource.clone(),
            namespace: chain.namespace.clone(),
            labels: chain.labels.clone(),
            version: Version::Latest,
            limit: 2,
            continues: Some(chain.first),
        };
        self.begin(operation);
    }

    fn lose(&mut self) {
        if self.healed || self.pending.is_empty() {
            return;
        }
        let place = self.random.below(self.pending.len());
        let pending = &mut self.pending[place];
        if pending.lost {
            return;
        }
        pending.lost = true;
        let id = pending.id;
        if let Operation::List { continues: Some(first), .. } = pending.operation
            && let Some(chain) = self.chains.iter_mut().find(|chain| chain.first == first)
        {
            chain.busy = false;
        }
        self.push("client-1", Body::Answer { id, outcome: Outcome::Unknown("reset".into()) });
    }

    fn progress(&mut self) {
        if !self.pending.is_empty() {
            let place = self.random.below(self.pending.len());
            self.advance(place);
        }
    }

    /// Carries a request out, or answers it.
    fn advance(&mut self, place: usize) {
        if self.pending[place].answer.is_none() {
            let (operation, server) = (self.pending[place].operation.clone(), self.pending[place].server);
            let answer = self.carry_out(&operation, server);
            let pending = &mut self.pending[place];
            pending.answer = Some(answer);
            return;
        }
        let pending = self.pending.swap_remove(place);
        let Some(answer) = pending.answer.filter(|_| !pending.lost) else { return };
        let code = answer.code;
        if let (Operation::List { .. }, Some(list)) = (&pending.operation, &answer.list) {
            self.note_page(pending.id, &pending.operation, code, list);
        }
        self.push("client-1", Body::Answer { id: pending.id, outcome: Outcome::Answered(Box::new(answer)) });
        if let Operation::Watch { .. } = pending.operation
            && code == 200
        {
            self.open(pending.id, pending.operation, pending.server);
        }
    }

    fn carry_out(&mut self, operation: &Operation, server: &'static str) -> Answer {
        match operation {
            Operation::Create { key, object: Some(object) } => match self.live.contains_key(key) {
                true => error(409, "AlreadyExists"),
                false => {
                    let revision = self.commit(key.clone(), Some(object.clone()));
                    shows(201, Object { revision, ..object.clone() })
                }
            },
            Operation::Update { key, expect, object } => self.update(key, *expect, object.clone()),
            Operation::Patch { key, expect, .. } => match self.live.get(key).cloned() {
                None => error(404, "NotFound"),
                Some(live) => {
                    let object = self.fresh(key, Some(&live));
                    self.update(key, *expect, object)
                }
            },
            Operation::Delete { key, uid, expect } => self.delete(key, uid.as_deref(), *expect),
            Operation::DeleteCollection { resource, namespace, labels } => {
                let selection = Selection { resource, namespace, labels };
                let items: Vec<Object> = self.state(&selection, self.revision);
                let revision = self.revision;
                for item in &items {
                    self.delete(&item.key(resource), Some(&item.uid), None);
                }
                lists(ListAnswer { revision, items, more: false, remaining: None })
            }
            Operation::Get { key } => {
                self.live.get(key).map_or_else(|| error(404, "NotFound"), |live| shows(200, live.clone()))
            }
            Operation::GetCached { key, at_least } => match self.bring(server, &key.resource, *at_least) {
                None => too_large(),
                Some(revision) => {
                    let all = Selection { resource: &key.resource, namespace: &key.namespace, labels: &[] };
                    let found = self.state(&all, revision).into_iter().find(|object| object.name == key.name);
                    found.map_or_else(|| error(404, "NotFound"), |object| shows(200, object))
                }
            },
            Operation::List { .. } => self.list(operation, server),
            _ => empty(200, ""),
        }
    }

    fn update(&mut self, key: &ObjectKey, expect: Option<u64>, object: Object) -> Answer {
        let Some(live) = self.live.get(key).cloned() else { return error(404, "NotFound") };
        if expect.is_some_and(|expect| expect != live.revision) || object.uid != live.uid {
            return error(409, "Conflict");
        }
        if object.digest == live.digest {
            return shows(200, live);
        }
        let goes = live.deleted_at.is_some() && object.finalizers.is_empty();
        let object = Object { deleted_at: live.deleted_at, ..object };
        let revision = self.commit(key.clone(), (!goes).then(|| object.clone()));
        shows(200, Object { revision, ..object })
    }

    fn delete(&mut self, key: &ObjectKey, uid: Option<&str>, expect: Option<u64>) -> Answer {
        let Some(live) = self.live.get(key).cloned() else { return error(404, "NotFound") };
        if uid.is_some_and(|uid| uid != live.uid) || expect.is_some_and(|expect| expect != live.revision) {
            return error(409, "Conflict");
        }
        if live.finalizers.is_empty() {
            self.commit(key.clone(), None);
            return empty(200, "");
        }
        if live.deleted_at.is_some() {
            return empty(200, "");
        }
        let mut marked = Object { deleted_at: Some(format!("{:020}", self.now)), ..live };
        marked.digest = digest(&marked, "marked");
        let revision = self.commit(key.clone(), Some(marked.clone()));
        shows(200, Object { revision, ..marked })
    }

    /// Brings a server's cache to a revision or further; None: it is still to come.
    fn bring(&mut self, server: &'static str, resource: &str, least: u64) -> Option<u64> {
        if least > self.revision {
            return None;
        }
        let behind = self.revision - self.random.next() % 3.min(self.revision + 1);
        let position = self.positions.entry((server, resource.to_owned())).or_insert(behind);
        *position = (*position).max(least);
        if self.random.one_in(4) {
            *position = (*position).max(behind);
        }
        Some(*position)
    }

    /// The selected objects at a revision, in list order.
    fn state(&self, selection: &Selection<'_>, revision: u64) -> Vec<Object> {
        let mut state: BTreeMap<String, Object> = BTreeMap::new();
        for logged in self.log.iter().take_while(|logged| logged.revision <= revision) {
            if logged.key.resource != selection.resource {
                continue;
            }
            let place = format!("{}/{}", logged.key.namespace, logged.key.name);
            match logged.after.as_ref().filter(|object| selection.shows(object)) {
                Some(object) => state.insert(place, object.clone()),
                None => state.remove(&place),
            };
        }
        state.into_values().collect()
    }

    fn list(&mut self, operation: &Operation, server: &'static str) -> Answer {
        let Operation::List { resource, namespace, labels, version, limit, continues } = operation else {
            return empty(400, "BadRequest");
        };
        let selection = Selection { resource, namespace, labels };
        let floor = self.floors.get(resource).copied().unwrap_or(0);
        let chain = continues.and_then(|first| self.chains.iter().find(|chain| chain.first == first));
        let after = chain.map(|chain| chain.last.clone());
        let asked = match (chain, version) {
            (Some(chain), _) => chain.revision,
            (None, Version::Exact(revision)) => Some(*revision),
            (None, _) => None,
        };
        if asked.is_some_and(|revision| revision < floor) {
            let more = chain.is_some();
            let list = more.then(|| ListAnswer { revision: 0, items: Vec::new(), more, remaining: None });
            return Answer { list, ..error(410, "Expired") };
        }
        let revision = match (asked, version) {
            (Some(revision), _) => Some(revision).filter(|revision| *revision <= self.revision),
            (None, Version::Any) => self.bring(server, resource, 0),
            (None, Version::NotOlderThan(least)) => self.bring(server, resource, *least),
            (None, _) => self.bring(server, resource, self.revision),
        };
        let Some(revision) = revision else { return too_large() };
        let limit = if *version == Version::Any && continues.is_none() { 0 } else { *limit as usize };
        let mut rest = self.state(&selection, revision);
        rest.retain(|object| after.as_ref().is_none_or(|after| place(object) > *after));
        let left = if limit == 0 { 0 } else { rest.len().saturating_sub(limit) };
        rest.truncate(rest.len() - left);
        let remaining = (left > 0 && labels.is_empty()).then_some(left as u64);
        lists(ListAnswer { revision, items: rest, more: left > 0, remaining })
    }

    /// Keeps the chain of a list that goes on.
    fn note_page(&mut self, id: OperationId, operation: &Operation, code: u16, list: &ListAnswer) {
        let Operation::List { resource, namespace, labels, continues, .. } = operation else { return };
        let first = continues.unwrap_or(id);
        let before = self.chains.iter().position(|chain| chain.first == first).map(|place| self.chains.remove(place));
        if !list.more {
            return;
        }
        let last = list.items.last().map(place).or(before.map(|before| before.last)).unwrap_or_default();
        self.chains.push(Chain {
            first,
            resource: resource.clone(),
            namespace: namespace.clone(),
            labels: labels.clone(),
            revision: (code == 200).then_some(list.revision),
            last,
            busy: false,
        });
    }

    fn open(&mut self, id: OperationId, operation: Operation, server: &'static str) {
        let Operation::Watch { resource, namespace, labels, from, bookmarks, .. } = &operation else { return };
        let floor = self.floors.get(resource).copied().unwrap_or(0);
        let revision = match from {
            WatchFrom::After(revision) if *revision < floor => {
                let item = StreamItem::Error { code: 410, reason: "Expired".into() };
                self.push("client-1", Body::Stream { id, item });
                return self.push("client-1", Body::StreamEnd { id, end: StreamEnd::Closed });
            }
            WatchFrom::After(revision) => *revision,
            WatchFrom::StateAny => self.bring(server, resource, 0).unwrap_or(self.revision),
            WatchFrom::WatchList(least) if *least > 0 => self.bring(server, resource, *least).unwrap_or(self.revision),
            _ => self.bring(server, resource, self.revision).unwrap_or(self.revision),
        };
        let state = !matches!(from, WatchFrom::After(_));
        let selection = Selection { resource, namespace, labels };
        let mut initial = if state { self.state(&selection, revision) } else { Vec::new() };
        initial.reverse();
        let end_mark = *bookmarks && state;
        self.streams.push(Stream { id, reached: revision, initial, end_mark, operation });
    }

    fn deliver(&mut self) {
        if self.streams.is_empty() {
            return;
        }
        let place = self.random.below(self.streams.len());
        if self.random.one_in(40) && !self.healed {
            let stream = self.streams.swap_remove(place);
            return self.push("client-1", Body::StreamEnd { id: stream.id, end: StreamEnd::Broken });
        }
        for _ in 0..1 + self.random.below(6) {
            if !self.deliver_one(place) {
                return;
            }
        }
    }

    /// Delivers the next of a stream, and says whether there may be more.
    fn deliver_one(&mut self, place: usize) -> bool {
        let stream = &mut self.streams[place];
        let id = stream.id;
        let Operation::Watch { resource, namespace, labels, bookmarks, .. } = &stream.operation else { return false };
        if let Some(object) = stream.initial.pop() {
            self.push("client-1", Body::Stream { id, item: StreamItem::Added(object) });
            return true;
        }
        if stream.end_mark {
            stream.end_mark = false;
            let item = StreamItem::Bookmark { revision: stream.reached, initial_events_end: true };
            self.push("client-1", Body::Stream { id, item });
            return true;
        }
        let selection = Selection { resource, namespace, labels };
        let next = self.log.iter().find_map(|logged| {
            let after_here = logged.revision > stream.reached && logged.key.resource == *resource;
            after_here.then(|| item_of(&selection, logged)).flatten().map(|item| (logged.revision, item))
        });
        match next {
            Some((revision, item)) => {
                stream.reached = revision;
                self.push("client-1", Body::Stream { id, item });
                true
            }
            None => {
                stream.reached = stream.reached.max(self.revision);
                let item = StreamItem::Bookmark { revision: stream.reached, initial_events_end: false };
                if *bookmarks && self.random.one_in(2) {
                    self.push("client-1", Body::Stream { id, item });
                }
                false
            }
        }
    }

    fn follow(&mut self) {
        let informer = self.random.below(self.informers.len());
        let until = self.revision - self.random.next() % 5.min(self.revision + 1);
        self.informers[informer].reached = self.follow_one(informer, until);
    }

    fn follow_one(&mut self, informer: usize, until: u64) -> u64 {
        let Informer { resource, reached } = self.informers[informer];
        let until = until.min(self.revision).max(reached);
        let number = informer as u64;
        let new = self
            .log
            .iter()
            .filter(|logged| logged.key.resource == resource && logged.revision > reached && logged.revision <= until);
        let told: Vec<(ObjectKey, Option<Object>)> =
            new.map(|logged| (logged.key.clone(), logged.after.clone())).collect();
        for (key, object) in told {
            self.push("client-1", Body::Handled { informer: number, key, object });
        }
        let objects = self.state(&Selection { resource, namespace: "", labels: &[] }, until);
        let body = Body::Informer {
            informer: number,
            resource: resource.into(),
            namespace: String::new(),
            labels: Vec::new(),
            revision: until,
            objects,
        };
        self.push("client-1", body);
        until
    }
}

fn item_of(selection: &Selection<'_>, logged: &Logged) -> Option<StreamItem> {
    let before = logged.before.as_ref().filter(|object| selection.shows(object));
    let after = logged.after.as_ref().filter(|object| selection.shows(object));
    Some(match (before, after) {
        (None, None) => return None,
        (None, Some(after)) => StreamItem::Added(after.clone()),
        (Some(_), Some(after)) => StreamItem::Modified(after.clone()),
        (Some(before), None) => StreamItem::Deleted(Object { revision: logged.revision, ..before.clone() }),
    })
}

fn place(object: &Object) -> String {
    format!("{}/{}", object.namespace, object.name)
}

fn empty(code: u16, reason: &str) -> Answer {
    let (reason, message, causes) = (reason.to_owned(), String::new(), Vec::new());
    Answer { code, reason, message, causes, object: None, list: None, retry_after: None }
}

fn error(code: u16, reason: &str) -> Answer {
    empty(code, reason)
}

fn too_large() -> Answer {
    Answer { retry_after: Some(1), ..error(504, "Timeout") }
}

fn shows(code: u16, object: Object) -> Answer {
    Answer { object: Some(object), ..empty(code, "") }
}

fn lists(list: ListAnswer) -> Answer {
    Answer { list: Some(list), ..empty(200, "") }
}

mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Random, mutations::MUTATIONS, valid_history};
    use crate::{Findings, excerpt::excerpt, judge, testing::options};

    fn explain(history: &[triune_history::Event], findings: &Findings) -> String {
        let lines = findings
            .violations
            .iter()
            .map(|violation| format!("{}: {}\n{}", violation.invariant, violation.text, excerpt(history, violation)));
        lines.collect::<Vec<String>>().join("\n")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn valid_histories_break_nothing(seed in any::<u64>(), steps in 10_usize..1_500) {
            let history = valid_history(seed, steps);
            let findings = judge(&history, &options());
            prop_assert!(findings.violations.is_empty(), "{}", explain(&history, &findings));
        }
    }

    #[test]
    fn valid_histories_are_judged() {
        let coverage = judge(&valid_history(7, 3_000), &options()).coverage;
        for what in ["lists", "pages", "stream events", "initial states", "linearized objects", "acknowledged writes"] {
            assert!(coverage.checked.get(what).is_some_and(|count| *count > 10), "{what}: {coverage:?}");
        }
        assert_eq!(coverage.not_reported.len(), 0);
    }

    #[test]
    fn mutations_are_found() {
        let mut table: BTreeMap<&str, (usize, BTreeMap<&str, usize>)> = BTreeMap::new();
        for seed in 0..40 {
            let history = valid_history(seed, 600);
            for (name, mutate) in MUTATIONS {
                let Some(mutated) = mutate(&mut Random(seed ^ 0x5eed), &history) else { continue };
                let findings = judge(&mutated, &options());
                assert!(!findings.violations.is_empty(), "seed {seed}: {name} is not found");
                let (count, invariants) = table.entry(name).or_default();
                *count += 1;
                let mut names: Vec<&str> = findings.violations.iter().map(|violation| violation.invariant).collect();
                names.sort_unstable();
                names.dedup();
                for name in names {
                    *invariants.entry(name).or_default() += 1;
                }
            }
        }
        for (name, _) in MUTATIONS {
            let (count, invariants) = table.get(name).unwrap_or_else(|| panic!("{name} never applies"));
            let mut found: Vec<(&str, usize)> = invariants.iter().map(|(name, count)| (*name, *count)).collect();
            found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            let found: Vec<String> = found.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
            println!("{name:<48} {count:>3} of 40  {}", found.join(", "));
        }
    }

    /// `cargo test -p triune-checkers --release -- --ignored --nocapture cost`
    #[test]
    #[ignore = "measures"]
    #[allow(clippy::disallowed_methods)]
    fn cost_of_judging() {
        for steps in [3_000, 6_000, 12_000] {
            let (history, options) = (valid_history(1, steps), options());
            let start = std::time::Instant::now();
            let findings = judge(&history, &options);
            let ms = start.elapsed().as_secs_f64() * 1_000.0;
            assert!(findings.violations.is_empty());
            println!("{} events: {ms:.1} ms, {:.1} ms for 10,000", history.len(), ms * 10_000.0 / history.len() as f64);
            for checker in crate::checkers() {
                let start = std::time::Instant::now();
                let index = crate::index::Index::new(&history, &options);
                let indexed = start.elapsed();
                (checker.run)(&index, &mut Findings::default());
                let (all, index) = (start.elapsed().as_secs_f64() * 1e3, indexed.as_secs_f64() * 1e3);
                println!("  {:<16} {:.1} ms, and {index:.1} ms for the index", checker.name, all - index);
            }
        }
    }
}
