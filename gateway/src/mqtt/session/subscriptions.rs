//! What a client subscribed to, and what becomes of the messages that match.
//!
//! Each subscription has a number of its own on the client's link to the bus, so a message arrives with the
//! subscription it matched: overlapping subscriptions give one copy each, with that subscription's QoS and
//! identifier (MQTT 5, 3.3.4).

use super::outbound::Addressed;
use super::{End, Session};
use crate::mqtt::codec::{self, Subscribe, Unsubscribe};
use crate::mqtt::downlink::{Delivery, Message, PublishProperties};
use crate::mqtt::reason::Reason;
use crate::mqtt::topic::TopicFilter;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;

#[derive(Debug, Clone)]
struct Subscription {
    tag: u32,
    qos: u8,
    no_local: bool,
    retain_as_published: bool,
    subscription_id: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_filter: BTreeMap<String, Subscription>,
    last_tag: u32,
    replays: VecDeque<Replay>,
}

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.by_filter.is_empty()
    }
}

/// Retained messages still to be sent for a subscription: those after topic `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    tag: u32,
    pub(crate) filter: TopicFilter,
    pub(crate) after: Option<String>,
}

/// What the shell does on the bus.
#[derive(Debug)]
pub(crate) enum Event {
    /// Subscribe, then tell [`Session::handle_subscribed`].
    Subscribe(SubscribeRequest),
    /// Stop the deliveries of this filter, with this number.
    Unsubscribe(TopicFilter, u32),
}

/// A SUBSCRIBE with what can be said of it already.
#[derive(Debug)]
pub(crate) struct SubscribeRequest {
    id: u16,
    /// In the packet's order: granted, or why not.
    entries: Vec<Result<Entry, Reason>>,
}

#[derive(Debug)]
struct Entry {
    filter: TopicFilter,
    subscription: Subscription,
    replay: bool,
}

impl SubscribeRequest {
    /// The filters to subscribe, each with its number.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (&TopicFilter, u32)> {
        self.entries.iter().flatten().map(|entry| (&entry.filter, entry.subscription.tag))
    }
}

impl Session {
    pub(super) fn handle_subscribe(&mut self, subscribe: Subscribe) {
        let mut entries = Vec::with_capacity(subscribe.filters.len());
        let mut added = 0;
        for wanted in subscribe.filters {
            let Ok(filter) = TopicFilter::parse(&wanted.filter) else {
                entries.push(Err(Reason::TopicFilterInvalid));
                continue;
            };
            let known = self.kept.subscriptions.by_filter.get(filter.as_str()).map(|known| known.tag);
            if let Err(reason) = self.check_subscription(&filter, known.is_some(), added) {
                self.shared.counters.refused(reason);
                entries.push(Err(reason));
                continue;
            }
            added += usize::from(known.is_none());
            let tag = known.unwrap_or_else(|| self.kept.subscriptions.next_tag());
            let replay = match wanted.retain_handling {
                0 => true,
                1 => known.is_none(),
                _ => false,
            };
            entries.push(Ok(Entry {
                // MQTT 5, 4.8.2: shared subscriptions get no retained messages.
                replay: replay && filter.group().is_none(),
                subscription: Subscription {
                    tag,
                    qos: wanted.qos,
                    no_local: wanted.no_local,
                    retain_as_published: wanted.retain_as_published,
                    subscription_id: subscribe.subscription_id,
                },
                filter,
            }));
        }
        self.events.push_back(Event::Subscribe(SubscribeRequest { id: subscribe.id, entries }));
    }

    fn check_subscription(&self, filter: &TopicFilter, known: bool, added: usize) -> Result<(), Reason> {
        let count = self.kept.subscriptions.by_filter.len() + added;
        if !known && count >= self.shared.limits.subscriptions_per_client {
            return Err(Reason::QuotaExceeded);
        }
        // A member that is away would still be dealt its share of the group's messages.
        if filter.group().is_some() && self.session_expiry_s > 0 {
            return Err(Reason::SharedSubscriptionsNotSupported);
        }
        if !self.access.subscribe(&self.client, filter.filter()) {
            return Err(Reason::NotAuthorized);
        }
        Ok(())
    }

    /// The bus took the subscriptions of `request`, or could not.
    pub(crate) fn handle_subscribed(&mut self, request: SubscribeRequest, taken: Result<(), Reason>) {
        let mut codes = Vec::with_capacity(request.entries.len());
        if let Err(reason) = taken {
            self.shared.counters.refused(reason);
        }
        for entry in request.entries {
            match entry.and_then(|entry| taken.map(|()| entry)) {
                Ok(entry) => {
                    codes.push(entry.subscription.qos);
                    self.install(entry);
                }
                Err(reason) => codes.push(reason.byte()),
            }
        }
        codec::suback(&mut self.out, self.version, request.id, &codes);
    }

