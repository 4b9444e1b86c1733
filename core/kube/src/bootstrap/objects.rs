//! The objects that exist from the start, as trees.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use triune_api::time;

use super::policy::{self, PolicyError};
use crate::{catalog::CatalogError, group_priorities, settings::Settings};

const FLOW_CONTROL: &str = include_str!("../../bootstrap/flowcontrol.tsv");
/// How long a server counts as alive after it last said so.
const IDENTITY_LEASE_SECONDS: i64 = 3600;

/// What the objects depend on.
#[derive(Debug, Clone)]
pub struct BootstrapOptions {
    /// Ranges of addresses and ports.
    pub settings: Settings,
    /// Where clients reach this server.
    pub advertise_address: IpAddr,
    /// Its secure port.
    pub port: u16,
    /// Name of the machine; the server's identity follows from it.
    pub hostname: String,
    /// Entries of the config map `extension-apiserver-authentication`, such as `client-ca-file`.
    pub authentication: BTreeMap<String, String>,
    /// Wall time.
    pub now: jiff::Timestamp,
    /// Random, for the holder of the identity lease.
    pub holder_suffix: String,
}

/// The data of the bootstrap objects is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapDataError {
    /// Roles and bindings.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Flow schemas and priority levels.
    #[error("flowcontrol.tsv line {0} is malformed")]
    FlowControl(usize),
    /// API services.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// All objects, those that others need first. They come with `apiVersion` and `kind`, without uid and times.
pub fn bootstrap_objects(options: &BootstrapOptions) -> Result<Vec<Value>, BootstrapDataError> {
    let mut objects: Vec<Value> = ["default", "kube-system", "kube-public", "kube-node-lease"].map(namespace).into();
    objects.extend(kubernetes_service(options));
    objects.extend(priority_classes());
    objects.extend(config_maps(options));
    objects.push(identity_lease(options));
    objects.extend(policy::objects()?);
    objects.extend(flow_control(options)?);
    objects.extend(api_services(options)?);
    Ok(objects)
}

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

/// The service `kubernetes`, where it points, and the range that its address is from.
fn kubernetes_service(options: &BootstrapOptions) -> [Value; 5] {
    let address = options.settings.service_range.first().to_string();
    let (advertised, port) = (options.advertise_address.to_string(), options.port);
    let family = if options.advertise_address.is_ipv4() { "IPv4" } else { "IPv6" };
    let ready = "Kubernetes default Service CIDR is ready";
    [
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": [options.settings.service_range.to_string()]},
            "status": {"conditions": [{
                "type": "Ready", "status": "True", "reason": "", "message": ready,
                "lastTransitionTime": time::format_seconds(options.now),
            }]},
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
            "metadata": {"name": address, "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            }},
            "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
                "clusterIP": address, "clusterIPs": [address], "type": "ClusterIP", "sessionAffinity": "None",
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
            },
            "status": {"loadBalancer": {}},
        }),
        json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [{
                "addresses": [{"ip": advertised}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }],
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": family,
            "endpoints": [{"addresses": [advertised], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "protocol": "TCP", "port": port}],
        }),
    ]
}

fn priority_classes() -> [Value; 2] {
    let class = |name: &str, value: i64, description: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
            "description": description, "preemptionPolicy": "PreemptLowerPriority",
        })
    };
    [
        class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ]
}

fn config_maps(options: &BootstrapOptions) -> [Value; 2] {
    let map = |name: &str, data: Value| {
        let metadata = json!({"name": name, "namespace": "kube-system"});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    };
    let today = time::format_seconds(options.now).chars().take("2026-11-24".len()).collect::<String>();
    [
        map("extension-apiserver-authentication", json!(options.authentication)),
        map("kube-apiserver-legacy-service-account-token-tracking", json!({"since": today})),
    ]
}

/// The lease by which servers know of each other (KEP-1965).
fn identity_lease(options: &BootstrapOptions) -> Value {
    let identity = server_identity(&options.hostname);
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": identity, "namespace": "kube-system",
            "labels": {
                "apiserver.kubernetes.io/identity": "kube-apiserver", "kubernetes.io/hostname": options.hostname,
            },
            "annotations": {
                "kubernetes.io/peer-advertise-address": format!("{}:{}", options.advertise_address, options.port),
            },
        },
        "spec": {
            "holderIdentity": format!("{identity}_{}", options.holder_suffix),
            "leaseDurationSeconds": IDENTITY_LEASE_SECONDS, "renewTime": time::format_micros(options.now),
        },
    })
}

/// `apiserver-` and 16 bytes of a SHA-256 in lower-case base 32: of the hostname and the server's name, each after its
/// length in two bytes.
pub fn server_identity(hostname: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::from("apiserver-");
    let mut hash = Sha256::new();
    for part in [hostname, "kube-apiserver"] {
        hash.update(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        hash.update(part);
    }
    let (mut bits, mut count) = (0u32, 0);
    for byte in &hash.finalize()[..16] {
        (bits, count) = ((bits << 8) | u32::from(*byte), count + 8);
        while count >= 5 {
            count -= 5;
            text.push(char::from(ALPHABET[(bits >> count) as usize & 31]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - count)) as usize & 31]));
    }
    text
}

