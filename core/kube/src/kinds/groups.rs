//! Kinds of the smaller groups: networking, access, storage, scheduling, policy, discovery, devices.

use serde_json::json;
use triune_api::{Value, field::FieldError, path::Path};

use super::{pod_spec, shown, validation};
use crate::{
    kind::{Kind, Selectable},
    tables::{self, cluster},
    tree::{self, child, fill, fill_unset, set},
};

/// `networking.k8s.io/v1 Ingress`.
pub static INGRESSES: Kind = Kind { validate: validate_ingress, table: cluster::INGRESSES, ..Kind::GENERIC };

/// `networking.k8s.io/v1 IngressClass`.
pub static INGRESS_CLASSES: Kind = Kind {
    defaults: |object| {
        if let Some(parameters) = tree::object_mut(object, "/spec/parameters") {
            fill(parameters, "scope", "Cluster");
        }
    },
    validate_update: |old, new, errors| validation::immutable(old, new, "/spec/controller", "spec.controller", errors),
    table: cluster::INGRESS_CLASSES,
    ..Kind::GENERIC
};

/// `networking.k8s.io/v1 NetworkPolicy`.
pub static NETWORK_POLICIES: Kind = Kind {
    defaults: |object| {
        let Some(spec) = child(object, "spec") else { return };
        if tree::items(spec, "/policyTypes").is_empty() {
            let egress = !tree::items(spec, "/egress").is_empty();
            set(spec, "policyTypes", if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
        }
        for list in ["/ingress", "/egress"] {
            for rule in tree::items_mut(spec, list) {
                for port in tree::items_mut(rule, "/ports") {
                    fill(port, "protocol", "TCP");
                }
            }
        }
    },
    table: cluster::NETWORK_POLICIES,
    ..Kind::GENERIC
};

/// `networking.k8s.io/v1 ServiceCIDR`.
pub static SERVICE_CIDRS: Kind = Kind { table: cluster::SERVICE_CIDRS, ..Kind::GENERIC };

/// `networking.k8s.io/v1 IPAddress`.
pub static IP_ADDRESSES: Kind = Kind {
    validate: |object, errors| {
        if !tree::has(object, "/spec/parentRef") {
            errors.push(FieldError::required("spec.parentRef", ""));
        }
    },
    validate_name: Some(|name| match name.parse::<std::net::IpAddr>() {
        Ok(address) if address.to_string() == name => Vec::new(),
        _ => vec!["must be an IP address in canonical form".into()],
    }),
    table: cluster::IP_ADDRESSES,
    ..Kind::GENERIC
};

/// `rbac.authorization.k8s.io/v1 RoleBinding`.
pub static ROLE_BINDINGS: Kind = Kind {
    defaults: binding_defaults,
    validate: |object, errors| validate_binding(object, &["Role", "ClusterRole"], errors),
    validate_update: |old, new, errors| validation::immutable(old, new, "/roleRef", "roleRef", errors),
    table: cluster::ROLE_BINDINGS,
    ..Kind::GENERIC
};

/// `rbac.authorization.k8s.io/v1 ClusterRoleBinding`.
pub static CLUSTER_ROLE_BINDINGS: Kind = Kind {
    defaults: binding_defaults,
    validate: |object, errors| validate_binding(object, &["ClusterRole"], errors),
    validate_update: |old, new, errors| validation::immutable(old, new, "/roleRef", "roleRef", errors),
    table: cluster::ROLE_BINDINGS,
    ..Kind::GENERIC
};

/// `rbac.authorization.k8s.io/v1 Role`.
pub static ROLES: Kind = Kind {
    validate: |object, errors| validate_rules(object, true, errors),
    table: tables::core::NAME_AND_CREATED_AT,
    ..Kind::GENERIC
};

/// `rbac.authorization.k8s.io/v1 ClusterRole`.
pub static CLUSTER_ROLES: Kind = Kind {
    validate: |object, errors| validate_rules(object, false, errors),
    table: tables::core::NAME_AND_CREATED_AT,
    ..Kind::GENERIC
};

/// `storage.k8s.io/v1 StorageClass`.
pub static STORAGE_CLASSES: Kind = Kind {
    defaults: |object| {
        fill(object, "reclaimPolicy", "Delete");
        fill(object, "volumeBindingMode", "Immediate");
    },
    validate: |object, errors| validation::required(object, "/provisioner", "provisioner", errors),
    validate_update: |old, new, errors| {
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            if old.get(field) != new.get(field) {
                let message = format!("updates to {field} are forbidden.");
                errors.push(FieldError::forbidden(field, message));
            }
        }
    },
    returns_deleted_object: true,
    table: cluster::STORAGE_CLASSES,
    ..Kind::GENERIC
};

