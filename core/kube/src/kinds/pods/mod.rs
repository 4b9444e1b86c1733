//! Pods: pending until a node runs them, graceful deletes, a spec that hardly changes.

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

use super::{pod_spec, validation};
use crate::{
    kind::{Kind, Selectable},
    table, tables,
    tree::{self, child, copy_field, fill, set},
};

/// `core/v1 Pod`.
pub static PODS: Kind = Kind {
    defaults,
    create: |_, _, pod| create(pod),
    update_status,
    validate: |pod, errors| validation::pod_spec(pod, "/spec", "spec", errors),
    validate_update,
    grace_seconds,
    returns_deleted_object: true,
    selectable: SELECTABLE,
    table: tables::pods::PODS,
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
        copy_field(old, new, "metadata");
        if let (Some(spec), Some(containers)) = (child(new, "spec"), containers) {
            set(spec, "ephemeralContainers", containers);
        }
        defaults(new);
    }

    fn validate_update(&self, _: &Context, old: &Value, new: &Value) -> Vec<FieldError> {
        let (before, after) =
            (tree::items(old, "/spec/ephemeralContainers"), tree::items(new, "/spec/ephemeralContainers"));
        let kept = before.iter().all(|container| after.contains(container));
        let message = "existing ephemeral containers may not be removed or changed\n";
        if kept { Vec::new() } else { vec![FieldError::forbidden("spec.ephemeralContainers", message)] }
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
        for field in ["spec", "status", "metadata"] {
            copy_field(old, new, field);
        }
        for list in ["/spec/containers", "/spec/initContainers"] {
            for container in tree::items_mut(new, list) {
                let same = |other: &&Value| other.get("name") == container.get("name");
                if let Some(wanted) = tree::items(&wanted, &list["/spec".len()..]).iter().find(same) {
                    copy_field(wanted, container, "resources");
                    copy_field(wanted, container, "resizePolicy");
                }
            }
        }
        defaults(new);
    }

    fn validate_update(&self, _: &Context, old: &Value, new: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        validation::pod_spec(new, "/spec", "spec", &mut errors);
        if qos_class(old) != qos_class(new) {
            errors.push(FieldError::invalid(
                "spec",
                &json!(qos_class(new)),
                "Pod QOS Class may not change as a result of resizing",
            ));
        }
        errors
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
    pod_spec::defaults(spec);
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
    let mut status = json!({"phase": "Pending", "qosClass": qos_class(pod)});
    if !tree::items(pod, "/spec/schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    set(pod, "status", status);
}

fn update_status(_: &Context, old: &Value, new: &mut Value) {
    let old_class = old.pointer("/status/qosClass").cloned();
    if let (Some(status), Some(class)) = (child(new, "status"), old_class) {
        tree::fill_unset(status, "qosClass", class);
    }
    if let (Some(old), Some(new)) = (old.get("status"), tree::object_mut(new, "/status")) {
        for field in ["resourceClaimStatuses", "extendedResourceClaimStatus"] {
            if !tree::has(new, &format!("/{field}")) {
                copy_field(old, new, field);
            }
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

/// What may change of a pod that is there: images, deadline, further tolerations.
fn validate_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let mut fixed = new.get("spec").cloned().unwrap_or_default();
    let before = old.get("spec").cloned().unwrap_or_default();
    for list in ["/containers", "/initContainers"] {
        let old_containers = tree::items(&before, list);
        if tree::items(&fixed, list).len() != old_containers.len() {
            errors.push(FieldError::forbidden(
                &format!("spec.{}", &list[1..]),
                "pod updates may not add or remove containers",
            ));
            return;
        }
        for (container, old) in tree::items_mut(&mut fixed, list).iter_mut().zip(old_containers) {
            copy_field(old, container, "image");
        }
    }
    copy_field(&before, &mut fixed, "activeDeadlineSeconds");
    let (tolerations, old_tolerations) = (tree::items(&fixed, "/tolerations"), tree::items(&before, "/tolerations"));
    if old_tolerations.iter().all(|toleration| tolerations.contains(toleration)) {
        copy_field(&before, &mut fixed, "tolerations");
    }
    if tree::items(&before, "/schedulingGates").len() >= tree::items(&fixed, "/schedulingGates").len() {
        copy_field(&before, &mut fixed, "schedulingGates");
        if !tree::items(&before, "/schedulingGates").is_empty() {
            copy_field(&before, &mut fixed, "nodeSelector");
            copy_field(&before, &mut fixed, "affinity");
        }
    }
    if fixed != before {
        errors.push(FieldError::forbidden("spec", SPEC_CHANGED));
    }
}

const SPEC_CHANGED: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
                            `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                            `spec.tolerations` (only additions to existing tolerations),\
                            `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";

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

    #[test]
    fn few_fields_may_change() {
        let check = |change: fn(&mut Value), allowed: bool| {
            let old = json!({"spec": {"containers": [{"name": "a", "image": "x"}], "tolerations": [{"key": "k"}]}});
            let mut new = old.clone();
            change(&mut new);
            let mut errors = Vec::new();
            validate_update(&old, &new, &mut errors);
            assert_eq!(errors.is_empty(), allowed, "{new} {errors:?}");
        };
        check(|pod| pod["spec"]["containers"][0]["image"] = json!("y"), true);
        check(|pod| pod["spec"]["activeDeadlineSeconds"] = json!(3), true);
        check(|pod| pod["spec"]["tolerations"] = json!([{"key": "k"}, {"key": "l"}]), true);
        check(|pod| pod["spec"]["tolerations"] = json!([]), false);
        check(|pod| pod["spec"]["nodeName"] = json!("n"), false);
        check(|pod| pod["spec"]["containers"] = json!([]), false);
    }
}
