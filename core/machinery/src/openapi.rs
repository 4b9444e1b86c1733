//! `/openapi/v3`: an index of documents by group version, and the documents (KEP-2896).
//!
//! The index names each document with a hash of its bytes; a client that asks with the right hash may keep the answer for
//! ever. Documents are made when they are first asked for and made again only for group versions that have changed.
//! Invariant: equal ETags mean equal bytes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use triune_env::BoxFuture;
use triune_schema::{
    Facts,
    openapi::{ServedResource, ServedSubresource, group_version_document, group_version_path},
};

use crate::{
    accept::{accept_header, parse_accept},
    body::{Body, Response},
    context::Context,
    discovery::etag_of,
    handler::{Handler, Request},
    registry::Resource,
    resources::{InstalledVersion, Resources},
    respond::{json_response, text_response},
    routes::Routes,
};

const ROOT: &str = "/openapi/v3";
const SECONDS_OF_A_YEAR: u64 = 365 * 24 * 60 * 60;

/// A document and its ETag, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenApiDocument {
    /// JSON.
    pub json: Bytes,
    /// Hash of the bytes.
    pub etag: String,
}

/// Where OpenAPI documents come from.
pub trait OpenApiSource: Send + Sync + 'static {
    /// Paths (such as `api/v1`, `apis/apps/v1`) and ETags of all v3 documents there are now.
    fn index(&self) -> BTreeMap<String, String>;
    /// The v3 document of a path, if there is one now.
    fn document(&self, path: &str) -> Option<OpenApiDocument>;
}

/// Documents of what some registries serve, made from the facts of types.
pub struct RegistryOpenApi {
    facts: Arc<Facts>,
    registries: Vec<Arc<Resources>>,
    /// By path, with the version that each was made from.
    made: Mutex<BTreeMap<String, (Arc<InstalledVersion>, OpenApiDocument)>>,
}

impl RegistryOpenApi {
    /// Nothing is made yet.
    pub fn new(facts: Arc<Facts>, registries: Vec<Arc<Resources>>) -> RegistryOpenApi {
        RegistryOpenApi { facts, registries, made: Mutex::default() }
    }

    fn versions(&self) -> BTreeMap<String, Arc<InstalledVersion>> {
        let mut versions = BTreeMap::new();
        for registry in &self.registries {
            for installed in registry.load().versions() {
                versions.entry(group_version_path(&installed.group_version)).or_insert_with(|| installed.clone());
            }
        }
        versions
    }

    fn document_of(&self, path: &str, installed: &Arc<InstalledVersion>) -> OpenApiDocument {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some((from, document)) = made
            && Arc::ptr_eq(&from, installed)
        {
            return document;
        }
        let served: Vec<ServedResource> = installed.resources.iter().map(|resource| served(resource)).collect();
        let value = group_version_document(&self.facts, &installed.group_version, &served);
        // A tree always has a JSON form.
        let json = Bytes::from(serde_json::to_vec(&value).unwrap_or_default());
        let document = OpenApiDocument { etag: etag_of(&json), json };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.insert(path.to_owned(), (installed.clone(), document.clone()));
        document
    }
}

impl OpenApiSource for RegistryOpenApi {
    fn index(&self) -> BTreeMap<String, String> {
        let versions = self.versions();
        self.made.lock().unwrap_or_else(PoisonError::into_inner).retain(|path, _| versions.contains_key(path));
        versions
            .into_iter()
            .map(|(path, installed)| {
                let etag = self.document_of(&path, &installed).etag;
                (path, etag)
            })
            .collect()
    }

    fn document(&self, path: &str) -> Option<OpenApiDocument> {
        let installed = self.versions().remove(path)?;
        Some(self.document_of(path, &installed))
    }
}

fn served(resource: &Resource) -> ServedResource {
    let subresource = |(name, subresource): (&String, &crate::registry::Subresource)| ServedSubresource {
        name: name.clone(),
        gvk: subresource.gvk.clone(),
        verbs: subresource.verbs.clone(),
    };
    ServedResource {
        name: resource.name.clone(),
        gvk: resource.gvk.clone(),
        namespaced: resource.namespaced,
        verbs: resource.verbs.clone(),
        subresources: resource.subresources.iter().map(subresource).collect(),
        answers_delete_with_object: resource.strategy.returns_deleted_object(),
        schemas: None,
    }
}

/// Serves the index and the documents of a source.
pub fn install(source: Arc<dyn OpenApiSource>, routes: &mut Routes) {
    routes.handle(ROOT, Arc::new(Index(source.clone())));
    routes.handle_prefix(format!("{ROOT}/"), Arc::new(Documents(source)));
}

struct Index(Arc<dyn OpenApiSource>);

impl Handler for Index {
    fn handle(self: Arc<Self>, _: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        let paths: serde_json::Map<String, serde_json::Value> = self
            .0
            .index()
            .into_iter()
            .map(|(path, etag)| {
                let url = serde_json::json!({ "serverRelativeURL": url_of(&path, &etag) });
                (path, url)
            })
            .collect();
        let json = Bytes::from(serde_json::to_vec(&serde_json::json!({ "paths": paths })).unwrap_or_default());
        let etag = etag_of(&json);
        Box::pin(std::future::ready(with_etag(request.headers(), &OpenApiDocument { json, etag })))
    }
}

