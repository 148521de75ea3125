//! The checks that make a configuration certain: each says the key, what was found and what was expected.

use super::raw::{self, RawLink, RawTls, RawUplink};
use super::units::{parse_duration, parse_size};
use super::{Allow, LinkConfig, SpoolConfig, TlsConfig, UplinkConfig, millis};
use crate::limits::CONNECTIONS_MAX;
use crate::uplink::network;
use headwater_relay::{Delays, WindowLimits};
use std::path::PathBuf;
use std::time::Duration;

pub(super) fn check_links(raw: Vec<RawLink>) -> Result<Vec<LinkConfig>, String> {
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
            for (name, is_set) in [
                ("path", raw.path.is_some()),
                ("ports", raw.ports.is_some()),
                ("exclude", raw.exclude.is_some()),
                ("baud", raw.baud.is_some()),
            ] {
                if is_set {
                    return misplaced(name, "tcp");
                }
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
            let baud = within(&key("baud"), raw.baud.unwrap_or(115_200), 1_200, 4_000_000)?;
            check_serial(&key, raw.path, raw.ports, raw.exclude, baud)
        }
        Some(other) => Err(format!("{} is \"{other}\", must be \"tcp\" or \"serial\"", key("type"))),
        None => Err(format!("{} is missing, must be \"tcp\" or \"serial\"", key("type"))),
    }
}

fn check_serial(
    key: &dyn Fn(&str) -> String,
    path: Option<String>,
    ports: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    baud: u32,
) -> Result<LinkConfig, String> {
    match (path, ports) {
        (Some(_), Some(_)) => {
            Err(format!("{} and {} are both given, must be one", key("path"), key("ports")))
        }
        (None, None) => Err(format!(
            "{} is missing, must be a device file; or {} with patterns of device files",
            key("path"),
            key("ports")
        )),
        (Some(_), None) if exclude.is_some() => {
            Err(format!("{} has no meaning without {}", key("exclude"), key("ports")))
        }
        (Some(path), None) => Ok(LinkConfig::Serial { path: PathBuf::from(path), baud }),
        (None, Some(patterns)) => {
            if patterns.is_empty() {
                return Err(format!("{} is empty, must hold patterns of device files", key("ports")));
            }
            let pattern = |name: &str, text: &String| {
                glob::Pattern::new(text)
                    .map_err(|error| format!("{} holds \"{text}\", which is no pattern: {error}", key(name)))
            };
            for text in &patterns {
                pattern("ports", text)?;
            }
            let exclude = exclude.unwrap_or_default();
            let exclude = exclude.iter().map(|text| pattern("exclude", text)).collect::<Result<_, _>>()?;
            Ok(LinkConfig::Ports { patterns, exclude, baud })
        }
    }
}

pub(super) fn check_allow(names: &[String]) -> Result<Allow, String> {
    Allow::listed(names.iter().map(String::as_str)).map_err(|error| format!("devices.allow holds {error}"))
}

pub(super) fn check_spool(raw: raw::RawSpool) -> Result<SpoolConfig, String> {
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
        linger: duration("spool.linger", raw.linger, "0ms", ("0ms", "1s"))?,
    })
}

pub(super) fn check_uplink(raw: RawUplink, name: &str) -> Result<UplinkConfig, String> {
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
    let tls = raw.tls.map(|tls| check_tls(tls, &host)).transpose()?;
    Ok(UplinkConfig {
        host,
        port,
        client_id: raw.client_id.unwrap_or_else(|| name.to_owned()),
        credentials,
        tls,
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

fn check_tls(raw: RawTls, host: &str) -> Result<TlsConfig, String> {
    let missing =
        |key: &str, what: &str| format!("uplink.tls.{key} is missing, must be a PEM file with {what}");
    let authority = raw.authority.ok_or_else(|| missing("authority", "who may vouch for the gateway"))?;
    let (key, name) = match raw.name {
        Some(name) => ("uplink.tls.name", name),
        None => ("the host of uplink.gateway", host.to_owned()),
    };
    if network::server_name(&name).is_none() {
        return Err(format!(
            "{key} is \"{name}\", must be a host name or an address, as in the gateway's certificate"
        ));
    }
    let identity = match (raw.certificate, raw.key) {
        (Some(certificate), Some(key)) => Some((PathBuf::from(certificate), PathBuf::from(key))),
        (None, None) => None,
        (Some(_), None) => return Err(missing("key", "the private key of uplink.tls.certificate")),
        (None, Some(_)) => return Err(missing("certificate", "the certificate of uplink.tls.key")),
    };
    let tls = TlsConfig { authority: PathBuf::from(authority), name, identity };
    network::client_config(&tls)?;
    Ok(tls)
}

pub(super) fn duration(
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

pub(super) fn one_of<T: Copy>(key: &str, value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("{key} is \"{value}\", must be {}", names.join(", "))
    })
}

pub(super) fn address(key: &str, text: String) -> Result<String, String> {
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
