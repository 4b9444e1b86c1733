//! Workloads: controllers of pods, autoscalers, disruption budgets.

use serde_json::json;
use triune_api::{Value, time};

use super::{condition_is_true, container_images, container_names, format_labels, format_selector, scalar};
use crate::{
    table::{AGE, NAME, TableColumn, computed, count, integer, text, timed},
    tree,
};

const CONTAINERS: TableColumn = computed(
    "Containers",
    |object| json!(container_names(object, "/spec/template/spec/containers")),
    "Names of the template's containers.",
)
.wide();
const IMAGES: TableColumn = computed(
    "Images",
    |object| json!(container_images(object, "/spec/template/spec/containers")),
    "Images of the template's containers.",
)
.wide();
const SELECTOR: TableColumn = computed(
    "Selector",
    |object| json!(format_selector(object.pointer("/spec/selector"))),
    "Label query over the pods that count.",
)
.wide();

/// `core/v1 PodTemplate`.
pub const POD_TEMPLATES: &[TableColumn] = &[
    NAME,
    computed(
        "Containers",
        |object| json!(container_names(object, "/template/spec/containers")),
        "Names of the template's containers.",
    ),
    computed(
        "Images",
        |object| json!(container_images(object, "/template/spec/containers")),
        "Images of the template's containers.",
    ),
    computed(
        "Pod Labels",
        |object| json!(format_labels(object.pointer("/template/metadata/labels"))),
        "Labels of the template.",
    ),
];

/// `core/v1 ReplicationController`.
pub const REPLICATION_CONTROLLERS: &[TableColumn] = &[
    NAME,
    integer("Desired", "/spec/replicas", "Wanted pods."),
    integer("Current", "/status/replicas", "Pods that exist."),
    integer("Ready", "/status/readyReplicas", "Pods that are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    computed(
        "Selector",
        |object| json!(format_labels(object.pointer("/spec/selector"))),
        "Labels of the pods that count.",
    )
    .wide(),
];

