//! What is wrong with classes, claims and templates of claims.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_label, dns_subdomain, label_value, qualified_name, validate_annotations, validate_labels},
};

use super::{Errors, TAINT_EFFECTS, binding_conditions, caseless_driver, driver, full_attribute_name, pool};
use crate::{
    kinds::{conditions::conditions, pod_spec::scheduling::node_selector, validation::each_message},
    tree,
};

const SELECTORS_MAX: usize = 32;
const REQUESTS_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
const CONFIG_MAX: usize = 32;
const FIRST_AVAILABLE_MAX: usize = 8;
const RESERVED_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
const EXPRESSION_BYTES_MAX: usize = 10 * 1024;
const PARAMETERS_BYTES_MAX: usize = 10 * 1024;
const STATUS_CONDITIONS_MAX: usize = 8;
const NAME_OF_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// Checks a class.
pub fn class(object: &Value, errors: &mut Errors) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    selectors(spec, "spec.selectors", errors);
    let config = tree::items(spec, "/config");
    if too_many(config, CONFIG_MAX, "spec.config", errors) {
        return;
    }
    for (index, config) in config.iter().enumerate() {
        self::config(config, &format!("spec.config[{index}]"), errors);
    }
    if tree::has(spec, "/extendedResourceName") {
        extended_resource(tree::text(spec, "/extendedResourceName"), errors);
    }
}

fn extended_resource(name: &str, errors: &mut Errors) {
    let field = "spec.extendedResourceName";
    let message = match name.split_once('/') {
        None => "a name must be a domain-prefixed path, such as 'example.com/my-prop'".into(),
        Some((domain, _)) if domain == "kubernetes.io" || domain.ends_with(".kubernetes.io") => {
            "must not have \"kubernetes.io/\" domain".into()
        }
        Some(_) if name.starts_with("requests.") => "must not have \"requests.\" prefix".into(),
        Some(_) => match qualified_name(&format!("requests.{name}")).into_iter().next() {
            Some(message) => message,
            None => return,
        },
    };
    errors.last.push(FieldError::invalid(field, &json!(name), message));
}

/// Checks a template.
pub fn template(object: &Value, errors: &mut Errors) {
    let metadata = object.pointer("/spec/metadata").unwrap_or(&Value::Null);
    let (labels, annotations) = (metadata.get("labels"), metadata.get("annotations"));
    errors.first.extend(validate_annotations(annotations, "spec.metadata.annotations"));
    errors.first.extend(validate_labels(labels, "spec.metadata.labels"));
    for (field, _) in metadata.as_object().into_iter().flatten().filter(|(field, value)| {
        !matches!(field.as_str(), "labels" | "annotations" | "creationTimestamp") && !tree::is_unset(Some(value))
    }) {
        errors.first.push(FieldError::forbidden(&format!("spec.metadata.{field}"), "cannot be set"));
    }
    spec(object.pointer("/spec/spec").unwrap_or(&Value::Null), "spec.spec", errors);
}

/// Checks what a claim asks for.
pub fn spec(spec: &Value, path: &str, errors: &mut Errors) {
    let devices = spec.get("devices").unwrap_or(&Value::Null);
    let path = format!("{path}.devices");
    let names = Names::of(devices);
    let requests = tree::items(devices, "/requests");
    let field = format!("{path}.requests");
    if !too_many(requests, REQUESTS_MAX, &field, errors) {
        for (index, request) in requests.iter().enumerate() {
            self::request(request, &format!("{field}[{index}]"), errors);
        }
        duplicates(requests, &field, |request| tree::text(request, "/name").to_string(), &mut errors.first);
    }
    let constraints = tree::items(devices, "/constraints");
    let field = format!("{path}.constraints");
    if !too_many(constraints, CONSTRAINTS_MAX, &field, errors) {
        for (index, constraint) in constraints.iter().enumerate() {
            self::constraint(constraint, &format!("{field}[{index}]"), &names, errors);
        }
    }
    let list = tree::items(devices, "/config");
    let field = format!("{path}.config");
    if !too_many(list, CONFIG_MAX, &field, errors) {
        for (index, config) in list.iter().enumerate() {
            let path = format!("{field}[{index}]");
            names.references(config, &path, errors);
            self::config(config, &path, errors);
        }
    }
}

