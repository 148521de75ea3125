//! `[sinks.<name>]`: where streams go on to.

use super::reader::Placed;
use super::section::Section;
use super::sections::{HOUR, SECOND, narrow, size};
use super::streams::is_stream_name;
use super::units::parse_percent;
use crate::forward::{CredentialsFrom, Drain, Order, SinkSettings, Start, WhenFull, limits};
use headwater_aws::{FormatChoice, Identity, IotSettings, RoleSettings};
use headwater_relay::Delays;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The name of a sink is part of keys and metrics.
const NAME_EXPECTED: &str = "a sink name, 1 to 32 of a-z 0-9 _ -";

/// `own`: where this gateway's Kinesis API listens.
pub(super) fn sinks(table: Section<'_, '_>, own: SocketAddr) -> Vec<SinkSettings> {
    let mut sinks = Vec::new();
    for (name, table) in table.named() {
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) {
            table.wrong_name(format_args!("\"{name}\""), NAME_EXPECTED);
        }
        if sinks.len() >= limits::SINKS_MAX {
            table.wrong_name(format_args!("\"{name}\""), format_args!("at most {} sinks", limits::SINKS_MAX));
        }
        sinks.push(sink(name, table, own));
    }
    sinks
}

fn sink(name: String, mut table: Section<'_, '_>, own: SocketAddr) -> SinkSettings {
    let _: () = table.choice("type", "kinesis", &[("kinesis", ())]);
    let (streams, target) = (streams(&mut table), target(&mut table));
    let (target_line, target) = (target.line, target.value);
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let url =
        |text: &str| (text.starts_with("http://") || text.starts_with("https://")).then(|| text.to_owned());
    let region = table.optional("region", "a region such as \"eu-west-1\"", filled).map(value);
    let endpoint = table.optional("endpoint", "a URL such as \"http://127.0.0.1:4567\"", url);
    let endpoint_line = endpoint.as_ref().map_or(0, |endpoint| endpoint.line);
    let endpoint = endpoint.map(value);
    let profile = table.optional("profile", "the name of a profile", filled).map(value);
    let role = role(&mut table);
    let credentials = credentials(&mut table);
    let formats = [("auto", FormatChoice::Learn), ("json", FormatChoice::Json), ("cbor", FormatChoice::Cbor)];
    let policies = [
        ("block", WhenFull::Block),
        ("drop_oldest", WhenFull::DropOldest),
        ("drop_newest", WhenFull::DropNewest),
    ];
    let sink = SinkSettings {
        name,
        streams,
        target,
        region,
        endpoint,
        profile,
        credentials,
        role,
        format: table.choice("format", "auto", &formats),
        timeout: table.duration("timeout", 60 * SECOND, SECOND..=600 * SECOND),
        create: table.flag("create", false),
        aggregate: table.choice("aggregate", "none", &[("none", false), ("kpl", true)]),
        start: table.choice("start", "oldest", &[("oldest", Start::Oldest), ("newest", Start::Newest)]),
        required: table.flag("required", true),
        waiting_bytes_max: table.bytes("max_waiting", 0, 0..=1 << 50),
        when_full: table.choice("when_full", "block", &policies),
        tries: narrow(table.count("tries", 20, 1..=1_000_000)),
        calls: size(table.count("calls", 4, 1..=limits::CALLS_MAX as u64)),
        is_paced: table.choice("limits", "aws", &[("aws", true), ("none", false)]),
        retry: retry(table.table("retry")),
        drain: drain(table.table("drain")),
    };
    let is_one_for_many = sink.streams.len() > 1 || sink.streams.iter().any(|name| name.ends_with('*'));
    if is_one_for_many && !sink.target.contains("{stream}") {
        let expected = "{stream} in it, else several streams become one";
        table.warn(target_line, "target", format_args!("\"{}\"", sink.target), expected);
    }
    if sink.create && sink.target.starts_with("arn:") {
        let found = format_args!("an ARN beside create = true");
        table.wrong(target_line, "target", found, "the name of a stream, as a stream is made by its name");
    }
    if let Some(endpoint) =
        sink.endpoint.as_deref().filter(|endpoint| leads_to(endpoint, own) && sink.circles())
    {
        let expected =
            "another gateway, or a target that the sink does not carry: records would go round for ever";
        table.wrong(endpoint_line, "endpoint", format_args!("\"{endpoint}\", this gateway itself"), expected);
    }
    table.end();
    sink
}

/// Whether a URL is the address of our own API, as far as it can be seen without asking anybody.
fn leads_to(endpoint: &str, own: SocketAddr) -> bool {
    let uri: Option<hyper::Uri> = endpoint.parse().ok();
    let Some(uri) = uri else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let is_here = match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip.is_unspecified() || ip == own.ip(),
        Err(_) => host == "localhost",
    };
    is_here && uri.port_u16().unwrap_or(usual) == own.port()
}

