//! The kinds that differ from the generic behaviour.
//!
//! In reading order: [`pod_spec`], [`validation`], [`selectors`], [`conditions`], [`resource_names`] and [`shown`] are
//! shared; then [`pods`], [`workloads`], [`batch`], [`autoscaling`]; [`namespaces`], [`config`], [`services`],
//! [`endpoints`], [`nodes`], [`quotas`], [`events`], [`volumes`], [`claims`], [`core`]; [`networking`], [`rbac`],
//! [`storage`], [`coordination`]; [`admission`] with [`webhook_client`], [`certificates`], [`flow_control`], [`devices`];
//! [`groups`] and [`control`] for the smaller groups; [`custom`] for what is no object.

pub mod admission;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod claims;
pub mod conditions;
pub mod config;
pub mod control;
pub mod coordination;
pub mod core;
pub mod custom;
pub mod devices;
pub mod endpoints;
pub mod events;
pub mod flow_control;
pub mod groups;
pub mod namespaces;
pub mod networking;
pub mod nodes;
pub mod pod_spec;
pub mod pods;
pub mod quotas;
pub mod rbac;
pub mod resource_names;
pub mod selectors;
pub mod services;
pub mod shown;
pub mod storage;
pub mod validation;
pub mod volumes;
pub mod webhook_client;
pub mod workloads;

use std::sync::Arc;

use triune_api::names::{GroupVersion, GroupVersionKind};
use triune_machinery::registry::{CustomHandler, NotImplemented, Serving};

use crate::kind::Kind;

static GENERIC: Kind = Kind::GENERIC;

/// The behaviour of a resource in a version.
pub fn of(group_version: &GroupVersion, resource: &str) -> &'static Kind {
    match &*group_version.group {
        "" => of_core(resource),
        "apps" => of_apps(resource),
        "autoscaling" if &*group_version.version == "v1" => &autoscaling::V1,
        "autoscaling" => &autoscaling::V2,
        "batch" if resource == "jobs" => &batch::JOBS,
        "batch" => &batch::CRON_JOBS,
        "events.k8s.io" => &events::EVENTS,
        "storage.k8s.io" => of_storage(resource),
        _ => of_other(resource),
    }
}

fn of_core(resource: &str) -> &'static Kind {
    match resource {
        "componentstatuses" => &core::COMPONENT_STATUSES,
        "configmaps" => &config::CONFIG_MAPS,
        "endpoints" => &endpoints::ENDPOINTS,
        "events" => &events::CORE,
        "limitranges" => &quotas::LIMIT_RANGES,
        "namespaces" => &namespaces::NAMESPACES,
        "nodes" => &nodes::NODES,
        "persistentvolumeclaims" => &claims::PERSISTENT_VOLUME_CLAIMS,
        "persistentvolumes" => &volumes::PERSISTENT_VOLUMES,
        "pods" => &pods::PODS,
        "podtemplates" => &workloads::POD_TEMPLATES,
        "replicationcontrollers" => &workloads::REPLICATION_CONTROLLERS,
        "resourcequotas" => &quotas::RESOURCE_QUOTAS,
        "secrets" => &config::SECRETS,
        "serviceaccounts" => &config::SERVICE_ACCOUNTS,
        "services" => &services::SERVICES,
        _ => &GENERIC,
    }
}

fn of_apps(resource: &str) -> &'static Kind {
    match resource {
        "controllerrevisions" => &workloads::CONTROLLER_REVISIONS,
        "daemonsets" => &workloads::DAEMON_SETS,
        "deployments" => &workloads::DEPLOYMENTS,
        "replicasets" => &workloads::REPLICA_SETS,
        "statefulsets" => &workloads::STATEFUL_SETS,
        _ => &GENERIC,
    }
}

fn of_storage(resource: &str) -> &'static Kind {
    match resource {
        "csidrivers" => &storage::CSI_DRIVERS,
        "csinodes" => &storage::CSI_NODES,
        "csistoragecapacities" => &storage::CSI_STORAGE_CAPACITIES,
        "storageclasses" => &storage::STORAGE_CLASSES,
        "volumeattachments" => &storage::VOLUME_ATTACHMENTS,
        "volumeattributesclasses" => &storage::VOLUME_ATTRIBUTES_CLASSES,
        _ => &GENERIC,
    }
}

