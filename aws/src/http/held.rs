//! What TLS needs from files, as it was read last, and read again.
//!
//! In: settings that name files; how handshakes end. Out: a connector.
//! Invariant: what cannot be read again stays as it was, so a renewal that goes wrong stops no service that runs.
//!
//! A gateway runs for years: meanwhile its system's authorities change with every update, its own certificate is renewed in place, and a
//! company changes the authority of its proxy. Nobody should have to restart anything for that.

use super::trust::{self, HttpSettings, TrustError};
use crate::limits;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_rustls::TlsConnector;

pub(super) struct HeldTls {
    settings: HttpSettings,
    held: Mutex<Held>,
}

struct Held {
    tls: TlsConnector,
    /// By the clock that only goes forward.
    read_at: Duration,
    /// A handshake failed since: perhaps there is something newer.
    is_doubted: bool,
}

impl HeldTls {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, TrustError> {
        let tls = TlsConnector::from(Arc::new(trust::tls(settings)?));
        let held = Mutex::new(Held { tls, read_at: settings.clock.now().uptime, is_doubted: false });
        Ok(Self { settings: settings.clone(), held })
    }

    /// As the files say now, or said a while ago: at most [`limits::TRUST_AGE`], and [`limits::TRUST_AGE_DOUBTED`] after a handshake failed.
    pub(super) async fn connector(self: &Arc<Self>) -> TlsConnector {
        if self.is_due() {
            let this = Arc::clone(self);
            // The authorities of a machine are hundreds of files on some.
            let read = tokio::task::spawn_blocking(move || trust::tls(&this.settings)).await;
            match read {
                Ok(Ok(tls)) => self.lock().tls = TlsConnector::from(Arc::new(tls)),
                Ok(Err(error)) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "certificates cannot be read again; those read before are used");
                }
                Err(_) => {
                    tracing::warn!("reading certificates again was broken off; those read before are used")
                }
            }
        }
        self.lock().tls.clone()
    }

    /// A handshake failed: whom we trust, or as whom we appear, may have changed.
    pub(super) fn doubt(&self) {
        self.lock().is_doubted = true;
    }

    /// Whether it is to be read again; then whoever asked does it, once.
    fn is_due(&self) -> bool {
        let now = self.settings.clock.now().uptime;
        let mut held = self.lock();
        let age = now.saturating_sub(held.read_at);
        let is_due = age >= limits::TRUST_AGE || (held.is_doubted && age >= limits::TRUST_AGE_DOUBTED);
        if is_due {
            (held.read_at, held.is_doubted) = (now, false);
        }
        is_due
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
