//! Ingresses and their classes, network policies, address ranges of services (kubernetes `pkg/apis/networking/validation`).

use serde_json::json;
use triune_api::{
    Value,
    field::{FieldError, FieldErrorKind},
    validation::{
        dns_label, dns_subdomain,
        formats::port_name,
        network::{self, Cidr, parse_ip_leniently},
        path_segment_name, regex_error,
    },
};

use super::{
    selectors::label_selector,
    validation::{found_by_type, is_missing, port_range},
};
use crate::{
    field::Field,
    kind::Kind,
    tables::cluster,
    tree::{self, child, fill, set},
};

/// `networking.k8s.io/v1 Ingress`.
pub static INGRESSES: Kind = Kind {
    closed_sets: true,
    validate: ingress,
    validate_create: |ingress, errors| {
        let annotations = Field::of(ingress, "metadata.annotations");
        let (annotation, class) = (annotations.key(CLASS_ANNOTATION), Field::of(ingress, "spec.ingressClassName"));
        if annotation.is_set() && class.is_set() && annotation.text() != class.text() {
            let field = format!("annotations.{CLASS_ANNOTATION}");
            let detail = "must match `ingressClassName` when both are specified";
            errors.push(FieldError::invalid(&field, annotation.value(), detail));
        }
    },
    validate_status: |old, new, errors| {
        let known = Field::of(old, "status.loadBalancer.ingress");
        for point in Field::of(new, "status.loadBalancer.ingress").items() {
            let (ip, hostname) = (point.at("ip"), point.at("hostname"));
            if !ip.text().is_empty() && !known.items().any(|known| known.at("ip").text() == ip.text()) {
                ip.invalid_for(network::legacy_ip(ip.text()), errors);
            }
            if !hostname.text().is_empty() {
                hostname.invalid_for(dns_subdomain(hostname.text()), errors);
                no_address(&hostname, errors);
            }
        }
    },
    warnings: |ingress, old| {
        let annotated = Field::of(ingress, "metadata.annotations").key(CLASS_ANNOTATION).is_set();
        if old.is_none() && annotated && !tree::has(ingress, "/spec/ingressClassName") {
            return vec![format!(
                "annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead"
            )];
        }
        Vec::new()
    },
    table: cluster::INGRESSES,
    ..Kind::GENERIC
};

/// `networking.k8s.io/v1 IngressClass`.
pub static INGRESS_CLASSES: Kind = Kind {
    defaults: |object| {
        if let Some(parameters) = tree::object_mut(object, "/spec/parameters") {
            fill(parameters, "scope", "Cluster");
        }
    },
    closed_sets: true,
    validate_create: ingress_class,
    validate_update: |old, new, errors| {
        Field::of(new, "spec.controller").immutable(Field::of(old, "spec.controller").value(), errors);
        ingress_class(new, errors);
    },
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
    closed_sets: true,
    validate_create: |policy, errors| network_policy(policy, &[], errors),
    validate_update: |old, new, errors| network_policy(new, &ranges_of(old), errors),
    warnings: |policy, _| {
        let mut warnings = Vec::new();
        each_ip_block(policy, |block| {
            for range in [block.at("cidr")].into_iter().chain(block.at("except").items()) {
                warnings.extend(network::cidr_warnings(&range.to_string(), range.text()));
            }
        });
        warnings
    },
    table: cluster::NETWORK_POLICIES,
    ..Kind::GENERIC
};

/// `networking.k8s.io/v1 ServiceCIDR`.
pub static SERVICE_CIDRS: Kind = Kind {
    validate_create: |object, errors| service_ranges(&Field::of(object, "spec.cidrs"), errors),
    validate_update: |old, new, errors| {
        const IMMUTABLE: &str = "field is immutable";
        let (before, after) = (Field::of(old, "spec.cidrs"), Field::of(new, "spec.cidrs"));
        let changed = |index: usize| before.index(index).value() != after.index(index).value();
        match (before.len(), after.len()) {
            (1, 2) => {
                if changed(0) {
                    errors.push(after.index(0).invalid(IMMUTABLE));
                }
                service_ranges(&after, errors);
            }
            (one, other) if one == other => {
                let changed = (0..one).filter(|index| changed(*index));
                errors.extend(changed.map(|index| after.index(index).invalid(IMMUTABLE)));
            }
            _ => errors.push(after.invalid(IMMUTABLE)),
        }
    },
    table: cluster::SERVICE_CIDRS,
    ..Kind::GENERIC
};

