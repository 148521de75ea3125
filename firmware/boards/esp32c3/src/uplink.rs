//! MQTT over the network: addresses by DHCP, names by DNS, one TCP connection, TLS where the device has credentials.
//!
//! In: the radio's frames, a gateway. Out: batches at the gateway. Not here: joining the network (`wifi`), MQTT (`headwater-device`).

use crate::BoardDevice;
use crate::clock::BoardClock;
use core::fmt::Write;
use embassy_futures::select::select;
use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::TcpSocket;
use embassy_net::{DhcpConfig, Stack, StackResources};
use embassy_time::Duration;
use esp_hal::rng::Rng;
use esp_radio::wifi::Interface;
use headwater_device::mqtt::{self, Buffers, Dial, Gateway};
use headwater_device::{Clock, LinkDown};
use headwater_telemetry::limits::LOG_BYTES_MAX;
use headwater_telemetry::{LogLevel, Uplink};
use static_cell::{ConstStaticCell, StaticCell};

/// Sockets at once: DHCP, DNS, TCP.
const SOCKETS: usize = 3;

/// Bytes of a TCP window: two packets of MQTT.
const WINDOW_BYTES: usize = 1024;

/// Seconds without an answer after which a connection is given up.
const TIMEOUT_S: u64 = 30;

/// Keeps connected to the gateway, for ever. Why it is not is told once, not at every try.
pub(crate) async fn run(device: &BoardDevice, gateway: &Uplink) {
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
    static WINDOWS: ConstStaticCell<[[u8; WINDOW_BYTES]; 2]> = ConstStaticCell::new([[0; WINDOW_BYTES]; 2]);
    let mut dhcp = DhcpConfig::default();
    dhcp.hostname = device.hello().device.as_str().try_into().ok();
    let chance = Rng::new();
    let seed = u64::from(chance.random()) << 32 | u64::from(chance.random());
    let (stack, mut runner) = embassy_net::new(
        Interface::station(),
        embassy_net::Config::dhcpv4(dhcp),
        RESOURCES.init(StackResources::new()),
        seed,
    );
    let mut told = None;
    let tell = |down: LinkDown| {
        if told.replace(down) != Some(down) {
            let mut text = heapless::String::<LOG_BYTES_MAX>::new();
            // Cut at the limit of a log line.
            let _ = write!(text, "uplink: {down}");
            device.log(BoardClock.now(), LogLevel::Warn, &text);
        }
    };
    let login = Gateway { user: &gateway.user, password: gateway.password.reveal() };
    let tcp = Tcp { stack, gateway, windows: WINDOWS.take() };
    select(runner.run(), send(device, tcp, login, BUFFERS.take(), tell)).await;
}

/// Sends to the gateway, for ever.
async fn send(
    device: &BoardDevice,
    mut tcp: Tcp<'_>,
    login: Gateway<'_>,
    buffers: &mut Buffers,
    tell: impl FnMut(LinkDown),
) {
    #[cfg(feature = "tls")]
    {
        use mqtt::tls::{NoClock, Records, Tls};
        static SECRETS: ConstStaticCell<[u8; headwater_telemetry::limits::CREDENTIALS_BYTES_MAX]> =
            ConstStaticCell::new([0; _]);
        static RECORDS: ConstStaticCell<Records> = ConstStaticCell::new(Records::new());
        match device.credentials(SECRETS.take()).await {
            Ok(None) => {}
            Ok(Some(credentials)) => {
                let chance =
                    esp_hal::rng::Trng::try_new().expect("the radio is on, and its noise makes chance");
                let mut tls = Tls::<_, _, NoClock>::new(tcp, credentials, RECORDS.take(), chance);
                match mqtt::run(device, &BoardClock, &mut tls, login, buffers, tell).await {}
            }
            // Never without what once was there: the data would go to whoever answers.
            Err(_) => {
                device.log(BoardClock.now(), LogLevel::Error, "credentials cannot be read: store them anew");
                return core::future::pending().await;
            }
        }
    }
    match mqtt::run(device, &BoardClock, &mut tcp, login, buffers, tell).await {}
}

/// Opens TCP connections to the gateway.
struct Tcp<'a> {
    stack: Stack<'a>,
    gateway: &'a Uplink,
    windows: &'a mut [[u8; WINDOW_BYTES]; 2],
}

impl Dial for Tcp<'_> {
    type Stream<'s>
        = TcpSocket<'s>
    where
        Self: 's;

    async fn dial(&mut self) -> Result<TcpSocket<'_>, LinkDown> {
        self.stack.wait_config_up().await;
        let found = self.stack.dns_query(&self.gateway.host, DnsQueryType::A).await;
        let address = *found.ok().as_ref().and_then(|found| found.first()).ok_or(LinkDown::Unreachable)?;
        let [receive, send] = &mut *self.windows;
        let mut socket = TcpSocket::new(self.stack, receive, send);
        socket.set_timeout(Some(Duration::from_secs(TIMEOUT_S)));
        socket.connect((address, self.gateway.port)).await.map_err(|_| LinkDown::Unreachable)?;
        Ok(socket)
    }
}
