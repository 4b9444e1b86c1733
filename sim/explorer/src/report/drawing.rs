//! What the page draws, computed from the events: lanes, bars, bands. The page's script only puts it on a canvas.
//!
//! Keeps: every event is in the drawing; bars of a lane that overlap in time lie on different rows, as long as there are
//! rows.

use std::collections::BTreeMap;

use serde::Serialize;
use triune_history::{Body, Event, NodeChange, ObjectKey, Operation, OperationId, Outcome, StreamItem};

use crate::{
    excerpt::{Subjects, id_of},
    line::{line, node_change, request},
    log::Header,
};

/// Rows of a lane; what overlaps more lies on top of others.
const ROWS_MAX: usize = 24;
/// What a fault's text starts with when it begins, and when it ends.
const BEGINS: &str = "begin ";
const ENDS: &str = "end ";

/// Everything on the page.
#[derive(Debug, Serialize)]
pub(super) struct Drawing {
    /// Nodes: faults on top, then clients, servers, storage.
    pub(super) lanes: Vec<Lane>,
    /// In nanoseconds.
    pub(super) end: u64,
    /// All of them.
    pub(super) events: Vec<Point>,
    /// Requests and watches.
    pub(super) bars: Vec<Bar>,
    /// Faults, and what nodes were not running.
    pub(super) bands: Vec<Band>,
    /// Names of objects, which points refer to.
    pub(super) keys: Vec<String>,
    /// Events that each finding names.
    pub(super) findings: Vec<Vec<usize>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Lane {
    pub(super) node: String,
    pub(super) rows: usize,
}

/// An event.
#[derive(Debug, Serialize)]
pub(super) struct Point {
    pub(super) at: u64,
    pub(super) lane: usize,
    /// What it is drawn as.
    pub(super) mark: &'static str,
    /// As one readable line.
    pub(super) line: String,
    /// The request that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<u64>,
    /// Objects that it is about: indexes into the keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) keys: Vec<usize>,
    /// Of a message: where and when it arrives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<(usize, u64)>,
    /// All of it, for the details.
    pub(super) event: Event,
}

/// A request, from when it was sent until it was answered, or a watch until it ended.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    pub(super) id: u64,
    pub(super) lane: usize,
    pub(super) row: usize,
    /// The lane of the server that is asked.
    pub(super) server: usize,
    pub(super) from: u64,
    pub(super) to: u64,
    /// When it was answered; a watch is drawn thin from there on.
    pub(super) answered: Option<u64>,
    /// `read`, `write`, `watch`.
    pub(super) verb: &'static str,
    /// `ok`, `refused`, `unknown`, `open`.
    pub(super) outcome: &'static str,
    pub(super) label: String,
    /// Its events, the request first.
    pub(super) events: Vec<usize>,
}

/// A stretch of time.
#[derive(Debug, Serialize)]
pub(super) struct Band {
    pub(super) lane: usize,
    pub(super) row: usize,
    pub(super) from: u64,
    pub(super) to: u64,
    /// `fault` and `healed`, which concern all lanes; `down`, `paused`, `stopping`.
    pub(super) kind: &'static str,
    pub(super) text: String,
}

impl Drawing {
    pub(super) fn new(header: &Header, events: &[Event]) -> Drawing {
        let nodes = nodes(events);
        let lane = |node: &str| nodes.iter().position(|other| other == node).unwrap_or_default();
        let end = events.iter().map(|event| event.at.0).max().unwrap_or_default();
        let subjects = Subjects::of(events);
        let mut keys = BTreeMap::new();
        let points = events.iter().map(|event| point(event, &subjects, &mut keys, &lane)).collect();
        let mut bars = bars(events, end, &lane);
        let rows = stack(&mut bars, nodes.len());
        let mut names = vec![String::new(); keys.len()];
        for (key, index) in &keys {
            names[*index] = key.to_string();
        }
        let mut bands = fault_bands(events, end, &lane);
        let fault_rows = stack_bands(&mut bands, nodes.len());
        bands.extend(life_bands(events, end, &lane));
        let rows = rows.into_iter().zip(fault_rows).map(|(bars, bands)| bars.max(bands));
        let lanes = nodes.iter().zip(rows).map(|(node, rows)| Lane { node: node.clone(), rows }).collect();
        let named = |finding: &crate::run::Finding| {
            finding.events.iter().copied().filter(|index| *index < events.len()).collect()
        };
        let findings = header.findings.iter().map(named).collect();
        Drawing { lanes, end, events: points, bars, bands, keys: names, findings }
    }
}

