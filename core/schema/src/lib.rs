//! Facts of types and what they drive: strict decoding, defaults, normalising, merge keys, OpenAPI.
//!
//! In reading order:
//!
//! - [`facts`]: the table of types and how it is read from text
//! - `walk`: objects and types side by side
//! - `unknown`: fields that a type does not have
//! - `check`, `gotime`: what Go's decoder refuses, in its words
//! - `normalise`: what decoding and encoding in Go does to an object
//! - `defaults`: declared defaults
//! - `strategic`: strategic merge patches
//! - `validate`: what the facts alone say is wrong
//! - [`apply`]: who manages which field: server-side apply, `managedFields`
//! - [`protobuf`]: objects in protobuf
//! - [`openapi`]: OpenAPI v3 documents made from the table
//!
//! Deliberately absent: a struct per kind, knowledge of what is served, anything that differs from kind to kind.

pub mod apply;
mod check;
mod defaults;
pub mod facts;
mod gotime;
mod normalise;
pub mod openapi;
pub mod protobuf;
mod strategic;
#[cfg(test)]
mod testing;
mod unknown;
mod validate;
mod walk;

use std::sync::Arc;

use serde_json::Value;
use triune_api::field::FieldError;

pub use facts::{Facts, FactsError};
pub use protobuf::ProtobufError;
pub use strategic::MergeError;

/// A type in a table of facts. Cheap to clone.
#[derive(Clone)]
pub struct TypeRef {
    /// The table.
    pub facts: Arc<Facts>,
    /// Index of the type in the table.
    pub index: u32,
}

impl TypeRef {
    /// Paths of the fields that the type does not have, at most 100, as strict decoding prints them:
    /// `spec.template.spec.containers[0].foo`.
    pub fn unknown_fields(&self, value: &Value) -> Vec<String> {
        unknown::unknown_fields(&self.facts, self.index, value)
    }

    /// Drops the fields that the type does not have, as decoding into a Go struct does.
    pub fn prune(&self, value: &mut Value) {
        unknown::prune(&self.facts, self.index, value);
    }

    /// What Go's decoder would refuse, in its words and without the handler's prefix (`Deployment in version "v1" cannot
    /// be handled as a Deployment: `).
    ///
    /// # Errors
    /// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`, or the words of
    /// a quantity's or time's own decoder.
    pub fn check_types(&self, value: &Value) -> Result<(), String> {
        check::check_types(&self.facts, self.index, value)
    }

    /// What decoding into the Go struct and encoding it again does: drops nulls, unknown and empty `omitempty` fields,
    /// writes zero values of the others, canonical quantities, times in seconds. Values that `check_types` refuses stay
    /// as they are.
    pub fn normalise(&self, value: &mut Value) {
        normalise::normalise(&self.facts, self.index, value);
    }

    /// Sets absent fields to the defaults that the type declares. Structs must be there already: normalise first.
    pub fn apply_defaults(&self, value: &mut Value) {
        defaults::apply_defaults(&self.facts, self.index, value);
    }

    /// The tree of a message in protobuf, without `apiVersion` and `kind` of its own. It is what JSON of the same object
    /// says, once it is normalised.
    ///
    /// # Errors
    /// Bytes that are no such message, in the words of the reference's generated code.
    pub fn decode_protobuf(&self, message: &[u8]) -> Result<Value, ProtobufError> {
        protobuf::decode(&self.facts, self.index, message)
    }

    /// The message in protobuf of a tree in normal form, without an envelope.
    pub fn encode_protobuf(&self, value: &Value) -> Vec<u8> {
        protobuf::encode(&self.facts, self.index, value)
    }

    /// The message in protobuf of an object in normal form that is stored: sorted JSON without the opening brace,
    /// `apiVersion` and `kind`, which begins with its `metadata`; `revision` becomes `metadata.resourceVersion`. It is the
    /// message of the tree that the text says, without making the tree. None if the text is not that of an object.
    pub fn encode_stored(&self, body: &[u8], revision: u64) -> Option<Vec<u8>> {
        protobuf::encode_text(&self.facts, self.index, body, &revision.to_string())
    }

    /// Applies a strategic merge patch.
    ///
    /// # Errors
    /// Malformed patches, in the words of apimachinery `pkg/util/strategicpatch`.
    pub fn strategic_merge(&self, original: Value, patch: Value) -> Result<Value, MergeError> {
        strategic::merge(&self.facts, self.index, original, patch)
    }

    /// What the facts alone say is wrong: values outside a closed set, but for empty ones and those in `status`.
    pub fn validate(&self, value: &Value) -> Vec<FieldError> {
        validate::validate(&self.facts, self.index, value)
    }
}
