//! How fast something goes, told the time.
//!
//! In: counts and the time. Out: a rate per second over the last [`METER_MS`] or so.

use crate::limits::METER_MS;

/// Two spans: what came in the one before counts less the further the present one is.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    span: u64,
    before: u64,
    present: u64,
    started_ms: Option<u64>,
}

impl Meter {
    pub(crate) fn add(&mut self, count: u64, now_ms: u64) {
        self.turn(now_ms);
        self.present = self.present.saturating_add(count);
    }

    /// Per 1,000 seconds, so that slow streams have a rate too; 0 while nothing is known.
    pub(crate) fn per_1000_s(&mut self, now_ms: u64) -> u64 {
        let Some(started_ms) = self.started_ms else { return 0 };
        self.turn(now_ms);
        let into_ms = now_ms.saturating_sub(self.span.saturating_mul(METER_MS)).min(METER_MS);
        let weighted = self.before.saturating_mul(METER_MS - into_ms) / METER_MS;
        let span_ms = METER_MS.min(now_ms.saturating_sub(started_ms)).max(1_000);
        self.present.saturating_add(weighted).saturating_mul(1_000_000) / span_ms
    }

    fn turn(&mut self, now_ms: u64) {
        self.started_ms.get_or_insert(now_ms);
        let span = now_ms / METER_MS;
        if span == self.span {
            return;
        }
        self.before = if span == self.span.wrapping_add(1) { self.present } else { 0 };
        self.present = 0;
        self.span = span;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_measured_and_forgotten_when_it_ends() {
        let mut meter = Meter::default();
        let start_ms = 1_700_000_000_000;
        for second in 0..120 {
            meter.add(50, start_ms + second * 1_000);
        }
        let rate = meter.per_1000_s(start_ms + 120_000);
        assert!((45_000..=55_000).contains(&rate), "{rate}");
        assert_eq!(meter.per_1000_s(start_ms + 200_000), 0);
    }
}
