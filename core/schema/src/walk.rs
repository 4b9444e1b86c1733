//! Pairs the fields of a type with the entries of a JSON object, and paths through both.
//!
//! Both sides are sorted by name (see [`crate::facts`]), so one pass finds all pairs.

use std::{cmp::Ordering, fmt};

use crate::facts::{Facts, Field, Type};

/// The fields of a type, walked beside the sorted keys of an object.
pub(crate) struct Cursor<'a, Fields: Iterator<Item = &'a Field>> {
    fields: std::iter::Peekable<Fields>,
}

/// Starts before the first field.
pub(crate) fn cursor<'a>(facts: &'a Facts, declared: &Type) -> Cursor<'a, impl Iterator<Item = &'a Field> + use<'a>> {
    Cursor { fields: facts.json_fields(declared).peekable() }
}

impl<'a, Fields: Iterator<Item = &'a Field>> Cursor<'a, Fields> {
    /// The field of the next key, which must be greater than the one before. `passed` is given the fields between.
    pub(crate) fn seek(&mut self, key: &str, mut passed: impl FnMut(&'a Field)) -> Option<&'a Field> {
        loop {
            match (*self.fields.peek()?.name).cmp(key) {
                Ordering::Greater => return None,
                Ordering::Equal => return self.fields.next(),
                Ordering::Less => {
                    if let Some(field) = self.fields.next() {
                        passed(field);
                    }
                }
            }
        }
    }

    /// The fields behind the last key.
    pub(crate) fn rest(self) -> impl Iterator<Item = &'a Field> {
        self.fields
    }
}

/// Where a value is, as a chain on the stack: it costs nothing until it is printed.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The whole object.
    Root,
    /// Under a field or a map's key.
    Key(&'a Path<'a>, &'a str),
    /// An item of a list.
    Index(&'a Path<'a>, usize),
}

/// `spec.containers[0].name`
impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => formatter.write_str(key),
            Path::Key(parent, key) => write!(formatter, "{parent}.{key}"),
            Path::Index(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}
