//! Options of writes and single reads: from the query or a body to checked values (apimachinery
//! `meta/v1/validation`, `runtime/conversion.go`).
//!
//! Unknown parameters are ignored, as the reference does. A parameter that is given twice counts once, except `dryRun`.

use serde_json::json;
use triune_api::{Value, field::FieldError, names::GroupVersionKind, status::Status};

/// Longest `fieldManager`, in bytes.
const FIELD_MANAGER_BYTES_MAX: usize = 128;

/// The parameters of a URL, decoded.
pub struct Query(Vec<(String, String)>);

/// What unknown and duplicate fields of a body lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// Nothing.
    Ignore,
    /// A `Warning` header each.
    Warn,
    /// 400.
    Strict,
}

/// Options of create, update and patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether nothing is stored.
    pub dry_run: bool,
    /// What unknown and duplicate fields lead to.
    pub field_validation: FieldValidation,
    /// Who is recorded as the owner of the fields; "" if the request does not say.
    pub field_manager: String,
    /// Whether an apply takes fields from other owners.
    pub force: bool,
}

/// Of which kind the options are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOptionsKind {
    /// Of POST.
    Create,
    /// Of PUT.
    Update,
    /// Of PATCH.
    Patch,
    /// Of PATCH with an apply configuration.
    Apply,
}

impl WriteOptionsKind {
    fn as_str(self) -> &'static str {
        match self {
            WriteOptionsKind::Create => "CreateOptions",
            WriteOptionsKind::Update => "UpdateOptions",
            WriteOptionsKind::Patch | WriteOptionsKind::Apply => "PatchOptions",
        }
    }
}

/// What a delete does with dependents, as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// The garbage collector deletes them afterwards.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// `DeleteOptions` of meta/v1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteOptions {
    /// Seconds of grace.
    pub grace_period_seconds: Option<i64>,
    /// The object must have this uid.
    pub uid: Option<String>,
    /// The object must be at this revision.
    pub resource_version: Option<String>,
    /// The old form of `propagation`.
    pub orphan_dependents: Option<bool>,
    /// What happens to dependents.
    pub propagation: Option<Propagation>,
    /// Whether nothing is stored.
    pub dry_run: bool,
}

impl Query {
    /// Decodes a query string.
    pub fn parse(query: &str) -> Query {
        Query(form_urlencoded::parse(query.as_bytes()).map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// The first value of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub fn texts<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean: everything but `0` and `false` is true.
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.text(name).map(|text| text != "0" && !text.eq_ignore_ascii_case("false"))
    }

    /// An integer, or 400 in Go's words.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Status> {
        self.text(name).map(parse_integer).transpose()
    }
}

/// As Go's `strconv.ParseInt`.
fn parse_integer(text: &str) -> Result<i64, Status> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why =
            if matches!(error.kind(), NegOverflow | PosOverflow) { "value out of range" } else { "invalid syntax" };
        Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
    })
}

impl WriteOptions {
    /// Reads and checks the options of a write; 422 in the words of the reference.
    pub fn parse(query: &Query, kind: WriteOptionsKind) -> Result<WriteOptions, Status> {
        let mut errors = Vec::new();
        if kind == WriteOptionsKind::Patch && query.text("force").is_some() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        let field_manager = query.text("fieldManager").unwrap_or_default();
        if kind == WriteOptionsKind::Apply && field_manager.is_empty() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        check_field_manager(field_manager, &mut errors);
        let dry_run: Vec<&str> = query.texts("dryRun").collect();
        check_dry_run(&dry_run, &mut errors);
        let field_validation = match query.text("fieldValidation").unwrap_or_default() {
            "Ignore" => FieldValidation::Ignore,
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", &json!(other), &supported));
                FieldValidation::Warn
            }
        };
        refuse(kind.as_str(), &errors)?;
        Ok(WriteOptions {
            dry_run: !dry_run.is_empty(),
            field_validation,
            field_manager: field_manager.into(),
            force: query.bool("force").unwrap_or_default(),
        })
    }
}

fn check_field_manager(manager: &str, errors: &mut Vec<FieldError>) {
    if manager.len() > FIELD_MANAGER_BYTES_MAX {
        errors.push(FieldError::too_long("fieldManager", FIELD_MANAGER_BYTES_MAX));
    }
    for (position, character) in manager.char_indices().filter(|(_, character)| character.is_control()) {
        let detail = format!("invalid character U+{:04X} (at position {position})", u32::from(character));
        errors.push(FieldError::invalid("fieldManager", &json!(manager), detail));
    }
}

fn check_dry_run(values: &[&str], errors: &mut Vec<FieldError>) {
    if values.iter().any(|value| *value != "All") {
        errors.push(FieldError::not_supported("dryRun", &json!(values), &["All"]));
    }
}

fn refuse(kind: &str, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&GroupVersionKind::new("meta.k8s.io", "v1", kind), "", errors))
}

impl DeleteOptions {
    /// From the query of a request without a body.
    pub fn from_query(query: &Query) -> Result<DeleteOptions, Status> {
        let raw = RawDeleteOptions {
            grace_period_seconds: query.integer("gracePeriodSeconds")?,
            orphan_dependents: query.bool("orphanDependents"),
            propagation: query.text("propagationPolicy").map(str::to_string),
            dry_run: query.texts("dryRun").map(str::to_string).collect(),
            ..RawDeleteOptions::default()
        };
        raw.check()
    }

