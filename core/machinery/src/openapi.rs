//! `/openapi/v2`, one document of everything, and `/openapi/v3`, an index of documents by group version (KEP-2896), in JSON
//! and in protobuf (kube-openapi `pkg/handler`, `pkg/handler3`).
//!
//! The index names each document with a hash of its bytes; a client that asks with the right hash may keep the answer for
//! ever. Both forms of a document have the hash of its JSON: `Vary` tells them apart. Invariant: equal ETags mean equal
//! bytes in equal forms.
//!
//! Deliberately absent: ranges of bytes; who asks for some gets everything, as HTTP allows.

mod registry;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use triune_api::time;
use triune_env::BoxFuture;

use crate::{
    accept::{accept_header, parse_accept},
    body::{Body, Response},
    context::Context,
    discovery::etag_of,
    handler::{Handler, Request},
    respond::{bytes_response, json_response},
    routes::Routes,
};

pub use registry::{DOCUMENTS_BYTES_MAX, RegistryOpenApi};

const V2: &str = "/openapi/v2";
const V3: &str = "/openapi/v3";
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Subtypes of `application` in which documents come; the first form is that of clients that accept anything.
const V2_FORMS: [(&str, Form); 3] = [
    ("json", Form::Json),
    ("com.github.proto-openapi.spec.v2@v1.0+protobuf", Form::Protobuf),
    ("com.github.proto-openapi.spec.v2.v1.0+protobuf", Form::Protobuf),
];
const V3_FORMS: [(&str, Form); 3] = [
    ("json", Form::Json),
    ("com.github.proto-openapi.spec.v3.v1.0+protobuf", Form::Protobuf),
    ("com.github.proto-openapi.spec.v3@v1.0+protobuf", Form::Protobuf),
];

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// JSON.
    Json,
    /// A message of gnostic's.
    Protobuf,
}

/// A document in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenApiDocument {
    /// The document.
    pub bytes: Bytes,
    /// Hash of its JSON, without quotes.
    pub etag: String,
    /// When it was made.
    pub modified: SystemTime,
}

/// Where OpenAPI documents come from. `now` is wall time, for documents that have to be made.
pub trait OpenApiSource: Send + Sync + 'static {
    /// Told once, before any question, which plain paths are served.
    fn serves(&self, paths: &[String]);
    /// The v2 document.
    fn v2(&self, form: Form, now: SystemTime) -> OpenApiDocument;
    /// Paths (such as `api/v1`, `apis/apps/v1`) and ETags of all v3 documents there are now.
    fn index(&self, now: SystemTime) -> BTreeMap<String, String>;
    /// The v3 document of a path, if there is one now.
    fn v3(&self, path: &str, form: Form, now: SystemTime) -> Option<OpenApiDocument>;
}

/// Serves the documents of a source. `listed` are the paths that other servers of the chain have.
pub fn install(source: &Arc<dyn OpenApiSource>, routes: &mut Routes, listed: &[String]) {
    source.serves(&[listed, routes.listed()].concat());
    routes.handle(V2, Arc::new(Whole(source.clone())));
    routes.handle(V3, Arc::new(Index(source.clone())));
    routes.handle_prefix(format!("{V3}/"), Arc::new(Documents(source.clone())));
}

struct Whole(Arc<dyn OpenApiSource>);

impl Handler for Whole {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        let headers = request.headers();
        let mut response = match negotiate(headers, &V2_FORMS) {
            None => empty(StatusCode::NOT_ACCEPTABLE),
            Some(form) => {
                let document = self.0.v2(form, context.env.clock.wall());
                serve(headers, content_type(&V2_FORMS, form), &document)
            }
        };
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        Box::pin(std::future::ready(response))
    }
}

struct Index(Arc<dyn OpenApiSource>);

