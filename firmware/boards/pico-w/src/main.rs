//! Headwater on the Raspberry Pi Pico W and the Pico: the chip's own thermometer and sensors on its I2C pins; data over Wi-Fi
//! and MQTT where the configuration says so, else over USB.
//!
//! In: the chip. Out: a device that keeps its batches in flash. Invariant: whatever ends the program starts it anew, and
//! the next start says why. Not here: anything that a device does (`headwater-device`).
#![no_std]
#![no_main]

#[cfg(feature = "wifi")]
mod blob;
mod chance;
mod chip;
mod clock;
mod lamp;
mod pins;
#[cfg(feature = "wifi")]
mod radio;
mod reset;
mod sensors;
#[cfg(feature = "wifi")]
mod uplink;
mod usb;
#[cfg(feature = "wifi")]
mod wifi;

use clock::BoardClock;
use core::cell::RefCell;
use core::fmt::Write;
use core::pin::pin;
use embassy_embedded_hal::adapter::BlockingAsync;
use embassy_executor::Spawner;
use embassy_futures::select::select5;
use embassy_rp::flash::{Blocking, Flash};
use embassy_rp::peripherals::FLASH;
use embassy_rp::watchdog::Watchdog;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Duration;
use headwater_device::limits::ALIVE_MS;
use headwater_device::partition::PICO_W;
use headwater_device::{Apart, Clock, Device, Observer, Opening, Sampler, Settings, WithoutData};
use headwater_telemetry::{Config, DeviceId, LogLevel, Network, Uplink, Uptime};
use pins::Parts;
use static_cell::StaticCell;

/// Milliseconds between two attempts to speak on a line that broke.
const RETRY_MS: u64 = 1_000;

/// Four times as long as sampling may be silent; 8.3 s is the longest of this chip.
const WATCHDOG: Duration = Duration::from_millis(4 * ALIVE_MS);

const FLASH_BYTES: usize = 2 * 1024 * 1024;
// The radio's firmware ends there: blob.rs, memory.x.
const _: () =
    assert!(PICO_W.layout.area.start == 0x1c_0000 && PICO_W.layout.ring.end as usize <= FLASH_BYTES);

/// What the device tells the board.
struct Board {
    watchdog: RefCell<Watchdog>,
    wanted: Signal<NoopRawMutex, ()>,
}

impl Observer for Board {
    fn identify(&self) {
        self.wanted.signal(());
    }

    fn alive(&self) {
        self.watchdog.borrow_mut().feed(WATCHDOG);
    }
}

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let reset = reset::take_reason();
    let parts = Parts::new(embassy_rp::init(embassy_rp::config::Config::default()));
    let mut watchdog = Watchdog::new(parts.watchdog);
    watchdog.start(WATCHDOG);
    let board = Board { watchdog: RefCell::new(watchdog), wanted: Signal::new() };

    let mut flash = BoardFlash::new_blocking(parts.flash);
    let unique = unique(&mut flash);
    let name = name(&unique);
    let (mut rx, mut tx, runner) = usb::open(parts.usb, &name);
    let mut sampler = sensors::sampler(
        chip::Chip::new(parts.chip),
        #[cfg(feature = "i2c")]
        parts.bus,
    );
    let firmware = concat!("pico-w ", env!("CARGO_PKG_VERSION"));
    let settings = Settings { reset, boots_from: chance::word(), ..Settings::new(name, firmware) };
    let device = Apart(pin!(open(flash, settings, &sampler, board))).await;
    let clock = BoardClock;
    let goal = goal(device).await;
    #[cfg(feature = "wifi")]
    let (lamp, mut radio) = radio(device, spawner, parts.radio, goal.as_ref()).await;
    #[cfg(feature = "wifi")]
    let networked = radio.is_some();
    #[cfg(not(feature = "wifi"))]
    let (lamp, networked, _) = (parts.lamp, goal.is_some(), spawner);
    let serve = async {
        loop {
            usb::ready(&mut rx).await;
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
        if let (Some(radio), Some((network, gateway))) = (radio.take(), &goal) {
            uplink::run(device, radio, network, gateway, &unique).await;
        }
        core::future::pending::<()>().await;
    };
    let run = Apart(pin!(device.run(&clock, &mut sampler)));
    let (serve, network) = (Apart(pin!(serve)), Apart(pin!(network)));
    select5(run, serve, network, runner.run(), lamp::flash(lamp, &device.observer().wanted)).await;
    reset::requested()
}

/// The device of this board.
type BoardDevice = Device<BlockingAsync<BoardFlash>, Board>;
type BoardFlash = Flash<'static, FLASH, Blocking, FLASH_BYTES>;

/// Opens the device where it stays.
async fn open(
    flash: BoardFlash,
    settings: Settings,
    sampler: &impl Sampler,
    board: Board,
) -> &'static BoardDevice {
    static DEVICE: StaticCell<BoardDevice> = StaticCell::new();
    let mut opening = Opening::new(BlockingAsync::new(flash), PICO_W.layout.clone(), settings);
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

/// The radio: its lamp, and the rest of it where there is a network to join. Without a network it is started for the lamp.
#[cfg(feature = "wifi")]
async fn radio(
    device: &BoardDevice,
    spawner: Spawner,
    parts: pins::RadioParts,
    goal: Option<&(Network, Uplink)>,
) -> (lamp::Lamp, Option<radio::Radio>) {
    let opened = Apart(pin!(radio::open(spawner, parts))).await;
    let lamp = opened.as_ref().ok().map(|radio| radio.control);
    let Some((network, _)) = goal else { return (lamp, None) };
    match wifi::check(network).and(opened) {
        Ok(radio) => (lamp, Some(radio)),
        Err(why) => {
            device.log(BoardClock.now(), LogLevel::Error, why);
            device.log(BoardClock.now(), LogLevel::Error, "no Wi-Fi; data goes to the serial port");
            (lamp, None)
        }
    }
}

/// The number that the maker of the flash gave it.
fn unique(flash: &mut BoardFlash) -> [u8; 8] {
    let mut unique = [0; 8];
    // It is only a name: a flash that does not tell it gives zeros.
    let _ = flash.blocking_unique_id(&mut unique);
    unique
}

/// The name of a device that was never given one.
fn name(unique: &[u8; 8]) -> DeviceId {
    let mut name = heapless::String::<{ headwater_telemetry::limits::DEVICE_ID_BYTES_MAX }>::new();
    let written = write!(name, "pico-{:016x}", u64::from_be_bytes(*unique));
    debug_assert!(written.is_ok(), "21 bytes");
    DeviceId::parse(&name).expect("letters, digits and a dash are the name of a device")
}
