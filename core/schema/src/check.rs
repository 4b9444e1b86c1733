//! What Go's decoder would refuse, in its words.
//!
//! As in sigs.k8s.io/json, a value of the wrong JSON type is remembered (the first one) and decoding goes on; a type that
//! decodes itself (times, quantities, ...) ends decoding with its own error, which then is the one reported.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;
use triune_api::quantity::Quantity;

use crate::{
    facts::{Facts, Kind, ShapeIndex, Type},
    gotime::{self, Layout},
    walk::cursor,
};

/// Go's `base64.StdEncoding`: padded, and it does not mind bits behind the end.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Checks a whole object.
pub(crate) fn check_types(facts: &Facts, index: u32, value: &Value) -> Result<(), String> {
    let mut checker = Checker { facts, remembered: None };
    let declared = facts.get(index);
    let package = &facts.package_of(declared).name;
    let go_type = format!("{}.{}", package.rsplit('/').next().unwrap_or(package), declared.name);
    checker.check_struct(index, &go_type, value, &Place::Root)?;
    checker.remembered.map_or(Ok(()), Err)
}

/// Where an error is, as Go's decoder tells it: list indexes and map keys are left out.
enum Place<'a> {
    Root,
    Field { owner: &'a Type, name: &'a str, parent: &'a Place<'a> },
}

struct Checker<'a> {
    facts: &'a Facts,
    remembered: Option<String>,
}

impl Checker<'_> {
    fn check_struct(&mut self, index: u32, go_type: &str, value: &Value, place: &Place<'_>) -> Result<(), String> {
        let object = match value {
            Value::Object(object) => object,
            Value::Null => return Ok(()),
            _ => {
                self.remember(value, go_type, place);
                return Ok(());
            }
        };
        let facts = self.facts;
        let owner = facts.get(index);
        let mut fields = cursor(facts, owner);
        for (name, value) in object {
            if let Some(field) = fields.seek(name, |_| ()) {
                self.check_shape(field.shape, value, &Place::Field { owner, name, parent: place })?;
            }
        }
        Ok(())
    }

    fn check_shape(&mut self, shape: ShapeIndex, value: &Value, place: &Place<'_>) -> Result<(), String> {
        let facts = self.facts;
        let (pointee, _) = facts.pointee(shape);
        match (pointee.kind, value) {
            (_, Value::Null)
            | (Kind::Any | Kind::Raw, _)
            | (Kind::String, Value::String(_))
            | (Kind::Bool, Value::Bool(_)) => {}
            (Kind::Struct(index), _) => self.check_struct(index, &pointee.go_type, value, place)?,
            (Kind::List(items), Value::Array(values)) => {
                for value in values {
                    self.check_shape(items, value, place)?;
                }
            }
            (Kind::Map(values), Value::Object(object)) => {
                for value in object.values() {
                    self.check_shape(values, value, place)?;
                }
            }
            (Kind::Integer(bits), Value::Number(number)) => {
                let fits = number.as_i64().is_some_and(|number| bits >= 64 || i32::try_from(number).is_ok());
                if !fits {
                    self.remember(value, &pointee.go_type, place);
                }
            }
            (Kind::Float, Value::Number(_)) => {}
            (Kind::Bytes, Value::String(text)) => {
                if let Err(error) = decode_base64(text) {
                    self.remembered.get_or_insert(error);
                }
            }
            (Kind::Bytes, Value::Array(bytes)) => {
                for byte in bytes.iter().filter(|byte| byte_value(byte).is_none()) {
                    self.remember(byte, "uint8", place);
                }
            }
            (kind, _) => return self.check_special(kind, value, &pointee.go_type, place),
        }
        Ok(())
    }

    /// Types that decode themselves, and what is of the wrong type altogether.
    fn check_special(&mut self, kind: Kind, value: &Value, go_type: &str, place: &Place<'_>) -> Result<(), String> {
        let refused = |go_type: &str| Err(self.type_error(value, go_type, place));
        match (kind, value) {
            (Kind::Quantity, Value::String(text)) if is_plain_quantity(text) => Ok(()),
            (Kind::Quantity, Value::String(text)) => check_quantity(text),
            (Kind::Quantity, other) => check_quantity(&other.to_string()),
            (Kind::Time, Value::String(text)) => gotime::canonical(text, Layout::Seconds).map(|_| ()),
            (Kind::MicroTime, Value::String(text)) => gotime::canonical(text, Layout::Micros).map(|_| ()),
            (Kind::Time | Kind::MicroTime, _) => refused("string"),
            (Kind::IntOrString, Value::String(_)) => Ok(()),
            (Kind::IntOrString, other) => match other.as_i64().map(i32::try_from) {
                Some(Ok(_)) => Ok(()),
                _ => refused("int32"),
            },
            (Kind::SchemaOrBool(_), Value::Bool(_)) => Ok(()),
            (Kind::SchemaOrBool(index), Value::Object(_)) => {
                self.check_struct(index, "v1.JSONSchemaProps", value, place)
            }
            (Kind::SchemaOrBool(_), _) => Err("boolean or JSON schema expected".into()),
            (Kind::SchemaOrArray(index) | Kind::SchemaOrStrings(index), Value::Object(_)) => {
                self.check_struct(index, "v1.JSONSchemaProps", value, place)
            }
            (Kind::SchemaOrArray(index), Value::Array(schemas)) => {
                schemas.iter().try_for_each(|schema| self.check_struct(index, "v1.JSONSchemaProps", schema, place))
            }
            (Kind::SchemaOrStrings(_), Value::Array(names)) => {
                match names.iter().find(|name| !name.is_string() && !name.is_null()) {
                    Some(other) => Err(self.type_error(other, "string", place)),
                    None => Ok(()),
                }
            }
            (Kind::SchemaOrArray(_) | Kind::SchemaOrStrings(_), _) => Ok(()),
            _ => {
                self.remember(value, go_type, place);
                Ok(())
            }
        }
    }

    fn remember(&mut self, value: &Value, go_type: &str, place: &Place<'_>) {
        if self.remembered.is_none() {
            self.remembered = Some(self.type_error(value, go_type, place));
        }
    }

    fn type_error(&self, value: &Value, go_type: &str, place: &Place<'_>) -> String {
        let numeric = matches!(go_type, "uint8" | "int" | "int32" | "int64" | "float64");
        let what = match value {
            Value::Null => "null".into(),
            Value::Bool(_) => "bool".into(),
            Value::Number(number) if numeric => format!("number {number}"),
            Value::Number(_) => "number".into(),
            Value::String(_) => "string".into(),
            Value::Array(_) => "array".into(),
            Value::Object(_) => "object".to_string(),
        };
        match place {
            Place::Root => format!("json: cannot unmarshal {what} into Go value of type {go_type}"),
            Place::Field { owner, .. } => {
                let (owner, path) = (&owner.name, self.path(place));
                format!("json: cannot unmarshal {what} into Go struct field {owner}.{path} of type {go_type}")
            }
        }
    }

    fn path(&self, place: &Place<'_>) -> String {
        let Place::Field { owner, name, parent } = place else { return String::new() };
        let mut parts = vec![self.path(parent)];
        embedding(self.facts, owner, name, &mut parts);
        parts.push((*name).to_string());
        parts.retain(|part| !part.is_empty());
        parts.join(".")
    }
}

