//! Devices: classes, claims and their templates, slices, taint rules (kubernetes `pkg/apis/resource`).
//!
//! In reading order: the kinds and what they share are here; [`claims`] and [`slices`] say what is wrong with each.
//! Expressions are checked for their length, not compiled. What the reference checks after all else, its generated rules,
//! is collected in [`Errors::last`].

mod claims;
mod slices;

use std::collections::BTreeSet;

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    validation::{dns_label, dns_subdomain, label_value, qualified_name, regex_error},
};

use super::{conditions::conditions, validation::each_message};
use crate::{
    kind::{Kind, Selectable},
    tables::cluster,
    tree::{self, fill, fill_unset},
};

/// `resource.k8s.io/v1 ResourceClaim`.
pub static RESOURCE_CLAIMS: Kind = Kind {
    defaults: |object| device_requests(object, "/spec/devices/requests"),
    validate_create: |object, errors| {
        Errors::collect(errors, |errors| {
            claims::spec(object.get("spec").unwrap_or(&Value::Null), "spec", errors);
        });
    },
    validate_update: |old, new, errors| {
        if old.get("spec") != new.get("spec") {
            errors.push(FieldError::invalid("spec", &Value::Null, "field is immutable"));
        }
    },
    validate_status: |old, new, errors| Errors::collect(errors, |errors| claims::status(old, new, errors)),
    returns_deleted_object: true,
    table: cluster::RESOURCE_CLAIMS,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `resource.k8s.io/v1 ResourceClaimTemplate`.
pub static RESOURCE_CLAIM_TEMPLATES: Kind = Kind {
    defaults: |object| device_requests(object, "/spec/spec/devices/requests"),
    validate_create: |object, errors| {
        Errors::collect(errors, |errors| claims::template(object, errors));
    },
    validate_update: |old, new, errors| super::validation::immutable(old, new, "/spec", "spec", errors),
    returns_deleted_object: true,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `resource.k8s.io/v1 DeviceClass`.
pub static DEVICE_CLASSES: Kind = Kind {
    validate: |object, errors| Errors::collect(errors, |errors| claims::class(object, errors)),
    returns_deleted_object: true,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `resource.k8s.io/v1 DeviceTaintRule`.
pub static DEVICE_TAINT_RULES: Kind = Kind {
    create: |context, _, object| {
        let now = triune_api::time::rfc3339(context.env.clock.wall());
        if let Some(taint) = tree::object_mut(object, "/spec/taint") {
            fill(taint, "timeAdded", now);
        }
    },
    validate: |object, errors| Errors::collect(errors, |errors| taint_rule(object, errors)),
    validate_status: |_, new, errors| {
        let list = tree::items(new, "/status/conditions");
        conditions(list, "status.conditions", errors);
        if list.len() > RULE_CONDITIONS_MAX {
            errors.push(FieldError::too_many("status.conditions", list.len(), RULE_CONDITIONS_MAX));
        }
    },
    returns_deleted_object: true,
    table: cluster::DEVICE_TAINT_RULES,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `resource.k8s.io/v1 ResourceSlice`.
pub static RESOURCE_SLICES: Kind = Kind {
    create: |context, _, object| {
        let now = triune_api::time::rfc3339(context.env.clock.wall());
        for device in tree::items_mut(object, "/spec/devices") {
            for taint in tree::items_mut(device, "/taints") {
                fill(taint, "timeAdded", now.clone());
            }
        }
    },
    validate_create: |object, errors| Errors::collect(errors, |errors| slices::slice(None, object, errors)),
    validate_update: |old, new, errors| Errors::collect(errors, |errors| slices::slice(Some(old), new, errors)),
    returns_deleted_object: true,
    selectable: &[
        Selectable { path: "spec.nodeName", value: |slice| tree::text(slice, "/spec/nodeName").into() },
        Selectable { path: "spec.driver", value: |slice| tree::text(slice, "/spec/driver").into() },
        Selectable { path: "spec.pool.name", value: |slice| tree::text(slice, "/spec/pool/name").into() },
    ],
    table: cluster::RESOURCE_SLICES,
    closed_sets: true,
    ..Kind::GENERIC
};

const DRIVER_BYTES_MAX: usize = 63;
const POOL_BYTES_MAX: usize = 253;
const IDENTIFIER_BYTES_MAX: usize = 32;
const RULE_CONDITIONS_MAX: usize = 8;
const TAINT_EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];

/// Errors in the order in which the reference says them.
#[derive(Default)]
struct Errors {
    /// Of the rules that are written by hand.
    first: Vec<FieldError>,
    /// Of the rules that are generated from the types.
    last: Vec<FieldError>,
}

impl Errors {
    fn collect(into: &mut Vec<FieldError>, check: impl FnOnce(&mut Errors)) {
        let mut errors = Errors::default();
        check(&mut errors);
        into.append(&mut errors.first);
        into.append(&mut errors.last);
    }
}

fn device_requests(object: &mut Value, pointer: &str) {
    let complete = |request: &mut Value| {
        fill_unset(request, "allocationMode", "ExactCount");
        if tree::text(request, "/allocationMode") == "ExactCount" {
            fill_unset(request, "count", 1);
        }
    };
    for request in tree::items_mut(object, pointer) {
        if let Some(exactly) = tree::object_mut(request, "/exactly") {
            complete(exactly);
        }
        tree::items_mut(request, "/firstAvailable").iter_mut().for_each(complete);
    }
}

fn taint_rule(object: &Value, errors: &mut Errors) {
    let path = "spec.deviceSelector";
    if let Some(selector) = object.pointer("/spec/deviceSelector").filter(|selector| !selector.is_null()) {
        if tree::has(selector, "/driver") {
            driver(tree::text(selector, "/driver"), &format!("{path}.driver"), &mut errors.first);
        }
        if tree::has(selector, "/pool") {
            pool(tree::text(selector, "/pool"), &format!("{path}.pool"), &mut errors.first);
        }
        if tree::has(selector, "/device") {
            let device = tree::text(selector, "/device");
            each_message(device, &format!("{path}.device"), dns_label(device), &mut errors.first);
        }
    }
    taint(object.pointer("/spec/taint").unwrap_or(&Value::Null), "spec.taint", errors);
}

fn taint(taint: &Value, path: &str, errors: &mut Errors) {
    let (key, value) = (tree::text(taint, "/key"), tree::text(taint, "/value"));
    each_message(key, &format!("{path}.key"), qualified_name(key), &mut errors.first);
    each_message(value, &format!("{path}.value"), label_value(value), &mut errors.first);
    let field = format!("{path}.effect");
    match tree::text(taint, "/effect") {
        "" => errors.last.push(FieldError::required(&field, "")),
        effect if !TAINT_EFFECTS.contains(&effect) => {
            errors.last.push(FieldError::not_supported(&field, &json!(effect), TAINT_EFFECTS));
        }
        _ => {}
    }
}

/// A driver's name as the rules written by hand check it.
fn driver(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return errors.push(FieldError::required(field, ""));
    }
    if name.len() > DRIVER_BYTES_MAX {
        errors.push(FieldError::too_long(field, DRIVER_BYTES_MAX));
    }
    each_message(name, field, dns_subdomain(&name.to_lowercase()), errors);
}

/// A driver's name as the generated rules check it.
fn caseless_driver(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return errors.push(FieldError::required(field, ""));
    }
    if name.len() > DRIVER_BYTES_MAX {
        errors.push(FieldError::too_long(field, DRIVER_BYTES_MAX));
    }
    if !dns_subdomain(&name.to_lowercase()).is_empty() {
        let message = regex_error(
            "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["Example.com"],
        );
        errors.push(FieldError::invalid(field, &json!(name), message));
    }
}

fn pool(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return errors.push(FieldError::required(field, ""));
    }
    if name.len() > POOL_BYTES_MAX {
        errors.push(FieldError::too_long(field, POOL_BYTES_MAX));
    }
    for part in name.split('/') {
        each_message(part, field, dns_subdomain(part), errors);
    }
}

