//! What time it is, for a device without a clock of its own.
//!
//! In: answers of a host to time requests. Out: UTC for an uptime, with its quality, and marks that date what was taken
//! before an answer came. Invariant: without an answer in a boot there is no UTC for that boot. Pure: the uptime is a
//! parameter.

use crate::limits::{HOLDOVER_AFTER_MS, MARKS_MAX, ROUND_TRIP_MS_MAX};
use headwater_telemetry::{BootId, TimeQuality, Timestamp, Uptime, UtcTime};
use heapless::Vec;
use serde::{Deserialize, Serialize};

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

impl TimeKeeper {
    /// What is known, to be kept with the batches of `boot`.
    pub fn mark(&self, boot: BootId) -> Option<TimeMark> {
        let Known { epoch_ms, quality, learned } = self.0?;
        Some(TimeMark { boot, learned, epoch: Timestamp(epoch_ms), quality })
    }
}

/// What a boot once learned about the time. It dates batches of that boot that were closed without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeMark {
    /// The boot.
    pub boot: BootId,
    /// When it learned it.
    pub learned: Uptime,
    /// UTC at its uptime 0.
    pub epoch: Timestamp,
    /// How well it knew it then.
    pub quality: TimeQuality,
}

impl TimeMark {
    /// The UTC of an uptime of this boot. A good time counts as held over where the device's own clock ran alone for
    /// more than an hour between `at` and the answer: that it ran before the answer instead of after it changes nothing.
    pub fn utc(&self, at: Uptime) -> UtcTime {
        let far = at.0.abs_diff(self.learned.0) > HOLDOVER_AFTER_MS;
        let quality = match self.quality {
            TimeQuality::Synced if far => TimeQuality::Holdover,
            quality => quality,
        };
        UtcTime { at: Timestamp(self.epoch.0.saturating_add(at.0)), quality }
    }

    pub(crate) fn is_better_than(&self, other: &Self) -> bool {
        self.quality == TimeQuality::Synced && other.quality != TimeQuality::Synced
    }
}

/// The marks of boots that have undated batches in the ring, oldest first, one a boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks(Vec<TimeMark, MARKS_MAX>);

impl Marks {
    /// Takes the first mark of a boot, or the first good one after one that was not; true when it was taken. The first is
    /// the nearest to what it dates, so the clock ran alone for the shortest time. When there are too many, the oldest
    /// boot's goes.
    pub(crate) fn add(&mut self, mark: TimeMark) -> bool {
        if let Some(known) = self.0.iter_mut().find(|known| known.boot == mark.boot) {
            let better = mark.is_better_than(known);
            if better {
                *known = mark;
            }
            return better;
        }
        if self.0.is_full() {
            self.0.remove(0);
        }
        self.0.push(mark).is_ok()
    }

    /// The UTC of an uptime of a boot, if the boot has a mark.
    pub(crate) fn utc(&self, boot: BootId, at: Uptime) -> Option<UtcTime> {
        self.0.iter().find(|mark| mark.boot == boot).map(|mark| mark.utc(at))
    }

    /// Forgets the marks of boots before `boot`.
    pub(crate) fn prune(&mut self, boot: BootId) {
        self.0.retain(|mark| mark.boot >= boot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_dates_what_was_before_it_and_says_when_the_clock_ran_alone_for_long() {
        use TimeQuality::{Estimated, Holdover, Synced};
        let mut time = TimeKeeper::default();
        assert_eq!(time.mark(BootId(3)), None);
        let learned = Uptime(2 * HOLDOVER_AFTER_MS);
        time.handle_answer(learned, learned, utc(9_000_000_000, Synced));
        let mark = time.mark(BootId(3)).unwrap();
        let epoch = 9_000_000_000 - learned.0;
        assert_eq!(mark.utc(learned), utc(9_000_000_000, Synced));
        assert_eq!(mark.utc(Uptime(HOLDOVER_AFTER_MS)), utc(epoch + HOLDOVER_AFTER_MS, Synced));
        assert_eq!(mark.utc(Uptime(HOLDOVER_AFTER_MS - 1)).quality, Holdover);
        assert_eq!(mark.utc(Uptime(0)), utc(epoch, Holdover));
        let guess = TimeMark { quality: Estimated, ..mark };
        assert_eq!(guess.utc(Uptime(0)), utc(epoch, Estimated));
    }

    #[test]
    fn a_boot_keeps_its_first_good_mark_and_the_oldest_boot_goes_first() {
        use TimeQuality::{Estimated, Synced};
        let mark = |boot, epoch, quality| TimeMark {
            boot: BootId(boot),
            learned: Uptime(0),
            epoch: Timestamp(epoch),
            quality,
        };
        let mut marks = Marks::default();
        assert!(marks.add(mark(1, 10, Estimated)));
        assert!(!marks.add(mark(1, 11, Estimated)));
        assert!(marks.add(mark(1, 12, Synced)));
        assert!(!marks.add(mark(1, 13, Synced)) && !marks.add(mark(1, 14, Estimated)));
        assert_eq!(marks.utc(BootId(1), Uptime(5)), Some(utc(17, Synced)));
        assert_eq!(marks.utc(BootId(2), Uptime(5)), None);
        for boot in 2..=u32::try_from(MARKS_MAX).unwrap() + 1 {
            assert!(marks.add(mark(boot, 20, Synced)));
        }
        assert_eq!(marks.utc(BootId(1), Uptime(5)), None);
        assert!(marks.utc(BootId(2), Uptime(5)).is_some());
        marks.prune(BootId(3));
        assert_eq!(marks.utc(BootId(2), Uptime(5)), None);
        assert!(marks.utc(BootId(3), Uptime(5)).is_some());
    }

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
