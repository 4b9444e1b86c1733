//! Where a value is in an object, as a chain on the stack: a path costs nothing until an error prints it.

use std::fmt;

use serde_json::Value;

use crate::field::FieldError;

/// A path such as `spec.containers[0].name` or `metadata.labels[app]`.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// A path of one field, or of some with dots between them.
    pub const fn new(field: &'a str) -> Path<'a> {
        Path { parent: None, step: Step::Field(field) }
    }

    /// A field below, or some with dots between them.
    pub const fn field(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    /// An item of the list here.
    pub const fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// An entry of the map here, printed in brackets.
    pub const fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    /// See [`FieldError::required`].
    pub fn required(&self, detail: impl Into<String>) -> FieldError {
        FieldError::required(&self.to_string(), detail)
    }

    /// See [`FieldError::invalid`].
    pub fn invalid(&self, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
        FieldError::invalid(&self.to_string(), &value.into(), detail)
    }

    /// One [`FieldError::invalid`] for each message about a value.
    pub fn all_invalid(&self, value: &str, messages: Vec<String>, errors: &mut Vec<FieldError>) {
        errors.extend(messages.into_iter().map(|message| self.invalid(value, message)));
    }

    /// See [`FieldError::not_supported`].
    pub fn not_supported(&self, value: impl Into<Value>, supported: &[&str]) -> FieldError {
        FieldError::not_supported(&self.to_string(), &value.into(), supported)
    }

    /// See [`FieldError::duplicate`].
    pub fn duplicate(&self, value: impl Into<Value>) -> FieldError {
        FieldError::duplicate(&self.to_string(), &value.into())
    }

    /// See [`FieldError::forbidden`].
    pub fn forbidden(&self, detail: impl Into<String>) -> FieldError {
        FieldError::forbidden(&self.to_string(), detail)
    }

    /// See [`FieldError::not_found`].
    pub fn not_found(&self, value: impl Into<Value>) -> FieldError {
        FieldError::not_found(&self.to_string(), &value.into())
    }

    /// See [`FieldError::too_long`].
    pub fn too_long(&self, bytes_max: usize) -> FieldError {
        FieldError::too_long(&self.to_string(), bytes_max)
    }

    /// See [`FieldError::too_many`].
    pub fn too_many(&self, items: usize, items_max: usize) -> FieldError {
        FieldError::too_many(&self.to_string(), items, items_max)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(formatter)?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_none() => formatter.write_str(name),
            Step::Field(name) => write!(formatter, ".{name}"),
            Step::Index(index) => write!(formatter, "[{index}]"),
            Step::Key(key) => write!(formatter, "[{key}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_printed() {
        let spec = Path::new("spec");
        assert_eq!(
            spec.field("template.spec").field("containers").index(2).field("name").to_string(),
            "spec.template.spec.containers[2].name"
        );
        assert_eq!(spec.field("nodeSelector").key("a/b").to_string(), "spec.nodeSelector[a/b]");
        assert_eq!(spec.required("say it").to_string(), "spec: Required value: say it");
        assert_eq!(spec.invalid(3, "odd").to_string(), "spec: Invalid value: 3: odd");
    }
}
