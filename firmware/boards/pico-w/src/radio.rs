//! The radio chip: loads its firmware and keeps it going.
//!
//! In: wires, firmware from flash. Out: a lamp, a way to send and receive frames. Invariant: a radio that is not there or does not answer
//! costs one restart, not a loop of them: the driver panics, and the start after that leaves it alone. Not here: networks (`wifi`).

use crate::blob::{self, Blob};
use crate::pins::RadioParts;
use crate::reset;
use cyw43::{NetDriver, PowerManagementMode, Runner, SpiBus, State};
use cyw43_pio::{DEFAULT_CLOCK_DIVIDER, PioSpi};
use embassy_executor::Spawner;
use embassy_rp::gpio::{Level, Output};
use embassy_rp::peripherals::{DMA_CH0, PIO0};
use embassy_rp::pio::{self, Pio};
use embassy_rp::{bind_interrupts, dma};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use static_cell::StaticCell;

bind_interrupts!(struct Interrupts {
    PIO0_IRQ_0 => pio::InterruptHandler<PIO0>;
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>;
});

/// The radio, for whoever wants something of it: the lamp and the network take turns.
pub(crate) type Control = &'static Mutex<NoopRawMutex, cyw43::Control<'static>>;

/// A radio that runs.
pub(crate) struct Radio {
    pub(crate) control: Control,
    pub(crate) frames: NetDriver<'static>,
}

/// Starts the radio, in some 300 ms.
///
/// # Errors
/// Why it stays off, in at most 64 bytes.
pub(crate) async fn open(spawner: Spawner, parts: RadioParts) -> Result<Radio, &'static str> {
    if reset::take_radio_failed() {
        return Err("the radio did not start the last time; it is left alone");
    }
    let blob = blob::find().ok_or("no radio firmware in flash; README of pico-w tells how")?;
    reset::mark_radio(true);
    let radio = start(spawner, parts, blob).await;
    reset::mark_radio(false);
    radio
}

async fn start(spawner: Spawner, parts: RadioParts, blob: Blob) -> Result<Radio, &'static str> {
    static STATE: StaticCell<State> = StaticCell::new();
    static CONTROL: StaticCell<Mutex<NoopRawMutex, cyw43::Control<'static>>> = StaticCell::new();
    let mut wires = Pio::new(parts.wires, Interrupts);
    let spi = PioSpi::new(
        &mut wires.common,
        wires.sm0,
        DEFAULT_CLOCK_DIVIDER,
        wires.irq0,
        Output::new(parts.select, Level::High),
        parts.data,
        parts.clock,
        dma::Channel::new(parts.mover, Interrupts),
    );
    let power = Output::new(parts.power, Level::Low);
    let state = STATE.init(State::new());
    let (frames, mut control, runner) = cyw43::new(state, power, spi, blob.firmware, blob.board).await;
    spawner.spawn(keep(runner).map_err(|_| "the radio is started twice")?);
    control.init(blob.countries).await;
    control.set_power_management(PowerManagementMode::PowerSave).await;
    Ok(Radio { control: CONTROL.init(Mutex::new(control)), frames })
}

#[embassy_executor::task]
async fn keep(runner: Runner<'static, SpiBus<Output<'static>, PioSpi<'static, PIO0, 0>>>) -> ! {
    runner.run().await
}
