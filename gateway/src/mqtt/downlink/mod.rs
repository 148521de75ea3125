//! Messages to clients: retained messages, subscriptions and the bus between them.
//!
//! In: messages a route sends down as well as into a shard, wills, and what the gateway itself publishes (commands).
//! Out: deliveries to subscribed sessions. Telemetry passes here only when its route says so.
//! Invariants: nothing enters the bus that was not checked (topics, filters, names of our own making); retained
//! messages live here and not on the bus, so they survive its end; a full queue drops the newest and counts it.
//! Nothing here is durable: retained messages and queued deliveries are lost with the process. What must not be lost
//! is in a shard.
//! Not here: QoS towards the client (`session`).

mod bus;
#[cfg(feature = "simulation")]
mod memory;
mod places;
mod retained;
mod router;

pub(crate) use super::codec::PublishProperties;
pub(crate) use bus::{Attachment, Delivery};

use super::counters::Counters;
use super::limits::Limits;
use super::topic::{TopicFilter, valid_topic};
use bus::Bus;
use bytes::Bytes;
use places::Places;
use retained::Retained;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A message for subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// As published; a subscription may lower it.
    pub(crate) qos: u8,
    /// As published.
    pub(crate) retain: bool,
    pub(crate) properties: PublishProperties,
    /// Number of the connection that published it; 0 for the gateway itself.
    pub(crate) publisher: u64,
    /// Message expiry, from when it was received.
    pub(crate) expires: Option<Instant>,
}

impl Message {
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// Whole seconds left, at least one: zero would say "expired".
    pub(crate) fn expires_in_s(&self, now: Instant) -> Option<u32> {
        let left = self.expires?.saturating_duration_since(now).as_secs().max(1);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// Bytes it occupies, about.
    pub(crate) fn size_bytes(&self) -> usize {
        let properties = &self.properties;
        let user: usize = properties.user.iter().map(|(name, value)| name.len() + value.len() + 5).sum();
        let texts = properties.content_type.as_ref().map_or(0, |text| text.len() + 3)
            + properties.response_topic.as_ref().map_or(0, |text| text.len() + 3)
            + properties.correlation_data.as_ref().map_or(0, |data| data.len() + 3);
        self.topic.len() + self.payload.len() + user + texts
    }
}

/// Why a message was not taken for subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The topic has wildcards, or is empty, too long or too deep.
    #[error("not a topic name one can publish to")]
    Topic,
    /// QoS beyond 2.
    #[error("QoS must be 0, 1 or 2")]
    Qos,
    /// The queue to the bus is full; subscribers do not keep up. A retained message was retained all the same.
    #[error("the queue to the subscribers is full")]
    Full,
}

/// The way down to subscribers. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Downlink {
    inner: Arc<Inner>,
}

struct Inner {
    bus: Arc<dyn Bus>,
    retained: Mutex<Retained>,
    places: Arc<Places>,
    counters: Arc<Counters>,
}

impl Downlink {
    /// A downlink without messages and without subscribers. The bus behind it starts with the first subscriber.
    #[must_use]
    pub fn new(limits: &Limits) -> Downlink {
        let counters = Arc::new(Counters::default());
        let places = Places::new(limits.subscribers, counters.clone());
        let bus = Arc::new(router::RouterBus::new(limits, places.clone(), counters.clone()));
        Self::over(bus, limits, places, counters)
    }

    /// A downlink whose bus has no thread.
    #[cfg(feature = "simulation")]
    pub(super) fn in_memory(limits: &Limits) -> Downlink {
        let counters = Arc::new(Counters::default());
        let places = Places::new(limits.subscribers, counters.clone());
        Self::over(Arc::new(memory::MemoryBus::default()), limits, places, counters)
    }

    fn over(bus: Arc<dyn Bus>, limits: &Limits, places: Arc<Places>, counters: Arc<Counters>) -> Downlink {
        let retained = Mutex::new(Retained::new(limits.retained, limits.retained_bytes));
        Downlink { inner: Arc::new(Inner { bus, retained, places, counters }) }
    }

    /// Sends a message of the gateway itself, a command for a device say, to everyone subscribed to `topic` now; with
    /// `retain`, also to everyone who subscribes later (an empty payload ends that). Returns at once; not durable.
    ///
    /// # Errors
    /// When it is not a message one can publish, or subscribers are too far behind.
    pub fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        retain: bool,
        qos: u8,
    ) -> Result<(), PublishError> {
        if !valid_topic(topic) {
            return Err(PublishError::Topic);
        }
        if qos > 2 {
            return Err(PublishError::Qos);
        }
        self.forward(Message {
            topic: topic.to_owned(),
            payload: payload.into(),
            qos,
            retain,
            properties: PublishProperties::default(),
            publisher: 0,
            expires: None,
        })
    }

    /// Retains so many messages and lets so many subscribe from now on; those that are there stay.
    pub(crate) fn limit(&self, limits: &Limits) {
        self.retained_messages().limit(limits.retained);
        self.inner.places.limit(limits.subscribers);
    }

    /// The payload retained for exactly `topic`.
    #[must_use]
    pub fn retained(&self, topic: &str) -> Option<Bytes> {
        self.retained_messages().get(topic).map(|message| message.payload.clone())
    }

    /// The counters of this downlink and of the server it is given to.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.inner.counters.clone()
    }

    /// Retains `message` if it asks for that and gives it to the bus.
    pub(crate) fn forward(&self, message: Message) -> Result<(), PublishError> {
        let message = Arc::new(message);
        // Retained first: a client that subscribes meanwhile gets it at least once, never not at all.
        if message.retain && !self.retained_messages().set(&message) {
            self.inner.counters.retained_over_limit.add(1);
        }
        match self.inner.bus.publish(message) {
            bus::Published::Queued => self.inner.counters.bus_published.add(1),
            bus::Published::NoSubscribers => {}
            bus::Published::Full => {
                self.inner.counters.bus_dropped.add(1);
                return Err(PublishError::Full);
            }
        }
        Ok(())
    }

    /// A page of retained messages that match `filter`, after topic `after`; and where the next page starts.
    pub(crate) fn retained_page(
        &self,
        filter: &TopicFilter,
        after: Option<&str>,
        now: Instant,
    ) -> (Vec<Arc<Message>>, Option<String>) {
        self.retained_messages().page(filter, after, now)
    }

    /// What a subscriber has on the bus; nothing yet.
    pub(crate) fn attach(&self) -> Box<Attachment> {
        Box::new(Attachment::new(self.inner.bus.clone(), self.inner.places.clone()))
    }

    fn retained_messages(&self) -> std::sync::MutexGuard<'_, Retained> {
        // Every statement leaves it consistent enough to go on: at worst its byte count is off by one message.
        self.inner.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the bus as a crash of it would.
    #[cfg(test)]
    pub(crate) fn kill_bus(&self) {
        self.inner.bus.kill();
    }
}

/// When a message received at `now` with this expiry is of no use any more.
pub(crate) fn expires(properties: Option<&PublishProperties>, now: Instant) -> Option<Instant> {
    properties
        .and_then(|properties| properties.message_expiry_s)
        .map(|s| now + Duration::from_secs(u64::from(s)))
}

#[cfg(test)]
mod tests;
