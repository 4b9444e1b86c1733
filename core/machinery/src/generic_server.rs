//! One server of the chain, and the life of the whole: start-up, post-start hooks, health, shutdown (apiserver
//! `pkg/server/genericapiserver.go`).
//!
//! A [`GenericApiServer`] is put together by its owner and handed to the next one as its delegate. The first of the chain is
//! prepared: hooks, checks and routes of all are gathered, the handler chain is put around the directors. Then it runs.
//!
//! Invariants (A13, A14, A17, A18): the listener answers before hooks run, and hooks run all at once, in no order; readyz
//! succeeds only when every hook has ended, and not after shutdown was initiated; before new requests are refused, nothing
//! is; pre-shutdown hooks can use the API; storage is closed last.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, channel::oneshot, future::join_all};
use triune_env::{BoxFuture, Env, Listener, TaskHandle};

use crate::{
    authentication::Authenticator,
    authorization::Authorizer,
    director::{Director, NotFound},
    discovery::Discovery,
    handler::Handler,
    handler_chain::{ChainOptions, HandlerChain},
    health::{HealthCheck, HealthEndpoint},
    lifecycle::LifecycleSignals,
    metrics::Metrics,
    openapi::{self, OpenApiSource},
    resources::Resources,
    respond::{bytes_response, json_response, to_json},
    routes::{Routes, answer_with},
    serve::{HttpServer, Secure, ServeOptions},
    signal::Signal,
    version::{VersionInfo, install_version},
};

/// Connections get this long to end by themselves once all requests are answered; open watches do not.
const CONNECTIONS_END_MS_MAX: u64 = 250;

/// What a hook is given.
#[derive(Clone)]
pub struct HookContext {
    /// The platform.
    pub env: Env,
    /// Given when the server stops taking requests: what the hook has started must end.
    pub stop: Signal,
    /// The steps of the server's life.
    pub signals: LifecycleSignals,
}

/// Runs once the listener answers; its failure ends the server. readyz waits for its end.
pub struct PostStartHook {
    name: String,
    run: Box<dyn FnOnce(HookContext) -> BoxFuture<'static, Result<(), String>> + Send>,
    done: Signal,
}

/// Runs when shutdown has been initiated, while the API still answers.
pub struct PreShutdownHook {
    name: String,
    run: Box<dyn FnOnce() -> BoxFuture<'static, Result<(), String>> + Send>,
}

/// Checks by endpoint, in the order in which they are printed.
#[derive(Default)]
struct Checks {
    healthz: Vec<HealthCheck>,
    livez: Vec<HealthCheck>,
    readyz: Vec<HealthCheck>,
}

/// A server of the chain, being put together.
pub struct GenericApiServer {
    name: &'static str,
    resources: Arc<Resources>,
    resource_handler: Arc<dyn Handler>,
    /// Plain paths of this server.
    pub routes: Routes,
    post_start_hooks: Vec<PostStartHook>,
    pre_shutdown_hooks: Vec<PreShutdownHook>,
    checks: Checks,
    mux_complete: Vec<Signal>,
    delegate: Option<Box<GenericApiServer>>,
}

impl GenericApiServer {
    /// A server that passes on what it does not serve to `delegate`, or to "not found".
    pub fn new(
        name: &'static str,
        resources: Arc<Resources>,
        resource_handler: Arc<dyn Handler>,
        delegate: Option<GenericApiServer>,
    ) -> GenericApiServer {
        GenericApiServer {
            name,
            resources,
            resource_handler,
            routes: Routes::default(),
            post_start_hooks: Vec::new(),
            pre_shutdown_hooks: Vec::new(),
            checks: Checks::default(),
            mux_complete: Vec::new(),
            delegate: delegate.map(Box::new),
        }
    }

    /// Adds a hook that runs after start; a check `poststarthook/<name>` waits for its end.
    pub fn add_post_start_hook<F, R>(&mut self, name: impl Into<String>, run: F)
    where
        F: FnOnce(HookContext) -> R + Send + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        let run = Box::new(move |context| -> BoxFuture<'static, _> { Box::pin(run(context)) });
        let hook = PostStartHook { name: name.into(), run, done: Signal::new() };
        self.add_health_check(HealthCheck::given(format!("poststarthook/{}", hook.name), hook.done.clone()));
        self.post_start_hooks.push(hook);
    }

    /// Adds a hook that runs before the server stops taking requests.
    pub fn add_pre_shutdown_hook<F, R>(&mut self, name: impl Into<String>, run: F)
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        let run = Box::new(move || -> BoxFuture<'static, _> { Box::pin(run()) });
        self.pre_shutdown_hooks.push(PreShutdownHook { name: name.into(), run });
    }

