//! What every uplink takes its work from: the device, as seen by a link.
//!
//! In: what the peer said. Out: what is to be sent, and the answers. A link owns its loop, so that keep alive, listening and
//! sending are its own business; serial and MQTT share everything that is here. Not here: bytes, connections.

use crate::{Cursor, Item};
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{
    Command, CommandOutcome, Config, ConfigOutcome, Hello, Log, LogLevel, Uptime, UtcTime,
};

/// The device, as a link sees it.
#[expect(async_fn_in_trait, reason = "devices run on one thread")]
pub trait Outbox {
    /// Who this is: the first message of every connection.
    fn hello(&self) -> &Hello;

    /// A number that connections and boots do not share: on a serial line a late answer can reach the next boot, and
    /// would give it the time of the last one.
    fn connection(&self) -> u32;

    /// Where sending begins on a new connection: after everything delivered.
    async fn undelivered(&self) -> Cursor;

    /// Waits for what follows `from`, with its body in `out`. May be cancelled: it only reads.
    async fn next(&self, from: Cursor, out: &mut [u8; BODY_BYTES_MAX]) -> Item;

    /// The receiver has `item`, and everything before it, durably. Not to be cancelled.
    async fn delivered(&self, item: Item);

    /// A line for people about the link itself, sent on whatever link takes it first.
    fn log(&self, at: Uptime, level: LogLevel, text: &str);

    /// Takes the oldest waiting log line.
    fn poll_log(&self) -> Option<Log>;

    /// Waits until a log line waits, and leaves it there. May be cancelled.
    async fn log_waits(&self);

    /// A host told the time; asked and heard are uptimes. Not to be cancelled.
    async fn learned_time(&self, asked: Uptime, heard: Uptime, utc: UtcTime);

    /// Stores a configuration for the next start. Not to be cancelled.
    async fn configure(&self, config: &Config) -> ConfigOutcome;

    /// Carries out a command, once: one that was carried out before gets its first result. Not to be cancelled.
    async fn perform(&self, command: &Command) -> CommandOutcome;

    /// Somebody wants to see which device this is.
    fn identify(&self);
}

/// A device that keeps its data to itself: for a service port beside a network uplink. It says who it is, takes
/// configuration, commands and the time, tells its log lines, and sends no batches.
#[derive(Debug)]
pub struct WithoutData<'a, O>(pub &'a O);

impl<O: Outbox> Outbox for WithoutData<'_, O> {
    fn hello(&self) -> &Hello {
        self.0.hello()
    }

    fn connection(&self) -> u32 {
        self.0.connection()
    }

    async fn undelivered(&self) -> Cursor {
        self.0.undelivered().await
    }

    async fn next(&self, _: Cursor, _: &mut [u8; BODY_BYTES_MAX]) -> Item {
        core::future::pending().await
    }

    async fn delivered(&self, item: Item) {
        self.0.delivered(item).await;
    }

    fn log(&self, at: Uptime, level: LogLevel, text: &str) {
        self.0.log(at, level, text);
    }

    /// Whoever listens first gets a line: one that says why the network uplink does not come up would never arrive there.
    fn poll_log(&self) -> Option<Log> {
        self.0.poll_log()
    }

    async fn log_waits(&self) {
        self.0.log_waits().await;
    }

    async fn learned_time(&self, asked: Uptime, heard: Uptime, utc: UtcTime) {
        self.0.learned_time(asked, heard, utc).await;
    }

    async fn configure(&self, config: &Config) -> ConfigOutcome {
        self.0.configure(config).await
    }

    async fn perform(&self, command: &Command) -> CommandOutcome {
        self.0.perform(command).await
    }

    fn identify(&self) {
        self.0.identify();
    }
}
