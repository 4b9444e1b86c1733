//! What a YAML scalar means: the rules of YAML 1.1 as the reference's library applies them. `yes` is true, `0644` is
//! 420, `1_000` is 1000, a date is text.

use crate::Value;

/// What a plain scalar means.
pub(super) fn resolve(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" => return Err("json: unsupported value: NaN".into()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Err("json: unsupported value: +Inf".into()),
        "-.inf" | "-.Inf" | "-.INF" => return Err("json: unsupported value: -Inf".into()),
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Ok(Value::String(text.into()));
    }
    let plain = text.replace('_', "");
    let number = integer(&plain).or_else(|| float(&plain));
    Ok(number.unwrap_or_else(|| Value::String(text.into())))
}

/// As Go reads integers with base 0: `0x`, `0o`, `0b`, and octal after a zero.
fn integer(text: &str) -> Option<Value> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative { 0i64.checked_sub_unsigned(magnitude).map(Value::from) } else { Some(Value::from(magnitude)) }
}

/// A decimal number with a point or an exponent (or an integer that is too large). Whole ones become integers, as they
/// do on their way through the reference.
fn float(text: &str) -> Option<Value> {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, "0"), |(left, right)| (left, right));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let shaped = digits(whole) && digits(fraction) && digits(exponent) && !exponent.is_empty();
    if !shaped || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    // Every float below 2^63 that is whole is an i64.
    if number.fract() == 0.0 && number.abs() < 9.2e18 {
        return Some(Value::from(number as i64));
    }
    serde_json::Number::from_f64(number).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars() {
        let check = |text: &str, expect: Value| assert_eq!(resolve(text).unwrap(), expect, "{text}");
        check("", json!(null));
        check("~", json!(null));
        check("yes", json!(true));
        check("Off", json!(false));
        check("nope", json!("nope"));
        check("1", json!(1));
        check("+1", json!(1));
        check("-1", json!(-1));
        check("0644", json!(420));
        check("0o644", json!(420));
        check("0x1F", json!(31));
        check("-0b11", json!(-3));
        check("08", json!(8));
        check("1_000", json!(1000));
        check("18446744073709551615", json!(u64::MAX));
        check("-9223372036854775808", json!(i64::MIN));
        check("1.5", json!(1.5));
        check(".5", json!(0.5));
        check("1.0", json!(1));
        check("1e3", json!(1000));
        check("1e30", json!(1e30));
        check("1e400", json!("1e400"));
        check("2026-11-24", json!("2026-11-24"));
        check("1.2.3", json!("1.2.3"));
        check("100m", json!("100m"));
        check("--1", json!("--1"));
        check("0x", json!("0x"));
        check("0+1", json!("0+1"));
        check("-", json!("-"));
        check(".", json!("."));
        check("1e", json!("1e"));
        assert_eq!(resolve("-.inf"), Err("json: unsupported value: -Inf".into()));
    }
}
