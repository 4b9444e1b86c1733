//! The URL grammar: what a request addresses, from its method, path and query (apiserver
//! `pkg/endpoints/request/requestinfo.go`).
//!
//! The path is percent-decoded once and as a whole, before it is split: an encoded slash separates like a plain one, as in
//! the reference. Segments such as `..` are not resolved; they stay names, which no object can have. Invariant: a resource
//! request has a version and a resource.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use triune_api::{
    selector::{FieldSelector, LabelSelector},
    validation::path_segment_name,
};

use crate::context::RequestInfo;

/// Why a URL cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// A broken percent escape, or bytes that are no UTF-8: 400.
    #[error("malformed path")]
    Malformed,
    /// `/api/v1/watch` without anything behind it: the reference answers 500 with this text.
    #[error("failed to create RequestInfo: unable to determine kind and namespace from url, {0}")]
    NoKind(String),
}

/// Parses a request's URL. `path` and `query` are as sent.
pub fn request_info(method: &Method, path: &str, query: &str) -> Result<RequestInfo, UrlError> {
    let path = decode(path)?.into_owned();
    let mut info = RequestInfo { path, verb: plain_verb(method), ..RequestInfo::default() };
    let segments: Vec<&str> = match info.path.trim_matches('/') {
        "" => Vec::new(),
        trimmed => trimmed.split('/').collect(),
    };
    let (prefix, group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("api", "", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => ("apis", *group, *version, rest),
        ["apis", ..] if segments.len() == 3 => {
            // `/apis/<group>/<version>`: no resource, but the prefix has been understood.
            info.api_prefix = "apis".into();
            return Ok(info);
        }
        _ => return Ok(info),
    };
    let target = Target::parse(method, rest).ok_or_else(|| UrlError::NoKind(info.path.clone()))?;
    let (verb, name) = target.refine(query);
    let parsed = RequestInfo {
        is_resource_request: true,
        path: String::new(),
        verb: verb.into(),
        api_prefix: prefix.into(),
        api_group: group.into(),
        api_version: version.into(),
        namespace: target.namespace.into(),
        resource: target.parts[0].into(),
        subresource: target.subresource().into(),
        name: name.into_owned(),
        parts: target.parts.iter().map(|part| (*part).to_owned()).collect(),
    };
    Ok(RequestInfo { path: info.path, ..parsed })
}

/// Whether a request may last: watches, proxies, and the subresources that stream. It has no deadline and no place among
/// the requests in flight.
pub fn is_long_running(info: &RequestInfo) -> bool {
    if info.is_resource_request {
        matches!(info.verb.as_str(), "watch" | "proxy")
            || matches!(info.subresource.as_str(), "attach" | "exec" | "proxy" | "log" | "portforward")
    } else {
        info.path.starts_with("/debug/pprof/")
    }
}

/// Whether a request changes nothing: what the two limits of requests in flight tell apart.
pub fn is_read_only(info: &RequestInfo) -> bool {
    matches!(info.verb.as_str(), "get" | "list" | "watch")
}

/// The verb of a plain path: the method in lower case.
fn plain_verb(method: &Method) -> String {
    method.as_str().to_ascii_lowercase()
}

fn decode(path: &str) -> Result<Cow<'_, str>, UrlError> {
    let bytes = path.as_bytes();
    let escapes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    for (index, _) in escapes {
        let digits = bytes.get(index + 1..index + 3).ok_or(UrlError::Malformed)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(UrlError::Malformed);
        }
    }
    percent_decode_str(path).decode_utf8().map_err(|_| UrlError::Malformed)
}

/// What stands behind the version in a path.
struct Target<'a> {
    verb: &'static str,
    namespace: &'a str,
    /// From the resource on; never empty.
    parts: &'a [&'a str],
}

impl<'a> Target<'a> {
    fn parse(method: &Method, rest: &'a [&'a str]) -> Option<Target<'a>> {
        let (verb, rest) = match rest {
            ["watch" | "proxy"] => return None,
            ["watch", rest @ ..] => ("watch", rest),
            ["proxy", rest @ ..] => ("proxy", rest),
            rest => (method_verb(method), rest),
        };
        let (namespace, parts) = match rest {
            ["namespaces", namespace, "status" | "finalize", ..] | ["namespaces", namespace] => (*namespace, rest),
            ["namespaces", namespace, parts @ ..] => (*namespace, parts),
            parts => ("", parts),
        };
        Some(Target { verb, namespace, parts })
    }

    fn subresource(&self) -> &'a str {
        // The old proxy paths have no subresources: all that follows is the path behind the proxy.
        if self.verb == "proxy" { "" } else { self.parts.get(2).copied().unwrap_or("") }
    }

    /// The verb and name, once it is known whether there is a name: get becomes list or watch, delete deletecollection.
    fn refine(&self, query: &str) -> (&'static str, Cow<'a, str>) {
        let name = self.parts.get(1).copied().unwrap_or("");
        match self.verb {
            "get" if name.is_empty() => {
                let verb = if asks_for_watch(query) { "watch" } else { "list" };
                (verb, selected_name(query).map_or(Cow::Borrowed(""), Cow::Owned))
            }
            "delete" if name.is_empty() => ("deletecollection", Cow::Borrowed("")),
            verb => (verb, Cow::Borrowed(name)),
        }
    }
}

