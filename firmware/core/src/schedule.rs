//! When each channel is to be read.
//!
//! In: a period for each channel. Out: the channels that are due. Invariant: a late device skips turns instead of
//! catching up with a burst, and keeps the phase it began with. Pure: time is a parameter.

use crate::limits::PERIOD_MS_MIN;
use headwater_telemetry::limits::CHANNELS_MAX;
use headwater_telemetry::{ChannelId, Uptime};
use heapless::Vec;

#[derive(Clone, Copy, Debug)]
struct Turn {
    period_ms: u64,
    next: Uptime,
}

/// The turns of all channels.
#[derive(Clone, Debug)]
pub struct Schedule(Vec<Turn, CHANNELS_MAX>);

impl Schedule {
    /// Every channel is due at `start`, then every period; periods below
    /// [`PERIOD_MS_MIN`] count as that, channels beyond the limit are left out.
    pub fn new(start: Uptime, periods_ms: impl IntoIterator<Item = u32>) -> Self {
        let turn = |period: u32| Turn { period_ms: period.max(PERIOD_MS_MIN).into(), next: start };
        Self(periods_ms.into_iter().take(CHANNELS_MAX).map(turn).collect())
    }

    /// Gives a channel another period, counted from its last turn; at once where that would be over. The same period again
    /// changes nothing. A channel beyond the table is left out.
    pub fn set_period(&mut self, channel: ChannelId, now: Uptime, period_ms: u32) {
        let Some(turn) = self.0.get_mut(usize::from(channel.0)) else { return };
        let period_ms = u64::from(period_ms.max(PERIOD_MS_MIN));
        // Before its first turn a channel is due already, and stays so.
        if period_ms != turn.period_ms && turn.next > now {
            let last = turn.next.0.saturating_sub(turn.period_ms);
            turn.next = Uptime(last.saturating_add(period_ms)).max(now);
        }
        turn.period_ms = period_ms;
    }

    /// When the next channel is due; none without channels.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        self.0.iter().map(|turn| turn.next).min()
    }

    /// The channel that is due longest; of several, the first in the table. So where sensors are slower than their
    /// periods, each has its turn.
    pub fn poll(&mut self, now: Uptime) -> Option<ChannelId> {
        let due = self.0.iter_mut().enumerate().filter(|(_, turn)| turn.next <= now);
        let (index, turn) = due.min_by_key(|(_, turn)| turn.next)?;
        let turns = (now.0 - turn.next.0) / turn.period_ms + 1;
        turn.next.0 += turns * turn.period_ms;
        u8::try_from(index).ok().map(ChannelId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_keeps_its_own_period_and_a_late_device_skips() {
        let mut schedule = Schedule::new(Uptime(100), [1_000, 250]);
        let mut due = |now| {
            let mut all = std::vec::Vec::new();
            while let Some(channel) = schedule.poll(Uptime(now)) {
                all.push(channel.0);
            }
            (all, schedule.poll_timeout().unwrap().0)
        };
        assert_eq!(due(99), (vec![], 100));
        assert_eq!(due(100), (vec![0, 1], 350));
        assert_eq!(due(360), (vec![1], 600));
        // Three turns of the second and one of the first were missed: each is read once, in phase, the longest due first.
        assert_eq!(due(1_401), (vec![1, 0], 1_600));
    }
    #[test]
    fn sensors_slower_than_their_periods_all_have_their_turns() {
        let mut schedule = Schedule::new(Uptime(0), [10, 10, 10]);
        let mut turns = [0; 3];
        for n in 0..300 {
            // Each reading takes longer than a period of any of them.
            turns[usize::from(schedule.poll(Uptime(n * 25)).unwrap().0)] += 1;
        }
        assert_eq!(turns, [100; 3]);
    }

    #[test]
    fn another_period_holds_at_once_counted_from_the_last_turn() {
        let (slow, quick) = (ChannelId(0), ChannelId(1));
        let mut schedule = Schedule::new(Uptime(100), [3_600_000, 250]);
        schedule.set_period(slow, Uptime(100), 3_600_000);
        assert_eq!((schedule.poll(Uptime(100)), schedule.poll(Uptime(100))), (Some(slow), Some(quick)));
        schedule.set_period(slow, Uptime(200), 60_000);
        schedule.set_period(quick, Uptime(200), 250);
        assert_eq!(schedule.poll_timeout(), Some(Uptime(350)), "the same period keeps its phase");
        schedule.set_period(quick, Uptime(200), 80_000);
        assert_eq!(schedule.poll_timeout(), Some(Uptime(60_100)));
        // A period that is over already: now.
        schedule.set_period(quick, Uptime(50_000), 1_000);
        assert_eq!(schedule.poll(Uptime(50_000)), Some(quick));
        assert_eq!(schedule.poll_timeout(), Some(Uptime(51_000)));
        schedule.set_period(ChannelId(2), Uptime(0), 10);
        schedule.set_period(quick, Uptime(50_000), 0);
        assert_eq!(schedule.poll_timeout(), Some(Uptime(50_010)), "no period is below the least");
    }
}
