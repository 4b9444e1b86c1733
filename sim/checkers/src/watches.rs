//! Streams of watches, each against what its selection shows of the commits.
//!
//! - W7: from its start on, a stream is the changes of its selection in order, without gap and repetition, each as ADDED,
//!   MODIFIED or DELETED by whether the object was and is selected. It may stop only where the stream ends: one that is
//!   open and quiet for long after faults have ended is reported as liveness.
//! - W8: initial ADDED are the state at a revision that is new enough, and changes go on from there.
//! - W9: DELETED shows the last selected state, at the revision of the change.
//! - W10: all up to a bookmark was delivered before it, all after it is above; bookmarks do not go back.
//! - W11: one initial-events-end, after the initial state, not older than asked.
//! - W12: 410 only for what is compacted.
//! - W14: nothing comes after ERROR. A gap is W7.

use std::rc::Rc;

use triune_history::{Body, NodeChange, Object, Operation, StreamItem, WatchFrom};

use crate::{
    Checker, Findings,
    index::{Index, Record, VersionId},
    lists::describe_difference,
    view::{ChangeKind, Selection, View},
};

/// See the module.
pub const CHECKER: Checker = Checker {
    name: "watches",
    invariants: &["W7", "W8", "W9", "W10", "W11", "W12", "W14"],
    about: "streams are the changes of their selection",
    run,
};

fn run(index: &Index<'_>, findings: &mut Findings) {
    for record in &index.operations {
        let Operation::Watch { resource, namespace, labels, from, bookmarks, .. } = record.operation else { continue };
        let selection = Selection { resource, namespace, labels };
        if let Some((event, answer)) = record.answer()
            && answer.code == 410
        {
            let revision = if let WatchFrom::After(revision) = from { *revision } else { u64::MAX };
            check_honest_410(index, record, selection, revision, event, findings);
        }
        if record.success().is_none() {
            continue;
        }
        findings.checked("watches");
        let view = index.view(selection);
        let walk = Walk {
            index,
            record,
            selection,
            view,
            from: *from,
            bookmarks: *bookmarks,
            cursor: 0,
            reached: 0,
            marked: 0,
        };
        walk.run(findings);
    }
}

