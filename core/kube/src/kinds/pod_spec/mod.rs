//! Pod specs, of pods and of templates: what is set where a client left it out, and what is wrong with the rest (kubernetes
//! `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation`).
//!
//! Rules keep the reference's order and words; paths are chains on the stack that only errors print. In reading order:
//! [`defaults`], [`validate`] (the spec as a whole), [`containers`] with [`environment`], [`handlers`] (probes, lifecycle),
//! [`mounts`] and [`resources`]; [`volumes`] and [`projections`]; [`security`] and [`windows`]; [`scheduling`];
//! [`template`] (specs with metadata), [`tolerated`] (what an update may keep), [`disabled`], [`warnings`] with [`overlaps`].

pub mod containers;
pub mod defaults;
pub mod disabled;
pub mod environment;
pub mod handlers;
pub mod mounts;
pub mod overlaps;
pub mod projections;
pub mod resources;
pub mod scheduling;
pub mod security;
pub mod template;
pub mod tolerated;
pub mod validate;
pub mod volumes;
pub mod warnings;
pub mod windows;

use std::collections::BTreeMap;

use triune_api::{Value, field::FieldError, path::Path};

pub use defaults::{defaults_at, persistent_source_defaults, template_defaults};
pub use tolerated::Tolerated;

use crate::tree;

/// The default completion of a pod spec.
pub use defaults::defaults as complete;

/// Where a pod spec keeps containers, in the reference's order of visits.
pub const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// What the rules of a part need to know of the whole.
pub struct Whole<'a> {
    /// The spec is a pod's own, not a template's.
    pub is_pod: bool,
    /// What is tolerated because the object had it before.
    pub tolerated: Tolerated,
    /// The valid volumes by name.
    pub volumes: BTreeMap<&'a str, &'a Value>,
    /// The names of resource claims.
    pub claims: Vec<&'a str>,
    /// `restartPolicy`
    pub restart_policy: &'a str,
    /// `terminationGracePeriodSeconds`
    pub grace_seconds: Option<i64>,
    /// `os.name`, where there is `os`.
    pub os: Option<&'a str>,
    /// Whether the pod uses the host's user namespace.
    pub host_users: bool,
}

/// Drops fields of disabled features from the pod spec at a JSON pointer; `old` is the object before an update.
pub fn drop_disabled(object: &mut Value, pointer: &str, old: Option<&Value>) {
    let old = old.and_then(|old| tree::some(old, pointer));
    if let Some(spec) = tree::object_mut(object, pointer) {
        disabled::drop(spec, old);
    }
}

/// Visits all containers with their paths.
pub fn each_container<'a>(spec: &'a Value, path: &Path<'_>, mut visit: impl FnMut(&'a Value, &Path<'_>)) {
    for list in CONTAINER_LISTS {
        let path = path.field(list);
        for (index, container) in list_of(spec, list).iter().enumerate() {
            visit(container, &path.index(index));
        }
    }
}

/// The items of the list under `key`.
pub fn list_of<'a>(tree: &'a Value, key: &str) -> &'a [Value] {
    tree.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The text under `key`; "" if there is none.
pub fn text_of<'a>(tree: &'a Value, key: &str) -> &'a str {
    tree.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// What is under `key`, unless null.
pub fn some_of<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    tree.get(key).filter(|value| !value.is_null())
}

/// The integer under `key`.
pub fn integer_of(tree: &Value, key: &str) -> Option<i64> {
    tree.get(key).and_then(Value::as_i64)
}

/// Whether there is `true` under `key`.
pub fn is_true(tree: &Value, key: &str) -> bool {
    tree.get(key).and_then(Value::as_bool).unwrap_or_default()
}

/// A text that must be given.
pub fn required(tree: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if text_of(tree, key).is_empty() {
        errors.push(path.field(key).required(""));
    }
}

/// A text that must be given, and be one of a few.
pub fn one_of(tree: &Value, key: &str, supported: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match text_of(tree, key) {
        "" => errors.push(path.field(key).required("")),
        text if supported.contains(&text) => {}
        text => errors.push(path.field(key).not_supported(text, supported)),
    }
}

/// A text that must be one of a few if it is given.
pub fn optional_one_of(tree: &Value, key: &str, supported: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(text) = tree.get(key).and_then(Value::as_str)
        && !supported.contains(&text)
    {
        errors.push(path.field(key).not_supported(text, supported));
    }
}

/// A number that may not be negative.
pub fn not_negative(tree: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(number) = integer_of(tree, key)
        && number < 0
    {
        errors.push(path.field(key).invalid(number, "must be greater than or equal to 0"));
    }
}

/// An annotation.
pub fn annotation<'a>(metadata: &'a Value, key: &str) -> Option<&'a str> {
    tree::map(metadata, "/annotations")?.get(key)?.as_str()
}
