//! What extends or rules the API server itself: admission, flow control, API services, storage migrations.

use serde_json::json;
use triune_api::Value;

use super::{condition_is_true, condition_of, scalar};
use crate::{
    table::{AGE, NAME, TableColumn, computed, count, integer, text},
    tree,
};

/// Webhook configurations, mutating and validating.
pub const WEBHOOKS: &[TableColumn] = &[NAME, count("Webhooks", "/webhooks", "Webhooks of the configuration."), AGE];

/// `admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy`.
pub const VALIDATING_ADMISSION_POLICIES: &[TableColumn] = &[
    NAME,
    count("Validations", "/spec/validations", "Rules of the policy."),
    computed("ParamKind", param_kind, "Kind of its parameters."),
    AGE,
];

/// `admissionregistration.k8s.io/v1 MutatingAdmissionPolicy`.
pub const MUTATING_ADMISSION_POLICIES: &[TableColumn] = &[
    NAME,
    count("Mutations", "/spec/mutations", "Changes that the policy makes."),
    computed("ParamKind", param_kind, "Kind of its parameters."),
    AGE,
];

/// Bindings of admission policies.
pub const ADMISSION_POLICY_BINDINGS: &[TableColumn] = &[
    NAME,
    text("PolicyName", "/spec/policyName", "The policy that is bound."),
    computed("ParamRef", param_ref, "Its parameters."),
    AGE,
];

/// `apiregistration.k8s.io/v1 APIService`.
pub const API_SERVICES: &[TableColumn] = &[
    NAME,
    computed("Service", api_service_service, "The service that serves the group's version."),
    computed("Available", api_service_available, "Whether it is served."),
    AGE,
];

/// `flowcontrol.apiserver.k8s.io/v1 FlowSchema`.
pub const FLOW_SCHEMAS: &[TableColumn] = &[
    NAME,
    text("PriorityLevel", "/spec/priorityLevelConfiguration/name", "Where its requests queue."),
    integer("MatchingPrecedence", "/spec/matchingPrecedence", "Place among the schemas; low comes first.")
        .typed("string"),
    computed(
        "DistinguisherMethod",
        |object| json!(scalar(object.pointer("/spec/distinguisherMethod/type"), "<none>")),
        "What makes flows.",
    ),
    AGE,
    computed(
        "MissingPL",
        |object| json!(condition_of(object, "Dangling").map_or("?", |condition| tree::text(condition, "/status"))),
        "Whether its priority level is missing.",
    ),
];

/// `flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration`.
pub const PRIORITY_LEVELS: &[TableColumn] = &[
    NAME,
    text("Type", "/spec/type", "Limited or Exempt."),
    computed(
        "NominalConcurrencyShares",
        |object| or_none(object, "/spec/limited/nominalConcurrencyShares"),
        "Share of the server's seats.",
    ),
    computed("Queues", |object| or_none(object, "/spec/limited/limitResponse/queuing/queues"), "Number of queues."),
    computed(
        "HandSize",
        |object| or_none(object, "/spec/limited/limitResponse/queuing/handSize"),
        "Queues that a flow may use.",
    ),
    computed(
        "QueueLengthLimit",
        |object| or_none(object, "/spec/limited/limitResponse/queuing/queueLengthLimit"),
        "Requests that a queue may hold.",
    ),
    AGE,
];

/// `storagemigration.k8s.io/v1 StorageVersionMigration`.
pub const STORAGE_VERSION_MIGRATIONS: &[TableColumn] = &[
    NAME.formatted(""),
    computed("Resource", migrated_resource, "What is rewritten."),
    computed("Status", migration_status, "How far it is."),
];

fn or_none(object: &Value, pointer: &str) -> Value {
    object.pointer(pointer).cloned().unwrap_or(json!("<none>"))
}

fn param_kind(object: &Value) -> Value {
    if !tree::has(object, "/spec/paramKind") {
        return json!("<unset>");
    }
    let part = |field: &str| tree::text(object, &format!("/spec/paramKind/{field}"));
    json!(format!("{}/{}", part("apiVersion"), part("kind")))
}