/// `storage.k8s.io/v1 VolumeAttributesClass`.
pub static VOLUME_ATTRIBUTES_CLASSES: Kind = Kind {
    validate_update: |old, new, errors| {
        for field in ["driverName", "parameters"] {
            if old.get(field) != new.get(field) {
                errors.push(FieldError::forbidden(field, format!("updates to {field} are forbidden.")));
            }
        }
    },
    returns_deleted_object: true,
    table: cluster::VOLUME_ATTRIBUTES_CLASSES,
    ..Kind::GENERIC
};

/// `storage.k8s.io/v1 CSIDriver`.
pub static CSI_DRIVERS: Kind = Kind {
    defaults: |object| {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "attachRequired", true);
        fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            fill(spec, field, false);
        }
        fill(spec, "preventPodSchedulingIfMissing", false);
        if tree::items(spec, "/volumeLifecycleModes").is_empty() {
            set(spec, "volumeLifecycleModes", json!(["Persistent"]));
        }
    },
    returns_deleted_object: true,
    table: cluster::CSI_DRIVERS,
    ..Kind::GENERIC
};

/// `storage.k8s.io/v1 CSINode`.
pub static CSI_NODES: Kind = Kind { returns_deleted_object: true, table: cluster::CSI_NODES, ..Kind::GENERIC };

/// `storage.k8s.io/v1 CSIStorageCapacity`.
pub static CSI_STORAGE_CAPACITIES: Kind = Kind { table: tables::core::NAME_AND_CREATED_AT, ..Kind::GENERIC };

/// `storage.k8s.io/v1 VolumeAttachment`.
pub static VOLUME_ATTACHMENTS: Kind = Kind {
    validate_update: |old, new, errors| validation::immutable(old, new, "/spec", "spec", errors),
    returns_deleted_object: true,
    table: cluster::VOLUME_ATTACHMENTS,
    ..Kind::GENERIC
};

/// `scheduling.k8s.io/v1 PriorityClass`.
pub static PRIORITY_CLASSES: Kind = Kind {
    defaults: |object| fill(object, "preemptionPolicy", "PreemptLowerPriority"),
    validate: priority_class,
    validate_update: |old, new, errors| {
        if tree::integer_or_zero(old, "/value") != tree::integer_or_zero(new, "/value") {
            errors.push(FieldError::forbidden("value", "may not be changed in an update."));
        }
        validation::immutable(old, new, "/preemptionPolicy", "preemptionPolicy", errors);
    },
    closed_sets: true,
    table: cluster::PRIORITY_CLASSES,
    ..Kind::GENERIC
};

/// `node.k8s.io/v1 RuntimeClass`.
pub static RUNTIME_CLASSES: Kind = Kind {
    validate_create: |object, errors| {
        runtime_class(object, errors);
        // A rule that the reference declares, and tells after the others.
        validation::label_name(object, "/handler", "handler", errors);
    },
    validate_update: |old, new, errors| {
        let handler = tree::text(new, "/handler");
        if handler != tree::text(old, "/handler") {
            errors.push(Path::new("handler").invalid(Value::Null, "field is immutable"));
            if handler.is_empty() {
                errors.push(Path::new("handler").required(""));
            }
        }
    },
    closed_sets: true,
    warnings: |object, _| pod_spec::warnings::node_selector(object, "/scheduling/nodeSelector"),
    table: cluster::RUNTIME_CLASSES,
    ..Kind::GENERIC
};

/// `policy/v1 PodDisruptionBudget`.
pub static POD_DISRUPTION_BUDGETS: Kind = Kind {
    validate: disruption_budget,
    validate_status: |_, new, errors| {
        let status = new.get("status").unwrap_or(&Value::Null);
        for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            pod_spec::not_negative(status, field, &Path::new("status"), errors);
        }
    },
    closed_sets: true,
    table: tables::workloads::POD_DISRUPTION_BUDGETS,
    ..Kind::GENERIC
};

