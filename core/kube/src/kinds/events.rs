//! Events of `core/v1` and `events.k8s.io/v1`: stored once, as the first; the second renames fields (kubernetes
//! `pkg/apis/events/v1/conversion.go`). They go by themselves ([`Settings::event_ttl`]).

use std::time::Duration;

use serde_json::json;
use triune_api::{
    Map, Value,
    field::FieldError,
    validation::{path_segment_name, qualified_name},
};
use triune_machinery::registry::DependentsPolicy;

use crate::{
    field::Field,
    kind::{Kind, Selectable},
    settings::Settings,
    tables, tree,
};

/// Whole seconds, and 0 is for ever: as the reference gives it to etcd as a lease (`pkg/registry/core/event/storage`).
fn time_to_live(settings: &Settings) -> Option<Duration> {
    let seconds = settings.event_ttl.as_secs();
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// `core/v1 Event`.
pub static CORE: Kind = Kind {
    time_to_live,
    dependents: DependentsPolicy::Unsupported,
    validate: |event, errors| validate(event, "involvedObject", errors),
    validate_name: Some(path_segment_name),
    selectable: &SELECTABLE_CORE,
    selectable_elsewhere: &SELECTABLE_EVENTS,
    table: tables::core::EVENTS,
    ..Kind::GENERIC
};

/// `events.k8s.io/v1 Event`.
pub static EVENTS: Kind = Kind {
    time_to_live,
    dependents: DependentsPolicy::Unsupported,
    validate: |event, errors| validate(event, "regarding", errors),
    validate_create: validate_strictly,
    validate_update: validate_change,
    selectable: &SELECTABLE_EVENTS,
    selectable_elsewhere: &SELECTABLE_CORE,
    table: tables::core::EVENTS,
    to_storage: Some(to_core),
    from_storage: Some(from_core),
    ..Kind::GENERIC
};

/// Names in `core/v1` and in `events.k8s.io/v1`; what is in neither list has one name.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn to_core(event: Value) -> Value {
    let mut event = rename(event, |name| RENAMED.iter().find(|(_, new)| *new == name).map(|(core, _)| *core));
    // The core form always writes these.
    for field in ["source", "involvedObject"] {
        tree::fill(&mut event, field, json!({}));
    }
    for field in ["reportingComponent", "reportingInstance"] {
        tree::fill(&mut event, field, "");
    }
    for field in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        tree::fill(&mut event, field, Value::Null);
    }
    event
}

fn from_core(event: Value) -> Value {
    let mut event = rename(event, |name| RENAMED.iter().find(|(core, _)| *core == name).map(|(_, new)| *new));
    for field in ["reportingController", "reportingInstance"] {
        if tree::is_unset(event.get(field)) {
            tree::remove(&mut event, field);
        }
    }
    event
}

fn rename(event: Value, to: impl Fn(&str) -> Option<&'static str>) -> Value {
    let Value::Object(map) = event else { return event };
    let renamed = map.into_iter().map(|(name, value)| match to(&name) {
        Some(new) => (new.to_string(), value),
        None => (name, value),
    });
    Value::Object(renamed.collect::<Map>())
}

/// What both versions are held to. Fields are reported by the names of the reference's own form.
fn validate(event: &Value, reference: &str, errors: &mut Vec<FieldError>) {
    let namespace = tree::text(event, "/metadata/namespace");
    let about = tree::text(event, &format!("/{reference}/namespace"));
    let has_time = tree::has(event, "/eventTime");
    // What is about a cluster-scoped object is kept in the namespace default; new events may be in kube-system too.
    let fits = match about {
        "" if has_time => matches!(namespace, "default" | "kube-system"),
        "" => matches!(namespace, "default" | ""),
        about => has_time || about == namespace,
    };
    if !fits {
        let message = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", &json!(about), message));
    }
    if !has_time {
        return;
    }
    let (controller, note) = match reference {
        "regarding" => ("reportingController", "/note"),
        _ => ("reportingComponent", "/message"),
    };
    let name = Field::of(event, controller);
    if name.text().is_empty() {
        errors.push(name.required(""));
    }
    name.invalid_for(qualified_name(name.text()), errors);
    for field in ["reportingInstance", "action", "reason"] {
        let text = Field::of(event, field);
        if text.text().is_empty() {
            errors.push(text.required(""));
        }
        if text.text().len() > TEXT_BYTES_MAX {
            errors.push(text.invalid_as(&json!(""), format!("can have at most {TEXT_BYTES_MAX} characters")));
        }
    }
    if tree::text(event, note).len() > NOTE_BYTES_MAX {
        let detail = format!("can have at most {NOTE_BYTES_MAX} characters");
        errors.push(FieldError::invalid("message", &json!(""), detail));
    }
}

