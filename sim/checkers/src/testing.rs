//! Short histories as text, an event a line, for the tables of tests.
//!
//! Namespaces `a`, `b` and `ab` are there from the start (commits 1 to 3). Each line is a millisecond after the one before.
//!
//! ```text
//! c 5 cm/a/x=one cm/a/y=-       a commit: the row of x is set, that of y removed
//! c 6 floor:cm=5                a compaction; also `nolog:KEY`, `log:KEY`, `log:-KEY` for rows of the change log
//! w 5 cm/a/x=one                a write of client-1 with its commit and answer: create, update or delete
//! > 1 create cm/a/x=one         request 1; update, patch, apply, delete, get, list, watch, path; `on=api-2` `by=client-2`
//! < 1 201 cm/a/x@5              its answer; also `lost`, `silent`, `unsent`, `404 NotFound`
//! < 2 200 @7 cm/a/x@5 more      a list
//! ~ 3 ADDED cm/a/x@5            from a stream; BOOKMARK 7, END 7, ERROR 410, closed, broken
//! informer cm @7 cm/a/x@5       a snapshot; `handled cm/a/x@5`, `handled cm/a/x gone`
//! api-1 started                 also stopping, stopped, crashed, paused, resumed
//! fault TEXT / healed / gauge NAME VALUE BOUND / wait 60s
//! ```
//!
//! After an object's content come parts: `l=app:web` a label, `f=NAME` a finalizer, `d=10` terminating since, `u=UID`,
//! `t=TIME` created. `cm/a/x@5` is the object as committed at 5, `cm/a/x@5^7` the same with revision 7, `cm/a/x@5#9` with
//! other content.

use std::collections::BTreeMap;

use triune_history::{
    Answer, At, Body, Commit, Event, ListAnswer, NodeChange, Object, ObjectChange, ObjectKey, Operation, OperationId,
    Outcome, StreamEnd, StreamItem, Version, WatchFrom,
};

use crate::{CheckOptions, excerpt::excerpt, judge};

/// Checks that a history breaks just these invariants: names in the order of [`crate::checkers`], each once.
pub(crate) fn check(text: &str, expect: &str) {
    check_with(&options(), text, expect);
}

/// Bounds in seconds that fit short histories.
pub(crate) fn options() -> CheckOptions {
    CheckOptions { settle: std::time::Duration::from_secs(10), ..CheckOptions::default() }
}

pub(crate) fn check_with(options: &CheckOptions, text: &str, expect: &str) {
    let history = history(text);
    let findings = judge(&history, options);
    let mut names: Vec<&str> = Vec::new();
    for violation in &findings.violations {
        if !names.contains(&violation.invariant) {
            names.push(violation.invariant);
        }
    }
    let found = names.join(" ");
    let explain = || {
        let lines = findings.violations.iter().map(|violation| {
            let lines = excerpt(&history, violation);
            assert!(!lines.is_empty(), "no excerpt: {violation:?}");
            format!("{} at {}: {}\n{lines}", violation.invariant, violation.at, violation.text)
        });
        lines.collect::<Vec<String>>().join("\n")
    };
    let explained = explain();
    assert_eq!(found, expect, "\n{text}\n{explained}");
}

/// Reads a history.
pub(crate) fn history(text: &str) -> Vec<Event> {
    let mut builder = Builder::default();
    for namespace in ["a", "b", "ab"] {
        let revision = builder.last + 1;
        builder.line(&format!("c {revision} namespaces/{namespace}=active"));
    }
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        builder.line(line);
    }
    builder.events
}

#[derive(Default)]
struct Builder {
    events: Vec<Event>,
    now: u64,
    last: u64,
    /// Requests of `w` lines.
    writes: u64,
    live: BTreeMap<ObjectKey, Object>,
    committed: BTreeMap<(ObjectKey, u64), Object>,
}

