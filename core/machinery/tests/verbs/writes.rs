//! Create, update, patch, delete, and that a dry run stores nothing.

use serde_json::{Value, json};

use crate::world::World;

const THINGS: &str = "/apis/test.io/v1/namespaces/n/things";

#[tokio::test]
async fn create() {
    let world = World::new().await;
    let post = format!("POST {THINGS}");
    let thing = |name: &str| json!({"apiVersion": "test.io/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {"size": 1}});
    let created = world.check(&post, thing("a"), "201 Thing {metadata:{generation:1,name:a},spec:{size:1}}").await;
    assert!(created["metadata"]["uid"].is_string() && created["metadata"]["resourceVersion"].is_string());
    assert_eq!(created["metadata"]["namespace"], "n");
    world.check(&post, thing("a"), r#"409 AlreadyExists: things.test.io "a" already exists"#).await;
    let system = json!({"metadata": {"name": "b", "uid": "x", "creationTimestamp": "x", "deletionTimestamp": "x", "selfLink": "x",
        "deletionGracePeriodSeconds": 3, "generation": 7, "managedFields": [{}]}, "status": {"size": 3}});
    let created = world.check(&post, system, "201 Thing {metadata:{generation:1,name:b}}").await;
    assert_ne!(created["metadata"]["uid"], "x");
    world
        .check(
            &post,
            json!({"metadata": {"name": "c", "resourceVersion": "7"}}),
            "500 : resourceVersion should not be set on objects to be created",
        )
        .await;
    world
        .check(
            &post,
            json!({"metadata": {"name": "c", "namespace": "other"}}),
            "400 BadRequest: the namespace of the provided object does not match the namespace sent on the request",
        )
        .await;
    world
        .check(
            &post,
            json!({"metadata": {"name": "c"}, "spec": {"size": -1}}),
            r#"422 Invalid: Thing.test.io "c" is invalid: spec.size: Invalid value: -1: must not be negative"#,
        )
        .await;
    world
        .check(
            &post,
            json!({}),
            r#"422 Invalid: Thing.test.io "" is invalid: metadata.name: Required value: name or generateName is required"#,
        )
        .await;
    world.check_warnings(&post, json!({"metadata": {"name": "d"}, "spec": {"old": 1}}), &["spec.old: is old"]).await;
}

#[tokio::test]
async fn generated_names() {
    let world = World::new().await;
    let (code, created) = world.ask(&format!("POST {THINGS}"), json!({"metadata": {"generateName": "web-"}})).await;
    let name = created["metadata"]["name"].as_str().unwrap_or_default();
    assert!(code == 201 && name.len() == 9 && name.starts_with("web-"), "{code} {created}");
}

#[tokio::test]
async fn bodies() {
    let world = World::new().await;
    let post = format!("POST {THINGS}");
    let bad = "400 BadRequest: ";
    world
        .check(
            &post,
            json!({"apiVersion": "test.io/v1", "kind": "Run", "metadata": {"name": "a"}}),
            &format!(r#"{bad}Run in version "v1" cannot be handled as a Thing: converting (v1.Run) to (test.Thing): unknown conversion"#),
        )
        .await;
    world
        .check(
            &post,
            json!({"apiVersion": "test.io/v2", "kind": "Thing", "metadata": {"name": "a"}}),
            &format!(
                "{bad}the API version in the data (test.io/v2) does not match the expected API version (test.io/v1)"
            ),
        )
        .await;
    let (code, refused) = world.ask(&post, json!({"apiVersion": "test.io/v1", "kind": "Nothing"})).await;
    assert_eq!(code, 400);
    let text = refused["message"].as_str().unwrap_or_default();
    assert!(
        text.starts_with(r#"Nothing in version "v1" cannot be handled as a Thing: no kind "Nothing" is registered"#),
        "{text}"
    );
    let (code, refused) = world.ask(&post, json!("{nonsense")).await;
    let text = refused["message"].as_str().unwrap_or_default();
    assert!(
        code == 400 && text.starts_with("the object provided is unrecognized (must be of type Thing): couldn't get"),
        "{text}"
    );
    let yaml = format!("{post}\ncontent-type: application/yaml");
    world
        .check(
            &yaml,
            json!("metadata:\n  name: yam\nspec:\n  size: 2\n"),
            "201 Thing {metadata:{generation:1,name:yam},spec:{size:2}}",
        )
        .await;
    world
        .check(
            &format!("{post}\ncontent-type: text/html"),
            json!({}),
            "415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: \
             application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
        .await;
}

#[tokio::test]
async fn bodies_in_protobuf() {
    const PROTOBUF: &str = "content-type: application/vnd.kubernetes.protobuf";
    let world = World::new().await;
    let post = format!("POST /api/v1/namespaces/n/configmaps\n{PROTOBUF}");
    let config_map = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    world
        .check(&post, config_map("a", json!({"x": "1"})), "201 ConfigMap {data:{x:1},metadata:{generation:1,name:a}}")
        .await;
    let url = "/api/v1/namespaces/n/configmaps/a";
    world
        .check(
            &format!("PUT {url}\n{PROTOBUF}"),
            config_map("a", json!({"x": "2"})),
            "200 ConfigMap {data:{x:2},metadata:{generation:2,name:a}}",
        )
        .await;
    let other = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}});
    world
        .check(
            &post,
            other,
            "400 BadRequest: Service in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Service) to \
             (core.ConfigMap): unknown conversion",
        )
        .await;
    world
        .check(
            &post,
            json!("{}"),
            "400 BadRequest: the object provided is unrecognized (must be of type ConfigMap): provided data does not appear \
             to be a protobuf message, expected prefix [107 56 115 0] ({})",
        )
        .await;
    let things = format!("POST /apis/test.io/v1/namespaces/n/things\n{PROTOBUF}");
    world
        .check(
            &things,
            json!({"apiVersion": "test.io/v1", "kind": "Thing"}),
            "400 BadRequest: Thing in version \"v1\" cannot be handled as a Thing: object *unstructured.Unstructured does \
             not implement the protobuf marshalling interface and cannot be encoded to a protobuf message",
        )
        .await;
    world
        .check(
            "POST /apis/test.io/v1/namespaces/n/things",
            json!({"metadata": {"name": "t"}}),
            "201 Thing {metadata:{generation:1,name:t}}",
        )
        .await;
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "t", "namespace": "n"}, "spec": {"replicas": 3}});
    let scaled = world.ask(&format!("PUT /apis/test.io/v1/namespaces/n/things/t/scale\n{PROTOBUF}"), scale).await;
    assert_eq!((scaled.0, &scaled.1["spec"]), (200, &json!({"replicas": 3})));
    let wrong = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "other"}});
    let (code, refused) = world.ask(&format!("DELETE {url}\n{PROTOBUF}"), wrong).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    let options = json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    world
        .check(
            &format!("DELETE {url}\n{PROTOBUF}"),
            options,
            "200 Status {details:{kind:configmaps,name:a},metadata:{},status:Success}",
        )
        .await;
}

