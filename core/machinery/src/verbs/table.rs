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
pub fn append_cells(out: &mut Vec<u8>, cells: &[Value], conditions: &[Value]) {
    out.extend_from_slice(b"{\"cells\":[");
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        append_json(out, cell);
    }
    out.push(b']');
    for (index, condition) in conditions.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b",\"conditions\":[" } else { b"," });
        append_json(out, condition);
    }
    out.extend_from_slice(if conditions.is_empty() { b",\"object\":" } else { b"],\"object\":" });
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

/// A table of one value that is no object of a resource: of a Scale, or of what has only a name and a time of creation.
pub fn of_value(version: MetaVersion, include: IncludeObject, value: &Value, now: jiff::Timestamp) -> Value {
    let object = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial(version, value),
        IncludeObject::Object => value.clone(),
    };
    let column = |name: &str, kind: &str, format: &str, description: &str| json!({"name": name, "type": kind, "format": format, "priority": 0, "description": description});
    let created = meta::creation_timestamp(value);
    let (columns, cells) = if meta::kind(value) == "Scale" {
        let replicas = |part: &str| value.get(part).and_then(|part| part.get("replicas")).and_then(Value::as_i64);
        let columns = json!([
            column("Name", "string", "", "Name of what is scaled."),
            column("Desired", "integer", "", "Replicas that are wanted."),
            column("Available", "integer", "", "Replicas that there are."),
            column("Age", "string", "", "Time since it was created."),
        ]);
        let age = triune_api::time::age(created, now);
        let (desired, available) = (replicas("spec").unwrap_or_default(), replicas("status").unwrap_or_default());
        (columns, json!([meta::name(value), desired, available, age]))
    } else {
        let columns = json!([
            column("Name", "string", "name", "Name must be unique within a namespace."),
            column("Created At", "date", "", "When the object was created, in RFC 3339 form."),
        ]);
        (columns, json!([meta::name(value), created]))
    };
    json!({
        "kind": "Table",
        "apiVersion": version.api_version(),
        "metadata": {"resourceVersion": meta::resource_version(value)},
        "columnDefinitions": columns,
        "rows": [{"cells": cells, "object": object}],
    })
}
