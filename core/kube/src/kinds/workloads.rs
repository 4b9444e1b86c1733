//! Deployments, replica sets, stateful sets, daemon sets, replication controllers and what they are made of.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::json;
use triune_api::{Value, field::FieldError, path::Path, selector::LabelSelector, validation::dns_label};

use triune_machinery::registry::DependentsPolicy;

use super::{
    pod_spec::{self, not_negative, template::template as pod_template},
    shown, validation,
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
    validate_create: |object, errors| validate_deployment(object, None, errors),
    validate_update: |old, new, errors| {
        validate_deployment(new, Some(old), errors);
        selector_is_immutable(old, new, errors);
    },
    validate_status: deployment_status,
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
    validate_create: |object, errors| validate_replica_set(object, None, errors),
    validate_update: |old, new, errors| {
        validate_replica_set(new, Some(old), errors);
        selector_is_immutable(old, new, errors);
    },
    validate_status: replica_set_status,
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
    validate_create: |object, errors| validate_stateful_set(object, None, errors),
    validate_update: stateful_set_update,
    validate_status: stateful_set_status,
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
    validate_create: |object, errors| validate_daemon_set(object, None, errors),
    validate_update: |old, new, errors| {
        selector_is_immutable(old, new, errors);
        validate_daemon_set(new, Some(old), errors);
    },
    validate_status: daemon_set_status,
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
    validate_create: |object, errors| validate_replication_controller(object, None, errors),
    validate_update: |old, new, errors| validate_replication_controller(new, Some(old), errors),
    validate_status: |_, new, errors| {
        let fields = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
        let bounds = [
            ("fullyLabeledReplicas", "replicas", OF_STATUS),
            ("readyReplicas", "replicas", OF_STATUS),
            ("availableReplicas", "replicas", OF_STATUS),
            ("availableReplicas", "readyReplicas", "readyReplicas"),
        ];
        counts(new, &fields, &bounds, errors);
    },
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

/// Checks `spec.selector`, which must be given and select something.
fn selector(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.field("selector");
    match tree::some(spec, "/selector") {
        None => errors.push(path.required("")),
        Some(selector) => {
            validation::label_selector(Some(selector), false, &path, errors);
            if validation::is_empty_selector(selector) {
                let message = format!("empty selector is invalid for {kind}");
                errors.push(validation::invalid_selector(selector, &path, message));
            }
        }
    }
}

/// Checks `spec.template` against the selector, unless that cannot be read (then `unreadable` is said of it).
fn template(
    spec: &Value,
    old: Option<&Value>,
    unreadable: &str,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
    check: impl FnOnce(&Value, Option<&Value>, &Path<'_>, &mut Vec<FieldError>),
) {
    let given = tree::some(spec, "/selector");
    let template_path = path.field("template");
    match LabelSelector::from_object(given) {
        Err(_) => {
            let given = given.unwrap_or(&Value::Null);
            errors.push(validation::invalid_selector(given, &path.field("selector"), unreadable.into()));
        }
        Ok(selector) => {
            let template = spec.get("template").unwrap_or(&Value::Null);
            if !selector.is_empty() {
                validation::template_selected(&selector, template, &template_path, errors);
            }
            check(template, old.and_then(|old| tree::some(old, "/spec/template")), &template_path, errors);
        }
    }
}

/// Pods of these kinds run until they are deleted.
fn runs_always(template: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let policy = tree::text(template, "/spec/restartPolicy");
    if policy != "Always" {
        errors.push(path.field("spec.restartPolicy").not_supported(policy, &["Always"]));
    }
    if tree::has(template, "/spec/activeDeadlineSeconds") {
        let message = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(path.field("spec.activeDeadlineSeconds").forbidden(message));
    }
}

fn of_replica_set(template: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    pod_template(template, old, path, errors);
    runs_always(template, "ReplicaSet", path, errors);
}

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");

fn spec_of(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

fn validate_deployment(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = spec_of(object);
    not_negative(spec, "replicas", &SPEC, errors);
    selector(spec, "deployment", &SPEC, errors);
    template(spec, old, "invalid label selector", &SPEC, errors, of_replica_set);
    let path = SPEC.field("strategy");
    let strategy = spec.get("strategy").unwrap_or(&Value::Null);
    let rolling = tree::some(strategy, "/rollingUpdate");
    match (tree::text(strategy, "/type"), rolling) {
        ("Recreate", Some(_)) => {
            let message = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(path.field("rollingUpdate").forbidden(message));
        }
        ("Recreate", None) => {}
        ("RollingUpdate", None) => {
            errors.push(path.field("rollingUpdate").required("this should be defaulted and never be nil"));
        }
        ("RollingUpdate", Some(rolling)) => {
            let path = path.field("rollingUpdate");
            let (unavailable, surge) = rolling_bounds(rolling, &path, errors);
            let unavailable_path = path.field("maxUnavailable");
            if validation::number_in(unavailable) == 0 && validation::number_in(surge) == 0 {
                let message = "may not be 0 when `maxSurge` is 0";
                errors.push(unavailable_path.invalid(unavailable.clone(), message));
            }
            validation::at_most_whole(unavailable, &unavailable_path, errors);
        }
        _ => {
            let supported = ["Recreate", "RollingUpdate"];
            errors.push(shown::not_supported(&path, "DeploymentStrategy", strategy, &supported));
        }
    }
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        not_negative(spec, field, &SPEC, errors);
    }
    if let Some(deadline) = tree::integer(spec, "/progressDeadlineSeconds")
        && deadline <= tree::integer_or_zero(spec, "/minReadySeconds")
    {
        let message = "must be greater than minReadySeconds";
        errors.push(SPEC.field("progressDeadlineSeconds").invalid(deadline, message));
    }
}

static ZERO: LazyLock<Value> = LazyLock::new(|| json!(0));

/// Checks both bounds of a rolling update by themselves, and gives them.
fn rolling_bounds<'a>(rolling: &'a Value, path: &Path<'_>, errors: &mut Vec<FieldError>) -> (&'a Value, &'a Value) {
    let bound = |field: &str| tree::some(rolling, field).unwrap_or(&ZERO);
    let (unavailable, surge) = (bound("/maxUnavailable"), bound("/maxSurge"));
    validation::number_or_percent(unavailable, &path.field("maxUnavailable"), errors);
    validation::number_or_percent(surge, &path.field("maxSurge"), errors);
    (unavailable, surge)
}

fn validate_replica_set(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = spec_of(object);
    not_negative(spec, "replicas", &SPEC, errors);
    not_negative(spec, "minReadySeconds", &SPEC, errors);
    selector(spec, "deployment", &SPEC, errors);
    template(spec, old, "invalid label selector", &SPEC, errors, of_replica_set);
}

fn validate_daemon_set(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = spec_of(object);
    let path = SPEC.field("selector");
    let given = tree::some(spec, "/selector");
    validation::label_selector(given, false, &path, errors);
    let template = spec.get("template").unwrap_or(&Value::Null);
    let template_path = SPEC.field("template");
    if let Ok(selector) = LabelSelector::from_object(given) {
        validation::template_selected(&selector, template, &template_path, errors);
    }
    if let Some(selector) = given.filter(|selector| validation::is_empty_selector(selector)) {
        errors.push(validation::invalid_selector(selector, &path, "empty selector is invalid for daemonset".into()));
    }
    pod_template(template, old.and_then(|old| tree::some(old, "/spec/template")), &template_path, errors);
    runs_always(template, "DaemonSet", &template_path, errors);
    not_negative(spec, "minReadySeconds", &SPEC, errors);
    let path = SPEC.field("updateStrategy");
    let strategy = spec.get("updateStrategy").unwrap_or(&Value::Null);
    match (tree::text(strategy, "/type"), tree::some(strategy, "/rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.push(path.field("rollingUpdate").required("")),
        ("RollingUpdate", Some(rolling)) => {
            let path = path.field("rollingUpdate");
            let (unavailable, surge) = rolling_bounds(rolling, &path, errors);
            let (unavailable_path, surge_path) = (path.field("maxUnavailable"), path.field("maxSurge"));
            validation::at_most_whole(unavailable, &unavailable_path, errors);
            validation::at_most_whole(surge, &surge_path, errors);
            match (validation::number_in(unavailable) != 0, validation::number_in(surge) != 0) {
                (true, true) => {
                    errors.push(surge_path.invalid(surge.clone(), "may not be set when maxUnavailable is non-zero"));
                }
                (false, false) => errors.push(unavailable_path.required("cannot be 0 when maxSurge is 0")),
                _ => {}
            }
        }
        _ => {
            let supported = ["RollingUpdate", "OnDelete"];
            errors.push(shown::not_supported(&path, "DaemonSetUpdateStrategy", strategy, &supported));
        }
    }
    not_negative(spec, "revisionHistoryLimit", &SPEC, errors);
}

fn validate_stateful_set(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = spec_of(object);
    match tree::text(spec, "/podManagementPolicy") {
        "" => errors.push(SPEC.field("podManagementPolicy").required("")),
        "OrderedReady" | "Parallel" => {}
        other => {
            let message = "must be 'OrderedReady' or 'Parallel'";
            errors.push(SPEC.field("podManagementPolicy").invalid(other, message));
        }
    }
    stateful_set_strategy(spec, errors);
    if let Some(policy) = tree::some(spec, "/persistentVolumeClaimRetentionPolicy") {
        let path = SPEC.field("persistentVolumeClaimRetentionPolicy");
        for field in ["whenDeleted", "whenScaled"] {
            validation::not_in(policy, field, &["Retain", "Delete"], &path, errors);
        }
    }
    let claims = SPEC.field("volumeClaimTemplates");
    if old.is_none() {
        for (index, claim) in tree::items(spec, "/volumeClaimTemplates").iter().enumerate() {
            validation::claim_spec(spec_of(claim), &claims.index(index).field("spec"), errors);
        }
    }
    not_negative(spec, "replicas", &SPEC, errors);
    not_negative(spec, "minReadySeconds", &SPEC, errors);
    if let Some(ordinals) = tree::some(spec, "/ordinals") {
        not_negative(ordinals, "start", &SPEC.field("ordinals"), errors);
    }
    let service = tree::text(spec, "/serviceName");
    if old.is_none() && !service.is_empty() {
        SPEC.field("serviceName").all_invalid(service, dns_label(service), errors);
    }
    selector(spec, "statefulset", &SPEC, errors);
    template(spec, old, "", &SPEC, errors, |template, old_template, path, errors| {
        let completed = with_claims(spec, template);
        let completed = completed.as_ref().unwrap_or(template);
        pod_template(completed, old_template, path, errors);
        let metadata = template.get("metadata").unwrap_or(&Value::Null);
        validation::labels(metadata.get("labels"), &path.field("labels"), errors);
        let annotations = path.field("annotations");
        validation::annotations(metadata.get("annotations"), &annotations, errors);
        pod_spec::template::annotations(
            metadata,
            spec_of(template),
            pod_spec::Tolerated::default(),
            &annotations,
            errors,
        );
    });
    let template = spec.get("template").unwrap_or(&Value::Null);
    runs_always(template, "StatefulSet", &SPEC.field("template"), errors);
}

fn stateful_set_strategy(spec: &Value, errors: &mut Vec<FieldError>) {
    let path = SPEC.field("updateStrategy");
    let strategy = spec.get("updateStrategy").unwrap_or(&Value::Null);
    match (tree::text(strategy, "/type"), tree::some(strategy, "/rollingUpdate")) {
        ("", _) => errors.push(path.required("")),
        ("OnDelete", Some(rolling)) => {
            let message = "only allowed for updateStrategy 'RollingUpdate'".into();
            let path = path.field("rollingUpdate");
            errors.push(shown::invalid(&path, "RollingUpdateStatefulSetStrategy", rolling, message));
        }
        ("OnDelete" | "RollingUpdate", None) => {}
        ("RollingUpdate", Some(rolling)) => {
            let path = path.field("rollingUpdate");
            not_negative(rolling, "partition", &path, errors);
            let path = path.field("maxUnavailable");
            if let Some(unavailable) = tree::some(rolling, "/maxUnavailable") {
                validation::number_or_percent(unavailable, &path, errors);
                if validation::number_in(unavailable) == 0 {
                    errors.push(path.invalid(unavailable.clone(), "cannot be 0"));
                }
                validation::at_most_whole(unavailable, &path, errors);
            }
        }
        _ => {
            let message = "must be 'RollingUpdate' or 'OnDelete'".into();
            errors.push(shown::invalid(&path, "StatefulSetUpdateStrategy", strategy, message));
        }
    }
}

/// The template as the controller completes it: with a volume for each claim, and with names of its own making. None if it
/// is complete.
fn with_claims(spec: &Value, template: &Value) -> Option<Value> {
    let claims = tree::items(spec, "/volumeClaimTemplates");
    let named = |field: &str| !tree::text(template, field).is_empty();
    if claims.is_empty() && !named("/spec/subdomain") && !named("/spec/hostname") {
        return None;
    }
    let mut template = template.clone();
    let pod = child(&mut template, "spec")?;
    tree::remove(pod, "subdomain");
    tree::remove(pod, "hostname");
    if !claims.is_empty() {
        let names: BTreeSet<&str> = claims.iter().map(tree::name).collect();
        let made = names.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        let given = tree::items(pod, "/volumes").iter();
        let kept = given.filter(|volume| !names.contains(tree::text(volume, "/name"))).cloned();
        let volumes: Vec<Value> = made.chain(kept).collect();
        tree::set(pod, "volumes", volumes);
    }
    Some(template)
}

fn stateful_set_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    // A set whose template was wrong before may go on with it.
    let mut wrong_before = Vec::new();
    validate_stateful_set(old, Some(old), &mut wrong_before);
    let mut found = Vec::new();
    validate_stateful_set(new, Some(old), &mut found);
    if !wrong_before.is_empty() {
        found.retain(|error| !error.field.starts_with("spec.template.spec.") || is_rule_of_set(error));
    }
    errors.append(&mut found);
    validation::unchanged(old, new, "/spec/selector", "LabelSelector", &SPEC.field("selector"), errors);
    let claims = |set: &'_ Value| tree::items(set, "/spec/volumeClaimTemplates").to_vec();
    if claims(old) != claims(new) {
        let mut error = SPEC.field("volumeClaimTemplates").invalid("", "field is immutable");
        error.value = Some(match claims(new) {
            none if none.is_empty() => "null".into(),
            claims => shown::structures("PersistentVolumeClaim", &claims),
        });
        errors.push(error);
    }
    for field in ["serviceName", "podManagementPolicy"] {
        validation::immutable(old, new, &format!("/spec/{field}"), &format!("spec.{field}"), errors);
    }
}

fn is_rule_of_set(error: &FieldError) -> bool {
    ["spec.template.spec.restartPolicy", "spec.template.spec.activeDeadlineSeconds"].contains(&error.field.as_str())
}

fn validate_replication_controller(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = spec_of(object);
    let selector = tree::map(spec, "/selector").filter(|selector| !selector.is_empty());
    if selector.is_none() {
        errors.push(SPEC.field("selector").required(""));
    }
    let path = SPEC.field("template");
    match tree::some(spec, "/template") {
        None => errors.push(path.required("")),
        Some(template) => {
            if let Some(selector) = selector {
                let labels = selector.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
                validation::template_selected(&LabelSelector::from_map(labels), template, &path, errors);
            }
            pod_template(template, old.and_then(|old| tree::some(old, "/spec/template")), &path, errors);
            runs_always(template, "ReplicationController", &path, errors);
        }
    }
    // Rules that the reference declares, and tells after the others.
    for field in ["replicas", "minReadySeconds"] {
        not_negative(spec, field, &SPEC, errors);
    }
}

fn selector_is_immutable(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    validation::unchanged(old, new, "/spec/selector", "LabelSelector", &SPEC.field("selector"), errors);
}

/// A count in a status and what it may not be greater than, with the name of that in messages.
type Bound = (&'static str, &'static str, &'static str);

/// Checks the counts of a status.
fn counts(new: &Value, fields: &[&str], bounds: &[Bound], errors: &mut Vec<FieldError>) {
    let status = new.get("status").unwrap_or(&Value::Null);
    for field in fields {
        not_negative(status, field, &STATUS, errors);
    }
    let count = |field: &str| status.get(field).and_then(Value::as_i64).unwrap_or_default();
    for (field, most, name) in bounds {
        if count(field) > count(most) {
            let message = format!("cannot be greater than {name}");
            errors.push(STATUS.field(field).invalid(count(field), message));
        }
    }
}

/// The count of collisions only grows.
fn collisions_grow(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let count = |object: &Value| tree::integer(object, "/status/collisionCount");
    if let Some(before) = count(old)
        && count(new).is_none_or(|now| now < before)
    {
        let now = count(new).unwrap_or_default();
        errors.push(STATUS.field("collisionCount").invalid(now, "cannot be decremented"));
    }
}

const OF_STATUS: &str = "status.replicas";

fn deployment_status(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fields = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    let bounds = [
        ("updatedReplicas", "replicas", OF_STATUS),
        ("readyReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
    ];
    counts(new, &fields, &bounds, errors);
    collisions_grow(old, new, errors);
}

fn replica_set_status(_: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fields = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    let bounds = [
        ("fullyLabeledReplicas", "replicas", OF_STATUS),
        ("readyReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
    ];
    counts(new, &fields, &bounds, errors);
}

fn stateful_set_status(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fields = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    let bounds = [
        ("readyReplicas", "replicas", OF_STATUS),
        ("currentReplicas", "replicas", OF_STATUS),
        ("updatedReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "readyReplicas", "status.readyReplicas"),
    ];
    counts(new, &fields, &bounds, errors);
    collisions_grow(old, new, errors);
}

fn daemon_set_status(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fields = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    counts(new, &fields, &[], errors);
    collisions_grow(old, new, errors);
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
    template_warnings(object, old, "/spec/template", &SPEC.field("template"), true)
}

fn unnamed_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    template_warnings(object, old, "/spec/template", &SPEC.field("template"), false)
}
