//! What takes part in admission: webhooks, policies, and the bindings of policies
//! (kubernetes `pkg/apis/admissionregistration`).
//!
//! In reading order: the kinds are here; [`rules`] is what all of them select requests by; [`webhooks`], [`policies`] and
//! [`bindings`] say what is wrong with each. Expressions are checked for being there, not compiled.

mod bindings;
mod policies;
mod rules;
mod webhooks;

use serde_json::json;
use triune_api::{Value, field::FieldError};

use crate::{
    kind::Kind,
    tables::extensions,
    tree::{self, child, fill},
};

/// `admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration`.
pub static VALIDATING_WEBHOOKS: Kind = Kind {
    defaults: |object| {
        for webhook in tree::items_mut(object, "/webhooks") {
            webhook_defaults(webhook);
        }
    },
    validate_create: |object, errors| {
        webhooks::created(object, webhooks::Sort::Validating, errors);
        reserved_name(object, errors);
    },
    validate_update: |old, new, errors| webhooks::updated(old, new, webhooks::Sort::Validating, errors),
    warnings: webhooks::warnings,
    table: extensions::WEBHOOKS,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `admissionregistration.k8s.io/v1 MutatingWebhookConfiguration`.
pub static MUTATING_WEBHOOKS: Kind = Kind {
    defaults: |object| {
        for webhook in tree::items_mut(object, "/webhooks") {
            webhook_defaults(webhook);
            fill(webhook, "reinvocationPolicy", "Never");
        }
    },
    validate_create: |object, errors| {
        webhooks::created(object, webhooks::Sort::Mutating, errors);
        reserved_name(object, errors);
    },
    validate_update: |old, new, errors| webhooks::updated(old, new, webhooks::Sort::Mutating, errors),
    warnings: webhooks::warnings,
    table: extensions::WEBHOOKS,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy`.
pub static VALIDATING_ADMISSION_POLICIES: Kind = Kind {
    defaults: policy_defaults,
    validate_create: |object, errors| {
        policies::validating(None, object, errors);
        reserved_name(object, errors);
    },
    validate_update: |old, new, errors| policies::validating(Some(old), new, errors),
    validate_status: |_, new, errors| policies::status(new, errors),
    warnings: reserved_name_on_update,
    table: extensions::VALIDATING_ADMISSION_POLICIES,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `admissionregistration.k8s.io/v1 MutatingAdmissionPolicy`.
pub static MUTATING_ADMISSION_POLICIES: Kind = Kind {
    defaults: policy_defaults,
    validate_create: |object, errors| {
        policies::mutating(None, object, errors);
        reserved_name(object, errors);
    },
    validate_update: |old, new, errors| policies::mutating(Some(old), new, errors),
    warnings: reserved_name_on_update,
    table: extensions::MUTATING_ADMISSION_POLICIES,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding`.
pub static VALIDATING_ADMISSION_POLICY_BINDINGS: Kind = Kind {
    defaults: |object| match_resources(object, "/spec/matchResources"),
    validate: bindings::validating,
    validate_create: reserved_name,
    warnings: reserved_name_on_update,
    table: extensions::ADMISSION_POLICY_BINDINGS,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding`.
pub static MUTATING_ADMISSION_POLICY_BINDINGS: Kind = Kind {
    defaults: |object| match_resources(object, "/spec/matchResources"),
    validate: bindings::mutating,
    validate_create: reserved_name,
    warnings: reserved_name_on_update,
    table: extensions::ADMISSION_POLICY_BINDINGS,
    closed_sets: true,
    ..Kind::GENERIC
};

/// What admission finds in the manifests on its disk is named so.
const RESERVED_SUFFIX: &str = ".static.k8s.io";

fn reserved_message() -> String {
    format!(
        "names ending with {RESERVED_SUFFIX:?} are reserved for static manifest-based configurations and cannot be managed via the API"
    )
}

fn reserved_name(object: &Value, errors: &mut Vec<FieldError>) {
    let name = tree::name(object);
    if name.ends_with(RESERVED_SUFFIX) {
        errors.push(FieldError::invalid("metadata.name", &json!(name), reserved_message()));
    }
}

/// Creates are refused; updates of what is there already are warned of.
fn reserved_name_on_update(object: &Value, old: Option<&Value>) -> Vec<String> {
    let reserved = old.is_some() && tree::name(object).ends_with(RESERVED_SUFFIX);
    if reserved { vec![format!("metadata.name: {}", reserved_message())] } else { Vec::new() }
}

fn webhook_defaults(webhook: &mut Value) {
    fill(webhook, "failurePolicy", "Fail");
    fill(webhook, "matchPolicy", "Equivalent");
    fill(webhook, "namespaceSelector", json!({}));
    fill(webhook, "objectSelector", json!({}));
    fill(webhook, "timeoutSeconds", 10);
    rule_scopes(webhook, "/rules");
    if let Some(service) = tree::object_mut(webhook, "/clientConfig/service") {
        fill(service, "port", 443);
    }
}

fn rule_scopes(object: &mut Value, pointer: &str) {
    for rule in tree::items_mut(object, pointer) {
        fill(rule, "scope", "*");
    }
}

fn policy_defaults(object: &mut Value) {
    if let Some(spec) = child(object, "spec") {
        fill(spec, "failurePolicy", "Fail");
    }
    match_resources(object, "/spec/matchConstraints");
}

fn match_resources(object: &mut Value, pointer: &str) {
    if let Some(resources) = tree::object_mut(object, pointer) {
        fill(resources, "matchPolicy", "Equivalent");
        fill(resources, "namespaceSelector", json!({}));
        fill(resources, "objectSelector", json!({}));
        rule_scopes(resources, "/resourceRules");
        rule_scopes(resources, "/excludeResourceRules");
    }
}
