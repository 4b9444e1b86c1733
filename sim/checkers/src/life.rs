//! Start and stop of servers, as requests show it.
//!
//! - A13: a request for a path that exists is never answered 404, also while paths are being installed.
//! - A14: `/readyz` says 200 only when the start is over and not after the server was asked to stop; once it has said so
//!   it goes on, unless faults disturb the storage.
//! - A17: a request that a server had before it was asked to stop is answered; none is refused while it still accepts.
//!
//! Rules that faults of the network may break are not applied from the first such fault until all has settled.

use std::{collections::BTreeMap, time::Duration};

use triune_history::{NodeChange, Operation, Outcome};

use crate::{
    Checker, Findings,
    index::{Index, Record, operation_resource},
    outcomes::is_unknown_path,
};

/// See the module.
pub const CHECKER: Checker = Checker {
    name: "life",
    invariants: &["A13", "A14", "A17"],
    about: "starts and stops of servers are orderly, as requests show",
    run,
};

fn run(index: &Index<'_>, findings: &mut Findings) {
    for record in &index.operations {
        check_not_found(index, record, findings);
        check_stop(index, record, findings);
    }
    check_ready(index, findings);
}

/// A13.
fn check_not_found(index: &Index<'_>, record: &Record<'_>, findings: &mut Findings) {
    let Some((answered, answer)) = record.answer() else { return };
    let known = match record.operation {
        Operation::Path { path } => {
            let path = path.split('?').next().unwrap_or(path);
            let below = |known: &String| {
                path == known || path.strip_prefix(known.as_str()).is_some_and(|rest| rest.starts_with('/'))
            };
            index.options.known_paths.iter().any(below)
        }
        Operation::List { .. } | Operation::Watch { .. } | Operation::DeleteCollection { .. } => true,
        _ => is_unknown_path(answer),
    };
    if known && answer.code == 404 {
        let what = match record.operation {
            Operation::Path { path } => path.as_str(),
            other => operation_resource(other).unwrap_or_default(),
        };
        let text = format!("{} says that there is no {what}", record.server);
        findings.safety(index, "A13", &[record.invoked, answered], text);
    }
}

/// Whether a request asks whether a server is ready.
pub(crate) fn asks_ready(record: &Record<'_>) -> bool {
    matches!(record.operation, Operation::Path { path } if path.split('?').next() == Some("/readyz"))
}

/// Steps of the life of a node.
pub(crate) fn changes<'i>(index: &'i Index<'_>, node: &str) -> &'i [(usize, NodeChange)] {
    index.nodes.get(node).map_or(&[], |changes| changes)
}

