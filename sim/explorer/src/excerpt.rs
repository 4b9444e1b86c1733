//! The few events that explain a finding: those that it names, and a few around them that concern the same objects, the
//! same requests and streams, or the life of nodes.
//!
//! Keeps: named events are always shown; the rest is bounded.

use std::collections::{BTreeMap, BTreeSet};

use triune_history::{Body, Event, Object, ObjectKey, Operation, OperationId, Outcome, StreamItem};

use crate::{line::line, run::Finding};

/// Related events shown before and after each named one.
const AROUND: usize = 3;
/// Lines of an excerpt; named events are kept first.
const LINES_MAX: usize = 40;

/// Readable lines; `>` marks the events that the finding names, `...` what is left out between.
pub fn excerpt(events: &[Event], finding: &Finding) -> Vec<String> {
    let named: BTreeSet<usize> = finding.events.iter().copied().filter(|index| *index < events.len()).collect();
    let mut lines = Vec::new();
    let mut last = None;
    for index in chosen(events, &named) {
        if last.is_some_and(|last| last + 1 < index) {
            lines.push("  ...".to_owned());
        }
        last = Some(index);
        let mark = if named.contains(&index) { '>' } else { ' ' };
        lines.push(format!("{mark} {}", line(&events[index])));
    }
    lines
}

fn chosen(events: &[Event], named: &BTreeSet<usize>) -> BTreeSet<usize> {
    let subjects = Subjects::of(events);
    let mut keys = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for index in named {
        keys.extend(subjects.keys(&events[*index].body));
        ids.extend(id_of(&events[*index].body));
    }
    let related = |index: usize| {
        let body = &events[index].body;
        id_of(body).is_some_and(|id| ids.contains(&id)) || subjects.keys(body).iter().any(|key| keys.contains(key))
    };
    let mut chosen: BTreeSet<usize> = named.iter().copied().take(LINES_MAX).collect();
    // What was asked, and what was told first, belongs to each stream and request.
    let openings = ids.iter().filter_map(|id| subjects.invoked.get(id)).copied();
    let before = named.iter().flat_map(|index| (0..*index).rev().filter(|other| related(*other)).take(AROUND));
    let after = named.iter().flat_map(|index| (index + 1..events.len()).filter(|other| related(*other)).take(AROUND));
    let life = named.iter().filter_map(|index| (0..*index).rev().find(|other| is_life(&events[*other].body)));
    for index in openings.chain(before).chain(after).chain(life) {
        if chosen.len() >= LINES_MAX {
            break;
        }
        chosen.insert(index);
    }
    chosen
}

/// Who asked what: an answer and a stream alone do not say which resource they are about.
pub(crate) struct Subjects<'a> {
    /// Index of the event that asked.
    pub(crate) invoked: BTreeMap<OperationId, usize>,
    events: &'a [Event],
}

impl<'a> Subjects<'a> {
    pub(crate) fn of(events: &'a [Event]) -> Subjects<'a> {
        let invoked = events
            .iter()
            .enumerate()
            .filter_map(|(index, event)| match &event.body {
                Body::Invoke { id, .. } => Some((*id, index)),
                _ => None,
            })
            .collect();
        Subjects { invoked, events }
    }

    /// The objects that an event is about; none for events about many.
    pub(crate) fn keys(&self, body: &Body) -> Vec<ObjectKey> {
        match body {
            Body::Commit(commit) => commit.objects.iter().map(|change| change.key.clone()).collect(),
            Body::Invoke { operation, .. } => key_of(operation).into_iter().collect(),
            Body::Answer { id, outcome: Outcome::Answered(answer) } => self.shown(*id, answer.object.as_ref()),
            Body::Stream { id, item } => self.shown(*id, object_of(item)),
            Body::Handled { key, .. } => vec![key.clone()],
            _ => Vec::new(),
        }
    }

    /// The resource that a request is about.
    pub(crate) fn resource(&self, id: OperationId) -> Option<&'a str> {
        let index = self.invoked.get(&id)?;
        let Body::Invoke { operation, .. } = &self.events[*index].body else { return None };
        match operation {
            Operation::List { resource, .. }
            | Operation::Watch { resource, .. }
            | Operation::DeleteCollection { resource, .. } => Some(resource),
            Operation::Path { .. } => None,
            Operation::Create { key, .. }
            | Operation::Update { key, .. }
            | Operation::Patch { key, .. }
            | Operation::Delete { key, .. }
            | Operation::Get { key }
            | Operation::GetCached { key, .. } => Some(&key.resource),
        }
    }

