//! Windows: options of security contexts, host processes, and what the operating system of a pod rules out.

use triune_api::{Value, field::FieldError, path::Path, validation::dns_subdomain};

use super::{each_container, is_true, list_of, some_of, text_of};
use crate::tree;

const CREDENTIAL_SPEC_KIB_MAX: usize = 64;
const DOMAIN_CHARACTERS_MAX: usize = 256;
const USER_CHARACTERS_MAX: usize = 104;
const NOT_FOR_WINDOWS: &str = "cannot be set for a windows pod";

/// Checks `windowsOptions` of a security context.
pub fn options(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(options) = some_of(context, "windowsOptions") else { return };
    let path = path.field("windowsOptions");
    if let Some(name) = options.get("gmsaCredentialSpecName").and_then(Value::as_str) {
        path.field("gmsaCredentialSpecName").all_invalid(name, dns_subdomain(name), errors);
    }
    if let Some(credential) = options.get("gmsaCredentialSpec").and_then(Value::as_str) {
        let path = path.field("gmsaCredentialSpec");
        if credential.is_empty() {
            errors.push(path.invalid(credential, "gmsaCredentialSpec cannot be an empty string"));
        } else if credential.len() > CREDENTIAL_SPEC_KIB_MAX * 1024 {
            let message = format!("gmsaCredentialSpec size must be under {CREDENTIAL_SPEC_KIB_MAX} KiB");
            errors.push(path.invalid(credential, message));
        }
    }
    if let Some(name) = options.get("runAsUserName").and_then(Value::as_str) {
        path.field("runAsUserName").all_invalid(name, user_name(name), errors);
    }
}

/// What is wrong with `user` or `domain\user`.
fn user_name(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string".into()];
    }
    if name.chars().any(|letter| letter.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters".into()];
    }
    let (domain, user) = match name.split('\\').collect::<Vec<_>>()[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return vec!["runAsUserName cannot contain more than one backslash".into()],
    };
    let mut messages = Vec::new();
    if let Some(domain) = domain {
        if domain.len() >= DOMAIN_CHARACTERS_MAX {
            messages.push(format!("runAsUserName's Domain length must be under {DOMAIN_CHARACTERS_MAX} characters"));
        }
        if !is_net_bios_name(domain) && !is_dns_domain(domain) {
            messages.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".into());
        }
    }
    if user.is_empty() {
        messages.push("runAsUserName's User cannot be empty".into());
    } else if user.len() > USER_CHARACTERS_MAX {
        messages.push(format!("runAsUserName's User length must not be longer than {USER_CHARACTERS_MAX} characters"));
    }
    if !user.is_empty() && user.chars().all(|letter| matches!(letter, '.' | ' ')) {
        messages.push("runAsUserName's User cannot contain only periods or spaces".into());
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        let message = r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#;
        messages.push(message.into());
    }
    messages
}

fn is_net_bios_name(domain: &str) -> bool {
    let illegal = |letter: char| "\\/:*?\"<>|".contains(letter);
    (1..=15).contains(&domain.chars().count()) && !domain.starts_with('.') && !domain.contains(illegal)
}

fn is_dns_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
    })
}

/// Host processes are all of a pod's containers or none.
pub fn host_process(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const POINTER: &str = "/securityContext/windowsOptions/hostProcess";
    let of_pod = tree::at(spec, POINTER).and_then(Value::as_bool);
    let (mut containers, mut on_host) = (0, 0);
    each_container(spec, path, |container, path| {
        containers += 1;
        let own = tree::at(container, POINTER).and_then(Value::as_bool);
        if let (Some(of_pod), Some(own)) = (of_pod, own)
            && of_pod != own
        {
            let message = format!("pod hostProcess value must be identical if both are specified, was {of_pod}");
            errors.push(path.field("securityContext.windowsOptions.hostProcess").invalid(own, message));
        }
        on_host += usize::from(own.or(of_pod) == Some(true));
    });
    if on_host == 0 {
        return;
    }
    if on_host != containers {
        let message = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(path.invalid("", message));
    }
    if !is_true(spec, "hostNetwork") {
        let message = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(path.field("hostNetwork").invalid(false, message));
    }
}

/// Checks `os`, and that nothing is asked that it does not have.
pub fn operating_system(spec: &Value, os: Option<&str>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match os {
        None => {}
        Some("") => errors.push(path.field("os.name").required("")),
        Some("linux") => linux(spec, path, errors),
        Some("windows") => windows(spec, path, errors),
        Some(other) => errors.push(path.field("os").not_supported(other, &["linux", "windows"])),
    }
}

fn linux(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut check = |owner: &Value, path: &Path<'_>| {
        if tree::has(owner, "/securityContext/windowsOptions") {
            let message = "windows options cannot be set for a linux pod";
            errors.push(path.field("securityContext.windowsOptions").forbidden(message));
        }
    };
    check(spec, path);
    each_container(spec, path, check);
}

fn windows(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const OF_PODS: [&str; 11] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
    ];
    const OF_CONTAINERS: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    if let Some(context) = some_of(spec, "securityContext") {
        let path = path.field("securityContext");
        for field in OF_PODS.iter().filter(|field| some_of(context, field).is_some()) {
            if *field != "sysctls" || !list_of(context, field).is_empty() {
                errors.push(path.field(field).forbidden(NOT_FOR_WINDOWS));
            }
        }
    }
    let set = |field: &str| some_of(spec, field).is_some();
    for (field, set) in [
        ("hostUsers", set("hostUsers")),
        ("hostPID", is_true(spec, "hostPID")),
        ("hostIPC", is_true(spec, "hostIPC")),
        ("shareProcessNamespace", set("shareProcessNamespace")),
    ] {
        if set {
            errors.push(path.field(field).forbidden(NOT_FOR_WINDOWS));
        }
    }
    each_container(spec, path, |container, path| {
        let Some(context) = some_of(container, "securityContext") else { return };
        let path = path.field("securityContext");
        for field in OF_CONTAINERS.iter().filter(|field| some_of(context, field).is_some()) {
            errors.push(path.field(field).forbidden(NOT_FOR_WINDOWS));
        }
    });
}

/// Whether a spec is for Windows.
pub fn is_windows(spec: &Value) -> bool {
    some_of(spec, "os").is_some_and(|os| text_of(os, "name") == "windows")
}