/// True, with the error, if a list is too long to be looked at.
fn too_many(list: &[Value], items_max: usize, field: &str, errors: &mut Errors) -> bool {
    if list.len() > items_max {
        errors.last.push(FieldError::too_many(field, list.len(), items_max));
    }
    list.len() > items_max
}

fn duplicates(list: &[Value], field: &str, key: impl Fn(&Value) -> String, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, item) in list.iter().enumerate() {
        if !seen.insert(key(item)) {
            errors.push(FieldError::duplicate(&format!("{field}[{index}]"), item));
        }
    }
}

/// The names of requests and of what they may be satisfied by.
struct Names<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl Names<'_> {
    fn of(devices: &Value) -> Names<'_> {
        let of_request = |request| {
            let inner = tree::items(request, "/firstAvailable").iter().map(|inner| tree::text(inner, "/name"));
            (tree::text(request, "/name"), inner.collect())
        };
        Names(tree::items(devices, "/requests").iter().map(of_request).collect())
    }

    fn has(&self, name: &str) -> bool {
        let (request, inner) = name.split_once('/').map_or((name, None), |(request, inner)| (request, Some(inner)));
        self.0.get(request).is_some_and(|inners| inner.is_none_or(|inner| inners.contains(inner)))
    }

    fn reference(&self, name: &str, field: &str, errors: &mut Vec<FieldError>) {
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() <= 2 {
            for part in &parts {
                each_message(part, field, dns_label(part), errors);
            }
        }
        if parts.len() > 2 || !self.has(name) {
            errors.push(FieldError::invalid(field, &json!(name), NAME_OF_REQUEST));
        }
    }

    /// The `requests` of something that is about some of them.
    fn references(&self, object: &Value, path: &str, errors: &mut Errors) {
        let (list, field) = (tree::items(object, "/requests"), format!("{path}.requests"));
        if too_many(list, REQUESTS_MAX, &field, errors) {
            return;
        }
        for (index, name) in list.iter().enumerate() {
            self.reference(name.as_str().unwrap_or_default(), &format!("{field}[{index}]"), &mut errors.first);
        }
        duplicates(list, &field, |name| name.as_str().unwrap_or_default().into(), &mut errors.last);
    }
}

fn request(request: &Value, path: &str, errors: &mut Errors) {
    let name = tree::text(request, "/name");
    each_message(name, &format!("{path}.name"), dns_label(name), &mut errors.first);
    let choices = tree::items(request, "/firstAvailable");
    match (request.get("exactly").filter(|exactly| !exactly.is_null()), choices.is_empty()) {
        (None, true) => {
            let message = "exactly one of `exactly` or `firstAvailable` is required";
            errors.first.push(FieldError::required(path, message));
        }
        (Some(_), false) => {
            let message = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.first.push(FieldError::invalid(path, &Value::Null, message));
        }
        (Some(exactly), true) => {
            let path = format!("{path}.exactly");
            device_class(exactly, &path, &mut errors.first);
            wanted(exactly, &path, errors);
        }
        (None, false) => {
            let field = format!("{path}.firstAvailable");
            if too_many(choices, FIRST_AVAILABLE_MAX, &field, errors) {
                return;
            }
            for (index, choice) in choices.iter().enumerate() {
                let path = format!("{field}[{index}]");
                let name = tree::text(choice, "/name");
                each_message(name, &format!("{path}.name"), dns_label(name), &mut errors.first);
                device_class(choice, &path, &mut errors.last);
                wanted(choice, &path, errors);
            }
            duplicates(choices, &field, |choice| tree::text(choice, "/name").to_string(), &mut errors.first);
        }
    }
}

