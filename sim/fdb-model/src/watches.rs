//! Who waits for which key.
//!
//! A watch is triggered by a commit after which its key's value differs from what the waiter has seen, and is then looked
//! at once more before it fires, as FoundationDB's storage servers do: a value that went and came back may pass unseen.
//! A trigger is never lost: a triggered watch stays until it was looked at, and is armed again if the values are equal.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::rows::Rows;

/// Watches of one connection; more are refused.
pub const WATCHES_PER_CONNECTION_MAX: usize = 10_000;

/// A request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The connection.
    pub connection: u64,
    /// The request's number on it.
    pub request: u64,
}

#[derive(Debug)]
struct Watch {
    key: Bytes,
    seen: Option<Bytes>,
    triggered: bool,
}

/// All watches.
#[derive(Debug, Default)]
pub struct Watches {
    watches: BTreeMap<RequestId, Watch>,
    /// How many each connection has.
    counts: BTreeMap<u64, usize>,
    by_key: BTreeMap<Bytes, Vec<RequestId>>,
}

impl Watches {
    /// Waits. False: the connection has too many watches.
    pub fn arm(&mut self, id: RequestId, key: Bytes, seen: Option<Bytes>) -> bool {
        self.remove(id);
        let count = self.counts.entry(id.connection).or_default();
        if *count >= WATCHES_PER_CONNECTION_MAX {
            return false;
        }
        *count += 1;
        self.by_key.entry(key.clone()).or_default().push(id);
        self.watches.insert(id, Watch { key, seen, triggered: false });
        true
    }

    /// The watches of a key whose value has just become another than they know; each is told once.
    pub fn trigger(&mut self, key: &[u8], value: Option<&Bytes>, triggered: &mut Vec<RequestId>) {
        for id in self.by_key.get(key).into_iter().flatten() {
            let Some(watch) = self.watches.get_mut(id) else { continue };
            if !watch.triggered && watch.seen.as_ref() != value {
                watch.triggered = true;
                triggered.push(*id);
            }
        }
    }

    /// Looks at a triggered watch. True: its value differs now; it has fired and is gone.
    pub fn check(&mut self, id: RequestId, rows: &Rows) -> bool {
        let Some(watch) = self.watches.get_mut(&id) else { return false };
        if watch.seen.as_ref() == rows.newest(&watch.key) {
            watch.triggered = false;
            return false;
        }
        self.remove(id)
    }

    /// Ends a wait. False: there is none.
    pub fn remove(&mut self, id: RequestId) -> bool {
        let Some(watch) = self.watches.remove(&id) else { return false };
        if let Some(count) = self.counts.get_mut(&id.connection) {
            *count -= 1;
        }
        if let Some(ids) = self.by_key.get_mut(&watch.key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&watch.key);
            }
        }
        true
    }

    /// Ends the waits of a connection.
    pub fn disconnect(&mut self, connection: u64) {
        let ids: Vec<RequestId> = self.of_connection(connection).collect();
        for id in ids {
            self.remove(id);
        }
        self.counts.remove(&connection);
    }

    /// Connections that have had watches and are not gone.
    pub fn connections(&self) -> Vec<u64> {
        self.counts.keys().copied().collect()
    }

    fn of_connection(&self, connection: u64) -> impl Iterator<Item = RequestId> {
        let id = |request| RequestId { connection, request };
        self.watches.range(id(0)..=id(u64::MAX)).map(|(id, _)| *id)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.watches.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_so_many_watches_and_no_more() {
        let mut watches = Watches::default();
        let mut arm = |connection, request| {
            watches.arm(RequestId { connection, request }, Bytes::from(format!("key{request}")), None)
        };
        let most = WATCHES_PER_CONNECTION_MAX as u64;
        assert!((0..most).all(|request| arm(1, request)));
        assert!(!arm(1, most));
        assert!(arm(2, 0));
        watches.remove(RequestId { connection: 1, request: 5 });
        assert!(watches.arm(RequestId { connection: 1, request: most }, Bytes::new(), None));
        watches.disconnect(1);
        assert_eq!((watches.len(), watches.by_key.len()), (1, 1));
    }
}
