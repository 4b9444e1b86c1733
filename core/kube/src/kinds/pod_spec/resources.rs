//! Amounts of resources: of containers, of whole pods, and how a change of them restarts containers.

use std::collections::{BTreeMap, BTreeSet};

use triune_api::{Map, Value, field::FieldError, path::Path, quantity::Quantity, validation::dns_label};

use super::{Whole, list_of, some_of, text_of};
use crate::{
    kinds::{
        resource_names::{WHOLE, is_extended, is_huge_pages, is_native, is_standard, may_be_overcommitted},
        validation,
    },
    tree,
};

/// Checks the name of a resource that anything may be limited in.
pub fn resource_name(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    validation::qualified_name(name, path, errors);
    if errors.len() == before && !name.contains('/') && !is_standard(name) {
        errors.push(path.invalid(name, "must be a standard resource type or fully qualified"));
    }
}

/// Checks the name of a resource of containers.
pub fn container_resource_name(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if matches!(name, "cpu" | "memory" | "ephemeral-storage") {
        return;
    }
    resource_name(name, path, errors);
    if !name.contains('/') {
        if !is_huge_pages(name) {
            errors.push(path.invalid(name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.push(path.invalid(name, "doesn't follow extended resource name standard"));
    }
}

fn pod_resource_name(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    resource_name(name, path, errors);
    if errors.len() == before && !matches!(name, "cpu" | "memory") && !is_huge_pages(name) {
        errors.push(path.not_supported(name, &["cpu", "hugepages-", "memory"]));
    }
}

/// Checks an amount of a resource.
pub fn amount(name: &str, amount: &Quantity, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if amount.sign() < 0 {
        errors.push(path.invalid(amount.canonical(), "must be greater than or equal to 0"));
    }
    let whole_numbers = WHOLE.contains(&name) || is_extended(name);
    if whole_numbers && amount.milli_value() % 1000 != 0 {
        errors.push(path.invalid(amount.canonical(), "must be an integer"));
    }
}

/// Whether an amount of huge pages is a number of them.
pub fn is_whole_pages(name: &str, amount: &Quantity) -> bool {
    let size = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok());
    size.is_some_and(|size| {
        size.sign() > 0 && size.milli_value() % 1000 == 0 && amount.value().checked_rem(size.value()) == Some(0)
    })
}

fn whole_pages(name: &str, amount: &Quantity, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !is_whole_pages(name, amount) {
        let shown = amount.canonical();
        let message = format!("{shown} is not positive integer multiple of {name}");
        errors.push(path.invalid(shown, message));
    }
}

type NameRule = fn(&str, &Path<'_>, &mut Vec<FieldError>);

/// Checks `resources` of a container.
pub fn requirements(requirements: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (limits, requests) = (tree::map(requirements, "/limits"), tree::map(requirements, "/requests"));
    let tolerated = whole.tolerated.indivisible_huge_pages;
    amounts(limits, requests, container_resource_name, tolerated, path, errors);
    claim_names(list_of(requirements, "claims"), &whole.claims, &path.field("claims"), errors);
}

/// Checks amounts that are limits and no requests: what a runtime costs besides containers.
pub fn limits_alone(limits: &Map, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    amounts(Some(limits), None, container_resource_name, false, path, errors);
}

fn amounts(
    limits: Option<&Map>,
    requests: Option<&Map>,
    name_rule: NameRule,
    indivisible_tolerated: bool,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let (limits_path, requests_path) = (path.field("limits"), path.field("requests"));
    let (mut compute, mut huge) = (false, false);
    let mut check = |name: &str, quantity: &Quantity, path: &Path<'_>, errors: &mut Vec<FieldError>| {
        name_rule(name, path, errors);
        amount(name, quantity, path, errors);
        huge |= is_huge_pages(name);
        compute |= matches!(name, "cpu" | "memory");
    };
    for (name, value) in limits.into_iter().flatten() {
        let Some(quantity) = validation::quantity(value) else { continue };
        let path = limits_path.key(name);
        check(name, &quantity, &path, errors);
        if is_huge_pages(name) && !indivisible_tolerated {
            whole_pages(name, &quantity, &path, errors);
        }
    }
    for (name, value) in requests.into_iter().flatten() {
        let Some(quantity) = validation::quantity(value) else { continue };
        let path = requests_path.key(name);
        check(name, &quantity, &path, errors);
        match limits.and_then(|limits| limits.get(name)).and_then(validation::quantity) {
            Some(limit) if quantity != limit && !may_be_overcommitted(name) => {
                let message = format!("must be equal to {name} limit of {}", limit.canonical());
                errors.push(requests_path.invalid(quantity.canonical(), message));
            }
            Some(limit) if quantity > limit => {
                let message = format!("must be less than or equal to {name} limit of {}", limit.canonical());
                errors.push(requests_path.invalid(quantity.canonical(), message));
            }
            Some(_) => {}
            None if may_be_overcommitted(name) => {}
            None => errors.push(limits_path.required("Limit must be set for non overcommitable resources")),
        }
        if is_huge_pages(name) && !indivisible_tolerated {
            whole_pages(name, &quantity, &path, errors);
        }
    }
    if huge && !compute {
        errors.push(path.forbidden("HugePages require cpu or memory"));
    }
}

/// A container uses claims of its pod, each request of one once.
fn claim_names(claims: &[Value], of_pod: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.index(index);
        let (name, request) = (text_of(claim, "name"), text_of(claim, "request"));
        if name.is_empty() {
            errors.push(path.required(""));
            continue;
        }
        if names.contains(name) {
            errors.push(path.duplicate(name));
        } else {
            let mut key = name.to_string();
            if !request.is_empty() {
                path.field("request").all_invalid(request, dns_label(request), errors);
                key = format!("{name}/{request}");
            }
            if names.contains(&key) {
                errors.push(path.duplicate(key.as_str()));
            } else if request.is_empty() {
                let of_same =
                    names.iter().filter(|other| other.split_once('/').is_some_and(|(first, _)| first == name));
                errors.extend(of_same.map(|_| path.duplicate(name)));
            }
            names.insert(key);
        }
        if !of_pod.contains(&name) {
            let mut error = path.not_found(name);
            error.detail = "must be one of the names in pod.spec.resourceClaims".into();
            if of_pod.is_empty() {
                error.detail.push_str(" which is empty");
            } else {
                error.detail.push_str(": ");
                error.detail.push_str(&of_pod.join(", "));
            }
            errors.push(error);
        }
    }
}

/// Checks `resizePolicy`; the reference prints the list without an index.
pub fn resize_policy(container: &Value, restart_policy: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("resizePolicy");
    let mut resources = BTreeSet::new();
    for (index, policy) in list_of(container, "resizePolicy").iter().enumerate() {
        let (resource, restart) = (text_of(policy, "resourceName"), text_of(policy, "restartPolicy"));
        if !resources.insert(resource) {
            errors.push(list.index(index).duplicate(resource));
        }
        for (text, supported) in [(resource, ["cpu", "memory"]), (restart, ["NotRequired", "RestartContainer"])] {
            if text.is_empty() {
                errors.push(list.required(""));
            } else if !supported.contains(&text) {
                errors.push(list.not_supported(text, &supported));
            }
        }
        if restart_policy == "Never" && restart != "NotRequired" {
            let message = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(list.invalid(restart, message));
        }
    }
}

/// Checks `resources` of the pod, which its containers must fit.
pub fn pod_resources(spec: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(resources) = some_of(spec, "resources") else { return };
    let path = path.field("resources");
    if whole.os == Some("windows") {
        errors.push(path.forbidden("may not be set for a windows pod"));
        return;
    }
    if some_of(resources, "claims").is_some() {
        errors.push(path.field("claims").forbidden("claims may not be set for Resources at pod-level"));
    }
    let (limits, requests) = (tree::map(resources, "/limits"), tree::map(resources, "/requests"));
    amounts(limits, requests, pod_resource_name, whole.tolerated.indivisible_huge_pages, &path, errors);
    claim_names(list_of(resources, "claims"), &whole.claims, &path.field("claims"), errors);
    let requests_path = path.field("requests");
    for (name, sum) in aggregate(spec, "/resources/requests") {
        let Some(of_pod) = requests.and_then(|all| all.get(&name)).and_then(validation::quantity) else { continue };
        if sum > of_pod {
            let message =
                format!("must be greater than or equal to aggregate container requests of {}", sum.canonical());
            errors.push(requests_path.key(&name).invalid(of_pod.canonical(), message));
        }
    }
    let Some(limits) = limits else { return };
    let limits_path = path.field("limits");
    for (name, sum) in aggregate(spec, "/resources/limits").into_iter().filter(|(name, _)| is_huge_pages(name)) {
        let Some(of_pod) = limits.get(&name).and_then(validation::quantity) else { continue };
        if sum > of_pod {
            let message = format!("must be greater than or equal to aggregate container limits of {}", sum.canonical());
            errors.push(limits_path.key(&name).invalid(of_pod.canonical(), message));
        }
    }
    let containers = path.field("containers");
    for (index, container) in list_of(spec, "containers").iter().enumerate() {
        for (name, limit) in tree::map(container, "/resources/limits").into_iter().flatten() {
            let (Some(limit), Some(of_pod)) =
                (validation::quantity(limit), limits.get(name).and_then(validation::quantity))
            else {
                continue;
            };
            if limit > of_pod {
                let message = format!("must be less than or equal to pod limits of {}", of_pod.canonical());
                errors.push(containers.index(index).key(name).field("limits").invalid(limit.canonical(), message));
            }
        }
    }
}

/// What the containers of a pod need together: those that go on at once, and each init container beside the sidecars
/// started before it.
pub fn aggregate(spec: &Value, pointer: &str) -> BTreeMap<String, Quantity> {
    let amounts_of = |container: &Value| -> BTreeMap<String, Quantity> {
        let amounts = tree::map(container, pointer).into_iter().flatten();
        amounts.filter_map(|(name, value)| Some((name.clone(), validation::quantity(value)?))).collect()
    };
    let add = |sums: &mut BTreeMap<String, Quantity>, amounts: &BTreeMap<String, Quantity>| {
        for (name, amount) in amounts {
            let sum = sums.get(name).map_or_else(|| amount.clone(), |sum| sum.plus(amount));
            sums.insert(name.clone(), sum);
        }
    };
    let mut total = BTreeMap::new();
    for container in list_of(spec, "containers") {
        add(&mut total, &amounts_of(container));
    }
    let (mut sidecars, mut while_starting) = (BTreeMap::new(), BTreeMap::<String, Quantity>::new());
    for container in list_of(spec, "initContainers") {
        let mut now = amounts_of(container);
        if text_of(container, "restartPolicy") == "Always" {
            add(&mut total, &now);
            add(&mut sidecars, &now);
            now = sidecars.clone();
        } else {
            add(&mut now, &sidecars);
        }
        for (name, amount) in now {
            if while_starting.get(&name).is_none_or(|most| *most < amount) {
                while_starting.insert(name, amount);
            }
        }
    }
    for (name, amount) in while_starting {
        if total.get(&name).is_none_or(|sum| *sum < amount) {
            total.insert(name, amount);
        }
    }
    total
}
