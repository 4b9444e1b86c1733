//! Get and list: stored bytes behind a new head (apiserver `pkg/endpoints/handlers/get.go`).

use std::sync::Arc;

use triune_api::{selector::FieldSelector, status::Status};
use triune_store::{
    Entry, ResourceCache,
    types::{ListAt, ListRequest, Selection},
};

use super::{
    answer::ListMeta,
    list_options::{ListOptions, parse_revision},
    scope::Scope,
};
use crate::body::Response;

/// Answers GET of one object.
pub async fn get(scope: &Scope) -> Result<Response, Status> {
    let output = scope.output()?;
    let (revision, body) = match scope.query.text("resourceVersion").unwrap_or_default() {
        "" => {
            let stored = scope.read_existing(&scope.key(scope.name())).await?;
            (stored.revision, stored.body)
        }
        text => {
            // The reference has no better answer than 500 without a reason here.
            let revision = parse_revision(text).map_err(|error| Status::new(500, "", error.to_string()))?;
            let at = if revision.0 == 0 { ListAt::Any } else { ListAt::NotOlderThan(revision) };
            let entry = scope.cache().get_cached(scope.namespace(), scope.name(), at).await;
            let entry = entry.map_err(|error| scope.read_refused(error, "get"))?;
            let entry = entry.ok_or_else(|| scope.not_found(scope.name()))?;
            (entry.revision, entry.body.clone())
        }
    };
    scope.view().object_answer(200, &output, revision, &body)
}

/// Answers GET of a collection.
pub async fn list(scope: &Scope) -> Result<Response, Status> {
    let output = scope.output()?;
    let options = ListOptions::parse(&scope.query, false, scope.name())?;
    let (list, items) = list_items(scope, &options).await?;
    let encoding = scope.encodings.number(&scope.resource.gvk, &output);
    scope.view().list_answer(&scope.resource.list_kind, &output, encoding, &list, &items).await
}

/// The objects of a collection, as asked.
pub async fn list_items(scope: &Scope, options: &ListOptions) -> Result<(ListMeta, Vec<Arc<Entry>>), Status> {
    let selection = selection(scope, options)?;
    let (at, limit) = options.list_at()?;
    let continue_token = Some(&options.continue_token).filter(|token| !token.is_empty()).cloned();
    let request = ListRequest { selection, at, limit, continue_token };
    let result = scope.cache().list(request).await.map_err(|error| scope.read_refused(error, "list"))?;
    let list =
        ListMeta { revision: result.revision, continue_token: result.continue_token, remaining: result.remaining };
    Ok((list, result.items))
}

/// What is selected; 400 for a field that cannot be selected by.
pub fn selection(scope: &Scope, options: &ListOptions) -> Result<Selection, Status> {
    check_fields(scope, &options.fields)?;
    let namespace = match scope.namespace() {
        "" if scope.resource.namespaced => options.fields.exact("metadata.namespace").filter(|name| !name.is_empty()),
        "" => None,
        namespace => Some(namespace),
    };
    Ok(Selection {
        namespace: namespace.map(Into::into),
        labels: options.labels.clone(),
        fields: options.fields.clone(),
    })
}

fn check_fields(scope: &Scope, fields: &FieldSelector) -> Result<(), Status> {
    let paths = scope.strategy().selectable_paths();
    for requirement in fields.requirements() {
        let field = requirement.field.as_str();
        if matches!(field, "metadata.name" | "metadata.namespace") || paths.iter().any(|path| path == field) {
            continue;
        }
        return Err(Status::bad_request(if paths.is_empty() {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        } else {
            format!("field label not supported: {field}")
        }));
    }
    Ok(())
}

impl Scope {
    /// The watch cache of what is stored.
    pub fn cache(&self) -> Arc<ResourceCache> {
        let storage = &self.resource.storage;
        self.store.resource(storage, self.resources.attributes_of(storage))
    }
}
