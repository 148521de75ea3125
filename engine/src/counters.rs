//! What the engine counts. Counters only grow, from 0 at every start; a reader computes rates.

use headwater_journal as journal;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Calls of one API operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationCounters {
    /// The operation's name; the last one, `other`, counts requests that name none the engine has.
    pub operation: &'static str,
    /// Requests.
    pub calls: u64,
    /// Requests answered with 4xx.
    pub client_errors: u64,
    /// Requests answered with 5xx.
    pub server_errors: u64,
}

/// A snapshot of all counters of an engine.
#[derive(Debug, Clone)]
pub struct EngineCounters {
    /// Per operation of the API.
    pub operations: Vec<OperationCounters>,
    /// Records staged, by the API and by the engine's host.
    pub records_put: u64,
    /// Bytes of their keys and data.
    pub bytes_put: u64,
    /// Records refused one by one, because the log was busy or full.
    pub records_refused: u64,
    /// Records given to readers.
    pub records_read: u64,
    /// Bytes of their data.
    pub bytes_read: u64,
    /// Lost ranges that readers were led past.
    pub lost_ranges_read: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Streams there are now.
    pub streams: u64,
    /// Open shards there are now.
    pub open_shards: u64,
    /// Counters of the journal below, for the embedded engine.
    pub journal: Option<journal::Counters>,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    operations: Vec<OperationTally>,
    pub(crate) records_put: AtomicU64,
    pub(crate) bytes_put: AtomicU64,
    pub(crate) records_refused: AtomicU64,
    pub(crate) records_read: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) lost_ranges_read: AtomicU64,
    pub(crate) connections: AtomicU64,
}

#[derive(Debug)]
struct OperationTally {
    name: &'static str,
    calls: AtomicU64,
    client_errors: AtomicU64,
    server_errors: AtomicU64,
}

impl Tally {
    /// Counters for these operations and for everything else.
    pub(crate) fn new(operations: impl Iterator<Item = &'static str>) -> Self {
        let tally = |name| OperationTally {
            name,
            calls: AtomicU64::new(0),
            client_errors: AtomicU64::new(0),
            server_errors: AtomicU64::new(0),
        };
        Tally { operations: operations.chain(["other"]).map(tally).collect(), ..Tally::default() }
    }

    /// Counts a call of operation number `operation`, answered with this HTTP status; `None` is another.
    pub(crate) fn call(&self, operation: Option<usize>, status: u16) {
        let other = self.operations.len().saturating_sub(1);
        let Some(tally) = self.operations.get(operation.unwrap_or(other)) else { return };
        tally.calls.fetch_add(1, Relaxed);
        match status {
            400..=499 => tally.client_errors.fetch_add(1, Relaxed),
            500.. => tally.server_errors.fetch_add(1, Relaxed),
            _ => 0,
        };
    }

    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> EngineCounters {
        let operation = |tally: &OperationTally| OperationCounters {
            operation: tally.name,
            calls: tally.calls.load(Relaxed),
            client_errors: tally.client_errors.load(Relaxed),
            server_errors: tally.server_errors.load(Relaxed),
        };
        EngineCounters {
            operations: self.operations.iter().map(operation).collect(),
            records_put: self.records_put.load(Relaxed),
            bytes_put: self.bytes_put.load(Relaxed),
            records_refused: self.records_refused.load(Relaxed),
            records_read: self.records_read.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            lost_ranges_read: self.lost_ranges_read.load(Relaxed),
            connections: self.connections.load(Relaxed),
            streams: 0,
            open_shards: 0,
            journal: None,
        }
    }
}
