//! Names of types and of objects.

use std::{fmt, sync::Arc};

/// An API group and one of its versions. The core group is "".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersion {
    /// "" or a DNS subdomain, such as `apps`.
    pub group: Arc<str>,
    /// Such as `v1`.
    pub version: Arc<str>,
}

impl GroupVersion {
    /// From its two parts.
    pub fn new(group: &str, version: &str) -> GroupVersion {
        GroupVersion { group: group.into(), version: version.into() }
    }
    /// From an `apiVersion`; None if it has more than one slash or no version.
    pub fn parse(api_version: &str) -> Option<GroupVersion> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if version.is_empty() || version.contains('/') {
            return None;
        }
        Some(GroupVersion::new(group, version))
    }
    /// With a kind.
    pub fn with_kind(&self, kind: &str) -> GroupVersionKind {
        GroupVersionKind { group: self.group.clone(), version: self.version.clone(), kind: kind.into() }
    }
}

/// As in `apiVersion`: `v1`, `apps/v1`.
impl fmt::Display for GroupVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(formatter, "{}/", self.group)?;
        }
        formatter.write_str(&self.version)
    }
}

/// A kind in a version of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionKind {
    /// "" or a DNS subdomain.
    pub group: Arc<str>,
    /// Such as `v1`.
    pub version: Arc<str>,
    /// Such as `Deployment`.
    pub kind: Arc<str>,
}

impl GroupVersionKind {
    /// From its three parts.
    pub fn new(group: &str, version: &str, kind: &str) -> GroupVersionKind {
        GroupVersionKind { group: group.into(), version: version.into(), kind: kind.into() }
    }
    /// Without the kind.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }
    }
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        self.group_version().to_string()
    }
    /// As error messages print it: `Deployment.apps` or `Pod`.
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_string() } else { format!("{}.{}", self.kind, self.group) }
    }
}

/// A resource of a group, whatever the version: what is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupResource {
    /// "" or a DNS subdomain.
    pub group: Arc<str>,
    /// Lower-case plural, such as `deployments`.
    pub resource: Arc<str>,
}

impl GroupResource {
    /// From its two parts.
    pub fn new(group: &str, resource: &str) -> GroupResource {
        GroupResource { group: group.into(), resource: resource.into() }
    }
}

/// As error messages print it: `deployments.apps` or `pods`.
impl fmt::Display for GroupResource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(formatter, ".{}", self.group) }
    }
}

/// Where an object is stored: resource, namespace ("" for cluster-scoped objects), name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The stored resource.
    pub resource: GroupResource,
    /// "" for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// From its parts.
    pub fn new(resource: GroupResource, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey { resource, namespace: namespace.into(), name: name.into() }
    }
}
