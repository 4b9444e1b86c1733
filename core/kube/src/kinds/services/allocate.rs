//! Addresses and node ports: what the server gives, what stays given, and what goes with a change of type (kubernetes
//! `pkg/registry/core/service/{strategy.go,storage}`). What is drawn here is claimed in the transaction of the write.

use serde_json::json;
use triune_api::{
    Value, field::FieldError, names::GroupVersionKind, status::Status, validation::network::parse_ip_leniently,
};
use triune_env::Entropy;
use triune_machinery::context::Context;

use super::{
    draws_node_ports, families, has_node_ports, is_external, is_external_name, kind_of, needs_health_check_port,
};
use crate::{
    field::Field,
    settings::Settings,
    tree::{self, child, remove, set},
};

/// Gives a new service what it needs.
pub fn create(context: &Context, settings: &Settings, service: &mut Value) -> Result<(), Status> {
    if let Some(spec) = child(service, "spec")
        && tree::items(spec, "/clusterIPs").is_empty()
        && !tree::text(spec, "/clusterIP").is_empty()
    {
        let address = tree::text(spec, "/clusterIP").to_string();
        set(spec, "clusterIPs", json!([address]));
    }
    let entropy = &*context.env.entropy;
    families::complete(None, service).map_err(|errors| invalid(service, &errors))?;
    give_address(settings, entropy, service)?;
    node_ports_of_new(settings, entropy, service)?;
    give_health_check_port(settings, entropy, service);
    Ok(())
}

/// Gives a changed service what it needs and did not have.
pub fn update(context: &Context, settings: &Settings, old: &Value, new: &mut Value) -> Result<(), Status> {
    keep_given(old, new);
    follow_address(old, new);
    let entropy = &*context.env.entropy;
    families::complete(Some(old), new).map_err(|errors| invalid(new, &errors))?;
    if is_external_name(old) && !families::keeps_preference(old, new) {
        give_address(settings, entropy, new)?;
    }
    node_ports_of_changed(settings, entropy, old, new)?;
    if !needs_health_check_port(old) {
        give_health_check_port(settings, entropy, new);
    }
    Ok(())
}

fn invalid(service: &Value, errors: &[FieldError]) -> Status {
    Status::invalid(&GroupVersionKind::new("", "v1", "Service"), tree::name(service), errors)
}

fn give_address(settings: &Settings, entropy: &dyn Entropy, service: &mut Value) -> Result<(), Status> {
    if is_external_name(service) || tree::text(service, "/spec/clusterIPs/0") == "None" {
        return Ok(());
    }
    let asked = Field::of(service, "spec.clusterIPs");
    let address = match asked.index(0).text() {
        "" => settings.service_range.draw(entropy).to_string(),
        text => {
            let parsed = parse_ip_leniently(text);
            let fits =
                matches!(parsed, Some(std::net::IpAddr::V4(address)) if settings.service_range.contains(address));
            if !fits {
                let detail = format!(
                    "failed to allocate IP {text}: the provided IP ({text}) is not in the valid range. The range of \
                     valid IPs is {}",
                    settings.service_range
                );
                return Err(invalid(service, &[asked.invalid(detail)]));
            }
            text.to_string()
        }
    };
    if let Some(spec) = child(service, "spec") {
        set(spec, "clusterIP", address.clone());
        set(spec, "clusterIPs", json!([address]));
    }
    Ok(())
}

/// A service has few ports and the range is large: a handful of draws finds a free one.
const DRAWS_MAX: usize = 100;

fn draw_port(settings: &Settings, entropy: &dyn Entropy, taken: impl Fn(i64) -> bool) -> i64 {
    let draw = || i64::from(settings.node_ports.draw(entropy));
    std::iter::repeat_with(draw).take(DRAWS_MAX).find(|number| !taken(*number)).unwrap_or_else(draw)
}

fn give_health_check_port(settings: &Settings, entropy: &dyn Entropy, service: &mut Value) {
    if !needs_health_check_port(service) || tree::integer_or_zero(service, "/spec/healthCheckNodePort") != 0 {
        return;
    }
    let taken = node_ports(service);
    let number = draw_port(settings, entropy, |number| taken.contains(&number));
    if let Some(spec) = child(service, "spec") {
        set(spec, "healthCheckNodePort", number);
    }
}

