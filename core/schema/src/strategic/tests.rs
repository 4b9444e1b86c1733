//! Strategic merge patches as tables of original, patch and result.

use serde_json::{Value, json};

use crate::testing::built_in;

/// Merges into the spec of a pod (or another kind's) and compares the spec that comes out, or the error.
fn check(kind: &str, original: Value, patch: Value, expected: Value) {
    let (api_version, kind) = kind.rsplit_once('/').unwrap();
    let declared = built_in(&json!({"apiVersion": api_version, "kind": kind}));
    let merged = declared.strategic_merge(json!({"spec": original}), json!({"spec": patch.clone()}));
    let merged = merged.map_or_else(|error| Value::String(error.to_string()), |mut merged| merged["spec"].take());
    assert_eq!(merged, expected, "patch {patch}");
}

fn pod(original: Value, patch: Value, expected: Value) {
    check("v1/Pod", original, patch, expected);
}

#[test]
fn maps_merge_and_nulls_delete() {
    pod(
        json!({"hostname": "a", "nodeName": "b"}),
        json!({"hostname": null, "subdomain": "c"}),
        json!({"nodeName": "b", "subdomain": "c"}),
    );
    pod(
        json!({"nodeSelector": {"a": "1", "b": "2"}}),
        json!({"nodeSelector": {"a": null, "c": "3"}}),
        json!({"nodeSelector": {"b": "2", "c": "3"}}),
    );
    pod(json!({}), json!({"nodeSelector": {"a": null, "c": "3"}}), json!({"nodeSelector": {"c": "3"}}));
    pod(json!({"hostname": null}), json!({"hostname": "x"}), json!({"hostname": "x"}));
    pod(
        json!({"securityContext": {"runAsUser": 1}}),
        json!({"securityContext": {"$patch": "replace", "runAsGroup": 2}}),
        json!({"securityContext": {"runAsGroup": 2}}),
    );
    pod(
        json!({"securityContext": {"runAsUser": 1}}),
        json!({"securityContext": {"$patch": "delete"}}),
        json!({"securityContext": {}}),
    );
    pod(
        json!({}),
        json!({"securityContext": {"$patch": "delete"}, "volumes": [{"name": "a", "$patch": "delete"}, {"name": "b"}]}),
        json!({"volumes": [{"name": "b"}]}),
    );
}

#[test]
fn lists_of_maps_merge_by_key() {
    let containers = |items: Value| json!({"containers": items});
    pod(
        containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}])),
        containers(json!([{"name": "b", "image": "3"}])),
        containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "3"}])),
    );
    pod(
        containers(json!([{"name": "a"}, {"name": "b"}])),
        containers(json!([{"name": "c"}])),
        containers(json!([{"name": "c"}, {"name": "a"}, {"name": "b"}])),
    );
    pod(
        containers(json!([{"name": "a"}, {"name": "b"}])),
        containers(json!([{"name": "a", "$patch": "delete"}])),
        containers(json!([{"name": "b"}])),
    );
    pod(
        containers(json!([{"name": "a"}, {"name": "b"}])),
        containers(json!([{"$patch": "replace"}, {"name": "c"}])),
        containers(json!([{"name": "c"}])),
    );
    // Ports merge by containerPort, which is a number; env within a container merges too.
    pod(
        containers(
            json!([{"name": "a", "ports": [{"containerPort": 80, "name": "x"}], "env": [{"name": "E", "value": "1"}]}]),
        ),
        containers(
            json!([{"name": "a", "ports": [{"containerPort": 81}, {"containerPort": 80, "name": "y"}], "env": [{"name": "E", "value": "2"}]}]),
        ),
        containers(
            json!([{"name": "a", "ports": [{"containerPort": 81}, {"containerPort": 80, "name": "y"}], "env": [{"name": "E", "value": "2"}]}]),
        ),
    );
    // Tolerations are replaced.
    pod(
        json!({"tolerations": [{"key": "a"}]}),
        json!({"tolerations": [{"key": "b"}]}),
        json!({"tolerations": [{"key": "b"}]}),
    );
}

