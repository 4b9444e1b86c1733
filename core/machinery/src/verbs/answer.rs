//! Answers that show objects: stored bytes behind a new head, gathered into few chunks, never decoded unless the client
//! asks for another form (apiserver `pkg/endpoints/handlers/response.go`).
//!
//! Invariant W19: GET, LIST and WATCH show the same bytes of an object at a revision, minus type and list wrapper.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use triune_api::{Value, meta, names::GroupVersionKind, status::Status};
use triune_schema::TypeRef;
use triune_store::{EncodingId, Entry, Revision};

use super::{
    messages::tree_in_protobuf,
    output::{IncludeObject, MetaVersion, Output, Shape},
    table,
};
use crate::{
    accept::MediaType,
    body::{Body, Response},
    registry::{Resource, Strategy},
    respond::{bytes_response, status_answer, to_json, to_yaml},
};

/// Size of the chunks that small objects are gathered into.
const CHUNK_BYTES: usize = 128 * 1024;
/// Bodies from this size on are chunks of their own and not copied.
const PASSED_ON_BYTES_MIN: usize = 64 * 1024;

/// Shows stored objects of one resource in one version.
pub struct View<'a> {
    /// The type that is shown.
    pub gvk: &'a GroupVersionKind,
    /// Columns, cells, conversion.
    pub strategy: &'a dyn Strategy,
    /// Wall time, for ages.
    pub now: jiff::Timestamp,
    /// The type in the facts.
    pub(super) schema: Option<&'a TypeRef>,
    type_prefix: Bytes,
}

/// How a table is shown.
struct TableForm {
    version: MetaVersion,
    include: IncludeObject,
    with_columns: bool,
    /// The name that is marked as the default one's.
    marked: Option<String>,
}

/// The `metadata` of a list.
#[derive(Debug, Clone, Default)]
pub struct ListMeta {
    /// The revision at which every item is shown.
    pub revision: Revision,
    /// Token of the next page.
    pub continue_token: Option<String>,
    /// How many items are left.
    pub remaining: Option<u64>,
}

