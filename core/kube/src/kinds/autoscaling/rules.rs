//! What is wrong with horizontal pod autoscalers.

use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_label, path_segment_name},
};

use crate::{
    kinds::{
        pod_spec::{
            integer_of, list_of, not_negative, optional_one_of, resources::container_resource_name, some_of, text_of,
        },
        validation,
    },
    tree,
};

const PERIOD_SECONDS_MAX: i64 = 1800;
const WINDOW_SECONDS_MAX: i64 = 3600;
const SPEC: Path<'static> = Path::new("spec");
const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
/// The types of metrics in the reference's order, with their fields.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

/// What a reference to another object may lack.
#[derive(Clone, Copy)]
struct Leniency {
    any_version: bool,
    no_group: bool,
}

/// Checks an autoscaler in its stored form, v2.
pub fn autoscaler(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (fewest, most) = (integer_of(spec, "minReplicas"), integer_of(spec, "maxReplicas").unwrap_or_default());
    if fewest.is_some_and(|fewest| most < fewest) {
        let message = "must be greater than or equal to `minReplicas`";
        errors.push(SPEC.field("maxReplicas").invalid(most, message));
    }
    let target = spec.get("scaleTargetRef").unwrap_or(&Value::Null);
    reference(target, target_leniency(target, old), &SPEC.field("scaleTargetRef"), errors);
    metrics(spec, old, errors);
    if let Some(behavior) = some_of(spec, "behavior") {
        let path = SPEC.field("behavior");
        for direction in ["scaleUp", "scaleDown"] {
            if let Some(rules) = some_of(behavior, direction) {
                scaling_rules(rules, &path.field(direction), errors);
            }
        }
    }
    // Rules that the reference declares, and tells after the others.
    if let Some(fewest) = fewest.filter(|fewest| *fewest < 0) {
        errors.push(SPEC.field("minReplicas").invalid(fewest, "must be greater than or equal to 0"));
    }
    if most == 0 {
        errors.push(SPEC.field("maxReplicas").required(""));
    } else if most < 0 {
        errors.push(SPEC.field("maxReplicas").invalid(most, "must be greater than or equal to 1"));
    }
}

/// A target that stays what it is may have any version; replication controllers are in no group.
fn target_leniency(target: &Value, old: Option<&Value>) -> Leniency {
    let before = old.and_then(|old| tree::some(old, "/spec/scaleTargetRef"));
    let same = before.is_some_and(|before| {
        ["apiVersion", "kind"].iter().all(|field| text_of(before, field) == text_of(target, field))
    });
    Leniency { any_version: same, no_group: text_of(target, "kind") == "ReplicationController" }
}

fn reference(reference: &Value, leniency: Leniency, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for field in ["kind", "name"] {
        match text_of(reference, field) {
            "" => errors.push(path.field(field).required("")),
            text => path.field(field).all_invalid(text, path_segment_name(text), errors),
        }
    }
    let version = text_of(reference, "apiVersion");
    if let Some(why) = version_error(version, leniency) {
        errors.push(path.field("apiVersion").invalid(version, why));
    }
}

fn version_error(version: &str, leniency: Leniency) -> Option<String> {
    if leniency.any_version {
        return None;
    }
    if version.matches('/').count() > 1 {
        return Some(format!("unexpected GroupVersion string: {version}"));
    }
    let group = version.split_once('/').map_or("", |(group, _)| group);
    (!leniency.no_group && group.is_empty()).then(|| "apiVersion must specify API group".into())
}

fn metrics(spec: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut leniency = Leniency { any_version: false, no_group: true };
    let before = old.map_or(&[][..], |old| tree::items(old, "/spec/metrics"));
    leniency.any_version = before
        .iter()
        .filter_map(|metric| tree::some(metric, "/object/describedObject"))
        .any(|object| version_error(text_of(object, "apiVersion"), leniency).is_some());
    let list = SPEC.field("metrics");
    let metrics = list_of(spec, "metrics");
    for (index, metric) in metrics.iter().enumerate() {
        self::metric(metric, leniency, &list.index(index), errors);
    }
    let counts_without_pods = metrics.iter().any(|metric| matches!(text_of(metric, "type"), "Object" | "External"));
    if integer_of(spec, "minReplicas") == Some(0) && !counts_without_pods {
        let message = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(list.forbidden(message));
    }
}

fn metric(metric: &Value, leniency: Leniency, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let kind = text_of(metric, "type");
    let type_path = path.field("type");
    if kind.is_empty() {
        errors.push(type_path.required("must specify a metric source type"));
    }
    let known = TYPES.contains(&kind);
    if !known {
        errors.push(type_path.not_supported(kind, &TYPES));
    }
    let given: Vec<&str> =
        SOURCES.iter().map(|(_, field)| *field).filter(|field| some_of(metric, field).is_some()).collect();
    if let Some((field, source)) = given.first().and_then(|field| Some((*field, some_of(metric, field)?))) {
        metric_source(source, field, leniency, &path.field(field), errors);
    }
    let expected = SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, field)| *field);
    match expected {
        Some(field) if !given.contains(&field) => {
            errors.push(path.field(field).required("must populate information for the given metric source"));
        }
        Some(_) => {}
        None => errors.push(type_path.not_supported(kind, &TYPES)),
    }
    if given.len() != 1 {
        for field in given.iter().filter(|field| Some(**field) != expected) {
            errors.push(path.field(field).forbidden("must populate the given metric source only"));
        }
    }
}

