//! Sensors as samplers: one measurement serves all channels of a chip, faults are told once.
//!
//! In: a [`Sensor`] and a clock. Out: a [`Sampler`]. Invariants: a value is handed out at most once and at most
//! [`FRESH_MS`] after it was measured; a chip that fails does not stop the others. Not here: chips.

use crate::limits::{FAULTS_TOLD, FRESH_MS};
use crate::{Fault, Measured, Quantity, Sensor};
use core::fmt::Write as _;
use headwater_device::{Clock, Sampler};
use headwater_telemetry::limits::{CHANNELS_MAX, LOG_BYTES_MAX};
use headwater_telemetry::{Channel, ChannelId, LogLevel, Uptime, Value, ValueKind};
use heapless::{String, Vec};

/// A sensor as a sampler.
#[derive(Debug)]
pub struct Sampled<S, C> {
    sensor: S,
    clock: C,
    names: &'static [&'static str],
    values: Measured,
    measured: Uptime,
    /// Faults in a row.
    faults: u8,
    news: Option<News>,
}

#[derive(Clone, Copy, Debug)]
enum News {
    Fails(Fault),
    Works,
}

impl<S: Sensor, C: Clock> Sampled<S, C> {
    /// `sensor`, asked by `clock`.
    pub fn new(sensor: S, clock: C) -> Self {
        Self { sensor, clock, names: &[], values: Vec::new(), measured: Uptime(0), faults: 0, news: None }
    }

    /// Other names for its channels, in their order, for a device with two chips of one kind. A name may have 16 bytes;
    /// what is longer is cut. Channels beyond the list keep theirs.
    #[must_use]
    pub fn named(self, names: &'static [&'static str]) -> Self {
        Self { names, ..self }
    }

    /// This and `other` as one sampler, its channels first. What does not fit the table of a device is left out.
    pub fn and<T: Sampler>(self, other: T) -> Both<Self, T> {
        Both { first: self, second: other }
    }

    /// The sensor.
    pub fn sensor(&mut self) -> &mut S {
        &mut self.sensor
    }

    fn quantity(&self, channel: ChannelId) -> Option<&Quantity> {
        self.sensor.quantities().get(usize::from(channel.0))
    }

    fn name(&self, index: usize) -> &'static str {
        let own = || self.sensor.quantities().get(index).map_or("", |quantity| quantity.name);
        self.names.get(index).copied().unwrap_or_else(own)
    }

    async fn measure(&mut self) {
        match self.sensor.measure().await {
            Ok(values) => {
                if self.faults >= FAULTS_TOLD {
                    self.news = Some(News::Works);
                }
                (self.values, self.faults) = (values, 0);
            }
            Err(fault) => {
                self.values.clear();
                if fault == Fault::NotReady {
                    return;
                }
                self.faults = self.faults.saturating_add(1);
                if self.faults == FAULTS_TOLD {
                    self.news = Some(News::Fails(fault));
                }
            }
        }
        self.measured = self.clock.now();
    }
}

impl<S: Sensor, C: Clock> Sampler for Sampled<S, C> {
    fn channels(&self) -> Vec<Channel, CHANNELS_MAX> {
        let channel = |(index, quantity): (usize, &Quantity)| {
            let mut name = self.name(index);
            while Channel::new(name, "", ValueKind::Fixed, 0).is_err() {
                let (last, _) = name.char_indices().next_back().unwrap_or((0, ' '));
                name = &name[..last];
            }
            let channel = Channel::new(name, quantity.unit, ValueKind::Fixed, quantity.exponent);
            channel.expect("the unit was measured when the quantity was made")
        };
        self.sensor.quantities().iter().enumerate().take(CHANNELS_MAX).map(channel).collect()
    }

    fn period_ms(&self, channel: ChannelId) -> u32 {
        self.quantity(channel).map_or(u32::MAX, |quantity| quantity.period_ms)
    }

    async fn sample(&mut self, channel: ChannelId) -> Option<Value> {
        let index = usize::from(channel.0);
        let fresh = self.clock.now().0.saturating_sub(self.measured.0) <= FRESH_MS;
        // Taken once: the same channel again is a new turn, however soon.
        let kept = self.values.get_mut(index).and_then(Option::take).filter(|_| fresh);
        let raw = match kept {
            Some(raw) => raw,
            None => {
                self.measure().await;
                self.values.get_mut(index).and_then(Option::take)?
            }
        };
        Some(Value::Fixed(raw))
    }

    fn poll_log(&mut self) -> Option<(LogLevel, String<LOG_BYTES_MAX>)> {
        let name = self.name(0);
        let mut text = String::new();
        // Cut at the limit of a log line, which names of 16 bytes do not reach.
        let level = match self.news.take()? {
            News::Fails(fault) => {
                let _ = write!(text, "sensor of {name} {fault}");
                LogLevel::Warn
            }
            News::Works => {
                let _ = write!(text, "sensor of {name} works again");
                LogLevel::Info
            }
        };
        Some((level, text))
    }
}

/// Two samplers as one: the channels of the first, then those of the second.
#[derive(Debug)]
pub struct Both<A, B> {
    first: A,
    second: B,
}

impl<A: Sampler, B: Sampler> Both<A, B> {
    /// Two samplers as one. What does not fit the table of a device is left out.
    pub fn new(first: A, second: B) -> Self {
        Self { first, second }
    }

    /// This and `other` as one sampler.
    pub fn and<T: Sampler>(self, other: T) -> Both<Self, T> {
        Both { first: self, second: other }
    }

    /// The place of a channel in the second table, if it is not in the first.
    fn in_second(&self, channel: ChannelId) -> Option<ChannelId> {
        let first = u8::try_from(self.first.channels().len()).unwrap_or(u8::MAX);
        channel.0.checked_sub(first).map(ChannelId)
    }
}

impl<A: Sampler, B: Sampler> Sampler for Both<A, B> {
    fn channels(&self) -> Vec<Channel, CHANNELS_MAX> {
        self.first.channels().into_iter().chain(self.second.channels()).take(CHANNELS_MAX).collect()
    }

    fn period_ms(&self, channel: ChannelId) -> u32 {
        match self.in_second(channel) {
            None => self.first.period_ms(channel),
            Some(channel) => self.second.period_ms(channel),
        }
    }

    async fn sample(&mut self, channel: ChannelId) -> Option<Value> {
        match self.in_second(channel) {
            None => self.first.sample(channel).await,
            Some(channel) => self.second.sample(channel).await,
        }
    }

    fn poll_log(&mut self) -> Option<(LogLevel, String<LOG_BYTES_MAX>)> {
        self.first.poll_log().or_else(|| self.second.poll_log())
    }
}

#[cfg(test)]
mod tests;
