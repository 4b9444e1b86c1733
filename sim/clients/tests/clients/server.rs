//! A server of the whole chain that can be restarted on its storage and address, and the history of its clients.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use triune_chain::{ChainConfig, create_server_chain};
use triune_env::{Env, storage::Storage};
use triune_history::{At, Body, OperationId, Outcome, Recorder, StreamEnd};
use triune_machinery::{
    authentication::{Answer, Authentication, Authenticators, MASTERS, TokenAuthenticator},
    authorization::Authorizers,
    context::UserInfo,
    generic_server::ServerConfig,
    handler_chain::ChainOptions,
    serve::{PlainText, ServeOptions},
    version::VersionInfo,
};
use triune_sim_clients::{
    Signal,
    api::Api,
    http::{HttpOptions, Protocol},
    request::Request,
};

/// Everybody may do everything, by the name of the token.
struct AnyToken;

impl TokenAuthenticator for AnyToken {
    fn authenticate_token<'a>(&'a self, token: &'a str) -> Answer<'a, Authentication> {
        let user = UserInfo { name: token.into(), groups: vec![MASTERS.into()], ..UserInfo::default() };
        Answer::Ready(Ok(Some(Arc::new(user))))
    }
}

/// A server.
pub struct Server {
    pub env: Env,
    pub address: SocketAddr,
    storage: Arc<dyn Storage>,
    stop: Signal,
    ended: tokio::task::JoinHandle<()>,
}

impl Server {
    /// A new one on an empty storage.
    pub async fn start() -> Server {
        let env = triune_platform::env();
        let storage = triune_storage::memory(env.clone());
        Server::start_on(env, storage, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Another one on the storage of this one.
    pub async fn another(&self) -> Server {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Server::start_on(self.env.clone(), self.storage.clone(), any).await
    }

    /// Ends it and starts it anew after a while.
    pub async fn restart(self, away: Duration) -> Server {
        let (env, storage, address) = (self.env.clone(), self.storage.clone(), self.address);
        self.end().await;
        tokio::time::sleep(away).await;
        Server::start_on(env, storage, address).await
    }

    /// Ends it.
    pub async fn end(self) {
        self.stop.give();
        self.ended.await.expect("no panic");
    }

    async fn start_on(env: Env, storage: Arc<dyn Storage>, address: SocketAddr) -> Server {
        let config = ChainConfig {
            settings: triune_kube::Settings::default(),
            store: triune_store::StoreOptions::default(),
            advertise: (Ipv4Addr::new(10, 0, 0, 1).into(), 6443),
            hostname: "test".into(),
            authentication: BTreeMap::new(),
            descriptions: None,
            server: ServerConfig {
                env: env.clone(),
                chain: ChainOptions::default(),
                serve: ServeOptions::default(),
                secure: Arc::new(PlainText),
                authenticator: Arc::new(Authenticators::new(vec![Arc::new(AnyToken)], false)),
                authorizer: Arc::new(Authorizers::default()),
                metrics: Arc::default(),
                version: VersionInfo::default(),
                advertise_address: "10.0.0.1:6443".into(),
                openapi: None,
                shutdown_delay: Duration::ZERO,
                watch_termination_grace: Duration::ZERO,
            },
        };
        let prepared = create_server_chain(storage.clone(), config).await.expect("a chain");
        let listener = listen(&env, address).await;
        let (address, stop) = (listener.local_address(), Signal::new());
        let run = prepared.run(vec![listener], stop.clone());
        let ended = tokio::spawn(async move { run.await.expect("it ends well") });
        let server = Server { env, address, storage, stop, ended };
        server.ready().await;
        server
    }

    async fn ready(&self) {
        let api = self.api(&recorder(), Protocol::Http2);
        for _ in 0..1_000 {
            if api.call(&Request::path("/readyz")).await.code() == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is not ready");
    }

    /// A way to it.
    pub fn api(&self, recorder: &Recorder, protocol: Protocol) -> Api {
        let options = HttpOptions { protocol, ..HttpOptions::default() };
        Api::new(self.env.clone(), recorder.clone(), "client-1", ("api-1", self.address), options)
    }
}

/// The port of a server that has just ended may take a moment.
async fn listen(env: &Env, address: SocketAddr) -> Box<dyn triune_env::Listener> {
    for _ in 0..1_000 {
        if let Ok(listener) = env.network.listen(address).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{address} is taken");
}

/// A history without time.
pub fn recorder() -> Recorder {
    Recorder::new(|| At(0))
}

/// What became of every request and watch of a history.
#[derive(Debug, Default)]
pub struct Summary {
    pub invoked: usize,
    /// Invoked and not answered.
    pub unanswered: Vec<OperationId>,
    /// Watches that opened and did not end.
    pub open: Vec<OperationId>,
    /// Answers by code; 0 for none.
    pub codes: BTreeMap<u16, usize>,
    pub ends: BTreeMap<String, usize>,
    pub malformed: Vec<OperationId>,
    pub events: usize,
    /// Operations by verb and code.
    pub verbs: BTreeMap<String, usize>,
}

impl Summary {
    pub fn of(events: &[triune_history::Event]) -> Summary {
        let mut summary = Summary::default();
        let mut verbs = BTreeMap::new();
        for event in events {
            match &event.body {
                Body::Invoke { id, operation, .. } => {
                    summary.invoked += 1;
                    let verb =
                        serde_json::to_value(operation).expect("data")["verb"].as_str().expect("a verb").to_owned();
                    if verb == "watch" {
                        summary.open.push(*id);
                    }
                    verbs.insert(*id, verb);
                    summary.unanswered.push(*id);
                }
                Body::Answer { id, outcome } => {
                    summary.unanswered.retain(|open| open != id);
                    let (code, reason) = match outcome {
                        Outcome::Answered(answer) => (answer.code, answer.reason.as_str()),
                        Outcome::NotSent(_) | Outcome::Unknown(_) => (0, ""),
                    };
                    if reason == triune_sim_clients::api::MALFORMED {
                        summary.malformed.push(*id);
                    }
                    if code != 200 {
                        summary.open.retain(|open| open != id);
                    } else if verbs[id] != "watch" {
                        summary.open.retain(|open| open != id);
                    }
                    *summary.codes.entry(code).or_default() += 1;
                    *summary.verbs.entry(format!("{} {code}", verbs[id])).or_default() += 1;
                }
                Body::Stream { .. } => summary.events += 1,
                Body::StreamEnd { id, end } => {
                    summary.open.retain(|open| open != id);
                    let name = match end {
                        StreamEnd::Closed => "closed",
                        StreamEnd::Broken => "broken",
                        StreamEnd::Dropped => "dropped",
                    };
                    *summary.ends.entry(name.to_owned()).or_default() += 1;
                }
                _ => {}
            }
        }
        summary
    }

    /// Everything has come to its end.
    pub fn assert_ended(&self) {
        assert!(self.unanswered.is_empty() && self.open.is_empty() && self.malformed.is_empty(), "{self:?}");
    }
}