/// `networking.k8s.io/v1 IPAddress`.
pub static IP_ADDRESSES: Kind = Kind {
    validate_create: |object, errors| {
        let parent = Field::of(object, "spec.parentRef");
        if !parent.is_set() {
            errors.push(parent.required(""));
            return;
        }
        let (group, namespace) = (parent.at("group"), parent.at("namespace"));
        if !group.text().is_empty() {
            group.invalid_for(dns_subdomain(group.text()), errors);
        }
        path_segments(&parent, &["resource", "name"], errors);
        if !namespace.text().is_empty() {
            namespace.invalid_for(path_segment_name(namespace.text()), errors);
        }
        found_by_type(errors, |error| is_missing(error, &["spec.parentRef.resource", "spec.parentRef.name"]));
    },
    validate_update: |old, new, errors| {
        Field::of(new, "spec.parentRef").fixed(Field::of(old, "spec.parentRef").value(), errors);
    },
    validate_name: Some(network::ip),
    table: cluster::IP_ADDRESSES,
    ..Kind::GENERIC
};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const CONTROLLER_BYTES_MAX: usize = 250;

/// Names that must be given and can stand between slashes.
fn path_segments(object: &Field<'_, '_>, fields: &[&str], errors: &mut Vec<FieldError>) {
    for field in fields {
        let value = object.at(field);
        match value.text() {
            "" => errors.push(value.required("")),
            text => value.invalid_for(path_segment_name(text), errors),
        }
    }
}

fn no_address(hostname: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if parse_ip_leniently(hostname.text()).is_some() {
        errors.push(hostname.invalid("must be a DNS name, not an IP address"));
    }
}

fn ingress(ingress: &Value, errors: &mut Vec<FieldError>) {
    let spec = Field::of(ingress, "spec");
    let (rules, default_backend) = (spec.at("rules"), spec.at("defaultBackend"));
    if rules.is_empty() && !default_backend.is_set() {
        errors.push(spec.invalid_as(rules.value(), "either `defaultBackend` or `rules` must be specified"));
    }
    if default_backend.is_set() {
        backend(&default_backend, errors);
    }
    for rule in rules.items() {
        ingress_rule(&rule, errors);
    }
    for tls in spec.at("tls").items() {
        for host in tls.at("hosts").items() {
            host_name(&host, errors);
        }
        let secret = tls.at("secretName");
        if !secret.text().is_empty() {
            secret.invalid_for(dns_subdomain(secret.text()), errors);
        }
    }
    let class = spec.at("ingressClassName");
    if class.is_set() {
        class.invalid_for(dns_subdomain(class.text()), errors);
    }
}

fn ingress_rule(rule: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let host = rule.at("host");
    if !host.text().is_empty() {
        no_address(&host, errors);
        host_name(&host, errors);
    }
    let http = rule.at("http");
    if http.is_set() {
        let paths = http.at("paths");
        if paths.is_empty() {
            errors.push(paths.required(""));
        }
        for path in paths.items() {
            ingress_path(&path, errors);
        }
    }
}

fn host_name(host: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let messages = if host.text().contains('*') { wildcard_domain(host.text()) } else { dns_subdomain(host.text()) };
    host.invalid_for(messages, errors);
}

/// What is wrong with a domain whose first label is `*` (RFC 1034); empty is fine.
fn wildcard_domain(text: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if text.len() > 253 {
        messages.push("must be no more than 253 characters".into());
    }
    let fine = text.strip_prefix("*.").is_some_and(|rest| {
        // Of the whole name the length has been looked at.
        rest.split('.').all(|label| !label.is_empty() && dns_subdomain(label).is_empty())
    });
    if !fine {
        messages.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
             lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["*.example.com"],
        ));
    }
    messages
}

