//! What holds for all objects.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use triune_api::meta;

use crate::apply::{
    FieldManager, MergeSchema, ResetFields, Set, Versions, compare::compare, element::same, merge, validate,
};

struct Deduced;

impl Versions for Deduced {
    fn schema(&self, _: &str) -> Option<MergeSchema> {
        Some(MergeSchema::deduced())
    }
    fn convert(&self, _: &Value, _: &str) -> Option<Value> {
        None
    }
    fn reset_fields(&self, _: &str) -> Option<Arc<ResetFields>> {
        None
    }
}

fn apply(live: &Value, manager: &str, now: &str, applied: &Value) -> Value {
    let mut applied = applied.clone();
    applied["apiVersion"] = "g/v1".into();
    applied["kind"] = "K".into();
    let fields = FieldManager { api_version: "g/v1", subresource: "", versions: &Deduced, now };
    fields.apply(live, &applied, manager, true, &|object| meta::set_uid(object, "u")).unwrap()
}

/// Trees of few names, so that they meet.
fn trees() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[a-c]{1,2}".prop_map(Value::from),
        prop::collection::vec(0..3_i64, 0..3).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop::collection::btree_map("[a-d]", inner, 1..4).prop_map(|map| Value::Object(map.into_iter().collect()))
    })
}

fn objects() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]", trees(), 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// `fieldsV1` of any steps.
fn fields() -> impl Strategy<Value = Value> {
    let step = prop_oneof![
        "f:[a-c./:]{0,3}",
        "[a-c\"\\\\é<]{0,3}".prop_map(|text| format!("v:{}", json!(text))),
        (-2..12_i64).prop_map(|number| format!("v:{number}")),
        (0..12_u8).prop_map(|at| format!("i:{at}")),
        ("[ab]", 0..12_i64, "[a-b]{0,2}")
            .prop_map(|(name, number, text)| format!("k:{}", json!({name: text, "n": number}))),
    ];
    let leaf = Just(json!({}));
    leaf.prop_recursive(3, 24, 4, move |inner| {
        (prop::collection::btree_map(step.clone(), inner, 1..4), any::<bool>()).prop_map(|(map, member)| {
            let mut object: Map<String, Value> = map.into_iter().collect();
            if member {
                object.insert(".".into(), json!({}));
            }
            Value::Object(object)
        })
    })
}

proptest! {
    #[test]
    fn sets_are_read_as_written(fields in fields()) {
        let set = Set::parse(&fields).unwrap();
        let written = set.to_value();
        prop_assert_eq!(Set::parse(&written).unwrap(), set.clone());
        let (again, exact) = Set::parse_exact(&written).unwrap();
        prop_assert_eq!(again.to_value(), written);
        prop_assert!(exact);
    }

    #[test]
    fn sets_keep_the_laws(a in fields(), b in fields()) {
        let (a, b) = (Set::parse(&a).unwrap(), Set::parse(&b).unwrap());
        let both = a.intersection(&b);
        prop_assert_eq!(a.intersects(&b), !both.is_empty());
        prop_assert_eq!(&b.intersection(&a), &both);
        prop_assert!(both.is_subset(&a) && both.is_subset(&b));
        let all = a.clone().union(b.clone());
        prop_assert_eq!(&b.clone().union(a.clone()), &all);
        prop_assert_eq!(all.len() + both.len(), a.len() + b.len());
        prop_assert_eq!(a.clone().difference(&b).union(both), a.clone());
        prop_assert!(!a.clone().difference(&b).intersects(&b));
        prop_assert!(a.clone().recursive_difference(&b).is_subset(&a.clone().difference(&b)));
        prop_assert_eq!(a.is_subset(&b), a.difference(&b).is_empty());
    }

    #[test]
    fn changes_are_told_from_both_sides(left in objects(), right in objects()) {
        let at = MergeSchema::deduced();
        let there = compare(at.root(), &left, &right).unwrap();
        let back = compare(at.root(), &right, &left).unwrap();
        prop_assert_eq!(&there.modified, &back.modified);
        prop_assert_eq!(&there.added, &back.removed);
        let none = there.added.is_empty() && there.modified.is_empty() && there.removed.is_empty();
        prop_assert_eq!(none, same(&left, &right));
    }

    #[test]
    fn merging_removes_nothing_and_sets_all(live in objects(), applied in objects()) {
        let at = MergeSchema::deduced();
        let merged = merge::merge(at.root(), &live, &applied).unwrap();
        let again = merge::merge(at.root(), &merged, &applied).unwrap();
        prop_assert!(same(&again, &merged));
        if merged.is_object() {
            let wanted = validate::field_set(at.root(), &applied);
            let changes = compare(at.root(), &applied, &merged).unwrap();
            prop_assert!(changes.removed.is_empty() && !changes.modified.intersects(&wanted.leaves()));
        }
    }

    #[test]
    fn applying_again_changes_nothing(first in objects(), second in objects()) {
        let live = apply(&json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"uid": "u"}}), "a", "2026-11-24T10:00:01Z", &first);
        let once = apply(&live, "b", "2026-11-24T10:00:02Z", &second);
        prop_assert_eq!(apply(&once, "b", "2026-11-24T10:00:03Z", &second), once);
    }

    #[test]
    fn what_is_applied_no_more_goes(first in objects(), second in objects()) {
        // What both have stays `a`'s when `b` gives it up, so `b` applies what differs in names.
        let second = json!({"e": second});
        let live = apply(&json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"uid": "u"}}), "a", "2026-11-24T10:00:01Z", &first);
        let more = apply(&live, "b", "2026-11-24T10:00:02Z", &second);
        let back = apply(&more, "b", "2026-11-24T10:00:03Z", &json!({}));
        prop_assert_eq!(back, live);
    }
}
