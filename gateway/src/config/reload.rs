//! What a running gateway takes up of a new configuration, and what waits for its next start.
//!
//! In: the configuration it runs with, and a new one that was checked. Out: the one it runs with from then on, and the keys that wait.
//! Invariants: every key is in one of the three lists of [`Takes`]; what is taken up of a file opens no door that the whole file would
//! not open. Not here: doing it (`Gateway::reload`).

use super::{Config, Gateway, Journal, Kinesis, Mqtt, Tls};
use crate::config;

/// When a change of a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// With a reload: SIGHUP, `systemctl reload`.
    Reload,
    /// With the next start.
    Restart,
    /// Never for a gateway: the key is for another command.
    NoPart,
}

impl Takes {
    /// One word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Takes::Reload => "reload",
            Takes::Restart => "restart",
            Takes::NoPart => "-",
        }
    }
}

/// One key a gateway takes up at its start only, and whether it is another one now.
type Fixed = (&'static str, fn(&Config, &Config) -> bool);

/// Addresses, because a socket that closes loses its connections; the state directory and everything about files that are open;
/// names that records already carry.
const FIXED: [Fixed; 26] = [
    ("gateway.name", |a, b| a.gateway.name != b.gateway.name),
    ("gateway.state", |a, b| a.gateway.state != b.gateway.state),
    ("gateway.log_format", |a, b| a.gateway.log_format != b.gateway.log_format),
    ("mqtt.listen", |a, b| a.mqtt.listen != b.mqtt.listen),
    ("mqtt.tls.listen", |a, b| listens(&a.mqtt) != listens(&b.mqtt)),
    ("kinesis.listen", |a, b| a.kinesis.listen != b.kinesis.listen),
    ("kinesis.allow_anonymous", |_, _| false),
    ("kinesis.region", |a, b| a.kinesis.region != b.kinesis.region),
    ("kinesis.account", |a, b| a.kinesis.account != b.kinesis.account),
    ("kinesis.limits", |a, b| a.kinesis.limits != b.kinesis.limits),
    ("kinesis.transition", |a, b| a.kinesis.transition != b.kinesis.transition),
    ("kinesis.master_keys", |a, b| a.kinesis.master_keys != b.kinesis.master_keys),
    ("kinesis.make_master_keys", |a, b| a.kinesis.make_master_keys != b.kinesis.make_master_keys),
    ("http.listen", |a, b| a.http.listen != b.http.listen),
    ("http.allow_anonymous", |_, _| false),
    ("journal.segment", |a, b| a.journal.segment_bytes != b.journal.segment_bytes),
    ("journal.pool", |a, b| a.journal.pool_segments != b.journal.pool_segments),
    ("journal.max", |a, b| a.journal.size_bytes_max != b.journal.size_bytes_max),
    ("journal.reserve", |a, b| a.journal.reserve_bytes != b.journal.reserve_bytes),
    ("journal.staged", |a, b| a.journal.staged_bytes_max != b.journal.staged_bytes_max),
    ("journal.tail_cache", |a, b| a.journal.tail_cache_bytes != b.journal.tail_cache_bytes),
    ("journal.linger", |a, b| a.journal.linger != b.journal.linger),
    ("journal.durability", |a, b| a.journal.durability != b.journal.durability),
    ("journal.unread_patience", |a, b| a.journal.unread_patience != b.journal.unread_patience),
    ("repeats.devices_in_memory", |a, b| a.repeats.devices_in_memory != b.repeats.devices_in_memory),
    ("repeats.devices_max", |a, b| a.repeats.devices_max != b.repeats.devices_max),
];

/// Parts of a key that is listed.
const WITH_ANOTHER: [(&str, &str); 1] = [("journal.sync_every", "journal.durability")];

fn listens(mqtt: &Mqtt) -> Option<std::net::SocketAddr> {
    mqtt.tls.as_ref().map(|tls| tls.listen)
}

/// When a change of `key` counts, which is named as in `mqtt.listen` or `sinks.cloud.retry.base`.
#[must_use]
pub fn takes(key: &str) -> Takes {
    let key = WITH_ANOTHER.iter().find(|(part, _)| *part == key).map_or(key, |(_, whole)| whole);
    if key.starts_with("sim.") {
        Takes::NoPart
    } else if FIXED.iter().any(|(fixed, _)| *fixed == key) {
        Takes::Restart
    } else {
        Takes::Reload
    }
}

/// Keys whose new values wait for the next start.
pub(crate) fn waiting(now: &Config, next: &Config) -> Vec<&'static str> {
    FIXED.iter().filter(|(_, differs)| differs(now, next)).map(|(key, _)| *key).collect()
}