/// Ports of one number share a node port, such as 53/TCP and 53/UDP.
fn node_ports_of_new(settings: &Settings, entropy: &dyn Entropy, service: &mut Value) -> Result<(), Status> {
    if !has_node_ports(service) {
        return Ok(());
    }
    let draws = draws_node_ports(service);
    let ports = tree::items(service, "/spec/ports").to_vec();
    let named = node_ports(service);
    let (mut given, mut taken): (Vec<(i64, i64)>, Vec<i64>) = (Vec::new(), Vec::new());
    for (index, port) in ports.iter().enumerate() {
        let (number, asked) = (tree::integer_or_zero(port, "/port"), tree::integer_or_zero(port, "/nodePort"));
        if asked == 0 && !draws {
            continue;
        }
        let shared = given.iter().find(|(port, _)| *port == number).map(|(_, node_port)| *node_port);
        let wanted = match shared {
            None => {
                let same = |port: &&Value| tree::integer_or_zero(port, "/port") == number;
                let asked = ports.iter().filter(same).map(|port| tree::integer_or_zero(port, "/nodePort"));
                asked.into_iter().find(|asked| *asked != 0)
            }
            Some(shared) if asked == 0 || asked == shared => {
                set_node_port(service, index, shared);
                continue;
            }
            Some(_) => Some(asked),
        };
        let node_port = match wanted {
            Some(wanted) => take_node_port(settings, service, index, wanted, &taken)?,
            None => draw_port(settings, entropy, |number| named.contains(&number) || taken.contains(&number)),
        };
        taken.push(node_port);
        if shared.is_none() {
            given.push((number, node_port));
        }
        set_node_port(service, index, node_port);
    }
    Ok(())
}

fn node_ports_of_changed(
    settings: &Settings,
    entropy: &dyn Entropy,
    old: &Value,
    service: &mut Value,
) -> Result<(), Status> {
    if !has_node_ports(service) {
        return Ok(());
    }
    let (draws, held, named) = (draws_node_ports(service), node_ports(old), node_ports(service));
    let ports = tree::items(service, "/spec/ports").to_vec();
    let mut taken: Vec<i64> = Vec::new();
    let mut seen: Vec<(&str, i64)> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let mut node_port = tree::integer_or_zero(port, "/nodePort");
        if node_port == 0 && !draws {
            continue;
        }
        if node_port == 0 {
            node_port = draw_port(settings, entropy, |number| named.contains(&number) || taken.contains(&number));
            taken.push(node_port);
            set_node_port(service, index, node_port);
        } else if !held.contains(&node_port) && !taken.contains(&node_port) {
            taken.push(take_node_port(settings, service, index, node_port, &[])?);
        }
        let key = (tree::text(port, "/protocol"), node_port);
        if seen.contains(&key) {
            return Err(Status::new(500, "", format!("duplicate nodePort: {{{} {}}}", key.0, key.1)));
        }
        seen.push(key);
    }
    Ok(())
}

/// A node port that the client names: in the range, and this service's first of it.
fn take_node_port(
    settings: &Settings,
    service: &Value,
    index: usize,
    wanted: i64,
    taken: &[i64],
) -> Result<i64, Status> {
    let range = settings.node_ports;
    let detail = if !range.contains(wanted) {
        format!("provided port is not in the valid range. The range of valid ports is {}-{}", range.first, range.last)
    } else if taken.contains(&wanted) {
        "provided port is already allocated".into()
    } else {
        return Ok(wanted);
    };
    let ports = Field::of(service, "spec.ports");
    Err(invalid(service, &[ports.index(index).at("nodePort").invalid_as(&json!(wanted), detail)]))
}

fn set_node_port(service: &mut Value, index: usize, node_port: i64) {
    if let Some(port) = tree::items_mut(service, "/spec/ports").get_mut(index) {
        set(port, "nodePort", node_port);
    }
}

fn node_ports(service: &Value) -> Vec<i64> {
    let ports = tree::items(service, "/spec/ports").iter().map(|port| tree::integer_or_zero(port, "/nodePort"));
    ports.filter(|number| *number != 0).collect()
}

