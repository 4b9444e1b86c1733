//! The live registry: which resources are served, changed while requests run.
//!
//! Readers take an immutable snapshot without a lock and keep it for as long as they like; writers replace the snapshot as
//! a whole, so that no reader sees half a change. A request is served by the snapshot it began with.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::{ArcSwap, Guard};
use triune_api::{
    meta,
    names::{GroupResource, GroupVersion, ObjectKey},
};
use triune_schema::Facts;
use triune_store::types::{Attributes, AttributesOf};

use crate::{registry::Resource, verbs::answer::metadata_end};

/// One version of a group and what it serves.
#[derive(Clone)]
pub struct InstalledVersion {
    /// Such as `apps/v1`.
    pub group_version: GroupVersion,
    /// Groups with higher figures come first in discovery; the highest of its versions counts.
    pub group_priority: i32,
    /// Versions with higher figures come first within the group.
    pub version_priority: i32,
    /// Its resources, sorted by name when installed.
    pub resources: Vec<Arc<Resource>>,
}

/// What is served at one moment.
#[derive(Default)]
pub struct ResourcesSnapshot {
    generation: u64,
    /// In the order of discovery.
    versions: Vec<Arc<InstalledVersion>>,
    /// group -> version -> resource.
    index: BTreeMap<Arc<str>, BTreeMap<Arc<str>, BTreeMap<Box<str>, Arc<Resource>>>>,
    /// What selectors look at, for each resource that is stored.
    attributes: BTreeMap<GroupResource, Arc<StoredAttributes>>,
}

/// Takes labels and selectable fields out of stored bytes: those of every version in which the resource is served.
struct StoredAttributes {
    /// Versions that have selectable fields of their own.
    selecting: Vec<Arc<Resource>>,
}

/// The live registry.
#[derive(Default)]
pub struct Resources {
    current: ArcSwap<ResourcesSnapshot>,
    /// Held while a snapshot is replaced: writers come one after the other.
    writing: Mutex<()>,
}

impl ResourcesSnapshot {
    /// Grows with every change: what is computed from a snapshot is fresh while the number stays.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Looks a resource up by group, version and plural.
    pub fn get(&self, group: &str, version: &str, resource: &str) -> Option<&Arc<Resource>> {
        self.index.get(group)?.get(version)?.get(resource)
    }

    /// Group versions in the order of discovery: groups by priority, then name; within a group, versions likewise.
    pub fn versions(&self) -> &[Arc<InstalledVersion>] {
        &self.versions
    }

    /// The installed version, if it is there.
    pub fn version(&self, group: &str, version: &str) -> Option<&Arc<InstalledVersion>> {
        self.versions
            .iter()
            .find(|installed| *installed.group_version.group == *group && *installed.group_version.version == *version)
    }

    /// Whether a group version has a resource of this kind.
    pub fn serves_kind(&self, group_version: &GroupVersion, kind: &str) -> bool {
        let version = self.version(&group_version.group, &group_version.version);
        version.is_some_and(|version| version.resources.iter().any(|resource| *resource.gvk.kind == *kind))
    }

    /// The table of types that its resources are from; None if none of them has facts.
    pub fn facts(&self) -> Option<&Arc<Facts>> {
        let mut resources = self.versions.iter().flat_map(|version| &version.resources);
        resources.find_map(|resource| resource.schema.as_ref()).map(|declared| &declared.facts)
    }

    /// What selectors look at in the objects of a stored resource.
    pub fn attributes_of(&self, storage: &GroupResource) -> Arc<dyn AttributesOf> {
        match self.attributes.get(storage) {
            Some(attributes) => attributes.clone(),
            None => Arc::new(StoredAttributes { selecting: Vec::new() }),
        }
    }

    fn of(generation: u64, mut versions: Vec<Arc<InstalledVersion>>) -> ResourcesSnapshot {
        let mut group_priorities: BTreeMap<Arc<str>, i32> = BTreeMap::new();
        for installed in &versions {
            let priority = group_priorities.entry(installed.group_version.group.clone()).or_insert(i32::MIN);
            *priority = installed.group_priority.max(*priority);
        }
        versions.sort_by_cached_key(|installed| {
            let GroupVersion { group, version } = installed.group_version.clone();
            let group_priority = group_priorities.get(&group).copied().unwrap_or(i32::MIN);
            (Reverse(group_priority), group, Reverse(installed.version_priority), version)
        });
        let mut index: BTreeMap<Arc<str>, BTreeMap<Arc<str>, BTreeMap<Box<str>, Arc<Resource>>>> = BTreeMap::new();
        for installed in &versions {
            let GroupVersion { group, version } = installed.group_version.clone();
            let resources = index.entry(group).or_default().entry(version).or_default();
            for resource in &installed.resources {
                resources.insert(resource.name.as_str().into(), resource.clone());
            }
        }
        let mut attributes: BTreeMap<GroupResource, StoredAttributes> = BTreeMap::new();
        for resource in versions.iter().flat_map(|version| &version.resources) {
            let stored = attributes
                .entry(resource.storage.clone())
                .or_insert_with(|| StoredAttributes { selecting: Vec::new() });
            if !resource.strategy.selectable_paths().is_empty() {
                stored.selecting.push(resource.clone());
            }
        }
        let attributes = attributes.into_iter().map(|(storage, stored)| (storage, Arc::new(stored))).collect();
        ResourcesSnapshot { generation, versions, index, attributes }
    }
}

