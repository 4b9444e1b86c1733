//! Values in errors as the reference prints them: its validation sees internal types, which have no JSON names, so that
//! structs come out with the names and the order of Go's fields, and with all that is unset.

use triune_api::{
    Value,
    field::{FieldError, FieldErrorKind},
    path::Path,
};

/// Types and their fields in order: the name in Go, `=` the name in JSON where it is not the same with a small first letter,
/// `:` what is printed where it is unset, or the type of the struct there: `*T` is null where unset, `[]T` a list.
const TYPES: [(&str, &str); 20] = [
    (
        "SecurityContext",
        "Capabilities:*Capabilities Privileged:null SELinuxOptions=seLinuxOptions:*SELinuxOptions \
         WindowsOptions:*WindowsSecurityContextOptions RunAsUser:null RunAsGroup:null RunAsNonRoot:null \
         ReadOnlyRootFilesystem:null AllowPrivilegeEscalation:null ProcMount:null SeccompProfile:*SeccompProfile \
         AppArmorProfile:*AppArmorProfile",
    ),
    ("Capabilities", "Add:null Drop:null"),
    ("SELinuxOptions", r#"User:"" Role:"" Type:"" Level:"""#),
    (
        "WindowsSecurityContextOptions",
        "GMSACredentialSpecName=gmsaCredentialSpecName:null GMSACredentialSpec=gmsaCredentialSpec:null RunAsUserName:null \
         HostProcess:null",
    ),
    ("SeccompProfile", r#"Type:"" LocalhostProfile:null"#),
    ("AppArmorProfile", r#"Type:"" LocalhostProfile:null"#),
    (
        "ClusterTrustBundleProjection",
        r#"Name:null SignerName:null LabelSelector:*LabelSelector Optional:null Path:"" User:null"#,
    ),
    ("PodResourceClaim", r#"Name:"" ResourceClaimName:null ResourceClaimTemplateName:null"#),
    ("Toleration", r#"Key:"" Operator:"" Value:"" Effect:"" TolerationSeconds:null"#),
    ("DeploymentStrategy", r#"Type:"" RollingUpdate:*RollingUpdate"#),
    ("DaemonSetUpdateStrategy", r#"Type:"" RollingUpdate:*RollingUpdate"#),
    ("RollingUpdate", "MaxUnavailable:0 MaxSurge:0"),
    ("StatefulSetUpdateStrategy", r#"Type:"" RollingUpdate:*RollingUpdateStatefulSetStrategy"#),
    ("RollingUpdateStatefulSetStrategy", "Partition:0 MaxUnavailable:null"),
    (
        "PodDisruptionBudgetSpec",
        "MinAvailable:null Selector:*LabelSelector MaxUnavailable:null UnhealthyPodEvictionPolicy:null",
    ),
    ("SuccessPolicy", "Rules:[]SuccessPolicyRule"),
    ("SuccessPolicyRule", "SucceededIndexes:null SucceededCount:null"),
    ("NodeSelectorTerm", "MatchExpressions:[]NodeSelectorRequirement MatchFields:[]NodeSelectorRequirement"),
    ("NodeSelectorRequirement", r#"Key:"" Operator:"" Values:null"#),
    ("ResourceRequirements", "Limits:null Requests:null Claims:null"),
];

/// `field: Invalid value: value: detail` of a struct of the type.
pub fn invalid(path: &Path<'_>, type_name: &str, value: &Value, detail: String) -> FieldError {
    let field = path.to_string();
    FieldError { kind: FieldErrorKind::Invalid, field, value: Some(structure(type_name, value)), detail }
}

/// `field: Unsupported value: value: supported values: ...` of a struct of the type.
pub fn not_supported(path: &Path<'_>, type_name: &str, value: &Value, supported: &[&str]) -> FieldError {
    let mut error = path.not_supported(Value::Null, supported);
    error.value = Some(structure(type_name, value));
    error
}

/// A struct of the type.
pub fn structure(type_name: &str, value: &Value) -> String {
    let mut out = String::new();
    append(&mut out, type_name, value);
    out
}

fn append(out: &mut String, type_name: &str, value: &Value) {
    if type_name == "LabelSelector" {
        out.push_str(&selector(value));
        return;
    }
    let Some((_, fields)) = TYPES.iter().find(|(name, _)| *name == type_name) else {
        out.push_str(&value.to_string());
        return;
    };
    out.push('{');
    for (index, field) in fields.split_whitespace().enumerate() {
        let (names, shape) = field.split_once(':').unwrap_or((field, "null"));
        let (name, json_name) = names.split_once('=').unwrap_or((names, ""));
        if index > 0 {
            out.push(',');
        }
        out.push_str(&format!("{name:?}:"));
        let value = if json_name.is_empty() { value.get(lower_first(name)) } else { value.get(json_name) };
        append_field(out, shape, value.filter(|value| !value.is_null()));
    }
    out.push('}');
}

fn append_field(out: &mut String, shape: &str, value: Option<&Value>) {
    match (value, shape.strip_prefix('*'), shape.strip_prefix("[]")) {
        (None, Some(_), _) | (None, _, Some(_)) => out.push_str("null"),
        (None, ..) => out.push_str(shape),
        (Some(value), Some(type_name), _) => append(out, type_name, value),
        (Some(Value::Array(items)), _, Some(type_name)) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                append(out, type_name, item);
            }
            out.push(']');
        }
        (Some(value), ..) => out.push_str(&value.to_string()),
    }
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// A label selector, which has JSON names also inside of the reference, in the order of its fields.
pub fn selector(value: &Value) -> String {
    let mut parts = Vec::new();
    let given = |key: &str| value.get(key).filter(|value| !value.is_null() && !is_empty(value));
    if let Some(labels) = given("matchLabels") {
        parts.push(format!(r#""matchLabels":{labels}"#));
    }
    if let Some(Value::Array(expressions)) = given("matchExpressions") {
        let expressions: Vec<String> = expressions.iter().map(expression).collect();
        parts.push(format!(r#""matchExpressions":[{}]"#, expressions.join(",")));
    }
    format!("{{{}}}", parts.join(","))
}

fn expression(expression: &Value) -> String {
    let text = |key: &str| expression.get(key).cloned().unwrap_or_else(|| "".into());
    let mut out = format!(r#"{{"key":{},"operator":{}"#, text("key"), text("operator"));
    if let Some(values) = expression.get("values").filter(|values| !values.is_null() && !is_empty(values)) {
        out.push_str(&format!(r#","values":{values}"#));
    }
    out.push('}');
    out
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Why a text is no integer, as Go says it.
pub fn atoi(text: &str) -> &'static str {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        "value out of range"
    } else {
        "invalid syntax"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn structs_are_printed_with_the_names_of_go() {
        let check = |type_name: &str, value: Value, expected: &str| assert_eq!(structure(type_name, &value), expected);
        check("DeploymentStrategy", json!({"type": "x"}), r#"{"Type":"x","RollingUpdate":null}"#);
        check(
            "SuccessPolicy",
            json!({"rules": [{"succeededCount": 1}]}),
            r#"{"Rules":[{"SucceededIndexes":null,"SucceededCount":1}]}"#,
        );
        check(
            "LabelSelector",
            json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}),
            r#"{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"k","operator":"In","values":["v"]}]}"#,
        );
        check("LabelSelector", json!({"matchLabels": {}}), "{}");
    }
}