/// What the server gave stays where the client did not send it back.
fn keep_given(old: &Value, new: &mut Value) {
    let keep_ip = !is_external_name(old) && !is_external_name(new);
    let keep_ports = draws_node_ports(old) && draws_node_ports(new);
    let keep_check = needs_health_check_port(old) && needs_health_check_port(new);
    let old_ports = tree::items(old, "/spec/ports");
    let held = node_ports(old);
    let used: Vec<i64> = node_ports(new).into_iter().filter(|number| held.contains(number)).collect();
    let (Some(old), Some(spec)) = (old.get("spec"), child(new, "spec")) else { return };
    if keep_ip {
        if tree::text(spec, "/clusterIP").is_empty() {
            tree::copy_field(old, spec, "clusterIP");
        }
        if tree::items(spec, "/clusterIPs").is_empty() {
            tree::copy_field(old, spec, "clusterIPs");
        }
    }
    if keep_ports {
        for port in tree::items_mut(spec, "/ports").iter_mut().filter(|port| tree::is_unset(port.get("nodePort"))) {
            let name = tree::text(port, "/name");
            let same = old_ports.iter().rfind(|old| tree::text(old, "/name") == name);
            let number = same.map_or(0, |old| tree::integer_or_zero(old, "/nodePort"));
            if number != 0 && !used.contains(&number) {
                set(port, "nodePort", number);
            }
        }
    }
    if keep_check && tree::is_unset(spec.get("healthCheckNodePort")) {
        tree::copy_field(old, spec, "healthCheckNodePort");
    }
}

/// Old clients know `clusterIP` alone: `clusterIPs` follows it where they left that as it was.
fn follow_address(old: &Value, new: &mut Value) {
    let before = tree::text(old, "/spec/clusterIP");
    let same_list = tree::items(old, "/spec/clusterIPs") == tree::items(new, "/spec/clusterIPs");
    let Some(spec) = child(new, "spec") else { return };
    let after = tree::text(spec, "/clusterIP").to_string();
    if before == after || !same_list {
        return;
    }
    // The reference compares the single address, too, and so clears nothing: validation tells the client.
    if !before.is_empty() && after.is_empty() {
        return;
    }
    set(spec, "clusterIPs", json!([after]));
}

/// What a service of the new type cannot have goes, if the client only left it as it was.
pub fn drop_unneeded(old: &Value, new: &mut Value) {
    let no_ip = !is_external_name(old) && is_external_name(new);
    let held = node_ports(old);
    let no_ports =
        has_node_ports(old) && !has_node_ports(new) && node_ports(new).iter().all(|number| held.contains(number));
    let no_check = needs_health_check_port(old) && !needs_health_check_port(new);
    let no_balancer = kind_of(old) == "LoadBalancer" && kind_of(new) != "LoadBalancer";
    let not_external = old.get("spec").is_some_and(is_external) && !new.get("spec").is_some_and(is_external);
    let balancer = kind_of(new) == "LoadBalancer";
    if let (false, Some(status)) = (balancer, child(new, "status")) {
        set(status, "loadBalancer", json!({}));
    }
    let (Some(old), Some(spec)) = (old.get("spec"), child(new, "spec")) else { return };
    let drop = |spec: &mut Value, field: &str| {
        if spec.get(field) == old.get(field) {
            remove(spec, field);
        }
    };
    if no_ip {
        if spec.get("clusterIP") == old.get("clusterIP") && spec.get("clusterIPs") == old.get("clusterIPs") {
            remove(spec, "clusterIP");
            remove(spec, "clusterIPs");
        }
        drop(spec, "ipFamilies");
        drop(spec, "ipFamilyPolicy");
    }
    if no_ports {
        for port in tree::items_mut(spec, "/ports") {
            remove(port, "nodePort");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_survives_updates() {
        let old = json!({"spec": {
            "type": "NodePort", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}],
        }});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        keep_given(&old, &mut new);
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
    fn one_number_is_one_node_port() -> Result<(), Status> {
        let settings = Settings::default();
        let env = triune_platform::env();
        let mut service = json!({"spec": {"type": "NodePort", "ports": [
            {"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "nodePort": 30053}, {"port": 54},
        ]}});
        node_ports_of_new(&settings, &*env.entropy, &mut service)?;
        let given = node_ports(&service);
        assert_eq!(given[..2], [30053, 30053]);
        assert!(given[2] != 30053 && settings.node_ports.contains(given[2]), "{given:?}");
        Ok(())
    }
}
