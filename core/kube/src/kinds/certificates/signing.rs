//! What is wrong with signing requests. What was stored before a rule existed stays allowed.

use serde_json::json;
use triune_api::{Value, field::FieldError};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

use super::{bytes, keys, pem, signer_name};
use crate::tree;

/// Through which endpoint a request is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The object itself.
    Object,
    /// `status`: signers.
    Status,
    /// `approval`: approvers.
    Approval,
}

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const EXPIRATION_SECONDS_MIN: i64 = 600;
/// As a generated rule of the reference words it.
const MUTUALLY_EXCLUSIVE: &str =
    r#"must specify at most one of: `conditions[{"type": "Approved"}]`, `conditions[{"type": "Denied"}]`"#;
const BOTH: &str = r#"{conditions[{"type": "Approved"}], conditions[{"type": "Denied"}]}"#;

/// Checks a new request.
pub fn created(object: &Value, errors: &mut Vec<FieldError>) {
    request(None, object, errors);
}

/// Checks a changed request.
pub fn updated(old: &Value, new: &Value, way: Way, errors: &mut Vec<FieldError>) {
    let mut last = Vec::new();
    request(Some(old), new, errors);
    // Said after all else, as the reference says it.
    if let Some(index) = errors.iter().position(|error| error.detail == MUTUALLY_EXCLUSIVE) {
        last.push(errors.remove(index));
    }
    kept_conditions(old, new, way, errors);
    certificate_change(old, new, way, errors);
    errors.append(&mut last);
}

fn request(old: Option<&Value>, object: &Value, errors: &mut Vec<FieldError>) {
    if let Err(why) = check_request(object) {
        let shown = object.pointer("/spec/request").filter(|request| **request != "").unwrap_or(&Value::Null);
        errors.push(FieldError::invalid("spec.request", shown, why));
    }
    usages(old, object, errors);
    let signer = tree::text(object, "/spec/signerName");
    let was_legacy = old.is_some_and(|old| tree::text(old, "/spec/signerName") == LEGACY_SIGNER);
    if signer == LEGACY_SIGNER && !was_legacy {
        let message = "the legacy signerName is not allowed via this API version";
        errors.push(FieldError::invalid("spec.signerName", &json!(signer), message));
    } else {
        signer_name(signer, "spec.signerName", errors);
    }
    let seconds = tree::integer(object, "/spec/expirationSeconds");
    if let Some(seconds) = seconds.filter(|seconds| *seconds < EXPIRATION_SECONDS_MIN) {
        let message = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid("spec.expirationSeconds", &json!(seconds), message));
    }
    conditions(old, object, errors);
    let certificate = tree::text(object, "/status/certificate");
    let before = old.map(|old| (tree::text(old, "/status/certificate"), bytes(old, "/status/certificate")));
    let tolerated = before.is_some_and(|(text, bytes)| text == certificate || check_certificate(&bytes).is_err());
    if !tolerated && let Err(why) = check_certificate(&bytes(object, "/status/certificate")) {
        errors.push(FieldError::invalid("status.certificate", &json!("<certificate data>"), why));
    }
}

/// Whether there is a request, signed with its own key.
fn check_request(object: &Value) -> Result<(), String> {
    let text = bytes(object, "/spec/request");
    let block = pem::blocks(&String::from_utf8_lossy(&text)).into_iter().next();
    let block = block.filter(|block| block.kind == "CERTIFICATE REQUEST");
    let Some(block) = block else { return Err("PEM block type must be CERTIFICATE REQUEST".into()) };
    let Ok((rest, request)) = X509CertificationRequest::from_der(&block.bytes) else {
        return Err("asn1: structure error: no certificate request".into());
    };
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".into());
    }
    let info = &request.certification_request_info;
    if let Some(curve) = keys::off_curve(&info.subject_pki) {
        return Err(format!("{curve} point not on curve"));
    }
    let algorithm = request.signature_algorithm.algorithm.to_id_string();
    let refused = keys::refused(&info.subject_pki, &algorithm, info.raw, &request.signature_value.data);
    refused.map_or(Ok(()), |why| Err(why.into()))
}

fn check_certificate(text: &[u8]) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let blocks = pem::blocks(&String::from_utf8_lossy(text));
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".into());
    }
    for block in blocks {
        if block.kind != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.kind));
        }
        if block.has_headers {
            return Err("no PEM block headers are permitted".into());
        }
        if block.bytes.is_empty() {
            return Err("found CERTIFICATE PEM block containing 0 certificates".into());
        }
        let mut rest = &block.bytes[..];
        while !rest.is_empty() {
            let parsed = x509_parser::certificate::X509Certificate::from_der(rest);
            rest = parsed.map_err(|_| "x509: malformed certificate")?.0;
        }
    }
    Ok(())
}

