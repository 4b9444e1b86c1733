//! OpenAPI documents made from facts and from the resources served: v3 for each group version, v2 for all together.
//!
//! They say what the reference's say, without the prose of operations and parameters and without what is not served:
//! CBOR, sharded lists. `kubectl` looks up the `fieldValidation` parameter of PATCH operations, merge keys and fields in
//! them; generators of clients read the rest.
//!
//! In reading order:
//!
//! - `operations`: paths and operations as both versions have them
//! - `resources`: those of resources and their subresources
//! - [`plain`]: those of paths that are no resources
//! - `schemas`: the types that operations name, and what those are made of
//! - `v3`, `v2`: documents in JSON
//! - [`protobuf`]: documents in protobuf
//!
//! Documents are large: they are written piece by piece, and whoever asks for them keeps their bytes, not trees.

mod operations;
pub mod plain;
pub mod protobuf;
mod resources;
mod schemas;
mod v2;
mod v3;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use triune_api::names::{GroupVersion, GroupVersionKind};

use crate::Facts;

pub use v2::document as v2_document;
pub use v3::{group_version_document, plain_document};

/// What every document is made from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The table of types.
    pub facts: &'a Arc<Facts>,
    /// What documents call their version, such as `1.37`.
    pub version: &'a str,
    /// Prose of types and fields, if there is any.
    pub descriptions: Option<&'a Descriptions>,
}

/// Prose by name of the model, such as `io.k8s.api.core.v1.Pod`.
pub type Descriptions = BTreeMap<String, Description>;

/// Prose of a type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Of the type itself.
    pub text: String,
    /// Of its fields, by their names in JSON.
    pub fields: BTreeMap<String, String>,
}

/// A resource as OpenAPI documents describe it.
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
    /// The object's schema, as v3 has it.
    pub object: Value,
    /// The list's schema, as v3 has it.
    pub list: Value,
}

/// A subresource as OpenAPI documents describe it.
#[derive(Debug, Clone)]
pub struct ServedSubresource {
    /// Such as `status`.
    pub name: String,
    /// Type of what is sent and answered.
    pub gvk: GroupVersionKind,
    /// Of create, delete, get, patch, update.
    pub verbs: Vec<String>,
}

/// Path of a group version under `/openapi/v3/`: `api/v1`, `apis/apps/v1`.
pub fn group_version_path(group_version: &GroupVersion) -> String {
    if group_version.group.is_empty() {
        format!("api/{}", group_version.version)
    } else {
        format!("apis/{group_version}")
    }
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}

fn uncapitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests;
