//! Documents of a small registry, compared as bytes.

use std::collections::BTreeMap;

use triune_api::{
    Value,
    names::{GroupResource, GroupVersion, GroupVersionKind},
};

use super::*;
use crate::{
    registry::{Column, NotImplemented, Resource, ScalePaths, Serving, Strategy, Subresource},
    resources::InstalledVersion,
    testing,
};

struct Plain;
impl Strategy for Plain {
    fn columns(&self) -> Vec<Column> {
        Vec::new()
    }
    fn cells(&self, _: &Value, _: jiff::Timestamp) -> Vec<Value> {
        Vec::new()
    }
}

fn resource(group: &str, name: &str, kind: &str, subresources: &[(&str, GroupVersionKind, &[&str])]) -> Arc<Resource> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    let subresource = |(name, gvk, verbs): &(&str, GroupVersionKind, &[&str])| {
        let serving = if *name == "scale" {
            Serving::Scale(ScalePaths::default())
        } else {
            Serving::Custom(Arc::new(NotImplemented("no")))
        };
        ((*name).to_owned(), Subresource { gvk: gvk.clone(), verbs: texts(verbs), serving })
    };
    Arc::new(Resource {
        gvk: GroupVersionKind::new(group, "v1", kind),
        list_kind: format!("{kind}List"),
        name: name.into(),
        singular: name.trim_end_matches('s').into(),
        short_names: texts(&[&name[..1]]),
        categories: Vec::new(),
        namespaced: !group.is_empty(),
        verbs: texts(&["get", "list"]),
        storage: GroupResource::new(group, name),
        storage_version_hash: if group.is_empty() { String::new() } else { "h=".into() },
        schema: None,
        strategy: Arc::new(Plain),
        subresources: subresources.iter().map(subresource).collect::<BTreeMap<String, Subresource>>(),
        custom: None,
    })
}

fn installed(group: &str, version: &str, priority: i32, resources: Vec<Arc<Resource>>) -> InstalledVersion {
    let version_priority = if version == "v2" { 2 } else { 1 };
    let group_version = GroupVersion::new(group, version);
    InstalledVersion { group_version, group_priority: priority, version_priority, resources }
}

fn registries() -> Vec<Arc<Resources>> {
    let (first, second) = (Arc::new(Resources::new()), Arc::new(Resources::new()));
    let scale: (&str, GroupVersionKind, &[&str]) =
        ("scale", GroupVersionKind::new("autoscaling", "v1", "Scale"), &["get", "update"]);
    let status: (&str, GroupVersionKind, &[&str]) = ("status", GroupVersionKind::new("apps", "v1", "App"), &["get"]);
    first.install(installed("", "v1", 18000, vec![resource("", "nodes", "Node", &[])]));
    first.install(installed("apps", "v1", 17800, vec![resource("apps", "apps", "App", &[status, scale])]));
    second.install(installed("b.io", "v1", 1000, Vec::new()));
    second.install(installed("b.io", "v2", 1000, Vec::new()));
    second.install(installed("a.io", "v1", 1000, Vec::new()));
    vec![first, second]
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;q=0.9";
const BETA: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json;q=0.9";

fn get(discovery: &Discovery, method: &str, path: &str, headers: &[(header::HeaderName, &str)]) -> (Response, String) {
    let (context, mut request) = testing::request(method, path);
    for (name, value) in headers {
        request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a good value"));
    }
    let mut response = discovery.answer(&context, &request);
    let Body::Chunks(chunks) = response.body_mut() else { panic!("a stream") };
    let text = String::from_utf8(chunks.pop_front().unwrap_or_default().to_vec()).expect("text");
    (response, text)
}

fn check(path: &str, accept: &str, expect: &str) {
    let discovery = Discovery::new(registries(), "10.0.0.1:6443");
    let (_, text) = get(&discovery, "GET", path, &[(header::ACCEPT, accept)]);
    assert_eq!(text.trim_end(), expect, "{path}");
}

#[test]
fn plain_documents() {
    let api = r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"10.0.0.1:6443"}]}"#;
    check("/api", "application/json", api);
    check("/api/", BETA, api);
    let nodes = r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"nodes","singularName":"node","namespaced":false,"kind":"Node","verbs":["get","list"],"shortNames":["n"]}]}"#;
    check("/api/v1", "", nodes);
    check("/api/v1", AGGREGATED, nodes);
    let app = concat!(
        r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"apps/v1","resources":["#,
        r#"{"name":"apps","singularName":"app","namespaced":true,"kind":"App","verbs":["get","list"],"shortNames":["a"],"storageVersionHash":"h="},"#,
        r#"{"name":"apps/scale","singularName":"","namespaced":true,"group":"autoscaling","version":"v1","kind":"Scale","verbs":["get","update"]},"#,
        r#"{"name":"apps/status","singularName":"","namespaced":true,"kind":"App","verbs":["get"]}]}"#
    );
    check("/apis/apps/v1", "*/*", app);
    let group = r#"{"kind":"APIGroup","apiVersion":"v1","name":"b.io","versions":[{"groupVersion":"b.io/v2","version":"v2"},{"groupVersion":"b.io/v1","version":"v1"}],"preferredVersion":{"groupVersion":"b.io/v2","version":"v2"}}"#;
    check("/apis/b.io", "application/json", group);
    check(
        "/apis/b.io",
        "application/yaml",
        "apiVersion: v1\nkind: APIGroup\nname: b.io\npreferredVersion:\n  groupVersion: b.io/v2\n  version: v2\nversions:\n- groupVersion: b.io/v2\n  version: v2\n- groupVersion: b.io/v1\n  version: v1",
    );
}

