//! `autoscaling/v1 Scale` over the fields of an object (Kubernetes `pkg/registry/apps/deployment/storage`).
//!
//! Invariant: a scale shows uid and resourceVersion of its object; a change of a scale changes nothing else of it.

use std::sync::LazyLock;

use serde_json::json;
use triune_api::{
    Map, Value,
    field::FieldError,
    meta,
    names::{GroupResource, GroupVersionKind},
    selector::LabelSelector,
    status::Status,
};

use super::scope::Scope;
use crate::registry::ScalePaths;

/// The type of a scale.
pub static SCALE: LazyLock<GroupVersionKind> = LazyLock::new(|| GroupVersionKind::new("autoscaling", "v1", "Scale"));

/// The scale of an object.
pub fn scale_of(paths: &ScalePaths, object: &Value) -> Result<Value, Status> {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = meta::metadata(object).and_then(|map| map.get(field)) {
            metadata.insert(field.into(), value.clone());
        }
    }
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    let mut spec = Map::new();
    let replicas = number(&paths.spec_replicas);
    if replicas != 0 {
        spec.insert("replicas".into(), json!(replicas));
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    let selector = paths.selector.as_ref().map(|path| selector_text(object.pointer(path))).transpose()?;
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        status["selector"] = json!(selector);
    }
    Ok(json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}))
}

/// A selector in the text form: from an object, a plain map, or text as it is.
fn selector_text(selector: Option<&Value>) -> Result<String, Status> {
    let Some(selector) = selector else { return Ok(String::new()) };
    match selector {
        Value::String(text) => Ok(text.clone()),
        Value::Object(map) if map.keys().any(|key| key == "matchLabels" || key == "matchExpressions") => {
            let parsed = LabelSelector::from_object(Some(selector));
            parsed.map(|selector| selector.to_string()).map_err(|error| Status::bad_request(error.to_string()))
        }
        Value::Object(map) => {
            let pairs = map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?)));
            Ok(LabelSelector::from_map(pairs).to_string())
        }
        _ => Ok(String::new()),
    }
}

/// The object with the replicas and the resourceVersion of a changed scale.
pub fn apply_scale(scope: &Scope, paths: &ScalePaths, object: &Value, scale: &Value) -> Result<Value, Status> {
    let name = meta::name(object);
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default();
    if replicas < 0 {
        let error = FieldError::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        return Err(Status::invalid(&GroupVersionKind::new("autoscaling", "", "Scale"), name, &[error]));
    }
    let (given, found) = (meta::uid(scale), meta::uid(object));
    if !given.is_empty() && given != found {
        let resource = format!("{}/scale", scope.resource.name);
        let why = format!("Precondition failed: UID in precondition: {given}, UID in object meta: {found}");
        return Err(Status::conflict(&GroupResource::new(&scope.resource.gvk.group, &resource), name, why));
    }
    let mut changed = object.clone();
    set_pointer(&mut changed, &paths.spec_replicas, json!(replicas));
    meta::set_resource_version(&mut changed, meta::resource_version(scale));
    Ok(changed)
}

/// What an apply of a scale says of its object.
pub fn configuration_of(scope: &Scope, paths: &ScalePaths, scale: &Value) -> Result<Value, Status> {
    let (given, expected) = (meta::api_version(scale), SCALE.api_version());
    if given != expected {
        let text = format!(
            "Incorrect version specified in apply patch. Specified patch version: {given}, expected: {expected}"
        );
        return Err(Status::bad_request(text));
    }
    let mut configuration = Value::Object(Map::new());
    meta::set_type(&mut configuration, &scope.resource.gvk);
    if let Some(metadata) = scale.get("metadata") {
        configuration["metadata"] = metadata.clone();
    }
    if let Some(replicas) = scale.pointer("/spec/replicas") {
        set_pointer(&mut configuration, &paths.spec_replicas, replicas.clone());
    }
    Ok(configuration)
}

/// Sets what a JSON pointer names, making the objects on the way.
fn set_pointer(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for key in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(map) = place else { return };
        place = map.entry(key).or_insert(Value::Null);
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_show_the_figures() {
        let check = |selector: Value, expect: Value| {
            let paths = ScalePaths {
                spec_replicas: "/spec/replicas".into(),
                status_replicas: "/status/replicas".into(),
                selector: Some("/spec/selector".into()),
            };
            let object = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "labels": {}},
                "spec": {"replicas": 3, "selector": selector}, "status": {"replicas": 2}});
            let scale = scale_of(&paths, &object).expect("a scale");
            assert_eq!(scale["status"], expect);
            assert_eq!(scale["metadata"], json!({"name": "a", "uid": "u", "resourceVersion": "7"}));
            assert_eq!(scale["spec"], json!({"replicas": 3}));
        };
        check(json!({"matchLabels": {"b": "c", "a": "b"}}), json!({"replicas": 2, "selector": "a=b,b=c"}));
        check(json!({"a": "b"}), json!({"replicas": 2, "selector": "a=b"}));
        check(json!("x in (a)"), json!({"replicas": 2, "selector": "x in (a)"}));
        check(json!(null), json!({"replicas": 2}));
    }

    #[test]
    fn pointers_make_their_way() {
        let mut object = json!({"a": 1});
        set_pointer(&mut object, "/spec/replicas", json!(3));
        assert_eq!(object, json!({"a": 1, "spec": {"replicas": 3}}));
    }
}
