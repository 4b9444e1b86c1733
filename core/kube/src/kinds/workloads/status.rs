//! What is wrong with the statuses of deployments, replica sets, stateful sets, daemon sets and replication controllers.

use triune_api::{Value, field::FieldError, path::Path};

use crate::{kinds::pod_spec::not_negative, tree};

const STATUS: Path<'static> = Path::new("status");

/// A count in a status and what it may not be greater than, with the name of that in messages.
type Bound = (&'static str, &'static str, &'static str);

/// Checks the counts of a status.
fn counts(new: &Value, fields: &[&str], bounds: &[Bound], errors: &mut Vec<FieldError>) {
    let status = new.get("status").unwrap_or(&Value::Null);
    for field in fields {
        not_negative(status, field, &STATUS, errors);
    }
    let count = |field: &str| status.get(field).and_then(Value::as_i64).unwrap_or_default();
    for (field, most, name) in bounds {
        if count(field) > count(most) {
            let message = format!("cannot be greater than {name}");
            errors.push(STATUS.field(field).invalid(count(field), message));
        }
    }
}

/// The count of collisions only grows.
fn collisions_grow(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let count = |object: &Value| tree::integer(object, "/status/collisionCount");
    if let Some(before) = count(old)
        && count(new).is_none_or(|now| now < before)
    {
        let now = count(new).unwrap_or_default();
        errors.push(STATUS.field("collisionCount").invalid(now, "cannot be decremented"));
    }
}

const OF_STATUS: &str = "status.replicas";

/// Checks the status of a deployment.
pub fn deployment(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fields = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    let bounds = [
        ("updatedReplicas", "replicas", OF_STATUS),
        ("readyReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
    ];
    counts(new, &fields, &bounds, errors);
    collisions_grow(old, new, errors);
}

/// Checks the status of a replica set.
pub fn replica_set(_: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fields = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    let bounds = [
        ("fullyLabeledReplicas", "replicas", OF_STATUS),
        ("readyReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
    ];
    counts(new, &fields, &bounds, errors);
}

/// Checks the status of a stateful set.
pub fn stateful_set(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fields = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    let bounds = [
        ("readyReplicas", "replicas", OF_STATUS),
        ("currentReplicas", "replicas", OF_STATUS),
        ("updatedReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "readyReplicas", "status.readyReplicas"),
    ];
    counts(new, &fields, &bounds, errors);
    collisions_grow(old, new, errors);
}

/// Checks the status of a daemon set.
pub fn daemon_set(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fields = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    counts(new, &fields, &[], errors);
    collisions_grow(old, new, errors);
}

/// Checks the status of a replication controller.
pub fn replication_controller(_: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fields = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
    let bounds = [
        ("fullyLabeledReplicas", "replicas", OF_STATUS),
        ("readyReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "replicas", OF_STATUS),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
    ];
    counts(new, &fields, &bounds, errors);
}
