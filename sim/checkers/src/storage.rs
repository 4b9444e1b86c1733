//! Commits, and that what is shown is what was committed.
//!
//! - S1: revisions of commits grow; a row carries the revision of its commit; an object that is shown has the revision of
//!   a version that was committed before.
//! - S3: uid and creationTimestamp stay within an incarnation, a uid is minted once, deletionTimestamp is neither unset
//!   nor moved later.
//! - S4: no list or bookmark shows a revision below which something is still to be committed.
//! - S5: compaction floors grow, are not above their commit, and are not set more often than asked.
//! - S9: object rows and rows of the change log are written together: what watches are fed from has no gap.
//! - S10: an object that goes leaves an ordinary delete in the change log, also when it expires.
//! - S11: a list, stream or collection delete of a namespace touches only that.
//! - W19: an object at a revision is the same for everyone.

use std::collections::BTreeMap;

use triune_history::{Body, Commit, Object, ObjectKey, Operation, Outcome, StreamItem};

use crate::{
    Checker, Findings,
    index::{Index, VersionId, objects_shown, operation_resource},
};

/// See the module.
pub const CHECKER: Checker = Checker {
    name: "storage",
    invariants: &["S1", "S3", "S4", "S5", "S9", "S10", "S11", "W19"],
    about: "commits are well formed, and what is shown is what was committed",
    run,
};

fn run(index: &Index<'_>, findings: &mut Findings) {
    check_commits(index, findings);
    check_incarnations(index, findings);
    check_floors(index, findings);
    check_shown(index, findings);
    check_future(index, findings);
}

/// S1, S9, S10 of each commit.
fn check_commits(index: &Index<'_>, findings: &mut Findings) {
    let mut last: Option<(usize, u64)> = None;
    for (number, event) in index.events.iter().enumerate() {
        let Body::Commit(commit) = &event.body else { continue };
        findings.checked("commits");
        if let Some((before, revision)) = last.filter(|(_, revision)| commit.revision <= *revision) {
            let text = format!("commit {} follows commit {revision}", commit.revision);
            findings.safety(index, "S1", &[before, number], text);
        }
        last = Some((number, commit.revision));
        for change in &commit.objects {
            let wrong = change.object.as_ref().filter(|object| object.revision != commit.revision);
            if let Some(object) = wrong {
                let text =
                    format!("the row of {} says {}, its commit {}", change.key, object.revision, commit.revision);
                findings.safety(index, "S1", &[number], text);
            }
        }
        check_log_rows(index, number, commit, findings);
    }
}

fn check_log_rows(index: &Index<'_>, number: usize, commit: &Commit, findings: &mut Findings) {
    for change in &commit.objects {
        let deleted = change.object.is_none();
        let logged = commit.logged.iter().filter(|(key, _)| *key == change.key);
        let rows: Vec<bool> = logged.map(|(_, deleted)| *deleted).collect();
        if rows == [deleted] {
            continue;
        }
        let invariant = if deleted { "S10" } else { "S9" };
        let what = if deleted { "is removed" } else { "is written" };
        let text = format!("{} {what} and the change log has {}", change.key, log_rows(&rows));
        findings.safety(index, invariant, &[number], text);
    }
    for (key, _) in &commit.logged {
        if !commit.objects.iter().any(|change| change.key == *key) {
            findings.safety(index, "S9", &[number], format!("the change log has {key}, whose row did not change"));
        }
    }
}

fn log_rows(rows: &[bool]) -> String {
    match rows {
        [] => "nothing of it".to_owned(),
        [true] => "a delete".to_owned(),
        [false] => "a put".to_owned(),
        more => format!("{} rows of it", more.len()),
    }
}

