//! Volumes of every type.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use triune_api::{
    Value,
    field::FieldError,
    path::Path,
    validation::{dns_label, dns_subdomain, formats},
};

use super::{
    Tolerated, integer_of, is_true, list_of,
    mounts::{descending, no_backsteps, not_reserved},
    one_of, optional_one_of, projections, required,
    security::user,
    some_of, text_of,
};
use crate::{
    field::Field,
    kinds::{claims::claim_spec, validation},
    tree,
};

const FILE_MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const MORE_THAN_ONE: &str = "may not specify more than 1 volume type";
const ISCSI_NAME_CHARACTERS_MAX: usize = 64;
const DRIVER_BYTES_MAX: usize = 63;

/// What a type of volume checks.
type Rule = fn(&Value, Tolerated, &Path<'_>, &mut Vec<FieldError>);

/// The types in the reference's order: field, the name where it is one too many, the name in paths below, the rule.
const SOURCES: [(&str, &str, &str, Rule); 30] = [
    ("emptyDir", "emptyDir", "emptyDir", empty_dir),
    ("hostPath", "hostPath", "hostPath", host_path),
    ("gitRepo", "gitRepo", "gitRepo", git_repo),
    ("gcePersistentDisk", "gcePersistentDisk", "persistentDisk", |disk, _, path, errors| {
        required(disk, "pdName", path, errors);
        partition(disk, path, errors);
    }),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore", |disk, _, path, errors| {
        required(disk, "volumeID", path, errors);
        partition(disk, path, errors);
    }),
    ("secret", "secret", "secret", |secret, _, path, errors| files(secret, "secretName", path, errors)),
    ("nfs", "nfs", "nfs", nfs),
    ("iscsi", "iscsi", "iscsi", iscsi),
    ("glusterfs", "glusterfs", "glusterfs", |cluster, _, path, errors| {
        required(cluster, "endpoints", path, errors);
        required(cluster, "path", path, errors);
    }),
    ("flocker", "flocker", "flocker", flocker),
    ("persistentVolumeClaim", "persistentVolumeClaim", "persistentVolumeClaim", |claim, _, path, errors| {
        required(claim, "claimName", path, errors);
    }),
    ("rbd", "rbd", "rbd", |rbd, _, path, errors| {
        monitors(rbd, path, errors);
        required(rbd, "image", path, errors);
    }),
    ("cinder", "cinder", "cinder", |disk, _, path, errors| {
        required(disk, "volumeID", path, errors);
        secret_reference(disk, path, errors);
    }),
    ("cephfs", "cephFS", "cephfs", |ceph, _, path, errors| monitors(ceph, path, errors)),
    ("quobyte", "quobyte", "quobyte", quobyte),
    ("downwardAPI", "downwarAPI", "downwardAPI", |source, _, path, errors| {
        mode(source, "defaultMode", path, errors);
        user(source, "defaultUser", path, errors);
        for file in list_of(source, "items") {
            projections::downward_file(file, path, errors);
        }
    }),
    ("fc", "fc", "fc", fibre_channel),
    ("flexVolume", "flexVolume", "flexVolume", flex_volume),
    ("configMap", "configMap", "configMap", |map, _, path, errors| files(map, "name", path, errors)),
    ("azureFile", "azureFile", "azureFile", |share, _, path, errors| {
        required(share, "secretName", path, errors);
        required(share, "shareName", path, errors);
    }),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume", |disk, _, path, errors| {
        required(disk, "volumePath", path, errors);
    }),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk", |disk, _, path, errors| {
        required(disk, "pdID", path, errors);
    }),
    ("portworxVolume", "portworxVolume", "portworxVolume", |volume, _, path, errors| {
        required(volume, "volumeID", path, errors);
    }),
    ("azureDisk", "azureDisk", "azureDisk", azure_disk),
    ("storageos", "storageos", "storageos", storage_os),
    ("projected", "projected", "projected", |source, tolerated, path, errors| {
        mode(source, "defaultMode", path, errors);
        user(source, "defaultUser", path, errors);
        projections::sources(source, tolerated, path, errors);
    }),
    ("scaleIO", "scaleIO", "scaleIO", |volume, _, path, errors| {
        for field in ["gateway", "system", "volumeName"] {
            required(volume, field, path, errors);
        }
    }),
    ("csi", "csi", "csi", csi),
    ("ephemeral", "ephemeral", "ephemeral", ephemeral),
    ("image", "image", "image", |image, tolerated, path, errors| {
        if !tolerated.empty_image_references {
            required(image, "reference", path, errors);
        }
        one_of(image, "pullPolicy", &["Always", "IfNotPresent", "Never"], path, errors);
    }),
];

