//! When what a batch holds was taken, as far as it can be said.
//!
//! In: a batch, and when it arrived by this machine's clock. Out: UTC for each of its entries, with a word for how far to trust it.
//! Rules: what a device says of its time is passed on. Where it never learned the time, or says one that cannot be (before 2024, or more
//! than a day ahead of this machine), its newest entry is dated to the arrival and the others as long before it as its own monotonic
//! clock says: `arrival`, which means "then, or earlier". A device that is connected and sends at once is right by that to about a
//! batch's wait; what waited in a spool was taken as much earlier. What the device said stays in the record as `device_time`.
//! Invariants: pure; entries that are repeated are not stored again, so they keep the time of their first copy. While this machine's own
//! clock cannot be, nothing is dated by it and no device is doubted.
//! Not here: devices that learn the time later, which date their own batches (`firmware/core`).

use super::limits::{CLOCK_SANE_FROM_MS, DEVICE_AHEAD_MS_MAX};
use headwater_telemetry::{Batch, Entry, TimeQuality};

/// UTC of a batch's base, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dating {
    /// From the device.
    Said { base_ms: u64, quality: TimeQuality },
    /// From the arrival; with what the device said.
    Arrival { base_ms: u64, said_ms: Option<u64> },
    /// From nowhere.
    Unknown,
}

/// The time of one entry, as records show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dated {
    pub(crate) at_ms: u64,
    /// The word in `time_quality`.
    pub(crate) quality: &'static str,
    /// What the device said instead, UTC ms.
    pub(crate) said_ms: Option<u64>,
}

impl Dating {
    /// Dates `batch`, which arrived at `received_ms`.
    pub(crate) fn of(batch: &Batch, received_ms: u64) -> Self {
        let is_sane = received_ms >= CLOCK_SANE_FROM_MS;
        let latest_ms = received_ms.saturating_add(DEVICE_AHEAD_MS_MAX);
        let span_ms = batch.entries.iter().map(Entry::dt_ms).max().map_or(0, u64::from);
        match batch.utc {
            Some(utc) if !is_sane || (CLOCK_SANE_FROM_MS..=latest_ms).contains(&utc.at.0) => {
                Dating::Said { base_ms: utc.at.0, quality: utc.quality }
            }
            None if !is_sane => Dating::Unknown,
            said => Dating::Arrival {
                base_ms: received_ms.saturating_sub(span_ms),
                said_ms: said.map(|utc| utc.at.0),
            },
        }
    }

    /// The time of `entry` of the batch.
    pub(crate) fn at(&self, entry: &Entry) -> Option<Dated> {
        let after = |base_ms: u64| base_ms.saturating_add(u64::from(entry.dt_ms()));
        match *self {
            Dating::Said { base_ms, quality } => {
                let quality = match quality {
                    TimeQuality::Synced => "synced",
                    TimeQuality::Estimated => "estimated",
                    TimeQuality::Holdover => "holdover",
                };
                Some(Dated { at_ms: after(base_ms), quality, said_ms: None })
            }
            Dating::Arrival { base_ms, said_ms } => {
                Some(Dated { at_ms: after(base_ms), quality: "arrival", said_ms: said_ms.map(after) })
            }
            Dating::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_telemetry::{
        BatchBuilder, BootId, ChannelId, Schema, Seq, Timestamp, Uptime, UtcTime, Value,
    };

    const NOW: u64 = 1_800_000_000_000;
    const DAY: u64 = 86_400_000;

    /// Two readings, 1.5 s apart.
    fn batch(said_ms: Option<u64>) -> Batch {
        let mut builder = BatchBuilder::new(BootId(9), Seq(41), Schema(1), Uptime(60_000));
        for at in [60_000, 61_500] {
            builder.reading(Uptime(at), ChannelId(0), Value::Boolean(true)).unwrap();
        }
        let utc = |ms| UtcTime { at: Timestamp(ms), quality: TimeQuality::Synced };
        builder.finish(said_ms.map(utc))
    }

    fn dated(said_ms: Option<u64>, received_ms: u64) -> Vec<Option<(u64, &'static str, Option<u64>)>> {
        let batch = batch(said_ms);
        let dating = Dating::of(&batch, received_ms);
        let one = |entry| dating.at(entry).map(|dated| (dated.at_ms, dated.quality, dated.said_ms));
        batch.entries.iter().map(one).collect()
    }

    #[test]
    fn what_a_device_says_is_passed_on_where_it_can_be() {
        for said_ms in [CLOCK_SANE_FROM_MS, NOW - 40 * DAY, NOW, NOW + DAY] {
            let expected = [Some((said_ms, "synced", None)), Some((said_ms + 1_500, "synced", None))];
            assert_eq!(dated(Some(said_ms), NOW), expected, "{said_ms}");
        }
    }

    #[test]
    fn without_the_time_or_with_one_that_cannot_be_the_newest_was_taken_at_the_arrival_or_before() {
        let arrival = |first: Option<u64>| {
            let said = |after| first.map(|first| first + after);
            vec![Some((NOW - 1_500, "arrival", said(0))), Some((NOW, "arrival", said(1_500)))]
        };
        assert_eq!(dated(None, NOW), arrival(None));
        for said_ms in [0, 5_000, CLOCK_SANE_FROM_MS - 1, NOW + DAY + 1, u64::MAX / 2] {
            assert_eq!(dated(Some(said_ms), NOW), arrival(Some(said_ms)), "{said_ms}");
        }
    }

    #[test]
    fn a_gateway_that_does_not_know_the_time_dates_and_doubts_nobody() {
        assert_eq!(dated(None, 9_000), [None, None]);
        assert_eq!(dated(Some(NOW), 9_000)[0], Some((NOW, "synced", None)));
        // Lengths that cannot be overflow nothing.
        assert_eq!(dated(Some(u64::MAX), NOW)[1], Some((NOW, "arrival", Some(u64::MAX))));
        assert_eq!(dated(None, u64::MAX)[1], Some((u64::MAX, "arrival", None)));
    }
}
