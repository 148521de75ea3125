//! What an uplink is told, and may be told otherwise while it runs.

use crate::config::UplinkConfig;
use tokio::sync::watch;

/// The newest settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings(watch::Receiver<UplinkConfig>);

impl Settings {
    /// Settings, and where to put others.
    pub(crate) fn new(config: UplinkConfig) -> (watch::Sender<UplinkConfig>, Settings) {
        let (sender, receiver) = watch::channel(config);
        (sender, Settings(receiver))
    }

    /// Settings that stay as they are.
    #[cfg(feature = "simulation")]
    pub(crate) fn fixed(config: UplinkConfig) -> Settings {
        Settings::new(config).1
    }

    /// As they are now.
    pub(super) fn now(&mut self) -> UplinkConfig {
        self.0.borrow_and_update().clone()
    }

    /// Resolves when there are others than those that were asked for last; never when nobody can change them.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
