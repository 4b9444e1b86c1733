//! Discovery: which groups, versions and resources there are; `/api`, `/apis`, `/apis/<group>`, `/apis/<group>/<version>`,
//! and the aggregated lists of both roots (KEP-3352).
//!
//! Every document is a function of the resource registries. All of them are made together when a registry has changed and
//! somebody asks, and are bytes from then on. Invariants: a document shows the registries at one moment no older than the
//! request (A10); equal ETags mean equal bytes; order is that of the registries: groups and versions by priority, resources
//! by name.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha512};
use triune_api::{Value, status::Status};
use triune_env::BoxFuture;
use triune_schema::Facts;

use crate::{
    accept::{Clause, MediaType, PRODUCED, accept_header, check_routed, negotiate, not_acceptable, wants_pretty},
    body::{Body, Response},
    context::Context,
    handler::{Handler, Request},
    resources::{Resources, ResourcesSnapshot},
    respond::{bytes_response, json_response, method_not_allowed, status_response, to_json, to_yaml},
    verbs::messages::tree_in_protobuf,
};

mod documents;

const AGGREGATED_JSON: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_YAML: &str = "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_PROTOBUF: &str =
    "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Serves discovery of some registries.
pub struct Discovery {
    registries: Vec<Arc<Resources>>,
    server_address: String,
    current: ArcSwapOption<Documents>,
    making: Mutex<()>,
}

/// All documents at one moment.
struct Documents {
    generations: Vec<u64>,
    /// By path, without a slash at the end.
    by_path: BTreeMap<String, Document>,
    /// What messages are made by; without it there is no protobuf.
    facts: Option<Arc<Facts>>,
}

/// What is served at a path.
struct Document {
    plain: Text,
    /// The roots have an aggregated form too, with its ETag in quotes.
    aggregated: Option<(Text, HeaderValue)>,
}

/// A document in JSON, and in protobuf once somebody has asked for that.
struct Text {
    json: Bytes,
    protobuf: OnceLock<Bytes>,
}

impl Text {
    fn new(json: Bytes) -> Text {
        Text { json, protobuf: OnceLock::new() }
    }

    fn tree(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    fn in_protobuf(&self, facts: &Arc<Facts>) -> Result<Bytes, Status> {
        if let Some(bytes) = self.protobuf.get() {
            return Ok(bytes.clone());
        }
        let bytes = Bytes::from(tree_in_protobuf(facts, &self.tree())?);
        Ok(self.protobuf.get_or_init(|| bytes).clone())
    }
}

impl Discovery {
    /// Of these registries; `server_address` is what `/api` tells clients, such as `10.0.0.1:6443`.
    pub fn new(registries: Vec<Arc<Resources>>, server_address: impl Into<String>) -> Discovery {
        let server_address = server_address.into();
        Discovery { registries, server_address, current: ArcSwapOption::empty(), making: Mutex::new(()) }
    }

    /// Whether a path is one of the documents now.
    pub fn serves(&self, path: &str) -> bool {
        is_discovery_path(path) && self.documents().by_path.contains_key(without_slash(path))
    }

    /// Every path that has a document now, as listed under `/`.
    pub fn paths(&self) -> Vec<String> {
        self.documents().by_path.keys().cloned().chain(["/apis/".to_owned()]).collect()
    }

