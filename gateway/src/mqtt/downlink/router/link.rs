//! One link of a subscriber to the router, with the task that owns both of its halves.
//!
//! In: commands of one connection, what the router forwards. Out: deliveries, the last of which says that the bus is gone.
//! Invariants: nothing reaches the router for a link that has left; one delivery waits at most, so a session that takes
//! none holds up its own link alone.
//! Not here: making links and their names (`router`), how messages and filters are written (`carry`).

use super::carry::{decode, path, subscribe};
use super::{Alive, RENEW_PAUSE, lock, now};
use crate::mqtt::downlink::bus::{Command, Delivery, Gone};
use rumqttd::Notification;
use rumqttd::local::{LinkRx, LinkTx};
use rumqttd::protocol::{self, Packet};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// A router that unwinds is gone after so many looks, `RENEW_PAUSE` apart.
const DEATH_LOOKS: u32 = 200;

/// One link of a subscriber, with the task that owns it.
pub(super) struct Link {
    pub(super) tx: LinkTx,
    pub(super) rx: LinkRx,
    pub(super) sink: mpsc::Sender<Delivery>,
    pub(super) alive: Arc<Alive>,
    /// What the router has seen in this life, and how many of them it may.
    pub(super) filters: Arc<Mutex<HashSet<u64>>>,
    pub(super) filters_max: usize,
    pub(super) hasher: RandomState,
}

impl Link {
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut waiting: Option<Delivery> = None;
        let sink = self.sink.clone();
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => if self.handle_command(command).is_err() { break },
                    None => {
                        self.leave();
                        return;
                    }
                },
                permit = sink.reserve(), if waiting.is_some() => {
                    // Without a permit the session is being dropped: the commands end next.
                    if let (Ok(permit), Some(delivery)) = (permit, waiting.take()) {
                        permit.send(delivery);
                    }
                }
                next = self.rx.next(), if waiting.is_none() => match next {
                    Ok(Some(Notification::Forward(forward))) => waiting = decode(forward),
                    Ok(Some(Notification::Unschedule)) => if self.rx.ready().is_err() { break },
                    Ok(Some(Notification::Disconnect(..))) | Err(_) => break,
                    Ok(_) => {}
                },
            }
        }
        // The links of a dying router end before its queue does. Who heard of it now would queue up in vain.
        for _ in 0..DEATH_LOOKS {
            if !(self.alive)() {
                break;
            }
            tokio::time::sleep(RENEW_PAUSE).await;
        }
        let _ = sink.send(Delivery::Lost).await;
    }

    fn handle_command(&mut self, command: Command) -> Result<(), Gone> {
        match command {
            Command::Subscribe { filter, tag, done } => {
                let path = path(&filter, &self.hasher);
                if !self.admit(&path) {
                    // Told that the bus is gone, the client comes back, and its new link renews the bus.
                    self.leave();
                    return Err(Gone);
                }
                now(self.tx.send(subscribe(path, tag)))?;
                // Nobody waits any more when the connection just ended.
                let _: Result<(), ()> = done.send(());
            }
            Command::Unsubscribe { filter } => {
                let filters = vec![path(&filter, &self.hasher)];
                now(self.tx.send(Packet::Unsubscribe(protocol::Unsubscribe { pkid: 1, filters }, None)))?;
            }
        }
        Ok(())
    }

    /// Whether the router may be given this filter; it keeps a log for each one it ever saw.
    fn admit(&self, path: &str) -> bool {
        let (hash, mut seen) = (self.hasher.hash_one(path), lock(&self.filters));
        let admitted = seen.contains(&hash) || seen.len() < self.filters_max;
        if admitted {
            seen.insert(hash);
        }
        admitted
    }

    /// The last that reaches the router for this link.
    fn leave(&mut self) {
        let reason_code = protocol::DisconnectReasonCode::NormalDisconnection;
        let _ = now(self.tx.send(Packet::Disconnect(protocol::Disconnect { reason_code }, None)));
    }
}
