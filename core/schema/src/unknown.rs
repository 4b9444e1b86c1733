//! Fields that a type does not have: reported by strict decoding, dropped by any decoding.
//!
//! Values with a JSON form of their own (raw extensions, schemas behind `items` and `additionalProperties`) decode
//! themselves and report nothing, as in the reference; pruning does look into schemas.

use serde_json::Value;

use crate::{
    facts::{Facts, Kind, ShapeIndex},
    walk::{Path, cursor},
};

/// The reference accumulates no more (sigs.k8s.io/json, `saveStrictError`).
const REPORTED_MAX: usize = 100;

/// Paths of unknown fields, in the order of the object's sorted keys.
pub(crate) fn unknown_fields(facts: &Facts, index: u32, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    in_struct(facts, index, value, Path::Root, &mut found);
    found
}

fn in_struct(facts: &Facts, index: u32, value: &Value, path: Path<'_>, found: &mut Vec<String>) {
    let Value::Object(object) = value else { return };
    let mut fields = cursor(facts, facts.get(index));
    for (key, value) in object {
        match fields.seek(key, |_| ()) {
            Some(field) => in_shape(facts, field.shape, value, Path::Key(&path, key), found),
            None if found.len() < REPORTED_MAX => found.push(Path::Key(&path, key).to_string()),
            None => return,
        }
    }
}

fn in_shape(facts: &Facts, shape: ShapeIndex, value: &Value, path: Path<'_>, found: &mut Vec<String>) {
    match (facts.pointee(shape).0.kind, value) {
        (Kind::Struct(index), _) => in_struct(facts, index, value, path, found),
        (Kind::List(items), Value::Array(values)) if has_fields(facts, items) => {
            for (at, value) in values.iter().enumerate() {
                in_shape(facts, items, value, Path::Index(&path, at), found);
            }
        }
        (Kind::Map(values), Value::Object(object)) if has_fields(facts, values) => {
            for (key, value) in object {
                in_shape(facts, values, value, Path::Key(&path, key), found);
            }
        }
        _ => {}
    }
}

/// Drops unknown fields.
pub(crate) fn prune(facts: &Facts, index: u32, value: &mut Value) {
    let Value::Object(object) = value else { return };
    let mut fields = cursor(facts, facts.get(index));
    object.retain(|key, value| match fields.seek(key, |_| ()) {
        Some(field) => {
            prune_shape(facts, field.shape, value);
            true
        }
        None => false,
    });
}

fn prune_shape(facts: &Facts, shape: ShapeIndex, value: &mut Value) {
    match (facts.pointee(shape).0.kind, value) {
        (Kind::Struct(index), value) => prune(facts, index, value),
        (Kind::SchemaOrBool(index) | Kind::SchemaOrStrings(index), value @ Value::Object(_)) => {
            prune(facts, index, value);
        }
        (Kind::SchemaOrArray(index), Value::Array(values)) => {
            values.iter_mut().for_each(|value| prune(facts, index, value));
        }
        (Kind::SchemaOrArray(index), value) => prune(facts, index, value),
        (Kind::List(items), Value::Array(values)) if has_fields(facts, items) => {
            values.iter_mut().for_each(|value| prune_shape(facts, items, value));
        }
        (Kind::Map(values), Value::Object(object)) if has_fields(facts, values) => {
            object.values_mut().for_each(|value| prune_shape(facts, values, value));
        }
        _ => {}
    }
}

/// Whether values of this shape may hold structs.
fn has_fields(facts: &Facts, shape: ShapeIndex) -> bool {
    matches!(
        facts.pointee(shape).0.kind,
        Kind::Struct(_)
            | Kind::List(_)
            | Kind::Map(_)
            | Kind::SchemaOrArray(_)
            | Kind::SchemaOrBool(_)
            | Kind::SchemaOrStrings(_)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::built_in;

    #[test]
    fn unknown_fields_are_named_by_path_and_pruned() {
        let check = |value: serde_json::Value, expected: &[&str]| {
            let declared = built_in(&value);
            assert_eq!(declared.unknown_fields(&value), expected, "{value}");
            let mut pruned = value.clone();
            declared.prune(&mut pruned);
            assert_eq!(declared.unknown_fields(&pruned), Vec::<String>::new());
        };
        check(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"any": "thing"}}}), &[]);
        check(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "foo": 1, "metadata": {"nam": "a"}, "spec": {
                "template": {"spec": {"containers": [{"name": "a"}, {"image": "b", "foo": {"bar": 1}}]}}, "Replicas": 1}}),
            &["foo", "metadata.nam", "spec.Replicas", "spec.template.spec.containers[1].foo"],
        );
        check(
            json!({"apiVersion": "v1", "kind": "Pod", "spec": {"volumes": [{"emptyDir": {}, "hostPath": {"x": 1}}]}}),
            &["spec.volumes[0].hostPath.x"],
        );
        check(json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": {"any": {"thing": 1}}}), &[]);
        check(
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {"versions": [{
                "schema": {"openAPIV3Schema": {"properties": {"a": {"typ": "object"}}}}}]}}),
            &["spec.versions[0].schema.openAPIV3Schema.properties.a.typ"],
        );
        check(json!({"apiVersion": "v1", "kind": "Pod", "spec": "text"}), &[]);
    }

    #[test]
    fn schemas_behind_their_own_decoders_are_pruned_and_not_reported() {
        let mut value = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {
            "versions": [{"schema": {"openAPIV3Schema": {"items": {"foo": 1, "type": "string"},
            "additionalProperties": {"bar": 1}, "dependencies": {"a": {"baz": 1}, "b": ["c"]}}}}]}});
        let declared = built_in(&value);
        assert_eq!(declared.unknown_fields(&value), Vec::<String>::new());
        declared.prune(&mut value);
        let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let expected =
            json!({"items": {"type": "string"}, "additionalProperties": {}, "dependencies": {"a": {}, "b": ["c"]}});
        assert_eq!(*schema, expected);
    }

    #[test]
    fn reports_are_bounded() {
        let fields: serde_json::Map<_, _> = (0..300).map(|at| (format!("x{at}"), json!(1))).collect();
        let value = json!({"apiVersion": "v1", "kind": "Pod", "spec": fields});
        assert_eq!(built_in(&value).unknown_fields(&value).len(), 100);
    }
}
