//! Content negotiation: the `Accept` header, parsed and ordered as the reference does it (apiserver
//! `pkg/endpoints/handlers/negotiation`), and the wish for indented output.
//!
//! Invariant: without an `Accept` header the first offer is taken; a header that matches no offer gives None.

use http::HeaderMap;
use triune_api::status::Status;

/// A media type that answers come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaType {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

impl MediaType {
    /// All of them in the order in which errors list them; the first is the default.
    pub const ALL: [MediaType; 3] = [MediaType::Json, MediaType::Yaml, MediaType::Protobuf];

    /// As in `Content-Type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            MediaType::Json => "application/json",
            MediaType::Yaml => "application/yaml",
            MediaType::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// As the `Content-Type` of a watch; None if it has no streams.
    pub const fn stream(self) -> Option<&'static str> {
        match self {
            MediaType::Json => Some("application/json;stream=watch"),
            MediaType::Yaml => None,
            MediaType::Protobuf => Some("application/vnd.kubernetes.protobuf;stream=watch"),
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

    /// Whether the parameters that are not about the type of object can be met: the stream `watch` where there are
    /// streams, and `server_version` as `sv` where there is one.
    pub fn has_known_parameters(&self, offer: MediaType, server_version: Option<&str>) -> bool {
        let given = |name: &str| self.parameter(name).filter(|value| !value.is_empty());
        let stream = given("stream").is_none_or(|stream| stream == "watch" && offer.stream().is_some());
        stream && given("sv").is_none_or(|version| Some(version) == server_version)
    }

    fn matches(&self, offer: MediaType) -> bool {
        match (self.kind, self.subtype) {
            ("*" | "application", "*") => true,
            ("application", subtype) => subtype == offer.subtype(),
            _ => false,
        }
    }
}

/// What an answer that is no object of a resource comes in: discovery, and every `Status`.
pub fn negotiate_plain(header: &str) -> Option<MediaType> {
    let allows = |clause: &Clause<'_>, offer| !clause.converts() && clause.has_known_parameters(offer, None);
    negotiate(header, &MediaType::ALL, allows).map(|(media, _)| media)
}

/// 406 that lists what there is.
pub fn not_acceptable() -> Status {
    Status::not_acceptable(&listed(MediaType::ALL.map(MediaType::as_str)))
}

/// 406 of a watch.
pub fn not_acceptable_stream() -> Status {
    Status::not_acceptable(&listed(MediaType::ALL.into_iter().filter_map(MediaType::stream)))
}

/// The router's own look at the header, which comes before negotiation: names a media type that the path has, or
/// anything; parameters and quality do not count. 406 in the router's words otherwise. `streams`: the path has watches.
pub fn check_routed(header: &str, produced: &[&str], streams: bool) -> Result<(), Status> {
    let named = |clause: &str| clause.split(';').next().unwrap_or_default().trim_matches(' ').to_owned();
    if header.is_empty()
        || header.split(',').map(named).any(|name| name == "*/*" || produced.iter().any(|produced| name == *produced))
    {
        return Ok(());
    }
    let mut all = produced.to_vec();
    for stream in MediaType::ALL.into_iter().filter_map(MediaType::stream).filter(|_| streams) {
        all.push(stream);
    }
    let message = format!("406: Not Acceptable\n\nAvailable representations: {}", all.join(", "));
    let mut status = Status::new(406, "NotAcceptable", message);
    status.details = Some(Box::default());
    Err(status)
}

/// The media types of most paths, as [`check_routed`] takes them.
pub const PRODUCED: [&str; 3] = [MediaType::Json.as_str(), MediaType::Yaml.as_str(), MediaType::Protobuf.as_str()];

fn listed(names: impl IntoIterator<Item = &'static str>) -> String {
    names.into_iter().collect::<Vec<&str>>().join(", ")
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

    #[test]
    fn plain_answers() {
        let check = |header: &str, expect: Option<MediaType>| assert_eq!(negotiate_plain(header), expect, "{header}");
        check("", Some(MediaType::Json));
        check("*/*", Some(MediaType::Json));
        check("application/vnd.kubernetes.protobuf", Some(MediaType::Protobuf));
        check("application/vnd.kubernetes.protobuf;stream=watch,application/json", Some(MediaType::Protobuf));
        check("application/yaml;stream=watch,application/json", Some(MediaType::Json));
        check("application/json;sv=v1,application/yaml", Some(MediaType::Yaml));
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/yaml", Some(MediaType::Yaml));
        check("application/json;as=Table;v=v1;g=meta.k8s.io", None);
        check("text/html", None);
    }

    #[test]
    fn the_router_wants_a_name() {
        let check = |header: &str, streams: bool, expect: &str| {
            let answer = check_routed(header, &PRODUCED, streams).map_err(|status| status.message);
            assert_eq!(answer.err().unwrap_or_default(), expect, "{header}");
        };
        for good in ["", "*/*", " */*;q=0.1", "text/html, application/yaml;q=0", "application/json;as=Table;g=x"] {
            check(good, false, "");
        }
        let refused = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                       application/vnd.kubernetes.protobuf";
        for bad in ["*", "application/*", "text/html", "application", ","] {
            check(bad, false, refused);
        }
        let streams = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        check("text/html", true, &format!("{refused}, {streams}"));
    }
}
