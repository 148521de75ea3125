//! The thin shell: futures that connect the pure parts with flash, clock, sensors and a stream.
//!
//! Sampling and delivery run side by side; only the spool connects them, so a dead link never stops sampling, and a
//! power cut takes only the open batch. Invariants: a future that writes flash is awaited to its end; what may be
//! cancelled only reads.

use crate::batcher::{Batcher, Taken};
use crate::limits::{ALIVE_MS, BATCH_AGE_MS_MAX, LOGS_MAX, PERIOD_MS_MIN, RESTART_DELAY_MS};
use crate::link::LinkDown;
use crate::schedule::Schedule;
use crate::time::TimeKeeper;
use crate::{Clock, Cursor, Found, Item, Layout, Observer, OpenError, Outbox, Sampler, Spool, serve};
use core::cell::{Cell, RefCell};
use embassy_futures::select::{Either, select};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, mutex::Mutex, signal::Signal};
use embedded_io_async::{Read, Write};
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::{BATCH_ENTRIES_MAX, BODY_BYTES_MAX, CREDENTIALS_BYTES_MAX};
use headwater_telemetry::{
    Command, CommandOutcome, Config, ConfigOutcome, Credentials, DeviceId, Hello, Log, LogLevel, Order,
    ResetReason, Uptime, UtcTime,
};
use heapless::Deque;

/// What the firmware is and does unless a stored configuration says otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of a device that was never given one.
    pub device: DeviceId,
    /// Name and version of the firmware, at most 24 bytes.
    pub firmware: &'static str,
    /// Why this start happened.
    pub reset: ResetReason,
    /// Where the counting of starts begins on a chip that was never used, or was erased: a random number where the board
    /// has one, the lower 31 bits of it. Entries are known by device, boot and place; a device that is erased and counts
    /// from the same number again gives new entries old names, and a receiver that knows those takes them for repeats.
    pub boots_from: u32,
    /// Entries after which a batch is closed, 1 to [`BATCH_ENTRIES_MAX`].
    pub batch_entries: usize,
    /// Milliseconds after which a batch is closed: what a power cut takes at the most.
    pub batch_age_ms: u32,
}

impl Settings {
    /// Full batches, or what there is after ten seconds. Starts are counted from one.
    pub fn new(device: DeviceId, firmware: &'static str) -> Self {
        let reset = ResetReason::Unknown;
        let (batch_entries, batch_age_ms) = (BATCH_ENTRIES_MAX, 10_000);
        Self { device, firmware, reset, boots_from: 0, batch_entries, batch_age_ms }
    }
}

/// Why [`Device::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// This boot has used all its 2^32 places: restart.
    LineEnd,
    /// There is no channel to read.
    NoChannels,
    /// Somebody asked for a new start; everything is stored.
    Restart,
}

/// A device that is on: its flash is open and this start is counted.
pub struct Device<F: NorFlash, O: Observer = ()> {
    spool: Mutex<NoopRawMutex, Spool<F>>,
    fresh: Signal<NoopRawMutex, ()>,
    time: Cell<TimeKeeper>,
    logs: RefCell<Deque<Log, LOGS_MAX>>,
    links: Cell<u32>,
    restart: Signal<NoopRawMutex, ()>,
    hello: Hello,
    settings: Settings,
    period_ms: Option<u32>,
    observer: O,
}

impl<F: NorFlash, O: Observer> Device<F, O> {
    /// Opens the flash and counts this start. A stored configuration overrides `settings`.
    ///
    /// # Errors
    /// When the flash driver fails or the layout does not fit.
    pub async fn open(
        flash: F,
        layout: Layout,
        mut settings: Settings,
        sampler: &impl Sampler,
        observer: O,
    ) -> Result<Self, OpenError<F::Error>> {
        let (mut spool, boot, found) = Spool::open_counting_from(flash, layout, settings.boots_from).await?;
        let mut period_ms = None;
        if let Some(config) = spool.config().await.map_err(OpenError::Driver)? {
            settings.device = config.device;
            period_ms = (config.period_ms > 0).then_some(config.period_ms);
            if config.batch_age_ms > 0 {
                settings.batch_age_ms = config.batch_age_ms;
            }
        }
        let hello =
            Hello::new(settings.device.clone(), boot, settings.firmware, settings.reset, sampler.channels());
        let device = Self {
            spool: Mutex::new(spool),
            fresh: Signal::new(),
            time: Cell::new(TimeKeeper::default()),
            logs: RefCell::new(Deque::new()),
            links: Cell::new(0),
            restart: Signal::new(),
            hello,
            settings,
            period_ms,
            observer,
        };
        device.report(found);
        Ok(device)
    }

