//! The lamp that shows which device this is.
//!
//! In: somebody's wish. Out: five seconds of flashes. A Pico W has its lamp on the radio chip: without the radio's firmware it stays dark.

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Timer;

/// Flashes: long enough to look up.
const FLASHES: usize = 10;
const FLASH_MS: u64 = 250;

/// The lamp of a Pico.
#[cfg(not(feature = "wifi"))]
pub(crate) type Lamp = embassy_rp::gpio::Output<'static>;
/// The lamp of a Pico W.
#[cfg(feature = "wifi")]
pub(crate) type Lamp = Option<crate::radio::Control>;

/// Flashes whenever somebody wants to see it, for ever.
pub(crate) async fn flash(mut lamp: Lamp, wanted: &Signal<NoopRawMutex, ()>) {
    loop {
        wanted.wait().await;
        for turn in 0..2 * FLASHES {
            set(&mut lamp, turn % 2 == 0).await;
            Timer::after_millis(FLASH_MS).await;
        }
    }
}

#[cfg(not(feature = "wifi"))]
async fn set(lamp: &mut Lamp, lit: bool) {
    lamp.set_level(lit.into());
}

#[cfg(feature = "wifi")]
async fn set(lamp: &mut Lamp, lit: bool) {
    if let Some(radio) = lamp {
        radio.lock().await.gpio_set(0, lit).await;
    }
}
