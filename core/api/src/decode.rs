//! Request bodies to JSON trees: bounded, strict about what it reports, never panicking.
//!
//! JSON is here; `syntax` has the sentences about what is not JSON; `yaml_characters`, `yaml` and `yaml_scalar` read YAML.
//! Depth is bounded by [`DEPTH_MAX`], so that every recursive function over a tree is safe; the size of the text is the
//! caller's to bound. Duplicate keys are reported, the last one wins. Integers stay integers.

mod syntax;
mod yaml;
mod yaml_characters;
mod yaml_scalar;

use std::{borrow::Cow, cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;

use crate::{Map, Value};

/// How deep objects and lists may nest. (The reference allows 10,000.)
pub const DEPTH_MAX: usize = 512;
/// How many strict errors are reported.
pub const STRICT_ERRORS_MAX: usize = 100;

/// Why a body is not a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// A tree and what a strict reader has to say about its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The tree.
    pub value: Value,
    /// Such as `duplicate field "metadata.labels.a"`, each once, at most [`STRICT_ERRORS_MAX`].
    pub strict_errors: Vec<String>,
}

/// Reads JSON.
pub fn json(text: &[u8]) -> Result<Value, DecodeError> {
    json_strict(text).map(|decoded| decoded.value)
}

/// Reads JSON and reports duplicate keys.
pub fn json_strict(text: &[u8]) -> Result<Decoded, DecodeError> {
    let strict = Strict::default();
    let mut reader = serde_json::Deserializer::from_slice(text);
    // The depth is bounded by the visitor, which gives up at the first value that is too deep.
    reader.disable_recursion_limit();
    let value = Node { strict: &strict, path: None, depth: 0 }.deserialize(&mut reader).and_then(|value| {
        reader.end()?;
        Ok(value)
    });
    match value {
        Ok(value) => Ok(Decoded { value, strict_errors: strict.errors.into_inner() }),
        Err(error) => explain(text, &error),
    }
}

/// What Go would say of a text that serde does not take, or take: it replaces bytes that are not UTF-8.
fn explain(text: &[u8], error: &serde_json::Error) -> Result<Decoded, DecodeError> {
    if error.is_data() {
        return Err(DecodeError(too_deep()));
    }
    if let Some(complaint) = syntax::complaint(text) {
        return Err(DecodeError(complaint));
    }
    match String::from_utf8_lossy(text) {
        Cow::Owned(replaced) => json_strict(replaced.as_bytes()),
        Cow::Borrowed(_) => Err(DecodeError(error.to_string())),
    }
}

fn too_deep() -> String {
    format!("exceeded max depth of {DEPTH_MAX}")
}

/// Reads one YAML document; documents after it are not looked at.
pub fn yaml(text: &[u8]) -> Result<Value, DecodeError> {
    yaml_strict(text).map(|decoded| decoded.value)
}

/// Reads one YAML document and reports duplicate keys. JSON is YAML, and clients often send it as such: it takes the
/// short way.
pub fn yaml_strict(text: &[u8]) -> Result<Decoded, DecodeError> {
    let readable = yaml_characters::read(text)?;
    if text.trim_ascii_start().starts_with(b"{")
        && let Ok(decoded) = json_strict(text)
        && decoded.strict_errors.is_empty()
    {
        return Ok(decoded);
    }
    yaml::decode(readable)
}

/// `apiVersion` and `kind` of a body; "" where absent. The error is the sentence of the reference.
pub fn type_meta(object: &Value) -> Result<(&str, &str), DecodeError> {
    let field = |name: &str, go_name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(other) => Err(DecodeError(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field .{go_name} of type string",
            json_type(other)
        ))),
    };
    match object {
        Value::Object(_) => Ok((field("apiVersion", "apiVersion")?, field("kind", "kind")?)),
        Value::Null => Ok(("", "")),
        other => Err(DecodeError(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
            json_type(other)
        ))),
    }
}

/// The JSON type's name as Go's decoder prints it.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The sentence of a body that is not JSON, as the reference gives it with 400.
pub fn json_parse_error(error: &DecodeError) -> String {
    format!("couldn't get version/kind; json parse error: {error}")
}

/// The sentence of strict validation that fails: `strict decoding error: unknown field "a", duplicate field "b"`.
pub fn strict_error(errors: &[String]) -> String {
    format!("strict decoding error: {}", errors.join(", "))
}

#[derive(Default)]
struct Strict {
    errors: RefCell<Vec<String>>,
}

impl Strict {
    fn duplicate(&self, path: Option<&Path<'_>>, key: &str) {
        let mut errors = self.errors.borrow_mut();
        if errors.len() < STRICT_ERRORS_MAX {
            let mut text = path.map(ToString::to_string).unwrap_or_default();
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(key);
            let error = format!("duplicate field {text:?}");
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
    }
}

/// Where the reader is: a list through its stack frames, printed only for errors.
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(formatter)?;
        }
        match self.step {
            Step::Key(key) if self.parent.is_some() => write!(formatter, ".{key}"),
            Step::Key(key) => formatter.write_str(key),
            Step::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}

/// Reads one value at one place.
struct Node<'a> {
    strict: &'a Strict,
    path: Option<&'a Path<'a>>,
    depth: usize,
}

