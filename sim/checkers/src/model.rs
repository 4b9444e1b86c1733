//! Random valid histories, and mutations of them.
//!
//! [`World`] is a small API server with a store: requests begin, take effect and are answered at random moments, answers
//! get lost, caches lag behind, watches are cut, logs are compacted. No checker may find anything in what it makes. A
//! single mutation of such a history must be found by some checker; the test prints which invariant finds which.

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

/// A mutation: None where there is nothing to mutate.
type Mutate = fn(&mut Random, &[Event]) -> Option<Vec<Event>>;

/// Mutations, each of which some checker must find wherever it applies.
const MUTATIONS: [(&str, Mutate); 30] = [
    ("a stream leaves out a change", |random, history| {
        let place = random_of(random, &live_changes(history, true))?;
        Some(without(history, place))
    }),
    ("a stream gives a change twice", |random, history| {
        let place = random_of(random, &live_changes(history, false))?;
        Some(with(history, place, history[place].clone()))
    }),
    ("a stream swaps two changes", |random, history| {
        let place = random_of(random, &live_changes(history, true))?;
        let next = next_of_stream(history, place).filter(|next| is_change(&history[*next]))?;
        let mut mutated = history.to_vec();
        let body = mutated[place].body.clone();
        mutated[place].body = std::mem::replace(&mut mutated[next].body, body);
        Some(mutated)
    }),
    ("a stream goes on after an error", |random, history| {
        let place = random_of(random, &live_changes(history, true))?;
        let Body::Stream { id, .. } = history[place].body else { return None };
        let item = StreamItem::Error { code: 500, reason: "InternalError".into() };
        let error = Event { body: Body::Stream { id, item }, ..history[place].clone() };
        next_of_stream(history, place)?;
        Some(with(history, place, error))
    }),
    ("ADDED and MODIFIED are mixed up", |random, history| {
        edit_stream(random, history, |_, item| match item {
            StreamItem::Added(object) => Some(StreamItem::Modified(object.clone())),
            StreamItem::Modified(object) => Some(StreamItem::Added(object.clone())),
            _ => None,
        })
    }),
    ("DELETED has the revision of the last state", |random, history| {
        edit_stream(random, history, |_, item| match item {
            StreamItem::Deleted(object) => {
                let last = history.iter().filter_map(|event| match &event.body {
                    Body::Commit(commit) => commit.objects.iter().find_map(|change| change.object.as_ref()),
                    _ => None,
                });
                let last = last.filter(|other| other.uid == object.uid).map(|other| other.revision).max()?;
                (last != object.revision).then(|| StreamItem::Deleted(Object { revision: last, ..object.clone() }))
            }
            _ => None,
        })
    }),
    ("a bookmark is ahead of changes to come", |random, history| {
        edit_items(random, history, |place, item| match item {
            StreamItem::Bookmark { initial_events_end: false, .. } => {
                let next = next_of_stream(history, place).filter(|next| is_change(&history[*next]))?;
                let revision = shown_object(&history[next])?.revision;
                Some(StreamItem::Bookmark { revision, initial_events_end: false })
            }
            _ => None,
        })
    }),
    ("a bookmark goes back to 1", |random, history| {
        edit_items(random, history, |_, item| match item {
            StreamItem::Bookmark { initial_events_end: false, .. } => {
                Some(StreamItem::Bookmark { revision: 1, initial_events_end: false })
            }
            _ => None,
        })
    }),
    ("the initial state ends twice", |random, history| {
        let ends = places(history, |event| {
            matches!(event.body, Body::Stream { item: StreamItem::Bookmark { initial_events_end: true, .. }, .. })
        });
        let place = random_of(random, &ends)?;
        Some(with(history, place, history[place].clone()))
    }),
    ("the initial state lacks an object", |random, history| {
        let initial = places(history, |event| matches!(event.body, Body::Stream { item: StreamItem::Added(_), .. }));
        let ended: Vec<usize> = initial
            .into_iter()
            .filter(|place| {
                let Body::Stream { id, .. } = history[*place].body else { return false };
                history[*place..].iter().any(|event| match event.body {
                    Body::Stream { id: other, item: StreamItem::Bookmark { initial_events_end, .. } } => {
                        other == id && initial_events_end
                    }
                    _ => false,
                })
            })
            .collect();
        let place = random_of(random, &ended)?;
        Some(without(history, place))
    }),
    ("a stream says 410 for nothing", |random, history| {
        let floors = history.iter().filter_map(|event| match &event.body {
            Body::Commit(commit) => commit.compacted.iter().map(|(_, floor)| *floor).max(),
            _ => None,
        });
        let floor = floors.max().unwrap_or(0);
        let mut last = live_changes(history, false);
        last.retain(|place| {
            next_of_stream(history, *place).is_none()
                && shown_object(&history[*place]).is_some_and(|object| object.revision >= floor)
        });
        let place = random_of(random, &last)?;
        let Body::Stream { id, .. } = history[place].body else { return None };
        let item = StreamItem::Error { code: 410, reason: "Expired".into() };
        let error = Event { body: Body::Stream { id, item }, ..history[place].clone() };
        Some(with(history, place, error))
    }),
    ("an object that is shown has another content", |random, history| {
        let shown = places(history, |event| shown_object(event).is_some() && !is_deletion(event));
        let place = random_of(random, &of_committed(history, &shown))?;
        edit_object(history, place, |object| object.digest ^= 1)
    }),
    ("an object that is shown has the next revision", |random, history| {
        let shown = places(history, |event| shown_object(event).is_some());
        let place = random_of(random, &of_committed(history, &shown))?;
        edit_object(history, place, |object| object.revision += 1)
    }),
    ("a list leaves out an object", |random, history| {
        let place = random_of(random, &whole_lists(history))?;
        edit_list(history, place, |list| {
            list.items.pop();
        })
    }),
    ("a list has an object twice", |random, history| {
        let place = random_of(random, &whole_lists(history))?;
        edit_list(history, place, |list| {
            let object = list.items[0].clone();
            list.items.insert(0, object);
        })
    }),
    ("a list claims a revision with more changes", |random, history| {
        let place = random_of(random, &whole_lists(history))?;
        let Body::Answer { id, .. } = history[place].body else { return None };
        let asked = resource_of(history, id)?;
        let Body::Answer { outcome: Outcome::Answered(answer), .. } = &history[place].body else { return None };
        let revision = answer.list.as_ref()?.revision;
        let shown = answer.list.as_ref()?.items.first()?.clone();
        // The next change of an object of the list.
        let next = history.iter().find_map(|event| match &event.body {
            Body::Commit(commit) if commit.revision > revision => {
                let changed = |change: &ObjectChange| change.key == shown.key(&asked);
                commit.objects.iter().any(changed).then_some(commit.revision)
            }
            _ => None,
        })?;
        edit_list(history, place, |list| list.revision = next)
    }),
    ("a page says that it is the last", |random, history| {
        let pages = places(history, |event| list_of(event).is_some_and(|list| list.more && !list.items.is_empty()));
        let place = random_of(random, &pages)?;
        edit_list(history, place, |list| list.more = false)
    }),
    ("remaining is one less", |random, history| {
        let pages = places(history, |event| list_of(event).is_some_and(|list| list.remaining.is_some()));
        let place = random_of(random, &pages)?;
        edit_list(history, place, |list| list.remaining = list.remaining.map(|left| left - 1))
    }),
    ("a get shows the version before", |random, history| {
        let gets = places(history, |event| matches!(&event.body, Body::Answer { id, .. } if is_get(history, *id)));
        let stale: Vec<(usize, Object)> = gets
            .into_iter()
            .filter_map(|place| {
                let shown = shown_object(&history[place])?;
                let Body::Answer { id, .. } = history[place].body else { return None };
                let invoked = invocation(history, id)?;
                let resource = resource_of(history, id)?;
                let versions: Vec<(usize, Object)> = history
                    .iter()
                    .enumerate()
                    .filter_map(|(number, event)| match &event.body {
                        Body::Commit(commit) => {
                            let change = commit.objects.iter().find(|change| change.key == shown.key(&resource))?;
                            change.object.clone().map(|object| (number, object))
                        }
                        _ => None,
                    })
                    .collect();
                let current = versions.iter().position(|(_, object)| object.revision == shown.revision)?;
                let before = versions.get(current.checked_sub(1)?)?;
                acknowledged_before(history, invoked, shown).then(|| (place, before.1.clone()))
            })
            .collect();
        if stale.is_empty() {
            return None;
        }
        let (place, object) = stale[random.below(stale.len())].clone();
        edit_object(history, place, |shown| *shown = object.clone())
    }),
    ("a commit is lost", |random, history| {
        let commits =
            places(history, |event| matches!(&event.body, Body::Commit(commit) if !commit.objects.is_empty()));
        // One that somebody was told of.
        let told: Vec<usize> = commits
            .into_iter()
            .filter(|place| {
                let Body::Commit(commit) = &history[*place].body else { return false };
                history.iter().any(|event| match shown_object(event) {
                    Some(object) => object.revision == commit.revision,
                    None => false,
                })
            })
            .collect();
        Some(without(history, random_of(random, &told)?))
    }),
    ("a write that was committed is told an error", |random, history| {
        let place = random_of(random, &acknowledged_changes(history))?;
        let mut mutated = history.to_vec();
        let Body::Answer { outcome, .. } = &mut mutated[place].body else { return None };
        *outcome = Outcome::Answered(Box::new(error(422, "Invalid")));
        Some(mutated)
    }),
    ("a write is committed twice", |random, history| {
        let place = random_of(random, &acknowledged_changes(history))?;
        let Body::Answer { id, .. } = history[place].body else { return None };
        let (resource, object) = (resource_of(history, id)?, shown_object(&history[place])?.clone());
        let commit = history.iter().position(|event| match &event.body {
            Body::Commit(commit) => commit.revision == object.revision,
            _ => false,
        })?;
        let key = object.key(&resource);
        let revision = object.revision + 1;
        let free = history.iter().all(|event| match &event.body {
            Body::Commit(commit) => commit.revision != revision,
            _ => true,
        });
        let Body::Commit(first) = &history[commit].body else { return None };
        first.objects.first()?.object.as_ref()?;
        let again = Object { revision, digest: object.digest ^ 1, ..object };
        let objects = vec![ObjectChange { key: key.clone(), object: Some(again) }];
        let body = Body::Commit(Commit { revision, objects, logged: vec![(key, false)], compacted: Vec::new() });
        free.then(|| with(history, commit, Event { body, ..history[commit].clone() }))
    }),
    ("a revision is committed again", |random, history| {
        let commits =
            places(history, |event| matches!(&event.body, Body::Commit(commit) if !commit.objects.is_empty()));
        let place = random_of(random, &commits[1..])?;
        let before = commits[commits.iter().position(|commit| *commit == place)? - 1];
        let Body::Commit(Commit { revision, .. }) = history[before].body else { return None };
        edit_commit(history, place, |commit| {
            commit.revision = revision;
            for change in &mut commit.objects {
                if let Some(object) = &mut change.object {
                    object.revision = revision;
                }
            }
        })
    }),
    ("an update changes the uid", |random, history| {
        let place = random_of(random, &updates(history))?;
        edit_commit(history, place, |commit| {
            if let Some(object) = &mut commit.objects[0].object {
                object.uid.push('x');
            }
        })
    }),
    ("a change is not logged", |random, history| {
        let commits = places(history, |event| matches!(&event.body, Body::Commit(commit) if !commit.logged.is_empty()));
        let place = random_of(random, &commits)?;
        edit_commit(history, place, |commit| commit.logged.clear())
    }),
    ("a terminating object gets a finalizer", |random, history| {
        let marked = places(history, |event| match &event.body {
            Body::Commit(commit) => commit
                .objects
                .iter()
                .any(|change| change.object.as_ref().is_some_and(|object| object.deleted_at.is_some())),
            _ => false,
        });
        let again: Vec<usize> = marked.into_iter().filter(|place| updates_terminating(history, *place)).collect();
        let place = random_of(random, &again)?;
        edit_commit(history, place, |commit| {
            if let Some(object) = &mut commit.objects[0].object {
                object.finalizers.push("late".into());
            }
        })
    }),
    ("an informer misses an object", |random, history| {
        let stores =
            places(history, |event| matches!(&event.body, Body::Informer { objects, .. } if !objects.is_empty()));
        let place = random_of(random, &stores)?;
        let mut mutated = history.to_vec();
        let Body::Informer { objects, .. } = &mut mutated[place].body else { return None };
        objects.pop();
        Some(mutated)
    }),
    ("an informer stops", |random, history| {
        let last = |number: u64| {
            history
                .iter()
                .rposition(|event| matches!(&event.body, Body::Informer { informer, .. } if *informer == number))
        };
        let number = random.below(2) as u64;
        let place = last(number)?;
        let mut mutated = history.to_vec();
        mutated.retain(|event| !matches!(&event.body, Body::Handled { informer, .. } if *informer == number));
        let snapshot = mutated.iter().rposition(|event| *event == history[place])?;
        mutated.remove(snapshot);
        let before = mutated.iter().rev().find_map(|event| match &event.body {
            Body::Informer { informer, revision, .. } if *informer == number => Some(*revision),
            _ => None,
        })?;
        let changed = mutated.iter().any(|event| match &event.body {
            Body::Commit(commit) => {
                let of = |change: &ObjectChange| change.key.resource == RESOURCES[number as usize];
                commit.revision > before && commit.objects.iter().any(of)
            }
            _ => false,
        });
        changed.then_some(mutated)
    }),
    ("an answer never comes", |random, history| {
        let answers = places(history, |event| match &event.body {
            Body::Answer { id, outcome: Outcome::Answered(_) } => is_get(history, *id),
            _ => false,
        });
        let place = random_of(random, &answers)?;
        let mut mutated = without(history, place);
        let end = mutated.last()?.at.0 + 100_000_000_000;
        mutated.push(Event { at: At(end), node: "client-1".into(), body: Body::Note("the end".into()) });
        Some(mutated)
    }),
    ("a count is above its bound", |_, history| {
        let place = history.iter().position(|event| matches!(event.body, Body::Gauge { .. }))?;
        let mut mutated = history.to_vec();
        let Body::Gauge { value, .. } = &mut mutated[place].body else { return None };
        *value += 1;
        Some(mutated)
    }),
];

