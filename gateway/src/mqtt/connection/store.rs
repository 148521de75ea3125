//! From a batch of publishes to their acknowledgements: staging, the commit, and the copies for subscribers.
//!
//! In: a batch whose payloads are in the read buffer. Out: acknowledgements in the session, or the end of the connection.
//! Invariants: nothing is acknowledged and nothing goes to subscribers before its commit; nothing that was refused is
//! overtaken by what the client sent after it.
//! Not here: what becomes of a publish (`ingest`), the order of acknowledgements (`session`).

use super::Connection;
use crate::ingest::{Inbound, Ingest, IngestError, Ingested, Said};
use crate::mqtt::codec::Version;
use crate::mqtt::downlink::{Message, expires};
use crate::mqtt::reason::Reason;
use crate::mqtt::session::{Batch, End, Pending};
use std::time::Duration;
use tokio::time::Instant;

/// First pause when too much waits to become durable; doubles up to `BUSY_PAUSE_MAX`. A commit takes about this long.
const BUSY_PAUSE: Duration = Duration::from_micros(500);
/// Longest pause: what a spinning disk or a worn SD card needs for one flush.
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(64);
/// Between two attempts while the disk is full. Space comes back when a segment is retired: seconds at best.
const FULL_PAUSE: Duration = Duration::from_millis(500);
impl<I: Ingest> Connection<I> {
    /// Stages a batch, waits for its commit, and writes its acknowledgements.
    pub(super) async fn store(&mut self, batch: Batch<'_>) -> Result<(), End> {
        if batch.publishes.is_empty() {
            return self.session.handle_commit(&batch.into_acks(), &[]);
        }
        let client_id = self.session.client.id.clone();
        let inbound: Vec<Inbound<'_>> =
            batch.publishes.iter().map(|pending| pending.inbound(&client_id)).collect();
        let Some(ingested) = self.stage(&inbound, &batch).await? else {
            drop(inbound);
            self.inner.counters.dropped_full.add(batch.tally.qos0());
            self.session.handle_full(&batch.into_acks());
            self.transmit().await?;
            // The socket is not read meanwhile: that is what slows the client down.
            self.pause(FULL_PAUSE).await?;
            // Whatever the client sent after what was refused must not be stored before it is sent again: a device's
            // entries would change their order. So the client starts over.
            return Err(End::Close(Reason::QuotaExceeded, "the disk is full"));
        };
        drop(inbound);
        if ingested.verdicts.len() != batch.publishes.len() {
            // A bug of ours; 3.1.1 has no acknowledgement that promises nothing.
            tracing::error!(
                publishes = batch.publishes.len(),
                verdicts = ingested.verdicts.len(),
                "verdicts are missing"
            );
            return Err(End::Close(Reason::UnspecifiedError, "internal error"));
        }
        let forwards = self.forwards(&batch, &ingested.downlink);
        let acks = batch.into_acks();
        let (at_once, later): (Vec<_>, Vec<_>) = ingested.said.into_iter().partition(|said| said.at_once);
        self.say(at_once);
        if let Err(error) = ingested.commit.await {
            return Err(end_of_error(&error));
        }
        let acknowledged = self.session.handle_commit(&acks, &ingested.verdicts);
        for message in forwards {
            // A full queue is counted there; the record itself is durable.
            let _ = self.inner.downlink.forward(message);
        }
        self.say(later);
        acknowledged
    }

    fn say(&mut self, said: Vec<Said>) {
        for Said { topic, payload, qos, retain, to_asker, .. } in said {
            // Past the bus, which keeps every message for those that are slow: with the time of each device six times an hour it would
            // grow by a gigabyte a day for a fleet of thousands.
            if to_asker && self.session.handle_answer(&topic, &payload, qos, Instant::now()) {
                continue;
            }
            // As for forwarded messages: counted there, and subscribers ask again or hear the next one.
            let _ = self.inner.downlink.publish(&topic, payload, retain, qos);
        }
    }

    /// `None` when the disk is full and the client can be told so.
    async fn stage(
        &mut self,
        inbound: &[Inbound<'_>],
        batch: &Batch<'_>,
    ) -> Result<Option<Ingested<I::Commit>>, End> {
        let began = Instant::now();
        let mut pause = BUSY_PAUSE;
        loop {
            let counters = &self.inner.counters;
            let error = match self.inner.ingest.ingest(inbound) {
                Ok(ingested) => return Ok(Some(ingested)),
                Err(error) => error,
            };
            match error {
                IngestError::Failed(_) => return Err(end_of_error(&error)),
                IngestError::Full => {
                    counters.full_waits.add(1);
                    if self.session.version() == Version::V5 && batch.owes() {
                        return Ok(None);
                    }
                    self.pause(FULL_PAUSE).await?;
                }
                IngestError::Busy => {
                    counters.busy_waits.add(1);
                    self.pause(pause).await?;
                    pause = (pause * 2).min(BUSY_PAUSE_MAX);
                }
            }
            if began.elapsed() >= self.session.limits().stall_timeout {
                return Err(end_of_error(&error));
            }
        }
    }

    /// Copies of what subscribers shall get too, before the read buffer is gone.
    fn forwards(&self, batch: &Batch<'_>, downlink: &[bool]) -> Vec<Message> {
        if !downlink.contains(&true) {
            return Vec::new();
        }
        let now = Instant::now();
        let chosen = batch.publishes.iter().zip(downlink).filter(|(_, down)| **down);
        let message = |pending: &Pending<'_>| Message {
            topic: pending.topic().to_owned(),
            payload: bytes::Bytes::copy_from_slice(pending.payload),
            qos: pending.qos,
            retain: pending.retain,
            properties: pending.properties.as_deref().cloned().unwrap_or_default(),
            publisher: self.session.connection(),
            expires: expires(pending.properties.as_deref(), now),
        };
        chosen.map(|(pending, _)| message(pending)).collect()
    }
}

fn end_of_error(error: &IngestError) -> End {
    match error {
        IngestError::Full => End::Close(Reason::QuotaExceeded, "the disk is full"),
        IngestError::Busy => End::Close(Reason::ServerBusy, "storage is too slow"),
        IngestError::Failed(_) => End::Close(Reason::ServerUnavailable, "storage failed"),
    }
}
