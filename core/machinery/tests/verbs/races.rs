//! Writers that meet: each outcome is that of some order.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::{Value, json};
use triune_env::Env;

use crate::world::{Narrow, World};

const THINGS: &str = "/apis/test.io/v1/namespaces/n/things";

/// Runs requests at the same time on a runtime of several threads.
async fn at_once(world: &Arc<World>, requests: Vec<(String, Value)>) -> Vec<(u16, Value)> {
    let tasks = requests.into_iter().map(|(line, body)| {
        let world = world.clone();
        tokio::spawn(async move { world.ask(&line, body).await })
    });
    join_all(tasks).await.into_iter().map(|answer| answer.expect("no panic")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_creator_wins() {
    let world = Arc::new(World::new().await);
    for round in 0..20 {
        let body = json!({"metadata": {"name": format!("a{round}")}});
        let answers = at_once(&world, (0..8).map(|_| (format!("POST {THINGS}"), body.clone())).collect()).await;
        let created = answers.iter().filter(|(code, _)| *code == 201).count();
        let exists = answers.iter().filter(|(code, _)| *code == 409).count();
        assert_eq!((created, exists), (1, 7));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_patch_is_lost() {
    let world = Arc::new(World::new().await);
    world.ask(&format!("POST {THINGS}"), json!({"metadata": {"name": "a"}, "spec": {}})).await;
    let patches = (0..32).map(|number| (format!("PATCH {THINGS}/a"), json!({"spec": {format!("f{number}"): 1}})));
    let answers = at_once(&world, patches.collect()).await;
    assert!(answers.iter().all(|(code, _)| *code == 200));
    let (_, object) = world.ask(&format!("GET {THINGS}/a"), Value::Null).await;
    assert_eq!(object["spec"].as_object().map(serde_json::Map::len), Some(32));
    assert_eq!(object["metadata"]["generation"], 33, "one generation for each change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_updater_of_a_revision_wins() {
    let world = Arc::new(World::new().await);
    let (_, mut object) = world.ask(&format!("POST {THINGS}"), json!({"metadata": {"name": "a"}, "spec": {}})).await;
    for round in 0..20 {
        let puts = (0..6).map(|writer| {
            let mut changed = object.clone();
            changed["spec"] = json!({"size": round * 10 + writer});
            (format!("PUT {THINGS}/a"), changed)
        });
        let answers = at_once(&world, puts.collect()).await;
        let won: Vec<&Value> = answers.iter().filter(|(code, _)| *code == 200).map(|(_, value)| value).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|(code, _)| matches!(code, 200 | 409)));
        object = won[0].clone();
    }
}

/// G5, G6: whatever the order, a finalizer that was added in time holds the object, and none is added too late.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_delete_and_an_added_finalizer() {
    let world = Arc::new(World::new().await);
    for round in 0..40 {
        let name = format!("a{round}");
        world.ask(&format!("POST {THINGS}"), json!({"metadata": {"name": name}})).await;
        let requests = vec![
            (format!("DELETE {THINGS}/{name}"), Value::Null),
            (format!("PATCH {THINGS}/{name}"), json!({"metadata": {"finalizers": ["test.io/x"]}})),
        ];
        let answers = at_once(&world, requests).await;
        let (code, object) = world.ask(&format!("GET {THINGS}/{name}"), Value::Null).await;
        match (answers[0].0, answers[1].0) {
            (200, 200) => {
                assert_eq!(code, 200, "the finalizer came first");
                assert!(object["metadata"]["deletionTimestamp"].is_string(), "and the delete marked the object");
            }
            (200, 404) => assert_eq!(code, 404, "the delete came first"),
            other => panic!("{other:?}"),
        }
    }
}

/// Of several that take away the last finalizer one removes the object; it is removed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_finalizer() {
    let world = Arc::new(World::new().await);
    for round in 0..20 {
        let name = format!("a{round}");
        let held = json!({"metadata": {"name": name, "finalizers": ["test.io/x"]}});
        world.ask(&format!("POST {THINGS}"), held).await;
        world.ask(&format!("DELETE {THINGS}/{name}"), Value::Null).await;
        let patch = (format!("PATCH {THINGS}/{name}"), json!({"metadata": {"finalizers": null}}));
        let answers = at_once(&world, vec![patch; 4]).await;
        assert_eq!(answers.iter().filter(|(code, _)| *code == 200).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|(code, _)| *code == 404).count(), 3, "{answers:?}");
    }
}

