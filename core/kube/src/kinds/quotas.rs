//! Quotas and limits of namespaces.

use serde_json::json;
use triune_api::{Map, Value, field::FieldError, quantity::Quantity, validation::qualified_name};

use super::resource_names::{self, quantity_value};
use crate::{
    field::Field,
    kind::Kind,
    kinds::validation::quantity,
    tables,
    tree::{self, child, fill, remove},
};

/// `core/v1 LimitRange`.
pub static LIMIT_RANGES: Kind = Kind {
    defaults: |object| {
        for item in tree::items_mut(object, "/spec/limits").iter_mut() {
            if tree::text(item, "/type") == "Container" {
                container_limits(item);
            }
        }
    },
    closed_sets: true,
    validate: limit_range,
    table: tables::core::NAME_AND_CREATED_AT,
    ..Kind::GENERIC
};

/// `core/v1 ResourceQuota`.
pub static RESOURCE_QUOTAS: Kind = Kind {
    closed_sets: true,
    validate: quota_spec,
    validate_update: |old, new, errors| {
        let (before, after) = (Field::of(old, "spec.scopes"), Field::of(new, "spec.scopes"));
        let missing = |some: &Field<'_, '_>, others: &Field<'_, '_>| {
            some.texts().any(|scope| !others.texts().any(|other| other == scope))
        };
        if missing(&before, &after) || missing(&after, &before) {
            errors.push(after.invalid("field is immutable"));
        }
    },
    validate_status: |_, new, errors| {
        let status = Field::of(new, "status");
        quota_amounts(&status.at("hard"), errors);
        quota_amounts(&status.at("used"), errors);
    },
    warnings: |quota, old| if old.is_none() { quota_warnings(quota) } else { Vec::new() },
    returns_deleted_object: true,
    table: tables::core::RESOURCE_QUOTAS,
    ..Kind::GENERIC
};

fn quota_amounts(amounts: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    for (name, amount) in amounts.entries() {
        resource_names::in_quota(name, &amount, errors);
        quantity_value(name, &amount, errors);
    }
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "VolumeAttributesClass",
    "CrossNamespacePodAffinity",
];

fn quota_spec(quota: &Value, errors: &mut Vec<FieldError>) {
    let spec = Field::of(quota, "spec");
    let (hard, scopes) = (spec.at("hard"), spec.at("scopes"));
    quota_amounts(&hard, errors);
    let limited: Vec<&str> = hard.entries().map(|(name, _)| name).collect();
    for scope in scopes.texts() {
        if !SCOPES.contains(&scope) {
            errors.push(scopes.invalid("unsupported scope"));
        }
        for name in limited.iter().filter(|name| resource_names::is_standard_quota(name)) {
            if !applies(scope, name) {
                errors.push(scopes.invalid("unsupported scope applied to resource"));
            }
        }
    }
    conflicting(&scopes.texts().collect::<Vec<_>>(), &scopes, &scopes, errors);
    let selector = spec.at("scopeSelector");
    if selector.is_set() {
        scope_selector(&selector, &limited, &scopes, errors);
    }
}

fn conflicting(given: &[&str], at: &Field<'_, '_>, shown: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if given.contains(&one) && given.contains(&other) {
            errors.push(at.invalid_as(shown.value(), "conflicting scopes"));
        }
    }
}

/// Whether objects in a scope use a resource.
fn applies(scope: &str, resource: &str) -> bool {
    const COMPUTE: [&str; 6] = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            resource == "pods" || COMPUTE.contains(&resource)
        }
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