fn device_class(request: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let field = format!("{path}.deviceClassName");
    match tree::text(request, "/deviceClassName") {
        "" => errors.push(FieldError::required(&field, "")),
        name => each_message(name, &field, dns_subdomain(name), errors),
    }
}

/// Which devices, how many, and what of them is tolerated.
fn wanted(request: &Value, path: &str, errors: &mut Errors) {
    selectors(request, &format!("{path}.selectors"), errors);
    let (mode, count) = (tree::text(request, "/allocationMode"), tree::integer_or_zero(request, "/count"));
    let field = format!("{path}.count");
    match mode {
        "All" if count != 0 => {
            let message = "must not be specified when allocationMode is 'All'";
            errors.first.push(FieldError::invalid(&field, &json!(count), message));
        }
        "ExactCount" if count <= 0 => {
            errors.first.push(FieldError::invalid(&field, &json!(count), "must be greater than zero"));
        }
        "All" | "ExactCount" => {}
        _ => {
            let field = format!("{path}.allocationMode");
            errors.last.push(FieldError::not_supported(&field, &json!(mode), &["All", "ExactCount"]));
        }
    }
    for (index, toleration) in tree::items(request, "/tolerations").iter().enumerate() {
        self::toleration(toleration, &format!("{path}.tolerations[{index}]"), errors);
    }
}

fn toleration(toleration: &Value, path: &str, errors: &mut Errors) {
    let text = |field: &str| tree::text(toleration, &format!("/{field}"));
    let (key, value, effect) = (text("key"), text("value"), text("effect"));
    if !key.is_empty() {
        each_message(key, &format!("{path}.key"), qualified_name(key), &mut errors.last);
    }
    match text("operator") {
        "Exists" if !value.is_empty() => {
            let message = "must be empty for operator `Exists`";
            errors.first.push(FieldError::invalid(&format!("{path}.value"), &json!(value), message));
        }
        "Exists" => {}
        "Equal" => each_message(value, &format!("{path}.value"), label_value(value), &mut errors.first),
        "" => errors.last.push(FieldError::required(&format!("{path}.operator"), "")),
        other => {
            let field = format!("{path}.operator");
            errors.last.push(FieldError::not_supported(&field, &json!(other), &["Equal", "Exists"]));
        }
    }
    if !effect.is_empty() && !TAINT_EFFECTS.contains(&effect) {
        errors.last.push(FieldError::not_supported(&format!("{path}.effect"), &json!(effect), TAINT_EFFECTS));
    }
}

fn selectors(object: &Value, field: &str, errors: &mut Errors) {
    let list = tree::items(object, "/selectors");
    if too_many(list, SELECTORS_MAX, field, errors) {
        return;
    }
    for (index, selector) in list.iter().enumerate() {
        let path = format!("{field}[{index}].cel");
        if !tree::has(selector, "/cel") {
            errors.first.push(FieldError::required(&path, ""));
        } else if tree::text(selector, "/cel/expression").len() > EXPRESSION_BYTES_MAX {
            errors.first.push(FieldError::too_long(&format!("{path}.expression"), EXPRESSION_BYTES_MAX));
        }
    }
}

fn constraint(constraint: &Value, path: &str, names: &Names<'_>, errors: &mut Errors) {
    names.references(constraint, path, errors);
    let given =
        ["matchAttribute", "distinctAttribute"].into_iter().find(|field| tree::has(constraint, &format!("/{field}")));
    match given {
        Some(field) => {
            let name = tree::text(constraint, &format!("/{field}"));
            full_attribute_name(name, &format!("{path}.{field}"), &mut errors.last);
        }
        None => {
            let message =
                r#"exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set"#;
            errors.first.push(FieldError::required(path, message));
        }
    }
}

fn config(config: &Value, path: &str, errors: &mut Errors) {
    let path = format!("{path}.opaque");
    let Some(opaque) = config.get("opaque").filter(|opaque| !opaque.is_null()) else {
        return errors.first.push(FieldError::required(&path, ""));
    };
    raw(opaque.get("parameters"), &format!("{path}.parameters"), &mut errors.first);
    caseless_driver(tree::text(opaque, "/driver"), &format!("{path}.driver"), &mut errors.last);
}

