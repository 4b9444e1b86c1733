//! Persistent volumes (kubernetes `pkg/apis/core/validation`, `pkg/api/persistentvolume`). Of sources that no longer work with
//! any kubelet only their presence is looked at.

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    time,
    validation::{dns_label, dns_subdomain},
};
use triune_machinery::context::Context;

use super::{
    pod_spec,
    resource_names::positive,
    selectors::{node_selector, old_labels_in},
    validation::quantity,
};
use crate::{
    field::Field,
    kind::{Kind, Selectable},
    tables,
    tree::{self, child, fill, fill_unset, remove, set},
};

/// `core/v1 PersistentVolume`.
pub static PERSISTENT_VOLUMES: Kind = Kind {
    defaults: |volume| {
        if let Some(status) = child(volume, "status") {
            fill_unset(status, "phase", "Pending");
        }
        let Some(spec) = child(volume, "spec") else { return };
        fill_unset(spec, "persistentVolumeReclaimPolicy", "Retain");
        fill(spec, "volumeMode", "Filesystem");
        pod_spec::persistent_source_defaults(spec);
    },
    create: |context, _, volume| {
        set(volume, "status", json!({"phase": "Pending", "lastPhaseTransitionTime": now(context)}));
    },
    update_status: note_transition,
    closed_sets: true,
    validate: |volume, errors| {
        volume_spec(&Field::of(volume, "spec"), tree::name(volume), false, errors);
        mount_options(volume, errors);
    },
    validate_update: volume_update,
    warnings: |volume, _| volume_warnings(volume),
    returns_deleted_object: true,
    selectable: NAME,
    table: tables::core::PERSISTENT_VOLUMES,
    ..Kind::GENERIC
};

/// An old mistake that selectors rely on.
pub(super) const NAME: &[Selectable] = &[Selectable { path: "name", value: |object| tree::name(object).into() }];

/// Fields of a volume's spec that are no source.
const NO_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn sources(volume: &Value) -> Vec<(&String, &Value)> {
    let spec = tree::map(volume, "/spec").into_iter().flatten();
    spec.filter(|(key, value)| !NO_SOURCES.contains(&key.as_str()) && !value.is_null()).collect()
}

fn now(context: &Context) -> String {
    time::rfc3339(context.env.clock.wall())
}

fn note_transition(context: &Context, old: &Value, new: &mut Value) {
    const TIME: &str = "/status/lastPhaseTransitionTime";
    let same_phase = tree::text(old, "/status/phase") == tree::text(new, "/status/phase");
    let (before, after) = (tree::text(old, TIME).to_string(), tree::text(new, TIME).to_string());
    let Some(status) = child(new, "status") else { return };
    if same_phase && after.is_empty() && !before.is_empty() {
        set(status, "lastPhaseTransitionTime", before);
    } else if !same_phase && (after.is_empty() || after == before) {
        set(status, "lastPhaseTransitionTime", now(context));
    }
}

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// What the class of storage was once said by.
pub(super) const STORAGE_CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const MOUNT_OPTIONS_ANNOTATION: &str = "volume.beta.kubernetes.io/mount-options";

/// Who may mount a volume.
pub(super) fn access_modes(modes: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    for mode in modes.texts().filter(|mode| !ACCESS_MODES.contains(mode)) {
        errors.push(FieldError::not_supported(&modes.to_string(), &json!(mode), &ACCESS_MODES));
    }
    let exclusive = modes.texts().any(|mode| mode == "ReadWriteOncePod");
    let shared = modes.texts().any(|mode| mode != "ReadWriteOncePod" && ACCESS_MODES.contains(&mode));
    if exclusive && shared {
        errors.push(modes.forbidden("may not use ReadWriteOncePod with other access modes"));
    }
}

/// The name of a class; none is fine.
pub(super) fn class_name(class: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if !class.text().is_empty() {
        class.invalid_for(dns_subdomain(class.text()), errors);
    }
}

