//! .

/// What is wrong with a DNS subdomain name (RFC 1123), as the reference words it; empty is fine.
pub fn dns_subdomain(_name: &str) -> Vec<String> {
    Vec::new()
}
