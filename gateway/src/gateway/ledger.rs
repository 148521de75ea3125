//! What a gateway received, and what became of it.

use crate::books::{Publishes, StreamRow};
use crate::forward::Carried;
use crate::mqtt;
use crate::route::RouteCounters;
use std::fmt;

/// What a gateway received and what became of it, over restarts but for `mqtt`.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// What became of publishes.
    pub publishes: Publishes,
    /// The same of the routes alone.
    pub routes: RouteCounters,
    /// Counters of the MQTT front since the start.
    pub mqtt: mqtt::Snapshot,
    /// What each stream received and holds.
    pub streams: Vec<StreamRow>,
    /// Streams on their way to sinks.
    pub carried: Vec<Carried>,
}

impl Ledger {
    /// The ledger at one moment. What came into a stream since a sink looked last waits for that sink.
    pub(crate) fn new(
        publishes: Publishes,
        mqtt: mqtt::Snapshot,
        streams: Vec<StreamRow>,
        mut carried: Vec<Carried>,
    ) -> Self {
        for carried in &mut carried {
            if let Some(row) = streams.iter().find(|row| row.stream == carried.stream) {
                carried.catch_up(row.stored);
            }
        }
        Ledger { publishes, routes: publishes.routes, mqtt, streams, carried }
    }

    /// Whether every record of every stream is somewhere.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.streams.iter().all(StreamRow::balances) && self.carried.iter().all(Carried::balances)
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RouteCounters {
            received,
            stored,
            downlink_only,
            repeated,
            dead_lettered,
            unmatched,
            ignored,
            rejected,
            records,
            lost_at_devices,
            ..
        } = self.routes;
        write!(
            f,
            "received {received} = stored {stored} + subscribers only {downlink_only} + repeated {repeated} + \
             dead-lettered {dead_lettered} + unmatched {unmatched} + ignored {ignored} + rejected {rejected}; \
             records {records}, lost at devices {lost_at_devices}, acknowledged {}",
            self.publishes.acks
        )?;
        if self.publishes.dropped_full > 0 {
            write!(f, ", QoS 0 dropped on a full disk {}", self.publishes.dropped_full)?;
        }
        // Streams that nothing ever came into say nothing.
        let mut streams = self.streams.iter().filter(|row| row.received() > 0);
        streams.try_for_each(|row| write!(f, "; {row}"))?;
        self.carried.iter().try_for_each(|carried| write!(f, "; {carried}"))
    }
}
