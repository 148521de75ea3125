//! Secrets of people: from a file, or from the terminal without showing them. Never from arguments, which every user of a machine can read.

use headwater_telemetry::Secret;
use headwater_telemetry::limits::SECRET_BYTES_MAX;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

use crate::{EX_IOERR, EX_USAGE, Failure};

/// As shells say it of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// A passphrase of WPA has at least as many characters.
const PASSPHRASE_BYTES_MIN: usize = 8;

/// The passphrase of a Wi-Fi network; empty for an open one.
pub(super) fn passphrase(file: Option<&Path>, ssid: &str) -> Result<Secret, Failure> {
    let what = format!("passphrase of {ssid}");
    let secret = secret(file, &what)?;
    match secret.reveal().len() {
        len @ 1..PASSPHRASE_BYTES_MIN => Err((
            EX_USAGE,
            format!(
                "{what} has {len} bytes, expected {PASSPHRASE_BYTES_MIN} to {SECRET_BYTES_MAX}, or none for an open network"
            ),
        )),
        _ => Ok(secret),
    }
}

/// A secret from a file, the next line of standard input, or the person at the terminal, who does not see it.
pub(super) fn secret(file: Option<&Path>, what: &str) -> Result<Secret, Failure> {
    let text = match file {
        Some(path) if path == Path::new("-") => line().map_err(|error| (EX_IOERR, error.to_string()))?,
        Some(path) => {
            let mut text = String::new();
            let file = std::fs::File::open(path);
            // More than any secret has, less than what a wrong name may open.
            let read = file.and_then(|file| file.take(4096).read_to_string(&mut text));
            read.map_err(|error| (EX_IOERR, format!("{}: {error}", path.display())))?;
            text
        }
        None => asked(what)?,
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.contains(char::is_control) {
        return Err((EX_USAGE, format!("{what} has several lines or control characters, expected one line")));
    }
    Secret::new(text).map_err(|error| {
        (EX_USAGE, format!("{what} has {} bytes, expected at most {}", error.len, error.max))
    })
}

fn line() -> std::io::Result<String> {
    let mut line = String::new();
    // Two secrets may be on two lines: what is read ahead stays in the buffer that all share.
    std::io::stdin().lock().read_line(&mut line).map(|_| line)
}

fn asked(what: &str) -> Result<String, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let expected = "is asked for on a terminal, expected one, or a file with it";
        return Err((EX_USAGE, format!("{what} {expected}")));
    }
    let failed = |error: std::io::Error| (EX_IOERR, format!("terminal: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let entered = runtime.enter();
    // From here on Ctrl-C does not end the program: it would leave a terminal that shows nothing.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let before = tcgetattr(&stdin).map_err(|error| failed(error.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let _ = write!(std::io::stderr(), "{what}: ");
    tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(|error| failed(error.into()))?;
    let line = runtime.block_on(async {
        tokio::select! {
            line = tokio::task::spawn_blocking(line) => Some(line),
            _ = interrupt.recv() => None,
        }
    });
    let restored = tcsetattr(&stdin, OptionalActions::Now, &before);
    let _ = writeln!(std::io::stderr());
    drop(entered);
    // The thread that waits for a line may never get one.
    runtime.shutdown_background();
    restored.map_err(|error| failed(error.into()))?;
    match line {
        Some(line) => line.unwrap_or_else(|error| Err(error.into())).map_err(failed),
        None => Err((INTERRUPTED, "interrupted, nothing was sent".to_owned())),
    }
}
