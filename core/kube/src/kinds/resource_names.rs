//! Names of resources that are counted (`cpu`, `example.com/gpu`), and their amounts (kubernetes `pkg/apis/core/helper`,
//! `pkg/apis/core/validation`).

use serde_json::json;
use triune_api::{Value, field::FieldError, validation::qualified_name};

use crate::{field::Field, kinds::validation::quantity};

/// Counted in quotas by these names.
const QUOTA: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
/// Counted in whole numbers.
pub const WHOLE: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Whether a quota may name it without a domain.
pub fn is_standard_quota(name: &str) -> bool {
    QUOTA.contains(&name) || is_quota_huge_page(name)
}

/// Pages of one size, such as `hugepages-2Mi`.
pub fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_quota_huge_page(name: &str) -> bool {
    is_huge_pages(name) || name.starts_with("requests.hugepages-")
}

/// Whether it is in the domain `kubernetes.io`, where names without a domain are.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether it is a device of somebody's domain.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether it is known without a domain.
pub fn is_standard(name: &str) -> bool {
    name == "storage" || is_standard_quota(name)
}

/// Whether more of it may be promised than there is.
pub fn may_be_overcommitted(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

/// A resource of any kind. `at` is where the name stands as a key.
pub fn any(name: &str, at: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let messages = qualified_name(name);
    let malformed = !messages.is_empty();
    errors.extend(messages.into_iter().map(|message| at.invalid_as(&json!(name), message)));
    if !malformed && !name.contains('/') && !is_standard(name) {
        errors.push(at.invalid_as(&json!(name), "must be a standard resource type or fully qualified"));
    }
}

/// A resource that a container may ask for.
pub fn in_container(name: &str, at: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    any(name, at, errors);
    let detail = if !name.contains('/') {
        if matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge_pages(name) {
            return;
        }
        "must be a standard resource for containers"
    } else if !is_native(name) && !is_extended(name) {
        "doesn't follow extended resource name standard"
    } else {
        return;
    };
    errors.push(at.invalid_as(&json!(name), detail));
}

/// A resource that a quota may limit.
pub fn in_quota(name: &str, at: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    any(name, at, errors);
    if !name.contains('/') && !is_standard_quota(name) {
        errors.push(at.invalid_as(&json!(name), "must be a standard resource for quota"));
    }
}

/// An amount of a resource: not negative, and whole where the resource is counted.
pub fn quantity_value(name: &str, at: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let Some(amount) = quantity(at.value()) else { return };
    not_negative(at, errors);
    if (WHOLE.contains(&name) || is_extended(name)) && amount.milli_value() % 1000 != 0 {
        errors.push(at.invalid_as(&Value::from(amount.canonical()), "must be an integer"));
    }
}

/// An amount that may not be negative.
pub fn not_negative(at: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if let Some(amount) = quantity(at.value()).filter(|amount| amount.sign() < 0) {
        errors.push(at.invalid_as(&Value::from(amount.canonical()), "must be greater than or equal to 0"));
    }
}

/// An amount that must be positive.
pub fn positive(at: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if let Some(amount) = quantity(at.value()).filter(|amount| amount.sign() <= 0) {
        errors.push(at.invalid_as(&Value::from(amount.canonical()), "must be greater than zero"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_they_belong() {
        let check = |name: &str, expected: [bool; 3]| {
            let amount = json!({name: "1"});
            let amounts = Field::under(triune_api::path::Path::new("x"), &amount);
            let fine = |rule: fn(&str, &Field<'_, '_>, &mut Vec<FieldError>)| {
                let mut errors = Vec::new();
                rule(name, &amounts.key(name), &mut errors);
                errors.is_empty()
            };
            assert_eq!([fine(any), fine(in_container), fine(in_quota)], expected, "{name}");
        };
        check("cpu", [true, true, true]);
        check("pods", [true, false, true]);
        check("storage", [true, false, false]);
        check("hugepages-2Mi", [true, true, true]);
        check("example.com/gpu", [true, true, true]);
        check("requests.example.com/gpu", [true, false, true]);
        check("gpu", [false, false, false]);
        check("count/pods", [true, true, true]);
    }
}