struct Documents(Arc<dyn OpenApiSource>);

impl Documents {
    fn answer(&self, context: &Context, request: &Request) -> Response {
        let path = context.info.path.strip_prefix(ROOT).unwrap_or("").trim_start_matches('/');
        if !accepts_json(request.headers()) {
            return empty(StatusCode::NOT_ACCEPTABLE);
        }
        let Some(document) = self.0.document(path) else { return text_response(404, "404 page not found\n") };
        let hash = form_urlencoded::parse(context.query.as_bytes()).find(|(key, _)| key == "hash");
        let hash = hash.map(|(_, hash)| hash).filter(|hash| !hash.is_empty());
        if hash.as_ref().is_some_and(|hash| **hash != document.etag) {
            let mut response = empty(StatusCode::MOVED_PERMANENTLY);
            if let Ok(location) = HeaderValue::from_str(&url_of(path, &document.etag)) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            return response;
        }
        let mut response = with_etag(request.headers(), &document);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        if hash.is_some() {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
            if let Some(expires) = in_a_year(context) {
                response.headers_mut().insert(header::EXPIRES, expires);
            }
        }
        response
    }
}

impl Handler for Documents {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        Box::pin(std::future::ready(self.answer(&context, &request)))
    }
}

fn url_of(path: &str, etag: &str) -> String {
    format!("{ROOT}/{path}?hash={etag}")
}

/// Only JSON is offered: who asks for protobuf alone is told so.
fn accepts_json(headers: &HeaderMap) -> bool {
    let header = accept_header(headers);
    header.is_empty()
        || parse_accept(header)
            .iter()
            .any(|clause| matches!(clause.kind, "application" | "*") && matches!(clause.subtype, "json" | "*"))
}

fn with_etag(headers: &HeaderMap, document: &OpenApiDocument) -> Response {
    let quoted = format!("\"{}\"", document.etag);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| {
        value
            .to_str()
            .is_ok_and(|text| text == "*" || text.split(',').any(|tag| tag.trim().trim_start_matches("W/") == quoted))
    });
    let mut response = if known { empty(StatusCode::NOT_MODIFIED) } else { json_response(200, document.json.clone()) };
    if let Ok(etag) = HeaderValue::from_str(&quoted) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The moment a year from now as RFC 1123 prints it.
fn in_a_year(context: &Context) -> Option<HeaderValue> {
    let then = context.env.clock.wall() + std::time::Duration::from_secs(SECONDS_OF_A_YEAR);
    let then = jiff::Timestamp::try_from(then).ok()?;
    HeaderValue::from_str(&then.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    struct One;

    impl OpenApiSource for One {
        fn index(&self) -> BTreeMap<String, String> {
            BTreeMap::from([("apis/apps/v1".to_owned(), "AB".to_owned())])
        }
        fn document(&self, path: &str) -> Option<OpenApiDocument> {
            let document = OpenApiDocument { json: Bytes::from_static(b"{}"), etag: "AB".into() };
            (path == "apis/apps/v1").then_some(document)
        }
    }

    async fn check(uri: &str, header: (&'static str, &'static str), code: u16, body: &str, location: Option<&str>) {
        let mut routes = Routes::default();
        install(Arc::new(One), &mut routes);
        let (context, mut request) = testing::request("GET", uri);
        request.headers_mut().insert(header.0, HeaderValue::from_static(header.1));
        let (_, handler) = routes.find(&context.info.path).expect("a route");
        let mut response = handler.clone().handle(context, request).await;
        let Body::Chunks(chunks) = response.body_mut() else { panic!("a stream") };
        let found = String::from_utf8(chunks.pop_front().unwrap_or_default().to_vec()).expect("text");
        assert_eq!((response.status().as_u16(), found.as_str()), (code, body), "{uri}");
        let found = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        assert_eq!(found, location, "{uri}");
    }

    #[tokio::test]
    async fn index_and_documents() {
        let index = r#"{"paths":{"apis/apps/v1":{"serverRelativeURL":"/openapi/v3/apis/apps/v1?hash=AB"}}}"#;
        let json = ("accept", "application/json");
        check("/openapi/v3", json, 200, index, None).await;
        check("/openapi/v3/apis/apps/v1", json, 200, "{}", None).await;
        check("/openapi/v3/apis/apps/v1?hash=AB", json, 200, "{}", None).await;
        check("/openapi/v3/apis/apps/v1?hash=AC", json, 301, "", Some("/openapi/v3/apis/apps/v1?hash=AB")).await;
        check("/openapi/v3/apis/apps/v1", ("if-none-match", "\"AB\""), 304, "", None).await;
        check("/openapi/v3/apis/apps/v1", ("if-none-match", "\"AC\""), 200, "{}", None).await;
        check("/openapi/v3/apis/apps/v1", ("accept", "application/x"), 406, "", None).await;
        check("/openapi/v3/apis/apps/v2", json, 404, "404 page not found\n", None).await;
    }
}
