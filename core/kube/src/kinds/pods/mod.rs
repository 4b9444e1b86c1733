//! Pods: pending until a node runs them, graceful deletes, a spec that hardly changes. What is wrong with them is in
//! [`update`], [`resize`] and [`status`].

pub mod difference;
pub mod resize;
pub mod status;
pub mod update;

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    quantity::{Format, Quantity},
};
use triune_machinery::{
    context::Context,
    registry::{Column, ResetFields, Strategy},
};

use super::{pod_spec, resource_names::is_huge_pages, validation};
use crate::{
    kind::{Kind, Selectable, StatusMetadata, keep_metadata},
    table, tables,
    tree::{self, child, copy_field, fill, set},
};

/// `core/v1 Pod`.
pub static PODS: Kind = Kind {
    defaults,
    create: |_, _, pod| create(pod),
    update: |_, _, old, new| {
        if let (Some(resources), Some(spec)) = (tree::some(old, "/spec/resources"), child(new, "spec")) {
            fill(spec, "resources", resources.clone());
        }
        pod_spec::drop_disabled(new, "/spec", Some(old));
    },
    update_status,
    validate: validation::qualified_finalizers,
    validate_create: update::created,
    validate_update: update::updated,
    validate_status: status::updated,
    closed_sets: true,
    warnings: |pod, old| {
        let mut warnings = Vec::new();
        if old.is_none() {
            warnings.extend(pod_spec::warnings::name(pod, "the Pod's hostname"));
            pod_spec::warnings::pod(pod, &mut warnings);
        }
        warnings
    },
    grace_seconds,
    returns_deleted_object: true,
    selectable: SELECTABLE,
    table: tables::pods::PODS,
    row_conditions: tables::pods::row_conditions,
    ..Kind::GENERIC
};

/// Serves `ephemeralcontainers`: these may be added, nothing else changes.
pub struct EphemeralContainersStrategy;

/// Serves `resize`: resources of containers change, nothing else.
pub struct ResizeStrategy;

impl Strategy for EphemeralContainersStrategy {
    fn reset_fields(&self) -> ResetFields {
        ResetFields::AllBut(&[&["spec", "ephemeralContainers"]])
    }

    fn prepare_for_update(&self, _: &Context, old: &Value, new: &mut Value) {
        let containers = new.pointer("/spec/ephemeralContainers").cloned();
        copy_field(old, new, "spec");
        copy_field(old, new, "status");
        keep_metadata(StatusMetadata::Old, old, new);
        if let (Some(spec), Some(containers)) = (child(new, "spec"), containers) {
            set(spec, "ephemeralContainers", containers);
        }
        defaults(new);
    }

    fn validate_update(&self, _: &Context, old: &Value, new: &Value) -> Vec<FieldError> {
        update::ephemeral_containers_updated(old, new)
    }

    fn validates_closed_sets(&self) -> bool {
        true
    }

    fn uses_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(tables::pods::PODS)
    }

    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        table::cells(tables::pods::PODS, object, now)
    }
}

impl Strategy for ResizeStrategy {
    fn reset_fields(&self) -> ResetFields {
        ResetFields::AllBut(&[
            &["spec", "containers", "resources"],
            &["spec", "containers", "resizePolicy"],
            &["spec", "initContainers", "resources"],
            &["spec", "initContainers", "resizePolicy"],
        ])
    }

    fn prepare_for_update(&self, _: &Context, old: &Value, new: &mut Value) {
        let wanted = new.get("spec").cloned().unwrap_or_default();
        let same_names = ["/containers", "/initContainers"].iter().all(|list| {
            let names = |spec: &Value| -> Vec<Value> {
                tree::items(spec, list).iter().map(|container| container["name"].clone()).collect()
            };
            names(&wanted) == names(old.get("spec").unwrap_or(&Value::Null))
        });
        // Containers that come, go or change places are left for the validation to tell.
        if !same_names {
            defaults(new);
            return;
        }
        copy_field(old, new, "spec");
        copy_field(old, new, "status");
        keep_metadata(StatusMetadata::Old, old, new);
        for list in ["/spec/containers", "/spec/initContainers"] {
            for (container, wanted) in
                tree::items_mut(new, list).iter_mut().zip(tree::items(&wanted, &list["/spec".len()..]))
            {
                copy_field(wanted, container, "resources");
                copy_field(wanted, container, "resizePolicy");
            }
        }
        if let (Some(spec), true) = (child(new, "spec"), tree::has(&wanted, "/resources")) {
            copy_field(&wanted, spec, "resources");
        }
        defaults(new);
    }

