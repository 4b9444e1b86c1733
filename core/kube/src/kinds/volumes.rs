//! Persistent volumes and claims.

use serde_json::json;
use triune_api::{Value, field::FieldError, time};
use triune_machinery::context::Context;

use super::{pod_spec, validation};
use crate::{
    kind::{Kind, Selectable},
    tables,
    tree::{self, child, fill, fill_unset, set},
};

/// `core/v1 PersistentVolume`.
pub static PERSISTENT_VOLUMES: Kind = Kind {
    defaults: |volume| {
        if let Some(status) = child(volume, "status") {
            fill_unset(status, "phase", "Pending");
        }
        let Some(spec) = child(volume, "spec") else { return };
        fill_unset(spec, "persistentVolumeReclaimPolicy", "Retain");
        fill(spec, "volumeMode", "Filesystem");
        pod_spec::persistent_source_defaults(spec);
    },
    create: |context, _, volume| {
        set(volume, "status", json!({"phase": "Pending", "lastPhaseTransitionTime": now(context)}));
    },
    update_status: note_transition,
    validate: |volume, errors| {
        if tree::items(volume, "/spec/accessModes").is_empty() {
            errors.push(FieldError::required("spec.accessModes", ""));
        }
        if tree::map(volume, "/spec/capacity").is_none_or(serde_json::Map::is_empty) {
            errors.push(FieldError::required("spec.capacity", ""));
        }
        if !has_source(volume) {
            errors.push(FieldError::required("spec", "must specify a volume type"));
        }
        let policies = ["Delete", "Recycle", "Retain"];
        let (pointer, field) = ("/spec/persistentVolumeReclaimPolicy", "spec.persistentVolumeReclaimPolicy");
        validation::one_of(volume, pointer, field, &policies, errors);
        validation::one_of(volume, "/spec/volumeMode", "spec.volumeMode", &["Block", "Filesystem"], errors);
    },
    validate_update: |old, new, errors| {
        if sources(old) != sources(new) {
            let message = "spec.persistentvolumesource is immutable after creation\n";
            errors.push(FieldError::forbidden("spec.persistentvolumesource", message));
        }
        validation::immutable(old, new, "/spec/volumeMode", "spec.volumeMode", errors);
    },
    returns_deleted_object: true,
    selectable: NAME,
    table: tables::core::PERSISTENT_VOLUMES,
    ..Kind::GENERIC
};

/// `core/v1 PersistentVolumeClaim`.
pub static PERSISTENT_VOLUME_CLAIMS: Kind = Kind {
    defaults: claim_defaults,
    create: |_, _, claim| set(claim, "status", json!({"phase": "Pending"})),
    validate: |claim, errors| {
        if tree::items(claim, "/spec/accessModes").is_empty() {
            errors.push(FieldError::required("spec.accessModes", "at least 1 access mode is required"));
        }
        if !tree::has(claim, "/spec/resources/requests/storage") {
            errors.push(FieldError::required("spec.resources[storage]", ""));
        }
    },
    validate_update: claim_update,
    returns_deleted_object: true,
    selectable: NAME,
    table: tables::core::PERSISTENT_VOLUME_CLAIMS,
    ..Kind::GENERIC
};

/// An old mistake that selectors rely on.
const NAME: &[Selectable] = &[Selectable { path: "name", value: |object| tree::name(object).into() }];

/// Completes a claim, or a template of claims.
pub fn claim_defaults(claim: &mut Value) {
    if let Some(spec) = child(claim, "spec") {
        fill(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = child(claim, "status") {
        fill_unset(status, "phase", "Pending");
    }
}

/// Fields of a volume's spec that are no source.
const NO_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn sources(volume: &Value) -> Vec<(&String, &Value)> {
    let spec = tree::map(volume, "/spec").into_iter().flatten();
    spec.filter(|(key, value)| !NO_SOURCES.contains(&key.as_str()) && !value.is_null()).collect()
}

fn has_source(volume: &Value) -> bool {
    !sources(volume).is_empty()
}

fn now(context: &Context) -> String {
    time::rfc3339(context.env.clock.wall())
}

fn note_transition(context: &Context, old: &Value, new: &mut Value) {
    const TIME: &str = "/status/lastPhaseTransitionTime";
    let same_phase = tree::text(old, "/status/phase") == tree::text(new, "/status/phase");
    let (before, after) = (tree::text(old, TIME).to_string(), tree::text(new, TIME).to_string());
    let Some(status) = child(new, "status") else { return };
    if same_phase && after.is_empty() && !before.is_empty() {
        set(status, "lastPhaseTransitionTime", before);
    } else if !same_phase && (after.is_empty() || after == before) {
        set(status, "lastPhaseTransitionTime", now(context));
    }
}

/// Bound claims may ask for more; the binder sets the volume once.
fn claim_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fixed = |claim: &Value| {
        let mut spec = claim.get("spec").cloned().unwrap_or_default();
        tree::remove(&mut spec, "volumeAttributesClassName");
        if let Some(requests) = tree::object_mut(&mut spec, "/resources/requests") {
            tree::remove(requests, "storage");
        }
        spec
    };
    let (mut before, after) = (fixed(old), fixed(new));
    for field in ["volumeName", "storageClassName"] {
        if tree::is_unset(before.get(field)) {
            tree::copy_field(&after, &mut before, field);
        }
    }
    if before != after {
        let message = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                       bound claims\n";
        errors.push(FieldError::forbidden("spec", message));
    }
    let storage = |claim: &Value| claim.pointer("/spec/resources/requests/storage").and_then(validation::quantity);
    if let (Some(before), Some(after)) = (storage(old), storage(new))
        && after < before
    {
        let message = "field can not be less than previous value";
        errors.push(FieldError::forbidden("spec.resources.requests.storage", message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_may_only_grow() {
        let check = |change: fn(&mut Value), expected: usize| {
            let old =
                json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
            let mut new = old.clone();
            change(&mut new);
            let mut errors = Vec::new();
            claim_update(&old, &new, &mut errors);
            assert_eq!(errors.len(), expected, "{new} {errors:?}");
        };
        check(|_| {}, 0);
        check(|claim| claim["spec"]["resources"]["requests"]["storage"] = json!("2Gi"), 0);
        check(|claim| claim["spec"]["resources"]["requests"]["storage"] = json!("1Mi"), 1);
        check(|claim| claim["spec"]["volumeName"] = json!("v"), 0);
        check(|claim| claim["spec"]["accessModes"] = json!([]), 1);
    }
}