    fn documents(&self) -> Arc<Documents> {
        if let Some(documents) = self.fresh() {
            return documents;
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(documents) = self.fresh() {
            return documents;
        }
        let snapshots: Vec<Arc<ResourcesSnapshot>> =
            self.registries.iter().map(|registry| registry.snapshot()).collect();
        let documents = Arc::new(Documents {
            generations: snapshots.iter().map(|snapshot| snapshot.generation()).collect(),
            by_path: make_documents(&snapshots, &self.server_address),
            facts: snapshots.iter().find_map(|snapshot| snapshot.facts()).cloned(),
        });
        self.current.store(Some(documents.clone()));
        documents
    }

    fn fresh(&self) -> Option<Arc<Documents>> {
        let documents = self.current.load_full()?;
        let generations = self.registries.iter().map(|registry| registry.load().generation());
        documents.generations.iter().copied().eq(generations).then_some(documents)
    }

    fn answer(&self, context: &Context, request: &Request) -> Response {
        let headers = request.headers();
        let documents = self.documents();
        let Some(document) = documents.by_path.get(without_slash(&context.info.path)) else {
            return status_response(context, headers, &Status::page_not_found());
        };
        if request.method() != http::Method::GET {
            return method_not_allowed(context, headers);
        }
        let accept = accept_header(headers);
        let answer = match check_route(&context.info.path, accept) {
            Ok(()) => document.answer(headers, &context.query, documents.facts.as_ref()),
            Err(status) => Err(status),
        };
        answer.unwrap_or_else(|status| status_response(context, headers, &status))
    }
}

/// The lists of groups and the single groups are asked for without the router that the other documents have in front.
fn check_route(path: &str, accept: &str) -> Result<(), Status> {
    match without_slash(path).strip_prefix("/apis") {
        Some(rest) if rest.matches('/').count() < 2 => Ok(()),
        _ => check_routed(accept, &PRODUCED, false),
    }
}

impl Document {
    fn answer(&self, headers: &HeaderMap, query: &str, facts: Option<&Arc<Facts>>) -> Result<Response, Status> {
        let accept = accept_header(headers);
        let offered = |clause: &Clause<'_>, media| {
            clause.has_known_parameters(media, None) && (media != MediaType::Protobuf || facts.is_some())
        };
        if let Some((aggregated, etag)) = &self.aggregated {
            let allows = |clause: &Clause<'_>, media| is_aggregated(clause) && offered(clause, media);
            if let Some((media, Some(_))) = negotiate(accept, &MediaType::ALL, allows) {
                return answer_aggregated(headers, aggregated, etag, media, facts);
            }
        }
        let allows = |clause: &Clause<'_>, media| !clause.converts() && offered(clause, media);
        let (media, _) = negotiate(accept, &MediaType::ALL, allows).ok_or_else(not_acceptable)?;
        let text = &self.plain;
        Ok(match (media, facts) {
            (MediaType::Protobuf, Some(facts)) => bytes_response(200, media.as_str(), text.in_protobuf(facts)?),
            (MediaType::Yaml, _) => bytes_response(200, media.as_str(), to_yaml(&text.tree())),
            _ if wants_pretty(headers, query) => json_response(200, to_json(&text.tree(), true)),
            _ => json_response(200, text.json.clone()),
        })
    }
}

impl Handler for Discovery {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        Box::pin(std::future::ready(self.answer(&context, &request)))
    }
}

fn is_discovery_path(path: &str) -> bool {
    ["/api", "/apis"]
        .iter()
        .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

fn make_documents(snapshots: &[Arc<ResourcesSnapshot>], server_address: &str) -> BTreeMap<String, Document> {
    let groups = documents::groups(snapshots);
    let mut by_path = documents::plain(&groups, server_address)
        .into_iter()
        .map(|(path, json)| (path, Document { plain: Text::new(json), aggregated: None }))
        .collect::<BTreeMap<String, Document>>();
    for root in ["/api", "/apis"] {
        let json = documents::aggregated(&groups, root == "/api");
        // The digits of a hash and two quotes are always a header value.
        let etag = HeaderValue::from_str(&format!("\"{}\"", etag_of(&json))).ok();
        if let (Some(document), Some(etag)) = (by_path.get_mut(root), etag) {
            document.aggregated = Some((Text::new(json), etag));
        }
    }
    by_path
}

/// SHA-512 in upper-case hexadecimal, as the reference's ETags.
pub(crate) fn etag_of(bytes: &[u8]) -> String {
    Sha512::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect()
}

fn is_aggregated(clause: &Clause<'_>) -> bool {
    // v2beta1 is gone in 1.37: who asks for it alone gets the plain document.
    ["g", "v", "as"].map(|name| clause.parameter(name))
        == [Some("apidiscovery.k8s.io"), Some("v2"), Some("APIGroupDiscoveryList")]
}

fn answer_aggregated(
    headers: &HeaderMap,
    text: &Text,
    etag: &HeaderValue,
    media: MediaType,
    facts: Option<&Arc<Facts>>,
) -> Result<Response, Status> {
    let mut response = match (media, facts) {
        _ if headers.get(header::IF_NONE_MATCH) == Some(etag) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = http::StatusCode::NOT_MODIFIED;
            response
        }
        (MediaType::Protobuf, Some(facts)) => bytes_response(200, AGGREGATED_PROTOBUF, text.in_protobuf(facts)?),
        (MediaType::Yaml, _) => bytes_response(200, AGGREGATED_YAML, to_yaml(&text.tree())),
        _ => bytes_response(200, AGGREGATED_JSON, text.json.clone()),
    };
    response.headers_mut().insert(header::ETAG, etag.clone());
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    Ok(response)
}

#[cfg(test)]
mod tests;
