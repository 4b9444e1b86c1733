//! What is wrong with the slices of devices that drivers publish.

use std::collections::BTreeSet;

use serde_json::json;
use triune_api::{
    Map, Value,
    field::FieldError,
    path::Path,
    quantity::Quantity,
    validation::{dns_label, dns_subdomain},
};

use super::{Errors, attribute_name, binding_conditions, driver, pool, taint};
use crate::{
    kinds::{
        pod_spec::scheduling::node_selector,
        validation::{each_message, quantity},
    },
    tree,
};

const DEVICES_MAX: usize = 128;
const DEVICES_MAX_ADVANCED: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const CONSUMED_SETS_MAX: usize = 2;
const ATTRIBUTES_MAX: usize = 32;
const ATTRIBUTE_BYTES_MAX: usize = 64;
const TAINTS_MAX: usize = 16;
const VALID_VALUES_MAX: usize = 10;

/// Checks a slice, new or changed.
pub fn slice(old: Option<&Value>, slice: &Value, errors: &mut Errors) {
    let spec = slice.get("spec").unwrap_or(&Value::Null);
    driver(tree::text(spec, "/driver"), "spec.driver", &mut errors.first);
    pool(tree::text(spec, "/pool/name"), "spec.pool.name", &mut errors.first);
    let count = tree::integer_or_zero(spec, "/pool/resourceSliceCount");
    if count <= 0 {
        let message = "must be greater than zero";
        errors.first.push(FieldError::invalid("spec.pool.resourceSliceCount", &json!(count), message));
    }
    let generation = tree::integer_or_zero(spec, "/pool/generation");
    if generation < 0 {
        let message = "must be greater than or equal to zero";
        errors.first.push(FieldError::invalid("spec.pool.generation", &json!(generation), message));
    }
    if let Some(old) = old {
        for field in ["pool/name", "driver", "nodeName"] {
            let path = format!("spec.{}", field.replace('/', "."));
            super::super::validation::immutable(old, slice, &format!("/spec/{field}"), &path, &mut errors.first);
        }
    }
    nodes(spec, errors);
    let (devices, counters) = (spec.get("devices"), spec.get("sharedCounters"));
    let given = |list: Option<&Value>| list.is_some_and(|list| !list.is_null());
    if given(devices) && given(counters) {
        let message = "only one of `sharedCounters` or `devices` is allowed";
        errors.first.push(FieldError::invalid("spec", &json!(""), message));
    }
    self::devices(old, spec, errors);
    counter_sets(spec, errors);
}

/// Says which fields of a choice are set, and refuses fields that are false.
fn choice<'a>(object: &Value, fields: &[&'a str], path: &str, errors: &mut Errors) -> Vec<&'a str> {
    let mut chosen = Vec::new();
    let in_devices = path.starts_with("spec.devices");
    for field in fields {
        let value = object.get(*field).unwrap_or(&Value::Null);
        let path = format!("{path}.{field}");
        match value {
            Value::Null => continue,
            Value::Bool(false) => {
                let message = "must be either unset or set to true";
                errors.first.push(FieldError::invalid(&path, value, message));
                continue;
            }
            Value::String(name) if name.is_empty() => {
                let message =
                    if in_devices { "must not be empty" } else { "must be either unset or set to a non-empty string" };
                errors.first.push(FieldError::invalid(&path, value, message));
                continue;
            }
            Value::String(name) => each_message(name, &path, dns_subdomain(name), &mut errors.first),
            Value::Object(_) => {
                let path = Path::new(&path);
                node_selector(value, false, &path, &mut errors.first);
                let terms = value.get("nodeSelectorTerms").and_then(Value::as_array);
                if terms.is_none_or(|terms| terms.len() != 1) && !in_devices {
                    let message = "must have exactly one node selector term";
                    errors.first.push(shown_terms(terms, &path.field("nodeSelectorTerms"), message));
                }
            }
            _ => {}
        }
        chosen.push(*field);
    }
    chosen
}

