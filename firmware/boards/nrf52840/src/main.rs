//! Headwater on the nRF52840: the chip's own sensors and those on its I2C pins, the serial link over USB or two pins.
//!
//! In: the chip. Out: a device that keeps its batches in flash. Invariant: whatever ends the program starts it anew, and
//! the next start says why. Not here: anything that a device does (`headwater-device`).
#![no_std]
#![no_main]

mod chip;
mod clock;
mod pins;
mod reset;
mod sensors;
#[cfg(not(feature = "usb"))]
mod uart;
#[cfg(feature = "usb")]
mod usb;

#[cfg(not(feature = "usb"))]
use uart as link;
#[cfg(feature = "usb")]
use usb as link;

use clock::BoardClock;
use core::cell::RefCell;
use core::fmt::Write;
use core::pin::pin;
use embassy_embedded_hal::adapter::BlockingAsync;
use embassy_executor::Spawner;
use embassy_futures::select::select4;
use embassy_nrf::Peri;
use embassy_nrf::config::{Config, HfclkSource, LfclkSource};
use embassy_nrf::gpio::Output;
use embassy_nrf::nvmc::Nvmc;
use embassy_nrf::pac::FICR;
use embassy_nrf::peripherals::{NVMC, WDT};
use embassy_nrf::rng::Rng;
use embassy_nrf::wdt::{self, HaltConfig, Watchdog, WatchdogHandle};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Timer;
use headwater_device::limits::ALIVE_MS;
use headwater_device::partition::NRF52840;
use headwater_device::{Apart, Clock, Device, Observer, Opening, Sampler, Settings};
use headwater_telemetry::{DeviceId, Uptime};
use pins::Parts;
use static_cell::StaticCell;

/// Milliseconds between two attempts to speak on a line that broke.
const RETRY_MS: u64 = 1_000;

/// Four times as long as sampling may be silent, in ticks of 32.768 kHz.
#[expect(clippy::cast_possible_truncation, reason = "a constant of some hundred thousands")]
const WATCHDOG_TICKS: u32 = (4 * ALIVE_MS * 32_768 / 1_000) as u32;

/// Flashes of the lamp that shows which device this is: five seconds, long enough to look up.
const FLASHES: usize = 10;
const FLASH_MS: u64 = 250;

// The program ends there: build.rs.
const _: () = assert!(NRF52840.layout.area.start == 0xd_4000);

/// What the device tells the board.
struct Board {
    watchdog: RefCell<WatchdogHandle>,
    wanted: Signal<NoopRawMutex, ()>,
}

impl Observer for Board {
    fn identify(&self) {
        self.wanted.signal(());
    }

    fn alive(&self) {
        self.watchdog.borrow_mut().pet();
    }
}

impl Board {
    /// Flashes the lamp whenever somebody wants to see it.
    async fn flash(&self, mut lamp: Output<'static>) {
        loop {
            self.wanted.wait().await;
            for _ in 0..2 * FLASHES {
                lamp.toggle();
                Timer::after_millis(FLASH_MS).await;
            }
        }
    }
}

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let reset = reset::take_reason();
    let mut config = Config::default();
    // USB takes its time from one crystal, uptime from the other: all boards in README.md have both.
    config.hfclk_source =
        if cfg!(feature = "usb") { HfclkSource::ExternalXtal } else { HfclkSource::Internal };
    config.lfclk_source = LfclkSource::ExternalXtal;
    let parts = Parts::new(embassy_nrf::init(config));
    let board = Board { watchdog: RefCell::new(watchdog(parts.watchdog)), wanted: Signal::new() };

    let name = name();
    let (mut rx, mut tx, runner) = link::open(parts.link, &name);
    let mut sampler = sensors::sampler(
        chip::Chip::new(parts.chip),
        #[cfg(feature = "i2c")]
        parts.bus,
    );
    let boots_from = Rng::new_blocking(parts.chance).blocking_next_u32();
    let firmware = concat!("nrf52840 ", env!("CARGO_PKG_VERSION"));
    let settings = Settings { reset, boots_from, ..Settings::new(name, firmware) };
    let device = Apart(pin!(open(parts.flash, settings, &sampler, board))).await;
    let clock = BoardClock;
    let serve = async {
        loop {
            link::ready(&mut rx).await;
            device.serve(&clock, &mut rx, &mut tx).await;
            clock.sleep_until(Uptime(clock.now().0 + RETRY_MS)).await;
        }
    };
    let run = Apart(pin!(device.run(&clock, &mut sampler)));
    select4(run, Apart(pin!(serve)), runner.run(), device.observer().flash(parts.lamp)).await;
    reset::requested()
}

type Flash = BlockingAsync<Nvmc<'static>>;

/// Opens the device where it stays.
async fn open(
    flash: Peri<'static, NVMC>,
    settings: Settings,
    sampler: &impl Sampler,
    board: Board,
) -> &'static Device<Flash, Board> {
    static DEVICE: StaticCell<Device<Flash, Board>> = StaticCell::new();
    let flash = BlockingAsync::new(Nvmc::new(flash));
    let mut opening = Opening::new(flash, NRF52840.layout.clone(), settings);
    let opened = Apart(pin!(opening.open())).await;
    match opened {
        Ok(()) => opening.device_in(DEVICE.uninit(), sampler, board),
        Err(_) => reset::panicked(),
    }
}

/// Starts the watchdog. One that runs since before a reset keeps running, with the same settings.
fn watchdog(wdt: Peri<'static, WDT>) -> WatchdogHandle {
    let mut config = wdt::Config::default();
    config.timeout_ticks = WATCHDOG_TICKS;
    config.action_during_debug_halt = HaltConfig::Pause;
    match Watchdog::try_new(wdt, config) {
        Ok((_, [handle])) => handle,
        // Another firmware's, with other settings: it will bite, and the start after that is ours.
        Err(_) => loop {
            cortex_m::asm::wfi();
        },
    }
}

/// The name of a device that was never given one: the chip's own number.
fn name() -> DeviceId {
    let mut name = heapless::String::<{ headwater_telemetry::limits::DEVICE_ID_BYTES_MAX }>::new();
    let [low, high] = [0, 1].map(|half| FICR.deviceid(half).read());
    let written = write!(name, "nrf-{high:08x}{low:08x}");
    debug_assert!(written.is_ok(), "20 bytes");
    DeviceId::parse(&name).expect("letters, digits and a dash are the name of a device")
}
