//! What is wrong with a changed status of a job: conditions, times and counts must fit each other. A rule whose fields have
//! not changed is not asked, so that a change of the spec does not block the controller.

use triune_api::{Value, field::FieldError, path::Path, time};

use super::{indexes, policies};
use crate::{
    kinds::{
        pod_spec::{integer_of, not_negative, some_of, text_of},
        shown,
    },
    tree,
};

const STATUS: Path<'static> = Path::new("status");
const IMMUTABLE: &str = "field is immutable";

static NULL: Value = Value::Null;

/// Both states of a job.
struct Change<'a> {
    old: &'a Value,
    new: &'a Value,
    before: &'a Value,
    after: &'a Value,
    spec: &'a Value,
}

impl Change<'_> {
    /// Whether a field of the status differs.
    fn differs(&self, field: &str) -> bool {
        some_of(self.before, field) != some_of(self.after, field)
    }

    /// Whether a condition holds now.
    fn is(&self, condition: &str) -> bool {
        has_condition(self.new, condition)
    }

    /// Whether a condition held before.
    fn was(&self, condition: &str) -> bool {
        has_condition(self.old, condition)
    }

    /// Whether a condition came or went.
    fn turned(&self, condition: &str) -> bool {
        self.is(condition) != self.was(condition)
    }

    fn finished(&self) -> bool {
        self.is("Complete") || self.is("Failed")
    }

    fn turned_finished(&self) -> bool {
        self.finished() != (self.was("Complete") || self.was("Failed"))
    }

    fn number(&self, field: &str) -> i64 {
        integer_of(self.after, field).unwrap_or_default()
    }

    fn shown(&self, field: &str) -> Value {
        some_of(self.after, field).cloned().unwrap_or_default()
    }

    fn indexed(&self) -> bool {
        text_of(self.spec, "completionMode") == "Indexed"
    }
}

/// Whether a condition of a job is true.
pub fn has_condition(job: &Value, kind: &str) -> bool {
    let mut conditions = tree::items(job, "/status/conditions").iter();
    conditions.any(|condition| text_of(condition, "type") == kind && text_of(condition, "status") == "True")
}

/// An error about the conditions together.
fn refuse(refused: bool, message: impl Into<String>, errors: &mut Vec<FieldError>) {
    if refused {
        errors.push(policies::invalid(&STATUS.field("conditions"), message));
    }
}

