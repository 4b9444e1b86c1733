//! Documents made of small tables of facts: paths, parameters, schemas, the index.

use serde_json::json;
use triune_api::names::{GroupVersion, GroupVersionKind};

use super::*;
use crate::testing::BUILT_IN;

fn verbs(verbs: &str) -> Vec<String> {
    verbs.split(',').map(String::from).collect()
}

fn deployments() -> ServedResource {
    let gvk = GroupVersionKind::new("apps", "v1", "Deployment");
    let scale = GroupVersionKind::new("autoscaling", "v1", "Scale");
    ServedResource {
        name: "deployments".into(),
        namespaced: true,
        verbs: verbs("create,delete,deletecollection,get,list,patch,update,watch"),
        subresources: vec![
            ServedSubresource { name: "scale".into(), gvk: scale, verbs: verbs("get,patch,update") },
            ServedSubresource { name: "status".into(), gvk: gvk.clone(), verbs: verbs("get,patch,update") },
        ],
        gvk,
        answers_delete_with_object: false,
        schemas: None,
    }
}

#[test]
fn kubectl_finds_what_it_looks_up() {
    let document = group_version_document(&BUILT_IN, &GroupVersion::new("apps", "v1"), &[deployments()]);
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation"));
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]["x-kubernetes-patch-merge-key"],
        "name"
    );
    assert_eq!(schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"][0]["kind"], "Deployment");
    assert!(schemas["io.k8s.api.autoscaling.v1.Scale"].is_object());
}

#[test]
fn every_reference_leads_to_a_schema() {
    let mut resource = deployments();
    resource.schemas = Some(CustomSchemas {
        model: "com.example.v1.Widget".into(),
        object: json!({"type": "object", "properties": {"metadata": {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}}}),
        list: json!({"type": "object", "properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/com.example.v1.Widget"}}}}),
    });
    for resource in [deployments(), resource] {
        let document = group_version_document(&BUILT_IN, &GroupVersion::new("apps", "v1"), &[resource]);
        let mut references = Vec::new();
        collect_references(&document, &mut references);
        assert!(references.len() > 20);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some_and(Value::is_object), "{reference} leads nowhere");
        }
    }
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            references.extend(object.get("$ref").and_then(Value::as_str).map(String::from));
            object.values().for_each(|value| collect_references(value, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        _ => {}
    }
}

#[test]
fn the_index_names_documents_by_hash() {
    let path = group_version_path(&GroupVersion::new("apps", "v1"));
    assert_eq!(group_version_path(&GroupVersion::new("", "v1")), "api/v1");
    let expected = json!({"paths": {"apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=AB12"}}});
    assert_eq!(index([(path.as_str(), "AB12")]), expected);
}
