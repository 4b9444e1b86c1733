//! Many watchers and a steady stream of writes: how soon each event is delivered, and whether each is delivered once.
//!
//! Watches share HTTP/2 connections, as those of client-go do. An event is not parsed: its `resourceVersion` and the
//! annotation with the moment of the write are found in its bytes. Every watcher must see exactly the revisions that the
//! writers were told.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use memchr::memmem::Finder;
use tokio::task::JoinSet;

use crate::{
    Error,
    connection::{Call, Either, Http1},
    figure::{Figure, Histogram, rounded},
    kubeconfig::Target,
    objects::{NAMESPACE, OBJECTS, SENT, Template, config_maps, object_name},
    options::NamedPid,
    process::{self, CpuTimes},
    protobuf::{self, PROTOBUF},
};

const STREAMS_PER_CONNECTION: usize = 100;
const WRITERS: usize = 16;
/// What has not come when nothing at all has come for so long counts as lost: a server that falls behind is slow, one
/// that falls silent has lost something.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);
/// No server is waited for longer than this after the last write.
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// How often is looked whether all has been delivered.
const POLL: Duration = Duration::from_millis(20);

/// What watchers tell while they run.
#[derive(Default)]
struct Progress {
    delivered: AtomicU64,
}

/// What a watcher has seen.
#[derive(Default)]
struct Seen {
    revisions: Vec<u64>,
    latencies: Histogram,
    /// Why the watch ended, if it ended by itself.
    ended: Option<String>,
}

/// Who watches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watches {
    /// How many.
    pub(crate) watchers: usize,
    /// Whether events come in protobuf.
    pub(crate) protobuf: bool,
}

/// Measures deliveries to so many watchers at so many writes a second.
pub(crate) async fn measure(
    target: &Target,
    pids: &[NamedPid],
    watches: Watches,
    writes_per_second: u32,
    length: Duration,
    silence: Duration,
) -> Result<Figure, Error> {
    let Watches { watchers, protobuf } = watches;
    let name = if protobuf { format!("watch-protobuf/{watchers}") } else { format!("watch/{watchers}") };
    let epoch = Instant::now();
    let progress = Arc::new(Progress::default());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut watching = JoinSet::new();
    // Held until the end: a connection without a sender is free to close.
    let (_connections, bodies) = open(target, watches).await?;
    for body in bodies {
        watching.spawn(watch(body, protobuf, epoch, progress.clone(), stopped.clone()));
    }
    let before = CpuTimes::read(pids)?;
    let begin = Instant::now();
    let written = write(target, epoch, writes_per_second, length).await?;
    let write_time = begin.elapsed();
    let expected = (written.len() * watchers) as u64;
    drain(&progress, expected, silence).await;
    let used = CpuTimes::read(pids)?.since(&before);
    let elapsed = begin.elapsed();
    // Duplicates would still come now.
    tokio::time::sleep(POLL * 5).await;
    // Watches that have ended by themselves do not listen.
    let _ = stop.send(true);
    let mut audit = Audit::default();
    while let Some(seen) = watching.join_next().await {
        audit.add(&written, seen?);
    }
    let mut figure = Figure::named(name.clone()).with_latencies(&audit.latencies, elapsed).with_cpu(&used);
    figure.resident_kib = process::resident_by_name(pids)?;
    if let Some(why) = &audit.ended {
        eprintln!("triune-bench: {name}: {} watches ended early, the first: {why}", audit.ended_count);
    }
    Ok(figure
        .with("writes", written.len())
        .with("writes_per_second", rounded(written.len() as f64 / write_time.as_secs_f64(), 1))
        .with("lost", audit.lost)
        .with("duplicated", audit.duplicated)
        .with("unexpected", audit.unexpected)
        .with("out_of_order", audit.out_of_order)
        .with("ended_early", audit.ended_count))
}

