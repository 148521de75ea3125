//! One stream on its way to one sink: the shell around [`Forwarding`], which decides everything.
//!
//! In: shards of the engine, the target's answers. Out: calls, dead letters, cursors. Invariants: a cursor is stored before the hold behind it
//! moves; a dead letter is durable before the cursor passes it; what was read stays in memory until its end is known.
//!
//! Not here: what goes when and again ([`Forwarding`]), HTTP and signatures (`headwater_aws`).

mod body;
mod events;
mod letter;
mod losses;
mod quota;
mod show;
mod sources;

use super::counters::Shown;
use super::holds::Holds;
use super::kept::Kept;
use super::letters::Letters;
use super::limits;
use super::settings::{Order, SinkSettings};
use super::stop::Stop;
use super::surroundings::Surroundings;
use super::target::{self, Seeking, Target};
use events::Event;
use headwater_aws::kpl;
use headwater_aws::{Kinesis, StreamRef};
use headwater_engine::{Engine, StreamHandle};
use headwater_relay::{
    Added, Call, CallLimits, Drain, DrainOrder, ForwardConfig, Forwarding, Packing, ProgressDue, TargetRate,
    WireCost,
};
use quota::Quota;
use sources::Sources;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// What a carrier works with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) engine: Engine,
    pub(super) settings: Arc<SinkSettings>,
    pub(super) client: Kinesis,
    pub(super) holds: Holds,
    pub(super) letters: Letters,
    /// When the sink started, UTC ms.
    pub(super) started_ms: u64,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) stop: Stop,
}

/// The state of one carrier.
pub(super) struct Carrier {
    tools: Tools,
    stream: StreamHandle,
    target: StreamRef,
    clock: Clock,
    forwarding: Forwarding,
    sources: Sources,
    kept: Kept,
    shown: Shown,
    tasks: JoinSet<Event>,
    record_bytes_max: usize,
    /// The target is being looked at, or will be at this moment.
    looking: bool,
    look_at: Instant,
    /// When the last look ended.
    looked_at: Option<Instant>,
    /// What is shown as trouble came of looking.
    is_look_trouble: bool,
    quota: Quota,
    /// When losses are written down that could not be.
    note_at: Instant,
    shown_at: Instant,
}

/// Time that never goes back, near UTC at its start: arrivals are compared with it.
#[derive(Debug, Clone, Copy)]
struct Clock {
    origin: Instant,
    utc_ms: u64,
}

impl Clock {
    fn start(utc_ms: u64) -> Self {
        Self { origin: Instant::now(), utc_ms }
    }

    fn now_ms(&self) -> u64 {
        self.utc_ms + u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }

    fn instant(&self, at_ms: u64) -> Instant {
        self.origin + Duration::from_millis(at_ms.saturating_sub(self.utc_ms))
    }
}

impl Carrier {
    pub(super) fn new(tools: Tools, stream: StreamHandle, target: StreamRef, shown: Shown) -> Self {
        let seed = tools.surroundings.seed_of(&tools.settings.name, stream.name().as_str());
        let forwarding = Forwarding::new(config(&tools.settings, seed));
        let sources = Sources::new(&tools, &stream);
        let now = Instant::now();
        Self {
            clock: Clock::start(tools.engine.now_ms()),
            forwarding,
            sources,
            kept: Kept::default(),
            shown,
            tasks: JoinSet::new(),
            record_bytes_max: headwater_aws::limits::RECORD_KIB_DEFAULT as usize * 1024,
            looking: false,
            looked_at: None,
            is_look_trouble: false,
            quota: Quota::default(),
            note_at: now,
            look_at: now,
            shown_at: now,
            tools,
            stream,
            target,
        }
    }

    /// Carries until told to stop or the stream is gone; then what is on its way gets a moment to settle.
    pub(super) async fn run(mut self) {
        let mut changes = self.stream.changes();
        let stop = self.tools.stop.clone();
        loop {
            if !self
                .sources
                .follow(&self.tools, &self.stream, &mut self.forwarding, &mut self.tasks, self.clock.now_ms())
                .await
            {
                let lost = self.forwarding.drain_state(self.clock.now_ms()).waiting_records;
                tracing::warn!(
                    sink = self.tools.settings.name, stream = %self.stream.name(), lost,
                    "stream is deleted, with what was not delivered of it"
                );
                self.let_go();
                self.sources.forget_all(&self.tools, &self.stream);
                return;
            }
            self.turn();
            let wake = self.forwarding.poll_timeout().map(|at_ms| self.clock.instant(at_ms));
            let mut wake = wake.unwrap_or(self.shown_at).min(self.shown_at);
            if !self.looking {
                wake = wake.min(self.look_at);
            }
            // In this order, so that nothing but time and chance of ours decides what is done first.
            tokio::select! {
                biased;
                () = stop.told() => break,
                () = changes.changed() => {}
                Some(event) = self.tasks.join_next() => self.handle_joined(event),
                () = sleep_until(wake.max(Instant::now() + limits::TURN_PAUSE)) => {}
            }
            while let Some(event) = self.tasks.try_join_next() {
                self.handle_joined(event);
            }
        }
        self.settle().await;
    }

    /// Everything that can be begun now.
    fn turn(&mut self) {
        let now_ms = self.clock.now_ms();
        if !self.looking && Instant::now() >= self.look_at {
            self.look();
        }
        while let Some(read) = self.forwarding.poll_read() {
            self.tasks.spawn(events::read(
                self.tools.clone(),
                self.stream.clone(),
                self.sources.shard(read.source),
                read,
            ));
        }
        while let Some(call) = self.forwarding.poll_call(now_ms) {
            self.send(call, now_ms);
        }
        self.set_aside();
        self.store(now_ms);
        if Instant::now() >= self.shown_at {
            self.mind_quota();
            self.show(now_ms);
        }
    }