impl Builder {
    fn push(&mut self, node: &str, body: Body) {
        self.now += 1_000_000;
        self.events.push(Event { at: At(self.now), node: node.to_owned(), body });
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (first, rest) = words.split_first().expect("a word");
        match *first {
            "c" => self.commit(rest),
            "w" => self.write(rest),
            ">" => self.invoke(rest),
            "<" => self.answer(rest),
            "~" => self.stream(rest),
            "informer" => {
                let objects = rest[2..].iter().map(|word| self.object(word)).collect();
                let body = Body::Informer {
                    informer: 1,
                    resource: rest[0].to_owned(),
                    namespace: String::new(),
                    labels: Vec::new(),
                    revision: number(&rest[1][1..]),
                    objects,
                };
                self.push("client-1", body);
            }
            "handled" => {
                let gone = rest.get(1) == Some(&"gone");
                let key = key(rest[0].split('@').next().expect("a key"));
                let object = (!gone).then(|| self.object(rest[0]));
                self.push("client-1", Body::Handled { informer: 1, key, object });
            }
            "fault" => self.push("faults", Body::Fault(rest.join(" "))),
            "healed" => self.push("faults", Body::Healed),
            "gauge" => {
                let body = Body::Gauge { name: rest[0].into(), value: number(rest[1]), bound: number(rest[2]) };
                self.push("api-1", body);
            }
            "wait" => self.now += number(rest[0].strip_suffix('s').expect("seconds")) * 1_000_000_000,
            node => self.push(node, Body::Node(change(rest[0]))),
        }
    }

    fn commit(&mut self, words: &[&str]) {
        let revision = number(words[0]);
        self.last = revision;
        let mut commit = Commit { revision, objects: Vec::new(), logged: Vec::new(), compacted: Vec::new() };
        for word in &words[1..] {
            if let Some(floor) = word.strip_prefix("floor:") {
                let (resource, floor) = floor.split_once('=').expect("a floor");
                commit.compacted.push((resource.to_owned(), number(floor)));
            } else if let Some(name) = word.strip_prefix("nolog:") {
                commit.logged.retain(|(logged, _)| *logged != key(name));
            } else if let Some(name) = word.strip_prefix("log:") {
                let deleted = name.strip_prefix('-');
                commit.logged.push((key(deleted.unwrap_or(name)), deleted.is_some()));
            } else {
                let (name, content) = word.split_once('=').expect("a change");
                let name = key(name);
                let object = (content != "-").then(|| self.make(&name, content, revision));
                match &object {
                    Some(object) => {
                        self.live.insert(name.clone(), object.clone());
                        self.committed.insert((name.clone(), revision), object.clone());
                    }
                    None => {
                        self.live.remove(&name);
                    }
                }
                commit.logged.push((name.clone(), object.is_none()));
                commit.objects.push(ObjectChange { key: name, object });
            }
        }
        self.push("store", Body::Commit(commit));
    }

    /// `CONTENT,PART,...` as a new state of an object.
    fn make(&self, key: &ObjectKey, content: &str, revision: u64) -> Object {
        let mut parts = content.split(',');
        let content = parts.next().unwrap_or_default();
        let live = self.live.get(key);
        let mut object = Object {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: live.map_or_else(|| format!("uid-{revision}"), |live| live.uid.clone()),
            revision,
            generation: 1,
            created_at: live.map_or_else(|| format!("{revision}"), |live| live.created_at.clone()),
            deleted_at: None,
            finalizers: Vec::new(),
            labels: BTreeMap::new(),
            digest: 0,
        };
        for part in parts {
            let (kind, value) = part.split_once('=').expect("a part");
            match kind {
                "l" => {
                    let (name, value) = value.split_once(':').expect("a label");
                    object.labels.insert(name.to_owned(), value.to_owned());
                }
                "f" => object.finalizers.push(value.to_owned()),
                "d" => object.deleted_at = Some(value.to_owned()),
                "u" => object.uid = value.to_owned(),
                "t" => object.created_at = value.to_owned(),
                other => panic!("part {other}"),
            }
        }
        object.digest = digest(&object, content);
        object
    }

