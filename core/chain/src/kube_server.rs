//! The built-in groups as a server of the chain.
//!
//! Each set of bootstrap objects has its own hook, named as the reference names the controller that makes them. Hooks run
//! at once and in no order: no object needs another to be stored (A16).

use std::{collections::BTreeMap, sync::Arc};

use triune_api::{Value, meta, names::GroupVersion, time};
use triune_kube::{BootstrapOptions, bootstrap_objects, ensure_bootstrap, group_priorities, resources_with};
use triune_machinery::{
    director::UnknownResource,
    generic_server::GenericApiServer,
    health::HealthCheck,
    registry::Resource,
    resources::{InstalledVersion, Resources},
    verbs::ResourceHandler,
};
use triune_schema::Facts;
use triune_store::Store;

use crate::{ChainConfig, ChainError};

/// The kube server, and what it serves.
pub struct KubeServer {
    /// To be run, or to be delegated to.
    pub server: GenericApiServer,
    /// Its registry.
    pub resources: Arc<Resources>,
}

/// Makes the server on a store.
pub fn create(facts: &Arc<Facts>, store: &Arc<Store>, config: &ChainConfig) -> Result<KubeServer, ChainError> {
    let resources = install(facts, config)?;
    let handler = ResourceHandler::new(resources.clone(), store.clone(), Arc::new(UnknownResource));
    let mut server = GenericApiServer::new("kube-apiserver", resources.clone(), handler, None);
    server.add_health_check(store_check("etcd", store));
    server.add_readyz_check(store_check("etcd-readiness", store));
    add_bootstrap_hooks(&mut server, store, &resources, config)?;
    let ready = store.clone();
    server.add_post_start_hook("storage-readiness", move |_| async move {
        ready.healthy().await.map_err(|error| error.to_string())
    });
    Ok(KubeServer { server, resources })
}

/// Every built-in resource in a registry, in one step.
fn install(facts: &Arc<Facts>, config: &ChainConfig) -> Result<Arc<Resources>, ChainError> {
    let mut by_version: BTreeMap<GroupVersion, Vec<Arc<Resource>>> = BTreeMap::new();
    for resource in resources_with(facts, config.settings.clone())? {
        by_version.entry(resource.gvk.group_version()).or_default().push(Arc::new(resource));
    }
    let installed = group_priorities()?.into_iter().map(|priority| InstalledVersion {
        resources: by_version.remove(&priority.group_version).unwrap_or_default(),
        group_version: priority.group_version,
        group_priority: priority.group_priority_minimum,
        version_priority: priority.version_priority,
    });
    let resources = Arc::new(Resources::new());
    resources.install_all(installed.filter(|version| !version.resources.is_empty()));
    Ok(resources)
}

fn store_check(name: &str, store: &Arc<Store>) -> HealthCheck {
    let store = store.clone();
    HealthCheck::asking(name, move || {
        let store = store.clone();
        Box::pin(async move { store.healthy().await.map_err(|error| error.to_string()) })
    })
}

fn add_bootstrap_hooks(
    server: &mut GenericApiServer,
    store: &Arc<Store>,
    resources: &Arc<Resources>,
    config: &ChainConfig,
) -> Result<(), ChainError> {
    let env = &config.server.env;
    let objects = bootstrap_objects(&BootstrapOptions {
        settings: config.settings.clone(),
        advertise_address: config.advertise.0,
        port: config.advertise.1,
        hostname: config.hostname.clone(),
        authentication: config.authentication.clone(),
        now: time::from_system(env.clock.wall()),
        holder_suffix: env.entropy.uuid(),
    })?;
    let mut by_hook: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for object in objects {
        by_hook.entry(hook_of(meta::api_version(&object), meta::kind(&object))).or_default().push(object);
    }
    for (name, objects) in by_hook {
        let (store, resources) = (store.clone(), resources.clone());
        server.add_post_start_hook(name, move |context| async move {
            let served: Vec<Arc<Resource>> =
                resources.load().versions().iter().flat_map(|version| version.resources.iter().cloned()).collect();
            let made = ensure_bootstrap(&context.env, &store, &served, objects).await;
            made.map(|created| tracing::debug!(hook = name, created, "bootstrap objects are there"))
                .map_err(|error| error.to_string())
        });
    }
    Ok(())
}

/// The reference's name of who makes an object of this kind at start.
fn hook_of(api_version: &str, kind: &str) -> &'static str {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("rbac.authorization.k8s.io", _) => "rbac/bootstrap-roles",
        ("scheduling.k8s.io", _) => "scheduling/bootstrap-system-priority-classes",
        ("flowcontrol.apiserver.k8s.io", _) => "priority-and-fairness-config-producer",
        ("apiregistration.k8s.io", _) => "kube-apiserver-autoregistration",
        ("coordination.k8s.io", _) => "start-kube-apiserver-identity-lease-controller",
        ("networking.k8s.io", _) => "start-kubernetes-service-cidr-controller",
        ("", "Namespace") => "start-system-namespaces-controller",
        ("", "ConfigMap") => "start-cluster-authentication-info-controller",
        // The `kubernetes` service and its endpoints.
        _ => "bootstrap-controller",
    }
}
