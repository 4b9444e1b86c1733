//! The rules of `metadata`: of new objects and of changed ones.
//!
//! Both functions expect `metadata` as the verbs complete it: name generated, system fields set.

use std::collections::BTreeSet;

use serde_json::json;

use super::{dns_label, label_value, mask_trailing_dash, qualified_name};
use crate::{Value, field::FieldError, meta, names::GroupVersion};

/// How many bytes all annotations of an object may have, keys and values.
pub const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
/// Finalizer that orphans the dependents of a deleted object.
pub const FINALIZER_ORPHAN_DEPENDENTS: &str = "orphan";
/// Finalizer that deletes the dependents before their owner.
pub const FINALIZER_DELETE_DEPENDENTS: &str = "foregroundDeletion";

const FIELD_MANAGER_BYTES_MAX: usize = 128;
const SUBRESOURCE_BYTES_MAX: usize = 256;

/// What is wrong with the metadata of a new object. `name_check` says what is wrong with a name.
pub fn validate_object_meta(
    object: &Value,
    namespaced: bool,
    name_check: &dyn Fn(&str) -> Vec<String>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let generate_name = meta::generate_name(object);
    if !generate_name.is_empty() {
        for message in name_check(&mask_trailing_dash(generate_name)) {
            errors.push(FieldError::invalid("metadata.generateName", &json!(generate_name), message));
        }
    }
    let name = meta::name(object);
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        let messages = name_check(name).into_iter();
        errors.extend(messages.map(|message| FieldError::invalid("metadata.name", &json!(name), message)));
    }
    validate_namespace(object, namespaced, &mut errors);
    validate_generation(object, &mut errors);
    validate_common(object, &mut errors);
    errors.extend(validate_finalizers(&meta::finalizers(object), "metadata.finalizers"));
    errors.extend(validate_managed_fields(meta::managed_fields(object), "metadata.managedFields"));
    errors
}

/// What is wrong with the metadata of a changed object.
pub fn validate_object_meta_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if meta::deletion_timestamp(old).is_some() {
        let held: BTreeSet<&str> = meta::finalizers(old).into_iter().collect();
        let added: BTreeSet<&str> = meta::finalizers(new).into_iter().filter(|name| !held.contains(name)).collect();
        if !added.is_empty() {
            let names: Vec<String> = added.iter().map(|name| format!("{name:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                names.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
    if meta::resource_version(new).is_empty() {
        errors.push(FieldError::invalid("metadata.resourceVersion", &json!(""), "must be specified for an update"));
    }
    validate_generation(new, &mut errors);
    let generation = meta::generation(new);
    if generation < meta::generation(old) {
        errors.push(FieldError::invalid("metadata.generation", &json!(generation), "must not be decremented"));
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let is_text = matches!(field, "name" | "namespace" | "uid");
        let value_of = |object: &Value| {
            let value = meta::metadata(object).and_then(|map| map.get(field)).cloned().unwrap_or_default();
            if value.is_null() && is_text { json!("") } else { value }
        };
        errors.extend(validate_immutable(&format!("metadata.{field}"), &value_of(new), &value_of(old)));
    }
    validate_common(new, &mut errors);
    errors.extend(validate_managed_fields(meta::managed_fields(new), "metadata.managedFields"));
    errors
}

fn validate_namespace(object: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    let (namespace, path) = (meta::namespace(object), "metadata.namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.push(FieldError::required(path, "")),
        (true, false) => {
            let messages = dns_label(namespace).into_iter();
            errors.extend(messages.map(|message| FieldError::invalid(path, &json!(namespace), message)));
        }
        (false, true) => {}
        (false, false) => errors.push(FieldError::forbidden(path, "not allowed on this type")),
    }
}

fn validate_generation(object: &Value, errors: &mut Vec<FieldError>) {
    let generation = meta::generation(object);
    if generation < 0 {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid("metadata.generation", &json!(generation), detail));
    }
}

fn validate_common(object: &Value, errors: &mut Vec<FieldError>) {
    let field = |name: &str| meta::metadata(object).and_then(|map| map.get(name));
    errors.extend(validate_labels(field("labels"), "metadata.labels"));
    errors.extend(validate_annotations(field("annotations"), "metadata.annotations"));
    errors.extend(validate_owner_references(meta::owner_references(object), "metadata.ownerReferences"));
}

/// What is wrong with labels, given as a JSON object.
pub fn validate_labels(labels: Option<&Value>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        errors.extend(qualified_name(key).into_iter().map(|message| FieldError::invalid(path, &json!(key), message)));
        match value.as_str() {
            Some(text) => {
                let messages = label_value(text).into_iter();
                errors.extend(messages.map(|message| FieldError::invalid(path, value, message)));
            }
            None => errors.push(FieldError::type_invalid(&format!("{path}.{key}"), value, "must be a string")),
        }
    }
    errors
}

/// What is wrong with annotations, given as a JSON object.
pub fn validate_annotations(annotations: Option<&Value>, path: &str) -> Vec<FieldError> {
    let (mut errors, mut bytes) = (Vec::new(), 0);
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        let messages = qualified_name(&key.to_lowercase()).into_iter();
        errors.extend(messages.map(|message| FieldError::invalid(path, &json!(key), message)));
        match value.as_str() {
            Some(text) => bytes += key.len() + text.len(),
            None => errors.push(FieldError::type_invalid(&format!("{path}.{key}"), value, "must be a string")),
        }
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_BYTES_MAX));
    }
    errors
}