/// As the reference prints them: its own types have no names for JSON.
fn shown_terms(terms: Option<&Vec<Value>>, path: &Path<'_>, message: &str) -> FieldError {
    let list = |items: Option<&Value>| match items.and_then(Value::as_array).filter(|items| !items.is_empty()) {
        None => "null".into(),
        Some(items) => {
            let requirement = |item: &Value| {
                let values = item.get("values").filter(|values| values.as_array().is_some_and(|list| !list.is_empty()));
                format!(
                    r#"{{"Key":{},"Operator":{},"Values":{}}}"#,
                    json!(tree::text(item, "/key")),
                    json!(tree::text(item, "/operator")),
                    values.unwrap_or(&Value::Null)
                )
            };
            format!("[{}]", items.iter().map(requirement).collect::<Vec<_>>().join(","))
        }
    };
    let term = |term: &Value| {
        let (expressions, fields) = (list(term.get("matchExpressions")), list(term.get("matchFields")));
        format!(r#"{{"MatchExpressions":{expressions},"MatchFields":{fields}}}"#)
    };
    let shown = match terms {
        None => "null".to_string(),
        Some(terms) => format!("[{}]", terms.iter().map(term).collect::<Vec<_>>().join(",")),
    };
    FieldError { value: Some(shown), ..FieldError::invalid_omitted(&path.to_string(), message) }
}

fn quoted(fields: &[&str]) -> Value {
    let quoted: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    json!(format!("{{{}}}", quoted.join(", ")))
}

fn nodes(spec: &Value, errors: &mut Errors) {
    let fields = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
    let chosen = choice(spec, &fields, "spec", errors);
    let one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match chosen.len() {
        0 => errors.first.push(FieldError::required("spec", one)),
        1 => {}
        _ => {
            let message = format!("{one}, but multiple fields are set");
            errors.first.push(FieldError::invalid("spec", &quoted(&chosen), message));
        }
    }
}

fn devices(old: Option<&Value>, spec: &Value, errors: &mut Errors) {
    let devices = tree::items(spec, "/devices");
    let advanced = devices.iter().any(|device| {
        !tree::items(device, "/taints").is_empty() || !tree::items(device, "/consumesCounters").is_empty()
    });
    let devices_max = if advanced { DEVICES_MAX_ADVANCED } else { DEVICES_MAX };
    if devices.len() > devices_max {
        return errors.first.push(FieldError::too_many("spec.devices", devices.len(), devices_max));
    }
    let before = old.map_or(&[][..], |old| tree::items(old, "/spec/devices"));
    let mut names = BTreeSet::new();
    let mut repeated = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        let path = format!("spec.devices[{index}]");
        let name = tree::text(device, "/name");
        let old = before.iter().find(|old| tree::text(old, "/name") == name);
        self::device(old, device, tree::truth(spec, "/perDeviceNodeSelection"), &path, errors);
        if !names.insert(name) {
            repeated.push(FieldError::duplicate(&path, &json!(name)));
        }
    }
    errors.first.append(&mut repeated);
}

fn device(old: Option<&Value>, device: &Value, placed: bool, path: &str, errors: &mut Errors) {
    let name = tree::text(device, "/name");
    each_message(name, &format!("{path}.name"), dns_label(name), &mut errors.first);
    let empty = Map::new();
    let of = |field: &str| tree::map(device, &format!("/{field}")).unwrap_or(&empty);
    let (attributes, capacity) = (of("attributes"), of("capacity"));
    let entries = attributes.len() + capacity.len();
    if entries > ATTRIBUTES_MAX {
        let message = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        errors.first.push(FieldError::invalid(path, &json!(entries), message));
    }
    for (name, value) in attributes {
        let field = format!("{path}.attributes");
        attribute_name(name, &field, &mut errors.first);
        attribute(value, &format!("{field}[{name}]"), errors);
    }
    let unchanged = |field: &str| old.is_some_and(|old| old.get(field) == device.get(field));
    if !unchanged("capacity") {
        for (name, value) in capacity {
            let field = format!("{path}.capacity");
            attribute_name(name, &field, &mut errors.first);
            let shared = tree::truth(device, "/allowMultipleAllocations");
            self::capacity(value, shared, &format!("{field}[{name}].requestPolicy"), &mut errors.first);
        }
    }
    let taints = tree::items(device, "/taints");
    if !unchanged("taints") {
        if taints.len() > TAINTS_MAX {
            errors.first.push(FieldError::too_many(&format!("{path}.taints"), taints.len(), TAINTS_MAX));
        } else {
            for (index, item) in taints.iter().enumerate() {
                taint(item, &format!("{path}.taints[{index}]"), errors);
            }
        }
    }
    consumed(device, path, errors);
    device_nodes(device, placed, path, errors);
    binding_conditions(device, path, errors);
}

