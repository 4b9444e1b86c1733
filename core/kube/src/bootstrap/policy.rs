//! Roles and bindings that exist from the start, read from `policy.txt`, whose head says how it is written.

use serde_json::{Map, Value, json};

const POLICY: &str = include_str!("../../bootstrap/policy.txt");
const RBAC: &str = "rbac.authorization.k8s.io/v1";
const AGGREGATE: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// The policy is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy.txt line {line}: {why}")]
pub struct PolicyError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: &'static str,
}

/// All roles and bindings.
pub fn objects() -> Result<Vec<Value>, PolicyError> {
    parse(POLICY)
}

fn parse(text: &str) -> Result<Vec<Value>, PolicyError> {
    let mut objects: Vec<Value> = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let error = |why| PolicyError { line: index + 1, why };
        match line.strip_prefix("  ") {
            None => objects.push(head(line).ok_or_else(|| error("no such kind of object"))?),
            Some(part) => {
                let object = objects.last_mut().ok_or_else(|| error("belongs to no object"))?;
                let (list, item) = if object.get("roleRef").is_some() {
                    ("subjects", subject(part).ok_or_else(|| error("no such kind of subject"))?)
                } else {
                    ("rules", rule(part).ok_or_else(|| error("a rule has two to four parts"))?)
                };
                match object.get_mut(list) {
                    Some(Value::Array(items)) => items.push(item),
                    _ => crate::tree::set(object, list, vec![item]),
                }
            }
        }
    }
    Ok(objects)
}

fn head(line: &str) -> Option<Value> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["cluster-role", name, ref options @ ..] => cluster_role(name, options),
        ["role", namespace, name] => {
            let mut role = object("Role", name, Some(namespace));
            role.insert("rules".into(), Value::Null);
            Some(Value::Object(role))
        }
        ["cluster-binding", name, role] => Some(binding(object("ClusterRoleBinding", name, None), "ClusterRole", role)),
        ["binding", namespace, name, role] => {
            let (kind, role) = role.split_once('/')?;
            Some(binding(object("RoleBinding", name, Some(namespace)), kind, role))
        }
        _ => None,
    }
}

fn object(kind: &str, name: &str, namespace: Option<&str>) -> Map<String, Value> {
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    [("apiVersion", json!(RBAC)), ("kind", json!(kind)), ("metadata", metadata)]
        .into_iter()
        .map(|(key, value)| (key.to_string(), value))
        .collect()
}

fn cluster_role(name: &str, options: &[&str]) -> Option<Value> {
    let mut role = Value::Object(object("ClusterRole", name, None));
    role["rules"] = Value::Null;
    for option in options {
        match option.split_once('=')? {
            ("aggregates", to) => role["metadata"]["labels"][format!("{AGGREGATE}{to}")] = json!("true"),
            ("selects", to) => {
                let labels: Map<String, Value> = [(format!("{AGGREGATE}{to}"), json!("true"))].into_iter().collect();
                role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
            }
            _ => return None,
        }
    }
    Some(role)
}

fn binding(mut object: Map<String, Value>, kind: &str, role: &str) -> Value {
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role});
    object.insert("roleRef".into(), role);
    Value::Object(object)
}

fn rule(text: &str) -> Option<Value> {
    let list = |text: &str| text.split(',').map(String::from).collect::<Vec<_>>();
    let groups = |text: &str| -> Vec<String> {
        list(text).into_iter().map(|group| if group == "core" { String::new() } else { group }).collect()
    };
    match text.split(" | ").collect::<Vec<_>>()[..] {
        [verbs, urls] => Some(json!({"verbs": list(verbs), "nonResourceURLs": list(urls)})),
        [verbs, in_groups, resources] => {
            Some(json!({"verbs": list(verbs), "apiGroups": groups(in_groups), "resources": list(resources)}))
        }
        [verbs, in_groups, resources, names] => Some(json!({
            "verbs": list(verbs), "apiGroups": groups(in_groups), "resources": list(resources),
            "resourceNames": list(names),
        })),
        _ => None,
    }
}

fn subject(text: &str) -> Option<Value> {
    let (kind, name) = text.split_once(' ')?;
    match kind {
        "ServiceAccount" => {
            let (namespace, name) = name.split_once('/')?;
            Some(json!({"kind": kind, "namespace": namespace, "name": name}))
        }
        "User" | "Group" => Some(json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name})),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Value) -> Result<(), PolicyError> {
        let mut objects = parse(text)?;
        for object in &mut objects {
            crate::tree::remove(object, "metadata");
            crate::tree::remove(object, "apiVersion");
        }
        assert_eq!(Value::Array(objects), expected, "{text}");
        Ok(())
    }

    #[test]
    fn roles_have_rules() -> Result<(), PolicyError> {
        check(
            "role ns r\n  get,list | core,apps | pods,deployments | a\n  get | /healthz",
            json!([{"kind": "Role", "rules": [
                {"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods", "deployments"],
                 "resourceNames": ["a"]},
                {"verbs": ["get"], "nonResourceURLs": ["/healthz"]},
            ]}]),
        )?;
        let selector = json!({"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}});
        let aggregation = json!({"clusterRoleSelectors": [selector]});
        check(
            "cluster-role view aggregates=edit selects=view",
            json!([{"kind": "ClusterRole", "rules": null, "aggregationRule": aggregation}]),
        )
    }

    #[test]
    fn bindings_have_subjects() -> Result<(), PolicyError> {
        let group = "rbac.authorization.k8s.io";
        check(
            "binding ns b Role/r\n  User u\n  ServiceAccount ns/s",
            json!([{
                "kind": "RoleBinding", "roleRef": {"apiGroup": group, "kind": "Role", "name": "r"},
                "subjects": [
                    {"apiGroup": group, "kind": "User", "name": "u"},
                    {"kind": "ServiceAccount", "namespace": "ns", "name": "s"},
                ],
            }]),
        )
    }

    #[test]
    fn the_policy_is_whole() -> Result<(), PolicyError> {
        let objects = objects()?;
        let count = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).count();
        let counts = ["ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"].map(count);
        assert_eq!(counts, [73, 7, 54, 7]);
        Ok(())
    }

    #[test]
    fn malformed_lines_are_named() {
        let check =
            |text: &str, line: usize| assert_eq!(parse(text).err().map(|error| error.line), Some(line), "{text}");
        check("  get | core | pods", 1);
        check("role only-one", 1);
        check("role ns r\n  get", 2);
        check("cluster-binding b r\n  Robot x", 2);
    }
}
