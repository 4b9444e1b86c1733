//! The life of the server: files, store and port first, then the chain, then what a newcomer needs to know, then the end.
//!
//! Invariants: what can be wrong with files, flags and ports is found before anything is served; the kubeconfig is written
//! before the server says that it is ready; a signal ends it even while it starts.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use triune_chain::{ChainConfig, create_server_chain};
use triune_env::{Env, Listener, storage::Storage};
use triune_machinery::{
    authentication::MASTERS,
    context::UserInfo,
    generic_server::{PreparedServer, ServerConfig},
    handler::RequestBody,
    handler_chain::HandlerChain,
    metrics::Metrics,
    peer::Peer,
    signal::Signal,
    version::VersionInfo,
};
use triune_schema::openapi::Descriptions;
use triune_store::StoreOptions;

use crate::{
    authenticate::{FrontProxy, RequestAuthenticator},
    command::KUBERNETES_VERSION,
    failure::Failure,
    lifetime,
    pki::{self, Pki, files, kubeconfig},
    settings::{Role, Settings, Store},
    tls::{Tls, TlsSettings},
};

/// How often /readyz is asked while the server starts.
const READY_INTERVAL: Duration = Duration::from_millis(2);

/// Prose of types, where it is built in.
#[cfg(feature = "descriptions")]
const DESCRIPTIONS: Option<fn() -> Descriptions> = Some(triune_descriptions::descriptions);
#[cfg(not(feature = "descriptions"))]
const DESCRIPTIONS: Option<fn() -> Descriptions> = None;

/// As many as there are cores.
pub fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Serves until a signal comes.
pub async fn run(settings: Settings) -> Result<(), Failure> {
    let env = triune_platform::env();
    let listener = listen(&env, settings.listen).await?;
    let address = listener.local_address();
    if settings.role == Role::Serve {
        files::make_private_folder(&settings.state_dir)?;
    }
    // The store's lock comes first: a second daemon must not rewrite the files of the first.
    let storage = open(&env, &settings.store).await?;
    let identity = Identity::prepare(&settings, address)?;
    let tls = Tls::load(&identity.tls)?;
    let die_with_parent = settings.die_with_parent;
    warn_of_limits(&settings);
    let greeting = greeting(&settings, &identity, address);

    let mut stopped = std::pin::pin!(triune_storage::until_stopped(storage.clone()));
    let prepared = make_chain(&env, storage, settings, &identity, Arc::new(tls), address).await?;
    let stop = Signal::new();
    let in_process = prepared.chain();
    let mut serving = std::pin::pin!(prepared.run(vec![listener], stop.clone()));
    let mut asked = std::pin::pin!(lifetime::until_asked_to_stop(die_with_parent));
    let mut ready = std::pin::pin!(until_ready(&env, &in_process));
    let mut greeted = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut serving => return ended.map_err(|error| Failure::run(error.to_string())),
            // Whoever supervises this process starts it again; until then it would refuse every write.
            reason = &mut stopped => return Err(Failure::run(format!("the store takes no more writes: {reason}"))),
            () = &mut asked, if !stop.is_given() => stop.give(),
            () = &mut ready, if !greeted => {
                greeted = true;
                tracing::info!(%address, "ready");
                // Nobody may be listening: the server serves all the same.
                let _ = io::stdout().write_all(greeting.as_bytes()).and_then(|()| io::stdout().flush());
            }
        }
    }
}

/// Completes when /readyz answers 200.
async fn until_ready(env: &Env, chain: &HandlerChain) {
    let mut peer = Peer::in_process();
    peer.certificate_user = Some(Arc::new(UserInfo {
        name: "system:apiserver".into(),
        groups: vec![MASTERS.into()],
        ..UserInfo::default()
    }));
    loop {
        let mut request = http::Request::new(RequestBody::empty());
        *request.uri_mut() = http::Uri::from_static("/readyz");
        if chain.handle(&peer, request).await.status().is_success() {
            return;
        }
        env.sleep(READY_INTERVAL).await;
    }
}

