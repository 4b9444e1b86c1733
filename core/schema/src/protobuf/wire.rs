//! The wire format of protobuf: tags, varints, lengths; read with the errors of gogo-protobuf's code.

use super::ProtobufError;

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// A number of variable length.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// A length and as many bytes.
    Bytes,
    /// Fields up to the end of the group.
    GroupStart,
    /// The end of a group.
    GroupEnd,
    /// Four bytes.
    Fixed32,
    /// No such form.
    Unknown(u8),
}

impl Wire {
    fn of(tag: u64) -> Wire {
        match (tag & 7) as u8 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Bytes,
            3 => Wire::GroupStart,
            4 => Wire::GroupEnd,
            5 => Wire::Fixed32,
            other => Wire::Unknown(other),
        }
    }

    fn number(self) -> u8 {
        match self {
            Wire::Varint => 0,
            Wire::Fixed64 => 1,
            Wire::Bytes => 2,
            Wire::GroupStart => 3,
            Wire::GroupEnd => 4,
            Wire::Fixed32 => 5,
            Wire::Unknown(number) => number,
        }
    }
}

/// Reads one message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Name of the message, for errors.
    message: &'a str,
}

fn error<T>(text: impl Into<String>) -> Result<T, ProtobufError> {
    Err(ProtobufError(text.into()))
}

fn ended<T>() -> Result<T, ProtobufError> {
    error("unexpected EOF")
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], message: &'a str) -> Reader<'a> {
        Reader { rest: bytes, message }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and form; None at the end.
    pub(super) fn tag(&mut self) -> Result<Option<(u32, Wire)>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = (tag >> 3) as i32;
        let wire = Wire::of(tag);
        if wire == Wire::GroupEnd {
            return error(format!("proto: {}: wiretype end group for non-group", self.message));
        }
        match u32::try_from(number) {
            Ok(number) if number > 0 => Ok(Some((number, wire))),
            _ => error(format!("proto: {}: illegal tag {number} (wire type {tag})", self.message)),
        }
    }

    /// An entry of a map, which has a key as 1 and a value as 2. Generated code reads these without a look at their form,
    /// and may read beyond the entry; what follows it is read again.
    pub(super) fn entry(
        &mut self,
        wire: Wire,
        name: &'a str,
        mut read: impl FnMut(u32, &mut Reader<'a>) -> Result<(), ProtobufError>,
    ) -> Result<(), ProtobufError> {
        if wire != Wire::Bytes {
            return wrong(wire, name);
        }
        let length = self.varint()?;
        let mut entry = Reader { rest: self.rest, message: name };
        self.take(length)?;
        while entry.rest.len() > self.rest.len() {
            let tag = entry.varint()?;
            match (tag >> 3) as i32 {
                number @ (1 | 2) => read(number as u32, &mut entry)?,
                _ => {
                    entry.skip(Wire::of(tag))?;
                    if entry.rest.len() < self.rest.len() {
                        return ended();
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some((byte, rest)) = self.rest.split_first() else { return ended() };
            self.rest = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        error("proto: integer overflow")
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], ProtobufError> {
        let Ok(length) = i64::try_from(length) else {
            return error("proto: negative length found during unmarshaling");
        };
        match usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length)) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => ended(),
        }
    }

    /// The number of a field called `name`.
    pub(super) fn varint_of(&mut self, wire: Wire, name: &str) -> Result<u64, ProtobufError> {
        if wire == Wire::Varint { self.varint() } else { wrong(wire, name) }
    }

    /// The float of a field called `name`.
    pub(super) fn float_of(&mut self, wire: Wire, name: &str) -> Result<f64, ProtobufError> {
        if wire != Wire::Fixed64 {
            return wrong(wire, name);
        }
        match self.take(8)?.try_into() {
            Ok(bytes) => Ok(f64::from_le_bytes(bytes)),
            Err(_) => ended(),
        }
    }

    /// The bytes of a field called `name`.
    pub(super) fn bytes_of(&mut self, wire: Wire, name: &str) -> Result<&'a [u8], ProtobufError> {
        if wire != Wire::Bytes {
            return wrong(wire, name);
        }
        let length = self.varint()?;
        self.take(length)
    }

    /// Passes over a field that the type does not have.
    pub(super) fn skip(&mut self, wire: Wire) -> Result<(), ProtobufError> {
        let (mut wire, mut depth) = (wire.number(), 0_usize);
        loop {
            match wire {
                0 => _ = self.varint()?,
                1 => _ = self.take(8)?,
                2 => {
                    let length = self.varint()?;
                    self.take(length)?;
                }
                3 => depth += 1,
                4 if depth == 0 => return error("proto: unexpected end of group"),
                4 => depth -= 1,
                5 => _ = self.take(4)?,
                other => return error(format!("proto: illegal wireType {other}")),
            }
            if depth == 0 {
                return Ok(());
            }
            wire = (self.varint()? & 7) as u8;
        }
    }
}

fn wrong<T>(wire: Wire, name: &str) -> Result<T, ProtobufError> {
    // The reference names Go's field: the JSON name with a capital, but for a few.
    let mut letters = name.chars();
    let go_name = match name {
        "metadata" => "ObjectMeta".into(),
        "apiVersion" => "APIVersion".into(),
        "uid" => "UID".into(),
        _ => letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>(),
    };
    error(format!("proto: wrong wireType = {} for field {go_name}", wire.number()))
}

/// Text; as when Go writes it as JSON, each byte that is not UTF-8 is replaced.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn tag(out: &mut Vec<u8>, number: u32, wire: Wire) {
    varint(out, u64::from(number << 3) | u64::from(wire.number()));
}

/// Writes a number.
pub(super) fn number(out: &mut Vec<u8>, number: u32, value: u64) {
    tag(out, number, Wire::Varint);
    varint(out, value);
}

/// Writes a float.
pub(super) fn float(out: &mut Vec<u8>, number: u32, value: f64) {
    tag(out, number, Wire::Fixed64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes bytes.
pub(super) fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    length(out, number, value.len());
    out.extend_from_slice(value);
}

/// Writes what is before `length` bytes.
pub(super) fn length(out: &mut Vec<u8>, number: u32, length: usize) {
    tag(out, number, Wire::Bytes);
    varint(out, length as u64);
}

/// Writes what `write` appends as bytes. Most messages are short: one byte is kept for the length, and what follows moves
/// if that is not enough.
pub(super) fn nested(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, number, Wire::Bytes);
    let start = out.len() + 1;
    out.push(0);
    write(out);
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
        return;
    }
    let mut head = Vec::with_capacity(10);
    varint(&mut head, length as u64);
    let end = out.len();
    out.resize(end + head.len() - 1, 0);
    out.copy_within(start..end, start - 1 + head.len());
    out[start - 1..start - 1 + head.len()].copy_from_slice(&head);
}
