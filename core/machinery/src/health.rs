//! `/healthz`, `/livez`, `/readyz`: named checks and their texts (apiserver `pkg/server/healthz`).
//!
//! Invariants: who may only read the public summary learns which check fails, not why; a failing check makes the answer a
//! 500; a check that does not answer in time fails.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use http::{HeaderValue, header};
use triune_env::BoxFuture;

use crate::{
    authentication::Answer,
    body::Response,
    context::Context,
    handler::{Handler, Request},
    respond::{bytes_response, text_response},
    routes::Routes,
    signal::Signal,
};

/// A check that takes longer fails.
const CHECK_SECONDS_MAX: u64 = 5;

/// What a check found: nothing wrong, or why it fails.
pub type Health = Result<(), String>;

/// A named check.
#[derive(Clone)]
pub struct HealthCheck {
    /// As in `/readyz/<name>`; may hold slashes.
    pub name: String,
    check: Arc<dyn Fn() -> Answer<'static, Health> + Send + Sync>,
}

impl HealthCheck {
    /// A check that answers at once.
    pub fn new(name: impl Into<String>, check: impl Fn() -> Health + Send + Sync + 'static) -> HealthCheck {
        HealthCheck { name: name.into(), check: Arc::new(move || Answer::Ready(check())) }
    }

    /// A check that asks somebody.
    pub fn asking(
        name: impl Into<String>,
        check: impl Fn() -> BoxFuture<'static, Health> + Send + Sync + 'static,
    ) -> HealthCheck {
        HealthCheck { name: name.into(), check: Arc::new(move || Answer::Later(check())) }
    }

    /// Always well.
    pub fn well(name: &str) -> HealthCheck {
        HealthCheck::new(name, || Ok(()))
    }

    /// Well once `signal` has been given.
    pub fn given(name: impl Into<String>, signal: Signal) -> HealthCheck {
        HealthCheck::new(name, move || if signal.is_given() { Ok(()) } else { Err("not finished".into()) })
    }

    /// Well until `signal` is given.
    pub fn until(name: &str, signal: Signal) -> HealthCheck {
        HealthCheck::new(name, move || if signal.is_given() { Err("process is shutting down".into()) } else { Ok(()) })
    }

    async fn run(&self, context: &Context) -> Health {
        match (self.check)() {
            Answer::Ready(health) => health,
            Answer::Later(future) => {
                let in_time = context.env.timeout(Duration::from_secs(CHECK_SECONDS_MAX), future).await;
                in_time.unwrap_or_else(|_| Err("the check took too long".into()))
            }
        }
    }
}

/// The checks of one path.
pub struct HealthEndpoint {
    /// `healthz`, `livez` or `readyz`.
    pub name: &'static str,
    /// In the order in which they are printed.
    pub checks: Vec<HealthCheck>,
    /// Given when all checks have succeeded for the first time.
    pub first_success: Signal,
}

impl HealthEndpoint {
    /// Serves the summary and each check by itself.
    pub fn install(self, routes: &mut Routes) {
        let root = format!("/{}", self.name);
        for check in &self.checks {
            routes.handle(format!("{root}/{}", check.name), Arc::new(SingleCheck(check.clone())));
        }
        routes.handle(root, Arc::new(self));
    }

    async fn summary(&self, context: &Context, query: &str) -> Response {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let excluded: Vec<&str> = pairs.iter().filter(|(key, _)| key == "exclude").map(|(_, name)| &**name).collect();
        let mut text = String::new();
        let mut failed = Vec::new();
        for check in &self.checks {
            let line = if excluded.contains(&check.name.as_str()) {
                format!("[+]{} excluded: ok\n", check.name)
            } else if let Err(why) = check.run(context).await {
                failed.push(format!("{}: {why}", check.name));
                format!("[-]{} failed: reason withheld\n", check.name)
            } else {
                format!("[+]{} ok\n", check.name)
            };
            text.push_str(&line);
        }
        let unknown = self.unknown(excluded);
        if !unknown.is_empty() {
            let list = unknown.iter().map(|name| format!("{name:?}")).collect::<Vec<String>>().join(", ");
            // Writing to a string does not fail.
            let _ = writeln!(text, "warn: some health checks cannot be excluded: no matches for {list}");
        }
        if !failed.is_empty() {
            tracing::debug!(endpoint = self.name, failed = failed.join("; "), "health check failed");
            return text_response(500, format!("{text}{} check failed\n", self.name));
        }
        self.first_success.give();
        if pairs.iter().any(|(key, _)| key == "verbose") {
            text_response(200, format!("{text}{} check passed\n", self.name))
        } else {
            text_response(200, "ok")
        }
    }

    fn unknown<'a>(&self, mut excluded: Vec<&'a str>) -> Vec<&'a str> {
        excluded.retain(|name| self.checks.iter().all(|check| check.name != *name));
        excluded.sort_unstable();
        excluded.dedup();
        excluded
    }
}

impl Handler for HealthEndpoint {
    fn handle(self: Arc<Self>, context: Arc<Context>, _: Request) -> BoxFuture<'static, Response> {
        Box::pin(async move { self.summary(&context, &context.query).await })
    }
}

struct SingleCheck(HealthCheck);

impl Handler for SingleCheck {
    fn handle(self: Arc<Self>, context: Arc<Context>, _: Request) -> BoxFuture<'static, Response> {
        Box::pin(async move {
            match self.0.run(&context).await {
                Ok(()) => {
                    let mut response = bytes_response(200, "text/plain; charset=utf-8", "ok");
                    let headers = response.headers_mut();
                    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                    response
                }
                Err(why) => text_response(500, format!("internal server error: {why}\n")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{body::Body, testing};

    async fn check(path: &str, code: u16, text: &str) {
        let failing = HealthCheck::new("bad", || Err("secret".into()));
        let mut routes = Routes::default();
        let endpoint = |name, checks| HealthEndpoint { name, checks, first_success: Signal::new() };
        endpoint("livez", vec![HealthCheck::well("ping"), HealthCheck::well("a/b")]).install(&mut routes);
        endpoint("readyz", vec![HealthCheck::well("ping"), failing]).install(&mut routes);
        let (context, request) = testing::request("GET", path);
        let (_, handler) = routes.find(&context.info.path).expect("a route");
        let mut response = handler.clone().handle(context, request).await;
        let Body::Chunks(chunks) = response.body_mut() else { panic!("a stream") };
        let found = String::from_utf8(chunks.pop_front().unwrap_or_default().to_vec()).expect("text");
        assert_eq!((response.status().as_u16(), found.as_str()), (code, text), "{path}");
    }

    #[tokio::test]
    async fn texts_are_the_references() {
        check("/livez", 200, "ok").await;
        check("/livez?verbose", 200, "[+]ping ok\n[+]a/b ok\nlivez check passed\n").await;
        check("/livez?verbose&exclude=ping", 200, "[+]ping excluded: ok\n[+]a/b ok\nlivez check passed\n").await;
        let warning = "warn: some health checks cannot be excluded: no matches for \"x\", \"y\"\n";
        check(
            "/livez?verbose&exclude=y&exclude=x&exclude=y",
            200,
            &format!("[+]ping ok\n[+]a/b ok\n{warning}livez check passed\n"),
        )
        .await;
        check("/readyz", 500, "[+]ping ok\n[-]bad failed: reason withheld\nreadyz check failed\n").await;
        check("/readyz?exclude=bad", 200, "ok").await;
        check("/livez/a/b", 200, "ok").await;
        check("/readyz/bad", 500, "internal server error: secret\n").await;
    }
}
