//! What every request passes before it reaches a handler, in the reference's order (apiserver `pkg/server/config.go`,
//! `DefaultBuildHandlerChain`), and what every answer gets on its way out.
//!
//! In: audit id, panic guard, tag "not all paths installed", request info, shutdown refusal, goaway, wait group, deadline,
//! CORS, authentication, limits of requests in flight, authorization. Out: warnings, gzip, cache control, HSTS, audit id.
//!
//! Invariants: a request that is not long-running is answered by its deadline and counts in the wait group until then; no
//! handler sees a request that was not authorized; credentials do not go past this module; a panic is a 500.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts};
use triune_api::status::Status;
use triune_env::Env;

use crate::{
    authentication::{ANONYMOUS, Authenticator},
    authorization::{Attributes, Authorizer, Decision, forbidden, is_master},
    body::{Body, Response},
    compression::{GZIP_BYTES_MIN, accepts_gzip, compress},
    context::{Context, RequestInfo, UserInfo},
    go_duration,
    handler::{Handler, Request, RequestBody},
    in_flight::{Limits, WaitGroup},
    lifecycle::LifecycleSignals,
    metrics::{Counter, Metrics},
    peer::{Peer, Protocol},
    request_info::{UrlError, is_long_running, is_read_only, request_info},
    respond::{status_answer, text_response},
    warnings::add_warnings,
};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// Longest audit id that is taken from a client; longer ones are replaced.
const AUDIT_ID_BYTES_MAX: usize = 256;
const PANIC_TEXT: &str = "This request caused apiserver to panic. Look in the logs for details.";

/// Figures of the chain; the defaults are the reference's.
#[derive(Clone)]
pub struct ChainOptions {
    /// Longest time to an answer, for requests that are not long-running.
    pub request_timeout: Duration,
    /// Reading requests in flight at most; 0 is unlimited.
    pub in_flight_read_only_max: usize,
    /// Writing requests in flight at most; 0 is unlimited.
    pub in_flight_mutating_max: usize,
    /// Answers of more bytes are compressed; None compresses none.
    pub gzip_bytes_min: Option<u64>,
    /// Whether answers to this very machine are compressed too. The reference does; it costs more than it saves.
    pub gzip_for_loopback: bool,
    /// Value of `Strict-Transport-Security`.
    pub strict_transport_security: Option<HeaderValue>,
    /// Tells which origins browsers may call from.
    pub allowed_origin: Option<Arc<dyn Fn(&str) -> bool + Send + Sync>>,
    /// Chance that a request ends its HTTP/2 connection, so that clients spread over servers: 0 to 0.02.
    pub goaway_chance: f64,
    /// Whether requests during shutdown are answered with 429 instead of having their connections refused.
    pub shutdown_send_retry_after: bool,
}

impl Default for ChainOptions {
    fn default() -> ChainOptions {
        ChainOptions {
            request_timeout: Duration::from_secs(60),
            in_flight_read_only_max: 400,
            in_flight_mutating_max: 200,
            gzip_bytes_min: Some(GZIP_BYTES_MIN),
            gzip_for_loopback: false,
            strict_transport_security: None,
            allowed_origin: None,
            goaway_chance: 0.0,
            shutdown_send_retry_after: false,
        }
    }
}

/// The full handler chain around a director.
pub struct HandlerChain {
    env: Env,
    options: ChainOptions,
    authenticator: Arc<dyn Authenticator>,
    authorizer: Arc<dyn Authorizer>,
    signals: LifecycleSignals,
    limits: Limits,
    director: Arc<dyn Handler>,
    counters: Counters,
    /// Requests that are not long-running; shutdown waits for them.
    pub wait_group: WaitGroup,
}

struct Counters {
    authenticated: Arc<Counter>,
    unauthenticated: Arc<Counter>,
    authentication_errors: Arc<Counter>,
    allowed: Arc<Counter>,
    denied: Arc<Counter>,
    panics: Arc<Counter>,
    timeouts: Arc<Counter>,
}

