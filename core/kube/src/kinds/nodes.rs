//! Nodes (kubernetes `pkg/apis/core/validation`, `pkg/registry/core/node`).

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    validation::{
        label_value,
        network::{self, Cidr},
    },
};

use super::{resource_names::quantity_value, selectors::label_key};
use crate::{
    field::Field,
    kind::{Kind, Selectable},
    tables,
    tree::{self, child, fill, remove},
};

/// `core/v1 Node`: the kubelet creates its node with a status.
pub static NODES: Kind = Kind {
    defaults: |node| {
        if let Some(capacity) = node.pointer("/status/capacity").cloned()
            && let Some(status) = child(node, "status")
        {
            fill(status, "allocatable", capacity);
        }
    },
    // A configuration from the API was a feature that is gone.
    create: |_, _, node| {
        drop_config(node, "spec", "configSource");
        drop_config(node, "status", "config");
    },
    update: |_, _, old, new| {
        if !tree::has(old, "/spec/configSource") {
            drop_config(new, "spec", "configSource");
        }
    },
    update_status: |_, old, new| {
        if !tree::has(old, "/status/config") {
            drop_config(new, "status", "config");
        }
    },
    closed_sets: true,
    validate,
    validate_update,
    validate_status: |old, new, errors| {
        validate(new, errors);
        validate_update(old, new, errors);
    },
    warnings: |node, _| warnings(node),
    creates_with_status: true,
    selectable: &[Selectable {
        path: "spec.unschedulable",
        value: |node| tree::truth(node, "/spec/unschedulable").to_string(),
    }],
    table: tables::core::NODES,
    ..Kind::GENERIC
};

/// Longest name of a feature that a node declares.
const FEATURE_BYTES_MAX: usize = 253;

fn drop_config(node: &mut Value, section: &str, field: &str) {
    if let Some(section) = node.get_mut(section) {
        remove(section, field);
    }
}

fn validate(node: &Value, errors: &mut Vec<FieldError>) {
    taints(node, errors);
    amounts(node, errors);
    declared_features(node, errors);
    let ranges = Field::of(node, "spec.podCIDRs");
    for range in ranges.items() {
        range.invalid_for(network::legacy_cidr(range.text()), errors);
    }
    if ranges.len() > 1 {
        let families: Vec<bool> =
            ranges.texts().filter_map(Cidr::parse_leniently).map(|range| range.address.is_ipv6()).collect();
        if families.len() == ranges.len() && (ranges.len() > 2 || families[0] == families[1]) {
            errors.push(ranges.invalid("may specify no more than one CIDR for each IP family"));
        }
    }
}

fn validate_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let addresses = Field::of(new, "status.addresses");
    let mut seen: Vec<&Value> = Vec::new();
    for address in addresses.items() {
        if seen.contains(&address.value()) {
            let mut error = address.duplicate();
            let of = |field: &str| json!(address.at(field).text());
            error.value = Some(format!(r#"{{"Type":{},"Address":{}}}"#, of("type"), of("address")));
            errors.push(error);
        }
        seen.push(address.value());
    }
    let (before, after) = (Field::of(old, "spec.podCIDRs"), Field::of(new, "spec.podCIDRs"));
    if !before.is_empty() && before.value() != after.value() {
        errors.push(after.forbidden(r#"node updates may not change podCIDR except from "" to valid"#));
    }
    let (before, after) = (Field::of(old, "spec.providerID"), Field::of(new, "spec.providerID"));
    if !before.text().is_empty() && before.text() != after.text() {
        let detail = match after.text() {
            "" => "field cannot be cleared once set",
            _ => "field cannot be modified once set",
        };
        errors.push(after.invalid_as(&Value::Null, detail));
    }
    if tree::text(old, "/spec/externalID") != tree::text(new, "/spec/externalID") {
        errors.push(FieldError::forbidden("spec.externalID", "may not be updated"));
    }
}

/// Taints are reported under `metadata`, where they once were.
fn taints(node: &Value, errors: &mut Vec<FieldError>) {
    let given = Field::of(node, "spec.taints");
    let metadata = triune_api::path::Path::new("metadata");
    let taints = Field::under(metadata.field("taints"), given.value());
    let mut seen = Vec::new();
    for taint in taints.items() {
        label_key(&taint.at("key"), errors);
        let value = taint.at("value");
        let messages = label_value(value.text());
        if !messages.is_empty() {
            errors.push(value.invalid_text(messages.join(";")));
        }
        taint.at("effect").required_one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"], errors);
        let identity = (taint.at("key").text(), taint.at("effect").text());
        if seen.contains(&identity) {
            let mut error = taint.duplicate();
            let of = |field: &str| json!(taint.at(field).text());
            let added = taint.at("timeAdded");
            error.value = Some(format!(
                r#"{{"Key":{},"Value":{},"Effect":{},"TimeAdded":{}}}"#,
                of("key"),
                of("value"),
                of("effect"),
                added.value()
            ));
            error.detail = "taints must be unique by key and effect pair".into();
            errors.push(error);
        }
        seen.push(identity);
    }
}

fn amounts(node: &Value, errors: &mut Vec<FieldError>) {
    for list in ["status.capacity", "status.allocatable"] {
        let amounts = Field::of(node, list);
        for (name, amount) in amounts.entries() {
            quantity_value(name, &Field::under(amounts.path().field(name), amount.value()), errors);
        }
    }
}

fn declared_features(node: &Value, errors: &mut Vec<FieldError>) {
    let features = Field::of(node, "status.declaredFeatures");
    let mut before: Option<&str> = None;
    for feature in features.items() {
        let name = feature.text();
        match before {
            Some(before) if before == name => errors.push(feature.duplicate()),
            Some(before) if before > name => errors.push(feature.invalid("list must be sorted alphabetically")),
            _ => {}
        }
        if name.len() > FEATURE_BYTES_MAX {
            let detail = format!("invalid feature name {name:?}: must be no more than {FEATURE_BYTES_MAX} characters");
            errors.push(feature.invalid(detail));
        } else if !is_feature_name(name) {
            errors.push(feature.invalid(format!(
                "invalid feature name {name:?}: must start with an UpperCamelCase segment, with subsequent segments \
                 separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters \
                 and slashes"
            )));
        }
        before = Some(name);
    }
}

fn is_feature_name(name: &str) -> bool {
    let segment = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    name.starts_with(|first: char| first.is_ascii_uppercase()) && name.split('/').all(segment)
}

fn warnings(node: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if tree::has(node, "/spec/configSource") {
        warnings.push("spec.configSource: the feature is removed".into());
    }
    if !tree::text(node, "/spec/externalID").is_empty() {
        warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".into());
    }
    for range in Field::of(node, "spec.podCIDRs").items() {
        warnings.extend(network::cidr_warnings(&range.to_string(), range.text()));
    }
    warnings
}
