//! Why a start happened, and new starts.
//!
//! In: what the chip says, and marks of our own in registers that a reset leaves alone. Out: a [`ResetReason`]. Invariant: whatever ends
//! the program starts it anew. Not here: feeding the watchdog.
//!
//! The marks are in scratch registers of the watchdog, 0 and 1: they keep their values until power goes. The chip's ROM uses 4 to 7.

use embassy_rp::pac::{PSM, VREG_AND_CHIP_RESET, WATCHDOG};
use headwater_telemetry::ResetReason;

const RUNNING: u32 = 0x4857_0001;
const PANICKED: u32 = 0x4857_0002;
const REQUESTED: u32 = 0x4857_0003;
#[cfg(feature = "wifi")]
const RADIO_STARTS: u32 = 0x4857_0004;

/// Why this start happened. Asked once, it forgets.
pub(crate) fn take_reason() -> ResetReason {
    let mark = WATCHDOG.scratch0().read();
    WATCHDOG.scratch0().write(|register| *register = RUNNING);
    let found = WATCHDOG.reason().read();
    match mark {
        PANICKED => ResetReason::Panic,
        REQUESTED => ResetReason::Requested,
        RUNNING if found.timer() => ResetReason::Watchdog,
        // Bootloaders start what they have flashed by the watchdog, too.
        _ if found.timer() || found.force() => ResetReason::Requested,
        // The RUN pin.
        _ if VREG_AND_CHIP_RESET.chip_reset().read().had_run() => ResetReason::Requested,
        // The chip cannot tell a dip of the supply from power that comes on.
        _ => ResetReason::Power,
    }
}

/// Whether the last start ended while the radio started: its driver panics when the chip is not there or does not answer. Asked
/// once, it forgets, so that the start after the next tries again.
#[cfg(feature = "wifi")]
pub(crate) fn take_radio_failed() -> bool {
    let failed = WATCHDOG.scratch1().read() == RADIO_STARTS;
    WATCHDOG.scratch1().write(|register| *register = 0);
    failed
}

/// Notes that the radio starts, or has started.
#[cfg(feature = "wifi")]
pub(crate) fn mark_radio(starts: bool) {
    WATCHDOG.scratch1().write(|register| *register = if starts { RADIO_STARTS } else { 0 });
}

/// Starts anew because something is wrong.
pub(crate) fn panicked() -> ! {
    restart(PANICKED)
}

/// Starts anew because it was asked for.
pub(crate) fn requested() -> ! {
    restart(REQUESTED)
}

fn restart(mark: u32) -> ! {
    WATCHDOG.scratch0().write(|register| *register = mark);
    // Everything but the oscillators, as the ROM does it.
    PSM.wdsel().write(|register| register.0 = 0x0001_fffc);
    WATCHDOG.ctrl().modify(|register| register.set_trigger(true));
    loop {
        cortex_m::asm::nop();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    panicked()
}

// `unsafe` is what the macro wants: a handler may interrupt anything. This one only writes registers and resets.
#[allow(unsafe_code, reason = "the macro wants the word; `expect` would fall on what it makes of it")]
#[cortex_m_rt::exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    panicked()
}