/// The spec of a volume, which may be inline in an attachment.
pub fn volume_spec(spec: &Field<'_, '_>, name: &str, inline: bool, errors: &mut Vec<FieldError>) {
    const INLINE: &str = "may not be specified in the context of inline volumes";
    let (capacity, modes) = (spec.at("capacity"), spec.at("accessModes"));
    if inline {
        for field in [spec.at("claimRef"), capacity].iter().filter(|field| field.is_set()) {
            errors.push(field.forbidden(INLINE));
        }
        if !spec.at("csi").is_set() {
            errors.push(spec.at("csi").required("has to be specified in the context of inline volumes"));
        }
    }
    if modes.is_empty() {
        errors.push(modes.required(""));
    }
    access_modes(&modes, errors);
    let policy = spec.at("persistentVolumeReclaimPolicy");
    if !inline {
        volume_capacity(&capacity, errors);
        if !policy.text().is_empty() {
            policy.one_of(&["Delete", "Recycle", "Retain"], errors);
        }
    } else if !matches!(policy.text(), "" | "Retain") {
        errors.push(policy.forbidden("may only be Retain in the context of inline volumes"));
    }
    let affinity = spec.at("nodeAffinity");
    if affinity.is_set() && inline {
        errors.push(affinity.forbidden(INLINE));
    } else if affinity.is_set() {
        let required = affinity.at("required");
        if required.is_set() {
            node_selector(&required, errors);
        } else {
            errors.push(required.required("must specify required node constraints"));
        }
    }
    sources_of(spec, name, affinity.is_set() && !inline, errors);
    let root = spec.at("hostPath.path").text();
    if spec.at("hostPath").is_set() && is_root(root) && policy.text() == "Recycle" {
        errors.push(policy.forbidden("may not be 'recycle' for a hostPath mount of '/'"));
    }
    let (class, mode) = (spec.at("storageClassName"), spec.at("volumeMode"));
    if inline && !class.text().is_empty() {
        errors.push(class.forbidden(INLINE));
    } else {
        class_name(&class, errors);
    }
    match (mode.is_set(), inline) {
        (true, true) if mode.text() != "Filesystem" => {
            let detail = "may not specify volumeMode other than Filesystem in the context of inline volumes";
            errors.push(mode.forbidden(detail));
        }
        (true, false) => mode.one_of(&["Block", "Filesystem"], errors),
        _ => {}
    }
    let attributes = spec.at("volumeAttributesClassName");
    if attributes.is_set() && !inline {
        match attributes.text() {
            "" => errors.push(attributes.required("an empty string is disallowed")),
            _ => class_name(&attributes, errors),
        }
        if !spec.at("csi").is_set() {
            errors.push(spec.at("csi").required("has to be specified when using volumeAttributesClassName"));
        }
    }
}

fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."))
}

fn volume_capacity(capacity: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if capacity.is_empty() {
        errors.push(capacity.required(""));
    }
    if !capacity.key("storage").is_set() || capacity.len() > 1 {
        errors.push(FieldError::not_supported(&capacity.to_string(), capacity.value(), &["storage"]));
    }
    for (_, amount) in capacity.entries() {
        basic_amount(&amount, errors);
        positive(&amount, errors);
    }
}

/// An amount that a volume can have.
pub(super) fn basic_amount(amount: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if let Some(number) = quantity(amount.value()).map(|amount| amount.value()).filter(|number| *number < 0) {
        errors.push(amount.invalid_as(&json!(number), "must be a valid resource quantity"));
    }
}

/// In the order in which the reference looks: the first one counts.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

fn sources_of(spec: &Field<'_, '_>, name: &str, has_affinity: bool, errors: &mut Vec<FieldError>) {
    let mut count = 0;
    for source in SOURCES.iter().map(|source| spec.at(source)).filter(Field::is_set) {
        count += 1;
        if count > 1 {
            errors.push(source.forbidden("may not specify more than 1 volume type"));
            continue;
        }
        source_of(spec, name, has_affinity, errors);
    }
    if count == 0 {
        errors.push(spec.required("must specify a volume type"));
    }
}

