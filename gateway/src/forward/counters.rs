//! What a sink did with a stream, to look at.

use headwater_relay::{DrainState, DropReason, Ledger};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A stream on its way to a sink, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    /// The sink.
    pub sink: String,
    /// Our stream.
    pub stream: String,
    /// The target stream.
    pub target: String,
    /// What became of its records since the sink began with it, over restarts. `stored` is `delivered`, dead letters, dropped and
    /// waiting together.
    pub ledger: Ledger,
    /// Records of the stream from before the sink began with it; none until it has looked at its shards.
    pub before: Option<u64>,
    /// Records that still have to be delivered, found by looking.
    pub waiting: u64,
    /// Records in memory, and their bytes.
    pub held: (usize, u64),
    /// Records delivered a second, of the last 15 s.
    pub delivered_per_s: f64,
    /// When nothing will be waiting at this rate, in ms; none when that is never.
    pub eta_ms: Option<u64>,
    /// Calls with records that were made.
    pub calls: u64,
    /// Those of them that failed as a whole.
    pub calls_failed: u64,
    /// Questions about the target and its shards that failed.
    pub looks_failed: u64,
    /// Records that were refused in a call and are sent again.
    pub records_retried: u64,
    /// Bytes of keys and data in calls.
    pub bytes_sent: u64,
    /// Milliseconds that our clock is behind the target's.
    pub clock_behind_ms: Option<i64>,
    /// Whether the last call had an answer.
    pub is_connected: bool,
    /// Why not.
    pub trouble: Option<String>,
}

/// Where a carrier shows itself. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(Arc<Mutex<Carried>>);

impl Shown {
    pub(super) fn change(&self, change: impl FnOnce(&mut Carried)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether both show the same carrier.
    pub(super) fn is(&self, other: &Shown) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn now(&self) -> Carried {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Carried {
    pub(super) fn drains(&mut self, state: &DrainState) {
        self.waiting = state.waiting_records;
        self.held = (state.held_records, state.held_bytes);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = state.delivered_per_1000_s as f64 / 1_000.0;
        self.delivered_per_s = rate;
        self.eta_ms = state.eta_ms;
    }

    /// The stream has `stored` records by now: those that came since the sink looked wait.
    pub(crate) fn catch_up(&mut self, stored: u64) {
        let Some(before) = self.before else { return };
        let fresh = stored.saturating_sub(before + self.ledger.stored);
        self.ledger.stored += fresh;
        self.waiting += fresh;
    }

    /// Whether every record is somewhere.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.ledger.check(self.waiting).is_ok()
    }

    /// Every reason for which records were dropped, with its name.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        DropReason::ALL.iter().zip(self.ledger.dropped).map(|(reason, count)| (reason_name(*reason), count))
    }
}

pub(super) fn reason_name(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Age => "age",
        DropReason::Quota => "quota",
        DropReason::Damage => "damage",
        DropReason::Skipped => "skipped",
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ledger { stored, delivered, dead_lettered, .. } = self.ledger;
        let dropped = self.ledger.dropped_total();
        write!(
            f,
            "sink {} of {}: stored {stored} = delivered {delivered} + waiting {} + dead-lettered {dead_lettered} + dropped {dropped}",
            self.sink, self.stream, self.waiting
        )?;
        match self.before {
            Some(before) if before > 0 => write!(f, ", before the sink {before}"),
            _ => Ok(()),
        }
    }
}
