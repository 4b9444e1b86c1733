//! Messages to trees.
//!
//! What comes twice is merged as in Go: lists and maps grow, structs are filled further, of all else the last counts.
//! Numbers that a type does not have are passed over. What is absent stays absent: normalising knows the zero values.

use base64::Engine;
use jiff::Timestamp;
use serde_json::{Map, Value};
use triune_api::{
    decode,
    time::{format_micros, format_seconds},
};

use super::{
    DEPTH_MAX, ProtobufError, Wire,
    wire::{Reader, text},
};
use crate::{
    check::BASE64,
    facts::{Facts, Field, Kind, ShapeIndex},
};

type Result<T> = std::result::Result<T, ProtobufError>;

/// The tree of a message, not in normal form and without `apiVersion` and `kind` of its own.
pub(crate) fn decode(facts: &Facts, index: u32, bytes: &[u8]) -> Result<Value> {
    let mut object = Map::new();
    Decoder { facts }.read_struct(index, bytes, &mut object, 1)?;
    Ok(Value::Object(object))
}

struct Decoder<'a> {
    facts: &'a Facts,
}

impl Decoder<'_> {
    fn read_struct(&self, index: u32, bytes: &[u8], object: &mut Map<String, Value>, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(ProtobufError(format!("exceeded max depth of {DEPTH_MAX}")));
        }
        let declared = self.facts.get(index);
        let mut reader = Reader::new(bytes, &declared.name);
        while let Some((number, wire)) = reader.tag()? {
            match self.facts.field_by_number(declared, number) {
                Some(field) => self.read_field(field, wire, &mut reader, object, depth)?,
                None => reader.skip(wire)?,
            }
        }
        Ok(())
    }

    fn read_field<'b>(
        &self,
        field: &'b Field,
        wire: Wire,
        reader: &mut Reader<'b>,
        object: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<()> {
        let (shape, _) = self.facts.pointee(field.shape);
        let name = &*field.name;
        match shape.kind {
            Kind::Struct(index) if field.inline => self.read_struct(index, reader.bytes_of(wire, name)?, object, depth),
            Kind::Struct(index) => {
                let bytes = reader.bytes_of(wire, name)?;
                match place(object, name, || Value::Object(Map::new())) {
                    Value::Object(inner) => self.read_struct(index, bytes, inner, depth + 1),
                    _ => Ok(()),
                }
            }
            Kind::List(items) if field.wrapped => {
                let bytes = reader.bytes_of(wire, name)?;
                match place(object, name, || Value::Array(Vec::new())) {
                    Value::Array(list) => self.read_wrapped(items, bytes, list, depth + 1),
                    _ => Ok(()),
                }
            }
            Kind::List(items) => match place(object, name, || Value::Array(Vec::new())) {
                Value::Array(list) => self.read_items(items, wire, reader, name, list, depth + 1),
                _ => Ok(()),
            },
            Kind::Map(values) => match place(object, name, || Value::Object(Map::new())) {
                Value::Object(map) => self.read_entry(values, wire, reader, name, map, depth + 1),
                _ => Ok(()),
            },
            _ => {
                let value = self.read_value(field.shape, wire, reader, name, depth)?;
                object.insert(name.to_string(), value);
                Ok(())
            }
        }
    }

    /// One item; several numbers if they come packed.
    fn read_items(
        &self,
        items: ShapeIndex,
        wire: Wire,
        reader: &mut Reader<'_>,
        name: &str,
        list: &mut Vec<Value>,
        depth: usize,
    ) -> Result<()> {
        let packed = wire == Wire::Bytes && matches!(self.facts.pointee(items).0.kind, Kind::Integer(_) | Kind::Bool);
        if !packed {
            list.push(self.read_value(items, wire, reader, name, depth)?);
            return Ok(());
        }
        let mut numbers = Reader::new(reader.bytes_of(wire, name)?, name);
        while !numbers.is_at_end() {
            list.push(self.read_value(items, Wire::Varint, &mut numbers, name, depth)?);
        }
        Ok(())
    }

    /// A list in a message of its own.
    fn read_wrapped(&self, items: ShapeIndex, bytes: &[u8], list: &mut Vec<Value>, depth: usize) -> Result<()> {
        let mut reader = Reader::new(bytes, "Items");
        while let Some((number, wire)) = reader.tag()? {
            match number {
                1 => self.read_items(items, wire, &mut reader, "Items", list, depth)?,
                _ => reader.skip(wire)?,
            }
        }
        Ok(())
    }

    /// One entry of a map; what it lacks is zero.
    fn read_entry<'b>(
        &self,
        values: ShapeIndex,
        wire: Wire,
        reader: &mut Reader<'b>,
        name: &'b str,
        map: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<()> {
        let (mut key, mut value) = (String::new(), None);
        let form = match self.facts.pointee(values).0.kind {
            Kind::Bool | Kind::Integer(_) => Wire::Varint,
            Kind::Float => Wire::Fixed64,
            _ => Wire::Bytes,
        };
        reader.entry(wire, name, |number, entry| {
            match number {
                1 => key = text(entry.bytes_of(Wire::Bytes, name)?),
                _ => value = Some(self.read_value(values, form, entry, name, depth)?),
            }
            Ok(())
        })?;
        let value = match value {
            Some(value) => value,
            // Bytes are empty, not missing.
            None if self.facts.pointee(values).0.kind == Kind::Bytes => Value::String(String::new()),
            None => crate::normalise::zero(self.facts, values),
        };
        map.insert(key, value);
        Ok(())
    }

    /// What is neither inlined nor merged with what came before.
    fn read_value(
        &self,
        shape: ShapeIndex,
        wire: Wire,
        reader: &mut Reader<'_>,
        name: &str,
        depth: usize,
    ) -> Result<Value> {
        Ok(match self.facts.pointee(shape).0.kind {
            Kind::String => Value::String(text(reader.bytes_of(wire, name)?)),
            Kind::Bool => Value::Bool(reader.varint_of(wire, name)? != 0),
            Kind::Integer(bits) => {
                let number = reader.varint_of(wire, name)? as i64;
                Value::from(if bits > 32 { number } else { i64::from(number as i32) })
            }
            Kind::Float => Value::from(reader.float_of(wire, name)?),
            Kind::Bytes => Value::String(BASE64.encode(reader.bytes_of(wire, name)?)),
            Kind::Struct(index) => {
                let mut object = Map::new();
                self.read_struct(index, reader.bytes_of(wire, name)?, &mut object, depth + 1)?;
                Value::Object(object)
            }
            Kind::List(items) => {
                let mut list = Vec::new();
                self.read_wrapped(items, reader.bytes_of(wire, name)?, &mut list, depth + 1)?;
                Value::Array(list)
            }
            kind => self.read_special(kind, reader.bytes_of(wire, name)?, depth)?,
        })
    }

    /// Types whose messages say something else than their JSON.
    fn read_special(&self, kind: Kind, bytes: &[u8], depth: usize) -> Result<Value> {
        match kind {
            Kind::Quantity => {
                let quantity = last_bytes(bytes, "Quantity", "string")?;
                Ok(Value::String(quantity.map_or_else(|| "0".into(), text)))
            }
            Kind::Raw => last_bytes(bytes, "RawExtension", "raw")?.map_or(Ok(Value::Null), |raw| read_raw(raw, depth)),
            Kind::Time | Kind::MicroTime => read_time(kind, bytes),
            Kind::IntOrString => read_int_or_string(bytes),
            Kind::SchemaOrBool(index) => self.read_schema_or_bool(index, bytes, depth),
            Kind::SchemaOrArray(index) | Kind::SchemaOrStrings(index) => {
                let strings = matches!(kind, Kind::SchemaOrStrings(_));
                self.read_schema_or_list(index, strings, bytes, depth)
            }
            _ => Ok(Value::Null),
        }
    }

    /// A schema, or whether anything is allowed.
    fn read_schema_or_bool(&self, index: u32, bytes: &[u8], depth: usize) -> Result<Value> {
        let (mut allows, mut schema) = (false, None);
        let mut reader = Reader::new(bytes, "JSONSchemaPropsOrBool");
        while let Some((number, wire)) = reader.tag()? {
            match number {
                1 => allows = reader.varint_of(wire, "allows")? != 0,
                2 => {
                    let inner = schema.get_or_insert_with(Map::new);
                    self.read_struct(index, reader.bytes_of(wire, "schema")?, inner, depth + 1)?;
                }
                _ => reader.skip(wire)?,
            }
        }
        Ok(schema.map_or(Value::Bool(allows), Value::Object))
    }

    /// A schema, or a list of schemas or of names; the list wins if it has anything.
    fn read_schema_or_list(&self, index: u32, strings: bool, bytes: &[u8], depth: usize) -> Result<Value> {
        let (mut schema, mut list) = (None, Vec::new());
        let mut reader = Reader::new(bytes, "JSONSchemaPropsOrArray");
        while let Some((number, wire)) = reader.tag()? {
            match number {
                1 => {
                    let inner = schema.get_or_insert_with(Map::new);
                    self.read_struct(index, reader.bytes_of(wire, "schema")?, inner, depth + 1)?;
                }
                2 if strings => list.push(Value::String(text(reader.bytes_of(wire, "property")?))),
                2 => {
                    let mut item = Map::new();
                    self.read_struct(index, reader.bytes_of(wire, "JSONSchemas")?, &mut item, depth + 2)?;
                    list.push(Value::Object(item));
                }
                _ => reader.skip(wire)?,
            }
        }
        Ok(if list.is_empty() { schema.map_or(Value::Null, Value::Object) } else { Value::Array(list) })
    }
}

