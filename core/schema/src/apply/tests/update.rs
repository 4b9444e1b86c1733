//! Creates and updates: who owns what, whose entries are kept, which are put together.

use std::sync::Arc;

use serde_json::{Value, json};
use triune_api::meta;

use super::{Session, tree};
use crate::apply::{ResetFields, Set, check_managed_fields, keep_times_if_unchanged};

#[test]
fn updates_own_what_they_change() {
    Session::new("v1", "ConfigMap")
        .update("a", "{data: {x: 1a, y: 1b}}")
        .owned(&["a Update 01: .data .data.x .data.y"])
        .update("b", "{data: {x: 2a, y: 1b}}")
        .owned(&["a Update 01: .data .data.y", "b Update 02: .data.x"])
        .update("b", "{data: {x: 2a}}")
        .owned(&["a Update 01: .data", "b Update 02: .data.x"])
        .update("a", "{data: {x: 2a}, metadata: {labels: {l: m}}}")
        .owned(&["b Update 02: .data.x", "a Update 04: .data .metadata.labels .metadata.labels.l"])
        .update("c", "{}")
        .owned(&[]);
}

#[test]
fn structs_that_are_always_there_are_nobodys() {
    Session::new("v1", "Pod")
        .update(
            "a",
            "{spec: {containers: [{name: c, image: i, securityContext: {}}], securityContext: {runAsUser: 1}}}",
        )
        .owned(&[concat!(
            r#"a Update 01: .spec.securityContext .spec.containers[name="c"] .spec.containers[name="c"].image "#,
            r#".spec.containers[name="c"].name .spec.containers[name="c"].resources "#,
            r#".spec.containers[name="c"].securityContext .spec.securityContext.runAsUser"#
        )]);
}

/// Some subresources set a few fields alone, also within the items of lists.
#[test]
fn what_a_subresource_does_not_set_is_nobodys() {
    let pod = |labels: &str, image: &str, cpu: &str| {
        let container = format!("{{name: c, image: {image}, resources: {{limits: {{cpu: {cpu}}}}}}}");
        format!("{{metadata: {{labels: {labels}}}, spec: {{containers: [{container}]}}}}")
    };
    let mut session = Session::new("v1", "Pod");
    session.update("a", &pod("{}", "i", "1"));
    let resized: &[&[&str]] = &[&["spec", "containers", "resources"], &["status"]];
    session.versions.reset = Some(Arc::new(ResetFields::AllBut(Set::from_paths(resized))));
    session.subresource = "resize";
    let item = r#".spec.containers[name="c"]"#;
    let first = format!("a Update 01: {item} {item}.image {item}.name {item}.resources {item}.resources.limits");
    let expect = r#"b/resize Update 02: .spec.containers[name="c"].resources.limits.cpu"#;
    session.update("b", &pod("{l: m}", "j", "2")).owned(&[&first, expect]);
    session.versions.reset = Some(Arc::new(ResetFields::AllBut(Set::from_paths(&[&["spec", "ephemeralContainers"]]))));
    session.update("c", &pod("{l: n}", "k", "3")).owned(&[&first, expect]);
}

#[test]
fn whole_values_have_one_owner() {
    Session::new("v1", "Service")
        .update("a", "{spec: {selector: {x: y}, clusterIPs: [n]}}")
        .update("b", "{spec: {selector: {x: y, v: w}, clusterIPs: [n]}}")
        .owned(&["a Update 01: .spec.clusterIPs", "b Update 02: .spec.selector"]);
}

#[test]
fn items_of_lists_have_owners() {
    let first = r#".spec.ports[port=80,protocol="TCP"]"#;
    let second = r#".spec.ports[port=81,protocol="UDP"]"#;
    Session::new("v1", "Service")
        .update("a", "{spec: {ports: [{port: 80}]}}")
        .update("b", "{spec: {ports: [{port: 81, protocol: UDP, name: n}, {port: 80, name: m}]}}")
        .owned(&[
            &format!("a Update 01: .spec.ports {first} {first}.port {first}.protocol {first}.targetPort"),
            &format!(
                "b Update 02: {second} {first}.name {second}.name {second}.port {second}.protocol {second}.targetPort"
            ),
        ])
        .update("c", "{spec: {ports: [{port: 80, name: m}]}}")
        .owned(&[
            &format!("a Update 01: .spec.ports {first} {first}.port {first}.protocol {first}.targetPort"),
            &format!("b Update 02: {first}.name"),
        ]);
}