    fn install(&mut self, entry: Entry) {
        let subscriptions = &mut self.kept.subscriptions;
        if entry.replay {
            let tag = entry.subscription.tag;
            // Begun anew instead of once more: a client may subscribe again as often as it likes.
            subscriptions.replays.retain(|replay| replay.tag != tag);
            subscriptions.replays.push_back(Replay { tag, filter: entry.filter.clone(), after: None });
        }
        subscriptions.by_filter.insert(entry.filter.as_str().to_owned(), entry.subscription);
    }

    pub(super) fn handle_unsubscribe(&mut self, unsubscribe: Unsubscribe) {
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        for text in &unsubscribe.filters {
            let Ok(filter) = TopicFilter::parse(text) else {
                codes.push(Reason::TopicFilterInvalid.byte());
                continue;
            };
            match self.kept.subscriptions.by_filter.remove(text) {
                Some(subscription) => {
                    self.kept.subscriptions.replays.retain(|replay| replay.tag != subscription.tag);
                    self.events.push_back(Event::Unsubscribe(filter, subscription.tag));
                    codes.push(Reason::Success.byte());
                }
                None => codes.push(Reason::NoSubscriptionExisted.byte()),
            }
        }
        codec::unsuback(&mut self.out, self.version, unsubscribe.id, &codes);
    }

    /// A message off the bus.
    ///
    /// # Errors
    /// When the bus is gone: the client must connect and subscribe again.
    pub(crate) fn handle_delivery(&mut self, delivery: Delivery, now: Instant) -> Result<(), End> {
        let Delivery::Message { tag, message } = delivery else {
            return Err(End::Close(Reason::ServerBusy, "subscriptions were lost, connect again"));
        };
        let subscription = self.kept.subscriptions.by_tag(tag).cloned();
        if let Some(subscription) = subscription {
            let local = subscription.no_local && message.publisher == self.connection;
            if !local {
                let retain = message.retain && subscription.retain_as_published;
                self.send(message, &subscription, retain, now);
            }
        }
        Ok(())
    }

    /// An answer of the gateway to this client alone. False when it is not subscribed to `topic`.
    pub(crate) fn handle_answer(&mut self, topic: &str, payload: &[u8], qos: u8, now: Instant) -> bool {
        let hears = |filter: &&String| {
            TopicFilter::parse(filter).is_ok_and(|filter| filter.group().is_none() && filter.matches(topic))
        };
        let by_filter = &self.kept.subscriptions.by_filter;
        // Nearly always it is subscribed to just this topic.
        let found = by_filter.get(topic).or_else(|| by_filter.get(by_filter.keys().find(hears)?)).cloned();
        let Some(subscription) = found else { return false };
        let message = Message {
            topic: topic.to_owned(),
            payload: bytes::Bytes::copy_from_slice(payload),
            qos,
            retain: false,
            properties: PublishProperties::default(),
            publisher: 0,
            expires: None,
        };
        self.send(Arc::new(message), &subscription, false, now);
        true
    }

    /// Whether retained messages are owed and there is room for them.
    pub(crate) fn wants_replay(&self) -> bool {
        !self.kept.subscriptions.replays.is_empty() && self.wants_delivery()
    }

    /// The retained messages to fetch next, if there is room for them.
    pub(crate) fn poll_replay(&mut self) -> Option<Replay> {
        if self.wants_replay() { self.kept.subscriptions.replays.pop_front() } else { None }
    }

    /// Retained messages, and where to go on when there are more.
    pub(crate) fn handle_replay(
        &mut self,
        replay: Replay,
        page: Vec<Arc<Message>>,
        more: Option<String>,
        now: Instant,
    ) {
        let Some(subscription) = self.kept.subscriptions.by_tag(replay.tag).cloned() else { return };
        for message in page {
            // MQTT 5, 3.3.1.3: the flag is set on what is sent because of a new subscription.
            self.send(message, &subscription, true, now);
        }
        if more.is_some() {
            self.kept.subscriptions.replays.push_front(Replay { after: more, ..replay });
        }
    }

    fn send(&mut self, message: Arc<Message>, subscription: &Subscription, retain: bool, now: Instant) {
        let qos = message.qos.min(subscription.qos);
        self.shared.counters.deliveries.add(1);
        let subscription_id = subscription.subscription_id;
        let addressed = Addressed { message, qos, retain, subscription_id };
        self.kept.outbound.offer(addressed, &mut self.out, now);
    }
}

impl Subscriptions {
    fn by_tag(&self, tag: u32) -> Option<&Subscription> {
        self.by_filter.values().find(|subscription| subscription.tag == tag)
    }

    /// Numbers from 1: the bus takes 0 for "none".
    fn next_tag(&mut self) -> u32 {
        self.last_tag = self.last_tag.checked_add(1).unwrap_or(1);
        self.last_tag
    }
}
