//! JSON merge patch (RFC 7386).

use super::PatchError;
use crate::{
    Value,
    decode::{self, Decoded},
};

/// Reads a merge patch: a JSON object. Duplicate keys are in the strict errors.
pub fn parse_merge(text: &[u8]) -> Result<Decoded, PatchError> {
    let malformed = |why: &dyn std::fmt::Display| PatchError::Malformed(format!("error decoding patch: {why}"));
    let decoded = decode::json_strict(text).map_err(|error| malformed(&error))?;
    match &decoded.value {
        Value::Object(_) => Ok(decoded),
        Value::Null => Err(PatchError::Malformed("Invalid JSON Patch".into())),
        other => {
            let found = decode::json_type(other);
            Err(malformed(&format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")))
        }
    }
}

/// The target after the patch. Recursion is as deep as the patch, which the decoder has bounded.
///
/// Beyond the RFC, as the reference does: objects within lists lose their null members, unless the list replaces an
/// object.
pub fn merge(target: Value, patch: Value) -> Value {
    match (target, patch) {
        (Value::Object(mut target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(&key);
                } else {
                    let old = target.remove(&key).unwrap_or_default();
                    target.insert(key, merge(old, value));
                }
            }
            Value::Object(target)
        }
        (Value::Object(_), patch) => patch,
        (_, patch) => without_null_members(patch),
    }
}

fn without_null_members(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, member)| !member.is_null());
            Value::Object(kept.map(|(key, member)| (key, without_null_members(member))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_null_members).collect()),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The table of RFC 7386, appendix A.
    #[test]
    fn cases_of_the_rfc() {
        let check = |target: Value, patch: Value, expect: Value| {
            assert_eq!(merge(target.clone(), patch.clone()), expect, "{target} {patch}");
        };
        check(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}));
        check(json!({"a": "b"}), json!({"a": null}), json!({}));
        check(json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"}));
        check(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]}));
        check(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}));
        check(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}));
        check(json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"]));
        check(json!({"a": "b"}), json!(["c"]), json!(["c"]));
        check(json!({"a": "foo"}), json!(null), json!(null));
        check(json!({"a": "foo"}), json!("bar"), json!("bar"));
        check(json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1}));
        check(json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"}));
        check(json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}));
    }

    #[test]
    fn nulls_within_lists() {
        let list = json!({"a": [{"b": null, "c": 1}, null]});
        assert_eq!(merge(json!({}), list.clone()), json!({"a": [{"c": 1}, null]}));
        assert_eq!(merge(json!({"a": [1]}), list.clone()), json!({"a": [{"c": 1}, null]}));
        assert_eq!(merge(json!({"a": {}}), list.clone()), list);
    }

    #[test]
    fn only_objects_are_patches() {
        let check = |text: &str, expect: &str| {
            assert_eq!(parse_merge(text.as_bytes()), Err(PatchError::Malformed(expect.into())), "{text}");
        };
        check("", "error decoding patch: unexpected end of JSON input");
        check("null", "Invalid JSON Patch");
        check("[]", "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}");
        check("{a}", "error decoding patch: invalid character 'a' looking for beginning of object key string");
        let decoded = parse_merge(br#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(decoded.strict_errors, [r#"duplicate field "a""#]);
    }
}
