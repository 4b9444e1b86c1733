//! Deployments, replica sets, stateful sets, daemon sets, replication controllers and what they are made of.

use serde_json::json;
use triune_api::{Value, field::FieldError, selector::LabelSelector};

use triune_machinery::registry::DependentsPolicy;

use super::{pod_spec, validation};
use crate::{
    kind::{Kind, Selectable},
    tables::workloads as tables,
    tree::{self, child, fill, fill_unset},
};

/// `apps/v1 Deployment`.
pub static DEPLOYMENTS: Kind = Kind {
    defaults: deployment_defaults,
    validate: |object, errors| validate_selector_and_template(object, "deployment", "ReplicaSet", errors),
    validate_update: selector_is_immutable,
    table: tables::DEPLOYMENTS,
    ..Kind::GENERIC
};

/// `apps/v1 ReplicaSet`.
pub static REPLICA_SETS: Kind = Kind {
    defaults: |object| {
        if let Some(spec) = child(object, "spec") {
            fill(spec, "replicas", 1);
            pod_spec::template_defaults(spec, "template");
        }
    },
    validate: |object, errors| validate_selector_and_template(object, "deployment", "ReplicaSet", errors),
    validate_update: selector_is_immutable,
    selectable: STATUS_REPLICAS,
    table: tables::REPLICA_SETS,
    ..Kind::GENERIC
};

/// `apps/v1 StatefulSet`.
pub static STATEFUL_SETS: Kind = Kind {
    defaults: stateful_set_defaults,
    validate: |object, errors| validate_selector_and_template(object, "statefulset", "StatefulSet", errors),
    validate_update: stateful_set_update,
    table: tables::STATEFUL_SETS,
    ..Kind::GENERIC
};

/// `apps/v1 DaemonSet`.
pub static DAEMON_SETS: Kind = Kind {
    defaults: daemon_set_defaults,
    create: |_, _, daemon_set| set_template_generation(daemon_set, 1),
    update: |_, _, old, new| {
        let before = template_generation(old);
        let changed = old.pointer("/spec/template") != new.pointer("/spec/template");
        set_template_generation(new, before + i64::from(changed));
    },
    validate: |object, errors| validate_selector_and_template(object, "daemonset", "DaemonSet", errors),
    validate_update: selector_is_immutable,
    table: tables::DAEMON_SETS,
    ..Kind::GENERIC
};

/// `core/v1 ReplicationController`.
pub static REPLICATION_CONTROLLERS: Kind = Kind {
    defaults: replication_controller_defaults,
    validate: |object, errors| {
        if tree::map(object, "/spec/selector").is_none_or(serde_json::Map::is_empty) {
            errors.push(FieldError::required("spec.selector", ""));
        }
        if tree::has(object, "/spec/template") {
            let labels = tree::map(object, "/spec/selector").into_iter().flatten();
            let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_string()));
            validation::template_matches(object, &LabelSelector::from_map(labels), errors);
            validate_template(object, "ReplicationController", errors);
        } else {
            errors.push(FieldError::required("spec.template", ""));
        }
    },
    dependents: DependentsPolicy::Orphan,
    selectable: STATUS_REPLICAS,
    table: tables::REPLICATION_CONTROLLERS,
    ..Kind::GENERIC
};

/// `apps/v1 ControllerRevision`.
pub static CONTROLLER_REVISIONS: Kind = Kind {
    validate: |object, errors| {
        if !tree::has(object, "/data") {
            errors.push(FieldError::required("data", "data is mandatory"));
        }
        if tree::integer_or_zero(object, "/revision") < 0 {
            let message = "must be greater than or equal to 0";
            errors.push(FieldError::invalid("revision", &object["revision"], message));
        }
    },
    validate_update: |old, new, errors| validation::immutable(old, new, "/data", "data", errors),
    table: tables::CONTROLLER_REVISIONS,
    ..Kind::GENERIC
};

/// `core/v1 PodTemplate`.
pub static POD_TEMPLATES: Kind = Kind {
    defaults: |object| pod_spec::template_defaults(object, "template"),
    returns_deleted_object: true,
    table: tables::POD_TEMPLATES,
    ..Kind::GENERIC
};

const STATUS_REPLICAS: &[Selectable] = &[Selectable {
    path: "status.replicas",
    value: |object| tree::integer_or_zero(object, "/status/replicas").to_string(),
}];

