//! Defaults that the types declare (`+default` markers).
//!
//! As in the reference's generated functions: a field that is absent, null or empty where Go has no pointer gets its
//! default, in every struct that the object has; structs that are absent behind pointers stay absent. Zero values that
//! types declare for keys of list maps change nothing, as Go has them without being told.

use serde_json::Value;

use crate::facts::{Facts, Field, Kind, ShapeIndex};

/// Sets declared defaults in a whole object.
pub(crate) fn apply_defaults(facts: &Facts, index: u32, value: &mut Value) {
    let Value::Object(object) = value else { return };
    for field in facts.json_fields(facts.get(index)) {
        let default = field.default().filter(|default| !is_unset(facts, field, default));
        match (object.get_mut(&*field.name), default) {
            (Some(value), default) => {
                if let Some(default) = default.filter(|_| is_unset(facts, field, value)) {
                    *value = default.clone();
                }
                in_shape(facts, field.shape, value);
            }
            (None, Some(default)) => {
                object.insert(field.name.to_string(), default.clone());
            }
            (None, None) => {}
        }
    }
}

fn is_unset(facts: &Facts, field: &Field, value: &Value) -> bool {
    match (facts.shape(field.shape).kind, value) {
        (_, Value::Null) => true,
        (Kind::String, Value::String(text)) => text.is_empty(),
        (Kind::Integer(_), Value::Number(number)) => number.as_i64() == Some(0),
        _ => false,
    }
}

fn in_shape(facts: &Facts, shape: ShapeIndex, value: &mut Value) {
    match (facts.pointee(shape).0.kind, value) {
        (Kind::Struct(index), value) => apply_defaults(facts, index, value),
        (Kind::List(items), Value::Array(values)) => values.iter_mut().for_each(|value| in_shape(facts, items, value)),
        (Kind::Map(values), Value::Object(object)) => {
            object.values_mut().for_each(|value| in_shape(facts, values, value));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::built_in;

    #[test]
    fn declared_defaults() {
        let check = |given: Value, expected: Value| {
            let declared = built_in(&given);
            let mut value = given;
            declared.apply_defaults(&mut value);
            assert_eq!(value, expected);
            declared.apply_defaults(&mut value);
            assert_eq!(value, expected, "idempotent");
        };
        let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": spec});
        check(
            pod(json!({"containers": [{"ports": [{}, {"protocol": ""}, {"protocol": "UDP"}]}]})),
            pod(json!({"containers": [{"ports": [{"protocol": "TCP"}, {"protocol": "TCP"}, {"protocol": "UDP"}]}]})),
        );
        check(
            pod(json!({"volumes": [{"iscsi": {}}, {"azureDisk": {"readOnly": true}}]})),
            pod(json!({"volumes": [{"iscsi": {"iscsiInterface": "default"}},
                {"azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": true}}]})),
        );
        check(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {}}),
        );
    }
}
