//! Request bodies to JSON trees: bounded, strict about what it reports, never panicking.
//!
//! Depth is bounded by [`DEPTH_MAX`], so that every recursive function over a tree is safe; the size of the text is the
//! caller's to bound. Duplicate keys are reported, the last one wins. Integers stay integers.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

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
    reader.disable_recursion_limit();
    let value = Node { strict: &strict, path: None, depth: 0 }.deserialize(&mut reader).and_then(|value| {
        reader.end()?;
        Ok(value)
    });
    let value = value.map_err(|error| DecodeError(error.to_string()))?;
    Ok(Decoded { value, strict_errors: strict.errors.into_inner() })
}

/// Reads one YAML document.
pub fn yaml(text: &[u8]) -> Result<Value, DecodeError> {
    yaml_strict(text).map(|decoded| decoded.value)
}

/// Reads one YAML document and reports duplicate keys.
pub fn yaml_strict(text: &[u8]) -> Result<Decoded, DecodeError> {
    let text = std::str::from_utf8(text).map_err(|error| DecodeError(format!("yaml: {error}")))?;
    let value = serde_saphyr::from_str(text).map_err(|error| DecodeError(format!("yaml: {error}")))?;
    Ok(Decoded { value, strict_errors: Vec::new() })
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
        if self.depth < DEPTH_MAX { Ok(self.depth + 1) } else { Err(E::custom("exceeded max depth")) }
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
            if map.contains_key(&key) {
                self.strict.duplicate(self.path, &key);
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