fn source_of(spec: &Field<'_, '_>, name: &str, has_affinity: bool, errors: &mut Vec<FieldError>) {
    let Some(kind) = SOURCES.iter().find(|source| spec.at(source).is_set()) else { return };
    let source = spec.at(kind);
    match *kind {
        "hostPath" => {
            let (path, kind) = (source.at("path"), source.at("type"));
            descends(&path, errors);
            if kind.is_set() && !path.text().is_empty() {
                let kinds = [
                    "",
                    "BlockDevice",
                    "CharDevice",
                    "Directory",
                    "DirectoryOrCreate",
                    "File",
                    "FileOrCreate",
                    "Socket",
                ];
                kind.one_of(&kinds, errors);
            }
        }
        "nfs" => {
            let path = source.at("path");
            required(&source, &["server", "path"], errors);
            if !path.text().starts_with('/') {
                errors.push(path.invalid_text("must be an absolute path"));
            }
        }
        "iscsi" => iscsi(&source, name, errors),
        "fc" => fibre_channel(&source, errors),
        "local" => {
            descends(&source.at("path"), errors);
            if !has_affinity {
                errors.push(spec.at("nodeAffinity").required("Local volume requires node affinity"));
            }
        }
        "csi" => {
            driver_name(&source.at("driver"), errors);
            required(&source, &["volumeHandle"], errors);
            let references = [
                "controllerPublishSecretRef",
                "controllerExpandSecretRef",
                "nodePublishSecretRef",
                "nodeExpandSecretRef",
            ];
            for reference in references.iter().map(|field| source.at(field)).filter(Field::is_set) {
                let (name, namespace) = (reference.at("name"), reference.at("namespace"));
                for (field, rule) in [(name, dns_subdomain as fn(&str) -> Vec<String>), (namespace, dns_label)] {
                    match field.text() {
                        "" => errors.push(field.required("")),
                        text => field.invalid_for(rule(text), errors),
                    }
                }
            }
        }
        _ => {}
    }
}

/// Texts that must be given.
pub(super) fn required(object: &Field<'_, '_>, fields: &[&str], errors: &mut Vec<FieldError>) {
    let missing = fields.iter().map(|field| object.at(field)).filter(|field| field.text().is_empty());
    errors.extend(missing.map(|field| field.required("")));
}

/// A path that must be given and may not go back up.
fn descends(path: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if path.text().is_empty() {
        errors.push(path.required(""));
    } else if path.text().split('/').any(|part| part == "..") {
        errors.push(path.invalid("must not contain '..'"));
    }
}

fn iscsi(source: &Field<'_, '_>, name: &str, errors: &mut Vec<FieldError>) {
    let (portal, iqn, lun) = (source.at("targetPortal"), source.at("iqn"), source.at("lun"));
    required(source, &["targetPortal"], errors);
    if source.at("initiatorName").is_set() && name.len() + 1 + portal.text().len() > 64 {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                      iscsi.initiatorName is specified.";
        errors.push(source.at("targetportal").invalid_as(portal.value(), detail));
    }
    if iqn.text().is_empty() {
        errors.push(iqn.required(""));
    } else if !["iqn", "eui", "naa"].iter().any(|start| iqn.text().starts_with(start)) {
        errors.push(iqn.invalid("must be valid format"));
    }
    lun_range(&lun, errors);
    let (secret, asks) = (source.at("secretRef"), ["chapAuthDiscovery", "chapAuthSession"]);
    if asks.iter().any(|field| source.at(field).truth()) && !secret.is_set() {
        errors.push(secret.required(""));
    } else if secret.is_set() {
        required(&secret, &["name"], errors);
    }
}

fn lun_range(lun: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    if !(0..=255).contains(&lun.integer()) {
        errors.push(lun.invalid("must be between 0 and 255, inclusive"));
    }
}

fn fibre_channel(source: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let (targets, ids, lun) = (source.at("targetWWNs"), source.at("wwids"), source.at("lun"));
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => errors.push(targets.required("must specify either targetWWNs or wwids, but not both")),
        (false, false) => errors.push(targets.invalid("targetWWNs and wwids can not be specified simultaneously")),
        _ => {}
    }
    if !targets.is_empty() {
        if lun.is_set() {
            lun_range(&lun, errors);
        } else {
            errors.push(lun.required("lun is required if targetWWNs is specified"));
        }
    }
}

/// The name of a CSI driver.
pub fn driver_name(name: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    const BYTES_MAX: usize = 63;
    if name.text().is_empty() {
        errors.push(name.required(""));
        return;
    }
    if name.text().len() > BYTES_MAX {
        errors.push(name.too_long(BYTES_MAX));
    }
    name.invalid_for(dns_subdomain(&name.text().to_lowercase()), errors);
}

