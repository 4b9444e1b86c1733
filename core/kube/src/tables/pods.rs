//! Pods: one word for the state of all containers, as `kubectl get pods` shows it.

use serde_json::json;
use triune_api::{Value, time};

use super::condition_is_true;
use crate::{
    table::{AGE, NAME, TableColumn, computed, timed},
    tree,
};

/// `core/v1 Pod`.
pub const PODS: &[TableColumn] = &[
    NAME,
    computed("Ready", |pod| json!(summary(pod).ready), "Ready containers of all containers."),
    computed("Status", |pod| json!(summary(pod).status), "State of the containers in one word."),
    timed("Restarts", restarts, "Restarts of all containers, and when the last was."),
    AGE,
    computed("IP", |pod| or_none(tree::text(pod, "/status/podIPs/0/ip")), "Address of the pod.").wide(),
    computed("Node", |pod| or_none(tree::text(pod, "/spec/nodeName")), "Node that runs the pod.").wide(),
    computed(
        "Nominated Node",
        |pod| or_none(tree::text(pod, "/status/nominatedNodeName")),
        "Node where the pod waits for others to go.",
    )
    .wide(),
    computed("Readiness Gates", readiness_gates, "Conditions that hold of those that readiness needs.").wide(),
];

/// Pods that ended say so.
pub fn row_conditions(pod: &Value) -> Vec<Value> {
    let (reason, message) = match tree::text(pod, "/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

fn or_none(text: &str) -> Value {
    json!(if text.is_empty() { "<none>" } else { text })
}

fn restarts(pod: &Value, now: jiff::Timestamp) -> Value {
    let summary = summary(pod);
    json!(match summary.last_restart {
        Some(last) if summary.restarts != 0 => {
            let ago = time::human_duration(time::seconds_between(last, now));
            format!("{} ({ago} ago)", summary.restarts)
        }
        _ => summary.restarts.to_string(),
    })
}

fn readiness_gates(pod: &Value) -> Value {
    let gates = tree::items(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return json!("<none>");
    }
    let holding = gates.iter().filter(|gate| condition_is_true(pod, tree::text(gate, "/conditionType"))).count();
    json!(format!("{holding}/{}", gates.len()))
}

/// What the columns say of the containers.
struct Summary {
    ready: String,
    status: String,
    restarts: i64,
    last_restart: Option<jiff::Timestamp>,
}

/// Restarts counted so far, and the end of the container that was restarted last.
#[derive(Default, Clone, Copy)]
struct Restarts {
    count: i64,
    last: Option<jiff::Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += tree::integer_or_zero(container, "/restartCount");
        self.last = self.last.max(time::parse(tree::text(container, "/lastState/terminated/finishedAt")));
    }
}

fn summary(pod: &Value) -> Summary {
    let sidecars: Vec<&str> = tree::items(pod, "/spec/initContainers")
        .iter()
        .filter(|container| tree::text(container, "/restartPolicy") == "Always")
        .map(|container| tree::text(container, "/name"))
        .collect();
    let init = init_containers(pod, &sidecars);
    let (mut status, mut restarts, mut ready) = (base_status(pod), init.restarts, init.ready);
    if let Some(reason) = &init.reason {
        status.clone_from(reason);
    }
    if init.reason.is_none() || condition_is_true(pod, "Initialized") {
        restarts = init.sidecar_restarts;
        let main = main_containers(pod, status, &mut restarts);
        (status, ready) = (main.0, ready + main.1);
    }
    let phase = tree::text(pod, "/status/phase");
    if tree::has(pod, "/metadata/deletionTimestamp") {
        if tree::text(pod, "/status/reason") == "NodeLost" {
            status = "Unknown".into();
        } else if !matches!(phase, "Failed" | "Succeeded") {
            status = "Terminating".into();
        }
    }
    let total = tree::items(pod, "/spec/containers").len() + sidecars.len();
    Summary { ready: format!("{ready}/{total}"), status, restarts: restarts.count, last_restart: restarts.last }
}

/// Before containers are looked at: the phase, or the reason given for it.
fn base_status(pod: &Value) -> String {
    let gated = tree::items(pod, "/status/conditions").iter().any(|condition| {
        tree::text(condition, "/type") == "PodScheduled" && tree::text(condition, "/reason") == "SchedulingGated"
    });
    match (gated, tree::text(pod, "/status/reason")) {
        (true, _) => "SchedulingGated".into(),
        (false, "") => tree::text(pod, "/status/phase").into(),
        (false, reason) => reason.into(),
    }
}

struct InitContainers {
    /// Why the pod is not initialized; None if nothing is in the way.
    reason: Option<String>,
    ready: usize,
    restarts: Restarts,
    sidecar_restarts: Restarts,
}

fn init_containers(pod: &Value, sidecars: &[&str]) -> InitContainers {
    let mut result =
        InitContainers { reason: None, ready: 0, restarts: Restarts::default(), sidecar_restarts: Restarts::default() };
    for (index, container) in tree::items(pod, "/status/initContainerStatuses").iter().enumerate() {
        let sidecar = sidecars.contains(&tree::text(container, "/name"));
        result.restarts.add(container);
        if sidecar {
            result.sidecar_restarts.add(container);
        }
        let terminated = container.pointer("/state/terminated");
        if terminated.is_some_and(|state| tree::integer_or_zero(state, "/exitCode") == 0) {
            continue;
        }
        if sidecar && tree::truth(container, "/started") {
            result.ready += usize::from(tree::truth(container, "/ready"));
            continue;
        }
        let waiting = tree::text(container, "/state/waiting/reason");
        result.reason = Some(match terminated {
            Some(state) => format!("Init:{}", termination(state)),
            None if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
            None => format!("Init:{index}/{}", tree::items(pod, "/spec/initContainers").len()),
        });
        break;
    }
    result
}

/// The status and how many are ready.
fn main_containers(pod: &Value, mut status: String, restarts: &mut Restarts) -> (String, usize) {
    let (mut ready, mut running, mut failure) = (0, false, None);
    for container in tree::items(pod, "/status/containerStatuses").iter().rev() {
        restarts.add(container);
        let waiting = tree::text(container, "/state/waiting/reason");
        if !waiting.is_empty() {
            status = waiting.into();
        } else if let Some(state) = container.pointer("/state/terminated") {
            status = termination(state);
            if tree::integer_or_zero(state, "/exitCode") != 0 {
                failure = Some(status.clone());
            }
        } else if tree::truth(container, "/ready") && tree::has(container, "/state/running") {
            running = true;
            ready += 1;
        }
    }
    if status == "Completed" {
        if running && condition_is_true(pod, "Ready") {
            status = "Running".into();
        } else if let Some(failure) = failure {
            status = failure;
        } else if running {
            status = "NotReady".into();
        }
    }
    (status, ready)
}

fn termination(state: &Value) -> String {
    let (reason, signal) = (tree::text(state, "/reason"), tree::integer_or_zero(state, "/signal"));
    if !reason.is_empty() {
        return reason.into();
    }
    if signal != 0 {
        return format!("Signal:{signal}");
    }
    format!("ExitCode:{}", tree::integer_or_zero(state, "/exitCode"))
}
