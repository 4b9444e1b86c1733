//! Sources of projected volumes, and files of the downward API.

use std::collections::BTreeSet;

use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_label, dns_subdomain},
};

use super::{
    Tolerated, environment, integer_of, list_of,
    mounts::not_reserved,
    required,
    security::user,
    some_of, text_of,
    volumes::{key_to_path, mode},
};
use crate::{
    kinds::{shown, validation},
    tree,
};

const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const CONFLICT: &str = "conflicting duplicate paths";
const TOKEN_SECONDS_MIN: i64 = 10 * 60;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;
const CERTIFICATE_SECONDS_MIN: i64 = 3600;
const CERTIFICATE_SECONDS_MAX: i64 = 91 * 24 * 60 * 60;
const KUBERNETES_CERTIFICATE_SECONDS_MAX: i64 = 24 * 60 * 60;
const DOMAIN_BYTES_MAX: usize = 253;
const SIGNER_BYTES_MAX: usize = 253 + 1 + 253 + 63 + 1;
/// Fields of the pod that a file may show.
const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Checks a file of the downward API.
pub fn downward_file(file: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(file, "path", path, errors);
    not_reserved(text_of(file, "path"), &path.field("path"), errors);
    match (some_of(file, "fieldRef"), some_of(file, "resourceFieldRef")) {
        (Some(reference), resource) => {
            environment::field_reference(reference, &FIELDS, &path.field("fieldRef"), errors);
            if resource.is_some() {
                let message = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(path.invalid("resource", message));
            }
        }
        (None, Some(resource)) => {
            environment::resource_reference(resource, true, &path.field("resourceFieldRef"), errors);
        }
        (None, None) => errors.push(path.required("one of fieldRef and resourceFieldRef is required")),
    }
    mode(file, "mode", path, errors);
    user(file, "user", path, errors);
}

/// The paths that sources of one volume have taken.
struct Paths<'a> {
    taken: BTreeSet<&'a str>,
    volume: &'a Path<'a>,
}

impl<'a> Paths<'a> {
    /// Takes a path; `shown` is printed if another source has it.
    fn take(&mut self, path: &'a str, shown: &str, errors: &mut Vec<FieldError>) {
        if !path.is_empty() && !self.taken.insert(path) {
            errors.push(self.volume.invalid(shown, CONFLICT));
        }
    }
}

/// Checks `sources`, each of exactly one type, no two with files at the same path.
pub fn sources(projected: &Value, tolerated: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("sources");
    let mut paths = Paths { taken: BTreeSet::new(), volume: path };
    for (index, source) in list_of(projected, "sources").iter().enumerate() {
        let item = list.index(index);
        let mut types = 0;
        for kind in ["secret", "configMap"] {
            let Some(source) = some_of(source, kind) else { continue };
            types += 1;
            let path = item.field(kind);
            required(source, "name", &path, errors);
            let items = path.field("items");
            for (index, item) in list_of(source, "items").iter().enumerate() {
                key_to_path(item, &items.index(index), errors);
                paths.take(text_of(item, "path"), text_of(source, "name"), errors);
            }
        }
        if let Some(source) = some_of(source, "downwardAPI") {
            types += 1;
            for file in list_of(source, "items") {
                downward_file(file, &item.field("downwardAPI"), errors);
                let file = text_of(file, "path");
                paths.take(file, file, errors);
            }
        }
        if let Some(token) = some_of(source, "serviceAccountToken") {
            types += 1;
            self::token(token, tolerated, path, &item.field("serviceAccountToken"), errors);
        }
        if let Some(bundle) = some_of(source, "clusterTrustBundle") {
            types += 1;
            trust_bundle(bundle, &item.field("clusterTrustBundle"), errors);
            let file = text_of(bundle, "path");
            if !paths.taken.insert(file) {
                errors.push(path.invalid(file, CONFLICT));
            }
        }
        if let Some(certificate) = some_of(source, "podCertificate") {
            types += 1;
            pod_certificate(certificate, &mut paths, &item.field("podCertificate"), errors);
        }
        if types > 1 {
            errors.push(item.forbidden("may not specify more than 1 volume type per source"));
        }
    }
}

/// The reference prints the path of a token's file below the volume.
fn token(token: &Value, tolerated: Tolerated, volume: &Path<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let seconds_path = path.field("expirationSeconds");
    match integer_of(token, "expirationSeconds") {
        None => errors.push(seconds_path.required("")),
        Some(seconds) if seconds < TOKEN_SECONDS_MIN => {
            errors.push(seconds_path.invalid(seconds, "may not specify a duration less than 10 minutes"));
        }
        Some(seconds) if seconds > TOKEN_SECONDS_MAX => {
            errors.push(seconds_path.invalid(seconds, "may not specify a duration larger than 2^32 seconds"));
        }
        Some(_) => {}
    }
    match text_of(token, "path") {
        "" => errors.push(volume.field("path").required("")),
        _ if tolerated.token_paths => {}
        file => not_reserved(file, &volume.field("path"), errors),
    }
    user(token, "user", path, errors);
}

