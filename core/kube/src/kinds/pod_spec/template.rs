//! Pod specs with metadata: templates, and what annotations say beside the fields.

use triune_api::{Value, field::FieldError, path::Path};

use super::{
    Tolerated, annotation, each_container, list_of, mounts::descending, scheduling::MIRROR, some_of, text_of, validate,
    windows::is_windows,
};
use crate::{kinds::validation, tree};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF_CONTAINERS: &str = "container.seccomp.security.alpha.kubernetes.io/";
/// Annotations that named the AppArmor profile of a container.
pub const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Checks a template; `old` is the one before an update.
pub fn template(template: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    check(template, Tolerated::default(), path, errors);
    // What was there already may be tolerated; whether it was costs time, and only matters if something is wrong.
    if errors.len() > before
        && let Some(old) = old
    {
        let tolerated = Tolerated::of(spec_of(old), metadata_of(old));
        if tolerated != Tolerated::default() {
            errors.truncate(before);
            check(template, tolerated, path, errors);
        }
    }
}

fn check(template: &Value, tolerated: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (metadata, spec) = (metadata_of(template), spec_of(template));
    validation::labels(metadata.get("labels"), &path.field("labels"), errors);
    validation::annotations(metadata.get("annotations"), &path.field("annotations"), errors);
    annotations(metadata, spec, tolerated, &path.field("annotations"), errors);
    let spec_path = path.field("spec");
    validate::pod_spec(spec, None, tolerated, &spec_path, errors);
    profiles_match(metadata, spec, &spec_path, errors);
    if !list_of(spec, "ephemeralContainers").is_empty() {
        errors
            .push(spec_path.field("ephemeralContainers").forbidden("ephemeral containers not allowed in pod template"));
    }
}

static NULL: Value = Value::Null;

/// The spec of a template or pod.
pub fn spec_of(template: &Value) -> &Value {
    template.get("spec").unwrap_or(&NULL)
}

/// The metadata of a template or pod.
pub fn metadata_of(template: &Value) -> &Value {
    template.get("metadata").unwrap_or(&NULL)
}

/// Checks the annotations that mean something to pods.
pub fn annotations(
    metadata: &Value,
    spec: &Value,
    tolerated: Tolerated,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let Some(annotations) = tree::map(metadata, "/annotations").filter(|annotations| !annotations.is_empty()) else {
        return;
    };
    if let Some(value) = annotation(metadata, MIRROR)
        && text_of(spec, "nodeName").is_empty()
    {
        errors.push(path.key(MIRROR).invalid(value, "must set spec.nodeName if mirror pod annotation is set"));
    }
    if let Some(value) = deletion_cost_error(metadata).filter(|_| !tolerated.deletion_cost) {
        errors.push(path.key(DELETION_COST).invalid(value, "must be a 32bit integer"));
    }
    if let Some(profile) = annotation(metadata, SECCOMP_OF_POD) {
        seccomp_profile(profile, &path.field(SECCOMP_OF_POD), errors);
    }
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_string();
    for (key, value) in annotations.iter().filter(|(key, _)| key.starts_with(SECCOMP_OF_CONTAINERS)) {
        seccomp_profile(&text(value), &path.field(key), errors);
    }
    for (key, value) in annotations {
        let Some(container) = key.strip_prefix(APP_ARMOR) else { continue };
        let mut found = false;
        each_container(spec, path, |other, _| found |= text_of(other, "name") == container);
        if !found {
            errors.push(path.key(key).invalid(container, "container not found"));
        }
        let profile = text(value);
        let known = matches!(profile.as_str(), "" | "runtime/default" | "unconfined");
        if !known && !profile.starts_with("localhost/") {
            let message = format!("invalid AppArmor profile name: {profile:?}");
            errors.push(path.key(key).invalid(profile, message));
        }
    }
}

/// The deletion cost of a pod, if it is no integer of 32 bits as people write it.
pub fn deletion_cost_error(metadata: &Value) -> Option<&str> {
    let cost = annotation(metadata, DELETION_COST)?;
    let digits = cost.strip_prefix('-').unwrap_or(cost);
    let leads = digits == "0" && cost == "0" || digits.starts_with(|first: char| ('1'..='9').contains(&first));
    (!leads || cost.parse::<i32>().is_err()).then_some(cost)
}

fn seccomp_profile(profile: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        _ => match profile.strip_prefix("localhost/") {
            Some(file) => descending(file, path, errors),
            None => errors.push(path.invalid(profile, "must be a valid seccomp profile")),
        },
    }
}

/// What annotations say of seccomp and AppArmor profiles must be what the fields say.
pub fn profiles_match(metadata: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if tree::map(metadata, "/annotations").is_none_or(serde_json::Map::is_empty) {
        return;
    }
    let of_pod = |field: &str| some_of(spec, "securityContext").and_then(|context| some_of(context, field));
    if let (Some(profile), Some(said)) = (of_pod("seccompProfile"), annotation(metadata, SECCOMP_OF_POD)) {
        profile_matches("seccomp", profile, said, &path.field("securityContext.seccompProfile"), errors);
    }
    let of_container = |container: &'_ Value, field: &str| {
        some_of(container, "securityContext").and_then(|context| some_of(context, field)).cloned()
    };
    each_container(spec, path, |container, path| {
        let key = format!("{SECCOMP_OF_CONTAINERS}{}", text_of(container, "name"));
        if let (Some(profile), Some(said)) = (of_container(container, "seccompProfile"), annotation(metadata, &key)) {
            profile_matches("seccomp", &profile, said, &path.field("securityContext.seccompProfile"), errors);
        }
    });
    if is_windows(spec) {
        return;
    }
    each_container(spec, path, |container, path| {
        let key = format!("{APP_ARMOR}{}", text_of(container, "name"));
        let profile = of_container(container, "appArmorProfile").or_else(|| of_pod("appArmorProfile").cloned());
        if let (Some(profile), Some(said)) = (profile, annotation(metadata, &key)) {
            profile_matches("apparmor", &profile, said, &path.field("securityContext.appArmorProfile"), errors);
        }
    });
}

fn profile_matches(what: &str, profile: &Value, said: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let types_match = match text_of(profile, "type") {
        "Unconfined" => said == "unconfined",
        "RuntimeDefault" => said == "runtime/default" || (what == "seccomp" && said == "docker/default"),
        "Localhost" => match said.strip_prefix("localhost/") {
            Some(file) => {
                if profile.get("localhostProfile").and_then(Value::as_str) != Some(file) {
                    let message = format!("{what} profile in annotation and field must match");
                    errors.push(path.field("localhostProfile").forbidden(message));
                }
                true
            }
            None => false,
        },
        _ => true,
    };
    if !types_match {
        errors.push(path.field("type").forbidden(format!("{what} type in annotation and field must match")));
    }
}
