//! The verbs: what a request on a resource does (apiserver `pkg/endpoints/{installer.go,handlers}`,
//! `pkg/registry/generic/registry/store.go`).
//!
//! In reading order:
//!
//! - [`options`], [`list_options`]: parameters, checked
//! - [`output`]: in which form the answer goes out
//! - [`input`]: bodies to trees in normal form
//! - [`metadata`]: what the server does to `metadata`
//! - [`scope`]: what one request is about
//! - [`ownership`]: who owns which field
//! - [`create`], [`update`], [`patch`], [`delete`], [`collection`]: writes
//! - [`answer`], [`table`], `messages`: objects, lists and tables as bytes, and as messages in protobuf
//! - [`read`], [`watch`]: get, list, watch
//! - [`scale`]: the scale subresource
//!
//! Invariants: stored bytes are passed on and decoded only for conversions, tables and indented answers; every write is a
//! compare-and-set on the revision that was read; `dryRun=All` stores nothing.
//!
//! Deliberately absent: admission plugins.

pub mod answer;
pub mod collection;
pub mod create;
pub mod delete;
pub mod input;
pub mod list_options;
pub(crate) mod messages;
pub mod metadata;
pub mod options;
pub mod output;
pub mod ownership;
pub mod patch;
pub mod read;
pub mod scale;
pub mod scope;
pub mod table;
pub mod update;
pub mod watch;

use std::sync::Arc;

use triune_api::{
    Value, meta,
    status::{Status, StatusDetails},
    validation::path_segment_name,
};
use triune_env::BoxFuture;
use triune_store::Store;

use self::{
    answer::value_answer,
    create::{Written, create},
    input::Expected,
    options::{Query, WriteOptions, WriteOptionsKind},
    output::Output,
    ownership::Ownership,
    patch::{Patch, PatchMedia},
    scope::Scope,
    update::Update,
    watch::Encodings,
};
use crate::{
    accept::{PRODUCED, accept_header, check_routed},
    body::Response,
    context::Context,
    handler::{Handler, REQUEST_BODY_BYTES_MAX, Request, RequestBody},
    registry::{CustomHandler, ScalePaths, Serving, Strategy},
    resources::Resources,
    respond::status_response,
};

/// Serves the resources of a registry from a store; what it does not serve goes to a delegate.
pub struct ResourceHandler {
    resources: Arc<Resources>,
    store: Arc<Store>,
    delegate: Arc<dyn Handler>,
    encodings: Arc<Encodings>,
}

impl ResourceHandler {
    /// `delegate` answers requests for resources that are not in the registry.
    pub fn new(resources: Arc<Resources>, store: Arc<Store>, delegate: Arc<dyn Handler>) -> Arc<ResourceHandler> {
        Arc::new(ResourceHandler { resources, store, delegate, encodings: Arc::default() })
    }
}

impl Handler for ResourceHandler {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        let info = &context.info;
        let resources = self.resources.snapshot();
        let resource = resources.get(&info.api_group, &info.api_version, &info.resource).cloned();
        let Some(resource) = resource.filter(|_| info.is_resource_request) else {
            return self.delegate.clone().handle(context, request);
        };
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let scope = Scope {
                query: Query::parse(&context.query),
                context,
                headers: parts.headers,
                resources,
                resource,
                store: self.store.clone(),
                encodings: self.encodings.clone(),
            };
            let answer = self.serve(&scope, parts.method, parts.uri, body).await;
            answer.unwrap_or_else(|status| status_response(&scope.context, &scope.headers, &status))
        })
    }
}

