//! Every built-in kind in every form: the answers in JSON, YAML and protobuf to get, list, watch and to a wish for
//! partial metadata say the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};
use triune_api::{
    decode, meta,
    names::{GroupVersion, ObjectKey},
};
use triune_env::{BoxFuture, Env};
use triune_machinery::{
    authorization::AlwaysAllow,
    body::{Body, Response},
    context::{Context, UserInfo},
    handler::{Handler, Request, RequestBody},
    registry::Resource,
    request_info::request_info,
    resources::{InstalledVersion, Resources},
    respond::text_response,
    verbs::ResourceHandler,
};
use triune_schema::{Facts, protobuf::Envelope};
use triune_store::{
    Store, StoreOptions,
    types::{Change, Expect, Write},
};

#[path = "../../schema/tests/support/any.rs"]
mod any;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

struct NotFound;

impl Handler for NotFound {
    fn handle(self: Arc<Self>, _: Arc<Context>, _: Request) -> BoxFuture<'static, Response> {
        Box::pin(std::future::ready(text_response(404, "not found")))
    }
}

struct World {
    env: Env,
    facts: Arc<Facts>,
    store: Arc<Store>,
    handler: Arc<ResourceHandler>,
    resources: Vec<Arc<Resource>>,
}

impl World {
    async fn new() -> World {
        let env = triune_platform::env();
        let facts = triune_kube::facts().expect("facts");
        let resources: Vec<Arc<Resource>> =
            triune_kube::resources(&facts).expect("resources").into_iter().map(Arc::new).collect();
        let mut versions: BTreeMap<GroupVersion, Vec<Arc<Resource>>> = BTreeMap::new();
        for resource in &resources {
            versions.entry(resource.gvk.group_version()).or_default().push(resource.clone());
        }
        let registry = Resources::new();
        registry.install_all(versions.into_iter().map(|(group_version, resources)| InstalledVersion {
            group_version,
            group_priority: 1,
            version_priority: 1,
            resources,
        }));
        let storage = triune_storage::memory(env.clone());
        let store = Store::open(env.clone(), storage, StoreOptions::default()).await.expect("memory opens");
        let handler = ResourceHandler::new(Arc::new(registry), store.clone(), Arc::new(NotFound));
        World { env, facts, store, handler, resources }
    }

    /// Stores any object past the verbs, which would refuse most of them.
    async fn put(&self, resource: &Resource, name: &str, seed: u64) {
        let declared = resource.schema.as_ref().expect("built-in kinds have facts");
        let mut object = any::any_object(declared, &mut any::Dice(seed));
        let namespace = if resource.namespaced { "n" } else { "" };
        meta::set_name(&mut object, name);
        meta::set_namespace(&mut object, namespace);
        meta::set_uid(&mut object, "00000000-0000-4000-8000-000000000000");
        declared.normalise(&mut object);
        if let Some(convert) = resource.strategy.served_to_storage() {
            object = convert(object);
        }
        let change = Change::Put {
            body: meta::split_body(object),
            uid: "00000000-0000-4000-8000-000000000000".into(),
            terminating: false,
            time_to_live: None,
        };
        let key = ObjectKey::new(resource.storage.clone(), namespace, name);
        let (expect, fences, claims) = (Expect::Absent, Vec::new(), Vec::new());
        self.store.commit(Write { key, expect, change, fences, claims }).await.expect("a write");
    }