/// The spec of a `level` or `schema` that may not be changed, without what is unset; None of all others.
pub fn mandatory_flow_control(kind: &str, name: &str) -> Option<Value> {
    let is_mandatory = matches!(name, "exempt" | "catch-all");
    let lines = FLOW_CONTROL.lines().filter(|_| is_mandatory);
    let mut specs = lines.filter_map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        [line_kind, line_name, spec] if line_kind == kind && line_name == name => Some(spec),
        _ => None,
    });
    let spec: Value = serde_json::from_str(specs.next()?).ok()?;
    Some(crate::tree::unset_removed(&spec))
}

fn flow_control(options: &BootstrapOptions) -> Result<Vec<Value>, BootstrapDataError> {
    let lines = FLOW_CONTROL.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    lines
        .map(|(index, line)| {
            let error = || BootstrapDataError::FlowControl(index + 1);
            let [kind, name, spec] = line.split('\t').collect::<Vec<_>>()[..] else { return Err(error()) };
            let spec: Value = serde_json::from_str(spec).map_err(|_| error())?;
            let (kind, status) = match kind {
                "level" => ("PriorityLevelConfiguration", json!({})),
                "schema" => ("FlowSchema", schema_status(&spec, options)),
                _ => return Err(error()),
            };
            Ok(json!({
                "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind,
                "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}},
                "spec": spec, "status": status,
            }))
        })
        .collect()
}

/// Its priority level exists, as it is made along with it.
fn schema_status(spec: &Value, options: &BootstrapOptions) -> Value {
    let level = crate::tree::text(spec, "/priorityLevelConfiguration/name");
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists");
    json!({"conditions": [{
        "type": "Dangling", "status": "False", "reason": "Found", "message": message,
        "lastTransitionTime": time::format_seconds(options.now),
    }]})
}

/// The built-in groups as API services; that of API services itself has none.
fn api_services(options: &BootstrapOptions) -> Result<Vec<Value>, CatalogError> {
    let served = group_priorities()?;
    let served = served.iter().filter(|priority| &*priority.group_version.group != "apiregistration.k8s.io");
    let service = |priority: &crate::GroupPriority| {
        let (group, version) = (&*priority.group_version.group, &*priority.group_version.version);
        let mut spec = json!({
            "version": version, "groupPriorityMinimum": priority.group_priority_minimum,
            "versionPriority": priority.version_priority,
        });
        if !group.is_empty() {
            spec["group"] = json!(group);
        }
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {
                "name": format!("{version}.{group}"),
                "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"},
            },
            "spec": spec,
            "status": {"conditions": [{
                "type": "Available", "status": "True", "reason": "Local",
                "message": "Local APIServices are always available",
                "lastTransitionTime": time::format_seconds(options.now),
            }]},
        })
    };
    Ok(served.map(service).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> BootstrapOptions {
        BootstrapOptions {
            settings: Settings::default(),
            advertise_address: IpAddr::from([192, 0, 2, 1]),
            port: 16443,
            hostname: "vm".into(),
            authentication: [("client-ca-file".to_string(), "PEM".to_string())].into(),
            now: jiff::Timestamp::UNIX_EPOCH,
            holder_suffix: "x".into(),
        }
    }

    #[test]
    fn all_objects_are_there() -> Result<(), BootstrapDataError> {
        let objects = bootstrap_objects(&options())?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for object in &objects {
            *counts.entry(object["kind"].as_str().unwrap_or_default()).or_default() += 1;
        }
        let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        assert_eq!(
            counts.join(", "),
            "APIService 22, ClusterRole 73, ClusterRoleBinding 54, ConfigMap 2, EndpointSlice 1, Endpoints 1, \
             FlowSchema 11, IPAddress 1, Lease 1, Namespace 4, PriorityClass 2, PriorityLevelConfiguration 8, Role 7, \
             RoleBinding 7, Service 1, ServiceCIDR 1"
        );
        Ok(())
    }

    #[test]
    fn the_service_points_here() -> Result<(), BootstrapDataError> {
        let objects = bootstrap_objects(&options())?;
        let of = |kind: &str| objects.iter().find(|object| object["kind"] == kind).cloned().unwrap_or_default();
        assert_eq!(of("Service")["spec"]["clusterIP"], "10.96.0.1");
        assert_eq!(of("Endpoints")["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
        assert_eq!(of("EndpointSlice")["ports"][0]["port"], 16443);
        assert_eq!(of("ConfigMap")["data"]["client-ca-file"], "PEM");
        Ok(())
    }

    #[test]
    fn the_identity_follows_from_the_hostname() {
        assert_eq!(server_identity("vm"), "apiserver-wlv32tlttr4jl3gtroqexyxapa");
    }
}
