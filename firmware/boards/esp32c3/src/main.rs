//! Headwater on the ESP32-C3: the chip's own thermometer and sensors on its I2C pins; data over Wi-Fi and MQTT where the
//! configuration says so, else over the serial port.
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
#[cfg(feature = "wifi")]
mod uplink;
#[cfg(feature = "usb")]
mod usb;
#[cfg(feature = "wifi")]
mod wifi;

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
#[cfg(feature = "wifi")]
use embassy_futures::select::select;
use embassy_futures::select::select4;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Timer;
use esp_hal::clock::CpuClock;
use esp_hal::gpio::Output;
use esp_hal::peripherals::{ADC1, FLASH, RNG, RTC_TIMER};
use esp_hal::rng::{Trng, TrngSource};
use esp_hal::rtc_cntl::{Rtc, RwdtStage};
use esp_hal::timer::timg::TimerGroup;
use esp_storage::FlashStorage;
use headwater_device::limits::ALIVE_MS;
use headwater_device::partition::ESP32C3;
use headwater_device::{Apart, Clock, Device, Observer, Opening, Sampler, Settings, WithoutData};
use headwater_telemetry::{Config, DeviceId, LogLevel, Network, Uplink, Uptime};
use pins::Parts;
use static_cell::StaticCell;

esp_bootloader_esp_idf::esp_app_desc!();

/// Milliseconds between two attempts to speak on a line that broke.
const RETRY_MS: u64 = 1_000;

/// Flashes of the lamp that shows which device this is: five seconds, long enough to look up.
const FLASHES: usize = 10;
const FLASH_MS: u64 = 250;

const fn hex(text: &str) -> u32 {
    match u32::from_str_radix(text, 16) {
        Ok(number) => number,
        Err(_) => panic!("partitions.csv has numbers"),
    }
}
// The partition table gives nothing else these pages: build.rs.
const _: () = assert!(ESP32C3.layout.area.start == hex(env!("DATA_OFFSET")));
const _: () = assert!(ESP32C3.layout.ring.end == hex(env!("DATA_OFFSET")) + hex(env!("DATA_SIZE")));

/// What the device tells the board.
struct Board {
    watchdog: RefCell<Rtc<'static>>,
    wanted: Signal<NoopRawMutex, ()>,
}

impl Observer for Board {
    fn identify(&self) {
        self.wanted.signal(());
    }

    fn alive(&self) {
        self.watchdog.borrow_mut().rwdt.feed();
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

#[esp_rtos::main]
async fn main(_spawner: Spawner) {
    let reset = reset::take_reason();
    // At 160 MHz: the handshake of TLS takes half as long as at 80, and the processor sleeps when it is done.
    let parts = Parts::new(esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max())));
    let board = Board { watchdog: RefCell::new(watchdog(parts.watchdog)), wanted: Signal::new() };
    #[cfg(feature = "wifi")]
    wifi::give_heap();
    esp_rtos::start(TimerGroup::new(parts.scheduler.0).timer0, parts.scheduler.1);

    // Before the thermometer is on: it has the converter's clock in common with the noise, which switches it off again.
    let boots_from = chance(parts.chance);
    let (mut rx, mut tx) = link::open(parts.link);
    let mut sampler = sensors::sampler(
        chip::Chip::new(parts.thermometer),
        #[cfg(feature = "i2c")]
        parts.bus,
    );
    let firmware = concat!("esp32c3 ", env!("CARGO_PKG_VERSION"));
    let settings = Settings { reset, boots_from, ..Settings::new(name(), firmware) };
    let device = Apart(pin!(open(parts.flash, settings, &sampler, board))).await;
    let clock = BoardClock;
    let goal = goal(device).await;
    #[cfg(feature = "wifi")]
    let radio = goal.as_ref().and_then(|(network, _)| wifi::open(device, parts.radio, network));
    #[cfg(feature = "wifi")]
    let networked = radio.is_some();
    #[cfg(not(feature = "wifi"))]
    let networked = goal.is_some();
    let serve = async {
        loop {
            if networked {
                headwater_device::serve(&WithoutData(device), &clock, &mut rx, &mut tx).await;
            } else {
                device.serve(&clock, &mut rx, &mut tx).await;
            }
            clock.sleep_until(Uptime(clock.now().0 + RETRY_MS)).await;
        }
    };
    let network = async {
        #[cfg(feature = "wifi")]
        if let (Some(radio), Some((_, gateway))) = (radio, &goal) {
            select(wifi::keep_joined(device, radio), uplink::run(device, gateway)).await;
        }
        core::future::pending::<()>().await;
    };
    let run = Apart(pin!(device.run(&clock, &mut sampler)));
    select4(run, Apart(pin!(serve)), Apart(pin!(network)), device.observer().flash(parts.lamp)).await;
    reset::requested()
}

/// The device of this board.
type BoardDevice = Device<BlockingAsync<FlashStorage<'static>>, Board>;

/// Opens the device where it stays.
async fn open(
    flash: FLASH<'static>,
    settings: Settings,
    sampler: &impl Sampler,
    board: Board,
) -> &'static BoardDevice {
    static DEVICE: StaticCell<BoardDevice> = StaticCell::new();
    let flash = BlockingAsync::new(FlashStorage::new(flash));
    let mut opening = Opening::new(flash, ESP32C3.layout.clone(), settings);
    let opened = Apart(pin!(opening.open())).await;
    match opened {
        Ok(()) => opening.device_in(DEVICE.uninit(), sampler, board),
        Err(_) => reset::panicked(),
    }
}

/// Where the configuration sends the data; none for the serial port.
async fn goal(device: &BoardDevice) -> Option<(Network, Uplink)> {
    let Config { network, uplink, .. } = device.config().await.ok().flatten()?;
    let why = match (network, uplink) {
        (Some(network), Some(uplink)) if cfg!(feature = "wifi") => return Some((network, uplink)),
        (None, None) => return None,
        (Some(_), Some(_)) => "this firmware has no Wi-Fi; data goes to the serial port",
        (Some(_), None) => "network without gateway; data goes to the serial port",
        (None, Some(_)) => "gateway without network; data goes to the serial port",
    };
    device.log(BoardClock.now(), LogLevel::Error, why);
    None
}

/// Starts the watchdog: four times as long as sampling may be silent.
fn watchdog(timer: RTC_TIMER<'static>) -> Rtc<'static> {
    let mut rtc = Rtc::new(timer);
    rtc.rwdt.set_timeout(RwdtStage::Stage0, esp_hal::time::Duration::from_millis(4 * ALIVE_MS));
    rtc.rwdt.enable();
    rtc.rwdt.feed();
    rtc
}

/// A true random number: noise of the converter, which is ours alone before the radio is on.
fn chance((generator, converter): (RNG<'static>, ADC1<'static>)) -> u32 {
    let _noise = TrngSource::new(generator, converter);
    Trng::try_new().map_or(0, |trng| trng.random())
}

/// The name of a device that was never given one: the chip's own address.
fn name() -> DeviceId {
    let mut name = heapless::String::<{ headwater_telemetry::limits::DEVICE_ID_BYTES_MAX }>::new();
    let address = esp_hal::efuse::base_mac_address();
    let mut written = write!(name, "esp32c3-");
    for byte in address.as_bytes() {
        written = written.and_then(|()| write!(name, "{byte:02x}"));
    }
    debug_assert!(written.is_ok(), "20 bytes");
    DeviceId::parse(&name).expect("letters, digits and a dash are the name of a device")
}
