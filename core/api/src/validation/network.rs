//! Addresses and ranges, as the reference reads them (apimachinery `pkg/util/validation/ip.go`). It reads leniently, as old
//! Go did (leading zeros), and then refuses or warns about what is not in the usual form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address; octets may have leading zeros. An IPv4 address in IPv6 form is an IPv4 address.
pub fn parse_ip_leniently(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(unmapped(address));
    }
    let (prefix, dotted) = match text.rfind(':') {
        Some(colon) => text.split_at(colon + 1),
        None => ("", text),
    };
    let octets = dotted.split('.').map(|octet| {
        let plain = !octet.is_empty() && octet.len() <= 20 && octet.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| octet.parse::<u8>().ok()).flatten()
    });
    let octets: [u8; 4] = octets.collect::<Option<Vec<u8>>>()?.try_into().ok()?;
    let plain = Ipv4Addr::from(octets);
    if prefix.is_empty() {
        return Some(IpAddr::V4(plain));
    }
    format!("{prefix}{plain}").parse::<Ipv6Addr>().ok().map(|address| unmapped(IpAddr::V6(address)))
}

fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn is_mapped(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok_and(|address| address.to_ipv4_mapped().is_some())
}

/// What is wrong with an address in a field that predates strict checks; empty is fine.
pub fn legacy_ip(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if parse_ip_leniently(text).is_none() {
        errors.push("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into());
    } else {
        if text.parse::<IpAddr>().is_err() {
            errors.push("must not have leading 0s".into());
        }
        if is_mapped(text) {
            errors.push("must not be an IPv4-mapped IPv6 address".into());
        }
    }
    errors
}

/// What is wrong with an address, which must be in canonical form; empty is fine.
pub fn ip(text: &str) -> Vec<String> {
    let mut errors = legacy_ip(text);
    if let Some(address) = parse_ip_leniently(text).filter(|_| errors.is_empty()) {
        let canonical = address.to_string();
        if canonical != text {
            errors.push(format!("must be in canonical form ({canonical:?})"));
        }
    }
    errors
}

/// What is unusual about an address that [`legacy_ip`] accepts or once accepted.
pub fn ip_warning(path: &str, text: &str) -> Option<String> {
    let lenient = parse_ip_leniently(text)?;
    match text.parse::<IpAddr>() {
        Ok(_) if is_mapped(text) => {}
        Ok(address @ IpAddr::V6(_)) if address.to_string() != text => {
            return Some(format!(
                "{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{address}\")"
            ));
        }
        Ok(_) => return None,
        Err(_) => {}
    }
    Some(format!("{path}: non-standard IP address {text:?} is invalid: use \"{lenient}\""))
}

/// A range: its address as given, and how many bits are fixed. Of an IPv4 range in IPv6 form, those of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address before the slash.
    pub address: IpAddr,
    /// Bits that all addresses of the range share.
    pub bits: u32,
}

impl Cidr {
    /// As lenient as [`parse_ip_leniently`], also in the number of bits.
    pub fn parse_leniently(text: &str) -> Option<Cidr> {
        let (address, bits) = text.split_once('/')?;
        let mapped = address.contains(':');
        let address = parse_ip_leniently(address)?;
        if bits.is_empty() || bits.len() > 20 || !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let bits: u32 = bits.parse().ok()?;
        match address {
            IpAddr::V4(_) if mapped => (bits <= 128).then(|| Cidr { address, bits: bits.saturating_sub(96) }),
            IpAddr::V4(_) => (bits <= 32).then_some(Cidr { address, bits }),
            IpAddr::V6(_) => (bits <= 128).then_some(Cidr { address, bits }),
        }
    }

    /// The first address.
    pub fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or_default();
                IpAddr::V4(Ipv4Addr::from(u32::from(address) & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or_default();
                IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
            }
        }
    }

    /// Whether an address or the first address of a range is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same_family = self.address.is_ipv4() == address.is_ipv4();
        same_family && Cidr { address, bits: self.bits }.network() == self.network()
    }

    /// `10.0.0.0/8`
    pub fn canonical(&self) -> String {
        format!("{}/{}", self.network(), self.bits)
    }
}

/// Whether Go's strict parser takes a range: no leading zeros anywhere.
fn is_strict_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    address.parse::<IpAddr>().is_ok() && (bits == "0" || !bits.starts_with('0'))
}

