//! Validation errors with field paths, as the reference words them (apimachinery `pkg/util/validation/field`).

use serde_json::Value;

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A value must be given.
    Required,
    /// The value is malformed.
    Invalid,
    /// The value is none of a closed set.
    NotSupported,
    /// The value may occur once.
    Duplicate,
    /// The value is well formed, and not permitted here.
    Forbidden,
    /// What the value refers to does not exist.
    NotFound,
    /// The text is too long.
    TooLong,
    /// The list is too long.
    TooMany,
    /// The value has the wrong JSON type.
    TypeInvalid,
}

impl FieldErrorKind {
    /// The cause's reason.
    pub fn reason(self) -> &'static str {
        match self {
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Invalid => "FieldValueInvalid",
            FieldErrorKind::NotSupported => "FieldValueNotSupported",
            FieldErrorKind::Duplicate => "FieldValueDuplicate",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::NotFound => "FieldValueNotFound",
            FieldErrorKind::TooLong => "FieldValueTooLong",
            FieldErrorKind::TooMany => "FieldValueTooMany",
            FieldErrorKind::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn text(self) -> &'static str {
        match self {
            FieldErrorKind::Required => "Required value",
            FieldErrorKind::Invalid | FieldErrorKind::TypeInvalid => "Invalid value",
            FieldErrorKind::NotSupported => "Unsupported value",
            FieldErrorKind::Duplicate => "Duplicate value",
            FieldErrorKind::Forbidden => "Forbidden",
            FieldErrorKind::NotFound => "Not found",
            FieldErrorKind::TooLong => "Too long",
            FieldErrorKind::TooMany => "Too many",
        }
    }
}

/// One error at one field. Printed as `field: body`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {}", self.body())]
pub struct FieldError {
    /// What is wrong.
    pub kind: FieldErrorKind,
    /// Path, such as `spec.containers[0].name`.
    pub field: String,
    /// The value as printed, where the kind prints it.
    pub value: Option<String>,
    /// More words; may be empty.
    pub detail: String,
}

impl FieldError {
    fn new(kind: FieldErrorKind, field: &str, value: Option<String>, detail: impl Into<String>) -> FieldError {
        FieldError { kind, field: field.into(), value, detail: detail.into() }
    }
    /// `field: Required value[: detail]`
    pub fn required(field: &str, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Required, field, None, detail)
    }
    /// `field: Invalid value: value[: detail]`
    pub fn invalid(field: &str, value: &Value, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Invalid, field, Some(print_value(value)), detail)
    }
    /// `field: Invalid value: detail`, of a value that is not shown
    pub fn invalid_omitted(field: &str, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Invalid, field, None, detail)
    }
    /// `field: Unsupported value: value: supported values: "a", "b"`, in the order given
    pub fn not_supported(field: &str, value: &Value, supported: &[&str]) -> FieldError {
        let quoted: Vec<String> = supported.iter().map(|text| format!("{text:?}")).collect();
        let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
        FieldError::new(FieldErrorKind::NotSupported, field, Some(print_value(value)), detail)
    }
    /// `field: Duplicate value: value`
    pub fn duplicate(field: &str, value: &Value) -> FieldError {
        FieldError::new(FieldErrorKind::Duplicate, field, Some(print_value(value)), "")
    }
    /// `field: Forbidden[: detail]`
    pub fn forbidden(field: &str, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Forbidden, field, None, detail)
    }
    /// `field: Not found: value`
    pub fn not_found(field: &str, value: &Value) -> FieldError {
        FieldError::new(FieldErrorKind::NotFound, field, Some(print_value(value)), "")
    }
    /// `field: Too long: may not be more than N bytes`
    pub fn too_long(field: &str, bytes_max: usize) -> FieldError {
        let unit = if bytes_max == 1 { "byte" } else { "bytes" };
        FieldError::new(FieldErrorKind::TooLong, field, None, format!("may not be more than {bytes_max} {unit}"))
    }
    /// `field: Too many: N: must have at most M items`
    pub fn too_many(field: &str, items: usize, items_max: usize) -> FieldError {
        let unit = if items_max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {items_max} {unit}");
        FieldError::new(FieldErrorKind::TooMany, field, Some(items.to_string()), detail)
    }
    /// `field: Invalid value: value: detail`, for a value of the wrong JSON type.
    pub fn type_invalid(field: &str, value: &Value, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::TypeInvalid, field, Some(print_value(value)), detail)
    }
    /// All but the path: the cause's message.
    pub fn body(&self) -> String {
        let mut text = self.kind.text().to_string();
        for part in [self.value.as_deref().unwrap_or_default(), self.detail.as_str()] {
            if !part.is_empty() {
                text.push_str(": ");
                text.push_str(part);
            }
        }
        text
    }
}

/// Go prints strings quoted, other scalars plainly and structures as `{...}`; here structures are JSON.
fn print_value(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_print_as_the_reference() {
        let check = |error: FieldError, expect: &str| assert_eq!(error.to_string(), expect);
        check(FieldError::required("a.b", ""), "a.b: Required value");
        check(FieldError::required("a", "give one"), "a: Required value: give one");
        check(FieldError::invalid("a", &json!("x\ny"), "bad"), r#"a: Invalid value: "x\ny": bad"#);
        check(FieldError::invalid("a", &json!(3), "bad"), "a: Invalid value: 3: bad");
        check(FieldError::invalid_omitted("a", "bad"), "a: Invalid value: bad");
        check(
            FieldError::not_supported("a", &json!("x"), &["b", "a"]),
            r#"a: Unsupported value: "x": supported values: "b", "a""#,
        );
        check(FieldError::duplicate("a[1]", &json!("x")), r#"a[1]: Duplicate value: "x""#);
        check(FieldError::forbidden("a", "no"), "a: Forbidden: no");
        check(FieldError::not_found("a", &json!("x")), r#"a: Not found: "x""#);
        check(FieldError::too_long("a", 1), "a: Too long: may not be more than 1 byte");
        check(FieldError::too_many("a", 3, 1), "a: Too many: 3: must have at most 1 item");
    }
}
