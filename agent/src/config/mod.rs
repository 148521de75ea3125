//! The configuration: parsed loosely, checked once into a type that cannot be wrong.
//!
//! In: TOML text and the environment's idea of a state folder. Out: [`Config`], or an error that names the key, what
//! was found and what was expected. Not here: logging set-up and the command line.

mod check;
mod raw;
mod units;

use crate::allow::Allow;
use check::{address, check_allow, check_links, check_spool, check_uplink, duration, one_of};
use headwater_relay::{Delays, WindowLimits};
use raw::{RawConfig, RawLink, RawUplink};
use std::path::PathBuf;
use std::time::Duration;

/// All keys with their defaults and meaning; what `config init` writes.
pub const SAMPLE: &str = include_str!("../../headwater-agent.sample.toml");

/// The checked configuration of one agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name in logs.
    pub name: String,
    /// Folder of the spool. Created when missing.
    pub state: PathBuf,
    /// How to log. Only the binary looks at it.
    pub log: LogFormat,
    /// Least severe level that is logged. Only the binary looks at it.
    pub log_level: String,
    /// Interval of the status line.
    pub status_every: Duration,
    /// What to tell devices of the time of this host.
    pub time_quality: HostTime,
    /// Device links.
    pub links: Vec<LinkConfig>,
    /// The devices that are taken.
    pub allow: Allow,
    /// The spool.
    pub spool: SpoolConfig,
    /// The MQTT connection.
    pub uplink: UplinkConfig,
    /// Address of `/metrics` and `/health`; none means no status port.
    pub http: Option<String>,
    /// Seed of the retry jitter. Not in the file: taken from the clock unless a test sets it.
    pub seed: Option<u64>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How good the time of this host is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostTime {
    /// As good as the host itself says: whether something keeps its clock right.
    Auto,
    /// Right.
    Synced,
    /// Perhaps not.
    Estimated,
}

/// One device link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkConfig {
    /// Devices connect over TCP.
    Tcp {
        /// Address and port; port 0 takes a free one.
        listen: String,
        /// Connections at once, 1 to [`CONNECTIONS_MAX`](crate::limits::CONNECTIONS_MAX); more wait in the system's queue.
        connections_max: usize,
        /// A connection that says nothing for this long is closed.
        idle: Duration,
    },
    /// One device on a serial port, reopened when it is unplugged and replugged.
    Serial {
        /// Device file.
        path: PathBuf,
        /// Bits per second.
        baud: u32,
    },
    /// Devices on serial ports that come and go.
    Ports {
        /// Patterns of device files (`*`, `?`, `[...]`); each file that matches is a link while it is there.
        patterns: Vec<String>,
        /// Those that are not.
        exclude: Vec<glob::Pattern>,
        /// Bits per second.
        baud: u32,
    },
}

/// Size and pace of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Largest size on disk in bytes.
    pub size_bytes_max: u64,
    /// Free bytes of the file system that the spool never takes.
    pub reserve_bytes: u64,
    /// Size of one file in bytes.
    pub segment_bytes: u64,
    /// How long a group waits for more before it is synced.
    pub linger: Duration,
}

/// The MQTT connection to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// MQTT client id.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// How the connection is encrypted; none: not at all.
    pub tls: Option<TlsConfig>,
    /// Interval of PINGREQ; at least 5 s.
    pub keep_alive: Duration,
    /// Time for TCP connect and CONNACK.
    pub connect_timeout: Duration,
    /// Records and bytes sent and not yet acked.
    pub window: WindowLimits,
    /// Largest packet taken from the gateway, in bytes.
    pub packet_bytes_max: u32,
    /// Delays between attempts.
    pub retry: Delays,
}

