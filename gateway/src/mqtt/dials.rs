//! What may be changed about a server while its clients are connected.
//!
//! In: limits, rules, files for TLS. Out: a [`Setting`] that was checked; then connections that come go by it.
//! Invariants: a setting takes hold whole; connections that are there keep their sockets and the limits they were told, and publish and
//! subscribe by the new rules; those whose client is not let in any more are told to leave when what they sent is answered.

use super::authorize::{Authorize, Client};
use super::limits::Limits;
use super::server::Inner;
use super::tls::{Acceptor, Loaded, TlsError, TlsSettings};
use crate::ingest::Ingest;
use std::sync::Arc;

/// See the module. Cheap to clone.
pub struct Dials<I: Ingest> {
    pub(super) inner: Arc<Inner<I>>,
    pub(super) acceptor: Option<Arc<Acceptor>>,
}

/// What a server shall go by from now on; checked.
pub struct Setting {
    limits: Limits,
    authorize: Arc<dyn Authorize>,
    tls: Option<Loaded>,
}

impl Setting {
    /// Reads the files of the TLS listener, where there are any.
    ///
    /// # Errors
    /// They are not good.
    pub fn prepare(
        limits: Limits,
        authorize: Arc<dyn Authorize>,
        tls: Option<TlsSettings>,
    ) -> Result<Setting, TlsError> {
        let tls = tls.map(Loaded::read).transpose()?;
        Ok(Setting { limits, authorize, tls })
    }
}

impl<I: Ingest> Dials<I> {
    /// Takes hold of `setting`. Clients that are `is_gone` are told to leave (MQTT 5: 0x87), and their sessions end. A listener that does
    /// not speak TLS does not begin to.
    pub fn set(&self, setting: Setting, is_gone: impl Fn(&Client) -> bool) {
        let Setting { limits, authorize, tls } = setting;
        let inner = &self.inner;
        inner.downlink.limit(&limits);
        inner.set_limits(limits);
        if let (Some(acceptor), Some(tls)) = (&self.acceptor, tls) {
            acceptor.set(tls);
        }
        // The rules first: who comes between the two is judged by them.
        inner.access.set(authorize);
        for away in inner.registry.revoke(is_gone) {
            inner.end(away);
        }
    }
}

impl<I: Ingest> std::fmt::Debug for Dials<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dials").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("limits", &self.limits).finish_non_exhaustive()
    }
}
