//! Formats of single values that several kinds have: ports, percentages, ids, keys of maps, IP addresses. Each function says
//! what is wrong, as the reference words it; empty is fine.

use std::net::IpAddr;

use super::{DNS_SUBDOMAIN_BYTES_MAX, dns_subdomain, regex_error};

const PORT_NAME_BYTES_MAX: usize = 15;
const SUBDOMAIN_WITH_UNDERSCORE_FORMAT: &str = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
const PATH_FORMAT: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";

/// What is wrong with a number that must be within bounds.
pub fn in_range(number: i64, least: i64, most: i64) -> Vec<String> {
    if (least..=most).contains(&number) {
        return Vec::new();
    }
    vec![format!("must be between {least} and {most}, inclusive")]
}

/// What is wrong with the number of a port.
pub fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65535)
}

/// What is wrong with the id of a user or a group.
pub fn user_or_group_id(id: i64) -> Vec<String> {
    in_range(id, 0, i64::from(i32::MAX))
}

/// What is wrong with the name of a port (RFC 6335).
pub fn port_name(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let is_letter = |byte: u8| byte.is_ascii_lowercase();
    if name.len() > PORT_NAME_BYTES_MAX {
        errors.push(format!("must be no more than {PORT_NAME_BYTES_MAX} characters"));
    }
    if name.is_empty() || !name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit() || byte == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !name.bytes().any(is_letter) {
        errors.push("must contain at least one letter (a-z)".into());
    }
    if name.contains("--") {
        errors.push("must not contain consecutive hyphens".into());
    }
    if name.starts_with('-') || name.ends_with('-') {
        errors.push("must not begin or end with a hyphen".into());
    }
    errors
}

/// What is wrong with a percentage such as `25%`.
pub fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let message = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![regex_error(message, "[0-9]+%", &["1%", "93%"])]
}

/// What is wrong with the name of an HTTP header.
pub fn http_header_name(name: &str) -> Vec<String> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    let message = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![regex_error(message, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// What is wrong with the name of an environment variable: any printable ASCII will do.
pub fn environment_name(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push("environment variable name must be non-empty".into());
    }
    if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        let message =
            "a valid environment variable name must consist only of printable ASCII characters other than '='";
        errors.push(message.into());
    }
    errors
}

/// What is wrong with a key of a config map or secret.
pub fn config_map_key(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if key.len() > DNS_SUBDOMAIN_BYTES_MAX {
        errors.push(format!("must be no more than {DNS_SUBDOMAIN_BYTES_MAX} characters"));
    }
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        let message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        errors.push(regex_error(message, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match key {
        "." => errors.push("must not be '.'".into()),
        ".." => errors.push("must not be '..'".into()),
        _ if key.starts_with("..") => errors.push("must not start with '..'".into()),
        _ => {}
    }
    errors
}

/// What is wrong with a domain of a DNS search list, whose labels may start with and contain underscores.
pub fn dns_subdomain_with_underscore(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > DNS_SUBDOMAIN_BYTES_MAX {
        errors.push(format!("must be no more than {DNS_SUBDOMAIN_BYTES_MAX} characters"));
    }
    let is_end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let start = usize::from(bytes.first() == Some(&b'_'));
        bytes.get(start).is_some_and(is_end)
            && bytes.last().is_some_and(is_end)
            && bytes.iter().all(|byte| is_end(byte) || matches!(byte, b'-' | b'_'))
    };
    if !name.split('.').all(is_label) {
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_WITH_UNDERSCORE_FORMAT,
            &["example.com"],
        ));
    }
    errors
}

/// What is wrong with a domain and a path, such as `example.com/name`; each message comes with what it is about.
pub fn domain_prefixed_path(text: &str) -> Vec<(&str, String)> {
    let Some((host, path)) = text.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty()) else {
        return vec![(text, "must be a domain-prefixed path (such as \"acme.io/foo\")".into())];
    };
    let mut errors: Vec<(&str, String)> = dns_subdomain(host).into_iter().map(|message| (host, message)).collect();
    if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte)) {
        errors.push((path, regex_error("Invalid path", PATH_FORMAT, &[])));
    }
    errors
}

/// What is wrong with an IP address.
pub fn ip_address(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".into()]
        }
        Ok(_) => Vec::new(),
        Err(_) if without_leading_zeros(text).is_some() => vec!["must not have leading 0s".into()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
    }
}

/// What the reference warns about in the text of an IP address: the form that it would rather see.
pub fn ip_address_warning(path: &crate::path::Path<'_>, text: &str) -> Option<String> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => {
            let canonical = address.to_string();
            (canonical != text).then(|| {
                format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({canonical:?})")
            })
        }
        Ok(IpAddr::V4(_)) => None,
        Err(_) => without_leading_zeros(text)
            .map(|address| format!("{path}: non-standard IP address {text:?} is invalid: use \"{address}\"")),
    }
}

/// An IPv4 address that some readers take for octal numbers.
fn without_leading_zeros(text: &str) -> Option<IpAddr> {
    let parts: Vec<u8> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let octets: [u8; 4] = parts.try_into().ok()?;
    Some(IpAddr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_the_reference() {
        let check = |found: Vec<String>, expected: &[&str]| {
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{found}");
            }
        };
        check(port_number(0), &["must be between 1 and 65535, inclusive"]);
        check(port_name("http"), &[]);
        check(port_name("a--b-"), &["consecutive", "begin or end"]);
        check(port_name("80"), &["at least one letter"]);
        check(port_name("Longer-than-fifteen"), &["no more than 15", "only alpha-numeric"]);
        check(percent("25%"), &[]);
        check(percent("-1%"), &["(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"]);
        check(environment_name("any thing!"), &[]);
        check(environment_name("a=b"), &["printable ASCII characters other than '='"]);
        check(config_map_key("a/b"), &["alphanumeric characters, '-', '_' or '.'"]);
        check(config_map_key("..a"), &["must not start with '..'"]);
        check(dns_subdomain_with_underscore("_srv._tcp.x_y"), &[]);
        check(dns_subdomain_with_underscore("a..b"), &["RFC 1123"]);
        check(ip_address("10.0.0.1"), &[]);
        check(ip_address("010.0.0.1"), &["leading 0s"]);
        check(ip_address("::ffff:10.0.0.1"), &["IPv4-mapped"]);
        check(ip_address("x"), &["valid IP address"]);
        assert_eq!(
            domain_prefixed_path("a"),
            [("a", "must be a domain-prefixed path (such as \"acme.io/foo\")".into())]
        );
        assert_eq!(domain_prefixed_path("acme.io/foo"), []);
    }
}
