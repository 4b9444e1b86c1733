//! Horizontal pod autoscalers: stored as v2; v1 knows one CPU target and keeps the rest in annotations (kubernetes
//! `pkg/apis/autoscaling/v1/conversion.go`). What goes from v2 to v1 and back is what it was. What
//! is wrong with one is in [`rules`].

pub mod rules;

use serde_json::json;
use triune_api::{Map, Value};

use super::validation;
use crate::{
    kind::Kind,
    tables::workloads as tables,
    tree::{self, child, fill, remove, set},
};

/// `autoscaling/v2 HorizontalPodAutoscaler`.
pub static V2: Kind = Kind {
    defaults: defaults_v2,
    validate: validation::qualified_finalizers,
    validate_create: |object, errors| rules::autoscaler(object, None, errors),
    validate_update: |old, new, errors| rules::autoscaler(new, Some(old), errors),
    validate_status: rules::status,
    closed_sets: true,
    table: tables::HORIZONTAL_POD_AUTOSCALERS,
    ..Kind::GENERIC
};

/// `autoscaling/v1 HorizontalPodAutoscaler`.
pub static V1: Kind = Kind {
    defaults: |object| {
        if let Some(spec) = child(object, "spec") {
            fill(spec, "minReplicas", 1);
        }
    },
    // The rules are those of the form that is stored.
    validate: validation::qualified_finalizers,
    validate_create: |object, errors| rules::autoscaler(&to_v2(object.clone()), None, errors),
    validate_update: |old, new, errors| {
        rules::autoscaler(&to_v2(new.clone()), Some(&to_v2(old.clone())), errors);
    },
    validate_status: |old, new, errors| rules::status(&to_v2(old.clone()), &to_v2(new.clone()), errors),
    closed_sets: true,
    table: tables::HORIZONTAL_POD_AUTOSCALERS_V1,
    to_storage: Some(to_v2),
    from_storage: Some(to_v1),
    ..Kind::GENERIC
};

/// Of CPU, in percent of what is requested.
const UTILIZATION_DEFAULT: i64 = 80;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// Annotations that exist in v1 only.
const ROUND_TRIP: [&str; 6] = [
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

fn cpu_target(percent: i64) -> Value {
    json!({"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent},
    }})
}

fn defaults_v2(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "minReplicas", 1);
    if tree::items(spec, "/metrics").is_empty() {
        set(spec, "metrics", json!([cpu_target(UTILIZATION_DEFAULT)]));
    }
    if let Some(behavior) = tree::object_mut(spec, "/behavior") {
        let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        if let Some(up) = child(behavior, "scaleUp") {
            fill(up, "stabilizationWindowSeconds", 0);
            fill(up, "selectPolicy", "Max");
            fill(up, "policies", json!([pods, percent]));
        }
        if let Some(down) = child(behavior, "scaleDown") {
            fill(down, "selectPolicy", "Max");
            fill(down, "policies", json!([percent]));
        }
    }
}

/// Which way a metric goes, and whether it is wanted or measured.
#[derive(Clone, Copy)]
enum Side {
    Spec,
    Status,
}

/// The fields of a kind of metric: name in v1, pointer in v2.
fn metric_fields(source: &str, side: Side) -> &'static [(&'static str, &'static str)] {
    match (source, side) {
        ("resource" | "containerResource", Side::Spec) => &[
            ("name", "/name"),
            ("container", "/container"),
            ("targetAverageUtilization", "/target/averageUtilization"),
            ("targetAverageValue", "/target/averageValue"),
        ],
        ("resource" | "containerResource", Side::Status) => &[
            ("name", "/name"),
            ("container", "/container"),
            ("currentAverageUtilization", "/current/averageUtilization"),
            ("currentAverageValue", "/current/averageValue"),
        ],
        ("pods", Side::Spec) => &[
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("targetAverageValue", "/target/averageValue"),
        ],
        ("pods", Side::Status) => &[
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("currentAverageValue", "/current/averageValue"),
        ],
        ("object", Side::Spec) => &[
            ("target", "/describedObject"),
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("targetValue", "/target/value"),
            ("averageValue", "/target/averageValue"),
        ],
        ("object", Side::Status) => &[
            ("target", "/describedObject"),
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("currentValue", "/current/value"),
            ("averageValue", "/current/averageValue"),
        ],
        ("external", Side::Spec) => &[
            ("metricName", "/metric/name"),
            ("metricSelector", "/metric/selector"),
            ("targetValue", "/target/value"),
            ("targetAverageValue", "/target/averageValue"),
        ],
        ("external", Side::Status) => &[
            ("metricName", "/metric/name"),
            ("metricSelector", "/metric/selector"),
            ("currentValue", "/current/value"),
            ("currentAverageValue", "/current/averageValue"),
        ],
        _ => &[],
    }
}

const SOURCES: [&str; 5] = ["resource", "containerResource", "pods", "object", "external"];

