//! The core group besides pods and controllers, and what stands near it: services, endpoints, volumes, events, nodes.

use std::collections::BTreeSet;

use serde_json::json;
use triune_api::Value;

use super::{condition_of, format_labels, join, scalar, some_of};
use crate::{
    table::{AGE, NAME, TableColumn, age, computed, count, text, timed},
    tree,
};

/// Kinds without printer columns of their own.
pub const NAME_AND_CREATED_AT: &[TableColumn] =
    &[NAME, text("Created At", "/metadata/creationTimestamp", "When the object was created.").typed("date")];

/// `core/v1 ComponentStatus`.
pub const COMPONENT_STATUSES: &[TableColumn] = &[
    NAME,
    computed("Status", |object| component(object).0, "Whether the component is healthy."),
    computed("Message", |object| component(object).1, "What the component said."),
    computed("Error", |object| component(object).2, "Why it could not be asked."),
];

/// `core/v1 ConfigMap`.
pub const CONFIG_MAPS: &[TableColumn] = &[NAME, computed("Data", config_map_entries, "Number of entries."), AGE];

/// `core/v1 Endpoints`.
pub const ENDPOINTS: &[TableColumn] =
    &[NAME, computed("Endpoints", endpoint_addresses, "Addresses and ports of the service."), AGE];

/// Events of both groups; each field is looked for under its two names.
pub const EVENTS: &[TableColumn] = &[
    timed("Last Seen", event_last_seen, "Time since the event was last seen."),
    text("Type", "/type", "Normal or Warning."),
    text("Reason", "/reason", "Why, in one word."),
    computed("Object", event_object, "What the event is about."),
    computed("Subobject", |event| event_reference(event, "fieldPath"), "Part of what it is about.").wide(),
    computed("Source", event_source, "Who reported it.").wide(),
    computed("Message", event_message, "What happened."),
    timed("First Seen", event_first_seen, "Time since the event was first seen.").wide(),
    computed("Count", event_count, "How often it was seen.").wide(),
    NAME.wide(),
];

/// `core/v1 Namespace`.
pub const NAMESPACES: &[TableColumn] = &[NAME, text("Status", "/status/phase", "Active or Terminating."), AGE];

/// `core/v1 Node`.
pub const NODES: &[TableColumn] = &[
    NAME,
    computed("Status", node_status, "Whether the node is ready and takes pods."),
    computed("Roles", node_roles, "Roles after the node's labels."),
    AGE,
    text("Version", "/status/nodeInfo/kubeletVersion", "Version of the kubelet."),
    computed("Internal-IP", |node| node_address(node, "InternalIP"), "Address within the cluster.").wide(),
    computed("External-IP", |node| node_address(node, "ExternalIP"), "Address from outside.").wide(),
    computed("OS-Image", |node| or(tree::text(node, "/status/nodeInfo/osImage"), "<unknown>"), "Operating system.")
        .wide(),
    computed("Kernel-Version", node_kernel, "Kernel and architecture.").wide(),
    computed(
        "Container-Runtime",
        |node| or(tree::text(node, "/status/nodeInfo/containerRuntimeVersion"), "<unknown>"),
        "Container runtime and its version.",
    )
    .wide(),
];

/// `core/v1 PersistentVolume`.
pub const PERSISTENT_VOLUMES: &[TableColumn] = &[
    NAME,
    computed("Capacity", |volume| json!(scalar(volume.pointer("/spec/capacity/storage"), "0")), "Size."),
    computed("Access Modes", |volume| access_modes(volume, "/spec/accessModes"), "How it may be mounted."),
    text("Reclaim Policy", "/spec/persistentVolumeReclaimPolicy", "What happens when it is released."),
    computed("Status", volume_phase, "Phase."),
    computed("Claim", volume_claim, "The claim that it is bound to."),
    computed("StorageClass", storage_class, "Its storage class."),
    computed("VolumeAttributesClass", volume_attributes_class, "Its volume attributes class."),
    text("Reason", "/status/reason", "Why it failed."),
    AGE,
    computed("VolumeMode", volume_mode, "Block or Filesystem.").wide(),
];

