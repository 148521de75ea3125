//! Synthetic publishers: devices that send batches of readings, one at a time, until each is answered for.
//!
//! In: ticks. Out: publishes, promises. Invariants: a batch is sent again, the same bytes, until it is [`Verdict::Stored`]; a device's next
//! one waits for that. On its way a publish or its answer may be lost.

use crate::chance::Chance;
use crate::front::{Front, Verdict};
use crate::inhabitant::{Broken, Inhabitant, Moment, Phase, Stored};
use crate::promises::Promises;
use crate::trace::Trace;
use headwater_telemetry::{BatchBuilder, BootId, ChannelId, Schema, Seq, Up, Uptime, Value, encode_body};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Pause before a batch is sent again, ms.
const AGAIN_MS: u64 = 200;
/// Readings of a batch at most.
const READINGS_MAX: u64 = 6;

pub(crate) struct Publishers {
    devices: Vec<Device>,
    promises: Promises,
    every_ms: u64,
}

struct Device {
    name: String,
    stream: String,
    chance: Chance,
    boot: u32,
    next: u32,
    state: State,
}

enum State {
    /// Nothing to send before this.
    Idle(u64),
    /// A batch that ends before `through` is sent at this time.
    Ready { at: u64, through: u32, payload: Vec<u8> },
    Sent {
        through: u32,
        payload: Vec<u8>,
        answer: Pin<Box<dyn Future<Output = Verdict>>>,
        is_answer_lost: bool,
    },
}

impl Publishers {
    pub(crate) fn new(
        chance: &Chance,
        streams: &[String],
        devices: u64,
        every_ms: u64,
        promises: Promises,
    ) -> Self {
        let device = |number: u64| {
            let mut chance = chance.fork(&format!("device {number}"));
            let stream = chance.pick(streams).clone();
            let state = State::Idle(chance.below(every_ms));
            Device { name: format!("d{number:02}"), stream, chance, boot: 1, next: 0, state }
        };
        Self { devices: (0..devices).map(device).collect(), promises, every_ms }
    }
}

impl Inhabitant for Publishers {
    fn tick(&mut self, moment: Moment, front: &Front, trace: &mut Trace) -> Result<(), Broken> {
        for device in &mut self.devices {
            device.tick(moment, front, trace, &self.promises, self.every_ms)?;
        }
        Ok(())
    }

    fn is_drained(&self) -> bool {
        self.devices.iter().all(|device| matches!(device.state, State::Idle(_)))
    }

    fn compare(&mut self, _: &mut dyn Iterator<Item = Stored>) -> Result<(), Broken> {
        // The world itself looks for everything that was promised.
        Ok(())
    }
}

impl Device {
    fn tick(
        &mut self,
        moment: Moment,
        front: &Front,
        trace: &mut Trace,
        promises: &Promises,
        every_ms: u64,
    ) -> Result<(), Broken> {
        let now = moment.world_ms;
        self.state = match std::mem::replace(&mut self.state, State::Idle(0)) {
            State::Idle(at) if moment.phase == Phase::Stormy && now >= at => self.sample(now)?,
            State::Ready { at, through, payload } if now >= at => {
                let topic = format!("{}/{}/batch", self.stream, self.name);
                if self.chance.one_in(20) {
                    State::Ready { at: now + AGAIN_MS, through, payload }
                } else {
                    trace.fold(format_args!("{} publishes", self.name), &payload);
                    let answer = Box::pin(front.publish(&self.name, &topic, &payload));
                    State::Sent { through, payload, answer, is_answer_lost: self.chance.one_in(15) }
                }
            }
            State::Sent { through, payload, mut answer, is_answer_lost } => {
                match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Pending => State::Sent { through, payload, answer, is_answer_lost },
                    Poll::Ready(Verdict::Stored) => {
                        promises.stored(&self.stream, &self.name, self.boot, through);
                        trace.note(
                            now,
                            format_args!("{} boot {} stored before {through}", self.name, self.boot),
                        );
                        if is_answer_lost {
                            State::Ready { at: now + AGAIN_MS, through, payload }
                        } else {
                            self.next = through;
                            State::Idle(now + self.chance.below(2 * every_ms))
                        }
                    }
                    Poll::Ready(Verdict::Refused | Verdict::Unknown) => {
                        State::Ready { at: now + AGAIN_MS, through, payload }
                    }
                    Poll::Ready(verdict) => {
                        return Err(Broken(format!(
                            "a batch of {} was answered with {verdict:?}",
                            self.name
                        )));
                    }
                }
            }
            state => state,
        };
        Ok(())
    }

    fn sample(&mut self, now: u64) -> Result<State, Broken> {
        if self.chance.one_in(60) {
            (self.boot, self.next) = (self.boot + 1, 0);
        }
        let uptime = Uptime(now);
        let mut batch = BatchBuilder::new(BootId(self.boot), Seq(self.next), Schema(7), uptime);
        for _ in 0..1 + self.chance.below(READINGS_MAX) {
            let value = Value::Fixed(i32::try_from(self.chance.below(1 << 20)).unwrap_or(0));
            let taken = batch.reading(uptime, ChannelId(0), value);
            debug_assert!(taken.is_ok(), "few readings fit");
        }
        let batch = batch.finish(None);
        let through = batch.through().map_or(self.next, |last| last.0 + 1);
        let mut buffer = [0; 1_024];
        let payload =
            encode_body(&Up::Batch(batch), &mut buffer).map_err(|error| Broken(error.to_string()))?;
        Ok(State::Ready { at: now, through, payload: payload.to_vec() })
    }
}
