//! The thin shell: futures that connect the pure parts with flash, clock, sensors and a stream.
//!
//! Sampling and delivery run side by side; only the spool connects them, so a dead link never stops sampling, and a
//! power cut takes only the open batch. Invariants: a future that writes flash is awaited to its end; what may be
//! cancelled only reads.

mod opening;
mod outbox;
mod run;

pub use opening::Opening;

use crate::limits::LOGS_MAX;
use crate::link::LinkDown;
use crate::time::TimeKeeper;
use crate::{Clock, FlashError, Layout, Observer, OpenError, Sampler, Spool, serve};
use core::cell::{Cell, RefCell};
use embassy_sync::waitqueue::MultiWakerRegistration;
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, mutex::Mutex, signal::Signal};
use embedded_io_async::{Read, Write};
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::limits::{BATCH_ENTRIES_MAX, BODY_BYTES_MAX, CREDENTIALS_BYTES_MAX};
use headwater_telemetry::{Config, Credentials, DeviceId, Hello, Log, LogLevel, ResetReason, Uptime};
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
    /// How far this board can reach by itself: a configuration that asks for more is refused.
    pub reach: Reach,
}

/// What a board can do with a configuration; each can do what those before it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It has a byte stream to an agent and nothing else: neither network nor gateway are of use.
    Stream,
    /// It has a network that needs no joining (Ethernet): a gateway is of use.
    Network,
    /// It has a radio: all is of use.
    #[default]
    Radio,
}

impl Reach {
    fn covers(self, config: &Config) -> bool {
        match self {
            Self::Stream => config.network.is_none() && config.uplink.is_none(),
            Self::Network => config.network.is_none(),
            Self::Radio => true,
        }
    }
}

impl Settings {
    /// Full batches, or what there is after ten seconds. Starts are counted from one. Any configuration is taken.
    pub fn new(device: DeviceId, firmware: &'static str) -> Self {
        let reset = ResetReason::Unknown;
        let (batch_entries, batch_age_ms) = (BATCH_ENTRIES_MAX, 10_000);
        Self { device, firmware, reset, boots_from: 0, batch_entries, batch_age_ms, reach: Reach::Radio }
    }
}

/// Why [`Device::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// This boot has used all its 2^32 places: restart.
    LineEnd,
    /// There is no channel to read.
    NoChannels,
    /// Somebody asked for a new start. What was open is stored, if flash takes it within
    /// [`RESTART_TRIES`](crate::limits::RESTART_TRIES): reset the board.
    Restart,
}

/// A device that is on: its flash is open and this start is counted.
pub struct Device<F: NorFlash, O: Observer = ()> {
    spool: Mutex<NoopRawMutex, Spool<F>>,
    fresh: Signal<NoopRawMutex, ()>,
    time: Cell<TimeKeeper>,
    logs: RefCell<Deque<Log, LOGS_MAX>>,
    /// Links that wait for a log line: a network uplink and a service port are two tasks.
    readers: RefCell<MultiWakerRegistration<2>>,
    links: Cell<u32>,
    restart: Signal<NoopRawMutex, ()>,
    /// Sampling periods were ordered.
    ordered: Signal<NoopRawMutex, ()>,
    hello: Hello,
    settings: Settings,
    period_ms: Option<u32>,
    observer: O,
}

impl<F: NorFlash, O: Observer> Device<F, O> {
    /// Opens the flash and counts this start. A stored configuration overrides `settings`. A board with little memory
    /// takes the steps of this by itself, see [`Opening`].
    ///
    /// # Errors
    /// When the flash driver fails or the layout does not fit.
    pub async fn open(
        flash: F,
        layout: Layout,
        settings: Settings,
        sampler: &impl Sampler,
        observer: O,
    ) -> Result<Self, OpenError<F::Error>> {
        let mut opening = Opening::new(flash, layout, settings);
        opening.open().await?;
        Ok(opening.into_device(sampler, observer))
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
        self.readers.borrow_mut().wake();
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

    /// The stored credentials for TLS, in `out`; none when there are none. Holds a private key.
    ///
    /// # Errors
    /// When flash fails, or they were stored once and decayed: a device that had credentials must not go on without.
    pub async fn credentials<'b>(
        &self,
        out: &'b mut [u8; CREDENTIALS_BYTES_MAX],
    ) -> Result<Option<Credentials<'b>>, FlashError<F::Error>> {
        self.spool.lock().await.credentials(out).await
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
