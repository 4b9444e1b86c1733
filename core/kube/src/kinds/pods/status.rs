//! What is wrong with a changed status of a pod.

use std::net::IpAddr;

use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_label, dns_subdomain, formats},
};

use super::update::fixed_annotations;
use crate::{
    kinds::{
        pod_spec::{list_of, some_of, text_of},
        validation,
    },
    tree,
};

const STATUS: Path<'static> = Path::new("status");
/// Containers in the spec, and their statuses.
const STATUSES: [(&str, &str); 3] = [
    ("containers", "containerStatuses"),
    ("initContainers", "initContainerStatuses"),
    ("ephemeralContainers", "ephemeralContainerStatuses"),
];

/// Checks an update of the status.
pub fn updated(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    static NULL: Value = Value::Null;
    fixed_annotations(old, new, errors);
    let (before, after) = (old.get("status").unwrap_or(&NULL), new.get("status").unwrap_or(&NULL));
    conditions(after, errors);
    if tree::text(old, "/spec/nodeName") != tree::text(new, "/spec/nodeName") {
        errors.push(STATUS.field("nodeName").forbidden("may not be changed directly"));
    }
    let nominated = text_of(after, "nominatedNodeName");
    if nominated != text_of(before, "nominatedNodeName") && !nominated.is_empty() {
        let path = STATUS.field("nominatedNodeName");
        path.all_invalid(nominated, dns_subdomain(nominated), errors);
        if !tree::text(old, "/spec/nodeName").is_empty() {
            errors.push(path.forbidden("may not be set on pods that are already bound to a node"));
        }
    }
    not_negative(after, &STATUS, errors);
    let class = text_of(after, "qosClass");
    if class != text_of(before, "qosClass") {
        errors.push(STATUS.field("qosClass").invalid(class, "field is immutable"));
    }
    for (list, statuses) in STATUSES {
        stay_terminated(old, new, list, statuses, errors);
    }
    claims(new, after, errors);
    addresses(before, after, "podIP", "podIPs", errors);
    addresses(before, after, "hostIP", "hostIPs", errors);
    for (_, statuses) in STATUSES {
        users(new, list_of(after, statuses), &STATUS.field(statuses), errors);
    }
    for (list, statuses) in STATUSES {
        allocated(new, list, list_of(after, statuses), &STATUS.field(statuses), errors);
    }
}

fn not_negative(owner: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let generation = tree::integer_or_zero(owner, "/observedGeneration");
    if generation < 0 {
        errors.push(path.field("observedGeneration").invalid(generation, "must be a non-negative integer"));
    }
}

fn conditions(status: &Value, errors: &mut Vec<FieldError>) {
    let list = STATUS.field("conditions");
    for (index, condition) in list_of(status, "conditions").iter().enumerate() {
        let path = list.index(index);
        not_negative(condition, &path, errors);
        let kind = text_of(condition, "type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            validation::qualified_name(kind, &path.field("Type"), errors);
        }
    }
}

/// Whether a container with this restart policy, or in a pod with that, goes on after this exit code.
fn restarts(pod: &Value, container: Option<&Value>, exit_code: i64) -> bool {
    let Some(container) = container else { return false };
    for rule in list_of(container, "restartPolicyRules") {
        let matches = tree::items(rule, "/exitCodes/values").iter().any(|code| code.as_i64() == Some(exit_code));
        let applies = match tree::text(rule, "/exitCodes/operator") {
            "In" => matches,
            "NotIn" => !matches,
            _ => false,
        };
        if applies {
            return text_of(rule, "action") == "Restart";
        }
    }
    let policy = match text_of(container, "restartPolicy") {
        "" => tree::text(pod, "/spec/restartPolicy"),
        own => own,
    };
    match policy {
        "Always" => true,
        "OnFailure" => exit_code != 0,
        _ => false,
    }
}

