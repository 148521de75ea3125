//! Headwater on the RISC-V machine `virt` of QEMU: a counter as its sensor, the serial link as its uplink.
//!
//! In: the machine. Out: a device that keeps its batches in a file of the host. Invariant: whatever ends the program
//! starts it anew, and the next start says why. Not here: anything that a device does (`headwater-device`).
#![no_std]
#![no_main]

mod flash;
mod machine;
mod time;
mod uart;

use core::pin::pin;
use embassy_executor::Executor;
use embassy_futures::select::select;
use flash::Flash;
use headwater_device::partition::QEMU_RV32;
use headwater_device::{Apart, Clock, Device, Observer, Opening, Sampler, Settings};
use headwater_sensors::{Probe, Quantity, Sampled};
use headwater_telemetry::{DeviceId, ResetReason, Uptime};
use static_cell::StaticCell;
use time::BoardClock;

/// Milliseconds between two attempts to speak on a line that broke.
const RETRY_MS: u64 = 1_000;

/// Counts readings from 0 at every start, so that a receiver sees whether one is missing.
const COUNT: Quantity = Quantity::new("count", "", 0, 1_000);

/// What the machine has for a lamp: nothing. Progress goes to the watchdog.
struct Board;

impl Observer for Board {
    fn alive(&self) {
        time::feed_watchdog();
    }
}

#[riscv_rt::entry]
fn main() -> ! {
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();
    EXECUTOR.init(Executor::new()).run(|spawner| match run() {
        Ok(task) => spawner.spawn(task),
        Err(_) => machine::reset(ResetReason::Panic),
    })
}

#[embassy_executor::task]
async fn run() {
    let reset = machine::take_reset_reason();
    time::feed_watchdog();
    let line = uart::open();
    enable_interrupts();
    device(reset, line).await;
    machine::reset(ResetReason::Requested)
}

/// A device from its start to its end.
async fn device(reset: ResetReason, (mut rx, mut tx): (uart::Receiver, uart::Sender)) {
    let clock = BoardClock;
    let mut count = -1;
    let counter = Probe::new([COUNT], || {
        count += 1;
        Ok([count])
    });
    let mut sampler = Sampled::new(counter, clock);
    let device = Apart(pin!(open(reset, &sampler))).await;
    let link = async {
        loop {
            device.serve(&clock, &mut rx, &mut tx).await;
            clock.sleep_until(Uptime(clock.now().0 + RETRY_MS)).await;
        }
    };
    select(Apart(pin!(device.run(&clock, &mut sampler))), Apart(pin!(link))).await;
}

/// Opens the device where it stays.
async fn open(reset: ResetReason, sampler: &impl Sampler) -> &'static Device<Flash, Board> {
    static DEVICE: StaticCell<Device<Flash, Board>> = StaticCell::new();
    // SAFETY: the only call, in a task that is started once.
    #[expect(unsafe_code, reason = "memory that the linker does not know")]
    let flash = unsafe { Flash::take() };
    let name = DeviceId::parse(QEMU_RV32.board).expect("the name of a board is the name of a device");
    let firmware = concat!("qemu-rv32 ", env!("CARGO_PKG_VERSION"));
    let settings = Settings { reset, boots_from: machine::chance(), ..Settings::new(name, firmware) };
    let mut opening = Opening::new(flash, QEMU_RV32.layout.clone(), settings);
    let opened = Apart(pin!(opening.open())).await;
    opened.expect("the flash of this machine never fails, and the partition fits it");
    opening.device_in(DEVICE.uninit(), sampler, Board)
}

fn enable_interrupts() {
    // SAFETY: both handlers are in place, and no critical section is open.
    #[expect(unsafe_code, reason = "interrupts may break critical sections")]
    unsafe {
        riscv::register::mie::set_mext();
        riscv::register::mie::set_mtimer();
        riscv::interrupt::enable();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    machine::reset(ResetReason::Panic)
}
