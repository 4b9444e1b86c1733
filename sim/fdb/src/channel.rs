//! Frames over a byte stream: whole ones come out, and what is to go waits in an [`Outbox`].
//!
//! Bounds: a frame is at most [`FRAME_BYTES_MAX`] long, a longer one ends the connection; an outbox holds at most
//! [`OUTBOX_BYTES_MAX`] that the peer does not take, more ends the connection.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

use crate::protocol::Encode;

/// Longest frame: a transaction of the largest size, all of it in keys of one byte.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// Most bytes that wait for a peer.
pub const OUTBOX_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Read at once, at most.
const READ_BYTES: usize = 16 << 10;
/// With less room than this in a buffer, another is begun.
const READ_BYTES_MIN: usize = 512;
/// A buffer that grew larger is given back once it is empty.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// Takes frames out of a stream.
pub struct Frames<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Frames of a stream, from its start.
    pub fn new(stream: R) -> Frames<R> {
        Frames { stream, buffer: BytesMut::new() }
    }

    /// The next frame, without its length; None at the end of the stream. May be dropped and called again.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            // What was read before stays in the rows that it became: use up a buffer before the next is begun.
            if self.buffer.capacity() - self.buffer.len() < READ_BYTES_MIN {
                self.buffer.reserve(READ_BYTES);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<Bytes>> {
        let Some(length) = self.buffer.first_chunk().map(|length| u32::from_be_bytes(*length) as usize) else {
            return Ok(None);
        };
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of {length} bytes")));
        }
        if self.buffer.len() < 4 + length {
            self.buffer.reserve(4 + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// What waits to be written to a stream.
#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    closed: bool,
}

impl Outbox {
    /// Puts a message in. False: the stream has ended, or is ended now because its peer takes nothing.
    pub fn send(&self, id: u64, message: &impl Encode) -> bool {
        let mut waiting = self.lock();
        if waiting.closed {
            return false;
        }
        message.frame(id, &mut waiting.bytes);
        waiting.closed = waiting.bytes.len() > OUTBOX_BYTES_MAX;
        let sent = !waiting.closed;
        drop(waiting);
        self.filled.notify_one();
        sent
    }

    /// Whether nothing goes in any more.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Nothing goes in any more; what waits is forgotten.
    pub fn close(&self) {
        *self.lock() = Waiting { bytes: Vec::new(), closed: true };
        self.filled.notify_one();
    }

    /// Writes what is put in, until the stream fails or the outbox is closed.
    pub async fn drain(&self, mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut writing = Vec::new();
        loop {
            {
                let mut waiting = self.lock();
                if waiting.closed {
                    return Ok(());
                }
                std::mem::swap(&mut waiting.bytes, &mut writing);
            }
            if writing.is_empty() {
                self.filled.notified().await;
                continue;
            }
            stream.write_all(&writing).await?;
            stream.flush().await?;
            if writing.capacity() > KEPT_BYTES_MAX {
                writing = Vec::new();
            }
            writing.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Decode, Reply, Request};

    #[tokio::test]
    async fn frames_arrive_whole_however_they_are_cut() {
        let (near, far) = tokio::io::duplex(7);
        let outbox = Outbox::default();
        let sent = [Request::Hello, Request::Watch { key: Bytes::from(vec![1; 100]), seen: None }, Request::Ping];
        for (id, request) in (1..).zip(&sent) {
            assert!(outbox.send(id, request));
        }
        let mut frames = Frames::new(far);
        let read = async {
            for (id, request) in (1..).zip(&sent) {
                let frame = frames.next().await.unwrap().unwrap();
                assert_eq!(Request::of_frame(frame), Some((id, request.clone())));
            }
            outbox.close();
        };
        let (drained, ()) = tokio::join!(outbox.drain(near), read);
        drained.unwrap();
        assert_eq!(frames.next().await.unwrap(), None);
        assert!(!outbox.send(9, &Reply::Pong));
    }

    #[tokio::test]
    async fn long_and_broken_frames_are_errors() {
        for bytes in [&[0xff; 4][..], &[0, 0, 0, 9, 1]] {
            let mut frames = Frames::new(bytes);
            assert!(frames.next().await.is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_nobody_takes_ends_the_connection() {
        let outbox = Outbox::default();
        let large = Reply::Value(Some(Bytes::from(vec![0; FRAME_BYTES_MAX - 100])));
        assert!(outbox.send(1, &large));
        assert!(outbox.send(2, &large));
        assert!(!outbox.is_closed());
        assert!(!outbox.send(3, &large));
        assert!(outbox.is_closed());
        assert!(!outbox.send(4, &Reply::Pong));
    }
}
