//! What is wrong with conditions of the common type (apimachinery `pkg/apis/meta/v1/validation`), in the reference's words
//! and order.

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    validation::{qualified_name, regex_error},
};

use super::validation::each_message;
use crate::tree;

const REASON_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 32 * 1024;
const STATUSES: &[&str] = &["False", "True", "Unknown"];
const REASON_FORMAT: &str = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";

/// Checks a list of conditions.
pub fn conditions(conditions: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    for (index, condition) in conditions.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let kind = tree::text(condition, "/type");
        if conditions[..index].iter().any(|earlier| tree::text(earlier, "/type") == kind) {
            errors.push(FieldError::duplicate(&path, &json!(kind)));
        }
        self::condition(condition, &path, errors);
    }
}

fn condition(condition: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match tree::text(condition, "/type") {
        "" => errors.push(FieldError::required(&format!("{path}.type"), "is required")),
        kind => each_message(kind, &format!("{path}.type"), qualified_name(kind), errors),
    }
    match tree::text(condition, "/status") {
        "" => errors.push(FieldError::required(&format!("{path}.status"), "")),
        status if !STATUSES.contains(&status) => {
            errors.push(FieldError::not_supported(&format!("{path}.status"), &json!(status), STATUSES));
        }
        _ => {}
    }
    let generation = tree::integer_or_zero(condition, "/observedGeneration");
    if generation < 0 {
        let message = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(&format!("{path}.observedGeneration"), &json!(generation), message));
    }
    if tree::text(condition, "/lastTransitionTime").is_empty() {
        errors.push(FieldError::required(&format!("{path}.lastTransitionTime"), ""));
    }
    let field = format!("{path}.reason");
    match tree::text(condition, "/reason") {
        "" => errors.push(FieldError::required(&field, "")),
        reason => {
            if !is_reason(reason) {
                let message = regex_error(
                    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
                    REASON_FORMAT,
                    &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
                );
                errors.push(FieldError::invalid(&field, &json!(reason), message));
            }
            if reason.len() > REASON_BYTES_MAX {
                errors.push(FieldError::too_long(&field, REASON_BYTES_MAX));
            }
        }
    }
    if tree::text(condition, "/message").len() > MESSAGE_BYTES_MAX {
        errors.push(FieldError::too_long(&format!("{path}.message"), MESSAGE_BYTES_MAX));
    }
}

/// A list of conditions as the reference prints it in errors: in the order of its structure.
pub fn shown(conditions: &[Value]) -> String {
    let fields = ["type", "status", "observedGeneration", "lastTransitionTime", "reason", "message"];
    let one = |condition: &Value| {
        let given = fields.iter().filter_map(|field| condition.get(*field).map(|value| format!("{field:?}:{value}")));
        format!("{{{}}}", given.collect::<Vec<_>>().join(","))
    };
    format!("[{}]", conditions.iter().map(one).collect::<Vec<_>>().join(","))
}

fn is_reason(reason: &str) -> bool {
    let ending = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let inner = |byte: u8| ending(byte) || matches!(byte, b',' | b':');
    reason.starts_with(|first: char| first.is_ascii_alphabetic())
        && reason.bytes().all(inner)
        && reason.bytes().last().is_some_and(ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_checked_in_order() {
        let check = |list: Value, expect: &[&str]| {
            let mut errors = Vec::new();
            conditions(list.as_array().map_or(&[], Vec::as_slice), "c", &mut errors);
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts.len(), expect.len(), "{texts:?}");
            for (text, expect) in texts.iter().zip(expect) {
                assert!(text.starts_with(expect), "{text} is not {expect}");
            }
        };
        let full =
            json!({"type": "Ready", "status": "True", "reason": "Fine", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        check(json!([full]), &[]);
        check(json!([full, full]), &[r#"c[1]: Duplicate value: "Ready""#]);
        check(
            json!([{}]),
            &[
                "c[0].type: Required value: is required",
                "c[0].status: Required value",
                "c[0].lastTransitionTime: Required value",
                "c[0].reason: Required value",
            ],
        );
        let mut bad = full;
        bad["status"] = json!("Yes");
        bad["reason"] = json!("1,");
        bad["observedGeneration"] = json!(-1);
        check(
            json!([bad]),
            &[
                r#"c[0].status: Unsupported value: "Yes": supported values: "False", "True", "Unknown""#,
                "c[0].observedGeneration: Invalid value: -1: must be greater than or equal to zero",
                r#"c[0].reason: Invalid value: "1,": a condition reason must start"#,
            ],
        );
    }
}
