//! Checks that several kinds share, in the reference's words (kubernetes `pkg/apis/core/validation`). Modest: what people
//! get wrong most; a value that only a controller would refuse passes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use triune_api::{
    Map, Value,
    field::FieldError,
    quantity::Quantity,
    selector::LabelSelector,
    validation::{dns_label, dns_subdomain},
};

use crate::tree;

/// The error of a change to a field that may not change.
pub fn immutable(old: &Value, new: &Value, pointer: &str, field: &str, errors: &mut Vec<FieldError>) {
    let (before, after) = (old.pointer(pointer), new.pointer(pointer));
    if before.unwrap_or(&Value::Null) != after.unwrap_or(&Value::Null) {
        errors.push(FieldError::invalid(field, after.unwrap_or(&Value::Null), "field is immutable"));
    }
}

/// A number that may not be negative.
pub fn not_negative(object: &Value, pointer: &str, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(number) = tree::integer(object, pointer)
        && number < 0
    {
        errors.push(FieldError::invalid(field, &json!(number), "must be greater than or equal to 0"));
    }
}

/// A text that must be one of a few; unset passes.
pub fn one_of(object: &Value, pointer: &str, field: &str, supported: &[&str], errors: &mut Vec<FieldError>) {
    let text = tree::text(object, pointer);
    if !text.is_empty() && !supported.contains(&text) {
        errors.push(FieldError::not_supported(field, &json!(text), supported));
    }
}

/// A text that must be given.
pub fn required(object: &Value, pointer: &str, field: &str, errors: &mut Vec<FieldError>) {
    if tree::text(object, pointer).is_empty() {
        errors.push(FieldError::required(field, ""));
    }
}

/// A name that must be given and be an RFC 1123 label.
pub fn label_name(object: &Value, pointer: &str, field: &str, errors: &mut Vec<FieldError>) {
    match tree::text(object, pointer) {
        "" => errors.push(FieldError::required(field, "")),
        name => invalid_name(name, field, dns_label(name), errors),
    }
}

/// A name that must be given and be an RFC 1123 subdomain.
pub fn subdomain_name(object: &Value, pointer: &str, field: &str, errors: &mut Vec<FieldError>) {
    match tree::text(object, pointer) {
        "" => errors.push(FieldError::required(field, "")),
        name => invalid_name(name, field, dns_subdomain(name), errors),
    }
}

fn invalid_name(name: &str, field: &str, messages: Vec<String>, errors: &mut Vec<FieldError>) {
    errors.extend(messages.into_iter().map(|message| FieldError::invalid(field, &json!(name), message)));
}

/// Labels that an object without any takes from its template.
pub fn labels_from_template(object: &mut Value, labels: Map) {
    let has_labels = tree::map(object, "/metadata/labels").is_some_and(|labels| !labels.is_empty());
    if let Some(metadata) = tree::child(object, "metadata")
        && !has_labels
    {
        tree::set(metadata, "labels", labels);
    }
}

/// Checks `spec.selector`, a LabelSelector that must be given and not be empty. None if it cannot be read.
pub fn selector(object: &Value, kind: &str, errors: &mut Vec<FieldError>) -> Option<LabelSelector> {
    let value = object.pointer("/spec/selector").unwrap_or(&Value::Null);
    if value.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
        return None;
    }
    match LabelSelector::from_object(Some(value)) {
        Err(_) => {
            errors.push(FieldError::invalid("spec.selector", value, "invalid label selector"));
            None
        }
        Ok(selector) => {
            if selector.is_empty() {
                let message = format!("empty selector is invalid for {kind}");
                errors.push(FieldError::invalid("spec.selector", value, message));
            }
            Some(selector)
        }
    }
}

/// Checks the selector of a job, which may be empty only where the server makes it.
pub fn selector_of_job(job: &Value, errors: &mut Vec<FieldError>) {
    match LabelSelector::from_object(job.pointer("/spec/selector")) {
        Err(_) => {
            let value = job.pointer("/spec/selector").unwrap_or(&Value::Null);
            errors.push(FieldError::invalid("spec.selector", value, "invalid label selector"));
        }
        Ok(selector) if tree::has(job, "/spec/selector") => template_matches(job, &selector, errors),
        Ok(_) => errors.push(FieldError::required("spec.selector", "")),
    }
}

/// The labels of `spec.template` must be selected by the object's own selector.
pub fn template_matches(object: &Value, selector: &LabelSelector, errors: &mut Vec<FieldError>) {
    let labels: BTreeMap<String, String> = tree::map(object, "/spec/template/metadata/labels")
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_string()))
        .collect();
    if !selector.matches(&labels) {
        let message = "`selector` does not match template `labels`";
        let shown = object.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
        errors.push(FieldError::invalid("spec.template.metadata.labels", &shown, message));
    }
}

