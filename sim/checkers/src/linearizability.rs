//! S12: the history of create, update, patch, delete and GET of each object is that of a compare-and-set register.
//!
//! Wing and Gong's search, taken in the order of answers (Lowe's just-in-time linearization): a configuration is which
//! requests at work have taken effect, and the state of the register. At each answer, each configuration is carried on
//! until that request has taken effect; what is reached twice is kept once. No configuration left: not linearizable.
//!
//! A request that nobody knows the end of may take effect at any time after its invocation, or never. It can only have
//! made a commit that no other request claims; this prunes the search, and is no more than the revisions in answers say.
//!
//! The search is bounded, for each object and in all. Where it gives up, it counts the object as not checked.

use std::collections::BTreeSet;

use triune_history::{Answer, Operation};

use crate::{
    Checker, Findings,
    index::{Index, KeyHistory, Record, VersionId, is_write},
    outcomes::{deletes, is_of_collection, is_own_write, is_unknown_path},
};

/// See the module.
pub const CHECKER: Checker =
    Checker { name: "linearizability", invariants: &["S12"], about: "each object is a register", run };

/// Requests on one object at work at once: the bits of a configuration. With more the object is not checked.
const AT_WORK_MAX: usize = 64;
/// Configurations kept at once. With more the object is not checked.
const CONFIGURATIONS_MAX: usize = 4_096;

fn run(index: &Index<'_>, findings: &mut Findings) {
    let (steps_each, mut steps_all) = index.options.linearization_steps;
    let collections: Vec<&Record<'_>> = index
        .operations
        .iter()
        .filter(|record| matches!(record.operation, Operation::DeleteCollection { .. }))
        .collect();
    let written = index.written_resources();
    for history in &index.keys {
        if history.operations.is_empty() {
            continue;
        }
        let (options, key) = (index.options, history.key);
        let by_servers = is_own_write(options, key) || !written.contains(key.resource.as_str());
        if by_servers || options.expiring.contains(&key.resource) {
            findings.unchecked("objects that servers write");
            continue;
        }
        let requests = requests_on(index, history, &collections);
        let mut search = Search { index, requests: &requests, steps: steps_each.min(steps_all) };
        let before = search.steps;
        match search.run() {
            Verdict::Linearizable => findings.checked("linearized objects"),
            Verdict::GaveUp => findings.unchecked("objects not linearized: too many steps"),
            Verdict::Not { place, states } => {
                let request = &requests[place];
                let states: Vec<String> = states.iter().map(State::to_string).collect();
                let text = format!(
                    "{key}: no order of the requests explains that {}; the object could be {}",
                    request.says,
                    states.join(" or ")
                );
                findings.safety(index, "S12", &[request.invoked, request.answered.unwrap_or(request.invoked)], text);
            }
        }
        steps_all -= before - search.steps;
    }
}

/// What a request did to the register, if it took effect.
enum Effect {
    /// It saw the object at this revision.
    Sees(u64),
    /// It saw that there is none.
    SeesAbsent,
    /// It saw that there is one, not at this revision.
    SeesOther(Option<u64>),
    /// It made one of these versions; or, if the first is the live one and it may be so, nothing.
    Makes { versions: Vec<VersionId>, or_nothing: bool },
    /// It removed the object, if at this revision, in a commit that cannot be told.
    Removes { expect: Option<u64> },
}

struct Request {
    invoked: usize,
    /// When it must have taken effect; None: it may never have.
    answered: Option<usize>,
    /// Whether it may also have done nothing at all.
    optional: bool,
    effect: Effect,
    says: String,
}

/// The register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// Revision of the last change that is known.
    revision: u64,
    present: bool,
}

impl std::fmt::Display for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.present {
            true => write!(formatter, "at {}", self.revision),
            false => write!(formatter, "absent"),
        }
    }
}

