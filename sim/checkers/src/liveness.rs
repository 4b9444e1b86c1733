//! What must come about once faults have ended: within a bound after `Healed`, or after the last step that starts it.
//! A history without `Healed`, or that ends before all has settled, is not judged, and counted so.
//!
//! - L1: informers reach the newest state, and so do their handlers. L13: also after an error of their watch.
//! - L8: each request that does not last is answered in time. That a connection breaks at once is no silence: it may have
//!   been idle since before a server went; twice in a row is.
//! - L9: a server that starts becomes ready. L10: one that is asked to stop ends.
//! - L11: a watch with bookmarks gets one now and then.
//! - L12: a consistent read of a resource without changes ends.
//! - L14: a terminating object that nothing holds goes.
//! - L20: what is counted at the end is back within its bound.

use std::{collections::BTreeMap, time::Duration};

use triune_history::{At, Body, NodeChange, Operation, Outcome, StreamEnd, StreamItem, Version, WatchFrom};

use crate::{
    Checker, Findings,
    index::{Index, Record, operation_resource},
    life::{asks_ready, changes},
    outcomes::is_own_write,
    view::Selection,
    watches::end_of_node,
};

/// See the module.
pub const CHECKER: Checker = Checker {
    name: "liveness",
    invariants: &["L1", "L8", "L9", "L10", "L11", "L12", "L13", "L14", "L20"],
    about: "after the faults everything comes about in time",
    run,
};

fn run(index: &Index<'_>, findings: &mut Findings) {
    check_gauges(index, findings);
    let (Some(healed), Some(settled)) = (index.healed, index.settled()) else {
        return findings.unchecked("liveness: not healed, or the history ends too soon");
    };
    let times = Times { healed: index.at(healed), settled, end: index.end() };
    check_informers(index, &times, findings);
    let mut broken = Broken::new();
    for record in &index.operations {
        match record.operation {
            Operation::Watch { .. } => check_bookmarks(index, record, &times, findings),
            _ => check_answered(index, record, &times, &mut broken, findings),
        }
        check_idle_read(index, record, &times, findings);
    }
    for server in servers(index) {
        check_start_and_stop(index, server, &times, findings);
    }
    check_terminating(index, &times, findings);
}

/// The times that bounds are counted from.
struct Times {
    healed: At,
    settled: At,
    end: At,
}

fn plus(at: At, time: Duration) -> At {
    At(at.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
}

/// L20.
fn check_gauges(index: &Index<'_>, findings: &mut Findings) {
    for (number, event) in index.events.iter().enumerate() {
        if let Body::Gauge { name, value, bound } = &event.body {
            findings.checked("gauges");
            if value > bound {
                let text = format!("{name} of {} is {value} at the end, and should be at most {bound}", event.node);
                findings.liveness(index, "L20", &[number], text);
            }
        }
    }
}

/// L1 and L13.
fn check_informers(index: &Index<'_>, times: &Times, findings: &mut Findings) {
    let mut last = BTreeMap::new();
    for (number, event) in index.events.iter().enumerate() {
        if let Body::Informer { informer, resource, namespace, labels, revision, .. } = &event.body {
            let selection = Selection { resource, namespace, labels };
            last.insert((event.node.as_str(), *informer), (number, selection, *revision));
        }
    }
    for ((node, informer), (number, selection, revision)) in last {
        // One that stops in good order shows its store a last time.
        let until = match end_of_node(index, node, number) {
            None => times.end,
            Some(NodeChange::Stopped) => index.at(number),
            Some(_) => continue,
        };
        findings.checked("informers at the end");
        let view = index.view(selection);
        let Some(missed) = view.changes.get(view.position(revision)) else { continue };
        let version = index.version(missed.version);
        let due = plus(index.at(version.event).max(times.healed), index.options.delivery).max(times.settled);
        let name = index.key(version.key).key;
        let handled = index.events[version.event..].iter().any(|event| {
            event.node == node
                && matches!(&event.body, Body::Handled { informer: of, key, .. } if *of == informer && key == name)
        });
        if due >= until || handled {
            continue;
        }
        if failed_lately(index, node, selection, until) {
            findings.unchecked("informers that pause after an error");
            continue;
        }
        // The informers of a node are not told apart in its requests.
        let end = index.events.len();
        let of_node = index.operations.iter().filter(|record| record.client == node);
        if of_node.into_iter().any(|record| !is_up(index, record.server, end, end)) {
            findings.unchecked("informers whose server is down");
            continue;
        }
        let last = last_read(index, node, selection.resource);
        let failed = last.is_some_and(|record| read_failed(index, record));
        let after = if failed { ", after an error of its watch" } else { "" };
        let text = format!(
            "the informer of {} of {node} is at {revision} and never sees {name} at {}{after}",
            selection.resource, missed.revision
        );
        findings.liveness(index, if failed { "L13" } else { "L1" }, &[version.event, number], text);
    }
}

/// Whether a list or watch of a selection failed so shortly before that who asked may still pause.
fn failed_lately(index: &Index<'_>, node: &str, selection: Selection<'_>, until: At) -> bool {
    let is_its = |record: &&Record<'_>| match record.operation {
        Operation::List { resource, namespace, labels, .. } | Operation::Watch { resource, namespace, labels, .. } => {
            record.client == node
                && *resource == selection.resource
                && *namespace == selection.namespace
                && *labels == selection.labels
        }
        _ => false,
    };
    index.operations.iter().filter(is_its).any(|record| {
        let end = record.ended.map(|(event, _)| event).or(record.answered.map(|(event, _)| event));
        read_failed(index, record) && end.is_some_and(|end| plus(index.at(end), index.options.retry_pause) >= until)
    })
}

