//! Flow control: flow schemas and priority levels (kubernetes `pkg/apis/flowcontrol`).

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    validation::{dns_label, dns_subdomain},
};

use super::validation::each_message;
use crate::{
    bootstrap::mandatory_flow_control,
    kind::Kind,
    tables::extensions,
    tree::{self, child, fill, fill_unset, unset_removed},
};

/// `flowcontrol.apiserver.k8s.io/v1 FlowSchema`.
pub static FLOW_SCHEMAS: Kind = Kind {
    defaults: |object| {
        if let Some(spec) = child(object, "spec") {
            fill_unset(spec, "matchingPrecedence", 1000);
        }
    },
    validate: |object, errors| {
        flow_schema(object, errors);
        statuses(object, errors);
    },
    validate_status: |_, new, errors| statuses(new, errors),
    table: extensions::FLOW_SCHEMAS,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration`.
pub static PRIORITY_LEVELS: Kind = Kind {
    defaults: |object| {
        if let Some(level) = tree::object_mut(object, "/spec/limited") {
            fill(level, "nominalConcurrencyShares", 30);
            fill(level, "lendablePercent", 0);
        }
        if let Some(level) = tree::object_mut(object, "/spec/exempt") {
            fill(level, "nominalConcurrencyShares", 0);
            fill(level, "lendablePercent", 0);
        }
        if let Some(queuing) = tree::object_mut(object, "/spec/limited/limitResponse/queuing") {
            fill_unset(queuing, "handSize", 8);
            fill_unset(queuing, "queues", 64);
            fill_unset(queuing, "queueLengthLimit", 50);
        }
    },
    validate: |object, errors| {
        priority_level(object, errors);
        statuses(object, errors);
        unions(object, errors);
    },
    validate_status: |_, new, errors| statuses(new, errors),
    table: extensions::PRIORITY_LEVELS,
    closed_sets: true,
    ..Kind::GENERIC
};

const PRECEDENCE_MAX: i64 = 10_000;
const DISTINGUISHERS: &[&str] = &["ByNamespace", "ByUser"];
const SUBJECTS: &[&str] = &["Group", "ServiceAccount", "User"];
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const LEVEL_TYPES: &[&str] = &["Exempt", "Limited"];
const RESPONSE_TYPES: &[&str] = &["Queue", "Reject"];
const QUEUES_MAX: i64 = 10_000_000;
const HASH_BITS_MAX: i64 = 60;

fn flow_schema(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let field = "spec.matchingPrecedence";
    let precedence = tree::integer_or_zero(spec, "/matchingPrecedence");
    let mut refuse = |message: String| errors.push(FieldError::invalid(field, &json!(precedence), message));
    if precedence <= 0 {
        refuse("must be a positive value".into());
    }
    if precedence > PRECEDENCE_MAX {
        refuse(format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if precedence == 1 && tree::name(object) != "exempt" {
        refuse("only the schema named 'exempt' may have matchingPrecedence 1".into());
    }
    if tree::has(spec, "/distinguisherMethod") {
        let kind = tree::text(spec, "/distinguisherMethod/type");
        if !DISTINGUISHERS.contains(&kind) {
            // As the reference prints it: its own types have no names for JSON.
            let shown = json!({"Type": kind});
            errors.push(FieldError::not_supported("spec.distinguisherMethod.type", &shown, DISTINGUISHERS));
        }
    }
    let field = "spec.priorityLevelConfiguration.name";
    match tree::text(spec, "/priorityLevelConfiguration/name") {
        "" => errors.push(FieldError::required(field, "must reference a priority level")),
        name => each_message(name, field, dns_subdomain(name), errors),
    }
    for (index, rule) in tree::items(spec, "/rules").iter().enumerate() {
        self::rule(rule, &format!("spec.rules[{index}]"), errors);
    }
    let name = tree::name(object);
    if mandatory_flow_control("schema", name).is_some_and(|fixed| fixed != unset_removed(spec)) {
        let message = format!("spec of '{name}' must equal the fixed value");
        errors.push(FieldError::invalid("spec", spec, message));
    }
}

fn rule(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let subjects = tree::items(rule, "/subjects");
    if subjects.is_empty() {
        let message = "subjects must contain at least one value";
        errors.push(FieldError::required(&format!("{path}.subjects"), message));
    }
    for (index, subject) in subjects.iter().enumerate() {
        self::subject(subject, &format!("{path}.subjects[{index}]"), errors);
    }
    let (resources, others) = (tree::items(rule, "/resourceRules"), tree::items(rule, "/nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let message = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, message));
    }
    for (index, rule) in resources.iter().enumerate() {
        resource_rule(rule, &format!("{path}.resourceRules[{index}]"), errors);
    }
    for (index, rule) in others.iter().enumerate() {
        other_rule(rule, &format!("{path}.nonResourceRules[{index}]"), errors);
    }
}

fn subject(subject: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let kind = tree::text(subject, "/kind");
    let own = match kind {
        "ServiceAccount" => "serviceAccount",
        "User" => "user",
        "Group" => "group",
        other => return errors.push(FieldError::not_supported(&format!("{path}.kind"), &json!(other), SUBJECTS)),
    };
    let field = format!("{path}.{own}");
    if tree::has(subject, &format!("/{own}")) {
        let name = tree::text(subject, &format!("/{own}/name"));
        if name.is_empty() {
            errors.push(FieldError::required(&format!("{field}.name"), ""));
        } else if kind == "ServiceAccount" && name != "*" {
            each_message(name, &format!("{field}.name"), dns_subdomain(name), errors);
        }
        if kind == "ServiceAccount" {
            let field = format!("{field}.namespace");
            match tree::text(subject, "/serviceAccount/namespace") {
                "" => errors.push(FieldError::required(&field, "must specify namespace for service account")),
                namespace => each_message(namespace, &field, dns_label(namespace), errors),
            }
        }
    } else {
        let message = format!("{own} is required when subject kind is '{kind}'");
        errors.push(FieldError::required(&field, message));
    }
    for (other, name) in [("serviceAccount", "ServiceAccount"), ("user", "User"), ("group", "Group")] {
        if other != own && tree::has(subject, &format!("/{other}")) {
            let message = format!("{other} is forbidden when subject kind is not '{name}'");
            errors.push(FieldError::forbidden(&format!("{path}.{other}"), message));
        }
    }
}

/// Checks a list that must have something, and nothing else beside `*`. True if its items are to be looked at.
fn list_with_wildcard(list: &[Value], field: &str, missing: &str, what: &str, errors: &mut Vec<FieldError>) -> bool {
    if list.is_empty() {
        errors.push(FieldError::required(field, missing));
        return false;
    }
    let wild = list.iter().any(|item| item == "*");
    if wild && list.len() > 1 {
        let message = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(field, &json!(list), message));
    }
    !wild
}

fn verbs(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (verbs, field) = (tree::items(rule, "/verbs"), format!("{path}.verbs"));
    let missing = "verbs must contain at least one value";
    let known = |verb: &Value| verb.as_str().is_some_and(|verb| VERBS.contains(&verb));
    if list_with_wildcard(verbs, &field, missing, "verbs", errors) && !verbs.iter().all(known) {
        errors.push(FieldError::not_supported(&field, &json!(verbs), VERBS));
    }
}

fn resource_rule(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    verbs(rule, path, errors);
    let missing = "resource rules must supply at least one api group";
    list_with_wildcard(tree::items(rule, "/apiGroups"), &format!("{path}.apiGroups"), missing, "api groups", errors);
    let missing = "resource rules must supply at least one resource";
    list_with_wildcard(tree::items(rule, "/resources"), &format!("{path}.resources"), missing, "resources", errors);
    let (namespaces, field) = (tree::items(rule, "/namespaces"), format!("{path}.namespaces"));
    if namespaces.is_empty() && tree::truth(rule, "/clusterScope") {
        return;
    }
    let missing = "resource rules that are not cluster scoped must supply at least one namespace";
    if list_with_wildcard(namespaces, &field, missing, "namespaces", errors) {
        for (index, namespace) in namespaces.iter().enumerate() {
            let namespace = namespace.as_str().unwrap_or_default();
            let explained = |message| format!("each member of this list must be '*' or a DNS-1123 label; {message}");
            let messages = dns_label(namespace).into_iter().map(explained).collect();
            each_message(namespace, &format!("{field}[{index}]"), messages, errors);
        }
    }
}

fn other_rule(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    verbs(rule, path, errors);
    let (urls, field) = (tree::items(rule, "/nonResourceURLs"), format!("{path}.nonResourceURLs"));
    let missing = "nonResourceURLs must contain at least one value";
    if !list_with_wildcard(urls, &field, missing, "non-resource URLs", errors) {
        return;
    }
    for (index, url) in urls.iter().enumerate() {
        let text = url.as_str().unwrap_or_default();
        let stars = text.matches('*').count();
        let message = if text.is_empty() {
            "must not be empty"
        } else if !text.starts_with('/') {
            "must start with slash"
        } else if text.contains(' ') {
            "must not contain white-space"
        } else if text.contains("//") {
            "must not contain double slash"
        } else if stars > 1 || (stars == 1 && !text.ends_with("/*")) {
            "wildcard can only do suffix matching"
        } else {
            continue;
        };
        errors.push(FieldError::invalid(&format!("{field}[{index}]"), &json!(text), message));
    }
}

/// Another version keeps something under this annotation.
const ROUND_TRIP_ANNOTATION: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";

fn priority_level(object: &Value, errors: &mut Vec<FieldError>) {
    if tree::map(object, "/metadata/annotations").is_some_and(|map| map.contains_key(ROUND_TRIP_ANNOTATION)) {
        let message = format!("annotation '{ROUND_TRIP_ANNOTATION}' is forbidden");
        errors.push(FieldError::forbidden("metadata.annotations", message));
    }
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (name, kind) = (tree::name(object), tree::text(spec, "/type"));
    if (name == "exempt") != (kind == "Exempt") {
        let message = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(FieldError::invalid("spec.type", &json!(kind), message));
    }
    match (kind, spec.get("exempt"), spec.get("limited")) {
        ("Exempt", Some(exempt), _) => shares(exempt, "spec.exempt", errors),
        ("Limited", _, Some(limited)) if !limited.is_null() => limited_level(limited, errors),
        ("Exempt" | "Limited" | "", _, _) => {}
        _ => errors.push(FieldError::not_supported("spec.type", &json!(kind), LEVEL_TYPES)),
    }
    let Some(fixed) = mandatory_flow_control("level", name) else { return };
    let mut shown = unset_removed(spec);
    if name == "exempt" {
        tree::copy_field(&fixed, &mut shown, "exempt");
    }
    if shown != fixed {
        let but = if name == "exempt" { " except the 'spec.exempt' field" } else { "" };
        let message = format!("spec of '{name}'{but} must equal the fixed value");
        let error = FieldError::invalid_omitted("spec", message);
        errors.push(FieldError { value: Some(shown_level(spec)), ..error });
    }
}

/// As the reference prints it: its own types have no names for JSON.
fn shown_level(spec: &Value) -> String {
    let or_null = |object: &Value, field: &str| object.get(field).cloned().unwrap_or_default().to_string();
    let number = |object: &Value, field: &str| tree::integer_or_zero(object, &format!("/{field}"));
    let structure = |object: &Value, show: &dyn Fn(&Value) -> String| {
        if object.is_null() { "null".into() } else { show(object) }
    };
    let queuing = |queuing: &Value| {
        let of = |field| number(queuing, field);
        let (queues, hand, limit) = (of("queues"), of("handSize"), of("queueLengthLimit"));
        format!(r#"{{"Queues":{queues},"HandSize":{hand},"QueueLengthLimit":{limit}}}"#)
    };
    let limited = |limited: &Value| {
        let response = limited.get("limitResponse").unwrap_or(&Value::Null);
        format!(
            r#"{{"NominalConcurrencyShares":{},"LimitResponse":{{"Type":{},"Queuing":{}}},"LendablePercent":{},"BorrowingLimitPercent":{}}}"#,
            number(limited, "nominalConcurrencyShares"),
            json!(tree::text(response, "/type")),
            structure(response.get("queuing").unwrap_or(&Value::Null), &queuing),
            or_null(limited, "lendablePercent"),
            or_null(limited, "borrowingLimitPercent"),
        )
    };
    let exempt = |exempt: &Value| {
        let (shares, percent) = (or_null(exempt, "nominalConcurrencyShares"), or_null(exempt, "lendablePercent"));
        format!(r#"{{"NominalConcurrencyShares":{shares},"LendablePercent":{percent}}}"#)
    };
    format!(
        r#"{{"Type":{},"Limited":{},"Exempt":{}}}"#,
        json!(tree::text(spec, "/type")),
        structure(spec.get("limited").unwrap_or(&Value::Null), &limited),
        structure(spec.get("exempt").unwrap_or(&Value::Null), &exempt),
    )
}

fn shares(level: &Value, path: &str, errors: &mut Vec<FieldError>) {
    nominal_shares(level, path, errors);
    lendable(level, path, errors);
}

fn nominal_shares(level: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let shares = tree::integer_or_zero(level, "/nominalConcurrencyShares");
    if shares < 0 {
        let message = "must be a non-negative integer";
        errors.push(FieldError::invalid(&format!("{path}.nominalConcurrencyShares"), &json!(shares), message));
    }
}

fn lendable(level: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let percent = tree::integer_or_zero(level, "/lendablePercent");
    if !(0..=100).contains(&percent) {
        let message = "must be between 0 and 100, inclusive";
        errors.push(FieldError::invalid(&format!("{path}.lendablePercent"), &json!(percent), message));
    }
}

fn limited_level(limited: &Value, errors: &mut Vec<FieldError>) {
    let path = "spec.limited";
    nominal_shares(limited, path, errors);
    let response = limited.get("limitResponse").unwrap_or(&Value::Null);
    let field = format!("{path}.limitResponse");
    match tree::text(response, "/type") {
        "Queue" if tree::has(response, "/queuing") => {
            queuing(&response["queuing"], &format!("{field}.queuing"), errors);
        }
        "" | "Queue" | "Reject" => {}
        other => errors.push(FieldError::not_supported(&format!("{field}.type"), &json!(other), RESPONSE_TYPES)),
    }
    lendable(limited, path, errors);
    let percent = tree::integer_or_zero(limited, "/borrowingLimitPercent");
    if percent < 0 {
        let message = "if specified, must be a non-negative integer";
        errors.push(FieldError::invalid(&format!("{path}.borrowingLimitPercent"), &json!(percent), message));
    }
}

fn queuing(queuing: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let of = |field: &str| tree::integer_or_zero(queuing, &format!("/{field}"));
    let mut refuse = |field: &str, value: i64, message: String| {
        errors.push(FieldError::invalid(&format!("{path}.{field}"), &json!(value), message));
    };
    let (limit, queues, hand) = (of("queueLengthLimit"), of("queues"), of("handSize"));
    if limit <= 0 {
        refuse("queueLengthLimit", limit, "must be positive".into());
    }
    if queues <= 0 {
        refuse("queues", queues, "must be positive".into());
    } else if queues > QUEUES_MAX {
        refuse("queues", queues, format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand <= 0 {
        refuse("handSize", hand, "must be positive".into());
    } else if hand > queues {
        refuse("handSize", hand, format!("should not be greater than queues ({queues})"));
    } else if entropy_bits(queues, hand) > HASH_BITS_MAX {
        refuse(
            "handSize",
            hand,
            format!(
                "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"
            ),
        );
    }
}

/// Bits of a hash that dealing a hand takes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "both are below 2^24, the product is rounded up"
)]
fn entropy_bits(queues: i64, hand: i64) -> i64 {
    ((queues as f64).log2() * hand as f64).ceil() as i64
}

/// Fields that go with a type. The reference checks these after all else.
fn unions(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let kind = tree::text(spec, "/type");
    if kind != "Exempt" && tree::has(spec, "/exempt") {
        errors.push(FieldError::forbidden("spec.exempt", ""));
    }
    match (kind == "Limited", tree::has(spec, "/limited")) {
        (true, false) => errors.push(FieldError::required("spec.limited", "")),
        (false, true) => errors.push(FieldError::forbidden("spec.limited", "")),
        _ => {}
    }
    if kind.is_empty() {
        errors.push(FieldError::required("spec.type", ""));
    }
    let path = "spec.limited.limitResponse";
    let Some(limited) = spec.get("limited").filter(|limited| !limited.is_null()) else { return };
    let kind = tree::text(limited, "/limitResponse/type");
    match (kind == "Queue", tree::has(limited, "/limitResponse/queuing")) {
        (true, false) => errors.push(FieldError::required(&format!("{path}.queuing"), "")),
        (false, true) => errors.push(FieldError::forbidden(&format!("{path}.queuing"), "")),
        _ => {}
    }
    if kind.is_empty() {
        errors.push(FieldError::required(&format!("{path}.type"), ""));
    }
}

fn statuses(object: &Value, errors: &mut Vec<FieldError>) {
    let conditions = tree::items(object, "/status/conditions");
    for (index, condition) in conditions.iter().enumerate() {
        let field = format!("status.conditions[{index}].type");
        let kind = tree::text(condition, "/type");
        if conditions[..index].iter().any(|earlier| tree::text(earlier, "/type") == kind) {
            errors.push(FieldError::duplicate(&field, &json!(kind)));
        }
        if kind.is_empty() {
            errors.push(FieldError::required(&field, ""));
        }
    }
}
