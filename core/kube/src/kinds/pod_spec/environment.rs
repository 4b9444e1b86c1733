//! Environment variables, one by one and by whole maps, and the references that they and files of the downward API share.

use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_label, dns_subdomain, formats},
};

use super::{list_of, mounts::no_backsteps, some_of, text_of};
use crate::kinds::validation;

/// Fields of the pod that a variable may show.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of the pod that can be named at all.
const KNOWN_FIELDS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTE_DIVISORS: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Checks `env`.
pub fn variables(variables: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        match text_of(variable, "name") {
            "" => errors.push(path.field("name").required("")),
            name => path.field("name").all_invalid(name, formats::environment_name(name), errors),
        }
        if let Some(source) = some_of(variable, "valueFrom") {
            value_from(source, text_of(variable, "value"), &path.field("valueFrom"), errors);
        }
    }
}

fn value_from(source: &Value, value: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut sources = 0;
    let mut part = |key| some_of(source, key).inspect(|_| sources += 1);
    if let Some(field) = part("fieldRef") {
        field_reference(field, &FIELDS, &path.field("fieldRef"), errors);
    }
    if let Some(resource) = part("resourceFieldRef") {
        resource_reference(resource, false, &path.field("resourceFieldRef"), errors);
    }
    for key in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = part(key) {
            key_reference(reference, &path.field(key), errors);
        }
    }
    if let Some(file) = part("fileKeyRef") {
        file_reference(file, &path.field("fileKeyRef"), errors);
    }
    let message = match sources {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if !value.is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(path.invalid("", message));
}

/// Checks a reference to a field of the pod, of which `supported` may be shown here, in the reference's order.
pub fn field_reference(reference: &Value, supported: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (version, field) = (text_of(reference, "apiVersion"), text_of(reference, "fieldPath"));
    for (key, text) in [("apiVersion", version), ("fieldPath", field)] {
        if text.is_empty() {
            errors.push(path.field(key).required(""));
            return;
        }
    }
    let subscripted =
        field.strip_suffix("']").and_then(|rest| rest.split_once("['")).filter(|(name, _)| !name.is_empty());
    let unknown = match subscripted {
        _ if version != "v1" => Some(format!("unsupported pod version: {version}")),
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {field}")),
        None if field == "spec.host" || KNOWN_FIELDS.contains(&field) => None,
        None => Some(format!("field label not supported: {field}")),
    };
    if let Some(why) = unknown {
        errors.push(path.field("fieldPath").invalid(field, format!("error converting fieldPath: {why}")));
        return;
    }
    match subscripted {
        Some(("metadata.annotations", key)) => validation::qualified_name(&key.to_lowercase(), path, errors),
        Some((_, key)) => validation::qualified_name(key, path, errors),
        None => {
            let field = if field == "spec.host" { "spec.nodeName" } else { field };
            if !supported.contains(&field) {
                errors.push(path.field("fieldPath").not_supported(field, supported));
            }
        }
    }
}

/// Checks a reference to an amount of a container, which a volume must name.
pub fn resource_reference(reference: &Value, in_volume: bool, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let resource = text_of(reference, "resource");
    let huge_pages = resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-");
    if in_volume && text_of(reference, "containerName").is_empty() {
        errors.push(path.field("containerName").required(""));
    } else if resource.is_empty() {
        errors.push(path.field("resource").required(""));
    } else if !RESOURCES.contains(&resource) && !huge_pages {
        errors.push(path.field("resource").not_supported(resource, &RESOURCES));
    }
    let Some(divisor) = reference.get("divisor").and_then(validation::quantity).filter(|divisor| !divisor.is_zero())
    else {
        return;
    };
    let divisor = divisor.canonical();
    let of_bytes = |what: &str| {
        let divisors = BYTE_DIVISORS.join(", ");
        Some(format!("only divisor's values {divisors} are supported with the {what} resource"))
            .filter(|_| !BYTE_DIVISORS.contains(&divisor.as_str()))
    };
    let message = match resource {
        "limits.cpu" | "requests.cpu" => {
            let message = "only divisor's values 1m and 1 are supported with the cpu resource";
            Some(message.to_string()).filter(|_| !["1m", "1"].contains(&divisor.as_str()))
        }
        "limits.memory" | "requests.memory" => of_bytes("memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => of_bytes("local ephemeral storage"),
        _ if huge_pages => of_bytes("hugepages"),
        _ => None,
    };
    if let Some(message) = message {
        errors.push(path.field("divisor").invalid(resource, message));
    }
}

fn key_reference(reference: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let name = text_of(reference, "name");
    path.field("name").all_invalid(name, dns_subdomain(name), errors);
    match text_of(reference, "key") {
        "" => errors.push(path.field("key").required("")),
        key => path.field("key").all_invalid(key, formats::config_map_key(key), errors),
    }
}

fn file_reference(reference: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match text_of(reference, "key") {
        "" => errors.push(path.field("key").required("")),
        key => path.field("key").all_invalid(key, formats::environment_name(key), errors),
    }
    match text_of(reference, "volumeName") {
        "" => errors.push(path.field("volumeName").required("")),
        name => path.field("volumeName").all_invalid(name, dns_label(name), errors),
    }
    match text_of(reference, "path") {
        "" => errors.push(path.field("path").required("")),
        file => no_backsteps(file, &path.field("path"), errors),
    }
}

/// Checks `envFrom`. What is wrong with the number of sources is told of the whole list.
pub fn sources(sources: &[Value], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (index, source) in sources.iter().enumerate() {
        let item = path.index(index);
        match text_of(source, "prefix") {
            "" => {}
            prefix => item.field("prefix").all_invalid(prefix, formats::environment_name(prefix), errors),
        }
        let mut count = 0;
        for key in ["configMapRef", "secretRef"] {
            let Some(reference) = some_of(source, key) else { continue };
            count += 1;
            let path = item.field(key);
            match text_of(reference, "name") {
                "" => errors.push(path.field("name").required("")),
                name => {
                    let messages = dns_subdomain(&triune_api::validation::mask_trailing_dash(name));
                    path.field("name").all_invalid(name, messages, errors);
                }
            }
        }
        match count {
            0 => errors.push(path.invalid("", "must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => errors.push(path.invalid("", "may not have more than one field specified at a time")),
        }
    }
}

/// Whether any variable of a container is read from a file.
pub fn reads_files(container: &Value) -> bool {
    list_of(container, "env").iter().any(|variable| crate::tree::has(variable, "/valueFrom/fileKeyRef"))
}
