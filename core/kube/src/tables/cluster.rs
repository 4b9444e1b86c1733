//! Networking, access, storage classes, certificates, leases, devices: kinds of the smaller groups.

use serde_json::json;
use triune_api::{Value, time};

use super::{condition_of, format_labels, format_selector, join, scalar};
use crate::{
    table::{AGE, NAME, TableColumn, age, computed, count, integer, text, timed, truth},
    tree,
};

/// `networking.k8s.io/v1 Ingress`.
pub const INGRESSES: &[TableColumn] = &[
    NAME,
    computed("Class", |object| json!(scalar(object.pointer("/spec/ingressClassName"), "<none>")), "Ingress class."),
    computed("Hosts", ingress_hosts, "Hosts of its rules."),
    computed("Address", |object| json!(join_all(object)), "Addresses of the load balancer."),
    computed("Ports", ingress_ports, "Ports that are opened."),
    AGE,
];

/// `networking.k8s.io/v1 IngressClass`.
pub const INGRESS_CLASSES: &[TableColumn] = &[
    computed("Name", ingress_class_name, "Name of the object, unique within the cluster.").formatted("name"),
    text("Controller", "/spec/controller", "Who serves the class."),
    computed("Parameters", ingress_class_parameters, "Further parameters."),
    AGE,
];

/// `networking.k8s.io/v1 NetworkPolicy`.
pub const NETWORK_POLICIES: &[TableColumn] = &[
    NAME,
    computed(
        "Pod-Selector",
        |object| json!(format_selector(object.pointer("/spec/podSelector"))),
        "Label query over the pods that it is for.",
    ),
    AGE,
];

/// `networking.k8s.io/v1 ServiceCIDR`.
pub const SERVICE_CIDRS: &[TableColumn] = &[
    NAME,
    computed(
        "CIDRs",
        |object| json!(join(tree::items(object, "/spec/cidrs").iter().filter_map(Value::as_str), ",")),
        "Ranges of service addresses.",
    ),
    AGE,
];

/// `networking.k8s.io/v1 IPAddress`.
///
/// The reference has a cell for the age, and no column for it.
pub const IP_ADDRESSES: &[TableColumn] =
    &[NAME, computed("ParentRef", ip_address_parent, "Who uses the address."), AGE.without_heading()];

/// `rbac.authorization.k8s.io/v1` RoleBinding and ClusterRoleBinding.
pub const ROLE_BINDINGS: &[TableColumn] = &[
    NAME,
    computed(
        "Role",
        |object| json!(format!("{}/{}", tree::text(object, "/roleRef/kind"), tree::text(object, "/roleRef/name"))),
        "The role that is given.",
    ),
    AGE,
    computed("Users", |object| subjects(object, "User"), "Users that it is given to.").wide(),
    computed("Groups", |object| subjects(object, "Group"), "Groups that it is given to.").wide(),
    computed("ServiceAccounts", |object| subjects(object, "ServiceAccount"), "Service accounts that it is given to.")
        .wide(),
];

/// `certificates.k8s.io/v1 CertificateSigningRequest`.
pub const CERTIFICATE_SIGNING_REQUESTS: &[TableColumn] = &[
    NAME,
    AGE,
    computed("SignerName", signer_name, "Who should sign."),
    text("Requestor", "/spec/username", "Who asked."),
    computed("RequestedDuration", requested_duration, "How long it should be valid."),
    computed("Condition", signing_state, "Whether it is approved and signed."),
];

/// `certificates.k8s.io/v1 ClusterTrustBundle`.
pub const CLUSTER_TRUST_BUNDLES: &[TableColumn] =
    &[NAME, computed("SignerName", signer_name, "Whose certificates it vouches for.")];

/// `certificates.k8s.io/v1 PodCertificateRequest`.
pub const POD_CERTIFICATE_REQUESTS: &[TableColumn] = &[
    NAME,
    text("PodName", "/spec/podName", "The pod."),
    text("ServiceAccountName", "/spec/serviceAccountName", "The pod's service account."),
    text("NodeName", "/spec/nodeName", "The pod's node."),
    text("SignerName", "/spec/signerName", "Who should sign."),
    computed("State", pod_certificate_state, "Pending, Issued, Denied or Failed."),
    computed(
        "UnverifiedUserAnnotations",
        |object| json!(format_labels(object.pointer("/spec/unverifiedUserAnnotations"))),
        "What the pod adds, unverified.",
    ),
];

/// `coordination.k8s.io/v1 Lease`.
pub const LEASES: &[TableColumn] = &[NAME, text("Holder", "/spec/holderIdentity", "Who holds the lease."), AGE];

