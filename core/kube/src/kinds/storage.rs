//! Storage classes, CSI drivers and nodes, attachments (kubernetes `pkg/apis/storage/validation`).

use serde_json::json;
use triune_api::{
    Value,
    field::FieldError,
    validation::{dns_subdomain, qualified_name, regex_error},
};

use super::{
    resource_names::not_negative,
    selectors::{label_selector, old_label, old_labels_in, topologies},
    validation::{found_by_type, is_missing},
    volumes::{self, driver_name},
};
use crate::{
    field::Field,
    kind::Kind,
    tables::{self, cluster},
    tree::{self, child, fill, remove, set},
};

/// `storage.k8s.io/v1 StorageClass`.
pub static STORAGE_CLASSES: Kind = Kind {
    defaults: |object| {
        fill(object, "reclaimPolicy", "Delete");
        fill(object, "volumeBindingMode", "Immediate");
    },
    closed_sets: true,
    validate_create: |class, errors| {
        provisioner(&Field::of(class, "provisioner"), errors);
        parameters(&Field::of(class, "parameters"), true, errors);
        let policy = Field::of(class, "reclaimPolicy");
        if !policy.text().is_empty() {
            policy.one_of(&["Delete", "Retain"], errors);
        }
        let mode = Field::of(class, "volumeBindingMode");
        if mode.is_set() {
            mode.one_of(&["Immediate", "WaitForFirstConsumer"], errors);
        } else {
            errors.push(mode.required(""));
        }
        topologies(&Field::of(class, "allowedTopologies"), errors);
        found_by_type(errors, |error| is_missing(error, &["provisioner"]));
    },
    validate_update: |old, new, errors| {
        let provisioner = Field::of(new, "provisioner");
        if provisioner.text().is_empty() {
            errors.push(provisioner.required(""));
        }
        for field in ["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"] {
            Field::of(new, field).fixed(Field::of(old, field).value(), errors);
        }
    },
    warnings: |class, _| {
        let mut warnings = Vec::new();
        for term in Field::of(class, "allowedTopologies").items() {
            for requirement in term.at("matchLabelExpressions").items() {
                let key = requirement.at("key");
                warnings.extend(old_label(key.text()).map(|message| format!("{key}: {message}")));
            }
        }
        warnings
    },
    returns_deleted_object: true,
    table: cluster::STORAGE_CLASSES,
    default_of: Some(cluster::default_storage_class),
    ..Kind::GENERIC
};

/// `storage.k8s.io/v1 VolumeAttributesClass`.
pub static VOLUME_ATTRIBUTES_CLASSES: Kind = Kind {
    validate_create: attributes_class,
    validate_update: |old, new, errors| {
        for field in ["driverName", "parameters"] {
            if old.get(field) != new.get(field) {
                errors.push(FieldError::forbidden(field, format!("updates to {field} are forbidden.")));
            }
        }
        attributes_class(new, errors);
    },
    returns_deleted_object: true,
    table: cluster::VOLUME_ATTRIBUTES_CLASSES,
    ..Kind::GENERIC
};

/// `storage.k8s.io/v1 CSIDriver`.
pub static CSI_DRIVERS: Kind = Kind {
    defaults: |object| {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "attachRequired", true);
        fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            fill(spec, field, false);
        }
        fill(spec, "preventPodSchedulingIfMissing", false);
        if tree::items(spec, "/volumeLifecycleModes").is_empty() {
            set(spec, "volumeLifecycleModes", json!(["Persistent"]));
        }
    },
    closed_sets: true,
    validate: driver,
    validate_update: |old, new, errors| {
        let (before, after) = (Field::of(old, "spec"), Field::of(new, "spec"));
        if before.at("attachRequired").value() != after.at("attachRequired").value() {
            // The reference's name for the field.
            let field = "spec.attachedRequired";
            let value = after.at("attachRequired");
            errors.push(FieldError::invalid(field, value.value(), "field is immutable"));
        }
        after.at("volumeLifecycleModes").immutable(before.at("volumeLifecycleModes").value(), errors);
    },
    warnings: |new, old| {
        let requests = |driver: &Value| driver.pointer("/spec/tokenRequests").cloned().unwrap_or_default();
        let asks = !Field::of(new, "spec.tokenRequests").is_empty();
        let is_new = old.is_none_or(|old| requests(old) != requests(new));
        if asks && is_new && !tree::has(new, "/spec/serviceAccountTokenInSecrets") {
            return vec![
                "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent \
                 possible logging of tokens in volume attributes"
                    .into(),
            ];
        }
        Vec::new()
    },
    returns_deleted_object: true,
    table: cluster::CSI_DRIVERS,
    ..Kind::GENERIC
};