impl Handler for Index {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        let url = |(path, etag): (String, String)| {
            let url = serde_json::json!({ "serverRelativeURL": url_of(&path, &etag) });
            (path, url)
        };
        let paths: serde_json::Map<String, serde_json::Value> =
            self.0.index(context.env.clock.wall()).into_iter().map(url).collect();
        // A tree always has a JSON form.
        let json = Bytes::from(serde_json::to_vec(&serde_json::json!({ "paths": paths })).unwrap_or_default());
        let etag = etag_of(&json);
        let mut response = json_response(200, json);
        set(&mut response, header::ETAG, &format!("\"{etag}\""));
        if matches_etag(request.headers(), &etag) {
            response = not_modified(&response);
        }
        Box::pin(std::future::ready(response))
    }
}

struct Documents(Arc<dyn OpenApiSource>);

impl Documents {
    fn answer(&self, context: &Context, request: &Request) -> Response {
        let path = context.info.path.strip_prefix(V3).unwrap_or("").trim_start_matches('/');
        let now = context.env.clock.wall();
        let Some(form) = negotiate(request.headers(), &V3_FORMS) else { return empty(StatusCode::NOT_ACCEPTABLE) };
        let Some(document) = self.0.v3(path, form, now) else { return empty(StatusCode::NOT_FOUND) };
        let hash = form_urlencoded::parse(context.query.as_bytes()).find(|(key, _)| key == "hash");
        let hash = hash.map(|(_, hash)| hash).filter(|hash| !hash.is_empty());
        if hash.as_ref().is_some_and(|hash| **hash != document.etag) {
            let mut response = empty(StatusCode::MOVED_PERMANENTLY);
            set(&mut response, header::LOCATION, &url_of(path, &document.etag));
            return response;
        }
        let mut response = serve(request.headers(), content_type(&V3_FORMS, form), &document);
        if hash.is_some() {
            set(&mut response, header::CACHE_CONTROL, "public, immutable");
            let then = time::from_system(now + A_YEAR);
            set(&mut response, header::EXPIRES, &then.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string());
        }
        response
    }
}

impl Handler for Documents {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        let mut response = self.answer(&context, &request);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        Box::pin(std::future::ready(response))
    }
}

fn url_of(path: &str, etag: &str) -> String {
    format!("{V3}/{path}?hash={etag}")
}

/// The form that a client likes best of those there are.
fn negotiate(headers: &HeaderMap, forms: &[(&str, Form)]) -> Option<Form> {
    let header = accept_header(headers);
    let header = if header.is_empty() { "*/*" } else { header };
    parse_accept(header).iter().filter(|clause| matches!(clause.kind, "application" | "*")).find_map(|clause| {
        let found = forms.iter().find(|(subtype, _)| clause.subtype == "*" || clause.subtype == *subtype);
        found.map(|(_, form)| *form)
    })
}

/// What an answer in this form is called: never by the name with an `@`, which is no media type.
fn content_type(forms: &[(&str, Form)], form: Form) -> String {
    let found = forms.iter().find(|(subtype, of)| *of == form && !subtype.contains('@'));
    format!("application/{}", found.map_or("json", |(subtype, _)| subtype))
}

/// The document, or 304 if the client has it: the hash counts, and without one the time.
fn serve(headers: &HeaderMap, content_type: String, document: &OpenApiDocument) -> Response {
    let modified = time::from_system(document.modified);
    let mut response = bytes_response(200, "", document.bytes.clone());
    set(&mut response, header::CONTENT_TYPE, &content_type);
    set(&mut response, header::ETAG, &format!("\"{}\"", document.etag));
    let known = if headers.contains_key(header::IF_NONE_MATCH) {
        matches_etag(headers, &document.etag)
    } else {
        let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
        since.and_then(http_date).is_some_and(|since| modified.as_second() <= since.as_second())
    };
    if known {
        return not_modified(&response);
    }
    set(&mut response, header::LAST_MODIFIED, &modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    response
}

fn http_date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    let quoted = format!("\"{etag}\"");
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|text| text == "*" || text.split(',').any(|tag| tag.trim().trim_start_matches("W/") == quoted))
}

/// 304 with the ETag of what would have been answered.
fn not_modified(response: &Response) -> Response {
    let mut answer = empty(StatusCode::NOT_MODIFIED);
    if let Some(etag) = response.headers().get(header::ETAG) {
        answer.headers_mut().insert(header::ETAG, etag.clone());
    }
    answer
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
