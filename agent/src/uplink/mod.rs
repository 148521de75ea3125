//! The way up: spool → PUBLISH QoS 1 → PUBACK → checkpoint.
//!
//! In: durable records of the spool. Out: publishes on `headwater/{device}/batch|birth|log|result`, the checkpoint, trims. The way
//! down for commands shares the connection.
//!
//! Always true: records go out in the order of the spool; after any doubt (connection lost, a record to be sent again)
//! the connection is dropped and everything from the checkpoint on is sent again on a new one, births first; a
//! rejected record is durable among those set aside before the checkpoint passes it.
//! Not here: what is in a record, and the decision what an outcome means (see `outcome`).

mod ahead;
mod aside;
mod client;
mod conversation;
mod downlink;
mod flight;
mod kept;
pub(crate) mod network;
mod outcome;
mod settings;
#[cfg(feature = "simulation")]
pub(crate) mod simulated;

use crate::clock::Clock;
use crate::config::UplinkConfig;
use crate::limits::{CHECKPOINT_EVERY_MS, DRAIN_MS};
use crate::roster::Roster;
use crate::spool::{Durable, Outgoing, Spool};
use crate::status::Counters;
use crate::stop::Stop;
use client::Event;
pub(crate) use client::{Client, Dial};
use downlink::Downlink;
use flight::{Flight, Progress, Sent};
use headwater_journal::{FileStorage, Storage};
use headwater_relay::{Backoff, Outcome, WindowLimits};
use kept::Kept;
use outcome::outcome_of;
use rumqttc::v5::mqttbytes::v5::PubAckReason;
pub(crate) use settings::Settings;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// Root of every topic.
const ROOT: &str = "headwater";

/// Births on their way at once: few, so that the client's channel always has room for them.
const BIRTHS_IN_FLIGHT_MAX: usize = 8;

/// The uplink of one agent.
pub(crate) struct Uplink<S: Storage = FileStorage> {
    config: UplinkConfig,
    settings: Settings,
    seed: u64,
    dial: Dial,
    spool: Arc<Spool<S>>,
    counters: Arc<Counters>,
    clock: Clock,
    stop: Stop,
    durable: watch::Receiver<Durable>,
    backoff: Backoff,
    flight: Flight,
    kept: Kept,
    downlink: Downlink,
}

/// Why a connection ended.
enum End {
    Lost(String),
    /// There are other settings: the next one goes by them.
    Changed,
    Stopped,
}

/// What one connection holds beside the flight.
struct Connection {
    client: Client,
    is_connected: bool,
    births: VecDeque<(String, Vec<u8>)>,
    ahead: VecDeque<Outgoing>,
    /// Where reading continues after `ahead`.
    ahead_next: u64,
    drain_until: Option<Instant>,
}

impl<S: Storage> Uplink<S> {
    #[expect(clippy::too_many_arguments, reason = "what it stands on, named")]
    pub(crate) fn new(
        mut settings: Settings,
        dial: Dial,
        spool: Arc<Spool<S>>,
        counters: Arc<Counters>,
        roster: Roster,
        clock: Clock,
        stop: Stop,
        seed: u64,
    ) -> Self {
        let (checkpoint, config) = (spool.checkpoint(), settings.now());
        Self {
            flight: Flight::new(config.window, checkpoint),
            backoff: Backoff::new(config.retry, seed),
            kept: Kept::new(checkpoint),
            durable: spool.durable(),
            downlink: Downlink::new(roster, Arc::clone(&counters), Backoff::new(config.retry, !seed)),
            config,
            settings,
            seed,
            dial,
            spool,
            counters,
            clock,
            stop,
        }
    }