async fn make_chain(
    env: &Env,
    storage: Arc<dyn Storage>,
    settings: Settings,
    identity: &Identity,
    tls: Arc<Tls>,
    address: SocketAddr,
) -> Result<PreparedServer, Failure> {
    let mut store = StoreOptions::default();
    // As etcd's compactor: what is older than one interval goes.
    store.compaction_interval = settings.compaction_interval.unwrap_or(store.compaction_interval);
    store.keep_window = store.compaction_interval;
    let authentication = authentication_entries(&identity.tls, &identity.front_proxy)?;
    let authenticator = RequestAuthenticator::new(identity.front_proxy.clone(), settings.tokens, settings.anonymous);
    let advertise = (settings.advertise.unwrap_or(reachable(address).ip()), address.port());
    let server = ServerConfig {
        env: env.clone(),
        chain: settings.chain,
        serve: settings.serve,
        secure: tls,
        authenticator: Arc::new(authenticator),
        authorizer: Arc::new(settings.authorizers),
        metrics: Arc::new(Metrics::default()),
        version: VersionInfo { git_version: KUBERNETES_VERSION.into(), ..VersionInfo::default() },
        advertise_address: SocketAddr::from(advertise).to_string(),
        openapi: None,
        shutdown_delay: settings.shutdown_delay,
        watch_termination_grace: settings.watch_termination_grace,
    };
    let hostname = pki::hostname();
    let settings = settings.kube;
    let config =
        ChainConfig { server, settings, store, advertise, hostname, authentication, descriptions: DESCRIPTIONS };
    create_server_chain(storage, config).await.map_err(|error| Failure::run(error.to_string()))
}

/// What aggregated API servers are told of this one's clients, in the config map `extension-apiserver-authentication`.
fn authentication_entries(tls: &TlsSettings, front_proxy: &FrontProxy) -> Result<BTreeMap<String, String>, Failure> {
    let mut entries = BTreeMap::new();
    let mut client_cas = String::new();
    for path in &tls.client_cas {
        client_cas.push_str(&files::read_if_there(path)?.unwrap_or_default());
    }
    if !client_cas.is_empty() {
        entries.insert("client-ca-file".to_owned(), client_cas);
    }
    if let Some(path) = &tls.front_proxy_ca {
        let list = |texts: &[String]| serde_json::Value::from(texts.to_vec()).to_string();
        let ca = files::read_if_there(path)?.unwrap_or_default();
        entries.insert("requestheader-client-ca-file".to_owned(), ca);
        for (key, texts) in [
            ("requestheader-allowed-names", &front_proxy.allowed_names),
            ("requestheader-extra-headers-prefix", &front_proxy.extra_prefixes),
            ("requestheader-group-headers", &front_proxy.group_headers),
            ("requestheader-uid-headers", &front_proxy.uid_headers),
            ("requestheader-username-headers", &front_proxy.username_headers),
        ] {
            entries.insert(key.to_owned(), list(texts));
        }
    }
    Ok(entries)
}

async fn listen(env: &Env, address: SocketAddr) -> Result<Box<dyn Listener>, Failure> {
    env.network.listen(address).await.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "; end the process that has it, or choose another with --secure-port (0: any)",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose another with --secure-port",
            io::ErrorKind::AddrNotAvailable => "; --bind-address must be an address of this machine",
            _ => "",
        };
        Failure::run(format!("cannot listen on {address}: {error}{remedy}"))
    })
}

/// Opens the store on a thread that may wait for the disk.
async fn open(env: &Env, store: &Store) -> Result<Arc<dyn Storage>, Failure> {
    let Store::Embedded(folder) = store.clone() else { return Ok(triune_storage::memory(env.clone())) };
    let env = env.clone();
    let opened = tokio::task::spawn_blocking(move || triune_storage::embedded(env, &folder)).await;
    match opened {
        Ok(opened) => opened.map_err(|error| Failure::run(error.to_string())),
        Err(error) => Err(Failure::run(format!("cannot open the store: {error}"))),
    }
}

/// The certificates that the server shows and trusts, and the administrator's kubeconfig if they are its own.
struct Identity {
    tls: TlsSettings,
    kubeconfig: Option<PathBuf>,
    front_proxy: FrontProxy,
}