/// What is wrong with a stream: the invariant, further events that show it, the text.
type Problem = (&'static str, Vec<usize>, String);

/// One stream.
struct Walk<'i, 'a> {
    index: &'i Index<'a>,
    record: &'i Record<'a>,
    selection: Selection<'a>,
    view: Rc<View>,
    from: WatchFrom,
    bookmarks: bool,
    /// Position in the view of the next change.
    cursor: usize,
    /// Everything up to this revision has been delivered.
    reached: u64,
    /// Revision of the last bookmark.
    marked: u64,
}

impl<'a> Walk<'_, 'a> {
    fn run(mut self, findings: &mut Findings) {
        let initial = match self.from {
            WatchFrom::After(revision) => {
                self.reached = revision;
                self.cursor = self.view.position(revision);
                Ok(Some(0))
            }
            _ => self.initial_state(findings),
        };
        match initial {
            Ok(Some(first)) => self.changes(first, findings),
            // Nothing tells where the initial state ends.
            Ok(None) => findings.unchecked("initial states without an end"),
            Err((invariant, events, text)) => self.report(invariant, &events, text, findings),
        }
    }

    fn report(&self, invariant: &'static str, events: &[usize], text: String, findings: &mut Findings) {
        let mut shown = vec![self.record.invoked];
        shown.extend(events);
        let text = format!("watch of {}: {text}", self.selection.resource);
        findings.safety(self.index, invariant, &shown, text);
    }

    fn item(&self, place: usize) -> Option<(usize, &'a StreamItem)> {
        let event = *self.record.items.get(place)?;
        match &self.index.events[event].body {
            Body::Stream { item, .. } => Some((event, item)),
            _ => None,
        }
    }

    fn version(&self, event: usize) -> Option<VersionId> {
        self.index.seen(event).first().copied().flatten()
    }

    /// Checks the initial state; gives the place of the first item after it. None: it cannot be told whether it is all.
    fn initial_state(&mut self, findings: &mut Findings) -> Result<Option<usize>, Problem> {
        let end_mark =
            |place: usize| matches!(self.item(place), Some((_, StreamItem::Bookmark { initial_events_end: true, .. })));
        let count = self.record.items.len();
        let marked = (0..count).find(|place| end_mark(*place));
        let end = marked.unwrap_or_else(|| self.ascending_added());
        let mut given = Vec::new();
        for place in 0..end {
            let Some((event, item)) = self.item(place) else { return Ok(None) };
            match item {
                StreamItem::Added(object) if self.selection.shows(object) => given.push(self.version(event)),
                // S11 says so.
                StreamItem::Added(object) if self.leaves_namespace(object) => return Ok(None),
                StreamItem::Added(object) => {
                    let text = format!("{} is not selected and is in the initial state", object.name);
                    return Err(("W8", vec![event], text));
                }
                StreamItem::Error { .. } => return Ok(None),
                _ => {
                    let text = "something other than ADDED comes before the end of the initial state".to_owned();
                    return Err(("W11", vec![event], text));
                }
            }
        }
        if given.iter().any(Option::is_none) {
            // S1 says so.
            return Ok(None);
        }
        findings.checked("initial states");
        let Some((event, next)) = self.item(end) else { return Ok(None) };
        let revision = match next {
            StreamItem::Error { .. } => return self.initial_error(event, next, findings),
            StreamItem::Bookmark { revision, .. } => *revision,
            StreamItem::Added(object) | StreamItem::Modified(object) | StreamItem::Deleted(object) => {
                object.revision.saturating_sub(1)
            }
        };
        self.check_initial_end(marked.is_some(), event, revision)?;
        let position = self.view.position(revision);
        if !self.view.is_state(position, &given) {
            let state = self.view.state(self.index, position);
            let state: Vec<VersionId> = state.into_iter().map(|(_, version)| version).collect();
            let text = format!("initial state at {revision}: {}", describe_difference(self.index, &given, &state));
            return Err(("W8", vec![event], text));
        }
        (self.cursor, self.reached) = (position, revision);
        Ok(Some(end))
    }

    fn initial_error(
        &self,
        event: usize,
        item: &StreamItem,
        findings: &mut Findings,
    ) -> Result<Option<usize>, Problem> {
        if let StreamItem::Error { code: 410, .. } = item {
            // "Any" is what the server has; one that stood still for long has what is compacted by now.
            if self.from == WatchFrom::StateAny && self.index.is_disturbed(event) {
                findings.unchecked("410 of watches from any state while there are faults");
            } else {
                let least = self.least_state();
                check_honest_410(self.index, self.record, self.selection, least, event, findings);
            }
        }
        Ok(None)
    }

    /// The state that a watch begins with is at least so new.
    fn least_state(&self) -> u64 {
        if let WatchFrom::WatchList(revision @ 1..) = self.from {
            return revision;
        }
        let resource = self.index.resources.get(self.selection.resource);
        let versions = resource.map_or(&[][..], |resource| &resource.versions);
        let before = |(_, version): &(u64, VersionId)| self.index.version(*version).event < self.record.invoked;
        let newest = versions.partition_point(before).checked_sub(1).and_then(|newest| versions.get(newest));
        newest.map_or(0, |(revision, _)| *revision)
    }

    /// W11, and that the initial state is new enough (W8).
    fn check_initial_end(&self, marked: bool, event: usize, revision: u64) -> Result<(), Problem> {
        let shown = self.index.shown_before[self.record.invoked];
        let least = match self.from {
            WatchFrom::WatchList(0) | WatchFrom::StateLatest => shown,
            WatchFrom::WatchList(revision) => revision,
            WatchFrom::StateAny | WatchFrom::After(_) => 0,
        };
        if !marked && self.bookmarks && matches!(self.from, WatchFrom::WatchList(_)) {
            return Err(("W11", vec![event], "something comes, and the initial state was not ended".to_owned()));
        }
        if revision < least {
            let invariant = if marked { "W11" } else { "W8" };
            let text = format!("the initial state is of {revision}, and {least} was to be had");
            return Err((invariant, vec![event], text));
        }
        Ok(())
    }

    /// How many items, from the first on, are ADDED in the order of names. Changes among them are in the state as well.
    fn ascending_added(&self) -> usize {
        let mut last = None;
        let mut count = 0;
        while let Some((event, StreamItem::Added(_))) = self.item(count) {
            let rank = self.version(event).map(|version| self.index.key(self.index.version(version).key).rank);
            if rank.is_some() && rank <= last {
                break;
            }
            last = rank.or(last);
            count += 1;
        }
        count
    }

    fn leaves_namespace(&self, object: &Object) -> bool {
        !self.selection.namespace.is_empty() && self.selection.namespace != object.namespace
    }

    /// The items from a place on.
    fn changes(&mut self, first: usize, findings: &mut Findings) {
        let mut failed = false;
        for place in first..self.record.items.len() {
            let Some((event, item)) = self.item(place) else { return };
            findings.checked("stream events");
            if failed {
                let text = "something comes after ERROR".to_owned();
                return self.report("W14", &[self.record.items[place - 1], event], text, findings);
            }
            let checked = match item {
                StreamItem::Added(object) => self.change(event, ChangeKind::Added, object),
                StreamItem::Modified(object) => self.change(event, ChangeKind::Modified, object),
                StreamItem::Deleted(object) => self.change(event, ChangeKind::Deleted, object),
                StreamItem::Bookmark { revision, initial_events_end } => {
                    let ends_initial =
                        *initial_events_end && place == first && !matches!(self.from, WatchFrom::After(_));
                    self.bookmark(event, *revision, *initial_events_end && !ends_initial)
                }
                StreamItem::Error { code, .. } => {
                    failed = true;
                    if *code == 410 {
                        check_honest_410(self.index, self.record, self.selection, self.reached, event, findings);
                    }
                    Ok(true)
                }
            };
            match checked {
                Ok(true) => {}
                // Another checker says what is wrong with the item.
                Ok(false) => return,
                Err((invariant, events, text)) => return self.report(invariant, &events, text, findings),
            }
        }
        if !failed {
            self.check_stalled(findings);
        }
    }

    /// One change. Ok(false): the object is none that was committed.
    fn change(&mut self, event: usize, kind: ChangeKind, object: &Object) -> Result<bool, Problem> {
        let next = self.view.changes.get(self.cursor).copied();
        let seen = self.version(event);
        let Some(next) = next.filter(|next| seen == Some(next.version) && next.kind == kind) else {
            return Err(match self.wrong_change(event, kind, object) {
                Some(problem) => problem,
                None => return Ok(false),
            });
        };
        if self.marked >= next.revision {
            let text = format!("{} at {} comes after the bookmark {}", object.name, next.revision, self.marked);
            return Err(("W10", vec![event], text));
        }
        if kind == ChangeKind::Deleted
            && let Some(before) = self.index.object_before(next.version)
            && let Some(text) = wrong_last_state(before, object)
        {
            return Err(("W9", vec![event], text));
        }
        self.cursor += 1;
        self.reached = next.revision;
        Ok(true)
    }

    /// Says what is wrong with a change that is not the next one.
    fn wrong_change(&self, event: usize, kind: ChangeKind, object: &Object) -> Option<Problem> {
        let index = self.index;
        let name = object.key(self.selection.resource);
        let next = self.view.changes.get(self.cursor);
        let commit =
            |revision: u64| self.view.change_at(revision).map(|(_, change)| index.version(change.version).event);
        if let Some(next) = next.filter(|next| next.kind == ChangeKind::Deleted && kind == ChangeKind::Deleted) {
            let version = index.version(next.version);
            if *index.key(version.key).key == name && next.revision != object.revision {
                let text = format!("DELETED {name} has revision {}, the change has {}", object.revision, next.revision);
                return Some(("W9", vec![version.event, event], text));
            }
        }
        let seen = self.version(event)?;
        if self.leaves_namespace(object) {
            // S11 says so.
            return None;
        }
        let revision = index.version(seen).revision;
        let Some((place, change)) = self.view.change_at(revision).filter(|(_, change)| change.version == seen) else {
            let text = format!("{name} at {revision} is no change of what is selected");
            return Some(("W7", vec![event], text));
        };
        if place < self.cursor {
            if self.marked >= revision {
                let text = format!("{name} at {revision} comes after the bookmark {}", self.marked);
                return Some(("W10", vec![event], text));
            }
            let text = format!("{name} at {revision} comes again or too late: {} was reached", self.reached);
            return Some(("W7", vec![event], text));
        }
        if place > self.cursor {
            let missed = self.view.changes[self.cursor];
            let key = index.key(index.version(missed.version).key).key;
            let count = place - self.cursor;
            let text = format!(
                "{name} at {revision} comes after {}, and {count} changes between are missing: the first is {:?} {key} at {}",
                self.reached, missed.kind, missed.revision
            );
            let mut events: Vec<usize> = commit(missed.revision).into_iter().collect();
            events.push(event);
            return Some(("W7", events, text));
        }
        let text = format!("{name} at {revision} comes as {kind:?}, and is {:?}", change.kind);
        Some(("W7", vec![event], text))
    }

    /// W10; `extra_end` says that it is an end of an initial state where there is none, or one more.
    fn bookmark(&mut self, event: usize, revision: u64, extra_end: bool) -> Result<bool, Problem> {
        if extra_end {
            return Err(("W11", vec![event], "the initial state is ended again, or there was none".to_owned()));
        }
        if !self.bookmarks {
            return Err(("W10", vec![event], "a bookmark comes, and none was asked for".to_owned()));
        }
        if revision < self.reached {
            let text = format!("the bookmark {revision} comes after {} was reached", self.reached);
            return Err(("W10", vec![event], text));
        }
        if let Some(missed) = self.view.changes.get(self.cursor).filter(|next| next.revision <= revision) {
            let commit = self.index.version(missed.version);
            if commit.event < event {
                let key = self.index.key(commit.key).key;
                let text =
                    format!("the bookmark {revision} comes before {:?} {key} at {}", missed.kind, missed.revision);
                return Err(("W10", vec![commit.event, event], text));
            }
            // It was committed after that: S4 says so.
            return Ok(false);
        }
        (self.reached, self.marked) = (revision, revision);
        Ok(true)
    }

    /// A stream that is open, and has not been given for long what there is.
    fn check_stalled(&self, findings: &mut Findings) {
        let index = self.index;
        if self.record.ended.is_some() || end_of_node(index, self.record.client, self.record.invoked).is_some() {
            return;
        }
        let (Some(settled), Some(next)) = (index.settled(), self.view.changes.get(self.cursor)) else { return };
        let committed = index.version(next.version).event;
        let due = u128::from(index.at(committed).max(settled).0) + index.options.delivery.as_nanos();
        if due < u128::from(index.end().0) {
            let key = index.key(index.version(next.version).key).key;
            let text =
                format!("watch of {}: {:?} {key} at {} never comes", self.selection.resource, next.kind, next.revision);
            findings.liveness(index, "W7", &[self.record.invoked, committed], text);
        }
    }
}

