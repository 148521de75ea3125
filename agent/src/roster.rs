//! Who is on which link at this moment, and the way to them.
//!
//! In: what links say of themselves, commands for devices. Out: the list for people, the devices there are, commands handed to the link
//! of their device. Always true: bounded by the links there are; what is here is forgotten with the link, nothing is stored.
//!
//! Not here: what an agent remembers of devices (see `devices`), MQTT.

use crate::limits::COMMANDS_PENDING_MAX;
use headwater_telemetry::{Command, DeviceId, Hello};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};

/// Everybody who is connected. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Roster {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<u64, Link>,
    last: u64,
}

#[derive(Debug)]
struct Link {
    port: String,
    opened_ms: u64,
    heard_ms: u64,
    peer: Peer,
    commands: mpsc::Sender<Command>,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Peer {
    /// Said nothing that could be understood yet.
    Unknown,
    /// Taken.
    Known(Box<Hello>),
    /// Not taken, and why.
    Refused { device: DeviceId, reason: &'static str },
}

/// One link for people, as `/devices` shows it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    link: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firmware: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<ChannelLine<'a>>,
    opened_ms: u64,
    heard_ms: u64,
}

#[derive(Debug, Serialize)]
struct ChannelLine<'a> {
    name: &'a str,
    unit: &'a str,
}

/// The place of one link in the roster; leaving is dropping it.
#[derive(Debug)]
pub(crate) struct Place {
    roster: Roster,
    id: u64,
    commands: mpsc::Receiver<Command>,
}

/// Why a command went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undelivered {
    #[error("device is on no link of this agent")]
    Absent,
    #[error("{COMMANDS_PENDING_MAX} commands wait for this device already")]
    Busy,
}

impl Roster {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// A link was opened. `port`: its name for people.
    pub(crate) fn enter(&self, port: String, now_ms: u64) -> Place {
        let (sender, commands) = mpsc::channel(COMMANDS_PENDING_MAX);
        let mut state = self.lock();
        state.last += 1;
        let id = state.last;
        let link = Link { port, opened_ms: now_ms, heard_ms: 0, peer: Peer::Unknown, commands: sender };
        state.links.insert(id, link);
        Place { roster: self.clone(), id, commands }
    }

    /// The devices that are connected.
    pub(crate) fn devices(&self) -> BTreeSet<DeviceId> {
        self.lock().links.values().filter_map(|link| link.device().cloned()).collect()
    }

    /// Follows changes of [`Roster::devices`].
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Hands a command to the link of its device, the newest one where there are several.
    pub(crate) fn command(&self, device: &DeviceId, command: Command) -> Result<(), Undelivered> {
        let state = self.lock();
        let link = state.links.values().rev().find(|link| link.device() == Some(device));
        link.ok_or(Undelivered::Absent)?.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Undelivered::Busy,
            mpsc::error::TrySendError::Closed(_) => Undelivered::Absent,
        })
    }

    /// All links as JSON, the oldest first.
    pub(crate) fn json(&self) -> String {
        let state = self.lock();
        let lines: Vec<Line<'_>> = state.links.values().map(Link::line).collect();
        serde_json::to_string(&lines).expect("plain data is JSON")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Link {
    fn device(&self) -> Option<&DeviceId> {
        match &self.peer {
            Peer::Known(hello) => Some(&hello.device),
            Peer::Unknown | Peer::Refused { .. } => None,
        }
    }

    fn line(&self) -> Line<'_> {
        let mut line = Line {
            link: &self.port,
            state: "unknown",
            device: None,
            reason: None,
            firmware: None,
            boot: None,
            channels: Vec::new(),
            opened_ms: self.opened_ms,
            heard_ms: self.heard_ms,
        };
        match &self.peer {
            Peer::Unknown => {}
            Peer::Refused { device, reason } => {
                (line.state, line.device, line.reason) = ("refused", Some(device.as_str()), Some(*reason));
            }
            Peer::Known(hello) => {
                (line.state, line.device, line.boot) =
                    ("known", Some(hello.device.as_str()), Some(hello.boot.0));
                line.firmware = Some(&hello.firmware);
                let channels = hello.channels.iter();
                line.channels = channels
                    .map(|channel| ChannelLine { name: &channel.name, unit: &channel.unit })
                    .collect();
            }
        }
        line
    }
}

