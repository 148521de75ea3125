//! The way down: commands of the gateway for devices on our links.
//!
//! In: who is connected, publishes on `headwater/{device}/command`. Out: subscriptions for just these devices, commands handed to their
//! links. Invariants: one SUBSCRIBE or UNSUBSCRIBE is on its way at a time, so that the client always has room for records; what is refused
//! is said once, and asked for again as a connection is made again: later every time, at random. Records go up meanwhile.
//!
//! A command for a device that is not there, or while there is no connection, is gone: nobody may do tomorrow what was asked for
//! today. Whoever asks repeats it until the result comes, and the device does it once.
//! Not here: sending to a device until it answers (`link::orders`); results, which are records like any other.

use super::ROOT;
use super::client::Client;
use crate::limits::FILTERS_PER_PACKET_MAX;
use crate::roster::Roster;
use crate::status::Counters;
use headwater_relay::Backoff;
use headwater_telemetry::{DeviceId, Down, decode_body};
use rumqttc::v5::mqttbytes::v5::SubscribeReasonCode;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

pub(super) struct Downlink {
    roster: Roster,
    counters: Arc<Counters>,
    changed: watch::Receiver<u64>,
    /// What the gateway was asked for and did not refuse.
    asked: BTreeSet<DeviceId>,
    /// What it refused, and is asked for again at `retry_at_ms`.
    refused: BTreeSet<DeviceId>,
    retry: Backoff,
    retry_at_ms: Option<u64>,
    /// In the order of the SUBSCRIBE that is on its way.
    asking: Vec<DeviceId>,
    is_asking: bool,
}

impl Downlink {
    /// `retry` says when to ask again for what was refused.
    pub(super) fn new(roster: Roster, counters: Arc<Counters>, retry: Backoff) -> Self {
        Self {
            changed: roster.changed(),
            roster,
            counters,
            asked: BTreeSet::new(),
            refused: BTreeSet::new(),
            retry,
            retry_at_ms: None,
            asking: Vec::new(),
            is_asking: false,
        }
    }

    pub(super) fn set_retry(&mut self, retry: Backoff) {
        self.retry = retry;
    }

    /// A new connection: nothing is asked for.
    pub(super) fn reset(&mut self) {
        self.asked.clear();
        self.refused.clear();
        self.asking.clear();
        (self.is_asking, self.retry_at_ms) = (false, None);
    }

    /// Returns when somebody came or went. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// The gateway answered what was asked.
    pub(super) fn handle_answered(&mut self, refusals: &[Option<SubscribeReasonCode>], now_ms: u64) {
        self.is_asking = false;
        let before = self.counters.devices_unheard.get();
        let mut taken = false;
        for (device, refusal) in std::mem::take(&mut self.asking).into_iter().zip(refusals) {
            let Some(reason) = refusal else {
                taken = true;
                continue;
            };
            if before == 0 && self.refused.is_empty() {
                // Once: whoever is refused is refused again until somebody changes something over there.
                tracing::warn!(%device, ?reason, "gateway refuses the commands of devices: mind its mqtt.subscribers and our permissions");
            }
            self.asked.remove(&device);
            self.refused.insert(device);
        }
        if !self.refused.is_empty() {
            self.retry_at_ms.get_or_insert_with(|| self.retry.handle_lost(now_ms));
        } else if taken {
            self.retry.handle_connected(now_ms);
        }
        let unheard = u64::try_from(self.refused.len()).unwrap_or(u64::MAX);
        if before > 0 && unheard == 0 && taken {
            tracing::info!("gateway lets us hear the commands of devices again");
        }
        if unheard > 0 || taken {
            self.counters.devices_unheard.set(unheard);
        }
    }

    /// When to call [`Self::handle_timeout`] and [`Self::ask`]; never while nothing was refused.
    pub(super) fn retry_at_ms(&self) -> Option<u64> {
        self.retry_at_ms
    }

    /// What was refused may be asked for again.
    pub(super) fn handle_timeout(&mut self, now_ms: u64) {
        if self.retry_at_ms.take_if(|at_ms| *at_ms <= now_ms).is_some() {
            self.refused.clear();
        }
    }

    /// Asks for the commands of devices that came, and no more for those of devices that left.
    pub(super) fn ask(&mut self, client: &Client) {
        if self.is_asking {
            return;
        }
        let devices = self.roster.devices();
        let gone = self.asked.difference(&devices).next().cloned();
        self.refused.retain(|device| devices.contains(device));
        let is_new = |device: &&DeviceId| !self.refused.contains(*device);
        let came: Vec<DeviceId> =
            devices.difference(&self.asked).filter(is_new).take(FILTERS_PER_PACKET_MAX).cloned().collect();
        if !came.is_empty() {
            self.is_asking = client.subscribe(came.iter().map(topic));
            if self.is_asking {
                self.asked.extend(came.iter().cloned());
                self.asking = came;
            }
        } else if let Some(gone) = gone {
            self.is_asking = client.unsubscribe(topic(&gone));
            if self.is_asking {
                self.asked.remove(&gone);
            }
        }
    }

    /// Takes a publish of the gateway.
    pub(super) fn handle_publish(&self, topic: &[u8], payload: &[u8]) {
        let Some(device) = device_of(topic) else {
            tracing::debug!(topic = %topic.escape_ascii(), "publish without use here");
            return;
        };
        let command = match decode_body::<Down>(payload) {
            Ok(Down::Command(command)) => command,
            // The gateway answers a networked device here; behind an agent nobody asks it.
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%device, %error, length = payload.len(), "command not understood");
                return;
            }
        };
        self.counters.commands.add(1);
        let id = command.id.0;
        match self.roster.command(&device, command) {
            Ok(()) => tracing::info!(%device, id, "command received"),
            Err(reason) => {
                self.counters.commands_dropped.add(1);
                tracing::warn!(%device, id, %reason, "command dropped");
            }
        }
    }
}

fn topic(device: &DeviceId) -> String {
    format!("{ROOT}/{device}/command")
}

fn device_of(topic: &[u8]) -> Option<DeviceId> {
    let name = std::str::from_utf8(topic).ok()?.strip_prefix(ROOT)?.strip_prefix('/')?;
    DeviceId::parse(name.strip_suffix("/command")?).ok()
}