impl ResourceHandler {
    async fn serve(
        &self,
        scope: &Scope,
        method: http::Method,
        uri: http::Uri,
        body: RequestBody,
    ) -> Result<Response, Status> {
        let info = &scope.context.info;
        let verb = info.verb.as_str();
        check_scope(scope)?;
        if let Some(deprecation) = scope.strategy().deprecation() {
            scope.context.warn(deprecation);
        }
        check_name_in_path(&info.name)?;
        if !info.subresource.is_empty() {
            let subresource = scope.resource.subresources.get(&info.subresource).ok_or_else(Status::page_not_found)?;
            check_verb(verb, &subresource.verbs)?;
            if !matches!(subresource.serving, Serving::Custom(_)) {
                check_accepted(scope)?;
            }
            return match &subresource.serving {
                Serving::Custom(custom) => serve_custom(scope, &**custom, method, uri, body).await,
                Serving::Scale(paths) => Box::pin(serve_scale(scope, paths, verb, body)).await,
                Serving::Object(strategy) => Box::pin(serve_object(scope, &**strategy, verb, body)).await,
            };
        }
        check_verb(verb, &scope.resource.verbs)?;
        check_shape_of_path(scope)?;
        check_accepted(scope)?;
        if let Some(custom) = &scope.resource.custom {
            return serve_custom(scope, &**custom, method, uri, body).await;
        }
        match verb {
            "get" => read::get(scope).await,
            "list" => Box::pin(read::list(scope)).await,
            "watch" => Box::pin(watch::watch(scope)).await,
            "create" => Box::pin(serve_create(scope, body)).await,
            "update" => Box::pin(serve_update(scope, scope.strategy(), body)).await,
            "patch" => Box::pin(serve_patch(scope, scope.strategy(), body)).await,
            "delete" => Box::pin(delete::delete(scope, body)).await,
            "deletecollection" => Box::pin(collection::delete_collection(scope, body)).await,
            _ => Err(method_not_allowed()),
        }
    }
}

/// Cluster-scoped resources have no paths under a namespace; objects in namespaces have none outside. (`/namespaces/x` is
/// the object itself.)
fn check_scope(scope: &Scope) -> Result<(), Status> {
    let info = &scope.context.info;
    let names_itself = info.resource == "namespaces" && info.api_group.is_empty();
    let misplaced = if scope.resource.namespaced {
        info.namespace.is_empty() && matches!(info.parts.as_slice(), [_, _, ..])
    } else {
        !info.namespace.is_empty() && !names_itself
    };
    if misplaced { Err(Status::page_not_found()) } else { Ok(()) }
}

/// Names such as `..` and names with slashes or percent signs address nothing.
fn check_name_in_path(name: &str) -> Result<(), Status> {
    match path_segment_name(name).as_slice() {
        [] => Ok(()),
        problems => Err(Status::bad_request(format!("Name parameter invalid: {name:?}: {}", problems.join(";")))),
    }
}

/// Paths of built-in resources have a router in front, which refuses what no form of their answers matches.
fn check_accepted(scope: &Scope) -> Result<(), Status> {
    if scope.resource.schema.is_none() {
        return Ok(());
    }
    let is_collection = matches!(scope.context.info.verb.as_str(), "list" | "watch");
    check_routed(accept_header(&scope.headers), &PRODUCED, is_collection)
}

fn check_verb(verb: &str, verbs: &[String]) -> Result<(), Status> {
    if verbs.iter().any(|known| known == verb) { Ok(()) } else { Err(method_not_allowed()) }
}

/// Some verbs are for collections, some for objects; collections over all namespaces are only read.
fn check_shape_of_path(scope: &Scope) -> Result<(), Status> {
    let info = &scope.context.info;
    let names_object = info.parts.len() > 1;
    let everywhere = scope.resource.namespaced && info.namespace.is_empty();
    let allowed = match info.verb.as_str() {
        "create" | "deletecollection" => !names_object && !everywhere,
        "update" | "patch" | "delete" | "get" => names_object,
        _ => true,
    };
    if allowed { Ok(()) } else { Err(method_not_allowed()) }
}

/// 405 in the words of the reference's router.
pub fn method_not_allowed() -> Status {
    let mut status =
        Status::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
    status.details = Some(Box::new(StatusDetails::default()));
    status
}

