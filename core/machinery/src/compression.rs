//! gzip of large answers (apiserver `pkg/endpoints/handlers/responsewriters`): over 128 KiB, at the fastest level, where the
//! client accepts it.
//!
//! A body is compressed while it is sent, piece by piece, so that neither memory nor a single poll grows with the answer.
//! Invariant: only bodies whose length is known are compressed; watches never are.

use std::{collections::VecDeque, io::Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header};

use crate::body::{Body, Response};

/// Answers of more bytes than this are worth compressing.
pub const GZIP_BYTES_MIN: u64 = 128 * 1024;
/// Input taken at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Output collected before it is passed on.
const OUTPUT_BYTES: usize = 16 * 1024;

/// Whether a request's `Accept-Encoding` names gzip.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    accepted.split(',').any(|encoding| encoding.trim() == "gzip")
}

/// Compresses an answer of more than `bytes_min` bytes; others are passed on.
pub fn compress(mut response: Response, bytes_min: u64) -> Response {
    let worth_it = response.body().known_length().is_some_and(|length| length > bytes_min);
    if !worth_it || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let (head, body) = response.into_parts();
    match body {
        Body::Chunks(chunks) => {
            Response::from_parts(head, Body::stream(futures::stream::iter(Compressed::new(chunks))))
        }
        stream @ Body::Stream(_) => Response::from_parts(head, stream),
    }
}

/// Compressed pieces of a list of chunks.
struct Compressed {
    encoder: Option<GzEncoder<Vec<u8>>>,
    chunks: VecDeque<Bytes>,
}

impl Compressed {
    fn new(chunks: VecDeque<Bytes>) -> Compressed {
        let encoder = GzEncoder::new(Vec::with_capacity(OUTPUT_BYTES * 2), Compression::fast());
        Compressed { encoder: Some(encoder), chunks }
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.len() > PIECE_BYTES {
                return Some(chunk.split_to(PIECE_BYTES));
            }
            if let Some(piece) = self.chunks.pop_front().filter(|piece| !piece.is_empty()) {
                return Some(piece);
            }
        }
        None
    }
}

impl Iterator for Compressed {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while let Some(encoder) = &self.encoder
            && encoder.get_ref().len() < OUTPUT_BYTES
        {
            let piece = self.next_piece();
            // Writing to a vector does not fail.
            match (piece, self.encoder.as_mut()) {
                (Some(piece), Some(encoder)) => encoder.write_all(&piece).ok()?,
                _ => return self.encoder.take()?.finish().ok().map(Bytes::from),
            }
        }
        let output = self.encoder.as_mut()?.get_mut();
        Some(Bytes::from(std::mem::replace(output, Vec::with_capacity(OUTPUT_BYTES * 2))))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use futures::{FutureExt, StreamExt};

    use super::*;

    fn check(chunks: Vec<Vec<u8>>) {
        let plain = chunks.concat();
        let response = Response::new(Body::Chunks(chunks.into_iter().map(Bytes::from).collect()));
        let response = compress(response, 1000);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let Body::Stream(stream) = response.into_body() else { panic!("not compressed") };
        let pieces: Vec<Bytes> = stream.collect().now_or_never().expect("ready");
        assert!(pieces.iter().all(|piece| piece.len() < 4 * PIECE_BYTES));
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(pieces.concat().as_slice()).read_to_end(&mut back).expect("good gzip");
        assert!(back == plain);
    }

    #[test]
    fn what_is_compressed_comes_back() {
        check(vec![vec![b'x'; 2000]]);
        check(vec![b"{\"a\":1},".repeat(300_000), Vec::new(), b"]".to_vec()]);
        let noise = (0..1_000_000u64).map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect();
        check(vec![noise, vec![0; 10]]);
    }

    #[test]
    fn small_and_encoded_answers_are_passed_on() {
        let small = compress(Response::new(Body::full(vec![0; 1000])), 1000);
        assert!(matches!(small.into_body(), Body::Chunks(_)));
        let mut encoded = Response::new(Body::full(vec![0; 2000]));
        encoded.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
        assert_eq!(compress(encoded, 1000).headers()[header::CONTENT_ENCODING], "br");
    }

    #[test]
    fn gzip_is_used_where_it_is_named() {
        for (accepted, expect) in
            [("gzip", true), ("deflate, gzip", true), ("gzip;q=0", false), ("", false), ("*", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            assert_eq!(accepts_gzip(&headers), expect, "{accepted}");
        }
    }
}