/// `core/v1 PersistentVolumeClaim`.
pub const PERSISTENT_VOLUME_CLAIMS: &[TableColumn] = &[
    NAME,
    computed("Status", volume_phase, "Phase."),
    text("Volume", "/spec/volumeName", "The volume that it is bound to."),
    computed("Capacity", claim_capacity, "Size of the volume."),
    computed("Access Modes", claim_access_modes, "How it may be mounted."),
    computed("StorageClass", storage_class, "Its storage class."),
    computed("VolumeAttributesClass", volume_attributes_class, "Its volume attributes class."),
    AGE,
    computed("VolumeMode", volume_mode, "Block or Filesystem.").wide(),
];

/// `core/v1 ResourceQuota`.
pub const RESOURCE_QUOTAS: &[TableColumn] = &[
    NAME,
    computed("Request", |quota| quota_usage(quota, false), "Used and allowed requests and objects."),
    computed("Limit", |quota| quota_usage(quota, true), "Used and allowed limits."),
    AGE,
];

/// `core/v1 Secret`.
pub const SECRETS: &[TableColumn] = &[
    NAME,
    text("Type", "/type", "What the entries are for."),
    count("Data", "/data", "Number of entries.").typed("string"),
    AGE,
];

/// `core/v1 Service`.
pub const SERVICES: &[TableColumn] = &[
    NAME,
    text("Type", "/spec/type", "How it is reached."),
    computed("Cluster-IP", service_cluster_ip, "Address within the cluster."),
    computed("External-IP", service_external_ip, "Addresses from outside."),
    computed("Port(s)", service_ports, "Ports, node ports and protocols."),
    AGE,
    computed("Selector", |service| json!(format_labels(service.pointer("/spec/selector"))), "Labels of its pods.")
        .wide(),
];

/// `discovery.k8s.io/v1 EndpointSlice`.
pub const ENDPOINT_SLICES: &[TableColumn] = &[
    NAME,
    text("AddressType", "/addressType", "What its addresses are."),
    computed("Ports", slice_ports, "Ports of the endpoints."),
    computed("Endpoints", slice_endpoints, "Addresses of the endpoints."),
    AGE,
];

fn or(text: &str, absent: &str) -> Value {
    json!(if text.is_empty() { absent } else { text })
}

fn component(object: &Value) -> (Value, Value, Value) {
    let Some(condition) = tree::items(object, "/conditions").iter().find(|item| tree::text(item, "/type") == "Healthy")
    else {
        return (json!("Unknown"), json!(""), json!(""));
    };
    let status = if tree::text(condition, "/status") == "True" { "Healthy" } else { "Unhealthy" };
    (json!(status), json!(tree::text(condition, "/message")), json!(tree::text(condition, "/error")))
}

fn config_map_entries(object: &Value) -> Value {
    let entries = |pointer| tree::map(object, pointer).map_or(0, serde_json::Map::len);
    json!(entries("/data") + entries("/binaryData"))
}

