//! Claims of persistent volumes (kubernetes `pkg/apis/core/validation`, `pkg/api/persistentvolumeclaim`).

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    quantity::{Format, Quantity},
    validation::{dns_subdomain, qualified_name},
};

use super::{
    resource_names::{positive, quantity_value},
    selectors::label_selector,
    validation::quantity,
    volumes::{NAME, STORAGE_CLASS_ANNOTATION, access_modes, basic_amount, class_name, required},
};
use crate::{
    field::Field,
    kind::Kind,
    tables,
    tree::{self, child, fill, fill_unset, remove, set},
};

/// `core/v1 PersistentVolumeClaim`.
pub static PERSISTENT_VOLUME_CLAIMS: Kind = Kind {
    defaults: claim_defaults,
    create: |_, _, claim| {
        set(claim, "status", json!({"phase": "Pending"}));
        complete_data_source(None, claim);
    },
    update: |_, _, old, new| complete_data_source(Some(old), new),
    closed_sets: true,
    validate: |claim, errors| claim_spec(&Field::of(claim, "spec"), errors),
    validate_update: claim_update,
    validate_status: claim_status,
    warnings: |claim, _| claim_warnings(claim),
    returns_deleted_object: true,
    selectable: NAME,
    table: tables::core::PERSISTENT_VOLUME_CLAIMS,
    ..Kind::GENERIC
};

