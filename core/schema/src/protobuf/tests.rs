//! Special types, what comes twice, what is refused, bounds; any bytes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{BUILT_IN, built_in};

/// A tree becomes a message and the same tree again.
fn round(given: Value) -> Value {
    let declared = built_in(&given);
    let mut normal = given;
    declared.normalise(&mut normal);
    let message = declared.encode_protobuf(&normal);
    let mut again = declared.decode_protobuf(&message).expect("its own message");
    for field in ["apiVersion", "kind"] {
        again[field] = normal[field].clone();
    }
    declared.normalise(&mut again);
    assert_eq!(again, normal);
    again
}

#[test]
fn special_types() {
    round(json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [
        {"port": 1, "targetPort": "http"}, {"port": 2, "targetPort": -3}, {"port": 4}]}}));
    round(json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "AQID", "b": ""}, "immutable": false}));
    round(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {
        "creationTimestamp": "2026-11-24T08:00:00Z", "managedFields": [{"fieldsV1": {"f:a": {}}, "time": null}]},
        "spec": {"renewTime": "1969-12-31T23:59:59.500000Z"}}));
    round(json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"extra": {"a": ["b", "c"], "d": []}}, "status": {"allowed": true}}));
    round(json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": {"a": [1, null, "x"]}, "revision": 3}));
    round(json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "resources":
        {"limits": {"cpu": "100m"}}}], "volumes": [{"name": "v", "emptyDir": {}}],
        "securityContext": {"supplementalGroups": [1, -2]}}}));
    let schema = json!({"items": {"type": "string"}, "additionalProperties": true, "maximum": 1.5, "enum": [1, null, "a"],
        "dependencies": {"a": ["b"], "c": {"type": "object"}}, "default": {"any": [1]}, "not": {},
        "additionalItems": {"type": "string"}, "properties": {"x": {"items": [{"type": "a"}, {"type": "b"}]}}});
    round(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}));
}

#[test]
fn fields_that_come_twice_are_merged() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod"});
    let declared = built_in(&pod);
    let parts = [
        json!({"metadata": {"name": "a", "labels": {"a": "1"}}, "spec": {"nodeName": "x"}}),
        json!({"metadata": {"name": "b", "labels": {"b": "2"}}, "spec": {"containers": [{"name": "c"}]}}),
    ];
    let message: Vec<u8> = parts.iter().flat_map(|part| declared.encode_protobuf(part)).collect();
    let mut tree = declared.decode_protobuf(&message).unwrap();
    declared.normalise(&mut tree);
    assert_eq!(tree["metadata"], json!({"name": "b", "labels": {"a": "1", "b": "2"}}));
    assert_eq!(tree["spec"]["containers"], json!([{"name": "c", "resources": {}}]));
}

/// Of the message of a pod.
fn refused(bytes: &[u8], expect: &str) {
    let declared = built_in(&json!({"apiVersion": "v1", "kind": "Pod"}));
    let got = declared.decode_protobuf(bytes).map_or_else(|error| error.to_string(), |tree| tree.to_string());
    assert_eq!(got, expect, "{bytes:?}");
}

