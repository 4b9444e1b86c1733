//! The database as it outlives the process that serves it, and who is told of commits.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use triune_env::storage::Revision;
use triune_fdb_model::{Command, Database, Effects, RequestId, Revisions, Version, database::Applied};

/// The version of a new database: revisions are small, and none is 0.
const FIRST_VERSION: Version = Version(1_000_000_000);

/// What a node serves. Its processes come and go; it stays.
#[derive(Debug)]
pub struct Cluster {
    database: Database,
    /// The time that counts as 0, once it has been served.
    epoch: Option<Instant>,
    connections: u64,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster { database: Database::new(FIRST_VERSION, 0), epoch: None, connections: 0 }
    }
}

impl Cluster {
    /// How versions are turned into revisions.
    pub fn revisions(&self) -> Revisions {
        self.database.revisions()
    }

    /// The database, to look at.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether it has been served before.
    pub(crate) fn was_served(&self) -> bool {
        self.epoch.is_some()
    }

    /// Numbers of connections are never used twice: their commits may still be in flight.
    pub(crate) fn next_connection(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    /// A new process does not know the connections of those before.
    pub(crate) fn forget_connections(&mut self, now: Instant) {
        for connection in self.database.watching() {
            self.apply(now, Command::Disconnect { connection });
        }
    }

    pub(crate) fn in_flight(&self) -> Vec<RequestId> {
        self.database.in_flight().collect()
    }

    pub(crate) fn apply(&mut self, now: Instant, command: Command) -> Effects {
        let epoch = *self.epoch.get_or_insert(now);
        let now_us = now.saturating_duration_since(epoch).as_micros();
        self.database.apply(u64::try_from(now_us).unwrap_or(u64::MAX), command)
    }
}

/// A commit that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSeen {
    /// Its place in the order of all commits.
    pub revision: Revision,
    /// Rows set (Some) and removed (None), in the order of the calls; a later one of the same key wins. Stamps are written,
    /// and a cleared range is the rows that it held.
    pub rows: Vec<(Bytes, Option<Bytes>)>,
}

impl CommitSeen {
    pub(crate) fn new(applied: Applied, revisions: Revisions) -> CommitSeen {
        CommitSeen { revision: revisions.of_commit(applied.position), rows: applied.rows }
    }
}

/// Is told of each commit as it is applied, in commit order, before anybody else can see it. It must not ask the cluster.
pub type Observer = Arc<dyn Fn(&CommitSeen) + Send + Sync>;
