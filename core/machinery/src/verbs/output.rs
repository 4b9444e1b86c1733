//! In which form a client wants its answer: media type, indentation, and a conversion to `Table` or
//! `PartialObjectMetadata` (apiserver `pkg/endpoints/handlers/{negotiation,response.go}`).

use http::HeaderMap;
use serde_json::json;
use triune_api::{field::FieldError, status::Status};

use super::options::Query;
use crate::accept::{Clause, MediaType, accept_header, negotiate, wants_pretty};

/// What answers of objects come in; the first is the default.
const OFFERS: [MediaType; 2] = [MediaType::Json, MediaType::Yaml];

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

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// JSON or YAML.
    pub media: MediaType,
    /// Whether JSON is indented.
    pub pretty: bool,
    /// Which type of object it is.
    pub shape: Shape,
}

impl Output {
    /// The form of an answer to a request that is no watch.
    pub fn negotiate(headers: &HeaderMap, query_text: &str, query: &Query) -> Result<Output, Status> {
        let (media, clause) = negotiate(accept_header(headers), &OFFERS, |clause, _| allows(clause))
            .ok_or_else(|| Status::not_acceptable("application/json, application/yaml"))?;
        let pretty_parameter = clause.as_ref().and_then(|clause| clause.parameter("pretty")) == Some("1");
        let pretty = pretty_parameter || wants_pretty(headers, query_text);
        Ok(Output { media, pretty, shape: shape(clause.as_ref(), query)? })
    }

    /// The form of the events of a watch: JSON, one event a line.
    pub fn negotiate_watch(headers: &HeaderMap, query: &Query) -> Result<Output, Status> {
        let (media, clause) = negotiate(accept_header(headers), &[MediaType::Json], |clause, _| allows(clause))
            .ok_or_else(|| Status::not_acceptable("application/json;stream=watch"))?;
        Ok(Output { media, pretty: false, shape: shape(clause.as_ref(), query)? })
    }

    /// Whether stored bytes can be passed on as they are.
    pub fn is_plain(&self) -> bool {
        self.media == MediaType::Json && !self.pretty
    }
}

/// What a clause may ask for: `meta.k8s.io` types in a version that exists, the stream `watch`, the server version `v1`.
fn allows(clause: &Clause<'_>) -> bool {
    let only = |name: &str, value: &str| clause.parameter(name).is_none_or(|given| given == value);
    only("stream", "watch") && only("sv", "v1") && (!clause.converts() || target(clause).is_some())
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

    fn check(accept: &'static str, query: &str, expect: &str) {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        }
        let got = Output::negotiate(&headers, query, &Query::parse(query)).map_or_else(
            |status| format!("{} {}", status.code, status.message),
            |output| {
                let pretty = if output.pretty { " pretty" } else { "" };
                format!("{:?} {:?}{pretty}", output.media, output.shape)
            },
        );
        assert_eq!(got, expect, "{accept}");
    }

    #[test]
    fn forms() {
        check("", "", "Json Object");
        check("*/*", "pretty=true", "Json Object pretty");
        check("application/yaml", "", "Yaml Object");
        check("application/json;pretty=1", "", "Json Object pretty");
        check("application/vnd.kubernetes.protobuf, application/json", "", "Json Object");
        check(
            "application/vnd.kubernetes.protobuf",
            "",
            "406 only the following media types are accepted: application/json, application/yaml",
        );
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        check(table, "", "Json Table(V1, Metadata)");
        check(table, "includeObject=Object", "Json Table(V1, Object)");
        check(table, "includeObject=None", "Json Table(V1, None)");
        check(
            table,
            "includeObject=x",
            "400 Unable to convert to Table as requested: includeObject: Invalid value: \"x\": must be 'Metadata', 'Object', \
             'None', or empty",
        );
        let beta = "application/json;as=Table;v=v1beta1;g=meta.k8s.io";
        check(beta, "", "Json Table(V1Beta1, Metadata)");
        check("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", "", "Json Object");
        check("application/json;as=Other;v=v1;g=meta.k8s.io,application/yaml", "", "Yaml Object");
        let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                       application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        check(partial, "", "Json PartialList(V1)");
        check("application/json;stream=watch", "", "Json Object");
        check("application/json;stream=other,application/yaml", "", "Yaml Object");
    }
}
