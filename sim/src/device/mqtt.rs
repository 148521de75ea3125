//! The device's own MQTT 5 connection, for networked devices.
//!
//! In: what the device core has to send. Out: publishes of QoS 1; a PUBACK without error is the ack. Invariant: one
//! batch is in flight, so an acknowledgement cannot be taken for another's. A new client is made for each
//! connection: one that is kept drops what it had queued when the broker forgot the session.
//! Not here: retries, which are the device core's spool.

use super::life::{Body, Outage};
use headwater_device::Outbox;
use headwater_device::testing::Rng;
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{Down, TimeQuality, Timestamp, Up, UtcTime, decode_body, encode_body};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep, timeout};

/// A gateway syncs well below a second; one whose disk is full answers with an error, not with silence.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Packets the client may hold: a batch, a birth, a log line, a subscription.
const REQUESTS: usize = 8;

/// What the event loop saw that matters here.
enum Seen {
    Connected,
    Published(u16),
    Acked(u16),
    /// No route took it: nothing was stored.
    Unwanted(u16),
    Command(Box<Down>),
}

/// Why a session ended.
struct Ended;

/// Sends for ever, through outages.
pub(super) async fn send(body: &Body<'_>, address: SocketAddr, outage: &mut Outage, rng: &mut Rng) {
    loop {
        let mut options =
            MqttOptions::new(body.device.hello().device.as_str(), address.ip().to_string(), address.port());
        options.set_keep_alive(KEEP_ALIVE).set_clean_start(true);
        let (client, events) = AsyncClient::new(options, REQUESTS);
        let (seen, mut inbox) = mpsc::unbounded_channel();
        tokio::select! {
            () = pump(events, seen) => {}
            _ = session(body, &client, &mut inbox) => {}
            () = outage.begins() => {}
        }
        outage.over().await;
        sleep(Duration::from_millis(100 + rng.below(900))).await;
    }
}

/// Turns the event loop until the connection ends. It is never cancelled while the connection lives.
async fn pump(mut events: EventLoop, seen: mpsc::UnboundedSender<Seen>) {
    while let Ok(event) = events.poll().await {
        let what = match event {
            Event::Incoming(Packet::ConnAck(_)) => Seen::Connected,
            Event::Outgoing(Outgoing::Publish(packet_id)) if packet_id != 0 => Seen::Published(packet_id),
            Event::Incoming(Packet::PubAck(ack)) => match ack.reason {
                PubAckReason::Success => Seen::Acked(ack.pkid),
                PubAckReason::NoMatchingSubscribers => Seen::Unwanted(ack.pkid),
                // Not stored: end the connection and come back later.
                _ => return,
            },
            Event::Incoming(Packet::Publish(publish)) => match decode_body::<Down>(&publish.payload) {
                Ok(command) => Seen::Command(Box::new(command)),
                Err(_) => continue,
            },
            _ => continue,
        };
        if seen.send(what).is_err() {
            return;
        }
    }
}

async fn session(
    body: &Body<'_>,
    client: &AsyncClient,
    inbox: &mut mpsc::UnboundedReceiver<Seen>,
) -> Result<(), Ended> {
    loop {
        if matches!(inbox.recv().await.ok_or(Ended)?, Seen::Connected) {
            break;
        }
    }
    body.ledger.connected();
    // A networked device has the time from its network; here that is the host's clock.
    let now = body.now();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Ended)?;
    let at = Timestamp(u64::try_from(since.as_millis()).map_err(|_| Ended)?);
    body.device.learned_time(now, now, UtcTime { at, quality: TimeQuality::Synced }).await;

    let hello = body.device.hello();
    let topic = |kind: &str| format!("headwater/{}/{kind}", hello.device);
    client.subscribe(topic("command"), QoS::AtLeastOnce).await.map_err(|_| Ended)?;
    let mut buf = [0u8; BODY_BYTES_MAX];
    let birth = encode_body(&Up::Hello(hello.clone()), &mut buf).map_err(|_| Ended)?.to_vec();
    publish(body, client, inbox, topic("birth"), true, birth).await?;
    let batches = topic("batch");
    loop {
        while let Some(log) = body.device.poll_log() {
            let log = encode_body(&Up::Log(log), &mut buf).map_err(|_| Ended)?.to_vec();
            publish(body, client, inbox, topic("log"), false, log).await?;
        }
        let from = body.device.undelivered().await;
        tokio::select! {
            item = body.device.next(from, &mut buf) => {
                publish(body, client, inbox, batches.clone(), false, buf[..item.len].to_vec()).await?;
                body.device.delivered(item).await;
            }
            seen = inbox.recv() => handle(body, seen.ok_or(Ended)?).await,
        }
    }
}

/// Publishes and waits for the PUBACK. What is not a batch may be unwanted: it is not in flash either.
async fn publish(
    body: &Body<'_>,
    client: &AsyncClient,
    inbox: &mut mpsc::UnboundedReceiver<Seen>,
    topic: String,
    retain: bool,
    payload: Vec<u8>,
) -> Result<(), Ended> {
    let is_batch = topic.ends_with("/batch");
    client.publish(topic, QoS::AtLeastOnce, retain, payload).await.map_err(|_| Ended)?;
    let acked = async {
        let mut expected = None;
        loop {
            match inbox.recv().await.ok_or(Ended)? {
                Seen::Published(packet_id) => expected = Some(packet_id),
                Seen::Acked(packet_id) if expected == Some(packet_id) => return Ok(()),
                Seen::Unwanted(packet_id) if expected == Some(packet_id) && !is_batch => return Ok(()),
                Seen::Unwanted(_) => return Err(Ended),
                seen => handle(body, seen).await,
            }
        }
    };
    timeout(ACK_TIMEOUT, acked).await.unwrap_or(Err(Ended))
}

async fn handle(body: &Body<'_>, seen: Seen) {
    if let Seen::Command(command) = seen
        && let Down::Config(config) = *command
    {
        body.device.configure(&config).await;
    }
}
