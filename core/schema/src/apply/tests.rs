//! Tests of field management: objects are text, sets are printed as lists of paths.

mod apply;
mod properties;
mod sets;
mod typed;
mod update;
mod versions;

use std::sync::Arc;

use serde_json::Value;
use triune_api::meta;

use super::{ApplyError, FieldManager, MergeSchema, ResetFields, Set, Versions};
use crate::testing::built_in;

/// JSON, where quotes around names and plain words may be left out: `{a: b, c: [1, d]}`.
fn tree(text: &str) -> Value {
    if let Ok(value) = serde_json::from_str(text) {
        return value;
    }
    let mut quoted = String::new();
    let mut word = String::new();
    let mut inside = false;
    let flush = |word: &mut String, quoted: &mut String| {
        let plain =
            word.is_empty() || matches!(word.as_str(), "null" | "true" | "false") || word.parse::<f64>().is_ok();
        quoted.push_str(&if plain { word.clone() } else { format!("{word:?}") });
        word.clear();
    };
    for sign in text.chars() {
        if inside || sign == '"' {
            quoted.push(sign);
            inside ^= sign == '"';
        } else if sign.is_whitespace() || "{}[],:".contains(sign) && !(sign == ':' && word.starts_with('@')) {
            flush(&mut word, &mut quoted);
            quoted.push(sign);
        } else {
            word.push(sign);
        }
    }
    flush(&mut word, &mut quoted);
    serde_json::from_str(&quoted).unwrap_or_else(|error| panic!("{error} in {quoted}"))
}

/// Paths of a set, in words, in the order of conflicts.
fn paths(set: &Set<'_>) -> Vec<String> {
    let mut paths = Vec::new();
    set.for_each(&mut |path| paths.push(path.iter().map(ToString::to_string).collect::<String>()));
    paths
}

/// A kind of the built-in table in one version.
struct OneVersion {
    schema: MergeSchema,
    api_version: String,
    reset: Option<Arc<ResetFields>>,
}

impl OneVersion {
    fn of(object: &Value) -> OneVersion {
        OneVersion { schema: built_in(object).into(), api_version: meta::api_version(object).into(), reset: None }
    }
}

impl Versions for OneVersion {
    fn schema(&self, api_version: &str) -> Option<MergeSchema> {
        (api_version == self.api_version).then(|| self.schema.clone())
    }
    fn convert(&self, _: &Value, _: &str) -> Option<Value> {
        None
    }
    fn reset_fields(&self, _: &str) -> Option<Arc<ResetFields>> {
        self.reset.clone()
    }
}

/// An object and those who write it, in turn.
struct Session {
    versions: OneVersion,
    live: Value,
    subresource: &'static str,
    clock: u32,
}

impl Session {
    fn new(api_version: &str, kind: &str) -> Session {
        let live = serde_json::json!({"apiVersion": api_version, "kind": kind});
        Session { versions: OneVersion::of(&live), live, subresource: "", clock: 0 }
    }

    fn manage<T>(&mut self, act: impl FnOnce(&FieldManager<'_>, &Value) -> T) -> T {
        self.clock += 1;
        let now = format!("2026-11-24T10:00:{:02}Z", self.clock);
        let api_version = meta::api_version(&self.live).to_string();
        let manager = FieldManager {
            api_version: &api_version,
            subresource: self.subresource,
            versions: &self.versions,
            now: &now,
        };
        act(&manager, &self.live)
    }

    fn complete(&self, object: &mut Value) {
        for field in ["apiVersion", "kind"] {
            object[field] = self.live[field].clone();
        }
        // An empty list says something here.
        let sent = object.pointer("/metadata/managedFields").cloned();
        let declared = built_in(&self.live);
        declared.normalise(object);
        declared.apply_defaults(object);
        meta::set_name(object, "a");
        meta::set_uid(object, "u");
        sent.into_iter().for_each(|sent| meta::set(object, "managedFields", sent));
    }

    /// Somebody writes the whole object.
    fn update(&mut self, manager: &str, object: &str) -> &mut Session {
        let mut object = tree(object);
        self.complete(&mut object);
        self.manage(|fields, live| fields.update(live, &mut object, manager));
        self.live = object;
        self
    }

    fn try_apply(&mut self, manager: &str, force: bool, applied: &str) -> Result<(), ApplyError> {
        let mut applied = tree(applied);
        for field in ["apiVersion", "kind"] {
            applied[field] = self.live[field].clone();
        }
        let live = self.live.clone();
        let result = self.manage(|fields, _| {
            let default = |object: &mut Value| {
                let declared = built_in(object);
                declared.normalise(object);
                declared.apply_defaults(object);
                meta::set_name(object, "a");
                meta::set_uid(object, "u");
            };
            fields.apply(&live, &applied, manager, force, &default)
        })?;
        self.live = result;
        Ok(())
    }

    /// Somebody applies a configuration, without conflicts.
    fn apply(&mut self, manager: &str, applied: &str) -> &mut Session {
        if let Err(error) = self.try_apply(manager, false, applied) {
            panic!("{error}");
        }
        self
    }

    /// Somebody applies a configuration, whatever others own.
    fn force(&mut self, manager: &str, applied: &str) -> &mut Session {
        if let Err(error) = self.try_apply(manager, true, applied) {
            panic!("{error}");
        }
        self
    }

    /// Somebody applies a configuration and is told why that cannot be.
    fn refused(&mut self, manager: &str, applied: &str, message: &str) -> &mut Session {
        match self.try_apply(manager, false, applied) {
            Ok(()) => panic!("applied: {}", self.live),
            Err(error) => assert_eq!(error.to_string(), message),
        }
        self
    }

    /// Fields of the live object, by pointer: `/spec/replicas=3`; `(none)` for absent ones.
    fn has(&mut self, wanted: &[&str]) -> &mut Session {
        for wanted in wanted {
            let (pointer, text) = wanted.split_once('=').unwrap();
            let found = self.live.pointer(pointer).map_or("(none)".into(), Value::to_string);
            let text = if text == "(none)" { text.to_string() } else { tree(text).to_string() };
            assert_eq!(found, text, "{pointer} of {}", self.live);
        }
        self
    }

    /// Who owns what: `manager Operation second: .path .path`.
    fn owned(&mut self, wanted: &[&str]) -> &mut Session {
        let mut found = Vec::new();
        for entry in meta::managed_fields(&self.live) {
            let text = |field: &str| entry[field].as_str().unwrap_or_default();
            let second = text("time").strip_prefix("2026-11-24T10:00:").map_or("-", |time| &time[..2]);
            let set = Set::parse(&entry["fieldsV1"]).unwrap();
            let subresource = match text("subresource") {
                "" => String::new(),
                name => format!("/{name}"),
            };
            let paths = paths(&set).join(" ");
            found.push(format!("{}{subresource} {} {second}: {paths}", text("manager"), text("operation")));
        }
        assert_eq!(found, wanted, "in {}", self.live);
        self
    }
}
