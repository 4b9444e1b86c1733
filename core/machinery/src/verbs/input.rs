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
use triune_schema::{TypeRef, protobuf::Envelope};

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
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

impl InputMedia {
    /// What the request says; 415 for what is not understood.
    pub fn of(headers: &HeaderMap) -> Result<InputMedia, Status> {
        match content_type(headers).to_ascii_lowercase().as_str() {
            "" | "application/json" => Ok(InputMedia::Json),
            "application/yaml" => Ok(InputMedia::Yaml),
            "application/vnd.kubernetes.protobuf" => Ok(InputMedia::Protobuf),
            _ => Err(Status::unsupported_media_type(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            )),
        }
    }
}

/// A body of another type than the resource's own: options, bindings, evictions. `gvk` is what it is if it does not say;
/// what it says is for the caller to check.
pub fn decode_other(
    media: InputMedia,
    resources: &ResourcesSnapshot,
    gvk: &GroupVersionKind,
    body: &[u8],
) -> Result<Value, Status> {
    let decoded = match media {
        InputMedia::Json => decode::json(body),
        InputMedia::Yaml => decode::yaml(body),
        InputMedia::Protobuf => return decode_other_protobuf(resources, gvk, body).map_err(Status::bad_request),
    };
    decoded.map_err(|error| Status::bad_request(decode::json_parse_error(&error)))
}

fn decode_other_protobuf(resources: &ResourcesSnapshot, gvk: &GroupVersionKind, body: &[u8]) -> Result<Value, String> {
    let envelope = Envelope::open(body).map_err(|error| error.to_string())?;
    let mut given = gvk.clone();
    if !envelope.kind.is_empty() {
        given.kind = envelope.kind.as_str().into();
    }
    if let Some(group_version) = GroupVersion::parse(&envelope.api_version).filter(|_| !envelope.api_version.is_empty())
    {
        given = group_version.with_kind(&given.kind);
    }
    let mut value = match resources.facts().and_then(|facts| facts.type_of(&given)) {
        Some(declared) => read_message(&declared, envelope.message)?,
        None => Value::Object(triune_api::Map::new()),
    };
    meta::set_type(&mut value, &given);
    Ok(value)
}

/// The tree of a message in normal form.
fn read_message(declared: &TypeRef, message: &[u8]) -> Result<Value, String> {
    let mut value = declared.decode_protobuf(message).map_err(|error| error.to_string())?;
    declared.check_types(&value)?;
    declared.normalise(&mut value);
    Ok(value)
}

/// An empty list of `managedFields` asks to forget all owners, and the normal form has no empty lists: a list with one
/// empty entry asks for the same.
fn spell_out_reset(object: &mut Value) {
    if let Some(Value::Array(entries)) = object.pointer_mut("/metadata/managedFields")
        && entries.is_empty()
    {
        entries.push(Value::Object(triune_api::Map::new()));
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
        let (mut object, strict_errors) = match media {
            InputMedia::Json => self.read_text(decode::json_strict(body), body)?,
            InputMedia::Yaml => self.read_text(decode::yaml_strict(body), body)?,
            InputMedia::Protobuf => (self.read_protobuf(body)?, Vec::new()),
        };
        self.complete(context, &mut object, strict_errors).map_err(|error| self.cannot_be_handled(&error))?;
        Ok(object)
    }

    fn read_text(
        &self,
        decoded: Result<Decoded, decode::DecodeError>,
        body: &[u8],
    ) -> Result<(Value, Vec<String>), Status> {
        let Decoded { mut value, strict_errors } =
            decoded.map_err(|error| self.unrecognized(&decode::json_parse_error(&error), body))?;
        let (api_version, kind) = decode::type_meta(&value).map_err(|error| self.unrecognized(&error, body))?;
        self.check_type(api_version, kind)?;
        if !value.is_object() {
            value = Value::Object(triune_api::Map::new());
        }
        Ok((value, strict_errors))
    }

    fn read_protobuf(&self, body: &[u8]) -> Result<Value, Status> {
        let envelope = Envelope::open(body).map_err(|error| self.unrecognized(&error, body))?;
        self.check_type(&envelope.api_version, &envelope.kind)?;
        let known = self.schema.cloned().or_else(|| self.resources.facts()?.type_of(self.gvk));
        let Some(declared) = known else {
            let text = "object *unstructured.Unstructured does not implement the protobuf marshalling interface and cannot be \
                        encoded to a protobuf message";
            return Err(self.cannot_be_handled(&text));
        };
        read_message(&declared, envelope.message).map_err(|error| self.cannot_be_handled(&error))
    }

    fn unrecognized(&self, error: &dyn std::fmt::Display, body: &[u8]) -> Status {
        let (kind, summary) = (&self.gvk.kind, summarize(body));
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {error} ({summary})"
        ))
    }

    fn cannot_be_handled(&self, error: &dyn std::fmt::Display) -> Status {
        let GroupVersionKind { version, kind, .. } = self.gvk;
        Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
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
        self.set_normal_form(object);
        Ok(())
    }

    /// Brings a tree into the normal form of its type, with type and defaults, whatever a strict reader would say.
    pub fn normalise(&self, object: &mut Value) -> Result<(), String> {
        if let Some(schema) = self.schema {
            schema.check_types(object)?;
        }
        self.set_normal_form(object);
        Ok(())
    }

    fn set_normal_form(&self, object: &mut Value) {
        if let Some(schema) = self.schema {
            spell_out_reset(object);
            schema.normalise(object);
            schema.apply_defaults(object);
        }
        meta::set_type(object, self.gvk);
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
