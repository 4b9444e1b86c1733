//! Certificates: signing requests, trust bundles, requests of pods (kubernetes `pkg/apis/certificates`).
//!
//! In reading order: the kinds are here; [`pem`] and [`keys`] read what is encoded; [`signing`], [`bundles`] and
//! [`pods`] say what is wrong with each.

mod bundles;
mod keys;
mod pem;
mod pods;
mod signing;

use base64::Engine as _;
use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    time,
    validation::{DNS_LABEL_BYTES_MAX, DNS_SUBDOMAIN_BYTES_MAX, dns_label, dns_subdomain},
};
use triune_machinery::{
    context::Context,
    registry::{Column, Strategy},
};

use crate::{
    kind::{Kind, Selectable},
    table,
    tables::cluster,
    tree::{self, child, copy_field, fill, set},
};

/// `certificates.k8s.io/v1 CertificateSigningRequest`: says who asked, and is not changed afterwards.
pub static CERTIFICATE_SIGNING_REQUESTS: Kind = Kind {
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
    validate_create: signing::created,
    validate_update: |old, new, errors| signing::updated(old, new, signing::Way::Object, errors),
    validate_status: |old, new, errors| signing::updated(old, new, signing::Way::Status, errors),
    // The reference asks nothing of these names but what a path asks.
    validate_name: Some(triune_api::validation::path_segment_name),
    selectable: SIGNER_NAME,
    table: cluster::CERTIFICATE_SIGNING_REQUESTS,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `certificates.k8s.io/v1 ClusterTrustBundle`.
pub static CLUSTER_TRUST_BUNDLES: Kind = Kind {
    validate_create: |object, errors| bundles::bundle(None, object, errors),
    validate_update: |old, new, errors| bundles::bundle(Some(old), new, errors),
    // A signer's bundle is named `signer:domain:name`; that is checked along with the rest, which knows the signer.
    validate_name: Some(|_| Vec::new()),
    selectable: SIGNER_NAME,
    table: cluster::CLUSTER_TRUST_BUNDLES,
    closed_sets: true,
    ..Kind::GENERIC
};

/// `certificates.k8s.io/v1 PodCertificateRequest`.
pub static POD_CERTIFICATE_REQUESTS: Kind = Kind {
    validate_create: pods::created,
    validate_update: |old, new, errors| super::validation::immutable(old, new, "/spec", "spec", errors),
    validate_status_now: pods::status,
    selectable: &[
        Selectable { path: "spec.signerName", value: |object| tree::text(object, "/spec/signerName").into() },
        Selectable { path: "spec.podName", value: |object| tree::text(object, "/spec/podName").into() },
        Selectable { path: "spec.nodeName", value: |object| tree::text(object, "/spec/nodeName").into() },
    ],
    table: cluster::POD_CERTIFICATE_REQUESTS,
    closed_sets: true,
    ..Kind::GENERIC
};

const SIGNER_NAME: &[Selectable] =
    &[Selectable { path: "spec.signerName", value: |object| tree::text(object, "/spec/signerName").into() }];

/// Serves `approval` of signing requests: the conditions change, nothing else.
pub struct ApprovalStrategy;

impl Strategy for ApprovalStrategy {
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

    fn validate_update(&self, _: &Context, old: &Value, new: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        signing::updated(old, new, signing::Way::Approval, &mut errors);
        errors
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

/// Checks the name of a signer: `example.com/name`.
fn signer_name(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return errors.push(FieldError::required(field, ""));
    }
    let [domain, path] = name.split('/').collect::<Vec<_>>()[..] else {
        let message = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.push(FieldError::invalid(field, &json!(name), message));
    };
    if domain.len() > DNS_SUBDOMAIN_BYTES_MAX {
        errors.push(FieldError::too_long(field, DNS_SUBDOMAIN_BYTES_MAX));
    }
    first_bad_part(domain, dns_label, field, errors);
    if !domain.contains('.') {
        let message = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(field, &json!(domain), message));
    }
    first_bad_part(path, dns_subdomain, field, errors);
    // A path is a name in a namespace.
    let bytes_max = DNS_SUBDOMAIN_BYTES_MAX + 1 + DNS_SUBDOMAIN_BYTES_MAX + DNS_LABEL_BYTES_MAX + 1;
    if name.len() > bytes_max {
        errors.push(FieldError::too_long(field, bytes_max));
    }
}

fn first_bad_part(text: &str, check: fn(&str) -> Vec<String>, field: &str, errors: &mut Vec<FieldError>) {
    let parts = text.split('.').map(|part| (part, check(part)));
    if let Some((part, messages)) = parts.into_iter().find(|(_, messages)| !messages.is_empty()) {
        for message in messages {
            let message = format!("validating label {part:?}: {message}");
            errors.push(FieldError::invalid(field, &json!(text), message));
        }
    }
}

/// The bytes of a field; none if it is absent or no base64.
fn bytes(object: &Value, pointer: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(tree::text(object, pointer)).unwrap_or_default()
}