fn places(history: &[Event], wanted: impl Fn(&Event) -> bool) -> Vec<usize> {
    (0..history.len()).filter(|place| wanted(&history[*place])).collect()
}

fn random_of(random: &mut Random, places: &[usize]) -> Option<usize> {
    (!places.is_empty()).then(|| random.pick(places))
}

fn without(history: &[Event], place: usize) -> Vec<Event> {
    let mut mutated = history.to_vec();
    mutated.remove(place);
    mutated
}

/// With an event after another.
fn with(history: &[Event], place: usize, event: Event) -> Vec<Event> {
    let mut mutated = history.to_vec();
    mutated.insert(place + 1, event);
    mutated
}

fn is_change(event: &Event) -> bool {
    matches!(
        event.body,
        Body::Stream { item: StreamItem::Added(_) | StreamItem::Modified(_) | StreamItem::Deleted(_), .. }
    )
}

fn is_deletion(event: &Event) -> bool {
    matches!(event.body, Body::Stream { item: StreamItem::Deleted(_), .. })
}

fn next_of_stream(history: &[Event], place: usize) -> Option<usize> {
    let Body::Stream { id, .. } = history[place].body else { return None };
    let later = history[place + 1..].iter();
    later.enumerate().find_map(|(number, event)| match event.body {
        Body::Stream { id: other, .. } if other == id => Some(place + 1 + number),
        _ => None,
    })
}