/// What a gateway that runs with `now` runs with when it has taken up `next`.
///
/// # Errors
/// The first key that cannot be taken up before a restart without letting in whom neither file lets in, and why.
pub(crate) fn merged(now: &Config, next: &Config) -> Result<Config, String> {
    let merged = Config {
        gateway: Gateway {
            log: next.gateway.log,
            time_quality: next.gateway.time_quality,
            ..now.gateway.clone()
        },
        mqtt: Mqtt { listen: now.mqtt.listen, tls: tls(now, next), ..next.mqtt.clone() },
        kinesis: Kinesis { ..now.kinesis.clone() },
        http: now.http.clone(),
        journal: Journal { write_budget: next.journal.write_budget, ..now.journal.clone() },
        repeats: now.repeats.clone(),
        ..next.clone()
    };
    if is_open(&merged.mqtt) && !is_open(&next.mqtt) {
        return Err(format!(
            "mqtt.allow_anonymous is true, which is for an address that needs a restart first: this gateway still listens on {}",
            merged.mqtt.listen
        ));
    }
    Ok(merged)
}

/// The listener that runs, with the files that are named now.
fn tls(now: &Config, next: &Config) -> Option<Tls> {
    match (&now.mqtt.tls, &next.mqtt.tls) {
        (Some(now), Some(next)) => Some(Tls { listen: now.listen, ..next.clone() }),
        (now, _) => now.clone(),
    }
}

/// Whether other machines reach it without a password.
fn is_open(mqtt: &config::Mqtt) -> bool {
    let reaches = |address: std::net::SocketAddr| !address.ip().is_loopback();
    let shows = |tls: &Tls| tls.settings.clients.is_some() && !tls.settings.optional;
    let by_tls = mqtt.tls.as_ref().is_some_and(|tls| reaches(tls.listen) && !shows(tls));
    mqtt.users.is_empty() && mqtt.anonymous && (reaches(mqtt.listen) || by_tls)
}

/// Keys that a reload changes, at most as fine as people name them: a section, a stream, a sink.
pub(crate) fn changed(now: &Config, next: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    let mut note = |key: &str, differs: bool| {
        if differs {
            keys.push(key.to_owned());
        }
    };
    note("gateway.log", now.gateway.log != next.gateway.log);
    note("gateway.time_quality", now.gateway.time_quality != next.gateway.time_quality);
    note("mqtt.users", now.mqtt.users != next.mqtt.users || now.mqtt.anonymous != next.mqtt.anonymous);
    note("mqtt.tls", now.mqtt.tls != next.mqtt.tls);
    note("mqtt limits", limits(&now.mqtt) != limits(&next.mqtt));
    let defaults = |config: &Config| (config.stream_defaults, config.create_streams);
    note("journal.write_budget", now.journal.write_budget != next.journal.write_budget);
    note("stream_defaults", defaults(now) != defaults(next));
    note("routes", now.routes != next.routes);
    note("dead_letter", now.dead_letter != next.dead_letter);
    for name in now.streams.keys().chain(next.streams.keys().filter(|name| !now.streams.contains_key(*name)))
    {
        note(&format!("streams.{name}"), now.streams.get(name) != next.streams.get(name));
    }
    let sink = |config: &Config, name: &str| config.sinks.iter().find(|sink| sink.name == name).cloned();
    let added = next.sinks.iter().filter(|added| sink(now, &added.name).is_none());
    for name in now.sinks.iter().chain(added).map(|sink| &sink.name) {
        note(&format!("sinks.{name}"), sink(now, name) != sink(next, name));
    }
    keys
}

