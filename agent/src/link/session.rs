//! One device link as a pure state machine.
//!
//! In: bytes in any pieces, commands, the time, tickets of the spool. Out: [`Item`]s to spool, bytes to send, who is there.
//! An `Ack` leaves only after [`Session::handle_synced`] said that its ticket is durable; this is the agent's half of
//! the promise to the device. Bad frames are counted and skipped, the deframer finds the next one by itself.
//!
//! Always true: no items without a Hello of an allowed device; answers and pending acks are bounded by what one read
//! can hold and by [`ACKS_PENDING_MAX`]. Not here: sockets, the spool, which batches are repeats.
//!
//! Run loop: `handle_bytes` → `take_items` → append them → `handle_staged` → ... → `handle_synced` → `take_transmit`.

mod policy;
mod words;

pub(crate) use words::{Item, Now};

use super::asking::Asking;
use super::orders::{Due, Orders};
use crate::allow::Allow;
use crate::devices::Places;
use crate::limits::{ACKS_PENDING_MAX, CLOCK_SANE_FROM_MS, IDENTIFY_EVERY_MS};
use crate::roster;
use crate::status::Counters;
use headwater_telemetry::limits::{FRAME_BYTES_MAX, WIRE_VERSION};
use headwater_telemetry::{
    Batch, BootId, Command, CommandResult, Deframer, DeviceId, Down, Entry, FrameError, Hello, Log, Seq,
    TimeQuality, Timestamp, Up, UtcTime, decode_body, encode_frame, schema_of,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// What every session of a link is told at its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy {
    /// Which devices are taken.
    pub(crate) allow: Arc<Allow>,
}

#[derive(Debug)]
enum Peer {
    Unknown { asked_at_ms: Option<u64> },
    Known(DeviceId),
    Refused,
}

#[derive(Debug)]
struct PendingAck {
    ticket: u64,
    boot: BootId,
    through: Seq,
}

/// The state of one link from its opening to its end.
#[derive(Debug)]
pub(crate) struct Session {
    policy: Policy,
    counters: Arc<Counters>,
    deframer: Deframer,
    peer: Peer,
    is_clean: bool,
    items: Vec<Item>,
    pending: VecDeque<PendingAck>,
    orders: Orders,
    asking: Asking,
    transmit: Vec<u8>,
    news: Option<roster::Peer>,
}

impl Session {
    pub(crate) fn new(policy: Policy, counters: Arc<Counters>) -> Self {
        Self {
            policy,
            counters,
            deframer: Deframer::new(),
            peer: Peer::Unknown { asked_at_ms: None },
            // A serial line is joined in the middle of a frame; that is no damage to what follows the Hello.
            is_clean: true,
            items: Vec::new(),
            pending: VecDeque::new(),
            orders: Orders::default(),
            asking: Asking::default(),
            transmit: Vec::new(),
            news: None,
        }
    }

    /// The device, once it said who it is.
    pub(crate) fn device(&self) -> Option<&DeviceId> {
        match &self.peer {
            Peer::Known(device) => Some(device),
            Peer::Unknown { .. } | Peer::Refused => None,
        }
    }

    /// A line that was open before: ends a frame that an earlier session may have broken off, so that the peer finds the next one, and
    /// asks who it is if it does not say so.
    pub(crate) fn resync(&mut self, now_ms: u64) {
        self.transmit.push(0);
        self.asking = Asking::begin(now_ms);
    }

    /// Takes bytes of the link, cut anywhere.
    pub(crate) fn handle_bytes(&mut self, bytes: &[u8], now: Now) {
        for &byte in bytes {
            let decoded = match self.deframer.push(byte) {
                None => continue,
                Some(Ok(body)) => decode_body::<Up>(body).map(|up| (up, body.to_vec())),
                Some(Err(error)) => Err(error),
            };
            match decoded {
                Ok((up, body)) => self.handle_up(up, body, now),
                Err(FrameError::Unknown) => self.counters.frames_unknown.add(1),
                Err(FrameError::TooLong | FrameError::Cobs | FrameError::Checksum) => {
                    self.counters.frames_bad.add(1);
                    self.is_clean = false;
                }
            }
        }
    }

