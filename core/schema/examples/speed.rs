//! How long reading the facts and working with them takes:
//! `cargo run -p triune-schema --example speed --config 'profile.dev.package."triune-schema".opt-level=3'`
#![allow(clippy::disallowed_methods, reason = "an example may look at the clock")]

use std::{hint::black_box, sync::Arc, time::Instant};

use serde_json::{Value, json};
use triune_api::names::{GroupVersion, GroupVersionKind};
use triune_schema::{
    Facts, TypeRef,
    apply::{FieldManager, MergeSchema, ResetFields, Versions},
    openapi,
};

const TABLE: &str = include_str!("../../kube/facts/types.txt");

fn main() {
    let facts = Facts::parse(TABLE).expect("the committed table can be read");
    measure("read the table", 5, || Facts::parse(TABLE));
    let pod = pod();
    let gvk = GroupVersionKind::new("", "v1", "Pod");
    let declared = facts.type_of(&gvk).expect("pods are known");
    println!("a pod of {} bytes:", pod.to_string().len());
    measure("unknown_fields", 1000, || declared.unknown_fields(&pod));
    measure("check_types", 1000, || declared.check_types(&pod));
    measure("copy (for comparison)", 1000, || pod.clone());
    let normalised = |mut pod: Value| {
        declared.normalise(&mut pod);
        pod
    };
    measure("copy and normalise", 1000, || normalised(pod.clone()));
    let normal = normalised(pod.clone());
    measure("copy and normalise what is normal", 1000, || normalised(normal.clone()));
    let text = normal.to_string();
    measure("read JSON (for comparison)", 1000, || serde_json::from_str::<Value>(&text));
    let message = declared.encode_protobuf(&normal);
    measure(&format!("write protobuf, {} bytes", message.len()), 1000, || declared.encode_protobuf(&normal));
    let body = triune_api::meta::split_body(normal.clone());
    let stored = declared.encode_stored(&body, 12345).expect("a stored pod");
    assert_eq!(stored, message, "both ways give the same");
    let megabytes = |microseconds: f64| format!("{:.0} MB/s of JSON", body.len() as f64 / microseconds);
    let by_tree = measure("write protobuf of a stored pod, by a tree", 1000, || {
        triune_api::meta::to_value(&gvk, 12345, &body).map(|tree| declared.encode_protobuf(&tree))
    });
    println!("              {}", megabytes(by_tree));
    let by_text =
        measure("write protobuf of a stored pod, from its text", 1000, || declared.encode_stored(&body, 12345));
    println!("              {}", megabytes(by_text));
    measure("read protobuf", 1000, || declared.decode_protobuf(&message));
    let patch = json!({"spec": {"containers": [{"name": "c1", "image": "new"}], "$setElementOrder/containers": [{"name": "c0"}, {"name": "c1"}]}});
    measure("copy and merge a small patch", 1000, || declared.strategic_merge(pod.clone(), patch.clone()));
    manage(&declared, &normal);
    measure("document of core/v1 with pods", 5, || {
        let gvk = GroupVersionKind::new("", "v1", "Pod");
        let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"].map(String::from).to_vec();
        let resource = openapi::ServedResource {
            name: "pods".into(),
            gvk,
            namespaced: true,
            verbs,
            subresources: Vec::new(),
            answers_delete_with_object: true,
            schemas: None,
        };
        let source = openapi::Source { facts: &facts, version: "1.37", descriptions: None };
        openapi::group_version_document(source, &GroupVersion::new("", "v1"), &[resource])
    });
}

/// The one version of pods.
struct Pods(MergeSchema);

impl Versions for Pods {
    fn schema(&self, _: &str) -> Option<MergeSchema> {
        Some(self.0.clone())
    }
    fn convert(&self, _: &Value, _: &str) -> Option<Value> {
        None
    }
    fn reset_fields(&self, _: &str) -> Option<Arc<ResetFields>> {
        None
    }
}

/// Who manages which field of a pod, after a create, a new status and applies.
fn manage(declared: &TypeRef, pod: &Value) {
    let pods = Pods(declared.clone().into());
    let fields = FieldManager { api_version: "v1", subresource: "", versions: &pods, now: "2026-11-24T10:00:00Z" };
    let written = |live: &Value, mut new: Value, manager: &str| {
        fields.update(live, &mut new, manager);
        new
    };
    let blank = json!({"apiVersion": "v1", "kind": "Pod"});
    measure("copy and manage a create", 1000, || written(&blank, pod.clone(), "creator"));
    let live = written(&blank, pod.clone(), "creator");
    let mut running = live.clone();
    running["status"]["phase"] = "Succeeded".into();
    running["status"]["conditions"][1]["status"] = "False".into();
    let live = written(&live, running.clone(), "kubelet");
    running["status"]["phase"] = "Failed".into();
    measure("copy (for comparison), managed", 1000, || running.clone());
    measure("copy and manage an update", 1000, || written(&live, running.clone(), "kubelet"));
    let mut applied = pod.clone();
    applied.as_object_mut().expect("an object").remove("status");
    let apply = |live: &Value, applied: &Value| {
        fields.apply(live, applied, "applier", true, &|object| declared.normalise(object)).expect("it applies")
    };
    let live = apply(&live, &applied);
    measure("apply what is there", 1000, || apply(&live, &applied));
    applied["spec"]["containers"][0]["image"] = "other".into();
    measure("apply another image", 1000, || apply(&live, &applied));
    if let Some(labels) = applied.pointer_mut("/metadata/labels") {
        *labels = json!({"app": "web"});
    }
    measure("apply without a label", 1000, || apply(&live, &applied));
}

/// Prints the mean of the best of ten batches, in microseconds: other work on the machine only adds.
fn measure<Out>(what: &str, rounds: u32, run: impl Fn() -> Out) -> f64 {
    let batch = |_| {
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(run());
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
    };
    let best = (0..10).map(batch).fold(f64::INFINITY, f64::min);
    println!("{best:9.2} us  {what}");
    best
}

/// A pod as clusters have them.
fn pod() -> Value {
    let container = |number: usize| {
        json!({
            "name": format!("c{number}"), "image": "registry.example/some/image:v1.2.3", "imagePullPolicy": "IfNotPresent",
            "args": ["--verbose", "--listen=:8080", "--config=/etc/config/config.yaml"],
            "env": [{"name": "A", "value": "1"}, {"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}],
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "volumeMounts": [{"name": "config", "mountPath": "/etc/config", "readOnly": true}],
            "securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}},
        })
    };
    let condition = |name: &str| json!({"type": name, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-02T03:04:05Z"});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-5d4f8c7b9-abcde", "namespace": "default", "uid": "0b5b7c1e-1f0c-4a52-9f0e-0d7f3a3c9b11", "resourceVersion": "12345",
            "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"}, "annotations": {"a.example/b": "c"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f8c7b9", "uid": "5f3cf1f2-5a39-4d3c-a0a1-6a3c52a6a3a1", "controller": true, "blockOwnerDeletion": true}]},
        "spec": {"containers": [container(0), container(1)], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "nodeName": "node-1", "serviceAccountName": "default",
            "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler", "securityContext": {}, "volumes": [{"name": "config", "configMap": {"name": "web", "defaultMode": 420}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "hostIP": "10.1.0.1", "startTime": "2026-01-02T03:04:05Z", "conditions": [condition("Initialized"), condition("Ready"), condition("PodScheduled")]},
    })
}
