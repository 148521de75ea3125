//! What a carrier shows, twice a second, and what it looks after then.

use super::Carrier;
use crate::forward::limits;
use tokio::time::Instant;

impl Carrier {
    /// Looks how far everything is, and shows it.
    pub(super) fn show(&mut self, now_ms: u64) {
        self.shown_at = Instant::now() + limits::SHOWN_EVERY;
        let before = self.sources.catch_up(&self.tools.engine, &self.stream, &mut self.forwarding, now_ms);
        self.note();
        let state = self.forwarding.drain_state(now_ms);
        let ledger = self.sources.ledger(&self.forwarding);
        let behind = self.tools.client.clock_behind_ms();
        self.shown.change(|shown| {
            shown.drains(&state);
            shown.ledger = ledger;
            shown.before = before.or(shown.before);
            shown.clock_behind_ms = behind;
        });
    }

    /// Writes down what was lost and is not written down: by the start before, or while the disk was full.
    fn note(&mut self) {
        if Instant::now() < self.note_at {
            return;
        }
        for due in self.sources.not_noted(&self.forwarding) {
            self.note_at = Instant::now() + limits::NOTE_PAUSE;
            if let Some(due) = self.sources.handle_due(due) {
                self.spawn_store(due);
            }
        }
    }
}
