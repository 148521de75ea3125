//! Registers of the machine: where they are, and the few single acts that are not a driver.
//!
//! In: nothing. Out: registers by name, a reset, why this start happened. Invariant: only addresses that the machine
//! `virt` of QEMU has are registers. Not here: what the registers are used for (`uart`, `time`).

use headwater_telemetry::ResetReason;

/// A register of the machine.
pub(crate) struct Register<T>(*mut T);

impl<T: Copy> Register<T> {
    const fn at(address: usize) -> Self {
        Self(address as *mut T)
    }

    /// What it says now.
    pub(crate) fn read(&self) -> T {
        // SAFETY: private to this file, which makes registers only of the machine's own addresses, rightly aligned.
        #[expect(unsafe_code, reason = "devices are memory")]
        unsafe {
            self.0.read_volatile()
        }
    }

    /// Sets it.
    pub(crate) fn write(&self, value: T) {
        // SAFETY: as in `read`. No register of this machine reaches into memory that Rust knows.
        #[expect(unsafe_code, reason = "devices are memory")]
        unsafe {
            self.0.write_volatile(value);
        }
    }
}

/// UART 16550: received byte, byte to send.
pub(crate) const UART_DATA: Register<u8> = Register::at(0x1000_0000);
/// Bit 0: interrupt when a byte came.
pub(crate) const UART_INTERRUPTS: Register<u8> = Register::at(0x1000_0001);
/// Bit 0: FIFOs on; bits 1 and 2: empty them.
pub(crate) const UART_FIFO: Register<u8> = Register::at(0x1000_0002);
/// Bit 0: a byte is there. Bit 5: room to send.
pub(crate) const UART_STATUS: Register<u8> = Register::at(0x1000_0005);

/// Line of the UART at the interrupt controller (PLIC).
const UART_LINE: usize = 10;
/// Priority of that line: 0 is off.
const PLIC_PRIORITY: Register<u32> = Register::at(0x0c00_0000 + 4 * UART_LINE);
/// One bit a line, for hart 0 in machine mode.
const PLIC_ENABLE: Register<u32> = Register::at(0x0c00_2000);
/// Lines of a priority up to this one are masked.
const PLIC_THRESHOLD: Register<u32> = Register::at(0x0c20_0000);
/// Read: takes the next line. Written: that line is served.
pub(crate) const PLIC_CLAIM: Register<u32> = Register::at(0x0c20_0004);

/// Ticks since power on, 10 MHz, lower and upper half.
pub(crate) const TIME: [Register<u32>; 2] = [Register::at(0x0200_bff8), Register::at(0x0200_bffc)];
/// The tick that raises the timer interrupt, lower and upper half.
pub(crate) const ALARM: [Register<u32>; 2] = [Register::at(0x0200_4000), Register::at(0x0200_4004)];

/// Nanoseconds since 1970 by the host's clock, lower half; reading it latches the upper one.
const HOST_CLOCK: Register<u32> = Register::at(0x0010_1000);

/// Takes orders to end or to start anew.
const FINISHER: Register<u32> = Register::at(0x0010_0000);
const FINISHER_RESET: u32 = 0x7777;

/// Lets the UART's line through to this hart. The caller enables interrupts.
pub(crate) fn enable_uart_line() {
    PLIC_PRIORITY.write(1);
    PLIC_ENABLE.write(1 << UART_LINE);
    PLIC_THRESHOLD.write(0);
}

/// A number that two flashes do not share: the machine has no random source, but the host's clock counts nanoseconds.
pub(crate) fn chance() -> u32 {
    HOST_CLOCK.read().wrapping_mul(0x9e37_79b9).rotate_left(16)
}

/// Why the last run ended, in RAM that no start clears. A power cut leaves what was there: nothing, since each start
/// takes the mark away.
#[unsafe(link_section = ".uninit.mark")]
#[expect(unsafe_code, reason = "the section that is not cleared")]
static mut MARK: u32 = 0;

/// Starts anew, with `reason` for the next start to report.
pub(crate) fn reset(reason: ResetReason) -> ! {
    mark().write(match reason {
        ResetReason::Panic => MARK_PANIC,
        ResetReason::Watchdog => MARK_WATCHDOG,
        _ => MARK_REQUESTED,
    });
    FINISHER.write(FINISHER_RESET);
    loop {
        riscv::asm::wfi();
    }
}

/// Why this start happened. Asked once, it forgets.
pub(crate) fn take_reset_reason() -> ResetReason {
    let mark = mark();
    let found = mark.read();
    mark.write(0);
    match found {
        MARK_PANIC => ResetReason::Panic,
        MARK_WATCHDOG => ResetReason::Watchdog,
        MARK_REQUESTED => ResetReason::Requested,
        _ => ResetReason::Power,
    }
}

/// The mark, as a register: only ever read and written whole.
fn mark() -> Register<u32> {
    Register(&raw mut MARK)
}

const MARK_PANIC: u32 = 0x70a1_1c01;
const MARK_WATCHDOG: u32 = 0x70a1_1c02;
const MARK_REQUESTED: u32 = 0x70a1_1c03;
