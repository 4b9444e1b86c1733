//! OpenAPI documents of all built-in resources, as they are served, compared with the reference's own files
//! (`api/openapi-spec` of k8s.io/kubernetes, read from the Go module cache) and in protobuf with what its encoder
//! (`tools/facts/openapi`) makes of the same JSON. Without Go these tests fail and say so.
//!
//! What is known to differ is left out by [`reduce`] and by name: see there.
#![allow(clippy::disallowed_methods, reason = "a test may read files")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::SystemTime,
};

use serde_json::Value;
use triune_machinery::{
    openapi::{Form, OpenApiSource, RegistryOpenApi},
    registry::Resource,
    resources::{InstalledVersion, Resources},
};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
/// Its fields are the only ones without prose in the reference, so that references to other schemas stand there as they
/// are; where prose is, they are wrapped.
const WITHOUT_PROSE: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Documents of everything that the catalogue has; their files say `unversioned`.
fn source() -> RegistryOpenApi {
    let facts = triune_kube::facts().unwrap();
    let mut by_version: BTreeMap<_, Vec<Arc<Resource>>> = BTreeMap::new();
    for resource in triune_kube::resources(&facts).unwrap() {
        by_version.entry(resource.gvk.group_version()).or_default().push(Arc::new(resource));
    }
    let resources = Arc::new(Resources::new());
    resources.install_all(by_version.into_iter().map(|(group_version, resources)| InstalledVersion {
        group_version,
        group_priority: 1,
        version_priority: 1,
        resources,
    }));
    let source = RegistryOpenApi::new(facts, vec![resources], "unversioned".into(), None);
    source.serves(&["/version".into(), "/livez".into()]);
    source
}

fn go() -> Command {
    let mut go = Command::new("go");
    go.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/facts"));
    go
}

/// A file of the reference, by its path below `api/openapi-spec`.
fn theirs(path: &str) -> Value {
    const MODULE: &str = "k8s.io/kubernetes@v1.37.2";
    let output = go().args(["mod", "download", "-json", MODULE]).output();
    let output = output.unwrap_or_else(|error| panic!("this test reads {MODULE} with Go's help: {error}"));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("go mod download answers with JSON");
    let folder = answer["Dir"].as_str().unwrap_or_else(|| panic!("{MODULE} cannot be had: {answer}"));
    let file = PathBuf::from(folder).join("api/openapi-spec").join(path);
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&bytes).unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Takes out what is known to differ: prose; enums, which their files are written without although their server has them;
/// media types of CBOR and the parameter of sharded lists, which we do not serve.
fn reduce(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, value| {
                !(key == "description" && value.is_string()) && key != "enum" && !key.contains("cbor")
            });
            object.values_mut().for_each(reduce);
        }
        Value::Array(items) => {
            items.retain(|item| {
                let is_cbor =
                    item.as_str().is_some_and(|text| text.starts_with("application/") && text.contains("cbor"));
                !is_cbor && item["name"] != "shardSelector"
            });
            items.iter_mut().for_each(reduce);
        }
        _ => {}
    }
}

fn unwrap_references(schema: &mut Value) {
    for property in schema["properties"].as_object_mut().unwrap().values_mut() {
        if let (Some(reference), 1) = (property.pointer("/allOf/0").cloned(), property.as_object().unwrap().len()) {
            *property = reference;
        }
    }
}

/// The places where two values differ.
fn differences(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            let absent = Value::from("(absent)");
            for key in keys {
                let (left, right) = (left.get(key).unwrap_or(&absent), right.get(key).unwrap_or(&absent));
                differences(&format!("{path} {key}"), left, right, found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{path} {index}"), left, right, found);
            }
        }
        _ if theirs != ours => found.push(format!("{path}: {theirs:.300} became {ours:.300}")),
        _ => {}
    }
}

#[test]
fn v3_documents_say_what_the_reference_says() {
    let source = source();
    let (mut found, mut schemas, mut paths) = (Vec::new(), 0, 0);
    let index = source.index(NOW);
    for (path, etag) in &index {
        let document = source.v3(path, Form::Json, NOW).unwrap();
        assert_eq!(document.etag, *etag, "{path}");
        let mut ours = json(&document.bytes);
        let mut theirs = theirs(&format!("v3/{}_openapi.json", path.replace('/', "__")));
        schemas += ours["components"]["schemas"].as_object().map_or(0, serde_json::Map::len);
        paths += ours["paths"].as_object().unwrap().len();
        for document in [&mut ours, &mut theirs] {
            reduce(document);
            if let Some(schema) = document["components"]["schemas"].get_mut(WITHOUT_PROSE) {
                unwrap_references(schema);
            }
        }
        differences(path, &theirs, &ours, &mut found);
    }
    println!("{} v3 documents, {schemas} schemas, {paths} paths: {} differences", index.len(), found.len());
    assert_eq!(found, Vec::<String>::new());
    assert!(index.len() > 45 && schemas > 1000 && paths > 400, "{} {schemas} {paths}", index.len());
}