/// Changes of watches that started after a revision; with another item after them, if that is asked for.
fn live_changes(history: &[Event], followed: bool) -> Vec<usize> {
    let mut found = places(history, is_change);
    found.retain(|place| {
        let Body::Stream { id, .. } = history[*place].body else { return false };
        let from = history.iter().find_map(|event| match &event.body {
            Body::Invoke { id: other, operation: Operation::Watch { from, .. }, .. } if *other == id => Some(*from),
            _ => None,
        });
        matches!(from, Some(WatchFrom::After(_)))
            && (!followed || next_of_stream(history, *place).is_some_and(|next| is_change(&history[next])))
    });
    found
}

fn edit_items(
    random: &mut Random,
    history: &[Event],
    edit: impl Fn(usize, &StreamItem) -> Option<StreamItem>,
) -> Option<Vec<Event>> {
    let edited: Vec<(usize, OperationId, StreamItem)> = (0..history.len())
        .filter_map(|place| match &history[place].body {
            Body::Stream { id, item } => edit(place, item).map(|item| (place, *id, item)),
            _ => None,
        })
        .collect();
    if edited.is_empty() {
        return None;
    }
    let (place, id, item) = edited[random.below(edited.len())].clone();
    let mut mutated = history.to_vec();
    mutated[place].body = Body::Stream { id, item };
    Some(mutated)
}

