//! Creates the bootstrap objects that are missing. What is there is left alone, users' changes included, except where the
//! `kubernetes` service points: that is this server's to say. Several servers may do this at once.

use std::sync::Arc;

use futures::{StreamExt, stream};
use triune_api::{
    Value, meta,
    names::{GroupVersion, ObjectKey},
    time,
};
use triune_env::Env;
use triune_machinery::registry::Resource;
use triune_store::{
    Store,
    types::{Change, ClaimChange, Expect, StoredObject, Write, WriteError},
};

use crate::tree;

/// Commits under way at a time: enough to share the fsyncs of a group commit.
const COMMITS_MAX: usize = 64;

/// An object could not be created.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// No resource serves its kind.
    #[error("no resource serves {0}")]
    UnknownKind(String),
    /// The store refused it.
    #[error("{key}: {error}")]
    Write {
        /// Resource, namespace and name.
        key: String,
        /// Why.
        error: WriteError,
    },
}

/// Creates what is missing; how many objects that were.
pub async fn ensure_bootstrap(
    env: &Env,
    store: &Store,
    resources: &[impl AsRef<Resource>],
    objects: Vec<Value>,
) -> Result<usize, BootstrapError> {
    let mut writes = Vec::with_capacity(objects.len());
    for object in objects {
        let group_version = GroupVersion::parse(meta::api_version(&object));
        let serves = |resource: &&Resource| {
            Some(resource.gvk.group_version()) == group_version && &*resource.gvk.kind == meta::kind(&object)
        };
        let Some(resource) = resources.iter().map(AsRef::as_ref).find(serves) else {
            return Err(BootstrapError::UnknownKind(meta::kind(&object).into()));
        };
        writes.push(creation(env, resource, object));
    }
    let mut outcomes = stream::iter(writes.into_iter().map(|write| apply(store, write))).buffer_unordered(COMMITS_MAX);
    let mut created = 0;
    while let Some(outcome) = outcomes.next().await {
        created += usize::from(outcome?);
    }
    Ok(created)
}

/// The write that creates an object, with completed metadata.
fn creation(env: &Env, resource: &Resource, mut object: Value) -> Write {
    let uid = env.entropy.uuid();
    meta::set_uid(&mut object, &uid);
    meta::set_creation_timestamp(&mut object, &time::rfc3339(env.clock.wall()));
    if resource.strategy.uses_generation() {
        meta::set_generation(&mut object, 1);
    }
    if let Some(schema) = &resource.schema {
        schema.normalise(&mut object);
    }
    let key = ObjectKey::new(resource.storage.clone(), meta::namespace(&object), meta::name(&object));
    let uid: Arc<str> = uid.into();
    let claims = resource.strategy.claims(&key, &object).into_iter();
    let claims = claims.map(|(space, name)| ClaimChange { space, name, holder: uid.clone(), release: false }).collect();
    let object = match resource.strategy.served_to_storage() {
        Some(convert) => convert(object),
        None => object,
    };
    let body = meta::split_body(object);
    let change = Change::Put { body, uid, terminating: false, time_to_live: None };
    Write { key, expect: Expect::Absent, change, fences: Vec::new(), claims }
}

/// Whether the object was created.
async fn apply(store: &Store, write: Write) -> Result<bool, BootstrapError> {
    let error = |error| {
        let key = &write.key;
        Err(BootstrapError::Write { key: format!("{} {}/{}", key.resource, key.namespace, key.name), error })
    };
    match store.commit(write.clone()).await {
        Ok(_) => Ok(true),
        Err(WriteError::Expectation(Some(there))) => match replacement(&write, *there) {
            None => Ok(false),
            Some(replacement) => match store.commit(replacement).await {
                // Whoever came in between said where the service points, or knows better.
                Ok(_) | Err(WriteError::Expectation(_)) => Ok(false),
                Err(why) => error(why),
            },
        },
        // Deleted again in the meantime: as its deleter wants it. Or another object has the address: as it was given.
        Err(WriteError::Expectation(None) | WriteError::Claimed { .. }) => Ok(false),
        Err(why) => error(why),
    }
}

/// The endpoints of the `kubernetes` service, where they point elsewhere. Their metadata stays what it is.
fn replacement(write: &Write, there: StoredObject) -> Option<Write> {
    let is_endpoints = matches!(&*write.key.resource.resource, "endpoints" | "endpointslices");
    let Change::Put { body, .. } = &write.change else { return None };
    if !is_endpoints {
        return None;
    }
    let (ours, mut theirs) = (meta::body_to_value(body).ok()?, meta::body_to_value(&there.body).ok()?);
    let fields = ["subsets", "endpoints", "ports", "addressType"];
    if fields.iter().all(|field| ours.get(field) == theirs.get(field)) {
        return None;
    }
    for field in fields {
        tree::copy_field(&ours, &mut theirs, field);
    }
    let change = Change::Put {
        body: meta::split_body(theirs),
        uid: there.uid,
        terminating: there.terminating,
        time_to_live: None,
    };
    let expect = Expect::Revision(there.revision);
    Some(Write { key: write.key.clone(), expect, change, fences: Vec::new(), claims: Vec::new() })
}
