//! The network between one agent and the gateway.
//!
//! In: connections the agent opens, what both sides write. Out: the same, later; twice; or not at all, with the connection.
//! Invariants: bytes of one direction stay in their order while the connection lives; chance is drawn once a packet, whatever else happens.
//! Not here: what packets mean, but for where they end and what they are about.

mod packets;

use self::packets::{Packets, kind, publish_of};
use super::ledger::Ledger;
use super::plan::Plan;
use super::stream::{ROOM_BYTES, read_now, write_now};
use crate::chance::Chance;
use crate::front::Front;
use crate::inhabitant::{Broken, Moment, Phase};
use crate::trace::Trace;
use headwater_agent::simulation::Way;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{DuplexStream, duplex};

/// The longest way of a packet, ms.
const LATENCY_MS_MAX: u64 = 60;

/// The longest silence, ms: longer than an agent waits for a ping; and one in four: longer than a small spool lasts.
const SILENCE_MS_MAX: (u64, u64) = (25_000, 80_000);

/// See the module.
pub(super) struct Network {
    chance: Chance,
    plan: Plan,
    newcomers: Arc<Mutex<Vec<DuplexStream>>>,
    connections: Vec<Connection>,
    count: u64,
    silent_until_ms: u64,
    silence_at_ms: u64,
    break_at_ms: u64,
}

struct Connection {
    number: u64,
    client: DuplexStream,
    gateway: Option<DuplexStream>,
    connect_at_ms: u64,
    up: Direction,
    down: Direction,
    is_over: bool,
}

#[derive(Default)]
struct Direction {
    packets: Packets,
    /// When each arrives, and what it is.
    queue: VecDeque<(u64, Vec<u8>)>,
    /// Bytes of the first that were delivered.
    delivered: usize,
    is_ended: bool,
}

impl Network {
    pub(super) fn new(plan: &Plan, mut chance: Chance) -> Self {
        let (silence_at_ms, break_at_ms) =
            (due(&mut chance, 0, plan.partition_ms), due(&mut chance, 0, plan.break_ms));
        Self {
            chance,
            plan: plan.clone(),
            newcomers: Arc::default(),
            connections: Vec::new(),
            count: 0,
            silent_until_ms: 0,
            silence_at_ms,
            break_at_ms,
        }
    }

    /// How the agent opens connections.
    pub(super) fn way(&self) -> Way {
        let newcomers = Arc::clone(&self.newcomers);
        Arc::new(move || {
            let (ours, theirs) = duplex(ROOM_BYTES);
            newcomers.lock().unwrap_or_else(PoisonError::into_inner).push(ours);
            Some(theirs)
        })
    }

    /// Connections that were opened.
    pub(super) fn connections(&self) -> u64 {
        self.count
    }

    /// Carries what is due.
    pub(super) fn tick(
        &mut self,
        moment: Moment,
        front: &Front,
        ledger: &mut Ledger,
        trace: &mut Trace,
    ) -> Result<(), Broken> {
        let now_ms = moment.world_ms;
        let is_stormy = moment.phase == Phase::Stormy;
        let newcomers = std::mem::take(&mut *self.newcomers.lock().unwrap_or_else(PoisonError::into_inner));
        for client in newcomers {
            self.count += 1;
            let connect_at_ms = now_ms + self.chance.below(LATENCY_MS_MAX);
            self.connections.push(Connection {
                number: self.count,
                client,
                gateway: None,
                connect_at_ms,
                up: Direction::default(),
                down: Direction::default(),
                is_over: false,
            });
        }
        if is_stormy {
            self.misbehave(now_ms, trace);
        }
        if is_stormy && now_ms < self.silent_until_ms {
            return Ok(());
        }
        let faults = Faults {
            puback_lost_1_in: if is_stormy { self.plan.puback_lost_1_in } else { 0 },
            twice_1_in: if is_stormy { self.plan.twice_1_in } else { 0 },
        };
        for connection in &mut self.connections {
            connection.carry(now_ms, front, ledger, faults, &mut self.chance, trace)?;
        }
        self.connections.retain(|connection| !connection.is_over);
        Ok(())
    }

    /// Goes silent for so long.
    pub(super) fn silence(&mut self, until_ms: u64) {
        self.silent_until_ms = self.silent_until_ms.max(until_ms);
    }

