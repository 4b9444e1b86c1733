//! What a write was told, and what it did.
//!
//! Each commit is attributed to a request: by the revision in the answer where there is one, else by a matching of the
//! commits of an object to the requests that may have made them. So a commit without a request and a success without a
//! commit are both seen.
//!
//! - S2: a write that is conditioned on revision m is committed on top of m; a create on top of nothing.
//! - S6: success is one commit of the request between invocation and answer; a definite failure is none.
//! - S7: no commit leaves an object as it was; a success without a commit shows a revision that was live meanwhile.
//! - S8: 404, 409 and "is being terminated" were true of some state between invocation and answer.
//! - L18: once everything has settled, nothing is committed without a cause.

use std::collections::{BTreeMap, BTreeSet};

use triune_history::{Answer, Object, ObjectKey, Operation, Outcome};

use crate::{
    CheckOptions, Checker, Findings,
    index::{Index, KeyHistory, Record, VersionId},
    view::Selection,
};

/// See the module.
pub const CHECKER: Checker = Checker {
    name: "outcomes",
    invariants: &["S2", "S6", "S7", "S8", "L18"],
    about: "answers to writes agree with commits; errors were true",
    run,
};

fn run(index: &Index<'_>, findings: &mut Findings) {
    let generated = generated_creates(index);
    let collections =
        index.operations.iter().filter(|record| matches!(record.operation, Operation::DeleteCollection { .. }));
    let collections: Vec<&Record<'_>> = collections.collect();
    let written = index.written_resources();
    for history in &index.keys {
        check_no_ops(index, history, findings);
        let mut work = Attribution::new(index, history);
        work.pin(findings);
        work.match_deletes(findings);
        if written.contains(history.key.resource.as_str()) && !is_own_write(index.options, history.key) {
            work.match_commits(&generated, &collections, findings);
        }
    }
    for record in &index.operations {
        check_error(index, record, findings);
        check_shows_what_was_sent(index, record, findings);
    }
}

/// Whether servers write an object by themselves.
pub fn is_own_write(options: &CheckOptions, key: &ObjectKey) -> bool {
    options.own_writes.iter().any(|pattern| pattern.is_about(key))
}

/// Whether a commit may be that of a delete of a collection: it was at work, and the object was selected when it went (the
/// reference deletes by name whatever it has listed). Also one that failed in the end may have deleted some.
pub fn may_be_of_collection(index: &Index<'_>, record: &Record<'_>, id: VersionId) -> bool {
    let Operation::DeleteCollection { resource, namespace, labels } = record.operation else { return false };
    let version = index.version(id);
    let key = index.key(version.key).key;
    let until = match record.answered {
        Some((_, Outcome::NotSent(_))) => return false,
        Some((answered, _)) if !record.is_open() => answered,
        _ => index.events.len(),
    };
    if *resource != key.resource || record.invoked > version.event || version.event > until {
        return false;
    }
    let Some(before) = index.object_before(id) else { return false };
    Selection { resource, namespace, labels }.shows(before)
}

/// The revision that a write is conditioned on.
fn expected(operation: &Operation) -> Option<u64> {
    match operation {
        Operation::Update { expect, .. } | Operation::Patch { expect, .. } | Operation::Delete { expect, .. } => {
            *expect
        }
        _ => None,
    }
}

/// S7 on commits.
fn check_no_ops(index: &Index<'_>, history: &KeyHistory<'_>, findings: &mut Findings) {
    for id in &history.versions {
        let version = index.version(*id);
        let Some((before, after)) = index.object_before(*id).zip(version.object) else { continue };
        if before.uid == after.uid && before.digest == after.digest {
            let events = [version.previous.map_or(0, |previous| index.version(previous).event), version.event];
            findings.safety(index, "S7", &events, format!("{} is committed again as it was", history.key));
        }
    }
}

