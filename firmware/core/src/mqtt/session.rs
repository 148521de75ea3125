//! One MQTT connection of a device, as a state machine without bytes.
//!
//! ```text
//! Connecting ── CONNACK ──> Open: subscribe, birth, time request ── time, or waited for it ──> results, logs, batches
//! ```
//! In: packets of the server, what there is to send, the uptime. Out: what to transmit, what was delivered. Invariants: a batch
//! is delivered only when a PUBACK says that it was stored; one publish of QoS 1 is in flight, so an ack cannot be taken for
//! another's; a command is acknowledged after it was carried out; a subscription that is refused holds up nothing and is asked for again,
//! later every time. Not here: bytes (`packet`), flash, reconnecting.

mod words;

pub(crate) use self::words::{Answer, Event, Transmit};

use super::backoff::Backoff;
use super::limits::{ANSWER_TIMEOUT_MS, RESULTS_MAX, TIME_WAIT_MS};
use super::packet::{Manner, Packet, Server};
use crate::limits::TIME_REQUEST_MS;
use crate::{Item, LinkDown};
use headwater_telemetry::{Down, Uptime, decode_body};
use heapless::{Deque, Vec};

/// Success (2.4).
const SUCCESS: u8 = 0;
/// Nobody wants it: no route and no subscriber, and nothing was stored (3.4.2.1).
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
/// From here on reason codes are failures (2.4).
const FAILURES_FROM: u8 = 0x80;
/// Later than anything.
const NEVER: Uptime = Uptime(u64::MAX);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
}

/// What the unacknowledged publish is.
#[derive(Clone, Copy, Debug)]
enum What {
    Birth,
    Batch(Item),
    /// Lost with the connection; nothing waits for it.
    Other,
}

/// State of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    server: Server,
    connect_due: bool,
    subscribe_due: Uptime,
    is_refused: bool,
    retry: Backoff,
    birth_due: bool,
    time_due: Uptime,
    asked: Option<(u32, Uptime)>,
    /// Batches wait until then for the time.
    time_wait: Option<Uptime>,
    nonce: u32,
    last_id: u16,
    /// When an answer to CONNECT, SUBSCRIBE, PINGREQ is given up, whichever comes first.
    answer_due: Option<Uptime>,
    in_flight: Option<(u16, What, Uptime)>,
    answers: Deque<Answer, RESULTS_MAX>,
    acks: Vec<u16, RESULTS_MAX>,
    sent: Uptime,
}

impl Session {
    /// A connection that begins at `now`. `nonce` is any number that connections and boots do not share, `chance` one that devices do not
    /// share either.
    pub(crate) fn new(now: Uptime, nonce: u32, chance: u32) -> Self {
        Self {
            state: State::Connecting,
            server: Server::default(),
            connect_due: true,
            subscribe_due: now,
            is_refused: false,
            retry: Backoff::of_subscription(chance),
            birth_due: true,
            time_due: now,
            asked: None,
            time_wait: None,
            nonce,
            last_id: 0,
            answer_due: None,
            in_flight: None,
            answers: Deque::new(),
            acks: Vec::new(),
            sent: now,
        }
    }

    /// What to send next; call until none.
    pub(crate) fn poll_transmit(&mut self, now: Uptime) -> Option<Transmit> {
        let transmit = self.transmit(now)?;
        self.sent = now;
        Some(transmit)
    }

