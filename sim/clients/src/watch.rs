//! An open watch: events as they come, recorded as they are read.
//!
//! Invariants: what is given out was recorded before; a watch ends once, with an end in the history, also when it is
//! dropped; it ends by itself when it is silent for too long or outlives its `timeoutSeconds` by [`GRACE`].

use std::{
    borrow::Cow,
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::Value;
use triune_env::BoxFuture;
use triune_history::{Body, Object, OperationId, StreamEnd, StreamItem};
use triune_machinery::signal::Wait;

use crate::{api::Api, http::BodyStream};

/// A server that does not end a watch in time gets this much more.
const GRACE: Duration = Duration::from_secs(30);
/// Longest event.
const LINE_BYTES_MAX: usize = 8 << 20;
/// Annotation of the bookmark that closes the initial state.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// An open watch.
pub struct Watch {
    api: Api,
    id: OperationId,
    /// None once it has ended.
    stream: Option<BodyStream>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were read out.
    taken: usize,
    /// Bytes of `buffer` that were searched for the end of a line.
    searched: usize,
    end: Option<Instant>,
    last_heard: Instant,
    alarm: Option<BoxFuture<'static, ()>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    object: Value,
}

/// What a wait for an event ended with.
pub enum Woken {
    /// An event, or the end.
    Item(Result<StreamItem, StreamEnd>),
    /// It is time to stop.
    Stop,
    /// The alarm.
    Alarm,
}

impl Watch {
    pub(crate) fn new(api: Api, id: OperationId, stream: BodyStream, timeout_seconds: u64) -> Watch {
        let now = api.env().clock.now();
        let end = (timeout_seconds > 0).then(|| now + Duration::from_secs(timeout_seconds) + GRACE);
        Watch {
            api,
            id,
            stream: Some(stream),
            buffer: Vec::new(),
            taken: 0,
            searched: 0,
            end,
            last_heard: now,
            alarm: None,
        }
    }

    /// The next event, or how it ended; nothing more comes then. May be dropped while it waits.
    pub async fn next(&mut self) -> Result<StreamItem, StreamEnd> {
        loop {
            if let Some(line) = self.line() {
                let Some(item) = parse(&self.buffer[line]) else { return Err(self.ended(StreamEnd::Broken)) };
                self.api.record(Body::Stream { id: self.id, item: item.clone() });
                return Ok(item);
            }
            let chunk = self.chunk().await;
            match chunk {
                Ok(Some(bytes)) => {
                    self.last_heard = self.api.env().clock.now();
                    self.buffer.drain(..self.taken);
                    self.searched -= self.taken;
                    self.taken = 0;
                    self.buffer.extend_from_slice(&bytes);
                    if self.buffer.len() > LINE_BYTES_MAX {
                        return Err(self.ended(StreamEnd::Broken));
                    }
                }
                Ok(None) if self.taken == self.buffer.len() => return Err(self.ended(StreamEnd::Closed)),
                Ok(None) => return Err(self.ended(StreamEnd::Broken)),
                Err(end) => return Err(self.ended(end)),
            }
        }
    }

    /// The next event, unless it is time to stop or the alarm goes off first.
    pub async fn next_until(&mut self, stop: &mut Wait, mut alarm: Option<&mut BoxFuture<'static, ()>>) -> Woken {
        let mut next = pin!(self.next());
        poll_fn(|context| {
            if pin!(&mut *stop).poll(context).is_ready() {
                return Poll::Ready(Woken::Stop);
            }
            if let Poll::Ready(item) = next.as_mut().poll(context) {
                return Poll::Ready(Woken::Item(item));
            }
            match alarm.as_mut().map(|alarm| alarm.as_mut().poll(context)) {
                Some(Poll::Ready(())) => Poll::Ready(Woken::Alarm),
                _ => Poll::Pending,
            }
        })
        .await
    }

    async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, StreamEnd> {
        let stream = self.stream.as_mut().ok_or(StreamEnd::Dropped)?;
        let clock = &self.api.env().clock;
        let silence = self.last_heard + Duration::from_millis(self.api.options().silence_ms_max);
        let deadline = self.end.map_or(silence, |end| end.min(silence));
        loop {
            // It may be set to an earlier time than what counts now: then it is set anew once it has gone off.
            let alarm = self.alarm.get_or_insert_with(|| clock.sleep_until(deadline));
            match futures::future::select(pin!(stream.chunk()), alarm).await {
                futures::future::Either::Left((None, _)) => return Ok(None),
                futures::future::Either::Left((Some(chunk), _)) => {
                    return chunk.map(Some).map_err(|_| StreamEnd::Broken);
                }
                futures::future::Either::Right(_) => self.alarm = None,
            }
            if clock.now() >= deadline {
                return Err(StreamEnd::Dropped);
            }
        }
    }

    /// The next whole line of the buffer.
    fn line(&mut self) -> Option<std::ops::Range<usize>> {
        let length = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(length) = length else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.taken..self.searched + length;
        self.taken = line.end + 1;
        self.searched = self.taken;
        Some(line)
    }

    fn ended(&mut self, end: StreamEnd) -> StreamEnd {
        if self.stream.take().is_some() {
            self.api.record(Body::StreamEnd { id: self.id, end });
        }
        end
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended(StreamEnd::Dropped);
    }
}

/// None if it is no event.
fn parse(line: &[u8]) -> Option<StreamItem> {
    let Event { kind, object } = serde_json::from_slice(line).ok()?;
    Some(match kind.as_ref() {
        "ADDED" => StreamItem::Added(Object::from_json(object, None)?),
        "MODIFIED" => StreamItem::Modified(Object::from_json(object, None)?),
        "DELETED" => StreamItem::Deleted(Object::from_json(object, None)?),
        "BOOKMARK" => StreamItem::Bookmark {
            revision: object["metadata"]["resourceVersion"].as_str()?.parse().ok()?,
            initial_events_end: object["metadata"]["annotations"][INITIAL_EVENTS_END] == "true",
        },
        "ERROR" => StreamItem::Error {
            code: u16::try_from(object["code"].as_u64()?).ok()?,
            reason: object["reason"].as_str().unwrap_or_default().to_owned(),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_understood() {
        let check = |line: &str, expect: Option<StreamItem>| assert_eq!(parse(line.as_bytes()), expect, "{line}");
        let bookmark = r#"{"type":"BOOKMARK","object":{"kind":"ConfigMap","metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        check(bookmark, Some(StreamItem::Bookmark { revision: 9, initial_events_end: true }));
        let error = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;
        check(error, Some(StreamItem::Error { code: 410, reason: "Expired".into() }));
        check(r#"{"type":"OTHER","object":{}}"#, None);
        check(r#"{"type":"ADDED","object":{"metadata":{}}}"#, None);
        check("", None);
        let added = parse(br#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"3"}}}"#);
        assert!(matches!(added, Some(StreamItem::Added(object)) if object.name == "a" && object.revision == 3));
    }
}
