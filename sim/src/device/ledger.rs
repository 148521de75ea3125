//! What a device believes, for whoever compares it with the shards.
//!
//! In: the device's own observations. Out: for each boot, how far it came. Invariant: stored ≥ acked; sampled ≥
//! stored, except where a gap of a boot also tells for younger ones.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// One boot of one device. Places are counts: `acked` 5 means that 0 to 4 are acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootLedger {
    /// Places given to readings.
    pub sampled: u32,
    /// Places in flash. What is sampled beyond is lost when the power goes, without a trace.
    pub stored: u32,
    /// Places acknowledged by the receiver, all from 0 on: each must be in a shard as a reading or inside a gap.
    pub acked: u32,
    /// Of those, runs told as gaps by the ring: first place and count.
    pub gaps: Vec<(u32, u32)>,
}

/// Sums over all boots of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Readings taken.
    pub sampled: u64,
    /// Entries in flash, or once.
    pub stored: u64,
    /// Entries acknowledged, those told as gaps included.
    pub acked: u64,
    /// Of those, told as gaps.
    pub gap_entries: u64,
    /// Starts.
    pub boots: u64,
    /// Power cuts inside a flash write.
    pub cuts_in_write: u64,
    /// Connections that were answered or accepted.
    pub connections: u64,
    /// The gateway's last reason to refuse a connection or what was sent on it (MQTT 5, 2.4).
    pub refusal: Option<u8>,
}

impl Totals {
    /// Entries in flash that nobody has yet.
    pub fn waiting(&self) -> u64 {
        self.stored.saturating_sub(self.acked)
    }
}

#[derive(Debug, Default)]
struct State {
    boots: BTreeMap<u32, BootLedger>,
    totals: Totals,
}

/// Shared between a device and who watches it.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<State>);

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Every boot that took a reading or delivered one.
    pub fn boots(&self) -> BTreeMap<u32, BootLedger> {
        self.state().boots.clone()
    }

    /// The sums; cheap enough for every tick of a display.
    pub fn totals(&self) -> Totals {
        self.state().totals
    }

    pub(super) fn sampled(&self, boot: u32, seq: u32) {
        let mut state = self.state();
        state.totals.sampled += 1;
        state.boots.entry(boot).or_default().sampled = seq + 1;
    }

    pub(super) fn stored(&self, boot: u32, through: u32) {
        let mut state = self.state();
        let ledger = state.boots.entry(boot).or_default();
        let more = (through + 1).saturating_sub(ledger.stored);
        ledger.stored += more;
        state.totals.stored += u64::from(more);
    }

    pub(super) fn acked(&self, boot: u32, first: u32, through: u32, gap: bool) {
        let mut state = self.state();
        let ledger = state.boots.entry(boot).or_default();
        let from = ledger.acked.max(first);
        let more = (through + 1).saturating_sub(from);
        if more == 0 {
            return;
        }
        ledger.acked = through + 1;
        // When the power goes just after the last byte, the batch is there and the device never saw it stored.
        let unseen = ledger.acked.saturating_sub(ledger.stored);
        ledger.stored += unseen;
        if gap {
            ledger.gaps.push((from, more));
            state.totals.gap_entries += u64::from(more);
        }
        state.totals.stored += u64::from(unseen);
        state.totals.acked += u64::from(more);
    }

    pub(super) fn booted(&self) {
        self.state().totals.boots += 1;
    }

    pub(super) fn cut_in_write(&self) {
        self.state().totals.cuts_in_write += 1;
    }

    pub(super) fn connected(&self) {
        self.state().totals.connections += 1;
    }

    pub(super) fn refused(&self, reason: u8) {
        self.state().totals.refusal = Some(reason);
    }

    /// Whether everything sampled in `boot` is in flash.
    pub(super) fn all_stored(&self, boot: u32) -> bool {
        self.state().boots.get(&boot).is_none_or(|ledger| ledger.stored >= ledger.sampled)
    }
}
