//! Why an apply is refused, and the answers that clients get.

use serde_json::Value;
use triune_api::{meta, status::Status};

use super::{
    entries::{Operation, identity_text},
    schema::print_kind,
};

/// Why an apply is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others manage fields that it would change: 409.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The request is wrong: 400.
    #[error("{0}")]
    BadRequest(String),
    /// The configuration does not fit its type, or the like. The reference answers 500 without a reason.
    #[error("{0}")]
    Failed(String),
}

/// A field that somebody else manages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Who.
    pub manager: ManagerId,
    /// The field: `.spec.replicas`.
    pub path: String,
}

/// What tells a manager's entry from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerId {
    /// Name of the manager.
    pub manager: String,
    /// What it did.
    pub operation: Operation,
    /// In which version; "" for appliers, which are the same in each.
    pub api_version: String,
    /// Of which subresource; "" for the object itself.
    pub subresource: String,
}

impl ManagerId {
    /// What conflicts are grouped and sorted by.
    pub(super) fn text(&self) -> String {
        identity_text(&self.manager, self.operation, &self.api_version, &self.subresource)
    }

    fn print(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// Conflicts come grouped by manager.
fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager.print(), one.path);
    }
    let mut lines = Vec::new();
    let mut last = None;
    for conflict in conflicts {
        if last.replace(&conflict.manager) != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", conflict.manager.print()));
        }
        lines.push(format!("- {}", conflict.path));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

impl ApplyError {
    /// The answer.
    pub fn status(&self) -> Status {
        match self {
            ApplyError::Conflicts(conflicts) => {
                let mut status = Status::new(409, "Conflict", self.to_string());
                for Conflict { manager, path } in conflicts {
                    let message = format!("conflict with {}", manager.print());
                    status = status.with_cause("FieldManagerConflict", message, path);
                }
                status
            }
            ApplyError::BadRequest(message) => Status::bad_request(message),
            ApplyError::Failed(message) => Status::new(500, "", message),
        }
    }

    pub(super) fn failed(message: impl Into<String>) -> ApplyError {
        ApplyError::Failed(message.into())
    }
}

/// An object, as the reference names it in errors: `ns/name; apps/v1, Kind=Deployment`.
pub(super) fn describe(object: &Value) -> String {
    let kind = print_kind(meta::api_version(object), meta::kind(object));
    format!("{}/{}; {kind}", meta::namespace(object), meta::name(object))
}
