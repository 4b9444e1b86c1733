//! Label and field selectors: apimachinery `pkg/labels` and `pkg/fields`, with their grammar and their sentences.
//!
//! A parsed selector is small and matches without allocation. The text is bounded by [`SELECTOR_BYTES_MAX`].

mod field;
mod label;
mod label_parser;

pub use field::{FieldRequirement, FieldSelector};
pub use label::{LabelRequirement, LabelSelector, Operator};

/// How long the text of a selector may be.
pub const SELECTOR_BYTES_MAX: usize = 256 * 1024;

/// Why a text is not a selector: the sentence of the reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

fn check_length(text: &str) -> Result<(), SelectorError> {
    if text.len() <= SELECTOR_BYTES_MAX {
        return Ok(());
    }
    Err(SelectorError(format!("selector is too long: may not be more than {SELECTOR_BYTES_MAX} bytes")))
}
