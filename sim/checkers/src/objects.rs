//! Namespaces and finalizers, judged on commits.
//!
//! - D1: a namespaced object is created only while its namespace exists and is not terminating.
//! - D2: a namespace goes only when no object is left in it. That none appears later is D1.
//! - G5: an object goes only if it was terminating and nothing held it, or nothing held it and a delete was asked. The
//!   update that takes away the last finalizer of a terminating object removes it in the same transaction; so does a
//!   delete whose policy takes away the garbage collector's own finalizers.
//! - G6: no finalizer is added after deletionTimestamp.

use std::collections::{BTreeMap, BTreeSet};

use triune_history::{Object, ObjectKey, Operation};

use crate::{
    Checker, Findings,
    index::{Index, Record, VersionId},
    outcomes::{is_own_write, may_be_of_collection},
};

/// See the module.
pub const CHECKER: Checker = Checker {
    name: "objects",
    invariants: &["D1", "D2", "G5", "G6"],
    about: "namespaces hold their objects, finalizers hold theirs",
    run,
};

/// Finalizers that the policy of a delete adds and takes away.
const COLLECTORS: [&str; 2] = ["orphan", "foregroundDeletion"];

fn run(index: &Index<'_>, findings: &mut Findings) {
    check_namespaces(index, findings);
    check_finalizers(index, findings);
}

/// A pass over commits with the state of namespaces.
fn check_namespaces(index: &Index<'_>, findings: &mut Findings) {
    let mut namespaces: BTreeMap<&str, &Object> = BTreeMap::new();
    let mut contents: BTreeMap<&str, BTreeMap<u32, usize>> = BTreeMap::new();
    let mut first = 0;
    // What one transaction does is one step: conditions are on the state before it.
    while first < index.versions.len() {
        let event = index.versions[first].event;
        let count = index.versions[first..].iter().take_while(|version| version.event == event).count();
        let step = first..first + count;
        for place in step.clone() {
            let version = &index.versions[place];
            let key = index.key(version.key).key;
            let is_new = version.object.is_some() && index.object_before(VersionId(place as u32)).is_none();
            if is_new && !key.namespace.is_empty() {
                findings.checked("creates in namespaces");
                let why = match namespaces.get(key.namespace.as_str()) {
                    None => "does not exist",
                    Some(namespace) if namespace.deleted_at.is_some() => "is terminating",
                    Some(_) => continue,
                };
                let text = format!("{key} is created, and its namespace {why}");
                findings.safety(index, "D1", &[event], text);
            }
        }
        for version in &index.versions[step.clone()] {
            let key = index.key(version.key).key;
            if key.namespace.is_empty() {
                continue;
            }
            let within = contents.entry(&key.namespace).or_default();
            match version.object {
                Some(_) => within.insert(version.key.0, version.event),
                None => within.remove(&version.key.0),
            };
        }
        for version in &index.versions[step] {
            let key = index.key(version.key).key;
            if key.resource != "namespaces" {
                continue;
            }
            match version.object {
                Some(object) => {
                    namespaces.insert(&key.name, object);
                }
                None => {
                    namespaces.remove(key.name.as_str());
                    check_emptied(index, key, event, contents.get(key.name.as_str()), findings);
                }
            }
        }
        first += count;
    }
}

fn check_emptied(
    index: &Index<'_>,
    namespace: &ObjectKey,
    event: usize,
    contents: Option<&BTreeMap<u32, usize>>,
    findings: &mut Findings,
) {
    let Some((left, written)) = contents.and_then(|contents| contents.first_key_value()) else { return };
    let left = index.keys[*left as usize].key;
    findings.safety(index, "D2", &[*written, event], format!("{namespace} goes, and {left} is still in it"));
}

fn check_finalizers(index: &Index<'_>, findings: &mut Findings) {
    let written = index.written_resources();
    for (place, version) in index.versions.iter().enumerate() {
        let id = VersionId(place as u32);
        let key = index.key(version.key).key;
        let Some(before) = index.object_before(id) else { continue };
        let events = [version.previous.map_or(0, |previous| index.version(previous).event), version.event];
        let Some(after) = version.object else {
            findings.checked("removals");
            if let Some(why) = wrongly_removed(index, &written, id, before) {
                findings.safety(index, "G5", &events, format!("{key} goes, and {why}"));
            }
            continue;
        };
        let added = after.finalizers.iter().find(|name| !before.finalizers.contains(name));
        if let (Some(_), Some(added)) = (&before.deleted_at, added) {
            let text = format!("the finalizer {added} is added to {key}, which is terminating");
            findings.safety(index, "G6", &events, text);
        }
    }
}

