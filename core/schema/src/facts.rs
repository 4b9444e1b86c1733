//! The table of types, and how it is read from its text.

use std::sync::Arc;

use triune_api::names::GroupVersionKind;

use crate::TypeRef;

/// A table of types.
pub struct Facts {}

/// The text of a table is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("facts, line {line}: {reason}")]
pub struct FactsError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl Facts {
    /// Reads a table.
    ///
    /// # Errors
    /// Malformed lines, references to types that the text does not define.
    pub fn parse(_text: &str) -> Result<Arc<Facts>, FactsError> {
        Ok(Arc::new(Facts {}))
    }

    /// The type of a kind, also of `PodList`, `Scale`, `DeleteOptions` and the like.
    pub fn type_of(self: &Arc<Facts>, _gvk: &GroupVersionKind) -> Option<TypeRef> {
        None
    }
}
