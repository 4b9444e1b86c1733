//! What is wrong with a service, in the order and in the words of the reference (kubernetes `pkg/apis/core/validation`,
//! `pkg/api/service`).

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    validation::{
        dns_label, dns_subdomain,
        network::{self, parse_ip_leniently},
        qualified_name, validate_labels,
    },
};

use super::{is_external, is_external_name, is_headless, kind_of, needs_health_check_port};
use crate::{
    field::Field,
    kinds::validation::{endpoint_ip, port_name_or_number, port_range},
};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
/// The name that topology hints had first.
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// Longest affinity, in seconds: a day.
const AFFINITY_SECONDS_MAX: i64 = 86400;

/// A changed service.
pub fn update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    if !is_external_name(old) && !is_external_name(new) {
        changed_addresses(old, new, errors);
        changed_families(old, new, errors);
    }
    let class = Field::of(new, "spec.loadBalancerClass");
    if kind_of(old) == "LoadBalancer" && kind_of(new) == "LoadBalancer" {
        let before = Field::of(old, "spec.loadBalancerClass");
        if before.value() != class.value() {
            errors.push(class.invalid("may not change once set"));
        }
    }
    load_balancer_class(new, errors);
    let port = Field::of(new, "spec.healthCheckNodePort");
    if needs_health_check_port(old)
        && needs_health_check_port(new)
        && Field::of(old, "spec.healthCheckNodePort").integer() != port.integer()
    {
        errors.push(port.forbidden("field is immutable"));
    }
    service(new, Some(old), errors);
}

/// A new service, or the new state of a changed one.
pub fn service(service: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let (spec, kind) = (Field::of(service, "spec"), kind_of(service));
    topology(service, errors);
    if spec.at("ports").is_empty() && !is_headless(service) && kind != "ExternalName" {
        errors.push(spec.at("ports").required(""));
    }
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(service) => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(spec.at("clusterIPs").index(0).invalid(detail));
        }
        "ExternalName" => external_name(&spec, errors),
        _ => {}
    }
    ports(&spec.at("ports"), errors);
    let selector = spec.at("selector");
    if !selector.is_empty() {
        errors.extend(validate_labels(Some(selector.value()), "spec.selector"));
    }
    affinity(&spec, errors);
    addresses(service, old, errors);
    external_ips(&spec, old, errors);
    spec.at("type").required_one_of(&TYPES, errors);
    if kind == "ClusterIP" {
        let ports = spec.at("ports");
        for port in ports.items().filter(|port| port.at("nodePort").integer() != 0) {
            errors.push(port.at("nodePort").forbidden("may not be used when `type` is 'ClusterIP'"));
        }
    }
    duplicate_ports(&spec.at("ports"), errors);
    source_ranges(service, old, errors);
    let allocates = spec.at("allocateLoadBalancerNodePorts");
    if allocates.is_set() && kind != "LoadBalancer" {
        errors.push(allocates.forbidden("may only be used when `type` is 'LoadBalancer'"));
    }
    load_balancer_class(service, errors);
    traffic_policies(service, errors);
}

fn topology(service: &Value, errors: &mut Vec<FieldError>) {
    let annotations = Field::of(service, "metadata.annotations");
    let (hints, mode) = (annotations.key(HINTS), annotations.key(TOPOLOGY_MODE));
    if hints.is_set() && mode.is_set() && hints.text() != mode.text() {
        errors.push(mode.invalid(format!("must match annotations[{HINTS}] when both are specified")));
    }
}

fn external_name(spec: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    const MESSAGE: &str = "may not be set for ExternalName services";
    for list in ["clusterIPs", "ipFamilies"] {
        if !spec.at(list).is_empty() {
            errors.push(spec.at(list).forbidden(MESSAGE));
        }
    }
    if spec.at("ipFamilyPolicy").is_set() {
        errors.push(spec.at("ipFamilyPolicy").forbidden(MESSAGE));
    }
    let name = spec.at("externalName");
    let text = name.text();
    match text.strip_suffix('.').unwrap_or(text) {
        "" => errors.push(name.required("")),
        text => errors.extend(dns_subdomain(text).into_iter().map(|detail| name.invalid_as(&json!(text), detail))),
    }
}

fn ports(ports: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let mut names = Vec::new();
    for port in ports.items() {
        let name = port.at("name");
        if !name.text().is_empty() {
            name.invalid_for(dns_label(name.text()), errors);
            if names.contains(&name.text()) {
                errors.push(name.duplicate());
            } else {
                names.push(name.text());
            }
        } else if ports.len() > 1 {
            errors.push(name.required(""));
        }
        port_range(&port.at("port"), errors);
        port.at("protocol").required_one_of(&PROTOCOLS, errors);
        port_name_or_number(&port.at("targetPort"), errors);
        let protocol = port.at("appProtocol");
        if protocol.is_set() {
            protocol.invalid_for(qualified_name(protocol.text()), errors);
        }
    }
}

