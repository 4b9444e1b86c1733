//! The command line over scenarios that need no simulation: exit codes, what a failure prints, replay, shrinking, probes.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

struct Said {
    code: Option<i32>,
    text: String,
}

/// Runs the toy in a scratch folder, where its failures go.
fn toy(folder: &Path, arguments: &str) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_triune-explorer-toy"))
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("the toy starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Said { code: output.status.code(), text }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a scratch folder")
}

/// The exit code, and parts of what is printed.
fn check(arguments: &str, code: i32, parts: &[&str]) {
    let folder = folder();
    check_in(folder.path(), arguments, code, parts);
}

fn check_in(folder: &Path, arguments: &str, code: i32, parts: &[&str]) {
    let said = toy(folder, arguments);
    assert_eq!(said.code, Some(code), "{arguments}: {}", said.text);
    for part in parts {
        assert!(said.text.contains(part), "{arguments}: {part:?} is not in\n{}", said.text);
    }
}

#[test]
fn each_way_to_end_has_its_exit_code() {
    check("run --scenario quiet --seed 1", 0, &["seed 1 of scenario quiet passed", "hash "]);
    check("run --scenario lossy --seed 1", 0, &["passed"]);
    check("run --scenario lossy --seed 3", 10, &["seed 3 of scenario lossy broke a safety invariant", "W7 at "]);
    check("run --scenario late --seed 1", 11, &["broke a liveness invariant", "L1 at "]);
    check("run --scenario dice --seed 1 --twice", 12, &["ran differently", "they part at event", "process "]);
    check("run --scenario quiet --seed 1 --twice", 0, &["passed"]);
    check("run --scenario panics --seed 1", 13, &["panicked", "a toy is broken", "toy/main.rs:"]);
    check("run --scenario catches --seed 1", 13, &["panicked", "a toy is broken inside", "toy/main.rs:", " events"]);
}

#[test]
fn children_that_panic_die_or_hang_are_failures_of_their_seed() {
    let last = "0 passed, 2 failed\n";
    check("explore --scenario panics --seeds 5..7", 13, &["seed 5 of", "seed 6 of", "a toy is broken", last]);
    let died = "the process ended without an answer (signal: 6";
    check("explore --scenario dies --seeds 5..7", 13, &["seed 5 of", "seed 6 of", died, last]);
    let hung = "no answer within 1 s of real time";
    check("explore --scenario hangs --seeds 5..7 --hang-after 1", 13, &["seed 5 of", "seed 6 of", hung, last]);
}

#[test]
fn an_exploration_counts_and_ends_with_the_lowest_failure() {
    check("explore --scenario quiet --seeds 0..10", 0, &["10 passed, 0 failed", "seeds in "]);
    let parts = ["seed 0 of", "seed 3 of", "replay: ", "6 passed, 3 failed"];
    check("explore --scenario lossy --seeds 0..9 --jobs 3", 10, &parts);
    // Seed 1 is of lossy and passes, 2 of late and fails, 3 of dice: all in turn.
    check("explore --seeds 0..4", 11, &["seed 2 of scenario late", "3 passed, 1 failed"]);
    check("explore --scenario dice --seeds 0..2 --twice", 12, &["seed 1 of scenario dice ran differently"]);
    check("explore --scenario quiet --seeds 0..9 --time-budget 0", 0, &["0 of 9 seeds were run", "0 passed, 0 failed"]);
}

#[test]
fn probes_are_counted_and_missed() {
    let missed = "probe never reached: never there";
    check("explore --scenario quiet --seeds 0..8", 0, &["multiple of seven        2          2", missed]);
    check("explore --scenario quiet --seeds 1..3", 0, &["probe never reached: multiple of seven", missed]);
}

#[test]
fn a_failure_says_how_to_see_it_again() {
    let folder = folder();
    let said = toy(folder.path(), "run --scenario lossy --seed 3");
    let log = "sim-failures/lossy-3.jsonl";
    assert!(said.text.contains(&format!("log:    {log}\n")), "{}", said.text);
    assert!(folder.path().join(log).is_file());
    // The excerpt names the commit and its neighbours on the same key and stream.
    let marked = |line: &&str| line.trim_start().starts_with('>');
    assert!(said.text.lines().filter(marked).any(|line| line.contains("commit") && line.contains("configmaps/n/b")));
    assert!(said.text.contains("watch configmaps/n after 1"));
    let first = toy(folder.path(), &format!("replay {log}"));
    assert_eq!(first.code, Some(10), "{}", first.text);
    assert!(first.text.contains("as in the log") && first.text.contains("W7 at "), "{}", first.text);
    // Another history under the same header is told apart.
    let text = std::fs::read_to_string(folder.path().join(log)).expect("it was written");
    let header = text.lines().next().expect("it has a header");
    let hash = header.split("\"hash\":\"").nth(1).and_then(|rest| rest.get(..16)).expect("it has a hash");
    let other = text.replace(hash, "0123456789abcdef").replacen("\"at\":50000000", "\"at\":50000001", 1);
    std::fs::write(folder.path().join("other.jsonl"), other).expect("it can be written");
    check_in(folder.path(), "replay other.jsonl", 12, &["but 0123456789abcdef in the log", "they part at event 1"]);
}

