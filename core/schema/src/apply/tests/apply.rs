//! Applies.

use super::Session;

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
