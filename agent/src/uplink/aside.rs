//! Records that the gateway will never take.

use super::outcome::reason_code;
use super::{End, Uplink};
use crate::spool::Durable;
use headwater_journal::Storage;
use headwater_relay::Offset;
use rumqttc::v5::mqttbytes::v5::PubAckReason;

impl<S: Storage> Uplink<S> {
    /// Keeps a copy of a record that the gateway will never take; returns once the copy is durable.
    pub(super) async fn set_aside(&mut self, offset: Offset, reason: PubAckReason) -> Result<(), End> {
        let record = self.spool.aside(move |spool| spool.read_one(offset.0)).await;
        let record = match record {
            Ok(Ok(record)) => record,
            Ok(Err(error)) => return Err(End::Lost(format!("rejected record cannot be read: {error}"))),
            Err(error) => return Err(End::Lost(format!("rejected record cannot be read: {error}"))),
        };
        let Some(record) = record else { return Ok(()) };
        let ticket = self.spool.set_aside(&record, reason_code(reason), self.clock.utc_ms());
        let ticket =
            ticket.map_err(|error| End::Lost(format!("rejected record cannot be set aside: {error}")))?;
        let durable = self.durable.wait_for(|durable| match durable {
            Durable::Through(through) => *through >= ticket,
            Durable::Failed(_) => true,
        });
        match durable.await.map(|durable| durable.clone()) {
            Ok(Durable::Through(_)) => {}
            Ok(Durable::Failed(_)) | Err(_) => return Err(End::Stopped),
        }
        tracing::error!(key = record.key, offset = offset.0, reason = ?reason, "record rejected by the gateway, set aside");
        Ok(())
    }
}
