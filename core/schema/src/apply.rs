//! Who manages which field: server-side apply and the `managedFields` that every write keeps up to date.
//!
//! In reading order:
//!
//! - `element`, `set`, `fields`: paths, sets of them, and their form in JSON (`fieldsV1`)
//! - `schema`: how objects of a type are merged
//! - `validate`: whether an object is of a type, and which fields it sets
//! - `compare`, `merge`: what two objects differ in, one laid over the other
//! - `numbers`: numbers of a configuration as Go's structs hold them
//! - `entries`: `managedFields` read and written
//! - `updater`: who owns what after a write, across versions
//! - `last_applied`: the annotation of client-side apply
//! - `times`: entries whose time alone would change
//!
//! Facts are those of structured-merge-diff v6.4.2 and apimachinery `pkg/util/managedfields`. Deliberately absent: a
//! clock (callers say what time it is), admission, which resources there are.

mod compare;
mod conflict;
mod element;
mod entries;
mod fields;
mod last_applied;
mod merge;
mod numbers;
mod schema;
mod set;
#[cfg(test)]
mod tests;
mod times;
mod updater;
mod validate;

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use triune_api::meta;

pub use conflict::{ApplyError, Conflict, ManagerId};
pub use element::{PathElement, Scalar};
pub use entries::Operation;
use entries::{Entry, Identity, Written};
pub use fields::FieldsError;
pub use schema::MergeSchema;
use schema::print_kind;
pub use set::{FieldSet, Set};
pub use times::keep_times_if_unchanged;
use updater::Updater;

/// The manager of fields that an object had before anybody applied to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Fields that nobody manages.
static UNMANAGED: LazyLock<FieldSet> = LazyLock::new(|| {
    Set::from_paths(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// The versions of one kind: entries of `managedFields` may be in any of them.
pub trait Versions: Send + Sync {
    /// How objects of a version are merged; None if the kind does not have it.
    fn schema(&self, api_version: &str) -> Option<MergeSchema>;
    /// An object in another version. It may lack what a whole object has, and have nulls. None if it cannot be had.
    fn convert(&self, object: &Value, to_api_version: &str) -> Option<Value>;
    /// Fields that requests of this resource or subresource do not set, in a version.
    fn reset_fields(&self, api_version: &str) -> Option<Arc<ResetFields>>;
}

/// Fields that requests of a resource or subresource do not set, whatever they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResetFields {
    /// These, and what is below them.
    These(FieldSet),
    /// All but these and what is below them. Paths name fields alone: what is in lists on the way is passed through.
    AllBut(FieldSet),
}

impl ResetFields {
    /// The paths of a set that requests do set.
    fn leave<'a>(&self, set: Set<'a>) -> Set<'a> {
        match self {
            ResetFields::These(fields) => set.recursive_difference(fields),
            ResetFields::AllBut(fields) => set.at_or_below(fields),
        }
    }
}

/// Keeps `managedFields` for the requests of one resource or subresource.
pub struct FieldManager<'a> {
    /// Of the request, and of the objects that are given.
    pub api_version: &'a str,
    /// "" for the object itself.
    pub subresource: &'a str,
    /// The versions of its kind.
    pub versions: &'a dyn Versions,
    /// What time it is: RFC 3339, seconds.
    pub now: &'a str,
}