fn metric_to_v1(metric: &Value, side: Side) -> Value {
    let mut result = json!({"type": metric["type"]});
    for source in SOURCES {
        let Some(from) = metric.get(source) else { continue };
        let mut to = Map::new();
        for (name, pointer) in metric_fields(source, side) {
            if let Some(value) = from.pointer(pointer) {
                to.insert((*name).into(), value.clone());
            }
        }
        if let ("object", Side::Spec) = (source, side) {
            to.entry("targetValue").or_insert(json!("0"));
        }
        set(&mut result, source, to);
    }
    result
}

fn metric_to_v2(metric: &Value, side: Side) -> Value {
    let mut result = json!({"type": metric["type"]});
    for source in SOURCES {
        let Some(from) = metric.get(source) else { continue };
        let mut to = json!({});
        for (name, pointer) in metric_fields(source, side) {
            let Some(value) = from.get(name) else { continue };
            // The v1 form writes a zero where there was nothing.
            if source == "object" && *name == "targetValue" && from.get("averageValue").is_some() && value == "0" {
                continue;
            }
            put(&mut to, pointer, value.clone());
        }
        if let Side::Spec = side {
            let kind = if to.pointer("/target/averageUtilization").is_some() {
                "Utilization"
            } else if to.pointer("/target/value").is_some() {
                "Value"
            } else {
                "AverageValue"
            };
            put(&mut to, "/target/type", json!(kind));
        }
        set(&mut result, source, to);
    }
    result
}

/// Sets the value at a pointer of one or two segments, making the object on the way.
fn put(tree: &mut Value, pointer: &str, value: Value) {
    match pointer.trim_start_matches('/').split_once('/') {
        None => set(tree, &pointer[1..], value),
        Some((first, rest)) => {
            if let Some(child) = child(tree, first) {
                put(child, &format!("/{rest}"), value);
            }
        }
    }
}

fn is_cpu_utilization(metric: &Value) -> bool {
    tree::text(metric, "/type") == "Resource"
        && tree::text(metric, "/resource/name") == "cpu"
        && tree::has(metric, "/resource/target/averageUtilization")
}

/// From v2 to v1.
pub fn to_v1(mut object: Value) -> Value {
    drop_round_trip_annotations(&mut object);
    let metrics = tree::items(&object, "/spec/metrics").to_vec();
    let current = tree::items(&object, "/status/currentMetrics").to_vec();
    let conditions = tree::items(&object, "/status/conditions").to_vec();
    let behavior = object.pointer("/spec/behavior").filter(|behavior| !behavior.is_null()).cloned();
    let cpu = metrics.iter().find(|metric| is_cpu_utilization(metric));
    let cpu = cpu.and_then(|metric| metric.pointer("/resource/target/averageUtilization").cloned());
    if let Some(spec) = tree::object_mut(&mut object, "/spec") {
        remove(spec, "metrics");
        remove(spec, "behavior");
        if let Some(percent) = cpu {
            set(spec, "targetCPUUtilizationPercentage", percent);
        }
    }
    if let Some(status) = tree::object_mut(&mut object, "/status") {
        remove(status, "currentMetrics");
        remove(status, "conditions");
        // The v1 form writes zeros that the v2 form leaves out, and the other way round.
        fill(status, "currentReplicas", 0);
        let is_cpu = |metric: &&Value| tree::text(metric, "/resource/name") == "cpu";
        let measured = current.iter().rev().filter(is_cpu);
        if let Some(percent) =
            measured.filter_map(|metric| metric.pointer("/resource/current/averageUtilization")).next()
        {
            set(status, "currentCPUUtilizationPercentage", percent.clone());
        }
    }
    let others: Vec<Value> = metrics
        .iter()
        .filter(|metric| !is_cpu_utilization(metric))
        .map(|metric| metric_to_v1(metric, Side::Spec))
        .collect();
    let measured: Vec<Value> = current.iter().map(|metric| metric_to_v1(metric, Side::Status)).collect();
    for (name, list) in [(METRICS, others), (CURRENT_METRICS, measured), (CONDITIONS, conditions)] {
        if !list.is_empty() {
            annotate(&mut object, name, &Value::Array(list));
        }
    }
    if let Some(behavior) = behavior {
        annotate(&mut object, BEHAVIOR, &with_go_names(&behavior));
    }
    object
}

