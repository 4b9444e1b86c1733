//! Answers: bytes with their headers, and `Status` errors in the form the client accepts.
//!
//! Headers that every answer has (`Audit-Id`, `Cache-Control`, `Warning`) are added in one place, at the end of the handler
//! chain, not here.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use triune_api::{Value, status::Status};

use crate::{
    accept::{MediaType, accept_header, negotiate_plain, wants_pretty},
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

/// An error answer, with `Retry-After` where the status names a time.
pub fn status_response(context: &Context, headers: &HeaderMap, status: &Status) -> Response {
    status_answer(headers, &context.query, status)
}

/// An error answer outside of a context: filters before there is one. JSON if the client accepts nothing that there is,
/// since an error must not be hidden by its form. `query` is that of the request's URL.
pub fn status_answer(headers: &HeaderMap, query: &str, status: &Status) -> Response {
    let (code, value) = (status.code, status.to_json());
    let mut response = match negotiate_plain(accept_header(headers)) {
        Some(MediaType::Yaml) => bytes_response(code, MediaType::Yaml.as_str(), to_yaml(&value)),
        Some(MediaType::Protobuf) => {
            bytes_response(code, MediaType::Protobuf.as_str(), triune_schema::protobuf::status(&value))
        }
        Some(MediaType::Json) => json_response(code, to_json(&value, wants_pretty(headers, query))),
        None => json_response(code, to_json(&value, true)),
    };
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
    use super::*;

    fn check(accept: &'static str, query: &str, content_type: &str, body: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        let mut response = status_answer(&headers, query, &Status::new(404, "NotFound", "it is\nnot there"));
        assert_eq!(response.headers()[header::CONTENT_TYPE], content_type);
        let Body::Chunks(chunks) = response.body_mut() else { panic!("a known body") };
        assert_eq!(String::from_utf8_lossy(&chunks.pop_front().unwrap_or_default()), body);
    }

    #[test]
    fn errors_come_in_the_accepted_form() {
        let compact = "{\"apiVersion\":\"v1\",\"code\":404,\"kind\":\"Status\",\"message\":\"it is\\nnot there\",\
                       \"metadata\":{},\"reason\":\"NotFound\",\"status\":\"Failure\"}\n";
        check("application/json", "", "application/json", compact);
        check("application/json;stream=watch", "", "application/json", compact);
        let indented = "{\n  \"apiVersion\": \"v1\",\n  \"code\": 404,\n  \"kind\": \"Status\",\n  \"message\": \
                        \"it is\\nnot there\",\n  \"metadata\": {},\n  \"reason\": \"NotFound\",\n  \"status\": \"Failure\"\n}";
        check("application/json", "pretty=true", "application/json", indented);
        check("text/html", "", "application/json", indented);
        check("application/json;as=Table;v=v1;g=meta.k8s.io", "", "application/json", indented);
        let yaml = "apiVersion: v1\ncode: 404\nkind: Status\nmessage: |-\n  it is\n  not there\nmetadata: {}\nreason: NotFound\n\
                    status: Failure\n";
        check("application/yaml", "", "application/yaml", yaml);
        let protobuf = "k8s\0\n\u{c}\n\u{2}v1\u{12}\u{6}Status\u{12}/\n\u{6}\n\0\u{12}\0\u{1a}\0\u{12}\u{7}Failure\u{1a}\u{f}it is\nnot there\
                        \"\u{8}NotFound0\u{fffd}\u{3}\u{1a}\0\"\0";
        for accept in ["application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf;stream=watch"] {
            check(accept, "", "application/vnd.kubernetes.protobuf", protobuf);
        }
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