/// `coordination.k8s.io/v1 Lease`.
pub static LEASES: Kind = Kind {
    validate: |object, errors| {
        for field in ["leaseDurationSeconds", "leaseTransitions"] {
            let Some(number) = tree::integer(object, &format!("/spec/{field}")) else { continue };
            let (least, message) = if field == "leaseDurationSeconds" {
                (1, "must be greater than 0")
            } else {
                (0, "must be greater than or equal to 0")
            };
            if number < least {
                errors.push(FieldError::invalid(&format!("spec.{field}"), &json!(number), message));
            }
        }
    },
    table: cluster::LEASES,
    ..Kind::GENERIC
};

/// `discovery.k8s.io/v1 EndpointSlice`.
pub static ENDPOINT_SLICES: Kind = Kind {
    defaults: |object| {
        for port in tree::items_mut(object, "/ports") {
            fill(port, "name", "");
            fill(port, "protocol", "TCP");
        }
    },
    validate: |object, errors| {
        let field = "addressType";
        validation::required(object, "/addressType", field, errors);
        validation::one_of(object, "/addressType", field, &["FQDN", "IPv4", "IPv6"], errors);
    },
    validate_update: |old, new, errors| validation::immutable(old, new, "/addressType", "addressType", errors),
    table: tables::core::ENDPOINT_SLICES,
    ..Kind::GENERIC
};

/// `resource.k8s.io/v1 ResourceClaim`.
pub static RESOURCE_CLAIMS: Kind = Kind {
    defaults: |object| device_requests(object, "/spec/devices/requests"),
    validate_update: |old, new, errors| validation::immutable(old, new, "/spec", "spec", errors),
    returns_deleted_object: true,
    table: cluster::RESOURCE_CLAIMS,
    ..Kind::GENERIC
};

/// `resource.k8s.io/v1 ResourceClaimTemplate`.
pub static RESOURCE_CLAIM_TEMPLATES: Kind = Kind {
    defaults: |object| device_requests(object, "/spec/spec/devices/requests"),
    validate_update: |old, new, errors| validation::immutable(old, new, "/spec", "spec", errors),
    returns_deleted_object: true,
    ..Kind::GENERIC
};

/// `resource.k8s.io/v1 DeviceClass`.
pub static DEVICE_CLASSES: Kind = Kind { returns_deleted_object: true, ..Kind::GENERIC };

/// `resource.k8s.io/v1 DeviceTaintRule`.
pub static DEVICE_TAINT_RULES: Kind = Kind {
    create: |context, _, object| {
        let now = triune_api::time::rfc3339(context.env.clock.wall());
        if let Some(taint) = tree::object_mut(object, "/spec/taint") {
            fill(taint, "timeAdded", now);
        }
    },
    returns_deleted_object: true,
    table: cluster::DEVICE_TAINT_RULES,
    ..Kind::GENERIC
};

/// `resource.k8s.io/v1 ResourceSlice`.
pub static RESOURCE_SLICES: Kind = Kind {
    returns_deleted_object: true,
    selectable: &[
        Selectable { path: "spec.nodeName", value: |slice| tree::text(slice, "/spec/nodeName").into() },
        Selectable { path: "spec.driver", value: |slice| tree::text(slice, "/spec/driver").into() },
        Selectable { path: "spec.pool.name", value: |slice| tree::text(slice, "/spec/pool/name").into() },
    ],
    table: cluster::RESOURCE_SLICES,
    ..Kind::GENERIC
};

/// Priorities above are the system's.
const USER_PRIORITY_MAX: i64 = 1_000_000_000;
/// Priorities that the server itself makes.
const SYSTEM_PRIORITIES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
const RBAC: &str = "rbac.authorization.k8s.io";

fn priority_class(object: &Value, errors: &mut Vec<FieldError>) {
    validation::qualified_finalizers(object, errors);
    let (name, value) = (tree::name(object), tree::integer_or_zero(object, "/value"));
    if name.starts_with("system-") {
        let why = match SYSTEM_PRIORITIES.iter().find(|(known, _)| *known == name) {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, known)) if value != *known => Some(format!("value of {name} PriorityClass must be {known}")),
            Some(_) if tree::truth(object, "/globalDefault") => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(why) = why {
            let message =
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}");
            errors.push(FieldError::forbidden("metadata.name", message));
        }
    } else if value > USER_PRIORITY_MAX {
        let message = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        errors.push(FieldError::forbidden("value", message));
    }
    if let Some(policy) = object.get("preemptionPolicy").and_then(Value::as_str) {
        let supported = ["PreemptLowerPriority", "Never"];
        let path = Path::new("preemptionPolicy");
        match policy {
            "" => errors.push(path.required("")),
            policy if supported.contains(&policy) => {}
            policy => errors.push(path.not_supported(policy, &supported)),
        }
    }
}