impl FieldManager<'_> {
    /// Tracks a create (`live` has nothing but `apiVersion` and `kind`) or an update by `manager`: `managedFields` of
    /// `new` say what they should. Both objects are in normal form. Entries that the client sent are taken as they are;
    /// an empty list, or a list with one empty entry, makes the object forget them; none at all, malformed ones, or any sent to a
    /// subresource, are those of `live`.
    ///
    /// Nothing is refused: where the reference would fail, the entries of `live` are kept.
    pub fn update(&self, live: &Value, new: &mut Value, manager: &str) {
        if !new.get("metadata").is_some_and(Value::is_object) {
            return;
        }
        let mut sent = match meta::remove(new, "managedFields") {
            Some(Value::Array(sent)) => Some(sent),
            _ => None,
        };
        let written = self.track(live, new, sent.as_deref(), manager);
        let entries = match written {
            Some((written, from_sent)) => {
                let kept = |at: usize| match &mut sent {
                    Some(sent) if from_sent => sent.get_mut(at).map(Value::take),
                    _ => meta::managed_fields(live).get(at).cloned(),
                };
                settle(written, kept)
            }
            None => meta::managed_fields(live).to_vec(),
        };
        meta::set_managed_fields(new, entries);
    }

    /// What to write as `managedFields` after an update, and whether kept entries are those that were sent; None if it
    /// cannot be told.
    fn track(&self, live: &Value, new: &Value, sent: Option<&[Value]>, manager: &str) -> Option<(Vec<Written>, bool)> {
        let of_live = || entries::read(meta::managed_fields(live)).unwrap_or_default();
        let (mut managed, from_sent) = match sent {
            Some(sent) if self.subresource.is_empty() => match is_reset(sent) {
                true => (Vec::new(), true),
                false => match entries::read(sent) {
                    Ok(managed) if !managed.is_empty() => (managed, true),
                    _ => (of_live(), false),
                },
            },
            _ => (of_live(), false),
        };
        let created = meta::uid(live).is_empty();
        // Objects that nobody's fields are known of stay so until somebody applies to them.
        if managed.is_empty() && !created {
            return Some((Vec::new(), from_sent));
        }
        let schema = self.versions.schema(self.api_version)?;
        let empty = is_blank(live).then(|| schema.empty_object(self.api_version, meta::kind(new)));
        let live = empty.as_ref().unwrap_or(live);
        self.update_entries(&self.updater(&schema), live, new, &mut managed, manager).ok()?;
        Some((entries::write(managed), from_sent))
    }

    fn updater<'u>(&'u self, schema: &'u MergeSchema) -> Updater<'u> {
        let reset = self.versions.reset_fields(self.api_version);
        Updater { versions: self.versions, api_version: self.api_version, schema, reset }
    }

    fn identity<'i>(&'i self, manager: &'i str, operation: Operation) -> Identity<'i> {
        let manager = if manager.is_empty() { "unknown" } else { manager };
        Identity { manager, operation, api_version: self.api_version, subresource: self.subresource }
    }

    /// Takes what a write changed from everybody's entries and adds it to the manager's.
    fn update_entries<'o>(
        &'o self,
        updater: &Updater<'o>,
        live: &'o Value,
        new: &'o Value,
        managed: &mut Vec<Entry<'o>>,
        manager: &'o str,
    ) -> Result<(), ApplyError> {
        let set = updater.update(live, new, managed)?.difference(&UNMANAGED);
        if !set.is_empty() {
            let identity = self.identity(manager, Operation::Update);
            match managed.iter_mut().find(|entry| entry.is_of(identity)) {
                Some(entry) => {
                    entry.set = std::mem::take(&mut entry.set).union(set);
                    entry.time = Some(self.now.into());
                    entry.unchanged = None;
                }
                None => managed.push(Entry::new(identity, set, Some(self.now))),
            }
        }
        entries::cap(managed);
        Ok(())
    }

    /// Applies a configuration as the client sent it (no defaults, not in normal form) to the live object, which has
    /// nothing but `apiVersion` and `kind` if there is none yet. `default` brings the result to normal form with
    /// defaults. The result is in the version of the request and has `managedFields`; if the configuration changes
    /// nothing, it is the live object.
    ///
    /// # Errors
    /// Conflicts, unless `force` is set; configurations of another version, with `managedFields`, or that do not fit
    /// their type.
    pub fn apply(
        &self,
        live: &Value,
        applied: &Value,
        manager: &str,
        force: bool,
        default: &dyn Fn(&mut Value),
    ) -> Result<Value, ApplyError> {
        let schema = self.versions.schema(self.api_version).ok_or_else(|| {
            ApplyError::failed(format!("no corresponding type for {}", print_kind(self.api_version, meta::kind(live))))
        })?;
        let empty = is_blank(live).then(|| schema.empty_object(self.api_version, meta::kind(live)));
        let live = empty.as_ref().unwrap_or(live);
        let request = Apply { field_manager: self, schema: &schema, live, applied, manager };
        let (mut object, written) = match request.run(force, default) {
            Err(ApplyError::Conflicts(conflicts)) if manager == last_applied::MANAGER => {
                request.run_after_client_side(conflicts, default)?
            }
            outcome => outcome?,
        };
        if manager == last_applied::MANAGER {
            last_applied::refresh(&mut object, applied);
        }
        let entries = settle(written, |at| meta::managed_fields(live).get(at).cloned());
        meta::set_managed_fields(&mut object, entries);
        Ok(object)
    }
}

/// One apply.
struct Apply<'a> {
    field_manager: &'a FieldManager<'a>,
    schema: &'a MergeSchema,
    live: &'a Value,
    applied: &'a Value,
    manager: &'a str,
}