/// The value of a field, made on first sight.
fn place<'o>(object: &'o mut Map<String, Value>, name: &str, first: impl FnOnce() -> Value) -> &'o mut Value {
    // A type has one field of a name, so that what is there has the same shape.
    object.entry(name).or_insert_with(first)
}

/// Field 1 of a message that has no other.
fn last_bytes<'b>(bytes: &'b [u8], message: &'b str, name: &str) -> Result<Option<&'b [u8]>> {
    let (mut reader, mut last) = (Reader::new(bytes, message), None);
    while let Some((number, wire)) = reader.tag()? {
        match number {
            1 => last = Some(reader.bytes_of(wire, name)?),
            _ => reader.skip(wire)?,
        }
    }
    Ok(last)
}

/// JSON within protobuf.
fn read_raw(raw: &[u8], depth: usize) -> Result<Value> {
    match raw.first() {
        None => Ok(Value::Null),
        Some(b'\t' | b'\r' | b'\n' | b' ' | b'{' | b'[' | b'n' | b't' | b'f' | b'"' | b'-' | b'0'..=b'9') => {
            let value = decode::json(raw).map_err(|error| ProtobufError(error.to_string()))?;
            match nests_deeper_than(&value, DEPTH_MAX.saturating_sub(depth)) {
                true => Err(ProtobufError(format!("exceeded max depth of {DEPTH_MAX}"))),
                false => Ok(value),
            }
        }
        _ => Err(ProtobufError("cannot convert RawExtension with unrecognized content type to unstructured".into())),
    }
}

