use super::*;

fn error(text: &str) -> String {
    Config::parse(&format!("agent.state = \"/tmp/x\"\n{text}")).unwrap_err().to_string()
}

#[test]
fn the_sample_file_holds_the_defaults() {
    let text = SAMPLE.replace("#state =", "state =");
    let sample = Config::parse(&text).unwrap();
    let default = Config::parse("agent.state = \"/var/lib/headwater-agent\"").unwrap();
    assert_eq!(format!("{sample:?}"), format!("{default:?}"));
}

#[test]
fn the_sample_file_holds_every_key() {
    // Everything that is commented out because it has no default must parse too.
    let text = SAMPLE
        .replace("#[[links]]", "[[links]]")
        .replace("\n#type", "\ntype")
        .replace("#path", "path")
        .replace("#baud", "baud")
        .replace("#ports", "ports")
        .replace("#exclude", "exclude")
        .replace("#allow", "allow")
        .replace("#client_id", "client_id")
        .replace("#user", "user")
        .replace("#password_file = \"/etc/headwater/agent.password\"", "password = \"secret\"")
        .replace("#state", "state");
    let config = Config::parse(&text).unwrap();
    assert_eq!(config.links.len(), 3);
    let takes = |name: &str| config.allow.takes(&headwater_telemetry::DeviceId::parse(name).unwrap());
    assert!(takes("barn-1") && takes("yard-9") && !takes("other"));
    assert_eq!(config.uplink.credentials, Some(("barn".into(), "secret".into())));
    let known =
        ["name", "state", "log", "log_level", "status_every", "time_quality", "listen", "connections_max"];
    for key in known {
        assert!(SAMPLE.contains(key), "{key}");
    }
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_key() {
    let text = error("[[links]]\ntype = \"tcp\"\nlistn = \"x\"\n");
    assert!(text.starts_with("line 4, column 1: unknown field `listn`"), "{text}");
    assert!(text.ends_with("(did you mean `listen`?)"), "{text}");
    assert!(!error("[uplink]\nzzzzzzzz = 1\n").contains("did you mean"));
}

#[test]
fn errors_say_which_key_what_was_found_and_what_was_expected() {
    for (text, expected) in [
        ("spool.max = \"1kB\"", "spool.max is \"1kB\", must be 16MiB to 1024GiB"),
        ("uplink.keep_alive = \"5\"", "uplink.keep_alive: \"5\" has no unit"),
        ("uplink.in_flight = 0", "uplink.in_flight is 0, must be 1 to 10000"),
        ("uplink.tls = {}", "uplink.tls.authority is missing, must be a PEM file"),
        (
            "uplink.tls = { authority = \"/nonexistent/a.pem\" }",
            "uplink.tls.authority is \"/nonexistent/a.pem\", which cannot be used",
        ),
        ("uplink.tls = { authority = \"/etc/hostname\" }", "it holds no certificate in PEM"),
        (
            "uplink.tls = { authority = \"a\", certificate = \"b\" }",
            "uplink.tls.key is missing, must be a PEM file with the private key of uplink.tls.certificate",
        ),
        ("uplink.tls = { authority = \"a\", name = \"no name\" }", "uplink.tls.name is \"no name\", must be"),
        ("uplink.gateway = \"nowhere\"", "uplink.gateway is \"nowhere\", must be host:port"),
        ("links = [{type = \"carrier-pigeon\"}]", "links[0].type is \"carrier-pigeon\", must be"),
        ("links = [{type = \"serial\"}]", "links[0].path is missing"),
        ("links = [{type = \"tcp\", baud = 9600}]", "links[0].baud has no meaning for type \"tcp\""),
        ("devices.allow = [\"a/b\"]", "devices.allow holds \"a/b\""),
        ("agent.log = \"xml\"", "agent.log is \"xml\", must be auto, text, json"),
        ("agent.name = \"a/b\"", "agent.name is \"a/b\""),
        ("uplink.password = \"x\"", "uplink.user is missing beside a password"),
        ("uplink.retry = {base = \"2s\", max = \"1s\"}", "uplink.retry.max is 1s, must be at least"),
        ("spool.segment = \"256MiB\"", "spool.segment is 268435456 bytes, must be at most a quarter"),
    ] {
        let found = error(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn an_embedded_agent_needs_nothing_but_a_folder_and_a_gateway() {
    for gateway in ["127.0.0.1:9", "[::1]:9"] {
        let config = Config::embedded("/x".into(), gateway.parse().unwrap());
        assert_eq!((config.state.to_str(), config.uplink.port, config.http), (Some("/x"), 9, None));
    }
}

#[test]
fn a_serial_link_has_a_port_or_patterns_of_ports() {
    let links =
        |keys: &str| Config::parse(&format!("agent.state = \"x\"\n[[links]]\ntype = \"serial\"\n{keys}"));
    let found = links("ports = [\"/dev/ttyACM*\"]\nexclude = [\"*zigbee*\"]").unwrap().links;
    let [LinkConfig::Ports { patterns, exclude, baud }] = &found[..] else { panic!("{found:?}") };
    assert_eq!((patterns.len(), exclude.len(), *baud), (1, 1, 115_200));
    let error = |keys: &str| links(keys).unwrap_err().to_string();
    assert_eq!(
        error(""),
        "links[0].path is missing, must be a device file; or links[0].ports with patterns of device files"
    );
    assert_eq!(
        error("path = \"a\"\nports = [\"b\"]"),
        "links[0].path and links[0].ports are both given, must be one"
    );
    assert_eq!(
        error("path = \"a\"\nexclude = [\"b\"]"),
        "links[0].exclude has no meaning without links[0].ports"
    );
    assert_eq!(error("ports = []"), "links[0].ports is empty, must hold patterns of device files");
    let bad = error("ports = [\"/dev/[\"]");
    assert!(bad.starts_with("links[0].ports holds \"/dev/[\", which is no pattern: "), "{bad}");
}
