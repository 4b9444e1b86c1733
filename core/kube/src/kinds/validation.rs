//! Checks that several kinds share, in the reference's words (kubernetes `pkg/apis/core/validation`).

use std::net::IpAddr;

use serde_json::json;
use triune_api::{
    Map, Value,
    field::{FieldError, FieldErrorKind},
    path::Path,
    quantity::Quantity,
    selector::LabelSelector,
    validation::{
        dns_label, dns_subdomain,
        formats::{percent, port_name},
        label_value,
        network::parse_ip_leniently,
    },
};

use super::shown;
use crate::{field::Field, tree};

/// The error of a change to a field that may not change.
pub fn immutable(old: &Value, new: &Value, pointer: &str, field: &str, errors: &mut Vec<FieldError>) {
    let (before, after) = (old.pointer(pointer), new.pointer(pointer));
    if before.unwrap_or(&Value::Null) != after.unwrap_or(&Value::Null) {
        errors.push(FieldError::invalid(field, after.unwrap_or(&Value::Null), "field is immutable"));
    }
}

/// A number that may not be negative.
pub fn not_negative(object: &Value, pointer: &str, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(number) = tree::integer(object, pointer)
        && number < 0
    {
        errors.push(FieldError::invalid(field, &json!(number), "must be greater than or equal to 0"));
    }
}

/// A text that must be one of a few; unset passes.
pub fn one_of(object: &Value, pointer: &str, field: &str, supported: &[&str], errors: &mut Vec<FieldError>) {
    let text = tree::text(object, pointer);
    if !text.is_empty() && !supported.contains(&text) {
        errors.push(FieldError::not_supported(field, &json!(text), supported));
    }
}

/// A text that must be given.
pub fn required(object: &Value, pointer: &str, field: &str, errors: &mut Vec<FieldError>) {
    if tree::text(object, pointer).is_empty() {
        errors.push(FieldError::required(field, ""));
    }
}

/// A name that must be given and be an RFC 1123 label.
pub fn label_name(object: &Value, pointer: &str, field: &str, errors: &mut Vec<FieldError>) {
    match tree::text(object, pointer) {
        "" => errors.push(FieldError::required(field, "")),
        name => each_message(name, field, dns_label(name), errors),
    }
}

/// A name that must be given and be an RFC 1123 subdomain.
pub fn subdomain_name(object: &Value, pointer: &str, field: &str, errors: &mut Vec<FieldError>) {
    match tree::text(object, pointer) {
        "" => errors.push(FieldError::required(field, "")),
        name => each_message(name, field, dns_subdomain(name), errors),
    }
}

/// An error for each message about a text.
pub fn each_message(text: &str, field: &str, messages: Vec<String>, errors: &mut Vec<FieldError>) {
    errors.extend(messages.into_iter().map(|message| FieldError::invalid(field, &json!(text), message)));
}

/// Labels that an object without any takes from its template.
pub fn labels_from_template(object: &mut Value, labels: Map) {
    let has_labels = tree::map(object, "/metadata/labels").is_some_and(|labels| !labels.is_empty());
    if let Some(metadata) = tree::child(object, "metadata")
        && !has_labels
    {
        tree::set(metadata, "labels", labels);
    }
}

/// Labels, or a map that selects by them.
pub fn labels(labels: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        qualified_name(key, path, errors);
        let value = value.as_str().unwrap_or_default();
        path.all_invalid(value, label_value(value), errors);
    }
}

/// Annotations.
pub fn annotations(annotations: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if annotations.and_then(Value::as_object).is_some_and(|annotations| !annotations.is_empty()) {
        errors.extend(triune_api::validation::validate_annotations(annotations, &path.to_string()));
    }
}

/// Finalizers of kinds of the older groups are the server's own or have a domain.
pub fn qualified_finalizers(object: &Value, errors: &mut Vec<FieldError>) {
    let list = Path::new("metadata.finalizers");
    for (index, name) in tree::items(object, "/metadata/finalizers").iter().filter_map(Value::as_str).enumerate() {
        if !name.contains('/') && !["kubernetes", "orphan", "foregroundDeletion"].contains(&name) {
            let message = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(list.index(index).invalid(name, message));
        }
    }
}

/// A name such as a label's key.
pub fn qualified_name(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    path.all_invalid(name, triune_api::validation::qualified_name(name), errors);
}

/// A name that must be an RFC 1123 subdomain if it is given.
pub fn subdomain(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !name.is_empty() {
        path.all_invalid(name, dns_subdomain(name), errors);
    }
}

/// Values that a label can have.
pub fn label_values(values: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
        path.index(index).all_invalid(value, label_value(value), errors);
    }
}

/// A text that must be one of a few, the empty text being none of them.
pub fn not_in(object: &Value, key: &str, supported: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let text = object.get(key).and_then(Value::as_str).unwrap_or_default();
    if !supported.contains(&text) {
        errors.push(path.field(key).not_supported(text, supported));
    }
}

