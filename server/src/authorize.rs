//! Who may do what.
//!
//! Roles and bindings are not evaluated yet. What holds until then is what the bootstrap policy of RBAC gives everybody:
//! members of `system:masters` may do everything; those who are known may discover the API and ask about themselves;
//! everybody may look at health and version. Everything else is refused, so nobody is given more than the reference
//! gives. The daemon says so when it starts.

use std::sync::Arc;

use triune_machinery::{
    authentication::{AUTHENTICATED, Answer, UNAUTHENTICATED},
    authorization::{AlwaysAllow, AlwaysDeny, Attributes, Authorization, Authorizer, Authorizers, Decision},
};

use crate::{failure::Failure, flags::Given};

/// From `--authorization-mode`; without it, `default`. Members of `system:masters` are never asked about.
pub fn from_flags(given: &Given, default: &str) -> Result<Authorizers, Failure> {
    let mut names = given.texts("authorization-mode");
    if names.is_empty() {
        names.push(default.to_owned());
    }
    let mut chain: Vec<(&'static str, Arc<dyn Authorizer>)> = Vec::new();
    for name in &names {
        let refused = |why: &str| Err(Failure::usage(format!("--authorization-mode={name}: {why}")));
        match name.as_str() {
            "RBAC" => chain.push(("RBAC", Arc::new(BootstrapPolicy))),
            "AlwaysAllow" => chain.push(("AlwaysAllow", Arc::new(AlwaysAllow))),
            "AlwaysDeny" => chain.push(("AlwaysDeny", Arc::new(AlwaysDeny))),
            // It only ever allows what kubelets need; without it they are refused.
            "Node" => {}
            "ABAC" | "Webhook" => return refused("this authorizer is not built, so its denials would be missing"),
            _ => return refused("no such mode; expected RBAC, Node, AlwaysAllow or AlwaysDeny"),
        }
    }
    Ok(Authorizers { chain })
}

/// What RBAC's bootstrap policy gives everybody.
pub struct BootstrapPolicy;

impl Authorizer for BootstrapPolicy {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'a>) -> Answer<'a, Authorization> {
        let is_in = |group: &str| attributes.user.groups.iter().any(|found| found == group);
        let known = is_in(AUTHENTICATED);
        let allowed = (known || is_in(UNAUTHENTICATED)) && is_public(attributes)
            || known && (is_discovery(attributes) || is_about_oneself(attributes));
        Answer::Ready(Ok(if allowed { Decision::Allow } else { Decision::NoOpinion(String::new()) }))
    }
}

/// `system:public-info-viewer`.
fn is_public(request: &Attributes) -> bool {
    is_get_of_path(request) && matches!(request.path, "/healthz" | "/livez" | "/readyz" | "/version" | "/version/")
}

/// `system:discovery`.
fn is_discovery(request: &Attributes) -> bool {
    let path = request.path;
    is_get_of_path(request)
        && ["/api", "/apis", "/openapi"]
            .iter()
            .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// `system:basic-user`.
fn is_about_oneself(request: &Attributes) -> bool {
    request.is_resource_request
        && request.verb == "create"
        && request.subresource.is_empty()
        && matches!(
            (request.api_group, request.resource),
            ("authorization.k8s.io", "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
                | ("authentication.k8s.io", "selfsubjectreviews")
        )
}

fn is_get_of_path(request: &Attributes) -> bool {
    !request.is_resource_request && request.verb == "get"
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use triune_machinery::context::{RequestInfo, UserInfo};

    use super::*;

    fn path(path: &str) -> RequestInfo {
        RequestInfo { path: path.into(), verb: "get".into(), ..RequestInfo::default() }
    }

    fn resource(verb: &str, group: &str, resource: &str) -> RequestInfo {
        RequestInfo {
            is_resource_request: true,
            path: format!("/apis/{group}/v1/{resource}"),
            verb: verb.into(),
            api_group: group.into(),
            resource: resource.into(),
            ..RequestInfo::default()
        }
    }

    fn check(group: &str, request: &RequestInfo, allowed: bool) {
        let user = UserInfo { groups: vec![group.into()], ..UserInfo::default() };
        let authorizers = Authorizers { chain: vec![("RBAC", Arc::new(BootstrapPolicy))] };
        let decision = authorizers.authorize(&Attributes::of(&user, request, "")).get().now_or_never();
        assert_eq!(decision == Some(Ok(Decision::Allow)), allowed, "{group} {request:?}");
    }

    #[test]
    fn everybody_has_what_the_bootstrap_policy_gives() {
        let (masters, known, unknown) = ("system:masters", "system:authenticated", "system:unauthenticated");
        for public in ["/healthz", "/livez", "/readyz", "/version"] {
            check(unknown, &path(public), true);
            check(known, &path(public), true);
            check("dev", &path(public), false);
        }
        for discovery in ["/api", "/api/v1", "/apis", "/apis/apps/v1", "/openapi/v3"] {
            check(unknown, &path(discovery), false);
            check(known, &path(discovery), true);
        }
        for hidden in ["/metrics", "/livez/ping", "/apiserver", "/"] {
            check(known, &path(hidden), false);
            check(masters, &path(hidden), true);
        }
        let review = resource("create", "authorization.k8s.io", "selfsubjectaccessreviews");
        check(known, &review, true);
        check(unknown, &review, false);
        check(known, &resource("get", "", "pods"), false);
        check(masters, &resource("get", "", "pods"), true);
    }
}
