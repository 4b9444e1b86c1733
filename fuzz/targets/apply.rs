//! Sessions of writers over one object: updates by managers, applies with and without force, `managedFields` of any
//! content.
//!
//! Entries can always be read again; what is applied twice is as if applied once (but for empty maps, as in the
//! reference); force never conflicts.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use triune_api::{decode, meta};
use triune_fuzz::{
    any_node, first, halves, kind,
    objects::{Choices, Objects, normal},
};
use triune_schema::{
    TypeRef,
    apply::{
        ApplyError, FieldManager, MergeSchema, ResetFields, Set, Versions, check_managed_fields, keep_times_if_unchanged,
    },
};

const MANAGERS: &[&str] = &["a", "kubectl", "", "kubectl-client-side-apply"];
const STEPS_MAX: usize = 6;

/// A kind in one version.
struct OneVersion<'a> {
    api_version: &'a str,
    schema: MergeSchema,
}

impl Versions for OneVersion<'_> {
    fn schema(&self, api_version: &str) -> Option<MergeSchema> {
        (api_version == self.api_version).then(|| self.schema.clone())
    }
    fn convert(&self, _: &Value, _: &str) -> Option<Value> {
        None
    }
    fn reset_fields(&self, _: &str) -> Option<Arc<ResetFields>> {
        None
    }
}

struct Session<'a> {
    declared: &'a TypeRef,
    kind: &'a str,
    manager: FieldManager<'a>,
}

impl Session<'_> {
    fn is_of_kind(&self, mut object: Value) -> Value {
        object["apiVersion"] = self.manager.api_version.into();
        object["kind"] = self.kind.into();
        object
    }

    /// What the server makes of an object before it is stored.
    fn complete(&self, object: &mut Value) {
        self.declared.normalise(object);
        self.declared.apply_defaults(object);
        meta::set_name(object, "a");
        meta::set_uid(object, "u");
    }

    fn update(&self, live: &Value, mut object: Value, name: &str) -> Value {
        self.complete(&mut object);
        self.manager.update(live, &mut object, name);
        keep_times_if_unchanged(live, &mut object);
        object
    }

    fn apply(&self, live: &Value, config: &Value, name: &str, force: bool) -> Result<Value, ApplyError> {
        let mut object = self.manager.apply(live, config, name, force, &|object| self.complete(object))?;
        keep_times_if_unchanged(live, &mut object);
        Ok(object)
    }

    /// Applies twice; the result, if it is not refused.
    fn check_apply(&self, live: &Value, config: &Value, name: &str, force: bool) -> Option<Value> {
        let outcome = self.apply(live, config, name, force);
        assert_eq!(self.apply(live, config, name, force), outcome, "not deterministic");
        let applied = match outcome {
            Ok(applied) => applied,
            Err(error) => {
                assert!(!(force && matches!(error, ApplyError::Conflicts(_))), "{error}");
                return None;
            }
        };
        // A map that loses its last field goes, even if the configuration has it, empty; the next time, it comes again.
        let again = self.apply(&applied, config, name, force).expect("what was applied can be applied again");
        let once_more = self.apply(&again, config, name, force);
        assert_eq!(once_more.as_ref(), Ok(&again), "{config} three times into {live}");
        if !any_node(config, &is_empty) {
            assert_eq!(again, applied, "{config} twice into {live}");
        }
        Some(applied)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Without what the normal form has of empty maps and lists: as users write configurations.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let members = map.into_iter().map(|(key, member)| (key, without_empty(member)));
            Value::Object(members.filter(|(_, member)| !is_empty(member)).collect())
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().map(without_empty).filter(|item| !is_empty(item)).collect())
        }
        scalar => scalar,
    }
}

fn check_entries(object: &Value) {
    let entries = meta::managed_fields(object);
    assert_eq!(check_managed_fields(entries), Ok(()), "{object}");
    for entry in entries {
        let fields = &entry["fieldsV1"];
        let set = Set::parse(fields).expect("fieldsV1");
        assert_eq!(Set::parse(&set.to_value()).expect("fieldsV1").len(), set.len());
    }
}

fuzz_target!(|data: &[u8]| {
    let (byte, data) = first(data);
    let (gvk, declared) = kind(byte);
    // Lists and the like are not applied.
    let metadata = declared.facts.json_field(declared.facts.get(declared.index), "metadata");
    if metadata.is_none_or(|metadata| &*declared.facts.shape(metadata.shape).go_type != "v1.ObjectMeta") {
        return;
    }
    let api_version = gvk.api_version();
    let versions = OneVersion { api_version: &api_version, schema: declared.clone().into() };
    let manager =
        FieldManager { api_version: &api_version, subresource: "", versions: &versions, now: "2026-11-24T10:00:00Z" };
    let session = Session { declared: &declared, kind: &gvk.kind, manager };
    let objects = Objects::of(&declared.facts);
    let (choices, text) = halves(data);
    let choices = &mut Choices::new(choices);

    let mut live = session.is_of_kind(json!({}));
    for _ in 0..STEPS_MAX {
        let name = *choices.one(MANAGERS);
        match choices.below(4) {
            1 => {
                let config = objects.object(&declared, choices);
                let config = if choices.below(4) > 0 { without_empty(config) } else { config };
                let config = session.is_of_kind(config);
                let Some(applied) = session.check_apply(&live, &config, name, false) else { continue };
                live = applied;
            }
            2 => {
                let mut config = objects.changed(&declared, &live, choices);
                meta::remove(&mut config, "managedFields");
                let config = if choices.below(4) > 0 { without_empty(config) } else { config };
                let config = session.is_of_kind(config);
                let Some(applied) = session.check_apply(&live, &config, name, true) else { continue };
                live = applied;
            }
            _ => live = session.update(&live, session.is_of_kind(objects.changed(&declared, &live, choices)), name),
        }
        check_entries(&live);
    }
    // Entries of any content, in an update and in what is live.
    if let Ok(Value::Array(entries)) = decode::json(text) {
        let mut sent = live.clone();
        meta::set_managed_fields(&mut sent, entries);
        check_entries(&session.update(&live, sent.clone(), "b"));
        let config = session.is_of_kind(objects.object(&declared, choices));
        if let Ok(applied) = session.apply(&normal(&declared, sent), &config, "b", true) {
            check_entries(&applied);
        }
    }
});
