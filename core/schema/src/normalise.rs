//! What decoding into Go's structs and encoding again does to an object.
//!
//! Unknown fields go. Null becomes the zero value where Go has no pointer. Fields marked `omitempty` go when they are
//! false, 0, "", null or an empty list or map; structs never count as empty; `omitzero` drops zero times. Fields without
//! the mark are written even when absent. Quantities become canonical, times are cut to seconds (or six digits of one).
//!
//! Invariants: normalising is idempotent; a value that `check_types` refuses is left as it is.

use base64::Engine;
use serde_json::{Map, Value};
use triune_api::quantity::Quantity;

use crate::{
    check::{BASE64, byte_value, decode_base64, is_plain_quantity},
    facts::{Facts, Field, Kind, ShapeIndex},
    gotime::{self, Layout},
    walk::cursor,
};

/// Normalises a whole object.
pub(crate) fn normalise(facts: &Facts, index: u32, value: &mut Value) {
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(object) = value else { return };
    let mut missing: Vec<&Field> = Vec::new();
    let mut fields = cursor(facts, facts.get(index));
    let mut note = |field| missing.extend(written_when_absent(facts, field).then_some(field));
    object.retain(|key, value| match fields.seek(key, &mut note) {
        Some(field) => normalise_field(facts, field, value),
        None => false,
    });
    fields.rest().for_each(note);
    for field in missing {
        object.insert(field.name.to_string(), zero(facts, field.shape));
    }
}

/// Normalises the value of a field; false if it is left out.
fn normalise_field(facts: &Facts, field: &Field, value: &mut Value) -> bool {
    if !field.omit_empty && !field.omit_zero {
        normalise_shape(facts, field.shape, value);
        return true;
    }
    let kind = facts.shape(field.shape).kind;
    if let Kind::Pointer(to) = kind {
        // An empty value behind a pointer is written.
        if value.is_null() {
            return false;
        }
        normalise_shape(facts, to, value);
        return true;
    }
    normalise_shape(facts, field.shape, value);
    !(field.omit_empty && is_empty(kind, value) || field.omit_zero && is_zero(kind, value))
}

/// Whether a field is written although the object does not have it.
fn written_when_absent(facts: &Facts, field: &Field) -> bool {
    let kind = facts.shape(field.shape).kind;
    let omitted = field.omit_empty && empty_at_zero(kind) || field.omit_zero && zero_is_omitted(kind);
    !omitted
}

/// Go's `omitempty` for an encoded value: structs, also those that encode themselves, are never empty.
fn is_empty(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::String => value.as_str().is_some_and(str::is_empty),
        Kind::Bool => *value == Value::Bool(false),
        Kind::Integer(_) => value.as_i64() == Some(0),
        Kind::Float => value.as_f64() == Some(0.0),
        Kind::Bytes => value.is_null() || value.as_str().is_some_and(str::is_empty),
        Kind::List(_) => value.is_null() || value.as_array().is_some_and(Vec::is_empty),
        Kind::Map(_) => value.is_null() || value.as_object().is_some_and(Map::is_empty),
        Kind::Pointer(_) | Kind::Any => value.is_null(),
        _ => false,
    }
}

fn empty_at_zero(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::String
            | Kind::Bool
            | Kind::Integer(_)
            | Kind::Float
            | Kind::Bytes
            | Kind::List(_)
            | Kind::Map(_)
            | Kind::Pointer(_)
            | Kind::Any
    )
}

fn is_zero(kind: Kind, value: &Value) -> bool {
    matches!(kind, Kind::Time | Kind::MicroTime) && value.is_null() || is_empty(kind, value)
}

fn zero_is_omitted(kind: Kind) -> bool {
    matches!(kind, Kind::Time | Kind::MicroTime) || empty_at_zero(kind)
}

/// Go's zero value, encoded.
pub(crate) fn zero(facts: &Facts, shape: ShapeIndex) -> Value {
    match facts.shape(shape).kind {
        Kind::String => Value::String(String::new()),
        Kind::Bool | Kind::SchemaOrBool(_) => Value::Bool(false),
        Kind::Integer(_) | Kind::Float | Kind::IntOrString => Value::from(0),
        Kind::Quantity => Value::String("0".into()),
        Kind::Struct(index) => {
            let mut object = Value::Object(Map::new());
            normalise(facts, index, &mut object);
            object
        }
        _ => Value::Null,
    }
}