/// S3.
fn check_incarnations(index: &Index<'_>, findings: &mut Findings) {
    let mut minted: BTreeMap<&str, VersionId> = BTreeMap::new();
    for (place, version) in index.versions.iter().enumerate() {
        let id = VersionId(place as u32);
        let Some(object) = version.object else { continue };
        let key = index.key(version.key).key;
        if object.name != key.name || object.namespace != key.namespace {
            let text = format!("the object stored as {key} calls itself {}/{}", object.namespace, object.name);
            findings.safety(index, "S3", &[version.event], text);
        }
        let Some(before) = index.object_before(id) else {
            if !object.uid.is_empty()
                && let Some(first) = minted.insert(&object.uid, id)
            {
                let (other, first) = (index.key(index.version(first).key).key, index.version(first).event);
                let text = format!("the uid {} of {key} was that of {other} before", object.uid);
                findings.safety(index, "S3", &[first, version.event], text);
            }
            continue;
        };
        let events = [version.previous.map_or(0, |previous| index.version(previous).event), version.event];
        if let Some(text) = changed_within_incarnation(key, before, object) {
            findings.safety(index, "S3", &events, text);
        }
    }
}

fn changed_within_incarnation(key: &ObjectKey, before: &Object, after: &Object) -> Option<String> {
    if before.uid != after.uid {
        return Some(format!("the uid of {key} becomes {} without a delete; it was {}", after.uid, before.uid));
    }
    if before.created_at != after.created_at {
        return Some(format!("creationTimestamp of {key} becomes {}; it was {}", after.created_at, before.created_at));
    }
    match (&before.deleted_at, &after.deleted_at) {
        (Some(before), None) => Some(format!("deletionTimestamp of {key} is unset; it was {before}")),
        // RFC 3339 in UTC and of one length: later texts are later times. To move it earlier is allowed.
        (Some(before), Some(after)) if after > before => {
            Some(format!("deletionTimestamp of {key} moves from {before} to {after}"))
        }
        _ => None,
    }
}

/// S5.
fn check_floors(index: &Index<'_>, findings: &mut Findings) {
    for (name, resource) in &index.resources {
        let mut last: Option<(usize, u64)> = None;
        let mut goes_on = false;
        for (event, floor) in &resource.floors {
            let Body::Commit(commit) = &index.events[*event].body else { continue };
            if *floor > commit.revision {
                let text = format!("{name} is compacted to {floor}, and the commit is {}", commit.revision);
                findings.safety(index, "S5", &[*event], text);
            }
            if let Some((before, lower)) = last {
                let elapsed = index.at(*event).0 - index.at(before).0;
                if *floor <= lower {
                    let text = format!("the compaction floor of {name} goes from {lower} to {floor}");
                    findings.safety(index, "S5", &[before, *event], text);
                } else if !goes_on && u128::from(elapsed) < index.options.compaction_interval.as_nanos() {
                    let text = format!("{name} is compacted again after {} ms", elapsed / 1_000_000);
                    findings.safety(index, "S5", &[before, *event], text);
                }
            }
            let removed = logged_rows(index, name, last.map_or(0, |(_, lower)| lower), *floor);
            goes_on = removed >= index.options.rows_per_compaction;
            last = Some((*event, *floor));
        }
    }
}

/// Rows that the log of a resource had above `lower` and up to `floor`.
fn logged_rows(index: &Index<'_>, resource: &str, lower: u64, floor: u64) -> u64 {
    let commits = index.events.iter().filter_map(|event| match &event.body {
        Body::Commit(commit) if commit.revision > lower && commit.revision <= floor => Some(commit),
        _ => None,
    });
    let rows =
        |commit: &triune_history::Commit| commit.logged.iter().filter(|(key, _)| key.resource == resource).count();
    commits.map(rows).sum::<usize>() as u64
}

/// S1, S11 and W19 of what clients see.
fn check_shown(index: &Index<'_>, findings: &mut Findings) {
    for (number, event) in index.events.iter().enumerate() {
        let (resource, namespace) = match &event.body {
            Body::Answer { id, .. } | Body::Stream { id, .. } => {
                let Some(record) = index.operation(*id) else { continue };
                (operation_resource(record.operation), selected_namespace(record.operation))
            }
            Body::Informer { resource, namespace, .. } => (Some(resource.as_str()), namespace.as_str()),
            Body::Handled { key, .. } => (Some(key.resource.as_str()), ""),
            _ => continue,
        };
        let Some(resource) = resource else { continue };
        for (object, version) in objects_shown(&event.body).zip(index.seen(number)) {
            findings.checked("objects shown");
            if !namespace.is_empty() && object.namespace != namespace {
                let text =
                    format!("{resource} of {namespace:?} were asked for, {}/{} came", object.namespace, object.name);
                findings.safety(index, "S11", &[number], text);
                break;
            }
            let Some(id) = version else {
                // An object of a delete that has left may be shown at a revision of its own.
                if is_success(&event.body) {
                    let name = object.key(resource);
                    let text = format!("{name} is shown at {}, which no commit made", object.revision);
                    findings.safety(index, "S1", &[number], text);
                    break;
                }
                continue;
            };
            check_version(index, number, object, *id, findings);
        }
    }
}

