//! `provision`: what arrives in the device, what is refused before anything is sent, and that no secret is seen anywhere.

use super::bench::Kind;
use super::papers::Papers;
use super::{agent, desk, found, holds, on};
use headwater_device::Reach;
use headwater_telemetry::{Config, DeviceId, Network, Secret, Uplink, bounded};

const PASSPHRASE: &str = "tomatoes and basil";
const PASSWORD: &str = "s3cret-of-barn-1";

/// Arguments of a whole provisioning at a terminal.
pub(super) fn without_files(papers: &Papers) -> Vec<String> {
    let paths = ["ca.pem", "device.pem", "device.key"].map(|name| papers.path(name));
    let [ca, certificate, key] = paths.each_ref().map(String::as_str);
    let parts = [
        &["--device", "barn-1", "--gateway", "gateway.farm", "--user", "barn", "--wifi", "farm"][..],
        &["--period", "5s", "--batch-age", "1m"],
        &["--ca", ca, "--certificate", certificate, "--key", key],
    ];
    parts.concat().into_iter().map(str::to_owned).collect()
}

pub(super) fn full_config() -> Config {
    Config {
        device: DeviceId::parse("barn-1").unwrap(),
        network: Some(Network {
            ssid: bounded("farm").unwrap(),
            passphrase: Secret::new(PASSPHRASE).unwrap(),
        }),
        uplink: Some(Uplink {
            host: bounded("gateway.farm").unwrap(),
            port: 8883,
            user: bounded("barn").unwrap(),
            password: Secret::new(PASSWORD).unwrap(),
        }),
        period_ms: 5_000,
        batch_age_ms: 60_000,
    }
}

/// Arguments of a whole provisioning, and the lines with its secrets.
pub(super) fn whole(papers: &Papers) -> (Vec<String>, String) {
    let mut arguments = without_files(papers);
    arguments.extend(["--password-file", "-", "--wifi-password-file", "-"].map(str::to_owned));
    (arguments, format!("{PASSPHRASE}\n{PASSWORD}\n"))
}

fn provision(board: &super::Board, arguments: &[&str], input: &str) -> super::Said {
    agent(&[&["provision", "--port", on(board)], arguments].concat(), input)
}

/// Every secret, as text and as bytes: none may ever be seen.
pub(super) fn secrets(papers: &Papers) -> Vec<Vec<u8>> {
    let key = p256_scalar(&papers.bytes("device.key.der"));
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let debug = format!("{key:?}").trim_matches(['[', ']']).to_owned();
    let line = String::from_utf8(papers.bytes("device.key")).unwrap().lines().nth(1).unwrap().to_owned();
    vec![PASSPHRASE.into(), PASSWORD.into(), key, hex.into(), debug.into(), line.into()]
}

/// The secret number of a key: 32 bytes after the head of SEC 1, wherever that is.
fn p256_scalar(pkcs8: &[u8]) -> Vec<u8> {
    let head = [2, 1, 1, 4, 32];
    let at = pkcs8.windows(head.len()).position(|window| window == head).unwrap() + head.len();
    pkcs8[at..at + 32].to_vec()
}

#[test]
fn provisioned_over_its_port_a_device_has_its_settings_and_nobody_sees_a_secret() {
    let (dir, chip, board) = desk(Kind { is_usb: true, ..Kind::default() });
    let papers = Papers::make(dir.path());
    let (arguments, input) = whole(&papers);
    let said = provision(&board, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &input);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        said.out,
        "provisioned\nbarn-1: bench 1.0, boot 2, started by request, channels air °C, lamp\n"
    );
    let listed = agent(&["devices", "--json", "--port", on(&board)], "");
    assert!(listed.out.contains("\"device\":\"barn-1\""), "{listed:?}");
    for more in [&["identify"][..], &["command", "period", "100ms"], &["command", "reboot"]] {
        let said = agent(&[more, &["--port", on(&board)]].concat(), "");
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    let mut monitor = super::watching::Monitor::start(&["--take", "--port", on(&board)]);
    monitor.until("boot 1 seq 1 ");
    drop(monitor);

    for secret in secrets(&papers) {
        for output in [&said.out, &said.err, &listed.out, &listed.err] {
            assert!(!holds(output.as_bytes(), &secret), "{output}");
        }
        for body in &board.record().ups {
            assert!(!holds(body, &secret), "the device sent a secret up");
        }
    }
    // That the search finds what there is to be found:
    assert!(holds(chip.lock().unwrap().bytes_mut(), &secrets(&papers)[0]));
    assert!(holds(chip.lock().unwrap().bytes_mut(), &secrets(&papers)[2]));
    drop(board);

    let (config, credentials) = found(&chip);
    assert_eq!(config, Some(full_config()));
    let (name, authority, certificate, key) = credentials.unwrap();
    assert_eq!((name.as_str(), certificate), ("gateway.farm", papers.bytes("device.der")));
    assert!(holds(&key, &p256_scalar(&papers.bytes("device.key.der"))));
    assert!(authority.starts_with(&[0x30, 0x82]));
}

