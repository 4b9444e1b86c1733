//! What is wrong with new and changed pods, and with added ephemeral containers.

use triune_api::{Value, field::FieldError, path::Path, validation::formats};

use crate::{
    kinds::{
        pod_spec::{
            Tolerated, annotation,
            containers::image_without_spaces,
            integer_of, list_of, not_negative,
            scheduling::{self, MIRROR},
            some_of,
            template::{self, metadata_of, spec_of},
            text_of, validate,
        },
        validation,
    },
    tree::{self, copy_field},
};

const SPEC: Path<'static> = Path::new("spec");
const ANNOTATIONS: Path<'static> = Path::new("metadata.annotations");

/// Checks a new pod.
pub fn created(pod: &Value, errors: &mut Vec<FieldError>) {
    let (metadata, spec) = (metadata_of(pod), spec_of(pod));
    metadata_and_spec(pod, Tolerated::default(), errors);
    if !list_of(spec, "ephemeralContainers").is_empty() {
        errors.push(SPEC.field("ephemeralContainers").forbidden("cannot be set on create"));
    }
    if !text_of(spec, "nodeName").is_empty() && !list_of(spec, "schedulingGates").is_empty() {
        let message = "cannot be set until all schedulingGates have been cleared";
        errors.push(SPEC.field("nodeName").forbidden(message));
    }
    template::profiles_match(metadata, spec, &SPEC, errors);
}

/// Checks all of a pod that creates and updates have in common.
fn metadata_and_spec(pod: &Value, tolerated: Tolerated, errors: &mut Vec<FieldError>) {
    let (metadata, spec) = (metadata_of(pod), spec_of(pod));
    template::annotations(metadata, spec, tolerated, &ANNOTATIONS, errors);
    validate::pod_spec(spec, Some(metadata), tolerated, &SPEC, errors);
    if text_of(spec, "serviceAccountName").is_empty() {
        let volumes = SPEC.field("volumes");
        for (index, volume) in list_of(spec, "volumes").iter().enumerate() {
            let path = volumes.index(index);
            let sources = path.field("projected.sources");
            for (index, source) in tree::items(volume, "/projected/sources").iter().enumerate() {
                if some_of(source, "serviceAccountToken").is_some() {
                    let message = "must not be specified when serviceAccountName is not set";
                    errors.push(sources.index(index).field("serviceAccountToken").forbidden(message));
                }
            }
        }
    }
    not_negative(spec, "terminationGracePeriodSeconds", &SPEC, errors);
    for list in ["containers", "initContainers"] {
        let path = SPEC.field(list);
        for (index, container) in list_of(spec, list).iter().enumerate() {
            image_without_spaces(container, &path.index(index), errors);
        }
    }
}

/// Checks a changed pod; what was wrong with it before may be tolerated.
pub fn kept(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    metadata_and_spec(new, Tolerated::default(), errors);
    if errors.len() > before {
        let tolerated = Tolerated::of(spec_of(old), metadata_of(old));
        if tolerated != Tolerated::default() {
            errors.truncate(before);
            metadata_and_spec(new, tolerated, errors);
        }
    }
}

/// Annotations of mirrors and of AppArmor profiles stay what they are.
pub fn fixed_annotations(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let (before, after) = (tree::map(old, "/metadata/annotations"), tree::map(new, "/metadata/annotations"));
    let kinds = [("AppArmor annotations", template::APP_ARMOR), ("mirror pod annotation", MIRROR)];
    let kind = |key: &str| {
        kinds
            .iter()
            .find(|(_, name)| key == *name || (name.ends_with('/') && key.starts_with(name)))
            .map(|(kind, _)| kind)
    };
    for (key, value) in before.into_iter().flatten() {
        if after.and_then(|after| after.get(key)) != Some(value)
            && let Some(kind) = kind(key)
        {
            errors.push(ANNOTATIONS.key(key).forbidden(format!("may not remove or update {kind}")));
        }
    }
    for (key, _) in after.into_iter().flatten() {
        if before.is_none_or(|before| !before.contains_key(key))
            && let Some(kind) = kind(key)
        {
            errors.push(ANNOTATIONS.key(key).forbidden(format!("may not add {kind}")));
        }
    }
    template::annotations(metadata_of(new), spec_of(new), Tolerated::default(), &ANNOTATIONS, errors);
}

