//! What is wrong with deployments, replica sets, stateful sets, daemon sets and replication controllers.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::json;
use triune_api::{Value, field::FieldError, path::Path, selector::LabelSelector, validation::dns_label};

use crate::{
    field::Field,
    kinds::{
        claims::claim_spec,
        pod_spec::{self, not_negative, template::template as pod_template},
        shown, validation,
    },
    tree::{self, child},
};

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

/// Where the specs are.
pub const SPEC: Path<'static> = Path::new("spec");

fn spec_of(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

/// Checks a deployment; `old` is the one before an update.
pub fn deployment(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
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

/// Checks a replica set.
pub fn replica_set(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = spec_of(object);
    not_negative(spec, "replicas", &SPEC, errors);
    not_negative(spec, "minReadySeconds", &SPEC, errors);
    selector(spec, "deployment", &SPEC, errors);
    template(spec, old, "invalid label selector", &SPEC, errors, of_replica_set);
}

/// Checks a daemon set.
pub fn daemon_set(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
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

/// Checks a stateful set.
pub fn stateful_set(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
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
            let path = claims.index(index);
            claim_spec(&Field::under(path.field("spec"), spec_of(claim)), errors);
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

/// Checks an update of a stateful set.
pub fn stateful_set_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    // A set whose template was wrong before may go on with it.
    let mut wrong_before = Vec::new();
    stateful_set(old, Some(old), &mut wrong_before);
    let mut found = Vec::new();
    stateful_set(new, Some(old), &mut found);
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

/// Checks a replication controller.
pub fn replication_controller(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
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

/// Checks that the selector has not changed.
pub fn selector_is_immutable(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    validation::unchanged(old, new, "/spec/selector", "LabelSelector", &SPEC.field("selector"), errors);
}
