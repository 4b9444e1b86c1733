//! What client and node say to each other: requests and replies, each with the number of the request.
//!
//! A frame is its length, the request's number, a tag, and fields one after the other; numbers are big-endian, bytes have
//! their length before them. What does not decode to its last byte ends the connection.

use bytes::{Buf, BufMut, Bytes};
use triune_env::storage::{KeyRange, Row};
use triune_fdb_model::{Mutation, Position, Span, Transaction, Version, rows::Page};

/// The number of requests that are not answered one by one.
pub const NO_REQUEST: u64 = 0;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// First on a connection.
    Hello,
    /// Whether the node is there.
    Ping,
    /// A read version.
    ReadVersion,
    /// A row.
    Get {
        /// At which version.
        at: Version,
        /// The key.
        key: Bytes,
    },
    /// Rows.
    Range {
        /// At which version.
        at: Version,
        /// Where.
        range: KeyRange,
        /// How many.
        limit: u32,
        /// From the end.
        reverse: bool,
    },
    /// A commit.
    Commit(Box<Transaction>),
    /// To be told when the key's value differs.
    Watch {
        /// The key.
        key: Bytes,
        /// The value known.
        seen: Option<Bytes>,
    },
    /// Not to be told any more: the watch is the request of this number.
    Cancel,
}

/// What the node answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To Hello: the version that counts as 0 in revisions.
    Hello {
        /// See [`triune_fdb_model::Revisions`].
        origin: Version,
    },
    /// To Ping.
    Pong,
    /// To ReadVersion.
    Version(Version),
    /// To Get.
    Value(Option<Bytes>),
    /// To Range.
    Page(Page),
    /// To Commit.
    Committed(Position),
    /// To Watch.
    Fired,
    /// To all but Hello and Ping.
    Failed(Failure),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// FoundationDB's not_committed.
    Conflict,
    /// commit_unknown_result.
    Unknown,
    /// transaction_too_old.
    TooOld,
    /// future_version.
    FutureVersion,
    /// transaction_too_large and its like.
    TooLarge(String),
    /// too_many_watches.
    TooManyWatches,
    /// The part of the cluster that should answer does not.
    Unavailable,
}

/// Appends a message to a buffer, as a frame.
pub trait Encode {
    /// Appends the tag and the fields.
    fn encode(&self, out: &mut Vec<u8>);

    /// Appends the frame.
    fn frame(&self, id: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u32(0);
        out.put_u64(id);
        self.encode(out);
        // What is longer is refused by the receiver, which never sees a wrong length: a frame has at most 64 MiB.
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

impl Encode for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Request::Hello => out.put_u8(0),
            Request::Ping => out.put_u8(1),
            Request::ReadVersion => out.put_u8(2),
            Request::Get { at, key } => {
                out.put_u8(3);
                out.put_u64(at.0);
                put_bytes(out, key);
            }
            Request::Range { at, range, limit, reverse } => {
                out.put_u8(4);
                out.put_u64(at.0);
                put_range(out, range);
                out.put_u32(*limit);
                out.put_u8(u8::from(*reverse));
            }
            Request::Commit(transaction) => {
                out.put_u8(5);
                put_transaction(out, transaction);
            }
            Request::Watch { key, seen } => {
                out.put_u8(6);
                put_bytes(out, key);
                put_value(out, seen.as_ref());
            }
            Request::Cancel => out.put_u8(7),
        }
    }
}

impl Encode for Reply {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Reply::Hello { origin } => {
                out.put_u8(0);
                out.put_u64(origin.0);
            }
            Reply::Pong => out.put_u8(1),
            Reply::Version(version) => {
                out.put_u8(2);
                out.put_u64(version.0);
            }
            Reply::Value(value) => {
                out.put_u8(3);
                put_value(out, value.as_ref());
            }
            Reply::Page(page) => {
                out.put_u8(4);
                out.put_u8(u8::from(page.more));
                put_all(out, &page.rows, |out, row| {
                    put_bytes(out, &row.key);
                    put_bytes(out, &row.value);
                });
            }
            Reply::Committed(position) => {
                out.put_u8(5);
                out.put_u64(position.version.0);
                out.put_u16(position.order);
            }
            Reply::Fired => out.put_u8(6),
            Reply::Failed(failure) => put_failure(out, failure),
        }
    }
}