/// `apps/v1 ReplicaSet`.
pub const REPLICA_SETS: &[TableColumn] = &[
    NAME,
    integer("Desired", "/spec/replicas", "Wanted pods."),
    integer("Current", "/status/replicas", "Pods that exist."),
    integer("Ready", "/status/readyReplicas", "Pods that are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// `apps/v1 DaemonSet`.
pub const DAEMON_SETS: &[TableColumn] = &[
    NAME,
    integer("Desired", "/status/desiredNumberScheduled", "Nodes that should run the pod."),
    integer("Current", "/status/currentNumberScheduled", "Nodes that run it and should."),
    integer("Ready", "/status/numberReady", "Nodes on which it is ready."),
    integer("Up-to-date", "/status/updatedNumberScheduled", "Nodes that run the newest template."),
    integer("Available", "/status/numberAvailable", "Nodes on which it is available."),
    computed(
        "Node Selector",
        |object| json!(format_labels(object.pointer("/spec/template/spec/nodeSelector"))),
        "Labels of the nodes that should run the pod.",
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// `apps/v1 StatefulSet`.
pub const STATEFUL_SETS: &[TableColumn] =
    &[NAME, computed("Ready", ready_of_wanted, "Ready pods of wanted pods."), AGE, CONTAINERS, IMAGES];

/// `apps/v1 Deployment`.
pub const DEPLOYMENTS: &[TableColumn] = &[
    NAME,
    computed("Ready", ready_of_wanted, "Ready pods of wanted pods."),
    integer("Up-to-date", "/status/updatedReplicas", "Pods of the newest template.").typed("string"),
    integer("Available", "/status/availableReplicas", "Pods that are available.").typed("string"),
    AGE,
    CONTAINERS,
    IMAGES,
    computed("Selector", deployment_selector, "Label query over the pods that count.").wide(),
];

/// `apps/v1 ControllerRevision`.
pub const CONTROLLER_REVISIONS: &[TableColumn] = &[
    NAME,
    computed("Controller", controller_of, "Controller of the object."),
    integer("Revision", "/revision", "Number of the revision.").typed("string"),
    AGE,
];

/// `batch/v1 Job`.
pub const JOBS: &[TableColumn] = &[
    NAME,
    computed("Status", job_status, "Status of the job."),
    computed("Completions", job_completions, "Succeeded pods of wanted completions."),
    timed("Duration", job_duration, "Time taken until completion, or until now."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// `batch/v1 CronJob`.
pub const CRON_JOBS: &[TableColumn] = &[
    NAME,
    text("Schedule", "/spec/schedule", "Schedule in cron's notation."),
    computed("Timezone", |object| json!(or_none(tree::text(object, "/spec/timeZone"))), "Time zone of the schedule."),
    computed("Suspend", cron_job_suspend, "Whether further runs are suspended.").typed("boolean"),
    count("Active", "/status/active", "Running jobs."),
    timed("Last Schedule", cron_job_last_schedule, "Time since the last run was scheduled."),
    AGE,
    computed(
        "Containers",
        |object| json!(container_names(object, "/spec/jobTemplate/spec/template/spec/containers")),
        "Names of the template's containers.",
    )
    .wide(),
    computed(
        "Images",
        |object| json!(container_images(object, "/spec/jobTemplate/spec/template/spec/containers")),
        "Images of the template's containers.",
    )
    .wide(),
    computed(
        "Selector",
        |object| json!(format_selector(object.pointer("/spec/jobTemplate/spec/selector"))),
        "Label query over the pods that count.",
    )
    .wide(),
];

/// `policy/v1 PodDisruptionBudget`.
pub const POD_DISRUPTION_BUDGETS: &[TableColumn] = &[
    NAME,
    computed(
        "Min Available",
        |object| json!(scalar(object.pointer("/spec/minAvailable"), "N/A")),
        "Least pods that must stay available.",
    ),
    computed(
        "Max Unavailable",
        |object| json!(scalar(object.pointer("/spec/maxUnavailable"), "N/A")),
        "Most pods that may be unavailable.",
    ),
    integer("Allowed Disruptions", "/status/disruptionsAllowed", "Pods that may be disrupted now."),
    AGE,
];

/// `autoscaling/v2 HorizontalPodAutoscaler`; v1 prints the same through its conversion.
pub const HORIZONTAL_POD_AUTOSCALERS: &[TableColumn] = &[
    NAME,
    computed("Reference", autoscaler_reference, "What is scaled."),
    computed("Targets", autoscaler_targets, "Current and wanted metrics."),
    computed(
        "MinPods",
        |object| json!(scalar(object.pointer("/spec/minReplicas"), "<unset>")),
        "Fewest pods to scale to.",
    ),
    integer("MaxPods", "/spec/maxReplicas", "Most pods to scale to.").typed("string"),
    integer("Replicas", "/status/currentReplicas", "Pods that exist.").typed("string"),
    AGE,
];

/// `autoscaling/v1 HorizontalPodAutoscaler`: its cells are those of the v2 form.
pub const HORIZONTAL_POD_AUTOSCALERS_V1: &[TableColumn] = &[
    NAME,
    computed("Reference", autoscaler_reference, "What is scaled."),
    computed(
        "Targets",
        |object| autoscaler_targets(&crate::kinds::autoscaling::to_v2(object.clone())),
        "Current and wanted metrics.",
    ),
    computed(
        "MinPods",
        |object| json!(scalar(object.pointer("/spec/minReplicas"), "<unset>")),
        "Fewest pods to scale to.",
    ),
    integer("MaxPods", "/spec/maxReplicas", "Most pods to scale to.").typed("string"),
    integer("Replicas", "/status/currentReplicas", "Pods that exist.").typed("string"),
    AGE,
];

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

fn ready_of_wanted(object: &Value) -> Value {
    let ready = tree::integer_or_zero(object, "/status/readyReplicas");
    json!(format!("{ready}/{}", tree::integer_or_zero(object, "/spec/replicas")))
}

/// A deployment prints an empty selector as "", the others as `<none>`.
fn deployment_selector(object: &Value) -> Value {
    let selector = format_selector(object.pointer("/spec/selector"));
    json!(if selector == "<none>" { String::new() } else { selector })
}

fn controller_of(object: &Value) -> Value {
    let owners = tree::items(object, "/metadata/ownerReferences");
    let Some(owner) = owners.iter().find(|owner| tree::truth(owner, "/controller")) else { return json!("<none>") };
    let kind = tree::text(owner, "/kind").to_lowercase();
    let group = tree::text(owner, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    let dot = if group.is_empty() { "" } else { "." };
    json!(format!("{kind}{dot}{group}/{}", tree::text(owner, "/name")))
}

fn job_status(object: &Value) -> Value {
    let holds = |condition| condition_is_true(object, condition);
    json!(if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if tree::has(object, "/metadata/deletionTimestamp") {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    })
}

fn job_completions(object: &Value) -> Value {
    let succeeded = tree::integer_or_zero(object, "/status/succeeded");
    let parallelism = tree::integer_or_zero(object, "/spec/parallelism");
    json!(match tree::integer(object, "/spec/completions") {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    })
}

fn job_duration(object: &Value, now: jiff::Timestamp) -> Value {
    let Some(start) = time::parse(tree::text(object, "/status/startTime")) else { return json!("") };
    let end = time::parse(tree::text(object, "/status/completionTime")).unwrap_or(now);
    json!(time::human_duration(time::seconds_between(start, end)))
}

fn cron_job_suspend(object: &Value) -> Value {
    json!(match object.pointer("/spec/suspend").and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    })
}

fn cron_job_last_schedule(object: &Value, now: jiff::Timestamp) -> Value {
    match tree::text(object, "/status/lastScheduleTime") {
        "" => json!("<none>"),
        time => json!(crate::table::age(time, now)),
    }
}

fn autoscaler_reference(object: &Value) -> Value {
    let (kind, name) =
        (tree::text(object, "/spec/scaleTargetRef/kind"), tree::text(object, "/spec/scaleTargetRef/name"));
    json!(format!("{kind}/{name}"))
}

/// At most this many metrics are spelled out.
const METRICS_SHOWN_MAX: usize = 2;

fn autoscaler_targets(object: &Value) -> Value {
    let specs = tree::items(object, "/spec/metrics");
    let statuses = tree::items(object, "/status/currentMetrics");
    if specs.is_empty() {
        return json!("<none>");
    }
    let shown: Vec<String> = specs
        .iter()
        .enumerate()
        .take(METRICS_SHOWN_MAX)
        .map(|(index, spec)| metric_target(spec, statuses.get(index).unwrap_or(&Value::Null)))
        .collect();
    let shown = shown.join(", ");
    json!(match specs.len().saturating_sub(METRICS_SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    })
}

fn metric_target(spec: &Value, status: &Value) -> String {
    let (field, averages, percents) = match tree::text(spec, "/type") {
        "External" => ("external", true, false),
        "Object" => ("object", true, false),
        "Pods" => ("pods", false, false),
        "Resource" => ("resource", false, true),
        "ContainerResource" => ("containerResource", false, true),
        _ => return "<unknown type>".into(),
    };
    let target = |name: &str| spec.pointer(&format!("/{field}/target/{name}"));
    let current = |name: &str| status.pointer(&format!("/{field}/current/{name}"));
    let prefix = if percents { format!("{}: ", tree::text(spec, &format!("/{field}/name"))) } else { String::new() };
    if target("averageValue").is_some() || field == "pods" {
        let suffix = if averages { " (avg)" } else { "" };
        let current = scalar(current("averageValue"), "<unknown>");
        return format!("{prefix}{current}/{}{suffix}", scalar(target("averageValue"), "<nil>"));
    }
    if percents {
        let percent = |value: Option<&Value>, absent: &str| match value.and_then(Value::as_i64) {
            Some(percent) => format!("{percent}%"),
            None => absent.to_string(),
        };
        let current = percent(current("averageUtilization"), "<unknown>");
        return format!("{prefix}{current}/{}", percent(target("averageUtilization"), "<auto>"));
    }
    format!("{}/{}", scalar(current("value"), "<unknown>"), scalar(target("value"), "<nil>"))
}
