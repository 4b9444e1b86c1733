//! What is wrong with configurations of webhooks. What was stored before a rule existed stays allowed: each rule of that
//! sort is asked of an update only if the old object keeps it.

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_1035_label, dns_subdomain},
};

use super::{
    reserved_name_on_update,
    rules::{
        FAILURE_POLICIES, MATCH_POLICIES, REINVOCATION_POLICIES, match_conditions, one_of_given, rule_with_operations,
        texts,
    },
};
use crate::{
    kinds::{
        validation::{each_message, label_selector},
        webhook_client::{webhook_service, webhook_url},
    },
    tree,
};

const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const HARMLESS: &[&str] = &["None", "NoneOnDryRun"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];
const TIMEOUT_SECONDS_MAX: i64 = 30;

/// Which of the two kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// `ValidatingWebhookConfiguration`.
    Validating,
    /// `MutatingWebhookConfiguration`.
    Mutating,
}

/// What is asked of a configuration besides the rules that all keep.
struct Demands {
    harmless: bool,
    known_review_version: bool,
    unique_names: bool,
    label_values: bool,
    match_conditions: bool,
}

/// Checks a new configuration.
pub fn created(object: &Value, sort: Sort, errors: &mut Vec<FieldError>) {
    let all = Demands {
        harmless: true,
        known_review_version: true,
        unique_names: true,
        label_values: true,
        match_conditions: true,
    };
    configuration(object, sort, &all, errors);
}

/// Checks a changed configuration.
pub fn updated(old: &Value, new: &Value, sort: Sort, errors: &mut Vec<FieldError>) {
    let (before, after) = (tree::items(old, "/webhooks"), tree::items(new, "/webhooks"));
    let names: Vec<&str> = before.iter().map(|webhook| tree::text(webhook, "/name")).collect();
    let is_bad = |webhook: &Value, selector: &str| {
        let mut errors = Vec::new();
        label_selector(webhook.get(selector), false, &Path::new(selector), &mut errors);
        !errors.is_empty()
    };
    let same_conditions = before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|(old, new)| tree::items(old, "/matchConditions") == tree::items(new, "/matchConditions"));
    let demands = Demands {
        harmless: before.iter().all(|webhook| HARMLESS.contains(&tree::text(webhook, "/sideEffects"))),
        known_review_version: before.iter().all(|webhook| {
            let versions = texts(webhook, "/admissionReviewVersions");
            versions.is_empty() || versions.iter().any(|version| REVIEW_VERSIONS.contains(version))
        }),
        unique_names: names.iter().enumerate().all(|(index, name)| !names[..index].contains(name)),
        label_values: !before
            .iter()
            .any(|webhook| is_bad(webhook, "namespaceSelector") || is_bad(webhook, "objectSelector")),
        match_conditions: !same_conditions,
    };
    configuration(new, sort, &demands, errors);
}

fn configuration(object: &Value, sort: Sort, demands: &Demands, errors: &mut Vec<FieldError>) {
    let webhooks = tree::items(object, "/webhooks");
    for (index, webhook) in webhooks.iter().enumerate() {
        let path = format!("webhooks[{index}]");
        self::webhook(webhook, &path, sort, demands, errors);
        review_versions(webhook, &format!("{path}.admissionReviewVersions"), demands, errors);
        let name = tree::text(webhook, "/name");
        let seen = webhooks[..index].iter().any(|earlier| tree::text(earlier, "/name") == name);
        if demands.unique_names && seen && !name.is_empty() {
            errors.push(FieldError::duplicate(&format!("{path}.name"), &json!(name)));
        }
    }
}

