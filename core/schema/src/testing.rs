//! The built-in table, for tests.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use triune_api::names::GroupVersion;

use crate::{Facts, TypeRef};

/// The table that the built-in groups are served with.
pub(crate) static BUILT_IN: LazyLock<Arc<Facts>> = LazyLock::new(|| {
    Facts::parse(include_str!("../../kube/facts/types.txt")).expect("the committed table can be read")
});

/// The type of an object.
pub(crate) fn built_in(object: &Value) -> TypeRef {
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_string();
    let group_version = GroupVersion::parse(&text("apiVersion")).expect("an apiVersion");
    BUILT_IN.type_of(&group_version.with_kind(&text("kind"))).unwrap_or_else(|| panic!("no type {}", text("kind")))
}