    /// Adds a check to healthz, livez and readyz.
    pub fn add_health_check(&mut self, check: HealthCheck) {
        self.checks.healthz.push(check.clone());
        self.checks.livez.push(check.clone());
        self.checks.readyz.push(check);
    }

    /// Adds a check to readyz alone.
    pub fn add_readyz_check(&mut self, check: HealthCheck) {
        self.checks.readyz.push(check);
    }

    /// Until `signal` is given, unknown paths are 503 and not 404.
    pub fn wait_for_paths(&mut self, signal: Signal) {
        self.mux_complete.push(signal);
    }

    /// Puts the chain together; this server is its first.
    pub fn prepare_run(mut self, config: ServerConfig) -> PreparedServer {
        let metrics = config.metrics.clone();
        let signals = LifecycleSignals::default();
        let mut gathered = Gathered::default();
        let delegate = self.delegate.take().map(|delegate| delegate.gather(&mut gathered, &metrics));
        let registries: Vec<Arc<Resources>> =
            std::iter::once(self.resources.clone()).chain(gathered.registries.iter().cloned()).collect();
        let discovery = Arc::new(Discovery::new(registries, config.advertise_address.clone()));
        gathered.take_parts(&mut self);

        install_health(&mut self.routes, gathered.checks, &signals);
        install_version(&config.version, &mut self.routes);
        install_metrics(&mut self.routes, metrics.clone());
        if let Some(source) = config.openapi.clone() {
            openapi::install(&source, &mut self.routes, &gathered.listed);
        }
        gathered.listed.extend_from_slice(self.routes.listed());
        install_index(&mut self.routes, gathered.listed, discovery.clone());
        let director = Arc::new(Director {
            resources: self.resources,
            resource_handler: self.resource_handler,
            routes: self.routes,
            discovery: Some(discovery),
            delegate: delegate.unwrap_or_else(|| Arc::new(NotFound)),
            metrics: metrics.clone(),
        });
        let chain = Arc::new(HandlerChain::new(
            config.env.clone(),
            config.chain.clone(),
            config.authenticator.clone(),
            config.authorizer.clone(),
            signals.clone(),
            &metrics,
            director,
        ));
        if gathered.mux_complete.is_empty() {
            signals.mux_and_discovery_complete.give();
        }
        PreparedServer {
            config,
            signals,
            chain,
            post_start_hooks: gathered.post_start_hooks,
            pre_shutdown_hooks: gathered.pre_shutdown_hooks,
            mux_complete: gathered.mux_complete,
            destroy: Vec::new(),
        }
    }

    /// Gives up hooks and checks, and becomes a handler.
    fn gather(mut self, gathered: &mut Gathered, metrics: &Arc<Metrics>) -> Arc<dyn Handler> {
        let delegate = self.delegate.take().map(|delegate| delegate.gather(gathered, metrics));
        gathered.take_parts(&mut self);
        gathered.registries.insert(0, self.resources.clone());
        gathered.listed.extend_from_slice(self.routes.listed());
        tracing::debug!(server = self.name, "delegate is in place");
        Arc::new(Director {
            resources: self.resources,
            resource_handler: self.resource_handler,
            routes: self.routes,
            discovery: None,
            delegate: delegate.unwrap_or_else(|| Arc::new(NotFound)),
            metrics: metrics.clone(),
        })
    }
}

/// What the servers of a chain give to the first of them. Delegates come before who delegates to them.
#[derive(Default)]
struct Gathered {
    post_start_hooks: Vec<PostStartHook>,
    pre_shutdown_hooks: Vec<PreShutdownHook>,
    checks: Checks,
    mux_complete: Vec<Signal>,
    registries: Vec<Arc<Resources>>,
    listed: Vec<String>,
}

impl Gathered {
    fn take_parts(&mut self, server: &mut GenericApiServer) {
        self.post_start_hooks.append(&mut server.post_start_hooks);
        self.pre_shutdown_hooks.append(&mut server.pre_shutdown_hooks);
        self.mux_complete.append(&mut server.mux_complete);
        self.checks.healthz.append(&mut server.checks.healthz);
        self.checks.livez.append(&mut server.checks.livez);
        self.checks.readyz.append(&mut server.checks.readyz);
    }
}