#[test]
fn credentials_stay_until_they_are_removed_and_the_rest_is_as_it_is_said() {
    let (dir, chip, board) = desk(Kind::default());
    let papers = Papers::make(dir.path());
    let (arguments, input) = whole(&papers);
    let said = provision(&board, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &input);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = provision(&board, &["--device", "barn-2"], "");
    assert_eq!(said.code, Some(0), "{said:?}");
    let kept = |chip| {
        let (config, credentials) = found(chip);
        (config.unwrap(), credentials.is_some())
    };
    let bare = |name| Config {
        device: DeviceId::parse(name).unwrap(),
        network: None,
        uplink: None,
        period_ms: 0,
        batch_age_ms: 0,
    };
    drop(board);
    assert_eq!(kept(&chip), (bare("barn-2"), true));
    let board = super::plug(dir.path(), &chip, Kind::default());
    let said = provision(&board, &["--device", "barn-3", "--no-credentials"], "");
    assert_eq!(said.code, Some(0), "{said:?}");
    drop(board);
    assert_eq!(kept(&chip), (bare("barn-3"), false));
}

#[test]
fn keys_are_read_in_every_form_that_tools_write() {
    let (dir, chip, board) = desk(Kind::default());
    let papers = Papers::make(dir.path());
    // As `openssl ecparam -genkey` writes it: the curve first, then SEC 1.
    let sec1 = {
        use p256::pkcs8::DecodePrivateKey;
        let key = p256::SecretKey::from_pkcs8_der(&papers.bytes("device.key.der")).unwrap();
        key.to_sec1_pem(p256::pkcs8::LineEnding::LF).unwrap()
    };
    let curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    papers.write("openssl.key", format!("{curve}{}", *sec1));
    for (certificate, key) in [("device.pem", "openssl.key"), ("device.der", "device.key.der")] {
        let papers = [papers.path("ca.pem"), papers.path(certificate), papers.path(key)];
        let [ca, certificate, key] = papers.each_ref().map(String::as_str);
        let base = ["--device", "barn-1", "--gateway", "10.0.0.2:9000", "--server-name", "gateway.farm"];
        let said = provision(
            &board,
            &[&base[..], &["--ca", ca, "--certificate", certificate, "--key", key]].concat(),
            "",
        );
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    drop(board);
    let (config, credentials) = found(&chip);
    let uplink = config.unwrap().uplink.unwrap();
    assert_eq!((uplink.host.as_str(), uplink.port), ("10.0.0.2", 9_000));
    assert_eq!(credentials.unwrap().0, "gateway.farm");
}

#[test]
fn a_board_that_lacks_what_it_is_to_have_says_so_and_stays_as_it_is() {
    let (_dir, chip, board) = desk(Kind { reach: Reach::Stream, ..Kind::default() });
    let said = provision(&board, &["--device", "barn-1", "--gateway", "gateway.farm"], "");
    assert_eq!(said.code, Some(69), "{said:?}");
    assert!(
        said.err.contains("device fresh-1 refuses: these settings: a gateway on a board without network"),
        "{said:?}"
    );
    assert_eq!(board.record().starts, 1, "it was not restarted");
    drop(board);
    assert_eq!(found(&chip), (None, None));
}