fn webhook(webhook: &Value, path: &str, sort: Sort, demands: &Demands, errors: &mut Vec<FieldError>) {
    full_name(tree::text(webhook, "/name"), &format!("{path}.name"), errors);
    for (index, rule) in tree::items(webhook, "/rules").iter().enumerate() {
        rule_with_operations(rule, &format!("{path}.rules[{index}]"), errors);
    }
    one_of_given(webhook, "/failurePolicy", &format!("{path}.failurePolicy"), FAILURE_POLICIES, errors);
    one_of_given(webhook, "/matchPolicy", &format!("{path}.matchPolicy"), MATCH_POLICIES, errors);
    let side_effects = if demands.harmless { HARMLESS } else { SIDE_EFFECTS };
    let field = format!("{path}.sideEffects");
    if !tree::has(webhook, "/sideEffects") {
        errors.push(FieldError::required(&field, format!("must specify one of {}", side_effects.join(", "))));
    }
    one_of_given(webhook, "/sideEffects", &field, side_effects, errors);
    if let Some(seconds) = tree::integer(webhook, "/timeoutSeconds")
        && !(1..=TIMEOUT_SECONDS_MAX).contains(&seconds)
    {
        let message = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(&format!("{path}.timeoutSeconds"), &json!(seconds), message));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        label_selector(webhook.get(selector), !demands.label_values, &Path::new(path).field(selector), errors);
    }
    if sort == Sort::Mutating {
        let field = format!("{path}.reinvocationPolicy");
        one_of_given(webhook, "/reinvocationPolicy", &field, REINVOCATION_POLICIES, errors);
    }
    client(webhook, &format!("{path}.clientConfig"), errors);
    if demands.match_conditions {
        let conditions = tree::items(webhook, "/matchConditions");
        match_conditions(conditions, &format!("{path}.matchConditions"), errors);
    }
}

fn client(webhook: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let client = webhook.get("clientConfig").unwrap_or(&Value::Null);
    match (tree::has(client, "/url"), tree::has(client, "/service")) {
        (true, false) => webhook_url(tree::text(client, "/url"), &format!("{path}.url"), errors),
        (false, true) => {
            let service = client.get("service").unwrap_or(&Value::Null);
            // Name and namespace in each other's place, as the reference asks them.
            let (name, namespace) = (tree::text(service, "/namespace"), tree::text(service, "/name"));
            webhook_service(service, namespace, name, &format!("{path}.service"), errors);
        }
        _ => errors.push(FieldError::required(path, "exactly one of url or service is required")),
    }
}

/// A name of three segments or more.
fn full_name(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    let messages = dns_subdomain(name);
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if !messages.is_empty() {
        errors.push(FieldError::invalid(field, &json!(name), messages.join(",")));
    } else if name.split('.').count() < 3 {
        let message = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(field, &json!(name), message));
    }
}

fn review_versions(webhook: &Value, field: &str, demands: &Demands, errors: &mut Vec<FieldError>) {
    let versions = texts(webhook, "/admissionReviewVersions");
    if versions.is_empty() {
        errors.push(FieldError::required(field, format!("must specify one of {}", REVIEW_VERSIONS.join(", "))));
        return;
    }
    for (index, version) in versions.iter().enumerate() {
        let field = format!("{field}[{index}]");
        if versions[..index].contains(version) {
            errors.push(FieldError::invalid(&field, &json!(version), "duplicate version"));
        } else {
            each_message(version, &field, dns_1035_label(version), errors);
        }
    }
    if demands.known_review_version && !versions.iter().any(|version| REVIEW_VERSIONS.contains(version)) {
        let message = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errors.push(FieldError::invalid(field, &json!(versions), message));
    }
}

/// Resources that webhooks never see.
const UNSEEN: &[(&str, &str)] = &[
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
];

/// Warns of rules for what webhooks never see.
pub fn warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = reserved_name_on_update(object, old);
    for (webhook_index, webhook) in tree::items(object, "/webhooks").iter().enumerate() {
        for (index, rule) in tree::items(webhook, "/rules").iter().enumerate() {
            let (groups, resources) = (texts(rule, "/apiGroups"), texts(rule, "/resources"));
            if groups.contains(&"*") || resources.contains(&"*") {
                continue;
            }
            let mut seen = Vec::new();
            for pair in groups.iter().flat_map(|group| resources.iter().map(|resource| (*group, *resource))) {
                if UNSEEN.contains(&pair) && !seen.contains(&pair) {
                    seen.push(pair);
                    let (group, resource) = pair;
                    warnings.push(format!(
                        "webhooks[{webhook_index}].rules[{index}]: {resource}.{group} is excluded from admission webhooks; this rule will have no effect"
                    ));
                }
            }
        }
    }
    warnings
}