fn affinity(spec: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    spec.at("sessionAffinity").required_one_of(&["ClientIP", "None"], errors);
    let config = spec.at("sessionAffinityConfig");
    match spec.at("sessionAffinity").text() {
        "ClientIP" => {
            const DETAIL: &str = "when session affinity type is ClientIP";
            let client = config.at("clientIP");
            let seconds = client.at("timeoutSeconds");
            if let Some(missing) = [&config, &client, &seconds].into_iter().find(|field| !field.is_set()) {
                errors.push(missing.required(DETAIL));
            } else if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds.integer()) {
                let detail = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                errors.push(seconds.invalid(detail));
            }
        }
        "None" if config.is_set() => {
            errors.push(config.forbidden("must not be set when session affinity is None"));
        }
        _ => {}
    }
}

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy`, which depend on each other.
pub fn addresses(service: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if is_external_name(service) {
        return;
    }
    let spec = Field::of(service, "spec");
    let (one, all) = (spec.at("clusterIP"), spec.at("clusterIPs"));
    if !one.text().is_empty() {
        if all.is_empty() {
            errors.push(all.required(""));
        } else if all.index(0).text() != one.text() {
            errors.push(all.invalid("first value must match `clusterIP`"));
        }
    } else if !all.is_empty() {
        errors.push(all.invalid("must be empty when `clusterIP` is not specified"));
    }
    let families = spec.at("ipFamilies");
    let mut seen = Vec::new();
    for family in families.items() {
        family.one_of(&["IPv4", "IPv6"], errors);
        if seen.contains(&family.text()) {
            errors.push(family.duplicate());
        }
        seen.push(family.text());
    }
    let policy = spec.at("ipFamilyPolicy");
    if policy.is_set() {
        policy.one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"], errors);
    }
    if all.is_empty() {
        return;
    }
    let before = errors.len();
    let known = old.map(|old| Field::of(old, "spec.clusterIPs"));
    for (index, address) in all.items().enumerate() {
        if index == 0 && address.text() == "None" {
            if all.len() > 1 {
                errors.push(all.invalid("'None' must be the first and only value"));
            }
        } else if !known.is_some_and(|known| known.texts().any(|text| text == address.text())) {
            address.invalid_for(network::legacy_ip(address.text()), errors);
        }
    }
    let malformed = errors.len() > before;
    if all.len() > 2 {
        errors.push(all.invalid("may only hold up to 2 values"));
    }
    if !malformed {
        families_of_addresses(&all, &families, errors);
    }
}

fn families_of_addresses(all: &Field<'_, '_>, families: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let is_v6 = |text: &str| parse_ip_leniently(text).is_some_and(|address| address.is_ipv6());
    if all.len() > 1 {
        let both = all.texts().any(is_v6) && all.texts().any(|text| !is_v6(text));
        if !both {
            errors.push(all.invalid("may specify no more than one IP for each IP family"));
        }
    }
    if all.index(0).text() == "None" && all.len() == 1 {
        return;
    }
    for (index, (address, family)) in all.items().zip(families.texts()).enumerate() {
        let wrong = match family {
            "IPv4" => is_v6(address.text()),
            "IPv6" => !is_v6(address.text()),
            _ => false,
        };
        if wrong {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            errors.push(address.invalid(detail));
        }
    }
}

fn changed_addresses(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    const CHANGED: &str = "may not change once set";
    if is_headless(old) && is_headless(new) {
        return;
    }
    let (before, after) = (Field::of(old, "spec.clusterIPs"), Field::of(new, "spec.clusterIPs"));
    let shown = if after.is_set() { after.value().clone() } else { Value::Null };
    let changed = |index: usize| before.index(index).value() != after.index(index).value();
    if before.len() == after.len() {
        for index in (0..before.len()).filter(|index| changed(*index)) {
            errors.push(after.index(index).invalid_as(&shown, CHANGED));
        }
    } else if before.len() > after.len() {
        if after.is_empty() {
            errors.push(after.index(0).invalid_as(&shown, "primary clusterIP can not be unset"));
        } else if changed(0) {
            errors.push(after.index(0).invalid_as(&shown, CHANGED));
        }
        released(new, after.len(), "clusterIP", errors);
    } else if !before.is_empty() && changed(0) {
        errors.push(after.index(0).invalid_as(&shown, CHANGED));
    }
}

fn changed_families(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    const CHANGED: &str = "may not change once set";
    if is_headless(old) || is_headless(new) {
        return;
    }
    let (before, after) = (Field::of(old, "spec.ipFamilies"), Field::of(new, "spec.ipFamilies"));
    let addresses = Field::of(new, "spec.clusterIPs");
    let changed = |index: usize| before.index(index).value() != after.index(index).value();
    let first = after.index(0);
    if before.len() == after.len() {
        for _ in (0..before.len()).filter(|index| changed(*index)) {
            errors.push(first.invalid_as(after.value(), CHANGED));
        }
    } else if before.len() > after.len() {
        if addresses.is_empty() {
            errors.push(first.invalid_as(after.value(), "primary ipFamily can not be unset"));
        }
        if !after.is_empty() && changed(0) {
            errors.push(first.invalid_as(addresses.value(), CHANGED));
        }
        released(new, after.len(), "ipFamily", errors);
    } else if !before.is_empty() && changed(0) {
        errors.push(first.invalid_as(addresses.value(), CHANGED));
    }
}

fn released(new: &Value, left: usize, what: &str, errors: &mut Vec<FieldError>) {
    let policy = Field::of(new, "spec.ipFamilyPolicy");
    if left == 1 && policy.text() != "SingleStack" {
        errors.push(policy.invalid(format!("must be set to 'SingleStack' when releasing the secondary {what}")));
    }
}

fn external_ips(spec: &Field<'_, '_>, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let addresses = spec.at("externalIPs");
    if addresses.is_empty() {
        return;
    }
    let known = old.map(|old| Field::of(old, "spec.externalIPs"));
    for address in addresses.items() {
        let text = address.text();
        let messages = match known.is_some_and(|known| known.texts().any(|known| known == text)) {
            true => Vec::new(),
            false => network::legacy_ip(text),
        };
        if messages.is_empty() {
            address.invalid_for(endpoint_ip(text), errors);
        } else {
            address.invalid_for(messages, errors);
        }
    }
}

fn duplicate_ports(ports: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let mut seen = Vec::new();
    for port in ports.items().filter(|port| port.at("nodePort").integer() != 0) {
        let key = (port.at("protocol").text(), port.at("nodePort").integer());
        if seen.contains(&key) {
            errors.push(port.at("nodePort").duplicate());
        }
        seen.push(key);
    }
    seen.clear();
    for port in ports.items() {
        let (protocol, number) = (port.at("protocol").text(), port.at("port").integer());
        if seen.contains(&(protocol, number)) {
            // The reference shows a port of its own making, in the order of its fields.
            let mut error = port.duplicate();
            error.value = Some(format!(
                r#"{{"Name":"","Protocol":{},"AppProtocol":null,"Port":{number},"TargetPort":0,"NodePort":0}}"#,
                json!(protocol)
            ));
            errors.push(error);
        }
        seen.push((protocol, number));
    }
}

fn source_ranges(service: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    const FORBIDDEN: &str = "may only be used when `type` is 'LoadBalancer'";
    let balancer = kind_of(service) == "LoadBalancer";
    let spec = Field::of(service, "spec");
    let ranges =
        Field::under(spec.path().field("LoadBalancerSourceRanges"), spec.at("loadBalancerSourceRanges").value());
    let annotations = Field::of(service, "metadata.annotations");
    let annotation = annotations.key(SOURCE_RANGES);
    if !ranges.is_empty() {
        if !balancer {
            errors.push(ranges.forbidden(FORBIDDEN));
        }
        let known = old.map(|old| Field::of(old, "spec.loadBalancerSourceRanges"));
        for range in ranges.items() {
            let text = range.text().trim();
            if !known.is_some_and(|known| known.texts().any(|known| known.trim() == text)) {
                let messages = network::legacy_cidr(text).into_iter();
                errors.extend(messages.map(|message| range.invalid_as(&json!(text), message)));
            }
        }
    } else if annotation.is_set() {
        if !balancer {
            errors.push(annotation.forbidden(FORBIDDEN));
        }
        let before = old.map(|old| Field::of(old, "metadata.annotations").key(SOURCE_RANGES).value());
        if before != Some(annotation.value()) && !annotation.text().trim().is_empty() {
            for text in annotation.text().split(',').map(str::trim) {
                let messages = network::legacy_cidr(text).into_iter();
                errors.extend(messages.map(|message| annotation.invalid_as(&json!(text), message)));
            }
        }
    }
}

fn load_balancer_class(service: &Value, errors: &mut Vec<FieldError>) {
    let class = Field::of(service, "spec.loadBalancerClass");
    if !class.is_set() {
        return;
    }
    if kind_of(service) == "LoadBalancer" {
        class.invalid_for(qualified_name(class.text()), errors);
    } else {
        errors.push(class.forbidden("may only be used when `type` is 'LoadBalancer'"));
    }
}

fn traffic_policies(service: &Value, errors: &mut Vec<FieldError>) {
    let spec = Field::of(service, "spec");
    let external = spec.at("externalTrafficPolicy");
    if is_external(spec.value()) {
        external.required_one_of(&["Cluster", "Local"], errors);
    } else if !external.text().is_empty() {
        errors.push(external.invalid("may only be set for externally-accessible services"));
    }
    let port = spec.at("healthCheckNodePort");
    if needs_health_check_port(service) {
        match port.integer() {
            0 => errors.push(port.required("")),
            _ => port_range(&port, errors),
        }
    } else if port.integer() != 0 {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(port.invalid(detail));
    }
    let internal = spec.at("internalTrafficPolicy");
    if internal.is_set() {
        internal.one_of(&["Cluster", "Local"], errors);
    } else if matches!(kind_of(service), "ClusterIP" | "NodePort" | "LoadBalancer") {
        errors.push(internal.required(""));
    }
    let distribution = spec.at("trafficDistribution");
    if distribution.is_set() {
        distribution.one_of(&["PreferClose", "PreferSameZone", "PreferSameNode"], errors);
    }
}

/// A changed status.
pub fn status(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let points = Field::of(new, "status.loadBalancer.ingress");
    if kind_of(new) != "LoadBalancer" && !points.is_empty() {
        errors.push(points.forbidden("may only be used when `spec.type` is 'LoadBalancer'"));
        return;
    }
    let known = Field::of(old, "status.loadBalancer.ingress");
    for point in points.items() {
        let (address, mode, hostname) = (point.at("ip"), point.at("ipMode"), point.at("hostname"));
        let text = address.text();
        if !text.is_empty() && !known.items().any(|known| known.at("ip").text() == text) {
            address.invalid_for(network::legacy_ip(text), errors);
        }
        match (mode.is_set(), text.is_empty()) {
            (false, false) => errors.push(mode.required("must be specified when `ip` is set")),
            (true, true) => errors.push(mode.forbidden("may not be specified when `ip` is not set")),
            (true, false) => mode.one_of(&["Proxy", "VIP"], errors),
            (false, true) => {}
        }
        if !hostname.text().is_empty() {
            hostname.invalid_for(dns_subdomain(hostname.text()), errors);
            if parse_ip_leniently(hostname.text()).is_some() {
                errors.push(hostname.invalid("must be a DNS name, not an IP address"));
            }
        }
    }
}

/// What is unusual about a service.
pub fn warnings(service: &Value) -> Vec<String> {
    let spec = Field::of(service, "spec");
    let kind = kind_of(service);
    let headless = kind == "ClusterIP" && spec.at("clusterIP").text() == "None";
    let external_ips = spec.at("externalIPs");
    let mut warnings = Vec::new();
    let ips = |list: &Field<'_, '_>, warnings: &mut Vec<String>| {
        warnings.extend(list.items().filter_map(|address| network::ip_warning(&address.to_string(), address.text())));
    };
    if Field::of(service, "metadata.annotations").key(HINTS).is_set() {
        warnings.push(format!("annotation {HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"));
    }
    if !matches!(spec.at("clusterIP").text(), "" | "None") {
        ips(&spec.at("clusterIPs"), &mut warnings);
    }
    if headless {
        let ignored = [
            ("loadBalancerIP", !spec.at("loadBalancerIP").text().is_empty()),
            ("externalIPs", !external_ips.is_empty()),
            ("SessionAffinity", spec.at("sessionAffinity").text() != "None"),
        ];
        let ignored = ignored.into_iter().filter(|(_, is_set)| *is_set);
        warnings.extend(ignored.map(|(field, _)| format!("spec.{field} is ignored for headless services")));
    }
    ips(&external_ips, &mut warnings);
    if !external_ips.is_empty() && !headless && kind != "ExternalName" {
        warnings.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    let balancer = spec.at("loadBalancerIP");
    warnings.extend(network::ip_warning("spec.loadBalancerIP", balancer.text()));
    for range in spec.at("loadBalancerSourceRanges").items() {
        warnings.extend(network::cidr_warnings(&range.to_string(), range.text()));
    }
    if kind == "ExternalName" && !external_ips.is_empty() {
        warnings.push(r#"spec.externalIPs is ignored when spec.type is "ExternalName""#.into());
    }
    if kind != "ExternalName" && !spec.at("externalName").text().is_empty() {
        warnings.push(r#"spec.externalName is ignored when spec.type is not "ExternalName""#.into());
    }
    if spec.at("trafficDistribution").text() == "PreferClose" {
        warnings.push(r#"spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone""#.into());
    }
    warnings
}