/// Checks an update of a pod: images, deadline, further tolerations may change, and where a gated pod may run.
pub fn updated(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    kept(old, new, errors);
    fixed_annotations(old, new, errors);
    let (before, after) = (spec_of(old), spec_of(new));
    for list in ["containers", "initContainers"] {
        let path = SPEC.field(list);
        if list_of(before, list).len() != list_of(after, list).len() {
            errors.push(path.forbidden("pod updates may not add or remove containers"));
            return;
        }
        for (index, container) in list_of(after, list).iter().enumerate() {
            let path = path.index(index);
            if text_of(container, "image").is_empty() {
                errors.push(path.field("image").required(""));
            }
            image_without_spaces(container, &path, errors);
        }
    }
    if !deadline(before, after, errors) {
        return;
    }
    added_tolerations(before, after, errors);
    removed_gates(before, after, errors);
    if before == after {
        return;
    }
    let fixed = with_changes_undone(before, after, errors);
    if fixed != *before {
        let diff = super::difference::of_specs(before, &fixed);
        errors.push(SPEC.forbidden(format!("{SPEC_CHANGED}\n{diff}")));
    }
}

const SPEC_CHANGED: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
                            `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                            `spec.tolerations` (only additions to existing tolerations),\
                            `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A deadline may come, and come closer. False ends the validation.
fn deadline(before: &Value, after: &Value, errors: &mut Vec<FieldError>) -> bool {
    let path = SPEC.field("activeDeadlineSeconds");
    match (integer_of(before, "activeDeadlineSeconds"), integer_of(after, "activeDeadlineSeconds")) {
        (_, Some(seconds)) if !(0..=i64::from(i32::MAX)).contains(&seconds) => {
            let messages = formats::in_range(seconds, 0, i64::from(i32::MAX));
            errors.extend(messages.into_iter().map(|message| path.invalid(seconds, message)));
            false
        }
        (Some(before), Some(after)) if before < after => {
            errors.push(path.invalid(after, "must be less than or equal to previous value"));
            false
        }
        (Some(_), None) => {
            errors.push(path.invalid(Value::Null, "must not update from a positive integer to nil value"));
            true
        }
        _ => true,
    }
}

fn added_tolerations(before: &Value, after: &Value, errors: &mut Vec<FieldError>) {
    let path = SPEC.field("tolerations");
    let (before, after) = (list_of(before, "tolerations"), list_of(after, "tolerations"));
    let same = |one: &Value, other: &Value| {
        ["key", "operator", "value", "effect"].iter().all(|field| text_of(one, field) == text_of(other, field))
    };
    if before.iter().any(|old| !after.iter().any(|new| same(old, new))) {
        errors.push(path.forbidden("existing toleration can not be modified except its tolerationSeconds"));
        return;
    }
    scheduling::tolerations(after, &path, errors);
}

fn removed_gates(before: &Value, after: &Value, errors: &mut Vec<FieldError>) {
    let path = SPEC.field("schedulingGates");
    let before = list_of(before, "schedulingGates");
    for (index, gate) in list_of(after, "schedulingGates").iter().enumerate() {
        let name = text_of(gate, "name");
        if !before.iter().any(|old| text_of(old, "name") == name) {
            let message = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(path.index(index).field("name").forbidden(message));
        }
    }
}