/// A LabelSelector, which may be absent. `any_value` lets values pass that no label can have.
pub fn label_selector(selector: Option<&Value>, any_value: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(selector) = selector else { return };
    labels(selector.get("matchLabels"), &path.field("matchLabels"), errors);
    let list = path.field("matchExpressions");
    for (index, expression) in tree::items(selector, "/matchExpressions").iter().enumerate() {
        let path = list.index(index);
        let (values, values_path) = (tree::items(expression, "/values"), path.field("values"));
        match tree::text(expression, "/operator") {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(values_path.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let message = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(values_path.forbidden(message));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(path.field("operator").invalid(other, "not a valid selector operator")),
        }
        qualified_name(tree::text(expression, "/key"), &path.field("key"), errors);
        if !any_value {
            label_values(values, &values_path, errors);
        }
    }
}

/// The error of a LabelSelector, which is printed as the reference does it.
pub fn invalid_selector(selector: &Value, path: &Path<'_>, detail: String) -> FieldError {
    shown::invalid(path, "LabelSelector", selector, detail)
}

/// Whether a LabelSelector has neither labels nor expressions.
pub fn is_empty_selector(selector: &Value) -> bool {
    tree::map(selector, "/matchLabels").is_none_or(Map::is_empty)
        && tree::items(selector, "/matchExpressions").is_empty()
}

/// The labels of the template must be selected by its owner's selector.
pub fn template_selected(selector: &LabelSelector, template: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let labels = tree::map(template, "/metadata/labels");
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    if !selector.matches_with(label) {
        let shown = labels.map_or(Value::Null, |labels| Value::Object(labels.clone()));
        let message = "`selector` does not match template `labels`";
        errors.push(path.field("metadata.labels").invalid(shown, message));
    }
}

/// The error of a field that may not change, printed as a struct of the reference's type.
pub fn unchanged(
    old: &Value,
    new: &Value,
    pointer: &str,
    type_name: &str,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let (before, after) = (tree::some(old, pointer), tree::some(new, pointer));
    if before != after {
        let after = after.unwrap_or(&Value::Null);
        errors.push(if after.is_null() {
            path.invalid(Value::Null, "field is immutable")
        } else {
            shown::invalid(path, type_name, after, "field is immutable".into())
        });
    }
}

/// A number or a percentage that is not negative.
pub fn number_or_percent(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(text) => path.all_invalid(text, percent(text), errors),
        number => {
            let number = number.as_i64().unwrap_or_default();
            if number < 0 {
                errors.push(path.invalid(number, "must be greater than or equal to 0"));
            }
        }
    }
}

/// A percentage that is 100 at most.
pub fn at_most_whole(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if percentage(value).is_some_and(|percentage| percentage > 100) {
        errors.push(path.invalid(value.clone(), "must not be greater than 100%"));
    }
}

/// The number of a number or a percentage; of other texts what a number in them would be.
pub fn number_in(value: &Value) -> i64 {
    match value {
        Value::String(text) => percentage(value).or_else(|| text.parse().ok()).unwrap_or_default(),
        number => number.as_i64().unwrap_or_default(),
    }
}

fn percentage(value: &Value) -> Option<i64> {
    let text = value.as_str().filter(|text| percent(text).is_empty())?;
    Some(text[..text.len() - 1].parse().unwrap_or_default())
}

/// A port that must be between 1 and 65535.
pub fn port_number(number: i64, field: &str, errors: &mut Vec<FieldError>) {
    if !(1..=65535).contains(&number) {
        let message = "must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(field, &json!(number), message));
    }
}

/// An amount written as text or number.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// A port must be between 1 and 65535; one that is absent is 0.
pub fn port_range(port: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if !(1..=65535).contains(&port.integer()) {
        errors.push(port.invalid_integer("must be between 1 and 65535, inclusive"));
    }
}

/// A port by its number, or by the name that a container gives it.
pub fn port_name_or_number(port: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    match port.value() {
        Value::String(name) => port.invalid_for(port_name(name), errors),
        _ => port_range(port, errors),
    }
}

/// What is wrong with an address that traffic is sent to; empty is fine.
pub fn endpoint_ip(text: &str) -> Vec<String> {
    let Some(address) = parse_ip_leniently(text) else { return vec!["must be a valid IP address".into()] };
    let (link_local, local_multicast) = match address {
        IpAddr::V4(address) => (address.is_link_local(), address.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(address) => {
            let segments = address.segments();
            (segments[0] & 0xffc0 == 0xfe80, segments[0] & 0xff0f == 0xff02)
        }
    };
    let rules = [
        (address.is_unspecified(), format!("may not be unspecified ({text})")),
        (address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".into()),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".into()),
        (local_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".into()),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, message)| message).collect()
}

/// Why a finalizer without a domain is none of the server's own.
pub fn unqualified_finalizer(finalizer: &str) -> Option<String> {
    let known = finalizer.contains('/') || matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion");
    (!known).then(|| "name is neither a standard finalizer name nor is it fully qualified".into())
}

/// Finalizers of built-in kinds are the server's own or have a domain.
pub fn finalizers(object: &Value, errors: &mut Vec<FieldError>) {
    for finalizer in Field::of(object, "metadata.finalizers").items() {
        errors.extend(unqualified_finalizer(finalizer.text()).map(|message| finalizer.invalid_text(message)));
    }
}

/// Moves errors behind the others: the reference finds them by the tags of the type, after its other rules, and then says
/// less about them (`zz_generated.validations.go`).
pub fn found_by_type(errors: &mut [FieldError], which: impl Fn(&FieldError) -> bool) {
    errors.sort_by_key(|error| which(error));
}

/// Whether an error says that one of these fields is missing.
pub fn is_missing(error: &FieldError, fields: &[&str]) -> bool {
    error.kind == FieldErrorKind::Required && fields.contains(&error.field.as_str())
}
