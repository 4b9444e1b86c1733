//! Lists, pages and cached reads.
//!
//! - W1: a list at revision r is the state at r as far as it is selected, in order.
//! - W2: a list without a version is not older than any revision that was shown to anybody before it was asked for.
//! - W3: a list of version 0 does not go back behind what that server process has listed before.
//! - W4: a list not older than N is not, or fails with 504 and says when to come again.
//! - W5: a list of exactly N is of N, or fails.
//! - W6: the pages of a chain are one list of one revision without gap or repetition; a chain that goes on after 410 goes
//!   on after its last key.
//! - W12: 410 only for what is compacted.
//! - W20: a cache that is not ready does not answer as if there were nothing.

use std::{collections::BTreeMap, rc::Rc};

use triune_history::{ListAnswer, NodeChange, Operation, OperationId, Version};

use crate::{
    Checker, Findings,
    index::{Index, Record, VersionId},
    view::{Selection, View},
};

/// See the module.
pub const CHECKER: Checker = Checker {
    name: "lists",
    invariants: &["W1", "W2", "W3", "W4", "W5", "W6", "W12", "W20"],
    about: "lists are states, of the revision that was asked for",
    run,
};

/// Objects that a message names at most.
const NAMED_MAX: usize = 4;

fn run(index: &Index<'_>, findings: &mut Findings) {
    let mut answered: Vec<(usize, &Record<'_>)> = index
        .operations
        .iter()
        .filter(|record| matches!(record.operation, Operation::List { .. }))
        .filter_map(|record| record.answer().map(|(event, _)| (event, record)))
        .collect();
    answered.sort_by_key(|(event, _)| *event);
    let mut chains: BTreeMap<OperationId, Chain> = BTreeMap::new();
    for (event, record) in &answered {
        check_list(index, record, *event, &mut chains, findings);
    }
    check_cached_order(index, &answered, findings);
    for record in &index.operations {
        check_cached_get(index, record, findings);
    }
}

/// The parts of a list request.
#[derive(Clone, Copy)]
struct Asked<'a> {
    selection: Selection<'a>,
    version: Version,
    limit: u64,
    continues: Option<OperationId>,
}

fn asked<'a>(operation: &'a Operation) -> Option<Asked<'a>> {
    match operation {
        Operation::List { resource, namespace, labels, version, limit, continues } => Some(Asked {
            selection: Selection { resource, namespace, labels },
            version: *version,
            limit: *limit,
            continues: *continues,
        }),
        _ => None,
    }
}

/// Where a chain of pages is.
#[derive(Clone, Copy)]
struct Chain {
    /// The last page.
    event: usize,
    /// Its revision; None after a 410 that lets the chain go on at the newest.
    revision: Option<u64>,
    /// Rank of the last object given.
    last: Option<u32>,
    /// A violation was reported; no more of this chain.
    broken: bool,
}

fn check_list<'a>(
    index: &Index<'a>,
    record: &Record<'a>,
    event: usize,
    chains: &mut BTreeMap<OperationId, Chain>,
    findings: &mut Findings,
) {
    let (Some(asked), Some((_, answer))) = (asked(record.operation), record.answer()) else { return };
    let events = [record.invoked, event];
    match (answer.code, &answer.list) {
        (200, Some(list)) => {
            findings.checked("lists");
            check_version(index, record, &asked, list, event, findings);
            if index.seen(event).iter().any(Option::is_none) || leaves_namespace(&asked, list) {
                // S1 or S11 says so.
                return;
            }
            let view = index.view(asked.selection);
            if asked.continues.is_some() || list.more {
                check_page(index, record, &asked, list, event, &view, chains, findings);
            } else {
                check_whole(index, record, &asked, list, event, &view, findings);
            }
        }
        (410, list) => {
            check_honest_410(index, record, &asked, event, chains, findings);
            let goes_on = list.as_ref().is_some_and(|list| list.more);
            if asked.continues.is_some() && !goes_on {
                let text =
                    "a page is refused as too old, without a token that goes on at the newest revision".to_owned();
                findings.safety(index, "W6", &events, text);
            }
            if let Some(chain) = asked.continues.and_then(|first| chains.get_mut(&first)) {
                chain.event = event;
                chain.revision = None;
                chain.broken |= !goes_on;
            }
        }
        (504, _) if matches!(asked.version, Version::NotOlderThan(_)) && answer.retry_after.is_none() => {
            let text = "a revision that is still to come is refused without saying when to come again".to_owned();
            findings.safety(index, "W4", &events, text);
        }
        _ => {}
    }
}

