//! An event as one readable line. Keeps: one event, one line, whatever it holds.

use triune_history::{
    Answer, Body, Event, ListAnswer, NodeChange, Object, Operation, Outcome, StreamEnd, StreamItem, Version, WatchFrom,
};

/// Objects of a list that are named.
const ITEMS_SHOWN_MAX: usize = 8;
/// Longest text that is quoted, in characters.
const TEXT_SHOWN_MAX: usize = 300;

/// The whole line: time, node, what.
pub fn line(event: &Event) -> String {
    one_line(&format!("{:>14}  {:<10} {}", event.at.to_string(), event.node, what(&event.body)))
}

/// The line without time and node.
pub fn what(body: &Body) -> String {
    match body {
        Body::Commit(commit) => {
            let objects: Vec<String> = commit
                .objects
                .iter()
                .map(|change| match &change.object {
                    Some(object) => format!("put {} {}", change.key, details(object)),
                    None => format!("remove {}", change.key),
                })
                .chain(commit.compacted.iter().map(|(resource, floor)| format!("compact {resource} up to {floor}")))
                .collect();
            format!("commit {}: {}", commit.revision, objects.join(", "))
        }
        Body::Invoke { id, server, operation } => format!("#{} -> {server}: {}", id.0, request(operation)),
        Body::Answer { id, outcome } => format!("#{} <- {}", id.0, self::outcome(outcome)),
        Body::Stream { id, item } => format!("#{} ~ {}", id.0, stream_item(item)),
        Body::StreamEnd { id, end } => format!("#{} ~ end: {}", id.0, stream_end(*end)),
        Body::Informer { informer, resource, namespace, labels, revision, objects } => {
            let what = selected(resource, namespace, labels);
            format!("informer {informer} of {what} at {revision} holds {}", names(objects))
        }
        Body::Handled { informer, key, object: Some(object) } => {
            format!("informer {informer} tells: {key} {}", details(object))
        }
        Body::Handled { informer, key, object: None } => format!("informer {informer} tells: {key} is gone"),
        Body::Node(change) => node_change(*change).into(),
        Body::Fault(text) => format!("fault: {text}"),
        Body::Healed => "healed: no faults from here on".into(),
        Body::Message { to, bytes, arrives } => format!("sends {bytes} bytes to {to}, arriving at {arrives}"),
        Body::Gauge { name, value, bound } => format!("{name}: {value}, at most {bound}"),
        Body::Note(text) => format!("note: {text}"),
    }
}

/// A request: verb, what, and how.
pub fn request(operation: &Operation) -> String {
    let expecting = |expect: &Option<u64>| expect.map(|revision| format!(" if at {revision}")).unwrap_or_default();
    match operation {
        Operation::Create { key, object } if key.name.is_empty() => {
            format!(
                "create {key}*{}",
                object.as_ref().map(|object| format!(" {}", details(object))).unwrap_or_default()
            )
        }
        Operation::Create { key, object } => {
            format!("create {key}{}", object.as_ref().map(|object| format!(" {}", details(object))).unwrap_or_default())
        }
        Operation::Update { key, expect, object } => format!("update {key}{} {}", expecting(expect), details(object)),
        Operation::Patch { key, expect, kind, patch } => {
            format!("patch {key}{} by {kind} {}", expecting(expect), short(patch))
        }
        Operation::Delete { key, uid, expect } => {
            let uid = uid.as_ref().map(|uid| format!(" if uid {uid}")).unwrap_or_default();
            format!("delete {key}{uid}{}", expecting(expect))
        }
        Operation::DeleteCollection { resource, namespace, labels } => {
            format!("delete all {}", selected(resource, namespace, labels))
        }
        Operation::Get { key } => format!("get {key}"),
        Operation::GetCached { key, at_least: 0 } => format!("get {key} at any revision"),
        Operation::GetCached { key, at_least } => format!("get {key} not older than {at_least}"),
        Operation::List { resource, namespace, labels, version, limit, continues } => {
            let at = match (continues, version) {
                (Some(first), _) => format!(" going on with #{}", first.0),
                (None, Version::Latest) => String::new(),
                (None, Version::Any) => " at any revision".into(),
                (None, Version::NotOlderThan(revision)) => format!(" not older than {revision}"),
                (None, Version::Exact(revision)) => format!(" at exactly {revision}"),
            };
            let limit = if *limit == 0 { String::new() } else { format!(", {limit} a page") };
            format!("list {}{at}{limit}", selected(resource, namespace, labels))
        }
        Operation::Watch { resource, namespace, labels, from, bookmarks, timeout_seconds } => {
            let from = match from {
                WatchFrom::StateLatest => "from the latest state".into(),
                WatchFrom::StateAny => "from any state".into(),
                WatchFrom::After(revision) => format!("after {revision}"),
                WatchFrom::WatchList(0) => "with initial events".into(),
                WatchFrom::WatchList(revision) => format!("with initial events not older than {revision}"),
            };
            let bookmarks = if *bookmarks { ", bookmarks" } else { "" };
            let timeout = if *timeout_seconds == 0 { String::new() } else { format!(", {timeout_seconds} s") };
            format!("watch {} {from}{bookmarks}{timeout}", selected(resource, namespace, labels))
        }
        Operation::Path { path } => format!("get {path}"),
    }
}

