//! Applies in one version.

use serde_json::json;

use super::{Session, tree};
use crate::apply::{ApplyError, Conflict, ManagerId, Operation};

#[test]
fn appliers_own_what_they_apply() {
    Session::new("v1", "ConfigMap")
        .apply("a", "{data: {x: 1a, y: 1b}}")
        .owned(&["a Apply 01: .data.x .data.y"])
        .apply("a", "{data: {x: 1a}}")
        .owned(&["a Apply 02: .data.x"])
        .has(&["/data={x: 1a}"])
        .refused("b", "{data: {x: 2a}}", r#"Apply failed with 1 conflict: conflict with "a": .data.x"#)
        .apply("b", "{data: {x: 1a, z: 1c}}")
        .owned(&["a Apply 02: .data.x", "b Apply 04: .data.x .data.z"])
        .apply("a", "{}")
        .has(&["/data={x: 1a, z: 1c}"])
        .owned(&["b Apply 04: .data.x .data.z"])
        .force("b", "{}")
        .has(&["/data=(none)"])
        .owned(&[]);
}

#[test]
fn what_is_there_already_is_owned_without_a_time() {
    Session::new("v1", "ConfigMap")
        .update("a", "{data: {x: y}}")
        .apply("b", "{data: {x: y}}")
        .owned(&["b Apply -: .data.x", "a Update 01: .data .data.x"])
        .apply("b", "{data: {x: y}}")
        .owned(&["b Apply -: .data.x", "a Update 01: .data .data.x"])
        .apply("b", "{data: {x: y, v: w}}")
        .owned(&["b Apply 04: .data.v .data.x", "a Update 01: .data .data.x"]);
}

#[test]
fn force_takes_fields_from_others() {
    Session::new("v1", "ConfigMap")
        .apply("a", "{data: {x: 1a, y: 1b}}")
        .update("u", "{data: {x: 1a, y: 2b}}")
        .owned(&["a Apply 01: .data.x", "u Update 02: .data.y"])
        .refused("a", "{data: {x: 1a, y: 3b}}", r#"Apply failed with 1 conflict: conflict with "u" using v1: .data.y"#)
        .force("a", "{data: {x: 1a, y: 3b}}")
        .owned(&["a Apply 04: .data.x .data.y"]);
}

#[test]
fn conflicts_are_told_manager_by_manager() {
    let mut session = Session::new("v1", "ConfigMap");
    session.update("u", "{data: {x: a, y: b}}").apply("a", "{data: {z: c}, metadata: {labels: {l: m}}}");
    session.subresource = "status";
    session.update("s", "{data: {x: a, y: b, z: c, v: w}, metadata: {labels: {l: m}}}");
    session.subresource = "";
    let applied = "{data: {v: 1x, x: 1x, y: 1x, z: 1x}, metadata: {labels: {l: 1x}}}";
    session.refused(
        "b",
        applied,
        concat!(
            "Apply failed with 5 conflicts: conflicts with \"a\":\n- .data.z\n- .metadata.labels.l\n",
            "conflicts with \"s\" with subresource \"status\" using v1:\n- .data.v\n",
            "conflicts with \"u\" using v1:\n- .data.x\n- .data.y"
        ),
    );
    let error = session.try_apply("b", false, "{data: {x: 1x, y: b, v: 1x}}").unwrap_err();
    let conflict = |manager: &str, subresource: &str, path: &str| Conflict {
        manager: ManagerId {
            manager: manager.into(),
            operation: Operation::Update,
            api_version: "v1".into(),
            subresource: subresource.into(),
        },
        path: path.into(),
    };
    assert_eq!(error, ApplyError::Conflicts(vec![conflict("s", "status", ".data.v"), conflict("u", "", ".data.x")]));
    assert_eq!(
        error.status().to_json(),
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409, "reason": "Conflict",
            "message": "Apply failed with 2 conflicts: conflicts with \"s\" with subresource \"status\" using v1:\n- .data.v\nconflicts with \"u\" using v1:\n- .data.x",
            "details": {"causes": [
                {"reason": "FieldManagerConflict", "message": "conflict with \"s\" with subresource \"status\" using v1", "field": ".data.v"},
                {"reason": "FieldManagerConflict", "message": "conflict with \"u\" using v1", "field": ".data.x"}]}})
    );
}

