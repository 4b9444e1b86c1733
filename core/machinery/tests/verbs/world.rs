//! A small world to send requests to: a few kinds that differ in what the verbs look at, and one `check` function.
//!
//! An answer is shown as `code Kind {...}`, without uid, times and revisions; a failure as `code Reason: message`; a list
//! as `code Kind name name ...`.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    meta,
    names::{GroupResource, GroupVersion, GroupVersionKind, ObjectKey},
    status::Status,
};
use triune_env::{BoxFuture, Entropy, Env};
use triune_machinery::{
    authorization::{AlwaysAllow, Authorizer},
    body::{Body, Response},
    context::{Context, UserInfo},
    handler::{Handler, Request, RequestBody},
    registry::{
        Column, CustomHandler, DependentsPolicy, NotImplemented, ResetFields, Resource, ScalePaths, Serving, Strategy,
        Subresource,
    },
    request_info::request_info,
    resources::{InstalledVersion, Resources},
    respond::status_response,
    verbs::ResourceHandler,
};
use triune_schema::{
    Facts,
    protobuf::{Envelope, PREFIX},
};
use triune_store::{Store, StoreOptions};

/// Everything a test needs.
pub struct World {
    pub env: Env,
    pub handler: Arc<ResourceHandler>,
    /// Asked by verbs whether a user may do more than the request says.
    pub authorizer: Arc<dyn Authorizer>,
}

/// The plain kind: generation, a status, a selectable field.
struct Things;
/// Graceful deletes, answered with the object.
struct Runs;
/// PUT creates; an update must name its revision.
struct Locks;
/// Holds a unique number.
struct Tickets;
/// Held by `spec.finalizers`.
struct Namespaces;
/// The status of a thing.
struct ThingStatus;
/// `spec.length` where the stored version has `spec.size`.
struct LongThings;

fn keep(old: &Value, new: &mut Value, field: &str) {
    match old.get(field) {
        Some(value) => new[field] = value.clone(),
        None => drop(new.as_object_mut().and_then(|map| map.remove(field))),
    }
}

fn name_column() -> Column {
    Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        description: "Its name.".into(),
        priority: 0,
    }
}

fn name_cell(object: &Value) -> Vec<Value> {
    vec![json!(meta::name(object))]
}

macro_rules! plain_table {
    () => {
        fn columns(&self) -> Vec<Column> {
            vec![name_column()]
        }
        fn cells(&self, object: &Value, _: jiff::Timestamp) -> Vec<Value> {
            name_cell(object)
        }
    };
}

