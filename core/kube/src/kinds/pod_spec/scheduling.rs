//! Where pods may run: affinity, tolerations, spread over topologies, gates, claims of devices.

use std::collections::BTreeSet;

use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_label, dns_subdomain},
};

use super::{Tolerated, annotation, integer_of, list_of, optional_one_of, some_of, text_of};
use crate::{
    kinds::{shown, validation},
    tree,
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
/// Pods of a kubelet's own files are shown in the API by mirrors with this annotation.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// Checks `affinity`.
pub fn affinity(spec: &Value, tolerated: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(affinity) = some_of(spec, "affinity") else { return };
    let path = path.field("affinity");
    if let Some(affinity) = some_of(affinity, "nodeAffinity") {
        node_affinity(affinity, tolerated, &path.field("nodeAffinity"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = some_of(affinity, kind) else { continue };
        let path = path.field(kind);
        let terms = path.field(REQUIRED);
        for (index, term) in list_of(affinity, REQUIRED).iter().enumerate() {
            pod_affinity_term(term, tolerated, &terms.index(index), errors);
        }
        let terms = path.field(PREFERRED);
        for (index, term) in list_of(affinity, PREFERRED).iter().enumerate() {
            let path = terms.index(index);
            weight(term, &path, errors);
            let empty = Value::Null;
            let term = term.get("podAffinityTerm").unwrap_or(&empty);
            pod_affinity_term(term, tolerated, &path.field("podAffinityTerm"), errors);
        }
    }
}

fn weight(term: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let weight = integer_of(term, "weight").unwrap_or_default();
    if !(1..=100).contains(&weight) {
        errors.push(path.field("weight").invalid(weight, "must be in the range 1-100"));
    }
}

fn node_affinity(affinity: &Value, tolerated: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(selector) = some_of(affinity, REQUIRED) {
        node_selector(selector, tolerated.required_node_values, &path.field(REQUIRED), errors);
    }
    let terms = path.field(PREFERRED);
    for (index, term) in list_of(affinity, PREFERRED).iter().enumerate() {
        let path = terms.index(index);
        weight(term, &path, errors);
        if let Some(term) = some_of(term, "preference") {
            node_selector_term(term, true, &path.field("preference"), errors);
        }
    }
}

/// Checks a node selector, at least one term of which must match.
pub fn node_selector(selector: &Value, any_value: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("nodeSelectorTerms");
    let terms = list_of(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(list.required("must have at least one node selector term"));
    }
    for (index, term) in terms.iter().enumerate() {
        node_selector_term(term, any_value, &list.index(index), errors);
    }
}

fn node_selector_term(term: &Value, any_value: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("matchExpressions");
    for (index, requirement) in list_of(term, "matchExpressions").iter().enumerate() {
        let path = list.index(index);
        let (values, values_path) = (list_of(requirement, "values"), path.field("values"));
        match text_of(requirement, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(values_path.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let message = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(values_path.forbidden(message));
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let message = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(values_path.required(message));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.push(path.field("operator").invalid(other, "not a valid selector operator")),
        }
        validation::qualified_name(text_of(requirement, "key"), &path.field("key"), errors);
        if !any_value {
            validation::label_values(values, &values_path, errors);
        }
    }
    let list = path.field("matchFields");
    for (index, requirement) in list_of(term, "matchFields").iter().enumerate() {
        let path = list.index(index);
        let (values, values_path) = (list_of(requirement, "values"), path.field("values"));
        match text_of(requirement, "operator") {
            "In" | "NotIn" if values.len() != 1 => {
                let message = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(values_path.required(message));
            }
            "In" | "NotIn" => {}
            other => errors.push(path.field("operator").invalid(other, "not a valid selector operator")),
        }
        match text_of(requirement, "key") {
            "metadata.name" => {
                for (index, name) in values.iter().filter_map(Value::as_str).enumerate() {
                    values_path.index(index).all_invalid(name, dns_subdomain(name), errors);
                }
            }
            other => errors.push(path.field("key").invalid(other, "not a valid field selector key")),
        }
    }
}

fn pod_affinity_term(term: &Value, tolerated: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for field in ["labelSelector", "namespaceSelector"] {
        validation::label_selector(term.get(field), tolerated.affinity_values, &path.field(field), errors);
    }
    for name in list_of(term, "namespaces").iter().filter_map(Value::as_str) {
        path.field("namespace").all_invalid(name, dns_label(name), errors);
    }
    label_keys(term, path, errors);
    let key = text_of(term, "topologyKey");
    if key.is_empty() {
        errors.push(path.field("topologyKey").required("can not be empty"));
    }
    validation::qualified_name(key, &path.field("topologyKey"), errors);
}

/// Checks `matchLabelKeys` and `mismatchLabelKeys` against each other and against the selector that they add to.
fn label_keys(term: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let selector = some_of(term, "labelSelector");
    let (matching, mismatching) = (list_of(term, "matchLabelKeys"), list_of(term, "mismatchLabelKeys"));
    for (field, keys) in [("matchLabelKeys", matching), ("mismatchLabelKeys", mismatching)] {
        let path = path.field(field);
        if !keys.is_empty() && selector.is_none() {
            errors.push(path.forbidden("must not be specified when labelSelector is not set"));
            continue;
        }
        for (index, key) in keys.iter().filter_map(Value::as_str).enumerate() {
            validation::qualified_name(key, &path.index(index), errors);
        }
    }
    if let Some(selector) = selector.filter(|_| !matching.is_empty()) {
        let mut seen: BTreeSet<&str> =
            tree::map(selector, "/matchLabels").into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        for expression in list_of(selector, "matchExpressions") {
            let key = text_of(expression, "key");
            let index = matching.iter().rposition(|other| other == key);
            if let Some(index) = index.filter(|_| seen.contains(key)) {
                let message = "exists in both matchLabelKeys and labelSelector";
                errors.push(path.index(index).invalid(key, message));
            }
            seen.insert(key);
        }
    }
    let list = path.field("matchLabelKeys");
    for (index, key) in matching.iter().enumerate().filter(|(_, key)| mismatching.contains(key)) {
        let message = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.push(list.index(index).invalid(key.clone(), message));
    }
}

/// Checks `topologySpreadConstraints`.
pub fn topology_spread(spec: &Value, tolerated: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("topologySpreadConstraints");
    let constraints = list_of(spec, "topologySpreadConstraints");
    for (index, constraint) in constraints.iter().enumerate() {
        let path = list.index(index);
        let (key, unsatisfiable) = (text_of(constraint, "topologyKey"), text_of(constraint, "whenUnsatisfiable"));
        let skew = integer_of(constraint, "maxSkew").unwrap_or_default();
        if skew <= 0 {
            errors.push(path.field("maxSkew").invalid(skew, "must be greater than zero"));
        }
        if key.is_empty() {
            errors.push(path.field("topologyKey").required("can not be empty"));
        }
        validation::not_in(constraint, "whenUnsatisfiable", &["DoNotSchedule", "ScheduleAnyway"], &path, errors);
        let same = |other: &Value| {
            text_of(other, "topologyKey") == key && text_of(other, "whenUnsatisfiable") == unsatisfiable
        };
        if constraints[index + 1..].iter().any(same) {
            let shown = format!("{{{key}, {unsatisfiable}}}");
            errors.push(path.field("{topologyKey, whenUnsatisfiable}").duplicate(shown));
        }
        if let Some(domains) = integer_of(constraint, "minDomains") {
            let path = path.field("minDomains");
            if domains <= 0 {
                errors.push(path.invalid(domains, "must be greater than zero"));
            }
            if unsatisfiable != "DoNotSchedule" {
                let message =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {unsatisfiable}");
                errors.push(path.invalid(domains, message));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            optional_one_of(constraint, field, &["Honor", "Ignore"], &path, errors);
        }
        if !tolerated.spread_label_keys {
            label_keys(constraint, &path, errors);
        }
        if !tolerated.spread_selectors {
            validation::label_selector(constraint.get("labelSelector"), false, &path.field("labelSelector"), errors);
        }
    }
}

/// Checks `tolerations`.
pub fn tolerations(tolerations: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let text = |key| text_of(toleration, key);
        let (key, operator, value, effect) = (text("key"), text("operator"), text("value"), text("effect"));
        let operator_path = path.field("operator");
        if !key.is_empty() {
            validation::qualified_name(key, &path.field("key"), errors);
        } else if operator != "Exists" {
            let message = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(operator_path.invalid(operator, message));
        }
        if some_of(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
            let message = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(path.field("effect").invalid(effect, message));
        }
        match operator {
            "Equal" | "" => {
                let messages = triune_api::validation::label_value(value);
                if !messages.is_empty() {
                    errors.push(operator_path.invalid(value, messages.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                errors.push(operator_path.invalid(value, "value must be empty when `operator` is 'Exists'"));
            }
            "Exists" => {}
            "Lt" | "Gt" => errors.push(operator_path.not_supported(operator, &["Equal", "Exists", "Lt", "Gt"])),
            other => errors.push(operator_path.not_supported(other, &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            validation::not_in(toleration, "effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"], &path, errors);
        }
    }
}

/// Checks `schedulingGates`.
pub fn gates(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("schedulingGates");
    let mut seen = BTreeSet::new();
    for (index, gate) in list_of(spec, "schedulingGates").iter().enumerate() {
        let path = list.index(index);
        let name = text_of(gate, "name");
        validation::qualified_name(name, &path, errors);
        if !seen.insert(name) {
            errors.push(path.duplicate(name));
        }
    }
}

/// Checks `resourceClaims`.
pub fn resource_claims(spec: &Value, metadata: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("resourceClaims");
    let mut names = BTreeSet::new();
    for (index, claim) in list_of(spec, "resourceClaims").iter().enumerate() {
        if metadata.is_some_and(|metadata| annotation(metadata, MIRROR).is_some()) {
            errors.push(Path::new("").forbidden("static pods do not support resource claims"));
            continue;
        }
        let path = list.index(index);
        let name = text_of(claim, "name");
        let name_path = path.field("name");
        if name.is_empty() {
            errors.push(name_path.required(""));
        } else if !names.insert(name) {
            errors.push(name_path.duplicate(name));
        } else {
            name_path.all_invalid(name, dns_label(name), errors);
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        let message = match sources.iter().filter(|source| some_of(claim, source).is_some()).count() {
            0 => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            1 => None,
            _ => Some("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"),
        };
        if let Some(message) = message {
            errors.push(shown::invalid(&path, "PodResourceClaim", claim, message.into()));
        }
        for source in sources {
            if let Some(name) = claim.get(source).and_then(Value::as_str) {
                path.field(source).all_invalid(name, dns_subdomain(name), errors);
            }
        }
    }
}
