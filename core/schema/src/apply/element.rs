//! Steps of a path into an object, in the order in which sets keep them, and their texts.
//!
//! Order and texts are facts of structured-merge-diff v6 (`fieldpath`, `value`): names before keys before values before
//! positions; numbers compare as numbers whether written as integers or not.

use std::{borrow::Cow, cmp::Ordering, fmt};

use serde_json::{Map, Number, Value};

/// One step of a path.
#[derive(Debug, Clone)]
pub enum PathElement<'a> {
    /// A field of an object.
    Field(Cow<'a, str>),
    /// The item of a list whose fields have these values, sorted by name.
    Key(Box<[(Cow<'a, str>, Scalar<'a>)]>),
    /// The item of a list that has this value.
    Value(Scalar<'a>),
    /// The item at a position.
    Index(i64),
}

/// A value in a [`PathElement`]: nearly always a scalar.
#[derive(Debug, Clone)]
pub enum Scalar<'a> {
    /// A number that is no integer of 64 bits.
    Float(f64),
    /// An integer.
    Integer(i64),
    /// Text.
    Text(Cow<'a, str>),
    /// true or false.
    Bool(bool),
    /// A list or an object.
    Tree(Cow<'a, Value>),
    /// Null.
    Null,
}

impl<'a> Scalar<'a> {
    /// Borrows from a value.
    pub fn of(value: &'a Value) -> Scalar<'a> {
        match value {
            Value::Null => Scalar::Null,
            Value::Bool(value) => Scalar::Bool(*value),
            Value::Number(number) => Scalar::of_number(number),
            Value::String(text) => Scalar::Text(Cow::Borrowed(text)),
            Value::Array(_) | Value::Object(_) => Scalar::Tree(Cow::Borrowed(value)),
        }
    }

    /// Takes a value over.
    pub fn owned(value: Value) -> Scalar<'static> {
        match value {
            Value::Null => Scalar::Null,
            Value::Bool(value) => Scalar::Bool(value),
            Value::Number(number) => Scalar::of_number(&number),
            Value::String(text) => Scalar::Text(Cow::Owned(text)),
            tree => Scalar::Tree(Cow::Owned(tree)),
        }
    }

    fn of_number<'b>(number: &Number) -> Scalar<'b> {
        match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Scalar::Integer(integer),
            (None, float) => Scalar::Float(float.unwrap_or_default()),
        }
    }

    fn into_owned(self) -> Scalar<'static> {
        match self {
            Scalar::Float(value) => Scalar::Float(value),
            Scalar::Integer(value) => Scalar::Integer(value),
            Scalar::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
            Scalar::Bool(value) => Scalar::Bool(value),
            Scalar::Tree(tree) => Scalar::Tree(Cow::Owned(tree.into_owned())),
            Scalar::Null => Scalar::Null,
        }
    }

    /// Appends JSON.
    pub(super) fn write(&self, out: &mut String) {
        use fmt::Write;
        let written = match self {
            Scalar::Float(value) => {
                out.push_str(&Number::from_f64(*value).map_or("null".into(), |number| go_float_json(&number)));
                Ok(())
            }
            Scalar::Integer(value) => write!(out, "{value}"),
            Scalar::Text(text) => {
                write_text(out, text);
                Ok(())
            }
            Scalar::Bool(value) => write!(out, "{value}"),
            Scalar::Tree(tree) => write!(out, "{tree}"),
            Scalar::Null => write!(out, "null"),
        };
        debug_assert!(written.is_ok(), "writing to memory does not fail");
    }
}

/// A float as Go's JSON writes it: whole numbers without a fraction.
fn go_float_json(number: &Number) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").map_or(text.clone(), str::to_string)
}

/// Appends text in quotes, escaped as JSON; the signs of HTML are escaped too, as Go does.
pub(super) fn write_text(out: &mut String, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&') && byte < 0x7f;
    out.push('"');
    if text.bytes().all(plain) {
        out.push_str(text);
    } else {
        for sign in text.chars() {
            match sign {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{0}'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.push_str(&format!("\\u{:04x}", sign as u32));
                }
                _ => out.push(sign),
            }
        }
    }
    out.push('"');
}

