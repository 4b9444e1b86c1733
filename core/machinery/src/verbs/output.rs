//! In which form a client wants its answer: media type, indentation, and a conversion to `Table` or
//! `PartialObjectMetadata` (apiserver `pkg/endpoints/handlers/{negotiation,response.go,rest.go}`).

use std::sync::Arc;

use http::HeaderMap;
use serde_json::json;
use triune_api::{field::FieldError, status::Status};
use triune_schema::Facts;

use super::options::Query;
use crate::accept::{Clause, MediaType, accept_header, negotiate, not_acceptable, not_acceptable_stream, wants_pretty};

/// The version of `meta.k8s.io` that a converted answer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaVersion {
    /// `meta.k8s.io/v1`.
    V1,
    /// `meta.k8s.io/v1beta1`.
    V1Beta1,
}

impl MetaVersion {
    /// As in `apiVersion`.
    pub fn api_version(self) -> &'static str {
        match self {
            MetaVersion::V1 => "meta.k8s.io/v1",
            MetaVersion::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What the rows of a table carry of their objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// `PartialObjectMetadata`.
    Metadata,
    /// All of it.
    Object,
}

/// Which type of object the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The resource's own.
    Object,
    /// `Table`.
    Table(MetaVersion, IncludeObject),
    /// `PartialObjectMetadata`.
    Partial(MetaVersion),
    /// `PartialObjectMetadataList`.
    PartialList(MetaVersion),
}

/// What is known of the types that an answer may show.
#[derive(Clone, Copy, Default)]
pub struct Known<'a> {
    /// Whether the objects have facts. Those of custom resources have none, and so no form in protobuf.
    pub objects: bool,
    /// The table with the types that every group has.
    pub facts: Option<&'a Arc<Facts>>,
}

/// The form of an answer.
#[derive(Clone)]
pub struct Output {
    /// JSON, YAML or protobuf.
    pub media: MediaType,
    /// Whether JSON is indented.
    pub pretty: bool,
    /// Which type of object it is.
    pub shape: Shape,
    /// What messages are made by; always there if the answer is in protobuf.
    pub facts: Option<Arc<Facts>>,
}

impl Output {
    /// The form of an answer to a request that is no watch.
    pub fn negotiate(headers: &HeaderMap, query_text: &str, query: &Query, known: Known<'_>) -> Result<Output, Status> {
        let allows = |clause: &Clause<'_>, offer| allows(clause, offer, known);
        let (media, clause) = negotiate(accept_header(headers), &MediaType::ALL, allows).ok_or_else(not_acceptable)?;
        let pretty_parameter = clause.as_ref().and_then(|clause| clause.parameter("pretty")) == Some("1");
        let pretty = pretty_parameter || wants_pretty(headers, query_text);
        let facts = known.facts.filter(|_| media == MediaType::Protobuf).cloned();
        Ok(Output { media, pretty, shape: shape(clause.as_ref(), query)?, facts })
    }

    /// The form of the events of a watch: JSON, one event a line; or protobuf, each event behind its length.
    pub fn negotiate_watch(headers: &HeaderMap, query: &Query, known: Known<'_>) -> Result<Output, Status> {
        let output = Output::negotiate(headers, "", query, known)?;
        // What is preferred counts, although another clause may name a form that has streams.
        if output.media.stream().is_none() { Err(not_acceptable_stream()) } else { Ok(output) }
    }

    /// Whether stored bytes can be passed on as they are.
    pub fn is_plain(&self) -> bool {
        self.media == MediaType::Json && !self.pretty
    }
}

/// What a clause may ask for: `meta.k8s.io` types in a version that exists, the stream `watch`, the server version `v1`.
/// Tables have no form in protobuf.
fn allows(clause: &Clause<'_>, offer: MediaType, known: Known<'_>) -> bool {
    let is_protobuf = offer == MediaType::Protobuf;
    clause.has_known_parameters(offer, Some("v1"))
        && (!is_protobuf || known.facts.is_some())
        && match target(clause) {
            Some(("Table", _)) => !is_protobuf,
            Some(_) => true,
            None => !clause.converts() && (!is_protobuf || known.objects),
        }
}

fn target<'a>(clause: &Clause<'a>) -> Option<(&'a str, MetaVersion)> {
    let version = match (clause.parameter("g")?, clause.parameter("v")?) {
        ("meta.k8s.io", "v1") => MetaVersion::V1,
        ("meta.k8s.io", "v1beta1") => MetaVersion::V1Beta1,
        _ => return None,
    };
    let kind = clause.parameter("as")?;
    matches!(kind, "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList").then_some((kind, version))
}

fn shape(clause: Option<&Clause<'_>>, query: &Query) -> Result<Shape, Status> {
    Ok(match clause.and_then(target) {
        Some(("Table", version)) => Shape::Table(version, include_object(query)?),
        Some(("PartialObjectMetadata", version)) => Shape::Partial(version),
        Some((_, version)) => Shape::PartialList(version),
        None => Shape::Object,
    })
}