const TEXT_BYTES_MAX: usize = 128;
const NOTE_BYTES_MAX: usize = 1024;

fn validate_series(event: &Value, errors: &mut Vec<FieldError>) {
    let series = Field::of(event, "series");
    if series.is_set() {
        if series.at("count").integer() < 2 {
            errors.push(series.at("count").invalid_as(&json!(""), "should be at least 2"));
        }
        if !series.at("lastObservedTime").is_set() {
            errors.push(series.at("lastObservedTime").required(""));
        }
    }
}

/// Creates in `events.k8s.io/v1` are held to more than old clients can keep.
fn validate_strictly(event: &Value, errors: &mut Vec<FieldError>) {
    validate_series(event, errors);
    if !tree::has(event, "/eventTime") {
        errors.push(FieldError::required("eventTime", ""));
    }
    let kind = tree::text(event, "/type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(FieldError::invalid("type", &json!(""), format!("has invalid value: {kind}")));
    }
    let source = ["/deprecatedSource/component", "/deprecatedSource/host"];
    let has_source = source.iter().any(|pointer| !tree::text(event, pointer).is_empty());
    let unset = [
        ("firstTimestamp", tree::has(event, "/deprecatedFirstTimestamp")),
        ("lastTimestamp", tree::has(event, "/deprecatedLastTimestamp")),
        ("count", tree::integer_or_zero(event, "/deprecatedCount") != 0),
        ("source", has_source),
    ];
    for (field, _) in unset.into_iter().filter(|(_, is_set)| *is_set) {
        errors.push(FieldError::invalid(field, &json!(""), "needs to be unset"));
    }
}

/// In `events.k8s.io/v1` only the series of an event changes.
fn validate_change(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    if old.get("series") != new.get("series") {
        validate_series(new, errors);
    }
    let fields = [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    for (field, reported) in fields {
        let (before, after) = (Field::of(old, field), Field::of(new, field));
        if before.value() == after.value()
            || (tree::is_unset(Some(before.value())) && tree::is_unset(Some(after.value())))
        {
            continue;
        }
        let mut error = after.invalid("field is immutable");
        error.field = reported.into();
        match field {
            "regarding" | "related" if after.is_set() => error.value = Some(print_reference(&after)),
            "deprecatedSource" => error.value = Some(print_source(&after)),
            "reason" | "note" | "type" | "action" | "reportingController" | "reportingInstance" => {
                error.value = Some(json!(after.text()).to_string());
            }
            "deprecatedCount" => error.value = Some(after.integer().to_string()),
            _ => {}
        }
        errors.push(error);
    }
}

/// As the reference prints its own form of a reference.
fn print_reference(reference: &Field<'_, '_>) -> String {
    let fields = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];
    let names = ["Kind", "Namespace", "Name", "UID", "APIVersion", "ResourceVersion", "FieldPath"];
    let printed: Vec<String> = fields
        .iter()
        .zip(names)
        .map(|(field, name)| format!("{name:?}:{}", json!(reference.at(field).text())))
        .collect();
    format!("{{{}}}", printed.join(","))
}

