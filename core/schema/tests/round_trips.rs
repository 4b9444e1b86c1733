//! Random objects of every kind: what is written in JSON and in protobuf is read as the same object again.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::Value;
use triune_api::{meta, names::GroupVersionKind};
use triune_schema::{Facts, TypeRef};

#[path = "support/any.rs"]
mod any;

use any::{Dice, any_object};

static FACTS: LazyLock<Arc<Facts>> = LazyLock::new(|| {
    Facts::parse(include_str!("../../kube/facts/types.txt")).expect("the committed table can be read")
});

/// Kinds that protobuf does not have: fields of any type.
const WITHOUT_PROTOBUF: [&str; 1] = ["Table"];

fn check(gvk: &GroupVersionKind, seed: u64) {
    let declared = FACTS.type_of(gvk).expect("it is a kind");
    let object = any_object(&declared, &mut Dice(seed));
    assert_eq!(declared.check_types(&object), Ok(()), "{gvk:?}, seed {seed}");
    let mut again: Value = serde_json::from_str(&object.to_string()).expect("JSON");
    assert_eq!(again, object, "{gvk:?}, seed {seed}: JSON");
    declared.normalise(&mut again);
    assert_eq!(again, object, "{gvk:?}, seed {seed}: the normal form is not normal");
    let message = declared.encode_protobuf(&object);
    let mut again = declared.decode_protobuf(&message).expect("its own message");
    declared.normalise(&mut again);
    assert_eq!(again, object, "{gvk:?}, seed {seed}: protobuf");
    check_stored(&declared, object, seed);
}

/// The message of the stored text is that of the tree.
fn check_stored(declared: &TypeRef, mut object: Value, seed: u64) {
    if object.get("metadata").is_none_or(|metadata| !metadata.is_object()) {
        return;
    }
    let body = meta::split_body(object.clone());
    meta::set_resource_version(&mut object, "4711");
    let stored = declared.encode_stored(&body, 4711).expect("an object");
    assert_eq!(stored, declared.encode_protobuf(&object), "seed {seed}: {object}");
}

/// What is no stored object is refused or read, and never more.
fn damaged(seed: u64, at: usize, byte: u8) {
    let declared = FACTS.type_of(&GroupVersionKind::new("", "v1", "Pod")).expect("a kind");
    let body = meta::split_body(any_object(&declared, &mut Dice(seed)));
    let mut changed = body.to_vec();
    let at = at % changed.len();
    changed[at] = byte;
    for text in [&changed[..], &body[..at], &body[at..]] {
        // Either is an answer.
        let _ = declared.encode_stored(text, 1);
    }
}

fn kinds() -> Vec<&'static GroupVersionKind> {
    FACTS.kinds().filter(|gvk| !WITHOUT_PROTOBUF.contains(&&*gvk.kind)).collect()
}

#[test]
fn every_kind() {
    let kinds = kinds();
    assert!(kinds.len() > 300, "only {} kinds", kinds.len());
    kinds.iter().for_each(|gvk| check(gvk, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_objects(seed in any::<u64>(), kind in 0_usize..1000) {
        let kinds = kinds();
        check(kinds[kind % kinds.len()], seed);
    }

    #[test]
    fn damaged_objects(seed in any::<u64>(), at in any::<usize>(), byte in any::<u8>()) {
        damaged(seed, at, byte);
    }
}
