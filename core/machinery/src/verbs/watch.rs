//! Watch: events as lines of JSON or in protobuf, encoded once for all watchers of a form (apiserver `pkg/endpoints/handlers/watch.go`).
//!
//! Invariants: events are sent in the order and with the revisions of the store (W7 to W11); a watch that cannot start at
//! its revision says so in the stream (410), as clients expect; the end of the body is the end of the watch; a client that
//! goes away ends it at once, since nothing runs on its behalf but the stream that it reads.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt, stream};
use http::{HeaderValue, header};
use triune_api::{Value, names::GroupVersionKind, status::Status};
use triune_env::BoxFuture;
use triune_schema::{Facts, protobuf};
use triune_store::{
    EncodingId, Entry, Revision, WatchItem, Watcher,
    types::{ReadError, WatchRequest},
};

use super::{
    answer::View,
    list_options::ListOptions,
    output::{Output, Shape},
    read::selection,
    scope::Scope,
};
use crate::{
    accept::MediaType,
    body::{Body, Response},
    context::Context,
    registry::Resource,
};

/// A watch without a timeout of its own ends after this long at the earliest, and twice this at the latest.
const TIMEOUT_MIN: Duration = Duration::from_secs(1800);
/// A last bookmark is sent this long before the end.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Events taken from the store in one go.
const BATCH_EVENTS_MAX: usize = 256;
/// Events that are ready are sent together up to this size.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Numbers of the encodings of objects and events that are shared between requests: one for each type and form.
#[derive(Default)]
pub struct Encodings(Mutex<BTreeMap<(GroupVersionKind, MediaType, &'static str), u32>>);

impl Encodings {
    /// The number of a form; None for tables, whose ages are those of the moment.
    pub fn number(&self, gvk: &GroupVersionKind, output: &Output) -> Option<EncodingId> {
        let form = match output.shape {
            Shape::Object => "",
            Shape::Partial(version) | Shape::PartialList(version) => version.api_version(),
            Shape::Table(..) => return None,
        };
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(numbers.len()).ok()?;
        Some(EncodingId(*numbers.entry((gvk.clone(), output.media, form)).or_insert(next)))
    }
}

/// Answers WATCH.
pub async fn watch(scope: &Scope) -> Result<Response, Status> {
    let output = Output::negotiate_watch(&scope.headers, &scope.query, scope.known())?;
    let options = ListOptions::parse(&scope.query, true, scope.name())?;
    let request = WatchRequest {
        selection: selection(scope, &options)?,
        from: options.watch_from()?,
        bookmarks: options.allow_bookmarks,
        initial_events_end: options.initial_events_end(),
    };
    let end = scope.context.env.clock.now() + timeout(&scope.context, &options);
    let mut events = Events {
        context: scope.context.clone(),
        resource: scope.resource.clone(),
        encoding: scope.encodings.number(&scope.resource.gvk, &output),
        output,
        columns_sent: false,
        watcher: None,
        ready: VecDeque::new(),
        end,
        bookmark_at: Some(end.checked_sub(BOOKMARK_BEFORE_END).unwrap_or(end)),
        alarm: None,
    };
    match scope.cache().watch(request).await {
        Ok(watcher) => events.watcher = Some(watcher),
        Err(error @ (ReadError::Compacted { .. } | ReadError::TooLarge { .. })) => events.fail(&error),
        Err(error) => return Err(scope.read_refused(error, "watch")),
    }
    let content_type = match events.output.media {
        MediaType::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        _ => MediaType::Json.as_str(),
    };
    let chunks = stream::unfold(events, |mut events| async move { Some((events.next_chunk().await?, events)) });
    let mut response = Response::new(Body::stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

fn timeout(context: &Context, options: &ListOptions) -> Duration {
    match options.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
        // No clock goes further than some centuries.
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.min(1 << 32)),
        _ => TIMEOUT_MIN + Duration::from_millis(context.env.entropy.u64() % TIMEOUT_MIN.as_millis() as u64),
    }
}

/// The events of one watch, as chunks.
struct Events {
    context: Arc<Context>,
    resource: Arc<Resource>,
    output: Output,
    encoding: Option<EncodingId>,
    /// Whether a table has named its columns: only the first event does.
    columns_sent: bool,
    /// None once the watch has failed.
    watcher: Option<Watcher>,
    /// Encoded and not sent yet.
    ready: VecDeque<Bytes>,
    end: Instant,
    /// When the last bookmark is asked for; None once it was.
    bookmark_at: Option<Instant>,
    alarm: Option<BoxFuture<'static, ()>>,
}

enum Next {
    Items(Vec<WatchItem>),
    Alarm,
}

impl Events {
    /// What is sent next; None at the end.
    async fn next_chunk(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.take_ready() {
                return Some(chunk);
            }
            match self.next().await? {
                Next::Items(items) if items.is_empty() => return None,
                Next::Items(items) => self.encode(items),
                Next::Alarm => self.alarm = None,
            }
        }
    }

    /// Waits for events or for the time of the last bookmark; None at the end.
    async fn next(&mut self) -> Option<Next> {
        let clock = &self.context.env.clock;
        let now = clock.now();
        if now >= self.end {
            return None;
        }
        let watcher = self.watcher.as_mut()?;
        if self.bookmark_at.is_some_and(|at| now >= at) {
            self.bookmark_at = None;
            watcher.request_bookmark();
        }
        let alarm_at = self.bookmark_at.unwrap_or(self.end);
        let alarm = self.alarm.get_or_insert_with(|| clock.sleep_until(alarm_at));
        let mut items = std::pin::pin!(watcher.next(BATCH_EVENTS_MAX).fuse());
        Some(futures::select_biased! {
            items = items => Next::Items(items),
            () = alarm.fuse() => Next::Alarm,
        })
    }

    fn encode(&mut self, items: Vec<WatchItem>) {
        for item in items {
            match item {
                WatchItem::Change { event_type, entry, revision: _, change } => {
                    let line = || match (&self.output.facts, self.encoding) {
                        (Some(facts), Some(encoding)) => self.message(facts, encoding, event_type.as_str(), &entry),
                        _ => self.line(event_type.as_str(), entry.revision, &entry.body),
                    };
                    let line = match self.encoding {
                        Some(encoding) => change.encoded(encoding, event_type, line),
                        None => line(),
                    };
                    self.ready.push_back(line);
                }
                WatchItem::Bookmark { revision, initial_events_end } => {
                    let body: &'static [u8] = if initial_events_end {
                        b"\"metadata\":{\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}"
                    } else {
                        b"\"metadata\":{}}"
                    };
                    let line = self.line("BOOKMARK", revision, &Bytes::from_static(body));
                    self.ready.push_back(line);
                }
                WatchItem::Error(error) => return self.fail(&error),
            }
            self.columns_sent = true;
        }
    }

    fn view(&self) -> View<'_> {
        View::new(&self.resource, triune_api::time::from_system(self.context.env.clock.wall()))
    }

    /// One event in protobuf, from the message that lists of the same state show too.
    fn message(&self, facts: &Arc<Facts>, encoding: EncodingId, event_type: &str, entry: &Entry) -> Bytes {
        let message = self.view().event_in_protobuf(facts, self.output.shape, encoding, event_type, entry);
        Bytes::from(message.unwrap_or_else(|status| self.error_line(&status)))
    }

    /// One event: a line of JSON, or a message behind its length.
    fn line(&self, event_type: &str, revision: Revision, body: &Bytes) -> Bytes {
        let view = self.view();
        let shape = self.output.shape;
        let line = match &self.output.facts {
            Some(facts) => view
                .object_in_protobuf(facts, shape, revision, body)
                .map(|object| protobuf::watch_event(event_type, &object)),
            None => {
                let mut line = Vec::with_capacity(body.len() + 128);
                line.extend_from_slice(b"{\"type\":\"");
                line.extend_from_slice(event_type.as_bytes());
                line.extend_from_slice(b"\",\"object\":");
                let appended = view.append_event_object(&mut line, shape, !self.columns_sent, revision, body);
                line.extend_from_slice(b"}\n");
                appended.map(|()| line)
            }
        };
        Bytes::from(line.unwrap_or_else(|status| self.error_line(&status)))
    }

    /// The watch ends with an error event.
    fn fail(&mut self, error: &ReadError) {
        let status = match error {
            ReadError::Compacted { asked, oldest } => {
                Status::expired(format!("too old resource version: {asked} ({oldest})"))
            }
            ReadError::TooLarge { asked, current } => Status::too_large_resource_version(asked.0, current.0, 1),
            other => Status::internal(other),
        };
        self.ready.push_back(Bytes::from(self.error_line(&status)));
        self.watcher = None;
    }

    /// Lines that are ready, together up to a bound; one alone is passed on without a copy.
    fn take_ready(&mut self) -> Option<Bytes> {
        let first = self.ready.pop_front()?;
        let mut length = first.len();
        let more = self.ready.iter().take_while(|line| {
            length += line.len();
            length <= CHUNK_BYTES_MAX
        });
        let more = more.count();
        if more == 0 {
            return Some(first);
        }
        let mut chunk = Vec::with_capacity(CHUNK_BYTES_MAX.min(length));
        chunk.extend_from_slice(&first);
        for line in self.ready.drain(..more) {
            chunk.extend_from_slice(&line);
        }
        Some(Bytes::from(chunk))
    }

    fn error_line(&self, status: &Status) -> Vec<u8> {
        if self.output.media == MediaType::Protobuf {
            return protobuf::watch_event("ERROR", &protobuf::status(&status.to_json()));
        }
        let event: Value = serde_json::json!({"type": "ERROR", "object": status.to_json()});
        let mut line = event.to_string().into_bytes();
        line.push(b'\n');
        line
    }
}