/// What has ended and does not start again stays so.
fn stay_terminated(old: &Value, new: &Value, list: &str, statuses: &str, errors: &mut Vec<FieldError>) {
    let containers = tree::items(old, &format!("/spec/{list}"));
    let path = STATUS.field(statuses);
    let pointer = format!("/status/{statuses}");
    let after = tree::items(new, &pointer);
    for (index, status) in tree::items(old, &pointer).iter().enumerate() {
        let Some(terminated) = tree::some(status, "/state/terminated") else { continue };
        let name = text_of(status, "name");
        let goes_on = |other: &&Value| text_of(other, "name") == name && !tree::has(other, "/state/terminated");
        if !after.iter().any(|other| goes_on(&other)) {
            continue;
        }
        let container = containers.iter().find(|container| text_of(container, "name") == name);
        let exit_code = tree::integer_or_zero(terminated, "/exitCode");
        if list == "ephemeralContainers" || !restarts(old, container, exit_code) {
            errors.push(path.index(index).field("state").forbidden("may not be transitioned to non-terminated state"));
        }
    }
}

fn claims(pod: &Value, status: &Value, errors: &mut Vec<FieldError>) {
    let wanted = tree::items(pod, "/spec/resourceClaims");
    let list = STATUS.field("resourceClaimStatuses");
    let mut names: Vec<&str> = Vec::new();
    for (index, claim) in list_of(status, "resourceClaimStatuses").iter().enumerate() {
        let path = list.index(index);
        let name = text_of(claim, "name");
        if !wanted.iter().any(|wanted| text_of(wanted, "name") == name) {
            let message = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(path.field("name").invalid(name, message));
        }
        if names.contains(&name) {
            errors.push(path.field("name").duplicate(name));
        }
        names.push(name);
        if let Some(claim) = claim.get("resourceClaimName").and_then(Value::as_str) {
            path.field("resourceClaimName").all_invalid(claim, dns_subdomain(claim), errors);
        }
    }
    let Some(extended) = some_of(status, "extendedResourceClaimStatus") else { return };
    let path = STATUS.field("extendedResourceClaimStatus");
    let mappings = list_of(extended, "requestMappings");
    if mappings.is_empty() {
        errors.push(path.field("requestMappings").required("at least one request mapping is required"));
    }
    for mapping in mappings {
        let request = text_of(mapping, "requestName");
        path.field("requestName").all_invalid(request, dns_label(request), errors);
    }
    match text_of(extended, "resourceClaimName") {
        "" => errors.push(path.field("resourceClaimName").required("")),
        name => path.field("resourceClaimName").all_invalid(name, dns_subdomain(name), errors),
    }
}

/// One address, or two of different families, the first of which is also a field by itself.
fn addresses(before: &Value, after: &Value, one: &str, list: &str, errors: &mut Vec<FieldError>) {
    let path = STATUS.field(list);
    let kept = list_of(before, list);
    let addresses = list_of(after, list);
    let first = addresses.first().map(|address| text_of(address, "ip"));
    let single = text_of(after, one);
    let check_first = |errors: &mut Vec<FieldError>| {
        if let Some(first) = first.filter(|first| *first != single) {
            errors.push(path.index(0).field("ip").invalid(first, format!("must be equal to `{one}`")));
        }
    };
    if one == "hostIP" {
        check_first(errors);
    }
    for (index, address) in addresses.iter().enumerate().filter(|(_, address)| !kept.contains(address)) {
        let text = text_of(address, "ip");
        path.index(index).all_invalid(text, formats::ip_address(text), errors);
    }
    if addresses.len() > 1 {
        let families: Vec<bool> = addresses
            .iter()
            .filter_map(|address| text_of(address, "ip").parse::<IpAddr>().ok())
            .map(|address| address.is_ipv6())
            .collect();
        if addresses.len() > 2 || !(families.contains(&true) && families.contains(&false)) {
            let shown = shown_addresses(addresses);
            let message = "may specify no more than one IP for each IP family";
            errors.push(path.invalid(shown, message));
        }
    }
    if one == "podIP" {
        if single.is_empty() != addresses.is_empty() {
            let message = "podIP and podIPs must either both be set or both be unset";
            errors.push(path.invalid(shown_addresses(addresses), message));
        } else {
            check_first(errors);
        }
    }
}