#[test]
fn groups_are_listed_by_priority_then_name() {
    let discovery = Discovery::new(registries(), "");
    for (accept, pointer) in [("application/json", "/groups"), (AGGREGATED, "/items")] {
        let (_, text) = get(&discovery, "GET", "/apis", &[(header::ACCEPT, accept)]);
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let groups = document.pointer(pointer).and_then(Value::as_array).expect("groups");
        let name = |group: &Value| group.pointer("/metadata/name").or(group.get("name")).cloned();
        let names: Vec<Option<Value>> = groups.iter().map(name).collect();
        assert_eq!(names, ["apps", "a.io", "b.io"].map(|name| Some(Value::from(name))), "{text}");
    }
}

#[test]
fn aggregated_documents() {
    check(
        "/api",
        AGGREGATED,
        r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{},"versions":[{"version":"v1","resources":[{"resource":"nodes","responseKind":{"group":"","version":"","kind":"Node"},"scope":"Cluster","singularResource":"node","verbs":["get","list"],"shortNames":["n"]}],"freshness":"Current"}]}]}"#,
    );
    let discovery = Discovery::new(registries(), "");
    let (_, text) = get(&discovery, "GET", "/apis", &[(header::ACCEPT, AGGREGATED)]);
    let scale = r#""subresources":[{"subresource":"scale","responseKind":{"group":"autoscaling","version":"v1","kind":"Scale"},"verbs":["get","update"]},{"subresource":"status","#;
    assert!(text.contains(scale), "{text}");
}

#[test]
fn etags_tell_documents_apart() {
    let registries = registries();
    let discovery = Discovery::new(registries.clone(), "");
    let (response, text) = get(&discovery, "GET", "/apis", &[(header::ACCEPT, AGGREGATED)]);
    let headers = response.headers();
    assert_eq!(headers[header::CONTENT_TYPE], AGGREGATED_JSON);
    assert_eq!(
        (&headers[header::VARY], &headers[header::CACHE_CONTROL]),
        (&"Accept".parse().expect("ok"), &"public".parse().expect("ok"))
    );
    let etag = headers[header::ETAG].to_str().expect("text").to_owned();
    assert_eq!(etag.len(), 130);
    let again = [(header::ACCEPT, AGGREGATED), (header::IF_NONE_MATCH, etag.as_str())];
    let (response, body) = get(&discovery, "GET", "/apis", &again);
    assert_eq!((response.status().as_u16(), body.as_str()), (304, ""));
    registries[1].install(installed("c.io", "v1", 1000, Vec::new()));
    let (response, changed) = get(&discovery, "GET", "/apis", &again);
    assert!(response.status() == 200 && changed != text && response.headers()[header::ETAG] != etag.as_str());
    registries[1].remove(&GroupVersion::new("c.io", "v1"));
    assert_eq!(get(&discovery, "GET", "/apis", &again).0.status(), 304);
}

#[test]
fn what_is_not_served() {
    let discovery = Discovery::new(registries(), "");
    for (path, expect) in
        [("/apis/apps", true), ("/apis/none", false), ("/apisx", false), ("/", false), ("/api/", true)]
    {
        assert_eq!(discovery.serves(path), expect, "{path}");
    }
    let refused = get(&discovery, "POST", "/apis", &[]).0;
    assert_eq!((refused.status().as_u16(), &refused.headers()[header::ALLOW]), (405, &"GET".parse().expect("ok")));
    let unknown = get(&discovery, "GET", "/apis", &[(header::ACCEPT, "text/html")]).0;
    assert_eq!(unknown.status(), 406);
}
