//! Kinds of the smaller groups: scheduling, policy, nodes' runtimes.

use triune_api::{Value, field::FieldError, path::Path};

use super::{pod_spec, shown, validation};
use crate::{
    kind::Kind,
    tables::{self, cluster},
    tree::{self, fill},
};

/// `scheduling.k8s.io/v1 PriorityClass`.
pub static PRIORITY_CLASSES: Kind = Kind {
    defaults: |object| fill(object, "preemptionPolicy", "PreemptLowerPriority"),
    validate: priority_class,
    validate_update: |old, new, errors| {
        if tree::integer_or_zero(old, "/value") != tree::integer_or_zero(new, "/value") {
            errors.push(FieldError::forbidden("value", "may not be changed in an update."));
        }
        validation::immutable(old, new, "/preemptionPolicy", "preemptionPolicy", errors);
    },
    closed_sets: true,
    table: cluster::PRIORITY_CLASSES,
    ..Kind::GENERIC
};

/// `node.k8s.io/v1 RuntimeClass`.
pub static RUNTIME_CLASSES: Kind = Kind {
    validate_create: |object, errors| {
        runtime_class(object, errors);
        // A rule that the reference declares, and tells after the others.
        validation::label_name(object, "/handler", "handler", errors);
    },
    validate_update: |old, new, errors| {
        let handler = tree::text(new, "/handler");
        if handler != tree::text(old, "/handler") {
            errors.push(Path::new("handler").invalid(Value::Null, "field is immutable"));
            if handler.is_empty() {
                errors.push(Path::new("handler").required(""));
            }
        }
    },
    closed_sets: true,
    warnings: |object, _| pod_spec::warnings::node_selector(object, "/scheduling/nodeSelector"),
    table: cluster::RUNTIME_CLASSES,
    ..Kind::GENERIC
};

/// `policy/v1 PodDisruptionBudget`.
pub static POD_DISRUPTION_BUDGETS: Kind = Kind {
    validate: disruption_budget,
    validate_status: |_, new, errors| {
        let status = new.get("status").unwrap_or(&Value::Null);
        for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            pod_spec::not_negative(status, field, &Path::new("status"), errors);
        }
    },
    closed_sets: true,
    table: tables::workloads::POD_DISRUPTION_BUDGETS,
    ..Kind::GENERIC
};

/// Priorities above are the system's.
const USER_PRIORITY_MAX: i64 = 1_000_000_000;
/// Priorities that the server itself makes.
const SYSTEM_PRIORITIES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

fn priority_class(object: &Value, errors: &mut Vec<FieldError>) {
    validation::qualified_finalizers(object, errors);
    let (name, value) = (tree::name(object), tree::integer_or_zero(object, "/value"));
    if name.starts_with("system-") {
        let why = match SYSTEM_PRIORITIES.iter().find(|(known, _)| *known == name) {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, known)) if value != *known => Some(format!("value of {name} PriorityClass must be {known}")),
            Some(_) if tree::truth(object, "/globalDefault") => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(why) = why {
            let message =
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}");
            errors.push(FieldError::forbidden("metadata.name", message));
        }
    } else if value > USER_PRIORITY_MAX {
        let message = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        errors.push(FieldError::forbidden("value", message));
    }
    if let Some(policy) = object.get("preemptionPolicy").and_then(Value::as_str) {
        let supported = ["PreemptLowerPriority", "Never"];
        let path = Path::new("preemptionPolicy");
        match policy {
            "" => errors.push(path.required("")),
            policy if supported.contains(&policy) => {}
            policy => errors.push(path.not_supported(policy, &supported)),
        }
    }
}

fn runtime_class(object: &Value, errors: &mut Vec<FieldError>) {
    if let Some(overhead) = tree::map(object, "/overhead/podFixed") {
        pod_spec::resources::limits_alone(overhead, &Path::new("overhead"), errors);
    }
    let Some(scheduling) = tree::some(object, "/scheduling") else { return };
    let path = Path::new("scheduling");
    validation::labels(scheduling.get("nodeSelector"), &path.field("nodeSelector"), errors);
    let tolerations = tree::items(scheduling, "/tolerations");
    let path = path.field("tolerations");
    pod_spec::scheduling::tolerations(tolerations, &path, errors);
    let key = |toleration: &Value| ["key", "operator", "value", "effect"].map(|field| toleration.get(field).cloned());
    for (index, toleration) in tolerations.iter().enumerate() {
        if tolerations[..index].iter().any(|other| key(other) == key(toleration)) {
            let mut error = path.index(index).duplicate("");
            error.value = Some(shown::structure("Toleration", toleration));
            errors.push(error);
        }
    }
}

fn disruption_budget(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let path = Path::new("spec");
    let bounds = ["minAvailable", "maxUnavailable"].map(|field| (field, tree::some(spec, &format!("/{field}"))));
    if bounds.iter().all(|(_, bound)| bound.is_some()) {
        let message = "minAvailable and maxUnavailable cannot be both set".into();
        errors.push(shown::invalid(&path, "PodDisruptionBudgetSpec", spec, message));
    }
    for (field, bound) in bounds {
        if let Some(bound) = bound {
            validation::number_or_percent(bound, &path.field(field), errors);
            validation::at_most_whole(bound, &path.field(field), errors);
        }
    }
    validation::label_selector(spec.get("selector"), false, &path.field("selector"), errors);
    pod_spec::optional_one_of(spec, "unhealthyPodEvictionPolicy", &["AlwaysAllow", "IfHealthyBudget"], &path, errors);
}
