//! Leases (kubernetes `pkg/apis/coordination/validation`).

use triune_api::{Value, field::FieldError, validation::qualified_name};

use crate::{
    field::Field,
    kind::Kind,
    tables::cluster,
    tree::{self, remove},
};

/// `coordination.k8s.io/v1 Lease`.
pub static LEASES: Kind = Kind {
    // Coordinated leader election is off by default.
    create: |_, _, lease| drop_election(&Value::Null, lease),
    update: |_, _, old, new| drop_election(old, new),
    validate: |lease, errors| {
        let spec = Field::of(lease, "spec");
        let (seconds, transitions) = (spec.at("leaseDurationSeconds"), spec.at("leaseTransitions"));
        if seconds.is_set() && seconds.integer() <= 0 {
            errors.push(seconds.invalid("must be greater than 0"));
        }
        transitions.not_negative(errors);
        strategy(&spec.at("strategy"), errors);
    },
    table: cluster::LEASES,
    ..Kind::GENERIC
};

fn drop_election(old: &Value, lease: &mut Value) {
    for field in ["strategy", "preferredHolder"] {
        if !tree::has(old, &format!("/spec/{field}"))
            && let Some(spec) = lease.get_mut("spec")
        {
            remove(spec, field);
        }
    }
}

/// How a leader is chosen; the reference reports it one level too deep.
fn strategy(strategy: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if !strategy.is_set() {
        return;
    }
    let path = strategy.path().field("strategy");
    let reported = Field::under(path, strategy.value());
    match strategy.text() {
        text if text.contains('/') => reported.invalid_for(qualified_name(text), errors),
        _ => reported.one_of(&["OldestEmulationVersion"], errors),
    }
}