/// What only a driver understands: an object, not too large.
fn raw(value: Option<&Value>, field: &str, errors: &mut Vec<FieldError>) {
    match value {
        None | Some(Value::Null) => errors.push(FieldError::required(field, "")),
        Some(value) if value.to_string().len() > PARAMETERS_BYTES_MAX => {
            errors.push(FieldError::too_long(field, PARAMETERS_BYTES_MAX));
        }
        Some(Value::Object(_)) => {}
        Some(_) => {
            let message = "must be a valid JSON object";
            errors.push(FieldError::invalid(field, &json!("<value omitted>"), message));
        }
    }
}

/// Checks what a claim was given.
pub fn status(old: &Value, new: &Value, errors: &mut Errors) {
    let names = Names::of(new.pointer("/spec/devices").unwrap_or(&Value::Null));
    let status = new.get("status").unwrap_or(&Value::Null);
    let reserved = tree::items(status, "/reservedFor");
    let field = "status.reservedFor";
    if !too_many(reserved, RESERVED_MAX, field, errors) {
        for (index, consumer) in reserved.iter().enumerate() {
            for part in ["resource", "name", "uid"] {
                if tree::text(consumer, &format!("/{part}")).is_empty() {
                    errors.first.push(FieldError::required(&format!("{field}[{index}].{part}"), ""));
                }
            }
        }
        duplicates(reserved, field, |consumer| tree::text(consumer, "/uid").to_string(), &mut errors.last);
    }
    device_statuses(status, errors);
    if !reserved.is_empty() {
        let before = tree::items(old, "/status/reservedFor");
        let added = reserved.iter().any(|consumer| !before.contains(consumer));
        if !tree::has(status, "/allocation") {
            errors.first.push(FieldError::forbidden(field, "may not be specified when `allocated` is not set"));
        } else if tree::has(new, "/metadata/deletionTimestamp") && added {
            let message = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.first.push(FieldError::forbidden(field, message));
        }
    }
    let Some(allocation) = status.get("allocation").filter(|allocation| !allocation.is_null()) else { return };
    match old.pointer("/status/allocation").filter(|allocation| !allocation.is_null()) {
        Some(before) if before == allocation => {}
        Some(_) => {
            errors.last.push(FieldError::invalid("status.allocation", &Value::Null, "field is immutable"));
        }
        None => {
            self::allocation(allocation, &names, errors);
            node_terms(allocation, errors);
        }
    }
}

fn allocation(allocation: &Value, names: &Names<'_>, errors: &mut Errors) {
    let path = "status.allocation.devices";
    let (results, field) = (tree::items(allocation, "/devices/results"), format!("{path}.results"));
    if !too_many(results, RESULTS_MAX, &field, errors) {
        for (index, result) in results.iter().enumerate() {
            let path = format!("{field}[{index}]");
            let text = |field: &str| tree::text(result, &format!("/{field}"));
            names.reference(text("request"), &format!("{path}.request"), &mut errors.first);
            each_message(text("device"), &format!("{path}.device"), dns_label(text("device")), &mut errors.first);
            caseless_driver(text("driver"), &format!("{path}.driver"), &mut errors.last);
            result_pool(text("pool"), &format!("{path}.pool"), &mut errors.last);
            binding_conditions(result, &path, errors);
            for (index, toleration) in tree::items(result, "/tolerations").iter().enumerate() {
                self::toleration(toleration, &format!("{path}.tolerations[{index}]"), errors);
            }
        }
    }
    let (list, field) = (tree::items(allocation, "/devices/config"), format!("{path}.config"));
    if !too_many(list, 2 * CONFIG_MAX, &field, errors) {
        for (index, config) in list.iter().enumerate() {
            let path = format!("{field}[{index}]");
            let supported = ["FromClaim", "FromClass"];
            match tree::text(config, "/source") {
                "" => errors.last.push(FieldError::required(&format!("{path}.source"), "")),
                source if !supported.contains(&source) => {
                    let field = format!("{path}.source");
                    errors.last.push(FieldError::not_supported(&field, &json!(source), &supported));
                }
                _ => {}
            }
            names.references(config, &path, errors);
            self::config(config, &path, errors);
        }
    }
}

