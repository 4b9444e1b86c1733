//! Reading and defaulting fields of JSON trees. Fields are named by JSON pointers such as `/spec/replicas`; what is absent,
//! null or of another type reads as absent. "Unset" is what Go's zero value is: absent, null, "", 0, false.

use triune_api::{Map, Value};

/// The value at `pointer`, null or not. Keys with `/` or `~` cannot be named; nothing is allocated.
pub fn at<'a>(tree: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(tree, |tree, key| match tree {
        Value::Object(map) => map.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The value at `pointer` that is not null.
pub fn some<'a>(tree: &'a Value, pointer: &str) -> Option<&'a Value> {
    at(tree, pointer).filter(|value| !value.is_null())
}

/// The text at `pointer`; "" if there is none.
pub fn text<'a>(tree: &'a Value, pointer: &str) -> &'a str {
    at(tree, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at `pointer`.
pub fn integer(tree: &Value, pointer: &str) -> Option<i64> {
    at(tree, pointer).and_then(Value::as_i64)
}

/// The integer at `pointer`; 0 if there is none.
pub fn integer_or_zero(tree: &Value, pointer: &str) -> i64 {
    integer(tree, pointer).unwrap_or_default()
}

/// Whether there is `true` at `pointer`.
pub fn truth(tree: &Value, pointer: &str) -> bool {
    at(tree, pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// The items of the list at `pointer`; none if there is no list.
pub fn items<'a>(tree: &'a Value, pointer: &str) -> &'a [Value] {
    at(tree, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The object at `pointer`.
pub fn map<'a>(tree: &'a Value, pointer: &str) -> Option<&'a Map> {
    at(tree, pointer).and_then(Value::as_object)
}

/// Whether something that is not null is at `pointer`.
pub fn has(tree: &Value, pointer: &str) -> bool {
    at(tree, pointer).is_some_and(|value| !value.is_null())
}

/// The items of the list at `pointer`, to be changed.
pub fn items_mut<'a>(tree: &'a mut Value, pointer: &str) -> &'a mut [Value] {
    tree.pointer_mut(pointer).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// The object under `key`, made if it is absent; None only if `tree` is no object or something else is there.
pub fn child<'a>(tree: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let value = tree.as_object_mut()?.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.is_object().then_some(value)
}

/// The object at `pointer`, if it is there.
pub fn object_mut<'a>(tree: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    tree.pointer_mut(pointer).filter(|value| value.is_object())
}

/// Whether a value is what Go leaves out: absent, null, "", 0, false.
pub fn is_unset(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::Bool(truth)) => !truth,
        Some(Value::Array(_) | Value::Object(_)) => false,
    }
}

/// A tree without what Go leaves out where fields may be empty: null, "", 0, false and empty lists in objects. Two trees
/// that the reference calls semantically equal come out equal.
pub fn unset_removed(tree: &Value) -> Value {
    let is_empty = |value: &Value| is_unset(Some(value)) || value.as_array().is_some_and(Vec::is_empty);
    match tree {
        Value::Array(items) => items.iter().map(unset_removed).collect(),
        Value::Object(map) => {
            let fields = map.iter().map(|(key, value)| (key.clone(), unset_removed(value)));
            Value::Object(fields.filter(|(_, value)| !is_empty(value)).collect())
        }
        other => other.clone(),
    }
}

/// Sets a field that is absent or null (a pointer in Go).
pub fn fill(tree: &mut Value, key: &str, default: impl Into<Value>) {
    if let Some(map) = tree.as_object_mut()
        && map.get(key).is_none_or(Value::is_null)
    {
        map.insert(key.into(), default.into());
    }
}

/// Sets a field that is unset (no pointer in Go).
pub fn fill_unset(tree: &mut Value, key: &str, default: impl Into<Value>) {
    if let Some(map) = tree.as_object_mut()
        && is_unset(map.get(key))
    {
        map.insert(key.into(), default.into());
    }
}

/// Sets a field.
pub fn set(tree: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(map) = tree.as_object_mut() {
        map.insert(key.into(), value.into());
    }
}

/// Removes a field.
pub fn remove(tree: &mut Value, key: &str) {
    if let Some(map) = tree.as_object_mut() {
        map.remove(key);
    }
}

/// Makes a field what it is in another tree, absent if it is absent there.
pub fn copy_field(from: &Value, to: &mut Value, key: &str) {
    match from.get(key) {
        Some(value) => set(to, key, value.clone()),
        None => remove(to, key),
    }
}

/// The name of an object.
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fills_what_is_absent_or_unset() {
        let mut tree = json!({"zero": 0, "null": null, "set": 7, "empty": ""});
        for key in ["zero", "null", "set", "empty", "absent"] {
            fill(&mut tree, key, 1);
        }
        assert_eq!(tree, json!({"zero": 0, "null": 1, "set": 7, "empty": "", "absent": 1}));
        fill_unset(&mut tree, "zero", 2);
        fill_unset(&mut tree, "empty", "x");
        assert_eq!(tree, json!({"zero": 2, "null": 1, "set": 7, "empty": "x", "absent": 1}));
    }

    #[test]
    fn removes_what_is_unset() {
        let tree = json!({"a": 0, "b": [{"c": null, "d": 1}, 0], "e": [], "f": {}, "g": false, "h": ""});
        assert_eq!(unset_removed(&tree), json!({"b": [{"d": 1}, 0], "f": {}}));
    }

    #[test]
    fn reads_other_types_as_absent() {
        let tree = json!({"a": {"b": ["x"], "n": "3"}});
        assert_eq!((text(&tree, "/a/b"), integer(&tree, "/a/n"), items(&tree, "/a").len()), ("", None, 0));
        assert_eq!(items(&tree, "/a/b"), [json!("x")]);
    }
}
