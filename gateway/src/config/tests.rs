//! Messages of wrong configurations, word for word, and the sample against the keys.

use super::*;
use crate::route::Codec;

/// What is wrong with `source`, one line per problem.
fn problems(source: &str) -> String {
    parse("h.toml", source).expect_err("the configuration is wrong").to_string()
}

fn warnings(source: &str) -> Vec<String> {
    parse("h.toml", source).unwrap().warnings.iter().map(ToString::to_string).collect()
}

/// What stands in the file, and what is said about it.
const WRONG: &[(&str, &str)] = &[
    (
        "[mqtt]\nlsiten = \"127.0.0.1:1\"",
        "h.toml:2: mqtt.lsiten is an unknown key, expected one of allow_anonymous, buffered, connections, \
             connections_per_ip, connects_per_second, connects_per_second_per_ip, drain_timeout, inflight, keep_alive, \
             listen, packet, retained, session_expiry, subscribers, tls, users; did you mean \"listen\"?",
    ),
    (
        "\n\n[mqqt]\n",
        "h.toml:3: mqqt is an unknown key, expected one of dead_letter, gateway, http, journal, kinesis, mqtt, \
             repeats, routes, sim, sinks, stream_defaults, streams; did you mean \"mqtt\"?",
    ),
    (
        "[gateway]\nlog = \"inof\"",
        "h.toml:2: gateway.log is \"inof\", expected one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"; \
             did you mean \"info\"?",
    ),
    (
        "[mqtt]\nlisten = \"1883\"",
        "h.toml:2: mqtt.listen is \"1883\", expected an IP address and a port, such as \"127.0.0.1:1883\"",
    ),
    (
        "[mqtt]\nlisten = \"0.0.0.0:1883\"",
        "h.toml:2: mqtt.listen is \"0.0.0.0:1883\", expected a loopback address, [[mqtt.users]] with passwords, \
             or allow_anonymous = true, for anyone who reaches this address could publish",
    ),
    (
        "[kinesis]\nlisten = \"[::]:4567\"",
        "h.toml:2: kinesis.listen is \"[::]:4567\", expected a loopback address or allow_anonymous = true, for \
             anyone who reaches this address could read and write every stream",
    ),
    (
        "[kinesis]\nlimits = \"amazon\"",
        "h.toml:2: kinesis.limits is \"amazon\", expected one of \"none\", \"aws\"",
    ),
    (
        "[kinesis]\ntransition = \"2h\"",
        "h.toml:2: kinesis.transition is \"2h\", expected a duration with its unit from \"0s\" to \"1h\", such as \
             \"0s\"",
    ),
    (
        "[mqtt]\nsubscribers = 50001",
        "h.toml:2: mqtt.subscribers is 50001, expected a whole number from 1 to 50000",
    ),
    (
        "[journal]\nunread_patience = \"8d\"",
        "h.toml:2: journal.unread_patience is \"8d\", expected a duration with its unit from \"0s\" to \"7d\", such as \
             \"5m\"",
    ),
    (
        "[mqtt]\nkeep_alive = 60",
        "h.toml:2: mqtt.keep_alive is 60, expected a duration with its unit from \"1s\" to \"65535s\", such as \
             \"10m\"",
    ),
    (
        "[journal]\nsegment = \"16 megabytes\"",
        "h.toml:2: journal.segment is \"16 megabytes\", expected a size with its unit from \"4MiB\" to \
             \"1GiB\", such as \"24MiB\"",
    ),
    (
        "[journal]\nwrite_budget = \"300MB\"",
        "h.toml:2: journal.write_budget is \"300MB\", expected bytes a day from \"5MB/day\" to \"100000GB/day\", such as \
             \"300MB/day\"",
    ),
    ("[mqtt]\ninflight = 70000", "h.toml:2: mqtt.inflight is 70000, expected a whole number from 1 to 65535"),
    (
        "[stream_defaults]\ncreate = \"yes\"",
        "h.toml:2: stream_defaults.create is \"yes\", expected true or false",
    ),
    (
        "[streams.\"a b\"]\nshards = 2",
        "h.toml:1: streams.a b is named \"a b\", expected a stream name, 1 to 128 of a-z A-Z 0-9 _ . -",
    ),
    ("mqtt = 5", "h.toml:1: mqtt is 5, expected a table, [mqtt]"),
    (
        "[[routes]]\nstream = \"t\"",
        "h.toml:1: routes[0].match is missing, expected a topic filter such as \"site/{site}/dev/{device}/#\"",
    ),
    (
        "[[routes]]\nmatch = \"a\"",
        "h.toml:1: routes[0].stream is missing, expected a stream name, or to = [\"downlink\"]",
    ),
    (
        "[[routes]]\nmatch = \"a/#/b\"\nstream = \"t\"",
        "h.toml:2: routes[0].match is \"a/#/b\", expected a topic filter (\"#\" may only stand alone in the \
             last level)",
    ),
    (
        "[[routes]]\nmatch = \"a/{dev}\"\nstream = \"t\"\npartition_key = \"{device}\"",
        "h.toml:4: routes[0].partition_key is \"{device}\", expected a template (the filter has no level named \
             \"device\", only dev)",
    ),
    (
        "[[routes]]\nmatch = \"a/+\"\ncodec = \"headwater\"\nstream = \"t\"",
        "h.toml:2: routes[0].match is \"a/+\", expected a filter with a level {device}, for codec \"headwater\" \
             needs to know whose message it is",
    ),
    (
        "[[routes]]\nmatch = \"a\"\ncodec = \"jsno\"\nstream = \"t\"",
        "h.toml:3: routes[0].codec is \"jsno\", expected one of \"auto\", \"headwater\", \"json\", \"raw\", \"command\"; did \
             you mean \"json\"?",
    ),
    (
        "[[routes]]\nmatch = \"a\"\nstream = \"my stream\"",
        "h.toml:3: routes[0].stream is \"my stream\", expected a stream name, 1 to 128 of a-z A-Z 0-9 _ . -",
    ),
    (
        "[[routes]]\nmatch = \"a\"\nstream = \"t\"\nto = [\"cloud\"]",
        "h.toml:4: routes[0].to is \"cloud\", expected \"stream\", \"downlink\" or both",
    ),
    (
        "[sim]\nrate = \"fast\"",
        "h.toml:2: sim.rate is \"fast\", expected a rate such as \"1/s\", \"6/m\" or \"1/h\"",
    ),
    (
        "[mqtt]\nallow_anonymous = true\n[[mqtt.users]]\nname = \"a\"\npassword = \"b\"",
        "h.toml:1: mqtt.allow_anonymous is true, expected false beside [[mqtt.users]], who are the only ones let in",
    ),
    (
        "[mqtt.tls]\nlisten = \"127.0.0.1:8883\"\ncertificate = \"c\"\nkey = \"k\"",
        "h.toml:1: mqtt.tls.clients is missing, expected the path of the PEM file of the authority that signs devices, or \
         client_certificates = \"none\"",
    ),
    (
        "[mqtt.tls]\nlisten = \"0.0.0.0:8883\"\ncertificate = \"c\"\nkey = \"k\"\nclient_certificates = \"none\"",
        "h.toml:1: mqtt.tls.client_certificates is not \"required\", expected \"required\", or [[mqtt.users]] with passwords, \
         for anyone who reaches this address could publish",
    ),
    (
        "[sinks.a]\nendpoint = \"http://localhost:4567\"",
        "h.toml:2: sinks.a.endpoint is \"http://localhost:4567\", this gateway itself, expected another gateway, or a target that \
         the sink does not carry: records would go round for ever",
    ),
    (
        "[sinks.a]\ntarget = \"arn:aws:kinesis:eu-west-1:1:stream/x\"\ncreate = true",
        "h.toml:2: sinks.a.target is an ARN beside create = true, expected the name of a stream, as a stream is made by its name",
    ),
    ("[mqtt\n", "h.toml:1: syntax error, unclosed table, expected `]`"),
];

