//! Columns and cells of `meta.k8s.io/v1` Tables: a column says its heading and where its cell comes from, so that headings
//! and cells cannot drift apart. Headings, types, formats, priorities and order are the reference's
//! (kubernetes `pkg/printers/internalversion`); the server prints all columns, clients hide those of priority 1.

use std::borrow::Cow;

use serde_json::json;
use triune_api::Value;
use triune_machinery::registry::Column;

use crate::tree;

/// A column and where its cells come from.
pub struct TableColumn {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    priority: i32,
    description: &'static str,
    cell: Cell,
    has_heading: bool,
}

/// Where a cell comes from.
#[derive(Clone, Copy)]
enum Cell {
    /// `metadata.name`.
    Name,
    /// Time since `metadata.creationTimestamp`.
    Age,
    /// The text at a JSON pointer; "" if there is none.
    Text(&'static str),
    /// The integer at a JSON pointer; 0 if there is none.
    Integer(&'static str),
    /// The number of items of the list at a JSON pointer.
    Count(&'static str),
    /// Whether there is `true` at a JSON pointer.
    Truth(&'static str),
    /// Computed from the object.
    Of(fn(&Value) -> Value),
    /// Computed from the object and the time.
    OfTime(fn(&Value, jiff::Timestamp) -> Value),
}

/// The table of kinds that have no other.
pub const NAME_AND_AGE: &[TableColumn] = &[NAME, AGE];

/// The name column.
pub const NAME: TableColumn = TableColumn {
    name: "Name",
    kind: "string",
    format: "name",
    priority: 0,
    description: "Name of the object, unique within its namespace.",
    cell: Cell::Name,
    has_heading: true,
};

/// The age column.
pub const AGE: TableColumn = TableColumn {
    name: "Age",
    kind: "string",
    format: "",
    priority: 0,
    description: "Time since the object was created.",
    cell: Cell::Age,
    has_heading: true,
};

const fn column(name: &'static str, kind: &'static str, cell: Cell, description: &'static str) -> TableColumn {
    TableColumn { name, kind, format: "", priority: 0, description, cell, has_heading: true }
}

/// A text taken from a field.
pub const fn text(name: &'static str, pointer: &'static str, description: &'static str) -> TableColumn {
    column(name, "string", Cell::Text(pointer), description)
}

/// An integer taken from a field.
pub const fn integer(name: &'static str, pointer: &'static str, description: &'static str) -> TableColumn {
    column(name, "integer", Cell::Integer(pointer), description)
}

/// How many items a list has.
pub const fn count(name: &'static str, pointer: &'static str, description: &'static str) -> TableColumn {
    column(name, "integer", Cell::Count(pointer), description)
}

/// A truth value taken from a field.
pub const fn truth(name: &'static str, pointer: &'static str, description: &'static str) -> TableColumn {
    column(name, "boolean", Cell::Truth(pointer), description)
}

/// A text computed from the object.
pub const fn computed(name: &'static str, cell: fn(&Value) -> Value, description: &'static str) -> TableColumn {
    column(name, "string", Cell::Of(cell), description)
}

/// A text computed from the object and the time.
pub const fn timed(
    name: &'static str,
    cell: fn(&Value, jiff::Timestamp) -> Value,
    description: &'static str,
) -> TableColumn {
    column(name, "string", Cell::OfTime(cell), description)
}

impl TableColumn {
    /// Shown with `-o wide` only.
    pub const fn wide(mut self) -> TableColumn {
        self.priority = 1;
        self
    }

    /// Another type than the constructor's, where the reference declares one that its cells do not have.
    pub const fn typed(mut self, kind: &'static str) -> TableColumn {
        self.kind = kind;
        self
    }

    /// With a format.
    pub const fn formatted(mut self, format: &'static str) -> TableColumn {
        self.format = format;
        self
    }

    /// A cell that no column stands over, where the reference forgot it.
    pub const fn without_heading(mut self) -> TableColumn {
        self.has_heading = false;
        self
    }

    fn cell(&self, object: &Value, now: jiff::Timestamp) -> Value {
        match self.cell {
            Cell::Name => json!(tree::name(object)),
            Cell::Age => json!(age(tree::text(object, "/metadata/creationTimestamp"), now)),
            Cell::Text(pointer) => json!(tree::text(object, pointer)),
            Cell::Integer(pointer) => json!(tree::integer_or_zero(object, pointer)),
            Cell::Count(pointer) => json!(count_of(object, pointer)),
            Cell::Truth(pointer) => json!(tree::truth(object, pointer)),
            Cell::Of(compute) => compute(object),
            Cell::OfTime(compute) => compute(object, now),
        }
    }
}

/// As the registry wants them.
pub fn columns(table: &[TableColumn]) -> Vec<Column> {
    let column = |column: &TableColumn| Column {
        name: Cow::Borrowed(column.name),
        kind: Cow::Borrowed(column.kind),
        format: Cow::Borrowed(column.format),
        description: Cow::Borrowed(column.description),
        priority: column.priority,
    };
    table.iter().filter(|column| column.has_heading).map(column).collect()
}

/// One cell a column.
pub fn cells(table: &[TableColumn], object: &Value, now: jiff::Timestamp) -> Vec<Value> {
    table.iter().map(|column| column.cell(object, now)).collect()
}

/// Time since an RFC 3339 time, as people read it; `<unknown>` if there is none.
pub fn age(time: &str, now: jiff::Timestamp) -> String {
    triune_api::time::age(Some(time), now)
}

fn count_of(object: &Value, pointer: &str) -> usize {
    match object.pointer(pointer) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    }
}
