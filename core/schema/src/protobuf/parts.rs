//! What is written without the facts of a type: `v1 Status`, lists around the messages of their items, events of watches
//! (apimachinery `pkg/runtime/serializer/protobuf/collections.go`, `pkg/util/framer`).
//!
//! Held by `tests`: the same bytes as by the facts.

use serde_json::Value;

use super::{Envelope, PREFIX, wire};

/// What follows the message in an [`Envelope`]: content encoding and type, both empty.
pub(super) const ENVELOPE_END: &[u8] = &[0x1A, 0, 0x22, 0];

/// A `v1 Status` as an object: errors are answered where no registry, and so no facts, are known.
pub fn status(status: &Value) -> Vec<u8> {
    let text = |value: Option<&Value>, field: &str| {
        value.and_then(|value| value.get(field)?.as_str()).unwrap_or_default().to_owned()
    };
    let number = |value: &Value, field: &str| value.get(field).and_then(Value::as_i64).unwrap_or_default() as u64;
    let mut message = Vec::with_capacity(256);
    let metadata = status.get("metadata");
    let (revision, token) = (text(metadata, "resourceVersion"), text(metadata, "continue"));
    let remaining = metadata.and_then(|metadata| metadata.get("remainingItemCount")?.as_u64());
    wire::nested(&mut message, 1, |out| list_metadata(out, &revision, &token, remaining));
    for (tag, field) in [(2, "status"), (3, "message"), (4, "reason")] {
        wire::bytes(&mut message, tag, text(Some(status), field).as_bytes());
    }
    if let Some(details) = status.get("details") {
        wire::nested(&mut message, 5, |out| {
            for (tag, field) in [(1, "name"), (2, "group"), (3, "kind")] {
                wire::bytes(out, tag, text(Some(details), field).as_bytes());
            }
            for cause in details.get("causes").and_then(Value::as_array).into_iter().flatten() {
                wire::nested(out, 4, |out| {
                    for (tag, field) in [(1, "reason"), (2, "message"), (3, "field")] {
                        wire::bytes(out, tag, text(Some(cause), field).as_bytes());
                    }
                });
            }
            wire::number(out, 5, number(details, "retryAfterSeconds"));
            wire::bytes(out, 6, text(Some(details), "uid").as_bytes());
        });
    }
    wire::number(&mut message, 6, number(status, "code"));
    Envelope { api_version: "v1".into(), kind: "Status".into(), message: &message }.seal()
}

/// A list: its type and `metadata`.
#[derive(Debug, Clone, Default)]
pub struct List<'a> {
    /// `apiVersion`.
    pub api_version: &'a str,
    /// `kind`.
    pub kind: &'a str,
    /// `metadata.resourceVersion`.
    pub revision: &'a str,
    /// `metadata.continue`.
    pub continue_token: &'a str,
    /// `metadata.remainingItemCount`.
    pub remaining: Option<u64>,
    /// Items are field 1 and come before the metadata, which is field 2: lists of `meta.k8s.io/v1beta1`. In all others it
    /// is the other way round.
    pub items_first: bool,
}

impl List<'_> {
    /// Everything before the first item; `items_bytes` is the sum of [`List::item_bytes`] of all items.
    pub fn head(&self, items_bytes: usize) -> Vec<u8> {
        let metadata = self.metadata();
        let mut head = Vec::with_capacity(metadata.len() + self.api_version.len() + self.kind.len() + 32);
        head.extend_from_slice(PREFIX);
        wire::nested(&mut head, 1, |out| type_meta(out, self.api_version, self.kind));
        wire::length(&mut head, 2, metadata.len() + items_bytes);
        if !self.items_first {
            head.extend_from_slice(&metadata);
        }
        head
    }

    /// Appends what is before the message of an item.
    pub fn item_head(&self, out: &mut Vec<u8>, message_bytes: usize) {
        wire::length(out, if self.items_first { 1 } else { 2 }, message_bytes);
    }

    /// How long an item with a message of this length is.
    pub fn item_bytes(message_bytes: usize) -> usize {
        let mut length = Vec::with_capacity(10);
        wire::varint(&mut length, message_bytes as u64);
        1 + length.len() + message_bytes
    }

    /// Everything after the last item.
    pub fn end(&self) -> Vec<u8> {
        let mut end = if self.items_first { self.metadata() } else { Vec::new() };
        end.extend_from_slice(ENVELOPE_END);
        end
    }

    fn metadata(&self) -> Vec<u8> {
        let mut metadata = Vec::with_capacity(64);
        wire::nested(&mut metadata, if self.items_first { 2 } else { 1 }, |out| {
            list_metadata(out, self.revision, self.continue_token, self.remaining);
        });
        metadata
    }
}

/// An event of a watch that shows an object: four bytes of length, then a `meta/v1 WatchEvent` without an envelope, in
/// which the object has one. `event_type` is such as `ADDED`.
pub fn watch_event(event_type: &str, object: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(object.len() + 32);
    frame.extend_from_slice(&[0; 4]);
    wire::bytes(&mut frame, 1, event_type.as_bytes());
    let mut raw = Vec::with_capacity(10);
    wire::length(&mut raw, 1, object.len());
    wire::length(&mut frame, 2, raw.len() + object.len());
    frame.extend_from_slice(&raw);
    frame.extend_from_slice(object);
    // Objects are bounded far below 4 GiB.
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// The fields of a `runtime.TypeMeta`.
pub(super) fn type_meta(out: &mut Vec<u8>, api_version: &str, kind: &str) {
    wire::bytes(out, 1, api_version.as_bytes());
    wire::bytes(out, 2, kind.as_bytes());
}

/// The fields of a `meta/v1 ListMeta`.
fn list_metadata(out: &mut Vec<u8>, revision: &str, continue_token: &str, remaining: Option<u64>) {
    // A self link, which is always empty.
    wire::bytes(out, 1, b"");
    wire::bytes(out, 2, revision.as_bytes());
    wire::bytes(out, 3, continue_token.as_bytes());
    if let Some(remaining) = remaining {
        wire::number(out, 4, remaining);
    }
}