fn deployment_defaults(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = child(spec, "strategy") {
        fill_unset(strategy, "type", "RollingUpdate");
        if tree::text(strategy, "/type") == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            fill(rolling, "maxUnavailable", "25%");
            fill(rolling, "maxSurge", "25%");
        }
    }
    pod_spec::template_defaults(spec, "template");
}

fn stateful_set_defaults(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill_unset(spec, "podManagementPolicy", "OrderedReady");
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = child(spec, "updateStrategy") {
        if tree::text(strategy, "/type").is_empty() {
            tree::set(strategy, "type", "RollingUpdate");
            fill(strategy, "rollingUpdate", json!({}));
        }
        if tree::text(strategy, "/type") == "RollingUpdate"
            && let Some(rolling) = tree::object_mut(strategy, "/rollingUpdate")
        {
            fill(rolling, "partition", 0);
            fill(rolling, "maxUnavailable", 1);
        }
    }
    if let Some(retention) = child(spec, "persistentVolumeClaimRetentionPolicy") {
        fill_unset(retention, "whenDeleted", "Retain");
        fill_unset(retention, "whenScaled", "Retain");
    }
    for claim in tree::items_mut(spec, "/volumeClaimTemplates") {
        super::volumes::claim_defaults(claim);
        fill_unset(claim, "kind", "PersistentVolumeClaim");
        fill_unset(claim, "apiVersion", "v1");
    }
    pod_spec::template_defaults(spec, "template");
}

fn daemon_set_defaults(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = child(spec, "updateStrategy") {
        fill_unset(strategy, "type", "RollingUpdate");
        if tree::text(strategy, "/type") == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            fill(rolling, "maxUnavailable", 1);
            fill(rolling, "maxSurge", 0);
        }
    }
    pod_spec::template_defaults(spec, "template");
}

/// Counts the templates of a daemon set, for clients of versions that had a field for it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(daemon_set: &Value) -> i64 {
    let annotations = tree::map(daemon_set, "/metadata/annotations");
    let text = annotations.and_then(|annotations| annotations.get(TEMPLATE_GENERATION)).and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn set_template_generation(daemon_set: &mut Value, generation: i64) {
    if let Some(metadata) = child(daemon_set, "metadata")
        && let Some(annotations) = child(metadata, "annotations")
    {
        tree::set(annotations, TEMPLATE_GENERATION, generation.to_string());
    }
}

/// Selector and labels are the template's where they are not given.
fn replication_controller_defaults(object: &mut Value) {
    let labels = tree::map(object, "/spec/template/metadata/labels").filter(|labels| !labels.is_empty()).cloned();
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "replicas", 1);
    if tree::has(spec, "/template") {
        pod_spec::template_defaults(spec, "template");
    }
    let Some(labels) = labels else { return };
    if tree::map(spec, "/selector").is_none_or(serde_json::Map::is_empty) {
        tree::set(spec, "selector", labels.clone());
    }
    validation::labels_from_template(object, labels);
}

/// `empty` is how the reference names the kind where its selector is empty.
fn validate_selector_and_template(object: &Value, empty: &str, kind: &str, errors: &mut Vec<FieldError>) {
    validation::not_negative(object, "/spec/replicas", "spec.replicas", errors);
    validation::not_negative(object, "/spec/minReadySeconds", "spec.minReadySeconds", errors);
    validation::not_negative(object, "/spec/revisionHistoryLimit", "spec.revisionHistoryLimit", errors);
    if let Some(selector) = validation::selector(object, empty, errors) {
        validation::template_matches(object, &selector, errors);
    }
    validate_template(object, kind, errors);
}

fn validate_template(object: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    validation::pod_spec(object, "/spec/template/spec", "spec.template.spec", errors);
    let policy = tree::text(object, "/spec/template/spec/restartPolicy");
    if !matches!(policy, "" | "Always") {
        let value = json!(policy);
        errors.push(FieldError::not_supported("spec.template.spec.restartPolicy", &value, &["Always"]));
    }
    if tree::has(object, "/spec/template/spec/activeDeadlineSeconds") {
        let message = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", message));
    }
}

fn selector_is_immutable(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    validation::immutable(old, new, "/spec/selector", "spec.selector", errors);
}

fn stateful_set_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    for field in ["selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy"] {
        validation::immutable(old, new, &format!("/spec/{field}"), &format!("spec.{field}"), errors);
    }
}