/// `storage.k8s.io/v1 CSINode`.
pub static CSI_NODES: Kind = Kind {
    validate: csi_node,
    validate_update: |old, new, errors| {
        let (before, after) = (Field::of(old, "spec.drivers"), Field::of(new, "spec.drivers"));
        for old in before.items() {
            for new in after.items().filter(|new| new.at("name").text() == old.at("name").text()) {
                let lasting = |driver: &Field<'_, '_>| {
                    let mut driver = driver.value().clone();
                    remove(&mut driver, "allocatable");
                    driver
                };
                if lasting(&old) != lasting(&new) {
                    let mut error = after.invalid("field is immutable");
                    let of = |field: &str| json!(new.at(field).text());
                    let keys = new.at("topologyKeys");
                    error.value = Some(format!(
                        r#"{{"Name":{},"NodeID":{},"TopologyKeys":{},"Allocatable":null}}"#,
                        of("name"),
                        of("nodeID"),
                        keys.value()
                    ));
                    errors.push(error);
                }
            }
        }
    },
    returns_deleted_object: true,
    table: cluster::CSI_NODES,
    ..Kind::GENERIC
};

/// `storage.k8s.io/v1 CSIStorageCapacity`.
pub static CSI_STORAGE_CAPACITIES: Kind = Kind {
    validate_create: |capacity, errors| {
        label_selector(&Field::of(capacity, "nodeTopology"), errors);
        let class = Field::of(capacity, "storageClassName");
        class.invalid_for(dns_subdomain(class.text()), errors);
        not_negative(&Field::of(capacity, "capacity"), errors);
    },
    validate_update: |old, new, errors| {
        for field in ["nodeTopology", "storageClassName"] {
            Field::of(new, field).immutable(Field::of(old, field).value(), errors);
        }
    },
    warnings: |capacity, _| {
        let mut warnings = Vec::new();
        old_labels_in(&Field::of(capacity, "nodeTopology"), &mut warnings);
        warnings
    },
    table: tables::core::NAME_AND_CREATED_AT,
    ..Kind::GENERIC
};

/// `storage.k8s.io/v1 VolumeAttachment`.
pub static VOLUME_ATTACHMENTS: Kind = Kind {
    closed_sets: true,
    validate: attachment,
    validate_update: |old, new, errors| Field::of(new, "spec").fixed(Field::of(old, "spec").value(), errors),
    validate_status: |_, new, errors| attachment(new, errors),
    returns_deleted_object: true,
    table: cluster::VOLUME_ATTACHMENTS,
    ..Kind::GENERIC
};

const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 * 1024;
const NODE_ID_BYTES_MAX: usize = 256;
/// Longest message of an error of an attachment.
const ERROR_BYTES_MAX: usize = 1024;
const TOKEN_SECONDS_MIN: i64 = 600;
const UPDATE_PERIOD_SECONDS_MIN: i64 = 10;

fn provisioner(name: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    let lower = name.text().to_lowercase();
    match name.text() {
        "" => errors.push(name.required("")),
        _ => errors.extend(qualified_name(&lower).into_iter().map(|message| name.invalid_as(&json!(lower), message))),
    }
}

fn parameters(parameters: &Field<'_, '_>, may_be_empty: bool, errors: &mut Vec<FieldError>) {
    if parameters.len() > PARAMETERS_MAX {
        errors.push(parameters.too_long(PARAMETERS_MAX));
        return;
    }
    let mut bytes = 0;
    for (key, value) in parameters.entries() {
        if key.is_empty() {
            errors.push(parameters.invalid_as(&json!(""), "field can not be empty."));
        }
        bytes += key.len() + value.text().len();
    }
    if bytes > PARAMETERS_BYTES_MAX {
        errors.push(parameters.too_long(PARAMETERS_BYTES_MAX));
    }
    if !may_be_empty && parameters.is_empty() {
        errors.push(parameters.required("must contain at least one key/value pair"));
    }
}

fn attributes_class(class: &Value, errors: &mut Vec<FieldError>) {
    provisioner(&Field::of(class, "driverName"), errors);
    parameters(&Field::of(class, "parameters"), false, errors);
}

