//! Owners of fields, judged on labels that only their owner applies (`own-NAME`, `own-NAME-more`).
//!
//! - O1: what an owner applied stays as it is until the owner applies something else, or the object goes.
//! - O2: an apply that is told success shows what it applied, and nothing that the owner left out.
//! - O3: an apply of fields that nobody else owns never conflicts.

use std::collections::BTreeMap;

use serde_json::Value;
use triune_history::{Object, Operation};

use crate::{
    Checker, Findings,
    index::{Index, Record},
};

/// See the module.
pub const CHECKER: Checker = Checker {
    name: "owners",
    invariants: &["O1", "O2", "O3"],
    about: "what somebody applied stays until they apply something else",
    run,
};

const OWN: &str = "own-";
const MORE: &str = "-more";

/// Labels of one owner.
type Owned = BTreeMap<String, String>;

fn run(index: &Index<'_>, findings: &mut Findings) {
    for history in &index.keys {
        let records = history.operations.iter().map(|place| &index.operations[*place]);
        let applies: Vec<(&Record<'_>, BTreeMap<String, Owned>)> =
            records.filter_map(|record| Some((record, configuration(record.operation)?))).collect();
        for (record, applied) in &applies {
            check_answer(index, record, applied, findings);
        }
        let nothing = BTreeMap::new();
        for id in &history.versions {
            let version = index.version(*id);
            let Some(object) = version.object else { continue };
            let before = index.object_before(*id).filter(|before| before.uid == object.uid);
            let (before, after) = (before.map_or(nothing.clone(), owned), owned(object));
            for owner in before.keys().chain(after.keys()) {
                findings.checked("fields of owners");
                let [was, is] = [&before, &after].map(|owners| owners.get(owner));
                let explained = |(record, applied): &&(&Record<'_>, BTreeMap<String, Owned>)| {
                    record.invoked < version.event
                        && version.event < record.effect_until(index.events.len())
                        && !record.definitely_failed()
                        && is.is_some()
                        && applied.get(owner) == is
                };
                if was == is || applies.iter().any(|apply| explained(&apply)) {
                    continue;
                }
                let text = format!(
                    "{} at {}: what {owner} applied was {was:?} and is {is:?}, and {owner} did not apply that",
                    history.key, version.revision
                );
                let events: Vec<usize> =
                    version.previous.map(|previous| index.version(previous).event).into_iter().collect();
                findings.safety(index, "O1", &[events, vec![version.event]].concat(), text);
            }
        }
    }
}

fn check_answer(index: &Index<'_>, record: &Record<'_>, applied: &BTreeMap<String, Owned>, findings: &mut Findings) {
    let Some((event, answer)) = record.answer() else { return };
    findings.checked("applies");
    if answer.code == 409 && answer.causes.iter().any(|cause| cause == "FieldManagerConflict") {
        let text = format!("an apply of fields that nobody else owns conflicts: {}", answer.message);
        return findings.safety(index, "O3", &[record.invoked, event], text);
    }
    let (Some((event, _)), Some(object)) = (record.success(), &answer.object) else { return };
    let shown = owned(object);
    for (owner, labels) in applied {
        if shown.get(owner) != Some(labels) {
            let text = format!("{owner} applied {labels:?} and is shown {:?}", shown.get(owner));
            findings.safety(index, "O2", &[record.invoked, event], text);
        }
    }
}

/// What an apply says of owners' labels; None if it says nothing.
fn configuration(operation: &Operation) -> Option<BTreeMap<String, Owned>> {
    let Operation::Patch { kind, patch, .. } = operation else { return None };
    if kind != "apply" {
        return None;
    }
    let patch: Value = serde_json::from_str(patch).ok()?;
    let labels = patch.pointer("/metadata/labels")?.as_object()?;
    let labels = labels.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    Some(by_owner(labels)).filter(|owners| !owners.is_empty())
}

fn owned(object: &Object) -> BTreeMap<String, Owned> {
    by_owner(object.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

fn by_owner<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, Owned> {
    let mut owners: BTreeMap<String, Owned> = BTreeMap::new();
    for (name, value) in labels {
        let Some(owner) = name.strip_prefix(OWN) else { continue };
        let owner = owner.strip_suffix(MORE).unwrap_or(owner);
        owners.entry(owner.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }
    owners
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    const FIRST: &str = r#"
        > 1 apply cm/a/x={"metadata":{"labels":{"own-p":"1"}}}
        c 5 cm/a/x=one,l=own-p:1
        < 1 201 cm/a/x@5
    "#;

    fn check_after(text: &str, expect: &str) {
        check(&format!("{FIRST}{text}"), expect);
    }

    #[test]
    fn owners_keep_what_they_applied() {
        check_after("", "");
        let second = r#"> 2 apply cm/a/x={"metadata":{"labels":{"own-q":"1","own-q-more":"1"}}}"#;
        let both = "l=own-p:1,l=own-q:1,l=own-q-more:1";
        check_after(&format!("{second}\nc 6 cm/a/x=two,{both}\n< 2 200 cm/a/x@6"), "");
        // q's apply takes away what p applied, or puts an old value back.
        check_after(&format!("{second}\nc 6 cm/a/x=two,l=own-q:1,l=own-q-more:1\n< 2 200 cm/a/x@6"), "O1");
        check_after(&format!("{second}\nc 6 cm/a/x=two,l=own-p:0,l=own-q:1,l=own-q-more:1\n< 2 200 cm/a/x@6"), "O1");
        // An apply that nobody knows the end of explains its labels, and those alone.
        check_after(&format!("{second}\n< 2 lost\nc 6 cm/a/x=two,{both}"), "");
        check_after(&format!("{second}\n< 2 lost\nc 6 cm/a/x=two,l=own-p:1,l=own-q:2"), "O1");
        // An update may not, whoever makes it; and a new incarnation has no owners before its apply.
        check_after("w 6 cm/a/x=two", "O1");
        check_after("w 6 cm/a/x=-\nw 7 cm/a/x=one", "");
        check_after("w 6 cm/a/x=-\nw 7 cm/a/x=one,l=own-p:1", "O1");
    }

    #[test]
    fn applies_show_what_they_applied() {
        let again = r#"> 2 apply cm/a/x={"metadata":{"labels":{"own-p":"2"}}}"#;
        check_after(&format!("{again}\nc 6 cm/a/x=two,l=own-p:2\n< 2 200 cm/a/x@6"), "");
        check_after(&format!("{again}\nc 6 cm/a/x=two,l=own-p:2,l=own-p-more:1\n< 2 200 cm/a/x@6"), "O1 O2");
        check_after(&format!("{again}\n< 2 200 cm/a/x@5"), "O2");
    }

    #[test]
    fn own_fields_do_not_conflict() {
        let again = r#"> 2 apply cm/a/x={"metadata":{"labels":{"own-p":"2"}}}"#;
        check_after(&format!("{again}\n< 2 409 Conflict"), "");
        check_after(&format!("{again}\n< 2 409 Conflict cause=FieldManagerConflict"), "O3");
    }
}
