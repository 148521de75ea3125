//! The configuration as the rest of the gateway gets it.

use super::Rate;
use crate::forward::SinkSettings;
use crate::mqtt::TlsSettings;
use crate::route::Route;
use headwater_engine::LimitProfile;
use headwater_engine::keys::KeySource;
use headwater_telemetry::TimeQuality;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything a gateway can be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[mqtt]`
    pub mqtt: Mqtt,
    /// `[kinesis]`
    pub kinesis: Kinesis,
    /// `[http]`
    pub http: Http,
    /// `[journal]`
    pub journal: Journal,
    /// `[stream_defaults]`: streams that routes create on first use.
    pub stream_defaults: Stream,
    /// `[stream_defaults] create`: whether they are created at all.
    pub create_streams: bool,
    /// `[streams.<name>]`: streams created at start, in this shape.
    pub streams: BTreeMap<String, Stream>,
    /// `[[routes]]`, in their order.
    pub routes: Vec<Route>,
    /// `[sinks.<name>]`: where streams go on to.
    pub sinks: Vec<SinkSettings>,
    /// `[dead_letter] stream`
    pub dead_letter: String,
    /// `[repeats]`
    pub repeats: Repeats,
    /// `[sim]`
    pub sim: Sim,
}

/// What the gateway is called, where it keeps its data, how it logs.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Its name in logs and on the status page.
    pub name: String,
    /// The directory that holds everything it writes.
    pub state: PathBuf,
    /// How good this machine's clock is, as devices are told that ask for the time.
    pub time_quality: TimeQuality,
    /// Least severe log line shown.
    pub log: tracing::level_filters::LevelFilter,
    /// Form of the log.
    pub log_format: LogFormat,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One line of text per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// The MQTT front.
#[derive(Debug, Clone)]
pub struct Mqtt {
    /// Where it listens.
    pub listen: SocketAddr,
    /// `[mqtt.tls]`: a second address, for devices that speak TLS.
    pub tls: Option<Tls>,
    /// Whether clients from other machines may come without a password.
    pub anonymous: bool,
    /// Who may come. Empty: everyone from this machine, and from others when `anonymous` is set.
    pub users: Vec<User>,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address; 0 is no limit.
    pub connections_per_ip: usize,
    /// New connections a second from one address.
    pub connects_per_second_per_ip: u32,
    /// New connections in any second, from all addresses together.
    pub connects_per_second: u32,
    /// Clients that are subscribed at once, and shared subscriptions.
    pub subscribers: usize,
    /// Largest packet, bytes.
    pub packet_bytes: u32,
    /// Unacknowledged publishes of one client.
    pub inflight: u16,
    /// Longest keep alive.
    pub keep_alive: Duration,
    /// Longest time a session outlives its connection.
    pub session_expiry: Duration,
    /// Bytes read but not yet staged, over all connections.
    pub buffered_bytes: usize,
    /// Retained messages.
    pub retained: usize,
    /// Wait at shutdown for pending commits and slow clients.
    pub drain_timeout: Duration,
}

/// The TLS listener of the MQTT front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Certificates and fragment size.
    pub settings: TlsSettings,
    /// Names of certificates that speak for every device: edge agents.
    pub agents: Vec<String>,
}

/// Somebody who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// MQTT user name.
    pub name: String,
    /// MQTT password.
    pub password: Secret,
    /// Filters of topics the user may publish to.
    pub publish: Vec<String>,
    /// Filters the user may subscribe to.
    pub subscribe: Vec<String>,
}

/// A text that does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(super) String);

impl Secret {
    /// The secret itself. Do not log it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The Kinesis API of the embedded engine.
#[derive(Debug, Clone)]
pub struct Kinesis {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Region in ARNs.
    pub region: String,
    /// Account in ARNs, 12 digits.
    pub account: String,
    /// Rates the API keeps to; the gateway's own routes have none.
    pub limits: LimitProfile,
    /// How long streams show that they are being changed.
    pub transition: Duration,
    /// The file of master keys that streams' keys are wrapped with; see [`Config::key_source`] for when none is given.
    pub master_keys: Option<PathBuf>,
    /// Whether that file is made when it does not exist.
    pub make_master_keys: bool,
}

impl Config {
    /// Where the master keys are: the file that is named, else the service manager's credential, else `master-keys` in the
    /// state directory.
    #[must_use]
    pub fn key_source(&self) -> KeySource {
        let create = self.kinesis.make_master_keys;
        let named = self.kinesis.master_keys.clone().map(|path| KeySource::File { path, create });
        let credential = || KeySource::credential(Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?));
        named
            .or_else(credential)
            .unwrap_or_else(|| KeySource::File { path: self.gateway.state.join("master-keys"), create })
    }
}

/// Health and metrics.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// The journal under the engine.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Bytes of a segment file.
    pub segment_bytes: u64,
    /// Empty segments kept ready.
    pub pool_segments: u32,
    /// Most bytes of all segments.
    pub size_bytes_max: u64,
    /// Bytes of the file system left to others.
    pub reserve_bytes: u64,
    /// Most bytes waiting to become durable.
    pub staged_bytes_max: usize,
    /// Bytes of recent records kept in memory.
    pub tail_cache_bytes: usize,
    /// How long a group waits for company.
    pub linger: Duration,
    /// Bytes that may be written in any 24 hours; commits wait longer as they run out.
    pub write_budget: Option<NonZeroU64>,
    /// What durable means.
    pub durability: DurabilityMode,
    /// For how long what the disk does not read is waited for before it counts as lost.
    pub unread_patience: Duration,
}

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurabilityMode {
    /// It survives a power cut.
    Sync,
    /// It survives a crash of the process; a power cut takes up to this much.
    Interval(Duration),
}

/// The shape of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// Shards it is created with.
    pub shards: u32,
    /// How long its records are kept, hours.
    pub retention_hours: u32,
}

/// Memory for finding repeats.
#[derive(Debug, Clone)]
pub struct Repeats {
    /// Devices whose marks are kept in memory; those of others are read from disk when they send.
    pub devices_in_memory: usize,
    /// Devices whose marks are kept on disk, and with it in the memory of the journal's metadata.
    pub devices_max: usize,
}

/// A simulated fleet.
#[derive(Debug, Clone)]
pub struct Sim {
    /// Simulated devices.
    pub devices: u32,
    /// Readings of one device.
    pub rate: Rate,
    /// How long to run; zero is until stopped.
    pub duration: Duration,
    /// Readings of one device before it stops; zero is no end.
    pub count: u64,
    /// Same seed, same fleet.
    pub seed: u64,
    /// Devices speak MQTT themselves instead of a link to an agent.
    pub mqtt: bool,
    /// More publishers of plain JSON.
    pub foreign: u32,
    /// Share of time a device is cut off, percent.
    pub offline_percent: u8,
    /// How often a device restarts.
    pub reboot: Rate,
    /// Device clocks are wrong by up to this.
    pub clock_skew: Duration,
}
