//! What is wrong with policies. Expressions must be there; that they compile is not checked.

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    validation::{dns_1035_label, dns_subdomain, qualified_name},
};

use super::rules::{
    FAILURE_POLICIES, REINVOCATION_POLICIES, match_conditions, match_resources, mutating_operations, one_of_given,
    required_one_of,
};
use crate::{
    kinds::{conditions::conditions, validation::each_message},
    tree,
};

const AUDIT_ANNOTATIONS_MAX: usize = 20;
const AUDIT_EXPRESSION_BYTES_MAX: usize = 5 * 1024;
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const PATCH_TYPES: &[&str] = &["ApplyConfiguration", "JSONPatch"];
const RESERVED_WORDS: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Checks a policy that validates, new or changed.
pub fn validating(old: Option<&Value>, policy: &Value, errors: &mut Vec<FieldError>) {
    let spec = policy.get("spec").unwrap_or(&Value::Null);
    head(old, spec, false, errors);
    variables(spec, errors);
    let (validations, annotations) = (tree::items(spec, "/validations"), tree::items(spec, "/auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let message = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required("spec.validations", message));
        errors.push(FieldError::required("spec.auditAnnotations", message));
        return;
    }
    for (index, validation) in validations.iter().enumerate() {
        self::validation(validation, &format!("spec.validations[{index}]"), errors);
    }
    if annotations.len() > AUDIT_ANNOTATIONS_MAX {
        let message = format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations");
        errors.push(FieldError::invalid("spec.auditAnnotations", &shown_annotations(annotations), message));
    }
    for (index, annotation) in annotations.iter().enumerate() {
        let path = format!("spec.auditAnnotations[{index}]");
        audit_annotation(tree::name(policy), annotation, &path, errors);
        let key = tree::text(annotation, "/key");
        if annotations[..index].iter().any(|earlier| tree::text(earlier, "/key") == key) {
            errors.push(FieldError::duplicate(&format!("{path}.key"), &json!(key)));
        }
    }
}

/// Checks a policy that mutates, new or changed.
pub fn mutating(old: Option<&Value>, policy: &Value, errors: &mut Vec<FieldError>) {
    let spec = policy.get("spec").unwrap_or(&Value::Null);
    head(old, spec, true, errors);
    variables(spec, errors);
    let mutations = tree::items(spec, "/mutations");
    if mutations.is_empty() {
        errors.push(FieldError::required("spec.mutations", "mutations must contain at least one item"));
    }
    for (index, mutation) in mutations.iter().enumerate() {
        self::mutation(mutation, &format!("spec.mutations[{index}]"), errors);
    }
    let field = "spec.reinvocationPolicy";
    match tree::text(spec, "/reinvocationPolicy") {
        "" => errors.push(FieldError::required(field, "")),
        _ => one_of_given(spec, "/reinvocationPolicy", field, REINVOCATION_POLICIES, errors),
    }
}

/// Checks the status of a policy that validates.
pub fn status(policy: &Value, errors: &mut Vec<FieldError>) {
    for (index, warning) in tree::items(policy, "/status/typeChecking/expressionWarnings").iter().enumerate() {
        let path = format!("status.typeChecking.expressionWarnings[{index}]");
        if tree::text(warning, "/warning").is_empty() {
            errors.push(FieldError::required(&format!("{path}.warning"), ""));
        }
        if tree::text(warning, "/fieldRef").trim().is_empty() {
            errors.push(FieldError::required(&format!("{path}.fieldRef"), ""));
        }
    }
    conditions(tree::items(policy, "/status/conditions"), "status.conditions", errors);
}

/// What both kinds start with.
fn head(old: Option<&Value>, spec: &Value, mutates: bool, errors: &mut Vec<FieldError>) {
    required_one_of(spec, "/failurePolicy", "spec.failurePolicy", FAILURE_POLICIES, errors);
    if let Some(kind) = spec.get("paramKind").filter(|kind| !kind.is_null()) {
        param_kind(kind, errors);
    }
    let path = "spec.matchConstraints";
    match spec.get("matchConstraints").filter(|constraints| !constraints.is_null()) {
        None => errors.push(FieldError::required(path, "")),
        Some(constraints) => {
            match_resources(constraints, path, errors);
            if tree::items(constraints, "/resourceRules").is_empty() {
                errors.push(FieldError::required(&format!("{path}.resourceRules"), ""));
            }
            if mutates {
                mutating_operations(constraints, path, errors);
            }
        }
    }
    let of = |spec: &Value, pointer: &str| spec.pointer(pointer).cloned().unwrap_or_default();
    let unchanged = old.is_some_and(|old| {
        of(old, "/spec/paramKind") == of(spec, "/paramKind")
            && tree::items(old, "/spec/matchConditions") == tree::items(spec, "/matchConditions")
    });
    if !unchanged {
        match_conditions(tree::items(spec, "/matchConditions"), "spec.matchConditions", errors);
    }
}

fn param_kind(kind: &Value, errors: &mut Vec<FieldError>) {
    let field = "spec.paramKind.apiVersion";
    let api_version = tree::text(kind, "/apiVersion");
    let joined = |value: &str, messages: Vec<String>, errors: &mut Vec<FieldError>| {
        if !messages.is_empty() {
            errors.push(FieldError::invalid(field, &json!(value), messages.join(",")));
        }
    };
    match api_version.split('/').collect::<Vec<_>>()[..] {
        [""] => errors.push(FieldError::required(field, "")),
        [version] => joined(version, dns_1035_label(version), errors),
        [group, version] => {
            if !group.is_empty() {
                joined(group, dns_subdomain(group), errors);
            }
            if version.is_empty() {
                errors.push(FieldError::invalid(field, &json!(api_version), "version must be specified"));
            } else {
                joined(version, dns_1035_label(version), errors);
            }
        }
        _ => {
            let message = format!("unexpected GroupVersion string: {api_version}");
            errors.push(FieldError::invalid(field, &json!(api_version), message));
        }
    }
    let (field, name) = ("spec.paramKind.kind", tree::text(kind, "/kind"));
    let messages = dns_1035_label(&name.to_lowercase());
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if !messages.is_empty() {
        let message = format!("may have mixed case, but should otherwise match: {}", messages.join(","));
        errors.push(FieldError::invalid(field, &json!(name), message));
    }
}

fn variables(spec: &Value, errors: &mut Vec<FieldError>) {
    for (index, variable) in tree::items(spec, "/variables").iter().enumerate() {
        let path = format!("spec.variables[{index}]");
        let name = tree::text(variable, "/name");
        if name.trim().is_empty() {
            errors.push(FieldError::required(&format!("{path}.name"), "name is not specified"));
        } else if !is_identifier(name) {
            let message = "must be a valid CEL identifier";
            errors.push(FieldError::invalid(&format!("{path}.name"), &json!(name), message));
        }
        if tree::text(variable, "/expression").trim().is_empty() {
            errors.push(FieldError::required(&format!("{path}.expression"), "expression is not specified"));
        }
    }
}

/// Whether a name can be one in CEL's grammar.
fn is_identifier(name: &str) -> bool {
    let first = |byte: u8| byte == b'_' || byte.is_ascii_alphabetic();
    name.bytes().next().is_some_and(first)
        && name.bytes().all(|byte| first(byte) || byte.is_ascii_digit())
        && !RESERVED_WORDS.contains(&name)
}

fn validation(validation: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if tree::text(validation, "/expression").trim().is_empty() {
        errors.push(FieldError::required(&format!("{path}.expression"), "expression is not specified"));
    }
    for field in ["messageExpression", "message"] {
        let text = tree::text(validation, &format!("/{field}"));
        let message = if !text.is_empty() && text.trim().is_empty() {
            "must be non-empty if specified"
        } else if field == "message" && text.trim().contains(['\n', '\r']) {
            "must not contain line breaks"
        } else {
            continue;
        };
        errors.push(FieldError::invalid(&format!("{path}.{field}"), &json!(text), message));
    }
    one_of_given(validation, "/reason", &format!("{path}.reason"), REASONS, errors);
}

fn audit_annotation(policy: &str, annotation: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let key = tree::text(annotation, "/key");
    let field = format!("{path}.key");
    if policy.is_empty() {
        errors.push(FieldError::invalid(&field, &json!(key), "requires metadata.name be non-empty"));
    } else {
        let full = format!("{policy}/{key}");
        each_message(&full, &field, qualified_name(&full), errors);
    }
    let field = format!("{path}.valueExpression");
    match tree::text(annotation, "/valueExpression").trim().len() {
        0 => errors.push(FieldError::required(&field, "valueExpression is not specified")),
        bytes if bytes > AUDIT_EXPRESSION_BYTES_MAX => {
            let message = format!("must not exceed {AUDIT_EXPRESSION_BYTES_MAX} bytes in length");
            errors.push(FieldError::required(&field, message));
        }
        _ => {}
    }
}

/// As the reference prints them: its own types have no names for JSON.
fn shown_annotations(annotations: &[Value]) -> Value {
    let shown = |annotation: &Value| json!({"Key": tree::text(annotation, "/key"), "ValueExpression": tree::text(annotation, "/valueExpression")});
    annotations.iter().map(shown).collect()
}

fn mutation(mutation: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (wanted, other) = match tree::text(mutation, "/patchType") {
        "" => return errors.push(FieldError::required(&format!("{path}.patchType"), "")),
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        kind => {
            errors.push(FieldError::not_supported(&format!("{path}.patchType"), &json!(kind), PATCH_TYPES));
            return;
        }
    };
    let kind = tree::text(mutation, "/patchType");
    if !tree::has(mutation, &format!("/{wanted}")) {
        let message = format!("must be specified when patchType is {kind}");
        errors.push(FieldError::required(&format!("{path}.{wanted}"), message));
    } else if tree::text(mutation, &format!("/{wanted}/expression")).trim().is_empty() {
        errors.push(FieldError::required(&format!("{path}.{wanted}.expression"), ""));
    }
    if tree::has(mutation, &format!("/{other}")) {
        let message = format!("must not be specified when patchType is {kind}");
        errors.push(FieldError::invalid(&format!("{path}.{other}"), &json!(format!("{{{other}}}")), message));
    }
}