/// The last list or watch of a node.
fn last_read<'i, 'a>(index: &'i Index<'a>, node: &str, resource: &str) -> Option<&'i Record<'a>> {
    let reads = |record: &&Record<'_>| {
        record.client == node
            && matches!(record.operation, Operation::List { .. } | Operation::Watch { .. })
            && operation_resource(record.operation) == Some(resource)
    };
    index.operations.iter().rev().find(reads)
}

/// Whether a list or watch ended with an error.
fn read_failed(index: &Index<'_>, last: &Record<'_>) -> bool {
    let error = last
        .items
        .last()
        .is_some_and(|event| matches!(&index.events[*event].body, Body::Stream { item: StreamItem::Error { .. }, .. }));
    error || last.success().is_none() || last.ended.is_some_and(|(_, end)| end == StreamEnd::Broken)
}

/// Whether the last request of a client to a server found its connection broken.
type Broken<'a> = BTreeMap<(&'a str, &'a str), bool>;

/// Whether a client waited no longer, and not that its connection broke.
fn gave_up(why: &str) -> bool {
    why.starts_with("no answer in time")
}

/// L8.
fn check_answered<'a>(
    index: &Index<'a>,
    record: &Record<'a>,
    times: &Times,
    broken: &mut Broken<'a>,
    findings: &mut Findings,
) {
    let timeout = index.options.request_timeout;
    let invoked = index.at(record.invoked);
    let due = plus(invoked.max(times.healed), timeout);
    let what = || format!("{:?} asked {} and", record.client, record.server);
    let Some((answered, outcome)) = record.answered else {
        if due < times.end && end_of_node(index, record.client, record.invoked).is_none() {
            let text = format!("{} was told nothing for {} s", what(), timeout.as_secs());
            findings.liveness(index, "L8", &[record.invoked], text);
        }
        return;
    };
    if invoked < times.settled {
        return;
    }
    findings.checked("requests after the faults");
    let breaks = matches!(outcome, Outcome::Unknown(why) if !gave_up(why))
        && index.at(answered) < plus(invoked, index.options.latency);
    let again = broken.insert((record.client, record.server), breaks) == Some(true);
    let why = match outcome {
        Outcome::Answered(_) if index.at(answered) > due => "was answered too late",
        Outcome::Answered(_) => return,
        Outcome::Unknown(why) if gave_up(why) && index.at(answered) < plus(invoked, index.options.patience) => {
            return findings.unchecked("requests that clients gave up early");
        }
        _ if !is_up(index, record.server, record.invoked, answered) => return,
        Outcome::Unknown(_) if breaks && !again => return,
        Outcome::Unknown(_) => "was not answered",
        Outcome::NotSent(_) => "could not connect",
    };
    findings.liveness(index, "L8", &[record.invoked, answered], format!("{} {why}", what()));
}

/// Whether a server runs from one event to another and a little before; one whose life nobody recorded does.
fn is_up(index: &Index<'_>, server: &str, from: usize, to: usize) -> bool {
    let mut up = true;
    for (event, change) in changes(index, server) {
        let now = matches!(change, NodeChange::Started | NodeChange::Resumed);
        let soon_before = plus(index.at(*event), index.options.latency) >= index.at(from);
        if *event > to {
            break;
        }
        if !now && (*event > from || soon_before) {
            return false;
        }
        if now && *event > from {
            return false;
        }
        up = now;
    }
    up
}