/// D1: nothing is created in a namespace after its delete was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_create_after_the_namespace_terminates() {
    let world = Arc::new(World::new().await);
    for round in 0..20 {
        let space = format!("s{round}");
        let body = json!({"metadata": {"name": space}, "spec": {"finalizers": ["kubernetes"]}});
        world.ask("POST /api/v1/namespaces", body).await;
        let mut requests = vec![(format!("DELETE /api/v1/namespaces/{space}"), Value::Null)];
        requests.extend((0..6).map(|number| {
            (
                format!("POST /apis/test.io/v1/namespaces/{space}/things"),
                json!({"metadata": {"name": format!("t{number}")}}),
            )
        }));
        let answers = at_once(&world, requests).await;
        let marked = revision(&answers[0].1);
        for (code, object) in &answers[1..] {
            assert!(matches!(code, 201 | 403), "{object}");
            assert!(*code == 403 || revision(object) < marked, "created after the namespace was terminating");
        }
    }
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Names are drawn from 24 only: creates draw again when they meet, and say so when they give up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn generated_names_are_drawn_again() {
    let env = triune_platform::env();
    let world = Arc::new(World::on(Env { entropy: Arc::new(Narrow(env.entropy.clone())), ..env }).await);
    let body = json!({"metadata": {"generateName": "a-"}});
    let answers = at_once(&world, (0..40).map(|_| (format!("POST {THINGS}"), body.clone())).collect()).await;
    let created = answers.iter().filter(|(code, _)| *code == 201).count();
    assert!((12..=24).contains(&created), "{created} of 24 names were found");
    let refused = answers.iter().find(|(code, _)| *code != 201).expect("there are more creates than names");
    let text = refused.1["message"].as_str().unwrap_or_default();
    assert!(
        text.ends_with("already exists, the server was not able to generate a unique name for the object"),
        "{text}"
    );
    assert_eq!((refused.0, &refused.1["details"]["retryAfterSeconds"]), (409, &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collections_are_deleted_side_by_side() {
    let world = Arc::new(World::new().await);
    let creates =
        (0..200).map(|number| (format!("POST {THINGS}"), json!({"metadata": {"name": format!("t{number}")}})));
    assert!(at_once(&world, creates.collect()).await.iter().all(|(code, _)| *code == 201));
    let deletes = vec![(format!("DELETE {THINGS}"), Value::Null); 3];
    assert!(at_once(&world, deletes).await.iter().all(|(code, _)| *code == 200));
    world.check(&format!("GET {THINGS}"), Value::Null, "200 ThingList").await;
}

/// Found by simulation: a delete of a collection that lost a race against a relabelling deleted the object all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_relabelled_meanwhile_is_no_longer_of_the_collection() {
    let world = Arc::new(World::new().await);
    let mut kept = 0;
    for round in 0..10 {
        let name = |number: u32| format!("r{round}-{number}");
        let creates = (0..40).map(|number| {
            let metadata = json!({"name": name(number), "labels": {"group": "old"}});
            (format!("POST {THINGS}"), json!({"metadata": metadata}))
        });
        assert!(at_once(&world, creates.collect()).await.iter().all(|(code, _)| *code == 201));
        let relabel =
            |number| (format!("PATCH {THINGS}/{}", name(number)), json!({"metadata": {"labels": {"group": "new"}}}));
        let mut requests: Vec<(String, Value)> = (0..40).map(relabel).collect();
        requests.insert(20, (format!("DELETE {THINGS}?labelSelector=group=old"), Value::Null));
        let mut answers = at_once(&world, requests).await;
        assert_eq!(answers.remove(20).0, 200);
        for (number, (code, _)) in (0..).zip(answers) {
            let (found, _) = world.ask(&format!("GET {THINGS}/{}", name(number)), Value::Null).await;
            assert_eq!(found, code, "of the relabelling and the read of {}", name(number));
            kept += u32::from(code == 200);
        }
    }
    assert!(kept > 0, "no relabelling ever came first");
}
