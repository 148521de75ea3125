//! `headwater sim --virtual` as a person runs it.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::path::Path;
use std::process::{Command, Output};

fn sim(home: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    let fleet =
        ["sim", "--virtual", "--devices", "20", "--duration", "3m", "--reboot", "20/h", "--offline", "10%"];
    command
        .args(fleet)
        .args(more)
        .current_dir(home)
        .env("HOME", home)
        .env("STATE_DIRECTORY", home.join("state"));
    for variable in ["HEADWATER_CONFIG", "XDG_STATE_HOME", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

fn digest(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(" boots, ") && text.contains("lost = 0, repeated = 0"), "{text}");
    assert!(text.contains("a virtual device-hour"), "{text}");
    text.lines().find_map(|line| line.strip_prefix("digest ")).unwrap().to_owned()
}

#[test]
fn equal_command_lines_print_equal_digests_and_leave_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let first = digest(&sim(home.path(), &["--seed", "4"]));
    assert_eq!(first.len(), 64);
    assert_eq!(first, digest(&sim(home.path(), &["--seed", "4"])));
    assert_ne!(first, digest(&sim(home.path(), &["--seed", "9"])));
    let left = std::fs::read_dir(home.path().join("state")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "shards of a fleet stayed");
}

#[test]
fn kept_shards_are_the_same_and_are_not_mixed_with_others() {
    let home = tempfile::tempdir().unwrap();
    let thrown_away = digest(&sim(home.path(), &["--seed", "4"]));
    assert_eq!(thrown_away, digest(&sim(home.path(), &["--seed", "4", "--keep", "kept"])));
    assert!(home.path().join("kept/journal").read_dir().unwrap().count() > 0);
    let again = sim(home.path(), &["--seed", "4", "--keep", "kept"]);
    assert_eq!(again.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&again.stderr).contains("holds shards already"));
}

#[test]
fn a_fleet_that_cannot_be_is_a_wrong_command_line() {
    let home = tempfile::tempdir().unwrap();
    for wrong in [&["--damage", "3"][..], &["--mqtt"], &["--start"], &["--rate", "5000/s"]] {
        assert_eq!(sim(home.path(), wrong).status.code(), Some(64), "{wrong:?}");
    }
}
