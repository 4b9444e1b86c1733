//! What an update may keep although it is wrong: what the object had before the rule existed (kubernetes
//! `pkg/api/pod`, options for validation).

use triune_api::{Value, field::FieldError, path::Path};

use super::{each_container, is_true, list_of, mounts, resources, scheduling, security, some_of, text_of};
use crate::{
    kinds::{resource_names::is_huge_pages, validation},
    tree,
};

/// What is tolerated; nothing for new objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tolerated {
    /// Values in selectors of affinity terms that no label can have.
    pub affinity_values: bool,
    /// Such values in required node affinity.
    pub required_node_values: bool,
    /// Amounts of huge pages that are no whole pages.
    pub indivisible_huge_pages: bool,
    /// Selectors of topology spread constraints that are malformed.
    pub spread_selectors: bool,
    /// Their label keys that conflict with the selector.
    pub spread_label_keys: bool,
    /// Paths of token files that leave the volume.
    pub token_paths: bool,
    /// Sysctls of namespaces that are shared with the host.
    pub sysctls_of_host: bool,
    /// A resize policy that restarts init containers.
    pub restart_of_init_containers: bool,
    /// Block devices in a pod with users of its own.
    pub devices_without_host_users: bool,
    /// The host's network in a pod with users of its own.
    pub host_network_without_host_users: bool,
    /// Volumes of images without a name.
    pub empty_image_references: bool,
    /// `CAP_SYS_ADMIN` without privilege escalation.
    pub system_administrator: bool,
    /// A deletion cost that is no number.
    pub deletion_cost: bool,
}

impl Tolerated {
    /// What the old spec and its metadata have.
    pub fn of(spec: &Value, metadata: &Value) -> Tolerated {
        let path = Path::new("");
        let mut tolerated = Tolerated {
            required_node_values: has_wrong_node_values(spec),
            sysctls_of_host: tree::items(spec, "/securityContext/sysctls")
                .iter()
                .any(|sysctl| security::host_sysctl(text_of(sysctl, "name"), spec).is_some()),
            host_network_without_host_users: is_true(spec, "hostNetwork")
                && tree::at(spec, "/hostUsers") == Some(&Value::Bool(false)),
            empty_image_references: list_of(spec, "volumes")
                .iter()
                .any(|volume| some_of(volume, "image").is_some_and(|image| text_of(image, "reference").is_empty())),
            token_paths: has_wrong_token_path(spec),
            affinity_values: has_wrong_affinity_values(spec),
            deletion_cost: super::template::deletion_cost_error(metadata).is_some(),
            ..Tolerated::default()
        };
        let mut errors = Vec::new();
        for constraint in list_of(spec, "topologySpreadConstraints") {
            validation::label_selector(constraint.get("labelSelector"), false, &path, &mut errors);
        }
        tolerated.spread_selectors = !errors.is_empty();
        let strict = Tolerated { spread_selectors: true, ..Tolerated::default() };
        tolerated.spread_label_keys = wrong(|errors| scheduling::topology_spread(spec, strict, &path, errors));
        each_container(spec, &path, |container, _| {
            tolerated.indivisible_huge_pages |= has_indivisible_pages(container);
            tolerated.devices_without_host_users |= !list_of(container, "volumeDevices").is_empty()
                && tree::at(spec, "/hostUsers") == Some(&Value::Bool(false));
            let added = tree::items(container, "/securityContext/capabilities/add");
            tolerated.system_administrator |= added.iter().any(|capability| capability == "CAP_SYS_ADMIN")
                && !tree::truth(container, "/securityContext/allowPrivilegeEscalation");
        });
        tolerated.restart_of_init_containers = list_of(spec, "initContainers")
            .iter()
            .filter(|container| text_of(container, "restartPolicy") != "Always")
            .flat_map(|container| list_of(container, "resizePolicy"))
            .any(|policy| text_of(policy, "restartPolicy") == "RestartContainer");
        tolerated
    }
}

fn wrong(check: impl FnOnce(&mut Vec<FieldError>)) -> bool {
    let mut errors = Vec::new();
    check(&mut errors);
    !errors.is_empty()
}