fn scope_selector(selector: &Field<'_, '_>, limited: &[&str], scopes: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    const MUST_EXIST: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                              ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                              ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let all = selector.at("matchExpressions");
    let mut given = Vec::new();
    for requirement in all.items() {
        let (scope, operator) = (requirement.at("scopeName").text(), requirement.at("operator").text());
        // The reference reports at the list, not at its items.
        if !SCOPES.contains(&scope) {
            errors.push(all.at("scopeName").invalid_as(&json!(scope), "unsupported scope"));
        }
        for name in limited.iter().filter(|name| resource_names::is_standard_quota(name)) {
            if !applies(scope, name) {
                let mut error = all.invalid("unsupported scope applied to resource");
                error.value = Some(print_selector(&all));
                errors.push(error);
            }
        }
        let only_exists = matches!(
            scope,
            "BestEffort" | "NotBestEffort" | "Terminating" | "NotTerminating" | "CrossNamespacePodAffinity"
        );
        if only_exists && operator != "Exists" {
            errors.push(all.at("operator").invalid_as(&json!(operator), MUST_EXIST));
        }
        let values = requirement.at("values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(all.at("values").required(detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(all.at("values").invalid_as(values.value(), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(all.at("operator").invalid_as(&json!(operator), "not a valid selector operator")),
        }
        given.push(scope);
    }
    conflicting(&given, &all, scopes, errors);
}

/// As the reference prints its own form of a selector.
fn print_selector(requirements: &Field<'_, '_>) -> String {
    let printed: Vec<String> = requirements
        .items()
        .map(|requirement| {
            let of = |field: &str| json!(requirement.at(field).text());
            let values = requirement.at("values");
            format!(r#"{{"ScopeName":{},"Operator":{},"Values":{}}}"#, of("scopeName"), of("operator"), values.value())
        })
        .collect();
    format!(r#"{{"MatchExpressions":[{}]}}"#, printed.join(","))
}

fn quota_warnings(quota: &Value) -> Vec<String> {
    let hard = Field::of(quota, "spec.hard");
    let mut warnings = Vec::new();
    for resource in ["cpu", "memory", "storage", "ephemeral-storage"] {
        let (mut request_name, limit_name) = (format!("requests.{resource}"), format!("limits.{resource}"));
        if !hard.key(&request_name).is_set() && matches!(resource, "cpu" | "memory") {
            request_name = resource.into();
        }
        let (request, limit) = (quantity(hard.key(&request_name).value()), quantity(hard.key(&limit_name).value()));
        if let (Some(request), Some(limit)) = (request, limit)
            && request > limit
        {
            warnings.push(format!(
                "ResourceQuota {request_name} ({}) should be less than {limit_name} ({})",
                request.canonical(),
                limit.canonical()
            ));
        }
    }
    warnings
}

/// Maximum, default and default request of containers follow from each other.
fn container_limits(item: &mut Value) {
    let amounts = |item: &Value, field: &str| tree::map(item, &format!("/{field}")).cloned().unwrap_or_default();
    let merge = |item: &mut Value, field: &str, more: Map| {
        if !more.is_empty()
            && let Some(target) = child(item, field)
        {
            for (name, amount) in more {
                fill(target, &name, amount);
            }
        }
    };
    let max = amounts(item, "max");
    merge(item, "default", max);
    let default = amounts(item, "default");
    merge(item, "defaultRequest", default);
    let min = amounts(item, "min");
    merge(item, "defaultRequest", min);
    for field in ["default", "defaultRequest"] {
        if amounts(item, field).is_empty() {
            remove(item, field);
        }
    }
}

fn limit_range(object: &Value, errors: &mut Vec<FieldError>) {
    let limits = Field::of(object, "spec.limits");
    let mut seen = Vec::new();
    for limit in limits.items() {
        let kind = limit.at("type");
        limit_type(&kind, errors);
        if seen.contains(&kind.text()) {
            errors.push(kind.duplicate());
        }
        seen.push(kind.text());
        let names = |field: &str, errors: &mut Vec<FieldError>| {
            for (name, amount) in limit.at(field).entries() {
                match kind.text() {
                    "Pod" | "Container" => resource_names::in_container(name, &amount, errors),
                    _ => resource_names::any(name, &amount, errors),
                }
            }
        };
        let defaults: &[&str] = if kind.text() == "Pod" { &[] } else { &["default", "defaultRequest"] };
        names("max", errors);
        names("min", errors);
        for field in ["default", "defaultRequest"] {
            if kind.text() != "Pod" {
                names(field, errors);
            } else if !limit.at(field).is_empty() {
                errors.push(limit.at(field).forbidden("may not be specified when `type` is 'Pod'"));
            }
        }
        if kind.text() == "PersistentVolumeClaim" {
            let given = |field: &str| limit.at(field).key("storage").is_set();
            if !given("min") && !given("max") {
                let detail = "either minimum or maximum storage value is required, but neither was provided";
                errors.push(limit.at("limits").required(detail));
            }
        }
        names("maxLimitRequestRatio", errors);
        let fields = ["max", "min", "maxLimitRequestRatio"].iter().chain(defaults);
        let mut keys: Vec<&str> =
            fields.flat_map(|field| limit.at(field).map().into_iter().flatten()).map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            limit_amounts(&limit, key, !defaults.is_empty(), errors);
        }
    }
}

fn limit_type(kind: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let messages = qualified_name(kind.text());
    if !messages.is_empty() {
        kind.invalid_for(messages, errors);
    } else if !kind.text().contains('/') && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind.text()) {
        errors.push(kind.invalid("must be a standard limit type or fully qualified"));
    }
}