#[test]
fn malformed_messages() {
    refused(b"", "{}");
    refused(&[0x0A, 5], "unexpected EOF");
    refused(&[0x0A], "unexpected EOF");
    refused(&[0x08, 1], "proto: wrong wireType = 0 for field ObjectMeta");
    refused(&[0x0C], "proto: Pod: wiretype end group for non-group");
    refused(&[0x00], "proto: Pod: illegal tag 0 (wire type 0)");
    refused(&[0x9E, 6], "proto: illegal wireType 6");
    refused(&[0xFF; 12], "proto: integer overflow");
    refused(
        &[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
        "proto: negative length found during unmarshaling",
    );
    // Fields that pods do not have: each form once, and groups within groups.
    refused(&[0x98, 6, 1, 0x99, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0x9A, 6, 1, 9, 0x9D, 6, 1, 2, 3, 4], "{}");
    refused(&[0x9B, 6, 0x08, 1, 0x13, 0x14, 0x9C, 6], "{}");
    refused(&[0x9B, 6, 0x08, 1], "unexpected EOF");
    // A map's entry: an end of a group, and a value that is longer than the entry.
    refused(&[0x0A, 3, 0x5A, 1, 0x1C], "proto: unexpected end of group");
    refused(
        &[0x0A, 8, 0x5A, 2, 0x12, 4, 0x0A, 2, 0x61, 0x62],
        r#"{"metadata":{"labels":{"":"\n\u0002ab"},"name":"ab"}}"#,
    );
}

#[test]
fn envelopes() {
    let check = |bytes: &[u8], expect: &str| {
        let got = Envelope::open(bytes).map_or_else(
            |error| error.to_string(),
            |envelope| format!("{} {} {:?}", envelope.api_version, envelope.kind, envelope.message),
        );
        assert_eq!(got, expect);
    };
    check(b"", "empty data");
    check(b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    check(PREFIX, "empty body");
    let sealed = Envelope { api_version: "apps/v1".into(), kind: "Deployment".into(), message: &[1, 2] }.seal();
    check(&sealed, "apps/v1 Deployment [1, 2]");
    check(&sealed[..sealed.len() - 1], "unexpected EOF");
}

/// What is written without facts is what the facts write.
#[test]
fn parts_are_as_the_facts_say() {
    let sealed = |tree: Value| {
        let declared = built_in(&tree);
        let message = declared.encode_protobuf(&tree);
        let text = |field: &str| tree[field].as_str().unwrap_or_default().to_string();
        Envelope { api_version: text("apiVersion"), kind: text("kind"), message: &message }.seal()
    };
    for tree in [
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": "m", "reason": "NotFound",
            "details": {"name": "n", "group": "g", "kind": "k", "uid": "u", "retryAfterSeconds": 7, "causes": [
                {"reason": "r", "message": "m", "field": "f"}, {}]}, "code": 404}),
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {"continue": "token"}, "status": "Success", "details": {}}),
        json!({"apiVersion": "v1", "kind": "Status"}),
    ] {
        assert_eq!(status(&tree), sealed(tree.clone()), "{tree}");
    }
    for count in [0, 1, 300] {
        let items: Vec<Value> =
            (0..count).map(|number| json!({"metadata": {"name": "x".repeat(number)}, "data": {"a": "b"}})).collect();
        let (api_version, kind) = ("v1", "ConfigMapList");
        let mut metadata = json!({"resourceVersion": "7"});
        let mut list = List { api_version, kind, revision: "7", ..List::default() };
        if count == 300 {
            metadata = json!({"resourceVersion": "7", "continue": "t", "remainingItemCount": 300});
            (list.continue_token, list.remaining) = ("t", Some(300));
        }
        let declared = built_in(&json!({"apiVersion": "v1", "kind": "ConfigMap"}));
        let messages: Vec<Vec<u8>> = items.iter().map(|item| declared.encode_protobuf(item)).collect();
        let mut bytes = list.head(messages.iter().map(|message| List::item_bytes(message.len())).sum());
        for message in &messages {
            list.item_head(&mut bytes, message.len());
            bytes.extend_from_slice(message);
        }
        bytes.extend_from_slice(&list.end());
        let whole = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "items": items});
        assert_eq!(bytes, sealed(whole), "{count} items");
    }
    // By hand: the facts have no list of that version.
    let beta = List { api_version: "b", kind: "k", revision: "7", items_first: true, ..List::default() };
    let mut bytes = beta.head(List::item_bytes(1));
    beta.item_head(&mut bytes, 1);
    bytes.push(b'x');
    bytes.extend_from_slice(&beta.end());
    assert_eq!(bytes, b"k8s\0\x0a\x06\x0a\x01b\x12\x01k\x12\x0c\x0a\x01x\x12\x07\x0a\0\x12\x017\x1a\0\x1a\0\x22\0");
    let frame = watch_event("ADDED", b"k8s\0 any bytes");
    let declared = built_in(&json!({"apiVersion": "v1", "kind": "WatchEvent"}));
    let length = u32::from_be_bytes(*frame.first_chunk().unwrap()) as usize;
    assert_eq!(length, frame.len() - 4);
    let event = declared.decode_protobuf(&frame[4..]);
    assert!(event.is_err() || event.is_ok_and(|event| event["type"] == "ADDED"));
    assert!(frame.ends_with(b"\x12\x10\x0a\x0ek8s\0 any bytes"));
}

#[test]
fn depth_is_bounded() {
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "JSONSchemaProps"});
    let index =
        (0..BUILT_IN.type_count() as u32).find(|index| *BUILT_IN.get(*index).name == *crd["kind"].as_str().unwrap());
    let declared = BUILT_IN.type_ref(index.unwrap());
    let not = BUILT_IN.json_field(BUILT_IN.get(declared.index), "not").unwrap();
    let nested = |levels: usize| {
        let mut message = Vec::new();
        for _ in 1..levels {
            let inner = std::mem::take(&mut message);
            wire::bytes(&mut message, u32::from(not.tag), &inner);
        }
        declared.decode_protobuf(&message)
    };
    assert!(nested(DEPTH_MAX).is_ok());
    assert_eq!(nested(DEPTH_MAX + 1), Err(ProtobufError("exceeded max depth of 512".into())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Anything can be read or refused; what is read can be written and read again.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_usize..1000) {
        any_message(&bytes, kind);
    }

    /// Bytes of messages, one changed.
    #[test]
    fn damaged_messages(at in 0_usize..2000, byte in any::<u8>(), kind in 0_usize..1000) {
        let kinds: Vec<_> = BUILT_IN.kinds().collect();
        let declared = BUILT_IN.type_of(kinds[kind % kinds.len()]).unwrap();
        let mut full = json!({"metadata": {"name": "a", "labels": {"a": "b"}, "creationTimestamp": "2026-11-24T08:00:00Z"}});
        declared.normalise(&mut full);
        let mut message = declared.encode_protobuf(&full);
        if !message.is_empty() {
            let length = message.len();
            message[at % length] = byte;
        }
        any_message(&message, kind);
    }
}

fn any_message(bytes: &[u8], kind: usize) {
    // Either is an answer.
    let _ = Envelope::open(bytes);
    let kinds: Vec<_> = BUILT_IN.kinds().collect();
    let declared = BUILT_IN.type_of(kinds[kind % kinds.len()]).unwrap();
    let Ok(mut tree) = declared.decode_protobuf(bytes) else { return };
    if declared.check_types(&tree).is_err() {
        return;
    }
    declared.normalise(&mut tree);
    let mut again = declared.decode_protobuf(&declared.encode_protobuf(&tree)).expect("its own message");
    declared.normalise(&mut again);
    assert_eq!(again, tree);
}