fn method_verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// `watch` is true for everything but "0" and "false", even for the empty text.
fn asks_for_watch(query: &str) -> bool {
    query.contains("watch")
        && parameter(query, "watch").is_some_and(|value| !(value == "0" || value.eq_ignore_ascii_case("false")))
}

/// The name that `metadata.name=x` selects, if the options of the list can be read at all.
fn selected_name(query: &str) -> Option<String> {
    if !query.contains("fieldSelector") {
        return None;
    }
    let selector = FieldSelector::parse(&parameter(query, "fieldSelector")?).ok()?;
    let name = selector.exact("metadata.name")?;
    let readable = parameter(query, "labelSelector").is_none_or(|text| LabelSelector::parse(&text).is_ok())
        && ["limit", "timeoutSeconds"]
            .iter()
            .all(|key| parameter(query, key).is_none_or(|text| text.is_empty() || text.parse::<i64>().is_ok()));
    (readable && path_segment_name(name).is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `verb prefix/group/version ns=namespace resource/subresource name [parts]`, or `plain verb path`.
    fn check(request: &str, expect: &str) {
        let (method, url) = request.split_once(' ').unwrap_or(("GET", request));
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let found = match request_info(&method, path, query) {
            Err(error) => error.to_string(),
            Ok(info) if !info.is_resource_request => format!("plain {} {}", info.verb, info.path),
            Ok(info) => format!(
                "{} {}/{}/{} ns={} {}/{} {} [{}]",
                info.verb,
                info.api_prefix,
                info.api_group,
                info.api_version,
                info.namespace,
                info.resource,
                info.subresource,
                info.name,
                info.parts.join(" ")
            ),
        };
        assert_eq!(found, expect, "{request}");
    }

    #[test]
    fn resource_paths() {
        check("/api/v1/namespaces", "list api//v1 ns= namespaces/  [namespaces]");
        check("/api/v1/namespaces/other", "get api//v1 ns=other namespaces/ other [namespaces other]");
        check("/api/v1/namespaces/other/pods", "list api//v1 ns=other pods/  [pods]");
        check("/api/v1/namespaces/other/pods/", "list api//v1 ns=other pods/  [pods]");
        check("/api/v1/namespaces/other/pods/foo", "get api//v1 ns=other pods/ foo [pods foo]");
        check("HEAD /api/v1/namespaces/other/pods/foo", "get api//v1 ns=other pods/ foo [pods foo]");
        check("HEAD /api/v1/pods", "list api//v1 ns= pods/  [pods]");
        check("/apis/apps/v1/deployments/x/scale", "get apis/apps/v1 ns= deployments/scale x [deployments x scale]");
        check("OPTIONS /api/v1/pods", " api//v1 ns= pods/  [pods]");
    }

    #[test]
    fn verbs() {
        check("POST /api/v1/namespaces/a/pods", "create api//v1 ns=a pods/  [pods]");
        check("PUT /apis/g/v1beta3/namespaces/a/x/n", "update apis/g/v1beta3 ns=a x/ n [x n]");
        check("PATCH /api/v1/namespaces/a/pods/n", "patch api//v1 ns=a pods/ n [pods n]");
        check("DELETE /api/v1/namespaces/a/pods/n", "delete api//v1 ns=a pods/ n [pods n]");
        check("DELETE /api/v1/nodes", "deletecollection api//v1 ns= nodes/  [nodes]");
        check("DELETE /api/v1/namespaces", "deletecollection api//v1 ns= namespaces/  [namespaces]");
        check("DELETE /apis/g/v1/namespaces/a/x", "deletecollection apis/g/v1 ns=a x/  [x]");
    }

    #[test]
    fn subresources() {
        check("/api/v1/namespaces/a/pods/n/status", "get api//v1 ns=a pods/status n [pods n status]");
        check("/api/v1/namespaces/a/pods/n/proxy/sub", "get api//v1 ns=a pods/proxy n [pods n proxy sub]");
        check("PUT /api/v1/namespaces/a/finalize", "update api//v1 ns=a namespaces/finalize a [namespaces a finalize]");
        check("PUT /api/v1/namespaces/a/status", "update api//v1 ns=a namespaces/status a [namespaces a status]");
    }

    #[test]
    fn verbs_in_the_path() {
        check("/api/v1/watch/pods", "watch api//v1 ns= pods/  [pods]");
        check("/api/v1/watch/namespaces/a/pods", "watch api//v1 ns=a pods/  [pods]");
        check("/api/v1/watch/namespaces/a/pods/n", "watch api//v1 ns=a pods/ n [pods n]");
        check("/api/v1/proxy/namespaces/a/pods/n", "proxy api//v1 ns=a pods/ n [pods n]");
        check("/api/v1/proxy/namespaces/a/pods/n/x/y", "proxy api//v1 ns=a pods/ n [pods n x y]");
        let text = "failed to create RequestInfo: unable to determine kind and namespace from url, /api/v1/watch";
        check("/api/v1/watch", text);
    }

    #[test]
    fn watches_and_selected_names() {
        check("/api/v1/pods?watch=true", "watch api//v1 ns= pods/  [pods]");
        check("/api/v1/pods?watch=", "watch api//v1 ns= pods/  [pods]");
        check("/api/v1/pods?watch=False", "list api//v1 ns= pods/  [pods]");
        check("/api/v1/pods?watch=0&watch=1", "list api//v1 ns= pods/  [pods]");
        check("/api/v1/pods/n?watch=1", "get api//v1 ns= pods/ n [pods n]");
        check("/api/v1/pods?fieldSelector=metadata.name%3Dn", "list api//v1 ns= pods/ n [pods]");
        check("/api/v1/pods?watch=1&fieldSelector=metadata.name==n,a=b", "watch api//v1 ns= pods/ n [pods]");
        check("/api/v1/pods?fieldSelector=metadata.name!=n", "list api//v1 ns= pods/  [pods]");
        check("/api/v1/pods?fieldSelector=metadata.name=n,foo", "list api//v1 ns= pods/  [pods]");
        check("/api/v1/pods?fieldSelector=metadata.name=..", "list api//v1 ns= pods/  [pods]");
        check("/api/v1/pods?fieldSelector=metadata.name=n&limit=x", "list api//v1 ns= pods/  [pods]");
        check("/api/v1/pods?fieldSelector=metadata.name=n&labelSelector=!!", "list api//v1 ns= pods/  [pods]");
        check("DELETE /api/v1/pods?fieldSelector=metadata.name=n", "deletecollection api//v1 ns= pods/  [pods]");
    }

    #[test]
    fn plain_paths() {
        for path in
            ["/", "/api", "/api/v1", "/api/v1/", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/other/v1/x"]
        {
            check(path, &format!("plain get {path}"));
        }
        check("", "plain get ");
        check("POST /version", "plain post /version");
    }

    #[test]
    fn escapes_and_traversal() {
        check("/api/v1/namespaces/a%2Fpods/n", "get api//v1 ns=a pods/ n [pods n]");
        check("/api/v1/namespaces/../pods/..", "get api//v1 ns=.. pods/ .. [pods ..]");
        check("/api/v1/namespaces/a/pods/%252e", "get api//v1 ns=a pods/ %2e [pods %2e]");
        check("/api/v1/namespaces/a/pods/a+b", "get api//v1 ns=a pods/ a+b [pods a+b]");
        check("/api/v1//pods", "get api//v1 ns= / pods [ pods]");
        check("/api/v1/pods/%zz", "malformed path");
        check("/api/v1/pods/%2", "malformed path");
        check("/api/v1/pods/%ff", "malformed path");
    }

    #[test]
    fn what_lasts() {
        let lasts = |request: &str| {
            let (path, query) = request.split_once('?').unwrap_or((request, ""));
            request_info(&Method::GET, path, query).is_ok_and(|info| is_long_running(&info))
        };
        for request in ["/api/v1/pods?watch=1", "/api/v1/namespaces/a/pods/n/log", "/api/v1/proxy/nodes/n"] {
            assert!(lasts(request), "{request}");
        }
        for request in ["/api/v1/pods", "/api/v1/namespaces/a/pods/n/status", "/healthz", "/watch"] {
            assert!(!lasts(request), "{request}");
        }
    }
}
