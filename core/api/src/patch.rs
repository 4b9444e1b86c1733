//! JSON patch (RFC 6902) and JSON merge patch (RFC 7386) with the deviations and the sentences of the reference
//! (`gopkg.in/evanphx/json-patch.v4`, apiserver `pkg/endpoints/handlers/patch.go`).
//!
//! Written by hand because the deviations are many: negative indices count from the end, `replace` of a key that is
//! missing adds it, the whole document can be replaced and tested, but not added, removed, moved or copied.
//! Work is bounded: operations, bytes copied, list items moved, depth of the result.

mod json_patch;
mod merge;

pub use json_patch::{JsonPatch, OPERATIONS_MAX};
pub use merge::{merge, parse_merge};

/// Why a patch is not applied. The message is what the reference says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed: 400.
    #[error("{0}")]
    Malformed(String),
    /// Too many operations: 413.
    #[error("{0}")]
    TooLarge(String),
    /// The patch does not apply to this object: 422 without a reason.
    #[error("{0}")]
    NotApplicable(String),
}
