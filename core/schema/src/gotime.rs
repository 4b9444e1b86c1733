//! RFC 3339 times as Go's `time.Parse` reads them, with its errors, and as the API writes them.

use jiff::{SignedDuration, Timestamp, civil};
use triune_api::time::{format_micros, format_seconds};

/// One of the two layouts of API times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `metav1.Time`: written to the second, read with any fraction.
    Seconds,
    /// `metav1.MicroTime`: six digits of a second, always.
    Micros,
}

impl Layout {
    fn text(self) -> &'static str {
        match self {
            Layout::Seconds => "2006-01-02T15:04:05Z07:00",
            Layout::Micros => "2006-01-02T15:04:05.000000Z07:00",
        }
    }
}

/// The text as the API writes the same time; None if it is that already.
///
/// # Errors
/// Go's words: `parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"`.
pub(crate) fn canonical(text: &str, layout: Layout) -> Result<Option<String>, String> {
    if is_canonical(text.as_bytes(), layout) {
        return Ok(None);
    }
    let time = parse(text, layout)?;
    Ok(Some(match layout {
        Layout::Seconds => format_seconds(time),
        Layout::Micros => format_micros(time),
    }))
}

/// Whether the time is Go's zero time, which the API writes as null.
pub(crate) fn is_zero(text: &str) -> bool {
    text.starts_with("0001-01-01T00:00:00")
        && text.ends_with('Z')
        && text.bytes().skip(19).all(|byte| b".0Z".contains(&byte))
}

/// A quick look that settles nearly all times: every part two digits in a range that each month has.
fn is_canonical(bytes: &[u8], layout: Layout) -> bool {
    const PATTERN: &[u8] = b"9999-19-29T29:59:59";
    let end: &[u8] = if layout == Layout::Seconds { b"9Z" } else { b".999999Z" };
    let end = if layout == Layout::Seconds { &end[1..] } else { end };
    let like = |byte: u8, pattern: u8| {
        if pattern.is_ascii_digit() { byte.is_ascii_digit() && byte <= pattern } else { byte == pattern }
    };
    let two = |at: usize| (bytes[at] - b'0') * 10 + bytes[at + 1] - b'0';
    bytes.len() == PATTERN.len() + end.len()
        && bytes.iter().zip(PATTERN.iter().chain(end)).all(|(byte, pattern)| like(*byte, *pattern))
        && (1..=12).contains(&two(5))
        && (1..=28).contains(&two(8))
        && two(11) < 24
}

/// The time that a text means.
///
/// # Errors
/// As for [`canonical`].
pub(crate) fn parse(text: &str, layout: Layout) -> Result<Timestamp, String> {
    let mut scanner = Scanner { whole: text, rest: text, layout };
    let year = scanner.year()?;
    let month = scanner.skip("-")?.number("01", true, 1..=12, "month")?;
    let day = scanner.skip("-")?.number("02", true, 0..=99, "day")?;
    let hour = scanner.skip("T")?.number("15", false, 0..=23, "hour")?;
    let minute = scanner.skip(":")?.number("04", true, 0..=59, "minute")?;
    let second = scanner.skip(":")?.number("05", true, 0..=59, "second")?;
    let nanos = scanner.fraction()?;
    let offset_minutes = scanner.offset()?;
    if !scanner.rest.is_empty() {
        return Err(scanner.error_text(&format!(": extra text: {}", quote(scanner.rest))));
    }
    let date = i8::try_from(day).ok().and_then(|day| civil::Date::new(year, month as i8, day).ok());
    let Some(date) = date else { return Err(scanner.error_text(": day out of range")) };
    let civil = date.at(hour as i8, minute as i8, second as i8, nanos);
    let utc = jiff::tz::TimeZone::UTC.to_timestamp(civil);
    let shifted = utc.and_then(|time| time.checked_sub(SignedDuration::from_mins(offset_minutes)));
    shifted.map_err(|_| scanner.error_text(": year out of range"))
}

struct Scanner<'a> {
    whole: &'a str,
    rest: &'a str,
    layout: Layout,
}

impl<'a> Scanner<'a> {
    fn error_text(&self, message: &str) -> String {
        format!("parsing time {}{message}", quote(self.whole))
    }

    fn cannot(&self, element: &str) -> String {
        let (whole, rest) = (quote(self.whole), quote(self.rest));
        format!("parsing time {whole} as {}: cannot parse {rest} as {}", quote(self.layout.text()), quote(element))
    }