/// As [`edit_items`], in streams that started after a revision.
fn edit_stream(
    random: &mut Random,
    history: &[Event],
    edit: impl Fn(usize, &StreamItem) -> Option<StreamItem>,
) -> Option<Vec<Event>> {
    let live = live_changes(history, false);
    edit_items(random, history, |place, item| live.contains(&place).then(|| edit(place, item)).flatten())
}

fn shown_object(event: &Event) -> Option<&Object> {
    match &event.body {
        Body::Answer { outcome: Outcome::Answered(answer), .. } => answer.object.as_ref(),
        Body::Stream { item: StreamItem::Added(object) | StreamItem::Modified(object), .. }
        | Body::Stream { item: StreamItem::Deleted(object), .. } => Some(object),
        _ => None,
    }
}

/// Those of these events that show an object just as a commit stored it.
fn of_committed(history: &[Event], places: &[usize]) -> Vec<usize> {
    let stored = |object: &Object| {
        history.iter().any(|event| match &event.body {
            Body::Commit(commit) => commit.objects.iter().any(|change| change.object.as_ref() == Some(object)),
            _ => false,
        })
    };
    places.iter().copied().filter(|place| shown_object(&history[*place]).is_some_and(stored)).collect()
}

fn edit_object(history: &[Event], place: usize, edit: impl Fn(&mut Object)) -> Option<Vec<Event>> {
    let mut mutated = history.to_vec();
    match &mut mutated[place].body {
        Body::Answer { outcome: Outcome::Answered(answer), .. } => edit(answer.object.as_mut()?),
        Body::Stream { item: StreamItem::Added(object) | StreamItem::Modified(object), .. }
        | Body::Stream { item: StreamItem::Deleted(object), .. } => edit(object),
        _ => return None,
    }
    Some(mutated)
}