fn put_failure(out: &mut Vec<u8>, failure: &Failure) {
    match failure {
        Failure::Conflict => out.put_u8(10),
        Failure::Unknown => out.put_u8(11),
        Failure::TooOld => out.put_u8(12),
        Failure::FutureVersion => out.put_u8(13),
        Failure::TooLarge(message) => {
            out.put_u8(14);
            put_bytes(out, message.as_bytes());
        }
        Failure::TooManyWatches => out.put_u8(15),
        Failure::Unavailable => out.put_u8(16),
    }
}

fn put_transaction(out: &mut Vec<u8>, transaction: &Transaction) {
    out.put_u64(transaction.read_version.0);
    put_all(out, &transaction.reads, put_span);
    put_all(out, &transaction.writes, put_span);
    put_all(out, &transaction.mutations, put_mutation);
}

fn put_span(out: &mut Vec<u8>, span: &Span) {
    match span {
        Span::Key(key) => {
            out.put_u8(0);
            put_bytes(out, key);
        }
        Span::Range(range) => {
            out.put_u8(1);
            put_range(out, range);
        }
    }
}

fn put_mutation(out: &mut Vec<u8>, mutation: &Mutation) {
    match mutation {
        Mutation::Set { key, value } => {
            out.put_u8(0);
            put_bytes(out, key);
            put_bytes(out, value);
        }
        Mutation::SetStampedKey { key, offset, value } => {
            out.put_u8(1);
            put_bytes(out, key);
            out.put_u64(*offset as u64);
            put_bytes(out, value);
        }
        Mutation::SetStampedValue { key, value, offset } => {
            out.put_u8(2);
            put_bytes(out, key);
            out.put_u64(*offset as u64);
            put_bytes(out, value);
        }
        Mutation::Clear { key } => {
            out.put_u8(3);
            put_bytes(out, key);
        }
        Mutation::ClearRange(range) => {
            out.put_u8(4);
            put_range(out, range);
        }
    }
}

fn put_range(out: &mut Vec<u8>, range: &KeyRange) {
    put_bytes(out, &range.start);
    put_bytes(out, &range.end);
}

fn put_value(out: &mut Vec<u8>, value: Option<&Bytes>) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put_bytes(out, value);
    }
}

fn put_all<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    out.put_u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
    items.iter().for_each(|item| put(out, item));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// A message out of a frame's bytes (without its length); None: it is none.
pub trait Decode: Sized {
    /// Takes the tag and the fields.
    fn decode(from: &mut Bytes) -> Option<Self>;

    /// The number and the message.
    fn of_frame(mut frame: Bytes) -> Option<(u64, Self)> {
        let id = frame.try_get_u64().ok()?;
        let message = Self::decode(&mut frame)?;
        frame.is_empty().then_some((id, message))
    }
}

impl Decode for Request {
    fn decode(from: &mut Bytes) -> Option<Request> {
        Some(match from.try_get_u8().ok()? {
            0 => Request::Hello,
            1 => Request::Ping,
            2 => Request::ReadVersion,
            3 => Request::Get { at: version(from)?, key: bytes(from)? },
            4 => Request::Range {
                at: version(from)?,
                range: range(from)?,
                limit: from.try_get_u32().ok()?,
                reverse: flag(from)?,
            },
            5 => Request::Commit(Box::new(Transaction {
                read_version: version(from)?,
                reads: all(from, span)?,
                writes: all(from, span)?,
                mutations: all(from, mutation)?,
            })),
            6 => Request::Watch { key: bytes(from)?, seen: value(from)? },
            7 => Request::Cancel,
            _ => return None,
        })
    }
}

