//! MQTT over Ethernet: addresses by DHCP, names by DNS, one TCP connection, TLS where the device has credentials.
//!
//! In: frames of the Ethernet chip, a gateway. Out: batches at the gateway. Not here: MQTT (`headwater-device`).

use crate::BoardDevice;
use crate::ethernet::Ethernet;
use crate::time::BoardClock;
use core::fmt::Write;
use embassy_futures::select::select;
use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::TcpSocket;
use embassy_net::{Stack, StackResources};
use embassy_time::{Duration, Instant};
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
const TIMEOUT_S: u64 = 15;

/// Keeps connected to the gateway, for ever.
pub(crate) async fn run(device: &BoardDevice, gateway: &Uplink) {
    let Some(chip) = Ethernet::open() else {
        device.log(BoardClock.now(), LogLevel::Error, "no Ethernet: start the machine with -nic");
        return core::future::pending().await;
    };
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    let boot = u64::from(device.hello().boot.0);
    // Not by chance: the machine has none. Different in every boot and machine, so that ports are not used twice.
    let seed = chip.unique() ^ boot.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ Instant::now().as_ticks();
    let config = embassy_net::Config::dhcpv4(embassy_net::DhcpConfig::default());
    let (stack, mut runner) = embassy_net::new(chip, config, RESOURCES.init(StackResources::new()), seed);
    select(runner.run(), send(device, stack, gateway, seed)).await;
}

/// Sends to the gateway, for ever. Why it cannot is told once, not at every try.
async fn send(device: &BoardDevice, stack: Stack<'_>, gateway: &Uplink, seed: u64) {
    static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
    static WINDOWS: ConstStaticCell<[[u8; WINDOW_BYTES]; 2]> = ConstStaticCell::new([[0; WINDOW_BYTES]; 2]);
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
    let buffers = BUFFERS.take();
    let mut tcp = Tcp { stack, gateway, windows: WINDOWS.take() };
    #[cfg(feature = "tls")]
    {
        use headwater_telemetry::limits::CREDENTIALS_BYTES_MAX;
        use mqtt::tls::{NoClock, Records, Tls};
        static SECRETS: ConstStaticCell<[u8; CREDENTIALS_BYTES_MAX]> = ConstStaticCell::new([0; _]);
        static RECORDS: ConstStaticCell<Records> = ConstStaticCell::new(Records::new());
        match device.credentials(SECRETS.take()).await {
            Ok(None) => {}
            Ok(Some(credentials)) => {
                device.log(
                    BoardClock.now(),
                    LogLevel::Warn,
                    "no source of chance: TLS of this board is for tests",
                );
                let chance = crate::not_chance::NotChance::new(seed);
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
    #[cfg(not(feature = "tls"))]
    let _ = seed;
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
