//! `DIR/admin.kubeconfig`: all that kubectl needs, in one private file.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::Pki;

/// The kubeconfig of the administrator. JSON strings are YAML too, so texts are quoted by the JSON rules.
pub fn admin(pki: &Pki, server: &str, serving_ca: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: triune
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: triune
  context:
    cluster: triune
    user: kubernetes-admin
current-context: triune
",
        server = serde_json::Value::from(server),
        ca = STANDARD.encode(serving_ca),
        certificate = STANDARD.encode(&pki.admin_certificate),
        key = STANDARD.encode(&pki.admin_key),
    )
}
