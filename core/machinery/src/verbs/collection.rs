//! Delete of a collection: lists it, deletes what was listed, answers the list (apiserver
//! `pkg/registry/generic/registry/store.go`).
//!
//! Invariant: only the incarnations that were listed are deleted; what was created since is left alone. It is not atomic.

use futures::{TryStreamExt, stream};
use triune_api::{meta, status::Status};
use triune_store::types::StoredObject;

use super::{delete, list_options::ListOptions, options::DeleteOptions, read::list_items, scope::Scope};
use crate::{body::Response, handler::RequestBody};

/// Deletes that run at the same time.
const PARALLEL_MAX: usize = 16;

/// Answers DELETE of a collection.
pub async fn delete_collection(scope: &Scope, body: RequestBody) -> Result<Response, Status> {
    let output = scope.output()?;
    let listing = ListOptions::parse(&scope.query, false, scope.name())?;
    let options = delete::read_options(scope, body).await?;
    let (list, items) = list_items(scope, &listing).await?;
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
            delete_item(scope, &options, stored).await
        })
        .await?;
    let shown = items.iter().map(|entry| (entry.revision, &entry.body));
    scope.view().list_answer(&scope.resource.list_kind, &output, &list, shown)
}

/// Deletes one; what is gone already is no error.
async fn delete_item(scope: &Scope, options: &DeleteOptions, stored: StoredObject) -> Result<(), Status> {
    delete::delete_object(scope, options, stored).await.map(|_| ())
}
