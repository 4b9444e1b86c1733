//! JSON patches: any patch over any document is applied or refused, within bounds; the difference of two documents,
//! applied to the one, is the other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use triune_api::{decode::DEPTH_MAX, patch::JsonPatch};
use triune_fuzz::{
    bytes, depth, diff, halves,
    objects::{Choices, changed_tree, tree_object},
};

/// What `copy` may add (see `patch::json_patch`).
const COPY_BYTES_MAX: usize = 3 * 1024 * 1024;

fuzz_target!(|data: &[u8]| {
    let (choices, text) = halves(data);
    let mut choices = Choices::new(choices);
    let document = Value::Object(tree_object(&mut choices, 0, true));
    let changed = changed_tree(&mut choices, &document, true);
    if changed.is_object() {
        let patch = JsonPatch::parse(diff::json_patch(&document, &changed).to_string().as_bytes()).expect("a patch");
        assert_eq!(patch.strict_errors, [""; 0]);
        assert_eq!(patch.apply(document.clone()), Ok(changed));
    }
    let Ok(patch) = JsonPatch::parse(text) else { return };
    let outcome = patch.apply(document.clone());
    assert_eq!(patch.apply(document.clone()), outcome, "not deterministic");
    if let Ok(patched) = outcome {
        assert!(depth(&patched) <= DEPTH_MAX);
        assert!(bytes(&patched) <= bytes(&document) + 6 * text.len() + COPY_BYTES_MAX);
    }
});
