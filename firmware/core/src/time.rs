//! What time it is, for a device without a clock of its own.
//!
//! In: answers of a host to time requests. Out: UTC for an uptime, with its quality. Invariant: without an answer in
//! this boot there is no UTC. Pure: the uptime is a parameter.

use crate::limits::{HOLDOVER_AFTER_MS, ROUND_TRIP_MS_MAX};
use headwater_telemetry::{TimeQuality, Timestamp, Uptime, UtcTime};

#[derive(Clone, Copy, Debug)]
struct Known {
    /// UTC at uptime 0.
    epoch_ms: u64,
    quality: TimeQuality,
    learned: Uptime,
}

/// The offset between uptime and UTC, as last heard.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeKeeper(Option<Known>);

impl TimeKeeper {
    /// A host answered `utc`; asked and heard are uptimes. Half of the round trip is taken to be the way back.
    /// A better quality that is still fresh is not replaced by a worse one.
    pub fn handle_answer(&mut self, asked: Uptime, heard: Uptime, utc: UtcTime) {
        let round_trip_ms = heard.0.saturating_sub(asked.0);
        let quality = match utc.quality {
            TimeQuality::Synced if round_trip_ms <= ROUND_TRIP_MS_MAX => TimeQuality::Synced,
            _ => TimeQuality::Estimated,
        };
        let synced = self.utc(heard, heard).is_some_and(|known| known.quality == TimeQuality::Synced);
        if synced && quality != TimeQuality::Synced {
            return;
        }
        let epoch_ms = utc.at.0.saturating_sub(asked.0 + round_trip_ms / 2);
        self.0 = Some(Known { epoch_ms, quality, learned: heard });
    }

    /// The UTC of `at`, as known at `now`.
    pub fn utc(&self, at: Uptime, now: Uptime) -> Option<UtcTime> {
        let known = self.0?;
        let stale = now.0.saturating_sub(known.learned.0) > HOLDOVER_AFTER_MS;
        let quality = match known.quality {
            TimeQuality::Synced if stale => TimeQuality::Holdover,
            quality => quality,
        };
        Some(UtcTime { at: Timestamp(known.epoch_ms.saturating_add(at.0)), quality })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(at: u64, quality: TimeQuality) -> UtcTime {
        UtcTime { at: Timestamp(at), quality }
    }

    #[test]
    fn half_of_the_round_trip_is_the_way_back_and_quality_ages() {
        use TimeQuality::{Estimated, Holdover, Synced};
        let mut time = TimeKeeper::default();
        assert_eq!(time.utc(Uptime(5), Uptime(5)), None);
        time.handle_answer(Uptime(1_000), Uptime(4_000), utc(50_000, Synced));
        assert_eq!(time.utc(Uptime(2_500), Uptime(4_000)), Some(utc(50_000, Estimated)));
        time.handle_answer(Uptime(10_000), Uptime(10_200), utc(90_100, Synced));
        assert_eq!(time.utc(Uptime(0), Uptime(10_200)), Some(utc(80_000, Synced)));
        // A host that does not know the time does not spoil what is known.
        time.handle_answer(Uptime(20_000), Uptime(20_000), utc(1, Estimated));
        assert_eq!(time.utc(Uptime(0), Uptime(20_000)), Some(utc(80_000, Synced)));
        let late = Uptime(10_200 + HOLDOVER_AFTER_MS + 1);
        assert_eq!(time.utc(late, late), Some(utc(80_000 + late.0, Holdover)));
        time.handle_answer(late, late, utc(7_000_000_000, Estimated));
        assert_eq!(time.utc(late, late), Some(utc(7_000_000_000, Estimated)));
    }
}