fn leaves_namespace(asked: &Asked<'_>, list: &ListAnswer) -> bool {
    let namespace = asked.selection.namespace;
    !namespace.is_empty() && list.items.iter().any(|object| object.namespace != namespace)
}

/// W2, W4, W5.
fn check_version(
    index: &Index<'_>,
    record: &Record<'_>,
    asked: &Asked<'_>,
    list: &ListAnswer,
    event: usize,
    findings: &mut Findings,
) {
    if asked.continues.is_some() {
        return;
    }
    let events = [record.invoked, event];
    let shown = index.shown_before[record.invoked];
    let (name, got) = (asked.selection.resource, list.revision);
    let (invariant, text) = match asked.version {
        Version::Latest if got < shown => {
            ("W2", format!("{name} are listed at {got}, and {shown} was shown before they were asked for"))
        }
        Version::NotOlderThan(least) if got < least => {
            ("W4", format!("{name} not older than {least} were asked for, and are listed at {got}"))
        }
        Version::Exact(exact) if got != exact => {
            ("W5", format!("{name} at {exact} were asked for, and are listed at {got}"))
        }
        _ => return,
    };
    findings.safety(index, invariant, &events, text);
}

/// W1 and W20 of a list without pages.
fn check_whole(
    index: &Index<'_>,
    record: &Record<'_>,
    asked: &Asked<'_>,
    list: &ListAnswer,
    event: usize,
    view: &View,
    findings: &mut Findings,
) {
    let events = [record.invoked, event];
    let seen = index.seen(event);
    let position = view.position(list.revision);
    let name = asked.selection.resource;
    if !view.is_state(position, seen) {
        let state: Vec<VersionId> = view.state(index, position).into_iter().map(|(_, version)| version).collect();
        let invariant = if seen.is_empty() { "W20" } else { "W1" };
        let difference = describe_difference(index, seen, &state);
        let text = format!("{name} listed at {}: {difference}", list.revision);
        return findings.safety(index, invariant, &events, text);
    }
    if !is_in_order(index, seen) {
        findings.safety(index, "W1", &events, format!("{name} are not listed in the order of their names"));
    }
}

fn is_in_order(index: &Index<'_>, seen: &[Option<VersionId>]) -> bool {
    let ranks = || seen.iter().flatten().map(|version| rank(index, *version));
    ranks().zip(ranks().skip(1)).all(|(one, next)| one < next)
}

fn rank(index: &Index<'_>, version: VersionId) -> u32 {
    index.key(index.version(version).key).rank
}

/// W6, and W1 of first pages.
fn check_page(
    index: &Index<'_>,
    record: &Record<'_>,
    asked: &Asked<'_>,
    list: &ListAnswer,
    event: usize,
    view: &Rc<View>,
    chains: &mut BTreeMap<OperationId, Chain>,
    findings: &mut Findings,
) {
    let first = asked.continues.unwrap_or(record.id);
    let fresh = Chain { event, revision: None, last: None, broken: false };
    let before = match asked.continues {
        None => fresh,
        // A page of a chain whose first page nobody saw cannot be judged.
        Some(first) => match chains.get(&first) {
            Some(chain) if !chain.broken => *chain,
            Some(_) => return,
            None => return findings.unchecked("pages without a first page"),
        },
    };
    findings.checked("pages");
    let mut events = vec![record.invoked, event];
    if asked.continues.is_some() {
        events.insert(0, before.event);
    }
    let seen = index.seen(event);
    let after =
        Chain { event, revision: Some(list.revision), last: last_rank(index, seen).or(before.last), broken: false };
    let problem = page_problem(index, record, asked, list, &before, view, seen);
    let broken = problem.is_some();
    if let Some((invariant, text)) = problem {
        findings.safety(index, invariant, &events, format!("{}: {text}", asked.selection.resource));
    }
    chains.insert(first, Chain { broken, ..after });
}

fn last_rank(index: &Index<'_>, seen: &[Option<VersionId>]) -> Option<u32> {
    seen.iter().flatten().next_back().map(|version| rank(index, *version))
}