fn list_of(event: &Event) -> Option<&ListAnswer> {
    match &event.body {
        Body::Answer { outcome: Outcome::Answered(answer), .. } => answer.list.as_ref(),
        _ => None,
    }
}

/// Answers to lists that are not pages and not empty.
fn whole_lists(history: &[Event]) -> Vec<usize> {
    let mut found = places(history, |event| list_of(event).is_some_and(|list| !list.more && !list.items.is_empty()));
    found.retain(|place| {
        let Body::Answer { id, .. } = history[*place].body else { return false };
        history.iter().any(|event| match &event.body {
            Body::Invoke { id: other, operation: Operation::List { continues: None, version, .. }, .. } => {
                *other == id && !matches!(version, Version::Exact(_))
            }
            _ => false,
        })
    });
    found
}

fn edit_list(history: &[Event], place: usize, edit: impl Fn(&mut ListAnswer)) -> Option<Vec<Event>> {
    let mut mutated = history.to_vec();
    let Body::Answer { outcome: Outcome::Answered(answer), .. } = &mut mutated[place].body else { return None };
    edit(answer.list.as_mut()?);
    Some(mutated)
}

fn edit_commit(history: &[Event], place: usize, edit: impl Fn(&mut Commit)) -> Option<Vec<Event>> {
    let mut mutated = history.to_vec();
    let Body::Commit(commit) = &mut mutated[place].body else { return None };
    edit(commit);
    Some(mutated)
}

