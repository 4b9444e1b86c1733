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

/// What a restarted daemon shows.
#[derive(Debug, Clone)]
struct Shown {
    /// The resourceVersion of the list.
    revision: u64,
    /// The objects of the list, by name.
    list: BTreeMap<String, State>,
    /// What a GET of each known name gave.
    single: BTreeMap<String, State>,
}

async fn show(daemon: &Daemon, names: &Names) -> Shown {
    let mut client = Client::connect(daemon).await.expect("the daemon listens");
    let list = client.send("GET", COLLECTION, None).await.expect("an answer");
    assert_eq!(list.status, 200, "{list:?}");
    let mut shown = Shown { revision: revision(&list.body), list: BTreeMap::new(), single: BTreeMap::new() };
    let empty = Vec::new();
    let items = list.body["items"].as_array().unwrap_or(&empty);
    for item in items.iter().filter(|item| item["metadata"]["name"] != "kube-root-ca.crt") {
        shown.list.insert(item["metadata"]["name"].as_str().expect("a name").to_owned(), Some(whole(item)));
    }
    for name in names.keys() {
        let single = client.send("GET", &format!("{COLLECTION}/{name}"), None).await.expect("an answer");
        shown.single.insert(name.clone(), single_state(&single));
    }
    shown
}

/// Every acknowledged write is there, a write without an answer happened whole or not at all, nothing else is there, and
/// no revision goes back. `highest` is the highest one that was acknowledged.
fn check(names: &Names, highest: u64, shown: &Shown) -> Result<(), String> {
    let listed = shown.revision;
    if listed < highest {
        return Err(format!("the list is at revision {listed}, a write was acknowledged at {highest}"));
    }
    for (name, known) in names {
        let state = shown.list.get(name).copied().flatten();
        let fine = match known {
            Known::Surely(expected) => state == *expected,
            Known::Either(before, _) if state == *before => true,
            // The write that had no answer has a revision of its own.
            Known::Either(before, after) => {
                let newer = state.is_none_or(|(_, new)| before.is_none_or(|(_, old)| new > old));
                state.map(|(number, _)| number) == *after && newer
            }
        };
        if !fine {
            return Err(format!("{name}: known {known:?}, found {state:?}"));
        }
        if shown.single.get(name).copied().flatten() != state {
            return Err(format!("{name}: list and get differ: {state:?} and {:?}", shown.single.get(name)));
        }
        if let Some((_, revision)) = state.filter(|(_, revision)| *revision > listed) {
            return Err(format!("{name} is at {revision}, the list at {listed}"));
        }
    }
    match shown.list.keys().find(|name| !names.contains_key(*name)) {
        Some(name) => Err(format!("nobody wrote {name}")),
        None => Ok(()),
    }
}

/// Checks everything that is there against everything that is known, and makes what was unclear certain.
async fn check_all(daemon: &Daemon, names: &mut Names, highest: &AtomicU64) {
    let shown = show(daemon, names).await;
    check(names, highest.load(Ordering::SeqCst), &shown).unwrap_or_else(|reason| panic!("{reason}"));
    for (name, known) in names.iter_mut() {
        let state = shown.list.get(name).copied().flatten();
        highest.fetch_max(state.map_or(0, |(_, revision)| revision), Ordering::SeqCst);
        *known = Known::Surely(state);
    }
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

#[test]
fn what_a_kill_may_not_do_is_noticed() {
    /// `kept` was acknowledged at 5, `gone` was deleted; `new`, `changed` (at 7 before) and `deleted` (at 6) had no answer.
    fn check_story(change: fn(&mut Shown), expect: &str) {
        let names = Names::from([
            ("kept".to_owned(), Known::Surely(Some((1, 5)))),
            ("gone".to_owned(), Known::Surely(None)),
            ("new".to_owned(), Known::Either(None, Some(2))),
            ("changed".to_owned(), Known::Either(Some((3, 7)), Some(4))),
            ("deleted".to_owned(), Known::Either(Some((5, 6)), None)),
        ]);
        let found = [("kept", (1, 5)), ("changed", (3, 7)), ("deleted", (5, 6))];
        let list: BTreeMap<String, State> = found.map(|(name, state)| (name.to_owned(), Some(state))).into();
        let mut shown = Shown { revision: 9, single: list.clone(), list };
        change(&mut shown);
        let outcome = check(&names, 8, &shown).err().unwrap_or_default();
        assert!(outcome.contains(expect) && outcome.is_empty() == expect.is_empty(), "{outcome:?}, not {expect:?}");
    }
    fn set(shown: &mut Shown, name: &str, state: State) {
        shown.list.insert(name.to_owned(), state);
        shown.single.insert(name.to_owned(), state);
    }
    check_story(|_| (), "");
    check_story(|shown| set(shown, "new", Some((2, 9))), "");
    check_story(|shown| set(shown, "changed", Some((4, 9))), "");
    check_story(|shown| set(shown, "deleted", None), "");
    check_story(|shown| shown.revision = 7, "the list is at revision 7, a write was acknowledged at 8");
    check_story(|shown| set(shown, "kept", None), "kept: known");
    check_story(|shown| set(shown, "kept", Some((1, 4))), "kept: known");
    check_story(|shown| set(shown, "kept", Some((2, 5))), "kept: known");
    check_story(|shown| set(shown, "gone", Some((1, 5))), "gone: known");
    check_story(|shown| set(shown, "new", Some((3, 9))), "new: known");
    check_story(|shown| set(shown, "changed", None), "changed: known");
    check_story(|shown| set(shown, "changed", Some((4, 6))), "changed: known");
    check_story(|shown| set(shown, "changed", Some((4, 10))), "changed is at 10, the list at 9");
    check_story(|shown| set(shown, "deleted", Some((6, 9))), "deleted: known");
    check_story(|shown| shown.single.retain(|name, _| name != "kept"), "kept: list and get differ");
    check_story(|shown| set(shown, "other", Some((1, 1))), "nobody wrote other");
}
