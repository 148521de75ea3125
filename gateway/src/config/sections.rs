//! Every key of the configuration, with its default and what it may be.
//!
//! In: the tables of a file. Out: [`Config`]. This is the one place that knows the keys; the sample file is checked
//! against it.

use super::Rate;
use super::journal::journal;
use super::reader::Placed;
use super::routes::routes;
use super::section::Section;
use super::sinks::sinks;
use super::streams::{dead_letter, stream_defaults, streams};
use super::tls::tls;
use super::types::{Config, Gateway, Http, Kinesis, LogFormat, Mqtt, Repeats, Secret, Sim, User};
use super::units::{parse_duration, parse_percent};
use crate::mqtt::SUBSCRIBERS_MAX;
use crate::route::TopicFilter;
use headwater_engine::LimitProfile;
use headwater_engine::limits::TRANSITION_MAX;
use headwater_telemetry::TimeQuality;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

pub(super) fn config(mut root: Section<'_, '_>) -> Config {
    let gateway = gateway(root.table("gateway"));
    let mqtt = mqtt(root.table("mqtt"));
    let kinesis = kinesis(root.table("kinesis"));
    let http = http(root.table("http"));
    let journal = journal(root.table("journal"));
    let (stream_defaults, create_streams) = stream_defaults(root.table("stream_defaults"));
    let streams = streams(root.table("streams"), stream_defaults);
    let dead_letter = dead_letter(root.table("dead_letter"));
    let routes = routes(&mut root);
    let sinks = sinks(root.table("sinks"), kinesis.listen);
    let repeats = repeats(root.table("repeats"));
    let sim = sim(root.table("sim"));
    root.end();
    Config {
        gateway,
        mqtt,
        kinesis,
        http,
        journal,
        stream_defaults,
        create_streams,
        streams,
        routes,
        sinks,
        dead_letter,
        repeats,
        sim,
    }
}

fn gateway(mut table: Section<'_, '_>) -> Gateway {
    let levels = [
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    let qualities = [("synced", TimeQuality::Synced), ("estimated", TimeQuality::Estimated)];
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let gateway = Gateway {
        name: table.parsed("name", "headwater", "a name that is not empty", filled).value,
        state: table
            .optional("state", "a path that is not empty", filled)
            .map_or_else(default_state, |state| PathBuf::from(state.value)),
        time_quality: table.choice("time_quality", "synced", &qualities),
        log: table.choice("log", "info", &levels),
        log_format: table.choice("log_format", "auto", &formats),
    };
    table.end();
    gateway
}

/// Where data goes unless told otherwise: what systemd gives a service, else the user's state directory.
pub(super) fn default_state() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("STATE_DIRECTORY")
        .or_else(|| set("XDG_STATE_HOME").map(|home| home.join("headwater")))
        .or_else(|| set("HOME").map(|home| home.join(".local/state/headwater")))
        .unwrap_or_else(|| PathBuf::from("headwater-state"))
}

fn mqtt(mut table: Section<'_, '_>) -> Mqtt {
    let listen = address(&mut table, "127.0.0.1:1883");
    let allow_anonymous = table.flag("allow_anonymous", false);
    let users: Vec<User> = table.tables("users").into_iter().flatten().map(user).collect();
    let open = !listen.value.ip().is_loopback();
    if open && users.is_empty() && !allow_anonymous {
        let expected = "a loopback address, [[mqtt.users]] with passwords, or allow_anonymous = true, \
                        for anyone who reaches this address could publish";
        table.wrong(listen.line, "listen", format_args!("\"{}\"", listen.value), expected);
    }
    if allow_anonymous && !users.is_empty() {
        let expected = "false beside [[mqtt.users]], who are the only ones let in";
        table.wrong(table.line(), "allow_anonymous", "true", expected);
    } else if open && allow_anonymous {
        table.warn(
            listen.line,
            "allow_anonymous",
            "true",
            "false, for anyone who reaches this address can publish",
        );
    }
    let tls = tls(table.table("tls"), allow_anonymous || !users.is_empty());
    let mqtt = Mqtt {
        listen: listen.value,
        tls,
        anonymous: allow_anonymous,
        users,
        connections: size(table.count("connections", 10_000, 1..=1_000_000)),
        connections_per_ip: size(table.count("connections_per_ip", 8_192, 0..=1_000_000)),
        connects_per_second_per_ip: narrow(table.count("connects_per_second_per_ip", 2_000, 1..=100_000)),
        connects_per_second: narrow(table.count("connects_per_second", 4_000, 1..=100_000)),
        subscribers: size(table.count("subscribers", 1_000, 1..=SUBSCRIBERS_MAX as u64)),
        packet_bytes: narrow(table.bytes("packet", 1_028 * KIB, KIB..=10 * MIB + 4 * KIB)),
        inflight: narrow(table.count("inflight", 1_024, 1..=65_535)),
        keep_alive: table.duration("keep_alive", 600 * SECOND, SECOND..=65_535 * SECOND),
        session_expiry: table.duration("session_expiry", 7 * DAY, Duration::ZERO..=365 * DAY),
        buffered_bytes: size(table.bytes("buffered", 64 * MIB, MIB..=4 * GIB)),
        retained: size(table.count("retained", 100_000, 0..=10_000_000)),
        drain_timeout: table.duration("drain_timeout", 5 * SECOND, Duration::ZERO..=600 * SECOND),
    };
    table.end();
    mqtt
}

