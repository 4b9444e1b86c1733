//! Objects, names, `Status`, selectors, patches and codecs of the Kubernetes API: pure functions over JSON trees.
//!
//! In reading order:
//!
//! - [`names`]: group, version, kind and resource names; object keys
//! - [`status`]: error and success answers (`Status` objects)
//! - [`field`]: validation errors with field paths
//! - [`path`]: where a value is, and the errors there
//! - [`meta`]: object metadata: reading and writing its fields in a JSON tree
//! - [`validation`]: names, labels, annotations, finalizers, owner references as the reference words them
//! - [`selector`]: label and field selectors
//! - [`time`]: RFC 3339 times as the API prints them
//! - [`decode`]: JSON and YAML bodies, bounded and strict
//! - [`patch`]: JSON patch and JSON merge patch
//! - [`quantity`]: amounts such as `100m` and `1.5Gi`

pub mod decode;
pub mod field;
pub mod meta;
pub mod names;
pub mod patch;
pub mod path;
pub mod quantity;
pub mod selector;
pub mod status;
pub mod time;
pub mod validation;

/// A JSON tree. Its maps are sorted, so that equal objects have equal bytes.
pub type Value = serde_json::Value;
/// A JSON object.
pub type Map = serde_json::Map<String, Value>;
