//! The annotation in which `kubectl apply` keeps its last configuration on the client's side.

use serde_json::Value;
use triune_api::meta;

use super::{
    compare::compare,
    conflict::Conflict,
    schema::MergeSchema,
    set::FieldSet,
    validate::{field_set, validate},
};

/// The annotation.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Bytes that an object's annotations may have, names and values together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
/// The manager that the annotation is kept and heeded for.
pub(super) const MANAGER: &str = "kubectl";

fn annotation(object: &Value) -> Option<&str> {
    meta::annotation(object, ANNOTATION).filter(|text| !text.is_empty())
}

/// Fields of the last configuration whose values the live object still has. A conflict about one of them is none: the
/// same client set it before.
pub(super) fn owned(schema: &MergeSchema, live: &Value, api_version: &str) -> Option<FieldSet> {
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    if !last.is_object() || meta::api_version(&last) != api_version {
        return None;
    }
    validate(schema.root(), live, false).ok()?;
    validate(schema.root(), &last, false).ok()?;
    let changes = compare(schema.root(), &last, live).ok()?;
    let set = field_set(schema.root(), &last);
    Some(set.difference(&changes.modified).difference(&changes.added).difference(&changes.removed).into_owned())
}

/// Whether a conflict is about none of the fields.
pub(super) fn outside(fields: &FieldSet, conflict: &Conflict) -> bool {
    let mut found = false;
    fields.for_each(&mut |path| {
        found |= path.iter().map(ToString::to_string).collect::<String>() == conflict.path;
    });
    !found
}

/// Brings the annotation up to date, if the object has it; one that would be too large goes.
pub(super) fn refresh(object: &mut Value, applied: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut kept = applied.clone();
    if let Some(metadata) = kept.get_mut("metadata").and_then(Value::as_object_mut) {
        match metadata.get_mut("annotations") {
            // The reference reads null as empty text.
            Some(Value::Object(annotations))
                if annotations.values().all(|value| value.is_string() || value.is_null()) =>
            {
                annotations.remove(ANNOTATION);
                annotations.values_mut().filter(|value| value.is_null()).for_each(|value| *value = "".into());
            }
            // The reference reads none of them then.
            _ => drop(metadata.remove("annotations")),
        }
    }
    // The reference's encoder ends it with a line break, and escapes the signs of HTML.
    let text = kept.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n";
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else { return };
    let bytes = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    let others = annotations.iter().filter(|(key, _)| *key != ANNOTATION).map(bytes).sum::<usize>();
    if others + ANNOTATION.len() + text.len() > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    } else {
        annotations.insert(ANNOTATION.into(), Value::String(text));
    }
}
