//! What a gateway received, and what became of it.

use crate::forward::Carried;
use crate::mqtt;
use crate::route::RouteCounters;
use std::fmt;

/// What a gateway received and what became of it.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Counters of the routes.
    pub routes: RouteCounters,
    /// Counters of the MQTT front.
    pub mqtt: mqtt::Snapshot,
    /// Streams on their way to sinks.
    pub carried: Vec<Carried>,
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
            self.mqtt.acks
        )?;
        self.carried.iter().try_for_each(|carried| write!(f, "; {carried}"))
    }
}
