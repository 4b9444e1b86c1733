//! Objects in protobuf: the envelope, and messages of a type from and to trees (apimachinery
//! `pkg/runtime/serializer/protobuf`, and the code that gogo-protobuf generates for the types).
//!
//! Messages follow the facts: a field's number, and how its shape is written. What JSON shows flat is nested here where
//! Go inlines a struct; a few types have messages of their own that say another thing than their JSON.
//!
//! Invariants: no bytes make decoding panic, nest deeper than [`DEPTH_MAX`] or take more room than a tree of as many
//! fields; encoding a tree in normal form and decoding that gives the tree again.
//!
//! In reading order: `wire` reads and writes numbers, lengths and bytes; `decode` and `encode` walk types, `encode` over
//! trees or over the `text` of a stored object; `parts` is what needs no facts.

mod decode;
mod encode;
mod parts;
mod text;
mod wire;

use triune_api::decode::DEPTH_MAX;

use self::wire::{Reader, Wire};

/// What every object in protobuf begins with.
pub const PREFIX: &[u8] = b"k8s\0";

/// Bytes are not what they should be, in the words of the reference's decoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProtobufError(pub String);

/// An object in protobuf, opened: its type as text, and its message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope<'a> {
    /// `apiVersion`; may be empty.
    pub api_version: String,
    /// `kind`; may be empty.
    pub kind: String,
    /// The message of that type.
    pub message: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Opens an object: the prefix, then a `runtime.Unknown`.
    ///
    /// # Errors
    /// `provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]`, and those of the wire.
    pub fn open(bytes: &'a [u8]) -> Result<Envelope<'a>, ProtobufError> {
        if bytes.is_empty() {
            return Err(ProtobufError("empty data".into()));
        }
        let Some(bytes) = bytes.strip_prefix(PREFIX) else {
            let text = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
            return Err(ProtobufError(text.into()));
        };
        if bytes.is_empty() {
            return Err(ProtobufError("empty body".into()));
        }
        let mut envelope = Envelope::default();
        let mut reader = Reader::new(bytes, "Unknown");
        while let Some((number, wire)) = reader.tag()? {
            match number {
                1 => envelope.read_type(reader.bytes_of(wire, "TypeMeta")?)?,
                2 => envelope.message = reader.bytes_of(wire, "Raw")?,
                _ => reader.skip(wire)?,
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, bytes: &[u8]) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(bytes, "TypeMeta");
        while let Some((number, wire)) = reader.tag()? {
            match number {
                1 => self.api_version = wire::text(reader.bytes_of(wire, "APIVersion")?),
                2 => self.kind = wire::text(reader.bytes_of(wire, "Kind")?),
                _ => reader.skip(wire)?,
            }
        }
        Ok(())
    }

    /// The whole object, as the reference writes it.
    pub fn seal(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.message.len() + self.api_version.len() + self.kind.len() + 32);
        out.extend_from_slice(PREFIX);
        wire::nested(&mut out, 1, |out| parts::type_meta(out, &self.api_version, &self.kind));
        wire::bytes(&mut out, 2, self.message);
        out.extend_from_slice(parts::ENVELOPE_END);
        out
    }
}

pub use self::parts::{List, status, watch_event};
pub(crate) use self::{
    decode::decode,
    encode::{encode, encode_text},
};

#[cfg(test)]
mod tests;
