//! Creates the bootstrap objects that are missing. What is there is left alone, users' changes included, except where the
//! `kubernetes` service points: that is this server's to say. Several servers may do this at once.
//!
//! Keeps D1: an object in a namespace is created in a transaction that saw the namespace. Whoever creates the namespaces
//! does so at the same time, so others wait for them.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use triune_api::{
    Value, meta,
    names::{GroupResource, GroupVersion, ObjectKey},
    time,
};
use triune_env::Env;
use triune_machinery::registry::Resource;
use triune_store::{
    Store,
    types::{Change, ClaimChange, Expect, Fence, FenceFound, StoredObject, Write, WriteError},
};

use crate::tree;

/// Commits under way at a time: enough to share the fsyncs of a group commit.
const COMMITS_MAX: usize = 64;
/// Time for the namespaces, and for a storage that does not answer, as the reference's hooks have it.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// First pause between looks for a namespace, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

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
    // Namespaces first, so that those who wait for one never keep its creation waiting.
    writes.sort_by_key(|write| !write.fences.is_empty());
    let writes = writes.into_iter().map(|write| apply(env, store, write));
    let mut outcomes = stream::iter(writes).buffer_unordered(COMMITS_MAX);
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
    let namespaces = GroupResource::new("", "namespaces");
    let fence = |namespace: &str| Fence { key: ObjectKey::new(namespaces, "", namespace), uid: None };
    let fences = Some(&*key.namespace).filter(|namespace| !namespace.is_empty()).map(fence);
    Write { key, expect: Expect::Absent, change, fences: fences.into_iter().collect(), claims }
}

/// Creates an object; waits for its namespace, and for the storage.
async fn create(env: &Env, store: &Store, write: &Write) -> Result<(), WriteError> {
    let deadline = env.clock.now() + WAIT_MAX;
    let mut pause = PAUSES.0;
    loop {
        let Err(error) = store.commit(write.clone()).await else { return Ok(()) };
        let passes = matches!(
            error,
            WriteError::Fence { found: FenceFound::Missing | FenceFound::Terminating, .. } | WriteError::Unavailable(_)
        );
        if !passes || env.clock.now() + pause >= deadline {
            return Err(error);
        }
        env.sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Whether the object was created.
async fn apply(env: &Env, store: &Store, write: Write) -> Result<bool, BootstrapError> {
    let error = |error| {
        let key = &write.key;
        Err(BootstrapError::Write { key: format!("{} {}/{}", key.resource, key.namespace, key.name), error })
    };
    match create(env, store, &write).await {
        Ok(()) => Ok(true),
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
