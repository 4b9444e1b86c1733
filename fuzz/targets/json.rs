//! JSON bodies: what is read is written and read the same; serde_json alone reads the same; bounds hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use triune_api::decode::{DEPTH_MAX, STRICT_ERRORS_MAX, json_strict};
use triune_fuzz::{bytes, depth};

/// Below the depth where serde_json gives up on its own.
const SHALLOW: usize = 100;

fuzz_target!(|data: &[u8]| {
    let outcome = json_strict(data);
    assert_eq!(json_strict(data), outcome, "not deterministic");
    let plain: Option<Value> = serde_json::from_slice(data).ok();
    let Ok(decoded) = outcome else {
        assert!(plain.is_none_or(|value| depth(&value) > SHALLOW), "refused, but it is JSON");
        return;
    };
    assert!(depth(&decoded.value) <= DEPTH_MAX);
    assert!(decoded.strict_errors.len() <= STRICT_ERRORS_MAX);
    // The longest that a byte becomes: `1e15` is written with all its zeros, and a bad byte has three.
    assert!(bytes(&decoded.value) <= 6 * data.len());
    if let Some(plain) = plain {
        assert_eq!(decoded.value, plain);
    }
    let again = json_strict(decoded.value.to_string().as_bytes()).expect("what was written is JSON");
    assert_eq!(again.value, decoded.value);
    assert!(again.strict_errors.is_empty(), "{:?}", again.strict_errors);
});
