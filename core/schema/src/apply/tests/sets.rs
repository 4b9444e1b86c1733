//! Sets: their algebra and their form in JSON.

use serde_json::{Value, json};

use super::paths;
use crate::apply::{PathElement, Scalar, Set};

fn parse(fields: &Value) -> Set<'_> {
    Set::parse(fields).unwrap()
}

#[test]
fn fields_are_read_and_written() {
    let check = |fields: Value, wanted: &[&str]| {
        let set = parse(&fields);
        assert_eq!(paths(&set), wanted);
        assert_eq!(set.to_value(), fields);
        assert_eq!(Set::parse_exact(&fields).unwrap(), (set, true));
    };
    check(json!({}), &[]);
    check(json!({"f:a": {}}), &[".a"]);
    check(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {"f:d": {}}}), &[".a", ".a.b", ".c.d"]);
    check(
        json!({"f:spec": {"f:ports": {".": {}, r#"k:{"port":80,"protocol":"TCP"}"#: {".": {}, "f:port": {}}}}}),
        &[".spec.ports", r#".spec.ports[port=80,protocol="TCP"]"#, r#".spec.ports[port=80,protocol="TCP"].port"#],
    );
    check(json!({"v:1": {}, "v:true": {}, r#"v:"a\"b""#: {}, "i:3": {}}), &["[=1]", r#"[="a\"b"]"#, "[=true]", "[3]"]);
    check(json!({r#"k:{"a":1.5,"b":-2}"#: {}}), &["[a=1.5,b=-2]"]);
    check(json!({r#"k:{"name":"\u003cx\u003e"}"#: {}}), &[r#"[name="<x>"]"#]);
    check(json!({"f:": {}}), &["."]);
    check(json!({"f:a/b.c:d": {}}), &[".a/b.c:d"]);
}

#[test]
fn other_spellings_are_read() {
    let check = |fields: Value, wanted: &[&str], written: Value| {
        let (set, exact) = Set::parse_exact(&fields).unwrap();
        assert_eq!(paths(&set), wanted);
        assert_eq!(set.to_value(), written);
        assert!(!exact, "{fields}");
    };
    check(Value::Null, &[], json!({}));
    check(json!({"f:a": null}), &[".a"], json!({"f:a": {}}));
    check(json!({"f:a": {".": {}}}), &[".a"], json!({"f:a": {}}));
    check(json!({"f:a": {".": 5, "f:b": {}}}), &[".a", ".a.b"], json!({"f:a": {".": {}, "f:b": {}}}));
    check(json!({"f:a": {"x:b": {}}}), &[".a"], json!({"f:a": {}}));
    check(json!({"x:b": {}, "f:a": {}}), &[".a"], json!({"f:a": {}}));
    check(json!({r#"k:{ "name" : "a" }"#: {}}), &[r#"[name="a"]"#], json!({r#"k:{"name":"a"}"#: {}}));
    check(json!({r#"k:{"b":1,"a":2}"#: {}}), &["[a=2,b=1]"], json!({r#"k:{"a":2,"b":1}"#: {}}));
    check(json!({"v:1": {}, "v:1.0": {"f:a": {}}}), &["[=1]", "[=1].a"], json!({"v:1": {".": {}, "f:a": {}}}));
}

#[test]
fn malformed_fields_are_refused() {
    for fields in [
        json!([]),
        json!("a"),
        json!({"f:a": 5}),
        json!({"f": {}}),
        json!({"fa": {}}),
        json!({"v:x y": {}}),
        json!({"k:[]": {}}),
        json!({"i:x": {}}),
        json!({r#"k:{"a":1} "#: []}),
    ] {
        assert!(Set::parse(&fields).is_err(), "{fields}");
    }
}

#[test]
fn algebra() {
    let a = json!({"f:a": {".": {}, "f:b": {}, "f:c": {"f:d": {}}}, "f:e": {}});
    let b = json!({"f:a": {"f:b": {}, "f:c": {}}, "f:f": {}});
    let check = |set: Set<'_>, wanted: &[&str]| assert_eq!(paths(&set), wanted);
    check(parse(&a).union(parse(&b)), &[".a", ".e", ".f", ".a.b", ".a.c", ".a.c.d"]);
    check(parse(&a).intersection(&parse(&b)), &[".a.b"]);
    check(parse(&a).difference(&parse(&b)), &[".a", ".e", ".a.c.d"]);
    check(parse(&a).recursive_difference(&parse(&b)), &[".a", ".e"]);
    check(parse(&b).difference(&parse(&a)), &[".f", ".a.c"]);
    check(parse(&b).recursive_difference(&parse(&a)), &[".f"]);
    check(parse(&a).leaves(), &[".e", ".a.b", ".a.c.d"]);
    assert!(parse(&a).intersects(&parse(&b)));
    let e = json!({"f:a": {"f:c": {}}, "f:x": {}});
    assert!(!parse(&a).intersects(&parse(&e)));
    assert_eq!(parse(&a).len(), 4);
    let name = |name: &'static str| PathElement::Field(name.into());
    assert!(parse(&a).has(&[name("a"), name("c"), name("d")]));
    assert!(!parse(&a).has(&[name("a"), name("c")]));
    assert!(!parse(&a).has(&[]));
}

#[test]
fn steps_are_sorted_by_kind_then_value() {
    let text = |text: &'static str| Scalar::Text(text.into());
    let key = |fields: &[(&'static str, Scalar<'static>)]| {
        PathElement::Key(fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
    };
    let sorted = [
        PathElement::Field("a".into()),
        PathElement::Field("b".into()),
        key(&[("a", Scalar::Integer(9))]),
        key(&[("a", Scalar::Integer(10))]),
        key(&[("a", Scalar::Integer(10)), ("b", text("x"))]),
        key(&[("a", text("1"))]),
        key(&[("b", Scalar::Integer(1))]),
        PathElement::Value(Scalar::Float(0.5)),
        PathElement::Value(Scalar::Integer(1)),
        PathElement::Value(text("a")),
        PathElement::Value(Scalar::Bool(false)),
        PathElement::Value(Scalar::Bool(true)),
        PathElement::Value(Scalar::Null),
        PathElement::Index(2),
        PathElement::Index(10),
    ];
    assert!(sorted.is_sorted_by(|left, right| left < right), "{sorted:?}");
    assert_eq!(Scalar::Float(2.0), Scalar::Integer(2));
}
