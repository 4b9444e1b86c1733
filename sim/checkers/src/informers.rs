//! Stores and handlers of informers (W17).
//!
//! - An informer's store at revision r is the state at r as far as it is selected.
//! - Its position does not go back while its node lives.
//! - Its handler sees, for each object, some of its versions in their order. The same version may come again, after a
//!   relist.

use std::collections::BTreeMap;

use triune_history::{Body, NodeChange};

use crate::{
    Checker, Findings,
    index::{Index, KeyId, VersionId},
    lists::describe_difference,
    view::Selection,
};

/// See the module.
pub const CHECKER: Checker =
    Checker { name: "informers", invariants: &["W17"], about: "stores of informers are states", run };

/// What handlers have been told last of each object: the version, or where it was gone at the latest.
type Told = BTreeMap<(u64, KeyId), VersionId>;

/// Position of an informer: the event of its last snapshot, its revision.
type Positions = BTreeMap<u64, (usize, u64)>;

fn run(index: &Index<'_>, findings: &mut Findings) {
    let mut nodes: BTreeMap<&str, (Positions, Told)> = BTreeMap::new();
    for (number, event) in index.events.iter().enumerate() {
        match &event.body {
            Body::Node(NodeChange::Crashed | NodeChange::Stopped | NodeChange::Started) => {
                nodes.remove(event.node.as_str());
            }
            Body::Informer { informer, resource, namespace, labels, revision, .. } => {
                let (positions, _) = nodes.entry(&event.node).or_default();
                let before = positions.insert(*informer, (number, *revision));
                if let Some((before, greater)) = before.filter(|(_, before)| before > revision) {
                    let text = format!("the informer of {resource} goes back from {greater} to {revision}");
                    findings.safety(index, "W17", &[before, number], text);
                }
                check_store(index, number, Selection { resource, namespace, labels }, *revision, findings);
            }
            Body::Handled { informer, key, object } => {
                let (_, told) = nodes.entry(&event.node).or_default();
                let Some(key) = index.key_id(key) else { continue };
                let last = told.get(&(*informer, key)).copied();
                match check_told(index, number, key, object.is_some(), last) {
                    Ok(now) => {
                        findings.checked("handled events");
                        if let Some(now) = now {
                            told.insert((*informer, key), now);
                        }
                    }
                    Err(text) => findings.safety(index, "W17", &[number], text),
                }
            }
            _ => {}
        }
    }
}

fn check_store<'a>(index: &Index<'a>, number: usize, selection: Selection<'a>, revision: u64, findings: &mut Findings) {
    findings.checked("stores of informers");
    let seen = index.seen(number);
    if seen.iter().any(Option::is_none) {
        // S1 says so.
        return;
    }
    let view = index.view(selection);
    let position = view.position(revision);
    if !view.is_state(position, seen) {
        let state: Vec<VersionId> = view.state(index, position).into_iter().map(|(_, version)| version).collect();
        let difference = describe_difference(index, seen, &state);
        let text = format!("the store of an informer of {} at {revision}: {difference}", selection.resource);
        findings.safety(index, "W17", &[number], text);
    }
}

/// The version that a handler now knows; None if it was told what it may be told, and it is no version.
fn check_told(
    index: &Index<'_>,
    number: usize,
    key: KeyId,
    present: bool,
    last: Option<VersionId>,
) -> Result<Option<VersionId>, String> {
    let name = index.key(key).key;
    if present {
        let Some(version) = index.seen(number).first().copied().flatten() else { return Ok(None) };
        return match last.filter(|last| *last > version) {
            Some(last) => {
                let (from, to) = (index.version(last).revision, index.version(version).revision);
                Err(format!("a handler is told of {name} at {to} after {from}"))
            }
            None => Ok(Some(version)),
        };
    }
    // Gone from the store, or from the selection: the first version after the last one that may be that.
    let versions = &index.key(key).versions;
    let after = versions
        .iter()
        .copied()
        .find(|version| last.is_none_or(|last| *version > last) && index.version(*version).event < number);
    match after {
        Some(version) => Ok(Some(version)),
        None => Err(format!("a handler is told that {name} is gone, and it did not change since")),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    const CHANGES: &str = "c 5 cm/a/x=one\nc 6 cm/a/y=one\nc 7 cm/a/x=two\nc 8 cm/a/x=-\nc 9 cm/a/x=three\n";

    fn check_informer(rest: &str, expect: &str) {
        check(&format!("{CHANGES}{rest}"), expect);
    }

    #[test]
    fn w17_a_store_is_the_state_at_its_position() {
        check_informer("informer cm @6 cm/a/x@5 cm/a/y@6\ninformer cm @9 cm/a/x@9 cm/a/y@6", "");
        check_informer("informer cm @9 cm/a/x@7 cm/a/y@6", "W17");
        check_informer("informer cm @9 cm/a/y@6", "W17");
        check_informer("informer cm @8 cm/a/x@7 cm/a/y@6", "W17");
        check_informer("informer cm @9 cm/a/x@9 cm/a/y@6\ninformer cm @6 cm/a/x@5 cm/a/y@6", "W17");
        check_informer("informer cm @9 cm/a/x@9 cm/a/y@6\nclient-1 started\ninformer cm @6 cm/a/x@5 cm/a/y@6", "");
    }

    #[test]
    fn w17_handlers_see_versions_in_order() {
        check_informer(
            "handled cm/a/x@5\nhandled cm/a/x@7\nhandled cm/a/x gone\nhandled cm/a/x@9\nhandled cm/a/x@9",
            "",
        );
        // After a relist some are left out.
        check_informer("handled cm/a/x@5\nhandled cm/a/x@9", "");
        check_informer("handled cm/a/x@7\nhandled cm/a/x@5", "W17");
        check_informer("handled cm/a/x@9\nhandled cm/a/x gone", "W17");
        check_informer("handled cm/a/x@9\nclient-1 crashed\nhandled cm/a/x@5", "");
    }
}
