//! Containers, init containers with and without a restart policy, ephemeral containers.

use std::collections::BTreeSet;

use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_label, formats},
};

use super::{
    Whole, environment, handlers, integer_of, list_of, mounts, one_of, required, resources, security, some_of, text_of,
};
use crate::kinds::validation;

const RESTART_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
/// What ephemeral containers may not have, in the order of the type's fields.
const NOT_EPHEMERAL: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// Checks `containers`.
pub fn containers(spec: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("containers");
    let containers = list_of(spec, "containers");
    if containers.is_empty() {
        errors.push(list.required(""));
        return;
    }
    let mut names = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = list.index(index);
        common(container, whole, &path, errors);
        let name = text_of(container, "name");
        if !names.insert(name) {
            errors.push(path.field("name").duplicate(name));
        }
        life(container, whole, &path, errors);
        restart_policy(container, false, &path, errors);
    }
    host_ports(containers, &list, errors);
}

/// Checks `initContainers`: what runs to its end before the others, and sidecars, which go on.
pub fn init_containers(spec: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let containers = list_of(spec, "initContainers");
    if containers.is_empty() {
        return;
    }
    let list = path.field("initContainers");
    let mut names: BTreeSet<&str> = list_of(spec, "containers").iter().map(|other| text_of(other, "name")).collect();
    for (index, container) in containers.iter().enumerate() {
        let path = list.index(index);
        common(container, whole, &path, errors);
        restart_policy(container, true, &path, errors);
        let sidecar = text_of(container, "restartPolicy") == "Always";
        let name = text_of(container, "name");
        if names.contains(name) {
            errors.push(path.field("name").duplicate(name));
        } else if !name.is_empty() {
            names.insert(name);
        }
        host_ports(std::slice::from_ref(container), &list, errors);
        if sidecar {
            life(container, whole, &path, errors);
            continue;
        }
        for field in ["lifecycle"].iter().chain(&PROBES) {
            if some_of(container, field).is_some() {
                let message = "may not be set for init containers without restartPolicy=Always";
                errors.push(path.field(field).forbidden(message));
            }
        }
        if !whole.tolerated.restart_of_init_containers {
            let policies = path.field("resizePolicy");
            for (index, policy) in list_of(container, "resizePolicy").iter().enumerate() {
                if text_of(policy, "restartPolicy") == "RestartContainer" {
                    let message = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                    errors.push(policies.index(index).field("restartPolicy").invalid("RestartContainer", message));
                }
            }
        }
    }
}

/// Checks `ephemeralContainers`.
pub fn ephemeral_containers(spec: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let containers = list_of(spec, "ephemeralContainers");
    if containers.is_empty() {
        return;
    }
    let list = path.field("ephemeralContainers");
    let others = || list_of(spec, "containers").iter().chain(list_of(spec, "initContainers"));
    let mut names: BTreeSet<&str> = others().map(|other| text_of(other, "name")).collect();
    for (index, container) in containers.iter().enumerate() {
        let path = list.index(index);
        common(container, whole, &path, errors);
        image_without_spaces(container, &path, errors);
        let name = text_of(container, "name");
        if !names.insert(name) {
            errors.push(path.field("name").duplicate(name));
        }
        let target = text_of(container, "targetContainerName");
        if !target.is_empty() && !others().any(|other| text_of(other, "name") == target) {
            errors.push(path.field("targetContainerName").not_found(target));
        }
        for field in NOT_EPHEMERAL {
            let empty =
                |value: &Value| field == "resources" && value.as_object().is_some_and(serde_json::Map::is_empty);
            if some_of(container, field).is_some_and(|value| !empty(value)) {
                errors.push(path.field(field).forbidden("cannot be set for an Ephemeral Container"));
            }
        }
        let mounts = path.field("volumeMounts");
        for (index, mount) in list_of(container, "volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !text_of(mount, field).is_empty() {
                    let message = "cannot be set for an Ephemeral Container";
                    errors.push(mounts.index(index).field(field).forbidden(message));
                }
            }
        }
    }
}

/// Pods' own containers are checked for spaces around their images; templates never were.
pub fn image_without_spaces(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let image = text_of(container, "image");
    if image.trim() != image {
        errors.push(path.field("image").invalid(image, "must not have leading or trailing whitespace"));
    }
}

