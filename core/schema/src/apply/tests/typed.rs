//! What validation says, which fields objects set, what differs between them, and how they are merged.

use serde_json::Value;

use super::{paths, tree};
use crate::apply::{MergeSchema, compare::compare, merge, validate};
use crate::testing::built_in;

/// A schema and an object: of the built-in table if the object has a kind.
fn typed(text: &str) -> (MergeSchema, Value) {
    let object = tree(text);
    let schema = if object.get("kind").is_some() { built_in(&object).into() } else { MergeSchema::deduced() };
    (schema, object)
}

const POD: &str = "apiVersion: v1, kind: Pod";
const SERVICE: &str = "apiVersion: v1, kind: Service";

#[test]
fn validation() {
    let check = |text: &str, wanted: &str| {
        let (schema, object) = typed(text);
        let found = validate::validate(schema.root(), &object, false)
            .map_or_else(|errors| errors.to_string(), |()| String::new());
        assert_eq!(found, wanted, "{text}");
    };
    let pod = |spec: &str| format!("{{{POD}, spec: {spec}}}");
    check(&pod("{containers: [{name: a, ports: [{containerPort: 1}]}], nodeSelector: {a: b}}"), "");
    check(&pod("{containers: null, x: 1}"), ".spec.x: field not declared in schema");
    check(&pod("{hostNetwork: yes}"), ".spec.hostNetwork: expected boolean, got &{yes}");
    check(&pod("{priority: abc}"), ".spec.priority: expected numeric (int or float), got string");
    check(&pod("{nodeName: 5}"), ".spec.nodeName: expected string, got &value.valueUnstructured{Value:5}");
    check(
        &pod("{nodeName: {a: [b, 1]}}"),
        r#".spec.nodeName: expected string, got &value.valueUnstructured{Value:map[string]interface {}{"a":[]interface {}{"b", 1}}}"#,
    );
    check(&pod("{containers: {}}"), ".spec.containers: expected list, got &{map[]}");
    check(&pod("[1]"), ".spec: expected map, got &{[1]}");
    check(
        &pod("{containers: [null]}"),
        ".spec.containers: element 0: associative list with keys may not have a null element",
    );
    check(
        &pod("{containers: [a]}"),
        ".spec.containers: element 0: associative list with keys may not have non-map elements",
    );
    check(
        "{apiVersion: v1, kind: ServiceAccount, secrets: [{namespace: a}]}",
        r#".secrets: element 0: associative list with keys has an element that omits all key fields ["name"] (and doesn't have default values for any key fields)"#,
    );
    check(&pod("{containers: [{name: a}, {name: a}]}"), r#".spec.containers: duplicate entries for key [name="a"]"#);
    check(
        &pod("{nodeName: 5, priority: abc}"),
        "errors:\n  .spec.nodeName: expected string, got &value.valueUnstructured{Value:5}\n  .spec.priority: expected numeric (int or float), got string",
    );
    check(
        &format!("{{{POD}, metadata: {{finalizers: [a, a]}}}}"),
        r#".metadata.finalizers: duplicate entries for key [="a"]"#,
    );
    check(
        &format!("{{{POD}, metadata: {{finalizers: [null]}}}}"),
        ".metadata.finalizers: element 0: associative list without keys has an element that's an explicit null",
    );
    check(
        &pod("{containers: [{name: a, resources: {limits: {cpu: 1, memory: {}}}}]}"),
        r#".spec.containers[name="a"].resources.limits.memory: expected any scalar, got &{map[]}"#,
    );
    check("{a: [1, {b: null}], c: 1.5}", "");
}

#[test]
fn fields_that_an_object_sets() {
    let check = |text: &str, wanted: &[&str]| {
        let (schema, object) = typed(text);
        assert_eq!(paths(&validate::field_set(schema.root(), &object)), wanted, "{text}");
    };
    check(
        &format!("{{{POD}, metadata: {{labels: {{a: b}}, annotations: {{}}, finalizers: [x], ownerReferences: []}}}}"),
        &[".apiVersion", ".kind", ".metadata.annotations", r#".metadata.finalizers[="x"]"#, ".metadata.labels.a"],
    );
    check(
        &format!(
            "{{{SERVICE}, spec: {{ports: [{{port: 80}}, {{port: 80, protocol: UDP, name: null}}], selector: {{a: b}}, clusterIPs: [a]}}}}"
        ),
        &[
            ".apiVersion",
            ".kind",
            ".spec.clusterIPs",
            ".spec.selector",
            r#".spec.ports[port=80,protocol="TCP"]"#,
            r#".spec.ports[port=80,protocol="UDP"]"#,
            r#".spec.ports[port=80,protocol="TCP"].port"#,
            r#".spec.ports[port=80,protocol="UDP"].name"#,
            r#".spec.ports[port=80,protocol="UDP"].port"#,
            r#".spec.ports[port=80,protocol="UDP"].protocol"#,
        ],
    );
    check(
        &format!(
            "{{{POD}, spec: {{containers: [{{name: a, image: x}}, {{name: a}}], tolerations: [], volumes: null}}}}"
        ),
        &[".apiVersion", ".kind", ".spec.tolerations", ".spec.volumes", r#".spec.containers[name="a"]"#],
    );
    check("{a: {b: 1, c: [1, 2], d: {}, e: null}}", &[".a", ".a.b", ".a.c", ".a.d", ".a.e"]);
}

#[test]
fn changes() {
    let check = |left: &str, right: &str, wanted: [&[&str]; 3]| {
        let (schema, left) = typed(left);
        let (_, right) = typed(right);
        let changes = compare(schema.root(), &left, &right).unwrap();
        assert_eq!(
            [paths(&changes.removed), paths(&changes.modified), paths(&changes.added)],
            wanted.map(|paths| paths.iter().map(ToString::to_string).collect::<Vec<_>>())
        );
    };
    let pod = |spec: &str| format!("{{{POD}, spec: {spec}}}");
    check(&pod("{}"), &pod("{}"), [&[], &[], &[]]);
    check(&pod("{nodeName: a}"), &pod("{nodeName: b}"), [&[], &[".spec.nodeName"], &[]]);
    check(&pod("{}"), &pod("{securityContext: {}}"), [&[], &[], &[".spec.securityContext"]]);
    check(
        &pod("{}"),
        &pod("{securityContext: {runAsUser: 1}}"),
        [&[], &[], &[".spec.securityContext", ".spec.securityContext.runAsUser"]],
    );
    check(
        &pod("{securityContext: {runAsUser: 1}}"),
        &pod("{}"),
        [&[".spec.securityContext", ".spec.securityContext.runAsUser"], &[], &[]],
    );
    check(&pod("{nodeSelector: {a: b}}"), &pod("{nodeSelector: {a: b, c: d}}"), [&[], &[".spec.nodeSelector"], &[]]);
    check(
        &pod("{containers: null}"),
        &pod("{containers: [{name: a}]}"),
        [&[], &[], &[r#".spec.containers[name="a"]"#, r#".spec.containers[name="a"].name"#]],
    );
    // Items of a list may move.
    check(
        &pod("{containers: [{name: a}, {name: b}]}"),
        &pod("{containers: [{name: b}, {name: a, image: x}]}"),
        [&[], &[], &[r#".spec.containers[name="a"].image"#]],
    );
    // Items that there are several of are one.
    let of = r#".spec.containers[name="a"]"#;
    check(
        &pod("{containers: [{name: a}, {name: a}]}"),
        &pod("{containers: [{name: a}, {name: a, image: x}]}"),
        [&[], &[of], &[]],
    );
    check(&pod("{containers: [{name: a}, {name: a}]}"), &pod("{containers: [{name: a}, {name: a}]}"), [&[], &[], &[]]);
    check(
        &pod("{containers: [{name: a}, {name: a}]}"),
        &pod("{containers: [{name: a}]}"),
        [&[of], &[], &[of, &format!("{of}.name")]],
    );
    check(
        &pod("{containers: [{name: a}]}"),
        &pod("{containers: [{name: a}, {name: a}]}"),
        [&[of, &format!("{of}.name")], &[], &[of]],
    );
    // Without a schema a value may turn into another kind of value.
    check("{a: {b: 1}}", "{a: 5}", [&[".a.b"], &[".a"], &[]]);
    check("{a: [1]}", "{a: [2]}", [&[], &[".a"], &[]]);
    check("{a: 1}", "{a: 1.0}", [&[], &[], &[]]);
    check("{a: null}", "{a: {b: 1}}", [&[], &[], &[".a.b"]]);
    check("{a: null}", "{a: 1}", [&[], &[".a"], &[]]);
    check("{a: 1, b: {c: 1}}", "{b: {}}", [&[".a", ".b.c"], &[], &[]]);
}

#[test]
fn merging() {
    let check = |live: &str, applied: &str, wanted: &str| {
        let (schema, live) = typed(live);
        let (_, applied) = typed(applied);
        assert_eq!(merge::merge(schema.root(), &live, &applied).unwrap(), tree(wanted));
    };
    let pod = |spec: &str| format!("{{{POD}, spec: {spec}}}");
    check(&pod("{nodeName: a, priority: 1}"), &pod("{nodeName: b}"), &pod("{nodeName: b, priority: 1}"));
    check(&pod("{nodeSelector: {a: b}}"), &pod("{nodeSelector: {c: d}}"), &pod("{nodeSelector: {c: d}}"));
    check(&pod("{nodeName: a}"), &pod("{nodeName: null}"), &pod("{nodeName: null}"));
    check(&pod("{containers: [{name: a}]}"), &pod("{containers: null}"), &pod("{containers: [{name: a}]}"));
    check(&pod("{containers: []}"), &pod("{containers: null}"), &pod("{containers: null}"));
    let lists = |live: &str, applied: &str, wanted: &str| {
        let list = |names: &str| {
            let names: Vec<String> = names.chars().map(|name| format!("{{name: {name}}}")).collect();
            pod(&format!("{{containers: [{}]}}", names.join(",")))
        };
        check(&list(live), &list(applied), &list(wanted));
    };
    lists("abc", "b", "abc");
    lists("abc", "cb", "acb");
    lists("abc", "ca", "bca");
    lists("abc", "dc", "abdc");
    lists("abc", "xay", "xabcy");
    lists("abcd", "dxb", "acdxb");
    lists("", "ba", "ba");
    lists("aabc", "c", "aabc");
    lists("aabc", "a", "abc");
    check("{a: {b: 1}, c: [1]}", "{a: {d: 2}, c: [2]}", "{a: {b: 1, d: 2}, c: [2]}");
    check("{a: {b: 1}}", "{a: 5}", "{a: 5}");
}
