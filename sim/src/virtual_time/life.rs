//! The life of one device in virtual time: boots, power cuts, a cable that is pulled.
//!
//! In: a seed, faults, the phase of the world. Out: bytes on its line, and the truth about what it took and stored.
//! Invariant: between two boots only the flash chip remains. Not here: what a device does while it is on (the device core).

use super::limits::{AGAIN_US, DRAIN_LOOK_US, OFF_US_MAX, OUT_LONG_US, OUT_US, RESTART_US};
use super::power::{Bell, Flash, SkewedClock};
use super::truth::Watcher;
use super::wire::End;
use super::world::World;
use crate::Faults;
use crate::device::{CHANNELS, value};
use embassy_futures::select::{Either3, select3};
use headwater_device::testing::{FlashModel, Rng};
use headwater_device::{Clock, Device, Layout, Sampler, Settings, Stopped};
use headwater_telemetry::limits::CHANNELS_MAX;
use headwater_telemetry::{BootId, Channel, ChannelId, DeviceId, ResetReason, Uptime, Value, heapless};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

const AREA_PAGES: u32 = 2;
/// A planned cut lies within so many bytes written: some minutes, at one reading a second.
const CUT_WITHIN_BYTES: u64 = 6_000;
const HOUR_US: f64 = 3_600e6;

/// What is done with a world at the moment. When it changes, every task is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Rough,
    /// Nothing goes wrong any more, and nothing is sampled.
    Calm,
}

/// One device, but for its chip.
pub(super) struct Life {
    pub(super) world: Rc<World>,
    pub(super) phase: Rc<Cell<Phase>>,
    pub(super) watcher: Watcher,
    pub(super) end: End,
    pub(super) id: DeviceId,
    pub(super) seed: u64,
    pub(super) period_ms: u32,
    pub(super) faults: Faults,
}

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    /// Mean time between two power cuts; 0 is never.
    reboot_us: u64,
    /// Mean time between two pulls of the cable; 0 is never.
    pull_us: u64,
}

impl Rates {
    fn of(faults: Faults) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a hundred years fit")]
        let us = |us: f64| us.clamp(0.0, 3e15) as u64;
        let out_us = (3 * OUT_US + OUT_LONG_US) / 4;
        let rate = |per_hour: f64| if per_hour > 0.0 { us(HOUR_US / per_hour) } else { 0 };
        let share = faults.offline;
        let pull_us = if share > 0.0 { us(out_us as f64 * (1.0 - share) / share) } else { 0 };
        Self { reboot_us: rate(faults.reboots_per_hour), pull_us }
    }
}

/// Lives for ever, on a chip with pages of `PAGE` bytes and words of `WORD`.
pub(super) async fn live<const PAGE: usize, const WORD: usize>(life: Life, ring_pages: u32) {
    let mut rng = Rng::new(life.seed);
    let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
    let pages = AREA_PAGES + ring_pages;
    let layout = Layout::without_vault(0..AREA_PAGES * page, AREA_PAGES * page..pages * page);
    let chip = Rc::new(RefCell::new(FlashModel::<PAGE, WORD>::erased(pages as usize, life.seed)));
    let rates = Rates::of(life.faults);
    let ppm = life.watcher.truth.borrow().ppm;
    let boots_from = u32::try_from(rng.next_u64() >> 33).unwrap_or(0);
    let mut reset = ResetReason::Power;
    // A fleet that was switched on together must not stay in step.
    life.world.sleep(rng.below(5_000_000)).await;
    loop {
        life.watcher.started();
        chip.borrow_mut().power_up();
        let is_rough = life.phase.get() == Phase::Rough && rates.reboot_us > 0;
        if is_rough && rng.chance(3) {
            chip.borrow_mut().cut_after(rng.below(CUT_WITHIN_BYTES));
        }
        let dead = Rc::new(Bell::new());
        let flash = Flash { chip: chip.clone(), dead: dead.clone() };
        let settings = Settings {
            reset,
            boots_from,
            ..Settings::new(life.id.clone(), concat!("sim ", env!("CARGO_PKG_VERSION")))
        };
        let off = power_goes(&life, if is_rough { rng.below(2 * rates.reboot_us) } else { u64::MAX });
        let on = life.boot(flash, layout.clone(), settings, ppm);
        reset = match select3(on, dead.wait(), off).await {
            Either3::First(()) => ResetReason::Requested,
            Either3::Second(()) => {
                life.watcher.truth.borrow_mut().cuts_in_write += 1;
                ResetReason::BrownOut
            }
            Either3::Third(()) => ResetReason::BrownOut,
        };
        life.end.clear();
        if reset == ResetReason::Requested {
            life.world.sleep(RESTART_US).await;
            continue;
        }
        life.world.sleep(1_000_000 + rng.below(OFF_US_MAX - 1_000_000)).await;
    }
}