    fn transmit(&mut self, now: Uptime) -> Option<Transmit> {
        if core::mem::take(&mut self.connect_due) {
            self.expect_answer(now);
            return Some(Transmit::Connect);
        }
        if self.state == State::Connecting {
            return None;
        }
        if let Some(packet_id) = self.acks.pop() {
            return Some(Transmit::PubAck { packet_id });
        }
        if self.subscribe_due <= now {
            self.subscribe_due = NEVER;
            self.expect_answer(now);
            return Some(Transmit::Subscribe { packet_id: self.packet_id() });
        }
        // After the subscription, or the answer would find nobody.
        if self.time_due <= now {
            self.time_due = Uptime(now.0.saturating_add(TIME_REQUEST_MS));
            self.nonce = self.nonce.wrapping_add(1);
            self.asked = Some((self.nonce, now));
            return Some(Transmit::TimeRequest { nonce: self.nonce });
        }
        if self.in_flight.is_none() {
            if core::mem::take(&mut self.birth_due) {
                let retain = self.server.retains;
                return Some(Transmit::Birth(Manner { retain, ..self.begin(What::Birth, now) }));
            }
            if let Some(answer) = self.answers.pop_front() {
                return Some(Transmit::Answer(self.begin(What::Other, now), answer));
            }
        }
        if now >= self.ping_due() && self.answer_due.is_none() {
            self.expect_answer(now);
            return Some(Transmit::Ping);
        }
        None
    }

    /// Two thirds of what the server allows; never when it wants none.
    fn ping_due(&self) -> Uptime {
        match u64::from(self.server.keep_alive_secs) {
            0 => NEVER,
            seconds => Uptime(self.sent.0.saturating_add(seconds * 1_000 / 3 * 2)),
        }
    }

    fn expect_answer(&mut self, now: Uptime) {
        self.answer_due.get_or_insert(Uptime(now.0.saturating_add(ANSWER_TIMEOUT_MS)));
    }

    fn packet_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    fn begin(&mut self, what: What, now: Uptime) -> Manner {
        let packet_id = self.packet_id();
        self.in_flight = Some((packet_id, what, now));
        self.sent = now;
        Manner { packet_id: Some(packet_id), retain: false }
    }

    /// Whether a log line or a batch may be begun.
    pub(crate) fn wants_data(&self, now: Uptime) -> bool {
        self.state == State::Open
            && self.in_flight.is_none()
            && !self.birth_due
            && self.answers.is_empty()
            && self.time_wait.is_none_or(|until| until <= now)
    }

    /// A batch is sent now; how.
    pub(crate) fn begin_batch(&mut self, item: Item, now: Uptime) -> Manner {
        self.begin(What::Batch(item), now)
    }

    /// A log line is sent now; how.
    pub(crate) fn begin_log(&mut self, now: Uptime) -> Manner {
        self.begin(What::Other, now)
    }

    /// A packet of the server; `command_topic` is the one that was subscribed to.
    pub(crate) fn handle_packet(
        &mut self,
        packet: &Packet<'_>,
        command_topic: &str,
        now: Uptime,
    ) -> Result<Event, LinkDown> {
        match *packet {
            Packet::ConnAck { reason, server } => self.handle_connack(reason, server, now)?,
            Packet::Disconnect { reason } => return Err(LinkDown::Refused(reason)),
            _ if self.state == State::Connecting => return Err(LinkDown::Closed),
            Packet::SubAck { reason, .. } => return Ok(self.handle_suback(reason, now)),
            Packet::PingResp => self.answer_due = None,
            Packet::PubAck { packet_id, reason } => return self.handle_puback(packet_id, reason),
            Packet::Publish { topic, packet_id, payload } if topic == command_topic.as_bytes() => {
                return Ok(self.handle_down(decode_body(payload).ok(), packet_id));
            }
            Packet::Publish { packet_id, .. } => self.acknowledge(packet_id),
        }
        Ok(Event::None)
    }

    fn handle_connack(&mut self, reason: u8, server: Server, now: Uptime) -> Result<(), LinkDown> {
        if reason != SUCCESS || !server.takes_qos_1 {
            // Without QoS 1 nothing is ever known to be stored: 0x9b, QoS not supported.
            return Err(LinkDown::Refused(if reason == SUCCESS { 0x9b } else { reason }));
        }
        (self.state, self.server, self.answer_due) = (State::Open, server, None);
        self.time_wait = Some(Uptime(now.0.saturating_add(TIME_WAIT_MS)));
        Ok(())
    }

