//! The lines of a history that show a violation: its events, and the requests and answers that they belong to.

use std::{collections::BTreeSet, fmt::Write};

use triune_history::{Answer, Body, Event, Object, Operation, OperationId, Outcome, StreamItem};

use crate::Violation;

/// Items of a list that a line names.
const ITEMS_SHOWN_MAX: usize = 8;

/// The lines, oldest first; those that show the violation are marked.
pub fn excerpt(history: &[Event], violation: &Violation) -> String {
    let marked: BTreeSet<usize> = violation.events.iter().copied().filter(|event| *event < history.len()).collect();
    let named: BTreeSet<OperationId> = marked.iter().filter_map(|event| operation_of(&history[*event].body)).collect();
    let belongs = |event: &Event| match &event.body {
        Body::Invoke { id, .. } | Body::Answer { id, .. } | Body::StreamEnd { id, .. } => named.contains(id),
        _ => false,
    };
    let mut text = String::new();
    for (number, event) in history.iter().enumerate() {
        let is_marked = marked.contains(&number);
        if is_marked || belongs(event) {
            let mark = if is_marked { '>' } else { ' ' };
            let line = line(event);
            let _ = writeln!(text, "{mark} {number:>6} {:>14} {:<10} {line}", event.at.to_string(), event.node);
        }
    }
    text
}

fn operation_of(body: &Body) -> Option<OperationId> {
    match body {
        Body::Invoke { id, .. } | Body::Answer { id, .. } | Body::Stream { id, .. } | Body::StreamEnd { id, .. } => {
            Some(*id)
        }
        _ => None,
    }
}

/// An event on a line.
pub fn line(event: &Event) -> String {
    match &event.body {
        Body::Commit(commit) => {
            let changes = commit.objects.iter().map(|change| match &change.object {
                Some(object) => format!("{} = {}", change.key, shown(object)),
                None => format!("{} removed", change.key),
            });
            let floors = commit.compacted.iter().map(|(resource, floor)| format!("{resource} compacted to {floor}"));
            let parts: Vec<String> = changes.chain(floors).collect();
            format!("commit {}: {}", commit.revision, parts.join(", "))
        }
        Body::Invoke { id, server, operation } => format!("{} asks {server}: {}", name(*id), asked(operation)),
        Body::Answer { id, outcome } => format!("{} is told {}", name(*id), told(outcome)),
        Body::Stream { id, item } => format!("{} gets {}", name(*id), item_text(item)),
        Body::StreamEnd { id, end } => format!("{} ends: {end:?}", name(*id)),
        Body::Informer { informer, resource, revision, objects, .. } => {
            format!("informer {informer} of {resource} at {revision}: {}", items(objects))
        }
        Body::Handled { informer, key, object } => {
            let state = object.as_ref().map_or("gone".to_owned(), shown);
            format!("informer {informer} tells of {key}: {state}")
        }
        Body::Node(change) => format!("{change:?}"),
        Body::Fault(text) => format!("fault: {text}"),
        Body::Healed => "healed".to_owned(),
        Body::Message { to, bytes, arrives } => format!("{bytes} bytes to {to}, there at {arrives}"),
        Body::Gauge { name, value, bound } => format!("{name} is {value}, at most {bound}"),
        Body::Note(text) => text.clone(),
    }
}

fn name(id: OperationId) -> String {
    format!("op {}", id.0)
}

fn shown(object: &Object) -> String {
    let mut text = format!("{}@{}", object.name, object.revision);
    if let Some(at) = &object.deleted_at {
        let _ = write!(text, " terminating since {at}");
    }
    if !object.finalizers.is_empty() {
        let _ = write!(text, " held by {}", object.finalizers.join(","));
    }
    text
}

fn items(objects: &[Object]) -> String {
    let mut names: Vec<String> = objects.iter().take(ITEMS_SHOWN_MAX).map(shown).collect();
    if objects.len() > ITEMS_SHOWN_MAX {
        names.push(format!("and {} more", objects.len() - ITEMS_SHOWN_MAX));
    }
    format!("[{}]", names.join(" "))
}

fn asked(operation: &Operation) -> String {
    let selected = |resource: &str, namespace: &str, labels: &[(String, String)]| {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{resource} namespace={namespace:?} labels={}", labels.join(","))
    };
    match operation {
        Operation::Create { key, .. } => format!("create {key}"),
        Operation::Update { key, expect, .. } => format!("update {key} expect={expect:?}"),
        Operation::Patch { key, expect, kind, patch } => format!("patch {key} expect={expect:?} {kind} {patch}"),
        Operation::Delete { key, uid, expect } => format!("delete {key} uid={uid:?} expect={expect:?}"),
        Operation::DeleteCollection { resource, namespace, labels } => {
            format!("delete all {}", selected(resource, namespace, labels))
        }
        Operation::Get { key } => format!("get {key}"),
        Operation::GetCached { key, at_least } => format!("get {key} at least {at_least}"),
        Operation::List { resource, namespace, labels, version, limit, continues } => {
            let page = continues.map_or(String::new(), |first| format!(" continues {}", name(first)));
            format!("list {} {version:?} limit={limit}{page}", selected(resource, namespace, labels))
        }
        Operation::Watch { resource, namespace, labels, from, bookmarks, .. } => {
            format!("watch {} {from:?} bookmarks={bookmarks}", selected(resource, namespace, labels))
        }
        Operation::Path { path } => format!("get {path}"),
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(answer) => answer_text(answer),
        Outcome::NotSent(text) => format!("nothing: not sent, {text}"),
        Outcome::Unknown(text) => format!("nothing: {text}"),
    }
}

fn answer_text(answer: &Answer) -> String {
    let mut text = format!("{} {}", answer.code, answer.reason).trim_end().to_owned();
    if let Some(object) = &answer.object {
        let _ = write!(text, " {}", shown(object));
    }
    if let Some(list) = &answer.list {
        let more = if list.more { " and more" } else { "" };
        let _ = write!(text, " at {}: {}{more}", list.revision, items(&list.items));
    }
    if answer.code >= 300 {
        let _ = write!(text, " {:?}", answer.message);
    }
    text
}

fn item_text(item: &StreamItem) -> String {
    match item {
        StreamItem::Added(object) => format!("ADDED {}", shown(object)),
        StreamItem::Modified(object) => format!("MODIFIED {}", shown(object)),
        StreamItem::Deleted(object) => format!("DELETED {}", shown(object)),
        StreamItem::Bookmark { revision, initial_events_end } => {
            let end = if *initial_events_end { " (end of the initial state)" } else { "" };
            format!("BOOKMARK {revision}{end}")
        }
        StreamItem::Error { code, reason } => format!("ERROR {code} {reason}"),
    }
}
