//! The uplink over MQTT 5, for a networked device.
//!
//! In: an [`Outbox`], a clock, a way to [`Dial`] a byte stream (TCP, or TLS with feature `tls`). Out: publishes of QoS 1. Invariants:
//! a batch counts as delivered only when a PUBACK says that it was stored (not when nobody wanted it, 0x10); what may be
//! cancelled only reads; nothing is kept here that the spool must know. Not here: addresses, name resolution, radios.
//!
//! | topic | what |
//! |---|---|
//! | `headwater/{device}/birth` | the hello, retained |
//! | `headwater/{device}/time` | asks for the time, QoS 0; a gateway answers on `command` |
//! | `headwater/{device}/batch`, `.../log` | batches, one in flight; lines for people |
//! | `headwater/{device}/command` | subscribed to: commands, configurations, the time |
//! | `headwater/{device}/result` | what became of them |
//!
//! A gateway that refuses the subscription gets the data all the same. The device then has neither commands nor the time, says so in a log
//! line, on whatever link takes it, and asks again after half a minute up to a quarter of an hour, at random.
//!
//! A plain MQTT 5 broker takes all of this too: it never tells the time, so batches go without after three seconds, and a
//! batch that no one has subscribed to is not delivered but stays in flash.
//!
//! # Room
//! [`Buffers`] is 1.2 KB; with TCP windows of 1 KiB each way a device with Ethernet or Wi-Fi fits 40 KB of RAM. TLS
//! needs 6 KB of record buffers and about 34 KB of stack for the handshake.
//!
//! ```
//! use headwater_device::mqtt::{self, Buffers, Dial, Gateway};
//! use headwater_device::{Clock, LinkDown, Outbox};
//!
//! async fn uplink(outbox: &impl Outbox, clock: &impl Clock, mut dial: impl Dial, buffers: &mut Buffers) {
//!     let gateway = Gateway { user: "barn-1", password: "from the configuration" };
//!     // For ever: connects, sends, waits, connects again. `told` hears of every end.
//!     mqtt::run(outbox, clock, &mut dial, gateway, buffers, |down: LinkDown| drop(down)).await;
//! }
//! ```

mod backoff;
pub mod limits;
mod packet;
mod session;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;

use self::backoff::Backoff;
use self::limits::{DIAL_TIMEOUT_MS, TOPIC_BYTES_MAX};
use self::packet::{Login, Manner, connect, pingreq, puback, publish, subscribe};
use self::session::{Answer, Event, Session, Transmit};
use self::stream::{Inbox, send};
use crate::{Clock, LinkDown, Outbox};
use core::convert::Infallible;
use core::fmt::Write as _;
use embassy_futures::select::{Either, Either4, select, select4};
use embedded_io_async::{Read, Write};
use headwater_telemetry::limits::{BODY_BYTES_MAX, LOG_BYTES_MAX};
use headwater_telemetry::{CommandResult, DeviceId, LogLevel, Up, Uptime, encode_body};
use heapless::String;

/// Opens a byte stream to the gateway. A board implements it for its network.
#[expect(async_fn_in_trait, reason = "devices run on one thread")]
pub trait Dial {
    /// The stream. Dropping it must end the connection.
    type Stream<'a>: Read + Write
    where
        Self: 'a;

    /// Connects. May be cancelled.
    ///
    /// # Errors
    /// [`LinkDown::Unreachable`] when nobody answers, [`LinkDown::Untrusted`] when it is not who it should be.
    async fn dial(&mut self) -> Result<Self::Stream<'_>, LinkDown>;
}

/// Who the device is to the gateway, besides its name; empty where the gateway asks for nothing.
#[derive(Clone, Copy, Default)]
pub struct Gateway<'a> {
    /// User name.
    pub user: &'a str,
    /// Password.
    pub password: &'a str,
}

impl core::fmt::Debug for Gateway<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Gateway").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Room for one packet in and one body out. A board puts it into a static.
#[derive(Debug)]
pub struct Buffers {
    inbox: Inbox,
    body: [u8; BODY_BYTES_MAX],
}

