//! Resources as data plus a strategy: what the verbs need to know to serve a kind.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use triune_api::{
    Value,
    field::FieldError,
    names::{GroupResource, GroupVersionKind, ObjectKey},
    status::Status,
};
use triune_env::BoxFuture;
use triune_schema::TypeRef;
use triune_store::types::{Fence, FenceFound};

use crate::{
    body::{Body, Response},
    context::Context,
    verbs::scope::Scope,
};

/// A resource in one version.
pub struct Resource {
    /// Type of its objects, in this version.
    pub gvk: GroupVersionKind,
    /// Kind of its lists, such as `PodList`.
    pub list_kind: String,
    /// Plural, as in paths.
    pub name: String,
    /// Singular.
    pub singular: String,
    /// Short names, such as `po`.
    pub short_names: Vec<String>,
    /// Categories, such as `all`.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Verbs, sorted: of create, delete, deletecollection, get, list, patch, update, watch.
    pub verbs: Vec<String>,
    /// What it is stored as: several versions, and two groups for events, may share one.
    pub storage: GroupResource,
    /// In discovery: hash of the storage version's GVK.
    pub storage_version_hash: String,
    /// The type of its objects in the facts; None serves any JSON object.
    pub schema: Option<TypeRef>,
    /// What differs from kind to kind.
    pub strategy: Arc<dyn Strategy>,
    /// Subresources by name.
    pub subresources: BTreeMap<String, Subresource>,
    /// Serves the resource itself with code of its own: reviews, and other kinds that are only created and never stored.
    pub custom: Option<Arc<dyn CustomHandler>>,
}

impl Resource {
    /// As error messages name it.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.gvk.group.clone(), resource: self.name.as_str().into() }
    }
}

/// A subresource.
pub struct Subresource {
    /// Type of what is sent and answered: the resource's own, `autoscaling/v1 Scale`, `policy/v1 Eviction`, ...
    pub gvk: GroupVersionKind,
    /// Verbs, sorted.
    pub verbs: Vec<String>,
    /// How it is served.
    pub serving: Serving,
}

/// How a subresource is served.
pub enum Serving {
    /// get, update and patch of the whole object under another strategy: status, finalize, approval, resize, ...
    Object(Arc<dyn Strategy>),
    /// `autoscaling/v1 Scale` over fields of the object.
    Scale(ScalePaths),
    /// Code of its own: bindings, evictions, tokens, proxies, logs.
    Custom(Arc<dyn CustomHandler>),
}

/// Where a scale's figures are in the object, as JSON pointers such as `/spec/replicas`.
#[derive(Debug, Clone, Default)]
pub struct ScalePaths {
    /// Wanted replicas.
    pub spec_replicas: String,
    /// Observed replicas.
    pub status_replicas: String,
    /// The selector: a LabelSelector object, a plain map, or a string.
    pub selector: Option<String>,
}

/// Serves a whole subresource or a create-only kind (reviews, tokens).
pub trait CustomHandler: Send + Sync + 'static {
    /// Answers; errors become `Status` answers. The scope's resource is that of the URL, whatever the subresource.
    fn serve<'a>(
        &'a self,
        scope: &'a Scope,
        request: http::Request<bytes::Bytes>,
    ) -> BoxFuture<'a, Result<Response, Status>>;
}

