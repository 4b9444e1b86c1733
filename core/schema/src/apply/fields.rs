//! Sets as `fieldsV1`, the form that `managedFields` has them in.
//!
//! A key is a step of a path (`f:name`, `k:{"name":"web"}`, `v:"a"`, `i:0`); `.` says that the path so far is in the
//! set, and so does an empty object. Keys of unknown kind are ignored.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    element::{PathElement, Scalar, write_text},
    set::{Node, Set},
};

/// Why `fieldsV1` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldsError(pub(super) String);

impl<'a> Set<'a> {
    /// Reads `fieldsV1`. Null is no path.
    ///
    /// # Errors
    /// Something other than objects, keys that are no step of a path.
    pub fn parse(fields: &'a Value) -> Result<Set<'a>, FieldsError> {
        let mut exact = true;
        Ok(parse(fields, &mut exact)?.0)
    }

    /// Reads `fieldsV1`, and tells whether writing it again would give the same.
    pub(super) fn parse_exact(fields: &'a Value) -> Result<(Set<'a>, bool), FieldsError> {
        let mut exact = fields.is_object();
        let (set, member) = parse(fields, &mut exact)?;
        let written_without_self = !member || set.is_empty();
        Ok((set, exact && written_without_self))
    }

    /// `fieldsV1`. An object's keys come in the order of their texts.
    pub fn to_value(&self) -> Value {
        self.write(false)
    }

    fn write(&self, with_self: bool) -> Value {
        let mut object = Map::new();
        if with_self && !self.is_empty() {
            object.insert(".".into(), Value::Object(Map::new()));
        }
        for node in &self.nodes {
            object.insert(node.element.to_key(), node.children.write(node.member));
        }
        Value::Object(object)
    }
}

/// Paths below, and whether the path to here is in the set.
fn parse<'a>(fields: &'a Value, exact: &mut bool) -> Result<(Set<'a>, bool), FieldsError> {
    let object = match fields {
        Value::Object(object) => object,
        Value::Null => {
            *exact = false;
            return Ok((Set::new(), true));
        }
        other => return Err(FieldsError(format!("expected an object of fields, got {other}"))),
    };
    let mut set = Set { nodes: Vec::with_capacity(object.len()) };
    let mut member = false;
    for (key, below) in object {
        if key == "." {
            member = true;
            *exact &= below.as_object().is_some_and(Map::is_empty);
            continue;
        }
        let Some(element) = PathElement::parse(key, exact)? else {
            *exact = false;
            continue;
        };
        let (children, member) = parse(below, exact)?;
        match set.nodes.last() {
            Some(last) if last.element >= element => set.push(element, member, children),
            _ => set.nodes.push(Node { element, member, children }),
        }
    }
    if set.is_empty() {
        *exact &= object.is_empty();
        member = true;
    }
    Ok((set, member))
}

impl<'a> PathElement<'a> {
    /// Reads a key of `fieldsV1`; None if it is of unknown kind. `exact` becomes false if it would be written otherwise.
    fn parse(key: &'a str, exact: &mut bool) -> Result<Option<PathElement<'a>>, FieldsError> {
        let Some((kind, rest)) = key.split_at_checked(2) else {
            return Err(FieldsError("key must be 2 characters long:".into()));
        };
        if !kind.ends_with(':') {
            return Err(FieldsError(format!("missing colon: {key}")));
        }
        let element = match kind {
            "f:" => return Ok(Some(PathElement::Field(Cow::Borrowed(rest)))),
            "v:" => PathElement::Value(parse_scalar(rest)?),
            "k:" => match parse_simple_key(rest) {
                Some(fields) => return Ok(Some(PathElement::Key(fields))),
                None => PathElement::Key(parse_key(rest)?),
            },
            "i:" => PathElement::Index(rest.parse().map_err(|_| FieldsError(format!("no position: {rest}")))?),
            _ => return Ok(None),
        };
        *exact &= element.to_key() == key;
        Ok(Some(element))
    }

    /// The key of `fieldsV1`.
    fn to_key(&self) -> String {
        match self {
            PathElement::Field(name) => {
                let mut key = String::with_capacity(name.len() + 2);
                key.push_str("f:");
                key.push_str(name);
                key
            }
            PathElement::Key(fields) => {
                let mut key = String::from("k:{");
                for (at, (name, value)) in fields.iter().enumerate() {
                    if at > 0 {
                        key.push(',');
                    }
                    write_text(&mut key, name);
                    key.push(':');
                    value.write(&mut key);
                }
                key.push('}');
                key
            }
            PathElement::Value(value) => {
                let mut key = String::from("v:");
                value.write(&mut key);
                key
            }
            PathElement::Index(at) => format!("i:{at}"),
        }
    }
}

fn parse_scalar<'a>(text: &str) -> Result<Scalar<'a>, FieldsError> {
    let value = serde_json::from_str(text).map_err(|error| FieldsError(error.to_string()))?;
    Ok(Scalar::owned(value))
}

fn parse_key<'a>(text: &str) -> Result<Box<[(Cow<'a, str>, Scalar<'a>)]>, FieldsError> {
    let object: Option<Map<String, Value>> =
        serde_json::from_str(text).map_err(|error| FieldsError(error.to_string()))?;
    Ok(object.into_iter().flatten().map(|(name, value)| (Cow::Owned(name), Scalar::owned(value))).collect())
}

/// Reads what nearly all keys are: names in order, each with plain text or an integer as we write it. None is for the
/// other reader.
fn parse_simple_key(text: &str) -> Option<Box<[(Cow<'_, str>, Scalar<'_>)]>> {
    let mut rest = text.strip_prefix('{')?;
    let mut fields: Vec<(Cow<'_, str>, Scalar<'_>)> = Vec::with_capacity(2);
    loop {
        let (name, after) = simple_text(rest)?;
        if fields.last().is_some_and(|(last, _)| **last >= *name) {
            return None;
        }
        rest = after.strip_prefix(':')?;
        let value = if let Some((value, after)) = simple_text(rest) {
            rest = after;
            Scalar::Text(Cow::Borrowed(value))
        } else {
            let end = rest.find([',', '}'])?;
            let (digits, after) = rest.split_at(end);
            let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
                && (digits == "0" || !digits.starts_with('0') && !digits.is_empty());
            rest = after;
            Scalar::Integer(canonical.then(|| digits.parse().ok())??)
        };
        fields.push((Cow::Borrowed(name), value));
        match rest {
            "}" => return Some(fields.into_boxed_slice()),
            _ => rest = rest.strip_prefix(',')?,
        }
    }
}

/// Text in quotes in which nothing is escaped or would be, and what follows it.
fn simple_text(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let end = inner.bytes().position(|byte| byte == b'"')?;
    let (value, rest) = (&inner[..end], &inner[end + 1..]);
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && !matches!(byte, b'\\' | b'<' | b'>' | b'&');
    value.bytes().all(plain).then_some((value, rest))
}
