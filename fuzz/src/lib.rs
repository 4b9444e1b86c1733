//! What the targets share: the built-in table, inputs taken apart, trees measured.
//!
//! Objects and patches are made from bytes by the code of the property tests (`core/schema/tests/patches`). CBOR has no
//! target: there is no decoder, it is off by default in the reference's 1.37.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use triune_api::names::{GroupVersion, GroupVersionKind};
use triune_schema::{Facts, TypeRef};

#[path = "../../core/schema/tests/patches/diff.rs"]
pub mod diff;
#[path = "../../core/schema/tests/patches/objects.rs"]
pub mod objects;

/// The table that the built-in groups are served with.
pub static FACTS: LazyLock<Arc<Facts>> = LazyLock::new(|| {
    Facts::parse(include_str!("../../core/kube/facts/types.txt")).expect("the committed table can be read")
});

/// Kinds that are rich in lists and maps of all types.
const RICH: &[(&str, &str)] = &[
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("v1", "ServiceAccount"),
    ("networking.k8s.io/v1", "Ingress"),
    ("v1", "ConfigMap"),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
];

/// The kind that a byte chooses: half of them choose rich ones.
pub fn kind(byte: u8) -> (GroupVersionKind, TypeRef) {
    let at = usize::from(byte);
    let gvk = match RICH.get(at % (2 * RICH.len())) {
        Some((api_version, kind)) => GroupVersion::parse(api_version).expect("a group version").with_kind(kind),
        None => FACTS.kinds().nth(at * 2 % FACTS.kinds().count()).expect("a kind").clone(),
    };
    let declared = FACTS.type_of(&gvk).expect("a type");
    (gvk, declared)
}

/// The first byte, or 0, and the others.
pub fn first(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// Two strings, apart by the first line break; without one the second is empty.
pub fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    (&data[..at], data.get(at + 1..).unwrap_or_default())
}

/// How deep a tree nests; a scalar is 0.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The length of its JSON.
pub fn bytes(value: &Value) -> usize {
    value.to_string().len()
}

/// Whether `matches` holds for some node.
pub fn any_node(value: &Value, matches: &impl Fn(&Value) -> bool) -> bool {
    matches(value)
        || match value {
            Value::Array(items) => items.iter().any(|item| any_node(item, matches)),
            Value::Object(map) => map.values().any(|member| any_node(member, matches)),
            _ => false,
        }
}
