//! What is wrong with trust bundles.

use std::collections::BTreeMap;

use serde_json::json;
use triune_api::{Value, field::FieldError, validation::dns_subdomain};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{pem, signer_name};
use crate::{
    kinds::validation::{each_message, immutable},
    tree,
};

const BUNDLE_BYTES_MAX: usize = 1024 * 1024;

/// Checks a bundle, new or changed.
pub fn bundle(old: Option<&Value>, bundle: &Value, errors: &mut Vec<FieldError>) {
    let signer = tree::text(bundle, "/spec/signerName");
    let name = tree::name(bundle);
    each_message(name, "metadata.name", name_messages(signer, name), errors);
    if !signer.is_empty() {
        signer_name(signer, "spec.signerName", errors);
    }
    let text = tree::text(bundle, "/spec/trustBundle");
    if old.is_none_or(|old| tree::text(old, "/spec/trustBundle") != text) {
        anchors(text, "spec.trustBundle", errors);
    }
    if let Some(old) = old {
        immutable(old, bundle, "/spec/signerName", "spec.signerName", errors);
    }
}

fn name_messages(signer: &str, name: &str) -> Vec<String> {
    if signer.is_empty() {
        if name.contains(':') {
            return vec!["ClusterTrustBundle without signer name must not have \":\" in its name".into()];
        }
        return dns_subdomain(name);
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.strip_prefix(&prefix) {
        Some(rest) => dns_subdomain(rest),
        None => vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")],
    }
}

/// At least one certificate of an authority, each once.
fn anchors(text: &str, field: &str, errors: &mut Vec<FieldError>) {
    if text.len() > BUNDLE_BYTES_MAX {
        return errors.push(FieldError::too_long(field, BUNDLE_BYTES_MAX));
    }
    let mut refuse = |message: String| errors.push(FieldError::invalid(field, &json!("<value omitted>"), message));
    let mut places: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    let mut malformed = false;
    for (index, block) in pem::blocks(text).into_iter().enumerate() {
        let why = if block.kind != "CERTIFICATE" {
            format!("has bad block type: {}", block.kind)
        } else if block.has_headers {
            "has PEM block headers".into()
        } else {
            match is_authority(&block.bytes) {
                None => "does not parse as X.509".into(),
                Some(false) => "does not have the CA bit set".into(),
                Some(true) => {
                    places.entry(block.bytes).or_default().push(index);
                    continue;
                }
            }
        };
        malformed = true;
        refuse(format!("entry {index} {why}"));
    }
    if malformed {
        return;
    }
    if places.is_empty() {
        refuse("at least one trust anchor must be provided".into());
    }
    for indices in places.values().filter(|indices| indices.len() > 1) {
        let indices: Vec<String> = indices.iter().map(ToString::to_string).collect();
        refuse(format!("duplicate trust anchor (indices [{}])", indices.join(" ")));
    }
}

/// None if it is no certificate.
fn is_authority(der: &[u8]) -> Option<bool> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    let constraints = certificate.basic_constraints().ok()?;
    rest.is_empty().then(|| constraints.is_some_and(|constraints| constraints.value.ca))
}