    fn misbehave(&mut self, now_ms: u64, trace: &mut Trace) {
        if now_ms >= self.silence_at_ms {
            let longest = if self.chance.one_in(4) { SILENCE_MS_MAX.1 } else { SILENCE_MS_MAX.0 };
            let for_ms = self.chance.between(500, longest);
            self.silent_until_ms = now_ms + for_ms;
            self.silence_at_ms = due(&mut self.chance, self.silent_until_ms, self.plan.partition_ms);
            trace.note(now_ms, format_args!("network is silent for {for_ms} ms"));
        }
        if now_ms >= self.break_at_ms {
            self.break_at_ms = due(&mut self.chance, now_ms, self.plan.break_ms);
            for connection in &mut self.connections {
                connection.tear(&mut self.chance);
                trace.note(now_ms, format_args!("connection {} breaks", connection.number));
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Faults {
    puback_lost_1_in: u64,
    twice_1_in: u64,
}

impl Connection {
    fn carry(
        &mut self,
        now_ms: u64,
        front: &Front,
        ledger: &mut Ledger,
        faults: Faults,
        chance: &mut Chance,
        trace: &mut Trace,
    ) -> Result<(), Broken> {
        if self.is_over || now_ms < self.connect_at_ms {
            return Ok(());
        }
        if self.gateway.is_none() {
            self.gateway = front.connect();
            trace.note(now_ms, format_args!("connection {}: {}", self.number, self.gateway.is_some()));
        }
        let Some(gateway) = &mut self.gateway else {
            self.is_over = true;
            return Ok(());
        };
        for packet in self.up.take(&mut self.client) {
            trace.fold(format_args!("connection {} up", self.number), &packet);
            if let Some((topic, payload)) = publish_of(&packet) {
                ledger.handle_publish(topic, payload)?;
            }
            let is_twice = kind(&packet) == packets::PUBLISH && chance.one_in(faults.twice_1_in);
            self.up.send(packet, is_twice, now_ms, chance);
        }
        for packet in self.down.take(gateway) {
            trace.fold(format_args!("connection {} down", self.number), &packet);
            let is_puback = kind(&packet) == packets::PUBACK;
            if is_puback && chance.one_in(faults.puback_lost_1_in) {
                trace.note(now_ms, format_args!("connection {}: PUBACK is lost", self.number));
                self.is_over = true;
                return Ok(());
            }
            self.down.send(packet, is_puback && chance.one_in(faults.twice_1_in), now_ms, chance);
        }
        let is_alive = self.up.deliver(gateway, now_ms) && self.down.deliver(&mut self.client, now_ms);
        self.is_over = !is_alive;
        Ok(())
    }

    /// Breaks in the middle of what is on its way.
    fn tear(&mut self, chance: &mut Chance) {
        for (direction, to) in [(&self.up, self.gateway.as_mut()), (&self.down, Some(&mut self.client))] {
            if let (Some((_, packet)), Some(to)) = (direction.queue.front(), to) {
                let rest = &packet[direction.delivered..];
                let part = usize::try_from(chance.below(rest.len() as u64 + 1)).unwrap_or(0);
                // Whatever arrives of it.
                let _ = write_now(to, &rest[..part]);
            }
        }
        self.is_over = true;
    }
}

impl Direction {
    /// The packets that were written by now.
    fn take(&mut self, from: &mut DuplexStream) -> Vec<Vec<u8>> {
        if self.is_ended {
            return Vec::new();
        }
        let (bytes, is_ended) = read_now(from);
        self.is_ended = is_ended;
        self.packets.push(&bytes)
    }

    fn send(&mut self, packet: Vec<u8>, is_twice: bool, now_ms: u64, chance: &mut Chance) {
        let due_ms = now_ms + chance.below(LATENCY_MS_MAX);
        if is_twice {
            self.queue.push_back((due_ms, packet.clone()));
        }
        self.queue.push_back((due_ms, packet));
    }

    /// Delivers what is due and fits; false when the connection is at its end.
    fn deliver(&mut self, to: &mut DuplexStream, now_ms: u64) -> bool {
        while let Some((_, packet)) = self.queue.front().filter(|(due_ms, _)| *due_ms <= now_ms) {
            let rest = &packet[self.delivered..];
            match write_now(to, rest) {
                Ok(written) if written == rest.len() => {
                    self.queue.pop_front();
                    self.delivered = 0;
                }
                Ok(written) => {
                    self.delivered += written;
                    break;
                }
                Err(_) => return false,
            }
        }
        !(self.is_ended && self.queue.is_empty())
    }
}

/// When something that happens so often on average happens next; never for 0.
pub(super) fn due(chance: &mut Chance, now_ms: u64, period_ms: u64) -> u64 {
    if period_ms == 0 { u64::MAX } else { now_ms + chance.below(2 * period_ms) + 1 }
}