fn page_problem(
    index: &Index<'_>,
    record: &Record<'_>,
    asked: &Asked<'_>,
    list: &ListAnswer,
    before: &Chain,
    view: &View,
    seen: &[Option<VersionId>],
) -> Option<(&'static str, String)> {
    if let Some(revision) = before.revision.filter(|revision| *revision != list.revision) {
        return Some(("W6", format!("a page is of revision {}, the one before of {revision}", list.revision)));
    }
    let goes_on_at_newest = asked.continues.is_some() && before.revision.is_none();
    let shown = index.shown_before[record.invoked];
    if goes_on_at_newest && list.revision < shown {
        return Some(("W2", format!("a chain goes on at {}, and {shown} was shown before", list.revision)));
    }
    let state = view.state(index, view.position(list.revision));
    let rest = state.iter().filter(|(rank, _)| before.last.is_none_or(|last| *rank > last));
    let rest: Vec<VersionId> = rest.map(|(_, version)| *version).collect();
    let given: Vec<VersionId> = seen.iter().copied().flatten().collect();
    let invariant = match (asked.continues, given.is_empty() && !rest.is_empty()) {
        (None, true) => "W20",
        (None, false) => "W1",
        (Some(_), _) => "W6",
    };
    if asked.limit > 0 && given.len() as u64 > asked.limit && asked.version != Version::Any {
        return Some(("W6", format!("a page of {} has {} objects", asked.limit, given.len())));
    }
    if !rest.starts_with(&given) {
        let expected: Vec<VersionId> = rest.iter().copied().take(given.len()).collect();
        let difference = describe_difference(index, seen, &expected);
        return Some((invariant, format!("the page at {}: {difference}", list.revision)));
    }
    let left = rest.len() - given.len();
    if list.more && given.is_empty() {
        return Some((invariant, format!("a page at {} is empty, and {left} objects are left", list.revision)));
    }
    if list.more && left == 0 {
        return Some(("W6", "more pages are promised, and nothing is left".to_owned()));
    }
    if !list.more && left > 0 {
        let text = format!("the last page at {} leaves out {}", list.revision, name_some(index, &rest[given.len()..]));
        return Some(("W6", text));
    }
    let said = list.remaining.filter(|said| *said != left as u64)?;
    Some(("W6", format!("{said} are said to remain, and {left} do")))
}

/// W12 of lists.
fn check_honest_410(
    index: &Index<'_>,
    record: &Record<'_>,
    asked: &Asked<'_>,
    event: usize,
    chains: &BTreeMap<OperationId, Chain>,
    findings: &mut Findings,
) {
    let revision = match (asked.continues, asked.version) {
        (Some(first), _) => match chains.get(&first) {
            Some(chain) => chain.revision.unwrap_or(u64::MAX),
            None => return,
        },
        (None, Version::Exact(revision)) => revision,
        (None, _) => u64::MAX,
    };
    let floor = index.floor_before(asked.selection.resource, event);
    if revision >= floor {
        let what = if revision == u64::MAX { "the newest revision".to_owned() } else { format!("revision {revision}") };
        let text =
            format!("{} at {what} are refused as too old; the compaction floor is {floor}", asked.selection.resource);
        findings.safety(index, "W12", &[record.invoked, event], text);
    }
}

/// W3: per server process.
fn check_cached_order(index: &Index<'_>, answered: &[(usize, &Record<'_>)], findings: &mut Findings) {
    // By server process and resource: lists in order of their answers, with the greatest revision up to there.
    let mut given: BTreeMap<(&str, Option<usize>, &str), Vec<(usize, u64)>> = BTreeMap::new();
    for (event, record) in answered {
        let (Some(asked), Some((_, answer))) = (asked(record.operation), record.answer()) else { continue };
        let Some(list) = answer.list.as_ref().filter(|_| answer.code == 200 && asked.continues.is_none()) else {
            continue;
        };
        if matches!(asked.version, Version::Exact(_)) {
            continue;
        }
        let process = started_before(index, record.server, record.invoked);
        let before = given.entry((record.server, process, asked.selection.resource)).or_default();
        let seen = before.partition_point(|(event, _)| *event < record.invoked);
        if let Some((earlier, greatest)) = seen.checked_sub(1).map(|place| before[place])
            && matches!(asked.version, Version::Any)
            && list.revision < greatest
        {
            let name = asked.selection.resource;
            let text = format!(
                "{} lists {name} at {}, and has listed them at {greatest} before",
                record.server, list.revision
            );
            findings.safety(index, "W3", &[earlier, *event], text);
        }
        let greatest = before.last().map_or(0, |(_, revision)| *revision).max(list.revision);
        before.push((*event, greatest));
    }
}

