//! Who answers: resource requests go to the verbs, plain paths to their route, discovery to its documents, the rest to the
//! delegate (apiserver `pkg/server/handler.go`). At the end of the chain stands [`NotFound`].
//!
//! This is also where requests are counted: only what some handler serves has a series, so that clients cannot make any.

use std::sync::Arc;

use triune_api::status::Status;
use triune_env::BoxFuture;

use crate::{
    body::Response,
    context::{Context, RequestInfo},
    discovery::Discovery,
    handler::{Handler, Request},
    metrics::{Metrics, RequestLabels, RequestSeries},
    request_info::is_long_running,
    resources::Resources,
    respond::{status_response, text_response},
    routes::Routes,
};

/// Finds who answers, within one server of the chain.
pub struct Director {
    /// What this server serves.
    pub resources: Arc<Resources>,
    /// Serves resource requests of the group versions above.
    pub resource_handler: Arc<dyn Handler>,
    /// Plain paths.
    pub routes: Routes,
    /// The documents below `/api` and `/apis`: the first server of the chain has them.
    pub discovery: Option<Arc<Discovery>>,
    /// Whoever comes next.
    pub delegate: Arc<dyn Handler>,
    /// Counts requests.
    pub metrics: Arc<Metrics>,
}

impl Director {
    fn find(&self, info: &RequestInfo) -> (Option<Arc<RequestSeries>>, Arc<dyn Handler>) {
        if info.is_resource_request {
            let resources = self.resources.load();
            if resources.version(&info.api_group, &info.api_version).is_some() {
                let known = resources.get(&info.api_group, &info.api_version, &info.resource).is_some_and(|resource| {
                    info.subresource.is_empty() || resource.subresources.contains_key(&info.subresource)
                });
                let series = known.then(|| self.metrics.request(&resource_labels(info))).flatten();
                return (series, self.resource_handler.clone());
            }
        } else if let Some(discovery) = self.discovery.as_ref().filter(|discovery| discovery.serves(&info.path)) {
            return (self.metrics.request(&route_labels(info, &info.path)), discovery.clone());
        }
        if let Some((route, handler)) = self.routes.find(&info.path) {
            return (self.metrics.request(&route_labels(info, route)), handler.clone());
        }
        (None, self.delegate.clone())
    }
}

impl Handler for Director {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        let (series, handler) = self.find(&context.info);
        let Some(series) = series else { return handler.handle(context, request) };
        Box::pin(async move {
            let open = is_long_running(&context.info).then(|| series.open());
            let response = handler.handle(context.clone(), request).await;
            let duration = context.env.clock.now().saturating_duration_since(context.received);
            series.observe(response.status().as_u16(), duration, response.body().known_length());
            match open {
                Some(open) => response.map(|body| body.guarded(open)),
                None => response,
            }
        })
    }
}

fn resource_labels(info: &RequestInfo) -> RequestLabels<'_> {
    let verb = match info.verb.as_str() {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        "proxy" => "CONNECT",
        _ => "other",
    };
    let scope = if !info.name.is_empty() || info.verb == "create" {
        "resource"
    } else if info.namespace.is_empty() {
        "cluster"
    } else {
        "namespace"
    };
    RequestLabels {
        verb,
        group: &info.api_group,
        version: &info.api_version,
        resource: &info.resource,
        subresource: &info.subresource,
        scope,
    }
}

fn route_labels<'a>(info: &RequestInfo, route: &'a str) -> RequestLabels<'a> {
    let verb = match info.verb.as_str() {
        "get" => "GET",
        "head" => "HEAD",
        "post" => "POST",
        _ => "other",
    };
    RequestLabels { verb, group: "", version: "", resource: "", subresource: route, scope: "" }
}

/// Answers for a resource that a known group version does not have: a Status, as the reference's router gives.
pub struct UnknownResource;

impl Handler for UnknownResource {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        let response = status_response(&context, request.headers(), &Status::page_not_found());
        Box::pin(std::future::ready(response))
    }
}

/// The end of the chain: 404, or 503 for a request that came before all paths were installed (A13).
pub struct NotFound;

impl Handler for NotFound {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        let response = if context.before_all_paths_installed {
            let message = "the request has been made before all known HTTP paths have been installed, please try again";
            status_response(&context, request.headers(), &Status::service_unavailable(message).with_retry_after(5))
        } else {
            text_response(404, "404 page not found\n")
        };
        Box::pin(std::future::ready(response))
    }
}