impl Decode for Reply {
    fn decode(from: &mut Bytes) -> Option<Reply> {
        let row = |from: &mut Bytes| Some(Row { key: bytes(from)?, value: bytes(from)? });
        Some(match from.try_get_u8().ok()? {
            0 => Reply::Hello { origin: version(from)? },
            1 => Reply::Pong,
            2 => Reply::Version(version(from)?),
            3 => Reply::Value(value(from)?),
            4 => {
                let more = flag(from)?;
                Reply::Page(Page { rows: all(from, row)?, more })
            }
            5 => Reply::Committed(Position { version: version(from)?, order: from.try_get_u16().ok()? }),
            6 => Reply::Fired,
            10 => Reply::Failed(Failure::Conflict),
            11 => Reply::Failed(Failure::Unknown),
            12 => Reply::Failed(Failure::TooOld),
            13 => Reply::Failed(Failure::FutureVersion),
            14 => Reply::Failed(Failure::TooLarge(String::from_utf8(bytes(from)?.to_vec()).ok()?)),
            15 => Reply::Failed(Failure::TooManyWatches),
            16 => Reply::Failed(Failure::Unavailable),
            _ => return None,
        })
    }
}

fn version(from: &mut Bytes) -> Option<Version> {
    from.try_get_u64().ok().map(Version)
}

