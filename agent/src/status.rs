//! What the agent counts, and how it is shown: one status line an interval, and Prometheus text.
//!
//! Always true at rest: `spool_before + spooled = delivered + rejected + lost + waiting`, in records. The parts come from
//! different places (intake, PUBACKs, the checkpoint), so the sum is a check and not a definition.
//!
//! Not here: the HTTP port, and who counts what.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Sets the value and returns the one before: exactly one caller sees the change.
    pub(crate) fn swap(&self, value: u64) -> u64 {
        self.0.swap(value, Ordering::Relaxed)
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($kind:ident $name:ident $help:literal)*) => {
        /// Everything counted since the start. Names and help are those of `/metrics`.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $help] pub $name: $kind,)*
        }

        impl Counters {
            /// The Prometheus text exposition format, version 0.0.4.
            pub fn prometheus(&self) -> String {
                let mut text = String::with_capacity(4096);
                $(sample(&mut text, stringify!($kind), stringify!($name), $help, self.$name.get());)*
                text
            }
        }
    };
}

counters! {
    Counter links_opened "Device links opened."
    Counter links_closed "Device links closed."
    Counter hellos "Hellos accepted."
    Counter hellos_refused "Hellos of devices that are not allowed, or of another wire version."
    Counter frames_bad "Frames damaged on the way, skipped."
    Counter frames_unknown "Whole frames that this version does not understand, skipped."
    Counter frames_ignored "Frames without use here, for instance before a Hello."
    Counter batches "Whole batches received."
    Counter batches_spooled "Batches spooled."
    Counter batches_repeated "Batches received again, acked and not spooled."
    Counter batches_refused "Batches not acked because the one before is missing; sent again by the device."
    Counter holes "Places missing in the line of a boot that no device will send."
    Counter gaps "Entries that devices report as lost."
    Counter births_spooled "New births spooled."
    Counter logs_spooled "Device log lines spooled."
    Counter results_spooled "Results of commands spooled."
    Counter commands "Commands for devices received from the gateway."
    Counter commands_sent "Commands sent to devices, those sent again too."
    Counter commands_dropped "Commands of which no result came, or whose device was not there or too busy."
    Counter acks "Acks sent to devices."
    Counter time_answers "Time requests answered."
    Counter time_unsure "Time answers while this host's clock was never set (before 2024), told as estimated."
    Counter spooled "Records appended to the spool."
    Counter delivered "Records the gateway has acked, by the checkpoint."
    Counter rejected "Records the gateway will never take, set aside."
    Counter lost "Records lost by damage to the spool."
    Counter uplink_connects "MQTT connections made."
    Counter uplink_failures "MQTT connections lost or not made."
    Counter uplink_retries "Records the gateway asked to send again later."
    Counter births_published "Births published at connect."
    Counter spool_full_events "Times the spool became full."
    Level spool_before "Records that waited at the start."
    Level spool_end "First place of the spool not yet taken."
    Level spool_checkpoint "First place of the spool not yet done."
    Level spool_full "1 while the spool is full and devices are not read."
    Level uplink_connected "1 while the gateway is connected."
    Level devices_unheard "Connected devices whose commands the gateway refuses to let us hear."
    Level devices "Devices known."
    Counter devices_forgotten "Devices forgotten to make room for new ones."
}

/// The records of the spool since the start, in two ways that must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    /// Waited at the start, plus spooled since.
    pub taken: u64,
    /// Acked by the gateway.
    pub delivered: u64,
    /// Set aside.
    pub rejected: u64,
    /// Lost by damage to the spool.
    pub lost: u64,
    /// Still to be delivered.
    pub waiting: u64,
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ledger { taken, delivered, rejected, lost, waiting } = self;
        write!(
            f,
            "taken {taken} = delivered {delivered} + set aside {rejected} + lost {lost} + waiting {waiting}"
        )
    }
}

impl Ledger {
    /// Whether nothing vanished and nothing appeared from nowhere.
    pub fn balances(&self) -> bool {
        self.taken == self.delivered + self.rejected + self.lost + self.waiting
    }
}

impl Counters {
    /// The ledger now. It balances whenever no record is just being moved from one column to the next.
    pub fn ledger(&self) -> Ledger {
        Ledger {
            taken: self.spool_before.get() + self.spooled.get(),
            delivered: self.delivered.get(),
            rejected: self.rejected.get(),
            lost: self.lost.get(),
            waiting: self.spool_end.get().saturating_sub(self.spool_checkpoint.get()),
        }
    }

    pub(crate) fn log_line(&self) {
        let ledger = self.ledger();
        tracing::info!(
            links = self.links_opened.get().saturating_sub(self.links_closed.get()),
            devices = self.devices.get(),
            connected = self.uplink_connected.get() == 1,
            taken = ledger.taken,
            delivered = ledger.delivered,
            waiting = ledger.waiting,
            rejected = ledger.rejected,
            lost = ledger.lost,
            frames_bad = self.frames_bad.get(),
            full = self.spool_full.get() == 1,
            "status"
        );
    }
}

fn sample(text: &mut String, kind: &str, name: &str, help: &str, value: u64) {
    let (kind, suffix) = if kind == "Counter" { ("counter", "_total") } else { ("gauge", "") };
    let name = format!("headwater_agent_{name}{suffix}");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text_names_help_type_and_value() {
        let counters = Counters::default();
        counters.acks.add(3);
        counters.spool_full.set(1);
        let text = counters.prometheus();
        assert!(
            text.contains("# TYPE headwater_agent_acks_total counter\nheadwater_agent_acks_total 3\n"),
            "{text}"
        );
        assert!(
            text.contains("# TYPE headwater_agent_spool_full gauge\nheadwater_agent_spool_full 1\n"),
            "{text}"
        );
    }

    #[test]
    fn the_ledger_balances_only_when_every_record_is_somewhere() {
        let counters = Counters::default();
        counters.spool_before.set(5);
        counters.spooled.add(10);
        counters.spool_end.set(115);
        counters.spool_checkpoint.set(110);
        counters.delivered.add(9);
        assert!(!counters.ledger().balances());
        counters.rejected.add(1);
        assert!(counters.ledger().balances());
    }
}
