//! Roles and bindings (kubernetes `pkg/apis/rbac/validation`).

use serde_json::json;
use triune_api::{
    Value,
    field::{FieldError, FieldErrorKind},
    validation::{dns_subdomain, path_segment_name},
};

use super::{selectors::label_selector, validation::found_by_type};
use crate::{
    field::Field,
    kind::Kind,
    tables::{self, cluster},
    tree::{self, fill_unset},
};

/// `rbac.authorization.k8s.io/v1 RoleBinding`.
pub static ROLE_BINDINGS: Kind = Kind {
    defaults: binding_defaults,
    closed_sets: true,
    validate: |object, errors| binding(object, true, errors),
    validate_update: role_stays,
    table: cluster::ROLE_BINDINGS,
    ..Kind::GENERIC
};

/// `rbac.authorization.k8s.io/v1 ClusterRoleBinding`.
pub static CLUSTER_ROLE_BINDINGS: Kind = Kind {
    defaults: binding_defaults,
    closed_sets: true,
    validate: |object, errors| binding(object, false, errors),
    validate_update: role_stays,
    table: cluster::ROLE_BINDINGS,
    ..Kind::GENERIC
};

/// `rbac.authorization.k8s.io/v1 Role`.
pub static ROLES: Kind = Kind {
    closed_sets: true,
    validate: |object, errors| rules(object, true, errors),
    table: tables::core::NAME_AND_CREATED_AT,
    ..Kind::GENERIC
};

/// `rbac.authorization.k8s.io/v1 ClusterRole`.
pub static CLUSTER_ROLES: Kind = Kind {
    closed_sets: true,
    validate: |object, errors| {
        rules(object, false, errors);
        let aggregation = Field::of(object, "aggregationRule");
        if !aggregation.is_set() {
            return;
        }
        let selectors = aggregation.at("clusterRoleSelectors");
        if selectors.is_empty() {
            errors.push(selectors.required("at least one clusterRoleSelector required if aggregationRule is non-nil"));
        }
        for selector in selectors.items() {
            let before = errors.len();
            label_selector(&selector, errors);
            if errors.len() > before {
                errors.push(selector.invalid_as(&Value::Null, "invalid label selector."));
            }
        }
    },
    table: tables::core::NAME_AND_CREATED_AT,
    ..Kind::GENERIC
};

const GROUP: &str = "rbac.authorization.k8s.io";

fn binding_defaults(object: &mut Value) {
    if let Some(role) = tree::object_mut(object, "/roleRef") {
        fill_unset(role, "apiGroup", GROUP);
    }
    for subject in tree::items_mut(object, "/subjects") {
        if matches!(tree::text(subject, "/kind"), "User" | "Group") {
            fill_unset(subject, "apiGroup", GROUP);
        }
    }
}

fn binding(object: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    let role = Field::of(object, "roleRef");
    let (group, kind, name) = (role.at("apiGroup"), role.at("kind"), role.at("name"));
    group.one_of(&[GROUP], errors);
    kind.one_of(if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] }, errors);
    if !name.text().is_empty() {
        name.invalid_for(path_segment_name(name.text()), errors);
    }
    for subject in Field::of(object, "subjects").items() {
        let (group, kind, name) = (subject.at("apiGroup"), subject.at("kind"), subject.at("name"));
        if name.text().is_empty() {
            errors.push(name.required(""));
        }
        match kind.text() {
            "ServiceAccount" => {
                if !name.text().is_empty() {
                    name.invalid_for(dns_subdomain(name.text()), errors);
                }
                group.one_of(&[""], errors);
                let namespace = subject.at("namespace");
                if !namespaced && namespace.text().is_empty() {
                    errors.push(namespace.required(""));
                }
            }
            "User" | "Group" => group.one_of(&[GROUP], errors),
            _ => errors.push(kind.not_supported(&["ServiceAccount", "User", "Group"])),
        }
    }
    if name.text().is_empty() {
        errors.push(name.required(""));
    }
    found_by_type(errors, |error| error.kind == FieldErrorKind::Required && error.field.ends_with(".name"));
}

fn role_stays(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let (before, after) = (Field::of(old, "roleRef"), Field::of(new, "roleRef"));
    if before.value() != after.value() {
        let of = |field: &str| json!(after.at(field).text());
        let mut error = after.invalid("field is immutable");
        error.value = Some(format!(r#"{{"APIGroup":{},"Kind":{},"Name":{}}}"#, of("apiGroup"), of("kind"), of("name")));
        errors.push(error);
    }
}

fn rules(object: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    for rule in Field::of(object, "rules").items() {
        let need = |field: &str, detail: &str, errors: &mut Vec<FieldError>| {
            if rule.at(field).is_empty() {
                errors.push(rule.at(field).required(detail));
            }
        };
        need("verbs", "", errors);
        let urls = rule.at("nonResourceURLs");
        if urls.is_empty() {
            need("apiGroups", "resource rules must supply at least one api group", errors);
            need("resources", "resource rules must supply at least one resource", errors);
            continue;
        }
        if namespaced {
            errors.push(urls.invalid("namespaced rules cannot apply to non-resource URLs"));
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|field| !rule.at(field).is_empty()) {
            errors.push(urls.invalid("rules cannot apply to both regular resources and non-resource URLs"));
        }
    }
    found_by_type(errors, |error| error.kind == FieldErrorKind::Required && error.field.ends_with(".verbs"));
}