/// A14.
fn check_ready(index: &Index<'_>, findings: &mut Findings) {
    // By server: the last time it said that it was ready.
    let mut ready: BTreeMap<&str, usize> = BTreeMap::new();
    let mut asked: Vec<(usize, &Record<'_>)> = index
        .operations
        .iter()
        .filter(|record| asks_ready(record))
        .filter_map(|record| record.answer().map(|(event, _)| (event, record)))
        .collect();
    asked.sort_by_key(|(event, _)| *event);
    for (answered, record) in asked {
        findings.checked("readiness");
        let Some((_, answer)) = record.answer() else { continue };
        let life = changes(index, record.server);
        if answer.code == 200 {
            check_may_be_ready(index, record, answered, life, findings);
            ready.insert(record.server, answered);
            continue;
        }
        let Some(before) = ready.get(record.server).copied().filter(|before| *before < record.invoked) else {
            continue;
        };
        let changed = life.iter().any(|(event, _)| (before..answered).contains(event));
        if !changed && !index.is_disturbed(answered) && !index.is_disturbed(before) {
            let text = format!("{} was ready, and answers {} to /readyz", record.server, answer.code);
            findings.safety(index, "A14", &[before, record.invoked, answered], text);
        }
    }
}

fn check_may_be_ready(
    index: &Index<'_>,
    record: &Record<'_>,
    answered: usize,
    life: &[(usize, NodeChange)],
    findings: &mut Findings,
) {
    let before = life.iter().filter(|(event, _)| *event < record.invoked);
    let mut steps = before.filter(|(_, change)| !matches!(change, NodeChange::Paused | NodeChange::Resumed));
    if let Some((event, NodeChange::AskedToStop)) = steps.next_back() {
        let text = format!("{} was asked to stop, and is ready", record.server);
        findings.safety(index, "A14", &[*event, record.invoked, answered], text);
    }
    for name in &index.options.bootstrap {
        let exists = index.key_id(name).and_then(|key| index.object_at_event(key, answered)).is_some();
        let was =
            index.key_id(name).is_some_and(|key| index.states_between(key, 0, answered).any(|state| state.is_some()));
        if !exists && !was {
            let text = format!("{} is ready, and {name} was not made", record.server);
            findings.safety(index, "A14", &[record.invoked, answered], text);
        }
    }
}

/// A17.
fn check_stop(index: &Index<'_>, record: &Record<'_>, findings: &mut Findings) {
    let Some((answered, outcome)) = record.answered else { return };
    if matches!(record.operation, Operation::Watch { .. })
        || index.is_disturbed(record.invoked)
        || index.is_disturbed(answered)
    {
        return;
    }
    let stops = changes(index, record.server).iter().filter(|(_, change)| *change == NodeChange::AskedToStop);
    for (asked, _) in stops {
        let after = |event: usize, delay: Duration| u128::from(index.at(event).0) + delay.as_nanos();
        let invoked_at = u128::from(index.at(record.invoked).0);
        let latency = index.options.latency;
        let had_before = after(record.invoked, latency) <= u128::from(index.at(*asked).0) && answered > *asked;
        let accepted = record.invoked > *asked
            && invoked_at + latency.as_nanos() < after(*asked, index.options.shutdown_delay)
            && !ended_before(index, record.server, *asked, record.invoked);
        let crashed = ended_before(index, record.server, *asked, answered)
            && changes(index, record.server)
                .iter()
                .any(|(event, change)| (*asked..answered).contains(event) && *change == NodeChange::Crashed);
        if crashed || !(had_before || accepted) {
            continue;
        }
        let why = match outcome {
            Outcome::Answered(answer) if answer.code == 503 && answer.message.contains("shutting down") => "refused",
            Outcome::Answered(answer) if answer.code == 429 && accepted => "refused",
            Outcome::Answered(_) => continue,
            Outcome::NotSent(_) => "refused",
            // It may have been the client that gave up.
            Outcome::Unknown(_)
                if after(record.invoked, index.options.request_timeout / 2) < u128::from(index.at(answered).0) =>
            {
                continue;
            }
            Outcome::Unknown(_) => "not answered",
        };
        let when = if had_before { "had this request before it was asked to stop" } else { "still accepts requests" };
        let text = format!("{} {when}, and it is {why}", record.server);
        findings.safety(index, "A17", &[record.invoked, *asked, answered], text);
    }
}

fn ended_before(index: &Index<'_>, server: &str, from: usize, to: usize) -> bool {
    let ends = |change: &NodeChange| matches!(change, NodeChange::Stopped | NodeChange::Crashed);
    changes(index, server).iter().any(|(event, change)| (from..to).contains(event) && ends(change))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use triune_history::ObjectKey;

    use crate::{
        CheckOptions,
        testing::{check, check_with, options},
    };

    #[test]
    fn a13_paths_that_exist_are_found() {
        check("api-1 started\n> 1 list cm\n< 1 503 ServiceUnavailable retry\n> 2 path /apis\n< 2 200", "");
        check("api-1 started\n> 1 list cm\n< 1 404 NotFound", "A13");
        check("api-1 started\n> 1 path /apis/apps\n< 1 404 NotFound", "A13");
        check("api-1 started\n> 1 path /nonsense\n< 1 404 NotFound", "");
        check("> 1 get cm/a/x\n< 1 404 NotFound says=the_server_could_not_find_the_requested_resource", "A13");
        check("> 1 get cm/a/x\n< 1 404 NotFound", "");
    }

    #[test]
    fn a14_ready_is_ready() {
        let ready = "api-1 started\n> 1 path /readyz\n< 1 200\n";
        check(&format!("> 9 path /readyz\n< 9 500\n{ready}api-1 stopping\n> 2 path /readyz\n< 2 500"), "");
        check(&format!("{ready}> 2 path /readyz\n< 2 500"), "A14");
        check(&format!("{ready}fault cut\n> 2 path /readyz\n< 2 500"), "");
        check(&format!("fault cut\nhealed\nwait 11s\n{ready}> 2 path /readyz\n< 2 500"), "A14");
        check(&format!("{ready}api-1 crashed\napi-1 started\n> 2 path /readyz\n< 2 500"), "");
        check(&format!("{ready}api-1 stopping\n> 2 path /readyz\n< 2 200"), "A14");
        let bootstrap = ObjectKey { resource: "namespaces".into(), namespace: String::new(), name: "default".into() };
        let options = CheckOptions { bootstrap: vec![bootstrap], ..options() };
        check_with(&options, ready, "A14");
        check_with(&options, &format!("c 4 namespaces/default=active\n{ready}"), "");
    }

    #[test]
    fn a17_a_stop_is_orderly() {
        let before = "api-1 started\n> 1 get cm/a/x\nwait 2s\napi-1 stopping\n";
        check(&format!("{before}< 1 404 NotFound\napi-1 stopped"), "");
        check(&format!("{before}< 1 lost\napi-1 stopped"), "A17");
        check(&format!("{before}< 1 503 ServiceUnavailable says=apiserver_is_shutting_down"), "A17");
        check(&format!("{before}api-1 crashed\n< 1 lost"), "");
        check(&format!("fault loss\n{before}< 1 lost\napi-1 stopped"), "");
        // It may not have been there yet.
        check("api-1 started\n> 1 get cm/a/x\napi-1 stopping\n< 1 lost\napi-1 stopped", "");
        let delayed = CheckOptions { shutdown_delay: Duration::from_secs(5), ..options() };
        let after =
            |seconds: u64| format!("api-1 started\napi-1 stopping\nwait {seconds}s\n> 1 get cm/a/x\n< 1 unsent");
        check_with(&delayed, &after(2), "A17");
        check_with(&delayed, &after(6), "");
    }
}
