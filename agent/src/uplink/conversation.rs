//! One MQTT 5 connection over any stream.
//!
//! In: what rumqttc's client asks for, a stream to the gateway. Out: [`Event`]s until the connection is lost, and then why.
//!
//! Packets, packet ids and the window are rumqttc's own; its event loop is not used. It picks by chance what it does next, so no seed
//! could tell what a simulation does; it makes a system call of every publish; and its TLS stands on crates that nobody keeps.
//! Here what is ready is taken in a fixed order, and what was asked for meanwhile is written at once.
//! Not here: making connections (network), what is sent and what answers mean.

use super::client::{Event, event_of};
use crate::limits::{UPLINK_READ_BYTES, UPLINK_WRITE_BYTES_MAX};
use bytes::BytesMut;
use flume::Receiver;
use rumqttc::v5::mqttbytes::Error as MqttError;
use rumqttc::v5::mqttbytes::v5::{Connect, Packet};
use rumqttc::v5::{Event as RawEvent, Incoming, MqttOptions, MqttState, Request};
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until};

/// What carries a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Who sees what is said, and may twist what is told of it: a simulation.
pub(super) trait Witness: Send {
    /// This goes to the gateway.
    fn handle_sent(&mut self, _: &Packet) {}

    /// This came.
    fn handle_received(&mut self, _: &Incoming) {}

    /// What the uplink is told of an event.
    fn told(&mut self, event: RawEvent) -> Vec<Event> {
        event_of(event).into_iter().collect()
    }
}

impl Witness for () {}

pub(super) struct Conversation<'a, S, W> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Nothing is left in the stream's own buffers, which TLS has.
    is_flushed: bool,
    state: MqttState,
    keep_alive: Duration,
    /// Largest packet we take, and the gateway.
    packet_bytes_max: (Option<u32>, Option<u32>),
    in_flight_max: u16,
    events: &'a UnboundedSender<Event>,
    witness: W,
}

impl<'a, S: Stream, W: Witness> Conversation<'a, S, W> {
    pub(super) fn new(
        stream: S,
        options: &MqttOptions,
        events: &'a UnboundedSender<Event>,
        witness: W,
    ) -> Self {
        let (reader, writer) = split(stream);
        let in_flight_max = options.get_outgoing_inflight_upper_limit().unwrap_or(u16::MAX);
        let ours = options.connect_properties().and_then(|properties| properties.max_packet_size);
        Self {
            reader,
            writer,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            is_flushed: true,
            state: MqttState::new(in_flight_max, false),
            keep_alive: options.keep_alive(),
            packet_bytes_max: (ours, None),
            in_flight_max,
            events,
            witness,
        }
    }

