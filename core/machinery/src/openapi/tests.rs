//! Forms, hashes and times of answers.

use super::*;
use crate::testing;

struct One;

fn document(form: Form) -> OpenApiDocument {
    let bytes = Bytes::from_static(if form == Form::Json { b"{}" } else { b"pb" });
    OpenApiDocument { bytes, etag: "AB".into(), modified: SystemTime::UNIX_EPOCH + Duration::from_millis(1500) }
}

impl OpenApiSource for One {
    fn serves(&self, _: &[String]) {}
    fn v2(&self, form: Form, _: SystemTime) -> OpenApiDocument {
        document(form)
    }
    fn index(&self, _: SystemTime) -> BTreeMap<String, String> {
        BTreeMap::from([("apis/apps/v1".to_owned(), "AB".to_owned())])
    }
    fn v3(&self, path: &str, form: Form, _: SystemTime) -> Option<OpenApiDocument> {
        (path == "apis/apps/v1").then(|| document(form))
    }
}

/// Sends a header; the answer is `code body` and, one a line, the headers that clients look at.
async fn check(uri: &str, header: (&'static str, &'static str), expect: &str) {
    let mut routes = Routes::default();
    let source: Arc<dyn OpenApiSource> = Arc::new(One);
    install(&source, &mut routes, &[]);
    let (context, mut request) = testing::request("GET", uri);
    request.headers_mut().insert(header.0, HeaderValue::from_static(header.1));
    let (_, handler) = routes.find(&context.info.path).expect("a route");
    let mut response = handler.clone().handle(context, request).await;
    let Body::Chunks(chunks) = response.body_mut() else { panic!("a stream") };
    let body = String::from_utf8(chunks.pop_front().unwrap_or_default().to_vec()).expect("text");
    let mut found = format!("{} {body}", response.status().as_u16());
    for name in ["content-type", "etag", "last-modified", "vary", "location", "cache-control"] {
        if let Some(value) = response.headers().get(name).and_then(|value| value.to_str().ok()) {
            let value = if name == "etag" && value.len() > 9 { "(hash)" } else { value };
            found.push_str(&format!("\n{name}: {value}"));
        }
    }
    assert_eq!(found.trim_end(), expect, "{uri} {header:?}");
}

const JSON: (&str, &str) = ("accept", "application/json");
const WHOLE: &str =
    "200 {}\ncontent-type: application/json\netag: \"AB\"\nlast-modified: Thu, 01 Jan 1970 00:00:01 GMT\nvary: Accept";
const NOT_MODIFIED: &str = "304 \netag: \"AB\"\nvary: Accept";

fn protobuf(version: u8) -> String {
    let media = format!("application/com.github.proto-openapi.spec.v{version}.v1.0+protobuf");
    WHOLE.replace("{}", "pb").replace("application/json", &media)
}

#[tokio::test]
async fn documents_come_in_two_forms() {
    for uri in ["/openapi/v2", "/openapi/v3/apis/apps/v1"] {
        check(uri, JSON, WHOLE).await;
        check(uri, ("accept", ""), WHOLE).await;
        check(uri, ("accept", "text/html, */*;q=0.1"), WHOLE).await;
        check(uri, ("accept", "application/x"), "406 \nvary: Accept").await;
    }
    for accept in [
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    ] {
        check("/openapi/v2", ("accept", accept), &protobuf(2)).await;
        check("/openapi/v3/apis/apps/v1", ("accept", accept), "406 \nvary: Accept").await;
    }
    for accept in [
        "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v3.v1.0+protobuf, application/json",
    ] {
        check("/openapi/v3/apis/apps/v1", ("accept", accept), &protobuf(3)).await;
    }
}

#[tokio::test]
async fn what_a_client_has_is_not_sent() {
    for uri in ["/openapi/v2", "/openapi/v3/apis/apps/v1"] {
        check(uri, ("if-none-match", "\"AB\""), NOT_MODIFIED).await;
        check(uri, ("if-none-match", "\"X\", W/\"AB\""), NOT_MODIFIED).await;
        check(uri, ("if-none-match", "\"AC\""), WHOLE).await;
        check(uri, ("if-modified-since", "Thu, 01 Jan 1970 00:00:01 GMT"), NOT_MODIFIED).await;
        check(uri, ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT"), WHOLE).await;
        check(uri, ("if-modified-since", "yesterday"), WHOLE).await;
    }
}

#[tokio::test]
async fn the_index_names_documents_by_hash() {
    let index = r#"{"paths":{"apis/apps/v1":{"serverRelativeURL":"/openapi/v3/apis/apps/v1?hash=AB"}}}"#;
    check("/openapi/v3", JSON, &format!("200 {index}\ncontent-type: application/json\netag: (hash)")).await;
    let immutable = format!("{WHOLE}\ncache-control: public, immutable");
    check("/openapi/v3/apis/apps/v1?hash=AB", JSON, &immutable).await;
    let moved = "301 \nvary: Accept\nlocation: /openapi/v3/apis/apps/v1?hash=AB";
    check("/openapi/v3/apis/apps/v1?hash=AC", JSON, moved).await;
    check("/openapi/v3/apis/apps/v2", JSON, "404 \nvary: Accept").await;
}
