//! Which pin is what: the one file to change for another board. These are the pins of the Raspberry Pi Pico W, and without
//! feature `wifi` those of the Pico.
//!
//! In: the chip's peripherals. Out: pins by purpose, and the rest.

use embassy_rp::{Peri, Peripherals, peripherals};

/// The chip, its parts named by what they do.
pub(crate) struct Parts {
    /// The lamp of a Pico: GPIO 25. A Pico W has its lamp on the radio.
    #[cfg(not(feature = "wifi"))]
    pub(crate) lamp: embassy_rp::gpio::Output<'static>,
    /// The chip's own USB connector.
    pub(crate) usb: Peri<'static, peripherals::USB>,
    #[cfg(feature = "i2c")]
    pub(crate) bus: BusParts,
    pub(crate) chip: ChipParts,
    pub(crate) flash: Peri<'static, peripherals::FLASH>,
    pub(crate) watchdog: Peri<'static, peripherals::WATCHDOG>,
    #[cfg(feature = "wifi")]
    pub(crate) radio: RadioParts,
}

/// The I2C bus: GPIO 4 is SDA, GPIO 5 is SCL.
#[cfg(feature = "i2c")]
pub(crate) struct BusParts {
    pub(crate) data: Peri<'static, peripherals::PIN_4>,
    pub(crate) clock: Peri<'static, peripherals::PIN_5>,
    pub(crate) bus: Peri<'static, peripherals::I2C0>,
}

/// What the chip measures of itself.
pub(crate) struct ChipParts {
    pub(crate) converter: Peri<'static, peripherals::ADC>,
    pub(crate) thermometer: Peri<'static, peripherals::ADC_TEMP_SENSOR>,
    /// A third of what feeds the board: GPIO 29.
    #[cfg(not(feature = "wifi"))]
    pub(crate) supply: Peri<'static, peripherals::PIN_29>,
}

/// The wires to the radio: fixed on the board.
#[cfg(feature = "wifi")]
pub(crate) struct RadioParts {
    pub(crate) power: Peri<'static, peripherals::PIN_23>,
    pub(crate) data: Peri<'static, peripherals::PIN_24>,
    pub(crate) select: Peri<'static, peripherals::PIN_25>,
    pub(crate) clock: Peri<'static, peripherals::PIN_29>,
    pub(crate) wires: Peri<'static, peripherals::PIO0>,
    pub(crate) mover: Peri<'static, peripherals::DMA_CH0>,
}

impl Parts {
    /// Hands the parts out.
    pub(crate) fn new(chip: Peripherals) -> Self {
        Self {
            #[cfg(not(feature = "wifi"))]
            lamp: embassy_rp::gpio::Output::new(chip.PIN_25, embassy_rp::gpio::Level::Low),
            usb: chip.USB,
            #[cfg(feature = "i2c")]
            bus: BusParts { data: chip.PIN_4, clock: chip.PIN_5, bus: chip.I2C0 },
            chip: ChipParts {
                converter: chip.ADC,
                thermometer: chip.ADC_TEMP_SENSOR,
                #[cfg(not(feature = "wifi"))]
                supply: chip.PIN_29,
            },
            flash: chip.FLASH,
            watchdog: chip.WATCHDOG,
            #[cfg(feature = "wifi")]
            radio: RadioParts {
                power: chip.PIN_23,
                data: chip.PIN_24,
                select: chip.PIN_25,
                clock: chip.PIN_29,
                wires: chip.PIO0,
                mover: chip.DMA_CH0,
            },
        }
    }
}