const COLOR: &[Cow<'static, str>] = &[Cow::Borrowed("spec.color")];

fn size_errors(object: &Value) -> Vec<FieldError> {
    match object.pointer("/spec/size").and_then(Value::as_i64) {
        Some(size) if size < 0 => vec![FieldError::invalid("spec.size", &json!(size), "must not be negative")],
        _ => Vec::new(),
    }
}

impl Strategy for Things {
    plain_table!();
    fn uses_generation(&self) -> bool {
        true
    }
    fn defaults(&self, object: &mut Value) {
        if object.get("spec").is_some_and(|spec| spec.get("color").is_none()) && meta::name(object) == "defaulted" {
            object["spec"]["color"] = json!("grey");
        }
    }
    fn reset_fields(&self) -> ResetFields {
        ResetFields::These(&[&["status"]])
    }
    fn prepare_for_create(&self, _: &Context, object: &mut Value) {
        object.as_object_mut().map(|map| map.remove("status"));
    }
    fn prepare_for_update(&self, _: &Context, old: &Value, new: &mut Value) {
        keep(old, new, "status");
    }
    fn validate_create(&self, _: &Context, object: &Value) -> Vec<FieldError> {
        size_errors(object)
    }
    fn validate_update(&self, _: &Context, _: &Value, object: &Value) -> Vec<FieldError> {
        size_errors(object)
    }
    fn warnings(&self, _: &Context, object: &Value, _: Option<&Value>) -> Vec<String> {
        object.pointer("/spec/old").map(|_| "spec.old: is old".to_string()).into_iter().collect()
    }
    fn selectable_paths(&self) -> &[Cow<'static, str>] {
        COLOR
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        let color = object.pointer("/spec/color").and_then(Value::as_str).unwrap_or_default();
        vec![(COLOR[0].clone(), color.to_string())]
    }
}

impl Strategy for ThingStatus {
    plain_table!();
    fn reset_fields(&self) -> ResetFields {
        ResetFields::These(&[&["spec"]])
    }
    fn prepare_for_update(&self, _: &Context, old: &Value, new: &mut Value) {
        keep(old, new, "spec");
    }
}

fn rename(mut object: Value, from: &str, to: &str) -> Value {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        && let Some(value) = spec.remove(from)
    {
        spec.insert(to.into(), value);
    }
    object
}

impl Strategy for LongThings {
    plain_table!();
    fn uses_generation(&self) -> bool {
        true
    }
    fn served_to_storage(&self) -> Option<fn(Value) -> Value> {
        Some(|object| rename(object, "length", "size"))
    }
    fn storage_to_served(&self) -> Option<fn(Value) -> Value> {
        Some(|object| rename(object, "size", "length"))
    }
}

impl Strategy for Runs {
    plain_table!();
    fn uses_generation(&self) -> bool {
        true
    }
    fn grace_seconds(&self, _: &Value, requested: Option<i64>) -> Option<i64> {
        Some(requested.unwrap_or(30))
    }
    fn returns_deleted_object(&self) -> bool {
        true
    }
    fn dependents_policy(&self) -> DependentsPolicy {
        DependentsPolicy::Delete
    }
}

impl Strategy for Locks {
    plain_table!();
    fn allows_create_on_update(&self) -> bool {
        true
    }
    fn allows_unconditional_update(&self) -> bool {
        false
    }
}

impl Strategy for Tickets {
    plain_table!();
    fn claims(&self, _: &ObjectKey, object: &Value) -> Vec<(Arc<str>, Arc<str>)> {
        let number = object.pointer("/spec/number").map(Value::to_string);
        number.map(|number| ("ticket-number".into(), number.into())).into_iter().collect()
    }
    fn prepare_for_create(&self, context: &Context, object: &mut Value) {
        if object.pointer("/spec/drawn").is_some() {
            object["spec"]["number"] = json!(context.env.entropy.u64() % 4);
        }
    }
    fn claim_refused(&self, key: &ObjectKey, _: &str, name: &str, _: &str) -> Option<Status> {
        if *key.name == *"drawn" { None } else { Some(Status::bad_request(format!("number {name} is taken"))) }
    }
}

impl Strategy for Namespaces {
    plain_table!();
    fn returns_deleted_object(&self) -> bool {
        true
    }
    fn holds_on_delete(&self, object: &Value) -> bool {
        object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
    }
    fn check_delete(&self, _: &Context, object: &Value) -> Result<(), Status> {
        if meta::name(object) == "default" {
            let resource = GroupResource::new("", "namespaces");
            return Err(Status::forbidden(&resource, "default", "this namespace may not be deleted"));
        }
        Ok(())
    }
}

fn verbs(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_string).collect()
}

fn resource(gvk: &GroupVersionKind, name: &str, namespaced: bool, strategy: impl Strategy) -> Resource {
    Resource {
        gvk: gvk.clone(),
        list_kind: format!("{}List", gvk.kind),
        name: name.into(),
        singular: name.trim_end_matches('s').into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced,
        verbs: verbs("create delete deletecollection get list patch update watch"),
        storage: GroupResource::new(&gvk.group, name),
        storage_version_hash: String::new(),
        schema: None,
        strategy: Arc::new(strategy),
        subresources: BTreeMap::new(),
        custom: None,
    }
}

fn with_subresources(mut resource: Resource) -> Resource {
    let subresource =
        |gvk: GroupVersionKind, verbs_text: &str, serving| Subresource { gvk, verbs: verbs(verbs_text), serving };
    let scale = Serving::Scale(ScalePaths {
        spec_replicas: "/spec/size".into(),
        status_replicas: "/status/size".into(),
        selector: Some("/spec/selector".into()),
    });
    let echo: Arc<dyn CustomHandler> = Arc::new(NotImplemented("things are not polished yet"));
    resource.subresources = BTreeMap::from([
        (
            "status".to_string(),
            subresource(resource.gvk.clone(), "get patch update", Serving::Object(Arc::new(ThingStatus))),
        ),
        (
            "scale".to_string(),
            subresource(GroupVersionKind::new("autoscaling", "v1", "Scale"), "get patch update", scale),
        ),
        ("polish".to_string(), subresource(resource.gvk.clone(), "create", Serving::Custom(echo))),
    ]);
    resource
}

