//! OpenAPI v3 documents, one for each group version, made from facts and the resources served.

use std::sync::Arc;

use serde_json::Value;
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
pub fn group_version_document(
    _facts: &Arc<Facts>,
    _group_version: &GroupVersion,
    _resources: &[ServedResource],
) -> Value {
    Value::Null
}

/// Path of a group version under `/openapi/v3/`: `api/v1`, `apis/apps/v1`.
pub fn group_version_path(group_version: &GroupVersion) -> String {
    if group_version.group.is_empty() {
        format!("api/{}", group_version.version)
    } else {
        format!("apis/{group_version}")
    }
}
