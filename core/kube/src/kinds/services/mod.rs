//! Services: addresses and node ports are drawn at random and claimed in the transaction of the write, so that two servers
//! never give one away twice (kubernetes `pkg/registry/core/service`).
//!
//! In reading order: defaults and claims are here, then [`families`], [`allocate`], [`validate`].

mod allocate;
mod families;
mod validate;

use std::sync::Arc;

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    names::{GroupVersionKind, ObjectKey},
    status::Status,
};

use crate::{
    kind::{Kind, Selectable},
    tables,
    tree::{self, child, fill, fill_unset, remove, set},
};

/// `core/v1 Service`.
pub static SERVICES: Kind = Kind {
    defaults,
    begin_create: Some(allocate::create),
    begin_update: Some(allocate::update),
    create: |_, _, service| set(service, "status", json!({"loadBalancer": {}})),
    update: |_, _, old, new| allocate::drop_unneeded(old, new),
    closed_sets: true,
    validate_create: |service, errors| validate::service(service, None, errors),
    validate_update: validate::update,
    validate_status: validate::status,
    warnings: |service, _| validate::warnings(service),
    returns_deleted_object: true,
    selectable: &[
        Selectable { path: "spec.clusterIP", value: |service| tree::text(service, "/spec/clusterIP").into() },
        Selectable { path: "spec.type", value: |service| tree::text(service, "/spec/type").into() },
    ],
    table: tables::core::SERVICES,
    claims,
    claim_refused: |key, space, name, _| Some(claim_refused(key, space, name)),
    ..Kind::GENERIC
};

/// Seconds that a client stays with one pod.
const AFFINITY_SECONDS: i64 = 10800;

fn defaults(service: &mut Value) {
    let Some(spec) = child(service, "spec") else { return };
    fill_unset(spec, "type", "ClusterIP");
    fill_unset(spec, "sessionAffinity", "None");
    match tree::text(spec, "/sessionAffinity") {
        "None" => remove(spec, "sessionAffinityConfig"),
        "ClientIP" if !tree::has(spec, "/sessionAffinityConfig/clientIP/timeoutSeconds") => {
            set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}));
        }
        _ => {}
    }
    for port in tree::items_mut(spec, "/ports") {
        fill_unset(port, "protocol", "TCP");
        if tree::is_unset(port.get("targetPort"))
            && let Some(number) = tree::integer(port, "/port")
        {
            set(port, "targetPort", number);
        }
    }
    if is_external(spec) {
        fill_unset(spec, "externalTrafficPolicy", "Cluster");
    }
    let kind = tree::text(spec, "/type").to_string();
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        fill(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
        for point in tree::items_mut(service, "/status/loadBalancer/ingress") {
            if !tree::text(point, "/ip").is_empty() {
                fill(point, "ipMode", "VIP");
            }
        }
    }
}

/// Whether it can be reached from outside.
fn is_external(spec: &Value) -> bool {
    match tree::text(spec, "/type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !tree::items(spec, "/externalIPs").is_empty(),
        _ => false,
    }
}

fn kind_of(service: &Value) -> &str {
    tree::text(service, "/spec/type")
}

fn is_external_name(service: &Value) -> bool {
    kind_of(service) == "ExternalName"
}

/// Whether it has no address: it is found by names alone.
fn is_headless(service: &Value) -> bool {
    matches!(tree::items(service, "/spec/clusterIPs"), [only] if only == "None")
}

fn has_node_ports(service: &Value) -> bool {
    matches!(kind_of(service), "NodePort" | "LoadBalancer")
}

/// Whether ports that name no node port are given one.
fn draws_node_ports(service: &Value) -> bool {
    match kind_of(service) {
        "NodePort" => true,
        "LoadBalancer" => service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&json!(false)),
        _ => false,
    }
}

fn needs_health_check_port(service: &Value) -> bool {
    kind_of(service) == "LoadBalancer" && tree::text(service, "/spec/externalTrafficPolicy") == "Local"
}

/// Spaces of unique names: addresses of services, ports of nodes.
const SERVICE_IP: &str = "service-ip";
const NODE_PORT: &str = "node-port";

fn claims(_: &ObjectKey, service: &Value) -> Vec<(Arc<str>, Arc<str>)> {
    let mut claims = Vec::new();
    let mut claim = |space: &str, name: &str| {
        let claim: (Arc<str>, Arc<str>) = (space.into(), name.into());
        if !claims.contains(&claim) {
            claims.push(claim);
        }
    };
    // A request may name the one or the other.
    let addresses = tree::items(service, "/spec/clusterIPs").iter().filter_map(Value::as_str);
    for address in addresses.chain([tree::text(service, "/spec/clusterIP")]) {
        if !matches!(address, "" | "None") {
            claim(SERVICE_IP, address);
        }
    }
    let ports = tree::items(service, "/spec/ports").iter().map(|port| tree::integer_or_zero(port, "/nodePort"));
    for number in ports.chain([tree::integer_or_zero(service, "/spec/healthCheckNodePort")]) {
        if number != 0 {
            claim(NODE_PORT, &number.to_string());
        }
    }
    claims
}

/// What the request named is somebody else's.
fn claim_refused(key: &ObjectKey, space: &str, name: &str) -> Status {
    let error = if space == SERVICE_IP {
        let message = format!("failed to allocate IP {name}: provided IP is already allocated");
        FieldError::invalid("spec.clusterIPs", &json!([name]), message)
    } else {
        let number = name.parse::<i64>().unwrap_or_default();
        FieldError::invalid("spec.ports[0].nodePort", &json!(number), "provided port is already allocated")
    };
    Status::invalid(&GroupVersionKind::new("", "v1", "Service"), &key.name, &[error])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(spec: Value) -> Value {
        let mut service = json!({"spec": spec});
        defaults(&mut service);
        service
    }

    #[test]
    fn defaults_depend_on_the_type() {
        let check = |spec: Value, expected: Value| assert_eq!(completed(spec)["spec"], expected);
        check(
            json!({"ports": [{"port": 80}]}),
            json!({
                "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            }),
        );
        check(
            json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP"}),
            json!({
                "type": "LoadBalancer", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}, "externalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": true,
            }),
        );
        check(
            json!({"type": "ExternalName", "externalName": "a.example"}),
            json!({"type": "ExternalName", "externalName": "a.example", "sessionAffinity": "None"}),
        );
    }

    #[test]
    fn claims_are_what_the_service_holds() {
        let service = json!({"spec": {
            "clusterIPs": ["10.96.0.5"],
            "ports": [{"nodePort": 30080, "protocol": "TCP"}, {"nodePort": 30080, "protocol": "UDP"}, {"port": 1}],
        }});
        let key = ObjectKey::new(triune_api::names::GroupResource::new("", "services"), "a", "b");
        let held: Vec<String> = claims(&key, &service).iter().map(|(space, name)| format!("{space}/{name}")).collect();
        assert_eq!(held, ["service-ip/10.96.0.5", "node-port/30080"]);
        assert!(claims(&key, &json!({"spec": {"clusterIPs": ["None"]}})).is_empty());
    }
}
