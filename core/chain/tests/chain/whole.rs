//! The whole chain over HTTP/1.1 and HTTP/2, as clients see it.

use std::time::Duration;

use crate::support::{Client, Running};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

fn config_map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "key": value } })
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn objects_live(client: &Client) {
    let (code, made) = client.json("POST", MAPS, &config_map("a", "1")).await;
    assert_eq!((code, made["data"]["key"].as_str()), (201, Some("1")), "{made}");
    let (code, mut found) = client.json("GET", &format!("{MAPS}/a"), &Value::Null).await;
    assert_eq!((code, &found), (200, &made));
    found["data"]["key"] = json!("2");
    let (code, changed) = client.json("PUT", &format!("{MAPS}/a"), &found).await;
    assert_eq!((code, changed["data"]["key"].as_str()), (200, Some("2")), "{changed}");
    let (code, conflict) = client.json("PUT", &format!("{MAPS}/a"), &found).await;
    assert_eq!((code, conflict["reason"].as_str()), (409, Some("Conflict")));
    let (code, list) = client.json("GET", MAPS, &Value::Null).await;
    assert_eq!((code, list["kind"].as_str()), (200, Some("ConfigMapList")));
    let (code, _) = client.json("DELETE", &format!("{MAPS}/a"), &Value::Null).await;
    assert_eq!(code, 200);
    let (code, missing) = client.json("GET", &format!("{MAPS}/a"), &Value::Null).await;
    assert_eq!((code, missing["message"].as_str()), (404, Some("configmaps \"a\" not found")));
}

#[tokio::test]
async fn objects_live_over_both_protocols() {
    let running = Running::ready().await;
    objects_live(&running.http1().await).await;
    objects_live(&running.http2().await).await;
    assert_eq!(running.end().await, Ok(()));
}

#[tokio::test]
async fn watches_stream_and_end_with_the_server() {
    let running = Running::ready().await;
    let (watcher, writer) = (running.http2().await, running.http1().await);
    let request = Request::get(format!("http://server{MAPS}?watch=1&fieldSelector=metadata.name%3Dw"))
        .header("authorization", "Bearer master")
        .body(Full::default())
        .expect("a request");
    let mut stream = watcher.send(request).await.expect("an answer").into_body();
    for value in ["1", "2"] {
        let method = if value == "1" { "POST" } else { "PUT" };
        let path = if value == "1" { MAPS.to_owned() } else { format!("{MAPS}/w") };
        assert!(writer.json(method, &path, &config_map("w", value)).await.0 < 300);
        let frame = stream.frame().await.expect("an event").expect("no error").into_data().expect("data");
        let event: Value = serde_json::from_slice(&frame).expect("JSON");
        assert_eq!(event["object"]["data"]["key"], json!(value));
    }
    let (_, _, text) = writer.get("/metrics").await;
    let open = r#"apiserver_longrunning_requests{component="apiserver",group="",resource="configmaps",scope="resource",subresource="",verb="WATCH",version="v1"} 1"#;
    assert!(text.contains(open), "{text}");
    let ended = tokio::spawn(running.end());
    assert!(stream.frame().await.is_none_or(|last| last.is_ok()), "the watch ends without an error");
    assert_eq!(ended.await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn discovery_is_the_references() {
    let running = Running::ready().await;
    let client = running.http1().await;
    let reference: Value = serde_json::from_str(include_str!("discovery-v1.37.2.json")).expect("JSON");
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    for root in ["api", "apis"] {
        let (code, headers, text) = client.call("GET", &format!("/{root}"), &accept, "").await;
        let found: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((code, headers["content-type"].as_bytes()), (200, accept[0].1.as_bytes()));
        for (ours, theirs) in items(&found).zip(items(&reference[root])) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(items(&found).count(), items(&reference[root]).count());
        // Fields in another order would be other bytes: what is compared is the text.
        let order = |value: &str| {
            value
                .split("\"resource\":")
                .skip(1)
                .map(|part| part.split(',').next().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&text), order(&serde_json::to_string(&reference[root]).expect("JSON")));
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

#[tokio::test]
async fn plain_paths() {
    let running = Running::ready().await;
    let client = running.http1().await;
    for (path, code, part) in [
        ("/readyz?verbose", 200, "[+]etcd ok\n[+]etcd-readiness ok\n"),
        ("/readyz?verbose", 200, "[+]poststarthook/rbac/bootstrap-roles ok\n"),
        ("/livez?verbose", 200, "[+]ping ok\n[+]log ok\n[+]etcd ok\n"),
        ("/readyz/poststarthook/rbac/bootstrap-roles", 200, "ok"),
        ("/healthz", 200, "ok"),
        ("/version", 200, "\"gitVersion\": \"v1.37.2\""),
        ("/", 200, "\"/apis/apps/v1\","),
        ("/metrics", 200, "apiserver_request_total{code=\"200\""),
        ("/openapi/v3", 200, "\"/openapi/v3/apis/apps/v1?hash="),
        ("/openapi/v3/api/v1", 200, "io.k8s.api.core.v1.Pod"),
        ("/nothing", 404, "404 page not found\n"),
        ("/apis/none.example.com/v1/things", 404, "404 page not found\n"),
        ("/api/v1/nothings", 404, "the server could not find the requested resource"),
        ("/api/v1/namespaces/default/configmaps/..", 400, ""),
        ("/api/v1/namespaces/..%2f..%2fconfigmaps", 404, ""),
        ("/api/v1/namespaces/default/configmaps/%zz", 400, "400 Bad Request"),
    ] {
        let (found_code, _, text) = client.get(path).await;
        assert!(found_code == code && text.contains(part), "{path}: {found_code} {text}");
    }
    let large = "x".repeat(3 * 1024 * 1024 + 1);
    let (code, _, text) = running.http2().await.call("POST", MAPS, &[], large).await;
    assert!(code == 413 && text.contains("limit is 3145728"), "{code} {text}");
}

#[tokio::test]
async fn who_may_do_what() {
    let running = Running::ready().await;
    for (authorization, code, part) in [
        (
            "Bearer plain",
            403,
            r#"User \"bob\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""#,
        ),
        ("", 403, r#"User \"system:anonymous\" cannot list"#),
        ("Bearer wrong", 401, r#""message":"Unauthorized""#),
    ] {
        let client = running.http1().await;
        let (found, _, text) = client.call("GET", MAPS, &[("authorization", authorization)], "").await;
        assert!(found == code && text.contains(part), "{authorization}: {found} {text}");
    }
    // One request for each connection of HTTP/2 without credentials.
    let client = running.http2().await;
    assert_eq!(client.call("GET", "/version", &[("authorization", "")], "").await.0, 403);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let again = Request::get("http://server/version").body(Full::default()).expect("a request");
    assert!(client.send(again).await.is_err());
}
