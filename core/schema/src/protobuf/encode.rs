//! Objects to messages, byte for byte as the reference's generated code writes them: fields by number, maps by key, zero
//! values of everything that has no pointer.
//!
//! A value of the wrong type counts as absent: objects have been checked when they came.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    text::Text,
    wire::{bytes, float, nested, number},
};
use crate::{
    check::decode_base64,
    facts::{Facts, Field, Kind, ShapeIndex},
    gotime::{self, Layout},
};

/// The message of a tree in normal form.
pub(crate) fn encode(facts: &Facts, index: u32, value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    Encoder { facts }.write_struct(&mut out, index, Some(value));
    out
}

/// The message of an object in normal form that is JSON text without its opening brace, as objects are stored. Text of
/// maps must be sorted, as that of trees is. `revision`, a number, becomes its `metadata.resourceVersion`. None if the text is not
/// what it should be.
pub(crate) fn encode_text(facts: &Facts, index: u32, body: &[u8], revision: &str) -> Option<Vec<u8>> {
    let revision = format!("\"{revision}\"");
    let text = Text::read(facts, index, body, &revision)?;
    let mut out = Vec::with_capacity(body.len());
    Encoder { facts }.write_struct(&mut out, index, Some(text.root()));
    Some(out)
}

/// A JSON value, of a tree or of text.
pub(super) trait Json<'a>: Copy {
    /// What a field of a struct holds: its index in the facts, or its name, says which.
    fn field(self, index: u32, name: &str) -> Option<Self>;
    /// Text.
    fn text(self) -> Option<Cow<'a, str>>;
    /// true or false.
    fn boolean(self) -> Option<bool>;
    /// A whole number.
    fn integer(self) -> Option<i64>;
    /// A number.
    fn float(self) -> Option<f64>;
    /// Whether it is a list.
    fn is_list(self) -> bool;
    /// Whether it is an object.
    fn is_object(self) -> bool;
    /// Whether it is null.
    fn is_null(self) -> bool;
    /// The items of a list.
    fn items(self) -> impl Iterator<Item = Self>;
    /// The entries of an object, sorted.
    fn entries(self) -> impl Iterator<Item = (Cow<'a, str>, Self)>;
    /// The value as text.
    fn json(self) -> Cow<'a, str>;
}

impl<'a> Json<'a> for &'a Value {
    fn field(self, _: u32, name: &str) -> Option<Self> {
        self.get(name)
    }
    fn text(self) -> Option<Cow<'a, str>> {
        self.as_str().map(Cow::Borrowed)
    }
    fn boolean(self) -> Option<bool> {
        self.as_bool()
    }
    fn integer(self) -> Option<i64> {
        self.as_i64()
    }
    fn float(self) -> Option<f64> {
        self.as_f64()
    }
    fn is_list(self) -> bool {
        self.is_array()
    }
    fn is_object(self) -> bool {
        Value::is_object(self)
    }
    fn is_null(self) -> bool {
        Value::is_null(self)
    }
    fn items(self) -> impl Iterator<Item = Self> {
        self.as_array().into_iter().flatten()
    }
    fn entries(self) -> impl Iterator<Item = (Cow<'a, str>, Self)> {
        self.as_object().into_iter().flatten().map(|(key, value)| (Cow::Borrowed(key.as_str()), value))
    }
    fn json(self) -> Cow<'a, str> {
        self.to_string().into()
    }
}

struct Encoder<'a> {
    facts: &'a Facts,
}

