//! What no device can use: refused with the reason, before anything is sent.

use super::bench::Kind;
use super::papers::Papers;
use super::provisioning::secrets;
use super::{agent_in, desk, found, holds, on};

/// Provisions a device with each line of arguments, where + is a blank, and expects the errors beside them.
fn refused(prepare: impl FnOnce(&Papers), cases: &[(&str, &str)]) {
    let (dir, chip, board) = desk(Kind::default());
    let papers = Papers::make(dir.path());
    prepare(&papers);
    for (line, expected) in cases {
        let line = format!("provision --port {} {line}", on(&board));
        let arguments: Vec<String> = line.split(' ').map(|word| word.replace('+', " ")).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = agent_in(dir.path(), &arguments, "");
        assert_eq!(said.code, Some(64), "{line}: {said:?}");
        assert!(said.err.contains(expected), "{line}: expected {expected}: {}", said.err);
        assert_eq!(said.out, "");
        for secret in secrets(&papers) {
            assert!(!holds(said.err.as_bytes(), &secret), "{}", said.err);
        }
    }
    assert!(board.record().downs.is_empty(), "something was sent");
    drop(board);
    assert_eq!(found(&chip), (None, None));
}

#[test]
fn credentials_that_no_device_can_use_are_refused_before_anything_is_sent() {
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let files = |papers: &Papers| drop(papers.write("locked.key", locked));
    let cases = [
        ("ca.pem device.pem other.key", "other.key: is not the key of certificate device.pem"),
        (
            "ca.pem device.pem p384.key",
            "p384.key: is no key that a device can use, expected a P-256 private key",
        ),
        ("ca.pem device.pem device.pem", "device.pem: is no key that a device can use"),
        ("ca.pem device.key device.key", "device.key: is no certificate, expected one in PEM or DER"),
        ("ca.pem p384.pem p384.key", "p384.pem: is for a key that a device cannot use, expected P-256"),
        ("chain.pem device.pem device.key", "chain.pem: holds 2 certificates, expected one"),
        ("ca.pem device.pem locked.key", "locked.key: is encrypted, expected a key without passphrase"),
        ("ca.pem device.pem missing.key", "missing.key: No such file"),
        ("ca.pem large.pem large.key", "bytes together, expected at most 2048"),
        ("ca.pem device.pem device.key --server-name a+b", "server name \"a b\""),
    ];
    let lines = cases.map(|(words, expected)| {
        let mut words = words.splitn(4, ' ');
        let [ca, certificate, key] = [(); 3].map(|()| words.next().unwrap());
        let more = words.next().map(|more| format!(" {more}")).unwrap_or_default();
        (format!("--device d --gateway g --ca {ca} --certificate {certificate} --key {key}{more}"), expected)
    });
    refused(files, &lines.each_ref().map(|(line, expected)| (line.as_str(), *expected)));
}

#[test]
fn settings_that_no_device_can_use_are_refused_before_anything_is_sent() {
    let files = |papers: &Papers| {
        papers.write("two-lines", "one\ntwo\n");
        papers.write("short", "1234567\r\n");
        papers.write("long", "x".repeat(65));
    };
    let (long_name, long_host) = ("w".repeat(33), "h".repeat(65));
    let cases = [
        (&*format!("--device {long_name}"), "device id has 33 bytes, must be 1 to 32"),
        ("--device barn+1", "--device \"barn 1\""),
        (&format!("--device d --gateway g --wifi {long_name}"), "--wifi has 33 bytes, expected at most 32"),
        (&format!("--device d --gateway {long_host}"), "--gateway has 65 bytes, expected at most 64"),
        (&format!("--device d --gateway g --user {long_name}"), "--user has 33 bytes, expected at most 32"),
        ("--device d --gateway mqtt://g:1883", "expected a name or an IPv4 address"),
        ("--device d --gateway g:0", "expected a name or an IPv4 address"),
        (
            "--device d --gateway g --user u --password-file long",
            "password of u has 65 bytes, expected at most 64",
        ),
        ("--device d --gateway g --user u --password-file two-lines", "password of u has several lines"),
        (
            "--device d --gateway g --wifi w --wifi-password-file short",
            "passphrase of w has 7 bytes, expected 8 to 64",
        ),
        (
            "--device d --gateway g --wifi w",
            "passphrase of w is asked for on a terminal, expected one, or a file with it",
        ),
        ("--device d --wifi w", "--gateway <HOST[:PORT]>"),
        ("--device d --period 9ms", "period of 9 ms, expected 10 ms to a day"),
        ("--device d --period 25h", "period of 90000000 ms"),
        ("--device d --batch-age 61m", "batch age of 3660000 ms, expected at most 3600000 ms"),
    ];
    refused(files, &cases);
}