fn invocation(history: &[Event], id: OperationId) -> Option<usize> {
    history.iter().position(|event| matches!(&event.body, Body::Invoke { id: other, .. } if *other == id))
}

fn resource_of(history: &[Event], id: OperationId) -> Option<String> {
    match &history[invocation(history, id)?].body {
        Body::Invoke { operation, .. } => crate::index::operation_resource(operation).map(str::to_owned),
        _ => None,
    }
}

fn is_get(history: &[Event], id: OperationId) -> bool {
    invocation(history, id)
        .is_some_and(|place| matches!(&history[place].body, Body::Invoke { operation: Operation::Get { .. }, .. }))
}

/// Answers to creates and updates that changed something.
fn acknowledged_changes(history: &[Event]) -> Vec<usize> {
    let mut found = places(
        history,
        |event| matches!(&event.body, Body::Answer { outcome: Outcome::Answered(answer), .. } if answer.object.is_some()),
    );
    found.retain(|place| {
        let Body::Answer { id, .. } = history[*place].body else { return false };
        let Some(invoked) = invocation(history, id) else { return false };
        let Body::Invoke { operation, .. } = &history[invoked].body else { return false };
        let writes = matches!(operation, Operation::Create { .. } | Operation::Update { .. });
        let shown = shown_object(&history[*place]).map(|object| object.revision);
        writes
            && history[invoked..*place].iter().any(|event| match &event.body {
                Body::Commit(commit) => Some(commit.revision) == shown,
                _ => false,
            })
    });
    found
}

/// Whether an answer to a request on the object has shown this state before an event.
fn acknowledged_before(history: &[Event], event: usize, object: &Object) -> bool {
    history[..event].iter().any(|event| {
        let shown =
            shown_object(event).is_some_and(|shown| shown.uid == object.uid && shown.revision == object.revision);
        shown && matches!(event.body, Body::Answer { id, .. } if is_get(history, id) || is_update(history, id))
    })
}

fn is_update(history: &[Event], id: OperationId) -> bool {
    invocation(history, id)
        .is_some_and(|place| matches!(&history[place].body, Body::Invoke { operation: Operation::Update { .. }, .. }))
}

/// Commits that change an object that is there.
fn updates(history: &[Event]) -> Vec<usize> {
    let mut live: BTreeMap<&ObjectKey, bool> = BTreeMap::new();
    let mut found = Vec::new();
    for (place, event) in history.iter().enumerate() {
        let Body::Commit(commit) = &event.body else { continue };
        for change in &commit.objects {
            let before = live.insert(&change.key, change.object.is_some());
            if before == Some(true) && change.object.is_some() {
                found.push(place);
            }
        }
    }
    found
}

/// Whether a commit changes an object that was terminating before.
fn updates_terminating(history: &[Event], place: usize) -> bool {
    let Body::Commit(commit) = &history[place].body else { return false };
    let Some(change) = commit.objects.first() else { return false };
    let before = history[..place].iter().rev().find_map(|event| match &event.body {
        Body::Commit(commit) => commit.objects.iter().find(|other| other.key == change.key),
        _ => None,
    });
    before.and_then(|before| before.object.as_ref()).is_some_and(|before| before.deleted_at.is_some())
}

mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{MUTATIONS, Random, valid_history};
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