fn flag(from: &mut Bytes) -> Option<bool> {
    match from.try_get_u8().ok()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn bytes(from: &mut Bytes) -> Option<Bytes> {
    let length = from.try_get_u32().ok()? as usize;
    (length <= from.len()).then(|| from.split_to(length))
}

fn value(from: &mut Bytes) -> Option<Option<Bytes>> {
    if flag(from)? { bytes(from).map(Some) } else { Some(None) }
}

fn range(from: &mut Bytes) -> Option<KeyRange> {
    Some(KeyRange { start: bytes(from)?, end: bytes(from)? })
}

fn span(from: &mut Bytes) -> Option<Span> {
    match from.try_get_u8().ok()? {
        0 => bytes(from).map(Span::Key),
        1 => range(from).map(Span::Range),
        _ => None,
    }
}

fn mutation(from: &mut Bytes) -> Option<Mutation> {
    let offset = |from: &mut Bytes| usize::try_from(from.try_get_u64().ok()?).ok();
    Some(match from.try_get_u8().ok()? {
        0 => Mutation::Set { key: bytes(from)?, value: bytes(from)? },
        1 => Mutation::SetStampedKey { key: bytes(from)?, offset: offset(from)?, value: bytes(from)? },
        2 => {
            let (key, offset) = (bytes(from)?, offset(from)?);
            Mutation::SetStampedValue { key, value: bytes(from)?, offset }
        }
        3 => Mutation::Clear { key: bytes(from)? },
        4 => Mutation::ClearRange(range(from)?),
        _ => return None,
    })
}

/// A list; its count is believed only as far as there are bytes.
fn all<T>(from: &mut Bytes, item: impl Fn(&mut Bytes) -> Option<T>) -> Option<Vec<T>> {
    let count = from.try_get_u32().ok()? as usize;
    let mut items = Vec::with_capacity(count.min(from.len()));
    for _ in 0..count {
        items.push(item(from)?);
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn some_bytes() -> impl Strategy<Value = Bytes> {
        vec(any::<u8>(), 0..9).prop_map(Bytes::from)
    }

    fn some_range() -> impl Strategy<Value = KeyRange> {
        (some_bytes(), some_bytes()).prop_map(|(start, end)| KeyRange { start, end })
    }

    fn some_version() -> impl Strategy<Value = Version> {
        any::<u64>().prop_map(Version)
    }

    fn some_transaction() -> impl Strategy<Value = Transaction> {
        let span = || prop_oneof![some_bytes().prop_map(Span::Key), some_range().prop_map(Span::Range)];
        let mutation =
            prop_oneof![
                (some_bytes(), some_bytes()).prop_map(|(key, value)| Mutation::Set { key, value }),
                (some_bytes(), any::<usize>(), some_bytes()).prop_map(|(key, offset, value)| Mutation::SetStampedKey {
                    key,
                    offset,
                    value
                }),
                (some_bytes(), some_bytes(), any::<usize>())
                    .prop_map(|(key, value, offset)| Mutation::SetStampedValue { key, value, offset }),
                some_bytes().prop_map(|key| Mutation::Clear { key }),
                some_range().prop_map(Mutation::ClearRange),
            ];
        (some_version(), vec(span(), 0..4), vec(span(), 0..4), vec(mutation, 0..4))
            .prop_map(|(read_version, reads, writes, mutations)| Transaction { read_version, reads, writes, mutations })
    }

    fn requests() -> impl Strategy<Value = Request> {
        prop_oneof![
            Just(Request::Hello),
            Just(Request::Ping),
            Just(Request::ReadVersion),
            Just(Request::Cancel),
            (some_version(), some_bytes()).prop_map(|(at, key)| Request::Get { at, key }),
            (some_version(), some_range(), any::<u32>(), any::<bool>())
                .prop_map(|(at, range, limit, reverse)| Request::Range { at, range, limit, reverse }),
            some_transaction().prop_map(|transaction| Request::Commit(Box::new(transaction))),
            (some_bytes(), prop::option::of(some_bytes())).prop_map(|(key, seen)| Request::Watch { key, seen }),
        ]
    }

    fn replies() -> impl Strategy<Value = Reply> {
        let row = (some_bytes(), some_bytes()).prop_map(|(key, value)| Row { key, value });
        let failure = prop_oneof![
            Just(Failure::Conflict),
            Just(Failure::Unknown),
            Just(Failure::TooOld),
            Just(Failure::FutureVersion),
            Just(Failure::TooManyWatches),
            Just(Failure::Unavailable),
            ".{0,9}".prop_map(Failure::TooLarge),
        ];
        prop_oneof![
            some_version().prop_map(|origin| Reply::Hello { origin }),
            Just(Reply::Pong),
            some_version().prop_map(Reply::Version),
            prop::option::of(some_bytes()).prop_map(Reply::Value),
            (vec(row, 0..4), any::<bool>()).prop_map(|(rows, more)| Reply::Page(Page { rows, more })),
            (some_version(), any::<u16>()).prop_map(|(version, order)| Reply::Committed(Position { version, order })),
            Just(Reply::Fired),
            failure.prop_map(Reply::Failed),
        ]
    }

    fn check<M: Encode + Decode + PartialEq + std::fmt::Debug>(id: u64, message: &M) {
        let mut frame = Vec::new();
        message.frame(id, &mut frame);
        let mut frame = Bytes::from(frame);
        assert_eq!(frame.get_u32() as usize, frame.len());
        for length in 0..frame.len() {
            assert_eq!(M::of_frame(frame.slice(..length)), None, "cut at {length}");
        }
        assert_eq!(M::of_frame(Bytes::from([&frame[..], &[0]].concat())), None, "a byte too many");
        assert_eq!(M::of_frame(frame), Some((id, M::decode(&mut encoded(message)).unwrap())));
        assert_eq!(M::decode(&mut encoded(message)).as_ref(), Some(message));
    }

    fn encoded(message: &impl Encode) -> Bytes {
        let mut out = Vec::new();
        message.encode(&mut out);
        Bytes::from(out)
    }

    proptest! {
        #[test]
        fn requests_come_out_as_they_went_in(id in any::<u64>(), request in requests()) {
            check(id, &request);
        }

        #[test]
        fn replies_come_out_as_they_went_in(id in any::<u64>(), reply in replies()) {
            check(id, &reply);
        }

        #[test]
        fn any_bytes_decode_or_do_not(bytes in vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            let (_, _) = (Request::of_frame(bytes.clone()), Reply::of_frame(bytes));
        }
    }
}