fn selected(resource: &str, namespace: &str, labels: &[(String, String)]) -> String {
    let namespace = if namespace.is_empty() { String::new() } else { format!("/{namespace}") };
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!(" with {}", labels.join(",")) };
    format!("{resource}{namespace}{labels}")
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(answer) => self::answer(answer),
        Outcome::NotSent(why) => format!("not sent: {}", short(why)),
        Outcome::Unknown(why) => format!("unknown: {}", short(why)),
    }
}

fn answer(answer: &Answer) -> String {
    let mut parts = vec![answer.code.to_string()];
    if !answer.reason.is_empty() {
        parts.push(answer.reason.clone());
    }
    if let Some(object) = &answer.object {
        parts.push(format!("{} {}", path(object), details(object)));
    }
    if let Some(list) = &answer.list {
        parts.push(self::list(list));
    }
    if !answer.message.is_empty() {
        parts.push(format!("{:?}", short(&answer.message)));
    }
    if !answer.causes.is_empty() {
        parts.push(format!("causes {}", answer.causes.join(",")));
    }
    if let Some(seconds) = answer.retry_after {
        parts.push(format!("retry after {seconds} s"));
    }
    parts.join(" ")
}

fn list(list: &ListAnswer) -> String {
    let more = if list.more { ", more to come" } else { "" };
    let remaining = list.remaining.map(|remaining| format!(", {remaining} remaining")).unwrap_or_default();
    format!("at {}: {}{more}{remaining}", list.revision, names(&list.items))
}

fn stream_item(item: &StreamItem) -> String {
    match item {
        StreamItem::Added(object) => format!("ADDED {} {}", path(object), details(object)),
        StreamItem::Modified(object) => format!("MODIFIED {} {}", path(object), details(object)),
        StreamItem::Deleted(object) => format!("DELETED {} {}", path(object), details(object)),
        StreamItem::Bookmark { revision, initial_events_end } => {
            format!("BOOKMARK {revision}{}", if *initial_events_end { ", initial events end" } else { "" })
        }
        StreamItem::Error { code, reason } => format!("ERROR {code} {reason}"),
    }
}

fn stream_end(end: StreamEnd) -> &'static str {
    match end {
        StreamEnd::Closed => "closed by the server",
        StreamEnd::Broken => "the connection broke",
        StreamEnd::Dropped => "dropped by the client",
    }
}

/// A change of a node's life, in words.
pub fn node_change(change: NodeChange) -> &'static str {
    match change {
        NodeChange::Started => "starts",
        NodeChange::AskedToStop => "is asked to stop",
        NodeChange::Stopped => "has stopped",
        NodeChange::Crashed => "crashes",
        NodeChange::Paused => "stands still",
        NodeChange::Resumed => "goes on",
    }
}

