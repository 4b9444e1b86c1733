//! What is wrong with jobs and with templates of jobs; their statuses are in [`super::status`].

use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    selector::LabelSelector,
    validation::{dns_label, formats},
};

use super::{policies, schedule, status::has_condition};
use crate::{
    kinds::{
        pod_spec::{self, integer_of, is_true, not_negative, optional_one_of, some_of, template, text_of},
        shown, validation,
    },
    tree,
};

const SPEC: Path<'static> = Path::new("spec");
const IMMUTABLE: &str = "field is immutable";
const INDEXED_PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
/// More completions than these limit what else may be asked.
const MANY_COMPLETIONS: i64 = 100_000;
const PARALLELISM_OF_MANY_MAX: i64 = 10_000;
const FAILED_INDEXES_OF_MANY_MAX: i64 = 10_000;
const MANAGED_BY_BYTES_MAX: usize = 63;
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";

static NULL: Value = Value::Null;

fn spec_of(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&NULL)
}

fn is_indexed(spec: &Value) -> bool {
    text_of(spec, "completionMode") == "Indexed"
}

/// Checks a new job.
pub fn created(job: &Value, errors: &mut Vec<FieldError>) {
    generated_selector(job, errors);
    job_spec(job, None, errors);
    name_allows_completions(job, errors);
}

/// Checks `spec` of a job, its selector included.
fn job_spec(job: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = spec_of(job);
    specification(spec, old.map(spec_of), &SPEC, errors);
    let selector = some_of(spec, "selector");
    let path = SPEC.field("selector");
    if selector.is_none() {
        errors.push(path.required(""));
    }
    validation::label_selector(selector, false, &path, errors);
    if let Ok(selector) = LabelSelector::from_object(selector) {
        let template = spec.get("template").unwrap_or(&NULL);
        validation::template_selected(&selector, template, &SPEC.field("template"), errors);
    }
}

/// A selector that the server makes selects by the job's uid.
fn generated_selector(job: &Value, errors: &mut Vec<FieldError>) {
    let spec = spec_of(job);
    let Some(selector) = some_of(spec, "selector").filter(|_| !is_true(spec, "manualSelector")) else { return };
    let (uid, name) = (tree::text(job, "/metadata/uid"), tree::name(job));
    if uid.is_empty() {
        errors.push(Path::new("metadata.uid").required(""));
    }
    let labels = tree::map(spec, "/template/metadata/labels");
    let path = SPEC.field("template.metadata.labels");
    let expected = [("controller-uid", uid), ("job-name", name), (UID_LABEL, uid), (NAME_LABEL, name)];
    for (label, expected) in expected {
        let message = || format!("must be '{expected}'");
        match labels.and_then(|labels| labels.get(label)) {
            None => errors.push(path.key(label).required(message())),
            Some(found) if found != expected => {
                let shown = labels.map_or(Value::Null, |labels| Value::Object(labels.clone()));
                errors.push(path.key(label).invalid(shown, message()));
            }
            Some(_) => {}
        }
    }
    let generated = |key: &str| expected.iter().find(|(label, _)| *label == key).map(|(_, value)| *value);
    if LabelSelector::from_object(Some(selector)).is_ok_and(|selector| !selector.matches_with(generated)) {
        let message = "`selector` not auto-generated".into();
        errors.push(validation::invalid_selector(selector, &SPEC.field("selector"), message));
    }
}

/// Pods of indexed jobs are named by the job and their index, also as hosts.
fn name_allows_completions(job: &Value, errors: &mut Vec<FieldError>) {
    let spec = spec_of(job);
    let completions = integer_of(spec, "completions").unwrap_or_default();
    if !is_indexed(spec) || completions <= 0 {
        return;
    }
    let name = tree::name(job);
    let host = format!("{name}-{}", completions - 1);
    if !dns_label(&host).is_empty() {
        let message = format!("will not able to create pod with invalid DNS label: {host}");
        errors.push(Path::new("metadata.name").invalid(name, message));
    }
}