/// `scheduling.k8s.io/v1 PriorityClass`.
pub const PRIORITY_CLASSES: &[TableColumn] = &[
    NAME,
    integer("Value", "/value", "The priority."),
    truth("Global-Default", "/globalDefault", "Whether pods without a class get it."),
    AGE,
    text("PreemptionPolicy", "/preemptionPolicy", "Whether pods of less priority may have to go."),
];

/// `node.k8s.io/v1 RuntimeClass`.
pub const RUNTIME_CLASSES: &[TableColumn] = &[NAME, text("Handler", "/handler", "The runtime's handler."), AGE];

/// `storage.k8s.io/v1 StorageClass`.
pub const STORAGE_CLASSES: &[TableColumn] = &[
    NAME,
    text("Provisioner", "/provisioner", "Who makes volumes."),
    computed("ReclaimPolicy", |object| json!(scalar(object.get("reclaimPolicy"), "Delete")), "Of its volumes."),
    computed(
        "VolumeBindingMode",
        |object| json!(scalar(object.get("volumeBindingMode"), "Immediate")),
        "When claims are bound.",
    ),
    truth("AllowVolumeExpansion", "/allowVolumeExpansion", "Whether volumes may grow.").typed("string"),
    AGE,
];

/// The class that claims without one get: of those that say so the newest, of equally old ones the first by name.
pub fn default_storage_class(classes: &[Value]) -> Option<&Value> {
    const MARKS: [&str; 2] =
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    let says_so = |class: &&Value| {
        let annotations = tree::map(class, "/metadata/annotations");
        annotations.is_some_and(|map| MARKS.iter().any(|mark| map.get(*mark).is_some_and(|value| value == "true")))
    };
    let created = |class: &Value| tree::text(class, "/metadata/creationTimestamp").to_string();
    classes
        .iter()
        .filter(says_so)
        .max_by(|left, right| created(left).cmp(&created(right)).then_with(|| tree::name(right).cmp(tree::name(left))))
}

/// `storage.k8s.io/v1 VolumeAttributesClass`.
pub const VOLUME_ATTRIBUTES_CLASSES: &[TableColumn] =
    &[NAME, text("DriverName", "/driverName", "The driver that knows the class."), AGE];

/// `storage.k8s.io/v1 VolumeAttachment`.
pub const VOLUME_ATTACHMENTS: &[TableColumn] = &[
    NAME,
    text("Attacher", "/spec/attacher", "Who attaches.").formatted("name"),
    text("PV", "/spec/source/persistentVolumeName", "The volume."),
    text("Node", "/spec/nodeName", "The node."),
    truth("Attached", "/status/attached", "Whether it is attached."),
    AGE,
];

/// `storage.k8s.io/v1 CSIDriver`.
pub const CSI_DRIVERS: &[TableColumn] = &[
    NAME,
    computed(
        "AttachRequired",
        |object| object.pointer("/spec/attachRequired").cloned().unwrap_or(json!(true)),
        "Whether volumes are attached.",
    )
    .typed("boolean"),
    truth("PodInfoOnMount", "/spec/podInfoOnMount", "Whether mounts are told of the pod."),
    truth("StorageCapacity", "/spec/storageCapacity", "Whether the scheduler looks at capacity."),
    computed("TokenRequests", driver_token_requests, "Audiences of the tokens it gets."),
    truth("RequiresRepublish", "/spec/requiresRepublish", "Whether mounts are renewed."),
    computed("Modes", driver_modes, "Kinds of volumes."),
    AGE,
];

/// `storage.k8s.io/v1 CSINode`.
pub const CSI_NODES: &[TableColumn] = &[NAME, count("Drivers", "/spec/drivers", "Drivers on the node."), AGE];

/// `resource.k8s.io/v1 ResourceClaim`.
pub const RESOURCE_CLAIMS: &[TableColumn] =
    &[NAME, computed("State", claim_state, "Whether it is allocated and reserved."), AGE];

/// `resource.k8s.io/v1 ResourceSlice`.
pub const RESOURCE_SLICES: &[TableColumn] = &[
    NAME,
    text("Node", "/spec/nodeName", "The node that has the devices."),
    text("Driver", "/spec/driver", "The driver that knows them."),
    text("Pool", "/spec/pool/name", "The pool that they belong to."),
    AGE,
];

/// `resource.k8s.io/v1 DeviceTaintRule`.
pub const DEVICE_TAINT_RULES: &[TableColumn] = &[
    NAME,
    text("Key", "/spec/taint/key", "Key of the taint."),
    text("Value", "/spec/taint/value", "Value of the taint."),
    text("Effect", "/spec/taint/effect", "What the taint does."),
    timed("TimeAdded", taint_age, "Time since the taint was set."),
    AGE,
];

