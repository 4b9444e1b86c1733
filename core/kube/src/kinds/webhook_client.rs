//! Where a webhook is reached: a URL or a service (apiserver `pkg/util/webhook`). Admission and conversion share it.

use serde_json::json;
use triune_api::{Value, field::FieldError, validation::dns_subdomain};

use crate::tree;

/// Checks the service of a webhook; `namespace` and `name` are what is checked as such.
pub fn webhook_service(service: &Value, namespace: &str, name: &str, path: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(&format!("{path}.name"), ""));
    }
    if namespace.is_empty() {
        errors.push(FieldError::required(&format!("{path}.namespace"), ""));
    }
    let port = tree::integer_or_zero(service, "/port");
    if !(1..=65535).contains(&port) {
        let message = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(&format!("{path}.port"), &json!(port), message));
    }
    service_path(tree::text(service, "/path"), &format!("{path}.path"), errors);
}

fn service_path(path: &str, field: &str, errors: &mut Vec<FieldError>) {
    let mut refuse = |message: String| errors.push(FieldError::invalid(field, &json!(path), message));
    if path.is_empty() || path == "/" {
        return;
    }
    if path == "//" {
        return refuse("segment[0] may not be empty".into());
    }
    if !path.starts_with('/') {
        refuse("must start with a '/'".into());
    }
    // The first byte is dropped whatever it is, as the reference does it.
    let Some(rest) = path.char_indices().nth(1).map(|(index, _)| &path[index..]) else { return };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    for (index, segment) in rest.split('/').enumerate() {
        if segment.is_empty() {
            refuse(format!("segment[{index}] may not be empty"));
            continue;
        }
        for message in dns_subdomain(segment) {
            refuse(format!("segment[{index}]: {message}"));
        }
    }
}

/// Checks the URL of a webhook.
pub fn webhook_url(text: &str, field: &str, errors: &mut Vec<FieldError>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(why) => {
            let message = format!("url must be a valid URL: parse {text:?}: {why}{FORM}");
            errors.push(FieldError::required(field, message));
            return;
        }
    };
    let mut refuse = |value: &str, message: String| errors.push(FieldError::invalid(field, &json!(value), message));
    if url.scheme != "https" {
        refuse(&url.scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if url.host.is_empty() {
        refuse(url.host, format!("host must be specified{FORM}"));
    }
    if let Some(user) = url.user {
        refuse(user, "user information is not permitted in the URL".into());
    }
    if !url.fragment.is_empty() {
        refuse(url.fragment, "fragments are not permitted in the URL".into());
    }
    if !url.query.is_empty() {
        refuse(url.query, "query parameters are not permitted in the URL".into());
    }
}

/// The parts of a URL, taken apart as Go's `net/url` does it.
struct Url<'a> {
    scheme: String,
    user: Option<&'a str>,
    host: &'a str,
    query: &'a str,
    fragment: &'a str,
}

impl Url<'_> {
    fn parse(text: &str) -> Result<Url<'_>, String> {
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".into());
        }
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut url = Url { scheme: scheme.to_lowercase(), user: None, host: "", query, fragment };
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                return Ok(url);
            }
            if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
                return Err("first path segment in URL cannot contain colon".into());
            }
        }
        if let Some(authority) = rest.strip_prefix("//").filter(|_| !url.scheme.is_empty() || !rest.starts_with("///"))
        {
            let authority = authority.split('/').next().unwrap_or_default();
            (url.user, url.host) = match authority.rsplit_once('@') {
                Some((user, host)) => (Some(user), host),
                None => (None, authority),
            };
            check_port(url.host)?;
            check_escapes(url.host)?;
        }
        check_escapes(rest)?;
        check_escapes(fragment)?;
        Ok(url)
    }
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return Err("missing protocol scheme".into()),
            b':' => return Ok((&text[..index], &text[index + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_port(host: &str) -> Result<(), String> {
    let end = if host.starts_with('[') { host.rfind(']').map_or(0, |index| index + 1) } else { 0 };
    if host.starts_with('[') && end == 0 {
        return Err("missing ']' in host".into());
    }
    let port = if end > 0 { &host[end..] } else { host.rfind(':').map_or("", |index| &host[index..]) };
    let valid = port.is_empty() || (port.starts_with(':') && port[1..].bytes().all(|byte| byte.is_ascii_digit()));
    if valid { Ok(()) } else { Err(format!("invalid port {port:?} after host")) }
}

fn check_escapes(text: &str) -> Result<(), String> {
    for (index, _) in text.match_indices('%') {
        let escape: String = text[index..].chars().take(3).collect();
        let valid = escape.len() == 3 && escape[1..].bytes().all(|byte| byte.is_ascii_hexdigit());
        if !valid {
            return Err(format!("invalid URL escape {escape:?}"));
        }
    }
    Ok(())
}