/// Checks `volumes`, and gives those that are valid: only these can be mounted.
pub fn volumes<'a>(
    spec: &'a Value,
    metadata: Option<&Value>,
    tolerated: Tolerated,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) -> BTreeMap<&'a str, &'a Value> {
    let mut valid = BTreeMap::new();
    let volumes = list_of(spec, "volumes");
    if volumes.is_empty() {
        return valid;
    }
    let list = path.field("volumes");
    let pod = metadata.map(|metadata| text_of(metadata, "name")).filter(|name| !name.is_empty());
    let made_claims: BTreeSet<String> = volumes
        .iter()
        .filter(|volume| some_of(volume, "ephemeral").is_some())
        .filter_map(|volume| Some(format!("{}-{}", pod?, text_of(volume, "name"))))
        .collect();
    for (index, volume) in volumes.iter().enumerate() {
        let path = list.index(index);
        let before = errors.len();
        let name = text_of(volume, "name");
        source(volume, name, pod, tolerated, &path, errors);
        let name_path = path.field("name");
        if name.is_empty() {
            errors.push(name_path.required(""));
        } else {
            name_path.all_invalid(name, dns_label(name), errors);
        }
        if valid.contains_key(name) {
            errors.push(name_path.duplicate(name));
        }
        if errors.len() == before {
            valid.insert(name, volume);
        }
        let claim = tree::text(volume, "/persistentVolumeClaim/claimName");
        if made_claims.contains(claim) {
            let message = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(path.field("persistentVolumeClaim.claimName").invalid(claim, message));
        }
    }
    valid
}

/// Checks that a volume has exactly one type.
fn source(
    volume: &Value,
    name: &str,
    pod: Option<&str>,
    tolerated: Tolerated,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let mut found = false;
    for (field, too_many, below, rule) in SOURCES {
        let Some(source) = some_of(volume, field) else { continue };
        if found {
            errors.push(path.field(too_many).forbidden(MORE_THAN_ONE));
        } else {
            found = true;
            rule(source, tolerated, &path.field(below), errors);
        }
        if field == "iscsi" && some_of(source, "initiatorName").is_some() {
            let characters = name.len() + 1 + text_of(source, "targetPortal").len();
            if characters > ISCSI_NAME_CHARACTERS_MAX {
                let message = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                               iscsi.initiatorName is specified.";
                errors.push(path.field("name").invalid(name, message));
            }
        }
        if field == "ephemeral"
            && let Some(pod) = pod.filter(|_| !name.is_empty())
        {
            let claim = format!("{pod}-{name}");
            for message in dns_subdomain(&claim) {
                errors.push(path.field("name").invalid(name, format!("PVC name {claim:?}: {message}")));
            }
        }
    }
    if !found {
        errors.push(path.required("must specify a volume type"));
    }
}

fn empty_dir(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let limit = source.get("sizeLimit").and_then(validation::quantity);
    if limit.is_some_and(|limit| limit.sign() < 0) {
        errors.push(path.field("sizeLimit").forbidden("SizeLimit field must be a valid resource quantity"));
    }
}

fn host_path(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const TYPES: [&str; 8] =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    match text_of(source, "path") {
        "" => errors.push(path.field("path").required("")),
        target => {
            no_backsteps(target, &path.field("path"), errors);
            optional_one_of(source, "type", &TYPES, path, errors);
        }
    }
}

fn git_repo(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(source, "repository", path, errors);
    descending(text_of(source, "directory"), &path.field("directory"), errors);
}

fn partition(disk: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let partition = integer_of(disk, "partition").unwrap_or_default();
    if !(0..=255).contains(&partition) {
        errors.push(path.field("partition").invalid(partition, "must be between 1 and 255, inclusive"));
    }
}