    /// Runs until told to stop. What is in flight then gets a moment to be acked.
    pub(crate) async fn run(mut self) {
        loop {
            let reason = match self.run_connection().await {
                End::Lost(reason) => reason,
                End::Changed => {
                    self.change();
                    continue;
                }
                End::Stopped => break,
            };
            let was_connected = self.counters.uplink_connected.swap(0) == 1;
            self.counters.uplink_failures.add(1);
            let retry_at_ms = self.backoff.handle_lost(self.clock.mono_ms());
            let attempt = self.backoff.attempt();
            let delay_ms = retry_at_ms.saturating_sub(self.clock.mono_ms());
            if was_connected || attempt == 1 {
                tracing::warn!(reason, attempt, delay_ms, "uplink lost");
            } else {
                tracing::debug!(reason, attempt, delay_ms, "uplink not made");
            }
            tokio::select! {
                biased;
                () = self.stop.stopped() => break,
                () = self.settings.changed() => self.change(),
                () = sleep_until(self.clock.instant_at(retry_at_ms)) => {}
            }
        }
        self.counters.uplink_connected.set(0);
        self.kept.write(&self.spool, self.flight.checkpoint(), self.clock.utc_ms());
    }

    /// Goes by other settings from the next connection on.
    fn change(&mut self) {
        self.config = self.settings.now();
        self.backoff = Backoff::new(self.config.retry, self.seed);
        self.downlink.set_retry(Backoff::new(self.config.retry, !self.seed));
    }