    fn validate_update(&self, _: &Context, old: &Value, new: &Value) -> Vec<FieldError> {
        resize::resized(old, new)
    }

    fn validates_closed_sets(&self) -> bool {
        true
    }

    fn uses_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(tables::pods::PODS)
    }

    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        table::cells(tables::pods::PODS, object, now)
    }
}

const SELECTABLE: &[Selectable] = &[
    Selectable { path: "spec.nodeName", value: |pod| tree::text(pod, "/spec/nodeName").into() },
    Selectable { path: "spec.restartPolicy", value: |pod| tree::text(pod, "/spec/restartPolicy").into() },
    Selectable { path: "spec.schedulerName", value: |pod| tree::text(pod, "/spec/schedulerName").into() },
    Selectable { path: "spec.serviceAccountName", value: |pod| tree::text(pod, "/spec/serviceAccountName").into() },
    Selectable { path: "spec.hostNetwork", value: |pod| tree::truth(pod, "/spec/hostNetwork").to_string() },
    Selectable { path: "status.phase", value: |pod| tree::text(pod, "/status/phase").into() },
    Selectable { path: "status.podIP", value: |pod| tree::text(pod, "/status/podIPs/0/ip").into() },
    Selectable { path: "status.nominatedNodeName", value: |pod| tree::text(pod, "/status/nominatedNodeName").into() },
];

