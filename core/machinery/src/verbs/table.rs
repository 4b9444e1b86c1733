//! `Table` of meta.k8s.io: what `kubectl get` prints (apiserver `pkg/registry/rest/table.go`).

use serde_json::json;
use triune_api::{Value, meta};

use super::{
    answer::{ListMeta, append_list_meta, partial},
    output::{IncludeObject, MetaVersion},
};
use crate::registry::Column;

/// Appends a table up to the bracket before its first row.
pub fn append_head(out: &mut Vec<u8>, version: MetaVersion, list: &ListMeta, columns: Option<&Vec<Column>>) {
    out.extend_from_slice(b"{\"kind\":\"Table\",\"apiVersion\":\"");
    out.extend_from_slice(version.api_version().as_bytes());
    out.extend_from_slice(b"\",");
    append_list_meta(out, list);
    out.extend_from_slice(b",\"columnDefinitions\":");
    let columns = columns.map_or(Value::Null, |columns| columns.iter().map(column).collect());
    append_json(out, &columns);
    out.extend_from_slice(b",\"rows\":[");
}

/// Appends a row up to the value of its `object`.
pub fn append_cells(out: &mut Vec<u8>, cells: &[Value]) {
    out.extend_from_slice(b"{\"cells\":[");
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        append_json(out, cell);
    }
    out.extend_from_slice(b"],\"object\":");
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}

fn append_json(out: &mut Vec<u8>, value: &Value) {
    // A tree has string keys only and a vector takes every byte: there is nothing to fail.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.extend_from_slice(b"null");
    }
}

/// A table of one object that has no columns of its own: its name and when it was created.
pub fn of_value(version: MetaVersion, include: IncludeObject, value: &Value) -> Value {
    let object = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial(version, value),
        IncludeObject::Object => value.clone(),
    };
    json!({
        "kind": "Table",
        "apiVersion": version.api_version(),
        "metadata": {"resourceVersion": meta::resource_version(value)},
        "columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "priority": 0,
                "description": "Name must be unique within a namespace."},
            {"name": "Created At", "type": "date", "format": "", "priority": 0,
                "description": "When the object was created, in RFC 3339 form."},
        ],
        "rows": [{"cells": [meta::name(value), meta::creation_timestamp(value)], "object": object}],
    })
}
