//! Probes and lifecycle hooks, and the actions that they take.

use triune_api::{Value, field::FieldError, path::Path, validation::formats};

use super::{
    Whole, containers::port_number, integer_of, list_of, not_negative, optional_one_of, required, some_of, text_of,
};
use crate::kinds::validation;

const SIGNALS_OF_LINUX: [&str; 65] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// Checks `lifecycle`.
pub fn lifecycle(lifecycle: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for hook in ["postStart", "preStop"] {
        if let Some(action) = some_of(lifecycle, hook) {
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            handler(action, &kinds, whole.grace_seconds, &path.field(hook), errors);
        }
    }
    let Some(signal) = lifecycle.get("stopSignal").and_then(Value::as_str) else { return };
    let path = path.field("stopSignal");
    let supported: &[&str] = match whole.os {
        None => {
            errors.push(path.forbidden("may not be set for containers with empty `spec.os.name`"));
            return;
        }
        Some("windows") => &["SIGKILL", "SIGTERM"],
        Some("linux") => &SIGNALS_OF_LINUX,
        Some(_) => return,
    };
    if !supported.contains(&signal) {
        errors.push(path.not_supported(signal, supported));
    }
}

/// Checks a probe of a kind: `livenessProbe`, `readinessProbe` or `startupProbe`.
pub fn probe(probe: &Value, kind: &str, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], whole.grace_seconds, path, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        not_negative(probe, field, path, errors);
    }
    let grace = integer_of(probe, "terminationGracePeriodSeconds");
    if let Some(seconds) = grace.filter(|seconds| *seconds <= 0) {
        errors.push(path.field("terminationGracePeriodSeconds").invalid(seconds, "must be greater than 0"));
    }
    let threshold = integer_of(probe, "successThreshold").unwrap_or_default();
    if kind == "readinessProbe" {
        if let Some(seconds) = grace {
            let message = "must not be set for readinessProbes";
            errors.push(path.field("terminationGracePeriodSeconds").invalid(seconds, message));
        }
    } else if threshold != 1 {
        errors.push(path.field("successThreshold").invalid(threshold, "must be 1"));
    }
}

/// Checks that there is exactly one of the kinds of actions, and checks it.
fn handler(
    handler: &Value,
    kinds: &[&'static str],
    grace_seconds: Option<i64>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let mut found = false;
    for kind in kinds {
        let Some(action) = some_of(handler, kind) else { continue };
        let path = path.field(kind);
        if found {
            errors.push(path.forbidden("may not specify more than 1 handler type"));
            continue;
        }
        found = true;
        match *kind {
            "exec" => {
                if list_of(action, "command").is_empty() {
                    errors.push(path.field("command").required(""));
                }
            }
            "httpGet" => http_get(action, &path, errors),
            "tcpSocket" => port(action.get("port"), &path.field("port"), errors),
            "grpc" => {
                port_number(integer_of(action, "port").unwrap_or_default(), &path.field("port"), errors);
            }
            _ => sleep(action, grace_seconds, &path, errors),
        }
    }
    if !found {
        errors.push(path.required("must specify a handler type"));
    }
}

fn http_get(action: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(action, "path", path, errors);
    port(action.get("port"), &path.field("port"), errors);
    validation::not_in(action, "scheme", &["HTTP", "HTTPS"], path, errors);
    for header in list_of(action, "httpHeaders") {
        let name = text_of(header, "name");
        path.field("httpHeaders").all_invalid(name, formats::http_header_name(name), errors);
    }
    optional_one_of(action, "protocol", &["HTTP1", "HTTP2"], path, errors);
}

/// Checks a number or a name of a port. What is absent is the number 0.
pub fn port(port: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match port {
        Some(Value::String(name)) => path.all_invalid(name, formats::port_name(name), errors),
        number => port_number(number.and_then(Value::as_i64).unwrap_or_default(), path, errors),
    }
}

fn sleep(action: &Value, grace_seconds: Option<i64>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let seconds = integer_of(action, "seconds").unwrap_or_default();
    if let Some(grace) = grace_seconds
        && (seconds < 0 || seconds > grace)
    {
        let message = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.push(path.invalid(seconds, message));
    }
}
