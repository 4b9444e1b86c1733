//! Who manages which field after updates and applies, told by the reference's own code (`tools/facts/manage`) and by
//! ours.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use serde_json::{Map, Value, json};
use triune_api::meta;
use triune_schema::{
    TypeRef,
    apply::{ApplyError, FieldManager, MergeSchema, ResetFields, Versions},
};

use super::{
    difference, facts, json_files, module_folder,
    oracle::{Dice, multiplied, mutated, shuffle},
    samples::kind_of,
};

const NOW: &str = "2026-11-24T10:00:00Z";

/// A kind in its one version.
struct OneVersion {
    api_version: String,
    declared: TypeRef,
}

impl Versions for OneVersion {
    fn schema(&self, api_version: &str) -> Option<MergeSchema> {
        (api_version == self.api_version).then(|| self.declared.clone().into())
    }
    fn convert(&self, _: &Value, _: &str) -> Option<Value> {
        None
    }
    fn reset_fields(&self, _: &str) -> Option<Arc<ResetFields>> {
        None
    }
}

/// Writes of one object, in turn.
struct Session {
    name: String,
    kind: OneVersion,
    steps: Vec<Value>,
}

fn ask(sessions: &[Session]) -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/facts");
    let documents = module_folder("k8s.io/kubernetes@v1.37.2").join("api/openapi-spec/v3");
    let mut oracle = Command::new("go")
        .args(["run", "./manage"])
        .arg(documents)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test asks the reference's code with Go's help: {error}"));
    let mut questions = Vec::new();
    for session in sessions {
        let gvk = kind_of(&session.name);
        let question = json!({"group": *gvk.group, "version": *gvk.version, "kind": *gvk.kind, "steps": session.steps});
        serde_json::to_writer(&mut questions, &question).unwrap();
        questions.push(b'\n');
    }
    let mut input = oracle.stdin.take().unwrap();
    let writer = thread::spawn(move || input.write_all(&questions).unwrap());
    let output = oracle.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), sessions.len(), "an answer to each question");
    answers
}

/// Our answers to a session.
fn reply(session: &Session) -> Vec<Value> {
    let gvk = kind_of(&session.name);
    let mut live = json!({"apiVersion": session.kind.api_version, "kind": *gvk.kind});
    let manager =
        FieldManager { api_version: &session.kind.api_version, subresource: "", versions: &session.kind, now: NOW };
    let declared = &session.kind.declared;
    let mut results = Vec::new();
    for step in &session.steps {
        let (name, force) = (step["manager"].as_str().unwrap(), step["force"] == true);
        let mut object = step["object"].clone();
        if step["apply"] == true {
            let default = |object: &mut Value| declared.normalise(object);
            match manager.apply(&live, &object, name, force, &default) {
                Ok(applied) => live = applied,
                Err(error) => {
                    // The reference's handlers make a status of errors that are none.
                    results.push(match error {
                        ApplyError::Failed(message) => json!({"error": message}),
                        error => json!({"error": error.to_string(), "status": error.status().to_json()}),
                    });
                    continue;
                }
            }
        } else {
            if let Err(error) = declared.check_types(&object) {
                results.push(json!({"error": format!("decoding: {error}")}));
                continue;
            }
            let sent = object.pointer("/metadata/managedFields").filter(|sent| sent.is_array()).cloned();
            declared.normalise(&mut object);
            if let Some(sent) = sent {
                meta::set(&mut object, "managedFields", sent);
            }
            manager.update(&live, &mut object, name);
            live = object;
        }
        results.push(live.clone());
    }
    results
}

/// What two answers may differ in: seconds, the order of causes.
fn comparable(mut answer: Value) -> Value {
    if let Some(Value::Array(entries)) = answer.pointer_mut("/metadata/managedFields") {
        for entry in entries.iter_mut().filter(|entry| entry.get("time").is_some()) {
            entry["time"] = "some time".into();
        }
        entries.sort_by_key(|entry| format!("{} {} {}", entry["operation"], entry["manager"], entry["apiVersion"]));
    }
    if let Some(status) =
        answer.get_mut("status").and_then(Value::as_object_mut).filter(|status| status.contains_key("code"))
    {
        for field in ["kind", "apiVersion", "metadata"] {
            status.remove(field);
        }
        if let Some(Value::Array(causes)) = status.get_mut("details").and_then(|details| details.get_mut("causes")) {
            causes.sort_by_key(Value::to_string);
        }
    }
    answer
}

