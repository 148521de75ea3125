//! Who is connected under which client identifier, and the sessions of those who are away.
//!
//! Invariant: at most one connection of an identifier is live; a new one waits until the old one has left.
//! Not here: persistence. Sessions live in memory; after a restart every client starts anew (session present 0).

use super::authorize::Client;
use super::codec::Will;
use super::downlink::Attachment;
use super::session::Kept;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How a connection's task is told to stop, and tells that it has.
#[derive(Debug)]
pub(crate) struct Control {
    connection: u64,
    told: AtomicU8,
    wake: Notify,
    left: Notify,
}

/// What a connection may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The same client connected again.
    TakenOver,
    /// The server stops.
    Shutdown,
    /// The client is not let in any more.
    Revoked,
}

impl Control {
    pub(crate) fn new(connection: u64) -> Arc<Control> {
        Arc::new(Control { connection, told: AtomicU8::new(0), wake: Notify::new(), left: Notify::new() })
    }

    pub(crate) fn tell(&self, told: Told) {
        let code = match told {
            Told::TakenOver => 1,
            Told::Shutdown => 2,
            Told::Revoked => 3,
        };
        // The first reason stands.
        let _ = self.told.compare_exchange(0, code, SeqCst, SeqCst);
        self.wake.notify_one();
    }

    /// What was told so far.
    pub(crate) fn told(&self) -> Option<Told> {
        match self.told.load(SeqCst) {
            0 => None,
            1 => Some(Told::TakenOver),
            3 => Some(Told::Revoked),
            _ => Some(Told::Shutdown),
        }
    }

    /// Waits until something is told.
    pub(crate) async fn wait(&self) -> Told {
        loop {
            if let Some(told) = self.told() {
                return told;
            }
            self.wake.notified().await;
        }
    }
}

/// A session without a connection.
pub(crate) struct Away {
    pub(crate) client: Client,
    pub(crate) kept: Option<Box<Kept>>,
    pub(crate) attachment: Option<Box<Attachment>>,
    pub(crate) expires: Instant,
    /// The will and when it is due.
    pub(crate) will: Option<(Box<Will>, Instant)>,
}

enum Slot {
    Live(Arc<Control>, Client),
    Away(Box<Away>),
}

/// What a new connection finds.
pub(crate) enum Found {
    /// Nothing, or a session that is over.
    Nothing,
    /// A session to go on with, or to discard.
    Session(Box<Away>),
}

/// See the module.
pub(crate) struct Registry {
    slots: Mutex<Slots>,
    kept_max: usize,
}

#[derive(Default)]
struct Slots {
    by_id: BTreeMap<Arc<str>, Slot>,
    away: usize,
    closed: bool,
}

/// What a sweep found.
#[derive(Default)]
pub(crate) struct Due {
    /// Wills whose delay is over.
    pub(crate) wills: Vec<(Client, Box<Will>)>,
    /// Sessions that are over.
    pub(crate) over: Vec<Away>,
}

/// The old connection does not leave; its task waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occupied;

impl Registry {
    pub(crate) fn new(kept_max: usize) -> Registry {
        Registry { slots: Mutex::new(Slots::default()), kept_max }
    }

    /// Makes `control` the live connection of `client`, after telling an older one to leave and waiting up to `patience`.
    ///
    /// # Errors
    /// When the older one did not leave in time, or the server stops.
    pub(crate) async fn enter(
        &self,
        client: &Client,
        control: &Arc<Control>,
        patience: Duration,
    ) -> Result<Found, Occupied> {
        let (id, deadline) = (&client.id, Instant::now() + patience);
        loop {
            let old = {
                let mut slots = self.lock();
                if slots.closed {
                    return Err(Occupied);
                }
                match slots.by_id.get(id) {
                    Some(Slot::Live(old, _)) => old.clone(),
                    _ => {
                        let live = Slot::Live(control.clone(), client.clone());
                        let found = slots.by_id.insert(id.clone(), live);
                        return Ok(match found {
                            Some(Slot::Away(away)) => {
                                slots.away -= 1;
                                Found::Session(away)
                            }
                            _ => Found::Nothing,
                        });
                    }
                }
            };
            old.tell(Told::TakenOver);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Occupied);
            }
            // Several may wait for the same connection, and only one is woken: so look again now and then.
            let _ = tokio::time::timeout(left.min(Duration::from_millis(20)), old.left.notified()).await;
        }
    }

    /// The connection of `control` ends; `away` is what it leaves. Gives `away` back when it cannot be kept.
    pub(crate) fn leave(
        &self,
        id: &Arc<str>,
        control: &Control,
        away: Option<Box<Away>>,
    ) -> Option<Box<Away>> {
        let mut slots = self.lock();
        let mut refused = None;
        if matches!(slots.by_id.get(id), Some(Slot::Live(live, _)) if live.connection == control.connection) {
            match away {
                Some(away) if slots.away < self.kept_max && !slots.closed => {
                    slots.by_id.insert(id.clone(), Slot::Away(away));
                    slots.away += 1;
                }
                other => {
                    slots.by_id.remove(id);
                    refused = other;
                }
            }
        }
        drop(slots);
        control.left.notify_one();
        refused
    }

    /// Takes the wills that are due and the sessions that are over at `now`.
    pub(crate) fn take_due(&self, now: Instant) -> Due {
        let mut slots = self.lock();
        let mut due = Due::default();
        if slots.away == 0 {
            return due;
        }
        let mut ended = Vec::new();
        for (id, slot) in &mut slots.by_id {
            let Slot::Away(away) = slot else { continue };
            if away.will.as_ref().is_some_and(|(_, due)| now >= *due) || now >= away.expires {
                due.wills.extend(away.will.take().map(|(will, _)| (away.client.clone(), will)));
            }
            if now >= away.expires {
                ended.push(id.clone());
            }
        }
        for id in ended {
            if let Some(Slot::Away(away)) = slots.by_id.remove(&id) {
                slots.away -= 1;
                due.over.push(*away);
            }
        }
        due
    }

    /// Tells every connection to leave whose client `is_gone`, and gives the sessions of those who are away.
    pub(crate) fn revoke(&self, is_gone: impl Fn(&Client) -> bool) -> Vec<Away> {
        let mut slots = self.lock();
        let mut over = Vec::new();
        for (id, slot) in &slots.by_id {
            match slot {
                Slot::Live(control, client) if is_gone(client) => control.tell(Told::Revoked),
                Slot::Away(away) if is_gone(&away.client) => over.push(id.clone()),
                Slot::Live(..) | Slot::Away(_) => {}
            }
        }
        let mut gone = Vec::new();
        for id in over {
            if let Some(Slot::Away(away)) = slots.by_id.remove(&id) {
                slots.away -= 1;
                gone.push(*away);
            }
        }
        gone
    }

    /// Lets nobody in any more and tells everybody to leave.
    pub(crate) fn close(&self) {
        let mut slots = self.lock();
        slots.closed = true;
        for slot in slots.by_id.values() {
            if let Slot::Live(control, _) = slot {
                control.tell(Told::Shutdown);
            }
        }
    }

    /// The map is consistent between any two statements, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
