//! Durations as Go writes them, such as `1h15m30.5s`: the `timeout` parameter (Go's `time.ParseDuration`).

/// Parses a duration into nanoseconds; it may be negative. The error is Go's text.
pub fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let scale = nanoseconds(unit).ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        total = whole.checked_mul(scale).and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
        // Digits past the 18th change nothing that a nanosecond shows.
        let digits = &fraction[..fraction.len().min(18)];
        if !digits.is_empty() {
            let parts: i128 = digits.parse().map_err(|_| invalid())?;
            total += parts * scale / 10_i128.pow(u32::try_from(digits.len()).unwrap_or(0));
        }
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

fn nanoseconds(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(text: &str, expect: Result<i64, &str>) {
        assert_eq!(parse(text), expect.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn durations() {
        check("0", Ok(0));
        check("5s", Ok(5_000_000_000));
        check("1h15m30.5s", Ok(4_530_500_000_000));
        check("-1.5h", Ok(-5_400_000_000_000));
        check("+300ms", Ok(300_000_000));
        check("1µs.5ns", Ok(1000));
        check(".5s", Ok(500_000_000));
        check("5", Err("time: missing unit in duration \"5\""));
        check("5d", Err("time: unknown unit \"d\" in duration \"5d\""));
        check("", Err("time: invalid duration \"\""));
        check("-", Err("time: invalid duration \"-\""));
        check("s", Err("time: invalid duration \"s\""));
        check("1.2.3s", Err("time: invalid duration \"1.2.3s\""));
        check("99999999999999999999h", Err("time: invalid duration \"99999999999999999999h\""));
        check("9999999h", Err("time: invalid duration \"9999999h\""));
    }
}