/// What is wrong with finalizers.
pub fn validate_finalizers(finalizers: &[&str], path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for finalizer in finalizers {
        let messages = qualified_name(finalizer).into_iter();
        errors.extend(messages.map(|message| FieldError::invalid(path, &json!(finalizer), message)));
    }
    if finalizers.contains(&FINALIZER_ORPHAN_DEPENDENTS) && finalizers.contains(&FINALIZER_DELETE_DEPENDENTS) {
        let detail =
            format!("finalizer {FINALIZER_ORPHAN_DEPENDENTS} and {FINALIZER_DELETE_DEPENDENTS} cannot be both set");
        errors.push(FieldError::invalid(path, &json!(finalizers), detail));
    }
    errors
}

/// What is wrong with owner references.
pub fn validate_owner_references(references: &[Value], path: &str) -> Vec<FieldError> {
    let (mut errors, mut controller) = (Vec::new(), String::new());
    for (index, reference) in references.iter().enumerate() {
        validate_owner_reference(reference, &format!("{path}[{index}]"), &mut errors);
        if reference.get("controller") == Some(&Value::Bool(true)) {
            let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
            let this = format!("{}/{}", text("kind"), text("name"));
            if controller.is_empty() {
                controller = this;
            } else {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {controller} and {this}"
                );
                let printed: Vec<String> = references.iter().map(print_owner_reference).collect();
                let mut error = FieldError::invalid(path, &Value::Null, detail);
                error.value = Some(format!("[{}]", printed.join(",")));
                errors.push(error);
            }
        }
    }
    errors
}

fn validate_owner_reference(reference: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version.is_empty() {
        errors.push(FieldError::required(&format!("{path}.apiVersion"), "must not be empty"));
    } else if GroupVersion::parse(api_version).is_none() {
        let detail = "must be <group>/<version> or <version>";
        errors.push(FieldError::invalid(&format!("{path}.apiVersion"), &json!(api_version), detail));
    }
    for field in ["kind", "name", "uid"] {
        if text(field).is_empty() {
            errors.push(FieldError::required(&format!("{path}.{field}"), "must not be empty"));
        }
    }
    if api_version == "v1" && kind == "Event" {
        let mut error = FieldError::invalid(path, &Value::Null, "/v1, Kind=Event is disallowed from being an owner");
        error.value = Some(print_owner_reference(reference));
        errors.push(error);
    }
}

/// In the order of the reference's fields.
fn print_owner_reference(reference: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let printed = fields.iter().filter_map(|field| match reference.get(*field) {
        None if matches!(*field, "controller" | "blockOwnerDeletion") => None,
        None => Some(format!("{field:?}:\"\"")),
        Some(value) => Some(format!("{field:?}:{value}")),
    });
    format!("{{{}}}", printed.collect::<Vec<_>>().join(","))
}

