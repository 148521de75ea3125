//! How messages and filters are written so that the router carries them.
//!
//! ```text
//! topic       | t/ or s/ and the topic; only the poison has none of them
//! properties  | the publisher's, then a user property with an empty name: QoS, retain (0 or 1), publisher
//! filter      | t/ or s/ and the filter; shared: $share/{hash of group and filter}/ before it
//! ```
//! In: a message, a filter. Out: packets for the router; and back, the message that was meant.
//! Invariant: `decode` gives what `encode` took; nothing from outside becomes the poison.
//! Not here: links (`link`), the life of the router (`router`).

use crate::mqtt::downlink::bus::Delivery;
use crate::mqtt::downlink::{Message, PublishProperties};
use crate::mqtt::topic::TopicFilter;
use rumqttd::protocol::{self, Packet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A message as the router carries it: its properties, and last a user property with what the router has no field for.
pub(super) fn encode(message: &Message) -> Packet {
    let is_poison = message.publisher == u64::MAX && message.topic == POISON;
    let topic = if is_poison { message.topic.clone() } else { prefixed(&message.topic) };
    let publish = protocol::Publish::new(bytes::Bytes::from(topic), message.payload.clone(), false);
    let PublishProperties { utf8, content_type, response_topic, correlation_data, user, .. } =
        &message.properties;
    let mut user_properties = user.clone();
    let rest = format!("{} {} {}", message.qos, u8::from(message.retain), message.publisher);
    user_properties.push((String::new(), rest));
    let properties = protocol::PublishProperties {
        payload_format_indicator: utf8.then_some(1),
        message_expiry_interval: message.expires_in_s(Instant::now()),
        content_type: content_type.clone(),
        response_topic: response_topic.clone(),
        correlation_data: correlation_data.clone(),
        user_properties,
        ..protocol::PublishProperties::default()
    };
    Packet::Publish(publish, Some(properties))
}

/// The reverse of `encode`. `None` cannot happen with what `encode` made.
pub(super) fn decode(forward: rumqttd::Forward) -> Option<Delivery> {
    let mut properties = forward.properties?;
    let (_, rest) = properties.user_properties.pop()?;
    let mut rest = rest.split(' ');
    let qos = rest.next()?.parse().ok()?;
    let retain = rest.next()? == "1";
    let publisher = rest.next()?.parse().ok()?;
    let tag = u32::try_from(*properties.subscription_identifiers.last()?).ok()?;
    let topic = String::from_utf8(forward.publish.topic.get(2..)?.to_vec()).ok()?;
    let expiry_s = properties.message_expiry_interval;
    let expires = expiry_s.map(|s| Instant::now() + Duration::from_secs(u64::from(s)));
    let properties = PublishProperties {
        utf8: properties.payload_format_indicator == Some(1),
        message_expiry_s: expiry_s,
        content_type: properties.content_type,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        user: properties.user_properties,
    };
    let payload = forward.publish.payload;
    let message = Message { topic, payload, qos, retain, properties, publisher, expires };
    Some(Delivery::Message { tag, message: Arc::new(message) })
}

pub(super) fn subscribe(path: String, tag: u32) -> Packet {
    let filter = protocol::Filter {
        path,
        qos: protocol::QoS::AtMostOnce,
        nolocal: false,
        preserve_retain: false,
        retain_forward_rule: protocol::RetainForwardRule::Never,
    };
    let id = usize::try_from(tag).unwrap_or(usize::MAX);
    let properties = protocol::SubscribeProperties { id: Some(id), user_properties: Vec::new() };
    Packet::Subscribe(protocol::Subscribe { pkid: 1, filters: vec![filter] }, Some(properties))
}

/// A filter as the router knows it.
pub(super) fn path(filter: &TopicFilter, hasher: &RandomState) -> String {
    let inner = prefixed(filter.filter());
    match filter.group() {
        None => inner,
        Some(group) => format!("$share/{:016x}/{inner}", hasher.hash_one((group, filter.filter()))),
    }
}

/// Wildcards at the start do not match topics that begin with `$`; two name spaces see to that.
fn prefixed(topic: &str) -> String {
    let space = if topic.starts_with('$') { "s/" } else { "t/" };
    [space, topic].concat()
}

/// Topic the router dies of.
const POISON: &str = "é";

/// A message that ends the router.
pub(super) fn poison() -> Message {
    Message {
        topic: POISON.into(),
        payload: bytes::Bytes::from_static(b"-"),
        qos: 0,
        retain: false,
        properties: PublishProperties::default(),
        publisher: u64::MAX,
        expires: None,
    }
}