    /// The items that arrived, in order. They must be appended in this order before any later ones.
    pub(crate) fn take_items(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
    }

    /// Tells that items were staged in the spool; the acks go out once `ticket` is durable. Tickets never go back.
    pub(crate) fn handle_staged(&mut self, ticket: u64, acks: &[(BootId, Seq)]) {
        let pending = acks.iter().map(|&(boot, through)| PendingAck { ticket, boot, through });
        self.pending.extend(pending);
    }

    /// Tells that everything up to `ticket` is durable.
    pub(crate) fn handle_synced(&mut self, ticket: u64) {
        // Acks are cumulative, so the last of a run of one boot says it all.
        let mut last: Option<(BootId, Seq)> = None;
        while let Some(ack) = self.pending.pop_front_if(|ack| ack.ticket <= ticket) {
            match &mut last {
                Some((boot, through)) if *boot == ack.boot => *through = (*through).max(ack.through),
                _ => {
                    if let Some((boot, through)) = last.replace((ack.boot, ack.through)) {
                        self.send_ack(boot, through);
                    }
                }
            }
        }
        if let Some((boot, through)) = last {
            self.send_ack(boot, through);
        }
    }

    /// Whether more bytes may be read: not while too many acks wait for a sync.
    pub(crate) fn wants_bytes(&self) -> bool {
        self.pending.len() < ACKS_PENDING_MAX
    }

    /// Whether an ack waits for a sync.
    pub(crate) fn waits_for_sync(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Bytes for the device; empty when there is nothing to say.
    pub(crate) fn take_transmit(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.transmit)
    }

    /// Who is there, when that is news.
    pub(crate) fn take_news(&mut self) -> Option<roster::Peer> {
        self.news.take()
    }

    /// Takes a command for the device that is known.
    pub(crate) fn handle_command(&mut self, command: Command) {
        self.orders.handle_command(command);
    }

    /// Whether one more command may come.
    pub(crate) fn wants_commands(&self) -> bool {
        self.orders.has_room()
    }

