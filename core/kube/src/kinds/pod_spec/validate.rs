//! The rules of a pod spec as a whole.

use std::collections::BTreeMap;

use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_label, dns_subdomain, formats},
};

use super::{
    Tolerated, Whole, containers, each_container, integer_of, is_true, list_of, one_of, resources, scheduling,
    security, some_of, text_of, volumes, windows,
};
use crate::{kinds::validation, tree};

const NAMESERVERS_MAX: usize = 3;
const SEARCH_PATHS_MAX: usize = 32;
const SEARCH_LIST_CHARACTERS_MAX: usize = 2048;
const HOSTNAME_OVERRIDE_BYTES_MAX: usize = 64;

/// Checks a pod spec. `metadata` is the pod's, absent in templates.
pub fn pod_spec(
    spec: &Value,
    metadata: Option<&Value>,
    tolerated: Tolerated,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let grace_seconds = integer_of(spec, "terminationGracePeriodSeconds");
    if grace_seconds.is_none() {
        errors.push(path.field("terminationGracePeriodSeconds").required(""));
    }
    let mut claims: Vec<&str> = list_of(spec, "resourceClaims").iter().map(|claim| text_of(claim, "name")).collect();
    claims.retain(|name| !name.is_empty());
    claims.sort_unstable();
    claims.dedup();
    let whole = Whole {
        is_pod: metadata.is_some(),
        tolerated,
        volumes: volumes::volumes(spec, metadata, tolerated, path, errors),
        claims,
        restart_policy: text_of(spec, "restartPolicy"),
        grace_seconds,
        os: some_of(spec, "os").map(|os| text_of(os, "name")),
        host_users: spec.get("hostUsers").and_then(Value::as_bool).unwrap_or(true),
    };
    scheduling::resource_claims(spec, metadata, path, errors);
    containers::containers(spec, &whole, path, errors);
    containers::init_containers(spec, &whole, path, errors);
    containers::ephemeral_containers(spec, &whole, path, errors);
    resources::pod_resources(spec, &whole, path, errors);
    host_ports_match(spec, whole.is_pod, path, errors);
    one_of(spec, "restartPolicy", &["Always", "OnFailure", "Never"], path, errors);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(spec, "dnsPolicy", &policies, path, errors);
    validation::labels(spec.get("nodeSelector"), &path.field("nodeSelector"), errors);
    security::pod_security_context(spec, tolerated, path, errors);
    if is_true(spec, "shareProcessNamespace") && is_true(spec, "hostPID") {
        let message = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(path.field("shareProcessNamespace").invalid(true, message));
    }
    scheduling::affinity(spec, tolerated, path, errors);
    dns_config(spec, path, errors);
    let gates = path.field("readinessGates");
    for (index, gate) in list_of(spec, "readinessGates").iter().enumerate() {
        validation::qualified_name(text_of(gate, "conditionType"), &gates.index(index).field("conditionType"), errors);
    }
    scheduling::gates(spec, path, errors);
    scheduling::topology_spread(spec, tolerated, path, errors);
    windows::host_process(spec, path, errors);
    user_namespace(spec, tolerated, path, errors);
    hostname_override(spec, path, errors);
    names(spec, path, errors);
    scheduling::tolerations(list_of(spec, "tolerations"), &path.field("tolerations"), errors);
    host_aliases(spec, path, errors);
    validation::subdomain(text_of(spec, "priorityClassName"), &path.field("priorityClassName"), errors);
    if let Some(class) = spec.get("runtimeClassName").and_then(Value::as_str) {
        path.field("runtimeClassName").all_invalid(class, dns_subdomain(class), errors);
    }
    if some_of(spec, "preemptionPolicy").is_some() {
        one_of(spec, "preemptionPolicy", &["PreemptLowerPriority", "Never"], path, errors);
    }
    if let Some(overhead) = tree::map(spec, "/overhead") {
        resources::limits_alone(overhead, &path.field("overhead"), errors);
    }
    windows::operating_system(spec, whole.os, path, errors);
    files_of_environment(spec, path, errors);
}

/// Pods on the host's network open their ports as they are.
fn host_ports_match(spec: &Value, is_pod: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !is_true(spec, "hostNetwork") {
        return;
    }
    let containers = path.field("containers");
    for (index, container) in list_of(spec, "containers").iter().enumerate() {
        let container_path = containers.index(index);
        let ports = container_path.field("ports");
        for (index, port) in list_of(container, "ports").iter().enumerate() {
            let host = integer_of(port, "hostPort").unwrap_or_default();
            if (is_pod || host != 0) && host != integer_of(port, "containerPort").unwrap_or_default() {
                let message = "must match `containerPort` when `hostNetwork` is true";
                errors.push(ports.index(index).field("hostPort").invalid(host, message));
            }
        }
    }
}

