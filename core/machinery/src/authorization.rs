//! What a user may do: authorizers, their union, and the wording of a refusal.
//!
//! Invariants: `system:masters` may do everything; of several authorizers the first that allows or denies decides; nobody's
//! opinion is a refusal.

use std::sync::Arc;

use triune_api::{names::GroupResource, status::Status};

use crate::{
    authentication::{Answer, MASTERS},
    context::{RequestInfo, UserInfo},
};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Who.
    pub user: &'a UserInfo,
    /// What.
    pub verb: &'a str,
    /// Whether it is about an API resource; else only `path` counts.
    pub is_resource_request: bool,
    /// The path of the request.
    pub path: &'a str,
    /// "" is the core group.
    pub api_group: &'a str,
    /// Such as `v1`.
    pub api_version: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Such as `status`.
    pub subresource: &'a str,
    /// "" for cluster scope.
    pub namespace: &'a str,
    /// "" for any.
    pub name: &'a str,
    /// The query, for selectors.
    pub query: &'a str,
}

impl<'a> Attributes<'a> {
    /// Of a request.
    pub fn of(user: &'a UserInfo, info: &'a RequestInfo, query: &'a str) -> Attributes<'a> {
        Attributes {
            user,
            verb: &info.verb,
            is_resource_request: info.is_resource_request,
            path: &info.path,
            api_group: &info.api_group,
            api_version: &info.api_version,
            resource: &info.resource,
            subresource: &info.subresource,
            namespace: &info.namespace,
            name: &info.name,
            query,
        }
    }
}

/// An authorizer's word; the text is the reason, "" for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No, whatever others say.
    Deny(String),
    /// Others may say.
    NoOpinion(String),
}

/// An authorizer that could not find out; for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthorizationError(pub String);

/// What an authorizer answers.
pub type Authorization = Result<Decision, AuthorizationError>;

/// Decides what users may do.
pub trait Authorizer: Send + Sync + 'static {
    /// Decides about one attempt.
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'a>) -> Answer<'a, Authorization>;
}

/// Everybody may do everything: the mode `AlwaysAllow`.
pub struct AlwaysAllow;

impl Authorizer for AlwaysAllow {
    fn authorize<'a>(&'a self, _: &'a Attributes<'a>) -> Answer<'a, Authorization> {
        Answer::Ready(Ok(Decision::Allow))
    }
}

/// Nobody may do anything: the mode `AlwaysDeny`.
pub struct AlwaysDeny;

impl Authorizer for AlwaysDeny {
    fn authorize<'a>(&'a self, _: &'a Attributes<'a>) -> Answer<'a, Authorization> {
        Answer::Ready(Ok(Decision::NoOpinion("Everything is forbidden.".into())))
    }
}

