//! The sampling loop: what is due is read, what is full is stored, and whoever watches is told that it goes on.
//!
//! In: the clock, the sensors, orders. Out: batches in flash. Invariants: no order and no link stops it for longer than a
//! write takes; [`Observer::alive`] comes only after a round that did what was due, so it stays away when a sensor or flash
//! hangs. Not here: links (`outbox`).

use super::{Device, Stopped};
use crate::batcher::{Batcher, Taken};
use crate::limits::{ALIVE_MS, RESTART_DELAY_MS, RESTART_TRIES, STORE_RETRY_MS};
use crate::schedule::Schedule;
use crate::{Clock, Observer, Sampler};
use embassy_futures::select::{Either3, select3};
use embassy_futures::yield_now;
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::BATCH_ENTRIES_MAX;
use headwater_telemetry::{ChannelId, LogLevel, Uptime};

impl<F: NorFlash, O: Observer> Device<F, O> {
    /// Samples and stores; returns only when it cannot go on, or is not to. The power may be cut at any time; where it is
    /// dropped for another reason, do so only while it sleeps.
    ///
    /// A channel is read by the period that was ordered for it, else by that of the stored configuration, else by its
    /// own ([`Sampler::period_ms`]); an order holds at once.
    pub async fn run(&self, clock: &impl Clock, sampler: &mut impl Sampler) -> Stopped {
        let mut schedule = Schedule::new(clock.now(), self.channels().map(|_| 0));
        self.reschedule(&mut schedule, clock, sampler).await;
        let (entries, age_ms) =
            (self.settings.batch_entries.clamp(1, BATCH_ENTRIES_MAX), self.settings.batch_age_ms);
        let mut batcher = Batcher::new(self.hello.boot, self.hello.schema, entries, age_ms.into());
        loop {
            let Some(next) = schedule.poll_timeout() else { return Stopped::NoChannels };
            let alive = Uptime(clock.now().0.saturating_add(ALIVE_MS));
            let next = batcher.poll_timeout().map_or(next, |due| due.min(next)).min(alive);
            // Orders first: with sensors slower than their periods it is always time for the next round.
            match select3(self.restart.wait(), self.ordered.wait(), clock.sleep_until(next)).await {
                Either3::First(()) => {
                    self.close(&mut batcher, clock).await;
                    clock.sleep_until(Uptime(clock.now().0.saturating_add(RESTART_DELAY_MS))).await;
                    return Stopped::Restart;
                }
                Either3::Second(()) => self.reschedule(&mut schedule, clock, sampler).await,
                Either3::Third(()) => {}
            }
            // One round, then the links have a turn as well.
            for _ in self.channels() {
                let Some(channel) = schedule.poll(clock.now()) else { break };
                self.store_due(&mut batcher, clock).await;
                if self.sample(&mut batcher, clock, sampler, channel).await == Some(Taken::LineEnd) {
                    self.close(&mut batcher, clock).await;
                    return Stopped::LineEnd;
                }
                self.observer.alive();
            }
            self.store_due(&mut batcher, clock).await;
            self.observer.alive();
            yield_now().await;
        }
    }

    fn channels(&self) -> impl Iterator<Item = ChannelId> + use<F, O> {
        let count = u8::try_from(self.hello.channels.len()).expect("CHANNELS_MAX fits a channel id");
        (0..count).map(ChannelId)
    }

    async fn reschedule(&self, schedule: &mut Schedule, clock: &impl Clock, sampler: &impl Sampler) {
        let spool = self.spool.lock().await;
        for channel in self.channels() {
            let ordered = spool.orders().period_ms(self.hello.schema, channel);
            let period_ms = ordered.or(self.period_ms).unwrap_or_else(|| sampler.period_ms(channel));
            schedule.set_period(channel, clock.now(), period_ms);
        }
    }

    async fn sample(
        &self,
        batcher: &mut Batcher,
        clock: &impl Clock,
        sampler: &mut impl Sampler,
        channel: ChannelId,
    ) -> Option<Taken> {
        let value = sampler.sample(channel).await;
        if let Some((level, text)) = sampler.poll_log() {
            self.log(clock.now(), level, &text);
        }
        let taken = batcher.handle_reading(clock.now(), channel, value?);
        match taken {
            Taken::At(seq) => self.observer.sampled(self.hello.boot, seq),
            Taken::Lost => self.observer.refused(self.hello.boot),
            Taken::LineEnd => {}
        }
        Some(taken)
    }

    /// Stores what is open before the loop ends; what flash refuses [`RESTART_TRIES`] times goes as with the power.
    async fn close(&self, batcher: &mut Batcher, clock: &impl Clock) {
        for tried in 1..=RESTART_TRIES {
            self.store(batcher, clock).await;
            if !batcher.handle_closing() {
                break;
            }
            if batcher.is_refused() && tried < RESTART_TRIES {
                clock.sleep_until(Uptime(clock.now().0.saturating_add(STORE_RETRY_MS))).await;
            }
        }
        self.save().await;
    }

    async fn store_due(&self, batcher: &mut Batcher, clock: &impl Clock) {
        if batcher.is_due(clock.now()) {
            self.store(batcher, clock).await;
        }
    }

    async fn store(&self, batcher: &mut Batcher, clock: &impl Clock) {
        let mut spool = self.spool.lock().await;
        // Asked for under the lock: once a mark of the time is written, no batch without its time follows.
        let (now, time) = (clock.now(), self.time.get());
        let refused = batcher.is_refused();
        let Some(batch) = batcher.batch(|base| time.utc(base, now)) else { return };
        let lost = spool.lost().entries;
        match spool.push(batch).await {
            Ok(()) => {
                self.observer.stored(batch);
                self.fresh.signal(());
                batcher.handle_stored();
            }
            Err(_) => {
                batcher.handle_store_failed(now);
                if !refused {
                    self.log(now, LogLevel::Error, "flash refused a batch");
                }
            }
        }
        let more = spool.lost().entries - lost;
        if more > 0 {
            self.observer.lost(more);
        }
    }
}
