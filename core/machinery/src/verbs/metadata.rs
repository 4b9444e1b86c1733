//! What the server does to `metadata` on every write: system fields, namespace, generated names, generation
//! (apiserver `pkg/registry/rest/{meta,create,update}.go`, `pkg/endpoints/handlers/rest.go`).
//!
//! Invariants: within an incarnation uid, creationTimestamp, name and namespace never change, deletionTimestamp is never
//! unset (S3); `generation` is the server's.

use std::collections::BTreeSet;

use serde_json::json;
use triune_api::{Value, meta, status::Status};
use triune_env::Entropy;

use crate::context::Context;

/// Longest prefix of a generated name, in bytes; with its suffix it is a DNS label.
const GENERATED_PREFIX_BYTES_MAX: usize = 58;
/// Length of the suffix of a generated name.
const GENERATED_SUFFIX_BYTES: usize = 5;
/// Characters of the suffix: no vowels and nothing that looks like one, so that no words come out.
const GENERATED_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Fields of `metadata` that a client cannot set on create.
const SYSTEM_FIELDS: [&str; 5] =
    ["creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"];

/// Brings the metadata of a new object into order: drops what only the server sets, gives uid, time, name.
pub fn complete_new(context: &Context, object: &mut Value, uses_generation: bool) {
    for field in SYSTEM_FIELDS {
        meta::remove(object, field);
    }
    if meta::name(object).is_empty() && !meta::generate_name(object).is_empty() {
        let name = generate_name(&*context.env.entropy, meta::generate_name(object));
        meta::set_name(object, &name);
    }
    meta::set_creation_timestamp(object, &triune_api::time::rfc3339(context.env.clock.wall()));
    meta::set_uid(object, &context.env.entropy.uuid());
    if uses_generation {
        meta::set_generation(object, 1);
    }
}

/// A name that begins with `prefix`.
pub fn generate_name(entropy: &dyn Entropy, prefix: &str) -> String {
    let mut end = prefix.len().min(GENERATED_PREFIX_BYTES_MAX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_string();
    // 64 bits give five characters of an alphabet of 27 with a bias below 2^-40.
    let mut bits = entropy.u64();
    let letters = GENERATED_ALPHABET.len() as u64;
    for _ in 0..GENERATED_SUFFIX_BYTES {
        let letter = GENERATED_ALPHABET.get((bits % letters) as usize).copied().unwrap_or(b'b');
        name.push(char::from(letter));
        bits /= letters;
    }
    name
}

/// The object's namespace becomes that of the request; 400 if it names another. "" as `expected` means cluster-scoped.
pub fn complete_namespace(object: &mut Value, expected: &str) -> Result<(), Status> {
    let given = meta::namespace(object);
    if given == expected {
        return Ok(());
    }
    if given.is_empty() || expected.is_empty() {
        meta::set_namespace(object, expected);
        return Ok(());
    }
    let text = "the namespace of the provided object does not match the namespace sent on the request";
    Err(Status::bad_request(text))
}

/// A changed object must have the name of the URL.
pub fn check_name(object: &Value, expected: &str) -> Result<(), Status> {
    match meta::name(object) {
        "" => Err(Status::bad_request(format!(
            "the name of the object ({expected} based on URL) was undeterminable: name must be provided"
        ))),
        name if name == expected => Ok(()),
        name => Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({expected})"
        ))),
    }
}

/// Drops owner references that are there twice, with a warning.
pub fn dedup_owner_references(context: &Context, object: &mut Value) {
    let references = meta::owner_references(object);
    if references.len() < 2 {
        return;
    }
    let mut kept: Vec<Value> = Vec::with_capacity(references.len());
    let mut duplicates: Vec<&str> = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for reference in references {
        if seen.insert(reference.to_string()) {
            kept.push(reference.clone());
        } else {
            duplicates.push(reference.get("uid").and_then(Value::as_str).unwrap_or_default());
        }
    }
    if duplicates.is_empty() {
        return;
    }
    context.warn(format!(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may \
         reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        duplicates.join(", ")
    ));
    meta::set_owner_references(object, kept);
}

