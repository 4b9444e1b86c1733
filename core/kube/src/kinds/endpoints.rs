//! Endpoints and endpoint slices (kubernetes `pkg/apis/core/validation`, `pkg/apis/discovery/validation`).

use std::net::IpAddr;

use serde_json::json;
use triune_api::{
    Value,
    field::{FieldError, FieldErrorKind},
    validation::{
        dns_label, dns_subdomain, label_value,
        network::{self, parse_ip_leniently},
        qualified_name,
    },
};

use super::validation::{endpoint_ip, found_by_type, port_range};
use crate::{
    field::Field,
    kind::Kind,
    tables,
    tree::{self, fill, fill_unset, remove},
};

/// `core/v1 Endpoints`.
pub static ENDPOINTS: Kind = Kind {
    defaults: |object| {
        for subset in tree::items_mut(object, "/subsets") {
            for port in tree::items_mut(subset, "/ports") {
                fill_unset(port, "protocol", "TCP");
            }
        }
    },
    closed_sets: true,
    validate_create: |object, errors| subsets(&Field::of(object, "subsets"), errors),
    validate_update: |old, new, errors| {
        // What is stored may be from a time of other rules.
        let after = Field::of(new, "subsets");
        if after.value() != Field::of(old, "subsets").value() {
            subsets(&after, errors);
        }
    },
    deprecation: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    warnings: |object, _| endpoints_warnings(object),
    table: tables::core::ENDPOINTS,
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
    create: |_, _, slice| drop_topology(slice),
    update: |_, _, old, new| {
        if old.get("endpoints") != new.get("endpoints") {
            drop_topology(new);
        }
    },
    closed_sets: true,
    validate_create: |slice, errors| endpoint_slice(slice, None, errors),
    validate_update: |old, new, errors| {
        endpoint_slice(new, Some(old), errors);
        Field::of(new, "addressType").fixed(Field::of(old, "addressType").value(), errors);
    },
    warnings: slice_warnings,
    table: tables::core::ENDPOINT_SLICES,
    ..Kind::GENERIC
};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20000;
const ENDPOINTS_MAX: usize = 1000;
const HINTS_MAX: usize = 8;

fn subsets(subsets: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    for subset in subsets.items() {
        let lists = [subset.at("addresses"), subset.at("notReadyAddresses")];
        if lists.iter().all(Field::is_empty) {
            errors.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
        }
        for address in lists.iter().flat_map(Field::items) {
            endpoint_address(&address, errors);
        }
        let ports = subset.at("ports");
        for port in ports.items() {
            let name = port.at("name");
            if !name.text().is_empty() {
                name.invalid_for(dns_label(name.text()), errors);
            } else if ports.len() > 1 {
                errors.push(name.required(""));
            }
            port_range(&port.at("port"), errors);
            port.at("protocol").required_one_of(&PROTOCOLS, errors);
            app_protocol(&port, errors);
        }
    }
}

fn app_protocol(port: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let protocol = port.at("appProtocol");
    if protocol.is_set() {
        protocol.invalid_for(qualified_name(protocol.text()), errors);
    }
}

fn endpoint_address(address: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let (ip, hostname, node) = (address.at("ip"), address.at("hostname"), address.at("nodeName"));
    ip.invalid_for(network::legacy_ip(ip.text()), errors);
    if !hostname.text().is_empty() {
        hostname.invalid_for(dns_label(hostname.text()), errors);
    }
    if node.is_set() {
        node.invalid_for(dns_subdomain(node.text()), errors);
    }
    ip.invalid_for(endpoint_ip(ip.text()), errors);
}

fn endpoints_warnings(object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for subset in Field::of(object, "subsets").items() {
        for list in ["addresses", "notReadyAddresses"] {
            for address in subset.at(list).items() {
                let ip = address.at("ip");
                warnings.extend(network::ip_warning(&ip.to_string(), ip.text()));
            }
        }
    }
    warnings
}

/// The topology of endpoints was a field of an older version, and cannot be written in this one.
fn drop_topology(slice: &mut Value) {
    for endpoint in tree::items_mut(slice, "/endpoints") {
        remove(endpoint, "deprecatedTopology");
    }
}

fn endpoint_slice(slice: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let kind = Field::of(slice, "addressType");
    slice_ports(&Field::of(slice, "ports"), errors);
    let endpoints = Field::of(slice, "endpoints");
    if old.is_none_or(|old| old.get("endpoints") != slice.get("endpoints")) {
        slice_endpoints(&endpoints, kind.text(), errors);
    }
    kind.required_one_of(&["FQDN", "IPv4", "IPv6"], errors);
    found_by_type(errors, |error| error.kind == FieldErrorKind::Required && error.field.ends_with(".addresses"));
}