/// All nodes, those that ask above those that are asked.
fn nodes(events: &[Event]) -> Vec<String> {
    let mut nodes: Vec<&str> = Vec::new();
    let servers = events.iter().filter_map(|event| match &event.body {
        Body::Invoke { server, .. } => Some(server.as_str()),
        Body::Message { to, .. } => Some(to.as_str()),
        _ => None,
    });
    for node in events.iter().map(|event| event.node.as_str()).chain(servers) {
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    let rank = |node: &str| match node {
        "faults" => 0,
        _ if node.starts_with("api") => 2,
        _ if node.starts_with("stor") => 3,
        _ => 1,
    };
    // `client-10` comes after `client-9`.
    let number = |node: &str| node.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0_u64);
    nodes.sort_by_key(|node| (rank(node), node.trim_end_matches(|c: char| c.is_ascii_digit()), number(node)));
    nodes.into_iter().map(str::to_owned).collect()
}

fn point(
    event: &Event,
    subjects: &Subjects<'_>,
    keys: &mut BTreeMap<ObjectKey, usize>,
    lane: &dyn Fn(&str) -> usize,
) -> Point {
    let keys = subjects.keys(&event.body).into_iter().map(|key| {
        let next = keys.len();
        *keys.entry(key).or_insert(next)
    });
    let keys = keys.collect();
    let to = match &event.body {
        Body::Message { to, arrives, .. } => Some((lane(to), arrives.0)),
        _ => None,
    };
    let id = id_of(&event.body).map(|id| id.0);
    let (at, lane, mark) = (event.at.0, lane(&event.node), mark(&event.body));
    Point { at, lane, mark, line: line(event), id, keys, to, event: event.clone() }
}

fn mark(body: &Body) -> &'static str {
    match body {
        Body::Commit(commit) if commit.objects.is_empty() => "compaction",
        Body::Commit(_) => "commit",
        Body::Invoke { .. } => "invoke",
        Body::Answer { .. } => "answer",
        Body::Stream { item: StreamItem::Added(_), .. } => "added",
        Body::Stream { item: StreamItem::Modified(_), .. } => "modified",
        Body::Stream { item: StreamItem::Deleted(_), .. } => "deleted",
        Body::Stream { item: StreamItem::Bookmark { .. }, .. } => "bookmark",
        Body::Stream { item: StreamItem::Error { .. }, .. } => "error",
        Body::StreamEnd { .. } => "end",
        Body::Informer { .. } | Body::Handled { .. } => "informer",
        Body::Node(_) | Body::Fault(_) | Body::Healed => "life",
        Body::Message { .. } => "message",
        Body::Gauge { .. } | Body::Note(_) => "note",
    }
}

fn bars(events: &[Event], end: u64, lane: &dyn Fn(&str) -> usize) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    let mut by_id: BTreeMap<OperationId, usize> = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        if let Body::Invoke { id, server, operation } = &event.body {
            by_id.insert(*id, bars.len());
            bars.push(Bar {
                id: id.0,
                lane: lane(&event.node),
                row: 0,
                server: lane(server),
                from: event.at.0,
                to: end,
                answered: None,
                verb: verb(operation),
                outcome: "open",
                label: request(operation),
                events: vec![index],
            });
            continue;
        }
        let Some(bar) = id_of(&event.body).and_then(|id| by_id.get(&id)).map(|place| &mut bars[*place]) else {
            continue;
        };
        bar.events.push(index);
        match &event.body {
            Body::Answer { outcome, .. } => {
                bar.answered = Some(event.at.0);
                bar.outcome = self::outcome(outcome);
                if bar.verb != "watch" || bar.outcome != "ok" {
                    bar.to = event.at.0;
                }
            }
            Body::StreamEnd { .. } => bar.to = event.at.0,
            _ => {}
        }
    }
    bars
}

fn verb(operation: &Operation) -> &'static str {
    match operation {
        Operation::Watch { .. } => "watch",
        Operation::Get { .. } | Operation::GetCached { .. } | Operation::List { .. } | Operation::Path { .. } => "read",
        _ => "write",
    }
}

fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answered(answer) if answer.code < 400 => "ok",
        Outcome::Answered(_) => "refused",
        Outcome::NotSent(_) | Outcome::Unknown(_) => "unknown",
    }
}