/// From v1 to v2.
pub fn to_v2(mut object: Value) -> Value {
    let list = |object: &Value, name: &str| match annotation(object, name) {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    };
    let others = list(&object, METRICS);
    let current = list(&object, CURRENT_METRICS);
    let conditions = list(&object, CONDITIONS);
    let behavior = annotation(&object, BEHAVIOR).filter(Value::is_object).map(|value| with_json_names(&value));
    if let Some(spec) = child(&mut object, "spec") {
        let cpu = tree::integer(spec, "/targetCPUUtilizationPercentage");
        remove(spec, "targetCPUUtilizationPercentage");
        let mut metrics: Vec<Value> =
            others.into_iter().flatten().map(|metric| metric_to_v2(&metric, Side::Spec)).collect();
        metrics.extend(cpu.map(cpu_target));
        if metrics.is_empty() {
            metrics.push(cpu_target(UTILIZATION_DEFAULT));
        }
        set(spec, "metrics", metrics);
        if let Some(behavior) = behavior {
            set(spec, "behavior", behavior);
        }
    }
    if let Some(status) = tree::object_mut(&mut object, "/status") {
        let cpu = tree::integer(status, "/currentCPUUtilizationPercentage");
        remove(status, "currentCPUUtilizationPercentage");
        if let Some(current) = current {
            let current: Vec<Value> = current.iter().map(|metric| metric_to_v2(metric, Side::Status)).collect();
            set(status, "currentMetrics", current);
        } else if let Some(percent) = cpu {
            let measured = json!({"name": "cpu", "current": {"averageUtilization": percent}});
            set(status, "currentMetrics", json!([{"type": "Resource", "resource": measured}]));
        } else {
            set(status, "currentMetrics", Value::Null);
        }
        if tree::integer(status, "/currentReplicas") == Some(0) {
            remove(status, "currentReplicas");
        }
        if let Some(conditions) = conditions {
            set(status, "conditions", conditions);
        }
    }
    drop_round_trip_annotations(&mut object);
    object
}

fn annotation(object: &Value, name: &str) -> Option<Value> {
    let text = tree::map(object, "/metadata/annotations")?.get(name)?.as_str()?;
    serde_json::from_str(text).ok()
}

fn annotate(object: &mut Value, name: &str, value: &Value) {
    if let Some(metadata) = child(object, "metadata")
        && let Some(annotations) = child(metadata, "annotations")
    {
        set(annotations, name, value.to_string());
    }
}

fn drop_round_trip_annotations(object: &mut Value) {
    let Some(metadata) = tree::object_mut(object, "/metadata") else { return };
    let Some(annotations) = tree::object_mut(metadata, "/annotations") else { return };
    for name in ROUND_TRIP {
        remove(annotations, name);
    }
    if annotations.as_object().is_some_and(Map::is_empty) {
        remove(metadata, "annotations");
    }
}

/// The behaviour is kept under the names of Go's fields, which begin with a capital.
fn with_go_names(value: &Value) -> Value {
    renamed(value, |first| first.to_ascii_uppercase())
}

fn with_json_names(value: &Value) -> Value {
    renamed(value, |first| first.to_ascii_lowercase())
}

fn renamed(value: &Value, first: fn(char) -> char) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| {
                let mut letters = key.chars();
                let name: String = letters.next().map(first).into_iter().chain(letters).collect();
                (name, renamed(value, first))
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| renamed(item, first)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_both_ways(v2: Value, v1: Value) {
        assert_eq!(to_v1(v2.clone()), v1, "to v1");
        assert_eq!(to_v2(v1), v2, "to v2");
    }

    #[test]
    fn one_cpu_target_is_a_field() {
        check_both_ways(
            json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "metrics": [cpu_target(50)]}}),
            json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}}),
        );
    }

    #[test]
    fn other_metrics_are_annotations() {
        let pods = json!({"type": "Pods", "pods": {
            "metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"},
        }});
        let behavior = json!({"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}});
        check_both_ways(
            json!({"metadata": {}, "spec": {"metrics": [pods, cpu_target(70)], "behavior": behavior}}),
            json!({
                "metadata": {"annotations": {
                    METRICS: r#"[{"pods":{"metricName":"rps","targetAverageValue":"10"},"type":"Pods"}]"#,
                    BEHAVIOR: r#"{"ScaleDown":{"Policies":[{"PeriodSeconds":60,"Type":"Pods","Value":1}]}}"#,
                }},
                "spec": {"targetCPUUtilizationPercentage": 70},
            }),
        );
    }

    #[test]
    fn statuses_are_kept() {
        let measured = json!({"type": "Resource", "resource": {
            "name": "cpu", "current": {"averageUtilization": 5, "averageValue": "50m"},
        }});
        let object = json!({
            "metadata": {}, "spec": {"metrics": [cpu_target(1)]},
            "status": {"currentReplicas": 1, "currentMetrics": [measured], "conditions": [{"type": "AbleToScale"}]},
        });
        let v1 = to_v1(object.clone());
        assert_eq!(v1["status"], json!({"currentReplicas": 1, "currentCPUUtilizationPercentage": 5}));
        assert_eq!(to_v2(v1), object);
    }

    #[test]
    fn nothing_wanted_means_eighty_percent() {
        let v2 = to_v2(json!({"spec": {"maxReplicas": 1}}));
        assert_eq!(v2["spec"]["metrics"], json!([cpu_target(80)]));
    }
}
