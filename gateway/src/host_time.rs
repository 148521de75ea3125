//! Whether something keeps the clock of this machine right.
//!
//! In: what the system says of itself, asked until it says yes. Out: the word for it to the journal, which counts the time that the
//! machine was off only when somebody vouches for the clock. Nobody who can tell (no systemd here): nothing is said, and records are
//! kept by the time that goes by.
//! Not here: what follows (journal).

use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// systemd-timesyncd makes this file at its first synchronisation after the start of the host (systemd-timesyncd.service(8)).
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// The system bus answers at once, or not at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is asked until it says yes: a process is started for it, and a late answer costs nothing but disk.
const ASKED_EVERY: Duration = Duration::from_secs(60);

/// Asks until the answer is yes, or `stopped` resolves.
pub(crate) async fn follow(stopped: impl Future<Output = ()>) {
    tokio::select! {
        () = stopped => {}
        () = learn() => {
            tracing::info!("the clock of this machine is kept right");
            headwater_journal::vouch();
        }
    }
}

async fn learn() {
    while is_synchronised().await != Some(true) {
        sleep(ASKED_EVERY).await;
    }
}

/// By the file of timesyncd; or by the kernel's flag as `timedatectl` reads it, which every NTP daemon keeps. `None` when nobody here
/// can say.
pub(crate) async fn is_synchronised() -> Option<bool> {
    if Path::new(TIMESYNCD).exists() {
        return Some(true);
    }
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]).kill_on_drop(true);
    let output = timeout(ANSWER_TIMEOUT, command.output()).await.ok()?.ok()?;
    match output.stdout.trim_ascii() {
        b"yes" if output.status.success() => Some(true),
        b"no" if output.status.success() => Some(false),
        _ => None,
    }
}