fn metric_source(source: &Value, field: &str, leniency: Leniency, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    static NULL: Value = Value::Null;
    let of = |key: &str| source.get(key).unwrap_or(&NULL);
    match field {
        "object" => reference(of("describedObject"), leniency, &path.field("describedObject"), errors),
        "resource" if text_of(source, "name").is_empty() => {
            errors.push(path.field("name").required("must specify a resource name"));
        }
        "containerResource" => {
            match text_of(source, "name") {
                "" => errors.push(path.field("name").required("must specify a resource name")),
                name => container_resource_name(name, &path.field("name"), errors),
            }
            match text_of(source, "container") {
                "" => errors.push(path.field("container").required("must specify a container")),
                name => path.field("container").all_invalid(name, dns_label(name), errors),
            }
        }
        _ => {}
    }
    if matches!(field, "object" | "external" | "pods") {
        match text_of(of("metric"), "name") {
            "" => errors.push(path.field("metric.name").required("must specify a metric name")),
            name => path.field("metric.name").all_invalid(name, path_segment_name(name), errors),
        }
    }
    let (target, path) = (of("target"), path.field("target"));
    self::target(target, &path, errors);
    let set = |field: &str| some_of(target, field).is_some();
    let (value, average) = (set("value"), set("averageValue"));
    match field {
        "object" if !value && !average => {
            errors.push(path.field("averageValue").required("must set either a target value or averageValue"));
        }
        "external" if !value && !average => {
            let message = "must set either a target value for metric or a per-pod target";
            errors.push(path.field("averageValue").required(message));
        }
        "external" if value && average => {
            let message = "may not set both a target value for metric and a per-pod target";
            errors.push(path.field("value").forbidden(message));
        }
        "pods" if !average => {
            errors.push(path.field("averageValue").required("must specify a positive target averageValue"));
        }
        "resource" | "containerResource" => {
            let utilization = set("averageUtilization");
            if !utilization && !average {
                let message = "must set either a target raw value or a target utilization";
                errors.push(path.field("averageUtilization").required(message));
            }
            if utilization && average {
                let message = "may not set both a target raw value and a target utilization";
                errors.push(path.field("averageValue").forbidden(message));
            }
        }
        _ => {}
    }
}

fn target(target: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let kind = text_of(target, "type");
    if kind.is_empty() {
        errors.push(path.field("type").required("must specify a metric target type"));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        errors.push(path.field("type").invalid(kind, "must be either Utilization, Value, or AverageValue"));
    }
    for field in ["value", "averageValue"] {
        if let Some(amount) = target.get(field).and_then(validation::quantity)
            && amount.sign() <= 0
        {
            errors.push(path.field(field).invalid(amount.canonical(), "must be positive"));
        }
    }
    if let Some(percent) = integer_of(target, "averageUtilization").filter(|percent| *percent < 1) {
        errors.push(path.field("averageUtilization").invalid(percent, "must be greater than 0"));
    }
}

fn scaling_rules(rules: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(seconds) = integer_of(rules, "stabilizationWindowSeconds") {
        let path = path.field("stabilizationWindowSeconds");
        if seconds < 0 {
            errors.push(path.invalid(seconds, "must be greater than or equal to zero"));
        }
        if seconds > WINDOW_SECONDS_MAX {
            errors.push(path.invalid(seconds, format!("must be less than or equal to {WINDOW_SECONDS_MAX}")));
        }
    }
    optional_one_of(rules, "selectPolicy", &["Disabled", "Max", "Min"], path, errors);
    let list = path.field("policies");
    let policies = list_of(rules, "policies");
    if policies.is_empty() {
        errors.push(list.required("must specify at least one Policy"));
    }
    for (index, policy) in policies.iter().enumerate() {
        let path = list.index(index);
        validation::not_in(policy, "type", &["Percent", "Pods"], &path, errors);
        for field in ["value", "periodSeconds"] {
            let number = integer_of(policy, field).unwrap_or_default();
            if number <= 0 {
                errors.push(path.field(field).invalid(number, "must be greater than zero"));
            }
        }
        let seconds = integer_of(policy, "periodSeconds").unwrap_or_default();
        if seconds > PERIOD_SECONDS_MAX {
            let message = format!("must be less than or equal to {PERIOD_SECONDS_MAX}");
            errors.push(path.field("periodSeconds").invalid(seconds, message));
        }
    }
    if let Some(tolerance) = rules.get("tolerance").and_then(validation::quantity)
        && tolerance.sign() < 0
    {
        let message = "must be greater than or equal to 0";
        errors.push(path.field("tolerance").invalid(tolerance.canonical(), message));
    }
}

/// Checks an update of the status.
pub fn status(_: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let status = new.get("status").unwrap_or(&Value::Null);
    let path = Path::new("status");
    let list = path.field("conditions");
    for (index, condition) in list_of(status, "conditions").iter().enumerate() {
        not_negative(condition, "observedGeneration", &list.index(index), errors);
    }
    for field in ["currentReplicas", "desiredReplicas"] {
        not_negative(status, field, &path, errors);
    }
}