/// Gives each bar the first row that is free; answers how many rows each lane needs.
fn stack(bars: &mut [Bar], lanes: usize) -> Vec<usize> {
    let mut free_from: Vec<Vec<u64>> = vec![Vec::new(); lanes];
    // Watches live long: they come first, so that requests below them stay together.
    let mut order: Vec<usize> = (0..bars.len()).collect();
    order.sort_by_key(|index| (bars[*index].verb != "watch", bars[*index].from));
    let mut watch_rows = vec![0; lanes];
    for index in order {
        let bar = &mut bars[index];
        let rows = &mut free_from[bar.lane];
        let first = if bar.verb == "watch" { 0 } else { watch_rows[bar.lane] };
        let row = (first..rows.len()).find(|row| rows[*row] <= bar.from).unwrap_or(rows.len().max(first));
        let row = row.min(ROWS_MAX - 1);
        if row >= rows.len() {
            rows.resize(row + 1, 0);
        }
        rows[row] = rows[row].max(bar.to);
        bar.row = row;
        if bar.verb == "watch" {
            watch_rows[bar.lane] = (watch_rows[bar.lane]).max(row + 1).min(ROWS_MAX - 1);
        }
    }
    free_from.iter().map(|rows| rows.len().max(1)).collect()
}

/// Faults whose text says that they begin or end are bands; others are moments. Healing ends all.
fn fault_bands(events: &[Event], end: u64, lane: &dyn Fn(&str) -> usize) -> Vec<Band> {
    let mut bands = Vec::new();
    // Of two that are the same, the one that began first ends first.
    let mut open: Vec<(&str, u64)> = Vec::new();
    let mut last_lane = 0;
    for event in events {
        let at = event.at.0;
        if matches!(event.body, Body::Fault(_)) {
            last_lane = lane(&event.node);
        }
        let band = |from, to, kind, text: &str| Band { lane: last_lane, row: 0, from, to, kind, text: text.into() };
        match &event.body {
            Body::Fault(text) => {
                if let Some(name) = text.strip_prefix(BEGINS) {
                    open.push((name, at));
                } else if let Some(name) = text.strip_prefix(ENDS) {
                    let place = open.iter().position(|(other, _)| *other == name);
                    bands.push(band(place.map_or(0, |place| open.remove(place).1), at, "fault", name));
                } else {
                    bands.push(band(at, at, "fault", text));
                }
            }
            Body::Healed => {
                bands.extend(std::mem::take(&mut open).into_iter().map(|(name, from)| band(from, at, "fault", name)));
                bands.push(band(at, at, "healed", "healed"));
            }
            _ => {}
        }
    }
    let band =
        |(name, from): (&str, u64)| Band { lane: last_lane, row: 0, from, to: end, kind: "fault", text: name.into() };
    bands.extend(open.into_iter().map(band));
    bands
}

/// Gives each band the first row that is free, with room for its text; answers how many rows each lane needs.
fn stack_bands(bands: &mut [Band], lanes: usize) -> Vec<usize> {
    let mut free_from: Vec<Vec<u64>> = vec![Vec::new(); lanes];
    bands.sort_by_key(|band| band.from);
    for band in bands.iter_mut() {
        let Some(rows) = free_from.get_mut(band.lane) else { continue };
        let row = rows.iter().position(|free| *free <= band.from).unwrap_or(rows.len()).min(ROWS_MAX - 1);
        if row >= rows.len() {
            rows.resize(row + 1, 0);
        }
        rows[row] = rows[row].max(band.to.saturating_add(1));
        band.row = row;
    }
    free_from.iter().map(Vec::len).collect()
}

/// When nodes were down, stood still, or were stopping.
fn life_bands(events: &[Event], end: u64, lane: &dyn Fn(&str) -> usize) -> Vec<Band> {
    let mut bands = Vec::new();
    let mut open: BTreeMap<&str, (u64, NodeChange)> = BTreeMap::new();
    let changes = events.iter().filter_map(|event| match event.body {
        Body::Node(change) => Some((event.node.as_str(), event.at.0, change)),
        _ => None,
    });
    let close = |node: &str, from, to, change| Band {
        lane: lane(node),
        row: 0,
        from,
        to,
        kind: match change {
            NodeChange::Paused => "paused",
            NodeChange::AskedToStop => "stopping",
            _ => "down",
        },
        text: node_change(change).into(),
    };
    for (node, at, change) in changes {
        if let Some((from, change)) = open.remove(node) {
            bands.push(close(node, from, at, change));
        }
        if !matches!(change, NodeChange::Started | NodeChange::Resumed) {
            open.insert(node, (at, change));
        }
    }
    bands.extend(open.into_iter().map(|(node, (from, change))| close(node, from, end, change)));
    bands
}

#[cfg(test)]
mod tests {
    use triune_history::At;

    use super::*;

    fn event(at: u64, node: &str, body: Body) -> Event {
        Event { at: At(at), node: node.into(), body }
    }