fn installed(version: &str, resources: Vec<Resource>) -> InstalledVersion {
    let group_version = GroupVersion::parse(version).expect("a group version");
    let resources = resources.into_iter().map(Arc::new).collect();
    InstalledVersion { group_version, group_priority: 1, version_priority: 1, resources }
}

fn registry() -> Arc<Resources> {
    let resources = Resources::new();
    let facts = facts();
    let kind = |kind: &str| GroupVersionKind::new("", "v1", kind);
    let mut config_maps = resource(&kind("ConfigMap"), "configmaps", true, Things);
    config_maps.schema = facts.type_of(&config_maps.gvk);
    let mut services = resource(&kind("Service"), "services", true, Runs);
    services.schema = facts.type_of(&services.gvk);
    let namespaces = resource(&kind("Namespace"), "namespaces", false, Namespaces);
    resources.install(installed("v1", vec![namespaces, config_maps, services]));
    let gvk = |version: &str, kind: &str| GroupVersionKind::new("test.io", version, kind);
    let things = with_subresources(resource(&gvk("v1", "Thing"), "things", true, Things));
    let mut reviews = resource(&gvk("v1", "Review"), "reviews", false, Things);
    reviews.custom = Some(Arc::new(NotImplemented("reviews are not built yet")));
    reviews.verbs = verbs("create");
    let rest = vec![
        things,
        reviews,
        resource(&gvk("v1", "Run"), "runs", true, Runs),
        resource(&gvk("v1", "Lock"), "locks", true, Locks),
        resource(&gvk("v1", "Ticket"), "tickets", true, Tickets),
    ];
    resources.install(installed("test.io/v1", rest));
    let long = resource(&gvk("v2", "Thing"), "things", true, LongThings);
    resources.install(installed("test.io/v2", vec![long]));
    Arc::new(resources)
}

struct NotFound;

impl Handler for NotFound {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        Box::pin(async move { status_response(&context, request.headers(), &Status::page_not_found()) })
    }
}

/// Draws few different numbers, so that generated names collide.
pub struct Narrow(pub Arc<dyn Entropy>);

impl Entropy for Narrow {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.fill(buffer);
        // UUIDs stay unique; 64 bits of anything else are one of a few numbers.
        if buffer.len() == 8 {
            buffer[1..].fill(0);
            buffer[0] %= 24;
        }
    }
}

impl World {
    /// With the namespace `n`.
    pub async fn new() -> World {
        World::on(triune_platform::env()).await
    }

    /// On an environment of the test's own, with the namespace `n`.
    pub async fn on(env: Env) -> World {
        let storage = triune_storage::memory(env.clone());
        let store = Store::open(env.clone(), storage, StoreOptions::default()).await.expect("memory opens");
        let handler = ResourceHandler::new(registry(), store, Arc::new(NotFound));
        let world = World { env, handler, authorizer: Arc::new(AlwaysAllow) };
        world
            .check("POST /api/v1/namespaces", json!({"metadata": {"name": "n"}}), "201 Namespace {metadata:{name:n}}")
            .await;
        world
    }