/// How a node ended after an event, if it did: what it had open is gone.
pub(crate) fn end_of_node(index: &Index<'_>, node: &str, since: usize) -> Option<NodeChange> {
    let changes = index.nodes.get(node).map_or(&[][..], |changes| changes);
    let ends = changes.iter().filter(|(_, change)| matches!(change, NodeChange::Crashed | NodeChange::Stopped));
    ends.filter(|(event, _)| *event > since).map(|(_, change)| *change).next()
}

/// What is wrong with the object of DELETED, given the last selected state. A delete may set deletionTimestamp and take
/// away finalizers in the transaction that removes the object; then the rest cannot be compared.
fn wrong_last_state(before: &Object, shown: &Object) -> Option<String> {
    let same_ends = before.deleted_at == shown.deleted_at && before.finalizers == shown.finalizers;
    if before.uid != shown.uid {
        return Some(format!("DELETED {} shows uid {}, the object had {}", shown.name, shown.uid, before.uid));
    }
    if before.labels != shown.labels || (same_ends && before.digest != shown.digest) {
        return Some(format!("DELETED {} does not show the last state, {}", shown.name, before.revision));
    }
    None
}

/// W12 of watches: `revision` is that from which on changes were asked for.
fn check_honest_410(
    index: &Index<'_>,
    record: &Record<'_>,
    selection: Selection<'_>,
    revision: u64,
    event: usize,
    findings: &mut Findings,
) {
    let floor = index.floor_before(selection.resource, event);
    if revision >= floor {
        let from = if revision == u64::MAX { "the newest state".to_owned() } else { format!("{revision}") };
        let text = format!(
            "watch of {} from {from} on is refused as too old; the compaction floor is {floor}",
            selection.resource
        );
        findings.safety(index, "W12", &[record.invoked, event], text);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    const CHANGES: &str = "c 5 cm/a/x=one,l=app:web\nc 6 cm/a/y=one\nc 7 cm/a/x=two\nc 8 cm/a/y=two,l=app:web\nc 9 cm/a/y=-\nc 10 cm/a/z=one\n";

    fn check_watch(rest: &str, expect: &str) {
        check(&format!("{CHANGES}{rest}"), expect);
    }

    #[test]
    fn streams_are_changes() {
        let from = "> 1 watch cm from=5\n< 1 200\n";
        check_watch(
            &format!(
                "{from}~ 1 ADDED cm/a/y@6\n~ 1 MODIFIED cm/a/x@7\n~ 1 MODIFIED cm/a/y@8\n~ 1 DELETED cm/a/y@8^9\n~ 1 ADDED cm/a/z@10"
            ),
            "",
        );
        // By labels: an object leaves, and another comes and goes.
        let web = "> 1 watch cm l=app:web from=4\n< 1 200\n";
        check_watch(
            &format!("{web}~ 1 ADDED cm/a/x@5\n~ 1 DELETED cm/a/x@5^7\n~ 1 ADDED cm/a/y@8\n~ 1 DELETED cm/a/y@8^9"),
            "",
        );
        // A stream may end anywhere.
        check_watch(&format!("{from}~ 1 ADDED cm/a/y@6\n~ 1 broken"), "");
    }

    #[test]
    fn w7_no_gap_no_repetition_the_right_types() {
        let from = "> 1 watch cm from=5\n< 1 200\n";
        check_watch(&format!("{from}~ 1 MODIFIED cm/a/x@7"), "W7");
        check_watch(&format!("{from}~ 1 ADDED cm/a/y@6\n~ 1 MODIFIED cm/a/y@8"), "W7");
        check_watch(&format!("{from}~ 1 ADDED cm/a/y@6\n~ 1 ADDED cm/a/y@6"), "W7");
        check_watch(&format!("{from}~ 1 ADDED cm/a/x@5\n~ 1 ADDED cm/a/y@6"), "W7");
        check_watch(&format!("{from}~ 1 ADDED cm/a/y@6\n~ 1 ADDED cm/a/x@7"), "W7");
        let web = "> 1 watch cm l=app:web from=4\n< 1 200\n";
        check_watch(&format!("{web}~ 1 ADDED cm/a/x@5\n~ 1 MODIFIED cm/a/x@7"), "W7");
        check_watch(&format!("{web}~ 1 ADDED cm/a/x@5\n~ 1 DELETED cm/a/x@5^7\n~ 1 MODIFIED cm/a/y@8"), "W7");
        check_watch(&format!("{web}~ 1 ADDED cm/a/x@5\n~ 1 ADDED cm/a/y@6"), "W7");
        check(
            "c 5 cm/a/x=one\nc 6 cm/b/x=one\n> 1 watch cm ns=a from=4\n< 1 200\n~ 1 ADDED cm/a/x@5\n~ 1 BOOKMARK 6",
            "W10",
        );
    }

    #[test]
    fn w7_an_open_stream_goes_on() {
        let open = "> 1 watch cm from=9\n< 1 200\nhealed\nwait 30s\n";
        check_watch(&format!("{open}gauge tasks 1 1"), "W7");
        check_watch("> 1 watch cm from=9\n< 1 200\n~ 1 closed\nhealed\nwait 30s\ngauge tasks 1 1", "");
        check_watch("> 1 watch cm from=9\n< 1 200\nclient-1 crashed\nhealed\nwait 30s\ngauge tasks 1 1", "");
        check_watch("> 1 watch cm from=9\n< 1 200\nhealed\nwait 9s\ngauge tasks 1 1", "");
    }

    #[test]
    fn w8_initial_events_are_the_state() {
        let state = "> 1 watch cm\n< 1 200\n~ 1 ADDED cm/a/x@7\n";
        check_watch(&format!("{state}~ 1 ADDED cm/a/z@10\nc 11 cm/a/x=three\n~ 1 MODIFIED cm/a/x@11"), "");
        // Changes that look as if they were in the initial state are in the state after them.
        check(
            "c 5 cm/a/x=one\n> 1 watch cm\n< 1 200\n~ 1 ADDED cm/a/x@5\nc 6 cm/a/y=one\n~ 1 ADDED cm/a/y@6\nc 7 cm/a/x=two\n~ 1 MODIFIED cm/a/x@7",
            "",
        );
        check_watch(&format!("{state}c 11 cm/a/x=three\n~ 1 MODIFIED cm/a/x@11"), "W8");
        check_watch(
            "> 1 watch cm from=any\n< 1 200\n~ 1 ADDED cm/a/x@5\n~ 1 ADDED cm/a/y@6\n~ 1 MODIFIED cm/a/x@7",
            "",
        );
        check_watch("> 1 watch cm from=any\n< 1 200\n~ 1 ADDED cm/a/x@5\n~ 1 MODIFIED cm/a/x@7", "W8");
        check_watch(
            "> 1 watch cm l=app:web\n< 1 200\n~ 1 ADDED cm/a/x@7\nc 11 cm/a/z=one,l=app:web\n~ 1 ADDED cm/a/z@11",
            "W8",
        );
        // Older than what was shown.
        let stale = "w 5 cm/a/x=one\nw 6 cm/a/x=two\n> 1 watch cm\n< 1 200\n~ 1 ADDED cm/a/x@5\n~ 1 MODIFIED cm/a/x@6";
        check(stale, "W8");
        let list = "> 1 watch cm from=list:0 bookmarks\n< 1 200\n~ 1 ADDED cm/a/x@7\n";
        check_watch(&format!("{list}~ 1 END 10"), "W8");
    }

    #[test]
    fn w9_deleted_shows_the_last_state_at_the_change() {
        let from = "> 1 watch cm from=8\n< 1 200\n";
        check_watch(&format!("{from}~ 1 DELETED cm/a/y@8^9"), "");
        check_watch(&format!("{from}~ 1 DELETED cm/a/y@8"), "W9");
        check_watch(&format!("{from}~ 1 DELETED cm/a/y@6^9"), "W9");
        check_watch(&format!("{from}~ 1 DELETED cm/a/y@8^9#7"), "W9");
        let web = "> 1 watch cm l=app:web from=5\n< 1 200\n";
        check_watch(&format!("{web}~ 1 DELETED cm/a/x@7"), "W9");
    }

    #[test]
    fn w10_bookmarks_keep_their_place() {
        let from = "> 1 watch cm from=5 bookmarks\n< 1 200\n";
        check_watch(&format!("{from}~ 1 BOOKMARK 5\n~ 1 ADDED cm/a/y@6\n~ 1 BOOKMARK 6"), "");
        check_watch(&format!("{from}~ 1 BOOKMARK 6"), "W10");
        check_watch(&format!("{from}~ 1 BOOKMARK 4"), "W10");
        check_watch(&format!("{from}~ 1 ADDED cm/a/y@6\n~ 1 BOOKMARK 6\n~ 1 ADDED cm/a/y@6"), "W10");
        check_watch("> 1 watch cm from=10 bookmarks\n< 1 200\n~ 1 BOOKMARK 12\n~ 1 BOOKMARK 11", "W10");
        check_watch("> 1 watch cm from=10\n< 1 200\n~ 1 BOOKMARK 12", "W10");
    }

    #[test]
    fn w11_the_initial_state_ends_once() {
        let list = "> 1 watch cm from=list:0 bookmarks\n< 1 200\n~ 1 ADDED cm/a/x@7\n~ 1 ADDED cm/a/z@10\n";
        check_watch(&format!("{list}~ 1 END 10\n~ 1 BOOKMARK 11"), "");
        check_watch(&format!("{list}~ 1 END 10\n~ 1 END 10"), "W11");
        check_watch(&format!("{list}~ 1 BOOKMARK 10"), "W11");
        check_watch(&format!("{list}c 11 cm/a/x=three\n~ 1 MODIFIED cm/a/x@11\n~ 1 END 11"), "W11");
        check_watch("> 1 watch cm from=list:9 bookmarks\n< 1 200\n~ 1 ADDED cm/a/x@7\n~ 1 END 8", "W11");
        check(
            "w 5 cm/a/x=one\nw 6 cm/a/x=-\n> 1 watch cm from=list:0 bookmarks\n< 1 200\n~ 1 ADDED cm/a/x@5\n~ 1 END 5",
            "W11",
        );
        check_watch("> 1 watch cm from=10 bookmarks\n< 1 200\n~ 1 END 10", "W11");
    }

    #[test]
    fn w12_only_what_is_compacted_is_too_old() {
        check_watch("c 11 floor:cm=7\n> 1 watch cm from=6\n< 1 200\n~ 1 ERROR 410", "");
        check_watch("c 11 floor:cm=7\n> 1 watch cm from=6\n< 1 410 Expired", "");
        check_watch("c 11 floor:cm=7\n> 1 watch cm from=7\n< 1 200\n~ 1 ERROR 410", "W12");
        check_watch("c 11 floor:cm=7\n> 1 watch cm from=7\n< 1 410 Expired", "W12");
        check_watch("c 11 floor:cm=7\n> 1 watch cm\n< 1 200\n~ 1 ERROR 410", "W12");
        check_watch("fault pause\nc 11 floor:cm=7\n> 1 watch cm\n< 1 200\n~ 1 ERROR 410", "W12");
        check_watch("c 11 floor:cm=7\n> 1 watch cm from=any\n< 1 200\n~ 1 ERROR 410", "W12");
        let opened = "> 1 watch cm\n< 1 200\n~ 1 ADDED cm/a/z@10\nc 11 cm/a/z=-\n";
        check_watch(&format!("{opened}c 12 floor:cm=11\n~ 1 ERROR 410"), "");
        check_watch(&format!("{opened}c 12 floor:cm=10\n~ 1 ERROR 410"), "W12");
        check_watch("fault pause\nc 11 floor:cm=7\n> 1 watch cm from=any\n< 1 200\n~ 1 ERROR 410", "");
        check_watch("> 1 watch cm from=5\n< 1 200\n~ 1 ADDED cm/a/y@6\nc 11 floor:cm=8\n~ 1 ERROR 410", "");
        check_watch("> 1 watch cm from=5\n< 1 200\n~ 1 ADDED cm/a/y@6\nc 11 floor:cm=6\n~ 1 ERROR 410", "W12");
    }

    #[test]
    fn w14_nothing_comes_after_an_error() {
        let error = "c 11 floor:cm=7\n> 1 watch cm from=6\n< 1 200\n~ 1 ERROR 410\n~ 1 MODIFIED cm/a/x@7";
        check_watch(error, "W14");
    }
}