#[test]
fn shrinking_gets_to_the_minimum() {
    let folder = folder();
    let parts = ["plan 24 -> 2 values", "nothing smaller breaks it", "W7 at ", "sim-failures/lossy-3.small.jsonl"];
    check_in(folder.path(), "run --scenario lossy --seed 3 --shrink", 10, &parts);
    check_in(folder.path(), "shrink sim-failures/lossy-3.jsonl", 10, &parts);
    check_in(folder.path(), "replay sim-failures/lossy-3.small.jsonl", 10, &["as in the log", "W7 at "]);
    let text = std::fs::read_to_string(folder.path().join("sim-failures/lossy-3.small.jsonl")).expect("it was written");
    assert!(text.contains(r#""plan":{"faults":["lose"],"writes":["b"]}"#), "{text}");
    check_in(folder.path(), "shrink sim-failures/lossy-3.jsonl --tries 2", 10, &["stopped at the bound"]);
    toy(folder.path(), "run --scenario quiet --seed 1 --log passed.jsonl");
    check_in(folder.path(), "shrink passed.jsonl", 1, &["only a failure can be made smaller"]);
}

#[test]
fn messages_are_recorded_where_asked() {
    let folder = folder();
    check_in(folder.path(), "run --scenario lossy --seed 3 --trace trace", 10, &["--messages"]);
    let trace = std::fs::read_to_string(folder.path().join("trace")).expect("it was written");
    assert!(trace.contains("sends 100 bytes to api-1") && trace.lines().count() > 60, "{trace}");
    check_in(folder.path(), "replay sim-failures/lossy-3.jsonl", 10, &["as in the log"]);
}

#[test]
fn wrong_arguments_are_refused_in_words() {
    check("run --seed 1 --scenario other", 1, &["there is no scenario \"other\"; there are: quiet, lossy"]);
    check("run --seed x", 2, &["--seed"]);
    check("explore --seeds 9..1", 2, &["holds no seed"]);
    check("explore --seeds many", 2, &["give A..B, such as 0..1000"]);
    check("replay absent.jsonl", 1, &["cannot read absent.jsonl"]);
    check("run --seed 1 --plan absent.json", 1, &["absent.json is no plan"]);
    check("list", 0, &["quiet    passes;", "hangs    never answers"]);
}

#[test]
fn a_report_is_one_page() {
    let folder = folder();
    toy(folder.path(), "run --scenario lossy --seed 3 --messages");
    check_in(folder.path(), "report sim-failures/lossy-3.jsonl", 0, &["sim-failures/lossy-3.html"]);
    let page = std::fs::read_to_string(folder.path().join("sim-failures/lossy-3.html")).expect("it was written");
    for node in ["store", "api-1", "client-1", "client-2", "faults"] {
        assert!(page.contains(node), "{node} has no lane");
    }
    // What the finding says is shown as text, never as markup.
    assert!(page.contains("never told of the commit") && page.contains("&lt;&amp;&gt;") && !page.contains("<&>"));
    assert!(
        !page.contains("http://") && !page.contains("https://") && !page.contains("src=") && !page.contains("@import")
    );
    for part in ["<!doctype html>", "</html>", "<canvas", "triune-explorer-toy replay"] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<script").count(), page.matches("</script>").count());
}

/// A program that answers as the simulation does: `answer` is one number in its source, which patches change.
fn repository(patches: &[(&str, &str, u32)]) -> (tempfile::TempDir, PathBuf) {
    let scratch = folder();
    let root = scratch.path().to_owned();
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
        std::fs::write(path, text).expect("it can be written");
    };
    write("Cargo.toml", "[package]\nname = \"triune-sim\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n");
    write("src/main.rs", MUTABLE);
    write(".gitignore", "target\n");
    for (name, header, answer) in patches {
        let diff = "diff --git a/src/main.rs b/src/main.rs\n--- a/src/main.rs\n+++ b/src/main.rs\n@@ -1,2 +1,2 @@\n";
        let text =
            format!("{header}\n{diff}-const ANSWER: u64 = 1000;\n+const ANSWER: u64 = {answer};\n fn main() {{\n");
        write(&format!("sim/mutants/{name}.patch"), &text);
    }
    for arguments in [&["init", "--quiet"][..], &["add", "."]] {
        let done = Command::new("git").args(arguments).current_dir(&root).status().expect("git starts");
        assert!(done.success());
    }
    (scratch, root)
}

/// Breaks W7 from seed ANSWER on.
const MUTABLE: &str = r##"const ANSWER: u64 = 1000;
fn main() {
    let seed = std::env::args().find_map(|argument| argument.strip_prefix("--seed=")?.parse::<u64>().ok()).unwrap();
    let finding = r#"{"invariant":"W7","kind":"safety","at":0,"text":"t","events":[]}"#;
    let (class, finding) = if seed >= ANSWER { ("safety", finding) } else { ("passed", "") };
    println!(
        r#"{{"scenario":"quiet","seed":{seed},"class":"{class}","hash":"0","simulated_ms":0,"cpu_ms":0,"events":0,"findings":[{finding}],"probes":{{}},"statistics":{{}},"log":null,"text":"said so"}}"#
    );
}
"##;

#[test]
fn mutants_are_found_and_harmless_ones_are_not() {
    let bug = "Bug: B62\nExpect: W7, W12\nAbout: a bug\nScenario: quiet";
    let patches = [("b62-a", bug, 0), ("b62-b", bug, 4), ("same", "About: no bug\nEquivalent: yes", 1001)];
    let (_scratch, root) = repository(&patches);
    let said = toy(&root, "mutants --seeds 10 --jobs 2");
    assert_eq!(said.code, Some(0), "{}", said.text);
    let rows: Vec<Vec<&str>> = said.text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["b62-a", "B62", "1", "W7", "yes"]), "{}", said.text);
    assert!(rows.contains(&vec!["b62-b", "B62", "5", "W7", "yes"]), "{}", said.text);
    assert!(rows.contains(&vec!["same", "none", ">", "10", "nothing", "yes"]), "{}", said.text);
    assert!(said.text.contains("2 of 2 bugs found, median 1 seeds; 1 of 1 equivalent mutants unreported"));
    // The sources are as they were, and so is their copy.
    for main in ["src/main.rs", "target/mutants/tree/src/main.rs"] {
        assert_eq!(std::fs::read_to_string(root.join(main)).expect("it is there"), MUTABLE);
    }
}