fn user(mut table: Section<'_, '_>) -> User {
    let line = table.line();
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let name = table.optional("name", "a user name that is not empty", filled);
    if name.is_none() {
        table.wrong(line, "name", "missing", "a user name");
    }
    let password = table.secret("password");
    let file = table.optional("password_file", "a path", filled);
    let password = match (password, file) {
        (Some(password), None) => password,
        (None, Some(Placed { value: path, line })) => std::fs::read_to_string(&path).map_or_else(
            |error| {
                let expected = format!("a file that can be read ({error})");
                table.wrong(line, "password_file", format_args!("\"{path}\""), expected);
                String::new()
            },
            |text| text.trim_end_matches(['\r', '\n']).to_owned(),
        ),
        (Some(_), Some(file)) => {
            table.wrong(file.line, "password_file", "set beside password", "one of the two");
            String::new()
        }
        (None, None) => {
            table.wrong(line, "password", "missing", "password or password_file");
            String::new()
        }
    };
    let publish = filters(&mut table, "publish");
    let subscribe = filters(&mut table, "subscribe");
    table.end();
    User {
        name: name.map_or_else(String::new, |name| name.value),
        password: Secret(password),
        publish,
        subscribe,
    }
}

fn filters(table: &mut Section<'_, '_>, key: &'static str) -> Vec<String> {
    let filters = table.list(key, &["#"]);
    for filter in &filters.value {
        if let Err(error) = TopicFilter::parse(filter) {
            table.wrong(
                filters.line,
                key,
                format_args!("\"{filter}\""),
                format_args!("topic filters ({error})"),
            );
        }
    }
    filters.value
}

fn kinesis(mut table: Section<'_, '_>) -> Kinesis {
    let listen = guarded_address(&mut table, "127.0.0.1:4567", "read and write every stream");
    let word = |text: &str| {
        let plain =
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (plain && !text.is_empty()).then(|| text.to_owned())
    };
    let account = |text: &str| {
        (text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.to_owned())
    };
    let kinesis = Kinesis {
        listen,
        region: table.parsed("region", "us-east-1", "a region such as \"us-east-1\"", word).value,
        account: table.parsed("account", "000000000000", "12 digits in quotes", account).value,
        limits: table.choice("limits", "none", &[("none", LimitProfile::None), ("aws", LimitProfile::Aws)]),
        transition: table.duration("transition", Duration::ZERO, Duration::ZERO..=TRANSITION_MAX),
        master_keys: table
            .optional("master_keys", "a path that is not empty", |text| {
                (!text.is_empty()).then(|| text.to_owned())
            })
            .map(|path| PathBuf::from(path.value)),
        make_master_keys: table.flag("make_master_keys", false),
    };
    table.end();
    kinesis
}

fn http(mut table: Section<'_, '_>) -> Http {
    let http = Http { listen: guarded_address(&mut table, "127.0.0.1:9464", "read the metrics") };
    table.end();
    http
}

fn address(table: &mut Section<'_, '_>, default: &str) -> Placed<SocketAddr> {
    let expected = format!("an IP address and a port, such as \"{default}\"");
    table.parsed("listen", default, &expected, |text| text.parse().ok())
}

/// An address of a service that asks nobody for a password.
fn guarded_address(table: &mut Section<'_, '_>, default: &str, danger: &str) -> SocketAddr {
    let listen = address(table, default);
    let allowed = table.flag("allow_anonymous", false);
    if !listen.value.ip().is_loopback() {
        if allowed {
            let expected = format!("false, for anyone who reaches this address can {danger}");
            table.warn(listen.line, "allow_anonymous", "true", expected);
        } else {
            let expected = format!(
                "a loopback address or allow_anonymous = true, for anyone who reaches this address could {danger}"
            );
            table.wrong(listen.line, "listen", format_args!("\"{}\"", listen.value), expected);
        }
    }
    listen.value
}

fn repeats(mut table: Section<'_, '_>) -> Repeats {
    let repeats = Repeats {
        devices_in_memory: size(table.count("devices_in_memory", 10_000, 16..=10_000_000)),
        devices_max: size(table.count("devices_max", 100_000, 16..=10_000_000)),
    };
    table.end();
    repeats
}

fn sim(mut table: Section<'_, '_>) -> Sim {
    let rate = "a rate such as \"1/s\", \"6/m\" or \"1/h\"";
    let sim = Sim {
        devices: narrow(table.count("devices", 20, 0..=100_000)),
        rate: table.parsed("rate", "1/s", rate, |text| Rate::parse(text).filter(|rate| rate.count > 0)).value,
        duration: table
            .parsed(
                "duration",
                "0s",
                "a duration with its unit, such as \"60s\"; \"0s\" is no end",
                parse_duration,
            )
            .value,
        count: table.count("count", 0, 0..=1_000_000_000),
        seed: table.count("seed", 1, 0..=i64::MAX.unsigned_abs()),
        mqtt: table.flag("mqtt", false),
        foreign: narrow(table.count("foreign", 0, 0..=10_000)),
        offline_percent: table
            .parsed("offline", "0%", "a share such as \"5%\", at most \"90%\"", |text| {
                parse_percent(text).filter(|percent| *percent <= 90)
            })
            .value,
        reboot: table.parsed("reboot", "0/h", rate, Rate::parse).value,
        clock_skew: table.duration("clock_skew", Duration::ZERO, Duration::ZERO..=365 * DAY),
    };
    table.end();
    sim
}

/// For numbers that were checked against a range which fits the type.
pub(super) fn narrow<T: TryFrom<u64>>(checked: u64) -> T {
    match T::try_from(checked) {
        Ok(value) => value,
        Err(_) => unreachable!("the range of every key fits its type"),
    }
}

pub(super) fn size(checked: u64) -> usize {
    narrow(checked)
}
