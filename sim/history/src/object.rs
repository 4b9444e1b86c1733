//! An object as a client sees it or as a commit stored it, reduced to what checkers compare.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names an object of a resource such as `configmaps` or `deployments.apps`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// `resource` or `resource.group`.
    pub resource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            return write!(formatter, "{}/{}", self.resource, self.name);
        }
        write!(formatter, "{}/{}/{}", self.resource, self.namespace, self.name)
    }
}

/// An object at a revision. Two are equal if a client could not tell them apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Object {
    /// `metadata.namespace`, empty if there is none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`; 0 if there is none (in a request).
    pub revision: u64,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created_at: String,
    /// `metadata.deletionTimestamp`.
    pub deleted_at: Option<String>,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Hash of the whole object but `apiVersion`, `kind` and `metadata.resourceVersion`, with sorted keys.
    pub digest: u64,
}

impl Object {
    /// From JSON as a client reads it, or from a stored body (which has no `apiVersion`, `kind` and `resourceVersion`:
    /// `revision` gives it). None if it is no object with a name.
    pub fn from_json(mut value: Value, revision: Option<u64>) -> Option<Object> {
        let fields = value.as_object_mut()?;
        fields.remove("apiVersion");
        fields.remove("kind");
        let metadata = fields.get_mut("metadata")?.as_object_mut()?;
        let version = metadata.remove("resourceVersion");
        let version = version.as_ref().and_then(Value::as_str).and_then(|text| text.parse().ok());
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let texts = |key: &str| -> Vec<String> {
            let list = metadata.get(key).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let labels = metadata.get("labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        let object = Object {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            revision: revision.or(version).unwrap_or(0),
            generation: metadata.get("generation").and_then(Value::as_i64).unwrap_or(0),
            created_at: text("creationTimestamp"),
            deleted_at: metadata.get("deletionTimestamp").and_then(Value::as_str).map(str::to_owned),
            finalizers: texts("finalizers"),
            labels: labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
            digest: 0,
        };
        if object.name.is_empty() {
            return None;
        }
        Some(Object { digest: digest(&value), ..object })
    }

    /// Its key in a resource.
    pub fn key(&self, resource: &str) -> ObjectKey {
        ObjectKey { resource: resource.to_owned(), namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// FNV-1a over the text of a value; serde_json keeps keys sorted.
fn digest(value: &Value) -> u64 {
    value
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_body_equals_what_a_client_sees() {
        let stored = r#"{"metadata":{"name":"a","uid":"u","labels":{"x":"y"}},"data":{"k":"v"}}"#;
        let seen = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"uid":"u","labels":{"x":"y"},"name":"a","resourceVersion":"7"},"data":{"k":"v"}}"#;
        let stored = Object::from_json(serde_json::from_str(stored).unwrap(), Some(7)).unwrap();
        let seen = Object::from_json(serde_json::from_str(seen).unwrap(), None).unwrap();
        assert_eq!(stored, seen);
    }

    #[test]
    fn another_value_is_another_object() {
        let object = |value: &str| {
            let text = format!(r#"{{"metadata":{{"name":"a"}},"data":{{"k":"{value}"}}}}"#);
            Object::from_json(serde_json::from_str(&text).unwrap(), Some(1)).unwrap()
        };
        assert_ne!(object("v"), object("w"));
    }
}