    /// `KEY@REVISION`, with `^REVISION` and `#DIGEST`.
    fn object(&self, word: &str) -> Object {
        let (name, rest) = word.split_once('@').unwrap_or_else(|| panic!("{word} is no object"));
        let (rest, digest) = rest.split_once('#').map_or((rest, None), |(rest, digest)| (rest, Some(digest)));
        let (at, shown) = rest.split_once('^').map_or((rest, None), |(at, shown)| (at, Some(shown)));
        let stored = self.committed.get(&(key(name), number(at)));
        let mut object = stored.cloned().unwrap_or_else(|| self.make(&key(name), "made-up", number(at)));
        if let Some(shown) = shown {
            object.revision = number(shown);
        }
        if let Some(digest) = digest {
            object.digest = number(digest);
        }
        object
    }

    fn write(&mut self, words: &[&str]) {
        self.writes += 1;
        let id = 1_000 + self.writes;
        let (name, content) = words[1].split_once('=').expect("a change");
        let live = self.live.get(&key(name)).map(|object| object.revision);
        match (live, content) {
            (_, "-") => self.line(&format!("> {id} delete {name}")),
            (None, content) => self.line(&format!("> {id} create {name}={content}")),
            (Some(live), content) => self.line(&format!("> {id} update {name}={content} expect={live}")),
        }
        self.line(&format!("c {} {}", words[0], words[1]));
        match content {
            "-" => self.line(&format!("< {id} 200")),
            _ => self.line(&format!("< {id} 200 {name}@{}", words[0])),
        }
    }

