//! OpenAPI documents of the built-in groups.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use triune_api::names::{GroupVersion, GroupVersionKind};
use triune_schema::openapi::{ServedResource, ServedSubresource, Source, group_version_document};

use super::{difference, facts, json_files, module_folder};

const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

#[test]
fn documents_say_the_same() {
    let facts = facts();
    let (mut documents, mut schema_count, mut operation_count) = (0, 0, 0);
    let mut differences = Vec::new();
    for (name, theirs) in json_files(module_folder("k8s.io/kubernetes@v1.37.2").join("api/openapi-spec/v3")) {
        let Some(group_version) = group_version_of(&name) else { continue };
        let resources = resources_of(&theirs, &group_version);
        if resources.is_empty() {
            continue;
        }
        documents += 1;
        let source = Source { facts: &facts, version: "unversioned", descriptions: None };
        let mut ours: Value =
            serde_json::from_slice(&group_version_document(source, &group_version, &resources)).unwrap();
        let mut theirs = theirs;
        for document in [&mut theirs, &mut ours] {
            reduce(document);
            // Its fields are the only ones without prose, so that references to schemas stand there as they are.
            if let Some(schema) = document["components"]["schemas"].get_mut(SCHEMA) {
                unwrap_references(schema);
            }
        }
        schema_count +=
            compare(&name, &ours["components"]["schemas"], &theirs["components"]["schemas"], &mut differences);
        operation_count += compare(&name, &ours["paths"], &theirs["paths"], &mut differences);
    }
    println!("{documents} documents, {schema_count} schemas, {operation_count} paths are the same");
    assert_eq!(differences, Vec::<String>::new());
    assert!(documents > 30 && schema_count > 1200 && operation_count > 570);
}

fn unwrap_references(schema: &mut Value) {
    for property in schema["properties"].as_object_mut().unwrap().values_mut() {
        if let (Some(reference), 1) =
            (property.pointer("/allOf/0").and_then(Value::as_object).cloned(), property.as_object().unwrap().len())
        {
            *property = Value::Object(reference);
        }
    }
}

/// Compares entry by entry; gives the number of equal ones.
fn compare(document: &str, ours: &Value, theirs: &Value, differences: &mut Vec<String>) -> usize {
    let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let absent = json!("(absent)");
    let mut equal = 0;
    for name in names {
        let (ours, theirs) = (ours.get(name).unwrap_or(&absent), theirs.get(name).unwrap_or(&absent));
        match difference("", theirs, ours) {
            Some(difference) => differences.push(format!("{document} {name}{difference}")),
            None => equal += 1,
        }
    }
    equal
}

/// `apis__apps__v1_openapi` is apps/v1.
fn group_version_of(name: &str) -> Option<GroupVersion> {
    let parts: Vec<&str> = name.strip_suffix("_openapi")?.split("__").collect();
    match parts[..] {
        ["api", version] => Some(GroupVersion::new("", version)),
        ["apis", group, version] => Some(GroupVersion::new(group, version)),
        _ => None,
    }
}

/// The resources that a document describes.
fn resources_of(document: &Value, group_version: &GroupVersion) -> Vec<ServedResource> {
    let mut resources: BTreeMap<String, ServedResource> = BTreeMap::new();
    let root = if group_version.group.is_empty() { "/api/v1/".to_string() } else { format!("/apis/{group_version}/") };
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(rest) = path.strip_prefix(&root).filter(|rest| !rest.is_empty() && !rest.starts_with("watch/")) else {
            continue;
        };
        let (rest, namespaced) =
            rest.strip_prefix("namespaces/{namespace}/").map_or((rest, false), |rest| (rest, true));
        let parts: Vec<&str> = rest.split('/').collect();
        for (method, operation) in item.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let gvk = &operation["x-kubernetes-group-version-kind"];
            let part = |name: &str| gvk[name].as_str().unwrap().to_string();
            let gvk = GroupVersionKind::new(&part("group"), &part("version"), &part("kind"));
            let verb = match (operation["x-kubernetes-action"].as_str().unwrap(), method.as_str()) {
                ("post", _) | ("connect", "post") => "create",
                ("put", _) | ("connect", "put") => "update",
                ("connect", "head" | "options") => continue,
                ("connect", method) => method,
                (action, _) => action,
            };
            if parts.last() == Some(&"{path}") {
                continue;
            }
            let resource = resources.entry(parts[0].to_string()).or_insert_with(|| ServedResource {
                name: parts[0].to_string(),
                gvk: gvk.clone(),
                namespaced: false,
                verbs: Vec::new(),
                subresources: Vec::new(),
                answers_delete_with_object: false,
                schemas: None,
            });
            if let [_, _, name] = parts[..] {
                match resource.subresources.iter_mut().find(|subresource| subresource.name == name) {
                    Some(subresource) => subresource.verbs.push(verb.into()),
                    None => resource.subresources.push(ServedSubresource {
                        name: name.into(),
                        gvk,
                        verbs: vec![verb.into()],
                    }),
                }
                continue;
            }
            resource.namespaced |= namespaced;
            resource.gvk = gvk;
            if !resource.verbs.iter().any(|known| known == verb) {
                resource.verbs.push(verb.into());
                let watched = document["paths"].get(format!("{root}watch/{}", parts[0])).is_some();
                resource.verbs.extend((verb == "list" && watched).then(|| "watch".to_string()));
            }
            if verb == "delete" {
                let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
                resource.answers_delete_with_object = !answer.as_str().unwrap().ends_with(".Status");
            }
        }
    }
    resources.into_values().collect()
}

/// Takes out what is known to differ: prose, enums (their files are written without), CBOR, sharded lists.
fn reduce(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, value| {
                !(key == "description" && value.is_string()) && key != "enum" && !key.contains("cbor")
            });
            if let Some(Value::Array(parameters)) = object.get_mut("parameters") {
                parameters.retain(|parameter| parameter["name"] != "shardSelector");
            }
            object.values_mut().for_each(reduce);
        }
        Value::Array(items) => items.iter_mut().for_each(reduce),
        _ => {}
    }
}
