//! Whoever wants to hear of commits.
//!
//! In: outcomes of flushes. Out: calls of listeners. Invariant: tickets are told in rising order, and a failure once.
//! Not here: flushing (`core`).

use crate::core::{Core, lock};
use crate::error::Failed;
use crate::storage::Storage;
use crate::types::Ticket;

/// Called after every commit.
type Listener = Box<dyn Fn(Result<Ticket, Failed>) + Send + Sync>;

#[derive(Default)]
pub(super) struct Listeners {
    list: Vec<Listener>,
    told: u64,
    told_failed: bool,
}

impl<S: Storage> Core<S> {
    pub(super) fn tell(&self, outcome: Result<Ticket, Failed>) {
        let mut listeners = lock(&self.listeners);
        let told = listeners.told;
        let news = match &outcome {
            Ok(ticket) => {
                listeners.told = told.max(ticket.0);
                ticket.0 > told
            }
            Err(_) => !std::mem::replace(&mut listeners.told_failed, true),
        };
        // Another leader may have been quicker with a newer group: its ticket said all that this one would.
        if news {
            for listener in &listeners.list {
                listener(outcome.clone());
            }
        }
    }

    /// Calls `listener` after every commit with the newest durable ticket, in rising order, from the thread that committed, and
    /// once with the error when the journal stops. It must return quickly and must neither call nor own the journal.
    pub fn on_commit(&self, listener: Box<dyn Fn(Result<Ticket, Failed>) + Send + Sync>) {
        lock(&self.listeners).list.push(listener);
    }
}