/// TLS to the gateway. Files are PEM, and read for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates of those who may vouch for the gateway; nobody else is believed.
    pub authority: PathBuf,
    /// The name that its certificate must have.
    pub name: String,
    /// Certificate (with its chain) and private key that are shown to a gateway that asks.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What is wrong with a configuration: `links[1].baud is 7, must be 1200 to 4000000`, with a line where one is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Parses and checks TOML text. Relative and default state folders come from the environment.
    ///
    /// # Errors
    /// The first thing that is wrong, with line and column for syntax errors and unknown keys.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
        Self::check(raw).map_err(ConfigError)
    }

    /// For an agent inside another program (a simulation, a demonstration, a test): defaults, one TCP link on a free
    /// loopback port, no status port.
    pub fn embedded(state: PathBuf, gateway: std::net::SocketAddr) -> Self {
        let raw = RawConfig {
            agent: raw::RawAgent {
                state: Some(String::new()),
                // Whoever runs it knows whether the time is right, and it is the same everywhere inside one program.
                time_quality: Some("synced".to_owned()),
                ..Default::default()
            },
            uplink: RawUplink { gateway: Some(gateway.to_string()), ..Default::default() },
            http: raw::RawHttp { listen: Some("off".to_owned()) },
            links: vec![RawLink {
                kind: Some("tcp".to_owned()),
                listen: Some("127.0.0.1:0".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        };
        Self { state, ..Self::check(raw).expect("defaults are valid, a test says so") }
    }

    fn check(raw: RawConfig) -> Result<Self, String> {
        let name = raw.agent.name.unwrap_or_else(|| "headwater-agent".to_owned());
        if name.is_empty()
            || name.len() > 64
            || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        {
            return Err(format!("agent.name is \"{name}\", must be 1 to 64 of A-Z a-z 0-9 . _ -"));
        }
        let links = check_links(raw.links)?;
        Ok(Self {
            state: raw.agent.state.map_or_else(default_state, |state| Ok(PathBuf::from(state)))?,
            log: one_of(
                "agent.log",
                raw.agent.log.as_deref().unwrap_or("auto"),
                &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
            )?,
            log_level: one_of(
                "agent.log_level",
                raw.agent.log_level.as_deref().unwrap_or("info"),
                &["error", "warn", "info", "debug", "trace"].map(|level| (level, level)),
            )?
            .to_owned(),
            status_every: duration("agent.status_every", raw.agent.status_every, "60s", ("1s", "1d"))?,
            time_quality: one_of(
                "agent.time_quality",
                raw.agent.time_quality.as_deref().unwrap_or("auto"),
                &[("auto", HostTime::Auto), ("synced", HostTime::Synced), ("estimated", HostTime::Estimated)],
            )?,
            links,
            allow: raw.devices.allow.as_deref().map(check_allow).transpose()?.unwrap_or_default(),
            spool: check_spool(raw.spool)?,
            uplink: check_uplink(raw.uplink, &name)?,
            http: match raw.http.listen {
                None => Some("127.0.0.1:9465".to_owned()),
                Some(listen) if listen == "off" => None,
                Some(listen) => Some(address("http.listen", listen)?),
            },
            seed: None,
            name,
        })
    }
}

/// `$STATE_DIRECTORY` (systemd), the XDG state folder, or its default.
fn default_state() -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").map(|path| path.join("headwater-agent")))
        .or_else(|| variable("HOME").map(|path| path.join(".local/state/headwater-agent")))
        .ok_or_else(|| {
            "agent.state is missing and neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set".to_owned()
        })
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Adds line, column and, for an unknown key, the nearest known one to what the parser says.
fn syntax_error(text: &str, error: &toml::de::Error) -> ConfigError {
    let message = error.message();
    let place = error.span().map_or_else(String::new, |span| {
        let before = &text[..span.start.min(text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("line {line}, column {column}: ")
    });
    // serde says: unknown field `listn`, expected one of `listen`, `baud`
    let mut quoted = message.split('`').skip(1).step_by(2);
    let hint = match (message.starts_with("unknown field"), quoted.next()) {
        (true, Some(found)) => quoted
            .map(|known| (strsim::damerau_levenshtein(found, known), known))
            .min()
            .filter(|(distance, _)| *distance <= 3)
            .map_or_else(String::new, |(_, known)| format!(" (did you mean `{known}`?)")),
        _ => String::new(),
    };
    ConfigError(format!("{place}{message}{hint}"))
}

#[cfg(test)]
mod tests;