/// As the reference's type prints them.
fn shown_addresses(addresses: &[Value]) -> Value {
    addresses.iter().map(|address| serde_json::json!({"IP": text_of(address, "ip")})).collect()
}

fn users(pod: &Value, statuses: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let windows = tree::text(pod, "/spec/os/name") == "windows";
    for (index, status) in statuses.iter().enumerate() {
        let Some(user) = tree::some(status, "/user/linux") else { continue };
        let path = path.index(index);
        let path = path.field("user.linux");
        if windows {
            errors.push(path.forbidden("cannot be set for a windows pod"));
            continue;
        }
        let uid = tree::integer_or_zero(user, "/uid");
        let messages = formats::in_range(uid, 0, i64::from(u32::MAX));
        errors.extend(messages.into_iter().map(|message| path.field("uid").invalid(uid, message)));
        let gid = tree::integer_or_zero(user, "/gid");
        let messages = formats::user_or_group_id(gid);
        errors.extend(messages.into_iter().map(|message| path.field("gid").invalid(gid, message)));
        let groups = path.field("supplementalGroups");
        for (index, group) in list_of(user, "supplementalGroups").iter().filter_map(Value::as_i64).enumerate() {
            let messages = formats::user_or_group_id(group);
            errors.extend(messages.into_iter().map(|message| groups.index(index).invalid(group, message)));
        }
    }
}

fn allocated(pod: &Value, list: &str, statuses: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let containers = tree::items(pod, &format!("/spec/{list}"));
    for (index, status) in statuses.iter().enumerate() {
        let resources = list_of(status, "allocatedResourcesStatus");
        if resources.is_empty() {
            continue;
        }
        let path = path.index(index);
        let path = path.field("allocatedResourcesStatus");
        if list == "ephemeralContainers" {
            errors.push(path.forbidden("must not be specified in container status"));
            continue;
        }
        let named = |container: &&Value| text_of(container, "name") == text_of(status, "name");
        let container = containers.iter().find(named);
        for (index, resource) in resources.iter().enumerate() {
            let path = path.index(index);
            let name = text_of(resource, "name");
            if let Some(container) = container
                && let Some(message) = unallocated(container, name)
            {
                errors.push(path.field("name").invalid(name, message));
            }
            let units = path.field("resources");
            let mut ids: Vec<&str> = Vec::new();
            for (index, unit) in list_of(resource, "resources").iter().enumerate() {
                let path = units.index(index);
                validation::not_in(unit, "health", &["Healthy", "Unhealthy", "Unknown"], &path, errors);
                let id = text_of(unit, "resourceID");
                if ids.contains(&id) {
                    errors.push(path.field("resourceID").duplicate(id));
                }
                ids.push(id);
            }
        }
    }
}

/// Why a container has no resource of this name.
fn unallocated(container: &Value, name: &str) -> Option<&'static str> {
    if let Some(claim) = name.strip_prefix("claim:") {
        let named = |wanted: &Value| match text_of(wanted, "request") {
            "" => text_of(wanted, "name") == claim,
            request => claim.split_once('/') == Some((text_of(wanted, "name"), request)),
        };
        let message = "must match one of the container's resource claims as 'claim:<claimName>/<requestName>' when \
                       container.resources.claims[*].request is set or 'claim:<claimName>' when it is empty";
        return (!tree::items(container, "/resources/claims").iter().any(named)).then_some(message);
    }
    let requests = tree::map(container, "/resources/requests");
    let requested = requests.is_some_and(|requests| requests.contains_key(name));
    (!requested).then_some("must match one of the container's resource requests")
}
