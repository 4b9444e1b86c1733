//! Strategic merge patches: any patch over objects of all kinds is applied or refused; the difference of two objects,
//! merged into the one, is the other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use triune_api::decode::{self, DEPTH_MAX};
use triune_fuzz::{
    bytes, depth, diff, first, halves, kind,
    objects::{Choices, Objects, normal, tree},
};
use triune_schema::TypeRef;

/// Puts directives where they may or may not belong.
fn spoil(patch: &mut Value, choices: &mut Choices<'_>) {
    match patch {
        Value::Object(object) => {
            object.values_mut().for_each(|member| spoil(member, choices));
            let name = object.keys().nth(choices.below(8)).cloned().unwrap_or_default();
            let list = || json!([name, {"name": "a"}, "a"]);
            match choices.below(12) {
                7 => {
                    object.insert("$patch".into(), choices.one(&["delete", "replace", "merge", "x"]).to_string().into())
                }
                8 => object.insert("$retainKeys".into(), list()),
                9 => object.insert(format!("$setElementOrder/{name}"), list()),
                10 => object.insert(format!("$deleteFromPrimitiveList/{name}"), list()),
                11 => object.insert(name, tree(choices, 8, true)),
                _ => None,
            };
        }
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, choices)),
        _ => {}
    }
}

fn check(declared: &TypeRef, object: &Value, patch: &Value) {
    let outcome = declared.strategic_merge(object.clone(), patch.clone());
    assert_eq!(declared.strategic_merge(object.clone(), patch.clone()), outcome, "not deterministic");
    match outcome {
        Ok(merged) => {
            assert!(depth(&merged) <= DEPTH_MAX);
            assert!(bytes(&merged) <= bytes(object) + bytes(patch), "{object} {patch} {merged}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fuzz_target!(|data: &[u8]| {
    let (byte, data) = first(data);
    let (_, declared) = kind(byte);
    let (choices, text) = halves(data);
    let mut choices = Choices::new(choices);
    let objects = Objects::of(&declared.facts);
    let object = objects.object(&declared, &mut choices);
    let changed = objects.changed(&declared, &object, &mut choices);
    let mut patch = diff::strategic_patch(&declared, &object, &changed);
    let merged = declared.strategic_merge(object.clone(), patch.clone());
    let merged = merged.unwrap_or_else(|error| panic!("{error}: {patch} into {object}"));
    assert_eq!(normal(&declared, merged), changed, "{patch} into {object}");
    spoil(&mut patch, &mut choices);
    check(&declared, &object, &patch);
    if let Ok(patch) = decode::json(text) {
        check(&declared, &object, &patch);
    }
});
