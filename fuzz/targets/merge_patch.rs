//! JSON merge patches: any patch over any document; a second time changes nothing; the difference of two documents,
//! merged into the one, is the other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use triune_api::{
    decode::DEPTH_MAX,
    patch::{merge, parse_merge},
};
use triune_fuzz::{
    any_node, bytes, depth, diff, halves,
    objects::{Choices, changed_tree, tree_object},
};

/// Objects within lists keep their nulls where a list takes an object's place, and lose them the next time.
fn has_nulls_within_lists(patch: &Value) -> bool {
    let null_member = |value: &Value| value.as_object().is_some_and(|map| map.values().any(Value::is_null));
    any_node(patch, &|value| {
        value.as_array().is_some_and(|items| items.iter().any(|item| any_node(item, &null_member)))
    })
}

fn check(document: &Value, patch: &Value) {
    let merged = merge(document.clone(), patch.clone());
    assert_eq!(merge(document.clone(), patch.clone()), merged, "not deterministic");
    assert!(depth(&merged) <= DEPTH_MAX);
    assert!(bytes(&merged) <= bytes(document) + bytes(patch));
    let again = merge(merged.clone(), patch.clone());
    assert_eq!(merge(again.clone(), patch.clone()), again);
    if !has_nulls_within_lists(patch) {
        assert_eq!(again, merged);
    }
}

fuzz_target!(|data: &[u8]| {
    let (choices, text) = halves(data);
    let mut choices = Choices::new(choices);
    let document = Value::Object(tree_object(&mut choices, 0, false));
    let changed = changed_tree(&mut choices, &document, false);
    if changed.is_object() {
        let patch = diff::merge_patch(&document, &changed);
        assert_eq!(merge(document.clone(), patch), changed);
    }
    check(&document, &Value::Object(tree_object(&mut choices, 0, true)));
    if let Ok(decoded) = parse_merge(text) {
        assert!(decoded.value.is_object());
        check(&document, &decoded.value);
    }
});
