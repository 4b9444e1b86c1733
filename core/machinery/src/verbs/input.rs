//! From the bytes of a body to a tree of the expected type: media type, syntax, type, unknown fields, normal form, defaults
//! (apiserver `pkg/endpoints/handlers/{create,update,rest}.go`).
//!
//! After this a tree has the normal form of its type: equal objects have equal bytes.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, header};
use triune_api::{
    Value,
    decode::{self, Decoded},
    meta,
    names::{GroupVersion, GroupVersionKind},
    status::Status,
};
use triune_schema::TypeRef;

use super::options::FieldValidation;
use crate::{context::Context, resources::ResourcesSnapshot};

/// How much of a body an error shows, in bytes.
const SUMMARY_BYTES_MAX: usize = 30;

/// In which form a body comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputMedia {
    /// `application/json`, also without a `Content-Type`.
    Json,
    /// `application/yaml`.
    Yaml,
}

impl InputMedia {
    /// What the request says; 415 for what is not understood.
    pub fn of(headers: &HeaderMap) -> Result<InputMedia, Status> {
        match content_type(headers).to_ascii_lowercase().as_str() {
            "" | "application/json" => Ok(InputMedia::Json),
            "application/yaml" => Ok(InputMedia::Yaml),
            _ => Err(Status::unsupported_media_type("application/json, application/yaml")),
        }
    }

    /// Reads a body.
    pub fn decode(self, body: &[u8]) -> Result<Decoded, decode::DecodeError> {
        match self {
            InputMedia::Json => decode::json_strict(body),
            InputMedia::Yaml => decode::yaml_strict(body),
        }
    }
}

/// The media type of `Content-Type`, without its parameters.
pub fn content_type(headers: &HeaderMap) -> &str {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// What a body must be.
pub struct Expected<'a> {
    /// Its type; a body without `apiVersion` and `kind` is taken for it.
    pub gvk: &'a GroupVersionKind,
    /// The type in the facts.
    pub schema: Option<&'a TypeRef>,
    /// Which kinds there are besides, for the error.
    pub resources: &'a ResourcesSnapshot,
    /// What unknown and duplicate fields lead to.
    pub field_validation: FieldValidation,
}

impl Expected<'_> {
    /// The object of a POST or PUT.
    pub fn decode(&self, context: &Context, media: InputMedia, body: &Bytes) -> Result<Value, Status> {
        let unrecognized = |error: &dyn std::fmt::Display| {
            let kind = &self.gvk.kind;
            let summary = summarize(body);
            let text = format!("the object provided is unrecognized (must be of type {kind}): {error} ({summary})");
            Status::bad_request(text)
        };
        let decoded = media.decode(body).map_err(|error| unrecognized(&decode::json_parse_error(&error)))?;
        let mut object = decoded.value;
        {
            let (api_version, kind) = decode::type_meta(&object).map_err(|error| unrecognized(&error))?;
            self.check_type(api_version, kind)?;
        }
        if !object.is_object() {
            object = Value::Object(triune_api::Map::new());
        }
        self.complete(context, &mut object, decoded.strict_errors).map_err(|error| {
            let GroupVersionKind { version, kind, .. } = self.gvk;
            Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
        })?;
        Ok(object)
    }

    /// Brings a tree into the normal form of its type, with type and defaults. `strict_errors` are those of its text.
    pub fn complete(
        &self,
        context: &Context,
        object: &mut Value,
        mut strict_errors: Vec<String>,
    ) -> Result<(), String> {
        if let Some(schema) = self.schema {
            schema.check_types(object)?;
            if self.field_validation != FieldValidation::Ignore {
                let unknown = schema.unknown_fields(object);
                strict_errors.splice(0..0, unknown.iter().map(|path| format!("unknown field {path:?}")));
            }
        }
        if !strict_errors.is_empty() {
            match self.field_validation {
                FieldValidation::Ignore => {}
                FieldValidation::Warn => strict_errors.iter().for_each(|error| context.warn(error)),
                FieldValidation::Strict => return Err(decode::strict_error(&strict_errors)),
            }
        }
        if let Some(schema) = self.schema {
            schema.normalise(object);
            schema.apply_defaults(object);
        }
        meta::set_type(object, self.gvk);
        Ok(())
    }

    /// Whether `apiVersion` and `kind` are those that the path asks for.
    fn check_type(&self, api_version: &str, kind: &str) -> Result<(), Status> {
        let expected = self.gvk;
        let group_version = expected.group_version();
        let given = match api_version {
            "" => Some(group_version.clone()),
            text => GroupVersion::parse(text),
        };
        let kind = if kind.is_empty() { &*expected.kind } else { kind };
        if given.as_ref() == Some(&group_version) && kind == &*expected.kind {
            return Ok(());
        }
        let known = given.as_ref().is_some_and(|given| self.resources.serves_kind(given, kind));
        let version = given.as_ref().map_or(api_version, |given| &*given.version);
        let cannot = |why: String| {
            Status::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {}: {why}",
                expected.kind
            ))
        };
        if !known {
            let scheme = "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30";
            return Err(cannot(format!(
                "no kind {kind:?} is registered for version {api_version:?} in scheme {scheme:?}"
            )));
        }
        if kind != &*expected.kind {
            let package = if expected.group.is_empty() { "core" } else { &expected.group };
            let package = package.split('.').next().unwrap_or_default();
            let to = &expected.kind;
            return Err(cannot(format!("converting ({version}.{kind}) to ({package}.{to}): unknown conversion")));
        }
        Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({group_version})"
        )))
    }
}

/// The start of a body as errors show it: text if it begins like JSON, else hexadecimal.
fn summarize(body: &[u8]) -> String {
    if body.is_empty() {
        return "<empty>".into();
    }
    let start = &body[..body.len().min(SUMMARY_BYTES_MAX)];
    let mut text = String::new();
    if body[0] == b'{' {
        text.push_str(&String::from_utf8_lossy(start));
    } else {
        for byte in start {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    if body.len() > SUMMARY_BYTES_MAX {
        text.push_str(" ...");
    }
    text
}
