//! The kinds that clients use, and small valid objects of them.
//!
//! Invariant: every object that is written has content of its own ([`Content`]), so that a commit can be traced to the
//! request that caused it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Annotation with the content of an object.
pub const CONTENT: &str = "sim/content";
/// Label by which collections are selected; its values are [`GROUPS`].
pub const GROUP: &str = "group";
/// Values of the label [`GROUP`].
pub const GROUPS: [&str; 3] = ["red", "green", "blue"];

/// A kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `v1 ConfigMap`.
    ConfigMaps,
    /// `v1 Secret`.
    Secrets,
    /// `coordination.k8s.io/v1 Lease`: an update may create it.
    Leases,
    /// `v1 Pod`: has a generation and most of its spec is immutable.
    Pods,
    /// `apps/v1 Deployment`.
    Deployments,
    /// `v1 Event`: goes by itself.
    Events,
    /// `v1 Service`: some ask for one of few cluster IPs or node ports, which only one may have.
    Services,
    /// `v1 Namespace`: the only one without a namespace.
    Namespaces,
}

/// So many cluster IPs and so many node ports are asked for by value.
const SERVICE_CLAIMS: u64 = 3;

/// Every kind that lives in a namespace.
pub const NAMESPACED: [Kind; 7] =
    [Kind::ConfigMaps, Kind::Secrets, Kind::Leases, Kind::Pods, Kind::Deployments, Kind::Events, Kind::Services];

