//! Made-up sensors whose values can be told again.
//!
//! In: seed, boot, seq, channel. Out: the value. Invariant: [`value`] is a pure function, so an end check needs no
//! memory of what was sampled.

use super::{Phase, ledger::Ledger};
use headwater_device::{Item, Observer, Sampler};
use headwater_telemetry::limits::CHANNELS_MAX;
use headwater_telemetry::{Batch, BootId, Channel, ChannelId, Seq, Text, Value, ValueKind, heapless::Vec};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::watch;

/// Name, unit, kind, exponent, and how many base periods lie between two readings.
pub(crate) type Description = (&'static str, &'static str, ValueKind, i8, u32);

/// The channels of every virtual device, in table order.
pub const CHANNELS: [Description; 6] = [
    ("temperature", "°C", ValueKind::Fixed, -2, 1),
    ("humidity", "%", ValueKind::Fixed, -1, 1),
    ("pulses", "", ValueKind::Integer, 0, 1),
    ("door", "", ValueKind::Boolean, 0, 5),
    ("battery", "V", ValueKind::Fixed, -3, 10),
    ("event", "", ValueKind::Text, 0, 20),
];

/// Readings in one base period: the sum of the inverses of the periods above.
const READINGS_PER_PERIOD: f64 = 1.0 + 1.0 + 1.0 + 0.2 + 0.1 + 0.05;

/// The value that the device of `seed` gives to place `seq` of `boot`, if that place is a reading of `channel`.
pub fn value(seed: u64, boot: BootId, seq: Seq, channel: ChannelId) -> Value {
    let mut hash = seed ^ (u64::from(boot.0) << 32 | u64::from(seq.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 29;
    let noise = |below: u64| i32::try_from(hash % below).expect("a noise below 2^31");
    // A slow triangle: up for 500 places, down for 500.
    let wave = i32::try_from((seq.0 % 1_000).min(1_000 - seq.0 % 1_000)).expect("at most 500");
    match channel.0 {
        0 => Value::Fixed(1_800 + wave + noise(20)),
        1 => Value::Fixed(400 + wave / 4 + noise(10)),
        2 => Value::Integer(i64::from(seq.0)),
        3 => Value::Boolean(hash.is_multiple_of(7)),
        4 => Value::Fixed(4_100 - i32::try_from(seq.0 / 1_000 % 800).expect("below 800") - noise(5)),
        _ => {
            let words = ["ok", "door opened", "calibrated", "button", "wärme"];
            Value::Text(Text::truncated(words[usize::try_from(hash % 5).expect("below 5")]))
        }
    }
}

/// The sensors, and the observer that keeps them in step with the line of places.
pub(super) struct Sensors {
    pub(super) seed: u64,
    pub(super) period_ms: u32,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) place: Rc<Place>,
}

/// Where in its line the device is, so that a value can be made from its place.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) boot: Cell<u32>,
    next: Cell<u32>,
}

/// Milliseconds between two readings of the fastest channels at this rate.
pub(crate) fn period_ms(rate_per_sec: f64) -> u32 {
    let period = 1_000.0 * READINGS_PER_PERIOD / rate_per_sec.max(0.001);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let period = period.round().clamp(f64::from(headwater_device::limits::PERIOD_MS_MIN), 4e9) as u32;
    period
}

impl Sampler for Sensors {
    fn channels(&self) -> Vec<Channel, CHANNELS_MAX> {
        let describe = |&(name, unit, kind, exponent, _): &Description| {
            Channel::new(name, unit, kind, exponent).expect("the table above fits the limits")
        };
        CHANNELS.iter().map(describe).collect()
    }

    fn period_ms(&self, channel: ChannelId) -> u32 {
        let turns = CHANNELS.get(usize::from(channel.0)).map_or(1, |channel| channel.4);
        self.period_ms.saturating_mul(turns)
    }

    async fn sample(&mut self, channel: ChannelId) -> Option<Value> {
        let running = *self.phase.borrow() == Phase::Run;
        running.then(|| value(self.seed, BootId(self.place.boot.get()), Seq(self.place.next.get()), channel))
    }
}

/// Writes the ledger.
pub(super) struct Watcher {
    pub(super) ledger: Arc<Ledger>,
    pub(super) place: Rc<Place>,
}

impl Observer for Watcher {
    fn sampled(&self, boot: BootId, seq: Seq) {
        self.place.next.set(seq.0 + 1);
        self.ledger.sampled(boot.0, seq.0);
    }

    fn refused(&self, _: BootId) {
        self.place.next.set(self.place.next.get() + 1);
    }

    fn stored(&self, batch: &Batch) {
        if let Some(through) = batch.through() {
            self.ledger.stored(batch.boot.0, through.0);
        }
    }

    fn delivered(&self, item: &Item) {
        self.ledger.acked(item.boot.0, item.first.0, item.through.0, item.gap);
    }
}
