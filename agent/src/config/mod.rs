//! The configuration: parsed loosely, checked once into a type that cannot be wrong.
//!
//! In: TOML text and the environment's idea of a state folder. Out: [`Config`], or an error that names the key, what
//! was found and what was expected. Not here: logging set-up and the command line.

mod raw;
mod units;

use crate::limits::CONNECTIONS_MAX;
use headwater_relay::{Delays, WindowLimits};
use headwater_telemetry::{DeviceId, TimeQuality};
use raw::{RawConfig, RawLink, RawUplink};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use units::{parse_duration, parse_size};

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
    /// Quality told to devices with the time of this host.
    pub time_quality: TimeQuality,
    /// Device links.
    pub links: Vec<LinkConfig>,
    /// The only devices that are taken; none means any.
    pub allow: Option<BTreeSet<DeviceId>>,
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

/// One device link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkConfig {
    /// Devices connect over TCP.
    Tcp {
        /// Address and port; port 0 takes a free one.
        listen: String,
        /// Connections at once, 1 to [`CONNECTIONS_MAX`]; more wait in the system's queue.
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
#[derive(Debug, Clone)]
pub struct UplinkConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// MQTT client id.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<(String, String)>,
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
            agent: raw::RawAgent { state: Some(String::new()), ..Default::default() },
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
                raw.agent.time_quality.as_deref().unwrap_or("synced"),
                &[("synced", TimeQuality::Synced), ("estimated", TimeQuality::Estimated)],
            )?,
            links,
            allow: raw.devices.allow.map(check_allow).transpose()?,
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

fn check_links(raw: Vec<RawLink>) -> Result<Vec<LinkConfig>, String> {
    if raw.is_empty() {
        return Ok(vec![LinkConfig::Tcp {
            listen: "127.0.0.1:4880".to_owned(),
            connections_max: 1024,
            idle: Duration::from_secs(600),
        }]);
    }
    raw.into_iter().enumerate().map(|(index, link)| check_link(index, link)).collect()
}

fn check_link(index: usize, raw: RawLink) -> Result<LinkConfig, String> {
    let key = |name: &str| format!("links[{index}].{name}");
    let misplaced = |name: &str, kind: &str| Err(format!("{} has no meaning for type \"{kind}\"", key(name)));
    match raw.kind.as_deref() {
        Some("tcp") => {
            if raw.path.is_some() || raw.baud.is_some() {
                return misplaced(if raw.path.is_some() { "path" } else { "baud" }, "tcp");
            }
            let listen = raw.listen.unwrap_or_else(|| "127.0.0.1:4880".to_owned());
            let connections_max = raw.connections_max.unwrap_or(1024);
            let connections_max = within(&key("connections_max"), connections_max, 1, CONNECTIONS_MAX)?;
            let idle = duration(&key("idle"), raw.idle, "10m", ("1s", "1d"))?;
            Ok(LinkConfig::Tcp { listen: address(&key("listen"), listen)?, connections_max, idle })
        }
        Some("serial") => {
            for (name, is_set) in [
                ("listen", raw.listen.is_some()),
                ("connections_max", raw.connections_max.is_some()),
                ("idle", raw.idle.is_some()),
            ] {
                if is_set {
                    return misplaced(name, "serial");
                }
            }
            let path =
                raw.path.ok_or_else(|| format!("{} is missing, must be a device file", key("path")))?;
            let baud = within(&key("baud"), raw.baud.unwrap_or(115_200), 1_200, 4_000_000)?;
            Ok(LinkConfig::Serial { path: PathBuf::from(path), baud })
        }
        Some(other) => Err(format!("{} is \"{other}\", must be \"tcp\" or \"serial\"", key("type"))),
        None => Err(format!("{} is missing, must be \"tcp\" or \"serial\"", key("type"))),
    }
}

fn check_allow(names: Vec<String>) -> Result<BTreeSet<DeviceId>, String> {
    names
        .into_iter()
        .map(|name| {
            DeviceId::parse(&name)
                .map_err(|error| format!("devices.allow holds \"{name}\", which is no device id: {error}"))
        })
        .collect()
}

fn check_spool(raw: raw::RawSpool) -> Result<SpoolConfig, String> {
    let size_bytes_max = size("spool.max", raw.max, "512MiB", ("16MiB", "1024GiB"))?;
    let segment_bytes = size("spool.segment", raw.segment, "4MiB", ("1MiB", "256MiB"))?;
    if segment_bytes > size_bytes_max / 4 {
        return Err(format!(
            "spool.segment is {segment_bytes} bytes, must be at most a quarter of spool.max ({size_bytes_max} bytes)"
        ));
    }
    Ok(SpoolConfig {
        size_bytes_max,
        segment_bytes,
        reserve_bytes: size("spool.reserve", raw.reserve, "64MiB", ("0B", "1024GiB"))?,
        linger: duration("spool.linger", raw.linger, "0ms", ("0ms", "10s"))?,
    })
}

