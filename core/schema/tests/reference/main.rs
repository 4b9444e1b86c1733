//! The facts against the reference's own files, which are read from the Go module cache; without Go these tests fail and
//! say so.
//!
//! - `samples`: every object of `testdata/HEAD` of k8s.io/api is what normalising leaves, has no unknown field and no
//!   field of the wrong type
//! - `oracle`: mutated samples decode, normalise and merge as in the reference's code
//! - `protobuf`: every object of `testdata/HEAD` is the same in protobuf, both ways; mutated ones decode and
//!   encode as in the reference's code
//! - `manage`: mutated samples, updated and applied in turn, get the managedFields that the reference's code gives them
//! - `openapi`: the documents of `api/openapi-spec/v3` of k8s.io/kubernetes and ours say the same
#![allow(clippy::disallowed_methods, reason = "a test may read files")]

use std::{collections::BTreeSet, path::PathBuf, process::Command, sync::Arc};

use serde_json::Value;
use triune_schema::Facts;

mod manage;
mod openapi;
mod oracle;
mod protobuf;
mod samples;

fn facts() -> Arc<Facts> {
    Facts::parse(include_str!("../../../kube/facts/types.txt")).unwrap()
}

/// Folder of a Go module, which is downloaded if need be.
fn module_folder(module: &str) -> PathBuf {
    let output = Command::new("go").args(["mod", "download", "-json", module]).output();
    let output = output.unwrap_or_else(|error| panic!("this test reads {module} with Go's help: {error}"));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("go mod download answers with JSON");
    let folder = answer["Dir"].as_str().unwrap_or_else(|| panic!("{module} cannot be had: {answer}"));
    PathBuf::from(folder)
}

/// JSON files of a folder, by name without `.json`.
fn json_files(folder: PathBuf) -> Vec<(String, Value)> {
    let entries = std::fs::read_dir(folder).expect("the folder can be listed");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    };
    paths.into_iter().map(read).collect()
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
