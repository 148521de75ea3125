//! A device between its flash and its sensors.
//!
//! A device is 2 KB. Where 16 KB are all there is, nothing of that size may lie under the calls that open the flash: an `Opening` stays
//! where it is while that happens, and the device is made in its own place afterwards.

use super::{Device, Settings};
use crate::limits::{BATCH_AGE_MS_MAX, LOGS_MAX};
use crate::time::TimeKeeper;
use crate::{Apart, Found, Layout, Observer, OpenError, Sampler, Spool};
use core::cell::{Cell, RefCell};
use core::mem::MaybeUninit;
use core::pin::pin;
use embassy_sync::{mutex::Mutex, signal::Signal, waitqueue::MultiWakerRegistration};
use embedded_storage_async::nor_flash::NorFlash;
use headwater_telemetry::{BootId, Hello, LogLevel, Uptime};
use heapless::Deque;

/// A start: flash to be opened, then flash that is open.
#[expect(missing_debug_implementations, reason = "flash drivers have none")]
pub struct Opening<F> {
    flash: Option<(F, Layout)>,
    opened: Option<Opened<F>>,
    settings: Settings,
}

struct Opened<F> {
    spool: Spool<F>,
    boot: BootId,
    found: Found,
    period_ms: Option<u32>,
    /// The board can do what the stored configuration asks for.
    is_covered: bool,
}

impl<F: NorFlash> Opening<F> {
    /// Nothing is opened yet.
    pub fn new(flash: F, layout: Layout, settings: Settings) -> Self {
        Self { flash: Some((flash, layout)), opened: None, settings }
    }

    /// Opens the flash and counts this start. A stored configuration overrides the settings. Once.
    ///
    /// # Errors
    /// When the flash driver fails or the layout does not fit.
    ///
    /// # Panics
    /// When called again.
    pub async fn open(&mut self) -> Result<(), OpenError<F::Error>> {
        let (flash, layout) = self.flash.take().expect("a start is opened once");
        let opening = pin!(Spool::open_counting_from(flash, layout, self.settings.boots_from));
        let (spool, boot, found) = Apart(opening).await?;
        let opened = Opened { spool, boot, found, period_ms: None, is_covered: true };
        let opened = self.opened.insert(opened);
        if let Some(config) = Apart(pin!(opened.spool.brief())).await.map_err(OpenError::Driver)? {
            opened.is_covered = self.settings.reach >= config.reach;
            opened.period_ms = (config.period_ms > 0).then_some(config.period_ms);
            self.settings.device = config.device;
            if config.batch_age_ms > 0 {
                // A host that made an image may not have known the limit.
                self.settings.batch_age_ms = config.batch_age_ms.min(BATCH_AGE_MS_MAX);
            }
        }
        Ok(())
    }

    /// The device, in the place where it stays (`StaticCell::uninit` gives one). Once, after [`Opening::open`].
    ///
    /// # Panics
    /// When nothing is open.
    // In a frame of its own, that is gone before anything deep is called; as part of a future it would be under all of that.
    #[inline(never)]
    pub fn device_in<O: Observer>(
        &mut self,
        place: &'static mut MaybeUninit<Device<F, O>>,
        sampler: &impl Sampler,
        observer: O,
    ) -> &'static Device<F, O> {
        let (found, is_covered) = self.found();
        let device = &*place.write(self.device(sampler, observer));
        report(device, found, is_covered);
        device
    }

    pub(super) fn into_device<O: Observer>(mut self, sampler: &impl Sampler, observer: O) -> Device<F, O> {
        let (found, is_covered) = self.found();
        let device = self.device(sampler, observer);
        report(&device, found, is_covered);
        device
    }

    fn found(&self) -> (Found, bool) {
        let opened = self.opened.as_ref().expect("the flash is open");
        (opened.found, opened.is_covered)
    }

    #[inline(always)]
    fn device<O: Observer>(&mut self, sampler: &impl Sampler, observer: O) -> Device<F, O> {
        let opened = self.opened.take().expect("the flash is open");
        let settings = &self.settings;
        let name = settings.device.clone();
        Device {
            hello: Hello::new(name, opened.boot, settings.firmware, settings.reset, sampler.channels()),
            spool: Mutex::new(opened.spool),
            fresh: Signal::new(),
            time: Cell::new(TimeKeeper::default()),
            logs: RefCell::new(Deque::<_, LOGS_MAX>::new()),
            readers: RefCell::new(MultiWakerRegistration::new()),
            links: Cell::new(0),
            restart: Signal::new(),
            ordered: Signal::new(),
            settings: settings.clone(),
            period_ms: opened.period_ms,
            observer,
        }
    }
}

/// What people should know of this start.
#[inline(never)]
fn report<F: NorFlash, O: Observer>(device: &Device<F, O>, found: Found, is_covered: bool) {
    let spool = device.spool.try_lock();
    let is_foreign = spool.is_ok_and(|spool| spool.orders().is_foreign(device.hello.schema));
    let lines = [
        (is_foreign, LogLevel::Warn, "sampling periods were ordered for other channels, hold not"),
        (found.area_worn, LogLevel::Error, "settings area is worn out: it stores nothing any more"),
        (found.vault_damaged, LogLevel::Error, "credentials are damaged: store them anew"),
        (found.vault_formatted, LogLevel::Error, "vault was damaged or foreign and is formatted"),
        (found.area_formatted, LogLevel::Error, "settings area was damaged or foreign and is formatted"),
        (found.ring_formatted, LogLevel::Error, "ring was damaged or foreign and is formatted"),
        (found.torn, LogLevel::Info, "power went during a flash write; the rest is whole"),
        // A chip that had other firmware before, or an image for another board: name and periods hold.
        (!is_covered, LogLevel::Warn, "configuration asks for a network that this board lacks"),
    ];
    for (_, level, text) in lines.into_iter().filter(|(is_so, ..)| *is_so) {
        device.log(Uptime(0), level, text);
    }
}
