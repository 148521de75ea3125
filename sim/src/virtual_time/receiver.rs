//! The other end of a device's line: what an agent's session does, without the agent.
//!
//! In: bytes. Out: publishes for the next commit, answers. Invariants: an ack leaves only after its batch is durable; nothing is
//! taken from a device that did not say who it is. Answers are slow now and then, and acks come twice.
//! Not here: which entries are repeats (the routes).

use super::life::Phase;
use super::limits::{IDENTIFY_EVERY_US, SLOW_1_IN, SLOW_US_MAX, TWICE_1_IN};
use super::sink::{Publish, Sink, SinkError, Verdict};
use super::wire::End;
use super::world::World;
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, signal::Signal};
use embedded_io_async::{Read, Write};
use headwater_device::testing::Rng;
use headwater_telemetry::limits::FRAME_BYTES_MAX;
use headwater_telemetry::{
    Deframer, DeviceId, Down, FrameError, TimeQuality, Timestamp, Up, UtcTime, decode_body, encode_frame,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What waits for the next commit, of all devices, in the order of arrival.
#[derive(Default)]
pub(super) struct Desk {
    waiting: RefCell<Waiting>,
    /// Frames that were damaged.
    pub(super) bad_frames: Cell<u64>,
    /// Batches acknowledged.
    pub(super) acked: Cell<u64>,
}

#[derive(Default)]
struct Waiting {
    topics: Vec<Rc<str>>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    heard: Vec<Rc<Heard>>,
}

impl Waiting {
    fn add(&mut self, topic: &Rc<str>, body: &[u8], heard: Rc<Heard>) {
        self.topics.push(Rc::clone(topic));
        self.bytes.extend(body);
        self.ends.push(self.bytes.len());
        self.heard.push(heard);
    }
}

type Heard = Signal<NoopRawMutex, Verdict>;

impl Desk {
    /// Waits until the message is durable or refused.
    async fn store(&self, topic: &Rc<str>, body: &[u8]) -> Verdict {
        let heard = Rc::new(Heard::new());
        self.waiting.borrow_mut().add(topic, body, Rc::clone(&heard));
        heard.wait().await
    }

    /// Stores what waits in one call, and tells who waits for it.
    pub(super) fn commit(&self, now_ms: u64, sink: &mut impl Sink) -> Result<(), SinkError> {
        let Waiting { topics, bytes, ends, heard } = std::mem::take(&mut *self.waiting.borrow_mut());
        if topics.is_empty() {
            return Ok(());
        }
        let mut start = 0;
        let mut publishes = Vec::with_capacity(topics.len());
        for (topic, &end) in topics.iter().zip(&ends) {
            publishes.push(Publish { topic, payload: &bytes[start..end] });
            start = end;
        }
        let verdicts = sink.store(now_ms, &publishes)?;
        if verdicts.len() != heard.len() {
            return Err(SinkError(format!("{} verdicts for {} publishes", verdicts.len(), heard.len())));
        }
        for (heard, verdict) in heard.iter().zip(verdicts) {
            heard.signal(verdict);
        }
        Ok(())
    }
}

/// The receiver of one line.
pub(super) struct Receiver {
    pub(super) world: Rc<World>,
    pub(super) phase: Rc<Cell<Phase>>,
    pub(super) desk: Rc<Desk>,
    pub(super) end: End,
    pub(super) epoch_ms: u64,
    pub(super) rng: Rng,
    topics: Option<Topics>,
    asked_us: Option<u64>,
}

/// Of the device at the line.
struct Topics {
    device: DeviceId,
    birth: Rc<str>,
    batch: Rc<str>,
    log: Rc<str>,
}

impl Topics {
    fn of(device: DeviceId) -> Self {
        let topic = |kind| format!("headwater/{device}/{kind}").into();
        let (birth, batch, log) = (topic("birth"), topic("batch"), topic("log"));
        Self { device, birth, batch, log }
    }
}

impl Receiver {
    pub(super) fn new(
        world: Rc<World>,
        phase: Rc<Cell<Phase>>,
        desk: Rc<Desk>,
        end: End,
        epoch_ms: u64,
        seed: u64,
    ) -> Self {
        let rng = Rng::new(seed);
        Self { world, phase, desk, end, epoch_ms, rng, topics: None, asked_us: None }
    }

    /// Serves its line for ever.
    pub(super) async fn serve(mut self) {
        let (mut deframer, mut bytes) = (Deframer::new(), [0u8; 64]);
        loop {
            let len = match self.end.read(&mut bytes).await {
                Ok(len) => len,
                Err(never) => match never {},
            };
            for &byte in &bytes[..len] {
                match deframer.push(byte) {
                    None => {}
                    Some(Ok(body)) => self.handle_body(body).await,
                    Some(Err(error)) => self.handle_bad(error),
                }
            }
        }
    }

    fn handle_bad(&self, error: FrameError) {
        if error != FrameError::Unknown {
            self.desk.bad_frames.set(self.desk.bad_frames.get() + 1);
        }
    }

    async fn handle_body(&mut self, body: &[u8]) {
        let up = match decode_body::<Up>(body) {
            Ok(up) => up,
            Err(error) => return self.handle_bad(error),
        };
        if let Up::Hello(hello) = &up
            && self.topics.as_ref().is_none_or(|topics| topics.device != hello.device)
        {
            self.topics = Some(Topics::of(hello.device.clone()));
        }
        let Some(topics) = &self.topics else { return self.ask().await };
        let (birth, batch, log) = (topics.birth.clone(), topics.batch.clone(), topics.log.clone());
        match up {
            // Of a hello that was refused the next one comes with the next boot; until then the device is not known.
            Up::Hello(_) if self.desk.store(&birth, body).await == Verdict::Refused => self.topics = None,
            Up::Hello(_) => {}
            Up::TimeRequest { nonce } => {
                self.dawdle().await;
                let at = Timestamp(self.epoch_ms + self.world.now_ms());
                self.send(&Down::Time { nonce, utc: UtcTime { at, quality: TimeQuality::Synced } }).await;
            }
            Up::Batch(entries) => {
                let Some(through) = entries.through() else { return };
                if self.desk.store(&batch, body).await == Verdict::Refused {
                    return;
                }
                self.desk.acked.set(self.desk.acked.get() + 1);
                self.dawdle().await;
                let ack = Down::Ack { boot: entries.boot, through };
                self.send(&ack).await;
                if self.is_rough() && self.rng.chance(TWICE_1_IN) {
                    self.send(&ack).await;
                }
            }
            Up::Log(_) => {
                // Log lines are not acknowledged, so a refused one is gone, as on a line without an agent.
                let _ = self.desk.store(&log, body).await;
            }
            // Answers to orders, which nobody gives here.
            Up::ConfigResult(_) | Up::CommandResult(_) => {}
        }
    }

    /// Asks who is there, not at every message.
    async fn ask(&mut self) {
        let now_us = self.world.now_us();
        if self.asked_us.is_none_or(|asked_us| now_us >= asked_us + IDENTIFY_EVERY_US) {
            self.asked_us = Some(now_us);
            self.send(&Down::Identify).await;
        }
    }

    async fn dawdle(&mut self) {
        if self.is_rough() && self.rng.chance(SLOW_1_IN) {
            self.world.sleep(self.rng.below(SLOW_US_MAX)).await;
        }
    }

    fn is_rough(&self) -> bool {
        self.phase.get() == Phase::Rough
    }

    async fn send(&mut self, message: &Down) {
        let mut buf = [0u8; FRAME_BYTES_MAX];
        let frame = encode_frame(message, &mut buf).expect("every message fits a frame, see the limits");
        match self.end.write_all(frame).await {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }
}
