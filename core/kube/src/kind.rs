//! What may differ from kind to kind, and the strategies that interpret it.
//!
//! A [`Kind`] is a table of functions whose defaults are the generic behaviour; [`MainStrategy`] and [`StatusStrategy`] keep
//! the rules that all kinds share: a create starts with an empty status, an update of the resource keeps the status, an
//! update of the status keeps all the rest.

use std::{borrow::Cow, sync::Arc, time::Duration};

use crate::{
    kinds::validation::finalizers,
    settings::Settings,
    table::{self, TableColumn},
    tree,
};
use triune_api::{Value, field::FieldError, names::ObjectKey, status::Status};
use triune_machinery::{
    context::Context,
    registry::{Column, DependentsPolicy, ResetFields, Strategy},
};

/// The behaviour of a kind. Each field has a generic value in [`Kind::GENERIC`]: a kind states what is special about it.
pub struct Kind {
    /// Sets what a client left out. Idempotent: it runs on creates and on updates.
    pub defaults: fn(&mut Value),
    /// Completes a new object with what depends on settings and chance, after the defaults, or refuses it before anything
    /// else is looked at (the reference's `BeginCreate`).
    pub begin_create: Option<fn(&Context, &Settings, &mut Value) -> Result<(), Status>>,
    /// Likewise a changed object (old, new).
    pub begin_update: Option<fn(&Context, &Settings, &Value, &mut Value) -> Result<(), Status>>,
    /// Completes a new object, after the defaults.
    pub create: fn(&Context, &Settings, &mut Value),
    /// Completes a changed object (old, new), after the defaults.
    pub update: fn(&Context, &Settings, &Value, &mut Value),
    /// Completes an object whose status was changed (old, new).
    pub update_status: fn(&Context, &Value, &mut Value),
    /// What is wrong with an object, new or changed.
    pub validate: fn(&Value, &mut Vec<FieldError>),
    /// What is wrong with a new object only.
    pub validate_create: fn(&Value, &mut Vec<FieldError>),
    /// What is wrong with a change (old, new).
    pub validate_update: fn(&Value, &Value, &mut Vec<FieldError>),
    /// What is wrong with a change of the status (old, new).
    pub validate_status: fn(&Value, &Value, &mut Vec<FieldError>),
    /// What is wrong with a change of the finalizers of a namespace (old, new).
    pub validate_finalize: fn(&Value, &Value, &mut Vec<FieldError>),
    /// Whether the functions above check the closed sets of the type, see [`Strategy::validates_closed_sets`].
    pub closed_sets: bool,
    /// What is wrong with a change of the status (old, new), by the time and the user of the request.
    pub validate_status_now: fn(&Context, &Value, &Value, &mut Vec<FieldError>),
    /// What is wrong with the name, besides the rule among the flags.
    pub validate_name: Option<fn(&str) -> Vec<String>>,
    /// Warning on every request.
    pub deprecation: Option<&'static str>,
    /// Warnings on create and update.
    pub warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    /// Whether a create may bring a status although there is a status subresource (nodes).
    pub creates_with_status: bool,
    /// Seconds of grace of a delete, see [`Strategy::grace_seconds`].
    pub grace_seconds: fn(&Value, Option<i64>) -> Option<i64>,
    /// Why a delete is refused.
    pub check_delete: fn(&Value) -> Result<(), Status>,
    /// Whether something besides `metadata.finalizers` keeps a terminating object.
    pub holds_on_delete: fn(&Value) -> bool,
    /// Changes an object that becomes terminating.
    pub prepare_for_delete: fn(&mut Value),
    /// Whether the answer to a delete is the object.
    pub returns_deleted_object: bool,
    /// What a delete does with dependents where the request names no policy.
    pub dependents: DependentsPolicy,
    /// The object is removed by itself this long after its last write.
    pub time_to_live: fn(&Settings) -> Option<Duration>,
    /// Selectable fields besides name and namespace.
    pub selectable: &'static [Selectable],
    /// Selectable fields of another version that shares the storage: both versions' lists and watches read one cache.
    pub selectable_elsewhere: &'static [Selectable],
    /// Columns and cells.
    pub table: &'static [TableColumn],
    /// The conditions of an object's row in a table.
    pub row_conditions: fn(&Value) -> Vec<Value>,
    /// Which object of a list its table marks as the default.
    pub default_of: Option<fn(&[Value]) -> Option<&Value>>,
    /// From the served version to the storage version.
    pub to_storage: Option<fn(Value) -> Value>,
    /// From the storage version to the served version.
    pub from_storage: Option<fn(Value) -> Value>,
    /// Whether no update changes the spec, whoever asks (signing requests).
    pub resets_spec: bool,
    /// Unique names that an object holds.
    pub claims: fn(&ObjectKey, &Value) -> Vec<(Arc<str>, Arc<str>)>,
    /// The answer when another object holds a claim; None draws another name.
    pub claim_refused: fn(&ObjectKey, &str, &str, &str) -> Option<Status>,
}

