//! What extends or rules the API server itself: admission, flow control, certificates, migrations.

use serde_json::json;
use triune_api::{Value, field::FieldError, time};
use triune_machinery::{
    context::Context,
    registry::{Column, ResetFields, Strategy},
};

use super::validation;
use crate::{
    kind::{Kind, Selectable},
    table,
    tables::{cluster, extensions},
    tree::{self, child, copy_field, fill, fill_unset, set},
};

/// `admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration`.
pub static VALIDATING_WEBHOOKS: Kind = Kind {
    defaults: |object| {
        for webhook in tree::items_mut(object, "/webhooks") {
            webhook_defaults(webhook);
        }
    },
    validate: validate_webhooks,
    table: extensions::WEBHOOKS,
    ..Kind::GENERIC
};

/// `admissionregistration.k8s.io/v1 MutatingWebhookConfiguration`.
pub static MUTATING_WEBHOOKS: Kind = Kind {
    defaults: |object| {
        for webhook in tree::items_mut(object, "/webhooks") {
            webhook_defaults(webhook);
            fill(webhook, "reinvocationPolicy", "Never");
        }
    },
    validate: validate_webhooks,
    table: extensions::WEBHOOKS,
    ..Kind::GENERIC
};

/// `admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy`.
pub static VALIDATING_ADMISSION_POLICIES: Kind =
    Kind { defaults: policy_defaults, table: extensions::VALIDATING_ADMISSION_POLICIES, ..Kind::GENERIC };

/// `admissionregistration.k8s.io/v1 MutatingAdmissionPolicy`.
pub static MUTATING_ADMISSION_POLICIES: Kind =
    Kind { defaults: policy_defaults, table: extensions::MUTATING_ADMISSION_POLICIES, ..Kind::GENERIC };

/// Bindings of both kinds of policies.
pub static ADMISSION_POLICY_BINDINGS: Kind = Kind {
    defaults: |object| match_resources(object, "/spec/matchResources"),
    validate: |object, errors| validation::required(object, "/spec/policyName", "spec.policyName", errors),
    table: extensions::ADMISSION_POLICY_BINDINGS,
    ..Kind::GENERIC
};

/// `flowcontrol.apiserver.k8s.io/v1 FlowSchema`.
pub static FLOW_SCHEMAS: Kind = Kind {
    defaults: |object| {
        if let Some(spec) = child(object, "spec") {
            fill_unset(spec, "matchingPrecedence", 1000);
        }
    },
    table: extensions::FLOW_SCHEMAS,
    ..Kind::GENERIC
};

/// `flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration`.
pub static PRIORITY_LEVELS: Kind = Kind {
    defaults: |object| {
        let exempt = object.pointer("/spec/type") == Some(&json!("Exempt"));
        if let Some(level) = tree::object_mut(object, "/spec/limited") {
            fill(level, "nominalConcurrencyShares", 30);
            fill(level, "lendablePercent", 0);
        }
        if exempt && let Some(level) = tree::object_mut(object, "/spec/exempt") {
            fill(level, "nominalConcurrencyShares", 0);
            fill(level, "lendablePercent", 0);
        }
        if let Some(queuing) = tree::object_mut(object, "/spec/limited/limitResponse/queuing") {
            fill_unset(queuing, "handSize", 8);
            fill_unset(queuing, "queues", 64);
            fill_unset(queuing, "queueLengthLimit", 50);
        }
    },
    table: extensions::PRIORITY_LEVELS,
    ..Kind::GENERIC
};