fn ingress_path(item: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let (path, kind) = (item.at("path"), item.at("pathType"));
    if !kind.is_set() {
        errors.push(kind.required("pathType must be specified"));
        return;
    }
    let absolute = path.text().starts_with('/');
    match kind.text() {
        "Exact" | "Prefix" => {
            if !absolute {
                errors.push(path.invalid_text("must be an absolute path"));
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|part| path.text().contains(part)) {
                errors.push(path.invalid(format!("must not contain '{part}'")));
            }
            for end in ["/..", "/."].into_iter().filter(|end| path.text().ends_with(end)) {
                errors.push(path.invalid(format!("cannot end with '{end}'")));
            }
        }
        "ImplementationSpecific" => {
            if !path.text().is_empty() && !absolute {
                errors.push(path.invalid("must be an absolute path"));
            }
        }
        _ => errors.push(kind.not_supported(&["Exact", "ImplementationSpecific", "Prefix"])),
    }
    backend(&item.at("backend"), errors);
}

fn backend(backend: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let (resource, service) = (backend.at("resource"), backend.at("service"));
    let nothing = json!("");
    match (resource.is_set(), service.is_set()) {
        (true, true) => errors.push(backend.invalid_as(&nothing, "cannot set both resource and service backends")),
        (true, false) => {
            api_group(&resource, errors);
            path_segments(&resource, &["kind", "name"], errors);
        }
        (false, true) => {
            let (name, port_of, number) = (service.at("name"), service.at("port.name"), service.at("port.number"));
            match name.text() {
                "" => errors.push(name.required("")),
                text => name.invalid_for(dns_label(text), errors),
            }
            match (!port_of.text().is_empty(), number.integer() != 0) {
                (true, true) => errors.push(backend.invalid_as(&nothing, "cannot set both port name & port number")),
                (true, false) => port_of.invalid_for(port_name(port_of.text()), errors),
                (false, true) => port_range(&number, errors),
                (false, false) => errors.push(backend.required("port name or number is required")),
            }
        }
        (false, false) => errors.push(backend.invalid_as(&nothing, "resource or service backend is required")),
    }
}

fn api_group(reference: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let group = reference.at("apiGroup");
    if group.is_set() {
        group.invalid_for(dns_subdomain(group.text()), errors);
    }
}

fn ingress_class(class: &Value, errors: &mut Vec<FieldError>) {
    let controller = Field::of(class, "spec.controller");
    if controller.text().len() > CONTROLLER_BYTES_MAX {
        errors.push(controller.too_long(CONTROLLER_BYTES_MAX));
    }
    domain_prefixed_path(&controller, errors);
    let parameters = Field::of(class, "spec.parameters");
    if !parameters.is_set() {
        return;
    }
    api_group(&parameters, errors);
    path_segments(&parameters, &["kind", "name"], errors);
    let (scope, namespace) = (parameters.at("scope"), parameters.at("namespace"));
    match scope.text() {
        "Namespace" if !namespace.is_set() => {
            errors.push(namespace.required("`parameters.scope` is set to 'Namespace'"));
        }
        "Namespace" => namespace.invalid_for(dns_label(namespace.text()), errors),
        "Cluster" if namespace.is_set() => {
            errors.push(namespace.forbidden("`parameters.scope` is set to 'Cluster'"));
        }
        "Cluster" => {}
        _ => errors.push(scope.not_supported(&["Cluster", "Namespace"])),
    }
    found_by_type(errors, |error| is_missing(error, &["spec.parameters.kind", "spec.parameters.name"]));
}

