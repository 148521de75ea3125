//! Which pin is what: the one file to change for another board. These are the pins of the nRF52840 DK; README.md has others.
//!
//! In: the chip's peripherals. Out: pins by purpose, and the rest.

#[cfg(any(feature = "i2c", not(feature = "usb")))]
use embassy_nrf::gpio::AnyPin;
use embassy_nrf::gpio::{Level, Output, OutputDrive};
use embassy_nrf::{Peri, Peripherals, peripherals};

/// The level at which the lamp is dark.
const LAMP_OFF: Level = Level::High;

/// The chip, its parts named by what they do.
pub(crate) struct Parts {
    /// Shows which device this is: LED1.
    pub(crate) lamp: Output<'static>,
    pub(crate) link: LinkParts,
    #[cfg(feature = "i2c")]
    pub(crate) bus: BusParts,
    pub(crate) chip: ChipParts,
    pub(crate) flash: Peri<'static, peripherals::NVMC>,
    pub(crate) chance: Peri<'static, peripherals::RNG>,
    pub(crate) watchdog: Peri<'static, peripherals::WDT>,
}

/// The serial line over USB: the chip's own connector, no pins.
#[cfg(feature = "usb")]
pub(crate) struct LinkParts(pub(crate) Peri<'static, peripherals::USBD>);

/// The serial line on two pins.
#[cfg(not(feature = "usb"))]
pub(crate) struct LinkParts {
    /// P0.08, P0.06: the DK's debugger passes them on to its own USB port.
    pub(crate) receive: Peri<'static, AnyPin>,
    pub(crate) send: Peri<'static, AnyPin>,
    pub(crate) uart: Peri<'static, peripherals::UARTE0>,
    /// Counts received bytes, without the processor.
    pub(crate) count: Peri<'static, peripherals::TIMER0>,
    pub(crate) channels: (Peri<'static, peripherals::PPI_CH0>, Peri<'static, peripherals::PPI_CH1>),
    pub(crate) group: Peri<'static, peripherals::PPI_GROUP0>,
}

/// The I2C bus.
#[cfg(feature = "i2c")]
pub(crate) struct BusParts {
    /// P0.26, P0.27: SDA and SCL of the DK's Arduino header.
    pub(crate) data: Peri<'static, AnyPin>,
    pub(crate) clock: Peri<'static, AnyPin>,
    pub(crate) bus: Peri<'static, peripherals::TWISPI0>,
}

/// What the chip measures of itself.
pub(crate) struct ChipParts {
    pub(crate) thermometer: Peri<'static, peripherals::TEMP>,
    pub(crate) converter: Peri<'static, peripherals::SAADC>,
}

impl Parts {
    /// Hands the parts out.
    pub(crate) fn new(chip: Peripherals) -> Self {
        Self {
            lamp: Output::new(chip.P0_13, LAMP_OFF, OutputDrive::Standard),
            #[cfg(feature = "usb")]
            link: LinkParts(chip.USBD),
            #[cfg(not(feature = "usb"))]
            link: LinkParts {
                receive: chip.P0_08.into(),
                send: chip.P0_06.into(),
                uart: chip.UARTE0,
                count: chip.TIMER0,
                channels: (chip.PPI_CH0, chip.PPI_CH1),
                group: chip.PPI_GROUP0,
            },
            #[cfg(feature = "i2c")]
            bus: BusParts { data: chip.P0_26.into(), clock: chip.P0_27.into(), bus: chip.TWISPI0 },
            chip: ChipParts { thermometer: chip.TEMP, converter: chip.SAADC },
            flash: chip.NVMC,
            chance: chip.RNG,
            watchdog: chip.WDT,
        }
    }
}
