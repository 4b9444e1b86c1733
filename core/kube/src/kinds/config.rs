//! Config maps, secrets, service accounts.

use base64::Engine as _;
use serde_json::json;
use triune_api::{Value, decode, field::FieldError, validation::formats::config_map_key};

use crate::{
    field::Field,
    kind::{Kind, Selectable},
    tables,
    tree::{self, child, fill_unset, set},
};

/// `core/v1 ConfigMap`.
pub static CONFIG_MAPS: Kind = Kind {
    validate_create: config_map,
    validate_update: |old, new, errors| {
        immutable_data(old, new, &["data", "binaryData"], errors);
        config_map(new, errors);
    },
    table: tables::core::CONFIG_MAPS,
    ..Kind::GENERIC
};

/// `core/v1 Secret`.
pub static SECRETS: Kind = Kind {
    defaults: |object| {
        fill_unset(object, "type", "Opaque");
        merge_string_data(object);
    },
    validate_create: secret,
    validate_update: |old, new, errors| {
        Field::of(new, "type").immutable(Field::of(old, "type").value(), errors);
        immutable_data(old, new, &["data"], errors);
        secret(new, errors);
    },
    warnings: |secret, _| secret_warnings(secret),
    selectable: &[Selectable { path: "type", value: |object| tree::text(object, "/type").into() }],
    table: tables::core::SECRETS,
    ..Kind::GENERIC
};

/// `core/v1 ServiceAccount`: of the secrets that it may mount only the names count.
pub static SERVICE_ACCOUNTS: Kind = Kind {
    create: |_, _, account| names_of_secrets(account),
    update: |_, _, _, account| names_of_secrets(account),
    warnings: |account, old| {
        let says = |object: &Value| Field::of(object, "metadata.annotations").key(ENFORCE_MOUNTABLE).is_set();
        if says(account) && !old.is_some_and(says) {
            return vec![format!(
                "metadata.annotations[{ENFORCE_MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces to isolate \
                 access to mounted secrets"
            )];
        }
        Vec::new()
    },
    returns_deleted_object: true,
    ..Kind::GENERIC
};

/// What a config map or secret may hold.
const DATA_BYTES_MAX: usize = 1 << 20;
const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

fn validate_key(key: &str, entry: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    errors.extend(config_map_key(key).into_iter().map(|message| entry.invalid_as(&json!(key), message)));
}

fn config_map(object: &Value, errors: &mut Vec<FieldError>) {
    let (data, binary) = (Field::of(object, "data"), Field::of(object, "binaryData"));
    let mut bytes = 0;
    for (key, entry) in data.entries() {
        validate_key(key, &entry, errors);
        if binary.key(key).is_set() {
            errors.push(entry.invalid_as(&json!(key), "duplicate of key present in binaryData"));
        }
        bytes += entry.text().len();
    }
    for (key, entry) in binary.entries() {
        validate_key(key, &entry, errors);
        bytes += decoded_len(entry.text());
    }
    if bytes > DATA_BYTES_MAX {
        // The path of the whole object, as the reference prints it.
        errors.push(FieldError::too_long("[]", DATA_BYTES_MAX));
    }
}

/// Bytes that base64 stands for.
fn decoded_len(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

fn decoded(entry: &Field<'_, '_>) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(entry.text()).unwrap_or_default()
}

fn immutable_data(old: &Value, new: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    const MESSAGE: &str = "field is immutable when `immutable` is set";
    if !tree::truth(old, "/immutable") {
        return;
    }
    if !tree::truth(new, "/immutable") {
        errors.push(FieldError::forbidden("immutable", MESSAGE));
    }
    let entries = |object: &Value, field: &str| tree::map(object, &format!("/{field}")).cloned().unwrap_or_default();
    for field in fields.iter().filter(|field| entries(old, field) != entries(new, field)) {
        errors.push(FieldError::forbidden(field, MESSAGE));
    }
}

/// `stringData` is a way to write `data`, and is never read back.
fn merge_string_data(secret: &mut Value) {
    let Some(Value::Object(texts)) = secret.as_object_mut().and_then(|map| map.remove("stringData")) else { return };
    if texts.is_empty() {
        return;
    }
    let Some(data) = child(secret, "data") else { return };
    for (key, value) in texts {
        let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
        set(data, &key, encoded);
    }
}

fn secret(secret: &Value, errors: &mut Vec<FieldError>) {
    let data = Field::of(secret, "data");
    let mut bytes = 0;
    for (key, entry) in data.entries() {
        validate_key(key, &entry, errors);
        bytes += decoded_len(entry.text());
    }
    if bytes > DATA_BYTES_MAX {
        errors.push(data.too_long(DATA_BYTES_MAX));
    }
    let present = |key: &str| data.key(key).is_set();
    let mut require = |keys: &[&str]| errors.extend(keys.iter().map(|key| data.key(key).required("")));
    match tree::text(secret, "/type") {
        "kubernetes.io/service-account-token" => {
            let annotations = Field::of(secret, "metadata.annotations");
            let name = annotations.key("kubernetes.io/service-account.name");
            if name.text().is_empty() {
                errors.push(name.required(""));
            }
        }
        "kubernetes.io/dockercfg" => json_object(&data.key(".dockercfg"), errors),
        "kubernetes.io/dockerconfigjson" => json_object(&data.key(".dockerconfigjson"), errors),
        "kubernetes.io/basic-auth" if !present("username") && !present("password") => {
            require(&["username", "password"]);
        }
        "kubernetes.io/ssh-auth" if data.key("ssh-privatekey").text().is_empty() => require(&["ssh-privatekey"]),
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"].iter().filter(|key| !present(key)) {
                require(&[key]);
            }
        }
        _ => {}
    }
}

/// An entry that must be there and be a JSON object. Its content is not shown.
fn json_object(entry: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if !entry.is_set() {
        errors.push(entry.required(""));
        return;
    }
    let message = match decode::json(&decoded(entry)) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(other) => {
            let kind = decode::json_type(&other);
            format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
        }
        Err(error) => error.to_string(),
    };
    errors.push(entry.invalid_as(&json!("<secret contents redacted>"), message));
}

/// A key pair without PEM is no key pair. Deliberately absent: whether key and certificate belong together.
fn secret_warnings(secret: &Value) -> Vec<String> {
    if tree::text(secret, "/type") != "kubernetes.io/tls" {
        return Vec::new();
    }
    let data = Field::of(secret, "data");
    let has_pem = |key: &str| decoded(&data.key(key)).windows(11).any(|window| window == b"-----BEGIN ");
    let missing = [("tls.crt", "certificate"), ("tls.key", "key")].into_iter().find(|(key, _)| !has_pem(key));
    missing.map(|(_, what)| format!("tls: failed to find any PEM data in {what} input")).into_iter().collect()
}

fn names_of_secrets(account: &mut Value) {
    for secret in tree::items_mut(account, "/secrets") {
        if let Some(reference) = secret.as_object_mut() {
            reference.retain(|key, _| key == "name");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_data_is_written_as_data() {
        let mut secret = json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"b": "new", "c": ""}});
        (SECRETS.defaults)(&mut secret);
        assert_eq!(secret, json!({"type": "Opaque", "data": {"a": "eA==", "b": "bmV3", "c": ""}}));
    }
}