fn check_version(index: &Index<'_>, number: usize, object: &Object, id: VersionId, findings: &mut Findings) {
    let version = index.version(id);
    let key = index.key(version.key).key;
    if version.event > number {
        let text = format!("{key} is shown at {} before it was committed", object.revision);
        return findings.safety(index, "S1", &[number, version.event], text);
    }
    // What a removed object was is told by its DELETED event (W9) and by the answer, each with its own body; what left a
    // selection is shown in its last state, too.
    let deleted = matches!(&index.events[number].body, Body::Stream { item: StreamItem::Deleted(_), .. });
    if let Some(committed) = version.object.filter(|committed| !deleted && committed.digest != object.digest) {
        let text = format!(
            "{key} at {} is shown as {:016x} and was committed as {:016x}",
            object.revision, object.digest, committed.digest
        );
        findings.safety(index, "W19", &[version.event, number], text);
    }
}

fn is_success(body: &Body) -> bool {
    match body {
        Body::Answer { outcome: Outcome::Answered(answer), .. } => (200..300).contains(&answer.code),
        _ => true,
    }
}

fn selected_namespace(operation: &Operation) -> &str {
    match operation {
        Operation::List { namespace, .. }
        | Operation::Watch { namespace, .. }
        | Operation::DeleteCollection { namespace, .. } => namespace,
        _ => "",
    }
}

