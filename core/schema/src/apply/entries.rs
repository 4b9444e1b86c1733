//! `metadata.managedFields`: who set which fields, read into sets and written back.
//!
//! An entry is known by its manager, operation and subresource, and, for updates, its version: an applier has one entry
//! whatever version it applies in. Invariants of what is written: sorted as the reference sorts it, no two entries with
//! one identity, none without fields.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap};

use serde_json::{Map, Value};
use triune_api::time;

use super::{conflict::ManagerId, element::write_text, set::Set};

/// How many entries of updates are kept; more are put together, the oldest first.
const UPDATE_ENTRIES_MAX: usize = 10;
/// The manager of entries that were put together.
const ANCIENT: &str = "ancient-changes";

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Everything else.
    Update,
}

impl Operation {
    fn text(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// An entry of `managedFields`.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) manager: Cow<'a, str>,
    pub(super) operation: Operation,
    pub(super) api_version: Cow<'a, str>,
    pub(super) subresource: Cow<'a, str>,
    /// As it was read: RFC 3339, seconds.
    pub(super) time: Option<Cow<'a, str>>,
    pub(super) set: Set<'a>,
    /// Position of the entry that it was read from and would be written as again, as long as nothing changes it.
    pub(super) unchanged: Option<usize>,
}

/// Who does something, in which version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity<'a> {
    pub(super) manager: &'a str,
    pub(super) operation: Operation,
    pub(super) api_version: &'a str,
    pub(super) subresource: &'a str,
}

impl<'a> Entry<'a> {
    pub(super) fn new(identity: Identity<'a>, set: Set<'a>, time: Option<&'a str>) -> Entry<'a> {
        Entry {
            manager: identity.manager.into(),
            operation: identity.operation,
            api_version: identity.api_version.into(),
            subresource: identity.subresource.into(),
            time: time.map(Cow::Borrowed),
            set,
            unchanged: None,
        }
    }

    /// Whether it is the entry of whoever does something.
    pub(super) fn is_of(&self, identity: Identity<'_>) -> bool {
        self.operation == identity.operation
            && self.manager == identity.manager
            && self.subresource == identity.subresource
            && (self.operation == Operation::Apply || self.api_version == identity.api_version)
    }

    fn identity(&self) -> Identity<'_> {
        Identity {
            manager: &self.manager,
            operation: self.operation,
            api_version: &self.api_version,
            subresource: &self.subresource,
        }
    }

    /// What tells it from others, for messages.
    pub(super) fn id(&self) -> ManagerId {
        ManagerId {
            manager: self.manager.to_string(),
            operation: self.operation,
            api_version: if self.operation == Operation::Apply { String::new() } else { self.api_version.to_string() },
            subresource: self.subresource.to_string(),
        }
    }

    /// Takes paths out of its set.
    pub(super) fn lose(&mut self, paths: &Set<'_>) {
        if self.set.intersects(paths) {
            self.set = std::mem::take(&mut self.set).difference(paths);
            self.unchanged = None;
        }
    }

    fn seconds(&self) -> i64 {
        self.time.as_deref().and_then(time::parse).map_or(0, jiff::Timestamp::as_second)
    }

    fn to_value(&self) -> Value {
        let mut entry = Map::new();
        entry.insert("apiVersion".into(), Value::String(self.api_version.to_string()));
        entry.insert("fieldsType".into(), "FieldsV1".into());
        entry.insert("fieldsV1".into(), self.set.to_value());
        if !self.manager.is_empty() {
            entry.insert("manager".into(), Value::String(self.manager.to_string()));
        }
        entry.insert("operation".into(), self.operation.text().into());
        if !self.subresource.is_empty() {
            entry.insert("subresource".into(), Value::String(self.subresource.to_string()));
        }
        if let Some(time) = &self.time {
            entry.insert("time".into(), Value::String(time.to_string()));
        }
        Value::Object(entry)
    }
}

/// The identity as the reference writes it, which its order of entries of one time is made of.
pub(super) fn identity_text(manager: &str, operation: Operation, api_version: &str, subresource: &str) -> String {
    let mut text = String::from("{");
    let api_version = if operation == Operation::Apply { "" } else { api_version };
    let fields = [
        ("manager", manager),
        ("operation", operation.text()),
        ("apiVersion", api_version),
        ("subresource", subresource),
    ];
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        if text.len() > 1 {
            text.push(',');
        }
        write_text(&mut text, name);
        text.push(':');
        write_text(&mut text, value);
    }
    text.push('}');
    text
}

