//! Connections over streams that a simulation makes, seen by it.

use super::client::{Client, Dial, Event, event_of, options, room};
use super::conversation::{Conversation, Witness};
use super::outcome::reason_code;
use crate::simulation::{Planted, Seen, Way};
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::v5::{AsyncClient, Event as RawEvent, Incoming};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Connections that begin with a stream of `way`. `seen` is told of every PUBACK that came in.
pub(crate) fn dial(way: Way, seen: Seen, planted: Option<Planted>) -> Dial {
    Arc::new(move |config| {
        let (requests, asked) = flume::bounded(room(config));
        let (sender, events) = mpsc::unbounded_channel();
        let (stream, options, seen) = (way(), options(config), Arc::clone(&seen));
        let patience = config.connect_timeout;
        let task = tokio::spawn(async move {
            let Some(stream) = stream else {
                tokio::time::sleep(patience).await;
                return drop(sender.send(Event::Lost("nobody is there".to_owned())));
            };
            let observer = Observer { open: BTreeMap::new(), seen, planted };
            let mut conversation = Conversation::new(stream, &options, &sender, observer);
            let begun = timeout(patience, conversation.begin(&options)).await;
            let reason = match begun.unwrap_or_else(|_| Err("no CONNACK".to_owned())) {
                Ok(()) => match conversation.go_on(asked).await {
                    Err(reason) => reason,
                },
                Err(reason) => reason,
            };
            // The uplink has gone when nobody hears this.
            let _ = sender.send(Event::Lost(reason));
        });
        Client::over(AsyncClient::from_senders(requests), events, task)
    })
}

struct Observer {
    /// Topic and payload of what waits for its PUBACK.
    open: BTreeMap<u16, (String, Vec<u8>)>,
    seen: Seen,
    planted: Option<Planted>,
}

impl Witness for Observer {
    fn handle_sent(&mut self, packet: &Packet) {
        if let Packet::Publish(publish) = packet {
            let topic = String::from_utf8_lossy(&publish.topic).into_owned();
            self.open.insert(publish.pkid, (topic, publish.payload.to_vec()));
        }
    }

    fn handle_received(&mut self, packet: &Incoming) {
        if let Incoming::PubAck(puback) = packet
            && let Some((topic, payload)) = self.open.remove(&puback.pkid)
        {
            (self.seen)(&topic, &payload, reason_code(puback.reason));
        }
    }

    fn told(&mut self, event: RawEvent) -> Vec<Event> {
        let answers_itself = self.planted == Some(Planted::CheckpointBeforePuback);
        match (&event, answers_itself) {
            (RawEvent::Incoming(Incoming::PubAck(_)), true) => Vec::new(),
            (RawEvent::Outgoing(rumqttc::Outgoing::Publish(id)), true) => {
                vec![Event::Sent(*id), Event::Answered(*id, PubAckReason::Success)]
            }
            _ => event_of(event).into_iter().collect(),
        }
    }
}