fn ingress_hosts(object: &Value) -> Value {
    let rules = tree::items(object, "/spec/rules");
    let hosts: Vec<&str> = rules.iter().map(|rule| tree::text(rule, "/host")).filter(|host| !host.is_empty()).collect();
    let shown = hosts.iter().take(super::ITEMS_SHOWN_MAX).copied().collect::<Vec<_>>().join(",");
    if shown.is_empty() {
        return json!("*");
    }
    // Rules without a host after the third are counted too.
    let nth = rules.iter().enumerate().filter(|(_, rule)| !tree::text(rule, "/host").is_empty()).nth(2);
    match nth {
        Some((index, _)) if index + 1 < rules.len() => {
            json!(format!("{shown} + {} more...", rules.len() - super::ITEMS_SHOWN_MAX))
        }
        _ => json!(shown),
    }
}

fn join_all(object: &Value) -> String {
    super::core::load_balancer_addresses(object).into_iter().collect::<Vec<_>>().join(",")
}

fn ingress_ports(object: &Value) -> Value {
    json!(if tree::items(object, "/spec/tls").is_empty() { "80" } else { "80, 443" })
}

fn ingress_class_name(object: &Value) -> Value {
    let is_default = object.pointer("/metadata/annotations/ingressclass.kubernetes.io~1is-default-class");
    let suffix = if is_default.and_then(Value::as_str) == Some("true") { " (default)" } else { "" };
    json!(format!("{}{suffix}", tree::name(object)))
}

fn ingress_class_parameters(object: &Value) -> Value {
    let Some(parameters) = object.pointer("/spec/parameters").filter(|parameters| parameters.is_object()) else {
        return json!("<none>");
    };
    let group = parameters.get("apiGroup").and_then(Value::as_str).map(|group| format!(".{group}"));
    let kind = tree::text(parameters, "/kind");
    json!(format!("{kind}{}/{}", group.unwrap_or_default(), tree::text(parameters, "/name")))
}

fn ip_address_parent(object: &Value) -> Value {
    if !tree::has(object, "/spec/parentRef") {
        return json!("<none>");
    }
    let part = |field: &str| tree::text(object, &format!("/spec/parentRef/{field}")).to_string();
    let (group, namespace) = (part("group"), part("namespace"));
    let resource = part("resource") + if group.is_empty() { "" } else { "." } + &group;
    let namespace = if namespace.is_empty() { namespace } else { format!("/{namespace}") };
    json!(format!("{}{namespace}/{}", resource.to_lowercase(), part("name")))
}

fn subjects(object: &Value, kind: &str) -> Value {
    let named = tree::items(object, "/subjects").iter().filter(|subject| tree::text(subject, "/kind") == kind);
    let names: Vec<String> = named
        .map(|subject| match kind {
            "ServiceAccount" => format!("{}/{}", tree::text(subject, "/namespace"), tree::text(subject, "/name")),
            _ => tree::text(subject, "/name").to_string(),
        })
        .collect();
    json!(names.join(", "))
}

fn signer_name(object: &Value) -> Value {
    let signer = tree::text(object, "/spec/signerName");
    json!(if signer.is_empty() { "<none>" } else { signer })
}

fn requested_duration(object: &Value) -> Value {
    let seconds = tree::integer(object, "/spec/expirationSeconds");
    json!(seconds.map_or_else(|| "<none>".into(), time::human_duration))
}

fn signing_state(object: &Value) -> Value {
    let has = |condition| condition_of(object, condition).is_some();
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_string();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !tree::text(object, "/status/certificate").is_empty() {
        state.push_str(",Issued");
    }
    json!(state)
}

fn pod_certificate_state(object: &Value) -> Value {
    let known = tree::items(object, "/status/conditions").iter().map(|condition| tree::text(condition, "/type"));
    json!(known.rev().find(|state| matches!(*state, "Issued" | "Denied" | "Failed")).unwrap_or("Pending"))
}

fn driver_token_requests(object: &Value) -> Value {
    if !tree::has(object, "/spec/tokenRequests") {
        return json!("<unset>");
    }
    let requests = tree::items(object, "/spec/tokenRequests").iter();
    json!(join(requests.map(|request| tree::text(request, "/audience")), ","))
}

fn driver_modes(object: &Value) -> Value {
    let modes = join(tree::items(object, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str), ",");
    json!(if modes.is_empty() { "<none>".into() } else { modes })
}

fn claim_state(object: &Value) -> Value {
    let deleted = tree::has(object, "/metadata/deletionTimestamp");
    let mut states = Vec::new();
    if deleted {
        states.push("deleted");
    }
    if tree::has(object, "/status/allocation") {
        states.push("allocated");
        if !tree::items(object, "/status/reservedFor").is_empty() {
            states.push("reserved");
        }
    } else if !deleted {
        states.push("pending");
    }
    json!(states.join(","))
}

fn taint_age(object: &Value, now: jiff::Timestamp) -> Value {
    match tree::text(object, "/spec/taint/timeAdded") {
        "" => json!(""),
        added => json!(age(added, now)),
    }
}
