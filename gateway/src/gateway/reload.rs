//! Another configuration for a gateway that runs.
//!
//! In: what became of reading it. Out: the gateway goes by it, or by the former one, and both are shown: log, `/health`, `/metrics`.
//! Invariants: everything that can fail comes before everything that is done, so a configuration is taken up as a whole or not at all;
//! no connection of a client that is still let in ends, nothing that was acknowledged or is under way is lost; keys that need a restart
//! keep their values, and are named. Not here: which keys those are (`config`), the signal (`cli`).

use super::error::chain;
use super::front::{authorize, is_gone, limits};
use super::{Gateway, retain};
use crate::config::{self, Config, LoadError, Loaded};
use crate::forward::SinkError;
use crate::mqtt::{Setting, TlsError};
use crate::route::{RouterError, RouterSettings};

/// What became of a configuration that was taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Sections, streams and sinks that are others now.
    pub changed: Vec<String>,
    /// Keys whose new values wait for a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Why a configuration was not taken up. Nothing changed then.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It cannot be read, or says something that cannot be.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It cannot be taken up without a restart.
    #[error("{0}")]
    Refused(String),
    /// The files of the TLS listener are not good.
    #[error("cannot set up mqtt.tls: {0}")]
    Tls(TlsError),
    /// The routes cannot run.
    #[error("cannot open the routes: {}", chain(.0))]
    Routes(RouterError),
    /// A sink cannot run.
    #[error("cannot start the sinks: {}", chain(.0))]
    Sinks(SinkError),
}

impl Gateway {
    /// Goes by another configuration, as far as that is possible without a restart. What calls were under way end by the former one.
    /// Takes as long as sinks that change take to settle. One at a time; a second call waits for the first.
    ///
    /// Clients stay connected, with the limits they were told and the rights they have now. Those whose user is gone, has another
    /// password or may subscribe less are disconnected (MQTT 5: 0x87), and their sessions end. Streams that exist get the retention
    /// that is said now if another was said before, and keep their shards.
    ///
    /// # Errors
    /// Nothing changed; streams that are new may exist all the same.
    pub async fn reload(&self, loaded: Result<Loaded, LoadError>) -> Result<Reloaded, ReloadError> {
        let mut running = self.running.lock().await;
        let outcome = match loaded {
            Ok(loaded) => self.take_up(&mut running, loaded).await,
            Err(error) => Err(error.into()),
        };
        match &outcome {
            Ok(Reloaded { changed, needs_restart }) => {
                if !needs_restart.is_empty() {
                    tracing::warn!(
                        keys = needs_restart.join(", "),
                        "changed keys need a restart, they keep their values"
                    );
                }
                tracing::info!(changed = changed.join(", "), "configuration taken up");
            }
            Err(error) => tracing::error!(%error, "configuration refused, the former one stays"),
        }
        self.status.reloads.note(&outcome);
        outcome
    }

    async fn take_up(&self, running: &mut Config, loaded: Loaded) -> Result<Reloaded, ReloadError> {
        let Loaded { config: said, warnings } = loaded;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let next = config::merged(running, &said).map_err(ReloadError::Refused)?;
        let changed = config::changed(running, &next);
        let needs_restart = config::waiting(running, &said);

        // All that can fail.
        let tls = next.mqtt.tls.clone().map(|tls| tls.settings);
        let setting = Setting::prepare(limits(&next.mqtt), authorize(&next.mqtt), tls);
        let setting = setting.map_err(ReloadError::Tls)?;
        let sinks =
            self.forwarders.prepare(&next.sinks, &next.dead_letter).await.map_err(ReloadError::Sinks)?;
        let plan = self.router.prepare(&RouterSettings::of(&next)).await.map_err(ReloadError::Routes)?;
        if let Err(error) = self.router.reshape(&running.streams, &next.streams).await {
            // Those before it had theirs. What cannot be put back is told by the log of the engine.
            let _ = self.router.reshape(&next.streams, &running.streams).await;
            return Err(ReloadError::Refused(error));
        }

        // All that is done.
        retain(self.router.follow(plan), &self.downlink);
        self.dials.set(setting, |client| is_gone(&running.mqtt, &next.mqtt, client));
        self.engine().set_write_budget(next.journal.write_budget);
        self.forwarders.change(sinks).await;
        *running = next;
        Ok(Reloaded { changed, needs_restart })
    }
}
