//! An event log as one HTML page: a lane for each node over simulated time.
//!
//! Keeps: the page is one file that asks no network for anything (its own policy forbids it to); what comes from a log
//! is text on it, never markup.

mod drawing;

use std::path::{Path, PathBuf};

use triune_history::Event;

use crate::{
    child::program_name,
    excerpt::excerpt,
    log::{self, Header},
};

use drawing::Drawing;

const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/page.css");
/// Findings that are told in words; all are marked in the lanes.
const FINDINGS_SHOWN_MAX: usize = 20;
const SCRIPT: &str = include_str!("report/page.js");

/// The command: draws a log; beside it, if no place is given.
pub fn command(file: &Path, output: Option<&Path>) -> Result<(), String> {
    let (header, events) = log::read(file)?;
    let output = output.map_or_else(|| file.with_extension("html"), PathBuf::from);
    let page = page(&header, &events, &format!("{} replay {}", program_name(), file.display()))?;
    std::fs::write(&output, page).map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    println!("{}: {} events", output.display(), events.len());
    Ok(())
}

/// The page; `replay` is the command that shows the run again.
pub fn page(header: &Header, events: &[Event], replay: &str) -> Result<String, String> {
    let drawing = Drawing::new(header, events);
    let data = serde_json::to_string(&drawing).map_err(|error| error.to_string())?;
    let title = format!("{} seed {}", header.scenario, header.seed);
    let parts = [
        ("title", escape(&title)),
        ("style", STYLE.to_owned()),
        ("verdict", verdict(header)),
        ("class", if header.findings.is_empty() && header.panicked.is_none() { "passed" } else { "failed" }.into()),
        ("facts", escape(&format!("{} events, hash {}", events.len(), header.hash))),
        ("replay", escape(replay)),
        ("findings", findings(header, events)),
        ("data", inert(&data)),
        ("script", SCRIPT.to_owned()),
    ];
    Ok(fill(PAGE, &parts))
}

fn verdict(header: &Header) -> String {
    escape(header.class.as_str())
}

fn findings(header: &Header, events: &[Event]) -> String {
    let mut html = String::new();
    if let Some(message) = &header.panicked {
        html.push_str(&format!("<div class=\"finding\"><p><b>panic</b> {}</p></div>", escape(message)));
    }
    for (index, finding) in header.findings.iter().take(FINDINGS_SHOWN_MAX).enumerate() {
        let lines: Vec<String> = excerpt(events, finding).iter().map(|line| excerpt_line(line)).collect();
        html.push_str(&format!(
            "<div class=\"finding\"><p><b>{}</b> <small>at {}</small> {} <button data-finding=\"{index}\">show</button>\
             </p><details><summary>events that show it</summary><pre>{}</pre></details></div>",
            escape(&finding.invariant),
            finding.at,
            escape(&finding.text),
            lines.join("\n"),
        ));
    }
    if let Some(more) = header.findings.len().checked_sub(FINDINGS_SHOWN_MAX).filter(|more| *more > 0) {
        html.push_str(&format!("<div class=\"finding\"><p>and {more} more, in the log</p></div>"));
    }
    if html.is_empty() { html } else { format!("<section class=\"findings\">{html}</section>") }
}

fn excerpt_line(line: &str) -> String {
    if line.starts_with('>') { format!("<b>{}</b>", escape(line)) } else { escape(line) }
}

/// Puts the parts where the page has `{{name}}`, in one pass: what is put in is not looked at again.
fn fill(page: &str, parts: &[(&str, String)]) -> String {
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        match parts.iter().find(|(key, _)| *key == name) {
            Some((_, text)) => out.push_str(text),
            None => out.push_str(&format!("{{{{{name}}}}}")),
        }
        rest = after;
    }
    out + rest
}

/// Text in HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// JSON in a script element: nothing in it ends the element.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use triune_history::{At, Body};

    use super::*;
    use crate::run::{Finding, Kind, RunOptions, RunResult};

    const EVIL: &str = "</script><script>alert(\"x\")</script>{{style}} & <b>";

    #[test]
    fn what_comes_from_a_log_is_text() {
        let events = vec![Event { at: At(5), node: EVIL.into(), body: Body::Note(EVIL.into()) }];
        let finding =
            Finding { invariant: EVIL.into(), kind: Kind::Safety, at: At(5), text: EVIL.into(), events: vec![0] };
        let panicked = Some(EVIL.to_owned());
        let result = RunResult { findings: vec![finding], panicked, ..RunResult::default() };
        let header = Header::new(EVIL, 1, &Value::Null, RunOptions::default(), &result);
        let page = page(&header, &events, EVIL).unwrap();
        assert_eq!((page.matches("<script").count(), page.matches("</script>").count()), (2, 2));
        assert!(!page.contains("<b>\"") && !page.contains("alert(\"x\")"));
        assert_eq!(page.matches(STYLE).count(), 1);
        // What the script reads is what was put in.
        let json = page.split("id=\"history\">").nth(1).unwrap().split("</script>").next().unwrap();
        let data: Value = serde_json::from_str(json).unwrap();
        assert_eq!(data["lanes"][0]["node"], EVIL);
        assert_eq!(data["events"][0]["event"]["body"]["value"], EVIL);
    }

    #[test]
    fn every_part_of_the_page_is_filled() {
        let header = Header::new("store", 1, &Value::Null, RunOptions::default(), &RunResult::default());
        let page = page(&header, &[], "replay").unwrap();
        assert!(page.contains(">passed<"), "{page}");
        assert!(!page.contains("{{"), "{page}");
        assert_eq!(fill("a{{x}}b{{y}}c", &[("x", "{{y}}".into()), ("y", "1".into())]), "a{{y}}b1c");
    }
}
