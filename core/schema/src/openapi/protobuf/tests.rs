//! Small documents, byte by byte; the reference's encoder judges whole ones in `core/kube/tests/openapi.rs`.

use serde_json::json;

use super::{encode_v2, encode_v3, yaml::to_yaml};

/// A message as text: `number{...}` for what can be read as a message, `number"text"`, `number=varint`.
fn shown(mut message: &[u8]) -> Option<String> {
    let mut words = Vec::new();
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        let number = key >> 3;
        match key & 7 {
            0 => words.push(format!("{number}={}", take_varint(&mut message)?)),
            1 => {
                let (float, rest) = message.split_at_checked(8)?;
                message = rest;
                words.push(format!("{number}={:?}", f64::from_le_bytes(float.try_into().ok()?)));
            }
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                let (inner, rest) = message.split_at_checked(length)?;
                message = rest;
                let text =
                    std::str::from_utf8(inner).ok().filter(|text| text.chars().all(|one| one >= ' ' || one == '\n'));
                words.push(match (text, shown(inner)) {
                    (Some(text), _) => format!("{number}{text:?}"),
                    (None, Some(inner)) => format!("{number}{{{inner}}}"),
                    (None, None) => format!("{number}{inner:?}"),
                });
            }
            _ => return None,
        }
    }
    Some(words.join(" "))
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if *first < 0x80 {
            return Some(value);
        }
    }
    None
}

#[test]
fn messages_of_v2() {
    let check = |document: serde_json::Value, expect: &str| {
        let message = encode_v2(document.to_string().as_bytes()).unwrap();
        assert_eq!(shown(&message).as_deref(), Some(expect), "{document}");
    };
    check(json!({"swagger": "2.0", "info": {"title": "T", "version": "1"}}), r#"1"2.0" 2{1"T" 2"1"}"#);
    check(json!({"swagger": "", "unknown": 1}), "");
    check(json!({"security": [{"B": []}]}), r#"12{1{1"B" 2""}}"#);
    let schema = json!({"type": "object", "additionalProperties": false, "maximum": 1.5, "minLength": 3, "x-a": {"b": ["c", ""]}});
    check(
        json!({"definitions": {"D": schema}}),
        r#"9{1{1"D" 2{7=1.5 12=3 21{2=0} 22{1"object"} 31{1"x-a" 2{2"b:\n    - c\n    - \"\"\n"}}}}}"#,
    );
    let query = json!({"in": "query", "name": "q", "type": "string", "uniqueItems": true});
    check(json!({"parameters": {"q": query}}), r#"10{1{1"q" 2{2{3{2"query" 4"q" 6"string" 20=1}}}}}"#);
    let get = json!({"parameters": [{"$ref": "#/parameters/q"}], "responses": {"200": {"description": "OK", "schema": {"type": "string"}}, "x-y": 1}});
    check(
        json!({"paths": {"/a": {"get": get}}}),
        r##"8{2{1"/a" 2{2{8{2{1"#/parameters/q"}} 9{1{1"200" 2{1{1"OK" 2{1{22{1"string"}}}}}} 2{1"x-y" 2{2"1\n"}}}}}}}"##,
    );
}

#[test]
fn messages_of_v3() {
    let check = |schema: serde_json::Value, expect: &str| {
        let document = json!({"components": {"schemas": {"S": schema}}});
        let message = encode_v3(document.to_string().as_bytes()).unwrap();
        assert_eq!(shown(&message), Some(format!(r#"5{{1{{1{{1"S" 2{{{expect}}}}}}}}}"#)), "{document}");
    };
    check(json!({"type": "string", "format": "byte"}), r#"1{25"string" 35"byte"}"#);
    check(json!({"$ref": "#/a"}), r##"2{1"#/a"}"##);
    check(json!({"default": 0}), "1{33{1=0.0}}");
    check(json!({"default": ""}), r#"1{33{3""}}"#);
    check(json!({"default": false}), "1{33{2=0}}");
    check(json!({"default": {}}), r#"1{33""}"#);
    check(json!({"items": {"$ref": "#/a"}}), r##"1{30{1{2{1"#/a"}}}}"##);
}

#[test]
fn any_values_are_yaml() {
    let check = |value: serde_json::Value, expect: &str| assert_eq!(to_yaml(&value), expect);
    check(json!("atomic"), "atomic\n");
    check(json!("true"), "\"true\"\n");
    check(json!("1.5"), "\"1.5\"\n");
    check(json!("a: b's"), "'a: b''s'\n");
    check(json!("a\nb"), "\"a\\nb\"\n");
    check(json!([]), "[]\n");
    check(json!({"group": "", "kind": "Pod"}), "group: \"\"\nkind: Pod\n");
    check(json!([{"a": 1, "b": [1, 2]}, {"c": {}}]), "- a: 1\n  b:\n    - 1\n    - 2\n- c: {}\n");
}

#[test]
fn what_is_no_document_is_an_error() {
    for bytes in ["", "[]", "{", "1"] {
        assert!(encode_v2(bytes.as_bytes()).is_err() && encode_v3(bytes.as_bytes()).is_err(), "{bytes}");
    }
}
