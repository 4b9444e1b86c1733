//! An API server as a node: the chain of the daemon behind its own listener code, without TLS.

use std::{collections::BTreeMap, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use http::request::Parts;
use triune_chain::{ChainConfig, create_server_chain};
use triune_env::storage::Storage;
use triune_history::Body;
use triune_kube::Settings;
use triune_machinery::{
    authentication::{Answer, Authentication, Authenticator, MASTERS},
    authorization::AlwaysAllow,
    context::UserInfo,
    generic_server::ServerConfig,
    handler_chain::ChainOptions,
    metrics::Metrics,
    peer::Peer,
    serve::{PlainText, ServeOptions},
    version::VersionInfo,
};
use triune_store::StoreOptions;

use crate::world::Process;

/// The port of every API server.
pub const PORT: u16 = 6443;

/// What a simulated server is started with.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// What the built-in groups are configured by.
    pub kube: Settings,
    /// Bounds and intervals of the store.
    pub store: StoreOptions,
    /// Time between the signal to end and the refusal of requests.
    pub shutdown_delay: Duration,
    /// Time that open watches get at shutdown.
    pub watch_termination_grace: Duration,
}

/// Serves until it is asked to stop. A server that cannot start tries again after a second, as its supervisor in a real
/// cluster would restart it.
pub async fn serve<F>(process: Process, settings: ServerSettings, open: impl Fn() -> F)
where
    F: Future<Output = Arc<dyn Storage>>,
{
    while !process.stop.is_given() {
        let ended = serve_once(&process, &settings, open().await).await;
        match ended {
            Ok(()) => return,
            Err(error) => process.recorder.record(&process.name, Body::Note(format!("server ended: {error}"))),
        }
        process.env.sleep(Duration::from_secs(1)).await;
    }
}

async fn serve_once(process: &Process, settings: &ServerSettings, storage: Arc<dyn Storage>) -> Result<(), String> {
    let address = SocketAddr::new(process.ip, PORT);
    let listener = process.env.network.listen(address).await.map_err(|error| error.to_string())?;
    let server = ServerConfig {
        env: process.env.clone(),
        chain: ChainOptions::default(),
        serve: ServeOptions::default(),
        secure: Arc::new(PlainText),
        authenticator: Arc::new(Anybody),
        authorizer: Arc::new(AlwaysAllow),
        metrics: Arc::new(Metrics::default()),
        version: VersionInfo::default(),
        advertise_address: address.to_string(),
        openapi: None,
        shutdown_delay: settings.shutdown_delay,
        watch_termination_grace: settings.watch_termination_grace,
    };
    let config = ChainConfig {
        server,
        settings: settings.kube.clone(),
        store: settings.store.clone(),
        advertise: (process.ip, PORT),
        hostname: process.name.clone(),
        authentication: BTreeMap::new(),
        descriptions: None,
    };
    let prepared = create_server_chain(storage, config).await.map_err(|error| error.to_string())?;
    prepared.run(vec![listener], process.stop.clone()).await.map_err(|error| error.to_string())
}

/// Everybody is an administrator.
struct Anybody;

impl Authenticator for Anybody {
    fn authenticate<'a>(&'a self, _: &'a Parts, _: &'a Peer) -> Answer<'a, Authentication> {
        let user = UserInfo { name: "simulated".into(), groups: vec![MASTERS.into()], ..UserInfo::default() };
        Answer::Ready(Ok(Some(Arc::new(user))))
    }
}
