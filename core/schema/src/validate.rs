//! What the facts alone say is wrong: values outside a closed set.
//!
//! Deliberately absent: required fields and duplicates in list maps and sets. The reference enforces neither by type
//! (two container ports with one key are accepted, missing fields have messages of their own); kinds do it by hand. Empty
//! values are left to them, too, and `status`, where the reference trusts its writers.

use serde_json::Value;
use triune_api::field::FieldError;

use crate::{
    facts::{Facts, Field, Kind, ShapeIndex},
    walk::{Path, cursor},
};

/// Validates a whole object.
pub(crate) fn validate(facts: &Facts, index: u32, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    in_struct(facts, index, value, Path::Root, &mut errors);
    errors
}

fn in_struct(facts: &Facts, index: u32, value: &Value, path: Path<'_>, errors: &mut Vec<FieldError>) {
    let Value::Object(object) = value else { return };
    let mut fields = cursor(facts, facts.get(index));
    for (key, value) in object {
        let is_status = matches!(path, Path::Root) && matches!(key.as_str(), "status" | "metadata");
        if let Some(field) = fields.seek(key, |_| ()).filter(|_| !is_status) {
            in_shape(facts, field, field.shape, value, Path::Key(&path, key), errors);
        }
    }
}

fn in_shape(
    facts: &Facts,
    field: &Field,
    shape: ShapeIndex,
    value: &Value,
    path: Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    match (facts.pointee(shape).0.kind, value) {
        (Kind::String, Value::String(text)) if !text.is_empty() && !field.enumeration().is_empty() => {
            let supported: Vec<&str> = field.enumeration().iter().map(|value| &**value).collect();
            if !supported.contains(&text.as_str()) {
                errors.push(FieldError::not_supported(&path.to_string(), value, &supported));
            }
        }
        (Kind::Struct(index), _) => in_struct(facts, index, value, path, errors),
        (Kind::List(items), Value::Array(values)) => {
            for (at, value) in values.iter().enumerate() {
                in_shape(facts, field, items, value, Path::Index(&path, at), errors);
            }
        }
        (Kind::Map(values), Value::Object(object)) => {
            for (key, value) in object {
                in_shape(facts, field, values, value, Path::Key(&path, key), errors);
            }
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
    fn closed_sets() {
        let check = |value: Value, expected: &[&str]| {
            let errors = built_in(&value).validate(&value);
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, expected, "{value}");
        };
        let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": spec, "status": {"phase": "Odd"}});
        check(pod(json!({"restartPolicy": "Always", "dnsPolicy": ""})), &[]);
        check(
            pod(
                json!({"restartPolicy": "Sometimes", "containers": [{"imagePullPolicy": "Always"}, {"imagePullPolicy": "x"}]}),
            ),
            &[
                r#"spec.containers[1].imagePullPolicy: Unsupported value: "x": supported values: "Always", "IfNotPresent", "Never""#,
                r#"spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure""#,
            ],
        );
        let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"policyTypes": ["Ingress", "x"]}});
        check(policy, &[r#"spec.policyTypes[1]: Unsupported value: "x": supported values: "Egress", "Ingress""#]);
    }
}