impl<'a> View<'a> {
    /// Shows objects of `resource`.
    pub fn new(resource: &'a Resource, now: jiff::Timestamp) -> View<'a> {
        View {
            gvk: &resource.gvk,
            strategy: &*resource.strategy,
            now,
            schema: resource.schema.as_ref(),
            type_prefix: meta::type_prefix(&resource.gvk),
        }
    }

    /// The tree of a stored object in the version shown, with type and revision.
    pub fn tree(&self, revision: Revision, body: &[u8]) -> Result<Value, Status> {
        let tree = meta::to_value(self.gvk, revision.0, body).map_err(corrupt)?;
        let Some(convert) = self.strategy.storage_to_served() else { return Ok(tree) };
        let mut tree = convert(tree);
        meta::set_type(&mut tree, self.gvk);
        Ok(tree)
    }

    /// The stored form in the version shown: the stored bytes themselves unless a conversion lies between.
    fn body<'b>(&self, body: &'b Bytes) -> Result<Cow<'b, Bytes>, Status> {
        match self.strategy.storage_to_served() {
            None => Ok(Cow::Borrowed(body)),
            Some(convert) => {
                let tree = meta::body_to_value(body).map_err(corrupt)?;
                Ok(Cow::Owned(meta::split_body(convert(tree))))
            }
        }
    }

    /// The answer that shows one object.
    pub fn object_answer(
        &self,
        code: u16,
        output: &Output,
        revision: Revision,
        body: &Bytes,
    ) -> Result<Response, Status> {
        if let (MediaType::Protobuf, Some(facts)) = (output.media, &output.facts) {
            if matches!(output.shape, Shape::PartialList(_)) {
                return Err(self.no_list());
            }
            let object = self.object_in_protobuf(facts, output.shape, revision, body)?;
            return Ok(bytes_response(code, MediaType::Protobuf.as_str(), object));
        }
        let mut chunks = Chunks::new(body.len().min(CHUNK_BYTES) + 256);
        match output.shape {
            Shape::Object => chunks.object(&self.type_prefix, revision, &*self.body(body)?),
            Shape::Partial(version) => append_partial(chunks.room(body.len()), version, revision, body),
            Shape::PartialList(_) => return Err(self.no_list()),
            Shape::Table(version, include) => {
                let list = ListMeta { revision, ..ListMeta::default() };
                let form = TableForm { version, include, with_columns: true, marked: None };
                self.table(&mut chunks, &form, &list, std::iter::once((revision, body)))?;
            }
        }
        Ok(chunks.answer(code, output))
    }

    /// The answer that shows a list. `encoding` names the form among those that entries keep.
    pub async fn list_answer(
        &self,
        list_kind: &str,
        output: &Output,
        encoding: Option<EncodingId>,
        list: &ListMeta,
        entries: &[Arc<Entry>],
    ) -> Result<Response, Status> {
        if matches!(output.shape, Shape::Partial(_)) {
            return Err(self.no_single_object(list_kind));
        }
        if let (MediaType::Protobuf, Some(facts), Some(encoding)) = (output.media, &output.facts, encoding) {
            return self.list_in_protobuf(facts, list_kind, output.shape, encoding, list, entries).await;
        }
        let mut chunks = Chunks::new(4096);
        let items = entries.iter().map(|entry| (entry.revision, &entry.body));
        match output.shape {
            Shape::Object => {
                let gvk = GroupVersionKind { kind: list_kind.into(), ..self.gvk.clone() };
                append_list_head(chunks.room(0), &meta::type_prefix(&gvk), list);
                let prefix = if self.strategy.list_items_carry_type() { &self.type_prefix[..] } else { b"{" };
                for (index, (revision, body)) in items.enumerate() {
                    chunks.separator(index);
                    chunks.object(prefix, revision, &*self.body(body)?);
                }
                chunks.room(2).extend_from_slice(b"]}");
            }
            Shape::Partial(version) | Shape::PartialList(version) => {
                let kind =
                    format!("{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"{}\",", version.api_version());
                let mut items = items.peekable();
                if items.peek().is_none() {
                    // As the reference: Go's list of partial objects is never made.
                    append_list_start(chunks.room(0), kind.as_bytes(), list);
                    chunks.room(5).extend_from_slice(b"null}");
                } else {
                    append_list_head(chunks.room(0), kind.as_bytes(), list);
                    for (index, (revision, body)) in items.enumerate() {
                        chunks.separator(index);
                        append_partial(chunks.room(metadata_end(body)), version, revision, body);
                    }
                    chunks.room(2).extend_from_slice(b"]}");
                }
            }
            Shape::Table(version, include) => {
                let items: Vec<_> = items.collect();
                let marked = self.marked(&items)?;
                let form = TableForm { version, include, with_columns: true, marked };
                self.table(&mut chunks, &form, list, items.into_iter())?;
            }
        }
        Ok(chunks.answer(200, output))
    }

    /// The `object` of a watch event, appended to `out`. `with_columns` says whether a table names its columns.
    pub fn append_event_object(
        &self,
        out: &mut Vec<u8>,
        shape: Shape,
        with_columns: bool,
        revision: Revision,
        body: &Bytes,
    ) -> Result<(), Status> {
        match shape {
            Shape::Object => meta::append_object(out, &self.type_prefix, revision.0, &self.body(body)?),
            Shape::Partial(version) | Shape::PartialList(version) => append_partial(out, version, revision, body),
            Shape::Table(version, include) => {
                let mut chunks = Chunks::new(body.len() + 512);
                let list = ListMeta { revision, ..ListMeta::default() };
                let form = TableForm { version, include, with_columns, marked: None };
                self.table(&mut chunks, &form, &list, std::iter::once((revision, body)))?;
                chunks.finish().iter().for_each(|chunk| out.extend_from_slice(chunk));
            }
        }
        Ok(())
    }

    fn table<'b>(
        &self,
        chunks: &mut Chunks,
        form: &TableForm,
        list: &ListMeta,
        items: impl Iterator<Item = (Revision, &'b Bytes)>,
    ) -> Result<(), Status> {
        let columns = self.strategy.columns();
        let version = form.version;
        table::append_head(chunks.room(0), version, list, form.with_columns.then_some(&columns));
        for (index, (revision, body)) in items.enumerate() {
            chunks.separator(index);
            let tree = self.tree(revision, body)?;
            let mut cells = self.strategy.cells(&tree, self.now);
            if let (Some(marked), Some(Value::String(name))) = (&form.marked, cells.first_mut())
                && *name == *marked
            {
                name.push_str(" (default)");
            }
            table::append_cells(chunks.room(512), &cells, &self.strategy.row_conditions(&tree));
            match form.include {
                IncludeObject::None => chunks.room(4).extend_from_slice(b"null"),
                IncludeObject::Metadata => append_partial(chunks.room(metadata_end(body)), version, revision, body),
                IncludeObject::Object => chunks.object(&self.type_prefix, revision, &*self.body(body)?),
            }
            chunks.room(1).push(b'}');
        }
        chunks.room(2).extend_from_slice(b"]}");
        Ok(())
    }

    fn no_list(&self) -> Status {
        let found = self.go_type(&self.gvk.kind);
        let text = format!("you requested PartialObjectMetadataList, but the requested object is not a list ({found})");
        Status::new(406, "NotAcceptable", text)
    }

    fn no_single_object(&self, list_kind: &str) -> Status {
        let found = self.go_type(list_kind);
        let text = format!("you requested PartialObjectMetadata, but the requested object is a list ({found})");
        Status::new(406, "NotAcceptable", text)
    }

    /// The name of the object of a list that is marked as the default one.
    fn marked(&self, items: &[(Revision, &Bytes)]) -> Result<Option<String>, Status> {
        if !self.strategy.marks_default() {
            return Ok(None);
        }
        let trees = items.iter().map(|(revision, body)| self.tree(*revision, body)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.strategy.default_of(&trees).map(|object| meta::name(object).to_string()))
    }

    /// As Go prints the type in errors: `*v1.Pod`.
    fn go_type(&self, kind: &str) -> String {
        format!("*{}.{kind}", self.gvk.version)
    }
}