/// A field that field selectors may name.
#[derive(Clone, Copy)]
pub struct Selectable {
    /// As in selectors.
    pub path: &'static str,
    /// The field's text in an object.
    pub value: fn(&Value) -> String,
}

impl Kind {
    /// The generic behaviour.
    pub const GENERIC: Kind = Kind {
        defaults: |_| {},
        begin_create: None,
        begin_update: None,
        create: |_, _, _| {},
        update: |_, _, _, _| {},
        update_status: |_, _, _| {},
        validate: |_, _| {},
        validate_create: |_, _| {},
        validate_update: |_, _, _| {},
        validate_status: |_, _, _| {},
        validate_finalize: |_, _, _| {},
        closed_sets: false,
        validate_status_now: |_, _, _, _| {},
        validate_name: None,
        deprecation: None,
        warnings: |_, _| Vec::new(),
        creates_with_status: false,
        grace_seconds: |_, _| None,
        check_delete: |_| Ok(()),
        holds_on_delete: |_| false,
        prepare_for_delete: |_| {},
        returns_deleted_object: false,
        dependents: DependentsPolicy::Delete,
        time_to_live: |_| None,
        selectable: &[],
        selectable_elsewhere: &[],
        table: table::NAME_AND_AGE,
        row_conditions: |_| Vec::new(),
        default_of: None,
        to_storage: None,
        from_storage: None,
        resets_spec: false,
        claims: |_, _| Vec::new(),
        claim_refused: |key, space, name, holder| {
            let why = format!("{space} {name} is held by {holder}");
            Some(Status::conflict(&key.resource, &key.name, why))
        },
    };
}

/// What `resources.tsv` says of a kind's behaviour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// There is a status subresource: the status is written there only.
    pub status: bool,
    /// `metadata.generation` is kept.
    pub generation: bool,
    /// PUT creates what does not exist.
    pub create_on_update: bool,
    /// PUT needs a resourceVersion.
    pub conditional: bool,
    /// What names look like.
    pub name: NameRule,
    /// What a status update may not change of the metadata.
    pub status_metadata: StatusMetadata,
}

/// What names look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomains.
    #[default]
    Subdomain,
    /// RFC 1123 labels.
    Label,
    /// Anything that can stand between slashes.
    PathSegment,
}

/// What a status update may not change of the metadata; kinds of different age differ in the reference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StatusMetadata {
    /// Labels, annotations, owners and finalizers may change.
    #[default]
    Free,
    /// None of these may.
    Old,
    /// Labels may not.
    OldLabels,
    /// Owner references may not.
    OldOwners,
}

/// Serves a resource.
pub struct MainStrategy {
    kind: &'static Kind,
    flags: Flags,
    settings: Arc<Settings>,
    selectable_paths: Vec<Cow<'static, str>>,
    /// What a status is that nobody wrote, in normal form.
    empty_status: Value,
}

impl MainStrategy {
    /// Of a kind with its flags and the status of an object that has none yet.
    pub fn new(kind: &'static Kind, flags: Flags, settings: Arc<Settings>, empty_status: Value) -> MainStrategy {
        let selectable_paths = kind.selectable.iter().map(|field| field.path.into()).collect();
        MainStrategy { kind, flags, settings, selectable_paths, empty_status }
    }
}

/// Serves `status`.
pub struct StatusStrategy {
    /// The kind of the resource.
    pub kind: &'static Kind,
    /// What may not change of the metadata.
    pub metadata: StatusMetadata,
}

/// Serves `finalize` of namespaces: an update of `spec.finalizers` alone.
pub struct FinalizeStrategy {
    /// The kind of the resource.
    pub kind: &'static Kind,
}

impl Strategy for MainStrategy {
    fn defaults(&self, object: &mut Value) {
        (self.kind.defaults)(object);
    }

