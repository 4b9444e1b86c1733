//! Answers that are not objects: `Status` of meta/v1, with the codes, reasons and messages that clients match on.
//!
//! One constructor per reaction of a client; the texts are those of the reference (apimachinery `pkg/api/errors`).

use serde_json::{Map, Value, json};

use crate::{
    field::FieldError,
    names::{GroupResource, GroupVersionKind},
};

/// An error answer. [`Status::to_json`] gives its body, `code` its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`; "" when the reference gives none.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// What it is about; boxed to keep results small.
    pub details: Option<Box<StatusDetails>>,
}

/// What a [`Status`] is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusDetails {
    /// Name of the object.
    pub name: String,
    /// Group of the resource or kind.
    pub group: String,
    /// Resource or kind.
    pub kind: String,
    /// UID of the object.
    pub uid: String,
    /// Seconds after which a retry makes sense; 0 is absent. Sent as `Retry-After` too.
    pub retry_after_seconds: u32,
    /// Single causes.
    pub causes: Vec<StatusCause>,
    /// A token that goes on with a list although the one sent is too old; "" is absent. Printed in `metadata`.
    pub continue_token: String,
}

/// One cause of a [`Status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCause {
    /// Machine-readable, such as `FieldValueInvalid`; "" is absent.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Path of the field; "" is absent.
    pub field: String,
}

impl StatusDetails {
    fn of_resource(resource: &GroupResource, name: &str) -> StatusDetails {
        StatusDetails {
            name: name.into(),
            group: resource.group.to_string(),
            kind: resource.resource.to_string(),
            ..StatusDetails::default()
        }
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)] {
            if !text.is_empty() {
                map.insert(key.into(), json!(text));
            }
        }
        if !self.causes.is_empty() {
            map.insert("causes".into(), self.causes.iter().map(StatusCause::to_json).collect());
        }
        if self.retry_after_seconds != 0 {
            map.insert("retryAfterSeconds".into(), json!(self.retry_after_seconds));
        }
        Value::Object(map)
    }
}

impl StatusCause {
    fn to_json(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in [("reason", &self.reason), ("message", &self.message), ("field", &self.field)] {
            if !text.is_empty() {
                map.insert(key.into(), json!(text));
            }
        }
        Value::Object(map)
    }
}

