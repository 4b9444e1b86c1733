//! S12: the history of create, update, patch, delete and GET of each object is that of a compare-and-set register.
//!
//! Wing and Gong's search, taken in the order of answers (Lowe's just-in-time linearization): a configuration is which
//! requests at work have taken effect, and the state of the register. At each answer, each configuration is carried on
//! until that request has taken effect; what is reached twice is kept once. Requests that leave the register as it is take effect as soon as they may, which rules nothing out. No
//! configuration left: not linearizable.
//!
//! A request that nobody knows the end of may take effect at any time, or never. What commits tell of it is used: a commit
//! that no answer names is a step of its own, which takes effect when it is committed or later, up to the last answer of
//! a request that may have made it. So an open request costs nothing until there is a commit that may be its.
//!
//! The search is bounded, for each object and in all. Where it gives up, it counts the object as not checked.

use std::collections::BTreeSet;

use triune_history::{Answer, Operation};

use crate::{
    Checker, Findings,
    index::{Index, KeyHistory, Record, VersionId, is_write},
    outcomes::{is_own_write, is_unknown_path, may_be_of_collection},
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

/// What a request did to the register, or what it saw.
#[derive(Clone, Copy)]
enum Effect {
    /// It saw the object at this revision.
    Sees(u64),
    /// It saw that there is none.
    SeesAbsent,
    /// It saw that there is one, not at this revision.
    SeesOther(Option<u64>),
    /// It made this version; or, if that is the live one and it may be so, nothing.
    Makes { version: VersionId, or_nothing: bool },
}

struct Request {
    /// When it may take effect at the earliest.
    invoked: usize,
    /// When it must have taken effect; None: nobody knows.
    answered: Option<usize>,
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
    for place in &history.operations {
        let record = &index.operations[*place];
        let effect = match record.success() {
            Some((event, answer)) => effect_of_success(index, record, event, answer),
            None if record.is_open() => None,
            None => record.answer().and_then(|(_, answer)| effect_of_error(record.operation, answer)),
        };
        let Some(effect) = effect else { continue };
        let answered = record.answered.map(|(event, _)| event);
        let says = format!("{} was told {}", verb(record.operation), told(record));
        requests.push(Request { invoked: record.invoked, answered, effect, says });
    }
    for version in history.versions.iter().copied().filter(|version| !claimed.contains(version)) {
        let invoked = index.version(version).event;
        let answered = last_answer_of(index, history, version, collections);
        let effect = Effect::Makes { version, or_nothing: false };
        let says = format!("revision {} was committed", index.version(version).revision);
        requests.push(Request { invoked, answered, effect, says });
    }
    requests.sort_by_key(|request| request.invoked);
    requests
}

/// The versions that answers of writes name, if they were committed meanwhile: others were found and not made.
fn claimed_versions(index: &Index<'_>, history: &KeyHistory<'_>) -> BTreeSet<VersionId> {
    let writes = history.operations.iter().map(|place| &index.operations[*place]);
    let shown = writes.filter(|record| is_write(record.operation)).filter_map(|record| {
        let (answered, _) = record.success()?;
        let version = index.seen(answered).first().copied().flatten()?;
        (record.invoked..answered).contains(&index.version(version).event).then_some(version)
    });
    shown.collect()
}

/// When a commit that no answer names must have taken effect: the last answer of a delete that may have made it; None if
/// a request that nobody knows the end of may have.
fn last_answer_of(
    index: &Index<'_>,
    history: &KeyHistory<'_>,
    version: VersionId,
    collections: &[&Record<'_>],
) -> Option<usize> {
    let event = index.version(version).event;
    index.object_before(version)?;
    let on_key = history.operations.iter().map(|place| &index.operations[*place]);
    let on_key = on_key.filter(|record| is_write(record.operation));
    let of_all = collections.iter().copied();
    let of_all = of_all.filter(|record| may_be_of_collection(index, record, version));
    let mut last = None;
    for record in on_key.chain(of_all).filter(|record| record.invoked < event) {
        if record.is_open() {
            return None;
        }
        let deletes = matches!(record.operation, Operation::Delete { .. } | Operation::DeleteCollection { .. });
        let answered = record.answered.map(|(answered, _)| answered).filter(|answered| deletes && *answered > event);
        last = last.max(answered);
    }
    last
}

fn effect_of_success(index: &Index<'_>, record: &Record<'_>, event: usize, answer: &Answer) -> Option<Effect> {
    let version = index.seen(event).first().copied().flatten();
    let makes = |or_nothing| version.map(|version| Effect::Makes { version, or_nothing });
    match record.operation {
        Operation::Get { .. } => answer.object.as_ref().map(|object| Effect::Sees(object.revision)),
        Operation::Create { .. } => makes(false),
        Operation::Patch { .. } if answer.code == 201 => makes(false),
        Operation::Update { .. } | Operation::Patch { .. } => makes(true),
        Operation::Delete { .. } if answer.object.is_some() => makes(true),
        // It made a commit that is a request of its own here, and it saw the state after that; or it found the object on
        // its way already, which tells nothing.
        Operation::Delete { .. } => {
            let mut states = index.states_between(record.key?, record.invoked, event).flatten();
            (!states.any(|object| object.deleted_at.is_some())).then_some(Effect::SeesAbsent)
        }
        _ => None,
    }
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
                now = now.into_iter().map(|configuration| self.observe(configuration, &slots)).collect();
                continue;
            }
            let Some(slot) = slots.iter().position(|held| *held == Some(place)) else { continue };
            let Some(next) = self.answer(&now, &slots, slot) else { return Verdict::GaveUp };
            if next.is_empty() {
                return Verdict::Not { place, states: now.iter().map(|(_, state)| *state).collect() };
            }
            now = next;
            slots[slot] = None;
            self.release(&mut now, &mut slots);
        }
        Verdict::Linearizable
    }

    /// Frees the slots of requests without an answer that have taken effect in every configuration.
    fn release(&self, now: &mut BTreeSet<Configuration>, slots: &mut [Option<usize>; AT_WORK_MAX]) {
        let everywhere = now.iter().fold(u64::MAX, |all, (effected, _)| all & effected);
        let mut freed = 0;
        for (slot, held) in slots.iter_mut().enumerate() {
            let is_open = held.is_some_and(|place| self.requests[place].answered.is_none());
            if is_open && everywhere & (1 << slot) != 0 {
                *held = None;
                freed |= 1 << slot;
            }
        }
        if freed != 0 {
            *now = now.iter().map(|(effected, state)| (effected & !freed, *state)).collect();
        }
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
                self.steps = self.steps.checked_sub(1)?;
                let Some(next) = self.effect(&self.requests[place], state) else { continue };
                let configuration = self.observe((effected | 1 << other, next), slots);
                if reached.insert(configuration) {
                    to_do.push(configuration);
                }
            }
            if reached.len() > CONFIGURATIONS_MAX {
                return None;
            }
        }
        Some(done)
    }

    /// Lets all requests at work take effect that leave the state as it is: that never rules anything out.
    fn observe(&self, (mut effected, state): Configuration, slots: &[Option<usize>; AT_WORK_MAX]) -> Configuration {
        for (slot, place) in slots.iter().enumerate() {
            let Some(place) = place.filter(|_| effected & (1 << slot) == 0) else { continue };
            if self.effect(&self.requests[place], state) == Some(state) {
                effected |= 1 << slot;
            }
        }
        (effected, state)
    }

    /// The state that a request leads to, if it may take effect.
    fn effect(&self, request: &Request, state: State) -> Option<State> {
        let holds = match request.effect {
            Effect::Sees(revision) => state.present && state.revision == revision,
            Effect::SeesAbsent => !state.present,
            Effect::SeesOther(None) => state.present,
            Effect::SeesOther(Some(expect)) => !state.present || state.revision != expect,
            Effect::Makes { version, or_nothing } => return self.make(version, or_nothing, state),
        };
        holds.then_some(state)
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
        let short = crate::CheckOptions { linearization_steps: (2, 2), ..options() };
        check_with(&short, text, "");
        let findings = crate::judge(&history(text), &short);
        assert_eq!(findings.coverage.unchecked.get("objects not linearized: too many steps"), Some(&1));
    }
}
