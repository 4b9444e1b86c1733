//! The documents' shapes: fields in the reference's order, so that equal registries give equal bytes.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::Serialize;
use triune_api::names::{GroupVersion, GroupVersionKind};

use crate::{
    registry::Resource,
    resources::{InstalledVersion, ResourcesSnapshot},
};

/// A group's versions, in order. The core group is "".
pub(super) struct Group {
    name: Arc<str>,
    versions: Vec<Arc<InstalledVersion>>,
}

/// The groups of several registries in the order of discovery: by priority, then by name.
pub(super) fn groups(snapshots: &[Arc<ResourcesSnapshot>]) -> Vec<Group> {
    let mut groups: BTreeMap<Arc<str>, Vec<Arc<InstalledVersion>>> = BTreeMap::new();
    for installed in snapshots.iter().flat_map(|snapshot| snapshot.versions()) {
        let versions = groups.entry(installed.group_version.group.clone()).or_default();
        // Of two registries that serve the same version the first counts.
        if versions.iter().all(|other| other.group_version != installed.group_version) {
            versions.push(installed.clone());
        }
    }
    let mut groups: Vec<Group> = groups.into_iter().map(|(name, versions)| Group { name, versions }).collect();
    for group in &mut groups {
        group.versions.sort_by_key(|installed| std::cmp::Reverse(installed.version_priority));
    }
    groups
        .sort_by_key(|group| std::cmp::Reverse(group.versions.iter().map(|installed| installed.group_priority).max()));
    groups
}

/// The plain documents by path.
pub(super) fn plain(groups: &[Group], server_address: &str) -> BTreeMap<String, Bytes> {
    let mut documents = BTreeMap::new();
    let mut listed = Vec::new();
    let mut core_versions = Vec::new();
    for group in groups {
        for installed in &group.versions {
            let version = &*installed.group_version.version;
            let path = if group.name.is_empty() {
                core_versions.push(version);
                format!("/api/{version}")
            } else {
                format!("/apis/{}/{version}", group.name)
            };
            documents.insert(path, encode(&ResourceList::of(installed)));
        }
        if !group.name.is_empty() {
            let named = GroupEntry::of(group);
            let document = GroupDocument { kind: "APIGroup", api_version: "v1", group: &named };
            documents.insert(format!("/apis/{}", group.name), encode(&document));
            listed.push(named);
        }
    }
    let addresses = [ServerAddress { client_cidr: "0.0.0.0/0", server_address }];
    let core = CoreVersions { kind: "APIVersions", versions: core_versions, addresses };
    documents.insert("/api".into(), encode(&core));
    documents.insert("/apis".into(), encode(&GroupList { kind: "APIGroupList", api_version: "v1", groups: listed }));
    documents
}

/// The aggregated document of `/api` or `/apis`.
pub(super) fn aggregated(groups: &[Group], core: bool) -> Bytes {
    let items = groups.iter().filter(|group| group.name.is_empty() == core).map(AggregatedGroup::of).collect();
    let api_version = "apidiscovery.k8s.io/v2";
    encode(&AggregatedList { kind: "APIGroupDiscoveryList", api_version, metadata: Metadata { name: "" }, items })
}

fn encode(document: &impl Serialize) -> Bytes {
    // Strings, lists and fixed field names always have a JSON form.
    let mut bytes = serde_json::to_vec(document).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

#[derive(Serialize)]
struct CoreVersions<'a> {
    kind: &'static str,
    versions: Vec<&'a str>,
    #[serde(rename = "serverAddressByClientCIDRs")]
    addresses: [ServerAddress<'a>; 1],
}

#[derive(Serialize)]
struct ServerAddress<'a> {
    #[serde(rename = "clientCIDR")]
    client_cidr: &'static str,
    #[serde(rename = "serverAddress")]
    server_address: &'a str,
}

#[derive(Serialize)]
struct GroupList<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    groups: Vec<GroupEntry<'a>>,
}

#[derive(Serialize)]
struct GroupDocument<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    #[serde(flatten)]
    group: &'a GroupEntry<'a>,
}

#[derive(Serialize)]
struct GroupEntry<'a> {
    name: &'a str,
    versions: Vec<VersionEntry>,
    #[serde(rename = "preferredVersion", skip_serializing_if = "Option::is_none")]
    preferred_version: Option<VersionEntry>,
}

#[derive(Serialize, Clone)]
struct VersionEntry {
    #[serde(rename = "groupVersion")]
    group_version: String,
    version: Arc<str>,
}

impl<'a> GroupEntry<'a> {
    fn of(group: &'a Group) -> GroupEntry<'a> {
        let entry = |installed: &Arc<InstalledVersion>| VersionEntry {
            group_version: installed.group_version.to_string(),
            version: installed.group_version.version.clone(),
        };
        let versions: Vec<VersionEntry> = group.versions.iter().map(entry).collect();
        GroupEntry { name: &group.name, preferred_version: versions.first().cloned(), versions }
    }
}

#[derive(Serialize)]
struct ResourceList<'a> {
    kind: &'static str,
    /// The core group's list has none, as it had in Kubernetes 1.1.
    #[serde(rename = "apiVersion", skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    #[serde(rename = "groupVersion")]
    group_version: String,
    resources: Vec<ResourceEntry<'a>>,
}

