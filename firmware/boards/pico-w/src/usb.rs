//! The serial link over USB: one CDC ACM port, which Linux shows as `/dev/serial/by-id/usb-Headwater_pico-w_<name>-if00`.
//!
//! In: the USB peripheral, a name. Out: a byte stream, and the future that keeps USB going. Not here: frames.

use embassy_rp::peripherals::USB;
use embassy_rp::usb::{self, Driver};
use embassy_rp::{Peri, bind_interrupts};
use embassy_usb::class::cdc_acm::{BufferedReceiver, CdcAcmClass, CdcAcmError, State};
use embassy_usb::{Builder, Config, UsbDevice};
use embedded_io_async::{ErrorType, Write};
use headwater_telemetry::DeviceId;
use static_cell::StaticCell;

bind_interrupts!(struct Interrupts {
    USBCTRL_IRQ => usb::InterruptHandler<USB>;
});

type Port = Driver<'static, USB>;

/// The pid.codes number for tests: enough for private use. A product needs one of its own.
const VENDOR_AND_PRODUCT: (u16, u16) = (0x1209, 0x0001);

/// Bytes of a full-speed bulk packet.
const PACKET_BYTES: u16 = 64;

/// What the port is asked to receive with.
pub(crate) type Receiver = BufferedReceiver<'static, Port>;

/// The sending half.
pub(crate) struct Sender(embassy_usb::class::cdc_acm::Sender<'static, Port>);

/// Keeps USB going.
pub(crate) struct Runner(UsbDevice<'static, Port>);

/// Opens the port.
pub(crate) fn open(usb: Peri<'static, USB>, name: &DeviceId) -> (Receiver, Sender, Runner) {
    static NAME: StaticCell<DeviceId> = StaticCell::new();
    static CONFIG_DESCRIPTOR: StaticCell<[u8; 128]> = StaticCell::new();
    static BOS_DESCRIPTOR: StaticCell<[u8; 16]> = StaticCell::new();
    static CONTROL: StaticCell<[u8; 64]> = StaticCell::new();
    static STATE: StaticCell<State<'static>> = StaticCell::new();
    static PACKET: StaticCell<[u8; PACKET_BYTES as usize]> = StaticCell::new();

    let driver = Driver::new(usb, Interrupts);
    let mut config = Config::new(VENDOR_AND_PRODUCT.0, VENDOR_AND_PRODUCT.1);
    config.manufacturer = Some("Headwater");
    config.product = Some("pico-w");
    config.serial_number = Some(NAME.init(name.clone()).as_str());
    config.max_power = 100;
    let mut builder = Builder::new(
        driver,
        config,
        CONFIG_DESCRIPTOR.init([0; 128]),
        BOS_DESCRIPTOR.init([0; 16]),
        &mut [],
        CONTROL.init([0; 64]),
    );
    let class = CdcAcmClass::new(&mut builder, STATE.init(State::new()), PACKET_BYTES);
    let (sender, receiver) = class.split();
    (receiver.into_buffered(PACKET.init([0; PACKET_BYTES as usize])), Sender(sender), Runner(builder.build()))
}

/// Waits until a host has set the port up.
pub(crate) async fn ready(receiver: &mut Receiver) {
    receiver.wait_connection().await;
}

impl Runner {
    /// Answers the host, for ever.
    pub(crate) async fn run(mut self) {
        self.0.run().await;
    }
}

impl ErrorType for Sender {
    type Error = CdcAcmError;
}

impl Write for Sender {
    /// A packet shorter than a full one ends a transfer: the host hands it on at once instead of waiting for more, whatever
    /// the length of a frame.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, CdcAcmError> {
        let len = bytes.len().min(usize::from(PACKET_BYTES) - 1);
        self.0.write(&bytes[..len]).await
    }

    async fn flush(&mut self) -> Result<(), CdcAcmError> {
        Ok(())
    }
}