/// Answers 501 with a Status that says what is missing.
pub struct NotImplemented(pub &'static str);

impl CustomHandler for NotImplemented {
    fn serve<'a>(&'a self, _: &'a Scope, _: http::Request<bytes::Bytes>) -> BoxFuture<'a, Result<Response, Status>> {
        Box::pin(std::future::ready(Err::<http::Response<Body>, _>(Status::not_implemented(self.0))))
    }
}

/// One column of a `meta.k8s.io/v1` Table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Heading, such as `Ready`.
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: Cow<'static, str>,
    /// `name` for the name column, else mostly "".
    pub format: Cow<'static, str>,
    /// For people.
    pub description: Cow<'static, str>,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// Fields that a strategy takes from the old state whatever a client sends, as paths of field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetFields {
    /// None.
    None,
    /// These and what is below them.
    These(&'static [&'static [&'static str]]),
    /// All but these and what is below them; lists on the way are passed through.
    AllBut(&'static [&'static [&'static str]]),
}

/// What a delete does with dependents where the request names no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependentsPolicy {
    /// The garbage collector deletes them afterwards.
    Delete,
    /// The finalizer `orphan` is set: the garbage collector cuts them off first.
    Orphan,
    /// The kind has no dependents: neither `orphan` nor `foregroundDeletion` is ever set (events).
    Unsupported,
}

/// Conditions on other objects that hold in the transaction of a write.
pub trait Fencing: Send + Sync + 'static {
    /// What must hold of others when `key` is created.
    fn on_create(&self, key: &ObjectKey) -> Vec<Fence>;
    /// What must hold of others when `key` is updated.
    fn on_update(&self, _key: &ObjectKey) -> Vec<Fence> {
        Vec::new()
    }
    /// The answer to a write that `fence` refused. `resource` and `name` are those of the request.
    fn refusal(&self, resource: &GroupResource, name: &str, fence: &Fence, found: FenceFound) -> Status;
}

/// Objects are created only in a namespace that exists and is not terminating (invariants D; apiserver plugin
/// NamespaceLifecycle). Cluster-scoped objects have no condition.
pub struct NamespaceFencing;

impl Fencing for NamespaceFencing {
    fn on_create(&self, key: &ObjectKey) -> Vec<Fence> {
        if key.namespace.is_empty() {
            return Vec::new();
        }
        let key = ObjectKey { resource: namespaces(), namespace: "".into(), name: key.namespace.clone() };
        vec![Fence { key, uid: None }]
    }

    fn refusal(&self, resource: &GroupResource, name: &str, fence: &Fence, found: FenceFound) -> Status {
        let namespace = &fence.key.name;
        match found {
            FenceFound::Missing | FenceFound::OtherUid => Status::not_found(&namespaces(), namespace),
            FenceFound::Terminating => {
                let why =
                    format!("unable to create new content in namespace {namespace} because it is being terminated");
                let cause = format!("namespace {namespace} is being terminated");
                Status::forbidden(resource, name, why).with_cause("NamespaceTerminating", cause, "metadata.namespace")
            }
        }
    }
}

fn namespaces() -> GroupResource {
    GroupResource::new("", "namespaces")
}

/// What differs from kind to kind: pure functions over trees in the version served. Objects come with valid, completed
/// metadata (the verbs see to name, uid, times, generation, resourceVersion, finalizers) and with the defaults of their
/// schema. Every method but the table's has a default: a kind states only what is special about it.
///
/// A write: decode, defaults of the schema, `defaults`, owners of fields, metadata, `begin_*`, `prepare_*`, validation of
/// metadata, `validate_*`, `warnings`, `served_to_storage`, `claims`, commit. A write that lost a race starts again from the
/// request, so that all of it may run more than once.
pub trait Strategy: Send + Sync + 'static {
    /// Sets what a client left out, as the reference's decoders do: before it is recorded who owns which field.
    /// Idempotent: `prepare_*` may find more to do after it has reset fields.
    fn defaults(&self, _object: &mut Value) {}
    /// Fields that no request can change through this strategy, so that no client comes to own them.
    fn reset_fields(&self) -> ResetFields {
        ResetFields::None
    }
    /// Completes a new object with what depends on settings and chance (addresses, ports), or refuses it before anything else
    /// is looked at.
    fn begin_create(&self, _: &Context, _object: &mut Value) -> Result<(), Status> {
        Ok(())
    }
    /// Likewise a changed object.
    fn begin_update(&self, _: &Context, _old: &Value, _new: &mut Value) -> Result<(), Status> {
        Ok(())
    }
    /// Completes a new object: defaults, status reset. `metadata.generation` has been set to 1 if `uses_generation`.
    fn prepare_for_create(&self, _: &Context, _object: &mut Value) {}
    /// Completes a changed object: keeps what this request may not change (status, or all but the status), defaults.
    fn prepare_for_update(&self, _: &Context, _old: &Value, _new: &mut Value) {}
    /// What is wrong with a new object.
    fn validate_create(&self, _: &Context, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }
    /// What is wrong with a changed object.
    fn validate_update(&self, _: &Context, _old: &Value, _new: &Value) -> Vec<FieldError> {
        Vec::new()
    }
    /// Whether `validate_create` and `validate_update` check the closed sets of the type, too. Where they do not, the verbs
    /// check them by the facts of the type, in an order and in words of their own.
    fn validates_closed_sets(&self) -> bool {
        false
    }
    /// Checks the name of a new object; the empty list is fine. The default is a DNS subdomain. A `generateName` is asked
    /// with its trailing dash replaced by a letter.
    fn validate_name(&self, name: &str) -> Vec<String> {
        triune_api::validation::dns_subdomain(name)
    }
    /// What every request is warned of: that the resource is deprecated, and what to use instead.
    fn deprecation(&self) -> Option<&'static str> {
        None
    }
    /// Whether `metadata.generation` is kept: 1 on create, one more when anything but metadata and status changes.
    fn uses_generation(&self) -> bool {
        false
    }
    /// Whether PUT to a name that does not exist creates it.
    fn allows_create_on_update(&self) -> bool {
        false
    }
    /// Whether PUT without a resourceVersion overwrites.
    fn allows_unconditional_update(&self) -> bool {
        true
    }
    /// Texts for `Warning` headers on create (`old` is None) and update.
    fn warnings(&self, _: &Context, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }
    /// Seconds of grace of a delete that asks for `requested` seconds (never negative); None deletes without grace (all
    /// but pods).
    fn grace_seconds(&self, _object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }
    /// Why a delete is refused.
    fn check_delete(&self, _: &Context, _object: &Value) -> Result<(), Status> {
        Ok(())
    }
    /// Whether something besides `metadata.finalizers` keeps a terminating object, such as a namespace's
    /// `spec.finalizers`. Asked on delete and on every update of a terminating object.
    fn holds_on_delete(&self, _object: &Value) -> bool {
        false
    }
    /// Changes an object on the delete that makes it terminating (namespaces: phase Terminating).
    fn prepare_for_delete(&self, _object: &mut Value) {}
    /// Whether the answer to a delete is the object; else it is a `Status`.
    fn returns_deleted_object(&self) -> bool {
        false
    }
    /// What a delete does with dependents where the request names no policy.
    fn dependents_policy(&self) -> DependentsPolicy {
        DependentsPolicy::Delete
    }
    /// The object is removed by itself this long after its last write.
    fn time_to_live(&self, _object: &Value) -> Option<Duration> {
        None
    }
    /// Selectable fields besides `metadata.name` and `metadata.namespace`: path and value, always the same paths.
    fn selectable_fields(&self, _object: &Value) -> Vec<(Cow<'static, str>, String)> {
        Vec::new()
    }
    /// Paths of `selectable_fields`.
    fn selectable_paths(&self) -> &[Cow<'static, str>] {
        &[]
    }
    /// Columns of a Table after which one cell each comes from `cells`.
    fn columns(&self) -> Vec<Column>;
    /// The cells of one object. `now` is wall time, for ages.
    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value>;
    /// The conditions of an object's row, such as that the object has done its work.
    fn row_conditions(&self, _object: &Value) -> Vec<Value> {
        Vec::new()
    }
    /// Whether tables of lists mark one object as the default, see [`Strategy::default_of`].
    fn marks_default(&self) -> bool {
        false
    }
    /// The object of a list that is marked as the default.
    fn default_of<'a>(&self, _objects: &'a [Value]) -> Option<&'a Value> {
        None
    }
    /// Whether items of lists carry `apiVersion` and `kind`: those of custom resources do.
    fn list_items_carry_type(&self) -> bool {
        false
    }
    /// From the served version to the storage version; None if they are equal.
    fn served_to_storage(&self) -> Option<fn(Value) -> Value> {
        None
    }
    /// From the storage version to the served version; None if they are equal.
    fn storage_to_served(&self) -> Option<fn(Value) -> Value> {
        None
    }
    /// What must hold of other objects when one of this kind is written.
    fn fencing(&self) -> &dyn Fencing {
        &NamespaceFencing
    }
    /// Unique names that this state of an object holds, as (space, name): service IPs, node ports. The verbs take those
    /// that are new and give up those that are gone.
    fn claims(&self, _key: &ObjectKey, _object: &Value) -> Vec<(Arc<str>, Arc<str>)> {
        Vec::new()
    }
    /// The answer when another object holds a claim that the request itself named; None prepares the object anew. Claims
    /// that were drawn are drawn anew, a bounded number of times.
    fn claim_refused(&self, key: &ObjectKey, space: &str, name: &str, holder: &str) -> Option<Status> {
        let why = format!("{space} {name} is held by {holder}");
        Some(Status::conflict(&key.resource, &key.name, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_fence_creates() {
        let pods = GroupResource::new("", "pods");
        let check = |namespace: &str, found: FenceFound, expected: Option<(u16, &str)>| {
            let fences = NamespaceFencing.on_create(&ObjectKey::new(pods.clone(), namespace, "a"));
            let status = fences.first().map(|fence| NamespaceFencing.refusal(&pods, "a", fence, found));
            assert_eq!(status.as_ref().map(|status| (status.code, status.message.as_str())), expected);
        };
        check("", FenceFound::Missing, None);
        check("x", FenceFound::Missing, Some((404, r#"namespaces "x" not found"#)));
        let text =
            r#"pods "a" is forbidden: unable to create new content in namespace x because it is being terminated"#;
        check("x", FenceFound::Terminating, Some((403, text)));
    }
}