fn defaults(pod: &mut Value) {
    let Some(spec) = child(pod, "spec") else { return };
    pod_spec::complete(spec);
    fill(spec, "enableServiceLinks", true);
    if tree::integer_or_zero(spec, "/terminationGracePeriodSeconds") < 0 {
        set(spec, "terminationGracePeriodSeconds", 1);
    }
    let host_network = tree::truth(spec, "/hostNetwork");
    for list in ["/containers", "/initContainers"] {
        for container in tree::items_mut(spec, list) {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
    addresses(pod);
}

/// What is limited and not requested is requested up to the limit.
fn requests_from_limits(container: &mut Value) {
    let Some(limits) = tree::map(container, "/resources/limits").cloned() else { return };
    if let Some(resources) = child(container, "resources")
        && let Some(requests) = child(resources, "requests")
    {
        for (name, limit) in limits {
            fill(requests, &name, limit);
        }
    }
}

fn host_ports(container: &mut Value) {
    for port in tree::items_mut(container, "/ports") {
        if let Some(number) = tree::integer(port, "/containerPort") {
            tree::fill_unset(port, "hostPort", number);
        }
    }
}

/// `podIP` and the first of `podIPs` are one.
fn addresses(pod: &mut Value) {
    let (one, first) =
        (tree::text(pod, "/status/podIP").to_string(), tree::text(pod, "/status/podIPs/0/ip").to_string());
    let Some(status) = tree::object_mut(pod, "/status") else { return };
    if one.is_empty() && !first.is_empty() {
        set(status, "podIP", first);
    } else if one != first {
        set(status, "podIPs", json!([{"ip": one}]));
    }
}

fn create(pod: &mut Value) {
    pod_spec::drop_disabled(pod, "/spec", None);
    merge_label_keys(pod);
    pod_level_resources(pod);
    let mut status = json!({"phase": "Pending", "qosClass": qos_class(pod)});
    if !tree::items(pod, "/spec/schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    set(pod, "status", status);
}

/// The labels that affinity terms and spread constraints name by key become part of their selectors.
fn merge_label_keys(pod: &mut Value) {
    let labels = tree::map(pod, "/metadata/labels").cloned().unwrap_or_default();
    let merge = |term: &mut Value| {
        for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
            let keys: Vec<String> =
                pod_spec::list_of(term, field).iter().filter_map(Value::as_str).map(String::from).collect();
            for key in keys {
                let Some(value) = labels.get(&key) else { continue };
                let Some(selector) = tree::object_mut(term, "/labelSelector") else { continue };
                let mut expressions = tree::items(selector, "/matchExpressions").to_vec();
                expressions.push(json!({"key": key, "operator": operator, "values": [value]}));
                set(selector, "matchExpressions", expressions);
            }
        }
    };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let preferred = format!("/spec/affinity/{kind}/preferredDuringSchedulingIgnoredDuringExecution");
        let terms = tree::items_mut(pod, &preferred).iter_mut();
        terms.filter_map(|term| term.get_mut("podAffinityTerm")).for_each(merge);
        let required = format!("/spec/affinity/{kind}/requiredDuringSchedulingIgnoredDuringExecution");
        tree::items_mut(pod, &required).iter_mut().for_each(merge);
    }
    tree::items_mut(pod, "/spec/topologySpreadConstraints").iter_mut().for_each(merge);
}

/// What a pod as a whole does not say of its resources follows from its containers: requests are their sum, or the limits.
fn pod_level_resources(pod: &mut Value) {
    let Some(spec) = tree::object_mut(pod, "/spec") else { return };
    let of = |spec: &Value, list: &str| tree::map(spec, &format!("/resources/{list}")).cloned().unwrap_or_default();
    let (mut requests, mut limits) = (of(spec, "requests"), of(spec, "limits"));
    if requests.is_empty() && limits.is_empty() {
        return;
    }
    for (name, sum) in pod_spec::resources::aggregate(spec, "/resources/limits") {
        if is_huge_pages(&name) && !requests.contains_key(&name) {
            limits.entry(name).or_insert_with(|| sum.canonical().into());
        }
    }
    for (name, sum) in pod_spec::resources::aggregate(spec, "/resources/requests") {
        if matches!(name.as_str(), "cpu" | "memory") {
            requests.entry(name).or_insert_with(|| sum.canonical().into());
        }
    }
    for (name, limit) in &limits {
        if matches!(name.as_str(), "cpu" | "memory") || is_huge_pages(name) {
            requests.entry(name.clone()).or_insert_with(|| limit.clone());
        }
    }
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let sums = pod_spec::resources::aggregate(spec, "/resources/limits");
    for (name, request) in requests
        .iter()
        .filter(|(name, _)| !limits.contains_key(*name))
        .map(|(name, amount)| (name.clone(), amount.clone()))
        .collect::<Vec<_>>()
    {
        let pointer = format!("/resources/limits/{name}");
        let limited =
            lists.iter().flat_map(|list| pod_spec::list_of(spec, list)).all(|container| tree::has(container, &pointer));
        let (Some(sum), Some(least)) = (sums.get(&name).filter(|_| limited), validation::quantity(&request)) else {
            continue;
        };
        limits.insert(name, if least > *sum { request } else { sum.canonical().into() });
    }
    if let Some(resources) = child(spec, "resources") {
        for (list, amounts) in [("requests", requests), ("limits", limits)] {
            if !amounts.is_empty() {
                set(resources, list, amounts);
            }
        }
    }
}

fn update_status(_: &Context, old: &Value, new: &mut Value) {
    keep_observed_generations(old, new);
    let old_class = old.pointer("/status/qosClass").cloned();
    if let (Some(status), Some(class)) = (child(new, "status"), old_class) {
        tree::fill_unset(status, "qosClass", class);
    }
    if let (Some(old), Some(new)) = (old.get("status"), tree::object_mut(new, "/status")) {
        for field in ["resourceClaimStatuses", "extendedResourceClaimStatus", "nodeAllocatableResourceClaimStatuses"] {
            if !tree::has(new, &format!("/{field}")) {
                copy_field(old, new, field);
            }
        }
    }
}

/// Writers that do not know of `observedGeneration` leave it as it was.
fn keep_observed_generations(old: &Value, new: &mut Value) {
    let generation = |owner: &Value| tree::integer_or_zero(owner, "/observedGeneration");
    let Some(before) = old.get("status") else { return };
    let Some(status) = tree::object_mut(new, "/status") else { return };
    if generation(status) == 0 && generation(before) != 0 {
        copy_field(before, status, "observedGeneration");
    }
    let mut before: Vec<&Value> = tree::items(before, "/conditions").iter().collect();
    for condition in tree::items_mut(status, "/conditions") {
        let Some(at) = before.iter().position(|old| old.get("type") == condition.get("type")) else { continue };
        let old = before.remove(at);
        if generation(condition) == 0 && generation(old) != 0 {
            copy_field(old, condition, "observedGeneration");
        }
    }
}

/// Guaranteed: every container is limited in CPU and memory, and requests what it is limited to. BestEffort: none says
/// anything. Burstable: the rest.
fn qos_class(pod: &Value) -> &'static str {
    const RESOURCES: [&str; 2] = ["cpu", "memory"];
    let amounts = |container: &Value, list: &str| {
        RESOURCES.map(|resource| {
            let amount = container.pointer(&format!("/resources/{list}/{resource}")).and_then(validation::quantity);
            amount.filter(|amount| amount.sign() > 0)
        })
    };
    let containers: Vec<&Value> = if tree::has(pod, "/spec/resources") {
        pod.pointer("/spec").into_iter().collect()
    } else {
        ["/spec/containers", "/spec/initContainers"].iter().flat_map(|list| tree::items(pod, list)).collect()
    };
    let zero = || RESOURCES.map(|_| Quantity::from_integer(0, Format::DecimalSi));
    let (mut requests, mut limits, mut all_limited, mut any) = (zero(), zero(), true, false);
    for container in containers {
        let (wanted, most) = (amounts(container, "requests"), amounts(container, "limits"));
        for index in 0..RESOURCES.len() {
            any |= wanted[index].is_some() || most[index].is_some();
            all_limited &= most[index].is_some();
            for (sums, amounts) in [(&mut requests, &wanted), (&mut limits, &most)] {
                if let Some(amount) = &amounts[index] {
                    sums[index] = sums[index].plus(amount);
                }
            }
        }
    }
    match (any, all_limited && requests == limits) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Pods that no node runs, and those that have ended, go at once.
fn grace_seconds(pod: &Value, requested: Option<i64>) -> Option<i64> {
    let phase = tree::text(pod, "/status/phase");
    if tree::text(pod, "/spec/nodeName").is_empty() || matches!(phase, "Failed" | "Succeeded") {
        return Some(0);
    }
    let seconds = requested.or_else(|| tree::integer(pod, "/spec/terminationGracePeriodSeconds")).unwrap_or_default();
    Some(if seconds < 0 { 1 } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_of_service_follows_resources() {
        let check = |resources: &[Value], expected: &str| {
            let containers: Vec<Value> = resources.iter().map(|resources| json!({"resources": resources})).collect();
            let mut pod = json!({"spec": {"containers": containers}});
            defaults(&mut pod);
            create(&mut pod);
            assert_eq!(pod["status"]["qosClass"], expected, "{resources:?}");
        };
        check(&[json!({})], "BestEffort");
        check(&[json!({"requests": {"cpu": "0"}})], "BestEffort");
        check(&[json!({"limits": {"cpu": "1", "memory": "1Gi"}})], "Guaranteed");
        check(&[json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}})], "Guaranteed");
        check(&[json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})], "Burstable");
        check(&[json!({"limits": {"cpu": "1", "memory": "1Gi"}}), json!({})], "Burstable");
        check(&[json!({"requests": {"memory": "1"}})], "Burstable");
    }

    #[test]
    fn grace_depends_on_the_node() {
        let check = |pod: Value, requested: Option<i64>, expected: i64| {
            assert_eq!(grace_seconds(&pod, requested), Some(expected), "{pod} {requested:?}");
        };
        let scheduled = json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}});
        check(json!({"spec": {"terminationGracePeriodSeconds": 30}}), None, 0);
        check(scheduled.clone(), None, 30);
        check(scheduled.clone(), Some(5), 5);
        check(scheduled, Some(0), 0);
        check(json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}}), Some(5), 0);
    }
}
