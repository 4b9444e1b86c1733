//! What there is: `resources.tsv` and `groups.tsv`, parsed once at start into the resources that the verbs serve.
//!
//! The files are the one place for names, scope, verbs, short names, categories, subresources, storage versions and the
//! flags of the generic behaviour. Discovery is a function of them; a test compares it with the reference's.

use std::{collections::BTreeMap, sync::Arc};

use base64::Engine as _;
use serde_json::json;
use sha2::{Digest, Sha256};
use triune_api::names::{GroupResource, GroupVersion, GroupVersionKind};
use triune_machinery::registry::{Resource, ScalePaths, Serving, Subresource};
use triune_schema::{Facts, FactsError};

use crate::{
    kind::{FinalizeStrategy, Flags, MainStrategy, NameRule, StatusMetadata, StatusStrategy},
    kinds,
    settings::Settings,
};

const RESOURCES: &str = include_str!("../resources.tsv");
const GROUPS: &str = include_str!("../groups.tsv");

/// A data file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} line {line}: {why}")]
pub struct CatalogError {
    /// Which file.
    pub file: &'static str,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

/// Where a group's version stands among the others (crd-lifecycle 1.12): discovery lists groups by falling priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPriority {
    /// The group's version.
    pub group_version: GroupVersion,
    /// `groupPriorityMinimum` of its APIService.
    pub group_priority_minimum: i32,
    /// `versionPriority` of its APIService: the version with the highest is preferred.
    pub version_priority: i32,
}

/// The types of the built-in kinds.
pub fn facts() -> Result<Arc<Facts>, FactsError> {
    Facts::parse(include_str!("../facts/types.txt"))
}

/// The built-in groups in the order of discovery; of a group's versions the preferred one comes first.
pub fn group_priorities() -> Result<Vec<GroupPriority>, CatalogError> {
    lines(GROUPS)
        .map(|(line, fields)| {
            let error = |why: &str| CatalogError { file: "groups.tsv", line, why: why.into() };
            let [group, version, group_priority, version_priority] = fields[..] else {
                return Err(error("four fields are needed"));
            };
            Ok(GroupPriority {
                group_version: GroupVersion::new(group, version),
                group_priority_minimum: group_priority.parse().map_err(|_| error("the group priority is no number"))?,
                version_priority: version_priority.parse().map_err(|_| error("the version priority is no number"))?,
            })
        })
        .collect()
}

/// All built-in resources with the default settings, in the order of discovery.
pub fn resources(facts: &Arc<Facts>) -> Result<Vec<Resource>, CatalogError> {
    resources_with(facts, Settings::default())
}

/// All built-in resources, in the order of discovery.
pub fn resources_with(facts: &Arc<Facts>, settings: Settings) -> Result<Vec<Resource>, CatalogError> {
    let settings = Arc::new(settings);
    let rows = lines(RESOURCES).map(|(line, fields)| Row::parse(line, &fields)).collect::<Result<Vec<_>, _>>()?;
    let mut resources: Vec<Resource> = Vec::new();
    for row in &rows {
        match row.resource.split_once('/') {
            None => {
                let status = rows.iter().any(|other| other.is_status_of(row));
                resources.push(row.resource(facts, &settings, status));
            }
            Some((parent, name)) => {
                let parent = resources.last_mut().filter(|last| last.name == parent);
                let Some(parent) = parent else { return Err(row.error("does not follow its resource")) };
                parent.subresources.insert(name.into(), row.subresource(&parent.name, name));
            }
        }
    }
    Ok(resources)
}

/// As the reference computes it: eight bytes of SHA-256 of `group/version/Kind`, in base64.
fn storage_version_hash(gvk: &GroupVersionKind) -> String {
    let text = format!("{}/{}/{}", gvk.group, gvk.version, gvk.kind);
    base64::engine::general_purpose::STANDARD.encode(&Sha256::digest(text)[..8])
}

/// The fields of each line that is no comment, `-` as "".
fn lines(text: &'static str) -> impl Iterator<Item = (usize, Vec<&'static str>)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#') && !line.is_empty())
        .map(|(index, line)| (index + 1, line.split('\t').map(|field| if field == "-" { "" } else { field }).collect()))
}

/// One line of `resources.tsv`.
struct Row {
    line: usize,
    group_version: GroupVersion,
    resource: &'static str,
    gvk: GroupVersionKind,
    namespaced: bool,
    singular: &'static str,
    short_names: Vec<String>,
    categories: Vec<String>,
    verbs: Vec<String>,
    stored: &'static str,
    flags: Flags,
}

