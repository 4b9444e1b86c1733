//! YAML bodies: what is read is written as JSON and read the same, as JSON and as YAML; bounds hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use triune_api::decode::{DEPTH_MAX, json_strict, yaml_strict};
use triune_fuzz::{any_node, depth};

/// JSON that takes the way of YAML instead of the short one.
fn as_yaml(json: &str) -> String {
    format!("--- {json}\n")
}

/// YAML reads whole floats as integers: only other numbers are the same in both.
fn has_floats(value: &Value) -> bool {
    any_node(value, &Value::is_f64)
}

/// Whether YAML may have all characters of a JSON text.
fn are_allowed(text: &str) -> bool {
    !text.contains(|sign| matches!(sign, '\u{7F}'..='\u{84}' | '\u{86}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}'))
}

/// YAML's keys have at most 1024 characters, as written, unless a `?` comes before them.
fn has_long_keys(value: &Value) -> bool {
    let written = |key: &String| Value::from(key.as_str()).to_string().chars().count();
    any_node(value, &|node| node.as_object().is_some_and(|map| map.keys().any(|key| written(key) > 1000)))
}

fuzz_target!(|data: &[u8]| {
    let outcome = yaml_strict(data);
    assert_eq!(yaml_strict(data), outcome, "not deterministic");
    let json = json_strict(data).ok();
    // JSON objects are read as JSON, whatever YAML would make of them; duplicate keys are told in the words of YAML.
    if let Some(json) = &json
        && are_allowed(&String::from_utf8_lossy(data))
        && str::from_utf8(data).is_ok()
        && json.strict_errors.is_empty()
        && json.value.is_object()
    {
        assert_eq!(outcome.as_ref(), Ok(json));
    }
    if let Ok(decoded) = &outcome {
        assert!(depth(&decoded.value) <= DEPTH_MAX);
    }
    for value in outcome.into_iter().chain(json).map(|decoded| decoded.value) {
        let text = value.to_string();
        assert_eq!(json_strict(text.as_bytes()).map(|decoded| decoded.value).as_ref(), Ok(&value));
        let again = yaml_strict(as_yaml(&text).as_bytes());
        if !has_long_keys(&value) {
            assert_eq!(again.is_ok(), are_allowed(&text), "{again:?} of {text}");
        }
        if !has_floats(&value)
            && let Ok(again) = again
        {
            assert_eq!(again.value, value);
            assert!(again.strict_errors.is_empty(), "{:?}", again.strict_errors);
        }
    }
});