/// Completes a claim, or a template of claims.
pub fn claim_defaults(claim: &mut Value) {
    if let Some(spec) = child(claim, "spec") {
        fill(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = child(claim, "status") {
        fill_unset(status, "phase", "Pending");
    }
}

/// The spec of a claim, or of a template of claims.
pub fn claim_spec(spec: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let modes = spec.at("accessModes");
    if modes.is_empty() {
        errors.push(modes.required("at least 1 access mode is required"));
    }
    label_selector(&spec.at("selector"), errors);
    access_modes(&modes, errors);
    let requests = spec.at("resources.requests");
    let resources = spec.at("resources");
    let storage = Field::under(resources.path().key("storage"), requests.key("storage").value());
    if storage.is_set() {
        let before = errors.len();
        positive(&storage, errors);
        if errors.len() == before {
            quantity_value("storage", &storage, errors);
        }
    } else {
        errors.push(storage.required(""));
    }
    class_name(&spec.at("storageClassName"), errors);
    let mode = spec.at("volumeMode");
    if mode.is_set() {
        mode.one_of(&["Block", "Filesystem"], errors);
    }
    let (source, reference) = (spec.at("dataSource"), spec.at("dataSourceRef"));
    for source in [&source, &reference].into_iter().filter(|source| source.is_set()) {
        data_source(source, errors);
    }
    let differ = |field: &str| source.at(field).value() != reference.at(field).value();
    // The reference shows the path, in its own form.
    let shown = json!({});
    if !reference.at("namespace").text().is_empty() {
        if source.is_set() {
            errors.push(spec.invalid_as(&shown, "may not be specified when dataSourceRef.namespace is specified"));
        }
    } else if source.is_set() && reference.is_set() && ["apiGroup", "kind", "name"].into_iter().any(differ) {
        errors.push(spec.invalid_as(&shown, "must match dataSourceRef"));
    }
    class_name(&spec.at("volumeAttributesClassName"), errors);
}

fn data_source(source: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    required(source, &["name", "kind"], errors);
    let (group, kind) = (source.at("apiGroup"), source.at("kind"));
    if !group.text().is_empty() {
        group.invalid_for(dns_subdomain(group.text()), errors);
    } else if kind.text() != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(source.invalid_as(&json!(kind.text()), detail));
    }
}

/// `dataSource` and `dataSourceRef` say the same. Before there was the second, the first could be garbage, which is dropped
/// (KEP 1495); other namespaces as sources are off by default.
fn complete_data_source(old: Option<&Value>, claim: &mut Value) {
    let had = |field: &str| old.is_some_and(|old| tree::has(old, field));
    let (had_source, had_reference) = (had("/spec/dataSource"), had("/spec/dataSourceRef"));
    let Some(spec) = child(claim, "spec") else { return };
    if !tree::text(spec, "/dataSourceRef/namespace").is_empty() && !had_reference {
        remove(spec, "dataSourceRef");
    }
    let (group, kind) = (tree::text(spec, "/dataSource/apiGroup"), tree::text(spec, "/dataSource/kind"));
    let known = matches!((group, kind), ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot"));
    if !had_source && !had_reference && !tree::has(spec, "/dataSourceRef") && !known {
        remove(spec, "dataSource");
    }
    let (source, reference) = (spec.get("dataSource").cloned(), spec.get("dataSourceRef").cloned());
    match (source.filter(|source| !source.is_null()), reference.filter(|reference| !reference.is_null())) {
        (Some(source), None) => set(spec, "dataSourceRef", source),
        (None, Some(mut reference)) if tree::text(&reference, "/namespace").is_empty() => {
            remove(&mut reference, "namespace");
            set(spec, "dataSource", reference);
        }
        _ => {}
    }
}

/// Bound claims may ask for more; the binder sets the volume once.
fn claim_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let annotation = |claim: &Value| {
        let annotations = Field::of(claim, "metadata.annotations");
        annotations.key(STORAGE_CLASS_ANNOTATION).value().as_str().map(String::from)
    };
    let (old_class, new_class) = (Field::of(old, "spec.storageClassName"), Field::of(new, "spec.storageClassName"));
    let (before, after) = (annotation(old), annotation(new));
    let names_class = new_class.is_set() && !old_class.is_set();
    let annotated_class = before.as_deref() == Some(new_class.text());
    let from_annotation = names_class && annotated_class && (after.is_none() || after == before);
    if !from_annotation && before.clone().unwrap_or_default() != after.clone().unwrap_or_default() {
        let field = format!("metadata.annotations.{STORAGE_CLASS_ANNOTATION}");
        errors.push(FieldError::invalid(&field, &json!(after.unwrap_or_default()), "field is immutable"));
    }
    let bound = tree::text(new, "/status/phase") == "Bound";
    let mut expected = old.get("spec").cloned().unwrap_or_default();
    let given = new.get("spec").unwrap_or(&Value::Null);
    complete_data_source_of(&mut expected);
    let mut free = |field: &str| tree::copy_field(given, &mut expected, field);
    if tree::text(old, "/spec/volumeName").is_empty() {
        free("volumeName");
    }
    if from_annotation || (names_class && (before.is_none() || annotated_class)) {
        free("storageClassName");
    }
    if bound {
        free("volumeAttributesClassName");
        if let Some(amount) = given.pointer("/resources/requests/storage").cloned()
            && let Some(requests) = tree::object_mut(&mut expected, "/resources/requests")
        {
            set(requests, "storage", amount);
        }
    }
    if expected != *given {
        let message = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                       bound claims\n";
        errors.push(FieldError::forbidden("spec", message));
    }
    shrinks(old, new, errors);
    let (was, is) = (Field::of(old, "spec.volumeMode"), Field::of(new, "spec.volumeMode"));
    if was.value() != is.value() {
        errors.push(FieldError::invalid("volumeMode", is.value(), "field is immutable"));
    }
    let (was, is) =
        (Field::of(old, "spec.volumeAttributesClassName"), Field::of(new, "spec.volumeAttributesClassName"));
    if was.value() != is.value()
        && Field::of(old, "status.currentVolumeAttributesClassName").is_set()
        && is.text().is_empty()
    {
        let what = if is.is_set() { "empty string" } else { "nil" };
        let detail = format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
        errors.push(is.forbidden(detail));
    }
}

fn complete_data_source_of(spec: &mut Value) {
    let mut claim = json!({"spec": spec.take()});
    let old = claim.clone();
    complete_data_source(Some(&old), &mut claim);
    *spec = claim["spec"].take();
}

/// A claim may ask for less again, as long as that is more than the volume has.
fn shrinks(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    const STORAGE: &str = "spec.resources.requests.storage";
    let amount = |claim: &Value, field: &str| {
        quantity(Field::of(claim, field).value()).unwrap_or_else(|| Quantity::from_integer(0, Format::DecimalSi))
    };
    let (before, after) = (amount(old, STORAGE), amount(new, STORAGE));
    if after < before && after <= amount(old, "status.capacity.storage") {
        errors.push(FieldError::forbidden(STORAGE, "field can not be less than status.capacity"));
    }
}

fn claim_status(_: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    const STATES: [&str; 5] = [
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    let status = Field::of(new, "status");
    for (_, amount) in status.at("capacity").entries() {
        basic_amount(&amount, errors);
    }
    let states = status.at("allocatedResourceStatuses");
    for (name, state) in states.entries() {
        resource_key(name, &states, errors);
        if !STATES.contains(&state.text()) {
            let mut sorted = STATES;
            sorted.sort_unstable();
            errors.push(FieldError::not_supported(&states.to_string(), &json!(name), &sorted));
        }
    }
    let allocated = status.at("allocatedResources");
    for (name, amount) in allocated.entries() {
        let before = errors.len();
        resource_key(name, &allocated, errors);
        if errors.len() == before {
            basic_amount(&amount, errors);
        }
        if errors.len() == before {
            quantity_value("storage", &amount, errors);
        }
    }
}

/// Of the resources without a domain a claim has storage only.
fn resource_key(name: &str, at: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let messages = qualified_name(name);
    let malformed = !messages.is_empty();
    errors.extend(messages.into_iter().map(|message| at.invalid_as(&json!(name), message)));
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    if !malformed && native && name != "storage" {
        errors.push(FieldError::not_supported(&at.to_string(), &json!(name), &["storage"]));
    }
}

fn claim_warnings(claim: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if Field::of(claim, "metadata.annotations").key(STORAGE_CLASS_ANNOTATION).is_set() {
        warnings.push(format!(
            "metadata.annotations[{STORAGE_CLASS_ANNOTATION}]: deprecated since v1.8; use \"storageClassName\" attribute \
             instead"
        ));
    }
    let storage = Field::of(claim, "spec.resources.requests.storage");
    if quantity(storage.value()).is_some_and(|amount| amount.milli_value() % 1000 != 0) {
        let text = storage.text();
        warnings.push(format!(
            "spec.resources.requests[storage]: fractional byte value {text:?} is invalid, must be an integer"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_data_follow_each_other() {
        let check = |spec: Value, expected: Value| {
            let mut claim = json!({"spec": spec});
            complete_data_source(None, &mut claim);
            assert_eq!(claim["spec"], expected);
        };
        let claim = json!({"kind": "PersistentVolumeClaim", "name": "a"});
        let other = json!({"apiGroup": "x.example", "kind": "Y", "name": "a"});
        let both = |source: &Value| json!({"dataSource": source, "dataSourceRef": source});
        check(json!({"dataSource": claim}), both(&claim));
        check(json!({"dataSourceRef": other}), both(&other));
        check(json!({"dataSource": other}), json!({}));
        check(json!({"dataSourceRef": {"kind": "Y", "name": "a", "namespace": "b"}}), json!({}));
    }
}