fn dns_config(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.field("dnsConfig");
    let config = some_of(spec, "dnsConfig");
    let nameservers = config.map_or(&[][..], |config| list_of(config, "nameservers"));
    if text_of(spec, "dnsPolicy") == "None" {
        if config.is_none() {
            errors.push(path.required("must provide `dnsConfig` when `dnsPolicy` is None"));
            return;
        }
        if nameservers.is_empty() {
            let message = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(path.field("nameservers").required(message));
            return;
        }
    }
    let Some(config) = config else { return };
    let list = path.field("nameservers");
    if nameservers.len() > NAMESERVERS_MAX {
        let message = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(list.invalid(Value::from(nameservers), message));
    }
    for (index, server) in nameservers.iter().filter_map(Value::as_str).enumerate() {
        list.index(index).all_invalid(server, formats::ip_address(server), errors);
    }
    let searches = list_of(config, "searches");
    let list = path.field("searches");
    if searches.len() > SEARCH_PATHS_MAX {
        let message = format!("must not have more than {SEARCH_PATHS_MAX} search paths");
        errors.push(list.invalid(Value::from(searches), message));
    }
    let characters = searches.iter().filter_map(Value::as_str).map(|search| search.len() + 1).sum::<usize>();
    if characters > SEARCH_LIST_CHARACTERS_MAX + 1 {
        let message = format!(
            "must not have more than {SEARCH_LIST_CHARACTERS_MAX} characters (including spaces) in the search list"
        );
        errors.push(list.invalid(Value::from(searches), message));
    }
    for (index, search) in searches.iter().filter_map(Value::as_str).enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        list.index(index).all_invalid(search, formats::dns_subdomain_with_underscore(search), errors);
    }
    let list = path.field("options");
    for (index, option) in list_of(config, "options").iter().enumerate() {
        if text_of(option, "name").is_empty() {
            errors.push(list.index(index).required("must not be empty"));
        }
    }
}

/// A pod with users of its own does not share what belongs to the host's users.
fn user_namespace(spec: &Value, tolerated: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MESSAGE: &str = "when `hostUsers` is false";
    if spec.get("hostUsers").and_then(Value::as_bool) != Some(false) {
        return;
    }
    if is_true(spec, "hostNetwork") && !tolerated.host_network_without_host_users {
        errors.push(path.field("hostNetwork").forbidden(MESSAGE));
    }
    for (field, shown) in [("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if is_true(spec, field) {
            errors.push(path.field(shown).forbidden(MESSAGE));
        }
    }
    if !tolerated.devices_without_host_users {
        each_container(spec, path, |container, path| {
            if !list_of(container, "volumeDevices").is_empty() {
                errors.push(path.field("volumeDevices").forbidden(MESSAGE));
            }
        });
    }
}

fn hostname_override(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(name) = spec.get("hostnameOverride").and_then(Value::as_str) else { return };
    let field = path.field("hostnameOverride");
    for other in ["setHostnameAsFQDN", "hostNetwork"] {
        if is_true(spec, other) {
            errors.push(field.forbidden(format!("may not be specified when {other} is true")));
        }
    }
    if name.len() > HOSTNAME_OVERRIDE_BYTES_MAX {
        errors.push(field.too_long(HOSTNAME_OVERRIDE_BYTES_MAX));
    }
    field.all_invalid(name, dns_subdomain(name), errors);
}

fn names(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let account = text_of(spec, "serviceAccountName");
    validation::subdomain(account, &path.field("serviceAccountName"), errors);
    let old_field = text_of(spec, "serviceAccount");
    if old_field != account {
        let message = format!("must be the same as serviceAccountName: {account:?}");
        errors.push(path.field("deprecatedServiceAccount").invalid(old_field, message));
    }
    validation::subdomain(text_of(spec, "nodeName"), &path.field("nodeName"), errors);
    if let Some(seconds) = integer_of(spec, "activeDeadlineSeconds") {
        for message in formats::in_range(seconds, 1, i64::from(i32::MAX)) {
            errors.push(path.field("activeDeadlineSeconds").invalid(seconds, message));
        }
    }
    for field in ["hostname", "subdomain"] {
        match text_of(spec, field) {
            "" => {}
            name => path.field(field).all_invalid(name, dns_label(name), errors),
        }
    }
}

fn host_aliases(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("hostAliases");
    for (index, alias) in list_of(spec, "hostAliases").iter().enumerate() {
        let path = list.index(index);
        let address = text_of(alias, "ip");
        path.field("ip").all_invalid(address, formats::ip_address(address), errors);
        let names = path.field("hostnames");
        for (index, name) in list_of(alias, "hostnames").iter().filter_map(Value::as_str).enumerate() {
            names.index(index).all_invalid(name, dns_subdomain(name), errors);
        }
    }
}

/// Files that environments are read from are in volumes that the pod's own containers write.
fn files_of_environment(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut volumes: Option<BTreeMap<&str, &Value>> = None;
    each_container(spec, path, |container, path| {
        let list = path.field("env");
        for (index, variable) in list_of(container, "env").iter().enumerate() {
            let Some(reference) = tree::some(variable, "/valueFrom/fileKeyRef") else { continue };
            let named = volumes.get_or_insert_with(|| {
                list_of(spec, "volumes").iter().map(|volume| (text_of(volume, "name"), volume)).collect()
            });
            let name = text_of(reference, "volumeName");
            let path = list.index(index);
            let path = path.field("valueFrom.fileKeyRef.volumeName");
            match named.get(name) {
                None => errors.push(path.not_found(name)),
                Some(volume) if some_of(volume, "emptyDir").is_none() => {
                    errors.push(path.invalid(name, "referenced volume must be of type emptyDir"));
                }
                Some(_) => {}
            }
        }
    });
}