/// Why an object may not go in this version.
fn wrongly_removed(index: &Index<'_>, written: &BTreeSet<&str>, id: VersionId, before: &Object) -> Option<String> {
    let version = index.version(id);
    let history = index.key(version.key);
    let key = history.key;
    if is_own_write(index.options, key) || index.options.expiring.contains(&key.resource) {
        return None;
    }
    let held = before.finalizers.iter().any(|name| !COLLECTORS.contains(&name.as_str()));
    let terminating = before.deleted_at.is_some();
    if before.finalizers.is_empty() && terminating {
        return None;
    }
    let at_work = |record: &&Record<'_>| {
        record.invoked < version.event
            && !record.definitely_failed()
            && version.event < record.effect_until(index.events.len())
    };
    let mut on_key = history.operations.iter().map(|place| &index.operations[*place]).filter(at_work);
    let frees = |record: &Record<'_>| match record.operation {
        Operation::Update { object, .. } => object.finalizers.is_empty(),
        Operation::Patch { .. } => true,
        _ => false,
    };
    if held {
        if terminating && on_key.any(frees) {
            return None;
        }
        return Some(format!("its finalizers are {:?}", before.finalizers));
    }
    let deletes = |record: &Record<'_>| matches!(record.operation, Operation::Delete { .. });
    let frees_or_deletes = |record: &Record<'_>| deletes(record) || (terminating && frees(record));
    let by_collection = || index.operations.iter().any(|record| may_be_of_collection(index, record, id));
    if !written.contains(key.resource.as_str()) || on_key.any(frees_or_deletes) || by_collection() {
        None
    } else {
        Some("nobody asked for that".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    #[test]
    fn d1_objects_are_created_in_active_namespaces() {
        check("c 4 namespaces/z=active\nc 5 cm/z/x=one", "");
        check("c 5 cm/z/x=one", "D1");
        check("c 4 namespaces/z=active\nc 5 namespaces/z=going,d=10\nc 6 cm/z/x=one", "D1");
        check("c 4 namespaces/z=active\nc 5 cm/z/x=one\nc 6 namespaces/z=going,d=10\nc 7 cm/z/x=two", "");
    }

    #[test]
    fn d2_a_namespace_goes_when_it_is_empty() {
        let filled = "c 4 namespaces/z=active\nc 5 cm/z/x=one\nc 6 namespaces/z=going,d=10";
        check(&format!("{filled}\nc 7 cm/z/x=-\nc 8 namespaces/z=-"), "");
        check(&format!("{filled}\nc 7 namespaces/z=-"), "D2");
        check(&format!("{filled}\nc 7 cm/z/x=-\nc 8 namespaces/z=-\nc 9 cm/z/y=late"), "D1");
    }

    #[test]
    fn g5_what_is_held_stays() {
        let held = "w 5 cm/a/x=one,f=f\n> 1 delete cm/a/x\nc 6 cm/a/x=one,f=f,d=10\n< 1 200 cm/a/x@6";
        check(&format!("{held}\n> 2 update cm/a/x=one,d=10 expect=6\nc 7 cm/a/x=-\n< 2 200 cm/a/x@6^7"), "");
        check(&format!("{held}\n> 2 delete cm/a/x\nc 7 cm/a/x=-\n< 2 200"), "G5");
        check("w 5 cm/a/x=one,f=f\nw 6 cm/a/x=-", "G5");
        check("w 5 cm/a/x=one,f=orphan\nw 6 cm/a/x=-", "");
        check("w 5 cm/a/x=one\nw 6 cm/a/x=-", "");
        check("w 5 cm/a/x=one\n> 1 deleteall cm ns=a\nc 6 cm/a/x=-\n< 1 200 @5 cm/a/x@5", "");
        // Nobody asked: the commit has no request either.
        check("w 5 cm/a/x=one\nc 6 cm/a/x=-", "G5 S6");
    }

    #[test]
    fn g6_no_finalizer_comes_after_deletion() {
        let marked = "c 5 cm/a/x=one,f=f\nc 6 cm/a/x=one,f=f,f=orphan,d=10";
        check(marked, "");
        check(&format!("{marked}\nc 7 cm/a/x=one,f=f,d=10"), "");
        check(&format!("{marked}\nc 7 cm/a/x=one,f=f,f=late,d=10"), "G6");
    }
}