/// S4.
fn check_future(index: &Index<'_>, findings: &mut Findings) {
    let mut greatest: (u64, usize) = (0, 0);
    for (number, event) in index.events.iter().enumerate() {
        let shown = match &event.body {
            Body::Answer { outcome: Outcome::Answered(answer), .. } if answer.code < 300 => {
                answer.list.as_ref().map(|list| list.revision)
            }
            Body::Stream { item: StreamItem::Bookmark { revision, .. }, .. } => Some(*revision),
            Body::Informer { revision, .. } => Some(*revision),
            _ => None,
        };
        greatest = greatest.max((shown.unwrap_or(0), number));
        if let Body::Commit(commit) = &event.body
            && commit.revision <= greatest.0
        {
            let text = format!("revision {} was shown, and {} was committed after that", greatest.0, commit.revision);
            findings.safety(index, "S4", &[greatest.1, number], text);
            greatest.0 = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::testing::{check, check_with, options};

    #[test]
    fn what_was_committed_is_shown() {
        check(
            "c 5 cm/a/x=one\nc 6 cm/a/y=two\n> 1 get cm/a/x\n< 1 200 cm/a/x@5\n> 2 list cm\n< 2 200 @6 cm/a/x@5 cm/a/y@6",
            "",
        );
    }

    #[test]
    fn s1_revisions_grow_and_are_those_of_commits() {
        check("c 5 cm/a/x=one\nc 5 cm/a/y=two,u=other", "S1");
        check("c 5 cm/a/x=one\n> 1 list cm\n< 1 200 @6 cm/a/x@5^6", "S1");
        check("> 1 list cm rv=any\n< 1 200 @4 cm/a/x@4", "S1");
    }

    #[test]
    fn s3_an_incarnation_keeps_its_identity() {
        check("c 5 cm/a/x=one\nc 6 cm/a/x=two,u=other", "S3");
        check("c 5 cm/a/x=one\nc 6 cm/a/x=two,t=9", "S3");
        check("c 5 cm/a/x=one\nc 6 cm/a/y=two,u=uid-5", "S3");
        check("c 5 cm/a/x=one,f=f\nc 6 cm/a/x=one,f=f,d=10\nc 7 cm/a/x=two,f=f", "S3");
        check("c 5 cm/a/x=one,f=f\nc 6 cm/a/x=one,f=f,d=10\nc 7 cm/a/x=two,f=f,d=11", "S3");
        check("c 5 cm/a/x=one,f=f\nc 6 cm/a/x=one,f=f,d=12\nc 7 cm/a/x=two,f=f,d=11", "");
    }

    #[test]
    fn s4_nothing_is_committed_below_what_was_shown() {
        check("c 5 cm/a/x=one\n> 1 list secrets\n< 1 200 @8\nc 7 cm/a/x=two", "S4");
        check("> 1 watch secrets from=5 bookmarks\n< 1 200\n~ 1 BOOKMARK 8\nc 7 cm/a/x=two", "S4");
    }

    #[test]
    fn s5_floors_grow_and_not_too_often() {
        check("c 5 cm/a/x=one\nc 6 floor:cm=5\nc 8 floor:cm=7", "");
        check("c 5 cm/a/x=one\nc 6 floor:cm=7", "S5");
        check("c 5 cm/a/x=one\nc 6 floor:cm=5\nc 7 floor:cm=4", "S5");
        let slow = crate::CheckOptions { compaction_interval: Duration::from_secs(300), ..options() };
        check_with(&slow, "c 6 floor:cm=5\nwait 200s\nc 8 floor:cm=7", "S5");
        check_with(&slow, "c 6 floor:cm=5\nwait 400s\nc 8 floor:cm=7", "");
        // A compaction of many rows takes several transactions.
        let batches = crate::CheckOptions { rows_per_compaction: 2, ..slow };
        let rows = "c 5 cm/a/x=one\nc 6 cm/a/y=one\nc 7 cm/a/z=one\nc 8 cm/a/z=two";
        check_with(&batches, &format!("{rows}\nc 9 floor:cm=6\nwait 1s\nc 10 floor:cm=7"), "");
        check_with(&batches, &format!("{rows}\nc 9 floor:cm=5\nwait 1s\nc 10 floor:cm=6"), "S5");
    }

    #[test]
    fn s9_rows_and_log_agree() {
        check("c 5 cm/a/x=one nolog:cm/a/x", "S9");
        check("c 5 cm/a/x=one log:cm/a/x", "S9");
        check("c 5 cm/a/x=one log:cm/a/y", "S9");
    }

    #[test]
    fn s10_what_goes_leaves_a_delete() {
        check("c 5 events/a/x=one\nc 6 events/a/x=-", "");
        check("c 5 events/a/x=one\nc 6 events/a/x=- nolog:events/a/x", "S10");
        check("c 5 events/a/x=one\nc 6 events/a/x=- nolog:events/a/x log:events/a/x", "S10");
    }

    #[test]
    fn s11_a_namespace_is_no_prefix() {
        let list = "c 5 cm/ab/x=one\n> 1 list cm ns=a\n< 1 200 @5";
        check(list, "");
        check(&format!("{list} cm/ab/x@5"), "S11");
        check("c 5 cm/ab/x=one\n> 1 watch cm ns=a from=4\n< 1 200\n~ 1 ADDED cm/ab/x@5", "S11");
        check("c 5 cm/ab/x=one\n> 1 watch cm ns=a\n< 1 200\n~ 1 ADDED cm/ab/x@5", "S11");
        check("w 5 cm/ab/x=one\n> 1 deleteall cm ns=a\n< 1 200 @5 cm/ab/x@5", "S11");
    }

    #[test]
    fn w19_an_object_at_a_revision_is_the_same_for_everyone() {
        check("c 5 cm/a/x=one\n> 1 get cm/a/x\n< 1 200 cm/a/x@5#9", "W19");
        check("c 5 cm/a/x=one\n> 1 list cm\n< 1 200 @5 cm/a/x@5#9", "W19");
        check("c 5 cm/a/x=one\n> 1 watch cm from=4\n< 1 200\n~ 1 ADDED cm/a/x@5#9", "W19");
        check("c 5 cm/a/x=one\ninformer cm @5 cm/a/x@5#9", "W19");
    }
}