/// `1.2.3.4`, `[::1]:80`.
fn host_port(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn endpoint_addresses(object: &Value) -> Value {
    let mut all = Vec::new();
    for subset in tree::items(object, "/subsets") {
        let addresses = || tree::items(subset, "/addresses").iter().map(|address| tree::text(address, "/ip"));
        let ports = tree::items(subset, "/ports");
        if ports.is_empty() {
            all.extend(addresses().map(String::from));
        }
        for port in ports {
            all.extend(addresses().map(|ip| host_port(ip, tree::integer_or_zero(port, "/port"))));
        }
    }
    let empty = if tree::items(object, "/subsets").is_empty() { "<none>" } else { "" };
    json!(some_of(&all, empty))
}

fn slice_ports(object: &Value) -> Value {
    let port = |port: &Value| match (tree::integer(port, "/port"), tree::has(port, "/name")) {
        (Some(number), _) => number.to_string(),
        (None, true) => tree::text(port, "/name").to_string(),
        (None, false) => "*".into(),
    };
    json!(some_of(&tree::items(object, "/ports").iter().map(port).collect::<Vec<_>>(), "<unset>"))
}

fn slice_endpoints(object: &Value) -> Value {
    let addresses = tree::items(object, "/endpoints").iter().flat_map(|endpoint| tree::items(endpoint, "/addresses"));
    let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(String::from).collect();
    json!(some_of(&addresses, "<unset>"))
}

/// A field of the object that the event is about.
fn event_reference(event: &Value, field: &str) -> Value {
    let at = |name: &str| tree::text(event, &format!("/{name}/{field}")).to_string();
    let old = at("involvedObject");
    json!(if old.is_empty() { at("regarding") } else { old })
}

fn event_object(event: &Value) -> Value {
    let part = |field: &str| event_reference(event, field).as_str().unwrap_or_default().to_string();
    let (kind, name) = (part("kind").to_lowercase(), part("name"));
    json!(if name.is_empty() { kind } else { format!("{kind}/{name}") })
}

fn event_source(event: &Value) -> Value {
    let first = |pointers: &[&str]| {
        pointers.iter().map(|pointer| tree::text(event, pointer)).find(|text| !text.is_empty()).unwrap_or_default()
    };
    let component =
        first(&["/source/component", "/deprecatedSource/component", "/reportingComponent", "/reportingController"]);
    let instance = first(&["/source/host", "/deprecatedSource/host", "/reportingInstance"]);
    json!(if instance.is_empty() { component.to_string() } else { format!("{component}, {instance}") })
}

fn event_message(event: &Value) -> Value {
    let message = tree::text(event, "/message").trim();
    json!(if message.is_empty() { tree::text(event, "/note").trim() } else { message })
}

fn event_time<'a>(event: &'a Value, old: &str, new: &str) -> &'a str {
    let text = tree::text(event, old);
    if text.is_empty() { tree::text(event, new) } else { text }
}

fn event_first_seen(event: &Value, now: jiff::Timestamp) -> Value {
    let first = event_time(event, "/firstTimestamp", "/deprecatedFirstTimestamp");
    json!(age(if first.is_empty() { tree::text(event, "/eventTime") } else { first }, now))
}

fn event_last_seen(event: &Value, now: jiff::Timestamp) -> Value {
    if tree::has(event, "/series") {
        return json!(age(tree::text(event, "/series/lastObservedTime"), now));
    }
    match event_time(event, "/lastTimestamp", "/deprecatedLastTimestamp") {
        "" => event_first_seen(event, now),
        last => json!(age(last, now)),
    }
}

fn event_count(event: &Value) -> Value {
    if tree::has(event, "/series") {
        return json!(tree::integer_or_zero(event, "/series/count"));
    }
    let count = tree::integer_or_zero(event, "/count").max(tree::integer_or_zero(event, "/deprecatedCount"));
    json!(count.max(1))
}