/// `example.com/controller`
fn domain_prefixed_path(value: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let text = value.text();
    if text.is_empty() {
        errors.push(value.required(""));
        return;
    }
    match text.split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            let messages = dns_subdomain(host).into_iter();
            errors.extend(messages.map(|message| value.invalid_as(&json!(host), message)));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
            if !path.bytes().all(plain) {
                let message = regex_error("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[]);
                errors.push(value.invalid_as(&json!(path), message));
            }
        }
        _ => errors.push(value.invalid(r#"must be a domain-prefixed path (such as "acme.io/foo")"#)),
    }
}

const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

/// What `look` sees of each block of addresses.
fn each_ip_block(policy: &Value, mut look: impl FnMut(&Field<'_, '_>)) {
    for (direction, peers) in DIRECTIONS {
        for rule in Field::of(policy, &format!("spec.{direction}")).items() {
            for peer in rule.at(peers).items() {
                look(&peer.at("ipBlock"));
            }
        }
    }
}

/// Ranges that are stored are not looked at again.
fn ranges_of(policy: &Value) -> Vec<String> {
    let mut ranges = Vec::new();
    each_ip_block(policy, |block| {
        ranges.push(block.at("cidr").text().to_string());
        ranges.extend(block.at("except").texts().map(String::from));
    });
    ranges
}

fn network_policy(policy: &Value, known: &[String], errors: &mut Vec<FieldError>) {
    let spec = Field::of(policy, "spec");
    label_selector(&spec.at("podSelector"), errors);
    for (direction, peers) in DIRECTIONS {
        for rule in spec.at(direction).items() {
            for port in rule.at("ports").items() {
                policy_port(&port, errors);
            }
            for peer in rule.at(peers).items() {
                policy_peer(&peer, known, errors);
            }
        }
    }
    let types = spec.at("policyTypes");
    if types.len() > 2 {
        errors.push(types.invalid("may not specify more than two policyTypes"));
    } else {
        for kind in types.items() {
            kind.one_of(&["Ingress", "Egress"], errors);
        }
    }
    found_by_type(errors, |error| error.kind == FieldErrorKind::Required && error.field.ends_with(".ipBlock.cidr"));
}

fn policy_port(port: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let (protocol, number, end) = (port.at("protocol"), port.at("port"), port.at("endPort"));
    if protocol.is_set() {
        protocol.one_of(&PROTOCOLS, errors);
    }
    match number.value() {
        Value::Null if end.is_set() => errors.push(end.invalid("may not be specified when `port` is not specified")),
        Value::Null => {}
        Value::String(name) => {
            if end.is_set() {
                errors.push(end.invalid("may not be specified when `port` is non-numeric"));
            }
            number.invalid_for(port_name(name), errors);
        }
        _ => {
            port_range(&number, errors);
            if end.is_set() {
                if end.integer() < number.integer() {
                    errors.push(end.invalid("must be greater than or equal to `port`"));
                }
                port_range(&end, errors);
            }
        }
    }
}

fn policy_peer(peer: &Field<'_, '_>, known: &[String], errors: &mut Vec<FieldError>) {
    let selectors = [peer.at("podSelector"), peer.at("namespaceSelector")];
    let selected = selectors.iter().filter(|selector| selector.is_set()).count();
    for selector in &selectors {
        label_selector(selector, errors);
    }
    let block = peer.at("ipBlock");
    if block.is_set() {
        ip_block(&block, known, errors);
        if selected > 0 {
            errors.push(peer.forbidden("may not specify both ipBlock and another peer"));
        }
    } else if selected == 0 {
        errors.push(peer.required("must specify a peer"));
    }
}

fn ip_block(block: &Field<'_, '_>, known: &[String], errors: &mut Vec<FieldError>) {
    let (all, except) = (block.at("cidr"), block.at("except"));
    if all.text().is_empty() {
        errors.push(all.required(""));
        return;
    }
    let check = |range: &Field<'_, '_>, errors: &mut Vec<FieldError>| {
        if !known.iter().any(|known| known == range.text()) {
            range.invalid_for(network::legacy_cidr(range.text()), errors);
        }
        Cidr::parse_leniently(range.text())
    };
    let Some(whole) = check(&all, errors) else { return };
    for range in except.items() {
        if let Some(part) = check(&range, errors)
            && (!whole.contains(part.network()) || whole.bits >= part.bits)
        {
            errors.push(range.invalid("must be a strict subset of `cidr`"));
        }
    }
}

fn service_ranges(ranges: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if ranges.is_empty() {
        errors.push(ranges.required("at least one CIDR required"));
        return;
    }
    if ranges.len() > 2 {
        let mut error = ranges.invalid("may only hold up to 2 values");
        error.value = Some(format!(r#"{{"CIDRs":{}}}"#, ranges.value()));
        errors.push(error);
        return;
    }
    for range in ranges.items() {
        range.invalid_for(network::cidr(range.text()), errors);
    }
    let families: Vec<bool> =
        ranges.texts().filter_map(Cidr::parse_leniently).map(|range| range.address.is_ipv6()).collect();
    if matches!(families.as_slice(), [one, other] if one == other) {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(ranges.invalid(detail));
    }
}