#[test]
fn mutants_that_surprise_are_failures() {
    let bug = |expect| format!("Bug: B1\nExpect: {expect}\nAbout: a bug");
    let header = bug("W7");
    let other = bug("S5");
    let same = "About: no bug\nEquivalent: yes".to_owned();
    let patches = [("missed", header.as_str(), 10), ("other", &other, 0), ("same", &same, 3)];
    let (_scratch, root) = repository(&patches);
    let stale = root.join("sim/mutants/stale.patch");
    let text = std::fs::read_to_string(root.join("sim/mutants/other.patch")).expect("it is there");
    std::fs::write(&stale, text.replace("-const ANSWER: u64 = 1000", "-const ANSWER: u64 = 999")).expect("it can be");
    std::fs::write(root.join("sim/mutants/wild.patch"), text.replace("u64 = 0;", "u64 = zero;")).expect("it can be");
    let said = toy(&root, "mutants --seeds 5");
    assert_eq!(said.code, Some(1), "{}", said.text);
    for part in [
        "missed (a bug): was not found by 5 seeds",
        "was expected to break S5, but broke W7",
        "seed 3 was reported",
        "stale (a bug): the patch does not apply",
        "wild (a bug): it does not compile",
        "1 of 4 bugs found",
        "0 passed, 5 failed",
    ] {
        assert!(said.text.contains(part), "{part:?} is not in\n{}", said.text);
    }
    let said = toy(&root, "mutants --check");
    assert!(said.code == Some(1) && said.text.contains("stale: the patch does not apply"), "{}", said.text);
    assert!(said.text.contains("4 passed, 1 failed"), "{}", said.text);
    let said = toy(&root, "mutants --only nothing-like-it");
    assert!(said.code == Some(1) && said.text.contains("whose name contains \"nothing-like-it\""), "{}", said.text);
}