impl Encoder<'_> {
    fn write_struct<'a>(&self, out: &mut Vec<u8>, index: u32, object: Option<impl Json<'a>>) {
        let declared = self.facts.get(index);
        for (at, field) in self.facts.indexed_by_number(declared) {
            match self.facts.pointee(field.shape).0.kind {
                Kind::Struct(inner) if field.inline => {
                    nested(out, u32::from(field.tag), |out| self.write_struct(out, inner, object));
                }
                _ => {
                    let value = object.and_then(|object| object.field(at, &field.name));
                    self.write_field(out, field, value.filter(|value| !value.is_null()));
                }
            }
        }
    }

    fn write_field<'a>(&self, out: &mut Vec<u8>, field: &Field, value: Option<impl Json<'a>>) {
        let tag = u32::from(field.tag);
        let is_pointer = matches!(self.facts.shape(field.shape).kind, Kind::Pointer(_));
        let (shape, at) = self.facts.pointee(field.shape);
        match (shape.kind, value) {
            (_, None) if is_pointer => {}
            (Kind::List(_), Some(list)) if list.is_list() && field.wrapped => self.write_value(out, tag, at, value),
            (Kind::List(items), Some(list)) => {
                list.items().for_each(|value| self.write_value(out, tag, items, Some(value)));
            }
            (Kind::Map(values), Some(map)) => {
                for (key, value) in map.entries() {
                    nested(out, tag, |out| {
                        bytes(out, 1, key.as_bytes());
                        self.write_value(out, 2, values, Some(value));
                    });
                }
            }
            (Kind::List(_) | Kind::Map(_) | Kind::Any, _) => {}
            _ => self.write_value(out, tag, at, value),
        }
    }

    /// One value, or the zero of its shape.
    fn write_value<'a>(&self, out: &mut Vec<u8>, tag: u32, shape: ShapeIndex, value: Option<impl Json<'a>>) {
        let text = || value.and_then(Json::text);
        match self.facts.pointee(shape).0.kind {
            Kind::String => bytes(out, tag, text().unwrap_or_default().as_bytes()),
            Kind::Bool => number(out, tag, u64::from(value.and_then(Json::boolean).unwrap_or_default())),
            Kind::Integer(_) => number(out, tag, value.and_then(Json::integer).unwrap_or_default() as u64),
            Kind::Float => float(out, tag, value.and_then(Json::float).unwrap_or_default()),
            // Missing bytes are not written.
            Kind::Bytes => {
                if let Some(decoded) = text().and_then(|text| decode_base64(&text).ok()) {
                    bytes(out, tag, &decoded);
                }
            }
            Kind::Struct(index) => {
                nested(out, tag, |out| self.write_struct(out, index, value));
            }
            // A list within a map, or one that has a message of its own.
            Kind::List(items) => nested(out, tag, |out| {
                let values = value.into_iter().flat_map(Json::items);
                values.for_each(|value| self.write_value(out, 1, items, Some(value)));
            }),
            kind => nested(out, tag, |out| {
                if let Some(value) = value {
                    self.write_special(out, kind, value);
                } else if kind == Kind::Quantity {
                    bytes(out, 1, b"0");
                } else if kind == Kind::IntOrString {
                    write_int_or_string(out, 0, None);
                } else if let Kind::SchemaOrBool(_) = kind {
                    number(out, 1, 0);
                }
            }),
        }
    }

    /// Types whose messages say something else than their JSON.
    fn write_special<'a>(&self, out: &mut Vec<u8>, kind: Kind, value: impl Json<'a>) {
        let text = value.text();
        match (kind, &text) {
            (Kind::Quantity, Some(text)) => bytes(out, 1, text.as_bytes()),
            (Kind::Quantity, None) if value.float().is_some() => bytes(out, 1, value.json().as_bytes()),
            (Kind::Quantity, None) => bytes(out, 1, b"0"),
            (Kind::Raw, _) if !value.is_null() => bytes(out, 1, value.json().as_bytes()),
            (Kind::Time, Some(text)) => write_time(out, text, Layout::Seconds),
            (Kind::MicroTime, Some(text)) => write_time(out, text, Layout::Micros),
            (Kind::IntOrString, text) => {
                write_int_or_string(out, value.integer().unwrap_or_default(), text.as_deref());
            }
            (Kind::SchemaOrBool(index), _) => {
                number(out, 1, u64::from(value.boolean().unwrap_or(value.is_object())));
                if value.is_object() {
                    nested(out, 2, |out| self.write_struct(out, index, Some(value)));
                }
            }
            (Kind::SchemaOrArray(index) | Kind::SchemaOrStrings(index), _) if value.is_object() => {
                nested(out, 1, |out| self.write_struct(out, index, Some(value)));
            }
            (Kind::SchemaOrArray(index), _) => {
                for schema in value.items() {
                    nested(out, 2, |out| self.write_struct(out, index, Some(schema)));
                }
            }
            (Kind::SchemaOrStrings(_), _) => {
                value.items().for_each(|name| bytes(out, 2, name.text().unwrap_or_default().as_bytes()));
            }
            _ => {}
        }
    }
}

fn write_int_or_string(out: &mut Vec<u8>, integer: i64, text: Option<&str>) {
    number(out, 1, u64::from(text.is_some()));
    number(out, 2, integer as u64);
    bytes(out, 3, text.unwrap_or_default().as_bytes());
}

fn write_time(out: &mut Vec<u8>, text: &str, layout: Layout) {
    if gotime::is_zero(text) {
        return;
    }
    let Ok(time) = gotime::parse(text, layout) else { return };
    // Nanoseconds count forward from the second, also before 1970.
    let seconds = time.as_second() - i64::from(time.subsec_nanosecond() < 0);
    let nanos = if layout == Layout::Seconds { 0 } else { time.subsec_nanosecond().rem_euclid(1_000_000_000) };
    number(out, 1, seconds as u64);
    number(out, 2, (nanos / 1000 * 1000) as u64);
}