#[test]
fn entries_that_clients_send() {
    let live = "{data: {x: 1a}}";
    let check = |sent: &str, wanted: &[&str]| {
        let mut session = Session::new("v1", "ConfigMap");
        session
            .update("a", live)
            .update("b", &format!("{{data: {{x: 2a}}, metadata: {{managedFields: {sent}}}}}"))
            .owned(wanted);
    };
    // None and malformed ones leave those of the live object.
    check("null", &["a Update 01: .data", "b Update 02: .data.x"]);
    check("[{manager: m, operation: Patch}]", &["a Update 01: .data", "b Update 02: .data.x"]);
    check(
        r#"[{manager: m, operation: Update, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f": {}}}]"#,
        &["a Update 01: .data", "b Update 02: .data.x"],
    );
    // All is forgotten, and nothing is tracked until the next apply.
    check("[]", &[]);
    check("[{}]", &[]);
    check(r#"[{manager: "", time: null}]"#, &[]);
    // Others are what is known from now on.
    check(
        r#"[{manager: m, operation: Apply, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f:data": {"f:x": {}, "f:y": {}}, "x:y": {}}}]"#,
        &["m Apply -: .data.y", "b Update 02: .data.x"],
    );
    // Of entries with one identity the last counts.
    check(
        r#"[{manager: m, operation: Apply, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f:a": {}}},
            {manager: m, operation: Apply, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f:b": {}}}]"#,
        &["m Apply -: .b", "b Update 02: .data.x"],
    );
    // Versions that the kind does not have.
    check(
        r#"[{manager: m, operation: Apply, apiVersion: v9, fieldsType: FieldsV1, fieldsV1: {"f:a": {}}}]"#,
        &["b Update 02: .data.x"],
    );
}

#[test]
fn subresources_take_the_live_entries() {
    let mut session = Session::new("v1", "Pod");
    session.update("a", "{spec: {nodeName: n}}");
    let before = meta::managed_fields(&session.live).to_vec();
    session.subresource = "status";
    session.update("b", "{spec: {nodeName: n}, metadata: {managedFields: []}, status: {phase: p}}");
    let after = meta::managed_fields(&session.live);
    assert_eq!(after[..1], before);
    assert_eq!(
        after[1],
        json!({"manager": "b", "operation": "Update", "apiVersion": "v1", "subresource": "status", "time": "2026-11-24T10:00:02Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {"f:phase": {}}}})
    );
}

#[test]
fn what_was_never_tracked_stays_so() {
    let mut session = Session::new("v1", "ConfigMap");
    session.live = tree("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, uid: u}}");
    session.update("a", "{data: {x: y}}").owned(&[]);
}

#[test]
fn nameless_managers_are_unknown() {
    Session::new("v1", "ConfigMap").update("", "{data: {x: y}}").owned(&["unknown Update 01: .data .data.x"]);
}

#[test]
fn old_updates_are_put_together() {
    let data = |count: usize| {
        let fields: Vec<String> = (0..count).map(|at| format!("k{at}: v")).collect();
        format!("{{data: {{{}}}}}", fields.join(","))
    };
    let mut session = Session::new("v1", "ConfigMap");
    for at in 0..10 {
        session.update(&format!("m{at}"), &data(at + 1));
    }
    assert_eq!(meta::managed_fields(&session.live).len(), 10);
    session.update("m10", &data(11));
    let names = |session: &Session| -> Vec<String> {
        meta::managed_fields(&session.live).iter().map(|entry| entry["manager"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names(&session), ["ancient-changes", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10"]);
    session.update("m11", &data(12));
    assert_eq!(names(&session), ["ancient-changes", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10", "m11"]);
    let ancient = &meta::managed_fields(&session.live)[0];
    assert_eq!(ancient["fieldsV1"], json!({"f:data": {".": {}, "f:k0": {}, "f:k1": {}, "f:k2": {}}}));
    assert_eq!(ancient["time"], "2026-11-24T10:00:03Z");
    // Appliers do not count.
    session.apply("applier", "{data: {z: z}}");
    assert_eq!(meta::managed_fields(&session.live).len(), 11);
}

#[test]
fn entries_are_sorted() {
    let entry = |manager: &str, operation: &str, time: &str| {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": time, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:labels": {format!("f:{manager}{operation}"): {}}}}})
    };
    let mut session = Session::new("v1", "ConfigMap");
    session.update("c", "{}");
    let sent = [
        entry("b", "Update", "2026-11-24T09:00:00Z"),
        entry("a", "Update", "2026-11-24T09:00:00Z"),
        entry("z", "Update", "2026-11-24T08:00:00Z"),
        entry("x", "Apply", "2026-11-24T10:00:00Z"),
    ];
    session.update("c", &json!({"metadata": {"managedFields": sent}, "data": {"k": "v"}}).to_string());
    let names: Vec<&Value> = meta::managed_fields(&session.live).iter().map(|entry| &entry["manager"]).collect();
    assert_eq!(names, ["x", "z", "a", "b", "c"]);
}

#[test]
fn malformed_entries_are_named() {
    let check = |entries: &str, wanted: &str| {
        let entries = tree(entries);
        let found = check_managed_fields(entries.as_array().unwrap()).map_or_else(|error| error, |()| String::new());
        assert_eq!(found, wanted);
    };
    check("[{manager: m, operation: Update, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {}}]", "");
    check("[{operation: Patch}]", "operation must be `Apply` or `Update`");
    check("[{operation: Apply}]", "apiVersion must not be empty");
    check("[{operation: Apply, apiVersion: v1}]", "missing fieldsType in managed fields entry 0");
    check(
        "[{operation: Apply, apiVersion: v1, fieldsType: v2}]",
        r#"invalid fieldsType "v2" in managed fields entry 0"#,
    );
}

#[test]
fn times_alone_are_no_change() {
    let object = |label: &str, fields: &str, time: &str| {
        tree(&format!(
            r#"{{metadata: {{name: a, labels: {{l: {label}}}, managedFields: [{{manager: m, fieldsV1: {{"{fields}": {{}}}}, time: "{time}"}}, {{manager: n, time: "1"}}]}}, data: {{x: y}}}}"#
        ))
    };
    let check = |old: Value, new: Value, kept: bool| {
        let mut result = new.clone();
        keep_times_if_unchanged(&old, &mut result);
        assert_eq!(result, if kept { old } else { new });
    };
    check(object("a", "f:a", "1"), object("a", "f:a", "2"), true);
    check(object("a", "f:a", "1"), object("b", "f:a", "2"), false);
    check(object("a", "f:a", "1"), object("a", "f:b", "2"), false);
    check(object("a", "f:a", "1"), tree(r#"{metadata: {name: a}, data: {x: y}}"#), false);
    let mut other = object("a", "f:a", "2");
    other["data"] = json!({"x": "z"});
    check(object("a", "f:a", "1"), other, false);
}
