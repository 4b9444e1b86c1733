//! Warnings about pod specs: what is accepted, and does not do what its author may think (kubernetes
//! `pkg/api/pod/warnings.go`).

use std::collections::{BTreeMap, BTreeSet};

use triune_api::{
    Value,
    path::Path,
    validation::{dns_label, formats, label_value},
};

use super::{
    annotation, each_container, integer_of, list_of, overlaps, some_of,
    template::{APP_ARMOR, metadata_of, spec_of},
    text_of,
};
use crate::{kinds::validation, tree};

const NULL_SELECTOR: &str = "a null labelSelector results in matching no pod";
/// Annotations that do nothing any more.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];
/// Volume types that are gone or going: field, its name in the warning, what is said.
const VOLUMES: [(&str, &str, &str); 9] = [
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];
/// Labels of nodes that have other names now.
const NODE_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", r#"deprecated since v1.14; use "kubernetes.io/arch" instead"#),
    ("beta.kubernetes.io/os", r#"deprecated since v1.14; use "kubernetes.io/os" instead"#),
    (
        "failure-domain.beta.kubernetes.io/region",
        r#"deprecated since v1.17; use "topology.kubernetes.io/region" instead"#,
    ),
    ("failure-domain.beta.kubernetes.io/zone", r#"deprecated since v1.17; use "topology.kubernetes.io/zone" instead"#),
    ("beta.kubernetes.io/instance-type", r#"deprecated since v1.17; use "node.kubernetes.io/instance-type" instead"#),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", r#"use "node-role.kubernetes.io/control-plane" instead"#),
];

/// The warning about a name that is no DNS label, where it becomes part of `what`.
pub fn name(object: &Value, what: &str) -> Option<String> {
    let messages = dns_label(tree::name(object));
    (!messages.is_empty()).then(|| {
        let messages = messages.join(" ");
        format!(
            "metadata.name: this is used in {what}, which can result in surprising behavior; a DNS label is recommended: \
             [{messages}]"
        )
    })
}

/// Warnings about a pod.
pub fn pod(pod: &Value, warnings: &mut Vec<String>) {
    about(pod, None, warnings);
}

/// Warnings about a template.
pub fn template(template: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    about(template, Some(path), warnings);
}

fn about(object: &Value, template_path: Option<&Path<'_>>, warnings: &mut Vec<String>) {
    let (metadata, spec) = (metadata_of(object), spec_of(object));
    let (own_spec, own_annotations) = (Path::new("spec"), Path::new("metadata.annotations"));
    let (template_spec, template_annotations) =
        (template_path.map(|path| path.field("spec")), template_path.map(|path| path.field("metadata.annotations")));
    let path = template_spec.as_ref().unwrap_or(&own_spec);
    let annotations = template_annotations.as_ref().unwrap_or(&own_annotations);
    node_labels(spec, path, warnings);
    let list = path.field("topologySpreadConstraints");
    for (index, constraint) in list_of(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = list.index(index);
        let key = text_of(constraint, "topologyKey");
        if let Some(message) = node_label(key) {
            warnings.push(format!("{}: {key} is {message}", path.field("topologyKey")));
        }
        if some_of(constraint, "labelSelector").is_none() {
            warnings.push(format!("{}: {NULL_SELECTOR}", path.field("labelSelector")));
        }
    }
    for (key, message) in ANNOTATIONS {
        if annotation(metadata, key).is_some() {
            warnings.push(format!("{}: {message}", annotations.key(key)));
        }
    }
    volumes(spec, path, warnings);
    overlaps::warn(spec, warnings);
    repeated(spec, "hostAliases", "ip", path, warnings);
    repeated(spec, "imagePullSecrets", "name", path, warnings);
    let list = path.field("imagePullSecrets");
    for (index, _) in
        list_of(spec, "imagePullSecrets").iter().enumerate().filter(|(_, secret)| text_of(secret, "name").is_empty())
    {
        warnings.push(format!("{}: invalid empty name \"\"", list.index(index).field("name")));
    }
    fractions(spec.get("overhead"), &path.field("overhead"), warnings);
    profiles(metadata, spec, template_path.is_some(), path, annotations, warnings);
    ports(spec, path, warnings);
    if integer_of(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        let path = path.field("terminationGracePeriodSeconds");
        warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    affinity(spec, path, warnings);
    let servers = path.field("dnsConfig.nameservers");
    for (index, server) in tree::items(spec, "/dnsConfig/nameservers").iter().filter_map(Value::as_str).enumerate() {
        warnings.extend(formats::ip_address_warning(&servers.index(index), server));
    }
    let aliases = path.field("hostAliases");
    for (index, alias) in list_of(spec, "hostAliases").iter().enumerate() {
        warnings.extend(formats::ip_address_warning(&aliases.index(index).field("ip"), text_of(alias, "ip")));
    }
}

/// Warnings about a selector of nodes by old labels; the path has no keys.
pub fn node_selector(object: &Value, pointer: &str) -> Vec<String> {
    let path = pointer[1..].replace('/', ".");
    let labels = tree::map(object, pointer).into_iter().flatten();
    labels.filter_map(|(key, _)| node_label(key)).map(|message| format!("{path}: {message}")).collect()
}

fn node_label(key: &str) -> Option<&'static str> {
    NODE_LABELS.iter().find(|(label, _)| *label == key).map(|(_, message)| *message)
}

fn node_labels(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let selector = path.field("nodeSelector");
    for (key, _) in tree::map(spec, "/nodeSelector").into_iter().flatten() {
        if let Some(message) = node_label(key) {
            warnings.push(format!("{}: {message}", selector.key(key)));
        }
    }
    let Some(affinity) = tree::some(spec, "/affinity/nodeAffinity") else { return };
    let path = path.field("affinity.nodeAffinity");
    let mut term = |term: &Value, values: bool, path: &Path<'_>| {
        let list = path.field("matchExpressions");
        for (index, expression) in list_of(term, "matchExpressions").iter().enumerate() {
            let key = text_of(expression, "key");
            if let Some(message) = node_label(key) {
                warnings.push(format!("{}: {key} is {message}", list.index(index).field("key")));
            }
            let path = list.index(index);
            let list = path.field("values");
            for (index, value) in list_of(expression, "values").iter().filter_map(Value::as_str).enumerate() {
                for message in if values { label_value(value) } else { Vec::new() } {
                    warnings.push(format!("{}: {value} is invalid, {message}", list.index(index)));
                }
            }
        }
    };
    let list = path.field("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    let terms = tree::items(affinity, "/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
    for (index, value) in terms.iter().enumerate() {
        term(value, false, &list.index(index));
    }
    let list = path.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, value) in list_of(affinity, "preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
        term(value.get("preference").unwrap_or(&Value::Null), true, &list.index(index).field("preference"));
    }
}

fn volumes(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let list = path.field("volumes");
    for (index, volume) in list_of(spec, "volumes").iter().enumerate() {
        for (field, shown, message) in VOLUMES {
            if some_of(volume, field).is_some() {
                warnings.push(format!("{}: {message}", list.index(index).field(shown)));
            }
        }
    }
}

fn repeated(spec: &Value, list: &str, field: &str, path: &Path<'_>, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    let path = path.field(list);
    for (index, item) in list_of(spec, list).iter().enumerate() {
        let text = text_of(item, field);
        if !seen.insert(text) {
            warnings.push(format!("{}: duplicate {field} {text:?}", path.index(index).field(field)));
        }
    }
}

fn fractions(amounts: Option<&Value>, path: &Path<'_>, warnings: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        let amount = amounts.and_then(|amounts| amounts.get(name)).and_then(validation::quantity);
        if let Some(amount) = amount.filter(|amount| amount.milli_value() % 1000 != 0) {
            let shown = amount.canonical();
            let path = path.key(name);
            warnings.push(format!("{path}: fractional byte value {shown:?} is invalid, must be an integer"));
        }
    }
}

