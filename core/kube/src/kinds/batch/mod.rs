//! Jobs and cron jobs. A job selects its own pods by its uid, unless its author says otherwise.

use serde_json::json;
use triune_api::{Value, field::FieldError, validation::dns_subdomain};
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
    },
    validate: |job, errors| {
        validation::selector_of_job(job, errors);
        validate_job_spec(job, "/spec", "spec", errors);
    },
    validate_update: validate_job_update,
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
    validate: |cron_job, errors| {
        validation::required(cron_job, "/spec/schedule", "spec.schedule", errors);
        validate_schedule(tree::text(cron_job, "/spec/schedule"), errors);
        let policies = ["Allow", "Forbid", "Replace"];
        validation::one_of(cron_job, "/spec/concurrencyPolicy", "spec.concurrencyPolicy", &policies, errors);
        for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
            validation::not_negative(cron_job, &format!("/spec/{field}"), &format!("spec.{field}"), errors);
        }
        validate_job_spec(cron_job, "/spec/jobTemplate/spec", "spec.jobTemplate.spec", errors);
    },
    validate_name: Some(|name| {
        let mut messages = dns_subdomain(name);
        if name.len() > CRON_JOB_NAME_MAX {
            messages.push(format!("must be no more than {CRON_JOB_NAME_MAX} characters"));
        }
        messages
    }),
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

fn validate_job_spec(object: &Value, pointer: &str, path: &str, errors: &mut Vec<FieldError>) {
    for field in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        validation::not_negative(object, &format!("{pointer}/{field}"), &format!("{path}.{field}"), errors);
    }
    let Some(spec) = object.pointer(pointer) else { return };
    if tree::text(spec, "/completionMode") == "Indexed" && !tree::has(spec, "/completions") {
        let field = format!("{path}.completions");
        errors.push(FieldError::required(&field, "when completion mode is Indexed"));
    }
    validation::pod_spec(spec, "/template/spec", &format!("{path}.template.spec"), errors);
    let field = format!("{path}.template.spec.restartPolicy");
    match tree::text(spec, "/template/spec/restartPolicy") {
        "" | "Always" => errors.push(FieldError::required(&field, r#"valid values: "OnFailure", "Never""#)),
        "OnFailure" | "Never" => {}
        other => errors.push(FieldError::not_supported(&field, &json!(other), &["OnFailure", "Never"])),
    }
}

/// The template may change its scheduling only while the job waits; here it stays unless the job is suspended.
fn validate_job_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    if tree::text(old, "/spec/completionMode") != "Indexed" {
        validation::immutable(old, new, "/spec/completions", "spec.completions", errors);
    }
    validation::immutable(old, new, "/spec/selector", "spec.selector", errors);
    if !tree::truth(old, "/spec/suspend") {
        validation::immutable(old, new, "/spec/template", "spec.template", errors);
    }
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        validation::immutable(old, new, &format!("/spec/{field}"), &format!("spec.{field}"), errors);
    }
}

/// Five fields, or a name such as `@daily`; what the fields say is the controller's to read.
fn validate_schedule(schedule: &str, errors: &mut Vec<FieldError>) {
    let names = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    let zone = schedule.split_once(' ').filter(|(first, _)| first.starts_with("TZ=") || first.starts_with("CRON_TZ="));
    let fields = zone.map_or(schedule, |(_, rest)| rest).split_whitespace().collect::<Vec<_>>();
    let is_name = matches!(fields[..], [name] if names.contains(&name)) || schedule.starts_with("@every ");
    let is_field =
        |field: &&str| field.chars().all(|letter| letter.is_ascii_alphanumeric() || "*/,-?".contains(letter));
    if schedule.is_empty() || is_name || (fields.len() == 5 && fields.iter().all(is_field)) {
        return;
    }
    let message = format!("expected exactly 5 fields, found {}: {fields:?}", fields.len());
    errors.push(FieldError::invalid("spec.schedule", &json!(schedule), message));
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn schedules_have_five_fields() {
        let check = |schedule: &str, fine: bool| {
            let mut errors = Vec::new();
            validate_schedule(schedule, &mut errors);
            assert_eq!(errors.is_empty(), fine, "{schedule} {errors:?}");
        };
        for schedule in ["* * * * *", "*/5 0-6,12 * JAN MON", "@daily", "@every 1h", "TZ=UTC 0 0 * * *"] {
            check(schedule, true);
        }
        for schedule in ["* * * *", "every day", "@sometimes", "* * * * ;"] {
            check(schedule, false);
        }
    }
}
