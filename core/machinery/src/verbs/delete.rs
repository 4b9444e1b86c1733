//! Delete: at once, or by marking the object and waiting for its grace and finalizers (apiserver
//! `pkg/registry/rest/delete.go`, `pkg/registry/generic/registry/store.go`).
//!
//! Invariants: an object leaves only if nothing holds it at the revision that the delete carries (G5); deletionTimestamp
//! is never moved later (S3); a delete that lost a race looks again before it decides.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use triune_api::{
    Value, meta,
    names::{GroupResource, GroupVersionKind},
    status::{self, Status},
    time,
    validation::{FINALIZER_DELETE_DEPENDENTS, FINALIZER_ORPHAN_DEPENDENTS},
};
use triune_store::{
    Revision,
    types::{Change, Expect, StoredObject, Write, WriteError},
};

use super::{
    answer::value_answer,
    create::body_of,
    options::{DeleteOptions, Propagation},
    scope::Scope,
    update::claim_changes,
};
use crate::{
    body::Response,
    handler::{REQUEST_BODY_BYTES_MAX, RequestBody},
    registry::{DependentsPolicy, Strategy},
};

/// How often a delete that lost a race is decided again.
const ATTEMPTS_MAX: u32 = 100;

/// What a delete does with the object as it is now.
#[derive(Debug, PartialEq)]
pub enum Plan {
    /// Removes it; watchers see it in this last state.
    Remove(Value),
    /// Stores it as terminating.
    Mark(Value),
    /// Nothing: it is on its way already.
    Pending,
}

/// What a delete came to.
pub struct Deleted {
    /// Whether the object is gone.
    pub gone: bool,
    /// Whether the answer is the object although the kind answers deletes with a `Status`.
    pub shows_object: bool,
    /// The revision that the answer shows.
    pub revision: Revision,
    /// The stored form of the last state.
    pub body: Bytes,
    /// `metadata.uid`.
    pub uid: std::sync::Arc<str>,
}

/// Answers DELETE of one object.
pub async fn delete(scope: &Scope, body: RequestBody) -> Result<Response, Status> {
    let output = scope.output()?;
    let options = read_options(scope, body).await?;
    let key = scope.key(scope.name());
    let stored = scope.read_existing(&key).await?;
    let uid = options.uid.clone();
    let deleted = delete_object(scope, &options, stored, |_| true).await?.ok_or_else(|| match uid {
        Some(uid) => uid_mismatch(scope, &uid, ""),
        None => scope.not_found(&key.name),
    })?;
    let code = if !deleted.gone && options.orphan_dependents == Some(false) { 202 } else { 200 };
    if deleted.shows_object || scope.strategy().returns_deleted_object() {
        return scope.view().object_answer(code, &output, deleted.revision, &deleted.body);
    }
    let success = status::success(&scope.group_resource(), &key.name, &deleted.uid);
    Ok(value_answer(code, &output, &success, scope.now()))
}

/// The options of a delete: from the body if there is one, else from the query.
pub async fn read_options(scope: &Scope, body: RequestBody) -> Result<DeleteOptions, Status> {
    let body = body.read(REQUEST_BODY_BYTES_MAX).await?;
    if body.is_empty() {
        return DeleteOptions::from_query(&scope.query);
    }
    let gvk = GroupVersionKind::new("", "v1", "DeleteOptions");
    DeleteOptions::from_body(&scope.decode_other(&gvk, &body)?)
}

/// Deletes the incarnation that was read; None if it is gone meanwhile, or has changed so that it is no longer `wanted`.
pub async fn delete_object(
    scope: &Scope,
    options: &DeleteOptions,
    mut stored: StoredObject,
    wanted: impl Fn(&StoredObject) -> bool,
) -> Result<Option<Deleted>, Status> {
    let uid = stored.uid.clone();
    for _ in 0..ATTEMPTS_MAX {
        let object = scope.view().tree(stored.revision, &stored.body)?;
        let name = meta::name(&object).to_string();
        check_preconditions(scope, options, &object)?;
        scope.strategy().check_delete(&scope.context, &object)?;
        let now = scope.context.env.clock.wall();
        let plan = plan(scope.strategy(), &object, options, time::from_system(now));
        let Some(write) = write_of(scope, &stored, &object, plan) else {
            return Ok(Some(Deleted {
                gone: false,
                shows_object: false,
                revision: stored.revision,
                body: stored.body,
                uid,
            }));
        };
        let gone = matches!(write.change, Change::Delete { .. });
        let deleted =
            |revision, change| Deleted { gone, shows_object: !gone, revision, body: body_of(change), uid: uid.clone() };
        let unchanged = !gone && matches!(&write.change, Change::Put { body, .. } if *body == stored.body);
        if options.dry_run || unchanged {
            return Ok(Some(deleted(stored.revision, write.change)));
        }
        match scope.store.commit(write.clone()).await {
            Ok(committed) => return Ok(Some(deleted(committed.revision, write.change))),
            Err(WriteError::Expectation(Some(now))) if now.uid == uid && wanted(&now) => stored = *now,
            Err(WriteError::Expectation(_)) => return Ok(None),
            Err(error) => return Err(scope.write_refused(error, &write, "delete")),
        }
        tracing::debug!(name, "delete lost a race and is decided again");
    }
    Err(Status::object_modified(&scope.group_resource(), scope.name()))
}