/// What is wrong with managed fields.
pub fn validate_managed_fields(entries: &[Value], path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        match text("operation") {
            "" => errors.push(FieldError::required(&format!("{path}.operation"), "must not be empty")),
            "Apply" | "Update" => {}
            other => {
                let supported = ["Apply", "Update"];
                errors.push(FieldError::not_supported(&format!("{path}.operation"), &json!(other), &supported));
            }
        }
        let fields_type = text("fieldsType");
        if !matches!(fields_type, "" | "FieldsV1") {
            let detail = "must be `FieldsV1`";
            errors.push(FieldError::invalid(&format!("{path}.fieldsType"), &json!(fields_type), detail));
        }
        errors.extend(validate_field_manager(text("manager"), &format!("{path}.manager")));
        if text("subresource").len() > SUBRESOURCE_BYTES_MAX {
            errors.push(FieldError::too_long(&format!("{path}.subresource"), SUBRESOURCE_BYTES_MAX));
        }
    }
    errors
}

/// What is wrong with the name of a field manager.
pub fn validate_field_manager(manager: &str, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if manager.len() > FIELD_MANAGER_BYTES_MAX {
        errors.push(FieldError::too_long(path, FIELD_MANAGER_BYTES_MAX));
    }
    for (position, character) in manager.char_indices() {
        // Go prints spaces other than U+0020 as not printable.
        if character.is_control() || (character.is_whitespace() && character != ' ') {
            let detail = format!("invalid character U+{:04X} (at position {position})", u32::from(character));
            errors.push(FieldError::invalid(path, &json!(manager), detail));
        }
    }
    errors
}

