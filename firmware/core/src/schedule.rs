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

    /// When the next channel is due; none without channels.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        self.0.iter().map(|turn| turn.next).min()
    }

    /// The next channel that is due, in table order.
    pub fn poll(&mut self, now: Uptime) -> Option<ChannelId> {
        let (index, turn) = self.0.iter_mut().enumerate().find(|(_, turn)| turn.next <= now)?;
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
        // Three turns of the second and one of the first were missed: each is read once, in phase.
        assert_eq!(due(1_401), (vec![0, 1], 1_600));
    }
}
