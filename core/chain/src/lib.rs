//! The servers of the chain put together: aggregator, kube, apiextensions, not found.
//!
//! Today the chain has one server, kube; the others take their places in front of it and behind it. In reading order:
//!
//! - [`create_server_chain`]: the whole chain, ready to run
//! - [`kube_server`]: the built-in groups as a server: registry, bootstrap hooks, health checks

pub mod kube_server;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use triune_env::storage::Storage;
use triune_kube::{CatalogError, Settings, bootstrap::BootstrapDataError};
use triune_machinery::{
    generic_server::{PreparedServer, ServerConfig},
    openapi::RegistryOpenApi,
};
use triune_schema::{FactsError, openapi::Descriptions};
use triune_store::{Store, StoreOptions, types::ReadError};

/// What a chain is made from, besides storage.
pub struct ChainConfig {
    /// The listener, the handler chain, who may do what. Its `openapi` is set by the chain.
    pub server: ServerConfig,
    /// Ranges of service addresses and node ports.
    pub settings: Settings,
    /// Bounds and intervals of the store.
    pub store: StoreOptions,
    /// Where clients reach this server: what the `kubernetes` service points to.
    pub advertise: (IpAddr, u16),
    /// Name of the machine; the server's identity follows from it.
    pub hostname: String,
    /// Entries of the config map `extension-apiserver-authentication`, such as `client-ca-file`.
    pub authentication: BTreeMap<String, String>,
    /// Makes prose of types for OpenAPI documents, if there is any.
    pub descriptions: Option<fn() -> Descriptions>,
}

/// Why there is no chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The facts of the built-in types are malformed: the build is broken.
    #[error("facts of the built-in types: {0}")]
    Facts(#[from] FactsError),
    /// The catalogue of built-in resources is malformed: the build is broken.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The bootstrap objects are malformed: the build is broken.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapDataError),
    /// The store cannot be opened.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] ReadError),
}

/// Puts the chain together on a storage. Nothing listens and no hook runs before the result is run; requests can be
/// answered in process.
pub async fn create_server_chain(storage: Arc<dyn Storage>, config: ChainConfig) -> Result<PreparedServer, ChainError> {
    let store = Store::open(config.server.env.clone(), storage, config.store.clone()).await?;
    let facts = triune_kube::catalog::facts()?;
    let kube = kube_server::create(&facts, &store, &config)?;
    let (major, minor) = config.server.version.numbers();
    let version = format!("{major}.{minor}");
    let openapi = RegistryOpenApi::new(facts, vec![kube.resources.clone()], version, config.descriptions);
    let server = ServerConfig { openapi: Some(Arc::new(openapi)), ..config.server };
    collect_store_figures(&server, &store);
    store.start_maintenance();
    let mut prepared = kube.server.prepare_run(server);
    prepared.on_destroy(async move { store.stop() });
    Ok(prepared)
}

/// Objects by resource, counted when the figures are read.
fn collect_store_figures(server: &ServerConfig, store: &Arc<Store>) {
    let store = store.clone();
    server.metrics.collect(move |out| {
        let name = "apiserver_resource_objects";
        out.family(name, "Objects by resource, of those that somebody has used.", "gauge");
        for (resource, count) in store.object_counts() {
            let labels = format!("group=\"{}\",resource=\"{}\"", resource.group, resource.resource);
            out.sample(name, &labels, count);
        }
    });
}
