//! Who may read what: secrets and the state directory.

use super::Subject;
use super::report::Finding;
use crate::forward::CredentialsFrom;
use headwater_engine::keys::KeySource;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Permissions of everybody else; and those of the group too.
const OTHERS: u32 = 0o007;
const ANYBODY: u32 = 0o077;

pub(super) fn check(subject: &Subject<'_>, file: Option<&Path>) -> Vec<Finding> {
    let config = subject.config;
    let mut findings = Vec::new();
    let state = &config.gateway.state;
    findings.push(directory(state));
    if let Some(file) = file
        && !config.mqtt.users.is_empty()
    {
        findings.push(secret("config with passwords", file, OTHERS));
    }
    match config.key_source() {
        KeySource::File { path, create } if !path.exists() => {
            let then =
                if create { "is made at the start" } else { "is not there: no stream can be encrypted" };
            findings.push(Finding::ok("master keys", format!("{} {then}", path.display())));
        }
        // The engine opens no file that the group may read.
        KeySource::File { path, .. } => findings.push(secret("master keys", &path, ANYBODY)),
        KeySource::Credential { path } => findings.push(secret("master keys", &path, OTHERS)),
        _ => {}
    }
    findings.extend(config.mqtt.tls.as_ref().map(|tls| secret("mqtt.tls.key", &tls.settings.key, OTHERS)));
    for sink in &config.sinks {
        if let CredentialsFrom::Iot(iot) = &sink.credentials {
            findings.push(secret(&format!("sinks.{}.iot.key", sink.name), &iot.identity.key, OTHERS));
        }
    }
    findings
}

fn directory(path: &Path) -> Finding {
    let shown = path.display();
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Finding::ok("state", format!("{shown} does not exist yet, and is made at the start"));
        }
        Err(error) => {
            let remedy = "let the user that runs the gateway into the directories above it";
            return Finding::fail("state", format!("{shown}: {error}"), remedy);
        }
    };
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_dir() {
        Finding::fail("state", format!("{shown} is no directory"), "set gateway.state to a directory")
    } else if mode & 0o002 != 0 {
        let found = format!("{shown} has mode {mode:04o}: everybody may write there");
        Finding::fail("state", found, format!("chmod 0750 {shown}"))
    } else if mode & OTHERS != 0 {
        let found = format!("{shown} has mode {mode:04o}: everybody may read the records");
        Finding::warn("state", found, format!("chmod 0750 {shown}"))
    } else {
        Finding::ok("state", format!("{shown} has mode {mode:04o}"))
    }
}

/// A file with a secret, which those of `not_for` must not read.
fn secret(about: &str, path: &Path, not_for: u32) -> Finding {
    let shown = path.display();
    match path.metadata() {
        Err(error) => {
            let remedy = "make it, readable by the user that runs the gateway";
            Finding::fail(about, format!("{shown}: {error}"), remedy)
        }
        Ok(metadata) if metadata.mode() & not_for != 0 => {
            let found =
                format!("{shown} has mode {:04o}: others may read a secret", metadata.mode() & 0o7777);
            let remedy = format!("chmod {} {shown}", if not_for == ANYBODY { "0600" } else { "0640" });
            Finding::fail(about, found, remedy)
        }
        Ok(metadata) => Finding::ok(about, format!("{shown} has mode {:04o}", metadata.mode() & 0o7777)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_that_others_may_read_fail_with_the_command_that_mends_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "x").unwrap();
        let level = |mode, not_for| {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            secret("x", &path, not_for).level
        };
        assert_eq!(level(0o600, ANYBODY), Level::Ok);
        assert_eq!(level(0o640, ANYBODY), Level::Fail);
        assert_eq!(level(0o640, OTHERS), Level::Ok);
        assert_eq!(level(0o644, OTHERS), Level::Fail);
        let remedy = secret("x", &path, OTHERS).remedy.unwrap();
        assert_eq!(remedy, format!("chmod 0640 {}", path.display()));
        assert_eq!(secret("x", &dir.path().join("absent"), OTHERS).level, Level::Fail);
    }

    #[test]
    fn a_state_directory_for_everybody_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let level = |mode| {
            std::fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            directory(dir.path()).level
        };
        assert_eq!([0o700, 0o750, 0o755, 0o777].map(level), [Level::Ok, Level::Ok, Level::Warn, Level::Fail]);
        assert_eq!(directory(&dir.path().join("absent")).level, Level::Ok);
    }
}
