//! Fields of features that are off by default: the reference drops them, unless the object had the field before.

use triune_api::Value;

use super::CONTAINER_LISTS;
use crate::tree;

const PROBES: [&str; 3] = ["/livenessProbe", "/readinessProbe", "/startupProbe"];
const HOOKS: [&str; 2] = ["/lifecycle/postStart", "/lifecycle/preStop"];
/// Users of files in volumes: where, and the field.
const USERS: [(&str, &str); 4] = [
    ("/secret", "defaultUser"),
    ("/configMap", "defaultUser"),
    ("/downwardAPI", "defaultUser"),
    ("/projected", "defaultUser"),
];
const USERS_OF_ITEMS: [&str; 3] = ["/secret/items", "/configMap/items", "/downwardAPI/items"];
const SOURCES: [&str; 3] = ["/serviceAccountToken", "/clusterTrustBundle", "/podCertificate"];

/// Drops such fields from a pod spec; `old` is the one before an update.
pub fn drop(spec: &mut Value, old: Option<&Value>) {
    let used = |field: fn(&mut Value, &mut dyn FnMut(&mut Value, &'static str))| {
        // The visitors change what they visit, so that they are given a copy of the old spec.
        old.is_some_and(|old| {
            let mut found = false;
            field(&mut old.clone(), &mut |owner, name| found |= owner.get(name).is_some_and(|value| !value.is_null()));
            found
        })
    };
    for field in [whole_pod, groups, signals, protocols, modes, directory_modes, mount_options, users] {
        let mut given = false;
        field(spec, &mut |owner, name| given |= owner.get(name).is_some_and(|value| !value.is_null()));
        if given && !used(field) {
            field(spec, &mut |owner, name| tree::remove(owner, name));
        }
    }
    without_empty_lifecycles(spec);
}

type Visit<'a> = &'a mut dyn FnMut(&mut Value, &'static str);

fn each_container(spec: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    for list in CONTAINER_LISTS {
        if let Some(Value::Array(containers)) = spec.get_mut(list) {
            containers.iter_mut().for_each(&mut *visit);
        }
    }
}

/// EvictionRequestAPI
fn whole_pod(spec: &mut Value, visit: Visit<'_>) {
    visit(spec, "evictionResponders");
}

/// GenericWorkload
fn groups(spec: &mut Value, visit: Visit<'_>) {
    visit(spec, "schedulingGroup");
}

/// ContainerStopSignals
fn signals(spec: &mut Value, visit: Visit<'_>) {
    each_container(spec, &mut |container| {
        if let Some(lifecycle) = tree::object_mut(container, "/lifecycle") {
            visit(lifecycle, "stopSignal");
        }
    });
}

/// H2CContainerProbe
fn protocols(spec: &mut Value, visit: Visit<'_>) {
    each_container(spec, &mut |container| {
        for handler in PROBES.iter().chain(&HOOKS) {
            if let Some(action) =
                tree::object_mut(container, handler).and_then(|handler| tree::object_mut(handler, "/httpGet"))
            {
                visit(action, "protocol");
            }
        }
    });
}

/// GRPCContainerProbeTLS
fn modes(spec: &mut Value, visit: Visit<'_>) {
    each_container(spec, &mut |container| {
        for probe in PROBES {
            if let Some(action) = tree::object_mut(container, probe).and_then(|probe| tree::object_mut(probe, "/grpc"))
            {
                visit(action, "mode");
            }
        }
    });
}

/// EmptyDirVolumeMode
fn directory_modes(spec: &mut Value, visit: Visit<'_>) {
    for volume in tree::items_mut(spec, "/volumes") {
        if let Some(directory) = tree::object_mut(volume, "/emptyDir") {
            visit(directory, "mode");
        }
    }
}

/// VolumeBindMountOptions
fn mount_options(spec: &mut Value, visit: Visit<'_>) {
    each_container(spec, &mut |container| {
        for mount in tree::items_mut(container, "/volumeMounts") {
            visit(mount, "bindMountOptions");
        }
    });
}

/// AtomicWriteVolumeUserFields
fn users(spec: &mut Value, visit: Visit<'_>) {
    for volume in tree::items_mut(spec, "/volumes") {
        for (source, field) in USERS {
            if let Some(source) = tree::object_mut(volume, source) {
                visit(source, field);
            }
        }
        for list in USERS_OF_ITEMS {
            for item in tree::items_mut(volume, list) {
                visit(item, "user");
            }
        }
        for source in tree::items_mut(volume, "/projected/sources") {
            for kind in SOURCES {
                if let Some(source) = tree::object_mut(source, kind) {
                    visit(source, "user");
                }
            }
            for list in USERS_OF_ITEMS {
                for item in tree::items_mut(source, list) {
                    visit(item, "user");
                }
            }
        }
    }
}

fn without_empty_lifecycles(spec: &mut Value) {
    each_container(spec, &mut |container| {
        if tree::map(container, "/lifecycle").is_some_and(serde_json::Map::is_empty) {
            tree::remove(container, "lifecycle");
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_disabled_features_go_unless_they_were_there() {
        let check = |mut spec: Value, old: Option<Value>, expected: Value| {
            drop(&mut spec, old.as_ref());
            assert_eq!(spec, expected);
        };
        let signal = json!({"containers": [{"name": "a", "lifecycle": {"stopSignal": "SIGTERM"}}]});
        check(signal.clone(), None, json!({"containers": [{"name": "a"}]}));
        check(signal.clone(), Some(signal.clone()), signal);
        let mode = json!({"volumes": [{"name": "v", "emptyDir": {"mode": 511}}], "schedulingGroup": {}});
        check(mode, None, json!({"volumes": [{"name": "v", "emptyDir": {}}]}));
        let plain = json!({"containers": [{"name": "a", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]});
        check(plain.clone(), None, plain);
    }
}
