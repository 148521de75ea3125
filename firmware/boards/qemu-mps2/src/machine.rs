//! Registers of the machine: where they are, and the few single acts that are not a driver.
//!
//! In: nothing. Out: registers by name, interrupts, a reset, why this start happened. Invariant: only addresses that the machine
//! `mps2-an385` of QEMU has are registers. Not here: what the registers are used for (`uart`, `time`, `i2c`, `ethernet`).
//! Addresses: Arm application note AN385.

use core::cell::UnsafeCell;
use headwater_telemetry::ResetReason;

/// A register of the machine: 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Register(*mut u32);

impl Register {
    pub(crate) const fn at(address: usize) -> Self {
        Self(address as *mut u32)
    }

    /// What it says now.
    pub(crate) fn read(self) -> u32 {
        // SAFETY: registers are made of the machine's own addresses, all of them multiples of four.
        #[expect(unsafe_code, reason = "devices are memory")]
        unsafe {
            self.0.read_volatile()
        }
    }

    /// Sets it.
    pub(crate) fn write(self, value: u32) {
        // SAFETY: as in `read`. No register of this machine reaches into memory that Rust knows.
        #[expect(unsafe_code, reason = "devices are memory")]
        unsafe {
            self.0.write_volatile(value);
        }
    }
}

/// Two lamps of the board, one bit each.
const LAMPS: Register = Register::at(0x4002_8000);

/// CMSDK watchdog: load, control, clear, lock. It counts at 25 MHz; at the first end it interrupts, at the second it resets.
const WATCHDOG_LOAD: Register = Register::at(0x4000_8000);
const WATCHDOG_CONTROL: Register = Register::at(0x4000_8008);
const WATCHDOG_CLEAR: Register = Register::at(0x4000_800c);
const WATCHDOG_LOCK: Register = Register::at(0x4000_8c00);
const WATCHDOG_KEY: u32 = 0x1acc_e551;
const WATCHDOG_INTERRUPT_AND_RESET: u32 = 0b11;

/// Ticks of the core's clock a second.
pub(crate) const CORE_HZ: u32 = 25_000_000;

/// An interrupt line.
#[derive(Clone, Copy)]
pub(crate) struct Line(pub(crate) u16);

// SAFETY: the numbers are those of the application note, and a line is a line.
#[expect(unsafe_code, reason = "cortex-m trusts the numbers")]
unsafe impl cortex_m::interrupt::InterruptNumber for Line {
    fn number(self) -> u16 {
        self.0
    }
}

impl Line {
    /// Lets it through.
    pub(crate) fn enable(self) {
        // SAFETY: its handler is in place (`main`), and critical sections mask all interrupts at once.
        #[expect(unsafe_code, reason = "interrupts may break critical sections")]
        unsafe {
            cortex_m::peripheral::NVIC::unmask(self);
        }
    }
}

/// Lights the lamps or puts them out.
pub(crate) fn light(on: bool) {
    LAMPS.write(if on { 0b11 } else { 0 });
}

/// Starts the watchdog: it interrupts after `ms` and resets after twice that.
pub(crate) fn start_watchdog(ms: u32) {
    WATCHDOG_LOCK.write(WATCHDOG_KEY);
    WATCHDOG_LOAD.write(CORE_HZ / 1_000 * ms);
    WATCHDOG_CONTROL.write(WATCHDOG_INTERRUPT_AND_RESET);
}

/// The program is alive.
pub(crate) fn feed_watchdog() {
    WATCHDOG_CLEAR.write(1);
}

/// The watchdog's warning, which nothing can mask: says why the next start happens, then there it is.
#[cortex_m_rt::exception]
#[allow(unsafe_code, reason = "it may interrupt anything; the macro sees it differently with each version")]
unsafe fn NonMaskableInt() -> ! {
    reset(ResetReason::Watchdog)
}

struct Mark(UnsafeCell<u32>);

// SAFETY: only ever read and written whole, as a register.
#[expect(unsafe_code, reason = "memory that outlives a start")]
unsafe impl Sync for Mark {}

/// Why the last run ended, in RAM that no start clears. After power came on it is zero or noise.
#[unsafe(link_section = ".uninit.mark")]
#[expect(unsafe_code, reason = "the section that is not cleared")]
static MARK: Mark = Mark(UnsafeCell::new(0));

/// Starts anew, with `reason` for the next start to report.
pub(crate) fn reset(reason: ResetReason) -> ! {
    mark().write(match reason {
        ResetReason::Panic => MARK_PANIC,
        ResetReason::Watchdog => MARK_WATCHDOG,
        _ => MARK_REQUESTED,
    });
    cortex_m::peripheral::SCB::sys_reset()
}

/// Why this start happened. Asked once, it forgets.
pub(crate) fn take_reset_reason() -> ResetReason {
    let found = mark().read();
    mark().write(0);
    match found {
        MARK_PANIC => ResetReason::Panic,
        MARK_WATCHDOG => ResetReason::Watchdog,
        MARK_REQUESTED => ResetReason::Requested,
        _ => ResetReason::Power,
    }
}

fn mark() -> Register {
    Register(MARK.0.get())
}

const MARK_PANIC: u32 = 0x70a1_1c01;
const MARK_WATCHDOG: u32 = 0x70a1_1c02;
const MARK_REQUESTED: u32 = 0x70a1_1c03;