    fn look(&mut self) {
        self.looking = true;
        let (client, stream) = (self.tools.client.clone(), self.target.clone());
        let seeking = Seeking::of(&self.tools, &self.stream);
        self.tasks.spawn(async move { Event::Looked(target::look(&client, &stream, &seeking).await) });
    }

    fn send(&mut self, call: Call, now_ms: u64) {
        let body = match self.body(&call) {
            Ok(body) => body,
            Err(failure) => {
                let failed = self.forwarding.handle_call_failed(call.id, failure, now_ms);
                debug_assert!(failed.is_ok(), "the call was just given out");
                return;
            }
        };
        self.shown.change(|shown| {
            shown.calls += 1;
            shown.bytes_sent += call.size_bytes;
        });
        let client = self.tools.client.clone();
        self.tasks.spawn(async move {
            let answer = client.put_records(body).await;
            Event::Sent(Box::new(call), answer)
        });
    }

    /// Begins to store dead letters, and the progress of shards.
    fn set_aside(&mut self) {
        while let Some(dead) = self.forwarding.poll_dead_letter() {
            let Some(payload) = self.kept.get(dead.record.source, dead.record.offset) else { continue };
            let letter = letter::letter(
                &self.tools,
                &self.stream,
                self.sources.shard(dead.record.source),
                &dead,
                payload,
            );
            if self.tools.letters.is(&self.stream) {
                // It is where dead letters are, and stays there: one of it would lead to the next for ever.
                self.handle_event(Event::LetterStored(dead.record, true));
            } else {
                self.tasks.spawn(events::put_letter(self.tools.clone(), letter, dead.record));
            }
        }
    }

    fn store(&mut self, now_ms: u64) {
        while let Some(due) = self.forwarding.poll_progress(now_ms) {
            if let Some(due) = self.sources.handle_due(due) {
                self.spawn_store(due);
            }
        }
    }

    fn spawn_store(&mut self, due: ProgressDue) {
        let shard = self.sources.shard(due.source);
        let losses = &mut self.sources.losses;
        let losses = (losses.noted(due.source), losses.due(due.source, &due.progress));
        self.tasks.spawn(losses::store(self.tools.clone(), self.stream.clone(), shard, due, losses));
    }

    /// Takes no more from the shards; waits a moment for what is under way, and stores how far it came.
    async fn settle(&mut self) {
        self.let_go();
        let deadline = Instant::now() + limits::SETTLE_WITHIN;
        while self.forwarding.calls_in_flight() > 0 {
            match timeout(deadline.saturating_duration_since(Instant::now()), self.tasks.join_next()).await {
                Ok(Some(event)) => self.handle_joined(event),
                Ok(None) | Err(_) => break,
            }
        }
        // At the end of its interval every progress is due.
        self.store(u64::MAX);
        self.show(self.clock.now_ms());
        let deadline = Instant::now() + limits::SETTLE_WITHIN;
        while self.sources.storing() > 0 {
            match timeout(deadline.saturating_duration_since(Instant::now()), self.tasks.join_next()).await {
                Ok(Some(event)) => self.handle_joined(event),
                Ok(None) | Err(_) => break,
            }
        }
    }

    /// Takes what the target is like; false when it has to be looked at again soon.
    fn handle_target(&mut self, target: &Target, now_ms: u64) -> bool {
        self.record_bytes_max = usize::try_from(target.record_bytes_max).unwrap_or(usize::MAX);
        self.forwarding.handle_record_bytes_max(target.record_bytes_max);
        if let Err(error) = self.forwarding.handle_targets(&target.shards, now_ms) {
            tracing::warn!(sink = self.tools.settings.name, stream = %self.stream.name(), %error, "shards of the target cannot be used");
            return false;
        }
        target.is_complete
    }
}

/// What a sink's settings mean for a forwarding.
fn config(settings: &SinkSettings, seed: u64) -> ForwardConfig {
    let cap = settings.drain.rate_bytes;
    let order = match settings.drain.order {
        Order::Oldest => DrainOrder::Oldest,
        Order::Newest => DrainOrder::Newest,
    };
    let drain = Drain {
        live_percent: settings.drain.live_share_percent,
        bytes_per_s: (cap > 0).then_some(cap),
        order,
        wire: WireCost::default(),
        ..Drain::default()
    };
    let packing = Packing {
        bytes_max: limits::AGGREGATE_BYTES_MAX,
        records_max: headwater_aws::limits::AGGREGATE_RECORDS_MAX,
        frame_bytes: kpl::FRAME_BYTES as u64 + headwater_aws::limits::KEY_CHARACTERS_MAX as u64 * 4,
        added: |added: Added| {
            let (key, data) = (added.key_bytes as usize, added.data_bytes as usize);
            kpl::record_bytes_max(key, data, false) as u64
        },
    };
    let unpaced = TargetRate { bytes_per_s: 1 << 40, records_per_s: 1 << 30, burst_ms: 1_000 };
    ForwardConfig {
        target_rate: if settings.is_paced { TargetRate::default() } else { unpaced },
        calls: CallLimits { in_flight_max: settings.calls, ..CallLimits::default() },
        tries_max: u16::try_from(settings.tries).unwrap_or(u16::MAX),
        delays: settings.retry,
        drain,
        packing: settings.aggregate.then_some(packing),
        seed,
        ..ForwardConfig::default()
    }
}
