//! The kinds that differ from the generic behaviour.
//!
//! In reading order: [`pod_spec`], [`validation`], [`selectors`], [`resource_names`] and [`shown`] are shared; then [`pods`],
//! [`workloads`], [`batch`], [`autoscaling`]; [`namespaces`], [`config`], [`services`], [`endpoints`], [`nodes`], [`quotas`],
//! [`events`], [`volumes`], [`claims`], [`core`]; [`networking`], [`rbac`], [`storage`], [`coordination`]; [`groups`] and
//! [`control`] for the smaller groups; [`custom`] for what is no object.

pub mod autoscaling;
pub mod batch;
pub mod claims;
pub mod config;
pub mod control;
pub mod coordination;
pub mod core;
pub mod custom;
pub mod endpoints;
pub mod events;
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
        "certificatesigningrequests" => &control::CERTIFICATE_SIGNING_REQUESTS,
        "clusterrolebindings" => &rbac::CLUSTER_ROLE_BINDINGS,
        "clusterroles" => &rbac::CLUSTER_ROLES,
        "clustertrustbundles" => &control::CLUSTER_TRUST_BUNDLES,
        "customresourcedefinitions" => &CUSTOM_RESOURCE_DEFINITIONS,
        "deviceclasses" => &groups::DEVICE_CLASSES,
        "devicetaintrules" => &groups::DEVICE_TAINT_RULES,
        "endpointslices" => &endpoints::ENDPOINT_SLICES,
        "flowschemas" => &control::FLOW_SCHEMAS,
        "ingressclasses" => &networking::INGRESS_CLASSES,
        "ingresses" => &networking::INGRESSES,
        "ipaddresses" => &networking::IP_ADDRESSES,
        "leases" => &coordination::LEASES,
        "mutatingadmissionpolicies" => &control::MUTATING_ADMISSION_POLICIES,
        "mutatingadmissionpolicybindings" | "validatingadmissionpolicybindings" => &control::ADMISSION_POLICY_BINDINGS,
        "mutatingwebhookconfigurations" => &control::MUTATING_WEBHOOKS,
        "networkpolicies" => &networking::NETWORK_POLICIES,
        "podcertificaterequests" => &control::POD_CERTIFICATE_REQUESTS,
        "poddisruptionbudgets" => &groups::POD_DISRUPTION_BUDGETS,
        "priorityclasses" => &groups::PRIORITY_CLASSES,
        "prioritylevelconfigurations" => &control::PRIORITY_LEVELS,
        "resourceclaims" => &groups::RESOURCE_CLAIMS,
        "resourceclaimtemplates" => &groups::RESOURCE_CLAIM_TEMPLATES,
        "resourceslices" => &groups::RESOURCE_SLICES,
        "rolebindings" => &rbac::ROLE_BINDINGS,
        "roles" => &rbac::ROLES,
        "runtimeclasses" => &groups::RUNTIME_CLASSES,
        "servicecidrs" => &networking::SERVICE_CIDRS,
        "storageversionmigrations" => &control::STORAGE_VERSION_MIGRATIONS,
        "validatingadmissionpolicies" => &control::VALIDATING_ADMISSION_POLICIES,
        "validatingwebhookconfigurations" => &control::VALIDATING_WEBHOOKS,
        _ => &GENERIC,
    }
}

/// Until their own server serves them.
static CUSTOM_RESOURCE_DEFINITIONS: Kind = Kind { table: crate::tables::core::NAME_AND_CREATED_AT, ..Kind::GENERIC };

/// How a subresource is served, other than `status`, `scale` and `finalize`.
pub fn subresource(resource: &str, name: &str) -> Serving {
    let why = match (resource, name) {
        ("certificatesigningrequests", "approval") => return Serving::Object(Arc::new(control::ApprovalStrategy)),
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
