//! Which pin is what: the one file to change for another board. These are the pins of boards without a USB bridge, such as the
//! ESP32-C3 Super Mini and the XIAO ESP32C3; README.md has others.
//!
//! In: the chip's peripherals. Out: pins by purpose, and the rest.

use esp_hal::gpio::{Level, Output, OutputConfig};
use esp_hal::peripherals::{self, Peripherals};

/// The level at which the lamp is dark. Also what this pin has to be at a reset, or the chip does not enter its bootloader.
const LAMP_OFF: Level = Level::High;

/// The chip, its parts named by what they do.
pub(crate) struct Parts {
    /// Shows which device this is: GPIO8.
    pub(crate) lamp: Output<'static>,
    pub(crate) link: LinkParts,
    #[cfg(feature = "i2c")]
    pub(crate) bus: BusParts,
    pub(crate) thermometer: peripherals::TSENS<'static>,
    pub(crate) flash: peripherals::FLASH<'static>,
    /// Noise of the converter makes chance.
    pub(crate) chance: (peripherals::RNG<'static>, peripherals::ADC1<'static>),
    /// Has the watchdog that also ends a processor whose clock stands still.
    pub(crate) watchdog: peripherals::RTC_TIMER<'static>,
    /// What tasks are switched by.
    pub(crate) scheduler: (peripherals::TIMG0<'static>, peripherals::FROM_CPU_INTR0<'static>),
    #[cfg(feature = "wifi")]
    pub(crate) radio: peripherals::WIFI<'static>,
}

/// The serial line over USB: the chip's own connector, GPIO18 and GPIO19.
#[cfg(feature = "usb")]
pub(crate) struct LinkParts {
    pub(crate) usb: peripherals::USB_DEVICE<'static>,
}

/// The serial line on two pins: GPIO20 receives, GPIO21 sends. Development kits pass them on to a USB bridge.
#[cfg(not(feature = "usb"))]
pub(crate) struct LinkParts {
    pub(crate) receive: peripherals::GPIO20<'static>,
    pub(crate) send: peripherals::GPIO21<'static>,
    pub(crate) uart: peripherals::UART0<'static>,
}

/// The I2C bus: GPIO6 is SDA, GPIO7 is SCL.
#[cfg(feature = "i2c")]
pub(crate) struct BusParts {
    pub(crate) data: peripherals::GPIO6<'static>,
    pub(crate) clock: peripherals::GPIO7<'static>,
    pub(crate) bus: peripherals::I2C0<'static>,
}

impl Parts {
    /// Hands the parts out.
    pub(crate) fn new(chip: Peripherals) -> Self {
        Self {
            lamp: Output::new(chip.GPIO8, LAMP_OFF, OutputConfig::default()),
            #[cfg(feature = "usb")]
            link: LinkParts { usb: chip.USB_DEVICE },
            #[cfg(not(feature = "usb"))]
            link: LinkParts { receive: chip.GPIO20, send: chip.GPIO21, uart: chip.UART0 },
            #[cfg(feature = "i2c")]
            bus: BusParts { data: chip.GPIO6, clock: chip.GPIO7, bus: chip.I2C0 },
            thermometer: chip.TSENS,
            flash: chip.FLASH,
            chance: (chip.RNG, chip.ADC1),
            watchdog: chip.RTC_TIMER,
            scheduler: (chip.TIMG0, chip.FROM_CPU_INTR0),
            #[cfg(feature = "wifi")]
            radio: chip.WIFI,
        }
    }
}