fn include_object(query: &Query) -> Result<IncludeObject, Status> {
    match query.text("includeObject").unwrap_or_default() {
        "None" => Ok(IncludeObject::None),
        "" | "Metadata" => Ok(IncludeObject::Metadata),
        "Object" => Ok(IncludeObject::Object),
        other => {
            let detail = "must be 'Metadata', 'Object', 'None', or empty";
            let error = FieldError::invalid("includeObject", &json!(other), detail);
            Err(Status::bad_request(format!("Unable to convert to Table as requested: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    const PARTIAL_LIST: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                                application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

    fn facts() -> Arc<Facts> {
        Facts::parse("").unwrap()
    }

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        }
        headers
    }

    fn show(output: Result<Output, Status>) -> String {
        output.map_or_else(
            |status| format!("{} {}", status.code, status.message),
            |output| {
                let pretty = if output.pretty { " pretty" } else { "" };
                assert_eq!(output.facts.is_some(), output.media == MediaType::Protobuf);
                format!("{:?} {:?}{pretty}", output.media, output.shape)
            },
        )
    }

    fn check_of(objects: bool, accept: &str, query: &str, expect: &str) {
        let facts = facts();
        let known = Known { objects, facts: Some(&facts) };
        let got = Output::negotiate(&headers(accept), query, &Query::parse(query), known);
        assert_eq!(show(got), expect, "{accept}");
    }

    /// Of a built-in resource.
    fn check(accept: &str, query: &str, expect: &str) {
        check_of(true, accept, query, expect);
    }

    const NOTHING: &str = "406 only the following media types are accepted: application/json, application/yaml, \
                           application/vnd.kubernetes.protobuf";

    #[test]
    fn forms() {
        check("", "", "Json Object");
        check("*/*", "pretty=true", "Json Object pretty");
        check("application/*", "", "Json Object");
        check("application/yaml", "", "Yaml Object");
        check("application/json;pretty=1", "", "Json Object pretty");
        check("application/vnd.kubernetes.protobuf, application/json", "", "Protobuf Object");
        check("application/vnd.kubernetes.protobuf;q=0.5, application/json", "", "Json Object");
        check("text/html", "", NOTHING);
        check(TABLE, "", "Json Table(V1, Metadata)");
        check(TABLE, "includeObject=Object", "Json Table(V1, Object)");
        check(TABLE, "includeObject=None", "Json Table(V1, None)");
        check(
            TABLE,
            "includeObject=x",
            "400 Unable to convert to Table as requested: includeObject: Invalid value: \"x\": must be 'Metadata', 'Object', \
             'None', or empty",
        );
        check("application/json;as=Table;v=v1beta1;g=meta.k8s.io", "", "Json Table(V1Beta1, Metadata)");
        check("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", "", "Json Object");
        check("application/json;as=Other;v=v1;g=meta.k8s.io,application/yaml", "", "Yaml Object");
        check("application/json;stream=watch", "", "Json Object");
        check("application/json;stream=other,application/yaml", "", "Yaml Object");
        check("application/yaml;stream=watch,application/json", "", "Json Object");
        check("application/json;sv=v2,application/yaml;sv=v1", "", "Yaml Object");
    }

    #[test]
    fn protobuf_has_partial_metadata_and_no_tables() {
        let protobuf = "application/vnd.kubernetes.protobuf;g=meta.k8s.io;v=v1;as=";
        check(PARTIAL_LIST, "", "Protobuf PartialList(V1)");
        check(&format!("{protobuf}PartialObjectMetadata"), "", "Protobuf Partial(V1)");
        check(&format!("{protobuf}Table"), "", NOTHING);
        check(&format!("{protobuf}Table,{TABLE}"), "", "Json Table(V1, Metadata)");
        check(&format!("{protobuf}Other,application/yaml"), "", "Yaml Object");
    }

    #[test]
    fn objects_without_facts_have_no_protobuf() {
        let check = |accept: &str, expect: &str| check_of(false, accept, "", expect);
        check("application/vnd.kubernetes.protobuf", NOTHING);
        check("application/vnd.kubernetes.protobuf,application/json", "Json Object");
        check(PARTIAL_LIST, "Protobuf PartialList(V1)");
        let none = Known::default();
        assert_eq!(
            show(Output::negotiate(&headers(PARTIAL_LIST), "", &Query::parse(""), none)),
            "Json PartialList(V1)"
        );
    }

    #[test]
    fn streams() {
        let facts = facts();
        let known = Known { objects: true, facts: Some(&facts) };
        let check = |accept: &str, expect: &str| {
            assert_eq!(show(Output::negotiate_watch(&headers(accept), &Query::parse(""), known)), expect, "{accept}");
        };
        check("", "Json Object");
        check("application/json;stream=watch", "Json Object");
        check("application/vnd.kubernetes.protobuf;stream=watch", "Protobuf Object");
        check("application/vnd.kubernetes.protobuf", "Protobuf Object");
        check(PARTIAL_LIST, "Protobuf PartialList(V1)");
        check(TABLE, "Json Table(V1, Metadata)");
        let streams = "406 only the following media types are accepted: application/json;stream=watch, \
                       application/vnd.kubernetes.protobuf;stream=watch";
        check("application/yaml", streams);
        check("application/yaml,application/json", streams);
        check("application/yaml;stream=watch", NOTHING);
        check("text/html", NOTHING);
    }
}
