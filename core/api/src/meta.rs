//! Object metadata: reading and writing its fields in a JSON tree, and the text form in which objects are stored.
//!
//! Readers never fail: what is absent or of the wrong JSON type reads as empty. Writers make `metadata` where it is
//! missing. A stored body is the object without its opening brace, `apiVersion`, `kind` and `resourceVersion`, metadata
//! first: an answer is a short head followed by the stored bytes, which are passed on and never copied or parsed.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use crate::{
    Map, Value,
    decode::{self, DecodeError},
    names::GroupVersionKind,
};

/// What every stored body starts with.
pub const BODY_PREFIX: &[u8] = b"\"metadata\":{";

/// The object's metadata, if it has any.
pub fn metadata(object: &Value) -> Option<&Map> {
    object.get("metadata")?.as_object()
}

/// The object's metadata, made if missing. What is not an object becomes one.
pub fn metadata_mut(object: &mut Value) -> &mut Map {
    let slot = map_mut(object).entry("metadata").or_insert(Value::Null);
    map_mut(slot)
}

fn map_mut(value: &mut Value) -> &mut Map {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    optional_text(object, field).unwrap_or_default()
}

fn optional_text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    metadata(object)?.get(field)?.as_str()
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    metadata(object).and_then(|map| map.get(field)?.as_array()).map_or(&[], Vec::as_slice)
}

fn text_map(object: &Value, field: &str) -> BTreeMap<String, String> {
    let map = metadata(object).and_then(|map| map.get(field)?.as_object());
    let texts = map.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string())));
    texts.collect()
}

/// `apiVersion`, or "".
pub fn api_version(object: &Value) -> &str {
    object.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
}

/// `kind`, or "".
pub fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`, or "".
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.generateName`, or "".
pub fn generate_name(object: &Value) -> &str {
    text(object, "generateName")
}

