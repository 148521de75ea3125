//! Commands on their way to one device: one after the other, each sent again until its result comes.
//!
//! In: commands, results, the time. Out: what to send now, when to look again. Always true: a bounded number waits; a command that waits
//! already is not added again, one number is one command. A device does a number once, however often it hears it.
//!
//! Not here: frames, who the device is.

use crate::limits::{COMMAND_RETRY_MS, COMMAND_SENDS_MAX, COMMANDS_PENDING_MAX};
use headwater_telemetry::{Command, CommandId};
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(super) struct Orders {
    pending: VecDeque<Command>,
    /// Times the first was sent.
    sends: u32,
    due_ms: u64,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Send(Box<Command>),
    /// Sent often enough without a result: whoever asked may ask again.
    GiveUp(CommandId),
}

impl Orders {
    pub(super) fn handle_command(&mut self, command: Command) {
        let is_waiting = self.pending.iter().any(|waiting| waiting.id == command.id);
        if !is_waiting && self.has_room() {
            self.pending.push_back(command);
        }
    }

    /// Whether one more may come.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < COMMANDS_PENDING_MAX
    }

    /// A result came; true when somebody waits for it.
    pub(super) fn handle_result(&mut self, id: CommandId) -> bool {
        let Some(index) = self.pending.iter().position(|command| command.id == id) else { return false };
        self.pending.remove(index);
        if index == 0 {
            (self.sends, self.due_ms) = (0, 0);
        }
        true
    }

    /// Another device is there.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What is due. Ask until there is nothing.
    pub(super) fn poll(&mut self, now_ms: u64) -> Option<Due> {
        let command = self.pending.front().filter(|_| now_ms >= self.due_ms)?;
        if self.sends >= COMMAND_SENDS_MAX {
            let id = command.id;
            self.handle_result(id);
            return Some(Due::GiveUp(id));
        }
        self.sends += 1;
        self.due_ms = now_ms.saturating_add(COMMAND_RETRY_MS);
        Some(Due::Send(Box::new(command.clone())))
    }

    /// When to ask again, monotonic ms; none while nothing waits.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.pending.front().map(|_| self.due_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_telemetry::Order;

    fn command(id: u32) -> Command {
        Command { id: CommandId(id), order: Order::Identify }
    }

    fn send(id: u32) -> Option<Due> {
        Some(Due::Send(Box::new(command(id))))
    }

    #[test]
    fn commands_go_one_after_the_other_and_each_again_until_its_result() {
        let mut orders = Orders::default();
        orders.handle_command(command(1));
        orders.handle_command(command(2));
        orders.handle_command(command(1));
        assert_eq!(orders.poll(0), send(1));
        assert_eq!(orders.poll(COMMAND_RETRY_MS - 1), None);
        assert_eq!(orders.poll_timeout(), Some(COMMAND_RETRY_MS));
        assert_eq!(orders.poll(COMMAND_RETRY_MS), send(1));
        assert!(orders.handle_result(CommandId(1)));
        assert!(!orders.handle_result(CommandId(1)), "once");
        assert_eq!(orders.poll(COMMAND_RETRY_MS), send(2), "at once");
        assert!(orders.handle_result(CommandId(2)));
        assert_eq!((orders.poll(u64::MAX), orders.poll_timeout()), (None, None));
    }

    #[test]
    fn a_command_without_a_result_is_given_up_and_the_next_one_goes() {
        let mut orders = Orders::default();
        orders.handle_command(command(1));
        orders.handle_command(command(2));
        let mut now_ms = 0;
        for _ in 0..COMMAND_SENDS_MAX {
            assert_eq!(orders.poll(now_ms), send(1));
            now_ms += COMMAND_RETRY_MS;
        }
        assert_eq!(orders.poll(now_ms), Some(Due::GiveUp(CommandId(1))));
        assert_eq!(orders.poll(now_ms), send(2));
    }

    #[test]
    fn a_bounded_number_waits() {
        let mut orders = Orders::default();
        for id in 0..100 {
            orders.handle_command(command(id));
        }
        assert_eq!(orders.pending.len(), COMMANDS_PENDING_MAX);
        assert!(!orders.has_room());
    }
}
