//! The program itself: exit codes, what it prints, what it refuses.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn headwater(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(arguments).current_dir(home).env("HOME", home);
    for variable in ["HEADWATER_CONFIG", "STATE_DIRECTORY", "XDG_STATE_HOME", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn write(home: &Path, text: &str) -> PathBuf {
    let path = home.join("h.toml");
    std::fs::write(&path, text).unwrap();
    path
}

const ROUTES: &str = r#"
[streams.telemetry-flow]
shards = 4
[[routes]]
match = "site/{site}/dev/{device}/telemetry/{kind}"
codec = "json"
stream = "telemetry-{kind}"
partition_key = "{site}-{device}"
"#;

#[test]
fn a_wrong_command_line_is_64_and_help_is_0() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(headwater(home.path(), &["--help"]).status.code(), Some(0));
    assert_eq!(headwater(home.path(), &["--version"]).status.code(), Some(0));
    let wrong = headwater(home.path(), &["validate", "--deny-warning"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(stderr(&wrong).contains("--deny-warnings"), "{}", stderr(&wrong));
    assert_eq!(headwater(home.path(), &["explode"]).status.code(), Some(64));
}

#[test]
fn a_wrong_configuration_is_78_with_its_place() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "[mqtt]\nlsiten = \"127.0.0.1:1883\"\n");
    for command in [&["validate", "--config", "h.toml"][..], &["run", "--config", "h.toml"]] {
        let output = headwater(home.path(), command);
        assert_eq!(output.status.code(), Some(78));
        let text = stderr(&output);
        assert!(text.starts_with("h.toml:2: mqtt.lsiten is an unknown key"), "{text}");
        assert!(text.trim_end().ends_with("did you mean \"listen\"?"), "{text}");
    }
    assert_eq!(headwater(home.path(), &["validate", "--config", "absent.toml"]).status.code(), Some(78));
}

#[test]
fn warnings_pass_unless_denied() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "[mqtt]\nlisten = \"0.0.0.0:1883\"\nallow_anonymous = true\n");
    let passed = headwater(home.path(), &["validate", "--config", "h.toml"]);
    assert_eq!(passed.status.code(), Some(0));
    assert!(
        stderr(&passed).starts_with("warning: h.toml:2: mqtt.allow_anonymous is true"),
        "{}",
        stderr(&passed)
    );
    assert!(stdout(&passed).ends_with("1 warnings\n"), "{}", stdout(&passed));
    let denied = headwater(home.path(), &["validate", "--config", "h.toml", "--deny-warnings"]);
    assert_eq!(denied.status.code(), Some(78));
}

#[test]
fn the_environment_names_the_configuration_and_the_option_wins() {
    let home = tempfile::tempdir().unwrap();
    let wrong = write(home.path(), "x = 1");
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(arguments)
            .env("HEADWATER_CONFIG", &wrong)
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(run(&["validate"]), Some(78));
    let right = home.path().join("right.toml");
    std::fs::write(&right, "").unwrap();
    assert_eq!(run(&["validate", "--config", right.to_str().unwrap()]), Some(0));
}

#[test]
fn the_sample_is_written_once_and_is_valid() {
    let home = tempfile::tempdir().unwrap();
    let printed = headwater(home.path(), &["config", "init"]);
    assert_eq!(printed.status.code(), Some(0));
    let written = headwater(home.path(), &["config", "init", "new.toml"]);
    assert_eq!(written.status.code(), Some(0));
    assert_eq!(std::fs::read(home.path().join("new.toml")).unwrap(), printed.stdout);
    assert_eq!(
        headwater(home.path(), &["validate", "--config", "new.toml", "--deny-warnings"]).status.code(),
        Some(0)
    );
    assert_eq!(
        headwater(home.path(), &["config", "init", "new.toml"]).status.code(),
        Some(74),
        "never overwritten"
    );
}

