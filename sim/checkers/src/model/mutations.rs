//! Mutations of valid histories, one wrong thing each: of what streams, lists, answers and informers show, and of commits.

use std::collections::BTreeMap;

use triune_history::{
    At, Body, Commit, Event, ListAnswer, Object, ObjectChange, ObjectKey, Operation, OperationId, Outcome, StreamItem,
    Version, WatchFrom,
};

use super::{RESOURCES, Random, error};

/// A mutation: None where there is nothing to mutate.
pub(super) type Mutate = fn(&mut Random, &[Event]) -> Option<Vec<Event>>;

/// Mutations, each of which some checker must find wherever it applies.
pub(super) const MUTATIONS: [(&str, Mutate); 30] = [
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