    /// Sends a request; `line` is `METHOD path?query`, then perhaps `Header: value` lines.
    pub async fn send(&self, line: &str, body: &Value) -> (Arc<Context>, Response) {
        let mut lines = line.lines().map(str::trim);
        let (method, url) = lines.next().and_then(|first| first.split_once(' ')).expect("METHOD path");
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let mut headers = HeaderMap::new();
        let patch = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(patch));
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            let name = http::HeaderName::try_from(name).expect("a header");
            headers.insert(name, HeaderValue::try_from(value).expect("a header's value"));
        }
        let method = Method::try_from(method).expect("a method");
        let now = self.env.clock.now();
        let context = Arc::new(Context {
            env: self.env.clone(),
            info: request_info(&method, path, query).expect("a path"),
            query: query.into(),
            user: Arc::new(UserInfo::default()),
            authorizer: self.authorizer.clone(),
            audit_id: String::new(),
            received: now,
            deadline: None,
            before_all_paths_installed: false,
            warnings: std::sync::Mutex::default(),
        });
        let bytes = match body {
            Value::Null => Vec::new(),
            tree if is_protobuf(&headers) => protobuf(tree),
            Value::String(text) => text.clone().into_bytes(),
            tree => tree.to_string().into_bytes(),
        };
        let mut request = Request::new(RequestBody::full(bytes));
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let response = self.handler.clone().handle(context.clone(), request).await;
        (context, response)
    }

    /// Sends a request and reads the whole answer.
    pub async fn ask(&self, line: &str, body: Value) -> (u16, Value) {
        let (_, response) = self.send(line, &body).await;
        let (code, bytes) = read(response).await;
        let text = || json!(String::from_utf8_lossy(&bytes));
        let read = if bytes.starts_with(PREFIX) { read_protobuf(&bytes) } else { serde_json::from_slice(&bytes).ok() };
        (code, read.unwrap_or_else(text))
    }

    /// Sends a request and compares the answer.
    pub async fn check(&self, line: &str, body: Value, expect: &str) -> Value {
        let (code, value) = self.ask(line, body).await;
        assert_eq!(show(code, &value), expect, "{line}");
        value
    }

    /// Sends a request and compares the `Warning` texts.
    pub async fn check_warnings(&self, line: &str, body: Value, expect: &[&str]) {
        let (context, _) = self.send(line, &body).await;
        assert_eq!(*context.warnings.lock().expect("no panic"), expect, "{line}");
    }
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    headers[header::CONTENT_TYPE] == "application/vnd.kubernetes.protobuf"
}

/// An object as a client sends it in protobuf; text as it is.
fn protobuf(object: &Value) -> Vec<u8> {
    if let Some(text) = object.as_str() {
        return text.as_bytes().to_vec();
    }
    let (api_version, kind) = (meta::api_version(object).to_string(), meta::kind(object).to_string());
    let gvk = GroupVersion::parse(&api_version).expect("a group version").with_kind(&kind);
    let message = facts().type_of(&gvk).map(|declared| declared.encode_protobuf(object));
    Envelope { api_version, kind, message: &message.unwrap_or_default() }.seal()
}

/// An answer in protobuf, as its JSON.
fn read_protobuf(bytes: &[u8]) -> Option<Value> {
    let envelope = Envelope::open(bytes).ok()?;
    let gvk = GroupVersion::parse(&envelope.api_version)?.with_kind(&envelope.kind);
    let declared = facts().type_of(&gvk)?;
    let mut tree = declared.decode_protobuf(envelope.message).ok()?;
    meta::set_type(&mut tree, &gvk);
    declared.normalise(&mut tree);
    Some(tree)
}

fn facts() -> Arc<Facts> {
    Facts::parse(include_str!("../../../kube/facts/types.txt")).expect("facts")
}

/// The bytes of an answer.
pub async fn read(response: Response) -> (u16, Vec<u8>) {
    let code = response.status().as_u16();
    let bytes = match response.into_body() {
        Body::Chunks(chunks) => chunks.iter().flatten().copied().collect(),
        Body::Stream(stream) => stream.collect::<Vec<bytes::Bytes>>().await.concat(),
    };
    (code, bytes)
}

/// An answer as text.
pub fn show(code: u16, value: &Value) -> String {
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    if text("kind") == "Status" && text("status") == "Failure" {
        return format!("{code} {}: {}", text("reason"), text("message"));
    }
    if let Some(items) = value.get("items").and_then(Value::as_array) {
        let names: Vec<&str> = items.iter().map(meta::name).collect();
        return format!("{code} {} {}", text("kind"), names.join(" ")).trim_end().to_string();
    }
    if value.is_object() { format!("{code} {} {}", text("kind"), plain(value)) } else { format!("{code} {value}") }
}

/// Without quotes, type, and what differs from run to run.
pub fn plain(value: &Value) -> String {
    let mut shown = value.clone();
    meta::remove_type(&mut shown);
    if shown.get("metadata").is_some() {
        for field in ["uid", "resourceVersion", "creationTimestamp", "namespace", "managedFields"] {
            meta::remove(&mut shown, field);
        }
        if meta::deletion_timestamp(&shown).is_some() {
            meta::set(&mut shown, "deletionTimestamp", json!("T"));
        }
    }
    if let Some(details) = shown.get_mut("details").and_then(Value::as_object_mut) {
        details.remove("uid");
    }
    shown.to_string().replace('"', "")
}