#[derive(Serialize)]
struct ResourceEntry<'a> {
    name: String,
    #[serde(rename = "singularName")]
    singular_name: &'a str,
    namespaced: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    kind: &'a str,
    verbs: &'a [String],
    #[serde(rename = "shortNames", skip_serializing_if = "<[String]>::is_empty")]
    short_names: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    categories: &'a [String],
    #[serde(rename = "storageVersionHash", skip_serializing_if = "str::is_empty")]
    storage_version_hash: &'a str,
}

impl<'a> ResourceList<'a> {
    fn of(installed: &'a InstalledVersion) -> ResourceList<'a> {
        let group_version = &installed.group_version;
        let mut resources = Vec::new();
        for resource in &installed.resources {
            let kind = ResponseKind::of(&resource.gvk, group_version);
            resources.push(ResourceEntry {
                name: resource.name.clone(),
                singular_name: &resource.singular,
                namespaced: resource.namespaced,
                group: kind.group,
                version: kind.version,
                kind: kind.kind,
                verbs: &resource.verbs,
                short_names: &resource.short_names,
                categories: &resource.categories,
                storage_version_hash: &resource.storage_version_hash,
            });
            for (name, subresource) in &resource.subresources {
                let kind = ResponseKind::of(&subresource.gvk, group_version);
                resources.push(ResourceEntry {
                    name: format!("{}/{name}", resource.name),
                    singular_name: "",
                    namespaced: resource.namespaced,
                    group: kind.group,
                    version: kind.version,
                    kind: kind.kind,
                    verbs: &subresource.verbs,
                    short_names: &[],
                    categories: &[],
                    storage_version_hash: "",
                });
            }
        }
        let api_version = (!group_version.group.is_empty()).then_some("v1");
        ResourceList { kind: "APIResourceList", api_version, group_version: group_version.to_string(), resources }
    }
}

#[derive(Serialize)]
struct AggregatedList<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    metadata: Metadata<'a>,
    items: Vec<AggregatedGroup<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

#[derive(Serialize)]
struct AggregatedGroup<'a> {
    metadata: Metadata<'a>,
    versions: Vec<AggregatedVersion<'a>>,
}

#[derive(Serialize)]
struct AggregatedVersion<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<AggregatedResource<'a>>,
    freshness: &'static str,
}

#[derive(Serialize)]
struct AggregatedResource<'a> {
    resource: &'a str,
    #[serde(rename = "responseKind")]
    response_kind: ResponseKind<'a>,
    scope: &'static str,
    #[serde(rename = "singularResource")]
    singular_resource: &'a str,
    verbs: &'a [String],
    #[serde(rename = "shortNames", skip_serializing_if = "<[String]>::is_empty")]
    short_names: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    categories: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<AggregatedSubresource<'a>>,
}

#[derive(Serialize)]
struct AggregatedSubresource<'a> {
    subresource: &'a str,
    #[serde(rename = "responseKind")]
    response_kind: ResponseKind<'a>,
    verbs: &'a [String],
}

/// A kind; group and version are empty where they are those of the list it stands in.
#[derive(Serialize)]
struct ResponseKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

impl<'a> ResponseKind<'a> {
    fn of(gvk: &'a GroupVersionKind, list: &GroupVersion) -> ResponseKind<'a> {
        let same = gvk.group == list.group && gvk.version == list.version;
        let (group, version) = if same { ("", "") } else { (&*gvk.group, &*gvk.version) };
        ResponseKind { group, version, kind: &gvk.kind }
    }
}

impl<'a> AggregatedGroup<'a> {
    fn of(group: &'a Group) -> AggregatedGroup<'a> {
        let version = |installed: &'a Arc<InstalledVersion>| AggregatedVersion {
            version: &installed.group_version.version,
            resources: installed
                .resources
                .iter()
                .map(|resource| AggregatedResource::of(resource, &installed.group_version))
                .collect(),
            freshness: "Current",
        };
        AggregatedGroup {
            metadata: Metadata { name: &group.name },
            versions: group.versions.iter().map(version).collect(),
        }
    }
}

impl<'a> AggregatedResource<'a> {
    fn of(resource: &'a Resource, list: &GroupVersion) -> AggregatedResource<'a> {
        let subresources = resource.subresources.iter().map(|(name, subresource)| AggregatedSubresource {
            subresource: name,
            response_kind: ResponseKind::of(&subresource.gvk, list),
            verbs: &subresource.verbs,
        });
        AggregatedResource {
            resource: &resource.name,
            response_kind: ResponseKind::of(&resource.gvk, list),
            scope: if resource.namespaced { "Namespaced" } else { "Cluster" },
            singular_resource: &resource.singular,
            verbs: &resource.verbs,
            short_names: &resource.short_names,
            categories: &resource.categories,
            subresources: subresources.collect(),
        }
    }
}
