//! Times as the API prints them: RFC 3339 in UTC, to the second (`Time`) or the microsecond (`MicroTime`); ages as
//! tables show them (apimachinery `pkg/util/duration`). Nothing here reads a clock.

use std::time::SystemTime;

use jiff::{Timestamp, tz::TimeZone};

/// `2026-11-24T08:00:00Z`, from wall time.
pub fn rfc3339(time: SystemTime) -> String {
    format_seconds(from_system(time))
}

/// `2026-11-24T08:00:00.123456Z`, from wall time.
pub fn rfc3339_micros(time: SystemTime) -> String {
    format_micros(from_system(time))
}

/// A point in wall time. What lies outside the years that RFC 3339 can print becomes the nearest that it can.
pub fn from_system(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(if time < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX })
}

/// `2026-11-24T08:00:00Z`; fractions of a second are cut.
pub fn format_seconds(time: Timestamp) -> String {
    let civil = TimeZone::UTC.to_datetime(time);
    let (year, month, day) = (civil.year(), civil.month(), civil.day());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", civil.hour(), civil.minute(), civil.second())
}

/// `2026-11-24T08:00:00.123456Z`; what is finer than a microsecond is cut.
pub fn format_micros(time: Timestamp) -> String {
    let mut text = format_seconds(time);
    text.pop();
    let micros = TimeZone::UTC.to_datetime(time).subsec_nanosecond() / 1000;
    format!("{text}.{micros:06}Z")
}

/// Reads RFC 3339 with any offset and any fraction: `2026-11-24T08:00:00Z`, `2026-11-24T09:00:00.5+01:00`.
pub fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    // What jiff takes beyond RFC 3339 (spaces, lower case, no seconds, time zone names) is refused.
    let shape = bytes.len() >= 20 && bytes[10] == b'T' && bytes[4] == b'-' && bytes[13] == b':' && bytes[16] == b':';
    let plain = bytes.iter().all(|byte| byte.is_ascii_digit() || b"-:.TZ+".contains(byte));
    if shape && plain { text.parse().ok() } else { None }
}

/// The time between, in whole seconds, towards zero.
pub fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}

/// An age with two to three significant figures: `5s`, `3m20s`, `2d4h`, `3y12d`.
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let pair = |large: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{small_unit}") }
    };
    match seconds {
        // Clocks of two machines may differ by a second or so.
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        _ if minutes < 60 * 3 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 24 * 8 => pair(days, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{days}d"),
        _ if hours < 24 * 365 * 8 => pair(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

/// The AGE cell of a table: [`human_duration`] since a time as the API prints it; `<unknown>` without one.
pub fn age(time: Option<&str>, now: Timestamp) -> String {
    time.and_then(parse).map_or_else(|| "<unknown>".into(), |time| human_duration(seconds_between(time, now)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn prints_and_reads() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_795_507_200, 123_456_789);
        assert_eq!(rfc3339(time), "2026-11-24T08:00:00Z");
        assert_eq!(rfc3339_micros(time), "2026-11-24T08:00:00.123456Z");
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(parse(text).map(format_micros).as_deref(), expect, "{text}");
        };
        check("2026-11-24T08:00:00Z", Some("2026-11-24T08:00:00.000000Z"));
        check("2026-11-24T09:00:00.5+01:00", Some("2026-11-24T08:00:00.500000Z"));
        check("0001-01-01T00:00:00Z", Some("0001-01-01T00:00:00.000000Z"));
        for bad in
            ["", "2026-11-24", "2026-11-24T08:00:00", "2026-13-24T08:00:00Z", "2026-11-24t08:00:00z", "x", "２０"]
        {
            check(bad, None);
        }
        for odd in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 38)] {
            assert!(rfc3339(odd).ends_with('Z'));
        }
    }

    #[test]
    fn ages() {
        let (minute, hour, day, year) = (60, 3600, 86_400, 86_400 * 365);
        let check = |seconds: i64, expect: &str| assert_eq!(human_duration(seconds), expect, "{seconds}");
        check(-2, "<invalid>");
        check(-1, "0s");
        check(0, "0s");
        check(119, "119s");
        check(2 * minute, "2m");
        check(3 * minute + 20, "3m20s");
        check(10 * minute + 1, "10m");
        check(179 * minute, "179m");
        check(3 * hour, "3h");
        check(3 * hour + 5 * minute, "3h5m");
        check(8 * hour + 5 * minute, "8h");
        check(47 * hour, "47h");
        check(48 * hour, "2d");
        check(52 * hour, "2d4h");
        check(8 * day, "8d");
        check(729 * day, "729d");
        check(2 * year, "2y");
        check(3 * year + 12 * day, "3y12d");
        check(8 * year + 12 * day, "8y");
        assert_eq!(age(None, Timestamp::UNIX_EPOCH), "<unknown>");
        assert_eq!(age(Some("1970-01-01T00:00:00Z"), Timestamp::UNIX_EPOCH), "0s");
    }
}