    fn invoke(&mut self, words: &[&str]) {
        let id = OperationId(number(words[0]));
        let options: BTreeMap<&str, &str> =
            words[2..].iter().skip(1).map(|word| word.split_once('=').unwrap_or((word, ""))).collect();
        let option = |name: &str| options.get(name).copied();
        let expect = option("expect").map(number);
        let target = words.get(2).copied().unwrap_or_default();
        let (name, content) = target.split_once('=').unwrap_or((target, ""));
        let resource = target.to_owned();
        let namespace = option("ns").unwrap_or_default().to_owned();
        let labels: Vec<(String, String)> = option("l")
            .and_then(|label| label.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        let sent = || Object { uid: option("uid").unwrap_or_default().to_owned(), ..self.make(&key(name), content, 0) };
        let operation = match words[1] {
            "create" if name.ends_with('/') => Operation::Create { key: key(name), object: None },
            "create" => Operation::Create { key: key(name), object: Some(sent()) },
            "update" => Operation::Update { key: key(name), expect, object: sent() },
            "patch" => Operation::Patch { key: key(name), expect, kind: "merge".into(), patch: content.into() },
            "apply" => Operation::Patch { key: key(name), expect, kind: "apply".into(), patch: content.into() },
            "delete" => Operation::Delete { key: key(name), uid: option("uid").map(str::to_owned), expect },
            "deleteall" => Operation::DeleteCollection { resource, namespace, labels },
            "get" => match option("least") {
                Some(least) => Operation::GetCached { key: key(name), at_least: number(least) },
                None => Operation::Get { key: key(name) },
            },
            "list" => {
                let version = match option("rv") {
                    None => Version::Latest,
                    Some("any") => Version::Any,
                    Some(text) => match text.strip_prefix('>') {
                        Some(least) => Version::NotOlderThan(number(least)),
                        None => Version::Exact(number(text)),
                    },
                };
                let limit = option("limit").map_or(0, number);
                let continues = option("page-of").map(|first| OperationId(number(first)));
                Operation::List { resource, namespace, labels, version, limit, continues }
            }
            "watch" => {
                let from = match option("from") {
                    None => WatchFrom::StateLatest,
                    Some("any") => WatchFrom::StateAny,
                    Some(text) => match text.strip_prefix("list:") {
                        Some(least) => WatchFrom::WatchList(number(least)),
                        None => WatchFrom::After(number(text)),
                    },
                };
                let bookmarks = option("bookmarks").is_some();
                Operation::Watch { resource, namespace, labels, from, bookmarks, timeout_seconds: 0 }
            }
            "path" => Operation::Path { path: target.to_owned() },
            other => panic!("request {other}"),
        };
        let server = option("on").unwrap_or("api-1").to_owned();
        self.push(option("by").unwrap_or("client-1"), Body::Invoke { id, server, operation });
    }

    fn answer(&mut self, words: &[&str]) {
        let id = OperationId(number(words[0]));
        let outcome = match words[1] {
            "lost" => Outcome::Unknown("reset".into()),
            "silent" => Outcome::Unknown("no answer in time".into()),
            "unsent" => Outcome::NotSent("refused".into()),
            code => Outcome::Answered(Box::new(self.answer_of(code, &words[2..]))),
        };
        self.push("client-1", Body::Answer { id, outcome });
    }

    fn answer_of(&self, code: &str, words: &[&str]) -> Answer {
        let mut answer = Answer {
            code: number(code) as u16,
            reason: String::new(),
            message: String::new(),
            causes: Vec::new(),
            object: None,
            list: None,
            retry_after: None,
        };
        for word in words {
            if let Some(revision) = word.strip_prefix('@') {
                let revision = number(revision);
                answer.list = Some(ListAnswer { revision, items: Vec::new(), more: false, remaining: None });
            } else if *word == "more" {
                answer.list.as_mut().expect("a list").more = true;
            } else if let Some(count) = word.strip_prefix("left=") {
                answer.list.as_mut().expect("a list").remaining = Some(number(count));
            } else if let Some(cause) = word.strip_prefix("cause=") {
                answer.causes.push(cause.to_owned());
            } else if *word == "retry" {
                answer.retry_after = Some(1);
            } else if let Some(message) = word.strip_prefix("says=") {
                answer.message = message.replace('_', " ");
            } else if word.contains('@') {
                match &mut answer.list {
                    Some(list) => list.items.push(self.object(word)),
                    None => answer.object = Some(self.object(word)),
                }
            } else {
                answer.reason = (*word).to_owned();
            }
        }
        answer
    }

    fn stream(&mut self, words: &[&str]) {
        let id = OperationId(number(words[0]));
        let bookmark = |initial_events_end| StreamItem::Bookmark { revision: number(words[2]), initial_events_end };
        let item = match words[1] {
            "ADDED" => StreamItem::Added(self.object(words[2])),
            "MODIFIED" => StreamItem::Modified(self.object(words[2])),
            "DELETED" => StreamItem::Deleted(self.object(words[2])),
            "BOOKMARK" => bookmark(false),
            "END" => bookmark(true),
            "ERROR" => StreamItem::Error { code: number(words[2]) as u16, reason: "Expired".into() },
            "closed" => return self.push("client-1", Body::StreamEnd { id, end: StreamEnd::Closed }),
            "broken" => return self.push("client-1", Body::StreamEnd { id, end: StreamEnd::Broken }),
            other => panic!("stream {other}"),
        };
        self.push("client-1", Body::Stream { id, item });
    }
}

/// `RESOURCE/NAME` or `RESOURCE/NAMESPACE/NAME`.
fn key(text: &str) -> ObjectKey {
    let parts: Vec<&str> = text.split('/').collect();
    let (resource, namespace, name) = match parts[..] {
        [resource, name] => (resource, "", name),
        [resource, namespace, name] => (resource, namespace, name),
        _ => panic!("{text} is no key"),
    };
    ObjectKey { resource: resource.into(), namespace: namespace.into(), name: name.into() }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn change(text: &str) -> NodeChange {
    match text {
        "started" => NodeChange::Started,
        "stopping" => NodeChange::AskedToStop,
        "stopped" => NodeChange::Stopped,
        "crashed" => NodeChange::Crashed,
        "paused" => NodeChange::Paused,
        "resumed" => NodeChange::Resumed,
        other => panic!("{other} is no change of a node"),
    }
}

/// A digest of all but the revision.
pub(crate) fn digest(object: &Object, content: &str) -> u64 {
    let text = format!("{:?} {content}", Object { revision: 0, digest: 0, ..object.clone() });
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
