//! Why a start happened, and new starts.
//!
//! In: the chip's RESETREAS register, and a mark of our own. Out: a [`ResetReason`]. Invariant: whatever ends the program
//! starts it anew. Not here: the watchdog.
//!
//! The mark is in GPREGRET2, which keeps its value through every reset but a power cut, and not in RAM, where the UF2
//! bootloader lays its own variables before we run.

use embassy_nrf::pac::POWER;
use headwater_telemetry::ResetReason;

/// Neither zero nor all ones nor what Nordic's bootloader puts there (0xa8).
const PANICKED: u8 = 0x5c;

/// Why this start happened. Asked once, it forgets.
pub(crate) fn take_reason() -> ResetReason {
    let (found, mark) = (POWER.resetreas().read(), POWER.gpregret2().read().gpregret());
    // Bits are cleared by writing them; left standing they would be mixed with those of the next reset.
    POWER.resetreas().write_value(found);
    POWER.gpregret2().write(|register| register.set_gpregret(0));
    if found.dog() {
        ResetReason::Watchdog
    } else if found.lockup() || mark == PANICKED {
        ResetReason::Panic
    } else if found.sreq() || found.resetpin() {
        ResetReason::Requested
    } else {
        // No bit is set after power came on; the chip cannot tell a dip of the supply from that.
        ResetReason::Power
    }
}

/// Starts anew because something is wrong.
pub(crate) fn panicked() -> ! {
    POWER.gpregret2().write(|register| register.set_gpregret(PANICKED));
    requested()
}

/// Starts anew because it was asked for.
pub(crate) fn requested() -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    panicked()
}

// `unsafe` is what the macro wants: a handler may interrupt anything. This one only writes a register and resets.
#[allow(unsafe_code, reason = "the macro wants the word; `expect` would fall on what it makes of it")]
#[cortex_m_rt::exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    panicked()
}
