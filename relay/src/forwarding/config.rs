//! What a forwarding may use, and how it drains a backlog.

use crate::limits::{CALL_BYTES_MAX, CALL_RECORDS_MAX, RECORD_BYTES_MAX};
use crate::limits::{SHARD_BURST_MS, SHARD_BYTES_PER_S, SHARD_RECORDS_PER_S};
use crate::{Delays, WindowLimits};

/// Everything that can be chosen. `ForwardConfig::default()` is a stream of the service with its own limits.
#[derive(Debug, Clone)]
pub struct ForwardConfig {
    /// Records and bytes that may be in memory: waiting, in flight, or acked behind one that is not, and losses between them.
    /// `records_max` is at least 8. On top may come, for each read that is under way, one record larger than what is left of
    /// `bytes_max`, and for each region one loss told by `handle_dropped`.
    pub memory: WindowLimits,
    /// What one read may bring.
    pub read: WindowLimits,
    /// Calls and what is in them.
    pub calls: CallLimits,
    /// What one target shard takes.
    pub target_rate: TargetRate,
    /// Largest record the target takes, data and key, in bytes. Larger ones are set aside without being sent.
    pub record_bytes_max: u64,
    /// Own failures of a record, not counting throttling and calls that failed as a whole, after which it is set aside. At least 1. Failures
    /// between which its target shard took nothing count once; [`crate::limits::ALONE_FACTOR`] times as many end that too.
    pub tries_max: u16,
    /// Pauses after failures of the link and of single records.
    pub delays: Delays,
    /// Pauses of a target shard that took too much. Shorter: others may use the shard as well, and then this goes on for ever.
    pub throttle_delays: Delays,
    /// How a backlog is drained.
    pub drain: Drain,
    /// Packs records of one target shard into one; `None` sends each by itself.
    pub packing: Option<Packing>,
    /// How often the progress of a source is given out to be stored, in ms, unless something waits for it.
    pub progress_interval_ms: u64,
    /// Decides all jitter. Give each process its own.
    pub seed: u64,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            memory: WindowLimits { records_max: 20_000, bytes_max: 16 << 20 },
            read: WindowLimits { records_max: 2_000, bytes_max: 1 << 20 },
            calls: CallLimits::default(),
            target_rate: TargetRate::default(),
            record_bytes_max: RECORD_BYTES_MAX,
            tries_max: 32,
            delays: Delays { base_ms: 100, max_ms: 30_000, stable_ms: 10_000 },
            throttle_delays: Delays { base_ms: 100, max_ms: 2_000, stable_ms: 5_000 },
            drain: Drain::default(),
            packing: None,
            progress_interval_ms: 1_000,
            seed: 0,
        }
    }
}

/// How calls are made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls under way at once, at least 1. With two or more the last is kept for live data while there is some.
    pub in_flight_max: usize,
    /// Entries of a call, at least 1.
    pub records_max: usize,
    /// Data and keys of a call, in bytes. One record larger than this still goes, alone.
    pub bytes_max: u64,
    /// How long a call that is not full waits for more, in ms. A backlog does not wait while no call is under way.
    pub linger_ms: u64,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { in_flight_max: 4, records_max: CALL_RECORDS_MAX, bytes_max: CALL_BYTES_MAX, linger_ms: 10 }
    }
}

/// What one target shard takes, counted as the service counts: data and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetRate {
    /// Bytes per second.
    pub bytes_per_s: u64,
    /// Records per second; an aggregate is one.
    pub records_per_s: u64,
    /// What may go at once after a pause, as a time at these rates.
    pub burst_ms: u64,
}

impl Default for TargetRate {
    fn default() -> Self {
        Self { bytes_per_s: SHARD_BYTES_PER_S, records_per_s: SHARD_RECORDS_PER_S, burst_ms: SHARD_BURST_MS }
    }
}

/// How a backlog shares the link with live data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Part of the link live data gets while both wait, 0 to 100. What one does not use the other gets. Of two that could go, live goes first.
    pub live_percent: u8,
    /// Cap of the link, in bytes per second as [`WireCost`] counts them; `None` for no cap.
    pub bytes_per_s: Option<u64>,
    /// Who goes first where live data lies behind a backlog in the same shard.
    pub order: DrainOrder,
    /// A record is live when it is read within this many ms of its arrival.
    pub live_ms: u64,
    /// With `newest`: the least number of records between the place of reading and the end of the shard that makes live data go ahead.
    pub jump_records_min: u64,
    /// What a call costs on the link.
    pub wire: WireCost,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            live_percent: 70,
            bytes_per_s: None,
            order: DrainOrder::Oldest,
            live_ms: 30_000,
            jump_records_min: 1_000,
            wire: WireCost::default(),
        }
    }
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainOrder {
    /// The oldest: order per lane holds everywhere. A shard with a backlog is drained from its beginning, its live data comes last; the
    /// share of live data is for shards that have caught up.
    Oldest,
    /// The newest: a shard that is behind is read from its end at once, what was left out is drained beside it, the newest hole first.
    /// Given up: order per lane *between* live data and each hole. Within live data, and within each hole, order per lane holds.
    Newest,
}

/// What records and calls cost on the link, where a cap is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireCost {
    /// Bytes on the link for 100 bytes of data and key: 134 in base64, 100 in CBOR.
    pub percent: u32,
    /// Bytes around a record.
    pub record_bytes: u32,
    /// Bytes around a call: headers, signature, answer.
    pub call_bytes: u32,
}

impl Default for WireCost {
    fn default() -> Self {
        Self { percent: 134, record_bytes: 40, call_bytes: 1_500 }
    }
}

impl WireCost {
    pub(super) fn of(&self, size_bytes: u64) -> u64 {
        (size_bytes.saturating_mul(u64::from(self.percent)) / 100)
            .saturating_add(u64::from(self.record_bytes))
    }
}

/// How records are packed into one. Sizes are those of a format that only adds up, as the one of the KPL does. An aggregate of one record
/// is not made: that record is sent as it is.
#[derive(Debug, Clone, Copy)]
pub struct Packing {
    /// Largest aggregate with its outer key, in bytes. The outer key is that of the first record.
    pub bytes_max: u64,
    /// Most records in an aggregate, at least 1.
    pub records_max: usize,
    /// Bytes of an aggregate beside what its records add, without the outer key: magic and checksum.
    pub frame_bytes: u64,
    /// Bytes the next record adds.
    pub added: fn(Added) -> u64,
}

/// The record an aggregate is about to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Place of its key in the table of keys.
    pub key_index: usize,
    /// Whether the key enters the table with this record.
    pub is_new_key: bool,
    /// Bytes of its key.
    pub key_bytes: u32,
    /// Bytes of its data.
    pub data_bytes: u32,
}