fn normalise_shape(facts: &Facts, shape: ShapeIndex, value: &mut Value) {
    let kind = facts.shape(shape).kind;
    match (kind, &mut *value) {
        (Kind::Pointer(_), Value::Null) => {}
        (Kind::Pointer(to), inner) => normalise_shape(facts, to, inner),
        (Kind::Struct(index), inner) => normalise(facts, index, inner),
        (_, Value::Null) => *value = zero(facts, shape),
        (Kind::List(items), Value::Array(values)) => {
            values.iter_mut().for_each(|value| normalise_shape(facts, items, value));
        }
        (Kind::Map(values), Value::Object(object)) => {
            object.values_mut().for_each(|value| normalise_shape(facts, values, value));
        }
        (Kind::Bytes, Value::String(text)) => normalise_bytes(text),
        (Kind::Bytes, Value::Array(bytes)) => {
            if let Some(bytes) = bytes.iter().map(byte_value).collect::<Option<Vec<u8>>>() {
                *value = Value::String(BASE64.encode(bytes));
            }
        }
        (Kind::Float, Value::Number(number)) => {
            if let Some(whole) = number.as_f64().and_then(whole_number) {
                *value = Value::from(whole);
            }
        }
        (Kind::Quantity, inner) => normalise_quantity(inner),
        (Kind::Time, Value::String(_)) => normalise_time(value, Layout::Seconds),
        (Kind::MicroTime, Value::String(_)) => normalise_time(value, Layout::Micros),
        (Kind::SchemaOrBool(_) | Kind::SchemaOrArray(_) | Kind::SchemaOrStrings(_), inner) => {
            normalise_schema(facts, kind, inner);
        }
        _ => {}
    }
}

/// Go writes whole floats without a fraction, up to the size where it turns to exponents.
fn whole_number(float: f64) -> Option<i64> {
    const PLAIN_MAX: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && float.abs() <= PLAIN_MAX).then_some(float as i64)
}

fn normalise_bytes(text: &mut String) {
    let plain = text.len().is_multiple_of(4)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    if !plain && let Ok(bytes) = decode_base64(text) {
        *text = BASE64.encode(bytes);
    }
}

fn normalise_quantity(value: &mut Value) {
    let canonical = match &*value {
        Value::String(text) if is_plain_quantity(text) => return,
        Value::String(text) => Quantity::parse(text.trim()),
        other => Quantity::parse(&other.to_string()),
    };
    if let Ok(quantity) = canonical {
        *value = Value::String(quantity.canonical());
    }
}

fn normalise_time(value: &mut Value, layout: Layout) {
    let Value::String(text) = value else { return };
    if let Ok(Some(canonical)) = gotime::canonical(text, layout) {
        *text = canonical;
    }
    if gotime::is_zero(text) {
        *value = Value::Null;
    }
}

