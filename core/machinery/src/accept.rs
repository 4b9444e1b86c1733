//! Content negotiation: the `Accept` header, parsed and ordered as the reference does it (apiserver
//! `pkg/endpoints/handlers/negotiation`), and the wish for indented output.
//!
//! Invariant: without an `Accept` header the first offer is taken; a header that matches no offer gives None.

use http::HeaderMap;

/// A media type that answers come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

impl MediaType {
    /// As in `Content-Type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            MediaType::Json => "application/json",
            MediaType::Yaml => "application/yaml",
            MediaType::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    fn subtype(self) -> &'static str {
        match self {
            MediaType::Json => "json",
            MediaType::Yaml => "yaml",
            MediaType::Protobuf => "vnd.kubernetes.protobuf",
        }
    }
}

/// One clause of an `Accept` header.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause<'a> {
    /// Such as `application` or `*`.
    pub kind: &'a str,
    /// Such as `json` or `*`.
    pub subtype: &'a str,
    quality: f32,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    /// A parameter such as `as`; the last one of its name counts.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// Whether the client asks for another type of object: any of `as`, `g`, `v`.
    pub fn converts(&self) -> bool {
        self.parameters.iter().any(|(key, _)| matches!(*key, "as" | "g" | "v"))
    }

    fn matches(&self, offer: MediaType) -> bool {
        match (self.kind, self.subtype) {
            ("*" | "application", "*") => true,
            ("application", subtype) => subtype == offer.subtype(),
            _ => false,
        }
    }
}

/// The `Accept` header of a request; "" if there is none or it is not text. Only the first line counts, as in Go.
pub fn accept_header(headers: &HeaderMap) -> &str {
    headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// Parses an `Accept` header; best clause first: quality, then the named before `*`, then as written.
/// Malformed clauses are left out.
pub fn parse_accept(header: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = header.split(',').filter_map(parse_clause).collect();
    clauses.sort_by(|a, b| {
        let stars = |clause: &Clause<'_>| (clause.kind == "*", clause.subtype == "*");
        b.quality.total_cmp(&a.quality).then(stars(a).cmp(&stars(b)))
    });
    clauses
}

fn parse_clause(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.trim_matches(' ').split(';');
    let range = parts.next()?;
    let (kind, subtype) = match range.split_once('/') {
        Some((kind, subtype)) if !subtype.is_empty() && !subtype.contains('/') => (kind.trim_matches(' '), subtype),
        None if range.trim_matches(' ') == "*" => ("*", "*"),
        _ => return None,
    };
    let mut clause = Clause { kind, subtype: subtype.trim_matches(' '), quality: 1.0, parameters: Vec::new() };
    for parameter in parts {
        let Some((key, value)) = parameter.split_once('=') else { continue };
        if value.is_empty() || value.contains('=') {
            continue;
        }
        match key.trim_matches(' ') {
            "q" => clause.quality = value.parse().unwrap_or(0.0),
            key => clause.parameters.push((key, value.trim_matches(' '))),
        }
    }
    Some(clause)
}

/// The best clause and offer that go together and that `allows` agrees to. Without a header the first offer and no clause.
pub fn negotiate<'a>(
    header: &'a str,
    offers: &[MediaType],
    allows: impl Fn(&Clause<'a>, MediaType) -> bool,
) -> Option<(MediaType, Option<Clause<'a>>)> {
    if header.is_empty() {
        return offers.first().map(|offer| (*offer, None));
    }
    for clause in parse_accept(header) {
        let offer = offers.iter().find(|offer| clause.matches(**offer) && allows(&clause, **offer));
        if let Some(offer) = offer {
            return Some((*offer, Some(clause)));
        }
    }
    None
}

/// Whether JSON is indented: parameter `pretty`, else what the user agent suggests (browsers, curl, wget).
pub fn wants_pretty(headers: &HeaderMap, query: &str) -> bool {
    if query.contains("pretty") {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        if let Some((_, value)) = pairs.find(|(key, _)| key == "pretty")
            && !value.is_empty()
        {
            return matches!(&*value, "1" | "t" | "T" | "true" | "TRUE" | "True");
        }
    }
    let agent = headers.get(http::header::USER_AGENT).map_or(&[][..], http::HeaderValue::as_bytes);
    [&b"curl"[..], b"Wget", b"Mozilla/5.0"].iter().any(|prefix| agent.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expect: &str) {
        let offers = [MediaType::Json, MediaType::Yaml];
        let found = negotiate(header, &offers, |clause, _| clause.parameter("as") != Some("Unknown"));
        let text = found.map(|(media, clause)| {
            let kind = clause.and_then(|clause| clause.parameter("as"));
            format!("{}{}", media.as_str(), kind.map(|kind| format!(" as {kind}")).unwrap_or_default())
        });
        assert_eq!(text.as_deref().unwrap_or("none"), expect, "{header}");
    }

    #[test]
    fn the_best_offer_is_taken() {
        check("", "application/json");
        check("*/*", "application/json");
        check("*", "application/json");
        check("application/*", "application/json");
        check("application/yaml", "application/yaml");
        check("application/vnd.kubernetes.protobuf, application/json", "application/json");
        check("application/json;q=0.5, application/yaml", "application/yaml");
        check("*/*, application/yaml", "application/yaml");
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/json as Table");
        check("application/json;as=Unknown, application/yaml", "application/yaml");
        check("text/html", "none");
        check("application", "none");
        check("application/json/x", "none");
        check(",,;;=,q", "none");
    }
}