/// What is stored is no object: it was not written by this server.
pub fn corrupt(error: triune_api::decode::DecodeError) -> Status {
    Status::internal(format!("unable to decode a stored object: {error}"))
}

/// The answer that shows a tree which is not stored as such, such as a `Scale`; a `Status` whatever type was asked
/// for. `now` is wall time, for ages.
pub fn value_answer(code: u16, output: &Output, value: &Value, now: jiff::Timestamp) -> Response {
    let is_status = (meta::api_version(value), meta::kind(value)) == ("v1", "Status");
    let shown = match output.shape {
        _ if is_status => Cow::Borrowed(value),
        Shape::Object => Cow::Borrowed(value),
        Shape::Partial(version) | Shape::PartialList(version) => Cow::Owned(partial(version, value)),
        Shape::Table(version, include) => Cow::Owned(table::of_value(version, include, value, now)),
    };
    tree_answer(code, output, &shown)
}

fn tree_answer(code: u16, output: &Output, tree: &Value) -> Response {
    match (output.media, &output.facts) {
        (MediaType::Yaml, _) => bytes_response(code, MediaType::Yaml.as_str(), to_yaml(tree)),
        (MediaType::Protobuf, Some(facts)) => match tree_in_protobuf(facts, tree) {
            Ok(object) => bytes_response(code, MediaType::Protobuf.as_str(), object),
            Err(status) => status_answer(&HeaderMap::new(), "", &status),
        },
        _ => bytes_response(code, MediaType::Json.as_str(), to_json(tree, output.pretty)),
    }
}

/// A tree's metadata as `PartialObjectMetadata`.
pub fn partial(version: MetaVersion, value: &Value) -> Value {
    serde_json::json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": version.api_version(),
        "metadata": value.get("metadata").cloned().unwrap_or_else(|| serde_json::json!({})),
    })
}

fn append_partial(out: &mut Vec<u8>, version: MetaVersion, revision: Revision, body: &[u8]) {
    let prefix: &[u8] = match version {
        MetaVersion::V1 => b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",",
        MetaVersion::V1Beta1 => b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1beta1\",",
    };
    let metadata = body.get(..metadata_end(body)).unwrap_or_default();
    meta::append_object(out, prefix, revision.0, metadata);
    out.push(b'}');
}

/// Where `"metadata":{...}` at the start of a stored body ends.
pub fn metadata_end(body: &[u8]) -> usize {
    let (mut depth, mut in_string, mut index) = (0usize, false, 0);
    while let Some(byte) = body.get(index) {
        index += 1;
        match byte {
            b'\\' if in_string => index += 1,
            b'"' => in_string = !in_string,
            b'{' if !in_string => depth += 1,
            b'}' if !in_string => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index;
                }
            }
            _ => {}
        }
    }
    body.len()
}

fn append_list_head(out: &mut Vec<u8>, prefix: &[u8], list: &ListMeta) {
    append_list_start(out, prefix, list);
    out.push(b'[');
}

/// Appends a list up to the value of its `items`.
fn append_list_start(out: &mut Vec<u8>, prefix: &[u8], list: &ListMeta) {
    out.extend_from_slice(prefix);
    append_list_meta(out, list);
    out.extend_from_slice(b",\"items\":");
}

/// Appends `"metadata":{...}` of a list.
pub fn append_list_meta(out: &mut Vec<u8>, list: &ListMeta) {
    out.extend_from_slice(b"\"metadata\":{\"resourceVersion\":\"");
    meta::append_decimal(out, list.revision.0);
    out.push(b'"');
    if let Some(token) = &list.continue_token {
        // Tokens are base64: nothing in them needs an escape.
        out.extend_from_slice(b",\"continue\":\"");
        out.extend_from_slice(token.as_bytes());
        out.push(b'"');
        if let Some(remaining) = list.remaining {
            out.extend_from_slice(b",\"remainingItemCount\":");
            meta::append_decimal(out, remaining);
        }
    }
    out.push(b'}');
}