async fn serve_custom(
    scope: &Scope,
    custom: &dyn CustomHandler,
    method: http::Method,
    uri: http::Uri,
    body: RequestBody,
) -> Result<Response, Status> {
    let body = body.read(REQUEST_BODY_BYTES_MAX).await?;
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = scope.headers.clone();
    custom.serve(scope, request).await
}

/// POST of a new object.
async fn serve_create(scope: &Scope, body: RequestBody) -> Result<Response, Status> {
    let output = scope.output()?;
    let media = scope.input_media()?;
    let body = body.read(REQUEST_BODY_BYTES_MAX).await?;
    let options = WriteOptions::parse(&scope.query, WriteOptionsKind::Create)?;
    let expected = scope.expected(options.field_validation);
    let ownership = Ownership::new(scope, scope.strategy(), &options);
    let make = || {
        let mut object = expected.decode(&scope.context, media, &body)?;
        ownership.record(&Value::Null, &mut object);
        Ok(object)
    };
    let written = create(scope, options.dry_run, &make).await?;
    written_answer(scope, &output, &written)
}

/// PUT of an object, or of what a subresource shows of it.
async fn serve_update(scope: &Scope, strategy: &dyn Strategy, body: RequestBody) -> Result<Response, Status> {
    let output = scope.output()?;
    let body = body.read(REQUEST_BODY_BYTES_MAX).await?;
    let options = WriteOptions::parse(&scope.query, WriteOptionsKind::Update)?;
    let media = scope.input_media()?;
    let mut sent = scope.expected(options.field_validation).decode(&scope.context, media, &body)?;
    metadata::complete_namespace(&mut sent, scope.namespace())?;
    metadata::check_name(&sent, scope.name())?;
    let ownership = Ownership::new(scope, strategy, &options);
    let update = Update {
        scope,
        strategy,
        dry_run: options.dry_run,
        allow_create: scope.context.info.subresource.is_empty() && strategy.allows_create_on_update(),
        uid: Some(meta::uid(&sent)).filter(|uid| !uid.is_empty()).map(str::to_string),
        make: &|old| {
            let mut new = sent.clone();
            ownership.record(old, &mut new);
            Ok(new)
        },
    };
    written_answer(scope, &output, &update.run().await?)
}

/// PATCH of an object, or of what a subresource shows of it.
async fn serve_patch(scope: &Scope, strategy: &dyn Strategy, body: RequestBody) -> Result<Response, Status> {
    let media = PatchMedia::of(&scope.headers, scope.resource.schema.is_some())?;
    let output = scope.output()?;
    let body = body.read(REQUEST_BODY_BYTES_MAX).await?;
    let options = WriteOptions::parse(&scope.query, media.options_kind())?;
    let patch = media.parse(&body)?;
    let expected = scope.expected(options.field_validation);
    let ownership = Ownership::new(scope, strategy, &options);
    let update = Update {
        scope,
        strategy,
        dry_run: options.dry_run,
        // An apply of a subresource never creates its object.
        allow_create: media == PatchMedia::Apply && scope.context.info.subresource.is_empty(),
        uid: None,
        make: &|old| patch.apply(&expected, &ownership, old),
    };
    written_answer(scope, &output, &update.run().await?)
}

fn written_answer(scope: &Scope, output: &Output, written: &Written) -> Result<Response, Status> {
    let code = if written.created { 201 } else { 200 };
    let view = scope.view();
    match written.revision {
        Some(revision) => view.object_answer(code, output, revision, &written.body),
        None => {
            let mut tree = view.tree(triune_store::Revision(0), &written.body)?;
            meta::set_resource_version(&mut tree, "");
            Ok(value_answer(code, output, &tree, scope.now()))
        }
    }
}

