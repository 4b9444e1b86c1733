//! Bodies: a few shared chunks, or a stream of them.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A response.
pub type Response = http::Response<Body>;

/// A response body. Chunks are passed on, never copied together.
pub enum Body {
    /// Known in full; its length is known too.
    Chunks(VecDeque<Bytes>),
    /// Made while it is sent: watches.
    Stream(BoxStream<'static, Bytes>),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Body {
        Body::Chunks(VecDeque::new())
    }
    /// One chunk.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        Body::Chunks(VecDeque::from([bytes.into()]))
    }
    /// A stream whose end is the end of the body.
    pub fn stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
        Body::Stream(chunks.boxed())
    }
    /// Keeps `guard` alive until the body has been sent or given up. Only streams are guarded: a body whose length is known
    /// is sent as fast as the client takes it.
    #[must_use]
    pub fn guarded(self, guard: impl Send + 'static) -> Body {
        match self {
            Body::Stream(stream) => {
                let mut guard = Some(guard);
                let end = futures::stream::poll_fn(move |_| {
                    drop(guard.take());
                    Poll::Ready(None)
                });
                Body::Stream(stream.chain(end).boxed())
            }
            chunks @ Body::Chunks(_) => chunks,
        }
    }
    /// A stream that also ends when `signal` completes; other bodies are as they were.
    #[must_use]
    pub fn until(self, signal: impl Future<Output = ()> + Send + 'static) -> Body {
        match self {
            Body::Stream(stream) => Body::Stream(stream.take_until(signal).boxed()),
            chunks @ Body::Chunks(_) => chunks,
        }
    }
    /// Length, where it is known.
    pub fn known_length(&self) -> Option<u64> {
        match self {
            Body::Chunks(chunks) => Some(chunks.iter().map(|chunk| chunk.len() as u64).sum()),
            Body::Stream(_) => None,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Body::Chunks(chunks) => Poll::Ready(chunks.pop_front().map(|chunk| Ok(Frame::data(chunk)))),
            Body::Stream(stream) => {
                stream.poll_next_unpin(context).map(|next| next.map(|chunk| Ok(Frame::data(chunk))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Chunks(chunks) if chunks.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        self.known_length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