/// Parts of an object, as somebody applies them.
fn part(dice: &mut Dice, value: &Value, chances: usize) -> Value {
    match value {
        Value::Object(object) => {
            let mut kept = Map::new();
            for (key, value) in object {
                let identifies =
                    matches!(key.as_str(), "name" | "apiVersion" | "kind" | "metadata" | "type" | "key" | "port");
                if identifies && !dice.one_in(20) || dice.one_in(chances) {
                    kept.insert(key.clone(), part(dice, value, chances.min(2)));
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => {
            let mut kept = items.clone();
            kept.retain(|_| dice.below(4) > 0);
            kept.iter().map(|item| part(dice, item, 2)).collect()
        }
        scalar => scalar.clone(),
    }
}

/// Takes out what Go tells apart in memory and not in JSON: absent and empty lists in items of lists, spellings of one
/// quantity.
fn tidy(value: &mut Value, in_item: bool) {
    match value {
        Value::Object(object) => {
            let empty = |value: &Value| *value == json!([]) || *value == json!({}) || value.is_null();
            object.retain(|_, value| !(in_item && empty(value)));
            object.values_mut().for_each(|value| tidy(value, in_item));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| tidy(item, true)),
        Value::String(text) if text.len() > 1 && text.parse::<u8>().is_ok() => {
            *text = text.trim_start_matches('0').into();
        }
        _ => {}
    }
}

fn session(dice: &mut Dice, name: &str, kind: OneVersion, sample: &Value) -> Session {
    let mut steps = Vec::new();
    let mut base = multiplied(dice, sample);
    meta::remove(&mut base, "managedFields");
    for number in 0..10 {
        let apply = if number == 0 { dice.one_in(3) } else { dice.one_in(2) };
        let manager = ["a", "b", "kubectl"][dice.below(3)];
        let mut object = match dice.below(4) {
            0 => base.clone(),
            1 => {
                let mut other = multiplied(dice, &base);
                shuffle(dice, &mut other);
                other
            }
            2 => {
                let wild = dice.one_in(4);
                mutated(dice, &base, 40, wild)
            }
            _ => mutated(dice, &base, 12, false),
        };
        if apply {
            object = part(dice, &object, 3);
        }
        if !object.is_object() {
            object = json!({});
        }
        object["apiVersion"] = kind.api_version.clone().into();
        object["kind"] = (*kind_of(name).kind).into();
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        object["metadata"]["uid"] = "u".into();
        if manager == "kubectl" && !apply && dice.one_in(2) {
            let last = part(dice, &object, 3).to_string();
            object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
        }
        if !apply && dice.one_in(12) {
            object["metadata"]["managedFields"] =
                [json!([]), json!([{}]), json!([{"operation": "x"}])][dice.below(3)].clone();
        }
        tidy(&mut object, false);
        if !apply && kind.declared.check_types(&object).is_ok() {
            let sent = object.pointer("/metadata/managedFields").cloned();
            kind.declared.normalise(&mut object);
            sent.into_iter().for_each(|sent| meta::set(&mut object, "managedFields", sent));
        }
        if dice.one_in(3) {
            base = object.clone();
            meta::remove(&mut base, "managedFields");
        }
        steps.push(json!({"apply": apply, "manager": manager, "force": dice.one_in(3), "object": object}));
    }
    Session { name: name.into(), kind, steps }
}

#[test]
fn fields_are_managed_alike() {
    let facts = facts();
    // More rounds: `TRIUNE_ROUNDS=20 cargo test ...`.
    let rounds = std::env::var("TRIUNE_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let mut dice = Dice::new();
    let mut sessions = Vec::new();
    for (name, sample) in json_files(module_folder("k8s.io/api@v0.37.2").join("testdata/HEAD")) {
        if sample.get("metadata").is_none() || name.ends_with("List") || name.ends_with(".Status") {
            continue;
        }
        let gvk = kind_of(&name);
        for _ in 0..rounds {
            let kind = OneVersion { api_version: gvk.api_version(), declared: facts.type_of(&gvk).unwrap() };
            sessions.push(session(&mut dice, &name, kind, &sample));
        }
    }
    let (mut alike, mut refused, mut conflicts, mut ordered, mut different) = (0, 0, 0, 0, Vec::new());
    for (session, theirs) in sessions.iter().zip(ask(&sessions)) {
        // Some kinds are served no more.
        let Some(theirs) = theirs["results"].as_array() else { continue };
        let ours = reply(session);
        for (at, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
            let (theirs, ours) = (comparable(theirs.clone()), comparable(ours));
            let error = theirs["error"].as_str().unwrap_or_default();
            refused += usize::from(!error.is_empty());
            conflicts += usize::from(theirs["status"]["code"] == 409);
            // Of several errors the reference reports some, in the order of Go's maps.
            let ours_error = ours["error"].as_str().unwrap_or_default();
            let both = |text: &str| error.contains(text) && ours_error.contains(text);
            let several = error.contains("errors:\n") || error.contains("not declared");
            if both("parsing time") || several && both("failed to create typed") {
                ordered += 1;
                continue;
            }
            if let Some(difference) = difference("", &theirs, &ours) {
                different.push(format!("{} step {at}: {difference}\n  {}", session.name, session.steps[at]));
                break;
            }
            alike += 1;
        }
    }
    println!(
        "{alike} writes are managed alike, {refused} of them are refused, {conflicts} for conflicts, {ordered} for several reasons"
    );
    assert_eq!(different, Vec::<String>::new());
    assert!(alike > 2000 && conflicts > 50);
}