#[test]
fn explain_tells_place_and_records() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), ROUTES);
    let explain = |arguments: &[&str]| {
        let arguments = [&["explain", "--config", "h.toml"], arguments].concat();
        let output = headwater(home.path(), &arguments);
        (output.status.code(), stdout(&output))
    };
    let topic = "site/south/dev/42/telemetry/flow";
    // md5("south-42") = 53d73ed3d8058110789b15b769da5166, in quarter 2 of 4 (computed with Python).
    let place = "topic: site/south/dev/42/telemetry/flow\n\
                 route: 1 of 1, \"site/{site}/dev/{device}/telemetry/{kind}\"\n\
                 codec: json\n\
                 to subscribers: no\n\
                 stream: telemetry-flow\n\
                 partition key: south-42\n\
                 hash key: 111443541768126138544114926818856423782\n\
                 shard: shardId-000000000001 (of 4, until a reshard)\n";
    assert_eq!(explain(&[topic]), (Some(0), place.to_owned()));
    assert_eq!(explain(&[topic, "{\"t\":1}"]), (Some(0), format!("{place}records: 1\n  {{\"t\":1}}\n")));

    let (code, text) = explain(&[topic, "ON", "--client", "press"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("stream: dead-letter\npartition key: press\n"), "{text}");
    assert!(text.contains("\"reason\":\"the payload is not JSON\""), "{text}");

    let (code, text) = explain(&["elsewhere"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("route: none takes this topic"), "{text}");
    assert_eq!(explain(&["a/+/b"]).0, Some(65));
    assert_eq!(explain(&[topic, "@absent"]).0, Some(74));
}

#[test]
fn a_taken_port_is_69_and_says_what_to_change() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    write(
        home.path(),
        &format!(
            "[mqtt]\nlisten = \"{addr}\"\n[kinesis]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n"
        ),
    );
    let output = headwater(home.path(), &["run", "--config", "h.toml"]);
    assert_eq!(output.status.code(), Some(69));
    let text = stderr(&output);
    assert!(text.contains(&format!("cannot listen on {addr} (mqtt.listen)")), "{text}");
    assert!(text.contains("set mqtt.listen to another one"), "{text}");
}

#[test]
fn run_serves_until_told_to_stop_and_ends_with_its_ledger() {
    let home = tempfile::tempdir().unwrap();
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mqtt, kinesis, http) = (port(), port(), port());
    let state = home.path().join("state");
    write(
        home.path(),
        &format!(
            "[gateway]\nstate = {state:?}\n[mqtt]\nlisten = \"{mqtt}\"\n[kinesis]\nlisten = \"{kinesis}\"\n\
             [http]\nlisten = \"{http}\"\n[journal]\nsegment = \"4MiB\"\nreserve = \"0B\"\n"
        ),
    );
    let child = Command::new(env!("CARGO_BIN_EXE_headwater"))
        .args(["run", "--config", "h.toml"])
        .current_dir(home.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let ready = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::net::TcpStream::connect(mqtt).is_ok()
    });
    assert!(ready);
    // A second gateway on the same directory may succeed when the first has stopped: 75.
    let other = format!(
        "[gateway]\nstate = {state:?}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[kinesis]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n"
    );
    std::fs::write(home.path().join("other.toml"), other).unwrap();
    let second = headwater(home.path(), &["run", "--config", "other.toml"]);
    assert_eq!(second.status.code(), Some(75), "{}", stderr(&second));

    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("received 0 = stored 0 + "), "{}", stdout(&output));
    let log = stderr(&output);
    let first: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(first["level"], "INFO", "not on a terminal the log is JSON");
}

