//! What is wrong with the bindings of policies.

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_subdomain, path_segment_name},
};

use super::rules::{match_resources, mutating_operations, texts};
use crate::{
    kinds::validation::{each_message, label_selector},
    tree,
};

const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
const NOT_FOUND_ACTIONS: &[&str] = &["Deny", "Allow"];

/// Checks a binding of a policy that validates. The reference checks what must be given after all else.
pub fn validating(binding: &Value, errors: &mut Vec<FieldError>) {
    let spec = binding.get("spec").unwrap_or(&Value::Null);
    let name = tree::text(spec, "/policyName");
    if !name.is_empty() {
        each_message(name, "spec.policyName", dns_subdomain(name), errors);
    }
    param_ref(spec, errors);
    match_resources(spec.get("matchResources").unwrap_or(&Value::Null), "spec.matchResources", errors);
    actions(spec, errors);
    if name.is_empty() {
        errors.push(FieldError::required("spec.policyName", ""));
    }
    if tree::items(spec, "/validationActions").is_empty() {
        errors.push(FieldError::required("spec.validationActions", ""));
    }
}

/// Checks a binding of a policy that mutates.
pub fn mutating(binding: &Value, errors: &mut Vec<FieldError>) {
    let spec = binding.get("spec").unwrap_or(&Value::Null);
    match tree::text(spec, "/policyName") {
        "" => errors.push(FieldError::required("spec.policyName", "")),
        name => each_message(name, "spec.policyName", dns_subdomain(name), errors),
    }
    param_ref(spec, errors);
    let resources = spec.get("matchResources").unwrap_or(&Value::Null);
    match_resources(resources, "spec.matchResources", errors);
    mutating_operations(resources, "spec.matchResources", errors);
}

fn actions(spec: &Value, errors: &mut Vec<FieldError>) {
    let field = "spec.validationActions";
    let actions = texts(spec, "/validationActions");
    for (index, action) in actions.iter().enumerate() {
        let field = format!("{field}[{index}]");
        if !ACTIONS.contains(action) {
            errors.push(FieldError::not_supported(&field, &json!(action), ACTIONS));
        }
        if actions[..index].contains(action) {
            errors.push(FieldError::duplicate(&field, &json!(action)));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let message = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(FieldError::invalid(field, &json!(actions), message));
    }
}

fn param_ref(spec: &Value, errors: &mut Vec<FieldError>) {
    let path = "spec.paramRef";
    let Some(reference) = spec.get("paramRef").filter(|reference| !reference.is_null()) else { return };
    let name = tree::text(reference, "/name");
    let selector = reference.get("selector").filter(|selector| !selector.is_null());
    let both = "name and selector are mutually exclusive";
    if !name.is_empty() {
        each_message(name, &format!("{path}.name"), path_segment_name(name), errors);
        if selector.is_some() {
            errors.push(FieldError::forbidden(&format!("{path}.name"), both));
        }
    }
    label_selector(selector, false, &Path::new(path).field("selector"), errors);
    if selector.is_some() && !name.is_empty() {
        errors.push(FieldError::forbidden(&format!("{path}.selector"), both));
    }
    if selector.is_none() && name.is_empty() {
        errors.push(FieldError::required(path, "one of name or selector must be specified"));
    }
    let field = format!("{path}.parameterNotFoundAction");
    match tree::text(reference, "/parameterNotFoundAction") {
        "" => errors.push(FieldError::required(&field, "")),
        action if !NOT_FOUND_ACTIONS.contains(&action) => {
            errors.push(FieldError::not_supported(&field, &json!(action), NOT_FOUND_ACTIONS));
        }
        _ => {}
    }
}
