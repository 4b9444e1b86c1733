//! What extends or rules the API server itself: API services and migrations of stored objects.

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    validation::{dns_1035_label, dns_subdomain, path_segment_name},
};

use super::{
    conditions::{conditions, shown},
    validation::each_message,
};
use crate::{
    kind::Kind,
    tables::extensions,
    tree::{self, child, fill, set},
};

/// `apiregistration.k8s.io/v1 APIService`.
pub static API_SERVICES: Kind = Kind {
    defaults: |object| {
        if let Some(service) = tree::object_mut(object, "/spec/service") {
            fill(service, "port", 443);
        }
    },
    create: |context, _, object| {
        if tree::has(object, "/spec/service") {
            return;
        }
        // This server's own are available from the start.
        let now = triune_api::time::rfc3339(context.env.clock.wall());
        if let Some(status) = child(object, "status") {
            let condition = json!({
                "type": "Available", "status": "True", "reason": "Local",
                "message": "Local APIServices are always available", "lastTransitionTime": now,
            });
            set(status, "conditions", json!([condition]));
        }
    },
    validate: api_service,
    validate_status: |_, new, errors| {
        let supported = ["True", "False", "Unknown"];
        for (index, condition) in tree::items(new, "/status/conditions").iter().enumerate() {
            let status = tree::text(condition, "/status");
            if !supported.contains(&status) {
                let field = format!("status.conditions[{index}].status");
                errors.push(FieldError::not_supported(&field, &json!(status), &supported));
            }
        }
    },
    // The core group's name ends on a dot; it is checked along with the rest, which knows group and version.
    validate_name: Some(|_| Vec::new()),
    table: extensions::API_SERVICES,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `storagemigration.k8s.io/v1 StorageVersionMigration`.
pub static STORAGE_VERSION_MIGRATIONS: Kind = Kind {
    validate: migration,
    validate_update: |old, new, errors| {
        if old.get("spec") != new.get("spec") {
            // As the reference prints it: its own type has no name for JSON.
            let resource = new.pointer("/spec/resource").unwrap_or(&Value::Null);
            errors.push(FieldError::invalid("spec", &json!({"Resource": resource}), "field is immutable"));
        }
    },
    validate_status: migration_status,
    table: extensions::STORAGE_VERSION_MIGRATIONS,
    closed_sets: true,
    ..Kind::GENERIC
};

const GROUP_PRIORITY_MAX: i64 = 20_000;
const VERSION_PRIORITY_MAX: i64 = 1000;

fn api_service(object: &Value, errors: &mut Vec<FieldError>) {
    let (group, version) = (tree::text(object, "/spec/group"), tree::text(object, "/spec/version"));
    let (name, wanted) = (tree::name(object), format!("{version}.{group}"));
    let mut messages = path_segment_name(name);
    if messages.is_empty() && name != wanted {
        messages.push(format!(r#"must be `spec.version+"."+spec.group`: {wanted:?}"#));
    }
    each_message(name, "metadata.name", messages, errors);
    if group.is_empty() && version != "v1" {
        let message = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required("spec.group", message));
    }
    if !group.is_empty() {
        each_message(group, "spec.group", dns_subdomain(group), errors);
    }
    each_message(version, "spec.version", dns_1035_label(version), errors);
    for (field, most) in [("groupPriorityMinimum", GROUP_PRIORITY_MAX), ("versionPriority", VERSION_PRIORITY_MAX)] {
        let priority = tree::integer_or_zero(object, &format!("/spec/{field}"));
        if !(1..=most).contains(&priority) {
            let message = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(&format!("spec.{field}"), &json!(priority), message));
        }
    }
    let bundle = tree::text(object, "/spec/caBundle");
    let insecure = tree::truth(object, "/spec/insecureSkipTLSVerify");
    let refuse_insecure = |message: &str, errors: &mut Vec<FieldError>| {
        if insecure {
            errors.push(FieldError::invalid("spec.insecureSkipTLSVerify", &json!(true), message));
        }
    };
    let Some(service) = object.pointer("/spec/service").filter(|service| !service.is_null()) else {
        if !bundle.is_empty() {
            let shown = json!(format!("{} bytes", base64_bytes(bundle)));
            errors.push(FieldError::invalid("spec.caBundle", &shown, "local APIServices may not have a caBundle"));
        }
        return refuse_insecure("local APIServices may not have insecureSkipTLSVerify", errors);
    };
    for field in ["namespace", "name"] {
        super::validation::required(service, &format!("/{field}"), &format!("spec.service.{field}"), errors);
    }
    let port = tree::integer_or_zero(service, "/port");
    if !(1..=65535).contains(&port) {
        let message = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid("spec.service.port", &json!(port), message));
    }
    if !bundle.is_empty() {
        refuse_insecure("may not be true if caBundle is present", errors);
    }
}

/// How many bytes a text in base64 stands for.
fn base64_bytes(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

fn migration(object: &Value, errors: &mut Vec<FieldError>) {
    let of = |field: &str| tree::text(object, &format!("/spec/resource/{field}"));
    let (resource, group) = (of("resource"), of("group"));
    if resource.is_empty() {
        errors.push(FieldError::required("spec.resource.resource", "resource is required to be set"));
    }
    for (field, value, check) in
        [("resource", resource, dns_1035_label as fn(&str) -> Vec<String>), ("group", group, dns_subdomain)]
    {
        let messages = check(value);
        if !value.is_empty() && !messages.is_empty() {
            errors.push(FieldError::invalid(&format!("spec.resource.{field}"), &json!(value), messages.join(",")));
        }
    }
}

fn migration_status(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let field = "status.resourceVersion";
    let version = |object| tree::text(object, "/status/resourceVersion");
    let (before, after) = (version(old), version(new));
    if !after.is_empty() && (after.starts_with('0') || !after.bytes().all(|byte| byte.is_ascii_digit())) {
        errors.push(FieldError::invalid(field, &json!(after), format!("resource version is not well formed: {after}")));
    }
    let list = tree::items(new, "/status/conditions");
    conditions(list, "status.conditions", errors);
    if !before.is_empty() && before != after {
        errors.push(FieldError::invalid(field, &json!(after), "field is immutable"));
    }
    let is = |object: &Value, kind: &str| {
        let first = tree::items(object, "/status/conditions").iter().find(|item| tree::text(item, "/type") == kind);
        first.is_some_and(|condition| tree::text(condition, "/status") == "True")
    };
    let mut refuse = |message: &str| {
        let error = FieldError::invalid_omitted("status.conditions", message);
        errors.push(FieldError { value: Some(shown(list)), ..error });
    };
    if is(new, "Succeeded") && is(new, "Failed") {
        refuse("Both success and failed conditions cannot be true at the same time");
    }
    if is(old, "Succeeded") && !is(new, "Succeeded") {
        refuse("Success condition cannot be set to false once it is true");
    }
    if is(old, "Failed") && !is(new, "Failed") {
        refuse("Failed condition cannot be set to false once it is true");
    }
}
