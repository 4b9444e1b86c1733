//! Security contexts of pods and of containers.

use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::formats::{self, user_or_group_id},
};

use super::{
    Tolerated, Whole, integer_of, is_true, list_of, mounts::descending, optional_one_of, some_of, text_of, windows,
};
use crate::{kinds::shown, tree};

const SYSCTL_BYTES_MAX: usize = 253;
const SYSCTL_FORMAT: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
/// Sysctls of the IPC namespace, besides those of message queues.
const IPC_SYSCTLS: [&str; 10] = [
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.shm",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg",
];
const APP_ARMOR_PROFILE_BYTES_MAX: usize = 4095;
const PROFILE_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

/// Checks `securityContext` of a pod.
pub fn pod_security_context(spec: &Value, tolerated: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(context) = some_of(spec, "securityContext") else { return };
    let path = path.field("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(context, field, &path, errors);
    }
    let groups = path.field("supplementalGroups");
    for (index, group) in list_of(context, "supplementalGroups").iter().enumerate() {
        let group = group.as_i64().unwrap_or_default();
        let messages = user_or_group_id(group);
        errors.extend(messages.into_iter().map(|message| groups.index(index).invalid(group, message)));
    }
    sysctls(list_of(context, "sysctls"), spec, tolerated, &path.field("sysctls"), errors);
    optional_one_of(context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], &path, errors);
    seccomp_profile(context, &path, errors);
    windows::options(context, &path, errors);
    app_armor_profile(context, &path, errors);
    optional_one_of(context, "supplementalGroupsPolicy", &["Merge", "Strict"], &path, errors);
    optional_one_of(context, "seLinuxChangePolicy", &["MountOption", "Recursive"], &path, errors);
}

/// Checks `securityContext` of a container.
pub fn security_context(context: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for field in ["runAsUser", "runAsGroup"] {
        id(context, field, path, errors);
    }
    if let Some(mount) = context.get("procMount").and_then(Value::as_str) {
        let path = path.field("procMount");
        let supported = ["Default", "Unmasked"];
        if !supported.contains(&mount) {
            errors.push(path.not_supported(mount, &supported));
        }
        if whole.host_users && mount == "Unmasked" {
            errors.push(path.invalid(mount, "`hostUsers` must be false to use `Unmasked`"));
        }
    }
    seccomp_profile(context, path, errors);
    if context.get("allowPrivilegeEscalation").and_then(Value::as_bool) == Some(false) {
        let mut contradiction = |what: &str| {
            let message = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
            errors.push(shown::invalid(path, "SecurityContext", context, message));
        };
        if is_true(context, "privileged") {
            contradiction("`privileged` to true");
        }
        let added = tree::items(context, "/capabilities/add");
        if !whole.tolerated.system_administrator {
            for _ in added.iter().filter(|capability| *capability == "CAP_SYS_ADMIN") {
                contradiction("`capabilities.Add` CAP_SYS_ADMIN");
            }
        }
    }
    windows::options(context, path, errors);
    app_armor_profile(context, path, errors);
}

fn id(context: &Value, field: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(number) = integer_of(context, field) {
        let messages = user_or_group_id(number);
        errors.extend(messages.into_iter().map(|message| path.field(field).invalid(number, message)));
    }
}

fn sysctls(sysctls: &[Value], spec: &Value, tolerated: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut names: Vec<&str> = Vec::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(index);
        let path = path.field("name");
        let name = text_of(sysctl, "name");
        if name.is_empty() {
            errors.push(path.required(""));
        } else if !is_sysctl(name) {
            let message = format!("must have at most {SYSCTL_BYTES_MAX} characters and match regex {SYSCTL_FORMAT}");
            errors.push(path.invalid(name, message));
        } else if names.contains(&name) {
            errors.push(path.duplicate(name));
        }
        if let Some(message) = host_sysctl(name, spec).filter(|_| !tolerated.sysctls_of_host) {
            errors.push(path.invalid(name, message));
        }
        names.push(name);
    }
}

fn is_sysctl(name: &str) -> bool {
    let is_end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        bytes.first().is_some_and(is_end)
            && bytes.last().is_some_and(is_end)
            && bytes.iter().all(|byte| is_end(byte) || matches!(byte, b'-' | b'_'))
    };
    name.len() <= SYSCTL_BYTES_MAX && name.split(['.', '/']).all(is_segment)
}

/// Why a sysctl may not be set: it is one of a namespace that the pod shares with its host.
pub fn host_sysctl(name: &str, spec: &Value) -> Option<&'static str> {
    // As names, the separators are exchangeable: the first one decides which it is.
    let name = match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name
            .chars()
            .map(|letter| {
                if letter == '/' {
                    '.'
                } else if letter == '.' {
                    '/'
                } else {
                    letter
                }
            })
            .collect(),
        _ => name.to_string(),
    };
    let of_network = name.starts_with("net.");
    let of_ipc = IPC_SYSCTLS.contains(&name.split('*').next().unwrap_or_default()) || name.starts_with("fs.mqueue.");
    if of_network && is_true(spec, "hostNetwork") {
        Some("may not be specified when 'hostNetwork' is true")
    } else if of_ipc && is_true(spec, "hostIPC") {
        Some("may not be specified when 'hostIPC' is true")
    } else {
        None
    }
}

fn seccomp_profile(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(profile) = some_of(context, "seccompProfile") else { return };
    let path = path.field("seccompProfile");
    let kind = text_of(profile, "type");
    match kind {
        "" => errors.push(path.field("type").required("type is required when seccompProfile is set")),
        kind if PROFILE_TYPES.contains(&kind) => {}
        kind => errors.push(path.field("type").not_supported(kind, &PROFILE_TYPES)),
    }
    let local = profile.get("localhostProfile").and_then(Value::as_str);
    let local_path = path.field("localhostProfile");
    match (kind == "Localhost", local) {
        (true, None) => errors.push(local_path.required("must be set when seccomp type is Localhost")),
        (true, Some(file)) => descending(file, &local_path, errors),
        (false, Some(_)) => {
            let message = "can only be set when seccomp type is Localhost".into();
            errors.push(shown::invalid(&local_path, "SeccompProfile", profile, message));
        }
        (false, None) => {}
    }
}

fn app_armor_profile(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const MUST: &str = "must be set when AppArmor type is Localhost";
    let Some(profile) = some_of(context, "appArmorProfile") else { return };
    let path = path.field("appArmorProfile");
    let local = profile.get("localhostProfile").and_then(Value::as_str);
    let local_path = path.field("localhostProfile");
    match (text_of(profile, "type"), local) {
        ("", _) => errors.push(path.field("type").required("type is required when appArmorProfile is set")),
        ("Localhost", None) => errors.push(local_path.required(MUST)),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.push(local_path.invalid(name, "must not be padded with whitespace"));
            } else if name.is_empty() {
                errors.push(local_path.required(MUST));
            }
            if name.len() > APP_ARMOR_PROFILE_BYTES_MAX {
                errors.push(local_path.too_long(APP_ARMOR_PROFILE_BYTES_MAX));
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.push(local_path.invalid(name, "can only be set when AppArmor type is Localhost"));
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        (other, _) => errors.push(path.field("type").not_supported(other, &PROFILE_TYPES)),
    }
}

/// Checks a user of files.
pub fn user(source: &Value, field: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(number) = integer_of(source, field) {
        let messages = formats::user_or_group_id(number);
        errors.extend(messages.into_iter().map(|message| path.field(field).invalid(number, message)));
    }
}
