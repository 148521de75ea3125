//! What a stream received and holds, to look at.

use std::fmt;

/// A stream's records since it was created, over restarts.
///
/// `received() = stored + in_flight + torn`: at any instant, since what is stored is counted by place, and what came from whom before it
/// can be stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamRow {
    /// The stream.
    pub stream: String,
    /// Put by clients of the Kinesis API.
    pub by_api: u64,
    /// Put by routes, from what publishers sent.
    pub by_routes: u64,
    /// Put by sinks: dead letters, and notes of losses.
    pub by_sinks: u64,
    /// Put by this program otherwise.
    pub by_host: u64,
    /// Stored before a crash, after the counts of who put them were stored last; or by a version that stored no such counts.
    pub by_unknown: u64,
    /// Durable, those that are gone by now included. Exact after any crash: it is the shards' positions.
    pub stored: u64,
    /// Taken, and not durable yet.
    pub in_flight: u64,
    /// Counted, and torn off the end of the log by damage: nobody can tell them from what was never acknowledged.
    pub torn: u64,
    /// Of `stored`, those that left the log at its beginning: past their retention, or trimmed.
    pub expired: u64,
    /// Of `stored`, those that are known to be damaged and have not expired.
    pub damaged: u64,
    /// Records refused to clients of the API, beyond a rate or while too much waited for the disk. Not in `received`.
    pub throttled: u64,
    /// Records refused to clients of the API for another reason. Not in `received`.
    pub failed: u64,
    /// Entries of devices that came again and were dropped. Not in `received`.
    pub repeated: u64,
    /// Entries that devices lost before they could be sent, as their gaps say. Not in `received`.
    pub lost_at_devices: u64,
}

impl StreamRow {
    /// Records that came, from whomever.
    #[must_use]
    pub fn received(&self) -> u64 {
        let Self { by_api, by_routes, by_sinks, by_host, by_unknown, .. } = self;
        by_api + by_routes + by_sinks + by_host + by_unknown
    }

    /// Whether every record is somewhere.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.received() == self.stored + self.in_flight + self.torn
            && self.expired + self.damaged <= self.stored
    }

    /// Every count with its name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("received", self.received()),
            ("by_api", self.by_api),
            ("by_routes", self.by_routes),
            ("by_sinks", self.by_sinks),
            ("by_host", self.by_host),
            ("by_unknown", self.by_unknown),
            ("stored", self.stored),
            ("in_flight", self.in_flight),
            ("torn", self.torn),
            ("expired", self.expired),
            ("damaged", self.damaged),
            ("throttled", self.throttled),
            ("failed", self.failed),
            ("repeated", self.repeated),
            ("lost_at_devices", self.lost_at_devices),
        ]
        .into_iter()
    }
}

impl fmt::Display for StreamRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, by_api, by_routes, by_sinks, by_host, by_unknown, stored, in_flight, .. } = self;
        write!(f, "stream {stream}: received {} (routes {by_routes}, API {by_api}", self.received())?;
        for (count, from) in [(by_sinks, "sinks"), (by_host, "host"), (by_unknown, "unknown")] {
            if *count > 0 {
                write!(f, ", {from} {count}")?;
            }
        }
        write!(f, ") = stored {stored} + in flight {in_flight}")?;
        if self.torn > 0 {
            write!(f, " + torn off {}", self.torn)?;
        }
        write!(f, "; expired {}", self.expired)?;
        if self.damaged > 0 {
            write!(f, ", damaged {}", self.damaged)?;
        }
        Ok(())
    }
}