#[tokio::test]
async fn field_validation() {
    let world = World::new().await;
    let post = |validation: &str| format!("POST /api/v1/namespaces/n/configmaps?fieldValidation={validation}");
    let body =
        |name: &str| json!(format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{}},"data":{{"a":"b","a":"c"}}}}"#));
    world
        .check(
            &post("Strict"),
            body("a"),
            "400 BadRequest: ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown \
             field \"spec\", duplicate field \"data.a\"",
        )
        .await;
    world.check_warnings(&post(""), body("b"), &["unknown field \"spec\"", "duplicate field \"data.a\""]).await;
    world.check_warnings(&post("Ignore"), body("c"), &[]).await;
    world
        .check(
            "GET /api/v1/namespaces/n/configmaps/c",
            Value::Null,
            "200 ConfigMap {data:{a:c},metadata:{generation:1,name:c}}",
        )
        .await;
    world
        .check(
            &post("Strict"),
            json!({"metadata": {"name": "d"}, "data": [1]}),
            "400 BadRequest: ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal array into \
             Go struct field ConfigMap.data of type map[string]string",
        )
        .await;
}

#[tokio::test]
async fn namespaces_fence_creates() {
    let world = World::new().await;
    world
        .check(
            "POST /apis/test.io/v1/namespaces/missing/things",
            json!({"metadata": {"name": "a"}}),
            r#"404 NotFound: namespaces "missing" not found"#,
        )
        .await;
    let held = json!({"metadata": {"name": "held"}, "spec": {"finalizers": ["kubernetes"]}});
    world
        .check("POST /api/v1/namespaces", held, "201 Namespace {metadata:{name:held},spec:{finalizers:[kubernetes]}}")
        .await;
    let marked = "200 Namespace {metadata:{deletionGracePeriodSeconds:0,deletionTimestamp:T,name:held},spec:{finalizers:[kubernetes]}}";
    world.check("DELETE /api/v1/namespaces/held", Value::Null, marked).await;
    let refused = world
        .check(
            "POST /apis/test.io/v1/namespaces/held/things",
            json!({"metadata": {"name": "a"}}),
            r#"403 Forbidden: things.test.io "a" is forbidden: unable to create new content in namespace held because it is being terminated"#,
        )
        .await;
    assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating");
    world
        .check(
            "PATCH /api/v1/namespaces/held",
            json!({"spec": {"finalizers": null}}),
            "200 Namespace {metadata:{deletionGracePeriodSeconds:0,deletionTimestamp:T,name:held},spec:{}}",
        )
        .await;
    world.check("GET /api/v1/namespaces/held", Value::Null, r#"404 NotFound: namespaces "held" not found"#).await;
    world
        .check(
            "POST /api/v1/namespaces",
            json!({"metadata": {"name": "default"}}),
            "201 Namespace {metadata:{name:default}}",
        )
        .await;
    world
        .check(
            "DELETE /api/v1/namespaces/default",
            Value::Null,
            r#"403 Forbidden: namespaces "default" is forbidden: this namespace may not be deleted"#,
        )
        .await;
}

#[tokio::test]
async fn update() {
    let world = World::new().await;
    let put = format!("PUT {THINGS}/a");
    world.check(&put, json!({"metadata": {"name": "a"}}), r#"404 NotFound: things.test.io "a" not found"#).await;
    let first = world
        .check(
            &format!("POST {THINGS}"),
            json!({"metadata": {"name": "a"}, "spec": {"size": 1}}),
            "201 Thing {metadata:{generation:1,name:a},spec:{size:1}}",
        )
        .await;
    let same = world.check(&put, first.clone(), "200 Thing {metadata:{generation:1,name:a},spec:{size:1}}").await;
    assert_eq!(same, first, "nothing changed, no new revision");
    let mut second = first.clone();
    second["spec"]["size"] = json!(2);
    second["status"] = json!({"size": 9});
    let second = world.check(&put, second, "200 Thing {metadata:{generation:2,name:a},spec:{size:2}}").await;
    assert_ne!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(second["metadata"]["uid"], first["metadata"]["uid"]);
    let conflict = r#"409 Conflict: Operation cannot be fulfilled on things.test.io "a": the object has been modified; please apply your changes to the latest version and try again"#;
    world.check(&put, first.clone(), conflict).await;
    world
        .check(
            &put,
            json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"size": 2}}),
            "200 Thing {metadata:{generation:2,labels:{x:y},name:a},spec:{size:2}}",
        )
        .await;
    world
        .check(
            &put,
            json!({"metadata": {"name": "b"}}),
            "400 BadRequest: the name of the object (b) does not match the name on the URL (a)",
        )
        .await;
    let (code, refused) = world.ask(&put, json!({"metadata": {"name": "a", "uid": "other"}})).await;
    let text = refused["message"].as_str().unwrap_or_default();
    assert!(code == 409 && text.contains("Key: /registry/things/n/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: other,"), "{text}");
    world
        .check(
            &put,
            json!({"metadata": {"name": "a", "labels": {"x": "-"}}}),
            "422 Invalid: Thing.test.io \"a\" is invalid: metadata.labels: Invalid value: \"-\": a valid label must be an empty \
             string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
             character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        )
        .await;
}

