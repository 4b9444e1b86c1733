//! The daemon is killed at random points while clients write; nothing that it acknowledged may be lost.
//!
//! After each restart: every acknowledged write is there; a write without an answer happened whole or not at all;
//! revisions never go back. `TRIUNE_CRASH_KILLS` sets the number of kills (20 without it; the full run has 200),
//! `TRIUNE_SEED` the choices.

#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use support::{
    Daemon, Dice,
    client::{Answer, Client},
};

const WRITERS: u64 = 6;
const NAMES_PER_WRITER: u64 = 4;
/// Bodies above 64 KiB are stored in several rows: a half-written one would show.
const LARGE_BYTES: u64 = 200_000;
const COLLECTION: &str = "/api/v1/namespaces/default/configmaps";

/// An object as a writer knows it: its number and resourceVersion; None is "not there".
type State = Option<(u64, u64)>;

/// What may be found of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// The last write was acknowledged.
    Surely(State),
    /// The last write got no answer: the state before it, or what it would have made (its number; None for a delete).
    Either(State, Option<u64>),
}

type Names = BTreeMap<String, Known>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    let kills: u64 = std::env::var("TRIUNE_CRASH_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let mut dice = Dice::from_environment();
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut names = Names::new();
    let highest = Arc::new(AtomicU64::new(0));
    let (mut acknowledged, mut unanswered, mut killed_early) = (0, 0, 0);
    for _ in 0..kills {
        if dice.below(5) == 0 {
            // Now and then it is killed while it starts.
            let patience = Duration::from_millis(dice.below(60));
            if Daemon::try_start(scratch.path(), &[], patience).is_none() {
                killed_early += 1;
            }
        }
        let daemon = Arc::new(Daemon::start(scratch.path(), &[]));
        check_all(&daemon, &mut names, &highest).await;
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let own = names.iter().filter(|(name, _)| name.starts_with(&format!("w{writer}-")));
            let own: Names = own.map(|(name, known)| (name.clone(), known.clone())).collect();
            let dice = Dice::new(dice.below(u64::MAX));
            writers.push(tokio::spawn(write_until_killed(daemon.clone(), writer, own, dice, highest.clone())));
        }
        tokio::time::sleep(Duration::from_millis(5 + dice.below(200))).await;
        kill(&daemon);
        for writer in writers {
            let (own, count) = writer.await.expect("a writer ends well");
            acknowledged += count;
            unanswered += own.values().filter(|known| matches!(known, Known::Either(..))).count();
            names.extend(own);
        }
    }
    let daemon = Daemon::start(scratch.path(), &[]);
    check_all(&daemon, &mut names, &highest).await;
    println!("{kills} kills and {killed_early} during the start; {acknowledged} writes acknowledged, {unanswered} not");
    assert!(acknowledged > kills, "the writers hardly wrote: the test shows nothing");
    assert!(unanswered > 0, "no write was ever in flight at a kill: the test shows nothing");
}

/// SIGKILL, while the writers still hold the daemon.
fn kill(daemon: &Daemon) {
    let pid = daemon.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().expect("kill is there").success());
}

/// Writes until there is no answer any more.
async fn write_until_killed(
    daemon: Arc<Daemon>,
    writer: u64,
    mut own: Names,
    mut dice: Dice,
    highest: Arc<AtomicU64>,
) -> (Names, u64) {
    let mut acknowledged = 0;
    let Ok(mut client) = Client::connect(&daemon).await else { return (own, 0) };
    loop {
        let name = format!("w{writer}-{}", dice.below(NAMES_PER_WRITER));
        let before = match own.get(&name) {
            Some(Known::Surely(state)) => *state,
            Some(Known::Either(..)) => unreachable!("checked after the restart"),
            None => None,
        };
        let number = dice.below(u64::MAX >> 12);
        let delete = before.is_some() && dice.below(4) == 0;
        let path = format!("{COLLECTION}/{name}");
        let body = object(&name, number, before, dice.below(8) == 0);
        let answer = match before {
            None => client.send("POST", COLLECTION, Some(&body)).await,
            Some(_) if delete => client.send("DELETE", &path, None).await,
            Some(_) => client.send("PUT", &path, Some(&body)).await,
        };
        let Ok(answer) = answer else {
            own.insert(name, Known::Either(before, (!delete).then_some(number)));
            return (own, acknowledged);
        };
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        acknowledged += 1;
        let state = (!delete).then(|| (number, revision(&answer.body)));
        if let (Some((_, old)), Some((_, new))) = (before, state) {
            assert!(new > old, "revision of {name} went from {old} to {new}");
        }
        highest.fetch_max(state.map_or(0, |(_, revision)| revision), Ordering::SeqCst);
        own.insert(name, Known::Surely(state));
    }
}

