//! What one request is about: the resource, its objects' keys, and how reads and refusals of the store become answers.

use std::sync::Arc;

use http::HeaderMap;
use triune_api::{
    Value,
    names::{GroupResource, GroupVersionKind, ObjectKey},
    status::{Status, StatusDetails},
};
use triune_store::{
    Store,
    types::{Fence, FenceFound, ReadError, StoredObject, Write, WriteError},
};

use super::{
    answer::View,
    input::{Expected, InputMedia, decode_other},
    options::{FieldValidation, Query},
    output::{Known, Output},
    watch::Encodings,
};
use crate::{
    authorization::{Attributes, Decision, forbidden},
    context::Context,
    registry::{Resource, Strategy},
    resources::ResourcesSnapshot,
};

/// One request on one resource.
pub struct Scope {
    /// The request.
    pub context: Arc<Context>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its parameters.
    pub query: Query,
    /// What was served when it came.
    pub resources: Arc<ResourcesSnapshot>,
    /// The resource it addresses.
    pub resource: Arc<Resource>,
    /// Where its objects are.
    pub store: Arc<Store>,
    /// Names of the encodings that are shared between requests.
    pub encodings: Arc<Encodings>,
}

impl Scope {
    /// The namespace of the objects; "" for cluster-scoped ones and for all namespaces.
    pub fn namespace(&self) -> &str {
        if self.resource.namespaced { &self.context.info.namespace } else { "" }
    }

    /// The name in the URL.
    pub fn name(&self) -> &str {
        &self.context.info.name
    }

    /// Where an object of this name is stored.
    pub fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new(self.resource.storage.clone(), self.namespace(), name)
    }

    /// The resource as errors name it.
    pub fn group_resource(&self) -> GroupResource {
        self.resource.group_resource()
    }

    /// The main strategy.
    pub fn strategy(&self) -> &dyn Strategy {
        &*self.resource.strategy
    }

    /// Shows objects of the resource.
    pub fn view(&self) -> View<'_> {
        View::new(&self.resource, self.now())
    }

    /// Wall time.
    pub fn now(&self) -> jiff::Timestamp {
        triune_api::time::from_system(self.context.env.clock.wall())
    }

    /// The form of the answer.
    pub fn output(&self) -> Result<Output, Status> {
        Output::negotiate(&self.headers, &self.context.query, &self.query, self.known())
    }

    /// What is known of the types that the answer may show.
    pub fn known(&self) -> Known<'_> {
        Known { objects: self.resource.schema.is_some(), facts: self.resources.facts() }
    }

    /// In which form the body comes.
    pub fn input_media(&self) -> Result<InputMedia, Status> {
        InputMedia::of(&self.headers)
    }

    /// A body of another type than the resource's own, which is `gvk` if it does not say.
    pub fn decode_other(&self, gvk: &GroupVersionKind, body: &[u8]) -> Result<Value, Status> {
        decode_other(self.input_media()?, &self.resources, gvk, body)
    }

    /// What a body of the resource's own type must be.
    pub fn expected(&self, field_validation: FieldValidation) -> Expected<'_> {
        Expected {
            gvk: &self.resource.gvk,
            schema: self.resource.schema.as_ref(),
            resources: &self.resources,
            field_validation,
        }
    }

    /// Whether the user may create the object that their update or apply did not find; 403 if not.
    pub async fn authorize_create(&self) -> Result<(), Status> {
        let context = &self.context;
        let attributes =
            Attributes { verb: "create", query: "", ..Attributes::of(&context.user, &context.info, &context.query) };
        match context.authorizer.authorize(&attributes).get().await {
            Ok(Decision::Allow) => Ok(()),
            Ok(Decision::Deny(reason) | Decision::NoOpinion(reason)) => Err(forbidden(&attributes, &reason)),
            Err(error) => Err(Status::internal(error)),
        }
    }

    /// 404 for an object of this name.
    pub fn not_found(&self, name: &str) -> Status {
        Status::not_found(&self.group_resource(), name)
    }

    /// The newest state of an object.
    pub async fn read(&self, key: &ObjectKey) -> Result<Option<StoredObject>, Status> {
        self.store.get(key).await.map_err(|error| self.read_refused(error, "get"))
    }

    /// The newest state of an object, or 404.
    pub async fn read_existing(&self, key: &ObjectKey) -> Result<StoredObject, Status> {
        self.read(key).await?.ok_or_else(|| self.not_found(&key.name))
    }

    /// What the transaction of a write would say to its fences, for writes that are only tried.
    pub async fn try_fences(&self, fences: &[Fence], name: &str) -> Result<(), Status> {
        for fence in fences {
            let found = match self.read(&fence.key).await? {
                None => FenceFound::Missing,
                Some(object) if fence.uid.as_ref().is_some_and(|uid| *uid != object.uid) => FenceFound::OtherUid,
                Some(object) if object.terminating => FenceFound::Terminating,
                Some(_) => continue,
            };
            return Err(self.strategy().fencing().refusal(&self.group_resource(), name, fence, found));
        }
        Ok(())
    }

    /// The answer to a read that failed. `verb` is get, list or watch.
    pub fn read_refused(&self, error: ReadError, verb: &str) -> Status {
        match error {
            ReadError::TooLarge { asked, current } => Status::too_large_resource_version(asked.0, current.0, 1),
            ReadError::Compacted { .. } => Status::expired("The resourceVersion for the provided list is too old."),
            ReadError::ContinueExpired { token } => continue_expired(&token),
            ReadError::InvalidContinue(text) => Status::bad_request(text),
            ReadError::Unavailable(text) => self.unavailable(verb, &text),
            ReadError::Corrupt(text) => Status::internal(text),
        }
    }

    /// The answer to a write that failed for another reason than its expectation or a claim.
    pub fn write_refused(&self, error: WriteError, write: &Write, verb: &str) -> Status {
        let name = &write.key.name;
        match error {
            WriteError::Fence { index, found } => match write.fences.get(index) {
                Some(fence) => self.strategy().fencing().refusal(&self.group_resource(), name, fence, found),
                None => Status::internal("a fence that was not asked for is broken"),
            },
            WriteError::Expectation(_) | WriteError::Claimed { .. } => {
                Status::object_modified(&self.group_resource(), name)
            }
            WriteError::TooLarge(text) => Status::request_entity_too_large(text),
            WriteError::Unavailable(text) => self.unavailable(verb, &text),
            WriteError::Unknown => Status::timeout("it is not known whether the write took place", 0),
            WriteError::Corrupt(text) => Status::internal(text),
        }
    }

    /// The store is away for a while.
    fn unavailable(&self, verb: &str, why: &str) -> Status {
        tracing::warn!(verb, why, resource = %self.group_resource(), "storage is unavailable");
        let resource = self.group_resource();
        let text =
            format!("The {verb} operation against {resource} could not be completed at this time, please try again.");
        let mut status = Status::new(500, "ServerTimeout", text);
        status.details = Some(Box::new(StatusDetails {
            name: verb.into(),
            group: resource.group.to_string(),
            kind: resource.resource.to_string(),
            retry_after_seconds: 2,
            ..StatusDetails::default()
        }));
        status
    }
}

/// 410 with a token that goes on, inconsistently.
fn continue_expired(token: &str) -> Status {
    let text = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                without the continue parameter, or use the continue token in this response to retrieve the remainder of \
                the results. Continuing with the provided token results in an inconsistent list - objects that were \
                created, modified, or deleted between the time the first chunk was returned and now may show up in the \
                list.";
    Status::expired(text).with_continue(token)
}
