//! Values in errors as the reference prints them: its validation sees internal types, which have no JSON names, so that
//! structs come out with the names and the order of Go's fields, and with all that is unset.
//!
//! The types are in `facts/internal.txt`: `T NAME`, then its fields, separated by tabs: the name in Go, the name in JSON, and
//! what is printed where it is unset, or the type of the struct there: `=T`, `*T` (null where unset), `[]T` for lists. A field
//! without names has the fields of the struct `+T` among its owner's.

use std::{collections::BTreeMap, sync::LazyLock};

use triune_api::{
    Value,
    field::{FieldError, FieldErrorKind},
    path::Path,
};

struct Field {
    name: &'static str,
    json_name: &'static str,
    shape: &'static str,
}

static TYPES: LazyLock<BTreeMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let mut types: BTreeMap<&'static str, Vec<Field>> = BTreeMap::new();
    let mut owner = "";
    for line in include_str!("../../facts/internal.txt").lines().filter(|line| !line.starts_with('#')) {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["T", name] => {
                owner = name;
                types.entry(owner).or_default();
            }
            [name, json_name, shape] => types.entry(owner).or_default().push(Field { name, json_name, shape }),
            _ => {}
        }
    }
    types
});

/// The metadata that the reference prints, in its order, under JSON names.
const METADATA: [&str; 14] = [
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// `field: Invalid value: value: detail` of a struct of the type.
pub fn invalid(path: &Path<'_>, type_name: &str, value: &Value, detail: String) -> FieldError {
    let field = path.to_string();
    FieldError { kind: FieldErrorKind::Invalid, field, value: Some(structure(type_name, value)), detail }
}

/// `field: Unsupported value: value: supported values: ...` of a struct of the type.
pub fn not_supported(path: &Path<'_>, type_name: &str, value: &Value, supported: &[&str]) -> FieldError {
    let mut error = path.not_supported(Value::Null, supported);
    error.value = Some(structure(type_name, value));
    error
}

/// A struct of the type, on one line.
pub fn structure(type_name: &str, value: &Value) -> String {
    let mut out = String::new();
    shown(type_name, value).append(&mut out, None);
    out
}

/// A list of structs of the type, on one line.
pub fn structures(type_name: &str, values: &[Value]) -> String {
    let mut out = String::new();
    Shown::List(values.iter().map(|value| shown(type_name, value)).collect()).append(&mut out, None);
    out
}

/// A struct of the type, a line for each field, indented by one space.
pub fn pretty(type_name: &str, value: &Value) -> String {
    let mut out = String::new();
    shown(type_name, value).append(&mut out, Some(0));
    out
}

/// A label selector, which has JSON names also inside of the reference.
pub fn selector(value: &Value) -> String {
    structure("LabelSelector", value)
}

/// A value with its fields in order.
enum Shown {
    Leaf(String),
    Object(Vec<(String, Shown)>),
    List(Vec<Shown>),
}

fn shown(type_name: &str, value: &Value) -> Shown {
    if value.is_null() {
        return Shown::Leaf("null".into());
    }
    if type_name == "LabelSelector" {
        return shown_selector(value);
    }
    if !TYPES.contains_key(type_name) {
        return plain(value);
    }
    let mut fields = Vec::new();
    push_fields(type_name, value, &mut fields);
    Shown::Object(fields)
}

fn push_fields(type_name: &str, value: &Value, out: &mut Vec<(String, Shown)>) {
    match type_name {
        "TypeMeta" => {}
        "ObjectMeta" => {
            let given = |field: &str| value.pointer("/metadata")?.get(field).filter(|value| !is_empty(value));
            out.extend(METADATA.iter().filter_map(|field| Some(((*field).to_string(), plain(given(field)?)))));
        }
        _ => {
            for field in TYPES.get(type_name).into_iter().flatten() {
                if let Some(embedded) = field.shape.strip_prefix('+') {
                    push_fields(embedded, value, out);
                } else {
                    let value = value.get(field.json_name).filter(|value| !value.is_null());
                    out.push((field.name.to_string(), shown_field(field.shape, value)));
                }
            }
        }
    }
}

fn shown_field(shape: &str, value: Option<&Value>) -> Shown {
    let empty = Value::Object(serde_json::Map::new());
    if let Some(type_name) = shape.strip_prefix('=') {
        return shown(type_name, value.unwrap_or(&empty));
    }
    match value {
        None if shape.starts_with(['*', '[']) => Shown::Leaf("null".into()),
        None => Shown::Leaf(shape.into()),
        Some(value) => match (shape.strip_prefix('*'), shape.strip_prefix("[]"), value) {
            (Some(type_name), ..) => shown(type_name, value),
            (_, Some(type_name), Value::Array(items)) => {
                Shown::List(items.iter().map(|item| shown(type_name, item)).collect())
            }
            _ => plain(value),
        },
    }
}

fn plain(value: &Value) -> Shown {
    match value {
        Value::Object(map) => Shown::Object(map.iter().map(|(key, value)| (key.clone(), plain(value))).collect()),
        Value::Array(items) => Shown::List(items.iter().map(plain).collect()),
        leaf => Shown::Leaf(leaf.to_string()),
    }
}

fn shown_selector(selector: &Value) -> Shown {
    let given = |owner: &'_ Value, key: &str| owner.get(key).filter(|value| !is_empty(value)).cloned();
    let mut fields = Vec::new();
    if let Some(labels) = given(selector, "matchLabels") {
        fields.push(("matchLabels".to_string(), plain(&labels)));
    }
    if let Some(Value::Array(expressions)) = given(selector, "matchExpressions") {
        let expression = |expression: &Value| {
            let text = |key: &str| plain(expression.get(key).unwrap_or(&Value::String(String::new())));
            let mut fields = vec![("key".to_string(), text("key")), ("operator".to_string(), text("operator"))];
            fields.extend(given(expression, "values").map(|values| ("values".to_string(), plain(&values))));
            Shown::Object(fields)
        };
        fields.push(("matchExpressions".to_string(), Shown::List(expressions.iter().map(expression).collect())));
    }
    Shown::Object(fields)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

impl Shown {
    /// On one line, or on lines from a depth on.
    fn append(&self, out: &mut String, depth: Option<usize>) {
        let (open, close, length) = match self {
            Shown::Leaf(text) => return push_escaped(out, text),
            Shown::Object(fields) => ('{', '}', fields.len()),
            Shown::List(items) => ('[', ']', items.len()),
        };
        let below = depth.map(|depth| depth + 1);
        let line = |out: &mut String, depth: Option<usize>| {
            if let Some(depth) = depth {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', depth));
            }
        };
        out.push(open);
        for index in 0..length {
            if index > 0 {
                out.push(',');
            }
            line(out, below);
            match self {
                Shown::Object(fields) => {
                    push_escaped(out, &Value::from(fields[index].0.as_str()).to_string());
                    out.push_str(if depth.is_some() { ": " } else { ":" });
                    fields[index].1.append(out, below);
                }
                Shown::List(items) => items[index].append(out, below),
                Shown::Leaf(_) => {}
            }
        }
        if length > 0 {
            line(out, depth);
        }
        out.push(close);
    }
}

/// Go's JSON can stand in HTML.
fn push_escaped(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            letter => out.push(letter),
        }
    }
}

