//! Publishing a will: through storage like any publish, then to subscribers if its route says so.

use super::authorize::Client;
use super::codec::Will;
use super::downlink::{Downlink, Message, expires};
use crate::ingest::{Inbound, Ingest, IngestError, Verdict};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A will waits so long for room to become durable, in all. Nobody waits for it, so it may give up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Publishes `will` of `client`; gives up, counted, when storage has no room for it.
pub(super) async fn publish<I: Ingest>(ingest: Arc<I>, downlink: Downlink, client: Client, will: Will) {
    let counters = downlink.counters();
    if store(&*ingest, &client, &will).await.is_none_or(|forward| {
        counters.wills.add(1);
        if forward {
            let now = Instant::now();
            let expires = expires(will.properties.as_deref(), now);
            let properties = will.properties.map(|properties| *properties).unwrap_or_default();
            let Will { topic, payload, qos, retain, .. } = will;
            // A full queue is counted there.
            let _ =
                downlink.forward(Message { topic, payload, qos, retain, properties, publisher: 0, expires });
        }
        false
    }) {
        counters.wills_dropped.add(1);
        tracing::warn!(client = %client.id, "will dropped: storage has no room for it");
    }
}

/// Whether it shall go to subscribers too; `None` when it could not be stored.
async fn store<I: Ingest>(ingest: &I, client: &Client, will: &Will) -> Option<bool> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let properties = will.properties.as_deref();
        let inbound = Inbound {
            client_id: &client.id,
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            content_type: properties.and_then(|properties| properties.content_type.as_deref()),
            user_properties: properties.map_or(&[], |properties| properties.user.as_slice()),
        };
        match ingest.ingest(&[inbound]) {
            Ok(ingested) => {
                ingested.commit.await.ok()?;
                let rejected = matches!(ingested.verdicts.first(), Some(Verdict::Rejected(_)) | None);
                return (!rejected).then(|| ingested.downlink.first().copied().unwrap_or(false));
            }
            Err(IngestError::Failed(_)) => return None,
            Err(IngestError::Busy | IngestError::Full) if Instant::now() >= deadline => return None,
            Err(IngestError::Busy | IngestError::Full) => tokio::time::sleep(PAUSE).await,
        }
    }
}