/// Creates with a generated name that nobody knows the end of: `(namespace, resource)`, record.
fn generated_creates<'i, 'a>(index: &'i Index<'a>) -> BTreeMap<(&'a str, &'a str), Vec<&'i Record<'a>>> {
    let mut found: BTreeMap<(&str, &str), Vec<&Record<'_>>> = BTreeMap::new();
    for record in &index.operations {
        if let Operation::Create { key, .. } = record.operation
            && record.key.is_none()
            && !record.definitely_failed()
        {
            found.entry((&key.namespace, &key.resource)).or_default().push(record);
        }
    }
    found
}

/// Attributes the commits of one object to requests.
struct Attribution<'i, 'a> {
    index: &'i Index<'a>,
    history: &'i KeyHistory<'a>,
    /// Versions that an answer names, with the request that must have made them.
    pinned: BTreeMap<VersionId, Option<&'i Record<'a>>>,
    /// Deletes that were told success without an object.
    bare_deletes: Vec<&'i Record<'a>>,
    /// Writes that nobody knows the end of.
    open: Vec<&'i Record<'a>>,
    /// Which request made which version, found by matching: index in `bare_deletes`, then in `open`.
    matched: BTreeMap<usize, VersionId>,
    /// The same, the other way round.
    makers: BTreeMap<VersionId, usize>,
}

impl<'i, 'a> Attribution<'i, 'a> {
    fn new(index: &'i Index<'a>, history: &'i KeyHistory<'a>) -> Attribution<'i, 'a> {
        let (bare_deletes, open) = (Vec::new(), Vec::new());
        let (matched, makers) = (BTreeMap::new(), BTreeMap::new());
        Attribution { index, history, pinned: BTreeMap::new(), bare_deletes, open, matched, makers }
    }

    /// Sorts the requests, and attributes those whose answer shows an object.
    fn pin(&mut self, findings: &mut Findings) {
        for place in &self.history.operations {
            let record = &self.index.operations[*place];
            if !crate::index::is_write(record.operation) {
                continue;
            }
            if let Some((event, answer)) = record.success() {
                findings.checked("acknowledged writes");
                match (&answer.object, self.index.seen(event).first().copied().flatten()) {
                    (Some(_), Some(version)) => self.pin_one(record, event, version, findings),
                    // Not what was committed: S1 says so.
                    (Some(_), None) => {}
                    (None, _) if matches!(record.operation, Operation::Delete { .. }) => self.bare_deletes.push(record),
                    (None, _) => {}
                }
            } else if record.is_open() {
                self.open.push(record);
            }
        }
    }

    fn pin_one(&mut self, record: &'i Record<'a>, answered: usize, id: VersionId, findings: &mut Findings) {
        let index = self.index;
        let version = index.version(id);
        if version.key != record.key.unwrap_or(version.key) || version.event > answered {
            return;
        }
        let key = self.history.key;
        let events = [record.invoked, version.event, answered];
        let expect = expected(record.operation);
        let creates = matches!(record.operation, Operation::Create { .. });
        let own = creates || expect.is_some_and(|expect| expect != version.revision);
        if version.event < record.invoked {
            if own {
                let text =
                    format!("the write of {key} was told success with revision {}, which is older", version.revision);
                findings.safety(index, "S6", &events, text);
            } else if version.next.is_some_and(|next| index.version(next).event < record.invoked) {
                let text = format!("the write of {key} was told {} without a commit, which was past", version.revision);
                findings.safety(index, "S7", &events, text);
            }
            return;
        }
        let first = self.pinned.entry(id).or_insert(None);
        if let (true, Some(first)) = (own, *first) {
            let text = format!("two writes of {key} were told success with the one commit {}", version.revision);
            return findings.safety(index, "S6", &[first.invoked, record.invoked, version.event, answered], text);
        }
        if own {
            *first = Some(record);
        }
        let before = version.previous.map(|previous| index.version(previous));
        let live = before.filter(|before| before.object.is_some()).map(|before| before.revision);
        match (creates, expect, live) {
            (true, _, Some(live)) => {
                let text = format!("{key} is created on top of revision {live}");
                findings.safety(index, "S2", &events, text);
            }
            (false, Some(expect), live) if own && live != Some(expect) => {
                let on = live.map_or("nothing".to_owned(), |live| format!("revision {live}"));
                let text = format!("a write of {key} conditioned on {expect} is committed on top of {on}");
                findings.safety(index, "S2", &events, text);
            }
            _ => {}
        }
    }