#[test]
fn element_order() {
    let names = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Value>();
    let order = |order: &[&str], patch: &[&str]| json!({"$setElementOrder/containers": names(order), "containers": names(patch)});
    let check_order = |before: &[&str], order: Value, after: &[&str]| {
        pod(json!({"containers": names(before)}), order, json!({"containers": names(after)}));
    };
    check_order(&["a", "b", "c"], json!({"$setElementOrder/containers": names(&["c", "b", "a"])}), &["c", "b", "a"]);
    check_order(&["a", "b"], order(&["b", "c", "a"], &["c"]), &["b", "c", "a"]);
    // What only the server knows keeps its place before those that followed it.
    check_order(&["a", "server", "b"], order(&["b", "a", "new"], &["new"]), &["server", "b", "a", "new"]);
    check_order(&["a", "b", "server"], order(&["b", "a"], &["a"]), &["b", "a", "server"]);
    let deletion =
        json!({"$setElementOrder/containers": names(&["b"]), "containers": [{"name": "a", "$patch": "delete"}]});
    check_order(&["a", "b"], deletion, &["b"]);
    pod(json!({}), order(&["b", "a"], &["b", "a"]), json!({"containers": names(&["b", "a"])}));
    pod(
        json!({"containers": names(&["a"])}),
        order(&["a", "b"], &["b", "a"]),
        json!(
            "The order in patch list:\n[map[name:b] map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:a] map[name:b]]\n"
        ),
    );
}

#[test]
fn lists_of_scalars() {
    let check = |before: &[&str], patch: Value, after: Value| {
        let declared = built_in(&json!({"apiVersion": "v1", "kind": "Pod"}));
        let merged =
            declared.strategic_merge(json!({"metadata": {"finalizers": before}}), json!({"metadata": patch})).unwrap();
        assert_eq!(merged["metadata"], after);
    };
    check(&["a", "b"], json!({"finalizers": ["c", "a"]}), json!({"finalizers": ["c", "a", "b"]}));
    check(&["a", "b"], json!({"$deleteFromPrimitiveList/finalizers": ["a"]}), json!({"finalizers": ["b"]}));
    check(
        &["a", "b"],
        json!({"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"], "$setElementOrder/finalizers": ["c", "b"]}),
        json!({"finalizers": ["c", "b"]}),
    );
    check(&[], json!({"finalizers": ["a"]}), json!({"finalizers": ["a"]}));
    // A list that is replaced.
    pod(
        json!({"containers": [{"name": "a", "args": ["x", "y"]}]}),
        json!({"containers": [{"name": "a", "args": ["z"]}]}),
        json!({"containers": [{"name": "a", "args": ["z"]}]}),
    );
}

#[test]
fn retained_keys() {
    let deployment = |before: Value, patch: Value, after: Value| check("apps/v1/Deployment", before, patch, after);
    deployment(
        json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
        json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
        json!({"strategy": {"type": "Recreate"}}),
    );
    deployment(
        json!({"strategy": {"type": "A"}}),
        json!({"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}),
        json!("invalid patch format of retainKeys"),
    );
    deployment(
        json!({"strategy": {"type": "A"}}),
        json!({"strategy": {"$retainKeys": "type"}}),
        json!("invalid patch format of retainKeys"),
    );
    pod(
        json!({"volumes": [{"name": "a", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "a", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}),
        json!({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}),
    );
}

#[test]
fn refusals() {
    pod(
        json!({"securityContext": {}}),
        json!({"securityContext": {"$patch": "twist"}}),
        json!("unknown patch type: twist in map: map[$patch:twist]"),
    );
    pod(
        json!({"containers": [{"name": "a"}]}),
        json!({"containers": [{"image": "b"}]}),
        json!("map: map[image:b] does not contain declared merge key: name"),
    );
    pod(
        json!({"containers": [{"name": "a"}]}),
        json!({"containers": ["b"]}),
        json!("list element types are not identical: [[map[name:a]] [b]]"),
    );
    pod(json!({"containers": [["a"]]}), json!({"containers": [["b"]]}), json!("lists of lists are not supported"));
    pod(
        json!({"foo": {"a": 1}}),
        json!({"foo": {"a": 2}}),
        json!("unable to find api field in struct PodSpec for the json field \"foo\""),
    );
    pod(
        json!({"containers": []}),
        json!({"$setElementOrder/foo": ["a"], "foo": ["a"]}),
        json!("unable to find api field in struct PodSpec for the json field \"foo\""),
    );
    pod(json!({}), json!({"$setElementOrder": []}), json!("invalid patch format of setElementOrder list"));
    pod(json!({}), json!({"$deleteFromPrimitiveList": []}), json!("invalid patch format of primitive list"));
    pod(
        json!({}),
        json!({"$setElementOrder/containers": {}}),
        json!("expected a []interface {}, but received a map[string]interface {}"),
    );
    check(
        "v1/ResourceQuota",
        json!({"hard": {"cpu": {}}}),
        json!({"hard": {"cpu": {}}}),
        json!("merging an object in json but data type is not struct, instead is: map"),
    );
}
