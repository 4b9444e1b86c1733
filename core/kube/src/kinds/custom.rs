//! What is served by code of its own: binding pods to nodes, evicting pods, telling who asks.

use bytes::Bytes;
use serde_json::{Value, json};
use triune_api::{
    meta,
    names::{GroupResource, GroupVersionKind},
    status::Status,
    time,
};
use triune_env::BoxFuture;
use triune_machinery::{
    body::Response,
    registry::{Column, CustomHandler, Strategy},
    verbs::{
        answer::value_answer,
        delete::delete_object,
        options::{DeleteOptions, WriteOptions, WriteOptionsKind},
        scope::Scope,
        update::Update,
    },
};

use super::pods;
use crate::{
    table, tables,
    tree::{self, child, set},
};

/// `pods/binding`: the scheduler says on which node a pod runs.
pub struct PodBinding;

/// `pods/eviction`: a delete that waits for its turn. Disruption budgets are not looked at yet.
pub struct PodEviction;

/// `authentication.k8s.io/v1 SelfSubjectReview`: `kubectl auth whoami`.
pub struct SelfSubjectReview;

impl CustomHandler for PodBinding {
    fn serve<'a>(&'a self, scope: &'a Scope, request: http::Request<Bytes>) -> BoxFuture<'a, Result<Response, Status>> {
        Box::pin(async move {
            let output = scope.output()?;
            let options = WriteOptions::parse(&scope.query, WriteOptionsKind::Create)?;
            let gvk = GroupVersionKind::new("", "v1", "Binding");
            let binding = sent(scope, &request, &gvk)?;
            let errors = pods::update::binding(&binding);
            if !errors.is_empty() {
                return Err(Status::invalid(&gvk, scope.name(), &errors));
            }
            let uid = Some(meta::uid(&binding)).filter(|uid| !uid.is_empty()).map(str::to_string);
            let now = time::rfc3339(scope.context.env.clock.wall());
            let make = |pod: &Value| bound(pod, &binding, &now);
            let update =
                Update { scope, strategy: &Bound, dry_run: options.dry_run, allow_create: false, uid, make: &make };
            update.run().await?;
            Ok(value_answer(201, &output, &success(), scope.now()))
        })
    }
}

impl CustomHandler for PodEviction {
    fn serve<'a>(&'a self, scope: &'a Scope, request: http::Request<Bytes>) -> BoxFuture<'a, Result<Response, Status>> {
        Box::pin(async move {
            let output = scope.output()?;
            let dry_run = WriteOptions::parse(&scope.query, WriteOptionsKind::Create)?.dry_run;
            let eviction = sent(scope, &request, &GroupVersionKind::new("policy", "v1", "Eviction"))?;
            let options = eviction.get("deleteOptions").filter(|options| options.is_object()).cloned();
            let mut options = DeleteOptions::from_body(&options.unwrap_or_else(|| json!({})))?;
            options.dry_run |= dry_run;
            let stored = scope.read_existing(&scope.key(scope.name())).await?;
            delete_object(scope, &options, stored, |_| true).await?.ok_or_else(|| scope.not_found(scope.name()))?;
            Ok(value_answer(201, &output, &success(), scope.now()))
        })
    }
}

impl CustomHandler for SelfSubjectReview {
    fn serve<'a>(&'a self, scope: &'a Scope, _: http::Request<Bytes>) -> BoxFuture<'a, Result<Response, Status>> {
        Box::pin(async move {
            let user = &scope.context.user;
            let mut info = json!({"username": user.name});
            let facts = [("uid", json!(user.uid)), ("groups", json!(user.groups)), ("extra", json!(user.extra))];
            for (field, value) in facts {
                let empty = value == "" || value == json!([]) || value == json!({});
                if !empty {
                    info[field] = value;
                }
            }
            let now = time::rfc3339(scope.context.env.clock.wall());
            let review = json!({
                "kind": "SelfSubjectReview", "apiVersion": scope.resource.gvk.api_version(),
                "metadata": {"creationTimestamp": now}, "status": {"userInfo": info},
            });
            Ok(value_answer(201, &scope.output()?, &review, scope.now()))
        })
    }
}

/// The body, which must be about the pod of the URL.
fn sent(scope: &Scope, request: &http::Request<Bytes>, gvk: &GroupVersionKind) -> Result<Value, Status> {
    let value = scope.decode_other(gvk, request.body())?;
    if meta::name(&value) != scope.name() {
        return Err(Status::bad_request(format!("name in URL does not match name in {} object", gvk.kind)));
    }
    Ok(value)
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

/// The pod on its node.
fn bound(pod: &Value, binding: &Value, now: &str) -> Result<Value, Status> {
    let name = meta::name(pod);
    let refuse = |why: String| Err(Status::conflict(&GroupResource::new("", "pods/binding"), name, why));
    let node = tree::text(pod, "/spec/nodeName");
    if tree::has(pod, "/metadata/deletionTimestamp") {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if !node.is_empty() {
        return refuse(format!("pod {name} is already assigned to node {node:?}"));
    }
    if !tree::items(pod, "/spec/schedulingGates").is_empty() {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut pod = pod.clone();
    if let Some(spec) = child(&mut pod, "spec") {
        set(spec, "nodeName", tree::text(binding, "/target/name"));
    }
    for (field, set) in
        [("annotations", meta::set_annotation as fn(&mut Value, &str, &str)), ("labels", meta::set_label)]
    {
        for (key, value) in tree::map(binding, &format!("/metadata/{field}")).into_iter().flatten() {
            set(&mut pod, key, value.as_str().unwrap_or_default());
        }
    }
    if !meta::resource_version(binding).is_empty() {
        meta::set_resource_version(&mut pod, meta::resource_version(binding));
    }
    if let Some(status) = child(&mut pod, "status") {
        let mut conditions = tree::items(status, "/conditions").to_vec();
        conditions.retain(|condition| tree::text(condition, "/type") != "PodScheduled");
        conditions.push(json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
        }));
        set(status, "conditions", conditions);
        tree::remove(status, "nominatedNodeName");
    }
    Ok(pod)
}

/// Takes what [`bound`] made as it is.
struct Bound;

impl Strategy for Bound {
    fn columns(&self) -> Vec<Column> {
        table::columns(tables::pods::PODS)
    }

    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        table::cells(tables::pods::PODS, object, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_bound_once() {
        let binding = json!({"metadata": {"name": "p", "labels": {"zone": "z"}}, "target": {"name": "n"}});
        let check = |pod: Value, expected: Result<&str, &str>| match bound(&pod, &binding, "now") {
            Ok(pod) => assert_eq!(Ok(tree::text(&pod, "/spec/nodeName")), expected, "{pod}"),
            Err(status) => assert_eq!(Err(status.message.as_str()), expected),
        };
        check(json!({"metadata": {"name": "p"}, "status": {"phase": "Pending"}}), Ok("n"));
        check(
            json!({"metadata": {"name": "p"}, "spec": {"nodeName": "m"}}),
            Err(r#"Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "m""#),
        );
        check(
            json!({"metadata": {"name": "p", "deletionTimestamp": "x"}}),
            Err(
                r#"Operation cannot be fulfilled on pods/binding "p": pod p is being deleted, cannot be assigned to a host"#,
            ),
        );
    }
}