/// Waits until all is delivered, or nothing more comes.
async fn drain(progress: &Progress, expected: u64, silence: Duration) {
    let begin = Instant::now();
    let (mut delivered, mut changed) = (0, begin);
    while delivered < expected && changed.elapsed() < silence && begin.elapsed() < DRAIN_MAX {
        tokio::time::sleep(POLL).await;
        let now = progress.delivered.load(Ordering::Relaxed);
        if now != delivered {
            (delivered, changed) = (now, Instant::now());
        }
    }
}

/// Opens the watches at the current revision; all have been answered when this returns.
async fn open(target: &Target, watches: Watches) -> Result<(Vec<Either>, Vec<Incoming>), Error> {
    let watchers = watches.watchers;
    let list = Http1::connect(target).await?.call(Call::get(format!("{}?limit=1", config_maps(NAMESPACE)))).await?;
    let revision =
        number_after(&list, &Finder::new("\"resourceVersion\":\"")).ok_or("the list has no resourceVersion")?;
    let call = Call::get(format!(
        "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds=3600&resourceVersion={revision}",
        config_maps(NAMESPACE)
    ));
    let call = if watches.protobuf { call.accepting(PROTOBUF) } else { call };
    let (mut connections, mut bodies) = (Vec::new(), Vec::with_capacity(watchers));
    while bodies.len() < watchers {
        let mut connection = Either::connect(target).await?;
        match &mut connection {
            Either::Http2(connection) => {
                let mut opening = JoinSet::new();
                for _ in bodies.len()..watchers.min(bodies.len() + STREAMS_PER_CONNECTION) {
                    let (mut connection, call) = (connection.clone(), call.clone());
                    opening.spawn(async move { connection.send(call).await });
                }
                while let Some(response) = opening.join_next().await {
                    bodies.push(accepted(response??).await?);
                }
            }
            Either::Http1(connection) => {
                bodies.push(accepted(connection.send(call.clone()).await?).await?);
            }
        }
        connections.push(connection);
    }
    Ok((connections, bodies))
}

async fn accepted(response: Response<Incoming>) -> Result<Incoming, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response.into_body());
    }
    let text = response.into_body().collect().await?.to_bytes();
    Err(format!("watch: {status}: {}", String::from_utf8_lossy(&text)).into())
}

/// Reads events until told to stop.
async fn watch(
    mut body: Incoming,
    protobuf: bool,
    epoch: Instant,
    progress: Arc<Progress>,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) -> Seen {
    let mut reader = EventReader::new(protobuf);
    let mut seen = Seen::default();
    // Made once: to register anew for every frame would cost more than the frame.
    let mut stop = std::pin::pin!(stopped.changed());
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            _ = &mut stop => return seen,
        };
        let data = match frame {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => {
                seen.ended = Some(error.to_string());
                return seen;
            }
            None => {
                seen.ended = Some("the server ended it".into());
                return seen;
            }
        };
        let now = epoch.elapsed();
        let count = seen.revisions.len();
        reader.feed(&data, |event| match event {
            Event::Write { revision, sent } => {
                seen.revisions.push(revision);
                seen.latencies.record(now.saturating_sub(sent));
            }
            Event::Error(text) => seen.ended = Some(text),
        });
        progress.delivered.fetch_add((seen.revisions.len() - count) as u64, Ordering::Relaxed);
    }
}

/// What matters of an event.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// A write of ours.
    Write {
        /// `metadata.resourceVersion`.
        revision: u64,
        /// When it was sent.
        sent: Duration,
    },
    /// An ERROR event.
    Error(String),
}

/// Cuts a body into events and finds what matters in each.
struct EventReader {
    /// Whether events are messages behind their length rather than lines.
    protobuf: bool,
    /// The start of an event whose end has not come.
    partial: Vec<u8>,
    revision: Finder<'static>,
    sent: Finder<'static>,
}

impl EventReader {
    fn new(protobuf: bool) -> EventReader {
        let sent = format!("\"{SENT}\":\"");
        EventReader {
            protobuf,
            partial: Vec::new(),
            revision: Finder::new("\"resourceVersion\":\""),
            sent: Finder::new(sent.as_bytes()).into_owned(),
        }
    }