/// L11.
fn check_bookmarks(index: &Index<'_>, record: &Record<'_>, times: &Times, findings: &mut Findings) {
    let Operation::Watch { bookmarks: true, resource, from, .. } = record.operation else { return };
    let newest = index.versions.iter().map(|version| version.revision).max().unwrap_or(0);
    if matches!(from, WatchFrom::After(revision) if *revision > newest) {
        return findings.unchecked("watches with bookmarks that start in the future");
    }
    let Some((opened, _)) = record.success() else { return };
    if record.ended.is_none() && end_of_node(index, record.client, record.invoked).is_some() {
        return;
    }
    let mut last = (opened, index.at(opened).max(times.healed));
    let is_bookmark =
        |event: &usize| matches!(&index.events[*event].body, Body::Stream { item: StreamItem::Bookmark { .. }, .. });
    let end = record.ended.map(|(event, _)| event);
    let marks = record.items.iter().copied().filter(is_bookmark).chain(end);
    let last_event = index.events.len().saturating_sub(1);
    for event in marks.chain(end.is_none().then_some(last_event)) {
        findings.checked("times between bookmarks");
        let at = index.at(event);
        if at > plus(last.1, index.options.bookmark) && is_read_slowly(index, record, last.0, event) {
            return findings.unchecked("watches with bookmarks that are read slowly");
        }
        if at > plus(last.1, index.options.bookmark) {
            let seconds = (at.0 - last.1.0) / 1_000_000_000;
            let text = format!("a watch of {resource} has no bookmark for {seconds} s");
            return findings.liveness(index, "L11", &[record.invoked, last.0, event], text);
        }
        last = (event, at.max(times.healed));
    }
}

/// Whether a stream delivered, between two events, something much later than it was committed.
fn is_read_slowly(index: &Index<'_>, record: &Record<'_>, from: usize, to: usize) -> bool {
    let mut between = record.items.iter().filter(|item| (from..=to).contains(*item));
    between.any(|item| {
        let version = index.seen(*item).first().copied().flatten();
        version.is_some_and(|version| {
            let committed = index.at(index.version(version).event);
            plus(committed, index.options.delivery) < index.at(*item)
        })
    })
}

/// L12.
fn check_idle_read(index: &Index<'_>, record: &Record<'_>, times: &Times, findings: &mut Findings) {
    let consistent = matches!(
        record.operation,
        Operation::Get { .. }
            | Operation::List { version: Version::Latest, continues: None, .. }
            | Operation::Watch { from: WatchFrom::StateLatest | WatchFrom::WatchList(0), .. }
    );
    let Some((answered, answer)) = record.answer() else { return };
    if !consistent || index.at(record.invoked) < times.settled {
        return;
    }
    let Some(resource) = operation_resource(record.operation) else { return };
    let versions = index.resources.get(resource).map_or(&[][..], |resource| &resource.versions);
    let first = versions.partition_point(|(_, version)| index.version(*version).event < record.invoked);
    let idle = versions.get(first).is_none_or(|(_, version)| index.version(*version).event > answered);
    if !idle || !is_up(index, record.server, record.invoked, answered) {
        return;
    }
    findings.checked("reads of idle resources");
    let late = index.at(answered) > plus(index.at(record.invoked), index.options.idle_read);
    if late || answer.code == 504 {
        let how = if late { "takes too long".to_owned() } else { "is answered 504".to_owned() };
        let text = format!("a consistent read of {resource}, which do not change, {how}");
        findings.liveness(index, "L12", &[record.invoked, answered], text);
    }
}

fn servers<'a>(index: &'a Index<'_>) -> Vec<&'a str> {
    if !index.options.servers.is_empty() {
        return index.options.servers.iter().map(String::as_str).collect();
    }
    let asked: std::collections::BTreeSet<&str> = index.operations.iter().map(|record| record.server).collect();
    asked.into_iter().collect()
}