impl Counters {
    fn of(metrics: &Metrics) -> Counters {
        let attempt = |result| metrics.counter("authentication_attempts", "Authentications.", &[("result", result)]);
        let authorization =
            |result| metrics.counter("authorization_attempts_total", "Authorizations.", &[("result", result)]);
        Counters {
            authenticated: attempt("success"),
            unauthenticated: attempt("failure"),
            authentication_errors: attempt("error"),
            allowed: authorization("allowed"),
            denied: authorization("denied"),
            panics: metrics.counter("apiserver_request_aborts_total", "Requests that ended in a panic.", &[]),
            timeouts: metrics.counter("apiserver_request_timeouts_total", "Requests that passed their deadline.", &[]),
        }
    }
}

/// A request between the entry and the director.
struct Arrival<'a> {
    peer: &'a Peer,
    info: RequestInfo,
    audit_id: String,
    received: std::time::Instant,
    deadline: Option<std::time::Instant>,
    before_all_paths_installed: bool,
}

impl HandlerChain {
    /// Around a director.
    pub fn new(
        env: Env,
        options: ChainOptions,
        authenticator: Arc<dyn Authenticator>,
        authorizer: Arc<dyn Authorizer>,
        signals: LifecycleSignals,
        metrics: &Arc<Metrics>,
        director: Arc<dyn Handler>,
    ) -> HandlerChain {
        let limits = Limits::new(options.in_flight_read_only_max, options.in_flight_mutating_max, metrics.clone());
        HandlerChain {
            env,
            options,
            authenticator,
            authorizer,
            signals,
            limits,
            director,
            counters: Counters::of(metrics),
            wait_group: WaitGroup::new(),
        }
    }

    /// Answers one request.
    pub async fn handle(&self, peer: &Peer, request: Request) -> Response {
        let audit_id = self.audit_id(request.headers());
        let gzip_bytes_min = self.gzip_bytes_min(peer, request.headers());
        let origin = self.allowed_origin(request.headers());
        let answer = AssertUnwindSafe(self.answer(peer, audit_id.clone(), request)).catch_unwind().await;
        let mut response = answer.unwrap_or_else(|_| {
            self.counters.panics.increment();
            tracing::error!(audit_id, "a handler panicked");
            status_answer(&HeaderMap::new(), "", &server_error(PANIC_TEXT))
        });
        if let Some(bytes_min) = gzip_bytes_min {
            response = compress(response, bytes_min);
        }
        self.complete_headers(response.headers_mut(), &audit_id, origin);
        response
    }

    async fn answer(&self, peer: &Peer, audit_id: String, request: Request) -> Response {
        let received = self.env.clock.now();
        let before_all_paths_installed = !self.signals.mux_and_discovery_complete.is_given();
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or("");
        let info = match request_info(&head.method, head.uri.path(), query) {
            Ok(info) => info,
            Err(UrlError::Malformed) => return text_response(400, "400 Bad Request"),
            Err(error @ UrlError::NoKind(_)) => return internal_error(&head, &error),
        };
        if self.options.shutdown_send_retry_after
            && self.signals.not_accepting_new_requests.is_given()
            && !is_exempt_from_shutdown(&head.headers, &info.path)
        {
            return shutting_down(peer, &head);
        }
        if head.version == Version::HTTP_2 && self.draws_goaway() {
            peer.closing.give();
        }
        let arrival = Arrival { peer, info, audit_id, received, deadline: None, before_all_paths_installed };
        if is_long_running(&arrival.info) {
            return self.authenticated(arrival, head, body).await;
        }
        let _member = match self.wait_group.enter() {
            None if !is_exempt_from_shutdown(&head.headers, &arrival.info.path) => return draining(),
            member => member,
        };
        self.answer_in_time(arrival, head, body).await
    }

    async fn answer_in_time(&self, mut arrival: Arrival<'_>, head: Parts, body: RequestBody) -> Response {
        let timeout = match self.timeout_of(head.uri.query().unwrap_or("")) {
            Ok(timeout) => timeout,
            Err(status) => return status_answer(&head.headers, head.uri.query().unwrap_or(""), &status),
        };
        let deadline = arrival.received + timeout;
        arrival.deadline = Some(deadline);
        let late = self.env.clock.sleep_until(deadline);
        let answer = std::pin::pin!(self.authenticated(arrival, head, body));
        // The answer is polled first: one that is ready at once costs no timer.
        match futures::future::select(answer, late).await {
            futures::future::Either::Left((response, _)) => response,
            futures::future::Either::Right(_) => {
                self.counters.timeouts.increment();
                let status = Status::timeout("request did not complete within the allotted timeout", 0);
                status_answer(&HeaderMap::new(), "", &status)
            }
        }
    }