fn profiles(
    metadata: &Value,
    spec: &Value,
    is_template: bool,
    path: &Path<'_>,
    annotations: &Path<'_>,
    warnings: &mut Vec<String>,
) {
    const SECCOMP: &str = r#"non-functional in v1.27+; use the "seccompProfile" field instead"#;
    let annotated = |key: &str| annotation(metadata, key).is_some();
    let of_pod = "seccomp.security.alpha.kubernetes.io/pod";
    if annotated(of_pod) && !tree::has(spec, "/securityContext/seccompProfile") {
        warnings.push(format!("{}: {SECCOMP}", annotations.key(of_pod)));
    }
    let has_annotations = tree::map(metadata, "/annotations").is_some_and(|annotations| !annotations.is_empty());
    each_container(spec, path, |container, path| {
        if has_annotations {
            let key = format!("container.seccomp.security.alpha.kubernetes.io/{}", text_of(container, "name"));
            if annotated(&key) && !tree::has(container, "/securityContext/seccompProfile") {
                warnings.push(format!("{}: {SECCOMP}", annotations.key(&key)));
            }
            let key = format!("{APP_ARMOR}{}", text_of(container, "name"));
            let has_field = [container, spec].iter().any(|owner| tree::has(owner, "/securityContext/appArmorProfile"));
            if is_template && annotated(&key) && !has_field {
                let message = r#"deprecated since v1.30; use the "appArmorProfile" field instead"#;
                warnings.push(format!("{}: {message}", annotations.key(&key)));
            }
        }
        // First memory, limits and requests, then ephemeral storage.
        let mut found = Vec::new();
        for list in ["limits", "requests"] {
            let amounts = container.get("resources").and_then(|resources| resources.get(list));
            fractions(amounts, &path.field("resources").field(list), &mut found);
        }
        found.sort_by_key(|text: &String| text.contains("[ephemeral-storage]"));
        warnings.append(&mut found);
        hidden_variables(container, path, warnings);
    });
}

