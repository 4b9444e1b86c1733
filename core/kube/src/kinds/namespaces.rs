//! Namespaces: kept while `spec.finalizers` names somebody who still has to clear them.

use serde_json::json;
use triune_api::{Value, field::FieldError, names::GroupResource, status::Status, validation::qualified_name};

use super::validation::unqualified_finalizer;
use crate::{
    field::Field,
    kind::{Kind, Selectable},
    tables,
    tree::{self, child, copy_field, fill_unset, set},
};

/// `core/v1 Namespace`.
pub static NAMESPACES: Kind = Kind {
    defaults,
    create: |_, _, namespace| create(namespace),
    update: |_, _, old, new| {
        if let (Some(old), Some(new)) = (old.get("spec"), child(new, "spec")) {
            copy_field(old, new, "finalizers");
        }
    },
    validate_create: |namespace, errors| {
        let finalizers = Field::of(namespace, "spec.finalizers");
        for finalizer in finalizers.texts() {
            let messages = finalizer_messages(finalizer).into_iter();
            errors.extend(messages.map(|message| finalizers.invalid_as(&json!(finalizer), message)));
        }
        if errors.is_empty() {
            errors.extend(pod_security(namespace));
        }
    },
    validate_update: |old, new, errors| {
        let found = pod_security(new);
        if errors.is_empty() && found != pod_security(old) {
            errors.extend(found);
        }
    },
    validate_status,
    validate_finalize: |_, namespace, errors| {
        for finalizer in Field::of(namespace, "spec.finalizers").items() {
            finalizer.invalid_for(finalizer_messages(finalizer.text()), errors);
        }
    },
    check_delete,
    holds_on_delete: |namespace| !tree::items(namespace, "/spec/finalizers").is_empty(),
    prepare_for_delete: |namespace| {
        if let Some(status) = child(namespace, "status") {
            set(status, "phase", "Terminating");
        }
    },
    returns_deleted_object: true,
    selectable: &[Selectable { path: "status.phase", value: |object| tree::text(object, "/status/phase").into() }],
    table: tables::core::NAMESPACES,
    ..Kind::GENERIC
};

/// Who clears namespaces: the namespace controller.
const FINALIZER: &str = "kubernetes";
/// These are never deleted (apiserver plugin NamespaceLifecycle).
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

/// What is wrong with the labels that say which pods a namespace takes (apiserver plugin PodSecurity).
fn pod_security(namespace: &Value) -> Vec<FieldError> {
    let labels = Field::of(namespace, "metadata.labels");
    let mut errors = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let (level, version) = (format!("{POD_SECURITY}{mode}"), format!("{POD_SECURITY}{mode}-version"));
        let (level, version) = (labels.key(&level), labels.key(&version));
        if level.is_set() && !matches!(level.text(), "privileged" | "baseline" | "restricted") {
            errors.push(level.invalid("must be one of privileged, baseline, restricted"));
        }
        let minor = version.text().strip_prefix("v1.");
        let fine = version.text() == "latest"
            || minor.is_some_and(|minor| {
                minor == "0" || !minor.starts_with('0') && minor.parse::<u32>().is_ok() && !minor.starts_with('+')
            });
        if version.is_set() && !fine {
            errors.push(version.invalid(r#"must be "latest" or "v1.x""#));
        }
    }
    errors
}

const POD_SECURITY: &str = "pod-security.kubernetes.io/";

fn finalizer_messages(finalizer: &str) -> Vec<String> {
    let mut messages = qualified_name(finalizer);
    messages.extend(unqualified_finalizer(finalizer));
    messages
}

fn defaults(namespace: &mut Value) {
    let name = tree::name(namespace).to_string();
    if !name.is_empty()
        && let Some(metadata) = child(namespace, "metadata")
        && let Some(labels) = child(metadata, "labels")
    {
        set(labels, "kubernetes.io/metadata.name", name);
    }
    if let Some(status) = child(namespace, "status") {
        fill_unset(status, "phase", "Active");
    }
}

fn create(namespace: &mut Value) {
    set(namespace, "status", json!({"phase": "Active"}));
    let mut finalizers = tree::items(namespace, "/spec/finalizers").to_vec();
    if !finalizers.contains(&json!(FINALIZER)) {
        finalizers.push(json!(FINALIZER));
    }
    if let Some(spec) = child(namespace, "spec") {
        set(spec, "finalizers", finalizers);
    }
}

fn validate_status(_: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let phase = tree::text(new, "/status/phase");
    let terminating = tree::has(new, "/metadata/deletionTimestamp");
    if terminating && phase != "Terminating" {
        let message = "may only be 'Terminating' if `deletionTimestamp` is not empty";
        errors.push(FieldError::invalid("status.Phase", &json!(phase), message));
    } else if !terminating && phase != "Active" {
        let message = "may only be 'Active' if `deletionTimestamp` is empty";
        errors.push(FieldError::invalid("status.Phase", &json!(phase), message));
    }
}

fn check_delete(namespace: &Value) -> Result<(), Status> {
    let name = tree::name(namespace);
    if IMMORTAL.contains(&name) {
        let resource = GroupResource::new("", "namespaces");
        return Err(Status::forbidden(&resource, name, "this namespace may not be deleted"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_namespace_is_active_and_held() {
        let mut namespace = json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}});
        defaults(&mut namespace);
        create(&mut namespace);
        assert_eq!(
            namespace,
            json!({
                "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
            })
        );
        assert!((NAMESPACES.holds_on_delete)(&namespace));
        (NAMESPACES.prepare_for_delete)(&mut namespace);
        assert_eq!(namespace["status"]["phase"], "Terminating");
    }

    #[test]
    fn some_are_never_deleted() {
        let refusal = |name: &str| check_delete(&json!({"metadata": {"name": name}})).err();
        let message = r#"namespaces "default" is forbidden: this namespace may not be deleted"#;
        assert_eq!(refusal("default").map(|status| status.message).as_deref(), Some(message));
        assert_eq!(refusal("kube-node-lease"), None);
    }
}
