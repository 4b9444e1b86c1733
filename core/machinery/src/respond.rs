//! Answers: bytes with their headers, and `Status` errors in the form the client accepts.
//!
//! Headers that every answer has (`Audit-Id`, `Cache-Control`, `Warning`) are added in one place, at the end of the handler
//! chain, not here.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use triune_api::{Value, status::Status};

use crate::{
    accept::{MediaType, accept_header, negotiate, wants_pretty},
    body::{Body, Response},
    context::Context,
};

/// An answer of known length.
pub fn bytes_response(code: u16, content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let bytes = bytes.into();
    let length = bytes.len();
    let mut response = Response::new(Body::full(bytes));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// JSON bytes as they are.
pub fn json_response(code: u16, bytes: impl Into<Bytes>) -> Response {
    bytes_response(code, MediaType::Json.as_str(), bytes)
}

/// Plain text, as Go's `http.Error` and the health checks send it.
pub fn text_response(code: u16, text: impl Into<String>) -> Response {
    let mut response = bytes_response(code, "text/plain; charset=utf-8", text.into());
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A tree in the form the client accepts; JSON if it accepts none, since an error must not be hidden by its form.
/// `query` is that of the request's URL.
pub fn value_response(headers: &HeaderMap, query: &str, code: u16, value: &Value) -> Response {
    let media = negotiate(accept_header(headers), &[MediaType::Json, MediaType::Yaml], |clause, _| !clause.converts());
    match media.map_or(MediaType::Json, |(media, _)| media) {
        MediaType::Yaml => bytes_response(code, MediaType::Yaml.as_str(), to_yaml(value)),
        MediaType::Json | MediaType::Protobuf => json_response(code, to_json(value, wants_pretty(headers, query))),
    }
}

/// An error answer, with `Retry-After` where the status names a time.
pub fn status_response(context: &Context, headers: &HeaderMap, status: &Status) -> Response {
    status_answer(headers, &context.query, status)
}

/// An error answer outside of a context: filters before there is one.
pub fn status_answer(headers: &HeaderMap, query: &str, status: &Status) -> Response {
    let mut response = value_response(headers, query, status.code, &status.to_json());
    if status.retry_after_seconds() != 0 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(status.retry_after_seconds()));
    }
    response
}

/// 405 of a path that only answers GET, as the reference's router words it.
pub fn method_not_allowed(context: &Context, headers: &HeaderMap) -> Response {
    let message = "the server does not allow this method on the requested resource";
    let mut status = Status::new(405, "MethodNotAllowed", message);
    status.details = Some(Box::default());
    let mut response = status_response(context, headers, &status);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

/// JSON bytes: indented by two spaces, or compact with a line end, as the reference sends them.
pub fn to_json(value: &Value, pretty: bool) -> Vec<u8> {
    // A tree of strings, numbers, lists and maps always has a JSON form.
    let mut bytes =
        if pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) }.unwrap_or_default();
    if !pretty {
        bytes.push(b'\n');
    }
    bytes
}

/// YAML bytes.
pub fn to_yaml(value: &Value) -> Vec<u8> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: 1_000_000 };
    // A JSON tree always has a YAML form.
    serde_saphyr::to_string_with_options(value, options).unwrap_or_default().into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(accept: &'static str, query: &str, content_type: &str, body: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        let mut response = value_response(&headers, query, 200, &json!({"a": [{"b": "1"}, "x\ny"], "c": {}}));
        assert_eq!(response.headers()[header::CONTENT_TYPE], content_type);
        let Body::Chunks(chunks) = response.body_mut() else { panic!("a known body") };
        assert_eq!(std::str::from_utf8(&chunks.pop_front().unwrap_or_default()), Ok(body));
    }

    #[test]
    fn trees_come_in_the_accepted_form() {
        let compact = "{\"a\":[{\"b\":\"1\"},\"x\\ny\"],\"c\":{}}\n";
        check("application/json", "", "application/json", compact);
        check("text/html", "", "application/json", compact);
        check("application/json;as=Table;v=v1;g=meta.k8s.io", "", "application/json", compact);
        let indented = "{\n  \"a\": [\n    {\n      \"b\": \"1\"\n    },\n    \"x\\ny\"\n  ],\n  \"c\": {}\n}";
        check("application/json", "pretty=true", "application/json", indented);
        check("application/yaml", "", "application/yaml", "a:\n- b: \"1\"\n- |-\n  x\n  y\nc: {}\n");
    }

    #[test]
    fn a_status_names_its_retry() {
        let status = Status::too_many_requests("Too many requests, please try again later.", 1);
        let response = status_answer(&HeaderMap::new(), "", &status);
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::RETRY_AFTER]),
            (429, &HeaderValue::from(1))
        );
    }
}
