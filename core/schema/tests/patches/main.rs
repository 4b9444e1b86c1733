//! The difference of two objects, made into a patch of each kind and applied to the one, is the other.
//!
//! The differences are made by code of their own (`diff`), from the facts but not from the code that applies patches.
//! The seed is fixed: each run sees the same cases.

mod diff;
mod objects;

use std::{
    cell::Cell,
    sync::{Arc, LazyLock},
};

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::Value;
use triune_api::{
    names::GroupVersion,
    patch::{JsonPatch, merge},
};
use triune_schema::{Facts, TypeRef};

use objects::{Choices, Objects, changed_tree, normal, tree_object};

const CASES: u32 = 4000;

static FACTS: LazyLock<Arc<Facts>> =
    LazyLock::new(|| Facts::parse(include_str!("../../../kube/facts/types.txt")).unwrap());

/// Kinds that are rich in lists that are merged; every other case takes any kind of the table.
const RICH: &[(&str, &str)] = &[
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "Node"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
];

fn declared(kind: usize) -> TypeRef {
    let gvk = match RICH.get(kind % (2 * RICH.len())) {
        Some((api_version, kind)) => GroupVersion::parse(api_version).unwrap().with_kind(kind),
        None => FACTS.kinds().nth(kind % FACTS.kinds().count()).unwrap().clone(),
    };
    FACTS.type_of(&gvk).unwrap()
}

/// An object of a kind, and the same with changes.
fn pair(kind: usize, choices: &[u8], changes: &[u8]) -> (TypeRef, Value, Value) {
    let declared = declared(kind);
    let objects = Objects::of(&FACTS);
    let from = objects.object(&declared, &mut Choices::new(choices));
    let to = objects.changed(&declared, &from, &mut Choices::new(changes));
    (declared, from, to)
}

fn merge_strategically(declared: &TypeRef, from: &Value, patch: &Value) -> Result<Value, String> {
    let merged = declared.strategic_merge(from.clone(), patch.clone()).map_err(|error| error.to_string())?;
    Ok(normal(declared, merged))
}

fn patch_json(from: &Value, patch: &Value) -> Result<Value, String> {
    let patch = JsonPatch::parse(patch.to_string().as_bytes()).map_err(|error| error.to_string())?;
    patch.apply(from.clone()).map_err(|error| error.to_string())
}

/// Runs a test on random kinds, objects and changes.
fn check(test: impl Fn(usize, &[u8], &[u8]) -> Result<(), TestCaseError>) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    let outcome = runner
        .run(&(0_usize..10_000, bytes(600), bytes(300)), |(kind, choices, changes)| test(kind, &choices, &changes));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn strategic_merge_patches() {
    check(|kind, choices, changes| {
        let (declared, from, to) = pair(kind, choices, changes);
        let patch = diff::strategic_patch(&declared, &from, &to);
        prop_assert_eq!(merge_strategically(&declared, &from, &patch), Ok(to), "{} into {}", patch, from);
        Ok(())
    });
}

#[test]
fn json_merge_patches() {
    check(|kind, choices, changes| {
        let (declared, from, to) = pair(kind, choices, changes);
        let merged = merge(from.clone(), diff::merge_patch(&from, &to));
        prop_assert_eq!(normal(&declared, merged), to);
        // Any tree, too: there, nothing is in normal form.
        let (from, to) = trees(choices, changes, false);
        prop_assert_eq!(merge(from.clone(), diff::merge_patch(&from, &to)), to);
        Ok(())
    });
}

#[test]
fn json_patches() {
    check(|kind, choices, changes| {
        let (_, from, to) = pair(kind, choices, changes);
        prop_assert_eq!(patch_json(&from, &diff::json_patch(&from, &to)), Ok(to));
        let (from, to) = trees(choices, changes, true);
        prop_assert_eq!(patch_json(&from, &diff::json_patch(&from, &to)), Ok(to));
        Ok(())
    });
}

fn trees(choices: &[u8], changes: &[u8], nulls: bool) -> (Value, Value) {
    let from = Value::Object(tree_object(&mut Choices::new(choices), 0, nulls));
    let to = changed_tree(&mut Choices::new(changes), &from, nulls);
    if to.is_object() { (from.clone(), to) } else { (from.clone(), from) }
}

/// A merge that did not obey a directive would be noticed: patches do something else once it is taken away.
#[test]
fn each_directive_is_needed() {
    for directive in ["$patch", "$retainKeys", "$setElementOrder/", "$deleteFromPrimitiveList/"] {
        let (with, needed) = (Cell::new(0), Cell::new(0));
        check(|kind, choices, changes| {
            let (declared, from, to) = pair(kind, choices, changes);
            let mut patch = diff::strategic_patch(&declared, &from, &to);
            if take_away(&mut patch, directive) {
                with.set(with.get() + 1);
                needed.set(needed.get() + u32::from(merge_strategically(&declared, &from, &patch) != Ok(to)));
            }
            Ok(())
        });
        println!("{directive}: {} of {}", needed.get(), with.get());
        assert!(needed.get() >= 50, "{directive}: {} of {}", needed.get(), with.get());
    }
}

/// Whether there was any.
fn take_away(patch: &mut Value, directive: &str) -> bool {
    let mut found = false;
    match patch {
        Value::Object(object) => {
            let before = object.len();
            object.retain(|key, _| !key.starts_with(directive));
            found = object.len() < before;
            object.values_mut().for_each(|member| found |= take_away(member, directive));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| found |= take_away(item, directive)),
        _ => {}
    }
    found
}