#[test]
fn the_engine_alone_says_how_to_reach_it_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_headwater"))
        .args(["kinesis", "--listen", "127.0.0.1:0", "--limits", "aws", "--region", "eu-central-1"])
        .env("TMPDIR", home.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let addr = first.split("http://").nth(1).and_then(|rest| rest.split(';').next()).unwrap().to_owned();
    let said: Vec<String> = lines.by_ref().take(3).map(Result::unwrap).collect();
    assert!(
        said[1]
            .contains(&format!("boto3.client(\"kinesis\", \"eu-central-1\", endpoint_url=\"http://{addr}\""))
    );
    assert!(
        said[2].contains(&format!(
            "aws --region eu-central-1 --endpoint-url http://{addr} kinesis create-stream"
        ))
    );
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    // One call a second is the rate of DescribeLimits.
    let answers: Vec<String> = (0..2).map(|_| ask(&addr, "DescribeLimits", "{}")).collect();
    assert!(answers[0].contains("\"ShardLimit\""), "{}", answers[0]);
    assert!(answers[1].contains("Rate exceeded for account 000000000000."), "{}", answers[1]);

    // The largest record there can be.
    ask(&addr, "CreateStream", r#"{"StreamName":"s","ShardCount":1,"MaxRecordSizeInKiB":10240}"#);
    let data = "AAAA".repeat((10 << 20) / 3);
    let put = ask(&addr, "PutRecord", &format!(r#"{{"StreamName":"s","PartitionKey":"k","Data":"{data}"}}"#));
    assert!(put.contains("SequenceNumber"), "{put}");

    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

fn ask(addr: &str, operation: &str, body: &str) -> String {
    let mut socket = std::net::TcpStream::connect(addr).unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: \
         Kinesis_20131202.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=x/20260101/eu-central-1/kinesis/aws4_request, SignedHeaders=host, Signature=0\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_engine_alone_keeps_data_that_is_given_a_place() {
    let home = tempfile::tempdir().unwrap();
    let refused = headwater(home.path(), &["kinesis", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(64), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--allow-anonymous"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    assert_eq!(headwater(home.path(), &["kinesis", "--listen", &addr]).status.code(), Some(69));
    let wrong =
        headwater(home.path(), &["kinesis", "--listen", "127.0.0.1:0", "--account", "12", "--dir", "d"]);
    assert_eq!(wrong.status.code(), Some(64), "{}", stderr(&wrong));
    assert!(home.path().join("d").exists());
}

#[test]
fn master_keys_are_made_listed_rotated_and_disabled_and_never_shown() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let file = home.join("keys");
    let keys = |arguments: &[&str]| {
        headwater(home, &[&["keys", "--file", file.to_str().unwrap()], arguments].concat())
    };
    assert!(stdout(&keys(&["list"])).is_empty());
    let made = keys(&["create", "alias/aws/kinesis", "alias/plant"]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let id = stdout(&made).trim().to_owned();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    for arguments in [["rotate", "alias/plant"], ["disable", &id]] {
        assert_eq!(keys(&arguments).status.code(), Some(0));
    }
    let listed = stdout(&keys(&["list"]));
    let words: Vec<_> = listed.split_whitespace().collect();
    assert_eq!(words, [&id, "disabled", "2", "alias/aws/kinesis", "alias/plant"]);
    let text = std::fs::read_to_string(&file).unwrap();
    let secret = text.split("\"2\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(secret.len() == 44 && !listed.contains(secret));
    for (arguments, code, message) in [
        (vec!["enable", "alias/none"], 65, "there is no master key `alias/none`"),
        (vec!["create", "alias/plant"], 65, "has this name already"),
        (vec!["create", "plant"], 65, "must read alias/<name>"),
    ] {
        let refused = keys(&arguments);
        assert_eq!(refused.status.code(), Some(code));
        assert!(stderr(&refused).contains(message), "{}", stderr(&refused));
    }
    let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    std::fs::set_permissions(&file, open).unwrap();
    let refused = keys(&["list"]);
    assert!(
        refused.status.code() == Some(65) && stderr(&refused).contains("chmod 0600"),
        "{}",
        stderr(&refused)
    );
}