impl Buffers {
    /// Empty ones.
    pub const fn new() -> Self {
        Self { inbox: Inbox::new(), body: [0; BODY_BYTES_MAX] }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// Connects, sends and listens, and again after every end, for ever; waits longer after every failure, at random.
/// `told` hears why a connection ended, before the wait.
pub async fn run(
    outbox: &impl Outbox,
    clock: &impl Clock,
    dial: &mut impl Dial,
    gateway: Gateway<'_>,
    buffers: &mut Buffers,
    mut told: impl FnMut(LinkDown),
) -> Infallible {
    let mut backoff = Backoff::new(chance(&outbox.hello().device, outbox.connection()));
    loop {
        let begun = clock.now();
        #[cfg(feature = "tls")]
        tls::LearnedTime::handle_dial(begun);
        let deadline = Uptime(begun.0.saturating_add(DIAL_TIMEOUT_MS));
        let down = match select(dial.dial(), clock.sleep_until(deadline)).await {
            Either::First(Ok(mut stream)) => serve(outbox, clock, &mut stream, gateway, buffers).await,
            Either::First(Err(down)) => down,
            Either::Second(()) => LinkDown::Unreachable,
        };
        told(down);
        clock.sleep_until(backoff.handle_lost(begun, clock.now())).await;
    }
}

/// What decides the waits of a device. With its name in it: after a power cut all that have no source of chance come to the same boot, and
/// would knock in step.
fn chance(device: &DeviceId, connection: u32) -> u32 {
    // FNV-1a.
    let name = device.as_str().bytes();
    name.fold(connection ^ 0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Speaks MQTT on a stream until it breaks.
pub async fn serve(
    outbox: &impl Outbox,
    clock: &impl Clock,
    stream: &mut (impl Read + Write),
    gateway: Gateway<'_>,
    buffers: &mut Buffers,
) -> LinkDown {
    buffers.inbox.reset();
    let connection = outbox.connection();
    let session = Session::new(clock.now(), connection, chance(&outbox.hello().device, connection));
    let login = Login { user: gateway.user, password: gateway.password };
    match (Connection { outbox, clock, stream, session, login }).turn(buffers).await {
        Ok(never) => match never {},
        Err(down) => down,
    }
}

struct Connection<'a, O, C, S> {
    outbox: &'a O,
    clock: &'a C,
    stream: &'a mut S,
    session: Session,
    login: Login<'a>,
}

impl<O: Outbox, C: Clock, S: Read + Write> Connection<'_, O, C, S> {
    async fn turn(&mut self, buffers: &mut Buffers) -> Result<Infallible, LinkDown> {
        let command_topic = topic(&self.outbox.hello().device, "command");
        loop {
            while let Some(transmit) = self.session.poll_transmit(self.clock.now()) {
                self.transmit(transmit, &mut buffers.body).await?;
            }
            let wants = self.session.wants_data(self.clock.now());
            if wants && let Some(log) = self.outbox.poll_log() {
                let manner = self.session.begin_log(self.clock.now());
                self.publish("log", manner, &Up::Log(log), &mut buffers.body).await?;
                continue;
            }
            let from = self.outbox.undelivered().await;
            let (outbox, body) = (self.outbox, &mut buffers.body);
            let batch =
                async { if wants { outbox.next(from, body).await } else { core::future::pending().await } };
            let log = async { if wants { outbox.log_waits().await } else { core::future::pending().await } };
            let wake = self.clock.sleep_until(self.session.poll_timeout());
            match select4(buffers.inbox.receive(self.stream), batch, log, wake).await {
                Either4::First(received) => {
                    received?;
                    let packet = buffers.inbox.packet()?;
                    let event = self.session.handle_packet(&packet, &command_topic, self.clock.now())?;
                    self.handle(event).await;
                }
                Either4::Second(item) => {
                    let manner = self.session.begin_batch(item, self.clock.now());
                    self.send("batch", manner, &buffers.body[..item.len]).await?;
                }
                Either4::Third(()) => {}
                Either4::Fourth(()) => self.session.handle_timeout(self.clock.now())?,
            }
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::None => {}
            Event::Delivered(item) => self.outbox.delivered(item).await,
            Event::Time { asked, utc } => {
                let now = self.clock.now();
                #[cfg(feature = "tls")]
                tls::LearnedTime::handle_answer(now, utc);
                self.outbox.learned_time(asked, now, utc).await;
            }
            Event::Command { command, packet_id } => {
                let outcome = self.outbox.perform(&command).await;
                let result = CommandResult { id: command.id, outcome };
                self.session.handle_performed(Answer::Command(result), packet_id);
            }
            Event::Configure { config, packet_id } => {
                let outcome = self.outbox.configure(&config).await;
                self.session.handle_performed(Answer::Config(outcome), packet_id);
            }
            Event::Identify => self.outbox.identify(),
            Event::Unheard { reason } => {
                let mut text = String::<LOG_BYTES_MAX>::new();
                write!(text, "uplink: subscription refused (0x{reason:02x}): no commands, no time")
                    .expect("a log line has room for it, as a test checks");
                self.outbox.log(self.clock.now(), LogLevel::Warn, &text);
            }
            Event::Heard => {
                let text = "uplink: subscription taken, commands and the time are back";
                self.outbox.log(self.clock.now(), LogLevel::Info, text);
            }
        }
    }

    async fn transmit(
        &mut self,
        transmit: Transmit,
        body: &mut [u8; BODY_BYTES_MAX],
    ) -> Result<(), LinkDown> {
        let device = &self.outbox.hello().device;
        let head = match transmit {
            Transmit::Connect => connect(device.as_str(), self.login),
            Transmit::Subscribe { packet_id } => subscribe(packet_id, &topic(device, "command")),
            Transmit::PubAck { packet_id } => puback(packet_id),
            Transmit::Ping => pingreq(),
            Transmit::Birth(manner) => {
                return self.publish("birth", manner, &Up::Hello(self.outbox.hello().clone()), body).await;
            }
            Transmit::TimeRequest { nonce } => {
                let manner = Manner { packet_id: None, retain: false };
                return self.publish("time", manner, &Up::TimeRequest { nonce }, body).await;
            }
            Transmit::Answer(manner, answer) => {
                return self.publish("result", manner, &Up::from(answer), body).await;
            }
        };
        let head = head.expect("the head of a packet has room for all names, see the limits");
        send(self.clock, self.stream, &head, &[]).await
    }

    async fn publish(
        &mut self,
        kind: &str,
        manner: Manner,
        message: &Up,
        body: &mut [u8; BODY_BYTES_MAX],
    ) -> Result<(), LinkDown> {
        let body = encode_body(message, body).expect("every message fits a body, see the limits");
        self.send(kind, manner, body).await
    }

    async fn send(&mut self, kind: &str, manner: Manner, body: &[u8]) -> Result<(), LinkDown> {
        let head = publish(&topic(&self.outbox.hello().device, kind), manner, body.len());
        let head = head.expect("the head of a packet has room for all topics, see the limits");
        send(self.clock, self.stream, &head, body).await
    }
}

fn topic(device: &DeviceId, kind: &str) -> String<TOPIC_BYTES_MAX> {
    let mut topic = String::new();
    write!(topic, "headwater/{}/{kind}", device.as_str())
        .expect("a topic has room for every name, see the limits");
    topic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_came_to_the_same_boot_do_not_knock_in_step() {
        let delay = |number: u32| {
            let device = DeviceId::parse(&std::format!("pump-{number:04}")).unwrap();
            Backoff::new(chance(&device, 256)).handle_lost(Uptime(0), Uptime(0)).0
        };
        let delays: std::collections::BTreeSet<u64> = (0..1_000).map(delay).collect();
        assert!(delays.len() > 500, "{} delays of a thousand devices", delays.len());
        let tenths: std::collections::BTreeSet<u64> = delays.iter().map(|delay| delay / 100).collect();
        assert_eq!(tenths.len(), 9, "they use the whole range");
    }
}