#[tokio::test]
async fn update_where_put_creates() {
    let world = World::new().await;
    let put = "PUT /apis/test.io/v1/namespaces/n/locks/a";
    let created =
        world.check(put, json!({"metadata": {"name": "a"}, "x": 1}), "201 Lock {metadata:{name:a},x:1}").await;
    world
        .check(
            put,
            json!({"metadata": {"name": "a"}, "x": 2}),
            r#"422 Invalid: locks.test.io "a" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"#,
        )
        .await;
    let mut changed = created;
    changed["x"] = json!(2);
    world.check(put, changed, "200 Lock {metadata:{name:a},x:2}").await;
    world
        .check(
            "PUT /apis/test.io/v1/namespaces/missing/locks/a",
            json!({"metadata": {"name": "a"}}),
            r#"404 NotFound: namespaces "missing" not found"#,
        )
        .await;
}

#[tokio::test]
async fn patches() {
    let world = World::new().await;
    world
        .check(
            &format!("POST {THINGS}"),
            json!({"metadata": {"name": "a"}, "spec": {"size": 1, "list": [1]}}),
            "201 Thing {metadata:{generation:1,name:a},spec:{list:[1],size:1}}",
        )
        .await;
    let merge = format!("PATCH {THINGS}/a");
    let json_patch = format!("{merge}\ncontent-type: application/json-patch+json");
    world
        .check(
            &merge,
            json!({"spec": {"size": 2, "list": null}}),
            "200 Thing {metadata:{generation:2,name:a},spec:{size:2}}",
        )
        .await;
    world
        .check(
            &json_patch,
            json!([{"op": "add", "path": "/spec/list", "value": [7]}]),
            "200 Thing {metadata:{generation:3,name:a},spec:{list:[7],size:2}}",
        )
        .await;
    world
        .check(
            &json_patch,
            json!([{"op": "test", "path": "/spec/size", "value": 9}]),
            "422 Invalid: the server rejected our request due to an error in our request",
        )
        .await;
    world.check(&merge, json!("nonsense"), "400 BadRequest: invalid JSON patch").await;
    world.check(&merge, json!([1]), "400 BadRequest: error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}").await;
    world
        .check(&merge, json!({"metadata": {"resourceVersion": "1"}}), r#"409 Conflict: Operation cannot be fulfilled on things.test.io "a": the object has been modified; please apply your changes to the latest version and try again"#)
        .await;
    world
        .check(
            &merge,
            json!({"metadata": {"name": "b"}}),
            "400 BadRequest: the name of the object (b) does not match the name on the URL (a)",
        )
        .await;
    let text = "415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: \
                application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    world.check(&format!("{merge}\ncontent-type: text/plain"), json!({}), text).await;
    world.check(&format!("{merge}\ncontent-type: application/strategic-merge-patch+json"), json!({}), text).await;
    world.check(&format!("PATCH {THINGS}/b"), json!({}), r#"404 NotFound: things.test.io "b" not found"#).await;
    let (code, _) = world.ask(&merge, json!({"kind": "Other"})).await;
    assert_eq!(code, 422, "a patch does not change the kind");
}

#[tokio::test]
async fn strategic_patches() {
    let world = World::new().await;
    let service =
        json!({"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "name": "web"}]}});
    assert_eq!(world.ask("POST /api/v1/namespaces/n/services", service).await.0, 201);
    let patch = "PATCH /api/v1/namespaces/n/services/s\ncontent-type: application/strategic-merge-patch+json";
    let ports = async |patch_body: Value| {
        let (code, service) = world.ask(patch, patch_body).await;
        let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let shown: Vec<String> =
            ports.iter().map(|port| format!("{}={}", port["name"].as_str().unwrap_or("-"), port["port"])).collect();
        format!("{code} {}", shown.join(" "))
    };
    assert_eq!(ports(json!({"spec": {"ports": [{"port": 443, "name": "tls"}]}})).await, "200 tls=443 web=80");
    assert_eq!(ports(json!({"spec": {"ports": [{"port": 80, "name": "http"}]}})).await, "200 tls=443 http=80");
    assert_eq!(ports(json!({"spec": {"ports": [{"port": 443, "$patch": "delete"}]}})).await, "200 http=80");
    world.check(patch, json!("[]"), "400 BadRequest: Invalid JSON document").await;
    world
        .check(
            &patch.replace("application/strategic-merge-patch+json", "text/plain"),
            json!({}),
            "415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
             application/apply-patch+yaml",
        )
        .await;
    let strict = "PATCH /api/v1/namespaces/n/services/s?fieldValidation=Strict";
    let (code, refused) = world.ask(strict, json!({"spec": {"foo": 1}})).await;
    let text = refused["message"].as_str().unwrap_or_default();
    assert!(code == 422 && text.ends_with(r#"strict decoding error: unknown field "spec.foo""#), "{code} {text}");
}

#[tokio::test]
async fn delete() {
    let world = World::new().await;
    let create = async |metadata: Value| world.ask(&format!("POST {THINGS}"), json!({"metadata": metadata})).await.1;
    let delete = format!("DELETE {THINGS}/a");
    world.check(&delete, Value::Null, r#"404 NotFound: things.test.io "a" not found"#).await;
    let first = create(json!({"name": "a"})).await;
    let success = world
        .check(
            &delete,
            Value::Null,
            "200 Status {details:{group:test.io,kind:things,name:a},metadata:{},status:Success}",
        )
        .await;
    assert_eq!(success["details"]["uid"], first["metadata"]["uid"]);
    create(json!({"name": "a", "finalizers": ["test.io/x"]})).await;
    let terminating = "200 Thing {metadata:{deletionGracePeriodSeconds:0,deletionTimestamp:T,finalizers:[test.io/x],generation:2,name:a}}";
    let marked = world.check(&delete, Value::Null, terminating).await;
    assert_eq!(world.check(&delete, Value::Null, terminating).await, marked, "a second delete changes nothing");
    world
        .check(
            &format!("POST {THINGS}"),
            json!({"metadata": {"name": "a"}}),
            r#"409 AlreadyExists: object is being deleted: things.test.io "a" already exists"#,
        )
        .await;
    let merge = format!("PATCH {THINGS}/a");
    world
        .check(
            &merge,
            json!({"metadata": {"finalizers": ["test.io/x", "test.io/y"]}}),
            "422 Invalid: Thing.test.io \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the \
             object is being deleted, found new finalizers []string{\"test.io/y\"}",
        )
        .await;
    world
        .check(
            &merge,
            json!({"metadata": {"finalizers": null}}),
            "200 Thing {metadata:{deletionGracePeriodSeconds:0,deletionTimestamp:T,generation:2,name:a}}",
        )
        .await;
    world.check(&delete, Value::Null, r#"404 NotFound: things.test.io "a" not found"#).await;
}

#[tokio::test]
async fn delete_options() {
    let world = World::new().await;
    let delete = format!("DELETE {THINGS}/a");
    let (_, object) = world.ask(&format!("POST {THINGS}"), json!({"metadata": {"name": "a"}})).await;
    let (uid, revision) =
        (&object["metadata"]["uid"], object["metadata"]["resourceVersion"].as_str().unwrap_or_default());
    let (code, refused) = world.ask(&delete, json!({"preconditions": {"uid": "other"}})).await;
    let expect = format!(
        "Operation cannot be fulfilled on Thing.test.io \"a\": the UID in the precondition (other) does not match the UID in \
         record ({}). The object might have been deleted and then recreated",
        uid.as_str().unwrap_or_default()
    );
    assert_eq!((code, refused["message"].as_str()), (409, Some(expect.as_str())));
    let (code, refused) = world.ask(&delete, json!({"preconditions": {"resourceVersion": "1"}})).await;
    let expect = format!(
        "Operation cannot be fulfilled on Thing.test.io \"a\": the ResourceVersion in the precondition (1) does not match the \
         ResourceVersion in record ({revision}). The object might have been modified"
    );
    assert_eq!((code, refused["message"].as_str()), (409, Some(expect.as_str())));
    let foreground = "202 Thing {metadata:{deletionGracePeriodSeconds:0,deletionTimestamp:T,finalizers:[foregroundDeletion],generation:2,name:a}}";
    world
        .check(&format!("{delete}?propagationPolicy=Foreground"), Value::Null, &foreground.replace("202", "200"))
        .await;
    world.check(&delete, json!({"propagationPolicy": "Nonsense"}), "422 Invalid: DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Nonsense\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"").await;
    world.check(&delete, json!("x"), "400 BadRequest: couldn't get version/kind; json parse error: invalid character 'x' looking for beginning of value").await;
    world
        .check(
            &format!("{delete}?orphanDependents=false"),
            Value::Null,
            "200 Status {details:{group:test.io,kind:things,name:a},metadata:{},status:Success}",
        )
        .await;
}

#[tokio::test]
async fn graceful_delete() {
    let world = World::new().await;
    let runs = "/apis/test.io/v1/namespaces/n/runs";
    world
        .check(&format!("POST {runs}"), json!({"metadata": {"name": "a"}}), "201 Run {metadata:{generation:1,name:a}}")
        .await;
    let running = |seconds: u32| {
        format!("200 Run {{metadata:{{deletionGracePeriodSeconds:{seconds},deletionTimestamp:T,generation:2,name:a}}}}")
    };
    world.check(&format!("DELETE {runs}/a"), Value::Null, &running(30)).await;
    world.check(&format!("DELETE {runs}/a"), Value::Null, &running(30)).await;
    world.check(&format!("DELETE {runs}/a?gracePeriodSeconds=10"), Value::Null, &running(10)).await;
    world.check(&format!("DELETE {runs}/a?gracePeriodSeconds=0"), Value::Null, &running(0)).await;
    world.check(&format!("GET {runs}/a"), Value::Null, r#"404 NotFound: runs.test.io "a" not found"#).await;
}

#[tokio::test]
async fn delete_collection() {
    let world = World::new().await;
    for (name, color) in [("a", "red"), ("b", "blue"), ("c", "red")] {
        let thing = json!({"metadata": {"name": name, "labels": {"color": color}}, "spec": {"color": color}});
        assert_eq!(world.ask(&format!("POST {THINGS}"), thing).await.0, 201);
    }
    let held = json!({"metadata": {"name": "held", "labels": {"color": "red"}, "finalizers": ["test.io/x"]}});
    assert_eq!(world.ask(&format!("POST {THINGS}"), held).await.0, 201);
    world
        .check(&format!("DELETE {THINGS}?labelSelector=color%3Dred&dryRun=All"), Value::Null, "200 ThingList a c held")
        .await;
    world.check(&format!("GET {THINGS}"), Value::Null, "200 ThingList a b c held").await;
    world.check(&format!("DELETE {THINGS}?labelSelector=color%3Dred"), Value::Null, "200 ThingList a c held").await;
    world.check(&format!("GET {THINGS}"), Value::Null, "200 ThingList b held").await;
    world.check(&format!("DELETE {THINGS}?fieldSelector=spec.color%3Dblue"), Value::Null, "200 ThingList b").await;
    world.check(&format!("GET {THINGS}"), Value::Null, "200 ThingList held").await;
}

#[tokio::test]
async fn verbs_and_paths() {
    let world = World::new().await;
    let not_allowed = "405 MethodNotAllowed: the server does not allow this method on the requested resource";
    let missing = "404 NotFound: the server could not find the requested resource";
    world.check("POST /apis/test.io/v1/things", json!({}), not_allowed).await;
    world.check("DELETE /apis/test.io/v1/things", Value::Null, not_allowed).await;
    world.check(&format!("POST {THINGS}/a"), json!({}), not_allowed).await;
    world.check(&format!("PUT {THINGS}"), json!({}), not_allowed).await;
    world.check("GET /apis/test.io/v1/reviews", Value::Null, not_allowed).await;
    world.check("POST /apis/test.io/v1/reviews", json!({}), "501 NotImplemented: reviews are not built yet").await;
    world.check("GET /apis/test.io/v1/things/a", Value::Null, missing).await;
    world.check("GET /apis/test.io/v1/namespaces/n/reviews", Value::Null, missing).await;
    world.check("GET /apis/test.io/v1/namespaces/n/nothings", Value::Null, missing).await;
    world.check(&format!("GET {THINGS}/a/nothing"), Value::Null, missing).await;
}

/// Property: whatever a request would do, with `dryRun=All` it changes nothing and answers as if it had.
#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let world = World::new().await;
    world.ask(&format!("POST {THINGS}"), json!({"metadata": {"name": "a"}, "spec": {"size": 1}})).await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["test.io/x"]}});
    world.ask(&format!("POST {THINGS}"), held).await;
    world.ask(&format!("DELETE {THINGS}/held"), Value::Null).await;
    let state = async || {
        let lists =
            ["/api/v1/namespaces", "/apis/test.io/v1/things", "/apis/test.io/v1/locks", "/apis/test.io/v1/runs"];
        let mut state = Vec::new();
        for list in lists {
            state.push(world.ask(&format!("GET {list}"), Value::Null).await.1["items"].clone());
        }
        state
    };
    let before = state().await;
    let size = |size: i64| json!({"metadata": {"name": "a"}, "spec": {"size": size}});
    let cases: Vec<(String, Value, &str)> = vec![
        (format!("POST {THINGS}?"), json!({"metadata": {"name": "b"}}), "201 Thing {metadata:{generation:1,name:b}}"),
        (
            format!("POST {THINGS}?"),
            json!({"metadata": {"name": "a"}}),
            r#"409 AlreadyExists: things.test.io "a" already exists"#,
        ),
        (
            "POST /apis/test.io/v1/namespaces/missing/things?".into(),
            json!({"metadata": {"name": "a"}}),
            r#"404 NotFound: namespaces "missing" not found"#,
        ),
        (format!("PUT {THINGS}/a?"), size(2), "200 Thing {metadata:{generation:2,name:a},spec:{size:2}}"),
        (
            "PUT /apis/test.io/v1/namespaces/n/locks/l?".into(),
            json!({"metadata": {"name": "l"}}),
            "201 Lock {metadata:{name:l}}",
        ),
        (
            format!("PATCH {THINGS}/a?"),
            json!({"spec": {"size": 3}}),
            "200 Thing {metadata:{generation:2,name:a},spec:{size:3}}",
        ),
        (
            format!("PUT {THINGS}/a/status?"),
            json!({"metadata": {"name": "a"}, "status": {"size": 4}}),
            "200 Thing {metadata:{generation:1,name:a},spec:{size:1},status:{size:4}}",
        ),
        (
            format!("PATCH {THINGS}/a/scale?"),
            json!({"spec": {"replicas": 5}}),
            "200 Scale {metadata:{name:a},spec:{replicas:5},status:{replicas:0}}",
        ),
        (
            format!("DELETE {THINGS}/a?"),
            Value::Null,
            "200 Status {details:{group:test.io,kind:things,name:a},metadata:{},status:Success}",
        ),
        (
            format!("DELETE {THINGS}/a?propagationPolicy=Orphan&"),
            Value::Null,
            "200 Thing {metadata:{deletionGracePeriodSeconds:0,deletionTimestamp:T,finalizers:[orphan],generation:2,name:a},spec:{size:1}}",
        ),
        (
            format!("PATCH {THINGS}/held?"),
            json!({"metadata": {"finalizers": null}}),
            "200 Thing {metadata:{deletionGracePeriodSeconds:0,deletionTimestamp:T,generation:2,name:held}}",
        ),
        (format!("DELETE {THINGS}?"), Value::Null, "200 ThingList a held"),
        ("DELETE /api/v1/namespaces/n?".into(), Value::Null, "200 Namespace {metadata:{name:n}}"),
    ];
    for (line, body, expect) in cases {
        world.check(&format!("{line}dryRun=All"), body, expect).await;
        assert_eq!(state().await, before, "{line}");
    }
}

#[tokio::test]
async fn unique_names() {
    let world = World::new().await;
    let tickets = "/apis/test.io/v1/namespaces/n/tickets";
    let ticket = |name: &str, number: i64| json!({"metadata": {"name": name}, "spec": {"number": number}});
    world.check(&format!("POST {tickets}"), ticket("a", 1), "201 Ticket {metadata:{name:a},spec:{number:1}}").await;
    world.check(&format!("POST {tickets}"), ticket("b", 1), "400 BadRequest: number 1 is taken").await;
    world.check(&format!("PUT {tickets}/a"), ticket("a", 2), "200 Ticket {metadata:{name:a},spec:{number:2}}").await;
    world.check(&format!("POST {tickets}"), ticket("b", 1), "201 Ticket {metadata:{name:b},spec:{number:1}}").await;
    world.check(&format!("PUT {tickets}/a"), ticket("a", 1), "400 BadRequest: number 1 is taken").await;
    assert_eq!(world.ask(&format!("DELETE {tickets}/b"), Value::Null).await.0, 200);
    world.check(&format!("PUT {tickets}/a"), ticket("a", 1), "200 Ticket {metadata:{name:a},spec:{number:1}}").await;
    // Of four numbers one is taken: eight draws find a free one, but for one time in 65,536.
    let drawn = json!({"metadata": {"name": "drawn"}, "spec": {"drawn": true}});
    assert_eq!(world.ask(&format!("POST {tickets}"), drawn).await.0, 201);
}