fn normalise_schema(facts: &Facts, kind: Kind, value: &mut Value) {
    match (kind, &mut *value) {
        (
            Kind::SchemaOrBool(index) | Kind::SchemaOrArray(index) | Kind::SchemaOrStrings(index),
            schema @ Value::Object(_),
        ) => {
            normalise(facts, index, schema);
        }
        (Kind::SchemaOrArray(index), Value::Array(schemas)) if !schemas.is_empty() => {
            schemas.iter_mut().for_each(|schema| normalise(facts, index, schema));
        }
        (Kind::SchemaOrStrings(_), Value::Array(names)) if !names.is_empty() => {}
        (Kind::SchemaOrArray(_) | Kind::SchemaOrStrings(_), _) => *value = Value::Null,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::built_in;

    fn check(kind: &str, given: Value, expected: Value) {
        let (api_version, kind) = kind.rsplit_once('/').unwrap();
        let with_type = |mut value: Value| {
            value["apiVersion"] = api_version.into();
            value["kind"] = kind.into();
            value
        };
        let (mut value, expected) = (with_type(given), with_type(expected));
        let declared = built_in(&value);
        declared.normalise(&mut value);
        assert_eq!(value, expected);
        declared.normalise(&mut value);
        assert_eq!(value, expected, "idempotent");
    }

    #[test]
    fn absent_empty_and_null() {
        check("v1/ConfigMap", json!({}), json!({"metadata": {}}));
        check(
            "v1/ConfigMap",
            json!({"metadata": null, "data": {}, "immutable": false}),
            json!({"metadata": {}, "immutable": false}),
        );
        check(
            "v1/ConfigMap",
            json!({"data": {"a": null}, "binaryData": {"b": null}, "foo": 1}),
            json!({"metadata": {}, "data": {"a": ""}, "binaryData": {"b": null}}),
        );
        check(
            "v1/Pod",
            json!({"metadata": {"name": "a", "labels": {}, "finalizers": [], "generation": 0}}),
            json!({"metadata": {"name": "a"}, "spec": {"containers": null}, "status": {}}),
        );
        check(
            "v1/Pod",
            json!({"spec": {"containers": [null, {"name": "a", "image": "", "livenessProbe": {}}], "hostNetwork": false}}),
            json!({"metadata": {}, "spec": {"containers": [{"name": "", "resources": {}},
                {"name": "a", "resources": {}, "livenessProbe": {}}]}, "status": {}}),
        );
        check(
            "apps/v1/Deployment",
            json!({}),
            json!({"metadata": {}, "status": {}, "spec": {"selector": null, "strategy": {},
            "template": {"metadata": {}, "spec": {"containers": null}}}}),
        );
        check("rbac.authorization.k8s.io/v1/Role", json!({"rules": []}), json!({"metadata": {}, "rules": []}));
        check("v1/PodList", json!({}), json!({"metadata": {}, "items": null}));
        check("apps/v1/ControllerRevision", json!({}), json!({"metadata": {}, "data": null, "revision": 0}));
    }

    #[test]
    fn times() {
        check(
            "v1/Event",
            json!({"metadata": {"creationTimestamp": null, "deletionTimestamp": null}, "eventTime": null}),
            json!({"metadata": {}, "eventTime": null, "firstTimestamp": null, "lastTimestamp": null, "involvedObject": {},
                "reportingComponent": "", "reportingInstance": "", "source": {}}),
        );
        check(
            "v1/ConfigMap",
            json!({"metadata": {"creationTimestamp": "2026-11-24T09:00:00.5+01:00"}}),
            json!({"metadata": {"creationTimestamp": "2026-11-24T08:00:00Z"}}),
        );
        check(
            "v1/ConfigMap",
            json!({"metadata": {"creationTimestamp": "0001-01-01T00:00:00Z"}}),
            json!({"metadata": {}}),
        );
        check(
            "coordination.k8s.io/v1/Lease",
            json!({"spec": {"renewTime": "2026-11-24T09:00:00.5+01:00"}}),
            json!({"metadata": {}, "spec": {"renewTime": "2026-11-24T09:00:00.5+01:00"}}),
        );
        check(
            "coordination.k8s.io/v1/Lease",
            json!({"spec": {"renewTime": "2026-11-24T09:00:00.500000+01:00"}}),
            json!({"metadata": {}, "spec": {"renewTime": "2026-11-24T08:00:00.500000Z"}}),
        );
    }

    #[test]
    fn quantities_bytes_and_numbers() {
        check(
            "v1/LimitRange",
            json!({"spec": {"limits": [{"type": "Pod", "max": {"cpu": "1000m", "memory": "1.5Gi", "x": 5, "y": null}}]}}),
            json!({"metadata": {}, "spec": {"limits": [{"type": "Pod", "max": {"cpu": "1", "memory": "1536Mi", "x": "5", "y": "0"}}]}}),
        );
        check(
            "v1/Secret",
            json!({"data": {"a": "aGVs\nbG8=", "b": "", "c": "aGVsbG9=", "d": [104, 105]}}),
            json!({"metadata": {}, "data": {"a": "aGVsbG8=", "b": "", "c": "aGVsbG8=", "d": "aGk="}}),
        );
        check(
            "v1/Service",
            json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81}]}}),
            json!({"metadata": {}, "spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 0}]},
                "status": {"loadBalancer": {}}}),
        );
    }

    #[test]
    fn schemas() {
        let crd = |schema: Value| {
            json!({"metadata": {}, "spec": {"group": "", "names": {"plural": "", "kind": ""}, "scope": "",
            "versions": [{"name": "", "served": false, "storage": false, "schema": {"openAPIV3Schema": schema}}]},
            "status": {"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": null}})
        };
        let given = json!({"items": {"type": "string", "foo": 1}, "additionalProperties": true, "maximum": 1.0, "minimum": 0.5,
            "dependencies": {"a": ["b"], "c": {"type": ""}}, "default": {"any": null}, "enum": [1, null], "not": {}});
        let kept = json!({"items": {"type": "string"}, "additionalProperties": true, "maximum": 1, "minimum": 0.5,
            "dependencies": {"a": ["b"], "c": {}}, "default": {"any": null}, "enum": [1, null], "not": {}});
        check("apiextensions.k8s.io/v1/CustomResourceDefinition", crd(given), crd(kept));
    }

    #[test]
    fn wrong_types_are_left() {
        check("v1/ConfigMap", json!({"data": "text", "metadata": 5}), json!({"data": "text", "metadata": 5}));
    }
}