/// A subresource that shows the whole object.
async fn serve_object(
    scope: &Scope,
    strategy: &dyn Strategy,
    verb: &str,
    body: RequestBody,
) -> Result<Response, Status> {
    match verb {
        "get" => read::get(scope).await,
        "update" => serve_update(scope, strategy, body).await,
        "patch" => serve_patch(scope, strategy, body).await,
        _ => Err(method_not_allowed()),
    }
}

/// The scale of an object.
async fn serve_scale(scope: &Scope, paths: &ScalePaths, verb: &str, body: RequestBody) -> Result<Response, Status> {
    let scale_answer = |output: &Output, revision, body: &bytes::Bytes| {
        let object = scope.view().tree(revision, body)?;
        Ok(value_answer(200, output, &scale::scale_of(paths, &object)?, scope.now()))
    };
    if verb == "get" {
        let output = scope.output()?;
        let stored = scope.read_existing(&scope.key(scope.name())).await?;
        return scale_answer(&output, stored.revision, &stored.body);
    }
    let (output, options, change) = match verb {
        "update" => read_scale(scope, body).await?,
        "patch" => read_scale_patch(scope, body).await?,
        _ => return Err(method_not_allowed()),
    };
    let ownership = Ownership::new(scope, scope.strategy(), &options);
    let make = |old: &Value| match &change {
        ScaleChange::Applied(configuration) => {
            let expected = scope.expected(options.field_validation);
            ownership.apply(old, &scale::configuration_of(scope, paths, configuration)?, &expected)
        }
        ScaleChange::Made(change) => {
            let mut scale = change(&scale::scale_of(paths, old)?)?;
            metadata::complete_namespace(&mut scale, scope.namespace())?;
            metadata::check_name(&scale, scope.name())?;
            let mut new = scale::apply_scale(scope, paths, old, &scale)?;
            ownership.record(old, &mut new);
            Ok(new)
        }
    };
    let dry_run = options.dry_run;
    let update = Update { scope, strategy: scope.strategy(), dry_run, allow_create: false, uid: None, make: &make };
    let written = update.run().await?;
    scale_answer(&output, written.revision.unwrap_or_default(), &written.body)
}

/// What a request does to a scale.
enum ScaleChange<'a> {
    /// It makes the new scale from the old one.
    Made(Box<dyn Fn(&Value) -> Result<Value, Status> + Send + Sync + 'a>),
    /// It applies this configuration.
    Applied(Value),
}

async fn read_scale(scope: &Scope, body: RequestBody) -> Result<(Output, WriteOptions, ScaleChange<'_>), Status> {
    let output = scope.output()?;
    let body = body.read(REQUEST_BODY_BYTES_MAX).await?;
    let options = WriteOptions::parse(&scope.query, WriteOptionsKind::Update)?;
    let expected = Expected { gvk: &scale::SCALE, schema: None, ..scope.expected(options.field_validation) };
    let sent = expected.decode(&scope.context, scope.input_media()?, &body)?;
    Ok((output, options, ScaleChange::Made(Box::new(move |_| Ok(sent.clone())))))
}

async fn read_scale_patch(scope: &Scope, body: RequestBody) -> Result<(Output, WriteOptions, ScaleChange<'_>), Status> {
    let media = PatchMedia::of(&scope.headers, true)?;
    let output = scope.output()?;
    let body = body.read(REQUEST_BODY_BYTES_MAX).await?;
    let options = WriteOptions::parse(&scope.query, media.options_kind())?;
    // A scale has no lists: its strategic merge patch is a merge patch.
    let media = if media == PatchMedia::Strategic { PatchMedia::Merge } else { media };
    let field_validation = options.field_validation;
    let change = match media.parse(&body)? {
        Patch::Apply(configuration, _) => ScaleChange::Applied(configuration),
        patch => ScaleChange::Made(Box::new(move |old| {
            let expected = Expected { gvk: &scale::SCALE, schema: None, ..scope.expected(field_validation) };
            patch.change(&scope.context, &expected, old)
        })),
    };
    Ok((output, options, change))
}