/// Revision and whatever else tells two states of an object apart.
fn details(object: &Object) -> String {
    let mut parts = Vec::new();
    if object.revision != 0 {
        parts.push(format!("@{}", object.revision));
    }
    if !object.uid.is_empty() {
        parts.push(format!("uid {}", object.uid.get(..8).unwrap_or(&object.uid)));
    }
    parts.push(format!("#{:04x}", object.digest & 0xffff));
    let labels: Vec<String> = object.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !labels.is_empty() {
        parts.push(labels.join(","));
    }
    if !object.finalizers.is_empty() {
        parts.push(format!("finalizers {}", object.finalizers.join(",")));
    }
    if object.deleted_at.is_some() {
        parts.push("deleting".into());
    }
    parts.join(" ")
}

fn path(object: &Object) -> String {
    if object.namespace.is_empty() { object.name.clone() } else { format!("{}/{}", object.namespace, object.name) }
}

fn names(objects: &[Object]) -> String {
    let mut names: Vec<String> =
        objects.iter().take(ITEMS_SHOWN_MAX).map(|object| format!("{}@{}", path(object), object.revision)).collect();
    if objects.len() > ITEMS_SHOWN_MAX {
        names.push(format!("and {} more", objects.len() - ITEMS_SHOWN_MAX));
    }
    if names.is_empty() { "nothing".into() } else { names.join(" ") }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT_SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use triune_history::{At, Commit, ObjectChange, ObjectKey, OperationId};

    use super::*;

    fn check(body: Body, expect: &str) {
        assert_eq!(what(&body), expect);
    }

    fn object(name: &str, revision: u64) -> Object {
        let value = serde_json::json!({"metadata": {"namespace": "a", "name": name, "uid": "0123456789"}});
        Object { digest: 0x1234, ..Object::from_json(value, Some(revision)).unwrap() }
    }

    #[test]
    fn events_read_like_sentences() {
        let key = ObjectKey { resource: "configmaps".into(), namespace: "a".into(), name: "x".into() };
        let id = OperationId(7);
        let commit = Commit {
            revision: 9,
            objects: vec![
                ObjectChange { key: key.clone(), object: Some(object("x", 9)) },
                ObjectChange { key: key.clone(), object: None },
            ],
            logged: vec![],
            compacted: vec![("configmaps".into(), 3)],
        };
        check(
            Body::Commit(commit),
            "commit 9: put configmaps/a/x @9 uid 01234567 #1234, remove configmaps/a/x, compact configmaps up to 3",
        );
        let operation = Operation::Delete { key: key.clone(), uid: Some("u".into()), expect: Some(4) };
        check(
            Body::Invoke { id, server: "api-1".into(), operation },
            "#7 -> api-1: delete configmaps/a/x if uid u if at 4",
        );
        let operation = Operation::Watch {
            resource: "configmaps".into(),
            namespace: "a".into(),
            labels: vec![("k".into(), "v".into())],
            from: WatchFrom::After(4),
            bookmarks: true,
            timeout_seconds: 30,
        };
        check(
            Body::Invoke { id, server: "api-1".into(), operation },
            "#7 -> api-1: watch configmaps/a with k=v after 4, bookmarks, 30 s",
        );
        let answer = Answer {
            code: 409,
            reason: "Conflict".into(),
            message: "no".into(),
            causes: vec![],
            object: None,
            list: Some(ListAnswer { revision: 5, items: vec![object("x", 4)], more: true, remaining: Some(2) }),
            retry_after: None,
        };
        check(
            Body::Answer { id, outcome: Outcome::Answered(Box::new(answer)) },
            "#7 <- 409 Conflict at 5: a/x@4, more to come, 2 remaining \"no\"",
        );
        check(Body::Stream { id, item: StreamItem::Added(object("x", 4)) }, "#7 ~ ADDED a/x @4 uid 01234567 #1234");
    }

    #[test]
    fn one_event_is_one_line() {
        let event = Event { at: At(1_500_000_000), node: "api-1".into(), body: Body::Note("a\nb".into()) };
        assert_eq!(line(&event), "    1.500000 s  api-1      note: a b");
    }
}