/// The amounts of one resource must fit each other: min, default request, default, max.
fn limit_amounts(limit: &Field<'_, '_>, key: &str, with_defaults: bool, errors: &mut Vec<FieldError>) {
    let amount = |field: &str| quantity(limit.at(field).key(key).value());
    let (min, max, ratio) = (amount("min"), amount("max"), amount("maxLimitRequestRatio"));
    let (default, request) = if with_defaults { (amount("default"), amount("defaultRequest")) } else { (None, None) };
    let named = |what: &str, amount: &Quantity| format!("{what} value {}", amount.canonical());
    let ordered = [
        ("min", &min, "min", &min, "max", &max),
        ("defaultRequest", &request, "min", &min, "default request", &request),
        ("defaultRequest", &request, "default request", &request, "max", &max),
        ("defaultRequest", &request, "default request", &request, "default limit", &default),
        ("default", &min, "min", &min, "default", &default),
        ("default", &max, "default", &default, "max", &max),
    ];
    for (field, shown, low_name, low, high_name, high) in ordered {
        if let (Some(shown), Some(low), Some(high)) = (shown, low, high)
            && low > high
        {
            let detail = format!("{} is greater than {}", named(low_name, low), named(high_name, high));
            errors.push(limit.at(field).key(key).invalid_as(&json!(shown.canonical()), detail));
        }
    }
    if let Some(ratio) = &ratio {
        limit_ratio(&limit.at("maxLimitRequestRatio").key(key), ratio, min.as_ref(), max.as_ref(), errors);
    }
    if let (Some(default), Some(request)) = (&default, &request)
        && !resource_names::may_be_overcommitted(key)
        && default != request
    {
        let (default, request) = (default.canonical(), request.canonical());
        let detail = format!("default value {default} must equal to defaultRequest value {request} in {key}");
        errors.push(limit.at("defaultRequest").key(key).invalid_as(&json!(request), detail));
    }
}

fn limit_ratio(
    at: &Field<'_, '_>,
    ratio: &Quantity,
    min: Option<&Quantity>,
    max: Option<&Quantity>,
    errors: &mut Vec<FieldError>,
) {
    /// Above, thousandths do not fit into 64 bits.
    const MILLI_MAX: i64 = i64::MAX / 1000;
    let shown = json!(ratio.canonical());
    if *ratio < Quantity::from_integer(1, triune_api::quantity::Format::DecimalSi) {
        errors.push(at.invalid_as(&shown, format!("ratio {} is less than 1", ratio.canonical())));
    }
    if let (Some(min), Some(max)) = (min, max) {
        let small = [ratio, min, max].iter().all(|amount| amount.value() < MILLI_MAX);
        let (wanted, low, high) = if small {
            (ratio.milli_value() as f64 / 1000.0, min.milli_value(), max.milli_value())
        } else {
            (ratio.value() as f64, min.value(), max.value())
        };
        let most = high as f64 / low as f64;
        if wanted > most {
            let detail = format!("ratio {} is greater than max/min = {most:.6}", ratio.canonical());
            errors.push(at.invalid_as(&shown, detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_limits_follow_from_each_other() {
        let mut object =
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1"}}]}});
        (LIMIT_RANGES.defaults)(&mut object);
        assert_eq!(
            object["spec"]["limits"][0],
            json!({
                "type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1"}, "default": {"cpu": "2"},
                "defaultRequest": {"cpu": "2", "memory": "1"},
            })
        );
    }
}