impl Row {
    fn parse(line: usize, fields: &[&'static str]) -> Result<Row, CatalogError> {
        let error = |why: String| CatalogError { file: "resources.tsv", line, why };
        let [group, version, resource, kind, scope, singular, short_names, categories, verbs, stored, flags] =
            fields[..]
        else {
            return Err(error(format!("eleven fields are needed, there are {}", fields.len())));
        };
        let group_version = GroupVersion::new(group, version);
        let list = |text: &str| text.split(',').filter(|part| !part.is_empty()).map(String::from).collect::<Vec<_>>();
        Ok(Row {
            line,
            gvk: match kind.rsplit_once('/') {
                None => group_version.with_kind(kind),
                Some((of, kind)) => {
                    GroupVersion::parse(of).ok_or_else(|| error(format!("no kind: {kind}")))?.with_kind(kind)
                }
            },
            group_version,
            resource,
            namespaced: match scope {
                "Namespaced" => true,
                "Cluster" => false,
                other => return Err(error(format!("no scope: {other}"))),
            },
            singular,
            short_names: list(short_names),
            categories: list(categories),
            verbs: list(verbs),
            stored,
            flags: parse_flags(flags).map_err(error)?,
        })
    }

    fn error(&self, why: &str) -> CatalogError {
        CatalogError { file: "resources.tsv", line: self.line, why: format!("{} {why}", self.resource) }
    }

    fn group_resource(&self, resource: &str) -> GroupResource {
        GroupResource { group: self.group_version.group.clone(), resource: resource.into() }
    }

    fn is_status_of(&self, row: &Row) -> bool {
        self.group_version == row.group_version && self.resource.strip_suffix("/status") == Some(row.resource)
    }

    fn resource(&self, facts: &Arc<Facts>, settings: &Arc<Settings>, status: bool) -> Resource {
        let (storage, stored_gvk) = self.storage();
        let kind = kinds::of(&self.group_version, self.resource);
        let schema = facts.type_of(&self.gvk);
        let mut empty = json!({"status": {}});
        if let Some(schema) = &schema {
            schema.normalise(&mut empty);
        }
        let flags = Flags { status, ..self.flags.clone() };
        let strategy = MainStrategy::new(kind, flags, settings.clone(), empty["status"].take());
        Resource {
            gvk: self.gvk.clone(),
            list_kind: format!("{}List", self.gvk.kind),
            name: self.resource.into(),
            singular: self.singular.into(),
            short_names: self.short_names.clone(),
            categories: self.categories.clone(),
            namespaced: self.namespaced,
            verbs: self.verbs.clone(),
            storage,
            storage_version_hash: stored_gvk.as_ref().map(storage_version_hash).unwrap_or_default(),
            schema,
            strategy: Arc::new(strategy),
            subresources: BTreeMap::new(),
            custom: kinds::never_stored(&self.gvk),
        }
    }

    /// Where it is stored, and as what; None if it never is.
    fn storage(&self) -> (GroupResource, Option<GroupVersionKind>) {
        match self.stored.split('/').collect::<Vec<_>>()[..] {
            ["none"] => (self.group_resource(self.resource), None),
            [version, resource] => {
                (GroupResource::new("", resource), Some(GroupVersionKind::new("", version, &self.gvk.kind)))
            }
            [group, version, resource] => {
                (GroupResource::new(group, resource), Some(GroupVersionKind::new(group, version, &self.gvk.kind)))
            }
            _ => (self.group_resource(self.resource), Some(self.gvk.clone())),
        }
    }

    fn subresource(&self, parent: &str, name: &str) -> Subresource {
        let kind = kinds::of(&self.group_version, parent);
        let serving = match name {
            "status" => Serving::Object(Arc::new(StatusStrategy { kind, metadata: self.flags.status_metadata })),
            "finalize" => Serving::Object(Arc::new(FinalizeStrategy { kind })),
            "scale" => Serving::Scale(ScalePaths {
                spec_replicas: "/spec/replicas".into(),
                status_replicas: "/status/replicas".into(),
                selector: Some("/spec/selector".into()),
            }),
            _ => kinds::subresource(parent, name),
        };
        Subresource { gvk: self.gvk.clone(), verbs: self.verbs.clone(), serving }
    }
}

fn parse_flags(text: &str) -> Result<Flags, String> {
    let mut flags = Flags::default();
    for flag in text.split(',').filter(|flag| !flag.is_empty()) {
        match flag {
            "generation" => flags.generation = true,
            "create-on-update" => flags.create_on_update = true,
            "conditional" => flags.conditional = true,
            "name=label" => flags.name = NameRule::Label,
            "name=path" => flags.name = NameRule::PathSegment,
            "metadata=old" => flags.status_metadata = StatusMetadata::Old,
            "metadata=old-labels" => flags.status_metadata = StatusMetadata::OldLabels,
            "metadata=old-owners" => flags.status_metadata = StatusMetadata::OldOwners,
            other => return Err(format!("no flag: {other}")),
        }
    }
    Ok(flags)
}
