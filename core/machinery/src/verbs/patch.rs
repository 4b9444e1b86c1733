//! Patches: JSON patch, JSON merge patch, strategic merge patch, apply configurations (apiserver
//! `pkg/endpoints/handlers/patch.go`).
//!
//! A patch is applied to the object as it is now, in the version of the URL; one that lost a race is applied again. What
//! comes out is decoded like a body that was sent whole.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use triune_api::{
    Value, decode,
    field::FieldError,
    meta,
    names::GroupVersionKind,
    patch::{JsonPatch, PatchError, merge, parse_merge},
    status::{Status, StatusDetails},
};
use triune_schema::TypeRef;

use super::{
    input::{Expected, content_type},
    options::{FieldValidation, WriteOptionsKind},
    ownership::Ownership,
};
use crate::context::Context;

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// A patch that has been read.
pub enum Patch {
    /// RFC 6902.
    Json(JsonPatch),
    /// RFC 7386, and what a strict reader says about its text.
    Merge(Value, Vec<String>),
    /// Kubernetes' own, and what a strict reader says about its text.
    Strategic(Value, Vec<String>),
    /// An apply configuration, and what a strict reader says about its text.
    Apply(Value, Vec<String>),
}

/// The form of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchMedia {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own.
    Strategic,
    /// An apply configuration in YAML or JSON (KEP-555).
    Apply,
}

impl PatchMedia {
    /// What the request says; 415 for what is not understood. Types without facts know no strategic merge.
    pub fn of(headers: &HeaderMap, has_schema: bool) -> Result<PatchMedia, Status> {
        match content_type(headers) {
            JSON_PATCH => Ok(PatchMedia::Json),
            MERGE_PATCH => Ok(PatchMedia::Merge),
            STRATEGIC_PATCH if has_schema => Ok(PatchMedia::Strategic),
            APPLY_PATCH => Ok(PatchMedia::Apply),
            _ => Err(unsupported(has_schema)),
        }
    }

    /// Of which kind the options of the request are.
    pub fn options_kind(self) -> WriteOptionsKind {
        match self {
            PatchMedia::Apply => WriteOptionsKind::Apply,
            PatchMedia::Json | PatchMedia::Merge | PatchMedia::Strategic => WriteOptionsKind::Patch,
        }
    }

    /// Reads the patch.
    pub fn parse(self, body: &Bytes) -> Result<Patch, Status> {
        if self == PatchMedia::Apply {
            return self.parse_text(body);
        }
        self.parse_text(body).map_err(|status| match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
            Ok(_) => status,
            Err(_) => Status::bad_request("invalid JSON patch"),
        })
    }

    fn parse_text(self, body: &Bytes) -> Result<Patch, Status> {
        match self {
            PatchMedia::Json => JsonPatch::parse(body).map(Patch::Json).map_err(refuse),
            PatchMedia::Merge => {
                let decoded = parse_merge(body).map_err(refuse)?;
                Ok(Patch::Merge(decoded.value, decoded.strict_errors))
            }
            PatchMedia::Strategic => {
                let decoded = decode::json_strict(body).map_err(|_| Status::bad_request("invalid JSON patch"))?;
                if !decoded.value.is_object() {
                    return Err(Status::bad_request("Invalid JSON document"));
                }
                Ok(Patch::Strategic(decoded.value, decoded.strict_errors))
            }
            PatchMedia::Apply => {
                let decoded = decode::yaml_strict(body)
                    .map_err(|error| Status::bad_request(format!("error encoding patch: {error}")))?;
                if !decoded.value.is_object() {
                    let found = decode::json_type(&decoded.value);
                    return Err(Status::bad_request(format!(
                        "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal \
                         {found} into Go value of type map[string]interface {{}}"
                    )));
                }
                Ok(Patch::Apply(decoded.value, decoded.strict_errors))
            }
        }
    }
}

