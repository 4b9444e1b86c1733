//! Server-side apply and the owners of fields: what each verb records, what an apply creates, changes and refuses.

use serde_json::{Value, json};
use triune_api::meta;
use triune_machinery::authorization::AlwaysDeny;

use crate::world::{World, plain};

const THINGS: &str = "/apis/test.io/v1/namespaces/n/things";

fn apply(name: &str, query: &str) -> String {
    format!("PATCH {THINGS}/{name}?{query}\ncontent-type: application/apply-patch+yaml")
}

fn thing(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "test.io/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec})
}

/// `manager operation version subresource fields` of each entry, sorted.
async fn owners(world: &World, name: &str) -> Vec<String> {
    let (_, object) = world.ask(&format!("GET {THINGS}/{name}"), Value::Null).await;
    let entry = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        assert_eq!(text("fieldsType"), "FieldsV1");
        assert!(text("time").ends_with('Z'), "{entry}");
        let version = text("apiVersion").trim_start_matches("test.io/");
        let under = if text("subresource").is_empty() { String::new() } else { format!("/{}", text("subresource")) };
        format!("{} {} {version}{under} {}", text("manager"), text("operation"), plain(&entry["fieldsV1"]))
    };
    let mut entries: Vec<String> = meta::managed_fields(&object).iter().map(entry).collect();
    entries.sort();
    entries
}

#[tokio::test]
async fn writes_record_their_owners() {
    let world = World::new().await;
    let post = format!("POST {THINGS}?fieldManager=maker");
    world.ask(&post, thing("a", json!({"size": 1, "color": "red"}))).await;
    assert_eq!(owners(&world, "a").await, ["maker Update v1 {f:spec:{.:{},f:color:{},f:size:{}}}"]);
    let put = format!("PUT {THINGS}/a\nuser-agent: robot/v1 (linux)");
    world.ask(&put, thing("a", json!({"size": 2, "color": "red"}))).await;
    let expect = ["maker Update v1 {f:spec:{.:{},f:color:{}}}", "robot Update v1 {f:spec:{f:size:{}}}"];
    assert_eq!(owners(&world, "a").await, expect);
    world
        .ask(&format!("PATCH {THINGS}/a?fieldManager=patcher"), json!({"spec": {"color": null, "shape": "round"}}))
        .await;
    let expect = [
        "maker Update v1 {f:spec:{}}",
        "patcher Update v1 {f:spec:{f:shape:{}}}",
        "robot Update v1 {f:spec:{f:size:{}}}",
    ];
    assert_eq!(owners(&world, "a").await, expect);
    // What a subresource changes is recorded under its name, and what a request cannot change is not recorded at all.
    let status = json!({"metadata": {"name": "a"}, "spec": {"size": 9}, "status": {"size": 3}});
    world.ask(&format!("PUT {THINGS}/a/status?fieldManager=counter"), status).await;
    assert!(owners(&world, "a").await.contains(&"counter Update v1/status {f:status:{.:{},f:size:{}}}".to_string()));
    world.ask(&format!("PATCH {THINGS}/a/scale?fieldManager=scaler"), json!({"spec": {"replicas": 5}})).await;
    assert!(owners(&world, "a").await.contains(&"scaler Update v1/scale {f:spec:{f:size:{}}}".to_string()));
    // A client may say what is recorded, and start anew.
    world.ask(&format!("PATCH {THINGS}/a"), json!({"metadata": {"managedFields": [{}]}})).await;
    assert!(owners(&world, "a").await.is_empty());
    for path in [THINGS, "/api/v1/namespaces/n/configmaps"] {
        let object = json!({"metadata": {"name": "b", "labels": {"l": "m"}}});
        let (_, made) = world.ask(&format!("POST {path}"), object).await;
        assert!(!meta::managed_fields(&made).is_empty(), "{made}");
        let patch = json!({"metadata": {"managedFields": []}});
        let (_, reset) = world.ask(&format!("PATCH {path}/b"), patch).await;
        assert!(reset["metadata"]["uid"].is_string() && meta::managed_fields(&reset).is_empty(), "{reset}");
    }
}

#[tokio::test]
async fn defaults_have_an_owner() {
    let world = World::new().await;
    world.ask(&format!("POST {THINGS}?fieldManager=maker"), thing("defaulted", json!({"size": 1}))).await;
    assert_eq!(owners(&world, "defaulted").await, ["maker Update v1 {f:spec:{.:{},f:color:{},f:size:{}}}"]);
}