/// Adds the names of the inlined structs on the way to a field; false if the type does not have it.
fn embedding(facts: &Facts, owner: &Type, name: &str, parts: &mut Vec<String>) -> bool {
    let fields = facts.declared_fields(owner);
    if fields.iter().any(|field| !field.inline && &*field.name == name) {
        return true;
    }
    for field in fields.iter().filter(|field| field.inline) {
        parts.push(field.name.to_string());
        if let Kind::Struct(index) = facts.pointee(field.shape).0.kind
            && embedding(facts, facts.get(index), name, parts)
        {
            return true;
        }
        parts.pop();
    }
    false
}

fn check_quantity(text: &str) -> Result<(), String> {
    Quantity::parse(text.trim()).map(|_| ()).map_err(|error| error.0.to_string())
}

/// One of the bytes that Go also takes as a list of numbers.
pub(crate) fn byte_value(value: &Value) -> Option<u8> {
    if value.is_null() { Some(0) } else { u8::try_from(value.as_u64()?).ok() }
}

/// A quick look that settles most quantities: up to three digits and a usual suffix are fine, and canonical.
pub(crate) fn is_plain_quantity(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (1..=3).contains(&digits)
        && !text.starts_with('0')
        && matches!(&text[digits..], "" | "m" | "k" | "M" | "G" | "T" | "Ki" | "Mi" | "Gi" | "Ti")
}

/// Bytes of base64 as Go reads it: line breaks do not count.
///
/// # Errors
/// `illegal base64 data at input byte 4`
pub(crate) fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    let plain: std::borrow::Cow<'_, str> = match text.contains(['\r', '\n']) {
        true => text.replace(['\r', '\n'], "").into(),
        false => text.into(),
    };
    BASE64.decode(plain.as_bytes()).map_err(|_| format!("illegal base64 data at input byte {}", first_illegal(text)))
}