impl AttributesOf for StoredAttributes {
    fn attributes_of(&self, key: &ObjectKey, body: &[u8]) -> Attributes {
        let mut fields = BTreeMap::from([
            ("metadata.name".to_string(), key.name.to_string()),
            ("metadata.namespace".to_string(), key.namespace.to_string()),
        ]);
        for resource in &self.selecting {
            let Ok(mut tree) = meta::body_to_value(body) else { continue };
            if let Some(convert) = resource.strategy.storage_to_served() {
                tree = convert(tree);
            }
            let selectable = resource.strategy.selectable_fields(&tree).into_iter();
            fields.extend(selectable.map(|(path, value)| (path.into_owned(), value)));
        }
        Attributes { labels: labels_of(body), fields }
    }
}

/// `metadata.labels` of a stored body: the rest of it is not looked at.
fn labels_of(body: &[u8]) -> BTreeMap<String, String> {
    #[derive(serde::Deserialize, Default)]
    struct Metadata {
        #[serde(default)]
        labels: Option<BTreeMap<String, String>>,
    }
    const HEAD: usize = "\"metadata\":".len();
    let metadata = body.get(HEAD..metadata_end(body)).unwrap_or_default();
    let metadata: Metadata = serde_json::from_slice(metadata).unwrap_or_default();
    metadata.labels.unwrap_or_default()
}

impl Resources {
    /// Serves nothing yet.
    pub fn new() -> Resources {
        Resources::default()
    }

    /// What is served now, for the span of a lookup. Hold [`Resources::snapshot`] across an await instead.
    pub fn load(&self) -> Guard<Arc<ResourcesSnapshot>> {
        self.current.load()
    }

    /// What is served now, to keep.
    pub fn snapshot(&self) -> Arc<ResourcesSnapshot> {
        self.current.load_full()
    }

    /// Adds a group version, or replaces it.
    pub fn install(&self, version: InstalledVersion) {
        self.install_all([version]);
    }

    /// Adds or replaces several group versions in one step.
    pub fn install_all(&self, installed: impl IntoIterator<Item = InstalledVersion>) {
        let added: Vec<Arc<InstalledVersion>> = installed
            .into_iter()
            .map(|mut version| {
                version.resources.sort_by(|left, right| left.name.cmp(&right.name));
                Arc::new(version)
            })
            .collect();
        self.change(|versions| {
            versions.retain(|old| added.iter().all(|new| new.group_version != old.group_version));
            versions.extend(added);
        });
    }

    /// Removes a group version; nothing happens if it is not there.
    pub fn remove(&self, group_version: &GroupVersion) {
        self.change(|versions| versions.retain(|installed| installed.group_version != *group_version));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<InstalledVersion>>)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load();
        let mut versions = current.versions.clone();
        change(&mut versions);
        self.current.store(Arc::new(ResourcesSnapshot::of(current.generation + 1, versions)));
    }
}

#[cfg(test)]
mod tests {
    use triune_api::{
        Value,
        names::{GroupResource, GroupVersionKind},
    };

    use super::*;
    use crate::registry::{Column, Strategy};

    struct Plain;
    impl Strategy for Plain {
        fn columns(&self) -> Vec<Column> {
            Vec::new()
        }
        fn cells(&self, _: &Value, _: jiff::Timestamp) -> Vec<Value> {
            Vec::new()
        }
    }

    fn installed(group: &str, version: &str, priorities: (i32, i32), names: &[&str]) -> InstalledVersion {
        let resource = |name: &&str| {
            Arc::new(Resource {
                gvk: GroupVersionKind::new(group, version, name),
                list_kind: format!("{name}List"),
                name: (*name).into(),
                singular: String::new(),
                short_names: Vec::new(),
                categories: Vec::new(),
                namespaced: true,
                verbs: Vec::new(),
                storage: GroupResource::new(group, name),
                storage_version_hash: String::new(),
                schema: None,
                strategy: Arc::new(Plain),
                subresources: BTreeMap::new(),
                custom: None,
            })
        };
        InstalledVersion {
            group_version: GroupVersion::new(group, version),
            group_priority: priorities.0,
            version_priority: priorities.1,
            resources: names.iter().map(resource).collect(),
        }
    }

    fn listing(snapshot: &ResourcesSnapshot) -> String {
        let line = |version: &Arc<InstalledVersion>| {
            let names: Vec<&str> = version.resources.iter().map(|resource| resource.name.as_str()).collect();
            format!("{}: {}", version.group_version, names.join(" "))
        };
        snapshot.versions().iter().map(line).collect::<Vec<String>>().join("; ")
    }

    #[test]
    fn order_is_by_priority_then_name() {
        let resources = Resources::new();
        resources.install(installed("b", "v1", (10, 1), &["z", "a"]));
        resources.install(installed("b", "v2", (9, 2), &["a"]));
        resources.install(installed("a", "v1", (10, 1), &["a"]));
        resources.install(installed("", "v1", (18, 1), &["pods"]));
        assert_eq!(listing(&resources.load()), "v1: pods; a/v1: a; b/v2: a; b/v1: a z");
    }

    #[test]
    fn a_snapshot_outlives_changes() {
        let resources = Resources::new();
        resources.install(installed("a", "v1", (1, 1), &["x"]));
        let before = resources.snapshot();
        resources.install(installed("a", "v1", (1, 1), &["y"]));
        assert!(before.get("a", "v1", "x").is_some() && before.get("a", "v1", "y").is_none());
        let after = resources.snapshot();
        assert!(after.get("a", "v1", "x").is_none() && after.get("a", "v1", "y").is_some());
        assert!(after.generation() > before.generation());
        resources.remove(&GroupVersion::new("a", "v1"));
        assert!(resources.load().get("a", "v1", "y").is_none() && resources.load().version("a", "v1").is_none());
    }
}
