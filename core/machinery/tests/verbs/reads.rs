//! Get and list in every form.

use serde_json::{Value, json};

use crate::world::{World, read, show};

const THINGS: &str = "/apis/test.io/v1/namespaces/n/things";

async fn world_with_things(names: &[&str]) -> World {
    let world = World::new().await;
    for (size, name) in names.iter().enumerate() {
        let color = if size % 2 == 0 { "red" } else { "blue" };
        let labels = json!({"color": color});
        let thing = json!({"metadata": {"name": name, "labels": labels}, "spec": {"size": size, "color": color}});
        assert_eq!(world.ask(&format!("POST {THINGS}"), thing).await.0, 201);
    }
    world
}

async fn text(world: &World, line: &str) -> (u16, String) {
    let (_, response) = world.send(line, &Value::Null).await;
    let announced = response.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    let (code, bytes) = read(response).await;
    assert_eq!(announced, Some(bytes.len()), "{line}");
    (code, String::from_utf8(bytes).expect("text"))
}

#[tokio::test]
async fn get() {
    let world = world_with_things(&["a"]).await;
    let (_, object) = world.ask(&format!("GET {THINGS}/a"), Value::Null).await;
    let metadata = &object["metadata"];
    let expect = format!(
        "{{\"kind\":\"Thing\",\"apiVersion\":\"test.io/v1\",\"metadata\":{{\"resourceVersion\":{},\"creationTimestamp\":{},\
         \"generation\":1,\"labels\":{{\"color\":\"red\"}},\"managedFields\":{},\"name\":\"a\",\"namespace\":\"n\",\"uid\":{}}},\"spec\":\
         {{\"color\":\"red\",\"size\":0}}}}\n",
        metadata["resourceVersion"], metadata["creationTimestamp"], metadata["managedFields"], metadata["uid"]
    );
    assert_eq!(text(&world, &format!("GET {THINGS}/a")).await, (200, expect.clone()));
    let revision = metadata["resourceVersion"].as_str().unwrap_or_default();
    for query in ["resourceVersion=", "resourceVersion=0", &format!("resourceVersion={revision}")] {
        // A cache that was never asked before may answer "0" with what it has: it is filled first.
        assert_eq!(text(&world, &format!("GET {THINGS}/a?{query}")).await, (200, expect.clone()), "{query}");
    }
    world.check(&format!("GET {THINGS}/b"), Value::Null, r#"404 NotFound: things.test.io "b" not found"#).await;
    let (code, yaml) = text(&world, &format!("GET {THINGS}/a\naccept: application/yaml")).await;
    assert!(code == 200 && yaml.starts_with("apiVersion: test.io/v1\nkind: Thing\nmetadata:\n"), "{yaml}");
    let (_, pretty) = text(&world, &format!("GET {THINGS}/a?pretty=true")).await;
    assert!(pretty.contains("\n  \"kind\": \"Thing\""), "{pretty}");
    assert_eq!(serde_json::from_str::<Value>(&pretty).ok(), Some(object));
}

#[tokio::test]
async fn other_versions() {
    let world = world_with_things(&["a", "b"]).await;
    let long = THINGS.replace("v1", "v2");
    let shown = "200 Thing {metadata:{generation:1,labels:{color:blue},name:b},spec:{color:blue,length:1}}";
    world.check(&format!("GET {long}/b"), Value::Null, shown).await;
    let (_, list) = world.ask(&format!("GET {long}"), Value::Null).await;
    assert_eq!(
        (&list["apiVersion"], &list["items"][1]["spec"]),
        (&json!("test.io/v2"), &json!({"color": "blue", "length": 1}))
    );
    world
        .check(
            &format!("PATCH {long}/b"),
            json!({"spec": {"length": 8}}),
            "200 Thing {metadata:{generation:2,labels:{color:blue},name:b},spec:{color:blue,length:8}}",
        )
        .await;
    world
        .check(
            &format!("GET {THINGS}/b"),
            Value::Null,
            "200 Thing {metadata:{generation:2,labels:{color:blue},name:b},spec:{color:blue,size:8}}",
        )
        .await;
}

#[tokio::test]
async fn lists() {
    let world = world_with_things(&["a", "b", "c"]).await;
    let (_, list) = world.ask(&format!("GET {THINGS}"), Value::Null).await;
    assert_eq!(show(200, &list), "200 ThingList a b c");
    assert!(list["metadata"]["resourceVersion"].is_string());
    assert!(list["items"][0].get("kind").is_none(), "typed items carry no type");
    for (query, expect) in [
        ("labelSelector=color%3Dred", "200 ThingList a c"),
        ("labelSelector=color%20in%20(blue)", "200 ThingList b"),
        ("fieldSelector=spec.color%3Dblue", "200 ThingList b"),
        ("fieldSelector=metadata.name%3Dc", "200 ThingList c"),
        ("fieldSelector=metadata.namespace%3Dother", "200 ThingList"),
        ("fieldSelector=spec.size%3D1", "400 BadRequest: field label not supported: spec.size"),
        ("labelSelector=%3D", "400 BadRequest: found '=', expected: !, identifier, or 'end of string'"),
        ("resourceVersion=0", "200 ThingList a b c"),
        ("limit=x", r#"400 BadRequest: strconv.ParseInt: parsing "x": invalid syntax"#),
    ] {
        world.check(&format!("GET {THINGS}?{query}"), Value::Null, expect).await;
    }
    world.check("GET /apis/test.io/v1/things", Value::Null, "200 ThingList a b c").await;
    world
        .check("GET /apis/test.io/v1/things?fieldSelector=metadata.namespace%3Dn", Value::Null, "200 ThingList a b c")
        .await;
    world
        .check(
            "GET /apis/test.io/v1/locks?fieldSelector=x%3Dy",
            Value::Null,
            r#"400 BadRequest: "x" is not a known field selector: only "metadata.name", "metadata.namespace""#,
        )
        .await;
    world.check("GET /apis/test.io/v1/namespaces/none/things", Value::Null, "200 ThingList").await;
    let (_, empty) = text(&world, "GET /apis/test.io/v1/namespaces/none/things").await;
    assert!(empty.ends_with(",\"items\":[]}\n"), "{empty}");
}

#[tokio::test]
async fn pages() {
    let world = world_with_things(&["a", "b", "c", "d", "e"]).await;
    let page = world.check(&format!("GET {THINGS}?limit=2"), Value::Null, "200 ThingList a b").await;
    assert_eq!(page["metadata"]["remainingItemCount"], 3);
    let token = page["metadata"]["continue"].as_str().unwrap_or_default();
    world.ask(&format!("DELETE {THINGS}/d"), Value::Null).await;
    let page = world.check(&format!("GET {THINGS}?limit=2&continue={token}"), Value::Null, "200 ThingList c d").await;
    let token = page["metadata"]["continue"].as_str().unwrap_or_default();
    let page = world.check(&format!("GET {THINGS}?limit=2&continue={token}"), Value::Null, "200 ThingList e").await;
    assert!(page["metadata"].get("continue").is_none() && page["metadata"].get("remainingItemCount").is_none());
    let (code, _) = world.ask(&format!("GET {THINGS}?limit=2&continue=nonsense"), Value::Null).await;
    assert_eq!(code, 400);
    let (code, refused) = world.ask(&format!("GET {THINGS}?resourceVersion=999999999"), Value::Null).await;
    assert_eq!((code, &refused["details"]["causes"][0]["reason"]), (504, &json!("ResourceVersionTooLarge")));
}

#[tokio::test]
async fn tables() {
    let world = world_with_things(&["a", "b"]).await;
    let accept = "accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (code, table) = world.ask(&format!("GET {THINGS}\n{accept}"), Value::Null).await;
    assert_eq!((code, &table["kind"], &table["apiVersion"]), (200, &json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(
        table["columnDefinitions"],
        json!([{"name": "Name", "type": "string", "format": "name", "description": "Its name.", "priority": 0}])
    );
    assert_eq!(table["rows"][1]["cells"], json!(["b"]));
    let object = &table["rows"][1]["object"];
    assert_eq!((&object["kind"], &object["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("b")));
    assert!(object.get("spec").is_none() && table["metadata"]["resourceVersion"].is_string());
    let (_, table) = world.ask(&format!("GET {THINGS}?includeObject=Object\n{accept}"), Value::Null).await;
    assert_eq!(table["rows"][1]["object"]["spec"], json!({"color": "blue", "size": 1}));
    let (_, table) = world.ask(&format!("GET {THINGS}?includeObject=None\n{accept}"), Value::Null).await;
    assert_eq!(table["rows"][1]["object"], Value::Null);
    let (_, table) = world.ask(&format!("GET {THINGS}/b\n{accept}"), Value::Null).await;
    assert_eq!(table["rows"][0]["cells"], json!(["b"]));
    world
        .check(&format!("GET {THINGS}/x\n{accept}"), Value::Null, r#"404 NotFound: things.test.io "x" not found"#)
        .await;
    let beta = "accept: application/json;as=Table;v=v1beta1;g=meta.k8s.io";
    let (_, table) = world.ask(&format!("GET {THINGS}\n{beta}"), Value::Null).await;
    assert_eq!(table["apiVersion"], "meta.k8s.io/v1beta1");
}

#[tokio::test]
async fn partial_objects() {
    let world = world_with_things(&["a", "b"]).await;
    let accept = |kind: &str| format!("accept: application/json;as={kind};v=v1;g=meta.k8s.io");
    let (_, list) = world.ask(&format!("GET {THINGS}\n{}", accept("PartialObjectMetadataList")), Value::Null).await;
    assert_eq!(show(200, &list), "200 PartialObjectMetadataList a b");
    assert_eq!((&list["items"][0]["kind"], list["items"][0].get("spec")), (&json!("PartialObjectMetadata"), None));
    let shown = "200 PartialObjectMetadata {metadata:{generation:1,labels:{color:red},name:a}}";
    world.check(&format!("GET {THINGS}/a\n{}", accept("PartialObjectMetadata")), Value::Null, shown).await;
    world
        .check(
            &format!("GET {THINGS}\n{}", accept("PartialObjectMetadata")),
            Value::Null,
            "406 NotAcceptable: you requested PartialObjectMetadata, but the requested object is a list (*v1.ThingList)",
        )
        .await;
    world
        .check(
            &format!("GET {THINGS}/a\naccept: application/vnd.kubernetes.protobuf"),
            Value::Null,
            "406 NotAcceptable: only the following media types are accepted: application/json, application/yaml, \
             application/vnd.kubernetes.protobuf",
        )
        .await;
    let partial = "accept: application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    world.check(&format!("GET {THINGS}/a\n{partial}"), Value::Null, shown).await;
}

#[tokio::test]
async fn the_router_of_built_in_kinds_wants_a_named_form() {
    let world = World::new().await;
    let maps = "/api/v1/namespaces/n/configmaps";
    let representations = "406 NotAcceptable: 406: Not Acceptable\n\nAvailable representations: application/json, \
                           application/yaml, application/vnd.kubernetes.protobuf";
    let streams = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    for (line, body, expect) in [
        (format!("POST {maps}\naccept: text/html"), body.clone(), representations.to_string()),
        (
            format!("POST {maps}\naccept: application/vnd.kubernetes.protobuf"),
            body,
            "201 ConfigMap {data:{k:v},metadata:{generation:1,name:a}}".into(),
        ),
        (format!("GET {maps}/a\naccept: application/*"), Value::Null, representations.into()),
        (format!("GET {maps}\naccept: text/html"), Value::Null, format!("{representations}{streams}")),
        (format!("GET {maps}?watch=1\naccept: text/html"), Value::Null, format!("{representations}{streams}")),
        (format!("GET {maps}\naccept: application/vnd.kubernetes.protobuf"), Value::Null, "200 ConfigMapList a".into()),
        (
            format!("GET {maps}/b\naccept: application/vnd.kubernetes.protobuf"),
            Value::Null,
            "404 NotFound: configmaps \"b\" not found".into(),
        ),
        (
            format!("DELETE {maps}/a\naccept: application/vnd.kubernetes.protobuf"),
            Value::Null,
            "200 Status {details:{kind:configmaps,name:a},metadata:{},status:Success}".into(),
        ),
    ] {
        world.check(&line, body, &expect).await;
    }
}