/// Options of mounts were an annotation once, of some sources.
fn mount_options(volume: &Value, errors: &mut Vec<FieldError>) {
    const WITH_OPTIONS: [&str; 13] = [
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephfs",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    if Field::of(volume, "metadata.annotations").key(MOUNT_OPTIONS_ANNOTATION).is_set()
        && !WITH_OPTIONS.iter().any(|source| Field::of(volume, "spec").at(source).is_set())
    {
        let field = format!("metadata.annotations.{MOUNT_OPTIONS_ANNOTATION}");
        errors.push(FieldError::forbidden(&field, "may not specify mount options for this volume type"));
    }
}

fn volume_update(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    const EXPAND: &str = "controllerExpandSecretRef";
    const AFFINITY_STAYS: &str = "field is immutable, except for updating from beta label to GA";
    let (before, after) = (Field::of(old, "spec"), Field::of(new, "spec"));
    let (mut old_sources, mut new_sources) = (json!(sources_map(old)), json!(sources_map(new)));
    // Who may expand the volume can be said later.
    if before.at("csi").is_set() && !before.at("csi").at(EXPAND).is_set() {
        for sources in [&mut old_sources, &mut new_sources] {
            if let Some(csi) = sources.get_mut("csi") {
                remove(csi, EXPAND);
            }
        }
    }
    if old_sources != new_sources {
        let message = "spec.persistentvolumesource is immutable after creation\n";
        errors.push(FieldError::forbidden("spec.persistentvolumesource", message));
    }
    if before.at("volumeMode").value() != after.at("volumeMode").value() {
        errors.push(FieldError::invalid("volumeMode", after.at("volumeMode").value(), "field is immutable"));
    }
    let (was, is) = (before.at("nodeAffinity"), after.at("nodeAffinity"));
    if was.is_set() && was.value() != is.value() {
        let mut error = FieldError::invalid("nodeAffinity", is.value(), AFFINITY_STAYS);
        if is.is_set() {
            error.value = Some(print_affinity(&is));
        }
        errors.push(error);
    }
    let (was, is) = (before.at("volumeAttributesClassName"), after.at("volumeAttributesClassName"));
    if was.is_set() && !is.is_set() {
        errors.push(is.forbidden("update from non-nil value to nil is forbidden"));
    }
}

fn sources_map(volume: &Value) -> triune_api::Map {
    sources(volume).into_iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// As the reference prints its own form of an affinity.
fn print_affinity(affinity: &Field<'_, '_>) -> String {
    let requirements = |list: &Field<'_, '_>| {
        if list.is_empty() {
            return "null".to_string();
        }
        let printed: Vec<String> = list
            .items()
            .map(|one| {
                let of = |field: &str| json!(one.at(field).text());
                let values = one.at("values");
                format!(r#"{{"Key":{},"Operator":{},"Values":{}}}"#, of("key"), of("operator"), values.value())
            })
            .collect();
        format!("[{}]", printed.join(","))
    };
    let terms: Vec<String> = affinity
        .at("required.nodeSelectorTerms")
        .items()
        .map(|term| {
            let (expressions, fields) =
                (requirements(&term.at("matchExpressions")), requirements(&term.at("matchFields")));
            format!(r#"{{"MatchExpressions":{expressions},"MatchFields":{fields}}}"#)
        })
        .collect();
    format!(r#"{{"Required":{{"NodeSelectorTerms":[{}]}}}}"#, terms.join(","))
}

fn volume_warnings(volume: &Value) -> Vec<String> {
    let (spec, annotations) = (Field::of(volume, "spec"), Field::of(volume, "metadata.annotations"));
    let mut warnings = Vec::new();
    for (key, message) in [
        (STORAGE_CLASS_ANNOTATION, r#"deprecated since v1.8; use "storageClassName" attribute instead"#),
        (MOUNT_OPTIONS_ANNOTATION, r#"deprecated since v1.31; use "mountOptions" attribute instead"#),
    ] {
        if annotations.key(key).is_set() {
            warnings.push(format!("metadata.annotations[{key}]: {message}"));
        }
    }
    if spec.at("persistentVolumeReclaimPolicy").text() == "Recycle" {
        warnings.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended \
             approach is to use dynamic provisioning."
                .into(),
        );
    }
    for term in spec.at("nodeAffinity.required.nodeSelectorTerms").items() {
        old_labels_in(&term, &mut warnings);
    }
    for (source, shown, message) in [
        ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if spec.at(source).is_set() {
            warnings.push(format!("spec.{shown}: {message}"));
        }
    }
    warnings
}