impl Place {
    /// Something came over the link; `peer` when it said who it is.
    pub(crate) fn heard(&self, now_ms: u64, peer: Option<Peer>) {
        let mut state = self.roster.lock();
        let Some(link) = state.links.get_mut(&self.id) else { return };
        link.heard_ms = now_ms;
        if let Some(peer) = peer {
            link.peer = peer;
            drop(state);
            self.roster.changed.send_modify(|count| *count += 1);
        }
    }

    /// The next command for the device on this link. Cancel-safe.
    pub(crate) async fn command(&mut self) -> Command {
        match self.commands.recv().await {
            Some(command) => command,
            // The other half lives as long as this place.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.roster.lock().links.remove(&self.id);
        self.roster.changed.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_telemetry::{BootId, CommandId, Order, ResetReason, heapless};

    fn known(name: &str) -> Option<Peer> {
        let device = DeviceId::parse(name).unwrap();
        let channels = heapless::Vec::new();
        let hello = Hello::new(device, BootId(3), "fw 1", ResetReason::Power, channels);
        Some(Peer::Known(Box::new(hello)))
    }

    fn command(id: u32) -> Command {
        Command { id: CommandId(id), order: Order::Identify }
    }

    #[tokio::test]
    async fn a_command_goes_to_the_newest_link_of_its_device() {
        let roster = Roster::new();
        let (device, mut changed) = (DeviceId::parse("d").unwrap(), roster.changed());
        let (mut old, mut new) = (roster.enter("a".into(), 1), roster.enter("b".into(), 2));
        assert_eq!(roster.command(&device, command(1)), Err(Undelivered::Absent));
        old.heard(3, known("d"));
        roster.command(&device, command(2)).unwrap();
        assert_eq!(old.command().await, command(2));
        new.heard(4, known("d"));
        roster.command(&device, command(3)).unwrap();
        assert_eq!(new.command().await, command(3));
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        drop(new);
        assert!(changed.has_changed().unwrap(), "somebody left");
        roster.command(&device, command(4)).unwrap();
        assert_eq!(old.command().await, command(4));
        drop(old);
        assert_eq!(roster.command(&device, command(5)), Err(Undelivered::Absent));
        assert!(roster.devices().is_empty());
    }

    #[test]
    fn a_device_that_takes_no_commands_has_a_bounded_number_waiting() {
        let roster = Roster::new();
        let place = roster.enter("a".into(), 1);
        place.heard(2, known("d"));
        let device = DeviceId::parse("d").unwrap();
        for id in 0..u32::try_from(COMMANDS_PENDING_MAX).unwrap() {
            roster.command(&device, command(id)).unwrap();
        }
        assert_eq!(roster.command(&device, command(99)), Err(Undelivered::Busy));
    }

    #[test]
    fn the_list_shows_who_is_there_who_is_not_known_and_who_is_refused() {
        let roster = Roster::new();
        let places = ["tcp 1", "tty 2", "tty 3"].map(|port| roster.enter(port.into(), 1));
        places[0].heard(5, known("d"));
        let device = DeviceId::parse("x").unwrap();
        places[2].heard(6, Some(Peer::Refused { device, reason: "not in devices.allow" }));
        assert_eq!(
            roster.json(),
            concat!(
                r#"[{"link":"tcp 1","state":"known","device":"d","firmware":"fw 1","boot":3,"opened_ms":1,"heard_ms":5},"#,
                r#"{"link":"tty 2","state":"unknown","opened_ms":1,"heard_ms":0},"#,
                r#"{"link":"tty 3","state":"refused","device":"x","reason":"not in devices.allow","opened_ms":1,"heard_ms":6}]"#
            )
        );
        assert_eq!(roster.devices().len(), 1);
    }
}
