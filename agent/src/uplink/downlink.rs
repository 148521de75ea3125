//! The way down: commands of the gateway for devices on our links.
//!
//! In: who is connected, publishes on `headwater/{device}/command`. Out: subscriptions for just these devices, commands handed to their
//! links. Invariants: one SUBSCRIBE or UNSUBSCRIBE is on its way at a time, so that the client always has room for records.
//!
//! A command for a device that is not there, or while there is no connection, is gone: nobody may do tomorrow what was asked for
//! today. Whoever asks repeats it until the result comes, and the device does it once.
//! Not here: sending to a device until it answers (`link::orders`); results, which are records like any other.

use super::ROOT;
use super::client::Client;
use crate::limits::FILTERS_PER_PACKET_MAX;
use crate::roster::Roster;
use crate::status::Counters;
use headwater_telemetry::{DeviceId, Down, decode_body};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

pub(super) struct Downlink {
    roster: Roster,
    counters: Arc<Counters>,
    changed: watch::Receiver<u64>,
    asked: BTreeSet<DeviceId>,
    is_asking: bool,
}

impl Downlink {
    pub(super) fn new(roster: Roster, counters: Arc<Counters>) -> Self {
        Self { changed: roster.changed(), roster, counters, asked: BTreeSet::new(), is_asking: false }
    }

    /// A new connection: nothing is asked for.
    pub(super) fn reset(&mut self) {
        self.asked.clear();
        self.is_asking = false;
    }

    /// Returns when somebody came or went. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// The gateway answered what was asked.
    pub(super) fn handle_answered(&mut self, refused: usize) {
        self.is_asking = false;
        if refused > 0 {
            tracing::warn!(refused, "gateway does not let us hear commands of devices, mind its permissions");
        }
    }

    /// Asks for the commands of devices that came, and no more for those of devices that left.
    pub(super) fn ask(&mut self, client: &Client) {
        if self.is_asking {
            return;
        }
        let devices = self.roster.devices();
        let gone = self.asked.difference(&devices).next().cloned();
        let came: Vec<DeviceId> =
            devices.difference(&self.asked).take(FILTERS_PER_PACKET_MAX).cloned().collect();
        if !came.is_empty() {
            self.is_asking = client.subscribe(came.iter().map(topic));
            if self.is_asking {
                self.asked.extend(came);
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