    /// From a body: a `DeleteOptions` of any group version.
    pub fn from_body(body: &Value) -> Result<DeleteOptions, Status> {
        let kind = triune_api::meta::kind(body);
        if !matches!(kind, "" | "DeleteOptions") {
            let version = triune_api::meta::api_version(body);
            let text = format!(
                "no kind {kind:?} is registered for version {version:?} in scheme \
                 \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:49\""
            );
            return Err(Status::bad_request(text));
        }
        serde_json::from_value::<RawDeleteOptions>(body.clone())
            .map_err(|error| Status::bad_request(format!("json: {error}")))?
            .check()
    }
}

/// The options as sent.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawDeleteOptions {
    grace_period_seconds: Option<i64>,
    preconditions: Option<RawPreconditions>,
    orphan_dependents: Option<bool>,
    #[serde(rename = "propagationPolicy")]
    propagation: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    dry_run: Vec<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPreconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

fn null_is_empty<'a, D: serde::Deserializer<'a>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(<Option<Vec<String>> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}

impl RawDeleteOptions {
    fn check(self) -> Result<DeleteOptions, Status> {
        let mut errors = Vec::new();
        if let (Some(policy), Some(_)) = (&self.propagation, self.orphan_dependents) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid("propagationPolicy", &json!(policy), detail));
        }
        let propagation = match self.propagation.as_deref() {
            None => None,
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported("propagationPolicy", &json!(other), &supported));
                None
            }
        };
        check_dry_run(&self.dry_run.iter().map(String::as_str).collect::<Vec<&str>>(), &mut errors);
        refuse("DeleteOptions", &errors)?;
        let preconditions = self.preconditions.unwrap_or_default();
        Ok(DeleteOptions {
            grace_period_seconds: self.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds }),
            uid: preconditions.uid,
            resource_version: preconditions.resource_version,
            orphan_dependents: self.orphan_dependents,
            propagation,
            dry_run: !self.dry_run.is_empty(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_write(query: &str, expect: &str) {
        check_write_of(WriteOptionsKind::Patch, query, expect);
    }

    fn check_write_of(kind: WriteOptionsKind, query: &str, expect: &str) {
        let got = match WriteOptions::parse(&Query::parse(query), kind) {
            Ok(options) => {
                let force = if options.force { " force" } else { "" };
                format!("{:?} dry={}{force}", options.field_validation, options.dry_run)
            }
            Err(status) => format!("{} {}", status.code, status.message),
        };
        assert_eq!(got, expect, "{query}");
    }

    #[test]
    fn options_of_writes() {
        check_write("", "Warn dry=false");
        check_write("dryRun=All&dryRun=All&fieldValidation=Strict&other=1", "Strict dry=true");
        check_write("fieldManager=kubectl&fieldValidation=Ignore", "Ignore dry=false");
        let invalid = r#"422 PatchOptions.meta.k8s.io "" is invalid: "#;
        check_write("dryRun=x", &format!(r#"{invalid}dryRun: Unsupported value: ["x"]: supported values: "All""#));
        check_write(
            "fieldValidation=x",
            &format!(
                r#"{invalid}fieldValidation: Unsupported value: "x": supported values: "", "Ignore", "Strict", "Warn""#
            ),
        );
        check_write(
            &format!("fieldManager={}", "x".repeat(129)),
            &format!("{invalid}fieldManager: Too long: may not be more than 128 bytes"),
        );
        check_write("force=true", &format!("{invalid}force: Forbidden: may not be specified for non-apply patch"));
        let check_apply = |query: &str, expect: &str| check_write_of(WriteOptionsKind::Apply, query, expect);
        check_apply("fieldManager=a&force=true", "Warn dry=false force");
        check_apply("fieldManager=a", "Warn dry=false");
        check_apply("", &format!("{invalid}fieldManager: Required value: is required for apply patch"));
    }

    fn check_delete(got: Result<DeleteOptions, Status>, expect: &str) {
        let got = match got {
            Ok(options) => format!(
                "grace={:?} uid={:?} rv={:?} orphan={:?} policy={:?} dry={}",
                options.grace_period_seconds,
                options.uid.as_deref().unwrap_or_default(),
                options.resource_version.as_deref().unwrap_or_default(),
                options.orphan_dependents,
                options.propagation,
                options.dry_run
            ),
            Err(status) => format!("{} {}", status.code, status.message),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn options_of_deletes() {
        let query = |text: &str| DeleteOptions::from_query(&Query::parse(text));
        let nothing = r#"grace=None uid="" rv="" orphan=None policy=None dry=false"#;
        check_delete(query(""), nothing);
        check_delete(
            query("gracePeriodSeconds=-5&propagationPolicy=Foreground&dryRun=All"),
            r#"grace=Some(1) uid="" rv="" orphan=None policy=Some(Foreground) dry=true"#,
        );
        check_delete(query("gracePeriodSeconds=x"), r#"400 strconv.ParseInt: parsing "x": invalid syntax"#);
        check_delete(DeleteOptions::from_body(&json!({"dryRun": null, "preconditions": null})), nothing);
        check_delete(
            DeleteOptions::from_body(
                &json!({"kind": "DeleteOptions", "apiVersion": "apps/v1", "gracePeriodSeconds": 3,
                "preconditions": {"uid": "u", "resourceVersion": "7"}, "orphanDependents": true, "unknown": 1}),
            ),
            r#"grace=Some(3) uid="u" rv="7" orphan=Some(true) policy=None dry=false"#,
        );
        check_delete(
            DeleteOptions::from_body(&json!({"orphanDependents": true, "propagationPolicy": "Orphan"})),
            r#"422 DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set"#,
        );
        check_delete(
            query("propagationPolicy=x"),
            r#"422 DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "x": supported values: "Foreground", "Background", "Orphan", "nil""#,
        );
    }
}
