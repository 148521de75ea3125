//! Publishers of plain JSON, as the devices people already have: Tasmota plugs (`tele/{name}/SENSOR`) and Zigbee2MQTT
//! (`zigbee2mqtt/{name}`), MQTT 3.1.1, QoS 1.
//!
//! In: name, seed, rate. Out: publishes, and how many of them were acked. One message is on the way at a time and is sent
//! again until it is acked, so what is acked is always the messages 0 to below a number.
//! Not here: the device core; these devices know nothing of batches, boots and gaps.

use headwater_relay::{Backoff, Delays, Seeded};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::device::Phase;

/// A message that is not acked by then is sent again on a new connection.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// As such devices do: soon, and then every few seconds.
const RECONNECT: Delays = Delays { base_ms: 200, max_ms: 3_000, stable_ms: 5_000 };

#[derive(Debug, Clone)]
pub(crate) struct ForeignConfig {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) every: Duration,
    pub(crate) mqtt: SocketAddr,
    /// Ends after so many messages.
    pub(crate) count: Option<u64>,
    /// Tasmota or Zigbee2MQTT.
    pub(crate) is_plug: bool,
}

/// What a publisher has done.
#[derive(Debug, Default)]
pub(crate) struct ForeignLedger {
    pub(crate) published: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) connections: AtomicU64,
}

/// Publishes until the phase says otherwise; then one last time until everything is acked.
pub(crate) async fn run(
    config: ForeignConfig,
    mut phase: watch::Receiver<Phase>,
    ledger: Arc<ForeignLedger>,
) {
    let mut backoff = Backoff::new(RECONNECT, config.seed);
    let started = Instant::now();
    let now_ms = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    // Spread over the first interval, or all of them would speak in the same millisecond.
    let spread = Seeded::new(config.seed).up_to(u64::try_from(config.every.as_millis()).unwrap_or(u64::MAX));
    let mut due = started + Duration::from_millis(spread);
    loop {
        let seen = phase.clone();
        let mut options = MqttOptions::new(&config.name, config.mqtt.ip().to_string(), config.mqtt.port());
        options.set_keep_alive(Duration::from_secs(15));
        let (client, mut events) = AsyncClient::new(options, 4);
        let known = ledger.connections.load(Ordering::Relaxed);
        let begun_ms = now_ms();
        tokio::select! {
            done = publish(&config, &client, &mut events, &ledger, &seen, &mut due) => if done { return },
            _ = phase.wait_for(|phase| *phase == Phase::Stop) => return,
        }
        // One that was never answered is none that lasted.
        if ledger.connections.load(Ordering::Relaxed) > known {
            backoff.handle_connected(begun_ms);
        }
        let retry_at_ms = backoff.handle_lost(now_ms());
        tokio::select! {
            () = sleep_until(started + Duration::from_millis(retry_at_ms)) => {}
            _ = phase.wait_for(|phase| *phase == Phase::Stop) => return,
        }
    }
}

/// Publishes on one connection; true when there is nothing more to do, false when the connection is lost.
async fn publish(
    config: &ForeignConfig,
    client: &AsyncClient,
    events: &mut EventLoop,
    ledger: &ForeignLedger,
    phase: &watch::Receiver<Phase>,
    due: &mut Instant,
) -> bool {
    loop {
        let acked = ledger.acked.load(Ordering::Relaxed);
        let is_open = ledger.published.load(Ordering::Relaxed) > acked;
        if !is_open {
            let is_enough = config.count.is_some_and(|count| acked >= count);
            if is_enough || *phase.borrow() != Phase::Run {
                return true;
            }
            if !idle_until(*due, events, phase).await {
                return false;
            }
            if *phase.borrow() != Phase::Run {
                return true;
            }
            *due += config.every;
            ledger.published.fetch_add(1, Ordering::Relaxed);
        }
        let (topic, payload) = message(config, acked);
        if client.try_publish(topic, QoS::AtLeastOnce, false, payload.to_string()).is_err() {
            return false;
        }
        if !wait_ack(events, ledger).await {
            return false;
        }
        ledger.acked.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keeps the connection alive until `due` or a change of phase; false when it is lost.
async fn idle_until(due: Instant, events: &mut EventLoop, phase: &watch::Receiver<Phase>) -> bool {
    let mut phase = phase.clone();
    let until = async {
        tokio::select! {
            () = sleep_until(due) => {}
            _ = phase.wait_for(|phase| *phase != Phase::Run) => {}
        }
    };
    tokio::pin!(until);
    loop {
        tokio::select! {
            () = &mut until => return true,
            // Nothing is on the way here, so a poll that is dropped can lose no more than a ping.
            event = events.poll() => if event.is_err() { return false },
        }
    }
}

async fn wait_ack(events: &mut EventLoop, ledger: &ForeignLedger) -> bool {
    let deadline = Instant::now() + ACK_TIMEOUT;
    loop {
        match timeout_at(deadline, events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::PubAck(_)))) => return true,
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                ledger.connections.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "foreign publisher lost its connection");
                return false;
            }
            Err(_) => {
                // Let other publishers go first: the gateway is slow.
                sleep(Duration::from_millis(10)).await;
                return false;
            }
        }
    }
}

/// The same for the same seed and number.
fn message(config: &ForeignConfig, number: u64) -> (String, Value) {
    let mut seeded = Seeded::new(config.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // Bounded by up_to, so the casts to f64 are exact.
    let tenths = |seeded: &mut Seeded, from: u32, spread: u64| {
        f64::from(from + u32::try_from(seeded.up_to(spread)).unwrap_or(0)) / 10.0
    };
    let (temperature, humidity) = (tenths(&mut seeded, 180, 80), tenths(&mut seeded, 350, 300));
    let sim = json!({ "name": config.name, "number": number });
    if config.is_plug {
        let sensor = json!({ "Temperature": temperature, "Humidity": humidity });
        let payload = json!({ "SI7021": sensor, "TempUnit": "C", "sim": sim });
        return (format!("tele/{}/SENSOR", config.name), payload);
    }
    let (battery, quality) = (seeded.up_to(100), seeded.up_to(255));
    let payload = json!({
        "temperature": temperature, "humidity": humidity, "battery": battery, "linkquality": quality, "sim": sim
    });
    (format!("zigbee2mqtt/{}", config.name), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_says_the_same() {
        let config = |seed, is_plug| ForeignConfig {
            name: "sim-a-f0001".into(),
            seed,
            every: Duration::from_secs(1),
            mqtt: "127.0.0.1:1".parse().unwrap(),
            count: None,
            is_plug,
        };
        assert_eq!(message(&config(7, true), 3), message(&config(7, true), 3));
        assert_ne!(message(&config(7, true), 3), message(&config(8, true), 3));
        let (topic, payload) = message(&config(7, true), 3);
        assert_eq!((topic.as_str(), &payload["sim"]["number"]), ("tele/sim-a-f0001/SENSOR", &json!(3)));
        assert_eq!(message(&config(7, false), 3).0, "zigbee2mqtt/sim-a-f0001");
    }
}
