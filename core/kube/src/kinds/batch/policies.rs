//! What ends a job: policies of failure, of success, of replacement of pods.

use std::collections::BTreeSet;

use triune_api::{
    Value,
    field::{FieldError, FieldErrorKind},
    path::Path,
};

use super::indexes;
use crate::{
    kinds::{
        pod_spec::{integer_of, list_of, not_negative, some_of, text_of},
        validation,
    },
    tree,
};

const FAILURE_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const SUCCESS_RULES_MAX: usize = 20;
const INDEXES_BYTES_MAX: usize = 64 * 1024;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];

/// An error that prints no value.
pub fn invalid(path: &Path<'_>, detail: impl Into<String>) -> FieldError {
    FieldError { kind: FieldErrorKind::Invalid, field: path.to_string(), value: None, detail: detail.into() }
}

/// A text that must be given; the message lists what would be accepted.
fn one_of(owner: &Value, field: &str, supported: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if text_of(owner, field).is_empty() {
        let quoted: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        errors.push(path.field(field).required(format!("valid values: [{}]", quoted.join(" "))));
    } else {
        validation::not_in(owner, field, supported, path, errors);
    }
}

/// Checks `podFailurePolicy`.
pub fn failure(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(policy) = some_of(spec, "podFailurePolicy") else { return };
    let path = path.field("podFailurePolicy");
    let list = path.field("rules");
    let rules = list_of(policy, "rules");
    if rules.len() > FAILURE_RULES_MAX {
        errors.push(list.too_many(rules.len(), FAILURE_RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = list.index(index);
        if text_of(rule, "action") == "FailIndex" {
            if some_of(spec, "backoffLimitPerIndex").is_none() {
                let message = "requires the backoffLimitPerIndex to be set";
                errors.push(path.field("action").invalid("FailIndex", message));
            }
        } else {
            one_of(rule, "action", &ACTIONS, &path, errors);
        }
        let codes = some_of(rule, "onExitCodes");
        if let Some(codes) = codes {
            exit_codes(codes, spec, &path.field("onExitCodes"), errors);
        }
        let conditions = list_of(rule, "onPodConditions");
        self::conditions(conditions, &path.field("onPodConditions"), errors);
        match (codes.is_some(), conditions.is_empty()) {
            (true, false) => {
                errors.push(invalid(&path, "specifying both OnExitCodes and OnPodConditions is not supported"));
            }
            (false, true) => {
                errors.push(invalid(&path, "specifying one of OnExitCodes and OnPodConditions is required"));
            }
            _ => {}
        }
    }
}

fn conditions(conditions: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if conditions.len() > CONDITIONS_MAX {
        errors.push(path.too_many(conditions.len(), CONDITIONS_MAX));
    }
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        validation::qualified_name(text_of(condition, "type"), &path.field("type"), errors);
        one_of(condition, "status", &["False", "True", "Unknown"], &path, errors);
    }
}

fn exit_codes(codes: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    one_of(codes, "operator", &["In", "NotIn"], path, errors);
    if let Some(name) = codes.get("containerName").and_then(Value::as_str) {
        let lists = ["/template/spec/containers", "/template/spec/initContainers"];
        let mut containers = lists.iter().flat_map(|list| tree::items(spec, list));
        if !containers.any(|container| text_of(container, "name") == name) {
            let message = "must be one of the container or initContainer names in the pod template";
            errors.push(path.field("containerName").invalid(name, message));
        }
    }
    let list = path.field("values");
    let values = list_of(codes, "values");
    if values.is_empty() {
        let shown = codes.get("values").cloned().unwrap_or_default();
        errors.push(list.invalid(shown, "at least one value is required"));
    } else if values.len() > EXIT_CODES_MAX {
        errors.push(list.too_many(values.len(), EXIT_CODES_MAX));
    }
    let mut seen = BTreeSet::new();
    let numbers: Vec<i64> = values.iter().map(|value| value.as_i64().unwrap_or_default()).collect();
    for (index, number) in numbers.iter().enumerate() {
        let path = list.index(index);
        if *number == 0 && text_of(codes, "operator") == "In" {
            errors.push(path.invalid(0, "must not be 0 for the In operator"));
        }
        if !seen.insert(*number) {
            errors.push(path.duplicate(*number));
        }
    }
    if !numbers.is_sorted() {
        errors.push(list.invalid(Value::from(values), "must be ordered"));
    }
}

/// Checks `successPolicy` of an indexed job.
pub fn success(spec: &Value, policy: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.field("successPolicy");
    let list = path.field("rules");
    let rules = list_of(policy, "rules");
    if rules.is_empty() {
        errors.push(list.required("at least one rules must be specified when the successPolicy is specified"));
    }
    if rules.len() > SUCCESS_RULES_MAX {
        errors.push(list.too_many(rules.len(), SUCCESS_RULES_MAX));
    }
    let completions = integer_of(spec, "completions").unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        let path = list.index(index);
        let wanted = rule.get("succeededIndexes").and_then(Value::as_str);
        let count = integer_of(rule, "succeededCount");
        if wanted.is_none() && count.is_none() {
            errors.push(path.required("at least one of succeededCount or succeededIndexes must be specified"));
        }
        let mut total = 0;
        if let Some(wanted) = wanted {
            let path = path.field("succeededIndexes");
            if wanted.len() > INDEXES_BYTES_MAX {
                errors.push(path.too_long(INDEXES_BYTES_MAX));
            }
            match indexes::count(wanted, completions) {
                Ok(count) => total = count,
                Err(why) => errors.push(path.invalid(wanted, format!("error parsing succeededIndexes: {why}"))),
            }
        }
        let Some(count) = count else { continue };
        not_negative(rule, "succeededCount", &path, errors);
        let path = path.field("succeededCount");
        if count > completions {
            let message = format!("must be less than or equal to {completions} (the number of specified completions)");
            errors.push(path.invalid(count, message));
        }
        if wanted.is_some() && count > total {
            let message = format!(
                "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            );
            errors.push(path.invalid(count, message));
        }
    }
}

/// Checks `podReplacementPolicy`.
pub fn replacement(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(policy) = spec.get("podReplacementPolicy").and_then(Value::as_str) else { return };
    let supported: &[&str] =
        if some_of(spec, "podFailurePolicy").is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if !supported.contains(&policy) {
        errors.push(path.field("podReplacementPolicy").not_supported(policy, supported));
    }
}
