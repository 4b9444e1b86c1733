//! A history as a file of JSON lines: a header, then an event a line.

use std::io::{self, BufRead, Write};

use crate::event::Event;

/// Writes a header (any JSON value, on one line) and events.
pub fn write(out: &mut dyn Write, header: &serde_json::Value, events: &[Event]) -> io::Result<()> {
    writeln!(out, "{header}")?;
    for event in events {
        serde_json::to_writer(&mut *out, event)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads what [`write()`] wrote. Fails on a line that is not an event, with its number.
pub fn read(input: &mut dyn BufRead) -> io::Result<(serde_json::Value, Vec<Event>)> {
    let mut header = None;
    let mut events = Vec::new();
    for (index, line) in input.lines().enumerate() {
        let line = line?;
        let at = |error: serde_json::Error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {error}", index + 1))
        };
        match header {
            None => header = Some(serde_json::from_str(&line).map_err(at)?),
            Some(_) => events.push(serde_json::from_str(&line).map_err(at)?),
        }
    }
    let header = header.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file is empty"))?;
    Ok((header, events))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{At, Body, Operation, OperationId, StreamItem, Version, WatchFrom},
        object::ObjectKey,
    };

    #[test]
    fn what_is_written_is_read() {
        let key = ObjectKey { resource: "configmaps".into(), namespace: "a".into(), name: "b".into() };
        let list = Operation::List {
            resource: "configmaps".into(),
            namespace: String::new(),
            labels: vec![("a".into(), "b".into())],
            version: Version::Exact(7),
            limit: 2,
            continues: Some(OperationId(1)),
        };
        let watch = Operation::Watch {
            resource: "configmaps".into(),
            namespace: String::new(),
            labels: vec![],
            from: WatchFrom::WatchList(0),
            bookmarks: true,
            timeout_seconds: 0,
        };
        let bodies = [
            Body::Invoke { id: OperationId(1), server: "api-1".into(), operation: Operation::Get { key } },
            Body::Invoke { id: OperationId(2), server: "api-1".into(), operation: list },
            Body::Invoke { id: OperationId(3), server: "api-1".into(), operation: watch },
            Body::Stream { id: OperationId(3), item: StreamItem::Bookmark { revision: 3, initial_events_end: true } },
            Body::Healed,
        ];
        let events: Vec<Event> = bodies.into_iter().map(|body| Event { at: At(5), node: "n".into(), body }).collect();
        let mut file = Vec::new();
        let header = serde_json::json!({"seed": 1});
        write(&mut file, &header, &events).unwrap();
        assert_eq!(read(&mut file.as_slice()).unwrap(), (header, events));
        assert!(read(&mut &b"{}\nnonsense\n"[..]).unwrap_err().to_string().starts_with("line 2"));
    }
}