    async fn get(&self, path: &str, query: &str, accept: &str) -> (String, Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).expect("a header"));
        let context = Arc::new(Context {
            env: self.env.clone(),
            info: request_info(&Method::GET, path, query).expect("a path"),
            query: query.into(),
            user: Arc::new(UserInfo::default()),
            audit_id: String::new(),
            received: self.env.clock.now(),
            deadline: None,
            before_all_paths_installed: false,
            authorizer: Arc::new(AlwaysAllow),
            warnings: Mutex::default(),
        });
        let mut request = Request::new(RequestBody::empty());
        *request.headers_mut() = headers;
        let response = self.handler.clone().handle(context, request).await;
        assert_eq!(response.status(), 200, "{path}?{query} {accept}");
        let content_type = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
        let bytes = match response.into_body() {
            Body::Chunks(chunks) => chunks.iter().flatten().copied().collect(),
            Body::Stream(stream) => stream.collect::<Vec<Bytes>>().await.concat().into(),
        };
        (content_type, bytes)
    }

    /// An object in protobuf as a tree in normal form.
    fn read(&self, bytes: &[u8]) -> Value {
        let envelope = Envelope::open(bytes).expect("an object");
        let gvk = GroupVersion::parse(&envelope.api_version).expect("a version").with_kind(&envelope.kind);
        let declared = self.facts.type_of(&gvk).unwrap_or_else(|| panic!("{gvk:?} is known"));
        let mut tree = declared.decode_protobuf(envelope.message).expect("its message");
        meta::set_type(&mut tree, &gvk);
        declared.normalise(&mut tree);
        tree
    }

    /// The events of a watch in protobuf, as JSON shows them.
    fn read_events(&self, mut bytes: &[u8]) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let (event, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            bytes = rest;
            // A type, behind its tag and length; then the object.
            let type_end = 2 + usize::from(event[1]);
            let event_type = std::str::from_utf8(&event[2..type_end]).expect("text");
            let at = event.windows(4).position(|window| window == b"k8s\0").expect("an object");
            events.push(json!({"type": event_type, "object": self.read(&event[at..])}));
        }
        events
    }
}

/// The items of a list of partial metadata in JSON name their type, those of a typed list do not.
fn without_item_types(mut list: Value) -> Value {
    for item in list["items"].as_array_mut().into_iter().flatten() {
        meta::remove_type(item);
    }
    list
}

async fn check(world: &World, resource: &Resource) {
    let gvk = &resource.gvk;
    let root = if gvk.group.is_empty() { "/api/v1".into() } else { format!("/apis/{}/{}", gvk.group, gvk.version) };
    let namespace = if resource.namespaced { "/namespaces/n" } else { "" };
    let all = format!("{root}{namespace}/{}", resource.name);
    let one = format!("{all}/a");
    let partial = |kind: &str| format!(";as={kind};g=meta.k8s.io;v=v1");
    let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).expect("JSON") };
    for (path, form) in [
        (&one, String::new()),
        (&all, String::new()),
        (&one, partial("PartialObjectMetadata")),
        (&all, partial("PartialObjectMetadataList")),
    ] {
        let (_, text) = world.get(path, "", &format!("application/json{form}")).await;
        let expect = without_item_types(json(&text));
        let (content_type, bytes) = world.get(path, "", &format!("{PROTOBUF}{form}")).await;
        assert_eq!(content_type, PROTOBUF);
        assert_eq!(without_item_types(world.read(&bytes)), expect, "{path} {form}");
        let (content_type, text) = world.get(path, "", &format!("application/yaml{form}")).await;
        assert_eq!(content_type, "application/yaml");
        assert_eq!(without_item_types(decode::yaml(&text).expect("YAML")), expect, "{path} {form}");
    }
    if !resource.verbs.iter().any(|verb| verb == "watch") {
        return;
    }
    for form in [String::new(), partial("PartialObjectMetadata")] {
        let query = "watch=true&timeoutSeconds=1&resourceVersion=1";
        let (in_json, in_protobuf) = (format!("application/json{form}"), format!("{PROTOBUF}{form}"));
        let ((_, text), (content_type, bytes)) =
            futures::join!(world.get(&all, query, &in_json), world.get(&all, query, &in_protobuf));
        assert_eq!(content_type, "application/vnd.kubernetes.protobuf;stream=watch");
        let expect: Vec<Value> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(json).collect();
        assert_eq!(world.read_events(&bytes), expect, "watch of {all} {form}");
        assert!(expect.len() >= 2, "watch of {all}: {expect:?}");
    }
}

#[tokio::test]
async fn every_kind_says_the_same_in_every_form() {
    let world = World::new().await;
    let stored: Vec<Arc<Resource>> = world
        .resources
        .iter()
        .filter(|resource| resource.verbs.iter().any(|verb| verb == "get") && resource.custom.is_none())
        .cloned()
        .collect();
    assert!(stored.len() > 50, "only {} resources", stored.len());
    let mut written = BTreeSet::new();
    for (seed, resource) in stored.iter().enumerate() {
        if written.insert(resource.storage.clone()) {
            for name in ["a", "b"] {
                world.put(resource, name, seed as u64 * 2 + u64::from(name == "b")).await;
            }
        }
    }
    futures::future::join_all(stored.iter().map(|resource| check(&world, resource))).await;
}
