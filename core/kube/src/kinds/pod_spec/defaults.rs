//! Pod specs, of pods and of templates: what is set where a client left it out (kubernetes `pkg/apis/core/v1/defaults.go`).

use serde_json::json;
use triune_api::Value;

use crate::tree::{self, child, fill, fill_unset, items_mut, object_mut};

/// Where a pod spec keeps containers.
const CONTAINER_LISTS: [&str; 3] = ["/containers", "/initContainers", "/ephemeralContainers"];
/// Permissions of files in volumes made of objects: 0644.
const FILE_MODE: i64 = 0o644;
const TOKEN_SECONDS: i64 = 3600;

/// Completes the pod spec at a JSON pointer, if there is one.
pub fn defaults_at(object: &mut Value, pointer: &str) {
    if let Some(spec) = object_mut(object, pointer) {
        defaults(spec);
    }
}

/// Completes the template under `key`, which is made if it is absent.
pub fn template_defaults(spec: &mut Value, key: &str) {
    if let Some(template) = child(spec, key)
        && let Some(spec) = child(template, "spec")
    {
        defaults(spec);
    }
}

/// Completes a pod spec.
pub fn defaults(spec: &mut Value) {
    fill_unset(spec, "dnsPolicy", "ClusterFirst");
    fill_unset(spec, "restartPolicy", "Always");
    fill(spec, "securityContext", json!({}));
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill_unset(spec, "schedulerName", "default-scheduler");
    service_account(spec);
    for volume in items_mut(spec, "/volumes") {
        volume_defaults(volume);
    }
    for list in CONTAINER_LISTS {
        for container in items_mut(spec, list) {
            container_defaults(container);
        }
    }
}

/// The old name of the field says the same as the new one.
fn service_account(spec: &mut Value) {
    let name = match tree::text(spec, "/serviceAccountName") {
        "" => tree::text(spec, "/serviceAccount"),
        name => name,
    }
    .to_string();
    if name.is_empty() {
        tree::remove(spec, "serviceAccount");
    } else {
        tree::set(spec, "serviceAccountName", name.clone());
        tree::set(spec, "serviceAccount", name);
    }
}

fn container_defaults(container: &mut Value) {
    let policy = image_pull_policy(tree::text(container, "/image"));
    fill_unset(container, "imagePullPolicy", policy);
    fill_unset(container, "terminationMessagePath", "/dev/termination-log");
    fill_unset(container, "terminationMessagePolicy", "File");
    for port in items_mut(container, "/ports") {
        fill_unset(port, "protocol", "TCP");
    }
    for variable in items_mut(container, "/env") {
        if let Some(reference) = object_mut(variable, "/valueFrom/fieldRef") {
            fill_unset(reference, "apiVersion", "v1");
        }
        if let Some(reference) = object_mut(variable, "/valueFrom/fileKeyRef") {
            fill(reference, "optional", false);
        }
    }
    for probe in ["/livenessProbe", "/readinessProbe", "/startupProbe"] {
        if let Some(probe) = object_mut(container, probe) {
            probe_defaults(probe);
        }
    }
    for action in ["/lifecycle/postStart/httpGet", "/lifecycle/preStop/httpGet"] {
        if let Some(action) = object_mut(container, action) {
            http_get_defaults(action);
        }
    }
    if !tree::has(container, "/resources") {
        fill(container, "resources", json!({}));
    }
}

fn probe_defaults(probe: &mut Value) {
    fill_unset(probe, "timeoutSeconds", 1);
    fill_unset(probe, "periodSeconds", 10);
    fill_unset(probe, "successThreshold", 1);
    fill_unset(probe, "failureThreshold", 3);
    if let Some(action) = object_mut(probe, "/httpGet") {
        http_get_defaults(action);
    }
    if let Some(action) = object_mut(probe, "/grpc") {
        fill(action, "service", "");
    }
}

fn http_get_defaults(action: &mut Value) {
    fill_unset(action, "path", "/");
    fill_unset(action, "scheme", "HTTP");
}

/// Images that are tagged `latest`, or neither tagged nor pinned by digest, are pulled always.
fn image_pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, ""), |(name, digest)| (name, digest));
    let path_start = name.rfind('/').map_or(0, |slash| slash + 1);
    let tag = name[path_start..].split_once(':').map_or("", |(_, tag)| tag);
    let repository = &name[..name.len() - if tag.is_empty() { 0 } else { tag.len() + 1 }];
    let path =
        repository.split_once('/').filter(|(host, _)| host.contains(['.', ':'])).map_or(repository, |(_, path)| path);
    let well_formed = !path.is_empty() && !path.contains(|letter: char| letter.is_ascii_uppercase() || letter == ' ');
    let latest = tag == "latest" || (tag.is_empty() && digest.is_empty());
    if well_formed && latest { "Always" } else { "IfNotPresent" }
}

