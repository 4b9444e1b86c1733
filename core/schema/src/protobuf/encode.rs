//! Trees to messages, byte for byte as the reference's generated code writes them: fields by number, maps by key, zero
//! values of everything that has no pointer.
//!
//! A value of the wrong type counts as absent: trees have been checked when they came.

use serde_json::{Map, Value};

use super::wire::{bytes, float, nested, number};
use crate::{
    check::decode_base64,
    facts::{Facts, Field, Kind, ShapeIndex},
    gotime::{self, Layout},
};

/// The message of a tree in normal form.
pub(crate) fn encode(facts: &Facts, index: u32, value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    Encoder { facts }.write_struct(&mut out, index, value.as_object());
    out
}

struct Encoder<'a> {
    facts: &'a Facts,
}

impl Encoder<'_> {
    fn write_struct(&self, out: &mut Vec<u8>, index: u32, object: Option<&Map<String, Value>>) {
        let declared = self.facts.get(index);
        for field in self.facts.fields_by_number(declared) {
            match self.facts.pointee(field.shape).0.kind {
                Kind::Struct(inner) if field.inline => {
                    nested(out, u32::from(field.tag), |out| self.write_struct(out, inner, object));
                }
                _ => self.write_field(
                    out,
                    field,
                    object.and_then(|object| object.get(&*field.name)).unwrap_or(&Value::Null),
                ),
            }
        }
    }

    fn write_field(&self, out: &mut Vec<u8>, field: &Field, value: &Value) {
        let tag = u32::from(field.tag);
        let is_pointer = matches!(self.facts.shape(field.shape).kind, Kind::Pointer(_));
        let (shape, at) = self.facts.pointee(field.shape);
        match (shape.kind, value) {
            (_, Value::Null) if is_pointer => {}
            (Kind::List(_), Value::Array(_)) if field.wrapped => self.write_value(out, tag, at, value),
            (Kind::List(items), Value::Array(values)) => {
                values.iter().for_each(|value| self.write_value(out, tag, items, value));
            }
            (Kind::Map(values), Value::Object(map)) => {
                for (key, value) in map {
                    nested(out, tag, |out| {
                        bytes(out, 1, key.as_bytes());
                        self.write_value(out, 2, values, value);
                    });
                }
            }
            (Kind::List(_) | Kind::Map(_) | Kind::Any, _) => {}
            _ => self.write_value(out, tag, at, value),
        }
    }

    /// One value, or the zero of its shape.
    fn write_value(&self, out: &mut Vec<u8>, tag: u32, shape: ShapeIndex, value: &Value) {
        match self.facts.pointee(shape).0.kind {
            Kind::String => bytes(out, tag, value.as_str().unwrap_or_default().as_bytes()),
            Kind::Bool => number(out, tag, u64::from(value.as_bool().unwrap_or_default())),
            Kind::Integer(_) => number(out, tag, value.as_i64().unwrap_or_default() as u64),
            Kind::Float => float(out, tag, value.as_f64().unwrap_or_default()),
            // Missing bytes are not written.
            Kind::Bytes => {
                if let Some(decoded) = value.as_str().and_then(|text| decode_base64(text).ok()) {
                    bytes(out, tag, &decoded);
                }
            }
            Kind::Struct(index) => {
                nested(out, tag, |out| self.write_struct(out, index, value.as_object()));
            }
            // A list within a map, or one that has a message of its own.
            Kind::List(items) => nested(out, tag, |out| {
                let values = value.as_array().map(Vec::as_slice).unwrap_or_default();
                values.iter().for_each(|value| self.write_value(out, 1, items, value));
            }),
            kind => nested(out, tag, |out| self.write_special(out, kind, value)),
        }
    }

    /// Types whose messages say something else than their JSON.
    fn write_special(&self, out: &mut Vec<u8>, kind: Kind, value: &Value) {
        match (kind, value) {
            (Kind::Quantity, Value::String(text)) => bytes(out, 1, text.as_bytes()),
            (Kind::Quantity, Value::Number(number)) => bytes(out, 1, number.to_string().as_bytes()),
            (Kind::Quantity, _) => bytes(out, 1, b"0"),
            (Kind::Raw, Value::Null) => {}
            (Kind::Raw, value) => bytes(out, 1, value.to_string().as_bytes()),
            (Kind::Time, Value::String(text)) => write_time(out, text, Layout::Seconds),
            (Kind::MicroTime, Value::String(text)) => write_time(out, text, Layout::Micros),
            (Kind::IntOrString, value) => {
                let text = value.as_str();
                number(out, 1, u64::from(text.is_some()));
                number(out, 2, value.as_i64().unwrap_or_default() as u64);
                bytes(out, 3, text.unwrap_or_default().as_bytes());
            }
            (Kind::SchemaOrBool(index), value) => {
                number(out, 1, u64::from(value.as_bool().unwrap_or(value.is_object())));
                if let Value::Object(schema) = value {
                    nested(out, 2, |out| self.write_struct(out, index, Some(schema)));
                }
            }
            (Kind::SchemaOrArray(index) | Kind::SchemaOrStrings(index), Value::Object(schema)) => {
                nested(out, 1, |out| self.write_struct(out, index, Some(schema)));
            }
            (Kind::SchemaOrArray(index), Value::Array(schemas)) => {
                for schema in schemas {
                    nested(out, 2, |out| self.write_struct(out, index, schema.as_object()));
                }
            }
            (Kind::SchemaOrStrings(_), Value::Array(names)) => {
                names.iter().for_each(|name| bytes(out, 2, name.as_str().unwrap_or_default().as_bytes()));
            }
            _ => {}
        }
    }
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