    fn report(&self, found: Found) {
        if found.area_formatted {
            self.log(Uptime(0), LogLevel::Error, "settings area was damaged or foreign and is formatted");
        }
        if found.ring_formatted {
            self.log(Uptime(0), LogLevel::Error, "ring was damaged or foreign and is formatted");
        }
        if found.torn {
            self.log(Uptime(0), LogLevel::Info, "power went during a flash write; the rest is whole");
        }
    }

    /// Who this is.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The observer given at the start.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// A line for people, sent when a link is up. The oldest goes when there are too many.
    pub fn log(&self, at: Uptime, level: LogLevel, text: &str) {
        let mut logs = self.logs.borrow_mut();
        if logs.is_full() {
            logs.pop_front();
        }
        let pushed = logs.push_back(Log::new(self.hello.boot, at, level, text));
        debug_assert!(pushed.is_ok(), "room was made above");
    }

    /// Samples and stores; returns only when it cannot go on. The power may be cut at any time; where it is dropped
    /// for another reason, do so only while it sleeps.
    pub async fn run(&self, clock: &impl Clock, sampler: &mut impl Sampler) -> Stopped {
        let periods =
            (0..self.hello.channels.len()).filter_map(|index| u8::try_from(index).ok()).map(|index| {
                self.period_ms.unwrap_or_else(|| sampler.period_ms(headwater_telemetry::ChannelId(index)))
            });
        let mut schedule = Schedule::new(clock.now(), periods);
        let (entries, age_ms) =
            (self.settings.batch_entries.clamp(1, BATCH_ENTRIES_MAX), self.settings.batch_age_ms);
        let mut batcher = Batcher::new(self.hello.boot, self.hello.schema, entries, age_ms.into());
        loop {
            let Some(next) = schedule.poll_timeout() else { return Stopped::NoChannels };
            let alive = Uptime(clock.now().0.saturating_add(ALIVE_MS));
            let next = batcher.poll_timeout().map_or(next, |due| due.min(next)).min(alive);
            if let Either::Second(()) = select(clock.sleep_until(next), self.restart.wait()).await {
                self.store(&mut batcher, clock).await;
                self.save().await;
                clock.sleep_until(Uptime(clock.now().0.saturating_add(RESTART_DELAY_MS))).await;
                return Stopped::Restart;
            }
            while let Some(channel) = schedule.poll(clock.now()) {
                self.store_due(&mut batcher, clock).await;
                let value = sampler.sample(channel).await;
                if let Some((level, text)) = sampler.poll_log() {
                    self.log(clock.now(), level, &text);
                }
                let Some(value) = value else { continue };
                match batcher.handle_reading(clock.now(), channel, value) {
                    Taken::At(seq) => self.observer.sampled(self.hello.boot, seq),
                    Taken::Lost => self.observer.refused(self.hello.boot),
                    Taken::LineEnd => return Stopped::LineEnd,
                }
            }
            self.store_due(&mut batcher, clock).await;
            self.observer.alive();
        }
    }

    async fn store_due(&self, batcher: &mut Batcher, clock: &impl Clock) {
        if batcher.is_due(clock.now()) {
            self.store(batcher, clock).await;
        }
    }

    async fn store(&self, batcher: &mut Batcher, clock: &impl Clock) {
        let now = clock.now();
        let time = self.time.get();
        let Some(batch) = batcher.batch(|base| time.utc(base, now)) else { return };
        let mut spool = self.spool.lock().await;
        let lost = spool.lost().entries;
        match spool.push(batch).await {
            Ok(()) => {
                self.observer.stored(batch);
                self.fresh.signal(());
                batcher.handle_stored();
            }
            Err(_) => {
                batcher.handle_store_failed(now);
                self.log(now, LogLevel::Error, "flash refused a batch");
            }
        }
        let more = spool.lost().entries - lost;
        if more > 0 {
            self.observer.lost(more);
        }
    }