/// `metadata.namespace`, or "".
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata.uid`, or "".
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// `metadata.resourceVersion`, or "".
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// `metadata.generation`, or 0.
pub fn generation(object: &Value) -> i64 {
    metadata(object).and_then(|map| map.get("generation")?.as_i64()).unwrap_or_default()
}

/// `metadata.creationTimestamp`.
pub fn creation_timestamp(object: &Value) -> Option<&str> {
    optional_text(object, "creationTimestamp")
}

/// `metadata.deletionTimestamp`.
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    optional_text(object, "deletionTimestamp")
}

/// `metadata.deletionGracePeriodSeconds`.
pub fn deletion_grace_period_seconds(object: &Value) -> Option<i64> {
    metadata(object)?.get("deletionGracePeriodSeconds")?.as_i64()
}

/// `metadata.labels`; values that are no strings are left out.
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    text_map(object, "labels")
}

/// One label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object)?.get("labels")?.get(key)?.as_str()
}

/// `metadata.annotations`; values that are no strings are left out.
pub fn annotations(object: &Value) -> BTreeMap<String, String> {
    text_map(object, "annotations")
}

/// One annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object)?.get("annotations")?.get(key)?.as_str()
}

/// `metadata.finalizers`; items that are no strings are left out.
pub fn finalizers(object: &Value) -> Vec<&str> {
    list(object, "finalizers").iter().filter_map(Value::as_str).collect()
}

/// Whether a finalizer is there.
pub fn has_finalizer(object: &Value, name: &str) -> bool {
    list(object, "finalizers").iter().any(|finalizer| finalizer == name)
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Value) -> &[Value] {
    list(object, "ownerReferences")
}

/// `metadata.managedFields`.
pub fn managed_fields(object: &Value) -> &[Value] {
    list(object, "managedFields")
}

/// Sets `apiVersion` and `kind`.
pub fn set_type(object: &mut Value, gvk: &GroupVersionKind) {
    let map = map_mut(object);
    map.insert("apiVersion".into(), Value::String(gvk.api_version()));
    map.insert("kind".into(), Value::String(gvk.kind.to_string()));
}

/// Removes `apiVersion` and `kind`.
pub fn remove_type(object: &mut Value) {
    if let Value::Object(map) = object {
        map.remove("apiVersion");
        map.remove("kind");
    }
}

/// Sets a field of `metadata`.
pub fn set(object: &mut Value, field: &str, value: Value) {
    metadata_mut(object).insert(field.into(), value);
}

/// Removes a field of `metadata` and returns it.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(field)
}

fn set_text(object: &mut Value, field: &str, text: &str) {
    if text.is_empty() {
        remove(object, field);
    } else {
        set(object, field, Value::String(text.into()));
    }
}

/// Sets `metadata.name`; "" removes it.
pub fn set_name(object: &mut Value, name: &str) {
    set_text(object, "name", name);
}

/// Sets `metadata.generateName`; "" removes it.
pub fn set_generate_name(object: &mut Value, prefix: &str) {
    set_text(object, "generateName", prefix);
}

/// Sets `metadata.namespace`; "" removes it.
pub fn set_namespace(object: &mut Value, namespace: &str) {
    set_text(object, "namespace", namespace);
}

/// Sets `metadata.uid`; "" removes it.
pub fn set_uid(object: &mut Value, uid: &str) {
    set_text(object, "uid", uid);
}

/// Sets `metadata.resourceVersion`; "" removes it.
pub fn set_resource_version(object: &mut Value, revision: &str) {
    set_text(object, "resourceVersion", revision);
}

/// Sets `metadata.generation`; 0 removes it.
pub fn set_generation(object: &mut Value, generation: i64) {
    if generation == 0 {
        remove(object, "generation");
    } else {
        set(object, "generation", json!(generation));
    }
}

/// Sets `metadata.creationTimestamp` (see [`crate::time`] for its form).
pub fn set_creation_timestamp(object: &mut Value, time: &str) {
    set_text(object, "creationTimestamp", time);
}

/// Sets `metadata.deletionTimestamp` (see [`crate::time`] for its form) and `deletionGracePeriodSeconds`.
pub fn set_deletion(object: &mut Value, time: &str, grace_period_seconds: i64) {
    set_text(object, "deletionTimestamp", time);
    set(object, "deletionGracePeriodSeconds", json!(grace_period_seconds));
}

/// Removes `metadata.deletionTimestamp` and `deletionGracePeriodSeconds`.
pub fn remove_deletion(object: &mut Value) {
    remove(object, "deletionTimestamp");
    remove(object, "deletionGracePeriodSeconds");
}

/// Sets a label.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    let slot = metadata_mut(object).entry("labels").or_insert(Value::Null);
    map_mut(slot).insert(key.into(), Value::String(value.into()));
}

/// Sets an annotation.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    let slot = metadata_mut(object).entry("annotations").or_insert(Value::Null);
    map_mut(slot).insert(key.into(), Value::String(value.into()));
}

/// Sets `metadata.finalizers`; no finalizer removes the field.
pub fn set_finalizers<S: Into<String>>(object: &mut Value, finalizers: impl IntoIterator<Item = S>) {
    let items: Vec<Value> = finalizers.into_iter().map(|name| Value::String(name.into())).collect();
    set_list(object, "finalizers", items);
}

/// Adds a finalizer if it is not there.
pub fn add_finalizer(object: &mut Value, name: &str) {
    if !has_finalizer(object, name) {
        let mut items = list(object, "finalizers").to_vec();
        items.push(Value::String(name.into()));
        set_list(object, "finalizers", items);
    }
}

/// Removes a finalizer.
pub fn remove_finalizer(object: &mut Value, name: &str) {
    if has_finalizer(object, name) {
        let items = list(object, "finalizers").iter().filter(|item| *item != name).cloned().collect();
        set_list(object, "finalizers", items);
    }
}

/// Sets `metadata.ownerReferences`; an empty list removes the field.
pub fn set_owner_references(object: &mut Value, references: Vec<Value>) {
    set_list(object, "ownerReferences", references);
}

/// Sets `metadata.managedFields`; an empty list removes the field.
pub fn set_managed_fields(object: &mut Value, entries: Vec<Value>) {
    set_list(object, "managedFields", entries);
}

fn set_list(object: &mut Value, field: &str, items: Vec<Value>) {
    if items.is_empty() {
        remove(object, field);
    } else {
        set(object, field, Value::Array(items));
    }
}

/// The stored form of an object: `"metadata":{...},<the rest, sorted>}` without `apiVersion`, `kind` and
/// `metadata.resourceVersion`. Starts with [`BODY_PREFIX`].
pub fn split_body(object: Value) -> Bytes {
    let mut map = match object {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    map.remove("apiVersion");
    map.remove("kind");
    let mut metadata = match map.remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => Map::new(),
    };
    metadata.remove("resourceVersion");
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(b"\"metadata\":");
    append_json(&mut text, &Value::Object(metadata));
    for (key, value) in &map {
        text.push(b',');
        append_json(&mut text, &Value::String(key.clone()));
        text.push(b':');
        append_json(&mut text, value);
    }
    text.push(b'}');
    Bytes::from(text)
}

fn append_json(text: &mut Vec<u8>, value: &Value) {
    // A tree has string keys only and a vector takes every byte: there is nothing to fail.
    if serde_json::to_writer(&mut *text, value).is_err() {
        text.extend_from_slice(b"null");
    }
}

/// The head that all objects of a type share: `{"kind":"K","apiVersion":"V",`. Made once for each resource.
pub fn type_prefix(gvk: &GroupVersionKind) -> Bytes {
    let kind = Value::String(gvk.kind.to_string());
    let api_version = Value::String(gvk.api_version());
    Bytes::from(format!("{{\"kind\":{kind},\"apiVersion\":{api_version},"))
}

/// The JSON of an object as two chunks: a new head and the stored bytes from inside `metadata` on. `prefix` is what
/// [`type_prefix`] gives, or `{` for items of typed lists, which carry no type.
pub fn join(prefix: &[u8], revision: u64, body: &Bytes) -> [Bytes; 2] {
    let mut head = Vec::with_capacity(prefix.len() + 56);
    let rest = append_head(&mut head, prefix, revision, body);
    [Bytes::from(head), body.slice(rest..)]
}

/// As [`join`], copied to the end of `out`: cheaper where many small objects become one answer.
pub fn append_object(out: &mut Vec<u8>, prefix: &[u8], revision: u64, body: &[u8]) {
    let rest = append_head(out, prefix, revision, body);
    out.extend_from_slice(body.get(rest..).unwrap_or_default());
}

/// Appends the head up to inside `metadata`; returns where the body goes on.
fn append_head(out: &mut Vec<u8>, prefix: &[u8], revision: u64, body: &[u8]) -> usize {
    out.extend_from_slice(prefix);
    out.extend_from_slice(BODY_PREFIX);
    out.extend_from_slice(b"\"resourceVersion\":\"");
    append_decimal(out, revision);
    out.push(b'"');
    if body.get(BODY_PREFIX.len()) != Some(&b'}') {
        out.push(b',');
    }
    BODY_PREFIX.len().min(body.len())
}

/// Appends a number in decimal.
pub fn append_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// The tree of a stored object, complete with type and `resourceVersion`.
pub fn to_value(gvk: &GroupVersionKind, revision: u64, body: &[u8]) -> Result<Value, DecodeError> {
    let mut object = body_to_value(body)?;
    set_type(&mut object, gvk);
    set(&mut object, "resourceVersion", Value::String(revision.to_string()));
    Ok(object)
}

/// The tree of a stored body as it is: without type and `resourceVersion`.
pub fn body_to_value(body: &[u8]) -> Result<Value, DecodeError> {
    let mut text = Vec::with_capacity(body.len() + 1);
    text.push(b'{');
    text.extend_from_slice(body);
    decode::json(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map() -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}, "immutable": true, "metadata": {
            "name": "c", "namespace": "n", "resourceVersion": "3", "labels": {"x": "y", "bad": 3}, "generation": 2,
        }})
    }

    #[test]
    fn bodies_split_and_join() {
        let check = |object: Value, body: &str, joined: &str| {
            let stored = split_body(object);
            assert_eq!(stored, body);
            assert!(stored.starts_with(BODY_PREFIX));
            let gvk = GroupVersionKind::new("apps", "v1", "Deployment");
            let prefix = type_prefix(&gvk);
            assert_eq!(join(&prefix, 41, &stored).concat(), joined.as_bytes());
            let mut appended = Vec::new();
            append_object(&mut appended, &prefix, 41, &stored);
            assert_eq!(appended, joined.as_bytes());
            let parsed: Value = serde_json::from_str(joined).unwrap();
            assert_eq!(to_value(&gvk, 41, &stored).unwrap(), parsed);
        };
        check(
            config_map(),
            r#""metadata":{"generation":2,"labels":{"bad":3,"x":"y"},"name":"c","namespace":"n"},"data":{"a":"b"},"immutable":true}"#,
            r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"resourceVersion":"41","generation":2,"labels":{"bad":3,"x":"y"},"name":"c","namespace":"n"},"data":{"a":"b"},"immutable":true}"#,
        );
        check(
            json!({"kind": "x"}),
            r#""metadata":{}}"#,
            r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"resourceVersion":"41"}}"#,
        );
        check(
            json!({"metadata": "no object", "é\"": 1}),
            "\"metadata\":{},\"é\\\"\":1}",
            "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"resourceVersion\":\"41\"},\"é\\\"\":1}",
        );
    }

    #[test]
    fn decimals() {
        let check = |number: u64| {
            let mut out = Vec::new();
            append_decimal(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        };
        [0, 1, 9, 10, 99, 100, 1234567890, u64::MAX].into_iter().for_each(check);
    }

    #[test]
    fn readers_are_tolerant() {
        let object = config_map();
        assert_eq!((name(&object), namespace(&object), uid(&object)), ("c", "n", ""));
        assert_eq!((generation(&object), resource_version(&object)), (2, "3"));
        assert_eq!(labels(&object), BTreeMap::from([("x".to_string(), "y".to_string())]));
        assert_eq!((label(&object, "x"), label(&object, "bad")), (Some("y"), None));
        for odd in [json!(null), json!([]), json!({"metadata": []}), json!({"metadata": {"labels": [], "name": 3}})] {
            assert_eq!((name(&odd), generation(&odd), labels(&odd).len()), ("", 0, 0));
            assert_eq!((finalizers(&odd).len(), owner_references(&odd).len()), (0, 0));
            assert_eq!(deletion_grace_period_seconds(&odd), None);
        }
    }

    #[test]
    fn writers_make_what_is_missing() {
        let mut object = json!([]);
        set_name(&mut object, "a");
        set_label(&mut object, "k", "v");
        set_annotation(&mut object, "k", "v");
        add_finalizer(&mut object, "f");
        add_finalizer(&mut object, "f");
        add_finalizer(&mut object, "g");
        set_generation(&mut object, 1);
        set_deletion(&mut object, "2026-11-24T08:00:00Z", 0);
        let expect = json!({"metadata": {"name": "a", "labels": {"k": "v"}, "annotations": {"k": "v"}, "generation": 1,
            "finalizers": ["f", "g"], "deletionTimestamp": "2026-11-24T08:00:00Z", "deletionGracePeriodSeconds": 0}});
        assert_eq!(object, expect);
        remove_finalizer(&mut object, "f");
        remove_finalizer(&mut object, "g");
        remove_deletion(&mut object);
        set_generation(&mut object, 0);
        set_name(&mut object, "");
        assert_eq!(object, json!({"metadata": {"labels": {"k": "v"}, "annotations": {"k": "v"}}}));
    }
}