/// Members of `system:masters` may do everything; others are asked of the authorizers, in order.
#[derive(Default)]
pub struct Authorizers {
    /// Name, as reasons show it, and authorizer.
    pub chain: Vec<(&'static str, Arc<dyn Authorizer>)>,
}

impl Authorizers {
    async fn ask<'a>(&'a self, attributes: &'a Attributes<'a>) -> Authorization {
        let mut reasons = Vec::new();
        let mut errors = Vec::new();
        for (name, authorizer) in &self.chain {
            match authorizer.authorize(attributes).get().await {
                Ok(Decision::NoOpinion(reason)) if reason.is_empty() => {}
                Ok(Decision::NoOpinion(reason)) => reasons.push(format!("{name}: {reason}")),
                Ok(decided) => return Ok(decided),
                Err(AuthorizationError(error)) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok(Decision::NoOpinion(reasons.join("\n")))
        } else {
            Err(AuthorizationError(errors.join(", ")))
        }
    }
}

impl Authorizer for Authorizers {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'a>) -> Answer<'a, Authorization> {
        if is_master(attributes.user) {
            return Answer::Ready(Ok(Decision::Allow));
        }
        if let [(name, only)] = self.chain.as_slice() {
            match only.authorize(attributes) {
                Answer::Ready(answer) => Answer::Ready(named(name, answer)),
                Answer::Later(answer) => Answer::Later(Box::pin(async move { named(name, answer.await) })),
            }
        } else {
            Answer::Later(Box::pin(self.ask(attributes)))
        }
    }
}

/// A single authorizer's answer, with its name before the reason.
fn named(name: &str, answer: Authorization) -> Authorization {
    answer.map(|decision| match decision {
        Decision::NoOpinion(reason) if !reason.is_empty() => Decision::NoOpinion(format!("{name}: {reason}")),
        decision => decision,
    })
}

/// Whether a user may do everything.
pub fn is_master(user: &UserInfo) -> bool {
    user.groups.iter().any(|group| group == MASTERS)
}

/// The answer to who may not do what they asked for.
pub fn forbidden(attributes: &Attributes<'_>, reason: &str) -> Status {
    let Attributes { verb, api_group, namespace, .. } = attributes;
    let user = &attributes.user.name;
    let what = if attributes.is_resource_request {
        let slash = if attributes.subresource.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{}", attributes.resource, attributes.subresource);
        let scope = if namespace.is_empty() {
            "at the cluster scope".into()
        } else {
            format!("in the namespace {namespace:?}")
        };
        format!("User {user:?} cannot {verb} resource {resource:?} in API group {api_group:?} {scope}")
    } else {
        format!("User {user:?} cannot {verb} path {:?}", attributes.path)
    };
    // Messages must not be taken for HTML; the reference escapes these three.
    let mut what = what.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    if !reason.is_empty() {
        what = format!("{what}: {reason}");
    }
    Status::forbidden(&GroupResource::new(api_group, attributes.resource), attributes.name, what)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http::Method;

    use super::*;
    use crate::request_info::request_info;

    fn check(group: &str, chain: Vec<(&'static str, Arc<dyn Authorizer>)>, expect: Decision) {
        let user = UserInfo { groups: vec![group.into()], ..UserInfo::default() };
        let info = RequestInfo::default();
        let attributes = Attributes::of(&user, &info, "");
        let authorizers = Authorizers { chain };
        let decision = authorizers.authorize(&attributes).get().now_or_never();
        assert_eq!(decision, Some(Ok(expect)), "{group}");
    }

    struct Deny;
    impl Authorizer for Deny {
        fn authorize<'a>(&'a self, _: &'a Attributes<'a>) -> Answer<'a, Authorization> {
            Answer::Ready(Ok(Decision::Deny("no".into())))
        }
    }

    #[test]
    fn the_first_word_counts() {
        check("system:masters", vec![("deny", Arc::new(Deny))], Decision::Allow);
        check("x", vec![], Decision::NoOpinion(String::new()));
        check("x", vec![("a", Arc::new(AlwaysDeny))], Decision::NoOpinion("a: Everything is forbidden.".into()));
        check("x", vec![("a", Arc::new(AlwaysDeny)), ("b", Arc::new(AlwaysAllow))], Decision::Allow);
        check("x", vec![("a", Arc::new(Deny)), ("b", Arc::new(AlwaysAllow))], Decision::Deny("no".into()));
        let twice: Vec<(&'static str, Arc<dyn Authorizer>)> =
            vec![("a", Arc::new(AlwaysDeny)), ("b", Arc::new(AlwaysDeny))];
        let reasons = "a: Everything is forbidden.\nb: Everything is forbidden.";
        check("x", twice, Decision::NoOpinion(reasons.into()));
    }

    fn check_message(method: Method, path: &str, reason: &str, expect: &str) {
        let user = UserInfo { name: "<x>".into(), ..UserInfo::default() };
        let info = request_info(&method, path, "").expect("a good path");
        assert_eq!(forbidden(&Attributes::of(&user, &info, ""), reason).message, expect);
    }

    #[test]
    fn refusals_are_worded_as_the_reference_does() {
        check_message(
            Method::GET,
            "/api/v1/namespaces/default/pods",
            "",
            r#"pods is forbidden: User "&lt;x&gt;" cannot list resource "pods" in API group "" in the namespace "default""#,
        );
        check_message(
            Method::PUT,
            "/apis/apps/v1/namespaces/a/deployments/d/status",
            "why",
            r#"deployments.apps "d" is forbidden: User "&lt;x&gt;" cannot update resource "deployments/status" in API group "apps" in the namespace "a": why"#,
        );
        check_message(
            Method::GET,
            "/api/v1/nodes",
            "",
            r#"nodes is forbidden: User "&lt;x&gt;" cannot list resource "nodes" in API group "" at the cluster scope"#,
        );
        check_message(Method::GET, "/version", "", r#"forbidden: User "&lt;x&gt;" cannot get path "/version""#);
    }
}