/// `name` or `domain/name`.
fn attribute_name(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [name] => identifier(name, field, errors),
        [domain, name] => {
            if domain.is_empty() {
                errors.push(FieldError::invalid(field, &json!(""), "the domain must not be empty"));
            } else {
                driver(domain, field, errors);
            }
            if name.is_empty() {
                errors.push(FieldError::invalid(field, &json!(""), "the name must not be empty"));
            } else {
                identifier(name, field, errors);
            }
        }
        // As the reference: more parts are not looked at.
        _ => {}
    }
}

/// `domain/name`.
fn full_attribute_name(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    if name.contains('/') {
        attribute_name(name, field, errors);
    } else {
        let message = "a fully qualified name must be a domain and a name separated by a slash";
        identifier(name, field, errors);
        errors.push(FieldError::invalid(field, &json!(name), message));
    }
}

fn identifier(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    if name.len() > IDENTIFIER_BYTES_MAX {
        errors.push(FieldError::too_long(field, IDENTIFIER_BYTES_MAX));
    }
    let first = |byte: u8| byte == b'_' || byte.is_ascii_alphabetic();
    let valid = name.bytes().next().is_some_and(first) && name.bytes().all(|byte| first(byte) || byte.is_ascii_digit());
    if !valid {
        let message = regex_error(
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
            "[A-Za-z_][A-Za-z0-9_]*",
            &["my_name", "MY_NAME", "MyName"],
        );
        errors.push(FieldError::invalid(field, &json!(name), message));
    }
}

/// A list of at most so many different texts, each checked by itself. What is too long is not looked at.
fn label_keys(list: &[Value], items_max: usize, field: &str, errors: &mut Errors) {
    if list.len() > items_max {
        return errors.last.push(FieldError::too_many(field, list.len(), items_max));
    }
    for (index, item) in list.iter().enumerate() {
        let text = item.as_str().unwrap_or_default();
        each_message(text, &format!("{field}[{index}]"), qualified_name(text), &mut errors.first);
    }
}

/// Conditions that a device waits for before it is bound, and those that end the wait.
fn binding_conditions(object: &Value, path: &str, errors: &mut Errors) {
    const ITEMS_MAX: usize = 4;
    let fields = ["bindingConditions", "bindingFailureConditions"];
    let lists = fields.map(|field| tree::items(object, &format!("/{field}")));
    for (field, list) in fields.iter().zip(lists) {
        label_keys(list, ITEMS_MAX, &format!("{path}.{field}"), errors);
    }
    let [bound, failed] = lists;
    for (field, list) in fields.iter().zip(lists) {
        let mut seen = BTreeSet::new();
        for (index, item) in list.iter().enumerate() {
            let field = format!("{path}.{field}[{index}]");
            if !seen.insert(item.as_str()) {
                errors.first.push(FieldError::duplicate(&field, item));
            }
            if std::ptr::eq(list, failed) && bound.contains(item) {
                let message = "bindingFailureConditions must not overlap with bindingConditions";
                errors.first.push(FieldError::invalid(&field, item, message));
            }
        }
    }
    for (missing, present, empty) in [(fields[0], fields[1], bound), (fields[1], fields[0], failed)] {
        let other = if missing == fields[0] { failed } else { bound };
        if empty.is_empty() && !other.is_empty() {
            let message = format!("{missing} are required to use {present}");
            errors.first.push(FieldError::invalid(&format!("{path}.{missing}"), &Value::Null, message));
        }
    }
}