fn runtime_class(object: &Value, errors: &mut Vec<FieldError>) {
    if let Some(overhead) = tree::map(object, "/overhead/podFixed") {
        pod_spec::resources::limits_alone(overhead, &Path::new("overhead"), errors);
    }
    let Some(scheduling) = tree::some(object, "/scheduling") else { return };
    let path = Path::new("scheduling");
    validation::labels(scheduling.get("nodeSelector"), &path.field("nodeSelector"), errors);
    let tolerations = tree::items(scheduling, "/tolerations");
    let path = path.field("tolerations");
    pod_spec::scheduling::tolerations(tolerations, &path, errors);
    let key = |toleration: &Value| ["key", "operator", "value", "effect"].map(|field| toleration.get(field).cloned());
    for (index, toleration) in tolerations.iter().enumerate() {
        if tolerations[..index].iter().any(|other| key(other) == key(toleration)) {
            let mut error = path.index(index).duplicate("");
            error.value = Some(shown::structure("Toleration", toleration));
            errors.push(error);
        }
    }
}

fn disruption_budget(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let path = Path::new("spec");
    let bounds = ["minAvailable", "maxUnavailable"].map(|field| (field, tree::some(spec, &format!("/{field}"))));
    if bounds.iter().all(|(_, bound)| bound.is_some()) {
        let message = "minAvailable and maxUnavailable cannot be both set".into();
        errors.push(shown::invalid(&path, "PodDisruptionBudgetSpec", spec, message));
    }
    for (field, bound) in bounds {
        if let Some(bound) = bound {
            validation::number_or_percent(bound, &path.field(field), errors);
            validation::at_most_whole(bound, &path.field(field), errors);
        }
    }
    validation::label_selector(spec.get("selector"), false, &path.field("selector"), errors);
    pod_spec::optional_one_of(spec, "unhealthyPodEvictionPolicy", &["AlwaysAllow", "IfHealthyBudget"], &path, errors);
}

fn device_requests(object: &mut Value, pointer: &str) {
    let complete = |request: &mut Value| {
        fill_unset(request, "allocationMode", "ExactCount");
        if tree::text(request, "/allocationMode") == "ExactCount" {
            fill_unset(request, "count", 1);
        }
    };
    for request in tree::items_mut(object, pointer) {
        if let Some(exactly) = tree::object_mut(request, "/exactly") {
            complete(exactly);
        }
        tree::items_mut(request, "/firstAvailable").iter_mut().for_each(complete);
    }
}

fn binding_defaults(object: &mut Value) {
    if let Some(role) = tree::object_mut(object, "/roleRef") {
        fill_unset(role, "apiGroup", RBAC);
    }
    for subject in tree::items_mut(object, "/subjects") {
        if matches!(tree::text(subject, "/kind"), "User" | "Group") {
            fill_unset(subject, "apiGroup", RBAC);
        }
    }
}

fn validate_binding(object: &Value, kinds: &[&str], errors: &mut Vec<FieldError>) {
    let kind = tree::text(object, "/roleRef/kind");
    let group = tree::text(object, "/roleRef/apiGroup");
    if group != RBAC {
        errors.push(FieldError::not_supported("roleRef.apiGroup", &json!(group), &[RBAC]));
    }
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported("roleRef.kind", &json!(kind), kinds));
    }
    validation::required(object, "/roleRef/name", "roleRef.name", errors);
    let namespaced = kinds.contains(&"Role");
    for (index, subject) in tree::items(object, "/subjects").iter().enumerate() {
        let path = format!("subjects[{index}]");
        validation::required(subject, "/name", &format!("{path}.name"), errors);
        let group = tree::text(subject, "/apiGroup");
        let (kind, wanted) = match tree::text(subject, "/kind") {
            "ServiceAccount" => ("ServiceAccount", ""),
            kind @ ("User" | "Group") => (kind, RBAC),
            other => {
                let supported = ["ServiceAccount", "User", "Group"];
                errors.push(FieldError::not_supported(&format!("{path}.kind"), &json!(other), &supported));
                continue;
            }
        };
        if group != wanted {
            errors.push(FieldError::not_supported(&format!("{path}.apiGroup"), &json!(group), &[wanted]));
        }
        if kind == "ServiceAccount" && !namespaced {
            validation::required(subject, "/namespace", &format!("{path}.namespace"), errors);
        }
    }
}