/// Reads entries.
///
/// # Errors
/// What the reference refuses: unknown operations and types of fields, entries without version, malformed fields.
pub(super) fn read(entries: &[Value]) -> Result<Vec<Entry<'_>>, String> {
    let mut read: Vec<Entry<'_>> = Vec::with_capacity(entries.len() + 1);
    for (at, value) in entries.iter().enumerate() {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".into()),
        };
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".into());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {at}")),
        }
        let fields = value.get("fieldsV1");
        let (set, exact) = match fields.map(Set::parse_exact) {
            Some(Ok(parsed)) => parsed,
            Some(Err(error)) => {
                return Err(format!("error decoding versioned set from {value}: error decoding set: {error}"));
            }
            None => (Set::new(), false),
        };
        let entry = Entry {
            manager: text("manager").into(),
            operation,
            api_version: text("apiVersion").into(),
            subresource: text("subresource").into(),
            time: value.get("time").and_then(Value::as_str).map(Cow::Borrowed),
            set,
            unchanged: exact.then_some(at),
        };
        match read.iter_mut().find(|known| known.is_of(entry.identity())) {
            Some(known) => *known = entry,
            None => read.push(entry),
        }
    }
    Ok(read)
}

/// What is to be written of an entry.
pub(super) enum Written {
    /// The entry that was read from this position.
    Kept(usize),
    /// Another.
    New(Value),
}

/// Entries in the reference's order.
pub(super) fn write(mut entries: Vec<Entry<'_>>) -> Vec<Written> {
    if entries.len() > 1 {
        entries.sort_by(|left, right| {
            let names = |entry: &Entry<'_>, other: &Entry<'_>| {
                (&entry.manager, &entry.api_version, &entry.subresource).cmp(&(
                    &other.manager,
                    &other.api_version,
                    &other.subresource,
                ))
            };
            let by_age = left.seconds().cmp(&right.seconds());
            left.operation.cmp(&right.operation).then(by_age).then_with(|| names(left, right))
        });
    }
    let written = |entry: Entry<'_>| match entry.unchanged {
        Some(at) => Written::Kept(at),
        None => Written::New(entry.to_value()),
    };
    entries.into_iter().map(written).collect()
}

/// Puts the oldest entries of updates together, those of one version under one name, until there are not too many.
pub(super) fn cap(entries: &mut Vec<Entry<'_>>) {
    let mut updates: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].operation == Operation::Update).collect();
    let mut left = updates.len();
    if left <= UPDATE_ENTRIES_MAX {
        return;
    }
    let text =
        |entry: &Entry<'_>| identity_text(&entry.manager, entry.operation, &entry.api_version, &entry.subresource);
    let by_age = |left: &Entry<'_>, right: &Entry<'_>| -> Ordering {
        left.seconds().cmp(&right.seconds()).then_with(|| text(left).cmp(&text(right)))
    };
    updates.sort_by(|left, right| by_age(&entries[*left], &entries[*right]));
    // For each version: the first entry met, which becomes the bucket once there is a second.
    let mut buckets: BTreeMap<String, usize> = BTreeMap::new();
    let mut gone = vec![false; entries.len()];
    for at in updates {
        if left <= UPDATE_ENTRIES_MAX {
            break;
        }
        let version = entries[at].api_version.to_string();
        let Some(first) = buckets.get(&version).copied() else {
            buckets.insert(version, at);
            continue;
        };
        let is_bucket = |entry: &Entry<'_>| {
            entry.is_of(Identity {
                manager: ANCIENT,
                operation: Operation::Update,
                api_version: &version,
                subresource: "",
            })
        };
        let bucket = match (0..entries.len()).find(|at| !gone[*at] && is_bucket(&entries[*at])) {
            Some(bucket) => bucket,
            None => {
                entries[first].manager = ANCIENT.into();
                entries[first].subresource = "".into();
                first
            }
        };
        let Entry { set, time, .. } = entries[at].clone();
        if bucket != at {
            gone[at] = true;
            left -= 1;
        }
        let held = std::mem::take(&mut entries[bucket].set);
        entries[bucket].set = held.union(set);
        entries[bucket].time = time;
        entries[bucket].unchanged = None;
    }
    let mut gone = gone.into_iter();
    entries.retain(|_| !gone.next().unwrap_or_default());
}
