//! What the catalogue says, compared with what a kube-apiserver v1.37.2 lists in discovery. The golden file has a line for
//! each resource (name, kind, scope, singular, short names, categories, verbs, storage version hash), and one for each
//! of its subresources (name, kind with its group and version where they differ, verbs).

use std::fmt::Write;

use triune_api::names::GroupVersionKind;
use triune_machinery::registry::Resource;

const GOLDEN: &str = include_str!("discovery.golden");

#[test]
fn the_catalogue_is_what_the_reference_lists() -> Result<(), Box<dyn std::error::Error>> {
    let resources = triune_kube::resources(&triune_kube::facts()?)?;
    let mut text = String::new();
    let mut group_version = None;
    for resource in &resources {
        if group_version.as_ref() != Some(&resource.gvk.group_version()) {
            group_version = Some(resource.gvk.group_version());
            let group = if resource.gvk.group.is_empty() { "core" } else { &resource.gvk.group };
            writeln!(text, "# {group}/{}", resource.gvk.version)?;
        }
        render(resource, &mut text)?;
    }
    for (index, (ours, theirs)) in text.lines().zip(GOLDEN.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {}", index + 1);
    }
    assert_eq!(text.lines().count(), GOLDEN.lines().count());
    Ok(())
}

fn render(resource: &Resource, text: &mut String) -> std::fmt::Result {
    let list = |items: &[String]| if items.is_empty() { "-".into() } else { items.join(",") };
    let hash = Some(resource.storage_version_hash.as_str()).filter(|hash| !hash.is_empty()).unwrap_or("-");
    writeln!(
        text,
        "{} {} {} {} {} {} {} {hash}",
        resource.name,
        resource.gvk.kind,
        if resource.namespaced { "Namespaced" } else { "Cluster" },
        resource.singular,
        list(&resource.short_names),
        list(&resource.categories),
        list(&resource.verbs),
    )?;
    for (name, subresource) in &resource.subresources {
        let kind = kind(&subresource.gvk, &resource.gvk);
        writeln!(text, "  {name} {kind} {}", subresource.verbs.join(","))?;
    }
    Ok(())
}

/// Short where the group and version are the resource's.
fn kind(gvk: &GroupVersionKind, parent: &GroupVersionKind) -> String {
    if gvk.group_version() == parent.group_version() {
        gvk.kind.to_string()
    } else {
        format!("{}/{}", gvk.api_version(), gvk.kind)
    }
}

#[test]
fn every_served_version_has_a_priority() -> Result<(), Box<dyn std::error::Error>> {
    let priorities = triune_kube::group_priorities()?;
    for resource in triune_kube::resources(&triune_kube::facts()?)? {
        let group_version = resource.gvk.group_version();
        assert!(priorities.iter().any(|priority| priority.group_version == group_version), "{group_version}");
    }
    Ok(())
}

#[test]
fn every_kind_has_a_type() -> Result<(), Box<dyn std::error::Error>> {
    for resource in triune_kube::resources(&triune_kube::facts()?)? {
        assert!(resource.schema.is_some(), "{:?}", resource.gvk);
    }
    Ok(())
}

#[test]
fn every_table_has_a_cell_a_column() -> Result<(), Box<dyn std::error::Error>> {
    let now = "2026-11-24T08:00:00Z".parse()?;
    let object = serde_json::json!({"metadata": {"name": "a", "creationTimestamp": "2026-11-24T07:59:30Z"}});
    for resource in triune_kube::resources(&triune_kube::facts()?)? {
        let columns = resource.strategy.columns();
        let cells = resource.strategy.cells(&object, now);
        // The reference has a cell for the age of an address, and no column for it.
        let without_heading = usize::from(resource.name == "ipaddresses");
        assert_eq!(columns.len() + without_heading, cells.len(), "{}", resource.name);
        for (column, cell) in columns.iter().zip(&cells) {
            match &*column.name {
                "Name" => assert_eq!(cell, "a", "{}", resource.name),
                "Age" => assert_eq!(cell, "30s", "{}", resource.name),
                _ => {}
            }
        }
    }
    Ok(())
}