#[tokio::test]
async fn apply_creates_and_changes() {
    let world = World::new().await;
    let first = apply("a", "fieldManager=first");
    let both = thing("a", json!({"size": 1, "color": "red"}));
    let created = "201 Thing {metadata:{generation:1,name:a},spec:{color:red,size:1}}";
    world.check(&apply("a", "fieldManager=first&dryRun=All"), both.clone(), created).await;
    world.check(&format!("GET {THINGS}/a"), Value::Null, r#"404 NotFound: things.test.io "a" not found"#).await;
    let made = world.check(&first, both.clone(), created).await;
    assert_eq!(owners(&world, "a").await, ["first Apply v1 {f:spec:{.:{},f:color:{},f:size:{}}}"]);
    // The same again is no write, whatever time it is.
    let (code, again) = world.ask(&first, both.clone()).await;
    assert_eq!((code, &again), (200, &made));
    // In YAML, without what was there before.
    let yaml = json!("apiVersion: test.io/v1\nkind: Thing\nmetadata: {name: a}\nspec: {size: 2}\n");
    world.check(&first, yaml, "200 Thing {metadata:{generation:2,name:a},spec:{size:2}}").await;
    world
        .check(
            &apply("a", "fieldManager=second"),
            thing("a", json!({"size": 3})),
            "409 Conflict: Apply failed with 1 conflict: conflict with \"first\": .spec.size",
        )
        .await;
    let forced = apply("a", "fieldManager=second&force=true");
    world
        .check(&forced, thing("a", json!({"size": 3})), "200 Thing {metadata:{generation:3,name:a},spec:{size:3}}")
        .await;
    let expect = ["first Apply v1 {f:spec:{}}", "second Apply v1 {f:spec:{.:{},f:size:{}}}"];
    assert_eq!(owners(&world, "a").await, expect);
}

#[tokio::test]
async fn owners_in_other_versions() {
    let world = World::new().await;
    world.ask(&apply("a", "fieldManager=first"), thing("a", json!({"size": 1, "color": "red"}))).await;
    let long = apply("a", "fieldManager=second").replace("/v1/", "/v2/");
    let body = json!({"apiVersion": "test.io/v2", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"length": 2}});
    world
        .check(&long, body.clone(), "409 Conflict: Apply failed with 1 conflict: conflict with \"first\": .spec.size")
        .await;
    let (code, _) = world.ask(&long.replace("second", "second&force=true"), body).await;
    assert_eq!(code, 200);
    let expect = ["first Apply v1 {f:spec:{.:{},f:color:{}}}", "second Apply v2 {f:spec:{.:{},f:length:{}}}"];
    assert_eq!(owners(&world, "a").await, expect);
}

#[tokio::test]
async fn applies_that_are_refused() {
    let world = World::new().await;
    let first = apply("a", "fieldManager=first");
    let check = async |line: &str, body: Value, expect: &str| {
        world.check(line, body, expect).await;
    };
    check(
        &apply("a", ""),
        thing("a", json!({})),
        r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#,
    )
    .await;
    let other = "invalid object type: test.io/v2, Kind=Thing";
    let body = json!({"apiVersion": "test.io/v2", "kind": "Thing", "metadata": {"name": "a"}});
    check(&first, body, &format!("400 BadRequest: {other}")).await;
    let mut body = thing("a", json!({}));
    body["metadata"]["managedFields"] = json!([]);
    check(&first, body, "400 BadRequest: metadata.managedFields must be nil").await;
    let mut body = thing("a", json!({}));
    body["metadata"]["uid"] = json!("u");
    let text = "uid mismatch: the provided object specified uid u, and no existing object was found";
    let conflict = r#"409 Conflict: Operation cannot be fulfilled on things.test.io "a": "#;
    check(&first, body, &format!("{conflict}{text}")).await;
    let text = "the name of the object (b) does not match the name on the URL (a)";
    check(&first, thing("b", json!({})), &format!("400 BadRequest: {text}")).await;
    check(
        &apply("a/status", "fieldManager=first"),
        thing("a", json!({})),
        r#"404 NotFound: things.test.io "a" not found"#,
    )
    .await;
    let (code, _) = world.ask(&first, json!("a: [")).await;
    assert_eq!(code, 400);
    check(&format!("GET {THINGS}/a"), Value::Null, r#"404 NotFound: things.test.io "a" not found"#).await;
}

/// Who may patch but not create gets no object by applying to, or by putting, what is not there.
#[tokio::test]
async fn creation_by_another_verb_needs_its_own_permission() {
    let mut world = World::new().await;
    world.authorizer = std::sync::Arc::new(AlwaysDeny);
    let forbidden = |resource: &str| {
        format!(
            "403 Forbidden: {resource}.test.io \"a\" is forbidden: User \"\" cannot create resource \"{resource}\" in API group \
             \"test.io\" in the namespace \"n\": Everything is forbidden."
        )
    };
    world.check(&apply("a", "fieldManager=first"), thing("a", json!({})), &forbidden("things")).await;
    let lock = "/apis/test.io/v1/namespaces/n/locks/a";
    world.check(&format!("PUT {lock}"), json!({"metadata": {"name": "a"}}), &forbidden("locks")).await;
    world.check(&format!("GET {lock}"), Value::Null, r#"404 NotFound: locks.test.io "a" not found"#).await;
}