/// Returns when the power goes, which it never does in a calm world.
async fn power_goes(life: &Life, after_us: u64) {
    life.world.sleep(after_us).await;
    if life.phase.get() == Phase::Calm {
        std::future::pending::<()>().await;
    }
}

impl Life {
    /// What happens while the power is on. Returns when somebody asked for a restart.
    async fn boot<const PAGE: usize, const WORD: usize>(
        &self,
        flash: Flash<PAGE, WORD>,
        layout: Layout,
        settings: Settings,
        ppm: i64,
    ) {
        let boot = Cell::new(0);
        let sensors = Sensors { life: self, boot: &boot };
        let opened = Device::open(flash, layout, settings, &sensors, self.watcher.clone()).await;
        let device = match opened {
            Ok(device) => device,
            Err(error) => {
                // The check finds what this device still holds.
                tracing::error!(device = %self.id, %error, "virtual device does not start");
                return std::future::pending().await;
            }
        };
        boot.set(device.hello().boot.0);
        self.watcher.opened(device.hello());
        let clock = SkewedClock::start(self.world.clone(), ppm);
        let link = async {
            let (mut rx, mut tx) = (self.end.clone(), self.end.clone());
            loop {
                device.serve(&clock, &mut rx, &mut tx).await;
                clock.sleep_until(Uptime(clock.now().0 + AGAIN_US / 1_000)).await;
            }
        };
        let drained = async {
            // Not by the clock: every look at it is a look at the whole device, and there are many.
            poll_fn(|_| if self.phase.get() == Phase::Calm { Poll::Ready(()) } else { Poll::Pending }).await;
            loop {
                self.world.sleep(DRAIN_LOOK_US).await;
                if !self.watcher.truth.borrow().is_drained {
                    let is_drained = self.watcher.truth.borrow().all_stored(boot.get())
                        && device.is_empty().await == Ok(true);
                    self.watcher.truth.borrow_mut().is_drained = is_drained;
                }
            }
        };
        let mut sensors = Sensors { life: self, boot: &boot };
        match select3(device.run(&clock, &mut sensors), link, drained).await {
            Either3::First(Stopped::Restart) => {}
            // Sampling has stopped for want of places.
            _ => std::future::pending::<()>().await,
        }
    }
}

/// The sensors, with values that can be told again.
struct Sensors<'a> {
    life: &'a Life,
    boot: &'a Cell<u32>,
}

impl Sampler for Sensors<'_> {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        let describe = |&(name, unit, kind, exponent, _): &crate::device::Description| {
            Channel::new(name, unit, kind, exponent).expect("the table fits the limits")
        };
        CHANNELS.iter().map(describe).collect()
    }

    fn period_ms(&self, channel: ChannelId) -> u32 {
        let turns = CHANNELS.get(usize::from(channel.0)).map_or(1, |channel| channel.4);
        self.life.period_ms.saturating_mul(turns)
    }

    async fn sample(&mut self, channel: ChannelId) -> Option<Value> {
        let boot = self.boot.get();
        let is_on = self.life.phase.get() == Phase::Rough;
        is_on.then(|| value(self.life.seed, BootId(boot), self.life.watcher.next(boot), channel))
    }
}

/// Pulls the cable of a line now and then. Ends with the rough phase.
pub(super) async fn cable(world: Rc<World>, phase: Rc<Cell<Phase>>, end: End, faults: Faults, seed: u64) {
    let (mut rng, rates) = (Rng::new(seed), Rates::of(faults));
    if rates.pull_us == 0 {
        return;
    }
    loop {
        world.sleep(rng.below(2 * rates.pull_us)).await;
        if phase.get() == Phase::Calm {
            return;
        }
        end.plug(false);
        let mean_us = if rng.chance(4) { OUT_LONG_US } else { OUT_US };
        world.sleep(rng.below(2 * mean_us)).await;
        end.plug(true);
    }
}