fn param_ref(object: &Value) -> Value {
    let (name, namespace) = (tree::text(object, "/spec/paramRef/name"), tree::text(object, "/spec/paramRef/namespace"));
    json!(match (name, namespace) {
        ("", _) if tree::has(object, "/spec/paramRef/selector") => {
            go_selector(&object["spec"]["paramRef"]["selector"])
        }
        ("", _) => "<unset>".into(),
        (name, "") => format!("*/{name}"),
        (name, namespace) => format!("{namespace}/{name}"),
    })
}

/// As Go prints the structure.
fn go_selector(selector: &Value) -> String {
    let labels = tree::map(selector, "/matchLabels").into_iter().flatten();
    let labels: String = labels.map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or_default())).collect();
    let requirement = |requirement: &Value| {
        let values: Vec<&str> =
            tree::items(requirement, "/values").iter().map(|value| value.as_str().unwrap_or_default()).collect();
        format!(
            "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
            tree::text(requirement, "/key"),
            tree::text(requirement, "/operator"),
            values.join(" ")
        )
    };
    let requirements: String = tree::items(selector, "/matchExpressions").iter().map(requirement).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{requirements}}},}}"
    )
}

/// `apiextensions.k8s.io/v1 CustomResourceDefinition`.
pub const CUSTOM_RESOURCE_DEFINITIONS: &[TableColumn] = &[
    NAME,
    text("Scope", "/spec/scope", "Whether its objects are in namespaces."),
    computed("Versions", served_versions, "Versions that are served."),
    text("Created At", "/metadata/creationTimestamp", "When the object was created.").typed("date"),
    text("Group", "/spec/group", "Group of its objects.").wide(),
    text("Kind", "/spec/names/kind", "Kind of its objects.").wide(),
    computed("ShortNames", short_names, "Short names of its objects.").wide(),
    computed("Established", |object| json!(condition_is_true(object, "Established")), "Whether it is served.")
        .typed("boolean")
        .wide(),
];

fn served_versions(object: &Value) -> Value {
    let served = tree::items(object, "/spec/versions").iter().filter(|version| tree::truth(version, "/served"));
    let label = |version: &Value| {
        let storage = if tree::truth(version, "/storage") { "(storage)" } else { "" };
        format!("{}{storage}", tree::text(version, "/name"))
    };
    let mut labels: Vec<String> = served.map(label).collect();
    labels.sort();
    json!(labels.join(","))
}

fn short_names(object: &Value) -> Value {
    let names = tree::items(object, "/spec/names/shortNames").iter().map(|name| name.as_str().unwrap_or_default());
    json!(names.collect::<Vec<_>>().join(","))
}

fn api_service_service(object: &Value) -> Value {
    if !tree::has(object, "/spec/service") {
        return json!("Local");
    }
    let part = |field: &str| tree::text(object, &format!("/spec/service/{field}"));
    json!(format!("{}/{}", part("namespace"), part("name")))
}

fn api_service_available(object: &Value) -> Value {
    let Some(condition) = condition_of(object, "Available") else { return json!("Unknown") };
    let (status, reason) = (tree::text(condition, "/status"), tree::text(condition, "/reason"));
    json!(if status == "True" || reason.is_empty() { status.to_string() } else { format!("{status} ({reason})") })
}

fn migrated_resource(object: &Value) -> Value {
    let (group, resource) = (tree::text(object, "/spec/resource/group"), tree::text(object, "/spec/resource/resource"));
    json!(if group.is_empty() { resource.to_string() } else { format!("{resource}.{group}") })
}

fn migration_status(object: &Value) -> Value {
    let states = ["Running", "Failed", "Succeeded"];
    let all = tree::items(object, "/status/conditions").iter().map(|condition| tree::text(condition, "/type"));
    let mut holding = all.rev().filter(|state| states.contains(state) && condition_is_true(object, state));
    json!(holding.next().unwrap_or("Unknown"))
}
