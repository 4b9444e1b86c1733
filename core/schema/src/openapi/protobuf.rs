//! Documents in protobuf: the messages of gnostic, which is how the reference serves them to Go clients.
//!
//! A table says which key of a JSON object is which field of which message; one encoder follows it. The large parts of a
//! document are read entry by entry, so that no tree of the whole is ever in memory. Keys that a message has no field for
//! are left out, as no document of ours has any.
//!
//! Invariant: for documents of built-in types the bytes are those of the reference's encoder for the same JSON.

mod v2;
mod v3;
mod yaml;

use std::collections::BTreeMap;

use serde_json::{Value, value::RawValue};

/// A v2 document in JSON as a message `openapi.v2.Document`.
///
/// # Errors
/// The bytes are no JSON object.
pub fn encode_v2(json: &[u8]) -> serde_json::Result<Vec<u8>> {
    encode_document(&v2::DOCUMENT, json, 2)
}

/// A v3 document in JSON as a message `openapi.v3.Document`.
///
/// # Errors
/// The bytes are no JSON object.
pub fn encode_v3(json: &[u8]) -> serde_json::Result<Vec<u8>> {
    encode_document(&v3::DOCUMENT, json, 3)
}

/// How a JSON value becomes a message.
enum Message {
    /// An object: its keys, in the order of their numbers.
    Object(&'static [Field]),
    /// An object in which each entry is an item of field 1: a message of its name (1) and value (2).
    Entries(Kind),
    /// Field 1 is the value itself.
    Wrapped(Kind),
    /// One field, chosen by the value: the first whose test it passes. It is written even if it is zero.
    Choice(&'static [(Test, u32, Kind)]),
}

/// A key, its number and what it holds. `x-*` and `/*` are all keys that begin so and `*` all keys that no other field
/// has; they are written as entries.
type Field = (&'static str, u32, Kind);

/// What a value is like.
enum Test {
    /// An object with this key.
    Has(&'static str),
    /// An object whose key has this value.
    Is(&'static str, &'static str),
    /// true or false.
    Bool,
    /// Text.
    Text,
    /// A number.
    Number,
    /// Any object.
    Object,
}

/// What a field holds.
enum Kind {
    Text,
    /// A list of texts, or one text.
    Texts,
    Bool,
    Integer,
    Float,
    /// Any value, as YAML.
    Any,
    /// A list of any values.
    Anys,
    One(&'static Message),
    Many(&'static Message),
}

fn encode_document(message: &Message, json: &[u8], levels: u8) -> serde_json::Result<Vec<u8>> {
    let json: &RawValue = serde_json::from_slice(json)?;
    let mut out = Vec::with_capacity(json.get().len());
    write_by_entry(message, json, levels, &mut out)?;
    Ok(out)
}

/// Writes a message whose fields and entries are read one after the other, down to `levels`.
fn write_by_entry(message: &Message, json: &RawValue, levels: u8, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let write = |kind: &Kind, number: u32, json: &RawValue, out: &mut Vec<u8>| match kind {
        Kind::One(message) => {
            let mut inner = Vec::new();
            write_by_entry(message, json, levels - 1, &mut inner)?;
            put_bytes(number, &inner, out);
            Ok::<(), serde_json::Error>(())
        }
        kind => {
            write_field(kind, number, &serde_json::from_str(json.get())?, out);
            Ok(())
        }
    };
    match message {
        Message::Object(fields) if levels > 0 => {
            let object: BTreeMap<String, &RawValue> = serde_json::from_str(json.get())?;
            for (key, number, kind) in *fields {
                for (name, value) in object.iter().filter(|(name, _)| matches_key(fields, key, name)) {
                    if key.ends_with('*') {
                        let mut entry = Vec::new();
                        put_bytes(1, name.as_bytes(), &mut entry);
                        write(kind, 2, value, &mut entry)?;
                        put_bytes(*number, &entry, out);
                    } else {
                        write(kind, *number, value, out)?;
                    }
                }
            }
        }
        Message::Entries(kind) if levels > 0 => {
            let object: BTreeMap<String, &RawValue> = serde_json::from_str(json.get())?;
            for (name, value) in &object {
                let mut entry = Vec::new();
                put_bytes(1, name.as_bytes(), &mut entry);
                write(kind, 2, value, &mut entry)?;
                put_bytes(1, &entry, out);
            }
        }
        _ => write_message(message, &serde_json::from_str(json.get())?, out),
    }
    Ok(())
}

fn write_message(message: &Message, value: &Value, out: &mut Vec<u8>) {
    match (message, value) {
        (Message::Object(fields), Value::Object(object)) => {
            for (key, number, kind) in *fields {
                if !key.ends_with('*') {
                    if let Some(value) = object.get(*key) {
                        write_field(kind, *number, value, out);
                    }
                    continue;
                }
                for (name, value) in object.iter().filter(|(name, _)| matches_key(fields, key, name)) {
                    put_entry(*number, name, kind, value, out);
                }
            }
        }
        (Message::Entries(kind), Value::Object(object)) => {
            for (name, value) in object {
                put_entry(1, name, kind, value, out);
            }
        }
        (Message::Wrapped(kind), value) => write_field(kind, 1, value, out),
        (Message::Choice(choices), value) => {
            if let Some((_, number, kind)) = choices.iter().find(|(test, _, _)| test.passes(value)) {
                match (kind, value) {
                    (Kind::Bool, Value::Bool(given)) => put_varint_field(*number, u64::from(*given), out),
                    (Kind::Text, Value::String(text)) => put_bytes(*number, text.as_bytes(), out),
                    (Kind::Float, value) => put_float(*number, value.as_f64().unwrap_or_default(), out),
                    (kind, value) => write_field(kind, *number, value, out),
                }
            }
        }
        _ => {}
    }
}

/// Whether a field of this key holds the entry of this name.
fn matches_key(fields: &[Field], key: &str, name: &str) -> bool {
    match key.strip_suffix('*') {
        None => key == name,
        Some("") => !fields.iter().any(|(other, _, _)| *other != "*" && matches_key(fields, other, name)),
        Some(prefix) => name.starts_with(prefix),
    }
}

impl Test {
    fn passes(&self, value: &Value) -> bool {
        match self {
            Test::Has(key) => value.get(key).is_some(),
            Test::Is(key, expected) => value[key] == *expected,
            Test::Bool => value.is_boolean(),
            Test::Text => value.is_string(),
            Test::Number => value.is_number(),
            Test::Object => value.is_object(),
        }
    }
}

fn write_field(kind: &Kind, number: u32, value: &Value, out: &mut Vec<u8>) {
    match (kind, value) {
        (Kind::Text, Value::String(text)) if !text.is_empty() => put_bytes(number, text.as_bytes(), out),
        (Kind::Texts, Value::String(text)) => put_bytes(number, text.as_bytes(), out),
        (Kind::Texts, Value::Array(items)) => {
            items.iter().filter_map(Value::as_str).for_each(|text| put_bytes(number, text.as_bytes(), out));
        }
        (Kind::Bool, Value::Bool(true)) => put_varint_field(number, 1, out),
        // Negative numbers are ten bytes, as in the reference.
        (Kind::Integer, value) => match value.as_i64() {
            Some(given) if given != 0 => put_varint_field(number, given.cast_unsigned(), out),
            _ => {}
        },
        (Kind::Float, value) => match value.as_f64() {
            Some(given) if given != 0.0 => put_float(number, given, out),
            _ => {}
        },
        (Kind::Any, value) => put_any(number, value, out),
        (Kind::Anys, Value::Array(items)) => items.iter().for_each(|item| put_any(number, item, out)),
        (Kind::One(message), value) => put_message(number, message, value, out),
        (Kind::Many(message), Value::Array(items)) => {
            items.iter().for_each(|item| put_message(number, message, item, out));
        }
        _ => {}
    }
}

fn put_message(number: u32, message: &Message, value: &Value, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    write_message(message, value, &mut inner);
    put_bytes(number, &inner, out);
}

fn put_entry(number: u32, name: &str, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    let mut entry = Vec::new();
    put_bytes(1, name.as_bytes(), &mut entry);
    write_field(kind, 2, value, &mut entry);
    put_bytes(number, &entry, out);
}

/// A message `Any`: its field 2 is YAML.
fn put_any(number: u32, value: &Value, out: &mut Vec<u8>) {
    let mut any = Vec::new();
    put_bytes(2, yaml::to_yaml(value).as_bytes(), &mut any);
    put_bytes(number, &any, out);
}

fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_varint_field(number: u32, value: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, out);
    put_varint(value, out);
}

fn put_float(number: u32, value: f64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests;
