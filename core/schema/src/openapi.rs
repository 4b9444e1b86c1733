//! OpenAPI v3 documents, one for each group version, made from facts and the resources served.
//!
//! They say what the reference's say, without descriptions, without the deprecated `/watch/` paths and without media
//! types that are not served (CBOR). `kubectl` looks up the `fieldValidation` parameter of PATCH operations, merge keys
//! and fields in them.
//!
//! Documents are large: build them on demand and cache their bytes.

mod paths;
mod schemas;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use triune_api::names::{GroupVersion, GroupVersionKind};

use crate::Facts;

/// A resource as its OpenAPI document describes it.
#[derive(Debug, Clone)]
pub struct ServedResource {
    /// Plural, as in paths.
    pub name: String,
    /// Type of its objects.
    pub gvk: GroupVersionKind,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Of create, delete, deletecollection, get, list, patch, update, watch.
    pub verbs: Vec<String>,
    /// Its subresources.
    pub subresources: Vec<ServedSubresource>,
    /// Whether a delete is answered with the object rather than with a Status.
    pub answers_delete_with_object: bool,
    /// Schemas of its objects and of its lists where the facts have none: custom resources.
    pub schemas: Option<CustomSchemas>,
}

/// Schemas of a kind that the facts do not know.
#[derive(Debug, Clone)]
pub struct CustomSchemas {
    /// Component name of the object, such as `com.example.v1.Widget`; the list's is this and `List`.
    pub model: String,
    /// The object's schema.
    pub object: Value,
    /// The list's schema.
    pub list: Value,
}

/// A subresource as the OpenAPI document describes it.
#[derive(Debug, Clone)]
pub struct ServedSubresource {
    /// Such as `status`.
    pub name: String,
    /// Type of what is sent and answered.
    pub gvk: GroupVersionKind,
    /// Of create, delete, get, patch, update.
    pub verbs: Vec<String>,
}

/// The document of `/openapi/v3/api/v1`, `/openapi/v3/apis/<group>/<version>`.
pub fn group_version_document(facts: &Arc<Facts>, group_version: &GroupVersion, resources: &[ServedResource]) -> Value {
    let mut schemas = schemas::Components::new(facts, group_version);
    let paths = paths::paths(&mut schemas, group_version, resources);
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "unversioned" },
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": { "BearerToken": {
                "description": "Bearer Token authentication", "in": "header", "name": "authorization", "type": "apiKey",
            } },
        },
    })
}

/// Path of a group version under `/openapi/v3/`: `api/v1`, `apis/apps/v1`.
pub fn group_version_path(group_version: &GroupVersion) -> String {
    if group_version.group.is_empty() {
        format!("api/{}", group_version.version)
    } else {
        format!("apis/{group_version}")
    }
}

/// The index at `/openapi/v3`: for each document its path (as [`group_version_path`] gives it) and a hash of its bytes,
/// with which it may be cached for ever.
pub fn index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let entry = |(path, hash): (&str, &str)| {
        (path.to_string(), json!({ "serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}") }))
    };
    json!({ "paths": documents.into_iter().map(entry).collect::<Map<_, _>>() })
}

#[cfg(test)]
mod tests;