fn check_uplink(raw: RawUplink, name: &str) -> Result<UplinkConfig, String> {
    let gateway = raw.gateway.unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let (host, port) = host_port("uplink.gateway", &gateway)?;
    let password = match (raw.password, raw.password_file) {
        (Some(_), Some(_)) => {
            return Err("uplink.password and uplink.password_file are both given, must be one".into());
        }
        (password, None) => password,
        (None, Some(path)) => {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                format!("uplink.password_file is \"{path}\", which cannot be read: {error}")
            })?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
    };
    let credentials = match (raw.user, password) {
        (Some(user), password) => Some((user, password.unwrap_or_default())),
        (None, Some(_)) => return Err("uplink.user is missing beside a password".into()),
        (None, None) => None,
    };
    let packet_bytes_max = size("uplink.packet_max", raw.packet_max, "64KiB", ("1KiB", "256MiB"))?;
    let in_flight_bytes = size("uplink.in_flight_bytes", raw.in_flight_bytes, "256KiB", ("1KiB", "256MiB"))?;
    let delay = |key: &str, value, default| duration(key, value, default, ("1ms", "1d"));
    let base = delay("uplink.retry.base", raw.retry.base, "200ms")?;
    let max = delay("uplink.retry.max", raw.retry.max, "30s")?;
    if max < base {
        return Err(format!("uplink.retry.max is {max:?}, must be at least uplink.retry.base ({base:?})"));
    }
    Ok(UplinkConfig {
        host,
        port,
        client_id: raw.client_id.unwrap_or_else(|| name.to_owned()),
        credentials,
        keep_alive: duration("uplink.keep_alive", raw.keep_alive, "15s", ("5s", "1h"))?,
        connect_timeout: duration("uplink.connect_timeout", raw.connect_timeout, "5s", ("1s", "60s"))?,
        window: WindowLimits {
            records_max: usize::from(within("uplink.in_flight", raw.in_flight.unwrap_or(100), 1, 10_000)?),
            bytes_max: usize::try_from(in_flight_bytes).unwrap_or(usize::MAX),
        },
        packet_bytes_max: u32::try_from(packet_bytes_max).unwrap_or(u32::MAX),
        retry: Delays {
            base_ms: millis(base),
            max_ms: millis(max),
            stable_ms: millis(delay("uplink.retry.stable", raw.retry.stable, "10s")?),
        },
    })
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

fn duration(
    key: &str,
    value: Option<String>,
    default: &str,
    range: (&str, &str),
) -> Result<Duration, String> {
    let text = value.as_deref().unwrap_or(default);
    let found = parse_duration(text).map_err(|error| format!("{key}: {error}"))?;
    let (least, most) = (parse_duration(range.0)?, parse_duration(range.1)?);
    if (least..=most).contains(&found) {
        return Ok(found);
    }
    Err(format!("{key} is \"{text}\", must be {} to {}", range.0, range.1))
}

fn size(key: &str, value: Option<String>, default: &str, range: (&str, &str)) -> Result<u64, String> {
    let text = value.as_deref().unwrap_or(default);
    let found = parse_size(text).map_err(|error| format!("{key}: {error}"))?;
    let (least, most) = (parse_size(range.0)?, parse_size(range.1)?);
    if (least..=most).contains(&found) {
        return Ok(found);
    }
    Err(format!("{key} is \"{text}\", must be {} to {}", range.0, range.1))
}

fn within<T: PartialOrd + std::fmt::Display>(key: &str, value: T, least: T, most: T) -> Result<T, String> {
    if value >= least && value <= most {
        return Ok(value);
    }
    Err(format!("{key} is {value}, must be {least} to {most}"))
}

fn one_of<T: Copy>(key: &str, value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("{key} is \"{value}\", must be {}", names.join(", "))
    })
}

fn address(key: &str, text: String) -> Result<String, String> {
    host_port(key, &text)?;
    Ok(text)
}

fn host_port(key: &str, text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("{key} is \"{text}\", must be host:port such as \"127.0.0.1:1883\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if host.is_empty() || host.contains(char::is_whitespace) || host.contains('/') {
        return Err(wrong());
    }
    Ok((host.to_owned(), port.parse().map_err(|_| wrong())?))
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
