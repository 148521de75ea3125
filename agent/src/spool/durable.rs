//! How far the spool is durable, and who is told.
//!
//! In: the journal's commits. Out: the newest state, to any number of listeners. Always true: it only goes forward, and a failure stays.
//! Not here: what the tickets are for.

use headwater_journal::{Failed, Journal, Storage, Ticket};
#[cfg(feature = "simulation")]
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How far the spool is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Durable {
    /// Every group up to this ticket.
    Through(u64),
    /// The journal stopped; nothing more will be durable.
    Failed(String),
}

impl Durable {
    fn handle_commit(&mut self, result: &Result<Ticket, Failed>) {
        match (result, &mut *self) {
            (Ok(ticket), Self::Through(through)) => *through = ticket.0.max(*through),
            (Ok(_), Self::Failed(_)) => {}
            (Err(failed), durable) => *durable = Self::Failed(failed.to_string()),
        }
    }
}

/// Tells everybody.
pub(super) struct News {
    shared: watch::Receiver<Durable>,
    /// Channels of single listeners: those who share one are woken in an order that tokio draws.
    #[cfg(feature = "simulation")]
    single: Option<Arc<Mutex<Vec<watch::Sender<Durable>>>>>,
}

impl News {
    /// Follows a journal.
    pub(super) fn of<S: Storage>(journal: &Journal<S>) -> Self {
        let (sender, shared) = watch::channel(Durable::Through(journal.durable().0));
        #[cfg(feature = "simulation")]
        let single = (!journal.is_attended()).then(Arc::<Mutex<Vec<watch::Sender<Durable>>>>::default);
        #[cfg(feature = "simulation")]
        let told = single.clone();
        journal.on_commit(Box::new(move |result| {
            sender.send_modify(|durable| durable.handle_commit(&result));
            #[cfg(feature = "simulation")]
            for told in told.iter() {
                for sender in &*told.lock().unwrap_or_else(PoisonError::into_inner) {
                    sender.send_modify(|durable| durable.handle_commit(&result));
                }
            }
        }));
        Self {
            shared,
            #[cfg(feature = "simulation")]
            single,
        }
    }

    /// One more listener.
    pub(super) fn listen(&self) -> watch::Receiver<Durable> {
        #[cfg(feature = "simulation")]
        if let Some(single) = &self.single {
            let (sender, receiver) = watch::channel(self.shared.borrow().clone());
            let mut single = single.lock().unwrap_or_else(PoisonError::into_inner);
            single.retain(|listener| !listener.is_closed());
            single.push(sender);
            return receiver;
        }
        self.shared.clone()
    }

    /// Lets everybody take what is staged for durable, as long as the sender lives: wrong, and to be found.
    #[cfg(feature = "simulation")]
    pub(super) fn plant_no_sync(&mut self) -> watch::Sender<Durable> {
        let (sender, shared) = watch::channel(Durable::Through(u64::MAX));
        (self.shared, self.single) = (shared, None);
        sender
    }
}
