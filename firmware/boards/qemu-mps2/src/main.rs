//! Headwater on the Cortex-M3 machine `mps2-an385` of QEMU: a thermometer and a counter, the serial link, MQTT over Ethernet.
//!
//! In: the machine. Out: a device that keeps its batches in a file of the host. Invariant: whatever ends the program
//! starts it anew, and the next start says why. Not here: anything that a device does (`headwater-device`).
#![no_std]
#![no_main]

#[cfg(feature = "mqtt")]
mod ethernet;
#[cfg(feature = "faults")]
mod faults;
mod flash;
mod i2c;
mod machine;
#[cfg(feature = "tls")]
mod not_chance;
mod time;
mod uart;
#[cfg(feature = "mqtt")]
mod uplink;

use core::pin::pin;
use embassy_futures::select::select3;
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, signal::Signal};
use embassy_time::Timer;
use flash::Flash;
use headwater_device::limits::ALIVE_MS;
use headwater_device::partition::QEMU_MPS2;
use headwater_device::{
    Apart, Clock, Device, Observer, Opening, Reach, Sampler, Settings, WithoutData, serve,
};
use headwater_sensors::thermometers::Tmp105;
use headwater_sensors::{Probe, Quantity, Sampled};
use headwater_telemetry::{Config, DeviceId, ResetReason, Uptime};
use static_cell::StaticCell;
use time::BoardClock;

/// Milliseconds between two attempts to speak on a line that broke.
const RETRY_MS: u64 = 1_000;

/// Twice as long as sampling may be silent; the reset comes after as long again.
#[expect(clippy::cast_possible_truncation, reason = "a constant of some thousands")]
const WATCHDOG_MS: u32 = 2 * ALIVE_MS as u32;

/// Flashes of the lamps that show which device this is: five seconds.
const FLASHES: usize = 10;
const FLASH_MS: u64 = 250;

/// Counts readings from 0 at every start, so that a receiver sees whether one is missing.
const COUNT: Quantity = Quantity::new("count", "", 0, 1_000);

/// What the device tells the board.
pub(crate) struct Board {
    wanted: Signal<NoopRawMutex, ()>,
}

impl Observer for Board {
    fn identify(&self) {
        self.wanted.signal(());
    }

    fn alive(&self) {
        machine::feed_watchdog();
    }
}

pub(crate) type BoardDevice = Device<Flash, Board>;

#[cortex_m_rt::entry]
fn main() -> ! {
    let reset = machine::take_reset_reason();
    machine::start_watchdog(WATCHDOG_MS);
    if let Some(core) = cortex_m::Peripherals::take() {
        time::start(core.SYST);
    }
    time::run(|spawner| match run(reset) {
        Ok(task) => spawner.spawn(task),
        Err(_) => machine::reset(ResetReason::Panic),
    })
}

#[embassy_executor::task]
async fn run(reset: ResetReason) {
    device(reset, uart::open()).await;
    machine::reset(ResetReason::Requested)
}

/// A device from its start to its end.
async fn device(reset: ResetReason, (mut rx, mut tx): (uart::Receiver, uart::Sender)) {
    let clock = BoardClock;
    #[cfg(feature = "faults")]
    let ordered = core::cell::OnceCell::<faults::Faults>::new();
    let mut count = -1;
    let counter = Probe::new([COUNT], || {
        count += 1;
        #[cfg(feature = "faults")]
        if let Some(faults) = ordered.get() {
            faults.handle_reading(count);
        }
        Ok([count])
    });
    let mut sampler = Sampled::new(counter, clock).and(Sampled::new(Tmp105::new(i2c::Bus::open()), clock));
    let device = Apart(pin!(open(reset, &sampler))).await;
    #[cfg(feature = "faults")]
    {
        let name = device.hello().device.as_str();
        let _ = ordered.set(faults::Faults::of(name, reset == ResetReason::Power));
    }
    let config = device.config().await.ok().flatten();
    let links = async {
        loop {
            if is_networked(config.as_ref()) {
                // The line is for provisioning, commands and a look; the data goes by the network.
                serve(&WithoutData(device), &clock, &mut rx, &mut tx).await;
            } else {
                device.serve(&clock, &mut rx, &mut tx).await;
            }
            clock.sleep_until(Uptime(clock.now().0 + RETRY_MS)).await;
        }
    };
    let rest = async {
        embassy_futures::join::join(network(device, config.as_ref()), flash_lamps(device.observer())).await;
    };
    select3(Apart(pin!(device.run(&clock, &mut sampler))), Apart(pin!(links)), Apart(pin!(rest))).await;
}

fn is_networked(config: Option<&Config>) -> bool {
    cfg!(feature = "mqtt") && config.is_some_and(|config| config.uplink.is_some())
}

/// The network, when the configuration names a gateway.
async fn network(device: &'static BoardDevice, config: Option<&Config>) {
    #[cfg(feature = "mqtt")]
    if let Some(gateway) = config.and_then(|config| config.uplink.as_ref()) {
        return uplink::run(device, gateway).await;
    }
    let _ = (device, config);
    core::future::pending().await
}

/// Flashes the lamps whenever somebody wants to see them.
async fn flash_lamps(board: &Board) {
    loop {
        board.wanted.wait().await;
        for flash in 0..2 * FLASHES {
            machine::light(flash % 2 == 0);
            Timer::after_millis(FLASH_MS).await;
        }
    }
}

/// Opens the device where it stays.
async fn open(reset: ResetReason, sampler: &impl Sampler) -> &'static BoardDevice {
    static DEVICE: StaticCell<BoardDevice> = StaticCell::new();
    // SAFETY: the only call, in a task that is started once.
    #[expect(unsafe_code, reason = "memory that the linker does not know")]
    let flash = unsafe { Flash::take() };
    let name = DeviceId::parse(QEMU_MPS2.board).expect("the name of a board is the name of a device");
    let firmware = concat!("qemu-mps2 ", env!("CARGO_PKG_VERSION"));
    let reach = if cfg!(feature = "mqtt") { Reach::Network } else { Reach::Stream };
    let settings = Settings { reset, reach, ..Settings::new(name, firmware) };
    let board = Board { wanted: Signal::new() };
    let mut opening = Opening::new(flash, QEMU_MPS2.layout.clone(), settings);
    let opened = Apart(pin!(opening.open())).await;
    opened.expect("the flash of this machine never fails, and the partition fits it");
    opening.device_in(DEVICE.uninit(), sampler, board)
}

/// Interrupts that have no name in `cortex-m-rt`.
#[cortex_m_rt::exception]
#[allow(unsafe_code, reason = "it may interrupt anything; the macro sees it differently with each version")]
unsafe fn DefaultHandler(line: i16) {
    match u16::try_from(line) {
        Ok(line) if line == uart::RECEIVED_LINE.0 => uart::on_byte(),
        #[cfg(feature = "mqtt")]
        Ok(line) if line == ethernet::LINE.0 => ethernet::on_frame(),
        // Nothing else was enabled.
        _ => machine::reset(ResetReason::Panic),
    }
}

#[cortex_m_rt::exception]
#[allow(unsafe_code, reason = "it may interrupt anything; the macro sees it differently with each version")]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    machine::reset(ResetReason::Panic)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    machine::reset(ResetReason::Panic)
}