/// What a change cannot touch, before the strategy sees it.
pub fn begin_update(old: &Value, new: &mut Value) {
    // A thing of the past.
    meta::remove(new, "selfLink");
    meta::set_generation(new, meta::generation(old));
}

/// What a change cannot touch, after the strategy has completed it. What a client may only leave out keeps its value;
/// validation refuses the rest.
pub fn finish_update(old: &Value, new: &mut Value, uses_generation: bool) {
    if meta::uid(new).is_empty() {
        meta::set_uid(new, meta::uid(old));
    }
    for field in ["creationTimestamp", "deletionTimestamp"] {
        if let Some(time) = meta::metadata(old).and_then(|map| map.get(field)).filter(|time| !time.is_null()) {
            meta::set(new, field, time.clone());
        }
    }
    if meta::deletion_grace_period_seconds(new).is_none()
        && let Some(seconds) = meta::deletion_grace_period_seconds(old)
    {
        meta::set(new, "deletionGracePeriodSeconds", json!(seconds));
    }
    if uses_generation && !same_intent(old, new) {
        meta::set_generation(new, meta::generation(old) + 1);
    }
}

/// Whether two states differ in metadata and status at most.
fn same_intent(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return old == new };
    let bystander = |key: &str| matches!(key, "metadata" | "status" | "apiVersion" | "kind");
    old.iter().filter(|(key, _)| !bystander(key)).eq(new.iter().filter(|(key, _)| !bystander(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;
    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            (0..).zip(buffer).for_each(|(number, byte)| *byte = number);
        }
    }

    #[test]
    fn generated_names() {
        let check = |prefix: &str, kept: &str| {
            let name = generate_name(&Counting, prefix);
            let (start, suffix) = name.split_at(name.len() - GENERATED_SUFFIX_BYTES);
            assert_eq!(start, kept);
            assert!(suffix.bytes().all(|byte| GENERATED_ALPHABET.contains(&byte)), "{suffix}");
        };
        check("web-", "web-");
        check("", "");
        check(&"a".repeat(80), &"a".repeat(58));
        check(&format!("{}é", "a".repeat(57)), &"a".repeat(57));
    }

    #[test]
    fn namespaces() {
        let check = |given: &str, expected: &str, result: Option<&str>| {
            let mut object = json!({});
            meta::set_namespace(&mut object, given);
            let outcome = complete_namespace(&mut object, expected);
            assert_eq!(outcome.is_ok().then(|| meta::namespace(&object)), result, "{given} {expected}");
        };
        check("", "a", Some("a"));
        check("a", "a", Some("a"));
        check("a", "", Some(""));
        check("a", "b", None);
    }

    #[test]
    fn names() {
        let check = |name: &str, expect: Result<(), &str>| {
            let mut object = json!({});
            meta::set_name(&mut object, name);
            let result = check_name(&object, "x").map_err(|status| status.message);
            assert_eq!(result, expect.map_err(str::to_string));
        };
        check("x", Ok(()));
        check("y", Err("the name of the object (y) does not match the name on the URL (x)"));
        check("", Err("the name of the object (x based on URL) was undeterminable: name must be provided"));
    }

    #[test]
    fn updates_keep_what_is_the_servers() {
        let old = json!({"metadata": {"uid": "u", "creationTimestamp": "c", "deletionTimestamp": "d", "generation": 3,
            "deletionGracePeriodSeconds": 5}, "spec": {"a": 1}, "status": {"b": 1}});
        let check = |mut new: Value, expect: Value| {
            begin_update(&old, &mut new);
            finish_update(&old, &mut new, true);
            assert_eq!(new["metadata"], expect, "{new}");
        };
        let kept = |generation: i64| {
            json!({"uid": "u", "creationTimestamp": "c", "deletionTimestamp": "d", "generation": generation,
                "deletionGracePeriodSeconds": 5})
        };
        check(json!({"spec": {"a": 1}}), kept(3));
        check(json!({"spec": {"a": 1}, "status": {}, "metadata": {"generation": 9, "selfLink": "x"}}), kept(3));
        check(json!({"spec": {"a": 2}, "metadata": {"creationTimestamp": null, "selfLink": "x"}}), kept(4));
        check(json!({}), kept(4));
    }
}