fn volume_defaults(volume: &mut Value) {
    let has_source =
        volume.as_object().is_some_and(|map| map.iter().any(|(key, value)| key != "name" && !value.is_null()));
    if !has_source {
        fill(volume, "emptyDir", json!({}));
    }
    if let Some(image) = object_mut(volume, "/image") {
        let policy = image_pull_policy(tree::text(image, "/reference"));
        fill_unset(image, "pullPolicy", policy);
    }
    for source in ["/secret", "/configMap", "/downwardAPI", "/projected"] {
        if let Some(source) = object_mut(volume, source) {
            fill(source, "defaultMode", FILE_MODE);
        }
    }
    field_references(volume, "/downwardAPI/items");
    for source in items_mut(volume, "/projected/sources") {
        field_references(source, "/downwardAPI/items");
        if let Some(token) = object_mut(source, "/serviceAccountToken") {
            fill(token, "expirationSeconds", TOKEN_SECONDS);
        }
    }
    if let Some(claim) = object_mut(volume, "/ephemeral/volumeClaimTemplate/spec") {
        fill(claim, "volumeMode", "Filesystem");
    }
    persistent_source_defaults(volume);
}

fn field_references(source: &mut Value, pointer: &str) {
    for item in items_mut(source, pointer) {
        if let Some(reference) = object_mut(item, "/fieldRef") {
            fill_unset(reference, "apiVersion", "v1");
        }
    }
}

/// Completes the sources that volumes of pods and persistent volumes have in common.
pub fn persistent_source_defaults(source: &mut Value) {
    if let Some(path) = object_mut(source, "/hostPath") {
        fill(path, "type", "");
    }
    if let Some(iscsi) = object_mut(source, "/iscsi") {
        fill_unset(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = object_mut(source, "/rbd") {
        fill_unset(rbd, "pool", "rbd");
        fill_unset(rbd, "user", "admin");
        fill_unset(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = object_mut(source, "/azureDisk") {
        fill(disk, "cachingMode", "ReadWrite");
        fill(disk, "fsType", "ext4");
        fill(disk, "readOnly", false);
        fill(disk, "kind", "Shared");
    }
    if let Some(scale_io) = object_mut(source, "/scaleIO") {
        fill_unset(scale_io, "storageMode", "ThinProvisioned");
        fill_unset(scale_io, "fsType", "xfs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut spec: Value, pointer: &str, expected: Value) {
        defaults(&mut spec);
        assert_eq!(spec.pointer(pointer), Some(&expected), "{pointer} of {spec}");
    }

    #[test]
    fn a_container_is_completed() {
        let spec = json!({"containers": [{"name": "a", "image": "nginx", "ports": [{"containerPort": 80}]}]});
        check(
            spec.clone(),
            "",
            json!({
                "containers": [{
                    "name": "a", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                }],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                "securityContext": {}, "terminationGracePeriodSeconds": 30,
            }),
        );
        let mut twice = spec;
        defaults(&mut twice);
        check(twice.clone(), "", twice);
    }

    #[test]
    fn volumes_are_completed() {
        let check_volume = |volume: Value, expected: Value| check(json!({"volumes": [volume]}), "/volumes/0", expected);
        check_volume(json!({"name": "a"}), json!({"name": "a", "emptyDir": {}}));
        check_volume(json!({"configMap": {"name": "c"}}), json!({"configMap": {"name": "c", "defaultMode": 420}}));
        check_volume(json!({"hostPath": {"path": "/x"}}), json!({"hostPath": {"path": "/x", "type": ""}}));
        check_volume(
            json!({"projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]}}),
            json!({"projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                {"downwardAPI": {"items": [
                    {"path": "n", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                ]}},
            ]}}),
        );
    }

    #[test]
    fn probes_and_environment_are_completed() {
        let check_container = |container: Value, pointer: &str, expected: Value| {
            check(json!({"containers": [container]}), &format!("/containers/0{pointer}"), expected);
        };
        check_container(
            json!({"livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5}}),
            "/livenessProbe",
            json!({
                "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                "timeoutSeconds": 1, "periodSeconds": 5, "successThreshold": 1, "failureThreshold": 3,
            }),
        );
        check_container(json!({"startupProbe": {"grpc": {"port": 1}}}), "/startupProbe/grpc/service", json!(""));
        check_container(
            json!({"env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]}),
            "/env/0/valueFrom/fieldRef/apiVersion",
            json!("v1"),
        );
    }

    #[test]
    fn pull_policy_follows_the_tag() {
        let check = |image: &str, expected: &str| assert_eq!(image_pull_policy(image), expected, "{image}");
        check("nginx", "Always");
        check("nginx:latest", "Always");
        check("nginx:1.27", "IfNotPresent");
        check("registry:5000/a/b", "Always");
        check("registry.example.com:5000/a/b:v1", "IfNotPresent");
        check("nginx@sha256:0123", "IfNotPresent");
        check("nginx:latest@sha256:0123", "Always");
        check("Upper/Case", "IfNotPresent");
        check("", "IfNotPresent");
    }
}
