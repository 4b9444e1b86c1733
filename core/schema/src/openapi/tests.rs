//! Documents made of the facts: paths, parameters, schemas, references.

use serde_json::json;
use triune_api::names::{GroupVersion, GroupVersionKind};

use super::{plain::Plain, *};
use crate::testing::BUILT_IN;

fn source() -> Source<'static> {
    Source { facts: &BUILT_IN, version: "1.37", descriptions: None }
}

fn v3(group_version: &GroupVersion, resources: &[ServedResource]) -> Value {
    serde_json::from_slice(&group_version_document(source(), group_version, resources)).unwrap()
}

fn v2(resources: Vec<ServedResource>, plain: &[Plain]) -> Value {
    let versions = [(GroupVersion::new("apps", "v1"), resources)];
    serde_json::from_slice(&v2_document(source(), &versions, plain)).unwrap()
}

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
    let document = v3(&GroupVersion::new("apps", "v1"), &[deployments()]);
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
        let all = [Plain::Versions, Plain::Groups, Plain::Group("apps".into()), Plain::Version, Plain::IssuerKeys];
        let documents =
            [v3(&GroupVersion::new("apps", "v1"), std::slice::from_ref(&resource)), v2(vec![resource], &all)];
        for document in documents {
            let mut references = Vec::new();
            collect_references(&document, &mut references);
            assert!(references.len() > 20);
            for reference in references {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some_and(Value::is_object), "{reference} leads nowhere");
            }
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
fn shared_parameters_stand_once() {
    let document = v2(vec![deployments()], &[]);
    let path = "/apis/apps/v1/namespaces/{namespace}/deployments";
    let names = |parameters: &Value| -> Vec<String> {
        let parameters = parameters.as_array().unwrap().iter();
        let resolve = |parameter: &Value| match parameter["$ref"].as_str() {
            Some(reference) => format!("&{}", document.pointer(&reference[1..]).unwrap()["name"].as_str().unwrap()),
            None => parameter["name"].as_str().unwrap().to_string(),
        };
        parameters.map(resolve).collect()
    };
    let item = &document["paths"][path];
    assert_eq!(names(&item["parameters"]), ["&namespace", "&pretty"]);
    assert_eq!(names(&item["post"]["parameters"]), ["body", "dryRun", "&fieldManager", "fieldValidation"]);
    let object = &document["paths"][format!("{path}/{{name}}")];
    assert_eq!(names(&object["parameters"]), ["name", "&namespace", "&pretty"]);
    let patch = ["&body", "dryRun", "&fieldManager", "fieldValidation", "&force"];
    assert_eq!(names(&object["patch"]["parameters"]), patch);
    assert_eq!(document["parameters"].as_object().unwrap().len(), 20);
}

#[test]
fn custom_schemas_in_v2() {
    let check = |schema: Value, expected: Value| {
        let mut resource = deployments();
        resource.schemas = Some(CustomSchemas { model: "x.W".into(), object: schema.clone(), list: json!({}) });
        assert_eq!(v2(vec![resource], &[])["definitions"]["x.W"], expected, "{schema}");
    };
    check(json!({"type": "string", "default": "a"}), json!({"type": "string"}));
    check(json!({"type": "string", "nullable": true}), json!({}));
    check(
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {}}),
        json!({"x-kubernetes-preserve-unknown-fields": true}),
    );
    check(json!({"type": "array"}), json!({}));
    check(
        json!({"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "integer", "nullable": true}, "b": {"anyOf": [{}], "type": "integer"}}}),
        json!({"type": "object", "required": ["b"], "properties": {"a": {}, "b": {"type": "integer"}}}),
    );
    check(
        json!({"properties": {"metadata": {"allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}], "default": {}}}}),
        json!({"properties": {"metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}}}),
    );
}

#[test]
fn descriptions_stand_beside_what_they_describe() {
    let fields = BTreeMap::from([("spec".to_string(), "What is wanted.".to_string())]);
    let described = Description { text: "Pods in rows.".into(), fields };
    let descriptions = Descriptions::from([("io.k8s.api.apps.v1.Deployment".to_string(), described)]);
    let source = Source { descriptions: Some(&descriptions), ..source() };
    let group_version = GroupVersion::new("apps", "v1");
    let document = group_version_document(source, &group_version, &[deployments()]);
    let document: Value = serde_json::from_slice(&document).unwrap();
    let schema = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(schema["description"], "Pods in rows.");
    assert_eq!(schema["properties"]["spec"]["description"], "What is wanted.");
    assert_eq!(schema["properties"]["status"].get("description"), None);
}