    /// Each delete that was told success has a commit, or found the object on its way already.
    fn match_deletes(&mut self, findings: &mut Findings) {
        for place in 0..self.bare_deletes.len() {
            let record = self.bare_deletes[place];
            if self.augment_delete(place, &mut BTreeSet::new()) || self.was_terminating(record) {
                continue;
            }
            let answered = record.answered.map_or(record.invoked, |(event, _)| event);
            let key = self.history.key;
            let unconditional =
                |id: &&VersionId| self.may_have_made(record, **id, false) && !self.makers.contains_key(*id);
            let other = self.history.versions.iter().find(unconditional).copied();
            if let Some(other) = other {
                self.makers.insert(other, place);
                self.matched.insert(place, other);
            }
            let other = other.map(|id| self.index.version(id).event);
            let invariant = if other.is_some() { "S2" } else { "S6" };
            let mut events = vec![record.invoked, answered];
            events.extend(other);
            let text = match other {
                Some(_) => format!("the delete of {key} was told success, and its condition did not hold"),
                None => format!("the delete of {key} was told success, and no commit of it is between"),
            };
            findings.safety(self.index, invariant, &events, text);
        }
    }

    fn was_terminating(&self, record: &Record<'_>) -> bool {
        let until = record.effect_until(self.index.events.len());
        let Some(key) = record.key else { return false };
        let mut states = self.index.states_between(key, record.invoked, until).flatten();
        states.any(|object| object.deleted_at.is_some())
    }

    /// A path of the matching from a delete to a free commit (Kuhn).
    fn augment_delete(&mut self, place: usize, tried: &mut BTreeSet<VersionId>) -> bool {
        let record = self.bare_deletes[place];
        let versions: Vec<VersionId> = self.within(record).collect();
        for id in versions {
            if self.pinned.contains_key(&id) || !self.may_have_made(record, id, true) || !tried.insert(id) {
                continue;
            }
            let holder = self.makers.get(&id).copied();
            // One that may have found the object on its way needs no commit.
            let needs_none = holder.is_some_and(|holder| self.was_terminating(self.bare_deletes[holder]));
            if needs_none && let Some(holder) = holder {
                self.matched.remove(&holder);
            }
            if needs_none || holder.is_none_or(|holder| self.augment_delete(holder, tried)) {
                self.matched.insert(place, id);
                self.makers.insert(id, place);
                return true;
            }
        }
        false
    }

