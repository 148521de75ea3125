//! The word to stop, for any number of tasks.

use tokio::sync::watch;

/// Says stop; so does dropping it.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<bool>);

/// Hears it. Every clone hears it, also when it was said before.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

pub(crate) fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns once stop was said. Cancel-safe.
    pub(crate) async fn stopped(&mut self) {
        // An error means the stopper is gone, which says the same.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