    fn year(&mut self) -> Result<i16, String> {
        let digits = self.rest.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let year = digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| self.cannot("2006"))?;
        self.rest = &self.rest[4..];
        Ok(year)
    }

    fn skip(&mut self, separator: &str) -> Result<&mut Scanner<'a>, String> {
        match self.rest.strip_prefix(separator) {
            Some(rest) => self.rest = rest,
            None => return Err(self.cannot(separator)),
        }
        Ok(self)
    }

    /// Two digits, or one where Go does not insist.
    fn number(
        &mut self,
        element: &str,
        fixed: bool,
        range: std::ops::RangeInclusive<u8>,
        name: &str,
    ) -> Result<u8, String> {
        let digit =
            |at: usize| self.rest.as_bytes().get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0');
        let (number, length) = match (digit(0), digit(1)) {
            (Some(tens), Some(ones)) => (tens * 10 + ones, 2),
            (Some(ones), None) if !fixed => (ones, 1),
            _ => return Err(self.cannot(element)),
        };
        self.rest = &self.rest[length..];
        if range.contains(&number) { Ok(number) } else { Err(self.error_text(&format!(": {name} out of range"))) }
    }

    fn fraction(&mut self) -> Result<i32, String> {
        let bytes = self.rest.as_bytes();
        let separated = bytes.first().is_some_and(|byte| matches!(byte, b'.' | b','));
        let digits = bytes.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        let digits = match self.layout {
            Layout::Seconds if !separated || digits == 0 => return Ok(0),
            Layout::Seconds => digits,
            Layout::Micros if !separated || digits < 6 => return Err(self.cannot(".000000")),
            Layout::Micros => 6,
        };
        let padded = bytes[1..=digits].iter().chain(std::iter::repeat(&b'0'));
        let nanos = padded.take(9).fold(0, |nanos, digit| nanos * 10 + i32::from(digit - b'0'));
        self.rest = &self.rest[1 + digits..];
        Ok(nanos)
    }

    fn offset(&mut self) -> Result<i64, String> {
        const ELEMENT: &str = "Z07:00";
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let bytes = self.rest.as_bytes();
        let shape = bytes.len() >= 6 && bytes[3] == b':' && self.rest.is_char_boundary(6);
        if !shape || !matches!(bytes[0], b'+' | b'-') || ![1, 2, 4, 5].iter().all(|at| bytes[*at].is_ascii_digit()) {
            return Err(self.cannot(ELEMENT));
        }
        let two = |at: usize| i64::from(bytes[at] - b'0') * 10 + i64::from(bytes[at + 1] - b'0');
        let (hours, minutes) = (two(1), two(4));
        for (number, most, name) in [(hours, 24, "hour"), (minutes, 60, "minute")] {
            if number > most {
                return Err(self.error_text(&format!(": time zone offset {name} out of range")));
            }
        }
        let sign = if bytes[0] == b'-' { -1 } else { 1 };
        self.rest = &self.rest[6..];
        Ok(sign * (hours * 60 + minutes))
    }
}

/// As Go's time package quotes: bytes that are not plain ASCII as `\x..`.
fn quote(text: &str) -> String {
    use std::fmt::Write;
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => {
                let mut buffer = [0; 4];
                for byte in character.encode_utf8(&mut buffer).bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(quoted, "\\x{byte:02x}");
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_canonical() {
        let check = |text: &str, layout: Layout, expected: &str| {
            let canonical = canonical(text, layout).map(|canonical| canonical.unwrap_or(text.into()));
            assert_eq!(canonical.unwrap_or_else(|error| error), expected, "{text}");
        };
        let seconds = Layout::Seconds;
        check("2026-11-24T08:00:00Z", seconds, "2026-11-24T08:00:00Z");
        check("2026-11-24T09:30:00.999+01:30", seconds, "2026-11-24T08:00:00Z");
        check("2026-11-30T23:59:59-00:01", seconds, "2026-12-01T00:00:59Z");
        check("2026-11-24T8:00:00,5Z", seconds, "2026-11-24T08:00:00Z");
        check("2026-11-24T08:00:00.123456Z", Layout::Micros, "2026-11-24T08:00:00.123456Z");
        check("2026-11-24T08:00:00.123456+01:00", Layout::Micros, "2026-11-24T07:00:00.123456Z");
        let as_seconds = r#"as "2006-01-02T15:04:05Z07:00": cannot parse"#;
        check("", seconds, &format!(r#"parsing time "" {as_seconds} "" as "2006""#));
        check("soon", seconds, &format!(r#"parsing time "soon" {as_seconds} "soon" as "2006""#));
        check("2026-11", seconds, &format!(r#"parsing time "2026-11" {as_seconds} "" as "-""#));
        check("2026-11-24", seconds, &format!(r#"parsing time "2026-11-24" {as_seconds} "" as "T""#));
        check(
            "2026-11-24t08:00:00Z",
            seconds,
            &format!(r#"parsing time "2026-11-24t08:00:00Z" {as_seconds} "t08:00:00Z" as "T""#),
        );
        check(
            "2026-11-24T08:00:00",
            seconds,
            &format!(r#"parsing time "2026-11-24T08:00:00" {as_seconds} "" as "Z07:00""#),
        );
        check("2026-13-24T08:00:00Z", seconds, r#"parsing time "2026-13-24T08:00:00Z": month out of range"#);
        check("2026-02-29T08:00:00Z", seconds, r#"parsing time "2026-02-29T08:00:00Z": day out of range"#);
        check("2026-02-28T08:00:00Zz", seconds, r#"parsing time "2026-02-28T08:00:00Zz": extra text: "z""#);
        check("é", seconds, &format!(r#"parsing time "\xc3\xa9" {as_seconds} "\xc3\xa9" as "2006""#));
        check(
            "2026-11-24T08:00:00Z",
            Layout::Micros,
            r#"parsing time "2026-11-24T08:00:00Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000""#,
        );
    }

    #[test]
    fn zero_times() {
        assert!(is_zero("0001-01-01T00:00:00Z") && is_zero("0001-01-01T00:00:00.000000Z"));
        assert!(!is_zero("0001-01-01T00:00:01Z") && !is_zero("2026-01-01T00:00:00Z"));
    }
}