/// Files made of the entries of a secret or config map.
fn files(source: &Value, name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(source, name, path, errors);
    mode(source, "defaultMode", path, errors);
    user(source, "defaultUser", path, errors);
    let list = path.field("items");
    for (index, item) in list_of(source, "items").iter().enumerate() {
        key_to_path(item, &list.index(index), errors);
    }
}

/// Checks that an entry becomes a file below the volume.
pub fn key_to_path(item: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(item, "key", path, errors);
    required(item, "path", path, errors);
    not_reserved(text_of(item, "path"), &path.field("path"), errors);
    mode(item, "mode", path, errors);
    user(item, "user", path, errors);
}

/// Checks the permissions of files.
pub fn mode(source: &Value, field: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(mode) = integer_of(source, field)
        && !(0..=0o777).contains(&mode)
    {
        errors.push(path.field(field).invalid(mode, FILE_MODE));
    }
}

fn nfs(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(source, "server", path, errors);
    required(source, "path", path, errors);
    let target = text_of(source, "path");
    if !target.starts_with('/') {
        errors.push(path.field("path").invalid(target, "must be an absolute path"));
    }
}

fn iscsi(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const START: &str = "must be valid format starting with iqn, eui, or naa";
    const FORMAT: &str = "must be valid format";
    required(source, "targetPortal", path, errors);
    match text_of(source, "iqn") {
        "" => errors.push(path.field("iqn").required("")),
        name if !has_initiator_start(name) => errors.push(path.field("iqn").invalid(name, START)),
        name if !is_initiator(name) => errors.push(path.field("iqn").invalid(name, FORMAT)),
        _ => {}
    }
    let lun = integer_of(source, "lun").unwrap_or_default();
    for message in formats::in_range(lun, 0, 255) {
        errors.push(path.field("lun").invalid(lun, message));
    }
    let authenticates = is_true(source, "chapAuthDiscovery") || is_true(source, "chapAuthSession");
    if authenticates && some_of(source, "secretRef").is_none() {
        errors.push(path.field("secretRef").required(""));
    }
    if let Some(name) = source.get("initiatorName").and_then(Value::as_str) {
        let path = path.field("initiatorname");
        if !has_initiator_start(name) {
            errors.push(path.invalid(name, START));
        } else if !is_initiator(name) {
            errors.push(path.invalid(name, FORMAT));
        }
    }
}

fn has_initiator_start(name: &str) -> bool {
    ["iqn", "eui", "naa"].iter().any(|start| name.starts_with(start))
}

fn is_initiator(name: &str) -> bool {
    let format = match name.get(..3) {
        Some("iqn") => r"iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$",
        Some("eui") => r"^eui.[[:alnum:]]{16}$",
        _ => r"^naa.[[:alnum:]]{32}$",
    };
    Regex::new(format).is_ok_and(|format| format.is_match(name))
}

fn flocker(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let (name, uuid) = (text_of(source, "datasetName"), text_of(source, "datasetUUID"));
    if name.is_empty() && uuid.is_empty() {
        errors.push(path.required("one of datasetName and datasetUUID is required"));
    }
    if !name.is_empty() && !uuid.is_empty() {
        errors.push(path.invalid("resource", "datasetName and datasetUUID can not be specified simultaneously"));
    }
    if name.contains('/') {
        errors.push(path.field("datasetName").invalid(name, "must not contain '/'"));
    }
}

fn monitors(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if list_of(source, "monitors").is_empty() {
        errors.push(path.field("monitors").required(""));
    }
}

fn secret_reference(source: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(reference) = some_of(source, "secretRef") {
        required(reference, "name", &path.field("secretRef"), errors);
    }
}

fn quobyte(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let registry = text_of(source, "registry");
    if registry.is_empty() {
        let message = "must be a host:port pair or multiple pairs separated by commas";
        errors.push(path.field("registry").required(message));
    } else if text_of(source, "tenant").len() >= 65 {
        errors.push(path.field("tenant").required("must be a UUID and may not exceed a length of 64 characters"));
    } else if registry.split(',').any(|pair| !pair.contains(':')) {
        let message = "must be a host:port pair or multiple pairs separated by commas";
        errors.push(path.field("registry").invalid(registry, message));
    }
    required(source, "volume", path, errors);
}

