//! Who waits for a stream to change, told in the order in which they began to wait.
//!
//! In: each new state of a stream. Out: wake-ups. Invariants: nobody misses the newest state; calls that waited for the same change go on
//! first come, first served. A `watch` channel alone wakes whoever waits in an order that it draws. Not here: what a state is.

use crate::definition::StreamState;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// The newest state of a stream, and who waits for another.
pub(crate) struct Changing {
    state: watch::Sender<Arc<StreamState>>,
    told: Arc<Notify>,
}

impl Changing {
    pub(crate) fn new(state: StreamState) -> Self {
        Self { state: watch::Sender::new(Arc::new(state)), told: Arc::default() }
    }

    pub(crate) fn newest(&self) -> Arc<StreamState> {
        Arc::clone(&self.state.borrow())
    }

    pub(crate) fn set(&self, state: StreamState) {
        self.state.send_replace(Arc::new(state));
        self.told.notify_waiters();
    }

    pub(crate) fn follow(&self) -> Following {
        Following { seen: self.state.subscribe(), told: Arc::clone(&self.told) }
    }
}

/// Follows one stream through its changes.
pub struct Following {
    seen: watch::Receiver<Arc<StreamState>>,
    told: Arc<Notify>,
}

impl Following {
    /// Resolves when the stream has another state than when this was made, or asked last. Dropped before, it misses nothing. Waits for ever
    /// for a stream of which there is no handle any more.
    pub async fn changed(&mut self) {
        loop {
            // Begun before the look, so that a change in between wakes it.
            let told = self.told.notified();
            if self.seen.has_changed().unwrap_or(false) {
                self.seen.mark_unchanged();
                return;
            }
            told.await;
        }
    }

    /// The newest state; [`changed`](Self::changed) resolves for later ones only.
    pub fn newest(&mut self) -> Arc<StreamState> {
        Arc::clone(&self.seen.borrow_and_update())
    }

    /// Resolves when the stream has a state that is as `wanted` says.
    pub async fn wait_for(&mut self, wanted: impl Fn(&StreamState) -> bool) {
        while !wanted(&self.newest()) {
            self.changed().await;
        }
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Following")
    }
}
