//! Delete of a collection: lists it, deletes what was listed, answers the list (apiserver
//! `pkg/registry/generic/registry/store.go`).
//!
//! Invariant: only the incarnations that were listed are deleted, and only while the selectors select them: what was
//! created or relabelled since is left alone. It is not atomic.

use futures::{TryStreamExt, stream};
use triune_api::{meta, status::Status};
use triune_store::types::StoredObject;

use super::{delete, list_options::ListOptions, read::list_items, scope::Scope};
use crate::{body::Response, handler::RequestBody};

/// Deletes that run at the same time.
const PARALLEL_MAX: usize = 16;

/// Answers DELETE of a collection.
pub async fn delete_collection(scope: &Scope, body: RequestBody) -> Result<Response, Status> {
    let output = scope.output()?;
    let listing = ListOptions::parse(&scope.query, false, scope.name())?;
    let options = delete::read_options(scope, body).await?;
    let (list, items) = list_items(scope, &listing).await?;
    let attributes = scope.resources.attributes_of(&scope.resource.storage);
    stream::iter(items.iter().map(Ok::<_, Status>))
        .try_for_each_concurrent(PARALLEL_MAX, |entry| async {
            let tree = meta::body_to_value(&entry.body).map_err(super::answer::corrupt)?;
            let stored = StoredObject {
                revision: entry.revision,
                created: entry.revision,
                uid: meta::uid(&tree).into(),
                terminating: meta::deletion_timestamp(&tree).is_some(),
                body: entry.body.clone(),
            };
            // A race lost to somebody who relabelled it: it is no longer of the collection.
            let selected = |now: &StoredObject| {
                let attributes = attributes.attributes_of(&entry.key, &now.body);
                listing.labels.matches(&attributes.labels) && listing.fields.matches(&attributes.fields)
            };
            // What is gone already is no error.
            delete::delete_object(scope, &options, stored, selected).await.map(|_| ())
        })
        .await?;
    let encoding = scope.encodings.number(&scope.resource.gvk, &output);
    scope.view().list_answer(&scope.resource.list_kind, &output, encoding, &list, &items).await
}