/// The numbers among the settings of the front.
fn limits(mqtt: &Mqtt) -> impl PartialEq + use<> {
    (
        (
            mqtt.connections,
            mqtt.connections_per_ip,
            mqtt.connects_per_second_per_ip,
            mqtt.connects_per_second,
        ),
        (mqtt.inflight, mqtt.keep_alive, mqtt.session_expiry, mqtt.buffered_bytes),
        (mqtt.subscribers, mqtt.retained, mqtt.drain_timeout, mqtt.packet_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SAMPLE, parse, read};

    fn config(text: &str) -> Config {
        parse("h.toml", text).unwrap().config
    }

    #[test]
    fn every_key_has_its_moment_and_every_fixed_key_exists() {
        let (_, known) = read("sample", SAMPLE).unwrap();
        let more = "[mqtt.tls]\nlisten = \"127.0.0.1:1\"\ncertificate = \"c\"\nkey = \"k\"\nclients = \"a\"";
        let (_, with_tls) = read("tls", more).unwrap();
        let known: Vec<&str> = known.iter().chain(&with_tls).map(|key| key.path.as_str()).collect();
        for (key, _) in FIXED {
            assert!(known.contains(&key), "{key} is no key");
        }
        for section in ["journal.", "kinesis.", "http.", "repeats."] {
            let starts_anew = |key: &&&str| key.starts_with(section) && **key != "journal.write_budget";
            for key in known.iter().filter(starts_anew) {
                assert_eq!(takes(key), Takes::Restart, "{key}");
            }
        }
        assert_eq!(takes("journal.write_budget"), Takes::Reload);
        assert_eq!((takes("mqtt.inflight"), takes("sim.rate")), (Takes::Reload, Takes::NoPart));
        assert_eq!(takes("sinks.cloud.retry.base"), Takes::Reload);
    }

    #[test]
    fn what_needs_a_restart_waits_and_the_rest_is_taken_up() {
        let now = config("[mqtt]\ninflight = 10");
        let next = config(
            "[gateway]\nlog = \"debug\"\n[mqtt]\nlisten = \"127.0.0.1:9\"\ninflight = 20\n[journal]\nmax = \"1GiB\"\nwrite_budget = \"1GB/day\"\n\
             sync_every = \"2s\"\n[streams.a]\nretention = \"2d\"",
        );
        assert_eq!(waiting(&now, &next), ["mqtt.listen", "journal.max"]);
        let merged = merged(&now, &next).unwrap();
        assert_eq!((merged.mqtt.listen, merged.mqtt.inflight), (now.mqtt.listen, 20));
        assert_eq!(merged.journal.size_bytes_max, now.journal.size_bytes_max);
        assert_eq!(merged.journal.write_budget.map(u64::from), Some(1_000_000_000));
        assert_eq!(
            changed(&now, &merged),
            ["gateway.log", "mqtt limits", "journal.write_budget", "streams.a"]
        );
        assert_eq!(
            waiting(&merged, &next),
            ["mqtt.listen", "journal.max"],
            "they wait until there is a restart"
        );
        assert_eq!(changed(&merged, &merged), [""; 0]);
    }

    #[test]
    fn a_password_is_asked_for_as_long_as_other_machines_reach_the_address() {
        let users = "[[mqtt.users]]\nname = \"a\"\npassword = \"x\"";
        let now = config(&format!("[mqtt]\nlisten = \"0.0.0.0:1883\"\n{users}"));
        // Right for the address it names, where nobody else comes.
        let next = config("[mqtt]\nlisten = \"127.0.0.1:1883\"\nallow_anonymous = true");
        let error = merged(&now, &next).unwrap_err();
        assert!(error.starts_with("mqtt.allow_anonymous is true"), "{error}");
        // Without it only this machine is let in, whatever the address.
        assert!(merged(&now, &config("[mqtt]\nlisten = \"127.0.0.1:1883\"")).is_ok());
        assert!(merged(&now, &config("[mqtt]\nlisten = \"0.0.0.0:1883\"\nallow_anonymous = true")).is_ok());
    }
}