    fn feed(&mut self, data: &Bytes, mut on_event: impl FnMut(Event)) {
        if self.protobuf {
            self.partial.extend_from_slice(data);
            let mut begin = 0;
            while let Some((length, rest)) = self.partial[begin..].split_first_chunk::<4>()
                && let Some(message) = rest.get(..u32::from_be_bytes(*length) as usize)
            {
                self.message(message).into_iter().for_each(&mut on_event);
                begin += 4 + message.len();
            }
            self.partial.drain(..begin);
            return;
        }
        let mut rest: &[u8] = data;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            let event = if self.partial.is_empty() {
                self.event(line)
            } else {
                self.partial.extend_from_slice(line);
                self.event(&self.partial)
            };
            self.partial.clear();
            event.into_iter().for_each(&mut on_event);
            rest = after;
        }
        self.partial.extend_from_slice(rest);
    }

    /// As [`EventReader::event`].
    fn message(&self, event: &[u8]) -> Option<Event> {
        let object = protobuf::field(protobuf::field(event, 2)?, 1)?;
        if protobuf::field(event, 1)? == b"ERROR" {
            return Some(Event::Error(String::from_utf8_lossy(object).into_owned()));
        }
        let metadata = protobuf::field(protobuf::message(object)?, 1)?;
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        let mut annotations = protobuf::Fields(metadata).filter(|(tag, _)| *tag == 12).map(|(_, entry)| entry);
        let sent = annotations.find(|entry| protobuf::field(entry, 1) == Some(SENT.as_bytes()))?;
        let sent = Duration::from_micros(number(protobuf::field(sent, 2)?)?);
        Some(Event::Write { revision: number(protobuf::field(metadata, 6)?)?, sent })
    }

    /// Bookmarks and objects that we have not written are nothing.
    fn event(&self, line: &[u8]) -> Option<Event> {
        if line.starts_with(br#"{"type":"ERROR""#) {
            return Some(Event::Error(String::from_utf8_lossy(line).into_owned()));
        }
        let sent = Duration::from_micros(number_after(line, &self.sent)?);
        Some(Event::Write { revision: number_after(line, &self.revision)?, sent })
    }
}

/// The decimal number after a marker.
fn number_after(text: &[u8], marker: &Finder<'_>) -> Option<u64> {
    let start = marker.find(text)? + marker.needle().len();
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |number: Option<u64>, digit| {
        Some(number.unwrap_or_default().wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    })
}

/// Updates config maps at a steady rate; returns the revisions that the server gave.
async fn write(target: &Target, epoch: Instant, rate: u32, length: Duration) -> Result<BTreeSet<u64>, Error> {
    let total = (f64::from(rate) * length.as_secs_f64()).round() as u64;
    let begin = tokio::time::Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS as u64 {
        let mut connection = Http1::connect(target).await?;
        writers.spawn(async move {
            let (template, revision) = (Template::default(), Finder::new("\"resourceVersion\":\""));
            let mut revisions = Vec::new();
            for turn in (writer..total).step_by(WRITERS) {
                tokio::time::sleep_until(begin + Duration::from_secs_f64(turn as f64 / f64::from(rate))).await;
                let name = object_name(turn as usize % OBJECTS);
                let sent = u64::try_from(epoch.elapsed().as_micros()).unwrap_or_default();
                let body = template.config_map(&name, turn, Some(sent));
                let path = format!("{}/{name}", config_maps(NAMESPACE));
                let answer = connection.call(Call::json(Method::PUT, path, body)).await?;
                revisions.push(number_after(&answer, &revision).ok_or("the answer has no resourceVersion")?);
            }
            Ok::<Vec<u64>, Error>(revisions)
        });
    }
    let mut written = BTreeSet::new();
    while let Some(revisions) = writers.join_next().await {
        written.extend(revisions??);
    }
    Ok(written)
}