fn validate_rules(object: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    for (index, rule) in tree::items(object, "/rules").iter().enumerate() {
        let path = format!("rules[{index}]");
        let empty = |field: &str| tree::items(rule, &format!("/{field}")).is_empty();
        if empty("verbs") {
            errors.push(FieldError::required(&format!("{path}.verbs"), "verbs must contain at least one value"));
        }
        if !empty("nonResourceURLs") {
            let mixed = !empty("apiGroups") || !empty("resources") || !empty("resourceNames");
            let field = format!("{path}.nonResourceURLs");
            if namespaced {
                let message = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(&field, &rule["nonResourceURLs"], message));
            }
            if mixed {
                let message = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(&field, &rule["nonResourceURLs"], message));
            }
            continue;
        }
        if empty("apiGroups") {
            let message = "resource rules must supply at least one api group";
            errors.push(FieldError::required(&format!("{path}.apiGroups"), message));
        }
        if empty("resources") {
            let message = "resource rules must supply at least one resource";
            errors.push(FieldError::required(&format!("{path}.resources"), message));
        }
    }
}

fn validate_ingress(object: &Value, errors: &mut Vec<FieldError>) {
    let rules = tree::items(object, "/spec/rules");
    if rules.is_empty() && !tree::has(object, "/spec/defaultBackend") {
        let message = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid("spec", &object["spec"]["rules"], message));
    }
    if let Some(backend) = object.pointer("/spec/defaultBackend").filter(|backend| !backend.is_null()) {
        validate_backend(backend, "spec.defaultBackend", errors);
    }
    for (index, rule) in rules.iter().enumerate() {
        if !tree::has(rule, "/http") {
            continue;
        }
        let path = format!("spec.rules[{index}].http.paths");
        let paths = tree::items(rule, "/http/paths");
        if paths.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        for (index, item) in paths.iter().enumerate() {
            validate_path(item, &format!("{path}[{index}]"), errors);
        }
    }
}

fn validate_path(item: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let text = tree::text(item, "/path");
    match tree::text(item, "/pathType") {
        "" => {
            errors.push(FieldError::required(&format!("{path}.pathType"), "pathType must be specified"));
            return;
        }
        "Exact" | "Prefix" if !text.starts_with('/') => {
            errors.push(FieldError::invalid(&format!("{path}.path"), &json!(text), "must be an absolute path"));
        }
        "ImplementationSpecific" if !text.is_empty() && !text.starts_with('/') => {
            errors.push(FieldError::invalid(&format!("{path}.path"), &json!(text), "must be an absolute path"));
        }
        "Exact" | "Prefix" | "ImplementationSpecific" => {}
        other => {
            let supported = ["Exact", "ImplementationSpecific", "Prefix"];
            errors.push(FieldError::not_supported(&format!("{path}.pathType"), &json!(other), &supported));
        }
    }
    let backend = item.get("backend").unwrap_or(&Value::Null);
    validate_backend(backend, &format!("{path}.backend"), errors);
}

fn validate_backend(backend: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match (tree::has(backend, "/resource"), tree::has(backend, "/service")) {
        (true, true) => {
            errors.push(FieldError::invalid(path, &json!(""), "cannot set both resource and service backends"));
        }
        (true, false) => {}
        (false, true) => {
            validation::label_name(backend, "/service/name", &format!("{path}.service.name"), errors);
            let named = !tree::text(backend, "/service/port/name").is_empty();
            let numbered = tree::integer_or_zero(backend, "/service/port/number") != 0;
            if named && numbered {
                errors.push(FieldError::invalid(path, &json!(""), "cannot set both port name & port number"));
            } else if !named && !numbered {
                errors.push(FieldError::required(path, "port name or number is required"));
            }
        }
        (false, false) => {
            errors.push(FieldError::invalid(path, &json!(""), "resource or service backend is required"));
        }
    }
}