fn value<T>(placed: Placed<T>) -> T {
    placed.value
}

fn streams(table: &mut Section<'_, '_>) -> Vec<String> {
    let streams = table.list("streams", &["telemetry"]);
    for name in &streams.value {
        let beginning = name.strip_suffix('*').unwrap_or(name);
        if !(is_stream_name(beginning) || name == "*") {
            let expected = "names of streams, or beginnings of names with a * behind them";
            table.wrong(streams.line, "streams", format_args!("\"{name}\""), expected);
        }
    }
    streams.value
}

fn target(table: &mut Section<'_, '_>) -> Placed<String> {
    let expected = "the name or ARN of a stream, {stream} for the name of ours";
    let allowed = |text: &str| {
        let name = text.replace("{stream}", "x");
        let is_arn = name.starts_with("arn:")
            && name.rsplit_once(":stream/").is_some_and(|(_, name)| is_stream_name(name));
        (is_stream_name(&name) || is_arn).then(|| text.to_owned())
    };
    table.parsed("target", "{stream}", expected, allowed)
}

fn role(table: &mut Section<'_, '_>) -> Option<RoleSettings> {
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let arn = |text: &str| text.starts_with("arn:").then(|| text.to_owned());
    let role = table.optional("role", "the ARN of a role", arn).map(value);
    let external_id = table.optional("external_id", "text that is not empty", filled);
    if let (None, Some(external_id)) = (&role, &external_id) {
        table.wrong(external_id.line, "external_id", "set without role", "role beside it");
    }
    Some(RoleSettings { external_id: external_id.map(value), ..RoleSettings::new(role?) })
}

fn credentials(table: &mut Section<'_, '_>) -> CredentialsFrom {
    let checked = table.choice("credentials", "auto", &[("auto", true), ("unchecked", false)]);
    match (iot(table.table("iot")), checked) {
        (Some(iot), true) => CredentialsFrom::Iot(iot),
        (Some(_), false) => {
            table.wrong(table.line(), "iot", "set beside credentials = \"unchecked\"", "one of the two");
            CredentialsFrom::Unchecked
        }
        (None, true) => CredentialsFrom::Auto,
        (None, false) => CredentialsFrom::Unchecked,
    }
}

/// AWS IoT Core's credentials endpoint; none when there is no such table, or it is not good.
fn iot(mut table: Section<'_, '_>) -> Option<IotSettings> {
    let line = table.line();
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    let endpoint = table.optional("endpoint", "a host name", filled);
    let role_alias = table.optional("role_alias", "the alias of a role", filled);
    let thing_name = table.optional("thing", "the name of a thing", filled);
    let certificate = table.optional("certificate", "a path", path);
    let key = table.optional("key", "a path", path);
    let authority = table.optional("authority", "a path", path);
    if line > 0 {
        for (name, is_missing) in [
            ("endpoint", endpoint.is_none()),
            ("role_alias", role_alias.is_none()),
            ("certificate", certificate.is_none()),
            ("key", key.is_none()),
        ] {
            if is_missing {
                table.wrong(line, name, "missing", "what AWS IoT Core's credentials endpoint needs");
            }
        }
    }
    table.end();
    Some(IotSettings {
        endpoint: endpoint?.value,
        role_alias: role_alias?.value,
        thing_name: thing_name.map(value),
        identity: Identity { certificates: certificate?.value, key: key?.value },
        authority: authority.map(value),
    })
}

fn retry(mut table: Section<'_, '_>) -> Delays {
    let base = table.duration("base", Duration::from_millis(200), Duration::from_millis(1)..=HOUR);
    let max = table.duration("max", 60 * SECOND, Duration::from_millis(1)..=24 * HOUR);
    let stable = table.duration("stable", 10 * SECOND, Duration::ZERO..=24 * HOUR);
    if max < base {
        table.wrong(table.line(), "max", "less than base", "at least base");
    }
    table.end();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Delays { base_ms: millis(base), max_ms: millis(max), stable_ms: millis(stable) }
}

fn drain(mut table: Section<'_, '_>) -> Drain {
    let share = |text: &str| parse_percent(text).filter(|percent| (1..=99).contains(percent));
    let live_share = table.parsed("live_share", "70%", "a share from \"1%\" to \"99%\"", share).value;
    let drain = Drain {
        live_share_percent: live_share,
        rate_bytes: table.bytes("rate", 0, 0..=1 << 40),
        order: table.choice("order", "oldest", &[("oldest", Order::Oldest), ("newest", Order::Newest)]),
    };
    table.end();
    drain
}
