//! Certificates, gateways, devices and clients for the tests of TLS.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module of a test binary")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod client;

#[allow(unused_imports, reason = "each test file uses its part")]
pub use client::*;

use embedded_io_adapters::tokio_1::FromTokio;
use headwater::{Gateway, config};
use headwater_device::mqtt::Dial;
use headwater_device::testing::{FlashModel, SharedFlash};
use headwater_device::{Clock, Device, Layout, LinkDown, Sampler, Settings};
use headwater_telemetry::limits::CHANNELS_MAX;
use headwater_telemetry::{Channel, ChannelId, Credentials, DeviceId, Uptime, Value, ValueKind, heapless};
use p256::pkcs8::DecodePrivateKey;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Far longer than anything here takes; it ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A directory made by `headwater certificates`.
pub struct Certificates(tempfile::TempDir);

/// The files of one device as it keeps them.
pub struct Files {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    pub fn credentials<'a>(&'a self, server_name: &'a str) -> Credentials<'a> {
        Credentials {
            server_name,
            authority: &self.authority,
            certificate: &self.certificate,
            key: &self.key,
        }
    }
}

impl Certificates {
    pub fn make(server: &[&str], devices: &[&str]) -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        made.run(&["authority"]);
        made.run(&[&["server"], server].concat());
        devices.iter().for_each(|device| made.run(&["device", device]));
        made
    }

    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        let output =
            command.arg("certificates").arg("--dir").arg(self.0.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn of(&self, device: &str) -> Files {
        let der = |name: &str| CertificateDer::from_pem_file(self.path().join(name)).unwrap().to_vec();
        let pem = std::fs::read_to_string(self.path().join(format!("{device}.key.pem"))).unwrap();
        let key = p256::SecretKey::from_pkcs8_pem(&pem).unwrap();
        Files {
            authority: der("authority.pem"),
            certificate: der(&format!("{device}.pem")),
            key: key.to_sec1_der().unwrap().to_vec(),
        }
    }

    pub fn replace_server(&self, name: &str) {
        self.take_server_away();
        self.run(&["server", name]);
    }

    pub fn spoil_server(&self) {
        self.take_server_away();
        std::fs::write(self.path().join("server.pem"), "no certificate").unwrap();
    }

    /// Times of files count in whole ticks of the system's clock.
    fn take_server_away(&self) {
        std::fs::remove_file(self.path().join("server.pem")).unwrap();
        let _ = std::fs::remove_file(self.path().join("server.key.pem"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub async fn gateway(certificates: &Certificates, tls: &str) -> Gateway {
    gateway_with(certificates, tls, "").await
}

/// A gateway whose state goes with the certificates.
pub async fn gateway_with(certificates: &Certificates, tls: &str, users: &str) -> Gateway {
    let path = certificates.path();
    let state = path.join("state");
    let text = format!(
        "[gateway]\nstate = {state:?}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[mqtt.tls]\nlisten = \"127.0.0.1:0\"\n\
         certificate = {:?}\nkey = {:?}\nclients = {:?}\n{tls}{users}[kinesis]\nlisten = \"127.0.0.1:0\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[journal]\nsegment = \"4MiB\"\nmax = \"64MiB\"\nreserve = \"0B\"\n",
        path.join("server.pem"),
        path.join("server.key.pem"),
        path.join("authority.pem"),
    );
    Gateway::start(&config::parse("test", &text).unwrap().config).await.unwrap()
}

/// Uptime of this machine's clock.
#[derive(Clone, Copy)]
pub struct Uptimes(Instant);

impl Uptimes {
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Uptimes {
    fn now(&self) -> Uptime {
        Uptime(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }

    async fn sleep_until(&self, at: Uptime) {
        if at.0 == u64::MAX {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(at.0.saturating_sub(self.now().0))).await;
    }
}

/// Counts.
#[derive(Default)]
pub struct Sensor(i32);

impl Sampler for Sensor {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        [Channel::new("count", "", ValueKind::Fixed, 0).unwrap()].into_iter().collect()
    }

    fn period_ms(&self, _: ChannelId) -> u32 {
        20
    }

    async fn sample(&mut self, _: ChannelId) -> Option<Value> {
        self.0 += 1;
        Some(Value::Fixed(self.0))
    }
}

type Flash = SharedFlash<4096, 4>;

pub async fn device(name: &str, sensor: &Sensor) -> Device<Flash, ()> {
    let chip = FlashModel::erased(16, 1);
    let layout = Layout::without_vault(0..8192, 8192..16 * 4096);
    let settings = Settings { batch_entries: 4, ..Settings::new(DeviceId::parse(name).unwrap(), "test 1") };
    Device::open(SharedFlash(Rc::new(RefCell::new(chip))), layout, settings, sensor, ()).await.unwrap()
}

/// Returns once `batches` batches of four were delivered.
pub async fn delivered(device: &Device<Flash, ()>, batches: u32) {
    use headwater_device::Outbox;
    until(|| async_free(device.undelivered()).filter(|cursor| cursor.line().next.0 >= 4 * batches)).await;
}

/// What a future says that does not wait, or nothing while the device holds its flash.
fn async_free<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

/// Asks until there is an answer.
pub async fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        match ask() {
            Some(answer) => return answer,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// TCP as a board would dial it.
pub struct Dialer(pub SocketAddr);

impl Dial for Dialer {
    type Stream<'a> = FromTokio<tokio::net::TcpStream>;

    async fn dial(&mut self) -> Result<Self::Stream<'_>, LinkDown> {
        tokio::net::TcpStream::connect(self.0).await.map(FromTokio::new).map_err(|_| LinkDown::Unreachable)
    }
}