    /// When to call [`Session::handle_timeout`], monotonic ms.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        let ask_at_ms = if self.is_unknown() { self.asking.poll_timeout() } else { None };
        self.orders.poll_timeout().into_iter().chain(ask_at_ms).min()
    }

    fn is_unknown(&self) -> bool {
        matches!(self.peer, Peer::Unknown { .. })
    }

    /// Sends the commands that are due, and the question who it is.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64) {
        if self.is_unknown() && self.asking.is_due(now_ms) {
            self.peer = Peer::Unknown { asked_at_ms: Some(now_ms) };
            self.send(&Down::Identify);
        }
        while let Some(due) = self.orders.poll(now_ms) {
            let device = self.device().map_or("", DeviceId::as_str);
            match due {
                Due::Send(command) => {
                    tracing::debug!(device, id = command.id.0, "command sent");
                    self.counters.commands_sent.add(1);
                    self.send(&Down::Command(*command));
                }
                Due::GiveUp(id) => {
                    tracing::warn!(device, id = id.0, "device gives no result of a command, given up");
                    self.counters.commands_dropped.add(1);
                }
            }
        }
    }

    fn handle_up(&mut self, up: Up, body: Vec<u8>, now: Now) {
        match up {
            Up::Hello(hello) => self.handle_hello(hello, body),
            Up::Batch(batch) => self.handle_batch(&batch, body, now),
            Up::TimeRequest { nonce } => self.handle_time_request(nonce, now),
            Up::Log(log) => self.handle_log(&log, body, now),
            Up::CommandResult(result) => self.handle_result(result, body),
            // Nothing here sends a Config, so nobody waits for this.
            Up::ConfigResult(_) => self.counters.frames_ignored.add(1),
        }
    }

    fn handle_hello(&mut self, hello: Hello, body: Vec<u8>) {
        let is_allowed = self.policy.allow.takes(&hello.device);
        // A schema that is not the one of its table would give readings the wrong names and units.
        let is_valid = hello.wire == WIRE_VERSION && hello.schema == schema_of(&hello.channels);
        if !is_allowed || !is_valid {
            self.counters.hellos_refused.add(1);
            let reason =
                if is_allowed { "wire version or schema does not fit" } else { "not in devices.allow" };
            // A device that is not answered says hello every few seconds: once is enough for the log.
            if !matches!(self.peer, Peer::Refused) {
                tracing::warn!(device = %hello.device, wire = hello.wire, reason, "device refused");
            }
            self.peer = Peer::Refused;
            self.forget();
            self.news = Some(roster::Peer::Refused { device: hello.device, reason });
            return;
        }
        self.counters.hellos.add(1);
        if self.device().is_some_and(|device| *device != hello.device) {
            self.forget();
        }
        self.peer = Peer::Known(hello.device.clone());
        self.is_clean = true;
        self.news = Some(roster::Peer::Known(Box::new(hello.clone())));
        self.items.push(Item::Hello { hello: Box::new(hello), body });
    }

    /// Swapped at the same port. An ack names no device, so one for the first would tell the second to drop what it never
    /// delivered; what the first sent and nobody acked stays in its flash.
    fn forget(&mut self) {
        self.pending.clear();
        self.items.clear();
        self.orders.clear();
    }

    fn handle_batch(&mut self, batch: &Batch, body: Vec<u8>, now: Now) {
        let Some(device) = self.identified(now) else { return };
        let Some(through) = batch.through() else {
            self.counters.frames_unknown.add(1);
            return;
        };
        self.counters.batches.add(1);
        let places = Places { boot: batch.boot, first: batch.first, through };
        let lost = |entry: &Entry| match entry {
            Entry::Gap(gap) => u64::from(gap.count),
            Entry::Reading(_) => 0,
        };
        let gaps = batch.entries.iter().map(lost).sum();
        self.items.push(Item::Batch { device, places, gaps, body, is_clean: self.is_clean });
    }

    fn handle_log(&mut self, log: &Log, body: Vec<u8>, now: Now) {
        let Some(device) = self.identified(now) else { return };
        tracing::debug!(%device, boot = log.boot.0, level = ?log.level, "device log line");
        self.items.push(Item::Log { device, body });
    }

    fn handle_result(&mut self, result: CommandResult, body: Vec<u8>) {
        let device = self.device().cloned();
        match device {
            Some(device) if self.orders.handle_result(result.id) => {
                tracing::info!(%device, id = result.id.0, outcome = ?result.outcome, "command answered");
                self.items.push(Item::Result { device, body });
            }
            // A repeat of one that was passed on, or of a tool that spoke to the device before.
            _ => self.counters.frames_ignored.add(1),
        }
    }

    fn handle_time_request(&mut self, nonce: u32, now: Now) {
        if matches!(self.peer, Peer::Refused) {
            return;
        }
        // A device sends nothing to a host that does not answer, so an unset clock is told too, as what it is worth.
        let is_sane = now.utc_ms >= CLOCK_SANE_FROM_MS;
        let quality = if is_sane { now.quality } else { TimeQuality::Estimated };
        let utc = UtcTime { at: Timestamp(now.utc_ms), quality };
        self.counters.time_answers.add(1);
        self.counters.time_unsure.add(u64::from(!is_sane));
        self.send(&Down::Time { nonce, utc });
    }

    /// The device, or a request to say who it is: after a restart of the agent a serial device does not know that its
    /// Hello is needed again.
    fn identified(&mut self, now: Now) -> Option<DeviceId> {
        match &mut self.peer {
            Peer::Known(device) => Some(device.clone()),
            Peer::Refused => None,
            Peer::Unknown { asked_at_ms } => {
                self.counters.frames_ignored.add(1);
                let is_due =
                    asked_at_ms.is_none_or(|at_ms| now.mono_ms >= at_ms.saturating_add(IDENTIFY_EVERY_MS));
                if is_due {
                    *asked_at_ms = Some(now.mono_ms);
                    self.send(&Down::Identify);
                }
                None
            }
        }
    }

    fn send_ack(&mut self, boot: BootId, through: Seq) {
        self.counters.acks.add(1);
        self.send(&Down::Ack { boot, through });
    }

    fn send(&mut self, down: &Down) {
        let mut buf = [0u8; FRAME_BYTES_MAX];
        let frame = encode_frame(down, &mut buf).expect("every answer fits a frame");
        self.transmit.extend_from_slice(frame);
    }
}

#[cfg(test)]
mod tests;