/// Puts parameters that are referred to in their places.
fn resolve_parameters(document: &mut Value) {
    let shared = document["parameters"].take();
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        for part in item.as_object_mut().unwrap().values_mut() {
            let parameters = if part.is_array() { Some(&mut *part) } else { part.get_mut("parameters") };
            for parameter in parameters.and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(name) = parameter["$ref"].as_str().and_then(|to| to.strip_prefix("#/parameters/")) {
                    *parameter = shared[name].clone();
                    assert!(parameter.is_object(), "a shared parameter");
                }
            }
        }
    }
}

/// Keeps the paths that `is_served`, and the definitions that they lead to.
fn keep_paths(document: &mut Value, is_served: impl Fn(&str) -> bool) {
    document["paths"].as_object_mut().unwrap().retain(|path, _| is_served(path));
    let (mut waiting, mut reached) = (Vec::new(), BTreeSet::new());
    references(&document["paths"], &mut waiting);
    while let Some(name) = waiting.pop() {
        if reached.insert(name.clone()) {
            references(&document["definitions"][&name], &mut waiting);
        }
    }
    document["definitions"].as_object_mut().unwrap().retain(|name, _| reached.contains(name));
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            let reference = object.get("$ref").and_then(Value::as_str);
            found.extend(reference.and_then(|to| to.strip_prefix("#/definitions/")).map(String::from));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_v2_document_says_what_the_reference_says() {
    let source = source();
    let mut ours = json(&source.v2(Form::Json, NOW).bytes);
    let mut theirs = theirs("swagger.json");
    resolve_parameters(&mut ours);
    resolve_parameters(&mut theirs);
    // `/logs`, the token issuer, and group versions that are off by default are not served.
    let roots: Vec<String> = source.index(NOW).into_keys().map(|path| format!("/{path}/")).collect();
    let is_version = |root: &str| root == "/api/v1/" || root.matches('/').count() == 4;
    keep_paths(&mut theirs, |path| {
        roots.iter().any(|root| path == root || is_version(root) && path.starts_with(root.as_str()))
    });
    let mut found = Vec::new();
    for document in [&mut ours, &mut theirs] {
        reduce(document);
    }
    differences("", &theirs, &ours, &mut found);
    let count = |key: &str| ours[key].as_object().unwrap().len();
    let (definitions, paths) = (count("definitions"), count("paths"));
    println!("{definitions} definitions, {paths} paths of v2: {} differences", found.len());
    assert_eq!(found, Vec::<String>::new());
    assert!(definitions > 500 && paths > 400, "{definitions} {paths}");
}

/// What the reference's encoder makes of a document.
fn encoded(version: &str, document: &[u8]) -> Vec<u8> {
    let mut encoder = go()
        .args(["run", "./openapi", version])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test asks the reference's code with Go's help: {error}"));
    let (mut input, document) = (encoder.stdin.take().unwrap(), document.to_vec());
    let writer = thread::spawn(move || input.write_all(&document).unwrap());
    let output = encoder.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "the reference refuses a document");
    output.stdout
}

/// Shows what is around the last difference: before it lengths differ already.
fn assert_same(document: &str, ours: &[u8], theirs: &[u8]) {
    let same_end = ours.iter().rev().zip(theirs.iter().rev()).take_while(|(ours, theirs)| ours == theirs).count();
    let around = |bytes: &[u8]| {
        let at = bytes.len() - same_end;
        String::from_utf8_lossy(&bytes[at.saturating_sub(300)..bytes.len().min(at + 50)]).into_owned()
    };
    assert!(ours == theirs, "{document}: {:?}\nbecame {:?}", around(theirs), around(ours));
}

#[test]
fn protobuf_is_what_the_reference_encodes() {
    let source = source();
    let theirs = encoded("2", &source.v2(Form::Json, NOW).bytes);
    assert_same("v2", &source.v2(Form::Protobuf, NOW).bytes, &theirs);
    let paths = ["api/v1", "apis/apps/v1", "apis/apiextensions.k8s.io/v1", "apis/apps", "version"];
    for path in paths {
        let document = source.v3(path, Form::Json, NOW).unwrap();
        let message = source.v3(path, Form::Protobuf, NOW).unwrap();
        assert_eq!(message.etag, document.etag, "{path}");
        assert_same(path, &message.bytes, &encoded("3", &document.bytes));
    }
    println!("v2 of {} bytes and {} documents of v3 are the same in protobuf", theirs.len(), paths.len());
}