    async fn authenticated(&self, arrival: Arrival<'_>, mut head: Parts, body: RequestBody) -> Response {
        if head.method == Method::OPTIONS && self.allowed_origin(&head.headers).is_some() {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        let user = match self.authenticator.authenticate(&head, arrival.peer).get().await {
            Ok(Some(user)) => user,
            refused => return self.unauthorized(arrival.peer, &head, refused.err()),
        };
        self.counters.authenticated.increment();
        remove_credentials(&mut head.headers);
        if user.name == ANONYMOUS {
            close_http2(arrival.peer, &head);
        }
        if let Some(status) = impersonation(&head.headers) {
            return status_answer(&head.headers, "", &status);
        }
        let _place = if arrival.deadline.is_some() {
            match self.limits.take(is_read_only(&arrival.info), is_master(&user)) {
                None => return too_many_requests(),
                place => place,
            }
        } else {
            None
        };
        if let Err(response) = self.authorize(&user, &arrival.info, &head).await {
            return response;
        }
        self.direct(arrival, user, head, body).await
    }

    async fn direct(&self, arrival: Arrival<'_>, user: Arc<UserInfo>, head: Parts, body: RequestBody) -> Response {
        let context = Arc::new(Context {
            env: self.env.clone(),
            info: arrival.info,
            query: head.uri.query().unwrap_or("").to_owned(),
            user,
            authorizer: self.authorizer.clone(),
            audit_id: arrival.audit_id,
            received: arrival.received,
            deadline: arrival.deadline,
            before_all_paths_installed: arrival.before_all_paths_installed,
            warnings: std::sync::Mutex::default(),
        });
        let request = Request::from_parts(head, body);
        let mut response = self.director.clone().handle(context.clone(), request).await;
        let warnings = std::mem::take(&mut *context.warnings.lock().unwrap_or_else(PoisonError::into_inner));
        add_warnings(response.headers_mut(), &warnings);
        // Only streams of long-running requests are cut at shutdown; others are waited for.
        if context.deadline.is_none() {
            response = response.map(|body| body.until(self.signals.end_of_watches.wait()));
        }
        response
    }

    async fn authorize(&self, user: &UserInfo, info: &RequestInfo, head: &Parts) -> Result<(), Response> {
        let query = head.uri.query().unwrap_or("");
        let attributes = Attributes::of(user, info, query);
        match self.authorizer.authorize(&attributes).get().await {
            Ok(Decision::Allow) => {
                self.counters.allowed.increment();
                Ok(())
            }
            Ok(Decision::Deny(reason) | Decision::NoOpinion(reason)) => {
                self.counters.denied.increment();
                let mut response = status_answer(&head.headers, query, &forbidden(&attributes, &reason));
                response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                Err(response)
            }
            Err(error) => Err(internal_error(head, &error)),
        }
    }

    fn unauthorized(&self, peer: &Peer, head: &Parts, error: Option<impl std::fmt::Display>) -> Response {
        if let Some(error) = error {
            self.counters.authentication_errors.increment();
            tracing::info!(peer = %peer.address, %error, "credentials were refused");
        } else {
            self.counters.unauthenticated.increment();
        }
        close_http2(peer, head);
        status_answer(&head.headers, head.uri.query().unwrap_or(""), &Status::unauthorized())
    }

    /// The `timeout` parameter, where it is shorter than the server's own.
    fn timeout_of(&self, query: &str) -> Result<Duration, Status> {
        let own = self.options.request_timeout;
        if !query.contains("timeout") {
            return Ok(own);
        }
        let wanted = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "timeout");
        let Some((_, text)) = wanted.filter(|(_, text)| !text.is_empty()) else { return Ok(own) };
        let nanoseconds = go_duration::parse(&text)
            .map_err(|error| Status::bad_request(format!("invalid timeout specified in the request URL - {error}")))?;
        Ok(u64::try_from(nanoseconds).ok().filter(|wanted| *wanted > 0).map_or(own, Duration::from_nanos).min(own))
    }

