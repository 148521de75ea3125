//! What commands leave behind: sampling periods that were ordered, and the last commands with their outcomes.
//!
//! In: orders, outcomes. Out: what a repeated command is answered with, what the schedule is to keep. Invariants: a
//! period and the outcome of its command are one record, so both are durable or neither is; the oldest outcome goes first;
//! periods belong to one channel table, and do not hold for another. Pure. Not here: flash (`area`).

use crate::limits::{COMMANDS_KEPT, PERIOD_MS_MAX, PERIOD_MS_MIN};
use headwater_telemetry::limits::CHANNELS_MAX;
use headwater_telemetry::{ChannelId, CommandId, CommandOutcome, Config, Schema};
use heapless::{Deque, Vec};
use serde::{Deserialize, Serialize};

/// Stored whole: a hundred bytes, one record a command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Orders {
    /// The channel table that the periods were ordered for.
    schema: Schema,
    /// Milliseconds by channel; 0, or none, where nothing is ordered.
    periods_ms: Vec<u32, CHANNELS_MAX>,
    /// Oldest first.
    done: Deque<(CommandId, CommandOutcome), COMMANDS_KEPT>,
}

impl Orders {
    /// Whether there is nothing to be stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.periods_ms.is_empty() && self.done.is_empty()
    }

    /// What became of a command, if it is remembered.
    pub(crate) fn outcome(&self, id: CommandId) -> Option<CommandOutcome> {
        self.done.iter().rev().find(|(known, _)| *known == id).map(|&(_, outcome)| outcome)
    }

    /// Remembers an outcome; the oldest goes when there are too many.
    pub(crate) fn remember(&mut self, id: CommandId, outcome: CommandOutcome) {
        if self.done.is_full() {
            self.done.pop_front();
        }
        let pushed = self.done.push_back((id, outcome));
        debug_assert!(pushed.is_ok(), "room was made above");
    }

    /// The period that is ordered for a channel of this table.
    pub(crate) fn period_ms(&self, schema: Schema, channel: ChannelId) -> Option<u32> {
        let period_ms = self.periods_ms.get(usize::from(channel.0)).copied();
        period_ms.filter(|&period_ms| period_ms > 0 && schema == self.schema)
    }

    /// Orders a period for one channel or for all `channels`; false, and nothing changed, when it cannot be.
    pub(crate) fn order(
        &mut self,
        schema: Schema,
        channels: usize,
        channel: Option<ChannelId>,
        period_ms: u32,
    ) -> bool {
        let index = channel.map(|channel| usize::from(channel.0));
        if !period_fits(period_ms) || index.is_some_and(|index| index >= channels) {
            return false;
        }
        if self.schema != schema || self.periods_ms.len() != channels {
            self.schema = schema;
            self.periods_ms = core::iter::repeat_n(0, channels.min(CHANNELS_MAX)).collect();
        }
        match index {
            Some(index) => self.periods_ms[index] = period_ms,
            None => self.periods_ms.fill(period_ms),
        }
        true
    }

    /// Whether there are orders that do not hold, because the firmware has other channels now.
    pub(crate) fn is_foreign(&self, schema: Schema) -> bool {
        self.schema != schema && self.periods_ms.iter().any(|&period_ms| period_ms > 0)
    }
}

/// Whether a device can sample this often; 0 leaves it to others.
fn period_fits(period_ms: u32) -> bool {
    period_ms == 0 || (PERIOD_MS_MIN..=PERIOD_MS_MAX).contains(&period_ms)
}

/// Whether a device can live by this configuration. Its network is the board's to judge.
pub(crate) fn config_fits(config: &Config) -> bool {
    period_fits(config.period_ms) && config.batch_age_ms <= crate::limits::BATCH_AGE_MS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_outcomes_are_remembered_and_older_ones_forgotten() {
        let mut orders = Orders::default();
        for id in 0..20 {
            assert_eq!(orders.outcome(CommandId(id)), None);
            let outcome = if id % 2 == 0 { CommandOutcome::Done } else { CommandOutcome::Refused };
            orders.remember(CommandId(id), outcome);
            assert_eq!(orders.outcome(CommandId(id)), Some(outcome));
        }
        let known = (0..20).filter(|&id| orders.outcome(CommandId(id)).is_some());
        assert_eq!(known.count(), COMMANDS_KEPT);
        assert_eq!(orders.outcome(CommandId(19)), Some(CommandOutcome::Refused));
    }

    #[test]
    fn an_order_holds_for_its_channel_until_all_are_ordered_and_never_for_other_channels() {
        let (ours, other) = (Schema(1), Schema(2));
        let mut orders = Orders::default();
        let periods = |orders: &Orders, schema| [0, 1, 2].map(|n| orders.period_ms(schema, ChannelId(n)));
        assert!(orders.order(ours, 3, Some(ChannelId(2)), 500));
        assert!(orders.order(ours, 3, Some(ChannelId(0)), 700));
        assert_eq!(periods(&orders, ours), [Some(700), None, Some(500)]);
        assert_eq!(periods(&orders, other), [None; 3]);
        assert!(orders.is_foreign(other) && !orders.is_foreign(ours));
        for (channel, period_ms) in [
            (Some(ChannelId(3)), 500),
            (Some(ChannelId(255)), 500),
            (None, PERIOD_MS_MIN - 1),
            (Some(ChannelId(0)), PERIOD_MS_MAX + 1),
            (None, u32::MAX),
        ] {
            assert!(!orders.order(ours, 3, channel, period_ms), "{channel:?} {period_ms}");
        }
        assert_eq!(periods(&orders, ours), [Some(700), None, Some(500)]);
        assert!(orders.order(ours, 3, None, PERIOD_MS_MAX));
        assert_eq!(periods(&orders, ours), [Some(PERIOD_MS_MAX); 3]);
        assert!(orders.order(ours, 3, Some(ChannelId(1)), 0));
        assert_eq!(periods(&orders, ours), [Some(PERIOD_MS_MAX), None, Some(PERIOD_MS_MAX)]);
        // A firmware with other channels: the first order of its own clears the old ones.
        assert!(orders.order(other, 2, Some(ChannelId(1)), 60));
        assert_eq!(periods(&orders, other), [None, Some(60), None]);
        assert_eq!(periods(&orders, ours), [None; 3]);
    }
}