/// Checks an update of the status.
pub fn updated(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let of = |object: &'_ Value, field: &str| object.get(field).cloned().unwrap_or_default();
    let (before, after, spec) = (of(old, "status"), of(new, "status"), of(new, "spec"));
    let change = Change { old, new, before: &before, after: &after, spec: &spec };
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        not_negative(&after, field, &STATUS, errors);
    }
    uncounted(&after, errors);
    let (complete, failed) = (change.is("Complete"), change.is("Failed"));
    let (target, met) = (change.is("FailureTarget"), change.is("SuccessCriteriaMet"));
    let message = "cannot set Complete=True and Failed=true conditions";
    refuse((change.turned("Complete") || change.turned("Failed")) && complete && failed, message, errors);
    let message = "cannot set Complete=True and FailureTarget=true conditions";
    refuse((change.turned("Complete") || change.turned("FailureTarget")) && complete && target, message, errors);
    completion_time(&change, errors);
    let message = "cannot set Failed=True condition without the FailureTarget=true condition";
    refuse((change.turned("Failed") || change.differs("failedIndexes")) && failed && !target, message, errors);
    let message = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
    refuse((change.turned("Complete") || change.turned("SuccessCriteriaMet")) && complete && !met, message, errors);
    of_finished(&change, errors);
    lists_of_indexes(&change, errors);
    let terminating = change.number("terminating");
    if (change.turned_finished() || change.differs("terminating")) && terminating > 0 && change.finished() {
        let message = "terminating>0 is invalid for finished job";
        errors.push(STATUS.field("terminating").invalid(terminating, message));
    }
    let ready = change.number("ready");
    let told = some_of(&after, "ready").is_some() && (change.differs("ready") || change.differs("active"));
    if told && ready > change.number("active") {
        errors.push(STATUS.field("ready").invalid(ready, "cannot set more ready pods than active"));
    }
    refuse(met && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions", errors);
    refuse(met && target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions", errors);
    let message = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
    refuse(some_of(&spec, "successPolicy").is_some() && !met && complete, message, errors);
    against_before(&change, errors);
}

/// What depends on the state before alone.
fn against_before(change: &Change<'_>, errors: &mut Vec<FieldError>) {
    for kind in ["Failed", "Complete", "FailureTarget"] {
        let message = format!("cannot disable the terminal {kind}=True condition");
        refuse(change.was(kind) && !change.is(kind), message, errors);
    }
    let shrinks = change.indexed() && some_of(change.spec, "completions") == some_of(change.spec, "parallelism");
    for (field, may_shrink) in [("failed", false), ("succeeded", shrinks)] {
        let number = change.number(field);
        if !may_shrink && number < integer_of(change.before, field).unwrap_or_default() {
            errors.push(STATUS.field(field).invalid(number, format!("cannot decrease the {field} counter")));
        }
    }
    let set_both = |field: &str| some_of(change.before, field).is_some() && some_of(change.after, field).is_some();
    if set_both("completionTime") && change.differs("completionTime") {
        errors.push(STATUS.field("completionTime").invalid(change.shown("completionTime"), IMMUTABLE));
    }
    let not_suspended =
        |condition: &Value| text_of(condition, "type") == "Suspended" && text_of(condition, "status") == "False";
    let resumes = change.was("Suspended") && tree::items(change.after, "/conditions").iter().any(not_suspended);
    let suspended = tree::truth(change.spec, "/suspend");
    if change.differs("startTime") && !resumes && some_of(change.before, "startTime").is_some() && !suspended {
        let message = "field is immutable for unsuspended job once set";
        errors.push(STATUS.field("startTime").invalid(change.shown("startTime"), message));
    }
    let (was_met, met) = (change.was("SuccessCriteriaMet"), change.is("SuccessCriteriaMet"));
    refuse(was_met && !met, "cannot disable the SuccessCriteriaMet=True condition", errors);
    let message = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
    refuse(change.was("Complete") && !was_met && met, message, errors);
}

fn uncounted(status: &Value, errors: &mut Vec<FieldError>) {
    let path = STATUS.field("uncountedTerminatedPods");
    let mut seen: Vec<&str> = Vec::new();
    for list in ["succeeded", "failed"] {
        let path = path.field(list);
        let uids = tree::items(status, &format!("/uncountedTerminatedPods/{list}"));
        for (index, uid) in uids.iter().filter_map(Value::as_str).enumerate() {
            if uid.is_empty() {
                errors.push(path.index(index).invalid("", "must not be empty"));
            } else if seen.contains(&uid) {
                errors.push(path.index(index).duplicate(uid));
            } else {
                seen.push(uid);
            }
        }
    }
}

/// When the job completed: after it started, if and only if it is complete.
fn completion_time(change: &Change<'_>, errors: &mut Vec<FieldError>) {
    let path = STATUS.field("completionTime");
    let complete = change.is("Complete");
    let [started, completed] = ["startTime", "completionTime"].map(|field| some_of(change.after, field));
    if change.turned("Complete") || change.differs("completionTime") {
        if completed.is_some() && !complete {
            let message = "cannot set completionTime when there is no Complete=True condition";
            errors.push(path.invalid(change.shown("completionTime"), message));
        }
        if completed.is_none() && complete {
            errors.push(path.required("completionTime is required for Complete jobs"));
        }
    }
    let at = |value: Option<&Value>| value.and_then(Value::as_str).and_then(time::parse);
    if (change.differs("startTime") || change.differs("completionTime"))
        && let (Some(started), Some(completed)) = (at(started), at(completed))
        && completed < started
    {
        errors.push(path.invalid(change.shown("completionTime"), "must be equal to or after `startTime`"));
    }
}

/// A job that has ended has started, and no pod of it is left.
fn of_finished(change: &Change<'_>, errors: &mut Vec<FieldError>) {
    let (turned, finished) = (change.turned_finished(), change.finished());
    let active = change.number("active");
    if (turned || change.differs("active")) && active > 0 && finished {
        errors.push(STATUS.field("active").invalid(active, "active>0 is invalid for finished job"));
    }
    let nothing_to_do = tree::truth(change.spec, "/suspend") && integer_of(change.spec, "completions") == Some(0);
    let started = some_of(change.after, "startTime").is_some();
    if (turned || change.differs("startTime")) && !nothing_to_do && !started && finished {
        errors.push(STATUS.field("startTime").required("startTime is required for finished job"));
    }
    let uncounted = some_of(change.after, "uncountedTerminatedPods").unwrap_or(&NULL);
    let any = ["/failed", "/succeeded"].iter().any(|list| !tree::items(uncounted, list).is_empty());
    if (turned || change.differs("uncountedTerminatedPods")) && finished && any {
        let message = "must be empty for finished job".into();
        let path = STATUS.field("uncountedTerminatedPods");
        errors.push(shown::invalid(&path, "UncountedTerminatedPods", uncounted, message));
    }
}

fn lists_of_indexes(change: &Change<'_>, errors: &mut Vec<FieldError>) {
    let completed = text_of(change.after, "completedIndexes");
    let failed = change.after.get("failedIndexes").and_then(Value::as_str);
    let per_index = some_of(change.spec, "backoffLimitPerIndex").is_some();
    let completions = integer_of(change.spec, "completions");
    let (completed_path, failed_path) = (STATUS.field("completedIndexes"), STATUS.field("failedIndexes"));
    let (completed_differ, failed_differ) = (change.differs("completedIndexes"), change.differs("failedIndexes"));
    if completed_differ
        && let Some(completions) = completions
        && let Err(why) = indexes::count(completed, completions)
    {
        errors.push(completed_path.invalid(completed, format!("error parsing completedIndexes: {why}")));
    }
    if failed_differ
        && per_index
        && let (Some(completions), Some(failed)) = (completions, failed)
        && let Err(why) = indexes::count(failed, completions)
    {
        errors.push(failed_path.invalid(failed, format!("error parsing failedIndexes: {why}")));
    }
    if completed_differ && !completed.is_empty() && !change.indexed() {
        let message = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(completed_path.invalid(completed, message));
    }
    if failed_differ
        && !per_index
        && let Some(failed) = failed
    {
        let message = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(failed_path.invalid(failed, message));
    }
    if (failed_differ || completed_differ)
        && let (Some(failed), Some(completions)) = (failed, completions)
        && let Some(index) = indexes::overlap(completed, failed, completions)
    {
        let message = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.push(failed_path.invalid(failed, message));
    }
}