/// What is wrong with a range in a field that predates strict checks; empty is fine.
pub fn legacy_cidr(text: &str) -> Vec<String> {
    let Some(range) = Cidr::parse_leniently(text) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".into()];
    };
    let address = text.split('/').next().unwrap_or_default();
    if !is_strict_cidr(text) {
        vec!["must not have leading 0s in IP or prefix length".into()]
    } else if is_mapped(address) {
        vec!["must not have an IPv4-mapped IPv6 address".into()]
    } else if range.network() != range.address {
        vec!["must not have bits set beyond the prefix length".into()]
    } else {
        Vec::new()
    }
}

/// What is wrong with a range, which must be in canonical form; empty is fine.
pub fn cidr(text: &str) -> Vec<String> {
    let mut errors = legacy_cidr(text);
    if let Some(range) = Cidr::parse_leniently(text).filter(|_| errors.is_empty())
        && range.canonical() != text
    {
        errors.push(format!("must be in canonical form ({:?})", range.canonical()));
    }
    errors
}

/// What is unusual about a range that [`legacy_cidr`] accepts or once accepted.
pub fn cidr_warnings(path: &str, text: &str) -> Vec<String> {
    let Some(range) = Cidr::parse_leniently(text) else { return Vec::new() };
    let (mut warnings, canonical) = (Vec::new(), range.canonical());
    if range.network() != range.address {
        let bits = if range.address.is_ipv4() { 32 } else { 128 };
        let single = format!("{}/{bits}", range.address);
        warnings.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be {canonical:?} or {single:?}?)"
        ));
    }
    let address = text.split('/').next().unwrap_or_default();
    if !is_strict_cidr(text) || is_mapped(address) {
        warnings.push(format!("{path}: non-standard CIDR value {text:?} is invalid: use {canonical:?}"));
    }
    let strict = format!("{}/{}", range.address, range.bits);
    if warnings.is_empty() && range.address.is_ipv6() && strict != text {
        warnings.push(format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({strict:?})"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, legacy: &[&str], strict: &[&str]| {
            assert_eq!((legacy_ip(text), ip(text)), (owned(legacy), owned(strict)), "{text}");
        };
        const INVALID: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        const ZEROS: &str = "must not have leading 0s";
        const MAPPED: &str = "must not be an IPv4-mapped IPv6 address";
        check("10.0.0.1", &[], &[]);
        check("::1", &[], &[]);
        check("FE80:0::0abc", &[], &[r#"must be in canonical form ("fe80::abc")"#]);
        check("010.0.0.1", &[ZEROS], &[ZEROS]);
        check("::ffff:1.2.3.4", &[MAPPED], &[MAPPED]);
        for text in ["", "1.2.3", "1.2.3.256", "1.2.3.4.5", "a", "1.2.3.4/5", "::g", "1..2.3"] {
            check(text, &[INVALID], &[INVALID]);
        }
    }

    #[test]
    fn ranges() {
        let check = |text: &str, legacy: &[&str], strict: &[&str]| {
            assert_eq!((legacy_cidr(text), cidr(text)), (owned(legacy), owned(strict)), "{text}");
        };
        const INVALID: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        const BITS: &str = "must not have bits set beyond the prefix length";
        const ZEROS: &str = "must not have leading 0s in IP or prefix length";
        check("10.0.0.0/8", &[], &[]);
        check("0.0.0.0/0", &[], &[]);
        check("::/0", &[], &[]);
        check("2001:DB8::/64", &[], &[r#"must be in canonical form ("2001:db8::/64")"#]);
        check("10.0.0.1/8", &[BITS], &[BITS]);
        check("010.0.0.0/8", &[ZEROS], &[ZEROS]);
        check("10.0.0.0/08", &[ZEROS], &[ZEROS]);
        for text in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/x"] {
            check(text, &[INVALID], &[INVALID]);
        }
    }

    #[test]
    fn unusual_forms_are_told() {
        let ip = |text: &str, expected: Option<&str>| assert_eq!(ip_warning("p", text).as_deref(), expected);
        ip("10.0.0.1", None);
        ip("010.0.0.1", Some(r#"p: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1""#));
        ip("1:0::1", Some(r#"p: IPv6 address "1:0::1" should be in RFC 5952 canonical format ("1::1")"#));
        let cidr = |text: &str, expected: &[&str]| assert_eq!(cidr_warnings("p", text), owned(expected));
        cidr("10.0.0.0/8", &[]);
        cidr(
            "10.0.0.1/8",
            &[r#"p: CIDR value "10.0.0.1/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.1/32"?)"#],
        );
        cidr("1:0::/64", &[r#"p: IPv6 CIDR value "1:0::/64" should be in RFC 5952 canonical format ("1::/64")"#]);
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }
}