/// What the first server of the chain is run with.
#[derive(Clone)]
pub struct ServerConfig {
    /// The platform.
    pub env: Env,
    /// Figures of the handler chain.
    pub chain: ChainOptions,
    /// Figures of the listener.
    pub serve: ServeOptions,
    /// TLS.
    pub secure: Arc<dyn Secure>,
    /// Who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// What they may do.
    pub authorizer: Arc<dyn Authorizer>,
    /// All figures.
    pub metrics: Arc<Metrics>,
    /// What `/version` shows.
    pub version: VersionInfo,
    /// What `/api` tells clients, such as `10.0.0.1:6443`.
    pub advertise_address: String,
    /// OpenAPI documents.
    pub openapi: Option<Arc<dyn OpenApiSource>>,
    /// Time between the signal to end and the refusal of new requests, for load balancers.
    pub shutdown_delay: Duration,
    /// Time that open watches get at shutdown.
    pub watch_termination_grace: Duration,
}

fn install_health(routes: &mut Routes, checks: Checks, signals: &LifecycleSignals) {
    let shutdown = HealthCheck::until("shutdown", signals.shutdown_initiated.clone());
    let generic = || vec![HealthCheck::well("ping"), HealthCheck::well("log")];
    let all = |checks: Vec<HealthCheck>| generic().into_iter().chain(checks).collect::<Vec<HealthCheck>>();
    let mut ready = all(checks.readyz);
    ready.push(shutdown);
    for (name, checks, first_success) in [
        ("healthz", all(checks.healthz), Signal::new()),
        ("livez", all(checks.livez), Signal::new()),
        ("readyz", ready, signals.has_been_ready.clone()),
    ] {
        HealthEndpoint { name, checks, first_success }.install(routes);
    }
}

fn install_metrics(routes: &mut Routes, metrics: Arc<Metrics>) {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    routes.handle("/metrics", answer_with(move |_, _| bytes_response(200, content_type, metrics.print())));
}

/// `/` lists every path that there is.
fn install_index(routes: &mut Routes, listed: Vec<String>, discovery: Arc<Discovery>) {
    let index = answer_with(move |_, _| {
        let mut paths: Vec<String> = listed.iter().cloned().chain(discovery.paths()).collect();
        paths.sort_unstable();
        paths.dedup();
        json_response(200, to_json(&serde_json::json!({ "paths": paths }), true))
    });
    routes.handle_unlisted("/", index.clone());
    routes.handle_unlisted("/index.html", index);
}

/// Why a server ended before it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A hook failed; the server cannot do its work.
    #[error("post-start hook {name:?} failed: {error}")]
    PostStartHook {
        /// Of the hook.
        name: String,
        /// Of the hook.
        error: String,
    },
    /// Hooks failed during shutdown; everything else was shut down in order.
    #[error("pre-shutdown hooks failed: {0}")]
    PreShutdownHooks(String),
}

/// A chain that is ready to run.
pub struct PreparedServer {
    config: ServerConfig,
    signals: LifecycleSignals,
    chain: Arc<HandlerChain>,
    post_start_hooks: Vec<PostStartHook>,
    pre_shutdown_hooks: Vec<PreShutdownHook>,
    mux_complete: Vec<Signal>,
    destroy: Vec<BoxFuture<'static, ()>>,
}

impl PreparedServer {
    /// Answers requests in process, without a socket.
    pub fn chain(&self) -> Arc<HandlerChain> {
        self.chain.clone()
    }

    /// The steps of the server's life.
    pub fn signals(&self) -> LifecycleSignals {
        self.signals.clone()
    }

    /// Adds what is closed when no request is left: storage. In order.
    pub fn on_destroy(&mut self, close: impl Future<Output = ()> + Send + 'static) {
        self.destroy.push(Box::pin(close));
    }

    /// Serves on `listeners` until `stop` is given, then shuts down in order.
    pub async fn run(mut self, listeners: Vec<Box<dyn Listener>>, stop: Signal) -> Result<(), RunError> {
        let env = self.config.env.clone();
        let http = Arc::new(HttpServer::new(
            env.clone(),
            self.config.serve.clone(),
            self.config.secure.clone(),
            self.chain.clone(),
            &self.config.metrics,
        ));
        for listener in listeners {
            log_address(listener.local_address());
            env.spawn_detached("accept", http.clone().accept_all(listener));
        }
        self.announce_paths();
        let hooks_stop = Signal::new();
        let (failure, _running) = self.start_hooks(&hooks_stop);
        let ended = futures::future::select(stop.wait(), failure).await;
        if let futures::future::Either::Right((error, _)) = ended {
            hooks_stop.give();
            http.draining.give();
            http.closing.give();
            return Err(error);
        }
        let result = self.shut_down(&http, &hooks_stop).await;
        for close in self.destroy {
            close.await;
        }
        result
    }