fn has_wrong_node_values(spec: &Value) -> bool {
    let selector = tree::at(spec, "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
    let terms = selector.map_or(&[][..], |selector| list_of(selector, "nodeSelectorTerms"));
    let expressions = terms.iter().flat_map(|term| list_of(term, "matchExpressions"));
    has_wrong_values(expressions)
}

fn has_wrong_values<'a>(mut expressions: impl Iterator<Item = &'a Value>) -> bool {
    expressions.any(|expression| {
        let path = Path::new("");
        wrong(|errors| validation::label_values(list_of(expression, "values"), &path, errors))
    })
}

fn has_wrong_affinity_values(spec: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let Some(affinity) = tree::some(spec, &format!("/affinity/{kind}")) else { return false };
        let required = list_of(affinity, "requiredDuringSchedulingIgnoredDuringExecution").iter();
        let preferred = list_of(affinity, "preferredDuringSchedulingIgnoredDuringExecution").iter();
        let terms = required.chain(preferred.filter_map(|term| term.get("podAffinityTerm")));
        let selectors = terms.flat_map(|term| ["labelSelector", "namespaceSelector"].map(|field| term.get(field)));
        has_wrong_values(selectors.flatten().flat_map(|selector| list_of(selector, "matchExpressions")))
    })
}

fn has_wrong_token_path(spec: &Value) -> bool {
    let sources = list_of(spec, "volumes").iter().flat_map(|volume| tree::items(volume, "/projected/sources"));
    sources.filter_map(|source| some_of(source, "serviceAccountToken")).any(|token| {
        let path = Path::new("");
        wrong(|errors| mounts::not_reserved(text_of(token, "path"), &path, errors))
    })
}

fn has_indivisible_pages(container: &Value) -> bool {
    ["/resources/limits", "/resources/requests"].iter().any(|list| {
        tree::map(container, list).into_iter().flatten().any(|(name, amount)| {
            is_huge_pages(name)
                && validation::quantity(amount).is_some_and(|amount| !resources::is_whole_pages(name, &amount))
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::pod_spec::template;

    /// A template that is valid but for `spec`, which is put over it.
    fn template_with(spec: Value) -> Value {
        let mut template = json!({"spec": {
            "containers": [{
                "name": "a", "image": "b", "terminationMessagePolicy": "File", "imagePullPolicy": "Always",
            }],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
        }});
        for (key, value) in spec.as_object().into_iter().flatten() {
            template["spec"][key] = value.clone();
        }
        template
    }

    #[test]
    fn what_was_wrong_may_stay_and_nothing_new_comes() {
        let check = |spec: Value, expected: &str| {
            let new = template_with(spec);
            let errors = |old: Option<&Value>| {
                let mut errors = Vec::new();
                template::template(&new, old, &Path::new("template"), &mut errors);
                errors.iter().map(ToString::to_string).collect::<Vec<_>>()
            };
            let fresh = errors(None);
            assert!(fresh.len() == 1 && fresh[0].contains(expected), "{fresh:?}");
            assert_eq!(errors(Some(&template_with(json!({})))), fresh, "the old object was right");
            assert_eq!(errors(Some(&new)), [""; 0], "the old object was as wrong");
        };
        let term = |values: Value| {
            json!([{"topologyKey": "k", "labelSelector": {"matchExpressions": [
                {"key": "a", "operator": "In", "values": values},
            ]}}])
        };
        let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term(json!(["a b"]))}});
        check(json!({"affinity": affinity}), "a valid label must be");
        let node =
            json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["a b"]}]}]});
        check(
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": node}}}),
            "a valid label must be",
        );
        let spread = json!({"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {
            "matchExpressions": [{"key": "a", "operator": "Nope"}],
        }});
        check(json!({"topologySpreadConstraints": [spread]}), "not a valid selector operator");
        let sysctls = json!([{"name": "net.ipv4.tcp_syncookies", "value": "1"}]);
        check(
            json!({"hostNetwork": true, "securityContext": {"sysctls": sysctls}}),
            "may not be specified when 'hostNetwork'",
        );
        check(json!({"hostNetwork": true, "hostUsers": false}), "when `hostUsers` is false");
        let image = json!({"name": "v", "image": {"reference": "", "pullPolicy": "Always"}});
        check(json!({"volumes": [image]}), "image.reference: Required value");
    }
}