    /// The versions committed while a request may have taken effect.
    fn within(&self, record: &Record<'_>) -> impl Iterator<Item = VersionId> + 'i {
        let (index, until) = (self.index, record.effect_until(self.index.events.len()));
        let versions = &self.history.versions;
        let first = versions.partition_point(|id| index.version(*id).event < record.invoked);
        versions[first..].iter().copied().take_while(move |id| index.version(*id).event < until)
    }

    /// Each commit was made by somebody.
    fn match_commits(
        &mut self,
        generated: &BTreeMap<(&str, &str), Vec<&Record<'_>>>,
        collections: &[&Record<'_>],
        findings: &mut Findings,
    ) {
        let index = self.index;
        for id in &self.history.versions {
            let version = index.version(*id);
            findings.checked("commits attributed");
            if self.pinned.contains_key(id)
                || self.makers.contains_key(id)
                || self.augment_commit(*id, generated, collections, &mut BTreeSet::new())
            {
                continue;
            }
            let settled = index.settled().is_some_and(|settled| index.at(version.event) > settled);
            let what = match (index.object_before(*id), version.object) {
                (_, None) => "removed",
                (None, Some(_)) => "created",
                (Some(_), Some(_)) => "changed",
            };
            let text = format!("{} is {what} at {} and no request did that", self.history.key, version.revision);
            if settled {
                findings.liveness(index, "L18", &[version.event], text);
            } else {
                findings.safety(index, "S6", &[version.event], text);
            }
        }
    }

    /// A path of the matching from a commit to a free request, or to one that makes many (Kuhn). Requests that are
    /// matched stay so, or their commit is that of such a one.
    fn augment_commit(
        &mut self,
        id: VersionId,
        generated: &BTreeMap<(&str, &str), Vec<&Record<'_>>>,
        collections: &[&Record<'_>],
        tried: &mut BTreeSet<usize>,
    ) -> bool {
        if self.is_made_by_many(id, generated, collections) {
            return true;
        }
        let count = self.bare_deletes.len() + self.open.len();
        for place in 0..count {
            let record = self.request(place);
            if !self.may_have_made(record, id, true) || !tried.insert(place) {
                continue;
            }
            let held = self.matched.get(&place).copied();
            if held.is_none_or(|held| self.augment_commit(held, generated, collections, tried)) {
                self.matched.insert(place, id);
                self.makers.insert(id, place);
                return true;
            }
        }
        false
    }

    fn request(&self, place: usize) -> &'i Record<'a> {
        match place.checked_sub(self.bare_deletes.len()) {
            Some(open) => self.open[open],
            None => self.bare_deletes[place],
        }
    }

    /// Whether a commit is that of a request that may make several, or of the clock.
    fn is_made_by_many(
        &self,
        id: VersionId,
        generated: &BTreeMap<(&str, &str), Vec<&Record<'_>>>,
        collections: &[&Record<'_>],
    ) -> bool {
        let (index, key) = (self.index, self.history.key);
        let version = index.version(id);
        let was_open = |record: &&&Record<'_>| {
            let until = match record.answered {
                Some((event, _)) if !record.is_open() => event,
                _ => index.events.len(),
            };
            record.invoked < version.event && version.event < until
        };
        match (index.object_before(id), version.object) {
            (None, Some(_)) => {
                let creates = generated.get(&(key.namespace.as_str(), key.resource.as_str()));
                creates.is_some_and(|creates| creates.iter().any(|record| was_open(&record)))
            }
            (Some(_), None) if index.options.expiring.contains(&key.resource) => true,
            (Some(_), _) if deletes(index, id) => {
                collections.iter().any(|record| may_be_of_collection(index, record, id))
            }
            _ => false,
        }
    }

    /// Whether a request, at work at the time, does what a commit did; with its conditions or without.
    fn may_have_made(&self, record: &Record<'_>, id: VersionId, conditions: bool) -> bool {
        let index = self.index;
        let version = index.version(id);
        if record.invoked > version.event || version.event > record.effect_until(index.events.len()) {
            return false;
        }
        let before = index.object_before(id);
        let holds = !conditions
            || expected(record.operation).is_none_or(|expect| before.is_some_and(|before| before.revision == expect));
        match (record.operation, before, version.object) {
            (Operation::Create { .. }, None, Some(_)) => true,
            (Operation::Update { .. } | Operation::Patch { .. }, Some(_), Some(_)) => holds,
            (Operation::Update { .. } | Operation::Patch { .. }, Some(before), None) => {
                holds && before.deleted_at.is_some()
            }
            (Operation::Patch { kind, .. }, None, Some(_)) => kind == "apply",
            (Operation::Delete { uid, .. }, Some(before), _) => {
                let same = !conditions || uid.as_ref().is_none_or(|uid| *uid == before.uid);
                holds && same && deletes(index, id)
            }
            _ => false,
        }
    }
}

/// Whether a commit removes the object, or marks it, or brings its end nearer.
fn deletes(index: &Index<'_>, id: VersionId) -> bool {
    let Some(before) = index.object_before(id) else { return false };
    index.version(id).object.is_none_or(|after| after.deleted_at.is_some() && after.deleted_at != before.deleted_at)
        || index
            .version(id)
            .object
            .is_some_and(|after| after.deleted_at.is_some() && after.finalizers != before.finalizers)
}

/// S8.
fn check_error(index: &Index<'_>, record: &Record<'_>, findings: &mut Findings) {
    let Some((answered, answer)) = record.answer() else { return };
    let events = [record.invoked, answered];
    let Some(key) = record.key else { return };
    let name = index.key(key).key;
    if creates_in_namespace(record.operation) && is_about_namespace(answer) {
        return check_namespace_error(index, record, name, answered, findings);
    }
    let states = || index.states_between(key, record.invoked, answered);
    let creates = matches!(record.operation, Operation::Create { .. });
    let text = match (answer.code, answer.reason.as_str()) {
        // An answer from the cache may be older: W3 and W4 judge it.
        (404, "NotFound") if matches!(record.operation, Operation::GetCached { .. }) => return,
        (404, "NotFound") if !creates && !is_unknown_path(answer) => {
            if states().any(|state| state.is_none()) {
                return findings.checked("errors");
            }
            format!("{name} was not found, and it was there all the time")
        }
        (409, "AlreadyExists") if creates => {
            if states().any(|state| state.is_some()) {
                return findings.checked("errors");
            }
            format!("{name} was said to exist, and it was not there at any time")
        }
        (409, "Conflict") => match conflict_was_true(record.operation, states()) {
            Some(true) => return findings.checked("errors"),
            Some(false) => format!("a write of {name} was told of a conflict, and its condition held all the time"),
            None => return,
        },
        _ => return,
    };
    findings.safety(index, "S8", &events, text);
}

/// Whether a conflict was so in some state; None if the request has no condition that can be judged.
fn conflict_was_true<'a>(operation: &Operation, mut states: impl Iterator<Item = Option<&'a Object>>) -> Option<bool> {
    let (uid, expect) = match operation {
        Operation::Update { expect, object, .. } => (Some(&object.uid).filter(|uid| !uid.is_empty()), *expect),
        Operation::Delete { uid, expect, .. } => (uid.as_ref(), *expect),
        Operation::Patch { expect, kind, .. } if kind != "apply" => (None, *expect),
        _ => return None,
    };
    if uid.is_none() && expect.is_none() {
        return None;
    }
    Some(states.any(|state| {
        state.is_none_or(|object| {
            expect.is_some_and(|expect| expect != object.revision) || uid.is_some_and(|uid| *uid != object.uid)
        })
    }))
}

fn creates_in_namespace(operation: &Operation) -> bool {
    match operation {
        Operation::Create { key, .. } => !key.namespace.is_empty(),
        Operation::Patch { key, kind, .. } => !key.namespace.is_empty() && kind == "apply",
        _ => false,
    }
}

fn is_about_namespace(answer: &Answer) -> bool {
    (answer.code == 403 && answer.message.contains("because it is being terminated"))
        || (answer.code == 404 && answer.message.starts_with("namespaces "))
}

/// Whether a 404 says that there is no such path or resource.
pub fn is_unknown_path(answer: &Answer) -> bool {
    answer.code == 404
        && (answer.reason != "NotFound" || answer.message.contains("could not find the requested resource"))
}

fn check_namespace_error(
    index: &Index<'_>,
    record: &Record<'_>,
    name: &ObjectKey,
    answered: usize,
    findings: &mut Findings,
) {
    let namespace = ObjectKey { resource: "namespaces".into(), namespace: String::new(), name: name.namespace.clone() };
    let was_true = match index.key_id(&namespace) {
        None => true,
        Some(key) => {
            let mut states = index.states_between(key, record.invoked, answered);
            states.any(|state| state.is_none_or(|object| object.deleted_at.is_some()))
        }
    };
    findings.checked("errors");
    if !was_true {
        let text = format!("{name} was refused for its namespace, which was there and active all the time");
        findings.safety(index, "S8", &[record.invoked, answered], text);
    }
}

/// S6: the answer to a write shows the labels that were sent.
fn check_shows_what_was_sent(index: &Index<'_>, record: &Record<'_>, findings: &mut Findings) {
    let (Operation::Create { object: Some(sent), .. } | Operation::Update { object: sent, .. }) = record.operation
    else {
        return;
    };
    let Some((answered, answer)) = record.success() else { return };
    let Some(shown) = &answer.object else { return };
    let lost = sent.labels.iter().find(|(key, value)| shown.labels.get(*key) != Some(value));
    if let Some((key, value)) = lost {
        let text = format!("the label {key}={value} was sent for {} and is not in the answer", shown.name);
        findings.safety(index, "S6", &[record.invoked, answered], text);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    #[test]
    fn writes_have_their_commits() {
        check("w 5 cm/a/x=one\nw 6 cm/a/x=two\nw 7 cm/a/x=-\nw 8 cm/a/x=three", "");
        // Of two that nobody knows the end of, one was carried out.
        check("> 1 create cm/a/x=one\n> 2 create cm/a/y=two\n< 1 lost\n< 2 lost\nc 5 cm/a/x=one", "");
        // Long after.
        check("> 1 create cm/a/x=one\n< 1 504 Timeout\nwait 50s\nc 5 cm/a/x=one", "");
        check("> 1 create cm/a/=one\nc 5 cm/a/x7=one\n< 1 201 cm/a/x7@5", "");
        check("> 1 create cm/a/=one\nc 5 cm/a/x7=one\n< 1 lost", "");
        // What was listed goes while it is selected, and not any more when it was relabelled.
        let listed = |label: &str| {
            format!(
                "w 5 cm/a/x=one,l=app:web\n> 1 deleteall cm l=app:web\nw 6 cm/a/x=two,l=app:{label}\nc 7 cm/a/x=-\n< 1 200 @5 cm/a/x@5"
            )
        };
        check(&listed("web"), "");
        check(&listed("db"), "G5 S6");
        // An update that takes the last finalizer removes: its answer is the object as it would have been.
        let removed = "w 5 cm/a/x=one,f=hold\nc 6 cm/a/x=one,f=hold,d=10\n> 1 update cm/a/x=one,d=10 expect=6\nc 7 cm/a/x=-\n< 1 200 cm/a/x@6#9";
        check(&format!("> 9 delete cm/a/x\n{removed}\n< 9 200"), "");
        // Two deletes, two incarnations, and answers that tell of neither.
        check(
            "w 5 cm/a/x=one\n> 1 delete cm/a/x\n> 2 delete cm/a/x\nc 6 cm/a/x=-\nw 7 cm/a/x=two\nc 8 cm/a/x=-\n< 1 200\n< 2 200",
            "",
        );
        // The first found it on its way, and needs no commit that another may need.
        check(
            "w 5 cm/a/x=one,f=f\n> 9 delete cm/a/x\nc 6 cm/a/x=one,f=f,d=10\n< 9 200\n> 1 delete cm/a/x\n> 2 update cm/a/x=one,d=10 expect=6\nc 7 cm/a/x=-\n< 2 200 cm/a/x@6^7\nw 8 cm/a/x=two\n> 3 delete cm/a/x\nc 9 cm/a/x=-\n< 1 200\n< 3 200",
            "",
        );
        // A no-op shows the live revision.
        check("w 5 cm/a/x=one\n> 1 update cm/a/x=one expect=5\n< 1 200 cm/a/x@5", "");
    }

    #[test]
    fn s2_a_condition_holds_when_it_is_committed() {
        let raced = "w 5 cm/a/x=one\n> 1 update cm/a/x=two expect=5\nw 6 cm/a/x=mine\nc 7 cm/a/x=two\n< 1 200 cm/a/x@7";
        check(raced, "S2");
        check("w 5 cm/a/x=one\n> 1 create cm/a/x=two\nc 6 cm/a/x=two\n< 1 201 cm/a/x@6", "S2");
        check("w 5 cm/a/x=one\n> 1 delete cm/a/x expect=4\nc 6 cm/a/x=-\n< 1 200", "S2");
    }

    #[test]
    fn s6_success_is_one_commit_failure_none() {
        check("> 1 create cm/a/x=one\nc 5 cm/a/x=one\n< 1 422 Invalid", "S6");
        check("> 1 create cm/a/x=one\nc 5 cm/a/x=one\n< 1 409 AlreadyExists", "S6");
        check("> 1 create cm/a/x=one\nc 5 cm/a/x=one\n< 1 unsent", "S6");
        check(
            "w 5 cm/a/x=one\n> 1 update cm/a/x=two expect=5\nc 6 cm/a/x=two\nc 7 cm/a/x=three\n< 1 200 cm/a/x@6",
            "S6",
        );
        check("w 5 cm/a/x=one\n> 1 delete cm/a/x\n< 1 200", "S12 S6");
        check("w 5 cm/a/x=one\n> 1 create cm/a/y=one\n< 1 201 cm/a/y@4", "S1");
        check("w 5 cm/a/x=one\nw 6 cm/a/x=two\n> 1 update cm/a/x=three expect=5\n< 1 200 cm/a/x@6", "S6");
        check(
            "> 1 create cm/a/x=one\n> 2 create cm/a/x=one\nc 5 cm/a/x=one\n< 1 201 cm/a/x@5\n< 2 201 cm/a/x@5",
            "S12 S6",
        );
        check("> 1 create cm/a/x=one,l=app:web\nc 5 cm/a/x=one\n< 1 201 cm/a/x@5", "S6");
        // The same commit cannot be that of two deletes.
        check("w 5 cm/a/x=one\n> 1 delete cm/a/x\n> 2 delete cm/a/x\nc 6 cm/a/x=-\n< 1 200\n< 2 200", "S6");
    }

    #[test]
    fn s7_a_no_op_is_no_commit() {
        check("w 5 cm/a/x=one\nw 6 cm/a/x=one", "S7");
        // Nor does it show what was past when it was asked for; no order explains that either.
        let past = "w 5 cm/a/x=one\nw 6 cm/a/x=two\n> 1 update cm/a/x=one\n< 1 200 cm/a/x@5";
        check(past, "S12 S7");
    }

    #[test]
    fn s8_errors_were_true() {
        check("> 1 delete cm/a/x\n< 1 404 NotFound", "");
        check("w 5 cm/a/x=one\n> 1 create cm/a/x=two\n< 1 409 AlreadyExists", "");
        check("w 5 cm/a/x=one\n> 1 update cm/a/x=two expect=4\n< 1 409 Conflict", "");
        check("w 5 cm/a/x=one\n> 1 update cm/a/x=two expect=5 uid=uid-5\n< 1 409 Conflict", "S8");
        check("w 5 cm/a/x=one\n> 1 delete cm/a/x uid=uid-4\n< 1 409 Conflict", "");
        check("w 5 cm/a/x=one\n> 1 delete cm/a/x uid=uid-5\n< 1 409 Conflict", "S8");
        check("> 1 create cm/z/x=one\n< 1 404 NotFound says=namespaces_\"z\"_not_found", "");
        check("> 1 create cm/a/x=one\n< 1 404 NotFound says=namespaces_\"a\"_not_found", "S8");
        check("> 1 create cm/a/x=one\n< 1 403 Forbidden says=in_a_because_it_is_being_terminated", "S8");
        // What a register never was, no order explains either.
        check("w 5 cm/a/x=one\n> 1 delete cm/a/x\n< 1 404 NotFound", "S12 S8");
        check("> 1 create cm/a/x=two\n< 1 409 AlreadyExists", "S12 S8");
    }

    #[test]
    fn l18_a_settled_world_is_quiet() {
        check("healed\nwait 11s\nw 5 cm/a/x=one", "");
        check("w 5 cm/a/x=one\nhealed\nwait 11s\nc 6 cm/a/x=two\nwait 1s\nc 7 cm/a/y=two", "L18");
    }
}
