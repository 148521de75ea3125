//! Why a start happened, and new starts.
//!
//! In: what the chip says, and a mark of our own in RAM that resets leave alone. Out: a [`ResetReason`]. Invariant: whatever ends the
//! program starts it anew. Not here: the watchdog.

use esp_hal::rtc_cntl::{SocResetReason, reset_reason};
use esp_hal::system::{Cpu, software_reset};
use headwater_telemetry::ResetReason;
use portable_atomic::{AtomicU32, Ordering};

/// Unlikely in RAM that was never written.
const PANICKED: u32 = 0x7061_6e63;

/// In RTC RAM, which is cleared when power comes on and kept through a software reset.
#[esp_hal::ram(unstable(rtc_fast, persistent))]
static MARK: AtomicU32 = AtomicU32::new(0);

/// Why this start happened. Asked once, it forgets.
pub(crate) fn take_reason() -> ResetReason {
    use SocResetReason as Chip;
    let mark = MARK.load(Ordering::Relaxed);
    MARK.store(0, Ordering::Relaxed);
    match reset_reason(Cpu::ProCpu) {
        // The reset button (EN) switches the chip off and on.
        Some(Chip::ChipPowerOn) => ResetReason::Power,
        Some(Chip::SysBrownOut | Chip::CorePwrGlitch) => ResetReason::BrownOut,
        Some(
            Chip::SysRtcWdt
            | Chip::CoreRtcWdt
            | Chip::Cpu0RtcWdt
            | Chip::CoreMwdt0
            | Chip::CoreMwdt1
            | Chip::Cpu0Mwdt0
            | Chip::Cpu0Mwdt1
            | Chip::SysSuperWdt,
        ) => ResetReason::Watchdog,
        Some(Chip::CoreSw | Chip::Cpu0Sw) if mark == PANICKED => ResetReason::Panic,
        // By us, or over USB by whoever flashed it.
        Some(Chip::CoreSw | Chip::Cpu0Sw | Chip::CoreUsbUart | Chip::CoreUsbJtag) => ResetReason::Requested,
        Some(Chip::CoreDeepSleep | Chip::SysClkGlitch | Chip::CoreEfuseCrc) | None => ResetReason::Unknown,
    }
}

/// Starts anew because something is wrong.
pub(crate) fn panicked() -> ! {
    MARK.store(PANICKED, Ordering::Relaxed);
    software_reset()
}

/// Starts anew because it was asked for.
pub(crate) fn requested() -> ! {
    software_reset()
}

/// Exceptions and stacks that overflow end here as well.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    panicked()
}
