//! Services: addresses and node ports are drawn at random and claimed in the transaction of the write, so that two servers
//! never give one away twice (kubernetes `pkg/registry/core/service`).

use std::{net::IpAddr, sync::Arc};

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    names::{GroupVersionKind, ObjectKey},
    status::Status,
};
use triune_machinery::context::Context;

use super::validation;
use crate::{
    kind::{Kind, Selectable},
    settings::Settings,
    tables,
    tree::{self, child, fill, fill_unset, remove, set},
};

/// `core/v1 Service`.
pub static SERVICES: Kind = Kind {
    defaults,
    create: |context, settings, service| {
        set(service, "status", json!({"loadBalancer": {}}));
        allocate(context, settings, service);
    },
    update: |context, settings, old, new| {
        keep_allocated(old, new);
        drop_unneeded(old, new);
        allocate(context, settings, new);
    },
    validate,
    validate_update,
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

fn needs_cluster_ip(service: &Value) -> bool {
    matches!(tree::text(service, "/spec/type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn needs_node_ports(service: &Value) -> bool {
    match tree::text(service, "/spec/type") {
        "NodePort" => true,
        "LoadBalancer" => service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&json!(false)),
        _ => false,
    }
}

fn needs_health_check_port(service: &Value) -> bool {
    tree::text(service, "/spec/type") == "LoadBalancer" && tree::text(service, "/spec/externalTrafficPolicy") == "Local"
}

/// Gives what the service needs and did not ask for by value.
fn allocate(context: &Context, settings: &Settings, service: &mut Value) {
    let (ports_needed, check_needed) = (needs_node_ports(service), needs_health_check_port(service));
    let ip_needed = needs_cluster_ip(service);
    let Some(spec) = child(service, "spec") else { return };
    let entropy = &*context.env.entropy;
    if ip_needed {
        allocate_cluster_ip(spec, || settings.service_range.draw(entropy).to_string());
    }
    if ports_needed {
        let taken: Vec<i64> =
            tree::items(spec, "/ports").iter().filter_map(|port| tree::integer(port, "/nodePort")).collect();
        let mut drawn = Vec::new();
        for port in tree::items_mut(spec, "/ports") {
            if tree::is_unset(port.get("nodePort")) {
                let number = draw_port(settings, entropy, |number| taken.contains(&number) || drawn.contains(&number));
                drawn.push(number);
                set(port, "nodePort", number);
            }
        }
    }
    if check_needed && tree::is_unset(spec.get("healthCheckNodePort")) {
        set(spec, "healthCheckNodePort", draw_port(settings, entropy, |_| false));
    }
}

/// A service has few ports and the range is large: a handful of draws finds a free one.
const DRAWS_MAX: usize = 100;

fn draw_port(settings: &Settings, entropy: &dyn triune_env::Entropy, taken: impl Fn(i64) -> bool) -> i64 {
    let draw = || i64::from(settings.node_ports.draw(entropy));
    std::iter::repeat_with(draw).take(DRAWS_MAX).find(|number| !taken(*number)).unwrap_or_else(draw)
}

fn allocate_cluster_ip(spec: &mut Value, draw: impl FnOnce() -> String) {
    let one = tree::text(spec, "/clusterIP").to_string();
    let first = tree::text(spec, "/clusterIPs/0").to_string();
    let address = match (one.is_empty(), first.is_empty()) {
        (false, _) => one,
        (true, false) => first,
        (true, true) => draw(),
    };
    let headless = address == "None";
    let family = match address.parse() {
        Ok(IpAddr::V6(_)) => "IPv6",
        _ => "IPv4",
    };
    set(spec, "clusterIP", address.clone());
    if tree::items(spec, "/clusterIPs").is_empty() {
        set(spec, "clusterIPs", json!([address]));
    }
    let selectorless = headless && tree::map(spec, "/selector").is_none_or(serde_json::Map::is_empty);
    fill(spec, "ipFamilyPolicy", if selectorless { "RequireDualStack" } else { "SingleStack" });
    if tree::items(spec, "/ipFamilies").is_empty() {
        set(spec, "ipFamilies", if selectorless { json!(["IPv4", "IPv6"]) } else { json!([family]) });
    }
}

/// What the server gave stays where the client did not send it back.
fn keep_allocated(old: &Value, new: &mut Value) {
    let keep_ip = needs_cluster_ip(old) && needs_cluster_ip(new);
    let keep_ports = needs_node_ports(old) && needs_node_ports(new);
    let keep_check = needs_health_check_port(old) && needs_health_check_port(new);
    let old_ports = tree::items(old, "/spec/ports");
    let (Some(old), Some(spec)) = (old.get("spec"), child(new, "spec")) else { return };
    let keep = |spec: &mut Value, field: &str| {
        if tree::is_unset(spec.get(field)) {
            tree::copy_field(old, spec, field);
        }
    };
    if keep_ip {
        keep(spec, "clusterIP");
        if spec.get("clusterIP") == old.get("clusterIP") {
            keep(spec, "clusterIPs");
        }
        keep(spec, "ipFamilies");
        keep(spec, "ipFamilyPolicy");
    }
    if keep_ports {
        let mut used: Vec<i64> =
            tree::items(spec, "/ports").iter().filter_map(|port| tree::integer(port, "/nodePort")).collect();
        for port in tree::items_mut(spec, "/ports") {
            if !tree::is_unset(port.get("nodePort")) {
                continue;
            }
            let same =
                |old: &&Value| old.get("port") == port.get("port") && old.get("protocol") == port.get("protocol");
            let number = old_ports.iter().find(same).map_or(0, |old| tree::integer_or_zero(old, "/nodePort"));
            if number != 0 && !used.contains(&number) {
                used.push(number);
                set(port, "nodePort", number);
            }
        }
    }
    if keep_check {
        keep(spec, "healthCheckNodePort");
    }
}

/// What a service of the new type cannot have goes, if the client only left it as it was.
fn drop_unneeded(old: &Value, new: &mut Value) {
    let no_ip = needs_cluster_ip(old) && !needs_cluster_ip(new);
    let no_ports = needs_node_ports(old) && !needs_node_ports(new);
    let no_check = needs_health_check_port(old) && !needs_health_check_port(new);
    let no_balancer =
        tree::text(old, "/spec/type") == "LoadBalancer" && tree::text(new, "/spec/type") != "LoadBalancer";
    let not_external = old.get("spec").is_some_and(is_external) && !new.get("spec").is_some_and(is_external);
    let (Some(old), Some(spec)) = (old.get("spec"), child(new, "spec")) else { return };
    let drop = |spec: &mut Value, field: &str| {
        if spec.get(field) == old.get(field) {
            remove(spec, field);
        }
    };
    if no_ip {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            drop(spec, field);
        }
    }
    if no_ports {
        let ports = |spec: &Value| -> Vec<i64> {
            tree::items(spec, "/ports").iter().map(|port| tree::integer_or_zero(port, "/nodePort")).collect()
        };
        if ports(old) == ports(spec) {
            for port in tree::items_mut(spec, "/ports") {
                remove(port, "nodePort");
            }
        }
    }
    if no_check {
        drop(spec, "healthCheckNodePort");
    }
    if no_balancer {
        drop(spec, "allocateLoadBalancerNodePorts");
        drop(spec, "loadBalancerClass");
    }
    if not_external {
        drop(spec, "externalTrafficPolicy");
    }
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

fn validate(service: &Value, errors: &mut Vec<FieldError>) {
    let kind = tree::text(service, "/spec/type");
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let ports = tree::items(service, "/spec/ports");
    let headless = tree::text(service, "/spec/clusterIP") == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    if kind == "LoadBalancer" && headless {
        let message = "may not be set to 'None' for LoadBalancer services";
        errors.push(FieldError::invalid("spec.clusterIPs[0]", &json!("None"), message));
    }
    if kind == "NodePort" && headless {
        let message = "may not be set to 'None' for NodePort services";
        errors.push(FieldError::invalid("spec.clusterIPs[0]", &json!("None"), message));
    }
    if kind == "ExternalName" {
        match tree::text(service, "/spec/externalName").trim_end_matches('.') {
            "" => errors.push(FieldError::required("spec.externalName", "")),
            _ => validation::subdomain_name(service, "/spec/externalName", "spec.externalName", errors),
        }
        if !tree::text(service, "/spec/clusterIP").is_empty() && !headless {
            let message = "may not be set when type is 'ExternalName'";
            errors.push(FieldError::forbidden("spec.clusterIPs", message));
        }
    }
    validate_ports(ports, errors);
    validation::one_of(service, "/spec/sessionAffinity", "spec.sessionAffinity", &["ClientIP", "None"], errors);
    validation::one_of(service, "/spec/type", "spec.type", &kinds, errors);
    for (index, address) in tree::items(service, "/spec/clusterIPs").iter().enumerate() {
        let text = address.as_str().unwrap_or_default();
        if text != "None" && text.parse::<IpAddr>().is_err() {
            let message = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(&format!("spec.clusterIPs[{index}]"), address, message));
        }
    }
}

fn validate_ports(ports: &[Value], errors: &mut Vec<FieldError>) {
    let mut names = Vec::new();
    let mut numbers = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = tree::text(port, "/name");
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(&format!("{path}.name"), ""));
        } else if !name.is_empty() {
            validation::label_name(port, "/name", &format!("{path}.name"), errors);
            if names.contains(&name) {
                errors.push(FieldError::duplicate(&format!("{path}.name"), &json!(name)));
            }
            names.push(name);
        }
        validation::port_number(tree::integer_or_zero(port, "/port"), &format!("{path}.port"), errors);
        let protocols = ["SCTP", "TCP", "UDP"];
        validation::one_of(port, "/protocol", &format!("{path}.protocol"), &protocols, errors);
        let key = (tree::integer_or_zero(port, "/port"), tree::text(port, "/protocol"));
        if numbers.contains(&key) {
            let duplicate = json!({"port": key.0, "protocol": key.1});
            errors.push(FieldError::duplicate(&path, &duplicate));
        }
        numbers.push(key);
    }
}