/// The new spec with all that may change as it was.
fn with_changes_undone(before: &Value, after: &Value, errors: &mut Vec<FieldError>) -> Value {
    let mut fixed = after.clone();
    for list in ["containers", "initContainers"] {
        let old_containers = list_of(before, list);
        let pointer = format!("/{list}");
        for (container, old) in tree::items_mut(&mut fixed, &pointer).iter_mut().zip(old_containers) {
            copy_field(old, container, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        copy_field(before, &mut fixed, field);
    }
    let grace = "terminationGracePeriodSeconds";
    if integer_of(before, grace).is_some_and(|seconds| seconds < 0) && integer_of(&fixed, grace) == Some(1) {
        copy_field(before, &mut fixed, grace);
    }
    if list_of(before, "schedulingGates").is_empty() {
        return fixed;
    }
    if before.get("nodeSelector") != fixed.get("nodeSelector") {
        let (old, new) = (tree::map(before, "/nodeSelector"), tree::map(after, "/nodeSelector"));
        let kept = |(key, value)| new.and_then(|new| new.get(key)) == Some(value);
        if !old.into_iter().flatten().all(kept) {
            let shown = some_of(after, "nodeSelector").cloned().unwrap_or_default();
            let message = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.push(SPEC.field("nodeSelector").invalid(shown, message));
        }
        copy_field(before, &mut fixed, "nodeSelector");
    }
    undo_node_affinity(before, after, &mut fixed, errors);
    fixed
}

fn undo_node_affinity(before: &Value, after: &Value, fixed: &mut Value, errors: &mut Vec<FieldError>) {
    const NODE: &str = "/affinity/nodeAffinity";
    const TERMS: &str = "/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let (old, new) = (tree::some(before, NODE), tree::some(after, NODE));
    if old == new {
        return;
    }
    let terms = |affinity: Option<&'_ Value>| affinity.map(|affinity| tree::items(affinity, TERMS).to_vec());
    let (old_terms, new_terms) = (terms(old).unwrap_or_default(), terms(new).unwrap_or_default());
    let path = SPEC.field("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    if !old_terms.is_empty() && old_terms.len() != new_terms.len() {
        let message = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        let shown = if new_terms.is_empty() { Value::Null } else { Value::from(new_terms) };
        errors.push(path.invalid(shown, message));
    } else {
        for (index, (old, new)) in old_terms.iter().zip(&new_terms).enumerate() {
            if !only_adds(old, new) {
                let message = "only additions are allowed (no mutations or deletions)";
                let path = path.index(index);
                errors.push(crate::kinds::shown::invalid(&path, "NodeSelectorTerm", new, message.into()));
            }
        }
    }
    let others = |spec: &Value| {
        ["podAffinity", "podAntiAffinity"].iter().any(|kind| tree::has(spec, &format!("/affinity/{kind}")))
    };
    if some_of(before, "affinity").is_none() && !others(fixed) {
        tree::remove(fixed, "affinity");
    } else if let Some(affinity) = tree::child(fixed, "affinity") {
        match old {
            Some(old) => tree::set(affinity, "nodeAffinity", old.clone()),
            None => tree::remove(affinity, "nodeAffinity"),
        }
    }
}

fn only_adds(old: &Value, new: &Value) -> bool {
    let lists = ["matchExpressions", "matchFields"].map(|field| (list_of(old, field), list_of(new, field)));
    if lists.iter().all(|(old, _)| old.is_empty()) {
        return lists.iter().all(|(_, new)| new.is_empty());
    }
    lists.iter().all(|(old, new)| new.starts_with(old))
}

/// Checks an update of `ephemeralContainers`: they may be added.
pub fn ephemeral_containers_updated(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if annotation(metadata_of(old), MIRROR).is_some() {
        return vec![Path::new("").forbidden("static pods do not support ephemeral containers")];
    }
    kept(old, new, &mut errors);
    fixed_annotations(old, new, &mut errors);
    let path = SPEC.field("ephemeralContainers");
    let after = list_of(spec_of(new), "ephemeralContainers");
    for container in list_of(spec_of(old), "ephemeralContainers") {
        let name = text_of(container, "name");
        match after.iter().rfind(|other| text_of(other, "name") == name) {
            None => {
                let message = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.push(path.forbidden(message));
            }
            Some(other) if other != container => {
                let diff = super::difference::of_ephemeral_containers(container, other);
                let message = format!("existing ephemeral containers {name:?} may not be changed\n{diff}");
                errors.push(path.forbidden(message));
            }
            Some(_) => {}
        }
    }
    errors
}

/// Checks what a scheduler binds a pod to.
pub fn binding(binding: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::new("target");
    let target = binding.get("target").unwrap_or(&Value::Null);
    let (kind, name) = (text_of(target, "kind"), text_of(target, "name"));
    if !matches!(kind, "" | "Node") {
        errors.push(path.field("kind").not_supported(kind, &["Node", "<empty>"]));
    }
    if name.is_empty() {
        errors.push(path.field("name").required(""));
    } else if matches!(kind, "" | "Node") {
        validation::subdomain(name, &path.field("name"), &mut errors);
    }
    errors
}
