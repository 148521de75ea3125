//! How far the checkpoint is written, and what may be trimmed behind it.
//!
//! Always true: nothing is trimmed before a checkpoint behind it is durable, so a crash never meets a checkpoint whose
//! records are gone. Not here: where the checkpoint is.

use crate::spool::{Durable, Spool};
use headwater_journal::Storage;

#[derive(Debug)]
pub(super) struct Kept {
    /// The newest durable one.
    stored: u64,
    /// Written, not yet durable: its ticket and value.
    staged: Option<(u64, u64)>,
}

impl Kept {
    pub(super) fn new(stored: u64) -> Self {
        Self { stored, staged: None }
    }

    /// Writes `checkpoint` when it moved since it was last written; so an idle agent writes nothing.
    pub(super) fn write<S: Storage>(&mut self, spool: &Spool<S>, checkpoint: u64, now_ms: u64) {
        self.trim(spool);
        if self.staged.is_some() || checkpoint <= self.stored {
            return;
        }
        match spool.store_checkpoint(checkpoint, now_ms) {
            Ok(ticket) => self.staged = Some((ticket, checkpoint)),
            // Not lost, only later: the next time tries again.
            Err(error) => tracing::debug!(%error, "checkpoint not written"),
        }
    }

    /// Gives the space before a durable checkpoint back.
    pub(super) fn trim<S: Storage>(&mut self, spool: &Spool<S>) {
        if let Some((ticket, checkpoint)) = self.staged
            && matches!(*spool.durable().borrow(), Durable::Through(through) if through >= ticket)
        {
            *self = Self::new(checkpoint);
            spool.trim(checkpoint);
        }
    }
}