fn check_preconditions(scope: &Scope, options: &DeleteOptions, object: &Value) -> Result<(), Status> {
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != meta::uid(object)) {
        return Err(uid_mismatch(scope, uid, meta::uid(object)));
    }
    let current = meta::resource_version(object);
    if let Some(revision) = options.resource_version.as_deref().filter(|revision| *revision != current) {
        let why = format!(
            "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record \
             ({current}). The object might have been modified"
        );
        return Err(Status::conflict(&kind_as_resource(scope), meta::name(object), why));
    }
    Ok(())
}

fn uid_mismatch(scope: &Scope, expected: &str, found: &str) -> Status {
    let why = format!(
        "the UID in the precondition ({expected}) does not match the UID in record ({found}). The object might have been \
         deleted and then recreated"
    );
    Status::conflict(&kind_as_resource(scope), scope.name(), why)
}

/// The reference names the kind where a resource belongs, in these errors.
fn kind_as_resource(scope: &Scope) -> GroupResource {
    GroupResource::new(&scope.resource.gvk.group, &scope.resource.gvk.kind)
}

fn write_of(scope: &Scope, stored: &StoredObject, object: &Value, plan: Plan) -> Option<Write> {
    let strategy = scope.strategy();
    // Items of lists over all namespaces carry theirs.
    let namespace = if scope.resource.namespaced { meta::namespace(object) } else { "" };
    let key = triune_api::names::ObjectKey::new(scope.resource.storage.clone(), namespace, meta::name(object));
    let body = |object: Value| {
        meta::split_body(match strategy.served_to_storage() {
            Some(convert) => convert(object),
            None => object,
        })
    };
    let (change, claims) = match plan {
        Plan::Pending => return None,
        Plan::Remove(last) => {
            let claims = claim_changes(&stored.uid, &strategy.claims(&key, object), &[]);
            (Change::Delete { body: body(last) }, claims)
        }
        Plan::Mark(marked) => {
            let time_to_live = strategy.time_to_live(&marked);
            (Change::Put { body: body(marked), uid: stored.uid.clone(), terminating: true, time_to_live }, Vec::new())
        }
    };
    Some(Write { key, expect: Expect::Revision(stored.revision), change, fences: Vec::new(), claims })
}

/// Decides. `now` is wall time.
pub fn plan(strategy: &dyn Strategy, object: &Value, options: &DeleteOptions, now: Timestamp) -> Plan {
    let mut next = object.clone();
    let graceful = match grace(strategy, object, options, now) {
        Grace::Pending => return Plan::Pending,
        Grace::None => None,
        Grace::Until { at, seconds } => {
            mark(strategy, object, &mut next, at, seconds);
            Some(seconds)
        }
    };
    let finalizers = finalizers_after(strategy, object, options);
    meta::set_finalizers(&mut next, finalizers.iter().cloned());
    let held = !finalizers.is_empty() || strategy.holds_on_delete(&next);
    match graceful {
        Some(seconds) if held || seconds > 0 => Plan::Mark(next),
        None if held => {
            let at = meta::deletion_timestamp(object).and_then(time::parse).filter(|at| *at <= now).unwrap_or(now);
            mark(strategy, object, &mut next, at, 0);
            Plan::Mark(next)
        }
        _ => Plan::Remove(next),
    }
}

/// Sets deletionTimestamp; on the first delete the generation grows, since whoever looks after the object must look again.
fn mark(strategy: &dyn Strategy, object: &Value, next: &mut Value, at: Timestamp, seconds: i64) {
    if meta::deletion_timestamp(object).is_none() {
        if meta::generation(object) > 0 {
            meta::set_generation(next, meta::generation(object) + 1);
        }
        strategy.prepare_for_delete(next);
    }
    meta::set(next, "deletionTimestamp", json!(time::format_seconds(at)));
    meta::set(next, "deletionGracePeriodSeconds", json!(seconds));
}

