//! What is wrong with the certificate requests of pods.

use std::time::Duration;

use serde_json::json;
use triune_api::{
    Value,
    field::{FieldError, FieldErrorKind},
    time,
    validation::{dns_subdomain, qualified_name, validate_annotations},
};
use triune_machinery::context::Context;
use x509_parser::{certificate::X509Certificate, certification_request::X509CertificationRequest, prelude::FromDer};

use super::{
    bytes,
    keys::{self, Curve, Sort},
    pem, signer_name,
};
use crate::{
    kinds::{conditions::conditions, validation::each_message},
    tree,
};

const UID_BYTES_MAX: usize = 128;
const KEY_BYTES_MAX: usize = 10 * 1024;
const CHAIN_BYTES_MAX: usize = 100 * 1024;
const LIFETIME_SECONDS_MIN: i64 = 60 * 60;
const LIFETIME_SECONDS_MAX: i64 = 91 * 24 * 60 * 60;
/// Of the project's own signers.
const OWN_LIFETIME_SECONDS_MAX: i64 = 24 * 60 * 60;
const SKEW: Duration = Duration::from_secs(5 * 60);
const MARGIN_SECONDS: i64 = 10 * 60;
const OUTCOMES: &[&str] = &["Issued", "Denied", "Failed"];

/// Checks a new request.
pub fn created(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let signer = tree::text(spec, "/signerName");
    signer_name(signer, "spec.signerName", errors);
    user_annotations(spec, errors);
    for (name, uid) in [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")] {
        let text = tree::text(spec, &format!("/{name}"));
        each_message(text, &format!("spec.{name}"), dns_subdomain(text), errors);
        let (text, field) = (tree::text(spec, &format!("/{uid}")), format!("spec.{uid}"));
        if text.is_empty() {
            errors.push(FieldError::invalid(&field, &json!(""), "must not be empty"));
        }
        if text.len() > UID_BYTES_MAX {
            errors.push(FieldError::too_long(&field, UID_BYTES_MAX));
        }
    }
    let field = "spec.maxExpirationSeconds";
    let Some(seconds) = tree::integer(spec, "/maxExpirationSeconds") else {
        return errors.push(FieldError::required(field, "must be set"));
    };
    let host = signer.split('/').next().unwrap_or_default();
    let own = host == "kubernetes.io" || host.ends_with(".kubernetes.io");
    let seconds_max = if own { OWN_LIFETIME_SECONDS_MAX } else { LIFETIME_SECONDS_MAX };
    if !(LIFETIME_SECONDS_MIN..=seconds_max).contains(&seconds) {
        let message = format!("must be in the range [{LIFETIME_SECONDS_MIN}, {seconds_max}]");
        errors.push(FieldError::invalid(field, &json!(seconds), message));
    }
    let given = |field: &str| !tree::text(spec, &format!("/{field}")).is_empty();
    match (given("stubPKCS10Request"), given("pkixPublicKey"), given("proofOfPossession")) {
        (true, false, false) => stub_request(spec, errors),
        (false, true, true) => public_key(spec, errors),
        _ => {
            let message = "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set";
            errors.push(FieldError::invalid_omitted("spec", message));
        }
    }
}

fn user_annotations(spec: &Value, errors: &mut Vec<FieldError>) {
    let (pointer, field) = ("/unverifiedUserAnnotations", "spec.unverifiedUserAnnotations");
    for key in tree::map(spec, pointer).into_iter().flat_map(|map| map.keys()) {
        let key = key.to_lowercase();
        let mut messages = qualified_name(&key);
        if messages.is_empty() && !key.contains('/') {
            messages.push("must be a domain-prefixed key (such as \"acme.io/foo\")".into());
        }
        each_message(&key, field, messages, errors);
    }
    let sized = validate_annotations(spec.pointer(pointer), field);
    errors.extend(sized.into_iter().filter(|error| error.kind == FieldErrorKind::TooLong));
}

fn stub_request(spec: &Value, errors: &mut Vec<FieldError>) {
    let field = "spec.stubPKCS10Request";
    let der = bytes(spec, "/stubPKCS10Request");
    if der.len() > KEY_BYTES_MAX {
        return errors.push(FieldError::too_long(field, KEY_BYTES_MAX));
    }
    let request = X509CertificationRequest::from_der(&der).ok().filter(|(rest, _)| rest.is_empty());
    let Some((_, request)) = request else {
        return errors.push(FieldError::invalid_omitted(field, "must be a valid PKCS#10 CSR"));
    };
    let info = &request.certification_request_info;
    let Some(sort) = keys::sort(&info.subject_pki) else {
        return errors.push(FieldError::invalid_omitted(field, "must be a valid PKCS#10 CSR"));
    };
    if let Some(error) = refused_key(sort, field, "elliptic public keys must use curve P256, P384, or P521") {
        return errors.push(error);
    }
    if sort == Sort::Other {
        let message = "unknown public key type; supported types are Ed25519, ECDSA, and RSA";
        return errors.push(FieldError::invalid_omitted(field, message));
    }
    let algorithm = request.signature_algorithm.algorithm.to_id_string();
    if keys::refused(&info.subject_pki, &algorithm, info.raw, &request.signature_value.data).is_some() {
        errors.push(FieldError::invalid_omitted(field, "invalid signature"));
    }
}