fn device_nodes(device: &Value, placed: bool, path: &str, errors: &mut Errors) {
    let fields = ["nodeName", "nodeSelector", "allNodes"];
    if !placed {
        if fields.iter().any(|field| tree::has(device, &format!("/{field}"))) {
            let message = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.first.push(FieldError::invalid(path, &Value::Null, message));
        }
        return;
    }
    let chosen = choice(device, &fields, path, errors);
    let message = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match chosen.len() {
        0 => errors.first.push(FieldError::required(path, message)),
        1 => {}
        _ => errors.first.push(FieldError::invalid(path, &quoted(&chosen), message)),
    }
}

fn attribute(value: &Value, path: &str, errors: &mut Errors) {
    const KINDS: [&str; 8] = ["int", "bool", "string", "version", "ints", "bools", "strings", "versions"];
    if let Some(text) = value.get("string").and_then(Value::as_str)
        && text.len() > ATTRIBUTE_BYTES_MAX
    {
        errors.first.push(FieldError::too_long(&format!("{path}.string"), ATTRIBUTE_BYTES_MAX));
    }
    if let Some(text) = value.get("version").and_then(Value::as_str) {
        let field = format!("{path}.version");
        if !is_semantic_version(text) {
            let message = "must be a string compatible with semver.org spec 2.0.0";
            errors.first.push(FieldError::invalid(&field, &json!(text), message));
        }
        if text.len() > ATTRIBUTE_BYTES_MAX {
            errors.first.push(FieldError::too_long(&field, ATTRIBUTE_BYTES_MAX));
        }
    }
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| tree::has(value, &format!("/{kind}"))).collect();
    let all = KINDS.map(|kind| format!("`{kind}`")).join(", ");
    match given.len() {
        0 => errors.last.push(FieldError::invalid(path, &json!(""), format!("must specify one of: {all}"))),
        1 => {}
        _ => {
            let shown = json!(format!("{{{}}}", given.join(", ")));
            errors.last.push(FieldError::invalid(path, &shown, format!("must specify exactly one of: {all}")));
        }
    }
}

