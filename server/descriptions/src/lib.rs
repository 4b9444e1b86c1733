//! Prose of the built-in types and their fields, for `kubectl explain`: what `k8s-openapi` generates from the reference's
//! documents. Texts are in that crate, not here; they are put together when a document is made, and dropped with it.
//!
//! Deliberately absent: prose of lists, which that crate has one type for, and of operations and parameters.

use schemars::SchemaGenerator;
use serde_json::Value;
use triune_schema::openapi::{Description, Descriptions};

/// Adds kinds and all types that they are made of to a generator of schemas.
macro_rules! add {
    ($generator:ident, $($module:ident)::+ : $($kind:ident),+; $($rest:tt)*) => {
        {
            use k8s_openapi::$($module)::+::{$($kind),+};
            $($generator.subschema_for::<$kind>();)+
        }
        add!($generator, $($rest)*);
    };
    ($generator:ident,) => {};
}

/// Prose by model.
pub fn descriptions() -> Descriptions {
    let mut generator = SchemaGenerator::default();
    add! {
        generator,
        api::admissionregistration::v1: MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration;
        api::apps::v1: ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet;
        api::authentication::v1: SelfSubjectReview, TokenRequest, TokenReview;
        api::authorization::v1: LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview;
        api::autoscaling::v1: HorizontalPodAutoscaler, Scale;
        api::autoscaling::v2: HorizontalPodAutoscaler;
        api::batch::v1: CronJob, Job;
        api::certificates::v1: CertificateSigningRequest, ClusterTrustBundle, PodCertificateRequest;
        api::coordination::v1: Lease;
        api::core::v1: Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount;
        api::discovery::v1: EndpointSlice;
        api::events::v1: Event;
        api::flowcontrol::v1: FlowSchema, PriorityLevelConfiguration;
        api::networking::v1: IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR;
        api::node::v1: RuntimeClass;
        api::policy::v1: Eviction, PodDisruptionBudget;
        api::rbac::v1: ClusterRole, ClusterRoleBinding, Role, RoleBinding;
        api::resource::v1: DeviceClass, DeviceTaintRule, ResourceClaim, ResourceClaimTemplate, ResourceSlice;
        api::scheduling::v1: PriorityClass;
        api::storage::v1: CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass;
        api::storagemigration::v1: StorageVersionMigration;
        apiextensions_apiserver::pkg::apis::apiextensions::v1: CustomResourceDefinition;
        apimachinery::pkg::apis::meta::v1: APIGroup, APIGroupList, APIResourceList, APIVersions, DeleteOptions, Patch, Status;
        apimachinery::pkg::version: Info;
        kube_aggregator::pkg::apis::apiregistration::v1: APIService;
    }
    let models = generator.take_definitions(false).into_iter();
    models.map(|(model, schema)| (model, description(&schema))).collect()
}

fn description(schema: &Value) -> Description {
    let text = |schema: &Value| schema["description"].as_str().map(String::from);
    let properties = schema["properties"].as_object().into_iter().flatten();
    let fields = properties.filter_map(|(name, property)| Some((name.clone(), text(property)?)));
    Description { text: text(schema).unwrap_or_default(), fields: fields.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_fields_are_described() {
        let descriptions = descriptions();
        for model in ["io.k8s.api.core.v1.Pod", "io.k8s.api.apps.v1.DeploymentSpec", "io.k8s.api.core.v1.Container"] {
            let described = &descriptions[model];
            assert!(!described.text.is_empty() && described.fields.len() > 3, "{model}: {described:?}");
            assert!(described.fields.values().all(|text| !text.is_empty()), "{model}");
        }
        assert!(descriptions.len() > 500, "{} models", descriptions.len());
    }
}