impl Status {
    /// An answer without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
        Status { code, reason, message: message.into(), details: None }
    }

    fn with_details(mut self, details: StatusDetails) -> Status {
        self.details = Some(Box::new(details));
        self
    }

    /// Adds or replaces the seconds after which a client should retry.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Status {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn with_cause(mut self, reason: &str, message: impl Into<String>, field: &str) -> Status {
        let cause = StatusCause { reason: reason.into(), message: message.into(), field: field.into() };
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    /// Adds the token of a list that can go on.
    #[must_use]
    pub fn with_continue(mut self, token: &str) -> Status {
        self.details.get_or_insert_default().continue_token = token.into();
        self
    }

    /// 404: there is no such object.
    pub fn not_found(resource: &GroupResource, name: &str) -> Status {
        Status::new(404, "NotFound", format!("{resource} {name:?} not found"))
            .with_details(StatusDetails::of_resource(resource, name))
    }

    /// 404: there is no such path or resource type.
    pub fn page_not_found() -> Status {
        Status::new(404, "NotFound", "the server could not find the requested resource")
            .with_details(StatusDetails::default())
    }

    /// 409: create of an object that exists.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Status {
        Status::new(409, "AlreadyExists", format!("{resource} {name:?} already exists"))
            .with_details(StatusDetails::of_resource(resource, name))
    }

    /// 409: the object has changed, or a precondition does not hold.
    pub fn conflict(resource: &GroupResource, name: &str, why: impl std::fmt::Display) -> Status {
        Status::new(409, "Conflict", format!("Operation cannot be fulfilled on {resource} {name:?}: {why}"))
            .with_details(StatusDetails::of_resource(resource, name))
    }

    /// 409 with the sentence of an update whose resourceVersion is not the current one.
    pub fn object_modified(resource: &GroupResource, name: &str) -> Status {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Status::conflict(resource, name, why)
    }

    /// 403. `resource` and `name` may be empty.
    pub fn forbidden(resource: &GroupResource, name: &str, why: impl std::fmt::Display) -> Status {
        let message = match (resource.resource.is_empty(), name.is_empty()) {
            (true, true) => format!("forbidden: {why}"),
            (_, true) => format!("{resource} is forbidden: {why}"),
            _ => format!("{resource} {name:?} is forbidden: {why}"),
        };
        Status::new(403, "Forbidden", message).with_details(StatusDetails::of_resource(resource, name))
    }

    /// 401.
    pub fn unauthorized() -> Status {
        Status::new(401, "Unauthorized", "Unauthorized")
    }

    /// 422: validation failed. `kind` is printed as `Kind.group`.
    pub fn invalid(kind: &GroupVersionKind, name: &str, errors: &[FieldError]) -> Status {
        // As the reference does it: what is said twice is told once.
        let mut told: Vec<(&FieldError, String)> = Vec::with_capacity(errors.len());
        for error in errors {
            let text = error.to_string();
            if !told.iter().any(|(_, other)| *other == text) {
                told.push((error, text));
            }
        }
        let texts: Vec<&str> = told.iter().map(|(_, text)| text.as_str()).collect();
        let text = if let [one] = texts.as_slice() { (*one).to_string() } else { format!("[{}]", texts.join(", ")) };
        let causes = told.iter().map(|(error, _)| StatusCause {
            reason: error.kind.reason().into(),
            message: error.body(),
            field: error.field.clone(),
        });
        Status::new(422, "Invalid", format!("{} {name:?} is invalid: {text}", kind.group_kind())).with_details(
            StatusDetails {
                name: name.into(),
                group: kind.group.to_string(),
                kind: kind.kind.to_string(),
                causes: causes.collect(),
                ..StatusDetails::default()
            },
        )
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message)
    }

    /// 405: the resource has no such verb.
    pub fn method_not_supported(resource: &GroupResource, verb: &str) -> Status {
        let message = format!("{verb} is not supported on resources of kind {:?}", resource.to_string());
        Status::new(405, "MethodNotAllowed", message).with_details(StatusDetails::of_resource(resource, ""))
    }

    /// 406: none of the accepted media types can be given.
    pub fn not_acceptable(accepted: &str) -> Status {
        let message = format!("only the following media types are accepted: {accepted}");
        Status::new(406, "NotAcceptable", message)
    }

    /// 415: the body's media type is not understood.
    pub fn unsupported_media_type(accepted: &str) -> Status {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Status::new(415, "UnsupportedMediaType", message)
    }

    /// 410: the resourceVersion or continue token is older than what is kept.
    pub fn expired(message: impl Into<String>) -> Status {
        Status::new(410, "Expired", message)
    }

    /// 504 that clients know as "too large resource version": the asked revision is not reached yet.
    pub fn too_large_resource_version(asked: u64, current: u64, retry_after_seconds: u32) -> Status {
        Status::timeout(format!("Too large resource version: {asked}, current: {current}"), retry_after_seconds)
            .with_cause("ResourceVersionTooLarge", "Too large resource version", "")
    }

    /// 504.
    pub fn timeout(message: impl std::fmt::Display, retry_after_seconds: u32) -> Status {
        Status::new(504, "Timeout", format!("Timeout: {message}"))
            .with_details(StatusDetails { retry_after_seconds, ..StatusDetails::default() })
    }

    /// 413.
    pub fn request_entity_too_large(why: impl std::fmt::Display) -> Status {
        Status::new(413, "RequestEntityTooLarge", format!("Request entity is too large: {why}"))
    }

    /// 429.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Status {
        Status::new(429, "TooManyRequests", message)
            .with_details(StatusDetails { retry_after_seconds, ..StatusDetails::default() })
    }

    /// 503.
    pub fn service_unavailable(message: impl Into<String>) -> Status {
        Status::new(503, "ServiceUnavailable", message)
    }

    /// 500.
    pub fn internal(why: impl std::fmt::Display) -> Status {
        Status::new(500, "InternalError", format!("Internal error occurred: {why}")).with_cause("", why.to_string(), "")
    }

    /// 501: the kind is known, what it does is not built.
    pub fn not_implemented(message: impl Into<String>) -> Status {
        Status::new(501, "NotImplemented", message)
    }

    /// Seconds for the `Retry-After` header; 0 is none.
    pub fn retry_after_seconds(&self) -> u32 {
        self.details.as_ref().map_or(0, |details| details.retry_after_seconds)
    }

    /// The body.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("kind".into(), json!("Status"));
        map.insert("apiVersion".into(), json!("v1"));
        let token = self.details.as_ref().map_or("", |details| &details.continue_token);
        map.insert("metadata".into(), if token.is_empty() { json!({}) } else { json!({"continue": token}) });
        map.insert("status".into(), json!("Failure"));
        if !self.message.is_empty() {
            map.insert("message".into(), json!(self.message));
        }
        if !self.reason.is_empty() {
            map.insert("reason".into(), json!(self.reason));
        }
        if let Some(details) = &self.details {
            map.insert("details".into(), details.to_json());
        }
        map.insert("code".into(), json!(self.code));
        Value::Object(map)
    }
}

/// The body of a success answer that is not an object: what deletes give.
pub fn success(resource: &GroupResource, name: &str, uid: &str) -> Value {
    let details = StatusDetails { uid: uid.into(), ..StatusDetails::of_resource(resource, name) };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.to_json()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldError;

    #[test]
    fn messages_are_the_references() {
        let deployments = GroupResource::new("apps", "deployments");
        let check = |status: Status, code: u16, message: &str| {
            assert_eq!((status.code, status.message.as_str()), (code, message));
        };
        check(Status::not_found(&deployments, "web"), 404, r#"deployments.apps "web" not found"#);
        check(Status::already_exists(&GroupResource::new("", "pods"), "a"), 409, r#"pods "a" already exists"#);
        check(Status::forbidden(&deployments, "", "no"), 403, "deployments.apps is forbidden: no");
        check(Status::forbidden(&GroupResource::new("", ""), "", "no"), 403, "forbidden: no");
        check(
            Status::method_not_supported(&deployments, "watch"),
            405,
            r#"watch is not supported on resources of kind "deployments.apps""#,
        );
        let errors = [FieldError::required("spec.a", ""), FieldError::invalid("b", &json!("x"), "bad")];
        let invalid = Status::invalid(&GroupVersionKind::new("apps", "v1", "Deployment"), "web", &errors);
        let text = r#"Deployment.apps "web" is invalid: [spec.a: Required value, b: Invalid value: "x": bad]"#;
        check(invalid.clone(), 422, text);
        assert_eq!(invalid.to_json()["details"]["causes"][1]["message"], r#"Invalid value: "x": bad"#);
    }
}
