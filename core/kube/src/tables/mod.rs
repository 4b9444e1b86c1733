//! The columns of each kind, and how several of them print lists, selectors and quantities.

pub mod cluster;
pub mod core;
pub mod extensions;
pub mod pods;
pub mod workloads;

use triune_api::{Value, selector::LabelSelector};

use crate::tree;

/// Whether the condition of this type has status True.
fn condition_is_true(object: &Value, condition: &str) -> bool {
    condition_of(object, condition).is_some_and(|condition| tree::text(condition, "/status") == "True")
}

fn condition_of<'a>(object: &'a Value, condition: &str) -> Option<&'a Value> {
    tree::items(object, "/status/conditions").iter().find(|item| tree::text(item, "/type") == condition)
}

fn container_names(object: &Value, pointer: &str) -> String {
    join(tree::items(object, pointer).iter().map(|container| tree::text(container, "/name")), ",")
}

fn container_images(object: &Value, pointer: &str) -> String {
    join(tree::items(object, pointer).iter().map(|container| tree::text(container, "/image")), ",")
}

/// `a=b,c=d`, or `<none>`.
fn format_labels(labels: Option<&Value>) -> String {
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let text: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    if text.is_empty() { "<none>".into() } else { text.join(",") }
}

/// A LabelSelector object as a query, or `<none>`.
fn format_selector(selector: Option<&Value>) -> String {
    match LabelSelector::from_object(selector) {
        Err(_) => "<error>".into(),
        Ok(selector) => match selector.to_string() {
            text if text.is_empty() => "<none>".into(),
            text => text,
        },
    }
}

/// Text or number as text.
fn scalar(value: Option<&Value>, absent: &str) -> String {
    match value {
        None | Some(Value::Null) => absent.into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn join<'a>(parts: impl Iterator<Item = &'a str>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

/// How many items of a list are spelled out.
const ITEMS_SHOWN_MAX: usize = 3;

/// `a,b,c + 2 more...`
fn some_of(items: &[String], empty: &str) -> String {
    let shown = items.iter().take(ITEMS_SHOWN_MAX).cloned().collect::<Vec<_>>().join(",");
    match items.len().saturating_sub(ITEMS_SHOWN_MAX) {
        0 if shown.is_empty() => empty.into(),
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}