    async fn run_connection(&mut self) -> End {
        self.flight.reset(self.config.window);
        self.downlink.reset();
        let mut connection = Connection {
            client: (self.dial)(&self.config),
            is_connected: false,
            births: VecDeque::new(),
            ahead: VecDeque::new(),
            ahead_next: self.flight.next(),
            drain_until: None,
        };
        let mut tick = interval(Duration::from_millis(CHECKPOINT_EVERY_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        loop {
            if let Err(end) = self.fill(&mut connection).await {
                return end;
            }
            let is_draining = connection.drain_until.is_some();
            if is_draining && !connection.is_connected {
                return End::Stopped;
            }
            if is_draining && self.flight.is_empty() {
                return self.disconnect(connection.client).await;
            }
            let ask_at_ms = self.downlink.retry_at_ms();
            let ask_at = self.clock.instant_at(ask_at_ms.unwrap_or_default());
            tokio::select! {
                // In this order, so that a seed tells what happens; answers, which may always be there, come after what may not.
                biased;
                () = stop.stopped(), if !is_draining => {
                    connection.drain_until = Some(Instant::now() + Duration::from_millis(DRAIN_MS));
                }
                () = sleep_until(connection.drain_until.unwrap_or_else(Instant::now)), if is_draining => {
                    return self.disconnect(connection.client).await;
                }
                () = self.settings.changed(), if !is_draining => {
                    self.counters.uplink_connected.set(0);
                    // What was sent and not acked goes again on the next one.
                    self.disconnect(connection.client).await;
                    return End::Changed;
                }
                changed = self.durable.changed() => {
                    if changed.is_err() || matches!(*self.durable.borrow(), Durable::Failed(_)) {
                        return End::Stopped;
                    }
                    self.kept.trim(&self.spool);
                }
                () = self.downlink.changed(), if connection.is_connected => self.downlink.ask(&connection.client),
                () = sleep_until(ask_at), if connection.is_connected && ask_at_ms.is_some() =>
                {
                    self.downlink.handle_timeout(self.clock.mono_ms());
                    self.downlink.ask(&connection.client);
                }
                _ = tick.tick() => self.kept.write(&self.spool, self.flight.checkpoint(), self.clock.utc_ms()),
                event = connection.client.next() => match self.handle_event(event, &mut connection).await {
                    Ok(()) => {}
                    Err(End::Lost(_)) if is_draining => return End::Stopped,
                    Err(end) => return end,
                },
            }
        }
    }

    async fn handle_event(&mut self, event: Event, connection: &mut Connection) -> Result<(), End> {
        match event {
            Event::Connected { receive_max } => {
                let records_max = self.config.window.records_max.min(usize::from(receive_max)).max(1);
                self.flight.reset(WindowLimits { records_max, ..self.config.window });
                self.backoff.handle_connected(self.clock.mono_ms());
                self.counters.uplink_connects.add(1);
                self.counters.uplink_connected.set(1);
                connection.is_connected = true;
                connection.births = self.births();
                self.downlink.ask(&connection.client);
                let waiting = self.spool.end().saturating_sub(self.flight.checkpoint());
                tracing::info!(gateway = %self.config.host, port = self.config.port, records_max, waiting, "uplink connected");
                Ok(())
            }
            Event::Sent(packet_id) => {
                self.flight.handle_sent(packet_id).map_err(|stray| End::Lost(stray.to_string()))
            }
            Event::Answered(packet_id, reason) => self.handle_answered(packet_id, reason).await,
            Event::Asked(refusals) => {
                self.downlink.handle_answered(&refusals, self.clock.mono_ms());
                self.downlink.ask(&connection.client);
                Ok(())
            }
            Event::Publish(topic, payload) => {
                self.downlink.handle_publish(&topic, &payload);
                Ok(())
            }
            Event::Lost(reason) => Err(End::Lost(reason)),
        }
    }

    async fn handle_answered(&mut self, packet_id: u16, reason: PubAckReason) -> Result<(), End> {
        let sent = self.flight.handle_answered(packet_id).map_err(|stray| End::Lost(stray.to_string()))?;
        let is_batch = matches!(sent, Sent::Record { is_batch: true, .. });
        let outcome = outcome_of(reason, is_batch);
        let offset = match sent {
            Sent::Record { offset, .. } => offset,
            Sent::Birth => {
                self.counters.births_published.add(1);
                // The spool has the same birth in its place, so nothing is lost with this one.
                return match outcome {
                    Outcome::Acked => Ok(()),
                    Outcome::Rejected => {
                        tracing::warn!(reason = ?reason, "birth rejected by the gateway");
                        Ok(())
                    }
                    Outcome::Retry => {
                        Err(End::Lost(format!("gateway does not take a birth now: {reason:?}")))
                    }
                };
            }
        };
        if outcome == Outcome::Rejected {
            self.set_aside(offset, reason).await?;
        }
        match self.flight.handle_outcome(offset, outcome) {
            Some(progress) => {
                self.count(progress);
                Ok(())
            }
            None => {
                self.counters.uplink_retries.add(1);
                Err(End::Lost(format!("gateway does not take records now: {reason:?}")))
            }
        }
    }

    /// Hands over what fits: all births first, then records.
    async fn fill(&mut self, connection: &mut Connection) -> Result<(), End> {
        if !connection.is_connected || connection.drain_until.is_some() {
            return Ok(());
        }
        while self.flight.births() < BIRTHS_IN_FLIGHT_MAX
            && let Some((topic, body)) = connection.births.pop_front()
        {
            publish(&connection.client, topic, true, body)?;
            self.flight.hand_birth();
        }
        // A batch must not arrive before the birth that explains it, and both share the gateway's receive maximum.
        if self.flight.births() > 0 || !connection.births.is_empty() {
            return Ok(());
        }
        loop {
            while let Some(record) = connection.ahead.front() {
                let size_bytes = record.key.len() + record.body.len();
                if !self.flight.has_room(size_bytes) {
                    return Ok(());
                }
                let record = connection.ahead.pop_front().expect("front was some");
                let is_birth = record.key.ends_with("/birth");
                let is_batch = record.key.ends_with("/batch");
                let handed = self.flight.hand_record(record.offset, size_bytes, is_batch);
                handed
                    .map_err(|error| End::Lost(format!("record {} not offered: {error}", record.offset)))?;
                publish(&connection.client, format!("{ROOT}/{}", record.key), is_birth, record.body)?;
            }
            let progress = self.flight.skip_to(connection.ahead_next);
            self.count(progress);
            if !self.read_ahead(connection).await? {
                return Ok(());
            }
        }
    }

    fn count(&self, progress: Progress) {
        self.counters.delivered.add(progress.delivered);
        self.counters.rejected.add(progress.rejected);
        self.counters.lost.add(progress.lost);
        self.counters.spool_checkpoint.set(self.flight.checkpoint());
    }

    async fn disconnect(&self, mut client: Client) -> End {
        client.disconnect();
        let lost = async { while !matches!(client.next().await, Event::Lost(_)) {} };
        // A gateway that does not take the DISCONNECT sees the connection closed instead.
        let _ = timeout(Duration::from_millis(DRAIN_MS), lost).await;
        End::Stopped
    }
}

fn publish(client: &Client, topic: String, retain: bool, body: Vec<u8>) -> Result<(), End> {
    match client.publish(topic, retain, body) {
        true => Ok(()),
        false => Err(End::Lost("client does not take a publish".to_owned())),
    }
}