/// Checks the spec of a job or of a template of jobs, all but the selector.
fn specification(spec: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        not_negative(spec, field, path, errors);
    }
    let set = |field: &str| some_of(spec, field).is_some();
    if set("maxFailedIndexes") && !set("backoffLimitPerIndex") {
        errors.push(path.field("backoffLimitPerIndex").required("when maxFailedIndexes is specified"));
    }
    if let Some(manager) = spec.get("managedBy").and_then(Value::as_str) {
        let path = path.field("managedBy");
        if manager.is_empty() {
            errors.push(path.required(""));
        } else {
            let messages = formats::domain_prefixed_path(manager);
            errors.extend(messages.into_iter().map(|(value, message)| path.invalid(value, message)));
        }
        if manager.len() > MANAGED_BY_BYTES_MAX {
            errors.push(path.too_long(MANAGED_BY_BYTES_MAX));
        }
    }
    optional_one_of(spec, "completionMode", &["NonIndexed", "Indexed"], path, errors);
    if is_indexed(spec) {
        indexed(spec, path, errors);
    } else if matches!(text_of(spec, "completionMode"), "" | "NonIndexed") {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(number) = integer_of(spec, field) {
                errors.push(path.field(field).invalid(number, "requires indexed completion mode"));
            }
        }
    }
    policies::failure(spec, path, errors);
    if let Some(policy) = some_of(spec, "successPolicy") {
        if is_indexed(spec) {
            policies::success(spec, policy, path, errors);
        } else {
            let message = "requires indexed completion mode".into();
            errors.push(shown::invalid(&path.field("successPolicy"), "SuccessPolicy", policy, message));
        }
    }
    policies::replacement(spec, path, errors);
    let pod = spec.get("template").unwrap_or(&NULL);
    let template_path = path.field("template");
    template::template(pod, old.and_then(|old| old.get("template")), &template_path, errors);
    let path = template_path.field("spec.restartPolicy");
    match tree::text(pod, "/spec/restartPolicy") {
        "" | "Always" => errors.push(path.required(r#"valid values: "OnFailure", "Never""#)),
        "OnFailure" if set("podFailurePolicy") => {
            let message = r#"only "Never" is supported when podFailurePolicy is specified"#;
            errors.push(path.invalid("OnFailure", message));
        }
        "OnFailure" | "Never" => {}
        other => errors.push(path.not_supported(other, &["OnFailure", "Never"])),
    }
}

fn indexed(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let [completions, parallelism, failed] =
        ["completions", "parallelism", "maxFailedIndexes"].map(|field| integer_of(spec, field));
    let mut too_great = |field: &str, number: Option<i64>, most: i64, message: &str| {
        if let Some(number) = number.filter(|number| *number > most) {
            errors.push(path.field(field).invalid(number, format!("must be less than or equal to {message}")));
        }
    };
    let Some(completions) = completions else {
        let message = format!("{INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
        too_great("parallelism", parallelism, INDEXED_PARALLELISM_MAX, &message);
        too_great("maxFailedIndexes", failed, FAILED_INDEXES_MAX, &FAILED_INDEXES_MAX.to_string());
        let error = path.field("completions").required("when completion mode is Indexed");
        let later = errors.iter().filter(|error| error.detail.starts_with("must be less than or equal to")).count();
        errors.insert(errors.len() - later.min(2), error);
        return;
    };
    let message = format!("{INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
    too_great("parallelism", parallelism, INDEXED_PARALLELISM_MAX, &message);
    too_great("maxFailedIndexes", failed, completions, "completions");
    too_great("maxFailedIndexes", failed, FAILED_INDEXES_MAX, &FAILED_INDEXES_MAX.to_string());
    if completions <= MANY_COMPLETIONS || some_of(spec, "backoffLimitPerIndex").is_none() {
        return;
    }
    if failed.is_none() {
        let message = format!("must be specified when completions is above {MANY_COMPLETIONS}");
        errors.push(path.field("maxFailedIndexes").required(message));
    }
    let mut too_great = |field: &str, number: Option<i64>, most: i64| {
        if let Some(number) = number.filter(|number| *number > most) {
            let message = format!(
                "must be less than or equal to {most} when completions are above {MANY_COMPLETIONS} and used with backoff \
                 limit per index"
            );
            errors.push(path.field(field).invalid(number, message));
        }
    };
    too_great("parallelism", parallelism, PARALLELISM_OF_MANY_MAX);
    too_great("maxFailedIndexes", failed, FAILED_INDEXES_OF_MANY_MAX);
}

/// Checks an update of a job.
pub fn updated(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    job_spec(new, Some(old), errors);
    let (before, after) = (spec_of(old), spec_of(new));
    let changed = |field: &str| some_of(before, field) != some_of(after, field);
    let value = |field: &str| some_of(after, field).cloned().unwrap_or_default();
    if changed("completions") {
        let path = SPEC.field("completions");
        if !is_indexed(after) {
            errors.push(path.invalid(value("completions"), IMMUTABLE));
        } else if some_of(after, "completions").is_some() && value("completions") != value("parallelism") {
            errors.push(path.invalid(value("completions"), "can only be modified in tandem with spec.parallelism"));
        }
    }
    validation::unchanged(old, new, "/spec/selector", "LabelSelector", &SPEC.field("selector"), errors);
    template_kept(old, new, errors);
    for (field, type_name) in [
        ("completionMode", ""),
        ("podFailurePolicy", "PodFailurePolicy"),
        ("backoffLimitPerIndex", ""),
        ("managedBy", ""),
        ("successPolicy", "SuccessPolicy"),
    ] {
        let pointer = format!("/spec/{field}");
        validation::unchanged(old, new, &pointer, type_name, &SPEC.field(field), errors);
    }
    name_allows_completions(new, errors);
}

/// The template stays, but for what says where pods run and what they need, while the job is suspended and no pod of it
/// runs.
fn template_kept(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let suspended = tree::truth(old, "/spec/suspend");
    let idle = tree::text(old, "/status/startTime").is_empty() || has_condition(old, "Suspended");
    let changeable = suspended && idle && tree::integer_or_zero(old, "/status/active") == 0;
    let mut before = tree::at(old, "/spec/template").cloned().unwrap_or_default();
    let after = tree::at(new, "/spec/template").cloned().unwrap_or_default();
    if changeable {
        allow_scheduling(&mut before, &after);
        for list in ["/spec/containers", "/spec/initContainers"] {
            let wanted = tree::items(&after, list);
            let containers = tree::items_mut(&mut before, list);
            if containers.len() == wanted.len() {
                for (container, wanted) in containers.iter_mut().zip(wanted) {
                    if container.get("name") == wanted.get("name") {
                        tree::copy_field(wanted, container, "resources");
                    }
                }
            }
        }
        if before.get("spec") != after.get("spec") {
            let path = SPEC.field("template.spec");
            let after = after.get("spec").unwrap_or(&NULL);
            errors.push(shown::invalid(&path, "PodSpec", after, IMMUTABLE.into()));
        }
    } else if before != after {
        errors.push(shown::invalid(&SPEC.field("template"), "PodTemplateSpec", &after, IMMUTABLE.into()));
    }
}

/// Makes what directs the scheduling of a template what it is in another.
fn allow_scheduling(before: &mut Value, after: &Value) {
    let node_affinity = tree::some(after, "/spec/affinity/nodeAffinity").cloned();
    let wanted = tree::has(after, "/spec/affinity");
    if let Some(spec) = tree::child(before, "spec") {
        if wanted || tree::has(spec, "/affinity") {
            if let Some(affinity) = tree::child(spec, "affinity") {
                match node_affinity {
                    Some(node_affinity) => tree::set(affinity, "nodeAffinity", node_affinity),
                    None => tree::remove(affinity, "nodeAffinity"),
                }
            }
            let empty = tree::map(spec, "/affinity").is_none_or(serde_json::Map::is_empty);
            if empty && !wanted {
                tree::remove(spec, "affinity");
            }
        }
        let after = after.get("spec").unwrap_or(&NULL);
        for field in ["nodeSelector", "tolerations", "schedulingGates"] {
            tree::copy_field(after, spec, field);
        }
    }
    if let Some(metadata) = tree::child(before, "metadata") {
        let after = after.get("metadata").unwrap_or(&NULL);
        for field in ["annotations", "labels"] {
            tree::copy_field(after, metadata, field);
        }
    }
}

/// Warnings about a job.
pub fn warnings(job: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none() {
        warnings.extend(pod_spec::warnings::name(job, "Pod names and hostnames"));
    }
    if old.is_none_or(|old| old.get("spec") != job.get("spec")) {
        spec_warnings(spec_of(job), &SPEC, &mut warnings);
    }
    warnings
}

fn spec_warnings(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let number = |field: &str| integer_of(spec, field).unwrap_or_default();
    let many = number("completions") > MANY_COMPLETIONS && number("parallelism") > PARALLELISM_OF_MANY_MAX;
    if is_indexed(spec) && many {
        warnings.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
             Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    let template = spec.get("template").unwrap_or(&NULL);
    pod_spec::warnings::template(template, &path.field("template"), warnings);
}

/// Checks a cron job, new or changed.
pub fn cron_job(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = spec_of(object);
    let old_spec = old.map(spec_of);
    let zone = spec.get("timeZone").and_then(Value::as_str);
    let text = text_of(spec, "schedule");
    if !text.is_empty() {
        let zone_in_schedule = old_spec.is_some_and(|old| text_of(old, "schedule").contains("TZ"));
        schedule::schedule(text, zone_in_schedule, zone, &SPEC.field("schedule"), errors);
    }
    not_negative(spec, "startingDeadlineSeconds", &SPEC, errors);
    if old_spec.is_none_or(|old| old.get("timeZone").and_then(Value::as_str) != zone) {
        schedule::time_zone(zone, &SPEC.field("timeZone"), errors);
    }
    pod_spec::one_of(spec, "concurrencyPolicy", &["Allow", "Forbid", "Replace"], &SPEC, errors);
    let path = SPEC.field("jobTemplate");
    let path = path.field("spec");
    let template = tree::at(spec, "/jobTemplate/spec").unwrap_or(&NULL);
    specification(template, old_spec.and_then(|old| tree::at(old, "/jobTemplate/spec")), &path, errors);
    if let Some(selector) = some_of(template, "selector") {
        let message = "`selector` will be auto-generated".into();
        errors.push(validation::invalid_selector(selector, &path.field("selector"), message));
    }
    if is_true(template, "manualSelector") {
        errors.push(path.field("manualSelector").not_supported(true, &["nil", "false"]));
    }
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        not_negative(spec, field, &SPEC, errors);
    }
    // A rule that the reference declares, and tells after the others.
    if text.is_empty() {
        errors.push(SPEC.field("schedule").required(""));
    }
}

/// Warnings about a cron job.
pub fn cron_job_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none() {
        warnings.extend(pod_spec::warnings::name(object, "Pod names and hostnames"));
    }
    let spec = spec_of(object);
    if old.is_none_or(|old| old.get("spec") != object.get("spec")) {
        let template = tree::at(spec, "/jobTemplate/spec").unwrap_or(&NULL);
        spec_warnings(template, &SPEC.field("jobTemplate.spec"), &mut warnings);
    }
    if old.is_some() && text_of(spec, "schedule").contains("TZ") {
        // The path is the reference's.
        warnings.push(
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                .into(),
        );
    }
    warnings
}