/// The requests on an object that tell of its state, in order of invocation.
fn requests_on(index: &Index<'_>, history: &KeyHistory<'_>, collections: &[&Record<'_>]) -> Vec<Request> {
    let mut requests = Vec::new();
    let claimed = claimed_versions(index, history);
    let free: Vec<VersionId> = history.versions.iter().copied().filter(|id| !claimed.contains(id)).collect();
    for place in &history.operations {
        let record = &index.operations[*place];
        let effect = match (record.success(), record.is_open()) {
            (Some((event, answer)), _) => effect_of_success(index, record, event, answer, &free),
            (None, true) => effect_of_open(index, record, &free),
            (None, false) => record.answer().and_then(|(_, answer)| effect_of_error(record.operation, answer)),
        };
        let Some(effect) = effect else { continue };
        let answered = record.answered.map(|(event, _)| event).filter(|_| !record.is_open());
        let optional =
            answered.is_none() || matches!(effect, Effect::Makes { or_nothing: true, .. } if is_bare_delete(record));
        let says = format!("{} was told {}", verb(record.operation), told(record));
        requests.push(Request { invoked: record.invoked, answered, optional, effect, says });
    }
    for record in collections {
        let versions: Vec<VersionId> = free
            .iter()
            .copied()
            .filter(|id| {
                let before = index.object_before(*id);
                index.version(*id).event > record.invoked
                    && before.is_some_and(|before| is_of_collection(record.operation, history.key, before))
            })
            .collect();
        let answered = record.answered.map(|(event, _)| event).filter(|_| !record.is_open());
        let versions: Vec<VersionId> = match answered {
            Some(answered) => versions.into_iter().filter(|id| index.version(*id).event < answered).collect(),
            None => versions,
        };
        for id in versions {
            let effect = Effect::Makes { versions: vec![id], or_nothing: false };
            let says = "a collection was deleted".to_owned();
            requests.push(Request { invoked: record.invoked, answered, optional: true, effect, says });
        }
    }
    requests.sort_by_key(|request| request.invoked);
    requests
}

/// The versions that answers of writes name.
fn claimed_versions(index: &Index<'_>, history: &KeyHistory<'_>) -> BTreeSet<VersionId> {
    let writes = history.operations.iter().map(|place| &index.operations[*place]);
    let writes = writes.filter(|record| is_write(record.operation));
    let shown = writes.filter_map(Record::success).filter_map(|(event, _)| index.seen(event).first().copied());
    shown.flatten().collect()
}

fn effect_of_success(
    index: &Index<'_>,
    record: &Record<'_>,
    event: usize,
    answer: &Answer,
    free: &[VersionId],
) -> Option<Effect> {
    let version = index.seen(event).first().copied().flatten();
    match record.operation {
        Operation::Get { .. } => answer.object.as_ref().map(|object| Effect::Sees(object.revision)),
        Operation::Create { .. } => version.map(|version| Effect::Makes { versions: vec![version], or_nothing: false }),
        Operation::Update { .. } | Operation::Patch { .. } => {
            version.map(|version| Effect::Makes { versions: vec![version], or_nothing: true })
        }
        Operation::Delete { expect, .. } => match (&answer.object, version) {
            (Some(_), version) => version.map(|version| Effect::Makes { versions: vec![version], or_nothing: true }),
            (None, _) => Some(effect_of_bare_delete(index, record, event, *expect, free)),
        },
        _ => None,
    }
}

fn is_bare_delete(record: &Record<'_>) -> bool {
    matches!(record.operation, Operation::Delete { .. })
        && record.success().is_some_and(|(_, answer)| answer.object.is_none())
}

/// A delete that was told success without an object removed it, in a commit that no other request claims; or it found
/// the object on its way already.
fn effect_of_bare_delete(
    index: &Index<'_>,
    record: &Record<'_>,
    answered: usize,
    expect: Option<u64>,
    free: &[VersionId],
) -> Effect {
    let between = |id: &VersionId| (record.invoked..answered).contains(&index.version(*id).event);
    let versions: Vec<VersionId> = free.iter().copied().filter(|id| between(id) && deletes(index, *id)).collect();
    let terminating = record.key.is_some_and(|key| {
        let mut states = index.states_between(key, record.invoked, answered).flatten();
        states.any(|object| object.deleted_at.is_some())
    });
    if versions.is_empty() && !terminating {
        return Effect::Removes { expect };
    }
    Effect::Makes { versions, or_nothing: terminating }
}

fn effect_of_open(index: &Index<'_>, record: &Record<'_>, free: &[VersionId]) -> Option<Effect> {
    if !is_write(record.operation) {
        return None;
    }
    let may_be = |id: &VersionId| {
        let version = index.version(*id);
        let creates = index.object_before(*id).is_none();
        let fits = match record.operation {
            Operation::Create { .. } => creates,
            Operation::Update { .. } => !creates,
            Operation::Delete { .. } => !creates,
            _ => true,
        };
        version.event > record.invoked && fits
    };
    let versions: Vec<VersionId> = free.iter().copied().filter(may_be).collect();
    (!versions.is_empty()).then_some(Effect::Makes { versions, or_nothing: false })
}

fn effect_of_error(operation: &Operation, answer: &Answer) -> Option<Effect> {
    let single = matches!(
        operation,
        Operation::Get { .. } | Operation::Update { .. } | Operation::Patch { .. } | Operation::Delete { .. }
    );
    match (answer.code, answer.reason.as_str(), operation) {
        (404, "NotFound", _) if single && !is_unknown_path(answer) && !answer.message.starts_with("namespaces ") => {
            Some(Effect::SeesAbsent)
        }
        (409, "AlreadyExists", Operation::Create { .. }) => Some(Effect::SeesOther(None)),
        (409, "Conflict", Operation::Update { expect: Some(expect), object, .. }) if object.uid.is_empty() => {
            Some(Effect::SeesOther(Some(*expect)))
        }
        _ => None,
    }
}

enum Verdict {
    Linearizable,
    GaveUp,
    Not { place: usize, states: BTreeSet<State> },
}

/// Which requests at work have taken effect (bits of their slots), and the register.
type Configuration = (u64, State);

struct Search<'s, 'a> {
    index: &'s Index<'a>,
    requests: &'s [Request],
    steps: usize,
}

impl Search<'_, '_> {
    fn run(&mut self) -> Verdict {
        let mut moments: Vec<(usize, bool, usize)> = Vec::new();
        for (place, request) in self.requests.iter().enumerate() {
            moments.push((request.invoked, false, place));
            moments.extend(request.answered.map(|answered| (answered, true, place)));
        }
        moments.sort_unstable();
        let mut slots: [Option<usize>; AT_WORK_MAX] = [None; AT_WORK_MAX];
        let mut now: BTreeSet<Configuration> = BTreeSet::from([(0, State { revision: 0, present: false })]);
        for (_, answers, place) in moments {
            if !answers {
                let Some(free) = slots.iter().position(Option::is_none) else { return Verdict::GaveUp };
                slots[free] = Some(place);
                continue;
            }
            let Some(slot) = slots.iter().position(|held| *held == Some(place)) else { continue };
            let Some(next) = self.answer(&now, &slots, slot) else { return Verdict::GaveUp };
            if next.is_empty() {
                return Verdict::Not { place, states: now.iter().map(|(_, state)| *state).collect() };
            }
            now = next;
            slots[slot] = None;
        }
        Verdict::Linearizable
    }

    /// All configurations in which the request of `slot` has taken effect, without its bit; None: too many.
    fn answer(
        &mut self,
        now: &BTreeSet<Configuration>,
        slots: &[Option<usize>; AT_WORK_MAX],
        slot: usize,
    ) -> Option<BTreeSet<Configuration>> {
        let bit = 1_u64 << slot;
        let mut reached = now.clone();
        let mut to_do: Vec<Configuration> = now.iter().copied().collect();
        let mut done = BTreeSet::new();
        while let Some((effected, state)) = to_do.pop() {
            if effected & bit != 0 {
                done.insert((effected & !bit, state));
                continue;
            }
            for (other, place) in slots.iter().enumerate() {
                let Some(place) = place.filter(|_| effected & (1 << other) == 0) else { continue };
                let request = &self.requests[place];
                let skips = (request.optional && other == slot).then_some(state);
                for next in self.effects(request, state).into_iter().chain(skips) {
                    self.steps = self.steps.checked_sub(1)?;
                    let configuration = (effected | 1 << other, next);
                    if reached.insert(configuration) {
                        to_do.push(configuration);
                    }
                }
            }
            if reached.len() > CONFIGURATIONS_MAX {
                return None;
            }
        }
        Some(done)
    }

    /// The states that a request leads to.
    fn effects(&self, request: &Request, state: State) -> Vec<State> {
        let only = |holds: bool, next: State| if holds { vec![next] } else { Vec::new() };
        match &request.effect {
            Effect::Sees(revision) => only(state.present && state.revision == *revision, state),
            Effect::SeesAbsent => only(!state.present, state),
            Effect::SeesOther(None) => only(state.present, state),
            Effect::SeesOther(Some(expect)) => only(!state.present || state.revision != *expect, state),
            Effect::Removes { expect } => {
                let holds = state.present && expect.is_none_or(|expect| expect == state.revision);
                only(holds, State { present: false, ..state })
            }
            Effect::Makes { versions, or_nothing } => {
                versions.iter().filter_map(|version| self.make(*version, *or_nothing, state)).collect()
            }
        }
    }

    fn make(&self, id: VersionId, or_nothing: bool, state: State) -> Option<State> {
        let version = self.index.version(id);
        let live = state.present && version.object.is_some() && state.revision == version.revision;
        if or_nothing && live {
            return Some(state);
        }
        let fits = match self.index.object_before(id) {
            Some(before) => state.present && state.revision == before.revision,
            None => !state.present,
        };
        let next = State { revision: version.revision, present: version.object.is_some() };
        (fits && version.revision > state.revision).then_some(next)
    }
}

fn verb(operation: &Operation) -> &'static str {
    match operation {
        Operation::Create { .. } => "a create",
        Operation::Update { .. } => "an update",
        Operation::Patch { .. } => "a patch",
        Operation::Delete { .. } => "a delete",
        _ => "a get",
    }
}