fn nests_deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| nests_deeper_than(item, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|item| nests_deeper_than(item, levels - 1)),
        _ => false,
    }
}

/// Nothing is no time.
fn read_time(kind: Kind, bytes: &[u8]) -> Result<Value> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes, "Timestamp");
    while let Some((number, wire)) = reader.tag()? {
        match number {
            1 => seconds = reader.varint_of(wire, "seconds")? as i64,
            2 => nanos = reader.varint_of(wire, "nanos")? as i32,
            _ => reader.skip(wire)?,
        }
    }
    let nanos = if kind == Kind::Time { 0 } else { nanos };
    match Timestamp::new(seconds, nanos) {
        Ok(time) if kind == Kind::Time => Ok(Value::String(format_seconds(time))),
        Ok(time) => Ok(Value::String(format_micros(time))),
        Err(_) => Err(ProtobufError("Time.MarshalJSON: year outside of range [0,9999]".into())),
    }
}

fn read_int_or_string(bytes: &[u8]) -> Result<Value> {
    let (mut form, mut integer, mut string) = (0, 0, String::new());
    let mut reader = Reader::new(bytes, "IntOrString");
    while let Some((number, wire)) = reader.tag()? {
        match number {
            1 => form = reader.varint_of(wire, "type")?,
            2 => integer = reader.varint_of(wire, "intVal")? as i32,
            3 => string = text(reader.bytes_of(wire, "strVal")?),
            _ => reader.skip(wire)?,
        }
    }
    match form {
        0 => Ok(Value::from(integer)),
        1 => Ok(Value::String(string)),
        _ => Err(ProtobufError("impossible IntOrString.Type".into())),
    }
}