/// Groups whose resources have names that no other group has.
fn of_other(resource: &str) -> &'static Kind {
    match resource {
        "apiservices" => &control::API_SERVICES,
        "certificatesigningrequests" => &certificates::CERTIFICATE_SIGNING_REQUESTS,
        "clusterrolebindings" => &rbac::CLUSTER_ROLE_BINDINGS,
        "clusterroles" => &rbac::CLUSTER_ROLES,
        "clustertrustbundles" => &certificates::CLUSTER_TRUST_BUNDLES,
        "customresourcedefinitions" => &CUSTOM_RESOURCE_DEFINITIONS,
        "deviceclasses" => &devices::DEVICE_CLASSES,
        "devicetaintrules" => &devices::DEVICE_TAINT_RULES,
        "endpointslices" => &endpoints::ENDPOINT_SLICES,
        "flowschemas" => &flow_control::FLOW_SCHEMAS,
        "ingressclasses" => &networking::INGRESS_CLASSES,
        "ingresses" => &networking::INGRESSES,
        "ipaddresses" => &networking::IP_ADDRESSES,
        "leases" => &coordination::LEASES,
        "mutatingadmissionpolicies" => &admission::MUTATING_ADMISSION_POLICIES,
        "mutatingadmissionpolicybindings" => &admission::MUTATING_ADMISSION_POLICY_BINDINGS,
        "mutatingwebhookconfigurations" => &admission::MUTATING_WEBHOOKS,
        "networkpolicies" => &networking::NETWORK_POLICIES,
        "podcertificaterequests" => &certificates::POD_CERTIFICATE_REQUESTS,
        "poddisruptionbudgets" => &groups::POD_DISRUPTION_BUDGETS,
        "priorityclasses" => &groups::PRIORITY_CLASSES,
        "prioritylevelconfigurations" => &flow_control::PRIORITY_LEVELS,
        "resourceclaims" => &devices::RESOURCE_CLAIMS,
        "resourceclaimtemplates" => &devices::RESOURCE_CLAIM_TEMPLATES,
        "resourceslices" => &devices::RESOURCE_SLICES,
        "rolebindings" => &rbac::ROLE_BINDINGS,
        "roles" => &rbac::ROLES,
        "runtimeclasses" => &groups::RUNTIME_CLASSES,
        "servicecidrs" => &networking::SERVICE_CIDRS,
        "storageversionmigrations" => &control::STORAGE_VERSION_MIGRATIONS,
        "validatingadmissionpolicies" => &admission::VALIDATING_ADMISSION_POLICIES,
        "validatingadmissionpolicybindings" => &admission::VALIDATING_ADMISSION_POLICY_BINDINGS,
        "validatingwebhookconfigurations" => &admission::VALIDATING_WEBHOOKS,
        _ => &GENERIC,
    }
}

/// Until their own server serves them.
static CUSTOM_RESOURCE_DEFINITIONS: Kind =
    Kind { table: crate::tables::extensions::CUSTOM_RESOURCE_DEFINITIONS, ..Kind::GENERIC };

/// How a subresource is served, other than `status`, `scale` and `finalize`.
pub fn subresource(resource: &str, name: &str) -> Serving {
    let why = match (resource, name) {
        ("certificatesigningrequests", "approval") => return Serving::Object(Arc::new(certificates::ApprovalStrategy)),
        ("pods", "binding") => return Serving::Custom(Arc::new(custom::PodBinding)),
        ("pods", "eviction") => return Serving::Custom(Arc::new(custom::PodEviction)),
        ("pods", "ephemeralcontainers") => return Serving::Object(Arc::new(pods::EphemeralContainersStrategy)),
        ("pods", "resize") => return Serving::Object(Arc::new(pods::ResizeStrategy)),
        ("pods", "exec" | "attach" | "portforward" | "log") => "this server has no connection to kubelets yet",
        (_, "proxy") => "this server has no connection to nodes, pods and services yet",
        ("serviceaccounts", "token") => "service account tokens are not issued yet",
        _ => "this subresource is not served yet",
    };
    Serving::Custom(Arc::new(NotImplemented(why)))
}

/// Serves kinds that are never stored.
pub fn never_stored(gvk: &GroupVersionKind) -> Option<Arc<dyn CustomHandler>> {
    let why = match &*gvk.kind {
        "SelfSubjectReview" => return Some(Arc::new(custom::SelfSubjectReview)),
        "Binding" => "this old form of binding is not served yet; create pods/binding instead",
        "ComponentStatus" => "component statuses are not served yet",
        "TokenReview" => "token reviews are not served yet",
        "LocalSubjectAccessReview" | "SelfSubjectAccessReview" | "SubjectAccessReview" | "SelfSubjectRulesReview" => {
            "access reviews are not served yet"
        }
        _ => return None,
    };
    Some(Arc::new(NotImplemented(why)))
}
