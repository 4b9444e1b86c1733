//! Tables: the golden file has, for each built-in kind, the columns that a kube-apiserver v1.37.2 answers, and objects with
//! their cells and the conditions of their rows. A cell that changes with the time is `<time>`.
//!
//! A section of the file is `table VERSION KIND`, a line `name: type format priority` for each column, and for each object
//! the object as it is served, its cells, and `conditions` if its row has some.

use std::{error::Error, sync::Arc};

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use triune_kube::{facts, resources};
use triune_machinery::registry::{Resource, Strategy};

const GOLDEN: &str = include_str!("tables.golden");

/// Cells at two times, those that differ replaced.
fn cells(strategy: &dyn Strategy, object: &Value) -> Result<Value, Box<dyn Error>> {
    let now: Timestamp = "2030-01-01T00:00:00Z".parse()?;
    let later = now.checked_add(24000.hours())?;
    let cells = strategy.cells(object, now).into_iter().zip(strategy.cells(object, later));
    Ok(cells.map(|(cell, after)| if cell == after { cell } else { json!("<time>") }).collect())
}

fn columns(strategy: &dyn Strategy) -> Vec<String> {
    let format = |format: &str| if format.is_empty() { "-".to_string() } else { format.to_string() };
    let columns = strategy.columns().into_iter();
    columns
        .map(|column| format!("{}: {} {} {}", column.name, column.kind, format(&column.format), column.priority))
        .collect()
}

/// Compares one section; returns how many objects it has.
fn check(resources: &[Resource], section: &str) -> Result<usize, Box<dyn Error>> {
    let mut lines = section.lines().peekable();
    let head = lines.next().ok_or("an empty section")?;
    let (api_version, kind) = head.split_once(' ').ok_or("a section is `VERSION KIND`")?;
    let serves = |resource: &&Resource| resource.gvk.api_version() == api_version && &*resource.gvk.kind == kind;
    let resource = resources.iter().find(serves).ok_or_else(|| format!("no resource for {head}"))?;
    let strategy: &Arc<dyn Strategy> = &resource.strategy;
    let mut expected = Vec::new();
    while let Some(column) = lines.next_if(|line| line.starts_with("  ")) {
        expected.push(column.trim().to_string());
    }
    assert_eq!(columns(&**strategy), expected, "columns of {head}");
    let mut objects = 0;
    while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
        let object: Value = serde_json::from_str(line.strip_prefix("object ").ok_or("an object was expected")?)?;
        let expected: Value = serde_json::from_str(lines.next().ok_or("cells were expected")?)?;
        let name = &object["metadata"]["name"];
        assert_eq!(cells(&**strategy, &object)?, expected, "cells of {head} {name}");
        let conditions = lines.next_if(|line| line.starts_with("  conditions "));
        let conditions = conditions.map_or("[]", |line| line.trim_start_matches("  conditions "));
        let expected: Value = serde_json::from_str(conditions)?;
        assert_eq!(json!(strategy.row_conditions(&object)), expected, "conditions of {head} {name}");
        objects += 1;
    }
    Ok(objects)
}

#[test]
fn tables_are_the_references() -> Result<(), Box<dyn Error>> {
    let resources = resources(&facts()?)?;
    let mut objects = 0;
    for section in GOLDEN.split("\ntable ").skip(1) {
        let found = check(&resources, section)?;
        assert!(found > 0, "no objects in {section}");
        objects += found;
    }
    assert!(objects > 100, "{objects}");
    Ok(())
}

#[test]
fn one_storage_class_is_marked_as_the_default() -> Result<(), Box<dyn Error>> {
    let resources = resources(&facts()?)?;
    let resource = resources.iter().find(|resource| resource.name == "storageclasses").ok_or("no storage classes")?;
    let class = |name: &str, created: &str, default: &str| {
        let annotations = json!({"storageclass.kubernetes.io/is-default-class": default});
        json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": annotations}})
    };
    let (early, late) = ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
    let check = |classes: &[Value], expect: Option<&str>| {
        let marked = resource.strategy.default_of(classes).map(|class| class["metadata"]["name"].clone());
        assert_eq!(marked, expect.map(|name| json!(name)), "{classes:?}");
    };
    check(&[], None);
    check(&[class("a", early, "false"), json!({"metadata": {"name": "b"}})], None);
    check(&[class("a", early, "true"), class("b", late, "true"), class("c", late, "false")], Some("b"));
    check(&[class("b", late, "true"), class("a", late, "true")], Some("a"));
    assert!(resource.strategy.marks_default());
    Ok(())
}