/// Checks a pod spec.
pub fn pod_spec(object: &Value, pointer: &str, path: &str, errors: &mut Vec<FieldError>) {
    let spec = object.pointer(pointer).unwrap_or(&Value::Null);
    let volumes = volumes(spec, path, errors);
    let mut names = BTreeSet::new();
    let containers = tree::items(spec, "/containers");
    if containers.is_empty() {
        errors.push(FieldError::required(&format!("{path}.containers"), ""));
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in tree::items(spec, &format!("/{list}")).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            self::container(container, &path, &volumes, errors);
            if !names.insert(tree::text(container, "/name")) {
                errors.push(FieldError::duplicate(&format!("{path}.name"), &container["name"]));
            }
        }
    }
    let policies = ["Always", "OnFailure", "Never"];
    one_of(spec, "/restartPolicy", &format!("{path}.restartPolicy"), &policies, errors);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(spec, "/dnsPolicy", &format!("{path}.dnsPolicy"), &policies, errors);
    not_negative(spec, "/terminationGracePeriodSeconds", &format!("{path}.terminationGracePeriodSeconds"), errors);
}

/// The names of the volumes that can be mounted.
fn volumes<'a>(spec: &'a Value, path: &str, errors: &mut Vec<FieldError>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, volume) in tree::items(spec, "/volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        let field = format!("{path}.name");
        label_name(volume, "/name", &field, errors);
        if !names.insert(tree::text(volume, "/name")) {
            errors.push(FieldError::duplicate(&field, &volume["name"]));
        }
        let sources =
            volume.as_object().into_iter().flatten().filter(|(key, value)| *key != "name" && !value.is_null());
        for (source, _) in sources.skip(1) {
            let message = "may not specify more than 1 volume type";
            errors.push(FieldError::forbidden(&format!("{path}.{source}"), message));
        }
    }
    names
}

fn container(container: &Value, path: &str, volumes: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    label_name(container, "/name", &format!("{path}.name"), errors);
    required(container, "/image", &format!("{path}.image"), errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    ports(container, path, errors);
    for (index, variable) in tree::items(container, "/env").iter().enumerate() {
        required(variable, "/name", &format!("{path}.env[{index}].name"), errors);
        if !tree::text(variable, "/value").is_empty() && tree::has(variable, "/valueFrom") {
            let message = "may not be specified when `value` is not empty";
            errors.push(FieldError::invalid(&format!("{path}.env[{index}].valueFrom"), &json!(""), message));
        }
    }
    let mut mount_points = BTreeSet::new();
    for (index, mount) in tree::items(container, "/volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let (name, point) = (tree::text(mount, "/name"), tree::text(mount, "/mountPath"));
        required(mount, "/name", &format!("{path}.name"), errors);
        if !volumes.contains(name) {
            errors.push(FieldError::not_found(&format!("{path}.name"), &json!(name)));
        }
        required(mount, "/mountPath", &format!("{path}.mountPath"), errors);
        if !mount_points.insert(point) {
            errors.push(FieldError::invalid(&format!("{path}.mountPath"), &json!(point), "must be unique"));
        }
    }
    one_of(container, "/imagePullPolicy", &format!("{path}.imagePullPolicy"), &policies, errors);
    resources(container, &format!("{path}.resources"), errors);
}

fn ports(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, port) in tree::items(container, "/ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        match tree::integer_or_zero(port, "/containerPort") {
            0 => errors.push(FieldError::required(&format!("{path}.containerPort"), "")),
            number => port_number(number, &format!("{path}.containerPort"), errors),
        }
        let host = tree::integer_or_zero(port, "/hostPort");
        if host != 0 {
            port_number(host, &format!("{path}.hostPort"), errors);
        }
        one_of(port, "/protocol", &format!("{path}.protocol"), &["SCTP", "TCP", "UDP"], errors);
    }
}

/// A port that must be between 1 and 65535.
pub fn port_number(number: i64, field: &str, errors: &mut Vec<FieldError>) {
    if !(1..=65535).contains(&number) {
        let message = "must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(field, &json!(number), message));
    }
}

/// An amount written as text or number.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

fn resources(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let limits = tree::map(container, "/resources/limits");
    for (name, request) in tree::map(container, "/resources/requests").into_iter().flatten() {
        let Some(limit) = limits.and_then(|limits| limits.get(name)) else { continue };
        let (Some(wanted), Some(most)) = (quantity(request), quantity(limit)) else { continue };
        if wanted > most {
            let shown = limit.as_str().map_or_else(|| limit.to_string(), String::from);
            let message = format!("must be less than or equal to {name} limit of {shown}");
            errors.push(FieldError::invalid(&format!("{path}.requests"), request, message));
        }
    }
}
