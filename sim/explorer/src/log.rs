//! A run as a file: what it was, what it came to, and every event. The header alone is enough to run it again.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use triune_history::{Event, log_file};

use crate::{
    class::Class,
    run::{Finding, RunOptions, RunResult},
};

/// What a header says it is.
const FORMAT: &str = "triune-simulation-1";

/// The first line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Marks the file, and the version of this structure.
    pub format: String,
    /// Which scenario.
    pub scenario: String,
    /// Which seed.
    pub seed: u64,
    /// What was recorded.
    pub options: RunOptions,
    /// Hash of the events, in hexadecimal.
    pub hash: String,
    /// How it ended.
    pub class: Class,
    /// Broken invariants.
    pub findings: Vec<Finding>,
    /// The message, if it panicked.
    pub panicked: Option<String>,
    /// What was run.
    pub plan: Value,
}

impl Header {
    /// Describes a run.
    pub fn new(scenario: &str, seed: u64, plan: &Value, options: RunOptions, result: &RunResult) -> Header {
        Header {
            format: FORMAT.into(),
            scenario: scenario.into(),
            seed,
            options,
            hash: hash_text(result.hash),
            class: Class::of(result),
            findings: result.findings.clone(),
            panicked: result.panicked.clone(),
            plan: plan.clone(),
        }
    }
}

/// A hash as it is printed everywhere.
pub fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}

/// Writes a log, and the folder that it is in.
pub fn write(path: &Path, header: &Header, events: &[Event]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write the event log {}: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let header = serde_json::to_value(header).map_err(|error| error.to_string())?;
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    log_file::write(&mut file, &header, events).map_err(failed)
}

/// Reads what [`write()`] wrote.
pub fn read(path: &Path) -> Result<(Header, Vec<Event>), String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("{} is no event log: {error}; `run --log FILE` writes one, and so does every failure", path.display())
    };
    let file = File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let (header, events) = log_file::read(&mut BufReader::new(file)).map_err(|error| failed(&error))?;
    let header: Header = serde_json::from_value(header).map_err(|error| failed(&error))?;
    if header.format != FORMAT {
        return Err(failed(&format!("its format is {:?}, not {FORMAT:?}", header.format)));
    }
    Ok((header, events))
}

#[cfg(test)]
mod tests {
    use triune_history::{At, Body};

    use super::*;
    use crate::run::Kind;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/log.jsonl");
        let finding =
            Finding { invariant: "W7".into(), kind: Kind::Safety, at: At(5), text: "t".into(), events: vec![0] };
        let result = RunResult { hash: u64::MAX - 1, findings: vec![finding], ..RunResult::default() };
        let plan = serde_json::json!({"faults": [1, 2]});
        let header = Header::new("store", 7, &plan, RunOptions { record_messages: true, trace: false }, &result);
        let events = vec![Event { at: At(5), node: "n".into(), body: Body::Healed }];
        write(&path, &header, &events).unwrap();
        assert_eq!(read(&path).unwrap(), (header, events));
    }

    #[test]
    fn other_files_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let check = |text: &str, expect: &str| {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.contains(expect) && error.contains("run --log FILE"), "{error}");
        };
        check("", "the file is empty");
        check("{}\n", "missing field `format`");
        check("nonsense\n", "line 1");
        assert!(read(&folder.path().join("absent")).unwrap_err().starts_with("cannot read"));
    }
}
