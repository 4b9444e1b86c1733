//! Create: complete, validate, store (apiserver `pkg/registry/generic/registry/store.go`, `rest/create.go`).
//!
//! One transaction decides: the object is absent, its namespace is there and Active, its unique names are free (D1). A
//! generated name that is taken is drawn again.

use std::sync::Arc;

use bytes::Bytes;
use triune_api::{
    Value,
    field::FieldError,
    meta,
    names::ObjectKey,
    status::{Status, StatusDetails},
    validation::validate_object_meta,
};
use triune_store::{
    Revision,
    types::{Change, ClaimChange, Expect, StoredObject, Write, WriteError},
};

use super::{metadata, scope::Scope};

/// How often a generated name, or a name that the strategy draws, is drawn.
const DRAWS_MAX: usize = 8;

/// What a write left behind.
pub struct Written {
    /// The revision that the answer shows; None for a create that was only tried.
    pub revision: Option<Revision>,
    /// The stored form that the answer shows.
    pub body: Bytes,
    /// Whether the object is new.
    pub created: bool,
}

/// Creates an object. `make` gives it in the served version, complete but for its metadata; it is asked again for each
/// attempt.
pub async fn create(
    scope: &Scope,
    dry_run: bool,
    make: &(dyn Fn() -> Result<Value, Status> + Sync),
) -> Result<Written, Status> {
    let mut refused = Status::internal("no attempt was made");
    for _ in 0..DRAWS_MAX {
        match attempt(scope, dry_run, make()?).await? {
            Attempt::Done(written) => return Ok(written),
            Attempt::Taken { status, draws: true } => refused = status,
            Attempt::Taken { status, draws: false } => return Err(status),
        }
    }
    Err(refused)
}

enum Attempt {
    Done(Written),
    /// The name, or a unique name that the object holds, is somebody else's. `draws` says whether another attempt would
    /// come with another name.
    Taken {
        status: Status,
        draws: bool,
    },
}

async fn attempt(scope: &Scope, dry_run: bool, mut object: Value) -> Result<Attempt, Status> {
    let given_revision = meta::resource_version(&object).to_string();
    let draws = meta::name(&object).is_empty() && !meta::generate_name(&object).is_empty();
    metadata::complete_namespace(&mut object, scope.namespace())?;
    metadata::dedup_owner_references(&scope.context, &mut object);
    metadata::complete_new(&scope.context, &mut object, scope.strategy().uses_generation());
    let asked = scope.strategy().claims(&scope.key(meta::name(&object)), &object);
    scope.strategy().begin_create(&scope.context, &mut object)?;
    scope.strategy().prepare_for_create(&scope.context, &mut object);
    validate(scope, &object)?;
    // The reference's storage says so, which a dry run does not reach.
    if !dry_run && given_revision.parse::<u64>().is_ok_and(|number| number != 0) {
        return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    let generated = !meta::generate_name(&object).is_empty();
    let write = write_of(scope, object);
    if dry_run {
        return try_write(scope, write, generated, draws).await;
    }
    match scope.store.commit(write.clone()).await {
        Ok(committed) => Ok(Attempt::Done(Written {
            revision: Some(committed.revision),
            body: body_of(write.change),
            created: true,
        })),
        Err(WriteError::Expectation(existing)) => {
            Ok(Attempt::Taken { status: exists(scope, &write.key, existing.as_deref(), generated), draws })
        }
        Err(WriteError::Claimed { index, holder }) => Ok(claimed(scope, &write, index, &holder, &asked)),
        Err(error) => Err(scope.write_refused(error, &write, "create")),
    }
}

fn validate(scope: &Scope, object: &Value) -> Result<(), Status> {
    let strategy = scope.strategy();
    let mut errors: Vec<FieldError> =
        validate_object_meta(object, scope.resource.namespaced, &|name| strategy.validate_name(name));
    if let Some(schema) = scope.resource.schema.as_ref().filter(|_| !strategy.validates_closed_sets()) {
        errors.extend(schema.validate(object));
    }
    errors.extend(strategy.validate_create(&scope.context, object));
    if !errors.is_empty() {
        return Err(Status::invalid(&scope.resource.gvk, meta::name(object), &errors));
    }
    for warning in strategy.warnings(&scope.context, object, None) {
        scope.context.warn(warning);
    }
    Ok(())
}

/// The write that creates an object which is complete.
fn write_of(scope: &Scope, object: Value) -> Write {
    let strategy = scope.strategy();
    let key = scope.key(meta::name(&object));
    let uid: Arc<str> = meta::uid(&object).into();
    let claims = strategy.claims(&key, &object).into_iter().map(|(space, name)| ClaimChange {
        space,
        name,
        holder: uid.clone(),
        release: false,
    });
    let claims = claims.collect();
    let time_to_live = strategy.time_to_live(&object);
    let stored = match strategy.served_to_storage() {
        Some(convert) => convert(object),
        None => object,
    };
    let change = Change::Put { body: meta::split_body(stored), uid, terminating: false, time_to_live };
    Write { fences: strategy.fencing().on_create(&key), key, expect: Expect::Absent, change, claims }
}

/// As the transaction would decide, without claims.
async fn try_write(scope: &Scope, write: Write, generated: bool, draws: bool) -> Result<Attempt, Status> {
    scope.try_fences(&write.fences, &write.key.name).await?;
    if let Some(existing) = scope.read(&write.key).await? {
        return Ok(Attempt::Taken { status: exists(scope, &write.key, Some(&existing), generated), draws });
    }
    Ok(Attempt::Done(Written { revision: None, body: body_of(write.change), created: true }))
}

/// The body that a change carries.
pub fn body_of(change: Change) -> Bytes {
    match change {
        Change::Put { body, .. } | Change::Delete { body } => body,
    }
}

/// 409 for a name that is taken.
fn exists(scope: &Scope, key: &ObjectKey, existing: Option<&StoredObject>, generated: bool) -> Status {
    let (resource, name) = (scope.group_resource(), &key.name);
    let mut status = Status::already_exists(&resource, name);
    if generated {
        status.message.push_str(", the server was not able to generate a unique name for the object");
        status = status.with_retry_after(1);
    }
    if existing.is_some_and(|existing| existing.terminating) {
        status.message.insert_str(0, "object is being deleted: ");
    }
    status
}

/// A unique name is somebody else's. One that the request named is refused in the strategy's words; others are drawn anew.
pub(super) fn refuse_claim(
    scope: &Scope,
    write: &Write,
    index: usize,
    holder: &str,
    asked: &[(Arc<str>, Arc<str>)],
) -> Option<Status> {
    let claim = write.claims.get(index)?;
    let named = asked.iter().any(|(space, name)| *space == claim.space && *name == claim.name);
    named.then(|| scope.strategy().claim_refused(&write.key, &claim.space, &claim.name, holder))?
}

fn claimed(scope: &Scope, write: &Write, index: usize, holder: &str, asked: &[(Arc<str>, Arc<str>)]) -> Attempt {
    match refuse_claim(scope, write, index, holder, asked) {
        Some(status) => Attempt::Taken { status, draws: false },
        None => {
            let resource = scope.group_resource();
            let mut status = Status::new(500, "ServerTimeout", "no free name was found, please try again");
            status.details = Some(Box::new(StatusDetails {
                name: write.key.name.to_string(),
                group: resource.group.to_string(),
                kind: resource.resource.to_string(),
                retry_after_seconds: 1,
                ..StatusDetails::default()
            }));
            Attempt::Taken { status, draws: true }
        }
    }
}
