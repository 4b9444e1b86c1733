//! Documents of OpenAPI v3 in JSON (kube-openapi `pkg/builder3`).

use serde_json::{Map, Value, json};
use triune_api::names::GroupVersion;

use super::{
    ServedResource, Source,
    operations::{Operation, Parameter, PathItem, Paths, reason},
    plain::Plain,
    resources,
    schemas::{Components, Dialect},
};

/// The document of a group version, as `/openapi/v3/api/v1` and `/openapi/v3/apis/<group>/<version>` serve it.
pub fn group_version_document(
    source: Source<'_>,
    group_version: &GroupVersion,
    resources: &[ServedResource],
) -> Vec<u8> {
    let mut paths = Paths::new();
    resources::add_to(&mut paths, source.facts, group_version, resources);
    write(source, paths, Some(group_version))
}

/// The document of a path that is no resource.
pub fn plain_document(source: Source<'_>, plain: &Plain) -> Vec<u8> {
    let mut paths = Paths::new();
    plain.add_to(&mut paths);
    write(source, paths, None)
}

fn write(source: Source<'_>, mut paths: Paths<'_>, group_version: Option<&GroupVersion>) -> Vec<u8> {
    let mut components = Components::new(source, Dialect::V3(group_version));
    let items: Vec<(String, String)> = paths
        .iter_mut()
        .map(|(path, item)| {
            item.finish();
            (path.clone(), path_item(&mut components, item).to_string())
        })
        .collect();
    let schemas = components.finish();
    let mut document = br#"{"components":{"#.to_vec();
    if !schemas.is_empty() {
        document.extend_from_slice(br#""schemas":"#);
        write_object(&mut document, schemas.iter().map(|(name, schema)| (name.as_str(), schema.as_str())));
        document.push(b',');
    }
    let rest = json!({ "BearerToken": security() });
    document.extend_from_slice(format!(r#""securitySchemes":{rest}}},"info":"#).as_bytes());
    document.extend_from_slice(info(source).to_string().as_bytes());
    document.extend_from_slice(br#","openapi":"3.0.0","paths":"#);
    write_object(&mut document, items.iter().map(|(path, item)| (path.as_str(), item.as_str())));
    document.push(b'}');
    document
}

/// Writes an object of values that are JSON already.
pub(super) fn write_object<'v>(document: &mut Vec<u8>, entries: impl Iterator<Item = (&'v str, &'v str)>) {
    document.push(b'{');
    for (index, (name, value)) in entries.enumerate() {
        if index > 0 {
            document.push(b',');
        }
        document.extend_from_slice(Value::from(name).to_string().as_bytes());
        document.push(b':');
        document.extend_from_slice(value.as_bytes());
    }
    document.push(b'}');
}

/// What each document says of itself.
pub(super) fn info(source: Source<'_>) -> Value {
    json!({ "title": "Kubernetes", "version": source.version })
}

/// How clients say who they are.
pub(super) fn security() -> Value {
    json!({ "description": "Bearer Token authentication", "in": "header", "name": "authorization", "type": "apiKey" })
}

fn path_item(components: &mut Components<'_>, item: &PathItem<'_>) -> Value {
    let mut written = Map::new();
    for (method, described) in &item.operations {
        written.insert((*method).into(), operation(components, described));
    }
    if !item.parameters.is_empty() {
        written.insert("parameters".into(), item.parameters.iter().map(parameter).collect());
    }
    Value::Object(written)
}

fn operation(components: &mut Components<'_>, operation: &Operation<'_>) -> Value {
    let mut written = json!({ "operationId": operation.identifier, "tags": [operation.tag] });
    if let Some((action, gvk)) = &operation.action {
        written["x-kubernetes-action"] = (*action).into();
        written["x-kubernetes-group-version-kind"] =
            json!({ "group": *gvk.group, "kind": *gvk.kind, "version": *gvk.version });
    }
    if !operation.parameters.is_empty() {
        written["parameters"] = operation.parameters.iter().map(parameter).collect();
    }
    if let Some((model, required)) = &operation.body {
        written["requestBody"] = json!({ "content": content(operation.consumes, &components.of(model)) });
        if *required {
            written["requestBody"]["required"] = true.into();
        }
    }
    let mut responses = Map::new();
    for (code, model) in &operation.answers {
        let content = content(&operation.produces, &components.of(model));
        responses.insert((*code).into(), json!({ "description": reason(code), "content": content }));
    }
    responses.insert("401".into(), json!({ "description": reason("401") }));
    written["responses"] = Value::Object(responses);
    written
}

fn content(media_types: &[&str], schema: &Value) -> Value {
    media_types.iter().map(|media| ((*media).to_string(), json!({ "schema": schema }))).collect()
}

fn parameter(parameter: &Parameter) -> Value {
    let mut written = json!({
        "in": parameter.place.as_str(),
        "name": parameter.name,
        "schema": { "type": parameter.kind, "uniqueItems": true },
    });
    if parameter.place == super::operations::Place::Path {
        written["required"] = true.into();
    }
    written
}
