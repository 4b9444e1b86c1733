//! Kinds with several versions, and types that have changed.

use std::sync::Arc;

use serde_json::Value;
use triune_api::meta;

use super::{ApplyError, paths, tree};
use crate::{
    TypeRef,
    apply::{FieldManager, MergeSchema, ResetFields, Set, Versions},
    facts::Facts,
    testing::built_in,
};

/// A kind whose field `one` is called `two` in `v2`.
struct Renamed;

impl Versions for Renamed {
    fn schema(&self, api_version: &str) -> Option<MergeSchema> {
        matches!(api_version, "g/v1" | "g/v2").then(MergeSchema::deduced)
    }
    fn convert(&self, object: &Value, to: &str) -> Option<Value> {
        let mut object = object.clone();
        let (from, into) = if to == "g/v2" { ("one", "two") } else { ("two", "one") };
        if let Some(moved) = object.as_object_mut()?.remove(from) {
            object[into] = moved;
        }
        object["apiVersion"] = to.into();
        Some(object)
    }
    fn reset_fields(&self, api_version: &str) -> Option<Arc<ResetFields>> {
        (api_version == "g/v1").then(|| Arc::new(ResetFields::These(Set::from_paths(&[&["status"]]))))
    }
}

/// Applies in a version; what was applied before is in `live`.
fn apply(live: &Value, api_version: &str, manager: &str, force: bool, applied: &str) -> Result<Value, ApplyError> {
    let mut applied = tree(applied);
    applied["apiVersion"] = api_version.into();
    applied["kind"] = "K".into();
    let live = match live {
        Value::Null => tree(&format!("{{apiVersion: {api_version}, kind: K}}")),
        live => Renamed.convert(live, api_version).unwrap(),
    };
    let fields = FieldManager { api_version, subresource: "", versions: &Renamed, now: "2026-11-24T10:00:00Z" };
    // Nulls of what is gone are dropped, as decoding does.
    fn drop_nulls(value: &mut Value) {
        if let Value::Object(object) = value {
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(drop_nulls);
        }
    }
    fields.apply(&live, &applied, manager, force, &|object| {
        drop_nulls(object);
        meta::set_uid(object, "u");
    })
}

fn owned(object: &Value) -> Vec<String> {
    let entry = |entry: &Value| {
        let set = Set::parse(&entry["fieldsV1"]).unwrap();
        let text = |field: &str| entry[field].as_str().unwrap();
        format!("{} {} {}: {}", text("manager"), text("operation"), text("apiVersion"), paths(&set).join(" "))
    };
    meta::managed_fields(object).iter().map(entry).collect()
}

#[test]
fn fields_are_the_same_in_every_version() {
    let first = apply(&Value::Null, "g/v1", "a", false, "{one: {x: 1, y: 2}, other: 1}").unwrap();
    assert_eq!(owned(&first), ["a Apply g/v1: .one .other .one.x .one.y"]);
    // Another one conflicts in its own version; the path is that of the owner's.
    let refused = apply(&first, "g/v2", "b", false, "{two: {x: 5}}").unwrap_err();
    assert_eq!(refused.to_string(), r#"Apply failed with 1 conflict: conflict with "a": .one.x"#);
    let second = apply(&first, "g/v2", "b", true, "{two: {x: 5}}").unwrap();
    assert_eq!(owned(&second), ["a Apply g/v1: .one .other .one.y", "b Apply g/v2: .two .two.x"]);
    // What was applied in one version goes in another, unless somebody owns it in whatever version.
    let third = apply(&second, "g/v2", "a", false, "{other: 1}").unwrap();
    assert_eq!((&third["two"], &third["other"]), (&tree("{x: 5}"), &Value::from(1)));
    assert_eq!(owned(&third), ["a Apply g/v2: .other", "b Apply g/v2: .two .two.x"]);
    let fourth = apply(&third, "g/v1", "b", false, "{}").unwrap();
    assert_eq!((fourth.get("one"), &fourth["other"]), (None, &Value::from(1)));
    assert_eq!(owned(&fourth), ["a Apply g/v2: .other"]);
}

#[test]
fn entries_of_versions_that_are_gone_go() {
    let mut first = apply(&Value::Null, "g/v1", "a", false, "{one: {x: 1}, other: 1}").unwrap();
    first["metadata"]["managedFields"][0]["apiVersion"] = "g/v0".into();
    let second = apply(&first, "g/v1", "b", false, "{one: {x: 2}}").unwrap();
    assert_eq!(owned(&second), ["b Apply g/v1: .one .one.x"]);
    assert_eq!(second["other"], 1);
}

#[test]
fn fields_that_are_reset_are_nobodys() {
    let first = apply(&Value::Null, "g/v1", "a", false, "{one: 1, status: {x: 1}}").unwrap();
    assert_eq!(owned(&first), ["a Apply g/v1: .one"]);
    let second = apply(&first, "g/v2", "b", false, "{two: 1, status: {x: 2}}").unwrap();
    assert_eq!(owned(&second), ["a Apply g/v1: .one", "b Apply g/v2: .status .two .status.x"]);
    // Each version says for itself what is reset.
    let refused = apply(&second, "g/v1", "c", false, "{status: {x: 3}}").unwrap_err();
    assert_eq!(refused.to_string(), r#"Apply failed with 1 conflict: conflict with "b": .status.x"#);
}

/// A built-in kind, with the table of an older or newer release.
struct Release(TypeRef);

impl Versions for Release {
    fn schema(&self, _: &str) -> Option<MergeSchema> {
        Some(self.0.clone().into())
    }
    fn convert(&self, _: &Value, _: &str) -> Option<Value> {
        None
    }
    fn reset_fields(&self, _: &str) -> Option<Arc<ResetFields>> {
        None
    }
}

#[test]
fn what_became_whole_is_owned_as_a_whole() {
    let pod = tree("{apiVersion: v1, kind: Pod}");
    let table = include_str!("../../../../kube/facts/types.txt")
        .replace("nodeSelector\t7\t{string}\to\tm=atomic", "nodeSelector\t7\t{string}\to");
    let granular = Facts::parse(&table).unwrap();
    let granular = Release(granular.type_of(&triune_api::names::GroupVersionKind::new("", "v1", "Pod")).unwrap());
    let mut object = tree(
        "{apiVersion: v1, kind: Pod, metadata: {uid: u}, spec: {containers: null, nodeSelector: {a: b, c: d}}, status: {}}",
    );
    let fields = |versions| FieldManager { api_version: "v1", subresource: "", versions, now: "2026-11-24T10:00:00Z" };
    fields(&granular).update(&pod, &mut object, "a");
    assert_eq!(owned(&object), ["a Update v1: .spec.nodeSelector .spec.nodeSelector.a .spec.nodeSelector.c"]);
    let whole = Release(built_in(&pod));
    let mut next = object.clone();
    next["spec"]["nodeName"] = "n".into();
    fields(&whole).update(&object, &mut next, "b");
    assert_eq!(owned(&next), ["a Update v1: .spec.nodeSelector", "b Update v1: .spec.nodeName"]);
}