impl Node<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth < DEPTH_MAX { Ok(self.depth + 1) } else { Err(E::custom(too_deep())) }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number is not finite"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let depth = self.deeper::<A::Error>()?;
        let mut items = Vec::new();
        loop {
            let path = Path { parent: self.path, step: Step::Index(items.len()) };
            let node = Node { strict: self.strict, path: Some(&path), depth };
            match sequence.next_element_seed(node)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.deeper::<A::Error>()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = Path { parent: self.path, step: Step::Key(&key) };
            let node = Node { strict: self.strict, path: Some(&path), depth };
            let value = entries.next_value_seed(node)?;
            match map.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    self.strict.duplicate(self.path, entry.key());
                    entry.insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_texts() {
        let check = |text: &str, expect: Value| assert_eq!(json(text.as_bytes()).unwrap(), expect, "{text}");
        check(
            r#" {"a":[1,-1,1.5,18446744073709551615,1e2,true,null,"x\u00e9"]} "#,
            json!({"a": [1, -1, 1.5, u64::MAX, 100.0, true, null, "x\u{e9}"]}),
        );
        check("null", json!(null));
        let lossy = json(b"{\"a\":\"x\xff\"}").unwrap();
        assert_eq!(lossy, json!({"a": "x\u{fffd}"}));
    }

    #[test]
    fn refusals() {
        let check = |text: &str, expect: &str| {
            assert_eq!(json(text.as_bytes()).unwrap_err().to_string(), expect, "{text}");
        };
        check("", "unexpected end of JSON input");
        check("{\"a\":1,}", "invalid character '}' looking for beginning of object key string");
        check("{} {}", "invalid character '{' after top-level value");
        check(&"[".repeat(1_000_000), "exceeded max depth of 512");
        check(&"{\"a\":".repeat(1_000_000), "exceeded max depth of 512");
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(json(deep(DEPTH_MAX).as_bytes()).is_ok());
        check(&deep(DEPTH_MAX + 1), "exceeded max depth of 512");
        assert!(json(b"1e999").unwrap_err().to_string().starts_with("number out of range"));
    }

    /// Also where the text would be JSON, in which such bytes are replaced.
    #[test]
    fn yaml_refuses_what_is_not_text() {
        let check = |text: &[u8], expect: &str| {
            assert_eq!(yaml(text).unwrap_err().to_string(), expect);
            assert!(json(text).is_ok());
        };
        check(b"{\"a\":\"x\xff\"}", "yaml: invalid leading UTF-8 octet");
        check(b"{\"a\":\"x\x7f\"}", "yaml: control characters are not allowed");
        let marked = "\u{feff}a: \"\u{feff}\"";
        assert_eq!(yaml(marked.as_bytes()).unwrap(), json!({"a": "\u{feff}"}));
    }

    #[test]
    fn duplicates_are_reported_with_their_path() {
        let check = |text: &str, expect: &[&str]| {
            assert_eq!(json_strict(text.as_bytes()).unwrap().strict_errors, expect, "{text}");
        };
        check(r#"{"a":1,"b":{"a":2}}"#, &[]);
        check(r#"{"a":1,"a":2,"a":3}"#, &[r#"duplicate field "a""#]);
        check(r#"{"metadata":{"labels":{"a":"1","a":"2"}}}"#, &[r#"duplicate field "metadata.labels.a""#]);
        check(r#"{"a":[{"b":[[{"c":1,"c":1}]]}]}"#, &[r#"duplicate field "a[0].b[0][0].c""#]);
        let many: Vec<String> = (0..200).map(|index| format!(r#""{index}":0,"{index}":0"#)).collect();
        assert_eq!(
            json_strict(format!("{{{}}}", many.join(",")).as_bytes()).unwrap().strict_errors.len(),
            STRICT_ERRORS_MAX
        );
    }

    #[test]
    fn types_of_bodies() {
        let check = |object: Value, expect: Result<(&str, &str), &str>| {
            assert_eq!(type_meta(&object).map_err(|error| error.0), expect.map_err(str::to_string));
        };
        check(json!({"apiVersion": "v1", "kind": "Pod"}), Ok(("v1", "Pod")));
        check(json!({"kind": null}), Ok(("", "")));
        check(
            json!({"kind": 3}),
            Err(
                "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string",
            ),
        );
        check(
            json!([]),
            Err(
                r#"couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#,
            ),
        );
    }

    fn any_tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9f64).prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,6}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(tree in any_tree()) {
            let text = tree.to_string();
            prop_assert_eq!(&json(text.as_bytes()).unwrap(), &tree);
            prop_assert_eq!(syntax::complaint(text.as_bytes()), None);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..200, tree in any_tree()) {
            let mut text = tree.to_string().into_bytes();
            text.truncate(cut);
            text.extend_from_slice(&bytes);
            // Where serde reads it, Go's scanner has nothing to say.
            if json(&text).is_ok() {
                prop_assert_eq!(syntax::complaint(&text), None);
            }
            let _ = yaml(&text);
            let _ = yaml(&bytes);
        }

        #[test]
        fn yaml_like_text_does_not_panic(text in "[-a-c0-9:{}\\[\\],&*<>!|?%@\"'#\n \t.]{0,120}") {
            let _ = yaml(text.as_bytes());
            let _ = json(text.as_bytes());
        }
    }
}