    fn shown(&self, id: OperationId, object: Option<&Object>) -> Vec<ObjectKey> {
        object.zip(self.resource(id)).map(|(object, resource)| object.key(resource)).into_iter().collect()
    }
}

fn key_of(operation: &Operation) -> Option<ObjectKey> {
    match operation {
        Operation::Create { key, .. }
        | Operation::Update { key, .. }
        | Operation::Patch { key, .. }
        | Operation::Delete { key, .. }
        | Operation::Get { key }
        | Operation::GetCached { key, .. } => Some(key.clone()),
        _ => None,
    }
}

fn object_of(item: &StreamItem) -> Option<&Object> {
    match item {
        StreamItem::Added(object) | StreamItem::Modified(object) | StreamItem::Deleted(object) => Some(object),
        StreamItem::Bookmark { .. } | StreamItem::Error { .. } => None,
    }
}

/// The request that an event belongs to.
pub(crate) fn id_of(body: &Body) -> Option<OperationId> {
    match body {
        Body::Invoke { id, .. } | Body::Answer { id, .. } | Body::Stream { id, .. } | Body::StreamEnd { id, .. } => {
            Some(*id)
        }
        _ => None,
    }
}

fn is_life(body: &Body) -> bool {
    matches!(body, Body::Node(_) | Body::Fault(_) | Body::Healed)
}

#[cfg(test)]
mod tests {
    use triune_history::{At, Commit, NodeChange, ObjectChange};

    use super::*;
    use crate::run::Kind;

    fn event(at: u64, body: Body) -> Event {
        Event { at: At(at * 1_000_000_000), node: "n".into(), body }
    }

    fn get(id: u64, name: &str) -> Body {
        let key = ObjectKey { resource: "configmaps".into(), namespace: "a".into(), name: name.into() };
        Body::Invoke { id: OperationId(id), server: "api-1".into(), operation: Operation::Get { key } }
    }

    fn commit(revision: u64, name: &str) -> Body {
        let key = ObjectKey { resource: "configmaps".into(), namespace: "a".into(), name: name.into() };
        let objects = vec![ObjectChange { key, object: None }];
        Body::Commit(Commit { revision, objects, logged: vec![], compacted: vec![] })
    }

    fn check(events: &[Event], named: &[usize], expect: &[usize]) {
        let named = named.iter().copied().collect();
        assert_eq!(chosen(events, &named).into_iter().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn related_events_are_shown_and_others_are_not() {
        let mut events = vec![event(0, Body::Node(NodeChange::Crashed)), event(1, get(1, "x")), event(2, get(2, "y"))];
        events.extend((3..9).map(|index| event(index, commit(index, if index % 2 == 0 { "x" } else { "y" }))));
        events.push(event(9, Body::StreamEnd { id: OperationId(1), end: triune_history::StreamEnd::Broken }));
        // Of x and of request 1; the crash before; nothing of y.
        check(&events, &[4], &[0, 1, 4, 6, 8]);
        check(&events, &[9], &[0, 1, 9]);
        check(&events, &[], &[]);
    }

    #[test]
    fn the_excerpt_is_bounded_and_marks_what_is_named() {
        let events: Vec<Event> = (0..1000).map(|index| event(index, commit(index, "x"))).collect();
        let finding =
            |events| Finding { invariant: "S5".into(), kind: Kind::Safety, at: At(0), text: String::new(), events };
        let lines = excerpt(&events, &finding((0..1000).collect()));
        assert_eq!(lines.len(), LINES_MAX);
        let lines = excerpt(&events, &finding(vec![500, 5000]));
        assert_eq!(lines.iter().filter(|line| line.starts_with('>')).count(), 1);
        assert_eq!(lines.len(), 2 * AROUND + 1);
        let lines = excerpt(&events, &finding(vec![100, 500]));
        assert_eq!(lines.iter().filter(|line| line.as_str() == "  ...").count(), 1);
    }
}
