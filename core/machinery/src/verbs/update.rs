//! Update: read, change, compare and set (apiserver `pkg/registry/generic/registry/store.go`, `rest/update.go`).
//!
//! Invariants: a write carries the revision that was read (S2); equal bytes are no write (S7); an object that is
//! terminating and has lost its last finalizer goes in the one transaction of that update (G5); no finalizer comes after
//! deletionTimestamp (G6).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use triune_api::{
    Value,
    field::FieldError,
    meta,
    names::GroupVersionKind,
    status::Status,
    validation::{validate_object_meta, validate_object_meta_update},
};
use triune_schema::apply::keep_times_if_unchanged;
use triune_store::types::{Change, ClaimChange, Expect, StoredObject, Write, WriteError};

use super::{
    create::{Written, body_of, create, refuse_claim},
    metadata,
    scope::Scope,
};
use crate::registry::Strategy;

/// How often a change that lost a race is made again.
const ATTEMPTS_MAX: u32 = 100;
/// From this attempt on there is a pause before it, so that many writers of one object do not only disturb each other.
const PAUSES_FROM: u32 = 4;
/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// A change of one object.
pub struct Update<'a> {
    /// The request.
    pub scope: &'a Scope,
    /// That of the resource or of the subresource.
    pub strategy: &'a dyn Strategy,
    /// Whether nothing is stored.
    pub dry_run: bool,
    /// Whether an object that is not there is created.
    pub allow_create: bool,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// Makes the new state from the old, both in the served version; asked again for each attempt. The old state is null
    /// where there is none.
    pub make: &'a (dyn Fn(&Value) -> Result<Value, Status> + Sync),
}

/// What an attempt came to.
enum Attempt {
    Done(Written),
    /// Somebody else was faster; what is there now, where the store said so.
    Lost(Option<Box<StoredObject>>),
}

