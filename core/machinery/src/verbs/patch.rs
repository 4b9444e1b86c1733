//! Patches: JSON patch, JSON merge patch, strategic merge patch (apiserver `pkg/endpoints/handlers/patch.go`).
//!
//! A patch is applied to the object as it is now, in the version of the URL; one that lost a race is applied again. What
//! comes out is decoded like a body that was sent whole.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use triune_api::{
    Value, decode,
    field::FieldError,
    names::GroupVersionKind,
    patch::{JsonPatch, PatchError, merge, parse_merge},
    status::{Status, StatusDetails},
};
use triune_schema::TypeRef;

use super::{
    input::{Expected, content_type},
    options::FieldValidation,
};
use crate::context::Context;

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";

/// A patch that has been read.
pub enum Patch {
    /// RFC 6902.
    Json(JsonPatch),
    /// RFC 7386, and what a strict reader says about its text.
    Merge(Value, Vec<String>),
    /// Kubernetes' own, and what a strict reader says about its text.
    Strategic(Value, Vec<String>),
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
}

impl PatchMedia {
    /// What the request says; 415 for what is not understood. Types without facts know no strategic merge.
    pub fn of(headers: &HeaderMap, has_schema: bool) -> Result<PatchMedia, Status> {
        match content_type(headers) {
            JSON_PATCH => Ok(PatchMedia::Json),
            MERGE_PATCH => Ok(PatchMedia::Merge),
            STRATEGIC_PATCH if has_schema => Ok(PatchMedia::Strategic),
            _ if has_schema => {
                Err(Status::unsupported_media_type(&[JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH].join(", ")))
            }
            _ => Err(Status::unsupported_media_type(&[JSON_PATCH, MERGE_PATCH].join(", "))),
        }
    }

    /// Reads the patch.
    pub fn parse(self, body: &Bytes) -> Result<Patch, Status> {
        self.parse_json(body).map_err(|status| match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
            Ok(_) => status,
            Err(_) => Status::bad_request("invalid JSON patch"),
        })
    }

    fn parse_json(self, body: &Bytes) -> Result<Patch, Status> {
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
        }
    }
}

impl Patch {
    /// The object after the patch, decoded as `expected`.
    pub fn apply(&self, context: &Context, expected: &Expected<'_>, old: &Value) -> Result<Value, Status> {
        let (mut new, strict_errors) = match self {
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
