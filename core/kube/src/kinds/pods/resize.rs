//! What is wrong with a changed size of a running pod: CPU and memory may change, nothing may come or go.

use triune_api::{Map, Value, field::FieldError, path::Path};

use super::{qos_class, update};
use crate::{
    kinds::pod_spec::{
        annotation, list_of,
        scheduling::MIRROR,
        some_of,
        template::{metadata_of, spec_of},
        text_of,
        windows::is_windows,
    },
    tree,
};

const SPEC: Path<'static> = Path::new("spec");
const LISTS: [&str; 2] = ["requests", "limits"];

/// Checks a resize.
pub fn resized(old: &Value, new: &Value) -> Vec<FieldError> {
    if annotation(metadata_of(old), MIRROR).is_some() {
        return vec![Path::new("").forbidden("static pods cannot be resized")];
    }
    if is_windows(spec_of(old)) {
        return vec![Path::new("").forbidden("windows pods cannot be resized")];
    }
    let mut errors = Vec::new();
    update::kept(old, new, &mut errors);
    let (before, after) = (spec_of(old), spec_of(new));
    if class_before(old) != qos_class(new) {
        let shown = tree::text(new, "/status/qosClass");
        errors.push(SPEC.invalid(shown, "Pod QOS Class may not change as a result of resizing"));
    }
    if !node_resizes(old) {
        errors.push(SPEC.forbidden("Pod running on node without support for resize"));
    }
    let mut undone = after.clone();
    pod_resources(before, after, &mut undone, &mut errors);
    if !same_containers(before, after, &mut errors) {
        return errors;
    }
    for list in ["initContainers", "containers"] {
        let path = SPEC.field(list);
        for (index, (old, new)) in list_of(before, list).iter().zip(list_of(after, list)).enumerate() {
            for amounts in LISTS {
                let pointer = format!("/resources/{amounts}");
                if removed(tree::map(old, &pointer), tree::map(new, &pointer)) {
                    let message = format!("resource {amounts} cannot be removed");
                    errors.push(path.index(index).field("resources").field(amounts).forbidden(message));
                }
            }
        }
    }
    containers(before, &mut undone, &mut errors);
    if before.get("volumes") != after.get("volumes") {
        let message = "volumes are immutable on resize when InPlacePodVerticalScalingMemoryBackedVolumes feature gate is disabled";
        errors.push(SPEC.field("volumes").forbidden(message));
    }
    if errors.is_empty() && undone != *before {
        errors.push(SPEC.forbidden("only cpu and memory resources are mutable"));
    }
    errors
}

fn class_before(pod: &Value) -> &str {
    match tree::text(pod, "/status/qosClass") {
        "" => qos_class(pod),
        class => class,
    }
}

/// A node that does not tell the resources of running containers does not resize them.
fn node_resizes(pod: &Value) -> bool {
    let running =
        tree::items(pod, "/status/containerStatuses").iter().find(|status| tree::has(status, "/state/running"));
    running.is_none_or(|status| tree::has(status, "/resources"))
}

fn removed(before: Option<&Map>, after: Option<&Map>) -> bool {
    let kept = |key: &String| after.is_some_and(|after| after.contains_key(key));
    !before.into_iter().flatten().all(|(key, _)| kept(key))
}

fn pod_resources(before: &Value, after: &Value, undone: &mut Value, errors: &mut Vec<FieldError>) {
    let set = |spec: &Value| {
        LISTS.iter().any(|list| tree::map(spec, &format!("/resources/{list}")).is_some_and(|list| !list.is_empty()))
    };
    if !set(before) && !set(after) {
        return;
    }
    let path = SPEC.field("resources");
    let (old, new) = (some_of(before, "resources"), some_of(after, "resources"));
    if old.is_some() && new.is_none() {
        errors.push(path.forbidden("pod-level resources cannot be removed"));
        return;
    }
    for list in LISTS {
        let pointer = format!("/resources/{list}");
        if removed(tree::map(before, &pointer), tree::map(after, &pointer)) {
            errors.push(path.field(list).forbidden(format!("pod-level resource {list} cannot be removed")));
        }
    }
    undo_amounts(before, undone);
    if old.is_none() && !set(undone) && list_of(undone.get("resources").unwrap_or(&Value::Null), "claims").is_empty() {
        tree::remove(undone, "resources");
    }
    if undone.get("resources") != before.get("resources") {
        errors.push(SPEC.forbidden("only cpu and memory resources are mutable at pod-level"));
    }
}

/// CPU and memory as they were.
fn undo_amounts(before: &Value, undone: &mut Value) {
    for list in LISTS {
        let old = tree::map(before, &format!("/resources/{list}"));
        let Some(resources) = tree::object_mut(undone, "/resources") else { return };
        let mut amounts = tree::map(resources, &format!("/{list}")).cloned().unwrap_or_default();
        for name in ["cpu", "memory"] {
            amounts.remove(name);
            if let Some(amount) = old.and_then(|old| old.get(name)) {
                amounts.insert(name.into(), amount.clone());
            }
        }
        if amounts.is_empty() && old.is_none() {
            tree::remove(resources, list);
        } else {
            tree::set(resources, list, amounts);
        }
    }
}

fn same_containers(before: &Value, after: &Value, errors: &mut Vec<FieldError>) -> bool {
    let found = errors.len();
    for list in ["containers", "initContainers"] {
        let path = SPEC.field(list);
        let (old, new) = (list_of(before, list), list_of(after, list));
        if old.len() != new.len() {
            errors.push(path.forbidden(format!("{list} may not be added or removed on resize")));
            continue;
        }
        for (index, _) in
            old.iter().zip(new).enumerate().filter(|(_, (old, new))| text_of(old, "name") != text_of(new, "name"))
        {
            let message = format!("{list} may not be renamed or reordered on resize");
            errors.push(path.index(index).field("name").forbidden(message));
        }
    }
    errors.len() == found
}

/// Undoes the changes of CPU and memory of all containers; what is left is too much.
fn containers(before: &Value, undone: &mut Value, errors: &mut Vec<FieldError>) {
    let old_containers = list_of(before, "containers");
    for (container, old) in tree::items_mut(undone, "/containers").iter_mut().zip(old_containers) {
        undo_amounts(old, container);
        if container != old {
            errors.push(SPEC.forbidden("only cpu and memory resources are mutable"));
        }
    }
    let path = SPEC.field("initContainers");
    let old_containers = list_of(before, "initContainers");
    for (index, (container, old)) in
        tree::items_mut(undone, "/initContainers").iter_mut().zip(old_containers).enumerate()
    {
        let path = path.index(index);
        let changed = container != old;
        undo_amounts(old, container);
        if container != old {
            let message = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.push(path.forbidden(message));
        }
        if changed && text_of(container, "restartPolicy") != "Always" {
            for policy in list_of(container, "resizePolicy") {
                if text_of(policy, "restartPolicy") == "RestartContainer" {
                    let message =
                        "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
                    errors.push(path.forbidden(message));
                }
            }
        }
    }
}
