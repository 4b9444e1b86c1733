//! The facts against the reference's own samples: every object of `testdata/HEAD` of k8s.io/api is what normalising
//! leaves, has no unknown field and no field of the wrong type. The samples are read from the Go module cache; without
//! Go this test fails and says so.
#![allow(clippy::disallowed_methods, reason = "a test may read files")]

use std::{collections::BTreeSet, path::PathBuf, process::Command, sync::Arc};

use serde_json::Value;
use triune_api::names::GroupVersionKind;
use triune_schema::Facts;

const SAMPLES: &str = "k8s.io/api@v0.37.2";

fn facts() -> Arc<Facts> {
    Facts::parse(include_str!("../../kube/facts/types.txt")).unwrap()
}

fn samples_folder() -> PathBuf {
    let output = Command::new("go").args(["mod", "download", "-json", SAMPLES]).output();
    let output =
        output.unwrap_or_else(|error| panic!("this test reads the samples of {SAMPLES} with Go's help: {error}"));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("go mod download answers with JSON");
    let folder = answer["Dir"].as_str().unwrap_or_else(|| panic!("{SAMPLES} cannot be had: {answer}"));
    PathBuf::from(folder).join("testdata/HEAD")
}

fn samples() -> Vec<(String, Value)> {
    let entries = std::fs::read_dir(samples_folder()).expect("the samples' folder can be listed");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn samples_are_normal() {
    let facts = facts();
    let (mut count, mut unknown_kinds) = (0, BTreeSet::new());
    for (name, sample) in samples() {
        let Some(declared) = facts.type_of(&kind_of(&name)) else {
            unknown_kinds.insert(name);
            continue;
        };
        assert_eq!(declared.unknown_fields(&sample), Vec::<String>::new(), "{name}");
        assert_eq!(declared.check_types(&sample), Ok(()), "{name}");
        let mut normal = sample.clone();
        declared.normalise(&mut normal);
        assert_eq!(difference("", &sample, &normal), None, "{name}");
        count += 1;
    }
    println!("{count} samples are normal");
    assert_eq!(unknown_kinds, BTreeSet::new(), "kinds without facts");
    assert!(count >= 190, "only {count} samples");
}

/// The kind is in a sample's name: `apps.v1.Deployment`, `core.v1.Pod`.
fn kind_of(name: &str) -> GroupVersionKind {
    let (group_version, kind) = name.rsplit_once('.').unwrap();
    let (group, version) = group_version.rsplit_once('.').unwrap();
    GroupVersionKind::new(if group == "core" { "" } else { group }, version, kind)
}

/// The first place where two values differ.
fn difference(path: &str, left: &Value, right: &Value) -> Option<String> {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            keys.into_iter().find_map(|key| {
                let none = Value::String("(absent)".into());
                difference(&format!("{path}.{key}"), left.get(key).unwrap_or(&none), right.get(key).unwrap_or(&none))
            })
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs.into_iter().find_map(|(at, (left, right))| difference(&format!("{path}[{at}]"), left, right))
        }
        _ => (left != right).then(|| format!("{path}: {left} became {right}")),
    }
}
