//! What answers requests: the one trait that the director, the verbs, path routes and the not-found handler share.
//!
//! A request body is read lazily and with a bound: who reads names the limit and gets 413 past it. Invariant: no more than
//! the limit plus one chunk is ever held.

use std::{io, pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream::BoxStream};
use http_body::Body as _;
use triune_api::status::Status;
use triune_env::BoxFuture;

use crate::{body::Response, context::Context};

/// Largest request body of resource requests, in bytes: 3 MiB, as the reference's `MaxRequestBodyBytes`.
pub const REQUEST_BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// A request.
pub type Request = http::Request<RequestBody>;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Errors are answers; the future is dropped when the client goes away or the deadline passes.
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response>;
}

/// A request body that has not been read yet.
pub struct RequestBody(Source);

enum Source {
    Full(Bytes),
    Incoming(hyper::body::Incoming),
    Stream(BoxStream<'static, io::Result<Bytes>>),
}

impl RequestBody {
    /// No bytes.
    pub fn empty() -> RequestBody {
        RequestBody(Source::Full(Bytes::new()))
    }

    /// Bytes at hand: requests made in process.
    pub fn full(bytes: impl Into<Bytes>) -> RequestBody {
        RequestBody(Source::Full(bytes.into()))
    }

    /// From the connection.
    pub fn incoming(body: hyper::body::Incoming) -> RequestBody {
        RequestBody(Source::Incoming(body))
    }

    /// From any stream.
    pub fn stream(chunks: impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static) -> RequestBody {
        RequestBody(Source::Stream(chunks.boxed()))
    }

    /// Whether it is known to hold no bytes.
    pub fn is_known_empty(&self) -> bool {
        match &self.0 {
            Source::Full(bytes) => bytes.is_empty(),
            Source::Incoming(body) => body.is_end_stream(),
            Source::Stream(_) => false,
        }
    }

    /// Reads all of it: 413 if it is longer than `limit` bytes (at once if the client announced a longer one), 400 if the
    /// client broke off.
    pub async fn read(self, limit: usize) -> Result<Bytes, Status> {
        let too_large = || Status::request_entity_too_large(format_args!("limit is {limit}"));
        let mut chunks = match self.0 {
            Source::Full(bytes) => return if bytes.len() > limit { Err(too_large()) } else { Ok(bytes) },
            Source::Incoming(body) if body.size_hint().lower() > limit as u64 => return Err(too_large()),
            Source::Incoming(body) => Chunks::Incoming(body),
            Source::Stream(stream) => Chunks::Stream(stream),
        };
        let broken = |error| Status::bad_request(format!("error reading the body of the request: {error}"));
        let Some(first) = chunks.next().await.transpose().map_err(broken)? else { return Ok(Bytes::new()) };
        if first.len() > limit {
            return Err(too_large());
        }
        // Small bodies come in one chunk, which is passed on without a copy.
        let Some(second) = chunks.next().await.transpose().map_err(broken)? else { return Ok(first) };
        let mut all = BytesMut::with_capacity(chunks.capacity_hint(first.len() + second.len(), limit));
        all.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if all.len() + chunk.len() > limit {
                return Err(too_large());
            }
            all.extend_from_slice(&chunk);
            next = chunks.next().await.transpose().map_err(broken)?;
        }
        Ok(all.freeze())
    }

    /// As a stream of chunks, for proxies: no limit.
    pub fn into_stream(self) -> BoxStream<'static, io::Result<Bytes>> {
        match self.0 {
            Source::Full(bytes) => futures::stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed(),
            Source::Incoming(body) => futures::stream::unfold(Chunks::Incoming(body), |mut chunks| async move {
                chunks.next().await.map(|chunk| (chunk, chunks))
            })
            .boxed(),
            Source::Stream(stream) => stream,
        }
    }
}

/// The two sources that come in chunks.
enum Chunks {
    Incoming(hyper::body::Incoming),
    Stream(BoxStream<'static, io::Result<Bytes>>),
}

impl Chunks {
    /// The next chunk of data; trailers are skipped.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        match self {
            Chunks::Incoming(body) => loop {
                let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
                match frame.map(http_body::Frame::into_data) {
                    Ok(Ok(data)) => return Some(Ok(data)),
                    Ok(Err(_trailers)) => {}
                    Err(error) => return Some(Err(io::Error::other(error))),
                }
            },
            Chunks::Stream(stream) => stream.next().await,
        }
    }

    /// What to reserve once `have` bytes are here: what the client announced, within the limit.
    fn capacity_hint(&self, have: usize, limit: usize) -> usize {
        match self {
            Chunks::Incoming(body) => have + usize::try_from(body.size_hint().lower()).unwrap_or(0).min(limit),
            Chunks::Stream(_) => have,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, stream};

    use super::*;

    fn check(chunks: &[&'static str], limit: usize, expect: Result<&str, &str>) {
        let owned: Vec<io::Result<Bytes>> = chunks.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect();
        let bodies = [RequestBody::stream(stream::iter(owned)), RequestBody::full(chunks.concat())];
        for body in bodies {
            let read = body.read(limit).now_or_never().expect("every chunk is ready");
            let read = read.map_err(|status| status.message);
            assert_eq!(read.as_deref().map_err(String::as_str), expect.map(str::as_bytes));
        }
    }

    #[test]
    fn a_body_is_read_up_to_its_limit() {
        let too_large = Err("Request entity is too large: limit is 4");
        check(&[], 4, Ok(""));
        check(&["abcd"], 4, Ok("abcd"));
        check(&["ab", "c", "d"], 4, Ok("abcd"));
        check(&["abcde"], 4, too_large);
        check(&["ab", "cde"], 4, too_large);
        check(&["ab", "c", "d", "e"], 4, too_large);
    }

    #[test]
    fn a_broken_body_is_a_bad_request() {
        let chunks = vec![Ok(Bytes::from_static(b"ab")), Err(io::Error::other("gone"))];
        let read = RequestBody::stream(stream::iter(chunks)).read(10).now_or_never().expect("every chunk is ready");
        assert_eq!(read.map_err(|status| status.code), Err(400));
    }
}