    /// Whether everything in flash is delivered. The open batch is not in flash.
    ///
    /// # Errors
    /// When flash fails.
    pub async fn is_empty(&self) -> Result<bool, F::Error> {
        let mut spool = self.spool.lock().await;
        let from = spool.read();
        let mut body = [0u8; BODY_BYTES_MAX];
        Ok(spool.next(from, self.hello.schema, &mut body).await?.is_none())
    }

    /// The stored configuration: where a networked device finds its network and gateway. Holds secrets.
    ///
    /// # Errors
    /// When flash fails.
    pub async fn config(&self) -> Result<Option<Config>, F::Error> {
        self.spool.lock().await.config().await
    }

    /// The stored credentials for TLS, in `out`; none when there are none, or not all of them.
    ///
    /// # Errors
    /// When flash fails.
    pub async fn credentials<'b>(
        &self,
        out: &'b mut [u8; CREDENTIALS_BYTES_MAX],
    ) -> Result<Option<Credentials<'b>>, F::Error> {
        let _ = out;
        Ok(None)
    }

    /// Writes down what is delivered, before a planned restart. Not to be cancelled.
    pub async fn save(&self) {
        let _ = self.spool.lock().await.save().await;
    }

    /// Speaks the link protocol on a stream until it breaks. Connecting again, after a while, is the caller's.
    pub async fn serve(&self, clock: &impl Clock, rx: &mut impl Read, tx: &mut impl Write) -> LinkDown {
        serve(self, clock, rx, tx).await
    }
}

impl<F: NorFlash, O: Observer> Outbox for Device<F, O> {
    fn hello(&self) -> &Hello {
        &self.hello
    }

    fn connection(&self) -> u32 {
        self.links.set(self.links.get().wrapping_add(1));
        self.hello.boot.0.wrapping_mul(0x9e37_79b9).wrapping_add(self.links.get() << 8)
    }

    async fn undelivered(&self) -> Cursor {
        self.spool.lock().await.read()
    }

    async fn next(&self, from: Cursor, out: &mut [u8; BODY_BYTES_MAX]) -> Item {
        loop {
            // A read error is not an end: the next batch, or the next connection, tries again.
            if let Ok(Some(item)) = self.spool.lock().await.next(from, self.hello.schema, out).await {
                return item;
            }
            self.fresh.wait().await;
        }
    }

    async fn delivered(&self, item: Item) {
        // When flash refuses the mark, the delivery still counts, and the next mark covers it.
        let _ = self.spool.lock().await.delivered(item.after).await;
        self.observer.delivered(&item);
    }

    fn poll_log(&self) -> Option<Log> {
        self.logs.borrow_mut().pop_front()
    }

    async fn learned_time(&self, asked: Uptime, heard: Uptime, utc: UtcTime) {
        let mut time = self.time.get();
        time.handle_answer(asked, heard, utc);
        self.time.set(time);
    }

    async fn configure(&self, config: &Config) -> ConfigOutcome {
        let period_fits = config.period_ms == 0 || config.period_ms >= PERIOD_MS_MIN;
        if !period_fits || config.batch_age_ms > BATCH_AGE_MS_MAX {
            return ConfigOutcome::Refused;
        }
        match self.spool.lock().await.store_config(config).await {
            Ok(()) => ConfigOutcome::Stored,
            Err(_) => ConfigOutcome::FlashFailed,
        }
    }

    async fn perform(&self, command: &Command) -> CommandOutcome {
        match &command.order {
            Order::Identify => {
                self.observer.identify();
                CommandOutcome::Done
            }
            Order::Reboot => {
                self.restart.signal(());
                CommandOutcome::Done
            }
            Order::Provision(config) => match self.configure(config).await {
                ConfigOutcome::Stored => CommandOutcome::Done,
                ConfigOutcome::Refused => CommandOutcome::Refused,
                ConfigOutcome::FlashFailed => CommandOutcome::FlashFailed,
            },
            Order::Period { .. } | Order::Credentials(_) => CommandOutcome::Refused,
        }
    }

    fn identify(&self) {
        self.observer.identify();
    }
}