fn started_before(index: &Index<'_>, server: &str, event: usize) -> Option<usize> {
    let changes = index.nodes.get(server)?;
    let starts = changes.iter().filter(|(at, change)| *at < event && *change == NodeChange::Started);
    starts.map(|(at, _)| *at).next_back()
}

/// W4 of GET with a resourceVersion.
fn check_cached_get(index: &Index<'_>, record: &Record<'_>, findings: &mut Findings) {
    let Operation::GetCached { key: name, at_least } = record.operation else { return };
    let (Some(key), Some((event, answer))) = (record.key, record.answer()) else { return };
    let events = [record.invoked, event];
    if answer.code == 504 && *at_least > 0 && answer.retry_after.is_none() {
        let text = "a revision that is still to come is refused without saying when to come again".to_owned();
        return findings.safety(index, "W4", &events, text);
    }
    let versions = &index.key(key).versions;
    let lasts = |id: VersionId| {
        let next = index.version(id).next;
        next.is_none_or(|next| index.version(next).revision > *at_least)
    };
    match (answer.code, &answer.object) {
        (200, Some(object)) => {
            findings.checked("cached reads");
            let Some(version) = index.seen(event).first().copied().flatten() else { return };
            if !lasts(version) {
                let text =
                    format!("{name} not older than {at_least} was asked for, and is shown at {}", object.revision);
                findings.safety(index, "W4", &events, text);
            }
        }
        (404, _) if answer.reason == "NotFound" && !crate::outcomes::is_unknown_path(answer) => {
            findings.checked("cached reads");
            let gone =
                |id: &VersionId| index.version(*id).object.is_none() && index.version(*id).event < event && lasts(*id);
            let first = versions.first().map(|id| index.version(*id));
            let not_yet = first.is_none_or(|first| first.revision > *at_least);
            if !not_yet && !versions.iter().any(gone) {
                let text = format!("{name} not older than {at_least} was not found, and it was there from then on");
                findings.safety(index, "W4", &events, text);
            }
        }
        _ => {}
    }
}

/// What is missing, what is too much, what is of another revision.
pub(crate) fn describe_difference(index: &Index<'_>, seen: &[Option<VersionId>], state: &[VersionId]) -> String {
    let given: Vec<VersionId> = seen.iter().copied().flatten().collect();
    let key = |version: &VersionId| index.version(*version).key;
    let missing: Vec<VersionId> =
        state.iter().copied().filter(|version| !given.iter().any(|other| key(other) == key(version))).collect();
    let extra: Vec<VersionId> =
        given.iter().copied().filter(|version| !state.iter().any(|other| key(other) == key(version))).collect();
    let stale: Vec<VersionId> = given
        .iter()
        .copied()
        .filter(|version| !state.contains(version) && state.iter().any(|other| key(other) == key(version)))
        .collect();
    let mut parts = Vec::new();
    for (what, versions) in [("missing", &missing), ("not in that state", &extra), ("of another revision", &stale)] {
        if !versions.is_empty() {
            parts.push(format!("{what}: {}", name_some(index, versions)));
        }
    }
    if parts.is_empty() {
        parts.push("the same objects, in another order or twice".to_owned());
    }
    parts.join("; ")
}