/// A variable that is set twice, the second time without the first.
fn hidden_variables(container: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    let list = path.field("env");
    for (index, variable) in list_of(container, "env").iter().enumerate() {
        let name = text_of(variable, "name");
        if seen.insert(name) {
            continue;
        }
        let (value, reference) = (text_of(variable, "value"), format!("$({name})"));
        if some_of(variable, "valueFrom").is_some() || value == reference || !value.contains(&reference) {
            let path = list.index(index);
            warnings
                .push(format!("{path}: hides previous definition of {name:?}, which may be dropped when using apply"));
        }
    }
}

fn ports(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let mut seen: BTreeMap<(i64, &str), Vec<(String, &Value)>> = BTreeMap::new();
    each_container(spec, path, |container, path| {
        let list = path.field("ports");
        for (index, port) in list_of(container, "ports").iter().enumerate() {
            let here = list.index(index);
            let (address, host) = (text_of(port, "hostIP"), integer_of(port, "hostPort").unwrap_or_default());
            let key = (integer_of(port, "containerPort").unwrap_or_default(), text_of(port, "protocol"));
            if !address.is_empty() && host == 0 {
                let name = text_of(port, "name");
                warnings.push(format!(
                    "{here}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{} Protocol:{} \
                     HostIP:{address}}}",
                    key.0, key.1
                ));
            }
            let others = seen.entry(key).or_default();
            for (other, other_port) in others.iter() {
                let other_address = text_of(other_port, "hostIP");
                let other_host = integer_of(other_port, "hostPort").unwrap_or_default();
                let what = if address == other_address && host == other_host {
                    "duplicate"
                } else if host == 0 || other_host == 0 {
                    "overlapping"
                } else if host == other_host && (address.is_empty() != other_address.is_empty()) {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                warnings.push(format!("{here}: {what} port definition with {other}"));
            }
            others.push((here.to_string(), port));
        }
    });
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    each_container(spec, path, |container, path| {
        let list = path.field("ports");
        for (index, port) in list_of(container, "ports").iter().enumerate() {
            let name = text_of(port, "name");
            if name.is_empty() {
                continue;
            }
            let here = list.index(index);
            if let Some(other) = names.get(name) {
                warnings.push(format!(
                    "{here}: duplicate port name {name:?} with {other}, services and probes that select ports by name \
                     will use {other}"
                ));
            } else {
                names.insert(name, here.to_string());
            }
        }
    });
}

fn affinity(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = some_of(spec, "affinity").and_then(|affinity| some_of(affinity, kind)) else { continue };
        let path = path.field("affinity");
        let path = path.field(kind);
        let list = path.field("requiredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in list_of(affinity, "requiredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            if some_of(term, "labelSelector").is_none() {
                warnings.push(format!("{}: {NULL_SELECTOR}", list.index(index).field("labelSelector")));
            }
        }
        let list = path.field("preferredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in list_of(affinity, "preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            if !tree::has(term, "/podAffinityTerm/labelSelector") {
                let path = list.index(index);
                warnings.push(format!("{}: {NULL_SELECTOR}", path.field("podAffinityTerm.labelSelector")));
            }
        }
    }
}
