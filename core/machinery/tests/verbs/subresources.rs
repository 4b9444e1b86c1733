//! Status, scale and subresources with code of their own.

use serde_json::{Value, json};

use crate::world::World;

const THING: &str = "/apis/test.io/v1/namespaces/n/things/a";

async fn world_with_a_thing() -> World {
    let world = World::new().await;
    let thing = json!({"metadata": {"name": "a"}, "spec": {"size": 1, "selector": {"matchLabels": {"x": "y"}}}});
    assert_eq!(world.ask("POST /apis/test.io/v1/namespaces/n/things", thing).await.0, 201);
    world
}

#[tokio::test]
async fn status() {
    let world = world_with_a_thing().await;
    let shown = "200 Thing {metadata:{generation:1,name:a},spec:{selector:{matchLabels:{x:y}},size:1},status:{size:3}}";
    let sent = json!({"metadata": {"name": "a"}, "spec": {"size": 7}, "status": {"size": 3}});
    world.check(&format!("PUT {THING}/status"), sent, shown).await;
    world.check(&format!("PATCH {THING}"), json!({"status": {"size": 9}}), shown).await;
    world.check(&format!("GET {THING}/status"), Value::Null, shown).await;
    world
        .check(
            &format!("PATCH {THING}/status"),
            json!({"status": {"size": 4}}),
            &shown.replace("status:{size:3", "status:{size:4"),
        )
        .await;
}

#[tokio::test]
async fn scale() {
    let world = world_with_a_thing().await;
    let shown = |replicas: i64| {
        format!("200 Scale {{metadata:{{name:a}},spec:{{replicas:{replicas}}},status:{{replicas:0,selector:x=y}}}}")
    };
    let scale = world.check(&format!("GET {THING}/scale"), Value::Null, &shown(1)).await;
    let (_, thing) = world.ask(&format!("GET {THING}"), Value::Null).await;
    for field in ["uid", "resourceVersion", "namespace", "creationTimestamp"] {
        assert_eq!(scale["metadata"][field], thing["metadata"][field], "{field}");
    }
    let mut changed = scale.clone();
    changed["spec"]["replicas"] = json!(5);
    world.check(&format!("PUT {THING}/scale"), changed.clone(), &shown(5)).await;
    let conflict = r#"409 Conflict: Operation cannot be fulfilled on things.test.io "a": the object has been modified; please apply your changes to the latest version and try again"#;
    world.check(&format!("PUT {THING}/scale"), changed, conflict).await;
    world.check(&format!("PATCH {THING}/scale"), json!({"spec": {"replicas": 6}}), &shown(6)).await;
    let strategic = format!("PATCH {THING}/scale\ncontent-type: application/strategic-merge-patch+json");
    world.check(&strategic, json!({"spec": {"replicas": 7}}), &shown(7)).await;
    world
        .check(
            &format!("PATCH {THING}/scale"),
            json!({"spec": {"replicas": -1}}),
            r#"422 Invalid: Scale.autoscaling "a" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#,
        )
        .await;
    world
        .check(
            &format!("PATCH {THING}/scale"),
            json!({"metadata": {"uid": "x"}}),
            &format!(
                r#"409 Conflict: Operation cannot be fulfilled on things/scale.test.io "a": Precondition failed: UID in precondition: x, UID in object meta: {}"#,
                thing["metadata"]["uid"].as_str().unwrap_or_default()
            ),
        )
        .await;
    let after = "200 Thing {metadata:{generation:4,name:a},spec:{selector:{matchLabels:{x:y}},size:7}}";
    world.check(&format!("GET {THING}"), Value::Null, after).await;
    world
        .check(
            "GET /apis/test.io/v1/namespaces/n/things/b/scale",
            Value::Null,
            r#"404 NotFound: things.test.io "b" not found"#,
        )
        .await;
}

#[tokio::test]
async fn code_of_its_own() {
    let world = world_with_a_thing().await;
    world.check(&format!("POST {THING}/polish"), json!({}), "501 NotImplemented: things are not polished yet").await;
}