impl Kind {
    /// Group, version, resource and kind.
    fn names(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Kind::ConfigMaps => ("", "v1", "configmaps", "ConfigMap"),
            Kind::Secrets => ("", "v1", "secrets", "Secret"),
            Kind::Leases => ("coordination.k8s.io", "v1", "leases", "Lease"),
            Kind::Pods => ("", "v1", "pods", "Pod"),
            Kind::Deployments => ("apps", "v1", "deployments", "Deployment"),
            Kind::Events => ("", "v1", "events", "Event"),
            Kind::Services => ("", "v1", "services", "Service"),
            Kind::Namespaces => ("", "v1", "namespaces", "Namespace"),
        }
    }

    /// As histories name it: `resource` or `resource.group`.
    pub fn resource(self) -> String {
        let (group, _, resource, _) = self.names();
        if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
    }

    /// Path of its collection in a namespace, or in all for "".
    pub fn path(self, namespace: &str) -> String {
        let (group, version, resource, _) = self.names();
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        if namespace.is_empty() {
            format!("{root}/{resource}")
        } else {
            format!("{root}/namespaces/{namespace}/{resource}")
        }
    }

    /// What an apply configuration of labels alone says.
    pub fn configuration(self, namespace: &str, name: &str, labels: Value) -> Value {
        let (group, version, _, kind) = self.names();
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let metadata = json!({ "namespace": namespace, "name": name, "labels": labels });
        json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata })
    }

    /// An object with content of its own. An empty name is left out.
    pub fn object(self, namespace: &str, name: &str, content: &Content) -> Value {
        let (group, version, _, kind) = self.names();
        let mut metadata = Map::new();
        for (key, text) in [("namespace", namespace), ("name", name)] {
            if !text.is_empty() {
                metadata.insert(key.into(), json!(text));
            }
        }
        metadata.insert("labels".into(), json!({ GROUP: content.group }));
        metadata.insert("annotations".into(), json!({ CONTENT: content.text }));
        let mut object = json!({ "metadata": metadata, "kind": kind });
        object["apiVersion"] = if group.is_empty() { json!(version) } else { json!(format!("{group}/{version}")) };
        let padding = "x".repeat(content.padding_bytes);
        let template = || json!({ "containers": [{ "name": "a", "image": "a" }] });
        match self {
            Kind::ConfigMaps => object["data"] = json!({ "content": content.text, "padding": padding }),
            Kind::Secrets => object["data"] = json!({ "content": STANDARD.encode(&content.text) }),
            Kind::Leases => object["spec"] = json!({ "holderIdentity": content.text, "leaseDurationSeconds": 30 }),
            Kind::Pods => object["spec"] = template(),
            Kind::Deployments => {
                let labels = json!({ "app": "a" });
                object["spec"] = json!({
                    "replicas": content.number % 10, "selector": { "matchLabels": labels },
                    "template": { "metadata": { "labels": labels }, "spec": template() },
                });
            }
            Kind::Events => {
                object["involvedObject"] = json!({ "kind": "Pod", "namespace": namespace, "name": "a" });
                object["reason"] = json!("Simulated");
                object["message"] = json!(content.text);
                object["type"] = json!("Normal");
            }
            Kind::Services => object["spec"] = service_spec(content.number),
            Kind::Namespaces => {}
        }
        object
    }

    /// Changes an object so that it has this content.
    pub fn change(self, object: &mut Value, content: &Content) {
        let old = object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        object["metadata"]["annotations"] = json!({ CONTENT: content.text });
        let mut labels = old;
        labels.insert(GROUP.into(), json!(content.group));
        object["metadata"]["labels"] = Value::Object(labels);
        match self {
            Kind::ConfigMaps => object["data"]["content"] = json!(content.text),
            Kind::Secrets => object["data"]["content"] = json!(STANDARD.encode(&content.text)),
            Kind::Leases => object["spec"]["holderIdentity"] = json!(content.text),
            Kind::Deployments => object["spec"]["replicas"] = json!(content.number % 10),
            Kind::Events => object["message"] = json!(content.text),
            Kind::Pods | Kind::Services | Kind::Namespaces => {}
        }
    }

    /// The same change as a merge or strategic merge patch.
    pub fn merge_patch(self, content: &Content) -> Value {
        let mut patch =
            json!({ "metadata": { "labels": { GROUP: content.group }, "annotations": { CONTENT: content.text } } });
        match self {
            Kind::ConfigMaps => patch["data"] = json!({ "content": content.text }),
            Kind::Leases => patch["spec"] = json!({ "holderIdentity": content.text }),
            Kind::Deployments => patch["spec"] = json!({ "replicas": content.number % 10 }),
            Kind::Secrets | Kind::Events | Kind::Pods | Kind::Services | Kind::Namespaces => {}
        }
        patch
    }

    /// A JSON patch that gives this content to an object made by [`Kind::object`].
    pub fn json_patch(self, content: &Content) -> Value {
        json!([
            { "op": "add", "path": format!("/metadata/annotations/{}", CONTENT.replace('/', "~1")), "value": content.text },
            { "op": "replace", "path": format!("/metadata/labels/{GROUP}"), "value": content.group },
        ])
    }

    /// Whether it lives in namespaces.
    pub fn is_namespaced(self) -> bool {
        self != Kind::Namespaces
    }
}

/// One service in two wants what another may have: an address or a port.
fn service_spec(number: u64) -> Value {
    let wanted = number / 4 % SERVICE_CLAIMS;
    match number % 4 {
        0 => json!({ "ports": [{ "port": 80 }], "clusterIP": format!("10.96.7.{}", 1 + wanted) }),
        1 => json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30_000 + wanted }] }),
        2 => json!({ "type": "NodePort", "ports": [{ "port": 80 }] }),
        _ => json!({ "ports": [{ "port": 80 }] }),
    }
}

/// What makes an object unlike all others of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Unique in the run: client and operation.
    pub text: String,
    /// A number of it.
    pub number: u64,
    /// Value of the label [`GROUP`].
    pub group: &'static str,
    /// Bytes to make it larger, of kinds that have room.
    pub padding_bytes: usize,
}

/// A label selector on a group of objects.
pub fn in_group(group: &str) -> Vec<(String, String)> {
    vec![(GROUP.to_owned(), group.to_owned())]
}