    fn audit_id(&self, headers: &HeaderMap) -> String {
        let given = headers.get(AUDIT_ID).and_then(|value| value.to_str().ok());
        match given.filter(|id| !id.is_empty() && id.len() <= AUDIT_ID_BYTES_MAX) {
            Some(given) => given.to_owned(),
            None => self.env.entropy.uuid(),
        }
    }

    fn gzip_bytes_min(&self, peer: &Peer, headers: &HeaderMap) -> Option<u64> {
        let wanted = self.options.gzip_for_loopback || !peer.address.ip().is_loopback();
        self.options.gzip_bytes_min.filter(|_| wanted && accepts_gzip(headers))
    }

    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let allowed = self.options.allowed_origin.as_ref()?;
        let origin = headers.get(header::ORIGIN)?;
        allowed(origin.to_str().ok()?).then(|| origin.clone())
    }

    fn draws_goaway(&self) -> bool {
        self.options.goaway_chance > 0.0
            && (self.env.entropy.u64() as f64 / u64::MAX as f64) < self.options.goaway_chance
    }

    fn complete_headers(&self, headers: &mut HeaderMap, audit_id: &str, origin: Option<HeaderValue>) {
        if let Ok(audit_id) = HeaderValue::from_str(audit_id) {
            headers.entry(AUDIT_ID).or_insert(audit_id);
        }
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
        if let Some(value) = &self.options.strict_transport_security {
            headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert_with(|| value.clone());
        }
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            for (name, value) in CROSS_ORIGIN_HEADERS {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
    }
}

const CROSS_ORIGIN_HEADERS: [(HeaderName, &str); 4] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS, PUT, DELETE, PATCH"),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, If-Modified-Since",
    ),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
];

/// 500 with the sentence that clients make of a server error.
fn server_error(text: &str) -> Status {
    let message = format!("an error on the server ({text:?}) has prevented the request from succeeding");
    Status::new(500, "InternalError", message)
}

/// 500 in plain text, as the reference's `responsewriters.InternalError`.
fn internal_error(head: &Parts, error: &impl std::fmt::Display) -> Response {
    let uri = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    tracing::warn!(uri, %error, "internal error");
    let text = format!("Internal Server Error: {uri:?}: {error}\n");
    text_response(500, text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

fn too_many_requests() -> Response {
    let mut response = text_response(429, "Too many requests, please try again later.\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Refuses a request that came after the shutdown delay, and lets the connection end.
fn shutting_down(peer: &Peer, head: &Parts) -> Response {
    let mut response = text_response(429, "The apiserver is shutting down, please try again later.\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    if head.version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    peer.closing.give();
    response
}

/// Refuses a request that came after draining had begun.
fn draining() -> Response {
    let status = Status::service_unavailable("apiserver is shutting down");
    let mut response = status_answer(&HeaderMap::new(), "", &status);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Probes, metrics and the server's own requests are answered until the end.
fn is_exempt_from_shutdown(headers: &HeaderMap, path: &str) -> bool {
    let own = headers.get(header::USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"kube-apiserver/"));
    own || ["/readyz", "/livez", "/healthz", "/metrics"].iter().any(|prefix| path.starts_with(prefix))
}

/// HTTP/2 is expensive and open to abuse (CVE-2023-44487): who shows no credentials gets one request for each connection.
fn close_http2(peer: &Peer, head: &Parts) {
    if head.version == Version::HTTP_2 || peer.protocol == Protocol::Http2 {
        peer.closing.give();
    }
}

fn remove_credentials(headers: &mut HeaderMap) {
    const FRONT_PROXY: [&str; 3] = ["x-remote-user", "x-remote-uid", "x-remote-group"];
    headers.remove(header::AUTHORIZATION);
    FRONT_PROXY.iter().for_each(|name| while headers.remove(*name).is_some() {});
    let extra = |name: &&HeaderName| name.as_str().starts_with("x-remote-extra-");
    let extras: Vec<HeaderName> = headers.keys().filter(extra).cloned().collect();
    extras.into_iter().for_each(|name| while headers.remove(&name).is_some() {});
}

/// Acting as somebody else is not built yet. Ignoring the wish would give the request more rights than it asks for.
fn impersonation(headers: &HeaderMap) -> Option<Status> {
    let asks = headers.keys().any(|name| name.as_str().starts_with("impersonate-"));
    asks.then(|| Status::not_implemented("impersonation is not implemented"))
}

#[cfg(test)]
mod tests;