#[test]
fn a_sink_may_copy_within_the_gateway_but_not_in_circles_and_one_target_for_many_is_warned_of() {
    let own = |more: &str| format!("[sinks.a]\nendpoint = \"http://127.0.0.1:4567\"\n{more}");
    assert!(parse("h.toml", &own("target = \"copy-{stream}\"")).is_ok());
    assert!(parse("h.toml", &own("streams = [\"*\"]\ntarget = \"copy-{stream}\"")).is_err());
    assert!(parse("h.toml", "[sinks.a]\nendpoint = \"http://127.0.0.1:4568\"").is_ok());
    let loaded = parse("h.toml", "[sinks.a]\nstreams = [\"a-*\"]\ntarget = \"all\"").unwrap();
    assert_eq!(
        loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["h.toml:3: sinks.a.target is \"all\", expected {stream} in it, else several streams become one"]
    );
}

#[test]
fn wrong_configurations_say_where_what_and_what_instead() {
    for (source, expected) in WRONG {
        assert_eq!(problems(source), *expected, "{source}");
    }
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = problems("[mqtt]\ninflight = 0\nx = 1\n[http]\nlisten = 5\n");
    let lines: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["h.toml:2:", "h.toml:3:", "h.toml:5:"]);
}

#[test]
fn passwords_are_never_shown() {
    let users = "[[mqtt.users]]\nname = \"a\"\npassword = \"hunter2\"\n";
    let loaded = parse("h.toml", users).unwrap();
    assert_eq!(loaded.config.mqtt.users[0].password.reveal(), "hunter2");
    assert!(!format!("{:?}", loaded.config).contains("hunter2"));

    let both = problems("[[mqtt.users]]\nname = \"a\"\npassword = \"hunter2\"\npassword_file = \"/x\"\n");
    assert_eq!(both, "h.toml:4: mqtt.users[0].password_file is set beside password, expected one of the two");
    let number = problems("[[mqtt.users]]\nname = \"a\"\npassword = 123456\n");
    assert!(!number.contains("123456"), "{number}");
}

