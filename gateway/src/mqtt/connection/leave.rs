//! The end of a connection: the goodbye, the session that is kept, the will.
//!
//! In: why it ends. Out: a registry without it; a kept session, a will that waits, or a will that is published.
//! Invariant: a will is published or waits in the registry, never both, never neither.
//! Not here: whether a session is kept and whether its will stays (`session`), when a will that waits is due (`registry`).

use super::Connection;
use crate::ingest::Ingest;
use crate::mqtt::reason::Reason;
use crate::mqtt::registry::Away;
use crate::mqtt::session::End;
use crate::mqtt::socket::{LINGER, Socket, linger};
use std::time::Duration;
use tokio::time::Instant;

/// What clients are told at the end.
pub(super) const STOPS: &str = "the gateway stops";
/// The end of a connection whose client is not let in any more.
pub(super) const REVOKED: End = End::Close(Reason::NotAuthorized, "not let in any more");

impl<I: Ingest> Connection<I> {
    /// Says goodbye, and leaves behind what outlives the connection.
    pub(super) async fn finish(mut self, end: End) {
        let counters = self.inner.counters.clone();
        counters.clients_disconnected.add(1);
        if let End::Close(reason, what) = end {
            counters.refused(reason);
            if reason == Reason::SessionTakenOver {
                counters.takeovers.add(1);
            }
            tracing::debug!(client = %self.session.client.id, %reason, what, "connection closed");
        }
        self.session.close(end);
        let goodbye = std::mem::take(self.session.poll_transmit());
        let mut stream = self.leave(end);
        if end != End::Lost && !goodbye.is_empty() {
            let _ = tokio::time::timeout(LINGER, stream.finish(&goodbye)).await;
            linger(&mut stream).await;
        }
    }

    /// Leaves the registry: the session is kept, or ends and its will is published.
    fn leave(self, end: End) -> Socket {
        let Connection { inner, stream, session, control, attachment, .. } = self;
        let mut parts = session.into_parts(end);
        if end == REVOKED {
            // Nor does what it subscribed to wait for somebody of its name.
            parts.kept = None;
        }
        let now = Instant::now();
        let (client, id) = (parts.client.clone(), parts.client.id.clone());
        let delay =
            parts.will.as_ref().map_or(Duration::ZERO, |will| Duration::from_secs(u64::from(will.delay_s)));
        let delayed =
            parts.kept.is_some() && !delay.is_zero() && end != End::Close(Reason::ServerShuttingDown, STOPS);
        let (mut at_once, mut later) = (parts.will, None);
        if delayed {
            later = at_once.take().map(|will| (will, now + delay));
        }
        let away = parts.kept.map(|kept| {
            let attachment = attachment.filter(|_| parts.has_links);
            Box::new(Away {
                client: client.clone(),
                kept: Some(kept),
                attachment,
                expires: now + parts.keep_for,
                will: later,
            })
        });
        let keeps = away.is_some();
        let refused = inner.registry.leave(&id, &control, away);
        if keeps && refused.is_none() {
            inner.counters.sessions_kept.add(1);
        }
        if let Some(refused) = refused {
            inner.counters.sessions_over_limit.add(1);
            at_once = at_once.or(refused.will.map(|(will, _)| will));
        }
        if let Some(will) = at_once {
            inner.publish_will(client, *will);
        }
        stream
    }
}
