//! One MQTT 5 connection over any stream, driven in an order that a seed tells.
//!
//! In: what rumqttc's client asks for. Out: the same [`Event`]s as those of a connection over a socket. The packets and the state are
//! rumqttc's own; only its event loop, which picks by chance what it does next, is replaced.
//! Not here: what the stream does to bytes.

use super::client::{Client, Dial, Event, event_of, options, room};
use super::outcome::reason_code;
use crate::simulation::{Planted, Seen, Way};
use bytes::BytesMut;
use flume::Receiver;
use rumqttc::v5::mqttbytes::Error as MqttError;
use rumqttc::v5::mqttbytes::v5::{Connect, Packet, PubAckReason};
use rumqttc::v5::{AsyncClient, Event as RawEvent, Incoming, MqttOptions, MqttState, Request};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{Instant, sleep_until, timeout};

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
            let wire = Wire::new(stream, &options, &sender, seen, planted);
            let Err(reason) = wire.converse(&options, patience, asked).await;
            // The uplink has gone when nobody hears this.
            let _ = sender.send(Event::Lost(reason));
        });
        Client::over(AsyncClient::from_senders(requests), events, task)
    })
}

struct Wire<'a> {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    buffer: BytesMut,
    state: MqttState,
    packet_bytes_max: Option<u32>,
    inflight_max: u16,
    events: &'a UnboundedSender<Event>,
    /// Topic and payload of what waits for its PUBACK.
    open: BTreeMap<u16, (String, Vec<u8>)>,
    seen: Seen,
    planted: Option<Planted>,
}

impl<'a> Wire<'a> {
    fn new(
        stream: DuplexStream,
        options: &MqttOptions,
        events: &'a UnboundedSender<Event>,
        seen: Seen,
        planted: Option<Planted>,
    ) -> Self {
        let (reader, writer) = split(stream);
        let inflight_max = options.get_outgoing_inflight_upper_limit().unwrap_or(u16::MAX);
        Self {
            reader,
            writer,
            buffer: BytesMut::new(),
            state: MqttState::new(inflight_max, false),
            packet_bytes_max: options.connect_properties().and_then(|properties| properties.max_packet_size),
            inflight_max,
            events,
            open: BTreeMap::new(),
            seen,
            planted,
        }
    }

    /// Connects and goes on until the connection is lost; returns why.
    async fn converse(
        mut self,
        options: &MqttOptions,
        patience: Duration,
        asked: Receiver<Request>,
    ) -> Result<Infallible, String> {
        let connect = Connect {
            client_id: options.client_id(),
            keep_alive: u16::try_from(options.keep_alive().as_secs()).unwrap_or(u16::MAX),
            clean_start: options.clean_start(),
            properties: options.connect_properties(),
        };
        self.send(Packet::Connect(connect, None, options.credentials())).await?;
        let answer = timeout(patience, self.read()).await.map_err(|_| "no CONNACK".to_owned())??;
        if let Incoming::ConnAck(connack) = &answer
            && let Some(max) = connack.properties.as_ref().and_then(|properties| properties.receive_max)
        {
            self.inflight_max = self.inflight_max.min(max);
        }
        self.handle(answer).await?;
        let mut ping_at = Instant::now() + options.keep_alive();
        loop {
            let wants_requests = self.state.inflight() < self.inflight_max && self.state.collision.is_none();
            tokio::select! {
                biased;
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + options.keep_alive();
                    self.ask(Request::PingReq).await?;
                }
                packet = self.read() => {
                    let packet = packet?;
                    self.handle(packet).await?;
                }
                request = asked.recv_async(), if wants_requests => {
                    self.ask(request.map_err(|_| "client is gone".to_owned())?).await?;
                }
            }
        }
    }

    async fn ask(&mut self, request: Request) -> Result<(), String> {
        let packet = self.state.handle_outgoing_packet(request).map_err(|error| error.to_string())?;
        if let Some(packet) = packet {
            self.send(packet).await?;
        }
        self.tell();
        Ok(())
    }

    async fn handle(&mut self, packet: Incoming) -> Result<(), String> {
        if let Incoming::PubAck(puback) = &packet
            && let Some((topic, payload)) = self.open.remove(&puback.pkid)
        {
            (self.seen)(&topic, &payload, reason_code(puback.reason));
        }
        let answer = self.state.handle_incoming_packet(packet);
        self.tell();
        if let Some(packet) = answer.map_err(|error| error.to_string())? {
            self.send(packet).await?;
        }
        Ok(())
    }

    /// Passes on what happened.
    fn tell(&mut self) {
        while let Some(event) = self.state.events.pop_front() {
            let answers_itself = self.planted == Some(Planted::CheckpointBeforePuback);
            match (&event, answers_itself) {
                (RawEvent::Incoming(Incoming::PubAck(_)), true) => continue,
                (RawEvent::Outgoing(rumqttc::Outgoing::Publish(id)), true) => {
                    let answer = Event::Answered(*id, PubAckReason::Success);
                    let _ = self.events.send(Event::Sent(*id));
                    let _ = self.events.send(answer);
                    continue;
                }
                _ => {}
            }
            // Without a hearer the connection is dropped a moment later.
            let _ = event_of(event).map(|event| self.events.send(event));
        }
    }

    /// The next packet. Cancel-safe: what was read stays in the buffer.
    async fn read(&mut self) -> Result<Incoming, String> {
        loop {
            match Packet::read(&mut self.buffer, self.packet_bytes_max) {
                Ok(packet) => return Ok(packet),
                Err(MqttError::InsufficientBytes(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) => return Err("connection closed by peer".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn send(&mut self, packet: Packet) -> Result<(), String> {
        if let Packet::Publish(publish) = &packet {
            let topic = String::from_utf8_lossy(&publish.topic).into_owned();
            self.open.insert(publish.pkid, (topic, publish.payload.to_vec()));
        }
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).map_err(|error| error.to_string())?;
        self.writer.write_all(&bytes).await.map_err(|error| error.to_string())
    }
}