fn trust_bundle(bundle: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let name = bundle.get("name").and_then(Value::as_str);
    let signer = bundle.get("signerName").and_then(Value::as_str);
    match (name, signer) {
        (Some(_), Some(_)) => {
            let message = "only one of name and signerName may be used".into();
            errors.push(shown::invalid(path, "ClusterTrustBundleProjection", bundle, message));
        }
        (Some(name), None) => {
            if name.is_empty() {
                errors.push(path.field("name").required("must be a valid object name"));
            }
            for message in trust_bundle_name(name) {
                let message = format!("not a valid clustertrustbundlename: {message}");
                errors.push(path.field("name").invalid(name, message));
            }
            if let Some(selector) = some_of(bundle, "labelSelector") {
                let message = "labelSelector must be unset if name is specified".into();
                errors.push(validation::invalid_selector(selector, &path.field("labelSelector"), message));
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.push(path.field("signerName").required("must be a valid signer name"));
            }
            signer_name(signer, &path.field("signerName"), errors);
            validation::label_selector(bundle.get("labelSelector"), false, &path.field("labelSelector"), errors);
        }
        (None, None) => errors.push(path.required("either name or signerName must be specified")),
    }
    required(bundle, "path", path, errors);
    user(bundle, "user", path, errors);
    not_reserved(text_of(bundle, "path"), &path.field("path"), errors);
}

/// What is wrong with the name of a trust bundle: one of a signer starts with the signer's name.
pub fn trust_bundle_name(name: &str) -> Vec<String> {
    match name.rsplit_once(':') {
        None => dns_subdomain(name),
        Some((_, rest)) => dns_subdomain(rest),
    }
}

/// Checks the name of a signer, such as `example.com/signer`.
pub fn signer_name(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(path.required(""));
        return;
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let message = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(path.invalid(name, message));
        return;
    };
    if domain.len() > DOMAIN_BYTES_MAX {
        errors.push(path.too_long(DOMAIN_BYTES_MAX));
    }
    let mut labels = |of: &str, rule: fn(&str) -> Vec<String>| {
        let first_wrong = of.split('.').map(|label| (label, rule(label))).find(|(_, messages)| !messages.is_empty());
        for message in first_wrong.iter().flat_map(|(_, messages)| messages) {
            let label = first_wrong.as_ref().map_or("", |(label, _)| label);
            errors.push(path.invalid(of, format!("validating label {label:?}: {message}")));
        }
        if std::ptr::eq(of, domain) && !domain.contains('.') {
            let message = "should be a domain with at least two segments separated by dots";
            errors.push(path.invalid(domain, message));
        }
    };
    labels(domain, dns_label);
    labels(rest, dns_subdomain);
    if name.len() > SIGNER_BYTES_MAX {
        errors.push(path.too_long(SIGNER_BYTES_MAX));
    }
}

fn pod_certificate<'a>(certificate: &'a Value, paths: &mut Paths<'a>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let signer = text_of(certificate, "signerName");
    signer_name(signer, &path.field("signerName"), errors);
    let annotations = path.field("userAnnotations");
    for (key, _) in tree::map(certificate, "/userAnnotations").into_iter().flatten() {
        let key = key.to_lowercase();
        let before = errors.len();
        validation::qualified_name(&key, &annotations, errors);
        if errors.len() == before && !key.contains('/') {
            errors.push(annotations.invalid(key, "must be a domain-prefixed key (such as \"acme.io/foo\")"));
        }
    }
    user(certificate, "user", path, errors);
    validation::not_in(certificate, "keyType", &KEY_TYPES, path, errors);
    if let Some(seconds) = integer_of(certificate, "maxExpirationSeconds") {
        let path = path.field("maxExpirationSeconds");
        let domain = signer.split('/').next().unwrap_or_default();
        let of_kubernetes = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
        let most = if of_kubernetes { KUBERNETES_CERTIFICATE_SECONDS_MAX } else { CERTIFICATE_SECONDS_MAX };
        if seconds < CERTIFICATE_SECONDS_MIN {
            let message = format!("if provided, maxExpirationSeconds must be >= {CERTIFICATE_SECONDS_MIN}");
            errors.push(path.invalid(seconds, message));
        }
        if seconds > most {
            errors.push(path.invalid(seconds, format!("if provided, maxExpirationSeconds must be <= {most}")));
        }
    }
    let mut files = 0;
    for field in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        let file = text_of(certificate, field);
        if !file.is_empty() {
            files += 1;
            not_reserved(file, &path.field(field), errors);
            paths.take(file, file, errors);
        }
    }
    if files == 0 {
        let message = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.push(path.required(message));
    }
}