    fn reset_fields(&self) -> ResetFields {
        match (self.flags.status, self.kind.resets_spec) {
            (true, false) => ResetFields::These(&[&["status"]]),
            (true, true) => ResetFields::These(&[&["spec"], &["status"]]),
            (false, _) => ResetFields::None,
        }
    }

    fn begin_create(&self, context: &Context, object: &mut Value) -> Result<(), Status> {
        let Some(begin) = self.kind.begin_create else { return Ok(()) };
        (self.kind.defaults)(object);
        begin(context, &self.settings, object)
    }

    fn begin_update(&self, context: &Context, old: &Value, new: &mut Value) -> Result<(), Status> {
        let Some(begin) = self.kind.begin_update else { return Ok(()) };
        (self.kind.defaults)(new);
        begin(context, &self.settings, old, new)
    }

    fn prepare_for_create(&self, context: &Context, object: &mut Value) {
        if self.flags.status && !self.kind.creates_with_status {
            tree::set(object, "status", self.empty_status.clone());
        }
        (self.kind.defaults)(object);
        (self.kind.create)(context, &self.settings, object);
    }

    fn prepare_for_update(&self, context: &Context, old: &Value, new: &mut Value) {
        if self.flags.status {
            tree::copy_field(old, new, "status");
        }
        (self.kind.defaults)(new);
        (self.kind.update)(context, &self.settings, old, new);
    }

    fn validate_create(&self, _: &Context, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        finalizers(object, &mut errors);
        (self.kind.validate)(object, &mut errors);
        (self.kind.validate_create)(object, &mut errors);
        errors
    }

    fn validate_update(&self, _: &Context, old: &Value, new: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        finalizers(new, &mut errors);
        (self.kind.validate)(new, &mut errors);
        (self.kind.validate_update)(old, new, &mut errors);
        errors
    }

    fn validates_closed_sets(&self) -> bool {
        self.kind.closed_sets
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        if let Some(validate) = self.kind.validate_name {
            return validate(name);
        }
        match self.flags.name {
            NameRule::Subdomain => triune_api::validation::dns_subdomain(name),
            NameRule::Label => triune_api::validation::dns_label(name),
            NameRule::PathSegment => triune_api::validation::path_segment_name(name),
        }
    }

    fn deprecation(&self) -> Option<&'static str> {
        self.kind.deprecation
    }

    fn uses_generation(&self) -> bool {
        self.flags.generation
    }

    fn allows_create_on_update(&self) -> bool {
        self.flags.create_on_update
    }

    fn allows_unconditional_update(&self) -> bool {
        !self.flags.conditional
    }

    fn warnings(&self, _: &Context, object: &Value, old: Option<&Value>) -> Vec<String> {
        (self.kind.warnings)(object, old)
    }

    fn grace_seconds(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        (self.kind.grace_seconds)(object, requested)
    }

    fn check_delete(&self, _: &Context, object: &Value) -> Result<(), Status> {
        (self.kind.check_delete)(object)
    }

    fn holds_on_delete(&self, object: &Value) -> bool {
        (self.kind.holds_on_delete)(object)
    }

    fn prepare_for_delete(&self, object: &mut Value) {
        (self.kind.prepare_for_delete)(object);
    }

    fn returns_deleted_object(&self) -> bool {
        self.kind.returns_deleted_object
    }

    fn dependents_policy(&self) -> DependentsPolicy {
        self.kind.dependents
    }

    fn time_to_live(&self, _: &Value) -> Option<Duration> {
        (self.kind.time_to_live)(&self.settings)
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        let fields = self.kind.selectable.iter().chain(self.kind.selectable_elsewhere);
        fields.map(|field| (field.path.into(), (field.value)(object))).collect()
    }

    fn selectable_paths(&self) -> &[Cow<'static, str>] {
        &self.selectable_paths
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(self.kind.table)
    }

    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        table::cells(self.kind.table, object, now)
    }

    fn row_conditions(&self, object: &Value) -> Vec<Value> {
        (self.kind.row_conditions)(object)
    }

    fn marks_default(&self) -> bool {
        self.kind.default_of.is_some()
    }

    fn default_of<'a>(&self, objects: &'a [Value]) -> Option<&'a Value> {
        self.kind.default_of.and_then(|choose| choose(objects))
    }

    fn served_to_storage(&self) -> Option<fn(Value) -> Value> {
        self.kind.to_storage
    }

    fn storage_to_served(&self) -> Option<fn(Value) -> Value> {
        self.kind.from_storage
    }

    fn claims(&self, key: &ObjectKey, object: &Value) -> Vec<(Arc<str>, Arc<str>)> {
        (self.kind.claims)(key, object)
    }

    fn claim_refused(&self, key: &ObjectKey, space: &str, name: &str, holder: &str) -> Option<Status> {
        (self.kind.claim_refused)(key, space, name, holder)
    }
}