enum Grace {
    /// The object needs none, or has had its own.
    None,
    /// Its grace runs, and this delete does not shorten it.
    Pending,
    /// It is terminating, and goes at this time.
    Until { at: Timestamp, seconds: i64 },
}

fn grace(strategy: &dyn Strategy, object: &Value, options: &DeleteOptions, now: Timestamp) -> Grace {
    let Some(seconds) = strategy.grace_seconds(object, options.grace_period_seconds) else { return Grace::None };
    let Some(marked_at) = meta::deletion_timestamp(object).and_then(time::parse) else {
        return Grace::Until { at: plus(now, seconds), seconds };
    };
    let running = match meta::deletion_grace_period_seconds(object).unwrap_or_default() {
        0 => return Grace::None,
        negative if negative < 0 => 1,
        running => running,
    };
    let Some(asked) = options.grace_period_seconds.filter(|asked| *asked < running) else { return Grace::Pending };
    // Counted from the first delete; never into the past, and at least a second where any grace was asked.
    let at = plus(plus(marked_at, -running), asked);
    if at < now {
        return Grace::Until { at: now, seconds: asked.min(1) };
    }
    Grace::Until { at, seconds: asked }
}

fn plus(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(at)
}

/// The finalizers after the garbage collector's two have been removed and added as the delete asks.
fn finalizers_after(strategy: &dyn Strategy, object: &Value, options: &DeleteOptions) -> Vec<String> {
    let policy = strategy.dependents_policy();
    let given = meta::finalizers(object);
    let collectors = [FINALIZER_ORPHAN_DEPENDENTS, FINALIZER_DELETE_DEPENDENTS];
    // As the reference: what the request says, else what the object says, else what the kind says.
    let from_object = given.iter().find(|name| collectors.contains(name)).copied();
    let wanted = match (policy, options.orphan_dependents, options.propagation) {
        (DependentsPolicy::Unsupported, ..) => None,
        (_, Some(true), _) | (_, None, Some(Propagation::Orphan)) => Some(FINALIZER_ORPHAN_DEPENDENTS),
        (_, None, Some(Propagation::Foreground)) => Some(FINALIZER_DELETE_DEPENDENTS),
        (_, Some(false), _) | (_, None, Some(Propagation::Background)) => None,
        (DependentsPolicy::Orphan, None, None) => Some(from_object.unwrap_or(FINALIZER_ORPHAN_DEPENDENTS)),
        (DependentsPolicy::Delete, None, None) => from_object,
    };
    let already = wanted.is_none_or(|wanted| given.contains(&wanted));
    let too_late = meta::deletion_timestamp(object).is_some();
    let extra = given.iter().filter(|name| collectors.contains(name)).count();
    let settled = already && extra == usize::from(wanted.is_some());
    if settled || (too_late && !already) {
        return given.into_iter().map(str::to_string).collect();
    }
    let kept = given.into_iter().filter(|name| !collectors.contains(name));
    kept.chain(wanted).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Column;

    /// Pods have grace, jobs orphan, events have no dependents, namespaces are held by their spec.
    struct Kind(&'static str);

    impl Strategy for Kind {
        fn grace_seconds(&self, _: &Value, requested: Option<i64>) -> Option<i64> {
            (self.0 == "pods").then(|| requested.unwrap_or(30))
        }
        fn dependents_policy(&self) -> DependentsPolicy {
            match self.0 {
                "jobs" => DependentsPolicy::Orphan,
                "events" => DependentsPolicy::Unsupported,
                _ => DependentsPolicy::Delete,
            }
        }
        fn holds_on_delete(&self, object: &Value) -> bool {
            object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
        }
        fn prepare_for_delete(&self, object: &mut Value) {
            if self.0 == "namespaces" {
                object["phase"] = json!("Terminating");
            }
        }
        fn columns(&self) -> Vec<Column> {
            Vec::new()
        }
        fn cells(&self, _: &Value, _: Timestamp) -> Vec<Value> {
            Vec::new()
        }
    }

    /// The plan at 08:00:00 for an object with this metadata.
    fn check(kind: &'static str, metadata: Value, options: Value, expect: &str) {
        check_object(kind, json!({"metadata": metadata}), options, expect);
    }

    fn check_object(kind: &'static str, object: Value, options: Value, expect: &str) {
        let options = DeleteOptions::from_body(&options).expect("valid options");
        let now = time::parse("2026-11-24T08:00:00Z").expect("a time");
        let text = |object: &Value| {
            let mut shown = object["metadata"].to_string().replace("2026-11-24T", "").replace('"', "");
            if let Some(phase) = object["phase"].as_str() {
                shown.push_str(phase);
            }
            shown
        };
        let got = match plan(&Kind(kind), &object, &options, now) {
            Plan::Remove(last) => format!("remove {}", text(&last)),
            Plan::Mark(next) => format!("mark {}", text(&next)),
            Plan::Pending => "pending".into(),
        };
        assert_eq!(got, expect, "{kind} {object}");
    }

    #[test]
    fn nothing_holds() {
        check("maps", json!({}), json!({}), "remove {}");
        check("maps", json!({"generation": 3}), json!({}), "remove {generation:3}");
        check("jobs", json!({}), json!({"propagationPolicy": "Background"}), "remove {}");
        check("events", json!({}), json!({"propagationPolicy": "Foreground"}), "remove {}");
    }

    #[test]
    fn finalizers_hold() {
        let marked = "deletionGracePeriodSeconds:0,deletionTimestamp:08:00:00Z";
        let check_held = |kind, finalizers: Value, options: Value, after: &str| {
            check(kind, json!({"finalizers": finalizers}), options, &format!("mark {{{marked},finalizers:[{after}]}}"));
        };
        check_held("maps", json!(["x"]), json!({}), "x");
        check_held("maps", json!([]), json!({"propagationPolicy": "Foreground"}), "foregroundDeletion");
        check_held("maps", json!(["x"]), json!({"propagationPolicy": "Orphan"}), "x,orphan");
        check_held("maps", json!(["orphan"]), json!({}), "orphan");
        check_held("maps", json!(["orphan"]), json!({"propagationPolicy": "Foreground"}), "foregroundDeletion");
        check_held("maps", json!([]), json!({"orphanDependents": true}), "orphan");
        check_held("jobs", json!([]), json!({}), "orphan");
        check_held("jobs", json!(["foregroundDeletion"]), json!({}), "foregroundDeletion");
        check("maps", json!({"finalizers": ["orphan"]}), json!({"orphanDependents": false}), "remove {}");
        check("events", json!({"finalizers": ["orphan"]}), json!({}), "remove {}");
        check(
            "maps",
            json!({"finalizers": ["x"], "generation": 3}),
            json!({}),
            &format!("mark {{{marked},finalizers:[x],generation:4}}"),
        );
    }

    #[test]
    fn a_second_delete_adds_nothing() {
        let terminating = json!({"finalizers": ["x"], "generation": 4, "deletionTimestamp": "2026-11-24T07:00:00Z",
            "deletionGracePeriodSeconds": 0});
        let same = "mark {deletionGracePeriodSeconds:0,deletionTimestamp:07:00:00Z,finalizers:[x],generation:4}";
        check("maps", terminating.clone(), json!({}), same);
        check("maps", terminating, json!({"propagationPolicy": "Orphan"}), same);
    }

    #[test]
    fn pods_have_grace() {
        let marked =
            |seconds: i64, at: &str| format!("mark {{deletionGracePeriodSeconds:{seconds},deletionTimestamp:{at}}}");
        check("pods", json!({}), json!({}), &marked(30, "08:00:30Z"));
        check("pods", json!({}), json!({"gracePeriodSeconds": 5}), &marked(5, "08:00:05Z"));
        check("pods", json!({}), json!({"gracePeriodSeconds": -7}), &marked(1, "08:00:01Z"));
        let gone = "remove {deletionGracePeriodSeconds:0,deletionTimestamp:08:00:00Z}";
        check("pods", json!({}), json!({"gracePeriodSeconds": 0}), gone);
        let running = json!({"deletionTimestamp": "2026-11-24T08:00:20Z", "deletionGracePeriodSeconds": 30});
        check("pods", running.clone(), json!({}), "pending");
        check("pods", running.clone(), json!({"gracePeriodSeconds": 30}), "pending");
        check("pods", running.clone(), json!({"gracePeriodSeconds": 20}), &marked(20, "08:00:10Z"));
        check("pods", running.clone(), json!({"gracePeriodSeconds": 5}), &marked(1, "08:00:00Z"));
        check("pods", running, json!({"gracePeriodSeconds": 0}), gone);
        let over = json!({"deletionTimestamp": "2026-11-24T07:00:00Z", "deletionGracePeriodSeconds": 0});
        check("pods", over, json!({}), "remove {deletionGracePeriodSeconds:0,deletionTimestamp:07:00:00Z}");
    }

    #[test]
    fn a_kind_can_hold_by_other_means() {
        let held = json!({"metadata": {}, "spec": {"finalizers": ["kubernetes"]}});
        let marked = "mark {deletionGracePeriodSeconds:0,deletionTimestamp:08:00:00Z}Terminating";
        check_object("namespaces", held, json!({}), marked);
    }
}