    /// CONNECT and its answer. To be given up by the caller when it takes too long.
    pub(super) async fn begin(&mut self, options: &MqttOptions) -> Result<(), String> {
        let connect = Connect {
            client_id: options.client_id(),
            keep_alive: u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX),
            clean_start: options.clean_start(),
            properties: options.connect_properties(),
        };
        self.put(Packet::Connect(connect, None, options.credentials()))?;
        self.write_all().await?;
        let answer = loop {
            if let Some(packet) = self.packet()? {
                break packet;
            }
            read(&mut self.reader, &mut self.incoming).await?;
        };
        let Incoming::ConnAck(connack) = &answer else {
            return Err(format!("the gateway answered CONNECT with {answer:?}"));
        };
        if let Some(properties) = &connack.properties {
            self.in_flight_max = self.in_flight_max.min(properties.receive_max.unwrap_or(u16::MAX));
            self.packet_bytes_max.1 = properties.max_packet_size;
            let asked_for = properties.server_keep_alive.map(|seconds| Duration::from_secs(seconds.into()));
            self.keep_alive = asked_for.unwrap_or(self.keep_alive);
        }
        self.handle(answer)
    }

    /// Goes on until the connection is lost; returns why.
    pub(super) async fn go_on(mut self, asked: Receiver<Request>) -> Result<Infallible, String> {
        // MQTT 5, 3.1.2.10: 0 is never.
        let every = if self.keep_alive.is_zero() { Duration::from_secs(86_400) } else { self.keep_alive };
        let mut ping_at = Instant::now() + every;
        loop {
            self.handle_packets()?;
            let (has_outgoing, takes) = (!self.outgoing.is_empty(), self.takes_requests());
            tokio::select! {
                // In this order, so that a seed tells what happens.
                biased;
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + every;
                    self.ask(Request::PingReq)?;
                }
                pushed = push(&mut self.writer, &mut self.outgoing), if has_outgoing || !self.is_flushed => {
                    pushed?;
                    self.is_flushed = !has_outgoing;
                }
                read = read(&mut self.reader, &mut self.incoming) => read?,
                request = asked.recv_async(), if takes => {
                    let gone = |_| "the client is gone".to_owned();
                    let mut next = Some(request.map_err(gone)?);
                    while let Some(request) = next {
                        let is_last = matches!(request, Request::Disconnect);
                        self.put_request(request)?;
                        if is_last {
                            self.hang_up().await?;
                        }
                        self.tell();
                        next = self.takes_requests().then(|| asked.try_recv().ok()).flatten();
                    }
                }
            }
        }
    }

    fn takes_requests(&self) -> bool {
        self.state.inflight() < self.in_flight_max
            && self.state.collision.is_none()
            && self.outgoing.len() < UPLINK_WRITE_BYTES_MAX
    }

    fn ask(&mut self, request: Request) -> Result<(), String> {
        self.put_request(request)?;
        self.tell();
        Ok(())
    }

    fn put_request(&mut self, request: Request) -> Result<(), String> {
        let packet = self.state.handle_outgoing_packet(request).map_err(|error| error.to_string())?;
        packet.map_or(Ok(()), |packet| self.put(packet))
    }

    fn put(&mut self, packet: Packet) -> Result<(), String> {
        self.witness.handle_sent(&packet);
        let written = packet.write(&mut self.outgoing, self.packet_bytes_max.1);
        written.map(drop).map_err(|error| error.to_string())
    }

    /// Takes every packet that is there as a whole.
    fn handle_packets(&mut self) -> Result<(), String> {
        while let Some(packet) = self.packet()? {
            self.handle(packet)?;
        }
        Ok(())
    }

    fn handle(&mut self, packet: Incoming) -> Result<(), String> {
        self.witness.handle_received(&packet);
        let answer = self.state.handle_incoming_packet(packet);
        self.tell();
        answer.map_err(|error| error.to_string())?.map_or(Ok(()), |packet| self.put(packet))
    }

    /// Passes on what happened.
    fn tell(&mut self) {
        while let Some(event) = self.state.events.pop_front() {
            for event in self.witness.told(event) {
                // Without a hearer the connection is dropped a moment later.
                let _ = self.events.send(event);
            }
        }
    }

    fn packet(&mut self) -> Result<Option<Incoming>, String> {
        match Packet::read(&mut self.incoming, self.packet_bytes_max.0) {
            Ok(packet) => Ok(Some(packet)),
            Err(MqttError::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn write_all(&mut self) -> Result<(), String> {
        self.writer.write_all_buf(&mut self.outgoing).await.map_err(words)?;
        self.writer.flush().await.map_err(words)
    }

    /// The DISCONNECT is out before anybody hears of it and drops this.
    async fn hang_up(&mut self) -> Result<(), String> {
        self.write_all().await?;
        // TLS says goodbye too; who has gone already does not hear it.
        let _ = self.writer.shutdown().await;
        Ok(())
    }
}

/// Writes some of what is there, or else what the stream holds back. Cancel-safe: nothing is written that is not gone from `outgoing`.
async fn push(writer: &mut (impl AsyncWrite + Unpin), outgoing: &mut BytesMut) -> Result<(), String> {
    if outgoing.is_empty() {
        return writer.flush().await.map_err(words);
    }
    match writer.write_buf(outgoing).await.map_err(words)? {
        0 => Err("the connection takes nothing any more".to_owned()),
        _ => Ok(()),
    }
}

/// Reads some. Cancel-safe: what was read stays in `incoming`.
async fn read(reader: &mut (impl AsyncRead + Unpin), incoming: &mut BytesMut) -> Result<(), String> {
    incoming.reserve(UPLINK_READ_BYTES);
    match reader.read_buf(incoming).await.map_err(words)? {
        0 => Err("connection closed by peer".to_owned()),
        _ => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn words(error: std::io::Error) -> String {
    error.to_string()
}