/// An object that shows whether it is whole: its number stands at both ends of its data.
fn object(name: &str, number: u64, before: State, large: bool) -> Value {
    let mut metadata = json!({"name": name});
    if let Some((_, revision)) = before {
        metadata["resourceVersion"] = json!(revision.to_string());
    }
    let length = if large { LARGE_BYTES } else { number % 300 };
    let padding = number.to_string().repeat(usize::try_from(length / 10 + 1).unwrap_or(1));
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
        "data": {"a-number": number.to_string(), "padding": padding, "z-number": number.to_string()},
    })
}

/// Compares everything that is there with everything that is known, and makes what was unclear certain.
async fn check_all(daemon: &Daemon, names: &mut Names, highest: &AtomicU64) {
    let mut client = Client::connect(daemon).await.expect("the daemon listens");
    let list = client.send("GET", COLLECTION, None).await.expect("an answer");
    assert_eq!(list.status, 200, "{list:?}");
    let known_highest = highest.load(Ordering::SeqCst);
    let listed = revision(&list.body);
    assert!(listed >= known_highest, "the list is at revision {listed}, a write was acknowledged at {known_highest}");
    let empty = Vec::new();
    let items = list.body["items"].as_array().unwrap_or(&empty);
    let mut found: BTreeMap<String, State> = BTreeMap::new();
    for item in items.iter().filter(|item| item["metadata"]["name"] != "kube-root-ca.crt") {
        found.insert(item["metadata"]["name"].as_str().expect("a name").to_owned(), Some(whole(item)));
    }
    for (name, known) in names.iter_mut() {
        let state = found.remove(name).unwrap_or(None);
        let fine = match known {
            Known::Surely(expected) => state == *expected,
            Known::Either(before, after) => state == *before || state.map(|(number, _)| number) == *after,
        };
        assert!(fine, "{name}: known {known:?}, found {state:?}");
        let single = client.send("GET", &format!("{COLLECTION}/{name}"), None).await.expect("an answer");
        assert_eq!(single_state(&single), state, "{name}: list and get differ");
        highest.fetch_max(state.map_or(0, |(_, revision)| revision), Ordering::SeqCst);
        *known = Known::Surely(state);
    }
    assert!(found.is_empty(), "nobody wrote {found:?}");
}

fn single_state(answer: &Answer) -> State {
    match answer.status {
        404 => None,
        200 => Some(whole(&answer.body)),
        _ => panic!("{answer:?}"),
    }
}

/// Number and revision of an object that must be whole.
fn whole(object: &Value) -> (u64, u64) {
    let data = &object["data"];
    let number = data["a-number"].as_str().expect("its number");
    assert_eq!(data["z-number"].as_str(), Some(number), "half an object: {}", object["metadata"]);
    let padding = data["padding"].as_str().expect("its padding");
    assert!(padding.len().is_multiple_of(number.len()) && padding.ends_with(number), "half an object");
    (number.parse().expect("a number"), revision(object))
}

fn revision(object: &Value) -> u64 {
    let text = object["metadata"]["resourceVersion"].as_str().unwrap_or_else(|| panic!("no revision: {object}"));
    text.parse().expect("revisions are numbers")
}

#[test]
fn half_an_object_is_noticed() {
    let mut torn = object("x", 7, None, false);
    torn["metadata"]["resourceVersion"] = json!("1");
    assert_eq!(whole(&torn), (7, 1));
    torn["data"]["z-number"] = json!("8");
    assert!(std::panic::catch_unwind(|| whole(&torn)).is_err());
}