impl Patch {
    /// The object after the patch, decoded as `expected`, with the owners of its fields. `old` is null where there is no
    /// object yet.
    pub fn apply(&self, expected: &Expected<'_>, ownership: &Ownership<'_>, old: &Value) -> Result<Value, Status> {
        if let Patch::Apply(configuration, strict_errors) = self {
            return apply_configuration(expected, ownership, old, configuration, strict_errors);
        }
        let mut new = self.change(&ownership.scope.context, expected, old)?;
        ownership.record(old, &mut new);
        Ok(new)
    }

    /// The object after the patch, decoded as `expected`.
    pub fn change(&self, context: &Context, expected: &Expected<'_>, old: &Value) -> Result<Value, Status> {
        let (mut new, strict_errors) = match self {
            Patch::Apply(..) => return Err(unsupported(true)),
            Patch::Json(patch) => (patch.apply(old.clone()).map_err(refuse)?, &patch.strict_errors),
            Patch::Merge(patch, strict_errors) => (merge(old.clone(), patch.clone()), strict_errors),
            Patch::Strategic(patch, strict_errors) => {
                (strategic(expected.schema, old.clone(), patch.clone())?, strict_errors)
            }
        };
        let refused = |patched: &Value, why: String| {
            let error = FieldError::invalid("patch", &json!(patched.to_string()), why);
            Status::invalid(&GroupVersionKind::new("", "", ""), "", &[error])
        };
        if !new.is_object() {
            let found = decode::json_type(&new);
            let why = format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
            return Err(refused(&new, why));
        }
        check_type(expected.gvk, &new).map_err(|why| refused(&new, why))?;
        let strict_errors = match expected.field_validation {
            FieldValidation::Ignore => Vec::new(),
            _ => strict_errors.clone(),
        };
        expected.complete(context, &mut new, strict_errors).map_err(|why| refused(&new, why))?;
        Ok(new)
    }
}

fn unsupported(has_schema: bool) -> Status {
    let known = [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH];
    let known = known.into_iter().filter(|media| has_schema || *media != STRATEGIC_PATCH);
    Status::unsupported_media_type(&known.collect::<Vec<&str>>().join(", "))
}

/// Server-side apply. What is wrong with the text alone comes last, as in the reference.
fn apply_configuration(
    expected: &Expected<'_>,
    ownership: &Ownership<'_>,
    old: &Value,
    configuration: &Value,
    strict_errors: &[String],
) -> Result<Value, Status> {
    let new = ownership.apply(old, configuration, expected)?;
    match expected.field_validation {
        FieldValidation::Strict if !strict_errors.is_empty() => {
            let text = format!("error strict decoding patch: {}", strict_errors.join(", "));
            return Err(Status::bad_request(text));
        }
        FieldValidation::Warn => strict_errors.iter().for_each(|error| ownership.scope.context.warn(error)),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    if old.is_null() && !meta::uid(&new).is_empty() {
        let scope = ownership.scope;
        let uid = meta::uid(&new);
        let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(Status::conflict(&scope.group_resource(), scope.name(), why));
    }
    Ok(new)
}

/// A patch cannot change of which type an object is.
fn check_type(gvk: &GroupVersionKind, new: &Value) -> Result<(), String> {
    let (api_version, kind) = decode::type_meta(new).map_err(|error| error.to_string())?;
    if api_version == gvk.api_version() && kind == &*gvk.kind {
        return Ok(());
    }
    Err(format!(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\""
    ))
}

fn strategic(schema: Option<&TypeRef>, old: Value, patch: Value) -> Result<Value, Status> {
    let Some(schema) = schema else {
        return Err(Status::unsupported_media_type(&[JSON_PATCH, MERGE_PATCH].join(", ")));
    };
    schema.strategic_merge(old, patch).map_err(|error| error.status())
}

fn refuse(error: PatchError) -> Status {
    match error {
        PatchError::Malformed(text) => Status::bad_request(text),
        PatchError::TooLarge(text) => Status::request_entity_too_large(text),
        PatchError::NotApplicable(_) => {
            // The reference keeps the reason to itself.
            let text = "the server rejected our request due to an error in our request";
            let mut status = Status::new(422, "Invalid", text);
            status.details = Some(Box::new(StatusDetails::default()));
            status
        }
    }
}
