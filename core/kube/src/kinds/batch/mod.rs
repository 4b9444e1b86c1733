//! Jobs and cron jobs. A job selects its own pods by its uid, unless its author says otherwise. What is wrong with them is
//! in [`job`], [`policies`], [`indexes`], [`schedule`] and [`status`].

pub mod indexes;
pub mod job;
pub mod policies;
pub mod schedule;
pub mod status;

use triune_api::{
    Value,
    field::{FieldError, FieldErrorKind},
    path::Path,
};
use triune_machinery::registry::DependentsPolicy;

use super::{pod_spec, validation};
use crate::{
    kind::{Kind, Selectable},
    tables::workloads as tables,
    tree::{self, child, fill, fill_unset},
};

/// `batch/v1 Job`. Deletes that name no policy orphan its pods, as ever.
pub static JOBS: Kind = Kind {
    defaults: job_defaults,
    create: |_, _, job| {
        generate_selector(job);
        labels_of_template(job);
        pod_spec::drop_disabled(job, "/spec/template/spec", None);
    },
    update: |_, _, old, new| pod_spec::drop_disabled(new, "/spec/template/spec", Some(old)),
    validate: validation::qualified_finalizers,
    validate_create: job::created,
    validate_update: job::updated,
    validate_status: status::updated,
    closed_sets: true,
    warnings: job::warnings,
    dependents: DependentsPolicy::Orphan,
    selectable: &[Selectable {
        path: "status.successful",
        value: |job| tree::integer_or_zero(job, "/status/succeeded").to_string(),
    }],
    table: tables::JOBS,
    ..Kind::GENERIC
};

/// `batch/v1 CronJob`.
pub static CRON_JOBS: Kind = Kind {
    defaults: cron_job_defaults,
    create: |_, _, object| pod_spec::drop_disabled(object, "/spec/jobTemplate/spec/template/spec", None),
    update: |_, _, old, new| pod_spec::drop_disabled(new, "/spec/jobTemplate/spec/template/spec", Some(old)),
    validate: validation::qualified_finalizers,
    validate_create: |cron_job, errors| {
        job::cron_job(cron_job, None, errors);
        let name = tree::name(cron_job);
        if name.len() > CRON_JOB_NAME_MAX {
            let message = format!("must be no more than {CRON_JOB_NAME_MAX} characters");
            errors.insert(errors.len() - declared_errors(errors), Path::new("metadata.name").invalid(name, message));
        }
    },
    validate_update: |old, new, errors| job::cron_job(new, Some(old), errors),
    closed_sets: true,
    warnings: job::cron_job_warnings,
    table: tables::CRON_JOBS,
    ..Kind::GENERIC
};

/// The controller appends eleven characters to the name of a cron job to name its jobs.
const CRON_JOB_NAME_MAX: usize = 52;
const BACKOFF_LIMIT_DEFAULT: i64 = 6;

fn job_defaults(job: &mut Value) {
    let Some(spec) = child(job, "spec") else { return };
    pod_spec::template_defaults(spec, "template");
    if !tree::has(spec, "/completions") && !tree::has(spec, "/parallelism") {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let per_index = tree::has(spec, "/backoffLimitPerIndex");
    fill(spec, "backoffLimit", if per_index { i64::from(i32::MAX) } else { BACKOFF_LIMIT_DEFAULT });
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    let failure_policy = tree::has(spec, "/podFailurePolicy");
    fill(spec, "podReplacementPolicy", if failure_policy { "Failed" } else { "TerminatingOrFailed" });
    fill(spec, "manualSelector", false);
    for rule in tree::items_mut(spec, "/podFailurePolicy/rules") {
        for pattern in tree::items_mut(rule, "/onPodConditions") {
            fill_unset(pattern, "status", "True");
        }
    }
    labels_of_template(job);
}

/// A job without labels has those of its pods, the generated ones included.
fn labels_of_template(job: &mut Value) {
    let labels = tree::map(job, "/spec/template/metadata/labels").filter(|labels| !labels.is_empty()).cloned();
    if let Some(labels) = labels {
        validation::labels_from_template(job, labels);
    }
}

fn cron_job_defaults(cron_job: &mut Value) {
    let Some(spec) = child(cron_job, "spec") else { return };
    fill_unset(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    if let Some(template) = child(spec, "jobTemplate")
        && let Some(spec) = child(template, "spec")
    {
        pod_spec::template_defaults(spec, "template");
    }
}

fn generate_selector(job: &mut Value) {
    if tree::truth(job, "/spec/manualSelector") {
        return;
    }
    let (name, uid) = (tree::name(job).to_string(), tree::text(job, "/metadata/uid").to_string());
    let Some(spec) = child(job, "spec") else { return };
    if let Some(template) = child(spec, "template")
        && let Some(metadata) = child(template, "metadata")
        && let Some(labels) = child(metadata, "labels")
    {
        for (label, value) in [
            ("job-name", &name),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("batch.kubernetes.io/controller-uid", &uid),
        ] {
            fill(labels, label, value.clone());
        }
    }
    if let Some(selector) = child(spec, "selector")
        && let Some(labels) = child(selector, "matchLabels")
    {
        fill(labels, "batch.kubernetes.io/controller-uid", uid);
    }
}

/// How many errors at the end come from rules that the reference declares, and tells after all others.
fn declared_errors(errors: &[FieldError]) -> usize {
    let declared = |error: &&FieldError| error.field == "spec.schedule" && error.kind == FieldErrorKind::Required;
    errors.iter().rev().take_while(declared).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_selects_its_pods() {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {}}}});
        job_defaults(&mut job);
        generate_selector(&mut job);
        assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
        assert_eq!(
            job["spec"]["template"]["metadata"]["labels"],
            json!({
                "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "j",
                "controller-uid": "u", "job-name": "j",
            })
        );
    }

    #[test]
    fn completions_follow_parallelism() {
        let check = |spec: Value, completions: Value, backoff_limit: i64| {
            let mut job = json!({"spec": spec});
            job_defaults(&mut job);
            assert_eq!(job["spec"].get("completions").cloned().unwrap_or_default(), completions);
            assert_eq!(job["spec"]["backoffLimit"], backoff_limit);
        };
        check(json!({}), json!(1), 6);
        check(json!({"parallelism": 3}), Value::Null, 6);
        check(json!({"completions": 2, "backoffLimitPerIndex": 1}), json!(2), i64::from(i32::MAX));
    }
}
