//! Workloads as drawn: all that they begin comes to an end, and every kind of them does something.

use std::{collections::BTreeSet, time::Duration};

use triune_history::Body;
use triune_sim_clients::{ClientPlan, Random, Role, Signal, Theme, run_client};

use crate::server::{Server, Summary, recorder};

/// Runs plans side by side until they are done or `duration` has passed.
async fn run(plans: Vec<ClientPlan>, duration: Duration) -> Vec<triune_history::Event> {
    let server = Server::start().await;
    let other = server.another().await;
    let servers = vec![("api-1".to_owned(), server.address), ("api-2".to_owned(), other.address)];
    let (recorder, stop) = (recorder(), Signal::new());
    let running: Vec<_> = plans
        .into_iter()
        .enumerate()
        .map(|(index, plan)| {
            let (env, recorder, servers, stop) = (server.env.clone(), recorder.clone(), servers.clone(), stop.clone());
            tokio::spawn(async move {
                run_client(env, recorder, &format!("client-{index}"), servers, plan, stop).await;
            })
        })
        .collect();
    tokio::time::sleep(duration).await;
    stop.give();
    for client in running {
        tokio::time::timeout(Duration::from_secs(40), client).await.expect("it ends").expect("no panic");
    }
    server.end().await;
    other.end().await;
    recorder.take()
}

fn theme(seed: u64) -> Theme {
    Theme { namespaces: vec!["default".into(), "sim-a".into()], ..Theme::draw(&mut Random::new(seed), 2_000) }
}

#[tokio::test]
async fn all_that_a_mixed_run_begins_comes_to_an_end() {
    for seed in 0..3 {
        let events = run(ClientPlan::draw_all(seed, &theme(seed), 8), Duration::from_secs(2)).await;
        let summary = Summary::of(&events);
        summary.assert_ended();
        assert!(summary.invoked > 50 && summary.events > 10, "{summary:?}");
        assert!(summary.codes.keys().all(|code| ![0, 400, 405, 415, 422, 500].contains(code)), "{summary:?}");
    }
}

#[tokio::test]
async fn every_role_is_understood() {
    let roles = [
        Role::Churn,
        Role::Namespaces,
        Role::Applier,
        Role::Readers,
        Role::Pagers,
        Role::Watchers,
        Role::Informers,
        Role::RestartStorm,
        Role::Probes,
    ];
    for role in roles {
        let plans = vec![ClientPlan::draw(1, &theme(1), &[role]), ClientPlan::draw(2, &theme(1), &[role, role])];
        let summary = Summary::of(&run(plans, Duration::from_millis(700)).await);
        summary.assert_ended();
        assert!(summary.invoked > 1, "{role:?} {summary:?}");
    }
}

#[tokio::test]
async fn operations_can_be_left_out() {
    let whole = ClientPlan {
        operations_max: 12,
        start_ms: 0,
        ..ClientPlan::draw(
            3,
            &Theme { kinds: vec![triune_sim_clients::kind::Kind::ConfigMaps], ..theme(3) },
            &[Role::Churn],
        )
    };
    let contents = async |plan: ClientPlan| -> BTreeSet<String> {
        let events = run(vec![plan], Duration::from_secs(3)).await;
        let texts = events.iter().filter_map(|event| match &event.body {
            Body::Invoke { operation, .. } => Some(serde_json::to_string(operation).expect("data")),
            _ => None,
        });
        texts.collect()
    };
    let all = contents(whole.clone()).await;
    let less = contents(ClientPlan { operations_max: 0, ..whole.clone() }).await;
    assert!(!all.is_empty() && less.is_empty());
    let skipped = contents(ClientPlan { skip: (0..12).filter(|number| *number != 5).collect(), ..whole }).await;
    assert!(!skipped.is_empty() && skipped.len() < all.len(), "{skipped:?}");
}