    /// A device whose subscription is refused sends all the same: its data is worth more than what it could be told.
    fn handle_suback(&mut self, reason: u8, now: Uptime) -> Event {
        self.answer_due = None;
        let was_refused = core::mem::replace(&mut self.is_refused, reason >= FAILURES_FROM);
        if self.is_refused {
            self.subscribe_due = self.retry.handle_refused(now);
            // Whoever answered would answer nobody; batches need not wait for that.
            (self.asked, self.time_wait, self.time_due) = (None, None, NEVER);
            return if was_refused { Event::None } else { Event::Unheard { reason } };
        }
        if was_refused {
            self.time_due = now;
            return Event::Heard;
        }
        Event::None
    }

    fn handle_puback(&mut self, packet_id: u16, reason: u8) -> Result<Event, LinkDown> {
        let Some((_, what, _)) = self.in_flight.take_if(|(expected, ..)| *expected == packet_id) else {
            return Ok(Event::None);
        };
        match what {
            What::Batch(item) if reason < FAILURES_FROM && reason != NO_MATCHING_SUBSCRIBERS => {
                Ok(Event::Delivered(item))
            }
            // Not stored: it stays in flash, and is tried again after a while.
            What::Batch(_) => Err(LinkDown::Refused(reason)),
            What::Birth if reason >= FAILURES_FROM => Err(LinkDown::Refused(reason)),
            What::Birth | What::Other => Ok(Event::None),
        }
    }

    fn handle_down(&mut self, message: Option<Down>, packet_id: Option<u16>) -> Event {
        match message {
            Some(Down::Command(_) | Down::Config(_)) if self.answers.is_full() => return Event::None,
            Some(Down::Command(command)) => {
                self.birth_due |= matches!(command.order, headwater_telemetry::Order::Identify);
                return Event::Command { command, packet_id };
            }
            Some(Down::Config(config)) => return Event::Configure { config, packet_id },
            _ => self.acknowledge(packet_id),
        }
        match message {
            Some(Down::Time { nonce, utc }) => match self.asked {
                Some((expected, asked)) if nonce == expected => {
                    (self.asked, self.time_wait) = (None, None);
                    Event::Time { asked, utc }
                }
                _ => Event::None,
            },
            Some(Down::Identify) => {
                self.birth_due = true;
                Event::Identify
            }
            // Acks are for byte streams; what is unknown is of a newer peer.
            _ => Event::None,
        }
    }

    /// A publish of QoS 1 was taken. More than the server was told at the beginning break the protocol; they are not
    /// acknowledged.
    fn acknowledge(&mut self, packet_id: Option<u16>) {
        if let Some(packet_id) = packet_id {
            let _ = self.acks.push(packet_id);
        }
    }

    /// What became of a command or configuration.
    pub(crate) fn handle_performed(&mut self, answer: Answer, packet_id: Option<u16>) {
        self.acknowledge(packet_id);
        let pushed = self.answers.push_back(answer);
        debug_assert!(pushed.is_ok(), "nothing is performed while there is no room for its answer");
    }

    /// When to call [`Session::handle_timeout`] and [`Session::poll_transmit`] again.
    pub(crate) fn poll_timeout(&self) -> Uptime {
        let in_flight = self.in_flight.map(|(.., sent)| Uptime(sent.0.saturating_add(ANSWER_TIMEOUT_MS)));
        let due = [self.answer_due, in_flight].into_iter().flatten().min().unwrap_or(NEVER);
        match self.state {
            State::Connecting => due,
            State::Open => {
                let ping = if self.answer_due.is_none() { self.ping_due() } else { NEVER };
                due.min(self.time_due).min(self.subscribe_due).min(ping).min(self.time_wait.unwrap_or(NEVER))
            }
        }
    }

    /// The uptime moved on.
    pub(crate) fn handle_timeout(&mut self, now: Uptime) -> Result<(), LinkDown> {
        if self.answer_due.is_some_and(|due| due <= now) {
            return Err(LinkDown::Silent);
        }
        if self.in_flight.is_some_and(|(.., sent)| sent.0.saturating_add(ANSWER_TIMEOUT_MS) <= now.0) {
            return Err(LinkDown::Unacknowledged);
        }
        self.time_wait = self.time_wait.filter(|&until| until > now);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
