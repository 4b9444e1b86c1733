//! A mutant's file: a header for people and the runner, then a diff as git writes it.
//!
//! ```text
//! Bug: B62
//! Expect: W7, W12
//! About: the oldest revision that a watch may start from is one too low
//! Equivalent: no
//! Scenario: store
//! ```
//! `Bug`, `Expect` and `About` are required (of an equivalent one, `About` and `Equivalent: yes`); a line may start with
//! `#`.

use std::path::{Path, PathBuf};

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    /// Name of the file, without its end.
    pub(super) name: String,
    /// Number in the corpus of bugs.
    pub(super) bug: String,
    /// Invariants, one of which must fire.
    pub(super) expect: Vec<String>,
    /// One line.
    pub(super) about: String,
    /// Whether it changes nothing that can be seen.
    pub(super) equivalent: bool,
    /// The scenario that is run; all in turn if there is none.
    pub(super) scenario: Option<String>,
    /// The file.
    pub(super) file: PathBuf,
}

/// All mutants whose name contains `only`, by name.
pub(super) fn read_all(folder: &Path, only: Option<&str>) -> Result<Vec<Patch>, String> {
    let failed = |error: std::io::Error| format!("cannot read the mutants in {}: {error}", folder.display());
    let mut patches = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_none_or(|end| end != "patch") {
            continue;
        }
        let text = std::fs::read_to_string(&file).map_err(failed)?;
        patches.push(parse(&file, &text).map_err(|error| format!("{}: {error}", file.display()))?);
    }
    patches.sort_by(|one, other| one.name.cmp(&other.name));
    patches.retain(|patch| only.is_none_or(|only| patch.name.contains(only)));
    if patches.is_empty() {
        let named = only.map(|only| format!(" whose name contains {only:?}")).unwrap_or_default();
        return Err(format!("there is no *.patch in {}{named}", folder.display()));
    }
    Ok(patches)
}

fn parse(file: &Path, text: &str) -> Result<Patch, String> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut patch = Patch {
        name,
        bug: String::new(),
        expect: vec![],
        about: String::new(),
        equivalent: false,
        scenario: None,
        file: file.into(),
    };
    for line in text.lines().take_while(|line| !line.starts_with("diff ") && !line.starts_with("--- ")) {
        let line = line.trim_start_matches('#').trim();
        if line.is_empty() {
            continue;
        }
        let (key, value) = line.split_once(':').ok_or_else(|| format!("header line {line:?} is not `Key: value`"))?;
        let value = value.trim();
        match key.trim() {
            "Bug" => patch.bug = value.into(),
            "Expect" => patch.expect = value.split(',').map(|name| name.trim().to_owned()).collect(),
            "About" => patch.about = value.into(),
            "Equivalent" if value == "yes" => patch.equivalent = true,
            "Equivalent" if value == "no" => patch.equivalent = false,
            "Equivalent" => return Err(format!("Equivalent is {value:?}; it takes yes or no")),
            "Scenario" => patch.scenario = Some(value.into()),
            other => return Err(format!("header has {other:?}; it takes Bug, Expect, About, Equivalent, Scenario")),
        }
    }
    let missing = [
        ("About", patch.about.is_empty()),
        ("Bug", patch.bug.is_empty() && !patch.equivalent),
        ("Expect", patch.expect.iter().all(String::is_empty) && !patch.equivalent),
    ];
    match missing.iter().find(|(_, missing)| *missing) {
        Some((key, _)) => Err(format!("header lacks {key:?}")),
        None => Ok(patch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/x b/x\nBug: in the diff\n";

    fn parse(header: &str) -> Result<Patch, String> {
        super::parse(Path::new("sim/mutants/b62-oldest.patch"), &format!("{header}\n{DIFF}"))
    }

    #[test]
    fn headers_are_read() {
        let patch = parse("# Bug: B62\nExpect: W7, W12\n\nAbout: a: b\nScenario: store").unwrap();
        assert_eq!((patch.name.as_str(), patch.bug.as_str(), patch.about.as_str()), ("b62-oldest", "B62", "a: b"));
        assert_eq!((patch.expect, patch.equivalent), (vec!["W7".to_owned(), "W12".to_owned()], false));
        assert_eq!(patch.scenario.as_deref(), Some("store"));
        assert!(parse("About: a\nEquivalent: yes").unwrap().equivalent);
    }

    #[test]
    fn wrong_headers_are_refused_in_words() {
        let check = |header: &str, expect: &str| {
            let error = parse(header).unwrap_err();
            assert!(error.contains(expect), "{error}");
        };
        check("Bug: B62\nAbout: a", "lacks \"Expect\"");
        check("Expect: W7\nAbout: a", "lacks \"Bug\"");
        check("Bug: B62\nExpect: W7", "lacks \"About\"");
        check("Bug: B62\nExpect: W7\nAbout: a\nEquivalent: maybe", "takes yes or no");
        check("Bugs: B62", "it takes Bug, Expect");
        check("just words", "is not `Key: value`");
    }
}
