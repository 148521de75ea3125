//! One MQTT 5 connection: a new rumqttc client object, its conversation in a task of its own.
//!
//! In: publishes, subscriptions. Out: [`Event`]s: connected, packet id given out, answered, published, lost. After `Lost` there is nothing more.
//!
//! Why a new object each time: what was not acked goes again from the spool, not from a client's memory. Why a task: the uplink drops
//! what it waits for at any moment. Why the channel is as large as the window: handing over then never waits, so the task that hands
//! over is free to take answers.
//! Not here: what is said and heard on the connection (conversation), what is sent, and what answers mean.

use super::conversation::Conversation;
use super::network;
use crate::config::UplinkConfig;
use crate::limits::COMMANDS_PENDING_MAX;
use bytes::Bytes;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, Filter, Packet, PubAckReason, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event as RawEvent, MqttOptions, Request};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Room in the channel beyond the window: births at connect share it, and the DISCONNECT.
const CHANNEL_SLACK: usize = 16;

#[derive(Debug)]
pub(super) enum Event {
    /// CONNACK came. `receive_max`: how many publishes the gateway takes at once.
    Connected { receive_max: u16 },
    /// The next publish handed over has this packet id.
    Sent(u16),
    /// PUBACK.
    Answered(u16, PubAckReason),
    /// SUBACK or UNSUBACK: why each filter was refused, in the order in which they were asked for; none where it was taken.
    Asked(Vec<Option<SubscribeReasonCode>>),
    /// Something for us: topic and payload.
    Publish(Bytes, Bytes),
    /// The connection is gone; why, in words.
    Lost(String),
}

/// Opens a connection.
pub(crate) type Dial = Arc<dyn Fn(&UplinkConfig) -> Client + Send + Sync>;

pub(crate) struct Client {
    client: AsyncClient,
    events: mpsc::UnboundedReceiver<Event>,
    task: JoinHandle<()>,
}

impl Client {
    /// Starts to connect.
    pub(crate) fn open(config: &UplinkConfig) -> Self {
        let (requests, asked) = flume::bounded(room(config));
        // Unbounded, but what can be in it is not: two events for each publish of the window.
        let (sender, events) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(config.clone(), asked, sender));
        Self::over(AsyncClient::from_senders(requests), events, task)
    }

    /// A client whose conversation is `task`.
    pub(super) fn over(
        client: AsyncClient,
        events: mpsc::UnboundedReceiver<Event>,
        task: JoinHandle<()>,
    ) -> Self {
        Self { client, events, task }
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap_or_else(|| Event::Lost("event loop ended".to_owned()))
    }

    /// Hands a publish over, QoS 1. False when the client does not take it; then the connection must be dropped.
    pub(super) fn publish(&self, topic: String, retain: bool, payload: Vec<u8>) -> bool {
        self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload).is_ok()
    }

    /// Asks for what is published on these topics, QoS 1; `Asked` follows. False when the client does not take it now.
    pub(super) fn subscribe(&self, topics: impl Iterator<Item = String>) -> bool {
        self.client.try_subscribe_many(topics.map(|topic| Filter::new(topic, QoS::AtLeastOnce))).is_ok()
    }

    /// Asks for no more of it; `Asked` follows. False when the client does not take it now.
    pub(super) fn unsubscribe(&self, topic: String) -> bool {
        self.client.try_unsubscribe(topic).is_ok()
    }

    /// Asks for a DISCONNECT; `Lost` follows.
    pub(super) fn disconnect(&self) {
        // If the channel is full the connection is simply dropped; the gateway sees it closed either way.
        let _ = self.client.try_disconnect();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Room in the client's channel.
pub(super) fn room(config: &UplinkConfig) -> usize {
    config.window.records_max + CHANNEL_SLACK
}

pub(super) fn options(config: &UplinkConfig) -> MqttOptions {
    let mut options = MqttOptions::new(&config.client_id, &config.host, config.port);
    options.set_clean_start(true);
    options.set_keep_alive(config.keep_alive);
    options.set_outgoing_inflight_upper_limit(u16::try_from(config.window.records_max).unwrap_or(u16::MAX));
    let properties = ConnectProperties {
        max_packet_size: Some(config.packet_bytes_max),
        // Commands that are not acked: what waits for us here is bounded.
        receive_maximum: u16::try_from(COMMANDS_PENDING_MAX).ok(),
        ..ConnectProperties::new()
    };
    options.set_connect_properties(properties);
    if let Some((user, password)) = &config.credentials {
        options.set_credentials(user, password);
    }
    options
}

async fn run(config: UplinkConfig, asked: flume::Receiver<Request>, events: mpsc::UnboundedSender<Event>) {
    let options = options(&config);
    let begin = async {
        let mut conversation = Conversation::new(network::connect(&config).await?, &options, &events, ());
        conversation.begin(&options).await?;
        Ok(conversation)
    };
    let begun = timeout(config.connect_timeout, begin).await;
    let reason = match begun.unwrap_or_else(|_| Err("no connection in time".to_owned())) {
        Ok(conversation) => match conversation.go_on(asked).await {
            Err(reason) => reason,
        },
        Err(reason) => reason,
    };
    // The uplink has gone when nobody hears this.
    let _ = events.send(Event::Lost(reason));
}

/// What an event of rumqttc is here; none when it is nothing.
pub(super) fn event_of(event: RawEvent) -> Option<Event> {
    Some(match event {
        RawEvent::Incoming(Packet::ConnAck(connack)) => {
            let receive_max = connack.properties.and_then(|properties| properties.receive_max);
            // MQTT 5, 3.2.2.3.3: absent means 65,535.
            Event::Connected { receive_max: receive_max.unwrap_or(u16::MAX) }
        }
        RawEvent::Incoming(Packet::PubAck(puback)) => Event::Answered(puback.pkid, puback.reason),
        RawEvent::Incoming(Packet::SubAck(suback)) => {
            let refusal = |code| (!matches!(code, SubscribeReasonCode::Success(_))).then_some(code);
            Event::Asked(suback.return_codes.into_iter().map(refusal).collect())
        }
        RawEvent::Incoming(Packet::UnsubAck(_)) => Event::Asked(Vec::new()),
        RawEvent::Incoming(Packet::Publish(publish)) => Event::Publish(publish.topic, publish.payload),
        RawEvent::Outgoing(Outgoing::Publish(packet_id)) => Event::Sent(packet_id),
        RawEvent::Outgoing(Outgoing::Disconnect) => Event::Lost("disconnected".to_owned()),
        _ => return None,
    })
}
