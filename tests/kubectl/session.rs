//! Sessions with the real kubectl, compared with golden files.
//!
//! `session/*.test` are commands, each on a line that starts with `$ `, and what they print. They run in the order of
//! their names, against one fresh daemon. What differs from run to run is put into brackets by [`normalise`].
//! `tests/kubectl/run --update` writes what was found into the files.

#[path = "../support/mod.rs"]
mod support;

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use regex::Regex;
use support::Daemon;

/// One command and what it prints.
struct Step {
    /// Comments and empty lines before it.
    before: String,
    command: String,
    expected: String,
}

#[test]
fn kubectl_sees_what_it_expects() {
    let sessions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kubectl/session");
    let sessions = sessions.canonicalize().expect("the sessions");
    let kubectl = kubectl();
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let daemon = Daemon::start(scratch.path(), &[]);
    let update = std::env::var_os("TRIUNE_UPDATE").is_some();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&sessions).expect("the sessions").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    assert!(!files.is_empty());
    let mut differences = String::new();
    let mut commands = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a session");
        let mut steps = parse(&text);
        for step in &mut steps {
            commands += 1;
            let found = run(&step.command, &daemon, &kubectl, &sessions);
            if found != step.expected {
                let name = file.file_name().unwrap_or_default().display();
                let _ = write!(differences, "\n{name}: $ {}\n{}", step.command, difference(&step.expected, &found));
                step.expected = found;
            }
        }
        if update {
            std::fs::write(file, print(&steps)).expect("written");
        }
    }
    println!("{commands} commands");
    if !update {
        assert!(differences.is_empty(), "{differences}\nIf this is right: tests/kubectl/run --update");
    }
}

/// The folder of the kubectl that the tests are for.
fn kubectl() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tools/kubectl");
    let made = Command::new(script).output().expect("tests/tools/kubectl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = PathBuf::from(String::from_utf8_lossy(&made.stdout).trim());
    path.parent().expect("a folder").to_owned()
}

fn run(command: &str, daemon: &Daemon, kubectl: &Path, folder: &Path) -> String {
    let path = format!("{}:{}", kubectl.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("timeout")
        .args(["60", "sh", "-c", &format!("exec 2>&1\n{command}")])
        .current_dir(folder)
        .env("PATH", path)
        .env("KUBECONFIG", daemon.kubeconfig())
        .env("HOME", &daemon.data_dir)
        .env("LC_ALL", "C")
        .env("KUBE_EDITOR", "")
        .output()
        .expect("sh is there");
    let mut text = normalise(&String::from_utf8_lossy(&output.stdout));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    match output.status.code() {
        Some(0) => {}
        Some(code) => text.push_str(&format!("[exit {code}]\n")),
        None => text.push_str("[killed]\n"),
    }
    text
}

/// Takes out what differs from run to run: ages, times, uids, revisions, ports, drawn addresses, hashes of names.
fn normalise(text: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let rules = [
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
            (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
            (r#"(resourceVersion"?: ?)"\d+""#, r#"$1"<revision>""#),
            (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
            (r"\b10\.0\.0\.([2-9]|\d{2,3})\b", "<address>"),
            (r"X509SHA256=[0-9a-f]{64}", "X509SHA256=<hash>"),
            (r"kubectl-edit-\d+", "kubectl-edit-<number>"),
            (r"/tmp/[A-Z]+-\d+", "/tmp/<folder>"),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC", "<time>"),
            (r"\b\d{1,2}(s|m|m\d{1,2}s)( ago)?( |$)", "<age>$2$3"),
        ];
        rules
            .map(|(pattern, replacement)| (Regex::new(&format!("(?m){pattern}")).expect("a pattern"), replacement))
            .into()
    });
    static SPACES: LazyLock<Regex> = LazyLock::new(|| Regex::new(" {2,}").expect("a pattern"));
    let mut text = text.to_owned();
    for (rule, replacement) in RULES.iter() {
        text = rule.replace_all(&text, *replacement).into_owned();
    }
    let mut lines = String::new();
    for line in text.lines() {
        // Columns are as wide as what has been taken out.
        let table = ["AGE", "<age>", "<address>"].iter().any(|word| line.contains(word));
        let line = if table { SPACES.replace_all(line, "   ") } else { line.into() };
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut before = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { before: std::mem::take(&mut before), command: command.into(), expected: String::new() });
        } else if let Some(step) = steps.last_mut() {
            step.expected.push_str(line.strip_prefix("  ").unwrap_or(line));
            step.expected.push('\n');
        } else {
            before.push_str(line);
            before.push('\n');
        }
    }
    steps
}

/// What is printed is indented by two, so that no output can be taken for a command.
fn print(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        let _ = writeln!(text, "{}$ {}", step.before, step.command);
        for line in step.expected.lines() {
            let _ = writeln!(text, "{}", if line.is_empty() { String::new() } else { format!("  {line}") });
        }
    }
    text
}

/// Lines that are only on one side, in order.
fn difference(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let start = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let end = expected[start..].iter().rev().zip(found[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for (sign, lines) in [('-', &expected), ('+', &found)] {
        for line in &lines[start..lines.len() - end] {
            let _ = writeln!(text, "  {sign} {line}");
        }
    }
    text
}

#[test]
fn sessions_survive_a_round_trip() {
    let text = "# What it is about.\n$ a\n  one\n\n  $ two\n$ b\n";
    let steps = parse(text);
    assert_eq!(steps[0].expected, "one\n\n$ two\n");
    assert_eq!(print(&steps), text);
}

#[test]
fn what_differs_from_run_to_run_is_taken_out() {
    let check = |text: &str, expected: &str| assert_eq!(normalise(text), format!("{expected}\n"));
    check("web    1     12s", "web   1   <age>");
    check("web    1     1m5s", "web   1   <age>");
    check("a 10.0.0.1 b", "a 10.0.0.1 b");
    check("clusterIP: 10.0.0.217", "clusterIP: <address>");
    check("  resourceVersion: \"817\"", "  resourceVersion: \"<revision>\"");
    check("2026-11-24T08:00:00Z  x", "<time>  x");
    check("timeout=1s", "timeout=<age>");
    check("cpu: 100m", "cpu: 100m");
    check("Created on: 2026-11-24 09:46:32 +0000 UTC", "Created on: <time>");
}