/// `apiregistration.k8s.io/v1 APIService`.
pub static API_SERVICES: Kind = Kind {
    defaults: |object| {
        if let Some(service) = tree::object_mut(object, "/spec/service") {
            fill(service, "port", 443);
        }
    },
    validate: |object, errors| {
        let (group, version) = (tree::text(object, "/spec/group"), tree::text(object, "/spec/version"));
        let wanted = format!("{version}.{group}");
        if tree::name(object) != wanted {
            let name = json!(tree::name(object));
            let message = format!(r#"must be `spec.version+"."+spec.group`: "{wanted}""#);
            errors.push(FieldError::invalid("metadata.name", &name, message));
        }
    },
    // The core group's name ends on a dot.
    validate_name: Some(triune_api::validation::path_segment_name),
    table: extensions::API_SERVICES,
    ..Kind::GENERIC
};

/// `storagemigration.k8s.io/v1 StorageVersionMigration`.
pub static STORAGE_VERSION_MIGRATIONS: Kind = Kind { table: extensions::STORAGE_VERSION_MIGRATIONS, ..Kind::GENERIC };

/// `certificates.k8s.io/v1 CertificateSigningRequest`: says who asked, and is not changed afterwards.
pub static CERTIFICATE_SIGNING_REQUESTS: Kind = Kind {
    resets_spec: true,
    create: |context, _, object| {
        set(object, "status", json!({}));
        let Some(spec) = child(object, "spec") else { return };
        set(spec, "username", context.user.name.as_str());
        for (field, value) in [
            ("uid", json!(context.user.uid)),
            ("groups", json!(context.user.groups)),
            ("extra", json!(context.user.extra)),
        ] {
            match &value {
                Value::String(text) if text.is_empty() => tree::remove(spec, field),
                Value::Array(items) if items.is_empty() => tree::remove(spec, field),
                Value::Object(map) if map.is_empty() => tree::remove(spec, field),
                _ => set(spec, field, value),
            }
        }
    },
    update: |_, _, old, new| copy_field(old, new, "spec"),
    update_status: |context, old, new| {
        for condition in ["Approved", "Denied"] {
            keep_conditions(old, new, condition);
        }
        condition_times(context, old, new);
    },
    validate: |object, errors| {
        validation::required(object, "/spec/request", "spec.request", errors);
        if tree::items(object, "/spec/usages").is_empty() {
            errors.push(FieldError::required("spec.usages", ""));
        }
        validation::required(object, "/spec/signerName", "spec.signerName", errors);
        let seconds = tree::integer(object, "/spec/expirationSeconds");
        if let Some(seconds) = seconds.filter(|seconds| *seconds < EXPIRATION_SECONDS_MIN) {
            let message = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.push(FieldError::invalid("spec.expirationSeconds", &json!(seconds), message));
        }
    },
    selectable: SIGNER_NAME,
    table: cluster::CERTIFICATE_SIGNING_REQUESTS,
    ..Kind::GENERIC
};

/// `certificates.k8s.io/v1 ClusterTrustBundle`.
pub static CLUSTER_TRUST_BUNDLES: Kind = Kind {
    validate: |object, errors| validation::required(object, "/spec/trustBundle", "spec.trustBundle", errors),
    validate_update: |old, new, errors| validation::immutable(old, new, "/spec/signerName", "spec.signerName", errors),
    // A signer's bundle is named `signer:domain:name`.
    validate_name: Some(triune_api::validation::path_segment_name),
    selectable: SIGNER_NAME,
    table: cluster::CLUSTER_TRUST_BUNDLES,
    ..Kind::GENERIC
};

/// `certificates.k8s.io/v1 PodCertificateRequest`.
pub static POD_CERTIFICATE_REQUESTS: Kind = Kind {
    validate_update: |old, new, errors| validation::immutable(old, new, "/spec", "spec", errors),
    selectable: &[
        Selectable { path: "spec.signerName", value: |object| tree::text(object, "/spec/signerName").into() },
        Selectable { path: "spec.podName", value: |object| tree::text(object, "/spec/podName").into() },
        Selectable { path: "spec.nodeName", value: |object| tree::text(object, "/spec/nodeName").into() },
    ],
    table: cluster::POD_CERTIFICATE_REQUESTS,
    ..Kind::GENERIC
};

const SIGNER_NAME: &[Selectable] =
    &[Selectable { path: "spec.signerName", value: |object| tree::text(object, "/spec/signerName").into() }];
const EXPIRATION_SECONDS_MIN: i64 = 600;

/// Serves `approval` of signing requests: the conditions change, nothing else.
pub struct ApprovalStrategy;

impl Strategy for ApprovalStrategy {
    fn reset_fields(&self) -> ResetFields {
        ResetFields::These(&[&["spec"], &["status", "certificate"]])
    }

    fn prepare_for_update(&self, context: &Context, old: &Value, new: &mut Value) {
        let conditions = new.pointer("/status/conditions").cloned();
        copy_field(old, new, "spec");
        copy_field(old, new, "status");
        if let Some(status) = child(new, "status") {
            match conditions {
                Some(conditions) => set(status, "conditions", conditions),
                None => tree::remove(status, "conditions"),
            }
        }
        condition_times(context, old, new);
    }

    fn columns(&self) -> Vec<Column> {
        table::columns(cluster::CERTIFICATE_SIGNING_REQUESTS)
    }

    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        table::cells(cluster::CERTIFICATE_SIGNING_REQUESTS, object, now)
    }
}