fn slice_ports(ports: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if ports.len() > PORTS_MAX {
        errors.push(ports.too_many(PORTS_MAX));
        return;
    }
    let mut names = Vec::new();
    for port in ports.items() {
        let name = port.at("name");
        if !name.text().is_empty() {
            name.invalid_for(dns_label(name.text()), errors);
        }
        if names.contains(&name.text()) {
            errors.push(FieldError::duplicate(&name.to_string(), &json!(name.text())));
        }
        names.push(name.text());
        let protocol = port.at("protocol");
        if protocol.is_set() {
            protocol.one_of(&PROTOCOLS, errors);
        } else {
            errors.push(protocol.required(""));
        }
        app_protocol(&port, errors);
    }
}

fn slice_endpoints(endpoints: &Field<'_, '_>, kind: &str, errors: &mut Vec<FieldError>) {
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(endpoints.too_many(ENDPOINTS_MAX));
        return;
    }
    for endpoint in endpoints.items() {
        let addresses = endpoint.at("addresses");
        if addresses.is_empty() {
            errors.push(addresses.required(""));
        } else if addresses.len() > ADDRESSES_MAX {
            errors.push(addresses.too_many(ADDRESSES_MAX));
        }
        for address in addresses.items() {
            slice_address(&addresses, &address, kind, errors);
        }
        let (node, hostname) = (endpoint.at("nodeName"), endpoint.at("hostname"));
        if node.is_set() {
            node.invalid_for(dns_subdomain(node.text()), errors);
        }
        if hostname.is_set() {
            hostname.invalid_for(dns_label(hostname.text()), errors);
        }
        hints(&endpoint.at("hints"), errors);
    }
}

fn slice_address(addresses: &Field<'_, '_>, address: &Field<'_, '_>, kind: &str, errors: &mut Vec<FieldError>) {
    let text = address.text();
    let messages = match kind {
        "IPv4" => network::legacy_ip(text),
        "IPv6" => network::ip(text),
        "FQDN" => {
            domain_name(address, errors);
            return;
        }
        _ => return,
    };
    if !messages.is_empty() {
        address.invalid_for(messages, errors);
        return;
    }
    let is_v4 = matches!(parse_ip_leniently(text), Some(IpAddr::V4(_)));
    if is_v4 != (kind == "IPv4") {
        errors.push(addresses.invalid_as(&json!(text), format!("must be an {kind} address")));
    }
    address.invalid_for(endpoint_ip(text), errors);
}

/// A domain name of at least two segments; a dot at its end does not count.
fn domain_name(address: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let text = address.text();
    if text.is_empty() {
        errors.push(address.required(""));
        return;
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let shown = json!(name);
    let messages = dns_subdomain(name);
    if !messages.is_empty() {
        errors.push(address.invalid_as(&shown, messages.join(",")));
    } else if !name.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(address.invalid_as(&shown, detail));
    } else if let Some(label) = name.split('.').find(|label| !dns_label(label).is_empty()) {
        errors.push(address.invalid_as(&json!(label), dns_label(label).join(",")));
    }
}

fn hints(hints: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    for (list, rule) in [("forZones", label_value as fn(&str) -> Vec<String>), ("forNodes", dns_subdomain)] {
        let items = hints.at(list);
        if items.len() > HINTS_MAX {
            errors.push(items.too_many(HINTS_MAX));
            return;
        }
        let mut seen = Vec::new();
        for item in items.items() {
            let name = item.at("name");
            if seen.contains(&name.text()) {
                errors.push(name.duplicate());
            }
            seen.push(name.text());
            name.invalid_for(rule(name.text()), errors);
        }
    }
}

fn slice_warnings(slice: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none() && tree::text(slice, "/addressType") == "FQDN" {
        warnings.push("spec.addressType: FQDN endpoints are deprecated".into());
    }
    let labels = Field::of(slice, "metadata.labels");
    let manager = labels.key("endpointslice.kubernetes.io/managed-by").text();
    if matches!(manager, "endpointslice-controller.k8s.io" | "endpointslicemirroring-controller.k8s.io") {
        return warnings;
    }
    for endpoint in Field::of(slice, "endpoints").items() {
        for address in endpoint.at("addresses").items() {
            warnings.extend(network::ip_warning(&address.to_string(), address.text()));
        }
    }
    warnings
}