fn validate_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let (before, after) = (tree::text(old, "/spec/clusterIP"), tree::text(new, "/spec/clusterIP"));
    if needs_cluster_ip(old) && needs_cluster_ip(new) && before != after && !before.is_empty() {
        let shown = new.pointer("/spec/clusterIPs").cloned().unwrap_or_default();
        errors.push(FieldError::invalid("spec.clusterIPs[0]", &shown, "may not change once set"));
    }
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
    fn addresses_are_given_once() {
        let check = |mut spec: Value, expected: Value| {
            allocate_cluster_ip(&mut spec, || "10.96.0.9".into());
            assert_eq!(spec, expected);
        };
        let given = |ip: &str| json!({"clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"});
        check(json!({}), given("10.96.0.9"));
        check(json!({"clusterIP": "10.96.0.5"}), given("10.96.0.5"));
        check(given("10.96.0.5"), given("10.96.0.5"));
        let mut headless = given("None");
        headless["selector"] = json!({"a": "b"});
        check(json!({"clusterIP": "None", "selector": {"a": "b"}}), headless);
    }

    #[test]
    fn allocations_survive_updates() {
        let old = json!({"spec": {
            "type": "NodePort", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}],
        }});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        keep_allocated(&old, &mut new);
        assert_eq!(new, old);
        new["spec"]["type"] = json!("ClusterIP");
        drop_unneeded(&old, &mut new);
        assert_eq!(new["spec"]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
        assert_eq!(new["spec"]["clusterIP"], "10.96.0.5");
        new["spec"]["type"] = json!("ExternalName");
        drop_unneeded(&old, &mut new);
        assert_eq!(new["spec"].get("clusterIP"), None);
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

    #[test]
    fn what_is_wrong_is_said() {
        let check = |spec: Value, expected: &[&str]| {
            let mut errors = Vec::new();
            validate(&completed(spec), &mut errors);
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        };
        check(json!({"ports": [{"port": 80}]}), &[]);
        check(json!({}), &["spec.ports: Required value"]);
        check(json!({"clusterIP": "None"}), &[]);
        check(json!({"type": "ExternalName"}), &["spec.externalName: Required value"]);
        check(
            json!({"ports": [{"port": 80}, {"name": "b", "port": 0}]}),
            &[
                "spec.ports[0].name: Required value",
                "spec.ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        );
        check(
            json!({"type": "X", "ports": [{"port": 80}]}),
            &[
                r#"spec.type: Unsupported value: "X": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#,
            ],
        );
    }
}