/// L9 and L10.
fn check_start_and_stop(index: &Index<'_>, server: &str, times: &Times, findings: &mut Findings) {
    let life: Vec<(usize, NodeChange)> = changes(index, server)
        .iter()
        .copied()
        .filter(|(_, change)| !matches!(change, NodeChange::Paused | NodeChange::Resumed))
        .collect();
    for (place, (event, change)) in life.iter().enumerate() {
        let since = index.at(*event).max(times.healed);
        let next = life.get(place + 1).map(|(event, _)| *event);
        match change {
            NodeChange::Started => {
                let due = plus(since, index.options.start);
                let until = next.map_or(times.end, |next| index.at(next));
                if due < until {
                    check_becomes_ready(index, server, *event, since, due, findings);
                }
            }
            NodeChange::AskedToStop => {
                findings.checked("stops");
                let due = plus(since, index.options.stop);
                let ended = next.map(|next| index.at(next));
                if ended.unwrap_or(times.end) > due {
                    let text = format!("{server} was asked to stop and goes on for {} s", index.options.stop.as_secs());
                    findings.liveness(index, "L10", &[*event], text);
                }
            }
            _ => {}
        }
    }
}

/// An answer from before `since`, when there were faults, counts only if it says ready.
fn check_becomes_ready(index: &Index<'_>, server: &str, started: usize, since: At, due: At, findings: &mut Findings) {
    let mut asked = index.operations.iter().filter(|record| record.server == server && asks_ready(record));
    let within = |record: &&Record<'_>| record.invoked > started && index.at(record.invoked) <= due;
    let mut last = None;
    let is_ready = asked.by_ref().filter(within).any(|record| {
        if index.at(record.invoked) >= since {
            last = Some(record.invoked);
        }
        record.success().is_some_and(|(answered, _)| index.at(answered) <= due)
    });
    match last {
        _ if is_ready => findings.checked("starts"),
        None => findings.unchecked("starts: nobody asked whether it was ready"),
        Some(last) => {
            let text = format!("{server} starts and is not ready in time");
            findings.liveness(index, "L9", &[started, last], text);
        }
    }
}