fn node_terms(allocation: &Value, errors: &mut Errors) {
    if let Some(selector) = allocation.get("nodeSelector").filter(|selector| !selector.is_null()) {
        node_selector(selector, false, &Path::new("status.allocation.nodeSelector"), &mut errors.first);
    }
}

/// A pool's name as the generated rules word it.
fn result_pool(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    match name.split('/').position(str::is_empty) {
        Some(index) if !name.is_empty() => {
            let message = format!("segment {index}: must not be empty");
            errors.push(FieldError::invalid(field, &json!(name), message));
        }
        _ => pool(name, field, errors),
    }
}

fn device_statuses(status: &Value, errors: &mut Errors) {
    let key = |device: &Value| -> [String; 4] {
        ["driver", "pool", "device", "shareID"].map(|field| tree::text(device, &format!("/{field}")).to_string())
    };
    let allocated: BTreeSet<[String; 4]> = tree::items(status, "/allocation/devices/results").iter().map(key).collect();
    let devices = tree::items(status, "/devices");
    for (index, device) in devices.iter().enumerate() {
        let path = format!("status.devices[{index}]");
        let text = |field: &str| tree::text(device, &format!("/{field}"));
        driver(text("driver"), &format!("{path}.driver"), &mut errors.first);
        pool(text("pool"), &format!("{path}.pool"), &mut errors.first);
        each_message(text("device"), &format!("{path}.device"), dns_label(text("device")), &mut errors.first);
        let found = key(device);
        if !allocated.contains(&found) {
            let [driver, pool, device, share] = found;
            let shown = format!(r#"{{"Driver":{driver:?},"Pool":{pool:?},"Device":{device:?},"ShareID":{share:?}}}"#);
            let mut error = FieldError::invalid(&path, &Value::Null, "must be an allocated device in the claim");
            error.value = Some(shown);
            errors.first.push(error);
        }
        let (list, field) = (tree::items(device, "/conditions"), format!("{path}.conditions"));
        if list.len() > STATUS_CONDITIONS_MAX {
            errors.first.push(FieldError::too_many(&field, list.len(), STATUS_CONDITIONS_MAX));
        }
        conditions(list, &field, &mut errors.first);
        if tree::has(device, "/data") {
            raw(device.get("data"), &format!("{path}.data"), &mut errors.first);
        }
        network(device.get("networkData").unwrap_or(&Value::Null), &format!("{path}.networkData"), errors);
    }
    duplicates(devices, "status.devices", |device| key(device).join("\n"), &mut errors.last);
}

fn network(data: &Value, path: &str, errors: &mut Errors) {
    const ADDRESSES_MAX: usize = 16;
    for (field, bytes_max) in [("interfaceName", 256), ("hardwareAddress", 128)] {
        if tree::text(data, &format!("/{field}")).len() > bytes_max {
            errors.last.push(FieldError::too_long(&format!("{path}.{field}"), bytes_max));
        }
    }
    let (list, field) = (tree::items(data, "/ips"), format!("{path}.ips"));
    if too_many(list, ADDRESSES_MAX, &field, errors) {
        return;
    }
    for (index, address) in list.iter().enumerate() {
        let text = address.as_str().unwrap_or_default();
        if !is_interface_address(text) {
            let message = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
            errors.first.push(FieldError::invalid(&format!("{field}[{index}]"), address, message));
        }
    }
    duplicates(list, &field, |address| address.as_str().unwrap_or_default().into(), &mut errors.last);
}

fn is_interface_address(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let bits_max = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= bits_max)
}