/// Compares what was seen with what was written.
#[derive(Default)]
struct Audit {
    latencies: Histogram,
    lost: u64,
    duplicated: u64,
    unexpected: u64,
    out_of_order: u64,
    ended_count: u64,
    ended: Option<String>,
}

impl Audit {
    fn add(&mut self, written: &BTreeSet<u64>, seen: Seen) {
        self.latencies.add(&seen.latencies);
        self.out_of_order += seen.revisions.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
        let distinct: BTreeSet<u64> = seen.revisions.iter().copied().collect();
        self.duplicated += (seen.revisions.len() - distinct.len()) as u64;
        let expected = distinct.intersection(written).count();
        self.unexpected += (distinct.len() - expected) as u64;
        self.lost += (written.len() - expected) as u64;
        if let Some(why) = seen.ended {
            self.ended_count += 1;
            self.ended.get_or_insert(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_they_are_cut() {
        let text = format!(
            "{{\"type\":\"MODIFIED\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"12\",\"annotations\":{{\"{SENT}\":\"7\"}}}}}}}}\n\
             {{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"13\"}}}}}}\n\
             {{\"type\":\"ERROR\",\"object\":{{\"code\":410}}}}\n"
        );
        for size in [1, 7, 64, 10_000] {
            let (mut reader, mut events) = (EventReader::new(false), Vec::new());
            for chunk in text.as_bytes().chunks(size) {
                reader.feed(&Bytes::copy_from_slice(chunk), |event| events.push(event));
            }
            assert_eq!(events.len(), 2, "{size}");
            assert_eq!(events[0], Event::Write { revision: 12, sent: Duration::from_micros(7) });
            assert!(matches!(&events[1], Event::Error(text) if text.contains("410")));
        }
    }

    #[test]
    fn events_in_protobuf_are_found_however_they_are_cut() {
        let bytes = |tag: u8, value: &[u8]| [&[tag << 3 | 2, value.len() as u8][..], value].concat();
        let event = |kind: &str, metadata: &[u8]| {
            let object = [&b"k8s\0"[..], &bytes(2, &bytes(1, metadata))].concat();
            let event = [bytes(1, kind.as_bytes()), bytes(2, &bytes(1, &object))].concat();
            [&(event.len() as u32).to_be_bytes()[..], &event].concat()
        };
        let sent = bytes(12, &[bytes(1, SENT.as_bytes()), bytes(2, b"7")].concat());
        let all = [
            event("MODIFIED", &[bytes(6, b"12"), sent].concat()),
            event("BOOKMARK", &bytes(6, b"13")),
            event("ERROR", b""),
        ]
        .concat();
        for size in [1, 7, 64, 10_000] {
            let (mut reader, mut events) = (EventReader::new(true), Vec::new());
            for chunk in all.chunks(size) {
                reader.feed(&Bytes::copy_from_slice(chunk), |event| events.push(event));
            }
            assert_eq!(events.len(), 2, "{size}");
            assert_eq!(events[0], Event::Write { revision: 12, sent: Duration::from_micros(7) });
            assert!(matches!(&events[1], Event::Error(_)));
        }
    }

    #[test]
    fn the_audit_finds_what_is_wrong() {
        let written = BTreeSet::from([1, 2, 3, 4]);
        let check = |revisions: &[u64], expect: [u64; 4]| {
            let mut audit = Audit::default();
            audit.add(&written, Seen { revisions: revisions.to_vec(), ..Seen::default() });
            assert_eq!([audit.lost, audit.duplicated, audit.unexpected, audit.out_of_order], expect, "{revisions:?}");
        };
        check(&[1, 2, 3, 4], [0, 0, 0, 0]);
        check(&[1, 2, 4], [1, 0, 0, 0]);
        check(&[1, 2, 2, 3, 4], [0, 1, 0, 0]);
        check(&[1, 2, 3, 4, 9], [0, 0, 1, 0]);
        check(&[1, 3, 2, 4], [0, 0, 0, 1]);
    }
}