/// `1.2.3`, with `-pre.release` and `+build` if wanted.
fn is_semantic_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, release) = text.split_once('-').map_or((text, None), |(core, release)| (core, Some(release)));
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let parts: Vec<&str> = core.split('.').collect();
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3
        && parts.into_iter().all(number)
        && release
            .is_none_or(|release| release.split('.').all(|part| word(part) && (!all_digits(part) || number(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}

fn capacity(capacity: &Value, shared: bool, path: &str, errors: &mut Vec<FieldError>) {
    let Some(policy) = capacity.get("requestPolicy").filter(|policy| !policy.is_null()) else { return };
    if !shared {
        return errors.push(FieldError::forbidden(path, "allowMultipleAllocations must be true"));
    }
    let (values, range) = (tree::items(policy, "/validValues"), policy.get("validRange"));
    let range = range.filter(|range| !range.is_null());
    let default = policy.get("default").and_then(quantity);
    let Some(most) = capacity.get("value").and_then(quantity) else { return };
    let missing =
        |what: &str| FieldError::required(&format!("{path}.default"), format!("required when {what} is defined"));
    match (values.is_empty(), range, default) {
        (false, Some(_), _) => {
            let message = r#"exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time"#;
            errors.push(FieldError::forbidden(path, message));
        }
        (false, None, None) => errors.push(missing("validValues")),
        (true, Some(_), None) => errors.push(missing("validRange")),
        (false, None, Some(default)) => valid_values(values, &default, &most, &format!("{path}.validValues"), errors),
        (true, Some(range), Some(default)) => {
            valid_range(range, &default, &most, &format!("{path}.validRange"), errors);
        }
        (true, None, _) => {}
    }
}

fn valid_values(list: &[Value], default: &Quantity, most: &Quantity, field: &str, errors: &mut Vec<FieldError>) {
    let values: Vec<Quantity> = list.iter().filter_map(quantity).collect();
    for (index, pair) in values.windows(2).enumerate().filter(|(_, pair)| pair[0] > pair[1]) {
        let message = "values must be sorted in ascending order";
        errors.push(FieldError::invalid(&format!("{field}[{}]", index + 1), &json!(pair[1].to_string()), message));
    }
    if values.len() > VALID_VALUES_MAX {
        errors.push(FieldError::too_many(field, values.len(), VALID_VALUES_MAX));
    } else {
        for (index, value) in values.iter().enumerate().filter(|(_, value)| *value > most) {
            let message = format!("option is larger than capacity value: {most}");
            errors.push(FieldError::invalid(&format!("{field}[{index}]"), &json!(value.to_string()), message));
        }
        for (index, value) in values.iter().enumerate().filter(|(index, value)| values[..*index].contains(value)) {
            errors.push(FieldError::duplicate(&format!("{field}[{index}]"), &json!(value.to_string())));
        }
    }
    if values.len() > VALID_VALUES_MAX || !values.contains(default) {
        let message = "default value is not valid according to the requestPolicy";
        errors.push(FieldError::invalid(field, &json!(default.to_string()), message));
    }
}

fn valid_range(range: &Value, default: &Quantity, most: &Quantity, path: &str, errors: &mut Vec<FieldError>) {
    let of = |field: &str| range.get(field).and_then(quantity);
    let Some(low) = of("min") else {
        return errors.push(FieldError::required(&format!("{path}.min"), "required when validRange is defined"));
    };
    let mut refuse = |field: &str, value: &Quantity, message: String| {
        errors.push(FieldError::invalid(&format!("{path}.{field}"), &json!(value.to_string()), message));
    };
    if low > *most {
        refuse("min", &low, format!("min is larger than capacity value: {most}"));
    }
    if *default < low {
        refuse("default", default, format!("default is less than min: {low}"));
    }
    let high = of("max");
    if let Some(high) = &high {
        if low > *high {
            refuse("max", &low, format!("min is larger than max: {high}"));
        }
        if high > most {
            refuse("max", high, format!("max is larger than capacity value: {most}"));
        }
        if default > high {
            refuse("default", default, format!("default is more than max: {high}"));
        }
    }
    let Some(step) = of("step") else { return };
    if step.sign() <= 0 {
        return refuse("step", &step, "must be greater than zero".into());
    }
    let first = low.plus(&step);
    if first > *most {
        refuse("step", &step, format!("one step {first} is larger than capacity value: {most}"));
    }
    let thousandths = |quantity: &Quantity| i128::from(quantity.milli_value());
    for value in std::iter::once(default).chain(high.as_ref()) {
        if (thousandths(value) - thousandths(&low)) % thousandths(&step).max(1) != 0 {
            refuse("step", value, format!("value is not a multiple of a given step ({step}) from ({low})"));
        }
    }
}

fn consumed(device: &Value, path: &str, errors: &mut Errors) {
    let (sets, field) = (tree::items(device, "/consumesCounters"), format!("{path}.consumesCounters"));
    if sets.len() > CONSUMED_SETS_MAX {
        return errors.last.push(FieldError::too_many(&field, sets.len(), CONSUMED_SETS_MAX));
    }
    counters(sets, "counterSet", &field, errors);
}

fn counter_sets(spec: &Value, errors: &mut Errors) {
    let sets = tree::items(spec, "/sharedCounters");
    if sets.len() > COUNTER_SETS_MAX {
        return errors.last.push(FieldError::too_many("spec.sharedCounters", sets.len(), COUNTER_SETS_MAX));
    }
    counters(sets, "name", "spec.sharedCounters", errors);
}

fn counters(sets: &[Value], name_field: &str, field: &str, errors: &mut Errors) {
    let name = |set| tree::text(set, &format!("/{name_field}"));
    for (index, set) in sets.iter().enumerate() {
        if sets[..index].iter().any(|earlier| name(earlier) == name(set)) {
            errors.last.push(FieldError::duplicate(&format!("{field}[{index}]"), set));
        }
    }
    for (index, set) in sets.iter().enumerate() {
        let path = format!("{field}[{index}]");
        let name_path = format!("{path}.{name_field}");
        match name(set) {
            "" => errors.last.push(FieldError::required(&name_path, "")),
            name => each_message(name, &name_path, dns_label(name), &mut errors.last),
        }
        let counters = tree::map(set, "/counters").filter(|counters| !counters.is_empty());
        let path = format!("{path}.counters");
        match counters {
            None => errors.last.push(FieldError::required(&path, "")),
            Some(counters) if counters.len() > COUNTERS_MAX => {
                errors.first.push(FieldError::too_many(&path, counters.len(), COUNTERS_MAX));
            }
            Some(counters) => {
                for name in counters.keys() {
                    each_message(name, &path, dns_label(name), &mut errors.last);
                }
            }
        }
    }
}
