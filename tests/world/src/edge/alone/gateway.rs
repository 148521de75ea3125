//! A gateway of routes and an engine, whose disk loses power, whose process dies.

use crate::{Chance, EPOCH_MS, Front, Host, Moment, Phase, Stored, Trace};
use headwater::config;
use headwater::route::{Router, RouterSettings};
use headwater_engine::storage::embedded::{EmbeddedLog, EmbeddedMeta};
use headwater_engine::storage::{Cursor, Position};
use headwater_engine::{Clock, Engine, EngineConfig};
use headwater_journal::storage::{Fault, SimDisk};
use headwater_journal::{Config, Journal, State};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What is read in the end, when the disk has no faults any more.
const READS: &str = "a disk without a fault, which reads";

/// Mean time between two ends of the gateway, ms.
const END_EVERY_MS: u64 = 45_000;

pub(super) struct Gateway {
    chance: Chance,
    disk: SimDisk,
    /// What the disk was asked until it was told last.
    told: u64,
    life: Option<Life>,
    start_at_ms: u64,
    end_at_ms: u64,
    is_doomed: bool,
    now_ms: Arc<AtomicU64>,
}

struct Life {
    host: Host,
    journal: Journal<SimDisk>,
    engine: Engine,
    sync_at_ms: u64,
}

impl Gateway {
    pub(super) fn new(mut chance: Chance) -> Self {
        let disk = SimDisk::new(chance.draw());
        let end_at_ms = chance.below(2 * END_EVERY_MS);
        let now_ms = Arc::default();
        Self { chance, disk, told: 0, life: None, start_at_ms: 0, end_at_ms, is_doomed: false, now_ms }
    }

    pub(super) fn tick(&mut self, moment: Moment, front: &Front, trace: &mut Trace) {
        let now_ms = moment.world_ms;
        self.now_ms.store(now_ms, Relaxed);
        let asked = self.disk.digest();
        if std::mem::replace(&mut self.told, asked) != asked {
            trace.count("gateway's disk", asked);
        }
        if self.life.is_none() && now_ms >= self.start_at_ms {
            self.start(front);
        }
        let Some(life) = &mut self.life else { return };
        life.host.tick(moment.tick_ms);
        let mut is_failed = matches!(life.journal.state(), State::Failed { .. });
        if now_ms >= life.sync_at_ms {
            life.sync_at_ms = now_ms + self.chance.between(5, 60);
            is_failed |= life.journal.commit().is_err();
            while life.journal.maintain(EPOCH_MS + now_ms) {}
        }
        let is_due = moment.phase == Phase::Stormy && now_ms >= self.end_at_ms;
        if is_due && !self.is_doomed && self.chance.one_in(2) {
            self.is_doomed = true;
            self.disk.fail_step(self.chance.below(10), Fault::PowerOff);
            self.end_at_ms = now_ms + 2_000;
        } else if is_due || is_failed || (self.is_doomed && moment.phase == Phase::Calm) {
            let is_cut = self.is_doomed || self.chance.one_in(2);
            front.close();
            self.life = None;
            let fate = self.chance.draw();
            self.disk = if is_cut { self.disk.power_cut(fate) } else { self.disk.kill() };
            self.is_doomed = false;
            self.start_at_ms = now_ms + self.chance.between(100, 10_000);
            self.end_at_ms = now_ms + self.chance.below(2 * END_EVERY_MS) + 1;
            trace.note(now_ms, format_args!("gateway ends, cut: {is_cut}, starts at {}", self.start_at_ms));
        }
    }

    fn start(&mut self, front: &Front) {
        let now_ms = Arc::clone(&self.now_ms);
        let clock = Clock::new(move || EPOCH_MS + now_ms.load(Relaxed));
        let config = Config {
            segment_bytes: 256 << 10,
            size_bytes_max: 64 << 20,
            reserve_bytes: 0,
            ..Config::small()
        };
        let (core, _) = Journal::open_on(self.disk.clone(), config, clock.now_ms(), self.chance.draw())
            .expect("a disk without a fault, which opens");
        let journal = Journal::unattended(core);
        let log = EmbeddedLog::new(journal.clone());
        let meta = Arc::new(EmbeddedMeta::new(&log));
        let host = Host::start();
        let inside = host.handle().enter();
        let settings = EngineConfig { clock: clock.clone(), ..EngineConfig::new("") };
        let engine = Engine::on(Arc::new(log), meta, &settings);
        drop(inside);
        let config = config::parse("edge", "").expect("nothing is a configuration").config;
        let settings = RouterSettings { clock, ..RouterSettings::of(&config) };
        let (opening, answer) = (Router::open(engine.clone(), settings), Arc::new(Mutex::new(None)));
        let told = Arc::clone(&answer);
        let taken = move || told.lock().unwrap_or_else(PoisonError::into_inner).take();
        host.handle().spawn(async move {
            let opened = opening.await;
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        });
        let opened = loop {
            host.tick(1);
            // Nothing is planned on the disk while it opens.
            journal.commit().expect("a disk without a fault, which commits");
            if let Some(opened) = taken() {
                break opened;
            }
        };
        let router = opened.expect("routes of no configuration open");
        front.open(host.handle(), Arc::new(router));
        self.life = Some(Life { host, journal, engine, sync_at_ms: 0 });
    }

    pub(super) fn stored(&self) -> Vec<Stored> {
        let mut stored = Vec::new();
        let Some(Life { host, engine, .. }) = &self.life else { return stored };
        for stream in engine.streams() {
            for shard in stream.state().shards.all().iter().map(|shard| shard.id).collect::<Vec<_>>() {
                let from = host.run(engine.locate(&stream, shard, Cursor::TrimHorizon)).expect(READS);
                let mut next = Position { position: from.position, index: 0 };
                loop {
                    let page = host.run(engine.read(&stream, shard, next, (5_000, 8 << 20))).expect(READS);
                    for run in &page.runs {
                        run.visit(&mut |record| {
                            stored.push(Stored {
                                stream: stream.state().definition.name.to_string(),
                                shard: 0,
                                key: record.key.to_vec(),
                                data: record.data.to_vec(),
                            });
                        });
                    }
                    if page.next >= page.end || page.next == next {
                        break;
                    }
                    next = page.next;
                }
            }
        }
        stored
    }
}
