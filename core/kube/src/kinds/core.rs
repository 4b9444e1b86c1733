//! Config maps, secrets, service accounts, endpoints, nodes, limits and quotas.

use base64::Engine as _;
use serde_json::json;
use triune_api::{Map, Value, field::FieldError};

use crate::{
    kind::{Kind, Selectable},
    tables,
    tree::{self, child, fill, fill_unset, remove, set},
};

/// `core/v1 ConfigMap`.
pub static CONFIG_MAPS: Kind = Kind {
    validate: |object, errors| {
        for field in ["data", "binaryData"] {
            keys(object, field, errors);
        }
        let binary = tree::map(object, "/binaryData").cloned().unwrap_or_default();
        for (key, _) in tree::map(object, "/data").into_iter().flatten().filter(|(key, _)| binary.contains_key(*key)) {
            let message = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(&format!("data[{key}]"), &json!(key), message));
        }
        size(object, &["data", "binaryData"], "", errors);
    },
    validate_update: |old, new, errors| immutable_data(old, new, &["data", "binaryData"], errors),
    table: tables::core::CONFIG_MAPS,
    ..Kind::GENERIC
};

/// `core/v1 Secret`.
pub static SECRETS: Kind = Kind {
    defaults: |object| {
        fill_unset(object, "type", "Opaque");
        merge_string_data(object);
    },
    validate: |object, errors| {
        keys(object, "data", errors);
        size(object, &["data"], "data", errors);
        secret_type(object, errors);
    },
    validate_update: |old, new, errors| {
        super::validation::immutable(old, new, "/type", "type", errors);
        immutable_data(old, new, &["data"], errors);
    },
    selectable: &[Selectable { path: "type", value: |object| tree::text(object, "/type").into() }],
    table: tables::core::SECRETS,
    ..Kind::GENERIC
};

/// `core/v1 ServiceAccount`.
pub static SERVICE_ACCOUNTS: Kind = Kind { returns_deleted_object: true, ..Kind::GENERIC };

/// `core/v1 Endpoints`.
pub static ENDPOINTS: Kind = Kind {
    defaults: |object| {
        for subset in tree::items_mut(object, "/subsets") {
            for port in tree::items_mut(subset, "/ports") {
                fill_unset(port, "protocol", "TCP");
            }
        }
    },
    warnings: |_, _| vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".into()],
    table: tables::core::ENDPOINTS,
    ..Kind::GENERIC
};

/// `core/v1 Node`: the kubelet creates its node with a status.
pub static NODES: Kind = Kind {
    defaults: |node| {
        if let Some(capacity) = node.pointer("/status/capacity").cloned()
            && let Some(status) = child(node, "status")
        {
            fill(status, "allocatable", capacity);
        }
    },
    creates_with_status: true,
    selectable: &[Selectable {
        path: "spec.unschedulable",
        value: |node| tree::truth(node, "/spec/unschedulable").to_string(),
    }],
    table: tables::core::NODES,
    ..Kind::GENERIC
};

/// `core/v1 LimitRange`.
pub static LIMIT_RANGES: Kind = Kind {
    defaults: |object| {
        for item in tree::items_mut(object, "/spec/limits").iter_mut() {
            if tree::text(item, "/type") == "Container" {
                container_limits(item);
            }
        }
    },
    table: tables::core::NAME_AND_CREATED_AT,
    ..Kind::GENERIC
};

/// `core/v1 ResourceQuota`.
pub static RESOURCE_QUOTAS: Kind =
    Kind { returns_deleted_object: true, table: tables::core::RESOURCE_QUOTAS, ..Kind::GENERIC };

/// `core/v1 ComponentStatus`.
pub static COMPONENT_STATUSES: Kind = Kind { table: tables::core::COMPONENT_STATUSES, ..Kind::GENERIC };

/// What a config map or secret may hold.
const DATA_BYTES_MAX: usize = 1 << 20;

fn keys(object: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (key, _) in tree::map(object, &format!("/{field}")).into_iter().flatten() {
        let fine = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let message = if key.is_empty() || !key.chars().all(fine) {
            triune_api::validation::regex_error(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                "[-._a-zA-Z0-9]+",
                &["key.name", "KEY_NAME", "key-name"],
            )
        } else if key == "." {
            "must not be '.'".into()
        } else if key.starts_with("..") {
            "must not start with '..'".into()
        } else {
            continue;
        };
        errors.push(FieldError::invalid(&format!("{field}[{key}]"), &json!(key), message));
    }
}