impl Strategy for StatusStrategy {
    fn reset_fields(&self) -> ResetFields {
        ResetFields::These(match (self.metadata, self.kind.resets_spec) {
            (_, true) => &[&["spec"], &["status", "conditions"]],
            (StatusMetadata::Free, false) => &[&["spec"]],
            (StatusMetadata::Old, false) => &[&["spec"], &["metadata"]],
            (StatusMetadata::OldLabels, false) => &[&["spec"], &["metadata", "labels"]],
            (StatusMetadata::OldOwners, false) => {
                &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]
            }
        })
    }

    fn prepare_for_update(&self, context: &Context, old: &Value, new: &mut Value) {
        keep_all_but(&["apiVersion", "kind", "metadata", "status"], old, new);
        keep_metadata(self.metadata, old, new);
        (self.kind.defaults)(new);
        (self.kind.update_status)(context, old, new);
    }

    fn validate_update(&self, context: &Context, old: &Value, new: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        (self.kind.validate_status)(old, new, &mut errors);
        (self.kind.validate_status_now)(context, old, new, &mut errors);
        errors
    }

    fn validates_closed_sets(&self) -> bool {
        self.kind.closed_sets
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(self.kind.table)
    }

    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        table::cells(self.kind.table, object, now)
    }

    fn holds_on_delete(&self, object: &Value) -> bool {
        (self.kind.holds_on_delete)(object)
    }

    fn served_to_storage(&self) -> Option<fn(Value) -> Value> {
        self.kind.to_storage
    }

    fn storage_to_served(&self) -> Option<fn(Value) -> Value> {
        self.kind.from_storage
    }
}

impl Strategy for FinalizeStrategy {
    fn reset_fields(&self) -> ResetFields {
        ResetFields::These(&[&["status"]])
    }

    fn prepare_for_update(&self, _: &Context, old: &Value, new: &mut Value) {
        keep_all_but(&["apiVersion", "kind", "metadata", "spec"], old, new);
        let finalizers = new.pointer("/spec/finalizers").cloned();
        tree::copy_field(old, new, "spec");
        if let Some(spec) = tree::child(new, "spec") {
            match finalizers {
                Some(finalizers) => tree::set(spec, "finalizers", finalizers),
                None => tree::remove(spec, "finalizers"),
            }
        }
        (self.kind.defaults)(new);
    }

    fn validate_update(&self, _: &Context, old: &Value, new: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        (self.kind.validate_finalize)(old, new, &mut errors);
        errors
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(self.kind.table)
    }

    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        table::cells(self.kind.table, object, now)
    }

    fn holds_on_delete(&self, object: &Value) -> bool {
        (self.kind.holds_on_delete)(object)
    }
}

/// Makes the metadata of a changed object what it was, as far as a subresource may not change it. Who owns which field is
/// never put back: it says what this very request set.
pub fn keep_metadata(kept: StatusMetadata, old: &Value, new: &mut Value) {
    let kept: &[&str] = match kept {
        StatusMetadata::Free => &[],
        StatusMetadata::Old => &["labels", "annotations", "finalizers", "ownerReferences"],
        StatusMetadata::OldLabels => &["labels"],
        StatusMetadata::OldOwners => &["ownerReferences"],
    };
    if let (Some(old), Some(new)) = (old.get("metadata"), new.get_mut("metadata")) {
        for key in kept {
            tree::copy_field(old, new, key);
        }
    }
}

/// Makes all fields of `new` what they are in `old`, but those named.
fn keep_all_but(changeable: &[&str], old: &Value, new: &mut Value) {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object_mut()) else { return };
    new.retain(|key, _| changeable.contains(&key.as_str()));
    for (key, value) in old.iter().filter(|(key, _)| !changeable.contains(&key.as_str())) {
        new.insert(key.clone(), value.clone());
    }
}