impl Update<'_> {
    /// Changes the object with the name of the URL.
    pub async fn run(&self) -> Result<Written, Status> {
        let key = self.scope.key(self.scope.name());
        let mut found: Option<Box<StoredObject>> = None;
        for number in 0..ATTEMPTS_MAX {
            self.pause(number).await;
            let stored = match found.take() {
                Some(stored) => *stored,
                None => match self.scope.read(&key).await? {
                    Some(stored) => stored,
                    None if self.allow_create => match self.create_instead().await {
                        // Somebody else has created it: then it is there to be changed.
                        Err(status) if status.reason == "AlreadyExists" && !self.dry_run => continue,
                        answer => return answer,
                    },
                    None => return Err(self.scope.not_found(&key.name)),
                },
            };
            match self.attempt(&stored).await? {
                Attempt::Done(written) => return Ok(written),
                Attempt::Lost(now) => found = now,
            }
        }
        Err(Status::object_modified(&self.scope.group_resource(), &key.name))
    }

    async fn pause(&self, number: u32) {
        if number >= PAUSES_FROM {
            let env = &self.scope.context.env;
            let bound = PAUSE_MAX.as_nanos() as u64 >> 10_u32.saturating_sub(number);
            env.sleep(Duration::from_nanos(env.entropy.u64() % bound.max(1))).await;
        }
    }

    /// PUT of an object that does not exist, where the kind allows it, and apply.
    async fn create_instead(&self) -> Result<Written, Status> {
        if let Some(uid) = &self.uid {
            return Err(uid_conflict(self.scope, uid, ""));
        }
        self.scope.authorize_create().await?;
        create(self.scope, self.dry_run, &|| {
            let mut object = (self.make)(&Value::Null)?;
            metadata::complete_namespace(&mut object, self.scope.namespace())?;
            metadata::check_name(&object, self.scope.name())?;
            meta::set_resource_version(&mut object, "");
            Ok(object)
        })
        .await
    }

    async fn attempt(&self, stored: &StoredObject) -> Result<Attempt, Status> {
        let scope = self.scope;
        let old = scope.view().tree(stored.revision, &stored.body)?;
        if let Some(uid) = self.uid.as_deref().filter(|uid| **uid != *stored.uid) {
            return Err(uid_conflict(scope, uid, &stored.uid));
        }
        let mut new = (self.make)(&old)?;
        metadata::complete_namespace(&mut new, scope.namespace())?;
        metadata::check_name(&new, scope.name())?;
        self.check_revision(&old, &mut new)?;
        metadata::begin_update(&old, &mut new);
        let asked = scope.strategy().claims(&scope.key(scope.name()), &new);
        self.strategy.begin_update(&scope.context, &old, &mut new)?;
        self.strategy.prepare_for_update(&scope.context, &old, &mut new);
        metadata::finish_update(&old, &mut new, scope.strategy().uses_generation());
        metadata::dedup_owner_references(&scope.context, &mut new);
        self.validate(&old, &new)?;
        keep_times_if_unchanged(&old, &mut new);
        let goes = self.goes_with(&old, &new);
        let write = self.write_of(stored, &old, new, goes);
        self.commit(stored, write, goes, &asked).await
    }

    /// The revision in the object must be the current one; where it is missing it counts as that, if the kind allows it.
    fn check_revision(&self, old: &Value, new: &mut Value) -> Result<(), Status> {
        let scope = self.scope;
        let current = meta::resource_version(old);
        match meta::resource_version(new) {
            "" | "0" if scope.strategy().allows_unconditional_update() => {
                meta::set_resource_version(new, current);
                Ok(())
            }
            "" | "0" => {
                let resource = scope.group_resource();
                let kind = GroupVersionKind::new(&resource.group, "", &resource.resource);
                let detail = "must be specified for an update";
                let error = FieldError::invalid("metadata.resourceVersion", &serde_json::json!(0), detail);
                Err(Status::invalid(&kind, scope.name(), &[error]))
            }
            given if given == current => Ok(()),
            _ => Err(Status::object_modified(&scope.group_resource(), scope.name())),
        }
    }

    fn validate(&self, old: &Value, new: &Value) -> Result<(), Status> {
        let scope = self.scope;
        // Names were checked when they were given; what is stored may have a name that is no longer allowed.
        let any_name = |_: &str| Vec::new();
        let mut errors = validate_object_meta(new, scope.resource.namespaced, &any_name);
        for error in validate_object_meta_update(new, old) {
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
        if let Some(schema) = scope.resource.schema.as_ref().filter(|_| !self.strategy.validates_closed_sets()) {
            errors.extend(schema.validate(new));
        }
        errors.extend(self.strategy.validate_update(&scope.context, old, new));
        if !errors.is_empty() {
            return Err(Status::invalid(&scope.resource.gvk, scope.name(), &errors));
        }
        for warning in self.strategy.warnings(&scope.context, new, Some(old)) {
            scope.context.warn(warning);
        }
        Ok(())
    }

    /// Whether the object goes with this update: a delete was asked, its grace is over, and nothing holds it any longer.
    fn goes_with(&self, old: &Value, new: &Value) -> bool {
        meta::deletion_timestamp(old).is_some()
            && meta::deletion_grace_period_seconds(old).unwrap_or_default() == 0
            && meta::finalizers(new).is_empty()
            && !self.scope.strategy().holds_on_delete(new)
    }

    fn write_of(&self, stored: &StoredObject, old: &Value, new: Value, goes: bool) -> Write {
        let scope = self.scope;
        let key = scope.key(scope.name());
        let held = scope.strategy().claims(&key, old);
        let wanted = if goes { Vec::new() } else { scope.strategy().claims(&key, &new) };
        let claims = claim_changes(&stored.uid, &held, &wanted);
        let terminating = meta::deletion_timestamp(&new).is_some();
        let time_to_live = scope.strategy().time_to_live(&new);
        let stored_new = match scope.strategy().served_to_storage() {
            Some(convert) => convert(new),
            None => new,
        };
        let body = meta::split_body(stored_new);
        let change = Change::Put { body, uid: stored.uid.clone(), terminating, time_to_live };
        let fences = scope.strategy().fencing().on_update(&key);
        Write { key, expect: Expect::Revision(stored.revision), change, fences, claims }
    }

    async fn commit(
        &self,
        stored: &StoredObject,
        write: Write,
        goes: bool,
        asked: &[(Arc<str>, Arc<str>)],
    ) -> Result<Attempt, Status> {
        let scope = self.scope;
        let done = |revision, change: Change| {
            Ok(Attempt::Done(Written { revision: Some(revision), body: body_of(change), created: false }))
        };
        let unchanged = matches!(&write.change, Change::Put { body, .. } if *body == stored.body);
        if self.dry_run {
            scope.try_fences(&write.fences, &write.key.name).await?;
            return done(stored.revision, write.change);
        }
        if unchanged && !goes {
            return done(stored.revision, write.change);
        }
        let mut committing = write.clone();
        if goes {
            // The last event shows what was stored last; the answer shows what the client sent.
            committing.change = Change::Delete { body: stored.body.clone() };
        }
        match scope.store.commit(committing).await {
            Ok(_) if goes => done(stored.revision, write.change),
            Ok(committed) => done(committed.revision, write.change),
            Err(error) => self.lost_or_refused(error, &write, asked),
        }
    }

    fn lost_or_refused(
        &self,
        error: WriteError,
        write: &Write,
        asked: &[(Arc<str>, Arc<str>)],
    ) -> Result<Attempt, Status> {
        match error {
            WriteError::Expectation(now) => Ok(Attempt::Lost(now)),
            WriteError::Claimed { index, holder } => match refuse_claim(self.scope, write, index, &holder, asked) {
                Some(status) => Err(status),
                None => Ok(Attempt::Lost(None)),
            },
            error => Err(self.scope.write_refused(error, write, "update")),
        }
    }
}