fn name_some(index: &Index<'_>, versions: &[VersionId]) -> String {
    let name = |id: &VersionId| {
        let version = index.version(*id);
        format!("{} at {}", index.key(version.key).key, version.revision)
    };
    let mut names: Vec<String> = versions.iter().take(NAMED_MAX).map(name).collect();
    if versions.len() > NAMED_MAX {
        names.push(format!("and {} more", versions.len() - NAMED_MAX));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    const FIVE: &str =
        "c 5 cm/a/v=one\nc 6 cm/a/w=one\nc 7 cm/a/x=one,l=app:web\nc 8 cm/a/y=one\nc 9 cm/b/z=one,l=app:web\n";

    fn check_list(rest: &str, expect: &str) {
        check(&format!("{FIVE}{rest}"), expect);
    }

    #[test]
    fn lists_are_states() {
        check_list("> 1 list cm\n< 1 200 @9 cm/a/v@5 cm/a/w@6 cm/a/x@7 cm/a/y@8 cm/b/z@9", "");
        check_list("> 1 list cm ns=b\n< 1 200 @9 cm/b/z@9", "");
        check_list("> 1 list cm l=app:web\n< 1 200 @9 cm/a/x@7 cm/b/z@9", "");
        check_list("> 1 list cm rv=6\n< 1 200 @6 cm/a/v@5 cm/a/w@6", "");
        check_list("> 1 list cm rv=any\n< 1 200 @5 cm/a/v@5", "");
        check_list("> 1 list cm rv=>8 ns=b\n< 1 200 @8", "");
    }

    #[test]
    fn w1_all_of_the_state_and_only_that() {
        check_list("> 1 list cm\n< 1 200 @9 cm/a/v@5 cm/a/w@6 cm/a/x@7 cm/b/z@9", "W1");
        check_list("> 1 list cm rv=6\n< 1 200 @6 cm/a/v@5 cm/a/w@6 cm/a/x@7", "W1");
        check_list("> 1 list cm l=app:web\n< 1 200 @9 cm/a/x@7 cm/a/y@8 cm/b/z@9", "W1");
        check_list("> 1 list cm rv=6\n< 1 200 @6 cm/a/w@6 cm/a/v@5", "W1");
        check_list("> 1 list cm rv=6\n< 1 200 @6 cm/a/v@5 cm/a/v@5", "W1");
        check("c 5 cm/a/x=one\nc 6 cm/a/x=two\n> 1 list cm\n< 1 200 @6 cm/a/x@5", "W1");
        // The order is that of keys as text.
        check(
            "c 4 namespaces/a-b=active\nc 5 cm/a/x=one\nc 6 cm/a-b/x=one\n> 1 list cm\n< 1 200 @6 cm/a-b/x@6 cm/a/x@5",
            "",
        );
    }

    #[test]
    fn w2_not_older_than_what_was_shown() {
        check("w 5 cm/a/x=one\nw 6 cm/a/x=two\n> 1 list cm\n< 1 200 @5 cm/a/x@5", "W2");
        // Nobody was told of the commit when it was asked for.
        check(
            "w 5 cm/a/x=one\n> 1 update cm/a/x=two expect=5\nc 6 cm/a/x=two\n> 2 list cm\n< 2 200 @5 cm/a/x@5\n< 1 200 cm/a/x@6",
            "",
        );
    }

    #[test]
    fn w3_a_server_does_not_go_back() {
        let first = "> 1 list cm rv=any ns=a\n< 1 200 @6 cm/a/v@5 cm/a/w@6\n";
        check_list(&format!("{first}> 2 list cm rv=any ns=a\n< 2 200 @5 cm/a/v@5"), "W3");
        check_list(&format!("{first}> 2 list cm rv=any ns=a on=api-2\n< 2 200 @5 cm/a/v@5"), "");
        check_list(&format!("{first}api-1 crashed\napi-1 started\n> 2 list cm rv=any ns=a\n< 2 200 @5 cm/a/v@5"), "");
        check("c 5 cm/a/x=one\nc 6 cm/a/x=-\n> 1 get cm/a/x least=0\n< 1 200 cm/a/x@5", "");
        check("c 5 cm/a/x=one\n> 1 get cm/a/x least=0\n< 1 404 NotFound", "");
    }

    #[test]
    fn w4_not_older_than_asked() {
        check_list("> 1 list cm rv=>8\n< 1 200 @7 cm/a/v@5 cm/a/w@6 cm/a/x@7", "W4");
        check_list("> 1 list cm rv=>12\n< 1 504 Timeout retry", "");
        check_list("> 1 list cm rv=>12\n< 1 504 Timeout", "W4");
        check("c 5 cm/a/x=one\nc 6 cm/a/x=two\n> 1 get cm/a/x least=6\n< 1 200 cm/a/x@5", "W4");
        check("c 5 cm/a/x=one\nc 6 cm/a/x=two\n> 1 get cm/a/x least=5\n< 1 200 cm/a/x@5", "");
        check("c 5 cm/a/x=one\n> 1 get cm/a/x least=5\n< 1 404 NotFound", "W4");
        check("c 5 cm/a/x=one\nc 6 cm/a/x=-\n> 1 get cm/a/x least=5\n< 1 404 NotFound", "");
    }

    #[test]
    fn w5_exactly_what_was_asked() {
        check_list("> 1 list cm rv=6\n< 1 200 @7 cm/a/v@5 cm/a/w@6 cm/a/x@7", "W5");
    }

    #[test]
    fn w6_pages_are_one_list() {
        let first = "> 1 list cm limit=2\n< 1 200 @9 cm/a/v@5 cm/a/w@6 more left=3\n";
        let second = "> 2 list cm limit=2 page-of=1\n< 2 200 @9 cm/a/x@7 cm/a/y@8 more left=1\n";
        let third = "> 3 list cm limit=2 page-of=1\n< 3 200 @9 cm/b/z@9";
        check_list(&format!("{first}{second}{third}"), "");
        // What comes and goes between pages is not in them.
        check_list(&format!("{first}c 10 cm/a/w2=new\nc 11 cm/a/y=-\n{second}{third}"), "");
        // A page that was lost is asked for again.
        check_list(&format!("{first}> 9 list cm limit=2 page-of=1\n< 9 lost\n{second}{third}"), "");
        check_list("> 1 list cm limit=2\n< 1 200 @9 cm/a/v@5 cm/a/w@6 more left=2\n", "W6");
        check_list("> 1 list cm limit=2\n< 1 200 @9 cm/a/v@5 cm/a/w@6 cm/a/x@7 more\n", "W6");
        check_list("> 1 list cm limit=2\n< 1 200 @9 cm/a/v@5 cm/a/x@7 more\n", "W1");
        check_list(&format!("{first}{third}"), "W6");
        check_list(&format!("{first}> 2 list cm limit=2 page-of=1\n< 2 200 @9 cm/a/w@6 cm/a/x@7 more"), "W6");
        check_list(&format!("{first}> 2 list cm limit=2 page-of=1\n< 2 200 @9 cm/a/x@7 cm/a/y@8"), "W6");
        check_list(&format!("{first}> 2 list cm page-of=1\n< 2 200 @9 cm/a/x@7 cm/a/y@8 cm/b/z@9 more"), "W6");
        check_list(
            &format!("{first}c 10 cm/a/x=two\n> 2 list cm page-of=1\n< 2 200 @10 cm/a/x@10 cm/a/y@8 cm/b/z@9"),
            "W6",
        );
    }

    #[test]
    fn w6_a_chain_goes_on_after_410() {
        let cut = "> 1 list cm limit=2\n< 1 200 @9 cm/a/v@5 cm/a/w@6 more\nc 10 cm/a/x=two\nc 11 floor:cm=10\n> 2 list cm limit=2 page-of=1\n< 2 410 Expired @0 more\n";
        check_list(&format!("{cut}> 3 list cm page-of=1\n< 3 200 @11 cm/a/x@10 cm/a/y@8 cm/b/z@9"), "");
        check_list(&format!("{cut}> 3 list cm page-of=1\n< 3 200 @11 cm/a/y@8 cm/b/z@9"), "W6");
        check_list(&format!("{cut}> 3 list cm page-of=1\n< 3 200 @8 cm/a/x@7 cm/a/y@8"), "W2");
        check_list(&cut.replace(" @0 more\n", ""), "W6");
    }

    #[test]
    fn w12_only_what_is_compacted_is_too_old() {
        check_list("c 10 floor:cm=7\n> 1 list cm rv=6\n< 1 410 Expired", "");
        check_list("c 10 floor:cm=6\n> 1 list cm rv=6\n< 1 410 Expired", "W12");
        check_list("c 10 floor:cm=6\n> 1 list cm\n< 1 410 Expired", "W12");
        check_list(
            "> 1 list cm limit=2\n< 1 200 @9 cm/a/v@5 cm/a/w@6 more\n> 2 list cm page-of=1\n< 2 410 Expired @0 more",
            "W12",
        );
    }

    #[test]
    fn w20_an_unready_cache_is_not_an_empty_one() {
        check_list("> 1 list cm\n< 1 200 @9", "W20");
        check_list("> 1 list cm rv=any limit=3\n< 1 200 @9 more", "W20");
        check_list("> 1 list cm rv=any\n< 1 200 @4", "");
    }
}
