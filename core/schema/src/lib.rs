//! Facts of types and what they drive: strict decoding, defaults, normalising, merge keys, OpenAPI.

use std::sync::Arc;

/// A type in a table of facts.
#[derive(Clone)]
pub struct TypeRef {
    /// The table.
    pub facts: Arc<Facts>,
    /// Index of the type in the table.
    pub index: u32,
}

/// A table of types.
pub struct Facts {}