    #[test]
    fn lanes_are_ordered_by_who_asks_whom() {
        let names = ["store", "api-2", "client-10", "faults", "api-1", "client-9"];
        let events: Vec<Event> = names.iter().map(|name| event(0, name, Body::Healed)).collect();
        assert_eq!(nodes(&events), ["faults", "client-9", "client-10", "api-1", "api-2", "store"]);
    }

    #[test]
    fn faults_are_bands_and_moments() {
        let check = |texts: &[(u64, &str)], expect: &[(u64, u64, &str)]| {
            let body = |text: &str| if text == "healed" { Body::Healed } else { Body::Fault(text.into()) };
            let events: Vec<Event> = texts.iter().map(|(at, text)| event(*at, "faults", body(text))).collect();
            let bands = fault_bands(&events, 99, &|_| 0);
            let bands: Vec<(u64, u64, &str)> =
                bands.iter().map(|band| (band.from, band.to, band.text.as_str())).collect();
            assert_eq!(bands, expect);
        };
        check(&[(1, "begin cut"), (5, "end cut")], &[(1, 5, "cut")]);
        check(&[(1, "jump")], &[(1, 1, "jump")]);
        check(&[(1, "begin cut")], &[(1, 99, "cut")]);
        check(&[(1, "begin cut"), (7, "healed")], &[(1, 7, "cut"), (7, 7, "healed")]);
        let twice = [(1, "begin cut"), (2, "begin cut"), (5, "end cut"), (9, "end cut")];
        check(&twice, &[(1, 5, "cut"), (2, 9, "cut")]);
        check(&[(5, "end cut")], &[(0, 5, "cut")]);
    }

    #[test]
    fn faults_at_the_same_time_lie_on_different_rows() {
        let texts = [(1, "begin a"), (2, "begin b"), (4, "end a"), (5, "begin c"), (9, "end b"), (9, "end c")];
        let body = |text: &str| Body::Fault(text.into());
        let events: Vec<Event> = texts.iter().map(|(at, text)| event(*at, "faults", body(text))).collect();
        let mut bands = fault_bands(&events, 99, &|_| 0);
        assert_eq!(stack_bands(&mut bands, 1), [2]);
        let rows: Vec<(&str, usize)> = bands.iter().map(|band| (band.text.as_str(), band.row)).collect();
        assert_eq!(rows, [("a", 0), ("b", 1), ("c", 0)]);
    }

    #[test]
    fn nodes_that_do_not_run_are_bands() {
        let changes = [
            (0, NodeChange::Started),
            (3, NodeChange::Crashed),
            (5, NodeChange::Started),
            (7, NodeChange::Paused),
            (9, NodeChange::Resumed),
            (11, NodeChange::AskedToStop),
        ];
        let events: Vec<Event> = changes.map(|(at, change)| event(at, "api-1", Body::Node(change))).into();
        let bands = life_bands(&events, 20, &|_| 0);
        let bands: Vec<(u64, u64, &str)> = bands.iter().map(|band| (band.from, band.to, band.kind)).collect();
        assert_eq!(bands, [(3, 5, "down"), (7, 9, "paused"), (11, 20, "stopping")]);
    }

    #[test]
    fn bars_that_overlap_lie_on_different_rows() {
        let bar = |verb, from, to| Bar {
            id: 0,
            lane: 0,
            row: 0,
            server: 0,
            from,
            to,
            answered: None,
            verb,
            outcome: "ok",
            label: String::new(),
            events: vec![],
        };
        let check = |times: &[(&'static str, u64, u64)], expect: &[usize], rows: usize| {
            let mut bars: Vec<Bar> = times.iter().map(|(verb, from, to)| bar(verb, *from, *to)).collect();
            assert_eq!(stack(&mut bars, 1), [rows]);
            assert_eq!(bars.iter().map(|bar| bar.row).collect::<Vec<_>>(), expect);
        };
        check(&[("read", 0, 5), ("read", 5, 9)], &[0, 0], 1);
        check(&[("read", 0, 5), ("read", 3, 9), ("read", 6, 8)], &[0, 1, 0], 2);
        check(&[("read", 0, 5), ("watch", 3, 9)], &[1, 0], 2);
        let many: Vec<(&str, u64, u64)> = (0..40).map(|_| ("watch", 0, 9)).collect();
        let mut bars: Vec<Bar> = many.iter().map(|(verb, from, to)| bar(verb, *from, *to)).collect();
        assert_eq!(stack(&mut bars, 1), [ROWS_MAX]);
        check(&[], &[], 1);
    }
}
