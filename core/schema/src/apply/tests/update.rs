//! Creates and updates.

use super::Session;

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