#[test]
fn open_addresses_are_possible_and_warned_about() {
    let source = "[mqtt]\nlisten = \"0.0.0.0:1883\"\nallow_anonymous = true\n";
    assert_eq!(
        warnings(source),
        [
            "h.toml:2: mqtt.allow_anonymous is true, expected false, for anyone who reaches this address can publish"
        ]
    );
    let users = "[[mqtt.users]]\nname = \"a\"\npassword = \"b\"\n";
    assert_eq!(warnings(&format!("[mqtt]\nlisten = \"0.0.0.0:1883\"\n{users}")), Vec::<String>::new());
}

#[test]
fn a_start_that_may_wait_longer_than_the_service_allows_is_warned_of() {
    assert_eq!(warnings("[journal]\nunread_patience = \"9m\""), Vec::<String>::new());
    assert_eq!(
        warnings("[journal]\nunread_patience = \"1h\""),
        [
            "h.toml:1: journal.unread_patience is 3600 s, expected at most \"9m\", for a start may wait as long, unless \
          TimeoutStartSec of the service is longer than that"
        ]
    );
}

#[test]
fn routes_that_are_never_reached_are_warned_about() {
    let route = |filter: &str| format!("[[routes]]\nmatch = \"{filter}\"\nstream = \"t\"\n");
    let source = format!("{}{}", route("a/+"), route("a/{x}"));
    assert_eq!(
        warnings(&source),
        [
            "h.toml:4: routes[1].match is \"a/{x}\", expected a place before \"a/+\", which takes all its topics"
        ]
    );
    assert_eq!(warnings(&format!("{}{}", route("a/b"), route("a/+"))), Vec::<String>::new());
}

#[test]
fn without_a_file_everything_stays_on_this_machine() {
    let config = Config::default();
    for listen in [config.mqtt.listen, config.kinesis.listen, config.http.listen] {
        assert!(listen.ip().is_loopback());
    }
    let codecs: Vec<Codec> = config.routes.iter().map(|route| route.codec).collect();
    let expected = [
        Codec::Headwater,
        Codec::Headwater,
        Codec::Command,
        Codec::Raw,
        Codec::Headwater,
        Codec::Headwater,
        Codec::Headwater,
        Codec::Auto,
    ];
    assert_eq!(codecs, expected);
    assert!(config.routes.last().unwrap().filter.matches("any/topic"));
}

/// The sample as it is means the defaults, and so do its switched-off lines where they show one.
#[test]
fn the_sample_holds_every_key_with_its_default() {
    let (sample, _) = read("sample", SAMPLE).unwrap();
    let defaults = Config::default();
    assert_eq!(format!("{:?}", sample.config), format!("{defaults:?}"));
    assert_eq!(sample.warnings, []);

    let switched_on = super::keys::switched_on();
    let (all, known) = read("sample", &switched_on).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(all.config.mqtt.users.len(), 1);
    assert_eq!(all.config.streams.len(), 1);
    let written = written(&switched_on);
    for key in known {
        let values: Vec<&String> =
            written.iter().filter(|(path, _)| *path == key.path).map(|(_, value)| value).collect();
        if key.path.starts_with("routes[") && values.is_empty() {
            continue;
        }
        assert!(
            !values.is_empty() || key.path.ends_with("password_file"),
            "{} is not in the sample",
            key.path
        );
        if !key.default.is_empty() && !key.path.starts_with("routes[") {
            assert_eq!(values, [&key.default], "{} stands in the sample with its default", key.path);
        }
    }
    for key in ["match", "codec", "stream", "partition_key", "to", "password_file"] {
        let shown = written.iter().any(|(path, _)| path.starts_with("routes[") && path.ends_with(key));
        assert!(shown || SAMPLE.contains(&format!("##{key} = ")), "{key} is in the sample");
    }
}

/// Every `key = value` line with the path of its table.
fn written(text: &str) -> Vec<(String, String)> {
    let (mut table, mut arrays) = (String::new(), std::collections::BTreeMap::<String, usize>::new());
    let mut written = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
            let n = arrays.entry(name.to_owned()).and_modify(|n| *n += 1).or_default();
            table = format!("{name}[{n}]");
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut table);
        } else if let Some((key, value)) = line.split_once(" = ") {
            written.push((format!("{table}.{key}"), value.to_owned()));
        }
    }
    written
}