impl Apply<'_> {
    /// The result and its entries.
    fn run(&self, force: bool, default: &dyn Fn(&mut Value)) -> Result<(Value, Vec<Written>), ApplyError> {
        let Apply { field_manager, schema, live, applied, manager } = *self;
        let mut managed = entries::read(meta::managed_fields(live))
            .map_err(|error| ApplyError::failed(format!("failed to decode managed fields: {error}")))?;
        self.check_kind()?;
        let updater = field_manager.updater(schema);
        let nothing;
        if managed.is_empty() {
            validate::validate(schema.root(), live, true).map_err(|errors| {
                let object = conflict::describe(live);
                ApplyError::failed(format!(
                    "failed to create manager for existing fields: failed to convert new object ({object}) to smd typed: {errors}"
                ))
            })?;
            nothing = schema.empty_object(field_manager.api_version, meta::kind(live));
            field_manager.update_entries(&updater, &nothing, live, &mut managed, BEFORE_FIRST_APPLY).map_err(
                |error| ApplyError::failed(format!("failed to create manager for existing fields: {error}")),
            )?;
        }
        if applied.pointer("/metadata/managedFields").is_some_and(Value::is_array) {
            return Err(ApplyError::BadRequest("metadata.managedFields must be nil".into()));
        }
        validate::validate(schema.root(), applied, false).map_err(|errors| {
            ApplyError::failed(format!(
                "failed to create typed patch object ({}): {errors}",
                conflict::describe(applied)
            ))
        })?;
        validate::validate(schema.root(), live, true).map_err(|errors| {
            ApplyError::failed(format!("failed to create typed live object ({}): {errors}", conflict::describe(live)))
        })?;
        let identity = field_manager.identity(manager, Operation::Apply);
        let merged = updater.apply(live, applied, &mut managed, identity, force)?;
        if let Some(at) = managed.iter().position(|entry| entry.is_of(identity)) {
            let entry = &mut managed[at];
            entry.lose(&UNMANAGED);
            if merged.is_some() {
                entry.time = Some(field_manager.now.into());
            }
            if entry.set.is_empty() {
                managed.remove(at);
            }
        }
        let written = entries::write(managed);
        let object = match merged {
            Some(mut object) => {
                self.check_types(&mut object)?;
                default(&mut object);
                object
            }
            None => live.clone(),
        };
        Ok((object, written))
    }

    /// Applies once more after conflicts: those about fields that the same client applied before on its own side are
    /// none.
    fn run_after_client_side(
        &self,
        conflicts: Vec<Conflict>,
        default: &dyn Fn(&mut Value),
    ) -> Result<(Value, Vec<Written>), ApplyError> {
        let Some(fields) = last_applied::owned(self.schema, self.live, self.field_manager.api_version) else {
            return Err(ApplyError::Conflicts(conflicts));
        };
        let left: Vec<Conflict> =
            conflicts.into_iter().filter(|conflict| last_applied::outside(&fields, conflict)).collect();
        if left.is_empty() { self.run(true, default) } else { Err(ApplyError::Conflicts(left)) }
    }

    fn check_kind(&self) -> Result<(), ApplyError> {
        let (api_version, kind) = (meta::api_version(self.applied), meta::kind(self.applied));
        if api_version != self.field_manager.api_version || kind != meta::kind(self.live) {
            let kind = print_kind(api_version, kind);
            return Err(ApplyError::BadRequest(format!("invalid object type: {kind}")));
        }
        Ok(())
    }

    /// What fits the schema may still not be readable, such as a malformed quantity.
    fn check_types(&self, object: &mut Value) -> Result<(), ApplyError> {
        let Some(declared) = self.schema.declared() else { return Ok(()) };
        let outcome = declared.check_types(object).or_else(|_| {
            numbers::fit(&declared, object)?;
            declared.check_types(object).map_err(own_words)
        });
        outcome.map_err(|error| {
            let kind = print_kind(meta::api_version(self.applied), meta::kind(self.applied));
            ApplyError::failed(format!(
                "failed to convert new object ({}) to proper version: unable to convert unstructured object to {kind}: {error}",
                conflict::describe(self.applied)
            ))
        })
    }
}

/// An error of a value that decodes itself, which does not know the field that it is in.
fn own_words(error: String) -> String {
    if let Some((start, rest)) = error.split_once("Go struct field ")
        && let Some((_, kind)) = rest.split_once(" of type ")
    {
        return format!("{start}Go value of type {kind}");
    }
    if error.starts_with("illegal base64 data") { format!("error decoding from json: {error}") } else { error }
}

/// Whether there is no object yet: nothing but its kind is known.
fn is_blank(live: &Value) -> bool {
    live.as_object().is_some_and(|live| live.keys().all(|key| key == "apiVersion" || key == "kind"))
}

/// Whether entries that a client sends ask to start anew: none, or a single empty one.
fn is_reset(sent: &[Value]) -> bool {
    let blank = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    match sent {
        [] => true,
        [Value::Object(entry)] => entry.values().all(blank),
        [entry] => entry.is_null(),
        _ => false,
    }
}

/// Entries to write, with those that nothing changed as they were.
fn settle(written: Vec<Written>, mut kept: impl FnMut(usize) -> Option<Value>) -> Vec<Value> {
    let entry = |written| match written {
        Written::Kept(at) => kept(at),
        Written::New(entry) => Some(entry),
    };
    written.into_iter().filter_map(entry).collect()
}

/// What makes entries unreadable; webhooks that leave such entries are told so.
///
/// # Errors
/// In the words of the reference.
pub fn check_managed_fields(entries: &[Value]) -> Result<(), String> {
    entries::read(entries).map(drop)
}