fn told(record: &Record<'_>) -> String {
    match record.answer() {
        None => "nothing".to_owned(),
        Some((_, answer)) => match &answer.object {
            Some(object) => format!("{} and revision {}", answer.code, object.revision),
            None => format!("{} {}", answer.code, answer.reason).trim_end().to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_with, history, options};

    #[test]
    fn registers_are_linearizable() {
        // A get that is at work with a write may see both states.
        let both = "w 5 cm/a/x=one\n> 1 get cm/a/x\nw 6 cm/a/x=two\n< 1 200 cm/a/x@";
        check(&format!("{both}5"), "");
        check(&format!("{both}6"), "");
        // What nobody knows the end of takes effect late, or never.
        check(
            "> 1 create cm/a/x=one\n< 1 lost\n> 2 get cm/a/x\n< 2 404 NotFound\nc 5 cm/a/x=one\n> 3 get cm/a/x\n< 3 200 cm/a/x@5",
            "",
        );
        check("w 5 cm/a/x=one\n> 1 delete cm/a/x\n< 1 lost\n> 2 get cm/a/x\n< 2 200 cm/a/x@5", "");
        // The write that a crash hid is seen by the next one.
        check(
            "w 5 cm/a/x=one\n> 1 delete cm/a/x\nc 6 cm/a/x=-\n< 1 lost\nw 7 cm/a/x=two\n> 2 get cm/a/x\n< 2 200 cm/a/x@7",
            "",
        );
        check(
            "w 5 cm/a/x=one\n> 1 deleteall cm ns=a\nc 6 cm/a/x=-\n< 1 200 @5 cm/a/x@5\n> 2 get cm/a/x\n< 2 404 NotFound",
            "",
        );
    }

    #[test]
    fn s12_stale_reads_are_found() {
        check("w 5 cm/a/x=one\nw 6 cm/a/x=two\n> 1 get cm/a/x\n< 1 200 cm/a/x@5", "S12");
        check("w 5 cm/a/x=one\nw 6 cm/a/x=-\n> 1 get cm/a/x\n< 1 200 cm/a/x@5", "S12");
        // One get has seen the new state, a later one the old.
        let back = "w 5 cm/a/x=one\n> 1 update cm/a/x=two expect=5\nc 6 cm/a/x=two\n> 2 get cm/a/x\n< 2 200 cm/a/x@6\n> 3 get cm/a/x on=api-2\n< 3 200 cm/a/x@5\n< 1 200 cm/a/x@6";
        check(back, "S12");
        // A lost write that was seen cannot be unseen.
        let unseen = "w 5 cm/a/x=one\n> 1 update cm/a/x=two expect=5\nc 6 cm/a/x=two\n< 1 lost\n> 2 get cm/a/x\n< 2 200 cm/a/x@6\n> 3 get cm/a/x\n< 3 200 cm/a/x@5";
        check(unseen, "S12");
    }

    #[test]
    fn a_search_that_gives_up_says_so() {
        let text = "w 5 cm/a/x=one\nw 6 cm/a/x=two\n> 1 get cm/a/x\n< 1 200 cm/a/x@5";
        let short = crate::CheckOptions { linearization_steps: (1, 1), ..options() };
        check_with(&short, text, "");
        let findings = crate::judge(&history(text), &short);
        assert_eq!(findings.coverage.unchecked.get("objects not linearized: too many steps"), Some(&1));
    }
}