impl Identity {
    fn prepare(settings: &Settings, address: SocketAddr) -> Result<Identity, Failure> {
        let own = settings.role == Role::Serve || settings.certificate.is_none();
        let pki = if own { Some(own_pki(settings)?) } else { None };
        let is_serve = settings.role == Role::Serve;
        let own_file = |name: &str| pki.as_ref().map(|pki| pki.file(name));
        let own_pair = || Some((own_file("apiserver.crt")?, own_file("apiserver.key")?));
        let certificate = settings.certificate.clone().or_else(own_pair);
        let certificate = certificate.ok_or_else(|| Failure::run("there is no serving certificate"))?;
        let own_front_proxy_ca = own_file("front-proxy-ca.crt").filter(|_| is_serve);
        let front_proxy = match (&settings.front_proxy_ca, &own_front_proxy_ca) {
            (None, Some(_)) => FrontProxy::usual("front-proxy-client"),
            _ => settings.front_proxy.clone(),
        };
        let tls = TlsSettings {
            named: settings.named_certificates.clone(),
            client_cas: settings.client_ca.iter().cloned().chain(own_file("ca.crt").filter(|_| is_serve)).collect(),
            front_proxy_ca: settings.front_proxy_ca.clone().or(own_front_proxy_ca),
            version_min: settings.tls_version_min.clone(),
            cipher_suites: settings.cipher_suites.clone(),
            groups: settings.tls_groups.clone(),
            http2: settings.http2,
            certificate,
        };
        let kubeconfig = match &pki {
            Some(pki) if is_serve => Some(write_kubeconfig(settings, pki, address)?),
            _ => None,
        };
        Ok(Identity { tls, kubeconfig, front_proxy })
    }
}

fn own_pki(settings: &Settings) -> Result<Pki, Failure> {
    let service_ip = IpAddr::from(settings.kube.service_range.first());
    let names = pki::serving_names(settings.listen.ip(), settings.advertise, service_ip);
    pki::prepare(&settings.state_dir.join("pki"), &names)
}

/// Writes `DIR/admin.kubeconfig` where it is not already so.
fn write_kubeconfig(settings: &Settings, pki: &Pki, address: SocketAddr) -> Result<PathBuf, Failure> {
    let path = settings.state_dir.join("admin.kubeconfig");
    let serving_ca = match &settings.certificate {
        None => pki.ca_certificate.clone(),
        // A certificate that was given is trusted as it is.
        Some((certificate, _)) => files::read_if_there(certificate)?.unwrap_or_default(),
    };
    let text = kubeconfig::admin(pki, &format!("https://{}", reachable(address)), &serving_ca);
    if files::read_if_there(&path)?.as_deref() != Some(text.as_str()) {
        files::write_private(&path, &text)?;
    }
    Ok(path)
}

/// Where a client on this machine reaches the server.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port())),
        _ => address,
    }
}

/// What is lacking and would surprise.
fn warn_of_limits(settings: &Settings) {
    if settings.authorizers.chain.iter().any(|(name, _)| *name == "RBAC") {
        let holds = "system:masters may do everything, everybody else what the bootstrap roles give everybody";
        match settings.role {
            Role::Serve => tracing::info!("roles and bindings are not evaluated yet: {holds}"),
            Role::KubeApiserver => tracing::warn!("roles and bindings are not evaluated yet: {holds}"),
        }
    }
    if settings.role == Role::KubeApiserver && settings.store == Store::Memory {
        tracing::warn!("objects are kept in memory and are gone when the process ends: --data-dir DIR keeps them");
    }
}

/// What a newcomer needs to know, and nothing else.
fn greeting(settings: &Settings, identity: &Identity, address: SocketAddr) -> String {
    let Some(kubeconfig) = &identity.kubeconfig else { return String::new() };
    let kept = match &settings.store {
        Store::Embedded(folder) => format!("objects are kept in {}", folder.display()),
        Store::Memory => "objects are kept in memory and are gone when it ends".to_owned(),
    };
    let address = reachable(address);
    let level = KUBERNETES_VERSION.trim_start_matches('v');
    let level = level.rsplit_once('.').map_or(level, |(level, _)| level);
    format!(
        "Triune serves Kubernetes {level} on https://{address}\n\n    kubectl --kubeconfig {} get namespaces\n\n{kept}; Ctrl-C ends it\n",
        kubeconfig.display()
    )
}