/// Gathers small pieces into chunks.
pub(super) struct Chunks {
    done: VecDeque<Bytes>,
    current: Vec<u8>,
}

impl Chunks {
    pub(super) fn new(capacity: usize) -> Chunks {
        Chunks { done: VecDeque::new(), current: Vec::with_capacity(capacity) }
    }

    /// Where `length` bytes, more or less, are to be appended.
    pub(super) fn room(&mut self, length: usize) -> &mut Vec<u8> {
        if self.current.len() + length > CHUNK_BYTES && !self.current.is_empty() {
            self.flush(CHUNK_BYTES.max(length + 256));
        }
        &mut self.current
    }

    fn flush(&mut self, capacity: usize) {
        let full = std::mem::replace(&mut self.current, Vec::with_capacity(capacity));
        self.done.push_back(Bytes::from(full));
    }

    fn separator(&mut self, index: usize) {
        if index > 0 {
            self.current.push(b',');
        }
    }

    /// An object: head and stored bytes.
    fn object(&mut self, prefix: &[u8], revision: Revision, body: &Bytes) {
        if body.len() < PASSED_ON_BYTES_MIN {
            let room = self.room(body.len() + prefix.len() + 64);
            return meta::append_object(room, prefix, revision.0, body);
        }
        let [head, rest] = meta::join(prefix, revision.0, body);
        self.current.extend_from_slice(&head);
        self.flush(CHUNK_BYTES);
        self.done.push_back(rest);
    }

    /// Bytes that are there already: copied if they are few.
    pub(super) fn bytes(&mut self, bytes: Bytes) {
        if bytes.len() < PASSED_ON_BYTES_MIN {
            self.room(bytes.len()).extend_from_slice(&bytes);
        } else {
            self.flush(CHUNK_BYTES);
            self.done.push_back(bytes);
        }
    }

    fn finish(mut self) -> VecDeque<Bytes> {
        if !self.current.is_empty() {
            self.done.push_back(Bytes::from(self.current));
        }
        self.done
    }

    /// The answer; JSON bytes are read once more where the client wants another form.
    fn answer(mut self, code: u16, output: &Output) -> Response {
        if !output.is_plain() {
            let all: Vec<u8> = self.finish().iter().flat_map(|chunk| chunk.iter().copied()).collect();
            let value: Value = serde_json::from_slice(&all).unwrap_or_default();
            return match output.media {
                MediaType::Yaml => bytes_response(code, MediaType::Yaml.as_str(), to_yaml(&value)),
                _ => bytes_response(code, MediaType::Json.as_str(), to_json(&value, output.pretty)),
            };
        }
        self.room(1).push(b'\n');
        self.plain_answer(code, MediaType::Json)
    }

    /// The answer, as it is.
    pub(super) fn plain_answer(self, code: u16, media: MediaType) -> Response {
        let body = Body::Chunks(self.finish());
        let length = body.known_length().unwrap_or_default();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media.as_str()));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_ends_at_its_brace() {
        let check = |body: &str, expect: &str| assert_eq!(&body[..metadata_end(body.as_bytes())], expect);
        check(r#""metadata":{},"a":1}"#, r#""metadata":{}"#);
        check(r#""metadata":{"a":{"b":"}\"}\\"},"c":"{"},"d":{}}"#, r#""metadata":{"a":{"b":"}\"}\\"},"c":"{"}"#);
        check(r#""metadata":{"a"#, r#""metadata":{"a"#);
    }

    #[test]
    fn small_pieces_share_chunks() {
        let small = Bytes::from(format!("\"metadata\":{{\"a\":\"{}\"}}}}", "x".repeat(1000)));
        let large = Bytes::from(format!("\"metadata\":{{\"a\":\"{}\"}}}}", "x".repeat(PASSED_ON_BYTES_MIN)));
        let mut chunks = Chunks::new(16);
        let mut expect = Vec::new();
        for index in 0..400 {
            let body = if index == 200 { &large } else { &small };
            chunks.separator(index);
            chunks.object(b"{", Revision(index as u64), body);
            if index > 0 {
                expect.push(b',');
            }
            meta::append_object(&mut expect, b"{", index as u64, body);
        }
        let done = chunks.finish();
        assert!(done.len() < 8, "{} chunks for {} bytes", done.len(), expect.len());
        assert_eq!(done.iter().flatten().copied().collect::<Vec<u8>>(), expect);
    }
}