/// L14.
fn check_terminating(index: &Index<'_>, times: &Times, findings: &mut Findings) {
    for history in &index.keys {
        let Some(version) = history.versions.last().map(|last| index.version(*last)) else { continue };
        let Some(object) = version.object else { continue };
        let held = index.options.held.contains(&history.key.resource) || is_own_write(index.options, history.key);
        if held || object.deleted_at.is_none() || !object.finalizers.is_empty() {
            continue;
        }
        let due = plus(index.at(version.event).max(times.healed), index.options.settle);
        if due < times.end {
            let text = format!("{} is terminating, nothing holds it, and it stays", history.key);
            findings.liveness(index, "L14", &[version.event], text);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    /// Something at the end, so that the history lasts.
    const END: &str = "gauge tasks 1 1";

    #[test]
    fn l1_and_l13_informers_reach_the_end() {
        let seen = "c 5 cm/a/x=one\ninformer cm @5 cm/a/x@5\nhealed\nwait 5s\nc 6 cm/a/x=two\n";
        check(&format!("{seen}informer cm @6 cm/a/x@6\nwait 30s\n{END}"), "");
        check(&format!("{seen}wait 30s\n{END}"), "L1");
        check(&format!("{seen}handled cm/a/x@6\nwait 30s\n{END}"), "");
        check(&format!("{seen}client-1 crashed\nwait 30s\n{END}"), "");
        check(&format!("{seen}wait 30s\ninformer cm @5 cm/a/x@5\nclient-1 stopped\n{END}"), "L1");
        check(&format!("{seen}wait 3s\ninformer cm @5 cm/a/x@5\nclient-1 stopped\nwait 30s\n{END}"), "");
        check(&format!("{seen}wait 3s\n{END}"), "");
        let down = "api-1 crashed\n> 1 watch cm from=3\n< 1 unsent\n";
        check(&format!("{down}{seen}wait 30s\n{END}"), "");
        let failed = "c 4 floor:cm=4\n> 1 watch cm from=3\n< 1 200\n~ 1 ERROR 410\n";
        check(&format!("{failed}{seen}wait 30s\n{END}"), "L13");
        // It pauses after an error, and has not come back yet.
        let late = "c 7 floor:cm=6\n> 1 watch cm from=5\n< 1 200\n~ 1 ERROR 410\n";
        check(&format!("{seen}wait 30s\n{late}{END}"), "");
    }

    #[test]
    fn l8_requests_are_answered() {
        check(&format!("healed\n> 1 get cm/a/x\n< 1 404 NotFound\nwait 90s\n{END}"), "");
        check(&format!("healed\n> 1 get cm/a/x\nwait 90s\n{END}"), "L8");
        check(&format!("> 1 get cm/a/x\nwait 90s\n{END}"), "");
        check(&format!("> 1 get cm/a/x\nhealed\nwait 90s\n{END}"), "L8");
        let lost = |id: u64| format!("> {id} get cm/a/x\n< {id} lost\n");
        check(&format!("healed\nwait 20s\n{}{END}", lost(1)), "");
        check(&format!("healed\nwait 20s\n{}{}{END}", lost(1), lost(2)), "L8");
        check(&format!("healed\nwait 20s\n> 1 get cm/a/x\nwait 2s\n< 1 silent\n{END}"), "");
        check(&format!("healed\nwait 20s\n> 1 get cm/a/x\nwait 30s\n< 1 silent\n{END}"), "L8");
        check(&format!("healed\nwait 20s\n> 1 get cm/a/x\n< 1 unsent\n{END}"), "L8");
        check(&format!("healed\nwait 20s\n> 1 get cm/a/x\napi-1 stopping\n< 1 lost\napi-1 stopped\n{END}"), "");
        check(&format!("healed\nwait 20s\n> 1 get cm/a/x least=0\nwait 70s\n< 1 404 NotFound\n{END}"), "L8");
    }

    #[test]
    fn l9_a_start_ends_in_readiness() {
        let start = "healed\napi-1 started\nwait 10s\n> 1 path /readyz\n";
        check(&format!("{start}< 1 200\nwait 90s\n{END}"), "");
        check(&format!("{start}< 1 500\nwait 90s\n{END}"), "L9");
        let early = "fault pause\napi-1 started\n> 1 path /readyz\n< 1 500\nhealed\nwait 90s\n";
        check(&format!("{early}{END}"), "");
        check(&format!("{early}{END}").replace("healed\n", "healed\n> 2 path /readyz\n< 2 500\n"), "L9");
        check(&format!("{start}< 1 500\napi-1 crashed\nwait 90s\n{END}"), "");
    }

    #[test]
    fn l10_a_stop_ends() {
        check(
            &format!("healed\napi-1 stopping\nwait 10s\napi-1 stopped\n> 1 get cm/a/x\n< 1 unsent\nwait 90s\n{END}"),
            "",
        );
        check(&format!("healed\napi-1 stopping\n> 1 get cm/a/x\n< 1 unsent\nwait 90s\n{END}"), "L10");
    }

    #[test]
    fn l11_bookmarks_come() {
        check(&format!("> 1 watch cm from=4 bookmarks\n< 1 200\nhealed\nwait 100s\n{END}"), "");
        let watch = "> 1 watch cm from=3 bookmarks\n< 1 200\nhealed\nwait 60s\n~ 1 BOOKMARK 3\n";
        check(&format!("{watch}wait 60s\n{END}"), "");
        check(&format!("{watch}wait 100s\n{END}"), "L11");
        check(&format!("> 1 watch cm from=3 bookmarks\n< 1 200\nhealed\nwait 100s\n~ 1 BOOKMARK 3\n{END}"), "L11");
        check(&format!("{watch}~ 1 closed\nwait 100s\n{END}"), "");
        let events = "c 5 cm/a/x=one\nwait 7s\n~ 1 ADDED cm/a/x@5\n";
        check(&format!("> 1 watch cm from=3 bookmarks\n< 1 200\nhealed\n{events}wait 100s\n{END}"), "");
        check(&format!("> 1 watch cm from=3\n< 1 200\nhealed\nwait 100s\n{END}"), "");
    }

    #[test]
    fn l12_idle_reads_end() {
        let list = "c 5 cm/a/x=one\nhealed\nwait 20s\n> 1 list cm\n";
        check(&format!("{list}< 1 200 @5 cm/a/x@5"), "");
        check(&format!("{list}< 1 504 Timeout"), "L12");
        check(&format!("{list}wait 6s\n< 1 200 @5 cm/a/x@5"), "L12");
        check(&format!("{list}c 6 cm/a/y=one\n< 1 504 Timeout"), "");
    }

    #[test]
    fn l14_what_nothing_holds_goes() {
        let marked = "c 5 cm/a/x=one,f=f\nc 6 cm/a/x=one,f=f,d=10\nhealed\n";
        check(&format!("{marked}wait 20s\n{END}"), "");
        check(&format!("{marked}c 7 cm/a/x=one,d=10\nwait 20s\n{END}"), "L14");
        check(&format!("{marked}c 7 cm/a/x=one,d=10\nc 8 cm/a/x=-\nwait 20s\n{END}"), "");
    }

    #[test]
    fn l20_counts_are_back() {
        check("gauge tasks 3 3", "");
        check("gauge tasks 4 3", "L20");
    }
}