fn usages(old: Option<&Value>, object: &Value, errors: &mut Vec<FieldError>) {
    let usages = tree::items(object, "/spec/usages");
    if usages.is_empty() {
        errors.push(FieldError::required("spec.usages", ""));
    }
    let is_known = |usage: &Value| usage.as_str().is_some_and(|usage| USAGES.contains(&usage));
    let before = old.map_or(&[][..], |old| tree::items(old, "/spec/usages"));
    if before.iter().all(is_known) {
        for (index, usage) in usages.iter().enumerate().filter(|(_, usage)| !is_known(usage)) {
            errors.push(FieldError::not_supported(&format!("spec.usages[{index}]"), usage, USAGES));
        }
    }
    let repeats = |usages: &[Value], index: usize| usages[..index].contains(&usages[index]);
    if !(0..before.len()).any(|index| repeats(before, index)) {
        for index in (0..usages.len()).filter(|index| repeats(usages, *index)) {
            errors.push(FieldError::duplicate(&format!("spec.usages[{index}]"), &usages[index]));
        }
    }
}

fn conditions(old: Option<&Value>, object: &Value, errors: &mut Vec<FieldError>) {
    let of = |condition: &Value| tree::text(condition, "/type").to_string();
    let before: Vec<String> =
        old.map_or(&[][..], |old| tree::items(old, "/status/conditions")).iter().map(of).collect();
    let had = |kind: &str| before.iter().any(|before| before == kind);
    let repeated = before.iter().enumerate().any(|(index, kind)| before[..index].contains(kind));
    let list = tree::items(object, "/status/conditions");
    for (index, condition) in list.iter().enumerate() {
        let path = format!("status.conditions[{index}]");
        let kind = tree::text(condition, "/type");
        if kind.is_empty() && !had("") {
            errors.push(FieldError::required(&format!("{path}.type"), ""));
        }
        let supported: &[&str] = match kind {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        match tree::text(condition, "/status") {
            "" => errors.push(FieldError::required(&format!("{path}.status"), "")),
            status if !supported.contains(&status) => {
                errors.push(FieldError::not_supported(&format!("{path}.status"), &json!(status), supported));
            }
            _ => {}
        }
        let seen = |kind: &str| list[..index].iter().any(|earlier| tree::text(earlier, "/type") == kind);
        let contradicts = matches!(kind, "Approved") && seen("Denied") || matches!(kind, "Denied") && seen("Approved");
        if contradicts && !(had("Approved") && had("Denied")) {
            errors.push(FieldError::invalid("status.conditions", &json!(BOTH), MUTUALLY_EXCLUSIVE));
        }
        if seen(kind) && !repeated {
            errors.push(FieldError::duplicate(&format!("{path}.type"), &json!(kind)));
        }
    }
}

/// Approval, denial and failure stay; approval and denial come from approvers alone.
fn kept_conditions(old: &Value, new: &Value, way: Way, errors: &mut Vec<FieldError>) {
    let of = |object: &Value, kind: &str| -> Vec<Value> {
        let list = tree::items(object, "/status/conditions").iter();
        list.filter(|condition| tree::text(condition, "/type") == kind).cloned().collect()
    };
    let mut forbid = |message: String| errors.push(FieldError::forbidden("status.conditions", message));
    for kind in ["Approved", "Denied", "Failed"] {
        if of(new, kind).len() < of(old, kind).len() {
            forbid(format!("updates may not remove a condition of type {kind:?}"));
        }
    }
    if way == Way::Approval {
        return;
    }
    for kind in ["Approved", "Denied"] {
        let (before, after) = (of(old, kind), of(new, kind));
        if after.len() > before.len() {
            forbid(format!("updates may not add a condition of type {kind:?}"));
        } else if after.len() == before.len() && before != after {
            forbid(format!("updates may not modify a condition of type {kind:?}"));
        }
    }
}

fn certificate_change(old: &Value, new: &Value, way: Way, errors: &mut Vec<FieldError>) {
    let (before, after) = (tree::text(old, "/status/certificate"), tree::text(new, "/status/certificate"));
    if before == after {
        return;
    }
    if way != Way::Status {
        errors.push(FieldError::forbidden("status.certificate", "updates may not set certificate content"));
    } else if !before.is_empty() {
        errors.push(FieldError::forbidden("status.certificate", "updates may not modify existing certificate content"));
    }
}