fn public_key(spec: &Value, errors: &mut Vec<FieldError>) {
    let (field, proof_field) = ("spec.pkixPublicKey", "spec.proofOfPossession");
    let (der, proof) = (bytes(spec, "/pkixPublicKey"), bytes(spec, "/proofOfPossession"));
    for (field, bytes) in [(field, &der), (proof_field, &proof)] {
        if bytes.len() > KEY_BYTES_MAX {
            return errors.push(FieldError::too_long(field, KEY_BYTES_MAX));
        }
    }
    let Some((key, sort)) = keys::read(&der) else {
        let message = "must be a valid PKIX-serialized public key";
        return errors.push(FieldError::invalid(field, &spec["pkixPublicKey"], message));
    };
    if let Some(error) = refused_key(sort, field, "elliptic public keys must use curve P256 or P384") {
        return errors.push(error);
    }
    if sort == Sort::Other {
        let message = "unknown public key type; supported types are Ed25519, ECDSA, and RSA";
        return errors.push(FieldError::invalid(field, &spec["pkixPublicKey"], message));
    }
    if !keys::proves(&key, sort, tree::text(spec, "/podUID"), &proof) {
        let message = "could not verify proof-of-possession signature";
        errors.push(FieldError::invalid_omitted(proof_field, message));
    }
}

fn refused_key(sort: Sort, field: &str, curves: &str) -> Option<FieldError> {
    match sort {
        Sort::Elliptic(curve @ Curve::P224) => {
            Some(FieldError::invalid(field, &json!(format!("curve {}", curve.name())), curves))
        }
        Sort::Rsa(bytes) if !matches!(bytes * 8, 3072 | 4096) => {
            let shown = json!(format!("{}-bit modulus", bytes * 8));
            Some(FieldError::invalid(field, &shown, "RSA keys must have modulus size 3072 or 4096"))
        }
        _ => None,
    }
}

