//! Lists of many config maps: in full, and in pages of 500.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use memchr::memmem;

use crate::{
    Error,
    connection::{Call, Http1},
    figure::{Figure, Histogram},
    kubeconfig::Target,
    objects::{LIST_NAMESPACE, config_maps},
    options::NamedPid,
    process::{self, CpuTimes},
    protobuf::{PROTOBUF, item_count},
};

const PAGE_SIZE: usize = 500;
/// The list's own metadata is within its first bytes (the token may be long).
const HEAD_BYTES: usize = 16 * 1024;

/// What is kept of a list.
struct Page {
    bytes: u64,
    items: usize,
    continue_token: Option<String>,
}

/// Name of a config map of the lists.
pub(crate) fn item_name(index: usize) -> String {
    format!("item-{index:06}")
}

/// The whole list, again and again; in protobuf if `protobuf`.
pub(crate) async fn full(
    target: &Target,
    pids: &[NamedPid],
    size: usize,
    length: Duration,
    protobuf: bool,
) -> Result<Figure, Error> {
    let mut connection = Http1::connect(target).await?;
    let call = Call::get(config_maps(LIST_NAMESPACE));
    let (name, call) = if protobuf { ("list-protobuf", call.accepting(PROTOBUF)) } else { ("list", call) };
    let first = read(&mut connection, call.clone(), true).await?;
    if first.items != size {
        return Err(format!("the list has {} items instead of {size}", first.items).into());
    }
    let before = CpuTimes::read(pids)?;
    let (begin, mut latencies) = (Instant::now(), Histogram::default());
    while begin.elapsed() < length {
        let sent = Instant::now();
        read(&mut connection, call.clone(), false).await?;
        latencies.record(sent.elapsed());
    }
    let used = CpuTimes::read(pids)?.since(&before);
    Ok(finish(Figure::named(name), &latencies, begin, &used, pids)?.with("items", size).with("bytes", first.bytes))
}

/// Page after page, from the start again after the last.
pub(crate) async fn pages(target: &Target, pids: &[NamedPid], size: usize, length: Duration) -> Result<Figure, Error> {
    let mut connection = Http1::connect(target).await?;
    let items = through(&mut connection, &mut Histogram::default(), true).await?;
    if items != size {
        return Err(format!("the pages have {items} items instead of {size}").into());
    }
    let before = CpuTimes::read(pids)?;
    let (begin, mut latencies) = (Instant::now(), Histogram::default());
    while begin.elapsed() < length {
        through(&mut connection, &mut latencies, false).await?;
    }
    let used = CpuTimes::read(pids)?.since(&before);
    Ok(finish(Figure::named("pages"), &latencies, begin, &used, pids)?.with("page_size", PAGE_SIZE))
}

fn finish(
    figure: Figure,
    latencies: &Histogram,
    begin: Instant,
    used: &CpuTimes,
    pids: &[NamedPid],
) -> Result<Figure, Error> {
    let mut figure = figure.with_latencies(latencies, begin.elapsed()).with_cpu(used);
    figure.resident_kib = process::resident_by_name(pids)?;
    Ok(figure)
}

/// All pages once; returns how many items they have, if `count_items`.
async fn through(connection: &mut Http1, latencies: &mut Histogram, count_items: bool) -> Result<usize, Error> {
    let (mut items, mut token) = (0, String::new());
    loop {
        let path = format!("{}?limit={PAGE_SIZE}{token}", config_maps(LIST_NAMESPACE));
        let sent = Instant::now();
        let page = read(connection, Call::get(path), count_items).await?;
        latencies.record(sent.elapsed());
        items += page.items;
        match page.continue_token {
            Some(next) => token = format!("&continue={}", percent_encoded(&next)),
            None => return Ok(items),
        }
    }
}

/// Reads a list without keeping it.
async fn read(connection: &mut Http1, call: Call, count_items: bool) -> Result<Page, Error> {
    let is_protobuf = call.accept == PROTOBUF;
    let response = connection.send(call).await?;
    let status = response.status();
    let mut body = response.into_body();
    let (mut bytes, mut head, mut all) = (0, Vec::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        bytes += data.len() as u64;
        keep(&mut head, &data, HEAD_BYTES);
        if count_items {
            all.extend_from_slice(&data);
        }
    }
    if !status.is_success() {
        return Err(format!("list: {status}: {}", String::from_utf8_lossy(&head)).into());
    }
    let items = if is_protobuf { item_count(&all) } else { memmem::find_iter(&all, b"\"creationTimestamp\"").count() };
    Ok(Page { bytes, items, continue_token: text_after(&head, b"\"continue\":\"") })
}

fn keep(head: &mut Vec<u8>, data: &Bytes, bytes_max: usize) {
    let room = bytes_max.saturating_sub(head.len()).min(data.len());
    head.extend_from_slice(&data[..room]);
}

/// What stands between a marker and the next quote; "" is nothing.
fn text_after(text: &[u8], marker: &[u8]) -> Option<String> {
    let start = memmem::find(text, marker)? + marker.len();
    let end = start + memchr::memchr(b'"', &text[start..])?;
    let found = String::from_utf8_lossy(&text[start..end]).into_owned();
    (!found.is_empty()).then_some(found)
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_and_encoded() {
        let list = br#"{"metadata":{"resourceVersion":"5","continue":"a+b=="},"items":[]}"#;
        assert_eq!(text_after(list, b"\"continue\":\"").as_deref(), Some("a+b=="));
        assert_eq!(text_after(br#"{"continue":""}"#, b"\"continue\":\""), None);
        assert_eq!(text_after(b"{}", b"\"continue\":\""), None);
        assert_eq!(percent_encoded("a+b=="), "a%2Bb%3D%3D");
    }
}
