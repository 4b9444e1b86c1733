//! What selects the requests that webhooks and policies see: rules, selectors, match conditions.

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{path_segment_name, qualified_name},
};

use crate::{
    kinds::validation::{each_message, label_selector, one_of},
    tree,
};

/// What becomes of a request when its admission fails.
pub const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
/// Whether a rule means one version of a resource, or all.
pub const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
/// What policies that mutate can be asked of.
pub const MUTATING_OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];
/// Whether what mutates is asked again after others mutated.
pub const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
const MATCH_CONDITIONS_MAX: usize = 64;

/// Checks a rule with its operations.
pub fn rule_with_operations(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let field = format!("{path}.operations");
    let operations = texts(rule, "/operations");
    if operations.is_empty() {
        errors.push(FieldError::required(&field, ""));
    }
    alone(&operations, &field, "operations", errors);
    for (index, operation) in operations.iter().enumerate() {
        if !OPERATIONS.contains(operation) {
            errors.push(FieldError::not_supported(&format!("{field}[{index}]"), &json!(operation), OPERATIONS));
        }
    }
    let field = format!("{path}.apiGroups");
    let groups = texts(rule, "/apiGroups");
    if groups.is_empty() {
        errors.push(FieldError::required(&field, ""));
    }
    alone(&groups, &field, "API groups", errors);
    let field = format!("{path}.apiVersions");
    let versions = texts(rule, "/apiVersions");
    if versions.is_empty() {
        errors.push(FieldError::required(&field, ""));
    }
    alone(&versions, &field, "API versions", errors);
    for (index, _) in versions.iter().enumerate().filter(|(_, version)| version.is_empty()) {
        errors.push(FieldError::required(&format!("{field}[{index}]"), ""));
    }
    resources(&texts(rule, "/resources"), &format!("{path}.resources"), errors);
    if tree::has(rule, "/scope") && !SCOPES.contains(&tree::text(rule, "/scope")) {
        errors.push(FieldError::not_supported(&format!("{path}.scope"), &rule["scope"], SCOPES));
    }
}

/// A list with `*` has nothing else.
fn alone(list: &[&str], field: &str, what: &str, errors: &mut Vec<FieldError>) {
    if list.len() > 1 && list.contains(&"*") {
        let message = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(field, &json!(list), message));
    }
}

fn resources(resources: &[&str], field: &str, errors: &mut Vec<FieldError>) {
    if resources.is_empty() {
        errors.push(FieldError::required(field, ""));
    }
    // `pods/*` and `*/status`, as far as they were seen.
    let (mut every_subresource, mut every_resource) = (Vec::new(), Vec::new());
    // As the reference: the last one without a slash counts.
    let mut plain = false;
    for (index, resource) in resources.iter().enumerate() {
        let field = format!("{field}[{index}]");
        if resource.is_empty() {
            errors.push(FieldError::required(&field, ""));
            continue;
        }
        let Some((parent, subresource)) = resource.split_once('/') else {
            plain = *resource != "*";
            continue;
        };
        if every_subresource.contains(&parent) {
            let message = format!("if '{parent}/*' is present, must not specify {resource}");
            errors.push(FieldError::invalid(&field, &json!(resource), message));
        }
        if every_resource.contains(&subresource) {
            let message = format!("if '*/{subresource}' is present, must not specify {resource}");
            errors.push(FieldError::invalid(&field, &json!(resource), message));
        }
        if subresource == "*" {
            every_subresource.push(parent);
        }
        if parent == "*" {
            every_resource.push(subresource);
        }
    }
    if resources.len() > 1 && resources.contains(&"*/*") {
        let message = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(field, &json!(resources), message));
    }
    if resources.contains(&"*") && plain {
        let message = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(field, &json!(resources), message));
    }
}

/// Checks the resources that a policy or its binding matches; null passes.
pub fn match_resources(resources: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if resources.is_null() {
        return;
    }
    let field = format!("{path}.matchPolicy");
    if !tree::has(resources, "/matchPolicy") {
        errors.push(FieldError::required(&field, ""));
    } else if !MATCH_POLICIES.contains(&tree::text(resources, "/matchPolicy")) {
        errors.push(FieldError::not_supported(&field, &resources["matchPolicy"], MATCH_POLICIES));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        let field = format!("{path}.{selector}");
        match resources.get(selector).filter(|selector| !selector.is_null()) {
            None => errors.push(FieldError::required(&field, "")),
            selector => label_selector(selector, false, &Path::new(&field), errors),
        }
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in tree::items(resources, &format!("/{list}")).iter().enumerate() {
            named_rule(rule, &format!("{path}.{list}[{index}]"), errors);
        }
    }
}

fn named_rule(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let names = texts(rule, "/resourceNames");
    for (index, name) in names.iter().enumerate() {
        let field = format!("{path}.resourceNames[{index}]");
        each_message(name, &field, path_segment_name(name), errors);
        if names[..index].contains(name) {
            errors.push(FieldError::duplicate(&field, &json!(name)));
        }
    }
    rule_with_operations(rule, path, errors);
}

/// Refuses rules of a policy that mutates what cannot be mutated.
pub fn mutating_operations(resources: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let rules = tree::items(resources, "/resourceRules").iter();
    for operation in rules.flat_map(|rule| texts(rule, "/operations")) {
        if !MUTATING_OPERATIONS.contains(&operation) {
            let field = format!("{path}.resourceRules.operations");
            errors.push(FieldError::not_supported(&field, &json!(operation), MUTATING_OPERATIONS));
        }
    }
}

/// Checks match conditions, but for their expressions' meaning.
pub fn match_conditions(conditions: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    if conditions.len() > MATCH_CONDITIONS_MAX {
        errors.push(FieldError::too_many(path, conditions.len(), MATCH_CONDITIONS_MAX));
    }
    for (index, condition) in conditions.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if tree::text(condition, "/expression").trim().is_empty() {
            errors.push(FieldError::required(&format!("{path}.expression"), ""));
        }
        let field = format!("{path}.name");
        let name = tree::text(condition, "/name");
        if name.is_empty() {
            errors.push(FieldError::required(&field, ""));
            continue;
        }
        each_message(name, &field, qualified_name(name), errors);
        if conditions[..index].iter().any(|earlier| tree::text(earlier, "/name") == name) {
            errors.push(FieldError::duplicate(&field, &json!(name)));
        }
    }
}

/// A policy that must be given and be one of a few.
pub fn required_one_of(object: &Value, pointer: &str, field: &str, supported: &[&str], errors: &mut Vec<FieldError>) {
    if tree::has(object, pointer) {
        one_of_given(object, pointer, field, supported, errors);
    } else {
        errors.push(FieldError::required(field, ""));
    }
}

/// A policy that must be one of a few if it is given, even if it is empty.
pub fn one_of_given(object: &Value, pointer: &str, field: &str, supported: &[&str], errors: &mut Vec<FieldError>) {
    if tree::has(object, pointer) && tree::text(object, pointer).is_empty() {
        errors.push(FieldError::not_supported(field, &json!(""), supported));
    }
    one_of(object, pointer, field, supported, errors);
}

/// The texts of a list.
pub fn texts<'a>(object: &'a Value, pointer: &str) -> Vec<&'a str> {
    tree::items(object, pointer).iter().map(|item| item.as_str().unwrap_or_default()).collect()
}