/// Binary data counts decoded.
fn size(object: &Value, fields: &[&str], reported: &str, errors: &mut Vec<FieldError>) {
    let encoded = |field: &str| field == "binaryData" || reported == "data";
    let bytes: usize = fields
        .iter()
        .flat_map(|field| {
            tree::map(object, &format!("/{field}")).into_iter().flatten().map(move |entry| (field, entry))
        })
        .map(|(field, (_, value))| {
            let text = value.as_str().unwrap_or_default();
            if encoded(field) { text.trim_end_matches('=').len() * 3 / 4 } else { text.len() }
        })
        .sum();
    if bytes > DATA_BYTES_MAX {
        errors.push(FieldError::too_long(reported, DATA_BYTES_MAX));
    }
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

fn secret_type(secret: &Value, errors: &mut Vec<FieldError>) {
    let data = tree::map(secret, "/data").cloned().unwrap_or_default();
    let mut required = |key: &str| {
        if !data.contains_key(key) {
            errors.push(FieldError::required(&format!("data[{key}]"), ""));
        }
    };
    match tree::text(secret, "/type") {
        "kubernetes.io/dockercfg" => required(".dockercfg"),
        "kubernetes.io/dockerconfigjson" => required(".dockerconfigjson"),
        "kubernetes.io/ssh-auth" => required("ssh-privatekey"),
        "kubernetes.io/tls" => {
            required("tls.crt");
            required("tls.key");
        }
        "kubernetes.io/basic-auth" if !data.contains_key("username") && !data.contains_key("password") => {
            required("username");
            required("password");
        }
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            let annotations = tree::map(secret, "/metadata/annotations");
            if annotations.and_then(|annotations| annotations.get(name)).is_none() {
                errors.push(FieldError::required(&format!("metadata.annotations[{name}]"), ""));
            }
        }
        _ => {}
    }
}

/// Maximum, default and default request of containers follow from each other.
fn container_limits(item: &mut Value) {
    let amounts = |item: &Value, field: &str| tree::map(item, &format!("/{field}")).cloned().unwrap_or_default();
    let merge = |item: &mut Value, field: &str, more: Map| {
        if !more.is_empty()
            && let Some(target) = child(item, field)
        {
            for (name, amount) in more {
                fill(target, &name, amount);
            }
        }
    };
    let max = amounts(item, "max");
    merge(item, "default", max);
    let default = amounts(item, "default");
    merge(item, "defaultRequest", default);
    let min = amounts(item, "min");
    merge(item, "defaultRequest", min);
    for field in ["default", "defaultRequest"] {
        if amounts(item, field).is_empty() {
            remove(item, field);
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

    #[test]
    fn immutable_means_it() {
        let check = |old: Value, new: Value, expected: &[&str]| {
            let mut errors = Vec::new();
            (CONFIG_MAPS.validate_update)(&old, &new, &mut errors);
            assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), expected);
        };
        check(json!({"data": {"a": "1"}}), json!({"data": {"a": "2"}}), &[]);
        check(json!({"immutable": true, "data": {"a": "1"}}), json!({"immutable": true, "data": {"a": "1"}}), &[]);
        check(json!({"immutable": true, "data": {"a": "1"}}), json!({"data": {"a": "2"}}), &["immutable", "data"]);
    }

    #[test]
    fn secrets_hold_what_their_type_says() {
        let check = |secret: Value, expected: &[&str]| {
            let mut errors = Vec::new();
            (SECRETS.validate)(&secret, &mut errors);
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        };
        check(json!({"type": "Opaque"}), &[]);
        check(json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}), &["data[tls.key]: Required value"]);
        check(
            json!({"type": "kubernetes.io/service-account-token"}),
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        );
    }

    #[test]
    fn container_limits_follow_from_each_other() {
        let mut object =
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1"}}]}});
        (LIMIT_RANGES.defaults)(&mut object);
        assert_eq!(
            object["spec"]["limits"][0],
            json!({
                "type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1"}, "default": {"cpu": "2"},
                "defaultRequest": {"cpu": "2", "memory": "1"},
            })
        );
    }
}