/// Where Go's decoder stops: the first byte outside the alphabet, or the end of what cannot be whole.
fn first_illegal(text: &str) -> usize {
    let bytes = text.as_bytes();
    let in_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'\r' | b'\n');
    let Some(stop) = bytes.iter().position(|byte| !in_alphabet(byte)) else {
        // Go points at the start of the quantum that is not whole.
        let digits = bytes.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).count();
        return bytes.len() - digits % 4;
    };
    let digits = bytes[..stop].iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).count() % 4;
    let padding = bytes[stop..].iter().take_while(|byte| **byte == b'=').count();
    match (digits, padding) {
        (0 | 1, _) | (_, 0) => stop,
        (2, 1) if stop + 1 == bytes.len() => bytes.len(),
        (2, 1) => stop,
        (2, _) => stop + 2,
        _ => stop + 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::built_in;

    fn check(value: Value, expected: &str) {
        let result = built_in(&value).check_types(&value);
        assert_eq!(result.map_or_else(|error| error, |()| String::new()), expected, "{value}");
    }

    fn pod(spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "spec": spec})
    }

    #[test]
    fn wrong_json_types() {
        let deployment = |spec: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec});
        let field = "json: cannot unmarshal string into Go struct field";
        check(deployment(json!({"replicas": "3"})), &format!("{field} DeploymentSpec.spec.replicas of type int32"));
        check(
            deployment(json!({"replicas": 3_000_000_000_i64})),
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        );
        check(
            deployment(json!({"replicas": 1.5})),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        );
        check(deployment(json!("x")), &format!("{field} Deployment.spec of type v1.DeploymentSpec"));
        check(deployment(json!({"replicas": null, "paused": null})), "");
        check(pod(json!({"containers": "x"})), &format!("{field} PodSpec.spec.containers of type []v1.Container"));
        check(
            pod(json!({"containers": [{"name": 1}]})),
            "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string",
        );
        check(pod(json!({"containers": ["x"]})), &format!("{field} PodSpec.spec.containers of type v1.Container"));
        check(
            pod(json!({"containers": [{"imagePullPolicy": true}]})),
            "json: cannot unmarshal bool into Go struct field Container.spec.containers.imagePullPolicy of type v1.PullPolicy",
        );
        check(
            pod(json!({"volumes": [{"emptyDir": "x"}]})),
            &format!("{field} Volume.spec.volumes.VolumeSource.emptyDir of type v1.EmptyDirVolumeSource"),
        );
        check(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": 1}}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        );
        check(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": ["a"]}}),
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        );
        check(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": "x", "immutable": "y"}),
            &format!("{field} ConfigMap.data of type map[string]string"),
        );
    }

    #[test]
    fn special_types_use_their_own_words() {
        let limits = |value: Value| pod(json!({"containers": [{"resources": {"limits": {"cpu": value}}}]}));
        check(limits(json!("1")), "");
        check(limits(json!(1)), "");
        check(
            limits(json!("x")),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        );
        let created =
            |value: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"creationTimestamp": value}});
        check(created(json!("2026-01-01T00:00:00Z")), "");
        check(created(json!(null)), "");
        check(
            created(json!(5)),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
        );
        check(created(json!("x")), r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#);
        let port =
            |value: Value| json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"targetPort": value}]}});
        check(port(json!("http")), "");
        check(port(json!(80)), "");
        check(
            port(json!(true)),
            "json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
        );
        // A type that decodes itself ends decoding: its error wins over one that came before.
        check(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": 1, "deletionTimestamp": "x"}}),
            r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#,
        );
        let schema = |schema: Value| {
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}})
        };
        check(
            schema(json!({"additionalProperties": true, "items": {"type": "string"}, "dependencies": {"a": ["b"]}})),
            "",
        );
        check(schema(json!({"additionalProperties": "x"})), "boolean or JSON schema expected");
    }

    #[test]
    fn base64() {
        let data = |text: &str| json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": text}});
        check(data("aGVsbG8="), "");
        check(data("aGVs\r\nbG8="), "");
        let list = |bytes: Value| json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": bytes}});
        check(list(json!([104, 105, null])), "");
        check(list(json!([300])), "json: cannot unmarshal number 300 into Go struct field Secret.data of type uint8");
        check(data("a"), "illegal base64 data at input byte 0");
        check(data("aGVsb"), "illegal base64 data at input byte 4");
        check(data("hello!"), "illegal base64 data at input byte 5");
        check(data("aGVsbG8"), "illegal base64 data at input byte 4");
        check(data("aGVsbG8=x"), "illegal base64 data at input byte 8");
    }
}