fn node_status(node: &Value) -> Value {
    let mut status = match condition_of(node, "Ready").map(|ready| tree::text(ready, "/status")) {
        Some("True") => "Ready".to_string(),
        Some(_) => "NotReady".to_string(),
        None => "Unknown".to_string(),
    };
    if tree::truth(node, "/spec/unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    json!(status)
}

fn node_roles(node: &Value) -> Value {
    let labels = tree::map(node, "/metadata/labels").into_iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    or(&join(roles.into_iter(), ","), "<none>")
}

fn node_address(node: &Value, kind: &str) -> Value {
    let mut addresses = tree::items(node, "/status/addresses").iter();
    let address = addresses.find(|address| tree::text(address, "/type") == kind);
    json!(address.map_or("<none>", |address| tree::text(address, "/address")))
}

fn node_kernel(node: &Value) -> Value {
    let kernel = or(tree::text(node, "/status/nodeInfo/kernelVersion"), "<unknown>");
    let kernel = kernel.as_str().unwrap_or_default();
    json!(match tree::text(node, "/status/nodeInfo/architecture") {
        "" => kernel.to_string(),
        architecture => format!("{kernel} ({architecture})"),
    })
}

fn access_modes(object: &Value, pointer: &str) -> Value {
    let modes: Vec<&str> = tree::items(object, pointer).iter().filter_map(Value::as_str).collect();
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    json!(join(short.iter().filter(|(mode, _)| modes.contains(mode)).map(|(_, short)| *short), ","))
}

fn volume_phase(object: &Value) -> Value {
    if tree::has(object, "/metadata/deletionTimestamp") {
        return json!("Terminating");
    }
    json!(tree::text(object, "/status/phase"))
}

fn volume_claim(volume: &Value) -> Value {
    if !tree::has(volume, "/spec/claimRef") {
        return json!("");
    }
    let part = |field: &str| tree::text(volume, &format!("/spec/claimRef/{field}"));
    json!(format!("{}/{}", part("namespace"), part("name")))
}

fn storage_class(object: &Value) -> Value {
    let old = object.pointer("/metadata/annotations/volume.beta.kubernetes.io~1storage-class").and_then(Value::as_str);
    json!(old.unwrap_or_else(|| tree::text(object, "/spec/storageClassName")))
}

fn volume_attributes_class(object: &Value) -> Value {
    json!(scalar(object.pointer("/spec/volumeAttributesClassName"), "<unset>"))
}

fn volume_mode(object: &Value) -> Value {
    json!(scalar(object.pointer("/spec/volumeMode"), "<unset>"))
}

fn claim_capacity(claim: &Value) -> Value {
    if tree::text(claim, "/spec/volumeName").is_empty() {
        return json!("");
    }
    json!(scalar(claim.pointer("/status/capacity/storage"), "0"))
}

fn claim_access_modes(claim: &Value) -> Value {
    if tree::text(claim, "/spec/volumeName").is_empty() {
        return json!("");
    }
    access_modes(claim, "/status/accessModes")
}

fn quota_usage(quota: &Value, limits: bool) -> Value {
    let hard = tree::map(quota, "/status/hard").into_iter().flatten();
    let used = |resource: &str| quota.pointer("/status/used").and_then(|used| used.get(resource));
    let usage: Vec<String> = hard
        .filter(|(resource, _)| resource.starts_with("limits.") == limits)
        .map(|(resource, hard)| format!("{resource}: {}/{}", scalar(used(resource), "0"), scalar(Some(hard), "0")))
        .collect();
    json!(usage.join(", "))
}

fn service_cluster_ip(service: &Value) -> Value {
    or(tree::text(service, "/spec/clusterIPs/0"), "<none>")
}

fn service_external_ip(service: &Value) -> Value {
    let external: Vec<&str> = tree::items(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    match tree::text(service, "/spec/type") {
        "ClusterIP" | "NodePort" => or(&external.join(","), "<none>"),
        "LoadBalancer" => {
            let balancer = load_balancer_addresses(service);
            let all: Vec<&str> = balancer.iter().map(String::as_str).chain(external).collect();
            or(&all.join(","), "<pending>")
        }
        "ExternalName" => json!(tree::text(service, "/spec/externalName")),
        _ => json!("<unknown>"),
    }
}

/// Sorted, each once.
pub(super) fn load_balancer_addresses(object: &Value) -> BTreeSet<String> {
    let ingress = tree::items(object, "/status/loadBalancer/ingress").iter();
    ingress
        .map(|point| match tree::text(point, "/ip") {
            "" => tree::text(point, "/hostname"),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .map(String::from)
        .collect()
}

fn service_ports(service: &Value) -> Value {
    let port = |port: &Value| {
        let (number, protocol) = (tree::integer_or_zero(port, "/port"), tree::text(port, "/protocol"));
        match tree::integer_or_zero(port, "/nodePort") {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    };
    let ports: Vec<String> = tree::items(service, "/spec/ports").iter().map(port).collect();
    or(&ports.join(","), "<none>")
}
