//! `headwater doctor` beside a gateway that runs, and without one.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

#[expect(dead_code, reason = "shared with the tests of the other commands")]
mod operate_support;

use operate_support::{Operated, Place, exit, stdout};
use std::net::TcpListener;
use std::process::Command;

/// Everything that begins with this level, each with its remedy.
fn findings(text: &str, level: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let of_level = (0..lines.len()).filter(|at| lines[*at].starts_with(level));
    let remedy =
        |at: usize| lines.get(at + 1).filter(|line| line.starts_with("     do: ")).copied().unwrap_or("");
    of_level.map(|at| format!("{}{}", lines[at], remedy(at))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_gateway_has_nothing_to_mend_running_or_not() {
    let near = Operated::start("").await;
    let running = near.run(&["doctor", "--offline"]);
    let text = stdout(&running);
    assert_eq!(exit(&running), 0, "{text}");
    assert!(text.contains("OK   gateway: headwater runs, state ok"), "{text}");
    assert_eq!(text.matches("taken by the gateway that runs").count(), 3, "{text}");
    assert!(text.contains("a write of 4 KiB is durable after ") || text.contains("is in memory"), "{text}");
    assert!(text.contains("write budget: "), "{text}");
    let place = near.stop().await;
    let stopped = place.run(&["doctor", "--offline"]);
    let text = stdout(&stopped);
    assert_eq!(exit(&stopped), 0, "{text}");
    assert_eq!(text.matches("): free\n").count(), 3, "{text}");
    assert!(findings(&text, "WARN").iter().all(|finding| finding.contains("     do: ")), "{text}");
    let left = std::fs::read_dir(place.dir().join("state")).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains("doctor")));
}

#[test]
fn what_is_broken_is_named_with_its_remedy_and_the_exit_code_is_1() {
    let place = Place::new();
    let made = Command::new(env!("CARGO_BIN_EXE_headwater"))
        .args(["certificates", "--dir", "c", "authority"])
        .current_dir(place.dir())
        .output()
        .unwrap();
    assert!(made.status.success());
    let server = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(["certificates", "--dir", "c", "device", name]).current_dir(place.dir());
        assert!(command.output().unwrap().status.success());
        let path = |end: &str| place.dir().join(format!("c/{name}{end}"));
        (path(".pem"), path(".key.pem"))
    };
    let ((certificate, _), (_, other_key)) = (server("one"), server("two"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let clients = place.dir().join("c/authority.pem");
    place.write(
        [taken.local_addr().unwrap(), free(), free()],
        &format!(
            "[mqtt.tls]\nlisten = \"127.0.0.1:0\"\ncertificate = {certificate:?}\nkey = {other_key:?}\nclients = {clients:?}\n"
        ),
    );
    let output = place.run(&["doctor", "--offline"]);
    let text = stdout(&output);
    assert_eq!(exit(&output), 1, "{text}");
    let failures = findings(&text, "FAIL");
    assert_eq!(failures.len(), 2, "{text}");
    assert!(failures[0].contains("(mqtt.listen): taken by "), "{text}");
    assert!(failures[0].contains(&format!("(process {})", std::process::id())), "{text}");
    assert!(
        failures[1].contains("FAIL mqtt.tls.key: ") && failures[1].contains("is not the key of"),
        "{text}"
    );
    assert!(failures.iter().all(|failure| failure.contains("     do: ")), "{text}");
    assert!(text.contains("OK   mqtt.tls.certificate: ") && text.contains("until 20491231"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_of_sinks_are_asked_for_and_not_when_offline() {
    let far = Operated::start("").await;
    let place = Place::new();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sink = |name: &str, target: &str, more: &str| {
        let endpoint = far.kinesis_addr();
        format!(
            "[sinks.{name}]\nendpoint = \"http://{endpoint}\"\nregion = \"us-east-1\"\ntarget = \"{target}\"\n{more}\n"
        )
    };
    let good = sink("good", "telemetry", "credentials = \"unchecked\"");
    let later = sink("later", "other", "credentials = \"unchecked\"\ncreate = true");
    place.write([free(), free(), free()], &format!("{good}{later}"));
    let output = place.run(&["doctor"]);
    let text = stdout(&output);
    assert_eq!(exit(&output), 0, "{text}");
    assert!(text.contains("OK   sink good: 127.0.0.1 has 1 addresses"), "{text}");
    assert!(text.contains("OK   sink good: telemetry is there with 2 open shards"), "{text}");
    assert!(text.contains("OK   sink good: records may be put into telemetry"), "{text}");
    assert!(text.contains("OK   sink later: other does not exist yet, and is made"), "{text}");
    let absent = sink("absent", "other", "credentials = \"unchecked\"");
    place.write([free(), free(), free()], &absent);
    let output = place.run(&["doctor"]);
    let failures = findings(&stdout(&output), "FAIL");
    assert_eq!((exit(&output), failures.len()), (1, 1), "{failures:#?}");
    assert!(failures[0].contains("aws kinesis create-stream --stream-name other"), "{failures:#?}");
    let offline = place.run(&["doctor", "--offline"]);
    assert_eq!(exit(&offline), 0);
    assert!(stdout(&offline).contains("OK   sink absent: not asked (--offline)"));
    far.stop().await;
}