fn driver(driver: &Value, errors: &mut Vec<FieldError>) {
    let spec = Field::of(driver, "spec");
    let policy = spec.at("fsGroupPolicy");
    policy.one_of(&["File", "None", "ReadWriteOnceWithFSType"], errors);
    let requests = spec.at("tokenRequests");
    let mut audiences = Vec::new();
    for request in requests.items() {
        let (audience, seconds) = (request.at("audience"), request.at("expirationSeconds"));
        if audiences.contains(&audience.text()) {
            errors.push(FieldError::duplicate(&audience.to_string(), &json!(audience.text())));
            continue;
        }
        audiences.push(audience.text());
        if seconds.is_set() && seconds.integer() < TOKEN_SECONDS_MIN {
            errors.push(seconds.invalid("may not specify a duration less than 10 minutes"));
        }
        if seconds.integer() > 1 << 32 {
            errors.push(seconds.invalid("may not specify a duration larger than 2^32 seconds"));
        }
    }
    let modes = spec.at("volumeLifecycleModes");
    for mode in modes.texts().filter(|mode| !matches!(*mode, "Persistent" | "Ephemeral")) {
        let supported = ["Persistent", "Ephemeral"];
        errors.push(FieldError::not_supported(&modes.to_string(), &json!(mode), &supported));
    }
    let period = spec.at("nodeAllocatableUpdatePeriodSeconds");
    if period.is_set() && period.integer() < UPDATE_PERIOD_SECONDS_MIN {
        errors.push(period.invalid("must be greater than or equal to 10 seconds"));
    }
    let in_secrets = spec.at("serviceAccountTokenInSecrets");
    if in_secrets.is_set() && requests.is_empty() {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.push(in_secrets.invalid(detail));
    }
}

fn csi_node(node: &Value, errors: &mut Vec<FieldError>) {
    let mut names = Vec::new();
    for driver in Field::of(node, "spec.drivers").items() {
        let (name, id) = (driver.at("name"), driver.at("nodeID"));
        driver_name(&name, errors);
        if id.text().is_empty() {
            errors.push(id.required(""));
        }
        if id.text().len() > NODE_ID_BYTES_MAX {
            errors.push(id.invalid(format!("must be {NODE_ID_BYTES_MAX} characters or less")));
        }
        driver.at("allocatable.count").not_negative(errors);
        if names.contains(&name.text()) {
            errors.push(name.duplicate());
        }
        names.push(name.text());
        let mut keys = Vec::new();
        for key in driver.at("topologyKeys").texts() {
            if key.is_empty() {
                errors.push(driver.required(""));
            }
            if keys.contains(&key) {
                errors.push(FieldError::duplicate(&driver.to_string(), &json!(key)));
            }
            keys.push(key);
            let messages = qualified_name(key).into_iter();
            errors.extend(messages.map(|message| driver.invalid_as(&json!(key), message)));
        }
    }
}

fn attachment(attachment: &Value, errors: &mut Vec<FieldError>) {
    const EXACTLY_ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let spec = Field::of(attachment, "spec");
    let source = spec.at("source");
    let (inline, name) = (source.at("inlineVolumeSpec"), source.at("persistentVolumeName"));
    match (inline.is_set(), name.is_set()) {
        (false, false) => errors.push(source.required(EXACTLY_ONE)),
        (true, true) => errors.push(source.forbidden(EXACTLY_ONE)),
        (false, true) if name.text().is_empty() => {
            errors.push(name.required("must specify non empty persistentVolumeName"));
        }
        (false, true) => {}
        (true, false) => volumes::volume_spec(&inline, "", true, errors),
    }
    let node = spec.at("nodeName");
    node.invalid_for(dns_subdomain(node.text()), errors);
    let status = Field::of(attachment, "status");
    let metadata = status.at("attachmentMetadata");
    let bytes: usize = metadata.entries().map(|(key, value)| key.len() + value.text().len()).sum();
    if bytes > PARAMETERS_BYTES_MAX {
        errors.push(metadata.too_long(PARAMETERS_BYTES_MAX));
    }
    for failure in [status.at("attachError"), status.at("detachError")] {
        let (message, code) = (failure.at("message"), failure.at("errorCode"));
        if message.text().len() > ERROR_BYTES_MAX {
            errors.push(message.too_long(ERROR_BYTES_MAX));
        }
        if code.integer() < 0 {
            errors.push(code.invalid("must be between 0 and 2147483647, inclusive"));
        }
    }
    if name.is_set() {
        name.invalid_for(dns_subdomain(name.text()), errors);
    }
    attacher(&spec.at("attacher"), errors);
}

/// The driver of an attachment; the reference has words of its own for it.
fn attacher(name: &Field<'_, '_>, errors: &mut Vec<FieldError>) {
    const CHARACTERS_MAX: usize = 63;
    let text = name.text();
    if text.is_empty() {
        errors.push(name.required(""));
    } else if text.chars().count() > CHARACTERS_MAX {
        let mut error = name.too_long(CHARACTERS_MAX);
        error.detail = format!("may not be more than {CHARACTERS_MAX} characters");
        errors.push(error);
    } else if !dns_subdomain(&text.to_lowercase()).is_empty() {
        errors.push(name.invalid(regex_error(
            "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an \
             alphanumeric character",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["Example.com"],
        )));
    }
}