/// Checks a change of the status: it happens once, to one of three outcomes.
pub fn status(context: &Context, old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    outcome_conditions(new, errors);
    conditions(tree::items(new, "/status/conditions"), "status.conditions", errors);
    if !errors.is_empty() {
        return;
    }
    let is = |object: &Value, kind: &str| {
        let list = tree::items(object, "/status/conditions").iter();
        list.into_iter().any(|item| tree::text(item, "/type") == kind && tree::text(item, "/status") == "True")
    };
    let status_of = |object: &Value| tree::unset_removed(object.get("status").unwrap_or(&Value::Null));
    let (before, after) = (status_of(old), status_of(new));
    let message = if OUTCOMES.iter().any(|outcome| is(old, outcome)) {
        (before != after).then_some("immutable after PodCertificateRequest is issued, denied, or failed")
    } else if is(new, "Denied") || is(new, "Failed") {
        let alone = after.as_object().is_none_or(|status| status.keys().all(|key| key == "conditions"));
        (!alone)
            .then_some("non-condition status fields must be empty when denying or failing the PodCertificateRequest")
    } else if is(new, "Issued") {
        if let Err(error) = issued(context, old, new) {
            errors.extend(error);
        }
        return;
    } else {
        (before != after).then_some("status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"")
    };
    errors.extend(message.map(|message| FieldError::invalid_omitted("status", message)));
}

fn outcome_conditions(new: &Value, errors: &mut Vec<FieldError>) {
    let list = tree::items(new, "/status/conditions");
    let mut known = 0;
    for (index, condition) in list.iter().enumerate() {
        // The reference's path has a dot before the index here.
        let path = format!("status.conditions.[{index}]");
        let kind = tree::text(condition, "/type");
        if !OUTCOMES.contains(&kind) {
            errors.push(FieldError::not_supported(&format!("{path}.type"), &json!(kind), OUTCOMES));
            continue;
        }
        known += 1;
        if known > 1 {
            let message = r#"There may be at most one condition with type "Issued", "Denied", or "Failed""#;
            errors.push(FieldError::invalid(&format!("{path}.type"), &json!(kind), message));
        }
        let status = tree::text(condition, "/status");
        if status != "True" {
            errors.push(FieldError::not_supported(&format!("{path}.status"), &json!(status), &["True"]));
        }
    }
}

const CHAIN: &str = "status.certificateChain";

/// Checks that what was issued is what was asked for; the first thing that is not ends it.
fn issued(context: &Context, old: &Value, new: &Value) -> Result<(), Vec<FieldError>> {
    let chain = tree::text(new, "/status/certificateChain");
    let refuse = |message: &str| vec![FieldError::invalid(CHAIN, &json!(chain), message)];
    if chain.len() > CHAIN_BYTES_MAX {
        return Err(vec![FieldError::too_long(CHAIN, CHAIN_BYTES_MAX)]);
    }
    let blocks = pem::blocks(chain);
    let Some((leaf, others)) = blocks.split_first() else {
        return Err(refuse("issued certificate chain must contain at least one certificate"));
    };
    if leaf.kind != "CERTIFICATE" {
        return Err(refuse("issued certificate chain must consist entirely of CERTIFICATE PEM blocks"));
    }
    let parsed = X509Certificate::from_der(&leaf.bytes).ok().filter(|(rest, _)| rest.is_empty());
    let Some((_, certificate)) = parsed else {
        return Err(refuse("leaf certificate does not parse as valid X.509"));
    };
    let key = requested_key(old)?;
    if key != certificate.public_key().raw {
        return Err(refuse("leaf certificate was not issued to the requested public key"));
    }
    times(context, new, &certificate)?;
    for block in others {
        if block.kind != "CERTIFICATE" {
            return Err(refuse("issued certificate chain must consist entirely of CERTFICATE PEM blocks"));
        }
        if X509Certificate::from_der(&block.bytes).is_err() {
            return Err(refuse("intermediate certificate does not parse as valid X.509"));
        }
    }
    Ok(())
}

fn requested_key(old: &Value) -> Result<Vec<u8>, Vec<FieldError>> {
    let stub = bytes(old, "/spec/stubPKCS10Request");
    if stub.is_empty() {
        let key = bytes(old, "/spec/pkixPublicKey");
        let message = "must be a valid PKIX-serialized public key";
        return match keys::read(&key) {
            Some(_) => Ok(key),
            None => Err(vec![FieldError::invalid_omitted("spec.pkixPublicKey", message)]),
        };
    }
    match X509CertificationRequest::from_der(&stub) {
        Ok((_, request)) => Ok(request.certification_request_info.subject_pki.raw.to_vec()),
        Err(_) => Err(vec![FieldError::invalid_omitted("spec.stubPKCS10Request", "must be a valid PKCS#10 CSR")]),
    }
}

fn times(context: &Context, new: &Value, certificate: &X509Certificate<'_>) -> Result<(), Vec<FieldError>> {
    let fields = [
        ("notBefore", "must be present and consistent with the issued certificate"),
        ("notAfter", "must be present and consistent with the issued certificate"),
        ("beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"),
    ];
    let text = |field: &str| tree::text(new, &format!("/status/{field}"));
    let seconds = |field: &str| text(field).parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    let absent = fields.iter().filter(|(field, _)| text(field).is_empty());
    let absent: Vec<FieldError> =
        absent.map(|(field, message)| FieldError::required(&format!("status.{field}"), *message)).collect();
    let (Some(from), Some(to), Some(refresh)) = (seconds("notBefore"), seconds("notAfter"), seconds("beginRefreshAt"))
    else {
        return Err(absent);
    };
    let refuse = |field: &str, message: &str| {
        Err(vec![FieldError::invalid(&format!("status.{field}"), &json!(text(field)), message)])
    };
    let validity = certificate.validity();
    if from != validity.not_before.timestamp() {
        return refuse("notBefore", "must be set to the NotBefore time encoded in the leaf certificate");
    }
    let now = text_seconds(&time::rfc3339(context.env.clock.wall()));
    if from.abs_diff(now) >= SKEW.as_secs() {
        return refuse("notBefore", "must be set to within 5 minutes of kube-apiserver's current time");
    }
    if to != validity.not_after.timestamp() {
        return refuse("notAfter", "must be set to the NotAfter time encoded in the leaf certificate");
    }
    let lifetime = to - from;
    let refuse_lifetime = |message: String| {
        // A Go duration is printed as its nanoseconds.
        Err(vec![FieldError::invalid(CHAIN, &json!(lifetime.saturating_mul(1_000_000_000)), message)])
    };
    if lifetime < LIFETIME_SECONDS_MIN {
        return refuse_lifetime("leaf certificate lifetime must be >= 1 hour".into());
    }
    let seconds_max = tree::integer_or_zero(new, "/spec/maxExpirationSeconds");
    if lifetime > seconds_max {
        let message = format!("leaf certificate lifetime must be <= spec.maxExpirationSeconds ({seconds_max})");
        return refuse_lifetime(message);
    }
    if refresh < from + MARGIN_SECONDS {
        return refuse("beginRefreshAt", "must be at least 10 minutes after status.notBefore");
    }
    if refresh > to - MARGIN_SECONDS {
        return refuse("beginRefreshAt", "must be at least 10 minutes before status.notAfter");
    }
    Ok(())
}

fn text_seconds(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
}
