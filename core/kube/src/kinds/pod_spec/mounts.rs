//! Where containers see volumes: mounts, block devices, paths below volumes.

use std::collections::BTreeSet;

use triune_api::{Value, field::FieldError, path::Path};

use super::{Whole, is_true, list_of, some_of, text_of};
use crate::tree;

const BACKSTEPS: &str = "must not contain '..'";

/// Checks `volumeMounts`.
pub fn mounts(container: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("volumeMounts");
    let devices = list_of(container, "volumeDevices");
    let mut points = BTreeSet::new();
    for (index, mount) in list_of(container, "volumeMounts").iter().enumerate() {
        let path = list.index(index);
        let (name, point) = (text_of(mount, "name"), text_of(mount, "mountPath"));
        if name.is_empty() {
            errors.push(path.field("name").required(""));
        }
        if !whole.volumes.contains_key(name) {
            errors.push(path.field("name").not_found(name));
        }
        if point.is_empty() {
            errors.push(path.field("mountPath").required(""));
        }
        if !points.insert(point) {
            errors.push(path.field("mountPath").invalid(point, "must be unique"));
        }
        if devices.iter().any(|device| text_of(device, "name") == name) {
            errors.push(path.field("name").invalid(name, "must not already exist in volumeDevices"));
        }
        if devices.iter().any(|device| text_of(device, "devicePath") == point) {
            errors.push(path.field("mountPath").invalid(point, "must not already exist as a path in volumeDevices"));
        }
        sub_paths(mount, &list, &path, errors);
        propagation(mount, container, &list, errors);
        recursive_read_only(mount, &list, errors);
    }
}

/// The reference prints these paths without the index of the mount.
fn sub_paths(mount: &Value, list: &Path<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (fixed, expression) = (text_of(mount, "subPath"), text_of(mount, "subPathExpr"));
    if !fixed.is_empty() {
        descending(fixed, &list.field("subPath"), errors);
    }
    if !expression.is_empty() {
        if !fixed.is_empty() {
            let message = "subPathExpr and subPath are mutually exclusive";
            errors.push(path.field("subPathExpr").invalid(expression, message));
        }
        descending(expression, &list.field("subPathExpr"), errors);
    }
}

fn propagation(mount: &Value, container: &Value, list: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(propagation) = mount.get("mountPropagation").and_then(Value::as_str) else { return };
    let path = list.field("mountPropagation");
    let supported = ["Bidirectional", "HostToContainer", "None"];
    if !supported.contains(&propagation) {
        errors.push(path.not_supported(propagation, &supported));
    }
    if propagation == "Bidirectional" && !tree::truth(container, "/securityContext/privileged") {
        let message = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(path.forbidden(message));
    }
}

fn recursive_read_only(mount: &Value, list: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = list.field("recursiveReadOnly");
    match mount.get("recursiveReadOnly").and_then(Value::as_str) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !is_true(mount, "readOnly") {
                errors.push(path.forbidden("may only be specified when readOnly is true"));
            }
            if !matches!(mount.get("mountPropagation").and_then(Value::as_str), None | Some("None")) {
                let message = "may only be specified when mountPropagation is None or not specified";
                errors.push(path.forbidden(message));
            }
        }
        Some(other) => errors.push(path.not_supported(other, &["Disabled", "Enabled", "IfPossible"])),
    }
}

/// Checks `volumeDevices`.
pub fn devices(container: &Value, whole: &Whole<'_>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list = path.field("volumeDevices");
    let mounts = list_of(container, "volumeMounts");
    let (mut names, mut points) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in list_of(container, "volumeDevices").iter().enumerate() {
        let path = list.index(index);
        let (name_path, point_path) = (path.field("name"), path.field("devicePath"));
        let (name, point) = (text_of(device, "name"), text_of(device, "devicePath"));
        if name.is_empty() {
            errors.push(name_path.required(""));
        }
        if names.contains(name) {
            errors.push(name_path.invalid(name, "must be unique"));
        }
        match whole.volumes.get(name) {
            None => errors.push(name_path.not_found(name)),
            Some(volume) => {
                let claimed = ["persistentVolumeClaim", "ephemeral"].iter().any(|key| some_of(volume, key).is_some());
                if !claimed {
                    let message =
                        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                    errors.push(name_path.invalid(name, message));
                }
            }
        }
        if point.is_empty() {
            errors.push(point_path.required(""));
        }
        if points.contains(point) {
            errors.push(point_path.invalid(point, "must be unique"));
        }
        if point.split('/').any(|part| part == "..") {
            errors.push(point_path.invalid(point, "can not contain backsteps ('..')"));
        } else {
            points.insert(point);
        }
        if mounts.iter().any(|mount| text_of(mount, "name") == name) {
            errors.push(name_path.invalid(name, "must not already exist in volumeMounts"));
        }
        if mounts.iter().any(|mount| text_of(mount, "mountPath") == point) {
            errors.push(point_path.invalid(point, "must not already exist as a path in volumeMounts"));
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}

/// A path that never goes up.
pub fn no_backsteps(target: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if target.split('/').any(|part| part == "..") {
        errors.push(path.invalid(target, BACKSTEPS));
    }
}

/// A relative path that never goes up.
pub fn descending(target: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if target.starts_with('/') {
        errors.push(path.invalid(target, "must be a relative path"));
    }
    no_backsteps(target, path, errors);
}

/// A relative path that never goes up, and whose first part is none of the names that the kubelet uses.
pub fn not_reserved(target: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    descending(target, path, errors);
    if target.starts_with("..") && !target.starts_with("../") {
        errors.push(path.invalid(target, "must not start with '..'"));
    }
}