impl PathElement<'_> {
    /// A copy that borrows nothing.
    pub fn into_owned(self) -> PathElement<'static> {
        match self {
            PathElement::Field(name) => PathElement::Field(Cow::Owned(name.into_owned())),
            PathElement::Key(fields) => PathElement::Key(
                fields.into_iter().map(|(name, value)| (Cow::Owned(name.into_owned()), value.into_owned())).collect(),
            ),
            PathElement::Value(value) => PathElement::Value(value.into_owned()),
            PathElement::Index(at) => PathElement::Index(at),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            PathElement::Field(_) => 0,
            PathElement::Key(_) => 1,
            PathElement::Value(_) => 2,
            PathElement::Index(_) => 3,
        }
    }
}

impl Ord for PathElement<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (PathElement::Field(left), PathElement::Field(right)) => left.cmp(right),
            (PathElement::Key(left), PathElement::Key(right)) => left.iter().cmp(right.iter()),
            (PathElement::Value(left), PathElement::Value(right)) => left.cmp(right),
            (PathElement::Index(left), PathElement::Index(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for PathElement<'_> {}

impl Scalar<'_> {
    fn rank(&self) -> u8 {
        match self {
            Scalar::Float(_) => 0,
            Scalar::Integer(_) => 1,
            Scalar::Text(_) => 2,
            Scalar::Bool(_) => 3,
            Scalar::Tree(tree) => {
                if tree.is_array() {
                    4
                } else {
                    5
                }
            }
            Scalar::Null => 6,
        }
    }
}

fn compare_floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or(Ordering::Equal)
}

impl Ord for Scalar<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Scalar::Integer(left), Scalar::Integer(right)) => left.cmp(right),
            (Scalar::Float(left), Scalar::Float(right)) => compare_floats(*left, *right),
            (Scalar::Float(left), Scalar::Integer(right)) => compare_floats(*left, *right as f64),
            (Scalar::Integer(left), Scalar::Float(right)) => compare_floats(*left as f64, *right),
            (Scalar::Text(left), Scalar::Text(right)) => left.cmp(right),
            (Scalar::Bool(left), Scalar::Bool(right)) => left.cmp(right),
            (Scalar::Tree(left), Scalar::Tree(right)) => compare_trees(left, right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

fn compare_trees(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => left.iter().map(Scalar::of).cmp(right.iter().map(Scalar::of)),
        (Value::Object(left), Value::Object(right)) => {
            fn pairs(map: &Map<String, Value>) -> impl Iterator<Item = (&String, Scalar<'_>)> {
                map.iter().map(|(key, value)| (key, Scalar::of(value)))
            }
            pairs(left).cmp(pairs(right))
        }
        _ => Scalar::of(left).rank().cmp(&Scalar::of(right).rank()),
    }
}

impl PartialOrd for Scalar<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scalar<'_> {}

/// Whether two values are the same: numbers as numbers, all else by kind and content.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || Scalar::of_number(left) == Scalar::of_number(right)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| left.0 == right.0 && same(left.1, right.1))
        }
        _ => left == right,
    }
}

/// `.spec`, `[name="web"]`, `[="a"]`, `[0]`
impl fmt::Display for PathElement<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathElement::Field(name) => write!(formatter, ".{name}"),
            PathElement::Key(fields) => {
                formatter.write_str("[")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    write!(formatter, "{}{name}={value}", if at == 0 { "" } else { "," })?;
                }
                formatter.write_str("]")
            }
            PathElement::Value(value) => write!(formatter, "[={value}]"),
            PathElement::Index(at) => write!(formatter, "[{at}]"),
        }
    }
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Float(value) => write!(formatter, "{value}"),
            Scalar::Integer(value) => write!(formatter, "{value}"),
            Scalar::Text(text) => write!(formatter, "{text:?}"),
            Scalar::Bool(value) => write!(formatter, "{value}"),
            Scalar::Tree(tree) => match &**tree {
                Value::Array(items) => {
                    formatter.write_str("[")?;
                    for (at, item) in items.iter().enumerate() {
                        write!(formatter, "{}{}", if at == 0 { "" } else { "," }, Scalar::of(item))?;
                    }
                    formatter.write_str("]")
                }
                Value::Object(object) => {
                    object.iter().try_for_each(|(key, value)| write!(formatter, "{key}={}", Scalar::of(value)))
                }
                other => write!(formatter, "{other}"),
            },
            Scalar::Null => formatter.write_str("null"),
        }
    }
}
