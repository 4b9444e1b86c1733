//! Objects, lists and events in protobuf: messages by the facts of their types, in the envelopes of the reference
//! (apimachinery `pkg/runtime/serializer/protobuf`).
//!
//! Invariant: a message says what the JSON of the same object says.

use std::sync::Arc;

use bytes::Bytes;
use triune_api::{
    Value, meta,
    names::{GroupVersion, GroupVersionKind},
    status::Status,
};
use triune_schema::{
    Facts, TypeRef,
    protobuf::{Envelope, List, watch_event},
};
use triune_store::{EncodingId, Entry, Revision, yield_now};

use super::{
    answer::{Chunks, ListMeta, View},
    output::{MetaVersion, Shape},
};
use crate::{accept::MediaType, body::Response};

/// Messages made in one go, of a list that nobody has asked for before.
const MESSAGES_BETWEEN_YIELDS: usize = 64;

/// A tree that names its type, as an object. Without `apiVersion` it is one of the kinds that every group has.
pub(crate) fn tree_in_protobuf(facts: &Arc<Facts>, tree: &Value) -> Result<Vec<u8>, Status> {
    let (api_version, kind) = (meta::api_version(tree), meta::kind(tree));
    let group_version = GroupVersion::parse(api_version).unwrap_or_else(|| GroupVersion::new("", "v1"));
    let declared = facts.type_of(&group_version.with_kind(kind)).ok_or_else(|| no_message(kind))?;
    let message = declared.encode_protobuf(tree);
    Ok(Envelope { api_version: api_version.into(), kind: kind.into(), message: &message }.seal())
}

fn no_message(kind: &str) -> Status {
    Status::new(406, "NotAcceptable", format!("{kind} has no form in protobuf"))
}

/// `PartialObjectMetadata` and its list.
fn meta_type(facts: &Arc<Facts>) -> Result<TypeRef, Status> {
    let gvk = GroupVersionKind::new("meta.k8s.io", "v1", "PartialObjectMetadata");
    facts.type_of(&gvk).ok_or_else(|| no_message("PartialObjectMetadata"))
}

impl View<'_> {
    /// A stored object in protobuf.
    pub(super) fn object_in_protobuf(
        &self,
        facts: &Arc<Facts>,
        shape: Shape,
        revision: Revision,
        body: &[u8],
    ) -> Result<Vec<u8>, Status> {
        let message = self.message(facts, shape, revision, body)?;
        let (api_version, kind) = self.shown_type(shape);
        Ok(Envelope { api_version, kind, message: &message }.seal())
    }

    /// The message of a state in the watch cache, which all who ask for it share.
    fn shared_message(
        &self,
        facts: &Arc<Facts>,
        shape: Shape,
        encoding: EncodingId,
        entry: &Entry,
    ) -> Result<Bytes, Status> {
        // Kept without what its buffer has to spare.
        let make = || Ok(self.message(facts, shape, entry.revision, &entry.body)?.into_boxed_slice().into());
        entry.encoded(encoding, make)
    }

    /// An event of a watch in protobuf.
    pub(super) fn event_in_protobuf(
        &self,
        facts: &Arc<Facts>,
        shape: Shape,
        encoding: EncodingId,
        event_type: &str,
        entry: &Entry,
    ) -> Result<Vec<u8>, Status> {
        let message = self.shared_message(facts, shape, encoding, entry)?;
        let (api_version, kind) = self.shown_type(shape);
        Ok(watch_event(event_type, &Envelope { api_version, kind, message: &message }.seal()))
    }

    /// A list in protobuf.
    pub(super) async fn list_in_protobuf(
        &self,
        facts: &Arc<Facts>,
        list_kind: &str,
        shape: Shape,
        encoding: EncodingId,
        list: &ListMeta,
        entries: &[Arc<Entry>],
    ) -> Result<Response, Status> {
        let mut messages = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            if index % MESSAGES_BETWEEN_YIELDS == MESSAGES_BETWEEN_YIELDS - 1 {
                yield_now().await;
            }
            messages.push(self.shared_message(facts, shape, encoding, entry)?);
        }
        let items_bytes = messages.iter().map(|message| List::item_bytes(message.len())).sum();
        let (api_version, _) = self.shown_type(shape);
        let revision = list.revision.0.to_string();
        let head = List {
            api_version: &api_version,
            kind: if shape == Shape::Object { list_kind } else { "PartialObjectMetadataList" },
            revision: &revision,
            continue_token: list.continue_token.as_deref().unwrap_or_default(),
            remaining: list.remaining.filter(|_| list.continue_token.is_some()),
            items_first: shape == Shape::PartialList(MetaVersion::V1Beta1),
        };
        let mut chunks = Chunks::new(4096);
        chunks.room(0).extend_from_slice(&head.head(items_bytes));
        for message in messages {
            head.item_head(chunks.room(message.len() + 8), message.len());
            chunks.bytes(message);
        }
        chunks.room(64).extend_from_slice(&head.end());
        Ok(chunks.plain_answer(200, MediaType::Protobuf))
    }

    /// The message of a stored object: straight from its text, unless a conversion lies between.
    fn message(&self, facts: &Arc<Facts>, shape: Shape, revision: Revision, body: &[u8]) -> Result<Vec<u8>, Status> {
        let declared = match (shape, self.schema) {
            (Shape::Object, Some(declared)) => declared.clone(),
            (Shape::Partial(_) | Shape::PartialList(_), _) => meta_type(facts)?,
            (Shape::Object | Shape::Table(..), _) => return Err(no_message(&self.gvk.kind)),
        };
        let is_converted = shape == Shape::Object && self.strategy.storage_to_served().is_some();
        let message = if is_converted { None } else { declared.encode_stored(body, revision.0) };
        message.map_or_else(|| Ok(declared.encode_protobuf(&self.tree(revision, body)?)), Ok)
    }

    /// `apiVersion` and `kind` of an object as it is shown.
    fn shown_type(&self, shape: Shape) -> (String, String) {
        match shape {
            Shape::Partial(version) | Shape::PartialList(version) => partial_type(version),
            Shape::Object | Shape::Table(..) => (self.gvk.api_version(), self.gvk.kind.to_string()),
        }
    }
}

fn partial_type(version: MetaVersion) -> (String, String) {
    (version.api_version().into(), "PartialObjectMetadata".into())
}