#[test]
fn fields_given_up_go_unless_somebody_has_them() {
    let item = |name: &str| format!(r#".spec.containers[name="{name}"]"#);
    Session::new("v1", "Pod")
        .apply(
            "a",
            "{spec: {containers: [{name: x, image: i}, {name: y, image: j, command: [c]}], nodeSelector: {n: m}}}",
        )
        // Defaults are nobody's, and go with their item.
        .apply("a", "{spec: {containers: [{name: y, image: j}]}}")
        .has(&[
            "/spec/containers/0/name=y",
            "/spec/containers/1=(none)",
            "/spec/containers/0/command=(none)",
            "/spec/nodeSelector=(none)",
        ])
        .apply("b", "{spec: {containers: [{name: y, workingDir: w}, {name: z, image: k}]}}")
        .apply("a", "{spec: {nodeName: n}}")
        // The item stays as another owner has a part of it; what only `a` had of it goes.
        .has(&["/spec/containers/0/name=y", "/spec/containers/0/image=(none)", "/spec/containers/0/workingDir=w"])
        .owned(&[
            &format!(
                "b Apply 03: {} {} {}.name {}.workingDir {}.image {}.name",
                item("y"),
                item("z"),
                item("y"),
                item("y"),
                item("z"),
                item("z")
            ),
            "a Apply 04: .spec.nodeName",
        ]);
}

#[test]
fn updates_keep_what_they_changed() {
    Session::new("v1", "ConfigMap")
        .apply("a", "{data: {x: 1a, y: 1b}}")
        .update("u", "{data: {x: 2a, y: 1b}}")
        .apply("a", "{data: {y: 1b}}")
        .has(&["/data={x: 2a, y: 1b}"])
        .apply("a", "{metadata: {labels: {l: m}}}")
        .has(&["/data={x: 2a}"])
        .owned(&["a Apply 04: .metadata.labels.l", "u Update 02: .data.x"]);
}

#[test]
fn objects_from_before() {
    let mut session = Session::new("v1", "ConfigMap");
    session.live = tree("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, uid: u, labels: {l: m}}, data: {x: y}}");
    session
        .refused(
            "a",
            "{data: {x: z}}",
            r#"Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.x"#,
        )
        .apply("a", "{data: {v: w}}")
        .owned(&[
            "a Apply 02: .data.v",
            "before-first-apply Update 02: .data .data.x .metadata.labels .metadata.labels.l",
        ]);
}

#[test]
fn client_side_applies_are_no_conflict_for_kubectl() {
    let last = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "1a", "y": "1b"}}).to_string();
    let annotated = |data: &str| {
        let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
        json!({"data": tree(data), "metadata": {"annotations": annotations}}).to_string()
    };
    let mut session = Session::new("v1", "ConfigMap");
    session
        .update("kubectl-client-side-apply", &annotated("{x: 1a, y: 1b}"))
        .refused(
            "other",
            "{data: {x: 2a}}",
            r#"Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .data.x"#,
        )
        .apply("kubectl", "{data: {x: 2a}}")
        .has(&["/data={x: 2a, y: 1b}"]);
    let annotation = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
    assert_eq!(
        session.live.pointer(annotation).unwrap(),
        "{\"apiVersion\":\"v1\",\"data\":{\"x\":\"2a\"},\"kind\":\"ConfigMap\"}\n"
    );
    // Values that differ from the annotation were set by somebody else.
    let mut session = Session::new("v1", "ConfigMap");
    session.update("client", &annotated("{x: 1a, y: 1b}")).update("other", &annotated("{x: 5a, y: 1b}")).refused(
        "kubectl",
        "{data: {x: 2a, y: 2b}}",
        r#"Apply failed with 1 conflict: conflict with "other" using v1: .data.x"#,
    );
    // An annotation that would be too large goes.
    let large = "x".repeat(256 * 1024);
    let mut session = Session::new("v1", "ConfigMap");
    session.update("client", &annotated("{x: 1a}")).apply("kubectl", &format!("{{data: {{z: {large}}}}}"));
    assert_eq!(session.live.pointer(annotation), None);
}

#[test]
fn configurations_that_are_refused() {
    let check = |applied: &str, code: u16, message: &str| {
        let mut session = Session::new("apps/v1", "Deployment");
        let error = session.try_apply("a", false, applied).unwrap_err();
        let status = error.status();
        assert_eq!((status.code, status.message.as_str()), (code, message), "{applied}");
    };
    check(
        "{metadata: {name: d, namespace: n}, spec: {x: 1}}",
        500,
        "failed to create typed patch object (n/d; apps/v1, Kind=Deployment): .spec.x: field not declared in schema",
    );
    check("{metadata: {name: d, managedFields: []}}", 400, "metadata.managedFields must be nil");
    check(
        "{metadata: {name: d}, spec: {minReadySeconds: 1.5}}",
        500,
        "failed to convert new object (/d; apps/v1, Kind=Deployment) to proper version: unable to convert unstructured object to apps/v1, Kind=Deployment: cannot convert float64 to int32",
    );
    check(
        "{metadata: {name: d}, spec: {template: {spec: {containers: [{name: c, resources: {limits: {cpu: abc}}}]}}}}",
        500,
        "failed to convert new object (/d; apps/v1, Kind=Deployment) to proper version: unable to convert unstructured object to apps/v1, Kind=Deployment: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
    // What does not fit 32 bits loses the upper ones.
    Session::new("apps/v1", "Deployment")
        .apply("a", "{spec: {minReadySeconds: 3000000000, replicas: 2.0}}")
        .has(&["/spec/minReadySeconds=-1294967296", "/spec/replicas=2"]);
}

#[test]
fn kinds_are_checked() {
    let mut session = Session::new("apps/v1", "Deployment");
    let refused = |applied: serde_json::Value| {
        session.manage(|fields, live| fields.apply(live, &applied, "a", false, &|_| ()).unwrap_err().status())
    };
    let mut refused = refused;
    let check = |status: triune_api::status::Status, message: &str| {
        assert_eq!((status.code, status.reason, status.message.as_str()), (400, "BadRequest", message));
    };
    check(refused(tree("{apiVersion: apps/v2, kind: Deployment}")), "invalid object type: apps/v2, Kind=Deployment");
    check(refused(tree("{apiVersion: v1, kind: Pod}")), "invalid object type: /v1, Kind=Pod");
}

#[test]
fn nothing_and_null() {
    Session::new("v1", "Pod")
        .apply("a", "{spec: {nodeSelector: null, containers: [{name: c, command: []}], tolerations: null}}")
        .owned(&[concat!(
            r#"a Apply 01: .spec.nodeSelector .spec.tolerations .spec.containers[name="c"] "#,
            r#".spec.containers[name="c"].command .spec.containers[name="c"].name"#
        )]);
    // Empty lists that are merged, and structs, are nothing to own.
    Session::new("v1", "Pod")
        .apply("a", "{spec: {containers: [], securityContext: {}}}")
        .owned(&["a Apply 01: .spec.securityContext"]);
}