/// What is taken and what is given up between two states.
pub fn claim_changes(
    holder: &Arc<str>,
    held: &[(Arc<str>, Arc<str>)],
    wanted: &[(Arc<str>, Arc<str>)],
) -> Vec<ClaimChange> {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (held.iter().collect(), wanted.iter().collect());
    let change = |(space, name): &(Arc<str>, Arc<str>), release| ClaimChange {
        space: space.clone(),
        name: name.clone(),
        holder: holder.clone(),
        release,
    };
    let taken = after.difference(&before).map(|claim| change(claim, false));
    let released = before.difference(&after).map(|claim| change(claim, true));
    taken.chain(released).collect()
}

/// 409 for a uid that is another incarnation's, as the reference's store words it.
fn uid_conflict(scope: &Scope, expected: &str, found: &str) -> Status {
    let key = scope.key(scope.name());
    let namespace = if key.namespace.is_empty() { String::new() } else { format!("{}/", key.namespace) };
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{}/{namespace}{}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: UID in precondition: {expected}, UID in object meta: {found}",
        key.resource.resource, key.name
    );
    Status::conflict(&scope.group_resource(), &key.name, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_taken_and_given_up() {
        let claims = |names: &str| -> Vec<(Arc<str>, Arc<str>)> {
            names.split_whitespace().map(|name| ("ip".into(), name.into())).collect()
        };
        let check = |held: &str, wanted: &str, expect: &str| {
            let changes = claim_changes(&"uid".into(), &claims(held), &claims(wanted));
            let texts: Vec<String> = changes
                .iter()
                .map(|change| format!("{}{}", if change.release { "-" } else { "+" }, change.name))
                .collect();
            assert_eq!(texts.join(" "), expect);
        };
        check("", "", "");
        check("a", "a", "");
        check("", "a b", "+a +b");
        check("a b", "b c", "+c -a");
        check("a", "", "-a");
    }
}