fn fibre_channel(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let names = list_of(source, "targetWWNs");
    let path_of_names = path.field("targetWWNs");
    match (names.is_empty(), list_of(source, "wwids").is_empty()) {
        (true, true) => errors.push(path_of_names.required("must specify either targetWWNs or wwids, but not both")),
        (false, false) => {
            let message = "targetWWNs and wwids can not be specified simultaneously";
            errors.push(path_of_names.invalid(Value::from(names), message));
        }
        _ => {}
    }
    if names.is_empty() {
        return;
    }
    match integer_of(source, "lun") {
        None => errors.push(path.field("lun").required("lun is required if targetWWNs is specified")),
        Some(lun) => {
            let messages = formats::in_range(lun, 0, 255);
            errors.extend(messages.into_iter().map(|message| path.field("lun").invalid(lun, message)));
        }
    }
}

fn flex_volume(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    required(source, "driver", path, errors);
    let options = path.field("options");
    for (key, _) in tree::map(source, "/options").into_iter().flatten() {
        let namespace = key.split_once('/').map_or(key.as_str(), |(namespace, _)| namespace);
        let normalised = format!(".{}", namespace.to_lowercase());
        if normalised.ends_with(".kubernetes.io") || normalised.ends_with(".k8s.io") {
            let message = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(options.key(key).invalid(key.as_str(), message));
        }
    }
}

fn azure_disk(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const OF_MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const OF_BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    required(source, "diskName", path, errors);
    required(source, "diskURI", path, errors);
    optional_one_of(source, "cachingMode", &["None", "ReadOnly", "ReadWrite"], path, errors);
    optional_one_of(source, "kind", &["Dedicated", "Managed", "Shared"], path, errors);
    let uri = text_of(source, "diskURI");
    let (start, supported) = match source.get("kind").and_then(Value::as_str) {
        None => return,
        Some("Managed") => ("/subscriptions/", OF_MANAGED),
        Some(_) => ("https://", OF_BLOB),
    };
    if !uri.starts_with(start) {
        errors.push(path.field("diskURI").not_supported(uri, &[supported]));
    }
}

fn storage_os(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match text_of(source, "volumeName") {
        "" => errors.push(path.field("volumeName").required("")),
        name => path.field("volumeName").all_invalid(name, dns_label(name), errors),
    }
    match text_of(source, "volumeNamespace") {
        "" => {}
        name => path.field("volumeNamespace").all_invalid(name, dns_label(name), errors),
    }
    secret_reference(source, path, errors);
}

fn csi(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    csi_driver_name(text_of(source, "driver"), &path.field("driver"), errors);
    let Some(secret) = some_of(source, "nodePublishSecretRef") else { return };
    match text_of(secret, "name") {
        "" => errors.push(path.field("nodePublishSecretRef.name").required("")),
        name => path.field("name").all_invalid(name, dns_subdomain(name), errors),
    }
}

/// Checks the name of a driver of volumes.
pub fn csi_driver_name(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(path.required(""));
        return;
    }
    if name.len() > DRIVER_BYTES_MAX {
        errors.push(path.too_long(DRIVER_BYTES_MAX));
    }
    path.all_invalid(name, dns_subdomain(&name.to_lowercase()), errors);
}

fn ephemeral(source: &Value, _: Tolerated, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.field("volumeClaimTemplate");
    let Some(template) = some_of(source, "volumeClaimTemplate") else {
        errors.push(path.required(""));
        return;
    };
    let empty = Value::Null;
    if let Some(metadata) = some_of(template, "metadata") {
        let path = path.field("metadata");
        validation::annotations(metadata.get("annotations"), &path.field("annotations"), errors);
        validation::labels(metadata.get("labels"), &path.field("labels"), errors);
        // In the order of the fields of ObjectMeta.
        const OTHERS: [&str; 12] = [
            "name",
            "generateName",
            "namespace",
            "selfLink",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "ownerReferences",
            "finalizers",
        ];
        for field in OTHERS.iter().filter(|field| !tree::is_unset(metadata.get(**field))) {
            errors.push(path.field(field).forbidden("cannot be set"));
        }
    }
    claim_spec(&Field::under(path.field("spec"), template.get("spec").unwrap_or(&empty)), errors);
}
