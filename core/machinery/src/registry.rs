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

use crate::{
    body::{Body, Response},
    context::Context,
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
    /// Answers; errors become `Status` answers.
    fn serve<'a>(
        &'a self,
        context: &'a Context,
        request: http::Request<bytes::Bytes>,
    ) -> BoxFuture<'a, Result<Response, Status>>;
}

/// Answers 501 with a Status that says what is missing.
pub struct NotImplemented(pub &'static str);

impl CustomHandler for NotImplemented {
    fn serve<'a>(&'a self, _: &'a Context, _: http::Request<bytes::Bytes>) -> BoxFuture<'a, Result<Response, Status>> {
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

/// What differs from kind to kind: pure functions over trees in the version served. Objects come with valid, completed
/// metadata (the verbs see to name, uid, times, generation, resourceVersion, finalizers).
pub trait Strategy: Send + Sync + 'static {
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
    /// Checks the name of a new object; the empty list is fine. The default is a DNS subdomain.
    fn validate_name(&self, name: &str) -> Vec<String> {
        triune_api::validation::dns_subdomain(name)
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
    /// Texts for `Warning` headers on create and update.
    fn warnings(&self, _: &Context, _object: &Value) -> Vec<String> {
        Vec::new()
    }
    /// Seconds of grace that a delete is given where the request names none; None deletes at once (all but pods).
    fn grace_seconds_default(&self, _object: &Value) -> Option<i64> {
        None
    }
    /// Why a delete is refused.
    fn check_delete(&self, _: &Context, _object: &Value) -> Result<(), Status> {
        Ok(())
    }
    /// Names of finalizers that a first delete adds (`kubernetes` in a namespace's `spec.finalizers` counts elsewhere).
    fn holds_on_delete(&self, _object: &Value) -> bool {
        false
    }
    /// Changes a terminating object on its first delete (namespaces: phase Terminating).
    fn prepare_for_delete(&self, _object: &mut Value) {}
    /// The object is removed by itself this long after its last write.
    fn time_to_live(&self, _object: &Value) -> Option<Duration> {
        None
    }
    /// Selectable fields besides `metadata.name` and `metadata.namespace`, always the same paths.
    fn selectable_fields(&self, _object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// Paths of `selectable_fields`.
    fn selectable_paths(&self) -> &'static [&'static str] {
        &[]
    }
    /// Columns of a Table after which one cell each comes from `cells`.
    fn columns(&self) -> Vec<Column>;
    /// The cells of one object. `now` is wall time, for ages.
    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value>;
    /// From the served version to the storage version; None if they are equal.
    fn to_storage(&self) -> Option<fn(Value) -> Value> {
        None
    }
    /// From the storage version to the served version; None if they are equal.
    #[allow(clippy::wrong_self_convention)] // the pair of `to_storage`
    fn from_storage(&self) -> Option<fn(Value) -> Value> {
        None
    }
    /// Unique names that the new state of an object holds (given) and that the old state held: service IPs, node ports.
    fn claims(&self, _key: &ObjectKey, _object: &Value) -> Vec<(Arc<str>, Arc<str>)> {
        Vec::new()
    }
}
