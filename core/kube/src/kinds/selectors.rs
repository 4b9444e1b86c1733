//! Label selectors, node selectors and topology terms: what is wrong with them, in the words of the reference (apimachinery
//! `pkg/apis/meta/v1/validation`, kubernetes `pkg/apis/core/validation`), and labels of nodes that have newer names.

use triune_api::{
    field::FieldError,
    validation::{dns_subdomain, label_value, qualified_name, validate_labels},
};

use crate::field::Field;

const NO_OPERATOR: &str = "not a valid selector operator";

/// A LabelSelector; one that is absent is fine.
pub fn label_selector(selector: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let labels = selector.at("matchLabels");
    if !labels.is_empty() {
        errors.extend(validate_labels(Some(labels.value()), &labels.to_string()));
    }
    for requirement in selector.at("matchExpressions").items() {
        let values = requirement.at("values");
        match requirement.at("operator").text() {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(requirement.at("operator").invalid_text(NO_OPERATOR)),
        }
        label_key(&requirement.at("key"), errors);
        label_values(&values, errors);
    }
}

/// A text that must be a label's key.
pub fn label_key(key: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    key.invalid_for(qualified_name(key.text()), errors);
}

fn label_values(values: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    for value in values.items() {
        value.invalid_for(label_value(value.text()), errors);
    }
}

/// A NodeSelector.
pub fn node_selector(selector: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let terms = selector.at("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(terms.required("must have at least one node selector term"));
    }
    for term in terms.items() {
        for requirement in term.at("matchExpressions").items() {
            node_requirement(&requirement, errors);
        }
        for requirement in term.at("matchFields").items() {
            node_field_requirement(&requirement, errors);
        }
    }
}

fn node_requirement(requirement: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let values = requirement.at("values");
    match requirement.at("operator").text() {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            errors.push(values.required("must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => errors.push(requirement.at("operator").invalid_text(NO_OPERATOR)),
    }
    label_key(&requirement.at("key"), errors);
    label_values(&values, errors);
}

fn node_field_requirement(requirement: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let (operator, key, values) = (requirement.at("operator"), requirement.at("key"), requirement.at("values"));
    if !matches!(operator.text(), "In" | "NotIn") {
        errors.push(operator.invalid_text(NO_OPERATOR));
    } else if values.len() != 1 {
        errors
            .push(values.required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector"));
    }
    if key.text() == "metadata.name" {
        for value in values.items() {
            value.invalid_for(dns_subdomain(value.text()), errors);
        }
    } else {
        errors.push(key.invalid_text("not a valid field selector key"));
    }
}

/// A list of TopologySelectorTerms.
pub fn topologies(terms: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<Vec<(&str, Vec<&str>)>> = Vec::new();
    for term in terms.items() {
        let mut keys: Vec<(&str, Vec<&str>)> = Vec::new();
        let requirements = term.at("matchLabelExpressions");
        for requirement in requirements.items() {
            let (key, values) = (requirement.at("key"), requirement.at("values"));
            if values.is_empty() {
                errors.push(values.required(""));
            }
            let mut known = Vec::new();
            for value in values.items() {
                if known.contains(&value.text()) {
                    errors.push(value.duplicate());
                } else {
                    known.push(value.text());
                }
            }
            label_key(&key, errors);
            if keys.iter().any(|(other, _)| *other == key.text()) {
                errors.push(key.duplicate());
            }
            known.sort_unstable();
            keys.push((key.text(), known));
        }
        keys.sort_unstable();
        if seen.contains(&keys) {
            let at = requirements.to_string();
            errors.push(FieldError::duplicate(&at, &"".into()));
        }
        seen.push(keys);
    }
}

/// Labels of nodes that have newer names.
const OLD_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", r#"deprecated since v1.14; use "kubernetes.io/arch" instead"#),
    ("beta.kubernetes.io/os", r#"deprecated since v1.14; use "kubernetes.io/os" instead"#),
    (
        "failure-domain.beta.kubernetes.io/region",
        r#"deprecated since v1.17; use "topology.kubernetes.io/region" instead"#,
    ),
    ("failure-domain.beta.kubernetes.io/zone", r#"deprecated since v1.17; use "topology.kubernetes.io/zone" instead"#),
    ("beta.kubernetes.io/instance-type", r#"deprecated since v1.17; use "node.kubernetes.io/instance-type" instead"#),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", r#"use "node-role.kubernetes.io/control-plane" instead"#),
];

/// What to say about a label of nodes, if it has a newer name.
pub fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, message)| *message)
}

/// Warnings about old labels in the `matchExpressions` of a selector or of a term.
pub fn old_labels_in(selector: &Field<'_, '_>, warnings: &mut Vec<String>) {
    for requirement in selector.at("matchExpressions").items() {
        let key = requirement.at("key");
        warnings.extend(old_label(key.text()).map(|message| format!("{key}: {} is {message}", key.text())));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use triune_api::path::Path;

    use super::*;

    fn check(rule: fn(&Field<'_, '_>, &mut Vec<FieldError>), value: Value, expected: &[&str]) {
        let mut errors = Vec::new();
        rule(&Field::under(Path::new("s"), &value), &mut errors);
        let texts: Vec<String> = errors.iter().map(|error| error.to_string().chars().take(60).collect()).collect();
        assert_eq!(texts, expected, "{value}");
    }

    #[test]
    fn selectors() {
        check(label_selector, json!(null), &[]);
        check(
            label_selector,
            json!({"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "b", "operator": "X"}]}),
            &[
                "s.matchExpressions[0].values: Required value: must be specif",
                r#"s.matchExpressions[1].operator: Invalid value: "X": not a va"#,
            ],
        );
        check(node_selector, json!({}), &["s.nodeSelectorTerms: Required value: must have at least one "]);
        let term = json!({"matchLabelExpressions": [{"key": "a", "values": ["x", "x"]}]});
        check(
            topologies,
            json!([term, {"matchLabelExpressions": [{"key": "a", "values": ["x"]}]}]),
            &[
                r#"s[0].matchLabelExpressions[0].values[1]: Duplicate value: "x"#,
                r#"s[1].matchLabelExpressions: Duplicate value: """#,
            ],
        );
    }
}