fn print_source(source: &Field<'_, '_>) -> String {
    let of = |field: &str| json!(source.at(field).text());
    format!(r#"{{"Component":{},"Host":{}}}"#, of("component"), of("host"))
}

/// A field of the object that the event is about, under either name.
macro_rules! reference_field {
    ($path:literal, $field:literal) => {
        Selectable {
            path: $path,
            value: |event| match tree::text(event, concat!("/involvedObject/", $field)) {
                "" => tree::text(event, concat!("/regarding/", $field)).into(),
                text => text.into(),
            },
        }
    };
}

const REASON: Selectable = Selectable { path: "reason", value: |event| tree::text(event, "/reason").into() };
const TYPE: Selectable = Selectable { path: "type", value: |event| tree::text(event, "/type").into() };

static SELECTABLE_CORE: [Selectable; 11] = [
    reference_field!("involvedObject.kind", "kind"),
    reference_field!("involvedObject.namespace", "namespace"),
    reference_field!("involvedObject.name", "name"),
    reference_field!("involvedObject.uid", "uid"),
    reference_field!("involvedObject.apiVersion", "apiVersion"),
    reference_field!("involvedObject.resourceVersion", "resourceVersion"),
    reference_field!("involvedObject.fieldPath", "fieldPath"),
    REASON,
    Selectable { path: "reportingComponent", value: reporting_component },
    Selectable { path: "source", value: source },
    TYPE,
];

static SELECTABLE_EVENTS: [Selectable; 10] = [
    reference_field!("regarding.kind", "kind"),
    reference_field!("regarding.namespace", "namespace"),
    reference_field!("regarding.name", "name"),
    reference_field!("regarding.uid", "uid"),
    reference_field!("regarding.apiVersion", "apiVersion"),
    reference_field!("regarding.resourceVersion", "resourceVersion"),
    reference_field!("regarding.fieldPath", "fieldPath"),
    REASON,
    Selectable { path: "reportingController", value: reporting_component },
    TYPE,
];

fn reporting_component(event: &Value) -> String {
    match tree::text(event, "/reportingComponent") {
        "" => tree::text(event, "/reportingController").into(),
        text => text.into(),
    }
}

fn source(event: &Value) -> String {
    match (tree::text(event, "/source/component"), tree::text(event, "/deprecatedSource/component")) {
        ("", "") => reporting_component(event),
        ("", component) | (component, _) => component.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_go_both_ways() {
        let core = json!({
            "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod"}, "reason": "R", "message": "m", "count": 2,
            "source": {"component": "kubelet"}, "firstTimestamp": null, "lastTimestamp": null, "eventTime": null,
            "reportingComponent": "c", "reportingInstance": "", "type": "Normal",
        });
        let events = json!({
            "metadata": {"name": "e"}, "regarding": {"kind": "Pod"}, "reason": "R", "note": "m", "deprecatedCount": 2,
            "deprecatedSource": {"component": "kubelet"}, "deprecatedFirstTimestamp": null,
            "deprecatedLastTimestamp": null, "eventTime": null, "reportingController": "c", "type": "Normal",
        });
        assert_eq!(from_core(core.clone()), events);
        assert_eq!(to_core(events), core);
    }

    #[test]
    fn events_go_after_whole_seconds() {
        let check = |event_ttl: Duration, expected: Option<u64>| {
            let settings = Settings { event_ttl, ..Settings::default() };
            for kind in [&CORE, &EVENTS] {
                assert_eq!((kind.time_to_live)(&settings), expected.map(Duration::from_secs), "{event_ttl:?}");
            }
        };
        check(Settings::default().event_ttl, Some(3_600));
        check(Duration::from_millis(1_900), Some(1));
        check(Duration::from_millis(900), None);
        check(Duration::ZERO, None);
    }

    #[test]
    fn fields_are_selected_in_both_forms() {
        let check = |event: Value, path: &str, expected: &str| {
            for fields in [SELECTABLE_CORE.as_slice(), SELECTABLE_EVENTS.as_slice()] {
                for field in fields.iter().filter(|field| field.path == path) {
                    assert_eq!((field.value)(&event), expected, "{path}");
                }
            }
        };
        let core = json!({"involvedObject": {"kind": "Pod"}, "reportingComponent": "c"});
        for event in [core.clone(), from_core(core)] {
            check(event.clone(), "involvedObject.kind", "Pod");
            check(event.clone(), "regarding.kind", "Pod");
            check(event.clone(), "source", "c");
            check(event, "reportingController", "c");
        }
    }
}