fn common(container: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let name = path.field("name");
    match text_of(container, "name") {
        "" => errors.push(name.required("")),
        text => name.all_invalid(text, dns_label(text), errors),
    }
    required(container, "image", path, errors);
    one_of(container, "terminationMessagePolicy", &["File", "FallbackToLogsOnError"], path, errors);
    ports(list_of(container, "ports"), &path.field("ports"), errors);
    environment::variables(list_of(container, "env"), &path.field("env"), errors);
    environment::sources(list_of(container, "envFrom"), &path.field("envFrom"), errors);
    mounts::mounts(container, whole, path, errors);
    mounts::devices(container, whole, path, errors);
    one_of(container, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], path, errors);
    if let Some(requirements) = some_of(container, "resources") {
        resources::requirements(requirements, whole, &path.field("resources"), errors);
    }
    resources::resize_policy(container, whole.restart_policy, path, errors);
    if let Some(context) = some_of(container, "securityContext") {
        security::security_context(context, whole, &path.field("securityContext"), errors);
    }
}

/// What happens around the life of a container that goes on.
fn life(container: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(lifecycle) = some_of(container, "lifecycle") {
        handlers::lifecycle(lifecycle, whole, &path.field("lifecycle"), errors);
    }
    for kind in PROBES {
        if let Some(probe) = some_of(container, kind) {
            handlers::probe(probe, kind, whole, &path.field(kind), errors);
        }
    }
}

fn ports(ports: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let name = text_of(port, "name");
        if !name.is_empty() {
            let messages = formats::port_name(name);
            if messages.is_empty() {
                if !names.insert(name) {
                    errors.push(path.index(index).field("name").duplicate(name));
                }
            } else {
                path.index(index).field("name").all_invalid(name, messages, errors);
            }
        }
        let path = path.index(index);
        match integer_of(port, "containerPort").unwrap_or_default() {
            0 => errors.push(path.field("containerPort").required("")),
            number => port_number(number, &path.field("containerPort"), errors),
        }
        let host = integer_of(port, "hostPort").unwrap_or_default();
        if host != 0 {
            port_number(host, &path.field("hostPort"), errors);
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
    }
}

/// Checks the number of a port.
pub fn port_number(number: i64, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    errors.extend(formats::port_number(number).into_iter().map(|message| path.invalid(number, message)));
}

/// One port of a host and an address is opened once.
fn host_ports(containers: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut taken = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        let list = path.field("ports");
        for (index, port) in list_of(container, "ports").iter().enumerate() {
            let number = integer_of(port, "hostPort").unwrap_or_default();
            let (protocol, address) = (text_of(port, "protocol"), text_of(port, "hostIP"));
            if number != 0 && !taken.insert((protocol, address, number)) {
                let shown = format!("{protocol}/{address}/{number}");
                errors.push(list.index(index).field("hostPort").duplicate(shown));
            }
        }
    }
}

/// A container's own restart policy, which may depend on its exit code.
fn restart_policy(container: &Value, init: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let rules = list_of(container, "restartPolicyRules");
    match container.get("restartPolicy").and_then(Value::as_str) {
        None if rules.is_empty() => return,
        None => {
            let message = "must specify restartPolicy when restart rules are used";
            errors.push(path.field("restartPolicy").required(message));
            if init {
                return;
            }
        }
        Some(policy) => {
            let supported = ["Always", "Never", "OnFailure"];
            if !supported.contains(&policy) {
                errors.push(path.field("restartPolicy").not_supported(policy, &supported));
            }
        }
    }
    let list = path.field("restartPolicyRules");
    if rules.len() > RESTART_RULES_MAX {
        errors.push(list.too_many(rules.len(), RESTART_RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = list.index(index);
        validation::not_in(rule, "action", &["Restart", "RestartAllContainers"], &path, errors);
        let path = path.field("exitCodes");
        let Some(codes) = some_of(rule, "exitCodes") else {
            errors.push(path.required("must be specified"));
            continue;
        };
        validation::not_in(codes, "operator", &["In", "NotIn"], &path, errors);
        let values = list_of(codes, "values");
        if values.len() > EXIT_CODES_MAX {
            errors.push(path.field("values").too_many(values.len(), EXIT_CODES_MAX));
        }
    }
}
