//! Deployments, replica sets, stateful sets, daemon sets, replication controllers and what they are made of. What is wrong
//! with them is in [`rules`], with their statuses in [`status`].

pub mod rules;
pub mod status;

use serde_json::json;
use triune_api::{Value, field::FieldError, path::Path, validation::dns_label};

use triune_machinery::registry::DependentsPolicy;

use super::{
    pod_spec::{self, template::template as pod_template},
    validation,
};
use crate::{
    kind::{Kind, Selectable},
    tables::workloads as tables,
    tree::{self, child, fill, fill_unset},
};

/// `apps/v1 Deployment`.
pub static DEPLOYMENTS: Kind = Kind {
    defaults: deployment_defaults,
    create: |_, _, object| pod_spec::drop_disabled(object, "/spec/template/spec", None),
    update: |_, _, old, new| pod_spec::drop_disabled(new, "/spec/template/spec", Some(old)),
    validate: validation::qualified_finalizers,
    validate_create: |object, errors| rules::deployment(object, None, errors),
    validate_update: |old, new, errors| {
        rules::deployment(new, Some(old), errors);
        rules::selector_is_immutable(old, new, errors);
    },
    validate_status: status::deployment,
    closed_sets: true,
    warnings: workload_warnings,
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
    create: |_, _, object| pod_spec::drop_disabled(object, "/spec/template/spec", None),
    update: |_, _, old, new| pod_spec::drop_disabled(new, "/spec/template/spec", Some(old)),
    validate: validation::qualified_finalizers,
    validate_create: |object, errors| rules::replica_set(object, None, errors),
    validate_update: |old, new, errors| {
        rules::replica_set(new, Some(old), errors);
        rules::selector_is_immutable(old, new, errors);
    },
    validate_status: status::replica_set,
    closed_sets: true,
    warnings: workload_warnings,
    selectable: STATUS_REPLICAS,
    table: tables::REPLICA_SETS,
    ..Kind::GENERIC
};

/// `apps/v1 StatefulSet`.
pub static STATEFUL_SETS: Kind = Kind {
    defaults: stateful_set_defaults,
    create: |_, _, object| pod_spec::drop_disabled(object, "/spec/template/spec", None),
    update: |_, _, old, new| pod_spec::drop_disabled(new, "/spec/template/spec", Some(old)),
    validate: validation::qualified_finalizers,
    validate_create: |object, errors| rules::stateful_set(object, None, errors),
    validate_update: rules::stateful_set_update,
    validate_status: status::stateful_set,
    validate_name: Some(dns_label),
    closed_sets: true,
    warnings: |object, old| {
        let mut warnings = unnamed_warnings(object, old);
        if tree::integer_or_zero(object, "/spec/revisionHistoryLimit") < 0 {
            let message = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is \
                           recommended";
            warnings.push(message.into());
        }
        warnings
    },
    table: tables::STATEFUL_SETS,
    ..Kind::GENERIC
};

/// `apps/v1 DaemonSet`.
pub static DAEMON_SETS: Kind = Kind {
    defaults: daemon_set_defaults,
    create: |_, _, daemon_set| {
        set_template_generation(daemon_set, 1);
        pod_spec::drop_disabled(daemon_set, "/spec/template/spec", None);
    },
    update: |_, _, old, new| {
        pod_spec::drop_disabled(new, "/spec/template/spec", Some(old));
        let before = template_generation(old);
        let changed = old.pointer("/spec/template") != new.pointer("/spec/template");
        set_template_generation(new, before + i64::from(changed));
    },
    validate: validation::qualified_finalizers,
    validate_create: |object, errors| rules::daemon_set(object, None, errors),
    validate_update: |old, new, errors| {
        rules::selector_is_immutable(old, new, errors);
        rules::daemon_set(new, Some(old), errors);
    },
    validate_status: status::daemon_set,
    closed_sets: true,
    warnings: unnamed_warnings,
    table: tables::DAEMON_SETS,
    ..Kind::GENERIC
};

/// `core/v1 ReplicationController`.
pub static REPLICATION_CONTROLLERS: Kind = Kind {
    defaults: replication_controller_defaults,
    create: |_, _, object| pod_spec::drop_disabled(object, "/spec/template/spec", None),
    update: |_, _, old, new| pod_spec::drop_disabled(new, "/spec/template/spec", Some(old)),
    validate: validation::qualified_finalizers,
    validate_create: |object, errors| rules::replication_controller(object, None, errors),
    validate_update: |old, new, errors| rules::replication_controller(new, Some(old), errors),
    validate_status: status::replication_controller,
    closed_sets: true,
    warnings: workload_warnings,
    dependents: DependentsPolicy::Orphan,
    selectable: STATUS_REPLICAS,
    table: tables::REPLICATION_CONTROLLERS,
    ..Kind::GENERIC
};

/// `apps/v1 ControllerRevision`.
pub static CONTROLLER_REVISIONS: Kind = Kind {
    validate: |object, errors| {
        validation::qualified_finalizers(object, errors);
        if tree::integer_or_zero(object, "/revision") < 0 {
            let message = "must be greater than or equal to 0";
            errors.push(FieldError::invalid("revision", &object["revision"], message));
        }
    },
    validate_create: |object, errors| match object.get("data") {
        None | Some(Value::Null) => errors.push(FieldError::required("data", "data is mandatory")),
        Some(Value::Object(_)) => {}
        Some(_) => errors.push(FieldError::required("data", "data must be a valid JSON object")),
    },
    validate_update: |old, new, errors| validation::immutable(old, new, "/data", "data", errors),
    table: tables::CONTROLLER_REVISIONS,
    ..Kind::GENERIC
};

/// `core/v1 PodTemplate`.
pub static POD_TEMPLATES: Kind = Kind {
    defaults: |object| pod_spec::template_defaults(object, "template"),
    create: |_, _, object| pod_spec::drop_disabled(object, "/template/spec", None),
    update: |_, _, old, new| pod_spec::drop_disabled(new, "/template/spec", Some(old)),
    validate: validation::qualified_finalizers,
    validate_create: |object, errors| {
        pod_template(object.get("template").unwrap_or(&Value::Null), None, &Path::new("template"), errors);
    },
    validate_update: |old, new, errors| {
        let template = new.get("template").unwrap_or(&Value::Null);
        pod_template(template, old.get("template"), &Path::new("template"), errors);
    },
    closed_sets: true,
    warnings: |object, old| template_warnings(object, old, "/template", &Path::new("template"), false),
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
        super::claims::claim_defaults(claim);
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

/// Warnings about the template, on creates and on updates that change it. `named` is said of names that pods get.
fn template_warnings(object: &Value, old: Option<&Value>, pointer: &str, path: &Path<'_>, named: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if named && old.is_none() {
        warnings.extend(pod_spec::warnings::name(object, "Pod names and hostnames"));
    }
    let template = tree::some(object, pointer);
    let changed = old.is_none_or(|old| old.get("spec") != object.get("spec"));
    if let Some(template) = template.filter(|_| changed) {
        pod_spec::warnings::template(template, path, &mut warnings);
    }
    warnings
}

fn workload_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    template_warnings(object, old, "/spec/template", &rules::SPEC.field("template"), true)
}

fn unnamed_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    template_warnings(object, old, "/spec/template", &rules::SPEC.field("template"), false)
}