    /// Ends the tag "not all paths installed" once every server has installed its paths.
    fn announce_paths(&self) {
        let waits: Vec<_> = self.mux_complete.iter().map(Signal::wait).collect();
        let complete = self.signals.mux_and_discovery_complete.clone();
        self.config.env.spawn_detached("announce paths", async move {
            join_all(waits).await;
            complete.give();
        });
    }

    /// Starts all hooks at once. The future completes with the first failure, if there is one.
    fn start_hooks(&mut self, stop: &Signal) -> (BoxFuture<'static, RunError>, Vec<TaskHandle>) {
        let context = HookContext { env: self.config.env.clone(), stop: stop.clone(), signals: self.signals.clone() };
        let (sender, receiver) = oneshot::channel();
        let first_failure = Arc::new(Mutex::new(Some(sender)));
        let mut running = Vec::new();
        for hook in std::mem::take(&mut self.post_start_hooks) {
            let (context, first_failure) = (context.clone(), first_failure.clone());
            running.push(self.config.env.spawn("post-start hook", async move {
                match AssertUnwindSafe((hook.run)(context)).catch_unwind().await {
                    Ok(Ok(())) => hook.done.give(),
                    failed => {
                        let error =
                            failed.map_or_else(|_| "it panicked".to_owned(), |failed| failed.err().unwrap_or_default());
                        let sender = first_failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                        if let Some(sender) = sender {
                            let _ = sender.send(RunError::PostStartHook { name: hook.name, error });
                        }
                    }
                }
            }));
        }
        let failure = Box::pin(async move {
            match receiver.await {
                Ok(error) => error,
                // Every hook has ended well.
                Err(_) => std::future::pending().await,
            }
        });
        (failure, running)
    }

    /// The order of crd-lifecycle A17: shutdown initiated; delay and pre-shutdown hooks; refuse; drain; end.
    async fn shut_down(&mut self, http: &HttpServer, hooks_stop: &Signal) -> Result<(), RunError> {
        let env = self.config.env.clone();
        self.signals.shutdown_initiated.give();
        tracing::info!("shutting down");
        let delay = async {
            env.sleep(self.config.shutdown_delay).await;
            self.signals.after_shutdown_delay.give();
        };
        let hooks = run_pre_shutdown_hooks(std::mem::take(&mut self.pre_shutdown_hooks));
        let hooks = async {
            let failed = hooks.await;
            self.signals.pre_shutdown_hooks_stopped.give();
            failed
        };
        let ((), failed) = futures::future::join(delay, hooks).await;
        self.signals.not_accepting_new_requests.give();
        let refuses = self.config.chain.shutdown_send_retry_after;
        if !refuses {
            http.draining.give();
        }
        // Every request that is waited for has a deadline; the margin is for its answer.
        let drain_max = self.config.chain.request_timeout + Duration::from_secs(1);
        if env.timeout(drain_max, self.chain.wait_group.drain()).await.is_err() {
            tracing::warn!(left = self.chain.wait_group.len(), "requests did not end in time");
        }
        if !self.config.watch_termination_grace.is_zero() {
            let watches_ended = env.timeout(self.config.watch_termination_grace, http.drained()).await;
            tracing::debug!(all = watches_ended.is_ok(), "waited for watches");
        }
        self.signals.in_flight_drained.give();
        hooks_stop.give();
        http.draining.give();
        // Watches end cleanly, so that their clients do not take it for an error.
        self.signals.end_of_watches.give();
        let _ = env.timeout(Duration::from_millis(CONNECTIONS_END_MS_MAX), http.drained()).await;
        http.closing.give();
        if failed.is_empty() { Ok(()) } else { Err(RunError::PreShutdownHooks(failed.join("; "))) }
    }
}

/// Runs them one after the other, in the order of their names; gives the failures.
async fn run_pre_shutdown_hooks(hooks: Vec<PreShutdownHook>) -> Vec<String> {
    let by_name: BTreeMap<String, PreShutdownHook> = hooks.into_iter().map(|hook| (hook.name.clone(), hook)).collect();
    let mut failed = Vec::new();
    for (name, hook) in by_name {
        match AssertUnwindSafe((hook.run)()).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed.push(format!("{name}: {error}")),
            Err(_) => failed.push(format!("{name}: it panicked")),
        }
    }
    failed
}

fn log_address(address: SocketAddr) {
    tracing::info!(%address, "listening");
}