/// Why a text is no integer, as Go says it.
pub fn atoi(text: &str) -> &'static str {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        "value out of range"
    } else {
        "invalid syntax"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn structs_are_printed_with_the_names_of_go() {
        let check = |type_name: &str, value: Value, expected: &str| assert_eq!(structure(type_name, &value), expected);
        check("DeploymentStrategy", json!({"type": "x"}), r#"{"Type":"x","RollingUpdate":null}"#);
        check(
            "SuccessPolicy",
            json!({"rules": [{"succeededCount": 1}]}),
            r#"{"Rules":[{"SucceededIndexes":null,"SucceededCount":1}]}"#,
        );
        check(
            "LabelSelector",
            json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}),
            r#"{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"k","operator":"In","values":["v"]}]}"#,
        );
        check("LabelSelector", json!({"matchLabels": {}}), "{}");
        check(
            "Toleration",
            json!({"key": "<"}),
            r#"{"Key":"\u003c","Operator":"","Value":"","Effect":"","TolerationSeconds":null}"#,
        );
    }

    #[test]
    fn lines_are_indented_by_one_space() {
        let value = json!({"rules": [{"succeededCount": 1}]});
        let expected = "{\n \"Rules\": [\n  {\n   \"SucceededIndexes\": null,\n   \"SucceededCount\": 1\n  }\n ]\n}";
        assert_eq!(pretty("SuccessPolicy", &value), expected);
        let spec = pretty("PodSpec", &json!({"containers": [{"name": "a"}]}));
        assert!(spec.contains("\n   \"Name\": \"a\",\n   \"Image\": \"\",\n"), "{spec}");
    }
}
