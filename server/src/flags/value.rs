//! How flag values are read, by type. Errors say what would be accepted.

use std::{net::IpAddr, time::Duration};

use super::Kind;

/// Checks `text` against `kind`.
pub fn check(kind: Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Bool => boolean(text).map(drop),
        Kind::Int => integer(text).map(drop),
        Kind::Float => text.parse::<f64>().map(drop).map_err(|_| "expected a number, such as 0.5".into()),
        Kind::Duration => duration(text).map(drop),
        Kind::Ip => ip(text).map(drop),
        Kind::Map => pairs(text).map(drop),
        Kind::Features => features(text),
        Kind::PortRange => port_range(text).map(drop),
        Kind::Quantity => quantity(text),
        Kind::NamedCertificate => named_certificate(text).map(drop),
        Kind::Switch | Kind::Text | Kind::Texts | Kind::TextArray => Ok(()),
    }
}

/// The forms that Go's `strconv.ParseBool` takes.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

/// A whole number.
pub fn integer(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "expected a whole number, such as 100".into())
}

/// Texts separated by commas; empty ones are left out.
pub fn texts(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// An IP address; an empty text is the unspecified one.
pub fn ip(text: &str) -> Result<IpAddr, String> {
    if text.is_empty() {
        return Ok(IpAddr::from([0, 0, 0, 0]));
    }
    text.parse().map_err(|_| "expected an IP address, such as 127.0.0.1 or ::1".into())
}

/// Durations as Go writes them: `300ms`, `1m30s`, `1.5h`, `0`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration of zero or more, such as 300ms, 5s or 1m30s".to_owned();
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(expected());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(expected)?;
        let number: f64 = rest[..digits].parse().map_err(|_| expected())?;
        rest = &rest[digits..];
        let unit_length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..unit_length] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(expected()),
        };
        rest = &rest[unit_length..];
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| expected())?;
        total = total.checked_add(part).ok_or_else(expected)?;
    }
    Ok(total)
}

/// `key=value` pairs; a key alone has an empty value.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |part: String| {
        let (key, value) = part.split_once('=').unwrap_or((&part, ""));
        if key.trim().is_empty() {
            return Err("expected KEY=VALUE pairs, separated by commas".to_owned());
        }
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    texts(text).into_iter().map(pair).collect()
}

/// `Feature=true` pairs, each perhaps with `component:` before it.
fn features(text: &str) -> Result<(), String> {
    for part in texts(text) {
        let gate = part.rsplit_once(':').map_or(part.as_str(), |(_, gate)| gate);
        let value = gate.split_once('=').filter(|(name, _)| !name.is_empty()).map(|(_, value)| value);
        if value.is_none_or(|value| boolean(value).is_err()) {
            return Err("expected Feature=true or Feature=false, separated by commas".into());
        }
    }
    Ok(())
}

/// `A-B` (both included), `A+N` or one port.
pub fn port_range(text: &str) -> Result<(u16, u16), String> {
    let expected = || "expected a range of ports, such as 30000-32767".to_owned();
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| expected());
    let (first, last) = if let Some((first, last)) = text.split_once('-') {
        (port(first)?, port(last)?)
    } else if let Some((first, more)) = text.split_once('+') {
        (port(first)?, port(first)?.checked_add(port(more)?).ok_or_else(expected)?)
    } else {
        (port(text)?, port(text)?)
    };
    if first > last {
        return Err(expected());
    }
    Ok((first, last))
}

fn quantity(text: &str) -> Result<(), String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffixes = ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if digits.parse::<f64>().is_ok() && suffixes.contains(&&text[digits.len()..]) {
        return Ok(());
    }
    Err("expected a quantity, such as 64Ki".into())
}

/// A certificate, its key, and the names it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCertificate {
    /// PEM file of the chain.
    pub certificate: String,
    /// PEM file of the key.
    pub key: String,
    /// Names; none means those in the certificate.
    pub names: Vec<String>,
}

/// `CERT,KEY` or `CERT,KEY:NAME,...`.
pub fn named_certificate(text: &str) -> Result<NamedCertificate, String> {
    let (files, names) = text.split_once(':').unwrap_or((text, ""));
    match files.split_once(',') {
        Some((certificate, key)) if !certificate.is_empty() && !key.is_empty() => {
            Ok(NamedCertificate { certificate: certificate.into(), key: key.into(), names: texts(names) })
        }
        _ => Err("expected CERTIFICATE_FILE,KEY_FILE or CERTIFICATE_FILE,KEY_FILE:NAME,...".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let check = |text: &str, milliseconds: Option<u128>| {
            assert_eq!(duration(text).ok().map(|found| found.as_millis()), milliseconds, "{text}");
        };
        check("0", Some(0));
        check("0s", Some(0));
        check("300ms", Some(300));
        check("1m30s", Some(90_000));
        check("1.5h", Some(5_400_000));
        check("1h0m0s", Some(3_600_000));
        check("5", None);
        check("", None);
        check("-1s", None);
        check("1d", None);
        check("s", None);
        check("99999999999999999999h", None);
    }

    #[test]
    fn values_are_checked_by_kind() {
        let table: &[(Kind, &str, bool)] = &[
            (Kind::Bool, "true", true),
            (Kind::Bool, "yes", false),
            (Kind::Int, "-1", true),
            (Kind::Int, "1.5", false),
            (Kind::Float, "0.02", true),
            (Kind::Float, "x", false),
            (Kind::Ip, "::1", true),
            (Kind::Ip, "localhost", false),
            (Kind::Map, "api/all=true,apps/v1", true),
            (Kind::Map, "=true", false),
            (Kind::Features, "A=true,kube:B=false", true),
            (Kind::Features, "A", false),
            (Kind::Features, "A=maybe", false),
            (Kind::PortRange, "30000-32767", true),
            (Kind::PortRange, "30000+100", true),
            (Kind::PortRange, "8000-7000", false),
            (Kind::PortRange, "1-70000", false),
            (Kind::Quantity, "64Ki", true),
            (Kind::Quantity, "Ki", false),
            (Kind::NamedCertificate, "a.crt,a.key:example.org,*.example.org", true),
            (Kind::NamedCertificate, "a.crt", false),
        ];
        for (kind, text, fine) in table {
            assert_eq!(check(*kind, text).is_ok(), *fine, "{kind:?} {text:?}");
        }
    }
}