/// Approval and denial are not the signer's to change.
fn keep_conditions(old: &Value, new: &mut Value, kind: &str) {
    let of_kind = |condition: &&Value| tree::text(condition, "/type") == kind;
    let before: Vec<Value> = tree::items(old, "/status/conditions").iter().filter(of_kind).cloned().collect();
    let after = tree::items_mut(new, "/status/conditions").iter_mut().filter(|item| tree::text(item, "/type") == kind);
    let after: Vec<&mut Value> = after.collect();
    if before.len() == after.len() {
        for (condition, before) in after.into_iter().zip(before) {
            *condition = before;
        }
    }
}

fn condition_times(context: &Context, old: &Value, new: &mut Value) {
    let now = time::rfc3339(context.env.clock.wall());
    let before = tree::items(old, "/status/conditions").to_vec();
    for condition in tree::items_mut(new, "/status/conditions") {
        fill(condition, "lastUpdateTime", now.clone());
        let same =
            |old: &&Value| old.get("type") == condition.get("type") && old.get("status") == condition.get("status");
        let transition = before.iter().find(same).map(|old| tree::text(old, "/lastTransitionTime").to_string());
        fill(condition, "lastTransitionTime", transition.filter(|time| !time.is_empty()).unwrap_or(now.clone()));
    }
}

fn webhook_defaults(webhook: &mut Value) {
    fill(webhook, "failurePolicy", "Fail");
    fill(webhook, "matchPolicy", "Equivalent");
    fill(webhook, "namespaceSelector", json!({}));
    fill(webhook, "objectSelector", json!({}));
    fill(webhook, "timeoutSeconds", 10);
    rule_scopes(webhook, "/rules");
    if let Some(service) = tree::object_mut(webhook, "/clientConfig/service") {
        fill(service, "port", 443);
    }
}

fn rule_scopes(object: &mut Value, pointer: &str) {
    for rule in tree::items_mut(object, pointer) {
        fill(rule, "scope", "*");
    }
}

fn policy_defaults(object: &mut Value) {
    if let Some(spec) = child(object, "spec") {
        fill(spec, "failurePolicy", "Fail");
    }
    match_resources(object, "/spec/matchConstraints");
}

fn match_resources(object: &mut Value, pointer: &str) {
    if let Some(resources) = tree::object_mut(object, pointer) {
        fill(resources, "matchPolicy", "Equivalent");
        fill(resources, "namespaceSelector", json!({}));
        fill(resources, "objectSelector", json!({}));
        rule_scopes(resources, "/resourceRules");
        rule_scopes(resources, "/excludeResourceRules");
    }
}

fn validate_webhooks(object: &Value, errors: &mut Vec<FieldError>) {
    let mut names = Vec::new();
    for (index, webhook) in tree::items(object, "/webhooks").iter().enumerate() {
        let path = format!("webhooks[{index}]");
        let name = tree::text(webhook, "/name");
        validation::subdomain_name(webhook, "/name", &format!("{path}.name"), errors);
        if !name.is_empty() && name.split('.').count() < 3 {
            let message = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(&format!("{path}.name"), &json!(name), message));
        }
        if names.contains(&name) {
            errors.push(FieldError::duplicate(&format!("{path}.name"), &json!(name)));
        }
        names.push(name);
        if !tree::has(webhook, "/sideEffects") {
            let message = "must specify one of None, NoneOnDryRun";
            errors.push(FieldError::required(&format!("{path}.sideEffects"), message));
        }
        validation::one_of(webhook, "/sideEffects", &format!("{path}.sideEffects"), &["None", "NoneOnDryRun"], errors);
        let (url, service) = (tree::has(webhook, "/clientConfig/url"), tree::has(webhook, "/clientConfig/service"));
        if url == service {
            let message = "exactly one of url or service is required";
            errors.push(FieldError::required(&format!("{path}.clientConfig"), message));
        }
    }
}