/// That a field has not changed.
pub fn validate_immutable(path: &str, new: &Value, old: &Value) -> Option<FieldError> {
    (new != old).then(|| FieldError::invalid(path, new, "field is immutable"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::dns_subdomain;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(|error| error.to_string().chars().take(152).collect()).collect()
    }

    #[test]
    fn new_objects() {
        let check = |metadata: Value, namespaced: bool, expect: &[&str]| {
            let object = json!({"metadata": metadata});
            assert_eq!(texts(validate_object_meta(&object, namespaced, &dns_subdomain)), expect, "{object}");
        };
        check(json!({"name": "a", "namespace": "b"}), true, &[]);
        check(json!({"name": "a"}), false, &[]);
        check(json!({}), false, &["metadata.name: Required value: name or generateName is required"]);
        check(json!({"name": "a"}), true, &["metadata.namespace: Required value"]);
        check(
            json!({"name": "a", "namespace": "b"}),
            false,
            &["metadata.namespace: Forbidden: not allowed on this type"],
        );
        check(
            json!({"name": "a", "namespace": "b.c"}),
            true,
            &[r#"metadata.namespace: Invalid value: "b.c": must not contain dots"#],
        );
        check(json!({"name": "a", "generateName": "a-"}), false, &[]);
        check(
            json!({"name": "A_b"}),
            false,
            &[
                r#"metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and e"#,
            ],
        );
        check(
            json!({"name": "a", "generation": -1}),
            false,
            &["metadata.generation: Invalid value: -1: must be greater than or equal to 0"],
        );
        check(
            json!({"name": "a", "labels": {"/x": "1"}, "annotations": {"/Y": "2"}}),
            false,
            &[
                r#"metadata.labels: Invalid value: "/x": prefix part must be non-empty"#,
                r#"metadata.annotations: Invalid value: "/Y": prefix part must be non-empty"#,
            ],
        );
        check(
            json!({"name": "a", "annotations": {"y": "2".repeat(256 * 1024)}}),
            false,
            &["metadata.annotations: Too long: may not be more than 262144 bytes"],
        );
        check(json!({"name": "a", "annotations": {"Example.COM/y": "2".repeat(256 * 1024 - 13)}}), false, &[]);
        check(
            json!({"name": "a", "finalizers": ["a/b", "orphan", "foregroundDeletion", "a/"]}),
            false,
            &[
                r#"metadata.finalizers: Invalid value: "a/": name part must be non-empty"#,
                r#"metadata.finalizers: Invalid value: "a/": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeri"#,
                r#"metadata.finalizers: Invalid value: ["a/b","orphan","foregroundDeletion","a/"]: finalizer orphan and foregroundDeletion cannot be both set"#,
            ],
        );
    }

    #[test]
    fn owners() {
        let owner = |kind: &str, controller: bool| json!({"apiVersion": "v1", "kind": kind, "name": "n", "uid": "u", "controller": controller});
        let check = |references: Vec<Value>, expect: &[&str]| {
            let printed: Vec<String> =
                validate_owner_references(&references, "r").iter().map(ToString::to_string).collect();
            assert_eq!(printed, expect);
        };
        check(vec![owner("Pod", true), owner("Node", false)], &[]);
        check(
            vec![json!({"apiVersion": "a/b/c"})],
            &[
                r#"r[0].apiVersion: Invalid value: "a/b/c": must be <group>/<version> or <version>"#,
                "r[0].kind: Required value: must not be empty",
                "r[0].name: Required value: must not be empty",
                "r[0].uid: Required value: must not be empty",
            ],
        );
        check(
            vec![owner("Event", false)],
            &[
                r#"r[0]: Invalid value: {"apiVersion":"v1","kind":"Event","name":"n","uid":"u","controller":false}: /v1, Kind=Event is disallowed from being an owner"#,
            ],
        );
        check(
            vec![owner("A", true), owner("B", true)],
            &[
                r#"r: Invalid value: [{"apiVersion":"v1","kind":"A","name":"n","uid":"u","controller":true},{"apiVersion":"v1","kind":"B","name":"n","uid":"u","controller":true}]: Only one reference can have Controller set to true. Found "true" in references for A/n and B/n"#,
            ],
        );
    }

    #[test]
    fn changed_objects() {
        let old = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 2, "resourceVersion": "5",
            "creationTimestamp": "2026-11-24T08:00:00Z", "finalizers": ["x/y"]}});
        let check = |change: fn(&mut Value, &mut Value), expect: &[&str]| {
            let (mut new, mut old) = (old.clone(), old.clone());
            change(&mut new, &mut old);
            assert_eq!(texts(validate_object_meta_update(&new, &old)), expect);
        };
        check(|_, _| {}, &[]);
        check(|new, _| meta::set_name(new, "b"), &[r#"metadata.name: Invalid value: "b": field is immutable"#]);
        check(|new, _| meta::set_uid(new, ""), &[r#"metadata.uid: Invalid value: "": field is immutable"#]);
        check(
            |new, _| meta::set_generation(new, 1),
            &["metadata.generation: Invalid value: 1: must not be decremented"],
        );
        check(
            |new, _| meta::set_resource_version(new, ""),
            &[r#"metadata.resourceVersion: Invalid value: "": must be specified for an update"#],
        );
        check(
            |new, _| meta::set_deletion(new, "2026-11-24T08:00:00Z", 30),
            &[
                r#"metadata.deletionTimestamp: Invalid value: "2026-11-24T08:00:00Z": field is immutable"#,
                "metadata.deletionGracePeriodSeconds: Invalid value: 30: field is immutable",
            ],
        );
        check(|new, _| meta::add_finalizer(new, "new"), &[]);
        check(
            |new, old| {
                meta::set_deletion(new, "2026-11-24T08:00:00Z", 0);
                meta::set_deletion(old, "2026-11-24T08:00:00Z", 0);
                meta::set_finalizers(new, ["z", "x/y", "b"]);
            },
            &[
                r#"metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"b", "z"}"#,
            ],
        );
        check(
            |new, _| {
                meta::set_managed_fields(
                    new,
                    vec![json!({"operation": "Patch", "fieldsType": "V2", "manager": "a\nb"})],
                );
            },
            &[
                r#"metadata.managedFields[0].operation: Unsupported value: "Patch": supported values: "Apply", "Update""#,
                r#"metadata.managedFields[0].fieldsType: Invalid value: "V2": must be `FieldsV1`"#,
                r#"metadata.managedFields[0].manager: Invalid value: "a\nb": invalid character U+000A (at position 1)"#,
            ],
        );
    }
}
